"""Layers that compose: each is made by a function, and networks are series and branches of them.

A layer is an ``nn.Module`` of data with ``m`` examples first: features ``(m, n)``, sequences ``(m, t, n)``, images
``(m, h, w, n)``, integer tokens ``(m, t)``. It may stand in PyTorch's containers, and PyTorch's modules in a
:func:`sequence`. ``train()`` and ``eval()`` mean what they mean everywhere. Weights, which penalties are on, are the
parameters whose own name begins with ``W`` or ``U``.

>>> net = sequence(dense(8), activation("tanh"), dense(1))
>>> net.build((2,), generator=torch.Generator().manual_seed(0))
(1,)
>>> list(net.state_dict())
['1.W', '1.b', '3.W', '3.b']
>>> x = torch.randn((32, 2), generator=torch.Generator().manual_seed(1))
>>> y = x[:, :1] * x[:, 1:]
>>> optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
>>> for _ in range(200):
...     optimizer.zero_grad()
...     cost = nn.functional.mse_loss(net(x), y)
...     cost.backward()
...     optimizer.step()
>>> cost.item() < 0.01
True
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
)
from ._layer import (
    Layer,
    Options,
    Parallel,
    Residual,
    Sequence,
    Shape,
    check_initializer,
    fed,
    initial_weights,
    layer_values,
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


class Dense(Layer):
    """See :func:`dense`. ``W: (units, n_in)``, ``b: (units,)``."""

    units: int
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
        if len(shape) < 1:
            self.refuse(shape, "(..., n)")
        return (*shape[:-1], self.units)

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        weights = (self.units, shape[-1])
        drawn = initial_weights(self.initializer, self.initializer_options, generator, weights, dtype)
        return {"W": drawn, "b": torch.zeros(self.units, dtype=dtype)}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.built_for(x)
        return F.linear(x, self.W, self.b)  # (m, ..., units)


def dense(
    units: int,
    *,
    bias: bool = True,
    initializer: str = "he_normal",
    initializer_options: Options | None = None,
) -> Layer:
    """``y = x W^T + b`` on the last axis of ``x: (m, ..., n_in)``; ``W: (units, n_in)``, ``b: (units,)``.

    ``nn.Linear`` is the same layer and starts from ``U(-1/sqrt(n_in), 1/sqrt(n_in))``, its bias too. Raises ValueError
    for arguments that do not fit, as every function here.
    """
    check_positive_integer("units", units)
    check_flags(bias=bias)
    options = check_initializer("initializer", initializer, initializer_options)
    return Dense(units=units, bias=bias, initializer=initializer, initializer_options=options)


class Activation(Layer):
    """See :func:`activation`."""

    name: str
    options: Options

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return activations.ACTIVATIONS[self.name](x, **self.options)


def activation(name: str, *, options: Options | None = None) -> Layer:
    """``y = f(x)``, ``f`` the function ``name`` of ``activations.ACTIVATIONS`` with the keywords ``options``."""
    check_choice("name", name, tuple(activations.ACTIVATIONS))
    options = dict(options or {})
    activations.ACTIVATIONS[name](torch.ones(1, 1), **options)
    return Activation(name=name, options=options)


class Dropout(Layer):
    """See :func:`dropout`."""

    keep_probability: float
    draws_mask = True

    def draw(self, generator: torch.Generator | None, examples: int, shape: Shape) -> dict[str, Tensor]:
        device = None if generator is None else generator.device
        return {"mask": torch.rand((examples, *shape), generator=generator, device=device) < self.keep_probability}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        kept = self._drawn.get("mask")
        if kept is not None:
            kept = torch.as_tensor(kept, device=x.device)
            if kept.shape != x.shape:
                raise ValueError(f"drawn 'mask' has shape {tuple(kept.shape)}: must be {tuple(x.shape)}")
        elif self.training:
            kept = torch.rand(x.shape, device=x.device) < self.keep_probability
        else:
            return x
        return regularizers.inverted_dropout(x, kept, keep_probability=self.keep_probability)


def dropout(keep_probability: float) -> Layer:
    """Inverted dropout, ``x mask / keep_probability``, in training mode; ``x`` itself in eval mode.

    ``nn.Dropout`` is the same layer and takes the probability to drop. :func:`fed` gives masks instead of drawn ones.
    """
    check_keep_probability(keep_probability)
    return Dropout(keep_probability=float(keep_probability))


class Flatten(Layer):
    """See :func:`flatten`."""

    order: str
    passes_mask = False

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.order == "channels_first" and x.ndim > 2:
            x = x.movedim(-1, 1)
        return x.flatten(1)


def flatten(*, order: str = "channels_last") -> Layer:
    """Each example as one vector; ``"channels_first"``: ``(h, w, c)`` as ``nn.Flatten`` does ``(c, h, w)``."""
    check_choice("order", order, ("channels_last", "channels_first"))
    return Flatten(order=order)


class Reshape(Layer):
    """See :func:`reshape`."""

    shape: Shape
    passes_mask = False

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape) != math.prod(self.shape):
            self.refuse(shape, f"of {math.prod(self.shape)} numbers")
        return self.shape

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x.reshape(len(x), *self.output_shape(x.shape[1:]))


def reshape(shape: Shape) -> Layer:
    """Each example with another ``shape``, a tuple of sizes, row by row; ``nn.Unflatten(1, shape)`` of a vector."""
    return Reshape(shape=check_sizes("shape", shape, range(1, 33), "a tuple of integers >= 1"))


class Embedding(Layer):
    """See :func:`embedding`. ``W: (entries, units)``."""

    entries: int
    units: int
    initializer: str
    initializer_options: Options
    mask_zero: bool
    parameter_names = ("W",)
    W: Tensor

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        return _both(x != 0, mask) if self.mask_zero else mask

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) > 1:
            self.refuse(shape, "() or (t,)")
        return (*shape, self.units)

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        weights = (self.entries, self.units)
        return {"W": initial_weights(self.initializer, self.initializer_options, generator, weights, dtype)}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            raise ValueError(f"x has dtype {x.dtype}: must be integers")
        self.built_for(x)
        try:
            return F.embedding(x.long(), self.W)  # (m, ..., units)
        except IndexError:  # on the CPU; a GPU says it later, in its own way
            entries = f"{x.min()} .. {x.max()}"
        raise ValueError(f"x has entries in {entries}: must be in 0 .. {self.entries - 1}")


def embedding(
    entries: int,
    units: int,
    *,
    initializer: str = "scaled_normal",
    initializer_options: Options | None = None,
    mask_zero: bool = False,
) -> Layer:
    """``y = W[x]: (m, t, units)`` of integers ``x: (m, t)`` from 0; ``W: (entries, units)``.

    ``initializer_options`` None: ``{"scale": 1.0}`` for ``"scaled_normal"``; so does ``nn.Embedding`` start. A forward
    pass on the CPU raises ValueError for an index out of range. ``mask_zero``: for what follows, steps at which the
    integer is 0 are not there; row 0 stays an entry like any other, where ``padding_idx`` of ``nn.Embedding`` keeps its
    gradient at 0 and masks nothing.
    """
    check_positive_integer("entries", entries)
    check_positive_integer("units", units)
    if initializer == "scaled_normal" and initializer_options is None:
        initializer_options = {"scale": 1.0}
    options = check_initializer("initializer", initializer, initializer_options)
    check_flags(mask_zero=mask_zero)
    return Embedding(
        entries=entries, units=units, initializer=initializer, initializer_options=options, mask_zero=mask_zero
    )


class Masking(Layer):
    """See :func:`masking`."""

    value: float

    def next_mask(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        return _both(self._there(x), mask)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            self.refuse(shape, "(t, n)")
        return tuple(shape)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.output_shape(x.shape[1:])
        return x.masked_fill(~self._there(x)[..., None], 0)

    def _there(self, x: Tensor) -> Tensor:
        return (x != self.value).any(dim=-1)  # (m, t)


def masking(value: float = 0.0) -> Layer:
    """A step of ``x: (m, t, n)`` all of whose features are ``value`` is not there: 0, and masked for what follows.

    PyTorch has no such layer; Keras's ``Masking`` is. Raises ValueError unless ``value`` is a finite number.

    >>> masking(9.0)(torch.tensor([[[1.0], [9.0]]]))
    tensor([[[1.],
             [0.]]])
    """
    check_finite("value", value)
    return Masking(value=float(value))


class _Norm(Layer):
    """What normalisations have in common: scales ``gamma`` and shifts ``beta`` along the last axis."""

    epsilon: float
    parameter_names = ("gamma", "beta")
    gamma: Tensor
    beta: Tensor

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 1:
            self.refuse(shape, "(..., n)")
        return tuple(shape)

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        return {"gamma": torch.ones(shape[-1], dtype=dtype), "beta": torch.zeros(shape[-1], dtype=dtype)}


class BatchNorm(_Norm):
    """See :func:`batch_norm`. ``gamma, beta: (n,)``; buffers ``running_mean, running_variance: (n,)``."""

    averaging: Options
    buffer_names = ("running_mean", "running_variance")
    running_mean: Tensor
    running_variance: Tensor

    def initial_values(self, generator: torch.Generator | None, shape: Shape, dtype: torch.dtype) -> dict[str, Tensor]:
        values = super().initial_values(generator, shape, dtype)
        running = {"running_mean": values["beta"].clone(), "running_variance": values["gamma"].clone()}  # 0 and 1
        return values | running

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.built_for(x)
        statistics = self.running_mean, self.running_variance
        if self.training:
            statistics = normalization.batch_statistics(x)
            self.note(batch_mean=statistics[0], batch_variance=statistics[1])
            if self._averages_move:
                self.update(statistics, x[..., 0].numel())
        return normalization.batch_norm(x, self.gamma, self.beta, *statistics, epsilon=self.epsilon)

    @torch.no_grad()
    def update(self, batch: tuple[Tensor, Tensor], examples: int) -> None:
        """Take a batch's ``(mean, variance)``, over so many ``examples``, into the running averages."""
        running = self.running_mean, self.running_variance
        averages = normalization.running_average(running, batch, examples, **self.averaging)
        for kept, average in zip(running, averages, strict=True):
            kept.copy_(average)


