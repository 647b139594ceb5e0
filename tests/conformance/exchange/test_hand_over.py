"""Trainings that one implementation begins and another goes on with: what is lost on the way is seen."""

import json
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.adapters.session import Unsupported
from conformance.adapters.torch import TorchAdapter
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.look import look
from conformance.cli.app import app
from conformance.exchange.hand_over import HandedOver, ordered_pairs
from conformance.exchange.hand_over_source import Here, answer, as_arrays, training_from
from conformance.problems.preparation import prepare
from conformance.recipes.suites import suite
from conformance.runs.order import plan_of
from conformance.verdicts import floors
from conformance.verdicts.compare import NOT_FAILING, compare

RECIPES = {recipe.name: recipe for recipe in suite("hand_over")}
ADAPTERS = {"numpy": NumpyAdapter, "torch": TorchAdapter}


class Situation:
    """A recipe's case, and what the check expects in it."""

    def __init__(self, name, folder):
        self.folder = folder
        self.problem = prepare(RECIPES[name], "float64")
        self.case = build_case(self.problem, NumpySession(self.problem))
        with patch.object(floors, "CHECKS", {"free_running": CHECKS["free_running"]}):
            self.expected = floors.measure(self.case)["free_running"]

    def failures(self, first, second, damage=None):
        """What does not pass where ``first`` hands over to ``second``, a session, a file that was damaged."""
        source = Damaging(Here(first, ADAPTERS[first]("cpu")), damage or dict)
        second = ADAPTERS[second]("cpu").session(self.problem) if isinstance(second, str) else second
        seen = look(HandedOver(self.problem, source, second, self.folder), self.case, "free_running")
        found = compare(seen.observations, self.expected, seen.lost)
        return [c for c in found if c.verdict not in NOT_FAILING]


class Damaging:
    """A source whose checkpoint is changed on the way."""

    def __init__(self, source, damage):
        self.source, self.damage = source, damage

    def begin(self, problem, epochs, checkpoint_epochs, file):
        found = self.source.begin(problem, epochs, checkpoint_epochs, file)
        save_file(self.damage(load_file(file)), file)
        return found


@pytest.fixture(scope="module")
def adam(tmp_path_factory):
    return Situation("hand-over-adam", tmp_path_factory.mktemp("adam"))


@pytest.mark.parametrize(("first", "second"), [("numpy", "torch"), ("torch", "numpy")])
def test_a_training_that_moves_continues_the_curve_of_one_that_never_did(adam, first, second):
    assert not adam.failures(first, second)


def scaled(arrays, part, factor):
    return {name: value * (factor if part in name else 1) for name, value in arrays.items()}


def stepped(arrays, counts):
    return arrays | {f"{counter}/step": np.array(count) for counter, count in counts.items()}


def swapped(arrays, one, other):
    return arrays | {one: arrays[other], other: arrays[one]}


