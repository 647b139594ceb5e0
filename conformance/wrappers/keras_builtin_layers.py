"""Keras's own layers, each in a small network: the layer, and a dense head."""

from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from conformance.recipes.layer_dialects import LayerDialect, layer_dialect
from conformance.recipes.subject_layers import ROWS, SHAPES, TOKENS, UNITS, classes, has_own_start, kind, window
from conformance.recipes.subjects import Subject, call_of


def parts(subject: Subject) -> dict[str, Any]:
    """What a layer's network and its loss are, as ``wrap_keras`` takes them."""
    dialect = layer_dialect(subject.name)

    def inputs(x: Any) -> Any:
        return x if kind(dialect) == "tokens" else tf.reshape(x, (-1, *SHAPES[kind(dialect)]))

    return {
        "model": partial(Network, subject.name, dialect), "inputs": inputs,
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **({"initializer": "own"} if has_own_start(dialect) else {}),
    }  # fmt: skip


class Network(keras.Model):  # type: ignore[misc]
    """A layer, and a dense head of whatever it gives; outputs that come backwards are put at their inputs' places.

    It is made anew for every seed under which its start is looked at: it says how it is built, as Keras would find out
    by tracing it twice.
    """

    def __init__(self, name: str, dialect: LayerDialect) -> None:
        super().__init__()
        call = call_of(name)
        self.layer = _layer(call.function.rpartition(".")[2], dialect, call.named)
        self.takes = 2 if dialect.layer == "attention" else 1  # the same, as queries and as values
        self.backwards = "go_backwards" in call.named
        self.flatten, self.out = layers.Flatten(), layers.Dense(classes(dialect))

    def build(self, shape: Any) -> None:
        """Make the parameters for inputs of a shape."""
        given = [shape] * self.takes
        self.layer.build(*given)
        self.out.build(self.flatten.compute_output_shape(self.layer.compute_output_shape(*given)))

    def call(self, x: Any) -> Any:
        """Of what the layer is given, the logits."""
        made = self.layer(*[x] * self.takes)
        return self.out(self.flatten(made[:, ::-1] if self.backwards else made))


def _layer(name: str, dialect: LayerDialect, named: dict[str, Any]) -> Any:
    if name == "GRUCell":
        return layers.RNN(layers.GRUCell(UNITS), return_sequences=True)
    if name == "Bidirectional":
        inside = "LSTM" if dialect.inside else "GRU"
        return layers.Bidirectional(getattr(layers, inside)(UNITS))
    return getattr(layers, name)(*_sizes(name, dialect), **named)


def _sizes(name: str, dialect: LayerDialect) -> tuple[Any, ...]:
    """What a layer is given by position."""
    own = window(dialect)
    sizes: dict[str, tuple[Any, ...]] = {
        "Dense": (ROWS,), "Conv1D": (4, own), "Conv2D": (4, own), "DepthwiseConv2D": (own,), "AveragePooling1D": own,
        "AveragePooling2D": (own,), "Embedding": (TOKENS, UNITS), "MultiHeadAttention": (2, 4), "Dropout": (0.3,),
        "SimpleRNN": (UNITS,), "LSTM": (UNITS,), "GRU": (UNITS,),
    }  # fmt: skip
    return sizes.get(name, ())
