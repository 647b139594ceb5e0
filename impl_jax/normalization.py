"""Input standardisation with the statistics of the training set only; batch and layer normalisation.

Activations ``z`` are of any rank, ``(m, ..., n)``: batch norm's means are over all axes but the last, layer norm's over
the last.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from numpy.typing import NDArray

from ._common import check_choice, check_decay, check_not_negative

Array: TypeAlias = jax.Array | NDArray
Pair = tuple[Any, Any]  # mean and variance, arrays or numbers


def standardization_statistics(x: Array) -> tuple[jax.Array, jax.Array]:
    """``mu_j = 1/m sum_i x_ij``, ``sigma_j = sqrt(1/m sum_i (x_ij - mu_j)^2)``, and 1 for a constant feature.

    ``x``: ``(m, n_0)``, the training set. Returns ``(mean, standard_deviation)``, each ``(n_0,)``.
    ``jax.nn.standardize`` takes the variance in one pass, which is wrong in float32 where the mean is large. Raises
    ValueError without examples.
    """
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"x has shape {x.shape}: must be (examples, features) with at least one example")
    x = jnp.asarray(x)
    mean = x.mean(axis=0)
    standard_deviation = jnp.sqrt(((x - mean) ** 2).mean(axis=0))
    constant = x.max(axis=0) == x.min(axis=0)  # rounding of the mean can leave a deviation that is not quite 0
    return mean, jnp.where(constant, 1, standard_deviation)


def standardize(x: Array, mean: Array, standard_deviation: Array) -> jax.Array:
    """``(x - mu) / sigma``. ``x``: ``(m, n_0)``; the statistics ``(n_0,)`` each, from the training set."""
    return (jnp.asarray(x) - mean) / standard_deviation


def batch_statistics(z: Array) -> tuple[jax.Array, jax.Array]:
    """Mean and population variance of each unit over the batch, each ``(n,)``, of ``z: (m, ..., n)``; two passes.

    ``mu_j = 1/m sum_i z_ij``, ``v_j = 1/m sum_i (z_ij - mu_j)^2``; of images or sequences, over their places too.
    """
    z = jnp.reshape(z, (-1, jnp.shape(z)[-1]))
    mean = z.mean(axis=0)
    return mean, ((z - mean) ** 2).mean(axis=0)


def batch_norm(
    z: Array, gamma: Array, beta: Array, mean: Array, variance: Array, *, epsilon: float = 1e-5
) -> jax.Array:
    """``gamma (z - mu) / sqrt(v + epsilon) + beta``: the batch's statistics in training, running ones in inference.

    ``z``: ``(m, ..., n)``; all others ``(n,)``. Raises ValueError if ``epsilon`` is negative or not finite.
    """
    check_not_negative("epsilon", epsilon)
    return jnp.asarray(gamma) * ((jnp.asarray(z) - mean) / jnp.sqrt(variance + float(epsilon))) + beta


def running_average(
    running: Pair, batch: Pair, examples: int, *, momentum: float = 0.9, running_variance: str = "biased"
) -> Pair:
    """The running mean and variance after a batch: ``r <- momentum r + (1 - momentum) batch``.

    ``running`` and ``batch`` are pairs ``(mean, variance)`` of ``(n,)``; ``examples`` is the batch's ``m``, times the
    places of images or sequences, by which the variance is divided (``"biased"``), or one less (``"unbiased"``). Raises
    ValueError unless ``0 <= momentum < 1``, for an unknown ``running_variance`` and for ``"unbiased"`` with one
    example.
    """
    check_decay("momentum", momentum)
    check_choice("running_variance", running_variance, ("biased", "unbiased"))
    known = not isinstance(examples, jax.core.Tracer)
    if running_variance == "unbiased" and known and int(examples) < 2:
        raise ValueError(f"examples={examples!r} is not allowed with running_variance='unbiased': must be 2 or more")
    momentum = float(momentum)
    mean, variance = batch
    if running_variance == "unbiased":
        variance = variance * (examples / (examples - 1))
    return momentum * running[0] + (1 - momentum) * mean, momentum * running[1] + (1 - momentum) * variance


def layer_norm(z: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5) -> jax.Array:
    """``gamma (z - mu) / sqrt(v + epsilon) + beta`` with mean and population variance over an example's units.

    ``z``: ``(m, ..., n)``; ``gamma`` and ``beta``: ``(n,)``. ``jax.nn.standardize`` takes the variance in one pass.
    Raises ValueError if ``epsilon`` is negative or not finite.
    """
    check_not_negative("epsilon", epsilon)
    deviations = z - jnp.mean(z, axis=-1, keepdims=True)
    variance = (deviations**2).mean(axis=-1, keepdims=True)
    return jnp.asarray(gamma) * (deviations / jnp.sqrt(variance + float(epsilon))) + beta


NORMALIZATIONS: dict[str, Callable[..., jax.Array]] = {"batch_norm": batch_norm, "layer_norm": layer_norm}
