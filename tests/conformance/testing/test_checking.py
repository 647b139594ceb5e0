"""A subject is checked in what it offers, wherever it lives, and what came of it is told in a few lines."""

import json

import pytest
from typer.testing import CliRunner

import conformance
from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.adapters.session import Unsupported
from conformance.cli import app
from conformance.results.run import Run
from conformance.runs.outcome import BadInput
from conformance.testing import carried
from conformance.testing.checked import FAIL, KNOWN, PASS, Checked

WRONG = ["update", "teacher_forced", "free_running"]


class OneStep(NumpySession):
    """The reference without a training."""

    def fit(self, problem, checkpoint_epochs, start=None):
        raise Unsupported("an optimizer alone")


class Part(NumpyAdapter):
    """An adapter of which no other process could know."""

    def session(self, problem):
        return OneStep(problem)


class Carrying(Part):
    recipe = "breast-cancer-logistic"


class Narrow(NumpyAdapter):
    def session(self, problem):
        if problem.recipe.model.name != "logistic_regression":
            raise Unsupported("logistic regression alone")
        return OneStep(problem)


class Nothing(NumpyAdapter):
    def session(self, problem):
        raise Unsupported("nothing at all")


class Broken(NumpyAdapter):
    def __init__(self, device):
        raise RuntimeError("out of order")


def results(checked):
    return dict(zip(checked.checks["check"], checked.checks["result"], strict=True))


def test_a_fault_is_seen_in_each_check_that_it_spoils_and_named(faulty):
    assert not faulty.ok
    assert faulty.verdict == "fail"
    assert [check for check, result in results(faulty).items() if result == FAIL] == WRONG
    assert results(faulty)["gradients"] == PASS
    assert list(faulty.causes["cause"]) == ["the fault 'adam: betas swapped'"]
    assert set(faulty.records["dtype"]) == {"float64"}
    assert faulty.run.passed is False


def test_what_is_told_is_the_verdict_the_first_divergence_the_cause_and_the_report(faulty):
    lines = str(faulty).splitlines()
    assert lines[0].split() == ["recipe", "dtype", "check", "result", "what"]
    (update,) = [line for line in lines if line.startswith("small   float64  update ")]
    assert "fail" in update
    assert "optimizer state, step 1: first_moment of" in update
    verdict = lines.index(f"FAIL: {faulty.subject}: 5 pass, 3 fail of 8 checks")
    assert lines[verdict + 2].startswith("  first divergence: check update, stage optimizer state")
    assert any("cause: matches the fault 'adam: betas swapped'" in line for line in lines[verdict:])
    assert lines[-1] == f"report: {faulty.run.folder / 'report.html'}"
    assert "<b>FAIL: " in faulty._repr_html_()
    assert "first divergence" in faulty._repr_html_()


@pytest.mark.parametrize(
    ("row", "left", "stale"),
    [
        ({"check": "*"}, [], False),
        ({"check": "update"}, WRONG[1:], False),
        ({"check": "update", "tensor": "first_moment of ordinary"}, WRONG, False),
        ({"check": "update", "dtype": "float32"}, WRONG, False),  # which was not asked
        ({"check": "gradients"}, WRONG, True),
        ({"check": "*", "recipe": "other"}, WRONG, False),
        ({"check": "gradients", "subject": "somebody:else"}, WRONG, False),
    ],
)
def test_what_is_known_to_differ_does_not_fail_and_what_no_longer_differs_does(knowing, row, left, stale):
    checked = knowing(**row)
    assert [check for check, result in results(checked).items() if result == FAIL] == left
    assert bool(checked.stale) is stale
    assert checked.ok is (not left)


def test_a_stale_row_is_told_and_fails_where_all_else_is_known(faulty, knowing):
    checked = knowing(check="*")
    assert checked.ok
    assert "betas swapped (https://example.org/1)" in str(checked)
    (known,) = checked.known
    both = type(checked)(faulty.run, [known, type(known)("*", "small", "loss", "was so once", "https://example.org/2")])
    assert [result for result in results(both).values() if result == KNOWN] == [KNOWN] * len(WRONG)
    assert both.verdict == "fail"
    assert "stale: subject='*', recipe='small', check='loss' no longer differs: its row must go" in str(both)


