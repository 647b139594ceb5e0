"""Losses, one value per example; the cost of a batch is their mean.

``f(outputs, targets, example_weights=None)`` returns shape ``(m,)``. The two cross-entropies take the last layer's
pre-activations (logits), never probabilities; those ``_from_probabilities`` are there for models that end in
probabilities. All raise ValueError when shapes do not fit or a label is out of range; the range can only be seen where
labels have values, so not inside a function that is being traced.

**Weights.** ``example_weights: (m,)`` and ``class_weights`` (one for each class) multiply example ``i``'s loss by ``w_i
= example_weights[i] class_weights[y_i]``; ``weight_denominator="weights"`` also by ``m / sum_j w_j``, so that the cost
is ``sum_i w_i loss_i / sum_i w_i`` and not ``1/m sum_i w_i loss_i``.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ._common import check_decay
from .activations import log_softmax

Array: TypeAlias = jax.Array | NDArray
Weights = Sequence[float] | Array  # one for each class


def binary_cross_entropy(
    logits: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    label_smoothing: float = 0.0,
    output_reduction: str = "sum",
    class_weights: Weights | None = None,
    weight_denominator: str = "examples",
) -> jax.Array:
    """Logistic loss ``max(z, 0) - z y + log(1 + exp(-|z|))``, summed over the ``k`` outputs; both arguments ``(m, k)``.

    ``output_reduction="mean"`` takes their mean; ``label_smoothing`` ``s`` replaces ``y`` by ``(1 - s) y + s/2``;
    ``class_weights`` are of the classes 0 and 1, for a single output. ``optax.sigmoid_binary_cross_entropy`` is the
    same without the keywords, but for a gradient with several times the rounding error.
    """
    y = _smoothed_binary(logits, targets, label_smoothing)
    # where, not maximum and abs: at z = 0 their derivatives in JAX are 1/2 and 1, which do not give sigmoid(0) - y.
    positive_part = jnp.where(logits < 0, 0, logits)
    magnitude = jnp.where(logits < 0, -logits, logits)
    per_output = positive_part - logits * y + jnp.log1p(jnp.exp(-magnitude))
    weights = _binary_weights(targets, example_weights, class_weights, weight_denominator)
    return _weighted(per_output.sum(axis=1) / _outputs(logits, output_reduction), weights)


def categorical_cross_entropy(
    logits: Array,
    labels: Array,
    example_weights: Array | None = None,
    *,
    label_smoothing: float = 0.0,
    class_weights: Weights | None = None,
    weight_denominator: str = "examples",
) -> jax.Array:
    """Softmax loss ``-log softmax(z)_y``; ``logits``: ``(m, K)``, ``labels``: ``(m,)`` integers in ``0 .. K-1``.

    ``label_smoothing`` ``s`` replaces the target distribution ``[k = y]`` by ``(1 - s) [k = y] + s/K``.
    ``optax.softmax_cross_entropy_with_integer_labels`` subtracts the logit after the logarithm of the sum, which
    cancels where logits are large; here they are shifted first.
    """
    _check_labels(logits, labels)
    check_decay("label_smoothing", label_smoothing)
    log_probabilities = log_softmax(logits)
    picked = jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]
    if label_smoothing:
        picked = (1 - label_smoothing) * picked + label_smoothing * log_probabilities.mean(axis=1)
    weights = _class_weights(labels, logits.shape[1], example_weights, class_weights, weight_denominator)
    return _weighted(-picked, weights)


def binary_cross_entropy_from_probabilities(
    probabilities: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    clip: float = 1e-7,
    output_reduction: str = "sum",
    class_weights: Weights | None = None,
    weight_denominator: str = "examples",
) -> jax.Array:
    """``-y log(q) - (1 - y) log(1 - q)`` with ``q = p`` clipped to ``[clip, 1 - clip]``; where clipped, gradient 0.

    ``probabilities`` and ``targets``: ``(m, k)``; the other keywords as in :func:`binary_cross_entropy`. Raises
    ValueError unless ``0 < clip < 1/2``.
    """
    q = _clipped(probabilities, targets, clip)
    per_output = -targets * jnp.log(q) - (1 - targets) * _log_one_minus(q)
    weights = _binary_weights(targets, example_weights, class_weights, weight_denominator)
    return _weighted(per_output.sum(axis=1) / _outputs(probabilities, output_reduction), weights)


def categorical_cross_entropy_from_probabilities(
    probabilities: Array,
    labels: Array,
    example_weights: Array | None = None,
    *,
    clip: float = 1e-7,
    class_weights: Weights | None = None,
    weight_denominator: str = "examples",
) -> jax.Array:
    """``-log(q_y)`` with ``q = p`` clipped to ``[clip, 1 - clip]``; where clipped, the gradient is 0.

    ``probabilities``: ``(m, K)``, not normalised again; ``labels``: ``(m,)``. Raises ValueError unless ``0 < clip <
    1/2``.
    """
    _check_labels(probabilities, labels)
    picked = jnp.take_along_axis(_clip(probabilities, clip), labels[:, None], axis=1)[:, 0]
    weights = _class_weights(labels, probabilities.shape[1], example_weights, class_weights, weight_denominator)
    return _weighted(-jnp.log(picked), weights)


def mean_squared_error(
    predictions: Array,
    targets: Array,
    example_weights: Array | None = None,
    *,
    convention: str = "mean",
    weight_denominator: str = "examples",
) -> jax.Array:
    """Squared error per example: ``1/k sum_j (p_j - y_j)^2`` (``"mean"``), ``1/2 sum_j (p_j - y_j)^2`` (``"half"``) or
    ``sum_j (p_j - y_j)^2`` (``"sum"``).

    ``predictions`` and ``targets``: ``(m, k)``. ``optax.squared_error`` does not sum, ``optax.l2_loss`` is half of it.
    """
    squares = (_squared_error_factor(convention, predictions, targets) * (predictions - targets) ** 2).sum(axis=1)
    return _weighted(squares, _example_weights(len(targets), example_weights, weight_denominator))


LOSSES: dict[str, Callable[..., jax.Array]] = {
    f.__name__: f
    for f in (
        binary_cross_entropy, categorical_cross_entropy, binary_cross_entropy_from_probabilities,
        categorical_cross_entropy_from_probabilities, mean_squared_error,
    )
}  # fmt: skip

# The losses that take logits; the others take the model's activated output A[L].
FROM_LOGITS = ("binary_cross_entropy", "categorical_cross_entropy")


def _check_label_range(labels: Array, classes: int) -> None:
    """Raise ValueError where a label is not in ``0 .. classes - 1``, which compiled code cannot do."""
    if isinstance(labels, jax.core.Tracer):
        return  # no values yet: loss_and_gradients and fit look at them before they trace
    labels = np.asarray(labels)
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels span {labels.min()} .. {labels.max()}: must be in 0 .. {classes - 1}")


def _log_one_minus(q: jax.Array) -> jax.Array:
    """``log(1 - q)``. In float64 XLA's ``log1p`` is up to 240 units of roundoff off between -0.42 and -0.35."""
    return jnp.where(q > 0.25, jnp.log(1 - q), jnp.log1p(-q))


