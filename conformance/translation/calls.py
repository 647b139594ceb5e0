"""Calls of built-ins that are no optimizers: read, given other numbers, and written as code."""

import ast
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conformance.data.wording import nearest, shown
from conformance.recipes import catalogue_page
from conformance.recipes.catalogue_page import Builtin

FILE = Path(catalogue_page.__file__).with_name("function_arguments.toml")
OF = {"torch": "torch", "keras": "tf", "tf": "tf", "jax": "jax", "optax": "jax", "flax": "jax"}  # whose a module is
_FACTORIES = ("jax.nn.initializers.", "optax.")  # functions that make the function that is meant
_NO_FACTORIES = ("optax.losses.",)
# What every such call takes first.
_FIRST = {
    "torch.nn.BatchNorm1d": "features",
    "torch.nn.LayerNorm": "features",
    "torch.optim.lr_scheduler.": "optimizer",
}
MADE = "made"


class Written(NamedTuple):
    """A call: the dotted function, its arguments without a name and those with one."""

    function: str
    positional: tuple[Any, ...]
    named: dict[str, Any]

    @property
    def framework(self) -> str:
        """``torch``, ``tf`` or ``jax``."""
        return OF[self.function.partition(".")[0]]

    def __str__(self) -> str:
        return f"{self.function}({self._inside})" if self.positional or self.named else self.function

    @property
    def _inside(self) -> str:
        return ", ".join([*map(repr, self.positional), *(f"{name}={value!r}" for name, value in self.named.items())])

    @property
    def _makes(self) -> bool:
        """Whether calling it makes the function that is meant."""
        own = self.function.rpartition(".")[2]
        return own[0].isupper() or (
            self.function.startswith(_FACTORIES) and not self.function.startswith(_NO_FACTORIES)
        )

    @property
    def expression(self) -> str:
        """What makes the function that is meant."""
        first = [word for start, word in _FIRST.items() if self.function.startswith(start)]
        inside = ", ".join([*first, *([self._inside] if self._inside else [])])
        if self._makes:
            return f"{self.function}({inside})"
        return f"functools.partial({self.function}, {inside})" if inside else self.function

    def code(self, name: str) -> str:
        """As somebody would write it."""
        imports = [*(["import functools", ""] if "functools" in self.expression else []), *self._imports]
        return "\n".join([*imports, "", f"{name} = {self.expression}"])

    @property
    def _imports(self) -> list[str]:
        root = self.function.partition(".")[0]
        return ["import tensorflow as tf"] if root == "tf" else [f"import {root}"]

    @property
    def target(self) -> str:
        """As ``conformance identify`` takes it; nothing where that cannot name it, as with arguments without a name."""
        module, _, attribute = self.function.rpartition(".")
        module = module.replace("tf.", "tensorflow.") if module.startswith("tf.") else module
        needs = self.function.startswith("jax.nn.initializers.")
        return (
            ""
            if self.positional or needs
            else f"{module}:{attribute}({self._inside})"
            if self.named
            else f"{module}:{attribute}"
        )

    @property
    def module(self) -> str:
        """A module that has what is meant, for where there is no target."""
        return "\n".join(["import functools", *self._imports, f"{MADE} = {self.expression}", ""])


def read(text: str, settings: Mapping[str, Any] | None = None) -> Written:
    """The call of a text, its function found by the end of its name if need be. Raises ValueError for what is none."""
    positional, named = parsed(text)
    return Written(_function(_dotted(text).partition("(")[0].strip()), positional, named | dict(settings or {}))


def parsed(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call without a name, and those with one. Raises ValueError for what is no call of literals.

    >>> parsed("torch.nn:Dropout(0.3, inplace=True)")
    ((0.3,), {'inplace': True})
    """
    try:
        node = ast.parse(_dotted(text), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        positional = tuple(map(ast.literal_eval, call.args))
        return positional, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"name={shown(text)} is not allowed: must be a name, or a call with literal arguments"
        ) from error


def _dotted(text: str) -> str:
    """A call whose function is named with dots alone; a colon in its arguments stays."""
    function, opening, arguments = text.strip().partition("(")
    return function.replace(":", ".", 1) + opening + arguments


def _function(name: str) -> str:
    """The dotted name of a function, of which a module's first part and its own name are enough."""
    dotted = name.replace("tensorflow.", "tf.", 1) if name.startswith("tensorflow.") else name
    root, _, own = dotted.partition(".")
    if root not in OF or not own:
        raise ValueError(
            f"name={shown(name)} is not allowed: must be a built-in of torch, keras, tf, jax or optax{_near(name)}"
        )
    if own.count(".") == 0:
        ends = [known for known in functions() if known.startswith(f"{root}.") and known.rpartition(".")[2] == own]
        if len(set(ends)) != 1:
            raise ValueError(f"name={shown(name)} is not allowed: no built-in of that name is known{_near(name)}")
        return ends[0]
    return dotted


def _near(name: str) -> str:
    short = {f"{known.partition('.')[0]}.{known.rpartition('.')[2]}" for known in functions()}
    return nearest(name, sorted(short | set(functions())))


@cache
def functions() -> tuple[str, ...]:
    """The functions of every row of ``builtins.toml`` that is of a kind that can be asked, each once."""
    return tuple(dict.fromkeys(row.call.partition("(")[0] for row in catalogue_page.builtins() if row.kind in KINDS))


KINDS = {
    "activations": "activation", "initializers": "initializer", "losses": "loss", "normalizations": "normalization",
    "schedules": "schedule",
}  # fmt: skip


def with_numbers(row: Builtin, wanted: Mapping[str, Any], defaults: Mapping[str, Any]) -> Written | None:
    """A row's call with the keywords that are ``wanted``; None where it has other ones and no argument for them."""
    call = read(row.call)
    own, names = {**defaults, **row.keywords}, arguments_of(call.function)
    positional, named = list(call.positional), dict(call.named)
    for keyword, value in wanted.items():
        if _alike(value, own.get(keyword)) and keyword != "learning_rate":
            continue
        name = names.get(keyword)
        if name is None:
            if keyword == "learning_rate":
                continue
            return None
        if name == "[0]":
            positional[0] = value
        elif name.startswith("1 - "):
            named[name.removeprefix("1 - ")] = round(1 - value, 15)
        else:
            named[name] = value
    return Written(call.function, tuple(positional), named)


def arguments_of(function: str) -> Mapping[str, str]:
    """The argument of each keyword that a function has one for."""
    found: dict[str, str] = _file().get(function, {})
    return found


@cache
def _file() -> dict[str, dict[str, str]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def _alike(one: Any, other: Any) -> bool:
    return (tuple(one) if isinstance(one, list) else one) == (tuple(other) if isinstance(other, list) else other)


def rows(kind: str, component: str, framework: str) -> Iterator[Builtin]:
    """The rows of ``builtins.toml`` that equal a component in a framework."""
    own = "tensorflow" if framework == "tf" else framework
    for row in catalogue_page.builtins():
        there = (row.kind, row.component, row.framework) == (kind, component, own)
        if there and not row.differs and not row.function:
            yield row
