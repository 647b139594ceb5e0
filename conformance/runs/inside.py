"""An implementation that is an object of this process, looked at here: no other process could import it.

The oracle stays in its own process, and what is seen is judged by the same judge. What does not hold here: whatever the
object does, it does to the process that judges it; it is not stopped where it takes too long or too much memory, and a
crash of it is a crash of the run.
"""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from conformance.adapters.session import Adapter
from conformance.results.traces import Traces
from conformance.runs.messages import MessageStream
from conformance.runs.plan import Plan, Task
from conformance.runs.process import Events
from conformance.runs.worker import adapter_of, look_at

MakeAdapter = Callable[[str], Adapter]
NOBODY: Mapping[str, MakeAdapter] = MappingProxyType({})


class InsideWorker:
    """What a :class:`~conformance.runs.process.WorkerProcess` is to the pool, without a process.

    It does what it is asked for before ``begin`` returns.
    """

    how_it_ended = "is of this process"

    def __init__(self, name: str, make: MakeAdapter, plan: Plan, scratch: Traces, events: Events) -> None:
        self.name, self.plan, self.scratch = name, plan, scratch
        self._stream = _Stream(lambda message: events.put((self, message)))
        self._adapter = adapter_of(lambda: make(plan.device), name, self._stream)
        if self._adapter is None:
            events.put((self, None))

    def begin(self, task: Task, checks: list[str]) -> None:
        """Make some checks of a task."""
        assert self._adapter is not None
        look_at(self.name, self._adapter, Traces(self.plan.folder), self.scratch, self._stream, task, checks)
        self._stream.done()

    def excess(self, plan: Plan, seconds: float, *, loaded: bool) -> None:
        """It is not stopped, whatever it takes."""

    def kill(self) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing to close."""


class _Stream(MessageStream):
    """Messages that stay in this process, as a pipe would have brought them."""

    def __init__(self, put: Callable[[dict[str, Any]], None]) -> None:
        self._put = put

    def _send(self, **message: Any) -> None:
        self._put(json.loads(json.dumps(message, default=str)))
