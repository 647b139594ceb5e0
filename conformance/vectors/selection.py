"""Which situations become vectors: a small set that tells a formulation from all that it may be mistaken for.

A situation kills a mistake in a precision if what is answered with it lies more than two allowances from the oracle:
one for the rounding of either. The set is chosen greedily: the situation that kills most of what is left, again and
again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from conformance.diagnosis.explanation import EXPLAINED
from conformance.problems.tensors import Tensors
from conformance.recipes.recipe import DTYPES
from conformance.vectors.floors import Allowances, allowances, error
from conformance.vectors.formulations import Formulation, Mistake, mistakes
from conformance.vectors.situations import Situation, situations
from conformance.verdicts.compare import ROUNDOFFS

Victim = tuple[str, str]  # a mistake's name, and a precision
Errors = dict[str, float]  # by output


class Vector(NamedTuple):
    """A situation that was chosen: the oracle's outputs, their allowances by precision, and by how many allowances
    each mistake moves them where it moves them most."""

    situation: Situation
    outputs: Tensors
    allowed: dict[str, Allowances]
    ratios: dict[Victim, float]


def discriminates(vector: Vector, name: str) -> bool:
    """Whether a vector kills a mistake, in every precision in which it is one."""
    own = [ratio for (mistake, _), ratio in vector.ratios.items() if mistake == name]
    return min(own) > EXPLAINED


class Selection(NamedTuple):
    """The vectors of a formulation, and what is known of each of its mistakes.

    ``alike``: mistakes that make no difference in any situation beyond rounding: with these keywords they are none.
    ``missed``: by mistake and precision, by how many allowances at most it moves anything in any situation.
    """

    formulation: Formulation
    vectors: list[Vector]
    mistakes: list[Mistake]
    alike: list[str]
    missed: dict[Victim, float]

    @property
    def shown(self) -> list[str]:
        """The mistakes that make a difference."""
        return [mistake.name for mistake in self.mistakes if mistake.name not in self.alike]


@dataclass
class _Trial:
    """A situation with what mistakes make of it; its allowances are measured when they are asked for."""

    formulation: Formulation
    situation: Situation
    oracle: Tensors
    errors: dict[str, Errors | None] = field(default_factory=dict)  # by mistake
    measured: dict[str, Allowances] = field(default_factory=dict)
    ratios: dict[Victim, float] = field(default_factory=dict)  # those that were asked for since

    def ask(self, tried: Iterable[Mistake]) -> None:
        """See what further mistakes make of it."""
        for mistake in tried:
            if mistake.name not in self.errors:
                self.errors[mistake.name] = errors(mistake.answer(self.situation.inputs), self.oracle)

    def measure(self, tried: Iterable[Mistake]) -> None:
        """Measure its allowances, and ask every mistake."""
        self.ask(tried)
        inputs = self.situation.inputs
        self.measured = {dtype: allowances(self.formulation, inputs, self.oracle, dtype) for dtype in DTYPES}
        self.ratios.clear()

    def ratio(self, victim: Victim) -> float:
        """By how many allowances; until these are measured, by how many of the smallest that there can be."""
        name, dtype = victim
        if name not in self.errors:
            return 0.0
        if victim not in self.ratios:
            least = ROUNDOFFS * float(np.finfo(dtype).eps) / 2
            allowed = self.measured.get(dtype) or dict.fromkeys(self.oracle, least)
            self.ratios[victim] = moved(self.errors[name], allowed)
        return self.ratios[victim]

    def kills(self, alive: Iterable[Victim]) -> set[Victim]:
        return {victim for victim in alive if self.ratio(victim) > EXPLAINED}


def errors(answer: Tensors | None, oracle: Tensors) -> Errors | None:
    """The errors of an answer by output; None for none at all, or for other outputs."""
    if answer is None or answer.keys() != oracle.keys():
        return None
    with np.errstate(all="ignore"):  # of what is not finite
        return {name: error(np.asarray(answer[name]), expected) for name, expected in oracle.items()}


def moved(found: Errors | None, allowed: Allowances) -> float:
    """By how many allowances an answer lies from the oracle's where it lies farthest; infinite for none at all."""
    if found is None:
        return float("inf")
    told = {name: allowance for name, allowance in allowed.items() if allowance is not None}
    return max((found[name] / allowance for name, allowance in told.items()), default=0.0)


def select(formulation: Formulation) -> Selection:
    """The vectors of a formulation; always one at least."""
    tried = mistakes(formulation)
    made = situations(formulation.kind.name, formulation.component, formulation.keywords)
    trials = [_Trial(formulation, situation, formulation.answer(situation.inputs)) for situation in made]
    victims = [victim for mistake in tried for victim in _victims(mistake)]
    _ask(trials, tried)
    alike = [mistake.name for mistake in tried if not _shown(trials, mistake)]
    alive = {victim for victim in victims if victim[0] not in alike}
    chosen: list[_Trial] = []
    while alive or not chosen:
        best = max(trials, key=lambda trial: len(trial.kills(alive)))
        if not best.measured:
            best.measure(tried)
        elif chosen and not best.kills(alive):
            if not _ask_all(trials, [mistake for mistake in tried if any(name == mistake.name for name, _ in alive)]):
                break
        else:
            chosen.append(best)
            alive -= best.kills(alive)
    chosen.sort(key=trials.index)
    missed = {victim: max(trial.ratio(victim) for trial in trials if trial.measured) for victim in sorted(alive)}
    vectors = [
        Vector(trial.situation, trial.oracle, trial.measured, {victim: trial.ratio(victim) for victim in victims})
        for trial in chosen
    ]
    return Selection(formulation, vectors, tried, alike, missed)


def _ask(trials: list[_Trial], tried: list[Mistake]) -> None:
    """Ask every mistake in the situations that need no state to be set, then in the others those that are left."""
    easy = [trial for trial in trials if "step" not in trial.situation.inputs]
    for trial in easy:
        trial.ask(tried)
    killed = [
        mistake for mistake in tried if any(trial.kills(victims := _victims(mistake)) == set(victims) for trial in easy)
    ]
    _ask_all(trials, [mistake for mistake in tried if mistake not in killed])


def _victims(mistake: Mistake) -> list[Victim]:
    return [(mistake.name, dtype) for dtype in mistake.dtypes]


def _ask_all(trials: list[_Trial], left: list[Mistake]) -> bool:
    """Ask some mistakes in every situation. Returns whether there was one in which one of them was not asked before."""
    before = sum(len(trial.errors) for trial in trials)
    for trial in trials:
        trial.ask(left)
    return sum(len(trial.errors) for trial in trials) > before


def _shown(trials: list[_Trial], mistake: Mistake) -> bool:
    """Whether a mistake makes any difference beyond rounding in the finest of its precisions."""
    finest = next(dtype for dtype in DTYPES if dtype in mistake.dtypes)
    return any(trial.kills([(mistake.name, finest)]) for trial in trials)


def nearest_mistake(selection: Selection) -> tuple[Vector, Mistake] | None:
    """A vector and the mistake that moves it least of those that it kills in both precisions; None if there is none."""
    found = [
        (min(vector.ratios[victim] for victim in victims), vector, mistake)
        for mistake in selection.mistakes
        for vector in selection.vectors
        if len(victims := _victims(mistake)) == len(DTYPES) and discriminates(vector, mistake.name)
    ]
    nearest = min(found, key=lambda each: each[0], default=None)
    return None if nearest is None or nearest[0] == np.inf else nearest[1:]
