"""What one array is of another: the same numbers in another order that has a name, rounded, or scaled.

Beside the layouts of a single matrix (``conformance/diagnosis/layouts.py``) it knows those that come of other
frameworks' layers: axes of convolutions, gates of recurrent layers, heads of attention in an axis of their own, images
flattened with channels first or last.
"""

import math
from collections.abc import Iterator
from itertools import combinations, pairwise, permutations
from typing import Any, Literal, NamedTuple

import numpy as np

from conformance.diagnosis.layouts import recognise, written
from conformance.exchange.fingerprints import (
    UNITS,
    Numbers,
    blocks,
    distance,
    level_of,
    near_in_sum,
    rounded,
    roundoff,
)
from conformance.problems.tensors import Array

Kind = Literal[
    "same", "rounded", "near", "rearranged", "untold", "permuted", "scaled", "split", "repeated", "aside", "missing",
    "different",
]  # fmt: skip

MOST_AXES = 5
MOST_GATES = 4
NARROW = ("float16", "bfloat16")
FEWEST_LEVELS = 7  # the largest of signed whole numbers of 4 bits; arrays are stored as such times a factor
MOST_PERMUTED = 2**20  # numbers of an array of which a permutation is looked for
MOST_AMBIGUOUS = 2**16  # numbers of one of which it is looked whether a second arrangement agrees too

# The axes of convolutions' kernels: height, width, inputs, outputs.
KERNELS = {
    3: {"WIO": "Keras, Flax", "OIW": "PyTorch", "OWI": "the reference"},
    4: {"HWIO": "Keras, Flax", "OIHW": "PyTorch", "OHWI": "TFLite, the reference"},
    5: {"DHWIO": "Keras, Flax", "OIDHW": "PyTorch"},
}
# The gates of recurrent layers in the order in which they lie: reset, update (z), new; input, forget, cell, output.
GATES = {
    3: {"zrn": "Keras, ONNX", "rzn": "PyTorch, Flax"},
    4: {"ifco": "Keras, PyTorch, Flax", "iofc": "ONNX", "icfo": "TensorFlow 1"},
}


class Relation(NamedTuple):
    """What ``b`` is of ``a``: in a word and in words; ``error``: what is left, relative to the largest number.

    ``rearranged`` is what frameworks are known to differ by; ``permuted`` is any other order.
    """

    kind: Kind
    words: str
    error: float


def relation(a: Numbers, b: Numbers) -> Relation:
    """What ``b`` is of ``a``. Orders that have a name are tried from the most usual on.

    A name is given to what agrees in more than half of its digits; ``error`` says in how many. Arrays of 16 bits must
    agree to within two units in the last place.

    >>> relation(Numbers(np.array([[1.0, 2.0], [3.0, 4.0]])), Numbers(np.array([[1.0, 3.0], [2.0, 4.0]])))
    Relation(kind='rearranged', words='transposed', error=0.0)
    """
    if not (a.finite and b.finite):
        return _not_finite(a, b)
    close = _as_it_lies(a, b) if a.value.shape == b.value.shape else None
    if close is not None:
        return close
    level = level_of(a, b)
    if level and a.is_constant:
        what = f"all of it is {a.value.flat[0]:.6g}" if a.value.size else "it is empty"
        words = f"{what}, in another shape: how it lies cannot be told"
        return Relation("untold", words, 0.0)
    reach = reach_of(a.dtype, b.dtype, level)
    if level or near_in_sum(a, b, reach):
        return _rearranged(a, b, reach) or _permuted(a, b, reach, bool(level)) or _differs(a, b)
    return _multiple(a, b, reach) or _differs(a, b)


def reach_of(one: np.dtype[Any], other: np.dtype[Any], level: str) -> float:
    """How far apart, relative to the largest number, two arrays of these types may be that are called the same."""
    unit = max(roundoff(one, other), UNITS[level] if level else 0.0)
    return max(2 * unit, float(np.sqrt(UNITS["float32"]))) if unit > UNITS["float32"] else float(np.sqrt(unit))


def _differs(a: Numbers, b: Numbers) -> Relation:
    return Relation("different", "differs", distance(a.value, b.value))


