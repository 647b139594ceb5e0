"""Which optimizer: the formulations of the catalogue against the parameters that a target makes of given gradients."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.identification import optimizer_forms
from conformance.identification.answer import Answer, Named
from conformance.identification.elementary import looked_at_again, none_known
from conformance.identification.exercises import BOWL_STEPS, Exercise, Tensors, bowl, exercise
from conformance.identification.fitting import POWERS, SINGLE, Form, Numbers, nearness
from conformance.identification.optimizer_forms import CALLED, Steps, forms
from conformance.identification.process import Declined, Questioned
from conformance.identification.searching import Match, best, closest, nearest, solved, tidy
from conformance.recipes.dialects import Dialect, dialects
from reference_numpy.optimizers import OPTIMIZERS

SEARCHED, VERIFIED = 0, 1  # seeds
BEGINNING = 10  # steps, on which numbers are solved for
NO_SCHEDULE = "its rate was not changed between steps, so that what differs with the rate alone is not told apart"


def identify(asked: Questioned) -> Answer:
    """The answer for an optimizer. Raises Incomplete where its process ends."""
    try:
        own, path = _first(asked, exercise(SEARCHED))
    except Declined as error:
        try:
            own, path = _first(asked, exercise(SEARCHED, matrices=True))
        except Declined:
            return Answer(asked.target, asked.kind, None, reason=f"it takes no such step: {error}")
    dtype = path[next(iter(path))].dtype.name
    elementwise = _is_elementwise(asked, own, path)
    if not elementwise:
        own = bowl(SEARCHED)
        try:
            path = asked.ask("optimize", own.as_arrays())
        except Declined as error:
            return Answer(asked.target, asked.kind, None, reason=f"it takes no such step: {error}")
    model = Steps(own)
    try:
        observed = model.flattened(path)
    except ValueError as error:
        return Answer(asked.target, asked.kind, None, reason=str(error))
    candidates = list(
        forms(decays=elementwise and _decays(own, path), elementwise=elementwise, history=_history(asked))
    )
    matches = _said(model, candidates, asked.numbers, observed, dtype)
    if not best(matches):
        moved = np.abs(observed[:BEGINNING] - optimizer_forms.flat(own.start)).max(axis=0, initial=0.0)
        weights = np.broadcast_to(
            np.divide(1.0, moved, out=np.zeros_like(moved), where=moved > 0), (BEGINNING, moved.size)
        )
        likely = [form for form in candidates if _may_be(form, own, path)] or candidates
        matches += list(solved(model, model.first(BEGINNING), likely, observed, weights, dtype))
    return _answer(asked, own, matches, dtype)


def _history(asked: Questioned) -> int:
    """How many steps the target says that it keeps; more than are looked at where it says nothing."""
    said = (asked.numbers.get(name) for name in ("history", "history_size", "memory_size"))
    return next((number for number in said if isinstance(number, int) and number > 0), BOWL_STEPS)


def _first(asked: Questioned, own: Exercise) -> tuple[Exercise, Tensors]:
    own = _as_given(asked, own)
    return own, asked.ask("optimize", own.as_arrays())


def _as_given(asked: Questioned, own: Exercise) -> Exercise:
    """The exercise with the rates that the target can follow."""
    return own if asked.scheduled else Exercise(own.start, own.gradients, np.ones(len(own.factors)))


def _is_elementwise(asked: Questioned, own: Exercise, path: Tensors) -> bool:
    """Whether other gradients of one tensor leave the other tensors as they were."""
    first, *others = own.start
    changed = Exercise(own.start, own.gradients | {first: 2 * own.gradients[first]}, own.factors)
    try:
        again = asked.ask("optimize", changed.as_arrays())
    except Declined:
        return True
    return all(np.allclose(again[name], path[name], rtol=SINGLE, atol=0.0, equal_nan=True) for name in others)


def _decays(own: Exercise, path: Tensors) -> bool:
    """Whether a weight moves that never has a gradient."""
    name = next(name for name, gradients in own.gradients.items() if not gradients.any())
    return bool((path[name] != own.start[name]).any())


def _may_be(form: Form, own: Exercise, path: Tensors) -> bool:
    """Whether a formulation stands still, or goes on, after the last gradient as the target does."""
    last = slice(6, None)
    gradients = own.gradients.get("b2")
    if gradients is None or form.fixed.get("weight_decay", 1.0):
        return True
    ended = ~gradients[last].any(axis=0)
    moves = bool((np.diff(path["b2"][last], axis=0)[:, ended] != 0).any())
    return moves is not (form.name in ("gradient_descent", "adagrad", "adadelta") or form.fixed.get("momentum") == 0)


def _said(model: Steps, candidates: list[Form], said: Mapping[str, Any], observed: Any, dtype: str) -> list[Match]:
    """How near each formulation comes with the numbers that the target says of itself, the usual ones where none."""
    return [closest(model, form, numbers, observed, dtype) for form in candidates for numbers in _numbers(form, said)]


def _numbers(form: Form, said: Mapping[str, Any]) -> list[Numbers]:
    """A formulation's numbers as they were said, by whatever name."""
    flat = dict(said)
    for name in ("betas",):
        if isinstance(said.get(name), list):
            flat |= {f"beta{place}": value for place, value in enumerate(said[name], start=1)}
    found = dict(form.numbers)
    for name in form.numbers:
        names = (name, *CALLED.get(form.name, {}).get(name, ()), *CALLED["every"].get(name, ()))
        value = next((flat[other] for other in names if isinstance(flat.get(other), int | float)), None)
        if value is not None:
            found[name] = float(tidy(float(value)))
    return [found] if all(found.values()) else []


