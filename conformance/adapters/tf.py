"""Adapter of ``impl_tf``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from conformance.adapters.parts import Parts, training_of
from conformance.adapters.session import DeviceNotFound, Session, State, Training, TrainingState
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors
from impl_tf import initializers, losses, models, normalization, optimizers, regularizers, schedules, training


class TfAdapter:
    """TensorFlow places everything on the first device of the kind asked for; others are hidden from it."""

    def __init__(self, device: str) -> None:
        self.device = device
        kind = device.upper()
        found = tf.config.list_physical_devices(kind)
        if not found:
            names = ", ".join(d.name for d in tf.config.list_physical_devices())
            raise DeviceNotFound(f"device={device!r} is not there: TensorFlow {tf.__version__} found {names}")
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        tf.config.experimental.enable_tensor_float_32_execution(False)
        # Single steps are traced and otherwise left as they are: each op computes what it does eagerly.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

    def versions(self) -> Mapping[str, str]:
        return {"tensorflow": tf.__version__}

    def settings(self) -> Mapping[str, Any]:
        return {
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }

    def session(self, problem: Problem) -> "TfSession":
        return TfSession(problem)


class TfSession(Session):
    def __init__(self, problem: Problem) -> None:
        recipe = problem.recipe
        self.recipe = recipe
        self.dtype = problem.dtype.name
        self.parts = Parts(problem, models, regularizers, schedules, training)
        self.model = self.parts.model
        self.objective = self.parts.objective
        models.initialize(self.model, tf.random.Generator.from_seed(0), dtype=self.dtype)
        self.optimizer = self._optimizer()  # one for all trainings, as a user would have it
        # Traced once for each size of batch: a training in single steps takes the same many times.
        self.look = tf.function(self._look, autograph=False)
        self.steppers: dict[Any, Any] = {}

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        draw = initializers.INITIALIZERS[self.recipe.initializer.name]
        generator = tf.random.Generator.from_seed(seed)
        return _array(draw(generator, shape, dtype=self.dtype, **self.recipe.initializer.keywords))

    def standardize(self, train_x: Array, x: Array) -> Array:
        statistics = normalization.standardization_statistics(tf.convert_to_tensor(train_x))
        return _array(normalization.standardize(tf.convert_to_tensor(x), *statistics))

    def augment(self, x: Array, draws: list[Array]) -> Array:
        return _array(
            training.augment(
                tf.convert_to_tensor(x), self.parts.augmentations, [tf.convert_to_tensor(d) for d in draws]
            )
        )

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        self._set(parameters, statistics)
        return _arrays(models.intermediates(self.model, x, masks=masks, training=statistics is None))

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        per_example, result = self.look(parameters, x, y, masks, weights)
        parts = {"data_loss": result.data_loss, "penalty": result.penalty, "cost": result.cost}
        return _arrays({"per_example": per_example, **parts})

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        _, result = self.look(parameters, x, y, masks, weights)
        return _arrays({"cost": result.cost, **result.gradients})

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        self._set(parameters, statistics)
        return _arrays(models.update_statistics(self.model, x, masks=masks))

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        self._set(parameters, statistics)
        return _array(models.predict_classes(self.model, x))

    def clip(self, gradients: Tensors) -> Tensors:
        return _arrays(self.parts.clipping({name: tf.convert_to_tensor(g) for name, g in gradients.items()}))

    def constrain(self, parameters: Tensors) -> Tensors:
        return _arrays(self.parts.constraint({name: tf.convert_to_tensor(w) for name, w in parameters.items()}))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        gradients = {name: gradients[name] for name in parameters}
        step, rate = tf.constant(state.step, tf.int64), tf.constant(learning_rate, tf.float64)
        found, after = self._stepper(parameters)(parameters, gradients, state.slots, step, rate)
        return _arrays(found), State(state.step + 1, {slot: _arrays(held) for slot, held in after.items()})

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        return self._fit(problem, checkpoint_epochs, start=start)

    def another_session(self, problem: Problem) -> "TfSession":
        return type(self)(problem)

    def initial_parameters(self, seed: int) -> Tensors:
        models.initialize(
            self.model, tf.random.Generator.from_seed(seed), **self.parts.of_initialize(), dtype=self.dtype
        )
        return {name: w.copy() for name, w in _arrays(self.model.parameter_dict()).items()}

    def fit_natively(self, problem: Problem, seed: int, checkpoint_epochs: tuple[int, ...]) -> Training:
        return self._fit(problem, checkpoint_epochs, seed)

    def _fit(
        self, problem: Problem, checkpoint_epochs: tuple[int, ...], seed: int | None = None,
        start: TrainingState | None = None,
    ) -> Training:  # fmt: skip
        self._set(problem.tape.initial_parameters if start is None else start.parameters)
        with graphs_optimized():
            history = training.fit(
                self.model,
                problem.train_x,
                problem.train_y,
                **self.parts.of_fit(problem, self.optimizer, checkpoint_epochs, seed, np.asarray),
                resume=None if start is None else _progress(start),
            )
        return training_of(history, _arrays)

    def _look(self, parameters: Any, x: Any, y: Any, masks: Any, weights: Any) -> tuple[tf.Tensor, training.Gradients]:
        """The loss of each example, and everything that comes of differentiating the cost."""
        self._set(parameters)
        result = training.loss_and_gradients(
            self.model, x, y, masks=masks, example_weights=weights, input_gradient=True, loss=self.objective
        )
        values = models.intermediates(self.model, x, masks=masks, training=True)
        outputs = values[self.parts.taken_by_loss(losses)]
        return losses.LOSSES[self.objective.loss](outputs, y, weights, **self.objective.loss_options), result

    def _stepper(self, parameters: Tensors) -> Any:
        """One step on parameters of these names and shapes, with variables and an optimizer of its own.

        Compiled for those of the model, on which many steps are taken; it would not pay for the few on others.
        """
        shapes = tuple((name, value.shape) for name, value in parameters.items())
        if shapes not in self.steppers:
            take = _Stepper(self._optimizer(), parameters)
            of_model = parameters.keys() <= self.model.parameter_dict().keys()
            self.steppers[shapes] = tf.function(take, autograph=False) if of_model else take
        return self.steppers[shapes]

    def _optimizer(self) -> Any:
        return optimizers.OPTIMIZERS[self.recipe.optimizer.name](**self.recipe.optimizer.keywords)

    def _set(self, parameters: Tensors, statistics: Tensors | None = None) -> None:
        for name, variable in self.model.parameter_dict().items():
            variable.assign(parameters[name])
        for name, value in (statistics or {}).items():
            self.model.statistics_dict()[name].assign(value)


class _Stepper:
    """Steps of an optimizer from given states."""

    def __init__(self, optimizer: optimizers.Optimizer, parameters: Tensors) -> None:
        self.optimizer = optimizer
        self.variables = {name: tf.Variable(value) for name, value in parameters.items()}
        optimizer.build(self.variables)

    def __call__(
        self, parameters: Any, gradients: Any, slots: Any, step: tf.Tensor, learning_rate: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, dict[str, tf.Tensor]]]:
        for name, variable in self.variables.items():
            variable.assign(parameters[name])
        self.optimizer.step.assign(step)
        for slot, held in self.optimizer.slots.items():
            for name, variable in held.items():
                variable.assign(slots[slot][name])
        self.optimizer.update(
            {name: tf.convert_to_tensor(g) for name, g in gradients.items()},
            self.variables,
            learning_rate=learning_rate,
        )
        return _values(self.variables), {slot: _values(held) for slot, held in self.optimizer.slots.items()}


@contextmanager
def graphs_optimized() -> Iterator[None]:
    """With TensorFlow's graph optimizer on, as it is by default: training is compiled as a user has it."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def _progress(start: TrainingState) -> training.Progress:
    return training.Progress(optimizers.OptimizerState(start.step - 1, start.slots), start.statistics)


def _values(variables: Mapping[str, tf.Variable]) -> dict[str, tf.Tensor]:
    return {name: variable.read_value() for name, variable in variables.items()}


def _array(tensor: Any) -> Array:
    return np.asarray(tensor)


def _arrays(tensors: Mapping[str, Any]) -> Tensors:
    return {name: _array(tensor) for name, tensor in tensors.items()}
