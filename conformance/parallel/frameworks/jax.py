"""Two replicas as two host devices of JAX: the batch is sharded, the parameters are on both, and XLA adds the parts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from conformance.adapters.jax import JaxAdapter, JaxSession, arrays
from conformance.adapters.session import State
from conformance.parallel.replicas import COUNT, Replicated, parts_of, rejoined, require_cpu, uneven_batch
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Tensors
from impl_jax import activations, losses


class Replicas(JaxAdapter):
    """Makes sessions on two replicas; the host is made two devices before JAX has looked for any."""

    plain = False

    def __init__(self, device: str) -> None:
        require_cpu(device)
        settings: Any = jax.config
        settings.update("jax_num_cpu_devices", COUNT)
        super().__init__(device)
        self.mesh = Mesh(np.array(jax.devices(device)[:COUNT]), ("examples",))

    def session(self, problem: Problem) -> "JaxReplicas":  # type: ignore[override]
        return JaxReplicas(problem, self.mesh, plain=self.plain)


class Plain(Replicas):
    """Batches as they are: JAX shards even ones alone."""

    plain = True


class JaxReplicas(Replicated):
    own: JaxSession

    def __init__(self, problem: Problem, mesh: Mesh, *, plain: bool) -> None:
        super().__init__(problem, JaxSession(problem))
        self.plain = plain
        axes: Any = PartitionSpec
        self.by_example, self.everywhere = NamedSharding(mesh, axes("examples")), NamedSharding(mesh, axes())
        self._differentiate = jax.jit(jax.value_and_grad(self._cost, argnums=(0,)))
        self._with_input = jax.jit(jax.value_and_grad(self._cost, argnums=(0, 1)))

    def divided(self, parameters: Tensors, batch: Batch, *, plain: bool) -> Tensors:
        """XLA's own sum over the shards. An uneven batch is filled up with an example that does not count."""
        with jax.enable_x64(self.own.double):
            parts = parts_of(batch, even=True)
            columns = zip(*((x, y, masks, weights, counts) for (x, y, masks, weights), counts in parts), strict=True)
            given = [jax.tree.map(lambda *each: self._sharded(np.concatenate(each)), *column) for column in columns]
            held = jax.device_put(parameters, self.everywhere)
            differentiate = self._with_input if batch.x.dtype.kind == "f" else self._differentiate
            cost, (gradients, *of_inputs) = differentiate(held, *given, float(len(batch.x)))
            beside = {"A0": rejoined(parts, np.split(np.asarray(of_inputs[0]), COUNT))} if of_inputs else {}
            return arrays({"cost": cost, **gradients, **beside})

    def uneven(self, parameters: Tensors, batch: Batch) -> str:
        try:
            self._sharded(batch.x)
        except ValueError as error:
            return f"{uneven_batch(len(batch.x))}: JAX refuses it: {str(error).splitlines()[0]}"
        raise AssertionError(f"{uneven_batch(len(batch.x))}: JAX takes it")

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        with jax.enable_x64(self.own.double):  # the update on both devices
            held = jax.device_put((parameters, gradients, state.slots), self.everywhere)
        return self.own.optimizer_step(held[0], held[1], State(state.step, held[2]), learning_rate)

    def _sharded(self, value: Any) -> Any:
        """Its first axis divided among the devices."""
        return jax.device_put(value, self.by_example)

    def _cost(self, parameters: Any, x: Any, y: Any, masks: Any, weights: Any, counts: Any, examples: Any) -> Any:
        """The cost of those examples that count."""
        model, objective = self.own.model, self.own.objective
        logits, _ = model.forward(parameters, x, masks=masks)
        outputs = logits if objective.loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)
        per_example = losses.LOSSES[objective.loss](outputs, y, weights, **objective.loss_options)
        cost = jnp.sum(per_example * counts.astype(per_example.dtype)) / examples
        held = [parameters[name] for name in model.weight_names]
        return cost + sum(penalty(held, examples) for penalty in objective.penalties)
