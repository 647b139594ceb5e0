"""How far chance moves what is counted or measured of random draws: ranges that it leaves once in 10^12 trials.

A range is the smallest and the largest value that chance allows. Half of ``RISK`` lies beyond either end, so that among
a million statistics of right implementations a false alarm has a probability of one in a million. Nothing in it is
chosen but this risk.

* Shares of yes-or-no draws: exact quantiles of the binomial distribution.
* Distribution functions: the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant, which holds for
  every sample size.
* Means of thousands of independent numbers, and correlations of them: the normal distribution. A mean square of normal
  numbers leaves its range a few times as often as that, since its upper tail is a little heavier.
* Difference of two means of few numbers: Student's distribution.
"""

import math
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from conformance.problems.tensors import Array

RISK = 1e-12
DEVIATIONS = -NormalDist().inv_cdf(RISK / 2)  # of a normal distribution, either way
SURE = 0.99  # with which a test's power is told


class Range(NamedTuple):
    """The smallest and the largest value that chance allows."""

    low: float
    high: float


ALL = Range(1.0, 1.0)  # a share that chance has no part in


@cache
def share(count: int, probability: float) -> Range:
    """Of yeses among ``count`` independent draws, each yes with ``probability``; 0 to 1 of none."""
    if count == 0:
        return Range(0.0, 1.0)
    k = np.arange(count + 1)
    if not 0.0 < probability < 1.0:
        return Range(float(probability), float(probability))
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    logs = factorials[count] - factorials[k] - factorials[count - k]
    terms = np.exp(logs + k * math.log(probability) + (count - k) * math.log1p(-probability))
    low = int(np.searchsorted(np.cumsum(terms), RISK / 2, side="right"))
    high = count - int(np.searchsorted(np.cumsum(terms[::-1]), RISK / 2, side="right"))
    return Range(low / count, high / count)


def distance(one: int, other: int) -> Range:
    """Between the distribution functions of two samples of these sizes from the same distribution."""
    return Range(0.0, sum(math.sqrt(math.log(4 / RISK) / (2 * size)) for size in (one, other)))


def mean(values: Array, count: int) -> Range:
    """Of ``count`` numbers from the distribution that ``values``, which are many more, are a sample of."""
    error = DEVIATIONS * float(values.std()) * math.sqrt(1 / count + 1 / values.size)
    return Range(float(values.mean()) - error, float(values.mean()) + error)


def correlation(count: int) -> Range:
    """Of ``count`` pairs of independent numbers."""
    limit = min(1.0, DEVIATIONS / math.sqrt(count))
    return Range(-limit, limit)


def second_mean(values: Array) -> Range:
    """Of another sample, as large, of what ``values`` are a sample of."""
    error = student_deviations(values.size - 1) * float(values.std(ddof=1)) * math.sqrt(2 / values.size)
    return Range(float(values.mean()) - error, float(values.mean()) + error)


def equivalence_margin(count: int) -> float:
    """The difference of means that :func:`second_mean` tells from none, in standard deviations of one value.

    The test of equivalence by two one-sided ones, each at a level of ``1 - SURE``: whose mean lies in the range is
    shown to be nearer than this to the other. Power: who is right is shown to be so but for one time in ``1 / RISK``.
    """
    degrees = count - 1
    return (student_deviations(degrees) + student_deviations(degrees, 2 * (1 - SURE))) * math.sqrt(2 / count)


@cache
def student_deviations(degrees: int, risk: float = RISK) -> float:
    """How far from 0, either way, a number of Student's distribution lies with a probability of ``risk``."""
    low, high = 0.0, 1.0
    while _student_tail(high, degrees) > risk / 2:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _student_tail(middle, degrees) > risk / 2 else (low, middle)
    return high


def _student_tail(t: float, degrees: int) -> float:
    """The probability of a number above ``t``: with ``t = sqrt(degrees) tan(a)`` an integral of ``cos(a)^(n - 1)``."""
    reach = math.atan2(math.sqrt(degrees), t)  # of the angle from there to a right one
    angles, weights = np.polynomial.legendre.leggauss(64)
    heights = np.sin(reach * (angles + 1) / 2) ** (degrees - 1)
    constant = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    return float(constant * reach / 2 * (weights * heights).sum())
