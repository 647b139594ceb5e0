"""Optimizers: each is an initial state and an update, written for one array and lifted to all parameters.

Throughout, ``w`` is a parameter, ``g`` the gradient of the cost, ``alpha`` the learning rate and ``t`` the step
counted from 1. Every state array starts at 0 unless said. Where the published variants of a formula differ, a
keyword says which one is meant (the *formulation*); the first value named is the default.

A ``weight_decay`` not 0 is coupled, as PyTorch's: ``g <- g + weight_decay w`` before anything else, on every parameter
the optimizer is given (biases too), and not in the cost. Where it can be decoupled (``decoupled_weight_decay``, as
Keras's), ``g`` is left alone and ``w <- w - alpha (d + weight_decay w)``, where ``d`` is the formula's own step
direction and ``w`` the parameter before the step.

This file needs NumPy only and can be copied out together with ``_common.py`` and ``arithmetic.py``.

>>> parameters = {"w": np.array([1.0])}
>>> optimizer = gradient_descent(0.1)
>>> state = optimizer.init(parameters)
>>> parameters, state = optimizer.update({"w": np.array([2.0])}, state, parameters)
>>> parameters["w"], state.step
(array([0.8]), 1)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._common import check_choice, check_decay, check_fraction, check_not_negative, check_positive_integer
from .arithmetic import one_minus_power, one_minus_rounded_power

Array = NDArray[Any]
Tensors = dict[str, Array]
Slots = dict[str, Array]  # of one array: slot by slot

# Of the beta in a bias correction ``1 - beta^t``: as it is; rounded to the precision of the parameters, as optax does;
# rounded to float32, as Keras does on TensorFlow. Power and difference are then in the precision of the parameters.
PRECISIONS = ("exact", "working", "float32")

CHUNK = 32768  # elements updated at a time, so that the temporaries of a formula stay in the cache


class OptimizerState(NamedTuple):
    """Number of steps taken, and for each slot (``"velocity"``, ``"first_moment"`` ...) one array per parameter."""

    step: int
    slots: dict[str, Tensors]


@dataclass(frozen=True)
class Optimizer:
    """An optimizer: its learning rate, the initial value of each slot, and the formula on one array.

    ``update_array(w, g, slots, t, alpha)`` changes ``w`` and the arrays of ``slots`` in place. A formula that is not
    ``elementwise`` takes sums over all parameters: its array is one flat vector that holds every one of them.
    """

    learning_rate: float
    initial_slots: Mapping[str, float]
    update_array: Callable[[Array, Array, Slots, int, float], None]
    elementwise: bool = True

    def init(self, parameters: Mapping[str, Array]) -> OptimizerState:
        """The state before the first step, for ``parameters``: a dict of arrays."""
        slots = {
            slot: {name: np.full_like(w, value) for name, w in parameters.items()}
            for slot, value in self.initial_slots.items()
        }
        return OptimizerState(0, slots)

    def update(
        self,
        gradients: Mapping[str, Array],
        state: OptimizerState,
        parameters: Mapping[str, Array],
        *,
        learning_rate: float | None = None,
    ) -> tuple[Tensors, OptimizerState]:
        """One step. Returns new ``(parameters, state)``; the arguments are left as they are.

        ``gradients`` and ``parameters``: dicts of arrays of equal shapes. ``learning_rate`` overrides the
        optimizer's own for this step. Raises ValueError if a gradient is missing, has another shape than its
        parameter, or is of no parameter.
        """
        _check_gradients(gradients, parameters)
        alpha = self.learning_rate if learning_rate is None else learning_rate
        parameters = {name: w.copy() for name, w in parameters.items()}
        slots = {slot: {name: s.copy() for name, s in arrays.items()} for slot, arrays in state.slots.items()}
        if not self.elementwise:
            flat, flat_slots = _flat(parameters), {slot: _flat(arrays) for slot, arrays in slots.items()}
            self.update_array(flat, _flat({n: gradients[n] for n in parameters}), flat_slots, state.step + 1, alpha)
            slots = {slot: _split(vector, parameters) for slot, vector in flat_slots.items()}
            return _split(flat, parameters), OptimizerState(state.step + 1, slots)
        for name, w in parameters.items():
            array_slots = {slot: slots[slot][name] for slot in slots}
            self.update_array(w, gradients[name], array_slots, state.step + 1, alpha)
        return parameters, OptimizerState(state.step + 1, slots)

    def update_flat(self, w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        """One step in place on one flat vector ``w`` that holds every parameter, a cache-sized chunk at a time."""
        if not self.elementwise:
            self.update_array(w, g, slots, t, alpha)
            return
        for start in range(0, w.size, CHUNK):
            chunk = slice(start, start + CHUNK)
            self.update_array(w[chunk], g[chunk], {slot: s[chunk] for slot, s in slots.items()}, t, alpha)


def gradient_descent(learning_rate: float = 0.01, *, weight_decay: float = 0.0) -> Optimizer:
    """``w <- w - alpha g``. Batch, mini-batch and stochastic gradient descent differ in the batch size alone.

    Raises ValueError if ``learning_rate`` or ``weight_decay`` is negative or not finite. Source: the course, course 1
    week 2.

    >>> optimizer = gradient_descent(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.8])
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("weight_decay", weight_decay)

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        g = _with_decay(g, w, weight_decay)
        w -= alpha * g

    return Optimizer(learning_rate, {}, update_array)


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
    """Gradient descent with momentum: slot ``velocity`` (``v``).

    ``g' = (1 - beta) g`` if ``accumulation="average"`` (the course), ``g' = g`` if ``"sum"`` (PyTorch, Keras, optax)::

        v <- beta v + g'           w <- w - alpha d      (learning_rate_position="outside")
        v <- beta v + alpha g'     w <- w - d            ("inside": another method as soon as alpha changes)

    with ``d = v``, or with ``nesterov`` ``d = beta v + g'`` (``beta v + alpha g'`` inside); ``bias_correction`` divides
    ``d`` by ``1 - beta^t``. ``weight_decay`` changes ``g``, or ``decoupled_weight_decay`` the step::

        w <- w - alpha (d + weight_decay w)              w <- w - (d + alpha weight_decay w)    (inside)

    ``dampening`` is PyTorch's, of a plain sum alone: ``g' = g`` in the first step, ``g' = (1 - dampening) g`` in those
    after it, so that ``dampening = beta`` is no average. Raises ValueError unless ``0 <= beta < 1``, the other numbers
    are in range and every formulation is one named here, and for a ``dampening`` that is not 0 without
    ``accumulation="sum"``, with ``nesterov`` or with ``bias_correction``. Source: the course, course 2 week 2; Polyak
    1964; Sutskever et al. 2013 for Nesterov's form.

    >>> optimizer = momentum(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.98])
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta", beta)
    check_choice("accumulation", accumulation, ("average", "sum"))
    check_choice("bias_correction", bias_correction, (False, True))
    check_choice("nesterov", nesterov, (False, True))
    check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    coupled, decoupled = _decays(weight_decay, decoupled_weight_decay)
    _check_dampening(dampening, accumulation, nesterov, bias_correction)
    first_gain = 1 - beta if accumulation == "average" else 1.0
    later_gain = 1.0 - dampening if dampening else first_gain
    inside = learning_rate_position == "inside"

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        g = _with_decay(g, w, coupled)
        gain = first_gain if t == 1 else later_gain
        v = slots["velocity"]
        contribution = (alpha * gain if inside else gain) * g
        v *= beta
        v += contribution
        direction = beta * v + contribution if nesterov else v
        if bias_correction:
            direction = direction / one_minus_power(beta, t)
        _step(w, direction, alpha, decoupled, inside=inside)

    return Optimizer(learning_rate, {"velocity": 0.0}, update_array)


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
        w <- w - alpha (d + weight_decay w)          (decoupled_weight_decay; d = r or u)
        w <- w - (u + alpha weight_decay w)          (the same, inside)

    ``s - c^2`` is a variance, so never negative but for rounding: the maximum with 0 takes nothing away.
    Raises ValueError for a number out of range, an unknown formulation, or ``bias_correction`` with ``initial_square
    != 0`` (which would correct for a start at 0 that did not happen). Source: Tieleman & Hinton 2012, lecture 6e;
    Graves 2013, eq. 38-41 (centred); the course, course 2 week 2.

    >>> optimizer = rmsprop(0.1, beta=0.75)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.8])
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
    if bias_correction and initial_square != 0:
        raise ValueError(f"initial_square={initial_square!r} is not allowed with bias_correction: must be 0")
    coupled, decoupled = _decays(weight_decay, decoupled_weight_decay)
    inside = learning_rate_position == "inside"

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        g = _with_decay(g, w, coupled)
        correction = one_minus_power(beta, t) if bias_correction else 1.0
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
            _step(w, u, alpha, decoupled, inside=inside)
        else:
            _step(w, ratio, alpha, decoupled)

    slots = {"square_average": initial_square}
    if centered:
        slots["gradient_average"] = 0.0
    if momentum:
        slots["velocity"] = 0.0
    return Optimizer(learning_rate, slots, update_array)


def adagrad(
    learning_rate: float = 0.01,
    *,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    initial_accumulator: float = 0.0,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Adagrad: slot ``square_sum`` (``s``), which starts at ``initial_accumulator``.

    ::

        s <- s + g^2
        w <- w - alpha g / (sqrt(s) + epsilon)      (epsilon_position="outside_root")
        w <- w - alpha g / sqrt(s + epsilon)        ("inside_root")

    Raises ValueError for a number out of range or an unknown formulation. Source: Duchi, Hazan & Singer 2011, eq. 1
    with a diagonal matrix. (Keras and optax start at 0.1 with epsilon inside the root.)

    >>> optimizer = adagrad(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.9])
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    check_not_negative("initial_accumulator", initial_accumulator)
    check_not_negative("weight_decay", weight_decay)

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        g = _with_decay(g, w, weight_decay)
        s = slots["square_sum"]
        s += g * g
        root = np.sqrt(s) + epsilon if epsilon_position == "outside_root" else np.sqrt(s + epsilon)
        w -= alpha * g / root

    return Optimizer(learning_rate, {"square_sum": initial_accumulator}, update_array)


def adadelta(
    learning_rate: float = 1.0,
    *,
    rho: float = 0.9,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
) -> Optimizer:
    """Adadelta: slots ``square_average`` (``s``) and ``squared_update_average`` (``d``).

    ::

        s <- rho s + (1 - rho) g^2
        r = g sqrt(d + epsilon) / sqrt(s + epsilon)
        d <- rho d + (1 - rho) r^2
        w <- w - alpha r
        w <- w - alpha (r + weight_decay w)         (decoupled_weight_decay)

    Zeiler's method has no learning rate: ``alpha = 1`` (Keras's default 0.001 makes it a thousand times smaller).
    Raises ValueError for a number out of range. Source: Zeiler 2012, algorithm 1.

    >>> optimizer = adadelta()
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.996838])
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("rho", rho)
    check_not_negative("epsilon", epsilon)
    coupled, decoupled = _decays(weight_decay, decoupled_weight_decay)

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        g = _with_decay(g, w, coupled)
        s, d = slots["square_average"], slots["squared_update_average"]
        s *= rho
        s += (1 - rho) * g * g
        step = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g
        d *= rho
        d += (1 - rho) * step * step
        _step(w, step, alpha, decoupled)

    return Optimizer(learning_rate, {"square_average": 0.0, "squared_update_average": 0.0}, update_array)


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
    """Adam: slots ``first_moment`` (``m``), ``second_moment`` (``v``), with AMSGrad ``maximum_second_moment`` (``x``).

    ::

        m <- beta1 m + (1 - beta1) g                m^ = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2              v^ = v / (1 - beta2^t)
        w <- w - alpha m^ / (sqrt(v^) + epsilon)    (epsilon_position="outside_root": algorithm 1)
        w <- w - alpha m^ / sqrt(v^ + epsilon)      ("inside_root")
        w <- w - alpha m^ sqrt(1 - beta2^t) / (sqrt(v) + epsilon)     ("before_correction": the paper's epsilon-hat)

    ``amsgrad``: None; ``"raw_max"``: ``x <- max(x, v)`` takes the place of ``v``; ``"corrected_max"``: ``x <- max(x,
    v^)`` takes the place of ``v^`` (of ``v / (1 - beta2^t)`` in every line); ``"uncorrected"``: ``x <- max(x, v)``
    and neither moment is corrected. ``weight_decay`` is coupled; :func:`adamw` decouples it. ``correction_precision``
    is of ``1 - beta^t`` alone: ``"exact"``; ``"working"``, from betas rounded to the precision of the parameters and
    in it (optax); ``"float32"``, from betas rounded to float32 and in that of the parameters (Keras on TensorFlow):
    7e-6 off in ``sqrt(1 - beta2)``. Raises ValueError for a number out of range or an unknown formulation. Source:
    Kingma & Ba 2015, algorithm 1 and section 2; Reddi, Kale & Kumar 2018, algorithm 2 ("uncorrected").

    >>> optimizer = adam(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.9])
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("weight_decay", weight_decay)
    step = _AdamStep(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision)

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        step(w, _with_decay(g, w, weight_decay), slots, t, alpha)

    return Optimizer(learning_rate, step.initial_slots, update_array)


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
    """Adam with decoupled weight decay: the slots of :func:`adam`, and before its step, on every parameter::

        w <- w - alpha weight_decay w                       (decay_scale="learning_rate": PyTorch, Keras, optax)
        w <- w - (alpha / alpha_0) weight_decay w           ("schedule_only": the paper's, free of alpha_0)

    ``alpha_0`` is ``learning_rate``, ``alpha`` this step's; all else is as in :func:`adam`. Raises ValueError for a
    number out of range, an unknown formulation, or ``decay_scale="schedule_only"`` with a ``learning_rate`` of 0.
    Source: Loshchilov & Hutter 2019, algorithm 2. (``weight_decay`` is 0.01 in PyTorch, 0.004 in Keras, 0.0001 in
    optax by default.)

    >>> optimizer = adamw(0.1, weight_decay=0.5)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.85])
    """
    check_not_negative("learning_rate", learning_rate)
    step = _AdamStep(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision)
    check_not_negative("weight_decay", weight_decay)
    check_choice("decay_scale", decay_scale, ("learning_rate", "schedule_only"))
    if decay_scale == "schedule_only" and learning_rate == 0:
        raise ValueError(
            f"learning_rate={learning_rate!r} is not allowed with decay_scale='schedule_only': must be > 0"
        )

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        w -= (alpha if decay_scale == "learning_rate" else alpha / learning_rate) * weight_decay * w
        step(w, g, slots, t, alpha)

    return Optimizer(learning_rate, step.initial_slots, update_array)


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
    """Adam with Nesterov's momentum: slots ``first_moment`` (``m``), ``second_moment`` (``v``), with Dozat's schedule
    ``momentum_product`` (``p``, equal in all elements, starting at 1).

    ::

        mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)    (schedule="dozat")     mu_t = beta1    ("constant")
        p <- p mu_t                                       that is, p_t = mu_1 ... mu_t
        m <- beta1 m + (1 - beta1) g                      v <- beta2 v + (1 - beta2) g^2
        m^ = mu_{t+1} m / (1 - p_t mu_{t+1}) + (1 - mu_t) g / (1 - p_t)
        w <- w - alpha m^ / (sqrt(v / (1 - beta2^t)) + epsilon)

    ``momentum_decay`` (psi) is 0.004 in PyTorch and in Dozat's paper, 1 in Keras; ``"constant"`` is optax's, and needs
    no ``momentum_decay``. ``correction_precision`` as in :func:`adam`; ``"float32"`` rounds the betas and the 0.96
    wherever they stand but in ``p`` (Keras on TensorFlow). Raises ValueError for a number out of range or an unknown
    formulation. Source: Dozat 2016, algorithm 2 and section 2.

    >>> optimizer = nadam(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.894355])
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

    def mu(t: int, beta1: float = beta1, base: float = base) -> float:
        return beta1 * (1 - 0.5 * base ** (t * momentum_decay))

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        g = _with_decay(g, w, weight_decay)
        one_minus_power = _one_minus_power_in(correction_precision, w)
        m, v = slots["first_moment"], slots["second_moment"]
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        if dozat:
            p = slots["momentum_product"]
            p *= mu(t, *exact)
            m_hat = mu(t + 1) * m / (1 - p * mu(t + 1)) + (1 - mu(t)) * g / (1 - p)
        else:
            m_hat = beta1 / one_minus_power(beta1, t + 1) * m + (1 - beta1) / one_minus_power(beta1, t) * g
        w -= alpha * m_hat / (np.sqrt(v / one_minus_power(beta2, t)) + epsilon)

    slots = {"first_moment": 0.0, "second_moment": 0.0}
    if dozat:
        slots["momentum_product"] = 1.0
    return Optimizer(learning_rate, slots, update_array)


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
    """Adam with the maximum norm: slots ``first_moment`` (``m``), ``infinity_norm`` (``u``).

    ::

        m <- beta1 m + (1 - beta1) g
        u <- max(beta2 u, |g| + epsilon),  w <- w - alpha m / ((1 - beta1^t) u)         (epsilon_position=
        u <- max(beta2 u, |g|),  w <- w - alpha m / ((1 - beta1^t) (u + epsilon))        "inside_maximum"; "outside")

    The paper has no epsilon; PyTorch and optax have it inside the maximum, Keras outside. ``correction_precision`` is
    of ``1 - beta1^t``, as in :func:`adam`. Raises ValueError for a number out of range or an unknown formulation.
    Source: Kingma & Ba 2015, algorithm 2.

    >>> optimizer = adamax(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.9])
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_choice("correction_precision", correction_precision, PRECISIONS)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("inside_maximum", "outside"))
    check_not_negative("weight_decay", weight_decay)
    inside = epsilon_position == "inside_maximum"

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        g = _with_decay(g, w, weight_decay)
        m, u = slots["first_moment"], slots["infinity_norm"]
        m *= beta1
        m += (1 - beta1) * g
        u *= beta2
        np.maximum(u, np.abs(g) + epsilon if inside else np.abs(g), out=u)
        one_minus_power = _one_minus_power_in(correction_precision, w)
        w -= alpha / one_minus_power(beta1, t) * m / (u if inside else u + epsilon)

    return Optimizer(learning_rate, {"first_moment": 0.0, "infinity_norm": 0.0}, update_array)


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
    """Rectified Adam: slots ``first_moment`` (``m``), ``second_moment`` (``v``).

    ::

        m <- beta1 m + (1 - beta1) g               v <- beta2 v + (1 - beta2) g^2
        rho = 2 / (1 - beta2) - 1                  rho_t = rho - 2 t beta2^t / (1 - beta2^t)
        if rho_t > threshold:
            r = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))
            w <- w - alpha r m^ / (sqrt(v^) + epsilon)     with Adam's m^, v^ and its places for epsilon:
                                                           "outside_root" (optax), "before_correction" (PyTorch)
        else:
            w <- w - alpha m^

    ``threshold``: 5 (PyTorch, optax) or 4 (the paper). Raises ValueError for a number out of range, an unknown
    formulation, or a ``beta2`` so small that ``rho <= threshold`` (at most 0.6 for 4): no step would be rectified.
    Source: Liu et al. 2020, algorithm 2.

    >>> optimizer = radam(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.8])
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "before_correction"))
    check_choice("threshold", threshold, (5, 4))
    if not 2 / (1 - beta2) - 1 > threshold:
        raise ValueError(f"beta2={beta2!r} is not allowed with threshold={threshold!r}: 2/(1 - beta2) - 1 must be more")
    check_not_negative("weight_decay", weight_decay)

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        g = _with_decay(g, w, weight_decay)
        m, v = slots["first_moment"], slots["second_moment"]
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        alpha = alpha / one_minus_power(beta1, t)
        rectification = _rectification(beta2, t, threshold)
        if rectification is None:
            w -= alpha * m
        else:
            correction = math.sqrt(one_minus_power(beta2, t))
            hat_epsilon = epsilon if epsilon_position == "before_correction" else epsilon * correction
            w -= alpha * rectification * correction * m / (np.sqrt(v) + hat_epsilon)

    return Optimizer(learning_rate, {"first_moment": 0.0, "second_moment": 0.0}, update_array)


