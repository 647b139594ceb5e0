"""Optimizers in the manner of optax: each is a formula on one array, lifted to any pytree of parameters.

Throughout, ``w`` is a parameter, ``g`` the gradient of the cost, ``alpha`` the learning rate and ``t`` the step counted
from 1. A formula returns what is added to ``w``, as ``optax.apply_updates`` expects. Every state array starts at 0
unless said.

The formulas are written out because optax's own take no learning rate by the step, put it inside the velocity of
RMSprop, start Adagrad at 0.1, and in float32 lose digits of ``1 - beta^t`` to cancellation (relative error 1e-5).
``learning_rate`` is a number, or a schedule as optax means it: a function of the step counted from 0.

``weight_decay`` is coupled: ``g <- g + weight_decay w`` before anything else, on every parameter (biases too), and not
in the cost; ``optax.chain(optax.add_decayed_weights(weight_decay), ...)`` is the same. With ``decoupled_weight_decay``
the gradient is left alone, and the step is ``w <- w - alpha (d + weight_decay w)``, where ``alpha d`` is the formula's
own step and ``w`` the parameter before it.

This file needs JAX, NumPy, optax and ``_common.py`` only, and can be copied out together with that.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from ._common import check_choice, check_decay, check_fraction, check_not_negative, check_positive_integer

# Of the beta in a bias correction ``1 - beta^t``: as it is; rounded to the dtype of the parameters, as optax does;
# rounded to float32, as Keras does on TensorFlow. Power and difference are then in the dtype of the parameters.
PRECISIONS = ("exact", "working", "float32")

LearningRate = float | Callable[[Any], Any]
Slots = dict[str, Any]  # by name: one array in a formula, else a tree like the parameters
# (w, g, slots, t, alpha) -> (update, slots)
Formula = Callable[[jax.Array, jax.Array, Slots, jax.Array, jax.Array], tuple[jax.Array, Slots]]


class OptimizerState(NamedTuple):
    """Number of steps taken, and for each slot (``"velocity"``, ``"first_moment"`` ...) a tree like the parameters.

    ``step`` is an int32 array in what ``init`` and ``update`` return, an int in what ``fit`` does.
    """

    step: jax.Array | int
    slots: Slots


class Optimizer(optax.GradientTransformationExtraArgs):
    """optax's pair ``(init, update)``, which also tells its ``learning_rate``.

    ``update(gradients, state, parameters=None, *, learning_rate=None)`` returns ``(updates, state)``; ``learning_rate``
    overrides the optimizer's own for this step, and may be traced. Raises ValueError if a gradient is missing, is of no
    parameter or has another shape than its parameter, or if ``parameters`` are not given to a formula in which they
    have a part.
    """

    learning_rate: LearningRate

    def __new__(cls, init: Callable[..., Any], update: Callable[..., Any], learning_rate: LearningRate) -> "Optimizer":
        optimizer = super().__new__(cls, init, update)  # a pair still, so that optax.chain can take it apart
        optimizer.learning_rate = learning_rate
        return optimizer


def gradient_descent(learning_rate: LearningRate = 0.01, *, weight_decay: float = 0.0) -> Optimizer:
    """``w <- w - alpha g``, ``g + weight_decay w`` in the place of ``g``: ``optax.sgd``.

    Raises ValueError if a number is negative or not finite.
    """
    _check_learning_rate(learning_rate)

    def update_array(w, g, slots, t, alpha):
        return -alpha * g, {}

    return _optimizer(learning_rate, {}, update_array, weight_decay=weight_decay)


def momentum(
    learning_rate: LearningRate = 0.01,
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
    """Momentum: ``v <- beta v + g'``, ``w <- w - alpha v``, with slot ``velocity`` (``v``).

    ``accumulation="average"``: ``g' = (1 - beta) g``, as ``optax.ema``; ``"sum"``: ``g' = g``, as ``optax.sgd``.
    ``learning_rate_position="inside"``: ``v <- beta v + alpha g'``, ``w <- w - v``. ``nesterov`` steps by ``beta v +
    g'``; ``bias_correction`` divides the step by ``1 - beta^t``. ``weight_decay``: ``g <- g + weight_decay w``, or
    decoupled ``w <- w - alpha (v + weight_decay w)`` (inside ``w <- w - (v + alpha weight_decay w)``). ``dampening``,
    PyTorch's: ``g' = g`` at ``t = 1`` and ``(1 - dampening) g`` after. Raises ValueError for a number out of range or
    an unknown formulation, and for a ``dampening`` that is not 0 without ``accumulation="sum"``, with ``nesterov`` or
    with ``bias_correction``.
    """
    _check_learning_rate(learning_rate)
    check_decay("beta", beta)
    check_choice("accumulation", accumulation, ("average", "sum"))
    check_choice("bias_correction", bias_correction, (False, True))
    check_choice("nesterov", nesterov, (False, True))
    check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    _check_dampening(dampening, accumulation, nesterov, bias_correction)
    beta, dampening = float(beta), float(dampening)
    gain = 1 - beta if accumulation == "average" else 1.0
    inside = learning_rate_position == "inside"

    def update_array(w, g, slots, t, alpha):
        factor = jnp.where(t == 1, gain, 1 - dampening) if dampening else gain
        contribution = (alpha * factor if inside else factor) * g
        v = beta * slots["velocity"] + contribution
        direction = beta * v + contribution if nesterov else v
        if bias_correction:
            direction = direction / _one_minus_power(beta, t)
        return -(direction if inside else alpha * direction), {"velocity": v}

    slots = {"velocity": 0.0}
    return _optimizer(learning_rate, slots, update_array, weight_decay=weight_decay, decoupled=decoupled_weight_decay)


def rmsprop(
    learning_rate: LearningRate = 0.001,
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
    """RMSprop: ``s <- beta s + (1 - beta) g^2``, ``w <- w - alpha g / (sqrt(s) + epsilon)``.

    Slots ``square_average`` (``s``, from ``initial_square``), ``gradient_average`` (``c``, if centred: ``s - c^2``,
    never below 0, takes the place of ``s``), ``velocity`` (``u``, if momentum: ``u <- momentum u + r``, ``w <- w -
    alpha u``). ``weight_decay``: ``g <- g + weight_decay w``, or decoupled ``w <- w - alpha (d + weight_decay w)``,
    ``d`` being ``r`` or ``u`` (inside ``w <- w - (u + alpha weight_decay w)``). ``optax.rmsprop`` has epsilon inside
    the root unless ``eps_in_sqrt=False``, the learning rate inside the velocity, and no maximum with 0. Raises
    ValueError for a number out of range, an unknown formulation, or ``bias_correction`` with ``initial_square != 0``
    (which would correct for a start at 0 that did not happen).
    """
    _check_learning_rate(learning_rate)
    check_decay("beta", beta)
    check_decay("momentum", momentum)
    check_not_negative("epsilon", epsilon)
    check_not_negative("initial_square", initial_square)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    check_choice("centered", centered, (False, True))
    check_choice("bias_correction", bias_correction, (False, True))
    if bias_correction and initial_square != 0:
        raise ValueError(f"initial_square={initial_square!r} is not allowed with bias_correction: must be 0")
    beta, momentum, epsilon = float(beta), float(momentum), float(epsilon)
    inside = learning_rate_position == "inside"

    def update_array(w, g, slots, t, alpha):
        correction = _one_minus_power(beta, t) if bias_correction else 1.0
        s = beta * slots["square_average"] + (1 - beta) * g * g
        new_slots = {"square_average": s}
        variance = s / correction
        if centered:
            c = beta * slots["gradient_average"] + (1 - beta) * g
            new_slots["gradient_average"] = c
            variance = jnp.maximum(variance - (c / correction) ** 2, 0.0)
        ratio = g / (
            jnp.sqrt(variance) + epsilon if epsilon_position == "outside_root" else jnp.sqrt(variance + epsilon)
        )
        if not momentum:
            return -alpha * ratio, new_slots
        u = momentum * slots["velocity"] + (alpha * ratio if inside else ratio)
        return -(u if inside else alpha * u), new_slots | {"velocity": u}

    slots = {"square_average": initial_square}
    if centered:
        slots["gradient_average"] = 0.0
    if momentum:
        slots["velocity"] = 0.0
    return _optimizer(learning_rate, slots, update_array, weight_decay=weight_decay, decoupled=decoupled_weight_decay)


def adagrad(
    learning_rate: LearningRate = 0.01,
    *,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    initial_accumulator: float = 0.0,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Adagrad: ``s <- s + g^2``, ``w <- w - alpha g / (sqrt(s) + epsilon)``.

    Slot ``square_sum`` (``s``, from ``initial_accumulator``). ``epsilon_position="inside_root"`` divides by ``sqrt(s +
    epsilon)``, as ``optax.adagrad``, which starts at 0.1 by default. ``weight_decay``: ``g <- g + weight_decay w``.
    Raises ValueError for a number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    check_not_negative("initial_accumulator", initial_accumulator)
    epsilon = float(epsilon)

    def update_array(w, g, slots, t, alpha):
        s = slots["square_sum"] + g * g
        root = jnp.sqrt(s) + epsilon if epsilon_position == "outside_root" else jnp.sqrt(s + epsilon)
        return -alpha * g / root, {"square_sum": s}

    return _optimizer(learning_rate, {"square_sum": initial_accumulator}, update_array, weight_decay=weight_decay)


def adadelta(
    learning_rate: LearningRate = 1.0,
    *,
    rho: float = 0.9,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
) -> Optimizer:
    """Adadelta: ``s <- rho s + (1 - rho) g^2``, ``r = g sqrt(d + epsilon) / sqrt(s + epsilon)``, ``w <- w - alpha r``.

    Slots ``square_average`` (``s``), ``squared_update_average`` (``d <- rho d + (1 - rho) r^2``). ``weight_decay``: ``g
    <- g + weight_decay w``, or decoupled ``w <- w - alpha (r + weight_decay w)``. ``optax.adadelta`` is the same
    where it is given a learning rate: without one it ascends. Raises ValueError for a number out of range.
    """
    _check_learning_rate(learning_rate)
    check_decay("rho", rho)
    check_not_negative("epsilon", epsilon)
    rho, epsilon = float(rho), float(epsilon)

    def update_array(w, g, slots, t, alpha):
        s = rho * slots["square_average"] + (1 - rho) * g * g
        step = jnp.sqrt(slots["squared_update_average"] + epsilon) / jnp.sqrt(s + epsilon) * g
        d = rho * slots["squared_update_average"] + (1 - rho) * step * step
        return -alpha * step, {"square_average": s, "squared_update_average": d}

    slots = {"square_average": 0.0, "squared_update_average": 0.0}
    return _optimizer(learning_rate, slots, update_array, weight_decay=weight_decay, decoupled=decoupled_weight_decay)


def adam(
    learning_rate: LearningRate = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    amsgrad: str | None = None,
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> Optimizer:
    """Adam: ``w <- w - alpha m^ / (sqrt(v^) + epsilon)``, ``m^ = m / (1 - beta1^t)``, ``v^ = v / (1 - beta2^t)``.

    Slots ``first_moment`` (``m``), ``second_moment`` (``v``), with AMSGrad ``maximum_second_moment`` (``x``).
    ``epsilon_position="outside_root"`` is ``optax.adam(eps=...)``, ``"inside_root"`` its ``eps_root``;
    ``"before_correction"``, the paper's epsilon-hat, has no counterpart. ``amsgrad="corrected_max"`` (maximum of
    ``v^``) is ``optax.amsgrad``; ``"raw_max"`` corrects the maximum of ``v``, ``"uncorrected"`` corrects nothing.
    ``weight_decay``: ``g <- g + weight_decay w``; decoupled it is :func:`adamw`. ``correction_precision`` is of ``1 -
    beta^t``: ``"exact"``; ``"working"`` from betas rounded to the parameters' dtype and in it, as ``optax.adam``;
    ``"float32"`` from betas rounded to float32. Raises ValueError for a number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision)
    step = _adam_step(float(beta1), float(beta2), float(epsilon), epsilon_position, amsgrad, correction_precision)
    return _optimizer(learning_rate, _adam_slots(amsgrad), step, weight_decay=weight_decay)


