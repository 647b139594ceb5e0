"""Optimizers in the manner of optax: each is a formula on one array, lifted to any pytree of parameters.

Throughout, ``w`` is a parameter, ``g`` the gradient of the cost, ``alpha`` the learning rate and ``t`` the step counted
from 1. A formula returns what is added to ``w``, as ``optax.apply_updates`` expects. Every state array starts at 0
unless said.

The formulas are written out because optax's own take no learning rate by the step, put it inside the velocity of
RMSprop, and in float32 lose digits of ``1 - beta^t`` to cancellation (relative error 1e-5). ``learning_rate`` is a
number, or a schedule as optax means it: a function of the step counted from 0.

This file needs JAX and optax only and can be copied out alone.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class OptimizerState(NamedTuple):
    """Number of steps taken, and for each slot (``"velocity"``, ``"first_moment"`` ...) a tree like the parameters."""

    step: jax.Array
    slots: dict


class Optimizer(optax.GradientTransformationExtraArgs):
    """optax's pair ``(init, update)``, which also tells its ``learning_rate``.

    ``update(gradients, state, parameters=None, *, learning_rate=None)`` returns ``(updates, state)``; ``learning_rate``
    overrides the optimizer's own for this step, and may be traced. Raises ValueError if a gradient is missing or has
    another shape than its parameter.
    """

    def __new__(cls, init, update, learning_rate):
        optimizer = super().__new__(cls, init, update)  # a pair still, so that optax.chain can take it apart
        optimizer.learning_rate = learning_rate
        return optimizer


def gradient_descent(learning_rate=0.01):
    """``w <- w - alpha g``: ``optax.sgd``. Raises ValueError if ``learning_rate`` is negative or not finite."""
    _check_learning_rate(learning_rate)

    def update_array(g, slots, t, alpha):
        return -alpha * g, {}

    return _optimizer(learning_rate, {}, update_array)


def momentum(
    learning_rate=0.01,
    *,
    beta=0.9,
    accumulation="average",
    bias_correction=False,
    nesterov=False,
    learning_rate_position="outside",
):
    """Momentum: ``v <- beta v + g'``, ``w <- w - alpha v``, with slot ``velocity`` (``v``).

    ``accumulation="average"``: ``g' = (1 - beta) g``, as ``optax.ema``; ``"sum"``: ``g' = g``, as ``optax.sgd``.
    ``learning_rate_position="inside"``: ``v <- beta v + alpha g'``, ``w <- w - v``. ``nesterov`` steps by ``beta v +
    g'``; ``bias_correction`` divides the step by ``1 - beta^t``. Raises ValueError unless ``0 <= beta < 1`` and every
    formulation is one named here.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta", beta)
    _check_choice("accumulation", accumulation, ("average", "sum"))
    _check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    beta = float(beta)
    gain = 1 - beta if accumulation == "average" else 1.0
    inside = learning_rate_position == "inside"

    def update_array(g, slots, t, alpha):
        contribution = (alpha * gain if inside else gain) * g
        v = beta * slots["velocity"] + contribution
        direction = beta * v + contribution if nesterov else v
        if bias_correction:
            direction = direction / _one_minus_power(beta, t)
        return -(direction if inside else alpha * direction), {"velocity": v}

    return _optimizer(learning_rate, {"velocity": 0.0}, update_array)


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
    """RMSprop: ``s <- beta s + (1 - beta) g^2``, ``w <- w - alpha g / (sqrt(s) + epsilon)``.

    Slots ``square_average`` (``s``, from ``initial_square``), ``gradient_average`` (``c``, if centred: ``s - c^2``,
    never below 0, takes the place of ``s``), ``velocity`` (``u``, if momentum: ``u <- momentum u + r``, ``w <- w -
    alpha u``). ``optax.rmsprop`` has epsilon inside the root unless ``eps_in_sqrt=False``, the learning rate inside the
    velocity, and no maximum with 0. Raises ValueError for a number out of range, an unknown formulation, or
    ``bias_correction`` with ``initial_square != 0`` (which would correct for a start at 0 that did not happen).
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
    beta, momentum, epsilon = float(beta), float(momentum), float(epsilon)
    inside = learning_rate_position == "inside"

    def update_array(g, slots, t, alpha):
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
    return _optimizer(learning_rate, slots, update_array)


def adam(
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="outside_root",
    amsgrad=None,
):
    """Adam: ``w <- w - alpha m^ / (sqrt(v^) + epsilon)``, ``m^ = m / (1 - beta1^t)``, ``v^ = v / (1 - beta2^t)``.

    Slots ``first_moment`` (``m``), ``second_moment`` (``v``), with AMSGrad ``maximum_second_moment`` (``x``).
    ``epsilon_position="outside_root"`` is ``optax.adam(eps=...)``, ``"inside_root"`` its ``eps_root``;
    ``"before_correction"``, the paper's epsilon-hat, has no counterpart. ``amsgrad="corrected_max"`` (maximum of
    ``v^``) is ``optax.amsgrad``; ``"raw_max"`` corrects the maximum of ``v``, ``"uncorrected"`` corrects nothing.
    Raises ValueError for a number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root", "before_correction"))
    _check_choice("amsgrad", amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))
    beta1, beta2, epsilon = float(beta1), float(beta2), float(epsilon)

    def update_array(g, slots, t, alpha):
        correction1, correction2 = _one_minus_power(beta1, t), _one_minus_power(beta2, t)
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

    slots = {"first_moment": 0.0, "second_moment": 0.0}
    if amsgrad is not None:
        slots["maximum_second_moment"] = 0.0
    return _optimizer(learning_rate, slots, update_array)


