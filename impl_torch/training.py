"""Costs with their gradients, and training.

The cost of a batch of ``m`` examples is ``1/m sum_i loss_i + penalties(W)``.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch

from . import losses, regularizers


class Gradients(NamedTuple):
    """What :func:`loss_and_gradients` returns; ``cost = data_loss + penalty``, each a scalar tensor."""

    cost: torch.Tensor
    data_loss: torch.Tensor
    penalty: torch.Tensor
    gradients: dict


class History(NamedTuple):
    """What :func:`fit` returns: one value a step, and what training ended with.

    ``costs`` (penalties included, before the step's update), ``learning_rates`` and ``gradient_norms`` (Euclidean,
    over all parameters) have shape ``(steps,)``; ``checkpoints`` maps an epoch's number to the parameters at its end;
    ``optimizer_state`` is a copy of the optimizer's ``state_dict()``.
    """

    costs: np.ndarray
    learning_rates: np.ndarray
    gradient_norms: np.ndarray
    parameters: dict
    optimizer_state: object
    checkpoints: dict


def loss_and_gradients(model, x, y, *, loss, loss_options=None, penalties=(), masks=None, input_gradient=False):
    """Cost of one batch and its gradients, ``{"W1": ...}``, with ``"A0"`` (``d cost / d x``) if ``input_gradient``.

    ``x``: ``(m, n_0)``; ``y``: the loss's targets; ``loss``: a name in ``losses.LOSSES``, ``loss_options`` its
    keywords; ``penalties``: of ``regularizers``; ``masks``: dropout masks by layer, None for no dropout. Returns
    :class:`Gradients`; the parameters' ``.grad`` stays as it is. Raises ValueError for an unknown loss, an empty
    batch, or shapes that do not fit.
    """
    variables = model.parameter_dict()
    if input_gradient:
        x = variables["A0"] = x.detach().requires_grad_()
    data_loss, penalty = _data_loss_and_penalty(model, x, y, loss, loss_options or {}, penalties, masks)
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

    ``optimizer`` holds the model's parameters and goes on from the state that it has. Each epoch visits the examples
    in batches of ``batch_size`` (None: all at once); the last batch of an epoch holds what is left. ``schedule``
    gives the learning rate by epoch or by step (``schedule_unit``), both counted from 0 here, and overwrites
    ``"lr"``; None keeps the optimizer's. The order of the examples is drawn anew each epoch from ``seed``, or is row
    ``e`` of ``batch_order: (epochs, m)``; a full batch keeps the order of ``x``. Dropout masks are drawn likewise, or
    taken from ``dropout_masks``: by layer ``(epochs, m, n_l)``, where row ``k`` belongs to the ``k``-th example
    visited; both may be NumPy arrays. ``checkpoint_epochs`` are the epochs (from 1) after which parameters are kept.
    ``x`` and ``y`` are tensors on the model's device, where the draws are made too. Raises ValueError for arguments
    that do not fit.
    """
    _check_fit(x, y, schedule_unit, epochs, batch_size)
    _check_holds_parameters(optimizer, model)
    examples, parameters = len(x), list(model.parameters())
    batch_size = batch_size or examples
    generator = torch.Generator(parameters[0].device).manual_seed(seed)
    costs, rates, norms, checkpoints = [], [], [], {}
    for epoch in range(epochs):
        order = _order(generator, examples, batch_size, batch_order, epoch)
        epoch_masks = _epoch_masks(generator, model, examples, dropout_masks, epoch)
        for x_batch, y_batch, masks in _batches(x, y, order, epoch_masks, batch_size):
            rates.append(_set_rate(optimizer, schedule, epoch if schedule_unit == "epoch" else len(costs)))
            optimizer.zero_grad()
            data_loss, penalty = _data_loss_and_penalty(
                model, x_batch, y_batch, loss, loss_options or {}, penalties, masks
            )
            cost = data_loss + penalty
            cost.backward()
            costs.append(cost.detach())  # a tensor: item() would wait for the device at every step
            norms.append(_norm([w.grad for w in parameters]))
            optimizer.step()
        if epoch + 1 in checkpoint_epochs:
            checkpoints[epoch + 1] = _copies(model)
    return History(
        _numpy(costs),
        np.array(rates),
        _numpy(norms),
        _copies(model),
        copy.deepcopy(optimizer.state_dict()),
        checkpoints,
    )


def _data_loss_and_penalty(model, x, y, loss, loss_options, penalties, masks):
    """The one place where a cost is computed, in its two parts."""
    if loss not in losses.LOSSES:
        raise ValueError(f"loss={loss!r} is not allowed: must be one of {', '.join(map(repr, losses.LOSSES))}")
    if len(x) == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}: must hold at least one example")
    data_loss = losses.LOSSES[loss](model(x, masks), y, **loss_options).mean()
    weights = [layer.weight for layer in model.layers]
    return data_loss, sum(penalty(weights, len(x)) for penalty in penalties)


def _batches(x, y, order, epoch_masks, batch_size):
    """``(x, y, masks)`` of each batch of one epoch, in the order of the visits."""
    if order is not None:
        x, y = x[order], y[order]
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        yield x[rows], y[rows], {layer: mask[rows] for layer, mask in epoch_masks.items()}


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
    return torch.stack(scalars).cpu().numpy()


def _copies(model):
    return {name: w.detach().clone() for name, w in model.parameter_dict().items()}


def _check_fit(x, y, schedule_unit, epochs, batch_size):
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"x has {len(x)} examples, y {len(y)}: must be the same number, at least one")
    if schedule_unit not in ("epoch", "step"):
        raise ValueError(f"schedule_unit={schedule_unit!r} is not allowed: must be 'epoch' or 'step'")
    if not epochs >= 1:
        raise ValueError(f"epochs={epochs!r} is not allowed: must be an integer >= 1")
    if batch_size is not None and not batch_size >= 1:
        raise ValueError(f"batch_size={batch_size!r} is not allowed: must be None or an integer >= 1")


def _check_holds_parameters(optimizer, model):
    """An optimizer made for another model, or before a copy, would train nothing and say nothing."""
    held = {id(w) for group in optimizer.param_groups for w in group["params"]}
    if not all(id(w) in held for w in model.parameters()):
        raise ValueError("optimizer does not hold the model's parameters: make it from model.parameters()")
