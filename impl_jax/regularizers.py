"""Regularizers: weight penalties and inverted dropout."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class L2:
    """The penalty that :func:`l2` makes. Equal ones hash alike, so that a compiled function meets each only once."""

    strength: float
    convention: str

    def __call__(self, weights, examples):
        factor = {
            "course": self.strength / (2 * examples),
            "half": self.strength / 2,
            "full": self.strength,
        }[self.convention]
        return factor * sum(jnp.sum(w * w) for w in weights)


def l2(strength, *, convention="course"):
    """``strength/(2m) sum_l ||W[l]||_F^2`` (``"course"``), biases excepted.

    ``"half"`` has ``strength/2`` and ``"full"`` ``strength`` in the place of ``strength/(2m)``.

    Returns a penalty: called with a list of weights ``(n_l, n_{l-1})`` and the number of examples ``m`` of the batch,
    it gives a scalar. ``optax.add_decayed_weights`` adds the gradient of ``"half"``, to biases too unless masked.
    Raises ValueError if ``strength`` is negative or not finite, or ``convention`` unknown.
    """
    if not (strength >= 0 and math.isfinite(strength)):
        raise ValueError(f"strength={strength!r} is not allowed: must be a finite number >= 0")
    if convention not in ("course", "half", "full"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")
    return L2(float(strength), convention)


def dropout_mask(key, shape, *, keep_probability):
    """Which units are kept: booleans of ``shape = (m, n_l)``, each True with ``keep_probability``, independently.

    ``key``: a PRNG key. Raises ValueError unless ``0 < keep_probability <= 1``.
    """
    _check_keep_probability(keep_probability)
    return jax.random.bernoulli(key, float(keep_probability), shape)


def inverted_dropout(activations, mask, *, keep_probability):
    """``a * mask / keep_probability``: dropped units give 0, kept ones are scaled so that the expectation stays.

    ``activations`` and ``mask``: ``(m, n_l)``. JAX has no built-in. Raises ValueError unless ``0 < keep_probability <=
    1``.
    """
    _check_keep_probability(keep_probability)
    return activations * mask / float(keep_probability)


REGULARIZERS = {"l2": l2, "inverted_dropout": inverted_dropout}


def _check_keep_probability(keep_probability):
    if not 0 < keep_probability <= 1:
        raise ValueError(f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1]")
