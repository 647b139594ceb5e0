"""What an expression can be when a program runs, as far as that stands in its text.

An expression is known by all the values that it may have: an argument has one for each call of its function. What is
asked of it, such as whether a condition holds, is decided where every one of them gives the same answer.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import product
from typing import Any

from conformance.ejecting.declared import default_of, field_given, fields_of, may_be_none
from conformance.ejecting.scopes import Scopes, arguments
from conformance.ejecting.tables import Tables
from conformance.ejecting.text import Source

Known = list[Any] | None  # the values that are possible, None where they do not stand in the text
_MOST = 16

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_COMPARED: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_UNARY: dict[type, Callable[[Any], Any]] = {ast.Not: operator.not_, ast.USub: operator.neg, ast.UAdd: operator.pos}
_CALLED: dict[str, Callable[..., Any]] = {
    "bool": bool, "float": float, "int": int, "len": len, "tuple": tuple, "list": list, "dict": dict, "all": all,
    "any": any, "abs": abs, "str": str, "max": max, "min": min, "sum": sum, "range": range,
}  # fmt: skip
_KINDS = {"tuple": tuple, "list": list, "str": str, "float": float, "int": int, "dict": dict, "bool": bool}


class Values:
    """The known values of a module's expressions.

    ``given``: of names of the module and of arguments, ``"adam.beta1"``, and of fields, ``"Adam.amsgrad"``, which
    do not stand in the text; ``is_whole``: whether the text has all calls of its functions.
    """

    def __init__(self, source: Source, given: Mapping[str, Any], *, is_whole: bool = True) -> None:
        self.source, self.given, self.is_whole, self.scopes = source, given, is_whole, Scopes(source)
        self._memory: dict[ast.AST, Known] = {}
        self.functions = {node.name: node for node in source.tree.body if isinstance(node, ast.FunctionDef)}
        self.classes = {node.name: node for node in source.tree.body if isinstance(node, ast.ClassDef)}
        self.calls: dict[str, list[ast.Call]] = {}
        # Functions and classes that are more than called here.
        self.escaping = set[str]() if is_whole else {*self.functions, *self.classes}
        tables = Tables(source)
        for name in (*self.functions, *self.classes):
            for use in self.scopes.uses.get((None, name), []):
                parent = source.parents[use]
                if isinstance(parent, ast.Call) and parent.func is use:
                    self.calls.setdefault(name, []).append(parent)
                elif not (isinstance(parent, ast.ClassDef) and use in parent.bases) and (
                    not self.scopes.in_annotation(use) and use not in tables.entries
                ):
                    self.escaping.add(name)
        while more := tables.taken(self.scopes, self.one) & {*self.functions, *self.classes} - self.escaping:
            self.escaping |= more
            self._memory.clear()
            vars(self).pop("groups", None)

    @cached_property
    def groups(self) -> dict[str, Known]:
        """The settings of a PyTorch optimizer's parameter groups: what its class is made with, by name."""
        if not self.is_whole:
            return {}
        found: dict[str, Known] = {"weight_decay": [0.0], "decoupled_weight_decay": [False]}
        for name, held in self.classes.items():
            for call in self.calls.get(name, []) if self.has_groups(held) else ():
                found |= {keyword.arg: self.of(keyword.value) for keyword in call.keywords if keyword.arg is not None}
        return found

    def has_groups(self, held: ast.ClassDef) -> bool:
        """Whether a class is an optimizer of PyTorch, by what it is derived from."""
        bases = [base.id for base in held.bases if isinstance(base, ast.Name)]
        derived = any(name in self.classes and self.has_groups(self.classes[name]) for name in bases)
        return derived or any("optim.Optimizer" in ast.unparse(base) for base in held.bases)

    def of(self, node: ast.AST) -> Known:
        """The values that an expression may have, None if that is not known."""
        if node not in self._memory:
            self._memory[node] = None  # of an expression that is made of itself
            self._memory[node] = _few(self._of(node))
        return self._memory[node]

    def one(self, node: ast.AST) -> tuple[Any] | None:
        """The only value that an expression can have, in a tuple, or None."""
        found = self.of(node)
        return (found[0],) if found and all(_same(value, found[0]) for value in found) else None

    def truth(self, node: ast.AST) -> bool | None:
        """Whether an expression is true, None if that is not known."""
        if isinstance(node, ast.BoolOp):
            truths = {self.truth(each) for each in node.values}
            decides = isinstance(node.op, ast.Or)
            return decides if decides in truths else None if None in truths else not decides
        found = self.of(node)
        if not found:
            return None
        truths = {bool(value) for value in found}
        return truths.pop() if len(truths) == 1 else None

    def binding(self, name: ast.Name) -> ast.AST | None:
        """What binds a name where it is read, None if that may be more than one thing."""
        scope = self.scopes.scope(name, name.id)
        if scope is None:
            return None
        bound = self.scopes.bound(scope)[name.id]
        if len(bound) == 1:
            return bound[0]
        if not isinstance(scope, ast.FunctionDef) or self._in_loop(name, scope):
            return None
        before = [each for each in bound if self._is_before(each, name, scope)]
        last = before[-1] if before else None
        changes = [each for each in before if not isinstance(each, ast.arg) and self._place(each, scope)[1]]
        augmented = last is not None and isinstance(self.source.parents.get(last), ast.AugAssign)
        return None if changes or augmented else last

    def _place(self, node: ast.AST, scope: ast.FunctionDef) -> tuple[int, bool]:
        """Which statement of a function a node is in, and whether it is in another one inside that."""
        inside, inner = node, False
        while (outer := self.source.parents[inside]) is not scope:
            inner = inner or (
                isinstance(outer, ast.stmt) and not isinstance(outer, (ast.Assign, ast.AnnAssign, ast.AugAssign))
            )
            inside = outer
        return scope.body.index(inside) if inside in scope.body else -1, inner

    def _is_before(self, bound: ast.AST, name: ast.Name, scope: ast.FunctionDef) -> bool:
        """Whether a name may be bound before it is read: one that a function inside reads, in any case."""
        if isinstance(bound, ast.arg) or self.scopes.around(name) is not scope:
            return True
        first, second = self._place(bound, scope)[0], self._place(name, scope)[0]
        if first == second and self._place(bound, scope)[1]:  # both inside of one statement
            return self.source.start(bound) < self.source.start(name)  # type: ignore[arg-type]
        return first < second

    def _in_loop(self, name: ast.AST, scope: ast.FunctionDef) -> bool:
        inside = name
        while (outer := self.source.parents[inside]) is not scope:
            if isinstance(outer, (ast.For, ast.While)):
                return True
            inside = outer
        return False

    def is_never_none(self, node: ast.AST) -> bool:
        """Whether an expression is an argument that cannot be None, as it is declared or as all calls give it.

        A constant that is given is none, too.
        """
        if isinstance(node, ast.Name) and self.scopes.scope(node, node.id) is None:
            return self.given.get(node.id) is not None
        if not isinstance(node, ast.Name) or not isinstance(bound := self.binding(node), ast.arg):
            return False
        if bound.annotation is not None and not may_be_none(bound.annotation, self.aliases, self.classes):
            return True
        function = self.scopes.scope(node, node.id)
        if not isinstance(function, ast.FunctionDef) or self.functions.get(function.name) is not function:
            return False
        given = [self.argument_of(call, function, bound.arg) for call in self.calls.get(function.name, [])]
        return (
            bool(given)
            and function.name not in self.escaping
            and all(each is not None and self.is_never_none(each) for each in given)
        )

    @cached_property
    def aliases(self) -> dict[str, ast.expr]:
        """What names of the module are assigned, types under other names among them."""
        named = [node for node in self.source.tree.body if isinstance(node, (ast.Assign, ast.AnnAssign))]
        return {target: node.value for node in named if node.value is not None and (target := _target(node))}

    def assigned(self, target: ast.AST) -> ast.expr | None:
        """The expression that a target of an assignment takes, by itself or beside others."""
        parent = self.source.parents.get(target)
        if isinstance(parent, ast.AnnAssign):
            return parent.value
        if isinstance(parent, ast.Assign):
            return parent.value
        if isinstance(parent, ast.Tuple) and isinstance(outer := self.source.parents.get(parent), ast.Assign):
            values = outer.value
            if isinstance(values, ast.Tuple) and len(values.elts) == len(parent.elts):
                return values.elts[[element is target for element in parent.elts].index(True)]
        return None

    def _of(self, node: ast.AST) -> Known:
        match node:
            case ast.Constant():
                return [node.value]
            case ast.Name():
                return self._of_name(node)
            case ast.Tuple() | ast.List():
                return self._combined(lambda *parts: tuple(parts), node.elts)
            case ast.Set():
                return self._combined(lambda *parts: set(parts), node.elts)
            case ast.Dict() if None not in node.keys:
                keys = self._combined(lambda *parts: parts, [key for key in node.keys if key])
                values = self._combined(lambda *parts: parts, node.values)
                return (
                    None
                    if keys is None or values is None
                    else [dict(zip(keys[0], each, strict=True)) for each in values]
                )
            case ast.UnaryOp() if type(node.op) in _UNARY:
                return self._combined(_UNARY[type(node.op)], [node.operand])
            case ast.BinOp() if type(node.op) in _BINARY:
                return self._combined(_BINARY[type(node.op)], [node.left, node.right])
            case ast.BoolOp():
                return self._of_operands(node)
            case ast.Compare():
                return self._of_comparison(node)
            case ast.IfExp():
                return self._of_choice(node)
            case ast.Subscript(value=ast.Name(id="group"), slice=ast.Constant(value=str(setting))):
                return self.groups.get(setting)
            case ast.Subscript():
                return self._combined(lambda held, key: held[key], [node.value, node.slice])
            case ast.Attribute():
                return self._of_attribute(node)
            case ast.Call():
                return self._of_call(node)
        return None

    def _of_name(self, name: ast.Name) -> Known:
        scope = self.scopes.scope(name, name.id)
        if scope is None:
            return [self.given[name.id]] if name.id in self.given else self._of_constant(name.id)
        bound = self.binding(name)
        if bound is None:
            return None
        if isinstance(bound, ast.arg):
            return self._of_argument(scope, bound.arg)
        value = self.assigned(bound)
        may_change = isinstance(value, (ast.List, ast.Dict, ast.Set))  # the object that is called so
        return None if value is None or may_change else self.of(value)

    def _of_constant(self, name: str) -> Known:
        """What a module assigns to a name, once."""
        found = [
            node for node in self.source.tree.body
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and _target(node) == name
        ]  # fmt: skip
        return self.of(found[0].value) if len(found) == 1 and found[0].value is not None else None

    def _of_argument(self, scope: Any, argument: str) -> Known:
        if not isinstance(scope, ast.FunctionDef) or self.functions.get(scope.name) is not scope:
            return None
        if f"{scope.name}.{argument}" in self.given:
            return [self.given[f"{scope.name}.{argument}"]]
        if scope.name in self.escaping or argument in (_starred(scope)) or not self.calls.get(scope.name):
            return None
        return self._joined(self.argument_of(call, scope, argument) for call in self.calls[scope.name])

    def given_for(self, function: ast.FunctionDef, argument: str) -> tuple[Any] | None:
        """The only value that calls give for an argument of a function, in a tuple, or None."""
        found = self._of_argument(function, argument)
        return (found[0],) if found and len(found) == 1 else None

    def _joined(self, expressions: Iterable[ast.expr | None]) -> Known:
        found: list[Any] = []
        for expression in expressions:
            values = None if expression is None else self.of(expression)
            if values is None:
                return None
            found += [value for value in values if not any(_same(value, other) for other in found)]
        return found

    def argument_of(self, call: ast.Call, function: ast.FunctionDef, argument: str) -> ast.expr | None:
        """What a call gives for an argument, its default where it is left out; None if that cannot be told."""
        if any(isinstance(given, ast.Starred) for given in call.args) or any(k.arg is None for k in call.keywords):
            return None
        positional = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
        if argument in positional and positional.index(argument) < len(call.args):
            return call.args[positional.index(argument)]
        for keyword in call.keywords:
            if keyword.arg == argument:
                return keyword.value
        return default_of(function, argument)

    def _of_attribute(self, node: ast.Attribute) -> Known:
        """Of a field of a class's own that all that make one give alike, or is given."""
        if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            return None
        method = self.scopes.around(node)
        held = self.source.parents.get(method) if method else None
        if not isinstance(held, ast.ClassDef):
            return None
        if f"{held.name}.{node.attr}" in self.given:
            return [self.given[f"{held.name}.{node.attr}"]]
        made = list(self.made(held))
        if node.attr not in fields_of(held) or not made:
            return None
        return self._joined(field_given(call, fields, node.attr) for call, fields in made)

    def made(self, held: ast.ClassDef) -> Iterator[tuple[ast.Call, list[str]]]:
        """The calls that make objects of a dataclass or of those derived from it, with all fields of each.

        None where one of them is more than called here.
        """
        derived = [held, *(each for each in self.classes.values() if held in self._bases(each))]
        if any(each.name in self.escaping for each in derived):
            return
        for each in derived:
            fields = [field for base in [*reversed(self._bases(each)), each] for field in fields_of(base)]
            yield from ((call, fields) for call in self.calls.get(each.name, []))

    def _bases(self, held: ast.ClassDef) -> list[ast.ClassDef]:
        """The classes of the module that a class is derived from, the next one first."""
        names = [base.id for base in held.bases if isinstance(base, ast.Name) and base.id in self.classes]
        return [each for name in names for each in (self.classes[name], *self._bases(self.classes[name]))]

    def _of_operands(self, node: ast.BoolOp) -> Known:
        """As Python does: the first operand that decides, or the last."""
        decides = isinstance(node.op, ast.Or)
        for operand in node.values[:-1]:
            truth = self.truth(operand)
            if truth is None:
                return None
            if truth == decides:
                return self.of(operand)
        return self.of(node.values[-1])

    def _of_comparison(self, node: ast.Compare) -> Known:
        operands = [node.left, *node.comparators]
        if len(node.ops) == 1 and isinstance(node.ops[0], (ast.Is, ast.IsNot)) and self.of(node.left) is None:
            of_none = self.one(node.comparators[0]) == (None,) and self.is_never_none(node.left)
            return [isinstance(node.ops[0], ast.IsNot)] if of_none else None
        operations = [_COMPARED[type(op)] for op in node.ops]
        return self._combined(
            lambda *parts: all(op(a, b) for op, a, b in zip(operations, parts, parts[1:], strict=False)), operands
        )

    def _of_choice(self, node: ast.IfExp) -> Known:
        truth = self.truth(node.test)
        if truth is not None:
            return self.of(node.body if truth else node.orelse)
        return self._joined([node.body, node.orelse])

    def _of_call(self, node: ast.Call) -> Known:
        if not isinstance(node.func, ast.Name) or self.scopes.scope(node.func, node.func.id) is not None:
            return None
        if node.keywords or any(isinstance(given, ast.Starred) for given in node.args):
            return None
        name = node.func.id
        if name == "isinstance" and len(node.args) == 2:
            kinds = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
            names = [kind.id for kind in kinds if isinstance(kind, ast.Name) and kind.id in _KINDS]
            if len(names) != len(kinds):
                return None
            return self._combined(lambda value: isinstance(value, tuple(_KINDS[n] for n in names)), node.args[:1])
        return self._combined(_CALLED[name], node.args) if name in _CALLED else None

    def _combined(self, function: Callable[..., Any], parts: Iterable[ast.AST]) -> Known:
        known = [self.of(part) for part in parts]
        if any(values is None for values in known) or math.prod(len(v) for v in known if v is not None) > _MOST:
            return None
        try:
            return [function(*each) for each in product(*(values for values in known if values is not None))]
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return None


def is_formulation(value: Any) -> bool:
    """Whether a value chooses between formulas and is no number of them: a word, a flag, None, or keywords.

    >>> is_formulation("inside_root"), is_formulation(0.9), is_formulation(False), is_formulation((10, 20))
    (True, False, True, False)
    """
    return value is None or isinstance(value, (bool, str, dict)) or value == ()


def _starred(function: ast.FunctionDef) -> list[str]:
    return [each.arg for each in arguments(function) if each in (function.args.vararg, function.args.kwarg)]


def _target(node: ast.Assign | ast.AnnAssign) -> str | None:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return target.id if isinstance(target, ast.Name) else None


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _few(values: Known) -> Known:
    if values is None:
        return None
    found: list[Any] = []
    for value in values:
        if not any(_same(value, other) for other in found):
            found.append(value)
    return found if len(found) <= _MOST else None
