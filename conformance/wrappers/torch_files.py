"""An ejected file in PyTorch, put under test."""

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from conformance.adapters.session import State
from conformance.adapters.torch import array
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.files import FileSession, Snapshot, Watched, changed
from conformance.wrappers.torch_state import Optimizers


class Session(FileSession):
    """Its ``Model`` is loaded with what it is asked about."""

    def __init__(self, module: ModuleType, problem: Problem) -> None:
        super().__init__(module, problem)
        self.model = self._model()
        self.optimizers = Optimizers(module.make_optimizer, {slot: slot for slot in self.slot_names}, self.slot_names)

    def tensor(self, value: Array) -> Any:
        return torch.tensor(value)

    def initial(self, sizes: tuple[int, ...], seed: int) -> Tensors:
        model = self._model(sizes)
        self.module.initialize(model, torch.Generator().manual_seed(seed))
        return self._parameters(model)

    def outputs(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        self._load(parameters, statistics)
        return array(self.module.predict(self.model, torch.tensor(x)))

    def hidden(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        """The outputs of the layers and normalisations; an activation as what the next layer takes."""
        self._load(parameters, statistics or {})
        self.model.train(statistics is None)
        if self.is_network:  # whose layers are lines
            return {self.problem.logits: array(self._forward(x, masks))}
        values: dict[str, Any] = {}
        watching = []
        for number, layer in enumerate(self.model.layers, start=1):
            watching.append(layer.register_forward_hook(_keep_output(values, f"Z{number}")))
            if number > 1:
                watching.append(layer.register_forward_pre_hook(_keep_input(values, f"A{number - 1}")))
        for number, norm in enumerate(getattr(self.model, "norms", []), start=1):
            watching.append(norm.register_forward_hook(_keep_output(values, f"N{number}")))
        try:
            self._forward(x, masks)
        finally:
            for handle in watching:
                handle.remove()
        return values

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        self._load(parameters, {})
        self.model.train()
        of_loss = self.of_batch(None, weights)
        logits, targets = self._forward(x, masks), torch.tensor(y)
        matrices = [self.model.named()[name] for name in self.weight_names]
        penalty = sum((term(matrices, len(x)) for term in self.penalties), start=torch.zeros((), dtype=logits.dtype))
        cost = self.module.total_cost(self.model, torch.tensor(x), targets, **self.of_batch(masks, weights))
        found = {
            "per_example": self.module.example_losses(logits, targets, **of_loss),
            "data_loss": self.module.data_loss(logits, targets, **of_loss),
            "penalty": penalty,
            "cost": cost,
        }
        return {name: array(value) for name, value in found.items()}

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        self._load(parameters, {})
        self.model.train()
        inputs = torch.tensor(x, requires_grad=x.dtype.kind == "f")
        self.model.zero_grad()
        cost = self.module.total_cost(self.model, inputs, torch.tensor(y), **self.of_batch(masks, weights))
        cost.backward()
        own = {name: array(w.grad).copy() for name, w in self.model.named().items()}
        of_input = {} if inputs.grad is None else {"A0": array(inputs.grad)}
        return {"cost": array(cost), **of_input, **own}

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        self._load(parameters, statistics)
        self.model.train()
        self._forward(x, masks)
        return self._statistics(self.model)

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        held = {name: nn.Parameter(torch.tensor(value)) for name, value in parameters.items()}
        optimizer = self.optimizers.optimizer(held, state)
        optimizer.param_groups[0]["lr"] = learning_rate
        for name, w in held.items():
            w.grad = torch.tensor(gradients[name])
        optimizer.step()
        return {name: array(w) for name, w in held.items()}, State(
            state.step + 1, self.optimizers.slots(optimizer, held)
        )

    def trained(self, problem: Problem, watched: Watched, given: dict[str, Any]) -> tuple[Any, Snapshot]:
        model = self._model()
        self._load(problem.tape.initial_parameters, {}, model)
        train_step, steps = self.module.train_step, 0

        def step(model: Any, parameters: Any, optimizer: Any, *arguments: Any, **keywords: Any) -> Any:
            nonlocal steps
            result = train_step(model, parameters, optimizer, *arguments, **keywords)
            steps += 1
            if steps % problem.batches_per_epoch == 0:
                slots = self.optimizers.slots(optimizer, parameters)
                watched.epochs.append(Snapshot(self._parameters(model), slots, self._statistics(model)))
            return result

        with changed(self.module, train_step=step):
            x, y = torch.tensor(problem.train_x), torch.tensor(problem.train_y)
            history = self.module.fit(model, x, y, **given)
        return history, Snapshot(self._parameters(model), {}, self._statistics(model))

    def _model(self, sizes: tuple[int, ...] | None = None) -> Any:
        return self.module.Model(*(self.sizes if sizes is None else sizes)).to(self.module.DTYPE)

    def _forward(self, x: Array, masks: Masks | None) -> Any:
        return self.model(torch.tensor(x), self.tensors(masks)) if masks else self.model(torch.tensor(x))

    def _load(self, parameters: Tensors, statistics: Tensors, model: Any = None) -> None:
        model = self.model if model is None else model
        with torch.no_grad():
            for name, w in model.named().items():
                w.copy_(torch.tensor(parameters[name]))
            for name, value in statistics.items():
                _statistic(model, name).copy_(torch.tensor(value))

    def _parameters(self, model: Any) -> Tensors:
        return {name: array(w).copy() for name, w in model.named().items()}

    def _statistics(self, model: Any) -> Tensors:
        return {name: array(_statistic(model, name)).copy() for name in self.statistics}


def _statistic(model: Any, name: str) -> Any:
    """``running_mean1`` of a model: of its first normalisation; of a network of layers ``5.1.running_mean``."""
    if "." in name:
        layer, _, own = name.rpartition(".")
        return getattr(model, f"{own}{layer.replace('.', '_')}")
    kind = name.rstrip("0123456789")
    return getattr(model.norms[int(name.removeprefix(kind)) - 1], kind)


def _keep_output(values: dict[str, Any], name: str) -> Any:
    def keep(module: Any, inputs: Any, output: Any) -> None:
        values[name] = np.array(array(output))

    return keep


def _keep_input(values: dict[str, Any], name: str) -> Any:
    def keep(module: Any, inputs: Any) -> None:
        values[name] = np.array(array(inputs[0]))

    return keep
