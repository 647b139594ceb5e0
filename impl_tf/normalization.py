"""Input standardisation with the statistics of the training set only."""

import tensorflow as tf


def standardization_statistics(x):
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


def standardize(x, mean, standard_deviation):
    """``(x - mu) / sigma``; ``x``: ``(m, n_0)``, the statistics ``(n_0,)`` each, from the training set."""
    return (x - mean) / standard_deviation
