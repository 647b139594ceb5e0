"""Regularizers: weight penalties, inverted dropout, gradient clipping, max-norm, early stopping, data augmentation.

Label smoothing is a keyword of the cross-entropies, batch normalisation a part of the model, decoupled weight decay a
part of the optimizer (``adamw``, ``lion``). What these functions return is immutable and hashed by value, so that equal
ones are compiled only once; but an :class:`EarlyStopping` counts, on the host.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from numpy.typing import NDArray

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

Array: TypeAlias = jax.Array | NDArray

CONVENTIONS = ("course", "half", "full")


@dataclass(frozen=True)
class Penalty:
    """A term of the cost that depends on the weights alone; called with them and the number of examples, a scalar."""

    strength: float
    l1_ratio: float
    convention: str

    def __call__(self, weights: Sequence[Array], examples: int) -> jax.Array | float:
        factor = {
            "course": self.strength / (2 * examples),
            "half": self.strength / 2,
            "full": self.strength,
        }[self.convention]
        # w sign(w) has the derivative sign(w), 0 at 0; that of jnp.abs is 1 there.
        absolute = sum(jnp.sum(w * jnp.sign(w)) for w in weights) if self.l1_ratio > 0 else 0.0
        squared = sum(jnp.sum(w * w) for w in weights) if self.l1_ratio < 1 else 0.0
        return factor * (self.l1_ratio * absolute + (1 - self.l1_ratio) * squared)


def l2(strength: float, *, convention: str = "course") -> Penalty:
    """``strength/(2m) sum_l ||W[l]||_F^2`` (``"course"``), biases excepted.

    ``"half"`` has ``strength/2`` and ``"full"`` ``strength`` in the place of ``strength/(2m)``.

    Returns a :class:`Penalty`: called with a list of weights ``(n_l, n_{l-1})`` and the number of examples ``m`` of the
    batch, it gives a scalar. ``optax.add_decayed_weights`` adds the gradient of ``"half"``, to biases too unless
    masked. Raises ValueError if ``strength`` is negative or not finite, or ``convention`` unknown.
    """
    return elastic_net(strength, l1_ratio=0.0, convention=convention)


def l1(strength: float, *, convention: str = "course") -> Penalty:
    """``factor sum_l sum |W[l]|``, biases excepted, its gradient ``factor sign(W)`` with ``sign(0) = 0``.

    ``factor`` is ``strength/(2m)``, ``strength/2`` or ``strength``, as in :func:`l2`. Returns a :class:`Penalty`.
    Raises ValueError as :func:`l2`.
    """
    return elastic_net(strength, l1_ratio=1.0, convention=convention)


def elastic_net(strength: float, *, l1_ratio: float = 0.5, convention: str = "course") -> Penalty:
    """``factor (l1_ratio sum |W| + (1 - l1_ratio) sum W^2)``, biases excepted; ``factor`` as in :func:`l1`.

    Returns a :class:`Penalty`. Raises ValueError as :func:`l2`, and unless ``0 <= l1_ratio <= 1``.
    """
    check_not_negative("strength", strength)
    check_fraction("l1_ratio", l1_ratio)
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")
    return Penalty(float(strength), float(l1_ratio), convention)


def dropout_mask(key: jax.Array, shape: tuple[int, ...], *, keep_probability: float) -> jax.Array:
    """Which units are kept: booleans of ``shape``, as ``(m, n_l)``, each True with ``keep_probability``, independently.

    ``key``: a PRNG key. Raises ValueError unless ``0 < keep_probability <= 1``.
    """
    check_keep_probability(keep_probability)
    return jax.random.bernoulli(key, float(keep_probability), shape)


def inverted_dropout(activations: jax.Array, mask: Array, *, keep_probability: float) -> jax.Array:
    """``a * mask / keep_probability``: dropped units give 0, kept ones are scaled so that the expectation stays.

    ``activations`` and ``mask``: ``(m, n_l)``. JAX has no built-in. Raises ValueError unless ``0 < keep_probability <=
    1``.
    """
    check_keep_probability(keep_probability)
    return activations * mask / float(keep_probability)


@dataclass(frozen=True)
class ClipByValue:
    """The clipping that :func:`clip_by_value` makes."""

    limit: float

    def __call__(self, gradients: Any) -> Any:
        return jax.tree.map(lambda g: jnp.clip(g, -self.limit, self.limit), gradients)


def clip_by_value(limit: float) -> ClipByValue:
    """Every element of every gradient into ``[-limit, limit]``: ``optax.clip``.

    Returns ``clip(gradients) -> gradients``, on any tree of arrays. Raises ValueError unless ``limit`` is positive and
    finite.
    """
    check_positive("limit", limit)
    return ClipByValue(float(limit))


@dataclass(frozen=True)
class ClipByNorm:
    """The clipping that :func:`clip_by_norm` makes."""

    limit: float

    def __call__(self, gradients: Any) -> Any:
        return jax.tree.map(lambda g: _shrunk(g, jnp.sqrt(jnp.sum(g * g)), self.limit), gradients)


def clip_by_norm(limit: float) -> ClipByNorm:
    """Each gradient by itself to a Euclidean norm of at most ``limit``: ``g limit / max(||g||, limit)``.

    A gradient within the limit is not changed. Returns ``clip(gradients) -> gradients``, on any tree of arrays. Raises
    ValueError as :func:`clip_by_value`.
    """
    check_positive("limit", limit)
    return ClipByNorm(float(limit))


@dataclass(frozen=True)
class ClipByGlobalNorm:
    """The clipping that :func:`clip_by_global_norm` makes."""

    limit: float

    def __call__(self, gradients: Any) -> Any:
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradients)))
        return jax.tree.map(lambda g: _shrunk(g, norm, self.limit), gradients)


def clip_by_global_norm(limit: float) -> ClipByGlobalNorm:
    """All gradients by one factor, so that the Euclidean norm over all of them is at most ``limit``.

    ``optax.clip_by_global_norm``, but for a last rounding. Returns ``clip(gradients) -> gradients``, on any tree of
    arrays. Raises ValueError as :func:`clip_by_value`.
    """
    check_positive("limit", limit)
    return ClipByGlobalNorm(float(limit))


@dataclass(frozen=True)
class MaxNorm:
    """The constraint that :func:`max_norm` makes."""

    limit: float

    def __call__(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        return {name: self._constrained(w) if is_weight(name) else w for name, w in parameters.items()}

    def _constrained(self, w: Array) -> jax.Array:
        w = jnp.asarray(w)
        return _shrunk(w, jnp.sqrt(jnp.sum(w * w, axis=tuple(range(1, w.ndim)), keepdims=True)), self.limit)


def max_norm(limit: float) -> MaxNorm:
    """After a step, the weights into each unit to a Euclidean norm of at most ``limit``; biases excepted.

    Row ``j`` of ``W[l]``, all that lies along its first axis, becomes ``w_j limit / max(||w_j||, limit)``. Returns
    ``constrain(parameters) -> parameters``, on dicts. Raises ValueError as :func:`clip_by_value`.
    """
    check_positive("limit", limit)
    return MaxNorm(float(limit))


def early_stopping(*, patience: int = 5, min_delta: float = 0.0, restore_best: bool = True) -> EarlyStopping:
    """Stop when the validation cost has not improved by more than ``min_delta`` for ``patience`` epochs.

    With ``restore_best`` training ends with the parameters of the best epoch (and its running statistics), else with
    the last. Returns a fresh :class:`EarlyStopping`. Raises ValueError unless ``patience`` is a positive integer and
    ``min_delta`` a finite number >= 0.
    """
    check_positive_integer("patience", patience)
    check_not_negative("min_delta", min_delta)
    if restore_best not in (True, False):
        raise ValueError(f"restore_best={restore_best!r} is not allowed: must be True or False")
    return EarlyStopping(patience, min_delta, restore_best)


@dataclass(frozen=True)
class RandomFlip:
    """The augmentation that :func:`random_flip` makes."""

    image_shape: tuple[int, ...]
    probability: float

    def draw(self, key: jax.Array, examples: int, features: int) -> jax.Array:
        return jax.random.bernoulli(key, self.probability, (examples,))

    def apply(self, x: Array, flips: Array) -> jax.Array:
        images = jnp.asarray(x).reshape(-1, *self.image_shape)
        flips = jnp.asarray(flips).reshape(-1, *(1,) * len(self.image_shape))
        return jnp.where(flips, images[:, :, ::-1], images).reshape(x.shape)


def random_flip(image_shape: Sequence[int], *, probability: float = 0.5) -> RandomFlip:
    """Images flipped left to right, each with ``probability``. Draws booleans ``(m,)``.

    ``image_shape``: ``(h, w)`` or ``(h, w, channels)``; rows of ``x`` are images flattened in C order. Returns an
    augmentation: ``draw(key, examples, features)`` and ``apply(x, drawn)``. Raises ValueError for another shape or a
    ``probability`` outside [0, 1].
    """
    shape = check_image_shape(image_shape)
    check_fraction("probability", probability)
    return RandomFlip(shape, float(probability))


@dataclass(frozen=True)
class RandomShift:
    """The augmentation that :func:`random_shift` makes."""

    image_shape: tuple[int, ...]
    largest: int

    def draw(self, key: jax.Array, examples: int, features: int) -> jax.Array:
        return jax.random.randint(key, (examples, 2), -self.largest, self.largest + 1)

    def apply(self, x: Array, offsets: Array) -> jax.Array:
        border = ((self.largest, self.largest), (self.largest, self.largest), (0, 0))[: len(self.image_shape)]

        def shifted(image: jax.Array, offset: jax.Array) -> jax.Array:
            corner = (*(self.largest + offset), 0)[: len(self.image_shape)]
            return jax.lax.dynamic_slice(jnp.pad(image, border), corner, self.image_shape)

        images = jnp.asarray(x).reshape(-1, *self.image_shape)
        return jax.vmap(shifted)(images, jnp.asarray(offsets)).reshape(x.shape)


def random_shift(image_shape: Sequence[int], *, largest: int = 1) -> RandomShift:
    """Images padded with ``largest`` zeros on every side and cropped back at a random place.

    Draws integers ``(m, 2)``, uniform in ``-largest .. largest``: pixel ``(i, j)`` of the result is pixel ``(i + d_1,
    j + d_2)`` of the image, 0 beyond its border. Returns an augmentation as :func:`random_flip`. Raises ValueError for
    a shape as there, or unless ``largest`` is a positive integer.
    """
    shape = check_image_shape(image_shape)
    check_positive_integer("largest", largest)
    return RandomShift(shape, largest)


@dataclass(frozen=True)
class GaussianNoise:
    """The augmentation that :func:`gaussian_noise` makes."""

    scale: float

    def draw(self, key: jax.Array, examples: int, features: int) -> jax.Array:
        return jax.random.normal(key, (examples, features))

    def apply(self, x: jax.Array, noise: Array) -> jax.Array:
        return x + self.scale * jnp.asarray(noise).reshape(x.shape)


def gaussian_noise(*, scale: float = 0.1) -> GaussianNoise:
    """``x + scale n``, ``n`` standard normal, drawn anew for every visit. Draws ``n: (m, n_0)``.

    Returns an augmentation as :func:`random_flip`. Raises ValueError if ``scale`` is negative or not finite.
    """
    check_not_negative("scale", scale)
    return GaussianNoise(float(scale))


PENALTIES: dict[str, Callable[..., Penalty]] = {"l2": l2, "l1": l1, "elastic_net": elastic_net}
CLIPPINGS: dict[str, Callable[..., Any]] = {
    "clip_by_value": clip_by_value,
    "clip_by_norm": clip_by_norm,
    "clip_by_global_norm": clip_by_global_norm,
}
CONSTRAINTS: dict[str, Callable[..., Any]] = {"max_norm": max_norm}
AUGMENTATIONS: dict[str, Callable[..., Any]] = {
    "random_flip": random_flip,
    "random_shift": random_shift,
    "gaussian_noise": gaussian_noise,
}
REGULARIZERS: dict[str, Callable[..., Any]] = {
    **PENALTIES,
    "inverted_dropout": inverted_dropout,
    **CLIPPINGS,
    **CONSTRAINTS,
    "early_stopping": early_stopping,
    **AUGMENTATIONS,
}


def _shrunk(array: jax.Array, norm: jax.Array, limit: float) -> jax.Array:
    return array * (limit / jnp.maximum(norm, limit)).astype(array.dtype)
