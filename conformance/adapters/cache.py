"""The user's cache folder: where it is, and a bound on what is kept in it from run to run."""

import os
import re
from contextlib import suppress
from pathlib import Path

import psutil

_PART = re.compile(r".+\.(\d{1,9})\.part", re.DOTALL)


def cache_folder(name: str) -> Path | None:
    """This project's folder ``name`` in the user's cache, which need not be there yet; None if there is no home.

    In ``$XDG_CACHE_HOME``, or ``~/.cache`` if that is not an absolute path.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        root = given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return root / "framework-conformance" / name


def prune(folder: Path, most_bytes: int) -> bool:
    """Make a folder, and once its files hold more than ``most_bytes``, remove the oldest until they hold half of that.

    Other processes may write, read and prune at the same time: what is gone meanwhile is passed over. Returns whether
    the folder can be written to.
    """
    found = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            with suppress(OSError):
                status = file.stat()
                found.append((status.st_mtime, status.st_size, file))
    except OSError:
        return False
    held = sum(size for _, size, _ in found)
    target = held if held <= most_bytes else most_bytes // 2
    for _, size, file in sorted(found):
        if held <= target:
            break
        with suppress(OSError):
            file.unlink()
        held -= size
    return os.access(folder, os.W_OK)


def part_of(file: Path) -> Path:
    """Where this process writes a file before it stands under its name."""
    return file.with_name(f"{file.name}.{os.getpid()}.part")


def is_part(name: str) -> bool:
    """Whether a file of this name is one that was not written to its end, or is being written."""
    return _PART.fullmatch(name) is not None


def clear_parts(folder: Path) -> None:
    """Remove what processes that were killed have left of files that they wrote, in all depths. Raises OSError."""
    for file in folder.rglob("*.part"):
        found = _PART.fullmatch(file.name)
        if found and not psutil.pid_exists(int(found[1])):
            file.unlink(missing_ok=True)


def write_whole(file: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all. Raises OSError."""
    part = part_of(file)
    try:
        part.write_bytes(data)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
