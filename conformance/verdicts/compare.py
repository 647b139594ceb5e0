"""How far an observation is from the oracle, and what verdict that gives.

The error of a tensor is scale-free, ``max |observed - oracle| / max |oracle|``; of one that is 0 in mathematics it is
relative to the terms that cancel in it (``conformance/verdicts/cancelled.py``). Where the oracle is exactly zero
everywhere else, the error is 0 for exact zeros and infinite for anything else. A curve has one error a step. A decision
(a vector of predicted classes) has as its error the largest margin, relative to the largest of all margins, by which
the oracle made a decision that was observed to be another: 0 when all agree, tiny when only a coin's toss fell
differently. A sample, a number that is made of random draws, has none within the range that chance allows it, and else
its distance from there.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.checks.observation import Key, Lost, Observation
from conformance.verdicts.ranges import Outcome, Outcomes, fitted, is_beyond
from conformance.verdicts.ranges import outcomes as outcomes_of

Errors = NDArray[np.float64]

# From noise floor to allowance: the same for every check, recipe, tensor, device and dtype. The floor is the largest
# error of a handful of re-rounded runs of the reference, so a sample: the factor covers an implementation that
# rounds less luckily than all of them, and the few units of roundoff cover tensors on which all of them happened to
# round alike.
FLOOR_FACTOR = 8.0
ROUNDOFFS = 16.0


class Verdict(StrEnum):
    """What a record concludes. Those of ``NOT_FAILING`` are not counted against a run."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    DIVERGED = "diverged"
    FAIL = "fail"
    MISSING = "missing"
    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMEOUT = "timeout"


NEUTRAL = (Verdict.UNSUPPORTED, Verdict.INCONCLUSIVE, Verdict.DIVERGED)  # neither for nor against; the first says least
NOT_FAILING = (Verdict.PASS, *NEUTRAL)


@dataclass(frozen=True)
class Expectation:
    """The oracle's value with its noise floor: one number, or one a step for a curve.

    ``events`` tells, by step, why rounding alone may have sent this implementation the other way at a switch.
    Where the reference leaves the range of the working precision there is no floor, and it is NaN: ``overflown`` is the
    share of the re-rounded runs that do, less than 1 where nobody else need do as they do (see ``ranges.doubted``).
    """

    observation: Observation
    floor: Errors
    events: Mapping[int, str]
    unit_roundoff: float
    dtype: np.dtype[Any]
    overflown: Errors = field(default_factory=lambda: np.zeros(1))

    @property
    def allowance(self) -> Errors:
        """How large an error may be: a fixed multiple of the noise floor plus a few units of roundoff."""
        return FLOOR_FACTOR * self.floor + ROUNDOFFS * self.unit_roundoff

    @property
    def limit(self) -> float:
        """The floor above which agreement would mean nothing, since more than half of the digits are noise.

        A statistic has few digits; it means nothing when even zeros would be within its allowance.
        """
        return limit_of(self.observation.key.kind, self.unit_roundoff)


def limit_of(kind: str, unit_roundoff: float) -> float:
    """The floor above which agreement would mean nothing, of a kind of observation; see :class:`Expectation`."""
    return 1 / FLOOR_FACTOR if kind == "statistic" else float(np.sqrt(unit_roundoff))


class Comparison(NamedTuple):
    """One comparison's outcome: everything a record says but the names of what was compared.

    ``ulps``: the difference at the worst element, in units in the last place of the oracle's value there, in the
    working precision; NaN for decisions and samples.
    """

    key: Key
    step: int
    error: float
    ulps: float
    floor: float
    allowance: float
    verdict: Verdict
    cause: str


class Ceiling(NamedTuple):
    """The fault that would move a tensor least, of those that its check must catch by this tensor.

    ``ratio``: by how many allowances it moves the tensor, at the step where it moves it most. Below 1 the fault would
    not be seen.
    """

    ratio: float
    fault: str


NO_CEILING = Ceiling(float("nan"), "")


def under_ceiling(comparison: Comparison, ceiling: Ceiling) -> Comparison:
    """The comparison, which concludes nothing if it passed but would have passed with the ceiling's fault in it too."""
    if comparison.verdict != Verdict.PASS or not ceiling.ratio < 1:
        return comparison
    reason = (
        f"the fault {ceiling.fault!r} would move {comparison.key.tensor} by {ceiling.ratio:.2g} of its allowance, and"
        " no other tensor of this check by more"
    )
    return comparison._replace(verdict=Verdict.INCONCLUSIVE, cause=reason)


