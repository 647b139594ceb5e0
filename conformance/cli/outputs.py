"""Whether what a command is to write can be written there: asked by trying, before anything is computed."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance.adapters.installation import FRAMEWORKS
from conformance.cli.display import Exit, stop
from conformance.cli.streams import OF_THE_DISK
from conformance.data.wording import cut, shown

_BESIDE_FRAMEWORKS = ("keras", "optax", "flax")  # which their programs import too


def require_file(option: str, path: Path) -> None:
    """End the command unless a file can be written at a path, in a folder that is there. Nothing is left of the try."""
    _require(option, path, folder=False)


def require_folder(option: str, path: Path) -> None:
    """End the command unless a folder, with those above it, can be made or written to. Nothing is left of the try."""
    _require(option, path, folder=True)


def require_new(option: str, file: Path, *, force: bool) -> None:
    """End the command if there is something at a path that is not to be overwritten."""
    if os.path.lexists(file) and not force:
        stop(Exit.BAD_INPUT, f"{option}={shown(str(file))} is there already: must be another, or --force given")


def require_module(option: str, file: Path, endings: Sequence[str]) -> None:
    """End the command unless a file ends as a program does, and hides no module that a program beside it imports."""
    if file.suffix not in endings:
        stop(Exit.BAD_INPUT, f"{option}={shown(str(file))} is not allowed: must end in {' or '.join(endings)}")
    if file.stem in {*sys.stdlib_module_names, *FRAMEWORKS.values(), *_BESIDE_FRAMEWORKS}:
        given = f"{option}={shown(str(file))}"
        stop(Exit.BAD_INPUT, f"{given} is not allowed: would hide the module {file.stem}: must have another name")


def write_text(file: Path, text: str) -> None:
    """Write a file, and the folder that it is in; or end the command where that is not possible."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        stop(Exit.INCOMPLETE, f"{file}: cannot be written: {error.strerror}")


def _require(option: str, path: Path, *, folder: bool) -> None:
    try:
        if folder:
            _try_folder(path)
        else:
            _try_file(path)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        given = f"{option}={shown(str(path))}"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, OSError) and error.errno in OF_THE_DISK:
            stop(Exit.INCOMPLETE, f"{given} cannot be written: {reason}")
        what = "folder" if folder else "file"
        stop(Exit.BAD_INPUT, f"{given} is not allowed: must be a {what} that can be written: {reason}")


def _try_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError("is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{cut(str(path.parent))} is no folder")
    if path.is_file():
        path.open("ab").close()
    elif not os.path.lexists(path):  # what is no file, as a terminal, is left to the writing
        path.open("xb").close()
        path.unlink()


def _try_folder(path: Path) -> None:
    if path.is_dir():
        with tempfile.TemporaryFile(dir=path):
            return
    if os.path.lexists(path):
        raise ValueError("is a file" if path.exists() else "is a link to nothing")
    made: list[Path] = []
    try:
        for each in (*reversed(path.parents), path):
            if not each.exists():
                each.mkdir()
                made.append(each)
    finally:
        for each in reversed(made):
            with contextlib.suppress(OSError):  # which is not empty any more
                each.rmdir()
