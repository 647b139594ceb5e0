"""Initial weights. Each function draws an array of ``shape = (n_out, n_in)`` from a ``numpy.random.Generator``.

A convolution's ``shape`` is ``(n_out, *window, n_in)``; each unit then has ``n_in`` connections for every place in the
window, and ``n_in`` and ``n_out`` below are multiplied by their number. Biases start at zero everywhere in the suite.
``dtype`` None means NumPy's default, float64. Raises ValueError when a dimension is not a positive integer.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._common import check_not_negative

Array = NDArray[Any]


def zeros(generator: np.random.Generator | None, shape: tuple[int, ...], *, dtype: DTypeLike | None = None) -> Array:
    """All zeros: right for logistic regression, wrong (units stay equal) for a network with hidden layers.

    >>> zeros(None, (1, 2))
    array([[0., 0.]])
    """
    _check_shape(shape)
    return np.zeros(shape, dtype)


def scaled_normal(
    generator: np.random.Generator, shape: tuple[int, ...], *, scale: float = 0.01, dtype: DTypeLike | None = None
) -> Array:
    """``W ~ scale * N(0, 1)``. Source: the course, course 1 week 3 (``scale = 0.01``).

    >>> scaled_normal(np.random.default_rng(0), (2, 3)).shape
    (2, 3)
    """
    _check_shape(shape)
    check_not_negative("scale", scale)
    return (scale * generator.standard_normal(shape)).astype(dtype)


def xavier_normal(
    generator: np.random.Generator, shape: tuple[int, ...], *, fan: str = "fan_in", dtype: DTypeLike | None = None
) -> Array:
    """``W ~ N(0, 1/n_in)`` with ``fan="fan_in"`` (the course), ``N(0, 2/(n_in + n_out))`` with ``fan="fan_average"``.

    Raises ValueError for an unknown ``fan``. Source: Glorot & Bengio 2010, eq. 12 (average form); the course, course 2
    week 1 (fan-in form, for tanh).

    >>> xavier_normal(np.random.default_rng(0), (2, 3)).shape
    (2, 3)
    """
    return _normal(generator, shape, 1 / _fan(shape, fan), False, dtype)


def xavier_uniform(
    generator: np.random.Generator, shape: tuple[int, ...], *, fan: str = "fan_average", dtype: DTypeLike | None = None
) -> Array:
    """``W ~ U(-r, r)``, ``r = sqrt(6/(n_in + n_out))`` with ``fan="fan_average"``, ``sqrt(3/n_in)`` with ``"fan_in"``.

    The variances are those of :func:`xavier_normal`. Raises ValueError for an unknown ``fan``. Source: Glorot & Bengio
    2010, eq. 16. (Keras's default; PyTorch's ``Linear`` starts from ``U(-1/sqrt(n_in), 1/sqrt(n_in))``, biases too.)

    >>> bool(abs(xavier_uniform(np.random.default_rng(0), (2, 4))).max() <= 1.0)
    True
    """
    return _uniform(generator, shape, 1 / _fan(shape, fan), dtype)


def he_normal(
    generator: np.random.Generator, shape: tuple[int, ...], *, truncated: bool = False, dtype: DTypeLike | None = None
) -> Array:
    """``W ~ N(0, 2/n_in)``; ``truncated`` draws again beyond two standard deviations and keeps the variance.

    Source: He, Zhang, Ren & Sun 2015, eq. 10; the course, course 2 week 1. (Keras and JAX truncate, PyTorch does not.)

    >>> he_normal(np.random.default_rng(0), (2, 3)).shape
    (2, 3)
    """
    return _normal(generator, shape, 2 / _fan(shape, "fan_in"), truncated, dtype)


def he_uniform(generator: np.random.Generator, shape: tuple[int, ...], *, dtype: DTypeLike | None = None) -> Array:
    """``W ~ U(-r, r)``, ``r = sqrt(6/n_in)``, of variance ``2/n_in``. Source: He, Zhang, Ren & Sun 2015, eq. 10.

    >>> bool(abs(he_uniform(np.random.default_rng(0), (2, 6))).max() <= 1.0)
    True
    """
    return _uniform(generator, shape, 2 / _fan(shape, "fan_in"), dtype)


def lecun_normal(
    generator: np.random.Generator, shape: tuple[int, ...], *, truncated: bool = False, dtype: DTypeLike | None = None
) -> Array:
    """``W ~ N(0, 1/n_in)``, ``truncated`` as in :func:`he_normal`. Source: LeCun, Bottou, Orr & Müller 1998, eq. 16.

    >>> lecun_normal(np.random.default_rng(0), (2, 3), truncated=True).shape
    (2, 3)
    """
    return _normal(generator, shape, 1 / _fan(shape, "fan_in"), truncated, dtype)


def lecun_uniform(generator: np.random.Generator, shape: tuple[int, ...], *, dtype: DTypeLike | None = None) -> Array:
    """``W ~ U(-r, r)``, ``r = sqrt(3/n_in)``, of variance ``1/n_in``. Source: LeCun, Bottou, Orr & Müller 1998, eq. 16.

    >>> bool(abs(lecun_uniform(np.random.default_rng(0), (2, 3))).max() <= 1.0)
    True
    """
    return _uniform(generator, shape, 1 / _fan(shape, "fan_in"), dtype)


def orthogonal(
    generator: np.random.Generator, shape: tuple[int, ...], *, gain: float = 1.0, dtype: DTypeLike | None = None
) -> Array:
    """``gain`` times a matrix with orthonormal rows (columns, if there are more rows), uniform among them.

    The orthogonal factor ``Q`` of a normal matrix, with the signs of ``R``'s diagonal. The rows of a convolution's are
    its ``n_out`` kernels, each as one vector. Raises ValueError if ``gain`` is negative or not finite. Source: Saxe,
    McClelland & Ganguli 2014; Mezzadri 2007 for the signs.

    >>> w = orthogonal(np.random.default_rng(0), (2, 3))
    >>> np.allclose(w @ w.T, np.eye(2))
    True
    """
    _check_shape(shape)
    check_not_negative("gain", gain)
    n_out, n_in = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(generator.standard_normal((max(n_out, n_in), min(n_out, n_in))))
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return (gain * (q if n_out >= n_in else q.T)).astype(dtype).reshape(shape)


INITIALIZERS: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        zeros, scaled_normal, xavier_normal, xavier_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform,
        orthogonal,
    )
}  # fmt: skip

# The standard deviation of a standard normal number that is drawn again beyond two.
TRUNCATED_DEVIATION = 0.87962566103423978


def _normal(
    generator: np.random.Generator, shape: tuple[int, ...], variance: float, truncated: bool, dtype: DTypeLike | None
) -> Array:
    if truncated not in (True, False):
        raise ValueError(f"truncated={truncated!r} is not allowed: must be True or False")
    drawn = generator.standard_normal(shape)
    if not truncated:
        return (math.sqrt(variance) * drawn).astype(dtype)
    while (outside := np.abs(drawn) > 2).any():
        drawn[outside] = generator.standard_normal(np.count_nonzero(outside))
    return (math.sqrt(variance) / TRUNCATED_DEVIATION * drawn).astype(dtype)


def _uniform(generator: np.random.Generator, shape: tuple[int, ...], variance: float, dtype: DTypeLike | None) -> Array:
    largest = math.sqrt(3 * variance)
    return generator.uniform(-largest, largest, shape).astype(dtype)


def _fan(shape: tuple[int, ...], fan: str) -> float:
    """The number of connections that sets the scale: ``n_in``, or the mean of ``n_in`` and ``n_out``."""
    _check_shape(shape)
    if fan not in ("fan_in", "fan_average"):
        raise ValueError(f"fan={fan!r} is not allowed: must be 'fan_in' or 'fan_average'")
    places = math.prod(shape[1:-1])
    n_out, n_in = shape[0] * places, shape[-1] * places
    return n_in if fan == "fan_in" else (n_in + n_out) / 2


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(f"shape={shape!r} is not allowed: must be (n_out, ..., n_in), two or more positive integers")
