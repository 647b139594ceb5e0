"""Tables of functions by their names, as ``SCHEDULES``: which of their functions a program may take from them."""

import ast
from collections.abc import Callable, Iterator
from typing import Any

from conformance.ejecting.scopes import Scopes
from conformance.ejecting.text import Source


class Tables:
    """A module's tables of its own functions: ``{"constant": constant}``, or ``{f.__name__: f for f in (constant,)}``.

    ``entries``: where a function stands in a table; that alone is no use of it.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.functions: dict[str, dict[str, str]] = {}
        self.entries: set[ast.AST] = set()
        for node in source.tree.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and isinstance(node, (ast.Assign, ast.AnnAssign)):
                pairs = dict(_pairs(node.value))
                if pairs:
                    self.functions[target.id] = {key: each.id for key, each in pairs.items()}
                    self.entries |= set(pairs.values())

    def taken(self, scopes: Scopes, one: Callable[[ast.AST], tuple[Any] | None]) -> set[str]:
        """The functions that a program may take from its tables; ``one``: the only value of a node, if it is known."""
        found: set[str] = set()
        for table, functions in self.functions.items():
            for use in scopes.uses.get((None, table), []):
                parent = self.source.parents[use]
                if isinstance(parent, ast.Compare) and isinstance(parent.ops[0], (ast.In, ast.NotIn)):
                    continue
                key = one(parent.slice) if isinstance(parent, ast.Subscript) and parent.value is use else None
                found |= {functions[key[0]]} if key and key[0] in functions else set(functions.values())
        return found


def _pairs(value: ast.expr | None) -> Iterator[tuple[str, ast.Name]]:
    """The names of functions in a table by their keys; nothing for what is none."""
    if isinstance(value, ast.DictComp) and isinstance(value.generators[0].iter, ast.Tuple):
        names = value.generators[0].iter.elts
        if all(isinstance(each, ast.Name) for each in names):
            yield from ((each.id.partition("__")[2], each) for each in names if isinstance(each, ast.Name))
    elif isinstance(value, ast.Dict):
        pairs = list(zip(value.keys, value.values, strict=True))
        if all(isinstance(key, ast.Constant) and isinstance(each, ast.Name) for key, each in pairs):
            yield from ((str(k.value), e) for k, e in pairs if isinstance(k, ast.Constant) and isinstance(e, ast.Name))
