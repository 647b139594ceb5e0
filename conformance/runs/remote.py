"""What is called in a scheduler's worker, on whatever machine: it keeps worker processes there as a run here does.

Everything that a task needs comes as bytes and everything that it finds goes as bytes: messages as JSON, tensors as
safetensors files. Nothing is assumed of a shared file system, nor of what was called here before.
"""

import asyncio
import json
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conformance.adapters.whole_files import write_whole
from conformance.data.wording import listed
from conformance.results.cases import case_files, seen_file
from conformance.results.traces import Traces
from conformance.runs.environment import state
from conformance.runs.limits import LOOK_SECONDS
from conformance.runs.plan import Plan, Task
from conformance.runs.process import Events, WorkerProcess
from conformance.runs.schedule import ORACLE
from conformance.runs.warden import Warden
from conformance.verdicts.compare import Verdict

Files = dict[str, bytes]  # files of tensors by their names
Messages = list[dict[str, Any]]

MOST_BYTES = 1 << 28  # of all files that travel with one task, either way
MOST_MESSAGES = 1000  # of one task; a worker that sends more has lost its mind
IDLE_SECONDS = 900.0  # without a task, after which a run is taken to be over
LOG_TAIL = 20_000  # characters of a lost worker's log that are sent back
READY, DONE = "ready", "done"


class TooLarge(ValueError):
    """Files that do not travel; the message says how large they are."""


class Asked(NamedTuple):
    """What is asked of a scheduler's worker.

    ``run``: tells runs apart. ``state``: the versions and the source that must be found. ``plan``: the run's, without
    recipes. ``name``: of the implementation, or the oracle's. ``task``: None where it is only to be loaded.
    """

    run: str
    state: dict[str, Any]
    plan: dict[str, Any]
    name: str
    task: dict[str, Any] | None
    checks: list[str]


def work(asked: bytes, files: Files) -> tuple[bytes, Files]:
    """Do one task. Returns what a worker process said, as JSON, and the files that it left.

    The last message says how it ended: ``done`` (``ready`` without a task), ``stopped``, or ``halt``, with which no
    task of the run can be done here.
    """
    order = Asked(**json.loads(asked))
    other = look(order.state)
    if other:
        return _as_bytes([{"kind": "halt", "text": f"on {host()}: {other}"}]), {}
    with Station.of(order.run).worker(order.name, order.plan) as worker:
        if order.task is None or not worker.alive:
            return _as_bytes(worker.loaded), {}
        said, found = worker.do(Task.of(order.task), order.checks, files)
        return _as_bytes([*worker.loaded, *said]), found


def look(wanted: dict[str, Any]) -> str:
    """In what this machine differs from what is wanted; "" where it does not."""
    return differing(wanted, _state_here())


async def leave(run: str) -> None:
    """A run is over: nothing of it stays here. What dask's worker has else to do goes on meanwhile."""
    await asyncio.to_thread(Station.leave, run)


def differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """In which versions, or in which source, what was found differs from what is wanted; "" where it does not.

    >>> differing({"python": "3.12.1", "packages": {"jax": "0.9"}}, {"python": "3.12.1", "packages": {"jax": "0.8"}})
    'jax is 0.8, must be 0.9'
    """
    pairs = _flat(wanted), _flat(found)
    names = [name for name in {**pairs[0], **pairs[1]} if pairs[0].get(name) != pairs[1].get(name)]
    told = (f"{name} is {pairs[1].get(name, 'not there')}, must be {pairs[0].get(name, 'not there')}" for name in names)
    return "; ".join(told)


def _flat(values: Mapping[str, Any]) -> dict[str, str]:
    packages = values.get("packages", {})
    others = {name: str(value)[:12] for name, value in values.items() if name != "packages"}
    return others | {name: str(version) for name, version in packages.items()}


@cache
def _state_here() -> dict[str, Any]:
    return state()


def _as_bytes(messages: Messages) -> bytes:
    return json.dumps(messages).encode()


def files_at(traces: Traces, names: Iterable[str]) -> Files:
    """The files of tensors of these names. Raises TooLarge, OSError."""
    paths = {name: traces.trace(name) for name in names}
    size = sum(path.stat().st_size for path in paths.values())
    if size > MOST_BYTES:
        raise TooLarge(f"{listed(paths)}: {size} bytes: must be at most {MOST_BYTES} to travel to another machine")
    return {name: path.read_bytes() for name, path in paths.items()}


