"""Initial weights. Each function draws a tensor of ``shape = (n_out, n_in)`` from a ``torch.Generator``, on its device.

``generator`` None means PyTorch's default generator, ``dtype`` None its default dtype. None of these is what
``nn.Linear`` does by itself: U(-1/sqrt(n_in), 1/sqrt(n_in)), for the biases too. Raises ValueError when a dimension
is not a positive integer.
"""

import math
from numbers import Integral

import torch


def zeros(generator, shape, *, dtype=None):
    """All zeros."""
    _check_shape(shape)
    return torch.zeros(shape, dtype=dtype, device=_device(generator))


def scaled_normal(generator, shape, *, scale=0.01, dtype=None):
    """``W ~ scale * N(0, 1)``, as ``nn.init.normal_(W, std=scale)``. Raises ValueError for a negative scale."""
    _check_shape(shape)
    if not (scale >= 0 and math.isfinite(scale)):
        raise ValueError(f"scale={scale!r} is not allowed: must be a finite number >= 0")
    return scale * _standard_normal(generator, shape, dtype)


def xavier_normal(generator, shape, *, fan="fan_in", dtype=None):
    """``W ~ N(0, 1/n_in)`` or, with ``fan="fan_average"``, ``N(0, 2/(n_in + n_out))``.

    ``nn.init.xavier_normal_`` is the average form. Raises ValueError for another ``fan``.
    """
    n_out, n_in = _check_shape(shape)
    if fan not in ("fan_in", "fan_average"):
        raise ValueError(f"fan={fan!r} is not allowed: must be 'fan_in' or 'fan_average'")
    variance = 1 / n_in if fan == "fan_in" else 2 / (n_in + n_out)
    return math.sqrt(variance) * _standard_normal(generator, shape, dtype)


def he_normal(generator, shape, *, dtype=None):
    """``W ~ N(0, 2/n_in)``, not truncated, as ``nn.init.kaiming_normal_(W, nonlinearity="relu")``."""
    _, n_in = _check_shape(shape)
    return math.sqrt(2 / n_in) * _standard_normal(generator, shape, dtype)


INITIALIZERS = {f.__name__: f for f in (zeros, scaled_normal, xavier_normal, he_normal)}


def _standard_normal(generator, shape, dtype):
    return torch.randn(shape, generator=generator, dtype=dtype, device=_device(generator))


def _device(generator):
    return None if generator is None else generator.device


def _check_shape(shape):
    if len(shape) != 2 or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(f"shape={shape!r} is not allowed: must be (n_out, n_in), two positive integers")
    return shape
