"""Convolutions and pools, over sequences ``(m, t, n)`` and images ``(m, h, w, n)``, channels last.

Where windows lie is said in numbers of zeros before and after each axis, so that TensorFlow's kernels see none of it.
"""

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from . import initializers
from ._common import check_flags, check_positive_integer, check_sizes
from ._layer import Layer, Mask, Options, Shape, Tensors, check_initializer

Sizes = int | tuple[int, ...]  # one for all axes, or one for each


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
        return set(self.stride) == {1} and self.output_sizes(self.spans) == self.spans

    def margins(self, sizes: Shape) -> list[tuple[int, int]]:
        """So many zeros before and after, along each axis."""
        if self.padding == "same":
            axes = zip(sizes, self.stride, self.spans, strict=True)
            sums = [max((math.ceil(n / stride) - 1) * stride + span - n, 0) for n, stride, span in axes]
            return [(both // 2, both - both // 2) for both in sums]
        return [(0, 0)] * len(sizes) if self.padding == "valid" else [(int(p), int(p)) for p in self.padding]

    def output_sizes(self, sizes: Shape) -> Shape:
        """Numbers of windows, below 1 where none fits."""
        axes = zip(sizes, self.margins(sizes), self.spans, self.stride, strict=True)
        return tuple((n + before + after - span) // stride + 1 for n, (before, after), span, stride in axes)

    def padded(self, x: tf.Tensor, value: float = 0.0) -> tf.Tensor:
        """``x: (m, *sizes, n)`` with its margins."""
        return tf.pad(x, [(0, 0), *self.margins(x.shape[1:-1]), (0, 0)], constant_values=tf.constant(value, x.dtype))


@dataclass(eq=False)
class Windowed(Layer):
    """What convolutions and pools over windows have in common."""

    window: Window

    @property
    def passes_mask(self) -> bool:
        """Only where there are as many steps as before, however many there are."""
        return self.window.keeps_sizes

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != len(self.window.size) + 1 or None in shape:
            self._refuse(shape, ("(t, n)", "(h, w, n)")[len(self.window.size) - 1])
        sizes = self.window.output_sizes(tuple(shape[:-1]))
        if min(sizes) < 1:
            self._refuse(shape, f"as large as a window, {self.window.spans}, with the padding")
        return (*sizes, shape[-1])


@dataclass(eq=False)
class Convolution(Windowed):
    """See :func:`convolution`."""

    channels: int
    groups: int
    bias: bool
    initializer: str
    initializer_options: dict[str, Any]

    def output_shape(self, shape: Shape) -> Shape:
        sizes = super().output_shape(shape)[:-1]
        if shape[-1] % self.groups:
            self._refuse(shape, f"a multiple of groups={self.groups} channels")
        return (*sizes, self.channels)

    def forward(self, x, *, drawn=None, training=False, mask=None):
        axes = range(1, len(self.window.size) + 2)
        kernel = tf.transpose(self.parameters["W"], (*axes, 0))  # (*kernel, n / groups, channels)
        x = self.window.padded(x)
        # Each group by itself: in float64 on a CPU, TensorFlow has no gradient of a convolution in groups.
        groups = zip(tf.split(x, self.groups, axis=-1), tf.split(kernel, self.groups, axis=-1), strict=True)
        y = tf.concat([self._correlation(*group) for group in groups], axis=-1)
        return y + self.parameters["b"] if self.bias else y, {}

    def _correlation(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        stride, dilation = self.window.stride, self.window.dilation
        if max(stride) == 1 or max(dilation) == 1:
            return tf.nn.convolution(x, kernel, stride, "VALID", dilations=dilation)
        # TensorFlow refuses both at once: of all windows, those that are a stride apart.
        y = tf.nn.convolution(x, kernel, padding="VALID", dilations=dilation)
        return y[(slice(None), *(slice(None, None, step) for step in stride))]

    def _initial_parameters(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> Tensors:
        draw, size = initializers.INITIALIZERS[self.initializer], (*self.window.size, shape[-1] // self.groups)
        parameters = {"W": draw(generator, (self.channels, *size), dtype=dtype, **self.initializer_options)}
        return parameters | ({"b": tf.zeros(self.channels, dtype)} if self.bias else {})


def convolution(
    channels: int,
    kernel: tuple[int, ...],
    *,
    stride: Sizes = 1,
    padding: str | Sizes = "valid",
    dilation: Sizes = 1,
    groups: int = 1,
    bias: bool = True,
    initializer: str = "he_normal",
    initializer_options: Options = None,
) -> Layer:
    """A cross-correlation over one axis or two, after the length of ``kernel``; along each axis::

        y[i, o] = sum over a, c of x[i stride + a dilation - before, c] W[o, a, c] + b[o]

    ``x``: ``(m, *sizes, n)``; ``y``: ``(m, *outputs, channels)``; ``W``: ``(channels, *kernel, n / groups)``, where
    TensorFlow has ``(*kernel, n / groups, channels)``; ``b``: ``(channels,)``. ``padding``: ``"valid"`` none;
    ``"same"`` TensorFlow's, as many zeros as give ``ceil(size / stride)`` outputs, the smaller half before; or so many
    on both sides, one number or one for each axis. The ``g``-th group of outputs sees the ``g``-th group of inputs;
    groups are neighbours. Sizes of ``x`` must be known in a ``tf.function``. Raises ValueError for an argument out of
    range and for ``channels`` that are no multiple of ``groups``.
    """
    check_positive_integer("channels", channels)
    check_positive_integer("groups", groups)
    if channels % groups:
        raise ValueError(f"channels={channels!r} is not allowed with groups={groups!r}: must be a multiple of them")
    check_flags(bias=bias)
    window = _window("kernel", kernel, stride, padding, dilation)
    options = check_initializer("initializer", initializer, initializer_options)
    return Convolution(window, channels, groups, bias, initializer, options)


class MaxPool(Windowed):
    """See :func:`max_pool`."""

    def forward(self, x, *, drawn=None, training=False, mask=None):
        return tf.nn.max_pool(self.window.padded(x, -math.inf), self.window.size, self.window.stride, "VALID"), {}


def max_pool(window: tuple[int, ...], *, stride: Sizes | None = None, padding: str | Sizes = "valid") -> Layer:
    """The largest number in each window, channel by channel; padding is never chosen.

    ``x``: ``(m, *sizes, n)``; ``y``: ``(m, *outputs, n)``. ``stride`` None: the window. ``padding`` as in
    :func:`convolution`, a number at most half of the window. Among equal numbers the first of the window, row by row,
    gets the gradient: so does TensorFlow's own kernel on a CPU. Raises ValueError for an argument out of range.
    """
    return MaxPool(_pool_window(window, stride, padding))


@dataclass(eq=False)
class AveragePool(Windowed):
    """See :func:`average_pool`."""

    count_padding: bool

    def forward(self, x, *, drawn=None, training=False, mask=None):
        means = self._means(x)
        if self.count_padding or self.window.padding == "valid":
            return means, {}
        return means / self._means(tf.ones((1, *x.shape[1:-1], 1), x.dtype)), {}  # by the share that is no padding

    def _means(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.avg_pool(self.window.padded(x), self.window.size, self.window.stride, "VALID")


def average_pool(
    window: tuple[int, ...],
    *,
    stride: Sizes | None = None,
    padding: str | Sizes = "valid",
    count_padding: bool = False,
) -> Layer:
    """The mean of each window, channel by channel; ``count_padding``: zeros of the padding are among its numbers.

    Shapes and the other arguments as in :func:`max_pool`. TensorFlow's own does not count its padding. Raises
    ValueError for an argument out of range.
    """
    check_flags(count_padding=count_padding)
    return AveragePool(_pool_window(window, stride, padding), count_padding)


class GlobalPool(Layer):
    """What pools over all axes between the first and the last have in common."""

    @property
    def passes_mask(self) -> bool:
        """Never: there are no steps any more."""
        return False

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) not in (2, 3):
            self._refuse(shape, "(t, n) or (h, w, n)")
        return tuple(shape[-1:])


class GlobalMaxPool(GlobalPool):
    """See :func:`global_max_pool`."""

    def forward(self, x, *, drawn=None, training=False, mask=None):
        places, there = _places(x, mask)
        places = tf.where(there, places, tf.constant(-math.inf, x.dtype))
        by_channel = tf.transpose(places, (0, 2, 1))  # (m, n, places)
        y = tf.gather(by_channel, tf.argmax(by_channel, axis=-1), batch_dims=2)
        return tf.where(tf.reduce_any(there, axis=1), y, tf.zeros_like(y)), {}


def global_max_pool() -> Layer:
    """The largest number of each channel. ``x``: ``(m, *sizes, n)``; ``y``: ``(m, n)``.

    Of a sequence with a mask, among the steps that are there; over none it is 0. Among equal numbers the first gets the
    gradient (``tf.reduce_max`` would divide it among them).
    """
    return GlobalMaxPool()


class GlobalAveragePool(GlobalPool):
    """See :func:`global_average_pool`."""

    def forward(self, x, *, drawn=None, training=False, mask=None):
        places, there = _places(x, mask)
        count = tf.maximum(tf.reduce_sum(tf.cast(there, x.dtype), axis=1), 1)
        return tf.reduce_sum(tf.where(there, places, tf.zeros_like(places)), axis=1) / count, {}


def global_average_pool() -> Layer:
    """The mean of each channel. ``x``: ``(m, *sizes, n)``; ``y``: ``(m, n)``.

    Of a sequence with a mask, over the steps that are there; over none it is 0.
    """
    return GlobalAveragePool()


def _places(x: tf.Tensor, mask: Mask) -> tuple[tf.Tensor, tf.Tensor]:
    """``x`` as ``(m, places, n)``, and which places are there, ``(m or 1, places, 1)``; images know no mask."""
    places = tf.reshape(x, (tf.shape(x)[0], tf.reduce_prod(tf.shape(x)[1:-1]), x.shape[-1]))
    there = tf.ones((1, tf.shape(places)[1]), tf.bool) if mask is None or x.shape.rank != 3 else mask
    return places, there[..., None]


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
    alike = (value,) * axes if isinstance(value, int) and value >= least else value
    return check_sizes(name, alike, (axes,), f"an integer >= {least}, or a tuple of {axes}", least=least)
