"""Costs with their gradients, and training: whole (:func:`fit`), or step by step in a loop of one's own.

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

:func:`fit` is a loop over :func:`train_step`. One's own gives the same, to the bit:

>>> optimizer = gradient_descent(1.0)
>>> state = start(model, parameters, optimizer)
>>> costs = [train_step(model, state, x, y, loss="binary_cross_entropy", optimizer=optimizer).cost for _ in range(2)]
>>> bool((costs == history.costs).all() and (state.parameters["W1"] == history.parameters["W1"]).all())
True
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import activations, losses, models
from ._common import Monitor as Monitor
from ._common import Objective as Objective
from ._common import Progress as Progress
from ._common import Sampling as Sampling
from ._common import Step as Step
from ._common import Tape as Tape
from ._common import Update as Update
from ._common import (
    check_kind,
    check_optimizer_state,
    check_parameters,
    check_state,
    check_step_masks,
    check_training,
    given_or_default,
    known_keywords,
    step_and_slots,
)
from .arithmetic import mean, total
from .models import Array, Buffers, Masks, Model, Tensors
from .optimizers import Optimizer, OptimizerState, Slots
from .regularizers import Augmentation

PENALTY, OPTIMIZER = ("value", "gradient"), ("init", "update_flat")  # what these have, of which training makes use


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``."""

    cost: float
    data_loss: float
    penalty: float
    gradients: Tensors


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all trained parameters, before clipping; empty unless :class:`Monitor` asks) have shape ``(steps,)``;
    ``checkpoints`` maps an epoch's number to the parameters at its end. ``validation_costs``: ``(epochs,)``, empty
    without validation; ``best_epoch`` counts from 1
    (0 without early stopping); ``optimizer_state`` is that of the last step, of the trained parameters alone;
    ``statistics`` are batch norm's running averages. Another :func:`fit` can go on from them: ``resume=history``.
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


class _Batch(NamedTuple):
    """The examples of one step, with all that belongs to them."""

    x: Array
    y: Array
    masks: Masks | None
    example_weights: Array | None


