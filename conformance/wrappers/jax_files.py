"""An ejected file in JAX, put under test."""

from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from conformance.adapters.jax import in_precision
from conformance.adapters.session import State
from conformance.problems.problem import Problem
from conformance.problems.tape import Tape
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.files import FileSession, Snapshot, Watched, arrays, changed


class Session(FileSession):
    """Pure functions; with 64-bit types on exactly if the file is in float64."""

    def __init__(self, module: ModuleType, problem: Problem) -> None:
        super().__init__(module, problem)
        self.look = jax.jit(self._look)  # compiled whole, as a step is in the file
        self.update = jax.jit(self._update)
        self.forward = jax.jit(self._forward)

    def tensor(self, value: Array) -> Any:
        return jnp.asarray(value)

    standardize = in_precision(FileSession.standardize)
    augment = in_precision(FileSession.augment)
    clip = in_precision(FileSession.clip)
    constrain = in_precision(FileSession.constrain)

    @in_precision
    def initial(self, sizes: tuple[int, ...], seed: int) -> Tensors:
        return arrays(self.module.initialize(*sizes, jax.random.key(seed)))

    @in_precision
    def outputs(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        return np.asarray(self.module.predict(SimpleNamespace(parameters=parameters, statistics=statistics), x))

    @in_precision
    def hidden(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        logits, _ = self.forward(parameters, x, masks, statistics if self.has_statistics else None)
        return {self.problem.logits: np.asarray(logits)}

    @in_precision
    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        return arrays(self.look(parameters, x, y, masks, weights)[0])

    @in_precision
    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        found, gradients = self.look(parameters, x, y, masks, weights)
        return arrays({"cost": found["cost"], **gradients})

    @in_precision
    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        _, batch_statistics = self.forward(parameters, x, masks, None)
        return arrays(self.module.updated_statistics(statistics, batch_statistics, len(x)))

    @in_precision
    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        found, slots = self.update(parameters, gradients, state.slots, np.asarray(state.step, np.int32), learning_rate)
        return arrays(found), State(state.step + 1, {slot: arrays(held) for slot, held in slots.items()})

    @in_precision
    def trained(self, problem: Problem, watched: Watched, given: dict[str, Any]) -> tuple[Any, Snapshot]:
        name = "train_epoch" if hasattr(self.module, "train_epoch") else "train_epoch_apart"
        train_epoch = getattr(self.module, name)

        def epoch(*arguments: Any) -> Any:
            state, curves = train_epoch(*arguments)
            watched.epochs.append(_snapshot(state))
            return state, curves

        with changed(self.module, **{name: epoch}):
            start = self.tensors(problem.tape.initial_parameters)
            x, y = jnp.asarray(problem.train_x), jnp.asarray(problem.train_y)
            state, history = self.module.fit(start, x, y, **given)
        return history, _snapshot(state)

    _fit = in_precision(FileSession._fit)

    def taped(self, tape: Tape) -> dict[str, Any]:
        own = getattr(self.module, "draw_epoch", None)
        if own is None:
            return {}

        def draw_epoch(shape: Any, key: Any, epoch: int) -> Any:
            """The order alone, where the file's own draws no more."""
            order = None if tape.batch_order is None else self.tensor(tape.batch_order[epoch])
            draws_more = isinstance(jax.eval_shape(partial(own, shape), key, epoch), tuple)
            return (order, self.masks(tape, epoch), self.draws(tape, epoch)) if draws_more else order

        return {"draw_epoch": draw_epoch}

    def _forward(self, parameters: Any, x: Any, masks: Any, statistics: Any) -> tuple[Any, Any]:
        given = {"masks": masks} if masks else {}
        if self.has_statistics:
            logits, batch_statistics = self.module.forward(parameters, x, **given, statistics=statistics)
            return logits, batch_statistics
        return self.module.forward(parameters, x, **given), {}

    def _look(self, parameters: Any, x: Any, y: Any, masks: Any, weights: Any) -> tuple[Any, Any]:
        """The parts of the cost, and its gradients with that of the input, in one program."""
        of_loss = {} if weights is None else {"example_weights": weights}
        given = of_loss | ({"masks": masks} if masks else {})

        def cost(parameters: Any, x: Any) -> Any:
            found = self.module.total_cost(parameters, x, y, **given)
            return found[0] if self.has_statistics else found

        real = jnp.issubdtype(x.dtype, jnp.floating)
        value, (gradients, *of_x) = jax.value_and_grad(cost, argnums=(0, 1) if real else (0,))(parameters, x)
        logits, _ = self._forward(parameters, x, masks, None)
        matrices = [parameters[name] for name in self.weight_names]
        found = {
            "per_example": self.module.example_losses(logits, y, **of_loss),
            "data_loss": self.module.data_loss(logits, y, **of_loss),
            "penalty": sum((term(matrices, len(x)) for term in self.penalties), start=jnp.zeros_like(value)),
            "cost": value,
        }
        return found, dict(zip(("A0",), of_x, strict=False)) | gradients

    def _update(self, parameters: Any, gradients: Any, slots: Any, step: Any, rate: Any) -> tuple[Any, Any]:
        state = SimpleNamespace(slots=slots, step=step)
        updates, slots = self.module.updated(parameters, gradients, state, rate)
        return optax.apply_updates(parameters, updates), slots


def _snapshot(state: Any) -> Snapshot:
    slots = {slot: arrays(held) for slot, held in state.slots.items()}
    return Snapshot(arrays(state.parameters), slots, arrays(getattr(state, "statistics", {})))
