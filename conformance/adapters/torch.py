"""Adapter of ``impl_torch``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from conformance.adapter import DeviceNotFound, State, Training
from conformance.tape import Array, Masks, Problem, Tensors
from impl_torch import losses, models, normalization, optimizers, regularizers, schedules, training


class TorchAdapter:
    """``gpu`` is CUDA, or Apple's MPS; there is no ``tpu``."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.torch_device = torch.device(_find(device))
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.set_num_threads(1)

    def versions(self) -> Mapping[str, str]:
        return {"torch": torch.__version__}

    def settings(self) -> Mapping[str, Any]:
        return {
            "device": torch.cuda.get_device_name() if self.torch_device.type == "cuda" else self.torch_device.type,
            "tf32": torch.backends.cuda.matmul.allow_tf32,
            "threads": torch.get_num_threads(),
        }

    def session(self, problem: Problem) -> "TorchSession":
        return TorchSession(problem, self.torch_device)


class TorchSession:
    def __init__(self, problem: Problem, device: torch.device) -> None:
        recipe = problem.recipe
        self.device = device
        self.dtype = getattr(torch, problem.dtype.name)
        model = recipe.build_model(models, features=problem.features, classes=problem.dataset.n_classes)
        self.model = model.to(device=device, dtype=self.dtype)
        self.recipe = recipe
        self.objective: dict[str, Any] = {
            "loss": recipe.loss.name,
            "loss_options": recipe.loss.keywords,
            "penalties": recipe.build_penalties(regularizers),
        }

    def standardize(self, train_x: Array, x: Array) -> Array:
        statistics = normalization.standardization_statistics(self._tensor(train_x))
        return _array(normalization.standardize(self._tensor(x), *statistics))

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None) -> Tensors:
        self._set(parameters)
        return _arrays(models.intermediates(self.model, self._tensor(x), masks=self._masks(masks)))

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None) -> Tensors:
        self._set(parameters)
        batch, masks = (self._tensor(x), self._tensor(y)), self._masks(masks)
        result = training.loss_and_gradients(self.model, *batch, masks=masks, **self.objective)
        with torch.no_grad():
            outputs = self.model(batch[0], masks)
            per_example = losses.LOSSES[self.objective["loss"]](outputs, batch[1], **self.objective["loss_options"])
        parts = {"data_loss": result.data_loss, "penalty": result.penalty, "cost": result.cost}
        return _arrays({"per_example": per_example, **parts})

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None) -> Tensors:
        self._set(parameters)
        batch = self._tensor(x), self._tensor(y)
        result = training.loss_and_gradients(
            self.model, *batch, masks=self._masks(masks), input_gradient=True, **self.objective
        )
        return _arrays({"cost": result.cost, **result.gradients})

    def predict_classes(self, parameters: Tensors, x: Array) -> Array:
        self._set(parameters)
        return _array(models.predict_classes(self.model, self._tensor(x)))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        held = {name: torch.nn.Parameter(self._tensor(value)) for name, value in parameters.items()}
        optimizer = self._optimizer(held.values())
        slots = {slot: {n: self._tensor(v) for n, v in tensors.items()} for slot, tensors in state.slots.items()}
        optimizers.load_named_state(optimizer, held, state.step, slots)
        optimizer.param_groups[0]["lr"] = learning_rate
        for name, parameter in held.items():
            parameter.grad = self._tensor(gradients[name])
        optimizer.step()
        _, slots = optimizers.named_state(optimizer, held)
        return _arrays(held), State(state.step + 1, {slot: _arrays(tensors) for slot, tensors in slots.items()})

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...]) -> Training:
        self._set(problem.tape.initial_parameters)
        optimizer = self._optimizer(self.model.parameters())
        history = training.fit(
            self.model,
            self._tensor(problem.train_x),
            self._tensor(problem.train_y),
            optimizer=optimizer,
            schedule=self.recipe.build_schedule(schedules),
            schedule_unit=self.recipe.schedule.unit,
            epochs=self.recipe.epochs,
            batch_size=self.recipe.batch_size,
            batch_order=problem.tape.batch_order,
            dropout_masks=problem.tape.dropout_masks,
            checkpoint_epochs=checkpoint_epochs,
            **self.objective,
        )
        _, slots = optimizers.named_state(optimizer, self.model.parameter_dict())
        return Training(
            history.costs,
            history.learning_rates,
            history.gradient_norms,
            _arrays(history.parameters),
            {slot: _arrays(tensors) for slot, tensors in slots.items()},
            {epoch: _arrays(parameters) for epoch, parameters in history.checkpoints.items()},
        )

    def _optimizer(self, parameters: Any) -> Any:
        return optimizers.OPTIMIZERS[self.recipe.optimizer.name](parameters, **self.recipe.optimizer.keywords)

    def _set(self, parameters: Tensors) -> None:
        with torch.no_grad():
            for name, parameter in self.model.parameter_dict().items():
                parameter.copy_(self._tensor(parameters[name]))

    def _tensor(self, value: Array) -> torch.Tensor:
        return torch.tensor(value, device=self.device)

    def _masks(self, masks: Masks | None) -> Any:
        return None if masks is None else {layer: self._tensor(mask) for layer, mask in masks.items()}


def _find(device: str) -> str:
    """PyTorch's name of a device. Raises DeviceNotFound."""
    if device == "cpu":
        return "cpu"
    if device == "gpu" and torch.cuda.is_available():
        return "cuda"
    if device == "gpu" and torch.backends.mps.is_available():
        return "mps"
    found = ["cpu", *(["gpu"] if torch.cuda.is_available() or torch.backends.mps.is_available() else [])]
    raise DeviceNotFound(f"device={device!r} is not there: PyTorch {torch.__version__} found {', '.join(found)}")


def _array(tensor: torch.Tensor) -> Array:
    return np.asarray(tensor.detach().cpu())


def _arrays(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: _array(tensor) for name, tensor in tensors.items()}
