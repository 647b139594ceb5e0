"""What comes first: the order of checks and stages, and which of many comparisons tells most."""

from collections.abc import Iterable

from conformance.checks import CHECKS
from conformance.checks.observation import rank
from conformance.verdicts.compare import NEUTRAL, NOT_FAILING, Comparison

LADDER = tuple(CHECKS)  # from the smallest question to the largest


def place(check: str, step: int, stage: str, tensor: str = "") -> tuple[int, int, float]:
    """Where something stands: by its check, then its step, then its rank within it (what has no stage before all)."""
    return LADDER.index(check), step, rank(stage, tensor)


def first_failing(comparisons: Iterable[Comparison]) -> Comparison | None:
    """Of one check's comparisons that do not pass, the first to have come into being; None if all pass."""
    failing = [comparison for comparison in comparisons if comparison.verdict not in NOT_FAILING]
    return min(failing, key=lambda found: (found.step, rank(found.key.stage, found.key.tensor)), default=None)


def most_telling(steps: Iterable[Comparison]) -> Comparison:
    """Of one tensor's comparisons the first that fails; else the first that tells nothing; else the nearest to failing.

    What tells nothing: what is not offered, what is inconclusive, and what leaves the range of the precision as the
    reference does.
    """
    ordered = sorted(steps, key=lambda comparison: comparison.step)
    for neutral in (None, *NEUTRAL):
        for comparison in ordered:
            if comparison.verdict == neutral or (neutral is None and comparison.verdict not in NOT_FAILING):
                return comparison
    return max(ordered, key=lambda comparison: comparison.error / comparison.allowance)
