"""What is to be identified, as it is named: ``package.module:attribute``, also with arguments by name.

``torch.optim:SGD(momentum=0.9, nesterov=True)``: the arguments are literals, read and never run.
"""

import ast
import importlib
import sys
from typing import Any, NamedTuple

from conformance.data.wording import nearest, shown

KINDS = ("optimizer", "loss", "activation", "normalization", "schedule", "initializer", "layer", "regularizer")


class Target(NamedTuple):
    """A target taken apart; ``attribute`` may have dots, ``called`` says whether arguments or ``()`` were written."""

    module: str
    attribute: str
    keywords: dict[str, Any]
    called: bool


def parse(text: str) -> Target:
    """The target that ``text`` names.

    Raises ValueError if it names none, for an argument without a name, and for one that is no literal.

    >>> parse("torch.optim:SGD(momentum=0.9)")
    Target(module='torch.optim', attribute='SGD', keywords={'momentum': 0.9}, called=True)
    """
    module, colon, rest = text.strip().partition(":")
    if not colon or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(
            f"target={shown(text)} is not allowed: must be package.module:attribute, arguments in brackets"
        )
    try:
        node = ast.parse(rest.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"target={shown(text)} cannot be read after the colon: {error}") from error
    call = node if isinstance(node, ast.Call) else None
    attribute = _dotted(node if call is None else call.func)
    if attribute is None:
        raise ValueError(f"target={shown(text)} is not allowed: must name an attribute after the colon")
    return Target(module, attribute, {} if call is None else _keywords(text, call), call is not None)


def load(target: Target) -> Any:
    """Import what a target names, also from the current folder. Raises ValueError if it cannot be had."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(target.module)
    except Exception as error:  # whatever somebody's module raises when it is imported
        raise ValueError(f"target {target.module}:{target.attribute} cannot be loaded: {_said(error)}") from error
    for name in target.attribute.split("."):
        if not hasattr(found, name):
            near = nearest(name, [known for known in dir(found) if not known.startswith("_")])
            raise ValueError(f"target {target.module}:{target.attribute} cannot be loaded: no {name!r} there{near}")
        found = getattr(found, name)
    return found


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _dotted(node: ast.expr) -> str | None:
    """``a.b.c`` of a node that is nothing but names and dots."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _keywords(text: str, call: ast.Call) -> dict[str, Any]:
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise ValueError(f"target={shown(text)} is not allowed: every argument must be given by name, as in lr=0.1")
    found = {}
    for keyword in call.keywords:
        try:
            found[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(
                f"target={shown(text)}: {keyword.arg} is not allowed: must be a literal (a number, a text, a list)"
            ) from error
    return found
