"""The plan of a run and its carrying out: one oracle, then one worker process for each implementation."""

import json
import os
import platform
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from conformance.checks import CHECKS
from conformance.recipes.recipe import Recipe
from conformance.reports import write_reports
from conformance.results.store import Store
from conformance.verdicts.compare import Verdict
from conformance.verdicts.record import Context

WORKERS_AT_ONCE = 2
TASKS_WORTH_SHARING = 8  # fewer do not pay for a second import of the framework
SILENCE_SECONDS = 900.0  # a worker that reports nothing for so long is stopped
PACKAGES = ("numpy", "pandas", "scikit-learn", "torch", "tensorflow-cpu", "tensorflow", "jax", "optax")

# One thread a process: two workers side by side are faster than one with two threads, and sums keep their order.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONWARNINGS": "ignore",
}


class BadInput(Exception):
    """The run cannot start as asked: a device, a data set or an implementation is not there."""


class Incomplete(Exception):
    """The run could not be carried out to its end."""


@dataclass(frozen=True)
class Order:
    """What is asked of a run: recipes with the suite they come from, implementations by name as ``module:Class``."""

    recipes: list[tuple[str, Recipe]]
    implementations: dict[str, str]
    dtypes: list[str]
    device: str
    folder: Path
    silence_seconds: float = SILENCE_SECONDS

    @property
    def tasks(self) -> list[tuple[str, Recipe, str]]:
        """Every recipe in every precision that it and the order name."""
        return [(suite, recipe, d) for suite, recipe in self.recipes for d in self.dtypes if d in recipe.dtypes]


# A worker to be: its name, what it runs as ``module:Class``, and which tasks, as ``part/parts`` or ``probe`` for none.
Job = tuple[str, str, str]

# Called with the name of a worker and the number of its tasks done and in all.
Progress = Callable[[str, int, int], None]


@dataclass
class _Worker:
    name: str
    tasks: list[tuple[str, Recipe, str]]
    process: subprocess.Popen[str]
    log: Path
    done: set[tuple[str, str]] = field(default_factory=set)
    heard: float = field(default_factory=time.monotonic)
    ended: bool = False
    timed_out: bool = False


def carry_out(order: Order, progress: Progress) -> None:
    """Carry out an order in its folder. Raises BadInput or Incomplete; whatever was finished by then is kept."""
    if not order.tasks:
        raise BadInput(f"dtype={','.join(order.dtypes)}: no recipe of this run allows it")
    store = Store(order.folder, create=True)
    run = order.folder.name
    plan = order.folder / "plan.json"
    tasks = [(suite, recipe.model_dump(mode="json"), dtype) for suite, recipe, dtype in order.tasks]
    plan.write_text(json.dumps({"run": run, "device": order.device, "tasks": tasks}), encoding="utf-8")
    store.set_fact("environment", environment(order))
    store.set_fact("recipes", {recipe.name: recipe.model_dump(mode="json") for _, recipe in order.recipes})
    crew = _Crew(order, plan, store, progress)
    try:
        if order.device != "cpu":
            crew.work([(name, target, "probe") for name, target in order.implementations.items()])
        crew.work(_shares("oracle", "oracle", len(order.tasks)))
        shares = [_shares(name, target, len(order.tasks)) for name, target in order.implementations.items()]
        crew.work([job for jobs in shares for job in jobs])
    finally:
        crew.stop()
        write_reports(order.folder)
    if crew.lost:
        raise Incomplete(f"{'; '.join(crew.lost)} (see {order.folder / 'logs'})")


