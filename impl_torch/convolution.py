"""Convolution and pooling of sequences ``(m, t, c)`` and images ``(m, h, w, c)``.

The channels come last, as everywhere in the suite; PyTorch's own functions, which do the work, have them second. They
are handed a view: that of an image is what PyTorch calls ``channels_last`` in memory.
"""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import check_flags, check_positive_integer, check_sizes
from ._layer import Layer, Options, Shape, check_initializer, initial_weights

Padding = str | tuple[int, ...]  # "valid", "same", or so many zeros on both sides of each axis


class _Windowed(Layer):
    """A layer with one output for each place of a window that moves over the axes of a sequence or an image."""

    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...] | None = None

    @property
    def span(self) -> tuple[int, ...]:
        """How far the window reaches along each axis, gaps included."""
        dilation = self.dilation or (1,) * len(self.window)
        return tuple((k - 1) * d + 1 for k, d in zip(self.window, dilation, strict=True))

    @property
    def passes_mask(self) -> bool:
        sizes = self.span  # any will do
        padded = tuple(n + before + after for n, (before, after) in zip(sizes, self.paddings(sizes), strict=True))
        return set(self.stride) == {1} and padded == tuple(2 * span - 1 for span in self.span)  # as many as before

    def paddings(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """What stands before and after each axis of these sizes."""
        if self.padding == "valid":
            return [(0, 0)] * len(sizes)
        if self.padding != "same":
            return [(int(p), int(p)) for p in self.padding]
        totals = [
            max((math.ceil(n / stride) - 1) * stride + span - n, 0)
            for n, stride, span in zip(sizes, self.stride, self.span, strict=True)
        ]
        return [(total // 2, total - total // 2) for total in totals]

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.window) + 1:
            self.refuse(shape, ("(t, n)", "(h, w, n)")[len(self.window) - 1])
        sizes = [n + sum(padding) for n, padding in zip(shape, self.paddings(shape[:-1]), strict=False)]
        if any(n < span for n, span in zip(sizes, self.span, strict=True)):
            self.refuse(shape, f"as large as a window, {self.span}, with the padding")
        return (*((n - s) // d + 1 for n, s, d in zip(sizes, self.span, self.stride, strict=True)), shape[-1])

    def padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """``x`` with its channels second and its padding around."""
        self.output_shape(x.shape[1:])
        around = [n for pair in reversed(self.paddings(x.shape[1:-1])) for n in pair]  # F.pad goes from the last axis
        x = x.movedim(-1, 1)
        return F.pad(x, around, value=value) if any(around) else x


class Convolution(_Windowed):
    """See :func:`convolution`. ``W: (channels, *kernel, n_in // groups)``, ``b: (channels,)``."""

    channels: int
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    initializer: str
    initializer_options: Options
    parameter_names = ("W", "b")
    W: Tensor
    b: Tensor | None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.bias:
            self.b = None

    def output_shape(self, shape: Shape) -> Shape:
        output_shape = (*super().output_shape(shape)[:-1], self.channels)
        if shape[-1] % self.groups:
            self.refuse(shape, f"a multiple of groups={self.groups} channels")
        return output_shape

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        weights = (self.channels, *self.window, shape[-1] // self.groups)
        drawn = initial_weights(self.initializer, self.initializer_options, generator, weights, dtype)
        return {"W": drawn, "b": torch.zeros(self.channels, dtype=dtype)}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.built_for(x)
        convolve = F.conv1d if len(self.window) == 1 else F.conv2d
        y = convolve(
            self.padded(x), self.W.movedim(-1, 1), self.b, stride=self.stride,
            dilation=self.dilation, groups=self.groups,
        )  # fmt: skip
        return y.movedim(1, -1)  # (m, *places, channels)


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
    """``y[i, o] = sum_{a, c} x[i stride + a dilation - before, c] W[o, a, c] + b[o]``, ``i`` and ``a`` of each axis.

    ``kernel``: the size of the window, ``(k,)`` for sequences ``(m, t, n_in)`` or ``(k, k)`` for images ``(m, h, w,
    n_in)``; ``W: (channels, *kernel, n_in // groups)``, ``b: (channels,)``. ``stride`` and ``dilation``: one number or
    one for each axis. ``padding`` with zeros: ``"valid"``, none; ``"same"``, so many that there are ``ceil(n /
    stride)`` outputs, the smaller half before; or so many on both sides, for all axes or for each. Each of ``groups``
    blocks of outputs sees one block of inputs.

    ``nn.Conv1d`` and ``nn.Conv2d`` have the weights ``(channels, n_in // groups, *kernel)``, refuse ``"same"`` with a
    stride, and start from ``U(-1/sqrt(fan_in), 1/sqrt(fan_in))``. Raises ValueError for arguments that do not fit.
    """
    check_positive_integer("channels", channels)
    check_positive_integer("groups", groups)
    if channels % groups:
        raise ValueError(f"channels={channels!r} is not allowed with groups={groups!r}: must be a multiple of them")
    check_flags(bias=bias)
    window = _window("kernel", kernel, stride, padding)
    return Convolution(
        **window, dilation=_each("dilation", dilation, len(kernel)), channels=channels, groups=groups, bias=bias,
        initializer=initializer, initializer_options=check_initializer("initializer", initializer, initializer_options),
    )  # fmt: skip


class MaxPool(_Windowed):
    """See :func:`max_pool`."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        pool = F.max_pool1d if len(self.window) == 1 else F.max_pool2d
        return pool(self.padded(x, -math.inf), self.window, self.stride).movedim(1, -1)


def max_pool(
    window: tuple[int, ...],
    *,
    stride: int | tuple[int, ...] | None = None,
    padding: str | int | tuple[int, ...] = "valid",
) -> Layer:
    """The largest value of each channel within a window, ``(k,)`` or ``(k, k)``; ``stride`` None: the window's size.

    ``padding`` as in :func:`convolution`, with values that are never the largest, and explicitly at most half of the
    window. The gradient goes to the first of equal values. ``nn.MaxPool2d`` is the same layer, channels second. Raises
    ValueError for arguments that do not fit.
    """
    return MaxPool(**_pool_window(window, stride, padding))


class AveragePool(_Windowed):
    """See :func:`average_pool`."""

    count_padding: bool

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self._mean(x)
        if not self.count_padding and self.padding != "valid":
            y = y / self._mean(torch.ones_like(x[:1, ..., :1]))  # the part of the window that is no padding
        return y

    def _mean(self, x: Tensor) -> Tensor:
        pool = F.avg_pool1d if len(self.window) == 1 else F.avg_pool2d
        return pool(self.padded(x), self.window, self.stride).movedim(1, -1)


def average_pool(
    window: tuple[int, ...],
    *,
    stride: int | tuple[int, ...] | None = None,
    padding: str | int | tuple[int, ...] = "valid",
    count_padding: bool = False,
) -> Layer:
    """The mean of each channel within a window; arguments and what is raised as in :func:`max_pool`.

    ``count_padding``: whether the zeros around count in the divisor, as they do in ``nn.AvgPool2d`` by default
    (``count_include_pad``).
    """
    check_flags(count_padding=count_padding)
    return AveragePool(**_pool_window(window, stride, padding), count_padding=count_padding)


class _GlobalPool(Layer):
    """A layer that takes all axes but the channels away."""

    passes_mask = False

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) not in (2, 3):
            self.refuse(shape, "(t, n) or (h, w, n)")
        return (shape[-1],)

    def places(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``x`` as ``(m, places, channels)``, and for a sequence its mask as ``(m, places, 1)``."""
        self.output_shape(x.shape[1:])
        return x.flatten(1, -2), mask[..., None] if mask is not None and x.ndim == 3 else None


class GlobalMaxPool(_GlobalPool):
    """See :func:`global_max_pool`."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x, there = self.places(x, mask)
        if there is None:
            return x.max(dim=1).values  # amax would share the gradient among equals
        return x.masked_fill(~there, -math.inf).max(dim=1).values.masked_fill(~there.any(dim=1), 0.0)


def global_max_pool() -> Layer:
    """The largest value of each channel, ``(m, c)``, of ``(m, t, c)`` or ``(m, h, w, c)``.

    Of a sequence, over the steps that are there; 0 if none is.
    """
    return GlobalMaxPool()


class GlobalAveragePool(_GlobalPool):
    """See :func:`global_average_pool`."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x, there = self.places(x, mask)
        if there is None:
            return x.mean(dim=1)
        return x.masked_fill(~there, 0.0).sum(dim=1) / there.sum(dim=1).clamp(min=1)


def global_average_pool() -> Layer:
    """The mean of each channel, ``(m, c)``, of ``(m, t, c)`` or ``(m, h, w, c)``.

    Of a sequence, over the steps that are there; 0 if none is.
    """
    return GlobalAveragePool()


def _pool_window(size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    window = _window("window", size, size if stride is None else stride, padding)
    around = window["padding"]
    if not isinstance(around, str) and any(2 * p > k for p, k in zip(around, window["window"], strict=True)):
        raise ValueError(f"padding={padding!r} is not allowed: must be at most half of the window {size!r}")
    return window


def _window(name: str, size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    """What all windows have, by name."""
    size = check_sizes(name, size, (1, 2), "a tuple of one or two integers >= 1, as (3,) or (3, 3)")
    stride = _each("stride", stride, len(size))
    if isinstance(padding, str) and padding not in ("valid", "same"):
        raise ValueError(f"padding={padding!r} is not allowed: must be 'valid', 'same' or integers >= 0")
    padding = padding if isinstance(padding, str) else _each("padding", padding, len(size), 0)
    return {"window": size, "stride": stride, "padding": padding}


def _each(name: str, value: Any, axes: int, least: int = 1) -> Shape:
    """One number for each axis."""
    alike = (value,) * axes if isinstance(value, Integral) and int(value) >= least else value
    return check_sizes(name, alike, (axes,), f"an integer >= {least}, or a tuple of {axes}", least=least)
