"""Implementations and arguments as they are written on the command line: what is refused before it is looked for."""

import ast
from collections.abc import Collection
from typing import Any

import typer

from conformance.adapters.installation import FRAMEWORKS
from conformance.adapters.registry import TRACE, available
from conformance.cli.display import Exit, stop
from conformance.data.wording import one_line, shown

# Names by which somebody may call an implementation of this project.
OTHER_NAMES = {module: name for name, module in FRAMEWORKS.items() if module != name} | {"keras": "tf", "flax": "jax"}


def implementations(text: str) -> list[str]:
    """The names in a text, separated by commas. Raises ValueError for one that can be none."""
    names = text.split(",")
    for name in names:
        require_name("implementation", name)
    return names


def require_name(option: str, name: str) -> None:
    """Raise ValueError for the name of a framework that is called otherwise here, and for one without a part.

    >>> require_name("implementation", "tensorflow")
    Traceback (most recent call last):
    ValueError: implementation='tensorflow' is not allowed: did you mean 'tf'?
    """
    if name in available():
        return
    if name.lower() in OTHER_NAMES:
        raise ValueError(f"{option}={shown(name)} is not allowed: did you mean {OTHER_NAMES[name.lower()]!r}?")
    if name.startswith(TRACE):
        if name == TRACE:
            raise ValueError(f"{option}={shown(name)} is not allowed: must have a path after the colon")
        return
    module, colon, attribute = name.partition(":")
    if colon and not (module and attribute):
        side = "an attribute after" if module else "a module before"
        raise ValueError(
            f"{option}={shown(name)} is not allowed: must be package.module:attribute, with {side} the colon"
        )


def brief(error: Exception, target: str = "") -> str:
    """What is wrong with somebody's code, in a line that is not long and names the target."""
    said = one_line(str(error))
    return said if target in said else f"{target}: {said}"


def setting(text: str) -> tuple[str, Any]:
    """An argument and its value, a literal of Python or a word. Raises ValueError for what is none.

    >>> setting("betas=(0.8, 0.9)"), setting("reduction=sum")
    (('betas', (0.8, 0.9)), ('reduction', 'sum'))
    """
    name, sign, value = text.partition("=")
    if not sign or not name.strip().isidentifier():
        raise ValueError(f"--set {text} is not allowed: must be ARGUMENT=VALUE, as in lr=0.1")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return name.strip(), value.strip()


def options_given(context: typer.Context, beside: Collection[str]) -> list[str]:
    """The options and arguments that stand on the command line, as they are written, but for those ``beside``."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if parameter.name not in beside and source is not None and source.name == "COMMANDLINE":
            no = context.params[str(parameter.name)] is False and parameter.secondary_opts
            given.append((no or parameter.opts)[0])
    return given


def require_alone(option: str, context: typer.Context, beside: Collection[str], why: str) -> None:
    """End the command if another option is given than ``option`` and those that may stand beside it."""
    given = options_given(context, beside=(option, *beside))
    if given:
        stop(Exit.BAD_INPUT, f"--{option} and {', '.join(given)} exclude each other: {why}")
