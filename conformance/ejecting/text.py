"""A module's text with its tree: where a node stands in it, and the text with some of it replaced.

Text is edited, and not the tree written out anew, so that comments and layout stay.
"""

import ast
from collections.abc import Iterable
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple


class Edit(NamedTuple):
    """The bytes from ``start`` to ``end`` become ``text``."""

    start: int
    end: int
    text: str


class Source:
    """The text of a module. Places in it are counted in bytes, as ``ast`` counts columns."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode()
        self.tree = ast.parse(text)
        self._lines = list(accumulate((len(line) for line in self.data.splitlines(keepends=True)), initial=0))

    @property
    def nodes(self) -> list[ast.AST]:
        """All nodes, outer ones first."""
        return self._walked[0]

    @property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node that each node is directly in."""
        return self._walked[1]

    @cached_property
    def _walked(self) -> tuple[list[ast.AST], dict[ast.AST, ast.AST]]:
        nodes: list[ast.AST] = [self.tree]
        parents: dict[ast.AST, ast.AST] = {}
        for node in nodes:  # which grow
            for child in ast.iter_child_nodes(node):
                parents[child] = node
                nodes.append(child)
        return nodes, parents

    def start(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        """Where a node begins; a decorated one with its first decorator."""
        decorators = getattr(node, "decorator_list", [])
        line, column = node.lineno, node.col_offset
        if decorators:
            line = decorators[0].lineno
        return self._lines[line - 1] + column

    def end(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> int:
        """Where it ends."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._lines[node.end_lineno - 1] + node.end_col_offset

    def segment(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword) -> str:
        """The text of a node."""
        return self.data[self.start(node) : self.end(node)].decode()

    def lines(self, node: ast.stmt) -> tuple[int, int]:
        """The bytes of a statement's lines, with the comments right above it."""
        first = node.lineno
        if getattr(node, "decorator_list", []):
            first = min(decorator.lineno for decorator in node.decorator_list)  # type: ignore[attr-defined]
        while first > 1 and self._line(first - 1).lstrip().startswith(b"#"):
            first -= 1
        assert node.end_lineno is not None
        return self._lines[first - 1], self._lines[node.end_lineno]

    def block(self, body: list[ast.stmt]) -> str:
        """The lines of statements in a row, with the comments above the first."""
        return self.data[self.lines(body[0])[0] : self.lines(body[-1])[1]].decode()

    def replaced(self, node: ast.expr | ast.arg | ast.keyword, text: str) -> Edit:
        """The edit that puts ``text`` in the place of a node."""
        return Edit(self.start(node), self.end(node), text)

    def edited(self, edits: Iterable[Edit]) -> str:
        """The text after the edits; of those that overlap the first and widest alone is made."""
        pieces, place = [], 0
        for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
            if edit.start >= place:
                pieces += [self.data[place : edit.start], edit.text.encode()]
                place = edit.end
        return b"".join([*pieces, self.data[place:]]).decode()

    def _line(self, number: int) -> bytes:
        return self.data[self._lines[number - 1] : self._lines[number]]


def indented(block: str, columns: int) -> str:
    """Lines of code moved so that the first statement begins at a column; strings of several lines are not touched.

    >>> indented("        a = 1\\n        b = 2\\n", 4)
    '    a = 1\\n    b = 2\\n'
    """
    lines = block.splitlines(keepends=True)
    first = next(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    shift = columns - (len(first) - len(first.lstrip()))
    if shift >= 0:
        return "".join(" " * shift + line if line.strip() else line for line in lines)
    return "".join(line[-shift:] if not line[:-shift].strip() else line for line in lines)
