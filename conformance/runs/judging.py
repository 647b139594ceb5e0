"""What a worker saw, judged in the run's own process, where no implementation can reach, and entered."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from conformance.results.cases import (
    StoredCase,
    case_files,
    check_seal,
    load_case,
    load_seen,
    seal_case,
    seen_file,
)
from conformance.results.store import INFORMATIVE, CurvePoint, Done, Store
from conformance.results.traces import Traces
from conformance.runs.curves import curve_points
from conformance.runs.plan import Plan
from conformance.runs.schedule import ORACLE, TaskName
from conformance.verdicts.compare import NOT_FAILING, Verdict
from conformance.verdicts.record import Context
from conformance.verdicts.summary import judge

CASE = "case"  # what stands for the oracle's part of a task where a check's name stands
BYTES_AT_HAND = 1 << 28  # of cases that are kept in memory, so that the implementations need not go in step


class Stand(NamedTuple):
    """What an implementation said of itself."""

    device: str
    versions: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def release(self) -> str:
        """The version of its framework."""
        return next(iter(self.versions.values()), "")


class Judge:
    """Enters cases and verdicts into the store, and keeps of the tensors what somebody will want to look at."""

    def __init__(self, plan: Plan, store: Store, scratch: Traces) -> None:
        self.plan, self.store, self.scratch = plan, store, scratch
        self.tasks = {task.name: task for task in plan.tasks}
        self.seals = {name[:2]: note for name, note in store.done().items() if name[3] == CASE}
        self._at_hand: dict[TaskName, tuple[int, StoredCase]] = {}  # the one used last at the end, each with its size
        self._unchanged = set[tuple[TaskName, str]]()
        self._users: dict[str, set[TaskName]] = {}  # of each file of data

    def case_made(self, task: TaskName, informative_steps: float, steps: int) -> None:
        """Seal a case that the oracle has made, and enter its own curves. Raises StoreError."""
        recipe, dtype = self.tasks[task].recipe, task[1]
        self.seals[task] = seal_case(self.store, recipe, dtype)
        point = CurvePoint(task[0], ORACLE, dtype, "step", steps, INFORMATIVE, informative_steps)
        self.store.enter(Done(*task, ORACLE, CASE, self.seals[task]), (), [point, *self._curves_of_oracle(task)])

    def _curves_of_oracle(self, task: TaskName) -> Iterator[CurvePoint]:
        stored, context = self._stored(task, ORACLE), self._context(ORACLE, Stand("", {}, {}), task)
        expected = stored.expectations.get("free_running", [])
        yield from curve_points(context, stored.problem, [each.observation for each in expected], expected)

    def made(self) -> list[TaskName]:
        """The tasks whose case is there."""
        names = [task.name for task in self.plan.tasks if task.name in self.seals]
        return [name for name in names if all(map(self.store.has_tensors, self._files(name)))]

    def seen(self, name: str, stand: Stand, task: TaskName, check: str, seconds: float) -> set[str]:
        """Judge what a check saw, which lies in the scratch folder. Its verdicts. Raises StoreError."""
        stored, context = self._stored(task, name), self._context(name, stand, task)
        seen = load_seen(self.scratch, *task, name, check)
        expected = stored.expectations[check]
        records = judge(context, seen, expected, stored.ceilings[check], check, seconds)
        verdicts = {record.verdict for record in records}
        file = self.scratch.trace(seen_file(*task, name, check))
        if verdicts <= set(NOT_FAILING) and not self.plan.keep_traces:
            file.unlink()
        else:
            file.replace(self.store.trace(file.stem))
        points = curve_points(context, stored.problem, seen.observations, expected) if check == "free_running" else ()
        self.store.enter(Done(*task, name, check), records, points)
        return verdicts

    def not_seen(
        self, name: str, stand: Stand, task: TaskName, checks: Iterable[str], verdict: Verdict, cause: str
    ) -> None:
        """Record checks that could not be made: they are not done."""
        context = self._context(name, stand, task)
        for check in checks:
            self.store.set_aside(context.without_comparison(check, verdict, cause))

    def await_all(self, tasks: Collection[TaskName]) -> None:
        """Keep the data of those tasks that somebody will do, and of those whose case is there."""
        for task in self.tasks:
            case, data = self._files(task)
            if task in tasks or self.store.has_tensors(case):
                self._users.setdefault(data, set()).add(task)

    def put_away(self, task: TaskName) -> None:
        """All is done with a task: remove its tensors, unless something did not pass in it, or all are to be kept."""
        self._at_hand.pop(task, None)
        if self.plan.keep_traces or task not in self.seals or self._failed(task):
            return
        case, data = self._files(task)
        self.store.delete(case)
        self._users.get(data, set()).discard(task)
        if not self._users.get(data):
            self.store.delete(data)

    def _failed(self, task: TaskName) -> bool:
        verdicts = self.store.select("SELECT DISTINCT verdict FROM records WHERE recipe=? AND dtype=?", task)
        return any(verdict not in NOT_FAILING for (verdict,) in verdicts)

    def _files(self, task: TaskName) -> tuple[str, str]:
        return case_files(self.tasks[task].recipe, task[1])

    def _stored(self, task: TaskName, name: str) -> StoredCase:
        """A task's case, which must be as it was sealed when ``name`` is first looked at in it. Raises StoreError."""
        if (task, name) not in self._unchanged:
            check_seal(self.store, self.tasks[task].recipe, task[1], self.seals[task])
            self._unchanged.add((task, name))
        size, stored = self._at_hand.pop(task) if task in self._at_hand else self._load(task)
        self._at_hand[task] = size, stored
        while sum(size for size, _ in self._at_hand.values()) > BYTES_AT_HAND and len(self._at_hand) > 1:
            del self._at_hand[next(iter(self._at_hand))]
        return stored

    def _load(self, task: TaskName) -> tuple[int, StoredCase]:
        """A task's case, with the size of its file."""
        case, _ = self._files(task)
        return self.store.trace(case).stat().st_size, load_case(self.store, self.tasks[task].recipe, task[1])

    def _context(self, name: str, stand: Stand, task: TaskName) -> Context:
        suite, recipe, dtype = self.tasks[task]
        return Context(self.plan.run, suite, recipe, name, stand.release, stand.device, dtype)
