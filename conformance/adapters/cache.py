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
