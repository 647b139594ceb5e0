"""Convolution and pooling of sequences ``(m, t, c)`` and images ``(m, h, w, c)``, channels last: XLA's own windows.

``padding``: ``"valid"``, none; ``"same"``, the output's length is ``ceil(n / stride)``, the smaller half of the padding
before and the larger after (as TensorFlow and Flax have it); or so many elements on both sides, one number or one for
each axis.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ._common import check_flags, check_positive_integer, check_sizes
from ._layer import Array, Layer, Options, Pairs, Shape, initial_weights, initializer_pairs


@dataclass(frozen=True)
class Window:
    """Where windows lie on the axes between the first and the last."""

    size: Shape
    stride: Shape
    padding: str | Shape
    dilation: Shape

    @property
    def spans(self) -> Shape:
        """From the first to the last element of a window."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.size, self.dilation, strict=True))

    @property
    def keeps_sizes(self) -> bool:
        """Whether there are as many windows as elements, however many there are."""
        kept = self.padding == "same" or all(2 * p == k - 1 for p, k in zip(self._margins, self.spans, strict=True))
        return kept and set(self.stride) == {1}

    @property
    def pads(self) -> Any:
        """The padding as XLA takes it."""
        return self.padding.upper() if isinstance(self.padding, str) else [(p, p) for p in self.padding]

    def output_sizes(self, sizes: Shape) -> Shape:
        """Numbers of windows, below 1 where none fits."""
        if self.padding == "same":
            return tuple(-(-n // s) for n, s in zip(sizes, self.stride, strict=True))
        axes = zip(sizes, self._margins, self.spans, self.stride, strict=True)
        return tuple((n + 2 * p - span) // s + 1 for n, p, span, s in axes)

    @property
    def _margins(self) -> Shape:
        return (0,) * len(self.size) if isinstance(self.padding, str) else self.padding


@dataclass(frozen=True)
class _Windowed(Layer):
    window: Window

    @property
    def passes_mask(self) -> bool:
        return self.window.keeps_sizes

    def output_shape(self, shape):
        if len(shape) != len(self.window.size) + 1:
            raise self._refused(shape, "(t, n)" if len(self.window.size) == 1 else "(h, w, n)")
        sizes = self.window.output_sizes(tuple(shape[:-1]))
        if min(sizes) < 1:
            raise self._refused(shape, f"as large as a window, {self.window.spans}, with the padding")
        return (*sizes, shape[-1])


@dataclass(frozen=True)
class Convolution(_Windowed):
    """The layer that :func:`convolution` makes."""

    channels: int
    groups: int
    bias: bool
    initializer: str
    initializer_options: Pairs

    def output_shape(self, shape):
        *sizes, n = super().output_shape(shape)
        if n % self.groups:
            raise self._refused(shape, f"a multiple of groups={self.groups} channels")
        return (*sizes, self.channels)

    def initialize(self, key, shape, *, dtype=None):
        self.output_shape(shape)
        weights_shape = (self.channels, *self.window.size, shape[-1] // self.groups)
        weights = initial_weights(self.initializer, self.initializer_options, key, weights_shape, dtype)
        return {"W": weights} | ({"b": jnp.zeros(self.channels, dtype)} if self.bias else {})

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        self.output_shape(x.shape[1:])
        axes = "HW"[: len(self.window.size)]
        y = lax.conv_general_dilated(
            jnp.asarray(x),
            jnp.asarray(parameters["W"]),
            self.window.stride,
            self.window.pads,
            rhs_dilation=self.window.dilation,
            dimension_numbers=(f"N{axes}C", f"O{axes}I", f"N{axes}C"),
            feature_group_count=self.groups,
        )
        return y + parameters["b"] if self.bias else y, {}


def convolution(
    channels: int,
    kernel: tuple[int, ...],
    *,
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = "valid",
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    bias: bool = True,
    initializer: str = "he_normal",
    initializer_options: Options | None = None,
) -> Layer:
    """``y[i, o] = sum_{a, c} x[i stride + a dilation - before, c] W[o, a, c] + b[o]``, over one axis or two.

    ``x: (m, t, c)`` with ``kernel = (k,)``, ``(m, h, w, c)`` with ``(k_h, k_w)``; ``W: (channels, *kernel, c /
    groups)``, ``b: (channels,)``. The outputs of a group see the same group of inputs alone. It is the
    cross-correlation of the field; Flax's ``Conv`` is the same with ``W`` as ``(*kernel, c / groups, channels)``, but
    pads ``"SAME"`` by default. Raises ValueError for sizes that are no positive integers, for a kernel that is no
    tuple, and unless ``groups`` divides ``channels``.
    """
    check_positive_integer("channels", channels)
    check_positive_integer("groups", groups)
    check_flags(bias=bias)
    if channels % groups:
        raise ValueError(f"channels={channels!r} is not allowed with groups={groups!r}: must be a multiple of them")
    window = _window("kernel", kernel, stride, padding, dilation)
    pairs = initializer_pairs(initializer, initializer_options)
    return Convolution(window, int(channels), int(groups), bool(bias), initializer, pairs)


@dataclass(frozen=True)
class _Pool(_Windowed):
    def _reduced(self, x: jax.Array, start: float, by: Any) -> jax.Array:
        """Each window of ``x: (m, *sizes, n)`` as one number."""
        self.output_shape(x.shape[1:])
        size, stride, pads = (1, *self.window.size, 1), (1, *self.window.stride, 1), self.window.pads
        pads = pads if isinstance(pads, str) else [(0, 0), *pads, (0, 0)]
        return lax.reduce_window(x, x.dtype.type(start), by, size, stride, pads)


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The layer that :func:`max_pool` makes."""

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return self._reduced(jnp.asarray(x), -math.inf, lax.max), {}


def max_pool(
    window: tuple[int, ...],
    *,
    stride: int | tuple[int, ...] | None = None,
    padding: str | int | tuple[int, ...] = "valid",
) -> Layer:
    """The largest element of every window, of each channel; the padding is never chosen.

    ``x: (m, t, c)`` with ``window = (k,)``, ``(m, h, w, c)`` with ``(k_h, k_w)``; ``stride`` None is the window's size.
    The gradient goes to the largest element, of equal ones to the first, row by row: so XLA has it. Raises ValueError
    for a window that is no tuple of positive integers, and for explicit padding of more than half of it.
    """
    return MaxPool(_pool_window(window, stride, padding))


@dataclass(frozen=True)
class AveragePool(_Pool):
    """The layer that :func:`average_pool` makes."""

    count_padding: bool

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        x = jnp.asarray(x)
        count: Any = math.prod(self.window.size)
        if not self.count_padding:
            count = self._reduced(jnp.ones((1, *x.shape[1:-1], 1), x.dtype), 0.0, lax.add)
        return self._reduced(x, 0.0, lax.add) / count, {}


def average_pool(
    window: tuple[int, ...],
    *,
    stride: int | tuple[int, ...] | None = None,
    padding: str | int | tuple[int, ...] = "valid",
    count_padding: bool = False,
) -> Layer:
    """The mean of every window, of each channel; ``count_padding``: whether the padding's zeros count in the divisor.

    Shapes, ``stride`` and ``padding`` as in :func:`max_pool`. Flax's ``avg_pool`` counts them by default
    (``count_include_pad``). Raises ValueError as :func:`max_pool`.
    """
    check_flags(count_padding=count_padding)
    return AveragePool(_pool_window(window, stride, padding), bool(count_padding))


@dataclass(frozen=True)
class _GlobalPool(Layer):
    @property
    def passes_mask(self) -> bool:
        return False

    def output_shape(self, shape):
        if len(shape) not in (2, 3):
            raise self._refused(shape, "(t, n) or (h, w, n)")
        return (shape[-1],)

    def _places(self, x: Array, mask: Any) -> tuple[jax.Array, jax.Array]:
        """``x`` as ``(m, places, c)``, and which places of a sequence are there, ``(m or 1, places, 1)``."""
        self.output_shape(x.shape[1:])
        places = jnp.asarray(x).reshape(len(x), -1, x.shape[-1])
        if mask is None or x.ndim != 3:
            return places, jnp.ones((1, places.shape[1], 1), bool)
        return places, jnp.asarray(mask)[:, :, None]


@dataclass(frozen=True)
class GlobalMaxPool(_GlobalPool):
    """The layer that :func:`global_max_pool` makes."""

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        places, there = self._places(x, mask)
        # Not max: of equal elements the first has the whole gradient, as in a window; max would divide it.
        first = jnp.where(there, places, -jnp.inf).argmax(axis=1, keepdims=True)
        largest = jnp.take_along_axis(places, first, axis=1)[:, 0]
        return jnp.where(there.any(axis=1), largest, 0), {}


def global_max_pool() -> Layer:
    """The largest element of each channel: ``(m, t, c)`` or ``(m, h, w, c)`` to ``(m, c)``.

    Of a sequence with a mask, of the steps that are there; 0 if none is. The gradient as in :func:`max_pool`.
    """
    return GlobalMaxPool()


@dataclass(frozen=True)
class GlobalAveragePool(_GlobalPool):
    """The layer that :func:`global_average_pool` makes."""

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        places, there = self._places(x, mask)
        count = jnp.maximum(there.sum(axis=1), 1).astype(places.dtype)
        return jnp.where(there, places, 0).sum(axis=1) / count, {}


def global_average_pool() -> Layer:
    """The mean of each channel: ``(m, t, c)`` or ``(m, h, w, c)`` to ``(m, c)``.

    Of a sequence with a mask, the sum over the steps that are there, divided by their number, which counts as 1 if none
    is.
    """
    return GlobalAveragePool()


def _pool_window(size: Any, stride: Any, padding: Any) -> Window:
    window = _window("window", size, size if stride is None else stride, padding, 1)
    if not isinstance(window.padding, str) and any(2 * p > k for p, k in zip(window.padding, window.size, strict=True)):
        raise ValueError(f"padding={padding!r} is not allowed: must be at most half of the window {size!r}")
    return window


def _window(name: str, size: Any, stride: Any, padding: Any, dilation: Any) -> Window:
    size = check_sizes(name, size, (1, 2), "a tuple of one or two integers >= 1, as (3,) or (3, 3)")
    stride, dilation = _each("stride", stride, len(size)), _each("dilation", dilation, len(size))
    if isinstance(padding, str) and padding not in ("valid", "same"):
        raise ValueError(f"padding={padding!r} is not allowed: must be 'valid', 'same' or integers >= 0")
    return Window(
        size, stride, padding if isinstance(padding, str) else _each("padding", padding, len(size), 0), dilation
    )


def _each(name: str, value: Any, axes: int, least: int = 1) -> Shape:
    """One number for each axis."""
    alike = value if isinstance(value, tuple) else (value,) * axes
    return check_sizes(name, alike, (axes,), f"an integer >= {least}, or a tuple of {axes}", least=least)
