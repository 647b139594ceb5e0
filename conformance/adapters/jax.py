"""Adapter of ``impl_jax``."""

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import numpy as np
import optax

from conformance.adapter import DeviceNotFound, State, Training
from conformance.tape import Array, Masks, Problem, Tensors
from impl_jax import losses, models, normalization, optimizers, regularizers, schedules, training


class JaxAdapter:
    """float32 runs with 64-bit types off, as JAX starts up; float64 needs them on."""

    def __init__(self, device: str) -> None:
        self.device = device
        try:
            self.jax_device = jax.devices(device)[0]
        except RuntimeError as error:
            found = ", ".join(sorted({d.platform for d in jax.devices()} | {"cpu"}))
            raise DeviceNotFound(f"device={device!r} is not there: JAX {jax.__version__} found {found}") from error
        jax.config.update("jax_default_device", self.jax_device)
        jax.config.update("jax_default_matmul_precision", "highest")

    def versions(self) -> Mapping[str, str]:
        return {"jax": jax.__version__, "optax": optax.__version__}

    def settings(self) -> Mapping[str, Any]:
        return {"device": self.jax_device.device_kind, "matmul_precision": "highest", "x64": "on for float64 only"}

    def session(self, problem: Problem) -> "JaxSession":
        return JaxSession(problem)


P = ParamSpec("P")
R = TypeVar("R")


def _in_precision(
    method: Callable[Concatenate["JaxSession", P], R],
) -> Callable[Concatenate["JaxSession", P], R]:
    """Let a method run with 64-bit types on exactly if the session is in float64."""

    def run(self: "JaxSession", /, *arguments: P.args, **keywords: P.kwargs) -> R:
        with jax.enable_x64(self.double):
            return method(self, *arguments, **keywords)

    return run


class JaxSession:
    def __init__(self, problem: Problem) -> None:
        recipe = problem.recipe
        self.recipe = recipe
        self.double = problem.dtype == np.float64
        self.model = recipe.build_model(models, features=problem.features, classes=problem.dataset.n_classes)
        self.optimizer = optimizers.OPTIMIZERS[recipe.optimizer.name](**recipe.optimizer.keywords)
        self.update = jax.jit(self._update)
        self.objective: dict[str, Any] = {
            "loss": recipe.loss.name,
            "loss_options": recipe.loss.keywords,
            "penalties": recipe.build_penalties(regularizers),
        }

    @_in_precision
    def standardize(self, train_x: Array, x: Array) -> Array:
        statistics = normalization.standardization_statistics(jax.numpy.asarray(train_x))
        return np.asarray(normalization.standardize(jax.numpy.asarray(x), *statistics))

    @_in_precision
    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None) -> Tensors:
        return _arrays(_intermediates(self.model, parameters, x, masks=masks))

    @_in_precision
    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None) -> Tensors:
        result = self._loss_and_gradients(parameters, x, y, masks)
        outputs = _intermediates(self.model, parameters, x, masks=masks)[f"Z{self.model.depth}"]
        per_example = losses.LOSSES[self.objective["loss"]](outputs, y, **self.objective["loss_options"])
        parts = {"data_loss": result.data_loss, "penalty": result.penalty, "cost": result.cost}
        return _arrays({"per_example": per_example, **parts})

    @_in_precision
    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None) -> Tensors:
        result = self._loss_and_gradients(parameters, x, y, masks)
        return _arrays({"cost": result.cost, **result.gradients})

    @_in_precision
    def predict_classes(self, parameters: Tensors, x: Array) -> Array:
        return np.asarray(models.predict_classes(self.model, parameters, x))

    @_in_precision
    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        step = np.asarray(state.step, np.int32)
        parameters, (_, slots) = self.update(
            gradients, optimizers.OptimizerState(step, state.slots), parameters, learning_rate
        )
        return _arrays(parameters), State(state.step + 1, {slot: _arrays(held) for slot, held in slots.items()})

    @_in_precision
    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...]) -> Training:
        history = training.fit(
            self.model,
            problem.tape.initial_parameters,
            problem.train_x,
            problem.train_y,
            optimizer=self.optimizer,
            schedule=self.recipe.build_schedule(schedules),
            schedule_unit=self.recipe.schedule.unit,
            epochs=self.recipe.epochs,
            batch_size=self.recipe.batch_size,
            batch_order=problem.tape.batch_order,
            dropout_masks=problem.tape.dropout_masks,
            checkpoint_epochs=checkpoint_epochs,
            **self.objective,
        )
        return Training(
            history.costs,
            history.learning_rates,
            history.gradient_norms,
            _arrays(history.parameters),
            {slot: _arrays(tensors) for slot, tensors in history.optimizer_state.slots.items()},
            {epoch: _arrays(parameters) for epoch, parameters in history.checkpoints.items()},
        )

    def _loss_and_gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None) -> Any:
        # Always with the input's gradient, so that there is one function to compile and not two.
        return training.loss_and_gradients(
            self.model, parameters, x, y, masks=masks, input_gradient=True, **self.objective
        )

    def _update(self, gradients: Any, state: Any, parameters: Any, learning_rate: Any) -> Any:
        updates, state = self.optimizer.update(gradients, state, parameters, learning_rate=learning_rate)
        return optax.apply_updates(parameters, updates), state


# Compiled once for each model and shape, whatever the session.
_intermediates = jax.jit(models.intermediates, static_argnums=0)


def _arrays(tensors: Mapping[str, Any]) -> Tensors:
    return {name: np.asarray(tensor) for name, tensor in tensors.items()}
