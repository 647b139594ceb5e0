"""Activation functions: each maps a tensor ``z`` (any shape unless said) to one of the same shape and dtype."""

import math

import torch
import torch.nn.functional as F


def identity(z):
    """``f(z) = z``."""
    return z


def sigmoid(z):
    """``f(z) = 1 / (1 + exp(-z))``; PyTorch's own, which gives 0 where the result would be a denormal number."""
    return torch.sigmoid(z)


def tanh(z):
    """The hyperbolic tangent; PyTorch's own."""
    return torch.tanh(z)


def relu(z, *, derivative_at_zero=0):
    """``f(z) = max(z, 0)``, with ``f'(0) = derivative_at_zero``, 0 (``F.relu``) or 1 (the derivative of ``clamp``).

    Raises ValueError for another number.
    """
    _check_derivative_at_zero(derivative_at_zero)
    return z.clamp(min=0) if derivative_at_zero == 1 else F.relu(z)


def leaky_relu(z, *, slope=0.01):
    """``f(z) = z`` for ``z > 0``, ``slope z`` otherwise, with ``f'(0) = slope``; PyTorch's own and its default slope.

    Raises ValueError if ``slope`` is not finite.
    """
    _check_slope(slope)
    return F.leaky_relu(z, slope)


def elu(z, *, alpha=1.0):
    """``f(z) = z`` for ``z > 0``, ``alpha (exp(z) - 1)`` otherwise; PyTorch's own, with ``f'(0) = alpha``.

    Raises ValueError unless ``alpha`` is finite and positive.
    """
    _check_alpha(alpha)
    return F.elu(z, alpha)


def softplus(z):
    """``f(z) = log(1 + exp(z)) = -log(sigmoid(-z))``; ``F.softplus`` goes linear above 20, which is 2e-9 away."""
    return -F.logsigmoid(-z)


def swish(z):
    """``f(z) = z sigmoid(z)``; PyTorch's ``silu``."""
    return F.silu(z)


def gelu(z, *, approximate=False):
    """``f(z) = z Phi(z)``, ``Phi`` the standard normal distribution function, or with ``approximate`` its tanh form.

    ``F.gelu`` is the same function, but computes ``Phi`` as ``(1 + erf)/2``, which has few digits for ``z < -5`` and is
    0 for ``z < -8.3``. Raises ValueError unless ``approximate`` is True or False.
    """
    if approximate not in (True, False):
        raise ValueError(f"approximate={approximate!r} is not allowed: must be True or False")
    return F.gelu(z, approximate="tanh") if approximate else 0.5 * z * torch.erfc(-z / math.sqrt(2))


def softmax(z):
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis; PyTorch's own, shifted by the maximum."""
    return torch.softmax(z, dim=-1)


ACTIVATIONS = {f.__name__: f for f in (identity, sigmoid, tanh, relu, leaky_relu, elu, softplus, swish, gelu, softmax)}


def _check_derivative_at_zero(value):
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")


def _check_slope(slope):
    if not math.isfinite(slope):
        raise ValueError(f"slope={slope!r} is not allowed: must be a finite number")


def _check_alpha(alpha):
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ValueError(f"alpha={alpha!r} is not allowed: must be a finite number > 0")
