"""Which initializer: what a target draws for a wide and for a tall shape, beside what the reference's draw.

A formulation is the target's where, for both shapes, the mean, the mean square and the mean fourth power of what was
drawn lie in the ranges that chance leaves them around the formulation's (``conformance/checks/chance.py``). The second
is the scale, and which of the two dimensions is the inputs'; the fourth tells the distributions apart.
"""

import math
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from conformance.checks import chance
from conformance.data.randomness import keyed_generator
from conformance.identification.answer import Answer, Named, builtins_of
from conformance.identification.exercises import Array
from conformance.identification.process import Declined, Questioned
from conformance.recipes.factors import values_in
from reference_numpy.initializers import INITIALIZERS

WIDE = (80, 320)
TALL = WIDE[::-1]
DRAWS = 4  # of each shape
SAMPLES = 8  # of the reference's, beside which these are seen
POWERS = (1, 2, 4)  # whose means are compared
OTHERWISE = ("zeros", "orthogonal", "scaled_normal")  # that are not told by comparing with a sample


class Drawn(NamedTuple):
    """What the target drew for the two shapes."""

    wide: Array
    tall: Array


class Expected(NamedTuple):
    """The root mean square of a distribution, and what chance allows the means of its numbers' powers, in that unit."""

    size: float
    means: tuple[chance.Range, ...]


class Candidate(NamedTuple):
    """A formulation, ``inputs_first`` if the target's shapes are (n_in, n_out), and how far chance is exceeded.

    ``excess``: the largest distance of a mean from the formulation's, by the distance that chance allows.
    """

    named: Named
    inputs_first: bool
    excess: float


def identify(asked: Questioned) -> Answer:
    """The answer for an initializer. Raises Incomplete where its process ends."""
    try:
        wide, tall = (asked.ask("initialize", {"shape": np.array(shape), "seeds": np.arange(DRAWS)})["value"]
                      for shape in (WIDE, TALL))  # fmt: skip
    except Declined as error:
        return Answer(asked.target, asked.kind, None, reason=f"it draws nothing: {error}")
    if wide.shape != (DRAWS, *WIDE) or tall.shape != (DRAWS, *TALL):
        return Answer(asked.target, asked.kind, None, reason=f"of the shape {WIDE} it makes {wide.shape[1:]}")
    if not wide.any() and not tall.any():
        return _found(asked, [Named("zeros", {})], ())
    gain = _orthogonal(wide[0])
    if gain is not None:
        return _found(asked, [Named("orthogonal", {"gain": gain})], ())
    if (wide[0] == wide[1]).all():  # whatever the seed
        wide, tall = wide[:1], tall[:1]
    return _by_means(asked, Drawn(*(drawn.astype(np.float64).ravel() for drawn in (wide, tall))))


def _by_means(asked: Questioned, drawn: Drawn) -> Answer:
    """The answer for what is neither zeros nor orthogonal."""
    sizes = [_size(values) for values in drawn]
    notes: tuple[str, ...] = (f"root mean square {sizes[0]:.4g} for {WIDE}, {sizes[1]:.4g} for {TALL}",)
    candidates = sorted(_candidates(drawn), key=lambda candidate: candidate.excess)
    fitting = [candidate for candidate in candidates if candidate.excess <= 1]
    if fitting:
        orders = {candidate.inputs_first for candidate in fitting}
        if len(orders) == 1:
            notes += (f"its shape is {'(n_in, n_out)' if fitting[0].inputs_first else '(n_out, n_in)'}",)
        return _found(asked, list({c.named.written(asked.kind): c.named for c in fitting}.values()), notes)
    wide, tall = (values / sizes[0] for values in drawn)
    normal = _of_reference("scaled_normal", WIDE, wide.size, scale=1.0)
    if _excess(wide, normal) <= 1 and _excess(tall, _expected(wide, tall.size)) <= 1:
        spread = chance.mean(wide**2, wide.size)
        digits = max(1, int(-math.log10((spread.high - spread.low) / 4)))
        return _found(asked, [Named("scaled_normal", {"scale": float(f"{sizes[0]:.{digits - 1}e}")})], notes)
    nearest = candidates[0].named
    return Answer(asked.target, asked.kind, None, nearest=nearest, distance=None, notes=(*notes, *_variance(drawn)))


def _candidates(drawn: Drawn) -> Iterator[Candidate]:
    """Every formulation of the catalogue that draws at a scale of its own, in both orders of the dimensions."""
    for values in values_in("initializer").values():
        given = values["initializer"]
        name, keywords = (given, {}) if isinstance(given, str) else (given["name"], dict(given))
        keywords.pop("name", None)
        if name in OTHERWISE:
            continue
        expected = [_of_reference(name, shape, drawn.wide.size, **keywords) for shape in (WIDE, TALL)]
        for inputs_first in (False, True):
            own = expected[::-1] if inputs_first else expected
            excess = max(_excess(seen, one) for seen, one in zip(drawn, own, strict=True))
            yield Candidate(Named(name, keywords), inputs_first, excess)


@cache
def _of_reference(name: str, shape: tuple[int, int], count: int, **keywords: str | bool | float) -> Expected:
    """What chance allows ``count`` numbers that the reference draws of a shape ``(n_out, n_in)``."""
    generator = keyed_generator(0, "sample of an initializer")
    drawn = [INITIALIZERS[name](generator, shape, **keywords) for _ in range(SAMPLES)]
    return _expected(np.concatenate(drawn).ravel(), count)


def _expected(sample: Array, count: int) -> Expected:
    """What chance allows ``count`` numbers of a sample's distribution."""
    size = _size(sample)
    return Expected(size, tuple(chance.mean((sample / size) ** power, count) for power in POWERS))


def _excess(seen: Array, expected: Expected) -> float:
    """How far the means of powers are from what is expected, at most, by the distance that chance allows."""
    means = [float(((seen / expected.size) ** power).mean()) for power in POWERS]
    return max(
        abs(2 * mean - low - high) / (high - low) for mean, (low, high) in zip(means, expected.means, strict=True)
    )


def _size(values: Array) -> float:
    """The root mean square."""
    return float(np.sqrt((values**2).mean()))


def _found(asked: Questioned, found: list[Named], notes: tuple[str, ...]) -> Answer:
    builtins = dict.fromkeys(call for each in found for call in builtins_of(asked.kind, each))
    first, *others = found
    return Answer(asked.target, asked.kind, first, same=tuple(others), builtins=tuple(builtins), notes=notes)


def _variance(drawn: Drawn) -> Iterator[str]:
    """What the variance is by the number of columns or rows, where it goes with one of them."""
    for name, places in (("the second dimension", (1, 0)), ("the first dimension", (0, 1))):
        wide, tall = (values**2 * WIDE[place] for values, place in zip(drawn, places, strict=True))
        low, high = chance.mean(wide, tall.size)
        if low <= float(tall.mean()) <= high:
            yield f"variance: {np.mean([wide, tall]):.3g} by {name}"


def _orthogonal(w: Array) -> float | None:
    """The gain of a matrix with orthogonal rows of one length; None if it is none.

    A sum of ``n`` products is off by ``n`` units in the last place at most.
    """
    product = w.astype(np.float64) @ w.astype(np.float64).T
    square = float(np.diag(product).mean())
    if np.abs(product - square * np.eye(len(w))).max() > w.shape[1] * np.finfo(w.dtype).eps * square:
        return None
    return float(f"{math.sqrt(square):.5g}")
