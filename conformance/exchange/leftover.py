"""Arrays that no array of the other set is: what is there more than once, what says nothing, and what is missing."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from conformance.exchange.arrangements import Relation, relation
from conformance.exchange.fingerprints import Numbers
from conformance.exchange.matching import Match, equal_in_content, left_of, paired
from conformance.exchange.packing import KNOWN

NOTHING = ("untold", "aside")  # kinds that speak neither for nor against the two sets
FEW = 2  # whole numbers at most in an array that is taken for a counter or a seed, and for no weight

Named = Mapping[str, Numbers]


def repeated(ours: Named, theirs: Named, found: list[Match]) -> list[Match]:
    """Arrays that the other set holds too, but fewer times: weights that are tied in the one and stored twice."""
    left_a, left_b = left_of(ours, theirs, found)
    again = [Match((name,), (other,), words) for name, other, words in _again(left_a, theirs, left_b, "A")]
    return again + [Match((other,), (name,), words) for name, other, words in _again(left_b, ours, left_a, "B")]


def _again(left: Named, others: Named, not_these: Named, letter: str) -> Iterator[tuple[str, str, Relation]]:
    """Arrays without a partner that are those of the other set that have one."""
    once = {name: value for name, value in others.items() if name not in not_these and not value.is_constant}
    more = {name: value for name, value in left.items() if not value.is_constant}
    while found := equal_in_content(more, once):  # each time every array of the other set once
        for match in found:
            value, other = more.pop(match.a[0]), once[match.b[0]]
            near = match.relation if letter == "A" else relation(other, value)
            if near.kind in KNOWN:
                words = f"{near.words}: {letter} holds it more than once"
                yield match.a[0], match.b[0], Relation("repeated", words, near.error)


def without_partner(ours: Named, theirs: Named, untried: str) -> list[Match]:
    """What is of one number, what is of one shape, and what the one set alone holds; ``untried``: a bound was met."""
    found = list(_untold(ours, theirs))
    left_a, left_b = left_of(ours, theirs, found)
    found += _of_one_shape(left_a, left_b)
    left_a, left_b = left_of(ours, theirs, found)
    found += [Match((name,), (), _only("A", value, untried)) for name, value in left_a.items()]
    return found + [Match((), (name,), _only("B", value, untried)) for name, value in left_b.items()]


def _untold(ours: Named, theirs: Named) -> Iterator[Match]:
    """Arrays of one number throughout, of which the other set holds as many, or which are 0 and add nothing."""
    counts: list[dict[float, int]] = [defaultdict(int), defaultdict(int)]
    constants = [
        {name: float(each.value.flat[0]) for name, each in named.items() if _tells_nothing(each)}
        for named in (ours, theirs)
    ]
    for named, found, count in zip((ours, theirs), constants, counts, strict=True):
        for name, value in found.items():
            count[value] += named[name].value.size
    for letter, found in zip("AB", constants, strict=True):
        for name, value in found.items():
            if value and counts[0][value] != counts[1][value]:
                continue
            if counts[0][value] == counts[1][value]:
                words = f"all of it is {value:.6g}, as are as many numbers of the other: which cannot be told"
            else:
                words = f"{letter} alone has it; all of it is 0: whether it is part of a sum cannot be told"
            relation_ = Relation("untold", words, 0.0)
            yield Match((name,), (), relation_) if letter == "A" else Match((), (name,), relation_)


def _tells_nothing(numbers: Numbers) -> bool:
    return numbers.value.size > 1 and numbers.finite and numbers.is_constant


def _of_one_shape(ours: Named, theirs: Named) -> Iterator[Match]:
    """What is left, beside what is of its shape, most alike by name."""
    shapes: list[dict[tuple[int, ...], list[str]]] = [defaultdict(list), defaultdict(list)]
    for named, by_shape in zip((ours, theirs), shapes, strict=True):
        for name, value in named.items():
            by_shape[value.value.shape].append(name)
    for shape, names in shapes[0].items():
        for a, b in paired(names, shapes[1].get(shape, [])):
            yield Match((a,), (b,), relation(ours[a], theirs[b]))


def _only(letter: str, numbers: Numbers, untried: str) -> Relation:
    value = numbers.value
    if value.dtype.kind in "iu" and numbers.dtype != bool and value.size <= FEW:
        words = f"{letter} alone has it: {value.size} whole number{'s' * (value.size > 1)}, a counter or a seed"
        return Relation("aside", words, float("nan"))
    words = f"{letter} alone has it, shape {value.shape}{f' ({untried})' if untried else ''}"
    return Relation("missing", words, float("nan"))
