"""Input standardisation with the statistics of the training set only; batch and layer normalisation."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ._common import check_choice, check_decay, check_not_negative


def standardization_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """``mu_j = 1/m sum_i x_ij``, ``sigma_j = sqrt(1/m sum_i (x_ij - mu_j)^2)``.

    A constant feature gets ``sigma_j = 1``; its values decide, as rounding can leave a deviation just above 0. ``x``:
    ``(m, n_0)``, the training set. Returns ``(mean, standard_deviation)``, each ``(n_0,)``. ``torch.std`` divides by
    ``m - 1`` unless told ``correction=0``. Raises ValueError if ``x`` has no example.
    """
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}: must be (examples, features) with at least one example")
    mean = x.mean(dim=0)
    standard_deviation = (x - mean).square().mean(dim=0).sqrt()
    constant = x.amax(dim=0) == x.amin(dim=0)  # rounding of the mean can leave a deviation that is not quite 0
    return mean, torch.where(constant, torch.ones_like(mean), standard_deviation)


def standardize(x: Tensor, mean: Tensor, standard_deviation: Tensor) -> Tensor:
    """``(x - mu) / sigma``. ``x``: ``(m, n_0)``; the statistics ``(n_0,)`` each, from the training set."""
    return (x - mean) / standard_deviation


def batch_statistics(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population variance of each unit over the batch, each ``(n,)``, of ``z: (m, ..., n)``; two passes.

    The batch is all axes but the last. ``torch.var_mean`` divides by ``m - 1`` unless told
    ``correction=0``.
    """
    z = z.flatten(end_dim=-2)
    mean = z.mean(dim=0)
    return mean, (z - mean).square().mean(dim=0)


def batch_norm(
    z: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float = 1e-5
) -> Tensor:
    """``gamma (z - mu) / sqrt(v + epsilon) + beta``: the batch's statistics in training, running ones in inference.

    ``z``: ``(m, ..., n)``; all others ``(n,)``. ``F.batch_norm`` is the same function, has the units on the second
    axis, takes the batch's statistics itself and refuses a batch of one example. Raises ValueError if ``epsilon`` is
    negative or not finite.
    """
    check_not_negative("epsilon", epsilon)
    return gamma * ((z - mean) / (variance + epsilon).sqrt()) + beta


def running_average(
    running: Sequence[Tensor],
    batch: Sequence[Tensor],
    examples: int,
    *,
    momentum: float = 0.9,
    running_variance: str = "biased",
) -> tuple[Tensor, Tensor]:
    """``r <- momentum r + (1 - momentum) batch`` for ``(mean, variance)``, pairs of ``(n,)``.

    ``examples``: the batch's ``m``, or ``m h w`` of images: the number of averaged values, by which the variance that
    enters is divided (``"biased"``), or by one less (``"unbiased"``). ``nn.BatchNorm1d``'s is the unbiased one, and its
    ``momentum`` is 1 - ours. Raises ValueError unless ``0 <= momentum < 1``, for an unknown ``running_variance`` and
    for ``"unbiased"`` with one example.
    """
    check_decay("momentum", momentum)
    check_choice("running_variance", running_variance, ("biased", "unbiased"))
    if running_variance == "unbiased" and examples < 2:
        raise ValueError(f"examples={examples!r} is not allowed with running_variance='unbiased': must be 2 or more")
    mean, variance = batch
    if running_variance == "unbiased":
        variance = variance * (examples / (examples - 1))
    return momentum * running[0] + (1 - momentum) * mean, momentum * running[1] + (1 - momentum) * variance


def layer_norm(z: Tensor, gamma: Tensor, beta: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """``gamma (z - mu) / sqrt(v + epsilon) + beta`` with mean and population variance over an example's units.

    ``z``: ``(m, ..., n)``; ``gamma`` and ``beta``: ``(n,)``. ``F.layer_norm`` is the same function; where the mean is
    large beside the deviation, its gradient has the larger rounding errors. Raises ValueError if ``epsilon`` is
    negative or not finite.
    """
    check_not_negative("epsilon", epsilon)
    centred = z - z.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return gamma * (centred / (variance + epsilon).sqrt()) + beta


NORMALIZATIONS: dict[str, Callable[..., Tensor]] = {"batch_norm": batch_norm, "layer_norm": layer_norm}
