"""Activation functions and, under each one, its derivative applied to an upstream gradient.

Every function maps ``z`` (any shape unless said) to an array of the same shape and dtype. ``f_backward(gradient, z,
a)`` returns ``gradient * f'(z)``, the gradient of the cost with respect to ``z`` given the one with respect to ``a =
f(z)``. ``out`` may name an array that receives the result, as in NumPy itself.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._common import check_finite, check_positive
from .arithmetic import library_function

Array = NDArray[Any]

# With these two, outputs of mean 0 and variance 1 keep both from layer to layer.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@library_function("activation")
def identity(z: Array, *, out: Array | None = None) -> Array:
    """The linear activation ``f(z) = z``.

    >>> identity(np.array([-1.0, 2.0]))
    array([-1.,  2.])
    """
    return np.positive(z, out=out)


def identity_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``f'(z) = 1``.

    >>> z = np.array([-1.0])
    >>> identity_backward(np.array([2.0]), z, identity(z))
    array([2.])
    """
    return np.positive(gradient, out=out)


@library_function("activation")
def sigmoid(z: Array, *, out: Array | None = None) -> Array:
    """The logistic function ``f(z) = 1 / (1 + exp(-z))``.

    Evaluated with ``exp(-|z|)`` only, so that it neither overflows nor loses its small values.
    Source: the course, course 1 week 2.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(z))
    return np.divide(np.where(z >= 0, 1.0, small), 1.0 + small, out=out)


@library_function("slope")
def sigmoid_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``f'(z) = a (1 - a)``.

    >>> z = np.array([0.0])
    >>> sigmoid_backward(np.array([2.0]), z, sigmoid(z))
    array([0.5])
    """
    return np.multiply(gradient, a * (1.0 - a), out=out)


@library_function("activation")
def tanh(z: Array, *, out: Array | None = None) -> Array:
    """The hyperbolic tangent. Source: the course, course 1 week 3.

    >>> tanh(np.array([0.0]))
    array([0.])
    """
    return np.tanh(z, out=out)


@library_function("slope")
def tanh_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``f'(z) = 1 - a^2``.

    >>> z = np.array([0.0])
    >>> tanh_backward(np.array([2.0]), z, tanh(z))
    array([2.])
    """
    return np.multiply(gradient, 1.0 - a * a, out=out)


@library_function("activation")
def softsign(z: Array, *, out: Array | None = None) -> Array:
    """``f(z) = z / (1 + |z|)``. Source: Bergstra et al. 2009; Glorot & Bengio 2010, section 2.

    >>> softsign(np.array([-3.0, 0.0, 1.0]))
    array([-0.75,  0.  ,  0.5 ])
    """
    return np.divide(z, 1.0 + np.abs(z), out=out)


@library_function("slope")
def softsign_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``f'(z) = 1 / (1 + |z|)^2``.

    >>> z = np.array([1.0])
    >>> softsign_backward(np.array([2.0]), z, softsign(z))
    array([0.5])
    """
    return np.divide(gradient, (1.0 + np.abs(z)) ** 2, out=out)


@library_function("activation")
def relu(z: Array, *, derivative_at_zero: int = 0, out: Array | None = None) -> Array:
    """The rectifier ``f(z) = max(z, 0)``.

    ``derivative_at_zero`` is 0 (what PyTorch, TensorFlow and JAX do) or 1 (what the course writes); it does not change
    the value. Raises ValueError for another number. Source: Nair & Hinton 2010; the course, course 1 week 3.

    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    _check_derivative_at_zero(derivative_at_zero)
    return np.maximum(z, 0.0, out=out)


def relu_backward(
    gradient: Array, z: Array, a: Array, *, derivative_at_zero: int = 0, out: Array | None = None
) -> Array:
    """``f'(z) = 1`` for ``z > 0``, 0 for ``z < 0``, ``derivative_at_zero`` at 0.

    >>> z = np.array([2.0])
    >>> relu_backward(np.array([2.0]), z, relu(z))
    array([2.])
    """
    _check_derivative_at_zero(derivative_at_zero)
    return np.multiply(gradient, z >= 0 if derivative_at_zero == 1 else z > 0, out=out)


@library_function("activation")
def leaky_relu(z: Array, *, slope: float = 0.01, out: Array | None = None) -> Array:
    """The leaky rectifier ``f(z) = z`` for ``z > 0``, ``slope z`` otherwise, with ``f'(0) = slope``.

    Raises ValueError if ``slope`` is not finite. Source: Maas, Hannun & Ng 2013.

    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    check_finite("slope", slope)
    return np.multiply(z, np.where(z > 0, 1.0, slope).astype(z.dtype, copy=False), out=out)


