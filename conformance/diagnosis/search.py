"""The search for the cause of a failure, among candidates.

A candidate explains a check if, computed in float64, it lies within twice the allowances of everything that was
observed there, once for the rounding of each of the two. A check that passed was within them of the oracle.

Simpler candidates are tried first, others only if none of these explains everything: each formulation and each fault
(``candidates``), one free number or another component (``numbers``, ``substitutes``), two of the known changes at once,
a rounding (``roundings``), and a change of some tensors alone (``partial``). What is then still unexplained is asked
check by check, since independent differences have causes of their own.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from conformance.checks import CHECKS
from conformance.checks.observation import Key
from conformance.diagnosis.averaging import averaged
from conformance.diagnosis.candidates import Candidate, Path, pair, singles
from conformance.diagnosis.evidence import Evidence
from conformance.diagnosis.explanation import EXPLAINED, NOTHING, SHOWN, Cause, Found
from conformance.diagnosis.fits import Fit, Fits
from conformance.diagnosis.independent import Independent, penalties_changed, strengths
from conformance.diagnosis.inputs import reordered
from conformance.diagnosis.misread import misread
from conformance.diagnosis.numbers import Target, solved
from conformance.diagnosis.partial import partial
from conformance.diagnosis.porting import beside_the_cost, beside_the_predictions, ported
from conformance.diagnosis.roundings import rounded_numbers, roundings
from conformance.diagnosis.starts import started
from conformance.diagnosis.substitutes import decaying, substitutes
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import worst_element
from conformance.verdicts.order import first_failing

PAIRED = 6  # candidates that explain a part, each of which is tried together with every other
NEAREST = 12  # candidates that mend most in the first check, of which the nearest is looked for


Ranked = list[tuple[Candidate, Fit]]


@dataclass(frozen=True)
class Search:
    """The search for the causes of what is wrong with one recipe in one implementation and precision."""

    fits: Fits

    @property
    def evidence(self) -> Evidence:
        """What was observed."""
        return self.fits.evidence

    def causes(self, check: str) -> Found:
        """The causes of a failure that begins in ``check``, or in the next whose numbers are wrong.

        None where all numbers are right, and in the wrong precision, say, or beside others that were not asked for.
        """
        wrong = [other for other in dict.fromkeys((check, *self.evidence.failed_checks)) if not self._is_right(other)]
        if not wrong:
            return NOTHING
        check, untouched = wrong[0], self.fits.untouched(wrong[0])
        distance = np.inf if untouched is None else untouched.share
        recipe, dtype = self.evidence.recipe, self.evidence.dtype
        known: Ranked = []
        alone = singles(recipe)

        def tried_before(among: bool) -> list[Candidate]:
            return [candidate for candidate, _ in known if (candidate in alone) == among]

        levels: list[Callable[[], Iterable[Candidate]]] = [
            lambda: alone,
            lambda: self._known_elsewhere(check),
            lambda: beside_the_cost(self.fits, [candidate for candidate, _ in known]),
            lambda: beside_the_predictions(self.fits, [candidate for candidate, _ in known]),
            lambda: self._pairs([(one, fit) for one, fit in known if one in alone], distance, check),
            lambda: roundings(recipe, dtype),
            lambda: partial(self.fits, tried_before(among=True)),
            lambda: partial(self.fits, tried_before(among=False)),
        ]
        for level in levels:
            tried = self._ranked(level(), check)
            whole = [(one, fit) for one, fit in tried if self._is_whole(one, fit)]
            if whole:
                return Found(self._best(whole, check), [], [], None)
            known = self._sorted([*known, *tried])
        independent = Independent(self.fits, self._solved).found([candidate for candidate, _ in known])
        return independent or Found([], [], [], self._nearest(known))

    def _is_right(self, check: str) -> bool:
        """Whether the reference explains what was seen in a check, as far as it has it."""
        untouched = self.fits.untouched(check)
        return untouched is not None and untouched.share <= EXPLAINED

    def _known_elsewhere(self, check: str) -> Iterator[Candidate]:
        """One free number, another component, and what else libraries and ports have been seen to do."""
        yield from self._solved(check)
        yield from substitutes(self.evidence.recipe)
        for other in decaying(self.evidence.recipe):
            yield from self._solved(check, [("optimizer",)], other, "weight_decay")
        yield from misread(self.evidence.recipe)
        if self.evidence.dtype == "float64":
            yield from rounded_numbers(self.evidence.recipe)
        for source in (started, reordered, ported, averaged):
            yield from source(self.fits)

    def _is_whole(self, candidate: Candidate, fit: Fit) -> bool:
        """Whether a candidate explains everything."""
        return fit.share <= EXPLAINED and not self.fits.cause(candidate, fit).leaves

    def _best(self, whole: Ranked, check: str) -> list[Cause]:
        """The few best of what explains everything.

        First what has no number that was solved for, then formulations, then the nearest. What keeps more from step to
        step than is asked for is no cause where something else is, nor another strength of a penalty where another
        convention of it is.
        """
        asked = Candidate("nothing", self.evidence.recipe).slots
        plain = [(one, fit) for one, fit in whole if one.slots <= asked] or whole
        others = {one: penalties_changed(one, self.evidence.recipe) for one, _ in plain}
        if any("convention" in changed for changed in others.values()):
            plain = [(one, fit) for one, fit in plain if others[one] != {"strength"}]
        ordered = sorted(plain, key=lambda found: (found[0].is_solved, not found[0].is_formulation, found[1].share))
        causes = [self._cause(one, fit, check) for one, fit in ordered]
        return list({cause.description: cause for cause in reversed(causes)}.values())[::-1][:SHOWN]

    def _cause(self, candidate: Candidate, fit: Fit, check: str) -> Cause:
        """A cause; with another convention of a penalty goes the strength to which that comes, if it does to one."""
        checks = [check, *(other for other in CHECKS if other != check)]
        also = strengths(self.fits, self._solved, candidate, checks)
        return self.fits.cause(candidate, fit)._replace(also=also)

    def _ranked(self, candidates: Iterable[Candidate], check: str) -> Ranked:
        tried = [(candidate, self.fits.fit(candidate, check)) for candidate in candidates]
        return self._sorted([(candidate, fit) for candidate, fit in tried if fit is not None])

    def _sorted(self, fits: Ranked) -> Ranked:
        return sorted(fits, key=lambda item: (-item[1].mended, item[1].share))

    def _solved(
        self, check: str, within: Collection[Path] | None = None, recipe: Recipe | None = None, only: str = ""
    ) -> list[Candidate]:
        """Keywords of the recipe, or of another, with the numbers that make the first divergent value of a check."""
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
        target = Target(self.fits.workshop, check, key, index, value, reach)
        asked = recipe or self.evidence.recipe
        return list(solved(asked, target, lambda one: self.fits.explains(one, check), within, only))

    def _pairs(self, known: Ranked, distance: float, check: str) -> Iterator[Candidate]:
        """Two changes at once that explain every check, the one of which helps with the first.

        In the first check that the one leaves, the other alone must move just the tensors that the one leaves there;
        formulations, which may be two keywords of one formula, are tried in any case.
        """
        helpful = [candidate for candidate, fit in known if fit.share < distance][:PAIRED]
        moved: dict[str, list[tuple[Candidate, set[Key] | None]]] = {}
        for one in helpful:
            place = next(other for other in CHECKS if not self.fits.explains(one, other))
            if place not in moved:
                oracle = self.evidence.oracle(place)
                moved[place] = [(other, self.fits.apart(other, place, oracle)) for other, _ in known]
            left = self.fits.apart(one, place, self.evidence.seen(place))
            for other, tensors in moved[place]:
                likely = (left and tensors == left) or (one.is_formulation and other.is_formulation)
                both = pair(one, other, self.evidence.recipe) if likely and other is not one else None
                if both and all(self.fits.explains(both, every) for every in (place, *reversed(CHECKS))):
                    yield both

    def _nearest(self, known: Ranked) -> Cause | None:
        """The candidate that mends most of what failed, of those that leave all that passed as it is.

        Decisions do not count: there are few, and they may well agree by chance.
        """
        best: Cause | None = None
        for candidate, fit in known[:NEAREST]:
            mended = 0
            for check in CHECKS:
                apart = self.fits.apart(candidate, check, self.evidence.seen(check))
                if apart is None or apart - self.evidence.failed[check]:
                    break
                made = self.fits.workshop.made(candidate, check) or {}
                mended += sum(k in made and k.kind != "decision" for k in self.evidence.failed[check] - apart)
            else:
                if mended > (best.mended if best else 0):
                    best = self.fits.cause(candidate, fit)._replace(mended=mended)
        return best
