"""Statements that a program does not need: branches never taken, values never used, checks that cannot fail."""

import ast
from collections.abc import Collection, Iterator
from itertools import pairwise

from conformance.ejecting.expressions import is_docstring
from conformance.ejecting.text import Edit, indented
from conformance.ejecting.values import Values

# Calls that change nothing and may be left out with what they give.
_PURE = (
    "bool",
    "float",
    "int",
    "len",
    "tuple",
    "list",
    "dict",
    "range",
    "zip",
    "enumerate",
    "isinstance",
    "all",
    "any",
)
_ASKING = ("startswith", "endswith", "not_equal", "reduce_any", "logical_and")  # methods, and TensorFlow's functions


class Pruning:
    """The edits that take out statements; ``checks``: functions that do nothing but refuse arguments."""

    def __init__(self, values: Values, checks: Collection[str]) -> None:
        self.values, self.source, self.checks = values, values.source, checks
        self.idle = {name for name, function in values.functions.items() if _does_nothing(function)}

    def edits(self) -> Iterator[Edit]:
        """Edits, of which those that overlap are left to the next time."""
        for node in self.source.nodes:
            for field in ("body", "orelse", "finalbody"):
                body = getattr(node, field, None)
                if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                    yield from self._of_body(node, body)

    def _of_body(self, holder: ast.AST, body: list[ast.stmt]) -> Iterator[Edit]:
        gone = [each for each in body if self._is_needless(each)]
        ends = next((place for place, each in enumerate(body) if isinstance(each, (ast.Return, ast.Raise))), len(body))
        gone += [each for each in body[ends + 1 :] if each not in gone]
        left = [each for each in body if each not in gone]
        if gone and not left and not isinstance(holder, ast.Module):
            first, last = self.source.lines(gone[0])[0], self.source.lines(gone[-1])[1]
            if not (len(body) == 1 and isinstance(body[0], ast.Pass)):
                yield Edit(first, last, f"{' ' * body[0].col_offset}pass\n")
            return
        for each in gone:
            yield Edit(*self.source.lines(each), "")
        for one, other in pairwise(left if not gone else ()):
            yield from self._of_result(one, other)
        for each in left:
            if isinstance(each, ast.If):
                yield from self._of_if(each)
            elif isinstance(each, ast.Assign):
                yield from self._of_pairs(each)
            elif isinstance(each, ast.For):
                yield from self._of_for(each)

    def _of_result(self, first: ast.stmt, second: ast.stmt) -> Iterator[Edit]:
        """``x = f()`` and ``return x`` as one; a comment stays where it is."""
        if not (
            isinstance(first, ast.Assign) and isinstance(second, ast.Return) and isinstance(second.value, ast.Name)
        ):
            return
        target = first.targets[0]
        if len(first.targets) > 1 or not isinstance(target, ast.Name) or target.id != second.value.id:
            return
        start, end = self.source.lines(first)
        if not self.source.data[self.source.end(first) : end].strip() and not self.source.data[
            start:
        ].lstrip().startswith(b"#"):
            text = f"{' ' * first.col_offset}return {self.source.segment(first.value)}\n"
            yield Edit(start, self.source.lines(second)[1], text)

    def _is_needless(self, node: ast.stmt) -> bool:
        match node:
            case ast.Pass():
                return True
            case ast.Expr() if not is_docstring(node):
                return self._is_pure(node.value) or self._is_check(node.value)
            case ast.Assign(targets=[ast.Name(id=same)], value=ast.Name(id=other)) if same == other:
                return True
            case ast.Assign():
                return all(map(self._is_unused, node.targets)) and self._is_pure(node.value)
            case ast.AugAssign(op=ast.Sub()):
                return self._is_zero(node.value)
            case ast.AnnAssign():
                if self.values.scopes.around(node) is None or node.value is None:
                    return False
                return self._is_unused(node.target) and self._is_pure(node.value)
            case ast.If():
                if (truth := self.values.truth(node.test)) is not None and not self._is_elif(node):
                    return not _acts(node.body if truth else node.orelse)
                return self._is_pure(node.test) and not _acts(node.body) and not _acts(node.orelse)
            case ast.For():
                known = self.values.one(_collection(node.iter))
                return bool(known) and known is not None and len(known[0]) == 0 and not node.orelse
        return False

    def _is_zero(self, node: ast.expr) -> bool:
        """Whether it is 0, or 0 by the size of an array: less that, any number is what it was."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            sizes = isinstance(node.right, ast.Subscript) and getattr(node.right.value, "attr", "") == "shape"
            return sizes and self.values.one(node.left) == (0.0,)
        return self.values.one(node) == (0.0,)

    def _is_check(self, node: ast.expr) -> bool:
        """Whether it is a call that only refuses arguments, or does nothing at all."""
        if not isinstance(node, ast.Call):
            return False
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        return name in self.checks or (name in self.idle and all(map(self._is_pure, node.args)))

    def _is_unused(self, target: ast.expr) -> bool:
        """Whether nothing reads a local name, or what it is called is not one."""
        if isinstance(target, ast.Tuple):
            return all(map(self._is_unused, target.elts))
        if not isinstance(target, ast.Name) or self.values.scopes.around(target) is None:
            return False
        scope = self.values.scopes.scope(target, target.id)
        uses = self.values.scopes.uses.get((scope, target.id), [])
        meant = [None if isinstance(use.ctx, ast.Store) else self.values.binding(use) for use in uses]
        return all(bound is not None and bound is not target for bound in meant)

    def _is_pure(self, node: ast.AST) -> bool:
        """Whether leaving out an expression changes nothing."""
        for each in ast.walk(node):
            if isinstance(each, ast.Call) and not self._asks_only(each.func):
                return False
            if isinstance(each, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
                return False
        return True

    def _asks_only(self, function: ast.expr) -> bool:
        """Whether a call is known to change nothing: of Python's own functions, of names and of words."""
        if isinstance(function, ast.Attribute):
            return function.attr in _ASKING
        return isinstance(function, ast.Name) and (function.id in _PURE or function.id.startswith("_common__"))

    def _of_if(self, node: ast.If) -> Iterator[Edit]:
        """The branch that is taken, in the place of the condition; no branch where none is."""
        truth = self.values.truth(node.test)
        start, end = self.source.lines(node)
        column = node.col_offset
        is_elif = self._is_elif(node)
        if is_elif:
            start = self.source.start(node) - column
        if truth is None:
            if not _acts(node.orelse) and node.orelse:
                yield Edit(self.source.lines(node.body[-1])[1], end, "")
            return
        taken = node.body if truth else node.orelse
        if not taken:
            yield Edit(start, end, "")
            return
        text = self.source.block(taken)
        if self._is_elif(taken[0]) and not truth:
            yield Edit(start, end, text if is_elif else f"{' ' * column}{text.lstrip().removeprefix('el')}")
        elif is_elif:
            yield Edit(start, end, f"{' ' * column}else:\n{text}")
        else:
            yield Edit(start, end, indented(text, column))

    def _is_elif(self, node: ast.stmt) -> bool:
        return isinstance(node, ast.If) and self.source.data[self.source.start(node) :].startswith(b"elif")

    def _of_for(self, node: ast.For) -> Iterator[Edit]:
        """A loop without a name for what nothing reads."""
        target, iterated = node.target, node.iter
        counts = (
            isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name) and iterated.func.id == "enumerate"
        )
        if counts and isinstance(target, ast.Tuple) and self._is_unused(target.elts[0]):
            yield self.source.replaced(target, self.source.segment(target.elts[1]))
            yield self.source.replaced(iterated, self.source.segment(iterated.args[0]))  # type: ignore[attr-defined]
            return
        for name in ast.walk(target):
            if isinstance(name, ast.Name) and name.id != "_" and self._is_unused(name):
                yield self.source.replaced(name, "_")

    def _of_pairs(self, node: ast.Assign) -> Iterator[Edit]:
        """``a, b = 1, 2`` without those that nothing reads."""
        target, value = node.targets[0], node.value
        if len(node.targets) > 1:  # a = b = 1
            kept = [each for each in node.targets if not self._is_unused(each)]
            if 0 < len(kept) < len(node.targets):
                names = " = ".join(map(self.source.segment, kept))
                yield Edit(self.source.start(node), self.source.end(node), f"{names} = {self.source.segment(value)}")
            return
        if isinstance(target, ast.Tuple) and not isinstance(value, ast.Tuple):  # what else is unpacked is marked
            for name in ast.walk(target):
                is_new = isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and not name.id.startswith("_")
                if isinstance(name, ast.Name) and is_new and self._is_unused(name):
                    yield self.source.replaced(name, f"_{name.id}")
            return
        if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)):
            return
        if len(target.elts) != len(value.elts) or any(isinstance(each, ast.Starred) for each in target.elts):
            return
        pairs = list(zip(target.elts, value.elts, strict=True))
        kept_pairs = [(a, b) for a, b in pairs if not (self._is_unused(a) and self._is_pure(b))]
        if len(kept_pairs) == len(pairs) or not kept_pairs:
            return
        sides = [", ".join(map(self.source.segment, side)) for side in zip(*kept_pairs, strict=True)]
        yield Edit(self.source.start(node), self.source.end(node), " = ".join(sides))


def _collection(node: ast.expr) -> ast.expr:
    """What is gone through: of ``d.items()`` the dict."""
    match node:
        case ast.Call(func=ast.Attribute(value=held, attr="items" | "keys" | "values"), args=[]):
            return held
    return node


def _acts(body: list[ast.stmt]) -> bool:
    """Whether statements do anything."""
    return any(not isinstance(each, ast.Pass) and not is_docstring(each) for each in body)


def _does_nothing(function: ast.FunctionDef) -> bool:
    return not _acts(function.body) and not function.decorator_list
