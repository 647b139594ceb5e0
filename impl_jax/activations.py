"""Activation functions: each maps ``z`` (any shape unless said) to an array of the same shape and dtype.

Derivatives come from ``jax.grad``; where the convention at a kink matters, the function is written so that it is right.
"""

import math

import jax
import jax.numpy as jnp


def identity(z):
    """The linear activation ``f(z) = z``."""
    return jnp.asarray(z)


def sigmoid(z):
    """The logistic function ``f(z) = 1 / (1 + exp(-z))``: JAX's own, which neither overflows nor loses small values."""
    return jax.nn.sigmoid(z)


def tanh(z):
    """The hyperbolic tangent ``f(z) = tanh(z)``: JAX's own."""
    return jnp.tanh(z)


def relu(z, *, derivative_at_zero=0):
    """The rectifier ``f(z) = max(z, 0)``, with ``f'(0) = derivative_at_zero``, 0 or 1.

    ``jax.nn.relu`` has ``f'(0) = 0``, ``jnp.maximum(z, 0)`` would have 1/2. Raises ValueError for another number.
    """
    _check_derivative_at_zero(derivative_at_zero)
    return jax.nn.relu(z) if derivative_at_zero == 0 else jnp.where(z < 0, 0, z)


def leaky_relu(z, *, slope=0.01):
    """The leaky rectifier ``f(z) = z`` for ``z > 0``, ``slope z`` otherwise, with ``f'(0) = slope``.

    ``jax.nn.leaky_relu`` has ``f'(0) = 1``. Raises ValueError if ``slope`` is not finite.
    """
    _check_slope(slope)
    return jnp.where(z > 0, z, float(slope) * z)


def softmax(z):
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis: JAX's own, shifted by ``max_j z_j``."""
    return jax.nn.softmax(z, axis=-1)


ACTIVATIONS = {f.__name__: f for f in (identity, sigmoid, tanh, relu, leaky_relu, softmax)}


def _check_derivative_at_zero(value):
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")


def _check_slope(slope):
    if not math.isfinite(slope):
        raise ValueError(f"slope={slope!r} is not allowed: must be a finite number")
