"""Optimizers: each is named state, held in ``tf.Variable``s, and an update written for one variable.

Throughout, ``w`` is a parameter, ``g`` the gradient of the cost, ``alpha`` the learning rate and ``t`` the step
counted from 1. Scalars (``alpha``, ``1 - beta^t``) are computed in float64 whatever the dtype of the parameters, and
rounded to it once, at the end: in float32, ``1 - 0.999^t`` alone would be off by 1e-5. Keras's optimizers are other
formulations: epsilon elsewhere in Adam and RMSprop, the learning rate inside the velocity, scalars in float32.

A ``weight_decay`` not 0 is coupled, as PyTorch's: ``g <- g + weight_decay w`` before anything else, on every parameter
the optimizer is given (biases too), and not in the cost. Where it can be decoupled (``decoupled_weight_decay``, as
Keras's), ``g`` is left alone and ``w <- w - alpha (d + weight_decay w)``, where ``d`` is the formula's own step
direction and ``w`` the parameter before the step.

This file needs TensorFlow only and can be copied out together with ``_common.py``::

    optimizer = adam(0.001)
    optimizer.build(parameters)                                  # a dict of tf.Variables

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            cost = ...
        optimizer.update(tape.gradient(cost, parameters), parameters)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ._common import check_choice, check_decay, check_fraction, check_not_negative, check_positive_integer

# Of the beta in a bias correction ``1 - beta^t``: as it is, whatever the dtype of the parameters; rounded to that, as
# optax does; rounded to float32, as Keras does. Power and difference are then in the dtype of the parameters.
PRECISIONS = ("exact", "working", "float32")

Tensors = dict[str, tf.Tensor]
Variables = dict[str, tf.Variable]
# On one variable, or on dicts of all of them: w, g, the slots by name, t, alpha.
UpdateVariable = Callable[[Any, Any, dict[str, Any], tf.Tensor, tf.Tensor], None]


class OptimizerState(NamedTuple):
    """Number of steps taken, and for each slot (``"velocity"``, ``"first_moment"`` ...) one array per parameter."""

    step: int
    slots: dict[str, dict[str, np.ndarray]]


class Optimizer(tf.Module):
    """An optimizer: its learning rate, its state, and the formula on one variable.

    ``step`` counts the steps taken; ``slots`` maps ``"velocity"``, ``"first_moment"`` ... to one variable per
    parameter; :meth:`state` gives copies of both. ``learning_rate`` is a variable, so that a new value also reaches a
    ``tf.function`` that has been traced. ``update_variable(w, g, slots, t, alpha)`` assigns to ``w`` and to the
    variables of ``slots``; ``t`` and ``alpha`` are float64 scalars. A formula that is not ``elementwise`` takes sums
    over all parameters: its ``w``, ``g`` and each of its ``slots`` are dicts that hold every one of them.
    """

    learning_rate: tf.Variable
    step: tf.Variable
    slots: dict[str, Variables]

    def __init__(
        self,
        learning_rate: float,
        initial_slots: dict[str, float],
        update_variable: UpdateVariable,
        elementwise: bool = True,
    ) -> None:
        super().__init__()
        self.learning_rate = tf.Variable(learning_rate, dtype=tf.float64, trainable=False, name="learning_rate")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.slots = {}
        self.initial_slots = initial_slots
        self.update_variable = update_variable
        self.elementwise = elementwise

    def build(self, parameters: Variables, state: OptimizerState | None = None) -> None:
        """Set the state for ``parameters``, a dict of ``tf.Variable``s: a copy of ``state``, None for the first step's.

        Slot variables that fit are kept, so that a ``tf.function`` traced with them stays valid; others are replaced.
        """
        values = {
            slot: {
                name: np.full(tuple(w.shape), value) if state is None else np.asarray(state.slots[slot][name])
                for name, w in parameters.items()
            }
            for slot, value in self.initial_slots.items()
        }
        wanted = {slot: {name: (w.shape, w.dtype) for name, w in parameters.items()} for slot in self.initial_slots}
        if wanted != _specification(self.slots):
            self.slots = {
                slot: {name: tf.Variable(tf.zeros(w.shape, w.dtype), trainable=False) for name, w in parameters.items()}
                for slot in self.initial_slots
            }
        self.step.assign(0 if state is None else state.step)
        for slot, variables in self.slots.items():
            for name, variable in variables.items():
                variable.assign(values[slot][name])

    def state(self) -> OptimizerState:
        """The state as it is now, copied into NumPy arrays."""
        slots = {
            slot: {name: variable.numpy() for name, variable in variables.items()}
            for slot, variables in self.slots.items()
        }
        return OptimizerState(int(self.step), slots)

    def update(
        self, gradients: Tensors, variables: Variables, *, learning_rate: float | tf.Tensor | None = None
    ) -> None:
        """One step, in place. ``gradients`` and ``variables`` (the parameters): dicts of tensors of equal shapes.

        ``learning_rate``, a number or a float64 scalar, overrides the optimizer's own for this step. The state is
        built here if :meth:`build` has not been called. Raises ValueError if a gradient is missing, has another shape
        than its parameter, or is of no parameter.
        """
        _check_gradients(gradients, variables)
        if not self.slots and self.initial_slots:
            with tf.init_scope():  # variables outlive the function that is being traced
                self.build(variables)
        alpha = tf.convert_to_tensor(self.learning_rate if learning_rate is None else learning_rate, tf.float64)
        t = tf.cast(self.step.assign_add(1), tf.float64)
        gradients = {name: tf.convert_to_tensor(gradients[name], w.dtype) for name, w in variables.items()}
        if not self.elementwise:
            self.update_variable(variables, gradients, self.slots, t, alpha)
            return
        for name, w in variables.items():
            slots = {slot: held[name] for slot, held in self.slots.items()}
            self.update_variable(w, gradients[name], slots, t, alpha)


def gradient_descent(learning_rate: float = 0.01, *, weight_decay: float = 0.0) -> Optimizer:
    """``w <- w - alpha g``."""
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("weight_decay", weight_decay)

    def update_variable(w, g, slots, t, alpha):
        g = _with_decay(g, w, weight_decay)
        w.assign_sub(_rounded(alpha, w) * g)

    return Optimizer(learning_rate, {}, update_variable)


def momentum(
    learning_rate: float = 0.01,
    *,
    beta: float = 0.9,
    accumulation: str = "average",
    bias_correction: bool = False,
    nesterov: bool = False,
    learning_rate_position: str = "outside",
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    dampening: float = 0.0,
) -> Optimizer:
    """``v <- beta v + (1 - beta) g``, ``w <- w - alpha v``: slot ``velocity``.

    ``accumulation="sum"`` adds ``g`` itself; ``learning_rate_position="inside"`` puts ``alpha`` into ``v``, which is
    Keras's form. ``nesterov`` steps along ``beta v`` plus what was added; ``bias_correction`` divides the direction
    by ``1 - beta^t``. ``weight_decay`` changes ``g``, or ``decoupled_weight_decay`` the step: ``w <- w - alpha (v +
    weight_decay w)``, inside ``w <- w - (v + alpha weight_decay w)``. ``dampening`` is PyTorch's, of a plain sum alone:
    ``v <- g`` in the first step, ``v <- beta v + (1 - dampening) g`` in those after it. Raises ValueError for a
    ``dampening`` that is not 0 without ``accumulation="sum"``, with ``nesterov`` or with ``bias_correction``.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta", beta)
    check_choice("accumulation", accumulation, ("average", "sum"))
    check_choice("bias_correction", bias_correction, (False, True))
    check_choice("nesterov", nesterov, (False, True))
    check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    coupled, decoupled = _decays(weight_decay, decoupled_weight_decay)
    _check_dampening(dampening, accumulation, nesterov, bias_correction)
    inside = learning_rate_position == "inside"

    def gain_at(t):
        if dampening:
            return tf.where(t > 1, tf.constant(1 - dampening, t.dtype), tf.ones_like(t))
        return 1 - beta if accumulation == "average" else 1.0

    def update_variable(w, g, slots, t, alpha):
        g = _with_decay(g, w, coupled)
        gain = gain_at(t)
        contribution = _rounded(alpha * gain if inside else gain, w) * g
        v = beta * slots["velocity"] + contribution
        slots["velocity"].assign(v)
        direction = beta * v + contribution if nesterov else v
        if bias_correction:
            direction = direction / _rounded(_one_minus_power(beta, t), w)
        _step(w, direction, alpha, decoupled, inside=inside)

    return Optimizer(learning_rate, {"velocity": 0.0}, update_variable)


