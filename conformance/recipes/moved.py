"""Recipes of trainings that move, and of trainings that are divided.

Half of a training that moves is made by one implementation, the rest by another: together these have every kind of
thing that a checkpoint holds: one slot, several, a product of them all, a history; a schedule by step and one by epoch;
running averages, and draws of dropout from the tape. Of a training that is divided two replicas share every batch, and
what matters is whether they can share the last one evenly.
"""

from typing import Any

from conformance.data.tokens import LETTER_VOCABULARY
from conformance.recipes.networks import (
    IN_FLOAT64,
    activation,
    classifier,
    convolution,
    dense,
    layer,
    optimizer,
    residual,
)

_moons = {"name": "moons", "examples": 97, "test_examples": 40, "scaling": "none"}
_digits = {"name": "digits", "scaling": "unit", "examples": 80, "test_examples": 40}


def _moved(name: str, description: str, **values: Any) -> dict[str, Any]:
    return {"name": f"hand-over-{name}", "description": description, "fit": "in_halves", "epochs": 4} | values


def _binary(*units: int, **more: Any) -> dict[str, Any]:
    model = {"name": "deep_network", "hidden_units": units, "activation": "tanh", **more}
    return {"dataset": _moons, "model": model, "loss": "binary_cross_entropy", "batch_size": 32}


HAND_OVER: tuple[dict[str, Any], ...] = (
    _moved(
        "adam", "Adam, corrected for bias; batch norm, dropout, and a rate that falls with every step.",
        dataset=_digits, model={"name": "softmax_classifier", "hidden_units": [12], "normalization": "batch_norm"},
        loss="categorical_cross_entropy", batch_size=40, **optimizer("adam", 0.01),
        regularizers=[{"name": "inverted_dropout", "keep_probability": 0.8}],
        schedule={"name": "exponential", "unit": "step", "base": 0.9},
    ),
    _moved(
        "momentum", "Momentum with a rate that falls with every epoch, L2, and a last batch of one example.",
        **_binary(8, 5), **optimizer("momentum", 0.1), regularizers=[{"name": "l2", "strength": 0.1}],
        schedule={"name": "inverse_time", "decay_rate": 0.5},
    ),
    _moved(
        "amsgrad", "Adam with the largest second moment kept, and decoupled decay; the first layer frozen.",
        **IN_FLOAT64, **_binary(4, 4), transfer={"frozen_layers": 1},
        **optimizer("adamw", 0.02, amsgrad="corrected_max", weight_decay=0.1),
    ),
    _moved(
        "nadam", "Nadam, whose rates multiply over the steps.", **IN_FLOAT64, **_binary(6), **optimizer("nadam", 0.02),
    ),
    _moved(
        "lbfgs", "A quasi-Newton method, which remembers how the gradient changed.", **IN_FLOAT64,
        dataset={"name": "breast_cancer"}, model={"name": "logistic_regression"}, loss="binary_cross_entropy",
        regularizers=[{"name": "l2", "strength": 5.0}], **optimizer("lbfgs", 0.5), epochs=8,
    ),
    _moved(
        "convolution", "A convolution with batch norm by channel, RMSprop with momentum.", **IN_FLOAT64,
        **classifier(
            layer("reshape", shape=[8, 8, 1]), convolution(4, 3, 3, bias=False), "batch_norm", activation("tanh"),
            "global_average_pool",
        ) | {"epochs": 4},
        **optimizer("rmsprop", 0.003, momentum=0.8),
    ),
    _moved(
        "gru", "A GRU that reads words, AdaDelta.", **IN_FLOAT64,
        dataset={"name": "words", "examples": 42, "test_examples": 21}, batch_size=14,
        model={"name": "network", "layers": [
            layer("embedding", entries=LETTER_VOCABULARY, units=4, mask_zero=True), layer("gru", units=5), dense(3),
        ]},
        loss="categorical_cross_entropy", **optimizer("adadelta", 1.0),
    ),
    _moved(
        "layers", "LSTMs in both directions, attention, dropout, both norms; Adam, and a rate that falls by step.",
        **IN_FLOAT64, dataset={"name": "words", "examples": 42, "test_examples": 21}, batch_size=14,
        model={"name": "network", "layers": [
            layer("embedding", entries=LETTER_VOCABULARY, units=4),
            layer("bidirectional", layers=[layer("lstm", units=3, biases=2, return_sequences=True)]),
            layer("dropout", keep_probability=0.8), residual(layer("attention", heads=2, bias=False)),
            "layer_norm", activation("tanh"), "global_average_pool", "batch_norm", dense(3),
        ]},
        loss="categorical_cross_entropy", **optimizer("adam", 0.01),
        schedule={"name": "exponential", "unit": "step", "base": 0.95},
    ),
)  # fmt: skip


def _divided(name: str, description: str, **values: Any) -> dict[str, Any]:
    return {"name": f"data-parallel-{name}", "description": description, "epochs": 3} | values


DATA_PARALLEL: tuple[dict[str, Any], ...] = (
    _divided(
        "even", "Batches that are divided evenly; Adam, the course's L2, dropout.",
        dataset=_digits, model={"name": "softmax_classifier", "hidden_units": [12], "activation": "tanh"},
        loss="categorical_cross_entropy", batch_size=40, **optimizer("adam", 0.01),
        regularizers=[{"name": "l2", "strength": 0.5}, {"name": "inverted_dropout", "keep_probability": 0.8}],
    ),
    _divided(
        "uneven", "A last batch of 17 examples; clipping by the norm of all gradients, a rate by step.",
        dataset=_digits | {"examples": 77}, loss="categorical_cross_entropy", batch_size=30,
        model={"name": "softmax_classifier", "hidden_units": [10], "activation": "tanh"}, **optimizer("rmsprop", 0.01),
        regularizers=[{"name": "l2", "strength": 0.5}, {"name": "clip_by_global_norm", "limit": 0.5}],
        schedule={"name": "exponential", "unit": "step", "base": 0.95},
    ),
    _divided(
        "single", "A last batch of one example, which leaves a replica without any; momentum.", **IN_FLOAT64,
        **_binary(8, 5), **optimizer("momentum", 0.1),
    ),
    _divided(
        "weighted", "Weights of examples and classes, an uneven last batch.", **IN_FLOAT64,
        dataset=_moons, model={"name": "shallow_network", "hidden_units": [6], "activation": "tanh"},
        loss={"name": "binary_cross_entropy", "class_weights": [0.5, 2.0]}, example_weights="drawn", batch_size=44,
        **optimizer("adamw", 0.02),
    ),
    _divided(
        "convolution", "A convolution and layer norm, uneven batches.", **IN_FLOAT64,
        **classifier(
            layer("reshape", shape=[8, 8, 1]), convolution(4, 3, 3), activation("tanh"), "global_average_pool",
            "layer_norm",
        ) | {"batch_size": 15},
        **optimizer("adam", 0.01),
    ),
)  # fmt: skip
