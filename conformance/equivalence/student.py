"""Student's t distribution for whole numbers of degrees of freedom, and the equivalence test that needs it."""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

LEVEL = 0.05  # of each of the two one-sided tests
EQUIVALENT, DIFFERENT, UNDECIDED = "equivalent", "different", "undecided"
MOST_SEEDS = 1000
HALVINGS = 200  # of the interval that holds a quantile


class Tested(NamedTuple):
    """Paired differences ``d`` held against a margin.

    ``lower`` to ``upper``: the interval that holds their mean, of ``1 - 2 LEVEL``. ``probability``: the larger of the
    two tests.
    """

    pairs: int
    mean: float
    deviation: float
    lower: float
    upper: float
    margin: float
    probability: float
    verdict: str

    @property
    def further(self) -> int | None:
        """How many more pairs would decide if they differ as these do; None: more than there may be.

        So many that the interval, with this mean and this deviation, would lie on one side of the margin.
        """
        room = abs(self.margin - abs(self.mean))

        def decides(pairs: int) -> bool:
            return quantile(1 - LEVEL, pairs - 1) * self.deviation / math.sqrt(pairs) < room

        if self.verdict != UNDECIDED or not decides(MOST_SEEDS):
            return None if self.verdict == UNDECIDED else 0
        low, high = self.pairs, MOST_SEEDS  # the interval becomes narrower with every pair
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if decides(middle) else (middle, high)
        return high - self.pairs

    @property
    def is_seen(self) -> bool:
        """Whether the interval leaves out 0: a difference is there, be it small."""
        return not self.lower <= 0 <= self.upper


def cumulative(t: float, freedom: int) -> float:
    r"""The probability that a Student's t of ``freedom`` degrees is at most ``t``.

    With ``theta = atan(t / sqrt(freedom))`` it is ``1/2 + A/2``, where ``A`` is a finite sum of cosines' powers:
    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.

    >>> round(cumulative(1.833113, 9), 6), cumulative(0.0, 4)
    (0.95, 0.5)
    """
    theta = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = freedom % 2
    total, term = 0.0, cosine if odd else 1.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 0.5 + (2 / math.pi * (theta + sine * total) if odd else sine * total) / 2


@cache
def quantile(probability: float, freedom: int) -> float:
    """The ``t`` of a probability of at least one half, by halving.

    >>> round(quantile(0.95, 9), 4), round(quantile(0.95, 1), 4)
    (1.8331, 6.3138)
    """
    low, high = 0.0, 1.0
    while cumulative(high, freedom) < probability:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if cumulative(middle, freedom) < probability else (low, middle)
    return high


def equivalence(differences: Sequence[float], margin: float) -> Tested:
    """Two one-sided tests (Schuirmann 1987) of whether the mean of paired differences is within ``-margin, margin``.

    With the mean ``d``, the standard deviation ``s`` (of ``n - 1``) and ``e = s / sqrt(n)``::

        t_lower = (d + margin) / e      t_upper = (margin - d) / e

    Equivalent if both are above the quantile ``1 - LEVEL`` of ``n - 1`` degrees of freedom, which is to say that the
    interval ``d +- quantile * e`` lies within the margins; different if it lies beyond one of them; else undecided.
    Where no two differ at all they are equivalent within any margin.
    Raises ValueError for fewer than two differences.

    D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power approach for assessing the
    equivalence of average bioavailability, J. Pharmacokinet. Biopharm. 15 (1987) 657-680.

    >>> equivalence([0.1, -0.1, 0.2, 0.0], margin=0.5).verdict, equivalence([0.9, 1.1, 1.0], margin=0.5).verdict
    ('equivalent', 'different')
    """
    count = len(differences)
    if count < 2:
        raise ValueError(f"differences={list(differences)!r} is not allowed: must be two or more")
    mean, deviation = float(np.mean(differences)), float(np.std(differences, ddof=1))
    half = quantile(1 - LEVEL, count - 1) * deviation / math.sqrt(count)
    lower, upper = mean - half, mean + half
    probability = _probability(count, mean, deviation, margin)
    return Tested(count, mean, deviation, lower, upper, margin, probability, _verdict(lower, upper, margin))


def _verdict(lower: float, upper: float, margin: float) -> str:
    if (-margin < lower and upper < margin) or lower == upper == 0:
        return EQUIVALENT
    return DIFFERENT if lower > margin or upper < -margin else UNDECIDED


def _probability(count: int, mean: float, deviation: float, margin: float) -> float:
    """Of the test that is nearer to keeping its hypothesis: that the mean is beyond the margin on its side."""
    room = margin - abs(mean)
    if deviation == 0:
        return 0.0 if room > 0 or mean == 0 else 1.0
    return 1 - cumulative(room * math.sqrt(count) / deviation, count - 1)
