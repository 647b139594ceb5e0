"""What a comparison of two dialects came to: for each situation a verdict with its numbers, and the curves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from conformance.equivalence.asking import Asked, Situation
from conformance.equivalence.student import DIFFERENT, EQUIVALENT, UNDECIDED, Tested, equivalence
from conformance.equivalence.trainings import Pair, first_apart
from conformance.reports.page import number
from conformance.verdicts.record import for_json

COST, ACCURACY = "cost of the last epoch", "test accuracy (%)"


@dataclass(frozen=True)
class Held:
    """One quantity at the end of the trainings: of both dialects over the seeds, and the test of their differences.

    ``verdict`` is ``equivalent``, ``different`` or ``undecided``; ``tested`` is None where trainings diverged so that
    there is nothing to test, for ``reason``.
    """

    quantity: str
    first: tuple[float, ...]
    second: tuple[float, ...]
    margin: float
    tested: Tested | None
    verdict: str
    reason: str = ""

    @property
    def means(self) -> tuple[str, str]:
        """Of each dialect the mean over the seeds and the standard deviation; of those that diverged how many."""
        first, second = map(_mean, (self.first, self.second))
        return first, second


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    if len(known) < len(values):
        return f"{len(values) - len(known)} of {len(values)} diverge"
    return f"{number(float(np.mean(known)))} ± {number(float(np.std(known, ddof=1)), 2)}"


def hold(quantity: str, first: Sequence[float], second: Sequence[float], margin: float, least: float = 0.0) -> Held:
    """The differences of a quantity by seed held against a margin.

    Args:
        quantity: what it is.
        first: of the first dialect, by seed; what is not finite has diverged.
        second: of the second, by the same seeds.
        margin: in standard deviations of the first one's over the seeds.
        least: what the margin is at least.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    known = np.isfinite(one) & np.isfinite(other)
    width = max(margin * float(np.std(one[known], ddof=1)), least) if known.sum() > 1 else least
    values = tuple(map(float, one)), tuple(map(float, other))
    if (lost := _diverged(one, other)) is not None:
        return Held(quantity, *values, width, None, *lost)
    tested = equivalence((other - one)[known].tolist(), width)
    return Held(quantity, *values, width, tested, tested.verdict)


