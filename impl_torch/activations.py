"""Activation functions: each maps a tensor ``z`` (any shape unless said) to one of the same shape and dtype."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import check_finite, check_positive

# Klambauer et al. 2017: with these a layer of normalised inputs has normalised outputs.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


class _Softsign(torch.autograd.Function):
    """Its own derivative: autograd's, ``1/(1 + |z|) - |z|/(1 + |z|)^2``, cancels where ``|z|`` is large."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return F.softsign(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return gradients[0] / (1 + z.abs()).square()


def identity(z: Tensor) -> Tensor:
    """``f(z) = z``."""
    return z


def sigmoid(z: Tensor) -> Tensor:
    """``f(z) = 1 / (1 + exp(-z))``; PyTorch's own, which gives 0 where the result would be a denormal number."""
    return torch.sigmoid(z)


def tanh(z: Tensor) -> Tensor:
    """The hyperbolic tangent; PyTorch's own."""
    return torch.tanh(z)


def softsign(z: Tensor) -> Tensor:
    """``f(z) = z / (1 + |z|)``, ``f'(z) = 1 / (1 + |z|)^2``.

    The value is ``F.softsign``'s; its gradient by autograd is a difference, which has few digits for large ``|z|``.
    """
    return _Softsign.apply(z)


def relu(z: Tensor, *, derivative_at_zero: float = 0) -> Tensor:
    """``f(z) = max(z, 0)``, with ``f'(0) = derivative_at_zero``, 0 (``F.relu``) or 1 (the derivative of ``clamp``).

    Raises ValueError for another number.
    """
    _check_derivative_at_zero(derivative_at_zero)
    return z.clamp(min=0) if derivative_at_zero == 1 else F.relu(z)


def leaky_relu(z: Tensor, *, slope: float = 0.01) -> Tensor:
    """``f(z) = z`` for ``z > 0``, ``slope z`` otherwise, with ``f'(0) = slope``; PyTorch's own and its default slope.

    Raises ValueError if ``slope`` is not finite.
    """
    check_finite("slope", slope)
    return F.leaky_relu(z, slope)


def elu(z: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``f(z) = z`` for ``z > 0``, ``alpha (exp(z) - 1)`` otherwise; PyTorch's own, with ``f'(0) = alpha``.

    Raises ValueError unless ``alpha`` is finite and positive.
    """
    check_positive("alpha", alpha)
    return F.elu(z, alpha)


def selu(z: Tensor) -> Tensor:
    """``f(z) = scale z`` for ``z > 0``, ``scale alpha (exp(z) - 1)`` otherwise, with ``f'(0) = scale alpha``.

    ``alpha`` is ``SELU_ALPHA``, ``scale`` ``SELU_SCALE``; ``F.selu`` is the same function with the same numbers.
    """
    return SELU_SCALE * F.elu(z, SELU_ALPHA)


def softplus(z: Tensor) -> Tensor:
    """``f(z) = log(1 + exp(z)) = -log(sigmoid(-z))``; ``F.softplus`` goes linear above 20, which is 2e-9 away."""
    return -F.logsigmoid(-z)


def swish(z: Tensor) -> Tensor:
    """``f(z) = z sigmoid(z)``; PyTorch's ``silu``."""
    return F.silu(z)


def gelu(z: Tensor, *, approximate: bool = False) -> Tensor:
    """``f(z) = z Phi(z)``, ``Phi`` the standard normal distribution function, or with ``approximate`` its tanh form.

    ``F.gelu`` is the same function, but computes ``Phi`` as ``(1 + erf)/2``, which has few digits for ``z < -5`` and is
    0 for ``z < -8.3``. Raises ValueError unless ``approximate`` is True or False.
    """
    if approximate not in (True, False):
        raise ValueError(f"approximate={approximate!r} is not allowed: must be True or False")
    return F.gelu(z, approximate="tanh") if approximate else 0.5 * z * torch.erfc(-z / math.sqrt(2))


def softmax(z: Tensor) -> Tensor:
    """``f(z)_k = exp(z_k) / sum_j exp(z_j)`` over the last axis; PyTorch's own, shifted by the maximum."""
    return torch.softmax(z, dim=-1)


def log_softmax(z: Tensor) -> Tensor:
    """``z - max - log(sum_j exp(z_j - max))`` over the last axis; PyTorch's own."""
    return torch.log_softmax(z, -1)


ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        identity, sigmoid, tanh, softsign, relu, leaky_relu, elu, selu, softplus, swish, gelu, softmax,
    )
}  # fmt: skip


def _check_derivative_at_zero(value: float) -> None:
    if value not in (0, 1):
        raise ValueError(f"derivative_at_zero={value!r} is not allowed: must be 0 or 1")
