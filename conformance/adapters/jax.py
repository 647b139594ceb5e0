"""Adapter of ``impl_jax``."""

import os
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import jax
import numpy as np
import optax

from conformance.adapters.cache import cache_folder, prune
from conformance.adapters.parts import Parts, training_of
from conformance.adapters.session import DeviceNotFound, Session, State, Training, TrainingState
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors
from impl_jax import initializers, losses, models, normalization, optimizers, regularizers, schedules, training

MOST_CACHED_BYTES = 1 << 29  # the default suite's programs take some 12 million


class JaxAdapter:
    """float32 runs with 64-bit types off, as JAX starts up; float64 needs them on.

    Nearly all the time goes into compiling, so compiled programs are kept for the next run, in JAX's own cache.
    ``JAX_ENABLE_COMPILATION_CACHE=false`` turns it off, ``JAX_COMPILATION_CACHE_DIR`` puts it elsewhere.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.keeps_programs = _keep_programs()
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
        return {
            "device": self.jax_device.device_kind,
            "matmul_precision": "highest",
            "x64": "on for float64 only",
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "compilation_cache": "on" if self.keeps_programs else "off",
        }

    def session(self, problem: Problem) -> "JaxSession":
        return JaxSession(problem)


class InPrecision(Protocol):
    """What has methods that run in a precision: ``double`` is whether in float64."""

    double: bool


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=InPrecision)


def in_precision(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Let a method run with 64-bit types on exactly if the session is in float64."""

    @wraps(method)
    def run(self: S, /, *arguments: P.args, **keywords: P.kwargs) -> R:
        with jax.enable_x64(self.double):
            return method(self, *arguments, **keywords)

    return run


class JaxSession(Session):
    def __init__(self, problem: Problem) -> None:
        recipe = problem.recipe
        self.recipe = recipe
        self.double = problem.dtype == np.float64
        self.examples = len(problem.train_x)
        self.parts = Parts(problem, models, regularizers, schedules, training)
        self.model = self.parts.model
        self.objective = self.parts.objective
        self.optimizer = optimizers.OPTIMIZERS[recipe.optimizer.name](**recipe.optimizer.keywords)
        # Compiled whole: JAX would compile every operation by itself, for every shape.
        self.differentiate = jax.jit(self._differentiate)
        self.update = jax.jit(self._update)
        # Not so compiled: its draws are compiled by shape, and many models share these.
        self.initialize: Any = partial(models.initialize, self.model, **self.parts.of_initialize())

    @in_precision
    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        draw = initializers.INITIALIZERS[self.recipe.initializer.name]
        return np.asarray(draw(jax.random.key(seed), shape, **self.recipe.initializer.keywords))

    @in_precision
    def standardize(self, train_x: Array, x: Array) -> Array:
        return np.asarray(_standardize(x, *_standardization_statistics(train_x)))

    @in_precision
    def augment(self, x: Array, draws: list[Array]) -> Array:
        return np.asarray(_augment(x, self.parts.augmentations, draws))

    @in_precision
    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        return arrays(self._intermediates(parameters, x, masks, statistics))

    @in_precision
    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        return arrays(self.differentiate(parameters, x, y, masks, weights)[0])

    @in_precision
    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        found, gradients = self.differentiate(parameters, x, y, masks, weights)
        return arrays({"cost": found["cost"], **gradients})

    @in_precision
    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        return arrays(_update_statistics(self.model, parameters, x, statistics, masks=masks))

    @in_precision
    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        # Filled up to the number of training examples, so that the test set needs no program of its own; but not with
        # a normalization, where it would show if an example were no matter of its own.
        normalized = self.model.has_statistics or self.recipe.model.normalization is not None
        size = len(x) if normalized else max(len(x), self.examples)
        rows = np.zeros((size, *x.shape[1:]), x.dtype)
        rows[: len(x)] = x
        return np.asarray(_predict_classes(self.model, parameters, rows, statistics))[: len(x)]

    @in_precision
    def clip(self, gradients: Tensors) -> Tensors:
        return arrays(jax.jit(self.parts.clipping)(gradients))

    @in_precision
    def constrain(self, parameters: Tensors) -> Tensors:
        return arrays(jax.jit(self.parts.constraint)(parameters))

    @in_precision
    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        step: Any = np.asarray(state.step, np.int32)
        parameters, (_, slots) = self.update(
            gradients, optimizers.OptimizerState(step, state.slots), parameters, learning_rate
        )
        return arrays(parameters), State(state.step + 1, {slot: arrays(held) for slot, held in slots.items()})

    @in_precision
    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        return self._fit(problem, checkpoint_epochs, start=start)

    def another_session(self, problem: Problem) -> "JaxSession":
        return type(self)(problem)

    @in_precision
    def initial_parameters(self, seed: int) -> Tensors:
        return arrays(self.initialize(jax.random.key(seed)))

    @in_precision
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
        return training_of(history, arrays)

    def _intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Any:
        return _intermediates(self.model, parameters, x, statistics, masks=masks, training=statistics is None)

    def _differentiate(
        self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """All that is asked about a batch, in one program and not in three: losses, and gradients with the input's."""
        result = training.loss_and_gradients(
            self.model, parameters, x, y, masks=masks, example_weights=weights, input_gradient=True, loss=self.objective
        )
        values = self._intermediates(parameters, x, masks, None)
        outputs = values[self.parts.taken_by_loss(losses)]
        loss = self.recipe.loss
        per_example = losses.LOSSES[loss.name](outputs, y, weights, **loss.keywords)
        parts = {"data_loss": result.data_loss, "penalty": result.penalty, "cost": result.cost}
        return {"per_example": per_example, **parts}, result.gradients

    def _update(self, gradients: Any, state: Any, parameters: Any, learning_rate: Any) -> Any:
        updates, state = self.optimizer.update(gradients, state, parameters, learning_rate=learning_rate)
        return optax.apply_updates(parameters, updates), state


# Compiled once for each model, augmentations and shape, whatever the session.
_intermediates = jax.jit(models.intermediates, static_argnums=0, static_argnames="training")
_predict_classes = jax.jit(models.predict_classes, static_argnums=0)
_standardization_statistics = jax.jit(normalization.standardization_statistics)
_standardize = jax.jit(normalization.standardize)
_update_statistics = jax.jit(models.update_statistics, static_argnums=0)
_augment = jax.jit(training.augment, static_argnums=1)


def _keep_programs() -> bool:
    """Let JAX keep every compiled program on disk, and tell whether it does."""
    settings: Any = jax.config
    if not settings.jax_enable_compilation_cache:
        return False
    if settings.jax_compilation_cache_dir is None:
        folder = cache_folder("jax")
        if folder is None or not prune(folder, MOST_CACHED_BYTES):
            return False
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # Small programs too: a run compiles hundreds of them.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return True


def _progress(start: TrainingState) -> training.Progress:
    return training.Progress(optimizers.OptimizerState(start.step - 1, start.slots), start.statistics)


def arrays(tensors: Mapping[str, Any]) -> Tensors:
    """JAX's arrays as NumPy's, by name."""
    return {name: np.asarray(tensor) for name, tensor in tensors.items()}
