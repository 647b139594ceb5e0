"""Which array of a layer is which parameter of the reference: as it lies, turned, packed, stacked or in two parts.

Every number that a layer holds has a number of its own. An array of such numbers in the shape of a parameter says where
its values come from, and where its gradients go.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.exchange.arrangements import kernel_named
from conformance.identification.exercises import Array, Tensors
from conformance.recipes.layers import PARTNERS

Ids = NDArray[np.intp]
ONE, ZERO = -2, -1  # the numbers of a one and of a zero, which no array holds
MOST = 3000  # assignments that are looked at


class Piece(NamedTuple):
    """An array, or a part of one: in words, and which numbers it holds."""

    words: str
    ids: Ids


class Slot(NamedTuple):
    """What a parameter is made of. ``turned``: whether its axes are in another order; ``stacked``: of several."""

    words: str
    ids: Ids
    used: tuple[str, ...]
    turned: bool = False
    stacked: bool = False


class Needed(NamedTuple):
    """A parameter: its path, its shape, of how many blocks it is, and which of them alone may be there."""

    path: str
    shape: tuple[int, ...]
    blocks: int = 1
    alone: int | None = None


Assigned = dict[str, Slot]


class Held:
    """The arrays of a layer: their shapes, those that are trained, and the numbers of what they hold."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], trained: Iterable[str]) -> None:
        self.shapes = dict(shapes)
        known = set(trained)
        self.trained = [name for name in shapes if name in known]
        self.others = [name for name in shapes if name not in self.trained]
        self.size = 0
        self._ids: dict[str, Ids] = {}
        for name, shape in shapes.items():
            count = math.prod(shape)
            self._ids[name] = np.arange(self.size, self.size + count).reshape(shape)
            self.size += count

    def pieces(self, names: Iterable[str]) -> list[Piece]:
        """The arrays as they are."""
        return [Piece(name, self._ids[name]) for name in names]

    def flat(self, arrays: Mapping[str, Array]) -> Array:
        """All numbers in a row, zeros where there is no array, then a one and a zero."""
        rows = [np.ravel(arrays.get(name, np.zeros(shape))) for name, shape in self.shapes.items()]
        return np.concatenate([*rows, [1.0, 0.0]]) if rows else np.array([1.0, 0.0])

    def gathered(self, gradients: Tensors, assigned: Mapping[str, Slot]) -> Array:
        """The gradients of parameters as those of the numbers that the arrays hold."""
        flat = np.zeros(self.size + 2)
        for path, slot in assigned.items():
            np.add.at(flat, slot.ids, gradients[path])
        return flat[:-2]

    def places(self, names: Iterable[str]) -> Ids:
        """Where the numbers of some arrays stand in a row of all of them."""
        found = [self._ids[name].ravel() for name in names]
        return np.concatenate(found) if found else np.zeros(0, np.intp)


def unpacked(pieces: Sequence[Piece], count: int, length: int) -> Iterator[list[Piece]]:
    """The pieces as they are; then what is of that length along its first or last axis taken apart along it."""
    yield list(pieces)
    for axis in (0, -1):
        found: list[Piece] = []
        for piece in pieces:
            if not piece.ids.ndim or piece.ids.shape[axis] != length:
                found.append(piece)
                continue
            parts = np.split(piece.ids, count, axis)
            found += [Piece(f"{piece.words}[{place}]", part) for place, part in enumerate(parts)]
        if len(found) > len(pieces):
            yield found


def unstacked(pieces: Sequence[Piece], count: int) -> Iterator[list[Piece]]:
    """The pieces as they are; then those with a first axis of ``count`` taken apart along it."""
    yield list(pieces)
    found = [
        part
        for piece in pieces
        for part in (
            [Piece(f"{piece.words}[{place}]", row) for place, row in enumerate(piece.ids)]
            if piece.ids.ndim == 2 and len(piece.ids) == count
            else [piece]
        )
    ]
    if len(found) > len(pieces):
        yield found


def rearranged(ids: Ids, shape: tuple[int, ...]) -> Iterator[tuple[str, Ids, bool]]:
    """An array in that shape: as it lies, with its axes in another order, some of them made one before."""
    if ids.size != math.prod(shape) or ids.ndim < len(shape):
        return
    for cuts in itertools.combinations(range(1, ids.ndim), len(shape) - 1):
        ends = [0, *cuts, ids.ndim]
        sizes = [math.prod(ids.shape[a:b]) for a, b in itertools.pairwise(ends)]
        merged = ids.reshape(sizes)
        ones = "" if ids.ndim == len(shape) else f", as ({', '.join(map(str, sizes))})"
        axes = tuple(range(len(shape)))
        usual = [
            axes,
            (*axes[-1:], *axes[:-1]),
            (axes[0], *axes[2:], *axes[1:2]),
        ]  # inputs, then outputs; outputs first
        for order in dict.fromkeys((*usual, *itertools.permutations(axes))):
            if tuple(sizes[axis] for axis in order) == shape:
                yield ones + _turned(order), merged.transpose(order), order != axes


