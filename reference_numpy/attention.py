"""Attention: what each step of a sequence takes from the others, and what tells it where it stands.

Source: Vaswani et al. 2017.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from . import activations, initializers
from ._common import check_choice, check_flags, check_positive, check_positive_integer
from ._layer import Array, Layer, Options, Shape, Tensors, affine, affine_backward, check_initializer
from .arithmetic import product


def scaled_dot_product(
    q: Array, k: Array, v: Array, *, mask: Array | None = None, causal: bool = False, scale: float | None = None
) -> Array:
    """``softmax(scale q k^T) v``, the softmax over those keys that may be looked at.

    ``q``: ``(..., t_q, d)``; ``k``: ``(..., t_k, d)``; ``v``: ``(..., t_k, e)``; the result ``(..., t_q, e)``.
    ``mask``: bool, broadcast to ``(..., t_q, t_k)``, True where looked at. ``causal``: query ``i`` sees the keys ``j <=
    i``. ``scale`` None: ``1 / sqrt(d)``. A query that may look at nothing gets zeros. Raises ValueError unless
    ``scale`` is positive and finite. Source: Vaswani et al. 2017, eq. 1.

    >>> k, v = np.array([[0.0], [0.0], [9.0]]), np.array([[1.0], [3.0], [7.0]])
    >>> scaled_dot_product(np.array([[1.0]]), k, v, mask=np.array([True, True, False]))
    array([[2.]])
    """
    return product(_weights(q, k, _seen(q, k, mask, causal), _scale(q, scale)), v)


def scaled_dot_product_backward(
    gradient: Array,
    q: Array,
    k: Array,
    v: Array,
    *,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients ``(dq, dk, dv)`` of :func:`scaled_dot_product`, whose ``q``, ``k``, ``v`` have the same first axes.

    With the weights ``p = softmax(s)``, ``s = scale q k^T``::

        dv = p^T gradient      dp = gradient v^T      ds = p (dp - sum over keys of dp p)
        dq = scale ds k        dk = scale ds^T q

    >>> one = np.ones((1, 1))
    >>> scaled_dot_product_backward(one, one, one, one)
    (array([[0.]]), array([[0.]]), array([[1.]]))
    """
    weights = _weights(q, k, _seen(q, k, mask, causal), _scale(q, scale))
    return _backward(gradient, q, k, v, weights, _scale(q, scale))


@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """See :func:`attention`."""

    heads: int
    key_units: int | None
    causal: bool
    bias: bool
    initializer: str
    initializer_options: Options

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self._refuse(shape, "(t, n)")
        if self.key_units is None and shape[-1] % self.heads:
            self._refuse(shape, f"a multiple of heads={self.heads} features, unless key_units is given")
        return shape

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        draw, n = initializers.INITIALIZERS[self.initializer], shape[-1]
        inner = self.heads * (self.key_units or n // self.heads)
        shapes = {"q": (inner, n), "k": (inner, n), "v": (inner, n), "o": (n, inner)}
        parameters: Tensors = {}
        for letter, size in shapes.items():
            parameters[f"W_{letter}"] = draw(generator, size, dtype=dtype, **self.initializer_options)
            if self.bias:
                parameters[f"b_{letter}"] = np.zeros(size[0], dtype)
        return parameters

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        q, k, v = (self._heads(affine(x, *self._of(parameters, letter))) for letter in "qkv")
        weights = _weights(q, k, _seen(q, k, None if mask is None else mask[:, None, None, :], self.causal), _scale(q))
        joined = _joined(product(weights, v))
        values = {"weights": weights, "_x": x, "_q": q, "_k": k, "_v": v, "_joined": joined}
        return affine(joined, *self._of(parameters, "o")), values

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        q, k, v = values["_q"], values["_k"], values["_v"]
        d_joined, *found = affine_backward(dy, values["_joined"], parameters["W_o"])
        gradients = dict(zip(("W_o", "b_o"), found, strict=True))
        dx = np.zeros_like(values["_x"])
        parts = _backward(self._heads(d_joined), q, k, v, values["weights"], _scale(q))
        for letter, part in zip("qkv", parts, strict=True):
            d_part, *found = affine_backward(_joined(part), values["_x"], parameters[f"W_{letter}"])
            gradients |= dict(zip((f"W_{letter}", f"b_{letter}"), found, strict=True))
            dx += d_part
        return dx, {name: gradients[name] for name in parameters}

    def _of(self, parameters: Tensors, letter: str) -> tuple[Array, Array | None]:
        return parameters[f"W_{letter}"], parameters.get(f"b_{letter}")

    def _heads(self, x: Array) -> Array:
        """``(m, t, heads * key_units)`` as ``(m, heads, t, key_units)``."""
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)