def rmsprop(
    learning_rate: float = 0.001,
    *,
    beta: float = 0.9,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    centered: bool = False,
    momentum: float = 0.0,
    initial_square: float = 0.0,
    bias_correction: bool = False,
    learning_rate_position: str = "outside",
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
) -> Optimizer:
    """``s <- beta s + (1 - beta) g^2``, ``w <- w - alpha g / (sqrt(s) + epsilon)``: slot ``square_average``.

    ``epsilon_position="inside_root"`` is ``sqrt(s + epsilon)``, Keras's form. ``centered`` subtracts from ``s`` the
    square of slot ``gradient_average``, never going below 0 (Keras does, to NaN); ``momentum`` sums the ratios in
    slot ``velocity`` ``u``, with ``alpha`` outside or, as Keras, ``"inside"`` it; ``bias_correction`` divides both
    averages by ``1 - beta^t``. ``weight_decay`` changes ``g``, or ``decoupled_weight_decay`` the step: ``w <- w - alpha
    (d + weight_decay w)``, where ``d`` is the ratio or ``u``, and inside ``w <- w - (u + alpha weight_decay w)``.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta", beta)
    check_decay("momentum", momentum)
    check_not_negative("epsilon", epsilon)
    check_not_negative("initial_square", initial_square)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    check_choice("centered", centered, (False, True))
    check_choice("bias_correction", bias_correction, (False, True))
    coupled, decoupled = _decays(weight_decay, decoupled_weight_decay)
    if bias_correction and initial_square != 0:
        raise ValueError(f"initial_square={initial_square!r} is not allowed with bias_correction: must be 0")
    inside = learning_rate_position == "inside"

    def update_variable(w, g, slots, t, alpha):
        g = _with_decay(g, w, coupled)
        correction = _rounded(_one_minus_power(beta, t) if bias_correction else 1.0, w)
        s = beta * slots["square_average"] + (1 - beta) * g * g
        slots["square_average"].assign(s)
        variance = s / correction
        if centered:
            c = beta * slots["gradient_average"] + (1 - beta) * g
            slots["gradient_average"].assign(c)
            variance = tf.maximum(variance - tf.square(c / correction), 0.0)
        ratio = g / (tf.sqrt(variance) + epsilon if epsilon_position == "outside_root" else tf.sqrt(variance + epsilon))
        if momentum:
            u = momentum * slots["velocity"] + (_rounded(alpha, w) * ratio if inside else ratio)
            slots["velocity"].assign(u)
            _step(w, u, alpha, decoupled, inside=inside)
        else:
            _step(w, ratio, alpha, decoupled)

    slots = {"square_average": initial_square}
    if centered:
        slots["gradient_average"] = 0.0
    if momentum:
        slots["velocity"] = 0.0
    return Optimizer(learning_rate, slots, update_variable)


def adagrad(
    learning_rate: float = 0.01,
    *,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    initial_accumulator: float = 0.0,
    weight_decay: float = 0.0,
) -> Optimizer:
    """``s <- s + g^2``, ``w <- w - alpha g / (sqrt(s) + epsilon)``: slot ``square_sum``.

    ``epsilon_position="inside_root"`` is ``sqrt(s + epsilon)``, with ``initial_accumulator=0.1`` Keras's form.
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    check_not_negative("initial_accumulator", initial_accumulator)
    check_not_negative("weight_decay", weight_decay)

    def update_variable(w, g, slots, t, alpha):
        g = _with_decay(g, w, weight_decay)
        s = slots["square_sum"] + g * g
        slots["square_sum"].assign(s)
        root = tf.sqrt(s) + epsilon if epsilon_position == "outside_root" else tf.sqrt(s + epsilon)
        w.assign_sub(_rounded(alpha, w) * g / root)

    return Optimizer(learning_rate, {"square_sum": initial_accumulator}, update_variable)


