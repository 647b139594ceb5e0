"""One side of a pair held against the other: the oracle, its floors measured from its own re-rounded runs, verdicts.

Nothing is known here but the two sides. That both are wrong alike, and which of them is wrong, cannot be told; the
result says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.checks.initialization import statistics
from conformance.checks.observation import Key, Observation
from conformance.data.randomness import keyed_generator
from conformance.data.wording import listed
from conformance.exchange.arrangements import relation
from conformance.exchange.fingerprints import Numbers
from conformance.exchange.hypotheses import MOST_TRIED, Hypothesis, hypotheses, inside
from conformance.exchange.pair_result import NOT_KNOWN, PairResult
from conformance.exchange.subjects import Subject, SubjectError
from conformance.exchange.weights import diff
from conformance.problems.tensors import Array, Tensors, cast_floats
from conformance.verdicts.compare import (
    NOT_FAILING,
    Comparison,
    Errors,
    Expectation,
    Verdict,
    compare,
    measure_errors,
    measure_noise,
    verdict_alone,
)
from conformance.verdicts.ranges import fitted, is_beyond, overflown

JITTERED = 4  # runs with inputs and weights moved by half a unit in the last place
STARTS = 8  # draws of initial weights that show what chance moves
NAMES_OF_CURVES = ("costs", "learning_rates", "gradient_norms")  # one value a step
STAGES_OF_STEPS = {
    "activation": "activation", "gradient": "gradient", "clipped": "clipped gradient", "slot": "optimizer state",
    "parameter": "parameter", "statistic": "running statistic",
}  # fmt: skip


@dataclass(frozen=True)
class _Given:
    """What a side is given: weights, or None for its own, and inputs."""

    weights: Tensors | None
    inputs: Tensors

    def in_dtype(self, dtype: np.dtype[Any]) -> "_Given":
        return _Given(self.weights and cast_floats(self.weights, dtype), cast_floats(self.inputs, dtype))

    def jittered(self, number: int, dtype: np.dtype[Any]) -> "_Given":
        """Every real number moved by up to half a unit in the last place of ``dtype``."""
        generator = keyed_generator(0, "jitter of a pair", number)
        half = float(np.finfo(dtype).eps) / 2

        def moved(value: Array) -> Array:
            if value.dtype.kind != "f":
                return value
            shares = (half * generator.uniform(-1.0, 1.0, value.shape)).astype(dtype)
            near: Array = value + value * shares
            return near

        weights = self.weights and {name: moved(value) for name, value in self.weights.items()}
        return _Given(weights, {name: moved(value) for name, value in self.inputs.items()})

    def in_order(self, rows: Array) -> "_Given":
        return _Given(self.weights, {name: value[rows] for name, value in self.inputs.items()})

    @property
    def examples(self) -> int:
        """The number of examples, if all inputs have the same along their first axis; else 0."""
        sizes = {value.shape[0] if value.ndim else 0 for value in self.inputs.values()}
        return sizes.pop() if len(sizes) == 1 else 0


def hold(
    oracle: Subject, other: Subject, names: tuple[str, str], inputs: Tensors, weights: Tensors | None,
    weights_of_other: Tensors | None, dtype: str,
) -> PairResult:  # fmt: skip
    """The one side held against the other on the same inputs.

    Args:
        oracle: the side that is taken for right; it is asked in float64 too.
        other: the side under test.
        names: of the two.
        inputs: the inputs by name; real numbers are rounded to ``dtype``.
        weights, weights_of_other: what each is given, None for its own.
        dtype: the precision under test.

    Raises SubjectError where the oracle fails, ValueError where they return nothing that goes by one name.
    """
    working = np.dtype(dtype)
    given = _Given(weights or _own_weights(oracle) or None, inputs).in_dtype(working)
    weights_of_other = weights if weights_of_other is None else weights_of_other
    theirs = _Given(weights_of_other or _own_weights(other) or None, inputs).in_dtype(working)
    expected, note = _expected(oracle, given, working)
    notes = [note]
    try:
        found = other.run(theirs.weights, theirs.inputs)
    except SubjectError as error:
        crashed = [verdict_alone(e.observation.key, Verdict.CRASHED, str(error)) for e in expected]
        return PairResult(*names, names[0], crashed, [], [*notes, NOT_KNOWN])
    common = [each for each in expected if each.observation.key.tensor in found]
    if not common:
        known = [each.observation.key.tensor for each in expected]
        raise ValueError(
            f"{names[1]} returned {listed(found)}, of which {names[0]} returned none: it has {listed(known)}"
        )
    notes += _uncompared(names, [each.observation.key.tensor for each in expected], list(found))
    comparisons = list(compare(_observations(found, common), common))
    causes = [] if all(c.verdict in NOT_FAILING for c in comparisons) else list(
        _causes(other, theirs, common, comparisons, found)
    )  # fmt: skip
    own = (_own_weights(oracle), _own_weights(other)) if weights is None else ({}, {})
    beside = diff(*own) if all(own) else None
    return PairResult(*names, names[0], comparisons, causes, [*notes, NOT_KNOWN], beside)


def hold_recorded(oracle: Tensors, other: Tensors, names: tuple[str, str]) -> PairResult:
    """What was recorded of both sides; none of them can be run again, so that no floor is known."""
    oracle, other = (_real(tensors, name) for tensors, name in zip((oracle, other), names, strict=True))
    expected = [_expectation(name, value, [value], value.dtype) for name, value in oracle.items()]
    common = [each for each in expected if each.observation.key.tensor in other]
    if not common:
        raise ValueError(f"{names[1]} holds {listed(other)}, of which {names[0]} holds none: it has {listed(oracle)}")
    found = list(compare(_observations(other, common), common))
    failing = [c.key.tensor for c in found if c.verdict not in NOT_FAILING]
    causes = [words for name in failing if (words := _layout(other[name], oracle[name], name))]
    told = [c if c.verdict != Verdict.FAIL else c._replace(verdict=Verdict.INCONCLUSIVE) for c in found]
    explained = [c if not causes else c._replace(verdict=v.verdict) for c, v in zip(told, found, strict=True)]
    note = (
        f"{names[0]} and {names[1]} are recorded and cannot be run again: how far rounding moves them is not known."
        " What is within a few units in the last place passes; of what is beyond nothing is concluded, but that the"
        " numbers are rearranged where they are."
    )
    notes = [note, *_uncompared(names, list(oracle), list(other)), NOT_KNOWN]
    return PairResult(*names, names[0], explained, causes, notes)


def _real(tensors: Tensors, side: str) -> Tensors:
    """Real numbers; integers as float64, in which they are what they are. Raises ValueError for what is no number."""
    for name, value in tensors.items():
        if value.dtype.kind not in "biuf":
            raise ValueError(f"{side}: {name}: values have type {value.dtype}; allowed: real numbers")
    return {name: value if value.dtype.kind == "f" else value.astype(np.float64) for name, value in tensors.items()}


def hold_starts(oracle: Subject, other: Subject, names: tuple[str, str]) -> PairResult:
    """The weights with which training begins, by their statistics: what chance moves is seen in further draws."""
    first = _statistics(oracle.start(0))
    draws = [_statistics(oracle.start(seed)) for seed in range(1, STARTS)]
    seen = _statistics(other.start(0))
    expected = []
    for key, value in first.items():
        observation = Observation(Key("initialization", 0, key, "statistic"), value)
        noise = [measure_noise(observation._replace(value=draw[key]), observation) for draw in draws if key in draw]
        floor = np.maximum.reduce(noise) if noise else np.zeros(1)
        expected.append(Expectation(observation, floor, {}, np.finfo(np.float64).eps / 2, np.dtype(np.float64)))
    common = [each for each in expected if each.observation.key.tensor in seen]
    if not common:
        raise ValueError(f"{names[1]} starts with {listed(seen)}, of which {names[0]} has none: it has {listed(first)}")
    observed = [each.observation._replace(value=seen[each.observation.key.tensor]) for each in common]
    notes = [
        f"{names[0]} drew its weights {STARTS} times: what chance moves is seen from that.",
        *_uncompared(names, list(first), list(seen)),
        NOT_KNOWN,
    ]
    return PairResult(*names, names[0], list(compare(observed, common)), [], notes)


def _expected(oracle: Subject, given: _Given, working: np.dtype[Any]) -> tuple[list[Expectation], str]:
    """What the oracle computes, with the floor that its own re-rounded runs leave."""
    plain = oracle.run(given.weights, given.inputs)
    exact, wider = _in_float64(oracle, given, plain)
    runs = [plain, *(oracle.run(*_parts(given.jittered(number, working))) for number in range(JITTERED))]
    if given.examples > 1:
        runs.append(_permuted(oracle, given, exact))
    expected = []
    for name, value in exact.items():
        others = [run[name] for run in runs if name in run and np.shape(run[name]) == value.shape]
        own = plain[name].dtype if name in plain else working
        expected.append(_expectation(name, value, others, own if own.kind != "f" else working))
    how = "in float64" if wider else f"in {working} alone: it could not be had in float64, so its own rounding is in it"
    return expected, (
        f"The oracle ran {how}; floors are of {len(runs)} runs of it in {working}: as it is, with inputs"
        f"{' and weights' if given.weights else ''} moved by half a unit in the last place"
        f"{', and with its examples in another order' if given.examples > 1 else ''}."
    )


def _parts(given: _Given) -> tuple[Tensors | None, Tensors]:
    return given.weights, given.inputs


def _in_float64(oracle: Subject, given: _Given, plain: Tensors) -> tuple[Tensors, bool]:
    """The oracle's run in float64, and whether it was one; else what it computes in the working precision."""
    try:
        exact = oracle.run(*_parts(given.in_dtype(np.dtype(np.float64))))
    except SubjectError:
        return plain, False
    real = [value.dtype for value in exact.values() if value.dtype.kind == "f"]
    wider = all(dtype == np.float64 for dtype in real) and exact.keys() >= plain.keys()
    return (exact, True) if wider else (plain, False)


