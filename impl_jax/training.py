"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``. Computations run in the dtype of the
parameters. Everything is compiled once for each model, loss, penalties, optimizer and shape; learning rates, the order
of the examples and dropout masks are data.

Matrix products have the backend's default precision: full on a CPU, perhaps TF32 or bfloat16 on an accelerator. That is
left to ``jax_default_matmul_precision``, a setting of the program, not of a library.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import losses, regularizers
from .models import DenseNetwork


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``."""

    cost: jax.Array
    data_loss: jax.Array
    penalty: jax.Array
    gradients: dict


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean, over
    all parameters) are NumPy arrays of shape ``(steps,)``; ``checkpoints`` maps an epoch's number to the parameters at
    its end.
    """

    costs: np.ndarray
    learning_rates: np.ndarray
    gradient_norms: np.ndarray
    parameters: dict
    optimizer_state: object
    checkpoints: dict


def loss_and_gradients(
    model, parameters, x, y, *, loss, loss_options=None, penalties=(), masks=None, input_gradient=False
):
    """Cost of one batch and its gradients with respect to every parameter (and ``"A0"``, the input, if asked).

    ``x``: ``(m, n_0)``; ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its
    keywords; ``penalties``: of ``regularizers``; ``masks``: dropout masks by layer, None for no dropout. Returns
    :class:`Gradients`. Raises ValueError for an unknown loss, an empty batch, or shapes that do not fit.
    """
    cost = _Cost(model, loss, tuple(sorted((loss_options or {}).items())), tuple(penalties))
    parameters, x, y = _arrays(parameters, x, y)
    cost.check_batch(x, y)
    return _loss_and_gradients(cost, parameters, x, y, masks, input_gradient)


