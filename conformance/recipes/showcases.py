"""Showcases of networks of layers: trainings that learn something, on images and on tokens."""

from typing import Any

from conformance.data.tokens import LETTER_VOCABULARY
from conformance.recipes.networks import activation, convolution, dense, layer, optimizer

_categorical = {"loss": "categorical_cross_entropy"}
_pool = layer("max_pool", window=[2, 2])


def _network(*layers: Any) -> dict[str, Any]:
    return {"model": {"name": "network", "layers": list(layers)}}


def _same(channels: int, **keywords: Any) -> dict[str, Any]:
    return convolution(channels, 3, 3, padding="same", **keywords)


NETWORK_SHOWCASES: tuple[dict[str, Any], ...] = (
    {
        "name": "showcase-digits-convolutions",
        "description": "Two convolutions, in the manner of LeNet, on all digits: over 97 % of the test images.",
        "dataset": {"name": "digits", "scaling": "unit"},
        **_network(
            layer("reshape", shape=[8, 8, 1]), _same(16), activation("relu"), _pool, _same(32), activation("relu"),
            _pool, "flatten", dense(10),
        ),
        **_categorical, "batch_size": 64, "epochs": 15, "every_epoch": True, **optimizer("adam", 0.005),
    },
    {
        "name": "showcase-hand-signs-lenet",
        "description": "LeNet, smooth and small, on 300 drawn hands: over 95 % of them, over 70 % of others.",
        "dataset": {"name": "hand_signs", "examples": 300, "test_examples": 100},
        **_network(
            layer("reshape", shape=[64, 64, 3]), layer("average_pool", window=[4, 4]), _same(8), activation("tanh"),
            layer("average_pool", window=[2, 2]), _same(16), activation("tanh"),
            layer("average_pool", window=[2, 2]), "flatten", dense(6),
        ),
        **_categorical, "batch_size": 20, "epochs": 16, "every_epoch": True, **optimizer("adam", 0.02),
        "schedule": {"name": "exponential", "base": 0.9},
    },
    {
        "name": "showcase-words-gru",
        "description": "A GRU reads words letter by letter and tells their language: over 80 % of words it never saw.",
        "dataset": {"name": "words"},
        **_network(
            layer("embedding", entries=LETTER_VOCABULARY, units=8, mask_zero=True), layer("gru", units=24), dense(3),
        ),
        **_categorical, "batch_size": 32, "epochs": 10, "every_epoch": True, **optimizer("adam", 0.01),
    },
)  # fmt: skip