def _permuted(oracle: Subject, given: _Given, exact: Tensors) -> Tensors:
    """A run with the examples in another order, put back in what has a row for each of them."""
    rows = keyed_generator(0, "examples of a pair").permutation(given.examples)
    back, found = np.argsort(rows), oracle.run(*_parts(given.in_order(rows)))
    restored = {}
    for name, value in found.items():
        expected = exact.get(name)
        if expected is None or value.shape != expected.shape:
            continue
        own = value.take(back, axis=0) if value.ndim and len(value) == given.examples else value
        apart = [float(np.abs(each.astype(np.float64) - expected).max(initial=0.0)) for each in (own, value)]
        limit = np.sqrt(np.finfo(value.dtype).eps / 2) if value.dtype.kind == "f" else 0.0
        if min(apart) <= limit * float(np.abs(expected).max(initial=0.0)):  # else the order means something to it
            restored[name] = own if apart[0] <= apart[1] else value
    return restored


def _expectation(name: str, value: Array, runs: Iterable[Array], dtype: np.dtype[Any]) -> Expectation:
    oracle = Observation(_key(name, value), value)
    fitting = [fitted(oracle._replace(value=run), oracle) for run in runs]
    shares = overflown(oracle, fitting)
    noise: Errors = np.maximum.reduce([measure_noise(run, oracle) for run in fitting])
    floor = np.where((shares > 0) | is_beyond(oracle), np.nan, noise)
    unit = float(np.finfo(dtype).eps) / 2 if dtype.kind == "f" else 0.0
    return Expectation(oracle, floor, {}, unit, dtype, shares)