def adadelta(
    learning_rate: float = 1.0,
    *,
    rho: float = 0.9,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
) -> Optimizer:
    """``w <- w - alpha r``, ``r = g sqrt(d + epsilon) / sqrt(s + epsilon)``.

    Slots ``square_average`` ``s <- rho s + (1 - rho) g^2`` and, after ``r``, ``squared_update_average`` ``d <- rho d +
    (1 - rho) r^2``. Keras's default ``alpha = 0.001`` makes it a thousand times smaller. With
    ``decoupled_weight_decay``, ``w <- w - alpha (r + weight_decay w)``.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("rho", rho)
    check_not_negative("epsilon", epsilon)
    coupled, decoupled = _decays(weight_decay, decoupled_weight_decay)

    def update_variable(w, g, slots, t, alpha):
        g = _with_decay(g, w, coupled)
        s = rho * slots["square_average"] + (1 - rho) * g * g
        slots["square_average"].assign(s)
        d = slots["squared_update_average"]
        step = tf.sqrt(d + epsilon) / tf.sqrt(s + epsilon) * g
        d.assign(rho * d + (1 - rho) * step * step)
        _step(w, step, alpha, decoupled)

    return Optimizer(learning_rate, {"square_average": 0.0, "squared_update_average": 0.0}, update_variable)


def adam(
    learning_rate: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    amsgrad: str | None = None,
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> Optimizer:
    """``w <- w - alpha m^ / (sqrt(v^) + epsilon)``, ``m^ = m / (1 - beta1^t)``, ``v^ = v / (1 - beta2^t)``.

    Slots ``first_moment`` ``m <- beta1 m + (1 - beta1) g``, ``second_moment`` ``v <- beta2 v + (1 - beta2) g^2``, and
    with AMSGrad ``maximum_second_moment``. ``epsilon_position="before_correction"`` (epsilon-hat) is what Keras and
    ``tf.raw_ops.ResourceApplyAdam`` compute. ``amsgrad`` keeps the maximum of ``v`` (``"raw_max"``), of ``v^``
    (``"corrected_max"``), or of ``v`` with neither moment corrected (``"uncorrected"``). ``weight_decay`` is coupled;
    :func:`adamw` decouples it. ``correction_precision`` is of ``1 - beta^t``: ``"exact"``; ``"working"`` in the dtype
    of the parameters; ``"float32"`` in that from betas rounded to float32, which is what Keras computes.
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("weight_decay", weight_decay)
    step = _AdamStep(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision)

    def update_variable(w, g, slots, t, alpha):
        step(w, _with_decay(g, w, weight_decay), slots, t, alpha)

    return Optimizer(learning_rate, step.initial_slots, update_variable)


