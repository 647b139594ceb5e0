"""Adapter of ``impl_torch``."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from conformance.adapters.parts import Parts, training_of
from conformance.adapters.session import DeviceNotFound, Session, State, Training, TrainingState
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors
from impl_torch import initializers, losses, models, normalization, optimizers, regularizers, schedules, training


class TorchAdapter:
    """``gpu`` is CUDA, or Apple's MPS; there is no ``tpu``."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.torch_device = torch.device(find(device))
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


class TorchSession(Session):
    def __init__(self, problem: Problem, device: torch.device) -> None:
        recipe = problem.recipe
        self.device = device
        self.dtype = getattr(torch, problem.dtype.name)
        self.recipe = recipe
        self.parts = Parts(problem, models, regularizers, schedules, training)
        self.model = self.parts.model.to(device=device, dtype=self.dtype)
        self.objective = self.parts.objective
        # One for all trainings, as a user would have it.
        trained = [w for name, w in self.model.parameter_dict().items() if problem.is_trained(name)]
        self.optimizer = self._optimizer(trained)

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        draw = initializers.INITIALIZERS[self.recipe.initializer.name]
        generator = torch.Generator(self.device).manual_seed(seed)
        return array(draw(generator, shape, dtype=self.dtype, **self.recipe.initializer.keywords))

    def standardize(self, train_x: Array, x: Array) -> Array:
        statistics = normalization.standardization_statistics(self._tensor(train_x))
        return array(normalization.standardize(self._tensor(x), *statistics))

    def augment(self, x: Array, draws: list[Array]) -> Array:
        return array(
            training.augment(self._tensor(x), self.parts.augmentations, [self._tensor(drawn) for drawn in draws])
        )

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        self._set(parameters, statistics)
        values = models.intermediates(
            self.model, self._tensor(x), masks=self._masks(masks), training=statistics is None
        )
        return arrays(values)

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        self._set(parameters)
        batch = self._batch(x, y, masks, weights)
        result = training.loss_and_gradients(self.model, **batch, loss=self.objective)
        values = models.intermediates(self.model, batch["x"], masks=batch["masks"], training=True)
        outputs = values[self.parts.taken_by_loss(losses)]
        loss, options = losses.LOSSES[self.objective.loss], self.objective.loss_options
        per_example = loss(outputs, batch["y"], batch["example_weights"], **options)
        parts = {"data_loss": result.data_loss, "penalty": result.penalty, "cost": result.cost}
        return arrays({"per_example": per_example, **parts})

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        self._set(parameters)
        batch = self._batch(x, y, masks, weights)
        result = training.loss_and_gradients(self.model, **batch, input_gradient=True, loss=self.objective)
        return arrays({"cost": result.cost, **result.gradients})

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        self._set(parameters, statistics)
        return arrays(models.update_statistics(self.model, self._tensor(x), masks=self._masks(masks)))

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        self._set(parameters, statistics)
        return array(models.predict_classes(self.model, self._tensor(x)))

    def clip(self, gradients: Tensors) -> Tensors:
        return arrays(self.parts.clipping(self._tensors(gradients)))

    def constrain(self, parameters: Tensors) -> Tensors:
        return arrays(self.parts.constraint(self._tensors(parameters)))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        held = {name: torch.nn.Parameter(value) for name, value in self._tensors(parameters).items()}
        optimizer = self._optimizer(held.values())
        slots = {slot: self._tensors(tensors) for slot, tensors in state.slots.items()}
        optimizers.load_named_state(optimizer, held, state.step, slots)
        optimizer.param_groups[0]["lr"] = learning_rate
        for name, parameter in held.items():
            parameter.grad = self._tensor(gradients[name])
        optimizer.step()
        _, slots = optimizers.named_state(optimizer, held)
        return arrays(held), State(state.step + 1, {slot: arrays(tensors) for slot, tensors in slots.items()})

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        return self._fit(problem, checkpoint_epochs, start=start)

    def another_session(self, problem: Problem) -> "TorchSession":
        return type(self)(problem, self.device)

    def initial_parameters(self, seed: int) -> Tensors:
        models.initialize(self.model, torch.Generator(self.device).manual_seed(seed), **self.parts.of_initialize())
        return {name: w.copy() for name, w in arrays(self.model.parameter_dict()).items()}

    def fit_natively(self, problem: Problem, seed: int, checkpoint_epochs: tuple[int, ...]) -> Training:
        return self._fit(problem, checkpoint_epochs, seed)

    def _fit(
        self, problem: Problem, checkpoint_epochs: tuple[int, ...], seed: int | None = None,
        start: TrainingState | None = None,
    ) -> Training:  # fmt: skip
        self._set(problem.tape.initial_parameters if start is None else start.parameters)
        history = training.fit(
            self.model,
            self._tensor(problem.train_x),
            self._tensor(problem.train_y),
            **self.parts.of_fit(problem, self.optimizer, checkpoint_epochs, seed, self._tensor),
            resume=None if start is None else self._progress(start),
        )
        return training_of(history, arrays)

    def _progress(self, start: TrainingState) -> training.Progress:
        slots = {slot: self._tensors(tensors) for slot, tensors in start.slots.items()}
        state = optimizers.OptimizerState(start.step - 1, slots)
        return training.Progress(state, self._tensors(start.statistics))

    def _optimizer(self, parameters: Any) -> Any:
        return optimizers.OPTIMIZERS[self.recipe.optimizer.name](parameters, **self.recipe.optimizer.keywords)

    def _set(self, parameters: Tensors, statistics: Tensors | None = None) -> None:
        with torch.no_grad():
            for name, parameter in self.model.parameter_dict().items():
                parameter.copy_(self._tensor(parameters[name]))
        if statistics is not None:
            self.model.load_statistics(self._tensors(statistics))

    def _batch(self, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> dict[str, Any]:
        return {
            "x": self._tensor(x),
            "y": self._tensor(y),
            "masks": self._masks(masks),
            "example_weights": None if weights is None else self._tensor(weights),
        }

    def _tensor(self, value: Array) -> torch.Tensor:
        return torch.tensor(value, device=self.device)

    def _tensors(self, values: Tensors) -> dict[str, torch.Tensor]:
        return {name: self._tensor(value) for name, value in values.items()}

    def _masks(self, masks: Masks | None) -> Any:
        return None if masks is None else {layer: self._tensor(mask) for layer, mask in masks.items()}


def find(device: str) -> str:
    """PyTorch's name of a device. Raises DeviceNotFound."""
    if device == "cpu":
        return "cpu"
    if device == "gpu" and torch.cuda.is_available():
        return "cuda"
    if device == "gpu" and torch.backends.mps.is_available():
        return "mps"
    found = ["cpu", *(["gpu"] if torch.cuda.is_available() or torch.backends.mps.is_available() else [])]
    raise DeviceNotFound(f"device={device!r} is not there: PyTorch {torch.__version__} found {', '.join(found)}")


def array(tensor: torch.Tensor) -> Array:
    return np.asarray(tensor.detach().cpu())


def arrays(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: array(tensor) for name, tensor in tensors.items()}