class _Crew:
    """The worker processes of a run, at most ``WORKERS_AT_ONCE`` at a time."""

    def __init__(self, order: Order, plan: Path, store: Store, progress: Progress) -> None:
        self.order, self.plan, self.store, self.progress = order, plan, store, progress
        self.events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self.running: list[_Worker] = []
        self.lost: list[str] = []
        self.done: dict[str, int] = {}
        (order.folder / "logs").mkdir(exist_ok=True)

    def work(self, jobs: list[Job]) -> None:
        """Carry out jobs. Tasks that a lost worker leaves undone become records."""
        waiting = list(jobs)
        while waiting or self.running:
            while waiting and len(self.running) < WORKERS_AT_ONCE:
                self.running.append(self._start(*waiting.pop(0)))
            self._listen()

    def stop(self) -> None:
        """End whatever still runs."""
        for worker in self.running:
            worker.process.kill()
            worker.process.wait()
        self.running.clear()

    def _start(self, name: str, target: str, share: str) -> _Worker:
        log = self.order.folder / "logs" / f"{name}-{share.replace('/', '-of-')}.log"
        part, _, parts = share.partition("/")
        tasks = self.order.tasks[int(part) :: int(parts)] if parts else []
        command = [sys.executable, "-m", "conformance.runs.worker", str(self.plan), name, target, share]
        with log.open("w", encoding="utf-8") as stderr:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=os.environ | ENVIRONMENT
            )
        worker = _Worker(name, tasks, process, log)
        threading.Thread(target=self._read, args=(worker,), daemon=True).start()
        self._show_progress(name)
        return worker

    def _show_progress(self, name: str) -> None:
        """Tasks done by all workers of this name, of those of the whole run."""
        self.done.setdefault(name, 0)
        self.progress(name, self.done[name], len(self.order.tasks))

    def _read(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        with worker.process.stdout as lines:
            for line in lines:
                self.events.put((worker, json.loads(line)))
        self.events.put((worker, None))

    def _listen(self) -> None:
        try:
            worker, event = self.events.get(timeout=1.0)
        except queue.Empty:
            self._stop_silent()
            return
        worker.heard = time.monotonic()
        if event is None:
            self.running.remove(worker)
            worker.process.wait()
            if not worker.ended:
                self._lose(worker)
        elif event["event"] == "bad input":
            raise BadInput(f"{worker.name}: {event['message']}")
        elif event["event"] == "done":
            worker.done.add((event["recipe"], event["dtype"]))
            self.done[worker.name] += 1
            self._show_progress(worker.name)
        elif event["event"] == "end":
            worker.ended = True

    def _stop_silent(self) -> None:
        for worker in self.running:
            if time.monotonic() - worker.heard > self.order.silence_seconds:
                worker.timed_out = True
                worker.process.kill()

    def _lose(self, worker: _Worker) -> None:
        """A worker died or was stopped: say so, and leave a record for everything it did not get to."""
        verdict = Verdict.TIMEOUT if worker.timed_out else Verdict.CRASHED
        how = (
            f"silent for {self.order.silence_seconds:.0f} s and stopped"
            if worker.timed_out
            else f"exit status {worker.process.returncode}: {_last_line(worker.log)}"
        )
        self.lost.append(f"worker {worker.name}: {how}")
        if worker.name == "oracle" or not worker.tasks:
            raise Incomplete(self.lost[-1])
        facts = self.store.facts().get(f"implementation {worker.name}", {})
        release = next(iter(facts.get("versions", {}).values()), "")
        for suite, recipe, dtype in worker.tasks:
            if (recipe.name, dtype) not in worker.done:
                context = Context(self.order.folder.name, suite, recipe, worker.name, release, self.order.device, dtype)
                finished = {row[0] for row in self.store.select(
                    "SELECT DISTINCT \"check\" FROM records WHERE recipe=? AND dtype=? AND implementation=?",
                    (recipe.name, dtype, worker.name))}  # fmt: skip
                self.store.add_records(
                    context.without_comparison(check, verdict, f"worker process: {how}")
                    for check in CHECKS
                    if check not in finished
                )


def _shares(name: str, target: str, tasks: int) -> list[Job]:
    """The tasks of one implementation, or of the oracle, shared out so that no processor is idle at the end."""
    parts = WORKERS_AT_ONCE if tasks >= TASKS_WORTH_SHARING else 1
    return [(name, target, f"{part}/{parts}") for part in range(parts)]


def environment(order: Order) -> dict[str, Any]:
    """What the run ran on, and what was asked of it."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "packages": _versions(PACKAGES),
        "worker_environment": dict(ENVIRONMENT),
        "device": order.device,
        "dtypes": order.dtypes,
        "implementations": order.implementations,
    }


def new_folder(root: Path) -> Path:
    """A new folder for a run, named by the time in UTC, below ``root``."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        folder = root / f"{stamp}{suffix}"
        if not folder.exists():
            return folder
    raise Incomplete(f"{root}: holds a hundred runs of this second")


def point_latest_to(folder: Path) -> None:
    """Let ``latest`` beside the folder point to it."""
    link, fresh = folder.parent / "latest", folder.parent / f".latest-{os.getpid()}"
    if link.exists() and not link.is_symlink():
        raise Incomplete(f"{link}: is in the way: must be a symbolic link, or nothing")
    fresh.symlink_to(folder.name)
    fresh.replace(link)


def _versions(packages: Iterable[str]) -> Mapping[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing on its standard error"
