"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch

from . import activations, losses, regularizers


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``, each a scalar tensor."""

    cost: torch.Tensor
    data_loss: torch.Tensor
    penalty: torch.Tensor
    gradients: dict


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all trained parameters, before clipping) have shape ``(steps,)``; ``checkpoints`` maps an epoch's number to the
    parameters at its end; ``optimizer_state`` is a copy of the optimizer's ``state_dict()``. ``validation_costs``:
    ``(epochs,)``, empty without validation; ``best_epoch`` counts from 1 (0 without early stopping); ``statistics`` are
    copies of batch norm's running averages.
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


class _Visits(NamedTuple):
    """Examples in the order of their visits, with all that belongs to each."""

    x: torch.Tensor
    y: torch.Tensor
    example_weights: object
    masks: dict
    draws: list

    def batches(self, size):
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
    """Cost of one batch in training and its gradients, ``{"W1": ...}``, with ``"A0"`` (``d cost / d x``) if asked.

    ``x``: ``(m, n_0)``; ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its
    keywords; ``penalties``: of ``regularizers``; ``masks``: dropout masks by layer, None for no dropout;
    ``example_weights``: ``(m,)``. Batch norm takes the statistics of the batch, and its running ones stay as they are.
    Returns :class:`Gradients`; the parameters' ``.grad`` stays too. Raises ValueError for an unknown loss, an empty
    batch, or shapes that do not fit.
    """
    variables = model.parameter_dict()
    if input_gradient:
        x = variables["A0"] = x.detach().requires_grad_()
    data_loss, penalty, _ = _data_loss_and_penalty(
        model, x, y, loss, loss_options or {}, penalties, masks, example_weights
    )
    cost = data_loss + penalty
    gradients = torch.autograd.grad(cost, list(variables.values()))
    penalty = torch.as_tensor(penalty, dtype=cost.dtype, device=cost.device)
    return Gradients(cost.detach(), data_loss.detach(), penalty.detach(), dict(zip(variables, gradients, strict=True)))


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

    ``optimizer`` holds the model's trained parameters and goes on from the state that it has, batch norm's running
    averages from the model's. Each epoch visits the examples in batches of ``batch_size`` (None: all at once); the last
    batch of an epoch holds what is left. ``schedule`` gives the learning rate by epoch or by step (``schedule_unit``),
    both counted from 0 here, and overwrites ``"lr"``; None keeps the optimizer's. A step is: augment the batch's
    inputs, take gradients (penalties included) but for the first ``frozen_layers`` layers, clip them (``clipping``),
    let the optimizer step, constrain the parameters (``constraint``); the last two are made in ``regularizers``.

    The order of the examples is drawn anew each epoch from ``seed``, or is row ``e`` of ``batch_order: (epochs, m)``; a
    full batch keeps the order of ``x``. Dropout masks are drawn likewise, or taken from ``dropout_masks``: by layer
    ``(epochs, m, n_l)``, where row ``k`` belongs to the ``k``-th example visited; and ``augmentation_draws`` are one
    array ``(epochs, m, ...)``, of the same order, for each of ``augmentations``. All of them may be NumPy arrays.
    ``example_weights: (m,)`` go with ``x``. ``x`` and ``y`` are tensors on the model's device, where the draws are made
    too.

    ``validation=(x, y)`` gives a cost (without penalties, in inference mode) after every epoch; ``early_stopping`` (of
    ``regularizers``) listens to it: a fresh one for every training. ``checkpoint_epochs`` are the epochs (from 1) after
    which parameters are kept. Raises ValueError for arguments that do not fit.
    """
    _check_fit(model, x, y, schedule_unit, epochs, batch_size, frozen_layers, validation, early_stopping)
    parameters = model.parameter_dict(frozen_layers)
    _check_holds_parameters(optimizer, parameters.values())
    batch_size, loss_options = batch_size or len(x), loss_options or {}
    generator = torch.Generator(x.device).manual_seed(seed)
    costs, rates, norms, validation_costs, checkpoints, best = [], [], [], [], {}, None
    for epoch in range(epochs):
        visits = _visits(
            generator, model, x, y, example_weights, batch_size, epoch, batch_order, dropout_masks, augmentations,
            augmentation_draws,
        )  # fmt: skip
        for batch in visits.batches(batch_size):
            rates.append(_set_rate(optimizer, schedule, epoch if schedule_unit == "epoch" else len(costs)))
            optimizer.zero_grad()
            data_loss, penalty, values = _data_loss_and_penalty(
                model, augment(batch.x, augmentations, batch.draws), batch.y, loss, loss_options, penalties,
                batch.masks, batch.example_weights,
            )  # fmt: skip
            cost = data_loss + penalty
            cost.backward(inputs=list(parameters.values()))
            model.update_running_averages(values)
            costs.append(cost.detach())  # a tensor: item() would wait for the device at every step
            norms.append(_norm([w.grad for w in parameters.values()]))
            _step(optimizer, parameters, clipping, constraint)
        if epoch + 1 in checkpoint_epochs:
            checkpoints[epoch + 1] = _copies(model.parameter_dict())
        if validation is not None:
            validation_costs.append(_validation_cost(model, validation, loss, loss_options))
        if early_stopping is not None:
            if early_stopping.improved(validation_costs[-1].item()) and early_stopping.restore_best:
                best = _copies(model.state_dict())
            if early_stopping.stop:
                break
    if best is not None:
        model.load_state_dict(best)
    return History(
        _numpy(costs),
        np.array(rates),
        _numpy(norms),
        _copies(model.parameter_dict()),
        copy.deepcopy(optimizer.state_dict()),
        checkpoints,
        _numpy(validation_costs),
        early_stopping.best_epoch if early_stopping else 0,
        _copies(model.statistics_dict()),
    )


