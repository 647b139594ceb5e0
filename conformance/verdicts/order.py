"""What comes first: the order of checks and stages, and which of many comparisons tells most."""

from collections.abc import Iterable

from conformance.checks import CHECKS
from conformance.checks.observation import STAGES
from conformance.verdicts.compare import NEUTRAL, NOT_FAILING, Comparison

LADDER = tuple(CHECKS)  # from the smallest question to the largest


def place(check: str, step: int, stage: str) -> tuple[int, int, int]:
    """Where something stands: by its check, then its step, then its stage ("" before all)."""
    return LADDER.index(check), step, STAGES.index(stage) if stage in STAGES else -1


def first_failing(comparisons: Iterable[Comparison]) -> Comparison | None:
    """Of one check's comparisons that do not pass, the first by step and stage; None if all pass."""
    failing = [comparison for comparison in comparisons if comparison.verdict not in NOT_FAILING]
    return min(failing, key=lambda found: (found.step, ("", *STAGES).index(found.key.stage)), default=None)


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