def _answer(asked: Questioned, own: Exercise, matches: list[Match], dtype: str) -> Answer:
    found = best(matches)
    notes = [] if asked.scheduled or own.curvature is not None else [NO_SCHEDULE]
    notes += [f"{name}={value!r} was given to it" for name, value in asked.given.items()]
    verified, digits = looked_at_again(found, lambda match: _verified(asked, own, match, dtype))
    if not verified:
        return none_known(asked, nearest(matches), lambda match: _named(match, asked), tuple(notes))
    first, *others = sorted(verified, key=_plainness)
    named = _named(first, asked)
    equal, related = _builtins(named)
    return Answer(
        asked.target, asked.kind, named, digits, _rounded(first), tuple(_named(other, asked) for other in others),
        equal, related, notes=tuple(notes),
    )  # fmt: skip


def _verified(asked: Questioned, own: Exercise, match: Match, dtype: str) -> dict[str, float] | None:
    """The digits to which a match agrees on other inputs, in each precision; None if it does not."""
    another = (
        bowl(VERIFIED)
        if own.curvature is not None
        else exercise(VERIFIED, matrices="b1" in own.start and own.start["b1"].ndim > 1)
    )
    digits = {}
    for precision in ("float64", "float32") if dtype == "float64" else ("float32",):
        given = _as_given(asked, another) if own.curvature is None else another
        given = given if precision == "float64" else given.in_single()
        model = Steps(given)
        try:
            observed = model.flattened(asked.ask("optimize", given.as_arrays()))
        except (Declined, ValueError):
            return None
        manner = match.manner._replace(dtype=precision)
        fit = nearness(model, match.form, match.numbers, observed, manner, coarse=match.coarse)
        if precision == dtype and not fit.same:
            return None
        digits[precision] = fit.digits
    return digits


def _plainness(match: Match) -> tuple[int, int, int, int]:
    """What comes first of formulations that are the same: short numbers, few choices, the catalogue's order."""
    chosen = sum(value != optimizer_forms.choices_of(match.form.name)[n][0] for n, value in match.form.choices.items())
    digits = sum(len(repr(value)) for value in match.numbers.values())
    return len(match.manner.rounded), digits, chosen, list(OPTIMIZERS).index(match.form.name)


def _named(match: Match, asked: Questioned) -> Named:
    """What a match is, without what the target was given."""
    keywords = match.form.keywords(match.numbers)
    return Named(match.form.name, {name: value for name, value in keywords.items() if name not in asked.given})


def _rounded(match: Match) -> tuple[str, ...]:
    names = [name for name in match.numbers if name in match.manner.rounded]
    if POWERS in match.manner.rounded:
        names.append("the betas in 1 - beta^t")
    return (*names, "numbers made of the hyperparameters") if match.coarse else tuple(names)


def _builtins(named: Named) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The built-ins that are the same, and those of the same choices with other numbers."""
    equal, related = [], []
    for dialect in dialects():
        if dialect.optimizer != named.name:
            continue
        differing = differences(named, dialect)
        if not differing:
            equal.append(f"{dialect.framework}.{dialect.builtin}")
        elif all(isinstance(value, float) and value and named.keywords[n] for n, value in differing.items()):
            written = ", ".join(f"{name}={value!r}" for name, value in differing.items())
            related.append(f"{dialect.framework}.{dialect.builtin} (with {written})")
    return tuple(equal), tuple(related)


def differences(named: Named, dialect: Dialect) -> dict[str, Any]:
    """The keywords in which a dialect differs from what was found, with its settings; those without effect aside.

    What was found is the number as it is typed, and a dialect may have it in float32.
    """
    own = effective(named.name, dialect.in_its_precision(named.keywords))
    other = effective(dialect.optimizer, dialect.keywords)
    return {name: value for name, value in other.items() if name in own and own[name] != value} | (
        {name: own[name] for name in own if name not in other and name == "amsgrad" and own[name] is not None}
    )


def effective(name: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords without those that have no effect beside the others, and without the length of L-BFGS's memory."""
    idle = set() if keywords.get("weight_decay") else {"decoupled_weight_decay"}
    idle |= {"learning_rate_position"} if name == "rmsprop" and not keywords.get("momentum") else set()
    idle |= {"momentum_decay"} if keywords.get("schedule") == "constant" else set()
    return {keyword: value for keyword, value in keywords.items() if keyword not in idle}
