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
from conformance.faults.injection import PACKAGES


def short_names(text: str, full_names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """A short name for each full one; ``taken``: names that are imported.

    Of several of the same name that of the skeleton keeps it.

    >>> short_names("def losses___f(): return torch__f()", ["losses___f", "torch__f"], [])
    {'losses___f': '_f', 'torch__f': 'f'}
    >>> short_names("", ["optimizers__State", "torch__State"], [])
    {'optimizers__State': 'OptimizersState', 'torch__State': 'State'}
    """
    full_names = sorted(set(full_names))
    counted = Counter(split(name)[1] for name in full_names)
    of_skeleton = {split(name)[1] for name in full_names if split(name)[0] in PACKAGES}
    never = {*taken, *dir(builtins)}
    hidden = _hidden(text)
    names: dict[str, str] = {}
    for name in full_names:
        module, own = split(name)
        is_first = counted[own] == 1 or (own in of_skeleton and module in PACKAGES)
        names[name] = own if is_first and own not in never and name not in hidden else _longer(module, own)
    return names


def _longer(module: str, own: str) -> str:
    """A name with its module before it, in the manner of its kind.

    >>> _longer("recurrent", "State"), _longer("_layer", "rows")
    ('RecurrentState', 'layer_rows')
    """
    module, own = module.strip("_"), own.strip("_")
    is_type = own[0].isupper() and not own.isupper()
    return f"{module.capitalize()}{own}" if is_type else f"{module}_{own}"


def version_of(distribution: str) -> str:
    """The version of a distribution that is installed, or of its build for CPUs; it is not imported for that."""
    for name in (distribution, f"{distribution}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
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
