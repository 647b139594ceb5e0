"""Trainings on two replicas: the same as on one device, and an uneven batch is named for what becomes of it."""

from unittest.mock import patch

import numpy as np
import pytest
from torch.utils.data import DistributedSampler
from typer.testing import CliRunner

from conformance import load_run
from conformance.adapters.numpy import NumpySession
from conformance.adapters.registry import resolve
from conformance.adapters.session import DeviceNotFound, Unsupported
from conformance.checks import CHECKS
from conformance.checks.case import build_case
from conformance.checks.look import look
from conformance.cli.app import app
from conformance.parallel import replicas
from conformance.parallel.frameworks.numpy import NumpyReplicas
from conformance.parallel.replicas import COUNT, on_replicas, parts_of, require_cpu, why_not
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from conformance.recipes.suites import suite
from conformance.runs.order import plan_of
from conformance.verdicts import floors
from conformance.verdicts.compare import NOT_FAILING, compare

RECIPES = {recipe.name: recipe for recipe in suite("data_parallel")}
ASKED = ("gradients", "free_running")


class Situation:
    """A recipe's case, and what the checks expect in it."""

    def __init__(self, name):
        self.problem = prepare(RECIPES[name], "float64")
        self.case = build_case(self.problem, NumpySession(self.problem))
        with patch.object(floors, "CHECKS", {check: CHECKS[check] for check in ASKED}):
            self.expected = floors.measure(self.case)

    def failures(self, session):
        found = []
        for check in ASKED:
            seen = look(session, self.case, check)
            assert seen.observations
            found += compare(seen.observations, self.expected[check], seen.lost)
        return [c for c in found if c.verdict not in NOT_FAILING]


@pytest.fixture(scope="module")
def uneven():
    return Situation("data-parallel-uneven")


def on_two(problem, kind=NumpyReplicas):
    return kind(problem, NumpySession(problem))


def test_parts_by_their_share_are_the_batch(uneven):
    assert not uneven.failures(on_two(uneven.problem))


@pytest.mark.parametrize("name", ["data-parallel-single", "data-parallel-weighted"])
def test_their_gradients_are_those_of_one_device_to_rounding(name):
    problem = prepare(RECIPES[name], "float64")
    given = problem.tape.initial_parameters, *problem.batch(problem.batches_per_epoch - 1)
    found, whole = on_two(problem).gradients(*given), NumpySession(problem).gradients(*given)
    assert found.keys() == whole.keys()
    assert max(np.abs(found[name] - value).max() for name, value in whole.items()) < 1e-15


class CountsEachPartTheSame(NumpyReplicas):
    """Averages the parts' means, penalties included."""

    def divided(self, parameters, batch, *, plain):
        found = [self.own.gradients(parameters, *part.batch) for part in parts_of(batch)]
        mean = {name: sum(each[name] for each in found) / COUNT for name in ("cost", *parameters)}
        return mean | {"A0": np.concatenate([each["A0"] for each in found]) / COUNT}


class GivesPenaltiesTheirPart(NumpyReplicas):
    """Divides the course's L2 by the examples of a part."""

    def divided(self, parameters, batch, *, plain):
        found = super().divided(parameters, batch, plain=plain)
        for name in self.own.model.weight_names:
            found[name] = found[name] + 0.5 / len(batch.x) * parameters[name]
        return found


