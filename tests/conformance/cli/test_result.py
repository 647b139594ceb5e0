"""The end of a run: a panel on a terminal, a line for each fact in a pipe, one object of JSON, or two lines."""

import dataclasses
import fcntl
import json
import os
import pty
import re
import runpy
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from conformance.cli import result as results
from conformance.cli.result import Failure, Manner, Result, result_of, show_result
from conformance.results.run import load_run
from conformance.results.store import Explained, Store

ROOT = Path(__file__).parents[3]
synthetic_run = runpy.run_path(str(ROOT / "tests" / "conformance" / "results" / "synthetic.py"))["synthetic_run"]

RECIPE = """
name = "small"
batch_size = 32
epochs = 1
loss = "binary_cross_entropy"
dataset = {name = "xor", examples = 80, test_examples = 20}
model = {name = "logistic_regression"}
optimizer = {name = "adam", learning_rate = 0.01}
dtypes = ["float64"]
"""
PLUGIN = """
import time
from conformance.adapters.numpy import NumpyAdapter, NumpySession
from reference_numpy import optimizers

class Wrong(NumpyAdapter):
    def session(self, problem):
        session = NumpySession(problem)
        session.optimizer = optimizers.adam(0.01, beta1=0.999, beta2=0.9)
        return session

class Hangs(NumpyAdapter):
    def session(self, problem):
        time.sleep(1000)
"""
STEERING = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """The folder of a run with every verdict."""
    return synthetic_run(tmp_path_factory.mktemp("runs") / "failing", 20)


@pytest.fixture(scope="module")
def passing(tmp_path_factory):
    return synthetic_run(tmp_path_factory.mktemp("runs") / "passing", 3, ("numpy", "torch"), failing=False)


@pytest.fixture
def lacking(tmp_path):
    return synthetic_run(tmp_path / "with a space", 12, failing=False, complete=False)


def told(folder, capsys, **manner):
    """What is printed of a run, in lines, and what came of it."""
    result = show_result(folder, Manner(**manner))
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    return out.splitlines(), result


def test_a_run_that_passes(passing, capsys):
    lines, result = told(passing, capsys)
    assert (result.status, result.exit_status, result.explain, result.resume) == ("pass", 0, "", "")
    assert lines[-3:] == ["", f"PASS: {result.records['pass']} pass records", f"report: {passing / 'summary.md'}"]
    assert lines[0].split() == ["recipe", "numpy", "torch"]


def test_of_a_run_that_fails_the_first_failures_are_told_and_where_to_look(failing, capsys):
    lines, result = told(failing, capsys)
    assert (result.status, result.exit_status) == ("fail", 1)
    facts = lines[lines.index("") + 1 :]
    assert facts[0].startswith("FAIL: ")
    assert len(result.first_failures) > results.FAILURES_SHOWN
    for failure, line in zip(result.first_failures, facts[1:6], strict=False):
        assert line.startswith(f"{failure.implementation} {failure.recipe} {failure.dtype}: {failure.check}, ")
        assert failure.cause.replace("\n", "\\n") in line
    assert facts[6].startswith(f"and {len(result.first_failures) - 5} more that fail")
    assert facts[-2:] == [f"report: {failing / 'summary.md'}", f"explain: conformance explain {failing}"]


def test_a_cause_that_diagnosis_found_stands_beside_the_failure(failing, tmp_path, capsys):
    folder = synthetic_run(tmp_path / "run", 8)
    first, second, *_ = told(folder, capsys, quiet=True)[1].first_failures
    assert first.explanation == second.explanation == ""
    store = Store(folder, create=True)
    for failure, cause, explained in ((first, "adam(beta1=0.1)", True), (second, "nothing known explains it", False)):
        place = (failure.recipe, failure.implementation, failure.dtype, failure.check, "where")
        store.explain(Explained(*place, cause, explained, "in full"))
    store.close()
    lines, result = told(folder, capsys)
    assert [failure.explanation for failure in result.first_failures[:2]] == ["adam(beta1=0.1)", ""]
    assert [line.endswith(". Explained by adam(beta1=0.1)") for line in lines].count(True) == 1


