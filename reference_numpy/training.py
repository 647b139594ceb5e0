"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)`` (``reduction="mean"``), or ``sum_i loss_i +
penalties(W)`` with the same penalties (``"sum"``).

>>> from reference_numpy.models import initialize, logistic_regression
>>> from reference_numpy.optimizers import gradient_descent
>>> x, y = np.array([[-1.0], [1.0]]), np.array([[0.0], [1.0]])
>>> model = logistic_regression(1)
>>> parameters = initialize(model, None, initializer="zeros")
>>> history = fit(model, parameters, x, y, loss="binary_cross_entropy", optimizer=gradient_descent(1.0), epochs=2)
>>> history.costs.round(6)
array([0.693147, 0.474077])
"""

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import activations, losses, models
from ._common import (
    EarlyStopping,
    check_choice,
    check_optimizer_state,
    check_state,
    check_trained,
    check_training,
    is_trained,
)
from .arithmetic import mean, total
from .models import Array, Buffers, Masks, Model, Options, Tensors
from .optimizers import Optimizer, OptimizerState, Slots
from .regularizers import Augmentation, Change, Penalty
from .schedules import Schedule


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``."""

    cost: float
    data_loss: float
    penalty: float
    gradients: Tensors


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all trained parameters, before clipping) have shape ``(steps,)``; ``checkpoints`` maps an epoch's number to the
    parameters at its end. ``validation_costs``: ``(epochs,)``, empty without validation; ``best_epoch`` counts from 1
    (0 without early stopping); ``optimizer_state`` is that of the last step, of the trained parameters alone;
    ``statistics`` are batch norm's running averages. Another :func:`fit` can go on from these two and ``parameters``.
    ``checkpoint_states`` and ``checkpoint_statistics`` are what the two were at the checkpoints.
    """

    costs: Array
    learning_rates: Array
    gradient_norms: Array
    parameters: Tensors
    optimizer_state: OptimizerState
    checkpoints: dict[int, Tensors]
    validation_costs: Array
    best_epoch: int
    statistics: Tensors
    checkpoint_states: dict[int, OptimizerState]
    checkpoint_statistics: dict[int, Tensors]


class _Objective(NamedTuple):
    """What is made smaller, but for the data."""

    loss: str
    options: Options
    reduction: str
    penalties: Sequence[Penalty]

    def reduced(self, outputs: Array, y: Array, example_weights: Array | None = None) -> Any:
        """The mean or the sum of the examples' losses."""
        per_example = losses.LOSSES[self.loss](outputs, y, example_weights, **self.options)
        return mean(per_example) if self.reduction == "mean" else total(per_example)


def loss_and_gradients(
    model: Model,
    parameters: Tensors,
    x: Array,
    y: Array,
    *,
    loss: str,
    loss_options: Options | None = None,
    reduction: str = "mean",
    penalties: Sequence[Penalty] = (),
    masks: Masks | None = None,
    example_weights: Array | None = None,
    input_gradient: bool = False,
) -> Gradients:
    """Cost of one batch in training and its gradients for every parameter (and ``"A0"``, the input, if asked).

    ``x``: ``(m, n_0)``; ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its
    keywords; ``reduction``: ``"mean"`` or ``"sum"`` of the examples' losses; ``penalties``: of ``regularizers``;
    ``masks``: dropout masks by layer, None for no dropout; ``example_weights``: ``(m,)``. Batch norm takes the
    statistics of the batch. Returns :class:`Gradients`. Raises ValueError for an unknown loss or reduction, an empty
    batch, or shapes that do not fit.

    >>> from reference_numpy.models import logistic_regression
    >>> model, x, y = logistic_regression(1), np.array([[2.0]]), np.array([[1.0]])
    >>> parameters = {"W1": np.zeros((1, 1)), "b1": np.zeros(1)}
    >>> loss_and_gradients(model, parameters, x, y, loss="binary_cross_entropy").gradients
    {'W1': array([[-1.]]), 'b1': array([-0.5])}
    """
    check_choice("reduction", reduction, ("mean", "sum"))
    objective = _Objective(loss, loss_options or {}, reduction, penalties)
    gradients, data_loss, penalty, _ = _backpropagate(
        model, parameters, x, y, objective, masks, example_weights, None, input_gradient
    )
    return Gradients(data_loss + penalty, data_loss, penalty, gradients)


