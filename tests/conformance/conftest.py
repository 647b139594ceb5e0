"""A run in this process, for tests that want to reach into it."""

from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import Mock

import pytest

from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.adapters.session import Adapter
from conformance.problems.problem import Problem
from conformance.recipes.recipe import Recipe
from conformance.results.store import Store
from conformance.results.traces import Traces
from conformance.runs import worker
from conformance.runs.judging import Judge, Stand
from conformance.runs.plan import Plan
from reference_numpy import optimizers


def _carry_out(plan: Plan, adapters: Mapping[str, Callable[[str], Adapter]]) -> Store:
    """What the oracle's worker, those of the implementations and the judge make of a plan."""
    scratch = Traces(plan.folder / "scratch")
    (scratch.folder / "traces").mkdir(parents=True)
    store = Store(plan.folder, create=True)
    store.set_fact("plan", {**plan.summary, "implementations": list(adapters)})
    store.set_fact("environment", {"implementations": list(adapters), "dtypes": plan.dtypes})
    store.set_fact("recipes", {recipe.name: recipe.model_dump(mode="json") for _, recipe in plan.recipes})
    judge = Judge(plan, store, scratch)
    for task in plan.tasks:
        stream = Mock()
        worker.make_case(store, stream, task)
        judge.case_made(task.name, *stream.made.call_args.args)
        for name, made in adapters.items():
            adapter = made("cpu")
            stand = Stand(adapter.device, adapter.versions(), adapter.settings())
            worker.look_at(name, adapter, store, scratch, Mock(), task, list(plan.checks))
            for check in plan.checks:
                judge.seen(name, stand, task.name, check, 0.0)
    store.close()
    return store


@pytest.fixture(scope="session")
def carry_out() -> Any:
    """``carry_out(plan, {name: adapter class})`` gives the store of the finished run."""
    return _carry_out


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    """A recipe that takes next to no time."""
    return Recipe.model_validate(
        {
            "name": "small",
            "epochs": 2,
            "batch_size": 10,
            "loss": "binary_cross_entropy",
            "dataset": {"name": "xor", "examples": 24, "test_examples": 8},
            "model": {"name": "shallow_network", "hidden_units": [3]},
            "optimizer": {"name": "adam", "learning_rate": 0.01},
        }
    )


class _BetasSwapped(NumpyAdapter):
    """The reference with a known fault: Adam's betas exchanged."""

    def session(self, problem: Problem) -> NumpySession:
        session = NumpySession(problem)
        session.optimizer = optimizers.adam(0.01, beta1=0.999, beta2=0.9)
        return session


@pytest.fixture(scope="session")
def faulty_adapter() -> type[NumpyAdapter]:
    """An adapter whose optimizer is wrong, for recipes with Adam."""
    return _BetasSwapped