def _diverged(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> tuple[str, str] | None:
    """The verdict where trainings diverged, and why; None where those of both did of the same few seeds, or none."""
    lost = [~np.isfinite(each) for each in (one, other)]
    if (lost[0] != lost[1]).any():
        counts = " and ".join(f"{mask.sum()} of {len(one)}" for mask in lost)
        return DIFFERENT, f"{counts} trainings diverge"
    if len(one) - lost[0].sum() < 2:
        return UNDECIDED, "the trainings of both diverge"
    return None


@dataclass(frozen=True)
class Outcome:
    """What a situation came to.

    ``differing``: keywords of the optimizers that differ, with both values. ``apart``: of each seed that was looked at,
    the first step at which the costs differ by more than rounding, 0 for none.
    """

    title: str
    differing: tuple[tuple[str, str, str], ...]
    held: tuple[Held, ...]
    apart: tuple[tuple[int, int], ...]
    pairs: tuple[Pair, ...]

    @property
    def verdict(self) -> str:
        """``different`` if some quantity is, else ``undecided`` if one is, else ``equivalent``."""
        found = {held.verdict for held in self.held}
        return next(verdict for verdict in (DIFFERENT, UNDECIDED, EQUIVALENT) if verdict in found)


@dataclass(frozen=True)
class DialectsComparison:
    """Two dialects side by side on one training.

    Attributes:
        names: the two dialects.
        training: what was trained, in a line.
        asked: with which seeds, in which precision, by whom, within which margin.
        outcomes: one for each situation, that which was asked for first.
    """

    names: tuple[str, str]
    training: str
    asked: Asked
    outcomes: tuple[Outcome, ...]

    @property
    def verdict(self) -> str:
        """``equivalent``, ``different`` or ``undecided``: that of the first situation."""
        return self.outcomes[0].verdict

    @property
    def curves(self) -> pd.DataFrame:
        """The cost at each step: situation, dialect, seed, step, cost."""
        frames = [
            pd.DataFrame({"situation": outcome.title, "dialect": name, "seed": pair.seed,
                          "step": np.arange(1, len(own.costs) + 1), "cost": own.costs})
            for outcome in self.outcomes
            for pair in outcome.pairs
            for name, own in zip(self.names, (pair.first, pair.second), strict=True)
        ]  # fmt: skip
        return pd.concat(frames, ignore_index=True)

    @property
    def table(self) -> pd.DataFrame:
        """A row for each situation and quantity: means, the difference second - first, its interval, the margin."""
        rows = [{"situation": outcome.title, **_row(held)} for outcome in self.outcomes for held in outcome.held]
        return pd.DataFrame(rows)

    def as_dict(self) -> dict[str, Any]:
        """All of it but the curves as JSON has it; what is no number is null."""
        return {
            "dialects": list(self.names),
            "training": self.training,
            "recipe": self.asked.recipe.name,
            "implementation": self.asked.implementation,
            "dtype": self.asked.dtype,
            "seeds": list(self.asked.seeds),
            "margin": self.asked.margin,
            "verdict": self.verdict,
            "situations": [_as_dict(outcome) for outcome in self.outcomes],
        }

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        titles = " and ".join(map(escape, self.names))
        return f"<p>{titles}: {self.verdict}. {escape(self.training)}</p>{self.table.to_html(index=False, border=0)}"


def outcome_of(situation: Situation, pairs: Sequence[Pair], margin: float) -> Outcome:
    """What the pairs of trainings of a situation came to. An accuracy's margin is at least one test example."""
    sides = [[pair.first for pair in pairs], [pair.second for pair in pairs]]
    batches, least = pairs[0].batches, 100.0 / pairs[0].test_examples
    first, second = ([float(np.mean(own.costs[-batches:])) for own in side] for side in sides)
    held = [hold(COST, first, second, margin)]
    if situation.recipes[0].decides_classes:
        first, second = ([own.accuracy for own in side] for side in sides)
        held.append(hold(ACCURACY, first, second, margin, least))
    apart = tuple((pair.seed, first_apart(pair)) for pair in pairs if len(pair.rounding))
    return Outcome(situation.title, tuple(_differing(situation)), tuple(held), apart, tuple(pairs))


def _differing(situation: Situation) -> Iterator[tuple[str, str, str]]:
    """The keywords of the two optimizers that differ, and their names if these do."""
    one, other = ({"optimizer": each.optimizer.name, **each.optimizer.keywords} for each in situation.recipes)
    for name in one | other:
        first, second = (_word(table.get(name, "-")) for table in (one, other))
        if first != second:
            yield name, first, second


def _word(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


@np.errstate(all="ignore")  # of trainings that diverge
def _row(held: Held) -> dict[str, Any]:
    tested = held.tested
    return {
        "quantity": held.quantity,
        "first": float(np.mean(held.first)),
        "first_deviation": float(np.std(held.first, ddof=1)),
        "second": float(np.mean(held.second)),
        "second_deviation": float(np.std(held.second, ddof=1)),
        "difference": np.nan if tested is None else tested.mean,
        "lower": np.nan if tested is None else tested.lower,
        "upper": np.nan if tested is None else tested.upper,
        "margin": held.margin,
        "probability": np.nan if tested is None else tested.probability,
        "further_seeds": None if tested is None else tested.further,
        "verdict": held.verdict,
        "reason": held.reason,
    }


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    return {
        "situation": outcome.title,
        "verdict": outcome.verdict,
        "differing": [dict(zip(("keyword", "first", "second"), row, strict=True)) for row in outcome.differing],
        "quantities": [for_json(_row(held)) for held in outcome.held],
        "first_step_apart": [{"seed": seed, "step": step or None} for seed, step in outcome.apart],
    }
