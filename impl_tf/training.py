"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from . import losses, regularizers


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns, in tensors; ``cost = data_loss + penalty``."""

    cost: tf.Tensor
    data_loss: tf.Tensor
    penalty: tf.Tensor
    gradients: dict


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all parameters) are NumPy arrays of shape ``(steps,)``; ``parameters`` are tensors by name,
    ``optimizer_state`` is ``{"step": int, "slots": {slot: {name: array}}}``; ``checkpoints`` maps an epoch's number
    to the parameters at its end.
    """

    costs: np.ndarray
    learning_rates: np.ndarray
    gradient_norms: np.ndarray
    parameters: dict
    optimizer_state: object
    checkpoints: dict


def loss_and_gradients(model, x, y, *, loss, loss_options=None, penalties=(), masks=None, input_gradient=False):
    """Cost of one batch and its gradients with respect to every parameter (and ``"A0"``, the input, if asked).

    ``x``: ``(m, n_0)``; ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its
    keywords; ``penalties``: of ``regularizers``; ``masks``: dropout masks by layer, None for no dropout. Returns
    :class:`Gradients`. Can be called inside a ``tf.function``. Raises ValueError for an unknown loss, an empty batch,
    or shapes that do not fit.
    """
    _check_loss(loss)
    x = model.checked_input(x)
    if x.shape[0] == 0:
        raise ValueError(f"x has shape {x.shape}: must hold at least one example")
    parameters = model.parameter_dict()
    sources = parameters | ({"A0": x} if input_gradient else {})
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(sources.values()))
        data_loss = tf.reduce_mean(losses.LOSSES[loss](model(x, masks), y, **(loss_options or {})))
        penalty = tf.zeros([], x.dtype)
        for term in penalties:
            penalty += term(model.weights, x.shape[0])
        cost = data_loss + penalty
    return Gradients(cost, data_loss, penalty, tape.gradient(cost, sources))


