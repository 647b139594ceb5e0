"""This package's optimizers for Keras's models: ``model.compile(optimizer=keras_optimizer(adam(0.001)), ...)``.

This file alone needs Keras, version 3, with TensorFlow behind it.
"""

from typing import Any

import keras
import tensorflow as tf

from .optimizers import Optimizer


class KerasOptimizer(keras.optimizers.Optimizer):
    """See :func:`keras_optimizer`. The state is in variables of Keras's kind, which it counts, saves and restores."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(learning_rate=lambda: 0.0, name="keras_optimizer")  # a float would become a float32 variable
        self.formula = optimizer
        self._learning_rate = self.add_variable((), dtype="float64", name="learning_rate")
        self._learning_rate.assign(optimizer.learning_rate.numpy())
        self._slots: dict[str, list[keras.Variable]] = {}

    def build(self, variables: list[keras.Variable]) -> None:
        """Make the slots of each variable."""
        if self.built:
            return
        super().build(variables)
        self._slots = {
            slot: self.add_optimizer_variables(
                variables, slot, initializer=lambda shape, dtype, value=value: tf.fill(shape, tf.constant(value, dtype))
            )
            for slot, value in self.formula.initial_slots.items()
        }

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: Any) -> None:
        """One step on one variable, by the optimizer's formula."""
        place = self._get_variable_index(variable)
        slots = {slot: held[place].value for slot, held in self._slots.items()}
        self.formula.update_variable(variable, tf.convert_to_tensor(gradient), slots, *self._time(learning_rate))

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        """Keras's way through all variables, unless the formula takes them together."""
        if self.formula.elementwise:
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        if self._distribution_strategy.num_replicas_in_sync > 1:
            raise ValueError("optimizer takes sums over all parameters: must be on one device")
        places = [self._get_variable_index(variable) for variable in trainable_variables]
        variables = [v.value if isinstance(v, keras.Variable) else v for v in trainable_variables]
        parameters = dict(zip(places, variables, strict=True))
        gradients = {place: tf.convert_to_tensor(g) for place, g in zip(places, grads, strict=True)}
        slots = {slot: {place: held[place].value for place in places} for slot, held in self._slots.items()}
        self.formula.update_variable(parameters, gradients, slots, *self._time(learning_rate))

    def _time(self, learning_rate: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The number of the step, from 1, and its learning rate, as the formula takes them."""
        t = tf.cast(tf.convert_to_tensor(self.iterations), tf.float64) + 1
        return t, tf.cast(tf.convert_to_tensor(learning_rate), tf.float64)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "KerasOptimizer":
        """Raise ValueError: a formula is not among what Keras saves of a model."""
        raise ValueError("keras_optimizer cannot be loaded: must be load_model(..., compile=False), then compile")


def keras_optimizer(optimizer: Optimizer) -> keras.optimizers.Optimizer:
    """A Keras optimizer whose updates are those of ``optimizer``, one of ``optimizers``, to the last bit.

    It takes the formula and the learning rate, and has a state of its own. ``learning_rate`` can be read and assigned
    as in Keras, a number (kept in float64), a ``LearningRateSchedule`` (which Keras has in float32) or by callbacks:
    ``keras.callbacks.LearningRateScheduler`` takes what ``schedules`` makes. A saved model has the state, but not the
    formula: it is loaded with ``compile=False`` and compiled again.
    """
    return KerasOptimizer(optimizer)