def adamw(
    learning_rate: LearningRate = 0.001,
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
    """Adam with decoupled weight decay: ``w <- w - alpha weight_decay w`` beside its step, on every parameter.

    The slots are those of :func:`adam`. ``decay_scale="learning_rate"`` is ``optax.adamw``, whose ``weight_decay`` is
    0.0001 by default; ``"schedule_only"`` has ``alpha / alpha_0`` in the place of ``alpha``, with ``alpha_0`` the
    ``learning_rate``. Raises ValueError for a number out of range, an unknown formulation, or
    ``decay_scale="schedule_only"`` with a ``learning_rate`` of 0 or a schedule.
    """
    _check_learning_rate(learning_rate)
    _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision)
    check_not_negative("weight_decay", weight_decay)
    check_choice("decay_scale", decay_scale, ("learning_rate", "schedule_only"))
    decay = float(weight_decay)
    if decay_scale == "schedule_only":
        if callable(learning_rate) or learning_rate == 0:
            raise ValueError(
                f"learning_rate={learning_rate!r} is not allowed with decay_scale='schedule_only': must be > 0"
            )
        decay = weight_decay / learning_rate
    step = _adam_step(float(beta1), float(beta2), float(epsilon), epsilon_position, amsgrad, correction_precision)

    def update_array(w, g, slots, t, alpha):
        update, slots = step(w, g, slots, t, alpha)
        return update - alpha * decay * w, slots

    return _optimizer(learning_rate, _adam_slots(amsgrad), update_array, needs_parameters=True)


