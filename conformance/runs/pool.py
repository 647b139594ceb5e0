"""The worker pool of a run: who works on what, and what becomes of workers that are lost."""

import math
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.checks.look import describe_error
from conformance.results.store import Store, TrainingTime
from conformance.results.traces import StoreError, Traces
from conformance.runs.judging import CASE, Judge, Stand
from conformance.runs.launching import Launcher, WorkerHandle
from conformance.runs.limits import LOOK_SECONDS
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.plan import Plan
from conformance.runs.process import Events
from conformance.runs.reuse import KeptCases
from conformance.runs.schedule import ORACLE, WORTH_A_WORKER, Schedule, TaskName, Unit
from conformance.runs.timing import Measured
from conformance.runs.watching import Event, Watch, done_before, unwatched, worst
from conformance.verdicts.compare import NOT_FAILING, Verdict

PROBE_BYTES = 2**20
PATIENCE = 2  # times that a worker may be lost on a task before the task is set aside

# Called with the name of an implementation and the number of its tasks done and in all.
Progress = Callable[[str, int, int], None]


@dataclass
class Worker:
    """A worker: its handle, what it said of itself, and what it is at."""

    name: str
    handle: WorkerHandle
    stand: Stand | None = None
    task: TaskName | None = None
    check: str = ""
    begun: float = 0.0  # its task
    since: float = field(default_factory=time.monotonic)  # what it is at
    stopped: tuple[Verdict, str] | None = None  # by us, and why
    import_seconds: float = math.nan

    @property
    def busy(self) -> bool:
        """Whether it is loading or at work."""
        return self.stand is None or self.task is not None


