"""Which initializer: by the statistics of what it draws for a wide and for a tall shape.

The deviation says of which number of units the scale is made, and which of the two dimensions is the inputs'; the
fourth moment and the largest value say what distribution it is. What chance leaves them is known: a formulation is the
target's where every statistic lies within ``CHANCE`` standard errors.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from conformance.identification.answer import Answer, Named, builtins_of
from conformance.identification.exercises import Array
from conformance.identification.process import Declined, Questioned
from reference_numpy.initializers import TRUNCATED_DEVIATION

WIDE = (80, 320)
DRAWS = 4  # of each shape
CHANCE = 5.0  # standard errors, of a few statistics
TRUNCATED_FOURTH = 2.3655  # the fourth moment by the square of the second, of a normal number drawn again beyond two


class Shape(NamedTuple):
    """What was drawn: how widely it is spread, its fourth moment and its largest value, by the deviation."""

    deviation: float
    fourth: float
    largest: float
    mean: float
    size: int


class Rule(NamedTuple):
    """A scale: the variance for ``n_in`` and ``n_out``, and the names of the formulations that have it."""

    variance: str
    normal: Named | None
    truncated: Named | None
    uniform: Named | None


RULES = (
    Rule("1/n_in", Named("lecun_normal", {}), Named("lecun_normal", {"truncated": True}), Named("lecun_uniform", {})),
    Rule("2/n_in", Named("he_normal", {}), Named("he_normal", {"truncated": True}), Named("he_uniform", {})),
    Rule("2/(n_in + n_out)", Named("xavier_normal", {"fan": "fan_average"}), None, Named("xavier_uniform", {})),
)
SAME = {
    "lecun_normal": Named("xavier_normal", {"fan": "fan_in"}),
    "lecun_uniform": Named("xavier_uniform", {"fan": "fan_in"}),
}


def identify(asked: Questioned) -> Answer:
    """The answer for an initializer. Raises Incomplete where its process ends."""
    try:
        wide, tall = (asked.ask("initialize", {"shape": np.array(shape), "seeds": np.arange(DRAWS)})["value"]
                      for shape in (WIDE, WIDE[::-1]))  # fmt: skip
    except Declined as error:
        return Answer(asked.target, asked.kind, None, reason=f"it draws nothing: {error}")
    if wide.shape != (DRAWS, *WIDE) or tall.shape != (DRAWS, *WIDE[::-1]):
        return Answer(asked.target, asked.kind, None, reason=f"of the shape {WIDE} it makes {wide.shape[1:]}")
    if not wide.any() and not tall.any():
        return _found(asked, Named("zeros", {}), ())
    gain = _orthogonal(wide[0])
    if gain is not None:
        return _found(asked, Named("orthogonal", {"gain": gain}), ())
    if len(wide) > 1 and (wide[0] == wide[1]).all():
        wide, tall = wide[:1], tall[:1]
    return _by_statistics(asked, _shape(wide), _shape(tall))


def _by_statistics(asked: Questioned, wide: Shape, tall: Shape) -> Answer:
    distribution = next((name for name, fits in _distributions(wide) if fits), None)
    described = (
        f"deviation {wide.deviation:.4g} for {WIDE}, {tall.deviation:.4g} for {WIDE[::-1]}",
        f"distribution: {distribution or 'none known'}",
    )
    if distribution is None or abs(wide.mean) > CHANCE * wide.deviation / math.sqrt(wide.size):
        return Answer(asked.target, asked.kind, None, notes=described)
    reach = CHANCE * math.sqrt((wide.fourth - 1) / 4 / wide.size)
    for inputs_first in (False, True):
        order = "(n_in, n_out)" if inputs_first else "(n_out, n_in)"
        for rule in RULES:
            expected = [_expected(rule, shape, inputs_first) for shape in (WIDE, WIDE[::-1])]
            if all(abs(seen.deviation / e - 1) < reach for seen, e in zip((wide, tall), expected, strict=True)):
                one: Named | None = getattr(rule, distribution)
                notes = described if rule.variance == "2/(n_in + n_out)" else (*described, f"its shape is {order}")
                if one is None:
                    return Answer(asked.target, asked.kind, None, nearest=rule.normal, distance=None, notes=notes)
                return _found(asked, one, notes)
    if distribution == "normal" and abs(wide.deviation / tall.deviation - 1) < 2 * reach:
        digits = max(1, int(-math.log10(reach)))
        return _found(asked, Named("scaled_normal", {"scale": float(f"{wide.deviation:.{digits - 1}e}")}), described)
    return Answer(asked.target, asked.kind, None, notes=(*described, *_variance(wide, tall)))


def _found(asked: Questioned, one: Named, notes: tuple[str, ...]) -> Answer:
    same = tuple(other for name, other in SAME.items() if name == one.name and not one.keywords)
    builtins = dict.fromkeys(call for each in (one, *same) for call in builtins_of(asked.kind, each))
    return Answer(asked.target, asked.kind, one, same=same, builtins=tuple(builtins), notes=notes)


def _variance(wide: Shape, tall: Shape) -> Iterator[str]:
    """What the variance is by the number of columns or rows, where it goes with one of them."""
    for name, places in (("the second dimension", (1, 0)), ("the first dimension", (0, 1))):
        products = [seen.deviation**2 * WIDE[place] for seen, place in zip((wide, tall), places, strict=True)]
        if abs(products[0] / products[1] - 1) < 0.05:
            yield f"variance: {np.mean(products):.3g} by {name}"


def _expected(rule: Rule, shape: tuple[int, int], inputs_first: bool) -> float:
    n_in, n_out = shape if inputs_first else shape[::-1]
    return math.sqrt({"1/n_in": 1 / n_in, "2/n_in": 2 / n_in, "2/(n_in + n_out)": 2 / (n_in + n_out)}[rule.variance])


def _shape(drawn: Array) -> Shape:
    values = drawn.astype(np.float64).ravel()
    deviation = float(values.std())
    fourth = float(((values - values.mean()) ** 4).mean() / deviation**4)
    return Shape(deviation, fourth, float(np.abs(values).max() / deviation), float(values.mean()), values.size)


def _distributions(seen: Shape) -> Iterator[tuple[str, bool]]:
    """Each distribution, and whether the fourth moment and the largest value are its."""
    reach = CHANCE * 10 / math.sqrt(seen.size)  # the fourth moment of a normal number varies by sqrt(96)
    yield "uniform", abs(seen.fourth - 1.8) < reach and seen.largest < math.sqrt(3) * 1.01
    yield "truncated", abs(seen.fourth - TRUNCATED_FOURTH) < reach and seen.largest < 2 / TRUNCATED_DEVIATION * 1.01
    yield "normal", abs(seen.fourth - 3.0) < reach and seen.largest > 2 / TRUNCATED_DEVIATION * 1.1


def _orthogonal(w: Array) -> float | None:
    """The gain of a matrix with orthogonal rows of one length; None if it is none."""
    product = w.astype(np.float64) @ w.astype(np.float64).T
    square = float(np.diag(product).mean())
    if np.abs(product - square * np.eye(len(w))).max() > len(w) * np.finfo(w.dtype).eps * 10 * square:
        return None
    return float(f"{math.sqrt(square):.5g}")