def measure_errors(observed: Observation, oracle: Observation) -> Errors:
    """The error of an observation of the same key and shape: shape ``(1,)``, or ``(steps,)`` for a curve."""
    expected = np.asarray(oracle.value, np.float64)
    if oracle.key.kind == "decision":
        assert oracle.margins is not None
        flipped = np.asarray(observed.value) != np.asarray(oracle.value)
        return _relative(np.where(flipped, oracle.margins, 0.0).max(initial=0.0), np.max(oracle.margins, initial=0.0))
    if oracle.key.kind == "sample":
        assert oracle.margins is not None
        low, high = oracle.margins
        return np.asarray(np.maximum(0.0, np.maximum(low - observed.value, observed.value - high)))
    with np.errstate(invalid="ignore", over="ignore"):  # of what is not finite
        difference = np.abs(np.asarray(observed.value, np.float64) - expected)
    if oracle.key.kind == "curve":
        return _relative(difference, np.abs(expected))
    # Below the smallest normal number of a precision, frameworks and processors may round to zero, and some do.
    largest = float(difference.max(initial=0.0))
    if largest < np.finfo(observed.value.dtype).tiny:
        largest = 0.0
    return _ratio(largest, oracle.scale or float(np.abs(expected).max(initial=0.0)))


def measure_noise(observed: Observation, oracle: Observation) -> Errors:
    """How far a re-rounded run of the reference lies from the oracle; for a decision, how far its margins moved."""
    if oracle.key.kind != "decision":
        return measure_errors(observed, oracle)
    assert oracle.margins is not None
    assert observed.margins is not None
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.abs(np.asarray(observed.margins, np.float64) - oracle.margins)
    return _relative(moved.max(initial=0.0), np.max(oracle.margins, initial=0.0))


def compare(
    observations: Iterable[Observation], expectations: Iterable[Expectation], lost: Iterable[Lost] = ()
) -> Iterator[Comparison]:
    """One comparison for each expectation, one for each observation that nobody expects, and the lost parts' errors.

    What is not seen because a part of the check was ``lost`` is judged as that was. An exception that left nothing
    unseen has a comparison of its own.
    """
    observed = {observation.key: observation for observation in observations}
    parts, told = _Parts(lost), set[str]()
    for expectation in expectations:
        key = expectation.observation.key
        found = observed.pop(key, None)
        comparison = _without(expectation, parts.covering(key)) if found is None else _judge(found, expectation)
        told.add(comparison.cause)
        yield comparison
    for key in observed:
        yield verdict_alone(key, Verdict.FAIL, f"{key.tensor} is not one of the oracle's tensors")
    for part in parts.failing():
        if not any(part.reason in cause for cause in told):
            told.add(part.reason)
            yield verdict_alone(Key("", 0, ""), Verdict(part.how), part.reason)


class _Parts:
    """The lost parts of a check, by their steps: a long training may have lost one at each."""

    def __init__(self, lost: Iterable[Lost]) -> None:
        self._lost = list(lost)
        self._by_step: dict[int | None, list[Lost]] = {}
        for part in self._lost:
            self._by_step.setdefault(part.step, []).append(part)

    def covering(self, key: Key) -> list[Lost]:
        """Those for which something may not have been seen."""
        near = (*self._by_step.get(key.step, ()), *self._by_step.get(None, ()))
        return [part for part in near if part.covers(key)]

    def failing(self) -> list[Lost]:
        """Those that were lost by a fault."""
        return [part for part in self._lost if part.how not in ("unsupported", "missing")]


def _without(expectation: Expectation, lost: list[Lost]) -> Comparison:
    """The comparison of what was not seen: as the worst of the parts for which it was not.

    A training that leaves the range may stop before it comes to what the oracle's makes.
    """
    key = expectation.observation.key
    for verdict in (Verdict.FAIL, Verdict.CRASHED, Verdict.UNSUPPORTED):
        reasons = dict.fromkeys(part.reason for part in lost if part.how == str(verdict))
        if reasons:
            return verdict_alone(key, verdict, "; ".join(reasons))
    if key.kind != "curve" and expectation.overflown.any() and not is_beyond(expectation.observation).any():
        certain = bool((expectation.overflown == 1).all())
        return _out_of_range(expectation, key.step, Outcome.TOGETHER if certain else Outcome.UNCERTAIN)
    told = "; ".join(dict.fromkeys(part.reason for part in lost if part.how == "missing"))
    return verdict_alone(key, Verdict.MISSING, told or f"{key.tensor} was not returned")


