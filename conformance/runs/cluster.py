"""Workers that dask has: on this machine, or on others that share no files with it.

A task is one call of :func:`~conformance.runs.remote.work` in one of dask's workers. What is asked goes there as JSON
and files, and what was seen comes back so; the run's own process judges it as it does what a process here has seen.
Dask's own transport pickles, between machines that trust each other.
"""

import json
import logging
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.adapters.whole_files import write_whole
from conformance.data.wording import one_line
from conformance.results.cases import case_files, seen_file
from conformance.results.traces import Traces
from conformance.runs import remote
from conformance.runs.environment import state
from conformance.runs.launching import WorkerHandle, log_of
from conformance.runs.outcome import Incomplete
from conformance.runs.plan import Plan, Task
from conformance.runs.process import Events
from conformance.runs.schedule import ORACLE
from conformance.runs.scheduler import Scheduler
from conformance.verdicts.compare import Verdict

AHEAD = 2  # tasks of each thread of dask's: the next one is there when it has done one
CONNECT_SECONDS = 30.0  # to the scheduler, and for its first worker
PATIENCE_SECONDS = 120.0  # without any worker, after which a run is broken off
COUNT_SECONDS = 10.0  # between two looks at how many workers there are
SETTINGS = {"logging.distributed": "critical", "distributed.admin.large-graph-warning-threshold": "1GiB"}


class RemoteWorker:
    """A worker as the pool sees it: a task at a time, each done by any of dask's own."""

    how_it_ended = "was lost with the machine that it was on"

    def __init__(self, name: str, launcher: "ClusterLauncher", events: Events) -> None:
        self.name, self._launcher, self._events = name, launcher, events
        self._submit(None, [], {})

    def begin(self, task: Task, checks: list[str]) -> None:
        """Ask for some checks of a task; of the oracle for its case."""
        names = () if self.name == ORACLE else case_files(task.recipe, task.dtype)
        try:
            self._submit(task, checks, remote.files_at(self._launcher.traces, names))
        except remote.TooLarge as error:
            self._say([{"kind": "stopped", "verdict": Verdict.CRASHED, "text": str(error)}])

    def excess(self, plan: Plan, seconds: float, *, loaded: bool) -> None:
        """It is held to the limits where it works. Raises Incomplete where dask has had no worker for long."""
        self._launcher.require_workers()

    def kill(self) -> None:
        """Let nobody begin what it was asked for."""
        with suppress(OSError):  # of a scheduler that is gone
            self._future.cancel()

    def close(self) -> None:
        """Nothing to close: what waits for its next task ends with the run."""

    def _submit(self, task: Task | None, checks: list[str], files: remote.Files) -> None:
        self._future = self._launcher.submit(self.name, task, checks, files)
        self._future.add_done_callback(lambda future: self._take(future, task, checks))

    def _take(self, future: Any, task: Task | None, checks: list[str]) -> None:
        try:
            self._say(self._launcher.answer(future, self.name, task, checks))
        except Exception as error:  # whatever dask raises, the pool has to hear of it
            self._say([{"kind": "halt", "text": f"{type(error).__name__}: {error}"}])

    def _say(self, messages: remote.Messages) -> None:
        """Let the pool hear messages, of which the last may say that the worker ended."""
        for message in messages:
            if "log" in message:
                with log_of(self._launcher.plan, self.name).open("a", encoding="utf-8") as log:
                    log.write(message["log"])
            self._events.put((self, message))
        if not messages or messages[-1]["kind"] not in (remote.READY, remote.DONE):
            self._events.put((self, None))


