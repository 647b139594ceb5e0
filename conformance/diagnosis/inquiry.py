"""The inquiry: from what was observed of an implementation to where it first leaves the oracle, and why.

The first divergence is the first tensor beyond its allowance: in the order of the checks, then of steps, then of the
stages of a step. It is confirmed by patching: the observed value is put in the place of the oracle's, and if the oracle
then arrives at what else was observed, nothing but this value is wrong. The cause is searched for among candidates (see
``candidates``): one explains a check if, computed in float64, it lies within twice the allowances of everything that
was observed there, once for the rounding of each of the two. A check that passed was within them of the oracle.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session
from conformance.checks import CHECKS
from conformance.checks.case import Case, take_step
from conformance.checks.observation import Key, Lost, Observation
from conformance.diagnosis import layouts
from conformance.diagnosis.candidates import Candidate, pair, singles
from conformance.diagnosis.distance import shares
from conformance.diagnosis.explanation import EXPLAINED, SHOWN, Cause, Divergence, Explanation
from conformance.diagnosis.patching import WithGradients, activations_from
from conformance.diagnosis.workshop import Observations, Workshop
from conformance.problems.tensors import Array
from conformance.recipes.dialects import dialects
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import (
    FLOOR_FACTOR,
    NOT_FAILING,
    Comparison,
    Expectation,
    Verdict,
    compare,
    measure_errors,
    worst_element,
)
from conformance.verdicts.floors import Expectations
from conformance.verdicts.order import first_failing

TINY = 1e-300
PAIRED = 6  # candidates that explain a part, each of which is tried together with every other


class First(NamedTuple):
    """What is recorded of the first failure, for what crashed or was stopped and left nothing to look at."""

    check: str
    verdict: str
    cause: str
    stage: str = ""
    step: int = 0
    tensor: str = ""


@dataclass(frozen=True)
class Evidence:
    """What was observed of one recipe in one implementation and precision.

    Attributes:
        recipe, implementation, dtype: of what.
        expected: by check, what the oracle saw with its allowances, but for what is not offered.
        observed: by check, what was seen in each that failed, as far as it got.
        made: the checks that were made at all; ``crashed``: those of them that crashed and saw nothing.
        first: the first failure.
        lost: by check that failed, its parts that were not seen.
    """

    recipe: Recipe
    implementation: str
    dtype: str
    expected: Expectations
    observed: dict[str, Observations]
    made: frozenset[str]
    crashed: frozenset[str]
    first: First
    lost: dict[str, list[Lost]] = field(default_factory=dict)


@dataclass(frozen=True)
class Inquiry:
    """The search for what is wrong with one recipe in one implementation and precision."""

    evidence: Evidence
    workshop: Workshop
    _known: "dict[str, _Fit | None]" = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """What was asked for."""
        return self.evidence.recipe

    @property
    def case(self) -> Case:
        """The situations that were looked at, in float64."""
        return self.workshop.case

    @property
    def expected(self) -> Expectations:
        """By check, what the oracle saw."""
        return self.evidence.expected

    @property
    def observed(self) -> dict[str, Observations]:
        """By check that failed, what was seen."""
        return self.evidence.observed

    def explanation(self) -> Explanation:
        """Where it first leaves the oracle, and why."""
        first = self.evidence.first
        check = first.check
        failing = self._failing(check) if check in self.observed else []
        if not failing:  # it crashed, or was stopped
            nan = float("nan")
            divergence = Divergence(
                first.check, first.stage, first.step, first.tensor, [], nan, nan, nan, nan,
                f"{first.verdict}: {first.cause}",
            )  # fmt: skip
            return self._explained(divergence, "", "", [], None)
        comparison = first_failing(failing)
        assert comparison is not None
        expectation = next((e for e in self.expected[check] if e.observation.key == comparison.key), None)
        divergence = _divergence(check, comparison, self.observed[check].get(comparison.key), expectation)
        patching = "" if np.isnan(divergence.error) else self._patched(check, comparison)
        return self._explained(divergence, self._layout(check, expectation), patching, *self._causes(check))

    def _explained(self, divergence: Divergence, *found: Any) -> Explanation:
        return Explanation(self.recipe.name, self.evidence.implementation, self.evidence.dtype, divergence, *found)

    def _failing(self, check: str) -> list[Comparison]:
        """The failing comparisons of a check, in the order of observation."""
        found = compare(self.observed[check].values(), self.expected[check], self.evidence.lost.get(check, ()))
        return [comparison for comparison in found if comparison.verdict not in NOT_FAILING]

    def _layout(self, check: str, expectation: Expectation | None) -> str:
        if expectation is None or expectation.observation.key.kind != "tensor":
            return ""
        found = self.observed[check].get(expectation.observation.key)
        if found is None:
            return ""
        tolerance = float(expectation.allowance.max())
        return layouts.recognise(found.value, np.asarray(expectation.observation.value), tolerance)

    # The cause.

    def _causes(self, check: str) -> tuple[list[Cause], Cause | None]:
        """The candidates that explain every check, or the one that comes nearest and leaves less than half."""
        untouched = self._unchanged(check)
        if untouched is not None and untouched.share <= EXPLAINED:  # the right numbers, in the wrong precision, say
            return [], None
        distance = np.inf if untouched is None else untouched.share
        tried = [(candidate, self._fit(candidate, check)) for candidate in singles(self.recipe)]
        known = [(candidate, fit) for candidate, fit in tried if fit is not None]
        known.sort(key=lambda item: (-item[1].mended, item[1].share))
        causes = [self._cause(candidate, fit, check) for candidate, fit in known if fit.share <= EXPLAINED]
        whole = _best(cause for cause in causes if not cause.leaves)
        if not whole:
            helpful = [(candidate, fit) for candidate, fit in known if fit.share < distance]
            whole = _best(self._pairs(helpful[:PAIRED], known, check))
        if whole:
            return whole, None
        partly = _best(causes)
        if partly:
            return [], partly[0]
        nearest = min(known, key=lambda item: item[1].share, default=None)
        return [], self._cause(*nearest, check) if nearest and nearest[1].share < distance / 2 else None

    def _pairs(self, helpful: "_Fits", known: "_Fits", check: str) -> Iterator[Cause]:
        """Two changes at once that explain every check, the one of which helps with the first.

        In the first check that the one leaves, the other alone must move just the tensors that the one leaves there;
        formulations, which may be two keywords of one formula, are tried in any case.
        """
        moved: dict[str, list[tuple[Candidate, set[Key] | None]]] = {}
        for one, _ in helpful:
            place = next(other for other in CHECKS if not self._explains(one, other))
            if place not in moved:
                moved[place] = [(other, self._apart(other, place, self._oracle(place))) for other, _ in known]
            left = self._apart(one, place, self._seen(place))
            for other, tensors in moved[place]:
                likely = (left and tensors == left) or (one.is_formulation and other.is_formulation)
                both = pair(one, other, self.recipe) if likely and other is not one else None
                if both and all(self._explains(both, every) for every in (place, *reversed(CHECKS))):
                    found = self._fit(both, check)
                    assert found is not None
                    yield self._cause(both, found, check)

    def _explains(self, candidate: Candidate, check: str) -> bool:
        if not self.expected[check]:  # nothing of it is offered
            return True
        if check in self.evidence.crashed:
            return self._made(candidate, check) is None
        found = self._fit(candidate, check)
        return found is not None and found.share <= EXPLAINED

    def _apart(self, candidate: Candidate, check: str, seen: Observations) -> set[Key] | None:
        """The tensors in which a candidate is not what was seen, or None if it cannot be carried out."""
        made = self._made(candidate, check)
        if made is None:
            return None
        apart = set()
        for expectation in self.expected[check]:
            key = expectation.observation.key
            if key in made and key in seen:
                left = shares(seen[key], made[key], expectation)
                if left is None or left.max(initial=0.0) > EXPLAINED:
                    apart.add(key)
        return apart

    def _cause(self, candidate: Candidate, fit: "_Fit", check: str) -> Cause:
        explained: list[str] = []
        left: list[str] = []
        for other in filter(self.expected.get, CHECKS):
            (explained if self._explains(candidate, other) else left).append(other)
        return Cause(
            candidate.description, candidate.is_formulation, fit.error, fit.share, explained, left,
            _builtins(candidate.recipe, self.recipe),
        )  # fmt: skip

    def _fit(self, candidate: Candidate, check: str) -> "_Fit | None":
        """How well a candidate reproduces what a check saw, or None if it cannot be carried out."""
        made = self._made(candidate, check)
        if made is None:
            return None
        if made is self.workshop.unchanged(check):
            return self._unchanged(check)
        return self._compared(candidate, made, check)

    def _unchanged(self, check: str) -> "_Fit | None":
        """How well the reference reproduces what a check saw, and with it all that leave this check as it is."""
        if check not in self._known:
            made = self.workshop.unchanged(check)
            self._known[check] = (
                None if made is None else self._compared(Candidate("nothing", self.recipe), made, check)
            )
        return self._known[check]

    def _compared(self, candidate: Candidate, made: Observations, check: str) -> "_Fit | None":
        observed = self._seen(check)
        found, errors, mended = [0.0], [0.0], 0
        for expectation in self.expected[check]:
            key = expectation.observation.key
            if key.kind == "decision" and key in observed and key not in made:
                return None  # what decides nothing cannot have decided this
            if key not in made or key not in observed:
                continue
            left = shares(observed[key], made[key], expectation)
            if left is None:
                return None
            if key.kind == "statistic" and not np.array_equal(made[key].value, expectation.observation.value):
                chance = self.workshop.chance(candidate, check)[key]
                left = np.minimum(left, measure_errors(observed[key], made[key]) / (FLOOR_FACTOR * chance + TINY))
            found.append(float(left.max(initial=0.0)))
            errors.append(float(measure_errors(observed[key], made[key]).max()) if left.size else 0.0)
            mended += key in self._failed[check] and found[-1] <= EXPLAINED
        return _Fit(max(found), max(errors), mended)

    def _made(self, candidate: Candidate, check: str) -> Observations | None:
        return self.workshop.made(candidate, check)

    def _seen(self, check: str) -> Observations:
        """What was observed; of a check that passed, nothing else than the oracle's."""
        return self.observed.get(check, self._oracle(check))

    @cached_property
    def _failed(self) -> dict[str, set[Key]]:
        """The tensors of each check that are beyond their allowance."""
        return {check: {comparison.key for comparison in self._failing(check)} for check in self.observed} | {
            check: set() for check in CHECKS if check not in self.observed
        }

    def _oracle(self, check: str) -> Observations:
        return {expectation.observation.key: expectation.observation for expectation in self.expected[check]}

    # Patching.

    def _patched(self, check: str, comparison: Comparison) -> str:
        """What the oracle makes of the observed value, beside what else was observed."""
        if comparison.key.kind == "sample":
            return ""
        if check == "forward" and comparison.key.stage == "activation":
            return self._patch_activation(comparison.key)
        if check == "teacher_forced" and comparison.key.stage == "gradient":
            return self._patch_gradients(comparison.step)
        if check == "free_running":
            if "teacher_forced" not in self.evidence.made:
                return ""
            passed = "teacher_forced" not in self.observed
            return (
                "with the oracle's state put in its place before every step (teacher_forced), "
                + ("every step agrees: the fault lies between the steps" if passed else "single steps differ too")
            )  # fmt: skip
        later = [other for other in ("update", "teacher_forced") if other in self.evidence.made]
        if comparison.key.stage in ("gradient", "loss", "activation") and "update" in later:
            agrees = "update" not in self.observed
            return (
                f"given the oracle's gradients, the optimizer's step {'agrees' if agrees else 'differs too'} (update)"
            )
        if comparison.key.stage in ("optimizer state", "parameter") and "gradients" in self.evidence.made:
            agrees = "gradients" not in self.observed
            return f"the gradients that it is given {'agree' if agrees else 'differ too'} (gradients)"
        return ""

    def _patch_activation(self, key: Key) -> str:
        if self.case.problem.places[key.name].kind == "normalized":
            return ""
        observed = self.observed["forward"]
        later = activations_from(self.case, key, np.asarray(observed[key].value, np.float64))
        agreeing = [
            tensor for tensor, value in later.items() if self._agrees("forward", replace(key, tensor=tensor), value)
        ]
        if not later:
            return "nothing of the forward pass comes after it"
        return f"from the observed {key.name} the oracle arrives at {len(agreeing)} of {len(later)} later activations"

    def _patch_gradients(self, step: int) -> str:
        observed = self.observed["teacher_forced"]
        state = next(state for state in self.case.trajectory if state.step == step)
        given = {
            key.name: o.value
            for key, o in observed.items()
            if key.stage == "gradient" and key.step == step and _is_whole(o, state.parameters.get(key.name))
        }
        oracle: Any = NumpySession(self.case.problem)
        taken = take_step(cast(Session, WithGradients(oracle, given)), self.case.problem, state)
        made = {("parameter", name): value for name, value in taken.updated.parameters.items() if name in given}
        for slot, tensors in taken.updated.slots.items():
            made |= {("optimizer state", f"{slot} of {name}"): value for name, value in tensors.items()}
        agreeing = [p for p, value in made.items() if self._agrees("teacher_forced", Key(p[0], step, p[1]), value)]
        counted = f"{len(agreeing)} of {len(made)} new states and parameters"
        return f"from the observed gradients the oracle arrives at {counted}"

    def _agrees(self, check: str, key: Key, value: Array) -> bool:
        expectation = next((e for e in self.expected[check] if e.observation.key == key), None)
        if expectation is None or key not in self.observed[check]:
            return False
        left = shares(self.observed[check][key], Observation(key, value), expectation)
        return left is not None and bool(left.max(initial=0.0) <= EXPLAINED)