OPTIMIZERS = {f.__name__: f for f in (gradient_descent, momentum, rmsprop, adam)}


def _optimizer(learning_rate, initial_slots, update_array):
    """Lift ``update_array(g, slots, t, alpha) -> (update, slots)`` from one array to a tree of them."""

    def init(parameters):
        slots = {
            slot: jax.tree.map(lambda w, value=value: jnp.full_like(w, value), parameters)
            for slot, value in initial_slots.items()
        }
        return OptimizerState(jnp.zeros((), jnp.int32), slots)

    def update(gradients, state, parameters=None, *, learning_rate=None, **extra_arguments):
        # Without parameters, the slots know their shapes.
        _check_gradients(gradients, next(iter(state.slots.values()), gradients) if parameters is None else parameters)
        alpha = own_rate(state.step) if learning_rate is None else learning_rate
        leaves, tree = jax.tree.flatten(gradients)
        slot_leaves = {slot: tree.flatten_up_to(arrays) for slot, arrays in state.slots.items()}
        updates, new_slots = [], {slot: [] for slot in slot_leaves}
        for i, g in enumerate(map(jnp.asarray, leaves)):
            # Scalars take the gradient's dtype, so that a rate in double precision does not change a parameter's.
            t, alpha_array = jnp.asarray(state.step + 1, g.dtype), jnp.asarray(alpha, g.dtype)
            array_slots = {slot: jnp.asarray(arrays[i]) for slot, arrays in slot_leaves.items()}
            array_update, array_slots = update_array(g, array_slots, t, alpha_array)
            updates.append(array_update)
            for slot, array in array_slots.items():
                new_slots[slot].append(array)
        new_slots = {slot: tree.unflatten(arrays) for slot, arrays in new_slots.items()}
        return tree.unflatten(updates), OptimizerState(state.step + 1, new_slots)

    own_rate = learning_rate if callable(learning_rate) else lambda step: learning_rate
    return Optimizer(init, update, learning_rate)


def _one_minus_power(beta, t):
    """``1 - beta^t`` as ``-expm1(t log(beta))``: in float32 the subtraction itself would cost it its digits."""
    return jnp.ones_like(t) if beta == 0 else -jnp.expm1(t * math.log(beta))


def _check_learning_rate(value):
    if not callable(value):
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
    shapes = {_name(path): jnp.shape(g) for path, g in jax.tree.leaves_with_path(gradients)}
    expected = {_name(path): jnp.shape(w) for path, w in jax.tree.leaves_with_path(parameters)}
    for name, shape in expected.items():
        if name not in shapes:
            raise ValueError(f"gradients has no {name!r}: must hold {', '.join(expected)}")
        if shapes[name] != shape:
            raise ValueError(f"gradient {name!r} has shape {shapes[name]}: must be {shape}, its parameter's")


def _name(path):
    return jax.tree_util.keystr(path, simple=True, separator="/")
