"""Where candidates are carried out: what the reference makes of the checks of a case with one or two changes."""

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.adapters.guarded import Malformed
from conformance.checks import CHECKS
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation
from conformance.diagnosis.candidates import Candidate, CannotBeCarriedOut
from conformance.problems.tensors import Array
from conformance.verdicts.compare import measure_errors

DRAWS = 4  # with other seeds, which say how far chance moves what a candidate makes

Observations = dict[Key, Observation]


@dataclass(frozen=True)
class Workshop:
    """What candidates make of the checks of a case (in float64), each made once for all inquiries into it."""

    case: Case
    _kept: dict[tuple[Any, ...], Observations | None] = field(default_factory=dict)
    _drawn: dict[tuple[Any, ...], list[Observations]] = field(default_factory=dict)

    def made(self, candidate: Candidate, check: str) -> Observations | None:
        """What a candidate makes of a check, or None if it cannot be carried out.

        Of what its changes do not touch it is what the unchanged reference makes, the very same object.
        """
        name = *candidate.identity, check
        if name not in self._kept:
            made = self._make(candidate, check)
            unchanged = self.unchanged(check) if candidate != self._reference else made
            self._kept[name] = unchanged if _same(made, unchanged) else made
        return self._kept[name]

    def unchanged(self, check: str) -> Observations | None:
        """What the reference makes of a check."""
        return self.made(self._reference, check)

    @property
    def _reference(self) -> Candidate:
        return Candidate("nothing", self.case.problem.recipe)

    def draws(self, candidate: Candidate, check: str) -> list[Observations]:
        """What a candidate makes of a check in which chance has a part, with ``DRAWS`` other seeds."""
        name = *candidate.identity, check
        if name not in self._drawn:
            recipe, found = self.case.problem.recipe, []
            for seed in range(1, 1 + DRAWS):
                other = replace(self.case.problem, recipe=recipe.model_copy(update={"seed": recipe.seed + seed}))
                observed = CHECKS[check](candidate.session(other), replace(self.case, problem=other))
                found.append({o.key: o for o in observed})
            self._drawn[name] = found
        return self._drawn[name]

    def chance(self, candidate: Candidate, check: str) -> dict[Key, float]:
        """By how much chance moves the statistics that a candidate makes of a check, from draw to draw."""
        made, found = self.made(candidate, check), dict[Key, float]()
        for draw in self.draws(candidate, check):
            for key, o in draw.items():
                if made is not None and key.kind == "statistic" and key in made:
                    found[key] = max(found.get(key, 0.0), float(measure_errors(o, made[key]).max()))
        return found

    def value(self, candidate: Candidate, check: str, key: Key, case: Case) -> Array | None:
        """What a candidate makes of one tensor, in the situations of ``case`` alone; None if nothing."""
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                session = candidate.session(case.problem)
                seen = CHECKS[check](session, candidate.situation(case, check))
                return next((o.value for o in seen if o.key == key), None)
        except CannotBeCarriedOut:
            return None

    def alike(self, one: Candidate, other: Candidate) -> bool:
        """Whether two candidates make the same of every check, to the last digit."""
        return all(_same(self.made(one, check), self.made(other, check)) for check in CHECKS)

    def _make(self, candidate: Candidate, check: str) -> Observations | None:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                session = candidate.session(self.case.problem)
                return {o.key: o for o in CHECKS[check](session, candidate.situation(self.case, check))}
        except (CannotBeCarriedOut, Malformed):
            return None


def _same(one: Observations | None, other: Observations | None) -> bool:
    """Whether two observed the same, to the last digit; or neither anything."""
    if one is None or other is None or one is other:
        return one is other
    return one.keys() == other.keys() and all(
        np.array_equal(value, other[key].value, equal_nan=key.kind != "decision") for key, (_, value, *_) in one.items()
    )
