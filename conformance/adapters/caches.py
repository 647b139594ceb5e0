"""Where this user keeps what need not be made twice."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """The project's folder below ``XDG_CACHE_HOME`` or ``~/.cache``; None where there is no home for it."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        root = given if given.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return root / "framework-conformance"


def write_whole(file: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all. Raises OSError."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
