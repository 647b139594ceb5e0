"""What a check sees of an implementation, and the order in which it comes into being."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Literal, NamedTuple

from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors

# Within a step, tensors come into being in this order. A curve is of a whole training, and each of its values has its
# own place in it (see ``rank``); a decision is made after it.
STAGES = (
    "initialization", "input", "activation", "loss", "gradient", "clipped gradient", "optimizer state", "parameter",
    "running statistic", "curve", "decision",
)  # fmt: skip

Mode = Literal["", "training", "inference"]

VALIDATION = "validation cost"  # the curve that has one value an epoch, not one a step

# What a value of a curve comes into being with: the rate of a step before all else in it, its cost and the norm of its
# gradient with these, and the cost on the examples that are held back when an epoch's last step is done.
_CURVES = {
    "learning rate": STAGES.index("loss") - 0.5,
    "cost": float(STAGES.index("loss")),
    "gradient norm": float(STAGES.index("gradient")),
    VALIDATION: STAGES.index("running statistic") + 0.5,
}


def rank(stage: str, tensor: str) -> float:
    """The place of something within its step: what has a smaller one has come into being before it.

    >>> rank("curve", "learning rate") < rank("curve", "cost") < rank("parameter", "W1")
    True
    """
    if stage == "curve" and tensor in _CURVES:
        return _CURVES[tensor]
    return float(STAGES.index(stage)) if stage in STAGES else -1.0


@dataclass(frozen=True)
class Key:
    """What is observed: the first four fields are its identity, the others say what it is of.

    Attributes:
        stage: one of ``STAGES``.
        step: counted from 1 in a training, the one after which it is there; of a curve, that of its first value.
        tensor: how it is called in records, ``"velocity of W1"``.
        kind: ``tensor``, ``curve`` (one value every ``stride`` steps from ``step`` on), ``decision``, ``statistic`` (of
            a random draw, which is another in every implementation), or ``sample`` (the same, where it is known what
            chance may make of it).
        name: of the model's tensor that it is, or is of: ``"W1"``; "" for none.
        layer: of that tensor, counted from 1; 0 for none.
        slot: of the optimizer's state, ``"velocity"``.
        mode: in which the forward pass ran.
        stride: the steps from one value of a curve to the next; those of an epoch if it has one value an epoch.
    """

    stage: str
    step: int
    tensor: str
    kind: str = "tensor"
    name: str = field(default="", compare=False)
    layer: int = field(default=0, compare=False)
    slot: str = field(default="", compare=False)
    mode: Mode = field(default="", compare=False)
    stride: int = field(default=1, compare=False)

    @property
    def unit(self) -> str:
        """What a curve has one value for: ``step`` or ``epoch``."""
        return "epoch" if self.tensor == VALIDATION else "step"

    def step_of(self, place: int) -> int:
        """The step of a curve's value number ``place``, counted from 0; of anything else, its own."""
        return self.step + place * self.stride if self.kind == "curve" else self.step


class Observation(NamedTuple):
    """A value seen in an implementation; a decision carries its margins (non-negative, one for each decided value).

    A sample's are the smallest and the largest value that chance allows.

    ``malformed``: what was found where the value should be, if that was no array of numbers: ``"is None"``.
    ``scale``: what errors are relative to, of the oracle's tensor that is 0 in mathematics; 0: to its own size.
    """

    key: Key
    value: Array
    margins: Array | None = None
    malformed: str = ""
    scale: float = 0.0


class Part(NamedTuple):
    """A part of a check, which may be lost without the others: its observations, made as they are asked for.

    ``stages``, ``step`` (None: every one) and ``tensor`` ("": every one) say what it would have seen.
    """

    observations: Iterable[Observation]
    stages: tuple[str, ...]
    step: int | None = None
    tensor: str = ""


class Check:
    """One question put to an implementation: called, it yields all that it sees of one that offers everything.

    ``parts(session, case)`` yields it in parts, each to be used up before the next is asked for.
    """

    def __init__(self, parts: Callable[[Session, Case], Iterator[Part]]) -> None:
        self.parts = parts
        update_wrapper(self, parts)

    def __call__(self, session: Session, case: Case) -> Iterator[Observation]:
        for part in self.parts(session, case):
            yield from part.observations


class Lost(NamedTuple):
    """A part of a check that was not seen, or not whole; ``how`` it was lost is the verdict on what is not seen for it.

    ``missing``: something was to be returned with it and was not, whether it was to be seen or not.

    The last three fields are those of the :class:`Part`.
    """

    how: Literal["fail", "crashed", "unsupported", "missing"]
    reason: str
    stages: tuple[str, ...]
    step: int | None
    tensor: str

    def covers(self, key: Key) -> bool:
        """Whether this is why something was not seen."""
        return key.stage in self.stages and self.step in (None, key.step) and self.tensor in ("", key.tensor)


class Seen(NamedTuple):
    """All that a check saw of an implementation: plain arrays and text, which can be written to disk."""

    observations: list[Observation]
    lost: list[Lost]

    @property
    def unsupported(self) -> list[str]:
        """Why parts of the check could not be asked."""
        return list(dict.fromkeys(lost.reason for lost in self.lost if lost.how == "unsupported"))

    @property
    def crashed(self) -> str:
        """The first exception, or nothing."""
        return next((lost.reason for lost in self.lost if lost.how == "crashed"), "")


def key_of(problem: Problem, stage: str, step: int, name: str, tensor: str, *, slot: str = "", mode: Mode = "") -> Key:
    """The key of what is, or is of, the model's tensor ``name``; ``tensor`` is how it is called in records."""
    place = problem.places.get(name)
    return Key(stage, step, tensor, "tensor", name, place.layer if place else 0, slot, mode)


def returned(found: Tensors, asked: Iterable[str], beside: Iterable[str] = ()) -> Iterator[tuple[str, Array]]:
    """What was returned of what was asked for, in that order, then whatever else but what may stand ``beside`` it."""
    names = list(asked)
    known = {*names, *beside}
    for name in (*names, *(name for name in found if name not in known)):
        if name in found:
            yield name, found[name]
