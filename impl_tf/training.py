"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from . import activations, losses, models, regularizers


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns, in tensors; ``cost = data_loss + penalty``."""

    cost: tf.Tensor
    data_loss: tf.Tensor
    penalty: tf.Tensor
    gradients: dict


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all trained parameters, before clipping) are NumPy arrays of shape ``(steps,)``; ``parameters`` are tensors by
    name, ``optimizer_state`` is ``{"step": int, "slots": {slot: {name: array}}}``; ``checkpoints`` maps an epoch's
    number to the parameters at its end. ``validation_costs``: ``(epochs,)``, empty without validation; ``best_epoch``
    counts from 1 (0 without early stopping); ``statistics`` are batch norm's running averages, tensors by name.
    """

    costs: np.ndarray
    learning_rates: np.ndarray
    gradient_norms: np.ndarray
    parameters: dict
    optimizer_state: object
    checkpoints: dict
    validation_costs: np.ndarray
    best_epoch: int
    statistics: dict


def loss_and_gradients(
    model,
    x,
    y,
    *,
    loss,
    loss_options=None,
    penalties=(),
    masks=None,
    example_weights=None,
    input_gradient=False,
):
    """Cost of one batch in training and its gradients for every parameter (and ``"A0"``, the input, if asked).

    ``x``: ``(m, n_0)``; ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its
    keywords; ``penalties``: of ``regularizers``; ``masks``: dropout masks by layer, None for no dropout;
    ``example_weights``: ``(m,)``. Batch norm takes the statistics of the batch and leaves its running averages alone.
    Returns :class:`Gradients`. Can be called inside a ``tf.function``. Raises ValueError for an unknown loss, an empty
    batch, or shapes that do not fit.
    """
    x = model.checked_input(x)
    sources = model.parameter_dict() | ({"A0": x} if input_gradient else {})
    return _differentiate(model, sources, x, y, loss, loss_options or {}, penalties, masks, example_weights)[0]


