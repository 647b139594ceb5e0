"""Where candidates are carried out: what the reference makes of the checks of a case with one or two changes."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from conformance.checks import CHECKS
from conformance.checks.case import Case
from conformance.checks.observation import Key, Observation
from conformance.diagnosis.candidates import Candidate
from conformance.verdicts.compare import measure_errors

DRAWS = 4  # of random weights with other seeds, which say how far chance moves a candidate's statistics

Observations = dict[Key, Observation]


@dataclass(frozen=True)
class Workshop:
    """What candidates make of the checks of a case (in float64), each made once for all inquiries into it."""

    case: Case
    _kept: dict[tuple[str, tuple[str, ...], str], Observations | None] = field(default_factory=dict)

    def made(self, candidate: Candidate, check: str) -> Observations | None:
        """What a candidate makes of a check, or None if it cannot be carried out."""
        name = candidate.recipe.hash, tuple(mutant.name for mutant in candidate.mutants), check
        if name not in self._kept:
            self._kept[name] = self._make(candidate, check)
        return self._kept[name]

    def chance(self, candidate: Candidate, check: str) -> dict[Key, float]:
        """By how much chance moves the statistics that a candidate makes of a check, from draw to draw."""
        found: dict[Key, float] = {}
        for seed in range(1, 1 + DRAWS):
            recipe = self.case.problem.recipe
            other = replace(self.case.problem, recipe=recipe.model_copy(update={"seed": recipe.seed + seed}))
            made = self.made(candidate, check)
            for o in CHECKS[check](candidate.session(other), replace(self.case, problem=other)):
                if made is not None and o.key.kind == "statistic" and o.key in made:
                    found[o.key] = max(found.get(o.key, 0.0), float(measure_errors(o, made[o.key]).max()))
        return found

    def alike(self, one: Candidate, other: Candidate) -> bool:
        """Whether two candidates make the same of every check, to the last digit."""
        for check in CHECKS:
            mine, theirs = self.made(one, check), self.made(other, check)
            if mine is None or theirs is None or mine.keys() != theirs.keys():
                if mine is not theirs:
                    return False
            elif not all(np.array_equal(mine[key].value, theirs[key].value, equal_nan=True) for key in mine):
                return False
        return True

    def _make(self, candidate: Candidate, check: str) -> Observations | None:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                session = candidate.session(self.case.problem)
                return {o.key: o for o in CHECKS[check](session, candidate.situation(self.case, check))}
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return None
