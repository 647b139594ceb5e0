"""Activation functions. Each maps ``z`` (any shape unless said) to a tensor of the same shape and dtype.

Derivatives come from automatic differentiation; where the function has a kink, the docstring says what it gives there.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from ._common import check_finite, check_positive

# With these two, outputs of mean 0 and variance 1 keep both from layer to layer.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def identity(z: tf.Tensor) -> tf.Tensor:
    """``f(z) = z``."""
    return tf.identity(z)


def sigmoid(z: tf.Tensor) -> tf.Tensor:
    """``f(z) = 1 / (1 + exp(-z))``: TensorFlow's own."""
    return tf.sigmoid(z)


def tanh(z: tf.Tensor) -> tf.Tensor:
    """``f(z) = tanh(z)``: TensorFlow's own."""
    return tf.tanh(z)


def softsign(z: tf.Tensor) -> tf.Tensor:
    """``f(z) = z / (1 + |z|)``, ``f'(z) = 1 / (1 + |z|)^2``: TensorFlow's own, which has this derivative.

    That of the quotient by the usual rules is a difference of nearly equal terms for a large ``z``.
    """
    return tf.nn.softsign(z)


def relu(z: tf.Tensor, *, derivative_at_zero: int = 0) -> tf.Tensor:
    """``f(z) = max(z, 0)``; ``f'(0)`` is 0, as in ``tf.nn.relu``, or 1, as in the course."""
    _check_derivative_at_zero(derivative_at_zero)
    if derivative_at_zero == 1:
        return tf.where(z < 0, tf.zeros_like(z), z)  # at 0 it is z that is chosen, with its derivative of 1
    return tf.nn.relu(z)


def leaky_relu(z: tf.Tensor, *, slope: float = 0.01) -> tf.Tensor:
    """``f(z) = z`` for ``z > 0``, ``slope z`` otherwise, with ``f'(0) = slope``.

    ``tf.nn.leaky_relu`` has a default slope of 0.2 and rounds any slope to float32, whatever the dtype of ``z``.
    """
    check_finite("slope", slope)
    return tf.where(z > 0, z, slope * z)


def elu(z: tf.Tensor, *, alpha: float = 1.0) -> tf.Tensor:
    """``f(z) = z`` for ``z > 0``, ``alpha (exp(z) - 1)`` otherwise, with ``f'(0) = alpha``.

    ``tf.nn.elu`` has no ``alpha``, and no digits left near ``z = 0-``: it takes ``exp(z) - 1``, not ``expm1``.
    """
    check_positive("alpha", alpha)
    positive = z > 0
    # The inner choice keeps exp from overflowing where it is not wanted: its derivative there would be NaN.
    return tf.where(positive, z, alpha * tf.math.expm1(tf.where(positive, tf.zeros_like(z), z)))


def selu(z: tf.Tensor) -> tf.Tensor:
    """``f(z) = scale z`` for ``z > 0``, ``scale alpha (exp(z) - 1)`` otherwise, with ``f'(0) = scale alpha``.

    ``scale`` is ``SELU_SCALE``, ``alpha`` is ``SELU_ALPHA``. ``tf.nn.selu`` takes ``exp(z) - 1``, as ``tf.nn.elu``.
    """
    return SELU_SCALE * elu(z, alpha=SELU_ALPHA)


def softplus(z: tf.Tensor) -> tf.Tensor:
    """``f(z) = log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|))``, with ``f'(0) = 1/2``.

    ``tf.nn.softplus`` goes over to ``z`` and to ``exp(z)`` while that is still some units of roundoff away.
    """
    positive = z >= 0  # one condition for both terms: at 0 their derivatives are 1 and -1/2, not some other pair
    larger = tf.where(positive, z, tf.zeros_like(z))
    return larger + tf.math.log1p(tf.exp(tf.where(positive, -z, z)))


def swish(z: tf.Tensor) -> tf.Tensor:
    """``f(z) = z sigmoid(z)``: TensorFlow's own."""
    return tf.nn.swish(z)


def gelu(z: tf.Tensor, *, approximate: bool = False) -> tf.Tensor:
    """``f(z) = z Phi(z)``, ``Phi`` the standard normal distribution function, or its approximation by a tanh.

    ``tf.nn.gelu`` rounds ``1 / sqrt(2)`` and 0.044715 to float32, whatever the dtype of ``z``.
    """
    if approximate not in (True, False):
        raise ValueError(f"approximate={approximate!r} is not allowed: must be True or False")
    if approximate:
        return 0.5 * z * (1.0 + tf.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z)))
    return 0.5 * z * tf.math.erfc(-z / math.sqrt(2))


def softmax(z: tf.Tensor) -> tf.Tensor:
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis: TensorFlow's own, which shifts by ``max_j z_j``."""
    return tf.nn.softmax(z)


def log_softmax(z: tf.Tensor) -> tf.Tensor:
    """``f(z)_k = (z_k - max_j z_j) - log(sum_j exp(z_j - max_j z_j))`` over the last axis: TensorFlow's own."""
    return tf.nn.log_softmax(z)


ACTIVATIONS: dict[str, Callable[..., tf.Tensor]] = {
    f.__name__: f
    for f in (
        identity, sigmoid, tanh, softsign, relu, leaky_relu, elu, selu, softplus, swish, gelu, softmax,
    )
}  # fmt: skip


def _check_derivative_at_zero(value: int) -> None:
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")
