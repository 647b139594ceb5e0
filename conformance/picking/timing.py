"""Implementations timed, each in fresh processes of its own with one thread, one process after the other.

Nothing else of this project runs meanwhile. In each process the package is imported, its first training is timed,
compilation included, one more is made to warm up, and then the same training is repeated.
"""

import contextlib
import json
import queue
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from conformance.adapters.registry import available
from conformance.faults.injection import PACKAGES
from conformance.picking.asking import Asked
from conformance.picking.worker import REQUEST
from conformance.runs.limits import LOG_BYTES
from conformance.runs.outcome import BadInput
from conformance.runs.process import Events, WorkerProcess

LOOK_SECONDS = 0.2  # between two looks at a process
TIMEOUT = 600.0  # seconds, after which a process is ended

Progress = Callable[[str, int, int], None]


class Effort(NamedTuple):
    """How much is timed: processes for each implementation, and in each how long and how often at most."""

    processes: int
    seconds: float
    most: int = 300
    timeout: float = TIMEOUT


QUICK, THOROUGH = Effort(1, 0.4), Effort(3, 2.0)


class Timing(NamedTuple):
    """What one process found. ``seconds``: of each training after the first two."""

    version: str
    import_seconds: float
    steps: int
    first_seconds: float
    seconds: tuple[float, ...]
    peak_mib: float


class Timings(NamedTuple):
    """What the processes of one implementation found together; or what went wrong, and whether that was unforeseen."""

    found: tuple[Timing, ...] = ()
    problem: str = ""
    crashed: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """The columns of a table that follow: medians over processes and trainings, and the middle half of these."""
        if self.problem or not self.found:
            return {}
        every = [seconds for timing in self.found for seconds in timing.seconds]
        steps = self.found[0].steps
        low, middle, high = np.quantile(every, (0.25, 0.5, 0.75)).tolist()
        first = statistics.median(timing.first_seconds for timing in self.found)
        return {
            "version": self.found[0].version,
            "trainings": len(every),
            "steps": steps,
            "steps_per_second": steps / middle,
            "steps_per_second_low": steps / high,
            "steps_per_second_high": steps / low,
            "seconds_per_step": middle / steps,
            "import_seconds": statistics.median(timing.import_seconds for timing in self.found),
            "first_step_seconds": first_step_seconds(first, steps, middle / steps),
            "first_training_seconds": first,
            "peak_mib": max(timing.peak_mib for timing in self.found),
        }


def first_step_seconds(first: float, steps: int, seconds_per_step: float) -> float:
    """The time until the first step is made: the first training's, without its other steps at their later pace.

    It is at least that pace.

    >>> round(first_step_seconds(first=1.0, steps=11, seconds_per_step=0.01), 6)
    0.9
    """
    return max(first - (steps - 1) * seconds_per_step, seconds_per_step)


def time_all(asked: Asked, names: Sequence[str], effort: Effort, progress: Progress) -> dict[str, Timings]:
    """Time implementations one after the other, as many rounds as there are processes for each.

    Raises BadInput where the data of the training cannot be had.
    """
    found: dict[str, list[Timing]] = {name: [] for name in names}
    lost: dict[str, Timings] = {}
    for number in range(effort.processes):
        for name in names:
            progress(f"time {name}", number, effort.processes)
            if name not in lost:
                answer = _ask(name, asked, effort)
                if isinstance(answer, Timing):
                    found[name].append(answer)
                else:
                    lost[name] = answer
            progress(f"time {name}", number + 1, effort.processes)
    return {name: lost.get(name, Timings(tuple(found[name]))) for name in names}


class _TimedProcess(WorkerProcess):
    """The process in which an implementation is timed."""

    module = "conformance.picking.worker"


def _ask(name: str, asked: Asked, effort: Effort) -> Timing | Timings:
    """What one fresh process finds of an implementation."""
    request = {
        "package": PACKAGES[name],
        "recipe": asked.recipe.model_dump(mode="json"),
        "dtype": asked.dtype,
        "device": asked.device,
        "seconds": effort.seconds,
        "most": effort.most,
    }
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        scratch, events = Path(folder), Events()
        (scratch / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        process = _TimedProcess(name, available()[name], scratch, scratch, scratch / "log", events)
        try:
            return _answer(_message(process, events, effort.timeout), process)
        finally:
            process.kill()


def _message(process: WorkerProcess, events: Events, timeout: float) -> Mapping[str, Any]:
    """What the process says; of one that says nothing in time, or too much, that it is lost."""
    until = time.monotonic() + timeout
    while time.monotonic() < until and process.logged() <= LOG_BYTES:
        with contextlib.suppress(queue.Empty):
            return events.get(timeout=LOOK_SECONDS)[1] or {"kind": "ended"}
    return {"kind": "lost", "text": f"no answer within {timeout:g} s"}


def _answer(message: Mapping[str, Any], process: WorkerProcess) -> Timing | Timings:
    if message["kind"] == "timed":
        values = {field: message[field] for field in Timing._fields}
        return Timing(**values | {"seconds": tuple(message["seconds"])})
    if message["kind"] == "bad input":
        raise BadInput(str(message["text"]))
    if message["kind"] == "ended":
        return Timings(problem=f"its process ended: {process.how_it_ended}", crashed=True)
    return Timings(problem=str(message["text"]), crashed=message["kind"] != "refused")
