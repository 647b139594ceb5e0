"""The inquiry: from what was observed of an implementation to where it first leaves the oracle, and why.

The first divergence is the first tensor beyond its allowance: in the order of the checks, then of steps, then of what
comes into being within a step. It is confirmed by patching (``confirming``): the observed value is put in the place of
the oracle's, and if the oracle then arrives at what else was observed, nothing but this value is wrong. The cause is
searched for among candidates (``search``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.checks.case import Case
from conformance.checks.observation import Observation
from conformance.diagnosis import layouts
from conformance.diagnosis.confirming import Confirmation
from conformance.diagnosis.evidence import Evidence
from conformance.diagnosis.explanation import NOTHING, Divergence, Explanation
from conformance.diagnosis.fits import Fits
from conformance.diagnosis.search import Search
from conformance.diagnosis.workshop import Workshop
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import Comparison, Expectation, Verdict, worst_element
from conformance.verdicts.order import first_failing


@dataclass(frozen=True)
class Inquiry:
    """The search for what is wrong with one recipe in one implementation and precision."""

    evidence: Evidence
    workshop: Workshop

    @property
    def recipe(self) -> Recipe:
        """What was asked for."""
        return self.evidence.recipe

    @property
    def case(self) -> Case:
        """The situations that were looked at, in float64."""
        return self.workshop.case

    def explanation(self) -> Explanation:
        """Where it first leaves the oracle, and why."""
        evidence, first = self.evidence, self.evidence.first
        check = first.check
        failing = evidence.failing(check) if check in evidence.observed else []
        if not failing:  # it crashed, or was stopped
            nan, others = float("nan"), [other for other in evidence.stopped if other != check]
            stopped = f", which stops {', '.join(others)} too" if others else ""
            divergence = Divergence(
                first.check, first.stage, first.step, first.tensor, [], nan, nan, nan, nan,
                f"{first.verdict}: {first.cause}{stopped}",
            )  # fmt: skip
            return self._explained(divergence, "", "", *NOTHING)
        comparison = first_failing(failing)
        assert comparison is not None
        expectation = next((e for e in evidence.expected[check] if e.observation.key == comparison.key), None)
        divergence = _divergence(check, comparison, evidence.observed[check].get(comparison.key), expectation)
        confirmation = Confirmation(evidence, self.case)
        patching = "" if np.isnan(divergence.error) else confirmation.words(check, comparison)
        causes = Search(Fits(evidence, self.workshop)).causes(check)
        return self._explained(divergence, self._layout(check, expectation), patching, *causes)

    def _explained(self, divergence: Divergence, *found: Any) -> Explanation:
        return Explanation(self.recipe.name, self.evidence.implementation, self.evidence.dtype, divergence, *found)

    def _layout(self, check: str, expectation: Expectation | None) -> str:
        if expectation is None or expectation.observation.key.kind != "tensor":
            return ""
        found = self.evidence.observed[check].get(expectation.observation.key)
        if found is None:
            return ""
        tolerance = float(expectation.allowance.max())
        return layouts.recognise(found.value, np.asarray(expectation.observation.value), tolerance)


def _divergence(
    check: str, comparison: Comparison, observed: Observation | None, expectation: Expectation | None
) -> Divergence:
    key = comparison.key
    place = (comparison.step - key.step) // key.stride
    index: tuple[int, ...] = ()
    value = oracle = float("nan")
    expected = expectation.observation if expectation else None
    if observed and expected and _has_both(observed, expected, place):
        index = worst_element(observed, expected, place)
        value, oracle = (float(np.asarray(o.value)[index]) for o in (observed, expected))
    told = np.isnan(comparison.error) or comparison.verdict == Verdict.MISSING or key.kind == "sample"
    remark = comparison.cause if told else ""
    return Divergence(
        check, key.stage, comparison.step, key.tensor, [] if key.kind in ("curve", "sample") else list(index), value,
        oracle, comparison.error, comparison.allowance, remark,
    )  # fmt: skip


def _has_both(observed: Observation, expected: Observation, place: int) -> bool:
    """Whether there are two values to be told: a curve may be longer or shorter than the oracle's."""
    shapes = np.shape(observed.value), np.shape(expected.value)
    both_curves = expected.key.kind == "curve" and len(shapes[0]) == len(shapes[1]) == 1
    return shapes[0] == shapes[1] or (both_curves and place < min(shapes)[0])
