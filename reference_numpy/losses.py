"""Losses, one value per example; the cost of a batch is their mean. Under each loss, its gradient.

``f(outputs, targets)`` returns shape ``(m,)``; ``f_gradient(outputs, targets)`` returns ``d loss_i / d outputs_i``
with the shape of ``outputs``. The two cross-entropies take the last layer's pre-activations (logits), never
probabilities, so no logarithm of a rounded probability is ever taken. All raise ValueError when shapes do not fit or
a label is out of range.
"""

import numpy as np

from . import activations


def binary_cross_entropy(logits, targets):
    """Logistic loss ``-y log(sigmoid(z)) - (1 - y) log(1 - sigmoid(z)) = max(z, 0) - z y + log(1 + exp(-|z|))``.

    ``logits`` and ``targets``: ``(m, k)``, targets in [0, 1]; summed over the ``k`` outputs.
    Source: the course, course 1 week 2; the stable form is the usual rewriting of it.

    >>> binary_cross_entropy(np.array([[0.0]]), np.array([[1.0]]))
    array([0.69314718])
    """
    _check_same_shape(logits, targets)
    per_output = np.maximum(logits, 0.0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
    return per_output.sum(axis=1)


def binary_cross_entropy_gradient(logits, targets):
    """``d loss / dz = sigmoid(z) - y``."""
    _check_same_shape(logits, targets)
    return activations.sigmoid(logits) - targets


def categorical_cross_entropy(logits, labels):
    """Softmax loss ``-log softmax(z)_y = log(sum_k exp(z_k)) - z_y``, shifted by ``max_k z_k``.

    ``logits``: ``(m, K)``; ``labels``: ``(m,)`` integers in ``0 .. K-1``. Source: the course, course 2 week 3.

    >>> categorical_cross_entropy(np.array([[0.0, 0.0]]), np.array([1]))
    array([0.69314718])
    """
    _check_labels(logits, labels)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]


def categorical_cross_entropy_gradient(logits, labels):
    """``d loss / dz_k = softmax(z)_k - [k = y]``."""
    _check_labels(logits, labels)
    gradient = activations.softmax(logits)
    gradient[np.arange(len(labels)), labels] -= 1.0
    return gradient


def mean_squared_error(predictions, targets, *, convention="mean"):
    """Squared error per example: ``1/k sum_j (p_j - y_j)^2`` (``"mean"``) or ``1/2 sum_j (p_j - y_j)^2`` (``"half"``).

    ``predictions`` and ``targets``: ``(m, k)``.

    >>> mean_squared_error(np.array([[3.0]]), np.array([[1.0]]), convention="half")
    array([2.])
    """
    return (_squared_error_factor(convention, predictions, targets) * (predictions - targets) ** 2).sum(axis=1)


def mean_squared_error_gradient(predictions, targets, *, convention="mean"):
    """``2/k (p - y)`` or ``p - y``."""
    return 2.0 * _squared_error_factor(convention, predictions, targets) * (predictions - targets)


LOSSES = {f.__name__: f for f in (binary_cross_entropy, categorical_cross_entropy, mean_squared_error)}

GRADIENTS = {
    "binary_cross_entropy": binary_cross_entropy_gradient,
    "categorical_cross_entropy": categorical_cross_entropy_gradient,
    "mean_squared_error": mean_squared_error_gradient,
}


def _squared_error_factor(convention, predictions, targets):
    _check_same_shape(predictions, targets)
    if convention not in ("mean", "half"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'mean' or 'half'")
    return 1.0 / predictions.shape[1] if convention == "mean" else 0.5


def _check_same_shape(outputs, targets):
    if outputs.ndim != 2 or outputs.shape != targets.shape:
        raise ValueError(
            f"targets has shape {targets.shape}, outputs {outputs.shape}: both must be (examples, outputs) and equal"
        )


def _check_labels(logits, labels):
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"labels has shape {labels.shape}, logits {logits.shape}: must be (m,) beside (m, classes)")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels has dtype {labels.dtype}: must be integers 0 .. {logits.shape[1] - 1}")
    if labels.size and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise ValueError(f"labels span {labels.min()} .. {labels.max()}: must be in 0 .. {logits.shape[1] - 1}")
