"""Initial weights. Each function draws a tensor of ``shape = (n_out, n_in)`` from a ``tf.random.Generator``.

A convolution's ``shape`` is ``(n_out, *window, n_in)``; each unit then has ``n_in`` connections for every place in the
window, and ``n_in`` and ``n_out`` below are multiplied by their number. Biases start at zero everywhere in the suite.
``dtype`` None means TensorFlow's default, float32. Raises ValueError when a dimension is not a positive integer.
"""

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any

import tensorflow as tf

from ._common import check_not_negative

Shape = tuple[int, ...]
DType = Any  # what ``tf.as_dtype`` takes


def zeros(generator: tf.random.Generator | None, shape: Shape, *, dtype: DType = None) -> tf.Tensor:
    """``W = 0``; ``generator`` may be None."""
    _check_shape(shape)
    return tf.zeros(shape, dtype or tf.float32)


def scaled_normal(
    generator: tf.random.Generator, shape: Shape, *, scale: float = 0.01, dtype: DType = None
) -> tf.Tensor:
    """``W ~ scale * N(0, 1)``."""
    _check_shape(shape)
    check_not_negative("scale", scale)
    return scale * generator.normal(shape, dtype=dtype or tf.float32)


def xavier_normal(
    generator: tf.random.Generator, shape: Shape, *, fan: str = "fan_in", dtype: DType = None
) -> tf.Tensor:
    """``W ~ N(0, 1/n_in)`` with ``fan="fan_in"``, ``N(0, 2/(n_in + n_out))`` with ``fan="fan_average"``.

    Not truncated; Keras's ``GlorotNormal`` is, and is the average form.
    """
    return _normal(generator, shape, 1 / _fan(shape, fan), False, dtype)


def xavier_uniform(
    generator: tf.random.Generator, shape: Shape, *, fan: str = "fan_average", dtype: DType = None
) -> tf.Tensor:
    """``W ~ U(-r, r)``, ``r = sqrt(6/(n_in + n_out))`` with ``fan="fan_average"``, ``sqrt(3/n_in)`` with ``"fan_in"``.

    The average form is Keras's ``GlorotUniform``.
    """
    return _uniform(generator, shape, 1 / _fan(shape, fan), dtype)


def he_normal(
    generator: tf.random.Generator, shape: Shape, *, truncated: bool = False, dtype: DType = None
) -> tf.Tensor:
    """``W ~ N(0, 2/n_in)``; ``truncated`` at two standard deviations, as Keras's ``HeNormal``, keeps the variance."""
    return _normal(generator, shape, 2 / _fan(shape, "fan_in"), truncated, dtype)


def he_uniform(generator: tf.random.Generator, shape: Shape, *, dtype: DType = None) -> tf.Tensor:
    """``W ~ U(-r, r)``, ``r = sqrt(6/n_in)``, of variance ``2/n_in``."""
    return _uniform(generator, shape, 2 / _fan(shape, "fan_in"), dtype)


def lecun_normal(
    generator: tf.random.Generator, shape: Shape, *, truncated: bool = False, dtype: DType = None
) -> tf.Tensor:
    """``W ~ N(0, 1/n_in)``, ``truncated`` as in :func:`he_normal`; Keras's ``LecunNormal`` is."""
    return _normal(generator, shape, 1 / _fan(shape, "fan_in"), truncated, dtype)


def lecun_uniform(generator: tf.random.Generator, shape: Shape, *, dtype: DType = None) -> tf.Tensor:
    """``W ~ U(-r, r)``, ``r = sqrt(3/n_in)``, of variance ``1/n_in``."""
    return _uniform(generator, shape, 1 / _fan(shape, "fan_in"), dtype)


def orthogonal(generator: tf.random.Generator, shape: Shape, *, gain: float = 1.0, dtype: DType = None) -> tf.Tensor:
    """``gain`` times a matrix with orthonormal rows (columns, if there are more rows), uniform among them.

    The rows of a convolution's are its ``n_out`` kernels, each as one vector.
    """
    _check_shape(shape)
    check_not_negative("gain", gain)
    n_out, n_in = shape[0], math.prod(shape[1:])
    drawn = generator.normal((max(n_out, n_in), min(n_out, n_in)), dtype=dtype or tf.float32)
    q, r = tf.linalg.qr(drawn)
    q = tf.where(tf.linalg.diag_part(r) < 0, -q, q)  # without the signs of R's diagonal, Q would not be uniform
    return tf.reshape(gain * (q if n_out >= n_in else tf.transpose(q)), shape)


INITIALIZERS: dict[str, Callable[..., tf.Tensor]] = {
    f.__name__: f
    for f in (
        zeros, scaled_normal, xavier_normal, xavier_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform,
        orthogonal,
    )
}  # fmt: skip

# The standard deviation of a standard normal number that is drawn again beyond two.
TRUNCATED_DEVIATION = 0.87962566103423978


def _normal(generator: tf.random.Generator, shape: Shape, variance: float, truncated: bool, dtype: DType) -> tf.Tensor:
    if truncated not in (True, False):
        raise ValueError(f"truncated={truncated!r} is not allowed: must be True or False")
    if not truncated:
        return math.sqrt(variance) * generator.normal(shape, dtype=dtype or tf.float32)
    return math.sqrt(variance) / TRUNCATED_DEVIATION * generator.truncated_normal(shape, dtype=dtype or tf.float32)


def _uniform(generator: tf.random.Generator, shape: Shape, variance: float, dtype: DType) -> tf.Tensor:
    largest = math.sqrt(3 * variance)
    return generator.uniform(shape, -largest, largest, dtype=dtype or tf.float32)


def _fan(shape: Shape, fan: str) -> float:
    """The number of connections that sets the scale: ``n_in``, or the mean of ``n_in`` and ``n_out``."""
    _check_shape(shape)
    if fan not in ("fan_in", "fan_average"):
        raise ValueError(f"fan={fan!r} is not allowed: must be 'fan_in' or 'fan_average'")
    places = math.prod(shape[1:-1])
    n_out, n_in = shape[0] * places, shape[-1] * places
    return n_in if fan == "fan_in" else (n_in + n_out) / 2


def _check_shape(shape: Shape) -> None:
    if len(shape) < 2 or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(f"shape={shape!r} is not allowed: must be (n_out, ..., n_in), two or more positive integers")