def adamw(
    learning_rate: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    amsgrad: str | None = None,
    weight_decay: float = 0.01,
    decay_scale: str = "learning_rate",
    correction_precision: str = "exact",
) -> Optimizer:
    """``w <- w - alpha weight_decay w``, then the step of :func:`adam`, with its slots.

    ``decay_scale="schedule_only"`` takes ``alpha / alpha_0`` in place of ``alpha``, where ``alpha_0`` is
    ``learning_rate`` as given here.
    """
    check_not_negative("learning_rate", learning_rate)
    step = _AdamStep(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision)
    check_not_negative("weight_decay", weight_decay)
    check_choice("decay_scale", decay_scale, ("learning_rate", "schedule_only"))
    if decay_scale == "schedule_only" and learning_rate == 0:
        raise ValueError(
            f"learning_rate={learning_rate!r} is not allowed with decay_scale='schedule_only': must be > 0"
        )

    def update_variable(w, g, slots, t, alpha):
        scale = alpha if decay_scale == "learning_rate" else alpha / learning_rate
        w.assign_sub(_rounded(scale * weight_decay, w) * w)
        step(w, g, slots, t, alpha)

    return Optimizer(learning_rate, step.initial_slots, update_variable)


def nadam(
    learning_rate: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    schedule: str = "dozat",
    momentum_decay: float = 0.004,
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> Optimizer:
    """``w <- w - alpha m^ / (sqrt(v / (1 - beta2^t)) + epsilon)``, ``m^`` Adam's moment looking one step ahead.

    ``m^ = mu_{t+1} m / (1 - p_t mu_{t+1}) + (1 - mu_t) g / (1 - p_t)`` with ``mu_t = beta1 (1 - 0.96^(t
    momentum_decay) / 2)`` and slot ``momentum_product`` ``p_t = mu_1 ... mu_t``, equal in all elements; Keras's has
    ``momentum_decay=1``. With ``schedule="constant"`` ``mu_t = beta1``, and there is no such slot.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_choice("correction_precision", correction_precision, PRECISIONS)
    check_not_negative("epsilon", epsilon)
    check_choice("schedule", schedule, ("dozat", "constant"))
    check_not_negative("momentum_decay", momentum_decay)
    check_not_negative("weight_decay", weight_decay)
    dozat = schedule == "dozat"
    exact = beta1, base = beta1, 0.96
    if correction_precision == "float32":
        beta1, beta2, base = (float(np.float32(number)) for number in (beta1, beta2, base))

    def mu(t, beta1=beta1, base=base):
        return beta1 * (1 - 0.5 * base ** (t * momentum_decay))

    def update_variable(w, g, slots, t, alpha):
        g = _with_decay(g, w, weight_decay)
        one_minus_power = _one_minus_power_in(correction_precision, w)
        m, v = _moments(g, slots, beta1, beta2)
        if dozat:
            p = slots["momentum_product"] * _rounded(mu(t, *exact), w)
            slots["momentum_product"].assign(p)
            ahead = _rounded(mu(t + 1), w)
            m_hat = ahead * m / (1 - p * ahead) + _rounded(1 - mu(t), w) * g / (1 - p)
        else:
            ahead, now = beta1 / one_minus_power(beta1, t + 1), (1 - beta1) / one_minus_power(beta1, t)
            m_hat = _rounded(ahead, w) * m + _rounded(now, w) * g
        w.assign_sub(_rounded(alpha, w) * m_hat / (tf.sqrt(v / _rounded(one_minus_power(beta2, t), w)) + epsilon))

    slots = {"first_moment": 0.0, "second_moment": 0.0}
    if dozat:
        slots["momentum_product"] = 1.0
    return Optimizer(learning_rate, slots, update_variable)


def adamax(
    learning_rate: float = 0.002,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "inside_maximum",
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> Optimizer:
    """``u <- max(beta2 u, |g| + epsilon)``, ``w <- w - alpha m / ((1 - beta1^t) u)``.

    Slots ``first_moment`` (Adam's ``m``) and ``infinity_norm`` (``u``). ``epsilon_position="outside"``, Keras's, adds
    ``epsilon`` to ``u`` in the denominator alone.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_choice("correction_precision", correction_precision, PRECISIONS)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("inside_maximum", "outside"))
    check_not_negative("weight_decay", weight_decay)
    inside = epsilon_position == "inside_maximum"

    def update_variable(w, g, slots, t, alpha):
        g = _with_decay(g, w, weight_decay)
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        slots["first_moment"].assign(m)
        u = tf.maximum(beta2 * slots["infinity_norm"], tf.abs(g) + epsilon if inside else tf.abs(g))
        slots["infinity_norm"].assign(u)
        one_minus_power = _one_minus_power_in(correction_precision, w)
        w.assign_sub(_rounded(alpha / one_minus_power(beta1, t), w) * m / (u if inside else u + epsilon))

    return Optimizer(learning_rate, {"first_moment": 0.0, "infinity_norm": 0.0}, update_variable)


def radam(
    learning_rate: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    threshold: float = 5.0,
    weight_decay: float = 0.0,
) -> Optimizer:
    """``w <- w - alpha r m^ / (sqrt(v^) + epsilon)`` where ``rho_t > threshold``, before that ``w <- w - alpha m^``.

    Slots and ``m^``, ``v^`` are Adam's; ``r = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))`` with
    ``rho = 2 / (1 - beta2) - 1`` and ``rho_t = rho - 2 t beta2^t / (1 - beta2^t)``, which cancels to
    two digits in float32 and is float64 here. ``epsilon_position="before_correction"``: ``epsilon`` joins the
    uncorrected root.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "before_correction"))
    check_choice("threshold", threshold, (5, 4))
    check_not_negative("weight_decay", weight_decay)
    if not 2 / (1 - beta2) - 1 > threshold:
        raise ValueError(f"beta2={beta2!r} is not allowed with threshold={threshold!r}: 2/(1 - beta2) - 1 must be more")
    rho = 2 / (1 - beta2) - 1

    def update_variable(w, g, slots, t, alpha):
        m, v = _moments(_with_decay(g, w, weight_decay), slots, beta1, beta2)
        alpha = alpha / _one_minus_power(beta1, t)
        correction2 = _one_minus_power(beta2, t)
        rho_t = rho - 2 * t * beta2**t / correction2
        factor = tf.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t) * correction2)
        hat_epsilon = epsilon if epsilon_position == "before_correction" else epsilon * tf.sqrt(correction2)
        rectified = _rounded(alpha * factor, w) * m / (tf.sqrt(v) + _rounded(hat_epsilon, w))
        w.assign_sub(tf.where(rho_t > threshold, rectified, _rounded(alpha, w) * m))

    return Optimizer(learning_rate, {"first_moment": 0.0, "second_moment": 0.0}, update_variable)


def lion(
    learning_rate: float = 0.0001, *, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0
) -> Optimizer:
    """``w <- w - alpha (sign(beta1 m + (1 - beta1) g) + weight_decay w)``, ``sign(0) = 0``; then slot ``momentum``,
    ``m <- beta2 m + (1 - beta2) g``.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("weight_decay", weight_decay)

    def update_variable(w, g, slots, t, alpha):
        m = slots["momentum"]
        w.assign_sub(_rounded(alpha, w) * (tf.sign(beta1 * m + (1 - beta1) * g) + weight_decay * w))
        m.assign(beta2 * m + (1 - beta2) * g)

    return Optimizer(learning_rate, {"momentum": 0.0}, update_variable)


def adabelief(
    learning_rate: float = 0.001, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-16
) -> Optimizer:
    """``s <- beta2 s + (1 - beta2) (g - m)^2 + epsilon``, ``w <- w - alpha m^ / (sqrt(s^) + epsilon)``.

    Slots ``first_moment`` (``m``), ``belief`` (``s``), corrected as Adam's. Keras has none of this name.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)

    def update_variable(w, g, slots, t, alpha):
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        s = beta2 * slots["belief"] + (1 - beta2) * tf.square(g - m) + epsilon
        slots["first_moment"].assign(m)
        slots["belief"].assign(s)
        denominator = tf.sqrt(s / _rounded(_one_minus_power(beta2, t), w)) + epsilon
        w.assign_sub(_rounded(alpha / _one_minus_power(beta1, t), w) * m / denominator)

    return Optimizer(learning_rate, {"first_moment": 0.0, "belief": 0.0}, update_variable)


def lbfgs(learning_rate: float = 1.0, *, history: int = 5, first_step: str = "capped") -> Optimizer:
    """Limited-memory BFGS with a given step length, ``w <- w - alpha H g``, sums taken over all parameters together.

    ``H`` comes from the last ``history`` pairs ``s_i = w_{i+1} - w_i``, ``y_i = g_{i+1} - g_i``, those with ``s_i . y_i
    <= 0`` left out; the first step is along ``g / max(1, ||g||_1)`` (``"capped"``) or ``g`` (``"gradient"``). Slots
    ``previous_parameter``, ``previous_gradient``, and for ``k = 1`` (newest) ``.. history`` ``parameter_change_k``,
    ``gradient_change_k``.
    """
    check_not_negative("learning_rate", learning_rate)
    check_positive_integer("history", history)
    check_choice("first_step", first_step, ("capped", "gradient"))
    numbers = range(1, history + 1)

    def update_variable(parameters, gradients, slots, t, alpha):
        w, g = _flat(parameters, parameters), _flat(gradients, parameters)
        old = {slot: _flat(variables, parameters) for slot, variables in slots.items()}
        new = {"previous_parameter": w, "previous_gradient": g}
        for change, present in (("parameter", w), ("gradient", g)):
            changes = [present - old[f"previous_{change}"], *(old[f"{change}_change_{k}"] for k in numbers)]
            for k in numbers:  # before the second step there is no change
                new[f"{change}_change_{k}"] = tf.where(t > 1, changes[k - 1], changes[k])
        for slot, vector in new.items():
            _assign(slots[slot], vector, parameters)
        first = g / tf.maximum(tf.reduce_sum(tf.abs(g)), 1.0) if first_step == "capped" else g
        pairs = [(new[f"parameter_change_{k}"], new[f"gradient_change_{k}"]) for k in numbers]
        direction = tf.where(t > 1, _inverse_hessian_product(g, pairs), first)
        _assign(parameters, w - _rounded(alpha, w) * direction, parameters)

    slots = {"previous_parameter": 0.0, "previous_gradient": 0.0}
    slots |= {f"{change}_change_{k}": 0.0 for change in ("parameter", "gradient") for k in numbers}
    return Optimizer(learning_rate, slots, update_variable, elementwise=False)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    f.__name__: f
    for f in (
        gradient_descent, momentum, rmsprop, adagrad, adadelta, adam, adamw, nadam, adamax, radam, lion,
        adabelief, lbfgs,
    )
}  # fmt: skip


def exponentially_weighted_average(values: tf.Tensor, *, beta: float = 0.9, bias_correction: bool = True) -> tf.Tensor:
    """``v_t = beta v_{t-1} + (1 - beta) x_t`` with ``v_0 = 0``, each divided by ``1 - beta^t`` if ``bias_correction``.

    ``values``: ``(steps, ...)``; the result has their shape and dtype.
    """
    check_decay("beta", beta)
    check_choice("bias_correction", bias_correction, (False, True))
    values = tf.convert_to_tensor(values)
    start = tf.zeros(values.shape[1:], values.dtype)
    averages = tf.scan(lambda average, value: beta * average + (1 - beta) * value, values, start)
    if not bias_correction:
        return averages
    t = tf.range(1, values.shape[0] + 1, dtype=tf.float64)
    corrections = _rounded(_one_minus_power(beta, t), values)
    return averages / tf.reshape(corrections, (-1, *(1,) * (len(values.shape) - 1)))


@dataclass(frozen=True)
class _AdamStep:
    """Adam's step on one variable; the equations are in :func:`adam`."""

    beta1: float
    beta2: float
    epsilon: float
    epsilon_position: str
    amsgrad: str | None
    correction_precision: str

    def __post_init__(self) -> None:
        check_decay("beta1", self.beta1)
        check_decay("beta2", self.beta2)
        check_not_negative("epsilon", self.epsilon)
        check_choice("epsilon_position", self.epsilon_position, ("outside_root", "inside_root", "before_correction"))
        check_choice("amsgrad", self.amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))
        check_choice("correction_precision", self.correction_precision, PRECISIONS)

    @property
    def initial_slots(self) -> dict[str, float]:
        slots = {"first_moment": 0.0, "second_moment": 0.0}
        return slots if self.amsgrad is None else slots | {"maximum_second_moment": 0.0}

    def __call__(self, w: tf.Variable, g: tf.Tensor, slots: Variables, t: tf.Tensor, alpha: tf.Tensor) -> None:
        beta1, beta2, epsilon, amsgrad = self.beta1, self.beta2, self.epsilon, self.amsgrad
        one_minus_power = _one_minus_power_in(self.correction_precision, w)
        correction1, correction2 = one_minus_power(beta1, t), one_minus_power(beta2, t)
        if amsgrad == "uncorrected":
            correction1 = correction2 = tf.ones_like(t)
        m, v = _moments(g, slots, beta1, beta2)
        v_hat = v / _rounded(correction2, w)
        if amsgrad is not None:
            x = tf.maximum(slots["maximum_second_moment"], v_hat if amsgrad == "corrected_max" else v)
            slots["maximum_second_moment"].assign(x)
            v_hat = x if amsgrad == "corrected_max" else x / _rounded(correction2, w)
        if self.epsilon_position == "outside_root":
            denominator = tf.sqrt(v_hat) + epsilon
        elif self.epsilon_position == "inside_root":
            denominator = tf.sqrt(v_hat + epsilon)
        else:
            denominator = tf.sqrt(v_hat) + _rounded(epsilon / tf.sqrt(correction2), w)
        w.assign_sub(_rounded(alpha / correction1, w) * m / denominator)


