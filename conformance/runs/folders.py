"""Where runs are: a folder for each, and a link to the latest."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.plan import FILE

LATEST = "latest"
WAIT_SECONDS = 30.0  # for what cleans up after a run that was killed


def new_folder(root: Path) -> Path:
    """A new folder for a run, named by the time in UTC, below ``root``."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        folder = root / f"{stamp}{suffix}"
        if not folder.exists():
            return folder
    raise Incomplete(f"{root}: holds a hundred runs of this second")


def missing_above(folder: Path) -> list[Path]:
    """The folders above one that are not there, the nearest first."""
    return [each for each in folder.parents if not each.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of some folders that are there and hold nothing."""
    for each in folders:
        with suppress(OSError):
            each.rmdir()


@contextmanager
def as_latest(folder: Path) -> Iterator[None]:
    """``latest`` beside the folder points to it; where then there is no run, to what it pointed to before.

    Raises Incomplete.
    """
    link = folder.parent / LATEST
    if link.exists() and not link.is_symlink():
        raise Incomplete(f"{link}: is in the way: must be a symbolic link, or nothing")
    above, before = missing_above(folder), link.readlink() if link.is_symlink() else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _point(link, Path(folder.name))
    except OSError as error:
        raise Incomplete(f"{link}: cannot be written: {error}") from error
    try:
        yield
    finally:
        remove_empty([folder])
        if not folder.exists():
            with suppress(OSError):
                _point(link, before)
            remove_empty(above)


def _point(link: Path, to: Path | None) -> None:
    """Let a link point to a path at once, or be no more. Raises OSError."""
    if to is None:
        link.unlink()
        return
    fresh = link.parent / f".latest-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(to)
    fresh.replace(link)


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """Nobody else works in a run's folder meanwhile. Yields a file descriptor: a process that is given it holds it too.

    Raises BadInput where another process does not leave.
    """
    with (folder / FILE).open("rb") as plan:
        until = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(plan, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise BadInput(f"{folder}: another process works on this run: must end first") from None
                time.sleep(0.1)
        yield plan.fileno()
