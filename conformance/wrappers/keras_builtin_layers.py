"""Keras's own layers, each in a small network: the layer, and a dense head."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from conformance.recipes.layer_dialects import LayerDialect, layer_dialect
from conformance.recipes.subject_layers import ROWS, SHAPES, TOKENS, UNITS, classes, has_own_start, kind, window
from conformance.recipes.subjects import Subject, call_of


def parts(subject: Subject) -> dict[str, Any]:
    """What a layer's network and its loss are, as ``wrap_keras`` takes them."""
    dialect, call = layer_dialect(subject.name), call_of(subject.name)
    name = call.function.rpartition(".")[2]

    def model() -> list[Any]:
        own = _layer(name, dialect, call.named)
        first = Around(own, backwards=True) if "go_backwards" in call.named else own
        return [first, layers.Flatten(), layers.Dense(classes(dialect))]

    def inputs(x: Any) -> Any:
        return x if kind(dialect) == "tokens" else tf.reshape(x, (-1, *SHAPES[kind(dialect)]))

    return {
        "model": model, "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "inputs": inputs,
        **({"initializer": "own"} if has_own_start(dialect) else {}),
    }  # fmt: skip


class Around(layers.Layer):  # type: ignore[misc]
    """A layer that attends to its own inputs, or whose outputs are put at the places of their inputs."""

    def __init__(self, layer: Any, *, backwards: bool) -> None:
        super().__init__()
        self.layer, self.backwards = layer, backwards

    def call(self, x: Any) -> Any:
        """What it makes of its inputs."""
        return self.layer(x)[:, ::-1] if self.backwards else self.layer(x, x)


def _layer(name: str, dialect: LayerDialect, named: dict[str, Any]) -> Any:
    if name == "GRUCell":
        return layers.RNN(layers.GRUCell(UNITS), return_sequences=True)
    if name == "Bidirectional":
        inside = "LSTM" if dialect.inside else "GRU"
        return layers.Bidirectional(getattr(layers, inside)(UNITS))
    made = getattr(layers, name)(*_sizes(name, dialect), **named)
    return Around(made, backwards=False) if name == "MultiHeadAttention" else made


def _sizes(name: str, dialect: LayerDialect) -> tuple[Any, ...]:
    """What a layer is given by position."""
    own = window(dialect)
    sizes: dict[str, tuple[Any, ...]] = {
        "Dense": (ROWS,), "Conv1D": (4, own), "Conv2D": (4, own), "DepthwiseConv2D": (own,), "AveragePooling1D": own,
        "AveragePooling2D": (own,), "Embedding": (TOKENS, UNITS), "MultiHeadAttention": (2, 4), "Dropout": (0.3,),
        "SimpleRNN": (UNITS,), "LSTM": (UNITS,), "GRU": (UNITS,),
    }  # fmt: skip
    return sizes.get(name, ())
