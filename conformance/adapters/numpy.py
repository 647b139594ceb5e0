"""Adapter of ``reference_numpy``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.adapters.parts import Parts, training_of
from conformance.adapters.session import DeviceNotFound, Session, State, Training, TrainingState
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors
from reference_numpy import initializers, losses, models, normalization, optimizers, regularizers, schedules, training


class NumpyAdapter:
    """NumPy computes on the CPU alone. The oracle is no implementation: it is made there for every device."""

    def __init__(self, device: str) -> None:
        if device != "cpu":
            raise DeviceNotFound(
                f"device={device!r} is not there: NumPy computes on the cpu alone. Name the implementations that have"
                " the device (--implementation torch,tf,jax); they are held against the same oracle"
            )
        self.device = device

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}

    def settings(self) -> Mapping[str, Any]:
        return {"blas": np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]}

    def session(self, problem: Problem) -> "NumpySession":
        return NumpySession(problem)


class NumpySession(Session):
    def __init__(self, problem: Problem) -> None:
        recipe = problem.recipe
        self.dtype = problem.dtype
        self.initializer = recipe.initializer
        self.parts = Parts(problem, models, regularizers, schedules, training)
        self.model = self.parts.model
        self.objective = self.parts.objective
        self.optimizer = optimizers.OPTIMIZERS[recipe.optimizer.name](**recipe.optimizer.keywords)

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        draw = initializers.INITIALIZERS[self.initializer.name]
        return draw(np.random.default_rng(seed), shape, dtype=self.dtype, **self.initializer.keywords)

    def standardize(self, train_x: Array, x: Array) -> Array:
        return normalization.standardize(x, *normalization.standardization_statistics(train_x))

    def augment(self, x: Array, draws: list[Array]) -> Array:
        return training.augment(x, self.parts.augmentations, draws)

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        return models.intermediates(self.model, parameters, x, statistics, masks=masks, training=statistics is None)

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        values = self.intermediates(parameters, x, masks, None)
        outputs = values[self.parts.taken_by_loss(losses)]
        result = training.loss_and_gradients(
            self.model, parameters, x, y, masks=masks, example_weights=weights, loss=self.objective
        )
        per_example = losses.LOSSES[self.objective.loss](outputs, y, weights, **self.objective.loss_options)
        return {
            "per_example": per_example,
            "data_loss": np.asarray(result.data_loss),
            "penalty": np.asarray(result.penalty, self.dtype),
            "cost": np.asarray(result.cost),
        }

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        result = training.loss_and_gradients(
            self.model, parameters, x, y, masks=masks, example_weights=weights, input_gradient=True, loss=self.objective
        )
        return {"cost": np.asarray(result.cost), **result.gradients}

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        return models.update_statistics(self.model, parameters, x, statistics, masks=masks)

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        return models.predict_classes(self.model, parameters, x, statistics)

    def decision_margins(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        """How far each logit, or an example's largest two of a softmax, are from a change of the predicted label."""
        logits = self.intermediates(parameters, x, None, statistics)[self.model.logits_name]
        if self.model.output == "softmax":
            ordered = np.sort(logits, axis=1)
            return ordered[:, -1] - ordered[:, -2]
        return np.abs(logits[:, 0] if logits.shape[1] == 1 else logits)

    def clip(self, gradients: Tensors) -> Tensors:
        return dict(self.parts.clipping(gradients))

    def constrain(self, parameters: Tensors) -> Tensors:
        return dict(self.parts.constraint(parameters))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        before = optimizers.OptimizerState(state.step, state.slots)
        parameters, after = self.optimizer.update(gradients, before, parameters, learning_rate=learning_rate)
        return parameters, State(*after)

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        return self._fit(problem, checkpoint_epochs, start=start)

    def another_session(self, problem: Problem) -> "NumpySession":
        return type(self)(problem)

    def initial_parameters(self, seed: int) -> Tensors:
        return models.initialize(
            self.model, np.random.default_rng(seed), **self.parts.of_initialize(), dtype=self.dtype
        )

    def fit_natively(self, problem: Problem, seed: int, checkpoint_epochs: tuple[int, ...]) -> Training:
        return self._fit(problem, checkpoint_epochs, seed)

    def _fit(
        self, problem: Problem, checkpoint_epochs: tuple[int, ...], seed: int | None = None,
        start: TrainingState | None = None,
    ) -> Training:  # fmt: skip
        history = training.fit(
            self.model,
            problem.tape.initial_parameters if start is None else start.parameters,
            problem.train_x,
            problem.train_y,
            **self.parts.of_fit(problem, self.optimizer, checkpoint_epochs, seed, np.asarray),
            resume=None if start is None else _progress(start),
        )
        return training_of(history, dict)


def _progress(start: TrainingState) -> training.Progress:
    return training.Progress(optimizers.OptimizerState(start.step - 1, start.slots), start.statistics)
