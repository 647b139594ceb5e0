"""A training in JAX."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from conformance.ejecting.skeletons import reading
from impl_jax import _common, normalization, regularizers

REPLACED = {
    "optimizers._optimizer": "optimizer_of",
    "optimizers.Optimizer": "Optimizer",
    "optimizers.LearningRate": "LearningRate",
}

HIDDEN_UNITS: tuple[int, ...]
FORWARD_TYPE: TypeAlias = Any
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
DOUBLE: bool
SCALING: str

Array: TypeAlias = jax.Array | NDArray[Any]
Tensors = dict[str, Any]
LearningRate = float


class Optimizer(NamedTuple):
    """An optimizer: the initial value of each slot, and the formula on one array."""

    initial_slots: dict[str, float]
    update_array: Callable[..., Any]  # (w, g, slots, t, alpha) -> (what is added to w, slots)


def optimizer_of(
    learning_rate: float,
    initial_slots: dict[str, float],
    update_array: Callable[..., Any],
    *,
    elementwise: bool = True,
    needs_parameters: bool = False,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Optimizer:
    """The optimizer of a formula, with the weight decay that goes around it."""
    if weight_decay:
        update_array = decayed(update_array, weight_decay, decoupled)
    return Optimizer(initial_slots, update_array)


def decayed(update_array: Callable[..., Any], weight_decay: float, decoupled: bool) -> Callable[..., Any]:
    """The formula with weight decay: ``g + decay w`` for ``g``, or ``-alpha decay w`` beside its own update."""

    def update(w: jax.Array, g: jax.Array, slots: Tensors, t: jax.Array, alpha: jax.Array) -> Any:
        if decoupled:
            step, slots = update_array(w, g, slots, t, alpha)
            return step - alpha * weight_decay * w, slots
        return update_array(w, g + weight_decay * w, slots, t, alpha)

    return update


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


DEPTH = len(HIDDEN_UNITS) + 1  # layers with weights, L


def initialize(features: int, outputs: int, key: jax.Array) -> Tensors:
    """Initial parameters ``{"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}``: weights are drawn, biases are 0."""
    parameters: Tensors = {}
    keys = jax.random.split(key, DEPTH)
    sizes = pairwise((features, *HIDDEN_UNITS, outputs))
    for layer, (layer_key, (n_in, n_out)) in enumerate(zip(keys, sizes, strict=True), start=1):
        parameters[f"W{layer}"] = INITIALIZER(layer_key, (n_out, n_in), dtype=DTYPE, **INITIALIZER_OPTIONS)
        if NORMALIZATION == "batch_norm":  # which takes a bias away again
            if BIAS and layer == DEPTH:
                parameters[f"b{layer}"] = jnp.zeros(n_out, DTYPE)
        elif BIAS:
            parameters[f"b{layer}"] = jnp.zeros(n_out, DTYPE)
        if NORMALIZATION is not None and layer < DEPTH:
            parameters |= {f"gamma{layer}": jnp.ones(n_out, DTYPE), f"beta{layer}": jnp.zeros(n_out, DTYPE)}
    return parameters


def initial_statistics() -> Tensors:
    """Batch norm's running averages before training: means 0 and variances 1."""
    statistics: Tensors = {}
    for layer, units in enumerate(HIDDEN_UNITS, start=1):
        statistics |= {
            f"running_mean{layer}": jnp.zeros(units, DTYPE),
            f"running_variance{layer}": jnp.ones(units, DTYPE),
        }
    return statistics


def forward(
    parameters: Tensors, x: Array, masks: Mapping[int, Array] | None = None, statistics: Tensors | None = None
) -> FORWARD_TYPE:
    """MODEL_DESCRIPTION

    Returns the logits ``Z[L]: (m, n_L)`` of ``x: (m, n_0)``. ``masks``: dropout masks ``(m, n_l)`` by layer, or none.
    ``statistics``: batch norm's running averages; None in training, in which the batch's are returned too, by name.
    """
    if NORMALIZATION == "batch_norm":
        batch_statistics: Tensors = {}
    a = jnp.asarray(x)
    for layer in range(1, DEPTH + 1):
        z = a @ parameters[f"W{layer}"].T  # (m, n_l)
        if NORMALIZATION == "batch_norm":
            if f"b{layer}" in parameters:
                z = z + parameters[f"b{layer}"]
        elif BIAS:
            z = z + parameters[f"b{layer}"]
        if HIDDEN_UNITS and layer < DEPTH:
            if NORMALIZATION is not None:
                scale, shift = parameters[f"gamma{layer}"], parameters[f"beta{layer}"]
            if NORMALIZATION == "layer_norm":
                z = normalization.layer_norm(z, scale, shift, **NORMALIZATION_OPTIONS)
            if NORMALIZATION == "batch_norm":
                if statistics is None:
                    mean, variance = normalization.batch_statistics(z)
                    batch_statistics |= {f"mean{layer}": mean, f"variance{layer}": variance}
                else:
                    mean, variance = statistics[f"running_mean{layer}"], statistics[f"running_variance{layer}"]
                z = normalization.batch_norm(z, scale, shift, mean, variance, **NORMALIZATION_OPTIONS)
            a = ACTIVATION(z, **ACTIVATION_OPTIONS)
            if DROPS and masks is not None and layer in masks:
                a = regularizers.inverted_dropout(a, masks[layer], keep_probability=KEEP_PROBABILITIES[layer - 1])
    if NORMALIZATION == "batch_norm":
        return z, batch_statistics
    return z


def updated_statistics(statistics: Tensors, batch_statistics: Tensors, examples: int) -> Tensors:
    """Batch norm's running averages after a batch of so many ``examples``."""
    updated: Tensors = {}
    for layer in range(1, DEPTH):
        names = f"running_mean{layer}", f"running_variance{layer}"
        running = statistics[names[0]], statistics[names[1]]
        batch = batch_statistics[f"mean{layer}"], batch_statistics[f"variance{layer}"]
        averages = normalization.running_average(running, batch, examples, **AVERAGING_OPTIONS)
        updated |= dict(zip(names, averages, strict=True))
    return updated


def data_loss(logits: jax.Array, y: Array, example_weights: Array | None = None) -> jax.Array:
    """The mean or the sum of the examples' losses."""
    per_example = LOSS(logits if FROM_LOGITS else OUTPUT(logits), y, example_weights, **LOSS_OPTIONS)
    return per_example.mean() if REDUCTION == "mean" else per_example.sum()


class State(NamedTuple):
    """Where a training is: the parameters by name, the optimizer's slots, and the number of steps taken."""

    parameters: Tensors
    slots: dict[str, Tensors]
    step: jax.Array
    if NORMALIZATION == "batch_norm":
        statistics: Tensors


class History(NamedTuple):
    """The cost, the learning rate and the gradient's norm of every step, with validation its cost after every epoch."""

    costs: list[float]
    learning_rates: list[float]
    gradient_norms: list[float]
    if STOPS_EARLY:
        validation_costs: list[float]


optimizer = OPTIMIZER(LEARNING_RATE, **OPTIMIZER_OPTIONS)
penalty = PENALTY
penalties = PENALTY
clip = CLIPPING
constrain = CONSTRAINT
augmentations = AUGMENTATIONS
schedule = SCHEDULE(LEARNING_RATE, **SCHEDULE_OPTIONS)


def start(parameters: Tensors) -> State:
    """The state before the first step."""
    slots = {
        slot: {name: jnp.full_like(w, value) for name, w in trained(parameters).items()}
        for slot, value in optimizer.initial_slots.items()
    }
    if NORMALIZATION == "batch_norm":
        return State(parameters, slots, jnp.zeros((), jnp.int32), initial_statistics())
    return State(parameters, slots, jnp.zeros((), jnp.int32))


def trained(parameters: Tensors) -> Tensors:
    """The parameters that training changes."""
    if FROZEN_LAYERS or FROZEN_BIASES:
        return {name: w for name, w in parameters.items() if _common.is_trained(name, FROZEN_LAYERS, FROZEN_BIASES)}
    return parameters


def train_step(
    state: State, x: Array, y: Array, rate: Array, example_weights: Array | None = None, masks: Any = None
) -> tuple[State, tuple[jax.Array, jax.Array]]:
    """The state after one step on one batch, with the cost before it and the norm of its gradient."""

    def cost(changing: Tensors) -> FORWARD_TYPE:
        parameters = state.parameters | changing
        if NORMALIZATION == "batch_norm":
            logits, batch_statistics = forward(parameters, x, masks)
        else:
            logits = forward(parameters, x, masks)
        loss = data_loss(logits, y, example_weights)
        if PENALTIES == 1:
            loss = loss + penalty([parameters[f"W{layer}"] for layer in range(1, DEPTH + 1)], len(x))
        if PENALTIES > 1:
            weights = [parameters[f"W{layer}"] for layer in range(1, DEPTH + 1)]
            loss = loss + sum((term(weights, len(x)) for term in penalties), start=jnp.zeros_like(loss))
        if NORMALIZATION == "batch_norm":
            return loss, batch_statistics
        return loss

    changing = trained(state.parameters)
    if NORMALIZATION == "batch_norm":
        (value, batch_statistics), gradients = jax.value_and_grad(cost, has_aux=True)(changing)
    else:
        value, gradients = jax.value_and_grad(cost)(changing)
    norm = optax.tree.norm(gradients)
    if CLIPS:
        gradients = clip(gradients)
    updates, slots = updated(changing, gradients, state, rate)
    changing = optax.apply_updates(changing, updates)
    if CONSTRAINS:
        changing = constrain(changing)
    parameters = state.parameters | changing
    if NORMALIZATION == "batch_norm":
        statistics = updated_statistics(state.statistics, batch_statistics, len(x))
        return State(parameters, slots, state.step + 1, statistics), (value, norm)
    return State(parameters, slots, state.step + 1), (value, norm)


def updated(parameters: Tensors, gradients: Tensors, state: State, rate: Array) -> tuple[Tensors, dict[str, Tensors]]:
    """What the optimizer adds to each parameter, and its slots after that."""
    if ELEMENTWISE:
        updates: Tensors = {}
        new_slots: dict[str, Tensors] = {slot: {} for slot in state.slots}
        for name, g in gradients.items():
            slots = {slot: arrays[name] for slot, arrays in state.slots.items()}
            t, alpha = jnp.asarray(state.step + 1, g.dtype), jnp.asarray(rate, g.dtype)
            updates[name], slots = optimizer.update_array(parameters[name], g, slots, t, alpha)
            for slot, array in slots.items():
                new_slots[slot][name] = array
        return updates, new_slots
    g, split = ravel_pytree(gradients)  # all parameters as one vector
    vectors = {slot: ravel_pytree(arrays)[0] for slot, arrays in state.slots.items()}
    t, alpha = jnp.asarray(state.step + 1, g.dtype), jnp.asarray(rate, g.dtype)
    update, vectors = optimizer.update_array(ravel_pytree(parameters)[0], g, vectors, t, alpha)
    return split(update), {slot: split(vector) for slot, vector in vectors.items()}


def fit(
    parameters: Tensors, x: Array, y: Array, example_weights: Any = None, validation: Any = None
) -> tuple[State, History]:
    """Train on ``x: (m, n_0)`` and ``y`` from initial ``parameters``, which stay as they are."""
    state = start(parameters)
    if STOPS_EARLY:
        stopping = EarlyStopping(PATIENCE, MIN_DELTA)
        if RESTORE_BEST:
            best = state
    history = History([], [], [], []) if STOPS_EARLY else History([], [], [])
    if IN_BATCHES or DROPS or AUGMENTS:
        key = jax.random.key(SEED)
    steps = -(-len(x) // BATCH_SIZE) if IN_BATCHES else 1  # of an epoch
    for epoch in range(EPOCHS):
        rates = [LEARNING_RATE] * steps
        if SCHEDULED:
            if SCHEDULE_UNIT == "epoch":
                rates = [schedule(epoch)] * steps
            else:
                rates = [schedule(epoch * steps + step) for step in range(steps)]
        order, masks, draws = None, {}, []
        if IN_BATCHES or DROPS or AUGMENTS:
            order, masks, draws = draw_epoch(x.shape, key, epoch)
        drawn = order, masks, draws
        state, (costs, norms) = train_epoch(state, (x, y, example_weights), drawn, np.array(rates))
        history.costs.extend(costs.tolist())
        history.learning_rates.extend(rates)
        history.gradient_norms.extend(norms.tolist())
        if STOPS_EARLY:
            history.validation_costs.append(float(validation_cost(state, *validation)))
            if RESTORE_BEST:
                if stopping.improved(history.validation_costs[-1]):
                    best = state
            else:
                stopping.improved(history.validation_costs[-1])
            if stopping.stop:
                break
    if STOPS_EARLY and RESTORE_BEST:
        return best, history
    return state, history


@jax.jit
def train_epoch(
    state: State, data: Any, drawn: Any, rates: Array
) -> tuple[State, tuple[jax.Array, jax.Array]]:
    """One pass over the data: a scan over the full batches, then what is left. Returns the state and the curves.

    ``data``: inputs, targets and weights of the examples; ``drawn``: the order of the visits, dropout masks by layer and
    draws of augmentations, in that order; ``rates``: of every step.
    """

    def one_step(state: State, drawn: Any) -> tuple[State, tuple[jax.Array, jax.Array]]:
        (rows, masks, draws), rate = drawn
        x, y, weights = jax.tree.map(lambda array: array[rows], data) if rows is not None else data
        if AUGMENTS:
            x = augment(x, draws)
        return train_step(
            state,
            x,
            y,
            rate,
            example_weights=weights if WEIGHTED else None,
            masks=masks if DROPS else None,
        )

    examples = len(data[0])
    batch_size = min(BATCH_SIZE, examples) if IN_BATCHES else examples
    full = examples // batch_size
    end = full * batch_size  # of the full batches
    batches = jax.tree.map(lambda array: array[:end].reshape(full, batch_size, *array.shape[1:]), drawn)
    state, curves = jax.lax.scan(one_step, state, (batches, rates[:full]), full)
    if end < examples:
        left = jax.tree.map(lambda array: array[end:], drawn)
        state, last = one_step(state, (left, rates[full]))
        curves = jax.tree.map(jnp.append, curves, last)
    return state, curves


@jax.jit
def validation_cost(state: State, x: Array, y: Array) -> jax.Array:
    """The mean of the losses in inference, without penalties."""
    if NORMALIZATION == "batch_norm":
        logits, _ = forward(state.parameters, x, statistics=state.statistics)
    else:
        logits = forward(state.parameters, x)
    return data_loss(logits, y)


def augment(x: Array, draws: Sequence[Array]) -> Array:
    """``x: (m, n_0)`` after each augmentation in turn, with what it drew for these examples."""
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        x = augmentation.apply(x, drawn).astype(x.dtype)
    return x


@partial(jax.jit, static_argnames="shape")
def draw_epoch(shape: tuple[int, ...], key: jax.Array, epoch: int) -> tuple[Any, Any, Any]:
    """What is random in an epoch: the order of the examples, dropout masks by layer, and draws of augmentations."""
    order_key, masks_key, draws_key = jax.random.split(jax.random.fold_in(key, epoch), 3)
    order, masks, draws = None, {}, []
    if IN_BATCHES and shape[0] > BATCH_SIZE:
        order = jax.random.permutation(order_key, shape[0])
    if DROPS:
        masks = {
            layer: regularizers.dropout_mask(
                jax.random.fold_in(masks_key, layer), (shape[0], units), keep_probability=keep
            )
            for layer, (units, keep) in enumerate(zip(HIDDEN_UNITS, KEEP_PROBABILITIES, strict=True), start=1)
            if keep < 1
        }
    if AUGMENTS:
        draws = [
            augmentation.draw(jax.random.fold_in(draws_key, number), *shape)
            for number, augmentation in enumerate(augmentations)
        ]
    return order, masks, draws


def predict(state: State, x: Array) -> jax.Array:
    """The model's outputs ``A[L]: (m, n_L)`` in inference."""
    if NORMALIZATION == "batch_norm":
        logits, _ = forward(state.parameters, x, statistics=state.statistics)
    else:
        logits = forward(state.parameters, x)
    return OUTPUT(logits)


def train(path: str, save: str | None = None) -> History:
    """Train on the arrays of a ``.npz`` file, and write the parameters into another."""
    given_x, given_y = reading.read(path, ("x", "y"))
    x = jnp.asarray(reading.inputs(given_x, "x"))
    y_values = reading.targets(given_y, len(given_x))
    if SCALING == "standardize":
        statistics = normalization.standardization_statistics(x)
        x = normalization.standardize(x, *statistics)
    x, y = x.astype(DTYPE), as_targets(y_values)
    outputs = reading.outputs_for(y_values)
    parameters = initialize(x.shape[1], outputs, jax.random.key(SEED))
    example_weights, validation = None, None
    if FROZEN_LAYERS:
        frozen = [name for name in parameters if not _common.is_trained(name, FROZEN_LAYERS, False)]
        for name, values in zip(frozen, reading.read(path, frozen), strict=True):
            parameters[name] = jnp.asarray(values, DTYPE).reshape(parameters[name].shape)
    if WEIGHTED:
        (given_weights,) = reading.read(path, ("weights",))
        example_weights = jnp.asarray(reading.weights(given_weights, len(x)))
    if STOPS_EARLY:
        validation_x, validation_y = reading.read(path, ("validation_x", "validation_y"))
        held_out = jnp.asarray(reading.inputs(validation_x, "validation_x"))
        if SCALING == "standardize":
            held_out = normalization.standardize(held_out, *statistics)
        validation = held_out.astype(DTYPE), as_targets(reading.targets(validation_y, len(validation_x), outputs))
    state, history = fit(parameters, x, y, example_weights=example_weights, validation=validation)
    print(f"cost {history.costs[0]:.6g} -> {history.costs[-1]:.6g} in {len(history.costs)} steps")
    if save:
        np.savez(save, **{name: np.asarray(w) for name, w in state.parameters.items()})
    return history


def as_targets(y: np.ndarray) -> jax.Array:
    """Labels as integers, numbers in the working precision."""
    return jnp.asarray(y) if y.dtype.kind == "i" else jnp.asarray(y, DTYPE)


def main() -> None:
    """Train on the arrays of a file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", help="ARRAYS_HELP")
    parser.add_argument("--save", metavar="FILE", help="write the trained parameters into a .npz file")
    arguments = parser.parse_args()
    try:
        if DOUBLE:
            jax.config.update("jax_enable_x64", True)
        train(arguments.data, arguments.save)
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
