"""Layers that compose: each is made by a function, and networks are series and branches of them.

A layer is a ``tf.Module`` that is called, ``layer(x, training=False, mask=None)``. It owns its variables, which
:meth:`Layer.build` makes, or the first call; ``parameter_dict()`` has them by path. Data is ``m`` examples first:
features ``(m, n)``, sequences ``(m, t, n)``, images ``(m, h, w, n)``, integer tokens ``(m, t)``. Weights, which
penalties are on, are the parameters whose own name begins with ``W`` or ``U``::

    network = sequence(dense(3), activation("tanh"), dense(1))
    network.build((2,), generator=tf.random.Generator.from_seed(0))
    list(network.parameter_dict())  # ["1.W", "1.b", "3.W", "3.b"]
    network(tf.zeros((5, 2)))  # (5, 1)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from . import activations, initializers, normalization, regularizers
from ._common import (
    check_choice,
    check_decay,
    check_finite,
    check_flags,
    check_keep_probability,
    check_not_negative,
    check_positive_integer,
    check_sizes,
)
from ._layer import (
    Layer,
    Mask,
    Options,
    Parallel,
    Residual,
    Sequence,
    Shape,
    Tensors,
    check_initializer,
    fed,
    layer_values,
    linear,
)
from .attention import attention, positional_encoding, scaled_dot_product
from .convolution import average_pool, convolution, global_average_pool, global_max_pool, max_pool
from .recurrent import bidirectional, gru, lstm, simple_rnn

__all__ = [
    "LAYERS", "Layer", "activation", "attention", "average_pool", "batch_norm", "bidirectional", "convolution", "dense",
    "dropout", "embedding", "fed", "flatten", "global_average_pool", "global_max_pool", "gru", "layer_norm",
    "layer_values", "lstm", "masking", "max_pool", "parallel", "positional_encoding", "reshape", "residual",
    "scaled_dot_product", "sequence", "simple_rnn",
]  # fmt: skip


@dataclass(eq=False)
class Dense(Layer):
    """See :func:`dense`."""

    units: int
    bias: bool
    initializer: str
    initializer_options: dict[str, Any]

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 1:
            self._refuse(shape, "(..., n)")
        return (*shape[:-1], self.units)

    def forward(self, x, *, drawn=None, training=False, mask=None):
        return linear(x, self.parameters["W"], self.parameters.get("b")), {}

    def _initial_parameters(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> Tensors:
        draw = initializers.INITIALIZERS[self.initializer]
        parameters = {"W": draw(generator, (self.units, shape[-1]), dtype=dtype, **self.initializer_options)}
        return parameters | ({"b": tf.zeros(self.units, dtype)} if self.bias else {})


def dense(
    units: int, *, bias: bool = True, initializer: str = "he_normal", initializer_options: Options = None
) -> Layer:
    """``y = x W^T + b`` along the last axis. ``x``: ``(m, ..., n)``; ``W``: ``(units, n)``; ``b``: ``(units,)``.

    Raises ValueError for an argument out of range or unknown, as all layers do.
    """
    check_positive_integer("units", units)
    check_flags(bias=bias)
    return Dense(units, bias, initializer, check_initializer("initializer", initializer, initializer_options))


@dataclass(eq=False)
class Activation(Layer):
    """See :func:`activation`."""

    function: str
    options: dict[str, Any]

    def forward(self, x, *, drawn=None, training=False, mask=None):
        return activations.ACTIVATIONS[self.function](x, **self.options), {}


def activation(name: str, *, options: Options = None) -> Layer:
    """A function of ``activations.ACTIVATIONS`` by its name, with its options; a softmax is over the last axis."""
    check_choice("name", name, tuple(activations.ACTIVATIONS))
    options = dict(options or {})
    activations.ACTIVATIONS[name](tf.ones((1, 1)), **options)
    return Activation(name, options)


@dataclass(eq=False)
class Dropout(Layer):
    """See :func:`dropout`."""

    keep_probability: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self.generator: tf.random.Generator | None = None

    def draw(self, generator: tf.random.Generator, examples: int | tf.Tensor, shape: Shape) -> Tensors:
        return self._drawn(generator, (examples, *shape))

    def forward(self, x, *, drawn=None, training=False, mask=None):
        if drawn is None and training:
            drawn = self._drawn(self.generator, tf.shape(x))
        if not drawn:
            return x, {}
        return regularizers.inverted_dropout(x, drawn["mask"], keep_probability=self.keep_probability), {}

    def _drawn(self, generator: Any, shape: Any) -> Tensors:
        return {"mask": regularizers.dropout_mask(generator, shape, keep_probability=self.keep_probability)}

    def _make(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> None:
        """The layer has a generator of its own: checkpoints keep its state, a compiled step draws from it."""
        (own,) = generator.split(1)
        if self.generator is None:
            self.generator = own
        else:
            self.generator.reset(own.state)


def dropout(keep_probability: float) -> Layer:
    """Inverted dropout, ``x mask / keep_probability``, in training; ``x`` itself otherwise.

    The ``"mask"`` is what :func:`fed` gives, or is drawn by a generator of the layer's own, split from the one that it
    is built with.
    """
    check_keep_probability(keep_probability)
    return Dropout(float(keep_probability))


@dataclass(eq=False)
class Flatten(Layer):
    """See :func:`flatten`."""

    order: str

    @property
    def passes_mask(self) -> bool:
        """Never: there are no steps any more."""
        return False

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward(self, x, *, drawn=None, training=False, mask=None):
        size = math.prod(x.shape[1:])
        if self.order == "channels_first":
            x = tf.transpose(x, (0, x.shape.rank - 1, *range(1, x.shape.rank - 1)))
        return tf.reshape(x, (-1, size)), {}


def flatten(*, order: str = "channels_last") -> Layer:
    """Each example as one vector, row by row; ``"channels_first"``: ``(h, w, c)`` as ``(c, h, w)`` is."""
    check_choice("order", order, ("channels_last", "channels_first"))
    return Flatten(order)


@dataclass(eq=False)
class Reshape(Layer):
    """See :func:`reshape`."""

    target: Shape

    @property
    def passes_mask(self) -> bool:
        """Never: steps may be others."""
        return False

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape) != math.prod(self.target):
            self._refuse(shape, f"of {math.prod(self.target)} numbers")
        return self.target

    def forward(self, x, *, drawn=None, training=False, mask=None):
        return tf.reshape(x, (-1, *self.target)), {}


def reshape(shape: Shape) -> Layer:
    """Each example with another ``shape``, a tuple of sizes, row by row."""
    return Reshape(check_sizes("shape", shape, range(1, 33), "a tuple of integers >= 1"))


@dataclass(eq=False)
class Embedding(Layer):
    """See :func:`embedding`."""

    entries: int
    units: int
    initializer: str
    initializer_options: dict[str, Any]
    mask_zero: bool

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) > 1:
            self._refuse(shape, "() or (t,)")
        return (*shape, self.units)

    def forward(self, x, *, drawn=None, training=False, mask=None):
        self.check_tokens(x)
        w = self.parameters["W"]
        return tf.gather(tf.reshape(w, w.shape), x), {}  # back through a reshape, the gradient is a tensor, not slices

    def next_mask(self, x: tf.Tensor, mask: Mask) -> Mask:
        """With ``mask_zero`` also without the steps whose token is 0."""
        return _both(tf.not_equal(x, 0), mask) if self.mask_zero else mask

    def check_tokens(self, x: tf.Tensor) -> None:
        """Raise ValueError unless they are integers and, where they can be looked at, in range."""
        if not x.dtype.is_integer:
            raise ValueError(f"x has dtype {x.dtype.name}: must be integers")
        if tf.executing_eagerly() and tf.size(x) > 0:
            least, largest = int(tf.reduce_min(x)), int(tf.reduce_max(x))
            if not (least >= 0 and largest < self.entries):
                raise ValueError(f"x has entries in {least} .. {largest}: must be in 0 .. {self.entries - 1}")

    def _initial_parameters(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> Tensors:
        draw = initializers.INITIALIZERS[self.initializer]
        return {"W": draw(generator, (self.entries, self.units), dtype=dtype, **self.initializer_options)}


def embedding(
    entries: int,
    units: int,
    *,
    initializer: str = "scaled_normal",
    initializer_options: Options = None,
    mask_zero: bool = False,
) -> Layer:
    """The ``x``-th row of ``W: (entries, units)`` for each integer ``x``: ``(m, t)`` gives ``(m, t, units)``.

    ``initializer_options`` None: a scale of 1 for the default. ``mask_zero``: for what follows, steps at which the
    integer is 0 are not there; row 0 stays a row like any other. The gradient of ``W`` is a tensor, in place of
    TensorFlow's ``IndexedSlices``. Raises ValueError for integers out of range, except in a ``tf.function``: there a
    CPU raises an InvalidArgumentError, and a GPU gives zeros.
    """
    check_positive_integer("entries", entries)
    check_positive_integer("units", units)
    if initializer == "scaled_normal" and initializer_options is None:
        initializer_options = {"scale": 1.0}
    options = check_initializer("initializer", initializer, initializer_options)
    check_flags(mask_zero=mask_zero)
    return Embedding(entries, units, initializer, options, mask_zero)


@dataclass(eq=False)
class Masking(Layer):
    """See :func:`masking`."""

    value: float

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self._refuse(shape, "(t, n)")
        return shape

    def forward(self, x, *, drawn=None, training=False, mask=None):
        return tf.where(self._seen(x)[..., None], x, tf.zeros_like(x)), {}

    def next_mask(self, x: tf.Tensor, mask: Mask) -> Mask:
        """Without the steps that are not there."""
        return _both(self._seen(x), mask)

    def _seen(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(tf.not_equal(x, self.value), axis=-1)


def masking(value: float = 0.0) -> Layer:
    """A step of ``x: (m, t, n)`` all of whose features are ``value`` is not there: 0, and masked for what follows.

    The other steps stay as they are. Raises ValueError unless ``value`` is a finite number.
    """
    check_finite("value", value)
    return Masking(float(value))


@dataclass(eq=False)
class Norm(Layer):
    """What normalisations have in common: scales ``gamma`` and shifts ``beta`` along the last axis."""

    epsilon: float

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 1:
            self._refuse(shape, "(..., n)")
        return shape

    def _initial_parameters(self, generator: tf.random.Generator, shape: Shape, dtype: tf.DType) -> Tensors:
        return {"gamma": tf.ones(shape[-1], dtype), "beta": tf.zeros(shape[-1], dtype)}


@dataclass(eq=False)
class BatchNorm(Norm):
    """See :func:`batch_norm`."""

    momentum: float
    running_variance: str

    def forward(self, x, *, drawn=None, training=False, mask=None):
        if training:
            mean, variance = normalization.batch_statistics(x)
            count = (x.shape.num_elements() or tf.size(x)) // x.shape[-1]
            values = {"batch_mean": mean, "batch_variance": variance, "batch_count": count}
        else:
            mean, variance = self.statistics["running_mean"], self.statistics["running_variance"]
            values = {}
        gamma, beta = self.parameters["gamma"], self.parameters["beta"]
        return normalization.batch_norm(x, gamma, beta, mean, variance, epsilon=self.epsilon), values

    def assign_statistics(self, values: Any) -> None:
        running = self.statistics["running_mean"], self.statistics["running_variance"]
        averages = normalization.running_average(
            running, (values["batch_mean"], values["batch_variance"]), values["batch_count"],
            momentum=self.momentum, running_variance=self.running_variance,
        )  # fmt: skip
        for variable, average in zip(running, averages, strict=True):
            variable.assign(average)

    def _initial_statistics(self, shape: Shape, dtype: tf.DType) -> Tensors:
        return {"running_mean": tf.zeros(shape[-1], dtype), "running_variance": tf.ones(shape[-1], dtype)}


def batch_norm(*, epsilon: float = 1e-5, momentum: float = 0.9, running_variance: str = "biased") -> Layer:
    """``normalization.batch_norm`` over all axes but the last; the options are its and ``running_average``'s.

    ``x``: ``(m, ..., n)``; ``gamma, beta, running_mean, running_variance``: ``(n,)``. In ``training`` it takes the
    batch's own statistics, and a call moves the running ones on.
    """
    check_not_negative("epsilon", epsilon)
    check_decay("momentum", momentum)
    check_choice("running_variance", running_variance, ("biased", "unbiased"))
    return BatchNorm(float(epsilon), float(momentum), running_variance)


class LayerNorm(Norm):
    """See :func:`layer_norm`."""

    def forward(self, x, *, drawn=None, training=False, mask=None):
        return normalization.layer_norm(x, self.parameters["gamma"], self.parameters["beta"], epsilon=self.epsilon), {}


def layer_norm(*, epsilon: float = 1e-5) -> Layer:
    """``normalization.layer_norm`` over the last axis. ``x``: ``(m, ..., n)``; ``gamma, beta``: ``(n,)``."""
    check_not_negative("epsilon", epsilon)
    return LayerNorm(float(epsilon))


def sequence(*layers: Layer) -> Layer:
    """One layer after the other; the ``i``-th has the path ``"i."``, from 1. The mask goes as far as there are steps.

    Among the values ``"i.A"`` is the output of the ``i``-th. Raises ValueError unless all are layers, at least one.
    """
    return Sequence(_check_layers(layers))


def residual(layer: Layer) -> Layer:
    """``y = x + layer(x)``, with the names of ``layer`` itself. Raises ValueError unless it is a layer."""
    return Residual(*_check_layers((layer,)))


def parallel(*layers: Layer, join: str = "sum") -> Layer:
    """Branches on the same input, their outputs summed, or joined along the last axis (``join="concatenate"``).

    Paths and values as in :func:`sequence`. Raises ValueError unless all are layers, at least one, and for an unknown
    ``join``.
    """
    check_choice("join", join, ("sum", "concatenate"))
    return Parallel(_check_layers(layers), join)


LAYERS: dict[str, Callable[..., Layer]] = {
    f.__name__: f
    for f in (
        dense, activation, dropout, flatten, reshape, convolution, max_pool, average_pool, global_max_pool,
        global_average_pool, embedding, masking, batch_norm, layer_norm, simple_rnn, lstm, gru, bidirectional,
        attention, positional_encoding, sequence, residual, parallel,
    )
}  # fmt: skip


def _check_layers(layers: tuple[Any, ...]) -> tuple[Layer, ...]:
    if not layers or not all(isinstance(layer, Layer) for layer in layers):
        raise ValueError(f"layers={layers!r} is not allowed: must be layers, at least one")
    return layers


def _both(seen: tf.Tensor, mask: Mask) -> tf.Tensor:
    """Where a step is seen, and there by the mask that was given."""
    return seen if mask is None else tf.logical_and(seen, mask)
