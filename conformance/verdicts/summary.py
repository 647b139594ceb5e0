"""What was seen is judged: from the comparisons of a check to its records, one for each tensor."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from conformance.checks.observation import STAGES, Seen
from conformance.verdicts.compare import (
    NO_CEILING,
    Ceiling,
    Comparison,
    Expectation,
    Verdict,
    compare,
    under_ceiling,
)
from conformance.verdicts.order import most_telling
from conformance.verdicts.record import Context, Record


@np.errstate(all="ignore")  # of values that are not finite
def judge(
    context: Context,
    seen: Seen,
    expectations: Sequence[Expectation],
    ceilings: Mapping[tuple[str, str], Ceiling],
    check: str,
    seconds: float,
) -> list[Record]:
    """The records of what a check saw; ``expectations`` and ``ceilings`` are those of this check."""
    comparisons = list(compare(seen.observations, expectations, seen.lost))
    if not comparisons and not seen.lost:  # a check that looks at other recipes
        return []
    if not seen.observations and {c.verdict for c in comparisons} <= {Verdict.UNSUPPORTED, Verdict.CRASHED}:
        verdict = Verdict.CRASHED if seen.crashed else Verdict.UNSUPPORTED
        cause = seen.crashed or "; ".join(seen.unsupported)
        return [context.without_comparison(check, verdict, cause, seconds)]
    return records_of(context, check, comparisons, ceilings, seconds)


def records_of(
    context: Context,
    check: str,
    comparisons: Iterable[Comparison],
    ceilings: Mapping[tuple[str, str], Ceiling],
    seconds: float,
) -> list[Record]:
    """One record for each tensor of a check, the most telling of its steps, in the order of stages."""
    by_tensor: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        by_tensor.setdefault((comparison.key.stage, comparison.key.tensor), []).append(comparison)
    chosen = [most_telling(steps) for steps in by_tensor.values()]
    chosen.sort(key=lambda comparison: ("", *STAGES).index(comparison.key.stage))
    records = []
    for comparison in chosen:
        ceiling = ceilings.get((comparison.key.stage, comparison.key.tensor), NO_CEILING)
        records.append(context.record(check, under_ceiling(comparison, ceiling), seconds / len(chosen), ceiling))
    return records
