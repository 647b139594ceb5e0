"""Activation functions and, under each one, its derivative applied to an upstream gradient.

Every function maps ``z`` (any shape unless said) to an array of the same shape and dtype. ``f_backward(gradient, z,
a)`` returns ``gradient * f'(z)``, the gradient of the cost with respect to ``z`` given the one with respect to ``a =
f(z)``. ``out`` may name an array that receives the result, as in NumPy itself.
"""

import numpy as np


def identity(z, *, out=None):
    """The linear activation ``f(z) = z``.

    >>> identity(np.array([-1.0, 2.0]))
    array([-1.,  2.])
    """
    return np.positive(z, out=out)


def identity_backward(gradient, z, a, *, out=None):
    """``f'(z) = 1``."""
    return np.positive(gradient, out=out)


def sigmoid(z, *, out=None):
    """The logistic function ``f(z) = 1 / (1 + exp(-z))``.

    Evaluated with ``exp(-|z|)`` only, so that it neither overflows nor loses its small values.
    Source: the course, course 1 week 2.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(z))
    return np.divide(np.where(z >= 0, 1.0, small), 1.0 + small, out=out)


def sigmoid_backward(gradient, z, a, *, out=None):
    """``f'(z) = a (1 - a)``."""
    return np.multiply(gradient, a * (1.0 - a), out=out)


def tanh(z, *, out=None):
    """The hyperbolic tangent. Source: the course, course 1 week 3.

    >>> tanh(np.array([0.0]))
    array([0.])
    """
    return np.tanh(z, out=out)


def tanh_backward(gradient, z, a, *, out=None):
    """``f'(z) = 1 - a^2``."""
    return np.multiply(gradient, 1.0 - a * a, out=out)


def relu(z, *, derivative_at_zero=0, out=None):
    """The rectifier ``f(z) = max(z, 0)``.

    ``derivative_at_zero`` is 0 (what PyTorch, TensorFlow and JAX do) or 1 (what the course writes); it does not change
    the value. Raises ValueError for another number. Source: Nair & Hinton 2010; the course, course 1 week 3.

    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    _check_derivative_at_zero(derivative_at_zero)
    return np.maximum(z, 0.0, out=out)


def relu_backward(gradient, z, a, *, derivative_at_zero=0, out=None):
    """``f'(z) = 1`` for ``z > 0``, 0 for ``z < 0``, ``derivative_at_zero`` at 0."""
    _check_derivative_at_zero(derivative_at_zero)
    return np.multiply(gradient, z >= 0 if derivative_at_zero == 1 else z > 0, out=out)


def leaky_relu(z, *, slope=0.01, out=None):
    """The leaky rectifier ``f(z) = z`` for ``z > 0``, ``slope z`` otherwise, with ``f'(0) = slope``.

    Raises ValueError if ``slope`` is not finite. Source: Maas, Hannun & Ng 2013.

    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    _check_slope(slope)
    return np.multiply(z, np.where(z > 0, 1.0, slope).astype(z.dtype, copy=False), out=out)


def leaky_relu_backward(gradient, z, a, *, slope=0.01, out=None):
    """``f'(z) = 1`` for ``z > 0``, ``slope`` otherwise."""
    _check_slope(slope)
    return np.multiply(gradient, np.where(z > 0, 1.0, slope).astype(z.dtype, copy=False), out=out)


def softmax(z, *, out=None):
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis, shifted by ``max_j z_j`` so that it cannot overflow.

    Source: the course, course 2 week 3.

    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.divide(powers, powers.sum(axis=-1, keepdims=True), out=out)


def softmax_backward(gradient, z, a, *, out=None):
    """``dz_k = a_k (gradient_k - sum_j gradient_j a_j)``."""
    return np.multiply(a, gradient - (gradient * a).sum(axis=-1, keepdims=True), out=out)


ACTIVATIONS = {f.__name__: f for f in (identity, sigmoid, tanh, relu, leaky_relu, softmax)}

BACKWARD = {
    "identity": identity_backward,
    "sigmoid": sigmoid_backward,
    "tanh": tanh_backward,
    "relu": relu_backward,
    "leaky_relu": leaky_relu_backward,
    "softmax": softmax_backward,
}


def _check_derivative_at_zero(value):
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")


def _check_slope(slope):
    if not np.isfinite(slope):
        raise ValueError(f"slope={slope!r} is not allowed: must be a finite number")
