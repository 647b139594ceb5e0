"""What two optimizers make of the same gradients: to how many digits they agree, and how far a training parts them."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from conformance.identification.exercises import BOWL_STEPS, Array, Exercise, Tensors, bowl, exercise
from conformance.identification.fitting import LEAST, SINGLE, Form, Manner, rounding
from conformance.identification.optimizer_forms import Steps, choices_of, flat
from conformance.recipes.dialects import Dialect
from conformance.translation.code import Code
from conformance.translation.trial import Trial
from conformance.verdicts.compare import FLOOR_FACTOR, ROUNDOFFS
from reference_numpy.optimizers import OPTIMIZERS

STEPS = 200
SEED = 3
UNITS = {"float64": 2.0**-53, "float32": SINGLE}  # half of one in the last place
MOST = math.sqrt(SINGLE)  # of a number: rounding in float64 moves none so far


class Agreement(NamedTuple):
    """``digits`` to which two agree in each precision, of numbers of which rounding leaves half.

    ``same``: both are the formulation up to rounding in float64. ``single``: they are, but for numbers that one of them
    rounds to float32. ``in_single``: both are the formulation in float32 up to its rounding.
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
    held = {dtype: _compared(trial, formulation, source, found, Setting(dtype, constant)) for dtype in UNITS}
    digits = {dtype: compared.digits for dtype, compared in held.items()}
    same = held["float64"].same
    single = not same and _compared(trial, formulation, source, found, Setting("float64", constant, coarse=True)).same
    return Agreement(digits, same, single, held["float32"].same)


class Setting(NamedTuple):
    """In which precision, whether at a constant rate, and whether numbers may be rounded to float32."""

    dtype: str
    constant: bool
    coarse: bool = False


class Compared(NamedTuple):
    """Two paths: the digits to which they agree, and whether both are the formulation."""

    digits: float
    same: bool


def _compared(trial: Trial, formulation: Dialect, source: Code | None, found: Code, setting: Setting) -> Compared:
    oracle, floor, allowed = expected(_hashed(formulation), setting)
    own = _exercise(formulation.optimizer, setting)
    paths = [flat_path(trial.run(code, own, setting.dtype), own) for code in (source, found) if code is not None]
    one, other = paths if source is not None else (oracle, paths[0])
    scale, known = Steps(own).scale(oracle), np.isfinite(oracle)
    alike = all(np.array_equal(np.isfinite(path), known) for path in paths)
    same = alike and all((np.abs(path - oracle) <= allowed)[known].all() for path in paths)
    sound = (floor <= math.sqrt(UNITS[setting.dtype]) * scale) & np.isfinite(one) & np.isfinite(other)
    return Compared(_digits(one[sound], other[sound], scale[sound]) if alike else 0.0, bool(same))


@lru_cache(maxsize=32)
def expected(formulation: tuple[str, tuple[tuple[str, Any], ...]], setting: Setting) -> tuple[Array, Array, Array]:
    """What the formula makes in float64, how far its rounding moves that, and how far a built-in may be from it."""
    own, form = _exercise(formulation[0], setting), _form(*formulation)
    model = Steps(own)
    oracle = model.predict(form, form.numbers, Manner())
    floor = rounding(model, form, form.numbers, Manner(setting.dtype), oracle, setting.coarse)
    allowed = FLOOR_FACTOR * floor + ROUNDOFFS * UNITS[setting.dtype] * model.scale(oracle)
    most = MOST * model.scale(oracle) if setting.dtype == "float64" else np.inf
    return oracle, floor, np.minimum(allowed, most)


def _hashed(formulation: Dialect) -> tuple[str, tuple[tuple[str, Any], ...]]:
    return formulation.optimizer, tuple(formulation.keywords.items())


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


def steps_of(optimizer: str) -> int:
    """How many steps an optimizer is tried for."""
    return STEPS if OPTIMIZERS[optimizer]().elementwise else BOWL_STEPS


def _exercise(optimizer: str, setting: Setting) -> Exercise:
    """The gradients that an optimizer is tried on: of a cost where it takes sums over all parameters."""
    if OPTIMIZERS[optimizer]().elementwise:
        own = exercise(SEED, steps=STEPS).as_one()
        own = _at_a_constant_rate(own) if setting.constant else own
    else:
        own = bowl(SEED)
    return own if setting.dtype == "float64" else own.in_single()


def _at_a_constant_rate(own: Exercise) -> Exercise:
    return Exercise(own.start, own.gradients, np.ones(len(own.factors)))


def _form(optimizer: str, keywords: tuple[tuple[str, Any], ...]) -> Form:
    choices = choices_of(optimizer)
    numbers = {name: value for name, value in keywords if isinstance(value, float) and name not in choices}
    others = {name: value for name, value in keywords if name not in numbers}
    return Form(optimizer, others, numbers)


def _digits(one: Array, other: Array, scale: Array) -> float:
    relative = np.abs(one - other) / np.maximum(scale, LEAST)
    return -math.log10(min(max(float(relative.max(initial=0.0)), 1e-16), 1.0))