def fit(
    model,
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
    """Train ``model`` in place for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once); the last batch of an epoch holds
    what is left. ``schedule`` gives the learning rate by epoch or by step (``schedule_unit``), both counted from 0;
    None keeps the optimizer's. The order of the examples is drawn anew each epoch from a ``tf.random.Generator`` with
    ``seed``, or is row ``e`` of ``batch_order: (epochs, m)``; a full batch keeps the order of ``x``. Dropout masks
    are drawn likewise, or taken from ``dropout_masks``: by layer ``(epochs, m, n_l)``, where row ``k`` belongs to the
    ``k``-th example visited. ``checkpoint_epochs`` are the epochs (from 1) after which parameters are kept. The
    optimizer starts from its initial state. An epoch is one call of one compiled function; a second fit with the same
    objects and shapes uses it again. Raises ValueError for arguments that do not fit.
    """
    x, y = model.checked_input(x), tf.convert_to_tensor(y)
    _check_fit(x, y, schedule_unit, epochs, batch_size)
    _check_targets(model, y, loss, loss_options or {})
    examples = x.shape[0]
    batch_size = min(batch_size or examples, examples)
    _check_order(batch_order, epochs, examples)
    parameters = model.parameter_dict()
    optimizer.build(parameters)
    run_epoch = _compiled_epoch(
        model, optimizer, _references(model, optimizer), loss, tuple((loss_options or {}).items()), tuple(penalties),
        batch_size,
    )  # fmt: skip
    generator = tf.random.Generator.from_seed(seed)
    costs, rates, norms, checkpoints = [], [], [], {}
    for epoch in range(epochs):
        order = _order(generator, examples, batch_size, batch_order, epoch)
        masks = _epoch_masks(generator, model, examples, dropout_masks, epoch)
        epoch_rates = _epoch_rates(optimizer, schedule, schedule_unit, epoch, steps=-(-examples // batch_size))
        epoch_costs, epoch_norms = run_epoch(x, y, order, masks, tf.constant(epoch_rates, tf.float64))
        costs.append(epoch_costs.numpy())
        rates.extend(epoch_rates)
        norms.append(epoch_norms.numpy())
        if epoch + 1 in checkpoint_epochs:
            checkpoints[epoch + 1] = _copies(parameters)
    return History(
        np.concatenate(costs), np.array(rates), np.concatenate(norms), _copies(parameters), _named_state(optimizer),
        checkpoints,
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _compiled_epoch(model, optimizer, references, loss, loss_options, penalties, batch_size):
    """One epoch as a ``tf.function`` of the data, the order, the masks and the learning rate of each step.

    A ``tf.function`` keeps the variables that it was traced with: ``references`` to them are part of the cache's key.
    """

    @tf.autograph.experimental.do_not_convert  # nothing to convert in it, and looking for it takes seconds
    def train_step(x, y, order, masks, rates, step, size):
        x, y, masks = _batch(x, y, order, masks, step * batch_size, size)
        batch = loss_and_gradients(
            model, x, y, loss=loss, loss_options=dict(loss_options), penalties=penalties, masks=masks
        )
        optimizer.apply_gradients(batch.gradients, model.parameter_dict(), learning_rate=rates[step])
        return batch.cost, tf.linalg.global_norm(list(batch.gradients.values()))

    @tf.function
    def run_epoch(x, y, order, masks, rates):
        full_batches, rest = divmod(x.shape[0], batch_size)
        costs = tf.TensorArray(x.dtype, size=rates.shape[0])
        norms = tf.TensorArray(x.dtype, size=rates.shape[0])
        for step in tf.range(full_batches):
            cost, norm = train_step(x, y, order, masks, rates, step, batch_size)
            costs, norms = costs.write(step, cost), norms.write(step, norm)
        if rest > 0:
            cost, norm = train_step(x, y, order, masks, rates, full_batches, rest)
            costs, norms = costs.write(full_batches, cost), norms.write(full_batches, norm)
        return costs.stack(), norms.stack()

    return run_epoch


def _references(model, optimizer):
    """A hashable for each variable that training touches."""
    slots = [variable for variables in optimizer.slots.values() for variable in variables.values()]
    return tuple(variable.ref() for variable in (*model.parameter_dict().values(), *slots))


def _batch(x, y, order, masks, start, size):
    """The examples, targets and masks at positions ``start .. start + size - 1`` of an epoch; ``size`` is static."""
    masks = {layer: tf.slice(mask, [start, 0], [size, -1]) for layer, mask in masks.items()}
    if order is None:  # a full batch
        return x, y, masks
    rows = tf.slice(order, [start], [size])
    return tf.gather(x, rows), tf.gather(y, rows), masks


def _order(generator, examples, batch_size, batch_order, epoch):
    if batch_order is not None:
        return tf.convert_to_tensor(batch_order[epoch])
    if batch_size == examples:
        return None
    return tf.random.experimental.stateless_shuffle(tf.range(examples), seed=generator.make_seeds()[:, 0])


def _epoch_masks(generator, model, examples, dropout_masks, epoch):
    if dropout_masks is not None:
        return {layer: tf.convert_to_tensor(masks[epoch]) for layer, masks in dropout_masks.items()}
    return {
        layer: regularizers.dropout_mask(generator, (examples, model.layer_sizes[layer]), keep_probability=keep)
        for layer, keep in enumerate(model.keep_probabilities, start=1)
        if keep < 1
    }


def _epoch_rates(optimizer, schedule, schedule_unit, epoch, steps):
    """The learning rate of each step of an epoch, in Python numbers."""
    if schedule is None:
        return [float(optimizer.learning_rate)] * steps
    if schedule_unit == "epoch":
        return [schedule(epoch)] * steps
    return [schedule(step) for step in range(epoch * steps, (epoch + 1) * steps)]


def _copies(parameters):
    return {name: tf.identity(variable) for name, variable in parameters.items()}


def _named_state(optimizer):
    slots = {
        slot: {name: variable.numpy() for name, variable in variables.items()}
        for slot, variables in optimizer.slots.items()
    }
    return {"step": int(optimizer.step), "slots": slots}


def _check_loss(loss):
    if loss not in losses.LOSSES:
        raise ValueError(f"loss={loss!r} is not allowed: must be one of {', '.join(map(repr, losses.LOSSES))}")


def _check_fit(x, y, schedule_unit, epochs, batch_size):
    if x.shape[0] == 0 or x.shape[0] != y.shape[0]:
        raise ValueError(f"x has {x.shape[0]} examples, y {y.shape[0]}: must be the same number, at least one")
    if schedule_unit not in ("epoch", "step"):
        raise ValueError(f"schedule_unit={schedule_unit!r} is not allowed: must be 'epoch' or 'step'")
    if not epochs >= 1:
        raise ValueError(f"epochs={epochs!r} is not allowed: must be an integer >= 1")
    if batch_size is not None and not batch_size >= 1:
        raise ValueError(f"batch_size={batch_size!r} is not allowed: must be None or an integer >= 1")


def _check_targets(model, y, loss, loss_options):
    """Let the loss check its arguments once, eagerly: in the compiled epoch it cannot look at the values of labels."""
    _check_loss(loss)
    losses.LOSSES[loss](tf.zeros((y.shape[0], model.layer_sizes[-1]), model.dtype), y, **loss_options)


def _check_order(batch_order, epochs, examples):
    """``tf.gather`` would give zeros for an example that does not exist, on a GPU."""
    if batch_order is None:
        return
    batch_order = np.asarray(batch_order)
    if batch_order.ndim != 2 or len(batch_order) < epochs or batch_order.shape[1] != examples:
        raise ValueError(f"batch_order has shape {batch_order.shape}: must be ({epochs}, {examples})")
    if not (batch_order.min() >= 0 and batch_order.max() < examples):
        raise ValueError(
            f"batch_order spans {batch_order.min()} .. {batch_order.max()}: must be in 0 .. {examples - 1}"
        )
