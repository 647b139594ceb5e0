"""Random search of hyperparameters, each on its own scale, and coarse to fine.

A space is a dict from a hyperparameter's name to where it is drawn from. Draws are uniform on [0, 1) and mapped to the
scale; draw ``i`` of a hyperparameter depends on the seed, ``i`` and its name alone, so one more hyperparameter, or
more trials, change no draw there was. Source: the course, course 2 week 3.

>>> space = {"learning_rate": LogUniform(1e-4, 1.0), "beta": OneMinusLogUniform(0.9, 0.999)}
>>> found = random_search(lambda settings: abs(settings["learning_rate"] - 0.01), space, trials=50)
>>> len(found.trials), found.best.cost < 0.002
(50, True)
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ._common import check_positive_integer


class Trial(NamedTuple):
    """Settings by name, and the cost they gave."""

    settings: dict[str, Any]
    cost: float


class Search(NamedTuple):
    """All trials in the order they were made, and the best of them: the first with the lowest cost."""

    trials: tuple[Trial, ...]
    best: Trial


@dataclass(frozen=True)
class Uniform:
    """A number, uniform on ``[low, high]``. Raises ValueError unless ``low < high``, both finite.

    >>> Uniform(1.0, 3.0).value(0.5)
    2.0
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self, self.low > -math.inf, "finite numbers with low < high")

    def value(self, fraction: float) -> float:
        """``(1 - u) low + u high``, for ``u`` in [0, 1]."""
        return _between(self, (1 - fraction) * self.low + fraction * self.high)


@dataclass(frozen=True)
class LogUniform:
    """A number whose logarithm is uniform: every decade is as likely. Raises ValueError unless ``0 < low < high``.

    The course's way to draw a learning rate.

    >>> LogUniform(1e-4, 1.0).value(0.5)
    0.01
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self, self.low > 0, "finite numbers with 0 < low < high")

    def value(self, fraction: float) -> float:
        """``low^(1 - u) high^u``, for ``u`` in [0, 1]."""
        return _between(self, self.low ** (1 - fraction) * self.high**fraction)


@dataclass(frozen=True)
class OneMinusLogUniform:
    """A number whose distance from 1 is log-uniform. Raises ValueError unless ``0 <= low < high < 1``.

    The course's way to draw momentum's ``beta``, where 0.999 and 0.9995 are far apart and 0.9 and 0.9005 are not.

    >>> round(OneMinusLogUniform(0.9, 0.999).value(0.5), 12)
    0.99
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self, self.low >= 0 and self.high < 1, "numbers with 0 <= low < high < 1")

    def value(self, fraction: float) -> float:
        """``1 - (1 - low)^(1 - u) (1 - high)^u``, for ``u`` in [0, 1]."""
        return _between(self, 1 - (1 - self.low) ** (1 - fraction) * (1 - self.high) ** fraction)


