"""How candidates compare with what was seen: which checks each explains, and what it leaves."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from conformance.adapters.guarded import Malformed
from conformance.checks import CHECKS
from conformance.checks.observation import Key, Observation
from conformance.diagnosis.candidates import Candidate, CannotBeCarriedOut
from conformance.diagnosis.distance import is_beyond, shares, spreads
from conformance.diagnosis.evidence import Evidence
from conformance.diagnosis.explanation import EXPLAINED, Cause
from conformance.diagnosis.misread import ill_conditioned, jittered
from conformance.diagnosis.workshop import Observations, Workshop
from conformance.recipes.dialects import dialects
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import FLOOR_FACTOR, Expectation, measure_errors

TINY = 1e-300
SPREAD = 5.0  # standard deviations of four draws: further away lie two in a hundred


class Fit(NamedTuple):
    """What is left between a candidate and the observation; ``mended``: tensors that failed and now agree."""

    share: float
    error: float
    mended: int


@dataclass(frozen=True)
class Fits:
    """Candidates beside what was observed of one recipe in one implementation and precision."""

    evidence: Evidence
    workshop: Workshop
    _fits: dict[tuple[Any, ...], Fit | None] = field(default_factory=dict)
    _apart: dict[tuple[Any, ...], set[Key] | None] = field(default_factory=dict)

    def explains(self, candidate: Candidate, check: str) -> bool:
        """Whether a candidate makes what was seen in a check."""
        if not self.evidence.expected[check]:  # nothing of it is offered
            return True
        if check in self.evidence.crashed:
            return self.workshop.made(candidate, check) is None
        found = self.fit(candidate, check)
        return found is not None and found.share <= EXPLAINED

    def explains_before(self, candidate: Candidate, last: str) -> bool:
        """Whether a candidate makes what was seen in every check but the ``last``."""
        return all(self.explains(candidate, check) for check in CHECKS if check != last)

    def apart(self, candidate: Candidate, check: str, seen: Observations) -> set[Key] | None:
        """The tensors in which a candidate is not what was seen, or None if it cannot be carried out."""
        made = self.workshop.made(candidate, check)
        if made is None:
            return None
        unchanged = made is self.workshop.unchanged(check)
        name = (None if unchanged else candidate.identity, check, seen is self.evidence.observed.get(check))
        if name not in self._apart:
            self._apart[name] = self._differing(made, check, seen)
        return self._apart[name]

    def _differing(self, made: Observations, check: str, seen: Observations) -> set[Key]:
        apart = set()
        for expectation in self.evidence.expected[check]:
            key = expectation.observation.key
            if key in made and key in seen:
                left = shares(seen[key], made[key], expectation)
                if left is None or left.max(initial=0.0) > EXPLAINED:
                    apart.add(key)
        return apart

    def moves(self, candidate: Candidate, check: str) -> bool:
        """Whether a candidate changes anything in a check."""
        made = self.workshop.made(candidate, check)
        return made is not self.workshop.unchanged(check)

    def cause(self, candidate: Candidate, fit: Fit) -> Cause:
        """A candidate that reproduces what the first failing check saw, with all the checks that it explains."""
        explained: list[str] = []
        left: list[str] = []
        for other in filter(self.evidence.expected.get, CHECKS):
            (explained if self.explains(candidate, other) else left).append(other)
        parts = {
            one.description: [check for check in self.evidence.failed_checks if self.explains(one, check)]
            for one in candidate.parts
        }
        return Cause(
            candidate.description, candidate.is_formulation, fit.error, fit.share, explained, left,
            builtins(candidate.recipe, self.evidence.recipe), parts if all(parts.values()) else {},
        )  # fmt: skip

    def fit(self, candidate: Candidate, check: str) -> Fit | None:
        """How well a candidate reproduces what a check saw, or None if it cannot be carried out."""
        made = self.workshop.made(candidate, check)
        if made is None:
            return None
        if made is self.workshop.unchanged(check):
            return self.untouched(check)
        name = (candidate.identity, check)
        if name not in self._fits:
            self._fits[name] = self._compared(candidate, made, check)
        return self._fits[name]

    def untouched(self, check: str) -> Fit | None:
        """How well the reference reproduces what a check saw, and with it all that leave this check as it is."""
        nothing, made = Candidate("nothing", self.evidence.recipe), self.workshop.unchanged(check)
        name = (nothing.identity, check)
        if name not in self._fits:
            self._fits[name] = None if made is None else self._compared(nothing, made, check)
        return self._fits[name]

    def _compared(self, candidate: Candidate, made: Observations, check: str) -> Fit | None:
        observed = self.evidence.seen(check)
        found, errors, mended = [0.0], [0.0], 0
        for expectation in self.evidence.expected[check]:
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
            if ill_conditioned(candidate) and left.max(initial=0.0) > EXPLAINED:
                left = np.minimum(left, self._in_own_roundings(candidate, made, check, key))
            otherwise = key.kind == "sample" and left.max(initial=0.0) > EXPLAINED
            if otherwise and self._may_draw(candidate, check, expectation):
                left = np.zeros_like(left)
            elif key.kind == "sample" and self._is_another_order(candidate, made[key], check, expectation):
                left = np.full_like(left, np.inf)
            found.append(float(left.max(initial=0.0)))
            errors.append(float(measure_errors(observed[key], made[key]).max()) if left.size else 0.0)
            mended += key in self.evidence.failed[check] and found[-1] <= EXPLAINED
        return Fit(max(found), max(errors), mended)

    def _in_own_roundings(self, candidate: Candidate, made: Observations, check: str, key: Key) -> float:
        """How far what was observed is from what a candidate makes, in what its own rounding comes to."""
        observed, floor = self.evidence.seen(check)[key], 0.0
        for other in jittered(candidate, self.evidence.dtype):
            moved = self.workshop.made(other, check) or {}
            floor = np.maximum(floor, measure_errors(moved[key], made[key]).max(initial=0.0) if key in moved else 0.0)
        errors = measure_errors(observed, made[key])
        return float(errors.max(initial=0.0) / (FLOOR_FACTOR * floor + TINY))

    def _may_draw(self, candidate: Candidate, check: str, expectation: Expectation) -> bool:
        """Whether what was observed of a sample lies where the candidate's own does with some other seed.

        One whose draws lie on more than one side of the range spreads more than chance allows; it may then have drawn
        what is within ``SPREAD`` standard deviations of them.
        """
        key = expectation.observation.key
        observed = self.evidence.seen(check)[key]
        try:
            draws = [draw[key] for draw in self.workshop.draws(candidate, check) if key in draw]
        except (CannotBeCarriedOut, Malformed):
            return False
        apart = [shares(draw, observed, expectation) for draw in draws]
        if any(left is not None and left.max(initial=0.0) <= EXPLAINED for left in apart):
            return True
        if any(left is None for left in apart) or not spreads(draws, expectation):
            return False
        drawn = np.stack([np.asarray(draw.value, np.float64) for draw in draws])
        distance = np.abs(observed.value - drawn.mean(axis=0))
        return bool((distance <= SPREAD * drawn.std(axis=0, ddof=1)).all())

    def _is_another_order(self, candidate: Candidate, made: Observation, check: str, expectation: Expectation) -> bool:
        """Whether a candidate puts the examples in an order that leaves nothing to chance, and another was seen.

        How often an order comes again is then a share that no generator has a part in.
        """
        key = expectation.observation.key
        observed = self.evidence.seen(check)[key]
        if key.stage != "input" or np.array_equal(observed.value, made.value) or not is_beyond(made, expectation):
            return False
        draws = [draw[key] for draw in self.workshop.draws(candidate, check) if key in draw]
        return all(np.array_equal(draw.value, made.value) for draw in draws)


def builtins(recipe: Recipe, asked: Recipe) -> list[str]:
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
