"""A file as a notebook: a cell of text, and cells of code in the same order."""

import ast
import json
from typing import Any

from conformance.ejecting.text import Source


def notebook(text: str, last: str) -> str:
    """The JSON of a notebook with the code of a file, but not what it does when it is run; ``last``: code of a cell.

    >>> text = '\"\"\"A title.\"\"\"\\nimport math\\n\\n\\ndef f():\\n    return math.pi\\n'
    >>> cells = json.loads(notebook(text, "f()"))["cells"]
    >>> [cell["source"] for cell in cells]
    ['A title.', 'import math', 'def f():\\n    return math.pi', 'f()']
    """
    source = Source(text)
    head = ast.get_docstring(source.tree) or ""
    groups: list[list[ast.stmt]] = []
    for node in source.tree.body[1:]:
        if isinstance(node, ast.If):
            continue
        if groups and _kind(node) == _kind(groups[-1][-1]) != "definition":
            groups[-1].append(node)
        else:
            groups.append([node])
    blocks = [source.block(group).strip("\n") for group in groups]
    cells = [_cell("markdown", head, 0), *(_cell("code", block, n) for n, block in enumerate((*blocks, last), start=1))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(made, indent=1) + "\n"


def _kind(node: ast.stmt) -> str:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return "import"
    return "assignment" if isinstance(node, (ast.Assign, ast.AnnAssign)) else "definition"


def _cell(kind: str, text: str, number: int) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text}
    return cell if kind == "markdown" else cell | {"execution_count": None, "outputs": []}
