"""A training in PyTorch."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.optim.optimizer import ParamsT

from conformance.ejecting.skeletons import reading
from impl_torch import _common, normalization, regularizers

REPLACED = {
    "optimizers._Formulation": "Formulation",
    "optimizers._OneByOne": "OneByOne",
    "optimizers._laid_out": "as_it_is",
    "_common.EarlyStopping": "EarlyStopping",
}

HIDDEN_UNITS: tuple[int, ...]
ACTIVATION: Any
ACTIVATION_OPTIONS: dict[str, Any]
BIAS: bool
NORMALIZATION: str | None
NORMALIZATION_OPTIONS: dict[str, Any]
AVERAGING_OPTIONS: dict[str, Any]
DROPS: bool
KEEP_PROBABILITIES: tuple[float, ...]
OUTPUT: Any
INITIALIZER: Any
INITIALIZER_OPTIONS: dict[str, Any]
LOSS: Any
LOSS_OPTIONS: dict[str, Any]
FROM_LOGITS: bool
REDUCTION: str
PENALTIES: int
PENALTY: Any
OPTIMIZER: Any
OPTIMIZER_OPTIONS: dict[str, Any]
LEARNING_RATE: float
SCHEDULED: bool
SCHEDULE: Any
SCHEDULE_OPTIONS: dict[str, Any]
SCHEDULE_UNIT: str
CLIPS: bool
CLIPPING: Any
CONSTRAINS: bool
CONSTRAINT: Any
AUGMENTS: bool
AUGMENTATIONS: Any
STOPS_EARLY: bool
PATIENCE: int
MIN_DELTA: float
RESTORE_BEST: bool
WEIGHTED: bool
FROZEN_LAYERS: int
FROZEN_BIASES: bool
IN_BATCHES: bool
BATCH_SIZE: int
EPOCHS: int
SEED: int
DTYPE: torch.dtype
SCALING: str

Tensors = dict[str, Tensor]


class Formulation(optim.Optimizer):
    """An optimizer by its formula; hyperparameters are in the parameter groups, the rate as ``"lr"``."""

    def __init__(self, params: ParamsT, **settings: Any) -> None:
        super().__init__(params, settings)

    def initial_slots(self, group: dict[str, Any]) -> dict[str, float]:
        """The slots of a parameter by name, and what they are filled with before the first step."""
        raise NotImplementedError

    def update_group(self, parameters: Sequence[Tensor], group: dict[str, Any]) -> None:
        """One step of all parameters of a group that have a gradient, in place."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step from the gradients in ``w.grad``."""
        for group in self.param_groups:
            parameters = [w for w in group["params"] if w.grad is not None]
            for w in parameters:
                state = self.state[w]
                if not state:
                    state["step"] = 0
                    state |= {slot: torch.full_like(w, value) for slot, value in self.initial_slots(group).items()}
                state["step"] += 1
            self.update_group(parameters, group)


