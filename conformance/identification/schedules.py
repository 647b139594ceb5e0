"""Which schedule: the catalogue's against the rates of a target, step after step, also one step early or late."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from conformance.identification.answer import Answer, Named, builtins_of
from conformance.identification.elementary import rounded
from conformance.identification.exercises import Array
from conformance.identification.fitting import Form, Manner
from conformance.identification.process import Declined, Questioned
from conformance.identification.searching import Match, best, closest, nearest, solved, tidy
from reference_numpy.schedules import SCHEDULES

STEPS = 240  # that are looked at
MOST_JUMPS = 12  # of a piecewise constant rate
SHIFTS = {0: "", 1: "one step early: its first rate is the catalogue's second", -1: "one step late"}
UNIT = "whether a step is a batch or an epoch is said where it is used"


class Rates:
    """The model: the rate at each step from ``first`` on."""

    def __init__(self, first: int, steps: int) -> None:
        self.steps = range(first, first + steps)

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """``(steps,)``. Raises ValueError for a number that is not allowed."""
        keywords = form.keywords(manner.numbers(numbers))
        rate = SCHEDULES[form.name](keywords.pop("learning_rate"), **keywords)
        return np.array([rate(max(t, 0)) for t in self.steps])

    def scale(self, predicted: Array) -> Array:
        """The largest rate."""
        return np.full_like(predicted, np.abs(predicted).max(initial=0.0))


def forms(rates: Array, said: Mapping[str, Any]) -> Iterator[Form]:
    """The schedules without a warm-up that rates can be of; whole numbers are read off them, or said by the target."""
    first = _clean(float(rates[0]) or float(np.abs(rates).max(initial=0.0)))
    jumps = [int(t) for t in np.flatnonzero(np.diff(rates) != 0) + 1]
    yield Form("constant", {}, {"learning_rate": first})
    for name, number, start in (("inverse_time", "decay_rate", 0.1), ("exponential", "base", 0.95)):
        yield Form(name, {}, {"learning_rate": first, number: start})
    yield Form("inverse_sqrt", {}, {"learning_rate": first})
    if jumps and rates[0] and len(jumps) < len(rates) / 2:
        yield Form(
            "staircase", {"every": jumps[0]}, {"learning_rate": first, "factor": _clean(float(rates[jumps[0]]) / first)}
        )
        if len(jumps) <= MOST_JUMPS:
            factors = tuple(float(f"{rates[t] / first:.6g}") for t in jumps)
            yield Form("piecewise", {"boundaries": tuple(jumps), "factors": factors}, {"learning_rate": first})
    ends = {jumps[-1] if jumps else 0, *(n for n in said.values() if isinstance(n, int) and not isinstance(n, bool))}
    for steps in sorted(end for end in ends | {end + 1 for end in ends} | {end - 1 for end in ends} if end > 1):
        final = min(abs(float(rates[-1]) / first), 1.0)
        for numbers in ({}, {"final": final}) if 0 < final < 1 else ({},):
            yield Form("cosine", {"steps": steps}, {"learning_rate": first, **numbers})


def _clean(value: float) -> float:
    """A rate without what rounding left in its last digits."""
    short: float = tidy(value)
    return float(f"{value:.12g}") if short == value else short


def _warmed_up(rates: Array, said: Mapping[str, Any], dtype: str) -> Iterator[Form]:
    """Warm-ups: as long as the rate rises in a straight line, then whatever the rest is."""
    rises = np.diff(rates)
    if not rises[0] > 0:
        return
    steps = int(np.argmax(np.abs(rises - rises[0]) > 1e-6 * abs(rises[0])))
    for length in {steps, steps + 1} - {0}:
        peak = _clean(float(rates[0] + length * rises[0]))
        start = {"start": _clean(float(rates[0]) / peak)} if rates[0] else {}
        others = {name: n - length if isinstance(n, int) else n for name, n in said.items()}
        for match in _matches(
            rates[length:], {**said, **{f"{name} less {length}": n for name, n in others.items()}}, dtype
        )[:1]:
            options = {n: v for n, v in match.form.keywords(match.numbers).items() if n != "learning_rate"}
            after = {"after": match.form.name} | ({"after_options": options} if options else {})
            yield Form("warmup", {"steps": length, **after}, {"learning_rate": peak, **start})


def _matches(rates: Array, said: Mapping[str, Any], dtype: str) -> list[Match]:
    """The schedules without a warm-up that make the rates."""
    return best(_fitted(Rates(0, len(rates)), list(forms(rates, said)), rates, dtype))


def _fitted(model: Rates, candidates: list[Form], rates: Array, dtype: str) -> list[Match]:
    plain = [closest(model, form, form.numbers, rates, dtype) for form in candidates]
    if best(plain):
        return plain
    weights = np.full(len(rates), 1 / max(float(np.abs(rates).max()), 1e-300))
    return plain + list(solved(model, model, candidates, rates, weights, dtype))


def identify(asked: Questioned) -> Answer:
    """The answer for a schedule. Raises Incomplete where its process ends."""
    try:
        seen = asked.ask("schedule", {"steps": np.arange(STEPS)})["value"]
    except Declined as error:
        return Answer(asked.target, asked.kind, None, reason=f"it makes no rates: {error}")
    dtype = "float32" if seen.dtype == np.float32 else "float64"
    rates = seen.astype(np.float64)
    if not np.isfinite(rates).all() or (rates < 0).any():
        return Answer(asked.target, asked.kind, None, reason="its rates are not all finite and positive")
    matches: list[Match] = []
    lowest = int(rates.argmin())
    for shift, remark in SHIFTS.items():
        candidates = [*forms(rates, asked.numbers), *_warmed_up(rates, asked.numbers, dtype)]
        found = _fitted(Rates(shift, STEPS), candidates, rates, dtype)
        if best(found):
            return _answer(asked, best(found), dtype, (remark,) if remark else ())
        matches += found
    if 1 < lowest < STEPS - 1 and rates[-1] > rates[lowest]:
        said = {**asked.numbers, "lowest": lowest}
        found = _fitted(Rates(0, lowest + 1), list(forms(rates[: lowest + 1], said)), rates[: lowest + 1], dtype)
        if best(found):
            return _answer(asked, best(found), dtype, (f"until step {lowest}; then it rises again",))
    return _nearest(asked, matches, rates)


def _answer(asked: Questioned, found: list[Match], dtype: str, notes: tuple[str, ...]) -> Answer:
    first, *others = [_named(match) for match in found]
    single = ("rates",) if dtype == "float32" else ()
    plain = Named(first.name, {n: x for n, x in first.keywords.items() if n != "learning_rate"})
    return Answer(
        asked.target, asked.kind, first, {dtype: found[0].fit.digits}, (*rounded(found[0]), *single),
        tuple(others), builtins_of(asked.kind, plain),
        notes=(*notes, UNIT),
    )  # fmt: skip


def _nearest(asked: Questioned, matches: list[Match], rates: Array) -> Answer:
    """None known; up to which step the nearest is the same."""
    near = nearest(matches)
    if near is None:
        return Answer(asked.target, asked.kind, None)
    made = Rates(0, STEPS).predict(near.form, near.numbers, Manner())
    apart = np.flatnonzero(np.abs(made - rates) > 1e-6 * np.abs(rates).max())
    note = f"the nearest leaves it at step {int(apart[0])}" if apart.size and apart[0] > 1 else ""
    return Answer(
        asked.target, asked.kind, None, nearest=_named(near), distance=near.fit.apart, notes=(note,) if note else ()
    )


def _named(match: Match) -> Named:
    return Named(match.form.name, match.form.keywords(match.numbers))
