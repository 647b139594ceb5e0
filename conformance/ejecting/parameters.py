"""Arguments that every call gives alike, or that a function does not use: taken out of it and of its calls."""

import ast
from collections.abc import Collection, Iterator
from typing import Any

from conformance.ejecting.declared import default_of, fields_of
from conformance.ejecting.scopes import arguments
from conformance.ejecting.text import Edit
from conformance.ejecting.values import Values


class Parameters:
    """The edits that take arguments out of functions and fields out of dataclasses; those of ``kept`` stay.

    Functions whose name begins with ``whole`` keep what they must be given. ``chosen`` is told what was given for each
    argument that goes, by function.
    """

    def __init__(
        self, values: Values, kept: Collection[str], whole: tuple[str, ...], chosen: dict[str, dict[str, Any]]
    ) -> None:
        self.values, self.source, self.kept, self.whole, self.chosen = values, values.source, kept, whole, chosen

    def edits(self) -> Iterator[Edit]:
        """Edits for one argument of each function at a time."""
        for name, function in self.values.functions.items():
            if name not in self.kept and name not in self.values.escaping:
                yield from self._of_function(name, function)
        for held in self.values.classes.values():
            for method in held.body:
                if isinstance(method, ast.FunctionDef) and method.name in ("forward", "backward", "__call__"):
                    yield from self._of_method(method)
        yield from self._annotations()

    def of_classes(self) -> Iterator[Edit]:
        """Edits for what all of a program leaves unread: fields of dataclasses, settings of parameter groups."""
        for name, held in self.values.classes.items():
            if name not in {*self.values.escaping, *self.kept} and fields_of(held):
                yield from self._of_dataclass(held)
        yield from self._of_groups()

    def _of_function(self, name: str, function: ast.FunctionDef) -> Iterator[Edit]:
        calls = self.values.calls.get(name, [])
        if any(isinstance(a, ast.Starred) for c in calls for a in c.args) or any(
            keyword.arg is None for call in calls for keyword in call.keywords
        ):
            return
        for argument in arguments(function):
            if argument in (function.args.vararg, function.args.kwarg):
                continue
            required = name.startswith(self.whole) and default_of(function, argument.arg) is None
            if not required and not self.values.scopes.uses.get((function, argument.arg)):
                if known := self.values.given_for(function, argument.arg):
                    self.chosen.setdefault(name, {})[argument.arg] = known[0]
                yield from self._without(function, argument)
                for call in calls:
                    yield from self._call_without(call, self._given(call, function, argument.arg))
                return

    def _of_method(self, method: ast.FunctionDef) -> Iterator[Edit]:
        """Of a pass: what may be left out, as its calls do where it is not used; what some call gives stays."""
        calls = [each for each in self.source.nodes if isinstance(each, ast.Call)]
        named = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == method.name]
        given = {keyword.arg for call in named for keyword in call.keywords}
        for argument in arguments(method):
            optional = default_of(method, argument.arg) is not None and argument.arg not in given
            if optional and not self.values.scopes.uses.get((method, argument.arg)):
                yield from self._without(method, argument)
                return

    def _given(self, call: ast.Call, function: ast.FunctionDef, argument: str) -> ast.expr | ast.keyword | None:
        """What in a call is the argument, with its name if it has one there."""
        positional = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
        if argument in positional and positional.index(argument) < len(call.args):
            return call.args[positional.index(argument)]
        return next((keyword for keyword in call.keywords if keyword.arg == argument), None)

    def _without(self, function: ast.FunctionDef, argument: ast.arg) -> Iterator[Edit]:
        """The signature without an argument, written out anew."""
        args = function.args
        positional = [each for each in (*args.posonlyargs, *args.args) if each is not argument]
        named = [each for each in args.kwonlyargs if each is not argument]
        parts = [self._written(function, each) for each in positional]
        if args.vararg:
            parts.append(f"*{self.source.segment(args.vararg)}")
        elif named:
            parts.append("*")
        parts += [self._written(function, each) for each in named]
        if args.kwarg:
            parts.append(f"**{self.source.segment(args.kwarg)}")
        held = arguments(function)
        start = self.source.data.index(b"(", self.source.data.index(b"def ", self.source.start(function)))
        end = self.source.data.index(b")", self._last(function, held))
        yield Edit(start, end + 1, f"({', '.join(parts)})")

    def _last(self, function: ast.FunctionDef, held: list[ast.arg]) -> int:
        """Where the last argument ends, with its default."""
        defaults = [each for each in (*function.args.defaults, *function.args.kw_defaults) if each is not None]
        parts: list[ast.arg | ast.expr] = [*held, *defaults]
        return max(map(self.source.end, parts))

    def _written(self, function: ast.FunctionDef, argument: ast.arg) -> str:
        default = default_of(function, argument.arg)
        text = self.source.segment(argument)
        if default is None:
            return text
        return f"{text}{' = ' if argument.annotation else '='}{self.source.segment(default)}"

    def _call_without(self, call: ast.Call, gone: ast.AST | None) -> Iterator[Edit]:
        if gone is None:
            return
        parts: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
        place = next(place for place, each in enumerate(parts) if each is gone)
        if place > 0:
            yield Edit(self.source.end(parts[place - 1]), self.source.end(parts[place]), "")
        elif len(parts) > 1:
            yield Edit(self.source.start(parts[0]), self.source.start(parts[1]), "")
        else:
            yield self.source.replaced(call, f"{self.source.segment(call.func)}()")

    def _of_dataclass(self, held: ast.ClassDef) -> Iterator[Edit]:
        used = {node.attr for node in self.source.nodes if isinstance(node, ast.Attribute)}
        for each in held.body:
            if not (isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)) or each.target.id in used:
                continue
            yield Edit(*self.source.lines(each), "")
            for call, fields in self.values.made(held):
                place = fields.index(each.target.id)
                keyword = next((k for k in call.keywords if k.arg == each.target.id), None)
                yield from self._call_without(call, call.args[place] if place < len(call.args) else keyword)
            return

    def _annotations(self) -> Iterator[Edit]:
        """``| None`` of arguments that no call leaves out, and their defaults."""
        for name, function in self.values.functions.items():
            calls = self.values.calls.get(name, [])
            for argument in arguments(function) if calls and name not in self.values.escaping else ():
                annotation = argument.annotation
                if annotation is None or not self.source.segment(annotation).endswith(" | None"):
                    continue
                given = [self.values.argument_of(call, function, argument.arg) for call in calls]
                if all(each is not None and self.values.is_never_none(each) for each in given):
                    default = default_of(function, argument.arg)
                    end = self.source.end(annotation if default is None else default)
                    text = self.source.segment(annotation).removesuffix(" | None")
                    yield Edit(self.source.start(annotation), end, text)

    def _of_groups(self) -> Iterator[Edit]:
        """Settings of an optimizer's parameter groups that nothing reads."""
        read = {
            node.slice.value for node in self.source.nodes
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        }  # fmt: skip
        for name, held in self.values.classes.items():
            if not self.values.has_groups(held):
                continue
            for call in self.values.calls.get(name, []):
                for keyword in call.keywords:
                    if keyword.arg is not None and keyword.arg not in read:
                        yield from self._call_without(call, keyword)
                        return
