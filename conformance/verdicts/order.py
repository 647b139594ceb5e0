"""What comes first: the order of checks and stages, and which of many comparisons tells most."""

from collections.abc import Iterable

from conformance.checks import CHECKS
from conformance.checks.observation import STAGES
from conformance.verdicts.compare import NOT_FAILING, Comparison, Verdict

LADDER = tuple(CHECKS)  # from the smallest question to the largest


def place(check: str, step: int, stage: str) -> tuple[int, int, int]:
    """Where something stands: by its check, then its step, then its stage ("" before all)."""
    return LADDER.index(check), step, STAGES.index(stage) if stage in STAGES else -1


def first_failing(comparisons: Iterable[Comparison]) -> Comparison | None:
    """Of one check's comparisons that do not pass, the first by step and stage; None if all pass."""
    failing = [comparison for comparison in comparisons if comparison.verdict not in NOT_FAILING]
    return min(failing, key=lambda found: (found.step, STAGES.index(found.key.stage)), default=None)


def most_telling(steps: Iterable[Comparison]) -> Comparison:
    """Of one tensor's comparisons the first that fails, else the first inconclusive, else the nearest to failing."""
    ordered = sorted(steps, key=lambda comparison: comparison.step)
    failing = (comparison for comparison in ordered if comparison.verdict not in NOT_FAILING)
    inconclusive = (comparison for comparison in ordered if comparison.verdict == Verdict.INCONCLUSIVE)
    nearest = max(ordered, key=lambda comparison: comparison.error / comparison.allowance)
    return next(failing, None) or next(inconclusive, nearest)
