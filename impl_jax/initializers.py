"""Initial weights. Each function draws an array of ``shape = (n_out, n_in)`` from a PRNG key, typed or raw.

Biases start at zero everywhere in the suite. ``dtype`` None means JAX's default: float64 with x64 enabled, else
float32. ``jax.nn.initializers`` takes shapes as ``(n_in, n_out)`` and truncates its normals at two standard deviations;
these do neither. Raises ValueError when a dimension is not a positive integer.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def zeros(key, shape, *, dtype=None):
    """All zeros, ``W = 0``; ``key`` is not used."""
    _check_shape(shape)
    return jnp.zeros(shape, dtype)


def scaled_normal(key, shape, *, scale=0.01, dtype=None):
    """``W ~ scale * N(0, 1)``. Raises ValueError if ``scale`` is negative or not finite."""
    _check_shape(shape)
    if not (scale >= 0 and math.isfinite(scale)):
        raise ValueError(f"scale={scale!r} is not allowed: must be a finite number >= 0")
    return float(scale) * jax.random.normal(key, shape, dtype)


def xavier_normal(key, shape, *, fan="fan_in", dtype=None):
    """``W ~ N(0, 1/n_in)`` with ``fan="fan_in"``, ``N(0, 2/(n_in + n_out))`` with ``fan="fan_average"``."""
    n_out, n_in = _check_shape(shape)
    if fan not in ("fan_in", "fan_average"):
        raise ValueError(f"fan={fan!r} is not allowed: must be 'fan_in' or 'fan_average'")
    variance = 1 / n_in if fan == "fan_in" else 2 / (n_in + n_out)
    return math.sqrt(variance) * jax.random.normal(key, shape, dtype)


def he_normal(key, shape, *, dtype=None):
    """``W ~ N(0, 2/n_in)``, not truncated."""
    _, n_in = _check_shape(shape)
    return math.sqrt(2 / n_in) * jax.random.normal(key, shape, dtype)


INITIALIZERS = {f.__name__: f for f in (zeros, scaled_normal, xavier_normal, he_normal)}


def _check_shape(shape):
    if len(shape) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(f"shape={shape!r} is not allowed: must be (n_out, n_in), two positive integers")
    return shape
