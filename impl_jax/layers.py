"""Layers that compose: each is made by a function, and networks are series and branches of them.

A network is a tree of layers, made by these functions and those of ``convolution``, ``recurrent`` and ``attention``. A
layer is immutable and hashed by value; its parameters are a flat dict by path, ``{"1.W": ..., "1.b": ..., "3.W":
...}``, a pytree kept apart from it::

    layer = sequence(dense(8), activation("relu"), dense(3))
    parameters = layer.initialize(jax.random.key(0), (4,))
    y = layer.apply(parameters, x)                             # x: (m, 4), y: (m, 3)

Examples come first: features ``(m, n)``, sequences ``(m, t, n)``, images ``(m, h, w, c)``, integer tokens ``(m, t)``.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import activations, normalization, regularizers
from ._common import (
    check_choice,
    check_decay,
    check_finite,
    check_flags,
    check_keep_probability,
    check_not_negative,
    check_positive_integer,
    check_sizes,
    named,
)
from ._layer import Array, Composite, Layer, Options, Pairs, Shape, initial_weights, initializer_pairs
from .attention import attention, positional_encoding, scaled_dot_product
from .convolution import average_pool, convolution, global_average_pool, global_max_pool, max_pool
from .recurrent import bidirectional, gru, lstm, simple_rnn

__all__ = [
    "LAYERS", "Layer", "activation", "attention", "average_pool", "batch_norm", "bidirectional", "convolution", "dense",
    "dropout", "embedding", "flatten", "global_average_pool", "global_max_pool", "gru", "layer_norm", "lstm", "masking",
    "max_pool", "parallel", "positional_encoding", "reshape", "residual", "scaled_dot_product", "sequence",
    "simple_rnn",
]  # fmt: skip


@dataclass(frozen=True)
class Dense(Layer):
    """The layer that :func:`dense` makes."""

    units: int
    bias: bool
    initializer: str
    initializer_options: Pairs

    def output_shape(self, shape):
        if len(shape) < 1:
            raise self._refused(shape, "(..., n)")
        return (*shape[:-1], self.units)

    def initialize(self, key, shape, *, dtype=None):
        self.output_shape(shape)
        weights = initial_weights(self.initializer, self.initializer_options, key, (self.units, shape[-1]), dtype)
        return {"W": weights} | ({"b": jnp.zeros(self.units, dtype)} if self.bias else {})

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        y = jnp.asarray(x) @ jnp.asarray(parameters["W"]).T
        return (y + parameters["b"] if self.bias else y), {}


def dense(
    units: int, *, bias: bool = True, initializer: str = "he_normal", initializer_options: Options | None = None
) -> Layer:
    """``y = x W^T + b`` along the last axis: ``(m, ..., n_in)`` to ``(m, ..., units)``.

    ``W: (units, n_in)``, ``b: (units,)``; ``initializer``: a name in ``initializers.INITIALIZERS``, with its options.
    Raises ValueError for an argument out of range or unknown.
    """
    check_positive_integer("units", units)
    check_flags(bias=bias)
    return Dense(int(units), bool(bias), initializer, initializer_pairs(initializer, initializer_options))


@dataclass(frozen=True)
class Activation(Layer):
    """The layer that :func:`activation` makes."""

    name: str
    options: Pairs

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return activations.ACTIVATIONS[self.name](x, **dict(self.options)), {}


def activation(name: str, *, options: Options | None = None) -> Layer:
    """``y = f(x)``, ``f`` a name in ``activations.ACTIVATIONS`` with its keywords: any shape, kept.

    The softmax is over the last axis. Raises ValueError for an unknown name or an option out of range.
    """
    check_choice("name", name, tuple(activations.ACTIVATIONS))
    jax.eval_shape(partial(activations.ACTIVATIONS[name], **(options or {})), jax.ShapeDtypeStruct((1, 1), jnp.float32))
    return Activation(name, tuple(sorted((options or {}).items())))


@dataclass(frozen=True)
class Dropout(Layer):
    """The layer that :func:`dropout` makes."""

    keep_probability: float

    def draw(self, key, examples, shape):
        keep = self.keep_probability
        return {"mask": regularizers.dropout_mask(key, (examples, *shape), keep_probability=keep)}

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        x = jnp.asarray(x)
        if not drawn:
            return x, {}
        return regularizers.inverted_dropout(x, drawn["mask"], keep_probability=self.keep_probability), {}


def dropout(keep_probability: float) -> Layer:
    """Inverted dropout, ``y = x mask / keep_probability`` with a drawn ``"mask": (m, *shape)``; without, ``y = x``.

    ``flax.linen.Dropout`` takes the rate that is dropped. Raises ValueError unless ``0 < keep_probability <= 1``.
    """
    check_keep_probability(keep_probability)
    return Dropout(float(keep_probability))


@dataclass(frozen=True)
class Flatten(Layer):
    """The layer that :func:`flatten` makes."""

    order: str

    @property
    def passes_mask(self) -> bool:
        return False

    def output_shape(self, shape):
        return (math.prod(shape),)

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        x = jnp.asarray(x)
        if self.order == "channels_first":
            x = jnp.moveaxis(x, -1, 1)
        return x.reshape(len(x), -1), {}


def flatten(*, order: str = "channels_last") -> Layer:
    """All axes of an example as one: ``(m, h, w, c)`` to ``(m, h w c)``.

    ``order="channels_first"``: ``(h, w, c)`` is flattened as ``(c, h, w)`` is. Raises ValueError for another order.
    """
    check_choice("order", order, ("channels_last", "channels_first"))
    return Flatten(order)


@dataclass(frozen=True)
class Reshape(Layer):
    """The layer that :func:`reshape` makes."""

    shape: Shape

    @property
    def passes_mask(self) -> bool:
        return False

    def output_shape(self, shape):
        if math.prod(shape) != math.prod(self.shape):
            raise self._refused(shape, f"of {math.prod(self.shape)} numbers")
        return self.shape

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return jnp.asarray(x).reshape(len(x), *self.output_shape(x.shape[1:])), {}


def reshape(shape: tuple[int, ...]) -> Layer:
    """Every example in another shape, its elements in the same order. Raises ValueError for no positive integers."""
    return Reshape(check_sizes("shape", shape, range(1, 33), "a tuple of integers >= 1"))


@dataclass(frozen=True)
class Embedding(Layer):
    """The layer that :func:`embedding` makes."""

    entries: int
    units: int
    initializer: str
    initializer_options: Pairs
    mask_zero: bool

    def next_mask(self, x, mask):
        return _both(jnp.asarray(x) != 0, mask) if self.mask_zero else mask

    def check_entries(self, x):
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise ValueError(f"x has dtype {x.dtype}: must be integers")
        known = np.zeros(0, int) if isinstance(x, jax.core.Tracer) else np.asarray(x)
        if known.size and not (known.min() >= 0 and known.max() < self.entries):
            raise ValueError(f"x has entries in {known.min()} .. {known.max()}: must be in 0 .. {self.entries - 1}")

    def output_shape(self, shape):
        return (*shape, self.units)

    def initialize(self, key, shape, *, dtype=None):
        shape = (self.entries, self.units)
        return {"W": initial_weights(self.initializer, self.initializer_options, key, shape, dtype)}

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        self.check_entries(x)
        return jnp.take(jnp.asarray(parameters["W"]), x, axis=0), {}


def embedding(
    entries: int,
    units: int,
    *,
    initializer: str = "scaled_normal",
    initializer_options: Options | None = None,
    mask_zero: bool = False,
) -> Layer:
    """``y = W[x]``: integers ``(m, ...)`` below ``entries`` to ``(m, ..., units)``.

    ``W: (entries, units)``, a row for each integer. ``initializer_options`` None is ``{"scale": 1.0}`` for
    ``"scaled_normal"``, and none for another. ``mask_zero``: for what follows, steps at which the integer is 0 are not
    there; row 0 stays an entry like any other. An integer out of range raises ValueError; where it is not known, under
    ``jit``, it gives a row of NaN. Raises ValueError for an argument out of range or unknown.
    """
    check_positive_integer("entries", entries)
    check_positive_integer("units", units)
    if initializer_options is None and initializer == "scaled_normal":
        initializer_options = {"scale": 1.0}
    pairs = initializer_pairs(initializer, initializer_options)
    check_flags(mask_zero=mask_zero)
    return Embedding(int(entries), int(units), initializer, pairs, bool(mask_zero))


@dataclass(frozen=True)
class Masking(Layer):
    """The layer that :func:`masking` makes."""

    value: float

    def next_mask(self, x, mask):
        return _both(self._there(jnp.asarray(x)), mask)

    def output_shape(self, shape):
        if len(shape) != 2:
            raise self._refused(shape, "(t, n)")
        return tuple(shape)

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        x = jnp.asarray(x)
        return jnp.where(self._there(x)[..., None], x, 0), {}

    def _there(self, x: jax.Array) -> jax.Array:
        return (x != self.value).any(axis=-1)


def masking(value: float = 0.0) -> Layer:
    """A step of ``x: (m, t, n)`` all of whose features are ``value`` is not there: 0, and masked for what follows.

    The other steps stay as they are. Flax has no such layer. Raises ValueError unless ``value`` is a finite number.
    """
    check_finite("value", value)
    return Masking(float(value))


@dataclass(frozen=True)
class _Normalization(Layer):
    epsilon: float

    def output_shape(self, shape):
        if len(shape) < 1:
            raise self._refused(shape, "(..., n)")
        return tuple(shape)

    def initialize(self, key, shape, *, dtype=None):
        *_, features = self.output_shape(shape)
        return {"gamma": jnp.ones(features, dtype), "beta": jnp.zeros(features, dtype)}


@dataclass(frozen=True)
class BatchNorm(_Normalization):
    """The layer that :func:`batch_norm` makes."""

    momentum: float
    running_variance: str

    def initial_statistics(self, shape, *, dtype=None):
        *_, features = self.output_shape(shape)
        return {"running_mean": jnp.zeros(features, dtype), "running_variance": jnp.ones(features, dtype)}

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        values: dict[str, Any] = {}
        if statistics is None:
            mean, variance = normalization.batch_statistics(x)
            count = math.prod(x.shape[:-1])
            values = {"batch_mean": mean, "batch_variance": variance, "batch_count": count}
        else:
            mean, variance = statistics["running_mean"], statistics["running_variance"]
        gamma, beta = parameters["gamma"], parameters["beta"]
        return normalization.batch_norm(x, gamma, beta, mean, variance, epsilon=self.epsilon), values

    def updated_statistics(self, statistics, values):
        mean, variance = normalization.running_average(
            (statistics["running_mean"], statistics["running_variance"]),
            (values["batch_mean"], values["batch_variance"]),
            values["batch_count"],
            momentum=self.momentum,
            running_variance=self.running_variance,
        )
        return {"running_mean": mean, "running_variance": variance}


def batch_norm(*, epsilon: float = 1e-5, momentum: float = 0.9, running_variance: str = "biased") -> Layer:
    """``y = gamma (x - mu) / sqrt(v + epsilon) + beta``, with means over all axes but the last, ``(m, ..., n)``.

    ``gamma``, ``beta``: ``(n,)``; running averages ``running_mean``, ``running_variance``: ``(n,)``. In training ``mu``
    and ``v`` are the batch's and among the values, as ``"batch_mean"`` and ``"batch_variance"``, of ``"batch_count"``
    numbers; with ``statistics`` the running ones. ``momentum`` and ``running_variance`` are those of
    ``normalization.running_average``. Raises ValueError for an argument out of range or unknown.
    """
    check_not_negative("epsilon", epsilon)
    check_decay("momentum", momentum)
    check_choice("running_variance", running_variance, ("biased", "unbiased"))
    return BatchNorm(float(epsilon), float(momentum), running_variance)


@dataclass(frozen=True)
class LayerNorm(_Normalization):
    """The layer that :func:`layer_norm` makes."""

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        gamma, beta = parameters["gamma"], parameters["beta"]
        return normalization.layer_norm(x, gamma, beta, epsilon=self.epsilon), {}


def layer_norm(*, epsilon: float = 1e-5) -> Layer:
    """``y = gamma (x - mu) / sqrt(v + epsilon) + beta``, with mean and population variance over the last axis.

    ``x: (m, ..., n)``; ``gamma``, ``beta``: ``(n,)``. Raises ValueError if ``epsilon`` is negative or not finite.
    """
    check_not_negative("epsilon", epsilon)
    return LayerNorm(float(epsilon))


@dataclass(frozen=True)
class _Numbered(Composite):
    layers: tuple[Layer, ...]

    @property
    def passes_mask(self) -> bool:
        return all(layer.passes_mask for layer in self.layers)

    def parts(self) -> dict[str, Layer]:
        return {str(place): layer for place, layer in enumerate(self.layers, start=1)}


@dataclass(frozen=True)
class Sequence(_Numbered):
    """The layer that :func:`sequence` makes."""

    def next_mask(self, x, mask):
        mask = self.layers[0].next_mask(x, mask)
        return mask if all(layer.passes_mask for layer in self.layers[1:]) else None

    def check_entries(self, x):
        self.layers[0].check_entries(x)

    def shapes(self, shape: Shape) -> Iterator[Shape]:
        for layer in self.layers:
            yield shape
            shape = layer.output_shape(shape)

    def output_shape(self, shape):
        return reduce(lambda given, layer: layer.output_shape(given), self.layers, tuple(shape))

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        values: dict[str, Any] = {}
        for name, layer in self.parts().items():
            y, inner = self._forward_part(name, parameters, x, drawn, statistics, mask)
            values |= named(inner | {"A": y}, name)
            x, mask = y, layer.next_mask(x, mask)
        return jnp.asarray(x), values


def sequence(*layers: Layer) -> Layer:
    """Layers after each other; the arrays of the third are named ``"3.W"``, its output ``"3.A"``.

    A layer without the time axis, or with another number of steps, ends the mask: those after it have None. Of a
    sequence within another only the first layer can begin one for what follows. Raises ValueError without layers, and
    for what is none.
    """
    return Sequence(_check_layers(layers))


@dataclass(frozen=True)
class Residual(Layer):
    """The layer that :func:`residual` makes."""

    layer: Layer

    @property
    def passes_mask(self) -> bool:
        return self.layer.passes_mask

    def next_mask(self, x, mask):
        return self.layer.next_mask(x, mask)

    def output_shape(self, shape):
        if self.layer.output_shape(shape) != tuple(shape):
            raise self._refused(shape, f"what its layer gives, which is {self.layer.output_shape(shape)}")
        return tuple(shape)

    def initialize(self, key, shape, *, dtype=None):
        self.output_shape(shape)
        return self.layer.initialize(key, shape, dtype=dtype)

    def initial_statistics(self, shape, *, dtype=None):
        return self.layer.initial_statistics(shape, dtype=dtype)

    def draw(self, key, examples, shape):
        return self.layer.draw(key, examples, shape)

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        y, values = self.layer.forward(parameters, x, drawn=drawn, statistics=statistics, mask=mask)
        return x + y, values

    def updated_statistics(self, statistics, values):
        return self.layer.updated_statistics(statistics, values)


def residual(layer: Layer) -> Layer:
    """``y = x + f(x)``, ``f`` a layer whose output has the input's shape; names are those of ``f``.

    Raises ValueError for what is no layer.
    """
    return Residual(*_check_layers((layer,)))


@dataclass(frozen=True)
class Parallel(_Numbered):
    """The layer that :func:`parallel` makes."""

    join: str

    def check_entries(self, x):
        for layer in self.layers:
            layer.check_entries(x)

    def output_shape(self, shape):
        given = [layer.output_shape(shape) for layer in self.layers]
        if self.join == "sum" and len(set(given)) == 1:
            return given[0]
        if self.join == "concatenate" and () not in given and len({one[:-1] for one in given}) == 1:
            return (*given[0][:-1], sum(one[-1] for one in given))
        raise self._refused(shape, f"such that outputs can be joined by {self.join!r}, which are {given}")

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        self.output_shape(x.shape[1:])
        outputs: list[jax.Array] = []
        values: dict[str, Any] = {}
        for name in self.parts():
            y, inner = self._forward_part(name, parameters, x, drawn, statistics, mask)
            values |= named(inner | {"A": y}, name)
            outputs.append(y)
        return (reduce(add, outputs) if self.join == "sum" else jnp.concatenate(outputs, axis=-1)), values


def parallel(*layers: Layer, join: str = "sum") -> Layer:
    """Layers beside each other, on the same input; their outputs summed, or joined along the last axis.

    The arrays of the third are named ``"3.W"``, its output ``"3.A"``. Raises ValueError without layers, for what is
    none, and for a ``join`` other than ``"sum"`` and ``"concatenate"``.
    """
    check_choice("join", join, ("sum", "concatenate"))
    return Parallel(_check_layers(layers), join)


def _both(there: jax.Array, mask: Array | None) -> jax.Array:
    return there if mask is None else there & mask


def _check_layers(layers: tuple[Any, ...]) -> tuple[Layer, ...]:
    if not layers or not all(isinstance(layer, Layer) for layer in layers):
        raise ValueError(f"layers={layers!r} is not allowed: must be layers, at least one")
    return layers


LAYERS: dict[str, Callable[..., Layer]] = {
    f.__name__: f
    for f in (
        dense, activation, dropout, flatten, reshape, convolution, max_pool, average_pool, global_max_pool,
        global_average_pool, embedding, masking, batch_norm, layer_norm, simple_rnn, lstm, gru, bidirectional,
        attention, positional_encoding, sequence, residual, parallel,
    )
}  # fmt: skip
