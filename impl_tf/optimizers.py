"""Optimizers: each is named state, held in ``tf.Variable``s, and an update written for one variable.

Throughout, ``w`` is a parameter, ``g`` the gradient of the cost, ``alpha`` the learning rate and ``t`` the step
counted from 1. Scalars (``alpha``, ``1 - beta^t``) are computed in float64 whatever the dtype of the parameters, and
rounded to it once, at the end: in float32, ``1 - 0.999^t`` alone would be off by 1e-5. Keras's optimizers are other
formulations: epsilon elsewhere in Adam and RMSprop, the learning rate inside the velocity, scalars in float32.

This file needs TensorFlow only and can be copied out alone::

    optimizer = adam(0.001)
    optimizer.build(parameters)                                  # a dict of tf.Variables

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            cost = ...
        optimizer.apply_gradients(tape.gradient(cost, parameters), parameters)
"""

import math

import tensorflow as tf


class Optimizer(tf.Module):
    """An optimizer: its learning rate, its state, and the formula on one variable.

    ``step`` counts the steps taken; ``slots`` maps ``"velocity"``, ``"first_moment"`` ... to one variable per
    parameter. ``learning_rate`` is a variable, so that a new value also reaches a ``tf.function`` that has been
    traced. ``update_variable(w, g, slots, t, alpha)`` assigns to ``w`` and to the variables of ``slots``; ``t`` and
    ``alpha`` are float64 scalars.
    """

    def __init__(self, learning_rate, initial_slots, update_variable):
        super().__init__()
        self.learning_rate = tf.Variable(learning_rate, dtype=tf.float64, trainable=False, name="learning_rate")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.slots = {}
        self.initial_slots = initial_slots
        self.update_variable = update_variable

    def build(self, parameters):
        """Set the state before the first step, for ``parameters``: a dict of ``tf.Variable``s.

        Slot variables that fit are reset, so that a ``tf.function`` traced with them stays valid; others are replaced.
        """
        self.step.assign(0)
        initial = {
            slot: {name: tf.fill(w.shape, tf.constant(value, w.dtype)) for name, w in parameters.items()}
            for slot, value in self.initial_slots.items()
        }
        if _specification(initial) == _specification(self.slots):
            tf.nest.map_structure(lambda variable, value: variable.assign(value), self.slots, initial)
        else:
            self.slots = tf.nest.map_structure(lambda value: tf.Variable(value, trainable=False), initial)

    def apply_gradients(self, gradients, parameters, *, learning_rate=None):
        """One step, in place. ``gradients`` and ``parameters``: dicts of tensors of equal shapes.

        ``learning_rate``, a number or a float64 scalar, overrides the optimizer's own for this step. The state is
        built here if :meth:`build` has not been called. Raises ValueError if a gradient is missing or has another
        shape than its parameter.
        """
        _check_gradients(gradients, parameters)
        if not self.slots and self.initial_slots:
            with tf.init_scope():  # variables outlive the function that is being traced
                self.build(parameters)
        alpha = tf.convert_to_tensor(self.learning_rate if learning_rate is None else learning_rate, tf.float64)
        t = tf.cast(self.step.assign_add(1), tf.float64)
        for name, w in parameters.items():
            slots = {slot: variables[name] for slot, variables in self.slots.items()}
            self.update_variable(w, tf.convert_to_tensor(gradients[name], w.dtype), slots, t, alpha)


def gradient_descent(learning_rate=0.01):
    """``w <- w - alpha g``."""
    _check_learning_rate(learning_rate)

    def update_variable(w, g, slots, t, alpha):
        w.assign_sub(_rounded(alpha, w) * g)

    return Optimizer(learning_rate, {}, update_variable)


