"""Layers that compose: each is made by a function, and networks are series and branches of them.

A layer is an immutable description; its parameters, draws, running averages and values are flat dicts by path, kept
apart from it (see :class:`Layer` for the methods). Data is ``m`` examples first: features ``(m, n)``, sequences
``(m, t, n)``, images ``(m, h, w, n)``, integer tokens ``(m, t)``. Weights, which penalties are on, are the parameters
whose own name begins with ``W`` or ``U``.

>>> network = sequence(dense(3), activation("tanh"), dense(1))
>>> parameters = network.initialize(np.random.default_rng(0), (2,))
>>> list(parameters)
['1.W', '1.b', '3.W', '3.b']
>>> y, values = network.forward(parameters, np.zeros((5, 2)))
>>> y.shape, values["2.A"].shape
((5, 1), (5, 3))
>>> network.backward(parameters, values, np.ones((5, 1)))[1]["3.b"]
array([5.])
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

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
    Array,
    Layer,
    Options,
    Parallel,
    Residual,
    Sequence,
    Shape,
    Tensors,
    affine,
    affine_backward,
    bias_gradient,
    check_initializer,
    check_layers,
)
from .arithmetic import total
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
    """See :func:`dense`."""

    units: int
    bias: bool
    initializer: str
    initializer_options: Options

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 1:
            self._refuse(shape, "(..., n)")
        return (*shape[:-1], self.units)

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        draw = initializers.INITIALIZERS[self.initializer]
        parameters = {"W": draw(generator, (self.units, shape[-1]), dtype=dtype, **self.initializer_options)}
        return parameters | ({"b": np.zeros(self.units, dtype)} if self.bias else {})

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return affine(x, parameters["W"], parameters.get("b")), {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        dx, dw, db = affine_backward(dy, values["_x"], parameters["W"])
        return dx, {"W": dw} | ({"b": db} if self.bias else {})


def dense(
    units: int, *, bias: bool = True, initializer: str = "he_normal", initializer_options: Options | None = None
) -> Layer:
    """``y = x W^T + b`` along the last axis. ``x``: ``(m, ..., n)``; ``W``: ``(units, n)``; ``b``: ``(units,)``.

    Raises ValueError for an argument out of range or unknown, as all layers do. Source: the course, course 1 week 3.

    >>> dense(1).forward({"W": np.array([[1.0, 2.0]]), "b": np.array([3.0])}, np.array([[10.0, 20.0]]))[0]
    array([[53.]])
    """
    check_positive_integer("units", units)
    check_flags(bias=bias)
    return Dense(units, bias, initializer, check_initializer("initializer", initializer, initializer_options))


@dataclass(frozen=True)
class Activation(Layer):
    """See :func:`activation`."""

    name: str
    options: Options

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        y = activations.ACTIVATIONS[self.name](x, **self.options)
        return y, {"_x": x, "_y": y}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        return activations.BACKWARD[self.name](dy, values["_x"], values["_y"], **self.options), {}


def activation(name: str, *, options: Options | None = None) -> Layer:
    """A function of ``activations.ACTIVATIONS`` by its name, with its options; a softmax is over the last axis.

    >>> activation("relu").forward({}, np.array([[-1.0, 2.0]]))[0]
    array([[0., 2.]])
    """
    check_choice("name", name, tuple(activations.ACTIVATIONS))
    options = dict(options or {})
    activations.ACTIVATIONS[name](np.ones((1, 1)), **options)
    return Activation(name, options)


@dataclass(frozen=True)
class Dropout(Layer):
    """See :func:`dropout`."""

    keep_probability: float

    def draw(self, generator: np.random.Generator, examples: int, shape: Shape) -> Tensors:
        return {"mask": generator.random((examples, *shape)) < self.keep_probability}

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return self._dropped(x, drawn), {}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        return self._dropped(dy, drawn), {}

    def _dropped(self, x: Array, drawn: Tensors | None) -> Array:
        if not drawn:
            return x
        return regularizers.inverted_dropout(x, drawn["mask"], keep_probability=self.keep_probability)


def dropout(keep_probability: float) -> Layer:
    """Inverted dropout, ``x mask / keep_probability``, with the ``"mask"`` that is drawn; ``x`` itself without draws.

    Source: Srivastava et al. 2014; the course, course 2 week 1.

    >>> dropout(0.5).forward({}, np.array([[1.0, 2.0]]), drawn={"mask": np.array([[True, False]])})[0]
    array([[2., 0.]])
    """
    check_keep_probability(keep_probability)
    return Dropout(float(keep_probability))


@dataclass(frozen=True)
class Flatten(Layer):
    """See :func:`flatten`."""

    order: str

    @property
    def passes_mask(self) -> bool:
        """Never: there are no steps any more."""
        return False

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return self._ordered(x).reshape(len(x), -1), {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        dx = dy.reshape(self._ordered(values["_x"]).shape)
        return np.moveaxis(dx, 1, -1) if self.order == "channels_first" else dx, {}

    def _ordered(self, x: Array) -> Array:
        return np.moveaxis(x, -1, 1) if self.order == "channels_first" else x


def flatten(*, order: str = "channels_last") -> Layer:
    """Each example as one vector, row by row; ``"channels_first"``: ``(h, w, c)`` as ``(c, h, w)`` is.

    >>> flatten(order="channels_first").forward({}, np.array([[[1, 2], [3, 4]]]))[0]
    array([[1, 3, 2, 4]])
    """
    check_choice("order", order, ("channels_last", "channels_first"))
    return Flatten(order)


@dataclass(frozen=True)
class Reshape(Layer):
    """See :func:`reshape`."""

    shape: Shape

    @property
    def passes_mask(self) -> bool:
        """Never: steps may be others."""
        return False

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape) != math.prod(self.shape):
            self._refuse(shape, f"of {math.prod(self.shape)} numbers")
        return self.shape

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return x.reshape(len(x), *self.shape), {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        return dy.reshape(values["_x"].shape), {}


def reshape(shape: Shape) -> Layer:
    """Each example with another ``shape``, a tuple of sizes, row by row.

    >>> reshape((2, 2)).forward({}, np.array([[1, 2, 3, 4]]))[0]
    array([[[1, 2],
            [3, 4]]])
    """
    return Reshape(check_sizes("shape", shape, range(1, 33), "a tuple of integers >= 1"))


@dataclass(frozen=True)
class Embedding(Layer):
    """See :func:`embedding`."""

    entries: int
    units: int
    initializer: str
    initializer_options: Options
    mask_zero: bool

    def next_mask(self, x: Array, mask: Array | None) -> Array | None:
        """With ``mask_zero``, only the steps whose integer is not 0."""
        return _both(x != 0, mask) if self.mask_zero else mask

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) > 1:
            self._refuse(shape, "() or (t,)")
        return (*shape, self.units)

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        draw = initializers.INITIALIZERS[self.initializer]
        return {"W": draw(generator, (self.entries, self.units), dtype=dtype, **self.initializer_options)}

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        if not np.issubdtype(x.dtype, np.integer):
            raise ValueError(f"x has dtype {x.dtype}: must be integers")
        if x.size and not (x.min() >= 0 and x.max() < self.entries):
            raise ValueError(f"x has entries in {x.min()} .. {x.max()}: must be in 0 .. {self.entries - 1}")
        return parameters["W"][x], {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        x, dw = values["_x"], np.zeros(parameters["W"].shape, dy.dtype)
        for entry in np.unique(x):
            dw[entry] = total(dy[x == entry], axis=0)[0]
        return None, {"W": dw}


def embedding(
    entries: int,
    units: int,
    *,
    initializer: str = "scaled_normal",
    initializer_options: Options | None = None,
    mask_zero: bool = False,
) -> Layer:
    """The ``x``-th row of ``W: (entries, units)`` for each integer ``x``: ``(m, t)`` gives ``(m, t, units)``.

    ``initializer_options`` None: a scale of 1 for the default (PyTorch's start). ``mask_zero``: for what follows, steps
    at which the integer is 0 are not there; row 0 stays an entry like any other. Raises ValueError for integers out of
    range. Source: Bengio, Ducharme, Vincent & Jauvin 2003; the course, course 5 week 2.

    >>> embedding(2, 1).forward({"W": np.array([[5.0], [7.0]])}, np.array([[1, 0, 1]]))[0].ravel()
    array([7., 5., 7.])
    """
    check_positive_integer("entries", entries)
    check_positive_integer("units", units)
    if initializer == "scaled_normal" and initializer_options is None:
        initializer_options = {"scale": 1.0}
    options = check_initializer("initializer", initializer, initializer_options)
    check_flags(mask_zero=mask_zero)
    return Embedding(entries, units, initializer, options, mask_zero)


@dataclass(frozen=True)
class Masking(Layer):
    """See :func:`masking`."""

    value: float

    def next_mask(self, x: Array, mask: Array | None) -> Array | None:
        """Only the steps that are there."""
        return _both(self._there(x), mask)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self._refuse(shape, "(t, n)")
        return shape

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return np.where(self._there(x)[..., None], x, x.dtype.type(0)), {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        return np.where(self._there(values["_x"])[..., None], dy, dy.dtype.type(0)), {}

    def _there(self, x: Array) -> Array:
        return (x != self.value).any(axis=-1)


def masking(value: float = 0.0) -> Layer:
    """A step of ``x: (m, t, n)`` all of whose features are ``value`` is not there: 0, and masked for what follows.

    The other steps stay as they are. Raises ValueError unless ``value`` is a finite number.
    Source: Keras's ``Masking``.

    >>> layer, x = masking(9.0), np.array([[[1.0], [9.0]]])
    >>> layer.forward({}, x)[0].ravel(), layer.next_mask(x, None)
    (array([1., 0.]), array([[ True, False]]))
    """
    check_finite("value", value)
    return Masking(float(value))


@dataclass(frozen=True)
class _Norm(Layer):
    """What normalisations have in common: scales ``gamma`` and shifts ``beta`` along the last axis."""

    epsilon: float

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 1:
            self._refuse(shape, "(..., n)")
        return shape

    def initialize(self, generator: np.random.Generator, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        return {"gamma": np.ones(shape[-1], dtype), "beta": np.zeros(shape[-1], dtype)}


@dataclass(frozen=True)
class BatchNorm(_Norm):
    """See :func:`batch_norm`."""

    momentum: float
    running_variance: str

    def initial_statistics(self, shape: Shape, *, dtype: DTypeLike | None = None) -> Tensors:
        return {"running_mean": np.zeros(shape[-1], dtype), "running_variance": np.ones(shape[-1], dtype)}

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        if statistics is None:
            mean, variance = normalization.batch_statistics(x)
            count = np.asarray(x.size // x.shape[-1])
            values = {"_x": x, "batch_mean": mean, "batch_variance": variance, "batch_count": count}
        else:
            mean, variance = statistics["running_mean"], statistics["running_variance"]
            values = {"_x": x, "_mean": mean, "_variance": variance}
        gamma, beta = parameters["gamma"], parameters["beta"]
        return normalization.batch_norm(x, gamma, beta, mean, variance, epsilon=self.epsilon), values

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        x, gamma = values["_x"], parameters["gamma"]
        if "batch_mean" in values:
            statistics = values["batch_mean"], values["batch_variance"]
            dx, *found = normalization.batch_norm_backward(dy, x, gamma, *statistics, epsilon=self.epsilon)
        else:  # with running averages, which do not depend on x
            statistics, one = (values["_mean"], values["_variance"]), np.ones_like(gamma)
            h = normalization.batch_norm(x, one, 0 * one, *statistics, epsilon=self.epsilon)
            dx = gamma * dy / np.sqrt(statistics[1] + self.epsilon)
            found = [bias_gradient(dy * h), bias_gradient(dy)]
        return dx, dict(zip(("gamma", "beta"), found, strict=True))

    def updated_statistics(self, statistics: Tensors, values: Tensors) -> Tensors:
        names = "running_mean", "running_variance"
        averages = normalization.running_average(
            (statistics[names[0]], statistics[names[1]]), (values["batch_mean"], values["batch_variance"]),
            int(values["batch_count"]), momentum=self.momentum, running_variance=self.running_variance,
        )  # fmt: skip
        return dict(zip(names, averages, strict=True))


def batch_norm(*, epsilon: float = 1e-5, momentum: float = 0.9, running_variance: str = "biased") -> Layer:
    """``normalization.batch_norm`` over all axes but the last; the options are its and ``running_average``'s.

    ``x``: ``(m, ..., n)``; ``gamma, beta, running_mean, running_variance``: ``(n,)``. Without ``statistics`` it takes
    the batch's own. Source: Ioffe & Szegedy 2015, sections 3 and 3.2.

    >>> layer = batch_norm(epsilon=0.0)
    >>> layer.forward(layer.initialize(None, (1,)), np.array([[1.0], [3.0]]))[0]
    array([[-1.],
           [ 1.]])
    """
    check_not_negative("epsilon", epsilon)
    check_decay("momentum", momentum)
    check_choice("running_variance", running_variance, ("biased", "unbiased"))
    return BatchNorm(float(epsilon), float(momentum), running_variance)


@dataclass(frozen=True)
class LayerNorm(_Norm):
    """See :func:`layer_norm`."""

    def forward(self, parameters, x, *, drawn=None, statistics=None, mask=None):
        return normalization.layer_norm(x, parameters["gamma"], parameters["beta"], epsilon=self.epsilon), {"_x": x}

    def backward(self, parameters, values, dy, *, drawn=None, mask=None):
        dx, *found = normalization.layer_norm_backward(dy, values["_x"], parameters["gamma"], epsilon=self.epsilon)
        return dx, dict(zip(("gamma", "beta"), found, strict=True))


def layer_norm(*, epsilon: float = 1e-5) -> Layer:
    """``normalization.layer_norm`` over the last axis. ``x``: ``(m, ..., n)``; ``gamma, beta``: ``(n,)``.

    Source: Ba, Kiros & Hinton 2016.

    >>> layer = layer_norm(epsilon=0.0)
    >>> layer.forward(layer.initialize(None, (2,)), np.array([[1.0, 3.0]]))[0]
    array([[-1.,  1.]])
    """
    check_not_negative("epsilon", epsilon)
    return LayerNorm(float(epsilon))


def sequence(*layers: Layer) -> Layer:
    """One layer after the other; the ``i``-th has the path ``"i."``, from 1. The mask goes as far as there are steps.

    Among the values ``"i.A"`` is the output of the ``i``-th. Raises ValueError unless all are layers, at least one.

    >>> sequence(dense(4), dropout(0.5), dense(2)).output_shape((3,))
    (2,)
    """
    return Sequence(check_layers(layers))


def residual(layer: Layer) -> Layer:
    """``y = x + layer(x)``, with the names of ``layer`` itself. Raises ValueError unless it is a layer.

    Source: He, Zhang, Ren & Sun 2016, eq. 1; the course, course 4 week 2.

    >>> residual(activation("relu")).forward({}, np.array([[-1.0, 2.0]]))[0]
    array([[-1.,  4.]])
    """
    return Residual(*check_layers((layer,)))


def parallel(*layers: Layer, join: str = "sum") -> Layer:
    """Branches on the same input, their outputs summed, or joined along the last axis (``join="concatenate"``).

    Paths and values as in :func:`sequence`. Raises ValueError unless all are layers, at least one, and for an unknown
    ``join``. Source: Szegedy et al. 2015 (Inception).

    >>> parallel(dense(4), dense(2), join="concatenate").output_shape((3,))
    (6,)
    """
    check_choice("join", join, ("sum", "concatenate"))
    return Parallel(check_layers(layers), join)


LAYERS: dict[str, Callable[..., Layer]] = {
    f.__name__: f
    for f in (
        dense, activation, dropout, flatten, reshape, convolution, max_pool, average_pool, global_max_pool,
        global_average_pool, embedding, masking, batch_norm, layer_norm, simple_rnn, lstm, gru, bidirectional,
        attention, positional_encoding, sequence, residual, parallel,
    )
}  # fmt: skip


def _both(seen: Array, mask: Array | None) -> Array:
    return seen if mask is None else seen & mask
