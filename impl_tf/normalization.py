"""Input standardisation with the statistics of the training set only; batch and layer normalisation.

Activations may have more axes than two, ``(m, ..., n)``: whatever stands along the last one is then an example of its
own.
"""

from collections.abc import Callable

import tensorflow as tf

from ._common import check_choice, check_decay, check_not_negative

Pair = tuple[tf.Tensor, tf.Tensor]


def standardization_statistics(x: tf.Tensor) -> Pair:
    """``mu_j = 1/m sum_i x_ij``, ``sigma_j = sqrt(1/m sum_i (x_ij - mu_j)^2)``, 1 for a constant feature.

    ``x``: ``(m, n_0)``, the training set. Returns ``(mean, standard_deviation)``, each ``(n_0,)``.
    ``tf.math.reduce_std`` is the population form in two passes, as wanted. Raises ValueError if ``x`` has no example.
    """
    x = tf.convert_to_tensor(x)
    if x.shape.rank != 2 or x.shape[0] == 0:
        raise ValueError(f"x has shape {x.shape}: must be (examples, features) with at least one example")
    mean = tf.reduce_mean(x, axis=0)
    standard_deviation = tf.math.reduce_std(x, axis=0)
    # Asked of the values: rounding of the mean can leave a deviation that is not quite 0.
    constant = tf.reduce_max(x, axis=0) == tf.reduce_min(x, axis=0)
    return mean, tf.where(constant, tf.ones_like(mean), standard_deviation)


def standardize(x: tf.Tensor, mean: tf.Tensor, standard_deviation: tf.Tensor) -> tf.Tensor:
    """``(x - mu) / sigma``; ``x``: ``(m, n_0)``, the statistics ``(n_0,)`` each, from the training set."""
    return (x - mean) / standard_deviation


def batch_statistics(z: tf.Tensor) -> Pair:
    """Mean and population variance of each unit over the batch, each ``(n,)``, of ``z: (m, n)``.

    ``tf.nn.moments`` takes two passes. (``tf.raw_ops.FusedBatchNormV3`` gives out a variance over ``m - 1``.)
    """
    z = tf.reshape(z, (-1, z.shape[-1]))
    return tf.nn.moments(z, axes=[0])


def batch_norm(
    z: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    *,
    epsilon: float = 1e-5,
) -> tf.Tensor:
    """``gamma (z - mu) / sqrt(v + epsilon) + beta``: the batch's statistics in training, running ones in inference.

    ``z``: ``(m, n)``; all others ``(n,)``. ``tf.nn.batch_normalization`` subtracts ``mu gamma / sqrt(v + epsilon)``
    from ``z gamma / sqrt(v + epsilon)`` instead, which loses the digits that a large ``mu`` takes.
    """
    check_not_negative("epsilon", epsilon)
    return gamma * ((z - mean) / tf.sqrt(variance + epsilon)) + beta


def running_average(
    running: Pair, batch: Pair, examples: int | tf.Tensor, *, momentum: float = 0.9, running_variance: str = "biased"
) -> Pair:
    """The running mean and variance after a batch: ``r <- momentum r + (1 - momentum) batch``.

    ``running`` and ``batch`` are pairs ``(mean, variance)`` of ``(n,)``; ``examples`` is the batch's ``m``. The
    variance that enters the average is divided by ``m`` (``"biased"``, Keras) or ``m - 1`` (``"unbiased"``).
    """
    check_decay("momentum", momentum)
    check_choice("running_variance", running_variance, ("biased", "unbiased"))
    known = not tf.is_tensor(examples)  # a tensor in a ``tf.function`` whose batches may have any size
    if running_variance == "unbiased" and known and examples < 2:
        raise ValueError(f"examples={examples!r} is not allowed with running_variance='unbiased': must be 2 or more")
    mean, variance = batch
    examples = examples if known else tf.cast(examples, variance.dtype)
    if running_variance == "unbiased":
        variance = variance * (examples / (examples - 1))
    return momentum * running[0] + (1 - momentum) * mean, momentum * running[1] + (1 - momentum) * variance


def layer_norm(z: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, *, epsilon: float = 1e-5) -> tf.Tensor:
    """``gamma (z - mu) / sqrt(v + epsilon) + beta`` with mean and population variance over an example's units.

    ``z``: ``(m, n)``; ``gamma`` and ``beta``: ``(n,)``. The same in training and inference. Moments with
    ``keepdims`` would let a ``tf.function`` take, on a CPU and where no gradient is asked for, a oneDNN kernel for all
    of this, which it then does not find in float64.
    """
    check_not_negative("epsilon", epsilon)
    mean, variance = (tf.expand_dims(moment, axis=-1) for moment in tf.nn.moments(z, axes=[-1]))
    return gamma * ((z - mean) / tf.sqrt(variance + epsilon)) + beta


NORMALIZATIONS: dict[str, Callable[..., tf.Tensor]] = {"batch_norm": batch_norm, "layer_norm": layer_norm}
