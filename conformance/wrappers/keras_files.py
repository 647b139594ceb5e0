"""An ejected file in TensorFlow, put under test."""

from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from conformance.adapters.session import State
from conformance.adapters.tf import graphs_optimized
from conformance.problems.problem import Problem
from conformance.problems.tape import Tape
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.files import FileSession, Snapshot, Watched, arrays, changed


class Session(FileSession):
    """Its ``Model`` is loaded with what it is asked about."""

    def __init__(self, module: ModuleType, problem: Problem) -> None:
        super().__init__(module, problem)
        self.model = self._model(self.sizes)

    def tensor(self, value: Array) -> Any:
        return tf.constant(value)

    def initial(self, sizes: tuple[int, ...], seed: int) -> Tensors:
        return arrays(self._model(sizes, seed).parameters)

    def outputs(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        self._load(parameters, statistics)
        return np.asarray(self.module.predict(self.model, tf.constant(x)))

    def hidden(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        self._load(parameters, statistics or {})
        logits, _ = self._forward(x, masks, training=statistics is None)
        return {self.problem.logits: np.asarray(logits)}

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        self._load(parameters, {})
        of_loss, targets = self.of_batch(None, weights), tf.constant(y)
        logits, _ = self._forward(x, masks, training=True)
        matrices = [self.model.parameters[name] for name in self.weight_names]
        zero = tf.zeros((), logits.dtype)
        found = {
            "per_example": self.module.example_losses(logits, targets, **of_loss),
            "data_loss": self.module.data_loss(logits, targets, **of_loss),
            "penalty": sum((term(matrices, len(x)) for term in self.penalties), start=zero),
            "cost": self._cost(tf.constant(x), targets, masks, weights),
        }
        return arrays(found)

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        self._load(parameters, {})
        inputs = tf.constant(x)
        with tf.GradientTape() as tape:
            if inputs.dtype.is_floating:
                tape.watch(inputs)
            cost = self._cost(inputs, tf.constant(y), masks, weights)
        of_input = {"A0": inputs} if inputs.dtype.is_floating else {}
        gradients = tape.gradient(cost, {**of_input, **self.model.parameters})
        return arrays({"cost": cost, **{name: tf.convert_to_tensor(g) for name, g in gradients.items()}})

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        self._load(parameters, statistics)
        _, batch_statistics = self._forward(x, masks, training=True)
        self.model.move_averages(batch_statistics, len(x))
        return arrays(self.model.statistics)

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        variables = {name: tf.Variable(value) for name, value in parameters.items()}
        optimizer = self.module.make_optimizer(variables)
        optimizer.step.assign(state.step)
        for slot, held in state.slots.items():
            for name, value in held.items():
                optimizer.slots[slot][name].assign(value)
        optimizer.update(self.tensors(gradients), variables, tf.constant(learning_rate, tf.float64))
        return arrays(variables), State(state.step + 1, _slots(optimizer))

    def trained(self, problem: Problem, watched: Watched, given: dict[str, Any]) -> tuple[Any, Snapshot]:
        model = self._model(self.sizes)
        self._load(problem.tape.initial_parameters, {}, model)
        compiled_epoch = self.module.compiled_epoch

        def compiled(model: Any, optimizer: Any) -> Any:
            run_epoch = compiled_epoch(model, optimizer)

            def run(*arguments: Any) -> Any:
                curves = run_epoch(*arguments)
                watched.epochs.append(Snapshot(arrays(model.parameters), _slots(optimizer), _statistics(model)))
                return curves

            return run

        with changed(self.module, compiled_epoch=compiled), graphs_optimized():
            x, y = tf.constant(problem.train_x), tf.constant(problem.train_y)
            history = self.module.fit(model, x, y, **given)
        return history, Snapshot(arrays(model.parameters), {}, _statistics(model))

    def order(self, tape: Tape, epoch: int, examples: int) -> Any:
        return None if tape.batch_order is None else tf.constant(tape.batch_order[epoch], tf.int32)

    def _model(self, sizes: tuple[int, ...], seed: int = 0) -> Any:
        return self.module.Model(*sizes, tf.random.Generator.from_seed(seed))

    def _forward(self, x: Array, masks: Masks | None, *, training: bool) -> tuple[Any, Any]:
        given: dict[str, Any] = {"masks": self.tensors(masks)} if masks else {}
        if self.has_statistics:
            logits, batch_statistics = self.model(tf.constant(x), **given, training=training)
            return logits, batch_statistics
        return self.model(tf.constant(x), **given), {}

    def _cost(self, x: Any, y: Any, masks: Masks | None, weights: Array | None) -> Any:
        cost = self.module.total_cost(self.model, x, y, **self.of_batch(masks, weights))
        return cost[0] if self.has_statistics else cost

    def _load(self, parameters: Tensors, statistics: Tensors, model: Any = None) -> None:
        model = self.model if model is None else model
        for name, w in model.parameters.items():
            w.assign(parameters[name])
        for name, value in statistics.items():
            model.statistics[name].assign(value)


def _slots(optimizer: Any) -> dict[str, Tensors]:
    return {slot: arrays(held) for slot, held in optimizer.slots.items()}


def _statistics(model: Any) -> Tensors:
    return arrays(getattr(model, "statistics", {}))
