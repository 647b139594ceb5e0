"""The built-ins of Keras and TensorFlow as parts of small trainings."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from conformance.problems.problem import Problem
from conformance.recipes.subjects import Subject, call_of
from conformance.wrappers import keras_builtin_layers
from conformance.wrappers.builtins import Builtins, Size, final_of, sizes_of
from conformance.wrappers.keras import KerasSession, wrap_keras
from conformance.wrappers.subject import Subject as Wrapped

TANH = partial(keras.layers.Activation, "tanh")
FASTER = partial(keras.optimizers.SGD, learning_rate=0.5)  # so that limits are reached


class KerasBuiltins(Builtins):
    """What ``keras`` and ``tf`` have ready made."""

    name = "builtins.tf"
    session_class = KerasSession
    roots = {"keras": keras, "tf": tf}  # noqa: RUF012

    def wrapped(self, subject: Subject) -> Wrapped:
        """A network of two ``Dense`` layers, the cross-entropy of logits and ``SGD``, one of them the subject's."""
        parts: dict[str, Any] = {
            "model": model,
            "loss": keras.losses.BinaryCrossentropy(from_logits=True),
            "optimizer": partial(keras.optimizers.SGD, learning_rate=0.1),
        }
        return wrap_keras(**(parts | getattr(self, f"_{subject.kind}")(subject)))

    def _optimizers(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        return {"optimizer": partial(self.found(call.function), **call.named)}

    def _layers(self, subject: Subject) -> dict[str, Any]:
        self.found(call_of(subject.name).function)
        return keras_builtin_layers.parts(subject)

    def _losses(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        found = self.found(call.function)
        if isinstance(found, type):
            return {"loss": lambda: found(**call.named)}

        def loss(targets: Any, outputs: Any) -> Any:
            own = tf.cast(targets, tf.int64) if subject.component.startswith("categorical") else targets
            each = found(labels=own, logits=outputs)
            return tf.reduce_sum(each, axis=1) if len(each.shape) == 2 else each

        return {"loss": loss}

    def _activations(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        found = self.found(call.function)
        make = found if isinstance(found, type) else partial(keras.layers.Activation, partial(found, **call.named))
        return {"model": partial(model, activation=make)}

    def _normalizations(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        return {"model": partial(model, before=partial(self.found(call.function), **call.named))}

    def _schedules(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        schedule = self.found(call.function)
        return {"optimizer": lambda: keras.optimizers.SGD(schedule(*call.positional, **call.named))}

    def _initializers(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        draws = partial(self.found(call.function), **call.named)
        return {"model": partial(model, dense={"kernel_initializer": draws}), "initializer": "own"}

    def _regularizers(self, subject: Subject) -> dict[str, Any]:
        call = call_of(subject.name)
        made = partial(self.found(call.function), *call.positional, **call.named)
        if subject.component == "inverted_dropout":
            return {"model": partial(model, after=made)}
        if subject.component == "max_norm":
            return {"model": partial(model, dense={"kernel_constraint": made}), "optimizer": FASTER}
        if call.function == "tf.nn.l2_loss":
            return {"penalty": lambda model: sum(made(w) for w in model.trainable_variables if w.name == "kernel")}
        if call.function.startswith("keras.optimizers."):
            return {"optimizer": partial(made, 0.5)}
        return {"model": partial(model, dense={"kernel_regularizer": made})}


def model(
    problem: Problem,
    *,
    activation: Callable[[], Any] = TANH,
    before: Callable[[], Any] | None = None,
    after: Callable[[], Any] | None = None,
    dense: Mapping[str, Callable[[], Any]] | None = None,
) -> list[Any]:
    """Layers of tanh units, with what comes before and after these, and one of the outputs.

    ``dense`` are keywords of the dense layers, each with what makes its value anew.
    """
    *hidden, last = sizes_of(problem)

    def layer(size: Size) -> Any:
        own = {name: make() for name, make in (dense or {}).items()}
        return keras.layers.Dense(size.outputs, use_bias=size.bias, **own)

    layers: list[Any] = []
    for size in hidden:
        layers += [layer(size), *(make() for make in (before, activation, after) if make is not None)]
    final = final_of(problem)
    return [*layers, layer(last), *([] if final == "identity" else [keras.layers.Activation(final)])]