def fit(
    model: Model,
    parameters: Tensors,
    x: Array,
    y: Array,
    *,
    loss: str,
    optimizer: Optimizer,
    loss_options: Options | None = None,
    reduction: str = "mean",
    penalties: Sequence[Penalty] = (),
    clipping: Change | None = None,
    constraint: Change | None = None,
    frozen_layers: int = 0,
    frozen_biases: bool = False,
    optimizer_state: OptimizerState | None = None,
    statistics: Tensors | None = None,
    schedule: Schedule | None = None,
    schedule_unit: str = "epoch",
    epochs: int = 10,
    batch_size: int | None = None,
    seed: int = 0,
    batch_order: Array | None = None,
    dropout_masks: Masks | None = None,
    augmentations: Sequence[Augmentation] = (),
    augmentation_draws: Sequence[Array] | None = None,
    example_weights: Array | None = None,
    validation: tuple[Array, Array] | None = None,
    early_stopping: EarlyStopping | None = None,
    checkpoint_epochs: Collection[int] = (),
) -> History:
    """Train for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`, changes no argument.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once); the last batch of an epoch holds
    what is left. ``schedule`` gives the learning rate by epoch or by step (``schedule_unit``), both counted from 0;
    None keeps the optimizer's. A step is: augment the batch's inputs, take gradients (penalties included), leave out
    those of the first ``frozen_layers`` layers and, with ``frozen_biases``, of every ``b[l]``, clip the others
    (``clipping``), let the optimizer step, constrain the parameters (``constraint``); the last two are made in
    ``regularizers``. ``reduction`` is that of :func:`loss_and_gradients`, for the validation cost too.

    Every training starts with a fresh optimizer state and fresh running averages, or goes on exactly where an earlier
    one was, with its history's ``optimizer_state`` and ``statistics`` (batch norm's) and the parameters it ended with.
    Steps are then counted on from ``optimizer_state.step``, for the optimizer and a schedule by step, and epochs from
    ``optimizer_state.step // steps_per_epoch``, for a schedule by epoch and what is drawn from ``seed``; all else
    counts within this call.

    The order of the examples is drawn anew each epoch from ``(seed, epoch)``, or is row ``e`` of ``batch_order:
    (epochs, m)``; a full batch keeps the order of ``x``. Dropout masks are drawn likewise, or taken from
    ``dropout_masks``: by layer ``(epochs, m, n_l)``, where row ``k`` belongs to the ``k``-th example visited; and
    ``augmentation_draws`` are one array ``(epochs, m, ...)``, of the same order, for each of ``augmentations``.
    ``example_weights: (m,)`` go with ``x``.

    ``validation=(x, y)`` gives a cost (without penalties, in inference mode) after every epoch; ``early_stopping`` (of
    ``regularizers``) listens to it: a fresh one for every training. ``checkpoint_epochs`` are the epochs (from 1) after
    which parameters are kept. Raises ValueError for arguments that do not fit, an ``optimizer_state`` or ``statistics``
    of another training among them.

    >>> from reference_numpy.models import logistic_regression
    >>> model, x, y = logistic_regression(1), np.array([[2.0]]), np.array([[1.0]])
    >>> parameters = {"W1": np.zeros((1, 1)), "b1": np.zeros(1)}
    >>> from reference_numpy.optimizers import gradient_descent
    >>> history = fit(model, parameters, x, y, loss="binary_cross_entropy", optimizer=gradient_descent(1.0), epochs=1)
    >>> history.parameters
    {'W1': array([[1.]]), 'b1': array([0.5])}
    """
    check_training(
        inputs=len(x), targets=len(y), depth=model.depth, reduction=reduction, schedule_unit=schedule_unit,
        epochs=epochs, batch_size=batch_size, frozen_layers=frozen_layers, frozen_biases=frozen_biases,
        stops_early=early_stopping is not None, validates=validation is not None,
    )  # fmt: skip
    examples = len(x)
    batch_size = batch_size or examples
    objective = _Objective(loss, loss_options or {}, reduction, penalties)
    kept = {n: w for n, w in parameters.items() if is_trained(n, frozen_layers, frozen_biases)}
    check_trained(kept, frozen_layers)
    flat, trained = _flatten(kept)
    parameters = {name: trained[name] if name in trained else w.copy() for name, w in parameters.items()}
    flat_gradient, gradients = _flatten(trained)
    state = _flat_slots(optimizer, optimizer_state, flat, trained)
    statistics = _statistics(model, statistics, flat.dtype)
    first_step = 0 if optimizer_state is None else int(optimizer_state.step)
    first_epoch = first_step // math.ceil(examples / batch_size)
    buffers_by_size = {
        size: _buffers(model, size, gradients, flat.dtype)
        for size in {min(batch_size, examples), examples % batch_size} - {0}
    }
    costs: list[Any] = []
    rates: list[float] = []
    norms: list[Any] = []
    validation_costs: list[Any] = []
    checkpoints: dict[int, Tensors] = {}
    checkpoint_states: dict[int, OptimizerState] = {}
    checkpoint_statistics: dict[int, Tensors] = {}
    best: tuple[Tensors, Tensors] | None = None
    for epoch in range(epochs):
        generator = np.random.default_rng((seed, first_epoch + epoch))
        order = _order(generator, examples, batch_size, batch_order, epoch)
        epoch_masks = _epoch_masks(generator, model, examples, dropout_masks, epoch)
        draws = _epoch_draws(generator, augmentations, x.shape, augmentation_draws, epoch)
        for start in range(0, examples, batch_size):
            places = slice(start, start + batch_size)
            rows = order[places] if order is not None else slice(None)
            masks = {layer: mask[places] for layer, mask in epoch_masks.items()}
            step = first_step + len(costs)
            rate = _rate(optimizer, schedule, schedule_unit, first_epoch + epoch, step)
            _, data_loss, penalty, values = _backpropagate(
                model, parameters, augment(x[rows], augmentations, [drawn[places] for drawn in draws]), y[rows],
                objective, masks, None if example_weights is None else example_weights[rows],
                buffers_by_size[min(batch_size, examples - start)], False,
            )  # fmt: skip
            statistics = model.updated_statistics(statistics, values)
            costs.append(data_loss + penalty)
            rates.append(rate)
            norms.append(np.sqrt(model.product(flat_gradient[None], flat_gradient[:, None])[0, 0]))
            if clipping is not None:
                _write(clipping(gradients), gradients)
            optimizer.update_flat(flat, flat_gradient, state, step + 1, rate)
            if constraint is not None:
                _write(constraint(trained), trained)
        if epoch + 1 in checkpoint_epochs:
            checkpoints[epoch + 1] = _copies(parameters)
            checkpoint_states[epoch + 1] = _named_state(optimizer, state, trained, first_step + len(costs))
            checkpoint_statistics[epoch + 1] = statistics
        if validation is not None:
            validation_costs.append(_validation_cost(model, parameters, statistics, validation, objective))
        if early_stopping is not None:
            if early_stopping.improved(float(validation_costs[-1])) and early_stopping.restore_best:
                best = _copies(parameters), statistics
            if early_stopping.stop:
                break
    optimizer_state = _named_state(optimizer, state, trained, first_step + len(costs))
    parameters, statistics = best or (parameters, statistics)
    return History(
        np.array(costs), np.array(rates), np.array(norms), parameters, optimizer_state, checkpoints,
        np.array(validation_costs), early_stopping.best_epoch if early_stopping else 0, statistics,
        checkpoint_states, checkpoint_statistics,
    )  # fmt: skip