def nadam(
    learning_rate: LearningRate = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    schedule: str = "dozat",
    momentum_decay: float = 0.004,
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> Optimizer:
    """Adam with Nesterov's momentum: ``m^ = mu_{t+1} m / (1 - p_t mu_{t+1}) + (1 - mu_t) g / (1 - p_t)``.

    Slots ``first_moment`` (``m``), ``second_moment`` (``v``), and with ``schedule="dozat"``, where ``mu_t = beta1 (1 -
    0.96^(t momentum_decay) / 2)``, ``momentum_product`` (``p_t = mu_1 ... mu_t``, in all elements). ``"constant"``,
    ``mu_t = beta1``, is ``optax.nadam``. ``weight_decay``: ``g <- g + weight_decay w``. Raises ValueError for a
    number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_choice("correction_precision", correction_precision, PRECISIONS)
    check_not_negative("epsilon", epsilon)
    check_choice("schedule", schedule, ("dozat", "constant"))
    check_not_negative("momentum_decay", momentum_decay)
    beta1, beta2, epsilon = float(beta1), float(beta2), float(epsilon)
    exact_beta1, exact_base = beta1, base = beta1, 0.96
    if correction_precision == "float32":
        beta1, beta2, base = (float(np.float32(number)) for number in (beta1, beta2, base))
    dozat = schedule == "dozat"

    def half_power(t, base=base):
        return 0.5 * jnp.exp(t * (momentum_decay * math.log(base)))

    def update_array(w, g, slots, t, alpha):
        one_minus_power = _one_minus_power_in(correction_precision)
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        v = beta2 * slots["second_moment"] + (1 - beta2) * g * g
        new_slots = {"first_moment": m, "second_moment": v}
        if dozat:
            mu, next_mu = exact_beta1 * (1 - half_power(t, exact_base)), beta1 * (1 - half_power(t + 1))
            one_minus_mu = (1 - beta1) + beta1 * half_power(t)  # without cancellation
            p = slots["momentum_product"] * mu
            new_slots["momentum_product"] = p
            m_hat = next_mu * m / (1 - p * next_mu) + one_minus_mu * g / (1 - p)
        else:
            m_hat = beta1 / one_minus_power(beta1, t + 1) * m + (1 - beta1) / one_minus_power(beta1, t) * g
        return -alpha * m_hat / (jnp.sqrt(v / one_minus_power(beta2, t)) + epsilon), new_slots

    slots = {"first_moment": 0.0, "second_moment": 0.0}
    if dozat:
        slots["momentum_product"] = 1.0
    return _optimizer(learning_rate, slots, update_array, weight_decay=weight_decay)


def adamax(
    learning_rate: LearningRate = 0.002,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "inside_maximum",
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> Optimizer:
    """Adam with the maximum norm: ``u <- max(beta2 u, |g| + epsilon)``, ``w <- w - alpha m / ((1 - beta1^t) u)``.

    Slots ``first_moment`` (``m``), ``infinity_norm`` (``u``). ``epsilon_position="inside_maximum"`` is
    ``optax.adamax``; ``"outside"`` divides by ``u + epsilon`` instead. ``weight_decay``: ``g <- g + weight_decay w``
    first. Raises ValueError for a number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_choice("correction_precision", correction_precision, PRECISIONS)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("inside_maximum", "outside"))
    beta1, beta2, epsilon = float(beta1), float(beta2), float(epsilon)
    inside = epsilon_position == "inside_maximum"

    def update_array(w, g, slots, t, alpha):
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        u = jnp.maximum(beta2 * slots["infinity_norm"], jnp.abs(g) + epsilon if inside else jnp.abs(g))
        one_minus_power = _one_minus_power_in(correction_precision)
        update = -alpha / one_minus_power(beta1, t) * m / (u if inside else u + epsilon)
        return update, {"first_moment": m, "infinity_norm": u}

    slots = {"first_moment": 0.0, "infinity_norm": 0.0}
    return _optimizer(learning_rate, slots, update_array, weight_decay=weight_decay)