def fit(
    model,
    x,
    y,
    *,
    loss,
    optimizer,
    loss_options=None,
    penalties=(),
    clipping=None,
    constraint=None,
    frozen_layers=0,
    schedule=None,
    schedule_unit="epoch",
    epochs=10,
    batch_size=None,
    seed=0,
    batch_order=None,
    dropout_masks=None,
    augmentations=(),
    augmentation_draws=None,
    example_weights=None,
    validation=None,
    early_stopping=None,
    checkpoint_epochs=(),
):
    """Train ``model`` in place for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once); the last batch of an epoch holds
    what is left. ``schedule`` gives the learning rate by epoch or by step (``schedule_unit``), both counted from 0;
    None keeps the optimizer's. A step is: augment the batch's inputs, take gradients (penalties included) for all but
    the first ``frozen_layers`` layers, clip them (``clipping``), let the optimizer step, constrain the parameters
    (``constraint``); the last two are made in ``regularizers``. The optimizer and batch norm's running averages start
    from their initial state.

    The order of the examples is drawn anew each epoch from a ``tf.random.Generator`` with ``seed``, or is row ``e`` of
    ``batch_order: (epochs, m)``; a full batch keeps the order of ``x``. Dropout masks are drawn likewise, or taken from
    ``dropout_masks``: by layer ``(epochs, m, n_l)``, where row ``k`` belongs to the ``k``-th example visited; and
    ``augmentation_draws`` are one array ``(epochs, m, ...)``, of the same order, for each of ``augmentations``.
    ``example_weights: (m,)`` go with ``x``.

    ``validation=(x, y)`` gives a cost (without penalties, in inference mode) after every epoch; ``early_stopping`` (of
    ``regularizers``) listens to it: a fresh one for every training. ``checkpoint_epochs`` are the epochs (from 1) after
    which parameters are kept. An epoch is one call of one compiled function; a second fit with the same model and
    optimizer, equal settings and equal shapes uses it again. Raises ValueError for arguments that do not fit.
    """
    x, y = model.checked_input(x), tf.convert_to_tensor(y)
    _check_fit(model, x, y, schedule_unit, epochs, batch_size, frozen_layers, validation, early_stopping)
    loss_options, weights = loss_options or {}, _tensor(example_weights)
    _check_targets(model, y, loss, loss_options, weights)
    examples = x.shape[0]
    batch_size = min(batch_size or examples, examples)
    _check_order(batch_order, epochs, examples)
    _start(model, optimizer, frozen_layers)
    run_epoch = _compiled_epoch(
        model, optimizer, _references(model, optimizer), loss, _hashable(loss_options), tuple(penalties), clipping,
        constraint, frozen_layers, tuple(augmentations), batch_size,
    )  # fmt: skip
    generator = tf.random.Generator.from_seed(seed)
    costs, rates, norms, validation_costs, checkpoints, best = [], [], [], [], {}, None
    for epoch in range(epochs):
        order = _order(generator, examples, batch_size, batch_order, epoch)
        masks = _epoch_masks(generator, model, examples, dropout_masks, epoch)
        draws = _epoch_draws(generator, augmentations, x.shape, augmentation_draws, epoch)
        epoch_rates = _epoch_rates(optimizer, schedule, schedule_unit, epoch, steps=-(-examples // batch_size))
        epoch_costs, epoch_norms = run_epoch(x, y, weights, order, masks, draws, tf.constant(epoch_rates, tf.float64))
        costs.append(epoch_costs.numpy())
        rates.extend(epoch_rates)
        norms.append(epoch_norms.numpy())
        if epoch + 1 in checkpoint_epochs:
            checkpoints[epoch + 1] = _copies(model.parameter_dict())
        if validation is not None:
            validation_costs.append(_validation_cost(model, validation, loss, loss_options))
        if early_stopping is not None:
            if early_stopping.improved(float(validation_costs[-1])) and early_stopping.restore_best:
                best = _copies(model.parameter_dict()), _copies(model.statistics_dict())
            if early_stopping.stop:
                break
    if best is not None:
        _restore(model, *best)
    return History(
        np.concatenate(costs), np.array(rates), np.concatenate(norms), _copies(model.parameter_dict()),
        _named_state(optimizer), checkpoints, np.array(validation_costs),
        early_stopping.best_epoch if early_stopping else 0, _copies(model.statistics_dict()),
    )  # fmt: skip


def augment(x, augmentations, draws):
    """``x: (m, n_0)`` after each of ``augmentations`` in turn, with its draws for these ``m`` examples."""
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        x = augmentation.apply(x, drawn)
    return x


def _differentiate(model, sources, x, y, loss, loss_options, penalties, masks, example_weights):
    """:class:`Gradients` of one batch for ``sources``, a dict of tensors, and the values of the forward pass."""
    _check_loss(loss)
    if x.shape[0] == 0:
        raise ValueError(f"x has shape {x.shape}: must hold at least one example")
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(sources.values()))
        logits, values = model.forward(x, masks=masks, training=True)
        per_example = losses.LOSSES[loss](_outputs(model, logits, loss), y, example_weights, **loss_options)
        data_loss = tf.reduce_mean(per_example)
        penalty = tf.zeros([], x.dtype)
        for term in penalties:
            penalty += term(model.weights, x.shape[0])
        cost = data_loss + penalty
    return Gradients(cost, data_loss, penalty, tape.gradient(cost, sources)), values


@functools.lru_cache(maxsize=8)
def _compiled_epoch(
    model, optimizer, references, loss, loss_options, penalties, clipping, constraint, frozen_layers, augmentations,
    batch_size,
):  # fmt: skip
    """One epoch as a ``tf.function`` of the data, the order, the masks, the draws and the learning rate of each step.

    A ``tf.function`` keeps the variables that it was traced with: ``references`` to them are part of the cache's key.
    """

    @tf.autograph.experimental.do_not_convert  # nothing to convert in it, and looking for it takes seconds
    def train_step(x, y, weights, order, masks, draws, rates, step, size):
        x, y, weights, masks, draws = _batch(x, y, weights, order, masks, draws, step * batch_size, size)
        trained = _trained(model, frozen_layers)
        batch, values = _differentiate(
            model, trained, augment(x, augmentations, draws), y, loss, dict(loss_options), penalties, masks, weights
        )
        model.assign_statistics(values)
        gradients = batch.gradients if clipping is None else clipping(batch.gradients)
        optimizer.apply_gradients(gradients, trained, learning_rate=rates[step])
        if constraint is not None:
            for name, value in constraint(trained).items():
                trained[name].assign(value)
        return batch.cost, tf.linalg.global_norm(list(batch.gradients.values()))

    @tf.function
    def run_epoch(x, y, weights, order, masks, draws, rates):
        full_batches, rest = divmod(x.shape[0], batch_size)
        costs = tf.TensorArray(x.dtype, size=rates.shape[0])
        norms = tf.TensorArray(x.dtype, size=rates.shape[0])
        for step in tf.range(full_batches):
            cost, norm = train_step(x, y, weights, order, masks, draws, rates, step, batch_size)
            costs, norms = costs.write(step, cost), norms.write(step, norm)
        if rest > 0:
            cost, norm = train_step(x, y, weights, order, masks, draws, rates, full_batches, rest)
            costs, norms = costs.write(full_batches, cost), norms.write(full_batches, norm)
        return costs.stack(), norms.stack()

    return run_epoch


def _start(model, optimizer, frozen_layers):
    """The state before training: the optimizer's for the trained parameters, and batch norm's running averages."""
    optimizer.build(_trained(model, frozen_layers))
    for name, value in models.initial_statistics(model, dtype=model.dtype).items():
        model.statistics[name].assign(value)


def _trained(model, frozen_layers):
    """The parameters of the layers after the first ``frozen_layers``."""
    return {name: w for name, w in model.parameter_dict().items() if _layer(name) > frozen_layers}


def _layer(name):
    """The layer that a parameter belongs to: 12 for ``"gamma12"``."""
    return int(name.lstrip("Wbgamet"))


def _references(model, optimizer):
    """A hashable for each variable that training touches."""
    slots = [variable for variables in optimizer.slots.values() for variable in variables.values()]
    return tuple(v.ref() for v in (*model.parameters.values(), *model.statistics.values(), *slots))


def _hashable(options):
    """Keywords as pairs, with lists and arrays (class weights) as tuples."""
    return tuple((k, tuple(v) if isinstance(v, (list, np.ndarray)) else v) for k, v in options.items())


def _outputs(model, logits, loss):
    """What the loss takes: the logits, or ``A[L]``."""
    return logits if loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)


