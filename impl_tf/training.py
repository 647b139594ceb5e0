"""Costs with their gradients, and training: whole (:func:`fit`), or step by step in a loop of one's own.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``, or without the ``1/m``.
"""

import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from . import activations, losses, models
from ._common import Monitor as Monitor
from ._common import Objective as Objective
from ._common import Progress as Progress
from ._common import Sampling as Sampling
from ._common import Step as Step
from ._common import Tape as Tape
from ._common import Update as Update
from ._common import (
    check_optimizer_state,
    check_state,
    check_step_masks,
    check_training,
    given_or_default,
    known_keywords,
    step_and_slots,
)
from .models import Masks, Model, Tensors, Variables
from .optimizers import Optimizer, OptimizerState
from .regularizers import Augmentation

# What an epoch draws: the order of the examples (None: as the data are), dropout masks, what augmentations draw.
Drawn: TypeAlias = tuple[tf.Tensor | None, dict[Any, tf.Tensor], list[tf.Tensor]]
PENALTY, OPTIMIZER = ("__call__",), ("build", "update")  # what these have, of which training makes use
MOST_STEPS, MOST_DRAWN_BYTES = 1024, 2**18  # of the epochs that are one call, one epoch excepted
XLA_WORK, STEP_WORK = 500_000, 1000  # parameters times steps from which XLA compiles, and what a step is beside them
REDUCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"mean": tf.reduce_mean, "sum": tf.reduce_sum}


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns, in tensors; ``cost = data_loss + penalty``."""

    cost: tf.Tensor
    data_loss: tf.Tensor
    penalty: tf.Tensor
    gradients: Tensors


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all trained parameters, before clipping; empty unless :class:`Monitor` asks) are NumPy arrays of shape
    ``(steps,)``; ``parameters`` are tensors by name; ``checkpoints`` maps an epoch's number to the parameters at its
    end. ``validation_costs``: ``(epochs,)``, empty without validation; ``best_epoch`` counts from 1 (0 without early
    stopping); ``optimizer_state`` is that of the last step, of the trained parameters alone, in NumPy arrays;
    ``statistics`` are batch norm's running averages, tensors by name. Another :func:`fit` can go on from them:
    ``resume=history``. ``checkpoint_states`` and ``checkpoint_statistics`` are what the two were at the checkpoints.
    """

    costs: np.ndarray
    learning_rates: np.ndarray
    gradient_norms: np.ndarray
    parameters: Tensors
    optimizer_state: OptimizerState
    checkpoints: dict[int, Tensors]
    validation_costs: np.ndarray
    best_epoch: int
    statistics: Tensors
    checkpoint_states: dict[int, OptimizerState]
    checkpoint_statistics: dict[int, Tensors]


def loss_and_gradients(
    model: Model,
    x: tf.Tensor,
    y: tf.Tensor,
    *,
    loss: str | Objective,
    masks: Masks = None,
    example_weights: tf.Tensor | None = None,
    input_gradient: bool = False,
) -> Gradients:
    """Cost of one batch in training and its gradients for every parameter (and ``"A0"``, the input, if asked).

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)``, integers too, which have no gradient; ``y``: the loss's targets;
    ``loss``: a name in ``losses.LOSSES``, or an :class:`Objective`; ``masks``: dropout masks by layer or path, None for
    no dropout; ``example_weights``: ``(m,)``. Batch norm takes the statistics of the batch and leaves its running
    averages alone. Returns :class:`Gradients`. Can be called inside a ``tf.function``. Raises ValueError for an unknown
    loss, an empty batch, or shapes that do not fit.
    """
    objective = Objective.of(loss, losses.LOSSES, PENALTY)
    x = model.checked_input(x)
    check_step_masks(masks, x.shape[0], model)
    sources = model.parameter_dict() | ({"A0": x} if input_gradient and x.dtype.is_floating else {})
    return _differentiate(model, sources, x, y, objective, masks, example_weights)[0]