def radam(
    learning_rate: LearningRate = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    threshold: float = 5.0,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Rectified Adam: Adam's step times ``r_t`` where ``rho_t > threshold``, else ``w <- w - alpha m^``.

    Slots ``first_moment`` (``m``), ``second_moment`` (``v``). ``optax.radam`` is ``epsilon_position="outside_root"``,
    but subtracts nearly equal numbers for ``rho_t``, which in float32 leaves it four digits. ``"before_correction"``
    adds epsilon to ``sqrt(v)``. ``weight_decay``: ``g <- g + weight_decay w``. Raises ValueError for a number out
    of range, an unknown formulation, or a ``beta2`` so small that no step would be rectified.
    """
    _check_learning_rate(learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "before_correction"))
    check_choice("threshold", threshold, (5, 4))
    if not 2 / (1 - beta2) - 1 > threshold:
        raise ValueError(f"beta2={beta2!r} is not allowed with threshold={threshold!r}: 2/(1 - beta2) - 1 must be more")
    beta1, beta2, epsilon = float(beta1), float(beta2), float(epsilon)
    first_rectified = _first_rectified_step(beta2, threshold)

    def update_array(w, g, slots, t, alpha):
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        v = beta2 * slots["second_moment"] + (1 - beta2) * g * g
        alpha = alpha / _one_minus_power(beta1, t)
        correction = jnp.sqrt(_one_minus_power(beta2, t))
        hat_epsilon = epsilon if epsilon_position == "before_correction" else epsilon * correction
        rectified = _rectification(beta2, t) * correction * m / (jnp.sqrt(v) + hat_epsilon)
        update = -alpha * jnp.where(t < first_rectified, m, rectified)
        return update, {"first_moment": m, "second_moment": v}

    slots = {"first_moment": 0.0, "second_moment": 0.0}
    return _optimizer(learning_rate, slots, update_array, weight_decay=weight_decay)


def lion(
    learning_rate: LearningRate = 0.0001, *, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0
) -> Optimizer:
    """Lion: ``w <- w - alpha (sign(beta1 m + (1 - beta1) g) + weight_decay w)``, ``m <- beta2 m + (1 - beta2) g``.

    Slot ``momentum`` (``m``). ``optax.lion``, whose ``weight_decay`` is 0.001 by default. Raises ValueError for a
    number out of range.
    """
    _check_learning_rate(learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("weight_decay", weight_decay)
    beta1, beta2, weight_decay = float(beta1), float(beta2), float(weight_decay)

    def update_array(w, g, slots, t, alpha):
        m = slots["momentum"]
        direction = jnp.sign(beta1 * m + (1 - beta1) * g)
        if weight_decay:
            direction = direction + weight_decay * w
        return -alpha * direction, {"momentum": beta2 * m + (1 - beta2) * g}

    return _optimizer(learning_rate, {"momentum": 0.0}, update_array, needs_parameters=weight_decay > 0)


def adabelief(
    learning_rate: LearningRate = 0.001, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-16
) -> Optimizer:
    """AdaBelief: ``s <- beta2 s + (1 - beta2) (g - m)^2 + epsilon``, ``w <- w - alpha m^ / (sqrt(s^) + epsilon)``.

    Slots ``first_moment`` (``m``), ``belief`` (``s``), corrected as Adam's. It is ``optax.adabelief``. Raises
    ValueError for a number out of range.
    """
    _check_learning_rate(learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)
    beta1, beta2, epsilon = float(beta1), float(beta2), float(epsilon)

    def update_array(w, g, slots, t, alpha):
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        s = beta2 * slots["belief"] + (1 - beta2) * jnp.square(g - m) + epsilon
        denominator = jnp.sqrt(s / _one_minus_power(beta2, t)) + epsilon
        return -alpha / _one_minus_power(beta1, t) * m / denominator, {"first_moment": m, "belief": s}

    return _optimizer(learning_rate, {"first_moment": 0.0, "belief": 0.0}, update_array)


def lbfgs(learning_rate: LearningRate = 1.0, *, history: int = 5, first_step: str = "capped") -> Optimizer:
    """Limited-memory BFGS with a given step length: ``w <- w - alpha H g``, sums taken over all parameters together.

    ``H`` is the two loops over the last ``history`` pairs ``s`` (change of the parameters), ``y`` (of the gradient);
    those with ``s . y <= 0`` are left out. The first step has none: ``H g = g / max(1, ||g||_1)``
    (``first_step="capped"``) or ``g`` (``"gradient"``). Slots: ``previous_parameter``, ``previous_gradient``, and for
    ``k = 1`` (newest) ``.. history`` ``parameter_change_k``, ``gradient_change_k``. ``optax.lbfgs`` without its line
    search has another first step. Raises ValueError for a number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    check_positive_integer("history", history)
    check_choice("first_step", first_step, ("capped", "gradient"))
    numbers = range(1, history + 1)

    def update_array(w, g, slots, t, alpha):
        first = t == 1
        changes = {"parameter": [jnp.where(first, 0, w - slots["previous_parameter"])],
                   "gradient": [jnp.where(first, 0, g - slots["previous_gradient"])]}  # fmt: skip
        new_slots = {"previous_parameter": w, "previous_gradient": g}
        for kind, newest_first in changes.items():
            newest_first += [slots[f"{kind}_change_{k}"] for k in numbers[:-1]]
            new_slots |= {f"{kind}_change_{k}": change for k, change in zip(numbers, newest_first, strict=True)}
        start = g / jnp.maximum(1, jnp.abs(g).sum()) if first_step == "capped" else g
        pairs = list(zip(*changes.values(), strict=True))
        return -alpha * jnp.where(first, start, _inverse_hessian_product(g, pairs)), new_slots

    slots = {"previous_parameter": 0.0, "previous_gradient": 0.0}
    slots |= {f"{change}_change_{k}": 0.0 for change in ("parameter", "gradient") for k in numbers}
    return _optimizer(learning_rate, slots, update_array, elementwise=False, needs_parameters=True)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    f.__name__: f
    for f in (
        gradient_descent, momentum, rmsprop, adagrad, adadelta, adam, adamw, nadam, adamax, radam, lion,
        adabelief, lbfgs,
    )
}  # fmt: skip