def _decays(weight_decay: float, decoupled: bool) -> tuple[float, float]:
    """``weight_decay`` as the coupled and the decoupled one, of which one is 0."""
    check_not_negative("weight_decay", weight_decay)
    check_choice("decoupled_weight_decay", decoupled, (False, True))
    return (0.0, weight_decay) if decoupled else (weight_decay, 0.0)


def _with_decay(g: tf.Tensor, w: tf.Variable, weight_decay: float) -> tf.Tensor:
    """``g + weight_decay w``."""
    return g + weight_decay * w if weight_decay else g


def _step(w: tf.Variable, direction: tf.Tensor, alpha: tf.Tensor, weight_decay: float, *, inside: bool = False) -> None:
    """``w <- w - alpha (d + weight_decay w)``; ``inside``: ``d`` has the rate in it already."""
    if not weight_decay:
        w.assign_sub(direction if inside else _rounded(alpha, w) * direction)
    elif inside:
        w.assign_sub(direction + _rounded(alpha * weight_decay, w) * w)
    else:
        w.assign_sub(_rounded(alpha, w) * (direction + weight_decay * w))


def _moments(g: tf.Tensor, slots: Variables, beta1: float, beta2: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Adam's ``m`` and ``v`` after this step, in their slots too."""
    m = beta1 * slots["first_moment"] + (1 - beta1) * g
    v = beta2 * slots["second_moment"] + (1 - beta2) * g * g
    slots["first_moment"].assign(m)
    slots["second_moment"].assign(v)
    return m, v


def _check_dampening(dampening: float, accumulation: str, nesterov: bool, bias_correction: bool) -> None:
    check_fraction("dampening", dampening)
    conflicts = {
        f"accumulation={accumulation!r}": accumulation != "sum",
        "nesterov": nesterov,
        "bias_correction": bias_correction,
    }
    for formulation, conflicting in conflicts.items():
        if dampening != 0 and conflicting:
            raise ValueError(f"dampening={dampening!r} is not allowed with {formulation}: must be 0")


def _inverse_hessian_product(g: tf.Tensor, pairs: list[tuple[tf.Tensor, tf.Tensor]]) -> tf.Tensor:
    """L-BFGS's two loops: an approximate inverse Hessian times ``g``; ``pairs`` ``(s, y)`` from newest to oldest."""
    curvatures = [_inner(s, y) for s, y in pairs]
    q, weights = g, []
    for (s, y), curvature in zip(pairs, curvatures, strict=True):
        weights.append(_quotient(_inner(s, q), curvature))
        q -= weights[-1] * y
    newest = pairs[0][1]
    r = tf.where(curvatures[0] > 0, (curvatures[0] / _inner(newest, newest)) * q, q)
    for (s, y), curvature, weight in reversed(list(zip(pairs, curvatures, weights, strict=True))):
        r += (weight - _quotient(_inner(y, r), curvature)) * s  # 0 s for a pair that is left out
    return r


def _inner(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The inner product of two vectors: ``tf.tensordot`` would round its factors to ten bits on a recent GPU."""
    return tf.reduce_sum(a * b)


def _quotient(numerator: tf.Tensor, curvature: tf.Tensor) -> tf.Tensor:
    """``numerator / curvature``, 0 for a pair that is left out."""
    return tf.where(curvature > 0, numerator / curvature, tf.zeros_like(curvature))


def _flat(tensors: Tensors, parameters: Variables) -> tf.Tensor:
    """One vector of all tensors, in the order of ``parameters``."""
    return tf.concat([tf.reshape(tensors[name], [-1]) for name in parameters], axis=0)


def _assign(variables: Variables, vector: tf.Tensor, parameters: Variables) -> None:
    """The inverse of :func:`_flat`, into variables."""
    parts = tf.split(vector, [w.shape.num_elements() for w in parameters.values()])
    for (name, w), part in zip(parameters.items(), parts, strict=True):
        variables[name].assign(tf.reshape(part, w.shape))


def _one_minus_power(beta: float, t: tf.Tensor) -> tf.Tensor:
    """``1 - beta^t`` without the cancellation: the subtraction loses three digits at ``beta = 0.999, t = 1``."""
    return -tf.math.expm1(t * math.log(beta)) if beta > 0 else tf.ones_like(t)


def _one_minus_power_in(precision: str, w: tf.Tensor) -> Callable[[float, tf.Tensor], tf.Tensor]:
    """``1 - beta^t`` as a function of ``beta`` and ``t`` in one of ``PRECISIONS``; that of ``w`` is the working one."""
    if precision == "exact":
        return _one_minus_power
    dtype = tf.float32 if precision == "float32" else w.dtype

    def one_minus_power(beta, t):
        rounded = tf.cast(tf.constant(beta, dtype), w.dtype)
        return tf.cast(1 - tf.pow(rounded, tf.cast(t, w.dtype)), tf.float64)

    return one_minus_power


def _rounded(scalar: float | tf.Tensor, w: tf.Tensor) -> tf.Tensor:
    """A float64 scalar or Python number in the dtype of ``w``; ``tf.cast`` alone makes a number float32 first."""
    return tf.cast(tf.convert_to_tensor(scalar, tf.float64), w.dtype)


def _specification(slots: dict[str, Tensors]) -> dict[str, dict[str, tuple[Any, Any]]]:
    return {
        slot: {name: (value.shape, value.dtype) for name, value in values.items()} for slot, values in slots.items()
    }


def _check_gradients(gradients: Tensors, parameters: Variables) -> None:
    for name, w in parameters.items():
        if name not in gradients:
            raise ValueError(f"gradients has no {name!r}: must hold {', '.join(parameters)}")
        if gradients[name].shape != w.shape:
            raise ValueError(f"gradient {name!r} has shape {gradients[name].shape}: must be {w.shape}, its parameter's")
    for name in gradients:
        if name not in parameters:
            raise ValueError(f"gradients has {name!r}: must hold {', '.join(parameters)}")
