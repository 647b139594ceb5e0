"""Losses, one value per example; the cost of a batch is their mean.

``f(outputs, targets)`` returns shape ``(m,)``. The two cross-entropies take the last layer's pre-activations
(logits). Targets are cast to the dtype of the outputs. All raise ValueError when shapes do not fit or a label is out
of range; inside a ``tf.function`` values are not known yet, so there only shapes and dtypes are checked.
"""

import tensorflow as tf


def binary_cross_entropy(logits, targets):
    """``max(z, 0) - z y + log(1 + exp(-|z|))``, summed over the ``k`` outputs; ``logits``, ``targets``: ``(m, k)``."""
    logits, targets = _matching(logits, targets)
    per_output = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return tf.reduce_sum(per_output, axis=1)


def categorical_cross_entropy(logits, labels):
    """``log(sum_k exp(z_k)) - z_y``; ``logits``: ``(m, K)``, ``labels``: ``(m,)`` integers in ``0 .. K-1``.

    TensorFlow's fused operation; without the check below, a label out of range would give NaN on a GPU.
    """
    logits, labels = tf.convert_to_tensor(logits), tf.convert_to_tensor(labels)
    _check_labels(logits, labels)
    # On a GPU this may differ in the last bits from run to run, unless tf.config.experimental.enable_op_determinism().
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.cast(labels, tf.int64), logits=logits)


def mean_squared_error(predictions, targets, *, convention="mean"):
    """``1/k sum_j (p_j - y_j)^2`` (``"mean"``) or ``1/2 sum_j (p_j - y_j)^2`` (``"half"``); both ``(m, k)``."""
    predictions, targets = _matching(predictions, targets)
    if convention not in ("mean", "half"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'mean' or 'half'")
    factor = 1.0 / predictions.shape[1] if convention == "mean" else 0.5
    return tf.reduce_sum(factor * tf.math.squared_difference(predictions, targets), axis=1)


LOSSES = {f.__name__: f for f in (binary_cross_entropy, categorical_cross_entropy, mean_squared_error)}


def _matching(outputs, targets):
    """Both as tensors of one dtype, after a check that no broadcasting will happen."""
    outputs, targets = tf.convert_to_tensor(outputs), tf.convert_to_tensor(targets)
    if outputs.shape.rank != 2 or not outputs.shape.is_compatible_with(targets.shape):
        raise ValueError(
            f"targets has shape {targets.shape}, outputs {outputs.shape}: both must be (examples, outputs) and equal"
        )
    return outputs, tf.cast(targets, outputs.dtype)


def _check_labels(logits, labels):
    if logits.shape.rank != 2 or not labels.shape.is_compatible_with(logits.shape[:1]):
        raise ValueError(f"labels has shape {labels.shape}, logits {logits.shape}: must be (m,) beside (m, classes)")
    classes = logits.shape[1]
    if not labels.dtype.is_integer:
        raise ValueError(f"labels has dtype {labels.dtype.name}: must be integers 0 .. {classes - 1}")
    if tf.executing_eagerly() and labels.shape[0] > 0:
        lowest, highest = int(tf.reduce_min(labels)), int(tf.reduce_max(labels))
        if not (lowest >= 0 and highest < classes):
            raise ValueError(f"labels span {lowest} .. {highest}: must be in 0 .. {classes - 1}")
