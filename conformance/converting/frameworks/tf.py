"""Keras's own layers, in inference and in float64, with tensors by the names of their variables."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from conformance.converting.asking import Asked, answered, padded_channels_last
from conformance.problems.tensors import Array, Tensors


def forward(given: Mapping[str, Array]) -> Tensors:
    """The outputs of the layers of a request."""
    return answered(given, _run)


def _run(asked: Asked) -> Array:
    x = padded_channels_last(asked)[0] if "Conv" in asked.kind else asked.x
    layer = _made(asked)
    given = (x, x) if asked.kind == "MultiHeadAttention" else (x,)
    more = {"use_causal_mask": asked.keywords["causal"]} if len(given) > 1 else {}
    layer(*given, **more)  # which makes its variables
    for variable in layer.weights:
        variable.assign(asked.tensors[_leaf(asked, variable)])
    return np.asarray(layer(*given, **more))


def _leaf(asked: Asked, variable: Any) -> str:
    """What the tables call a variable: by its own name, and of what it is in."""
    _, *inner, own = variable.path.split("/")
    if asked.directions:
        return f"{inner[0].partition('_')[0]}.{own}"
    return f"{inner[0]}.{own}" if asked.kind == "MultiHeadAttention" else str(own)


def _made(asked: Asked) -> Any:
    """The layer; all that is not a size is as the recipe has it."""
    keywords, tensors, (kind, _, option) = asked.keywords, asked.tensors, asked.kind.partition("(")
    made, double = getattr(keras.layers, kind), {"dtype": "float64"}
    if kind == "Dense":
        return made(tensors["kernel"].shape[1], use_bias="bias" in tensors, **double)
    if kind.startswith("Conv"):
        return made(
            tensors["kernel"].shape[-1], tensors["kernel"].shape[:-2], strides=tuple(keywords["stride"]),
            padding=padded_channels_last(asked)[1], dilation_rate=tuple(keywords["dilation"]),
            groups=keywords["groups"], use_bias="bias" in tensors, **double,
        )  # fmt: skip
    if kind.startswith("Depthwise"):
        return made(
            tensors["kernel"].shape[:-2], depth_multiplier=tensors["kernel"].shape[-1], use_bias="bias" in tensors,
            strides=tuple(keywords["stride"]), padding=padded_channels_last(asked)[1],
            dilation_rate=tuple(keywords["dilation"]), **double,
        )  # fmt: skip
    if kind == "MultiHeadAttention":
        _, heads, units = tensors["query.kernel"].shape
        return made(heads, units, use_bias="query.bias" in tensors, **double)
    if kind == "Embedding":
        return made(*tensors["embeddings"].shape, **double)
    if kind.endswith("Normalization"):
        return made(epsilon=keywords["epsilon"], **double)
    return _recurrent(asked, made, kind, option)


def _recurrent(asked: Asked, made: Any, kind: str, option: str) -> Any:
    """A recurrent layer, or the one in both directions."""
    keywords, tensors, double = asked.keywords, asked.tensors, {"dtype": "float64"}
    more: dict[str, Any] = {"activation": keywords["activation"]} if kind == "SimpleRNN" else {}
    more |= {"reset_after": not option} if kind == "GRU" else {}
    held = asked.directions[0].tensors if asked.directions else tensors
    layer = made(
        held["recurrent_kernel"].shape[0], use_bias="bias" in held, return_sequences=keywords["return_sequences"],
        **more, **double,
    )  # fmt: skip
    if not asked.directions:
        return layer
    return keras.layers.Bidirectional(layer, {"concatenate": "concat"}.get(keywords["join"], "sum"), **double)
