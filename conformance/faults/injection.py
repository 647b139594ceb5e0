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
from importlib import util
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import NamedTuple

from conformance.adapters.session import Adapter

PACKAGES = {"numpy": "reference_numpy", "torch": "impl_torch", "tf": "impl_tf", "jax": "impl_jax"}

COPY = "injected_copy"  # the package of a module that is copied alone, while it is loaded

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
    copy. Raises ValueError for an edit that does not fit the source, and for two of the same text.

    >>> with injected("numpy", Edit("schedules.py: constant", "return alpha_0", "return 0.0")):
    ...     ...
    Traceback (most recent call last):
    ...
    ValueError: reference_numpy/schedules.py: constant has 'return alpha_0' 0 times: must be once
    """
    package = PACKAGES[implementation]
    with TemporaryDirectory(prefix="injected-") as folder:
        copy = Path(folder) / package
        shutil.copytree(Path(_compiled(package).name) / package, copy)
        for file in dict.fromkeys(edit.file for edit in edits):
            source = (copy / file).read_text(encoding="utf-8")
            mine = [edit for edit in edits if edit.file == file]
            (copy / file).write_text(edited(source, mine, package), encoding="utf-8")
        yield _adapter_of(copy, implementation)


def injected_module(module: ModuleType, *edits: Edit) -> ModuleType:
    """A copy of one module of a package, with ``edits`` of it and of modules that it takes something from.

    All else it takes from the package as it is: this costs a hundredth of a copy of the whole package, and sees nothing
    of an edit that is elsewhere. Raises ValueError as :func:`injected`.

    >>> from reference_numpy import schedules
    >>> changed = injected_module(schedules, Edit("schedules.py: constant", "lambda t: learning_rate", "lambda t: 0.0"))
    >>> changed.constant(0.1)(7), schedules.constant(0.1)(7)
    (0.0, 0.1)
    """
    package, _, name = module.__name__.rpartition(".")
    files = dict.fromkeys(
        [*sorted(edit.file for edit in edits), f"{name}.py"]
    )  # what starts with "_" is below the rest
    with _set_aside(COPY):
        sys.modules[COPY] = ModuleType(COPY)
        sys.modules[COPY].__path__ = []
        for loaded, known in list(sys.modules.items()):
            if loaded.startswith(f"{package}."):
                sys.modules[COPY + loaded.removeprefix(package)] = known
        for file in files:
            _compiled_with(package, file, edits)
        return sys.modules[f"{COPY}.{name}"]


def _compiled_with(package: str, file: str, edits: Edits) -> None:
    """Enter a file of a package, with those of ``edits`` that are of it, among the modules of the copy."""
    original = sys.modules[f"{package}.{file.removesuffix('.py')}"]
    assert original.__file__ is not None
    source = Path(original.__file__).read_text(encoding="utf-8")
    copy = ModuleType(f"{COPY}.{file.removesuffix('.py')}")
    copy.__package__ = COPY
    sys.modules[copy.__name__] = copy
    changed = edited(source, [edit for edit in edits if edit.file == file], package)
    exec(compile(changed, original.__file__, "exec", dont_inherit=True), copy.__dict__)


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
