"""The search for the cause of a failure, among candidates.

A candidate explains a check if, computed in float64, it lies within twice the allowances of everything that was
observed there, once for the rounding of each of the two. A check that passed was within them of the oracle.

Simpler candidates are tried first, others only if none of these explains everything: each formulation and each fault
(``candidates``), one free number or another component (``numbers``, ``substitutes``), two of the known changes at once,
a rounding (``roundings``), and a change of some tensors alone (``partial``). What is then still unexplained is asked
check by check, since independent differences have causes of their own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from conformance.adapters.guarded import Malformed
from conformance.checks import CHECKS
from conformance.checks.observation import Key
from conformance.diagnosis.candidates import Candidate, CannotBeCarriedOut, pair, singles
from conformance.diagnosis.distance import shares
from conformance.diagnosis.evidence import Evidence
from conformance.diagnosis.explanation import EXPLAINED, SHOWN, Cause
from conformance.diagnosis.numbers import Target, solved
from conformance.diagnosis.partial import partial
from conformance.diagnosis.roundings import roundings
from conformance.diagnosis.substitutes import substitutes
from conformance.diagnosis.workshop import Observations, Workshop
from conformance.recipes.dialects import dialects
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import FLOOR_FACTOR, Expectation, measure_errors, worst_element
from conformance.verdicts.order import first_failing

TINY = 1e-300
PAIRED = 6  # candidates that explain a part, each of which is tried together with every other
NEAREST = 12  # candidates that mend most in the first check, of which the nearest is looked for
TOGETHER = 4  # independent differences that are told apart


class Found(NamedTuple):
    """What a search came to.

    ``causes`` explain everything, each by itself. Without any, ``partly`` each explain some of the checks, and together
    all but the ``unexplained`` ones; or ``nearest`` mends something.
    """

    causes: list[Cause]
    partly: list[Cause]
    unexplained: list[str]
    nearest: Cause | None


NOTHING = Found([], [], [], None)


class Fit(NamedTuple):
    """What is left between a candidate and the observation; ``mended``: tensors that failed and now agree."""

    share: float
    error: float
    mended: int


Fits = list[tuple[Candidate, Fit]]


@dataclass(frozen=True)
class Search:
    """The search for the causes of what is wrong with one recipe in one implementation and precision."""

    evidence: Evidence
    workshop: Workshop
    _fits: dict[tuple[Any, ...], Fit | None] = field(default_factory=dict)
    _apart: dict[tuple[Any, ...], set[Key] | None] = field(default_factory=dict)

    def causes(self, check: str) -> Found:
        """The causes of a failure that begins in ``check``."""
        untouched = self._unchanged(check)
        if untouched is not None and untouched.share <= EXPLAINED:  # the right numbers, in the wrong precision, say
            return NOTHING
        distance = np.inf if untouched is None else untouched.share
        known: Fits = []
        alone = singles(self.evidence.recipe)
        levels: list[Callable[[], Iterable[Candidate]]] = [
            lambda: alone,
            lambda: [*self._solved(check), *substitutes(self.evidence.recipe)],
            lambda: self._pairs([(one, fit) for one, fit in known if one in alone], distance, check),
            lambda: roundings(self.evidence.recipe, self.evidence.dtype),
            lambda: partial(self, [candidate for candidate, _ in known if candidate in alone]),
            lambda: partial(self, [candidate for candidate, _ in known if candidate not in alone]),
        ]
        for level in levels:
            tried = self._ranked(level(), check)
            causes = [self._cause(candidate, fit) for candidate, fit in tried if fit.share <= EXPLAINED]
            whole = _best(cause for cause in causes if not cause.leaves)
            if whole:
                return Found(whole, [], [], None)
            known = self._sorted([*known, *tried])
        together = self._together([candidate for candidate, _ in known])
        if together is not None:
            return together
        return Found([], [], [], self._nearest(known))

    def _ranked(self, candidates: Iterable[Candidate], check: str) -> Fits:
        tried = [(candidate, self.fit(candidate, check)) for candidate in candidates]
        return self._sorted([(candidate, fit) for candidate, fit in tried if fit is not None])

    def _sorted(self, fits: Fits) -> Fits:
        return sorted(fits, key=lambda item: (-item[1].mended, item[1].share))

    def _solved(self, check: str) -> list[Candidate]:
        """Keywords of the recipe with the numbers that make the first divergent value of a check what it is."""
        comparison = first_failing(self.evidence.failing(check)) if check in self.evidence.observed else None
        if comparison is None or np.isnan(comparison.error) or comparison.key.kind not in ("tensor", "curve"):
            return []
        key = comparison.key
        expectation = next(e for e in self.evidence.expected[check] if e.observation.key == key)
        observed, oracle = self.evidence.observed[check][key], expectation.observation
        place = (comparison.step - key.step) // key.stride
        index = worst_element(observed, oracle, place)
        value, expected = (float(np.asarray(o.value)[index]) for o in (observed, oracle))
        scale = abs(expected) if key.kind == "curve" else float(np.abs(oracle.value).max())
        reach = EXPLAINED * float(comparison.allowance) * scale
        target = Target(self.workshop, check, key, index, value, reach)
        return list(solved(self.evidence.recipe, target, lambda candidate: self.explains(candidate, check)))

    def _pairs(self, known: Fits, distance: float, check: str) -> Iterator[Candidate]:
        """Two changes at once that explain every check, the one of which helps with the first.

        In the first check that the one leaves, the other alone must move just the tensors that the one leaves there;
        formulations, which may be two keywords of one formula, are tried in any case.
        """
        helpful = [candidate for candidate, fit in known if fit.share < distance][:PAIRED]
        moved: dict[str, list[tuple[Candidate, set[Key] | None]]] = {}
        for one in helpful:
            place = next(other for other in CHECKS if not self.explains(one, other))
            if place not in moved:
                oracle = self.evidence.oracle(place)
                moved[place] = [(other, self.apart(other, place, oracle)) for other, _ in known]
            left = self.apart(one, place, self.evidence.seen(place))
            for other, tensors in moved[place]:
                likely = (left and tensors == left) or (one.is_formulation and other.is_formulation)
                both = pair(one, other, self.evidence.recipe) if likely and other is not one else None
                if both and all(self.explains(both, every) for every in (place, *reversed(CHECKS))):
                    yield both

    # Independent differences.

    def _together(self, pool: Sequence[Candidate]) -> Found | None:
        """Changes that each explain some check which failed, found check by check; None if there are none."""
        chosen: list[Candidate] = []
        whole: Candidate | None = None
        unexplained: list[str] = []
        for check in self.evidence.failed_checks:
            if whole is not None and self.explains(whole, check):
                continue
            found = self._next(whole, check, pool) if len(chosen) < TOGETHER else None
            if found is None:
                unexplained.append(check)
            else:
                chosen.append(found[0])
                whole = found[1]
        if whole is None:
            return None
        if not unexplained and all(self.explains(whole, check) for check in CHECKS):
            fit = self.fit(whole, self.evidence.failed_checks[0])
            assert fit is not None
            return Found([self._cause(whole, fit)], [], [], None)
        explained = [check for check in self.evidence.failed_checks if self.explains(whole, check)]
        partly = [self._part(candidate, explained, unexplained, alone=len(chosen) == 1) for candidate in chosen]
        return Found([], partly, unexplained, None)

    def _next(
        self, before: Candidate | None, check: str, pool: Sequence[Candidate]
    ) -> tuple[Candidate, Candidate] | None:
        """A change that explains a check beside those found ``before`` it, alone and together with them.

        It changes nothing that passed, and nothing that they explain. Of several, that which explains most.
        """
        here = [candidate for candidate in (*pool, *self._solved(check)) if self._moves(candidate, check)]
        if before is not None:
            left = self.apart(before, check, self.evidence.seen(check))
            here = [one for one in here if self.explains(one, check)
                    or (left and self.apart(one, check, self.evidence.oracle(check)) == left)]  # fmt: skip
        best: tuple[Candidate, Candidate] | None = None
        most = 0
        explained = {other for other in CHECKS if before is not None and self.explains(before, other)}
        kept = {other for other in CHECKS if other not in self.evidence.failed_checks}
        for one in here:
            both = one if before is None else pair(before, one, self.evidence.recipe)
            if both is None or not self.explains(both, check):
                continue
            reached = {other for other in CHECKS if self.explains(both, other)}
            if kept | explained <= reached and len(reached) > most:
                best, most = (one, both), len(reached)
        return best

    def _moves(self, candidate: Candidate, check: str) -> bool:
        made = self.workshop.made(candidate, check)
        return made is not self.workshop.unchanged(check)

    def _part(self, candidate: Candidate, explained: list[str], unexplained: list[str], alone: bool) -> Cause:
        """One of several causes: with the checks that it explains by itself, or where it has a part in it."""
        mine = [check for check in explained if self.explains(candidate, check)]
        mine += [check for check in explained if check not in mine and (alone or self._moves(candidate, check))]
        fit = self.fit(candidate, mine[0])
        assert fit is not None
        builtins = _builtins(candidate.recipe, self.evidence.recipe)
        in_order = sorted(mine, key=list(CHECKS).index)
        return Cause(
            candidate.description, candidate.is_formulation, fit.error, fit.share, in_order, unexplained, builtins
        )

    def _nearest(self, known: Fits) -> Cause | None:
        """The candidate that mends most of what failed, of those that leave all that passed as it is.

        Decisions do not count: there are few, and they may well agree by chance.
        """
        best: Cause | None = None
        for candidate, fit in known[:NEAREST]:
            mended = 0
            for check in CHECKS:
                apart = self.apart(candidate, check, self.evidence.seen(check))
                if apart is None or apart - self.evidence.failed[check]:
                    break
                made = self.workshop.made(candidate, check) or {}
                mended += sum(k in made and k.kind != "decision" for k in self.evidence.failed[check] - apart)
            else:
                if mended > (best.mended if best else 0):
                    best = self._cause(candidate, fit)._replace(mended=mended)
        return best

    # How a candidate compares.

    def explains(self, candidate: Candidate, check: str) -> bool:
        """Whether a candidate makes what was seen in a check."""
        if not self.evidence.expected[check]:  # nothing of it is offered
            return True
        if check in self.evidence.crashed:
            return self.workshop.made(candidate, check) is None
        found = self.fit(candidate, check)
        return found is not None and found.share <= EXPLAINED

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

    def _cause(self, candidate: Candidate, fit: Fit) -> Cause:
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
            _builtins(candidate.recipe, self.evidence.recipe), parts if all(parts.values()) else {},
        )  # fmt: skip

    def fit(self, candidate: Candidate, check: str) -> Fit | None:
        """How well a candidate reproduces what a check saw, or None if it cannot be carried out."""
        made = self.workshop.made(candidate, check)
        if made is None:
            return None
        if made is self.workshop.unchanged(check):
            return self._unchanged(check)
        name = (candidate.identity, check)
        if name not in self._fits:
            self._fits[name] = self._compared(candidate, made, check)
        return self._fits[name]

    def _unchanged(self, check: str) -> Fit | None:
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
            otherwise = key.kind == "sample" and left.max(initial=0.0) > EXPLAINED
            if otherwise and self._may_draw(candidate, check, expectation):
                left = np.zeros_like(left)
            found.append(float(left.max(initial=0.0)))
            errors.append(float(measure_errors(observed[key], made[key]).max()) if left.size else 0.0)
            mended += key in self.evidence.failed[check] and found[-1] <= EXPLAINED
        return Fit(max(found), max(errors), mended)

    def _may_draw(self, candidate: Candidate, check: str, expectation: Expectation) -> bool:
        """Whether what was observed of a sample lies where the candidate's own does with some other seed."""
        key = expectation.observation.key
        observed = self.evidence.seen(check)[key]
        try:
            draws = [draw[key] for draw in self.workshop.draws(candidate, check) if key in draw]
        except (CannotBeCarriedOut, Malformed):
            return False
        sides = [shares(observed, draw, expectation) for draw in draws]
        return any(left is not None and left.max(initial=0.0) <= EXPLAINED for left in sides)


def _best(causes: Iterable[Cause]) -> list[Cause]:
    """The few best of causes: those that leave the fewest checks, formulations first, then the nearest."""
    ordered = sorted(causes, key=lambda cause: (len(cause.leaves), not cause.formulation, cause.share))
    return list({cause.description: cause for cause in reversed(ordered)}.values())[::-1][:SHOWN]


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
