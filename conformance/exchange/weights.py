"""Weights against weights: which tensors of two files are the same, however they are named, turned or split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from conformance.data.files import DataError
from conformance.exchange.arrangements import Kind
from conformance.exchange.cutting import in_blocks
from conformance.exchange.files import read_tensors
from conformance.exchange.fingerprints import Numbers
from conformance.exchange.leftover import NOTHING, repeated, without_partner
from conformance.exchange.matching import array_of, left_of, matched
from conformance.exchange.packing import WAYS, not_looked_for, packed
from conformance.exchange.trace import file_of
from conformance.problems.tensors import Array, Tensors
from conformance.verdicts.record import for_json

SAME, REARRANGED = ("same",), ("same", "rounded", "rearranged", "split", "repeated")


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
        """Whether every tensor is in the other in some arrangement, or rounded to another type.

        Of some it may not be possible to tell, but of one it must.
        """
        told = [row.kind in REARRANGED for row in self.rows if row.kind not in NOTHING]
        return bool(told) and all(told)

    @property
    def untold(self) -> bool:
        """Whether nothing can be said: every tensor is of one number throughout, in another shape."""
        return bool(self.rows) and all(row.kind in NOTHING for row in self.rows)

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
        alike = "the same numbers, arranged otherwise" if self.same_but_rearranged else "different"
        known = ", as far as it can be told" if any(row.kind == "untold" for row in self.rows) else ""
        return f"{'cannot be told' if self.untold else alike + known}: {told}"


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
    over is looked for in several tensors of the other set, laid behind one another or added; then put beside what has
    its shape. Cost grows with the count of all numbers, and with that of tensors times its logarithm.

    Args:
        a, b: arrays by name, in the order of their layers.
    """
    ours, theirs = ({name: Numbers(value) for name, value in tensors.items()} for tensors in (a, b))
    found = matched(ours, theirs)
    found += packed(*left_of(ours, theirs, found), WAYS)
    found += in_blocks(*left_of(ours, theirs, found))
    found += repeated(ours, theirs, found)
    left = left_of(ours, theirs, found)
    found += without_partner(*left, not_looked_for(*left))
    place = {name: number for number, name in enumerate(a)}
    found.sort(key=lambda match: min(place[array_of(name)] for name in match.a) if match.a else len(place))
    return WeightsComparison([Row(" + ".join(match.a), " + ".join(match.b), *match.relation) for match in found])
