"""Targets of NumPy: functions of arrays, and optimizers that are one of two things.

An object, or a function that makes one, with ``init(parameters) -> state`` and ``update(gradients, state, parameters)
-> (parameters, state)``, as the optimizers of ``reference_numpy`` are; or a function ``step(parameters, gradients,
state) -> (parameters, state)`` whose state is None before the first step. Parameters and gradients are dicts of arrays.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.identification.exercises import Array, Exercise, Tensors
from conformance.identification.frameworks import Optimizing, Refused

Step = Callable[[Tensors, Tensors, Any, float], tuple[Tensors, Any]]


def recognised(thing: Any) -> str | None:
    """The kind of an object that is an optimizer by its methods."""
    return "optimizer" if _is_optimizer(thing) else None


def _is_optimizer(thing: Any) -> bool:
    return (
        not isinstance(thing, type)
        and callable(getattr(thing, "init", None))
        and callable(getattr(thing, "update", None))
    )


def optimizing(thing: Any, keywords: Mapping[str, Any]) -> Optimizing | None:
    """An optimizer, a function or class that makes one, or the function that is its step."""
    if _is_optimizer(thing):
        return _of_object(thing, {})
    if not callable(thing):
        return None
    parameters = inspect.signature(thing).parameters.values()
    if sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters) == 3:
        return Optimizing(lambda exercise: _run(lambda start: None, _of_function(thing, keywords), exercise), {}, False)
    made = thing(**keywords)
    defaults = {p.name: p.default for p in parameters}
    return _of_object(made, defaults | dict(keywords)) if _is_optimizer(made) else None


def _of_object(optimizer: Any, numbers: Mapping[str, Any]) -> Optimizing:
    rate: Any = getattr(optimizer, "learning_rate", None)
    scheduled = isinstance(rate, int | float) and "learning_rate" in inspect.signature(optimizer.update).parameters

    def step(parameters: Tensors, gradients: Tensors, state: Any, factor: float) -> tuple[Tensors, Any]:
        changed = {"learning_rate": rate * factor} if scheduled else {}
        found: tuple[Tensors, Any] = optimizer.update(gradients, state, parameters, **changed)
        return found

    return Optimizing(lambda exercise: _run(optimizer.init, step, exercise), numbers, scheduled)


def _of_function(function: Callable[..., Any], keywords: Mapping[str, Any]) -> Step:
    def step(parameters: Tensors, gradients: Tensors, state: Any, factor: float) -> tuple[Tensors, Any]:
        found: tuple[Tensors, Any] = function(parameters, gradients, state, **keywords)
        return found

    return step


def _run(init: Callable[[Tensors], Any], step: Step, exercise: Exercise) -> Tensors:
    parameters = {name: value.copy() for name, value in exercise.start.items()}
    state = init(parameters)
    path: dict[str, list[Array]] = {name: [] for name in parameters}
    for number, factor in enumerate(exercise.factors):
        try:
            parameters, state = step(parameters, exercise.gradients_at(number, parameters), state, float(factor))
        except (TypeError, ValueError) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        for name in path:
            path[name].append(np.array(parameters[name]))
    return {name: np.stack(values) for name, values in path.items()}


def evaluated(function: Any, arrays: Sequence[Array], upstream: Array | None) -> tuple[Array, Array | None]:
    """The value of a function of arrays; it has no gradient to be asked for."""
    return np.asarray(function(*arrays)), None


def initialized(function: Any, shape: tuple[int, int], seed: int) -> Array | None:
    """What a function of a generator and a shape, or of a shape alone, draws."""
    try:
        names = list(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return None
    if "shape" not in names[:2]:
        return None
    generator = np.random.default_rng(seed)
    return np.asarray(function(shape) if names[0] == "shape" else function(generator, shape))
