"""``conformance.identify``: which formulation is it?"""

from collections.abc import Callable

from conformance.data.wording import listed, nearest, shown
from conformance.identification import (
    activations,
    initializers,
    layers,
    losses,
    normalizations,
    optimizers,
    regularizers,
    schedules,
)
from conformance.identification.answer import Answer
from conformance.identification.process import Questioned
from conformance.identification.target import KINDS, parse
from conformance.runs.answers import Limits

_KINDS: dict[str, Callable[[Questioned], Answer]] = {
    "activation": activations.identify,
    "initializer": initializers.identify,
    "layer": layers.identify,
    "loss": losses.identify,
    "normalization": normalizations.identify,
    "optimizer": optimizers.identify,
    "regularizer": regularizers.identify,
    "schedule": schedules.identify,
}


def identify(target: str, *, kind: str | None = None, seconds: float = 300.0, memory: int = 0) -> Answer:
    """Which formulation of the catalogue an optimizer, a loss, an activation and so on is.

    Args:
        target: ``package.module:attribute``, looked for in the current folder too, with arguments by name if there are
            any: ``"torch.optim:SGD(momentum=0.9)"``. A class, an object, or a function; it is imported and asked in a
            process of its own.
        kind: ``optimizer``, ``loss``, ``activation``, ``normalization``, ``schedule``, ``initializer``, ``layer`` or
            ``regularizer``, where that cannot be told.
        seconds: how long one answer of the target may take.
        memory: bytes that its process may take; 0: any.

    Raises ValueError for a target or kind that is not allowed, BadInput (of ``conformance.runs.outcome``) where the
    target cannot be had, Incomplete where its process ends or takes too long or too much.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind={shown(kind)} is not allowed: must be one of {listed(KINDS)}{nearest(kind, KINDS)}")
    parse(target)
    with Questioned(target, kind, Limits(seconds, memory)) as asked:
        return answered(asked)


def answered(asked: Questioned) -> Answer:
    """The answer of a target that can be asked. Raises Incomplete where its process ends."""
    return _KINDS[asked.kind](asked)