def start(model: Model, optimizer: Optimizer | Update, *, resume: Any = None) -> int:
    """Prepare for the first :func:`train_step`; returns the number of steps taken before it.

    The optimizer's state is built and the model's running averages are reset, or both are set to where an earlier
    training was: ``resume`` is its history, or a :class:`Progress`. Not to be called inside a ``tf.function``. Raises
    ValueError for one of another training.
    """
    update, progress = Update.of(optimizer, OPTIMIZER), Progress.of(resume)
    trained = update.trained(model.parameter_dict(), model.depth)
    return _start(model, update.optimizer, trained, progress.optimizer_state, progress.statistics)


@tf.autograph.experimental.do_not_convert  # nothing to convert in it, and looking for it takes seconds
def train_step(
    model: Model,
    x: tf.Tensor,
    y: tf.Tensor,
    *,
    loss: str | Objective,
    optimizer: Optimizer | Update,
    learning_rate: float | tf.Tensor | None = None,
    masks: Masks = None,
    example_weights: tf.Tensor | None = None,
) -> Step:
    """One step on one batch, which changes ``model`` and ``optimizer`` in place; returns its cost and gradient norm.

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` of a network of layers; ``y``: the loss's targets; ``loss``: a name in
    ``losses.LOSSES`` or an :class:`Objective`; ``optimizer``: one, or an :class:`Update` by it; ``learning_rate``: this
    step's, None for the optimizer's; ``masks``: dropout masks by layer or path, None for no dropout;
    ``example_weights``: ``(m,)``. A step is: take gradients (penalties included) and batch norm's averages, clip, let
    the optimizer step, constrain. It is meant for a ``tf.function`` of one's own, after a :func:`start` outside of it;
    a learning rate that changes is then a float64 tensor. TensorFlow's graph optimizer may rewrite the sums of one's
    own graph otherwise than those of :func:`fit`, which then differ by a rounding; without its
    ``arithmetic_optimization`` they are the same to the bit. Returns a :class:`Step` of scalar tensors. Raises
    ValueError for an unknown loss, an empty batch, shapes that do not fit, or an update by a schedule without a
    ``learning_rate``.
    """
    objective, update = Objective.of(loss, losses.LOSSES, PENALTY), Update.of(optimizer, OPTIMIZER)
    update.check_rate(learning_rate)
    x = model.checked_input(x)
    check_step_masks(masks, x.shape[0], model)
    trained = update.trained(model.parameter_dict(), model.depth)
    batch, values = _differentiate(model, trained, x, y, objective, masks, example_weights)
    model.assign_statistics(values)
    gradients = batch.gradients if update.clipping is None else update.clipping(batch.gradients)
    update.optimizer.update(gradients, trained, learning_rate=learning_rate)
    if update.constraint is not None:
        for name, value in update.constraint(trained).items():
            trained[name].assign(value)
    return Step(batch.cost, tf.cast(tf.linalg.global_norm(list(batch.gradients.values())), model.dtype))


