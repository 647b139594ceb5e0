"""Recipes of trainings that move: half of each is made by one implementation, the rest by another.

Small, and together they have every kind of thing that a checkpoint holds: one slot, several, a product of them all, a
history; a schedule by step and one by epoch; running averages, and draws of dropout from the tape.
"""

from typing import Any

from conformance.data.tokens import LETTER_VOCABULARY
from conformance.recipes.networks import IN_FLOAT64, activation, classifier, convolution, dense, layer, optimizer

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
)  # fmt: skip