class ClusterLauncher:
    """Has the tasks of a run done by dask's workers. ``elsewhere``: not on this machine alone."""

    def __init__(self, client: Any, plan: Plan, scratch: Path, *, elsewhere: bool) -> None:
        self.client, self.plan, self.elsewhere = client, plan, elsewhere
        self.traces, self.scratch = Traces(plan.folder), Traces(scratch)
        self.run = f"{plan.run}-{uuid.uuid4().hex}"
        self._state, self._plan = state(), replace(plan, recipes=[]).as_dict
        self._stands: dict[str, dict[str, Any]] = {}
        self._threads, self._counted, self._there = 0, 0.0, time.monotonic()
        self._require_alike()

    @property
    def at_once(self) -> int:
        """Tasks asked for at once: as many as ``--jobs`` says, or some more than dask has threads."""
        self.require_workers()
        if self.elsewhere and self.plan.workers:
            return self.plan.workers
        return max(1, AHEAD * self._threads)

    def launch(self, name: str, events: Events) -> WorkerHandle:
        """One more task at a time, of an implementation or of the oracle."""
        return RemoteWorker(name, self, events)

    def forget(self, worker: WorkerHandle) -> None:
        """Nothing of it is kept here."""

    def is_inside(self, name: str) -> bool:
        """None is an object of this process."""
        return False

    def submit(self, name: str, task: Task | None, checks: list[str], files: remote.Files) -> Any:
        """Ask for a task; dask's future of its answer."""
        asked = remote.Asked(self.run, self._state, self._plan, name, task and task.as_dict, checks)
        place = "-".join((name, *task.name) if task else (name, "load"))
        key = f"{place}-{uuid.uuid4().hex}"
        first = 0 if name == ORACLE else 1  # cases do not pile up
        return self.client.submit(remote.work, json.dumps(asked._asdict()).encode(), files, key=key, priority=first)

    def answer(self, future: Any, name: str, task: Task | None, checks: list[str]) -> remote.Messages:
        """What was said, when the files that were found are where those of a process here would be."""
        from distributed import KilledWorker

        error = future.exception()
        if isinstance(error, KilledWorker):
            return [{"kind": "stopped", "verdict": Verdict.CRASHED, "text": str(error)}]
        if error is not None:
            return [{"kind": "halt", "text": f"{type(error).__name__}: {one_line(str(error))}"}]
        said, files = future.result()
        messages: remote.Messages = json.loads(said)
        for message in messages:
            if message["kind"] == remote.READY:
                self._require_same(name, message)
        if task is not None:
            self._keep(name, task, checks, files)
        return messages

    def require_workers(self) -> None:
        """Count dask's threads anew, from time to time. Raises Incomplete if there were none for long."""
        now = time.monotonic()
        if now - self._counted < COUNT_SECONDS:
            return
        self._counted, self._threads = now, sum(self.client.nthreads().values())
        if self._threads:
            self._there = now
        elif now - self._there > PATIENCE_SECONDS:
            raise Incomplete(f"dask has had no worker for {PATIENCE_SECONDS:g} s")

    def leave(self) -> None:
        """Let nothing of the run stay at dask's workers."""
        with suppress(OSError):  # of a scheduler that is gone; its workers end by themselves what is idle
            self.client.run(remote.leave, self.run, on_error="ignore")

    def _require_alike(self) -> None:
        """Raise Incomplete, naming what differs, unless all have the versions and the source of this process."""
        found = self.client.run(remote.look, self._state, on_error="return")
        other = {where: one_line(str(what)) for where, what in found.items() if what != ""}
        if other:
            raise Incomplete("; ".join(f"dask's worker {where}: {what}" for where, what in other.items()))

    def _require_same(self, name: str, ready: dict[str, Any]) -> None:
        """Raise Incomplete unless an implementation says the same of itself wherever it is loaded."""
        stand = {"versions": ready["versions"], "settings": ready["settings"]}
        first = self._stands.setdefault(name, stand)
        if stand != first:
            raise Incomplete(f"says of itself {stand} on one machine, and {first} on another: must be the same")

    def _keep(self, name: str, task: Task, checks: list[str], files: remote.Files) -> None:
        """Put files where those of a process here would be. Raises Incomplete for data that are not those of others."""
        case, data = case_files(task.recipe, task.dtype)
        held = self.traces if name == ORACLE else self.scratch
        allowed = {case, data} if name == ORACLE else {seen_file(*task.name, name, check) for check in checks}
        for file in allowed & files.keys():
            if file == data and held.has_tensors(data):
                write_whole(self.scratch.trace(data), files[data])
                if not _same(held, self.scratch, data):
                    raise Incomplete(f"recipe {task.recipe.name!r}: its data are not what another machine made of them")
            else:
                write_whole(held.trace(file), files[file])


def _same(one: Traces, other: Traces, name: str) -> bool:
    """Whether two files hold the same tensors, to the bit; their bytes may differ in the order of what they say."""
    (arrays, facts), (others, other_facts) = one.load(name), other.load(name)
    alike = [name in others and array.tobytes() == others[name].tobytes() for name, array in arrays.items()]
    return facts == other_facts and all(alike)


@contextmanager
def opened(scheduler: Scheduler, plan: Plan, scratch: Path) -> Iterator[ClusterLauncher]:
    """A launcher at a scheduler: the one that is named, or one of this run's own. Raises Incomplete."""
    import dask
    import distributed  # whose own settings must be there before ours, which are taken back at the end

    logging.getLogger(distributed.__name__).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        try:
            client = stack.enter_context(_client(scheduler, plan, scratch, stack))
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise Incomplete(f"{scheduler}: {type(error).__name__}: {one_line(str(error))}") from error
        launcher = ClusterLauncher(client, plan, scratch, elsewhere=scheduler.elsewhere)
        stack.callback(launcher.leave)
        yield launcher


def _client(scheduler: Scheduler, plan: Plan, scratch: Path, stack: ExitStack) -> Any:
    """A client of dask's, and what it needs for as long as it lasts."""
    from distributed import Client, LocalCluster

    if "://" in scheduler.address:
        return Client(scheduler.address, timeout=CONNECT_SECONDS, set_as_default=False)
    if scheduler.elsewhere:
        return Client(scheduler_file=scheduler.address, timeout=CONNECT_SECONDS, set_as_default=False)
    temporary = scratch / "dask"
    temporary.mkdir()
    with _interrupts_ignored():
        cluster = LocalCluster(
            n_workers=plan.at_once,
            threads_per_worker=1,
            memory_limit=0,  # which is the worker processes', that the plan's limit holds for
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=str(temporary),
            env={"TMPDIR": str(temporary)},  # by which the run's warden knows them
        )
    return Client(stack.enter_context(cluster), set_as_default=False)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that are started meanwhile ignore Ctrl-C, which a terminal sends to all: this one ends them."""
    if threading.current_thread() is not threading.main_thread():  # which alone can say so
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
