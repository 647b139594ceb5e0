"""What a run tells of itself while it is at work."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.recipes.recipe import Recipe
from conformance.runs.outcome import Incomplete
from conformance.runs.plan import Plan
from conformance.runs.run import carry_out, resume
from conformance.runs.schedule import ORACLE
from conformance.runs.watching import worst
from conformance.verdicts.compare import NOT_FAILING, Verdict

RECIPE = Recipe.model_validate({
    "name": "small", "batch_size": 32, "epochs": 1, "loss": "binary_cross_entropy", "dtypes": ["float64"],
    "dataset": {"name": "xor", "examples": 80, "test_examples": 20}, "model": {"name": "logistic_regression"},
    "optimizer": {"name": "adam", "learning_rate": 0.01},
})  # fmt: skip
CHECKS = ("forward", "loss", "gradients")
PLUGIN = """
import os
from conformance.adapters.numpy import NumpyAdapter, NumpySession

class Dies(NumpyAdapter):
    def session(self, problem):
        os._exit(7)

class Wrong(NumpyAdapter):
    def session(self, problem):
        session = NumpySession(problem)
        losses = session.losses
        session.losses = lambda *given: {**losses(*given), "cost": 7.0}
        return session
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The events of a run, and of another that goes on with what it lacks."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "plug_of_watching.py").write_text(PLUGIN, encoding="utf-8")
    names = {name: f"plug_of_watching:{name}" for name in ("Dies", "Wrong")} | {"Absent": "no_such_module:X"}
    targets = {"numpy": "conformance.adapters.numpy:NumpyAdapter", **names}
    plan = Plan(folder / "out", [("file", RECIPE)], targets, ["float64"], checks=CHECKS)
    first, second = [], []
    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(__file__).parents[3])
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), root]))
        for events, begin in ((first, lambda: carry_out(plan, lambda *_: None, first.append)),
                              (second, lambda: resume(plan.folder, lambda *_: None, second.append))):  # fmt: skip
            with pytest.raises(Incomplete):
                begin()
            assert all(event.recipe == "small" and event.dtype == "float64" for event in events)
    return first, second


def of(events, worker):
    return [(event.what, event.check, event.verdict) for event in events if event.worker == worker]


def test_a_worker_begins_a_training_then_its_checks_of_which_each_is_judged_and_leaves_it(told):
    assert of(told[0], ORACLE) == [("begun", "", None), ("judged", "case", Verdict.PASS), ("left", "", None)]
    events = of(told[0], "numpy")
    assert (events[0], events[-1]) == (("begun", "", None), ("left", "", None))
    assert [event for event in events[1:-1] if event[0] == "begun"] == [("begun", check, None) for check in CHECKS]
    assert [event for event in events if event[0] == "judged"] == [("judged", c, Verdict.PASS) for c in CHECKS]


def test_what_fails_is_told_with_its_check(told):
    verdicts = {check: verdict for what, check, verdict in of(told[0], "Wrong") if what == "judged"}
    assert verdicts == {"forward": Verdict.PASS, "loss": Verdict.FAIL, "gradients": Verdict.PASS}


def test_a_worker_that_is_lost_leaves_its_training_and_what_is_set_aside_has_a_verdict(told):
    twice = [("begun", "", None), ("left", "", None)] * 2
    assert of(told[0], "Dies") == twice + [("judged", check, Verdict.CRASHED) for check in CHECKS]


def test_of_an_implementation_that_cannot_be_had_everything_is_missing(told):
    assert of(told[0], "Absent") == [("judged", check, Verdict.MISSING) for check in CHECKS]


def test_a_run_that_goes_on_tells_first_what_is_done_and_begins_nothing_of_it_again(told):
    done = [(name, check, verdict) for what, name, _, _, check, verdict in told[1][:7] if what == "judged"]
    assert sorted(done) == sorted([
        (ORACLE, "case", "pass"),
        *(("numpy", check, "pass") for check in CHECKS),
        *(("Wrong", check, "fail" if check == "loss" else "pass") for check in CHECKS),
    ])  # fmt: skip
    assert {event.worker for event in told[1][7:]} <= {"Dies", "Absent", ORACLE}
    assert of(told[1], "Dies") == of(told[0], "Dies")


@given(st.sets(st.sampled_from(list(Verdict))))
def test_the_worst_of_some_verdicts_fails_if_any_does_and_passes_only_if_all_do(verdicts):
    found = worst(map(str, verdicts))
    assert (found in NOT_FAILING) == (verdicts <= set(NOT_FAILING))
    assert (found == Verdict.PASS) == (verdicts <= {Verdict.PASS})
    assert found in verdicts or not verdicts
