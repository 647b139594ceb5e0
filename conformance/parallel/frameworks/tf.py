"""Two replicas under ``tf.distribute.MirroredStrategy``, on two virtual CPUs of this process."""

from functools import partial
from typing import Any

import tensorflow as tf

from conformance.adapters.session import State
from conformance.adapters.tf import TfAdapter, TfSession
from conformance.parallel.replicas import COUNT, Part, Replicated, parts_of, rejoined, require_cpu
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Tensors
from impl_tf import activations, losses


class Replicas(TfAdapter):
    """Makes sessions on two replicas; the CPU is made two before anything is placed on it."""

    plain = False

    def __init__(self, device: str) -> None:
        require_cpu(device)
        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * COUNT)
        super().__init__(device)
        devices = tf.config.list_logical_devices(device.upper())[:COUNT]
        self.strategy = tf.distribute.MirroredStrategy([each.name for each in devices])

    def session(self, problem: Problem) -> "TfReplicas":  # type: ignore[override]
        return TfReplicas(problem, self.strategy, plain=self.plain)


class Plain(Replicas):
    """The mean of the replicas' means, which a cost that each replica takes the mean of comes to."""

    plain = True


class TfReplicas(Replicated):
    own: TfSession
    by_default = "the parts' means under MirroredStrategy are averaged, each counting the same"

    def __init__(self, problem: Problem, strategy: Any, *, plain: bool) -> None:
        with strategy.scope():  # variables that are made here are mirrored
            super().__init__(problem, TfSession(problem))
        self.strategy, self.plain = strategy, plain
        self._run = tf.function(self._on_replicas, autograph=False)

    def divided(self, parameters: Tensors, batch: Batch, *, plain: bool) -> Tensors:
        with self.strategy.scope():
            for name, variable in self.own.model.parameter_dict().items():
                variable.assign(parameters[name])
            parts = parts_of(batch)
            given = self.strategy.experimental_distribute_values_from_function(partial(_tensors, parts))
            found, of_inputs = self._run(given, tf.constant(float(len(batch.x)), tf.float64), plain)
        beside = {"A0": rejoined(parts, [each.numpy() for each in of_inputs])} if of_inputs else {}
        return {name: value.numpy() for name, value in found.items()} | beside

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        with self.strategy.scope():  # the update of both copies
            return self.own.optimizer_step(parameters, gradients, state, learning_rate)

    def _on_replicas(self, given: Any, examples: Any, plain: bool) -> Any:
        """The sum over the replicas of what each has of the cost and its gradients; those of the inputs, one by one."""
        each, of_inputs = self.strategy.run(partial(self._of_part, plain=plain), args=(*given, examples))
        added = {name: self.strategy.reduce("SUM", value, axis=None) for name, value in each.items()}
        return added, () if of_inputs is None else self.strategy.experimental_local_results(of_inputs)

    def _of_part(self, x: Any, y: Any, masks: Any, weights: Any, counts: Any, examples: Any, *, plain: bool) -> Any:
        """A replica's share of the cost, and its gradients."""
        model, objective = self.own.model, self.own.objective
        sources = {"weights": model.parameter_dict(), "inputs": x if x.dtype.is_floating else None}
        with tf.GradientTape() as tape:
            tape.watch([] if sources["inputs"] is None else x)
            logits, _ = model.forward(x, masks=masks, training=True)
            outputs = logits if objective.loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)
            per_example = losses.LOSSES[objective.loss](outputs, y, weights, **objective.loss_options)
            whole = tf.cast(COUNT * tf.reduce_sum(counts) if plain else examples, model.dtype)
            cost = tf.reduce_sum(per_example * tf.cast(counts, model.dtype)) / whole
            for penalty in objective.penalties:
                cost += penalty(model.weights, tf.cast(examples, model.dtype)) / COUNT
        found = tape.gradient(cost, sources)
        return {"cost": cost, **found["weights"]}, found["inputs"]


def _tensors(parts: list[Part], context: Any) -> Any:
    """The part of a replica, as tensors."""
    (x, y, masks, weights), counts = parts[context.replica_id_in_sync_group]
    found: Any = tf.nest.map_structure(tf.constant, (x, y, masks))
    return (*found, None if weights is None else tf.constant(weights), tf.constant(counts))
