"""Initial weights. Each function draws a tensor of ``shape = (n_out, n_in)`` from a ``torch.Generator``, on its device.

A convolution's weights have ``shape = (n_out, *window, n_in)``: each of its connections counts, so that ``n_in`` and
``n_out`` in the formulas are those of the shape times the size of the window. ``nn.init`` wants them as PyTorch has
them, ``(n_out, n_in, *window)``, for the same numbers.

``generator`` None means PyTorch's default generator, ``dtype`` None its default dtype. None of these is what
``nn.Linear`` does by itself: U(-1/sqrt(n_in), 1/sqrt(n_in)), for the biases too. Raises ValueError when a dimension
is not a positive integer.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Integral

import torch
from torch import Tensor, nn

from ._common import check_not_negative

Shape = Sequence[int]


def zeros(generator: torch.Generator | None, shape: Shape, *, dtype: torch.dtype | None = None) -> Tensor:
    """All zeros."""
    _check_shape(shape)
    return torch.zeros(shape, dtype=dtype, device=_device(generator))


def scaled_normal(
    generator: torch.Generator | None, shape: Shape, *, scale: float = 0.01, dtype: torch.dtype | None = None
) -> Tensor:
    """``W ~ scale * N(0, 1)``, as ``nn.init.normal_(W, std=scale)``. Raises ValueError for a negative scale."""
    _check_shape(shape)
    check_not_negative("scale", scale)
    return scale * _standard_normal(generator, shape, dtype)


def xavier_normal(
    generator: torch.Generator | None, shape: Shape, *, fan: str = "fan_in", dtype: torch.dtype | None = None
) -> Tensor:
    """``W ~ N(0, 1/n_in)`` or, with ``fan="fan_average"``, ``N(0, 2/(n_in + n_out))``.

    ``nn.init.xavier_normal_`` is the average form. Raises ValueError for another ``fan``.
    """
    return _normal(generator, shape, 1 / _fan(shape, fan), False, dtype)


def xavier_uniform(
    generator: torch.Generator | None, shape: Shape, *, fan: str = "fan_average", dtype: torch.dtype | None = None
) -> Tensor:
    """``W ~ U(-r, r)``, ``r = sqrt(6/(n_in + n_out))`` or, with ``fan="fan_in"``, ``sqrt(3/n_in)``.

    ``nn.init.xavier_uniform_`` is the average form. Raises ValueError for another ``fan``.
    """
    return _uniform(generator, shape, 1 / _fan(shape, fan), dtype)


def he_normal(
    generator: torch.Generator | None, shape: Shape, *, truncated: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    """``W ~ N(0, 2/n_in)``, by default not truncated: ``nn.init.kaiming_normal_(W, nonlinearity="relu")``.

    ``truncated``: none beyond two standard deviations, at the same variance.
    """
    return _normal(generator, shape, 2 / _fan(shape, "fan_in"), truncated, dtype)


def he_uniform(generator: torch.Generator | None, shape: Shape, *, dtype: torch.dtype | None = None) -> Tensor:
    """``W ~ U(-r, r)``, ``r = sqrt(6/n_in)``, as ``nn.init.kaiming_uniform_(W, nonlinearity="relu")``."""
    return _uniform(generator, shape, 2 / _fan(shape, "fan_in"), dtype)


def lecun_normal(
    generator: torch.Generator | None, shape: Shape, *, truncated: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    """``W ~ N(0, 1/n_in)``, ``truncated`` as in :func:`he_normal`; PyTorch has none of this name."""
    return _normal(generator, shape, 1 / _fan(shape, "fan_in"), truncated, dtype)


def lecun_uniform(generator: torch.Generator | None, shape: Shape, *, dtype: torch.dtype | None = None) -> Tensor:
    """``W ~ U(-r, r)``, ``r = sqrt(3/n_in)``; PyTorch has none of this name."""
    return _uniform(generator, shape, 1 / _fan(shape, "fan_in"), dtype)


def orthogonal(
    generator: torch.Generator | None, shape: Shape, *, gain: float = 1.0, dtype: torch.dtype | None = None
) -> Tensor:
    """``gain`` times a matrix with orthonormal rows (columns, if there are more rows): ``nn.init.orthogonal_``.

    Of a shape of more than two axes it is the matrix ``(n_out, all others)``. Raises ValueError if ``gain`` is negative
    or not finite.
    """
    _check_shape(shape)
    check_not_negative("gain", gain)
    empty = torch.empty(shape, dtype=dtype, device=_device(generator))
    return nn.init.orthogonal_(empty, gain, generator=generator)


INITIALIZERS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        zeros, scaled_normal, xavier_normal, xavier_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform,
        orthogonal,
    )
}  # fmt: skip

# The standard deviation of a standard normal number that is drawn again beyond two.
TRUNCATED_DEVIATION = 0.87962566103423978


def _normal(
    generator: torch.Generator | None, shape: Shape, variance: float, truncated: bool, dtype: torch.dtype | None
) -> Tensor:
    if truncated not in (True, False):
        raise ValueError(f"truncated={truncated!r} is not allowed: must be True or False")
    if not truncated:
        return math.sqrt(variance) * _standard_normal(generator, shape, dtype)
    drawn = torch.empty(shape, dtype=dtype, device=_device(generator))
    nn.init.trunc_normal_(drawn, a=-2.0, b=2.0, generator=generator)  # a and b are limits, not deviations
    return math.sqrt(variance) / TRUNCATED_DEVIATION * drawn


def _uniform(generator: torch.Generator | None, shape: Shape, variance: float, dtype: torch.dtype | None) -> Tensor:
    largest = math.sqrt(3 * variance)
    empty = torch.empty(shape, dtype=dtype, device=_device(generator))
    return empty.uniform_(-largest, largest, generator=generator)


def _standard_normal(generator: torch.Generator | None, shape: Shape, dtype: torch.dtype | None) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=dtype, device=_device(generator))


def _device(generator: torch.Generator | None) -> torch.device | None:
    return None if generator is None else generator.device


def _fan(shape: Shape, fan: str) -> float:
    """The number of connections that sets the scale: ``n_in``, or the mean of ``n_in`` and ``n_out``."""
    _check_shape(shape)
    if fan not in ("fan_in", "fan_average"):
        raise ValueError(f"fan={fan!r} is not allowed: must be 'fan_in' or 'fan_average'")
    places = math.prod(shape[1:-1])
    n_out, n_in = shape[0] * places, shape[-1] * places
    return n_in if fan == "fan_in" else (n_in + n_out) / 2


def _check_shape(shape: Shape) -> Shape:
    if len(shape) < 2 or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(f"shape={shape!r} is not allowed: must be (n_out, ..., n_in), two or more positive integers")
    return shape