def test_a_run_that_lacks_something_says_what_and_how_it_goes_on(lacking, capsys):
    lines, result = told(lacking, capsys)
    assert (result.status, result.exit_status) == ("incomplete", 3)
    facts = lines[lines.index("") + 1 :]
    assert facts[0].startswith("INCOMPLETE: ")
    assert facts[1].startswith("missing: torch lacks ")
    assert facts[2] == f"resume: conformance run --resume '{lacking}'"


def test_a_run_that_ended_as_it_was_asked_to_with_a_failure_fails(failing, tmp_path, capsys):
    folder = synthetic_run(tmp_path / "run", 8, complete=False)
    Store(folder).set_fact("stopped", True)
    lines, result = told(folder, capsys)
    assert (result.status, result.exit_status) == ("fail", 1)
    assert any(line.startswith("INCOMPLETE: torch lacks ") for line in lines)


def test_what_is_not_offered_counts_if_all_is_required(failing, capsys):
    assert "what is not offered, unsupported, counts as not passed" not in told(failing, capsys)[0]
    assert "what is not offered, unsupported, counts as not passed" in told(failing, capsys, require_all=True)[0]


def test_a_run_of_which_nothing_was_compared_is_incomplete(passing, tmp_path, capsys):
    folder = synthetic_run(tmp_path / "run", 1, ("numpy",))
    store = Store(folder, create=True)
    store._write("DELETE FROM records")
    store._write("DELETE FROM done")
    store.close()
    lines, result = told(folder, capsys)
    assert (result.status, result.exit_status, result.records) == ("incomplete", 3, {})
    assert "INCOMPLETE: no records" in lines
    assert "missing: numpy lacks 2 of 2 trainings" in lines


def test_the_page_is_the_report_where_there_is_one_and_the_summary_is_named_beside(passing, capsys):
    assert result_of(load_run(passing)).report == result_of(load_run(passing)).summary == str(passing / "summary.md")
    (passing / "report.html").touch()
    assert result_of(load_run(passing)).report.endswith("report.html")
    assert f"summary: {passing / 'summary.md'}" in told(passing, capsys)[0]
    (passing / "report.html").unlink()


def test_quiet_is_the_verdict_and_the_report(failing, capsys):
    lines, result = told(failing, capsys, quiet=True)
    assert len(lines) == 2
    assert lines[0].startswith("FAIL: ")
    assert lines[1] == f"report: {result.report}"


@pytest.mark.parametrize("quiet", [False, True])
def test_json_is_one_object_that_has_the_documented_fields_with_their_types(failing, capsys, quiet):
    lines, result = told(failing, capsys, as_json=True, quiet=quiet)
    found = json.loads("\n".join(lines), parse_constant=pytest.fail)
    documented = re.findall(r"^        (\w+):", Result.__doc__, re.MULTILINE)
    assert list(found) == [field.name for field in dataclasses.fields(Result)] == documented
    assert {name: type(value) for name, value in found.items()} == {
        "status": str, "exit_status": int, "records": dict, "trainings": int, "kept": int, "require_all": bool,
        "incomplete": str, "offering_nothing": list, "first_failures": list, "folder": str, "report": str,
        "summary": str, "explain": str, "resume": str, "known": int, "stale": list,
    }  # fmt: skip
    assert sum(found["records"].values()) == len(load_run(failing).records)
    assert [set(failure) for failure in found["first_failures"]] == [set(Failure._fields)] * len(result.first_failures)
    assert any(failure["error"] is None for failure in found["first_failures"])
    assert all(type(failure["step"]) is int for failure in found["first_failures"])


# --- whole commands -----------------------------------------------------------------------------------------------


# The command, of whose session standard input is the terminal: what is typed there interrupts it. A function that is
# run between fork and exec would do that too, where no other test of the process has begun threads.
WITH_ITS_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("conformance", run_name="__main__", alter_sys=True)
"""


def on_a_terminal(command, folder, *, width=80, height=24, answer=None, **environment):
    """What a command prints on a terminal, as it was written, and its exit status.

    ``answer``: a text to wait for, and what is typed then.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    paths = os.pathsep.join([str(folder), str(ROOT)])
    unset = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_ITS_TERMINAL, *map(str, command)],
        cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=inherited | {"TERM": "xterm-256color", "PYTHONPATH": paths} | environment,
    )  # fmt: skip
    os.close(theirs)
    text = b""
    while True:
        try:
            text += os.read(ours, 4096)
        except OSError:  # nobody holds the other end any more
            break
        if answer and answer[0].encode() in text:
            os.write(ours, answer[1].encode())
            answer = None
    os.close(ours)
    assert answer is None, text
    return text.decode(), process.wait()


