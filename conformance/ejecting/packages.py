"""The source of an implementation's package, definition by definition, and of what stands in for parts of it.

Within a program every definition is named by its module and its own name, ``losses__LOSSES``, so that none hides
another. No package is imported: its text is read.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

from conformance.ejecting.scopes import Scopes
from conformance.ejecting.text import Edit, Source
from conformance.faults.injection import PACKAGES

SKELETONS = "conformance.ejecting.skeletons"
BLOCKS = "blocks"  # what layers compute, for each framework
MODEL = "model"  # a model that is written for one training
_MADE_BY = re.compile(r'"""See :func:`(\w+)`\."""')
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


class Module:
    """A module of a package by its text."""

    def __init__(self, name: str, text: str, package: str) -> None:
        self.name, self.package = name, package
        self.source = Source(text)
        self.scopes = Scopes(self.source)

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """What the module defines, by name."""
        found: dict[str, Definition] = {}
        for node in self.source.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found[node.name] = node
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name):
                    found[target.id] = node
        return found

    @cached_property
    def imported(self) -> dict[str, tuple[str, str | None]]:
        """Names of the package's own: the module that each is from and its name there, None for the module itself."""
        found: dict[str, tuple[str, str | None]] = {}
        for node in self.source.tree.body:
            if not isinstance(node, ast.ImportFrom) or (inner := self._own(node)) is None:
                continue
            for alias in node.names:
                known = (alias.name, None) if inner == "" else (inner, alias.name)
                found[alias.asname or alias.name] = known
        return found

    @cached_property
    def foreign(self) -> dict[str, str]:
        """The statement that imports each name that is not the package's own."""
        found: dict[str, str] = {}
        for node in self.source.tree.body:
            if isinstance(node, ast.ImportFrom) and self._own(node) is not None:
                continue
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    written = alias.name + (f" as {alias.asname}" if alias.asname else "")
                    start = f"from {node.module} import " if isinstance(node, ast.ImportFrom) else "import "
                    found[alias.asname or alias.name.split(".")[0]] = start + written
        return found

    def _own(self, node: ast.ImportFrom) -> str | None:
        """The module of the package that is imported from, "" for the package; None for another package."""
        if node.level:
            return node.module or ""
        for package in (self.package, SKELETONS):
            if node.module == package:
                return ""
            if node.module and node.module.startswith(f"{package}."):
                return node.module.removeprefix(f"{package}.")
        return None


