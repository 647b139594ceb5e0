"""A training in TensorFlow."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from conformance.ejecting.skeletons import reading
from impl_tf import _common, normalization, regularizers

REPLACED = {"optimizers.Optimizer": "Optimizer", "optimizers.Variables": "Variables", "optimizers.Tensors": "Tensors"}

HIDDEN_UNITS: tuple[int, ...]
CALL_TYPE: TypeAlias = Any
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
SCALING: str

Tensors = dict[str, Any]
Variables = dict[str, Any]


class Optimizer:
    """An optimizer: the initial value of each slot, and the formula on one variable, with the state that it keeps.

    ``update_variable(w, g, slots, t, alpha)`` assigns to ``w`` and to the variables of ``slots``.
    """

    def __init__(
        self,
        learning_rate: float,
        initial_slots: dict[str, float],
        update_variable: Callable[..., None],
        elementwise: bool = True,
    ) -> None:
        self.initial_slots, self.update_variable, self.elementwise = initial_slots, update_variable, elementwise
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.slots: dict[str, Variables] = {}

    def build(self, variables: Variables) -> None:
        """Make the slots of variables by name."""
        for slot, value in self.initial_slots.items():
            self.slots[slot] = {
                name: tf.Variable(tf.fill(w.shape, tf.cast(value, w.dtype)), trainable=False)
                for name, w in variables.items()
            }

    def update(self, gradients: Tensors, variables: Variables, rate: tf.Tensor) -> None:
        """One step, in place, at a learning rate in double precision."""
        t = tf.cast(self.step.assign_add(1), tf.float64)
        if ELEMENTWISE:
            for name, w in variables.items():
                slots = {slot: held[name] for slot, held in self.slots.items()}
                self.update_variable(w, tf.convert_to_tensor(gradients[name], w.dtype), slots, t, rate)
        else:
            self.update_variable(variables, gradients, self.slots, t, rate)


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


class Model(tf.Module):
    """MODEL_DESCRIPTION"""

    def __init__(self, features: int, outputs: int, generator: tf.random.Generator) -> None:
        super().__init__()
        self.parameters: Variables = {}  # {"W1": (n_1, n_0), "b1": (n_1,), "W2": ...}
        if NORMALIZATION == "batch_norm":
            self.statistics: Variables = {}  # running averages, which inference takes
        for layer, (n_in, n_out) in enumerate(pairwise((features, *HIDDEN_UNITS, outputs)), start=1):
            weights = INITIALIZER(generator, (n_out, n_in), dtype=DTYPE, **INITIALIZER_OPTIONS)
            self.parameters[f"W{layer}"] = tf.Variable(weights)
            if NORMALIZATION == "batch_norm":  # which takes a bias away again
                if BIAS and layer > len(HIDDEN_UNITS):
                    self.parameters[f"b{layer}"] = tf.Variable(tf.zeros(n_out, DTYPE))
            elif BIAS:
                self.parameters[f"b{layer}"] = tf.Variable(tf.zeros(n_out, DTYPE))
            if NORMALIZATION is not None and layer <= len(HIDDEN_UNITS):
                self.parameters[f"gamma{layer}"] = tf.Variable(tf.ones(n_out, DTYPE))
                self.parameters[f"beta{layer}"] = tf.Variable(tf.zeros(n_out, DTYPE))
            if NORMALIZATION == "batch_norm" and layer <= len(HIDDEN_UNITS):
                self.statistics[f"running_mean{layer}"] = tf.Variable(tf.zeros(n_out, DTYPE), trainable=False)
                self.statistics[f"running_variance{layer}"] = tf.Variable(tf.ones(n_out, DTYPE), trainable=False)

    def __call__(
        self, x: tf.Tensor, masks: Mapping[int, tf.Tensor] | None = None, training: bool = False
    ) -> CALL_TYPE:
        """Logits ``Z[L]: (m, n_L)`` of ``x: (m, n_0)``. ``masks``: dropout masks ``(m, n_l)`` by layer, or none.

        In ``training`` batch norm takes the batch's statistics, which are returned too, by name.
        """
        if NORMALIZATION == "batch_norm":
            batch_statistics: Tensors = {}
        a = x
        for layer in range(1, len(HIDDEN_UNITS) + 2):
            z = tf.matmul(a, self.parameters[f"W{layer}"], transpose_b=True)  # (m, n_l)
            if NORMALIZATION == "batch_norm":
                if f"b{layer}" in self.parameters:
                    z += self.parameters[f"b{layer}"]
            elif BIAS:
                z += self.parameters[f"b{layer}"]
            if HIDDEN_UNITS and layer <= len(HIDDEN_UNITS):
                if NORMALIZATION is not None:
                    scale, shift = self.parameters[f"gamma{layer}"], self.parameters[f"beta{layer}"]
                if NORMALIZATION == "layer_norm":
                    z = normalization.layer_norm(z, scale, shift, **NORMALIZATION_OPTIONS)
                if NORMALIZATION == "batch_norm":
                    if training:
                        mean, variance = normalization.batch_statistics(z)
                        batch_statistics |= {f"mean{layer}": mean, f"variance{layer}": variance}
                    else:
                        mean = self.statistics[f"running_mean{layer}"]
                        variance = self.statistics[f"running_variance{layer}"]
                    z = normalization.batch_norm(z, scale, shift, mean, variance, **NORMALIZATION_OPTIONS)
                a = ACTIVATION(z, **ACTIVATION_OPTIONS)
                if DROPS and masks is not None and layer in masks:
                    a = regularizers.inverted_dropout(a, masks[layer], keep_probability=KEEP_PROBABILITIES[layer - 1])
        if NORMALIZATION == "batch_norm":
            return z, batch_statistics
        return z

    def move_averages(self, batch_statistics: Tensors, examples: int) -> None:
        """Move batch norm's running averages on by a batch of so many ``examples``."""
        for layer in range(1, len(HIDDEN_UNITS) + 1):
            running = self.statistics[f"running_mean{layer}"], self.statistics[f"running_variance{layer}"]
            batch = batch_statistics[f"mean{layer}"], batch_statistics[f"variance{layer}"]
            averages = normalization.running_average(running, batch, examples, **AVERAGING_OPTIONS)
            for variable, average in zip(running, averages, strict=True):
                variable.assign(average)

    def trained(self) -> Variables:
        """The parameters that training changes."""
        if FROZEN_LAYERS or FROZEN_BIASES:
            return {
                n: w for n, w in self.parameters.items() if _common.is_trained(n, FROZEN_LAYERS, FROZEN_BIASES)
            }
        return self.parameters