def lion(
    learning_rate: float = 0.0001, *, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0
) -> Optimizer:
    """Lion, sign descent along an interpolated momentum: slot ``momentum`` (``m``).

    ::

        c = beta1 m + (1 - beta1) g
        w <- w - alpha (sign(c) + weight_decay w)          sign(0) = 0
        m <- beta2 m + (1 - beta2) g

    Raises ValueError for a number out of range. Source: Chen et al. 2023, algorithm 2.

    >>> optimizer = lion(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.9])
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("weight_decay", weight_decay)

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        m = slots["momentum"]
        w -= alpha * (np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * w)
        m *= beta2
        m += (1 - beta2) * g

    return Optimizer(learning_rate, {"momentum": 0.0}, update_array)


def adabelief(
    learning_rate: float = 0.001, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-16
) -> Optimizer:
    """AdaBelief, steps scaled by how far gradients are from their average: slots ``first_moment`` (``m``), ``belief``
    (``s``).

    ::

        m <- beta1 m + (1 - beta1) g                             m^ = m / (1 - beta1^t)
        s <- beta2 s + (1 - beta2) (g - m)^2 + epsilon           s^ = s / (1 - beta2^t)
        w <- w - alpha m^ / (sqrt(s^) + epsilon)

    Raises ValueError for a number out of range. Source: Zhuang et al. 2020, algorithm 2.

    >>> optimizer = adabelief(0.1)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.888889])
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        m, s = slots["first_moment"], slots["belief"]
        m *= beta1
        m += (1 - beta1) * g
        s *= beta2
        s += (1 - beta2) * (g - m) ** 2 + epsilon
        w -= alpha / one_minus_power(beta1, t) * m / (np.sqrt(s / one_minus_power(beta2, t)) + epsilon)

    return Optimizer(learning_rate, {"first_moment": 0.0, "belief": 0.0}, update_array)


