"""Activation functions. Each maps ``z`` (any shape unless said) to a tensor of the same shape and dtype.

Derivatives come from automatic differentiation; where the function has a kink, the docstring says what it gives there.
"""

import math

import tensorflow as tf


def identity(z):
    """``f(z) = z``."""
    return tf.identity(z)


def sigmoid(z):
    """``f(z) = 1 / (1 + exp(-z))``: TensorFlow's own."""
    return tf.sigmoid(z)


def tanh(z):
    """``f(z) = tanh(z)``: TensorFlow's own."""
    return tf.tanh(z)


def relu(z, *, derivative_at_zero=0):
    """``f(z) = max(z, 0)``; ``f'(0)`` is 0, as in ``tf.nn.relu``, or 1, as in the course."""
    _check_derivative_at_zero(derivative_at_zero)
    if derivative_at_zero == 1:
        return tf.where(z < 0, tf.zeros_like(z), z)  # at 0 it is z that is chosen, with its derivative of 1
    return tf.nn.relu(z)


def leaky_relu(z, *, slope=0.01):
    """``f(z) = z`` for ``z > 0``, ``slope z`` otherwise, with ``f'(0) = slope``.

    ``tf.nn.leaky_relu`` has a default slope of 0.2 and rounds any slope to float32, whatever the dtype of ``z``.
    """
    _check_slope(slope)
    return tf.where(z > 0, z, slope * z)


def softmax(z):
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis: TensorFlow's own, which shifts by ``max_j z_j``."""
    return tf.nn.softmax(z)


ACTIVATIONS = {f.__name__: f for f in (identity, sigmoid, tanh, relu, leaky_relu, softmax)}


def _check_derivative_at_zero(value):
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")


def _check_slope(slope):
    if not math.isfinite(slope):
        raise ValueError(f"slope={slope!r} is not allowed: must be a finite number")
