"""What tells of an array which numbers it holds, wherever they lie, at a cost that grows with its size alone.

The digest of an array is the sum of a hash of each of its numbers, modulo 2^64. It does not change when they are put
elsewhere, and that of a whole is the sum of those of its parts: so that what was split, stacked or transposed is found
by looking digests up. Two arrays of which one is narrower are compared in the narrower type.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from conformance.problems.tensors import Array

LEVELS = ("float64", "float32", "float16", "bfloat16")  # types in which digests are taken, the finest first
UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # half of the last place
FEWEST = 4  # numbers, below which agreement after rounding to 16 bits says nothing

_BLOCK = 2**18  # numbers that are looked at in float64 at once
_MULTIPLIERS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15], np.uint64)


class Moments(NamedTuple):
    """Sums over all numbers that are the same wherever they lie; ``scale`` is the largest absolute value."""

    total: float  # of absolute values
    net: float
    square: float
    scale: float


class Numbers:
    """An array with its fingerprints, each of which is taken when it is asked for. The array keeps its type."""

    def __init__(self, value: Array) -> None:
        found = np.asarray(value)
        self.value = found.view(np.uint8) if found.dtype == bool else found
        self.dtype = found.dtype
        self._digests: dict[str, int] = {}
        self._of_slices: dict[tuple[int | None, str], Array] = {}
        self._fits: dict[str, bool] = {}

    @cached_property
    def moments(self) -> Moments:
        """The sums, and the largest absolute value; NaN or infinite if a number is."""
        total = net = square = scale = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for (block,) in blocks(self.value):
                size = np.abs(block)
                total, net = total + float(size.sum()), net + float(block.sum())
                square, scale = square + float((size * size).sum()), max(scale, float(size.max(initial=0.0)))
        return Moments(total, net, square, scale)

    @property
    def finite(self) -> bool:
        """Whether every number is one."""
        return bool(np.isfinite(self.moments.total))

    @cached_property
    def is_constant(self) -> bool:
        """Whether all numbers are one, so that their places cannot be told."""
        flat = self.value.reshape(-1)
        return self.value.size == 0 or bool((flat == flat[0]).all())

    @cached_property
    def content(self) -> tuple[tuple[int, ...], bytes]:
        """What two arrays have in common that are equal number by number, whatever their types."""
        content = hashlib.blake2b(digest_size=16)
        for (block,) in blocks(self.value):
            content.update(np.ascontiguousarray(block + 0.0).data)
        return self.value.shape, content.digest()

    def fits(self, level: str) -> bool:
        """Whether every number is one of a type's."""
        if level not in self._fits:
            narrow = level not in ("float64", "float32")
            enough = not narrow or self.value.size >= FEWEST or self.dtype == level
            self._fits[level] = enough and all(
                np.array_equal(rounded(block, level), block) for (block,) in blocks(self.value)
            )
        return self._fits[level]

    def digest(self, level: str) -> int:
        """Of all numbers, rounded to a type."""
        if level not in self._digests:
            total = sum(int(_hashed(rounded(block, level)).sum(dtype=np.uint64)) for (block,) in blocks(self.value))
            self._digests[level] = total % 2**64
        return self._digests[level]

    def slice_digests(self, axis: int | None, level: str) -> Array:
        """The digest of each slice along an axis, (length of the axis,); without one, of each number."""
        if (axis, level) not in self._of_slices:
            moved = self.value.reshape(-1) if axis is None else np.moveaxis(self.value, axis, 0)
            step = max(1, _BLOCK * len(moved) // max(moved.size, 1))
            found = [np.zeros(0, np.uint64)]
            for start in range(0, len(moved), step):
                part = moved[start : start + step]
                hashes = _hashed(rounded(part.astype(np.float64), level))
                found.append(hashes.reshape(len(part), -1).sum(axis=1, dtype=np.uint64))
            self._of_slices[axis, level] = np.concatenate(found)
        return self._of_slices[axis, level]


def levels_among(numbers: Iterable[Numbers]) -> list[str]:
    """The types in which digests must be taken to compare arrays: each that some of them fit, and not all."""
    each = list(numbers)
    return [LEVELS[0], *(level for level in LEVELS[1:] if 0 < sum(one.fits(level) for one in each) < len(each))]


def level_of(a: Numbers, b: Numbers) -> str:
    """The finest type in which two arrays hold the same numbers in whatever places, ``""`` if there is none.

    It is one of which one of the two is: what is the same only after both are rounded is not the same.
    """
    if a.value.size != b.value.size or not (a.finite and b.finite):
        return ""
    for level in LEVELS:
        told_finer = level != LEVELS[0] and a.fits(level) == b.fits(level)  # if both fit, no finer type says otherwise
        if not told_finer and a.digest(level) == b.digest(level):
            return level
    return ""


def near_in_sum(a: Numbers, b: Numbers, reach: float) -> bool:
    """Whether the sums over two arrays agree so well as they do not by chance, and as a relative error would have it.

    The sums of unrelated arrays of n numbers differ by their root mean square times the root of n.
    """
    if a.value.size != b.value.size or not (a.finite and b.finite):
        return False
    count, scale = max(a.value.size, 1), max(a.moments.scale, b.moments.scale)
    root = float(np.sqrt(max(a.moments.square, b.moments.square) / count))
    allowed = min(reach * scale, 0.05 * root / count**0.5) * count if count > 1 else reach * scale
    first, second = a.moments, b.moments
    squares = abs(first.square - second.square) <= 2 * allowed * max(scale, 1e-300)
    return abs(first.total - second.total) <= allowed and abs(first.net - second.net) <= allowed and squares


def rounded(value: Array, level: str) -> Array:
    """Numbers of float64 rounded to a type, as float64."""
    if level == "float64":
        return value
    with np.errstate(over="ignore"):
        if level != "bfloat16":
            return value.astype(level).astype(np.float64)
        bits = value.astype(np.float32).view(np.uint32).astype(np.uint64)
    even = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return even.astype(np.uint32).view(np.float32).astype(np.float64)


def roundoff(*dtypes: np.dtype[Any]) -> float:
    """Half a unit in the last place of the coarsest of some types, relative; 0 between integers."""
    return max((float(np.finfo(dtype).eps) / 2 for dtype in dtypes if dtype.kind == "f"), default=0.0)


def blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Arrays of one shape, piece by piece in float64, so that large ones need no copy of themselves."""
    first = arrays[0]
    if first.size <= _BLOCK:
        yield tuple(np.asarray(value, np.float64) for value in arrays)
        return
    axis = int(np.argmax(first.shape))
    step = max(1, _BLOCK * first.shape[axis] // first.size)
    for start in range(0, first.shape[axis], step):
        part = (*(slice(None),) * axis, slice(start, start + step))
        yield tuple(value[part].astype(np.float64) for value in arrays)


def distance(a: Array, b: Array) -> float:
    """The largest difference, relative to the largest number; infinite between different shapes or without numbers."""
    if a.shape != b.shape:
        return float("inf")
    scale = apart = 0.0
    for one, other in blocks(a, b):
        if not (np.isfinite(one).all() and np.isfinite(other).all()):
            return float("inf")
        scale = max(scale, float(np.abs(one).max(initial=0.0)), float(np.abs(other).max(initial=0.0)))
        apart = max(apart, float(np.abs(one - other).max(initial=0.0)))
    return apart / scale if scale else 0.0


def _hashed(value: Array) -> Array:
    """A hash of each number, spread over 64 bits; that of -0 is that of 0."""
    bits: Array = np.ascontiguousarray(value + 0.0).view(np.uint64) + _MULTIPLIERS[2]
    bits = (bits ^ (bits >> np.uint64(30))) * _MULTIPLIERS[0]
    bits = (bits ^ (bits >> np.uint64(27))) * _MULTIPLIERS[1]
    mixed: Array = bits ^ (bits >> np.uint64(31))
    return mixed