def lbfgs(learning_rate: float = 1.0, *, history: int = 5, first_step: str = "capped") -> Optimizer:
    """Limited-memory BFGS with a given step length, for full batches of a convex cost; sums go over all parameters.

    With the last ``history`` pairs ``s_i = w_{i+1} - w_i``, ``y_i = g_{i+1} - g_i`` and ``rho_i = 1 / (s_i . y_i)``
    (a pair with ``s_i . y_i <= 0`` is left out)::

        q <- g;  a_i = rho_i s_i . q,  q <- q - a_i y_i       (newest to oldest)
        r <- gamma q,  gamma = s . y / y . y                  of the newest pair
        b_i = rho_i y_i . r,  r <- r + (a_i - b_i) s_i        (oldest to newest)
        w <- w - alpha r

    The first step has no pair: ``r = g / max(1, ||g||_1)`` (``first_step="capped"``, PyTorch's) or ``r = g``
    (``"gradient"``). Slots: ``previous_parameter``, ``previous_gradient``, and for ``k = 1`` (newest) ``.. history``
    ``parameter_change_k`` (``s``) and ``gradient_change_k`` (``y``). There is no line search: it is
    ``torch.optim.LBFGS`` with ``max_iter=1``. Raises ValueError for a number out of range or an unknown formulation.
    Source: Nocedal & Wright 2006, algorithm 7.4, eq. 7.20.

    >>> optimizer = lbfgs(0.5)
    >>> parameters = {"w": np.array([1.0])}
    >>> optimizer.update({"w": np.array([2.0])}, optimizer.init(parameters), parameters)[0]["w"].round(6)
    array([0.5])
    """
    check_not_negative("learning_rate", learning_rate)
    check_positive_integer("history", history)
    check_choice("first_step", first_step, ("capped", "gradient"))
    numbers = range(1, history + 1)

    def update_array(w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        if t > 1:
            for k in reversed(numbers[1:]):
                slots[f"parameter_change_{k}"][...] = slots[f"parameter_change_{k - 1}"]
                slots[f"gradient_change_{k}"][...] = slots[f"gradient_change_{k - 1}"]
            slots["parameter_change_1"][...] = w - slots["previous_parameter"]
            slots["gradient_change_1"][...] = g - slots["previous_gradient"]
        slots["previous_parameter"][...] = w
        slots["previous_gradient"][...] = g
        if t == 1:
            w -= alpha * (g / max(1.0, np.abs(g).sum()) if first_step == "capped" else g)
            return
        pairs = [(slots[f"parameter_change_{k}"], slots[f"gradient_change_{k}"]) for k in numbers]
        w -= alpha * _inverse_hessian_product(g, pairs)

    slots = {"previous_parameter": 0.0, "previous_gradient": 0.0}
    slots |= {f"{change}_change_{k}": 0.0 for change in ("parameter", "gradient") for k in numbers}
    return Optimizer(learning_rate, slots, update_array, elementwise=False)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    f.__name__: f
    for f in (
        gradient_descent, momentum, rmsprop, adagrad, adadelta, adam, adamw, nadam, adamax, radam, lion,
        adabelief, lbfgs,
    )
}  # fmt: skip


