"""How much code of a package there is to read: of what a training uses, and of the whole; counted in its source.

Beginning with the functions that the training calls by name, every definition is followed that a definition names. Of a
table of functions, ``ACTIVATIONS`` for example, only those are followed that the recipes name.
"""

import ast
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from conformance.faults.injection import PACKAGES
from conformance.recipes.recipe import Recipe

Place = tuple[str, str]  # a module of the package, and a definition in it

_ALWAYS: tuple[Place, ...] = (("models", "initialize"), ("models", "predict"), ("training", "fit"))
_TABLES = ("optimizers", "losses", "initializers", "regularizers", "schedules")


class Source(NamedTuple):
    """A module: its lines of code, its definitions by name, and what it imports from the same package."""

    code: frozenset[int]
    definitions: dict[str, list[ast.stmt]]
    imported: dict[str, Place]  # an empty name: the module itself


def lines_used(implementation: str, recipes: Iterable[Recipe]) -> int:
    """Lines of code, without blank ones, comments and docstrings, of all that these trainings use."""
    recipes = list(recipes)
    sources = _sources(PACKAGES[implementation])
    chosen = frozenset[str]().union(*(recipe.components for recipe in recipes))
    begun = [*_ALWAYS, *(("models", recipe.model.name) for recipe in recipes)]
    begun += [(module, name) for module in _TABLES for name in chosen if name in sources[module].definitions]
    if any(recipe.is_network for recipe in recipes):
        begun.append(("layers", "LAYERS"))
    lines = {
        (module, line)
        for module, name in _reached(sources, begun, chosen)
        for statement in sources[module].definitions[name]
        for line in sources[module].code.intersection(_span(statement))
    }
    return len(lines)


def lines_of_package(implementation: str) -> int:
    """Lines of code, without blank ones, comments and docstrings, of all files of a package."""
    return sum(len(source.code) for source in _sources(PACKAGES[implementation]).values())


def code_lines(text: str) -> frozenset[int]:
    """The numbers of the lines of a source that are neither blank nor a comment nor of a docstring."""
    told = {line for node in ast.walk(ast.parse(text)) for line in _docstring(node)}
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return frozenset(n for n, line in stripped if line and not line.startswith("#") and n not in told)


def _span(statement: ast.stmt) -> range:
    """The lines of a statement, with its decorators."""
    decorated = [decorator.lineno for decorator in getattr(statement, "decorator_list", ())]
    return range(min([statement.lineno, *decorated]), (statement.end_lineno or statement.lineno) + 1)


def _docstring(node: ast.AST) -> range:
    """The lines of a node's docstring."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
        first = node.body[0]
        return range(first.lineno, (first.end_lineno or first.lineno) + 1)
    return range(0)


def _reached(sources: dict[str, Source], begun: Iterable[Place], chosen: Collection[str]) -> set[Place]:
    """Every definition that is named by one that is reached, beginning with ``begun``."""
    found, waiting = set[Place](), list(begun)
    while waiting:
        place = waiting.pop()
        module, name = place
        if module not in sources or place in found:
            continue
        if name in sources[module].definitions:
            found.add(place)
            waiting += [
                named
                for statement in sources[module].definitions[name]
                for named in _named(sources[module], module, statement, chosen)
            ]
        elif name in sources[module].imported:
            waiting.append(sources[module].imported[name])
    return found


def _named(source: Source, module: str, statement: ast.stmt, chosen: Collection[str]) -> Iterator[Place]:
    """What of the package a statement names; of a table what is chosen."""
    for node in _followed(statement, chosen):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            home, name = source.imported.get(node.value.id, ("", "none"))
            if home and not name:
                yield home, node.attr
        elif isinstance(node, ast.Name):
            yield module, node.id


def _followed(statement: ast.stmt, chosen: Collection[str]) -> Iterator[ast.AST]:
    table = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
    if isinstance(table, ast.DictComp) and isinstance(table.generators[0].iter, ast.Tuple):
        functions = table.generators[0].iter.elts
        yield from (each for each in functions if isinstance(each, ast.Name) and each.id in chosen)
    elif isinstance(table, ast.Dict):
        for key, value in zip(table.keys, table.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str) or key.value in chosen:
                yield from ast.walk(value)
    else:
        yield from _without_annotations(statement)


def _without_annotations(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all inside it but annotations, which name much that is not used."""
    yield node
    for field, inside in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for each in inside if isinstance(inside, list) else [inside]:
                if isinstance(each, ast.AST):
                    yield from _without_annotations(each)


@cache
def _sources(package: str) -> dict[str, Source]:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    files = sorted(Path(spec.origin).parent.glob("*.py"))
    return {file.stem: _source(file.read_text(encoding="utf-8")) for file in files}


def _source(text: str) -> Source:
    definitions: dict[str, list[ast.stmt]] = {}
    imported: dict[str, Place] = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.ImportFrom) and statement.level == 1:
            for alias in statement.names:
                own = alias.asname or alias.name
                imported[own] = (statement.module, alias.name) if statement.module else (alias.name, "")
        else:
            for name in _defined(statement):
                definitions.setdefault(name, []).append(statement)
    return Source(code_lines(text), definitions, imported)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