def augment(x: Array, augmentations: Sequence[Augmentation], draws: Sequence[Array]) -> Array:
    """``x: (m, n_0)`` after each of ``augmentations`` in turn, with its draws for these ``m`` examples.

    Examples of more axes are taken as rows of numbers.

    >>> from reference_numpy.regularizers import random_flip
    >>> flip = random_flip((1, 2))
    >>> augment(np.array([[1.0, 2.0]]), (flip,), [np.array([True])])
    array([[2., 1.]])
    """
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        rows = x.reshape(len(x), -1)
        x = augmentation.apply(rows, drawn).astype(x.dtype, copy=False).reshape(x.shape)
    return x


def _backpropagate(
    model: Model,
    parameters: Tensors,
    x: Array,
    y: Array,
    objective: _Objective,
    masks: Masks | None,
    example_weights: Array | None,
    buffers: Buffers | None,
    input_gradient: bool,
) -> tuple[Tensors, Any, Any, Tensors]:
    """The one place where a cost and its gradients are computed; writes the gradients into ``buffers`` where given."""
    if len(x) == 0:
        raise ValueError(f"x has shape {x.shape}: must hold at least one example")
    examples = len(x)
    logits, values = model.forward(parameters, x, masks=masks, buffers=buffers)
    outputs = _outputs(model, logits, objective.loss)
    data_loss = objective.reduced(outputs, y, example_weights)
    output_gradient = losses.GRADIENTS[objective.loss](outputs, y, example_weights, **objective.options)
    if objective.reduction == "mean":
        output_gradient = output_gradient / examples
    if objective.loss not in losses.FROM_LOGITS:
        output_gradient = activations.BACKWARD[model.output](output_gradient, logits, outputs)
    gradients = model.backward(
        parameters, values, output_gradient, masks=masks, buffers=buffers, input_gradient=input_gradient
    )
    weights = [parameters[name] for name in model.weight_names]
    penalty = sum(p.value(weights, examples) for p in objective.penalties)
    for p in objective.penalties:
        for name, weight in zip(model.weight_names, weights, strict=True):
            gradients[name] += p.gradient(weight, examples)
    return gradients, data_loss, penalty, values


