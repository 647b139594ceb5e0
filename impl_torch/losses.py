"""Losses: ``f(outputs, targets)`` gives one value per example, ``(m,)``; the cost of a batch is their mean.

Two cross-entropies take logits; those ``_from_probabilities`` take probabilities and a clip that keeps their logarithms
finite. All raise ValueError when shapes or dtypes do not fit, where PyTorch would broadcast or promote, or when a label
is out of range.

**Weights.** ``example_weights: (m,)`` and ``class_weights`` (one for each class) multiply example ``i``'s loss by ``w_i
= example_weights[i] class_weights[y_i]``; ``weight_denominator="weights"`` also by ``m / sum_j w_j``, so that the mean
is ``sum_i w_i loss_i / sum_i w_i``, as in ``F.cross_entropy(weight=..., reduction="mean")``.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import check_decay


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    example_weights: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    output_reduction: str = "sum",
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Tensor:
    """``-y log(sigmoid(z)) - (1 - y) log(1 - sigmoid(z))``, summed over the outputs, or their ``"mean"``.

    ``logits`` and ``targets``: ``(m, k)``, targets in [0, 1]. ``label_smoothing`` ``s`` replaces ``y`` by ``(1 - s) y +
    s/2``; ``class_weights`` are of the classes 0 and 1, for a single output. ``F.binary_cross_entropy_with_logits`` is
    the same function, but computes ``(1 - y) z - log(sigmoid(z))``, which for ``y = 0`` and a confident ``z`` cancels
    to 0; its ``pos_weight`` is the class weight of 1 alone.
    """
    y = _smoothed_binary(logits, targets, label_smoothing)
    if label_smoothing or targets.is_floating_point():
        per_output = -torch.lerp(F.logsigmoid(-logits), F.logsigmoid(logits), y)
    else:  # of 0 and 1 one logarithm is enough, and gives the same bits
        per_output = -F.logsigmoid((2 * y - 1) * logits)
    weights = _binary_weights(targets, logits.dtype, example_weights, class_weights, weight_denominator)
    return _weighted(_over_outputs(per_output, output_reduction), weights)


def categorical_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    example_weights: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Tensor:
    """``-log softmax(z)_y``. ``logits``: ``(m, K)``; ``labels``: ``(m,)`` integers in ``0 .. K-1``.

    ``label_smoothing`` ``s`` replaces the target distribution ``[k = y]`` by ``(1 - s) [k = y] + s/K``.
    ``F.cross_entropy``'s own class weights go inside the smoothing's sum over the classes, ``class_weights`` around it.
    Raises ValueError for labels out of range, of which it silently skips -100, and for floating-point ones, which it
    takes for class probabilities.
    """
    _check_labels(logits, labels)
    check_decay("label_smoothing", label_smoothing)
    per_example = F.cross_entropy(logits, labels.long(), reduction="none", label_smoothing=label_smoothing)
    weights = _class_weights(labels, logits.shape[1], logits.dtype, example_weights, class_weights, weight_denominator)
    return _weighted(per_example, weights)


def binary_cross_entropy_from_probabilities(
    probabilities: Tensor,
    targets: Tensor,
    example_weights: Tensor | None = None,
    *,
    clip: float = 1e-7,
    output_reduction: str = "sum",
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Tensor:
    """``-y log(q) - (1 - y) log(1 - q)`` with ``q = p`` clipped to ``[clip, 1 - clip]``; where clipped, gradient 0.

    ``probabilities`` and ``targets``: ``(m, k)``; the other keywords as in :func:`binary_cross_entropy`.
    ``F.binary_cross_entropy`` instead cuts the logarithm off at -100. Raises ValueError unless ``0 < clip < 1/2``.
    """
    _check_same_shape(probabilities, targets)
    q, y = _clip(probabilities, clip), targets.to(probabilities.dtype)
    per_output = -y * q.log() - (1 - y) * torch.log1p(-q)
    weights = _binary_weights(targets, probabilities.dtype, example_weights, class_weights, weight_denominator)
    return _weighted(_over_outputs(per_output, output_reduction), weights)


def categorical_cross_entropy_from_probabilities(
    probabilities: Tensor,
    labels: Tensor,
    example_weights: Tensor | None = None,
    *,
    clip: float = 1e-7,
    class_weights: Sequence[float] | None = None,
    weight_denominator: str = "examples",
) -> Tensor:
    """``-log(q_y)`` with ``q = p`` clipped to ``[clip, 1 - clip]``; where clipped, the gradient is 0.

    ``probabilities``: ``(m, K)``, not normalised again; ``labels``: ``(m,)``. ``F.nll_loss`` takes their logarithms.
    Raises ValueError unless ``0 < clip < 1/2``.
    """
    _check_labels(probabilities, labels)
    log_q = _clip(probabilities, clip).log()
    weights = _class_weights(
        labels, probabilities.shape[1], probabilities.dtype, example_weights, class_weights, weight_denominator
    )
    return _weighted(F.nll_loss(log_q, labels.long(), reduction="none"), weights)


def mean_squared_error(
    predictions: Tensor,
    targets: Tensor,
    example_weights: Tensor | None = None,
    *,
    convention: str = "mean",
    weight_denominator: str = "examples",
) -> Tensor:
    """``1/k sum_j (p_j - y_j)^2`` (``"mean"``, as ``F.mse_loss``), ``1/2 sum_j`` of them (``"half"``) or ``sum_j``
    (``"sum"``).

    ``predictions`` and ``targets``: ``(m, k)``. ``F.mse_loss`` broadcasts ``(m,)`` against ``(m, 1)``; this raises.
    """
    factor = _squared_error_factor(convention, predictions, targets)
    per_example = (factor * (predictions - targets).square()).sum(dim=1)
    return _weighted(per_example, _example_weights(targets, predictions.dtype, example_weights, weight_denominator))


LOSSES: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        binary_cross_entropy, categorical_cross_entropy, binary_cross_entropy_from_probabilities,
        categorical_cross_entropy_from_probabilities, mean_squared_error,
    )
}  # fmt: skip

# The losses that take logits; the others take the model's activated output A[L].
FROM_LOGITS = ("binary_cross_entropy", "categorical_cross_entropy")


# Whether somebody has looked at the values of all labels before, which waits for the device.
_looked_at: ContextVar[bool] = ContextVar("looked_at", default=False)


def _of_known_labels(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss of labels that were looked at before, in which nothing waits for the device."""

    def trusting(*given: Any, **options: Any) -> Tensor:
        before = _looked_at.set(True)
        try:
            return loss(*given, **options)
        finally:
            _looked_at.reset(before)

    return trusting


