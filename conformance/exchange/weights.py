"""Weights against weights: which tensors of two files are the same, however they are named, turned or split."""

import difflib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_args

from conformance.data.files import DataError
from conformance.exchange.arrangements import Kind, Numbers, Relation, may_be_the_same, relation
from conformance.exchange.files import read_tensors
from conformance.exchange.trace import file_of
from conformance.problems.tensors import Array, Tensors
from conformance.verdicts.record import for_json

SAME, REARRANGED = ("same",), ("same", "rounded", "rearranged", "split")
MOST_LEFT = 64  # tensors that have no partner, of which pairs are tried together

RANK = {kind: place for place, kind in enumerate(get_args(Kind))}


class Row(NamedTuple):
    """A tensor of A beside one of B (``""``: it has none): what B's is of A's, and what is left between them."""

    a: str
    b: str
    kind: Kind
    relation: str
    error: float


class WeightsComparison(NamedTuple):
    """Two sets of weights, tensor by tensor, in the order of A."""

    rows: list[Row]

    @property
    def same(self) -> bool:
        """Whether every tensor lies in the other as it is, whatever it is called there."""
        return all(row.kind in SAME for row in self.rows)

    @property
    def same_but_rearranged(self) -> bool:
        """Whether every tensor is in the other in some arrangement, or rounded to another type."""
        return all(row.kind in REARRANGED for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """All of it, of what JSON can hold."""
        return {"verdict": self.verdict, "same": self.same, "rows": [for_json(row._asdict()) for row in self.rows]}

    @property
    def verdict(self) -> str:
        """What is to be said of it in a line."""
        counts = {kind: sum(row.kind == kind for row in self.rows) for kind in dict.fromkeys(r.kind for r in self.rows)}
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        if self.same:
            return f"same: {len(self.rows)} tensors"
        return f"{'the same numbers, arranged otherwise' if self.same_but_rearranged else 'different'}: {told}"


def load_weights(path: Path) -> Tensors:
    """The real numbers of a file of weights, or of a trace's or tape's. Raises DataError, also for a file of none."""
    file = file_of(path)
    found = {name: value for name, value in read_tensors(file).items() if value.dtype.kind in "biuf"}
    if not found:
        raise DataError(f"{file}: holds no array of numbers")
    return found


def diff(a: Mapping[str, Array], b: Mapping[str, Array]) -> WeightsComparison:
    """Which tensors of two sets of weights match, and how.

    Tensors are matched by what they hold: names and order decide only between those that hold the same. What is left
    over is tried as a sum or a stack of two (the biases of a recurrent layer), then put beside what has its shape.

    Args:
        a, b: arrays by name, in the order of their layers.
    """
    ours, theirs = ({name: Numbers(value) for name, value in tensors.items()} for tensors in (a, b))
    rows = _matched(ours, theirs)
    rows += _split(ours, theirs, rows)
    rows += _beside(ours, theirs, rows)
    order = {name: place for place, name in enumerate(a)}
    return WeightsComparison(sorted(rows, key=lambda row: order.get(row.a.partition(" + ")[0], len(order))))


def _matched(ours: Mapping[str, Numbers], theirs: Mapping[str, Numbers]) -> list[Row]:
    """The tensors that hold the same numbers, best matches first; then those that hold multiples."""
    rows: list[Row] = []
    for scaled in (False, True):
        found = []
        for (i, (one, x)), (j, (other, y)) in product(enumerate(ours.items()), enumerate(theirs.items())):
            taken = any(row.a == one or row.b == other for row in rows)
            if taken or x.value.size != y.value.size:
                continue
            if may_be_the_same(x, y) if not scaled else _may_be_multiples(x, y):
                near = relation(x, y)
                if near.kind != "different":
                    found.append((RANK[near.kind], -_likeness(one, other), abs(i - j), one, other, near))
        rows += _greedily(sorted(found, key=lambda each: each[:3]))
    return rows


def _greedily(found: list[tuple[int, float, int, str, str, Relation]]) -> list[Row]:
    rows: dict[str, Row] = {}
    taken: set[str] = set()
    for _, _, _, one, other, near in found:
        if one not in rows and other not in taken:
            rows[one] = Row(one, other, *near)
            taken.add(other)
    return list(rows.values())


def _may_be_multiples(a: Numbers, b: Numbers) -> bool:
    """Whether one array may be the other times a number; of one number alone that says nothing."""
    if a.value.size < 2 or not (a.finite and b.finite and a.total and b.total) or a.is_constant or b.is_constant:
        return False
    scaled = Numbers((b.value * (a.total / b.total)).astype(b.dtype))
    opposite = Numbers((-scaled.value).astype(b.dtype))
    return may_be_the_same(a, scaled) or may_be_the_same(a, opposite)


def _split(ours: Mapping[str, Numbers], theirs: Mapping[str, Numbers], rows: list[Row]) -> list[Row]:
    """Tensors of the one that are a sum or a stack of two of the other, as the biases of recurrent layers are."""
    found: list[Row] = []
    for swapped in (False, True):
        done = [*rows, *found]
        left_a = [name for name in ours if not any(_holds(row.a, name) for row in done)]
        left_b = [name for name in theirs if not any(_holds(row.b, name) for row in done)]
        whole, parts = (left_b, left_a) if swapped else (left_a, left_b)
        wholes, pieces = (theirs, ours) if swapped else (ours, theirs)
        if len(parts) > MOST_LEFT:
            continue
        for name in whole:
            pair = _pair_of(wholes[name], {part: pieces[part] for part in parts})
            if pair is not None:
                first, second, words, error = pair
                parts = [part for part in parts if part not in (first, second)]
                both = f"{first} + {second}"
                found.append(
                    Row(both, name, "split", f"the {words}", error)
                    if swapped
                    else Row(name, both, "split", f"it is the {words}", error)
                )
    return found


def _pair_of(whole: Numbers, pieces: Mapping[str, Numbers]) -> tuple[str, str, str, float] | None:
    """The two pieces that make a whole, and how; None if no two do."""
    for (first, x), (second, y) in product(pieces.items(), repeat=2):
        if first == second or x.value.shape != y.value.shape:
            continue
        if len(whole.value.shape) > 1 and whole.value.shape[0] == 2 and whole.value.size == 2 * x.value.size:
            rows = [Numbers(row.reshape(x.value.shape).astype(whole.dtype)) for row in whole.value]
            near = [relation(row, piece) for row, piece in zip(rows, (x, y), strict=True)]
            if all(each.kind in ("same", "rounded", "near", "rearranged") for each in near):
                told = " and ".join(dict.fromkeys(each.words for each in near))
                return first, second, f"stack of the two: {told}", max(each.error for each in near)
        if whole.value.size == x.value.size:
            total = Numbers((x.value + y.value).astype(x.dtype))
            near_sum = relation(whole, total)
            if near_sum.kind in ("same", "rounded", "near", "rearranged"):
                return first, second, f"sum of the two: {near_sum.words}", near_sum.error
    return None


def _beside(ours: Mapping[str, Numbers], theirs: Mapping[str, Numbers], rows: list[Row]) -> list[Row]:
    """What has no partner, beside what is of its shape, most alike by name; else alone."""
    left_a = [name for name in ours if not any(_holds(row.a, name) for row in rows)]
    left_b = [name for name in theirs if not any(_holds(row.b, name) for row in rows)]
    found = []
    for name in left_a:
        shape = ours[name].value.shape
        fitting = [other for other in left_b if theirs[other].value.shape == shape]
        if fitting:
            other = max(fitting, key=lambda candidate: _likeness(name, candidate))
            left_b.remove(other)
            found.append(Row(name, other, *relation(ours[name], theirs[other])))
        else:
            found.append(Row(name, "", "missing", f"A alone has it, shape {shape}", float("nan")))
    found += [
        Row("", name, "missing", f"B alone has it, shape {theirs[name].value.shape}", float("nan")) for name in left_b
    ]
    return found


def _holds(cell: str, name: str) -> bool:
    return cell == name or name in cell.split(" + ")


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()