class OneByOne(optim.Optimizer):
    """An optimizer by its formula for one parameter; hyperparameters are in the parameter groups, the rate as ``"lr"``.

    The step is a Python int, so that bias corrections are taken in double precision whatever the parameters' dtype.
    """

    def __init__(self, params: ParamsT, **settings: Any) -> None:
        super().__init__(params, settings)

    def initial_slots(self, group: dict[str, Any]) -> dict[str, float]:
        """The slots of a parameter by name, and what they are filled with before the first step."""
        raise NotImplementedError

    def update(self, w: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step of one parameter, in place; ``state`` holds its slots, and ``"step"`` from 1."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step from the gradients in ``w.grad``."""
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["step"] = 0
                    state |= {slot: torch.full_like(w, value) for slot, value in self.initial_slots(group).items()}
                state["step"] += 1
                g = w.grad
                if group["weight_decay"] and not group["decoupled_weight_decay"]:
                    g = g.add(w, alpha=group["weight_decay"])
                self.update(w, g, state, group)


def as_it_is(optimizer: optim.Optimizer) -> optim.Optimizer:
    """The gradients of this model are laid out as its weights are."""
    return optimizer


class EarlyStopping:
    """Decides after each epoch whether to go on: not after ``patience`` epochs without an improvement."""

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best_cost, self.best_epoch, self.epoch = float("inf"), 0, 0

    def improved(self, cost: float) -> bool:
        """Take in the validation cost of the next epoch; is it the best by more than ``min_delta``?"""
        self.epoch += 1
        if not cost < self.best_cost - self.min_delta:
            return False
        self.best_cost, self.best_epoch = cost, self.epoch
        return True

    @property
    def stop(self) -> bool:
        """Whether ``patience`` epochs have gone by since the best one."""
        return self.epoch - self.best_epoch >= self.patience


class BatchNorm(nn.Module):
    """The scale and shift of one layer, ``(n_l,)`` each, and the running averages, which inference takes."""

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_variance", torch.ones(size))

    def forward(self, z: Tensor) -> Tensor:
        """``N: (m, n)`` of ``z``, in training mode by the batch's statistics, which move the running ones."""
        mean, variance = self.running_mean, self.running_variance
        if self.training:
            mean, variance = normalization.batch_statistics(z)
            with torch.no_grad():
                running = self.running_mean, self.running_variance
                averages = normalization.running_average(running, (mean, variance), len(z), **AVERAGING_OPTIONS)
                self.running_mean, self.running_variance = averages
        return normalization.batch_norm(z, self.gamma, self.beta, mean, variance, **NORMALIZATION_OPTIONS)


class LayerNorm(nn.Module):
    """The scale and shift of one layer, ``(n_l,)`` each."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, z: Tensor) -> Tensor:
        """``N: (m, n)`` of ``z``."""
        return normalization.layer_norm(z, self.gamma, self.beta, **NORMALIZATION_OPTIONS)


class Model(nn.Module):
    """MODEL_DESCRIPTION"""

    layers: Any  # nn.ModuleList of nn.Linear
    if NORMALIZATION is not None:
        norms: Any  # nn.ModuleList of normalisations

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        sizes = (features, *HIDDEN_UNITS, outputs)
        if NORMALIZATION == "batch_norm":  # whose layers have no biases: the mean takes them away again
            self.layers = nn.ModuleList(
                nn.Linear(n_in, n_out, bias=BIAS and number > len(HIDDEN_UNITS))
                for number, (n_in, n_out) in enumerate(pairwise(sizes), start=1)
            )
            self.norms = nn.ModuleList(BatchNorm(size) for size in HIDDEN_UNITS)
        elif BIAS:
            self.layers = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes))
        else:
            self.layers = nn.ModuleList(nn.Linear(n_in, n_out, bias=False) for n_in, n_out in pairwise(sizes))
        if NORMALIZATION == "layer_norm":
            self.norms = nn.ModuleList(LayerNorm(size) for size in HIDDEN_UNITS)

    def forward(self, x: Tensor, masks: Mapping[int, Tensor] | None = None) -> Tensor:
        """Logits ``Z[L]: (m, n_L)`` of ``x: (m, n_0)``. ``masks``: dropout masks ``(m, n_l)`` by layer, or none."""
        if HIDDEN_UNITS:
            a = x
            for number, layer in enumerate(self.layers[:-1], start=1):
                z = layer(a)  # (m, n_l)
                if NORMALIZATION is not None:
                    z = self.norms[number - 1](z)
                a = ACTIVATION(z, **ACTIVATION_OPTIONS)
                if DROPS and masks is not None and number in masks:
                    a = regularizers.inverted_dropout(
                        a, masks[number], keep_probability=KEEP_PROBABILITIES[number - 1]
                    )
            return self.layers[-1](a)
        return self.layers[0](x)

    def named(self) -> dict[str, nn.Parameter]:
        """The parameters by name, ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}``."""
        named: dict[str, nn.Parameter] = {}
        for number, layer in enumerate(self.layers, start=1):
            named[f"W{number}"] = layer.weight
            if BIAS and (NORMALIZATION != "batch_norm" or layer.bias is not None):
                named[f"b{number}"] = layer.bias
            if NORMALIZATION is not None and number <= len(HIDDEN_UNITS):
                norm = self.norms[number - 1]
                named |= {f"gamma{number}": norm.gamma, f"beta{number}": norm.beta}
        return named


@torch.no_grad()
def initialize(model: Model, generator: torch.Generator) -> None:
    """Draw the weights; biases are 0."""
    for layer in model.layers:
        shape = tuple(layer.weight.shape)
        layer.weight.copy_(INITIALIZER(generator, shape, dtype=layer.weight.dtype, **INITIALIZER_OPTIONS))
        if BIAS and (NORMALIZATION != "batch_norm" or layer.bias is not None):
            layer.bias.zero_()


def data_loss(logits: Tensor, y: Tensor, example_weights: Tensor | None = None) -> Tensor:
    """The mean or the sum of the examples' losses."""
    per_example = LOSS(logits if FROM_LOGITS else OUTPUT(logits), y, example_weights, **LOSS_OPTIONS)
    return per_example.mean() if REDUCTION == "mean" else per_example.sum()


