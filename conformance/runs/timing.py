"""How long the trainings of an implementation take, and how much memory its process held.

The first call of ``fit`` is timed as the check ``free_running`` makes it, compilation included. After all checks of a
training, when nothing is looked at any more, the project's own implementations are asked for it once more, for the time
that it takes from then on; nobody else's, where a call may have effects that its owner does not expect.
"""

import math
import time
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from conformance.adapters.guarded import Guarded
from conformance.adapters.registry import OWN, available
from conformance.adapters.session import Training, TrainingState
from conformance.checks.free_running import train
from conformance.problems.problem import Problem
from conformance.runs.peak import peak_mib

MOST_SECONDS = 1.0  # of a first call, above which there is no second one


class Call(NamedTuple):
    """A call of ``fit``."""

    seconds: float
    steps: int


class Measured(NamedTuple):
    """What was measured of a training and its process; seconds are NaN where nothing was."""

    steps: int
    first_seconds: float
    steady_seconds: float
    peak_mib: float


class Timed(Guarded):
    """A guarded session that keeps how long each call of ``fit`` took."""

    def __init__(self, session: Guarded) -> None:
        super().__init__(session._found, session._complaints)
        self.calls: list[Call] = []

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        started = time.perf_counter()
        training = super().fit(problem, checkpoint_epochs, start)
        self.calls.append(Call(time.perf_counter() - started, int(np.size(training.costs))))
        return training


def is_own(target: str) -> bool:
    """Whether an implementation is one of the project's own four."""
    return target in {available()[name] for name in OWN}


def measure(session: Timed | None, problem: Problem, *, again: bool) -> Measured:
    """What is known of a training whose checks are done. ``again``: whether the session may be asked once more."""
    steps, first, steady = 0, math.nan, math.nan
    calls, wanted = session.calls if session else [], 1 if problem.recipe.fit == "once" else 2
    if session and len(calls) == wanted:
        whole = calls if problem.recipe.fit == "in_halves" else calls[:1]
        steps, first = sum(call.steps for call in whole), sum(call.seconds for call in whole)
        if problem.recipe.fit == "twice":
            steady = calls[1].seconds
        elif again and first <= MOST_SECONDS:
            steady = _seconds_once_more(session, problem)
    return Measured(steps, first, steady, peak_mib())


def _seconds_once_more(session: Timed, problem: Problem) -> float:
    before = len(session.calls)
    with np.errstate(all="ignore"), suppress(Exception):  # whatever is wrong with it, the checks have seen
        train(session, problem)
        return sum(call.seconds for call in session.calls[before:])
    return math.nan
