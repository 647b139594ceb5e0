"""Where runs are: ``latest`` while a run goes on and after one that was refused, and what folders it leaves."""

import subprocess
import sys

import pytest

from conformance.runs.folders import as_latest, missing_above, remove_empty
from conformance.runs.outcome import BadInput, Incomplete


def run_in(folder, fails=False):
    with as_latest(folder):
        if fails:
            raise BadInput("refused")
        (folder / "plan.json").write_text("{}", encoding="utf-8")


def test_latest_points_to_a_run_that_left_something(tmp_path):
    for name in ("1", "2"):
        run_in(tmp_path / "reports" / name)
        assert (tmp_path / "reports" / "latest").resolve() == tmp_path / "reports" / name


def test_after_a_refused_run_latest_points_to_the_one_before(tmp_path):
    run_in(tmp_path / "1")
    with pytest.raises(BadInput):
        run_in(tmp_path / "2", fails=True)
    assert (tmp_path / "latest").resolve() == tmp_path / "1"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["1", "latest"]


def test_a_refused_run_that_is_the_first_leaves_no_folder_of_runs(tmp_path):
    with pytest.raises(BadInput):
        run_in(tmp_path / "reports" / "1", fails=True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_link_is_left_alone(tmp_path):
    (tmp_path / "latest").mkdir()
    with pytest.raises(Incomplete, match="is in the way: must be a symbolic link"):
        run_in(tmp_path / "1")


def test_only_what_was_not_there_and_is_empty_is_removed(tmp_path):
    (tmp_path / "mine").mkdir()
    above = missing_above(tmp_path / "mine" / "a" / "b" / "run")
    assert above == [tmp_path / "mine" / "a" / "b", tmp_path / "mine" / "a"]
    (tmp_path / "mine" / "a" / "b").mkdir(parents=True)
    (tmp_path / "mine" / "a" / "note").touch()
    remove_empty(above)
    assert [each.name for each in (tmp_path / "mine" / "a").iterdir()] == ["note"]


@pytest.mark.slow
@pytest.mark.parametrize("output", [[], ["--output", "a/b/run"]], ids=["latest", "named"])
def test_a_run_whose_implementation_cannot_be_loaded_leaves_nothing(tmp_path, output):
    asked = ["run", "--recipe", "xor-mse-half", "--implementation", "nowhere:Thing", *output]
    ended = subprocess.run(
        [sys.executable, "-m", "conformance.cli", *asked], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 2
    assert "implementation 'nowhere:Thing' cannot be loaded: No module named 'nowhere'" in ended.stderr
    assert list(tmp_path.iterdir()) == []
