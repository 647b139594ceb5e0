"""Optimizer states and running averages are seen after some epochs, and not only at the end."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.adapters.numpy import NumpySession
from conformance.checks import CHECKS
from conformance.checks.case import build_case, replay
from conformance.checks.look import look
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.verdicts import floors
from conformance.verdicts.compare import Verdict, compare
from conformance.verdicts.order import first_failing

RECIPE = Recipe.model_validate({
    "name": "checkpoints",
    "dataset": {"name": "moons", "scaling": "none", "examples": 20, "test_examples": 10},
    "model": {"name": "deep_network", "hidden_units": [3], "activation": "tanh", "normalization": "batch_norm"},
    "loss": "binary_cross_entropy",
    "optimizer": {"name": "momentum", "learning_rate": 0.1},
    "batch_size": 8,
    "epochs": 4,
})  # fmt: skip


class OnlyAtTheEnd(NumpySession):
    """What an adapter returned before there were checkpoints of states."""

    def fit(self, *arguments):
        return super().fit(*arguments)._replace(checkpoint_slots=None, checkpoint_statistics=None)


class ForgetsItsStates(NumpySession):
    """A state that is wrong after the second epoch alone."""

    def fit(self, *arguments):
        training = super().fit(*arguments)
        slots = {slot: {n: 0 * v for n, v in found.items()} for slot, found in training.checkpoint_slots[2].items()}
        return training._replace(checkpoint_slots=training.checkpoint_slots | {2: slots})


@pytest.fixture(scope="module")
def situation():
    problem = prepare(RECIPE, "float64")
    case = build_case(problem, NumpySession(problem))
    return case, floors.measure(case)["free_running"]


@pytest.mark.parametrize("fit", ["once", "in_halves"])
def test_what_is_seen_after_an_epoch_is_what_a_training_in_single_steps_has_there(situation, fit):
    case, _ = situation
    problem = replace(case.problem, recipe=RECIPE.model_copy(update={"fit": fit}))
    states = {state.step - 1: state for state in replay(NumpySession(problem), problem)}
    seen = list(CHECKS["free_running"](NumpySession(problem), replace(case, problem=problem)))
    for stage, of in (
        ("optimizer state", lambda s: s.slots["velocity"]),
        ("running statistic", lambda s: s.statistics),
    ):
        found = [o for o in seen if o.key.stage == stage]
        assert {o.key.step for o in found} == {3, 6, 12}
        for o in found:
            np.testing.assert_allclose(o.value, of(states[o.key.step])[o.key.name], rtol=1e-12, atol=1e-15)


def test_what_is_not_offered_at_checkpoints_is_unsupported_and_fails_nobody(situation):
    case, expected = situation
    seen = look(OnlyAtTheEnd(case.problem), case, "free_running")
    found = list(compare(seen.observations, expected, seen.lost))
    lacking = {(c.key.stage, c.key.step) for c in found if c.verdict == Verdict.UNSUPPORTED}
    assert lacking == {(stage, step) for stage in ("optimizer state", "running statistic") for step in (3, 6)}
    assert {c.verdict for c in found} == {Verdict.PASS, Verdict.UNSUPPORTED}


def test_a_state_that_is_wrong_after_an_epoch_fails_there(situation):
    case, expected = situation
    seen = look(ForgetsItsStates(case.problem), case, "free_running")
    first = first_failing(compare(seen.observations, expected, seen.lost))
    assert (first.key.stage, first.step) == ("optimizer state", 6)
