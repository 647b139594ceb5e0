"""How targets are asked, framework by framework: conversions and calls, and nothing else.

Each module has the functions of :class:`Framework`. It is imported in the worker process, after the target, and only if
the target brought its framework along.
"""

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


class Framework(Protocol):
    """What the modules beside this file offer."""

    def recognised(self, thing: Any) -> str | None:
        """The kind of a class or an object that is of the framework's own make; None for any other."""

    def optimizing(self, thing: Any, keywords: Mapping[str, Any]) -> Optimizing | None:
        """An optimizer: a class, an object, or a function that makes one; None if it is none of this framework's."""

    def evaluated(self, function: Any, arrays: Sequence[Array], upstream: Array | None) -> tuple[Array, Array | None]:
        """The value of a function of arrays, and the gradient of ``sum(upstream value)`` in the first of them."""