def after_the_live_table(text):
    """The lines that stay, without what steers the terminal."""
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    return [line.rstrip() for line in STEERING.sub("", text.partition("\x1b[?1049l")[2]).splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    (folder / "small.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "plug.py").write_text(PLUGIN, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def on_terminal(place):
    """A run that fails, on a terminal of 80 columns."""
    command = ["run", "--recipe", "small.toml", "--implementation", "numpy,plug:Wrong", "--output", "out", "--fresh"]
    return on_a_terminal(command, place)


def test_a_run_on_a_terminal_has_a_live_table_and_ends_in_a_panel(on_terminal):
    text, status = on_terminal
    assert status == 1
    assert "Traceback" not in text
    live = STEERING.sub("", text.partition("\x1b[?1049h")[2].partition("\x1b[?1049l")[0])
    assert "makes the case" in live
    assert "✓ pass  ✗ fail" in live
    assert "2/2 trainings" in live
    lines = after_the_live_table(text)
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["recipe", "numpy", "plug:Wrong"]
    rules = [place for place, line in enumerate(lines) if line.strip(" ─") == "" and "─" in line]
    panel = [line.strip() for line in lines[rules[0] + 1 : rules[1]]]
    assert re.fullmatch(r"FAIL: \d+ pass, \d+ fail records", panel[0])
    assert panel[1].startswith("plug:Wrong small float64: update, optimizer state, first_moment")
    assert panel[-3:] == [
        "report: out/report.html", "summary: out/summary.md", "explain: conformance explain out"
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_that_is_interrupted_on_a_terminal_ends_in_a_panel_too(place):
    command = ["run", "--recipe", "small.toml", "--implementation", "numpy,plug:Hangs", "--output", "hung"]
    text, status = on_a_terminal(command, place, answer=("begins", "\x03"))
    assert status == 3
    assert "Traceback" not in text
    lines = [line.strip() for line in after_the_live_table(text)]
    assert any(line.startswith("INCOMPLETE: ") for line in lines)
    assert "resume: conformance run --resume hung" in lines
    assert lines[-1] == "conformance: ended by SIGINT"


def conformance(place, *arguments):
    """A command whose output goes to pipes, where somebody wants colours by all means."""
    paths = os.pathsep.join([str(place), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "FORCE_COLOR": "1", "COLUMNS": "40"}
    command = [sys.executable, "-m", "conformance", *map(str, arguments)]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=240)


def test_a_terminal_that_cannot_be_drawn_on_is_given_lines(on_terminal, place):
    text, status = on_a_terminal(["run", "--resume", "out"], place, TERM="dumb")
    assert status == 1
    assert "\x1b" not in text
    assert "plug:Wrong: 1 of 1" in text


def test_in_a_pipe_nothing_is_styled_and_progress_is_not_on_standard_output(on_terminal, place):
    result = conformance(place, "run", "--resume", "out")
    assert result.returncode == 1
    assert "\x1b" not in result.stdout + result.stderr
    assert result.stderr.splitlines() == ["numpy: 1 of 1", "plug:Wrong: 1 of 1"]
    told = [line.partition(": ")[0] for line in result.stdout.splitlines()[2:]]
    assert told == ["", "FAIL", "plug:Wrong small float64", "report", "summary", "explain"]


def test_quiet_prints_two_lines_and_the_status_is_the_same(on_terminal, place):
    result = conformance(place, "run", "--resume", "out", "--quiet")
    assert (result.returncode, result.stderr) == (1, "")
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["FAIL", "report"]


def test_json_is_all_that_is_on_standard_output(place):
    options = ("--implementation", "numpy", "--output", "as_json")
    result = conformance(place, "run", "--recipe", "small.toml", *options, "--json")
    assert result.returncode == 0
    found = json.loads(result.stdout)
    assert (found["status"], found["exit_status"], found["report"]) == ("pass", 0, "as_json/report.html")
    assert result.stderr.splitlines()[-1] == "numpy: 1 of 1"
    assert conformance(place, "run", "--resume", "nowhere", "--json").stdout == ""