MOMENT, AVERAGES = "optimizer/first_moment/W2", ("statistics/running_mean1", "statistics/running_variance1")
FAULTS = {
    "a step that was not counted": lambda a: stepped(a, {"optimizer": 3, "schedule": 3}),
    "a count that begins anew": lambda a: stepped(a, {"optimizer": 0, "schedule": 0}),
    "a schedule that begins anew": lambda a: stepped(a, {"schedule": 0}),
    "a lost second moment": lambda a: {n: w for n, w in a.items() if "second_moment" not in n},
    "a second moment of zeros": lambda a: scaled(a, "second_moment", 0),
    "a first moment of zeros": lambda a: scaled(a, "first_moment", 0),
    "a second moment that is its root": lambda a: {n: np.sqrt(w) if "second" in n else w for n, w in a.items()},
    "moments that are swapped": lambda a: {
        n.replace("first", "?").replace("second", "first").replace("?", "second"): w for n, w in a.items()
    },
    "a transposed moment": lambda a: a | {MOMENT: a[MOMENT].T.copy()},
    "a moment in another order": lambda a: a | {MOMENT: a[MOMENT][::-1].copy()},
    "running averages that are swapped": lambda a: swapped(a, *AVERAGES),
    "running averages that begin anew": lambda a: scaled(a, "running_mean", 0),
    "a lost running average": lambda a: {n: w for n, w in a.items() if "running_mean" not in n},
    "a parameter of its own": lambda a: scaled(a, "parameters/b2", 1 + 1e-6),
    "a rounded checkpoint": lambda a: {n: w.astype("f4").astype("f8") if w.shape else w for n, w in a.items()},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_lost_on_the_way_is_seen(adam, fault):
    assert adam.failures("numpy", "torch", FAULTS[fault])


class RestartsSchedule(NumpySession):
    """Goes on with everything but the position of the schedule."""

    def fit(self, problem, checkpoint_epochs, start=None):
        schedule = self.parts.schedule
        self.parts.schedule = lambda step: schedule(step - (0 if start is None else start.step - 1))
        return super().fit(problem, checkpoint_epochs, start)


def test_one_that_restarts_the_schedule_is_seen_by_its_rates(adam):
    found = adam.failures("torch", RestartsSchedule(adam.problem))
    assert found[0].key.tensor == "learning rate"
    assert found[0].step == 5


def test_a_transposed_square_moment_is_seen_by_its_numbers(tmp_path):
    amsgrad = Situation("hand-over-amsgrad", tmp_path)
    assert not amsgrad.failures("torch", "numpy")
    name = "optimizer/second_moment/W2"
    failures = amsgrad.failures("torch", "numpy", lambda a: a | {name: a[name].T.copy()})
    assert {c.key.stage for c in failures} >= {"curve", "parameter", "optimizer state"}


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    return Situation("hand-over-layers", tmp_path_factory.mktemp("layers"))


@pytest.mark.parametrize(
    ("first", "second"), [("numpy", "torch"), pytest.param("torch", "numpy", marks=pytest.mark.slow)]
)
def test_a_network_of_layers_moves_with_all_that_they_keep(layers, first, second):
    assert not layers.failures(first, second)


class BeginsDropoutAnew(NumpySession):
    """Goes on with everything but the position in dropout's draws."""

    def fit(self, problem, checkpoint_epochs, start=None):
        if start is not None:
            before = RECIPES["hand-over-layers"].epochs // 2
            whole = prepare(RECIPES["hand-over-layers"], "float64").tape.dropout_masks
            masks = {layer: mask[:before] for layer, mask in whole.items()}
            problem = replace(problem, tape=replace(problem.tape, dropout_masks=masks))
        return super().fit(problem, checkpoint_epochs, start)


def test_one_that_begins_its_dropout_anew_is_seen_from_the_hand_over_on(layers):
    found = layers.failures("numpy", BeginsDropoutAnew(layers.problem))
    assert found[0].step == layers.problem.steps // 2 + 1


U = "optimizer/first_moment/2.backward.U"
FAULTS_OF_LAYERS = {
    "a direction's moment that is the other's": lambda a: a | {U: a[U.replace("backward", "forward")]},
    "gates in another order": lambda a: a | {U: np.roll(a[U], 3, axis=0)},
    "two biases that are one": lambda a: a | {
        f"parameters/2.forward.{name}": (a["parameters/2.forward.b"] + a["parameters/2.forward.b_h"]) * (name == "b")
        for name in ("b", "b_h")
    },
    "averages in another order": lambda a: a | {
        "statistics/8.running_mean": a["statistics/8.running_mean"][::-1].copy()
    },
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS_OF_LAYERS)
def test_what_a_layer_loses_on_the_way_is_seen(layers, fault):
    assert layers.failures("numpy", "numpy", FAULTS_OF_LAYERS[fault])


def test_a_training_that_is_asked_for_in_one_call_is_not_handed_over(adam, tmp_path):
    with pytest.raises(Unsupported, match="fit='in_halves', not 'once'"):
        HandedOver(adam.problem.fit_once(), None, None, tmp_path)


def test_what_a_process_answers_is_the_training(adam, tmp_path):
    here, file = Here("numpy", NumpyAdapter("cpu")), tmp_path / "c.safetensors"
    request = {"recipe": adam.problem.recipe.model_dump(mode="json"), "dtype": "float64", "epochs": 2,
               "checkpoint_epochs": [1], "file": str(file)}  # fmt: skip
    found = training_from(answer(here, np.frombuffer(json.dumps(request).encode(), np.uint8)))
    expected = here.begin(adam.problem, 2, (1,), tmp_path / "d.safetensors")
    assert (found.costs == expected.costs).all()
    assert found.steps == expected.steps == 4
    assert found.checkpoint_slots[1].keys() == expected.checkpoint_slots[1].keys()
    assert training_from(as_arrays(expected._replace(checkpoint_slots=None))).checkpoint_slots is None
    left, other = load_file(file), load_file(tmp_path / "d.safetensors")
    assert all((left[name] == value).all() for name, value in other.items())


def test_a_name_of_no_pair_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'torch-to-jex' is not allowed where .*; did you mean 'torch-to-jax'"):
        ordered_pairs(["torch-to-jex"])


def test_the_suite_is_run_by_every_ordered_pair_of_those_named(tmp_path):
    plan = plan_of(suite="hand_over", implementations=["numpy", "torch"], output=tmp_path / "run")
    assert list(plan.implementations) == ordered_pairs(["numpy", "torch"])
    assert plan.implementations["numpy-to-torch"] == "conformance.exchange.hand_over:numpy-to-torch"
    assert plan.checks == ("free_running",)
    only = plan_of(suite="hand_over", implementations=["tf-to-jax"], output=tmp_path / "run", checks=["free_running"])
    assert list(only.implementations) == ["tf-to-jax"]
    with pytest.raises(ValueError, match="did you mean 'torch-to-jax'"):
        plan_of(suite="hand_over", implementations=["torch-to-jaxx"], output=tmp_path / "run")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_ordered_pair_of_the_four_passes_the_suite(tmp_path):
    ended = CliRunner().invoke(app, ["run", "--suite", "hand_over", "--output", str(tmp_path / "run"), "--quiet"])
    assert ended.exit_code == 0, ended.output
