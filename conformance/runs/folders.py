"""Where runs are: a folder for each, and a link to the latest."""

import os
from datetime import UTC, datetime
from pathlib import Path

from conformance.runs.outcome import Incomplete


def new_folder(root: Path) -> Path:
    """A new folder for a run, named by the time in UTC, below ``root``."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        folder = root / f"{stamp}{suffix}"
        if not folder.exists():
            return folder
    raise Incomplete(f"{root}: holds a hundred runs of this second")


def point_latest_to(folder: Path) -> None:
    """Let ``latest`` beside the folder point to it. Raises Incomplete."""
    link, fresh = folder.parent / "latest", folder.parent / f".latest-{os.getpid()}"
    if link.exists() and not link.is_symlink():
        raise Incomplete(f"{link}: is in the way: must be a symbolic link, or nothing")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name)
        fresh.replace(link)
    except OSError as error:
        raise Incomplete(f"{link}: cannot be written: {error}") from error
