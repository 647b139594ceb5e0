"""Expressions of which a program's text says how they come out, written as what they come out as."""

import ast
from collections.abc import Iterator
from typing import Any

from conformance.ejecting.text import Edit
from conformance.ejecting.values import Values, is_formulation

_LEFT_OUT = ("weight_decay", "momentum", "dampening", "nesterov", "amsgrad", "centered", "initial_accumulator_value",
             "label_smoothing")  # fmt: skip
_SIMPLE = (
    ast.Name, ast.Constant, ast.Call, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.Dict, ast.JoinedStr,
)  # fmt: skip
_OPEN = (  # where nothing binds closer
    ast.Assign, ast.Return, ast.keyword, ast.AnnAssign, ast.Tuple, ast.List, ast.Call,
)  # fmt: skip


class Folding:
    """The edits that simplify the expressions of a module; ``registries``: tables of functions by name."""

    def __init__(self, values: Values, registries: dict[str, dict[str, str]]) -> None:
        self.values, self.source, self.registries = values, values.source, registries

    def edits(self) -> Iterator[Edit]:
        """Edits, of which those that overlap are left to the next time."""
        for node in self.source.nodes:
            if isinstance(node, ast.expr) and not self.values.scopes.in_annotation(node):
                text = self.folded(node)
                if text is not None:
                    yield self.source.replaced(node, text)

    def folded(self, node: ast.expr) -> str | None:
        """What an expression can be written as, None for as it is."""
        match node:
            case ast.Name() if isinstance(node.ctx, ast.Load):
                return self._name(node)
            case ast.IfExp():
                return self._choice(node)
            case ast.BoolOp():
                return self._operands(node)
            case ast.Compare():
                return self._membership(node) or self._literal(node)
            case ast.UnaryOp() if isinstance(node.op, ast.Not):
                return self._literal(node)
            case ast.Subscript() if isinstance(node.ctx, ast.Load):
                return self._subscript(node)
            case ast.Attribute() if isinstance(node.ctx, ast.Load):
                return self._attribute(node)
            case ast.Call():
                return self._call(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Tuple() | ast.List() if isinstance(node.ctx, ast.Load):
                return self._display(node)
        return None

    def text(self, node: ast.expr, around: ast.AST | None = None) -> str:
        """An expression to stand in the place of another; in brackets where it may need them."""
        segment = self.source.segment(node)
        bare = isinstance(node, _SIMPLE) or (isinstance(around, _OPEN) and not isinstance(node, ast.Lambda))
        return segment if bare else f"({segment})"

    def _name(self, name: ast.Name) -> str | None:
        parent = self.source.parents[name]
        if isinstance(parent, ast.Call) and parent.func is name:
            return self._alias(name)
        known = self.values.one(name)
        bound = self.values.binding(name)
        if not known or (bound is None and self.values.scopes.scope(name, name.id) is not None):
            return self._alias(name)
        assigned = self.values.assigned(bound) if bound else None
        if is_formulation(known[0]):
            return repr(known[0])
        return repr(known[0]) if known[0] in (0, 1) and isinstance(assigned, ast.Constant) else self._alias(name)

    def _alias(self, name: ast.Name) -> str | None:
        """The name that a local name is only another one for."""
        bound = self.values.binding(name)
        value = None if bound is None else self.values.assigned(bound)
        if not isinstance(value, ast.Name) or value.id == name.id:
            return None
        scope = self.values.scopes.scope(value, value.id)
        own = self.values.scopes.scope(name, value.id)
        if scope is not own or (scope is not None and len(self.values.scopes.bound(scope)[value.id]) != 1):
            return None
        if scope is None and value.id not in self.values.functions:
            return None
        return value.id

    def _literal(self, node: ast.expr) -> str | None:
        known = self.values.one(node)
        return repr(known[0]) if known and isinstance(known[0], bool) else None

    def _membership(self, node: ast.Compare) -> str | None:
        """``name in TABLE`` of a known name, and ``not in``."""
        table, key = node.comparators[0], self.values.one(node.left)
        if not key or not isinstance(table, ast.Name) or table.id not in self.registries:
            return None
        inside = key[0] in self.registries[table.id]
        known = {ast.In: inside, ast.NotIn: not inside}.get(type(node.ops[0]))
        return None if known is None else repr(known)

    def _choice(self, node: ast.IfExp) -> str | None:
        around = self.source.parents[node]
        truth = self.values.truth(node.test)
        if truth is not None:
            return self.text(node.body if truth else node.orelse, around)
        if ast.dump(node.body) == ast.dump(node.orelse):
            return self.text(node.body, around)
        return None

    def _operands(self, node: ast.BoolOp) -> str | None:
        known = self.values.one(node)
        if known and is_formulation(known[0]):
            return repr(known[0])
        if self._asked(node) and self.values.truth(node) is not None:
            return repr(self.values.truth(node))
        decides = isinstance(node.op, ast.Or)
        truths = [self.values.truth(each) for each in node.values]
        if truths[0] == decides:
            return self.text(node.values[0], self.source.parents[node])
        last = len(node.values) - 1
        kept = [
            each for place, (each, truth) in enumerate(zip(node.values, truths, strict=True))
            if truth != (not decides) or (place == last and not self._asked(node))
        ]  # fmt: skip
        if len(kept) == len(node.values) or not kept:
            return None
        word = " or " if decides else " and "
        if len(kept) == 1:
            return self.source.segment(kept[0]) if self._asked(node) else self.text(kept[0])
        loose = (ast.BoolOp, ast.IfExp, ast.Lambda, ast.NamedExpr)
        parts = [f"({self.source.segment(e)})" if isinstance(e, loose) else self.source.segment(e) for e in kept]
        return f"({word.join(parts)})"

    def _asked(self, node: ast.expr) -> bool:
        """Whether an expression is asked nothing but whether it is true."""
        parent = self.source.parents[node]
        if isinstance(parent, (ast.If, ast.IfExp, ast.While)):
            return parent.test is node
        return isinstance(parent, ast.comprehension) or (
            isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not)
        )

    def _subscript(self, node: ast.Subscript) -> str | None:
        key = self.values.one(node.slice)
        if key and isinstance(node.value, ast.Name) and node.value.id in self.registries:
            return self.registries[node.value.id].get(key[0])
        table = self._named_once(node.value)
        if key and isinstance(table, ast.Dict) and None not in table.keys:
            for place, each in zip(table.keys, table.values, strict=True):
                if each is not None and place is not None and self.values.one(place) == key:
                    return self.text(each, self.source.parents[node])
        if isinstance(node.value, ast.Name) and node.value.id == "group" and key:
            known = self.values.one(node)
            return repr(known[0]) if known and is_formulation(known[0]) else None
        return None

    def _attribute(self, node: ast.Attribute) -> str | None:
        known = self.values.one(node)
        return repr(known[0]) if known and is_formulation(known[0]) else None

    def _call(self, node: ast.Call) -> str | None:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name in ("bool", "isinstance") and (literal := self._literal(node)) is not None:
            return literal
        if name == "dict" and len(node.args) == 1 and isinstance(node.args[0], ast.Dict) and not node.keywords:
            return self.source.segment(node.args[0])
        if name == "float" and len(node.args) == 1 and self._is_float(node.args[0]):
            return self.text(node.args[0], self.source.parents[node])
        if name in self.values.functions and (text := self._inlined(node, self.values.functions[name])) is not None:
            return text
        return self._spread(node)

    def _is_float(self, node: ast.expr) -> bool:
        known = self.values.of(node)
        return bool(known) and known is not None and all(type(value) is float for value in known)

    def _spread(self, node: ast.Call) -> str | None:
        """A call whose keywords stand in a dictionary that is known, or that says what is so in any case."""
        parts, changed = [self.source.segment(each) for each in node.args], False
        for place, each in enumerate(node.args):
            if isinstance(each, ast.Starred) and isinstance(each.value, ast.Tuple):
                parts[place] = ", ".join(map(self.source.segment, each.value.elts))
                changed = True
        parts = [part for part in parts if part]
        if (
            self.source.segment(node.func) == "F.linear"
            and len(parts) == 3
            and self.values.one(node.args[2]) == (None,)
        ):
            parts.pop()
            changed = True
        for keyword in node.keywords:
            spread = self._dictionary(keyword)
            if spread is not None:
                parts += spread
                changed = True
            elif self._says_nothing(node, keyword):
                changed = True
            else:
                parts.append(self.source.segment(keyword))
        return f"{self.source.segment(node.func)}({', '.join(parts)})" if changed else None

    def _display(self, node: ast.Tuple | ast.List) -> str | None:
        """``(a, *(), b)`` without what adds nothing."""
        gone = [
            e for e in node.elts if isinstance(e, ast.Starred) and isinstance(e.value, ast.Tuple) and not e.value.elts
        ]
        if not gone:
            return None
        parts = [self.source.segment(each) for each in node.elts if each not in gone]
        if isinstance(node, ast.List):
            return f"[{', '.join(parts)}]"
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"

    def _dictionary(self, keyword: ast.keyword) -> list[str] | None:
        if keyword.arg is not None:
            return None
        value = self._named_once(keyword.value)
        if isinstance(value, ast.Dict) and all(isinstance(key, ast.Constant) for key in value.keys):
            pairs = zip(value.keys, value.values, strict=True)
            return [
                f"{key.value!s}={self.source.segment(each)}" for key, each in pairs if isinstance(key, ast.Constant)
            ]
        return None

    def _named_once(self, node: ast.expr) -> ast.expr | None:
        """What a name stands for that is used but here, or the expression itself."""
        if not isinstance(node, ast.Name) or (bound := self.values.binding(node)) is None:
            return node
        scope = self.values.scopes.scope(node, node.id)
        return self.values.assigned(bound) if len(self.values.scopes.uses.get((scope, node.id), [])) == 1 else node

    def _says_nothing(self, node: ast.Call, keyword: ast.keyword) -> bool:
        """Whether a keyword has its default: ``out=None`` of NumPy, and what PyTorch does without."""
        called, known = self.source.segment(node.func), self.values.one(keyword.value)
        if called.startswith("np."):
            return keyword.arg == "out" and known == (None,)
        if called == "tf.nn.convolution":
            return keyword.arg == "dilations" and known == (None,)
        if called.startswith("lax."):
            return (keyword.arg, known) in (("rhs_dilation", (None,)), ("feature_group_count", (1,)))
        return called.startswith(("optim.", "F.")) and keyword.arg in _LEFT_OUT and known in ((0.0,), (False,))

    def _inlined(self, call: ast.Call, function: ast.FunctionDef) -> str | None:
        """A call of a function that returns one of its arguments, or a constant, as it is."""
        body = [each for each in function.body if not is_docstring(each)]
        if len(body) != 1 or not isinstance(body[0], ast.Return) or function.decorator_list:
            return None
        result = body[0].value
        if isinstance(result, ast.Constant):
            return repr(result.value)
        if isinstance(result, ast.Name) and result.id in self.values.functions:
            return result.id
        if isinstance(result, ast.Tuple):
            return self._inlined_tuple(call, function, result)
        if isinstance(result, ast.Call):
            return self._inlined_call(call, function, result)
        held = result.value if isinstance(result, ast.Attribute) else result  # w or w.device
        if not isinstance(held, ast.Name) or self.values.scopes.scope(held, held.id) is not function:
            return None
        given = self.values.argument_of(call, function, held.id)
        if given is None:
            return None
        if isinstance(result, ast.Attribute):
            return f"{self.text(given)}.{result.attr}"
        return self.text(given, self.source.parents[call])

    def _inlined_tuple(self, call: ast.Call, function: ast.FunctionDef, result: ast.Tuple) -> str | None:
        """A call of a function that returns several of its arguments, and constants."""
        parts: list[str] = []
        for each in result.elts:
            given: ast.expr | None = each
            if isinstance(each, ast.Name) and self.values.scopes.scope(each, each.id) is function:
                given = self.values.argument_of(call, function, each.id)
            if not isinstance(given, (ast.Name, ast.Constant)):
                return None
            parts.append(self.source.segment(given))
        return f"({', '.join(parts)})" if len(parts) > 1 else None

    def _inlined_call(self, call: ast.Call, function: ast.FunctionDef, result: ast.Call) -> str | None:
        """A call of a function that hands its arguments on to a class, and does nothing else."""
        if not isinstance(result.func, ast.Name) or result.func.id not in self.values.classes or result.keywords:
            return None
        parts: list[str] = []
        for each in result.args:
            own = isinstance(each, ast.Name) and self.values.scopes.scope(each, each.id) is function
            given = self.values.argument_of(call, function, each.id) if own and isinstance(each, ast.Name) else None
            if given is None:
                return None
            parts.append(self.source.segment(given))
        return f"{result.func.id}({', '.join(parts)})" if parts else None

    def _arithmetic(self, node: ast.BinOp) -> str | None:
        """What a factor of 1, a summand of 0 and the like leave over; rounding is what it was."""
        around = self.source.parents[node]
        left, right = self._unit(node.left), self._unit(node.right)
        if left is not None and right is not None and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
            known = self.values.one(node)
            return repr(known[0]) if known and known[0] in (0, 1) else None
        if isinstance(node.op, ast.Mult) and 1 in (left, right):
            return self.text(node.right if left == 1 else node.left, around)
        if isinstance(node.op, ast.Mult) and left == 0 and self._is_sign(node.right):
            return repr(0.0)
        if isinstance(node.op, ast.Div) and right == 1:
            return self.text(node.left, around)
        if isinstance(node.op, ast.Add) and 0 in (left, right) and 1 not in (left, right):
            return self.text(node.right if left == 0 else node.left, around)
        return None

    def _is_sign(self, node: ast.expr) -> bool:
        """Whether it is -1, 0 or 1: what is no number has no sign, and so is none in the sum either."""
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sign"

    def _unit(self, node: ast.expr) -> Any:
        """0 or 1 where it is one of these in any case, else None."""
        known = self.values.one(node)
        exact = known and isinstance(known[0], (int, float)) and not isinstance(known[0], bool) and known[0] in (0, 1)
        return known[0] if known and exact else None


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is nothing but a string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