class ForgetsTheOtherPart(NumpyReplicas):
    """Does not add the second part's gradients."""

    def divided(self, parameters, batch, *, plain):
        return super().divided(parameters, replicas.taken(batch, np.arange(len(batch.x) // 2)), plain=plain)


@pytest.mark.parametrize("fault", [CountsEachPartTheSame, GivesPenaltiesTheirPart, ForgetsTheOtherPart])
def test_a_wrong_division_is_seen(uneven, fault):
    failures = uneven.failures(on_two(uneven.problem, fault))
    assert {failure.key.stage for failure in failures} >= {"gradient", "curve", "parameter"}


class Plain(NumpyReplicas):
    plain = True
    by_default = "parts are averaged"

    def divided(self, parameters, batch, *, plain):
        return (CountsEachPartTheSame if plain else NumpyReplicas).divided(self, parameters, batch, plain=plain)


def test_an_uneven_batch_is_named_with_what_becomes_of_it_and_how_far_that_is():
    problem = prepare(RECIPES["data-parallel-weighted"], "float64")
    session, given = on_two(problem, Plain), problem.tape.initial_parameters
    even, whole = problem.batch(0), NumpySession(problem).gradients(given, *problem.batch(0))
    assert session.gradients(given, *even)["cost"] == pytest.approx(whole["cost"])
    told = r"an uneven batch of 9 examples, 5 and 4: parts are averaged: gradients are off by \d\.\de-01 of their size"
    with pytest.raises(Unsupported, match=told):
        session.gradients(given, *problem.batch(2))
    with pytest.raises(Unsupported, match=told):
        session.fit(problem, (1,))


def test_a_part_is_never_empty_and_an_even_one_is_filled_up():
    batch = prepare(RECIPES["data-parallel-single"], "float64").batch(3)
    assert [(len(part.batch.x), part.counts.tolist()) for part in parts_of(batch)] == [(1, [1.0]), (1, [0.0])]
    three = replicas.taken(batch, np.array([0, 0, 0]))
    assert [part.counts.tolist() for part in parts_of(three, even=True)] == [[1.0, 1.0], [1.0, 0.0]]
    assert [len(part.batch.x) for part in parts_of(three)] == [2, 1]


def test_what_is_no_sum_over_the_parts_is_told():
    batch_norm = recipe_with({"model": "deep", "normalization": "batch"})
    assert list(why_not(batch_norm)) == ["batch norm takes the statistics of a replica's own part"]
    assert "weight_denominator" in next(why_not(recipe_with({"loss": "binary, class weights"})))
    assert "reduction='sum'" in next(why_not(recipe_with({}, reduction="sum")))
    assert "one call" in next(why_not(recipe_with({}, fit="twice")))
    assert not list(why_not(recipe_with({})))
    with pytest.raises(DeviceNotFound, match="device='gpu' is not allowed"):
        require_cpu("gpu")


def test_a_name_that_has_no_replicas_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'torch-replica' is not allowed where .*; did you mean 'torch-replicas'"):
        on_replicas(["torch-replica"])


def test_the_suite_is_run_on_replicas_of_those_named(tmp_path):
    plan = plan_of(suite="data_parallel", implementations=["numpy", "jax"], output=tmp_path / "run")
    assert list(plan.implementations) == on_replicas(["numpy", "jax"])
    assert plan.implementations["jax-replicas-plain"] == "conformance.parallel.frameworks.jax:Plain"
    assert plan.checks == ASKED
    with pytest.raises(ValueError, match="or A-replicas"):
        resolve("numpy-replicas-plain")


def test_pytorchs_sampler_repeats_examples_so_that_parts_are_even():
    taken = [list(DistributedSampler(range(17), COUNT, rank, shuffle=False)) for rank in range(COUNT)]
    assert [len(own) for own in taken] == [9, 9]
    assert sorted([*taken[0], *taken[1]]) == [0, *range(17)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_framework_trains_on_two_replicas_as_on_one_device(tmp_path):
    folder = tmp_path / "run"
    ended = CliRunner().invoke(app, ["run", "--suite", "data_parallel", "--output", str(folder), "--quiet"])
    assert ended.exit_code == 0, ended.output
    records = load_run(folder).records
    plain = records["implementation"].str.endswith("-plain")
    assert set(records["verdict"][~plain]) == {"pass"}
    for name, told in (("torch", "DistributedDataParallel averages"), ("tf", "averaged"), ("jax", "JAX refuses it")):
        own = records[(records["implementation"] == f"{name}-replicas-plain") & (records["verdict"] == "unsupported")]
        assert set(own["recipe"]) == set(RECIPES) - {"data-parallel-even"}
        assert own["cause"].str.contains("an uneven batch of ").all()
        assert own["cause"].str.contains(told).all()
