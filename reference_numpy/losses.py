"""Losses, one value per example; the cost of a batch is their mean. Under each loss, its gradient.

``f(outputs, targets)`` returns shape ``(m,)``; ``f_gradient(outputs, targets)`` returns ``d loss_i / d outputs_i``
with the shape of ``outputs``. The two cross-entropies take the last layer's pre-activations (logits), never
probabilities, so no logarithm of a rounded probability is ever taken; those ``_from_probabilities`` are there for
models that end in probabilities, with the clip that keeps their logarithms finite. All raise ValueError when shapes
do not fit or a label is out of range.

**Weights.** ``example_weights: (m,)`` and ``class_weights`` (one for each class) multiply example ``i``'s loss by ``w_i
= example_weights[i] class_weights[y_i]``. ``weight_denominator="examples"`` returns ``w_i loss_i``, so that the cost is
``1/m sum_i w_i loss_i`` (Keras); ``"weights"`` returns ``w_i loss_i m / sum_j w_j``, so that it is ``sum_i w_i loss_i /
sum_i w_i`` (PyTorch).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import activations
from ._common import check_decay
from .arithmetic import library_function

Array = NDArray[Any]


@library_function("loss")
def binary_cross_entropy(
    logits: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    label_smoothing: float = 0.0,
    output_reduction: str = "sum",
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Array:
    """Logistic loss ``-y log(sigmoid(z)) - (1 - y) log(1 - sigmoid(z)) = max(z, 0) - z y + log(1 + exp(-|z|))``.

    ``logits`` and ``targets``: ``(m, k)``, targets in [0, 1]; over ``k > 1`` outputs (multi-label) the sum, or with
    ``output_reduction="mean"`` the mean (Keras). ``label_smoothing`` ``s`` replaces ``y`` by ``(1 - s) y + s/2``.
    ``class_weights`` are of the classes 0 and 1, for a single output. Source: the course, course 1 week 2; the stable
    form is the usual rewriting of it.

    >>> binary_cross_entropy(np.array([[0.0]]), np.array([[1.0]]))
    array([0.69314718])
    """
    y = _smoothed_binary(logits, targets, label_smoothing)
    per_output = np.maximum(logits, 0.0) - logits * y + np.log1p(np.exp(-np.abs(logits)))
    weights = _binary_weights(targets, example_weights, class_weights, weight_denominator)
    return _weighted(per_output.sum(axis=1) / _outputs(logits, output_reduction), weights)


def binary_cross_entropy_gradient(
    logits: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    label_smoothing: float = 0.0,
    output_reduction: str = "sum",
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Array:
    """``d loss / dz = sigmoid(z) - y``.

    >>> binary_cross_entropy_gradient(np.array([[0.0]]), np.array([[1.0]]))
    array([[-0.5]])
    """
    y = _smoothed_binary(logits, targets, label_smoothing)
    weights = _binary_weights(targets, example_weights, class_weights, weight_denominator)
    return _weighted((activations.sigmoid(logits) - y) / _outputs(logits, output_reduction), weights)


@library_function("loss")
def categorical_cross_entropy(
    logits: Array,
    labels: Array,
    example_weights: Array | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Array:
    """Softmax loss ``-log softmax(z)_y = log(sum_k exp(z_k)) - z_y``, shifted by ``max_k z_k``.

    ``logits``: ``(m, K)``; ``labels``: ``(m,)`` integers in ``0 .. K-1``. ``label_smoothing`` ``s`` replaces the target
    distribution ``[k = y]`` by ``(1 - s) [k = y] + s/K`` (Szegedy et al. 2016, section 7). Source: the course, course
    2 week 3.

    >>> categorical_cross_entropy(np.array([[0.0, 0.0]]), np.array([1]))
    array([0.69314718])
    """
    _check_labels(logits, labels)
    check_decay("label_smoothing", label_smoothing)
    shifted = logits - logits.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    if label_smoothing:
        picked = (1 - label_smoothing) * picked + label_smoothing * shifted.mean(axis=1)
    weights = _class_weights(labels, logits.shape[1], example_weights, class_weights, weight_denominator)
    return _weighted(np.log(np.exp(shifted).sum(axis=1)) - picked, weights)


def categorical_cross_entropy_gradient(
    logits: Array,
    labels: Array,
    example_weights: Array | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Array:
    """``d loss / dz_k = softmax(z)_k - (1 - s) [k = y] - s/K``.

    >>> categorical_cross_entropy_gradient(np.array([[0.0, 0.0]]), np.array([1]))
    array([[ 0.5, -0.5]])
    """
    _check_labels(logits, labels)
    check_decay("label_smoothing", label_smoothing)
    gradient = activations.softmax(logits)
    gradient[np.arange(len(labels)), labels] -= 1 - label_smoothing
    gradient -= label_smoothing / logits.shape[1]
    weights = _class_weights(labels, logits.shape[1], example_weights, class_weights, weight_denominator)
    return _weighted(gradient, weights)


@library_function("loss")
def binary_cross_entropy_from_probabilities(
    probabilities: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    clip: float = 1e-7,
    output_reduction: str = "sum",
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Array:
    """``-y log(q) - (1 - y) log(1 - q)`` with ``q = p`` clipped to ``[clip, 1 - clip]``; where clipped, gradient 0.

    ``probabilities`` and ``targets``: ``(m, k)``; the other keywords as in :func:`binary_cross_entropy`. Raises
    ValueError unless ``0 < clip < 1/2``. (Keras clips at 1e-7; PyTorch instead cuts the logarithm off at -100.)

    >>> binary_cross_entropy_from_probabilities(np.array([[0.0]]), np.array([[1.0]]), clip=1e-3)
    array([6.90775528])
    """
    q = _clipped(probabilities, targets, clip)
    per_output = -targets * np.log(q) - (1 - targets) * np.log1p(-q)
    weights = _binary_weights(targets, example_weights, class_weights, weight_denominator)
    return _weighted(per_output.sum(axis=1) / _outputs(probabilities, output_reduction), weights)


def binary_cross_entropy_from_probabilities_gradient(
    probabilities: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    clip: float = 1e-7,
    output_reduction: str = "sum",
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Array:
    """``d loss / dp = (1 - y)/(1 - q) - y/q`` where ``p`` is within the clip, 0 elsewhere.

    >>> binary_cross_entropy_from_probabilities_gradient(np.array([[0.5]]), np.array([[1.0]]))
    array([[-2.]])
    """
    q = _clipped(probabilities, targets, clip)
    gradient = ((1 - targets) / (1 - q) - targets / q) * (q == probabilities)
    weights = _binary_weights(targets, example_weights, class_weights, weight_denominator)
    return _weighted(gradient / _outputs(probabilities, output_reduction), weights)


@library_function("loss")
def categorical_cross_entropy_from_probabilities(
    probabilities: Array,
    labels: Array,
    example_weights: Array | None = None,
    *,
    clip: float = 1e-7,
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Array:
    """``-log(q_y)`` with ``q = p`` clipped to ``[clip, 1 - clip]``; where clipped, the gradient is 0.

    ``probabilities``: ``(m, K)``, not normalised again (Keras does); ``labels``: ``(m,)``. Raises ValueError unless
    ``0 < clip < 1/2``.

    >>> categorical_cross_entropy_from_probabilities(np.array([[0.5, 0.5]]), np.array([1]))
    array([0.69314718])
    """
    _check_labels(probabilities, labels)
    q = _clip(probabilities, clip)[np.arange(len(labels)), labels]
    weights = _class_weights(labels, probabilities.shape[1], example_weights, class_weights, weight_denominator)
    return _weighted(-np.log(q), weights)


def categorical_cross_entropy_from_probabilities_gradient(
    probabilities: Array,
    labels: Array,
    example_weights: Array | None = None,
    *,
    clip: float = 1e-7,
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Array:
    """``d loss / dp_k = -[k = y] / q_y`` where ``p_y`` is within the clip, 0 elsewhere.

    >>> categorical_cross_entropy_from_probabilities_gradient(np.array([[0.5, 0.5]]), np.array([1]))
    array([[ 0., -2.]])
    """
    _check_labels(probabilities, labels)
    rows = np.arange(len(labels))
    p, q = probabilities[rows, labels], _clip(probabilities, clip)[rows, labels]
    gradient = np.zeros_like(probabilities)
    gradient[rows, labels] = np.where(q == p, -1 / q, 0.0)
    weights = _class_weights(labels, probabilities.shape[1], example_weights, class_weights, weight_denominator)
    return _weighted(gradient, weights)


@library_function("loss")
def mean_squared_error(
    predictions: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    convention: str = "mean",
    weight_denominator: str = "examples",
) -> Array:
    """Squared error per example: ``1/k sum_j (p_j - y_j)^2`` (``"mean"``), ``1/2 sum_j (p_j - y_j)^2`` (``"half"``) or
    ``sum_j (p_j - y_j)^2`` (``"sum"``).

    ``predictions`` and ``targets``: ``(m, k)``.

    >>> mean_squared_error(np.array([[3.0]]), np.array([[1.0]]), convention="half")
    array([2.])
    """
    squares = (_squared_error_factor(convention, predictions, targets) * (predictions - targets) ** 2).sum(axis=1)
    return _weighted(squares, _example_weights(len(targets), example_weights, weight_denominator))


def mean_squared_error_gradient(
    predictions: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    convention: str = "mean",
    weight_denominator: str = "examples",
) -> Array:
    """``2/k (p - y)``, ``p - y`` or ``2 (p - y)``.

    >>> mean_squared_error_gradient(np.array([[3.0]]), np.array([[1.0]]), convention="half")
    array([[2.]])
    """
    gradient = 2.0 * _squared_error_factor(convention, predictions, targets) * (predictions - targets)
    return _weighted(gradient, _example_weights(len(targets), example_weights, weight_denominator))


LOSSES: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        binary_cross_entropy, categorical_cross_entropy, binary_cross_entropy_from_probabilities,
        categorical_cross_entropy_from_probabilities, mean_squared_error,
    )
}  # fmt: skip

GRADIENTS: dict[str, Callable[..., Array]] = {
    "binary_cross_entropy": binary_cross_entropy_gradient,
    "categorical_cross_entropy": categorical_cross_entropy_gradient,
    "binary_cross_entropy_from_probabilities": binary_cross_entropy_from_probabilities_gradient,
    "categorical_cross_entropy_from_probabilities": categorical_cross_entropy_from_probabilities_gradient,
    "mean_squared_error": mean_squared_error_gradient,
}

# The losses that take logits; the others take the model's activated output A[L].
FROM_LOGITS = ("binary_cross_entropy", "categorical_cross_entropy")


def _weighted(values: Array, weights: Array | None) -> Array:
    """``values: (m,)`` or ``(m, k)``, those of example ``i`` times ``weights[i]``; None weighs nothing."""
    if weights is None:
        return values
    return values * weights.astype(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))


def _binary_weights(
    targets: Array, example_weights: Array | None, class_weights: Sequence[float] | None, denominator: str
) -> Array | None:
    if class_weights is None:
        return _example_weights(len(targets), example_weights, denominator)
    if targets.shape[1] != 1:
        raise ValueError(
            f"class_weights={class_weights!r} is not allowed with {targets.shape[1]} outputs: must be None"
        )
    labels = (targets[:, 0] >= 0.5).astype(np.int64)
    return _class_weights(labels, 2, example_weights, class_weights, denominator)


def _class_weights(
    labels: Array, classes: int, example_weights: Array | None, class_weights: Sequence[float] | None, denominator: str
) -> Array | None:
    if class_weights is not None:
        weights = np.asarray(class_weights, np.float64)
        if weights.shape != (classes,) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(f"class_weights={class_weights!r} is not allowed: must be {classes} finite numbers >= 0")
        weights = weights[labels]
        example_weights = weights if example_weights is None else weights * example_weights
    return _example_weights(len(labels), example_weights, denominator)


def _example_weights(examples: int, weights: Array | None, denominator: str) -> Array | None:
    """The factor of each example's loss, ``(m,)``, or None."""
    if denominator not in ("examples", "weights"):
        raise ValueError(f"weight_denominator={denominator!r} is not allowed: must be 'examples' or 'weights'")
    if weights is None:
        return None
    if np.shape(weights) != (examples,):
        raise ValueError(f"example_weights has shape {np.shape(weights)}: must be ({examples},)")
    weights = np.asarray(weights)
    return weights if denominator == "examples" else weights * (examples / weights.sum())


