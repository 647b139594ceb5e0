"""Activation functions: each maps ``z`` (any shape unless said) to an array of the same shape and dtype.

Derivatives come from ``jax.grad``; where the convention at a kink matters, the function is written so that it is right.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ._common import check_finite, check_positive

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def identity(z: ArrayLike) -> jax.Array:
    """The linear activation ``f(z) = z``."""
    return jnp.asarray(z)


def sigmoid(z: ArrayLike) -> jax.Array:
    """The logistic function ``f(z) = 1 / (1 + exp(-z))``: JAX's own, which neither overflows nor loses small values."""
    return jax.nn.sigmoid(z)


def tanh(z: ArrayLike) -> jax.Array:
    """The hyperbolic tangent ``f(z) = tanh(z)``: JAX's own."""
    return jnp.tanh(z)


def softsign(z: ArrayLike) -> jax.Array:
    """``f(z) = z / (1 + |z|)``, ``f'(z) = 1 / (1 + |z|)^2``.

    ``jax.nn.soft_sign`` has the same values, but a derivative that is the difference of two nearly equal numbers where
    ``|z|`` is large; here it is the one written.
    """
    return _softsign(jnp.asarray(z))


def relu(z: ArrayLike, *, derivative_at_zero: int = 0) -> jax.Array:
    """The rectifier ``f(z) = max(z, 0)``, with ``f'(0) = derivative_at_zero``, 0 or 1.

    ``jax.nn.relu`` has ``f'(0) = 0``, ``jnp.maximum(z, 0)`` would have 1/2. Raises ValueError for another number.
    """
    _check_derivative_at_zero(derivative_at_zero)
    z = jnp.asarray(z)
    return jax.nn.relu(z) if derivative_at_zero == 0 else jnp.where(z < 0, 0, z)


def leaky_relu(z: ArrayLike, *, slope: float = 0.01) -> jax.Array:
    """The leaky rectifier ``f(z) = z`` for ``z > 0``, ``slope z`` otherwise, with ``f'(0) = slope``.

    ``jax.nn.leaky_relu`` has ``f'(0) = 1``. Raises ValueError if ``slope`` is not finite.
    """
    check_finite("slope", slope)
    z = jnp.asarray(z)
    return jnp.where(z > 0, z, float(slope) * z)


def elu(z: ArrayLike, *, alpha: float = 1.0) -> jax.Array:
    """The exponential linear unit ``f(z) = z`` for ``z > 0``, ``alpha (exp(z) - 1)`` otherwise; ``f'(0) = alpha``.

    JAX's own. Raises ValueError unless ``alpha`` is finite and positive.
    """
    check_positive("alpha", alpha)
    return jax.nn.elu(z, alpha=float(alpha))


def selu(z: ArrayLike) -> jax.Array:
    """The scaled ELU ``f(z) = scale z`` for ``z > 0``, ``scale alpha (exp(z) - 1)`` otherwise; ``f'(0) = scale alpha``.

    ``alpha`` and ``scale`` are ``SELU_ALPHA`` and ``SELU_SCALE``: ``jax.nn.selu``.
    """
    return SELU_SCALE * jax.nn.elu(z, alpha=SELU_ALPHA)


def softplus(z: ArrayLike) -> jax.Array:
    """``f(z) = log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|))``.

    ``jax.nn.softplus`` has the same values, but the derivative ``exp(z - f(z))``, whose rounding error grows with
    ``z``; here it is the one of :func:`sigmoid`.
    """
    z = jnp.asarray(z)
    # where, not maximum and abs: at z = 0 their derivatives in JAX are 1/2 and 1, which do not give sigmoid(0).
    positive_part = jnp.where(z < 0, 0, z)
    magnitude = jnp.where(z < 0, -z, z)
    return positive_part + jnp.log1p(jnp.exp(-magnitude))


def swish(z: ArrayLike) -> jax.Array:
    """``f(z) = z sigmoid(z)``: ``jax.nn.silu``."""
    return jax.nn.silu(z)


def gelu(z: ArrayLike, *, approximate: bool = False) -> jax.Array:
    """``f(z) = z Phi(z)``: JAX's own, but exact by default, where ``jax.nn.gelu`` approximates by a tanh.

    Raises ValueError unless ``approximate`` is True or False.
    """
    if approximate not in (True, False):
        raise ValueError(f"approximate={approximate!r} is not allowed: must be True or False")
    return jax.nn.gelu(z, approximate=bool(approximate))


def softmax(z: ArrayLike) -> jax.Array:
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis: JAX's own, shifted by ``max_j z_j``."""
    return jax.nn.softmax(z, axis=-1)


def log_softmax(z: ArrayLike) -> jax.Array:
    """``f(z)_k = z_k - max_j z_j - log sum_j exp(z_j - max_i z_i)`` over the last axis: JAX's own."""
    return jax.nn.log_softmax(z, axis=-1)


ACTIVATIONS: dict[str, Callable[..., jax.Array]] = {
    f.__name__: f
    for f in (identity, sigmoid, tanh, softsign, relu, leaky_relu, elu, selu, softplus, swish, gelu, softmax)
}


def _with_derivative(f: Callable[[Any], jax.Array], rule: Callable[..., jax.Array]) -> Callable[[Any], jax.Array]:
    """``f`` with the derivative as it is written: ``rule(tangent, value, z)`` is ``f'(z)`` times the tangent."""
    made = jax.custom_jvp(f)
    made.defjvps(rule)
    return made


_softsign = _with_derivative(lambda z: z / (1 + jnp.abs(z)), lambda tangent, value, z: tangent / (1 + jnp.abs(z)) ** 2)


def _check_derivative_at_zero(value: int) -> None:
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")
