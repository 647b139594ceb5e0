"""Activations, losses, normalisations, schedules and initializers translated: what is the same is measured.

The source is asked which formulation it is, as ``conformance identify`` does, and so is every built-in of the other
framework that ``builtins.toml`` says is that formulation, with its numbers set by its own arguments.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from conformance.faults.injection import PACKAGES
from conformance.identification.answer import Answer, Named, component
from conformance.identification.schedules import UNIT
from conformance.recipes.catalogue_page import builtins
from conformance.recipes.components import keyword_defaults
from conformance.runs.outcome import BadInput
from conformance.translation.calls import KINDS, MADE, Written, read, rows, with_numbers
from conformance.translation.translated import EXACT, FRAMEWORKS, OURS, REFUSED, Translation
from conformance.translation.trial import Trial

CLOSE = 1e-6  # as which share of a number two are the same: some round theirs to float32
# What a module needs to be asked as one of its framework.
_KNOWN_BY = {
    "torch": "import torch",
    "tf": "import tensorflow as tf",
    "jax": "import jax",
    "numpy": "import numpy as np",
}
_PLURALS = {kind: plural for plural, kind in KINDS.items()}


def translate(name: str, settings: Mapping[str, Any], to: str, trial: Trial) -> Translation:
    """A call translated. Raises ValueError for what is no built-in, or of another kind."""
    call = read(name, settings)
    name = str(call)
    if not trial.has(call.framework):
        raise ValueError(f"{name} cannot be asked what it is: {FRAMEWORKS[call.framework]} is not installed")
    asked = _asked(call, _listed_kind(call), trial)
    kind = asked.kind
    if kind not in _PLURALS:
        raise ValueError(f"name={name!r} is not allowed: it is of the kind {kind}, which is not translated")
    return translated(name, asked, to, trial)


def of_formulation(kind: str, named: Named, to: str, trial: Trial) -> Translation:
    """A formulation of this project, translated."""
    return translated(named.written(kind), itself(kind, named), to, trial)


def itself(kind: str, named: Named) -> Answer:
    """The answer for the reference's own formulation, which is the formula to all digits."""
    return Answer(named.name, kind, named, {"float64": math.inf, "float32": math.inf})


def translated(name: str, asked: Answer, to: str, trial: Trial) -> Translation:
    """What was found of a source, in another framework."""
    kind = asked.kind
    if asked.found is None:
        near = "" if asked.nearest is None else asked.nearest.written(kind)
        apart = "" if asked.distance is None else f"{asked.distance:.1e} away on average"
        reason = "the catalogue has no such formulation"
        return Translation(name, kind, to, REFUSED, reason=asked.reason or reason, nearest=near, apart=apart)
    for wanted in (asked.found, *asked.same):
        for found in _builtins(kind, wanted, to):
            exact = _exact(name, asked, wanted, found, to, trial)
            if exact is not None:
                return exact
    return _ours(name, asked, to, trial)


def _listed_kind(call: Written) -> str | None:
    """The kind of a built-in that the catalogue lists; of another it is found."""
    rows_of = [row for row in builtins() if row.kind in KINDS and row.call.partition("(")[0] == call.function]
    return KINDS[rows_of[0].kind] if rows_of else None


def _asked(call: Written, kind: str | None, trial: Trial) -> Answer:
    try:
        return trial.identified(call.framework, call.target, call.module, kind)
    except BadInput as error:
        raise ValueError(str(error)) from error


def _builtins(kind: str, wanted: Named, to: str) -> Iterator[Written]:
    """The calls of a framework's built-ins that are a formulation, by the tables."""
    defaults = keyword_defaults(component(kind, wanted.name))
    if to not in ("torch", "tf", "jax"):
        return
    for row in rows(_PLURALS[kind], wanted.name, to):
        found = with_numbers(row, {**defaults, **wanted.keywords}, defaults)
        if found is not None:
            yield found