@known_keywords
def fit(
    model: Model,
    x: tf.Tensor,
    y: tf.Tensor,
    *,
    loss: str | Objective,
    optimizer: Optimizer | Update,
    epochs: int = 10,
    batch_size: int | None = None,
    sampling: Sampling | None = None,
    monitor: Monitor | None = None,
    resume: Any = None,
) -> History:
    """Train ``model`` in place for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`.

    Of a network of layers ``x`` is ``(m, *input_shape)``, floats or integers, names of parameters and masks are paths,
    and the layers that an update freezes are counted in its sequence.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once), the last of which holds what is
    left, and makes a :func:`train_step` on each, with its inputs augmented. ``loss`` is a name in ``losses.LOSSES``, or
    an :class:`Objective`: with penalties, for example. ``optimizer`` is one, or an :class:`Update` by one: with a
    schedule, clipping, a constraint or frozen layers. :class:`Sampling` says what is drawn, :class:`Monitor` what is
    looked at after every epoch.

    Every training resets the optimizer's state and the model's running averages, or goes on exactly where an earlier
    one was: ``resume`` is its history (or a :class:`Progress`), and the model has the parameters that it ended with.
    Steps are then counted on from ``optimizer_state.step``, for the optimizer and a schedule by step, and epochs from
    ``optimizer_state.step // steps_per_epoch``, for a schedule by epoch and what is drawn from the seed; all else
    counts within this call.

    The order of the examples is drawn anew each epoch from a ``tf.random.Generator`` with ``(seed, epoch)``; a full
    batch keeps the order of ``x``. Dropout masks and what augmentations draw come from there too, unless they stand on
    a :class:`Tape`. The objective's ``reduction`` is that of the validation cost too. Raises ValueError for arguments
    that do not fit, a ``resume`` of another training among them.

    An epoch is one call of one compiled function; a second fit with the same model and optimizer, equal settings and
    equal shapes uses it again, whatever state it goes on from. A long training on a CPU is compiled by XLA, in which
    the epochs that nothing is looked at between are one call, up to ``MOST_STEPS`` steps. That takes a second or two,
    and rounds otherwise: long is a training of which ``steps * (parameters + 1000)``, both in numbers, is ``XLA_WORK``
    or more. Parts of a training equal the whole to the bit where all are on the same side of that.
    """
    check_training(x, y, epochs=epochs, batch_size=batch_size)
    x, y = model.checked_input(x), tf.convert_to_tensor(y)
    objective, update = Objective.of(loss, losses.LOSSES, PENALTY), Update.of(optimizer, OPTIMIZER)
    sampling = given_or_default("sampling", sampling, Sampling)
    monitor = given_or_default("monitor", monitor, Monitor)
    sampling.check(epochs=epochs, examples=len(x), mask_shapes=model.mask_shapes)
    early_stopping = monitor.early_stopping
    weights = _tensor(sampling.example_weights)
    _check_targets(model, y, objective, weights)
    examples = x.shape[0]
    batch_size = min(batch_size or examples, examples)
    steps = -(-examples // batch_size)
    first_step = start(model, update, resume=resume)
    compiled = _is_worth_compiling(model, epochs * steps)
    run_epochs = _epochs(
        model, _references(model, update.optimizer), _hashable(objective), update.without_schedule(),
        tuple(sampling.augmentations), batch_size, monitor.gradient_norms, compiled,
    )  # fmt: skip
    generator = tf.random.Generator.from_state(np.zeros(3, np.int64), "philox")
    draw_anew = functools.partial(_draw_epoch, generator, model, x.shape, sampling, batch_size, first_step // steps)
    first_drawn = draw_anew(0)

    def draw(epoch: int) -> Drawn:
        return draw_anew(epoch) if epoch > 0 else first_drawn

    most_epochs = _most_epochs(steps, first_drawn) if compiled else 1
    costs: list[np.ndarray] = []
    rates: list[float] = []
    norms: list[np.ndarray] = []
    validation_costs: list[np.ndarray] = []
    checkpoints: dict[int, Tensors] = {}
    checkpoint_states: dict[int, OptimizerState] = {}
    checkpoint_statistics: dict[int, Tensors] = {}
    best: tuple[Tensors, Tensors] | None = None
    for first, end in _spans(epochs, most_epochs, monitor):
        drawn = _drawn_rows(draw, first, end, most_epochs) if _tensors(first_drawn) else first_drawn
        span_rates = _rates(update, end - first, first_step + len(rates), steps)
        epoch_rates = _rows([span_rates[i : i + steps] for i in range(0, len(span_rates), steps)], most_epochs)
        curves = run_epochs(x, y, weights, drawn, tf.constant(epoch_rates), tf.constant(end - first))
        rates.extend(span_rates)
        for curve, of_span in zip((costs, norms), curves, strict=False):
            curve.append(of_span.numpy()[: len(span_rates)])
        if end in monitor.checkpoint_epochs:
            checkpoints[end] = _copies(model.parameter_dict())
            checkpoint_states[end] = update.optimizer.state()
            checkpoint_statistics[end] = _copies(model.statistics_dict())
        if monitor.validation is not None:
            validation_costs.append(_validation_cost(model, monitor.validation, objective))
        if early_stopping is not None:
            if early_stopping.improved(float(validation_costs[-1])) and early_stopping.restore_best:
                best = _copies(model.parameter_dict()), _copies(model.statistics_dict())
            if early_stopping.stop:
                break
    if best is not None:
        _restore(model, *best)
    return History(
        np.concatenate(costs), np.array(rates), np.concatenate(norms or [np.array([])]),
        _copies(model.parameter_dict()),
        update.optimizer.state(), checkpoints, np.array(validation_costs),
        early_stopping.best_epoch if early_stopping else 0, _copies(model.statistics_dict()), checkpoint_states,
        checkpoint_statistics,
    )  # fmt: skip


def augment(x: tf.Tensor, augmentations: Sequence[Augmentation], draws: Sequence[tf.Tensor]) -> tf.Tensor:
    """``x: (m, n_0)`` after each of ``augmentations`` in turn, with its draws for these ``m`` examples."""
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        x = augmentation.apply(x, drawn)
    return x


def _differentiate(
    model: Model,
    sources: Tensors,
    x: tf.Tensor,
    y: tf.Tensor,
    objective: Objective,
    masks: Masks,
    example_weights: tf.Tensor | None,
) -> tuple[Gradients, Tensors]:
    """:class:`Gradients` of one batch for ``sources``, a dict of tensors, and the values of the forward pass."""
    if x.shape[0] == 0:
        raise ValueError(f"x has shape {x.shape}: must hold at least one example")
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(sources.values()))
        logits, values = model.forward(x, masks=masks, training=True)
        data_loss = _reduced(objective, _outputs(model, logits, objective.loss), y, example_weights)
        penalty = tf.zeros([], model.dtype)
        for term in objective.penalties:
            penalty += term(model.weights, x.shape[0])
        cost = data_loss + penalty
    return Gradients(cost, data_loss, penalty, tape.gradient(cost, sources)), values


@functools.lru_cache(maxsize=8)
def _epochs(
    model: Model,
    references: tuple[Hashable, ...],
    objective: tuple[Any, ...],
    update: Update,
    augmentations: tuple[Augmentation, ...],
    batch_size: int,
    with_norms: bool,
    compiled: bool,
) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Several epochs as one function of the data, their draws, the learning rates of their steps and their number.

    Draws and rates are rows, one for each epoch that there is room for, ``(most_epochs, ...)``; returned are the costs
    and the gradient norms, of which there are ``most_epochs * steps``, the first ``epochs * steps`` with a meaning.
    Norms there are none without ``with_norms``.

    A ``tf.function`` keeps the variables that it was traced with: ``references`` to them are part of the cache's key,
    and an ``objective`` comes as what can be hashed of it. The optimizer's step count is one of the variables, so that
    a training that goes on traces nothing anew.
    """
    loss, options, reduction, penalties = objective
    made = Objective(loss, dict(options), reduction, penalties)

    @tf.autograph.experimental.do_not_convert
    def one_step(x, y, weights, drawn, rates, step, size):
        order, masks, draws = drawn
        x, y, weights, masks, draws = _batch(x, y, weights, order, masks, draws, step * batch_size, size)
        x = augment(x, augmentations, draws)
        return train_step(
            model, x, y, loss=made, optimizer=update, learning_rate=rates[step], masks=masks, example_weights=weights
        )

    @tf.autograph.experimental.do_not_convert
    def written(curves, place, made):
        return tuple(curve.write(place, value) for curve, value in zip(curves, made, strict=False))

    def one_epoch(x, y, weights, drawn, rates, begin, curves):
        full_batches, rest = divmod(x.shape[0], batch_size)
        for step in tf.range(full_batches):
            curves = written(curves, begin + step, one_step(x, y, weights, drawn, rates, step, batch_size))
        if rest > 0:
            made = one_step(x, y, weights, drawn, rates, full_batches, rest)
            curves = written(curves, begin + full_batches, made)
        return curves

    def run_epochs(x, y, weights, drawn, rates, epochs):
        rows, steps = rates.shape
        number = 2 if with_norms else 1
        curves = tuple(tf.TensorArray(model.dtype, rows * steps, element_shape=()) for _ in range(number))
        if rows == 1:  # no loop of one, which would be traced all the same
            curves = one_epoch(x, y, weights, _row(drawn, 0), rates[0], 0, curves)
            return tuple(curve.stack() for curve in curves)
        epoch = tf.constant(0)
        while epoch < epochs:  # not over a tf.range, for the length of which XLA would compile anew
            of_epoch = _row(drawn, epoch)
            curves = one_epoch(x, y, weights, of_epoch, rates[epoch], epoch * steps, curves)
            epoch += 1
        return tuple(curve.stack() for curve in curves)

    # A partial, for of functions of one code TensorFlow warns that they are traced again and again.
    made_of = functools.partial(run_epochs)
    return _compiled(made_of) if compiled else tf.function(made_of)


def _is_worth_compiling(model: Model, steps: int) -> bool:
    """Whether XLA is to compile a training of so many steps; it takes a second or two, and rounds sums otherwise.

    That depends on the call alone, not on what was compiled before: the same training gives the same bits each time.
    Convolutions, whose kernels have three axes or more, take XLA several times as long on a CPU.
    """
    parameters = model.parameter_dict().values()
    work = steps * (STEP_WORK + sum(w.shape.num_elements() for w in parameters))
    return work >= XLA_WORK and all("CPU" in w.device and w.shape.rank <= 2 for w in parameters)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a program of XLA; as a graph, from the first call on, if XLA lacks one of its operations."""
    programs = [tf.function(function), tf.function(function, jit_compile=True)]

    def run(*arguments):
        if len(programs) > 1:
            try:
                return programs[1](*arguments)
            except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):  # before anything is computed
                programs.pop()
        return programs[0](*arguments)

    return run


