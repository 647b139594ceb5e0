"""Losses, one value per example; the cost of a batch is their mean.

``f(outputs, targets)`` returns shape ``(m,)``. The two cross-entropies take the last layer's pre-activations (logits),
never probabilities. All raise ValueError when shapes do not fit or a label is out of range; the range can only be seen
where labels have values, so not inside a function that is being traced.
"""

import jax
import jax.numpy as jnp
import numpy as np


def binary_cross_entropy(logits, targets):
    """Logistic loss ``max(z, 0) - z y + log(1 + exp(-|z|))``, summed over the ``k`` outputs; both arguments ``(m, k)``.

    ``optax.sigmoid_binary_cross_entropy`` is the same, but for a gradient with several times the rounding error.
    """
    _check_same_shape(logits, targets)
    # where, not maximum and abs: at z = 0 their derivatives in JAX are 1/2 and 1, which do not give sigmoid(0) - y.
    positive_part = jnp.where(logits < 0, 0, logits)
    magnitude = jnp.where(logits < 0, -logits, logits)
    return (positive_part - logits * targets + jnp.log1p(jnp.exp(-magnitude))).sum(axis=1)


def categorical_cross_entropy(logits, labels):
    """Softmax loss ``-log softmax(z)_y``; ``logits``: ``(m, K)``, ``labels``: ``(m,)`` integers in ``0 .. K-1``.

    ``optax.softmax_cross_entropy_with_integer_labels`` subtracts the logit after the logarithm of the sum, which
    cancels where logits are large; here they are shifted first.
    """
    _check_labels(logits, labels)
    log_probabilities = jax.nn.log_softmax(logits, axis=1)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def mean_squared_error(predictions, targets, *, convention="mean"):
    """Squared error ``1/k sum_j (p_j - y_j)^2`` (``"mean"``) or ``1/2 sum_j (p_j - y_j)^2`` (``"half"``).

    ``predictions`` and ``targets``: ``(m, k)``.
    ``optax.squared_error`` does not sum, ``optax.l2_loss`` is half of it.
    """
    return (_squared_error_factor(convention, predictions, targets) * (predictions - targets) ** 2).sum(axis=1)


LOSSES = {f.__name__: f for f in (binary_cross_entropy, categorical_cross_entropy, mean_squared_error)}


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
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels has dtype {labels.dtype}: must be integers 0 .. {logits.shape[1] - 1}")
    _check_label_range(labels, logits.shape[1])


def _check_label_range(labels, classes):
    if isinstance(labels, jax.core.Tracer):
        return  # no values yet: loss_and_gradients and fit look at them before they trace
    labels = np.asarray(labels)
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels span {labels.min()} .. {labels.max()}: must be in 0 .. {classes - 1}")