def test_an_object_of_this_process_is_judged_as_the_command_judges_one_of_another(place, small_recipe):
    (place / "small.json").write_text(small_recipe.model_dump_json(), encoding="utf-8")
    inside = conformance.check(Part, "small.json", dtypes=["float32"], output="inside")
    command = ["check", "numpy", "--recipe", "small.json", "--dtype", "float32", "--output", "outside", "--json"]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 0
    told = json.loads(ended.stdout)
    assert (told["subject"], told["status"], told["causes"], told["stale"]) == ("numpy", "pass", [], [])
    assert {answer["result"] for answer in told["checks"]} == {"pass"}
    compared = ["check", "stage", "step", "tensor", "error", "floor", "allowance", "ceiling", "verdict"]
    offered = inside.records[inside.records["verdict"] != "unsupported"][compared]
    outside = conformance.load_run(told["folder"]).records[compared]
    assert len(offered) > 50
    assert offered.equals(outside[outside["check"] != "free_running"])
    assert inside.ok
    assert results(inside)["free_running"] == "not offered"
    assert "not offered  an optimizer alone" in str(inside)
    assert inside.summary.endswith(":Part: 7 pass, 1 not offered of 8 checks")


def test_a_subject_is_checked_on_what_it_carries_or_on_what_it_opens():
    assert [recipe.name for recipe in carried.recipes_for(Carrying, "it", "cpu")] == ["breast-cancer-logistic"]
    assert [recipe.name for recipe in carried.recipes_for(Narrow, "it", "cpu")] == ["breast-cancer-logistic"]
    asked = carried.ask("conformance.adapters.numpy:NumpyAdapter", "cpu")
    assert [recipe.name for recipe in asked] == [recipe.name for recipe in carried.suite("quick")]


class Subject:
    """What has no recipe, and is no maker of sessions for any."""

    versions = settings = session = dict


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        (Subject(), {}, r"nothing says what Subject should be: name a recipe.*`conformance identify Subject`"),
        (Nothing, {}, r"Nothing offers no recipe of the suite 'quick'; nothing says what"),
        ("mine:nowhere", {}, r"implementation 'mine:nowhere' cannot be loaded: No module named 'mine'"),
        ("mine", {"recipe": "breast-cancer-logistic"}, r"implementation='mine' is not allowed: must be one of numpy"),
        (Part, {"recipe": "breast-cancer-logistc"}, r"recipe='breast-cancer-logistc' is not known.*did you mean"),
        (dict, {"recipe": "breast-cancer-logistic"}, r"implementation 'builtins:dict' lacks versions, settings"),
        (Part, {"known_differences": "absent.toml"}, r"absent.toml: cannot be read"),
        (Broken, {"recipe": "breast-cancer-logistic"}, r"Broken' cannot be made: RuntimeError: out of order"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(place, target, arguments, message):
    with pytest.raises((ValueError, BadInput), match=message):
        conformance.check(target, **arguments)


@pytest.mark.slow
def test_the_check_of_what_ends_the_workers_is_incomplete(place, small_recipe, monkeypatch):
    (place / "fatal.py").write_text(
        "import os\nfrom conformance.adapters.numpy import NumpyAdapter\n"
        "class Fatal(NumpyAdapter):\n    def session(self, problem): os._exit(7)\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(place), prepend=":")
    checked = conformance.check("fatal:Fatal", small_recipe, dtypes=["float64"], output="fatal")
    assert checked.verdict == "incomplete"
    assert "exit status 7" in str(checked)


def test_an_exception_is_told_once_and_then_by_the_check_that_it_stopped_first(faulty):
    told = Checked(Run(faulty.run.folder))
    stopped, boom = ["forward", "loss", "update"], "RuntimeError: boom (mine.py:3)"
    told.answers = [
        answer._replace(result=FAIL, what=f"cost, step 1: {boom}; and 4 more" if answer.check == "update" else boom)
        if answer.check in stopped else answer
        for answer in faulty.answers
    ]  # fmt: skip
    told.run.records = faulty.records.assign(
        verdict=faulty.records["verdict"].where(~faulty.records["check"].isin(stopped), "crashed"),
        cause=faulty.records["cause"].where(~faulty.records["check"].isin(stopped), boom),
    )
    assert [answer.what for answer in told.told if answer.check in stopped] == [
        boom, "the exception of forward", "cost, step 1: the exception of forward; and 4 more",
    ]  # fmt: skip
    assert str(told).count("boom") == 1