@dataclass(frozen=True)
class UniformInteger:
    """An integer, ``low .. high`` with both ends, all as likely. Raises ValueError unless integers ``low <= high``.

    >>> UniformInteger(1, 3).value(0.5)
    2
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not (_is_integer(self.low) and _is_integer(self.high) and self.low <= self.high):
            raise ValueError(f"{self!r} is not allowed: must be integers with low <= high")

    def value(self, fraction: float) -> int:
        """``floor(low + u (high - low + 1))``, and ``high`` at ``u = 1``."""
        return min(self.low + int(fraction * (self.high - self.low + 1)), self.high)


@dataclass(frozen=True)
class Choice:
    """One of ``options``, all as likely, without an order. Raises ValueError unless a tuple or list, not empty.

    >>> Choice(("relu", "tanh")).value(0.5)
    'tanh'
    """

    options: Sequence[Any]

    def __post_init__(self) -> None:
        if not (isinstance(self.options, (tuple, list)) and self.options):
            raise ValueError(f"options={self.options!r} is not allowed: must be a tuple or list, not empty")

    def value(self, fraction: float) -> Any:
        """The option that fraction ``u`` of the way along the list."""
        return self.options[min(int(fraction * len(self.options)), len(self.options) - 1)]


Range = Uniform | LogUniform | OneMinusLogUniform
Scale = Range | UniformInteger | Choice
SCALES = (Uniform, LogUniform, OneMinusLogUniform, UniformInteger, Choice)


def random_search(
    evaluate: Callable[[dict[str, Any]], float], space: Mapping[str, Scale], *, trials: int = 20, seed: int = 0
) -> Search:
    """Draw ``trials`` settings and evaluate each: :class:`Search`.

    ``evaluate(settings) -> cost``, lower is better and NaN is worse than anything; ``settings`` has a value for each
    name in ``space``. Raises ValueError for a space that is empty or holds something else than a scale, or for
    ``trials`` or ``seed`` out of range.

    >>> few = random_search(lambda settings: settings["beta"], {"beta": Uniform(0.0, 1.0)}, trials=3)
    >>> few.trials == random_search(lambda settings: settings["beta"], {"beta": Uniform(0.0, 1.0)}, trials=5).trials[:3]
    True
    """
    return coarse_to_fine(evaluate, space, rounds=1, trials=trials, seed=seed)


def coarse_to_fine(
    evaluate: Callable[[dict[str, Any]], float],
    space: Mapping[str, Scale],
    *,
    rounds: int = 2,
    trials: int = 20,
    shrink: float = 0.25,
    seed: int = 0,
) -> Search:
    """Random search in ``rounds`` of ``trials`` each, every round in a smaller range around the best trial so far.

    Round ``r`` (from 0) draws from ranges ``shrink^r`` as wide as the whole, measured on each hyperparameter's scale,
    with the best trial in the middle; where that would leave the whole range it is moved inside. A :class:`Choice`
    has no neighbours: after the first round it is the best trial's. As long as no cost was below infinity, a round
    draws from the whole ranges. Arguments, result and errors otherwise as in :func:`random_search`; also raises
    ValueError for ``rounds`` below 1 or ``shrink`` outside (0, 1).

    >>> space = {"learning_rate": LogUniform(1e-6, 1.0)}
    >>> found = coarse_to_fine(lambda settings: abs(settings["learning_rate"] / 0.003 - 1), space, rounds=3)
    >>> len(found.trials), found.best.cost < 0.1
    (60, True)
    """
    _check_space(space)
    check_positive_integer("trials", trials)
    check_positive_integer("rounds", rounds)
    if not _is_integer(seed):
        raise ValueError(f"seed={seed!r} is not allowed: must be an integer")
    if not 0 < shrink < 1:
        raise ValueError(f"shrink={shrink!r} is not allowed: must be in (0, 1)")
    made: list[Trial] = []
    best = Trial({}, math.nan)
    best_fractions: dict[str, float] = {}
    for round_number in range(rounds):
        centre = best_fractions if best.cost < math.inf else None
        for _ in range(trials):
            fractions = {name: _draw(seed, len(made), name) for name in space}
            if centre is not None:
                width = shrink**round_number
                fractions = {name: _near(space[name], centre[name], width, u) for name, u in fractions.items()}
            settings = {name: scale.value(fractions[name]) for name, scale in space.items()}
            # A copy: an evaluate that takes its settings apart must not change the record.
            trial = Trial(settings, float(evaluate(dict(settings))))
            made.append(trial)
            if len(made) == 1 or _rank(trial) < _rank(best):
                best, best_fractions = trial, fractions
    return Search(tuple(made), best)


def _draw(seed: int, trial: int, name: str) -> float:
    """A number on [0, 1), a multiple of 2^-53, which is a hash of its arguments: no draw depends on another."""
    digest = hashlib.sha256(f"{int(seed)} {trial} {name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53


def _near(scale: Scale, centre: float, width: float, fraction: float) -> float:
    """Fraction ``u`` of the way through the window of ``width`` around ``centre``, moved inside [0, 1]."""
    if isinstance(scale, Choice):
        return centre
    start = min(max(centre - width / 2, 0.0), 1 - width)
    return start + width * fraction


def _rank(trial: Trial) -> tuple[bool, float]:
    return math.isnan(trial.cost), trial.cost


def _between(scale: Range, value: float) -> float:
    """``value``, which rounding may have carried past an end of the range."""
    return min(max(float(value), scale.low), scale.high)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _check_range(scale: Range, holds: bool, allowed: str) -> None:
    if not (holds and scale.low < scale.high < math.inf):
        raise ValueError(f"{scale!r} is not allowed: must be {allowed}")


def _check_space(space: Any) -> None:
    if not space:
        raise ValueError(f"space={space!r} is not allowed: must name at least one hyperparameter")
    for name, scale in space.items():
        if not isinstance(scale, SCALES):
            allowed = ", ".join(kind.__name__ for kind in SCALES)
            raise ValueError(f"space[{name!r}]={scale!r} is not allowed: must be one of {allowed}")