class Attended:
    """A worker process in a folder of its own, held to the plan's limits. ``loaded``: what it said of itself."""

    def __init__(self, name: str, plan: dict[str, Any], folder: Path, warden: Warden) -> None:
        self.plan, self.warden, self.alive = Plan.of(plan, folder), warden, True
        self.traces, self.scratch = Traces(folder), Traces(folder / "scratch")
        for each in (self.traces, self.scratch):
            (each.folder / "traces").mkdir(parents=True)
        self.plan.write()
        self._events: Events = queue.Queue()
        target = self.plan.implementations.get(name, ORACLE)
        self.log = folder / "log"
        self.process = WorkerProcess(name, target, folder, self.scratch.folder, self.log, self._events)
        warden.watch(self.process.group)
        self.loaded = self._hear(READY)

    def do(self, task: Task, checks: list[str], files: Files) -> tuple[Messages, Files]:
        """Do a task on the files of its case. What was said, and the files that were found."""
        name, scratch = self.process.name, self.scratch
        for file, data in files.items():
            write_whole(self.traces.trace(file), data)
        self.process.begin(task, checks)
        said = self._hear(DONE)
        if name == ORACLE:
            found, held = [*case_files(task.recipe, task.dtype)], self.traces
        else:
            found, held = [seen_file(*task.name, name, check) for check in checks], scratch
        try:
            return said, files_at(held, filter(held.has_tensors, found))
        except TooLarge as error:
            return [*said[:-1], {"kind": "stopped", "verdict": Verdict.CRASHED, "text": str(error)}], {}
        finally:
            for file in files:
                self.traces.delete(file)
            for file in found:
                held.delete(file)

    def end(self) -> None:
        """End the process, and remove its folder."""
        self.alive = False
        self.process.kill()
        self.warden.forget(self.process.group)
        shutil.rmtree(self.plan.folder, ignore_errors=True)

    def _hear(self, last: str) -> Messages:
        """What the process says up to a kind of message, or to its end."""
        heard: Messages = []
        began = looked = time.monotonic()
        too_much: tuple[Verdict, str] | None = None
        while True:
            with suppress(queue.Empty):
                _, message = self._events.get(timeout=LOOK_SECONDS)
                if message is None:
                    return [*heard, self._ended(too_much, loading=last == READY)]
                heard.append(message)
                if message["kind"] == last:
                    return heard
                if message["kind"] == "checking":
                    began = time.monotonic()
            if too_much is None and time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                too_much = self.process.excess(self.plan, looked - began, loaded=last != READY)
                if len(heard) > MOST_MESSAGES:
                    too_much = Verdict.CRASHED, f"sent more than {MOST_MESSAGES} messages and was stopped"
                if too_much is not None:
                    self.process.kill()

    def _ended(self, too_much: tuple[Verdict, str] | None, *, loading: bool) -> dict[str, Any]:
        self.alive = False
        how = f"ended while it was loaded: {self.process.how_it_ended}" if loading else self.process.how_it_ended
        verdict, text = too_much or (Verdict.CRASHED, how)
        with suppress(OSError):
            log = self.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]
            return {"kind": "stopped", "verdict": verdict, "text": text, "log": log}
        return {"kind": "stopped", "verdict": verdict, "text": text}


class Station:
    """The worker processes of one run in this process, which live on from task to task."""

    _all: dict[str, "Station"] = {}  # noqa: RUF012 - of this process
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="conformance-"))
        self.warden = Warden(self.folder)
        self._workers: list[Attended] = []
        self._idle: dict[str, list[Attended]] = {}
        self._at_work, self._used = 0, time.monotonic()

    @classmethod
    def of(cls, run: str) -> "Station":
        """That of a run: a new one at its first task here."""
        with cls._lock:
            if run not in cls._all:
                cls._all[run] = cls()
                threading.Thread(target=cls._leave_when_idle, args=(run,), daemon=True).start()
            return cls._all[run]

    @classmethod
    def leave(cls, run: str) -> None:
        """End that of a run, if there is one."""
        with cls._lock:
            station = cls._all.pop(run, None)
        if station is not None:
            station._end()

    @classmethod
    def _leave_when_idle(cls, run: str) -> None:
        while (station := cls._all.get(run)) is not None:
            if not station._at_work and time.monotonic() - station._used > IDLE_SECONDS:
                cls.leave(run)
            time.sleep(min(IDLE_SECONDS, 5.0))

    @contextmanager
    def worker(self, name: str, plan: dict[str, Any]) -> Iterator[Attended]:
        """One that nobody else uses meanwhile: an idle one, or a new one."""
        with self._lock:
            self._at_work += 1
            idle = self._idle.get(name)
            worker = idle.pop() if idle else None
        try:
            if worker is None:
                worker = Attended(name, plan, Path(tempfile.mkdtemp(dir=self.folder)), self.warden)
                self._workers.append(worker)
            yield worker
        finally:
            with self._lock:
                self._at_work, self._used = self._at_work - 1, time.monotonic()
            if worker is not None:
                self._keep_or_end(name, worker)

    def _keep_or_end(self, name: str, worker: Attended) -> None:
        if worker.alive:
            with self._lock:
                self._idle.setdefault(name, []).append(worker)
        else:
            self._workers.remove(worker)
            worker.end()

    def _end(self) -> None:
        for worker in list(self._workers):
            worker.end()
        self.warden.dismiss()
        shutil.rmtree(self.folder, ignore_errors=True)


def host() -> str:
    """The name of this machine and the number of this process, as errors tell it."""
    return f"{os.uname().nodename}, process {os.getpid()}"
