"""The layers of Flax's NNX, in inference and in float64, with tensors by the paths of their state."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from conformance.converting.asking import Asked, answered, joined, padded_channels_last
from conformance.problems.tensors import Array, Tensors
from impl_jax import activations


def forward(given: Mapping[str, Array]) -> Tensors:
    """The outputs of the layers of a request."""
    with jax.enable_x64(True):
        return answered(given, _run)


def _run(asked: Asked) -> Array:
    if asked.kind.endswith("Cell"):
        return _states(asked)
    x = jnp.asarray(padded_channels_last(asked)[0] if asked.kind == "Conv" else asked.x)
    more = {"mask": nnx.make_causal_mask(x[..., 0])} if asked.keywords.get("causal") else {}
    return np.asarray(_filled(_made(asked), asked.tensors)(x, **more))


def _states(asked: Asked) -> Array:
    """What a recurrent layer gives, which has cells."""
    runs = [nnx.RNN(_filled(_cell(each), each.tensors), rngs=nnx.Rngs(0)) for each in asked.directions or [asked]]
    if asked.directions:
        both = nnx.Bidirectional(*runs, rngs=nnx.Rngs(0))(jnp.asarray(asked.x))
        return joined(asked, *np.split(np.asarray(both), 2, axis=-1))
    states = np.asarray(runs[0](jnp.asarray(asked.x)))
    return states if asked.keywords["return_sequences"] else states[:, -1]


def _filled(module: Any, tensors: Tensors) -> Any:
    """A module with its parameters and averages, which are called as the tables call them but for ``if_``."""
    flat = nnx.to_flat_state(nnx.state(module, (nnx.Param, nnx.BatchStat)))
    found = [(path, variable.replace(jnp.asarray(tensors[".".join(part.removesuffix("_") for part in path)])))
             for path, variable in flat]  # fmt: skip
    nnx.update(module, nnx.from_flat_state(found))
    return module


def _made(asked: Asked) -> Any:
    """The module; all that is not a size is as the recipe has it."""
    kind, keywords, tensors = asked.kind, asked.keywords, asked.tensors
    real: dict[str, Any] = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    if kind == "Linear":
        return nnx.Linear(*tensors["kernel"].shape, use_bias="bias" in tensors, **real)
    if kind == "Conv":
        *kernel, inputs, outputs = tensors["kernel"].shape
        return nnx.Conv(
            inputs * keywords["groups"], outputs, tuple(kernel), strides=tuple(keywords["stride"]),
            padding=padded_channels_last(asked)[1].upper(), kernel_dilation=tuple(keywords["dilation"]),
            feature_group_count=keywords["groups"], use_bias="bias" in tensors, **real,
        )  # fmt: skip
    if kind == "Embed":
        return nnx.Embed(*tensors["embedding"].shape, **real)
    if kind == "MultiHeadAttention":
        inputs, heads, units = tensors["query.kernel"].shape
        return nnx.MultiHeadAttention(
            heads, inputs, heads * units, inputs, use_bias="query.bias" in tensors, decode=False, deterministic=True,
            **real,
        )  # fmt: skip
    more: dict[str, Any] = {"use_running_average": True} if kind == "BatchNorm" else {"use_fast_variance": False}
    return getattr(nnx, kind)(len(tensors["scale"]), epsilon=keywords["epsilon"], **more, **real)


def _cell(asked: Asked) -> Any:
    """A recurrent layer's cell."""
    of_inputs = next(w for leaf, w in asked.tensors.items() if leaf in ("ii.kernel", "dense_i.kernel"))
    of_states = next(w for leaf, w in asked.tensors.items() if leaf in ("hi.kernel", "dense_h.kernel"))
    more: dict[str, Any] = {"dtype": jnp.float64}
    if asked.kind == "SimpleCell":
        more["activation_fn"] = activations.ACTIVATIONS[asked.keywords["activation"]]
    sizes = len(of_inputs), len(of_states)
    return getattr(nnx, asked.kind)(*sizes, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **more)