def _exact(name: str, source: Answer, wanted: Named, found: Written, to: str, trial: Trial) -> Translation | None:
    """By a built-in; None where asking it shows that it is another formulation."""
    kind, written = source.kind, wanted.written(source.kind)
    if not trial.has(to):
        missing = f"not here: {FRAMEWORKS[to]} is not installed"
        return Translation(name, kind, to, EXACT, found.code(kind), formulation=written, against=missing)
    try:
        answer = _asked(found, kind, trial)
    except ValueError:
        return None
    if answer.found is None or not any(same(kind, wanted, one) for one in (answer.found, *answer.same)):
        return None
    digits = {d: min(n, source.digits[d]) for d, n in answer.digits.items() if d in source.digits}
    against = (
        "the formula, of the two the fewer" if digits else f"both are {written} by their draws, as far as chance tells"
    )
    notes = _notes(source, name) + _notes(answer, found.function)
    if ".lr_scheduler." in found.function:
        notes = (
            *notes,
            f"{found.function}: its first rate is the optimizer's, lr={wanted.keywords['learning_rate']!r}",
        )
    return Translation(
        name, kind, to, EXACT, found.code(kind), formulation=written, digits=digits, against=against,
        notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _notes(answer: Answer, who: str) -> tuple[str, ...]:
    """What was seen of one of the two that its formulation does not say."""
    seen = [note for note in answer.notes if not note.startswith("root mean square") and note != UNIT]
    rounds = [f"rounds to float32: {', '.join(answer.rounded)}"] if answer.rounded else []
    return tuple(f"{who}: {note}" for note in (*seen, *rounds))


def same(kind: str, one: Named, other: Named) -> bool:
    """Whether two are the same formulation, defaults filled in; of a schedule without the rate that it begins with."""
    if one.name != other.name:
        return False
    defaults = keyword_defaults(component(kind, one.name))
    first, second = ({**defaults, **named.keywords} for named in (one, other))
    names = (first.keys() | second.keys()) - {"learning_rate"}
    return all(_close(first.get(name), second.get(name)) for name in names)


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= CLOSE * max(abs(one), abs(other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_close, one, other))
    return bool(one == other)


def _ours(name: str, source: Answer, to: str, trial: Trial) -> Translation:
    """By this project's function of the formulation."""
    assert source.found is not None
    kind, named = source.kind, source.found
    code = _own_code(kind, named, to)
    digits, against = {}, "the keywords alone: this project's tests hold its functions to the reference"
    if trial.has(to) and kind in ("activation", "loss", "schedule"):
        module = "\n".join([_KNOWN_BY[to], code.replace(f"\n{kind} = ", f"\n{MADE} = "), ""])
        answer = trial.identified(to, "", module, kind)
        if answer.found is not None and any(same(kind, named, one) for one in (answer.found, *answer.same)):
            digits = {d: min(n, source.digits[d]) for d, n in answer.digits.items() if d in source.digits}
            against = "the formula, of the two the fewer"
    return Translation(
        name, kind, to, OURS, code, formulation=named.written(kind), digits=digits, against=against,
        notes=(*_notes(source, name), *_why(kind, named, to)), component=named.name, keywords=named.keywords,
    )  # fmt: skip


def _own_code(kind: str, named: Named, to: str) -> str:
    """The import, and what is meant: a layer or a schedule, which is made, or a function with its keywords."""
    module = "layers" if kind == "normalization" else _PLURALS[kind]
    inside = named.written(kind).removeprefix(named.name)[1:-1]
    imports = [f"from {PACKAGES[to]}.{module} import {named.name}", ""]
    if kind in ("normalization", "schedule"):
        return "\n".join([*imports, f"{kind} = {named.name}({inside})"])
    if not inside:
        return "\n".join([*imports, f"{kind} = {named.name}"])
    return "\n".join(["import functools", "", *imports, f"{kind} = functools.partial({named.name}, {inside})"])


def _why(kind: str, named: Named, to: str) -> Iterator[str]:
    if kind == "loss":
        yield "this project's returns a number for each example"
    if to == "numpy":
        return
    known = [row.call for row in rows(_PLURALS[kind], named.name, to)]
    if known:
        yield f"{FRAMEWORKS[to]} has {', '.join(known)}, without an argument that makes it the same"
    else:
        yield f"{FRAMEWORKS[to]} has no {named.name} that is listed as the same"
