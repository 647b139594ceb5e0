"""A training in NumPy, with the derivatives written by hand."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.ejecting.skeletons import reading
from reference_numpy import _common, activations, arithmetic, losses, normalization, regularizers

REPLACED = {
    "arithmetic.total": "total",
    "arithmetic.product": "product",
    "arithmetic.one_minus_power": "one_minus_power",
    "arithmetic.library_function": "",
    "optimizers.Optimizer": "Optimizer",
}

HIDDEN_UNITS: tuple[int, ...]
ACTIVATION: Any
ACTIVATION_NAME: str
ACTIVATION_OPTIONS: dict[str, Any]
BIAS: bool
NORMALIZATION: str | None
NORMALIZATION_OPTIONS: dict[str, Any]
AVERAGING_OPTIONS: dict[str, Any]
DROPS: bool
KEEP_PROBABILITIES: tuple[float, ...]
OUTPUT: Any
OUTPUT_NAME: str
INITIALIZER: Any
INITIALIZER_OPTIONS: dict[str, Any]
LOSS: Any
LOSS_NAME: str
LOSS_OPTIONS: dict[str, Any]
FROM_LOGITS: bool
REDUCTION: str
PENALTIES: int
PENALTY: Any
OPTIMIZER: Any
OPTIMIZER_OPTIONS: dict[str, Any]
ELEMENTWISE: bool
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
DTYPE: Any
SCALING: str

Array = NDArray[Any]
Tensors = dict[str, Array]
Masks = Mapping[int, Array]


def total(values: Array, *, axis: int | None = None) -> Any:
    """The sum of all elements, a scalar, or of those along ``axis``, which is kept with size 1."""
    return values.sum(axis=axis, keepdims=axis is not None)


def product(a: Array, b: Array) -> Array:
    """The matrix product ``a b`` of the last two axes."""
    return np.matmul(a, b)


def one_minus_power(beta: float, t: int) -> float:
    """``1 - beta^t`` without the cancellation: the subtraction loses three digits at ``beta = 0.999, t = 1``."""
    return -math.expm1(t * math.log(beta)) if beta > 0 else 1.0


class Optimizer(NamedTuple):
    """An optimizer: its learning rate, the initial value of each slot, and the formula on one array, in place."""

    learning_rate: float
    initial_slots: Mapping[str, float]
    update_array: Callable[[Array, Array, dict[str, Array], int, float], None]
    elementwise: bool = True


class EarlyStopping:
    """Decides after each epoch whether to go on: not after ``patience`` epochs without an improvement."""

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best_cost, self.best_epoch, self.epoch = math.inf, 0, 0

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


DEPTH = len(HIDDEN_UNITS) + 1  # layers with weights, L


def initialize(features: int, outputs: int, generator: np.random.Generator) -> Tensors:
    """Initial parameters ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}``: weights are drawn, biases are 0."""
    parameters: Tensors = {}
    for layer, (n_in, n_out) in enumerate(pairwise((features, *HIDDEN_UNITS, outputs)), start=1):
        parameters[f"W{layer}"] = INITIALIZER(generator, (n_out, n_in), dtype=DTYPE, **INITIALIZER_OPTIONS)
        if NORMALIZATION == "batch_norm":  # which takes a bias away again
            if BIAS and layer == DEPTH:
                parameters[f"b{layer}"] = np.zeros(n_out, DTYPE)
        elif BIAS:
            parameters[f"b{layer}"] = np.zeros(n_out, DTYPE)
        if NORMALIZATION is not None and layer < DEPTH:
            parameters |= {f"gamma{layer}": np.ones(n_out, DTYPE), f"beta{layer}": np.zeros(n_out, DTYPE)}
    return parameters


def initial_statistics() -> Tensors:
    """Batch norm's running averages before training: means 0 and variances 1."""
    statistics: Tensors = {}
    for layer, units in enumerate(HIDDEN_UNITS, start=1):
        statistics |= {f"running_mean{layer}": np.zeros(units, DTYPE), f"running_variance{layer}": np.ones(units, DTYPE)}
    return statistics