def _key(name: str, value: Array) -> Key:
    """What is compared under a name: a curve, a tensor of a trace's step, or anything else."""
    if value.ndim == 1 and name in NAMES_OF_CURVES:
        return Key("curve", 1, name, "curve")
    group, _, rest = name.partition("/")
    step, _, path = rest.partition("/")
    stage = STAGES_OF_STEPS.get(path.partition("/")[0])
    if group == "step" and step.isdecimal() and stage:
        return Key(stage, int(step), name)
    return Key("gradient" if name.startswith("gradient") else "activation", 0, name)


def _observations(found: Mapping[str, Array], expected: Iterable[Expectation]) -> Iterator[Observation]:
    for each in expected:
        key = each.observation.key
        yield Observation(key, found[key.tensor])


def _uncompared(names: tuple[str, str], ours: list[str], theirs: list[str]) -> list[str]:
    alone = [(names[0], [n for n in ours if n not in theirs]), (names[1], [n for n in theirs if n not in ours])]
    return [f"Not compared, since {name} alone returned it: {listed(which)}." for name, which in alone if which]


def _causes(
    other: Subject, given: _Given, expected: list[Expectation], comparisons: list[Comparison], found: Tensors
) -> Iterator[str]:
    """The layout of the first tensor that differs; else what, given otherwise, makes everything agree."""
    failing = [
        each for each, comparison in zip(expected, comparisons, strict=True) if comparison.verdict not in NOT_FAILING
    ]
    first = failing[0].observation
    words = _layout(found[first.key.tensor], first.value, first.key.tensor)
    if words:
        yield words
        return
    for number, tried in enumerate(hypotheses(given.weights, given.inputs)):
        if number == MOST_TRIED:
            return
        if _agrees(other, tried, failing):
            yield f"it {tried.words}"
            return


