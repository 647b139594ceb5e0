"""Faults planted on purpose: a copy of a package with a few lines of its source changed, and an adapter of the copy.

A change that no longer fits the source is an error, so no fault can quietly become none.
"""

import compileall
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import util
from importlib.machinery import ModuleSpec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import NamedTuple

from conformance.adapters.session import Adapter

PACKAGES = {"numpy": "reference_numpy", "torch": "impl_torch", "tf": "impl_tf", "jax": "impl_jax"}


class Edit(NamedTuple):
    """``old`` stands exactly once in the file and is replaced by ``new``."""

    old: str
    new: str


Edits = tuple[Edit, ...]


@contextmanager
def planted(implementation: str, *changes: tuple[str, Edits]) -> Iterator[type[Adapter]]:
    """While this lasts, the adapter of a copy of an implementation with ``changes``: files, and edits of them.

    ``implementation``: ``numpy``, ``torch``, ``tf`` or ``jax``. Nothing else that is loaded, or loaded later, sees the
    copy. Raises ValueError for an edit that does not fit the source.

    >>> with planted("numpy", ("schedules.py", (Edit("return alpha_0", "return 0.0"),))):
    ...     ...
    Traceback (most recent call last):
    ...
    ValueError: reference_numpy/schedules.py has 'return alpha_0' 0 times: must be once
    """
    package = PACKAGES[implementation]
    with TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder) / package
        shutil.copytree(Path(_compiled(package).name) / package, copy)
        for file, edits in changes:
            source = (copy / file).read_text(encoding="utf-8")
            for edit in edits:
                if source.count(edit.old) != 1:
                    raise ValueError(f"{package}/{file} has {edit.old!r} {source.count(edit.old)} times: must be once")
                source = source.replace(edit.old, edit.new)
            (copy / file).write_text(source, encoding="utf-8")
        yield _adapter_of(copy, implementation)


@cache
def _compiled(package: str) -> TemporaryDirectory[str]:
    """A folder with a copy of a package, compiled, so that of a further copy only what is changed is compiled again."""
    original = util.find_spec(package)
    assert original is not None
    assert original.origin is not None
    folder = TemporaryDirectory(prefix="compiled-")
    copy = Path(folder.name) / package
    shutil.copytree(Path(original.origin).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(copy, quiet=2)
    return folder


def _adapter_of(copy: Path, implementation: str) -> type[Adapter]:
    """The adapter's class, from a module of its own whose implementation is the package in the folder ``copy``."""
    with _set_aside(copy.name):
        location = util.spec_from_file_location(copy.name, copy / "__init__.py", submodule_search_locations=[str(copy)])
        sys.modules[copy.name] = _not_yet_run(location)
        _run(sys.modules[copy.name])
        adapter = _not_yet_run(util.find_spec(f"conformance.adapters.{implementation}"))
        _run(adapter)
    found: type[Adapter] = getattr(adapter, f"{implementation.capitalize()}Adapter")
    return found


def _not_yet_run(spec: ModuleSpec | None) -> ModuleType:
    assert spec is not None
    return util.module_from_spec(spec)


def _run(module: ModuleType) -> None:
    assert module.__spec__ is not None
    assert module.__spec__.loader is not None
    module.__spec__.loader.exec_module(module)


@contextmanager
def _set_aside(package: str) -> Iterator[None]:
    """While this lasts the modules of ``package`` are as if never imported."""

    def taken_out() -> dict[str, ModuleType]:
        inside = [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
        return {name: sys.modules.pop(name) for name in inside}

    mine = taken_out()
    try:
        yield
    finally:
        taken_out()
        sys.modules.update(mine)
