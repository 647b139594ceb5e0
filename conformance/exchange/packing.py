"""Arrays of the one set that are several of the other: laid behind one another, stacked, in turn, or added.

The algebra is small: an array is cut along an axis, its parts are laid behind one another along an axis, two arrays are
added; what a part then is of an array of the other set is a :func:`~conformance.exchange.arrangements.relation`, a
transpose, heads in an axis of their own or gates in another order among them. Parts are looked up by their digests.

Where both sets are cut, and differently, :mod:`conformance.exchange.cutting` cuts them first.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise
from typing import NamedTuple

import numpy as np

from conformance.exchange.arrangements import Relation, relation
from conformance.exchange.fingerprints import Numbers, levels_among, roundoff
from conformance.exchange.matching import Match, left_of
from conformance.problems.tensors import Array

KNOWN = ("same", "rounded", "near", "rearranged", "untold")  # what a part may be of an array

MOST_NUMBERS = 2**26  # of all arrays that have no partner, beyond which no packing is looked for
MOST_LEFT = 64  # arrays without a partner, of each set, of which sums are looked for
MOST_ADDED = 2**20  # numbers of an array that may be a sum
NEIGHBOURS = 8  # arrays behind one, in the order of the file, to which it may be added before it is taken apart
IN_TURN = (2, 3, 4)  # arrays that may lie in turn along an axis
MOST_TIMES = 128  # times that they may do so, such as heads

Several = Mapping[tuple[str, ...], Numbers]
Found = Iterator[tuple[tuple[str, ...], "Laid"]]  # arrays that make one whole, and what makes them up
Way = Callable[[Mapping[str, Numbers], Mapping[str, Numbers], bool], Found]


class Laid(NamedTuple):
    """Arrays that make up a whole: their names in order, how they lie in it, and what each is."""

    parts: tuple[str, ...]
    how: str
    relations: list[Relation]


def packed(ours: Mapping[str, Numbers], theirs: Mapping[str, Numbers], ways: Sequence[Way]) -> list[Match]:
    """Each array without a partner that is several of the other set, in one of some ways."""
    if _count(ours, theirs) > MOST_NUMBERS:
        return []
    found: list[Match] = []
    for swapped in (False, True):
        for find in ways:
            left = left_of(ours, theirs, found)
            wholes, parts = left[::-1] if swapped else left
            for whole, made in find(wholes, parts, swapped):
                a, b = (made.parts, whole) if swapped else (whole, made.parts)
                found.append(Match(a, b, _told(made, swapped)))
    return found


def not_looked_for(ours: Mapping[str, Numbers], theirs: Mapping[str, Numbers]) -> str:
    """What was not tried of the arrays that are left, since there is too much of them; ``""`` if all was."""
    if not ours or not theirs:
        return ""
    if _count(ours, theirs) > MOST_NUMBERS:
        return f"more than {MOST_NUMBERS:,} numbers are left: packed arrays are not looked for"
    if max(len(ours), len(theirs)) > MOST_LEFT:
        return f"more than {MOST_LEFT} arrays are left: sums and blocks are not looked for"
    return ""


def _count(*sets: Mapping[str, Numbers]) -> int:
    return sum(each.value.size for named in sets for each in named.values())


def _told(made: Laid, swapped: bool) -> Relation:
    words = list(dict.fromkeys(each.words for each in made.relations))
    each = words[0] if len(words) == 1 else "; ".join(
        f"{name} {one.words}" for name, one in zip(made.parts, made.relations, strict=True)
    )  # fmt: skip
    start = "the" if swapped else "it is the"
    return Relation("split", f"{start} {made.how}: {each}", max(one.error for one in made.relations))


def laid(wholes: Mapping[str, Numbers], parts: Mapping[str, Numbers], swapped: bool) -> Found:
    """The arrays that others make up, laid behind one another along an axis, or in turn."""
    return _tiled({(name,): whole for name, whole in wholes.items()}, parts, swapped)


def laid_sums(wholes: Mapping[str, Numbers], parts: Mapping[str, Numbers], swapped: bool) -> Found:
    """The pairs of arrays whose sum others make up."""
    if not parts or max(len(wholes), len(parts)) > MOST_LEFT:
        return
    added: dict[tuple[str, ...], Numbers] = {}
    for (i, (first, x)), (j, (second, y)) in combinations(enumerate(wholes.items()), 2):
        if j - i <= NEIGHBOURS and x.value.shape == y.value.shape and _may_be_added(x, y):
            added[first, second] = Numbers(x.value + y.value)
    for names, made in _tiled(added, parts, swapped):
        yield names, made._replace(how=f"{made.how}, as the sum of the two")


def _tiled(wholes: Several, parts: Mapping[str, Numbers], swapped: bool) -> Found:
    left = {name: part for name, part in parts.items() if part.finite and part.value.size}
    levels = levels_among([*left.values(), *(each for each in wholes.values() if each.finite)])
    known = [_Known(left, level) for level in levels] if left else []
    taken: set[str] = set()
    for names, whole in wholes.items():
        if not whole.finite or whole.is_constant or taken & set(names):
            continue
        made = next((made for each in known if (made := _whole_of(whole, each, swapped))), None)
        if made is not None:
            taken |= set(names)
            for each in known:
                each.taken |= set(made.parts)
            yield names, made


class _Known:
    """Parts that are looked up by how many numbers they hold and by their digest; each of them once."""

    def __init__(self, parts: Mapping[str, Numbers], level: str) -> None:
        self.parts, self.level = parts, level
        self.taken: set[str] = set()
        self._names: dict[tuple[int, int], list[str]] = defaultdict(list)
        for name, part in parts.items():
            self._names[part.value.size, part.digest(level)].append(name)
        self.sizes = sorted({size for size, _ in self._names}, reverse=True)

    def free(self, size: int, digest: int, but: list[str]) -> str | None:
        """The first part of that size and digest that is in no whole, nor among some others."""
        names = self._names.get((size, digest), ())
        return next((name for name in names if name not in self.taken and name not in but), None)


def _whole_of(whole: Numbers, known: _Known, swapped: bool) -> Laid | None:
    """The parts that lie in a whole along one of its axes, or along all of them made one."""
    value = whole.value
    views: list[tuple[int | None, Array]] = [(axis, np.moveaxis(value, axis, 0)) for axis in range(value.ndim)]
    views += [(None, value.reshape(-1))] if value.ndim > 1 else []
    for axis, view in views:
        digests = whole.slice_digests(axis, known.level)
        turns = _in_turn(view, digests, known) if axis is not None else ()
        for chosen, cut, how in chain(_behind(view, digests, known), turns):
            place = " along all axes made one" if axis is None else f" along axis {axis}"
            near = [_part(np.moveaxis(block, 0, axis or 0), known.parts[name], swapped)
                    for name, block in zip(chosen, cut, strict=True)]  # fmt: skip
            if all(each.kind in KNOWN for each in near):
                return Laid(tuple(chosen), how.format(place=place), near)
    return None


Cut = tuple[list[str], list[Array], str]


def _behind(view: Array, digests: Array, known: _Known) -> Iterator[Cut]:
    """Parts behind one another along the first axis, each found by the digest of what begins where the last ended."""
    width = view.size // max(len(view), 1)
    ends = np.concatenate([np.zeros(1, np.uint64), np.cumsum(digests, dtype=np.uint64)])
    lengths = [size // width for size in known.sizes if size % width == 0 and size < view.size] if width else []
    chosen: list[str] = []
    cuts = [0]
    while cuts[-1] < len(view):
        start = cuts[-1]
        for end in (start + length for length in lengths if start + length <= len(view)):
            name = known.free((end - start) * width, (int(ends[end]) - int(ends[start])) % 2**64, chosen)
            if name is not None:
                chosen.append(name)
                cuts.append(end)
                break
        else:
            return
    cut = [view[start:end] for start, end in pairwise(cuts)]
    stacked = view.ndim > 1 and all(len(block) == 1 for block in cut)
    if chosen:
        count = "two" if len(chosen) == 2 else len(chosen)
        yield chosen, cut, f"stack of the {count}" if stacked else f"{count} behind one another{{place}}"


def _in_turn(view: Array, digests: Array, known: _Known) -> Iterator[Cut]:
    """Parts of which a piece of each lies in turn along the first axis, as heads may have their own projections."""
    for count in IN_TURN:
        length, rest = divmod(len(view), count)
        if rest or view.size // count not in known.sizes:
            continue
        for times in (each for each in range(2, min(length, MOST_TIMES) + 1) if length % each == 0):
            piece = length // times
            chosen: list[str] = []
            for each in digests.reshape(times, count, piece).sum((0, 2), dtype=np.uint64):
                name = known.free(view.size // count, int(each), chosen)
                if name is None:
                    break
                chosen.append(name)
            else:
                apart = view.reshape(times, count, piece, *view.shape[1:])
                cut = [apart[:, place].reshape(length, *view.shape[1:]) for place in range(count)]
                yield chosen, cut, f"{count} in turn{{place}}, {times} times {piece} of each"


def _part(block: Array, part: Numbers, swapped: bool) -> Relation:
    """What a part is of an array; an axis of length one that stacking made is left out."""
    for axis in reversed(range(block.ndim)):
        if block.shape[axis] == 1 and block.ndim > part.value.ndim:
            block = block.squeeze(axis)
    cut = Numbers(block)
    return relation(part, cut) if swapped else relation(cut, part)


def sums(wholes: Mapping[str, Numbers], parts: Mapping[str, Numbers], swapped: bool) -> Found:
    """The arrays that are the sum of two, found by their own sums: those of the two add up to that of the whole."""
    if max(len(wholes), len(parts)) > MOST_LEFT:
        return
    left = {name: part for name, part in parts.items() if part.finite}
    for name, whole in wholes.items():
        if whole.is_constant or not whole.finite:
            continue
        for first, second in _adding_up(whole, left):
            x, y = left[first], left[second]
            if x.value.shape != y.value.shape or not _may_be_added(x, y):
                continue
            total = Numbers(x.value + y.value)
            near = relation(total, whole) if swapped else relation(whole, total)
            if near.kind in KNOWN:
                left = {part: value for part, value in left.items() if part not in (first, second)}
                yield (name,), Laid((first, second), "sum of the two", [near])
                break


def _adding_up(whole: Numbers, parts: Mapping[str, Numbers]) -> list[tuple[str, str]]:
    """Pairs of arrays of a size of which the sums over all numbers add up to that of a third."""
    names = [name for name, part in parts.items() if part.value.size == whole.value.size]
    nets, totals = (
        np.array([getattr(parts[name].moments, what) for name in names]) for what in ("net", "total")
    )  # fmt: skip
    unit = roundoff(whole.dtype, *(parts[name].dtype for name in names))
    allowed = 4 * unit * (whole.moments.total + totals[:, None] + totals)
    near = np.abs(whole.moments.net - nets[:, None] - nets) <= allowed
    return [(names[i], names[j]) for i, j in np.argwhere(np.triu(near, 1))]


def _may_be_added(x: Numbers, y: Numbers) -> bool:
    floats = x.value.dtype.kind == y.value.dtype.kind == "f"
    return floats and x.value.size <= MOST_ADDED and x.finite and y.finite and not (x.is_constant and y.is_constant)


WAYS: tuple[Way, ...] = (laid, sums, laid_sums)
