"""The user's cache folder: where it is, and a bound on what is kept in it from run to run."""

import os
from contextlib import suppress
from pathlib import Path


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


def prune(folder: Path, most_bytes: int) -> None:
    """Once the files of a folder hold more than ``most_bytes``, remove the oldest until they hold half of that.

    Other processes may write, read and prune at the same time: what is gone meanwhile is passed over.
    """
    found = []
    with suppress(OSError):
        for file in folder.iterdir():
            with suppress(OSError):
                status = file.stat()
                found.append((status.st_mtime, status.st_size, file))
    held = sum(size for _, size, _ in found)
    if held <= most_bytes:
        return
    for _, size, file in sorted(found):
        if held <= most_bytes // 2:
            return
        with suppress(OSError):
            file.unlink()
        held -= size


def write_whole(file: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all. Raises OSError."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
