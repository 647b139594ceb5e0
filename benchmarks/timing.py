"""How times are taken and compared, so that a busy machine changes little of what is said.

Works are run in turn, round by round, so that what slows the machine down for a while slows all of them. Two works are
compared round by round too: their ratio is the median of the ratios of each round.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

Seconds = list[float]


class Spread(NamedTuple):
    """A median between its quartiles."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value.

        >>> Spread.of([4.0, 1.0, 2.0, 3.0, 9.0])
        Spread(lower=2.0, median=3.0, upper=4.0)
        """
        return cls(*np.quantile(values, (0.25, 0.5, 0.75)).tolist())


def interleave(
    works: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    least: int = 5,
    most: int = 400,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Seconds]:
    """The seconds of every work in every round: round robin, each round beginning with another work.

    Every work is run twice before, for what is compiled or filled at first. Ends after ``seconds`` for each work, but
    not before ``least`` rounds, and after ``most``. Raises ValueError without works.
    """
    if not works:
        raise ValueError("works is empty: must hold at least one work")
    for work in works.values():
        work()
        work()
    names = list(works)
    found: dict[str, Seconds] = {name: [] for name in names}
    start = clock()
    for turn in range(most):
        if turn >= least and clock() - start >= seconds * len(names):
            break
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            begun = clock()
            works[name]()
            found[name].append(clock() - begun)
    return found


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """``ours / theirs`` round by round. Raises ValueError unless both have the same number of rounds.

    >>> paired_ratios([2.0, 4.0, 6.0], [1.0, 2.0, 2.0])
    [2.0, 2.0, 3.0]
    """
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """An interval that holds the median of what the values are drawn from, whatever their distribution is.

    It is from the ``k``-th smallest to the ``k``-th largest of ``n`` values, ``k`` the largest number for which
    ``2 P(Binomial(n, 1/2) < k) <= 1 - confidence``; of fewer than six values at 0.95 it is their range. It supposes
    that the values are independent; where a disturbance outlasts a round it is too narrow.

    >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    (2.0, 8.0)
    """
    ordered, n = sorted(values), len(values)
    tail, k = 0.0, 0
    while k < n // 2 and 2 * (tail + math.comb(n, k) / 2**n) <= 1 - confidence:
        tail += math.comb(n, k) / 2**n
        k += 1
    k = max(k, 1)
    return ordered[k - 1], ordered[n - k]


def pooled(processes: Sequence[Sequence[float]]) -> Spread:
    """One spread for the values of several processes: the median of all, between the outermost quartiles of any.

    So it holds what differs from one process to the next, such as where its arrays lie.

    >>> pooled([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
    Spread(lower=1.5, median=3.0, upper=4.5)
    """
    each = [Spread.of(values) for values in processes]
    middle = statistics.median(value for values in processes for value in values)
    return Spread(min(spread.lower for spread in each), middle, max(spread.upper for spread in each))