def forward(
    parameters: Tensors, x: Array, masks: Masks | None = None, statistics: Tensors | None = None
) -> tuple[Array, Tensors]:
    """MODEL_DESCRIPTION

    Returns the logits ``Z[L]: (m, n_L)`` of ``x: (m, n_0)``, and the values of every layer by name. ``masks``: dropout
    masks ``(m, n_l)`` by layer, or none. ``statistics``: batch norm's running averages, None in training.
    """
    values = {"A0": x}
    for layer in range(1, DEPTH + 1):
        z = np.matmul(values[f"A{layer - 1}"], parameters[f"W{layer}"].T)  # (m, n_l)
        if NORMALIZATION == "batch_norm":
            if f"b{layer}" in parameters:
                z += parameters[f"b{layer}"]
        elif BIAS:
            z += parameters[f"b{layer}"]
        values[f"Z{layer}"] = z
        if layer < DEPTH:
            if NORMALIZATION == "layer_norm":
                z = normalization.layer_norm(
                    z, parameters[f"gamma{layer}"], parameters[f"beta{layer}"], **NORMALIZATION_OPTIONS
                )
                values[f"N{layer}"] = z
            if NORMALIZATION == "batch_norm":
                z = batch_normalized(layer, parameters, values, statistics)
                values[f"N{layer}"] = z
            a = ACTIVATION(z, **ACTIVATION_OPTIONS)
            if DROPS:
                values[f"F{layer}"] = a  # before dropout: the backward pass needs it
                if masks is not None and layer in masks:
                    keep_probability = KEEP_PROBABILITIES[layer - 1]
                    a = regularizers.inverted_dropout(a, masks[layer], keep_probability=keep_probability)
            values[f"A{layer}"] = a
    return values[f"Z{DEPTH}"], values


def batch_normalized(layer: int, parameters: Tensors, values: Tensors, statistics: Tensors | None) -> Array:
    """``N[l]``, by the batch's statistics, which are added to ``values``, or by the running ones."""
    z = values[f"Z{layer}"]
    if statistics is None:
        mean, variance = normalization.batch_statistics(z)
        values |= {f"batch_mean{layer}": mean, f"batch_variance{layer}": variance}
    else:
        mean, variance = statistics[f"running_mean{layer}"], statistics[f"running_variance{layer}"]
    scale, shift = parameters[f"gamma{layer}"], parameters[f"beta{layer}"]
    return normalization.batch_norm(z, scale, shift, mean, variance, **NORMALIZATION_OPTIONS)


def updated_statistics(statistics: Tensors, values: Tensors) -> Tensors:
    """Batch norm's running averages after a training forward pass with ``values``."""
    updated: Tensors = {}
    for layer in range(1, DEPTH):
        names = f"running_mean{layer}", f"running_variance{layer}"
        running = statistics[names[0]], statistics[names[1]]
        batch = values[f"batch_mean{layer}"], values[f"batch_variance{layer}"]
        averages = normalization.running_average(running, batch, len(values["A0"]), **AVERAGING_OPTIONS)
        updated |= dict(zip(names, averages, strict=True))
    return updated