def _not_finite(a: Numbers, b: Numbers) -> Relation:
    """Infinite numbers in the same places are the same, as in a mask; a NaN is the same as nothing."""
    counts = [int(np.isnan(each.value).sum()) if each.value.dtype.kind == "f" else 0 for each in (a, b)]
    if any(counts):
        words = f"differs: {counts[0]:,} of A's numbers and {counts[1]:,} of B's are NaN"
        if a.value.shape == b.value.shape and np.array_equal(a.value, b.value, equal_nan=True):
            words += ", in the same places, and the others are equal"
        return Relation("different", words, float("inf"))
    return Relation("same", "equal", 0.0) if np.array_equal(a.value, b.value) else _differs(a, b)


def _rearranged(a: Numbers, b: Numbers, reach: float) -> Relation | None:
    """The first arrangement that agrees, what is left then, and whether another one agrees as well."""
    found: Relation | None = None
    first = ""
    for words, arranged, other in _candidates(a.value, b.value):
        error = distance(arranged, other)
        if error > reach:
            continue
        if found is not None:
            if _lie_otherwise(a.value.shape, first, words):
                return found._replace(
                    words=f"{found.words} (or {words}: its numbers repeat, so that it cannot be told)"
                )
            continue
        first, left = words, _as_it_lies(Numbers(arranged), Numbers(other))
        then = f", then {left.words}" if left is not None and left.kind == "rounded" else ""
        found = Relation("rearranged", words + then, error)
        if a.value.size > MOST_AMBIGUOUS or 2 * len(np.unique(a.value)) > a.value.size:
            break
    return found


def _lie_otherwise(shape: tuple[int, ...], first: str, second: str) -> bool:
    """Whether two arrangements, by their words, put the numbers of an array in different places."""
    places = dict(arranged_otherwise(np.arange(math.prod(shape)).reshape(shape)))
    return first in places and second in places and not np.array_equal(places[first], places[second])


def _candidates(a: Array, b: Array) -> Iterator[tuple[str, Array, Array]]:
    """Everything that is tried of two arrays that hold the same numbers: words, and the two that should agree then."""
    for words, arranged in arranged_otherwise(a):
        yield words, arranged, b
    for words, merged in merged_to(a, b.ndim):
        yield f"{words}, of axes made one", merged, b
    for words, merged in merged_to(b, a.ndim):
        yield f"{words}, its axes taken apart", a, merged
    if a.shape != b.shape:
        for words, arranged in _reshaped(a, b.shape):
            yield words, arranged, b
        for words, arranged in _reshaped(b, a.shape):
            yield f"what the other is of it: {words}", a, arranged


