"""Attention: what a step of a sequence takes from the others, and how it knows where they stand."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import check_choice, check_flags, check_positive, check_positive_integer
from ._layer import Layer, Options, Shape, check_initializer, initial_weights


def scaled_dot_product(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """``softmax(scale q k^T) v: (..., t_q, e)``, the softmax over the keys; ``scale`` None: ``1/sqrt(d)``.

    ``q: (..., t_q, d)``, ``k: (..., t_k, d)``, ``v: (..., t_k, e)``; ``mask``: bool, broadcast to ``(..., t_q, t_k)``,
    True where a key may be looked at; ``causal``: query ``i`` looks at keys ``j <= i`` only. A query that may look at
    nothing gets zeros. ``F.scaled_dot_product_attention`` is the same function (``attn_mask``, ``is_causal``). Raises
    ValueError unless ``scale`` is positive and finite.
    """
    check_flags(causal=causal)
    if scale is not None:
        check_positive("scale", scale)
    return _weights(q, k, mask, causal, scale) @ v


class MultiHeadAttention(Layer):
    """See :func:`attention`."""

    heads: int
    key_units: int | None
    causal: bool
    bias: bool
    initializer: str
    initializer_options: Options
    parameter_names = tuple(f"{kind}_{of}" for of in "qkvo" for kind in "Wb")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.bias:
            self.b_q = self.b_k = self.b_v = self.b_o = None

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self.refuse(shape, "(t, n)")
        if self.key_units is None and shape[-1] % self.heads:
            self.refuse(shape, f"a multiple of heads={self.heads} features, unless key_units is given")
        return tuple(shape)

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        n = shape[-1]
        inner = self.heads * (self.key_units or n // self.heads)
        values = {}
        for of, weights in {"q": (inner, n), "k": (inner, n), "v": (inner, n), "o": (n, inner)}.items():
            values[f"W_{of}"] = initial_weights(self.initializer, self.initializer_options, generator, weights, dtype)
            values[f"b_{of}"] = torch.zeros(weights[0], dtype=dtype)
        return values

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.output_shape(x.shape[1:])
        self.built_for(x)
        q, k, v = (self._linear(x, of).unflatten(-1, (self.heads, -1)).transpose(1, 2) for of in "qkv")
        keys = None if mask is None else mask[:, None, None, :]
        weights = _weights(q, k, keys, self.causal, None)  # (m, heads, t, t)
        self.note(weights=weights)
        return self._linear((weights @ v).transpose(1, 2).flatten(-2), "o")  # (m, t, n)

    def _linear(self, x: Tensor, of: str) -> Tensor:
        return F.linear(x, getattr(self, f"W_{of}"), getattr(self, f"b_{of}"))


def attention(
    heads: int,
    *,
    key_units: int | None = None,
    causal: bool = False,
    bias: bool = True,
    initializer: str = "xavier_uniform",
    initializer_options: Options | None = None,
) -> Layer:
    """Multi-head self-attention of ``x: (m, t, n)``: ``y = concat_h(softmax(q_h k_h^T / sqrt(d)) v_h) W_o^T + b_o``.

    ``q = x W_q^T + b_q``, ``k`` and ``v`` likewise; head ``h`` has the h-th block of ``key_units``, ``d`` above, of
    each (None: ``n // heads``, which must divide ``n``). ``W_q, W_k, W_v: (heads d, n)``, ``W_o: (n, heads d)``; biases
    ``b_q, b_k, b_v: (heads d,)``, ``b_o: (n,)``. Steps where ``mask: (m, t)`` is False are not looked at; with
    ``causal`` none looks at a later one. ``nn.MultiheadAttention`` packs the first three weights into one and takes
    the mask's opposite, ``key_padding_mask``. Raises ValueError for arguments that do not fit.
    """
    check_positive_integer("heads", heads)
    if key_units is not None:
        check_positive_integer("key_units", key_units)
    check_flags(causal=causal, bias=bias)
    return MultiHeadAttention(
        heads=heads, key_units=key_units, causal=causal, bias=bias, initializer=initializer,
        initializer_options=check_initializer("initializer", initializer, initializer_options),
    )  # fmt: skip


class PositionalEncoding(Layer):
    """See :func:`positional_encoding`."""

    base: float
    layout: str

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self.refuse(shape, "(t, n)")
        return tuple(shape)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        steps, n = self.output_shape(x.shape[1:])
        return x + self._positions(steps, n).to(x)

    def _positions(self, steps: int, n: int) -> Tensor:
        """``P: (t, n)``, in double precision whatever ``x`` is."""
        exponents = torch.arange(0, n, 2, dtype=torch.float64) / n
        angles = torch.arange(steps, dtype=torch.float64)[:, None] / self.base**exponents  # (t, ceil(n/2))
        both = torch.sin(angles), torch.cos(angles)
        if self.layout == "halves":
            return torch.cat(both, dim=1)[:, :n]
        return torch.stack(both, dim=-1).flatten(1)[:, :n]


def positional_encoding(*, base: float = 10000.0, layout: str = "interleaved") -> Layer:
    """``x + P`` of ``x: (m, t, n)``: sines and cosines of the step's number, counted from 0, in ``n`` columns::

        P[t, 2i] = sin(t / base^(2i/n)), P[t, 2i + 1] = cos(same)    layout "interleaved"
        all sines, then all cosines, i = 0, 1, ...                   layout "halves"

    With an odd ``n`` there is one sine more than cosines. PyTorch has no such layer. Raises ValueError unless ``base``
    is finite and positive, or for another layout.
    """
    check_positive("base", base)
    check_choice("layout", layout, ("interleaved", "halves"))
    return PositionalEncoding(base=float(base), layout=layout)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, scale: float | None) -> Tensor:
    """``softmax(scale q k^T): (..., t_q, t_k)`` over what may be looked at, 0 elsewhere."""
    scores = (q @ k.transpose(-1, -2)) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        below = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        mask = below if mask is None else below & mask
    if mask is None:
        return torch.softmax(scores, dim=-1)
    # The least number, not -inf: a row of nothing else would be NaN, and its gradient too.
    weights = torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=-1)
    return weights.masked_fill(~mask, 0.0)
