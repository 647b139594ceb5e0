"""Attention: what each step of a sequence takes from the others, and what tells it where it stands."""

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from . import initializers
from ._common import check_choice, check_flags, check_positive, check_positive_integer
from ._layer import Layer, Mask, Options, Shape, Tensors, check_initializer, linear


def scaled_dot_product(
    q: tf.Tensor,
    k: tf.Tensor,
    v: tf.Tensor,
    *,
    mask: Mask = None,
    causal: bool = False,
    scale: float | None = None,
) -> tf.Tensor:
    """``softmax(scale q k^T) v``, the softmax over those keys that may be looked at.

    ``q``: ``(..., t_q, d)``; ``k``: ``(..., t_k, d)``; ``v``: ``(..., t_k, e)``; the result ``(..., t_q, e)``.
    ``mask``: bool, broadcast to ``(..., t_q, t_k)``, True where looked at. ``causal``: query ``i`` sees the keys ``j <=
    i``. ``scale`` None: ``1 / sqrt(d)``. A query that may look at nothing gets zeros, in value and gradient. Raises
    ValueError unless ``scale`` is positive and finite.
    """
    q, k, v = (tf.convert_to_tensor(tensor) for tensor in (q, k, v))
    return tf.matmul(_weights(q, k, mask, causal, scale), v)


@dataclass(eq=False)
class MultiHeadAttention(Layer):
    """See :func:`attention`."""

    heads: int
    key_units: int | None
    causal: bool
    bias: bool
    initializer: str
    initializer_options: dict[str, Any]

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self._refuse(shape, "(t, n)")
        if self.key_units is None and shape[-1] % self.heads:
            self._refuse(shape, f"a multiple of heads={self.heads} features, unless key_units is given")
        return shape

    def forward(self, x, *, drawn=None, training=False, mask=None):
        q, k, v = (self._heads(self._linear(x, letter)) for letter in "qkv")
        weights = _weights(q, k, None if mask is None else mask[:, None, None, :], self.causal)
        seen = tf.transpose(tf.matmul(weights, v), (0, 2, 1, 3))  # (m, t, heads, key_units)
        joined = tf.reshape(seen, (*_lengths(x), self.parameters["W_o"].shape[1]))
        return self._linear(joined, "o"), {"weights": weights}

    def _linear(self, x: tf.Tensor, letter: str) -> tf.Tensor:
        return linear(x, self.parameters[f"W_{letter}"], self.parameters.get(f"b_{letter}"))

    def _heads(self, x: tf.Tensor) -> tf.Tensor:
        """``(m, t, heads * key_units)`` as ``(m, heads, t, key_units)``."""
        return tf.transpose(tf.reshape(x, (*_lengths(x), self.heads, x.shape[-1] // self.heads)), (0, 2, 1, 3))

    def _initial_parameters(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> Tensors:
        draw, n = initializers.INITIALIZERS[self.initializer], shape[-1]
        inner = self.heads * (self.key_units or n // self.heads)
        parameters: Tensors = {}
        for letter, size in {"q": (inner, n), "k": (inner, n), "v": (inner, n), "o": (n, inner)}.items():
            parameters[f"W_{letter}"] = draw(generator, size, dtype=dtype, **self.initializer_options)
            if self.bias:
                parameters[f"b_{letter}"] = tf.zeros(size[0], dtype)
        return parameters


def attention(
    heads: int,
    *,
    key_units: int | None = None,
    causal: bool = False,
    bias: bool = True,
    initializer: str = "xavier_uniform",
    initializer_options: Options = None,
) -> Layer:
    """Multi-head self-attention: every step looks at all steps, in ``heads`` ways side by side::

        q, k, v = x W_q^T + b_q, x W_k^T + b_k, x W_v^T + b_v
        y = [scaled_dot_product(q_1, k_1, v_1), ..., (q_heads, k_heads, v_heads)] W_o^T + b_o

    ``x, y``: ``(m, t, n)``; ``W_q, W_k, W_v``: ``(heads * key_units, n)``; ``W_o``: ``(n, heads * key_units)``; ``b_q,
    b_k, b_v``: ``(heads * key_units,)``; ``b_o``: ``(n,)``. Head ``h`` has the ``h``-th block of ``key_units`` rows
    (Keras's kernels are ``(n, heads, key_units)``). ``key_units`` None: ``n / heads``. ``causal``: step ``i`` sees
    steps ``j <= i``. Steps that the mask says are not there are not looked at. Raises ValueError for an argument out of
    range or unknown.
    """
    check_positive_integer("heads", heads)
    if key_units is not None:
        check_positive_integer("key_units", key_units)
    check_flags(causal=causal, bias=bias)
    options = check_initializer("initializer", initializer, initializer_options)
    return MultiHeadAttention(heads, key_units, causal, bias, initializer, options)


@dataclass(eq=False)
class PositionalEncoding(Layer):
    """See :func:`positional_encoding`."""

    base: float
    layout: str

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self._refuse(shape, "(t, n)")
        return shape

    def forward(self, x, *, drawn=None, training=False, mask=None):
        return x + tf.cast(self._encoding(tf.shape(x)[1], x.shape[-1]), x.dtype), {}

    def _encoding(self, t: tf.Tensor, n: int) -> tf.Tensor:
        """``P: (t, n)`` in float64."""
        places, i = tf.range(tf.cast(t, tf.float64), dtype=tf.float64), range((n + 1) // 2)
        angles = places[:, None] / tf.constant([self.base ** (2 * j / n) for j in i], tf.float64)  # (t, ceil(n / 2))
        sines, cosines = tf.sin(angles), tf.cos(angles)
        if self.layout == "interleaved":
            return tf.reshape(tf.stack([sines, cosines], axis=-1), (t, 2 * len(i)))[:, :n]
        return tf.concat([sines, cosines[:, : n // 2]], axis=1)


def positional_encoding(*, base: float = 10000.0, layout: str = "interleaved") -> Layer:
    """Adds to every step, counted from 0, sines and cosines that tell its place, ``P: (t, n)``::

        P[t, 2i] = sin(t / base^(2i/n))      P[t, 2i + 1] = cos(t / base^(2i/n))

    ``layout="halves"``: first the sines, ``ceil(n/2)`` columns, then the cosines. ``x``: ``(m, t, n)``. Raises
    ValueError unless ``base`` is positive and finite, and for an unknown ``layout``.
    """
    check_positive("base", base)
    check_choice("layout", layout, ("interleaved", "halves"))
    return PositionalEncoding(float(base), layout)


def _weights(q: tf.Tensor, k: tf.Tensor, mask: Mask, causal: bool, scale: float | None = None) -> tf.Tensor:
    """``softmax(scale q k^T)`` over what is seen, ``(..., t_q, t_k)``; zeros where nothing is."""
    check_flags(causal=causal)
    if scale is not None:
        check_positive("scale", scale)
    scores = tf.matmul(q, k, transpose_b=True) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    seen = mask
    if causal:
        past = tf.range(tf.shape(k)[-2]) <= tf.range(tf.shape(q)[-2])[:, None]
        seen = past if mask is None else tf.logical_and(mask, past)
    if seen is None:
        return tf.nn.softmax(scores)
    # The least number, not minus infinity: a row of these has a softmax, which the second choice takes away again.
    weights = tf.nn.softmax(tf.where(seen, scores, tf.constant(scores.dtype.min, scores.dtype)))
    return tf.where(seen, weights, tf.zeros_like(weights))


def _lengths(x: tf.Tensor) -> tuple[Any, Any]:
    """``m`` and ``t``."""
    return tf.shape(x)[0], tf.shape(x)[1]
