"""Short names again: those that definitions have in their packages, where none hides another."""

import ast
import builtins
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from conformance.ejecting.packages import split
from conformance.ejecting.program import defined, referred
from conformance.ejecting.scopes import Scopes
from conformance.ejecting.text import Source


def short_names(text: str, full_names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """A short name for each full one; ``taken``: names that are imported.

    >>> short_names("def losses___f(): return torch__f()", ["losses___f", "torch__f"], [])
    {'losses___f': '_f', 'torch__f': 'f'}
    """
    full_names = sorted(set(full_names))
    counted = Counter(split(name)[1] for name in full_names)
    never = {*taken, *dir(builtins)}
    hidden = _hidden(text)
    names: dict[str, str] = {}
    for name in full_names:
        module, own = split(name)
        clashes = counted[own] > 1 or own in never or name in hidden
        names[name] = f"{module.strip('_')}_{own.strip('_')}" if clashes else own
    return names


def version_of(distribution: str) -> str:
    """The version of a distribution that is installed, which is not imported for that."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(not installed)"


def _hidden(text: str) -> set[str]:
    """Full names that are used where a function has something else of the same own name."""
    source = Source(text)
    scopes = Scopes(source)
    known = referred(text)
    return {
        node.id for node in source.nodes
        if isinstance(node, ast.Name) and node.id in known and scopes.scope(node, split(node.id)[1]) is not None
    }  # fmt: skip


def imported(text: str, statements: dict[str, str]) -> list[str]:
    """Those of the import statements, by the name that they bind, which a text needs."""
    source = Source(text)
    scopes = Scopes(source)
    own = {defined(node) for node in source.tree.body}
    read = {name for (scope, name) in scopes.uses if scope is None}
    for node in source.nodes:  # annotations that are strings
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and scopes.in_annotation(node):
            read |= {each.id for each in ast.walk(ast.parse(node.value)) if isinstance(each, ast.Name)}
    return sorted({statements[name] for name in read - own if name in statements})
