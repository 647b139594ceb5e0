"""Convolutions and pools, over sequences ``(m, t, n)`` and images ``(m, h, w, n)``, channels last.

All of them look through windows. With the sizes ``k`` of a window, its ``stride``, ``dilation`` and the ``before``
zeros in front, output ``i`` sees the inputs ``i stride + a dilation - before``, ``a = 0 .. k - 1``, along each axis.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike

from . import initializers
from ._common import check_flags, check_positive_integer, check_sizes
from ._layer import Array, Layer, Options, Shape, Tensors, bias_gradient, check_initializer
from .arithmetic import product, total


@dataclass(frozen=True)
class Window:
    """Where windows lie on the axes between the first and the last."""

    size: Shape
    stride: Shape
    padding: str | Shape
    dilation: Shape

    @property
    def spans(self) -> Shape:
        """From the first to the last input of a window."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.size, self.dilation, strict=True))

    @property
    def keeps_sizes(self) -> bool:
        """Whether there are as many outputs as inputs, however many there are."""
        shifts = {"valid": (0,) * len(self.size), "same": tuple(span - 1 for span in self.spans)}
        padded = shifts[self.padding] if isinstance(self.padding, str) else tuple(2 * p for p in self.padding)
        return set(self.stride) == {1} and padded == shifts["same"]

    def margins(self, sizes: Shape) -> tuple[tuple[int, int], ...]:
        """So many zeros before and after, along each axis."""
        if self.padding == "same":
            outputs = [math.ceil(n / s) for n, s in zip(sizes, self.stride, strict=True)]
            axes = zip(sizes, outputs, self.stride, self.spans, strict=True)
            sums = [max((out - 1) * s + span - n, 0) for n, out, s, span in axes]
            return tuple((both // 2, both - both // 2) for both in sums)
        padding = (0,) * len(sizes) if self.padding == "valid" else self.padding
        return tuple((int(p), int(p)) for p in padding)

    def output_sizes(self, sizes: Shape) -> Shape:
        """Numbers of windows, below 1 where none fits."""
        axes = zip(sizes, self.margins(sizes), self.spans, self.stride, strict=True)
        return tuple((n + before + after - span) // s + 1 for n, (before, after), span, s in axes)

    def gather(self, x: Array, fill: float = 0.0) -> Array:
        """What each window sees, ``(m, *outputs, *size, n)``, of ``x: (m, *sizes, n)``; ``fill`` where padded."""
        margins = ((0, 0), *self.margins(x.shape[1:-1]), (0, 0))
        axes = tuple(range(1, x.ndim - 1))
        seen = sliding_window_view(np.pad(x, margins, constant_values=fill), self.spans, axes)  # (m, *, n, *spans)
        strides, dilations = ([slice(None, None, s) for s in steps] for steps in (self.stride, self.dilation))
        return np.moveaxis(seen[(slice(None), *strides, slice(None), *dilations)], x.ndim - 1, -1)

    def scatter(self, seen: Array, sizes: Shape) -> Array:
        """:meth:`gather` transposed: each input, ``(m, *sizes, n)``, gets the sum of what the windows have of it."""
        margins = self.margins(sizes)
        padded = [n + before + after for n, (before, after) in zip(sizes, margins, strict=True)]
        x = np.zeros((len(seen), *padded, seen.shape[-1]), seen.dtype)
        for offset, places in self._places(seen.shape[1 : 1 + len(sizes)]):
            at: Any = (..., *offset, slice(None))
            x[places] += seen[at]
        kept = (slice(before, before + n) for n, (before, _) in zip(sizes, margins, strict=True))
        return x[(slice(None), *kept)]

    def _places(self, outputs: Shape) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Each place in a window, and the padded inputs that stand there in all windows."""
        for offset in np.ndindex(*self.size):
            starts = (a * d for a, d in zip(offset, self.dilation, strict=True))
            axes = zip(starts, outputs, self.stride, strict=True)
            yield offset, (slice(None), *(slice(start, start + (n - 1) * s + 1, s) for start, n, s in axes))


@dataclass(frozen=True)
class _Windowed(Layer):
    """What convolutions and pools over windows have in common."""

    window: Window

    @property
    def passes_mask(self) -> bool:
        """Only where there are as many steps as before, however many there are."""
        return self.window.keeps_sizes

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.window.size) + 1:
            self._refuse(shape, ("(t, n)", "(h, w, n)")[len(self.window.size) - 1])
        sizes = self.window.output_sizes(tuple(shape[:-1]))
        if min(sizes) < 1:
            self._refuse(shape, f"as large as a window, {self.window.spans}, with the padding")
        return (*sizes, shape[-1])


@dataclass(frozen=True)
class Convolution(_Windowed):
    """See :func:`convolution`."""

    channels: int
    groups: int
    bias: bool
    initializer: str
    initializer_options: Options

    def output_shape(self, shape: Shape) -> Shape:
        sizes = super().output_shape(shape)[:-1]
        if shape[-1] % self.groups:
            self._refuse(shape, f"a multiple of groups={self.groups} channels")
        return (*sizes, self.channels)

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        draw, size = initializers.INITIALIZERS[self.initializer], (*self.window.size, shape[-1] // self.groups)
        parameters = {"W": draw(generator, (self.channels, *size), dtype=dtype, **self.initializer_options)}
        return parameters | ({"b": np.zeros(self.channels, dtype)} if self.bias else {})

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        weight = parameters["W"].reshape(self.groups, self.channels // self.groups, -1)
        y = product(self._by_group(self.window.gather(x)), weight.swapaxes(1, 2))  # (groups, places, channels / groups)
        y = y.swapaxes(0, 1).reshape(len(x), *self.window.output_sizes(x.shape[1:-1]), self.channels)
        return y + parameters["b"] if self.bias else y, {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        x, weight = values["_x"], parameters["W"].reshape(self.groups, self.channels // self.groups, -1)
        seen = self.window.gather(x)
        by_group = dy.reshape(-1, self.groups, self.channels // self.groups).swapaxes(0, 1)
        gradients = {"W": product(by_group.swapaxes(1, 2), self._by_group(seen)).reshape(parameters["W"].shape)}
        if self.bias:
            gradients["b"] = bias_gradient(dy)
        d_seen = product(by_group, weight).swapaxes(0, 1)  # (places, groups, window * n / groups)
        d_seen = d_seen.reshape(-1, self.groups, math.prod(self.window.size), x.shape[-1] // self.groups)
        return self.window.scatter(d_seen.swapaxes(1, 2).reshape(seen.shape), x.shape[1:-1]), gradients

    def _by_group(self, seen: Array) -> Array:
        """``(m, *outputs, *size, n)`` as ``(groups, places, window * n / groups)``."""
        groups = seen.reshape(-1, math.prod(self.window.size), self.groups, seen.shape[-1] // self.groups)
        groups = groups.transpose(2, 0, 1, 3)
        return groups.reshape(*groups.shape[:2], -1)


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
    """A cross-correlation over one axis or two, after the length of ``kernel``; along each axis::

        y[i, o] = sum over a, c of x[i stride + a dilation - before, c] W[o, a, c] + b[o]

    ``x``: ``(m, *sizes, n)``; ``y``: ``(m, *outputs, channels)``; ``W``: ``(channels, *kernel, n / groups)``; ``b``:
    ``(channels,)``. ``padding``: ``"valid"`` none; ``"same"`` as many zeros as give ``ceil(size / stride)`` outputs,
    the smaller half before (TensorFlow's); or so many on both sides, one number or one for each axis. The ``g``-th
    group of outputs sees the ``g``-th group of inputs; groups are neighbours. Raises ValueError for an argument out of
    range and for ``channels`` that are no multiple of ``groups``. Source: LeCun, Bottou, Bengio & Haffner 1998; the
    course, course 4 week 1; Yu & Koltun 2016 for ``dilation``.

    >>> layer = convolution(1, (2,), padding="same")
    >>> parameters = {"W": np.array([[[1.0], [10.0]]]), "b": np.zeros(1)}
    >>> layer.forward(parameters, np.array([[[1.0], [2.0], [3.0]]]))[0].ravel()
    array([21., 32.,  3.])
    """
    check_positive_integer("channels", channels)
    check_positive_integer("groups", groups)
    if channels % groups:
        raise ValueError(f"channels={channels!r} is not allowed with groups={groups!r}: must be a multiple of them")
    check_flags(bias=bias)
    window = _window("kernel", kernel, stride, padding, dilation)
    options = check_initializer("initializer", initializer, initializer_options)
    return Convolution(window, channels, groups, bias, initializer, options)


@dataclass(frozen=True)
class MaxPool(_Windowed):
    """See :func:`max_pool`."""

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        seen = _one_axis(self.window, self.window.gather(x, -np.inf))
        first = seen.argmax(axis=-2, keepdims=True)
        return np.take_along_axis(seen, first, axis=-2)[..., 0, :], {"_x": x, "_first": first}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        x, shape = values["_x"], (*dy.shape[:-1], *self.window.size, dy.shape[-1])
        d_seen = np.zeros((*dy.shape[:-1], math.prod(self.window.size), dy.shape[-1]), dy.dtype)
        np.put_along_axis(d_seen, values["_first"], dy[..., None, :], axis=-2)
        return self.window.scatter(d_seen.reshape(shape), x.shape[1:-1]), {}


def max_pool(
    window: tuple[int, ...],
    *,
    stride: int | tuple[int, ...] | None = None,
    padding: str | int | tuple[int, ...] = "valid",
) -> Layer:
    """The largest number in each window, channel by channel; padding is never chosen.

    ``x``: ``(m, *sizes, n)``; ``y``: ``(m, *outputs, n)``. ``stride`` None: the window. ``padding`` as in
    :func:`convolution`, a number at most half of the window. Among equal numbers the first of the window, row by row,
    gets the gradient. Raises ValueError for an argument out of range. Source: Ranzato, Huang, Boureau & LeCun 2007; the
    course, course 4 week 1.

    >>> max_pool((2,)).forward({}, np.array([[[1.0], [3.0], [2.0]]]))[0]
    array([[[3.]]])
    """
    return MaxPool(_pool_window(window, stride, padding))


@dataclass(frozen=True)
class AveragePool(_Windowed):
    """See :func:`average_pool`."""

    count_padding: bool

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        sums = total(_one_axis(self.window, self.window.gather(x)), axis=-2)[..., 0, :]
        return sums / self._counts(x), {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        x, outputs = values["_x"], dy.shape[1:-1]
        share = (dy / self._counts(x)).reshape(len(x), *outputs, *(1,) * len(outputs), -1)
        d_seen = np.broadcast_to(share, (len(x), *outputs, *self.window.size, x.shape[-1]))
        return self.window.scatter(d_seen, x.shape[1:-1]), {}

    def _counts(self, x: Array) -> Any:
        """How many numbers each window averages: one count, or ``(1, *outputs, 1)``."""
        if self.count_padding:
            return math.prod(self.window.size)
        ones = np.ones((1, *x.shape[1:-1], 1), x.dtype)
        return _one_axis(self.window, self.window.gather(ones)).sum(axis=-2)


def average_pool(
    window: tuple[int, ...],
    *,
    stride: int | tuple[int, ...] | None = None,
    padding: str | int | tuple[int, ...] = "valid",
    count_padding: bool = False,
) -> Layer:
    """The mean of each window, channel by channel; ``count_padding``: zeros of the padding are among its numbers.

    Shapes and the other arguments as in :func:`max_pool`. (PyTorch counts the padding unless told otherwise, Keras does
    not.) Raises ValueError for an argument out of range. Source: LeCun, Bottou, Bengio & Haffner 1998; the course,
    course 4 week 1.

    >>> average_pool((2,), padding=1).forward({}, np.array([[[1.0], [3.0]]]))[0].ravel()
    array([1., 3.])
    """
    check_flags(count_padding=count_padding)
    return AveragePool(_pool_window(window, stride, padding), count_padding)


@dataclass(frozen=True)
class _GlobalPool(Layer):
    """What pools over all axes between the first and the last have in common."""

    @property
    def passes_mask(self) -> bool:
        """Never: there are no steps any more."""
        return False

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) not in (2, 3):
            self._refuse(shape, "(t, n) or (h, w, n)")
        return tuple(shape[-1:])


@dataclass(frozen=True)
class GlobalMaxPool(_GlobalPool):
    """See :func:`global_max_pool`."""

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        places, there = _places(x, mask)
        first = np.where(there, places, -np.inf).argmax(axis=1, keepdims=True)
        y = np.where(there.any(axis=1), np.take_along_axis(places, first, axis=1)[:, 0], 0.0)
        return y, {"_x": x, "_first": first}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        places, there = _places(values["_x"], mask)
        dx = np.zeros(places.shape, dy.dtype)
        np.put_along_axis(dx, values["_first"], np.where(there.any(axis=1), dy, 0.0)[:, None], axis=1)
        return dx.reshape(values["_x"].shape), {}


def global_max_pool() -> Layer:
    """The largest number of each channel. ``x``: ``(m, *sizes, n)``; ``y``: ``(m, n)``.

    Of a sequence with a mask, among the steps that are there; over none it is 0. Among equal numbers the first gets the
    gradient. Source: Oquab, Bottou, Laptev & Sivic 2015; Collobert et al. 2011 for sequences.

    >>> global_max_pool().forward({}, np.array([[[1.0], [3.0], [2.0]]]), mask=np.array([[True, False, True]]))[0]
    array([[2.]])
    """
    return GlobalMaxPool()


@dataclass(frozen=True)
class GlobalAveragePool(_GlobalPool):
    """See :func:`global_average_pool`."""

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        places, there = _places(x, mask)
        return total(np.where(there, places, 0.0), axis=1)[:, 0] / _count(there, x), {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        x = values["_x"]
        places, there = _places(x, mask)
        dx = np.where(there, (dy / _count(there, x))[:, None], 0.0)
        return np.broadcast_to(dx, places.shape).reshape(x.shape), {}


def global_average_pool() -> Layer:
    """The mean of each channel. ``x``: ``(m, *sizes, n)``; ``y``: ``(m, n)``.

    Of a sequence with a mask, over the steps that are there; over none it is 0. Source: Lin, Chen & Yan 2014, section
    3.2.

    >>> global_average_pool().forward({}, np.array([[[1.0], [3.0], [2.0]]]), mask=np.array([[True, True, False]]))[0]
    array([[2.]])
    """
    return GlobalAveragePool()


def _one_axis(window: Window, seen: Array) -> Array:
    """Windows ``(m, *outputs, *size, n)`` as ``(m, *outputs, window, n)``, row by row."""
    return seen.reshape(*seen.shape[: 1 + len(window.size)], math.prod(window.size), seen.shape[-1])


def _places(x: Array, mask: Array | None) -> tuple[Array, Array]:
    """``x`` as ``(m, places, n)``, and which places are there, ``(m or 1, places, 1)``; images know no mask."""
    places = x.reshape(len(x), -1, x.shape[-1])
    there = np.ones((1, places.shape[1]), bool) if mask is None or x.ndim != 3 else mask
    return places, there[..., None]


def _count(there: Array, x: Array) -> Array:
    """How many places there are, at least 1, ``(m or 1, 1)``."""
    return np.maximum(there.sum(axis=1), 1).astype(x.dtype)


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
    return Window(size, stride, padding if isinstance(padding, str) else _each("padding", padding, len(size), 0),
                  dilation)  # fmt: skip


def _each(name: str, value: Any, axes: int, least: int = 1) -> Shape:
    """One number for each axis."""
    alike = (value,) * axes if isinstance(value, (int, np.integer)) and value >= least else value
    return check_sizes(name, alike, (axes,), f"an integer >= {least}, or a tuple of {axes}", least=least)