def augment(x, augmentations, draws):
    """``x: (m, n_0)`` after each of ``augmentations`` in turn, with its draws for these ``m`` examples."""
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        x = augmentation.apply(x, drawn).to(x.dtype)
    return x


def _data_loss_and_penalty(model, x, y, loss, loss_options, penalties, masks, example_weights):
    """The one place where a training cost is computed: its two parts, and the values of the layers."""
    if len(x) == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}: must hold at least one example")
    values = model.layer_values(x, masks, training=True)
    outputs = _outputs(model, values[f"Z{model.depth}"], loss)
    data_loss = losses.LOSSES[loss](outputs, y, example_weights, **loss_options).mean()
    weights = [layer.weight for layer in model.layers]
    return data_loss, sum(penalty(weights, len(x)) for penalty in penalties), values


def _outputs(model, logits, loss):
    """What the loss takes: the logits, or ``A[L]``."""
    if loss not in losses.LOSSES:
        raise ValueError(f"loss={loss!r} is not allowed: must be one of {', '.join(map(repr, losses.LOSSES))}")
    return logits if loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)


@torch.no_grad()
def _validation_cost(model, validation, loss, loss_options):
    x, y = validation
    return losses.LOSSES[loss](_outputs(model, model(x), loss), y, **loss_options).mean()


@torch.no_grad()
def _step(optimizer, parameters, clipping, constraint):
    """Clip the gradients, let the optimizer step, constrain the parameters."""
    if clipping is not None:
        for name, gradient in clipping({name: w.grad for name, w in parameters.items()}).items():
            parameters[name].grad = gradient
    optimizer.step()
    if constraint is not None:
        for name, constrained in constraint(parameters).items():
            parameters[name].copy_(constrained)


def _visits(
    generator, model, x, y, example_weights, batch_size, epoch, batch_order, dropout_masks, augmentations, draws
):
    """One epoch's examples, in their order, with the masks and draws of this epoch."""
    weights = None if example_weights is None else _tensor(example_weights, x.device)
    order = _order(generator, len(x), batch_size, batch_order, epoch)
    masks = _epoch_masks(generator, model, len(x), dropout_masks, epoch)
    draws = _epoch_draws(generator, augmentations, x.shape, draws, epoch)
    if order is not None:
        x, y, weights = x[order], y[order], None if weights is None else weights[order]
    return _Visits(x, y, weights, masks, draws)


def _order(generator, examples, batch_size, batch_order, epoch):
    if batch_order is not None:
        return _tensor(batch_order[epoch], generator.device).long()
    return None if batch_size >= examples else torch.randperm(examples, generator=generator, device=generator.device)


def _epoch_masks(generator, model, examples, dropout_masks, epoch):
    if dropout_masks is not None:
        return {layer: _tensor(masks[epoch], generator.device) for layer, masks in dropout_masks.items()}
    return {
        layer: regularizers.dropout_mask(generator, (examples, model.layer_sizes[layer]), keep_probability=keep)
        for layer, keep in enumerate(model.keep_probabilities, start=1)
        if keep < 1
    }


def _epoch_draws(generator, augmentations, shape, augmentation_draws, epoch):
    if augmentation_draws is not None:
        return [_tensor(draws[epoch], generator.device) for draws in augmentation_draws]
    return [augmentation.draw(generator, *shape) for augmentation in augmentations]


def _set_rate(optimizer, schedule, t):
    """The learning rate of this step, written into every parameter group if there is a schedule."""
    if schedule is not None:
        for group in optimizer.param_groups:
            group["lr"] = schedule(t)
    return optimizer.param_groups[0]["lr"]


def _tensor(array, device):
    return array.to(device) if isinstance(array, torch.Tensor) else torch.tensor(array, device=device)


def _norm(gradients):
    """Euclidean, over all parameters. ``sum`` adds in pairs; ``linalg.vector_norm`` loses digits over many elements."""
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()


def _numpy(scalars):
    return torch.stack(scalars).cpu().numpy() if scalars else np.array([])


def _copies(tensors):
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _check_fit(model, x, y, schedule_unit, epochs, batch_size, frozen_layers, validation, early_stopping):
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"x has {len(x)} examples, y {len(y)}: must be the same number, at least one")
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


def _check_holds_parameters(optimizer, parameters):
    """An optimizer made for another model, or before a copy, would train nothing and say nothing."""
    held = {id(w) for group in optimizer.param_groups for w in group["params"]}
    if not all(id(w) in held for w in parameters):
        raise ValueError("optimizer does not hold the model's parameters: make it from model.parameters()")
