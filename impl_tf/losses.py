"""Losses, one value per example; the cost of a batch is their mean.

``f(outputs, targets)`` returns shape ``(m,)``. The two cross-entropies take the last layer's pre-activations
(logits); those ``_from_probabilities`` take the model's activated output. Targets are cast to the dtype of the
outputs. All raise ValueError when shapes do not fit or a label is out of range; inside a ``tf.function`` values are
not known yet, so there only shapes and dtypes are checked.

``example_weights: (m,)`` and ``class_weights`` (one for each class) multiply example ``i``'s loss by ``w_i =
example_weights[i] class_weights[y_i]``; with ``weight_denominator="weights"`` by ``w_i m / sum_j w_j``, so that the
cost is ``sum_i w_i loss_i / sum_i w_i``. Weights are float64 until they meet the loss.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ._common import check_decay

Weights = Sequence[float] | None  # of the examples or of the classes


def binary_cross_entropy(
    logits: tf.Tensor,
    targets: tf.Tensor,
    example_weights: Weights = None,
    *,
    label_smoothing: float = 0.0,
    output_reduction: str = "sum",
    class_weights: Weights = None,
    weight_denominator: str = "examples",
) -> tf.Tensor:
    """``max(z, 0) - z y + log(1 + exp(-|z|))``, the sum or mean over the ``k`` outputs; both arguments ``(m, k)``.

    ``label_smoothing`` ``s`` replaces ``y`` by ``(1 - s) y + s/2``. ``class_weights`` are of the classes 0 and 1, for
    a single output.
    """
    logits, targets = _matching(logits, targets)
    check_decay("label_smoothing", label_smoothing)
    y = (1 - label_smoothing) * targets + label_smoothing / 2 if label_smoothing else targets
    per_output = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits)
    weights = _binary_weights(targets, example_weights, class_weights, weight_denominator)
    return _weighted(_reduced(per_output, output_reduction), weights)


def categorical_cross_entropy(
    logits: tf.Tensor,
    labels: tf.Tensor,
    example_weights: Weights = None,
    *,
    label_smoothing: float = 0.0,
    class_weights: Weights = None,
    weight_denominator: str = "examples",
) -> tf.Tensor:
    """``log(sum_k exp(z_k)) - z_y``; ``logits``: ``(m, K)``, ``labels``: ``(m,)`` integers in ``0 .. K-1``.

    ``label_smoothing`` ``s`` replaces the target distribution ``[k = y]`` by ``(1 - s) [k = y] + s/K``. TensorFlow's
    fused operations; without the check below, a label out of range would give NaN on a GPU.
    """
    logits, labels = _checked_labels(logits, labels)
    check_decay("label_smoothing", label_smoothing)
    classes = logits.shape[1]
    # On a GPU this may differ in the last bits from run to run, unless tf.config.experimental.enable_op_determinism().
    if label_smoothing:
        share = label_smoothing / classes
        distribution = tf.one_hot(labels, classes, 1 - label_smoothing + share, share, dtype=logits.dtype)
        loss = tf.nn.softmax_cross_entropy_with_logits(labels=distribution, logits=logits)
    else:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return _weighted(loss, _class_weights(labels, classes, example_weights, class_weights, weight_denominator))


def binary_cross_entropy_from_probabilities(
    probabilities: tf.Tensor,
    targets: tf.Tensor,
    example_weights: Weights = None,
    *,
    clip: float = 1e-7,
    output_reduction: str = "sum",
    class_weights: Weights = None,
    weight_denominator: str = "examples",
) -> tf.Tensor:
    """``-y log(q) - (1 - y) log(1 - q)`` with ``q = p`` clipped to ``[clip, 1 - clip]``; where clipped, gradient 0."""
    probabilities, targets = _matching(probabilities, targets)
    q = _clip(probabilities, clip)
    per_output = -targets * tf.math.log(q) - (1 - targets) * tf.math.log1p(-q)
    weights = _binary_weights(targets, example_weights, class_weights, weight_denominator)
    return _weighted(_reduced(per_output, output_reduction), weights)


def categorical_cross_entropy_from_probabilities(
    probabilities: tf.Tensor,
    labels: tf.Tensor,
    example_weights: Weights = None,
    *,
    clip: float = 1e-7,
    class_weights: Weights = None,
    weight_denominator: str = "examples",
) -> tf.Tensor:
    """``-log(q_y)`` with ``q = p`` clipped to ``[clip, 1 - clip]``; where clipped, the gradient is 0.

    ``probabilities``: ``(m, K)``, not normalised again (Keras does); ``labels``: ``(m,)``.
    """
    probabilities, labels = _checked_labels(probabilities, labels)
    q = tf.gather(_clip(probabilities, clip), labels, axis=1, batch_dims=1)
    weights = _class_weights(labels, probabilities.shape[1], example_weights, class_weights, weight_denominator)
    return _weighted(-tf.math.log(q), weights)


def mean_squared_error(
    predictions: tf.Tensor,
    targets: tf.Tensor,
    example_weights: Weights = None,
    *,
    convention: str = "mean",
    weight_denominator: str = "examples",
) -> tf.Tensor:
    """``1/k sum_j (p_j - y_j)^2`` (``"mean"``), ``1/2 sum_j (p_j - y_j)^2`` (``"half"``) or ``"sum"``; ``(m, k)``."""
    predictions, targets = _matching(predictions, targets)
    if convention not in ("mean", "half", "sum"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'mean', 'half' or 'sum'")
    factor = {"mean": 1.0 / predictions.shape[1], "half": 0.5, "sum": 1.0}[convention]
    squares = tf.reduce_sum(factor * tf.math.squared_difference(predictions, targets), axis=1)
    return _weighted(squares, _example_weights(targets.shape[0], example_weights, weight_denominator))


LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    f.__name__: f
    for f in (
        binary_cross_entropy, categorical_cross_entropy, binary_cross_entropy_from_probabilities,
        categorical_cross_entropy_from_probabilities, mean_squared_error,
    )
}  # fmt: skip

# The losses that take logits; the others take the model's activated output A[L].
FROM_LOGITS = ("binary_cross_entropy", "categorical_cross_entropy")


def _weighted(values: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """``values: (m,)``, each times its weight; None weighs nothing."""
    return values if weights is None else values * tf.cast(weights, values.dtype)


def _binary_weights(
    targets: tf.Tensor, example_weights: Weights, class_weights: Weights, denominator: str
) -> tf.Tensor | None:
    if class_weights is None:
        return _example_weights(targets.shape[0], example_weights, denominator)
    if targets.shape[1] != 1:
        raise ValueError(
            f"class_weights={class_weights!r} is not allowed with {targets.shape[1]} outputs: must be None"
        )
    labels = tf.cast(targets[:, 0] >= 0.5, tf.int64)
    return _class_weights(labels, 2, example_weights, class_weights, denominator)


def _class_weights(
    labels: tf.Tensor, classes: int, example_weights: Any, class_weights: Weights, denominator: str
) -> tf.Tensor | None:
    if class_weights is not None:
        weights = np.asarray(class_weights, np.float64)
        if weights.shape != (classes,) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(f"class_weights={class_weights!r} is not allowed: must be {classes} finite numbers >= 0")
        weights = tf.gather(tf.constant(weights), labels)
        example_weights = weights if example_weights is None else weights * tf.cast(example_weights, tf.float64)
    return _example_weights(labels.shape[0], example_weights, denominator)


def _example_weights(examples: int, weights: Any, denominator: str) -> tf.Tensor | None:
    """The factor of each example's loss, ``(m,)``, or None."""
    if denominator not in ("examples", "weights"):
        raise ValueError(f"weight_denominator={denominator!r} is not allowed: must be 'examples' or 'weights'")
    if weights is None:
        return None
    weights = tf.convert_to_tensor(weights)
    if not weights.shape.is_compatible_with((examples,)):
        raise ValueError(f"example_weights has shape {weights.shape}: must be ({examples},)")
    weights = tf.cast(weights, tf.float64)
    if denominator == "examples":
        return weights
    return weights * (tf.cast(tf.size(weights), tf.float64) / tf.reduce_sum(weights))


