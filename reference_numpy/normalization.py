"""Input standardisation with the statistics of the training set only."""

import numpy as np


def standardization_statistics(x):
    """Mean and population standard deviation of each feature.

    ``mu_j = 1/m sum_i x_ij``, ``sigma_j = sqrt(1/m sum_i (x_ij - mu_j)^2)``, two passes; a constant feature gets
    ``sigma_j = 1`` (asked of its values: rounding of the mean can leave a ``sigma_j`` that is not quite 0). ``x``:
    ``(m, n_0)``, the training set. Returns ``(mean, standard_deviation)``, each ``(n_0,)``. Raises ValueError if
    ``x`` has no example. Source: the course, course 2 week 1.

    >>> standardization_statistics(np.array([[1.0, 5.0], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 1.]))
    """
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"x has shape {x.shape}: must be (examples, features) with at least one example")
    mean = x.mean(axis=0)
    standard_deviation = np.sqrt(((x - mean) ** 2).mean(axis=0))
    constant = x.max(axis=0) == x.min(axis=0)
    return mean, np.where(constant, np.ones_like(mean), standard_deviation)


def standardize(x, mean, standard_deviation):
    """``(x - mu) / sigma``. ``x``: ``(m, n_0)``; the statistics ``(n_0,)`` each, from the training set.

    >>> standardize(np.array([[1.0], [3.0]]), np.array([2.0]), np.array([1.0]))
    array([[-1.],
           [ 1.]])
    """
    return (x - mean) / standard_deviation
