"""Targets of JAX and optax: gradient transformations and functions of arrays."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from conformance.identification.exercises import Array, Exercise, Tensors
from conformance.identification.frameworks import RATE, RATES, Layered, Optimizing

Maker = Callable[[Array], Any]


def recognised(thing: Any) -> str | None:
    """The kind of an object of optax's make, or of a class or an object of Flax's."""
    if isinstance(thing, optax.GradientTransformation):
        return "optimizer"
    made = thing if isinstance(thing, type) else type(thing)
    own = any(base.__module__.startswith("flax.") and base.__name__ == "Module" for base in made.__mro__)
    return "layer" if own else None


def layered(thing: Any, keywords: Mapping[str, Any], x: Array, dtype: str, seed: int) -> Layered | None:
    """A layer of Flax, which is imported where it is asked for; None of anything else."""
    if "flax" not in sys.modules:
        return None
    from conformance.identification.frameworks.layers import jax as of_flax

    return of_flax.layered(thing, keywords, x, dtype, seed)


def drawn(thing: Any, keywords: Mapping[str, Any], x: Array, dtype: str, seeds: Array) -> Tensors | None:
    """The arrays of as many layers as there are seeds; None of what is no layer of Flax's."""
    if "flax" not in sys.modules:
        return None
    from conformance.identification.frameworks.layers import jax as of_flax

    return of_flax.drawn(thing, keywords, x, dtype, seeds)


def optimizing(thing: Any, keywords: Mapping[str, Any]) -> Optimizing | None:
    """A gradient transformation, or a function that makes one, which is given the rates of all steps as a schedule."""
    if isinstance(thing, optax.GradientTransformation):
        return Optimizing(_Running(lambda factors: thing).run, {}, False)
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
        if is_scheduled and not _steps(make):
            continue
        if isinstance(make(np.ones(2)), optax.GradientTransformation):
            numbers = {n: p.default for n, p in known.items()} | {**others, "learning_rate": rate}
            return Optimizing(_Running(make).run, numbers, is_scheduled, given)
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


class _Running:
    """A transformation on exercises, compiled once for all that have the same rates and shapes."""

    def __init__(self, make: Maker) -> None:
        self.make = make
        self._made: dict[bytes, tuple[Any, Any]] = {}

    def run(self, exercise: Exercise) -> Tensors:
        """Each parameter after each step."""
        name = exercise.factors.tobytes()
        if name not in self._made:
            made = self.make(exercise.factors)
            self._made[name] = (made, jax.jit(lambda *given: _step(made, *given)))
        transformation, step = self._made[name]
        parameters: Any = {name: jnp.asarray(value) for name, value in exercise.start.items()}
        state = transformation.init(parameters)
        path: dict[str, list[Array]] = {name: [] for name in parameters}
        for number in range(len(exercise.factors)):
            now = {name: np.asarray(value) for name, value in parameters.items()}
            gradients = {name: jnp.asarray(g) for name, g in exercise.gradients_at(number, now).items()}
            parameters, state = step(gradients, state, parameters)
            for name, value in parameters.items():
                path[name].append(np.asarray(value))
        return {name: np.stack(values) for name, values in path.items()}


def _step(transformation: Any, gradients: Any, state: Any, parameters: Any) -> Any:
    updates, state = transformation.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state


def evaluated(function: Any, arrays: Sequence[Array], upstream: Array | None) -> tuple[Array, Array | None]:
    """The value of a function of arrays, and its gradient in the first."""
    first, *others = map(jnp.asarray, arrays)
    value = jnp.asarray(function(first, *others))
    if not jnp.issubdtype(first.dtype, jnp.floating) or not jnp.issubdtype(value.dtype, jnp.floating):
        return np.asarray(value), None
    weights = jnp.ones_like(value) if upstream is None else jnp.asarray(upstream)
    gradient = jax.grad(lambda z: (function(z, *others) * weights).sum())(first)
    return np.asarray(value), np.asarray(gradient)


def initialized(function: Any, shape: tuple[int, int], seed: int) -> Array | None:
    """What a function of a key and a shape draws."""
    if not callable(function) or next(iter(inspect.signature(function).parameters), "") not in ("key", "rng"):
        return None
    return np.asarray(function(jax.random.key(seed), shape, jnp.float64))


def regularized(thing: Any, keywords: Mapping[str, Any], weights: Tensors, gradients: Tensors) -> Tensors | None:
    """What a transformation makes of gradients."""
    if not isinstance(thing, optax.GradientTransformation):
        return None
    given, held = ({name: jnp.asarray(value) for name, value in one.items()} for one in (gradients, weights))
    made, _ = thing.update(given, thing.init(held), held)
    return {name: np.asarray(value) for name, value in made.items()}