def _reduced(per_output: tf.Tensor, reduction: str) -> tf.Tensor:
    if reduction not in ("sum", "mean"):
        raise ValueError(f"output_reduction={reduction!r} is not allowed: must be 'sum' or 'mean'")
    return (tf.reduce_mean if reduction == "mean" else tf.reduce_sum)(per_output, axis=1)


def _clip(probabilities: tf.Tensor, clip: float) -> tf.Tensor:
    if not 0 < clip < 0.5:
        raise ValueError(f"clip={clip!r} is not allowed: must be in (0, 1/2)")
    return tf.clip_by_value(probabilities, clip, 1 - clip)


def _matching(outputs: Any, targets: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Both as tensors of one dtype, after a check that no broadcasting will happen."""
    outputs, targets = tf.convert_to_tensor(outputs), tf.convert_to_tensor(targets)
    if outputs.shape.rank != 2 or not outputs.shape.is_compatible_with(targets.shape):
        raise ValueError(
            f"targets has shape {targets.shape}, outputs {outputs.shape}: both must be (examples, outputs) and equal"
        )
    return outputs, tf.cast(targets, outputs.dtype)


def _checked_labels(logits: Any, labels: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Both as tensors, labels as int64, after a check of shapes, dtype and, where they are known, values."""
    logits, labels = tf.convert_to_tensor(logits), tf.convert_to_tensor(labels)
    if logits.shape.rank != 2 or not labels.shape.is_compatible_with(logits.shape[:1]):
        raise ValueError(f"labels has shape {labels.shape}, logits {logits.shape}: must be (m,) beside (m, classes)")
    classes = logits.shape[1]
    if not labels.dtype.is_integer:
        raise ValueError(f"labels has dtype {labels.dtype.name}: must be integers 0 .. {classes - 1}")
    if tf.executing_eagerly() and labels.shape[0] > 0:
        lowest, highest = int(tf.reduce_min(labels)), int(tf.reduce_max(labels))
        if not (lowest >= 0 and highest < classes):
            raise ValueError(f"labels span {lowest} .. {highest}: must be in 0 .. {classes - 1}")
    return logits, tf.cast(labels, tf.int64)