def _start(
    model: Model,
    optimizer: Optimizer,
    trained: Variables,
    state: OptimizerState | None,
    statistics: Tensors | None,
) -> int:
    """Set the optimizer's state and batch norm's averages, to those before training if None is given; the step."""
    initial = models.initial_statistics(model, dtype=model.dtype)
    if state is not None:
        shapes = {name: tuple(w.shape) for name, w in trained.items()}
        check_optimizer_state(*step_and_slots(state), dict.fromkeys(optimizer.initial_slots, shapes))
    if statistics is not None:
        check_state("statistics", statistics, {name: tuple(value.shape) for name, value in initial.items()})
    optimizer.build(trained, state)
    for name, value in (initial if statistics is None else statistics).items():
        if name in initial:
            model.statistics_dict()[name].assign(np.asarray(value))
    return 0 if state is None else int(state.step)


def _references(model: Model, optimizer: Optimizer) -> tuple[Hashable, ...]:
    """A hashable for each variable that training touches."""
    slots = [variable for variables in optimizer.slots.values() for variable in variables.values()]
    held = (*model.parameter_dict().values(), *model.statistics_dict().values())
    return tuple(v.ref() for v in (*held, *slots))


def _hashable(objective: Objective) -> tuple[Any, ...]:
    """What it is made of; the loss's keywords as pairs, with lists and arrays (class weights) as tuples."""
    pairs = objective.loss_options.items()
    options = tuple((k, tuple(v) if isinstance(v, (list, np.ndarray)) else v) for k, v in pairs)
    return objective.loss, options, objective.reduction, tuple(objective.penalties)