def _is_whole(observed: Observation, parameter: Array | None) -> bool:
    """Whether a gradient is one that a step can be taken with."""
    return parameter is not None and np.shape(observed.value) == parameter.shape


class _Fit(NamedTuple):
    """What is left between a candidate and the observation; ``mended``: tensors that failed and now agree."""

    share: float
    error: float
    mended: int


_Fits = list[tuple[Candidate, _Fit]]


def _divergence(
    check: str, comparison: Comparison, observed: Observation | None, expectation: Expectation | None
) -> Divergence:
    key, place = comparison.key, comparison.step - comparison.key.step
    index: tuple[int, ...] = ()
    value = oracle = float("nan")
    expected = expectation.observation if expectation else None
    if observed and expected and np.shape(observed.value) == np.shape(expected.value):
        index = worst_element(observed, expected, place)
        value, oracle = (float(np.asarray(o.value)[index]) for o in (observed, expected))
    told = np.isnan(comparison.error) or comparison.verdict == Verdict.MISSING or key.kind == "sample"
    remark = comparison.cause if told else ""
    return Divergence(
        check, key.stage, comparison.step, key.tensor, [] if key.kind in ("curve", "sample") else list(index), value,
        oracle, comparison.error, comparison.allowance, remark,
    )  # fmt: skip


def _best(causes: Iterable[Cause]) -> list[Cause]:
    """The few best of causes: those that leave the fewest checks, formulations first, then the nearest."""
    ordered = sorted(causes, key=lambda cause: (len(cause.leaves), not cause.formulation, cause.share))
    return ordered[:SHOWN]


def _builtins(recipe: Recipe, asked: Recipe) -> list[str]:
    """The frameworks' built-ins that have the settings in which an optimizer differs from the one asked for.

    One that decays the weights is named only where the recipe does.
    """
    own = recipe.optimizer.keywords
    changed = {keyword: setting for keyword, setting in own.items() if setting != asked.optimizer.keywords.get(keyword)}
    return [
        f"{dialect.framework}.{dialect.builtin}"
        for dialect in dialects()
        if changed
        and dialect.optimizer == recipe.optimizer.name
        and changed.items() <= dialect.keywords.items()
        and bool(dialect.keywords.get("weight_decay")) == bool(own.get("weight_decay"))
    ]
