"""What the worker pool speaks to: a launcher, that starts workers, and handles, each of one worker.

There are three kinds of workers: processes of this machine, objects of this process (``inside``), and processes that a
scheduler has elsewhere (``cluster``). The pool knows none of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from conformance.results.traces import Traces
from conformance.runs.inside import InsideWorker, MakeAdapter
from conformance.runs.interpreter import OWN, Interpreter
from conformance.runs.plan import Plan, Task
from conformance.runs.process import Events, WorkerProcess
from conformance.runs.schedule import ORACLE
from conformance.runs.warden import Warden
from conformance.verdicts.compare import Verdict

LOGS = "logs"  # in a run's folder: what workers write on their standard error


class WorkerHandle(Protocol):
    """One worker as the pool sees it: it works on a task at a time, and what it says arrives among the events."""

    @property
    def how_it_ended(self) -> str:
        """Of a worker that has ended: how, in a few words."""

    def begin(self, task: Task, checks: list[str]) -> None:
        """Ask for some checks of a task, which is answered by events; its end is too."""

    def excess(self, plan: Plan, seconds: float, *, loaded: bool) -> tuple[Verdict, str] | None:
        """What is to be said of it if it takes more than the plan allows, as :func:`limits.excess` has it."""

    def kill(self) -> None:
        """End it at once, and whatever it started."""

    def close(self) -> None:
        """Say that there is nothing more to do."""


class Launcher(Protocol):
    """Starts workers."""

    @property
    def at_once(self) -> int:
        """How many workers are at work at once."""

    def launch(self, name: str, events: Events) -> WorkerHandle:
        """Start a worker: of the oracle, or of an implementation by its name in the plan."""

    def forget(self, worker: WorkerHandle) -> None:
        """A worker has ended."""

    def is_inside(self, name: str) -> bool:
        """Whether an implementation is an object of this process: it is alone, and works before ``begin`` returns."""


class LocalLauncher:
    """Workers of this machine. ``inside``: the implementations that are objects of this process, by name."""

    def __init__(self, plan: Plan, scratch: Path, warden: Warden, inside: Mapping[str, MakeAdapter]) -> None:
        self.plan, self.scratch, self.warden, self.inside = plan, scratch, warden, inside
        self.at_once = plan.at_once

    def launch(self, name: str, events: Events) -> WorkerHandle:
        """Start a worker, whose group of processes the warden knows of."""
        if name in self.inside:
            return InsideWorker(name, self.inside[name], self.plan, Traces(self.scratch), events)
        target = self.plan.implementations.get(name, ORACLE)
        log, interpreter = log_of(self.plan, name), Interpreter(self.plan.pythons.get(name, OWN.python))
        process = WorkerProcess(name, target, self.plan.folder, self.scratch, log, events, interpreter)
        self.warden.watch(process.group)
        return process

    def forget(self, worker: WorkerHandle) -> None:
        """Its group of processes is no more."""
        if isinstance(worker, WorkerProcess):
            self.warden.forget(worker.group)

    def is_inside(self, name: str) -> bool:
        """Whether an implementation is an object of this process."""
        return name in self.inside


def log_of(plan: Plan, name: str) -> Path:
    """The file that keeps what the workers of a name write on their standard error; its folder is made."""
    folder = plan.folder / LOGS
    folder.mkdir(exist_ok=True)
    return folder / f"{name.replace('/', '-')}.log"
