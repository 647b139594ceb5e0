"""Free numbers: which number, in the place of one keyword, makes the first divergent value what it was seen to be.

It is solved for on that one value, by the secant and, where this leads nowhere, between two numbers of which one makes
it too large and the other too small; then it is rounded to the shortest decimal that still explains the check.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from conformance.checks.case import Case, learning_rate
from conformance.checks.observation import Key
from conformance.diagnosis.candidates import Candidate, Path, changed, components_of
from conformance.diagnosis.roundings import rounded
from conformance.diagnosis.workshop import Workshop
from conformance.recipes.recipe import Recipe

SECANTS = 25  # steps
HALVINGS = 60
SHORT = 6  # digits of a number as it may be written; a fraction of what was asked for comes before longer ones
LARGEST_DENOMINATOR = 100
PRECISIONS = ("float32", "float16", "bfloat16")
GRID = sorted(
    {0.0, *(10.0**k for k in range(-12, 4)), *(k / 20 for k in range(1, 20)), *(1 - 10.0**-k for k in (2, 3, 4))}
)

Evaluate = Callable[[float], float]  # what is left of the target; NaN for a number that the keyword may not have


@dataclass(frozen=True)
class Target:
    """A value that was seen: of which tensor of a check and at which index; ``reach``: how near is near enough."""

    workshop: Workshop
    check: str
    key: Key
    index: tuple[int, ...]
    value: float
    reach: float

    def left(self, candidate: Candidate) -> float:
        """What a candidate makes of the value, less what was seen; NaN if nothing."""
        if self.key.tensor == "learning rate":  # a training need not be made for it
            problem = replace(self.workshop.case.problem, recipe=candidate.recipe)
            return learning_rate(problem, self.key.step_of(self.index[0])) - self.value
        made = self.workshop.value(candidate, self.check, self.key, _around(self.workshop.case, self.check, self.key))
        if made is None:
            return float("nan")
        try:
            return float(np.asarray(made)[self.index]) - self.value
        except IndexError:
            return float("nan")

    @property
    def is_cheap(self) -> bool:
        """Whether no training need be made for it."""
        return self.check != "free_running" or self.key.tensor == "learning rate"


def _around(case: Case, check: str, key: Key) -> Case:
    """The situations of a case in which a tensor is seen."""
    if check == "free_running":
        return case
    return replace(
        case,
        points={step: point for step, point in case.points.items() if step == key.step} or case.points,
        trajectory=tuple(state for state in case.trajectory if state.step == key.step),
        exercises=tuple(exercise for exercise in case.exercises if exercise.step == key.step),
    )


def solved(
    recipe: Recipe,
    target: Target,
    explains: Callable[[Candidate], bool],
    within: Collection[Path] | None = None,
    only: str = "",
) -> Iterator[Candidate]:
    """Each keyword, or of the components ``within`` those places alone, with the number that makes the target's value.

    ``only``: the keyword that alone is looked at; "" for all.

    One that explains the whole check comes with as few digits as do; another with as few as make the value.
    """
    if not np.isfinite(target.value):
        return
    for path, component in components_of(recipe):
        if within is not None and path not in within:
            continue
        for keyword, asked in component.keywords.items():
            if isinstance(asked, bool) or not isinstance(asked, int | float) or only not in ("", keyword):
                continue

            def with_number(number: float, remark: str = "", path: Any = path, keyword: str = keyword,
                            name: str = component.name) -> Candidate | None:  # fmt: skip
                described = f"{name}({keyword}={number!r}{remark})"
                made = next(changed(recipe, path, {keyword: number}, described), None)
                return None if made is None else replace(made, is_solved=True)

            fitting = _whole_numbers(recipe, target, asked, with_number) if isinstance(asked, int) else (
                _numbers(target, asked, with_number)
            )  # fmt: skip
            found = list(fitting)
            best = next(filter(explains, found), found[0] if found else None)
            if best is not None:
                yield best


def _whole_numbers(
    recipe: Recipe, target: Target, asked: int, made: Callable[[int], Candidate | None]
) -> Iterator[Candidate]:
    """Whole numbers that one comes to by miscounting."""
    epoch, epochs = target.workshop.case.problem.batches_per_epoch, recipe.epochs
    steps = epoch * epochs
    likely = (
        asked + 1, asked - 1, asked + 2, asked - 2, 2 * asked, asked // 2, asked * epoch, asked // epoch, epochs, steps,
        epochs - 1, steps - 1, epochs + 1, steps + 1, epoch,
    )  # fmt: skip
    for number in dict.fromkeys(likely):
        candidate = made(number) if number >= 0 and number != asked else None
        if candidate is not None and abs(target.left(candidate)) <= target.reach:
            yield candidate


def _numbers(target: Target, asked: float, made: Callable[..., Candidate | None]) -> Iterator[Candidate]:
    """The number that makes the target's value, ever more digits of it."""

    def left(number: float) -> float:
        candidate = made(number)
        return float("nan") if candidate is None else target.left(candidate)

    for number, remark in free_numbers(asked, left, target.reach, is_cheap=target.is_cheap):
        candidate = made(number, remark)
        if candidate is not None:
            yield candidate


