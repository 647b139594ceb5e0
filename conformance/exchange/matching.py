"""Which arrays of two sets hold the same numbers: looked up by their fingerprints, not tried pair by pair."""

import difflib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, get_args

import numpy as np

from conformance.exchange.arrangements import Kind, Relation, may_be_multiples, reach_of, relation
from conformance.exchange.fingerprints import Numbers, levels_among, near_in_sum

MOST_CANDIDATES = 8  # arrays of the other set with which one is compared in full, in each of the passes
MOST_LIKENESSES = 2**12  # pairs of names that are compared; of more arrays alike, those of one name and then by order

RANK = {kind: place for place, kind in enumerate(get_args(Kind))}
NOT_FOUND = ("different", "missing")

Named = Mapping[str, Numbers]


class BlockName(str):
    """The name of a part of an array, such as ``bias[0:3]``, which knows the array's."""

    array: str

    def __new__(cls, array: str, place: str) -> "BlockName":
        """The name of the block of an array at a place, in NumPy's notation."""
        made = super().__new__(cls, f"{array}[{place}]")
        made.array = array
        return made


def array_of(name: str) -> str:
    """The array that a name is of, or of a block of."""
    return name.array if isinstance(name, BlockName) else name


class Match(NamedTuple):
    """Arrays of A that together hold what some of B hold together, by their names, and what B's are of A's."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    relation: Relation


def matched(ours: Named, theirs: Named) -> list[Match]:
    """The arrays that hold the same numbers, best matches first; then those near each other; then multiples."""
    found = equal_in_content(ours, theirs)
    for candidates in (_near, _multiples):
        left_a, left_b = left_of(ours, theirs, found)
        found += _best(left_a, left_b, candidates(left_a, left_b))
    return found


def equal_in_content(ours: Named, theirs: Named) -> list[Match]:
    """The arrays that hold the same numbers, in whatever places."""
    found = list(_equal(ours, theirs))
    left_a, left_b = left_of(ours, theirs, found)
    return found + _best(left_a, left_b, _same_digests(left_a, left_b))


def left_of(ours: Named, theirs: Named, found: Iterable[Match]) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """The arrays of both that stand in no match, nor a block of them."""
    matches = list(found)
    taken_a = {taken for match in matches for name in match.a for taken in (name, array_of(name))}
    taken_b = {taken for match in matches for name in match.b for taken in (name, array_of(name))}
    return (
        {name: value for name, value in ours.items() if name not in taken_a},
        {name: value for name, value in theirs.items() if name not in taken_b},
    )


def paired(ours: list[str], theirs: list[str]) -> Iterator[tuple[str, str]]:
    """Arrays that are alike beside each other: those of one name, then by likeness of names, then by their order."""
    common = [name for name in ours if name in set(theirs)]
    yield from ((name, name) for name in common)
    one, other = ([name for name in names if name not in set(common)] for names in (ours, theirs))
    if len(one) * len(other) <= MOST_LIKENESSES:
        places = [(-likeness(a, b), abs(i - j), a, b) for i, a in enumerate(one) for j, b in enumerate(other)]
        for _, _, a, b in sorted(places, key=lambda each: each[:2]):
            if a in one and b in other:
                one.remove(a)
                other.remove(b)
                yield a, b
    else:
        yield from zip(one, other, strict=False)


def likeness(one: str, other: str) -> float:
    """How alike two names are, 1 for the same."""
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _equal(ours: Named, theirs: Named) -> Iterator[Match]:
    """Arrays that are equal number by number; names decide between those that are all equal."""
    groups = [defaultdict(list), defaultdict(list)]  # type: list[dict[object, list[str]]]
    sizes = {value.value.shape for value in ours.values()} & {value.value.shape for value in theirs.values()}
    for group, named in zip(groups, (ours, theirs), strict=True):
        for name, value in named.items():
            if value.value.shape in sizes and value.finite:
                group[value.content].append(name)
    for key, names in groups[0].items():
        others = groups[1].get(key, [])
        more = max(len(names), len(others)) - 1
        for a, b in paired(names, others):
            near = relation(ours[a], theirs[b])
            told = f"{near.words}, as {'are' if more > 1 else 'is'} {more} more: which is which only their names tell"
            yield Match((a,), (b,), near._replace(words=told) if more else near)


def _same_digests(ours: Named, theirs: Named) -> Iterator[tuple[str, str]]:
    """Pairs that hold the same numbers in a type that one of them fits."""
    sizes = {value.value.size for value in ours.values()} & {value.value.size for value in theirs.values()}
    ours, theirs = (
        {name: value for name, value in named.items() if value.finite and value.value.size in sizes}
        for named in (ours, theirs)
    )
    for level in levels_among([*ours.values(), *theirs.values()]):
        known = defaultdict(list)
        for name, value in theirs.items():
            known[value.value.size, value.digest(level)].append(name)
        for name, value in ours.items():
            for other in known.get((value.value.size, value.digest(level)), [])[:MOST_CANDIDATES]:
                if value.fits(level) or theirs[other].fits(level):
                    yield name, other


def _near(ours: Named, theirs: Named) -> Iterator[tuple[str, str]]:
    """Pairs whose sums are nearer than chance would have them."""
    for a, b in _neighbours(ours, theirs, lambda numbers: numbers.moments.total):
        one, other = ours[a], theirs[b]
        if near_in_sum(one, other, reach_of(one.dtype, other.dtype, "")):
            yield a, b


def _multiples(ours: Named, theirs: Named) -> Iterator[tuple[str, str]]:
    """Pairs that may be multiples of each other."""
    for a, b in _neighbours(ours, theirs, _spread):
        if may_be_multiples(ours[a], theirs[b]):
            yield a, b


def _spread(numbers: Numbers) -> float:
    """The sum of absolute values in root mean squares, the same for all multiples."""
    return numbers.moments.total / math.sqrt(numbers.moments.square or 1.0)


def _neighbours(ours: Named, theirs: Named, key: Callable[[Numbers], float]) -> Iterator[tuple[str, str]]:
    """For each array those of its size in the other set that are nearest to it by a key."""
    by_size = defaultdict(list)
    for name, value in theirs.items():
        if value.finite:
            by_size[value.value.size].append((key(value), name))
    sorted_by = {size: sorted(each, key=lambda one: one[0]) for size, each in by_size.items()}
    keys = {size: [one[0] for one in each] for size, each in sorted_by.items()}
    for name, value in ours.items():
        size = value.value.size
        if value.finite and size in keys:
            place = int(np.searchsorted(keys[size], key(value)))
            half = MOST_CANDIDATES // 2
            yield from ((name, other) for _, other in sorted_by[size][max(0, place - half) : place + half])


def _best(ours: Named, theirs: Named, candidates: Iterable[tuple[str, str]]) -> list[Match]:
    """What is found of candidates, each array once: the best kinds first, then the names that are most alike."""
    places = [{name: place for place, name in enumerate(named)} for named in (ours, theirs)]
    found = []
    for a, b in dict.fromkeys(candidates):
        near = relation(ours[a], theirs[b])
        if near.kind not in NOT_FOUND:
            apart = abs(places[0][a] - places[1][b])
            found.append((RANK[near.kind], -likeness(a, b), apart, Match((a,), (b,), near)))
    taken: tuple[set[str], set[str]] = set(), set()
    chosen = []
    for *_, match in sorted(found, key=lambda each: each[:3]):
        if match.a[0] not in taken[0] and match.b[0] not in taken[1]:
            chosen.append(match)
            taken[0].add(match.a[0])
            taken[1].add(match.b[0])
    return chosen
