"""Layout faults: the right numbers in the wrong places, or all of them by one factor too large."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from conformance.problems.tensors import Array

Named = tuple[str, Array]

LARGEST_TERM = 1000  # of a fraction by which a single number is multiplied, if it is one over a whole number
SMALL_TERM = 12  # and if it is any other
MOST_LOOKED_AT = 2**20  # pairs of slices that may be one, beyond which no permutation is looked for


def recognise(observed: Array, expected: Array, tolerance: float) -> str:
    """What was done to ``expected`` to make ``observed`` of it, in words, or "" if it is none of these.

    Transposed, reshaped in another order, reversed or permuted along an axis, shuffled throughout, negated, or
    multiplied by one factor (a single number: by a simple one). ``tolerance`` is an error as of
    ``compare.measure_errors``, relative to the largest ``|expected|``. A square matrix is told from its transpose like
    any other; what is also its own transpose, or holds equal rows alone, is not told.

    >>> recognise(np.array([[1.0, 3.0], [2.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 4.0]]), 1e-15)
    'transposed'
    >>> recognise(np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]), 1e-15)
    'permuted: its elements are those numbered 2, 0, 1 of the expected ones'
    >>> recognise(np.array([2.0, 4.0]), np.array([1.0, 2.0]), 1e-15)
    'multiplied by 2'
    """
    observed, expected = np.asarray(observed, np.float64), np.asarray(expected, np.float64)
    scale = float(np.abs(expected).max(initial=0.0))
    if observed.size != expected.size or not 0 < scale < np.inf or not np.isfinite(observed).all():
        return ""
    reach = tolerance * scale
    if observed.shape == expected.shape and np.abs(observed - expected).max() <= reach:
        return ""
    for name, rearranged in _rearranged(expected):
        if rearranged.shape == observed.shape and np.abs(observed - rearranged).max() <= reach:
            return name
    if observed.shape != expected.shape:
        return ""
    for axis in range(expected.ndim):
        name = _permutation(observed, expected, axis, reach)
        if name:
            return name
    factor = float(np.vdot(expected, observed) / np.vdot(expected, expected))
    if np.abs(observed - factor * expected).max() <= reach * max(1.0, abs(factor)):
        negated = abs(factor + 1) <= 2 * tolerance
        if observed.size > 1 or negated or _is_simple(factor, 2 * tolerance):
            return "negated" if negated else f"multiplied by {written(factor)}"
    if np.abs(np.sort(observed, axis=None) - np.sort(expected, axis=None)).max() <= reach:
        return "shuffled: the expected numbers in other places"
    return ""


def _rearranged(expected: Array) -> Iterator[Named]:
    """The expected numbers in each of the orders that have a name."""
    if expected.ndim == 2:
        yield "transposed", expected.T
        yield "reshaped: read row by row, written column by column", expected.T.reshape(expected.shape)
        yield "reshaped: read column by column, written row by row", expected.reshape(expected.shape[::-1]).T
    for axis in range(expected.ndim):
        yield f"reversed along axis {axis}", np.flip(expected, axis)


def order_of(observed: Array, expected: Array, axis: int, reach: float) -> list[int] | None:
    """The numbers of the slices of ``expected`` along ``axis`` that those of ``observed`` are, to within ``reach``.

    Each is one of them; None if there is no such order, or if too many slices are alike to find one.

    >>> order_of(np.array([3.0, 1.0]), np.array([1.0, 3.0]), 0, 0.0)
    [1, 0]
    """
    ours = np.moveaxis(observed, axis, 0).reshape(expected.shape[axis], -1)
    theirs = np.moveaxis(expected, axis, 0).reshape(expected.shape[axis], -1)
    means = theirs.mean(1)  # that of a slice is within reach where all of it is: only such slices are looked at
    by_mean = np.argsort(means, kind="stable")
    slack = reach + np.finfo(np.float64).eps * theirs.shape[1] * float(np.abs(theirs).max(initial=0.0))
    first = np.searchsorted(means[by_mean], ours.mean(1) - slack, "left")
    last = np.searchsorted(means[by_mean], ours.mean(1) + slack, "right")
    if int((last - first).sum()) > MOST_LOOKED_AT:
        return None
    order: list[int] = []
    left = np.ones(len(theirs), dtype=bool)
    for row, start, end in zip(ours, first, last, strict=True):
        candidates = np.sort(by_mean[start:end])
        match = next((int(k) for k in candidates if left[k] and np.abs(row - theirs[k]).max() <= reach), None)
        if match is None:
            return None
        left[match] = False
        order.append(match)
    return order


def _permutation(observed: Array, expected: Array, axis: int, reach: float) -> str:
    """The order of the slices along ``axis``, if that is what differs."""
    order = order_of(observed, expected, axis, reach)
    if order is None:
        return ""
    named = {1: ("elements",), 2: ("rows", "columns")}.get(expected.ndim)
    what = named[axis] if named else f"slices along axis {axis}"
    shown = ", ".join(map(str, order[:8])) + (" ..." if len(order) > 8 else "")
    return f"permuted: its {what} are those numbered {shown} of the expected ones"


def _is_simple(factor: float, tolerance: float) -> bool:
    """Whether a factor is a whole number, one over a whole number, or a fraction of two small ones.

    A single number is every other by some factor, which tells nothing unless it is one of these.
    """
    near = Fraction(factor).limit_denominator(LARGEST_TERM)
    simple = near.denominator <= SMALL_TERM or abs(near.numerator) == 1
    return simple and abs(factor - near) <= tolerance * max(1.0, abs(factor))


def written(factor: float) -> str:
    """With six digits, or by how much it is more or less than 1, where these are not enough.

    >>> written(0.5), written(1 + 2e-7), written(1 - 2e-7)
    ('0.5', '1 + 2e-07', '1 - 2e-07')
    """
    digits = f"{factor:.6g}"
    return f"1 {'+' if factor > 1 else '-'} {abs(factor - 1):.2g}" if digits == "1" else digits
