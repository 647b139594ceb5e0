"""``wrap_keras``: a user's own ``keras.Model`` or layers, loss and optimizer put under test, on TensorFlow."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import DeviceNotFound, State, Unsupported
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.given import Given, sample, takes, varies
from conformance.wrappers.keras_hooks import Watched, is_running, variables_by_path
from conformance.wrappers.keras_layers import WatchedLayers, all_layers, called_layers, own_layers
from conformance.wrappers.keras_parts import new_loss, new_model, takes_one_hot
from conformance.wrappers.keras_state import CLIPPINGS, Optimizers, array, has_schedule, precision, set_rate
from conformance.wrappers.layouts import KERAS, OUTPUTS_FIRST, OwnLayer
from conformance.wrappers.session import WrappedSession
from conformance.wrappers.subject import Subject
from conformance.wrappers.values import Forward, Gradients, Losses, Step, Taken
from reference_numpy import regularizers


@dataclass(frozen=True)
class KerasGiven(Given):
    """What a user gave to ``wrap_keras``."""

    class_weight: Mapping[int, float] | None = None


def wrap_keras(
    model: Any = None,
    *,
    inputs: Callable[[Any], Any] | None = None,
    loss: Any = None,
    optimizer: Any = None,
    names: Mapping[str, str] | None = None,
    slots: Mapping[str, str] | None = None,
    class_weight: Mapping[int, float] | None = None,
    penalty: Callable[..., Any] | None = None,
    schedule: Callable[[int], float] | None = None,
    standardize: Callable[[Any, Any], Any] | None = None,
    augment: Callable[..., Any] | None = None,
    predict: Callable[[Any], Any] | None = None,
    initializer: Any = None,
) -> Subject:
    """A subject of one's own Keras code, for ``conformance run --implementation mine:subject`` and the like.

    Every part may be left out; what needs it is then not offered. A model, loss or optimizer that is made already is
    made again in the precision under test, by ``get_config``; a function that makes one is called with Keras's floatx
    at that precision. In float64 Keras still rounds what the dialects say.

    Args:
        model: a model, also compiled, a list of layers, or a function that makes either, called with no argument or
            with the problem (``features``, ``recipe``) if it takes one. ``Dense`` layers and normalisations show what
            they compute; a layer's activation is seen as the input of the next one. ``Dropout`` layers are given the
            recipe's masks. What regularizers of its layers add to the loss is the penalty; constraints of its layers
            are applied after each step. For a recipe whose model is a ``network``, Keras's layers are matched to its
            layers by kind and order.
        inputs: of the recipe's inputs ``(m, n_0)``, what the model takes: ``lambda x: tf.reshape(x, (-1, 8, 8, 1))``.
        loss: one of ``keras.losses``, its name, or a function of ``(targets, outputs)``; targets are labels ``(m,)``
            for a softmax (one-hot for a loss that takes such), else numbers ``(m, k)``. By default that of a compiled
            model.
        optimizer: one of ``keras.optimizers``, its name, or a function that makes one; its clipping is the recipe's,
            and so is its schedule. By default that of a compiled model.
        names: which parameter is which, where it cannot be told: ``{"W1": "hidden.kernel"}``, paths of the layers'
            names, or their places where Keras named them.
        slots: where an optimizer of one's own keeps its state, an attribute by the catalogue's slot, with ``-`` before
            it for the other sign: ``{"velocity": "-momentums"}``.
        class_weight: as ``fit`` takes it, weights by label.
        penalty: of the model, or of the model and the number of examples: a scalar that is added to the loss.
        schedule: the learning rate of an epoch or step (the recipe says of which), counted from 0.
        standardize: of the training inputs and others: the others standardised.
        augment: of a batch's inputs and what each augmentation drew for it.
        predict: of outputs, the labels; by default the largest, or those above 0 (of probabilities, 1/2).
        initializer: ``"own"``: look also at the weights that the model starts with when ``model``, a function, makes
            it after ``keras.utils.set_random_seed``.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"KERAS_BACKEND={keras.backend.backend()!r} is not allowed: must be 'tensorflow'")
    given = KerasGiven(
        model=model, inputs=inputs, loss=loss, optimizer=optimizer, names=names, slots=slots, class_weight=class_weight,
        penalty=penalty, schedule=schedule, standardize=standardize, augment=augment, predict=predict,
        initializer=initializer,
    )  # fmt: skip
    return Subject(KerasSession, given)


