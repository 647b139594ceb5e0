"""Which activation: the catalogue's against the values of a target and, where it has one, its derivative."""

import inspect
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.identification.answer import Answer
from conformance.identification.elementary import answer_of, as_single, functions
from conformance.identification.exercises import Array
from conformance.identification.fitting import Form, Manner
from conformance.identification.process import Declined, Questioned
from conformance.identification.searching import Match, best, closest, solved
from reference_numpy.activations import ACTIVATIONS, BACKWARD

CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "relu": {"derivative_at_zero": (0, 1)},
    "gelu": {"approximate": (False, True)},
}
COLUMNS = 8
SIZES = (1e-8, 1e-3, 0.3, 1.0, 3.0, 22.0, 60.0)  # a row each, so that small ones are not hidden by large ones


def inputs(seed: int) -> tuple[Array, Array]:
    """Where it is asked, and what its derivative is multiplied by: each ``(rows, COLUMNS)``, with a zero in one row."""
    generator = keyed_generator(seed, "inputs of an activation")
    z = np.array(SIZES)[:, np.newaxis] * generator.standard_normal((len(SIZES), COLUMNS))
    z[3, 0] = 0.0
    return z, generator.standard_normal(z.shape)


class Values:
    """The model: values, and derivatives where the target has any but at 0, where there may be a kink."""

    def __init__(self, z: Array, upstream: Array, derivative: bool) -> None:
        self.z, self.upstream, self.derivative = z, upstream, derivative

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """``(rows, 2 COLUMNS)``, or the values alone. Raises ValueError for a number that is not allowed."""
        keywords = form.keywords(manner.numbers(numbers))
        z = manner.moved(self.z.astype(manner.dtype))
        with functions(manner):
            a = ACTIVATIONS[form.name](z, **keywords)
            if not self.derivative:
                return a.astype(np.float64)
            slope = BACKWARD[form.name](self.upstream.astype(manner.dtype), z, a, **keywords)
        return self.arranged(a, slope)

    def arranged(self, value: Array, slope: Array | None) -> Array:
        """What is compared of a target's values and derivatives."""
        if slope is None or not self.derivative:
            return value.astype(np.float64)
        return np.concatenate([value, np.where(self.z == 0, 0.0, slope)], axis=1).astype(np.float64)

    def scale(self, predicted: Array) -> Array:
        """The largest of a row, of values and of derivatives apart.

        A derivative that is a difference of values, as ``1 - a^2`` of tanh, is rounded as they are: where a function is
        flat it is seen at their size.
        """
        parts = np.split(np.abs(predicted), 2, axis=1) if self.derivative else [np.abs(predicted)]
        largest = [part.max(axis=1, keepdims=True) for part in parts]
        if self.derivative:
            flat = np.minimum(largest[0], 1.0) * np.abs(self.upstream).max(axis=1, keepdims=True)
            largest[1] = np.maximum(largest[1], flat)
        return np.concatenate([np.broadcast_to(h, p.shape) for h, p in zip(largest, parts, strict=True)], axis=1)


def forms() -> list[Form]:
    """Every activation with every choice."""
    found = []
    for name, function in ACTIVATIONS.items():
        numbers = {
            n: p.default for n, p in inspect.signature(function).parameters.items() if isinstance(p.default, float)
        }
        choices = CHOICES.get(name, {})
        for picked in itertools.product(*choices.values()):
            found.append(Form(name, dict(zip(choices, picked, strict=True)), numbers))
    return found


def identify(asked: Questioned) -> Answer:
    """The answer for an activation. Raises Incomplete where its process ends."""
    z, upstream = inputs(0)
    try:
        seen = asked.ask("evaluate", {"a0": z, "upstream": upstream})
    except Declined as error:
        return Answer(asked.target, asked.kind, None, reason=f"it takes no array: {error}")
    value, slope = seen["value"], seen.get("gradient")
    if value.shape != z.shape:
        return Answer(asked.target, asked.kind, None, reason=f"of an array {z.shape} it makes one of {value.shape}")
    dtype = value.dtype.name
    model = Values(z, upstream, slope is not None)
    observed = model.arranged(value, slope)
    matches = [closest(model, form, form.numbers, observed, dtype) for form in forms()]
    if not best(matches):
        weights = 1 / np.maximum(model.scale(observed), 1e-300)
        matches += list(solved(model, model, [f for f in forms() if f.numbers], observed, weights, dtype))
    found, note = _at_zero(best(matches), z, upstream, slope)
    return answer_of(asked, found, matches, lambda match: _digits(asked, match, dtype), (note,) if note else ())


def _at_zero(found: list[Match], z: Array, upstream: Array, slope: Array | None) -> tuple[list[Match], str]:
    """Those whose derivative at 0 is the target's; all, and what to say of it, if none's is."""
    if slope is None or not found:
        return found, ""
    there = tuple(np.argwhere(z == 0)[0])
    own = float(slope[there] / upstream[there])

    def expected(match: Match) -> float:
        one, keywords = np.ones((1, COLUMNS)), match.form.keywords(match.numbers)
        zeros = z[there[0]][np.newaxis]
        a = ACTIVATIONS[match.form.name](zeros, **keywords)
        upstream_of_row = upstream[there[0]][np.newaxis] if match.form.name == "softmax" else one
        made = BACKWARD[match.form.name](upstream_of_row, zeros, a, **keywords)[0, there[1]]
        return float(made / (upstream[there] if match.form.name == "softmax" else 1.0))

    agreeing = [match for match in found if abs(expected(match) - own) < 1e-6]
    if agreeing:
        return agreeing, ""
    return found, f"its derivative at 0 is {own:.6g}, not {expected(found[0]):.6g}"


def _digits(asked: Questioned, match: Match, dtype: str) -> dict[str, float] | None:
    """The digits to which a match agrees on other inputs, in each precision; None if it does not."""
    return as_single(asked, match, dtype, inputs(1), lambda z, upstream, has: Values(z, upstream, has))