def _turned(order: tuple[int, ...]) -> str:
    if order == tuple(range(len(order))):
        return ""
    return ", transposed" if len(order) == 2 else f", axes {', '.join(map(str, order))}{kernel_named(order)}"


def options(needed: Needed, pieces: Sequence[Piece]) -> Iterator[Slot]:
    """What a parameter may be made of."""
    for piece in pieces:
        for words, ids, turned in rearranged(piece.ids, needed.shape):
            yield Slot(piece.words + words, ids, (piece.words,), turned)
    if needed.blocks == 1:
        return
    block = (needed.shape[0] // needed.blocks, *needed.shape[1:])
    for shape in dict.fromkeys(piece.ids.shape for piece in pieces):
        alike = [piece for piece in pieces if piece.ids.shape == shape]
        for start in range(len(alike) - needed.blocks + 1):
            few = alike[start : start + needed.blocks]
            for parts in zip(*(list(rearranged(piece.ids, block)) for piece in few), strict=True):
                words = f"{', '.join(piece.words for piece in few)} on each other{parts[0][0]}"
                yield Slot(
                    words, np.concatenate([ids for _, ids, _ in parts]), tuple(p.words for p in few), parts[0][2], True
                )
    if needed.alone is not None:
        for piece in pieces:
            for words, ids, turned in rearranged(piece.ids, block):
                full = np.full(needed.shape, ZERO)
                full[needed.alone * block[0] : (needed.alone + 1) * block[0]] = ids
                yield Slot(f"{piece.words}{words}, the others 0", full, (piece.words,), turned)


def assignments(needed: Sequence[Needed], pieces: Sequence[Piece], optional: Mapping[str, int]) -> Iterator[Assigned]:
    """Every way to make the parameters of the pieces, each piece used once and none left.

    First those in which biases belong to their weights by name and all matrices lie alike; where there is none, all.
    ``optional``: the parameters that may not be there, with the number that they then are full of.
    """
    ways = {one.path: list(options(one, pieces)) for one in needed}
    for one in needed:
        if one.path in optional:
            constant = "1" if optional[one.path] == ONE else "0"
            ways[one.path].append(Slot(constant, np.full(one.shape, optional[one.path]), ()))
    every = {piece.words for piece in pieces}
    for strict in (True, False):
        found = list(itertools.islice(_assigned(list(needed), ways, every, strict, {}), MOST))
        if found:
            yield from found
            return


def _assigned(
    needed: list[Needed], ways: Mapping[str, list[Slot]], left: set[str], strict: bool, chosen: Assigned
) -> Iterator[Assigned]:
    if not needed:
        if not left:
            yield dict(chosen)
        return
    path = needed[0].path
    for slot in ways[path]:
        if left.issuperset(slot.used) and (not strict or _fits(path, slot, chosen)):
            yield from _assigned(needed[1:], ways, left - set(slot.used), strict, chosen | {path: slot})


def _fits(path: str, slot: Slot, chosen: Assigned) -> bool:
    """Whether it goes with its partner by name, and lies as the other matrices do."""
    before, _, own = path.rpartition(".")
    partner = chosen.get(f"{before}.{PARTNERS.get(own)}" if before else str(PARTNERS.get(own)))
    if partner is not None and slot.used and partner.used and _links(slot.used) != _links(partner.used):
        return False
    return all(slot.turned == other.turned for other in chosen.values() if slot.ids.ndim == other.ids.ndim == 2)


def _links(names: Iterable[str]) -> set[str]:
    """Names without what says that an array is a weight or a bias."""
    return {re.sub(r"weight|kernel|bias|scale|gamma|beta|\bw|\bb", "", name.lower()) for name in names}


def in_usual_order(assigned: Assigned, gates: str, usual: str) -> Assigned:
    """What is stacked in the order ``gates``, in the usual order."""
    found = {}
    for path, slot in assigned.items():
        if slot.ids.shape[0] % len(gates) or not slot.used:
            found[path] = slot
            continue
        blocks = dict(zip(gates, np.split(slot.ids, len(gates)), strict=True))
        names = dict(zip(gates, slot.used, strict=True)) if slot.stacked else {}
        rest = slot.words.partition(" on each other")[2]
        words = f"{', '.join(names[gate] for gate in usual)} on each other{rest}" if names else slot.words
        used: Any = tuple(names[gate] for gate in usual) if names else slot.used
        found[path] = slot._replace(ids=np.concatenate([blocks[gate] for gate in usual]), words=words, used=used)
    return found
