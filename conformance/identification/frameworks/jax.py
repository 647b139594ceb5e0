"""Targets of JAX and optax: gradient transformations and functions of arrays."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from conformance.identification.exercises import Array, Exercise, Tensors
from conformance.identification.frameworks import RATE, RATES, Optimizing

Maker = Callable[[Array], Any]


def recognised(thing: Any) -> str | None:
    """The kind of an object of optax's make."""
    return "optimizer" if isinstance(thing, optax.GradientTransformation) else None


def optimizing(thing: Any, keywords: Mapping[str, Any]) -> Optimizing | None:
    """A gradient transformation, or a function that makes one, which is given the rates of all steps as a schedule."""
    if isinstance(thing, optax.GradientTransformation):
        return Optimizing(lambda exercise: _run(lambda factors: thing, exercise), {}, False)
    if not callable(thing):
        return None
    known = inspect.signature(thing).parameters
    name = next((rate for rate in RATES if rate in known), None)
    default = None if name is None else keywords.get(name, known[name].default)
    rate = default if isinstance(default, int | float) else RATE
    others = {keyword: value for keyword, value in keywords.items() if keyword != name}
    given = {} if name is None or isinstance(default, int | float) else {"learning_rate": rate}

    def scheduled(factors: Array) -> Any:
        rates = rate * jnp.asarray(factors)
        return thing(**others, **({} if name is None else {name: lambda step: rates[step]}))

    def constant(factors: Array) -> Any:
        return thing(**others, **({} if name is None else {name: rate}))

    makers: list[tuple[Maker, bool]] = [(scheduled, True), (constant, False)]
    for make, is_scheduled in makers if name is not None else makers[1:]:
        if isinstance(make(np.ones(2)), optax.GradientTransformation) and (not is_scheduled or _steps(make)):
            numbers = {n: p.default for n, p in known.items()} | {**others, "learning_rate": rate}
            return Optimizing(lambda exercise: _run(make, exercise), numbers, is_scheduled, given)
    return None


def _steps(make: Maker) -> bool:
    """Whether a transformation takes a step with a schedule for its rate."""
    parameters = {"W1": jnp.zeros((2, 2))}
    try:
        transformation = make(np.ones(2))
        transformation.update(parameters, transformation.init(parameters), parameters)
    except Exception:  # whatever a factory that wants a number does with a function
        return False
    return True


def _run(make: Maker, exercise: Exercise) -> Tensors:
    transformation = make(exercise.factors)
    parameters: Any = {name: jnp.asarray(value) for name, value in exercise.start.items()}
    state = transformation.init(parameters)

    @jax.jit
    def step(gradients: Any, state: Any, parameters: Any) -> Any:
        updates, state = transformation.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    path: dict[str, list[Array]] = {name: [] for name in parameters}
    for number in range(len(exercise.factors)):
        now = {name: np.asarray(value) for name, value in parameters.items()}
        gradients = {name: jnp.asarray(g) for name, g in exercise.gradients_at(number, now).items()}
        parameters, state = step(gradients, state, parameters)
        for name, value in parameters.items():
            path[name].append(np.asarray(value))
    return {name: np.stack(values) for name, values in path.items()}


def evaluated(function: Any, arrays: Sequence[Array], upstream: Array | None) -> tuple[Array, Array | None]:
    """The value of a function of arrays, and its gradient in the first."""
    first, *others = map(jnp.asarray, arrays)
    value = jnp.asarray(function(first, *others))
    if not jnp.issubdtype(first.dtype, jnp.floating) or not jnp.issubdtype(value.dtype, jnp.floating):
        return np.asarray(value), None
    weights = jnp.ones_like(value) if upstream is None else jnp.asarray(upstream)
    gradient = jax.grad(lambda z: (function(z, *others) * weights).sum())(first)
    return np.asarray(value), np.asarray(gradient)