class History(NamedTuple):
    """The cost, the learning rate and the gradient's norm of every step, with validation its cost after every epoch."""

    costs: list[float]
    learning_rates: list[float]
    gradient_norms: list[float]
    if STOPS_EARLY:
        validation_costs: list[float]


penalty = PENALTY
penalties = PENALTY
clip = CLIPPING
constrain = CONSTRAINT
augmentations = AUGMENTATIONS
schedule = SCHEDULE(LEARNING_RATE, **SCHEDULE_OPTIONS)


def fit(model: Model, x: Tensor, y: Tensor, example_weights: Any = None, validation: Any = None) -> History:
    """Train ``model`` in place on ``x: (m, n_0)`` and ``y``."""
    if FROZEN_LAYERS or FROZEN_BIASES:
        parameters = trained(model)
    else:
        parameters = model.named()
    optimizer = OPTIMIZER(parameters.values(), LEARNING_RATE, **OPTIMIZER_OPTIONS)
    if STOPS_EARLY:
        stopping = EarlyStopping(PATIENCE, MIN_DELTA)
    if STOPS_EARLY and RESTORE_BEST:
        best: dict[str, Any] = {}
    history = History([], [], [], []) if STOPS_EARLY else History([], [], [])
    for epoch in range(EPOCHS):
        model.train()
        if SCHEDULED and SCHEDULE_UNIT == "epoch":
            optimizer.param_groups[0]["lr"] = schedule(epoch)
        if IN_BATCHES or DROPS or AUGMENTS:
            generator = epoch_generator(epoch)
        if IN_BATCHES:
            order = visiting_order(generator, len(x))
        if DROPS:
            masks = draw_masks(generator, len(x))
        if AUGMENTS:
            draws = [augmentation.draw(generator, len(x), x.shape[1]) for augmentation in augmentations]
        if IN_BATCHES:
            for start in range(0, len(x), BATCH_SIZE):
                visits = slice(start, start + BATCH_SIZE)
                rows = order[visits]
                batch = x[rows]
                if AUGMENTS:
                    batch = augment(batch, [drawn[visits] for drawn in draws])
                if SCHEDULED and SCHEDULE_UNIT == "step":
                    optimizer.param_groups[0]["lr"] = schedule(len(history.costs))
                history.learning_rates.append(optimizer.param_groups[0]["lr"])
                cost, norm = train_step(
                    model,
                    parameters,
                    optimizer,
                    batch,
                    y[rows],
                    example_weights=example_weights[rows] if WEIGHTED else None,
                    masks={layer: mask[visits] for layer, mask in masks.items()} if DROPS else None,
                )
                history.costs.append(cost)
                history.gradient_norms.append(norm)
        else:
            batch = augment(x, draws) if AUGMENTS else x
            if SCHEDULED and SCHEDULE_UNIT == "step":
                optimizer.param_groups[0]["lr"] = schedule(epoch)
            history.learning_rates.append(optimizer.param_groups[0]["lr"])
            cost, norm = train_step(
                model,
                parameters,
                optimizer,
                batch,
                y,
                example_weights=example_weights if WEIGHTED else None,
                masks=masks if DROPS else None,
            )
            history.costs.append(cost)
            history.gradient_norms.append(norm)
        if STOPS_EARLY:
            history.validation_costs.append(validation_cost(model, *validation))
            if RESTORE_BEST:
                if stopping.improved(history.validation_costs[-1]):
                    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            else:
                stopping.improved(history.validation_costs[-1])
            if stopping.stop:
                break
    if STOPS_EARLY and RESTORE_BEST:
        model.load_state_dict(best)
    model.eval()
    return history


def train_step(
    model: Model,
    parameters: dict[str, nn.Parameter],
    optimizer: optim.Optimizer,
    x: Tensor,
    y: Tensor,
    *,
    example_weights: Tensor | None = None,
    masks: Mapping[int, Tensor] | None = None,
) -> tuple[float, float]:
    """One step on one batch, in place. Returns its cost and the norm of its gradient."""
    optimizer.zero_grad()
    cost = data_loss(model(x, masks) if DROPS else model(x), y, example_weights)
    if PENALTIES == 1:
        cost = cost + penalty([layer.weight for layer in model.layers], len(x))
    if PENALTIES > 1:
        weights = [layer.weight for layer in model.layers]
        cost = cost + sum(term(weights, len(x)) for term in penalties)
    cost.backward()
    norm = gradient_norm(parameters.values())
    if CLIPS:
        for name, gradient in clip({name: w.grad for name, w in parameters.items()}).items():
            parameters[name].grad = gradient
    optimizer.step()
    if CONSTRAINS:
        with torch.no_grad():
            for name, constrained in constrain(parameters).items():
                parameters[name].copy_(constrained)
    return cost.item(), norm


