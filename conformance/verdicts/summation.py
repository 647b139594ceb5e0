"""Sums of many terms, equal in mathematics to the reference's, as other libraries and other machines take them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.problems.tensors import Array
from reference_numpy.models import DenseNetwork

# A sum of fewer terms a library takes in one block, that is in turn, anyway.
SHORTEST = 64

# The terms of a small product are made so many numbers at a time: what fits into a processor's cache.
BLOCK = 16384


# A graphics processor takes a product's sum in slices of so many terms, side by side, and adds these up in a tree; sums
# without a product by so many threads, each of which takes every so-manyeth term (NVIDIA's CUTLASS: split and stream K;
# "Optimizing Parallel Reduction in CUDA").
SLICE = 32
THREADS = 128

# Above so many numbers at once a slice's terms are left to a library: NumPy's own multiplies and adds in one rounding.
MOST_FUSED = 1 << 16


class SequentialNetwork(DenseNetwork):
    """The reference's network with its matrix products summed one term after another."""

    def product(self, a: Array, b: Array, *, out: Array | None = None) -> Array:
        """``a b`` as a sum of the products of one column and one row, added in turn in the working precision."""
        return product_in_turn(a, b, out=out)


class ParallelNetwork(DenseNetwork):
    """The reference's network with its matrix products summed as a graphics processor sums them."""

    def product(self, a: Array, b: Array, *, out: Array | None = None) -> Array:
        """``a b``: slices of its terms with fused multiply-add, side by side, and a tree over the slices."""
        return np.positive(product_by_threads(a, b), out=out)


def product_in_turn(a: Array, b: Array, *, out: Array | None = None) -> Array:
    """The matrix product ``a b``, its terms added one after another in the working precision."""
    terms = a.shape[1]
    if a.shape[0] == b.shape[1] == 1:
        return np.add.accumulate(a[0] * b[:, 0])[-1:].reshape(1, 1)
    if terms < SHORTEST:
        return np.matmul(a, b, out=out)
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype) if out is None else out
    total[...] = 0
    columns, rows = np.ascontiguousarray(a.T)[:, :, None], np.ascontiguousarray(b)[:, None, :]
    if 8 * total.size <= BLOCK:
        _add_in_blocks(columns, rows, total)
    else:
        for column, row in zip(columns, rows, strict=True):
            total += column * row
    return total


def product_by_threads(a: Array, b: Array) -> Array:
    """The matrix product ``a b``: slices of its terms with fused multiply-add, side by side, and a tree over them."""
    slices = -(-a.shape[1] // SLICE)
    missing = slices * SLICE - a.shape[1] if slices > 1 else 0
    left = np.pad(a, ((0, 0), (0, missing))).reshape(len(a), slices, -1).transpose(1, 0, 2)
    right = np.pad(b, ((0, missing), (0, 0))).reshape(slices, -1, b.shape[1])
    small = slices * len(a) * b.shape[1] <= MOST_FUSED
    return tree(fused(left, right) if small else np.matmul(left, right))


def stacked(product: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """The products of the last two axes, one by one; those before them are broadcast.

    >>> stacked(product_in_turn, np.ones((2, 1, 1, 3)), np.ones((5, 3, 4))).shape
    (2, 5, 1, 4)
    """
    if a.ndim == b.ndim == 2:
        return product(a, b)
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    lefts = np.broadcast_to(a, (*stack, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
    rights = np.broadcast_to(b, (*stack, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
    products = [product(left, right) for left, right in zip(lefts, rights, strict=True)]
    return np.asarray(products).reshape(*stack, a.shape[-2], b.shape[-1])


def fused(left: Array, right: Array) -> Array:
    """The matrix products ``left[i] right[i]``, term after term, each multiplied and added in one rounding."""
    wide: type = np.float64 if left.dtype == np.float32 else np.longdouble
    total = np.zeros((*left.shape[:2], right.shape[2]), left.dtype)
    columns: Array = left.astype(wide).transpose(2, 0, 1)[..., None]
    rows: Array = right.astype(wide).transpose(1, 0, 2)[:, :, None]
    terms = columns * rows if len(columns) * total.size <= BLOCK else map(np.multiply, columns, rows)
    for term in terms:
        np.add(total, term, out=total, casting="same_kind")  # in the wider precision, then rounded
    return total


def tree(parts: Array) -> Array:
    """The sum along the first axis: of halves, of halves of these, and so on."""
    while len(parts) > 1:
        half = len(parts) // 2
        parts = np.concatenate([parts[:half] + parts[half : 2 * half], parts[2 * half :]])
    first: Array = parts[0]
    return first


def total_by_threads(values: Array, *, axis: int | None = None) -> Any:
    """The sum of the reference, as threads take it that each add up every so-manyeth term, and a tree over them."""
    terms = values.ravel() if axis is None else np.moveaxis(values, axis, 0)
    missing = -len(terms) % THREADS if len(terms) > THREADS else 0
    padded = np.pad(terms, ((0, missing), *((0, 0),) * (terms.ndim - 1)))
    of_threads = padded.reshape(-1, min(len(padded), THREADS), *terms.shape[1:])
    last = tree(np.add.accumulate(of_threads, axis=0)[-1])
    return last if axis is None else np.expand_dims(last, axis)


def _add_in_blocks(columns: Array, rows: Array, total: Array) -> None:
    """Add ``columns[k] rows[k]`` to ``total`` for each ``k`` in turn: along its first axis NumPy adds in this order."""
    size = min(BLOCK // total.size, len(rows))
    block = np.empty((size + 1, *total.shape), total.dtype)
    for start in range(0, len(rows), size):
        terms = block[: len(rows[start : start + size]) + 1]
        terms[0] = total
        np.multiply(columns[start : start + size], rows[start : start + size], out=terms[1:])
        np.add.reduce(terms, axis=0, out=total)


def total_in_turn(values: Array, *, axis: int | None = None) -> Array:
    """The sum of the reference, each term added to the sum of those before it."""
    terms = values.ravel() if axis is None else np.moveaxis(values, axis, 0)
    last: Array = np.add.accumulate(terms, axis=0)[-1]
    return last if axis is None else np.expand_dims(last, axis)