def backward(parameters: Tensors, values: Tensors, output_gradient: Array, masks: Masks | None = None) -> Tensors:
    """Gradients of the cost from ``output_gradient = d cost / d Z[L]``, ``(m, n_L)``::

        dW[l] = dZ[l]^T A[l-1]     db[l] = sum over examples of dZ[l]     dA[l-1] = dZ[l] W[l]
    """
    gradients: Tensors = {}
    dz = output_gradient
    for layer in range(DEPTH, 0, -1):
        gradients[f"W{layer}"] = np.matmul(dz.T, values[f"A{layer - 1}"])
        if NORMALIZATION == "batch_norm":
            if f"b{layer}" in parameters:
                gradients[f"b{layer}"] = arithmetic.total(dz, axis=0)[0]
        elif BIAS:
            gradients[f"b{layer}"] = arithmetic.total(dz, axis=0)[0]
        if HIDDEN_UNITS:
            if layer == 1:
                break
            below = layer - 1
            da = np.matmul(dz, parameters[f"W{layer}"])
            if DROPS and masks is not None and below in masks:
                keep_probability = KEEP_PROBABILITIES[below - 1]
                da = regularizers.inverted_dropout(da, masks[below], keep_probability=keep_probability)
            dz = activations.BACKWARD[ACTIVATION_NAME](
                da,
                values[f"N{below}"] if NORMALIZATION is not None else values[f"Z{below}"],
                values[f"F{below}"] if DROPS else values[f"A{below}"],
                **ACTIVATION_OPTIONS,
            )
            if NORMALIZATION == "layer_norm":
                dz, gradients[f"gamma{below}"], gradients[f"beta{below}"] = normalization.layer_norm_backward(
                    dz, values[f"Z{below}"], parameters[f"gamma{below}"], **NORMALIZATION_OPTIONS
                )
            if NORMALIZATION == "batch_norm":
                statistics = values[f"batch_mean{below}"], values[f"batch_variance{below}"]
                dz, gradients[f"gamma{below}"], gradients[f"beta{below}"] = normalization.batch_norm_backward(
                    dz, values[f"Z{below}"], parameters[f"gamma{below}"], *statistics, **NORMALIZATION_OPTIONS
                )
    return gradients


def data_loss(logits: Array, y: Array, example_weights: Array | None = None) -> Any:
    """The mean or the sum of the examples' losses."""
    per_example = LOSS(logits if FROM_LOGITS else OUTPUT(logits), y, example_weights, **LOSS_OPTIONS)
    return arithmetic.mean(per_example) if REDUCTION == "mean" else arithmetic.total(per_example)


def data_loss_gradient(logits: Array, y: Array, example_weights: Array | None = None) -> Array:
    """``d data_loss / d Z[L]``, ``(m, n_L)``."""
    gradient_of = losses.GRADIENTS[LOSS_NAME]
    if FROM_LOGITS:
        gradient = gradient_of(logits, y, example_weights, **LOSS_OPTIONS)
        return gradient / len(y) if REDUCTION == "mean" else gradient
    outputs = OUTPUT(logits)
    gradient = gradient_of(outputs, y, example_weights, **LOSS_OPTIONS)
    if REDUCTION == "mean":
        gradient = gradient / len(y)
    return activations.BACKWARD[OUTPUT_NAME](gradient, logits, outputs)


class History(NamedTuple):
    """The cost, the learning rate and the gradient's norm of every step, with validation its cost after every epoch."""

    costs: list[float]
    learning_rates: list[float]
    gradient_norms: list[float]
    if STOPS_EARLY:
        validation_costs: list[float]


class State:
    """Where a training is: parameters by name, the optimizer's slots, and the number of steps taken."""

    if NORMALIZATION == "batch_norm":
        statistics: Tensors

    def __init__(self, parameters: Tensors) -> None:
        self.parameters = {name: w.copy() for name, w in parameters.items()}
        if FROZEN_LAYERS or FROZEN_BIASES:
            self.trained = {
                n: w for n, w in self.parameters.items() if _common.is_trained(n, FROZEN_LAYERS, FROZEN_BIASES)
            }
        else:
            self.trained = self.parameters
        self.optimizer = OPTIMIZER(LEARNING_RATE, **OPTIMIZER_OPTIONS)
        if ELEMENTWISE:
            self.slots = {
                name: {slot: np.full_like(w, value) for slot, value in self.optimizer.initial_slots.items()}
                for name, w in self.trained.items()
            }
        else:
            w = flattened(self.trained)
            self.slots = {slot: np.full_like(w, value) for slot, value in self.optimizer.initial_slots.items()}
        self.step = 0
        if NORMALIZATION == "batch_norm":
            self.statistics = initial_statistics()


penalty = PENALTY
penalties = PENALTY
clip = CLIPPING
constrain = CONSTRAINT
augmentations = AUGMENTATIONS
schedule = SCHEDULE(LEARNING_RATE, **SCHEDULE_OPTIONS)


