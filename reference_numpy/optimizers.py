"""Optimizers: each is an initial state and an update, written for one array and lifted to all parameters.

Throughout, ``w`` is a parameter, ``g`` the gradient of the cost, ``alpha`` the learning rate and ``t`` the step
counted from 1. Every state array starts at 0 unless said. Where the published variants of a formula differ, a
keyword says which one is meant (the *formulation*); the first value named is the default.

This file needs NumPy only and can be copied out alone.

>>> parameters = {"w": np.array([1.0])}
>>> optimizer = gradient_descent(0.1)
>>> state = optimizer.init(parameters)
>>> parameters, state = optimizer.update({"w": np.array([2.0])}, state, parameters)
>>> parameters["w"], state.step
(array([0.8]), 1)
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CHUNK = 32768  # elements updated at a time, so that the temporaries of a formula stay in the cache


class OptimizerState(NamedTuple):
    """Number of steps taken, and for each slot (``"velocity"``, ``"first_moment"`` ...) one array per parameter."""

    step: int
    slots: dict


@dataclass(frozen=True)
class Optimizer:
    """An optimizer: its learning rate, the initial value of each slot, and the formula on one array.

    ``update_array(w, g, slots, t, alpha)`` changes ``w`` and the arrays of ``slots`` in place.
    """

    learning_rate: float
    initial_slots: Mapping[str, float]
    update_array: Callable

    def init(self, parameters):
        """The state before the first step, for ``parameters``: a dict of arrays."""
        slots = {
            slot: {name: np.full_like(w, value) for name, w in parameters.items()}
            for slot, value in self.initial_slots.items()
        }
        return OptimizerState(0, slots)

    def update(self, gradients, state, parameters, *, learning_rate=None):
        """One step. Returns new ``(parameters, state)``; the arguments are left as they are.

        ``gradients`` and ``parameters``: dicts of arrays of equal shapes. ``learning_rate`` overrides the
        optimizer's own for this step. Raises ValueError if a gradient is missing or has another shape than its
        parameter.
        """
        _check_gradients(gradients, parameters)
        alpha = self.learning_rate if learning_rate is None else learning_rate
        parameters = {name: w.copy() for name, w in parameters.items()}
        slots = {slot: {name: s.copy() for name, s in arrays.items()} for slot, arrays in state.slots.items()}
        for name, w in parameters.items():
            array_slots = {slot: slots[slot][name] for slot in slots}
            self.update_array(w, gradients[name], array_slots, state.step + 1, alpha)
        return parameters, OptimizerState(state.step + 1, slots)

    def update_flat(self, w, g, slots, t, alpha):
        """One step in place on one flat vector ``w`` that holds every parameter, a cache-sized chunk at a time."""
        for start in range(0, w.size, CHUNK):
            chunk = slice(start, start + CHUNK)
            self.update_array(w[chunk], g[chunk], {slot: s[chunk] for slot, s in slots.items()}, t, alpha)


def gradient_descent(learning_rate=0.01):
    """``w <- w - alpha g``. Batch, mini-batch and stochastic gradient descent differ in the batch size alone.

    Raises ValueError if ``learning_rate`` is negative or not finite. Source: the course, course 1 week 2.
    """
    _check_learning_rate(learning_rate)

    def update_array(w, g, slots, t, alpha):
        w -= alpha * g

    return Optimizer(learning_rate, {}, update_array)


def momentum(
    learning_rate=0.01,
    *,
    beta=0.9,
    accumulation="average",
    bias_correction=False,
    nesterov=False,
    learning_rate_position="outside",
):
    """Gradient descent with momentum: slot ``velocity`` (``v``).

    ``g' = (1 - beta) g`` if ``accumulation="average"`` (the course), ``g' = g`` if ``"sum"`` (PyTorch, Keras, optax)::

        v <- beta v + g'           w <- w - alpha d      (learning_rate_position="outside")
        v <- beta v + alpha g'     w <- w - d            ("inside": another method as soon as alpha changes)

    with ``d = v``, or with ``nesterov`` ``d = beta v + g'`` (``beta v + alpha g'`` inside); ``bias_correction`` divides
    ``d`` by ``1 - beta^t``. Raises ValueError unless ``0 <= beta < 1`` and every formulation is one named here.
    Source: the course, course 2 week 2; Polyak 1964; Sutskever et al. 2013 for Nesterov's form.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta", beta)
    _check_choice("accumulation", accumulation, ("average", "sum"))
    _check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    gain = 1 - beta if accumulation == "average" else 1.0
    inside = learning_rate_position == "inside"

    def update_array(w, g, slots, t, alpha):
        v = slots["velocity"]
        contribution = (alpha * gain if inside else gain) * g
        v *= beta
        v += contribution
        direction = beta * v + contribution if nesterov else v
        if bias_correction:
            direction = direction / _one_minus_power(beta, t)
        w -= direction if inside else alpha * direction

    return Optimizer(learning_rate, {"velocity": 0.0}, update_array)


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
    """RMSprop: slot ``square_average`` (``s``), and ``gradient_average`` (``c``) and ``velocity`` (``u``) if asked for.

    ::

        s <- beta s + (1 - beta) g^2                 s starts at initial_square
        c <- beta c + (1 - beta) g                   (centered)
        V = s, or max(s - c^2, 0) if centered        (bias_correction first divides s and c by 1 - beta^t)
        r = g / (sqrt(V) + epsilon)                  (epsilon_position="outside_root")
        r = g / sqrt(V + epsilon)                    ("inside_root")
        w <- w - alpha r                             (momentum = 0)
        u <- momentum u + r,  w <- w - alpha u       (learning_rate_position="outside")
        u <- momentum u + alpha r,  w <- w - u       ("inside")

    ``s - c^2`` is a variance, so never negative but for rounding: the maximum with 0 takes nothing away.
    Raises ValueError for a number out of range, an unknown formulation, or ``bias_correction`` with ``initial_square
    != 0`` (which would correct for a start at 0 that did not happen). Source: Tieleman & Hinton 2012, lecture 6e;
    Graves 2013, eq. 38-41 (centred); the course, course 2 week 2.
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

    def update_array(w, g, slots, t, alpha):
        correction = _one_minus_power(beta, t) if bias_correction else 1.0
        s = slots["square_average"]
        s *= beta
        s += (1 - beta) * g * g
        variance = s / correction
        if centered:
            c = slots["gradient_average"]
            c *= beta
            c += (1 - beta) * g
            variance = np.maximum(variance - (c / correction) ** 2, 0.0)
        ratio = g / (np.sqrt(variance) + epsilon if epsilon_position == "outside_root" else np.sqrt(variance + epsilon))
        if momentum:
            u = slots["velocity"]
            u *= momentum
            u += alpha * ratio if inside else ratio
            w -= u if inside else alpha * u
        else:
            w -= alpha * ratio

    slots = {"square_average": initial_square}
    if centered:
        slots["gradient_average"] = 0.0
    if momentum:
        slots["velocity"] = 0.0
    return Optimizer(learning_rate, slots, update_array)


def adam(
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="outside_root",
    amsgrad=None,
):
    """Adam: slots ``first_moment`` (``m``), ``second_moment`` (``v``), with AMSGrad ``maximum_second_moment`` (``x``).

    ::

        m <- beta1 m + (1 - beta1) g                m^ = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2              v^ = v / (1 - beta2^t)
        w <- w - alpha m^ / (sqrt(v^) + epsilon)    (epsilon_position="outside_root": algorithm 1)
        w <- w - alpha m^ / sqrt(v^ + epsilon)      ("inside_root")
        w <- w - alpha m^ sqrt(1 - beta2^t) / (sqrt(v) + epsilon)     ("before_correction": the paper's epsilon-hat)

    ``amsgrad``: None; ``"raw_max"``: ``x <- max(x, v)`` takes the place of ``v``; ``"corrected_max"``: ``x <- max(x,
    v^)`` takes the place of ``v^`` (of ``v / (1 - beta2^t)`` in every line); ``"uncorrected"``: ``x <- max(x, v)``
    and neither moment is corrected. Raises ValueError for a number out of range or an unknown formulation. Source:
    Kingma & Ba 2015, algorithm 1 and section 2; Reddi, Kale & Kumar 2018, algorithm 2 ("uncorrected").
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root", "before_correction"))
    _check_choice("amsgrad", amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))

    def update_array(w, g, slots, t, alpha):
        m, v = slots["first_moment"], slots["second_moment"]
        correction1, correction2 = _one_minus_power(beta1, t), _one_minus_power(beta2, t)
        if amsgrad == "uncorrected":
            correction1 = correction2 = 1.0
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        v_hat = v / correction2
        if amsgrad is not None:
            x = slots["maximum_second_moment"]
            np.maximum(x, v_hat if amsgrad == "corrected_max" else v, out=x)
            v_hat = x if amsgrad == "corrected_max" else x / correction2
        if epsilon_position == "outside_root":
            denominator = np.sqrt(v_hat) + epsilon
        elif epsilon_position == "inside_root":
            denominator = np.sqrt(v_hat + epsilon)
        else:
            denominator = np.sqrt(v_hat) + epsilon / math.sqrt(correction2)
        w -= alpha / correction1 * m / denominator

    slots = {"first_moment": 0.0, "second_moment": 0.0}
    if amsgrad is not None:
        slots["maximum_second_moment"] = 0.0
    return Optimizer(learning_rate, slots, update_array)


OPTIMIZERS = {f.__name__: f for f in (gradient_descent, momentum, rmsprop, adam)}


def _one_minus_power(beta, t):
    """``1 - beta^t`` without the cancellation: the subtraction loses three digits at ``beta = 0.999, t = 1``."""
    return -math.expm1(t * math.log(beta)) if beta > 0 else 1.0


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
