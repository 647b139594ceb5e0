"""Whatever becomes of standard output and error, the status is that of the verdict, and nothing ends in a traceback."""

import io
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from conformance.cli import app, listing, streams

LOST = "conformance: standard output cannot be written: No space left on device\n"
RECIPE = """
name = "small"
batch_size = 32
loss = "binary_cross_entropy"
dataset = {name = "xor", examples = 40, test_examples = 20}
model = {name = "logistic_regression"}
optimizer = {name = "adam", learning_rate = 0.01}
dtypes = ["float64"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    (folder / "small.toml").write_text(RECIPE, encoding="utf-8")
    np.savez(folder / "a.npz", W=np.arange(6.0))
    np.savez(folder / "b.npz", W=np.arange(6.0) ** 2)
    return folder


def shell(place, line):
    """What a line of bash ends with, in which $C is the command: its status and what is on standard error."""
    command = shlex.join([sys.executable, "-m", "conformance"])
    line = f"set -o pipefail; {line.replace('$C', command)}"
    ended = subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True, timeout=240)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("command", ["list suites", "--version", "--help", "diff a.npz a.npz"])
def test_on_a_full_disk_what_is_lost_is_said(place, command):
    assert shell(place, f"$C {command} > /dev/full") == (3, LOST)


def test_on_a_full_disk_a_verdict_stands(place):
    assert shell(place, "$C diff a.npz b.npz > /dev/full") == (1, LOST)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("$C list suites >&-", 0),
        ("$C list suites <&- >&- 2>&-", 0),
        ("$C list recipes | true", 0),
        ("$C diff a.npz b.npz | true", 1),
        ("$C show nope 2> /dev/full", 2),
        ("$C show nope 2>&-", 2),
        ("$C nope > /dev/full 2> /dev/full", 2),
    ],
)
def test_where_nobody_reads_the_status_is_as_ever(place, line, status):
    assert shell(place, line)[0] == status


def test_a_run_whose_progress_cannot_be_told_comes_to_its_end(place):
    options = "--recipe small.toml --implementation numpy --no-explain --output untold"
    assert shell(place, f"$C run {options} 2> /dev/full")[0] == 0
    assert (place / "untold" / "report.html").is_file()


def test_what_cannot_be_written_is_dropped_from_then_on():
    with open("/dev/full", "wb") as full, streams.Guarded(full.fileno(), "w", closefd=False) as guarded:
        assert [guarded.write(b"some"), guarded.write(b"more")] == [4, 4]
        assert guarded.trouble.strerror == "No space left on device"


def test_a_stream_that_is_no_file_is_left_as_it_is():
    stream = io.StringIO()
    assert streams._guarded(stream) == (stream, None)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (KeyboardInterrupt(), "conformance: interrupted\n"),
        (OSError(28, os.strerror(28), "here"), "conformance: [Errno 28] No space left on device: 'here'\n"),
    ],
)
def test_a_command_that_does_not_come_to_its_end_says_so(monkeypatch, raised, message):
    def broken(what):
        raise raised

    monkeypatch.setattr(listing, "listing", broken)
    result = CliRunner().invoke(app, ["list", "suites"])
    assert (result.exit_code, result.output) == (3, message)