def attention(
    heads: int,
    *,
    key_units: int | None = None,
    causal: bool = False,
    bias: bool = True,
    initializer: str = "xavier_uniform",
    initializer_options: Options | None = None,
) -> Layer:
    """Multi-head self-attention: every step looks at all steps, in ``heads`` ways side by side::

        q, k, v = x W_q^T + b_q, x W_k^T + b_k, x W_v^T + b_v
        y = [scaled_dot_product(q_1, k_1, v_1), ..., (q_heads, k_heads, v_heads)] W_o^T + b_o

    ``x, y``: ``(m, t, n)``; ``W_q, W_k, W_v``: ``(heads * key_units, n)``; ``W_o``: ``(n, heads * key_units)``; ``b_q,
    b_k, b_v``: ``(heads * key_units,)``; ``b_o``: ``(n,)``. Head ``h`` has the ``h``-th block of ``key_units`` rows.
    ``key_units`` None: ``n / heads``. ``causal``: step ``i`` sees steps ``j <= i``. Steps that the mask says are not
    there are not looked at. Raises ValueError for an argument out of range or unknown. Source: Vaswani et al. 2017,
    section 3.2.2.

    >>> layer, x = attention(1, bias=False), np.array([[[1.0], [5.0]]])
    >>> one, zero = np.ones((1, 1)), np.zeros((1, 1))
    >>> layer.forward({"W_q": zero, "W_k": zero, "W_v": one, "W_o": one}, x)[0]
    array([[[3.],
            [3.]]])
    """
    check_positive_integer("heads", heads)
    if key_units is not None:
        check_positive_integer("key_units", key_units)
    check_flags(causal=causal, bias=bias)
    options = check_initializer("initializer", initializer, initializer_options)
    return MultiHeadAttention(heads, key_units, causal, bias, initializer, options)


@dataclass(frozen=True)
class PositionalEncoding(Layer):
    """See :func:`positional_encoding`."""

    base: float
    layout: str

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self._refuse(shape, "(t, n)")
        return shape

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return x + self._encoding(*x.shape[1:]).astype(x.dtype), {}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        return dy, {}

    def _encoding(self, t: int, n: int) -> Array:
        i = np.arange((n + 1) // 2)
        angles = np.arange(t)[:, None] / self.base ** (2 * i / n)  # (t, ceil(n / 2))
        if self.layout == "interleaved":
            return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(t, -1)[:, :n]
        return np.concatenate([np.sin(angles), np.cos(angles[:, : n // 2])], axis=1)


def positional_encoding(*, base: float = 10000.0, layout: str = "interleaved") -> Layer:
    """Adds to every step, counted from 0, sines and cosines that tell its place, ``P: (t, n)``::

        P[t, 2i] = sin(t / base^(2i/n))      P[t, 2i + 1] = cos(t / base^(2i/n))

    ``layout="halves"``: first the sines, ``ceil(n/2)`` columns, then the cosines. ``x``: ``(m, t, n)``. Raises
    ValueError unless ``base`` is positive and finite, and for an unknown ``layout``. Source: Vaswani et al. 2017,
    section 3.5.

    >>> positional_encoding(base=1.0).forward({}, np.zeros((1, 2, 2)))[0].round(2)
    array([[[0.  , 1.  ],
            [0.84, 0.54]]])
    """
    check_positive("base", base)
    check_choice("layout", layout, ("interleaved", "halves"))
    return PositionalEncoding(float(base), layout)


def _scale(q: Array, scale: float | None = None) -> float:
    if scale is None:
        return 1 / math.sqrt(q.shape[-1])
    check_positive("scale", scale)
    return scale


def _seen(q: Array, k: Array, mask: Array | None, causal: bool) -> Array | None:
    """Which keys each query may look at, to be broadcast to ``(..., t_q, t_k)``; None: all."""
    check_flags(causal=causal)
    if not causal:
        return mask
    past = np.tri(q.shape[-2], k.shape[-2], dtype=bool)
    return past if mask is None else mask & past


def _weights(q: Array, k: Array, seen: Array | None, scale: float) -> Array:
    """``softmax(scale q k^T)`` over what is seen, ``(..., t_q, t_k)``; zeros where nothing is."""
    scores = product(q, k.swapaxes(-1, -2)) * scale
    if seen is None:
        return activations.softmax(scores)
    unseen = np.where(seen.any(axis=-1, keepdims=True), -np.inf, 0.0).astype(scores.dtype)
    return activations.softmax(np.where(seen, scores, unseen)) * seen


def _backward(
    gradient: Array, q: Array, k: Array, v: Array, weights: Array, scale: float
) -> tuple[Array, Array, Array]:
    """See :func:`scaled_dot_product_backward`."""
    d_weights = product(gradient, v.swapaxes(-1, -2))
    d_scores = activations.softmax_backward(d_weights, weights, weights) * scale
    d_values = product(weights.swapaxes(-1, -2), gradient)
    return product(d_scores, k), product(d_scores.swapaxes(-1, -2), q), d_values


def _joined(heads: Array) -> Array:
    """``(m, heads, t, key_units)`` as ``(m, t, heads * key_units)``."""
    x = heads.swapaxes(1, 2)
    return x.reshape(*x.shape[:2], -1)