def leaky_relu_backward(gradient: Array, z: Array, a: Array, *, slope: float = 0.01, out: Array | None = None) -> Array:
    """``f'(z) = 1`` for ``z > 0``, ``slope`` otherwise.

    >>> z = np.array([-1.0])
    >>> leaky_relu_backward(np.array([2.0]), z, leaky_relu(z))
    array([0.02])
    """
    check_finite("slope", slope)
    return np.multiply(gradient, np.where(z > 0, 1.0, slope).astype(z.dtype, copy=False), out=out)


@library_function("activation")
def elu(z: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """The exponential linear unit ``f(z) = z`` for ``z > 0``, ``alpha (exp(z) - 1)`` otherwise; ``f'(0) = alpha``.

    Raises ValueError unless ``alpha`` is finite and positive. Source: Clevert, Unterthiner & Hochreiter 2016, eq. 15.

    >>> elu(np.array([-np.inf, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    check_positive("alpha", alpha)
    negative = alpha * np.expm1(np.minimum(z, 0.0))
    return np.add(np.maximum(z, 0.0), negative, out=out)


@library_function("slope")
def elu_backward(gradient: Array, z: Array, a: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """``f'(z) = 1`` for ``z > 0``, ``alpha exp(z)`` otherwise.

    >>> z = np.array([1.0])
    >>> elu_backward(np.array([2.0]), z, elu(z))
    array([2.])
    """
    check_positive("alpha", alpha)
    slope = np.where(z > 0, 1.0, alpha * _exponential_below_zero(z))
    return np.multiply(gradient, slope.astype(z.dtype, copy=False), out=out)


@library_function("activation")
def selu(z: Array, *, out: Array | None = None) -> Array:
    """``f(z) = scale z`` for ``z > 0``, ``scale alpha (exp(z) - 1)`` otherwise; ``f'(0) = scale alpha``.

    ``scale`` is ``SELU_SCALE``, ``alpha`` is ``SELU_ALPHA``. Source: Klambauer, Unterthiner, Mayr & Hochreiter 2017,
    eq. 2.

    >>> selu(np.array([-np.inf, 0.0, 2.0])).round(6)
    array([-1.758099,  0.      ,  2.101402])
    """
    negative = SELU_ALPHA * np.expm1(np.minimum(z, 0.0))
    return np.multiply(SELU_SCALE, np.maximum(z, 0.0) + negative, out=out)


@library_function("slope")
def selu_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``f'(z) = scale`` for ``z > 0``, ``scale alpha exp(z)`` otherwise.

    >>> z = np.array([0.0, 1.0])
    >>> selu_backward(np.array([1.0, 2.0]), z, selu(z)).round(6)
    array([1.758099, 2.101402])
    """
    slope = SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * _exponential_below_zero(z))
    return np.multiply(gradient, slope.astype(z.dtype, copy=False), out=out)


@library_function("activation")
def softplus(z: Array, *, out: Array | None = None) -> Array:
    """``f(z) = log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|))``, which neither overflows nor is cut off.

    Source: Dugas et al. 2001, eq. 5. (PyTorch's goes linear above 20, which is 2e-9 away.)

    >>> softplus(np.array([-1000.0, 1000.0]))
    array([   0., 1000.])
    """
    return np.add(np.maximum(z, 0.0), np.log1p(np.exp(-np.abs(z))), out=out)


@library_function("slope")
def softplus_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``f'(z) = sigmoid(z)``.

    >>> z = np.array([0.0])
    >>> softplus_backward(np.array([2.0]), z, softplus(z))
    array([1.])
    """
    return np.multiply(gradient, sigmoid(z), out=out)


@library_function("activation")
def swish(z: Array, *, out: Array | None = None) -> Array:
    """``f(z) = z sigmoid(z)``, also called SiLU. Source: Ramachandran, Zoph & Le 2017 (beta = 1).

    >>> swish(np.array([0.0, 100.0]))
    array([  0., 100.])
    """
    return np.multiply(z, sigmoid(z), out=out)


@library_function("slope")
def swish_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``f'(z) = s + z s (1 - s)`` with ``s = sigmoid(z)``.

    >>> z = np.array([0.0])
    >>> swish_backward(np.array([2.0]), z, swish(z))
    array([1.])
    """
    s = sigmoid(z)
    return np.multiply(gradient, s + z * s * (1.0 - s), out=out)


