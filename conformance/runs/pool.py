"""The worker pool of a run: processes, so many at a time, and what becomes of those that are lost."""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from conformance.checks import CHECKS
from conformance.results.store import Store
from conformance.runs.environment import WORKER_ENVIRONMENT
from conformance.runs.messages import read_messages
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.plan import Plan, Task
from conformance.verdicts.compare import Verdict
from conformance.verdicts.record import Context

WORKERS_AT_ONCE = 2
TASKS_WORTH_SHARING = 8  # fewer do not pay for a second import of the framework
ORACLE = "oracle"

# Called with the name of a worker and the number of its tasks done and in all.
Progress = Callable[[str, int, int], None]


class Job(NamedTuple):
    """A worker to be: its name, what it runs as ``module:Class``, and its share of the tasks; no parts: none of them,
    it is to be seen only whether it can start."""

    name: str
    target: str
    part: int = 0
    parts: int = 0


@dataclass
class Worker:
    """A running worker process."""

    name: str
    tasks: list[Task]
    process: subprocess.Popen[str]
    log: Path
    done: set[tuple[str, str]] = field(default_factory=set)
    heard: float = field(default_factory=time.monotonic)
    ended: bool = False
    timed_out: bool = False


def shared(name: str, target: str, tasks: int) -> list[Job]:
    """The tasks of one implementation, or of the oracle, shared out so that no processor is idle at the end."""
    parts = WORKERS_AT_ONCE if tasks >= TASKS_WORTH_SHARING else 1
    return [Job(name, target, part, parts) for part in range(parts)]


class WorkerPool:
    """The worker processes of a run, at most ``WORKERS_AT_ONCE`` at a time. ``lost``: which ended badly, and how."""

    def __init__(self, plan: Plan, store: Store, progress: Progress) -> None:
        self.plan, self.store, self.progress = plan, store, progress
        self.messages: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
        self.running: list[Worker] = []
        self.lost: list[str] = []
        self.done: dict[str, int] = {}
        self.logs = plan.folder / "logs"
        self.logs.mkdir(exist_ok=True)

    def work(self, jobs: list[Job]) -> None:
        """Carry out jobs. Tasks that a lost worker leaves undone become records."""
        waiting = list(jobs)
        while waiting or self.running:
            while waiting and len(self.running) < WORKERS_AT_ONCE:
                self.running.append(self._start(waiting.pop(0)))
            self._listen()

    def stop(self) -> None:
        """End whatever still runs."""
        for worker in self.running:
            worker.process.kill()
            worker.process.wait()
        self.running.clear()

    def _start(self, job: Job) -> Worker:
        share = f"{job.part}-of-{job.parts}" if job.parts else "probe"
        log = self.logs / f"{job.name}-{share}.log"
        tasks = self.plan.share(job.part, job.parts) if job.parts else []
        arguments = [str(self.plan.folder), job.name, job.target, str(job.part), str(job.parts)]
        with log.open("w", encoding="utf-8") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "conformance.runs.worker", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=os.environ | WORKER_ENVIRONMENT,
            )
        worker = Worker(job.name, tasks, process, log)
        threading.Thread(target=self._read, args=(worker,), daemon=True).start()
        self._show_progress(job.name)
        return worker

    def _show_progress(self, name: str) -> None:
        """Tasks done by all workers of this name, of those of the whole run."""
        self.done.setdefault(name, 0)
        self.progress(name, self.done[name], len(self.plan.tasks))

    def _read(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        with worker.process.stdout as lines:
            for message in read_messages(lines):
                self.messages.put((worker, message))
        self.messages.put((worker, None))

    def _listen(self) -> None:
        try:
            worker, message = self.messages.get(timeout=1.0)
        except queue.Empty:
            self._stop_silent()
            return
        worker.heard = time.monotonic()
        if message is None:
            self.running.remove(worker)
            worker.process.wait()
            if not worker.ended:
                self._lose(worker)
        elif message["kind"] == "bad input":
            raise BadInput(f"{worker.name}: {message['text']}")
        elif message["kind"] == "done":
            worker.done.add((message["recipe"], message["dtype"]))
            self.done[worker.name] += 1
            self._show_progress(worker.name)
        elif message["kind"] == "end":
            worker.ended = True

    def _stop_silent(self) -> None:
        for worker in self.running:
            if time.monotonic() - worker.heard > self.plan.silence_seconds:
                worker.timed_out = True
                worker.process.kill()

    def _lose(self, worker: Worker) -> None:
        """A worker died or was stopped: say so, and leave a record for everything it did not get to."""
        verdict = Verdict.TIMEOUT if worker.timed_out else Verdict.CRASHED
        how = (
            f"silent for {self.plan.silence_seconds:.0f} s and stopped"
            if worker.timed_out
            else f"exit status {worker.process.returncode}: {_last_line(worker.log)}"
        )
        self.lost.append(f"worker {worker.name}: {how}")
        if worker.name == ORACLE or not worker.tasks:
            raise Incomplete(self.lost[-1])
        facts = self.store.facts().get(f"implementation {worker.name}", {})
        release = next(iter(facts.get("versions", {}).values()), "")
        for suite, recipe, dtype in (task for task in worker.tasks if task.name not in worker.done):
            context = Context(self.plan.run, suite, recipe, worker.name, release, self.plan.device, dtype)
            finished = self.store.finished_checks(recipe.name, dtype, worker.name)
            self.store.add_records(
                context.without_comparison(check, verdict, f"worker process: {how}")
                for check in CHECKS
                if check not in finished
            )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing on its standard error"
