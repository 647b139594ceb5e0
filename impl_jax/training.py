"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``, or ``sum_i loss_i + penalties(W)``.
Computations run in the dtype of the parameters. Everything is compiled once for each model, loss, regularizers,
optimizer and shape; learning rates, the order of the examples, dropout masks, augmentation draws, example weights, the
optimizer's state and its step count are data.

Matrix products have the backend's default precision: full on a CPU, perhaps TF32 or bfloat16 on an accelerator. That is
left to ``jax_default_matmul_precision``, a setting of the program, not of a library.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from . import activations, losses, models, optimizers
from ._common import (
    EarlyStopping,
    check_choice,
    check_optimizer_state,
    check_parameters,
    check_state,
    check_trained,
    check_training,
    is_trained,
)
from .network import Network

Array: TypeAlias = jax.Array | NDArray
Tensors = dict[str, jax.Array]
Options = Mapping[str, Any]
Penalties = Sequence[Callable[[list[Array], int], Any]]
Transformation = Callable[[Tensors], Tensors]  # of gradients or of parameters


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``."""

    cost: jax.Array
    data_loss: jax.Array
    penalty: jax.Array
    gradients: Tensors


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean, over
    all trained parameters, before clipping) are NumPy arrays of shape ``(steps,)``; ``checkpoints`` maps an epoch's
    number to the parameters at its end. ``validation_costs``: ``(epochs,)``, empty without validation; ``best_epoch``
    counts from 1 (0 without early stopping); ``statistics`` are batch norm's running averages. With ``optimizer_state``
    (an ``optimizers.OptimizerState``; of one of optax's own optimizers, optax's own) and these training can go on;
    ``checkpoint_states`` and ``checkpoint_statistics`` are what the two were at the checkpoints.
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


def loss_and_gradients(
    model: models.Model,
    parameters: models.Tensors,
    x: Array,
    y: Array,
    *,
    loss: str,
    loss_options: Options | None = None,
    reduction: str = "mean",
    penalties: Penalties = (),
    masks: models.Masks | None = None,
    example_weights: Array | None = None,
    input_gradient: bool = False,
) -> Gradients:
    """Cost of one batch in training and its gradients for every parameter (and ``"A0"``, the input, if asked).

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` of a network of layers, of which integers have no gradient; ``y``: the
    loss's targets; ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its keywords; ``reduction``: ``"mean"`` or
    ``"sum"`` of the losses, the penalties are the same; ``penalties``: of ``regularizers``; ``masks``: dropout masks by
    layer or path, None for no dropout; ``example_weights``: ``(m,)``. Batch norm takes the statistics of the batch.
    Returns :class:`Gradients`. Raises ValueError for an unknown loss or reduction, an empty batch, or shapes that do
    not fit.
    """
    cost = _Cost(model, loss, _pairs(loss_options), reduction, tuple(penalties))
    parameters, x, y = _arrays(model, parameters, x, y)
    cost.check_batch(x, y)
    return _loss_and_gradients(cost, parameters, x, y, masks, example_weights, input_gradient)


def fit(
    model: models.Model,
    parameters: models.Tensors,
    x: Array,
    y: Array,
    *,
    loss: str,
    optimizer: optax.GradientTransformation,
    loss_options: Options | None = None,
    reduction: str = "mean",
    penalties: Penalties = (),
    clipping: Transformation | None = None,
    constraint: Transformation | None = None,
    frozen_layers: int = 0,
    frozen_biases: bool = False,
    optimizer_state: Any = None,
    statistics: models.Tensors | None = None,
    schedule: Callable[[int], float] | None = None,
    schedule_unit: str = "epoch",
    epochs: int = 10,
    batch_size: int | None = None,
    seed: int = 0,
    batch_order: Array | None = None,
    dropout_masks: models.Masks | None = None,
    augmentations: Sequence[Any] = (),
    augmentation_draws: Sequence[Array] | None = None,
    example_weights: Array | None = None,
    validation: tuple[Array, Array] | None = None,
    early_stopping: EarlyStopping | None = None,
    checkpoint_epochs: Collection[int] = (),
) -> History:
    """Train for ``epochs`` passes over ``x``, ``y``; returns a :class:`History`, changes no argument.

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` of a network of layers, integers if it begins with an embedding.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once); the last batch of an epoch holds
    what is left. ``schedule`` gives the learning rate by epoch or by step (``schedule_unit``), both counted from 0;
    None keeps the optimizer's. ``optimizer`` may also be one of optax's own: without ``schedule``, and its rates are
    recorded as NaN. A step is: augment the batch's inputs, take gradients (penalties included) for all but the first
    ``frozen_layers`` layers and, with ``frozen_biases``, the ``b[l]``, clip them (``clipping``), let the optimizer
    step, constrain the parameters (``constraint``); the last two are made in ``regularizers``. ``reduction`` is that
    of :func:`loss_and_gradients`, for the validation cost too.

    Every training starts with a fresh optimizer state and fresh running averages, or goes on exactly where an earlier
    one was, with its history's ``optimizer_state`` and ``statistics`` (batch norm's) and the parameters it ended with.
    Steps are then counted on from ``optimizer_state.step``, for the optimizer and a schedule by step, and epochs from
    ``optimizer_state.step // steps_per_epoch``, for a schedule by epoch and what is drawn from ``seed``; all else
    counts within this call. (The state of one of optax's own optimizers tells no step: all counts from 0.)

    The order of the examples is drawn anew each epoch from ``(seed, epoch)``, or is row ``e`` of ``batch_order:
    (epochs, m)``; a full batch keeps the order of ``x``. Dropout masks are drawn likewise, or taken from
    ``dropout_masks``: by layer ``(epochs, m, n_l)``, or by path ``(epochs, m, ...)``, where row ``k`` belongs to the
    ``k``-th example visited; and ``augmentation_draws`` are one array ``(epochs, m, ...)``, of the same order, for each
    of ``augmentations``. ``example_weights: (m,)`` go with ``x``.

    ``validation=(x, y)`` gives a cost (without penalties, in inference mode) after every epoch; ``early_stopping`` (of
    ``regularizers``) listens to it: a fresh one for every training. ``checkpoint_epochs`` are the epochs (from 1) after
    which parameters are kept. Raises ValueError for arguments that do not fit, an ``optimizer_state`` or ``statistics``
    of another training among them.

    A second call with the same ``optimizer`` object and equal model, loss, regularizers and shapes compiles nothing,
    nor does one that goes on.
    """
    check_training(
        inputs=len(x), targets=len(y), depth=model.depth, reduction=reduction, schedule_unit=schedule_unit,
        epochs=epochs, batch_size=batch_size, frozen_layers=frozen_layers, frozen_biases=frozen_biases,
        stops_early=early_stopping is not None, validates=validation is not None,
    )  # fmt: skip
    cost = _Cost(model, loss, _pairs(loss_options), reduction, tuple(penalties))
    parameters, x, y = _arrays(model, parameters, x, y)
    cost.check_batch(x, y)
    if validation is not None:
        validation = _arrays(model, parameters, *validation)[1:]
        cost.check_batch(*validation)
    batch_size = min(batch_size or len(x), len(x))
    _check_tape(model, len(x), epochs, batch_order, dropout_masks, augmentation_draws, example_weights)
    trained = {name: w for name, w in parameters.items() if is_trained(name, frozen_layers, frozen_biases)}
    check_trained(trained, frozen_layers)
    frozen = {name: w for name, w in parameters.items() if name not in trained}
    state, first_step = _starting_state(optimizer, trained, optimizer_state)
    carry = trained, state, _starting_statistics(model, statistics, _dtype(parameters))
    steps = -(-len(x) // batch_size)  # of an epoch
    rates = _learning_rates(optimizer, schedule, schedule_unit, epochs, steps, first_step)
    step = _Step(cost, optimizer, clipping, constraint, tuple(augmentations), batch_size)
    tape = _tape(step, x, epochs, seed, first_step // steps, batch_order, dropout_masks, augmentation_draws)
    data = x, y, None if example_weights is None else jax.device_put(example_weights)
    return _train(step, carry, frozen, data, tape, rates, first_step, validation, early_stopping, checkpoint_epochs)


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

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, losses.LOSSES)
        check_choice("reduction", self.reduction, ("mean", "sum"))

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
    """All of a training step that is no array, for ``jit`` to take as static."""

    cost: _Cost
    optimizer: optax.GradientTransformation
    clipping: Transformation | None
    constraint: Transformation | None
    augmentations: tuple[Any, ...]
    batch_size: int


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
    step: _Step, carry: Any, frozen: Any, data: Any, tape: Iterator[Any], rates: NDArray | None, first_step: int,
    validation: Any, early_stopping: EarlyStopping | None, checkpoint_epochs: Collection[int],
) -> History:  # fmt: skip
    """The epochs of :func:`fit`, from ``carry`` on: trained parameters, optimizer's state, running averages."""
    curves, validation_costs, checkpoints, best = [], [], {}, None
    checkpoint_states, checkpoint_statistics = {}, {}
    steps = 0
    for epoch, drawn in enumerate(tape, start=1):
        carry, curve = _train_epoch(step, carry, frozen, data, drawn, None if rates is None else rates[epoch - 1])
        curves.append(curve)
        steps += len(curve[0])
        parameters, statistics = frozen | carry[0], carry[2]
        if epoch in checkpoint_epochs:
            checkpoints[epoch] = parameters
            checkpoint_states[epoch] = _state(step.optimizer, carry[1], first_step + steps)
            checkpoint_statistics[epoch] = statistics
        if validation is not None:
            validation_costs.append(_validation_cost(step.cost, parameters, statistics, *validation))
        if early_stopping is not None:
            if early_stopping.improved(float(validation_costs[-1])) and early_stopping.restore_best:
                best = parameters, statistics
            if early_stopping.stop:
                break
    costs, norms = (np.concatenate(curve) for curve in zip(*jax.device_get(curves), strict=True))
    learning_rates = np.full(len(costs), np.nan) if rates is None else rates.ravel()[: len(costs)]
    parameters, statistics = best or (parameters, statistics)
    return History(
        costs, learning_rates, norms, parameters, _state(step.optimizer, carry[1], first_step + steps), checkpoints,
        np.array(jax.device_get(validation_costs)), early_stopping.best_epoch if early_stopping else 0, statistics,
        checkpoint_states, checkpoint_statistics,
    )  # fmt: skip


def _state(optimizer: Any, state: Any, step: int) -> Any:
    """The optimizer's state after ``step`` steps; one of optax's own tells no step."""
    return state._replace(step=step) if _is_ours(optimizer) else state


@partial(jax.jit, static_argnames="step")
def _train_epoch(step: _Step, carry: Any, frozen: Tensors, data: Any, drawn: Any, rates: Any) -> tuple[Any, Any]:
    """One pass over the data: a scan over the full batches, then what is left. Returns ``(carry, curve)``.

    ``carry``: trained parameters, optimizer's state, running averages; ``data``: inputs, targets, example weights or
    None; ``drawn``: order ``(m,)`` or None for that of the data, masks by layer or path and augmentation draws, in
    the order of the visits; ``rates: (steps,)``, or None for the optimizer's own. ``curve`` holds costs and gradient
    norms, each ``(steps,)``.
    """
    update = optax.with_extra_args_support(step.optimizer).update

    def cost(trained, *batch):
        return step.cost(frozen | trained, *batch)

    def one_step(carry, batch):
        trained, state, statistics = carry
        (rows, masks, draws), rate = batch
        x, y, weights = data if rows is None else jax.tree.map(lambda a: a[rows], data)
        x = augment(x, step.augmentations, draws)
        (total, (*_, values)), gradients = jax.value_and_grad(cost, has_aux=True)(trained, x, y, masks, weights)
        statistics = step.cost.model.updated_statistics(statistics, values)
        norm = optax.tree.norm(gradients)
        if step.clipping is not None:
            gradients = step.clipping(gradients)
        updates, state = update(gradients, state, trained, learning_rate=rate)
        trained = optax.apply_updates(trained, updates)
        if step.constraint is not None:
            trained = step.constraint(trained)
        return (trained, state, statistics), (total, norm)

    examples = len(data[0])
    full = examples // step.batch_size
    end = full * step.batch_size  # of the full batches
    batches = jax.tree.map(lambda a: a[:end].reshape(full, step.batch_size, *a.shape[1:]), drawn)
    carry, curve = jax.lax.scan(one_step, carry, (batches, jax.tree.map(lambda r: r[:full], rates)), full)
    if end < examples:
        left = jax.tree.map(lambda a: a[end:], drawn)
        carry, last = one_step(carry, (left, jax.tree.map(lambda r: r[full], rates)))
        curve = jax.tree.map(lambda values, value: jnp.append(values, value), curve, last)
    return carry, curve


@partial(jax.jit, static_argnames="cost")
def _validation_cost(cost: _Cost, parameters: Tensors, statistics: Tensors, x: Array, y: Array) -> jax.Array:
    return cost.data_loss(cost.model.apply(parameters, x, statistics=statistics), y)


def _tape(
    step: _Step, x: Array, epochs: int, seed: int, first_epoch: int, batch_order: Any, dropout_masks: Any,
    augmentation_draws: Any,
) -> Iterator[tuple[Any, dict[Any, Array], list[Array]]]:  # fmt: skip
    """What is random in every epoch: the order of the examples (None: as they are), dropout masks, augmentations."""
    key = jax.random.key(seed)
    shuffle = batch_order is None and step.batch_size < len(x)
    given = dropout_masks is not None, augmentation_draws is not None
    for epoch in range(epochs):
        order, masks, draws = None, {}, []
        if shuffle or not all(given):
            order, masks, draws = _draw_epoch(step, x.shape, shuffle, given, key, first_epoch + epoch)
        if batch_order is not None:
            order = np.asarray(batch_order[epoch], np.int32)
        if dropout_masks is not None:
            masks = {layer: np.asarray(drawn[epoch]) for layer, drawn in dropout_masks.items()}
        if augmentation_draws is not None:
            draws = [np.asarray(drawn[epoch]) for drawn in augmentation_draws]
        yield order, masks, draws


@partial(jax.jit, static_argnames=("step", "shape", "shuffle", "given"))
def _draw_epoch(
    step: _Step, shape: tuple[int, ...], shuffle: bool, given: tuple[bool, bool], key: jax.Array, epoch: Any
) -> tuple[Any, Any, Any]:
    """Order (None unless ``shuffle``), masks and draws (none where ``given``) of one epoch, by JAX's own generator."""
    examples, features = shape[0], math.prod(shape[1:])
    masks_given, draws_given = given
    order_key, masks_key, draws_key = jax.random.split(jax.random.fold_in(key, epoch), 3)
    order = jax.random.permutation(order_key, examples) if shuffle else None
    masks = {} if masks_given else step.cost.model.draw_masks(masks_key, examples)
    draws = [
        augmentation.draw(jax.random.fold_in(draws_key, number), examples, features)
        for number, augmentation in enumerate(() if draws_given else step.augmentations)
    ]
    return order, masks, draws


def _is_ours(optimizer: optax.GradientTransformation) -> bool:
    """Whether its state is an ``OptimizerState``; that of optax's own is taken and handed back as it is."""
    return isinstance(optimizer, optimizers.Optimizer)


def _starting_state(optimizer: optax.GradientTransformation, trained: Tensors, given: Any) -> tuple[Any, int]:
    """The optimizer's state to start from, and the number of steps behind it; a ``given`` one is checked."""
    fresh: Any = optimizer.init(trained)
    if given is None:
        return fresh, 0
    if not _is_ours(optimizer):
        if jax.tree.map(jnp.shape, given) != jax.tree.map(jnp.shape, fresh):
            raise ValueError("optimizer_state is not this optimizer's: must be that of an earlier history with it")
        return given, 0
    step: Any = getattr(given, "step", None)
    slots: Any = getattr(given, "slots", {})
    step = step.item() if hasattr(step, "item") else step
    shapes = {name: w.shape for name, w in trained.items()}
    check_optimizer_state(step, slots, dict.fromkeys(fresh.slots, shapes))
    slots = {
        slot: {name: jnp.asarray(slots[slot][name], array.dtype) for name, array in arrays.items()}
        for slot, arrays in fresh.slots.items()
    }
    return optimizers.OptimizerState(jnp.asarray(step, jnp.int32), slots), step


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


def _arrays(
    model: models.Model, parameters: models.Tensors, x: Array, y: Array
) -> tuple[Tensors, jax.Array, jax.Array]:
    """As JAX arrays, ``x`` and real-valued ``y`` in the dtype of the parameters; tokens for layers stay integers."""
    if isinstance(model, Network):
        check_parameters(parameters, model.parameter_shapes)
    # A copy, as jnp.asarray makes: that would compile a program for every shape.
    arrays: Tensors = {name: jax.device_put(w, may_alias=False) for name, w in parameters.items()}
    targets: Any = jax.device_put(y, may_alias=False)
    dtype = _dtype(arrays)
    real = jnp.issubdtype(targets.dtype, jnp.floating)
    tokens = isinstance(model, Network) and jnp.issubdtype(x.dtype, jnp.integer)
    return arrays, jnp.asarray(x, None if tokens else dtype), targets.astype(dtype) if real else targets


def _dtype(parameters: models.Tensors) -> Any:
    """That of the parameters, which all have one; JAX's default where there are none."""
    return next((w.dtype for w in parameters.values()), jnp.zeros(()).dtype)


def _learning_rates(
    optimizer: Any, schedule: Any, schedule_unit: str, epochs: int, steps: int, first_step: int
) -> NDArray | None:
    """The rate of every step, ``(epochs, steps)`` in double precision, or None if only the optimizer knows it.

    Steps are counted from ``first_step``, epochs from the one that it lies in.
    """
    own_rate = getattr(optimizer, "learning_rate", None)
    if own_rate is None and schedule is not None:
        raise ValueError("schedule is not allowed with an optimizer without a learning_rate: must be None")
    if own_rate is None:
        return None
    if schedule is None:
        schedule = own_rate if callable(own_rate) else lambda t: own_rate
        schedule_unit = "step"  # what a schedule of optax counts
    by_epoch, first_epoch = schedule_unit == "epoch", first_step // steps
    return np.array(
        [
            [float(schedule(first_epoch + epoch if by_epoch else first_step + epoch * steps + i)) for i in range(steps)]
            for epoch in range(epochs)
        ]
    )


def _check_tape(
    model: models.Model, examples: int, epochs: int, batch_order: Any, dropout_masks: Any,
    augmentation_draws: Any, example_weights: Any,
) -> None:  # fmt: skip
    """Indexing out of range, which NumPy refuses, JAX would silently clamp."""
    if batch_order is not None:
        order = np.asarray(batch_order)
        if order.shape[1:] != (examples,) or len(order) < epochs or order.min() < 0 or order.max() >= examples:
            raise ValueError(
                f"batch_order has shape {order.shape}: must be ({epochs}, {examples}), of 0 .. {examples - 1}"
            )
    for layer, masks in (dropout_masks or {}).items():
        check_choice("dropout mask", layer, tuple(model.mask_shapes))
        expected = (examples, *model.mask_shapes[layer])
        if masks.shape[1:] != expected or len(masks) < epochs:
            raise ValueError(f"dropout mask {layer} has shape {masks.shape}: must be {(epochs, *expected)}")
    for number, draws in enumerate(augmentation_draws or ()):
        if draws.shape[1:2] != (examples,) or len(draws) < epochs:
            raise ValueError(f"augmentation draws {number} have shape {draws.shape}: must be {(epochs, examples)}, ...")
    if example_weights is not None and np.shape(example_weights) != (examples,):
        raise ValueError(f"example_weights has shape {np.shape(example_weights)}: must be ({examples},)")
