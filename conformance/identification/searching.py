"""The search: with the numbers that a target says of itself, else with numbers that are solved for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from conformance.identification.exercises import Array
from conformance.identification.fitting import (
    POWERS,
    Fit,
    Form,
    Manner,
    Model,
    Numbers,
    nearness,
    solve,
    subsets,
    written,
)

PROMISING = 1e-3  # what is left, as a share, of a solution that is looked at closely
FIRST_STEPS, STEPS = 4, 40  # of a solution, in the first round and in the second
FOLLOWED = 16  # formulations in the second round
LOOKED_AT = 8  # solutions
MANY = 0.25  # of the numbers that are compared
OTHER_START = {"beta": 0.6, "beta1": 0.6, "beta2": 0.9, "rho": 0.6, "momentum": 0.6, "epsilon": 1e-4}


class Match(NamedTuple):
    """A formulation with its numbers, how near it is, and in what manner: what is rounded to float32 in it.

    ``coarse``: it is the same but for scalars that are rounded to float32 and are no number of it.
    """

    form: Form
    numbers: Numbers
    fit: Fit
    manner: Manner
    coarse: bool = False

    @property
    def same(self) -> bool:
        return self.fit.same


def closest(model: Model, form: Form, numbers: Mapping[str, float], observed: Array, dtype: str) -> Match:
    """A formulation with these numbers, in that manner of rounding which makes it the same, or nearest."""
    plain = Manner(dtype)
    fit = nearness(model, form, numbers, observed, plain)
    best = Match(form, dict(numbers), fit, plain)
    if fit.same or fit.digits < 4 or dtype != "float64":
        return best
    manners = [Manner(dtype, rounded) for rounded in subsets(_roundable(form, numbers)) if rounded]
    fits = [(nearness(model, form, numbers, observed, manner), manner) for manner in manners]
    for found, manner in fits:
        if found.same:
            return Match(form, dict(numbers), found, manner)
    if fit.spread < MANY:  # a number that is rounded shows everywhere
        return best
    coarse = nearness(model, form, numbers, observed, plain, coarse=True)
    return Match(form, dict(numbers), coarse, plain, coarse=True) if coarse.same else best


def _roundable(form: Form, numbers: Mapping[str, float]) -> list[str]:
    """The numbers that float32 changes, and the betas in the corrections."""
    changed = [name for name, value in numbers.items() if float(np.float32(value)) != value]
    return changed + ([POWERS] if any(name.startswith("beta") for name in changed) else [])


def solved(
    model: Model, beginning: Model, forms: Sequence[Form], observed: Array, weights: Array, dtype: str
) -> Iterator[Match]:
    """Formulations with numbers that are solved for on the ``beginning`` of an exercise, the most promising alone."""
    few = observed[: len(weights)]
    left: list[tuple[float, int, Numbers]] = []
    for place, form in enumerate(forms):
        start = next(_starts(beginning, form, few, weights))
        numbers, rest = solve(beginning, form, start, few, weights, FIRST_STEPS)
        left.append((rest, place, numbers))
    left.sort(key=lambda item: item[:2])
    further: list[tuple[float, int, Numbers]] = []
    for _, place, reached in left[:FOLLOWED]:
        _, other = _starts(beginning, forms[place], few, weights)
        tried = [solve(beginning, forms[place], start, few, weights, STEPS) for start in (reached, other)]
        numbers, rest = min(tried, key=lambda found: found[1])
        further.append((rest, place, numbers))
    further.sort(key=lambda item: item[:2])
    for rest, place, numbers in further[:LOOKED_AT]:
        if rest < PROMISING:
            yield from _as_written(model, forms[place], numbers, observed, dtype)
        else:
            yield Match(
                forms[place], numbers, nearness(model, forms[place], numbers, observed, Manner(dtype)), Manner(dtype)
            )


def _starts(model: Model, form: Form, observed: Array, weights: Array) -> Iterator[Numbers]:
    """Where to begin: the usual numbers and others, with the rate that makes steps of the right size."""
    usual = dict(form.numbers)
    for start in (usual, {name: OTHER_START.get(name, value) for name, value in usual.items()}):
        if "learning_rate" in start:
            with np.errstate(all="ignore"):
                made = model.predict(form, start, Manner())
                ratios = (observed[0] / made[0])[(weights[0] > 0) & (made[0] != 0)]
            sound = ratios[np.isfinite(ratios) & (ratios > 0)]
            start = start | {"learning_rate": start["learning_rate"] * float(np.median(sound))} if sound.size else start
        yield start


def _as_written(model: Model, form: Form, numbers: Numbers, observed: Array, dtype: str) -> Iterator[Match]:
    """The solution with the fewest digits with which it is the same; as it was solved, if with none."""
    coarse: Match | None = None
    for short in (*written(numbers), numbers):
        found = closest(model, form, short, observed, dtype)
        if found.same and not found.coarse:
            yield found
            return
        coarse = coarse or (found if found.same else None)
    yield coarse or Match(form, numbers, nearness(model, form, numbers, observed, Manner(dtype)), Manner(dtype))


def best(matches: Iterable[Match]) -> list[Match]:
    """Those that are the same, the plainest first; those to the last digit alone, if there are any."""
    same = [match for match in matches if match.same]
    exact = [match for match in same if not match.coarse]
    return sorted(exact or same, key=lambda match: len(match.manner.rounded))


def nearest(matches: Iterable[Match]) -> Match | None:
    """The match that is the least apart on average."""
    return min(matches, key=lambda match: match.fit.apart, default=None)


def tidy(value: Any) -> Any:
    """A number that was rounded to float32 as it was before.

    >>> tidy(0.0010000000474974513), tidy(0.001), tidy(1.5)
    (0.001, 0.001, 1.5)
    """
    if not isinstance(value, float) or float(np.float32(value)) != value:
        return value
    return next((short for d in range(9) if np.float32(short := float(f"{value:.{d}e}")) == value), value)
