"""Keras's own layers, in inference and in float64, with tensors by the names of their variables."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from conformance.converting.asking import Asked, answered, padded
from conformance.problems.tensors import Array, Tensors


def forward(given: Mapping[str, Array]) -> Tensors:
    """The outputs of the layers of a request."""
    return answered(given, _run)


def _run(asked: Asked) -> Array:
    x = padded(asked)[0] if asked.kind.startswith("Conv") else asked.x
    layer = _made(asked)
    layer(x)  # which makes its variables
    for variable in layer.weights:
        variable.assign(asked.tensors[variable.name])
    return np.asarray(layer(x))


def _made(asked: Asked) -> Any:
    """The layer; all that is not a size is as the recipe has it."""
    keywords, tensors, (kind, _, option) = asked.keywords, asked.tensors, asked.kind.partition("(")
    made, double = getattr(keras.layers, kind), {"dtype": "float64"}
    if kind == "Dense":
        return made(tensors["kernel"].shape[1], use_bias="bias" in tensors, **double)
    if kind.startswith("Conv"):
        return made(
            tensors["kernel"].shape[-1], tensors["kernel"].shape[:-2], strides=tuple(keywords["stride"]),
            padding=padded(asked)[1], dilation_rate=tuple(keywords["dilation"]), groups=keywords["groups"],
            use_bias="bias" in tensors, **double,
        )  # fmt: skip
    if kind == "Embedding":
        return made(*tensors["embeddings"].shape, **double)
    if kind.endswith("Normalization"):
        return made(epsilon=keywords["epsilon"], **double)
    more: dict[str, Any] = {"activation": keywords["activation"]} if kind == "SimpleRNN" else {}
    more |= {"reset_after": not option} if kind == "GRU" else {}
    units = tensors["recurrent_kernel"].shape[0]
    return made(
        units, use_bias="bias" in tensors, return_sequences=keywords["return_sequences"], **more, **double
    )  # fmt: skip
