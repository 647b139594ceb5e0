"""Who does what next: the oracle a little ahead, and the implementation first that has most left to do."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

ORACLE = "oracle"
MOST_AHEAD = 4
WORTH_A_WORKER = 4  # tasks; fewer do not pay for another import of the framework

TaskName = tuple[str, str]  # of a recipe and a precision


class Unit(NamedTuple):
    """One task of one worker: of the oracle or of an implementation."""

    worker: str
    task: TaskName


class Schedule:
    """What is left to do, and in which order.

    The oracle makes a task's case before any implementation can take the task. It is kept ahead of the implementations
    by twice the number of workers, so that none waits for it, and of nobody by more than ``MOST_AHEAD`` times that, so
    that cases do not pile up. ``seconds``: what each worker's name took for its tasks.
    """

    def __init__(self, left: Iterable[Unit], made: Iterable[TaskName], at_once: int) -> None:
        units = list(left)
        there = set(made)
        wanted = dict.fromkeys(unit.task for unit in units)
        self.cases = deque(task for task in wanted if task not in there)
        self.waiting: dict[str, dict[TaskName, None]] = {}  # in order
        self.ready: dict[str, deque[TaskName]] = {}
        for name, task in units:
            if task in there:
                self.ready.setdefault(name, deque()).append(task)
            else:
                self.waiting.setdefault(name, {})[task] = None
        self._ahead = 2 * at_once
        self.seconds: dict[str, list[float]] = {}

    @property
    def finished(self) -> bool:
        """Whether nothing is left that anybody will do."""
        return not any(self.ready.values()) and not (self.cases and any(self.waiting.values()))

    def next(self, may_work: Callable[[str, int], bool]) -> Unit | None:
        """Give out the next unit; None where nobody may take any.

        ``may_work(name, left)``: whether a worker of this name is idle, or may be started for so many tasks.
        """
        names = sorted((name for name, tasks in self.ready.items() if tasks), key=self._left, reverse=True)
        made = [len(tasks) for tasks in self.ready.values()]
        if self.cases and sum(made) < self._ahead:
            names.insert(0, ORACLE)
        elif self.cases and max(made) < MOST_AHEAD * self._ahead:
            names.append(ORACLE)
        for name in names:
            tasks = self.cases if name == ORACLE else self.ready[name]
            if may_work(name, len(tasks) + len(self.waiting.get(name, ()))):
                return Unit(name, tasks.popleft())
        return None

    def case_made(self, task: TaskName) -> None:
        """The oracle has made the case of a task: the implementations may take it."""
        for name, tasks in self.waiting.items():
            if task in tasks:
                del tasks[task]
                self.ready.setdefault(name, deque()).append(task)

    def took(self, name: str, seconds: float) -> None:
        """A worker took so long for a task."""
        self.seconds.setdefault(name, []).append(seconds)

    def again(self, unit: Unit) -> None:
        """A unit that was given out is to be done again, before all others."""
        tasks = self.cases if unit.worker == ORACLE else self.ready.setdefault(unit.worker, deque())
        tasks.appendleft(unit.task)

    def give_up_task(self, task: TaskName) -> None:
        """No case can be made of a task: nobody does it."""
        for tasks in self.waiting.values():
            tasks.pop(task, None)

    def give_up_implementation(self, name: str) -> None:
        """An implementation cannot be had: nobody waits for it."""
        self.waiting.pop(name, None)
        self.ready.pop(name, None)

    def _left(self, name: str) -> float:
        """Seconds of work that a worker's name has left, as far as is known."""
        known = self.seconds.get(name, [])
        mean = sum(known) / len(known) if known else float("inf")
        return mean * (len(self.ready.get(name, ())) + len(self.waiting.get(name, ())))
