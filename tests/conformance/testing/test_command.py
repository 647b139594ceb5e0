"""``conformance check`` tells what came of a check as text, in a few lines or as JSON, and refuses bad input."""

import json

import pytest
from typer.testing import CliRunner

from conformance.cli import app, checking


def test_quiet_is_the_verdict_the_causes_and_the_report(faulty, capsys):
    result = checking.show_checked(faulty, quiet=True, as_json=False)
    assert (result.status, result.exit_status) == ("fail", 1)
    assert capsys.readouterr().out.splitlines() == [faulty.summary, *faulty.details]


def test_what_is_printed_is_what_python_shows(faulty, capsys):
    checking.show_checked(faulty, quiet=False, as_json=False)
    assert capsys.readouterr().out == f"{faulty}\n"


def test_json_has_the_checks_and_the_causes(knowing, capsys):
    result = checking.show_checked(knowing(check="gradients"), quiet=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["exit_status"] == result.exit_status == 1
    assert [cause["cause"] for cause in told["causes"]] == ["the fault 'adam: betas swapped'"]
    assert [row["check"] for row in told["stale"]] == ["gradients"]
    assert {answer["check"]: answer["result"] for answer in told["checks"]}["update"] == "fail"


def test_what_is_known_makes_the_exit_status_0(knowing, capsys):
    assert checking.show_checked(knowing(check="*"), quiet=True, as_json=False).exit_status == 0
    assert capsys.readouterr().out.startswith("PASS: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numpy", "--recipe", "absent.toml"], "absent.toml: cannot be read: No such file or directory"),
        (["nonsense", "--recipe", "flower-shallow-tanh"], "implementation='nonsense' is not allowed"),
        (["numpy", "--recipe", "flower-shallow-tanh", "--dtype", "float16"], "dtype='float16' is not allowed"),
        (["--recipe", "flower-shallow-tanh"], "TARGET, --trace or --answers must be given, and only one of them"),
        (["numpy", "--trace", "a.npz"], "TARGET, --trace or --answers must be given, and only one of them"),
        (["--trace", "a.npz", "--recipe", "flower-shallow-tanh"], "a.npz"),
        (["numpy", "--known-differences", "absent.toml"], "absent.toml: cannot be read"),
    ],
)
def test_bad_input_ends_with_status_2_and_a_line(place, arguments, message):
    ended = CliRunner().invoke(app, ["check", *arguments])
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.output
    assert list(place.iterdir()) == []
