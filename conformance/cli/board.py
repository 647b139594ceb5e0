"""How far a run is: what is known of every training while it goes on. ``live`` draws it."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import mean
from typing import NamedTuple

from conformance.runs.pace import known_pace, seconds_left
from conformance.runs.plan import Plan
from conformance.runs.schedule import ORACLE, Unit
from conformance.runs.watching import Event, worst
from conformance.verdicts.compare import NOT_FAILING, Verdict


@dataclass
class Training:
    """A recipe in one precision and implementation, or the oracle's case of it, and how far it is.

    ``seconds``: that it takes, by the forecast. ``verdict``: the worst so far. ``at``: the check that somebody is at,
    "" before the first, None where nobody is; ``since``: when that began.
    """

    checks: int
    seconds: float
    judged: set[str] = field(default_factory=set)
    verdict: Verdict | None = None
    at: str | None = None
    since: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether every check of it is judged."""
        return len(self.judged) == self.checks

    @property
    def seconds_left(self) -> float:
        """What is not done of it, by the forecast."""
        return self.seconds * (1 - len(self.judged) / self.checks)


class Cell(NamedTuple):
    """A recipe in one implementation, in all precisions together."""

    judged: int
    checks: int
    verdict: Verdict | None
    at_work: bool

    @property
    def finished(self) -> bool:
        """Whether every check of it is judged."""
        return self.judged == self.checks

    @property
    def failing(self) -> bool:
        """Whether something did not pass."""
        return self.verdict is not None and self.verdict not in NOT_FAILING


class Work(NamedTuple):
    """What somebody is at. ``check``: "" before the first."""

    worker: str
    recipe: str
    dtype: str
    check: str
    seconds: float


class Board:
    """The trainings of a run, kept up to date by its events. ``ended``: by what it was asked to end, if it was."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self.implementations = list(plan.implementations)
        self.dtypes: dict[str, list[str]] = {}
        for recipe, dtype in (task.name for task in plan.tasks):
            self.dtypes.setdefault(recipe, []).append(dtype)
        self.ended = ""
        pace = known_pace()
        self._trainings = {
            Unit(name, task.name): Training(len(plan.checks), pace.get(name, mean(pace.values())))
            for name, task in plan.units
        }
        self._cases = {Unit(ORACLE, task.name): Training(1, pace[ORACLE]) for task in plan.tasks}
        self._at_once = plan.at_once
        self._clock = clock
        self._began: float | None = None
        self._forecast = 0.0

    def take(self, event: Event) -> None:
        """Take in what happened."""
        unit = Unit(event.worker, (event.recipe, event.dtype))
        training = (self._cases if event.worker == ORACLE else self._trainings)[unit]
        if event.what == "begun":
            if self._began is None:
                self._began, self._forecast = self._clock(), self._work_left()
            training.at, training.since = event.check, self._clock()
        elif event.what == "left":
            training.at = None
        elif event.verdict is not None:
            training.judged.add(event.check)
            training.verdict = worst(verdict for verdict in (training.verdict, event.verdict) if verdict is not None)

    def cell(self, recipe: str, implementation: str) -> Cell:
        """How far a recipe is in an implementation."""
        units = [Unit(implementation, (recipe, dtype)) for dtype in self.dtypes[recipe]]
        found = [self._trainings[unit] for unit in units if unit in self._trainings]
        verdicts = [training.verdict for training in found if training.verdict is not None]
        return Cell(
            judged=sum(len(training.judged) for training in found),
            checks=sum(training.checks for training in found),
            verdict=worst(verdicts) if verdicts else None,
            at_work=any(training.at is not None for training in found),
        )

    @property
    def work(self) -> list[Work]:
        """What everybody is at; who is at it longest comes first."""
        now = self._clock()
        found = [
            Work(unit.worker, *unit.task, training.at, now - training.since)
            for unit, training in (self._cases | self._trainings).items()
            if training.at is not None
        ]
        return sorted(found, key=lambda work: work.seconds, reverse=True)

    @property
    def verdicts(self) -> Counter[Verdict]:
        """How many trainings are finished, by their verdict."""
        found = (training.verdict for training in self._trainings.values() if training.finished)
        return Counter(verdict for verdict in found if verdict is not None)

    @property
    def total(self) -> int:
        """How many trainings there are."""
        return len(self._trainings)

    @property
    def seconds_left(self) -> float | None:
        """What the run has left, by the forecast and by how it has gone; None before it has begun."""
        if self._began is None:
            return None
        done = self._forecast - self._work_left()
        return seconds_left(self._forecast, done, self._clock() - self._began)

    def _work_left(self) -> float:
        """Seconds of work that is not done, by the forecast; a case is made only where somebody waits for it."""
        left = [(unit.task, training) for unit, training in self._trainings.items() if not training.finished]
        cases = {task: self._cases[Unit(ORACLE, task)].seconds_left for task, _ in left}
        return (sum(training.seconds_left for _, training in left) + sum(cases.values())) / self._at_once
