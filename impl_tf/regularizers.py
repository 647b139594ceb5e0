"""Regularizers: weight penalties, inverted dropout, gradient clipping, max-norm, early stopping, data augmentation.

What training compiles in (penalties, clippings, constraints, augmentations) are frozen data classes: equal settings
are equal objects, so that they share one compiled function.
"""

import math
from dataclasses import dataclass
from numbers import Integral

import tensorflow as tf

CONVENTIONS = ("course", "half", "full")


@dataclass(frozen=True)
class Penalty:
    """A term of the cost: ``penalty(weights, examples)`` is a scalar, and automatic differentiation does the rest."""

    strength: float
    l1_ratio: float
    convention: str

    def __call__(self, weights, examples):
        factors = {"course": self.strength / (2 * examples), "half": self.strength / 2, "full": self.strength}
        absolute = tf.add_n([tf.reduce_sum(tf.abs(w)) for w in weights]) if self.l1_ratio > 0 else 0.0
        squared = tf.add_n([tf.reduce_sum(tf.square(w)) for w in weights]) if self.l1_ratio < 1 else 0.0
        return factors[self.convention] * (self.l1_ratio * absolute + (1 - self.l1_ratio) * squared)


def l2(strength, *, convention="course"):
    """``strength/(2m) sum_l ||W[l]||_F^2``; the factor is ``strength/2`` for ``"half"``, ``strength`` for ``"full"``.

    Returns a :class:`Penalty`. ``m`` is the size of the batch. "full" is Keras's ``L2``.
    """
    return elastic_net(strength, l1_ratio=0.0, convention=convention)


def l1(strength, *, convention="course"):
    """``factor sum_l sum |W[l]|``, ``factor`` as in :func:`l2`; the derivative of ``tf.abs`` at 0 is 0, as wanted."""
    return elastic_net(strength, l1_ratio=1.0, convention=convention)


def elastic_net(strength, *, l1_ratio=0.5, convention="course"):
    """``factor (l1_ratio sum |W| + (1 - l1_ratio) sum W^2)``, biases excepted; ``factor`` as in :func:`l2`."""
    _check_not_negative("strength", strength)
    _check_fraction("l1_ratio", l1_ratio)
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")
    return Penalty(strength, l1_ratio, convention)


def dropout_mask(generator, shape, *, keep_probability):
    """Which units are kept: booleans of ``shape = (m, n_l)``, each True with ``keep_probability``, independently."""
    _check_keep_probability(keep_probability)
    return generator.uniform(shape) < keep_probability


def inverted_dropout(activations, mask, *, keep_probability):
    """``a * mask / keep_probability``; both ``(m, n_l)``. ``tf.nn.dropout`` draws the mask and takes ``1 - keep``."""
    _check_keep_probability(keep_probability)
    return activations * tf.cast(mask, activations.dtype) / keep_probability


@dataclass(frozen=True)
class _ClipByValue:
    limit: float

    def __call__(self, gradients):
        return {name: tf.clip_by_value(g, -self.limit, self.limit) for name, g in gradients.items()}


def clip_by_value(limit):
    """Every element of every gradient into ``[-limit, limit]``; returns ``clip(gradients) -> gradients``, on dicts."""
    _check_positive("limit", limit)
    return _ClipByValue(limit)


@dataclass(frozen=True)
class _ClipByNorm:
    limit: float

    def __call__(self, gradients):
        return {name: _shrunk(g, tf.sqrt(tf.reduce_sum(g * g)), self.limit) for name, g in gradients.items()}


def clip_by_norm(limit):
    """Each gradient by itself to a Euclidean norm of at most ``limit``: ``g limit / max(||g||, limit)``, on dicts.

    ``tf.clip_by_norm`` multiplies and divides even within the limit, which can change the last bit.
    """
    _check_positive("limit", limit)
    return _ClipByNorm(limit)


@dataclass(frozen=True)
class _ClipByGlobalNorm:
    limit: float

    def __call__(self, gradients):
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(g * g) for g in gradients.values()]))
        return {name: _shrunk(g, norm, self.limit) for name, g in gradients.items()}


def clip_by_global_norm(limit):
    """All gradients by one factor, so that the Euclidean norm over all of them is at most ``limit``; on dicts.

    ``tf.clip_by_global_norm`` makes every gradient NaN if one element is infinite, and rounds within the limit.
    """
    _check_positive("limit", limit)
    return _ClipByGlobalNorm(limit)


@dataclass(frozen=True)
class _MaxNorm:
    limit: float

    def __call__(self, parameters):
        return {name: self.constrained(w) if name.startswith("W") else w for name, w in parameters.items()}

    def constrained(self, w):
        return _shrunk(w, tf.sqrt(tf.reduce_sum(w * w, axis=1, keepdims=True)), self.limit)


def max_norm(limit):
    """After a step, row ``j`` of ``W[l]`` becomes ``w_j limit / max(||w_j||, limit)``; on dicts, biases excepted.

    Returns ``constrain(parameters) -> parameters``. Keras's constraint shrinks rows within the limit a little.
    """
    _check_positive("limit", limit)
    return _MaxNorm(limit)


class EarlyStopping:
    """Decides after each epoch whether to go on; made by :func:`early_stopping`. ``best_epoch`` counts from 1."""

    def __init__(self, patience, min_delta, restore_best):
        self.patience, self.min_delta, self.restore_best = patience, min_delta, restore_best
        self.best_cost, self.best_epoch, self.epoch = float("inf"), 0, 0

    def improved(self, cost):
        """Take in the validation cost of the next epoch; is it the best by more than ``min_delta``?"""
        self.epoch += 1
        if not cost < self.best_cost - self.min_delta:
            return False
        self.best_cost, self.best_epoch = cost, self.epoch
        return True

    @property
    def stop(self):
        """Whether ``patience`` epochs have gone by since the best one."""
        return self.epoch - self.best_epoch >= self.patience