def _validation_cost(model, validation, loss, loss_options):
    x, y = validation
    return tf.reduce_mean(losses.LOSSES[loss](_outputs(model, model(x), loss), y, **loss_options)).numpy()


def _restore(model, parameters, statistics):
    for variables, values in ((model.parameters, parameters), (model.statistics, statistics)):
        for name, value in values.items():
            variables[name].assign(value)


def _batch(x, y, weights, order, masks, draws, start, size):
    """What belongs to positions ``start .. start + size - 1`` of an epoch; ``size`` is static."""
    masks = {layer: _places(mask, start, size) for layer, mask in masks.items()}
    draws = [_places(drawn, start, size) for drawn in draws]
    if order is None:  # a full batch
        return x, y, weights, masks, draws
    rows = tf.slice(order, [start], [size])
    return tf.gather(x, rows), tf.gather(y, rows), None if weights is None else tf.gather(weights, rows), masks, draws


def _places(tensor, start, size):
    others = len(tensor.shape) - 1
    return tf.slice(tensor, [start] + [0] * others, [size] + [-1] * others)


def _tensor(array):
    return None if array is None else tf.convert_to_tensor(array)


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


def _epoch_draws(generator, augmentations, shape, augmentation_draws, epoch):
    if augmentation_draws is not None:
        return [tf.convert_to_tensor(draws[epoch]) for draws in augmentation_draws]
    return [augmentation.draw(generator, *shape) for augmentation in augmentations]


def _epoch_rates(optimizer, schedule, schedule_unit, epoch, steps):
    """The learning rate of each step of an epoch, in Python numbers."""
    if schedule is None:
        return [float(optimizer.learning_rate)] * steps
    if schedule_unit == "epoch":
        return [schedule(epoch)] * steps
    return [schedule(step) for step in range(epoch * steps, (epoch + 1) * steps)]


def _copies(variables):
    return {name: tf.identity(variable) for name, variable in variables.items()}


def _named_state(optimizer):
    slots = {
        slot: {name: variable.numpy() for name, variable in variables.items()}
        for slot, variables in optimizer.slots.items()
    }
    return {"step": int(optimizer.step), "slots": slots}


def _check_loss(loss):
    if loss not in losses.LOSSES:
        raise ValueError(f"loss={loss!r} is not allowed: must be one of {', '.join(map(repr, losses.LOSSES))}")


def _check_fit(model, x, y, schedule_unit, epochs, batch_size, frozen_layers, validation, early_stopping):
    if x.shape[0] == 0 or x.shape[0] != y.shape[0]:
        raise ValueError(f"x has {x.shape[0]} examples, y {y.shape[0]}: must be the same number, at least one")
    if schedule_unit not in ("epoch", "step"):
        raise ValueError(f"schedule_unit={schedule_unit!r} is not allowed: must be 'epoch' or 'step'")
    if not (isinstance(epochs, (int, np.integer)) and epochs >= 1):
        raise ValueError(f"epochs={epochs!r} is not allowed: must be an integer >= 1")
    if batch_size is not None and not (isinstance(batch_size, (int, np.integer)) and batch_size >= 1):
        raise ValueError(f"batch_size={batch_size!r} is not allowed: must be None or an integer >= 1")
    if frozen_layers not in range(model.depth):
        raise ValueError(f"frozen_layers={frozen_layers!r} is not allowed: must be in 0 .. {model.depth - 1}")
    if early_stopping is not None and validation is None:
        raise ValueError("validation=None is not allowed with early_stopping: must be (x, y)")


def _check_targets(model, y, loss, loss_options, weights):
    """Let the loss check its arguments once, eagerly: in the compiled epoch it cannot look at the values of labels."""
    _check_loss(loss)
    losses.LOSSES[loss](tf.zeros((y.shape[0], model.layer_sizes[-1]), model.dtype), y, weights, **loss_options)


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