class State:
    """Where a training is; made by :func:`start`, and changed in place by :func:`train_step`.

    ``parameters`` are arrays by name, ``statistics`` batch norm's running averages, ``step`` the number of steps taken,
    and ``optimizer_state`` a copy of the optimizer's. Those of the parameters that are trained are views into one
    vector, ``flat``, and the gradients are views into another, so that an optimizer's formula runs over all at once.
    """

    def __init__(self, model: Model, parameters: Tensors, update: Update, progress: Progress) -> None:
        self.optimizer: Optimizer = update.optimizer
        self.flat, self.trained = _flatten(update.trained(parameters, model.depth))
        self.parameters = {n: self.trained[n] if n in self.trained else w.copy() for n, w in parameters.items()}
        self.flat_gradient, self.gradients = _flatten(self.trained)
        self.slots = _flat_slots(self.optimizer, progress.optimizer_state, self.flat, self.trained)
        self.statistics = _statistics(model, progress.statistics, self.flat.dtype)
        self.step = 0 if progress.optimizer_state is None else int(progress.optimizer_state.step)
        self._buffers: dict[int, Buffers] = {}

    @property
    def optimizer_state(self) -> OptimizerState:
        """The optimizer's state after the last step, of the trained parameters alone; a copy."""
        return _named_state(self.optimizer, self.slots, self.trained, self.step)

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Raise ValueError for an optimizer that has other slots than the one that this was started with."""
        if set(optimizer.initial_slots) != set(self.slots):
            raise ValueError(
                f"optimizer has the slots {list(optimizer.initial_slots)}, state {list(self.slots)}: "
                "must be the one that the state was started with"
            )

    def buffers(self, model: Model, examples: int) -> Buffers:
        """The arrays that a batch of this many examples is computed in, made once."""
        if examples not in self._buffers:
            self._buffers[examples] = _buffers(model, examples, self.gradients, self.flat.dtype)
        return self._buffers[examples]


def loss_and_gradients(
    model: Model,
    parameters: Tensors,
    x: Array,
    y: Array,
    *,
    loss: str | Objective,
    masks: Masks | None = None,
    example_weights: Array | None = None,
    input_gradient: bool = False,
) -> Gradients:
    """Cost of one batch in training and its gradients for every parameter (and ``"A0"``, the input, if asked).

    ``x``: ``(m, n_0)``; ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, or an :class:`Objective`;
    ``masks``: dropout masks by layer, None for no dropout; ``example_weights``: ``(m,)``. Batch norm takes the
    statistics of the batch. Returns :class:`Gradients`. Raises ValueError for an unknown loss, an empty batch, or
    shapes that do not fit.

    >>> from reference_numpy.models import logistic_regression
    >>> model, x, y = logistic_regression(1), np.array([[2.0]]), np.array([[1.0]])
    >>> parameters = {"W1": np.zeros((1, 1)), "b1": np.zeros(1)}
    >>> loss_and_gradients(model, parameters, x, y, loss="binary_cross_entropy").gradients
    {'W1': array([[-1.]]), 'b1': array([-0.5])}
    """
    objective = Objective.of(loss, losses.LOSSES, PENALTY)
    check_step_masks(masks, len(x), model)
    gradients, data_loss, penalty, _ = _backpropagate(
        model, parameters, x, y, objective, masks, example_weights, None, input_gradient
    )
    return Gradients(data_loss + penalty, data_loss, penalty, gradients)


def start(model: Model, parameters: Tensors, optimizer: Optimizer | Update, *, resume: Any = None) -> State:
    """The state before the first :func:`train_step`, of copies of ``parameters``.

    It is fresh, or where an earlier training was: ``resume`` is its history, or a :class:`Progress`. Raises ValueError
    for one of another training.

    >>> from reference_numpy.models import logistic_regression
    >>> from reference_numpy.optimizers import momentum
    >>> model, parameters = logistic_regression(1), {"W1": np.zeros((1, 1)), "b1": np.zeros(1)}
    >>> start(model, parameters, momentum()).optimizer_state.slots
    {'velocity': {'W1': array([[0.]]), 'b1': array([0.])}}
    """
    check_parameters(parameters, model.parameter_shapes)
    return State(model, parameters, Update.of(optimizer, OPTIMIZER), Progress.of(resume))


def train_step(
    model: Model,
    state: State,
    x: Array,
    y: Array,
    *,
    loss: str | Objective,
    optimizer: Optimizer | Update,
    learning_rate: float | None = None,
    masks: Masks | None = None,
    example_weights: Array | None = None,
) -> Step:
    """One step on one batch, which changes ``state`` in place; returns its cost and gradient norm.

    ``x``: ``(m, n_0)``; ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES`` or an :class:`Objective`;
    ``optimizer``: one, or an :class:`Update`, the one that ``state`` was started with; ``learning_rate``: this step's,
    None for the optimizer's; ``masks``: dropout masks by layer, None for no dropout; ``example_weights``: ``(m,)``. A
    step is: take gradients (penalties included) and batch norm's averages, clip, let the optimizer step, constrain.
    Returns a :class:`Step`. Raises ValueError for an unknown loss, an empty batch, shapes that do not fit, or an
    update by a schedule without a ``learning_rate``.

    >>> from reference_numpy.models import logistic_regression
    >>> from reference_numpy.optimizers import gradient_descent
    >>> model, x, y = logistic_regression(1), np.array([[2.0]]), np.array([[1.0]])
    >>> optimizer = gradient_descent(1.0)
    >>> state = start(model, {"W1": np.zeros((1, 1)), "b1": np.zeros(1)}, optimizer)
    >>> cost, _ = train_step(model, state, x, y, loss="binary_cross_entropy", optimizer=optimizer)
    >>> state.parameters
    {'W1': array([[1.]]), 'b1': array([0.5])}
    """
    objective, update = Objective.of(loss, losses.LOSSES, PENALTY), Update.of(optimizer, OPTIMIZER)
    check_kind("state", state, State, "what start returns")
    state.check_optimizer(update.optimizer)
    update.check_rate(learning_rate)
    check_step_masks(masks, len(x), model)
    rate = update.optimizer.learning_rate if learning_rate is None else learning_rate
    return _step(model, state, _Batch(x, y, masks, example_weights), objective, update, rate, with_norm=True)


@known_keywords
def fit(
    model: Model,
    parameters: Tensors,
    x: Array,
    y: Array,
    *,
    loss: str | Objective,
    optimizer: Optimizer | Update,
    epochs: int = 10,
    batch_size: int | None = None,
    sampling: Sampling | None = None,
    monitor: Monitor | None = None,
    resume: Any = None,
) -> History:
    """Train for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`, changes no argument.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once), the last of which holds what is
    left, and makes a :func:`train_step` on each, with its inputs augmented. ``loss`` is a name in ``losses.LOSSES``, or
    an :class:`Objective`: with penalties, for example. ``optimizer`` is one, or an :class:`Update` by one: with a
    schedule, clipping, a constraint or frozen layers. :class:`Sampling` says what is drawn, :class:`Monitor` what is
    looked at after every epoch.

    Every training starts with a fresh optimizer state and fresh running averages, or goes on exactly where an earlier
    one was: ``resume`` is its history (or a :class:`Progress`), and ``parameters`` are those that it ended with. Steps
    are then counted on from ``optimizer_state.step``, for the optimizer and a schedule by step, and epochs from
    ``optimizer_state.step // steps_per_epoch``, for a schedule by epoch and what is drawn from the seed; all else
    counts within this call.

    The order of the examples is drawn anew each epoch from ``(seed, epoch)``; a full batch keeps the order of ``x``.
    Dropout masks and what augmentations draw come from there too, unless they stand on a :class:`Tape`. The objective's
    ``reduction`` is that of the validation cost too. Raises ValueError for arguments that do not fit, a ``resume`` of
    another training among them.

    >>> from reference_numpy.models import logistic_regression
    >>> model, x, y = logistic_regression(1), np.array([[2.0]]), np.array([[1.0]])
    >>> parameters = {"W1": np.zeros((1, 1)), "b1": np.zeros(1)}
    >>> from reference_numpy.optimizers import gradient_descent
    >>> history = fit(model, parameters, x, y, loss="binary_cross_entropy", optimizer=gradient_descent(1.0), epochs=1)
    >>> history.parameters
    {'W1': array([[1.]]), 'b1': array([0.5])}
    """
    check_training(x, y, epochs=epochs, batch_size=batch_size)
    for name, array in (("x", x), ("y", y)):
        check_kind(name, array, np.ndarray, "an array of NumPy's")
    objective, update = Objective.of(loss, losses.LOSSES, PENALTY), Update.of(optimizer, OPTIMIZER)
    sampling = given_or_default("sampling", sampling, Sampling)
    monitor = given_or_default("monitor", monitor, Monitor)
    sampling.check(epochs=epochs, examples=len(x), mask_shapes=model.mask_shapes)
    early_stopping = monitor.early_stopping
    examples = len(x)
    batch_size = batch_size or examples
    state = start(model, parameters, update, resume=resume)
    first_step = state.step
    first_epoch = first_step // math.ceil(examples / batch_size)
    costs: list[Any] = []
    rates: list[float] = []
    norms: list[Any] = []
    validation_costs: list[Any] = []
    checkpoints: dict[int, Tensors] = {}
    checkpoint_states: dict[int, OptimizerState] = {}
    checkpoint_statistics: dict[int, Tensors] = {}
    best: tuple[Tensors, Tensors] | None = None
    generator, draws = np.random.default_rng(0), _draws(model, x, batch_size, sampling)
    alike = sampling.tape.is_empty and not draws  # the batches of all epochs
    same = list(_batches(generator, model, x, y, batch_size, 0, sampling)) if alike else None
    for epoch in range(epochs):
        if draws:
            generator = np.random.default_rng((sampling.seed, first_epoch + epoch))
        for batch in _batches(generator, model, x, y, batch_size, epoch, sampling) if same is None else same:
            rate = _rate(update, first_epoch + epoch, first_step + len(costs))
            update.check_rate(rate)
            cost, norm = _step(model, state, batch, objective, update, rate, monitor.gradient_norms)
            costs.append(cost)
            rates.append(rate)
            if monitor.gradient_norms:
                norms.append(norm)
        if epoch + 1 in monitor.checkpoint_epochs:
            checkpoints[epoch + 1] = _copies(state.parameters)
            checkpoint_states[epoch + 1] = state.optimizer_state
            checkpoint_statistics[epoch + 1] = state.statistics
        if monitor.validation is not None:
            validation_costs.append(
                _validation_cost(model, state.parameters, state.statistics, monitor.validation, objective)
            )
        if early_stopping is not None:
            if early_stopping.improved(float(validation_costs[-1])) and early_stopping.restore_best:
                best = _copies(state.parameters), state.statistics
            if early_stopping.stop:
                break
    parameters, statistics = best or (state.parameters, state.statistics)
    return History(
        np.array(costs), np.array(rates), np.array(norms), parameters, state.optimizer_state, checkpoints,
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


def _step(
    model: Model, state: State, batch: _Batch, objective: Objective, update: Update, rate: float, with_norm: bool
) -> Step:
    """:func:`train_step` of arguments that are checked; without its norm it tells None."""
    x, y, masks, example_weights = batch
    _, data_loss, penalty, values = _backpropagate(
        model, state.parameters, x, y, objective, masks, example_weights, state.buffers(model, len(x)), False
    )
    state.statistics = model.updated_statistics(state.statistics, values)
    norm = _norm(model, state.flat_gradient) if with_norm else None
    if update.clipping is not None:
        _write(update.clipping(state.gradients), state.gradients)
    state.step += 1
    update.optimizer.update_flat(state.flat, state.flat_gradient, state.slots, state.step, rate)
    if update.constraint is not None:
        _write(update.constraint(state.trained), state.trained)
    return Step(data_loss + penalty, norm)


def _norm(model: Model, gradient: Array) -> Any:
    """Euclidean, of all gradients, which are one vector."""
    return np.sqrt(model.product(gradient[None], gradient[:, None])[0, 0])


def _backpropagate(
    model: Model,
    parameters: Tensors,
    x: Array,
    y: Array,
    objective: Objective,
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
    data_loss = _reduced(objective, outputs, y, example_weights)
    output_gradient = losses.GRADIENTS[objective.loss](outputs, y, example_weights, **objective.loss_options)
    if objective.reduction == "mean":
        output_gradient = output_gradient / examples
    if objective.loss not in losses.FROM_LOGITS:
        output_gradient = activations.BACKWARD[model.output](output_gradient, logits, outputs)
    gradients = model.backward(
        parameters, values, output_gradient, masks=masks, buffers=buffers, input_gradient=input_gradient
    )
    weights = [parameters[name] for name in model.weight_names] if objective.penalties else []
    penalty = sum(p.value(weights, examples) for p in objective.penalties)
    for p in objective.penalties:
        for name, weight in zip(model.weight_names, weights, strict=True):
            gradients[name] += p.gradient(weight, examples)
    return gradients, data_loss, penalty, values


def _reduced(objective: Objective, outputs: Array, y: Array, example_weights: Array | None = None) -> Any:
    """The mean or the sum of the examples' losses."""
    per_example = losses.LOSSES[objective.loss](outputs, y, example_weights, **objective.loss_options)
    return mean(per_example) if objective.reduction == "mean" else total(per_example)


def _outputs(model: Model, logits: Array, loss: str) -> Array:
    """What the loss takes: the logits, or ``A[L]``."""
    return logits if loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)


def _validation_cost(
    model: Model,
    parameters: Tensors,
    statistics: Tensors,
    validation: tuple[Array, Array],
    objective: Objective,
) -> Any:
    x, y = validation
    logits, _ = model.forward(parameters, x, statistics=statistics)
    return _reduced(objective, _outputs(model, logits, objective.loss), y)


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


def _batches(
    generator: np.random.Generator, model: Model, x: Array, y: Array, batch_size: int, epoch: int, sampling: Sampling
) -> Iterator[_Batch]:
    """The batches of an epoch, each with its inputs augmented; ``epoch`` counts within the training, from 0."""
    examples, tape, augmentations = len(x), sampling.tape, sampling.augmentations
    weights = None if sampling.example_weights is None else np.asarray(sampling.example_weights)
    order = _order(generator, examples, batch_size, tape.batch_order, epoch)
    epoch_masks = _epoch_masks(generator, model, examples, tape.dropout_masks, epoch)
    draws = _epoch_draws(generator, augmentations, x.shape, tape.augmentation_draws, epoch)
    for start in range(0, examples, batch_size):
        places = slice(start, start + batch_size)
        rows = order[places] if order is not None else slice(None)
        yield _Batch(
            augment(x[rows], augmentations, [drawn[places] for drawn in draws]), y[rows],
            {layer: mask[places] for layer, mask in epoch_masks.items()},
            None if weights is None else weights[rows],
        )  # fmt: skip


def _draws(model: Model, x: Array, batch_size: int, sampling: Sampling) -> bool:
    """Whether an epoch draws something: an order, masks or an augmentation that does not stand on the tape."""
    tape = sampling.tape
    drawn = (
        tape.batch_order is None and batch_size < len(x),
        tape.dropout_masks is None and model.draw_masks(np.random.default_rng(0), 1),
        tape.augmentation_draws is None and sampling.augmentations,
    )
    return any(drawn)


def _order(
    generator: np.random.Generator, examples: int, batch_size: int, batch_order: Array | None, epoch: int
) -> Array | None:
    if batch_order is not None:
        return np.asarray(batch_order[epoch])
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


def _rate(update: Update, epoch: int, step: int) -> float:
    if update.schedule is None:
        own: float = update.optimizer.learning_rate
        return own
    return update.schedule(epoch if update.schedule_unit == "epoch" else step)


def _flat_slots(optimizer: Optimizer, given: OptimizerState | None, flat: Array, parameters: Tensors) -> Slots:
    """A vector as ``flat`` for each slot: of its initial value, or a copy of the ``given`` state, which is checked."""
    if given is None:
        return {slot: np.full_like(flat, value) for slot, value in optimizer.initial_slots.items()}
    shapes = {name: w.shape for name, w in parameters.items()}
    check_optimizer_state(*step_and_slots(given), dict.fromkeys(optimizer.initial_slots, shapes))
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
    """The flat slots of a :class:`State` as the optimizer's own state."""
    state = optimizer.init(parameters)
    for slot, flat in flat_state.items():
        start = 0
        for array in state.slots[slot].values():
            array[...] = flat[start : start + array.size].reshape(array.shape)
            start += array.size
    return state._replace(step=step)