def _judge(observed: Observation, expectation: Expectation) -> Comparison:
    key = expectation.observation.key
    if key.kind == "curve" and expectation.overflown.any() and not observed.malformed:
        observed = fitted(observed, expectation.observation)
    if _is_of_other_length(observed, expectation.observation):
        return _judge_length(observed, expectation)
    problem = _malformed(observed, expectation)
    if problem:
        return verdict_alone(key, Verdict.FAIL, f"{key.tensor} {problem}")
    errors = measure_errors(observed, expectation.observation)
    outcomes = outcomes_of(observed, expectation.observation, expectation.overflown)
    allowance, floor = expectation.allowance, expectation.floor
    place = _most_telling(errors, allowance, floor, expectation.limit, outcomes)
    step = key.step_of(place)
    if outcomes[place] != Outcome.COMPARED:
        cause = _describe_range(observed, expectation, place) if outcomes[place] == Outcome.ALONE else ""
        return _out_of_range(expectation, step, outcomes[place], cause)
    verdict, cause = Verdict.PASS, ""
    if floor[place] > expectation.limit:
        verdict = Verdict.INCONCLUSIVE
        source = "chance" if key.kind == "statistic" else "rounding"
        cause = f"{source} alone moves {key.tensor} by {floor[place]:.1e} (limit {expectation.limit:.1e})"
        cause += f": {expectation.events[step]}" if step in expectation.events else ""
    elif not errors[place] <= allowance[place]:
        verdict, cause = Verdict.FAIL, _describe(observed, expectation.observation, place)
        if step in expectation.events:
            verdict, cause = Verdict.INCONCLUSIVE, f"{expectation.events[step]}; {cause}"
    elif key.kind == "decision" and errors[place] > 0:
        cause = f"{_describe(observed, expectation.observation, place)}, all within rounding of the other decision"
    return Comparison(
        key, step, float(errors[place]), _ulps(observed, expectation, place), float(floor[place]),
        float(allowance[place]), verdict, cause,
    )  # fmt: skip


def _is_of_other_length(observed: Observation, oracle: Observation) -> bool:
    """Whether a curve has another number of values than the oracle's."""
    sizes = np.shape(observed.value), np.shape(oracle.value)
    return oracle.key.kind == "curve" and not observed.malformed and len(sizes[0]) == 1 and sizes[0] != sizes[1]


def _judge_length(observed: Observation, expectation: Expectation) -> Comparison:
    """The comparison of a curve that ended elsewhere: as far as both go, then at the first step that only one has."""
    oracle = expectation.observation
    key, found, expected = oracle.key, np.size(observed.value), np.size(oracle.value)
    common = min(found, expected)
    ended = f"{key.tensor} ended after {key.unit} {found}, expected {expected}: its shape must be ({expected},)"
    if common:
        shorter = replace(
            expectation, observation=oracle._replace(value=oracle.value[:common]), floor=expectation.floor[:common],
            overflown=expectation.overflown[:common],
        )  # fmt: skip
        comparison = _judge(observed._replace(value=observed.value[:common]), shorter)
        if comparison.verdict == Verdict.FAIL:
            return comparison._replace(cause="; ".join(filter(None, (comparison.cause, ended))))
    return verdict_alone(key, Verdict.FAIL, ended)._replace(step=key.step_of(common))


def _out_of_range(expectation: Expectation, step: int, outcome: Outcome | np.int64, cause: str = "") -> Comparison:
    """The comparison of what has no error, since it is not finite, the oracle is not, or nobody knows."""
    key, verdict = expectation.observation.key, Verdict.FAIL
    if outcome == Outcome.TOGETHER:
        verdict, cause = Verdict.DIVERGED, f"{key.tensor} diverges in the reference from step {step}"
    elif outcome == Outcome.UNCERTAIN:
        verdict = Verdict.INCONCLUSIVE
        cause = f"whether {key.tensor} must be finite in {expectation.dtype} here is not known"
    return verdict_alone(key, verdict, cause)._replace(step=step)


def _most_telling(errors: Errors, allowance: Errors, floor: Errors, limit: float, outcomes: Outcomes) -> int:
    """The first failing step; without one, the first that says nothing; without one, the one nearest its allowance."""
    if errors.size == 1:
        return 0
    compared = outcomes == Outcome.COMPARED
    failing = ~(errors <= allowance) & (floor <= limit) & compared
    silent = (floor > limit) & compared
    for steps in (
        failing | (outcomes == Outcome.ALONE),
        silent | (outcomes == Outcome.UNCERTAIN),
        outcomes == Outcome.TOGETHER,
    ):
        if steps.any():
            return int(np.argmax(steps))
    return int(np.argmax(errors / allowance))


