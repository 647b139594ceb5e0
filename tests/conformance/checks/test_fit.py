"""Trainings asked for in two halves or twice: one and the same training, and what is kept by mistake is seen."""

import pytest

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import TrainingState
from conformance.checks import CHECKS
from conformance.checks.case import build_case, initial_slots
from conformance.checks.free_running import train
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from conformance.verdicts import floors
from conformance.verdicts.compare import NOT_FAILING, compare

VALUES = {"model": "deep", "optimizer": "adam", "normalization": "batch", "noise": "dropout", "schedule": "exponential"}


def problem_of(fit):
    return prepare(recipe_with(VALUES, epochs=5, fit=fit), "float64")


@pytest.mark.parametrize("fit", ["in_halves", "twice"])
def test_it_is_the_training_of_a_single_call_to_the_bit(fit):
    once, other = (train(NumpySession(problem_of(how)), problem_of(how)) for how in ("once", fit))
    assert (once.costs == other.costs).all()
    assert (once.learning_rates == other.learning_rates).all()
    assert once.checkpoints.keys() == other.checkpoints.keys()
    assert all((once.parameters[name] == w).all() for name, w in other.parameters.items())
    assert all((once.statistics[name] == w).all() for name, w in other.statistics.items())
    assert all((once.slots[s][n] == w).all() for s, slots in other.slots.items() for n, w in slots.items())


class StartsAnew(NumpySession):
    """Goes on from the parameters alone."""

    def fit(self, problem, checkpoint_epochs, start=None):
        if start is not None:
            start = start._replace(step=1, slots=initial_slots(self, start.parameters))
        return super().fit(problem, checkpoint_epochs, start)


class GoesOn(NumpySession):
    """Begins every training with the running averages that the one before ended with."""

    kept = None

    def fit(self, problem, checkpoint_epochs, start=None):
        if self.kept is not None and start is None:
            first = problem.tape.initial_parameters
            start = TrainingState(1, first, initial_slots(self, first), self.kept)
        found = super().fit(problem, checkpoint_epochs, start)
        self.kept = found.statistics
        return found


@pytest.mark.parametrize(("fit", "session"), [("in_halves", StartsAnew), ("twice", GoesOn)])
def test_what_is_restarted_or_kept_by_mistake_fails(fit, session):
    problem = problem_of(fit)
    case = build_case(problem, NumpySession(problem))
    expected = floors.measure(case)["free_running"]
    right, wrong = (
        [c for c in compare(CHECKS["free_running"](made(problem), case), expected) if c.verdict not in NOT_FAILING]
        for made in (NumpySession, session)
    )
    assert not right
    assert wrong