def _weighted(per_example: Tensor, weights: Tensor | None) -> Tensor:
    return per_example if weights is None else per_example * weights


def _binary_weights(
    targets: Tensor,
    dtype: torch.dtype,
    example_weights: Tensor | None,
    class_weights: Sequence[float] | None,
    denominator: str,
) -> Tensor | None:
    if class_weights is None:
        return _example_weights(targets, dtype, example_weights, denominator)
    if targets.shape[1] != 1:
        raise ValueError(
            f"class_weights={class_weights!r} is not allowed with {targets.shape[1]} outputs: must be None"
        )
    labels = (targets[:, 0] >= 0.5).long()
    return _class_weights(labels, 2, dtype, example_weights, class_weights, denominator)


def _class_weights(
    labels: Tensor,
    classes: int,
    dtype: torch.dtype,
    example_weights: Tensor | None,
    class_weights: Sequence[float] | None,
    denominator: str,
) -> Tensor | None:
    if class_weights is not None:
        weights = torch.as_tensor(class_weights, dtype=torch.float64, device="cpu")
        if weights.shape != (classes,) or not (weights.isfinite() & (weights >= 0)).all():
            raise ValueError(f"class_weights={class_weights!r} is not allowed: must be {classes} finite numbers >= 0")
        weights = weights.to(dtype=dtype, device=labels.device)[labels.long()]
        example_weights = weights if example_weights is None else weights * torch.as_tensor(example_weights).to(weights)
    return _example_weights(labels, dtype, example_weights, denominator)


def _example_weights(targets: Tensor, dtype: torch.dtype, weights: Tensor | None, denominator: str) -> Tensor | None:
    """The factor of each example's loss, ``(m,)``, or None."""
    if denominator not in ("examples", "weights"):
        raise ValueError(f"weight_denominator={denominator!r} is not allowed: must be 'examples' or 'weights'")
    if weights is None:
        return None
    examples = len(targets)
    weights = torch.as_tensor(weights).to(dtype=dtype, device=targets.device)
    if weights.shape != (examples,):
        raise ValueError(f"example_weights has shape {tuple(weights.shape)}: must be ({examples},)")
    return weights if denominator == "examples" else weights * (examples / weights.sum())


def _smoothed_binary(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    _check_same_shape(logits, targets)
    check_decay("label_smoothing", label_smoothing)
    y = targets.to(logits.dtype)  # a product with integers would have the default dtype
    return (1 - label_smoothing) * y + label_smoothing / 2 if label_smoothing else y


def _over_outputs(per_output: Tensor, reduction: str) -> Tensor:
    if reduction not in ("sum", "mean"):
        raise ValueError(f"output_reduction={reduction!r} is not allowed: must be 'sum' or 'mean'")
    summed = per_output.sum(dim=1) if per_output.shape[1] > 1 else per_output.squeeze(1)
    return summed / per_output.shape[1] if reduction == "mean" else summed


def _clip(probabilities: Tensor, clip: float) -> Tensor:
    """``clamp``, whose derivative is 1 up to and at its limits."""
    if not 0 < clip < 0.5:
        raise ValueError(f"clip={clip!r} is not allowed: must be in (0, 1/2)")
    return probabilities.clamp(clip, 1 - clip)


def _squared_error_factor(convention: str, predictions: Tensor, targets: Tensor) -> float:
    _check_same_shape(predictions, targets)
    if convention not in ("mean", "half", "sum"):
        raise ValueError(f"convention={convention!r} is not allowed: must be 'mean', 'half' or 'sum'")
    return {"mean": 1.0 / predictions.shape[1], "half": 0.5, "sum": 1.0}[convention]


def _check_same_shape(outputs: Tensor, targets: Tensor) -> None:
    if outputs.ndim != 2 or outputs.shape != targets.shape:
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}, outputs {tuple(outputs.shape)}: "
            "both must be (examples, outputs) and equal"
        )
    if targets.is_floating_point() and targets.dtype != outputs.dtype:  # PyTorch would promote float32 to float64
        raise ValueError(
            f"targets has dtype {_name(targets.dtype)}, outputs {_name(outputs.dtype)}: must be equal, or integers"
        )


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels has shape {tuple(labels.shape)}, logits {tuple(logits.shape)}: must be (m,) beside (m, classes)"
        )
    classes = logits.shape[1]
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels has dtype {_name(labels.dtype)}: must be integers 0 .. {classes - 1}")
    if labels.numel() and not _looked_at.get():
        lowest, highest = (bound.item() for bound in labels.aminmax())
        if not (lowest >= 0 and highest < classes):
            raise ValueError(f"labels span {lowest} .. {highest}: must be in 0 .. {classes - 1}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
