"""What two optimizers make of the same gradients: to how many digits they agree, and how far a training parts them."""

import math
from typing import NamedTuple

import numpy as np

from conformance.identification.exercises import Array, Exercise, Tensors, bowl, exercise
from conformance.identification.fitting import LEAST, SINGLE, Form, Manner, nearness, rounding
from conformance.identification.optimizer_forms import Steps, flat
from conformance.recipes.dialects import Dialect
from conformance.translation.code import Code
from conformance.translation.trial import Trial
from reference_numpy.optimizers import OPTIMIZERS

STEPS = 200
SEED = 3
PRECISIONS = ("float64", "float32")


class Agreement(NamedTuple):
    """``digits`` to which two agree in each precision, of numbers of which rounding leaves half.

    ``same``: both are the formulation up to rounding in float64. ``single``: they are, but for numbers that one of them rounds to float32. ``in_single``: both are the formulation in
    float32 up to its rounding.
    """

    digits: dict[str, float]
    same: bool
    single: bool
    in_single: bool


class Distance(NamedTuple):
    """How far two part: in a ``training``, of the way that it takes; at ``extremes``, with gradients of all sizes."""

    training: float
    extremes: float


def agreement(trial: Trial, formulation: Dialect, source: Code | None, found: Code, *, constant: bool) -> Agreement:
    """How ``found`` agrees with the ``source``, or with the formula where that cannot be run.

    Both are held against the formula, whose own rounding says what is near enough. ``constant``: the rate is.
    """
    digits, fits, form = {}, [], _form(formulation)
    for dtype in PRECISIONS:
        own = _exercise(formulation, dtype, constant=constant)
        model, manner = Steps(own), Manner(dtype)
        oracle = model.predict(form, form.numbers, Manner())
        paths = [model.flattened(trial.run(code, own, dtype)) for code in (source, found) if code is not None]
        if source is None:
            paths.insert(0, model.predict(form, form.numbers, manner))
        unit = SINGLE if dtype == "float32" else SINGLE**2
        sound = rounding(model, form, form.numbers, manner, oracle) <= math.sqrt(unit) * model.scale(oracle)
        one, other = paths
        digits[dtype] = _digits(one, other, model.scale(oracle), sound)
        fits.append([(model, form, path, manner) for path in paths])
    exact, single, in_single = (
        all(nearness(model, form, form.numbers, path, manner, coarse=coarse).same for model, form, path, manner in held)
        for held, coarse in ((fits[0], False), (fits[0], True), (fits[1], False))
    )
    return Agreement(digits, exact, single and not exact, in_single)


def distance(trial: Trial, source: Code, found: Code, elementwise: bool = True) -> Distance:
    """How far two part in float64, at a constant rate."""
    trained = bowl(SEED, STEPS).as_one()
    first, other = (flat_path(trial.run(code, trained, "float64"), trained) for code in (source, found))
    way = np.abs(first - flat(trained.start)).max()
    training = float(np.abs(first - other).max() / way) if way else 0.0
    if not elementwise:
        return Distance(training, training)
    own = _at_a_constant_rate(exercise(SEED, steps=STEPS).as_one())
    paths = [flat_path(trial.run(code, own, "float64"), own) for code in (source, found)]
    relative = np.abs(paths[0] - paths[1]) / np.maximum(Steps(own).scale(paths[0]), LEAST)
    return Distance(training, float(np.minimum(relative, 1.0).max()))


def flat_path(path: Tensors, own: Exercise) -> Array:
    """Where each element is after each step."""
    return Steps(own).flattened(path).astype(np.float64)


def _exercise(formulation: Dialect, dtype: str, *, constant: bool) -> Exercise:
    """The gradients that a formulation is tried on: of a cost where it takes sums over all parameters."""
    if not OPTIMIZERS[formulation.optimizer]().elementwise:
        own = bowl(SEED)
    else:
        own = exercise(SEED, steps=STEPS).as_one()
        own = _at_a_constant_rate(own) if constant else own
    return own if dtype == "float64" else own.in_single()


def _at_a_constant_rate(own: Exercise) -> Exercise:
    return Exercise(own.start, own.gradients, np.ones(len(own.factors)))


def _form(formulation: Dialect) -> Form:
    numbers = {name: value for name, value in formulation.keywords.items() if isinstance(value, float)}
    others = {name: value for name, value in formulation.keywords.items() if name not in numbers}
    return Form(formulation.optimizer, others, numbers)


def _digits(one: Array, other: Array, scale: Array, sound: Array) -> float:
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return 0.0
    relative = np.abs(one.astype(np.float64) - other.astype(np.float64)) / np.maximum(scale, LEAST)
    largest = float(relative[sound & np.isfinite(one)].max(initial=0.0))
    return -math.log10(min(max(largest, 1e-16), 1.0))
