"""Layers of Keras, with their variables, in training and in inference."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from conformance.identification.exercises import Array, Tensors
from conformance.identification.frameworks import Ran, with_inner


def layered(thing: Any, keywords: Mapping[str, Any], x: Array, dtype: str, seed: int) -> "Layered | None":
    """A layer, made anew in this precision and built for ``x``; None of anything else."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.utils.clear_session(free_memory=False)  # names are counted anew
    keras.utils.set_random_seed(seed)
    try:
        if isinstance(thing, keras.layers.Layer):
            made: Any = type(thing).from_config(_in_precision(thing.get_config(), dtype))
        else:
            made = _made(thing, keywords)
        if not isinstance(made, keras.layers.Layer):
            return None
        is_cell = hasattr(made, "state_size") and not isinstance(made, keras.layers.RNN)
        found = Layered(keras.layers.RNN(made, return_sequences=True) if is_cell else made)
        found.call(tf.constant(x), False)
    finally:
        keras.config.set_floatx(before)
    return found


def _made(thing: Any, keywords: Mapping[str, Any]) -> Any:
    return thing(**with_inner(keywords, _made))


def _in_precision(config: Any, dtype: str) -> Any:
    """The configuration of a layer, and of those in it, in another precision."""
    if isinstance(config, dict):
        return {n: dtype if n == "dtype" and value else _in_precision(value, dtype) for n, value in config.items()}
    return [_in_precision(each, dtype) for each in config] if isinstance(config, list) else config


class Layered:
    """A layer that is built."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        parameters = inspect.signature(layer.call).parameters
        self.takes_training = "training" in parameters
        self.needed = [p for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]

    @property
    def trained(self) -> list[str]:
        """The names of its weights that are trained."""
        return [name for name, variable in self._held() if variable.trainable]

    def arrays(self) -> Tensors:
        """Its weights, real numbers alone, by their path inside the layer."""
        return {name: np.array(variable.numpy()) for name, variable in self._held()}

    def call(self, x: Any, training: bool) -> Any:
        """What needs several inputs is given the same for each of them."""
        keywords = {"training": training} if self.takes_training else {}
        return self.layer(*[x] * max(len(self.needed), 1), **keywords)

    def run(self, arrays: Tensors, x: Array, upstream: Array | None, training: bool) -> Ran:
        """What it makes of ``x`` with these arrays, and the gradients of ``sum(upstream y)``."""
        held = dict(self._held())
        for name, variable in held.items():
            variable.assign(arrays[name])
        given = tf.constant(x)
        trained = {name: variable.value for name, variable in held.items() if variable.trainable}
        with tf.GradientTape() as tape:
            if x.dtype.kind == "f":
                tape.watch(given)
            outputs = [tf.convert_to_tensor(each) for each in tf.nest.flatten(self.call(given, training))]
            cost = None if upstream is None else tf.reduce_sum(outputs[0] * tf.constant(upstream))
        sources: list[Any] = [given, *trained.values()]
        slopes = [None] * len(sources) if cost is None else tape.gradient(cost, sources)
        dx, *others = [None if slope is None else tf.convert_to_tensor(slope).numpy() for slope in slopes]
        gradients = {name: g for name, g in zip(trained, others, strict=True) if g is not None}
        after = {name: np.array(variable.numpy()) for name, variable in self._held() if not variable.trainable}
        return Ran([output.numpy() for output in outputs], dx if x.dtype.kind == "f" else None, gradients, after)

    def _held(self) -> Iterator[tuple[str, Any]]:
        for variable in self.layer.weights:
            if "float" in str(variable.dtype):
                yield variable.path.partition("/")[2] or variable.path, variable
