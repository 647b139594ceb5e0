"""Losses: ``f(outputs, targets)`` gives one value per example, ``(m,)``; the cost of a batch is their mean.

The two cross-entropies take logits, never probabilities. All raise ValueError when shapes or dtypes do not fit, where
PyTorch would broadcast or promote, or when a label is out of range.
"""

import torch
import torch.nn.functional as F


def binary_cross_entropy(logits, targets):
    """``-y log(sigmoid(z)) - (1 - y) log(1 - sigmoid(z))``, summed over the outputs.

    ``logits`` and ``targets``: ``(m, k)``, targets in [0, 1]. ``F.binary_cross_entropy_with_logits`` is the same
    function, but computes ``(1 - y) z - log(sigmoid(z))``, which for ``y = 0`` and a confident ``z`` cancels to 0.
    """
    _check_same_shape(logits, targets)
    per_output = -targets * F.logsigmoid(logits) - (1 - targets) * F.logsigmoid(-logits)
    return per_output.sum(dim=1)


def categorical_cross_entropy(logits, labels):
    """``-log softmax(z)_y``. ``logits``: ``(m, K)``; ``labels``: ``(m,)`` integers in ``0 .. K-1``.

    ``F.cross_entropy`` with two of its habits taken away: it silently skips the label -100, and a floating-point target
    means class probabilities to it.
    """
    _check_labels(logits, labels)
    return F.cross_entropy(logits, labels.long(), reduction="none")


def mean_squared_error(predictions, targets, *, convention="mean"):
    """``1/k sum_j (p_j - y_j)^2`` (``"mean"``, as ``F.mse_loss``) or ``1/2 sum_j (p_j - y_j)^2`` (``"half"``).

    ``predictions`` and ``targets``: ``(m, k)``. ``F.mse_loss`` broadcasts ``(m,)`` against ``(m, 1)``; this raises.
    """
    factor = _squared_error_factor(convention, predictions, targets)
    return (factor * (predictions - targets).square()).sum(dim=1)


LOSSES = {f.__name__: f for f in (binary_cross_entropy, categorical_cross_entropy, mean_squared_error)}


def _squared_error_factor(convention, predictions, targets):
    _check_same_shape(predictions, targets)
    if convention not in ("mean", "half"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'mean' or 'half'")
    return 1.0 / predictions.shape[1] if convention == "mean" else 0.5


def _check_same_shape(outputs, targets):
    if outputs.ndim != 2 or outputs.shape != targets.shape:
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}, outputs {tuple(outputs.shape)}: "
            "both must be (examples, outputs) and equal"
        )
    if targets.is_floating_point() and targets.dtype != outputs.dtype:  # PyTorch would promote float32 to float64
        raise ValueError(
            f"targets has dtype {_name(targets.dtype)}, outputs {_name(outputs.dtype)}: must be equal, or integers"
        )


def _check_labels(logits, labels):
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels has shape {tuple(labels.shape)}, logits {tuple(logits.shape)}: must be (m,) beside (m, classes)"
        )
    classes = logits.shape[1]
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels has dtype {_name(labels.dtype)}: must be integers 0 .. {classes - 1}")
    if labels.numel():
        lowest, highest = (bound.item() for bound in labels.aminmax())
        if not (lowest >= 0 and highest < classes):
            raise ValueError(f"labels span {lowest} .. {highest}: must be in 0 .. {classes - 1}")


def _name(dtype):
    return str(dtype).removeprefix("torch.")