def early_stopping(*, patience=5, min_delta=0.0, restore_best=True):
    """Stop when the validation cost has not improved by more than ``min_delta`` for ``patience`` epochs.

    With ``restore_best`` training ends with the parameters of the best epoch (and its running statistics), else with
    the last. Returns a fresh :class:`EarlyStopping`; it is asked between epochs, outside compiled code.
    """
    if not (isinstance(patience, int) and patience >= 1):
        raise ValueError(f"patience={patience!r} is not allowed: must be an integer >= 1")
    _check_not_negative("min_delta", min_delta)
    if restore_best not in (True, False):
        raise ValueError(f"restore_best={restore_best!r} is not allowed: must be True or False")
    return EarlyStopping(patience, min_delta, restore_best)


class Augmentation:
    """A random change of the inputs, in two parts, so that what is drawn can be kept.

    ``draw(generator, examples, features)`` gives a tensor whose first axis is the examples; ``apply(x, drawn)``, with
    ``x: (m, n_0)``, one of ``x``'s shape and dtype.
    """


@dataclass(frozen=True)
class _RandomFlip(Augmentation):
    image_shape: tuple
    probability: float

    def draw(self, generator, examples, features):
        return generator.uniform([examples]) < self.probability

    def apply(self, x, flips):
        images = tf.reshape(x, (-1, *self.image_shape))
        flips = tf.reshape(flips, (-1, *(1,) * len(self.image_shape)))
        return tf.reshape(tf.where(flips, tf.reverse(images, axis=[2]), images), x.shape)


def random_flip(image_shape, *, probability=0.5):
    """Images flipped left to right, each with ``probability``. Draws booleans ``(m,)``.

    ``image_shape``: ``(h, w)`` or ``(h, w, channels)``; rows of ``x`` are images flattened in C order.
    """
    shape = _check_image_shape(image_shape)
    _check_fraction("probability", probability)
    return _RandomFlip(shape, probability)


@dataclass(frozen=True)
class _RandomShift(Augmentation):
    image_shape: tuple
    largest: int

    def draw(self, generator, examples, features):
        return generator.uniform([examples, 2], -self.largest, self.largest + 1, dtype=tf.int32)

    def apply(self, x, offsets):
        offsets = self.largest + tf.cast(offsets, tf.int32)
        images = tf.reshape(x, (-1, *self.image_shape))
        border = [(0, 0), (self.largest, self.largest), (self.largest, self.largest), (0, 0)]
        padded = tf.pad(images, border[: len(images.shape)])
        height, width = self.image_shape[:2]
        rows = tf.gather(padded, offsets[:, :1] + tf.range(height), axis=1, batch_dims=1)
        return tf.reshape(tf.gather(rows, offsets[:, 1:] + tf.range(width), axis=2, batch_dims=1), x.shape)


def random_shift(image_shape, *, largest=1):
    """Images padded with ``largest`` zeros on every side and cropped back at a random place.

    Draws integers ``(m, 2)``, uniform in ``-largest .. largest``: pixel ``(i, j)`` of the result is pixel ``(i + d_1,
    j + d_2)`` of the image, 0 beyond its border. ``image_shape`` as in :func:`random_flip`.
    """
    shape = _check_image_shape(image_shape)
    if not (isinstance(largest, int) and largest >= 1):
        raise ValueError(f"largest={largest!r} is not allowed: must be an integer >= 1")
    return _RandomShift(shape, largest)


@dataclass(frozen=True)
class _GaussianNoise(Augmentation):
    scale: float

    def draw(self, generator, examples, features):
        return generator.normal([examples, features], dtype=tf.float64)

    def apply(self, x, noise):
        return tf.cast(tf.cast(x, noise.dtype) + self.scale * noise, x.dtype)


def gaussian_noise(*, scale=0.1):
    """``x + scale n``, ``n`` standard normal, drawn anew for every visit. Draws ``n: (m, n_0)``, in float64."""
    _check_not_negative("scale", scale)
    return _GaussianNoise(scale)


PENALTIES = {"l2": l2, "l1": l1, "elastic_net": elastic_net}
CLIPPINGS = {"clip_by_value": clip_by_value, "clip_by_norm": clip_by_norm, "clip_by_global_norm": clip_by_global_norm}
CONSTRAINTS = {"max_norm": max_norm}
AUGMENTATIONS = {"random_flip": random_flip, "random_shift": random_shift, "gaussian_noise": gaussian_noise}
REGULARIZERS = {
    **PENALTIES,
    "inverted_dropout": inverted_dropout,
    **CLIPPINGS,
    **CONSTRAINTS,
    "early_stopping": early_stopping,
    **AUGMENTATIONS,
}


def _shrunk(tensor, norm, limit):
    return tensor * (limit / tf.maximum(norm, limit))


def _check_image_shape(shape):
    if len(shape) not in (2, 3) or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(f"image_shape={shape!r} is not allowed: must be (h, w) or (h, w, channels), positive integers")
    return tuple(shape)


def _check_keep_probability(keep_probability):
    if not 0 < keep_probability <= 1:
        raise ValueError(f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1]")


def _check_not_negative(name, value):
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")


def _check_positive(name, value):
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number > 0")


def _check_fraction(name, value):
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1]")
