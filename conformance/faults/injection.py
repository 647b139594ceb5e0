"""Fault injection: a copy of a package with a few places of its source changed, and an adapter of the copy.

A change that no longer fits the source is an error, so no fault can quietly become none.
"""

import ast
import compileall
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module, util
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, ModuleType
from typing import NamedTuple

from conformance.adapters.session import Adapter

PACKAGES = {"numpy": "reference_numpy", "torch": "impl_torch", "tf": "impl_tf", "jax": "impl_jax"}

REFERENCE = PACKAGES["numpy"]

Span = tuple[int, int]  # of a text: where it begins, and where it ends


class Edit(NamedTuple):
    """``old`` stands exactly once in ``at`` and is replaced by ``new``.

    ``at`` is ``"file.py: name"``: a function or class at the top of the module, a method as ``Class.method``, or a
    name that is assigned there; ``"file.py"`` alone is the whole file.
    """

    at: str
    old: str
    new: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.at.partition(": ")[0]


Edits = tuple[Edit, ...]


@contextmanager
def injected(implementation: str, *edits: Edit) -> Iterator[type[Adapter]]:
    """While this lasts, the adapter of a copy of an implementation with ``edits``.

    ``implementation``: ``numpy``, ``torch``, ``tf`` or ``jax``. Nothing else that is loaded, or loaded later, sees the
    copy. The reference, which keeps nothing between calls, is copied as far as an edit reaches; of the others, whose
    frameworks read sources and keep programs, a copy of the whole package is loaded. Raises ValueError for an edit that
    does not fit the source, and for two of the same text.

    >>> with injected("numpy", Edit("schedules.py: constant", "return alpha_0", "return 0.0")):
    ...     ...
    Traceback (most recent call last):
    ...
    ValueError: reference_numpy/schedules.py: constant has 'return alpha_0' 0 times: must be once
    """
    package = PACKAGES[implementation]
    if package == REFERENCE:
        with _with_changes(package, edits, _imports_of(package)):
            adapter = _adapter_of(implementation)
        yield adapter
        return
    with TemporaryDirectory(prefix="injected-") as folder:
        copy = Path(folder) / package
        shutil.copytree(Path(_compiled(package).name) / package, copy)
        for file in dict.fromkeys(edit.file for edit in edits):
            source = (copy / file).read_text(encoding="utf-8")
            mine = [edit for edit in edits if edit.file == file]
            (copy / file).write_text(edited(source, mine, package), encoding="utf-8")
        with _set_aside(package):
            initial = copy / "__init__.py"
            found = util.spec_from_file_location(package, initial, submodule_search_locations=[str(copy)])
            sys.modules[package] = _not_yet_run(found)
            _run(sys.modules[package])
            adapter = _adapter_of(implementation)
        yield adapter


def injected_module(module: ModuleType, *edits: Edit) -> ModuleType:
    """A copy of one module of a package, with ``edits`` of it and of all that it takes something from.

    What no edit reaches it takes from the package as it is. Raises ValueError as :func:`injected`.

    >>> from reference_numpy import schedules
    >>> changed = injected_module(schedules, Edit("schedules.py: constant", "lambda t: learning_rate", "lambda t: 0.0"))
    >>> changed.constant(0.1)(7), schedules.constant(0.1)(7)
    (0.0, 0.1)
    """
    package, _, name = module.__name__.rpartition(".")
    imports = _imports_of(package)
    below = {name}
    while more := {each for file in below for each in imports[file]} - below:
        below |= more
    with _with_changes(package, edits, {file: needed for file, needed in imports.items() if file in below}):
        return sys.modules[module.__name__]


@contextmanager
def _with_changes(package: str, edits: Edits, imports: Mapping[str, Iterable[str]]) -> Iterator[None]:
    """While this lasts a package is one with ``edits``: modules that they reach are loaded anew, the others its own.

    ``imports``: what each module that may be loaded anew takes something from, in an order in which they can be.
    """
    changed = {edit.file.removesuffix(".py") for edit in edits}
    for file in sorted(changed):
        if file not in imports:
            raise ValueError(f"{package} has no {file}.py: must be one of {', '.join(sorted(imports))}")
    for file in imports:
        import_module(f"{package}.{file}")
    originals = {file: sys.modules[f"{package}.{file}"] for file in imports}
    with _set_aside(package) as mine:
        sys.modules.update(mine)
        sys.modules[package] = _not_yet_run(mine[package].__spec__)
        for file, needed in imports.items():
            if file in changed or changed.intersection(needed):
                changed.add(file)
                copy = ModuleType(f"{package}.{file}")
                copy.__package__, copy.__file__ = package, originals[file].__file__
                sys.modules[copy.__name__] = copy
                exec(_code(package, file, tuple(edit for edit in edits if edit.file == f"{file}.py")), copy.__dict__)
        yield


