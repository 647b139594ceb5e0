"""Regularizers: weight penalties and inverted dropout."""

import math

import tensorflow as tf


def l2(strength, *, convention="course"):
    """``strength/(2m) sum_l ||W[l]||_F^2``; the factor is ``strength/2`` for ``"half"``, ``strength`` for ``"full"``.

    Returns a function ``(weights, examples) -> scalar``, to be added to the cost; automatic differentiation does the
    rest. ``examples`` is ``m``, the size of the batch. "full" is Keras's ``L2``.
    """
    if not (strength >= 0 and math.isfinite(strength)):
        raise ValueError(f"strength={strength!r} is not allowed: must be a finite number >= 0")
    if convention not in ("course", "half", "full"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")

    def penalty(weights, examples):
        factor = {"course": strength / (2 * examples), "half": strength / 2, "full": strength}[convention]
        return factor * tf.add_n([tf.reduce_sum(tf.square(w)) for w in weights])

    return penalty


def dropout_mask(generator, shape, *, keep_probability):
    """Which units are kept: booleans of ``shape = (m, n_l)``, each True with ``keep_probability``, independently."""
    _check_keep_probability(keep_probability)
    return generator.uniform(shape) < keep_probability


def inverted_dropout(activations, mask, *, keep_probability):
    """``a * mask / keep_probability``; both ``(m, n_l)``. ``tf.nn.dropout`` draws the mask and takes ``1 - keep``."""
    _check_keep_probability(keep_probability)
    return activations * tf.cast(mask, activations.dtype) / keep_probability


REGULARIZERS = {"l2": l2, "inverted_dropout": inverted_dropout}


def _check_keep_probability(keep_probability):
    if not 0 < keep_probability <= 1:
        raise ValueError(f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1]")