def _reduced(objective: Objective, outputs: tf.Tensor, y: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """The mean or the sum of the examples' losses."""
    per_example = losses.LOSSES[objective.loss](outputs, y, weights, **objective.loss_options)
    return REDUCTIONS[objective.reduction](per_example)


def _outputs(model: Model, logits: tf.Tensor, loss: str) -> tf.Tensor:
    """What the loss takes: the logits, or ``A[L]``."""
    return logits if loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)


def _validation_cost(model: Model, validation: tuple[tf.Tensor, tf.Tensor], objective: Objective) -> np.ndarray:
    x, y = validation
    return _reduced(objective, _outputs(model, model(x), objective.loss), y).numpy()


def _restore(model: Model, parameters: Tensors, statistics: Tensors) -> None:
    for variables, values in ((model.parameter_dict(), parameters), (model.statistics_dict(), statistics)):
        for name, value in values.items():
            variables[name].assign(value)


def _batch(
    x: tf.Tensor,
    y: tf.Tensor,
    weights: tf.Tensor | None,
    order: tf.Tensor | None,
    masks: Mapping[Any, tf.Tensor],
    draws: Sequence[tf.Tensor],
    start: int | tf.Tensor,
    size: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, dict[Any, tf.Tensor], list[tf.Tensor]]:
    """What belongs to positions ``start .. start + size - 1`` of an epoch; ``size`` is static."""
    masks = {layer: _places(mask, start, size) for layer, mask in masks.items()}
    draws = [_places(drawn, start, size) for drawn in draws]
    if order is None:  # a full batch
        return x, y, weights, masks, draws
    rows = tf.slice(order, [start], [size])
    return tf.gather(x, rows), tf.gather(y, rows), None if weights is None else tf.gather(weights, rows), masks, draws


