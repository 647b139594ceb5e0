"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``.

>>> from reference_numpy.models import initialize, logistic_regression
>>> from reference_numpy.optimizers import gradient_descent
>>> x, y = np.array([[-1.0], [1.0]]), np.array([[0.0], [1.0]])
>>> model = logistic_regression(1)
>>> parameters = initialize(model, None, initializer="zeros")
>>> history = fit(model, parameters, x, y, loss="binary_cross_entropy", optimizer=gradient_descent(1.0), epochs=2)
>>> history.costs.round(6)
array([0.693147, 0.474077])
"""

from typing import NamedTuple

import numpy as np

from . import losses, regularizers


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``."""

    cost: float
    data_loss: float
    penalty: float
    gradients: dict


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all parameters) have shape ``(steps,)``; ``checkpoints`` maps an epoch's number to the parameters at its
    end.
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
    gradients, data_loss, penalty = _backpropagate(
        model, parameters, x, y, loss, loss_options or {}, penalties, masks, None, input_gradient
    )
    return Gradients(data_loss + penalty, data_loss, penalty, gradients)


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
    """Train for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`, changes no argument.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once); the last batch of an epoch holds
    what is left. ``schedule`` gives the learning rate by epoch or by step (``schedule_unit``), both counted from 0;
    None keeps the optimizer's. The order of the examples is drawn anew each epoch from ``seed``, or is row ``e`` of
    ``batch_order: (epochs, m)``; a full batch keeps the order of ``x``. Dropout masks are drawn likewise, or taken
    from ``dropout_masks``: by layer ``(epochs, m, n_l)``, where row ``k`` belongs to the ``k``-th example visited.
    ``checkpoint_epochs`` are the epochs (from 1) after which parameters are kept. Raises ValueError for arguments
    that do not fit.
    """
    _check_fit(x, y, schedule_unit, epochs, batch_size)
    examples = len(x)
    batch_size = batch_size or examples
    generator = np.random.default_rng(seed)
    flat, parameters = _flatten(parameters)
    flat_gradient, gradients = _flatten(parameters)
    state = {slot: np.full_like(flat, value) for slot, value in optimizer.initial_slots.items()}
    buffers_by_size = {
        size: _buffers(model, size, gradients, flat.dtype)
        for size in {min(batch_size, examples), examples % batch_size} - {0}
    }
    costs, rates, norms, checkpoints = [], [], [], {}
    for epoch in range(epochs):
        order = _order(generator, examples, batch_size, batch_order, epoch)
        epoch_masks = _epoch_masks(generator, model, examples, dropout_masks, epoch)
        for start in range(0, examples, batch_size):
            rows = order[start : start + batch_size] if order is not None else slice(None)
            masks = {layer: mask[start : start + batch_size] for layer, mask in epoch_masks.items()}
            step = len(costs)
            rate = _rate(optimizer, schedule, schedule_unit, epoch, step)
            _, data_loss, penalty = _backpropagate(
                model, parameters, x[rows], y[rows], loss, loss_options or {}, penalties, masks,
                buffers_by_size[min(batch_size, examples - start)], False,
            )  # fmt: skip
            costs.append(data_loss + penalty)
            rates.append(rate)
            norms.append(np.sqrt(model.product(flat_gradient[None], flat_gradient[:, None])[0, 0]))
            optimizer.update_flat(flat, flat_gradient, state, step + 1, rate)
        if epoch + 1 in checkpoint_epochs:
            checkpoints[epoch + 1] = {name: w.copy() for name, w in parameters.items()}
    return History(
        np.array(costs), np.array(rates), np.array(norms), parameters, _named_state(optimizer, state, parameters,
        costs), checkpoints,
    )  # fmt: skip


def _backpropagate(model, parameters, x, y, loss, loss_options, penalties, masks, buffers, input_gradient):
    """The one place where a cost and its gradients are computed; writes the gradients into ``buffers`` where given."""
    if loss not in losses.LOSSES:
        raise ValueError(f"loss={loss!r} is not allowed: must be one of {', '.join(map(repr, losses.LOSSES))}")
    if len(x) == 0:
        raise ValueError(f"x has shape {x.shape}: must hold at least one example")
    examples = len(x)
    outputs, values = model.forward(parameters, x, masks=masks, buffers=buffers)
    data_loss = losses.LOSSES[loss](outputs, y, **loss_options).mean()
    output_gradient = losses.GRADIENTS[loss](outputs, y, **loss_options) / examples
    gradients = model.backward(
        parameters, values, output_gradient, masks=masks, buffers=buffers, input_gradient=input_gradient
    )
    weights = [parameters[f"W{layer}"] for layer in range(1, model.depth + 1)]
    penalty = sum(p.value(weights, examples) for p in penalties)
    for p in penalties:
        for layer, weight in enumerate(weights, start=1):
            gradients[f"W{layer}"] += p.gradient(weight, examples)
    return gradients, data_loss, penalty


def _flatten(parameters):
    """One new flat vector with a copy of every parameter, and a dict of views into it."""
    flat = np.concatenate([w.ravel() for w in parameters.values()])
    ends = np.cumsum([w.size for w in parameters.values()])
    views = {
        name: flat[end - w.size : end].reshape(w.shape) for (name, w), end in zip(parameters.items(), ends, strict=True)
    }
    return flat, views


def _buffers(model, examples, gradients, dtype):
    """Arrays for every intermediate value of a batch of ``examples``; gradients go into ``gradients``."""
    buffers = {"dA0": None}
    for layer, size in enumerate(model.layer_sizes[1:], start=1):
        for name in ("Z", "A", "dA"):
            buffers[f"{name}{layer}"] = np.empty((examples, size), dtype)
    return buffers | {f"d{name}": gradient for name, gradient in gradients.items()}


def _order(generator, examples, batch_size, batch_order, epoch):
    if batch_order is not None:
        return batch_order[epoch]
    return None if batch_size >= examples else generator.permutation(examples)


def _epoch_masks(generator, model, examples, dropout_masks, epoch):
    if dropout_masks is not None:
        return {layer: masks[epoch] for layer, masks in dropout_masks.items()}
    return {
        layer: regularizers.dropout_mask(generator, (examples, model.layer_sizes[layer]), keep_probability=keep)
        for layer, keep in enumerate(model.keep_probabilities, start=1)
        if keep < 1
    }


def _rate(optimizer, schedule, schedule_unit, epoch, step):
    if schedule is None:
        return optimizer.learning_rate
    return schedule(epoch if schedule_unit == "epoch" else step)


def _named_state(optimizer, flat_state, parameters, costs):
    """The flat slots of :func:`fit` as the optimizer's own state."""
    state = optimizer.init(parameters)
    for slot, flat in flat_state.items():
        start = 0
        for array in state.slots[slot].values():
            array[...] = flat[start : start + array.size].reshape(array.shape)
            start += array.size
    return state._replace(step=len(costs))


def _check_fit(x, y, schedule_unit, epochs, batch_size):
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"x has {len(x)} examples, y {len(y)}: must be the same number, at least one")
    if schedule_unit not in ("epoch", "step"):
        raise ValueError(f"schedule_unit={schedule_unit!r} is not allowed: must be 'epoch' or 'step'")
    if not epochs >= 1:
        raise ValueError(f"epochs={epochs!r} is not allowed: must be an integer >= 1")
    if batch_size is not None and not batch_size >= 1:
        raise ValueError(f"batch_size={batch_size!r} is not allowed: must be None or an integer >= 1")
