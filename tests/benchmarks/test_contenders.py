"""Contenders train alike: NumPy's at once, all frameworks' and all layers' by `make slow`."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks import contenders, tasks
from benchmarks.idioms import numpy as idioms
from benchmarks.processes import FRAMEWORKS, TRAINERS, findings
from benchmarks.workloads import DENSE, LAYERED, SMALL, for_framework
from reference_numpy import training


def test_every_contender_of_numpy_trains_as_fit_does():
    found = list(tasks.verify("numpy"))
    assert {(one["workload"], one["contender"]) for one in found} == {
        (workload.name, name) for workload in SMALL for name in TRAINERS["numpy"]
    }
    assert max(one["deviation"] for one in found) <= tasks.AGREEMENT


@pytest.mark.parametrize(("constant", "value"), [("BETA1", 0.91), ("BETA2", 0.998), ("EPSILON", 1e-7)])
def test_another_constant_of_adam_is_seen(monkeypatch, constant, value):
    assert getattr(contenders, constant) != value
    monkeypatch.setattr(idioms, constant, value)
    deviations = {(one["workload"], one["contender"]): one["deviation"] for one in tasks.verify("numpy")}
    assert deviations["small softmax", "best"] > tasks.AGREEMENT


def test_the_gradient_by_hand_is_the_reference_s_in_float32():
    workload = replace(SMALL[2], dtype="float32")
    best, fit = idioms.Best(workload), idioms.Fit(workload)
    best.take_gradient(best.x, best.targets)
    found = training.loss_and_gradients(fit.model, fit.initial, *fit.data, loss=workload.loss).gradients
    assert best.gradient.dtype == np.float32
    for place, gradient in enumerate(best.weight_gradients, start=1):
        assert_allclose(gradient, found[f"W{place}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["best", "scikit-learn", "products"])
def test_a_contender_runs_as_many_steps_as_its_workload_says(name, monkeypatch):
    small = replace(SMALL[2], dtype="float32", epochs=2)
    monkeypatch.setattr(tasks, "WORKLOADS", {small.name: small})
    (found,) = [one for one in tasks.times("numpy", "cpu", [small.name], 0, 2) if one["contender"] == name]
    assert small.steps == 6
    assert len(found["seconds"]) == 2
    assert min(found["seconds"]) > 0


def test_a_gpu_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="device='gpu' is not allowed for numpy"):
        list(tasks.times("numpy", "gpu", [], 0, 1))


def test_layers_that_begin_with_another_cost_are_not_timed(monkeypatch):
    class Other(idioms.Fit):
        def first_cost(self):
            return super().first_cost() * (1 + 2 * tasks.ROUNDING)

    monkeypatch.setattr(tasks, "layer_trainers", lambda framework: {"fit": idioms.Fit, "own layers": Other})
    workload = for_framework(LAYERED[-1], "numpy")
    with pytest.raises(ArithmeticError, match=r"numpy, residual dense: own layers begins with the cost \d"):
        tasks.check_first_costs("numpy", workload)


def test_names_of_workloads_are_different():
    assert len({workload.name for workload in (*DENSE, *LAYERED, *SMALL)}) == len(DENSE) + len(LAYERED) + len(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "numpy"])
def test_every_contender_trains_as_fit_does(framework):
    found = findings("verify", framework=framework)
    assert {one["contender"] for one in found} == {*TRAINERS[framework]}
    assert max(one["deviation"] for one in found) <= tasks.AGREEMENT


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_networks_of_each_framework_s_own_layers_begin_with_the_same_cost_and_are_timed(framework):
    names = [workload.name for workload in LAYERED]
    found = findings("times", framework=framework, device="cpu", workloads=names, seconds=0, least=1)
    others = () if framework == "numpy" else ("own layers", "project layers")
    assert [(one["workload"], one["contender"]) for one in found] == [
        (name, contender) for name in names for contender in ("fit", *others)
    ]