def batch_norm(*, epsilon: float = 1e-5, momentum: float = 0.9, running_variance: str = "biased") -> Layer:
    """``gamma (x - mu) / sqrt(v + epsilon) + beta``, mean and variance over all axes but the last.

    In training mode they are the batch's, and move the running ones by ``normalization.running_average``; in eval mode
    they are the running ones. ``nn.BatchNorm1d`` and ``2d`` are ``running_variance="unbiased"``, with 1 - ``momentum``
    for momentum, the units on the second axis, and no batch of one value.
    """
    check_not_negative("epsilon", epsilon)
    check_decay("momentum", momentum)
    check_choice("running_variance", running_variance, ("biased", "unbiased"))
    return BatchNorm(epsilon=epsilon, averaging={"momentum": momentum, "running_variance": running_variance})


class LayerNorm(_Norm):
    """See :func:`layer_norm`. ``gamma, beta: (n,)``."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.built_for(x)
        return normalization.layer_norm(x, self.gamma, self.beta, epsilon=self.epsilon)


def layer_norm(*, epsilon: float = 1e-5) -> Layer:
    """``gamma (x - mu) / sqrt(v + epsilon) + beta``, mean and variance over the last axis; ``nn.LayerNorm(n)``."""
    check_not_negative("epsilon", epsilon)
    return LayerNorm(epsilon=epsilon)


def sequence(*layers: nn.Module) -> Sequence:
    """One layer after the other; the ``i``-th has the path ``"i."``, from 1. The mask goes as far as there are steps.

    An ``nn.Sequential`` in all else. Raises ValueError unless all are modules, at least one.

    >>> sequence(dense(4), nn.ReLU(), dense(2)).output_shape((3,))
    (2,)
    """
    return Sequence(*_check_layers(layers))


def residual(layer: nn.Module) -> Layer:
    """``y = x + layer(x)``, with the names of ``layer`` itself. Raises ValueError unless it is a module."""
    return Residual(*_check_layers((layer,)))


def parallel(*layers: nn.Module, join: str = "sum") -> Layer:
    """Branches on the same input, their outputs summed, or joined along the last axis (``join="concatenate"``).

    Paths as in :func:`sequence`. Raises ValueError unless all are modules, at least one, and for an unknown ``join``.
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


def _check_layers(layers: tuple[Any, ...]) -> tuple[nn.Module, ...]:
    if not layers or not all(isinstance(layer, nn.Module) for layer in layers):
        raise ValueError(f"layers={layers!r} is not allowed: must be layers, at least one")
    return layers


def _both(there: Tensor, mask: Tensor | None) -> Tensor:
    return there if mask is None else there & mask