def fit(
    model,
    parameters,
    x,
    y,
    *,
    loss,
    optimizer,
    loss_options=None,
    penalties=(),
    schedule=None,
    schedule_unit="epoch",
    epochs=10,
    batch_size=None,
    seed=0,
    batch_order=None,
    dropout_masks=None,
    checkpoint_epochs=(),
):
    """Train for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`.

    ``parameters`` are left as they are. Each epoch visits the examples in batches of ``batch_size`` (None: all at
    once); the last batch of an epoch holds what is left. ``schedule`` gives the learning rate by epoch or by step
    (``schedule_unit``), both counted from 0; None keeps the optimizer's. ``optimizer`` may also be one of optax's own:
    without ``schedule``, and its rates are recorded as NaN. The order of the examples is drawn anew each epoch from
    ``seed``, or is row ``e`` of ``batch_order: (epochs, m)``; a full batch keeps the order of ``x``. Dropout masks are
    drawn likewise, or taken from ``dropout_masks``: by layer ``(epochs, m, n_l)``, where row ``k`` belongs to the
    ``k``-th example visited. ``checkpoint_epochs`` are the epochs (from 1) after which parameters are kept. Raises
    ValueError for arguments that do not fit.

    A second call with the same ``optimizer`` object and equal model, loss, penalties and shapes compiles nothing.
    """
    _check_fit(x, y, schedule_unit, epochs, batch_size)
    cost = _Cost(model, loss, tuple(sorted((loss_options or {}).items())), tuple(penalties))
    parameters, x, y = _arrays(parameters, x, y)
    cost.check_batch(x, y)
    batch_size = min(batch_size or len(x), len(x))
    _check_tape(model, len(x), epochs, batch_order, dropout_masks)
    rates = _learning_rates(optimizer, schedule, schedule_unit, epochs, steps=-(-len(x) // batch_size))
    tape = _tape(model, len(x), batch_size, epochs, seed, batch_order, dropout_masks)
    state = optimizer.init(parameters)
    curves, checkpoints = [], {}
    for epoch, (order, masks) in enumerate(tape, start=1):
        epoch_rates = None if rates is None else rates[epoch - 1]
        parameters, state, curve = _train_epoch(
            cost, optimizer, batch_size, parameters, state, x, y, order, masks, epoch_rates
        )
        curves.append(curve)
        if epoch in checkpoint_epochs:
            checkpoints[epoch] = parameters
    costs, norms = (np.concatenate(curve) for curve in zip(*jax.device_get(curves), strict=True))
    learning_rates = np.full(len(costs), np.nan) if rates is None else rates.ravel()
    return History(costs, learning_rates, norms, parameters, state, checkpoints)


@dataclass(frozen=True)
class _Cost:
    """The cost as a function of arrays; what it is made of can be hashed, so that ``jit`` takes it as static."""

    model: DenseNetwork
    loss: str
    loss_options: tuple
    penalties: tuple

    def __post_init__(self):
        if self.loss not in losses.LOSSES:
            raise ValueError(f"loss={self.loss!r} is not allowed: must be one of {', '.join(map(repr, losses.LOSSES))}")

    def __call__(self, parameters, x, y, masks):
        """The cost and, beside it, its two parts: ``(cost, (data_loss, penalty))``."""
        logits = self.model.apply(parameters, x, masks=masks)
        data_loss = losses.LOSSES[self.loss](logits, y, **dict(self.loss_options)).mean()
        weights = [parameters[f"W{layer}"] for layer in range(1, self.model.depth + 1)]
        penalty = sum((p(weights, len(x)) for p in self.penalties), start=jnp.zeros_like(data_loss))
        return data_loss + penalty, (data_loss, penalty)

    def check_batch(self, x, y):
        """What compiled code cannot refuse: labels out of range. (It sees shapes, and refuses those itself.)"""
        if len(x) == 0:
            raise ValueError(f"x has shape {x.shape}: must hold at least one example")
        if self.loss == "categorical_cross_entropy" and jnp.issubdtype(y.dtype, jnp.integer):
            losses._check_label_range(y, self.model.layer_sizes[-1])


@partial(jax.jit, static_argnames=("cost", "input_gradient"))
def _loss_and_gradients(cost, parameters, x, y, masks, input_gradient):
    (total, (data_loss, penalty)), (gradients, x_gradient) = jax.value_and_grad(cost, argnums=(0, 1), has_aux=True)(
        parameters, x, y, masks
    )
    # Where the input's gradient is not returned, the compiler drops its computation.
    return Gradients(total, data_loss, penalty, gradients | ({"A0": x_gradient} if input_gradient else {}))


@partial(jax.jit, static_argnames=("cost", "optimizer", "batch_size"))
def _train_epoch(cost, optimizer, batch_size, parameters, state, x, y, order, masks, rates):
    """One pass over ``x``: a scan over the full batches, then what is left. Returns ``(parameters, state, curve)``.

    ``order: (m,)``, or None for the order of ``x``; ``masks: {layer: (m, n_l)}`` in the order of the visits;
    ``rates: (steps,)``, or None for the optimizer's own. ``curve`` holds costs and gradient norms, each ``(steps,)``.
    """
    update = optax.with_extra_args_support(optimizer).update

    def step(carry, batch):
        parameters, state = carry
        rows, batch_masks, rate = batch
        x_batch, y_batch = (x, y) if rows is None else (x[rows], y[rows])
        (total, _), gradients = jax.value_and_grad(cost, has_aux=True)(parameters, x_batch, y_batch, batch_masks)
        updates, state = update(gradients, state, parameters, learning_rate=rate)
        return (optax.apply_updates(parameters, updates), state), (total, optax.tree.norm(gradients))

    full = len(x) // batch_size
    end = full * batch_size  # of the full batches
    by_example = (order, masks)
    batches = jax.tree.map(lambda a: a[:end].reshape(full, batch_size, *a.shape[1:]), by_example)
    carry, curve = jax.lax.scan(step, (parameters, state), (*batches, jax.tree.map(lambda r: r[:full], rates)), full)
    if end < len(x):
        batch = jax.tree.map(lambda a: a[end:], by_example)
        carry, last = step(carry, (*batch, jax.tree.map(lambda r: r[full], rates)))
        curve = jax.tree.map(lambda values, value: jnp.append(values, value), curve, last)
    return *carry, curve


def _tape(model, examples, batch_size, epochs, seed, batch_order, dropout_masks):
    """What is random in every epoch: the order of the examples (None: as they are) and the dropout masks by layer."""
    key = jax.random.key(seed)
    shuffle = batch_order is None and batch_size < examples
    for epoch in range(epochs):
        order, masks = _draw_epoch(model, examples, shuffle, dropout_masks is None, key, epoch)
        if batch_order is not None:
            order = np.asarray(batch_order[epoch], np.int32)
        if dropout_masks is not None:
            masks = {layer: np.asarray(drawn[epoch]) for layer, drawn in dropout_masks.items()}
        yield order, masks


@partial(jax.jit, static_argnames=("model", "examples", "shuffle", "drop"))
def _draw_epoch(model, examples, shuffle, drop, key, epoch):
    """Order (None unless ``shuffle``) and masks (none unless ``drop``) of one epoch, from JAX's own generator."""
    order_key, *mask_keys = jax.random.split(jax.random.fold_in(key, epoch), 1 + len(model.keep_probabilities))
    order = jax.random.permutation(order_key, examples) if shuffle else None
    masks = {
        layer: regularizers.dropout_mask(mask_key, (examples, model.layer_sizes[layer]), keep_probability=keep)
        for layer, (mask_key, keep) in enumerate(zip(mask_keys, model.keep_probabilities, strict=True), start=1)
        if drop and keep < 1
    }
    return order, masks


def _arrays(parameters, x, y):
    """As JAX arrays, ``x`` and real-valued ``y`` in the dtype of the parameters."""
    parameters = jax.tree.map(jnp.asarray, parameters)
    dtype = parameters["W1"].dtype
    y = jnp.asarray(y)
    return parameters, jnp.asarray(x, dtype), y.astype(dtype) if jnp.issubdtype(y.dtype, jnp.floating) else y


def _learning_rates(optimizer, schedule, schedule_unit, epochs, steps):
    """The rate of every step, ``(epochs, steps)`` in double precision, or None if only the optimizer knows it."""
    own_rate = getattr(optimizer, "learning_rate", None)
    if own_rate is None and schedule is not None:
        raise ValueError("schedule is not allowed with an optimizer without a learning_rate: must be None")
    if own_rate is None:
        return None
    if schedule is None:
        schedule = own_rate if callable(own_rate) else lambda t: own_rate
        schedule_unit = "step"  # what a schedule of optax counts
    return np.array(
        [
            [float(schedule(epoch if schedule_unit == "epoch" else epoch * steps + step)) for step in range(steps)]
            for epoch in range(epochs)
        ]
    )


def _check_fit(x, y, schedule_unit, epochs, batch_size):
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"x has {len(x)} examples, y {len(y)}: must be the same number, at least one")
    if schedule_unit not in ("epoch", "step"):
        raise ValueError(f"schedule_unit={schedule_unit!r} is not allowed: must be 'epoch' or 'step'")
    if not epochs >= 1:
        raise ValueError(f"epochs={epochs!r} is not allowed: must be an integer >= 1")
    if batch_size is not None and not batch_size >= 1:
        raise ValueError(f"batch_size={batch_size!r} is not allowed: must be None or an integer >= 1")


def _check_tape(model, examples, epochs, batch_order, dropout_masks):
    """Indexing out of range, which NumPy refuses, JAX would silently clamp."""
    if batch_order is not None:
        order = np.asarray(batch_order)
        if order.shape[1:] != (examples,) or len(order) < epochs or order.min() < 0 or order.max() >= examples:
            raise ValueError(
                f"batch_order has shape {order.shape}: must be ({epochs}, {examples}), of 0 .. {examples - 1}"
            )
    for layer, masks in (dropout_masks or {}).items():
        expected = (examples, model.layer_sizes[layer])
        if masks.shape[1:] != expected or len(masks) < epochs:
            raise ValueError(f"dropout mask {layer} has shape {masks.shape}: must be {(epochs, *expected)}")
