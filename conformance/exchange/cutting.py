"""Two sets of which both lie in pieces, and differently: arrays are cut into equal blocks, and blocks are matched.

So a GRU's biases agree of which one framework adds those of two gates and not the third's, and the four matrices of a
cell, each for input and state, with two matrices for four gates each.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from conformance.exchange.fingerprints import Numbers, blocks, levels_among, rounded
from conformance.exchange.matching import BlockName, Match, array_of, equal_in_content
from conformance.exchange.packing import KNOWN, laid, packed, sums

MOST_LEFT = 64  # arrays without a partner, of each set
MOST_BLOCKS = 2**22  # numbers of all that are cut
MOST_ADDED = 2**16  # numbers of a bias, or of a stack of two, that is cut in any case: it may be a sum
SAMPLE = 32  # numbers of every other array that must be in the other set as well

Named = Mapping[str, Numbers]


class Cutting(NamedTuple):
    """Equal blocks along the first or the last axis; ``rows``: a stack of two vectors is taken apart first."""

    parts: int
    axis: int
    rows: bool


CUTTINGS = (
    Cutting(1, 0, False), Cutting(1, 0, True),
    *(Cutting(count, axis, False) for count in (3, 4, 2) for axis in (0, -1)),
    *(Cutting(count, -1, True) for count in (3, 4)),
)  # fmt: skip


def in_blocks(ours: Named, theirs: Named) -> list[Match]:
    """What agrees once the arrays of either set, or of both, are cut: all blocks of an array, or none of them."""
    found: list[Match] = []
    sides = _worth_it(ours, theirs), _worth_it(theirs, ours)
    if not all(sides) or max(map(len, sides)) > MOST_LEFT or sum(map(_count, sides)) > MOST_BLOCKS:
        return found
    cut = [{cutting: dict(_cut(named, cutting)) for cutting in CUTTINGS} for named in sides]
    for cut_a, cut_b in sorted(product(CUTTINGS, repeat=2), key=lambda two: sum(map(CUTTINGS.index, two)))[1:]:
        taken = [{array_of(name) for match in found for name in names} for names in _sides(found)]
        left = [
            {name: block for name, block in one[cutting].items() if array_of(name) not in names}
            for one, cutting, names in zip(cut, (cut_a, cut_b), taken, strict=True)
        ]
        if not all(left):
            break
        found += _matched(*left)
    return found


def _matched(ours: Named, theirs: Named) -> list[Match]:
    """Matches between arrays and blocks; an array stands in them whole, or each of its blocks does, or none."""
    found = [match for match in equal_in_content(ours, theirs) if match.relation.kind in KNOWN]
    taken_a, taken_b = _sides(found)
    found += packed(_without(ours, taken_a), _without(theirs, taken_b), (laid, sums))
    while True:
        in_a, in_b = (_explained(named, names) for named, names in zip((ours, theirs), _sides(found), strict=True))
        kept = [match for match in found if in_a.issuperset(match.a) and in_b.issuperset(match.b)]
        if len(kept) == len(found):
            return found
        found = kept


def _sides(found: list[Match]) -> tuple[set[str], set[str]]:
    """The names of either set that stand in a match."""
    return {name for match in found for name in match.a}, {name for match in found for name in match.b}


def _without(named: Named, taken: set[str]) -> dict[str, Numbers]:
    return {name: numbers for name, numbers in named.items() if name not in taken}


def _explained(named: Named, taken: set[str]) -> set[str]:
    """Of arrays that are whole in a match their names, of those of which all blocks are the names of these."""
    blocks_of = defaultdict(set)
    for name in named:
        if isinstance(name, BlockName):
            blocks_of[name.array].add(name)
    by_blocks = [each for array, each in blocks_of.items() if array not in taken and each <= taken]
    return {name for name in taken if not isinstance(name, BlockName)}.union(*by_blocks)


def _cut(named: Named, cutting: Cutting) -> Iterator[tuple[str, Numbers]]:
    """Arrays, and the blocks of those that can be cut."""
    count, axis, rows = cutting
    for name, numbers in named.items():
        yield name, numbers
        value = numbers.value
        stacked = rows and value.ndim == 2 and len(value) == 2
        for place, row in enumerate(value) if stacked else [(-1, value)]:
            length, rest = divmod(row.shape[axis], count) if row.ndim else (0, 0)
            if count == 1 and stacked:
                yield BlockName(name, str(place)), Numbers(row)
            if count == 1 or row.ndim > 2 or not length or rest:
                continue
            before = f"{place}, " if stacked else ":, " if row.ndim == 2 and axis == -1 else ""
            for number, block in enumerate(np.split(row, count, axis)):
                ends = f"{number * length}:{(number + 1) * length}"
                yield BlockName(name, before + ends), Numbers(block)


def _worth_it(named: Named, others: Named) -> dict[str, Numbers]:
    """The arrays that may be parts of a sum, or of which a sample of numbers is in the other set as well."""
    level = levels_among([*named.values(), *others.values()])[-1]
    cut = {name: each for name, each in named.items() if each.finite and not each.is_constant}
    samples = {
        name: rounded(each.value.reshape(-1)[:: max(1, each.value.size // SAMPLE)].astype(np.float64), level)
        for name, each in cut.items() if not _may_be_added(each)
    }  # fmt: skip
    wanted = np.unique(np.concatenate([np.zeros(1), *samples.values()]))
    seen = np.zeros(len(wanted), dtype=bool)
    for other in others.values() if samples else ():
        for (block,) in blocks(other.value):
            numbers = rounded(block, level).reshape(-1)
            places = np.minimum(np.searchsorted(wanted, numbers), len(wanted) - 1)
            seen[places[wanted[places] == numbers]] = True
    shared = {name for name, sample in samples.items() if seen[np.searchsorted(wanted, sample)].all()}
    return {name: each for name, each in cut.items() if name in shared or name not in samples}


def _may_be_added(numbers: Numbers) -> bool:
    value = numbers.value
    return value.size <= MOST_ADDED and (value.ndim < 2 or (value.ndim == 2 and len(value) == 2))


def _count(named: Named) -> int:
    return sum(each.value.size for each in named.values())
