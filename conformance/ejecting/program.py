"""A program that grows by what it refers to and shrinks to what it does."""

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from conformance.ejecting.expressions import Folding, is_docstring
from conformance.ejecting.packages import MODEL, Package, full_name, split
from conformance.ejecting.parameters import Parameters
from conformance.ejecting.scopes import Scopes
from conformance.ejecting.statements import Pruning
from conformance.ejecting.text import Edit, Source
from conformance.ejecting.values import Values

# Methods that a framework calls, or whoever has a component, and so are used although nothing here calls them.
_CALLED_BY_OTHERS = {
    "build", "update", "forward", "backward", "step", "train", "draw", "apply", "improved", "stop",
}  # fmt: skip
_FULL = re.compile(r"\b_?[a-z][a-z0-9]*(?:_[a-z0-9]+)*__\w+")


class Program:
    """Definitions of a package that ``roots`` need, specialised to what is ``given``.

    ``given``: the values of constants and arguments by their full names, ``"torch__EPOCHS"``, ``"losses__f.clip"``.
    Checks, functions that do nothing but refuse arguments or data, are let go: what is given has passed them.
    """

    def __init__(
        self, package: Package, roots: Iterable[str], given: Mapping[str, Any], kept: Collection[str] | None = None
    ) -> None:
        self.package, self.roots, self.given = package, list(roots), given
        self.kept = self.roots if kept is None else kept  # whose arguments stay
        self.text = ""
        self.chosen: dict[str, dict[str, Any]] = {}
        self.modules: set[str] = set()
        self.early: Collection[str] = ()
        self._specialise()

    @property
    def definitions(self) -> dict[str, str]:
        """The text of each definition by its full name."""
        source = Source(self.text)
        return {name: source.block([node]) for node in source.tree.body if (name := defined(node))}

    def _specialise(self) -> None:
        """Grow and simplify in turn; begin anew where something was simplified before all that needs it was there."""
        early: set[str] = set()
        while late := self._late(early):
            early |= late

    def _late(self, early: Collection[str]) -> set[str]:
        """The program, begun with ``early`` definitions. Returns those that should have been: then it is not done."""
        self.text, self.early = "", early  # whose calls are not all there yet
        while True:
            before = self.text
            if late := self._grow(early):
                return late
            self._settle()
            self._shrink(early)
            if self.text != before:
                continue
            if not early and not self._finish():
                return set()
            self.early = early = ()

    def _finish(self) -> bool:
        """Take out of classes what no other part of the program uses. Returns whether there was anything."""
        values = Values(Source(self.text), self.given)
        edits = [*self._parameters(values).of_classes(), *self._unused_methods(values.source)]
        edits = edits or list(empty_bases(values.source))
        self.text = values.source.edited(edits)
        return bool(edits)

    def _grow(self, early: Collection[str]) -> set[str]:
        """Add what is referred to and not there, but not yet what that refers to.

        Returns those of it that come too late: they need what was simplified without them.
        """
        held = self.definitions
        wanted = {*self.roots, *early, *referred(self.text)} - held.keys()
        late: set[str] = set()
        for name in sorted(wanted):
            if self.package.is_defined(name) and name not in self.given:
                definition = self.package.definition(name)
                needed = [each for each in referred(definition) if each in held]
                if any(held[each] != self.package.definition(each) for each in needed):
                    late.add(name)
                self.text += definition
                self.modules.add(split(name)[0])
        return late

    def _settle(self) -> None:
        """Simplify until nothing changes: all that is known of arguments first, then what was changed by itself."""
        while True:
            values = Values(Source(self.text), self.given)
            edits = self._edits(values) or list(self._parameters(values).edits())
            if not edits:
                return
            before = set(self.definitions.values())
            self.text = values.source.edited(edits)
            changed = "".join(text for text in self.definitions.values() if text not in before)
            same = "".join(text for text in self.definitions.values() if text in before)
            self.text = same + self._settled_alone(changed)

    def _settled_alone(self, text: str) -> str:
        """Some of the definitions, simplified without a look at the others."""
        while edits := self._edits(values := Values(Source(text), self.given, is_whole=False)):
            text = values.source.edited(edits)
        return text

    def _parameters(self, values: Values) -> Parameters:
        whole = full_name(self.package.framework, ""), full_name(MODEL, ""), *self.roots
        return Parameters(values, {*self.kept, *self.early}, whole, self.chosen)

    def _edits(self, values: Values) -> list[Edit]:
        names = referred(values.source.text)
        checks = {name for name in names if split(name)[1].startswith(("check_", "_check_"))}
        return [*Folding(values, self._registries(names)).edits(), *Pruning(values, checks).edits()]

    def _registries(self, names: set[str]) -> dict[str, dict[str, str]]:
        tables = {name: self.package.registry(name) for name in names if self.package.is_defined(name)}
        return {name: table for name, table in tables.items() if table}

    def _shrink(self, early: Collection[str]) -> None:
        """Take out the definitions that nothing needs."""
        source = Source(self.text)
        needs = {name: referred(source.block([node])) for node in source.tree.body if (name := defined(node))}
        reached, next_ones = set(), {*self.roots, *early}
        while next_ones:
            reached |= next_ones
            next_ones = {each for name in next_ones for each in needs.get(name, ())} - reached
        edits = [Edit(*source.lines(node), "") for node in source.tree.body if defined(node) not in reached]
        self.text = source.edited(edits)

    def _unused_methods(self, source: Source) -> Iterable[Edit]:
        named = [node for node in source.nodes if isinstance(node, ast.Attribute)]
        scopes = Scopes(source)
        # What a method asks of its like in the class below is no use of it.
        used = {node.attr for node in named if (around := scopes.around(node)) is None or around.name != node.attr}
        for held in source.tree.body:
            if isinstance(held, ast.ClassDef):
                for each in held.body:
                    if isinstance(each, ast.FunctionDef) and (
                        (each.name not in used | _CALLED_BY_OTHERS and not each.name.startswith("__"))
                        or (each.name == "__post_init__" and isinstance(each.body[0], ast.Pass))
                    ):
                        yield Edit(*source.lines(each), "")


