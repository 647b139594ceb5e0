"""Files that appear whole or not at all: where they are written meanwhile, and what is left of those that never did."""

import os
import re
from pathlib import Path

import psutil

_PART = re.compile(r"(.+)\.(\d{1,9})\.part", re.DOTALL)  # the file's name, and the process that writes it


def part_of(file: Path) -> Path:
    """Where this process writes a file before it stands under its name."""
    return file.with_name(f"{file.name}.{os.getpid()}.part")


def is_part(name: str, of: str) -> bool:
    """Whether a file of this name is what a process wrote of the file ``of``, or is writing."""
    found = _PART.fullmatch(name)
    return found is not None and found[1] == of


def clear_parts(folder: Path) -> None:
    """Remove what processes that were killed have left in a folder. Raises OSError."""
    for file in folder.glob("*.part"):
        found = _PART.fullmatch(file.name)
        if found and not psutil.pid_exists(int(found[2])):
            file.unlink(missing_ok=True)


def write_whole(file: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all. Raises OSError."""
    part = part_of(file)
    try:
        part.write_bytes(data)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
