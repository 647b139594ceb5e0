"""Formulations against what was seen: how near is one, which numbers bring it nearer, how are they written.

Near enough is measured, as everywhere: a formulation is computed anew in ways that are equal in mathematics, from
inputs and numbers moved by half a unit in the last place, and what that moves is its floor. The same is done with units
of float32 in a float64 target, which shows the numbers that its framework rounds.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.identification.exercises import Array
from conformance.verdicts.compare import FLOOR_FACTOR, ROUNDOFFS
from reference_numpy.arithmetic import rounded_otherwise

MOVED = 6  # times that a formulation is computed anew for its floor
POWERS = "powers"  # among what is rounded: the betas inside 1 - beta^t
SINGLE = 2.0**-24  # half a unit in the last place of float32
DIGITS = 9  # a number that is written with more was not chosen
STALLED = 1e-3  # a step that mends less than this share of what is left is the last
LEAST = 1e-300

Numbers = dict[str, float]


@dataclass(frozen=True)
class Form:
    """A formulation: a component's name, its choices, and its numbers with where to begin to look for them."""

    name: str
    choices: Mapping[str, Any]
    numbers: Mapping[str, float]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def keywords(self, numbers: Mapping[str, float]) -> dict[str, Any]:
        """The component's keywords with these numbers."""
        return {**self.choices, **self.fixed, **numbers}


class Manner(NamedTuple):
    """How a formulation is computed: the precision, what is rounded to float32, and how much is moved."""

    dtype: str = "float64"
    rounded: frozenset[str] = frozenset()
    generator: np.random.Generator | None = None
    unit: float = 0.0  # by which numbers are moved
    input_unit: float = 0.0  # by which arrays are moved

    def numbers(self, numbers: Mapping[str, float]) -> Numbers:
        """The numbers as they are computed with."""
        found = {n: float(np.float32(x)) if n in self.rounded else float(x) for n, x in numbers.items()}
        if self.generator is None or not self.unit:
            return found
        return {n: x * (1 + self.unit * self.generator.choice([-1.0, 1.0])) for n, x in found.items()}

    def moved(self, value: Array) -> Array:
        """An array moved by half a unit of the last place at most, in every element otherwise."""
        if self.generator is None or not self.input_unit:
            return value
        relative = self.input_unit * self.generator.uniform(-1.0, 1.0, value.shape)
        moved: Array = value + value * relative.astype(value.dtype)
        return moved

    def one_minus_power(self, beta: float, t: int) -> float:
        """``1 - beta^t``, of the beta in float32 or of one next to the given one, and subtracted in some runs."""
        beta = float(np.float32(beta)) if POWERS in self.rounded else beta
        if self.generator is None:
            return -math.expm1(t * math.log(beta)) if beta > 0 else 1.0  # the reference's own is replaced by this
        beta = beta * (1 + self.unit * self.generator.choice([-1.0, 1.0]))
        return float(1.0 - beta**t + self.unit * self.generator.choice([-1.0, 0.0, 1.0]))


class Model(Protocol):
    """What a formulation makes of the inputs of an exercise, and of what size a deviation is to be seen."""

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """What the formulation makes. Raises ValueError for numbers that it may not have."""

    def scale(self, predicted: Array) -> Array:
        """Of what size a deviation is, element by element."""


class Fit(NamedTuple):
    """How near a formulation comes: the largest share of its allowance, in digits, and how far on average.

    ``digits`` are those of numbers of which honest rounding leaves half. ``apart`` is the mean deviation, each a share
    of what is compared and at most the whole of it; ``spread``: how many deviate by more than their allowance.
    """

    share: float
    digits: float
    apart: float
    spread: float

    @property
    def same(self) -> bool:
        return self.share <= 1.0


NOWHERE = Fit(math.inf, 0.0, 1.0, 1.0)


def powers(manner: Manner) -> Any:
    """While this lasts, ``1 - beta^t`` is taken in this manner."""
    own = manner.generator is not None or POWERS in manner.rounded
    return rounded_otherwise(one_minus_power=manner.one_minus_power if own else None)


@np.errstate(all="ignore")
def nearness(
    model: Model, form: Form, numbers: Mapping[str, float], observed: Array, manner: Manner, coarse: bool = False
) -> Fit:
    """How near a formulation comes to what was seen. ``coarse``: where scalars may be rounded to float32."""
    try:
        oracle = model.predict(form, numbers, manner._replace(dtype="float64"))
    except (ValueError, OverflowError, ZeroDivisionError):
        return NOWHERE
    scale = model.scale(oracle)
    error = np.abs(observed.astype(np.float64) - oracle)
    if not np.array_equal(np.isfinite(observed), np.isfinite(oracle)):
        return NOWHERE
    known = np.isfinite(oracle)
    error, scale = error[known], np.maximum(scale[known], LEAST)
    relative = error / scale
    apart = float(np.minimum(relative, 1.0).mean()) if relative.size else 0.0
    own = 2.0**-53 if manner.dtype == "float64" else SINGLE
    if manner.dtype == "float64" and relative.max(initial=0.0) > math.sqrt(SINGLE):  # no rounding moves that much
        return Fit(math.inf, _digits(relative), apart, 1.0)
    floor = rounding(model, form, numbers, manner, oracle, coarse)[known]
    shares = error / (FLOOR_FACTOR * floor + ROUNDOFFS * own * scale)
    sound = relative[floor <= math.sqrt(SINGLE if coarse else own) * scale]
    return Fit(
        float(shares.max(initial=0.0)), _digits(sound), apart, float((shares > 1).mean()) if shares.size else 0.0
    )


