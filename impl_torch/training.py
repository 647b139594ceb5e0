"""Costs with their gradients, and training: whole (:func:`fit`), or step by step in a loop of one's own.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``, or with ``reduction="sum"`` the sum for
the mean.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, optim

from . import activations, graphs, losses, models, optimizers
from ._common import Monitor as Monitor
from ._common import Objective as Objective
from ._common import Progress as Progress
from ._common import Sampling as Sampling
from ._common import Step as Step
from ._common import Tape as Tape
from ._common import Update as Update
from ._common import (
    check_kind,
    check_step_masks,
    check_training,
    given_or_default,
    known_keywords,
    step_and_slots,
)
from .models import Masks, Model, Tensors
from .regularizers import Augmentation

PENALTY, OPTIMIZER = ("__call__",), ("step", "zero_grad")  # what these have, by which they are known
Draws = Sequence[Any]  # arrays of NumPy's or tensors

# The bytes at a multiple of which PyTorch lets a tensor begin; the last digit of a product may depend on where its
# factors do. Where all batches of an epoch gathered at once would begin so, each is gathered by itself.
ALIGNMENT = 64


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``, each a scalar tensor."""

    cost: Tensor
    data_loss: Tensor
    penalty: Tensor
    gradients: Tensors


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all trained parameters, before clipping; empty unless :class:`Monitor` asks) have shape ``(steps,)``;
    ``checkpoints`` maps an epoch's number to the parameters at its end; ``optimizer_state`` is a copy of the
    optimizer's, by the names of the trained parameters.
    ``validation_costs``: ``(epochs,)``, empty without validation; ``best_epoch`` counts from 1 (0 without early
    stopping); ``statistics`` are copies of batch norm's running averages. ``checkpoint_states`` and
    ``checkpoint_statistics`` are what the optimizer's state and these were at the checkpoints.
    """

    costs: np.ndarray
    learning_rates: np.ndarray
    gradient_norms: np.ndarray
    parameters: Tensors
    optimizer_state: optimizers.OptimizerState
    checkpoints: dict[int, Tensors]
    validation_costs: np.ndarray
    best_epoch: int
    statistics: Tensors
    checkpoint_states: dict[int, optimizers.OptimizerState]
    checkpoint_statistics: dict[int, Tensors]


class _Cost(NamedTuple):
    """What a cost is made of; ``loss`` is the objective's, ``averages``: whether running averages need the values."""

    model: Model
    objective: Objective
    loss: Callable[..., Tensor]
    averages: bool

    @classmethod
    def of(cls, model: Model, objective: Objective) -> "_Cost":
        return cls(model, objective, losses.LOSSES[objective.loss], bool(model.statistics_dict()))


class _Training(NamedTuple):
    """What the steps of a training have in common.

    ``parameters`` are those that are trained; ``with_norm``: whether a step tells the norm of its gradient, or None.
    """

    cost: _Cost
    parameters: Mapping[str, torch.nn.Parameter]
    update: Update
    with_norm: bool


