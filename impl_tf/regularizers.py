"""Regularizers: weight penalties, inverted dropout, gradient clipping, max-norm, early stopping, data augmentation.

What training compiles in (penalties, clippings, constraints, augmentations) are frozen data classes: equal settings
are equal objects, so that they share one compiled function.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ._common import (
    EarlyStopping,
    check_fraction,
    check_image_shape,
    check_keep_probability,
    check_not_negative,
    check_positive,
    check_positive_integer,
    is_weight,
)

Tensors = dict[str, tf.Tensor]  # parameters, or their gradients, by name

CONVENTIONS = ("course", "half", "full")


@dataclass(frozen=True)
class Penalty:
    """A term of the cost: ``penalty(weights, examples)`` is a scalar, and automatic differentiation does the rest."""

    strength: float
    l1_ratio: float
    convention: str

    def __call__(self, weights: Sequence[tf.Tensor], examples: int) -> tf.Tensor:
        factors = {"course": self.strength / (2 * examples), "half": self.strength / 2, "full": self.strength}
        absolute = tf.add_n([tf.reduce_sum(tf.abs(w)) for w in weights]) if self.l1_ratio > 0 else 0.0
        squared = tf.add_n([tf.reduce_sum(tf.square(w)) for w in weights]) if self.l1_ratio < 1 else 0.0
        return factors[self.convention] * (self.l1_ratio * absolute + (1 - self.l1_ratio) * squared)


def l2(strength: float, *, convention: str = "course") -> Penalty:
    """``strength/(2m) sum_l ||W[l]||_F^2``; the factor is ``strength/2`` for ``"half"``, ``strength`` for ``"full"``.

    Returns a :class:`Penalty`. ``m`` is the size of the batch. "full" is Keras's ``L2``.
    """
    return elastic_net(strength, l1_ratio=0.0, convention=convention)


def l1(strength: float, *, convention: str = "course") -> Penalty:
    """``factor sum_l sum |W[l]|``, ``factor`` as in :func:`l2`; the derivative of ``tf.abs`` at 0 is 0, as wanted."""
    return elastic_net(strength, l1_ratio=1.0, convention=convention)


def elastic_net(strength: float, *, l1_ratio: float = 0.5, convention: str = "course") -> Penalty:
    """``factor (l1_ratio sum |W| + (1 - l1_ratio) sum W^2)``, biases excepted; ``factor`` as in :func:`l2`."""
    check_not_negative("strength", strength)
    check_fraction("l1_ratio", l1_ratio)
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")
    return Penalty(strength, l1_ratio, convention)


def dropout_mask(generator: tf.random.Generator, shape: tuple[Any, ...], *, keep_probability: float) -> tf.Tensor:
    """Which units are kept: booleans of ``shape = (m, n_l)``, each True with ``keep_probability``, independently."""
    check_keep_probability(keep_probability)
    return generator.uniform(shape) < keep_probability


def inverted_dropout(activations: tf.Tensor, mask: tf.Tensor, *, keep_probability: float) -> tf.Tensor:
    """``a * mask / keep_probability``; both ``(m, n_l)``. ``tf.nn.dropout`` draws the mask and takes ``1 - keep``."""
    check_keep_probability(keep_probability)
    return activations * tf.cast(mask, activations.dtype) / keep_probability


@dataclass(frozen=True)
class _ClipByValue:
    limit: float

    def __call__(self, gradients: Tensors) -> Tensors:
        return {name: tf.clip_by_value(g, -self.limit, self.limit) for name, g in gradients.items()}


def clip_by_value(limit: float) -> Callable[[Tensors], Tensors]:
    """Every element of every gradient into ``[-limit, limit]``; returns ``clip(gradients) -> gradients``, on dicts."""
    check_positive("limit", limit)
    return _ClipByValue(limit)


@dataclass(frozen=True)
class _ClipByNorm:
    limit: float

    def __call__(self, gradients: Tensors) -> Tensors:
        return {name: _shrunk(g, tf.sqrt(tf.reduce_sum(g * g)), self.limit) for name, g in gradients.items()}


def clip_by_norm(limit: float) -> Callable[[Tensors], Tensors]:
    """Each gradient by itself to a Euclidean norm of at most ``limit``: ``g limit / max(||g||, limit)``, on dicts.

    ``tf.clip_by_norm`` multiplies and divides even within the limit, which can change the last bit.
    """
    check_positive("limit", limit)
    return _ClipByNorm(limit)


@dataclass(frozen=True)
class _ClipByGlobalNorm:
    limit: float

    def __call__(self, gradients: Tensors) -> Tensors:
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(g * g) for g in gradients.values()]))
        return {name: _shrunk(g, norm, self.limit) for name, g in gradients.items()}


def clip_by_global_norm(limit: float) -> Callable[[Tensors], Tensors]:
    """All gradients by one factor, so that the Euclidean norm over all of them is at most ``limit``; on dicts.

    ``tf.clip_by_global_norm`` makes every gradient NaN if one element is infinite, and rounds within the limit.
    """
    check_positive("limit", limit)
    return _ClipByGlobalNorm(limit)


@dataclass(frozen=True)
class _MaxNorm:
    limit: float

    def __call__(self, parameters: Tensors) -> Tensors:
        return {name: self.by_rows(w) if is_weight(name) else w for name, w in parameters.items()}

    def by_rows(self, w: tf.Tensor) -> tf.Tensor:
        if w.shape.rank == 2:
            return self.constrained(w)
        return tf.reshape(self.constrained(tf.reshape(w, (w.shape[0], -1))), w.shape)

    def constrained(self, w: tf.Tensor) -> tf.Tensor:
        return _shrunk(w, tf.sqrt(tf.reduce_sum(w * w, axis=1, keepdims=True)), self.limit)


def max_norm(limit: float) -> Callable[[Tensors], Tensors]:
    """After a step, row ``j`` of ``W[l]`` becomes ``w_j limit / max(||w_j||, limit)``; on dicts, biases excepted.

    A row is all that lies along the first axis. Returns ``constrain(parameters) -> parameters``. Keras's constraint
    shrinks rows within the limit a little.
    """
    check_positive("limit", limit)
    return _MaxNorm(limit)


def early_stopping(*, patience: int = 5, min_delta: float = 0.0, restore_best: bool = True) -> EarlyStopping:
    """Stop when the validation cost has not improved by more than ``min_delta`` for ``patience`` epochs.

    With ``restore_best`` training ends with the parameters of the best epoch (and its running statistics), else with
    the last. Returns a fresh ``_common.EarlyStopping``; it is asked between epochs, outside compiled code.
    """
    check_positive_integer("patience", patience)
    check_not_negative("min_delta", min_delta)
    if restore_best not in (True, False):
        raise ValueError(f"restore_best={restore_best!r} is not allowed: must be True or False")
    return EarlyStopping(patience, min_delta, restore_best)


class Augmentation(ABC):
    """A random change of the inputs, in two parts, so that what is drawn can be kept.

    ``draw(generator, examples, features)`` gives a tensor whose first axis is the examples; ``apply(x, drawn)``, with
    ``x: (m, n_0)``, one of ``x``'s shape and dtype.
    """

    @abstractmethod
    def draw(self, generator: tf.random.Generator, examples: int, features: int) -> tf.Tensor:
        """What is drawn for each of the ``examples``."""

    @abstractmethod
    def apply(self, x: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        """``x`` changed as ``drawn`` says."""


@dataclass(frozen=True)
class _RandomFlip(Augmentation):
    image_shape: tuple[int, ...]
    probability: float

    def draw(self, generator: tf.random.Generator, examples: int, features: int) -> tf.Tensor:
        return generator.uniform([examples]) < self.probability

    def apply(self, x: tf.Tensor, flips: tf.Tensor) -> tf.Tensor:
        images = tf.reshape(x, (-1, *self.image_shape))
        flips = tf.reshape(flips, (-1, *(1,) * len(self.image_shape)))
        return tf.reshape(tf.where(flips, tf.reverse(images, axis=[2]), images), x.shape)


def random_flip(image_shape: Sequence[int], *, probability: float = 0.5) -> Augmentation:
    """Images flipped left to right, each with ``probability``. Draws booleans ``(m,)``.

    ``image_shape``: ``(h, w)`` or ``(h, w, channels)``; rows of ``x`` are images flattened in C order.
    """
    shape = check_image_shape(image_shape)
    check_fraction("probability", probability)
    return _RandomFlip(shape, probability)


@dataclass(frozen=True)
class _RandomShift(Augmentation):
    image_shape: tuple[int, ...]
    largest: int

    def draw(self, generator: tf.random.Generator, examples: int, features: int) -> tf.Tensor:
        return generator.uniform([examples, 2], -self.largest, self.largest + 1, dtype=tf.int32)

    def apply(self, x: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
        offsets = self.largest + tf.cast(offsets, tf.int32)
        images = tf.reshape(x, (-1, *self.image_shape))
        border = [(0, 0), (self.largest, self.largest), (self.largest, self.largest), (0, 0)]
        padded = tf.pad(images, border[: len(images.shape)])
        height, width = self.image_shape[:2]
        rows = tf.gather(padded, offsets[:, :1] + tf.range(height), axis=1, batch_dims=1)
        return tf.reshape(tf.gather(rows, offsets[:, 1:] + tf.range(width), axis=2, batch_dims=1), x.shape)


def random_shift(image_shape: Sequence[int], *, largest: int = 1) -> Augmentation:
    """Images padded with ``largest`` zeros on every side and cropped back at a random place.

    Draws integers ``(m, 2)``, uniform in ``-largest .. largest``: pixel ``(i, j)`` of the result is pixel ``(i + d_1,
    j + d_2)`` of the image, 0 beyond its border. ``image_shape`` as in :func:`random_flip`.
    """
    shape = check_image_shape(image_shape)
    check_positive_integer("largest", largest)
    return _RandomShift(shape, largest)


@dataclass(frozen=True)
class _GaussianNoise(Augmentation):
    scale: float

    def draw(self, generator: tf.random.Generator, examples: int, features: int) -> tf.Tensor:
        return generator.normal([examples, features], dtype=tf.float64)

    def apply(self, x: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.cast(x, noise.dtype) + self.scale * noise, x.dtype)


def gaussian_noise(*, scale: float = 0.1) -> Augmentation:
    """``x + scale n``, ``n`` standard normal, drawn anew for every visit. Draws ``n: (m, n_0)``, in float64."""
    check_not_negative("scale", scale)
    return _GaussianNoise(scale)


PENALTIES: dict[str, Callable[..., Penalty]] = {"l2": l2, "l1": l1, "elastic_net": elastic_net}
CLIPPINGS: dict[str, Callable[[float], Callable[[Tensors], Tensors]]] = {
    "clip_by_value": clip_by_value,
    "clip_by_norm": clip_by_norm,
    "clip_by_global_norm": clip_by_global_norm,
}
CONSTRAINTS: dict[str, Callable[[float], Callable[[Tensors], Tensors]]] = {"max_norm": max_norm}
AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "random_flip": random_flip,
    "random_shift": random_shift,
    "gaussian_noise": gaussian_noise,
}
REGULARIZERS: dict[str, Callable[..., object]] = {
    **PENALTIES,
    "inverted_dropout": inverted_dropout,
    **CLIPPINGS,
    **CONSTRAINTS,
    "early_stopping": early_stopping,
    **AUGMENTATIONS,
}


def _shrunk(tensor: tf.Tensor, norm: tf.Tensor, limit: float) -> tf.Tensor:
    return tensor * (limit / tf.maximum(norm, limit))
