"""A target's process from outside: started in a group of its own, asked, watched, and ended with what it started."""

import queue
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from conformance.identification.exercises import Tensors
from conformance.identification.worker import ANSWER, REQUEST
from conformance.runs.answers import Limits, next_message
from conformance.runs.interpreter import OWN, Interpreter
from conformance.runs.outcome import BadInput
from conformance.runs.process import Events, WorkerProcess

ANY = "any"  # kind, where none is said


class Declined(Exception):
    """The target does not take what it was given; the message says what it said."""


class TargetProcess(WorkerProcess):
    """The worker of a target."""

    module = "conformance.identification.worker"


class Questioned:
    """A target that can be asked. Use it in a ``with``: its process and its files are gone afterwards.

    ``scratch`` is a folder of its own; a module that is written there can be named as a target. Raises BadInput if the
    target cannot be had, Incomplete if its process ends or takes too long or too much.
    """

    def __init__(
        self,
        target: str,
        kind: str | None = None,
        limits: Limits | None = None,
        interpreter: Interpreter = OWN,
    ) -> None:
        self.target, self.limits = target, limits or Limits()
        self.scratch = Path(tempfile.mkdtemp(prefix="conformance-"))
        self._events: Events = queue.Queue()
        try:
            self._process = TargetProcess(
                "target", target, Path(kind or ANY), self.scratch, self.scratch / "log", self._events, interpreter
            )
        except BaseException:
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise
        try:
            self._take_in()
        except BaseException:
            self.close()
            raise

    def turn_to(self, target: str, kind: str | None = None) -> None:
        """Ask another target from now on, in the same process. Raises BadInput if it cannot be had."""
        self.target = target
        self._process.send(target=target, kind=kind or ANY)
        self._take_in()

    def _take_in(self) -> None:
        """What the process says of its target."""
        described = self._message()
        if described["kind"] != "described":
            raise BadInput(str(described.get("text", "the target said nothing that can be understood")))
        self.kind = str(described["target_kind"])
        self.numbers: dict[str, Any] = described["numbers"]
        self.scheduled: bool = described["scheduled"]
        self.given: dict[str, Any] = described["given"]

    def __enter__(self) -> "Questioned":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, question: str, arrays: Tensors) -> Tensors:
        """The arrays that answer a question. Raises Declined if the target does not take what it is given."""
        np.savez(self.scratch / REQUEST, **arrays)  # type: ignore[arg-type]
        self._process.send(ask=question)
        message = self._message()
        if message["kind"] == "declined":
            raise Declined(str(message.get("text")))
        try:
            with np.load(self.scratch / ANSWER, allow_pickle=False) as held:
                found = {name: held[name] for name in held.files}
        except (OSError, ValueError) as error:
            raise Declined(f"its answer cannot be read: {error}") from error
        return found

    def close(self) -> None:
        """End the process and everything it started, and remove its files."""
        self._process.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _message(self) -> dict[str, Any]:
        return next_message(self._process, self._events, self.limits, f"target {self.target}")
