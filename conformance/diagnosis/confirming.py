"""What patching confirms: the observed value in the place of the oracle's, beside what else was observed."""

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session
from conformance.checks.case import Case, take_step
from conformance.checks.observation import Key, Observation
from conformance.diagnosis.distance import shares
from conformance.diagnosis.evidence import Evidence
from conformance.diagnosis.explanation import EXPLAINED
from conformance.diagnosis.patching import WithGradients, activations_from
from conformance.problems.tensors import Array
from conformance.verdicts.compare import Comparison


@dataclass(frozen=True)
class Confirmation:
    """Asks, of a first divergence, whether nothing but that value is wrong; ``case`` is in float64."""

    evidence: Evidence
    case: Case

    def words(self, check: str, comparison: Comparison) -> str:
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
            passed = "teacher_forced" not in self.evidence.observed
            return (
                "with the oracle's state put in its place before every step (teacher_forced), "
                + ("every step agrees: the fault lies between the steps" if passed else "single steps differ too")
            )  # fmt: skip
        later = [other for other in ("update", "teacher_forced") if other in self.evidence.made]
        if comparison.key.stage in ("gradient", "loss", "activation") and "update" in later:
            agrees = "update" not in self.evidence.observed
            return (
                f"given the oracle's gradients, the optimizer's step {'agrees' if agrees else 'differs too'} (update)"
            )
        if comparison.key.stage in ("optimizer state", "parameter") and "gradients" in self.evidence.made:
            agrees = "gradients" not in self.evidence.observed
            return f"the gradients that it is given {'agree' if agrees else 'differ too'} (gradients)"
        return ""

    def _patch_activation(self, key: Key) -> str:
        problem = self.case.problem
        if problem.places[key.name].kind == "normalized" or (problem.recipe.is_network and not key.name.endswith("A")):
            return ""
        observed = self.evidence.observed["forward"]
        later = activations_from(self.case, key, np.asarray(observed[key].value, np.float64))
        agreeing = [
            tensor for tensor, value in later.items() if self._agrees("forward", replace(key, tensor=tensor), value)
        ]
        if not later:
            return "nothing of the forward pass comes after it"
        return f"from the observed {key.name} the oracle arrives at {len(agreeing)} of {len(later)} later activations"

    def _patch_gradients(self, step: int) -> str:
        observed = self.evidence.observed["teacher_forced"]
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
        expectation = next((e for e in self.evidence.expected[check] if e.observation.key == key), None)
        if expectation is None or key not in self.evidence.observed[check]:
            return False
        left = shares(self.evidence.observed[check][key], Observation(key, value), expectation)
        return left is not None and bool(left.max(initial=0.0) <= EXPLAINED)


def _is_whole(observed: Observation, parameter: Array | None) -> bool:
    """Whether a gradient is one that a step can be taken with."""
    return parameter is not None and np.shape(observed.value) == parameter.shape