def _malformed(observed: Observation, expectation: Expectation) -> str:
    """What is wrong with a value before it is compared, or nothing. NaN equals nothing.

    Tensors and statistics must have the working precision; curves are numbers of the host, in whatever precision it
    keeps them.
    """
    kind, value = observed.key.kind, np.asarray(observed.value)
    expected = np.asarray(expectation.observation.value)
    if observed.malformed:
        return f"{observed.malformed}: must be {_must_be(observed, expectation)}"
    if value.shape != expected.shape:
        return f"has shape {value.shape}: must be {expected.shape}"
    if kind in ("tensor", "statistic") and value.dtype != expectation.dtype:
        return f"has dtype {value.dtype}: must be {expectation.dtype}"
    if kind == "decision" and not np.issubdtype(value.dtype, np.integer):
        return f"has dtype {value.dtype}: must be integers"
    return ""


def _must_be(observed: Observation, expectation: Expectation) -> str:
    """What should stand where no array of numbers does."""
    kind, shape = expectation.observation.key.kind, np.shape(expectation.observation.value)
    numbers = {"decision": "integers", "curve": "real numbers", "sample": "real numbers"}.get(
        kind, str(expectation.dtype)
    )
    found = observed.malformed.startswith("has dtype")
    return numbers if found else f"an array of {numbers} of shape {shape}"


def worst_element(observed: Observation, oracle: Observation, place: int = 0) -> tuple[int, ...]:
    """The index of the element that differs most; of a curve, the step ``place``."""
    if oracle.key.kind == "curve":
        return (place,)
    difference = np.abs(np.asarray(observed.value, np.float64) - np.asarray(oracle.value, np.float64))
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), difference.shape))


def _describe_range(observed: Observation, expectation: Expectation, place: int) -> str:
    """Which value left the range where the oracle's did not, or the other way round."""
    value, expected = np.asarray(observed.value), np.asarray(expectation.observation.value)
    beyond, here = ~np.isfinite(expected), ~np.isfinite(value)
    wrong = beyond & ~here if beyond.any() and expectation.observation.key.kind != "curve" else beyond ^ here
    index = (place,) if expectation.observation.key.kind == "curve" else tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{observed.key.tensor} is {value[index]} at {index}, the oracle {expected[index]}"


def _describe(observed: Observation, oracle: Observation, place: int) -> str:
    value, expected = np.asarray(observed.value), np.asarray(oracle.value)
    if oracle.key.kind == "decision":
        return f"{oracle.key.tensor}: {int((value != expected).sum())} of {value.size} decisions differ"
    if oracle.key.kind == "sample":
        low, high = oracle.margins if oracle.margins is not None else (np.nan, np.nan)
        return f"{oracle.key.tensor}: {value[0]:.9g}, and chance allows {low:.9g} to {high:.9g}"
    index = worst_element(observed, oracle, place)
    return f"{oracle.key.tensor}{list(index) if index else ''} is {value[index]:.9g}, the oracle {expected[index]:.9g}"


def _ulps(observed: Observation, expectation: Expectation, place: int) -> float:
    oracle = expectation.observation
    if oracle.key.kind in ("decision", "sample") or np.size(oracle.value) == 0:
        return float("nan")
    index = worst_element(observed, oracle, place)
    expected = float(np.asarray(oracle.value)[index])
    unit = np.spacing(np.abs(np.asarray(expected, expectation.dtype)))
    return abs(float(np.asarray(observed.value)[index]) - expected) / float(unit)


def verdict_alone(key: Key, verdict: Verdict, cause: str) -> Comparison:
    """A comparison that has no numbers."""
    nan = float("nan")
    return Comparison(key, key.step, nan, nan, nan, nan, verdict, cause)


def _ratio(difference: float, scale: float) -> Errors:
    """The same as :func:`_relative` for two numbers, which is what most errors are made of."""
    if difference == 0:
        return np.zeros(1)
    return np.array([difference / scale if scale else difference * np.inf])


def _relative(difference: Any, scale: Any) -> Errors:
    difference, scale = np.atleast_1d(np.asarray(difference)), np.atleast_1d(np.asarray(scale))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / scale)
