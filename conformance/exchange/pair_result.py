"""What came of holding one side of a pair against the other, for people and for programs."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.exchange.weights import WeightsComparison
from conformance.verdicts.compare import NOT_FAILING, Comparison, Verdict
from conformance.verdicts.order import first_failing
from conformance.verdicts.record import for_json

if TYPE_CHECKING:
    import pandas as pd

NOT_KNOWN = (
    "Not known without a reference: whether both are wrong alike, which of the two is wrong, and which formulation of"
    " an optimizer or a loss either is."
)


@dataclass(frozen=True)
class PairResult:
    """What came of holding B against A.

    Attributes:
        a, b: their names; ``oracle`` is the one that the other was held against.
        comparisons: one for each tensor that both returned, in the order in which the oracle made them.
        causes: rearrangements that explain what differs.
        notes: what was done, and what is not known.
        weights: A's own weights beside B's, if both show them.
    """

    a: str
    b: str
    oracle: str
    comparisons: list[Comparison]
    causes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    weights: WeightsComparison | None = None

    @property
    def failed(self) -> list[Comparison]:
        """The comparisons that did not pass."""
        return [found for found in self.comparisons if found.verdict not in NOT_FAILING]

    @property
    def ok(self) -> bool:
        """Whether everything that both returned agrees."""
        return not self.failed

    @property
    def first(self) -> Comparison | None:
        """The first divergence: of what does not agree, what came into being first."""
        return first_failing(self.comparisons)

    @property
    def verdict(self) -> Verdict:
        """``pass``, or the verdict on what failed first; ``inconclusive`` if nothing passed."""
        if self.first is not None:
            return self.first.verdict
        passed = any(found.verdict == Verdict.PASS for found in self.comparisons)
        return Verdict.PASS if passed else Verdict.INCONCLUSIVE

    def rows(self) -> list[dict[str, Any]]:
        """A row for each comparison, of what JSON can hold."""
        return [
            for_json({
                "tensor": found.key.tensor, "step": found.step, "verdict": str(found.verdict), "error": found.error,
                "floor": found.floor, "allowance": found.allowance, "ulps": found.ulps, "cause": found.cause,
            }) for found in self.comparisons
        ]  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """All of it, of what JSON can hold."""
        return {
            "verdict": str(self.verdict), "oracle": self.oracle, "first": self.first and self.first.key.tensor,
            "causes": self.causes, "notes": self.notes, "rows": self.rows(),
            "weights": self.weights and self.weights.as_dict(),
        }  # fmt: skip

    def frame(self) -> "pd.DataFrame":
        """The rows as a data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def __str__(self) -> str:
        other = self.b if self.oracle == self.a else self.a
        counts = {v: sum(found.verdict == v for found in self.comparisons) for v in Verdict}
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        lines = [f"{str(self.verdict).upper()}: {other} held against {self.oracle}: {told or 'nothing'}"]
        if self.first is not None:
            lines.append(f"first divergence: {self.first.key.tensor}: {self.first.cause}")
        lines += [f"cause: {cause}" for cause in self.causes]
        return "\n".join([*lines, *self.notes])