@tf.autograph.experimental.do_not_convert
def _row(drawn: Drawn, epoch: tf.Tensor) -> Drawn:
    """What one epoch draws; ``drawn`` has it in rows."""
    return tf.nest.map_structure(lambda rows: None if rows is None else rows[epoch], drawn)


def _tensors(drawn: Any) -> list[tf.Tensor]:
    return [tensor for tensor in tf.nest.flatten(drawn) if tensor is not None]


def _places(tensor: tf.Tensor, start: int | tf.Tensor, size: int) -> tf.Tensor:
    others = len(tensor.shape) - 1
    return tf.slice(tensor, [start] + [0] * others, [size] + [-1] * others)


def _tensor(array: Any) -> tf.Tensor | None:
    return None if array is None else tf.convert_to_tensor(array)


def _reset(generator: tf.random.Generator, seed: int, epoch: int) -> None:
    """Every epoch draws from a state of its own, so that a training in two halves draws what the whole does."""
    generator.reset(np.random.SeedSequence((seed, epoch)).generate_state(3, np.uint64).view(np.int64))


def _draw_epoch(
    generator: tf.random.Generator,
    model: Model,
    shape: tf.TensorShape,
    sampling: Sampling,
    batch_size: int,
    first_epoch: int,
    epoch: int,
) -> Drawn:
    """What an epoch draws, or has on the tape; ``first_epoch`` counts those before this training."""
    tape, examples = sampling.tape, shape[0]
    _reset(generator, sampling.seed, first_epoch + epoch)
    order = _order(generator, examples, batch_size, tape.batch_order, epoch)
    masks = _epoch_masks(generator, model, examples, tape.dropout_masks, epoch)
    draws = _epoch_draws(generator, sampling.augmentations, shape, tape.augmentation_draws, epoch)
    return order, masks, draws


