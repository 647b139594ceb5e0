"""The layers of Flax's linen, in inference and in float64, with parameters by their paths."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen

from conformance.converting.asking import Asked, answered, joined, padded_channels_last
from conformance.problems.tensors import Array, Tensors
from conformance.results.grammar import nested
from conformance.wrappers.recipe_layers import DIRECTIONS
from impl_jax import activations

AVERAGES = ("mean", "var")


def forward(given: Mapping[str, Array]) -> Tensors:
    """The outputs of the layers of a request."""
    with jax.enable_x64(True):
        return answered(given, _run)


def _run(asked: Asked) -> Array:
    if asked.kind.endswith("Cell"):
        return _states(asked)
    parameters = _tree({leaf: w for leaf, w in asked.tensors.items() if leaf not in AVERAGES})
    averages = {leaf: w for leaf, w in asked.tensors.items() if leaf in AVERAGES}
    x = padded_channels_last(asked)[0] if asked.kind == "Conv" else asked.x
    more = {"mask": linen.make_causal_mask(x[..., 0])} if asked.keywords.get("causal") else {}
    return np.asarray(_made(asked).apply({"params": parameters, "batch_stats": averages}, x, **more))


def _tree(tensors: Tensors) -> Any:
    return nested((leaf.split("."), w) for leaf, w in tensors.items())


def _states(asked: Asked) -> Array:
    """What a recurrent layer gives, which has cells."""
    if asked.directions:
        runs = [linen.RNN(_cell(each)) for each in asked.directions]
        trees = {f"{direction}_rnn": {"cell": _tree(each.tensors)}
                 for direction, each in zip(DIRECTIONS, asked.directions, strict=True)}  # fmt: skip
        both = linen.Bidirectional(*runs).apply({"params": trees}, asked.x)
        return joined(asked, *np.split(np.asarray(both), 2, axis=-1))
    states = np.asarray(linen.RNN(_cell(asked)).apply({"params": {"cell": _tree(asked.tensors)}}, asked.x))
    return states if asked.keywords["return_sequences"] else states[:, -1]


def _made(asked: Asked) -> Any:
    """The module; all that is not a size is as the recipe has it."""
    kind, keywords, tensors = asked.kind, asked.keywords, asked.tensors
    if kind == "Dense":
        return linen.Dense(tensors["kernel"].shape[1], use_bias="bias" in tensors, param_dtype=np.float64)
    if kind == "Conv":
        *kernel, _, outputs = tensors["kernel"].shape
        return linen.Conv(
            outputs, tuple(kernel), strides=tuple(keywords["stride"]), padding=padded_channels_last(asked)[1].upper(),
            kernel_dilation=tuple(keywords["dilation"]), feature_group_count=keywords["groups"],
            use_bias="bias" in tensors, param_dtype=np.float64,
        )  # fmt: skip
    if kind == "Embed":
        return linen.Embed(*tensors["embedding"].shape, param_dtype=np.float64)
    if kind.endswith("Attention"):
        inputs, heads, units = tensors["query.kernel"].shape
        return getattr(linen, kind)(
            heads, qkv_features=heads * units, out_features=inputs, use_bias="query.bias" in tensors,
            param_dtype=np.float64, deterministic=True,
        )  # fmt: skip
    more: dict[str, Any] = {"use_running_average": True} if kind == "BatchNorm" else {"use_fast_variance": False}
    return getattr(linen, kind)(epsilon=keywords["epsilon"], param_dtype=np.float64, **more)


def _cell(asked: Asked) -> Any:
    """A recurrent layer's cell."""
    recurrent = next(w for leaf, w in asked.tensors.items() if leaf.startswith("h") and w.ndim == 2)
    more = {"activation_fn": activations.ACTIVATIONS[asked.keywords["activation"]]} if asked.kind[0] == "S" else {}
    return getattr(linen, asked.kind)(len(recurrent), param_dtype=np.float64, **more)