def trained(model: Model) -> dict[str, nn.Parameter]:
    """The parameters that training changes; the others get no gradient."""
    parameters = model.named()
    for name, w in parameters.items():
        w.requires_grad_(_common.is_trained(name, FROZEN_LAYERS, FROZEN_BIASES))
    return {name: w for name, w in parameters.items() if w.requires_grad}


def augment(x: Tensor, draws: Sequence[Tensor]) -> Tensor:
    """``x: (m, n_0)`` after each augmentation in turn, with what it drew for these examples."""
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        x = augmentation.apply(x, drawn).to(x.dtype)
    return x


def epoch_generator(epoch: int) -> torch.Generator:
    """What an epoch draws from: the order of the examples, and what else is random."""
    bits = int(np.random.SeedSequence((SEED, epoch)).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(bits >> 1)


def visiting_order(generator: torch.Generator, examples: int) -> Tensor:
    """The order in which an epoch visits the examples; where they are one batch it is that of the data."""
    return torch.arange(examples) if examples <= BATCH_SIZE else torch.randperm(examples, generator=generator)


def draw_masks(generator: torch.Generator, examples: int) -> dict[int, Tensor]:
    """Which units dropout keeps for each example: by hidden layer ``(m, n_l)``, where units are dropped."""
    return {
        layer: regularizers.dropout_mask(generator, (examples, units), keep_probability=keep)
        for layer, (units, keep) in enumerate(zip(HIDDEN_UNITS, KEEP_PROBABILITIES, strict=True), start=1)
        if keep < 1
    }


def gradient_norm(parameters: Any) -> float:
    """Euclidean, over all parameters."""
    return torch.stack([w.grad.square().sum() for w in parameters]).sum().sqrt().item()


@torch.no_grad()
def validation_cost(model: Model, x: Tensor, y: Tensor) -> float:
    """The mean of the losses in inference, without penalties."""
    model.eval()
    return data_loss(model(x), y).item()


@torch.no_grad()
def predict(model: Model, x: Tensor) -> Tensor:
    """The model's outputs ``A[L]: (m, n_L)`` in inference."""
    model.eval()
    return OUTPUT(model(x))


def train(path: str, save: str | None = None) -> History:
    """Train on the arrays of a ``.npz`` file, and write the parameters into another."""
    given_x, given_y = reading.read(path, ("x", "y"))
    x_values = reading.inputs(given_x, "x")
    y_values = reading.targets(given_y, len(given_x))
    x = torch.tensor(x_values)
    if SCALING == "standardize":
        statistics = normalization.standardization_statistics(x)
        x = normalization.standardize(x, *statistics)
    x, y = x.to(DTYPE), as_targets(y_values)
    outputs = reading.outputs_for(y_values)
    model = Model(x.shape[1], outputs).to(DTYPE)
    initialize(model, torch.Generator().manual_seed(SEED))
    example_weights, validation = None, None
    if FROZEN_LAYERS:
        frozen = [name for name in model.named() if not _common.is_trained(name, FROZEN_LAYERS, False)]
        for name, values in zip(frozen, reading.read(path, frozen), strict=True):
            model.named()[name].data.copy_(torch.tensor(values))
    if WEIGHTED:
        (given_weights,) = reading.read(path, ("weights",))
        example_weights = torch.tensor(reading.weights(given_weights, len(x)))
    if STOPS_EARLY:
        validation_x, validation_y = reading.read(path, ("validation_x", "validation_y"))
        held_out = torch.tensor(reading.inputs(validation_x, "validation_x"))
        if SCALING == "standardize":
            held_out = normalization.standardize(held_out, *statistics)
        validation = held_out.to(DTYPE), as_targets(reading.targets(validation_y, len(validation_x), outputs))
    history = fit(model, x, y, example_weights=example_weights, validation=validation)
    print(f"cost {history.costs[0]:.6g} -> {history.costs[-1]:.6g} in {len(history.costs)} steps")
    if save:
        np.savez(save, **{name: w.detach().numpy() for name, w in model.named().items()})
    return history


def as_targets(y: np.ndarray) -> Tensor:
    """Labels as integers, numbers in the working precision."""
    return torch.tensor(y) if y.dtype.kind == "i" else torch.tensor(y, dtype=DTYPE)


def main() -> None:
    """Train on the arrays of a file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", help="ARRAYS_HELP")
    parser.add_argument("--save", metavar="FILE", help="write the trained parameters into a .npz file")
    arguments = parser.parse_args()
    try:
        train(arguments.data, arguments.save)
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
