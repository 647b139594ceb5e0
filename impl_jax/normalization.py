"""Input standardisation with the statistics of the training set only."""

import jax.numpy as jnp


def standardization_statistics(x):
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


def standardize(x, mean, standard_deviation):
    """``(x - mu) / sigma``. ``x``: ``(m, n_0)``; the statistics ``(n_0,)`` each, from the training set."""
    return (jnp.asarray(x) - mean) / standard_deviation