def _drawn_rows(draw: Callable[[int], Drawn], first: int, end: int, number: int) -> Drawn:
    """What epochs ``first .. end - 1`` draw, in rows."""
    drawn = [draw(epoch) for epoch in range(first, end)]
    return tf.nest.map_structure(lambda *rows: None if rows[0] is None else tf.constant(_rows(rows, number)), *drawn)


def _rows(arrays: Sequence[Any], number: int) -> np.ndarray:
    """Arrays of one shape as the first of ``number`` rows; the others are 0."""
    first = np.asarray(arrays[0])
    rows = np.zeros((number, *first.shape), first.dtype)
    rows[: len(arrays)] = [np.asarray(array) for array in arrays]
    return rows


def _most_epochs(steps: int, drawn: Drawn) -> int:
    """The number of epochs that one call has room for: rows of ``steps`` values, and of what an epoch draws.

    It depends on neither the number of epochs to train nor the looks between them: functions are traced for it.
    """
    drawn_bytes = sum(tensor.dtype.size * tensor.shape.num_elements() for tensor in _tensors(drawn))
    return max(1, min(MOST_STEPS // steps, MOST_DRAWN_BYTES // max(drawn_bytes, 1)))


def _spans(epochs: int, most: int, monitor: Monitor) -> Iterator[tuple[int, int]]:
    """The epochs ``first .. end - 1``, counted from 0, that are one call: ``most``, but none past a look."""
    first = 0
    for end in range(1, epochs + 1):
        looked_at = monitor.validation is not None or end in monitor.checkpoint_epochs
        if looked_at or end == epochs or end - first == most:
            yield first, end
            first = end


def _order(
    generator: tf.random.Generator, examples: int, batch_size: int, batch_order: Any, epoch: int
) -> tf.Tensor | None:
    if batch_order is not None:
        return tf.convert_to_tensor(batch_order[epoch])
    if batch_size == examples:
        return None
    return tf.random.experimental.stateless_shuffle(tf.range(examples), seed=generator.make_seeds()[:, 0])


def _epoch_masks(
    generator: tf.random.Generator, model: Model, examples: int, dropout_masks: Masks, epoch: int
) -> dict[Any, tf.Tensor]:
    if dropout_masks is not None:
        return {layer: tf.convert_to_tensor(masks[epoch]) for layer, masks in dropout_masks.items()}
    return model.draw_masks(generator, examples)


def _epoch_draws(
    generator: tf.random.Generator,
    augmentations: Sequence[Augmentation],
    shape: tf.TensorShape,
    augmentation_draws: Sequence[tf.Tensor] | None,
    epoch: int,
) -> list[tf.Tensor]:
    if augmentation_draws is not None:
        return [tf.convert_to_tensor(draws[epoch]) for draws in augmentation_draws]
    return [augmentation.draw(generator, *shape) for augmentation in augmentations]


def _rates(update: Update, epochs: int, first: int, steps: int) -> list[float]:
    """The learning rate of each of the ``steps`` of ``epochs``, in Python numbers; ``first`` counts all steps before.

    Raises ValueError for one that is no finite number >= 0.
    """
    if update.schedule is None:
        rates = [float(update.optimizer.learning_rate)]
    elif update.schedule_unit == "epoch":
        rates = [update.schedule(first // steps + epoch) for epoch in range(epochs)]
    else:
        rates = [update.schedule(step) for step in range(first, first + epochs * steps)]
    for rate in rates:
        update.check_rate(rate)
    return [rate for rate in rates for _ in range(epochs * steps // len(rates))]


def _copies(variables: Variables) -> Tensors:
    return {name: tf.identity(variable) for name, variable in variables.items()}


def _check_targets(model: Model, y: tf.Tensor, objective: Objective, weights: tf.Tensor | None) -> None:
    """Let the loss check its arguments once, eagerly: in the compiled epoch it cannot look at the values of labels."""
    outputs = tf.zeros((y.shape[0], model.outputs), model.dtype)
    losses.LOSSES[objective.loss](outputs, y, weights, **objective.loss_options)