def momentum(
    learning_rate=0.01,
    *,
    beta=0.9,
    accumulation="average",
    bias_correction=False,
    nesterov=False,
    learning_rate_position="outside",
):
    """``v <- beta v + (1 - beta) g``, ``w <- w - alpha v``: slot ``velocity``.

    ``accumulation="sum"`` adds ``g`` itself; ``learning_rate_position="inside"`` puts ``alpha`` into ``v``, which is
    Keras's form. ``nesterov`` steps along ``beta v`` plus what was added; ``bias_correction`` divides the direction
    by ``1 - beta^t``.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta", beta)
    _check_choice("accumulation", accumulation, ("average", "sum"))
    _check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    gain = 1 - beta if accumulation == "average" else 1.0
    inside = learning_rate_position == "inside"

    def update_variable(w, g, slots, t, alpha):
        contribution = _rounded(alpha * gain if inside else gain, w) * g
        v = beta * slots["velocity"] + contribution
        slots["velocity"].assign(v)
        direction = beta * v + contribution if nesterov else v
        if bias_correction:
            direction = direction / _rounded(_one_minus_power(beta, t), w)
        w.assign_sub(direction if inside else _rounded(alpha, w) * direction)

    return Optimizer(learning_rate, {"velocity": 0.0}, update_variable)


def rmsprop(
    learning_rate=0.001,
    *,
    beta=0.9,
    epsilon=1e-8,
    epsilon_position="outside_root",
    centered=False,
    momentum=0.0,
    initial_square=0.0,
    bias_correction=False,
    learning_rate_position="outside",
):
    """``s <- beta s + (1 - beta) g^2``, ``w <- w - alpha g / (sqrt(s) + epsilon)``: slot ``square_average``.

    ``epsilon_position="inside_root"`` is ``sqrt(s + epsilon)``, Keras's form. ``centered`` subtracts from ``s`` the
    square of slot ``gradient_average``, never going below 0 (Keras does, to NaN); ``momentum`` sums the ratios in
    slot ``velocity``, with ``alpha`` outside or, as Keras, ``"inside"`` it; ``bias_correction`` divides both averages
    by ``1 - beta^t``.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta", beta)
    _check_decay("momentum", momentum)
    _check_not_negative("epsilon", epsilon)
    _check_not_negative("initial_square", initial_square)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    _check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    if bias_correction and initial_square != 0:
        raise ValueError(f"initial_square={initial_square!r} is not allowed with bias_correction: must be 0")
    inside = learning_rate_position == "inside"

    def update_variable(w, g, slots, t, alpha):
        correction = _rounded(_one_minus_power(beta, t) if bias_correction else 1.0, w)
        s = beta * slots["square_average"] + (1 - beta) * g * g
        slots["square_average"].assign(s)
        variance = s / correction
        if centered:
            c = beta * slots["gradient_average"] + (1 - beta) * g
            slots["gradient_average"].assign(c)
            variance = tf.maximum(variance - tf.square(c / correction), 0.0)
        ratio = g / (tf.sqrt(variance) + epsilon if epsilon_position == "outside_root" else tf.sqrt(variance + epsilon))
        alpha = _rounded(alpha, w)
        if momentum:
            u = momentum * slots["velocity"] + (alpha * ratio if inside else ratio)
            slots["velocity"].assign(u)
            w.assign_sub(u if inside else alpha * u)
        else:
            w.assign_sub(alpha * ratio)

    slots = {"square_average": initial_square}
    if centered:
        slots["gradient_average"] = 0.0
    if momentum:
        slots["velocity"] = 0.0
    return Optimizer(learning_rate, slots, update_variable)


def adam(
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="outside_root",
    amsgrad=None,
):
    """``w <- w - alpha m^ / (sqrt(v^) + epsilon)``, ``m^ = m / (1 - beta1^t)``, ``v^ = v / (1 - beta2^t)``.

    Slots ``first_moment`` ``m <- beta1 m + (1 - beta1) g``, ``second_moment`` ``v <- beta2 v + (1 - beta2) g^2``, and
    with AMSGrad ``maximum_second_moment``. ``epsilon_position="before_correction"`` (epsilon-hat) is what Keras and
    ``tf.raw_ops.ResourceApplyAdam`` compute. ``amsgrad`` keeps the maximum of ``v`` (``"raw_max"``), of ``v^``
    (``"corrected_max"``), or of ``v`` with neither moment corrected (``"uncorrected"``).
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root", "before_correction"))
    _check_choice("amsgrad", amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))

    def update_variable(w, g, slots, t, alpha):
        correction1, correction2 = _one_minus_power(beta1, t), _one_minus_power(beta2, t)
        if amsgrad == "uncorrected":
            correction1 = correction2 = tf.ones_like(t)
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        v = beta2 * slots["second_moment"] + (1 - beta2) * g * g
        slots["first_moment"].assign(m)
        slots["second_moment"].assign(v)
        v_hat = v / _rounded(correction2, w)
        if amsgrad is not None:
            x = tf.maximum(slots["maximum_second_moment"], v_hat if amsgrad == "corrected_max" else v)
            slots["maximum_second_moment"].assign(x)
            v_hat = x if amsgrad == "corrected_max" else x / _rounded(correction2, w)
        if epsilon_position == "outside_root":
            denominator = tf.sqrt(v_hat) + epsilon
        elif epsilon_position == "inside_root":
            denominator = tf.sqrt(v_hat + epsilon)
        else:
            denominator = tf.sqrt(v_hat) + _rounded(epsilon / tf.sqrt(correction2), w)
        w.assign_sub(_rounded(alpha / correction1, w) * m / denominator)

    slots = {"first_moment": 0.0, "second_moment": 0.0}
    if amsgrad is not None:
        slots["maximum_second_moment"] = 0.0
    return Optimizer(learning_rate, slots, update_variable)


OPTIMIZERS = {f.__name__: f for f in (gradient_descent, momentum, rmsprop, adam)}


def _one_minus_power(beta, t):
    """``1 - beta^t`` without the cancellation: the subtraction loses three digits at ``beta = 0.999, t = 1``."""
    return -tf.math.expm1(t * math.log(beta)) if beta > 0 else tf.ones_like(t)


def _rounded(scalar, w):
    """A float64 scalar or Python number in the dtype of ``w``; ``tf.cast`` alone makes a number float32 first."""
    return tf.cast(tf.convert_to_tensor(scalar, tf.float64), w.dtype)


def _specification(slots):
    return {
        slot: {name: (value.shape, value.dtype) for name, value in values.items()} for slot, values in slots.items()
    }


def _check_learning_rate(value):
    _check_not_negative("learning_rate", value)


def _check_not_negative(name, value):
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")


def _check_decay(name, value):
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1)")


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")


def _check_gradients(gradients, parameters):
    for name, w in parameters.items():
        if name not in gradients:
            raise ValueError(f"gradients has no {name!r}: must hold {', '.join(parameters)}")
        if gradients[name].shape != w.shape:
            raise ValueError(f"gradient {name!r} has shape {gradients[name].shape}: must be {w.shape}, its parameter's")
