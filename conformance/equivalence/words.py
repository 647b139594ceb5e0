"""A comparison of two dialects in words: for the command line and for a page alike."""

from collections.abc import Iterator

from conformance.data.wording import listed
from conformance.equivalence.compared import DialectsComparison, Held, Outcome
from conformance.equivalence.student import DIFFERENT, EQUIVALENT, LEVEL, MOST_SEEDS, Tested
from conformance.reports.page import number, number_of

SHORT = {
    EQUIVALENT: "equivalent: on this training it does not matter which of the two is taken",
    DIFFERENT: "different: on this training it matters which of the two is taken",
}
METHOD = (
    "Means and standard deviations over the seeds. Both dialects train from the same initial weights, batches and masks"
    " of each seed; difference is the mean of second - first over the seeds. Equivalent: the interval lies within the"
    " margin (two one-sided tests, each of level {level}); different: it lies beyond it; undecided: neither."
)


def conclusion(outcome: Outcome) -> str:
    """What came of a situation, in a line."""
    return f"{outcome.title}: {SHORT.get(outcome.verdict) or _undecided(outcome)}"


def _undecided(outcome: Outcome) -> str:
    tested = [held.tested for held in outcome.held if held.tested is not None and held.tested.further != 0]
    if not tested:
        return "undecided"
    count = f"undecided with {number_of(tested[0].pairs, 'seed')}"
    further = [each.further for each in tested]
    if None in further:
        return f"{count}: the difference is so near the margin that {MOST_SEEDS:,} would not do"
    most = max(each for each in further if each is not None)
    return f"{count}: {number_of(most, 'more')[:-1] if most != 1 else '1 more'} would do if they differ as these do"


def sentence(held: Held, found: DialectsComparison) -> str:
    """What came of a quantity, with the numbers."""
    first, second = found.names
    if held.tested is None:
        return f"{held.quantity}: {held.verdict}: {held.reason}"
    deviations = f"{found.asked.margin:g} standard deviation{'' if found.asked.margin == 1 else 's'} of {first}'s"
    if held.tested.mean == held.tested.deviation == 0:
        return f"{held.quantity}: equivalent: the same for every seed"
    margin = f"± {number(held.margin)} ({deviations} over the seeds)"
    numbers = f"{second} - {first} is {number(held.tested.mean)}, {_interval(held.tested)}"
    if held.verdict == EQUIVALENT:
        seen = "; a difference is there, but it is small beside that of two seeds" if held.tested.is_seen else ""
        return f"{held.quantity}: equivalent within {margin}: {numbers}{seen}"
    if held.verdict == DIFFERENT:
        return f"{held.quantity}: different by more than {margin}: {numbers}"
    return f"{held.quantity}: undecided whether within {margin}: {numbers}"


def _interval(tested: Tested) -> str:
    return f"{100 * (1 - 2 * LEVEL):.0f} % interval {number(tested.lower)} to {number(tested.upper)}"


def parting(outcome: Outcome) -> str:
    """From which step on the costs differ by more than rounding, in the seeds that were looked at."""
    seeds = listed([seed for seed, _ in outcome.apart])
    steps = [step for _, step in outcome.apart]
    if not any(steps):
        return f"the costs differ at no step by more than rounding (seeds {seeds})"
    told = listed([step or "none" for step in steps]).replace("'none'", "none")
    return f"first step at which the costs differ by more than rounding: {told} (seeds {seeds})"


def columns(found: DialectsComparison) -> list[str]:
    """The titles of the table of a situation."""
    return ["", *found.names]


def rows(outcome: Outcome) -> Iterator[list[str]]:
    """The table of a situation: of each quantity both means, with standard deviations."""
    for held in outcome.held:
        yield [held.quantity, *held.means]


def method() -> str:
    """How the verdicts are reached, in a few lines."""
    return METHOD.format(level=LEVEL)
