"""What a check sees of an implementation, and the order in which it comes into being."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from conformance.problems.problem import Problem
from conformance.problems.tensors import Array

# Within a step, tensors come into being in this order; a curve and a decision are of a whole training.
STAGES = (
    "initialization", "input", "activation", "loss", "gradient", "clipped gradient", "optimizer state", "parameter",
    "running statistic", "curve", "decision",
)  # fmt: skip

Mode = Literal["", "training", "inference"]


@dataclass(frozen=True)
class Key:
    """What is observed: the first four fields are its identity, the others say what it is of.

    Attributes:
        stage: one of ``STAGES``.
        step: counted from 1 in a training; of a curve, that of its first value.
        tensor: how it is called in records, ``"velocity of W1"``.
        kind: ``tensor``, ``curve`` (one value a step from ``step`` on), ``decision``, or ``statistic`` (of a random
            draw, which is another in every implementation).
        name: of the model's tensor that it is, or is of: ``"W1"``; "" for none.
        layer: of that tensor, counted from 1; 0 for none.
        slot: of the optimizer's state, ``"velocity"``.
        mode: in which the forward pass ran.
    """

    stage: str
    step: int
    tensor: str
    kind: str = "tensor"
    name: str = field(default="", compare=False)
    layer: int = field(default=0, compare=False)
    slot: str = field(default="", compare=False)
    mode: Mode = field(default="", compare=False)


class Observation(NamedTuple):
    """A value seen in an implementation; a decision carries its margins (non-negative, one for each decided value)."""

    key: Key
    value: Array
    margins: Array | None = None


def key_of(problem: Problem, stage: str, step: int, name: str, tensor: str, *, slot: str = "", mode: Mode = "") -> Key:
    """The key of what is, or is of, the model's tensor ``name``; ``tensor`` is how it is called in records."""
    place = problem.places.get(name)
    return Key(stage, step, tensor, "tensor", name, place.layer if place else 0, slot, mode)