def fit(
    parameters: Tensors, x: Array, y: Array, example_weights: Any = None, validation: Any = None
) -> tuple[State, History]:
    """Train on ``x: (m, n_0)`` and ``y`` from initial ``parameters``, which stay as they are."""
    state = State(parameters)
    if STOPS_EARLY:
        stopping = EarlyStopping(PATIENCE, MIN_DELTA)
    if STOPS_EARLY and RESTORE_BEST:
        best: Tensors = {}
        if NORMALIZATION == "batch_norm":
            best_statistics: Tensors = {}
    history = History([], [], [], []) if STOPS_EARLY else History([], [], [])
    for epoch in range(EPOCHS):
        if IN_BATCHES or DROPS or AUGMENTS:
            generator = np.random.default_rng((SEED, epoch))
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
                rate = LEARNING_RATE
                if SCHEDULED:
                    rate = schedule(epoch) if SCHEDULE_UNIT == "epoch" else schedule(state.step)
                batch = x[rows]
                if AUGMENTS:
                    batch = augment(batch, [drawn[visits] for drawn in draws])
                cost, norm = train_step(
                    state,
                    batch,
                    y[rows],
                    rate,
                    example_weights=example_weights[rows] if WEIGHTED else None,
                    masks={layer: mask[visits] for layer, mask in masks.items()} if DROPS else None,
                )
                history.costs.append(cost)
                history.learning_rates.append(rate)
                history.gradient_norms.append(norm)
        else:
            rate = schedule(epoch) if SCHEDULED else LEARNING_RATE
            cost, norm = train_step(
                state,
                augment(x, draws) if AUGMENTS else x,
                y,
                rate,
                example_weights=example_weights if WEIGHTED else None,
                masks=masks if DROPS else None,
            )
            history.costs.append(cost)
            history.learning_rates.append(rate)
            history.gradient_norms.append(norm)
        if STOPS_EARLY:
            if NORMALIZATION == "batch_norm":
                logits, _ = forward(state.parameters, validation[0], statistics=state.statistics)
            else:
                logits, _ = forward(state.parameters, validation[0])
            history.validation_costs.append(float(data_loss(logits, validation[1])))
            if RESTORE_BEST:
                if stopping.improved(history.validation_costs[-1]):
                    best = {name: w.copy() for name, w in state.parameters.items()}
                    if NORMALIZATION == "batch_norm":
                        best_statistics = state.statistics
            else:
                stopping.improved(history.validation_costs[-1])
            if stopping.stop:
                break
    if STOPS_EARLY and RESTORE_BEST:
        state.parameters = best
        if NORMALIZATION == "batch_norm":
            state.statistics = best_statistics
    return state, history


def train_step(
    state: State,
    x: Array,
    y: Array,
    rate: float,
    *,
    example_weights: Array | None = None,
    masks: Masks | None = None,
) -> tuple[float, float]:
    """One step on one batch, in place. Returns its cost and the norm of its gradient."""
    logits, values = forward(state.parameters, x, masks) if DROPS else forward(state.parameters, x)
    cost = data_loss(logits, y, example_weights)
    output_gradient = data_loss_gradient(logits, y, example_weights)
    gradients = backward(state.parameters, values, output_gradient, masks)
    if PENALTIES == 1:
        weights = [state.parameters[f"W{layer}"] for layer in range(1, DEPTH + 1)]
        cost = cost + penalty.value(weights, len(x))
        for layer, weight in enumerate(weights, start=1):
            gradients[f"W{layer}"] += penalty.gradient(weight, len(x))
    if PENALTIES > 1:
        weights = [state.parameters[f"W{layer}"] for layer in range(1, DEPTH + 1)]
        cost = cost + sum(term.value(weights, len(x)) for term in penalties)
        for term in penalties:
            for layer, weight in enumerate(weights, start=1):
                gradients[f"W{layer}"] += term.gradient(weight, len(x))
    if NORMALIZATION == "batch_norm":
        state.statistics = updated_statistics(state.statistics, values)
    gradients = {name: gradients[name] for name in state.trained}
    norm = euclidean_norm(gradients)
    if CLIPS:
        gradients = clip(gradients)
    state.step += 1
    if ELEMENTWISE:
        for name, w in state.trained.items():
            state.optimizer.update_array(w, gradients[name], state.slots[name], state.step, rate)
    else:
        flat = flattened(state.trained)
        state.optimizer.update_array(flat, flattened(gradients), state.slots, state.step, rate)
        write_back(flat, state.trained)
    if CONSTRAINS:
        for name, constrained in constrain(state.trained).items():
            state.trained[name][...] = constrained
    return float(cost), norm


