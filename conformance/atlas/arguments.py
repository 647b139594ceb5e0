"""Which arguments have no effect: each is changed from its default, by itself, on the exercises of its kind."""

import ast
from collections.abc import Iterator
from typing import Any

import numpy as np

from conformance.atlas.surveying import Signature
from conformance.identification import activations, normalizations
from conformance.identification.exercises import Tensors, exercise
from conformance.identification.losses import ABOUT, QUESTIONS
from conformance.identification.process import Declined, Questioned
from conformance.runs.outcome import BadInput

NO_FORMULA = ("name", "seed", "dtype", "device", "generator")  # arguments that are no part of a formula
STEPS = 12
HALF, MORE = 0.5, 1


def without_effect(asked: Questioned, kind: str, component: str, signature: Signature) -> tuple[str, ...]:
    """The arguments, each with a value, that moved no output whichever was taken; the target is another one afterwards.

    Those that the target refuses with every other value are not among them.
    """
    target = asked.target
    found = _question(asked, kind, component)
    if found is None:
        return ()
    question, arrays, own = found
    idle = []
    for name, default in signature.defaults.items():
        moved = [
            (value, not _equal(own, changed))
            for value in others(name, default)
            if (changed := _asked(asked, f"{target}({name}={value!r})", kind, question, arrays)) is not None
        ]
        if moved and not any(changes for _, changes in moved):
            idle.append(f"{name}={moved[0][0]!r}")
    return tuple(idle)


def others(name: str, default: str) -> Iterator[Any]:
    """Other values than the default, as it is written, that may be taken in its place.

    >>> list(others("eps", "1e-08")), list(others("amsgrad", "False")), list(others("betas", "(0.9, 0.999)"))
    ([5e-09], [True], [(0.45, 0.4995)])
    """
    try:
        value = ast.literal_eval(default)
    except (ValueError, SyntaxError):
        return
    if name in NO_FORMULA or isinstance(value, str):
        return
    if isinstance(value, bool):
        yield not value
    elif value is None:
        yield from (True, 0.1)
    elif isinstance(value, int):
        yield value + MORE
    elif isinstance(value, float):
        yield value * HALF or HALF
    elif isinstance(value, tuple) and value and all(isinstance(each, float) for each in value):
        yield tuple(each * HALF for each in value)


def _question(asked: Questioned, kind: str, component: str) -> tuple[str, Tensors, Tensors] | None:
    """What the target is asked, and what it answers by itself."""
    for question, arrays in _exercises(asked, kind, component):
        try:
            return question, arrays, asked.ask(question, arrays)
        except Declined:
            continue
    return None


def _exercises(asked: Questioned, kind: str, component: str) -> Iterator[tuple[str, Tensors]]:
    if kind == "optimizer":
        yield "optimize", exercise(0, steps=STEPS).as_arrays()
    elif kind == "activation":
        z, upstream = activations.inputs(0)
        yield "evaluate", {"a0": z, "upstream": upstream}
    elif kind == "normalization":
        yield "normalize", normalizations.batches(0)
    elif kind == "initializer":
        yield "initialize", {"shape": np.array((6, 4)), "seeds": np.arange(1)}
    elif kind == "schedule":
        yield "schedule", {"steps": np.arange(60)}
    else:
        for question in QUESTIONS:
            if component in ABOUT[question.outputs, question.targets]:
                outputs, targets = question.batches(0)[-1]
                yield "evaluate", {"a0": outputs, "a1": targets}


def _asked(asked: Questioned, target: str, kind: str, question: str, arrays: Tensors) -> Tensors | None:
    """What another target answers; None where it cannot be made or takes no such question."""
    try:
        asked.turn_to(target, kind)
        return asked.ask(question, arrays)
    except (BadInput, Declined):
        return None


def _equal(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(value, other[name], equal_nan=value.dtype.kind == "f") for name, value in one.items()
    )