def exponentially_weighted_average(values: Array, *, beta: float = 0.9, bias_correction: bool = True) -> Array:
    """``v_t = beta v_{t-1} + (1 - beta) x_t`` with ``v_0 = 0``, each divided by ``1 - beta^t`` if ``bias_correction``.

    ``values``: ``(steps, ...)``; the result has their shape. It averages over about ``1 / (1 - beta)`` steps. Raises
    ValueError unless ``0 <= beta < 1``. Source: the course, course 2 week 2.

    >>> exponentially_weighted_average(np.array([1.0, 1.0, 1.0]), beta=0.5, bias_correction=False)
    array([0.5  , 0.75 , 0.875])
    """
    check_decay("beta", beta)
    check_choice("bias_correction", bias_correction, (False, True))
    averages, average = [], np.zeros(values.shape[1:], values.dtype)
    for t, value in enumerate(values, start=1):
        average = beta * average + (1 - beta) * value
        averages.append(average / one_minus_power(beta, t) if bias_correction else average)
    return np.array(averages, values.dtype).reshape(values.shape)


@dataclass(frozen=True)
class _AdamStep:
    """Adam's step on one array, in place; the equations are in :func:`adam`."""

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

    def __call__(self, w: Array, g: Array, slots: Slots, t: int, alpha: float) -> None:
        beta1, beta2, epsilon, amsgrad = self.beta1, self.beta2, self.epsilon, self.amsgrad
        m, v = slots["first_moment"], slots["second_moment"]
        one_minus_power = _one_minus_power_in(self.correction_precision, w)
        correction1, correction2 = one_minus_power(beta1, t), one_minus_power(beta2, t)
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
        if self.epsilon_position == "outside_root":
            denominator = np.sqrt(v_hat) + epsilon
        elif self.epsilon_position == "inside_root":
            denominator = np.sqrt(v_hat + epsilon)
        else:
            denominator = np.sqrt(v_hat) + epsilon / math.sqrt(correction2)
        w -= alpha / correction1 * m / denominator


