"""How targets are asked, framework by framework: conversions and calls, and nothing else.

Each module has the functions of :class:`Framework`. It is imported in the worker process, after the target, and only if
the target brought its framework along.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from conformance.identification.exercises import Array, Exercise, Tensors

RATES = ("learning_rate", "lr", "step_size")  # the argument of a factory that is the rate
RATE = 0.01  # of a factory that has none by itself


class Refused(Exception):
    """A target does not take what it is given; the message says what it said."""


class Optimizing(NamedTuple):
    """An optimizer to be asked: ``run`` gives each parameter after each step, the axis of the steps first.

    ``numbers``: what it says of itself. ``scheduled``: whether its rate can be changed between steps. ``given``: what
    it was given because it has no default for it.
    """

    run: Callable[[Exercise], Tensors]
    numbers: Mapping[str, Any]
    scheduled: bool
    given: Mapping[str, Any] = {}


class Inner(NamedTuple):
    """A layer that another is given, made anew with it."""

    thing: Any
    keywords: Mapping[str, Any]


def parameters_of(thing: Any) -> dict[str, inspect.Parameter]:
    """The arguments of a function, or of a class's constructor without ``self``; metaclasses do not say them."""
    if not isinstance(thing, type):
        return dict(inspect.signature(thing).parameters)
    constructor = next(vars(base)["__init__"] for base in thing.__mro__ if "__init__" in vars(base))
    return dict(list(inspect.signature(constructor).parameters.items())[1:])


def with_inner(keywords: Mapping[str, Any], make: Callable[[Any, Mapping[str, Any]], Any]) -> dict[str, Any]:
    """The keywords of a layer, those that are layers themselves made by ``make``."""
    return {
        name: make(value.thing, with_inner(value.keywords, make)) if isinstance(value, Inner) else value
        for name, value in keywords.items()
    }


class Ran(NamedTuple):
    """What a layer made: all of its outputs, gradients of the first of them, and what it keeps that is not trained."""

    outputs: list[Array]
    dx: Array | None
    gradients: Tensors
    after: Tensors


class Layered(Protocol):
    """A layer to be asked, with the arrays that it holds."""

    @property
    def trained(self) -> list[str]:
        """The names of the arrays that are trained."""

    def arrays(self) -> Tensors:
        """All arrays of real numbers, as they start."""

    def run(self, arrays: Tensors, x: Array, upstream: Array | None, training: bool) -> Ran:
        """What it makes of ``x`` with these arrays, and the gradients of ``sum(upstream y)``."""


class Framework(Protocol):
    """What the modules beside this file offer."""

    def recognised(self, thing: Any) -> str | None:
        """The kind of a class or an object that is of the framework's own make; None for any other."""

    def optimizing(self, thing: Any, keywords: Mapping[str, Any]) -> Optimizing | None:
        """An optimizer: a class, an object, or a function that makes one; None if it is none of this framework's."""

    def evaluated(self, function: Any, arrays: Sequence[Array], upstream: Array | None) -> tuple[Array, Array | None]:
        """The value of a function of arrays, and the gradient of ``sum(upstream value)`` in the first of them."""
