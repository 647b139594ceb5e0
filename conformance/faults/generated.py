"""Faults made mechanically: every operator, comparison and number of the reference's formulas, changed one at a time.

The library beside this file holds the faults that people make and that ``explain`` names. These here have no such
meaning: they ask of each place in a formula whether anybody would notice if it were otherwise.

Changed are ``+`` and ``-``, ``*`` and ``/``, a comparison at its border (``>`` and ``>=``, ``==`` and ``!=``), ``and``
and ``or``, ``min`` and ``max``, a unary minus (left out) and a number: 0 to 1, an integer to the next, a fraction to
one and a half of it. Left alone is what is no formula: signatures, decorators, checks of arguments and their messages.

Those that nobody notices are in ``equivalents.toml``, each with the reason why.
"""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from conformance.faults.injection import Edit, Span, places

FORMULAS = (
    "activations.py", "initializers.py", "losses.py", "normalization.py", "regularizers.py", "optimizers.py",
    "schedules.py", "models.py", "training.py",
)  # fmt: skip

# Not part of what is compared: the course's explicit loops and its computation graph, and a trial of options.
NO_FORMULAS = (
    "computation_graph", "computation_graph_gradients", "logistic_regression_loops", "logistic_regression_example_loop",
    "_logistic", "_logistic_loss", "_try",
)  # fmt: skip

_OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}
_EXTREMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
_PARTS = (ast.Constant, ast.UnaryOp, ast.Tuple, ast.Slice, ast.keyword)  # they say too little by themselves

EQUIVALENTS = resources.files("conformance.faults") / "equivalents.toml"
KINDS = ("equivalent", "gap", "not_executed")

Lines = tuple[int, int, int, int]  # first and last line, counted from 1, and the columns where it begins and ends


class Generated(NamedTuple):
    """One change of one place.

    Attributes:
        function: ``"file.py: name"``, the function or method; ``Class.method``.
        line: of the file, where the change is.
        change: ``"`before` -> `after`"``, the smallest expression that says what is changed; numbered, ``" (2)"``,
            where the function has had the same before.
        edit: of the whole function.
        where: the changed expression's place in the file.
    """

    function: str
    line: int
    change: str
    edit: Edit
    where: Lines

    @property
    def name(self) -> str:
        """``function, line: change``."""
        return f"{self.function}, line {self.line}: {self.change}"

    @property
    def file(self) -> str:
        """The file's name."""
        return self.edit.file


class Listed(NamedTuple):
    """Changes of a function that no check catches, and why.

    Attributes:
        kind: ``equivalent`` (the same numbers, or the same distribution of weights), ``gap`` (another formulation or
            situation would show it) or ``not_executed`` (by any recipe on which faults are tried).
        function: as of a fault.
        changes: as of a fault; () for every one of the function.
        reason: why, or for a gap what would show it.
    """

    kind: str
    function: str
    changes: tuple[str, ...]
    reason: str

    def holds(self, fault: Generated) -> bool:
        """Whether a fault is one of these."""
        return fault.function == self.function and (not self.changes or fault.change in self.changes)


def listed(text: str | None = None) -> tuple[Listed, ...]:
    """The rows of ``equivalents.toml``, or of another ``text``.

    A row is ``[[kind]]`` with ``function``, ``changes`` (without: all of the function's) and ``reason``. Raises
    ValueError for another kind, and for a row with other fields.
    """
    found = []
    for kind, rows in tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8") if text is None else text).items():
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is not known: must be one of {', '.join(KINDS)}")
        for row in rows:
            if set(row) - {"changes"} != {"function", "reason"}:
                raise ValueError(f"{kind}: {row!r}: must have function and reason, and may have changes")
            found.append(Listed(kind, row["function"], tuple(row.get("changes", ())), row["reason"]))
    return tuple(found)


class _Text:
    """A module's source, with the places of its nodes as offsets into it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.AST) -> Span:
        """Where an expression or statement stands."""
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:  # a column counts bytes
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def line(self, offset: int) -> int:
        """The number of the line in which an offset is."""
        return self.source.count("\n", 0, offset) + 1

    def after(self, node: ast.AST, span: Span, new: str) -> str:
        """A node's text, on one line, with ``span`` of it replaced."""
        start, end = self.span(node)
        text = self.source[start : span[0]] + new + self.source[span[1] : end]
        return " ".join(text.split())