class KerasSession(WrappedSession):
    """A user's Keras code for one problem."""

    inputs_first = True
    kernels = OUTPUTS_FIRST
    layouts = KERAS
    given: KerasGiven

    @classmethod
    def check_device(cls, device: str) -> None:
        if not tf.config.list_physical_devices(device.upper()):
            names = ", ".join(d.name for d in tf.config.list_physical_devices())
            raise DeviceNotFound(f"device={device!r} is not there: TensorFlow {tf.__version__} found {names}")
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        tf.config.experimental.enable_tensor_float_32_execution(False)

    @staticmethod
    def versions() -> Mapping[str, str]:
        return {"keras": keras.__version__, "tensorflow": tf.__version__}

    @staticmethod
    def settings(device: str) -> Mapping[str, Any]:
        return {
            "backend": keras.backend.backend(),
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }

    def __init__(self, given: KerasGiven, problem: Problem, device: str) -> None:
        self.dtype = problem.dtype.name
        super().__init__(given, problem, device)
        if self.matching is not None:
            self.watched = (
                WatchedLayers(self.layers, self.matching, self.calls) if problem.recipe.is_network
                else Watched(self.model, self.matching)
            )  # fmt: skip
        if self.given.loss is not None:
            self.loss = new_loss(self.given.loss, problem)
            self.loss_of_each = new_loss(self.given.loss, problem, reduction=None)

    # ------------------------------------------------------------------ the model

    def make_model(self) -> None:
        self.model = new_model(self.given.model, self.problem, self.given.inputs)
        self.variables = variables_by_path(self.model)
        source = self.given.model if isinstance(self.given.model, keras.Model) else self.model
        if getattr(source, "compiled", False):
            parts = {"loss": source.loss, "optimizer": source.optimizer}
            lacking = {part: value for part, value in parts.items() if getattr(self.given, part) is None}
            self.given = replace(self.given, **lacking)

    def own_parameters(self) -> Tensors:
        return {path: array(v) for path, v in self.variables.items() if not is_running(path)}

    def own_statistics(self) -> Tensors:
        return {path: array(v) for path, v in self.variables.items() if is_running(path)}

    def own_layers(self) -> list[OwnLayer]:
        self.layers = all_layers(self.model)
        called = called_layers(self.layers, lambda: self._called(tf.constant(sample(self.problem)), training=False))
        found, self.calls = own_layers(self.layers, called, self.variables)
        return found

    def load(self, values: Tensors) -> None:
        for path, value in values.items():
            self.variables[path].assign(value)

    def forward(self, x: Array, masks: Masks | None, *, training: bool) -> Forward:
        outputs = self._outputs(tf.constant(x), masks, training=training, watch=True)
        return Forward(array(outputs), {name: array(value) for name, value in self.watched.seen.items()})

    # ------------------------------------------------------------------ the loss

    def losses_of(self, batch: Batch, *, training: bool) -> Losses:
        outputs = self._outputs(tf.constant(batch.x), batch.masks, training=training)
        found = self._losses(outputs, batch.y, batch.weights)
        return found._replace(penalty=array(self._penalty(len(batch.x))))

    def differentiate(self, batch: Batch) -> Gradients:
        x = tf.constant(batch.x)
        own = {path: v.value for path, v in self.variables.items() if not is_running(path)}
        own |= {"": x} if x.dtype.is_floating else {}
        with tf.GradientTape() as tape:
            tape.watch(list(own.values()))
            cost = self._cost(x, batch)
        zero = tf.UnconnectedGradients.ZERO
        found = tape.gradient(cost, list(own.values()), unconnected_gradients=zero)
        gradients = {path: array(tf.convert_to_tensor(g)) for path, g in zip(own, found, strict=True)}
        return Gradients(array(cost), gradients, gradients.pop("", NOT_OFFERED))

    def loss_of_outputs(self, outputs: Array, y: Array, weights: Array | None) -> tuple[Losses, Array]:
        own = tf.constant(outputs)
        with tf.GradientTape() as tape:
            tape.watch(own)
            loss = self._data_loss(self.loss, own, y, weights)
        return self._losses(own, y, weights), array(tape.gradient(loss, own))

    def _cost(self, x: Any, batch: Batch) -> Any:
        outputs = self._outputs(x, batch.masks, training=True)
        data_loss = self._data_loss(self.loss, outputs, batch.y, batch.weights)
        if data_loss.shape != ():
            raise ValueError(f"loss= returned shape {tuple(data_loss.shape)}: must be a scalar, the loss of the batch")
        return data_loss + self._penalty(len(batch.x))

    def _data_loss(self, loss: Any, outputs: Any, y: Array, weights: Array | None) -> Any:
        targets = tf.one_hot(y, outputs.shape[-1], dtype=self.dtype) if takes_one_hot(loss) and y.ndim == 1 else y
        return loss(targets, outputs, sample_weight=self._weights(y, weights))

    def _weights(self, y: Array, weights: Array | None) -> Array | None:
        """Weights of the examples, with those of their classes."""
        if self.given.class_weight is None:
            return weights
        of_classes = np.array([self.given.class_weight.get(int(label), 1.0) for label in y.reshape(len(y))], self.dtype)
        return of_classes if weights is None else of_classes * weights

    def _penalty(self, examples: int) -> Any:
        """What the layers' regularizers add to the loss of the forward pass before, and the user's own penalty."""
        penalty, zero = self.given.penalty, tf.zeros((), self.dtype)
        parts = [zero if self.given.model is None else tf.add_n([zero, *self.model.losses])]
        if penalty is not None:
            parts.append(penalty(self.model, examples) if takes(penalty, 2) else penalty(self.model))
        return sum(parts)

    def _losses(self, outputs: Any, y: Array, weights: Array | None) -> Losses:
        loss = self._data_loss(self.loss, outputs, y, weights)
        each = self._data_loss(self.loss_of_each, outputs, y, weights)
        if each.shape[:1] != (len(y),):  # a loss of one's own that takes its mean itself
            return Losses(NOT_OFFERED, array(loss), np.zeros((), self.dtype))
        each = tf.reduce_mean(tf.reshape(each, (len(y), -1)), axis=1)
        if self.loss.reduction == "mean_with_sample_weight":  # what each example adds to such a mean
            each = each * (loss / tf.reduce_mean(each))
        return Losses(array(each), array(loss), np.zeros((), self.dtype))

    # ------------------------------------------------------------------ the optimizer

    def step_of(
        self, parameters: Tensors, gradients: Tensors, state: State, rate: float
    ) -> tuple[Tensors, dict[str, Tensors]]:
        held = {name: keras.Variable(w, dtype=self.dtype) for name, w in parameters.items()}
        optimizer = self._optimizers.optimizer(held, state)
        for clipping in CLIPPINGS:  # it is looked at by itself
            setattr(optimizer, clipping, None)
        set_rate(optimizer, rate)
        optimizer.apply([tf.constant(gradients[name]) for name in held], list(held.values()))
        return {name: array(w) for name, w in held.items()}, self._optimizers.slots(optimizer, held)

    def begin(self, trained: Sequence[str], state: State) -> None:
        self.trained = {path: v for path, v in self.variables.items() if path in trained and v.trainable}
        self.optimizer = self._optimizers.optimizer(self.trained, state)

    def take_step(self, step: Step) -> Taken:
        if step.rate is not None:
            set_rate(self.optimizer, step.rate)
        rate = float(self.optimizer.learning_rate)
        with tf.GradientTape() as tape:
            cost = self._cost(tf.constant(step.batch.x), step.batch)
        variables = list(self.trained.values())
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(cost, [v.value for v in variables], unconnected_gradients=zero)
        self.optimizer.apply(gradients, variables)
        norm = tf.linalg.global_norm(
            list(map(tf.convert_to_tensor, gradients))
        )  # of an embedding's, rows may come twice
        return Taken(array(cost), rate, array(norm))

    def slots_now(self) -> dict[str, Tensors]:
        return self._optimizers.slots(self.optimizer, self.trained)

    def lacking(self) -> Iterator[str]:
        offered = {
            "schedule": lambda: has_schedule(self._optimizers.new()),
            "clip": self._clips,
            "constrain": self._constrains,
        }
        for part in super().lacking():
            if not offered.get(part, lambda: False)():
                yield part

    # ------------------------------------------------------------------ what else may be given

    def apply(self, function: Any, *values: Array) -> Array:
        with precision(self.dtype):
            return array(function(*map(tf.constant, values)))

    def clip(self, gradients: Tensors) -> Tensors:
        """The gradients as an optimizer that clips moves parameters by them, with a rate of 1 and no method."""
        if self.given.optimizer is None or not self._clips():
            self._lack("clip")
        own = self._optimizers.new()
        with precision(self.dtype):
            descent = keras.optimizers.SGD(1.0, **{name: getattr(own, name) for name in CLIPPINGS})
        held = {name: keras.Variable(np.zeros_like(g), dtype=self.dtype) for name, g in gradients.items()}
        descent.apply([tf.constant(g) for g in gradients.values()], list(held.values()))
        return {name: -array(w) for name, w in held.items()}

    def constrain(self, parameters: Tensors) -> Tensors:
        """The parameters after the constraints of the model's layers."""
        if self.given.model is None or not self._constrains():
            self._lack("constrain")
        own = self._matching.to_own(parameters)
        for path, w in own.items():
            constraint = self.variables[path].constraint
            own[path] = w if constraint is None else array(constraint(w))
        return self._matching.to_recipe(own)

    def start_anew(self, seed: int) -> Tensors:
        if isinstance(self.given.model, keras.Model | list | tuple):
            raise Unsupported("model= is made already: give a function that makes it")
        keras.utils.set_random_seed(seed % 2**32)
        made = variables_by_path(new_model(self.given.model, self.problem, self.given.inputs))
        return dict(zip(self.variables, map(array, made.values()), strict=True))  # Keras may name another otherwise

    def draw(self, shape: tuple[int, int], seed: int) -> Array:
        """By the initializer that all ``Dense`` layers of the model have."""
        layers = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dense)]
        drawing = {keras.initializers.serialize(layer.kernel_initializer)["class_name"] for layer in layers}
        if len(drawing) != 1:
            raise Unsupported("the model's Dense layers have several initializers")
        initializer = layers[0].kernel_initializer
        config = initializer.get_config()
        config |= {"seed": seed % 2**31} if "seed" in config else {}
        return array(type(initializer).from_config(config)(shape[::-1], dtype=self.dtype)).T

    # ------------------------------------------------------------------ helpers

    @property
    def _optimizers(self) -> Optimizers:
        return Optimizers(self._given("optimizer"), self.problem, self.given.slots or {}, self.slot_names)

    def _clips(self) -> bool:
        optimizer = self._optimizers.new()
        return any(getattr(optimizer, name) for name in CLIPPINGS) and bool(
            self.problem.recipe.named(*regularizers.CLIPPINGS)
        )

    def _constrains(self) -> bool:
        return any(v.constraint is not None for v in self.variables.values())

    def _outputs(self, x: Any, masks: Masks | None, *, training: bool, watch: bool = False) -> Any:
        fed = None
        if masks is not None and training and self._draws:
            fed = [tf.constant(mask) for mask in self.in_order(masks)]
        with precision(self.dtype), self.watched.during(fed, watch):
            return self._called(x, training=training)

    @cached_property
    def _draws(self) -> bool:
        """Whether the model drops units in training, or draws anything else; it is given no masks if it does not."""
        if any(isinstance(layer, keras.layers.Dropout) and layer.rate > 0 for layer in all_layers(self.model).values()):
            return True
        before, x = self.own_statistics(), tf.constant(sample(self.problem))
        with precision(self.dtype):
            found = varies(lambda: array(self._called(x, training=True)))
        self.load(before)
        return found

    def _called(self, x: Any, *, training: bool) -> Any:
        """What the model makes of the recipe's inputs."""
        return self.model(x if self.given.inputs is None else self.given.inputs(x), training=training)
