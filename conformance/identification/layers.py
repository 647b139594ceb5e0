"""Which layer: the reference's layers against what a target makes of inputs and of arrays that are chosen for it.

The target's arrays are set to random numbers. A formulation is the target's where, with the same numbers in its own
parameters, its outputs, the gradients of the inputs and of every array, and what training leaves, are the same. Which
array is which parameter is sought with it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from conformance.identification import layer_starts, layer_table
from conformance.identification.answer import Answer, Named
from conformance.identification.elementary import dropped, rounded
from conformance.identification.fitting import Fit, Manner, nearness
from conformance.identification.layer_arrays import Assigned, assignments, in_usual_order
from conformance.identification.layer_forms import GATES, Asked, proposals
from conformance.identification.layer_model import Candidate, Model, Seen, View, views
from conformance.identification.layer_target import Target
from conformance.identification.layering import Input
from conformance.identification.process import Declined, Questioned
from conformance.identification.searching import Match, best, closest, nearest, solved

PROMISING = 1e-4  # what outputs may be away on average for a formulation to be looked at closely
DRAWS = 6  # in training, of what chance has a part in
LARGER = (1, 2)  # by which axes of space and time are longer, to tell formulations apart
NO_SHAPE = "no layer of the catalogue has inputs, outputs and arrays of its shapes"
TOLD = 6  # formulations that are told beside the first


class Found(NamedTuple):
    """A candidate with how near it is."""

    candidate: Candidate
    match: Match


class Verified(NamedTuple):
    """A candidate that agrees on other inputs and arrays too, with the digits in each precision."""

    found: Found
    digits: dict[str, float]


def identify(asked: Questioned) -> Answer:
    """The answer for a layer. Raises Incomplete where its process ends."""
    opened = asked.ask("open", {})
    near: list[Found] = []
    said, taken = "", False
    inputs = [Input(tuple(int(n) for n in shape), bool(integers)) for integers, *shape in opened.values()]
    for given in inputs:
        try:
            target = Target(asked, given)
            seen = target.seen(0, "float64")
        except Declined as error:
            said = said or str(error)
            continue
        taken = True
        dropout = _dropout(target, seen)
        if dropout is not None:
            return dropout
        found = list(_found(target, seen))
        verified = _verified(target, found)
        if verified:
            return _answer(target, _told_apart(verified, target))
        near += found
    return _none(asked, near, NO_SHAPE if taken else f"it takes no input: {said}")


def _dropout(target: Target, seen: Seen) -> Answer | None:
    """The answer for what lets inputs through, in training but for some that are zeros; None of anything else."""
    if target.held.trained or target.given.integers or not np.array_equal(seen.x, seen.y):
        return None
    x, drawn = target.given.drawn(0, "float64"), np.stack(target.training(DRAWS))
    keep = dropped(np.broadcast_to(x, drawn.shape), drawn)
    if keep is None:
        return None
    one = Named("dropout", {"keep_probability": keep})
    return Answer(
        target.asked.target, "layer", one, builtins=layer_table.same_as(one), given=target.asked.given,
    )  # fmt: skip


def _found(target: Target, seen: Seen) -> Iterator[Found]:
    """Every formulation that comes near in its outputs, closely looked at; of the others how near they come."""
    promising: list[tuple[Candidate, Model]] = []
    for candidate, model in _candidates(target, seen):
        observed = model.candidate.view.output(seen.y)
        try:
            made = model.forward(candidate.form, candidate.form.numbers)
        except (ValueError, IndexError):
            continue
        scale = float(np.abs(observed).max(initial=0.0)) or 1.0
        apart = float(np.minimum(np.abs(made - observed) / scale, 1.0).mean())
        if apart > PROMISING and not candidate.statistics and candidate.form.name != "layer_norm":
            yield Found(candidate, _far(candidate, apart))
            continue
        promising.append((candidate, model))
        match = closest(model, candidate.form, candidate.form.numbers, model.arranged(), seen.y.dtype.name)
        yield Found(candidate, match)
        if match.same and len(promising) > TOLD:
            return
    yield from _solved(promising, seen)


def _far(candidate: Candidate, apart: float) -> Match:
    return Match(candidate.form, dict(candidate.form.numbers), Fit(float("inf"), 0.0, apart, 1.0), Manner())


def _solved(promising: list[tuple[Candidate, Model]], seen: Seen) -> Iterator[Found]:
    """Formulations with numbers that are solved for."""
    for candidate, model in promising:
        if candidate.form.numbers:
            observed = model.arranged()
            weights = 1 / np.maximum(model.scale(observed), 1e-300)
            for match in solved(model, model, [candidate.form], observed, weights, seen.y.dtype.name):
                yield Found(candidate, match)
                if match.same:
                    return


def _candidates(target: Target, seen: Seen) -> Iterator[tuple[Candidate, Model]]:
    for view in views(seen.x, seen.y):
        x, y = view.here(seen.x), view.output(seen.y)
        if len(x) != len(y):
            continue
        told = Asked(x.shape[1:], y.shape[1:], target.given.integers, target.held, target.asked.numbers)
        for proposal in proposals(told):
            for parameters in assignments(proposal.needed, proposal.pieces, proposal.optional):
                for statistics in assignments(proposal.statistics, target.held.pieces(target.held.others), {}):
                    for turned in (False, True) if proposal.turned else (False,):
                        candidate = Candidate(proposal.form, view._replace(turned=turned), parameters, statistics)
                        yield candidate, Model(candidate, target.held, seen)


def _verified(target: Target, found: list[Found]) -> list[Verified]:
    """Those that agree on other inputs and arrays too, with the digits in each precision."""
    same = {id(match): Found(candidate, match) for candidate, match in found if match.same}
    kept = []
    again = {dtype: target.seen(1, dtype) for dtype in ("float64", "float32")} if same else {}
    for match in best(one.match for one in same.values()):
        digits = {}
        for dtype, seen in again.items():
            model = Model(same[id(match)].candidate, target.held, seen)
            observed = model.arranged()
            manner = match.manner._replace(dtype=dtype)
            fit = nearness(model, match.form, match.numbers, observed, manner, coarse=match.coarse)
            if dtype == "float64" and not fit.same:
                break
            digits[dtype] = fit.digits
        else:
            kept.append(Verified(same[id(match)], digits))
    return kept


def _told_apart(verified: list[Verified], target: Target) -> list[Verified]:
    """Those that agree on larger inputs too, where there are several."""
    axes = verified[0].found.candidate.view.axes[1:-1]
    for more in LARGER if axes else ():
        if len(verified) < 2:
            break
        shape = tuple(n + more * (axis in axes) for axis, n in enumerate(target.given.shape))
        try:
            other = Target(target.asked, target.given._replace(shape=shape))
            seen = other.seen(2, "float64")
        except Declined:
            continue
        if other.held.shapes == target.held.shapes:
            agreeing = [each for each in verified if _agrees(Model(each.found.candidate, other.held, seen), each.found)]
            verified = agreeing or verified
    return verified


def _agrees(model: Model, found: Found) -> bool:
    try:
        observed, match = model.arranged(), found.match
        return nearness(model, match.form, match.numbers, observed, match.manner, coarse=match.coarse).same
    except (ValueError, IndexError):  # such inputs it cannot take
        return False


def _answer(target: Target, verified: list[Verified]) -> Answer:
    (first, digits), *others = verified
    candidate = _usual(first.candidate)
    keywords = candidate.form.keywords(first.match.numbers)
    starts = layer_starts.starts(target, candidate) if target.held.trained else layer_starts.Starts({}, {})
    one = Named(candidate.form.name, {**keywords, **starts.keywords})
    alike = [found for found, _ in others if found.candidate.view == first.candidate.view]
    same = {n.written("layer"): n for n in map(_named, alike)}
    same.pop(_named(first).written("layer"), None)
    arrays = {path: slot.words for path, slot in {**candidate.parameters, **candidate.statistics}.items()}
    return Answer(
        target.asked.target, "layer", one, digits, rounded(first.match), tuple(same.values()), layer_table.same_as(one),
        notes=tuple(_notes(target, candidate)), arrays=arrays, starts=starts.words, given=target.asked.given,
    )  # fmt: skip


def _named(found: Found) -> Named:
    form = _usual(found.candidate).form
    return Named(form.name, form.keywords(found.match.numbers))


def _usual(candidate: Candidate) -> Candidate:
    """Gates that are arrays of their own, in the reference's usual order."""
    form = candidate.form
    inner = form.choices.get("layer")
    name, keywords = (inner.name, inner.keywords) if isinstance(inner, Named) else (form.name, form.choices)
    usual = GATES.get(name)
    if usual is None or not any(slot.stacked for slot in candidate.parameters.values()):
        return candidate
    parameters: Assigned = in_usual_order(candidate.parameters, str(keywords["gates"]), usual)
    changed = {**keywords, "gates": usual}
    choices = {**form.choices, "layer": Named(name, changed)} if inner is not None else changed
    return Candidate(
        type(form)(form.name, choices, form.numbers, form.fixed), candidate.view, parameters, candidate.statistics
    )


def _notes(target: Target, candidate: Candidate) -> Iterator[str]:
    view: View = candidate.view
    if view.words:
        yield f"its data: {view.words}"
    if view.kept:
        yield "its outputs keep axes of one place"
    if view.turned:
        yield "its outputs are in the order in which they are computed: from the last step to the first"
    if not target.held.others:
        one, other = target.training(2)
        if not np.array_equal(one, other):
            yield "in training chance has a part in it; said is what it is without"


def _none(asked: Questioned, near: list[Found], said: str) -> Answer:
    match = nearest(found.match for found in near)
    if match is None:
        return Answer(asked.target, "layer", None, reason=said, given=asked.given)
    candidate = next(found.candidate for found in near if found.match is match)
    notes = []
    if match.fit.apart <= PROMISING:
        notes.append("outputs come near; gradients, or what training leaves, may not")
    named = _named(Found(candidate, match))
    return Answer(
        asked.target, "layer", None, nearest=named, distance=match.fit.apart, notes=tuple(notes), given=asked.given
    )