def augment(x: Array, draws: Sequence[Array]) -> Array:
    """``x: (m, n_0)`` after each augmentation in turn, with what it drew for these examples."""
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        x = augmentation.apply(x, drawn).astype(x.dtype, copy=False)
    return x


def visiting_order(generator: np.random.Generator, examples: int) -> Array:
    """The order in which an epoch visits the examples; where they are one batch it is that of the data."""
    return np.arange(examples) if examples <= BATCH_SIZE else generator.permutation(examples)


def draw_masks(generator: np.random.Generator, examples: int) -> dict[int, Array]:
    """Which units dropout keeps for each example: by hidden layer ``(m, n_l)``, where units are dropped."""
    return {
        layer: regularizers.dropout_mask(generator, (examples, units), keep_probability=keep)
        for layer, (units, keep) in enumerate(zip(HIDDEN_UNITS, KEEP_PROBABILITIES, strict=True), start=1)
        if keep < 1
    }


def flattened(arrays: Mapping[str, Array]) -> Array:
    """All arrays as one vector."""
    return np.concatenate([array.ravel() for array in arrays.values()])


def write_back(flat: Array, arrays: Mapping[str, Array]) -> None:
    """The inverse of ``flattened``, in place."""
    start = 0
    for array in arrays.values():
        array[...] = flat[start : start + array.size].reshape(array.shape)
        start += array.size


def euclidean_norm(arrays: Mapping[str, Array]) -> float:
    """Over all arrays."""
    flat = flattened(arrays)
    return float(np.sqrt(np.matmul(flat[None], flat[:, None])[0, 0]))


def predict(state: State, x: Array) -> Array:
    """The model's outputs ``A[L]: (m, n_L)`` in inference."""
    if NORMALIZATION == "batch_norm":
        logits, _ = forward(state.parameters, x, statistics=state.statistics)
    else:
        logits, _ = forward(state.parameters, x)
    return OUTPUT(logits)


def train(path: str, save: str | None = None) -> History:
    """Train on the arrays of a ``.npz`` file, and write the parameters into another."""
    given_x, given_y = reading.read(path, ("x", "y"))
    x = reading.inputs(given_x, "x")
    y = reading.targets(given_y, len(given_x))
    if SCALING == "standardize":
        statistics = normalization.standardization_statistics(x)
        x = normalization.standardize(x, *statistics)
    outputs = reading.outputs_for(y)
    parameters = initialize(x.shape[1], outputs, np.random.default_rng(SEED))
    example_weights, validation = None, None
    if FROZEN_LAYERS:
        frozen = [name for name in parameters if not _common.is_trained(name, FROZEN_LAYERS, False)]
        for name, values in zip(frozen, reading.read(path, frozen), strict=True):
            parameters[name][...] = values
    if WEIGHTED:
        (given_weights,) = reading.read(path, ("weights",))
        example_weights = reading.weights(given_weights, len(x))
    if STOPS_EARLY:
        validation_x, validation_y = reading.read(path, ("validation_x", "validation_y"))
        held_out = reading.inputs(validation_x, "validation_x")
        if SCALING == "standardize":
            held_out = normalization.standardize(held_out, *statistics)
        held_out_y = reading.targets(validation_y, len(validation_x), outputs)
        validation = held_out.astype(DTYPE), in_working_precision(held_out_y)
    state, history = fit(
        parameters, x.astype(DTYPE), in_working_precision(y), example_weights=example_weights, validation=validation
    )
    print(f"cost {history.costs[0]:.6g} -> {history.costs[-1]:.6g} in {len(history.costs)} steps")
    if save:
        np.savez(save, **state.parameters)
    return history


def in_working_precision(y: Array) -> Array:
    """Labels as integers, numbers in the working precision."""
    return y if y.dtype.kind == "i" else y.astype(DTYPE)


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
