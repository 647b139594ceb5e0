"""Which names a function binds, and what a name in it means."""

import ast
from collections.abc import Iterator
from functools import cached_property

from conformance.ejecting.text import Source

Scope = ast.FunctionDef | ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_SCOPES = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Scopes:
    """The scopes of a module: what binds a name, and where it is used."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._bound: dict[Scope, dict[str, list[ast.AST]]] = {}
        self._enclosing: dict[ast.AST, Scope | None] = {}

    def bound(self, scope: Scope) -> dict[str, list[ast.AST]]:
        """What binds each name of a scope: arguments, targets, definitions."""
        if scope not in self._bound:
            found: dict[str, list[ast.AST]] = {}
            for name, node in _bindings(scope):
                found.setdefault(name, []).append(node)
            self._bound[scope] = found
        return self._bound[scope]

    def scope(self, node: ast.AST, name: str) -> Scope | None:
        """The scope that a name at a node belongs to, None for the module."""
        scope = self.enclosing(node)
        while scope is not None and name not in self.bound(scope):
            scope = self.enclosing(scope)
        return scope

    def around(self, node: ast.AST) -> ast.FunctionDef | None:
        """The function that a node is in."""
        scope = self.enclosing(node)
        while scope is not None and not isinstance(scope, ast.FunctionDef):
            scope = self.enclosing(scope)
        return scope

    def enclosing(self, node: ast.AST) -> Scope | None:
        """The innermost scope that a node is in, None for the module."""
        passed: list[ast.AST] = []
        inside, found = node, None
        while inside not in self._enclosing:
            passed.append(inside)
            outer = self.source.parents.get(inside)
            if outer is None or (type(outer) in _SCOPES and _is_inside(outer, inside)):  # type: ignore[arg-type]
                found = outer
                break
            inside = outer
        else:
            found = self._enclosing[inside]
        self._enclosing |= dict.fromkeys(passed, found)  # type: ignore[arg-type]
        return found  # type: ignore[return-value]

    @cached_property
    def uses(self) -> dict[tuple[Scope | None, str], list[ast.Name]]:
        """Where each name is read, by the scope that it belongs to."""
        found: dict[tuple[Scope | None, str], list[ast.Name]] = {}
        for node in self.source.nodes:
            augmented = isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
            name = node.target if augmented else node  # type: ignore[attr-defined]  # `x += 1` reads x
            if isinstance(name, ast.Name) and (augmented or not isinstance(name.ctx, ast.Store)):
                found.setdefault((self.scope(name, name.id), name.id), []).append(name)
        return found

    def in_annotation(self, node: ast.AST) -> bool:
        """Whether a node is part of an annotation."""
        inside: ast.AST = node
        while (outer := self.source.parents.get(inside)) is not None:
            if isinstance(outer, (ast.arg, ast.AnnAssign)) and inside is outer.annotation:
                return True
            if isinstance(outer, ast.FunctionDef) and inside is outer.returns:
                return True
            if isinstance(outer, ast.stmt):
                return False
            inside = outer
        return False


def arguments(function: ast.FunctionDef | ast.Lambda) -> list[ast.arg]:
    """All arguments of a function, those by keyword alone too."""
    args = function.args
    starred = [argument for argument in (args.vararg, args.kwarg) if argument is not None]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *starred]


def _is_inside(scope: Scope, child: ast.AST) -> bool:
    """Whether a child of a function's node is in its scope: decorators, defaults and annotations are not."""
    if isinstance(scope, ast.FunctionDef):
        return child in scope.body
    if isinstance(scope, ast.Lambda):
        return child is scope.body
    return True


def _bindings(scope: Scope) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(scope, (ast.FunctionDef, ast.Lambda)):
        yield from ((argument.arg, argument) for argument in arguments(scope))
    if isinstance(scope, ast.Lambda):
        return
    if not isinstance(scope, ast.FunctionDef):
        for generator in scope.generators:
            yield from ((node.id, node) for node in ast.walk(generator.target) if isinstance(node, ast.Name))
        return
    for statement in scope.body:
        yield from _stored(statement)


def _stored(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The names that a node stores, but not those of scopes inside it."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name, node
        return
    if isinstance(node, _SCOPES):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield node.id, node
    if isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name, node
    for child in ast.iter_child_nodes(node):
        yield from _stored(child)