class _Batch(NamedTuple):
    """The examples of one step, with all that belongs to them."""

    x: Tensor
    y: Tensor
    masks: Masks | None
    example_weights: Tensor | None

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors of it."""
        weights = [] if self.example_weights is None else [self.example_weights]
        return [self.x, self.y, *(self.masks or {}).values(), *weights]

    @property
    def shape(self) -> tuple[Any, ...]:
        """What batches have in common that one graph can be of."""
        return (*(self.masks or ()), *((tensor.shape, tensor.dtype) for tensor in self.tensors))

    def of(self, x: Tensor, y: Tensor, *others: Tensor) -> "_Batch":
        """A batch of this shape of other tensors, in the order of :attr:`tensors`."""
        masks = None if self.masks is None else dict(zip(self.masks, others, strict=False))
        return _Batch(x, y, masks, None if self.example_weights is None else others[-1])


class _Steps:
    """The steps of one :func:`fit`; on a GPU graphs of them, one for each shape of a batch. See ``graphs``.

    A graph is of a whole step where the optimizer's may be in one and the rate stays; else of all up to the gradients.
    """

    def __init__(self, training: _Training, device: torch.device) -> None:
        self._training, self._device = training, device
        self._whole = training.update.schedule is None and optimizers.computes_on_device(training.update.optimizer)
        recordable = device.type in graphs.RECORDERS and _is_recordable(training)
        self._recorder = graphs.RECORDERS[device.type] if recordable else None
        self._recorded: dict[tuple[Any, ...], graphs.Recorded] = {}

    def take(self, batch: _Batch, learning_rate: float | None) -> Step:
        """One step, as :func:`_step` takes it."""
        if self._recorder is None:
            return _step(self._training, batch, learning_rate)
        if batch.shape not in self._recorded:
            self._recorded[batch.shape] = self._to_record(batch, self._recorder(self._device))
        cost, *rest = self._recorded[batch.shape](*batch.tensors)
        norm = rest.pop(0).clone() if self._training.with_norm else None
        for w, gradient in zip(self._training.parameters.values(), rest, strict=True):
            w.grad = gradient
        if not self._whole:
            _update(self._training, learning_rate)
        return Step(cost.clone(), norm)

    def _to_record(self, like: _Batch, recorder: graphs.Recorder) -> graphs.Recorded:
        """What a batch's tensors give: the cost, its gradient's norm if asked for, and the gradients."""

        def step(*tensors: Tensor) -> list[Tensor]:
            cost, norm = _step(self._training, like.of(*tensors), None, is_whole=self._whole)
            gradients: list[Any] = [w.grad for w in self._training.parameters.values()]
            return [cost, *([] if norm is None else [norm]), *gradients]

        return graphs.Recorded(
            step, self._changed, recorder, lambda: optimizers.capturable(self._training.update.optimizer)
        )

    def _changed(self) -> list[Tensor]:
        """What a step changes in place."""
        kept = [value for state in self._training.update.optimizer.state.values() for value in state.values()]
        statistics = self._training.cost.model.statistics_dict()
        tensors = [value for value in kept if torch.is_tensor(value)] if self._whole else []
        return [*self._training.parameters.values(), *statistics.values(), *tensors]


def loss_and_gradients(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    loss: str | Objective,
    masks: Masks | None = None,
    example_weights: Tensor | None = None,
    input_gradient: bool = False,
) -> Gradients:
    """Cost of one batch in training and its gradients, ``{"W1": ...}``, with ``"A0"`` (``d cost / d x``) if asked.

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` for a network of layers, whose gradients are by path, ``{"1.W": ...}``
    (integers have none); ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, or an :class:`Objective`;
    ``masks``: dropout masks by layer or path, None for no dropout; ``example_weights``: ``(m,)``. Batch norm takes the
    statistics of the batch, and its running ones stay as they are; the module's mode does not matter. Returns
    :class:`Gradients`; the parameters' ``.grad`` stays too. Raises ValueError for an unknown loss, an empty batch, or
    shapes that do not fit.
    """
    objective = Objective.of(loss, losses.LOSSES, PENALTY)
    check_step_masks(masks, len(x), model)
    variables: Tensors = dict(model.parameter_dict())
    if input_gradient and x.is_floating_point():
        x = variables["A0"] = x.detach().requires_grad_()
    batch = _Batch(x, y, masks, example_weights)
    data_loss, penalty, _ = _data_loss_and_penalty(_Cost.of(model, objective), batch)
    cost = data_loss + penalty
    gradients = torch.autograd.grad(cost, list(variables.values()))
    penalty = torch.as_tensor(penalty, dtype=cost.dtype, device=cost.device)
    return Gradients(cost.detach(), data_loss.detach(), penalty.detach(), dict(zip(variables, gradients, strict=True)))


def start(model: Model, optimizer: optim.Optimizer | Update, *, resume: Any = None) -> int:
    """Prepare for the first :func:`train_step`; returns the number of steps taken before it.

    What the optimizer remembers is cleared and batch norm's running averages are reset, or both are set to where an
    earlier training was: ``resume`` is its history, or a :class:`Progress`. Raises ValueError for one of another
    training, or an optimizer that does not hold the model's parameters.
    """
    update, progress = Update.of(optimizer, OPTIMIZER), Progress.of(resume)
    parameters = update.trained(model.parameter_dict(), model.depth)
    _check_holds_parameters(update.optimizer, parameters.values())
    return _start(model, update.optimizer, parameters, progress.optimizer_state, progress.statistics)


def train_step(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    loss: str | Objective,
    optimizer: optim.Optimizer | Update,
    learning_rate: float | None = None,
    masks: Masks | None = None,
    example_weights: Tensor | None = None,
) -> Step:
    """One step on one batch, which changes ``model`` and ``optimizer`` in place; returns its cost and gradient norm.

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` for a network of layers; ``y``: the loss's targets; ``loss``: a name
    in ``losses.LOSSES`` or an :class:`Objective`; ``optimizer``: one that holds the model's trained parameters, or an
    :class:`Update` by it; ``learning_rate``: this step's, None for the ``"lr"`` that the optimizer has, which stays;
    ``masks``: dropout masks by layer or path, None for no dropout; ``example_weights``: ``(m,)``. A step is: take
    gradients (penalties included) and batch norm's averages, clip, let the optimizer step, constrain. The module's mode
    does not matter. Returns a :class:`Step` of scalar tensors. Raises ValueError for an unknown loss, an empty batch,
    shapes that do not fit, or an update by a schedule without a ``learning_rate``.
    """
    objective, update = Objective.of(loss, losses.LOSSES, PENALTY), Update.of(optimizer, OPTIMIZER)
    update.check_rate(learning_rate)
    check_step_masks(masks, len(x), model)
    parameters = update.trained(model.parameter_dict(), model.depth)
    _check_holds_parameters(update.optimizer, parameters.values())
    made_of = _Training(_Cost.of(model, objective), parameters, update, with_norm=True)
    return _step(made_of, _Batch(x, y, masks, example_weights), learning_rate)


@known_keywords
def fit(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    loss: str | Objective,
    optimizer: optim.Optimizer | Update,
    epochs: int = 10,
    batch_size: int | None = None,
    sampling: Sampling | None = None,
    monitor: Monitor | None = None,
    resume: Any = None,
) -> History:
    """Train ``model`` in place for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`.

    A network of layers takes ``x: (m, *input_shape)``, floats or integers. The module's mode does not matter, and
    stays. ``x`` and ``y`` are tensors on the model's device, where the draws are made too.

    Each epoch visits the examples in batches of ``batch_size`` (None: all at once), the last of which holds what is
    left, and makes a :func:`train_step` on each, with its inputs augmented. ``loss`` is a name in ``losses.LOSSES``, or
    an :class:`Objective`: with penalties, for example. ``optimizer`` is one that holds the model's trained parameters,
    or an :class:`Update` by one: with a schedule, clipping, a constraint or frozen layers. Its ``"lr"`` stays.
    :class:`Sampling` says what is drawn, :class:`Monitor` what is looked at after every epoch.

    Every training starts afresh: what the optimizer remembers is cleared and batch norm's running averages are reset.
    Or it goes on exactly where an earlier one was: ``resume`` is its history (or a :class:`Progress`), and the model
    has the parameters that it ended with. Steps are then counted on from ``optimizer_state.step``, for the optimizer
    and a schedule by step, and epochs from ``optimizer_state.step // steps_per_epoch``, for a schedule by epoch and
    what is drawn from the seed; all else counts within this call.

    The order of the examples is drawn anew each epoch from ``(seed, epoch)``; a full batch keeps the order of ``x``.
    Dropout masks and what augmentations draw come from there too, unless they stand on a :class:`Tape`, which may be of
    NumPy arrays. The objective's ``reduction`` is that of the validation cost too. Raises ValueError for arguments that
    do not fit, a ``resume`` of another training among them.
    """
    check_training(x, y, epochs=epochs, batch_size=batch_size)
    for name, tensor in (("x", x), ("y", y)):
        check_kind(name, tensor, Tensor, "a tensor")
    objective, update = Objective.of(loss, losses.LOSSES, PENALTY), Update.of(optimizer, OPTIMIZER)
    sampling = given_or_default("sampling", sampling, Sampling)
    monitor = given_or_default("monitor", monitor, Monitor)
    sampling.check(epochs=epochs, examples=len(x), mask_shapes=model.mask_shapes)
    y = _looked_at(model, objective, y, sampling.example_weights)
    early_stopping = monitor.early_stopping
    parameters = update.trained(model.parameter_dict(), model.depth)
    cost_of = _Cost.of(model, objective)
    of_known_labels = cost_of._replace(loss=losses._of_known_labels(cost_of.loss))
    made_of = _Training(of_known_labels, parameters, update, monitor.gradient_norms)
    first_step = start(model, update, resume=resume)
    batch_size = batch_size or len(x)
    first_epoch = first_step // math.ceil(len(x) / batch_size)
    costs: list[Tensor] = []
    norms: list[Tensor] = []
    validation_costs: list[Tensor] = []
    rates, checkpoints, best = [], {}, None
    checkpoint_states, checkpoint_statistics = {}, {}
    generator, draws = torch.Generator(x.device), _draws(model, x, batch_size, sampling)
    alike = sampling.tape.is_empty and not draws  # the batches of all epochs
    steps = _Steps(made_of, x.device)
    same = list(_batches(generator, model, x, y, batch_size, 0, sampling)) if alike else None
    for epoch in range(epochs):
        if draws:
            generator = _generator(sampling.seed, first_epoch + epoch, x.device)
        for batch in _batches(generator, model, x, y, batch_size, epoch, sampling) if same is None else same:
            rate = _rate(update, first_epoch + epoch, first_step + len(costs))
            update.check_rate(rate)
            cost, norm = steps.take(batch, rate)
            costs.append(cost)
            rates.append(update.optimizer.param_groups[0]["lr"] if rate is None else rate)
            if monitor.gradient_norms:
                norms.append(norm)
        if epoch + 1 in monitor.checkpoint_epochs:
            checkpoints[epoch + 1] = _copies(model.parameter_dict())
            _, slots = optimizers.named_state(update.optimizer, parameters)
            checkpoint_states[epoch + 1] = optimizers.OptimizerState(first_step + len(costs), slots)
            checkpoint_statistics[epoch + 1] = _copies(model.statistics_dict())
        if monitor.validation is not None:
            validation_costs.append(_validation_cost(model, objective, monitor.validation))
        if early_stopping is not None:
            if early_stopping.improved(validation_costs[-1].item()) and early_stopping.restore_best:
                best = _copies(model.state_dict())
            if early_stopping.stop:
                break
    if best is not None:
        model.load_state_dict(best)
    _, slots = optimizers.named_state(update.optimizer, parameters)
    return History(
        _numpy(costs), np.array(rates), _numpy(norms), _copies(model.parameter_dict()),
        optimizers.OptimizerState(first_step + len(costs), slots), checkpoints, _numpy(validation_costs),
        early_stopping.best_epoch if early_stopping else 0, _copies(model.statistics_dict()), checkpoint_states,
        checkpoint_statistics,
    )  # fmt: skip


def augment(x: Tensor, augmentations: Iterable[Augmentation], draws: Iterable[Tensor]) -> Tensor:
    """``x: (m, ...)`` after each of ``augmentations`` in turn, with its draws for these ``m`` examples."""
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        x = augmentation.apply(x, drawn).to(x.dtype)
    return x


def _start(
    model: Model,
    optimizer: optim.Optimizer,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer_state: optimizers.OptimizerState | None,
    statistics: Mapping[str, Any] | None,
) -> int:
    """Begin afresh, or where another training ended; returns the number of steps that it took."""
    statistics = models.initial_statistics(model) if statistics is None else statistics
    model.check_statistics(statistics)
    if optimizer_state is None:
        optimizers.reset_state(optimizer)
    else:
        optimizers.load_named_state(optimizer, parameters, *step_and_slots(optimizer_state))
    model.load_statistics(statistics)
    return 0 if optimizer_state is None else int(optimizer_state.step)


def _step(training: _Training, batch: _Batch, learning_rate: float | None, *, is_whole: bool = True) -> Step:
    """:func:`train_step` of arguments that are checked; or up to the clipped gradients in ``w.grad``, no further."""
    (model, objective, _, averages), parameters, update, with_norm = training
    _forget_gradients(update.optimizer)
    data_loss, penalty, values = _data_loss_and_penalty(training.cost, batch)
    cost = data_loss + penalty if objective.penalties else data_loss
    frozen = update.frozen_layers or update.frozen_biases or batch.x.requires_grad
    cost.backward(inputs=list(parameters.values()) if frozen else None)  # to name them takes the engine longer
    if averages:
        model.update_running_averages(values)
    norm = _norm([w.grad for w in parameters.values()]) if with_norm else None
    if update.clipping is not None:
        _clip(parameters, update.clipping)
    if is_whole:
        _update(training, learning_rate)
    return Step(cost.detach(), norm)  # tensors: item() would wait for the device at every step


def _update(training: _Training, learning_rate: float | None) -> None:
    """What a step ends with: the optimizer's own, at this rate, and the constraint."""
    update = training.update
    if learning_rate is None:
        update.optimizer.step()
    else:
        with _at_rate(update.optimizer, learning_rate):
            update.optimizer.step()
    if update.constraint is not None:
        _constrain(training.parameters, update.constraint)


def _is_recordable(training: _Training) -> bool:
    """Whether the gradients are of this package's own code: what others wrote may do something else at every step."""
    (model, objective, _, _), _, update, _ = training
    modules = [type(module) for module in model.modules()]
    own = [*modules, *objective.penalties, *filter(None, (update.clipping, update.constraint))]
    package = __name__.rpartition(".")[0]
    parts = "torch.nn.modules.container", "torch.nn.modules.linear"  # of which the models of dense layers are made
    return all(part.__module__ in parts or part.__module__.rpartition(".")[0] == package for part in own)


def _forget_gradients(optimizer: optim.Optimizer) -> None:
    """As ``zero_grad``, which takes longer than a small step, for it can be profiled."""
    for group in optimizer.param_groups:
        for w in group["params"]:
            w.grad = None


@contextmanager
def _at_rate(optimizer: optim.Optimizer, learning_rate: float) -> Iterator[None]:
    """The learning rate of all groups is this; they are what they were, once this is left."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _generator(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """What an epoch draws from; its 63 bits are as good as independent of any other epoch's and seed's."""
    bits = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(bits >> 1)


def _draws(model: Model, x: Tensor, batch_size: int, sampling: Sampling) -> bool:
    """Whether an epoch draws something: an order, masks or an augmentation that does not stand on the tape."""
    tape = sampling.tape
    drawn = (
        tape.batch_order is None and batch_size < len(x),
        tape.dropout_masks is None and model.draw_masks(torch.Generator(x.device), 1),
        tape.augmentation_draws is None and sampling.augmentations,
    )
    return any(drawn)


def _data_loss_and_penalty(cost: _Cost, batch: _Batch) -> tuple[Tensor, Any, Tensors]:
    """The one place where a training cost is computed: its two parts, and the values that averages need, or logits."""
    model, objective, loss, averages = cost
    x, y, masks, example_weights = batch
    examples = x.shape[0]
    if examples == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}: must hold at least one example")
    if averages:
        values = model.layer_values(x, masks, training=True)
    else:
        values = {model.logits_name: model.forward(x, masks, training=True)}
    outputs = _outputs(model, values[model.logits_name], objective.loss)
    per_example = loss(outputs, y, example_weights, **objective.loss_options)
    weights = model.weights() if objective.penalties else []
    penalty = sum(penalty(weights, examples) for penalty in objective.penalties)
    return _reduced(objective, per_example), penalty, values


def _reduced(objective: Objective, per_example: Tensor) -> Tensor:
    """The mean of the losses, or their sum."""
    return per_example.mean() if objective.reduction == "mean" else per_example.sum()


def _outputs(model: Model, logits: Tensor, loss: str) -> Tensor:
    """What the loss takes: the logits, or ``A[L]``."""
    return logits if loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)


@torch.no_grad()
def _validation_cost(model: Model, objective: Objective, validation: tuple[Tensor, Tensor]) -> Tensor:
    x, y = validation
    outputs = _outputs(model, model(x, training=False), objective.loss)
    return _reduced(objective, losses.LOSSES[objective.loss](outputs, y, **objective.loss_options))


@torch.no_grad()
def _looked_at(model: Model, objective: Objective, y: Tensor, weights: Any) -> Tensor:
    """All targets, at which the loss looks once: no step does, which would wait for the device.

    Those of binary cross-entropy are integers then, if all are 0 or 1: the loss of such takes half of the time.
    """
    dtype = next((w.dtype for w in model.parameters()), None)
    outputs = torch.zeros(len(y), model.outputs, dtype=dtype, device=y.device)
    losses.LOSSES[objective.loss](outputs, y, weights, **objective.loss_options)
    whole = objective.loss == "binary_cross_entropy" and bool(((y == 0) | (y == 1)).all())
    return y.to(torch.uint8) if whole else y


@torch.no_grad()
def _clip(parameters: Mapping[str, Any], clipping: Callable[[Tensors], Tensors]) -> None:
    for name, gradient in clipping({name: w.grad for name, w in parameters.items()}).items():
        parameters[name].grad = gradient


@torch.no_grad()
def _constrain(parameters: Mapping[str, Any], constraint: Callable[[Tensors], Tensors]) -> None:
    for name, constrained in constraint(dict(parameters)).items():
        parameters[name].copy_(constrained)


def _batches(
    generator: torch.Generator, model: Model, x: Tensor, y: Tensor, batch_size: int, epoch: int, sampling: Sampling
) -> Iterator[_Batch]:
    """The batches of an epoch, each with its inputs augmented, and with the masks and draws of this epoch."""
    examples, tape, weights = len(x), sampling.tape, sampling.example_weights
    weights = None if weights is None else _tensor(weights, x.device)
    order = _order(generator, examples, batch_size, tape.batch_order, epoch)
    epoch_masks = _epoch_masks(generator, model, examples, tape.dropout_masks, epoch)
    draws = _epoch_draws(generator, sampling.augmentations, x.shape, tape.augmentation_draws, epoch)
    if order is not None and batch_size * x[0].nbytes % ALIGNMENT:
        x, y = _taken(x, order), _taken(y, order)
        weights, order = None if weights is None else _taken(weights, order), None
    for start in range(0, examples, batch_size):
        places = slice(start, start + batch_size)
        rows = order[places] if order is not None else None if batch_size >= examples else places
        yield _Batch(
            augment(_taken(x, rows), sampling.augmentations, [drawn[places] for drawn in draws]), _taken(y, rows),
            {layer: mask[places] for layer, mask in epoch_masks.items()},
            None if weights is None else _taken(weights, rows),
        )  # fmt: skip


def _taken(array: Tensor, rows: Tensor | slice | None) -> Tensor:
    """These rows of an array, None: all; ``index_select`` copies whole ones, and so is faster than an index."""
    if rows is None:
        return array
    return array[rows] if isinstance(rows, slice) else array.index_select(0, rows)


def _order(
    generator: torch.Generator, examples: int, batch_size: int, batch_order: Draws | None, epoch: int
) -> Tensor | None:
    if batch_order is not None:
        return _tensor(batch_order[epoch], generator.device).long()
    return None if batch_size >= examples else torch.randperm(examples, generator=generator, device=generator.device)


def _epoch_masks(
    generator: torch.Generator,
    model: Model,
    examples: int,
    dropout_masks: Mapping[Any, Draws] | None,
    epoch: int,
) -> Masks:
    if dropout_masks is not None:
        return {layer: _tensor(masks[epoch], generator.device) for layer, masks in dropout_masks.items()}
    return model.draw_masks(generator, examples)


def _epoch_draws(
    generator: torch.Generator,
    augmentations: Sequence[Augmentation],
    shape: Sequence[int],
    augmentation_draws: Sequence[Draws] | None,
    epoch: int,
) -> list[Tensor]:
    if augmentation_draws is not None:
        return [_tensor(draws[epoch], generator.device) for draws in augmentation_draws]
    return [augmentation.draw(generator, shape[0], math.prod(shape[1:])) for augmentation in augmentations]


def _rate(update: Update, epoch: int, step: int) -> float | None:
    """The learning rate of this step, None without a schedule."""
    if update.schedule is None:
        return None
    return update.schedule(epoch if update.schedule_unit == "epoch" else step)


def _tensor(array: Any, device: torch.device) -> Tensor:
    return array.to(device) if isinstance(array, Tensor) else torch.tensor(array, device=device)


def _norm(gradients: Sequence[Any]) -> Tensor:
    """Euclidean, over all parameters. ``sum`` adds in pairs; ``linalg.vector_norm`` loses digits over many elements."""
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()


def _numpy(scalars: Sequence[Tensor]) -> np.ndarray:
    return torch.stack(list(scalars)).cpu().numpy() if scalars else np.array([])


def _copies(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _check_holds_parameters(optimizer: optim.Optimizer, parameters: Iterable[Tensor]) -> None:
    """An optimizer made for another model, or before a copy, would train nothing and say nothing."""
    held = {id(w) for group in optimizer.param_groups for w in group["params"]}
    if not all(id(w) in held for w in parameters):
        raise ValueError("optimizer does not hold the model's parameters: make it from model.parameters()")