@np.errstate(all="ignore")
def rounding(
    model: Model, form: Form, numbers: Mapping[str, float], manner: Manner, oracle: Array, coarse: bool = False
) -> Array:
    """The floor of each element: how far rounding alone moves a formulation from what it makes, the ``oracle``."""
    own = 2.0**-53 if manner.dtype == "float64" else SINGLE
    floor = np.zeros_like(oracle)
    for run in range(MOVED):
        generator = keyed_generator(run, "floor of a formulation")
        moved = manner._replace(generator=generator, unit=SINGLE if coarse else own, input_unit=own)
        floor = np.fmax(floor, np.abs(model.predict(form, numbers, moved) - oracle))
    return floor


def _digits(relative: Array) -> float:
    return -math.log10(min(max(float(relative.max(initial=0.0)), 1e-16), 1.0))


@np.errstate(all="ignore")
def solve(
    model: Model, form: Form, start: Mapping[str, float], observed: Array, weights: Array, steps: int
) -> tuple[Numbers, float]:
    """Numbers that bring a formulation nearest, by so many of Levenberg's and Marquardt's steps, and what is left.

    What is left is the largest deviation, each element's being a share of ``1 / weights``.
    """
    names = [name for name, value in start.items() if value > 0]
    others = {name: value for name, value in start.items() if name not in names}
    known = np.isfinite(observed) & (weights > 0)

    def left(point: Array) -> Array | None:
        numbers = others | {name: _number(name, x) for name, x in zip(names, point, strict=True)}
        try:
            made = model.predict(form, numbers, Manner())
        except (ValueError, OverflowError, ZeroDivisionError):
            return None
        found: Array = ((made - observed) * weights)[known]
        return np.clip(found, -1e3, 1e3) if np.isfinite(found).all() else None

    point = np.array([_place(name, start[name]) for name in names])
    now = left(point)
    if now is None:
        return dict(start), math.inf
    damping = 1e-2
    for _ in range(steps if names else 0):
        columns = [_slope(left, point, place, now) for place in range(len(names))]
        jacobian = np.stack(columns, axis=1)
        square, slope = jacobian.T @ jacobian, jacobian.T @ now
        size = float(now @ now)
        better = None
        for _ in range(6):
            shift = np.linalg.lstsq(square + damping * np.diag(np.diag(square) + 1e-30), -slope, rcond=None)[0]
            trial = left(point + np.clip(shift, -3.0, 3.0))
            if trial is not None and float(trial @ trial) < size:
                better = trial
                break
            damping *= 8
        if better is None:
            break
        point, now, damping = point + np.clip(shift, -3.0, 3.0), better, damping / 10
        if float(now @ now) > (1 - STALLED) * size or float(now @ now) == 0:
            break
    numbers = others | {name: _number(name, x) for name, x in zip(names, point, strict=True)}
    return {name: numbers[name] for name in start}, float(np.abs(now).max(initial=0.0))


def _slope(left: Callable[[Array], Array | None], point: Array, place: int, now: Array) -> Array:
    moved = point.copy()
    moved[place] += 1e-6
    there = left(moved)
    return np.zeros_like(now) if there is None else (there - now) / 1e-6


def is_fraction(name: str) -> bool:
    """Whether a number goes by a name of those in [0, 1)."""
    return name.startswith("beta") or name in ("rho", "momentum", "dampening")


def _place(name: str, number: float) -> float:
    """Where a number lies on the line on which it is sought."""
    return math.log(number / (1 - number)) if is_fraction(name) else math.log(number)


def _number(name: str, place: float) -> float:
    return 1 / (1 + math.exp(-place)) if is_fraction(name) else math.exp(min(place, 300.0))


def written(numbers: Mapping[str, float]) -> Iterator[Numbers]:
    """The numbers as somebody may have written them: with ever more digits, all of them alike; 0 where next to it."""
    seen = []
    for digits in range(1, DIGITS + 1):
        short = {name: _short(name, value, digits) for name, value in numbers.items()}
        if short not in seen:
            seen.append(short)
            yield short


def _short(name: str, value: float, digits: int) -> float:
    """A few digits of a number; of one next to 1 the few that it is from there."""
    if is_fraction(name) and value > 0.5:
        return round(1 - float(f"{1 - value:.{digits - 1}e}"), 15)
    return float(f"{value:.{digits - 1}e}")


def subsets(names: Sequence[str]) -> Iterator[frozenset[str]]:
    """Every set of names, the smaller first."""
    for size in range(len(names) + 1):
        yield from map(frozenset, itertools.combinations(names, size))
