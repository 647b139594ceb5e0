"""What the kinds that are functions of arrays share: other libraries' rounding, a second look, and the answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.checks import chance
from conformance.identification.answer import Answer, Named, builtins_of
from conformance.identification.exercises import Array
from conformance.identification.fitting import Manner, nearness
from conformance.identification.process import Declined, Questioned
from conformance.identification.searching import Match, nearest
from conformance.verdicts.rerounding import AnotherLibrary
from reference_numpy.arithmetic import rounded_otherwise

SCALED = 1e-6  # by how much the factors of what is kept may differ
Look = Callable[[Match], dict[str, float] | None]


def functions(manner: Manner) -> Any:
    """While this lasts, what a library computes as one is moved by units in the last place, or in float32's."""
    if manner.generator is None:
        return rounded_otherwise()
    units = round(manner.unit / np.finfo(manner.dtype).eps * 2)
    return rounded_otherwise(value=AnotherLibrary(float(manner.generator.uniform(1e5, 1e6)), max(units, 2)))


def as_single(
    asked: Questioned, match: Match, dtype: str, given: tuple[Array, Array], model: Callable[[Array, Array, bool], Any]
) -> dict[str, float] | None:
    """The digits to which a match agrees on inputs with upstream gradients, by precision; None if it does not."""
    digits = {}
    for precision in ("float64", "float32") if dtype == "float64" else (dtype,):
        z, upstream = (each.astype(precision) for each in given)
        try:
            seen = asked.ask("evaluate", {"a0": z, "upstream": upstream})
        except Declined:
            return None
        own = model(z, upstream, "gradient" in seen)
        fit = nearness(
            own, match.form, match.numbers, own.arranged(seen["value"], seen.get("gradient")),
            match.manner._replace(dtype=precision), coarse=match.coarse,
        )  # fmt: skip
        if precision == dtype and not fit.same:
            return None
        digits[precision] = fit.digits
    return digits


def looked_at_again(found: Sequence[Match], look: Look) -> tuple[list[Match], dict[str, float]]:
    """Those of the matches that agree on other inputs too, and the digits to which the first of them does."""
    measured = [(match, look(match)) for match in found]
    verified = [(match, digits) for match, digits in measured if digits is not None]
    return [match for match, _ in verified], next((digits for _, digits in verified if digits), {})


def none_known(
    asked: Questioned, near: Match | None, named: Callable[[Match], Named], notes: tuple[str, ...]
) -> Answer:
    """The answer where no formulation is the target: the nearest, if there is one, and how far it is."""
    if near is None:
        return Answer(asked.target, asked.kind, None, notes=notes)
    return Answer(asked.target, asked.kind, None, notes=notes, nearest=named(near), distance=near.fit.apart)


def answer_of(
    asked: Questioned,
    found: Sequence[Match],
    matches: Sequence[Match],
    look: Look,
    notes: tuple[str, ...] = (),
    rename: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda keywords: keywords,
    called: Callable[[Match], Named] | None = None,
) -> Answer:
    """The answer: of those found the ones that agree on other inputs too, else what is nearest.

    ``rename`` turns the keywords of a formulation into those of the catalogue; ``called`` its name too.
    """

    def named(match: Match) -> Named:
        return called(match) if called else Named(match.form.name, rename(match.form.keywords(match.numbers)))

    verified, digits = looked_at_again(found, look)
    if not verified:
        return none_known(asked, nearest(matches), named, notes)
    first, *others = verified
    one = named(first)
    return Answer(
        asked.target, asked.kind, one, digits, rounded(first), tuple(map(named, others)),
        builtins_of(asked.kind, one), notes=notes,
    )  # fmt: skip


def dropped(x: Array, drawn: Array) -> float | None:
    """The share that is kept by what makes zeros of some numbers and divides the others by it; None of anything else.

    ``x``: what was given, without zeros; ``drawn``: what was made of it, of its shape.
    """
    kept = x[drawn != 0] / drawn[drawn != 0]
    if not len(kept) or np.ptp(kept) > SCALED or not 0 < kept[0] < 1:
        return None
    keep = float(f"{kept[0]:.6g}")
    low, high = chance.share(drawn.size, keep)
    return keep if low <= len(kept) / drawn.size <= high else None


def rounded(match: Match) -> tuple[str, ...]:
    """What the target rounds to float32."""
    names = [name for name in match.numbers if name in match.manner.rounded]
    return (*names, "numbers of its own") if match.coarse else tuple(names)
