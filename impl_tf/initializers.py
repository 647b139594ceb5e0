"""Initial weights. Each function draws a tensor of ``shape = (n_out, n_in)`` from a ``tf.random.Generator``.

Biases start at zero everywhere in the suite. ``dtype`` None means TensorFlow's default, float32. Raises ValueError
when a dimension is not a positive integer.
"""

import math
from numbers import Integral

import tensorflow as tf


def zeros(generator, shape, *, dtype=None):
    """``W = 0``; ``generator`` may be None."""
    _check_shape(shape)
    return tf.zeros(shape, dtype or tf.float32)


def scaled_normal(generator, shape, *, scale=0.01, dtype=None):
    """``W ~ scale * N(0, 1)``."""
    _check_shape(shape)
    if not (scale >= 0 and math.isfinite(scale)):
        raise ValueError(f"scale={scale!r} is not allowed: must be a finite number >= 0")
    return scale * generator.normal(shape, dtype=dtype or tf.float32)


def xavier_normal(generator, shape, *, fan="fan_in", dtype=None):
    """``W ~ N(0, 1/n_in)`` with ``fan="fan_in"``, ``N(0, 2/(n_in + n_out))`` with ``fan="fan_average"``.

    Not truncated; Keras's ``GlorotNormal`` is, and is the average form.
    """
    n_out, n_in = _check_shape(shape)
    if fan not in ("fan_in", "fan_average"):
        raise ValueError(f"fan={fan!r} is not allowed: must be 'fan_in' or 'fan_average'")
    variance = 1 / n_in if fan == "fan_in" else 2 / (n_in + n_out)
    return math.sqrt(variance) * generator.normal(shape, dtype=dtype or tf.float32)


def he_normal(generator, shape, *, dtype=None):
    """``W ~ N(0, 2/n_in)``, not truncated; Keras's ``HeNormal`` is."""
    _, n_in = _check_shape(shape)
    return math.sqrt(2 / n_in) * generator.normal(shape, dtype=dtype or tf.float32)


INITIALIZERS = {f.__name__: f for f in (zeros, scaled_normal, xavier_normal, he_normal)}


def _check_shape(shape):
    if len(shape) != 2 or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(f"shape={shape!r} is not allowed: must be (n_out, n_in), two positive integers")
    return shape
