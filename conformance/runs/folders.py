"""Where runs are: a folder for each, and a link to the latest."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


def latest(root: Path) -> Path:
    """The folder that the link below ``root`` points to; the link itself where there is none."""
    return (root / LATEST).resolve()


def point_latest_to(folder: Path) -> None:
    """Let ``latest`` beside the folder point to it. Raises Incomplete."""
    link, fresh = folder.parent / LATEST, folder.parent / f".latest-{os.getpid()}"
    if link.exists() and not link.is_symlink():
        raise Incomplete(f"{link}: is in the way: must be a symbolic link, or nothing")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name)
        fresh.replace(link)
    except OSError as error:
        raise Incomplete(f"{link}: cannot be written: {error}") from error


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
