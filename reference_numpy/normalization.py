"""Input standardisation with the statistics of the training set only; batch and layer normalisation.

Under each normalisation of activations, its backward pass. Activations may have more axes than two, ``(m, ..., n)``:
whatever stands along the last one is then an example of its own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._common import check_choice, check_decay, check_not_negative
from .arithmetic import library_function

Array = NDArray[Any]


def standardization_statistics(x: Array) -> tuple[Array, Array]:
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


def standardize(x: Array, mean: Array, standard_deviation: Array) -> Array:
    """``(x - mu) / sigma``. ``x``: ``(m, n_0)``; the statistics ``(n_0,)`` each, from the training set.

    >>> standardize(np.array([[1.0], [3.0]]), np.array([2.0]), np.array([1.0]))
    array([[-1.],
           [ 1.]])
    """
    return (x - mean) / standard_deviation


def batch_statistics(z: Array) -> tuple[Array, Array]:
    """Mean and population variance of each unit over the batch, each ``(n,)``, of ``z: (m, n)``; two passes.

    ``mu_j = 1/m sum_i z_ij``, ``v_j = 1/m sum_i (z_ij - mu_j)^2``. Source: Ioffe & Szegedy 2015, algorithm 1.

    >>> batch_statistics(np.array([[1.0], [3.0]]))
    (array([2.]), array([1.]))
    """
    z = _rows(z)
    mean = z.mean(axis=0)
    return mean, ((z - mean) ** 2).mean(axis=0)


def batch_norm(z: Array, gamma: Array, beta: Array, mean: Array, variance: Array, *, epsilon: float = 1e-5) -> Array:
    """``gamma (z - mu) / sqrt(v + epsilon) + beta``: the batch's statistics in training, running ones in inference.

    ``z``: ``(m, n)``; all others ``(n,)``. Raises ValueError if ``epsilon`` is negative or not finite. Source: Ioffe &
    Szegedy 2015, algorithm 1; the course, course 2 week 3. (epsilon: PyTorch 1e-5, Keras 1e-3.)

    >>> one = np.ones(1)
    >>> batch_norm(np.array([[1.0], [3.0]]), 2 * one, one, *batch_statistics(np.array([[1.0], [3.0]])), epsilon=0.0)
    array([[-1.],
           [ 3.]])
    """
    check_not_negative("epsilon", epsilon)
    return gamma * _standardized(z, mean, variance, epsilon) + beta


def batch_norm_backward(
    gradient: Array, z: Array, gamma: Array, mean: Array, variance: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Gradients ``(dz, dgamma, dbeta)`` of :func:`batch_norm` in training, where ``mu`` and ``v`` depend on ``z``.

    With ``h = (z - mu) / sqrt(v + epsilon)`` and ``dh = gamma gradient``, means over the batch::

        dgamma = sum_i gradient h      dbeta = sum_i gradient
        dz = (dh - mean(dh) - h mean(dh h)) / sqrt(v + epsilon)

    Source: Ioffe & Szegedy 2015, section 3.

    >>> z, gamma = np.array([[0.0], [0.0], [3.0]]), np.ones(1)
    >>> gradient = np.ones((3, 1))  # a shift of every output alike is taken away again
    >>> dz, dgamma, dbeta = batch_norm_backward(gradient, z, gamma, *batch_statistics(z))
    >>> bool(abs(dz).max() < 1e-15), dbeta
    (True, array([3.]))
    """
    return _normalization_backward(gradient, z, gamma, mean, variance, epsilon, axis=0)


def running_average(
    running: tuple[Array, Array],
    batch: tuple[Array, Array],
    examples: int,
    *,
    momentum: float = 0.9,
    running_variance: str = "biased",
) -> tuple[Array, Array]:
    """The running mean and variance after a batch: ``r <- momentum r + (1 - momentum) batch``.

    ``running`` and ``batch`` are pairs ``(mean, variance)`` of ``(n,)``; ``examples`` is the batch's ``m``. The
    variance that enters the average is divided by ``m`` (``"biased"``, Keras) or ``m - 1`` (``"unbiased"``, PyTorch
    and the paper). ``momentum`` is 1 - PyTorch's. Raises ValueError unless ``0 <= momentum < 1``, for an unknown
    ``running_variance`` and for ``"unbiased"`` with one example. Source: Ioffe & Szegedy 2015, algorithm 2.

    >>> running_average((np.zeros(1), np.ones(1)), (np.ones(1), np.ones(1)), 2, momentum=0.5)
    (array([0.5]), array([1.]))
    """
    check_decay("momentum", momentum)
    check_choice("running_variance", running_variance, ("biased", "unbiased"))
    if running_variance == "unbiased" and examples < 2:
        raise ValueError(f"examples={examples!r} is not allowed with running_variance='unbiased': must be 2 or more")
    mean, variance = batch
    if running_variance == "unbiased":
        variance = variance * (examples / (examples - 1))
    return momentum * running[0] + (1 - momentum) * mean, momentum * running[1] + (1 - momentum) * variance


def layer_norm(z: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5) -> Array:
    """``gamma (z - mu) / sqrt(v + epsilon) + beta`` with mean and population variance over an example's units.

    ``z``: ``(m, n)``; ``gamma`` and ``beta``: ``(n,)``. The same in training and inference. Raises ValueError if
    ``epsilon`` is negative or not finite. Source: Ba, Kiros & Hinton 2016, eq. 3.

    >>> layer_norm(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), epsilon=0.0)
    array([[-1.,  1.]])
    """
    check_not_negative("epsilon", epsilon)
    return gamma * _standardized(z, _row_mean(z), _row_variance(z), epsilon) + beta


def layer_norm_backward(
    gradient: Array, z: Array, gamma: Array, *, epsilon: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Gradients ``(dz, dgamma, dbeta)`` of :func:`layer_norm`: batch norm's, with means over an example's units.

    >>> dz, dgamma, dbeta = layer_norm_backward(np.ones((1, 2)), np.array([[1.0, 3.0]]), np.ones(2), epsilon=0.0)
    >>> dz, dgamma, dbeta
    (array([[0., 0.]]), array([-1.,  1.]), array([1., 1.]))
    """
    z = _rows(z)
    return _normalization_backward(gradient, z, gamma, _row_mean(z), _row_variance(z), epsilon, axis=1)


NORMALIZATIONS: dict[str, Callable[..., Array]] = {"batch_norm": batch_norm, "layer_norm": layer_norm}


def _normalization_backward(
    gradient: Array, z: Array, gamma: Array, mean: Array, variance: Array, epsilon: float, axis: int
) -> tuple[Array, Array, Array]:
    shape, gradient, z = gradient.shape, _rows(gradient), _rows(z)
    deviation = np.sqrt(variance + epsilon)
    h, dh = _standardized(z, mean, variance, epsilon), gamma * gradient
    dz = (dh - dh.mean(axis=axis, keepdims=True) - h * (dh * h).mean(axis=axis, keepdims=True)) / deviation
    return dz.reshape(shape), (gradient * h).sum(axis=0), gradient.sum(axis=0)


@library_function("normalization")
def _standardized(z: Array, mean: Array, variance: Array, epsilon: float) -> Array:
    return (z - mean) / np.sqrt(variance + epsilon)


def _rows(z: Array) -> Array:
    """``(..., n)`` as ``(rows, n)``."""
    return z.reshape(-1, z.shape[-1])


def _row_mean(z: Array) -> Array:
    return z.mean(axis=-1, keepdims=True)


def _row_variance(z: Array) -> Array:
    return ((z - _row_mean(z)) ** 2).mean(axis=-1, keepdims=True)