class WorkerPool:
    """The workers of a run, so many at work at a time. ``lost``: what was, with its reason."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        scratch: Path,
        launcher: Launcher,
        progress: Progress,
        watch: Watch = unwatched,
    ) -> None:
        self.plan, self.store, self.scratch, self.launcher = plan, store, scratch, launcher
        self.progress, self.watch = progress, watch
        self.judge = Judge(plan, store, Traces(scratch))
        self.events: Events = queue.Queue()
        self.workers: list[Worker] = []
        self.lost: list[str] = []
        self.failed = False
        self._refusals: list[str] = []  # of the device, by those who do not have it
        self._looked = 0.0
        self.stands: dict[str, Stand] = {}
        self.losses: Counter[Unit] = Counter()
        self.left = self._left()
        self._units = Counter(name for name, _ in plan.units)
        self._units_left = Counter(unit.worker for unit in self.left)
        self.judge.await_all({unit.task for unit in self.left})
        if plan.kept_cases:
            for task, informative_steps, steps in KeptCases(plan).take(store):
                self.judge.case_made(task.name, informative_steps, steps)
        self.schedule = Schedule(self.left, self.judge.made(), launcher.at_once)

    def work(self) -> None:
        """Do all that the plan has and the store has not. Raises BadInput or Incomplete."""
        for event in done_before(self.store):
            self.watch(event)
        self._probe()
        for name in self.plan.implementations:
            self._show_progress(name)
        while not self.stopped:
            self._give_out()
            if self.schedule.finished and not any(worker.busy for worker in self.workers):
                break
            self._listen()

    @property
    def stopped(self) -> bool:
        """Whether something did not pass, with which the run was to end."""
        return self.failed and self.plan.stop_at_failure

    def stop(self) -> None:
        """End whatever still runs."""
        for worker in self.workers:
            worker.handle.kill()
            self.launcher.forget(worker.handle)
        self.workers.clear()

    def _left(self) -> dict[Unit, list[str]]:
        """What is not done: the checks of each unit, in the order of tasks."""
        done = self.store.done()
        left = {}
        for name, task in self.plan.units:
            checks = [check for check in self.plan.checks if (*task.name, name, check) not in done]
            if checks:
                left[Unit(name, task.name)] = checks
        return left

    def _probe(self) -> None:
        """Start one worker of each implementation that has something to do, and hear whether each can be had."""
        names = dict.fromkeys(unit.worker for unit in self.left)
        for name in names:
            self._start(name)
        while any(worker.stand is None for worker in self.workers):
            self._listen()
        if self._refusals:
            having = f"; {', '.join(self.stands)} can be had on it" if self.stands else ""
            raise BadInput("; ".join(self._refusals) + having)
        if not self.workers and len(names) == len(self.plan.implementations):
            raise BadInput("; ".join(self.lost))

    def _start(self, name: str) -> Worker:
        worker = Worker(name, self.launcher.launch(name, self.events))
        self.workers.append(worker)
        return worker

    def _give_out(self) -> None:
        """Give work to workers, and start more of them, as long as there is room."""
        while sum(worker.busy for worker in self.workers) < self.launcher.at_once:
            unit = self.schedule.next(self._may_work)
            if unit is None:
                unit = self.schedule.next(self._may_start)
            if unit is None:
                return
            idle = (worker for worker in self.workers if worker.name == unit.worker and not worker.busy)
            worker = next(idle, None) or self._start(unit.worker)
            worker.task, worker.check = unit.task, ""
            worker.begun = worker.since = time.monotonic()
            self.watch(Event("begun", unit.worker, *unit.task))
            worker.handle.begin(self.judge.tasks[unit.task], list(self.left.get(unit, ())))
            if self.launcher.is_inside(unit.worker):  # which is done by now; nobody was listened to meanwhile
                for each in self.workers:
                    each.since = time.monotonic()

    def _may_work(self, name: str, left: int) -> bool:
        """Whether one is idle, or there is none yet."""
        own = [worker for worker in self.workers if worker.name == name]
        return not own or any(not worker.busy for worker in own)

    def _may_start(self, name: str, left: int) -> bool:
        """Whether there is enough to do for one more, which an object of this process cannot be."""
        return left >= WORTH_A_WORKER and not self.launcher.is_inside(name)

    def _listen(self) -> None:
        """Take in one message, or look at what the workers use."""
        self._look_after()
        try:
            handle, message = self.events.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            return
        worker = next((worker for worker in self.workers if worker.handle is handle), None)
        if worker is None:
            return
        if message is None:
            self._end(worker)
            return
        try:
            self._take(worker, message)
        except StoreError:
            raise
        except (LookupError, TypeError, ValueError) as error:  # it sent what no worker sends
            worker.stopped = (Verdict.CRASHED, f"sent a message that means nothing: {describe_error(error)}")
            worker.handle.kill()

    def _take(self, worker: Worker, message: dict[str, Any]) -> None:
        kind = message["kind"]
        if kind == "ready":
            worker.stand = Stand(message["device"], message["versions"], message["settings"])
            worker.import_seconds = float(message["seconds"])
            self._require_the_same(worker.name, worker.stand)
            if worker.name != ORACLE and self.stands.get(worker.name) != worker.stand:
                self.stands[worker.name] = worker.stand
                self.store.set_fact(f"implementation {worker.name}", worker.stand._asdict())
        elif kind == "refused":
            self._refusals.append(f"{worker.name}: {message['text']}")
            worker.stopped = (Verdict.CRASHED, message["text"])
        elif kind == "bad input":
            raise BadInput(message["text"])
        elif kind == "unwritable":
            if worker.name == ORACLE or not self._can_write():
                raise Incomplete(f"{worker.name}: {message['text']}")
            worker.stopped = (Verdict.CRASHED, message["text"])
        elif kind == "lost":
            worker.stopped = (Verdict.CRASHED, message["text"])
        elif kind == "stopped":
            worker.stopped = worker.stopped or (Verdict(message["verdict"]), message["text"])
        elif kind == "halt":
            raise Incomplete(f"{worker.name}: {message['text']}")
        elif kind == "checking":
            worker.check, worker.since = message["check"], time.monotonic()
            assert worker.task is not None
            self.watch(Event("begun", worker.name, *worker.task, worker.check))
        elif kind == "made":
            assert worker.task is not None
            reach = float(message["informative_steps"]), int(message["steps"])
            self.judge.case_made(worker.task, *reach)
            if self.plan.kept_cases:
                KeptCases(self.plan).keep(self.store, self.judge.tasks[worker.task], *reach)
            self.schedule.case_made(worker.task)
            self.watch(Event("judged", ORACLE, *worker.task, CASE, Verdict.PASS))
        elif kind == "seen":
            self._judge(worker, message)
        elif kind == "measured":
            self._measure(worker, message)
        elif kind == "done":
            self._finish(worker)

    def _require_the_same(self, name: str, stand: Stand) -> None:
        """Raise BadInput where a run goes on in another Python environment whose libraries are no longer those."""
        before = self.store.facts().get(f"implementation {name}", {}).get("versions")
        if name in self.plan.pythons and before is not None and before != dict(stand.versions):
            raise BadInput(
                f"{name}: was begun with {before} and has {dict(stand.versions)} now: must be begun anew, in another"
                " folder"
            )

    def _can_write(self) -> bool:
        """Whether the disk takes something, so that a worker that could write nothing is in trouble of its own."""
        probe = self.scratch / "probe"
        try:
            probe.write_bytes(bytes(PROBE_BYTES))
            return True
        except OSError:
            return False
        finally:
            probe.unlink(missing_ok=True)

    def _judge(self, worker: Worker, message: dict[str, Any]) -> None:
        """Judge what a worker saw in the check that it is at."""
        assert worker.task is not None
        assert worker.stand is not None
        checks = self.left[Unit(worker.name, worker.task)]
        if worker.check not in checks:
            return
        try:
            verdicts = self.judge.seen(worker.name, worker.stand, worker.task, worker.check, float(message["seconds"]))
        except StoreError as error:
            raise Incomplete(f"{worker.name}: {error}") from error
        checks.remove(worker.check)
        self.failed |= not verdicts <= set(NOT_FAILING)
        self.watch(Event("judged", worker.name, *worker.task, worker.check, worst(verdicts)))

    def _measure(self, worker: Worker, message: dict[str, Any]) -> None:
        """Enter how long the training took that a worker is at."""
        assert worker.task is not None
        recipe, dtype = worker.task
        found = Measured(**{name: message[name] for name in Measured._fields})
        self.store.time(TrainingTime(recipe, worker.name, dtype, worker.import_seconds, *found))

    def _finish(self, worker: Worker) -> None:
        assert worker.task is not None
        task, worker.task = worker.task, None
        self.watch(Event("left", worker.name, *task))
        self.schedule.took(worker.name, time.monotonic() - worker.begun)
        if worker.name != ORACLE:
            self._put_away(Unit(worker.name, task))

    def _put_away(self, unit: Unit) -> None:
        """A unit is done: its checks are entered, and perhaps nobody needs its case any more."""
        if self.left.pop(unit, None) is not None:
            self._units_left[unit.worker] -= 1
        self._show_progress(unit.worker)
        if not any(Unit(name, unit.task) in self.left for name in self.stands):  # the others are given up
            self.judge.put_away(unit.task)

    def _show_progress(self, name: str) -> None:
        total = self._units[name]
        self.progress(name, total - self._units_left[name], total)

    def _look_after(self) -> None:
        """Stop workers that take too long or too much."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for worker in self.workers:
            if worker.stopped is None and worker.busy:
                seconds = time.monotonic() - worker.since
                worker.stopped = worker.handle.excess(self.plan, seconds, loaded=worker.stand is not None)
                if worker.stopped is not None:
                    worker.handle.kill()

    def _end(self, worker: Worker) -> None:
        """A worker's process has ended, of which only those say so beforehand that cannot be had."""
        self.workers.remove(worker)
        self.launcher.forget(worker.handle)
        worker.handle.close()
        if worker.stand is None:
            how = worker.stopped[1] if worker.stopped else f"ended while it was loaded: {worker.handle.how_it_ended}"
            self._give_up(worker.name, how)
        elif worker.task is not None:
            self.watch(Event("left", worker.name, *worker.task))
            self._lose(worker, Unit(worker.name, worker.task))

    def _give_up(self, name: str, how: str) -> None:
        """An implementation cannot be had. It costs itself only."""
        self.lost.append(f"{name}: {how}")
        if name == ORACLE:
            raise Incomplete(self.lost[-1])
        if name not in self.stands:
            self.schedule.give_up_implementation(name)
            self._tell_missing(unit for unit in self.left if unit.worker == name)

    def _tell_missing(self, units: Iterable[Unit]) -> None:
        """Tell what nobody will do."""
        for unit in units:
            for check in self.left[unit]:
                self.watch(Event("judged", unit.worker, *unit.task, check, Verdict.MISSING))

    def _lose(self, worker: Worker, unit: Unit) -> None:
        """A worker was lost at work: the task is tried once more, by another; the second time it is set aside."""
        verdict, how = worker.stopped or (Verdict.CRASHED, worker.handle.how_it_ended)
        self.losses[unit] += 1
        if unit.worker == ORACLE:
            if self.losses[unit] < PATIENCE:
                self.schedule.again(unit)
            else:
                self.lost.append(f"worker {ORACLE}, recipe {unit.task[0]}, {unit.task[1]}: {how}")
                self.schedule.give_up_task(unit.task)
                self._tell_missing(other for other in self.left if other.task == unit.task)
            return
        assert worker.stand is not None
        checks = self.left[unit]
        if verdict == Verdict.TIMEOUT and worker.check in checks:
            self._set_aside(unit, worker.stand, [worker.check], verdict, how)
        elif self.losses[unit] < PATIENCE:
            self.schedule.again(unit)
            return
        if self.losses[unit] >= PATIENCE:
            self._set_aside(unit, worker.stand, list(checks), verdict, how)
        if self.left[unit]:
            self.schedule.again(unit)
        else:
            self._put_away(unit)

    def _set_aside(self, unit: Unit, stand: Stand, checks: list[str], verdict: Verdict, how: str) -> None:
        """Record checks that are not tried again in this run."""
        recipe, dtype = unit.task
        self.lost.append(f"worker {unit.worker}, recipe {recipe}, {dtype}: {how}")
        self.judge.not_seen(unit.worker, stand, unit.task, checks, verdict, f"worker process: {how}")
        self.failed = True
        for check in checks:
            self.left[unit].remove(check)
            self.watch(Event("judged", unit.worker, recipe, dtype, check, verdict))