def empty_bases(source: Source) -> Iterator[Edit]:
    """Take out a class that has nothing but a docstring and is but a base of others, which get its own bases."""
    classes = [each for each in source.tree.body if isinstance(each, ast.ClassDef)]
    for held in classes:
        below = [each for each in classes if any(source.segment(base) == held.name for base in each.bases)]
        named = len(re.findall(rf"\b{held.name}\b", source.text))
        if not below or named != len(below) + 1 or not all(map(is_docstring, held.body)):
            continue
        yield Edit(*source.lines(held), "")
        for each in below:
            bases = [
                own for base in each.bases for own in (held.bases if source.segment(base) == held.name else [base])
            ]
            text = f"({', '.join(map(source.segment, bases))})" if bases else ""
            start = source.data.rindex(b"(", 0, source.start(each.bases[0]))
            yield Edit(start, source.data.index(b")", source.end(each.bases[-1])) + 1, text)
        return


def referred(text: str) -> set[str]:
    """The full names that stand in a text.

    >>> sorted(referred("losses__LOSSES[name](x, _common__own_name(y), __class__)"))
    ['_common__own_name', 'losses__LOSSES']
    """
    return set(_FULL.findall(text))


def defined(node: ast.stmt) -> str:
    """The name that a statement of a module defines, "" for none."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def needed_at_once(definition: str) -> set[str]:
    """The full names that a definition reads when it is made."""
    return _needed_at_once(ast.parse(definition).body[0])


def _needed_at_once(node: ast.stmt) -> set[str]:
    """The names that a definition reads when it is made: bases, decorators, defaults, annotations, what is assigned."""
    if isinstance(node, ast.FunctionDef):
        held = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
        return referred(" ".join(map(ast.unparse, held)))
    if isinstance(node, ast.ClassDef):
        inner = [_needed_at_once(each) for each in node.body if not is_docstring(each)]
        return referred(" ".join(map(ast.unparse, [*node.bases, *node.decorator_list]))).union(*inner)
    return referred(ast.unparse(node))