def _one_minus_power_in(precision: str, w: Array) -> Callable[[float, int], float]:
    """``1 - beta^t`` as a function of ``beta`` and ``t`` in one of ``PRECISIONS``; that of ``w`` is the working one."""
    if precision == "exact":
        return one_minus_power
    rounded = np.float32 if precision == "float32" else w.dtype.type
    return lambda beta, t: one_minus_rounded_power(float(rounded(beta)), t, w.dtype)


def _decays(weight_decay: float, decoupled: bool) -> tuple[float, float]:
    """``weight_decay`` as the coupled and the decoupled one, of which one is 0."""
    check_not_negative("weight_decay", weight_decay)
    check_choice("decoupled_weight_decay", decoupled, (False, True))
    return (0.0, weight_decay) if decoupled else (weight_decay, 0.0)


def _with_decay(g: Array, w: Array, weight_decay: float) -> Array:
    """``g + weight_decay w``."""
    return g + weight_decay * w if weight_decay else g


def _step(w: Array, direction: Array, alpha: float, weight_decay: float, *, inside: bool = False) -> None:
    """``w <- w - alpha (d + weight_decay w)``, in place; ``inside``: ``d`` has the rate in it already."""
    if not weight_decay:
        w -= direction if inside else alpha * direction
    elif inside:
        w -= direction + alpha * weight_decay * w
    else:
        w -= alpha * (direction + weight_decay * w)


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


