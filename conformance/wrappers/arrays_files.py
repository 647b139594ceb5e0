"""An ejected file in NumPy, put under test."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import State
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.files import FileSession, Snapshot, Watched, arrays, changed

_SHOWN = ("Z", "N", "A")  # of a layer's values; the others are means for the backward pass
_SHOWN_OF_LAYERS = ("A", "h", "c", "weights")  # the same of a network of layers, by path


class Session(FileSession):
    """Functions of arrays."""

    def tensor(self, value: Array) -> Any:
        return value

    def initial(self, sizes: tuple[int, ...], seed: int) -> Tensors:
        found: Tensors = self.module.initialize(*sizes, np.random.default_rng(seed))
        return found

    def outputs(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        return np.asarray(self.module.predict(SimpleNamespace(parameters=parameters, statistics=statistics), x))

    def hidden(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        logits, values = self._forward(parameters, x, masks, statistics)
        if self.is_network:
            shown = {name: value for name, value in values.items() if name.rpartition(".")[2] in _SHOWN_OF_LAYERS}
            return {name: value for name, value in shown.items() if name in self.problem.places} | {"Z": logits}
        return {name: value for name, value in values.items() if name[0] in _SHOWN and name != "A0"}

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        logits, _ = self._forward(parameters, x, masks, None)
        of_loss = self.of_batch(None, weights)
        matrices = [parameters[name] for name in self.weight_names]
        penalty = sum((term.value(matrices, len(x)) for term in self.penalties), start=0.0)
        return {
            "per_example": self.module.example_losses(logits, y, **of_loss),
            "data_loss": np.asarray(self.module.data_loss(logits, y, **of_loss)),
            "penalty": np.asarray(penalty, x.dtype),
            "cost": self.gradients(parameters, x, y, masks, weights)["cost"],
        }

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        given = self.of_batch(masks, weights)
        cost, gradients, _ = self.module.cost_and_gradients(parameters, x, y, **given)
        return {"cost": np.asarray(cost), "A0": NOT_OFFERED, **gradients}

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        _, values = self._forward(parameters, x, masks, None)
        found: Tensors = self.module.updated_statistics(statistics, values)
        return found

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        at = SimpleNamespace(parameters=parameters, trained=parameters, step=state.step)
        at.slots = self._own_slots(state.slots, parameters)
        self.module.update(at, gradients, learning_rate)
        return parameters, State(at.step, self._slots(at))

    def trained(self, problem: Problem, watched: Watched, given: dict[str, Any]) -> tuple[Any, Snapshot]:
        train_step = self.module.train_step

        def step(state: Any, *arguments: Any, **keywords: Any) -> Any:
            result = train_step(state, *arguments, **keywords)
            if state.step % problem.batches_per_epoch == 0:
                watched.epochs.append(self._snapshot(state))
            return result

        with changed(self.module, train_step=step):
            start = problem.tape.initial_parameters
            state, history = self.module.fit(start, problem.train_x, problem.train_y, **given)
        return history, self._snapshot(state)

    def _forward(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Any:
        given: dict[str, Any] = {"masks": masks} if masks else {}
        if self.has_statistics:
            given["statistics"] = statistics
        return self.module.forward(parameters, x, **given)

    def _snapshot(self, state: Any) -> Snapshot:
        return Snapshot(arrays(state.parameters), self._slots(state), arrays(getattr(state, "statistics", {})))

    def _own_slots(self, slots: dict[str, Tensors], parameters: Tensors) -> Any:
        """As the file keeps them: by parameter and slot, or each slot as one vector."""
        if hasattr(self.module, "flattened") and hasattr(self.module, "write_back"):
            return {slot: self.module.flattened(held) for slot, held in slots.items()}
        return {name: {slot: held[name] for slot, held in slots.items()} for name in parameters}

    def _slots(self, state: Any) -> dict[str, Tensors]:
        """Copies by slot and parameter."""
        if hasattr(self.module, "write_back"):
            found = {slot: {name: np.empty_like(w) for name, w in state.trained.items()} for slot in state.slots}
            for slot, held in found.items():
                self.module.write_back(state.slots[slot], held)
            return found
        names = dict.fromkeys(slot for held in state.slots.values() for slot in held)
        return {slot: {name: held[slot].copy() for name, held in state.slots.items()} for slot in names}
