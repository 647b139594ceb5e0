"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``, or with ``reduction="sum"`` the sum for
the mean.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, optim

from . import activations, losses, models, optimizers
from ._common import EarlyStopping, check_choice, check_trained, check_training
from .models import Masks, Model, Options, Tensors
from .regularizers import Augmentation, Change, Penalty
from .schedules import Schedule

Draws = Sequence[Any]  # arrays of NumPy's or tensors


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``, each a scalar tensor."""

    cost: Tensor
    data_loss: Tensor
    penalty: Tensor
    gradients: Tensors


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all trained parameters, before clipping) have shape ``(steps,)``; ``checkpoints`` maps an epoch's number to the
    parameters at its end; ``optimizer_state`` is a copy of the optimizer's, by the names of the trained parameters.
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


class _Objective(NamedTuple):
    """What a cost is made of: keywords of :func:`fit`."""

    loss: str
    loss_options: Options
    reduction: str
    penalties: Sequence[Penalty]

    def reduced(self, per_example: Tensor) -> Tensor:
        """The mean of the losses, or their sum."""
        return per_example.mean() if self.reduction == "mean" else per_example.sum()


class _Visits(NamedTuple):
    """Examples in the order of their visits, with all that belongs to each."""

    x: Tensor
    y: Tensor
    example_weights: Tensor | None
    masks: Masks
    draws: list[Tensor]

    def batches(self, size: int) -> Iterator["_Visits"]:
        """The same of each batch in turn."""
        for start in range(0, len(self.x), size):
            rows = slice(start, start + size)
            yield _Visits(
                self.x[rows],
                self.y[rows],
                None if self.example_weights is None else self.example_weights[rows],
                {layer: mask[rows] for layer, mask in self.masks.items()},
                [drawn[rows] for drawn in self.draws],
            )


def loss_and_gradients(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    loss: str,
    loss_options: Options | None = None,
    reduction: str = "mean",
    penalties: Sequence[Penalty] = (),
    masks: Masks | None = None,
    example_weights: Tensor | None = None,
    input_gradient: bool = False,
) -> Gradients:
    """Cost of one batch in training and its gradients, ``{"W1": ...}``, with ``"A0"`` (``d cost / d x``) if asked.

    ``x``: ``(m, n_0)``, or ``(m, *input_shape)`` for a network of layers, whose gradients are by path, ``{"1.W": ...}``
    (integers have none); ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its
    keywords; ``reduction``: ``"mean"`` or ``"sum"`` of the examples' losses; ``penalties``: of ``regularizers``;
    ``masks``: dropout masks by layer or path, None for no dropout; ``example_weights``: ``(m,)``. Batch norm takes the
    statistics of the batch, and its running ones stay as they are; the module's mode does not matter. Returns
    :class:`Gradients`; the parameters' ``.grad`` stays too. Raises ValueError for an unknown loss or reduction, an
    empty batch, or shapes that do not fit.
    """
    check_choice("reduction", reduction, ("mean", "sum"))
    objective = _Objective(loss, loss_options or {}, reduction, penalties)
    variables: Tensors = dict(model.parameter_dict())
    if input_gradient and x.is_floating_point():
        x = variables["A0"] = x.detach().requires_grad_()
    data_loss, penalty, _ = _data_loss_and_penalty(model, objective, x, y, masks, example_weights)
    cost = data_loss + penalty
    gradients = torch.autograd.grad(cost, list(variables.values()))
    penalty = torch.as_tensor(penalty, dtype=cost.dtype, device=cost.device)
    return Gradients(cost.detach(), data_loss.detach(), penalty.detach(), dict(zip(variables, gradients, strict=True)))


def fit(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    loss: str,
    optimizer: optim.Optimizer,
    loss_options: Options | None = None,
    reduction: str = "mean",
    penalties: Sequence[Penalty] = (),
    clipping: Change | None = None,
    constraint: Change | None = None,
    frozen_layers: int = 0,
    frozen_biases: bool = False,
    optimizer_state: optimizers.OptimizerState | None = None,
    statistics: Mapping[str, Any] | None = None,
    schedule: Schedule | None = None,
    schedule_unit: str = "epoch",
    epochs: int = 10,
    batch_size: int | None = None,
    seed: int = 0,
    batch_order: Draws | None = None,
    dropout_masks: Mapping[Any, Draws] | None = None,
    augmentations: Sequence[Augmentation] = (),
    augmentation_draws: Sequence[Draws] | None = None,
    example_weights: Any = None,
    validation: tuple[Tensor, Tensor] | None = None,
    early_stopping: EarlyStopping | None = None,
    checkpoint_epochs: Collection[int] = (),
) -> History:
    """Train ``model`` in place for ``epochs`` passes over ``x: (m, n_0)``, ``y``; returns a :class:`History`.

    A network of layers takes ``x: (m, *input_shape)``, floats or integers. The module's mode does not matter, and
    stays. ``optimizer`` holds the model's trained parameters. Each epoch visits the examples in batches of
    ``batch_size`` (None: all at once); the last batch of an epoch holds what is left. ``schedule`` gives the learning
    rate by epoch or by step (``schedule_unit``), both counted from 0, and overwrites ``"lr"`` until the training has
    ended; None keeps the optimizer's. A step is: augment the batch's inputs, take gradients (penalties included) but
    for the first ``frozen_layers`` layers and, with ``frozen_biases``, every bias, clip them (``clipping``), let the
    optimizer step, constrain the parameters (``constraint``); the last two are made in ``regularizers``. ``reduction``
    is that of :func:`loss_and_gradients`, for the validation cost too.

    Every training starts afresh: what the optimizer remembers is cleared and batch norm's running averages are reset.
    Or it goes on exactly where an earlier one was, with its history's ``optimizer_state`` and ``statistics`` and the
    parameters it ended with. Steps are then counted on from ``optimizer_state.step``, for the optimizer and a schedule
    by step, and epochs from ``optimizer_state.step // steps_per_epoch``, for a schedule by epoch and what is drawn from
    ``seed``; all else counts within this call.

    The order of the examples is drawn anew each epoch from ``(seed, epoch)``, or is row ``e`` of ``batch_order:
    (epochs, m)``; a full batch keeps the order of ``x``. Dropout masks are drawn likewise, or taken from
    ``dropout_masks``: by layer ``(epochs, m, n_l)`` or by path, ``{"3.mask": (epochs, m, ...)}``, where row ``k``
    belongs to the ``k``-th example visited; and ``augmentation_draws`` are one array ``(epochs, m, ...)``, of the same
    order, for each of ``augmentations``. All of them may be NumPy arrays. ``example_weights: (m,)`` go with ``x``.
    ``x`` and ``y`` are tensors on the model's device, where the draws are made too.

    ``validation=(x, y)`` gives a cost (without penalties, in inference mode) after every epoch; ``early_stopping`` (of
    ``regularizers``) listens to it: a fresh one for every training. ``checkpoint_epochs`` are the epochs (from 1) after
    which parameters are kept. Raises ValueError for arguments that do not fit, an ``optimizer_state`` or ``statistics``
    of another training among them.
    """
    check_training(
        inputs=len(x), targets=len(y), depth=model.depth, reduction=reduction, schedule_unit=schedule_unit,
        epochs=epochs, batch_size=batch_size, frozen_layers=frozen_layers, frozen_biases=frozen_biases,
        stops_early=early_stopping is not None, validates=validation is not None,
    )  # fmt: skip
    objective = _Objective(loss, loss_options or {}, reduction, penalties)
    parameters = model.parameter_dict(frozen_layers, frozen_biases)
    check_trained(parameters, frozen_layers)
    _check_holds_parameters(optimizer, parameters.values())
    first_step = _start(model, optimizer, parameters, optimizer_state, statistics)
    batch_size = batch_size or len(x)
    first_epoch = first_step // math.ceil(len(x) / batch_size)
    costs: list[Tensor] = []
    norms: list[Tensor] = []
    validation_costs: list[Tensor] = []
    rates, checkpoints, best = [], {}, None
    checkpoint_states, checkpoint_statistics = {}, {}
    with _rates_left_as_found(optimizer):
        for epoch in range(epochs):
            generator = _generator(seed, first_epoch + epoch, x.device)
            visits = _visits(
                generator, model, x, y, example_weights, batch_size, epoch, batch_order, dropout_masks, augmentations,
                augmentation_draws,
            )  # fmt: skip
            for batch in visits.batches(batch_size):
                t = first_epoch + epoch if schedule_unit == "epoch" else first_step + len(costs)
                rates.append(_set_rate(optimizer, schedule, t))
                optimizer.zero_grad()
                data_loss, penalty, values = _data_loss_and_penalty(
                    model, objective, augment(batch.x, augmentations, batch.draws), batch.y, batch.masks,
                    batch.example_weights,
                )  # fmt: skip
                cost = data_loss + penalty
                cost.backward(inputs=list(parameters.values()))
                model.update_running_averages(values)
                costs.append(cost.detach())  # a tensor: item() would wait for the device at every step
                norms.append(_norm([w.grad for w in parameters.values()]))
                _step(optimizer, parameters, clipping, constraint)
            if epoch + 1 in checkpoint_epochs:
                checkpoints[epoch + 1] = _copies(model.parameter_dict())
                _, slots = optimizers.named_state(optimizer, parameters)
                checkpoint_states[epoch + 1] = optimizers.OptimizerState(first_step + len(costs), slots)
                checkpoint_statistics[epoch + 1] = _copies(model.statistics_dict())
            if validation is not None:
                validation_costs.append(_validation_cost(model, objective, validation))
            if early_stopping is not None:
                if early_stopping.improved(validation_costs[-1].item()) and early_stopping.restore_best:
                    best = _copies(model.state_dict())
                if early_stopping.stop:
                    break
    if best is not None:
        model.load_state_dict(best)
    _, slots = optimizers.named_state(optimizer, parameters)
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
        optimizers.load_named_state(optimizer, parameters, optimizer_state.step, optimizer_state.slots)
    model.load_statistics(statistics)
    return 0 if optimizer_state is None else int(optimizer_state.step)


@contextmanager
def _rates_left_as_found(optimizer: optim.Optimizer) -> Iterator[None]:
    """The learning rates of all groups are what they were, once this is left."""
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _generator(seed: int, epoch: int, device: torch.device) -> torch.Generator:
    """What an epoch draws from; its 63 bits are as good as independent of any other epoch's and seed's."""
    bits = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(bits >> 1)


def _data_loss_and_penalty(
    model: Model,
    objective: _Objective,
    x: Tensor,
    y: Tensor,
    masks: Masks | None,
    example_weights: Tensor | None,
) -> tuple[Tensor, Any, Tensors]:
    """The one place where a training cost is computed: its two parts, and the values of the layers."""
    if len(x) == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}: must hold at least one example")
    values = model.layer_values(x, masks, training=True)
    outputs = _outputs(model, values[model.logits_name], objective.loss)
    per_example = losses.LOSSES[objective.loss](outputs, y, example_weights, **objective.loss_options)
    weights = model.weights() if objective.penalties else []
    penalty = sum(penalty(weights, len(x)) for penalty in objective.penalties)
    return objective.reduced(per_example), penalty, values


def _outputs(model: Model, logits: Tensor, loss: str) -> Tensor:
    """What the loss takes: the logits, or ``A[L]``."""
    check_choice("loss", loss, losses.LOSSES)
    return logits if loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)


@torch.no_grad()
def _validation_cost(model: Model, objective: _Objective, validation: tuple[Tensor, Tensor]) -> Tensor:
    x, y = validation
    outputs = _outputs(model, model(x, training=False), objective.loss)
    return objective.reduced(losses.LOSSES[objective.loss](outputs, y, **objective.loss_options))


@torch.no_grad()
def _step(
    optimizer: optim.Optimizer, parameters: Mapping[str, Any], clipping: Change | None, constraint: Change | None
) -> None:
    """Clip the gradients, let the optimizer step, constrain the parameters."""
    if clipping is not None:
        for name, gradient in clipping({name: w.grad for name, w in parameters.items()}).items():
            parameters[name].grad = gradient
    optimizer.step()
    if constraint is not None:
        for name, constrained in constraint(parameters).items():
            parameters[name].copy_(constrained)


def _visits(
    generator: torch.Generator,
    model: Model,
    x: Tensor,
    y: Tensor,
    example_weights: Any,
    batch_size: int,
    epoch: int,
    batch_order: Draws | None,
    dropout_masks: Mapping[Any, Draws] | None,
    augmentations: Sequence[Augmentation],
    augmentation_draws: Sequence[Draws] | None,
) -> _Visits:
    """One epoch's examples, in their order, with the masks and draws of this epoch."""
    weights = None if example_weights is None else _tensor(example_weights, x.device)
    order = _order(generator, len(x), batch_size, batch_order, epoch)
    masks = _epoch_masks(generator, model, len(x), dropout_masks, epoch)
    draws = _epoch_draws(generator, augmentations, x.shape, augmentation_draws, epoch)
    if order is not None:
        x, y, weights = x[order], y[order], None if weights is None else weights[order]
    return _Visits(x, y, weights, masks, draws)


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


def _set_rate(optimizer: optim.Optimizer, schedule: Schedule | None, t: int) -> float:
    """The learning rate of this step, written into every parameter group if there is a schedule."""
    if schedule is not None:
        for group in optimizer.param_groups:
            group["lr"] = schedule(t)
    return optimizer.param_groups[0]["lr"]


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
