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


def elu(z, *, alpha=1.0):
    """The exponential linear unit ``f(z) = z`` for ``z > 0``, ``alpha (exp(z) - 1)`` otherwise; ``f'(0) = alpha``.

    JAX's own. Raises ValueError unless ``alpha`` is finite and positive.
    """
    _check_alpha(alpha)
    return jax.nn.elu(z, alpha=float(alpha))


def softplus(z):
    """``f(z) = log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|))``.

    ``jax.nn.softplus`` has the same values, but the derivative ``exp(z - f(z))``, whose rounding error grows with
    ``z``; here it is the one of :func:`sigmoid`.
    """
    # where, not maximum and abs: at z = 0 their derivatives in JAX are 1/2 and 1, which do not give sigmoid(0).
    positive_part = jnp.where(z < 0, 0, z)
    magnitude = jnp.where(z < 0, -z, z)
    return positive_part + jnp.log1p(jnp.exp(-magnitude))


def swish(z):
    """``f(z) = z sigmoid(z)``: ``jax.nn.silu``."""
    return jax.nn.silu(z)


def gelu(z, *, approximate=False):
    """``f(z) = z Phi(z)``: JAX's own, but exact by default, where ``jax.nn.gelu`` approximates by a tanh.

    Raises ValueError unless ``approximate`` is True or False.
    """
    if approximate not in (True, False):
        raise ValueError(f"approximate={approximate!r} is not allowed: must be True or False")
    return jax.nn.gelu(z, approximate=bool(approximate))


def softmax(z):
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis: JAX's own, shifted by ``max_j z_j``."""
    return jax.nn.softmax(z, axis=-1)


ACTIVATIONS = {f.__name__: f for f in (identity, sigmoid, tanh, relu, leaky_relu, elu, softplus, swish, gelu, softmax)}


def _check_derivative_at_zero(value):
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")


def _check_slope(slope):
    if not math.isfinite(slope):
        raise ValueError(f"slope={slope!r} is not allowed: must be a finite number")


def _check_alpha(alpha):
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ValueError(f"alpha={alpha!r} is not allowed: must be a finite number > 0")
