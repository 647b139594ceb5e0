"""Input standardisation with the statistics of the training set only."""

import torch


def standardization_statistics(x):
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


def standardize(x, mean, standard_deviation):
    """``(x - mu) / sigma``. ``x``: ``(m, n_0)``; the statistics ``(n_0,)`` each, from the training set."""
    return (x - mean) / standard_deviation
