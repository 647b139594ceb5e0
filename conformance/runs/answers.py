"""The next message of a process that is asked something, and what the process may take until it comes."""

import contextlib
import queue
import time
from typing import Any, NamedTuple

from conformance.runs.limits import LOG_BYTES
from conformance.runs.outcome import Incomplete
from conformance.runs.process import Events, WorkerProcess

LOOK_SECONDS = 0.2  # between two looks at what the process takes


class Limits(NamedTuple):
    """How long an answer may take, and how much memory the process; 0 bytes: any."""

    seconds: float = 300.0
    memory_bytes: int = 0


def next_message(process: WorkerProcess, events: Events, limits: Limits, who: str) -> dict[str, Any]:
    """What the process says next. Raises Incomplete, naming ``who``, if it ends, or takes too long or too much."""
    until = time.monotonic() + limits.seconds
    while True:
        with contextlib.suppress(queue.Empty):
            _, message = events.get(timeout=LOOK_SECONDS)
            if message is None:
                raise Incomplete(f"{who}: its process ended: {process.how_it_ended}")
            return message
        _check(process, until, limits, who)


def _check(process: WorkerProcess, until: float, limits: Limits, who: str) -> None:
    if time.monotonic() > until:
        raise Incomplete(f"{who}: no answer within {limits.seconds:g} s")
    if limits.memory_bytes and process.memory() > limits.memory_bytes:
        raise Incomplete(f"{who}: took more than {limits.memory_bytes / 2**20:.0f} MiB of memory")
    if process.logged() > LOG_BYTES:
        raise Incomplete(f"{who}: wrote more than {LOG_BYTES} bytes on its standard error")
