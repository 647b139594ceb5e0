"""The built-ins of Keras and TensorFlow as parts of small trainings."""

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from conformance.recipes.subjects import Subject, call_of
from conformance.wrappers.builtins import Builtins
from conformance.wrappers.keras import KerasSession, wrap_keras
from conformance.wrappers.subject import Subject as Wrapped

HIDDEN = 4


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


def model() -> list[Any]:
    """A layer of tanh units, and one of one unit."""
    return [keras.layers.Dense(HIDDEN, activation="tanh"), keras.layers.Dense(1)]
