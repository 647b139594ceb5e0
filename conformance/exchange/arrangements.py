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

from conformance.diagnosis.layouts import recognise
from conformance.problems.tensors import Array

Kind = Literal["same", "rounded", "near", "rearranged", "permuted", "scaled", "split", "missing", "different"]

MOST_AXES = 5
MOST_GATES = 4
NARROW = ("float16", "bfloat16")

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


class Numbers:
    """An array with what tells quickly whether another may hold the same numbers in other places."""

    def __init__(self, value: Array) -> None:
        self.value = np.asarray(value, np.float64)
        self.dtype = value.dtype
        self.finite = bool(np.isfinite(self.value).all())
        self.scale = float(np.abs(self.value).max(initial=0.0))
        self.total = float(np.abs(self.value).sum()) if self.finite else np.nan
        self._sorted: Array | None = None

    @property
    def sorted(self) -> Array:
        """All numbers by size."""
        if self._sorted is None:
            self._sorted = np.sort(self.value, axis=None)
        return self._sorted

    @property
    def is_constant(self) -> bool:
        """Whether all numbers are one, so that their places cannot be told."""
        return self.value.size == 0 or bool((self.value == self.value.flat[0]).all())


def roundoff(*dtypes: np.dtype[Any]) -> float:
    """Half a unit in the last place of the coarsest of some types, relative; 0 between integers."""
    return max((float(np.finfo(dtype).eps) / 2 for dtype in dtypes if dtype.kind == "f"), default=0.0)


def may_be_the_same(a: Numbers, b: Numbers) -> bool:
    """Whether two arrays hold the same numbers, in whatever places, but for half of their digits."""
    if a.value.size != b.value.size or not (a.finite and b.finite):
        return False
    reach = np.sqrt(roundoff(a.dtype, b.dtype)) * max(a.scale, b.scale)
    if abs(a.total - b.total) > reach * max(a.value.size, 1):
        return False
    return bool(np.abs(a.sorted - b.sorted).max(initial=0.0) <= reach)


def relation(a: Numbers, b: Numbers) -> Relation:
    """What ``b`` is of ``a``. Orders that have a name are tried from the most usual on.

    A name is given to what agrees in more than half of its digits; ``error`` says in how many.

    >>> relation(Numbers(np.array([[1.0, 2.0], [3.0, 4.0]])), Numbers(np.array([[1.0, 3.0], [2.0, 4.0]])))
    Relation(kind='rearranged', words='transposed', error=0.0)
    """
    if a.value.shape == b.value.shape:
        close = _as_it_lies(a, b)
        if close is not None:
            return close
    reach = float(np.sqrt(roundoff(a.dtype, b.dtype)))
    if may_be_the_same(a, b):
        for words, arranged, other in (
            *((words, arranged, b.value) for words, arranged in arranged_otherwise(a.value)),
            *((f"{words}, of axes made one", merged, b.value) for words, merged in merged_to(a.value, b.value.ndim)),
            *(
                (f"{words}, its axes taken apart", a.value, merged)
                for words, merged in merged_to(b.value, a.value.ndim)
            ),
        ):
            error = distance(arranged, other)
            if error <= reach:
                return Relation("rearranged", words, error)
    for turned, value in (("", a.value), ("transposed, then ", a.value.T)):
        if value.ndim != 2 and turned:
            continue
        words = recognise(b.value, value, reach)
        if words:
            scaled = words.startswith(("multiplied", "negated"))
            return Relation("scaled" if scaled else "permuted", turned + words, float("nan"))
    return Relation("different", "differs", distance(a.value, b.value))


def _as_it_lies(a: Numbers, b: Numbers) -> Relation | None:
    """What two arrays of one shape are of each other without any rearrangement."""
    error = distance(a.value, b.value)
    if error == 0 or a.value.size == 0:
        return Relation("same", "equal", 0.0)
    for narrow in NARROW:
        if np.array_equal(_rounded(a.value, narrow), b.value):
            return Relation("rounded", f"rounded to {narrow}", error)
        if np.array_equal(a.value, _rounded(b.value, narrow)):
            return Relation("rounded", f"before it was rounded to {narrow}", error)
    unit = roundoff(a.dtype, b.dtype)
    if error <= unit:
        return Relation("same", f"equal in {a.dtype if roundoff(a.dtype) == unit else b.dtype}", error)
    return Relation("near", "near", error) if error <= np.sqrt(unit) else None


def distance(a: Array, b: Array) -> float:
    """The largest difference, relative to the largest number; infinite between different shapes or without numbers."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    scale = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
    return float(np.abs(a - b).max(initial=0.0)) / scale if scale else 0.0


def arranged_otherwise(value: Array) -> Iterator[tuple[str, Array]]:
    """The array in every order that frameworks are known to differ by, with what was done to it."""
    yield from _axes(value)
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
        words = f"{' x '.join(map(str, value.shape))} as {' x '.join(map(str, sizes))}"
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


def _rounded(value: Array, narrow: str) -> Array:
    if narrow == "float16":
        with np.errstate(over="ignore"):
            return value.astype(np.float16).astype(np.float64)
    bits = value.astype(np.float32).view(np.uint32).astype(np.uint64)
    even = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return even.astype(np.uint32).view(np.float32).astype(np.float64)
