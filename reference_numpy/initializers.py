"""Initial weights. Each function draws an array of ``shape = (n_out, n_in)`` from a ``numpy.random.Generator``.

Biases start at zero everywhere in the suite. ``dtype`` None means NumPy's default, float64. Raises ValueError when a
dimension is not a positive integer.
"""

import math

import numpy as np


def zeros(generator, shape, *, dtype=None):
    """All zeros: right for logistic regression, wrong (units stay equal) for a network with hidden layers.

    >>> zeros(None, (1, 2))
    array([[0., 0.]])
    """
    _check_shape(shape)
    return np.zeros(shape, dtype)


def scaled_normal(generator, shape, *, scale=0.01, dtype=None):
    """``W ~ scale * N(0, 1)``. Source: the course, course 1 week 3 (``scale = 0.01``).

    >>> scaled_normal(np.random.default_rng(0), (2, 3)).shape
    (2, 3)
    """
    _check_shape(shape)
    if not (scale >= 0 and math.isfinite(scale)):
        raise ValueError(f"scale={scale!r} is not allowed: must be a finite number >= 0")
    return (scale * generator.standard_normal(shape)).astype(dtype)


def xavier_normal(generator, shape, *, fan="fan_in", dtype=None):
    """``W ~ N(0, 1/n_in)`` with ``fan="fan_in"`` (the course), ``N(0, 2/(n_in + n_out))`` with ``fan="fan_average"``.

    Source: Glorot & Bengio 2010, eq. 12 (average form); the course, course 2 week 1 (fan-in form, for tanh).

    >>> xavier_normal(np.random.default_rng(0), (2, 3)).shape
    (2, 3)
    """
    n_out, n_in = _check_shape(shape)
    if fan not in ("fan_in", "fan_average"):
        raise ValueError(f"fan={fan!r} is not allowed: must be 'fan_in' or 'fan_average'")
    variance = 1 / n_in if fan == "fan_in" else 2 / (n_in + n_out)
    return (math.sqrt(variance) * generator.standard_normal(shape)).astype(dtype)


def he_normal(generator, shape, *, dtype=None):
    """``W ~ N(0, 2/n_in)``, not truncated. Source: He, Zhang, Ren & Sun 2015, eq. 10; the course, course 2 week 1.

    >>> he_normal(np.random.default_rng(0), (2, 3)).shape
    (2, 3)
    """
    _, n_in = _check_shape(shape)
    return (math.sqrt(2 / n_in) * generator.standard_normal(shape)).astype(dtype)


INITIALIZERS = {f.__name__: f for f in (zeros, scaled_normal, xavier_normal, he_normal)}


def _check_shape(shape):
    if len(shape) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(f"shape={shape!r} is not allowed: must be (n_out, n_in), two positive integers")
    return shape
