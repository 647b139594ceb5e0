"""Regularizers: weight penalties and inverted dropout."""

from typing import NamedTuple

import numpy as np


class Penalty(NamedTuple):
    """A term of the cost that depends on the weights alone."""

    value: object  # (weights, examples) -> scalar
    gradient: object  # (weight, examples) -> array of the weight's shape


def l2(strength, *, convention="course"):
    """Penalty on the squared weights, biases excepted.

    ``"course"``: ``strength/(2m) sum_l ||W[l]||_F^2``; ``"half"``: ``strength/2 sum_l ||W[l]||_F^2``;
    ``"full"``: ``strength sum_l ||W[l]||_F^2``. ``m`` is the number of examples of the batch.
    Returns a :class:`Penalty`. Raises ValueError if ``strength`` is negative or not finite, or ``convention`` unknown.
    Source: the course, course 2 week 1. ("half" is PyTorch's ``weight_decay``, "full" Keras's ``L2``.)

    >>> float(l2(0.5).value([np.array([[2.0]])], examples=4))
    0.25
    """
    if not (strength >= 0 and np.isfinite(strength)):
        raise ValueError(f"strength={strength!r} is not allowed: must be a finite number >= 0")
    if convention not in ("course", "half", "full"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'course', 'half' or 'full'")

    def factor(examples):
        return {"course": strength / (2 * examples), "half": strength / 2, "full": strength}[convention]

    def value(weights, examples):
        return factor(examples) * sum((w * w).sum() for w in weights)

    def gradient(weight, examples):
        return 2 * factor(examples) * weight

    return Penalty(value, gradient)


def dropout_mask(generator, shape, *, keep_probability):
    """Which units are kept: booleans of ``shape = (m, n_l)``, each True with ``keep_probability``, independently.

    Raises ValueError unless ``0 < keep_probability <= 1``. Source: Srivastava et al. 2014.

    >>> bool(dropout_mask(np.random.default_rng(0), (2, 3), keep_probability=1.0).all())
    True
    """
    _check_keep_probability(keep_probability)
    return generator.random(shape) < keep_probability


def inverted_dropout(activations, mask, *, keep_probability):
    """``a * mask / keep_probability``: dropped units give 0, kept ones are scaled so that the expectation stays.

    ``activations`` and ``mask``: ``(m, n_l)``. Linear in ``activations``, so its backward pass is itself.
    Source: the course, course 2 week 1.

    >>> inverted_dropout(np.array([[1.0, 2.0]]), np.array([[True, False]]), keep_probability=0.5)
    array([[2., 0.]])
    """
    _check_keep_probability(keep_probability)
    return activations * mask / keep_probability


REGULARIZERS = {"l2": l2, "inverted_dropout": inverted_dropout}


def _check_keep_probability(keep_probability):
    if not 0 < keep_probability <= 1:
        raise ValueError(f"keep_probability={keep_probability!r} is not allowed: must be in (0, 1]")