def generated(package_folder: Path) -> tuple[Generated, ...]:
    """Every fault of the formula files of a package, in the order of ``FORMULAS`` and of the places."""
    return tuple(
        fault
        for file in FORMULAS
        for fault in generated_from(file, (package_folder / file).read_text(encoding="utf-8"))
    )


def generated_from(file: str, source: str) -> Iterator[Generated]:
    """The faults of one module.

    >>> [fault.name for fault in generated_from("file.py", "def half(x):\\n    return x / 2\\n")]
    ['file.py: half, line 2: `x / 2` -> `x * 2`', 'file.py: half, line 2: `x / 2` -> `x / 3`']
    """
    text = _Text(source)
    for name, function in _functions(ast.parse(source).body):
        at, whole = f"{file}: {name}", slice(*places(source)[name])
        seen: Counter[str] = Counter()
        for node, telling in _nodes(function, function):
            for span, new in _changes(node, text):
                change = f"`{text.after(telling, span, source[slice(*span)])}` -> `{text.after(telling, span, new)}`"
                seen[change] += 1
                change += f" ({seen[change]})" if seen[change] > 1 else ""
                changed = source[whole.start : span[0]] + new + source[span[1] : whole.stop]
                where = (node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0)
                yield Generated(at, text.line(span[0]), change, Edit(at, source[whole], changed), where)


def _functions(statements: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in statements:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and node.name not in NO_FORMULAS and not _checks(node.name):
            yield inside + node.name, node


def _nodes(node: ast.AST, telling: ast.AST) -> Iterator[tuple[ast.expr | ast.AugAssign, ast.AST]]:
    """What is within a node and may be changed, each with the smallest node around it that says enough."""
    for child in _formulas_in(node):
        # A generator or a part of a slice has no place of its own.
        tells = isinstance(child, ast.expr | ast.stmt) and not isinstance(child, _PARTS)
        nearest = child if tells else telling
        if isinstance(child, ast.expr | ast.AugAssign):
            yield child, nearest
        yield from _nodes(child, nearest)


def _formulas_in(node: ast.AST) -> list[ast.AST]:
    """A node's children without signatures, decorators, annotations, checks of arguments and messages."""
    match node:
        case ast.FunctionDef():
            return list(node.body)
        case ast.Lambda():
            return [node.body]
        case ast.AnnAssign():
            return [node.value] if node.value else []
        case ast.Raise():
            return []
        case ast.Call(func=ast.Name(id=name)) if _checks(name):
            return []
        case ast.If() if all(isinstance(statement, ast.Raise) for statement in node.body):
            return list(node.orelse)
        case _:
            return list(ast.iter_child_nodes(node))


def _checks(function: str) -> bool:
    return function.startswith(("check_", "_check_"))


def _changes(node: ast.AST, text: _Text) -> Iterator[tuple[Span, str]]:
    """What may stand in a node instead of what does, and where."""
    start, end = text.span(node)
    match node:
        case ast.BinOp():
            yield from _operator(node.left, node.op, node.right, text)
        case ast.AugAssign():
            yield from _operator(node.target, node.op, node.value, text)
        case ast.Compare():
            for (left, right), op in zip(pairwise((node.left, *node.comparators)), node.ops, strict=True):
                yield from _operator(left, op, right, text)
        case ast.BoolOp():
            for left, right in pairwise(node.values):
                yield from _operator(left, node.op, right, text)
        case ast.UnaryOp(op=ast.USub()):
            yield (start, start + 1), ""
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name) as function) if name in _EXTREMES:
            after = text.span(function)[1]
            yield (after - len(name), after), _EXTREMES[name]
        case ast.Constant(value=bool()):
            return
        case ast.Constant(value=int(number)):
            yield (start, end), str(number + 1)
        case ast.Constant(value=float(number)):
            yield (start, end), repr(1.5 * number or 1.0)


def _operator(left: ast.AST, op: ast.AST, right: ast.AST, text: _Text) -> Iterator[tuple[Span, str]]:
    """The other operator, in the place of the one between two operands."""
    if type(op) in _OPERATORS:
        old, new = _OPERATORS[type(op)]
        first = text.source.index(old, text.span(left)[1], text.span(right)[0])
        yield (first, first + len(old)), new
