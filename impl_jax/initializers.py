"""Initial weights. Each function draws an array of ``shape = (n_out, n_in)`` from a PRNG key, typed or raw.

With a window between, ``(n_out, *window, n_in)``, the ``n_in`` and ``n_out`` of the formulas are these times the
elements of the window, and an orthogonal matrix is one of ``(n_out, all others)``. Biases start at zero everywhere in
the suite. ``dtype`` None means JAX's default: float64 with x64 enabled, else float32. ``jax.nn.initializers`` takes
shapes as ``(n_in, n_out)`` and truncates its normals at two standard deviations; these do so on request. Raises
ValueError when a dimension is not a positive integer.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ._common import check_not_negative

Shape = tuple[int, ...]  # (n_out, n_in), or with a window between them


def zeros(key: jax.Array, shape: Shape, *, dtype: DTypeLike | None = None) -> jax.Array:
    """All zeros, ``W = 0``; ``key`` is not used."""
    _check_shape(shape)
    return jnp.zeros(shape, dtype)


def scaled_normal(key: jax.Array, shape: Shape, *, scale: float = 0.01, dtype: DTypeLike | None = None) -> jax.Array:
    """``W ~ scale * N(0, 1)``. Raises ValueError if ``scale`` is negative or not finite."""
    _check_shape(shape)
    check_not_negative("scale", scale)
    return float(scale) * jax.random.normal(key, shape, dtype)


def xavier_normal(key: jax.Array, shape: Shape, *, fan: str = "fan_in", dtype: DTypeLike | None = None) -> jax.Array:
    """``W ~ N(0, 1/n_in)`` with ``fan="fan_in"``, ``N(0, 2/(n_in + n_out))`` with ``fan="fan_average"``.

    Raises ValueError for an unknown ``fan``.
    """
    return _normal(key, shape, 1 / _fan(shape, fan), False, dtype)


def xavier_uniform(
    key: jax.Array, shape: Shape, *, fan: str = "fan_average", dtype: DTypeLike | None = None
) -> jax.Array:
    """``W ~ U(-r, r)``, ``r = sqrt(6/(n_in + n_out))`` with ``fan="fan_average"``, ``sqrt(3/n_in)`` with ``"fan_in"``.

    Raises ValueError for an unknown ``fan``.
    """
    return _uniform(key, shape, 1 / _fan(shape, fan), dtype)


def he_normal(key: jax.Array, shape: Shape, *, truncated: bool = False, dtype: DTypeLike | None = None) -> jax.Array:
    """``W ~ N(0, 2/n_in)``; ``truncated`` at two standard deviations, the variance kept: ``jax.nn.initializers``'."""
    return _normal(key, shape, 2 / _fan(shape, "fan_in"), truncated, dtype)


def he_uniform(key: jax.Array, shape: Shape, *, dtype: DTypeLike | None = None) -> jax.Array:
    """``W ~ U(-r, r)``, ``r = sqrt(6/n_in)``, of variance ``2/n_in``."""
    return _uniform(key, shape, 2 / _fan(shape, "fan_in"), dtype)


def lecun_normal(key: jax.Array, shape: Shape, *, truncated: bool = False, dtype: DTypeLike | None = None) -> jax.Array:
    """``W ~ N(0, 1/n_in)``, ``truncated`` as in :func:`he_normal`."""
    return _normal(key, shape, 1 / _fan(shape, "fan_in"), truncated, dtype)


def lecun_uniform(key: jax.Array, shape: Shape, *, dtype: DTypeLike | None = None) -> jax.Array:
    """``W ~ U(-r, r)``, ``r = sqrt(3/n_in)``, of variance ``1/n_in``."""
    return _uniform(key, shape, 1 / _fan(shape, "fan_in"), dtype)


def orthogonal(key: jax.Array, shape: Shape, *, gain: float = 1.0, dtype: DTypeLike | None = None) -> jax.Array:
    """``gain`` times a matrix with orthonormal rows (columns, if there are more rows): JAX's own.

    Raises ValueError if ``gain`` is negative or not finite.
    """
    _check_shape(shape)
    check_not_negative("gain", gain)
    matrix = (shape[0], math.prod(shape[1:]))
    return jax.nn.initializers.orthogonal(float(gain))(key, matrix, dtype).reshape(shape)


INITIALIZERS: dict[str, Callable[..., jax.Array]] = {
    f.__name__: f
    for f in (
        zeros, scaled_normal, xavier_normal, xavier_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform,
        orthogonal,
    )
}  # fmt: skip

# The standard deviation of a standard normal number that is drawn again beyond two.
TRUNCATED_DEVIATION = 0.87962566103423978


def _normal(key: jax.Array, shape: Shape, variance: float, truncated: bool, dtype: DTypeLike | None) -> jax.Array:
    if truncated not in (True, False):
        raise ValueError(f"truncated={truncated!r} is not allowed: must be True or False")
    if not truncated:
        return math.sqrt(variance) * jax.random.normal(key, shape, dtype)
    return math.sqrt(variance) / TRUNCATED_DEVIATION * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


def _uniform(key: jax.Array, shape: Shape, variance: float, dtype: DTypeLike | None) -> jax.Array:
    largest = math.sqrt(3 * variance)
    return jax.random.uniform(key, shape, dtype, -largest, largest)


def _fan(shape: Shape, fan: str) -> float:
    """The number of connections that sets the scale: ``n_in``, or the mean of ``n_in`` and ``n_out``."""
    _check_shape(shape)
    if fan not in ("fan_in", "fan_average"):
        raise ValueError(f"fan={fan!r} is not allowed: must be 'fan_in' or 'fan_average'")
    places = math.prod(shape[1:-1])
    n_out, n_in = shape[0] * places, shape[-1] * places
    return n_in if fan == "fan_in" else (n_in + n_out) / 2


def _check_shape(shape: Any) -> Shape:
    if len(shape) < 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(f"shape={shape!r} is not allowed: must be (n_out, ..., n_in), two or more positive integers")
    return shape
