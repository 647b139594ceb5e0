"""Keras's own layers, and the project's in the same compiled step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.contenders import LayerTrainer
from benchmarks.idioms.tensorflow import Fit, Loop, project_model
from benchmarks.workloads import Array, LayerWorkload, Tensors

Network = tuple[keras.Model, list[Array]]  # and its weights in Keras's order


def dense(p: Tensors, *paths: str) -> list[Array]:
    """The kernels and biases of ``Dense`` layers."""
    return [value for path in paths for value in (p[f"{path}.W"].T, p[f"{path}.b"])]


def convolution(p: Tensors, path: str) -> list[Array]:
    """The kernel, ``(h, w, n_in, n_out)``, and bias of ``Conv2D``."""
    return [np.moveaxis(p[f"{path}.W"], 0, -1), p[f"{path}.b"]]


def lenet(p: Tensors) -> Network:
    """With the activations inside of the layers."""
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(120, "relu"), layers.Dense(84, "relu"), layers.Dense(10),
    ])  # fmt: skip
    return model, convolution(p, "1") + convolution(p, "4") + dense(p, "8", "10", "12")


def lstm(p: Tensors) -> Network:
    """Gates in the order i, f, c, o, and one bias."""
    model = keras.Sequential([keras.Input((32, 32)), layers.LSTM(64), layers.Dense(10)])
    return model, [p["1.W"].T, p["1.U"].T, p["1.b"], *dense(p, "2")]


def gru(p: Tensors) -> Network:
    """Gates in the order z, r, n, and both biases in one array."""
    model = keras.Sequential([keras.Input((32, 32)), layers.GRU(64), layers.Dense(10)])
    return model, [p["1.W"].T, p["1.U"].T, np.stack([p["1.b"], p["1.b_h"]]), *dense(p, "2")]


def bag(p: Tensors) -> Network:
    """The gradient of the embedding is sparse, and Keras's Adam takes it so: equal in cost, not in a second step."""
    tokens = keras.Input((32,), dtype="int32")
    model = keras.Sequential([tokens, layers.Embedding(1000, 32), layers.GlobalAveragePooling1D(), layers.Dense(10)])
    return model, [p["1.W"], *dense(p, "3")]


def transformer(p: Tensors) -> Network:
    """Attention with the same epsilon in the norms."""
    x = keras.Input((32, 64))
    attended = layers.LayerNormalization(epsilon=1e-5)(x + layers.MultiHeadAttention(4, 16)(x, x))
    forward = layers.Dense(64)(layers.Dense(128, "relu")(attended))
    z = layers.LayerNormalization(epsilon=1e-5)(attended + forward)
    model = keras.Model(x, layers.Dense(10)(layers.GlobalAveragePooling1D()(z)))
    projections = [
        value for part in "qkv" for value in (p[f"1.W_{part}"].T.reshape(64, 4, 16), p[f"1.b_{part}"].reshape(4, 16))
    ]
    attention = [*projections, p["1.W_o"].T.reshape(4, 16, 64), p["1.b_o"]]
    norms = [[p[f"{path}.gamma"], p[f"{path}.beta"]] for path in ("2", "4")]
    return model, attention + norms[0] + dense(p, "3.1", "3.3") + norms[1] + dense(p, "6")


def residual(p: Tensors) -> Network:
    """Two blocks."""
    x = y = keras.Input((64,))
    for _ in range(2):
        y = y + layers.Dense(64)(layers.Dense(64, "relu")(y))
    model = keras.Model(x, layers.Dense(10)(layers.ReLU()(y)))
    return model, dense(p, "1.1", "1.3", "2.1", "2.3", "4")


NETWORKS: dict[str, Callable[[Tensors], Network]] = {
    "lenet": lenet, "lstm": lstm, "gru": gru, "bag of embeddings": bag, "transformer block": transformer,
    "residual dense": residual,
}  # fmt: skip


class OwnLayers(Loop[LayerWorkload]):
    """Keras's own layers."""

    def make_network(self) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[Any]]:
        self.model, weights = NETWORKS[self.workload.name](self.workload.initial())
        self.model.set_weights(weights)
        return partial(self.model, training=True), self.model.trainable_variables


class ProjectLayers(Loop[LayerWorkload]):
    """The project's layers."""

    def make_network(self) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[Any]]:
        self.model = project_model(self.workload)
        return partial(self.model, training=True), list(self.model.parameter_dict().values())


TRAINERS: dict[str, Callable[[LayerWorkload], LayerTrainer]] = {
    "fit": Fit, "own layers": OwnLayers, "project layers": ProjectLayers
}  # fmt: skip
