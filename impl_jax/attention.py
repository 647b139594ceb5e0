"""Attention: scaled dot products, several heads of a sequence over itself, and the encoding of positions."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._common import check_choice, check_flags, check_positive, check_positive_integer
from ._layer import Array, Layer, Options, Pairs, initial_weights, initializer_pairs


def scaled_dot_product(
    q: Array, k: Array, v: Array, *, mask: Array | None = None, causal: bool = False, scale: float | None = None
) -> jax.Array:
    """``softmax(scale q k^T) v``, the softmax over the keys that may be looked at: ``(..., t_q, e)``.

    ``q``: ``(..., t_q, d)``, ``k``: ``(..., t_k, d)``, ``v``: ``(..., t_k, e)``; ``mask``: bool, of a shape that
    broadcasts to ``(..., t_q, t_k)``, True where a query may look at a key; ``causal``: query ``i`` at keys ``j <= i``;
    ``scale`` None: ``1 / sqrt(d)``. A query that may look at no key gives zeros, in value and gradient, where
    ``jax.nn.dot_product_attention`` gives the mean of all ``v``. Raises ValueError unless ``scale`` is positive.
    """
    return _attention_weights(jnp.asarray(q), jnp.asarray(k), mask, causal, scale) @ jnp.asarray(v)


@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """The layer that :func:`attention` makes."""

    heads: int
    key_units: int | None
    causal: bool
    bias: bool
    initializer: str
    initializer_options: Pairs

    def output_shape(self, shape):
        if len(shape) != 2:
            raise self._refused(shape, "(t, n)")
        if self.key_units is None and shape[-1] % self.heads:
            raise self._refused(shape, f"a multiple of heads={self.heads} features, unless key_units is given")
        return tuple(shape)

    def initialize(self, key, shape, *, dtype=None):
        _, features = self.output_shape(shape)
        inner = self.heads * (self.key_units or features // self.heads)
        parameters: dict[str, jax.Array] = {}
        for name, part in zip("qkvo", jax.random.split(key, 4), strict=True):
            weights_shape = (features, inner) if name == "o" else (inner, features)
            weights = initial_weights(self.initializer, self.initializer_options, part, weights_shape, dtype)
            parameters |= {f"W_{name}": weights} | (
                {f"b_{name}": jnp.zeros(weights_shape[0], dtype)} if self.bias else {}
            )
        return parameters

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        self.output_shape(x.shape[1:])
        examples, steps, _ = x.shape

        def affine(x: jax.Array, name: str) -> jax.Array:
            y = x @ jnp.asarray(parameters[f"W_{name}"]).T
            return y + parameters[f"b_{name}"] if self.bias else y

        def in_heads(name: str) -> jax.Array:
            return affine(jnp.asarray(x), name).reshape(examples, steps, self.heads, -1).swapaxes(1, 2)

        q, k, v = map(in_heads, "qkv")  # (m, heads, t, key_units)
        there = None if mask is None else jnp.asarray(mask)[:, None, None, :]
        weights = _attention_weights(q, k, there, self.causal, None)  # (m, heads, t, t)
        together = (weights @ v).swapaxes(1, 2).reshape(examples, steps, -1)
        return affine(together, "o"), {"weights": weights}


def attention(
    heads: int,
    *,
    key_units: int | None = None,
    causal: bool = False,
    bias: bool = True,
    initializer: str = "xavier_uniform",
    initializer_options: Options | None = None,
) -> Layer:
    """Multi-head attention of a sequence over itself::

        q, k, v = x W_q^T + b_q, x W_k^T + b_k, x W_v^T + b_v      (m, t, heads key_units), a block for each head
        a = softmax(q k^T / sqrt(key_units)) v                     of each head, over the keys
        y = a W_o^T + b_o                                          (m, t, n)

    ``x: (m, t, n)``; ``W_q``, ``W_k``, ``W_v``: ``(heads key_units, n)``, ``W_o``: ``(n, heads key_units)``, and a bias
    for each, ``(heads key_units,)`` or ``(n,)``. ``key_units`` None: ``n / heads``. ``causal``: step ``i`` looks at
    steps ``j <= i``; no step looks at one that the mask says is not there. The softmax is among the values, as
    ``"weights": (m, heads, t, t)``. Raises ValueError for an argument out of range or unknown.
    """
    check_positive_integer("heads", heads)
    if key_units is not None:
        check_positive_integer("key_units", key_units)
    check_flags(causal=causal, bias=bias)
    pairs = initializer_pairs(initializer, initializer_options)
    units = None if key_units is None else int(key_units)
    return MultiHeadAttention(int(heads), units, bool(causal), bool(bias), initializer, pairs)


@dataclass(frozen=True)
class PositionalEncoding(Layer):
    """The layer that :func:`positional_encoding` makes."""

    base: float
    layout: str

    def output_shape(self, shape):
        if len(shape) != 2:
            raise self._refused(shape, "(t, n)")
        return tuple(shape)

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        steps, features = self.output_shape(x.shape[1:])
        x = jnp.asarray(x)
        return x + jnp.asarray(self._encoding(steps, features), x.dtype), {}

    def _encoding(self, steps: int, features: int) -> np.ndarray:
        """``P: (t, n)``, a constant of the shape: in double precision, before it is rounded."""
        sines, cosines = (features + 1) // 2, features // 2
        angles = np.arange(steps)[:, None] / self.base ** (2 * np.arange(sines) / features)
        if self.layout == "halves":
            return np.concatenate([np.sin(angles), np.cos(angles[:, :cosines])], axis=1)
        encoding = np.empty((steps, features))
        encoding[:, ::2], encoding[:, 1::2] = np.sin(angles), np.cos(angles[:, :cosines])
        return encoding


def positional_encoding(*, base: float = 10000.0, layout: str = "interleaved") -> Layer:
    """``x + P``, with sines and cosines of the position ``t = 0, 1, ...``: ``(m, t, n)`` to ``(m, t, n)``.

    ``P[t, 2i] = sin(t / base^(2i/n))``, ``P[t, 2i+1] = cos(t / base^(2i/n))`` (``layout="interleaved"``); ``"halves"``:
    the sines of all ``i`` first, then the cosines. Raises ValueError unless ``base`` is positive, and for an unknown
    ``layout``.
    """
    check_positive("base", base)
    check_choice("layout", layout, ("interleaved", "halves"))
    return PositionalEncoding(float(base), layout)


def _attention_weights(q: jax.Array, k: jax.Array, mask: Any, causal: bool, scale: float | None) -> jax.Array:
    """The softmax over the keys, ``(..., t_q, t_k)``; a row of zeros where no key may be looked at."""
    check_flags(causal=causal)
    if scale is not None:
        check_positive("scale", scale)
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else float(scale))
    if mask is None and not causal:
        return jax.nn.softmax(scores)
    allowed = jnp.asarray(True if mask is None else mask)
    if causal:
        allowed = allowed & jnp.tri(q.shape[-2], k.shape[-2], dtype=bool)
    allowed = jnp.broadcast_to(allowed, scores.shape)
    none = ~allowed.any(axis=-1, keepdims=True)
    # Rows without keys take all of them first: the softmax of nothing would be NaN on the way to its zeros.
    return jnp.where(none, 0, jax.nn.softmax(scores, where=allowed | none))