def _smoothed_binary(logits: Array, targets: Array, label_smoothing: float) -> Array:
    _check_same_shape(logits, targets)
    check_decay("label_smoothing", label_smoothing)
    return (1 - label_smoothing) * targets + label_smoothing / 2 if label_smoothing else targets


def _outputs(logits: Array, reduction: str) -> int:
    if reduction not in ("sum", "mean"):
        raise ValueError(f"output_reduction={reduction!r} is not allowed: must be 'sum' or 'mean'")
    return logits.shape[1] if reduction == "mean" else 1


def _clipped(probabilities: Array, targets: Array, clip: float) -> Array:
    _check_same_shape(probabilities, targets)
    return _clip(probabilities, clip)


def _clip(probabilities: Array, clip: float) -> Array:
    if not 0 < clip < 0.5:
        raise ValueError(f"clip={clip!r} is not allowed: must be in (0, 1/2)")
    return np.clip(probabilities, clip, 1 - clip)


def _squared_error_factor(convention: str, predictions: Array, targets: Array) -> float:
    _check_same_shape(predictions, targets)
    if convention not in ("mean", "half", "sum"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'mean', 'half' or 'sum'")
    return {"mean": 1.0 / predictions.shape[1], "half": 0.5, "sum": 1.0}[convention]


def _check_same_shape(outputs: Array, targets: Array) -> None:
    if outputs.ndim != 2 or outputs.shape != targets.shape:
        raise ValueError(
            f"targets has shape {targets.shape}, outputs {outputs.shape}: both must be (examples, outputs) and equal"
        )


def _check_labels(logits: Array, labels: Array) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"labels has shape {labels.shape}, logits {logits.shape}: must be (m,) beside (m, classes)")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels has dtype {labels.dtype}: must be integers 0 .. {logits.shape[1] - 1}")
    if labels.size and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise ValueError(f"labels span {labels.min()} .. {labels.max()}: must be in 0 .. {logits.shape[1] - 1}")