def _weighted(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """``values: (m,)``, that of example ``i`` times ``weights[i]``; None weighs nothing."""
    return values if weights is None else values * weights.astype(values.dtype)


def _binary_weights(
    targets: Array, example_weights: Array | None, class_weights: Weights | None, denominator: str
) -> jax.Array | None:
    if class_weights is None:
        return _example_weights(len(targets), example_weights, denominator)
    if targets.shape[1] != 1:
        raise ValueError(
            f"class_weights={class_weights!r} is not allowed with {targets.shape[1]} outputs: must be None"
        )
    labels = jnp.asarray(targets[:, 0] >= 0.5, int)
    return _class_weights(labels, 2, example_weights, class_weights, denominator)


def _class_weights(
    labels: Array, classes: int, example_weights: Array | None, class_weights: Weights | None, denominator: str
) -> jax.Array | None:
    if class_weights is not None:
        weights: Any = np.asarray(class_weights, np.float64)
        if weights.shape != (classes,) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(f"class_weights={class_weights!r} is not allowed: must be {classes} finite numbers >= 0")
        weights = jnp.asarray(weights)[labels]
        example_weights = weights if example_weights is None else weights * example_weights
    return _example_weights(len(labels), example_weights, denominator)


def _example_weights(examples: int, weights: Array | None, denominator: str) -> jax.Array | None:
    """The factor of each example's loss, ``(m,)``, or None."""
    if denominator not in ("examples", "weights"):
        raise ValueError(f"weight_denominator={denominator!r} is not allowed: must be 'examples' or 'weights'")
    if weights is None:
        return None
    if jnp.shape(weights) != (examples,):
        raise ValueError(f"example_weights has shape {jnp.shape(weights)}: must be ({examples},)")
    weights = jnp.asarray(weights)
    return weights if denominator == "examples" else weights * (examples / weights.sum())


def _smoothed_binary(logits: Array, targets: Array, label_smoothing: float) -> Array:
    _check_same_shape(logits, targets)
    check_decay("label_smoothing", label_smoothing)
    return (1 - label_smoothing) * targets + label_smoothing / 2 if label_smoothing else targets


def _outputs(logits: Array, reduction: str) -> int:
    if reduction not in ("sum", "mean"):
        raise ValueError(f"output_reduction={reduction!r} is not allowed: must be 'sum' or 'mean'")
    return logits.shape[1] if reduction == "mean" else 1


def _clipped(probabilities: Array, targets: Array, clip: float) -> jax.Array:
    _check_same_shape(probabilities, targets)
    return _clip(probabilities, clip)


def _clip(probabilities: Array, clip: float) -> jax.Array:
    if not 0 < clip < 0.5:
        raise ValueError(f"clip={clip!r} is not allowed: must be in (0, 1/2)")
    # jnp.clip has the derivative 1/2 where a probability is just at the limit; this has 1.
    return jnp.where(probabilities < clip, clip, jnp.where(probabilities > 1 - clip, 1 - clip, probabilities))


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
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels has dtype {labels.dtype}: must be integers 0 .. {logits.shape[1] - 1}")
    _check_label_range(labels, logits.shape[1])
