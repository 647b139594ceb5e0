"""Targets of Keras and TensorFlow: optimizers, layers, losses and functions of tensors."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from conformance.identification.exercises import Array, Exercise, Tensors
from conformance.identification.frameworks import Optimizing, Refused
from conformance.identification.frameworks.layers.tf import layered as layered


def recognised(thing: Any) -> str | None:
    """The kind of a class or an object of Keras's make."""
    made = thing if isinstance(thing, type) else type(thing)
    kinds = {
        "optimizer": keras.optimizers.Optimizer,
        "schedule": keras.optimizers.schedules.LearningRateSchedule,
        "initializer": keras.initializers.Initializer,
        "loss": keras.losses.Loss,
        "normalization": (
            keras.layers.BatchNormalization,
            keras.layers.LayerNormalization,
            keras.layers.GroupNormalization,
        ),
    }
    found = next((kind for kind, base in kinds.items() if issubclass(made, base)), None)
    if found is not None or not issubclass(made, keras.layers.Layer):
        return found
    return "activation" if ".activations." in made.__module__ or _is_a_function(thing) else "layer"


def _is_a_function(thing: Any) -> bool:
    """Whether a layer of somebody's own has no weights and makes arrays of the shape that they have."""
    if (thing if isinstance(thing, type) else type(thing)).__module__.startswith("keras."):
        return False
    try:
        layer = thing() if isinstance(thing, type) else thing
        found = layer(tf.zeros((2, 3)))
    except Exception:  # whatever it says of what it needs or takes
        return False
    return not layer.weights and getattr(found, "shape", None) == (2, 3)


def optimizing(thing: Any, keywords: Mapping[str, Any]) -> Optimizing | None:
    """An optimizer class, an optimizer, or a function that makes one."""
    if isinstance(thing, keras.optimizers.Optimizer):
        config = thing.get_config()
        return Optimizing(lambda exercise: _run(type(thing).from_config(config), exercise), config, True)
    if not callable(thing) or (not isinstance(thing, type) and _needs_something(thing)):
        return None
    trial = thing(**keywords)
    if not isinstance(trial, keras.optimizers.Optimizer):
        return None
    return Optimizing(lambda exercise: _run(thing(**keywords), exercise), trial.get_config(), True)


def _needs_something(thing: Any) -> bool:
    parameters = inspect.signature(thing).parameters.values()
    return any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)


def _run(optimizer: Any, exercise: Exercise) -> Tensors:
    held = {name: keras.Variable(value, dtype=value.dtype.name, name=name) for name, value in exercise.start.items()}
    optimizer.build(list(held.values()))
    rate = float(np.asarray(optimizer.learning_rate))
    path: dict[str, list[Array]] = {name: [] for name in held}
    for step, factor in enumerate(exercise.factors):
        optimizer.learning_rate = rate * float(factor)
        now = {name: variable.value.numpy() for name, variable in held.items()}
        gradients = exercise.gradients_at(step, now)
        optimizer.apply([tf.constant(gradients[name]) for name in held])
        for name, variable in held.items():
            path[name].append(variable.value.numpy())
    return {name: np.stack(values) for name, values in path.items()}


def evaluated(function: Any, arrays: Sequence[Array], upstream: Array | None) -> tuple[Array, Array | None]:
    """The value of a layer, a loss or a function of tensors, and its gradient in the first."""
    first, *others = map(tf.constant, arrays)
    with tf.GradientTape() as tape:
        tape.watch(first)
        value = tf.convert_to_tensor(_called(function, first, others))
        weighted = value if upstream is None else value * tf.constant(upstream)
    gradient = tape.gradient(weighted, first) if first.dtype.is_floating else None
    return value.numpy(), None if gradient is None else tf.convert_to_tensor(gradient).numpy()


def _called(function: Any, first: Any, others: list[Any]) -> Any:
    """Keras's losses take the targets before the outputs."""
    if isinstance(function, keras.losses.Loss) or _is_of_losses(function):
        (targets,) = others
        return function(targets, first)
    if isinstance(function, keras.layers.Layer):
        function = type(function).from_config(function.get_config() | {"dtype": first.dtype.name})
    found = function(first, *others)
    if found is None:
        raise Refused("it returned nothing")
    return found


def _is_of_losses(function: Any) -> bool:
    """Whether a function has Keras's order of arguments."""
    try:
        return next(iter(inspect.signature(function).parameters), "") == "y_true"
    except (ValueError, TypeError):
        return False


def normalized(thing: Any, keywords: Mapping[str, Any], arrays: Tensors) -> Tensors | None:
    """What a layer makes of two batches in training and of one in inference, and its running averages."""
    own = isinstance(thing, keras.layers.Layer) or (isinstance(thing, type) and issubclass(thing, keras.layers.Layer))
    if not own:
        return None
    config = thing(**keywords).get_config() if isinstance(thing, type) else thing.get_config()
    made_by: Any = thing if isinstance(thing, type) else type(thing)
    layer = made_by.from_config(config | {"dtype": arrays["a0"].dtype.name})
    made = {f"trained{place}": layer(arrays[f"a{place}"], training=True) for place in (0, 1)}
    for ours, theirs in (("running_mean", "moving_mean"), ("running_variance", "moving_variance")):
        if getattr(layer, theirs, None) is not None:
            made[ours] = tf.identity(getattr(layer, theirs).value)
    made["inferred"] = layer(arrays["a2"], training=False)
    return {name: np.asarray(value) for name, value in made.items()}


def initialized(function: Any, shape: tuple[int, int], seed: int) -> Array | None:
    """What one of Keras's initializers draws, which draws the same whenever it is called: another of this seed."""
    if not isinstance(function, keras.initializers.Initializer):
        return None
    config = function.get_config()  # without a seed it stays as it is: Identity's lacks its gain
    again = type(function).from_config(config | {"seed": seed}) if "seed" in config else function
    return np.asarray(again(shape))


def regularized(thing: Any, keywords: Mapping[str, Any], weights: Tensors, gradients: Tensors) -> Tensors | None:
    """What an optimizer's step of rate 1 takes off weights, or what a clipping of a list leaves of gradients."""
    given = [tf.constant(g) for g in gradients.values()]
    if isinstance(thing, type) and issubclass(thing, keras.optimizers.Optimizer):
        held = {name: keras.Variable(w, dtype=w.dtype.name, name=name) for name, w in weights.items()}
        thing(**{"learning_rate": 1.0, **keywords}).apply(given, list(held.values()))
        return {name: weights[name] - variable.value.numpy() for name, variable in held.items()}
    if next(iter(inspect.signature(thing).parameters), "") != "t_list":
        return None
    return dict(zip(gradients, (g.numpy() for g in thing(given, **keywords)[0]), strict=True))
