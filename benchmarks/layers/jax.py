"""Flax's layers, and the project's in the same compiled step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import impl_jax
from benchmarks.contenders import LayerTrainer
from benchmarks.idioms.jax import Fit, Loop, arrays
from benchmarks.workloads import LayerWorkload, Tensors

Tree = dict[str, Any]


def dense(p: Tensors, path: str) -> Tree:
    """Of ``nn.Dense``."""
    return {"kernel": p[f"{path}.W"].T, "bias": p[f"{path}.b"]}


def convolution(p: Tensors, path: str) -> Tree:
    """Of ``nn.Conv``, ``(h, w, n_in, n_out)``."""
    return {"kernel": np.moveaxis(p[f"{path}.W"], 0, -1), "bias": p[f"{path}.b"]}


def norm(p: Tensors, path: str) -> Tree:
    """Of ``nn.LayerNorm``."""
    return {"scale": p[f"{path}.gamma"], "bias": p[f"{path}.beta"]}


def by_gate(p: Tensors, gates: str) -> dict[str, dict[str, Any]]:
    """The blocks of a recurrent layer's arrays: ``{"W": {"i": ...}, ...}``."""
    names = [name for name in ("W", "U", "b", "b_h") if f"1.{name}" in p]
    return {name: dict(zip(gates, np.split(p[f"1.{name}"], len(gates)), strict=True)) for name in names}


class LeNet(nn.Module):
    """LeNet-5."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.max_pool(nn.relu(nn.Conv(6, (5, 5))(x)), (2, 2), strides=(2, 2))
        x = nn.max_pool(nn.relu(nn.Conv(16, (5, 5), padding="VALID")(x)), (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        for units in (120, 84):
            x = nn.relu(nn.Dense(units)(x))
        return nn.Dense(10)(x)

    @staticmethod
    def tree(p: Tensors) -> Tree:
        """Its parameters from the project's."""
        named = {"Conv_0": convolution(p, "1"), "Conv_1": convolution(p, "4")}
        return named | {f"Dense_{place}": dense(p, path) for place, path in enumerate(("8", "10", "12"))}


class LSTM(nn.Module):
    """The last state of ``nn.OptimizedLSTMCell``, classified."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(nn.RNN(nn.OptimizedLSTMCell(64))(x)[:, -1])

    @staticmethod
    def tree(p: Tensors) -> Tree:
        """Its parameters from the project's: the bias is with the recurrent part."""
        parts = by_gate(p, "ifgo")
        cell = {f"i{gate}": {"kernel": w.T} for gate, w in parts["W"].items()}
        cell |= {f"h{gate}": {"kernel": u.T, "bias": parts["b"][gate]} for gate, u in parts["U"].items()}
        return {"OptimizedLSTMCell_0": cell, "Dense_0": dense(p, "2")}


class GRU(nn.Module):
    """The last state of ``nn.GRUCell``, classified."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(nn.RNN(nn.GRUCell(64))(x)[:, -1])

    @staticmethod
    def tree(p: Tensors) -> Tree:
        """Its parameters from the project's: of the recurrent biases it has that of ``n``; the others are 0 there."""
        parts = by_gate(p, "rzn")
        cell: Tree = {f"i{gate}": {"kernel": w.T, "bias": parts["b"][gate]} for gate, w in parts["W"].items()}
        cell |= {f"h{gate}": {"kernel": u.T} for gate, u in parts["U"].items()}
        cell["hn"]["bias"] = parts["b_h"]["n"]
        return {"GRUCell_0": cell, "Dense_0": dense(p, "2")}


class Bag(nn.Module):
    """The mean of embeddings, classified."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(10)(nn.Embed(1000, 32)(x).mean(axis=1))

    @staticmethod
    def tree(p: Tensors) -> Tree:
        """Its parameters from the project's."""
        return {"Embed_0": {"embedding": p["1.W"]}, "Dense_0": dense(p, "3")}


class Transformer(nn.Module):
    """A block, the mean over time, classified."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.LayerNorm(epsilon=1e-5)(x + nn.MultiHeadDotProductAttention(4)(x))
        hidden = nn.relu(nn.Dense(128)(x))
        x = nn.LayerNorm(epsilon=1e-5)(x + nn.Dense(64)(hidden))
        return nn.Dense(10)(x.mean(axis=1))

    @staticmethod
    def tree(p: Tensors) -> Tree:
        """Its parameters from the project's: the kernels of attention have an axis of heads."""
        attention: Tree = {
            own: {"kernel": p[f"1.W_{own[0]}"].T.reshape(64, 4, 16), "bias": p[f"1.b_{own[0]}"].reshape(4, 16)}
            for own in ("query", "key", "value")
        }
        attention["out"] = {"kernel": p["1.W_o"].T.reshape(4, 16, 64), "bias": p["1.b_o"]}
        named = {f"Dense_{place}": dense(p, path) for place, path in enumerate(("3.1", "3.3", "6"))}
        norms = {"LayerNorm_0": norm(p, "2"), "LayerNorm_1": norm(p, "4")}
        return {"MultiHeadDotProductAttention_0": attention} | named | norms


class ResidualDense(nn.Module):
    """Two blocks, classified."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            hidden = nn.relu(nn.Dense(64)(x))
            x = x + nn.Dense(64)(hidden)
        return nn.Dense(10)(nn.relu(x))

    @staticmethod
    def tree(p: Tensors) -> Tree:
        """Its parameters from the project's."""
        return {f"Dense_{place}": dense(p, path) for place, path in enumerate(("1.1", "1.3", "2.1", "2.3", "4"))}


NETWORKS: dict[str, Any] = {
    "lenet": LeNet, "lstm": LSTM, "gru": GRU, "bag of embeddings": Bag, "transformer block": Transformer,
    "residual dense": ResidualDense,
}  # fmt: skip


class OwnLayers(Loop[LayerWorkload]):
    """Flax's layers."""

    def make_network(self) -> tuple[Callable[[Any, jax.Array], jax.Array], Any]:
        network = NETWORKS[self.workload.name]
        tree = jax.tree.map(jnp.asarray, network.tree(self.workload.initial()))
        return lambda tree, x: network().apply({"params": tree}, x), tree


class ProjectLayers(Loop[LayerWorkload]):
    """The project's layers."""

    def make_network(self) -> tuple[Callable[[Any, jax.Array], jax.Array], Any]:
        return partial(self.workload.model(impl_jax).apply), arrays(self.workload.initial())


TRAINERS: dict[str, Callable[[LayerWorkload], LayerTrainer]] = {
    "fit": Fit, "own layers": OwnLayers, "project layers": ProjectLayers
}  # fmt: skip