def _layout(observed: Array, expected: Array, name: str) -> str:
    """What an array is of the expected one, if it is a rearrangement or a multiple."""
    if np.size(observed) != np.size(expected) or np.size(observed) < 2:
        return ""
    near = relation(Numbers(np.asarray(expected).astype(observed.dtype)), Numbers(observed))
    known = near.kind in ("rearranged", "permuted", "scaled", "rounded")
    return f"{name} is the oracle's, {near.words}" if known else ""


def _agrees(other: Subject, tried: Hypothesis, failing: list[Expectation]) -> bool:
    """Whether everything that failed agrees when the side is asked as a hypothesis has it."""
    try:
        found = other.run(tried.weights, tried.inputs)
    except SubjectError:
        return False
    for each in failing:
        oracle, seen = each.observation, found.get(each.observation.key.tensor)
        if seen is None or np.shape(seen) != np.shape(oracle.value) or not np.isfinite(seen).all():
            return False
        if tried.border:
            oracle = oracle._replace(value=inside(oracle.value, tried.border))
            seen = inside(seen, tried.border)
        if not (measure_errors(oracle._replace(value=seen), oracle) <= each.allowance).all():
            return False
    return True


def _own_weights(subject: Subject) -> Tensors:
    try:
        return {name: value for name, value in subject.weights().items() if value.dtype.kind == "f"}
    except SubjectError:
        return {}


def _statistics(weights: Tensors) -> dict[str, Array]:
    """Mean, scale and kurtosis of each tensor; of a vector, one of many columns is made."""
    found = {}
    for name, value in weights.items():
        matrix = value.reshape(-1, value.shape[-1] if value.ndim > 1 else 1).astype(np.float64)
        made = statistics(matrix) if matrix.size else {}
        if made:
            mean, root = made["mean"]
            found[f"mean of {name}, in root mean squares"] = np.asarray([mean / (root or 1.0), 1.0])
            for what in ("root mean square", "kurtosis"):
                found[f"{what} of {name}"] = np.asarray(made[what])
    return found
