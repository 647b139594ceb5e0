"""What a check sees of an implementation."""

from typing import NamedTuple

from conformance.problems.problem import Array


class Key(NamedTuple):
    """What is observed.

    ``kind``: ``tensor``, ``curve`` (one value a step from ``step`` on), ``decision``, or ``statistic`` (of a random
    draw, which is another in every implementation).
    """

    stage: str
    step: int
    tensor: str
    kind: str = "tensor"


class Observation(NamedTuple):
    """A value seen in an implementation; a decision carries its margins (non-negative, one for each decided value)."""

    key: Key
    value: Array
    margins: Array | None = None
