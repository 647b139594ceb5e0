"""What a worker process tells its parent: messages, one JSON object a line."""

import json
import os
from collections.abc import Iterator
from typing import IO, Any


class MessageStream:
    """Writes messages on the process's own standard output, which is kept out of reach of anything that prints."""

    def __init__(self) -> None:
        self._stream: IO[str] = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def ready(self) -> None:
        """The implementation is loaded and its device is there."""
        self._send(kind="ready")

    def done(self, recipe: str, dtype: str) -> None:
        """A task is finished."""
        self._send(kind="done", recipe=recipe, dtype=dtype)

    def bad_input(self, text: str) -> None:
        """What was asked for cannot be had."""
        self._send(kind="bad input", text=text)

    def started(self, recipe: str, dtype: str) -> None:
        """A task is begun."""
        self._send(kind="started", recipe=recipe, dtype=dtype)

    def end(self) -> None:
        """Everything is done."""
        self._send(kind="end")

    def _send(self, **message: Any) -> None:
        self._stream.write(json.dumps(message) + "\n")


def read_messages(lines: IO[str]) -> Iterator[dict[str, Any]]:
    """The messages of a worker, until it closes its end."""
    for line in lines:
        yield json.loads(line)