def _reshaped(value: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """The axes in every order, then another shape."""
    if value.ndim <= MOST_AXES:
        for order in permutations(range(value.ndim)):
            turned = value.transpose(order)
            if turned.shape != shape:
                moved = (
                    f"axes in the order {', '.join(map(str, order))}, then " if order != tuple(sorted(order)) else ""
                )
                yield f"{moved}{_by(turned.shape)} as {_by(shape)}", turned.reshape(shape)


def _permuted(a: Numbers, b: Numbers, reach: float, exact: bool) -> Relation | None:
    """Rows, columns or elements in another order, of a matrix also when it is transposed."""
    if a.value.size > MOST_PERMUTED:
        return Relation("permuted", "the same numbers in another order", float("nan")) if exact else None
    close = min(reach, 0.01 / a.value.size**0.5) if not exact else reach
    for turned, value in (("", a.value), ("transposed, then ", a.value.T)):
        words = recognise(b.value, value, close) if value.ndim == 2 or not turned else ""
        if words and not words.startswith(("multiplied", "negated")) and (exact or not words.startswith("shuffled")):
            return Relation("permuted", turned + words, float("nan"))
    words = "the same numbers in an order that has no name here"
    return Relation("permuted", words, float("nan")) if exact and a.value.size > 1 else None


def _multiple(a: Numbers, b: Numbers, reach: float) -> Relation | None:
    """One factor, of a matrix also when it is transposed; also one rounded to whole numbers, as for storage.

    A single number is a multiple of every other, which says nothing.
    """
    if not may_be_multiples(a, b) or a.value.size > MOST_PERMUTED:
        return None
    for turned, value in (("", a.value), ("transposed, then ", a.value.T)):
        if value.shape != b.value.shape or (turned and value.ndim != 2):
            continue
        ours, theirs = value.astype(np.float64), b.value.astype(np.float64)
        factor = float(np.vdot(ours, theirs) / np.vdot(ours, ours))
        if distance(factor * ours, theirs) <= reach:
            words = "negated" if abs(factor + 1) <= 2 * reach else f"multiplied by {written(factor)}"
            return Relation("scaled", turned + words, float("nan"))
        for whole, real, told in (
            (theirs, ours, "multiplied by {:.6g}, then rounded to whole numbers"),
            (ours, theirs, "divided by {:.6g}, before it was rounded to whole numbers"),
        ):
            stored = _factor_of_storage(real, whole)
            if stored:
                return Relation("scaled", turned + told.format(stored), float("nan"))
    return None


def _factor_of_storage(real: Array, whole: Array) -> float:
    """The factor by which numbers were multiplied before they were rounded to whole ones; 0 if there is none.

    Each number bounds it from both sides: ``whole - 1/2 <= factor real <= whole + 1/2``.
    """
    if not (whole == np.rint(whole)).all() or np.abs(whole).max() < FEWEST_LEVELS:
        return 0.0
    at = real != 0
    ends = np.sort(np.stack([(whole[at] - 0.5) / real[at], (whole[at] + 0.5) / real[at]]), axis=0)
    low, high = float(ends[0].max()), float(ends[1].min())
    fits = low <= high * (1 + np.sign(high) * UNITS["float32"]) and not whole[~at].any()
    return (low + high) / 2 if fits else 0.0


def may_be_multiples(a: Numbers, b: Numbers) -> bool:
    """Whether one array may be the other times a number, by the ratio of two sums over each."""
    if a.value.size != b.value.size or a.value.size < 2 or a.is_constant or b.is_constant:
        return False
    if not (a.finite and b.finite):
        return False
    ratios = [each.moments.total / (each.moments.square * each.value.size) ** 0.5 for each in (a, b)]
    return bool(abs(ratios[0] - ratios[1]) <= 0.01 / a.value.size**0.5)


def _as_it_lies(a: Numbers, b: Numbers) -> Relation | None:
    """What two arrays of one shape are of each other without any rearrangement."""
    error = distance(a.value, b.value)
    if error == 0 or a.value.size == 0:
        return Relation("same", "equal", 0.0)
    for narrow in NARROW:
        for one, other, words in ((b, a, f"rounded to {narrow}"), (a, b, f"before it was rounded to {narrow}")):
            if one.fits(narrow) and error <= 2 * UNITS[narrow] and _is_rounded(other.value, one.value, narrow):
                return Relation("rounded", words, error)
    unit = roundoff(a.dtype, b.dtype)
    if error <= unit:
        return Relation("same", f"equal in {a.dtype if roundoff(a.dtype) == unit else b.dtype}", error)
    return Relation("near", "near", error) if error <= np.sqrt(unit) else None


def _is_rounded(value: Array, narrow: Array, level: str) -> bool:
    """Whether an array is another one rounded to a type."""
    return all(np.array_equal(rounded(one, level), other) for one, other in blocks(value, narrow))


def arranged_otherwise(value: Array) -> Iterator[tuple[str, Array]]:
    """The array in every order that frameworks are known to differ by, with what was done to it."""
    yield from _axes(value)
    if 2 < value.ndim <= MOST_AXES:
        yield from _kernels_with_gates(value)
    for turned, matrix in (("", value), ("transposed, ", value.T)):
        if value.ndim > 2 or (turned and value.ndim != 2):
            continue
        for axis in range(value.ndim):
            yield from ((f"{turned}{words}", found) for words, found in _gates(matrix, axis))
        for axis in range(value.ndim):
            yield from ((f"{turned}{words}", found) for words, found in _flattened(matrix, axis))


def merged_to(value: Array, axes: int) -> Iterator[tuple[str, Array]]:
    """An array of more axes than ``axes`` with neighbouring ones made one, and as a matrix transposed too.

    So lie the kernels of attention, (inputs, heads, units of a head), beside matrices.
    """
    if not 0 < axes < value.ndim <= MOST_AXES:
        return
    for cuts in combinations(range(1, value.ndim), axes - 1):
        ends = (0, *cuts, value.ndim)
        sizes = tuple(math.prod(value.shape[start:end]) for start, end in pairwise(ends))
        words = f"{_by(value.shape)} as {_by(sizes)}"
        yield words, value.reshape(sizes)
        if axes == 2:
            yield f"{words}, transposed", value.reshape(sizes).T


def _axes(value: Array) -> Iterator[tuple[str, Array]]:
    """Axes in another order, and kernels reversed along those that are of space."""
    if value.ndim == 2:
        yield "transposed", value.T
    if not 2 < value.ndim <= MOST_AXES:
        return
    orders = [order for order in permutations(range(value.ndim)) if order != tuple(range(value.ndim))]
    known = sorted(orders, key=lambda order: kernel_named(order) == "")  # those that have a name first
    for order in known:
        yield f"axes in the order {', '.join(map(str, order))}{kernel_named(order)}", value.transpose(order)
    for order in (tuple(range(value.ndim)), *known):
        if kernel_named(order) or order == tuple(range(value.ndim)):
            for space in (tuple(range(value.ndim - 2)), tuple(range(2, value.ndim))):
                turned = np.flip(value, space).transpose(order)
                words = f"reversed along axes {', '.join(map(str, space))}, as a convolution of a cross-correlation"
                yield words + (f", then {kernel_named(order).strip()}" if kernel_named(order) else ""), turned


def _kernels_with_gates(value: Array) -> Iterator[tuple[str, Array]]:
    """The gates of a convolutional recurrent layer's kernel in another order, and its axes as another framework's."""
    for axis in range(value.ndim):
        for words, turned in _gates(value, axis):
            yield f"{words} along axis {axis}", turned
            for order in permutations(range(value.ndim)):
                named = kernel_named(order)
                if named and "(" in words:
                    then = f"axes in the order {', '.join(map(str, order))}{named}"
                    yield f"{words} along axis {axis}, then {then}", turned.transpose(order)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def kernel_named(order: tuple[int, ...]) -> str:
    """Of which frameworks' convolutions an order of axes is, or nothing.

    >>> kernel_named((3, 2, 0, 1))
    ' (HWIO as in Keras, Flax, to OIHW as in PyTorch)'
    """
    for first, one in KERNELS.get(len(order), {}).items():
        for second, other in KERNELS[len(order)].items():
            if first != second and "".join(first[axis] for axis in order) == second:
                back = ", or back" if "".join(second[axis] for axis in order) == first else ""
                return f" ({first} as in {one}, to {second} as in {other}{back})"
    return ""


def _gates(value: Array, axis: int) -> Iterator[tuple[str, Array]]:
    """Blocks of an axis, one for each gate, in another order."""
    for count in range(2, MOST_GATES + 1):
        if value.shape[axis] % count or value.shape[axis] == count:
            continue
        blocks = np.split(value, count, axis)
        orders = [order for order in permutations(range(count)) if order != tuple(range(count))]
        for order in sorted(orders, key=lambda order: gates_named(order) == ""):
            words = f"its {count} gates in the order {', '.join(map(str, order))}{gates_named(order)}"
            yield words, np.concatenate([blocks[place] for place in order], axis)


def gates_named(order: tuple[int, ...]) -> str:
    """Between which frameworks' recurrent layers an order of gates leads, or nothing.

    >>> gates_named((1, 0, 2))
    ' (z, r, n as in Keras, ONNX to r, z, n as in PyTorch, Flax, or back)'
    """
    for first, one in GATES.get(len(order), {}).items():
        for second, other in GATES[len(order)].items():
            if first != second and "".join(first[place] for place in order) == second:
                back = ", or back" if "".join(second[place] for place in order) == first else ""
                return f" ({', '.join(first)} as in {one} to {', '.join(second)} as in {other}{back})"
    return ""


def _flattened(value: Array, axis: int) -> Iterator[tuple[str, Array]]:
    """An axis that was flattened of places and channels, the one before the other and the other way round."""
    length = value.shape[axis]
    for places in range(2, length // 2 + 1):
        if length % places:
            continue
        channels = length // places
        apart = value.reshape(*value.shape[:axis], places, channels, *value.shape[axis + 1 :])
        yield (
            f"{'rows' if axis == 0 else 'columns'} flattened from {places} places x {channels} channels with channels"
            f" first instead of last (or from {channels} x {places}, last instead of first)",
            np.swapaxes(apart, axis, axis + 1).reshape(value.shape),
        )
