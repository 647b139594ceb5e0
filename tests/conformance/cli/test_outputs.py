"""Where nothing can be written, it is said before anything is computed, with status 2."""

import errno
import os
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conformance.cli import app, comparing
from conformance.cli.display import Exit, stop

ROOT = Path(__file__).parents[3]
synthetic_run = runpy.run_path(str(ROOT / "tests" / "conformance" / "results" / "synthetic.py"))["synthetic_run"]

FOLDERS = [
    ("--output", ["run", "--suite", "quick", "--output"]),
    ("--output", ["check", "torch", "--output"]),
    ("--output", ["record", "--recipe", "flower-shallow-tanh", "--output"]),
    ("--output", ["soak", "--output"]),
    ("FOLDER", ["vectors"]),
]
FILES = [
    ("--output", ["plot", "nowhere", "--output"]),
    ("--html", ["compare", "nowhere", "nor_here", "--html"]),
]
ANYWHERE = [
    ("/proc/x.svg", "No such file or directory|Permission denied"),
    (f"{'a' * 300}.svg", "File name too long"),
    ("file/x.svg", "Not a directory|file is no folder"),
]


def refused(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert len(result.output) < 300
    return result.output


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The current folder, with a file and a folder, in which nothing may be left."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder.svg").mkdir()
    yield
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "folder.svg", "one", "other"}


@pytest.mark.parametrize(("option", "arguments"), FOLDERS + FILES)
@pytest.mark.parametrize(("path", "reason"), ANYWHERE)
def test_a_path_where_nothing_can_be_is_refused(option, arguments, path, reason):
    said = refused([*arguments, path])
    assert said.startswith(f"conformance: {option}='{path[:5]}")
    assert any(each in said for each in reason.split("|"))


@pytest.mark.parametrize(("option", "arguments"), FOLDERS)
def test_a_file_in_the_place_of_a_folder_is_refused(option, arguments):
    said = refused([*arguments, "file"])
    assert f"{option}='file' is not allowed: must be a folder that can be written: is a file" in said


@pytest.mark.parametrize(("option", "arguments"), FILES)
def test_a_folder_in_the_place_of_a_file_is_refused(option, arguments):
    said = refused([*arguments, "folder.svg"])
    assert f"{option}='folder.svg' is not allowed: must be a file that can be written: is a folder" in said
    assert "absent is no folder" in refused([*arguments, "absent/x.svg"])


def test_a_full_disk_is_no_bad_input(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    result = CliRunner().invoke(app, ["vectors", "a/b"])
    assert (result.exit_code, result.output) == (
        3,
        "conformance: FOLDER='a/b' cannot be written: No space left on device\n",
    )


def test_what_is_found_is_told_also_where_its_page_cannot_be_written(tmp_path, monkeypatch):
    runs = [str(synthetic_run(tmp_path / name, 4)) for name in ("one", "other")]
    monkeypatch.setattr(comparing, "write_text", lambda file, text: stop(Exit.INCOMPLETE, "full"))
    result = CliRunner().invoke(app, ["compare", *runs, "--html", "page.html"])
    assert result.exit_code == 3
    assert result.output.startswith(f"baseline: {runs[0]}")
