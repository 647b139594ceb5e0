"""Independent differences: each with a cause of its own, found check by check.

What no candidate explains by itself may be several things at once. Each check that failed is asked which one change
explains it beside those found before; a check for which there was none is asked again when others are found, and then
for two changes at once. So what has no known cause, a rounding in one check for example, does not hide the others.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from conformance.checks import CHECKS
from conformance.checks.observation import Key
from conformance.diagnosis.candidates import Candidate, Path, components_of, pair
from conformance.diagnosis.explanation import Cause, Found
from conformance.diagnosis.fits import Fits, builtins
from conformance.recipes.recipe import Recipe
from reference_numpy.regularizers import PENALTIES

TOGETHER = 4  # independent differences that are told apart
PAIRED = 6  # candidates that mend most of a check, each of which is tried there together with every other
LONG = ("free_running", "native")  # checks in which no two changes are tried


Solved = Callable[[str, Collection[Path] | None], list[Candidate]]  # of a check, the components at these places alone


def penalties_changed(candidate: Candidate, asked: Recipe) -> set[str]:
    """The keywords of penalties that a candidate has otherwise than the recipe, where it changes nothing else."""
    own, other = dict(components_of(asked)), dict(components_of(candidate.recipe))
    changed = [path for path in own.keys() & other.keys() if own[path] != other[path]]
    if candidate.mutants or candidate.changes or any(own[path].name not in PENALTIES for path in changed):
        return set()
    pairs = [(own[path].keywords, other[path].keywords) for path in changed if own[path].name == other[path].name]
    return {keyword for one, another in pairs for keyword in one if one[keyword] != another[keyword]}


def strengths(fits: Fits, solved: Solved, candidate: Candidate, checks: Sequence[str]) -> tuple[str, ...]:
    """The strength of a penalty to which another convention of it comes, if it does in these checks."""
    asked = dict(components_of(fits.evidence.recipe))
    paths = [path for path, own in components_of(candidate.recipe)
             if own.name in PENALTIES and own.name == asked.get(path, own).name and own != asked[path]]  # fmt: skip
    if candidate.is_solved or not candidate.is_formulation or not paths:
        return ()
    others = solved(checks[0], paths) if checks else []
    return tuple(one.description for one in others if all(fits.explains(one, check) for check in checks))


class _Whole(NamedTuple):
    """The differences found so far, and all of them as one candidate."""

    chosen: tuple[Candidate, ...]
    candidate: Candidate | None


@dataclass(frozen=True)
class Independent:
    """The search for several causes. ``solved``: free numbers that explain the first divergence of a check."""

    fits: Fits
    solved: Solved

    def found(self, pool: Sequence[Candidate]) -> Found | None:
        """Changes among ``pool`` that each explain some check which failed; None if there are none."""
        whole = self._chosen(pool)
        if whole.candidate is None:
            return None
        failed = self.fits.evidence.failed_checks
        unexplained = [check for check in failed if not self.fits.explains(whole.candidate, check)]
        if not unexplained and all(self.fits.explains(whole.candidate, check) for check in CHECKS):
            fit = self.fits.fit(whole.candidate, failed[0])
            assert fit is not None
            also = [
                other
                for one in whole.chosen
                for other in strengths(self.fits, self.solved, one, [c for c in failed if self.fits.explains(one, c)])
            ]
            return Found([self.fits.cause(whole.candidate, fit)._replace(also=tuple(also))], [], [], None)
        explained = [check for check in failed if check not in unexplained]
        alone = len(whole.chosen) == 1
        partly = [self._part(candidate, explained, unexplained, alone) for candidate in whole.chosen]
        return Found([], partly, unexplained, None)

    def _chosen(self, pool: Sequence[Candidate]) -> _Whole:
        """Changes, added one by one until every check is explained or no more are found."""
        whole, more = _Whole((), None), True
        while more:
            more = False
            for candidates in (self._singles, self._pairs):
                for check in self.fits.evidence.failed_checks:
                    if whole.candidate is None or not self.fits.explains(whole.candidate, check):
                        found = self._next(whole, check, candidates(whole, check, pool))
                        whole, more = found or whole, more or found is not None
                if more:
                    break
        return whole

    def _next(self, before: _Whole, check: str, candidates: Iterator[Candidate]) -> _Whole | None:
        """What is found beside ``before`` with the one of the candidates that explains most, and this check.

        It changes nothing that passed, and nothing that is explained. Of two that explain as much it is the first, and
        one of which every number is known rather than one with a number that was solved for.
        """
        best: _Whole | None = None
        most = (0, False)
        explained = {other for other in CHECKS if before.candidate and self.fits.explains(before.candidate, other)}
        kept = {other for other in CHECKS if other not in self.fits.evidence.failed_checks}
        for one in candidates:
            both = one if before.candidate is None else pair(before.candidate, one, self.fits.evidence.recipe)
            chosen = (*before.chosen, *(one.parts or (one,)))
            if both is None or len(chosen) > TOGETHER or not self.fits.explains(both, check):
                continue
            reached = {other for other in CHECKS if self.fits.explains(both, other)}
            if kept | explained <= reached and (len(reached), not one.is_solved) > most:
                best, most = _Whole(chosen, both), (len(reached), not one.is_solved)
        return best

    def _singles(self, before: _Whole, check: str, pool: Sequence[Candidate]) -> Iterator[Candidate]:
        """Single changes that have a part in a check, and explain it or move just what is left of it."""
        left = self._left(before.candidate, check)
        for one in (*pool, *self.solved(check, None)):
            if self.fits.moves(one, check) and (
                before.candidate is None or self.fits.explains(one, check) or (left and self._moved(one, check) == left)
            ):
                yield one

    def _pairs(self, before: _Whole, check: str, pool: Sequence[Candidate]) -> Iterator[Candidate]:
        """Two changes at once, the one of which mends something of a check and the other moves just what it leaves.

        Formulations, which may be two keywords of one formula, are tried in any case.
        """
        if check in LONG or len(before.chosen) + 2 > TOGETHER:
            return
        moving = [one for one in pool if not one.is_solved and self.fits.moves(one, check)]
        mending = [(fit.mended, one) for one in moving if (fit := self.fits.fit(one, check)) and fit.mended]
        for _, one in sorted(mending, key=lambda found: -found[0])[:PAIRED]:
            left = self._left(one, check)
            for other in moving:
                likely = (left and self._moved(other, check) == left) or (one.is_formulation and other.is_formulation)
                both = pair(one, other, self.fits.evidence.recipe) if likely and other is not one else None
                if both is not None:
                    yield both

    def _left(self, candidate: Candidate | None, check: str) -> set[Key] | None:
        """The tensors that a candidate leaves of what a check saw."""
        return None if candidate is None else self.fits.apart(candidate, check, self.fits.evidence.seen(check))

    def _moved(self, candidate: Candidate, check: str) -> set[Key] | None:
        """The tensors that a candidate makes otherwise than the oracle."""
        return self.fits.apart(candidate, check, self.fits.evidence.oracle(check))

    def _part(self, candidate: Candidate, explained: list[str], unexplained: list[str], alone: bool) -> Cause:
        """One of several causes: with the checks that it explains by itself, or where it has a part in it."""
        mine = [check for check in explained if self.fits.explains(candidate, check)]
        mine += [check for check in explained if check not in mine and (alone or self.fits.moves(candidate, check))]
        fit = self.fits.fit(candidate, mine[0])
        assert fit is not None
        in_order = sorted(mine, key=list(CHECKS).index)
        asked = self.fits.evidence.recipe
        return Cause(
            candidate.description, candidate.is_formulation, fit.error, fit.share, in_order, unexplained,
            builtins(candidate.recipe, asked), also=strengths(self.fits, self.solved, candidate, mine),
        )  # fmt: skip
