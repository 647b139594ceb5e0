"""A session of pytest with the plugin and the decorator: a test for each check, with what is known and what is not."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from conformance.testing.questions import Checks, NotConforming

ROOT = Path(__file__).parents[3]
MINE = """
from conformance.adapters.numpy import NumpyAdapter, NumpySession
from reference_numpy import optimizers


class Faulty(NumpyAdapter):
    def session(self, problem):
        session = NumpySession(problem)
        session.optimizer = optimizers.adam(0.01, beta1=0.999, beta2=0.9)
        return session
"""
TESTS = """
from conformance.adapters.numpy import NumpyAdapter
from conformance.testing import parametrize_with_conformance


class Right(NumpyAdapter):
    name = "right"


@parametrize_with_conformance([Right], recipes="small.json", dtypes=["float64"])
def test_mine(subject, check):
    check(subject)
"""
KNOWN = """
[[difference]]
subject = "mine:*"
recipe = "small"
check = "update"
reason = "betas swapped until 2.0"
link = "https://example.org/1"

[[difference]]
subject = "mine:*"
recipe = "small"
check = "loss"
reason = "was so once"
link = "https://example.org/2"
"""


def run_pytest(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "conformance.testing.plugin", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_recipe):
    """A project of somebody's: its code in ``src``, a recipe, what is known to differ, and a test."""
    place = tmp_path_factory.mktemp("project")
    (place / "src").mkdir()
    (place / "src" / "mine.py").write_text(MINE, encoding="utf-8")
    (place / "small.json").write_text(small_recipe.model_dump_json(), encoding="utf-8")
    (place / "known.toml").write_text(KNOWN, encoding="utf-8")
    (place / "test_mine.py").write_text(TESTS, encoding="utf-8")
    (place / "pytest.ini").write_text("[pytest]\npythonpath = src\n", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def session(folder):
    """What a session with everything printed, and the outcome of each of its tests by name."""
    ended = run_pytest(
        folder, "--conformance", "mine:Faulty", "--conformance-recipe", "small.json", "--conformance-dtype", "float64",
        "--conformance-known-differences", "known.toml", "--junitxml", "junit.xml",
    )  # fmt: skip
    cases = ElementTree.parse(folder / "junit.xml").iter("testcase")
    outcomes = {case.get("name"): next(iter(case), None) for case in cases}
    return SimpleNamespace(ended=ended, outcomes=outcomes)


def test_each_check_is_a_test_and_each_recipe_is_run_once(session, folder):
    assert session.ended.returncode == 1, session.ended.stdout + session.ended.stderr
    own = [name for name in session.outcomes if name.startswith("mine:Faulty[small-float64-")]
    assert len(own) == 9
    assert session.outcomes["mine:Faulty[small-float64-gradients]"] is None
    kept = list((folder / ".pytest_cache" / "d" / "conformance").iterdir())
    assert [path.name.startswith("conformance-") for path in kept] == [True]


def test_what_fails_tells_where_and_how_to_see_it_again(session):
    failure = session.outcomes["mine:Faulty[small-float64-free_running]"]
    assert failure.tag == "failure"
    lines = failure.text.splitlines()
    assert lines[0] == "small, float64, check free_running: fail"
    assert lines[1].startswith("  curve, step 3: cost[2] is ")
    assert lines[-2] == "again: conformance check mine:Faulty --recipe small.json --dtype float64"
    assert lines[-1].startswith("report: .pytest_cache/d/conformance/")
    assert "Traceback" not in session.ended.stdout


def test_what_is_known_is_expected_to_fail_what_is_stale_fails_and_what_is_not_offered_is_skipped(session):
    known = session.outcomes["mine:Faulty[small-float64-update]"]
    assert (known.get("type"), known.get("message")) == (
        "pytest.xfail",
        "betas swapped until 2.0 (https://example.org/1)",
    )
    stale = session.outcomes["mine:Faulty[known-differences]"]
    assert stale.text == "subject='mine:*', recipe='small', check='loss' no longer differs: its row must go"
    assert session.outcomes["mine:Faulty[small-float64-native]"].tag == "skipped"


def test_the_decorator_makes_a_test_of_each_check_of_an_object(session):
    own = {name: outcome for name, outcome in session.outcomes.items() if name.startswith("test_mine[")}
    assert len(own) == 9
    passing = [name for name, outcome in own.items() if outcome is None]
    assert "test_mine[right-small-float64-update]" in passing
    assert len(passing) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--conformance-recipe", "smal.json"], "ERROR: --conformance: smal.json: cannot be read: No such file"),
        *(
            pytest.param(["--conformance-recipe", "small.json", *more], message, marks=pytest.mark.slow)
            for more, message in [
                (["--conformance-dtype", "f32"], "--conformance: dtype='f32' is not"),
                (["--conformance-recipe", "small.json"], "--conformance: recipe name 'small' is used twice"),
            ]
        ),
    ],
)
def test_bad_usage_is_refused_before_any_test(folder, arguments, message):
    ended = run_pytest(folder, "--conformance", "mine:Faulty", *arguments)
    assert ended.returncode == 4
    assert message in ended.stdout + ended.stderr


def test_the_plugin_imports_nothing_while_it_is_not_used_and_may_be_named_twice(tmp_path):
    heavy = ["conformance.runs", "conformance.testing.questions", "numpy", "pandas", "torch", "pydantic"]
    (tmp_path / "test_own.py").write_text(
        f"import sys\n\n\ndef test_own():\n    assert not set({heavy}) & set(sys.modules)\n", encoding="utf-8"
    )
    (tmp_path / "conftest.py").write_text("pytest_plugins = ['conformance.testing.plugin']\n", encoding="utf-8")
    ended = run_pytest(tmp_path, "-q")
    assert ended.returncode == 0, ended.stdout


def test_a_run_that_ends_otherwise_is_told_by_each_of_its_checks(monkeypatch, small_recipe):
    calls = []

    def broken(*arguments, **options):
        calls.append(arguments)
        raise OSError("the disk is full")

    monkeypatch.setattr("conformance.testing.questions.check", broken)
    asked = [*Checks("numpy", small_recipe, dtypes=["float64"]).questions()]
    for question in asked[:2]:
        with pytest.raises(OSError, match="the disk is full"):
            question("numpy")
    assert len(calls) == 1


def test_a_check_is_of_its_own_subject_and_its_failure_says_why_and_how_to_see_it_again(
    monkeypatch, faulty, small_recipe, faulty_adapter
):
    monkeypatch.setattr("conformance.testing.questions.check", lambda *arguments, **options: faulty)
    asked = {question.id: question for question in Checks(faulty_adapter, small_recipe, dtypes=["float64"]).questions()}
    update = asked["small-float64-update"]
    with pytest.raises(TypeError, match="must not be called with another subject"):
        update("numpy")
    with pytest.raises(
        NotConforming, match=r"again: conformance.check\(.*_BetasSwapped, 'small', dtypes=\['float64'\]\)"
    ):
        update(faulty_adapter)
    with pytest.raises(pytest.skip.Exception, match="the recipe has nothing of it to show"):
        asked["small-float64-native"](faulty_adapter)
