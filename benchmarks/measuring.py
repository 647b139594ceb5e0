"""The whole of a measurement: which processes are started, one after the other, and what becomes of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks import machine
from benchmarks.frames import Measured, cold_frame, profile_frame, rounds_frame, times_frame
from benchmarks.processes import FRAMEWORKS, IMPORTS, TRAINERS, findings
from benchmarks.workloads import DENSE, LAYERED

WORKLOADS = tuple(workload.name for workload in (*DENSE, *LAYERED))
QUICK_WORKLOADS = ("digits", "residual dense")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long.

    Attributes:
        seconds: for each contender of a workload, in each process.
        least: rounds, where they take longer than that.
        processes: that measure the same, for what differs from one to the next.
        cold: fresh processes for each import and first step.
        cold_contenders: of which the first step is taken; none: of all.
    """

    frameworks: tuple[str, ...] = FRAMEWORKS
    workloads: tuple[str, ...] = WORKLOADS
    device: str = "cpu"
    seconds: float = 0.7
    least: int = 5
    processes: int = 2
    cold: int = 3
    cold_contenders: tuple[str, ...] = ()

    @classmethod
    def quick(cls, **chosen: Any) -> "Plan":
        """Enough to see that everything works; its numbers are not to be relied on."""
        settings: dict[str, Any] = {
            "workloads": QUICK_WORKLOADS,
            "seconds": 0.05,
            "least": 3,
            "processes": 1,
            "cold": 1,
        }
        return cls(**(settings | {"cold_contenders": ("fit",)} | chosen))


def measure(plan: Plan, say: Say) -> Measured:
    """Everything that the plan names; ``say`` is told what goes on. Raises WorkerError where a process fails."""
    described = machine.describe(plan.device)
    rounds = measure_rounds(plan, say)
    cold, profile = cold_frame(_cold(plan, say)), measure_profile(plan, say)
    return Measured(rounds, times_frame(rounds), cold, profile, described)


def measure_profile(plan: Plan, say: Say) -> pd.DataFrame:
    """What the time of a step goes into, of the plan's dense workloads."""
    dense = [workload.name for workload in DENSE if workload.name in plan.workloads]

    def found() -> Iterator[tuple[str, str, dict[str, Any]]]:
        for framework in plan.frameworks:
            say(f"{framework}: profiles")
            for finding in findings("profile", framework=framework, device=plan.device, workloads=dense):
                yield framework, plan.device, finding

    return profile_frame(found())


def measure_rounds(plan: Plan, say: Say) -> pd.DataFrame:
    """The rounds alone."""

    def found() -> Iterator[tuple[int, str, str, dict[str, Any]]]:
        for process in range(plan.processes):
            for framework in plan.frameworks:
                say(f"{framework}: times, process {process + 1} of {plan.processes}")
                order = {"seconds": plan.seconds, "least": plan.least, "workloads": plan.workloads}
                for finding in findings("times", framework=framework, device=plan.device, **order):
                    yield process, framework, plan.device, finding

    return rounds_frame(found())


def _cold(plan: Plan, say: Say) -> Iterator[tuple[str, str, str, dict[str, float]]]:
    """Imports and first steps, in turn, so that what slows the machine down for a while slows all of them."""
    for process in range(plan.cold):
        for framework in plan.frameworks:
            say(f"{framework}: imports and first steps, {process + 1} of {plan.cold}")
            for name, modules in IMPORTS[framework].items():
                yield framework, plan.device, f"import {name}", findings("imports", modules=modules)[0]
            for contender in plan.cold_contenders or TRAINERS[framework]:
                yield framework, plan.device, contender, _first_step(framework, plan.device, contender)


def _first_step(framework: str, device: str, contender: str) -> dict[str, float]:
    return findings("cold", framework=framework, device=device, contender=contender)[0]