def _code(package: str, file: str, edits: Edits) -> CodeType:
    """A module's code with ``edits``; as it is it is compiled once."""
    return _compiled_with(package, file, edits) if edits else _compiled_once(package, file)


@cache
def _compiled_once(package: str, file: str) -> CodeType:
    return _compiled_with(package, file, ())


def _compiled_with(package: str, file: str, edits: Edits) -> CodeType:
    """The code of a module of a package with ``edits`` of it. Raises ValueError as :func:`injected`."""
    path = _folder_of(package) / f"{file}.py"
    changed = edited(path.read_text(encoding="utf-8"), edits, package)
    return compile(changed, str(path), "exec", dont_inherit=True)


@cache
def _imports_of(package: str) -> Mapping[str, tuple[str, ...]]:
    """Each module of a package with those of it that it imports, itself after them."""
    needed = {
        path.stem: _imported(path) for path in sorted(_folder_of(package).glob("*.py")) if path.stem != "__init__"
    }
    return {file: needed[file] for file in TopologicalSorter(needed).static_order()}


def _imported(path: Path) -> tuple[str, ...]:
    """The modules of its package that a module imports: ``from . import a, b`` and ``from .a import b``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    return tuple({name for node in found for name in ([node.module] if node.module else [a.name for a in node.names])})


def _folder_of(package: str) -> Path:
    """Where the source of a package stands."""
    found = util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def edited(source: str, edits: Iterable[Edit], package: str = "") -> str:
    """``source`` after ``edits``, all of them found in it as it was; the same edit twice is made once.

    Raises ValueError for an edit that does not fit, and for two of the same text; ``package`` is named in it.
    """
    found = sorted((_span(source, edit, package), edit) for edit in dict.fromkeys(edits))
    for ((_, end), one), ((start, _), other) in pairwise(found):
        if start < end:
            raise ValueError(f"{package}/{one.at} has two edits of one text: of {one.old!r} and of {other.old!r}")
    for (start, end), edit in reversed(found):
        source = source[:start] + edit.new + source[end:]
    return source


def _span(source: str, edit: Edit, package: str) -> Span:
    """Where the text to be replaced stands."""
    _, _, name = edit.at.partition(": ")
    if name and name not in places(source):
        raise ValueError(f"{package}/{edit.file} has no {name!r}: must be a function, Class.method or name assigned")
    start, end = places(source)[name] if name else (0, len(source))
    count = source.count(edit.old, start, end)
    if count != 1:
        raise ValueError(f"{package}/{edit.at} has {edit.old!r} {count} times: must be once")
    first = source.index(edit.old, start, end)
    return first, first + len(edit.old)


@cache
def places(source: str) -> Mapping[str, Span]:
    """Where each function, class, method and assigned name of a module stands, with its decorators."""
    starts = [0]
    for line in source.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = {}
    for name, node in _named(ast.parse(source).body):
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
        assert node.end_lineno is not None
        found[name] = starts[first - 1], starts[node.end_lineno]
    return found


def _named(statements: Iterable[ast.stmt], inside: str = "") -> Iterator[tuple[str, ast.stmt]]:
    for node in statements:
        if isinstance(node, ast.FunctionDef):
            yield inside + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield node.name, node
            yield from _named(node.body, f"{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((inside + target.id, node) for target in targets if isinstance(target, ast.Name))


@cache
def _compiled(package: str) -> TemporaryDirectory[str]:
    """A folder with a copy of a package, compiled, so that of a further copy only what is changed is compiled again."""
    folder = TemporaryDirectory(prefix="compiled-")
    copy = Path(folder.name) / package
    shutil.copytree(_folder_of(package), copy, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(copy, quiet=2)
    return folder


def _adapter_of(implementation: str) -> type[Adapter]:
    """The adapter's class, from a module of its own whose implementation is the package as it is loaded now."""
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
def _set_aside(package: str) -> Iterator[dict[str, ModuleType]]:
    """While this lasts the modules of ``package``, which are given, are as if never imported."""

    def taken_out() -> dict[str, ModuleType]:
        inside = [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
        return {name: sys.modules.pop(name) for name in inside}

    mine = taken_out()
    try:
        yield mine
    finally:
        taken_out()
        sys.modules.update(mine)
