"""What worker processes do: each task yields findings, as dicts."""

import importlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks import profiling
from benchmarks.timing import interleave
from benchmarks.worker import peak_memory
from benchmarks.workloads import COLD, DENSE, LAYERED, SMALL, DenseWorkload, LayerWorkload, for_framework

Finding = dict[str, Any]

ROUNDING = 2**-17  # relative: of a cost in float32, whose sums over thousands of terms lose six of its 24 bits
AGREEMENT = 1e-10  # learning rates, in float64: another place of Adam's epsilon moves more than 1e-6
PROFILED = ("fit", "best")
WORKLOADS: Mapping[str, DenseWorkload | LayerWorkload] = {w.name: w for w in (*DENSE, *LAYERED)}


def idioms(framework: str) -> Any:
    """The framework's file of ``benchmarks.idioms``."""
    return importlib.import_module(f"benchmarks.idioms.{framework}")


def times(framework: str, device: str, workloads: list[str], seconds: float, least: int) -> Iterator[Finding]:
    """The seconds a step of every contender in every round, for each workload.

    Raises ArithmeticError where two contenders for a network of layers do not begin with the same cost.
    """
    idioms(framework).use(device, "float32")
    for name in workloads:
        works = contenders(framework, name)
        found = interleave({contender: work.run for contender, work in works.items()}, seconds=seconds, least=least)
        for contender, rounds in found.items():
            steps = works[contender].workload.steps
            yield {"workload": name, "contender": contender, "seconds": [taken / steps for taken in rounds]}


def contenders(framework: str, workload: str) -> dict[str, Any]:
    """The works for a workload, by name."""
    chosen = WORKLOADS[workload]
    if isinstance(chosen, DenseWorkload):
        module = idioms(framework)
        trainers = {name: make(chosen) for name, make in module.TRAINERS.items()}
        return trainers | {"products": module.Products(chosen)}
    made = for_framework(chosen, framework)
    check_first_costs(framework, made)
    return {name: make(made) for name, make in layer_trainers(framework).items()}


def layer_trainers(framework: str) -> Mapping[str, Any]:
    """What trains networks of layers: NumPy has no layers of its own."""
    if framework == "numpy":
        return {"fit": idioms(framework).Fit}
    return importlib.import_module(f"benchmarks.layers.{framework}").TRAINERS  # type: ignore[no-any-return]


def check_first_costs(framework: str, workload: LayerWorkload) -> None:
    """Raise ArithmeticError unless all contenders begin with the same cost, but for rounding."""
    one_step = workload.one_step()
    costs = {name: make(one_step).first_cost() for name, make in layer_trainers(framework).items()}
    for name, cost in costs.items():
        if not math.isclose(cost, costs["fit"], rel_tol=ROUNDING):
            raise ArithmeticError(
                f"{framework}, {workload.name}: {name} begins with the cost {cost}, fit with {costs['fit']}"
            )


def verify(framework: str, device: str = "cpu") -> Iterator[Finding]:
    """How far each contender is from ``fit`` after three steps in float64, given the same start, order and formulation.

    ``deviation``: the largest, over all parameters, in learning rates.
    """
    module = idioms(framework)
    module.use(device, "float64")
    for workload in SMALL:
        order = None if workload.is_full_batch else np.random.default_rng(3).permutation(workload.examples)[None]
        for name, make in module.TRAINERS.items():
            contender, fit = make(workload, order), module.Fit(workload, order, make.adam)
            contender.run()
            if hasattr(contender, "start"):
                fit = module.Fit(workload, order, make.adam, contender.start())
            fit.run()
            yield {"workload": workload.name, "contender": name, "deviation": deviation(contender, fit)}


def deviation(contender: Any, fit: Any) -> float:
    """The largest difference of two trainers' parameters, in learning rates: a step of Adam is about one."""
    theirs = contender.parameters()
    largest = max(float(np.abs(value - theirs[name]).max()) for name, value in fit.parameters().items())
    return largest / fit.workload.learning_rate  # type: ignore[no-any-return]


def profile(framework: str, device: str, workloads: list[str]) -> Iterator[Finding]:
    """What the time of a step goes into, for ``fit`` and ``best``, of each dense workload."""
    module = idioms(framework)
    module.use(device, "float32")
    for name in workloads:
        for contender in PROFILED:
            for part, seconds in profiling.parts(module.TRAINERS[contender], WORKLOADS[name]):  # type: ignore[arg-type]
                yield {"workload": name, "contender": contender, "part": part, "seconds": seconds}


def cold(framework: str, device: str, contender: str) -> Iterator[Finding]:
    """What a contender's first step takes, with all that it compiles and builds, and its second; and the peak memory
    after a training of two epochs. The workload is ``signs``.
    """
    module = idioms(framework)
    module.use(device, "float32")
    begun = time.perf_counter()
    work = module.TRAINERS[contender](COLD.one_step())
    work.run()
    first = time.perf_counter()
    work.run()
    second = time.perf_counter()
    module.TRAINERS[contender](COLD).run()
    yield {"first step": first - begun, "second step": second - first, "peak memory": peak_memory()}