def free_numbers(asked: float, left: Evaluate, reach: float, *, is_cheap: bool = True) -> Iterator[tuple[float, str]]:
    """Numbers in the place of ``asked`` at which no more than ``reach`` is left, ever more digits of them.

    Each comes with a remark on how it is written. Where the secant leads nowhere they are sought between others, if one
    more try ``is_cheap``.
    """
    root = _root(left, asked, reach, is_cheap)
    if root is None:
        return
    for number, remark in _written(root, asked):
        if number != asked and abs(left(number)) <= reach:
            yield number, remark


def _written(root: float, asked: float) -> Iterator[tuple[float, str]]:
    """The number as somebody may have written it.

    0, with few digits, as a fraction of what was asked for, as that in a lower precision, in full.
    """
    decimals = [float(f"{root:.{digits}e}") for digits in range(17)]
    yield from ((number, "") for number in dict.fromkeys([0.0, *decimals[:SHORT]]))
    if asked:
        share = Fraction(root / asked).limit_denominator(LARGEST_DENOMINATOR)
        yield asked * float(share), f", {share} of the one asked for"
    for precision in PRECISIONS:
        rough = float(rounded(np.asarray(asked), precision))
        yield rough, f", the one asked for in {precision}"
        if rough:
            share = Fraction(root / rough).limit_denominator(LARGEST_DENOMINATOR)
            yield rough * float(share), f", {share} of the one asked for in {precision}"
    yield from ((number, "") for number in dict.fromkeys(decimals[SHORT:]))


def _root(left: Evaluate, asked: float, reach: float, is_cheap: bool) -> float | None:
    """A number at which nothing is left, or None."""
    before, at_before = asked, left(asked)
    for number in (0.99 * asked, 1.01 * asked, 0.01, 1.0):
        at_number = left(number) if number != asked else float("nan")
        if np.isfinite(at_number):
            break
    else:
        return None
    if at_number == at_before:  # it has no part in this value
        return None
    found = _secant(left, (before, at_before), (number, at_number), reach)
    if found is None and is_cheap:
        found = _between(left, reach)
    return found


def _secant(left: Evaluate, one: tuple[float, float], other: tuple[float, float], reach: float) -> float | None:
    best, tried = min((one, other), key=lambda point: abs(point[1])), 0
    while tried < SECANTS and one[1] != other[1] and other[1] != 0:
        step = -other[1] * (other[0] - one[0]) / (other[1] - one[1])
        number, value = other[0] + step, float("nan")
        while tried < SECANTS and not np.isfinite(value):  # what a keyword may not be is too far
            number = other[0] + step
            value, step, tried = left(number), step / 2, tried + 1
        if not np.isfinite(value):
            break
        one, other = other, (number, value)
        best = min((best, other), key=lambda point: abs(point[1]))
    return best[0] if abs(best[1]) <= reach else None


def _between(left: Evaluate, reach: float) -> float | None:
    points = [(number, left(number)) for number in GRID]
    known = [(number, value) for number, value in points if np.isfinite(value)]
    for (low, at_low), (high, at_high) in pairwise(known):
        if at_low * at_high > 0:
            continue
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            value = left(middle)
            low, high = (middle, high) if value * at_low > 0 else (low, middle)
        if abs(left(high)) <= reach:
            return high
    return None
