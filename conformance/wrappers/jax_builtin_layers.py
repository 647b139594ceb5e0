"""Flax's own layers, each in a small network: the layer, and a linear head."""

import math
from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx

from conformance.recipes.layer_dialects import LayerDialect, layer_dialect
from conformance.recipes.subject_layers import ROWS, SHAPES, TOKENS, UNITS, classes, has_own_start, kind, window
from conformance.recipes.subjects import Subject, call_of


def parts(subject: Subject) -> dict[str, Any]:
    """What a layer's network and its loss are, as ``wrap_jax`` takes them."""
    dialect = layer_dialect(subject.name)

    def inputs(x: Any) -> Any:
        return x if kind(dialect) == "tokens" else x.reshape(-1, *SHAPES[kind(dialect)])

    def model(rngs: Any) -> Any:
        return Network(subject, dialect, rngs)

    return {
        "model": model, "loss": optax.softmax_cross_entropy_with_integer_labels, "inputs": inputs,
        **({"initializer": "own"} if has_own_start(dialect) else {}),
    }  # fmt: skip


class Network(nnx.Module):  # type: ignore[misc]
    """A layer, and a head of whatever it gives."""

    def __init__(self, subject: Subject, dialect: LayerDialect, rngs: Any) -> None:
        self.layer = _layer(subject, dialect, rngs)
        whole = kind(dialect) == "tokens"
        given = jnp.zeros((1, *SHAPES[kind(dialect)]), jnp.int32 if whole else jnp.result_type(float))
        wide = math.prod(nnx.eval_shape(lambda layer: layer(given), self.layer).shape)
        self.out = nnx.Linear(wide, classes(dialect), rngs=rngs)

    def __call__(self, x: Any) -> Any:
        """Of what the layer is given, the logits."""
        x = self.layer(x)
        return self.out(x.reshape(len(x), -1))


def _layer(subject: Subject, dialect: LayerDialect, rngs: Any) -> Any:
    call = call_of(subject.name)
    name = call.function.rpartition(".")[2]
    named = {argument: value for argument, value in call.named.items() if argument != "kernel_size"}
    real: dict[str, Any] = {"param_dtype": jnp.result_type(float), "rngs": rngs}
    if name == "SimpleCell":  # the one that computes in float32 unless it is told otherwise
        real["dtype"] = jnp.result_type(float)
    channels = SHAPES[kind(dialect)][-1]
    if name == "Bidirectional":
        cell = "OptimizedLSTMCell" if dialect.inside else "GRUCell"
        return nnx.Bidirectional(*(nnx.RNN(getattr(nnx, cell)(channels, UNITS, **real)) for _ in range(2)))
    sizes: dict[str, tuple[Any, ...]] = {
        "Linear": (channels, ROWS), "Conv": (channels, 4, window(dialect)), "Embed": (TOKENS, UNITS),
        "BatchNorm": (channels,), "LayerNorm": (channels,), "MultiHeadAttention": (2, channels),
    }  # fmt: skip
    decode = {"decode": False} if name == "MultiHeadAttention" else {}
    made = getattr(nnx, name)(*sizes.get(name, (channels, UNITS)), **named, **decode, **real)
    return nnx.RNN(made) if name.endswith("Cell") else made
