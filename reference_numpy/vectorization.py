"""The course's demonstration that a vectorised product is hundreds of times faster than a loop.

``benchmarks/vectorization.py`` prints the ratios of this machine. Source: the course, course 1 week 2.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._common import check_positive_integer

Array = NDArray[Any]


class Timing(NamedTuple):
    """What :func:`measure` returns: seconds of one call each, and ``ratio = loop_seconds / vectorized_seconds``."""

    loop_seconds: float
    vectorized_seconds: float
    ratio: float


def dot_product_loop(a: Array, b: Array) -> float:
    """``sum_i a_i b_i`` by a loop over the elements, in order. Slow on purpose.

    ``a`` and ``b``: ``(n,)``. Raises ValueError for other or different shapes.

    >>> dot_product_loop(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    _check_vectors(a, b)
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return float(total)


def dot_product(a: Array, b: Array) -> float:
    """``sum_i a_i b_i`` in one call; NumPy sums in an order of its own. Arguments, result, errors as above.

    >>> dot_product(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    _check_vectors(a, b)
    return float(np.dot(a, b))


def measure(loop: Callable[[], Any], vectorized: Callable[[], Any], *, repeats: int = 5) -> Timing:
    """Seconds that ``loop()`` and ``vectorized()`` take, each the median of ``repeats`` calls, as a :class:`Timing`.

    One call of each before the clock starts is not counted. Raises ValueError for ``repeats`` below 1.

    >>> a = np.ones(10_000)
    >>> measure(lambda: dot_product_loop(a, a), lambda: dot_product(a, a), repeats=3).ratio > 1
    True
    """
    check_positive_integer("repeats", repeats)
    loop_seconds, vectorized_seconds = (_median_seconds(call, repeats) for call in (loop, vectorized))
    return Timing(loop_seconds, vectorized_seconds, loop_seconds / vectorized_seconds)


def _median_seconds(call: Callable[[], Any], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _check_vectors(a: Array, b: Array) -> None:
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape}, b {b.shape}: both must be (n,) and equal")