@library_function("activation")
def gelu(z: Array, *, approximate: bool = False, out: Array | None = None) -> Array:
    """The Gaussian error linear unit ``f(z) = z Phi(z)``, ``Phi`` the standard normal distribution function.

    ``approximate`` takes ``Phi(z) = (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2`` instead, 5e-4 away at most (JAX's
    default). Raises ValueError unless ``approximate`` is True or False. Source: Hendrycks & Gimpel 2016, section 2.

    >>> gelu(np.array([-100.0, 0.0, 100.0]))
    array([ -0.,   0., 100.])
    """
    return np.multiply(z, _normal_distribution(z, approximate), out=out)


@library_function("slope")
def gelu_backward(gradient: Array, z: Array, a: Array, *, approximate: bool = False, out: Array | None = None) -> Array:
    """``f'(z) = Phi(z) + z Phi'(z)``.

    >>> z = np.array([0.0])
    >>> gelu_backward(np.array([2.0]), z, gelu(z))
    array([1.])
    """
    distribution = _normal_distribution(z, approximate)
    if approximate:
        inner_slope = math.sqrt(2 / math.pi) * (1.0 + 3 * 0.044715 * z * z)
        density = 2.0 * distribution * (1.0 - distribution) * inner_slope  # tanh' = 1 - tanh^2
    else:
        density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.multiply(gradient, distribution + z * density, out=out)


@library_function("activation")
def softmax(z: Array, *, out: Array | None = None) -> Array:
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis, shifted by ``max_j z_j`` so that it cannot overflow.

    Source: the course, course 2 week 3.

    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.divide(powers, powers.sum(axis=-1, keepdims=True), out=out)


@library_function("slope")
def softmax_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``dz_k = a_k (gradient_k - sum_j gradient_j a_j)``.

    >>> z = np.array([[0.0, 0.0]])
    >>> softmax_backward(np.array([[1.0, 0.0]]), z, softmax(z))
    array([[ 0.25, -0.25]])
    """
    return np.multiply(a, gradient - (gradient * a).sum(axis=-1, keepdims=True), out=out)


@library_function("activation")
def log_softmax(z: Array, *, out: Array | None = None) -> Array:
    """``f(z)_k = log softmax(z)_k = (z_k - max_j z_j) - log(sum_j exp(z_j - max_j z_j))`` over the last axis.

    No logarithm of a rounded probability is taken: it stays finite where the softmax is 0.

    >>> log_softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).round(6)
    array([[-6.93147e-01, -6.93147e-01],
           [ 0.00000e+00, -1.00000e+03]])
    """
    shifted = z - z.max(axis=-1, keepdims=True)
    return np.subtract(shifted, np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), out=out)


def log_softmax_backward(gradient: Array, z: Array, a: Array, *, out: Array | None = None) -> Array:
    """``dz_k = gradient_k - exp(a_k) sum_j gradient_j``.

    >>> z = np.array([[0.0, 0.0]])
    >>> log_softmax_backward(np.array([[1.0, 0.0]]), z, log_softmax(z))
    array([[ 0.5, -0.5]])
    """
    return np.subtract(gradient, np.exp(a) * gradient.sum(axis=-1, keepdims=True), out=out)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        identity, sigmoid, tanh, softsign, relu, leaky_relu, elu, selu, softplus, swish, gelu, softmax,
    )
}  # fmt: skip

BACKWARD: dict[str, Callable[..., Array]] = {
    "identity": identity_backward,
    "sigmoid": sigmoid_backward,
    "tanh": tanh_backward,
    "softsign": softsign_backward,
    "relu": relu_backward,
    "leaky_relu": leaky_relu_backward,
    "elu": elu_backward,
    "selu": selu_backward,
    "softplus": softplus_backward,
    "swish": swish_backward,
    "gelu": gelu_backward,
    "softmax": softmax_backward,
}

_erfc = np.frompyfunc(math.erfc, 1, 1)  # NumPy has no error function


@library_function("one plus")
def _exponential_below_zero(z: Array) -> Array:
    """``exp(z)``, 1 above 0; automatic differentiation takes it as ``1 + expm1(z)``, of the value at hand."""
    return np.exp(np.minimum(z, 0.0))


@library_function("one plus")
def _normal_distribution(z: Array, approximate: bool) -> Array:
    """``Phi(z)``, by the complementary error function, so that it keeps its digits where it is small."""
    if approximate not in (True, False):
        raise ValueError(f"approximate={approximate!r} is not allowed: must be True or False")
    if approximate:
        return 0.5 * (1.0 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    return np.asarray(0.5 * _erfc(-z / math.sqrt(2)), z.dtype)


def _check_derivative_at_zero(value: Any) -> None:
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")
