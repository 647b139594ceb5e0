"""Standard output and error that outlive what they are written to: a full disk, a pipe without a reader, nothing."""

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from conformance.cli.display import Exit, say

if TYPE_CHECKING:
    from typing_extensions import Buffer

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # nobody asked for what is wrong then


class Guarded(io.FileIO):
    """A file that nobody needs. What cannot be written is dropped, and so is all after it; ``trouble`` says why."""

    trouble: OSError | None = None

    def write(self, data: "Buffer", /) -> int:
        """Write, or do as if."""
        if self.trouble is None:
            try:
                return super().write(data)
            except OSError as error:
                self.trouble = error
        return memoryview(data).nbytes


class Output:
    """The standard streams of this process, guarded from now on."""

    def __init__(self) -> None:
        _occupy()
        self._raw: Guarded | None
        sys.stdout, self._raw = _guarded(sys.stdout)
        sys.stderr, _ = _guarded(sys.stderr)

    def status(self, wanted: int) -> int:
        """The exit status of a command that calls for ``wanted`` and whose output may have been lost, which is said.

        A reader who wants no more, as ``head``, loses nothing, and a verdict that something is wrong stands.
        """
        sys.stdout.flush()
        trouble = None if self._raw is None else self._raw.trouble
        if trouble is None or trouble.errno == errno.EPIPE:
            return wanted
        say(("conformance:", "bold"), f" standard output cannot be written: {trouble.strerror}", error=True)
        return wanted if wanted in (Exit.NOT_ALL_PASS, Exit.BAD_INPUT) else Exit.INCOMPLETE


def _occupy() -> None:
    """Where a standard stream is closed, no file that is opened later takes its number, and with it what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # with the lowest number that is free, which is this one
            os.set_inheritable(opened, True)


def _guarded(stream: TextIO | None) -> tuple[TextIO, Guarded | None]:
    """A stream that writes where ``stream`` does, and its file; of a stream that is no file, itself and None."""
    if stream is None:  # as Python has it where it is closed
        return open(os.devnull, "w", encoding="utf-8"), None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        raw = Guarded(stream.fileno(), "w", closefd=False)
        at_once = bool(getattr(stream, "write_through", False))
        return io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=at_once or bool(getattr(stream, "line_buffering", False)),
            write_through=at_once,
        ), raw
    return stream, None