def exponentially_weighted_average(values: ArrayLike, *, beta: float = 0.9, bias_correction: bool = True) -> jax.Array:
    """``v_t = beta v_{t-1} + (1 - beta) x_t`` with ``v_0 = 0``, each divided by ``1 - beta^t`` if ``bias_correction``.

    ``values``: ``(steps, ...)``; the result has their shape. ``optax.ema`` is the same, a step at a time. Raises
    ValueError unless ``0 <= beta < 1``.
    """
    check_decay("beta", beta)
    check_choice("bias_correction", bias_correction, (False, True))
    beta = float(beta)
    values = jnp.asarray(values)

    def step(average: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        average = beta * average + (1 - beta) * value
        return average, average

    averages = jax.lax.scan(step, jnp.zeros(values.shape[1:], values.dtype), values)[1]
    if not bias_correction:
        return averages
    t = jnp.arange(1, len(values) + 1, dtype=values.dtype)
    return averages / _one_minus_power(beta, t).reshape(-1, *(1,) * (values.ndim - 1))


def _adam_slots(amsgrad: str | None) -> dict[str, float]:
    slots = {"first_moment": 0.0, "second_moment": 0.0}
    return slots if amsgrad is None else slots | {"maximum_second_moment": 0.0}


def _adam_step(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision):
    """Adam's formula on one array; the equations are in :func:`adam`."""

    def update_array(w, g, slots, t, alpha):
        one_minus_power = _one_minus_power_in(correction_precision)
        correction1, correction2 = one_minus_power(beta1, t), one_minus_power(beta2, t)
        if amsgrad == "uncorrected":
            correction1 = correction2 = jnp.ones_like(t)
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        v = beta2 * slots["second_moment"] + (1 - beta2) * g * g
        new_slots = {"first_moment": m, "second_moment": v}
        v_hat = v / correction2
        if amsgrad is not None:
            x = jnp.maximum(slots["maximum_second_moment"], v_hat if amsgrad == "corrected_max" else v)
            new_slots["maximum_second_moment"] = x
            v_hat = x if amsgrad == "corrected_max" else x / correction2
        if epsilon_position == "outside_root":
            denominator = jnp.sqrt(v_hat) + epsilon
        elif epsilon_position == "inside_root":
            denominator = jnp.sqrt(v_hat + epsilon)
        else:
            denominator = jnp.sqrt(v_hat) + epsilon / jnp.sqrt(correction2)
        return -alpha / correction1 * m / denominator, new_slots

    return update_array


def _first_rectified_step(beta2: float, threshold: float) -> int:
    """RAdam's first step with ``rho_t > threshold``; ``rho_t`` grows with ``t``. Decided here, in double precision."""
    rho = 2 / (1 - beta2) - 1
    rhos = (rho - 2 * t * beta2**t / -math.expm1(t * math.log(beta2)) for t in itertools.count(1))
    return next(t for t, rho_t in enumerate(rhos, start=1) if rho_t > threshold)


def _rectification(beta2: float, t: jax.Array) -> jax.Array:
    """RAdam's ``r_t``, NaN while ``rho_t < 4``.

    With ``z = -t log(beta2) / 2`` it is ``rho_t = rho - t (coth(z) - 1)``. Where ``z`` is small that cancels, and
    ``coth(z) = (1 + F(z)) / z`` with ``F(z) = z^2 / (3 + z^2 / (5 + ...))`` takes the large numbers together.
    """
    rate = -math.log(beta2) / 2
    rho = 2 / (1 - beta2) - 1
    z = t * rate
    fraction: Any = 0.0
    for odd in (13, 11, 9, 7, 5, 3):
        fraction = z * z / (odd + fraction)
    small, large = (rho - 1 / rate) + t * (1 - fraction / z), rho - 2 * t / jnp.expm1(2 * z)
    rho_t = jnp.where(z < 0.5, small, large)
    return jnp.sqrt((rho_t - 4) * (rho_t - 2) / rho_t * (rho / ((rho - 4) * (rho - 2))))


def _inverse_hessian_product(g: jax.Array, pairs: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """L-BFGS's two loops: an approximate inverse Hessian times ``g``; ``pairs`` ``(s, y)`` from newest to oldest."""
    curvatures = [_dot(s, y) for s, y in pairs]
    q, weights = g, []
    for (s, y), curvature in zip(pairs, curvatures, strict=True):
        weights.append(_ratio(_dot(s, q), curvature))
        q = q - weights[-1] * y
    newest = pairs[0][1]
    r = jnp.where(curvatures[0] > 0, curvatures[0] / _dot(newest, newest), 1) * q
    for (s, y), curvature, weight in reversed(list(zip(pairs, curvatures, weights, strict=True))):
        r = r + (weight - _ratio(_dot(y, r), curvature)) * s
    return r


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """In full precision on any device, unlike products of matrices."""
    return jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST)


def _ratio(product: jax.Array, curvature: jax.Array) -> jax.Array:
    """0 for a pair that is left out."""
    return jnp.where(curvature > 0, product / curvature, 0)


def _optimizer(
    learning_rate: LearningRate,
    initial_slots: dict[str, float],
    update_array: Formula,
    *,
    elementwise: bool = True,
    needs_parameters: bool = False,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Optimizer:
    """Lift ``update_array(w, g, slots, t, alpha) -> (update, slots)`` from one array to a tree of them.

    A formula that is not ``elementwise`` takes sums over all parameters: its array is one vector that holds every one
    of them. ``w`` is None where parameters are not given, which a formula that ``needs_parameters`` refuses, and so
    does one with ``weight_decay``, which goes around the formula.
    """
    check_not_negative("weight_decay", weight_decay)
    check_choice("decoupled_weight_decay", decoupled, (False, True))
    if weight_decay:
        update_array, needs_parameters = _decayed(update_array, float(weight_decay), decoupled), True

    def init(parameters: Any) -> OptimizerState:
        def filled(value: float) -> Any:
            # By NumPy: jnp.full_like would compile a program for every shape.
            return jax.tree.map(lambda w: np.full(jnp.shape(w), value, jnp.result_type(w)), parameters)

        slots = dict(zip(initial_slots, jax.device_put([*map(filled, initial_slots.values())]), strict=True))
        return OptimizerState(jnp.zeros((), jnp.int32), slots)

    def update(
        gradients: Any, state: OptimizerState, parameters: Any = None, *, learning_rate: Any = None, **extra: Any
    ) -> tuple[Any, OptimizerState]:
        if parameters is None and needs_parameters:
            raise ValueError("parameters=None is not allowed: must be given, for they have a part in this formula")
        # Without parameters, the slots know their shapes.
        _check_gradients(gradients, next(iter(state.slots.values()), gradients) if parameters is None else parameters)
        alpha = own_rate(state.step) if learning_rate is None else learning_rate

        def update_leaf(g: jax.Array, w: Any, slots: Slots) -> tuple[jax.Array, Slots]:
            # Scalars take the gradient's dtype, so that a rate in double precision does not change a parameter's.
            t, alpha_array = jnp.asarray(state.step + 1, g.dtype), jnp.asarray(alpha, g.dtype)
            return update_array(w, g, slots, t, alpha_array)

        lift = _leaf_by_leaf if elementwise else _as_one_vector
        updates, slots = lift(update_leaf, gradients, parameters, state.slots)
        return updates, OptimizerState(state.step + 1, slots)

    own_rate = learning_rate if callable(learning_rate) else lambda step: learning_rate
    return Optimizer(init, update, learning_rate)


def _decayed(update_array: Formula, decay: float, decoupled: bool) -> Formula:
    """The formula with weight decay: ``g + decay w`` for ``g``, or ``-alpha decay w`` beside its own update."""

    def coupled_array(w, g, slots, t, alpha):
        return update_array(w, g + decay * w, slots, t, alpha)

    def decoupled_array(w, g, slots, t, alpha):
        step, slots = update_array(w, g, slots, t, alpha)
        return step - alpha * decay * w, slots

    return decoupled_array if decoupled else coupled_array


Lifted = tuple[Any, Slots]


def _leaf_by_leaf(update_leaf: Callable[..., Lifted], gradients: Any, parameters: Any, slots: Slots) -> Lifted:
    tree: Any
    leaves, tree = jax.tree.flatten(gradients)
    parameter_leaves = [None] * len(leaves) if parameters is None else tree.flatten_up_to(parameters)
    slot_leaves = {slot: tree.flatten_up_to(arrays) for slot, arrays in slots.items()}
    updates: list[jax.Array] = []
    new_slots: dict[str, list[jax.Array]] = {slot: [] for slot in slot_leaves}
    for i, (g, w) in enumerate(zip(leaves, parameter_leaves, strict=True)):
        leaf_slots = {slot: jnp.asarray(arrays[i]) for slot, arrays in slot_leaves.items()}
        update, leaf_slots = update_leaf(jnp.asarray(g), w, leaf_slots)
        updates.append(update)
        for slot, array in leaf_slots.items():
            new_slots[slot].append(array)
    return tree.unflatten(updates), {slot: tree.unflatten(arrays) for slot, arrays in new_slots.items()}


def _as_one_vector(update_leaf: Callable[..., Lifted], gradients: Any, parameters: Any, slots: Slots) -> Lifted:
    vector, split = ravel_pytree(gradients)
    vectors = {slot: ravel_pytree(arrays)[0] for slot, arrays in slots.items()}
    update, vectors = update_leaf(vector, ravel_pytree(parameters)[0], vectors)
    return split(update), {slot: split(changed) for slot, changed in vectors.items()}


def _one_minus_power(beta: float, t: jax.Array) -> jax.Array:
    """``1 - beta^t`` as ``-expm1(t log(beta))``: in float32 the subtraction itself would cost it its digits."""
    return jnp.ones_like(t) if beta == 0 else -jnp.expm1(t * math.log(beta))


def _one_minus_power_in(precision: str) -> Callable[[float, jax.Array], jax.Array]:
    """``1 - beta^t`` as a function of ``beta`` and ``t`` in one of ``PRECISIONS``; that of ``t`` is the working one."""
    if precision == "exact":
        return _one_minus_power
    return lambda beta, t: 1 - jnp.asarray(np.float32(beta) if precision == "float32" else beta, t.dtype) ** t


def _check_adam(
    beta1: float, beta2: float, epsilon: float, epsilon_position: str, amsgrad: str | None, correction_precision: str
) -> None:
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root", "before_correction"))
    check_choice("amsgrad", amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))
    check_choice("correction_precision", correction_precision, PRECISIONS)


def _check_dampening(dampening: float, accumulation: str, nesterov: bool, bias_correction: bool) -> None:
    check_fraction("dampening", dampening)
    if dampening and accumulation != "sum":
        raise ValueError(f"dampening={dampening!r} is not allowed with accumulation={accumulation!r}: must be 0")
    for name, chosen in (("nesterov", nesterov), ("bias_correction", bias_correction)):
        if dampening and chosen:
            raise ValueError(f"dampening={dampening!r} is not allowed with {name}: must be 0")


def _check_learning_rate(value: LearningRate) -> None:
    if not callable(value):
        check_not_negative("learning_rate", value)


def _check_gradients(gradients: Any, parameters: Any) -> None:
    shapes = {_name(path): jnp.shape(g) for path, g in jax.tree.leaves_with_path(gradients)}
    expected = {_name(path): jnp.shape(w) for path, w in jax.tree.leaves_with_path(parameters)}
    for name, shape in expected.items():
        if name not in shapes:
            raise ValueError(f"gradients has no {name!r}: must hold {', '.join(expected)}")
        if shapes[name] != shape:
            raise ValueError(f"gradient {name!r} has shape {shapes[name]}: must be {shape}, its parameter's")
    for name in shapes:
        if name not in expected:
            raise ValueError(f"gradients has {name!r}: must hold {', '.join(expected)}")


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