def data_loss(logits: tf.Tensor, y: tf.Tensor, example_weights: tf.Tensor | None = None) -> tf.Tensor:
    """The mean or the sum of the examples' losses."""
    per_example = LOSS(logits if FROM_LOGITS else OUTPUT(logits), y, example_weights, **LOSS_OPTIONS)
    return tf.reduce_mean(per_example) if REDUCTION == "mean" else tf.reduce_sum(per_example)


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


def fit(model: Model, x: tf.Tensor, y: tf.Tensor, example_weights: Any = None, validation: Any = None) -> History:
    """Train ``model`` in place on ``x: (m, n_0)`` and ``y``."""
    optimizer = OPTIMIZER(LEARNING_RATE, **OPTIMIZER_OPTIONS)
    optimizer.build(model.trained())
    run_epoch = compiled_epoch(model, optimizer)
    steps = -(-len(x) // BATCH_SIZE) if IN_BATCHES else 1  # of an epoch
    if STOPS_EARLY:
        stopping = EarlyStopping(PATIENCE, MIN_DELTA)
        if RESTORE_BEST:
            best: Tensors = {}
    history = History([], [], [], []) if STOPS_EARLY else History([], [], [])
    for epoch in range(EPOCHS):
        rates = [LEARNING_RATE] * steps
        if SCHEDULED:
            if SCHEDULE_UNIT == "epoch":
                rates = [schedule(epoch)] * steps
            else:
                rates = [schedule(epoch * steps + step) for step in range(steps)]
        if IN_BATCHES or DROPS or AUGMENTS:
            generator = epoch_generator(epoch)
        costs, norms = run_epoch(
            x,
            y,
            example_weights,
            visiting_order(generator, len(x)) if IN_BATCHES else None,
            draw_masks(generator, len(x)) if DROPS else {},
            [augmentation.draw(generator, *x.shape) for augmentation in augmentations] if AUGMENTS else [],
            tf.constant(rates, tf.float64),
        )
        history.costs.extend(costs.numpy().tolist())
        history.learning_rates.extend(rates)
        history.gradient_norms.extend(norms.numpy().tolist())
        if STOPS_EARLY:
            history.validation_costs.append(validation_cost(model, *validation))
            if RESTORE_BEST:
                if stopping.improved(history.validation_costs[-1]):
                    best = {name: tf.identity(variable) for name, variable in kept(model).items()}
            else:
                stopping.improved(history.validation_costs[-1])
            if stopping.stop:
                break
    if STOPS_EARLY and RESTORE_BEST:
        for name, value in best.items():
            kept(model)[name].assign(value)
    return history


def kept(model: Model) -> Variables:
    """All that the best epoch is remembered by."""
    if NORMALIZATION == "batch_norm":
        return model.parameters | model.statistics
    return model.parameters


def compiled_epoch(model: Model, optimizer: Optimizer) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """One epoch as a function of data, order, dropout masks by layer, draws of augmentations, and rates."""

    @tf.autograph.experimental.do_not_convert
    def one_step(x, y, weights, order, masks, draws, rates, step, size):  # type: ignore[no-untyped-def]
        if IN_BATCHES:
            start = step * BATCH_SIZE
            masks = {layer: places(mask, start, size) for layer, mask in masks.items()}
            draws = [places(drawn, start, size) for drawn in draws]
            if order is not None:
                rows = tf.slice(order, [start], [size])
                x, y = tf.gather(x, rows), tf.gather(y, rows)
                if WEIGHTED:
                    weights = tf.gather(weights, rows)
        if AUGMENTS:
            for augmentation, drawn in zip(augmentations, draws, strict=True):
                x = augmentation.apply(x, drawn)
        return train_step(
            model,
            optimizer,
            x,
            y,
            rates[step],
            example_weights=weights if WEIGHTED else None,
            masks=masks if DROPS else None,
        )

    @tf.function
    def run_epoch(x, y, weights, order, masks, draws, rates):  # type: ignore[no-untyped-def]
        size = min(BATCH_SIZE, x.shape[0]) if IN_BATCHES else x.shape[0]
        full_batches, rest = divmod(x.shape[0], size)
        costs = tf.TensorArray(DTYPE, size=rates.shape[0])
        norms = tf.TensorArray(DTYPE, size=rates.shape[0])
        for step in tf.range(full_batches):
            cost, norm = one_step(x, y, weights, order, masks, draws, rates, step, size)
            costs, norms = costs.write(step, cost), norms.write(step, norm)
        if rest > 0:
            cost, norm = one_step(x, y, weights, order, masks, draws, rates, full_batches, rest)
            costs, norms = costs.write(full_batches, cost), norms.write(full_batches, norm)
        return costs.stack(), norms.stack()

    return run_epoch


@tf.autograph.experimental.do_not_convert
def train_step(
    model: Model,
    optimizer: Optimizer,
    x: tf.Tensor,
    y: tf.Tensor,
    rate: tf.Tensor,
    *,
    example_weights: tf.Tensor | None = None,
    masks: Mapping[int, tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """One step on one batch, in place. Returns its cost and the norm of its gradient."""
    trained = model.trained()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(trained.values()))
        if NORMALIZATION == "batch_norm":
            logits, batch_statistics = model(x, masks, training=True)
        else:
            logits = model(x, masks)
        cost = data_loss(logits, y, example_weights)
        weights = [w for name, w in model.parameters.items() if name.startswith("W")]
        if PENALTIES == 1:
            cost = cost + penalty(weights, x.shape[0])
        if PENALTIES > 1:
            cost = cost + sum(term(weights, x.shape[0]) for term in penalties)
    gradients = tape.gradient(cost, trained)
    norm = tf.cast(tf.linalg.global_norm(list(gradients.values())), DTYPE)
    if NORMALIZATION == "batch_norm":
        model.move_averages(batch_statistics, x.shape[0])
    if CLIPS:
        gradients = clip(gradients)
    optimizer.update(gradients, trained, rate)
    if CONSTRAINS:
        for name, value in constrain(trained).items():
            trained[name].assign(value)
    return cost, norm


def places(tensor: tf.Tensor, start: int | tf.Tensor, size: int) -> tf.Tensor:
    """What belongs to the visits ``start .. start + size - 1`` of an epoch."""
    others = len(tensor.shape) - 1
    return tf.slice(tensor, [start] + [0] * others, [size] + [-1] * others)


def epoch_generator(epoch: int) -> tf.random.Generator:
    """What an epoch draws from: the order of the examples, and what else is random."""
    generator = tf.random.Generator.from_state(np.zeros(3, np.int64), "philox")
    generator.reset(np.random.SeedSequence((SEED, epoch)).generate_state(3, np.uint64).view(np.int64))
    return generator


def visiting_order(generator: tf.random.Generator, examples: int) -> tf.Tensor | None:
    """The order in which an epoch visits the examples; where they are one batch it is that of the data, None."""
    if examples <= BATCH_SIZE:
        return None
    return tf.random.experimental.stateless_shuffle(tf.range(examples), seed=generator.make_seeds()[:, 0])


def draw_masks(generator: tf.random.Generator, examples: int) -> dict[int, tf.Tensor]:
    """Which units dropout keeps for each example: by hidden layer ``(m, n_l)``, where units are dropped."""
    return {
        layer: regularizers.dropout_mask(generator, (examples, units), keep_probability=keep)
        for layer, (units, keep) in enumerate(zip(HIDDEN_UNITS, KEEP_PROBABILITIES, strict=True), start=1)
        if keep < 1
    }


def validation_cost(model: Model, x: tf.Tensor, y: tf.Tensor) -> float:
    """The mean of the losses in inference, without penalties."""
    if NORMALIZATION == "batch_norm":
        logits, _ = model(x)
    else:
        logits = model(x)
    return float(data_loss(logits, y))


def predict(model: Model, x: tf.Tensor) -> tf.Tensor:
    """The model's outputs ``A[L]: (m, n_L)`` in inference."""
    if NORMALIZATION == "batch_norm":
        logits, _ = model(x)
    else:
        logits = model(x)
    return OUTPUT(logits)


def train(path: str, save: str | None = None) -> History:
    """Train on the arrays of a ``.npz`` file, and write the parameters into another."""
    given_x, given_y = reading.read(path, ("x", "y"))
    x = tf.constant(reading.inputs(given_x, "x"))
    y_values = reading.targets(given_y, len(given_x))
    if SCALING == "standardize":
        statistics = normalization.standardization_statistics(x)
        x = normalization.standardize(x, *statistics)
    x, y = tf.cast(x, DTYPE), as_targets(y_values)
    outputs = reading.outputs_for(y_values)
    model = Model(x.shape[1], outputs, tf.random.Generator.from_seed(SEED))
    example_weights, validation = None, None
    if FROZEN_LAYERS:
        frozen = [name for name in model.parameters if not _common.is_trained(name, FROZEN_LAYERS, False)]
        for name, values in zip(frozen, reading.read(path, frozen), strict=True):
            model.parameters[name].assign(values)
    if WEIGHTED:
        (given_weights,) = reading.read(path, ("weights",))
        example_weights = tf.constant(reading.weights(given_weights, len(x)))
    if STOPS_EARLY:
        validation_x, validation_y = reading.read(path, ("validation_x", "validation_y"))
        held_out = tf.constant(reading.inputs(validation_x, "validation_x"))
        if SCALING == "standardize":
            held_out = normalization.standardize(held_out, *statistics)
        validation = tf.cast(held_out, DTYPE), as_targets(reading.targets(validation_y, len(validation_x), outputs))
    history = fit(model, x, y, example_weights=example_weights, validation=validation)
    print(f"cost {history.costs[0]:.6g} -> {history.costs[-1]:.6g} in {len(history.costs)} steps")
    if save:
        np.savez(save, **{name: w.numpy() for name, w in model.parameters.items()})
    return history


def as_targets(y: np.ndarray) -> tf.Tensor:
    """Labels as integers, numbers in the working precision."""
    return tf.constant(y) if y.dtype.kind == "i" else tf.constant(y, DTYPE)


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
