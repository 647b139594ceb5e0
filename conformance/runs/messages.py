"""What a worker process and its parent tell each other: messages, one JSON object a line.

The parent asks for the checks of one task, and closes its end when there is nothing more to do. The worker answers.
"""

import json
import math
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from conformance.data.wording import one_line

if TYPE_CHECKING:  # a worker that measures nothing needs none of what measuring does
    from conformance.runs.timing import Measured

LONGEST = 1_000_000  # characters of a message; a worker that sends more has lost its mind


class MessageStream:
    """A worker's end: the process's own standard input and output, kept out of reach of whatever reads and prints."""

    def __init__(self) -> None:
        self._requests: IO[str] = os.fdopen(os.dup(0), encoding="utf-8")
        self._answers: IO[str] = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        self._owner = os.getpid()

    def requests(self) -> Iterator[dict[str, Any]]:
        """What the parent asks for, until it closes its end."""
        return map(json.loads, self._requests)

    def ready(self, device: str, versions: dict[str, str], settings: dict[str, Any], seconds: float) -> None:
        """The implementation is loaded, which took so many seconds, and its device is there."""
        self._send(kind="ready", device=device, versions=plain(versions), settings=plain(settings), seconds=seconds)

    def refused(self, text: str) -> None:
        """The device asked for is not there."""
        self._send(kind="refused", text=one_line(text))

    def lost(self, text: str) -> None:
        """The implementation cannot be loaded."""
        self._send(kind="lost", text=one_line(text))

    def checking(self, check: str) -> None:
        """A check is begun."""
        self._send(kind="checking", check=check)

    def seen(self, check: str, seconds: float) -> None:
        """What a check saw lies in the scratch folder."""
        self._send(kind="seen", check=check, seconds=seconds)

    def measured(self, measured: "Measured") -> None:
        """All checks of a task are done: how long its training takes, and the memory of the process."""
        self._send(kind="measured", **measured._asdict())

    def timed(self, **found: Any) -> None:
        """An implementation was timed alone: its import, its first training, and those after it."""
        self._send(kind="timed", **found)

    def trained(self) -> None:
        """One more seed's trainings are made."""
        self._send(kind="trained")

    def made(self, informative_steps: float, steps: int) -> None:
        """The oracle's case lies in the run's folder."""
        self._send(kind="made", informative_steps=informative_steps, steps=steps)

    def done(self) -> None:
        """The task is finished."""
        self._send(kind="done")

    def bad_input(self, text: str) -> None:
        """What was asked for cannot be had."""
        self._send(kind="bad input", text=one_line(text))

    def unwritable(self, text: str) -> None:
        """A file could not be read or written: the disk takes nothing more, or it is the worker's own trouble."""
        self._send(kind="unwritable", text=one_line(text))

    def _send(self, **message: Any) -> None:
        if os.getpid() != self._owner:  # a fork of the worker, which somebody's code forgot to end
            os._exit(1)
        self._answers.write(json.dumps(message, default=str) + "\n")


def plain(value: Any) -> Any:
    r"""What somebody's code says, as JSON has it: each text a line, and nothing that JSON has no number for.

    >>> plain({"seed": 3, "scale": float("inf"), "kind": complex, "tags": ("b\x1b",)})
    {'seed': 3, 'scale': 'inf', 'kind': "<class 'complex'>", 'tags': ['b\\x1b']}
    """
    if isinstance(value, dict):
        return {one_line(str(name)): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return one_line(str(value))


def read_messages(lines: IO[str]) -> Iterator[dict[str, Any]]:
    """The messages of a worker, until it closes its end or sends what is none."""
    while line := lines.readline(LONGEST):
        try:
            message = json.loads(line)
        except ValueError:
            return
        if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
            return
        yield message