def _outputs(model: Model, logits: Array, loss: str) -> Array:
    """What the loss takes: the logits, or ``A[L]``."""
    check_choice("loss", loss, losses.LOSSES)
    return logits if loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)


def _validation_cost(
    model: Model,
    parameters: Tensors,
    statistics: Tensors,
    validation: tuple[Array, Array],
    objective: _Objective,
) -> Any:
    x, y = validation
    logits, _ = model.forward(parameters, x, statistics=statistics)
    return objective.reduced(_outputs(model, logits, objective.loss), y)


def _copies(parameters: Tensors) -> Tensors:
    return {name: w.copy() for name, w in parameters.items()}


def _write(arrays: Tensors, places: Tensors) -> None:
    for name, array in arrays.items():
        places[name][...] = array


def _flatten(parameters: Tensors) -> tuple[Array, Tensors]:
    """One new flat vector with a copy of every parameter, and a dict of views into it."""
    flat = np.concatenate([w.ravel() for w in parameters.values()])
    ends = np.cumsum([w.size for w in parameters.values()])
    views = {
        name: flat[end - w.size : end].reshape(w.shape) for (name, w), end in zip(parameters.items(), ends, strict=True)
    }
    return flat, views


def _buffers(model: Model, examples: int, gradients: Tensors, dtype: np.dtype[Any]) -> Buffers:
    """Arrays for the values of a batch of ``examples``; gradients go into ``gradients``, those of frozen layers not."""
    return Buffers(model.buffers(examples, dtype) | {f"d{name}": gradient for name, gradient in gradients.items()})


def _order(
    generator: np.random.Generator, examples: int, batch_size: int, batch_order: Array | None, epoch: int
) -> Array | None:
    if batch_order is not None:
        return batch_order[epoch]
    return None if batch_size >= examples else generator.permutation(examples)


def _epoch_masks(
    generator: np.random.Generator, model: Model, examples: int, dropout_masks: Masks | None, epoch: int
) -> dict[Any, Array]:
    if dropout_masks is not None:
        return {layer: masks[epoch] for layer, masks in dropout_masks.items()}
    return model.draw_masks(generator, examples)


def _epoch_draws(
    generator: np.random.Generator,
    augmentations: Sequence[Augmentation],
    shape: tuple[int, ...],
    augmentation_draws: Sequence[Array] | None,
    epoch: int,
) -> list[Array]:
    if augmentation_draws is not None:
        return [draws[epoch] for draws in augmentation_draws]
    return [augmentation.draw(generator, shape[0], math.prod(shape[1:])) for augmentation in augmentations]


def _rate(optimizer: Optimizer, schedule: Schedule | None, schedule_unit: str, epoch: int, step: int) -> float:
    if schedule is None:
        return optimizer.learning_rate
    return schedule(epoch if schedule_unit == "epoch" else step)


def _flat_slots(optimizer: Optimizer, given: OptimizerState | None, flat: Array, parameters: Tensors) -> Slots:
    """A vector as ``flat`` for each slot: of its initial value, or a copy of the ``given`` state, which is checked."""
    if given is None:
        return {slot: np.full_like(flat, value) for slot, value in optimizer.initial_slots.items()}
    shapes = {name: w.shape for name, w in parameters.items()}
    check_optimizer_state(given.step, given.slots, dict.fromkeys(optimizer.initial_slots, shapes))
    return {
        slot: np.concatenate([given.slots[slot][name].ravel() for name in parameters], dtype=flat.dtype)
        for slot in optimizer.initial_slots
    }


def _statistics(model: Model, given: Tensors | None, dtype: np.dtype[Any]) -> Tensors:
    """Batch norm's running averages to start from: those before training, or the ``given`` ones, which are checked."""
    initial = models.initial_statistics(model, dtype=dtype)
    if given is None:
        return initial
    check_state("statistics", given, {name: array.shape for name, array in initial.items()})
    return {name: given[name].astype(dtype) for name in initial}


def _named_state(optimizer: Optimizer, flat_state: Slots, parameters: Tensors, step: int) -> OptimizerState:
    """The flat slots of :func:`fit` as the optimizer's own state."""
    state = optimizer.init(parameters)
    for slot, flat in flat_state.items():
        start = 0
        for array in state.slots[slot].values():
            array[...] = flat[start : start + array.size].reshape(array.shape)
            start += array.size
    return state._replace(step=step)