class Package:
    """The modules of a framework's package, and its skeleton, whose ``REPLACED`` names what it has in their place.

    A decorator in whose place it has "" is left out. ``model``: the text of a module that has a model of its own, and
    what goes with it, in the place of the skeleton's; it may refer to the skeleton, and is the module ``MODEL``.
    """

    def __init__(self, framework: str, expressions: Mapping[str, str], model: str = "") -> None:
        self.framework, self.expressions = framework, expressions
        self._model = Module(MODEL, model, PACKAGES[framework])
        replaced = self.module(framework).definitions.get("REPLACED")
        value = None if replaced is None else replaced.value  # type: ignore[union-attr]
        pairs = ast.literal_eval(value) if value is not None else {}
        self.replaced = {full_name(*key.split(".")): full_name(framework, name) for key, name in pairs.items()}
        self.replaced |= {full_name(framework, name): full_name(MODEL, name) for name in self._model.definitions}

    def module(self, name: str) -> Module:
        """A module by its name."""
        return self._model if name == MODEL else _module(self.framework, name)

    def definition(self, name: str) -> str:
        """The text of a definition by its full name, with the full names of all that it refers to."""
        module_name, own = split(name)
        module = self.module(module_name)
        node = module.definitions[own]
        start, end = module.source.lines(node)
        edits = list(self._renamed(module, node, own))
        shifted = [Edit(edit.start - start, edit.end - start, edit.text) for edit in edits]
        part = Source("")
        part.data = module.source.data[start:end]
        return part.edited(shifted)

    def documented(self, name: str, text: str) -> str:
        """A definition with what its docstring refers to: that of the function that makes it."""
        found = _MADE_BY.search(text)
        maker = None if found is None else self.module(split(name)[0]).definitions.get(found[1])
        said = ast.get_docstring(maker, clean=False) if isinstance(maker, ast.FunctionDef) else None
        return text if found is None or said is None else text.replace(found[0], f'"""{said}"""')

    def registry(self, name: str) -> dict[str, str]:
        """A table of functions by their names: their full names; {} for what is no such table."""
        module_name, own = split(name)
        module = self.module(module_name)
        value = getattr(module.definitions.get(own), "value", None)
        if isinstance(value, ast.DictComp) and isinstance(value.generators[0].iter, ast.Tuple):
            names = [each.id for each in value.generators[0].iter.elts if isinstance(each, ast.Name)]
            return {each: self._full(module, each) for each in names}
        if isinstance(value, ast.Dict):
            pairs = zip(value.keys, value.values, strict=True)
            return {
                str(key.value): self._full(module, each.id) for key, each in pairs
                if isinstance(key, ast.Constant) and isinstance(each, ast.Name)
            }  # fmt: skip
        return {}

    def is_defined(self, name: str) -> bool:
        """Whether a full name is one of a definition."""
        module, own = split(name)
        return own in self.module(module).definitions

    def _renamed(self, module: Module, node: Definition, own: str) -> Iterator[Edit]:
        source = module.source
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            word = b"def " if isinstance(node, ast.FunctionDef) else b"class "
            place = source.data.index(word + own.encode(), source.start(node)) + len(word)
            yield Edit(place, place + len(own.encode()), self._full(module, own))
        for decorator in getattr(node, "decorator_list", []):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            marker = called.id if isinstance(called, ast.Name) else ""
            if marker in module.imported and self._full(module, marker) == full_name(self.framework, ""):
                yield Edit(source.start(decorator) - 1, source.end(decorator) + 1, "")
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute) and (name := self._of_module(module, each)) is not None:
                yield source.replaced(each, name)
            elif isinstance(each, ast.Name) and module.scopes.scope(each, each.id) is None:
                if each.id in module.definitions or module.imported.get(each.id, ("", None))[1] is not None:
                    yield source.replaced(each, self._full(module, each.id))
            elif (
                isinstance(each, ast.Constant)
                and each.value in module.definitions
                and module.scopes.in_annotation(each)
            ):
                yield source.replaced(each, f'"{self._full(module, each.value)}"')

    def _of_module(self, module: Module, node: ast.Attribute) -> str | None:
        """The full name of ``losses.LOSSES``."""
        if not isinstance(node.value, ast.Name) or module.scopes.scope(node.value, node.value.id) is not None:
            return None
        found = module.imported.get(node.value.id)
        return self._full(self.module(found[0]), node.attr) if found is not None and found[1] is None else None

    def _full(self, module: Module, name: str) -> str:
        if name in module.definitions:
            full = full_name(module.name, name)
            if module.name == self.framework and name in self.expressions:
                return self.expressions[name]
            return self.replaced.get(full, full)
        origin, own = module.imported[name]
        assert own is not None
        if full_name(origin, own) in self.replaced:
            return self.replaced[full_name(origin, own)]
        return self._full(self.module(origin), own)


@cache
def _module(framework: str, name: str) -> Module:
    folder = _folder(PACKAGES[framework])
    path = folder / f"{name}.py"
    if name in ("reading", framework, BLOCKS):
        file = f"{name}_{framework}" if name == BLOCKS else name
        path = Path(__file__).parent / "skeletons" / f"{file}.py.txt"
    return Module(name, path.read_text(encoding="utf-8"), PACKAGES[framework])


def _folder(package: str) -> Path:
    found = find_spec(package)
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0])


def full_name(module: str, name: str) -> str:
    """The name that a definition has within a program.

    >>> full_name("losses", "_weighted"), split("losses___weighted")
    ('losses___weighted', ('losses', '_weighted'))
    """
    return f"{module}__{name}"


def split(name: str) -> tuple[str, str]:
    """The module and the own name of a full name."""
    module, _, own = name[1:].partition("__")
    return name[0] + module, own
