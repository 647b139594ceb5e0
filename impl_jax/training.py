"""Costs with their gradients, and training: whole (:func:`fit`), or step by step in a loop of one's own.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``, or ``sum_i loss_i + penalties(W)``.
Computations run in the dtype of the parameters. Everything is compiled once for each model, loss, regularizers,
optimizer and shape; learning rates, the order of the examples, dropout masks, augmentation draws, example weights, the
optimizer's state and its step count are data.

Matrix products have the backend's default precision: full on a CPU, perhaps TF32 or bfloat16 on an accelerator. That is
left to ``jax_default_matmul_precision``, a setting of the program, not of a library.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from . import activations, losses, models, optimizers
from ._common import Monitor as Monitor
from ._common import Objective as Objective
from ._common import Progress as Progress
from ._common import Sampling as Sampling
from ._common import Step as Step
from ._common import Tape as Tape
from ._common import Update as Update
from ._common import (
    check_kind,
    check_not_negative,
    check_optimizer_state,
    check_parameters,
    check_state,
    check_step_masks,
    check_training,
    given_or_default,
    known_keywords,
    step_and_slots,
)
from .network import Network

Array: TypeAlias = jax.Array | NDArray
PENALTY, OPTIMIZER = ("__call__",), ("init", "update")  # what these have, of which training makes use
MOST_STEPS, MOST_TAPED_BYTES = 1024, 2**18  # of the epochs that one program makes, one epoch excepted
# From where on the programs of a training make several epochs, a loop that takes a while to compile: steps, and steps
# times parameters, which pass from program to program.
LONG, LARGE = 32, 2**22
Tensors = dict[str, jax.Array]
Options = Mapping[str, Any]
Penalties = Sequence[Callable[[list[Array], int], Any]]
Optimizer: TypeAlias = optax.GradientTransformation


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``."""

    cost: jax.Array
    data_loss: jax.Array
    penalty: jax.Array
    gradients: Tensors


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean, over
    all trained parameters, before clipping; empty unless :class:`Monitor` asks) are NumPy arrays of shape ``(steps,)``;
    ``checkpoints`` maps an epoch's number to the parameters at its end. ``validation_costs``: ``(epochs,)``, empty
    without validation; ``best_epoch`` counts from 1 (0 without early stopping); ``statistics`` are batch norm's running
    averages. With ``optimizer_state`` (an ``optimizers.OptimizerState``; of one of optax's own optimizers, optax's own)
    and these training can go on; ``checkpoint_states`` and ``checkpoint_statistics`` are what the two were at the
    checkpoints.
    """

    costs: NDArray
    learning_rates: NDArray
    gradient_norms: NDArray
    parameters: Tensors
    optimizer_state: Any
    checkpoints: dict[int, Tensors]
    validation_costs: NDArray
    best_epoch: int
    statistics: Tensors
    checkpoint_states: dict[int, Any]
    checkpoint_statistics: dict[int, Tensors]


class State(NamedTuple):
    """Where a training is: made by :func:`start`, and returned anew by :func:`train_step`.

    ``parameters`` by name, the optimizer's own ``optimizer_state``, of those that are trained alone, and
    ``statistics``, batch norm's running averages.
    """

    parameters: Tensors
    optimizer_state: Any
    statistics: Tensors


def loss_and_gradients(
    model: models.Model,
    parameters: models.Tensors,
    x: Array,
    y: Array,
    *,
    loss: str | Objective,
    masks: models.Masks | None = None,
    example_weights: Array | None = None,
    input_gradient: bool = False,
) -> Gradients:
    """Cost of one batch in training and its gradients for every parameter (and ``"A0"``, the input, if asked).

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` of a network of layers, of which integers have no gradient; ``y``: the
    loss's targets; ``loss``: a name in ``losses.LOSSES``, or an :class:`Objective`; ``masks``: dropout masks by layer
    or path, None for no dropout; ``example_weights``: ``(m,)``. Batch norm takes the statistics of the batch. Returns
    :class:`Gradients`. Raises ValueError for an unknown loss, an empty batch, or shapes that do not fit.
    """
    cost = _Cost.of(model, loss)
    parameters = _copies(model, parameters)
    x, y = _batch(model, parameters, x, y)
    cost.check_batch(x, y)
    check_step_masks(masks, len(x), model)
    return _loss_and_gradients(cost, parameters, x, y, masks, example_weights, input_gradient)


def start(
    model: models.Model, parameters: models.Tensors, optimizer: Optimizer | Update, *, resume: Any = None
) -> State:
    """The state before the first :func:`train_step`, of copies of ``parameters``.

    It is fresh, or where an earlier training was: ``resume`` is its history, or a :class:`Progress`. Raises ValueError
    for one of another training.
    """
    update, progress = Update.of(optimizer, OPTIMIZER), Progress.of(resume)
    arrays = _copies(model, parameters)
    trained = update.trained(arrays, model.depth)
    state = _starting_state(update.optimizer, trained, progress.optimizer_state)
    return State(arrays, state, _starting_statistics(model, progress.statistics, _dtype(arrays)))


def train_step(
    model: models.Model,
    state: State,
    x: Array,
    y: Array,
    *,
    loss: str | Objective,
    optimizer: Optimizer | Update,
    learning_rate: float | None = None,
    masks: models.Masks | None = None,
    example_weights: Array | None = None,
) -> tuple[State, Step]:
    """One step on one batch: a pure function, which returns ``(state, step)``, the state after it and a :class:`Step`.

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` of a network of layers; ``y``: the loss's targets; ``loss``: a name in
    ``losses.LOSSES`` or an :class:`Objective`; ``optimizer``: one, or an :class:`Update`, the one that ``state`` was
    started with; ``learning_rate``: this step's, None for the optimizer's; ``masks``: dropout masks by layer or path,
    None for no dropout; ``example_weights``: ``(m,)``. A step is: take gradients (penalties included) and batch norm's
    averages, clip, let the optimizer step, constrain. It is compiled once for each model, loss, optimizer and shape,
    and can be part of a program of one's own, under ``jit`` or ``scan``. Raises ValueError for an unknown loss, an
    empty batch, shapes that do not fit, or an update by a schedule without a ``learning_rate``.
    """
    update = Update.of(optimizer, OPTIMIZER)
    check_kind("state", state, State, "what start returns")
    update.check_rate(learning_rate)
    step = _Step(_Cost.of(model, loss), update.without_schedule())
    x, y = _batch(model, state.parameters, x, y)
    step.cost.check_batch(x, y)
    check_step_masks(masks, len(x), model)
    rate: Any = _own_rate(update.optimizer, state) if learning_rate is None else learning_rate
    rate = np.asarray(rate, np.float64) if isinstance(rate, (int, float)) else rate  # data, and rounded as in an epoch
    return _compiled_step(step, state, (x, y, example_weights), masks, rate)


@known_keywords
def fit(
    model: models.Model,
    parameters: models.Tensors,
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
    """Train for ``epochs`` passes over ``x``, ``y``; returns a :class:`History`, changes no argument.

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` of a network of layers, integers if it begins with an embedding.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once), the last of which holds what is
    left, and makes the step of :func:`train_step` on each, with its inputs augmented. ``loss`` is a name in
    ``losses.LOSSES``, or an :class:`Objective`: with penalties, for example. ``optimizer`` is one, or an
    :class:`Update` by one: with a schedule, clipping, a constraint or frozen layers. It may also be one of optax's own:
    without a schedule, and its rates are recorded as NaN. :class:`Sampling` says what is drawn, :class:`Monitor` what
    is looked at after every epoch.

    Every training starts with a fresh optimizer state and fresh running averages, or goes on exactly where an earlier
    one was: ``resume`` is its history (or a :class:`Progress`), and ``parameters`` are those that it ended with. Steps
    are then counted on from ``optimizer_state.step``, for the optimizer and a schedule by step, and epochs from
    ``optimizer_state.step // steps_per_epoch``, for a schedule by epoch and what is drawn from the seed; all else
    counts within this call. (The state of one of optax's own optimizers tells no step: all counts from 0.)

    The order of the examples is drawn anew each epoch from ``(seed, epoch)``; a full batch keeps the order of ``x``.
    Dropout masks and what augmentations draw come from there too, unless they stand on a :class:`Tape`. The objective's
    ``reduction`` is that of the validation cost too. Raises ValueError for arguments that do not fit, a ``resume`` of
    another training among them.

    From ``LONG`` steps on, or ``LARGE`` steps times parameters, epochs that nothing is looked at between are one call
    of one compiled program. A second call with the same ``optimizer`` object and equal model, loss, regularizers and
    shapes compiles nothing, whatever its number of epochs (but for these), nor does one that goes on. Convolutions on a
    CPU are slow inside of a loop of XLA's: with such each step is a call of its own.
    """
    check_training(x, y, epochs=epochs, batch_size=batch_size)
    update = Update.of(optimizer, OPTIMIZER)
    sampling = given_or_default("sampling", sampling, Sampling)
    monitor = given_or_default("monitor", monitor, Monitor)
    step = _Step(_Cost.of(model, loss), update.without_schedule(), monitor.gradient_norms)
    state = start(model, parameters, update, resume=resume)
    x, y = _batch(model, state.parameters, x, y)
    step.cost.check_batch(x, y)
    if monitor.validation is not None:
        validation = _batch(model, state.parameters, *monitor.validation)
        step.cost.check_batch(*validation)
        monitor = replace(monitor, validation=validation)
    batch_size = min(batch_size or len(x), len(x))
    sampling.check(epochs=epochs, examples=len(x), mask_shapes=model.mask_shapes)
    first_step = _steps_behind(update.optimizer, state)
    steps = -(-len(x) // batch_size)  # of an epoch
    rates = _learning_rates(update, epochs, steps, first_step)
    apart = _is_slow_in_a_loop(state.parameters)
    size = sum(w.size for w in state.parameters.values())
    most_epochs = 1 if apart else _most_epochs(epochs, steps, size, sampling.tape)
    passes = _Passes(step, tuple(sampling.augmentations), batch_size, most_epochs, apart)
    draws = _Draws(jax.random.key(sampling.seed), first_step // steps, sampling.tape)
    data = x, y, None if sampling.example_weights is None else jnp.asarray(sampling.example_weights)
    return _train(passes, state, data, draws, rates, epochs, first_step, monitor)


def augment(x: Array, augmentations: Sequence[Any], draws: Sequence[Array]) -> jax.Array:
    """``x: (m, ...)`` after each of ``augmentations`` in turn, with its draws for these ``m`` examples."""
    x = jnp.asarray(x)
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        x = augmentation.apply(x, drawn).astype(x.dtype)
    return jnp.asarray(x)


@dataclass(frozen=True)
class _Cost:
    """The cost as a function of arrays; what it is made of can be hashed, so that ``jit`` takes it as static."""

    model: models.Model
    loss: str
    loss_options: models.Pairs
    reduction: str
    penalties: tuple[Any, ...]

    @classmethod
    def of(cls, model: models.Model, loss: str | Objective) -> "_Cost":
        """That of a loss by its name, or of an objective."""
        objective = Objective.of(loss, losses.LOSSES, PENALTY)
        options = _pairs(objective.loss_options)
        return cls(model, objective.loss, options, objective.reduction, tuple(objective.penalties))

    def __call__(self, parameters: Tensors, x: Array, y: Array, masks: Any, example_weights: Any) -> tuple[Any, Any]:
        """The cost in training and, beside it, its two parts and the model's: ``(cost, (data_loss, penalty, values))``.

        What is not used of the values is not computed a second time, nor kept, in compiled code.
        """
        logits, values = self.model.forward(parameters, x, masks=masks)
        data_loss = self.data_loss(logits, y, example_weights)
        weights = [parameters[name] for name in self.model.weight_names]
        penalty = sum((p(weights, len(x)) for p in self.penalties), start=jnp.zeros_like(data_loss))
        return data_loss + penalty, (data_loss, penalty, values)

    def data_loss(self, logits: jax.Array, y: Array, example_weights: Array | None = None) -> jax.Array:
        """The mean or the sum of the losses; a loss that does not take logits takes ``A[L]``."""
        from_logits = self.loss in losses.FROM_LOGITS
        outputs = logits if from_logits else activations.ACTIVATIONS[self.model.output](logits)
        per_example = losses.LOSSES[self.loss](outputs, y, example_weights, **dict(self.loss_options))
        return per_example.mean() if self.reduction == "mean" else per_example.sum()

    def check_batch(self, x: Array, y: Array) -> None:
        """What compiled code cannot refuse: integers out of range. (It sees shapes, and refuses those itself.)"""
        if len(x) == 0:
            raise ValueError(f"x has shape {x.shape}: must hold at least one example")
        if self.loss.startswith("categorical") and jnp.issubdtype(y.dtype, jnp.integer):
            losses._check_label_range(y, self.model.outputs)
        if isinstance(self.model, Network):
            self.model.layers.check_entries(x)


@dataclass(frozen=True)
class _Step:
    """All of a training step that is no array, for ``jit`` to take as static; the update has no schedule.

    ``with_norm``: whether it tells the norm of the gradient, or None.
    """

    cost: _Cost
    update: Update
    with_norm: bool = True

    def __call__(self, state: State, batch: Any, masks: Any, rate: Any) -> tuple[State, Step]:
        """The state after a step on ``batch``: inputs, targets, and example weights or None."""
        update = self.update
        trained = update.trained(state.parameters, self.cost.model.depth)
        _check_started(update.optimizer, state, trained)

        def cost(trained: Tensors) -> Any:
            x, y, example_weights = batch
            return self.cost(state.parameters | trained, x, y, masks, example_weights)

        (total, (*_, values)), gradients = jax.value_and_grad(cost, has_aux=True)(trained)
        statistics = self.cost.model.updated_statistics(state.statistics, values)
        norm = optax.tree.norm(gradients) if self.with_norm else None
        if update.clipping is not None:
            gradients = update.clipping(gradients)
        optimizer = optax.with_extra_args_support(update.optimizer)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, trained, learning_rate=rate)
        trained = optax.apply_updates(trained, updates)
        if update.constraint is not None:
            trained = update.constraint(trained)
        return State(state.parameters | trained, optimizer_state, statistics), Step(total, norm)


@dataclass(frozen=True)
class _Passes:
    """All of the passes over the data that is no array; a program makes up to ``most_epochs`` of them.

    ``apart``: a program makes a single step.
    """

    step: _Step
    augmentations: tuple[Any, ...]
    batch_size: int
    most_epochs: int
    apart: bool


class _Draws(NamedTuple):
    """Where what is random comes from: the tape, and for what is not on it a key, from ``first_epoch`` on."""

    key: jax.Array
    first_epoch: int
    tape: Tape


@partial(jax.jit, static_argnames="step")
def _compiled_step(step: _Step, state: State, batch: Any, masks: Any, rate: Any) -> tuple[State, Step]:
    return step(state, batch, masks, rate)


@partial(jax.jit, static_argnames=("cost", "input_gradient"))
def _loss_and_gradients(
    cost: _Cost, parameters: Tensors, x: Array, y: Array, masks: Any, example_weights: Any, input_gradient: bool
) -> Gradients:
    real = jnp.issubdtype(x.dtype, jnp.floating)
    value_and_gradient = jax.value_and_grad(cost, argnums=(0, 1) if real else (0,), has_aux=True)
    (total, (data_loss, penalty, _)), (gradients, *of_input) = value_and_gradient(
        parameters, x, y, masks, example_weights
    )
    # Where the input's gradient is not returned, the compiler drops its computation.
    return Gradients(total, data_loss, penalty, gradients | ({"A0": of_input[0]} if input_gradient and real else {}))


def _train(
    passes: _Passes, state: State, data: Any, draws: _Draws, rates: NDArray | None, epochs: int, first_step: int,
    monitor: Monitor,
) -> History:  # fmt: skip
    """The epochs of :func:`fit`, from ``state`` on."""
    cost, optimizer, early_stopping = passes.step.cost, passes.step.update.optimizer, monitor.early_stopping
    curves, lengths, validation_costs, checkpoints, best = [], [], [], {}, None
    checkpoint_states, checkpoint_statistics = {}, {}
    steps = -(-len(data[0]) // passes.batch_size)  # of an epoch
    epoch = 0  # number of epochs made
    for first, epoch in _spans(epochs, passes.most_epochs, monitor):
        train = _train_apart if passes.apart else _train_epochs
        state, curve = train(
            passes, state, data, _tape(passes, draws.tape, first, epoch), _rows(passes, rates, first, epoch), draws.key,
            draws.first_epoch + first, np.int32(epoch - first),
        )  # fmt: skip
        curves.append(curve)
        lengths.append(epoch - first)
        if epoch in monitor.checkpoint_epochs:
            checkpoints[epoch] = state.parameters
            checkpoint_states[epoch] = _state(optimizer, state.optimizer_state, first_step + epoch * steps)
            checkpoint_statistics[epoch] = state.statistics
        if monitor.validation is not None:
            validation_costs.append(_validation_cost(cost, state.parameters, state.statistics, *monitor.validation))
        if early_stopping is not None:
            if early_stopping.improved(float(validation_costs[-1])) and early_stopping.restore_best:
                best = state.parameters, state.statistics
            if early_stopping.stop:
                break
    costs, norms = (_joined(curve, lengths) for curve in zip(*jax.device_get(curves), strict=True))
    learning_rates = np.full(len(costs), np.nan) if rates is None else rates.ravel()[: len(costs)]
    parameters, statistics = best or (state.parameters, state.statistics)
    return History(
        costs, learning_rates, norms, parameters, _state(optimizer, state.optimizer_state, first_step + epoch * steps),
        checkpoints, np.array(jax.device_get(validation_costs)), early_stopping.best_epoch if early_stopping else 0,
        statistics, checkpoint_states, checkpoint_statistics,
    )  # fmt: skip


def _state(optimizer: Any, state: Any, step: int) -> Any:
    """The optimizer's state after ``step`` steps; one of optax's own tells no step."""
    return state._replace(step=step) if _is_ours(optimizer) else state


def _spans(epochs: int, most: int, monitor: Monitor) -> Iterator[tuple[int, int]]:
    """The epochs ``first .. end - 1``, counted from 0, that one program makes: ``most``, but none past a look."""
    first = 0
    for end in range(1, epochs + 1):
        looked_at = monitor.validation is not None or end in monitor.checkpoint_epochs
        if looked_at or end == epochs or end - first == most:
            yield first, end
            first = end


def _most_epochs(epochs: int, steps: int, size: int, tape: Tape) -> int:
    """The number of epochs that one program has room for: rows of ``steps`` values, and of what is on the tape.

    Programs are compiled for it: it depends on the epochs to train only in whether they are ``LONG`` or, with a
    ``size`` of so many parameters, ``LARGE``; on looks never.
    """
    if epochs * steps < LONG and epochs * steps * size < LARGE:
        return 1
    held = (tape.batch_order, *(tape.dropout_masks or {}).values(), *(tape.augmentation_draws or ()))
    taped = sum(np.asarray(drawn[0]).nbytes for drawn in held if drawn is not None)
    return max(1, min(MOST_STEPS // steps, MOST_TAPED_BYTES // max(taped, 1)))


def _is_slow_in_a_loop(parameters: Tensors) -> bool:
    """Whether there are kernels of convolutions, which have three axes or more, on a CPU."""
    return any(w.ndim > 2 and all(device.platform == "cpu" for device in w.devices()) for w in parameters.values())


def _rows(passes: _Passes, array: Any, first: int, end: int) -> Any:
    """Rows ``first .. end - 1`` with zeros after them, as many as a program takes; None stays None."""
    if array is None:
        return None
    rows = np.asarray(array[first:end])
    return np.concatenate([rows, np.zeros((passes.most_epochs - len(rows), *rows.shape[1:]), rows.dtype)])


def _tape(passes: _Passes, tape: Tape, first: int, end: int) -> tuple[Any, Any, Any]:
    """Order, masks and augmentation draws of epochs ``first .. end - 1``, in rows; None for what is to be drawn."""
    order, masks, draws = tape.batch_order, tape.dropout_masks, tape.augmentation_draws
    return (
        None if order is None else _rows(passes, order, first, end).astype(np.int32),
        None if masks is None else {layer: _rows(passes, drawn, first, end) for layer, drawn in masks.items()},
        None if draws is None else [_rows(passes, drawn, first, end) for drawn in draws],
    )


def _joined(curves: Iterable[NDArray], lengths: Iterable[int]) -> NDArray:
    """The first rows of each, as one curve; nothing of what is None."""
    return np.concatenate(
        [np.ravel([] if rows is None else rows[:length]) for rows, length in zip(curves, lengths, strict=True)]
    )


@partial(jax.jit, static_argnames="passes")
def _train_epochs(
    passes: _Passes, state: State, data: Any, taped: Any, rates: Any, key: jax.Array, first_epoch: Any, epochs: Any
) -> tuple[State, Step]:
    """``epochs`` passes over the data, none of which waits for the host; ``(state, curves)``.

    ``taped`` and ``rates`` are rows, one for each of ``most_epochs`` epochs, and so are the ``curves``, of costs and of
    gradient norms or None, ``(most_epochs, steps)``; only the first ``epochs`` of them have a meaning.
    """

    @jax.jit  # traced once for its shapes and its place in the loop
    def one_epoch(epoch: Any, state: State) -> tuple[State, Step]:
        row, row_of_rates = jax.tree.map(partial(_row, number=epoch), (taped, rates))
        drawn = _draw_epoch(passes, data[0].shape, row, key, first_epoch + epoch)
        return _train_epoch(passes, state, data, drawn, row_of_rates)

    def next_epoch(epoch: Any, made: tuple[State, Step]) -> tuple[State, Step]:
        state, curve = one_epoch(epoch, made[0])
        write = partial(jax.lax.dynamic_update_index_in_dim, index=epoch, axis=0)
        return state, jax.tree.map(write, made[1], curve)

    if passes.most_epochs == 1:
        state, curve = one_epoch(0, state)
        return state, jax.tree.map(lambda row: row[None], curve)
    shapes = jax.eval_shape(one_epoch, jnp.int32(0), state)[1]
    curves = jax.tree.map(lambda row: jnp.zeros((passes.most_epochs, *row.shape), row.dtype), shapes)
    return jax.lax.fori_loop(jnp.int32(0), epochs, next_epoch, (state, curves))


def _train_epoch(passes: _Passes, state: State, data: Any, drawn: Any, rates: Any) -> tuple[State, Step]:
    """One pass over the data: a scan over the full batches, then what is left. Returns ``(state, curve)``.

    ``data``: inputs, targets, example weights or None; ``drawn``: order ``(m,)`` or None for that of the data, masks by
    layer or path and augmentation draws, in the order of the visits; ``rates: (steps,)``, or None for the optimizer's
    own. ``curve`` holds costs and gradient norms, each ``(steps,)``, or None for the norms.
    """

    def one_step(state: State, drawn: Any) -> tuple[State, Step]:
        return _train_batch(passes, state, data, *drawn)

    examples = len(data[0])
    full = examples // passes.batch_size
    end = full * passes.batch_size  # of the full batches
    batches = jax.tree.map(lambda a: a[:end].reshape(full, passes.batch_size, *a.shape[1:]), drawn)
    state, curve = jax.lax.scan(one_step, state, (batches, jax.tree.map(lambda r: r[:full], rates)), full)
    if end < examples:
        left = jax.tree.map(lambda a: a[end:], drawn)
        state, last = one_step(state, (left, jax.tree.map(lambda r: r[full], rates)))
        curve = jax.tree.map(lambda values, value: jnp.append(values, value), curve, last)
    return state, curve


def _train_batch(passes: _Passes, state: State, data: Any, drawn: Any, rate: Any) -> tuple[State, Step]:
    """One step on the examples that ``drawn`` names, with its masks and augmentation draws."""
    rows, masks, draws = drawn
    x, y, weights = data if rows is None else jax.tree.map(lambda a: a[rows], data)
    x = augment(x, passes.augmentations, draws)
    return passes.step(state, (x, y, weights), masks, rate)


def _train_apart(
    passes: _Passes, state: State, data: Any, taped: Any, rates: Any, key: jax.Array, epoch: Any, epochs: Any
) -> tuple[State, Step]:
    """:func:`_train_epochs` of one epoch, a program for each step."""
    row, row_of_rates = jax.tree.map(lambda rows: rows[0], (taped, rates))
    drawn, examples, told = _drawn_apart(passes, data[0].shape, row, key, epoch), len(data[0]), []
    for step, first in enumerate(range(0, examples, passes.batch_size)):
        rate = None if row_of_rates is None else row_of_rates[step]
        size = min(passes.batch_size, examples - first)
        state, made = _train_batch_apart(passes, size, state, data, drawn, np.int32(first), rate)
        told.append(made)
    return state, jax.tree.map(lambda *values: np.stack(values)[None], *jax.device_get(told))


@partial(jax.jit, static_argnames=("passes", "size"))
def _train_batch_apart(
    passes: _Passes, size: int, state: State, data: Any, drawn: Any, first: Any, rate: Any
) -> tuple[State, Step]:
    """:func:`_train_batch` at the places from ``first`` on of what an epoch has drawn."""
    places = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, size), drawn)
    return _train_batch(passes, state, data, places, rate)


def _row(rows: Array, number: Any) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(rows, number, keepdims=False)


def _draw_epoch(
    passes: _Passes, shape: tuple[int, ...], taped: tuple[Any, Any, Any], key: jax.Array, epoch: Any
) -> tuple[Any, Any, Any]:
    """Order (None: as the data are), masks and augmentation draws of one epoch: the tape's, else by JAX's generator."""
    order, masks, draws = taped
    examples, features = shape[0], math.prod(shape[1:])
    order_key, masks_key, draws_key = jax.random.split(jax.random.fold_in(key, epoch), 3)
    if order is None and passes.batch_size < examples:
        order = jax.random.permutation(order_key, examples)
    if masks is None:
        masks = passes.step.cost.model.draw_masks(masks_key, examples)
    if draws is None:
        draws = [
            augmentation.draw(jax.random.fold_in(draws_key, number), examples, features)
            for number, augmentation in enumerate(passes.augmentations)
        ]
    return order, masks, draws


_drawn_apart = jax.jit(_draw_epoch, static_argnames=("passes", "shape"))


@partial(jax.jit, static_argnames="cost")
def _validation_cost(cost: _Cost, parameters: Tensors, statistics: Tensors, x: Array, y: Array) -> jax.Array:
    return cost.data_loss(cost.model.apply(parameters, x, statistics=statistics), y)


def _is_ours(optimizer: optax.GradientTransformation) -> bool:
    """Whether its state is an ``OptimizerState``; that of optax's own is taken and handed back as it is."""
    return isinstance(optimizer, optimizers.Optimizer)


def _starting_state(optimizer: Optimizer, trained: Tensors, given: Any) -> Any:
    """The optimizer's state to start from; a ``given`` one is checked."""
    fresh: Any = optimizer.init(trained)
    if given is None:
        return fresh
    if not _is_ours(optimizer):
        if jax.tree.map(jnp.shape, given) != jax.tree.map(jnp.shape, fresh):
            raise ValueError("optimizer_state is not this optimizer's: must be that of an earlier history with it")
        return given
    step, slots = step_and_slots(given)
    shapes = {name: w.shape for name, w in trained.items()}
    check_optimizer_state(step, slots, dict.fromkeys(fresh.slots, shapes))
    slots = {
        slot: {name: jnp.asarray(slots[slot][name], array.dtype) for name, array in arrays.items()}
        for slot, arrays in fresh.slots.items()
    }
    return optimizers.OptimizerState(jnp.asarray(step, jnp.int32), slots)


def _check_started(optimizer: Optimizer, state: State, trained: Tensors) -> None:
    """Raise ValueError for an optimizer that has other slots than the one that ``state`` was started with."""
    if not _is_ours(optimizer):
        return
    own = list(jax.eval_shape(optimizer.init, trained).slots)
    held = list(getattr(state.optimizer_state, "slots", ()))
    if set(own) != set(held):
        raise ValueError(
            f"optimizer has the slots {own}, state {held}: must be the one that the state was started with"
        )


def _own_rate(optimizer: Optimizer, state: State) -> Any:
    """The optimizer's own rate for the next step; None if only it can tell: optax's own, or a schedule in a program."""
    rate = getattr(optimizer, "learning_rate", None)
    if not callable(rate):
        return rate
    step = state.optimizer_state.step
    return None if isinstance(step, jax.core.Tracer) else float(rate(int(step)))


def _steps_behind(optimizer: Optimizer, state: State) -> int:
    """The number of steps taken; one of optax's own optimizers tells none."""
    return int(state.optimizer_state.step) if _is_ours(optimizer) else 0


def _starting_statistics(model: models.Model, given: models.Tensors | None, dtype: Any) -> Tensors:
    """Batch norm's running averages to start from; ``given`` ones are checked."""
    fresh = models.initial_statistics(model, dtype=dtype)
    if given is None:
        return fresh
    check_state("statistics", given, {name: array.shape for name, array in fresh.items()})
    return {name: jnp.asarray(given[name], dtype) for name in fresh}


def _pairs(options: Options | None) -> models.Pairs:
    """Keywords as a tuple that can be hashed; a list among them, such as class weights, becomes a tuple."""
    return tuple(sorted((name, _hashable(value)) for name, value in (options or {}).items()))


def _hashable(value: Any) -> Any:
    return tuple(map(float, value)) if isinstance(value, (list, np.ndarray, jax.Array)) else value


def _copies(model: models.Model, parameters: models.Tensors) -> Tensors:
    """As JAX arrays; those of another model are refused."""
    check_parameters(parameters, model.parameter_shapes)
    # A copy, as jnp.asarray makes: that would compile a program for every shape.
    return dict(zip(parameters, jax.device_put(list(parameters.values()), may_alias=False), strict=True))


def _batch(model: models.Model, parameters: Tensors, x: Array, y: Array) -> tuple[jax.Array, jax.Array]:
    """As JAX arrays, ``x`` and real-valued ``y`` in the dtype of the parameters; tokens for layers stay integers."""
    targets: Any = jax.device_put(y if hasattr(y, "dtype") else np.asarray(y), may_alias=False)
    dtype = _dtype(parameters)
    real = jnp.issubdtype(targets.dtype, jnp.floating)
    tokens = isinstance(model, Network) and jnp.issubdtype(x.dtype, jnp.integer)
    return jnp.asarray(x, None if tokens else dtype), targets.astype(dtype) if real else targets


def _dtype(parameters: models.Tensors) -> Any:
    """That of the parameters, which all have one; JAX's default where there are none."""
    return next((w.dtype for w in parameters.values()), jnp.zeros(()).dtype)


def _learning_rates(update: Update, epochs: int, steps: int, first_step: int) -> NDArray | None:
    """The rate of every step, ``(epochs, steps)`` in double precision, or None if only the optimizer knows it.

    Steps are counted from ``first_step``, epochs from the one that it lies in.
    """
    schedule: Any = update.schedule
    schedule_unit = update.schedule_unit
    own_rate = getattr(update.optimizer, "learning_rate", None)
    if own_rate is None and schedule is not None:
        raise ValueError("schedule is not allowed with an optimizer without a learning_rate: must be None")
    if own_rate is None:
        return None
    if schedule is None and not callable(own_rate):
        return np.full((epochs, steps), _checked(own_rate))
    if schedule is None:
        schedule, schedule_unit = own_rate, "step"  # what a schedule of optax counts
    by_epoch, first_epoch = schedule_unit == "epoch", first_step // steps
    return np.array(
        [
            [
                _checked(schedule(first_epoch + epoch if by_epoch else first_step + epoch * steps + i))
                for i in range(steps)
            ]
            for epoch in range(epochs)
        ]
    )


def _checked(rate: Any) -> float:
    """A learning rate. Raises ValueError unless it is a finite number >= 0."""
    check_not_negative("learning_rate", rate)
    return float(rate)