def _rectification(beta2: float, t: int, threshold: float) -> float | None:
    """RAdam's ``r``, or None where ``rho_t`` is not above ``threshold``."""
    rho = 2 / (1 - beta2) - 1
    rho_t = rho - 2 * t * beta2**t / one_minus_power(beta2, t)
    if not rho_t > threshold:
        return None
    return math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))


def _inverse_hessian_product(g: Array, pairs: Sequence[tuple[Array, Array]]) -> Array:
    """L-BFGS's two loops: an approximate inverse Hessian times ``g``; ``pairs`` ``(s, y)`` from newest to oldest."""
    curvatures = [s @ y for s, y in pairs]
    q, weights = g.copy(), []
    for (s, y), curvature in zip(pairs, curvatures, strict=True):
        weights.append((s @ q) / curvature if curvature > 0 else 0.0)
        q -= weights[-1] * y
    newest = pairs[0][1]
    r = (curvatures[0] / (newest @ newest)) * q if curvatures[0] > 0 else q
    for (s, y), curvature, weight in reversed(list(zip(pairs, curvatures, weights, strict=True))):
        if curvature > 0:
            r += (weight - (y @ r) / curvature) * s
    return r


def _flat(arrays: Mapping[str, Array]) -> Array:
    return np.concatenate([a.ravel() for a in arrays.values()])


def _split(flat: Array, parameters: Mapping[str, Array]) -> Tensors:
    """The inverse of :func:`_flat`: views of ``flat`` with the names and shapes of ``parameters``."""
    ends = np.cumsum([w.size for w in parameters.values()])
    return {
        name: flat[end - w.size : end].reshape(w.shape) for (name, w), end in zip(parameters.items(), ends, strict=True)
    }


def _check_gradients(gradients: Mapping[str, Array], parameters: Mapping[str, Array]) -> None:
    for name, w in parameters.items():
        if name not in gradients:
            raise ValueError(f"gradients has no {name!r}: must hold {', '.join(parameters)}")
        if gradients[name].shape != w.shape:
            raise ValueError(f"gradient {name!r} has shape {gradients[name].shape}: must be {w.shape}, its parameter's")
    for name in gradients:
        if name not in parameters:
            raise ValueError(f"gradients has {name!r}: must hold {', '.join(parameters)}")
