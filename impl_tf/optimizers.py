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
    ``alpha`` are float64 scalars. A formula that is not ``elementwise`` takes sums over all parameters: its ``w``,
    ``g`` and each of its ``slots`` are dicts that hold every one of them.
    """

    def __init__(self, learning_rate, initial_slots, update_variable, elementwise=True):
        super().__init__()
        self.learning_rate = tf.Variable(learning_rate, dtype=tf.float64, trainable=False, name="learning_rate")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.slots = {}
        self.initial_slots = initial_slots
        self.update_variable = update_variable
        self.elementwise = elementwise

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
        gradients = {name: tf.convert_to_tensor(gradients[name], w.dtype) for name, w in parameters.items()}
        if not self.elementwise:
            self.update_variable(parameters, gradients, self.slots, t, alpha)
            return
        for name, w in parameters.items():
            slots = {slot: variables[name] for slot, variables in self.slots.items()}
            self.update_variable(w, gradients[name], slots, t, alpha)


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
    _check_choice("bias_correction", bias_correction, (False, True))
    _check_choice("nesterov", nesterov, (False, True))
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
    _check_choice("centered", centered, (False, True))
    _check_choice("bias_correction", bias_correction, (False, True))
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


def adagrad(learning_rate=0.01, *, epsilon=1e-8, epsilon_position="outside_root", initial_accumulator=0.0):
    """``s <- s + g^2``, ``w <- w - alpha g / (sqrt(s) + epsilon)``: slot ``square_sum``.

    ``epsilon_position="inside_root"`` is ``sqrt(s + epsilon)``, with ``initial_accumulator=0.1`` Keras's form.
    """
    _check_learning_rate(learning_rate)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    _check_not_negative("initial_accumulator", initial_accumulator)

    def update_variable(w, g, slots, t, alpha):
        s = slots["square_sum"] + g * g
        slots["square_sum"].assign(s)
        root = tf.sqrt(s) + epsilon if epsilon_position == "outside_root" else tf.sqrt(s + epsilon)
        w.assign_sub(_rounded(alpha, w) * g / root)

    return Optimizer(learning_rate, {"square_sum": initial_accumulator}, update_variable)


def adadelta(learning_rate=1.0, *, rho=0.9, epsilon=1e-6):
    """``w <- w - alpha r``, ``r = g sqrt(d + epsilon) / sqrt(s + epsilon)``.

    Slots ``square_average`` ``s <- rho s + (1 - rho) g^2`` and, after ``r``, ``squared_update_average`` ``d <- rho d +
    (1 - rho) r^2``. Keras's default ``alpha = 0.001`` makes it a thousand times smaller.
    """
    _check_learning_rate(learning_rate)
    _check_decay("rho", rho)
    _check_not_negative("epsilon", epsilon)

    def update_variable(w, g, slots, t, alpha):
        s = rho * slots["square_average"] + (1 - rho) * g * g
        slots["square_average"].assign(s)
        d = slots["squared_update_average"]
        step = tf.sqrt(d + epsilon) / tf.sqrt(s + epsilon) * g
        d.assign(rho * d + (1 - rho) * step * step)
        w.assign_sub(_rounded(alpha, w) * step)

    return Optimizer(learning_rate, {"square_average": 0.0, "squared_update_average": 0.0}, update_variable)


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
    _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad)

    def update_variable(w, g, slots, t, alpha):
        _adam_step(w, g, slots, t, alpha, beta1, beta2, epsilon, epsilon_position, amsgrad)

    return Optimizer(learning_rate, _adam_slots(amsgrad), update_variable)


def adamw(
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="outside_root",
    amsgrad=None,
    weight_decay=0.01,
    decay_scale="learning_rate",
):
    """``w <- w - alpha weight_decay w``, then the step of :func:`adam`, with its slots.

    ``decay_scale="schedule_only"`` takes ``alpha / alpha_0`` in place of ``alpha``, where ``alpha_0`` is
    ``learning_rate`` as given here.
    """
    _check_learning_rate(learning_rate)
    _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad)
    _check_not_negative("weight_decay", weight_decay)
    _check_choice("decay_scale", decay_scale, ("learning_rate", "schedule_only"))
    if decay_scale == "schedule_only" and learning_rate == 0:
        raise ValueError(
            f"learning_rate={learning_rate!r} is not allowed with decay_scale='schedule_only': must be > 0"
        )

    def update_variable(w, g, slots, t, alpha):
        scale = alpha if decay_scale == "learning_rate" else alpha / learning_rate
        w.assign_sub(_rounded(scale * weight_decay, w) * w)
        _adam_step(w, g, slots, t, alpha, beta1, beta2, epsilon, epsilon_position, amsgrad)

    return Optimizer(learning_rate, _adam_slots(amsgrad), update_variable)


def nadam(
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    schedule="dozat",
    momentum_decay=0.004,
):
    """``w <- w - alpha m^ / (sqrt(v / (1 - beta2^t)) + epsilon)``, ``m^`` Adam's moment looking one step ahead.

    ``m^ = mu_{t+1} m / (1 - p_t mu_{t+1}) + (1 - mu_t) g / (1 - p_t)`` with ``mu_t = beta1 (1 - 0.96^(t
    momentum_decay) / 2)`` and slot ``momentum_product`` ``p_t = mu_1 ... mu_t``, equal in all elements; Keras's has
    ``momentum_decay=1``. With ``schedule="constant"`` ``mu_t = beta1``, and there is no such slot.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("schedule", schedule, ("dozat", "constant"))
    _check_not_negative("momentum_decay", momentum_decay)
    dozat = schedule == "dozat"

    def mu(t):
        return beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    def update_variable(w, g, slots, t, alpha):
        m, v = _moments(g, slots, beta1, beta2)
        if dozat:
            p = slots["momentum_product"] * _rounded(mu(t), w)
            slots["momentum_product"].assign(p)
            ahead = _rounded(mu(t + 1), w)
            m_hat = ahead * m / (1 - p * ahead) + _rounded(1 - mu(t), w) * g / (1 - p)
        else:
            ahead, now = beta1 / _one_minus_power(beta1, t + 1), (1 - beta1) / _one_minus_power(beta1, t)
            m_hat = _rounded(ahead, w) * m + _rounded(now, w) * g
        w.assign_sub(_rounded(alpha, w) * m_hat / (tf.sqrt(v / _rounded(_one_minus_power(beta2, t), w)) + epsilon))

    slots = {"first_moment": 0.0, "second_moment": 0.0}
    if dozat:
        slots["momentum_product"] = 1.0
    return Optimizer(learning_rate, slots, update_variable)


def adamax(
    learning_rate=0.002,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="inside_maximum",
):
    """``u <- max(beta2 u, |g| + epsilon)``, ``w <- w - alpha m / ((1 - beta1^t) u)``.

    Slots ``first_moment`` (Adam's ``m``) and ``infinity_norm`` (``u``). ``epsilon_position="outside"``, Keras's, adds
    ``epsilon`` to ``u`` in the denominator alone.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("inside_maximum", "outside"))
    inside = epsilon_position == "inside_maximum"

    def update_variable(w, g, slots, t, alpha):
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        slots["first_moment"].assign(m)
        u = tf.maximum(beta2 * slots["infinity_norm"], tf.abs(g) + epsilon if inside else tf.abs(g))
        slots["infinity_norm"].assign(u)
        w.assign_sub(_rounded(alpha / _one_minus_power(beta1, t), w) * m / (u if inside else u + epsilon))

    return Optimizer(learning_rate, {"first_moment": 0.0, "infinity_norm": 0.0}, update_variable)


def radam(
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="outside_root",
    threshold=5.0,
):
    """``w <- w - alpha r m^ / (sqrt(v^) + epsilon)`` where ``rho_t > threshold``, before that ``w <- w - alpha m^``.

    Slots and ``m^``, ``v^`` are Adam's; ``r = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))`` with
    ``rho = 2 / (1 - beta2) - 1`` and ``rho_t = rho - 2 t beta2^t / (1 - beta2^t)``, which cancels to
    two digits in float32 and is float64 here. ``epsilon_position="before_correction"``: ``epsilon`` joins the
    uncorrected root.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "before_correction"))
    _check_choice("threshold", threshold, (5, 4))
    if not 2 / (1 - beta2) - 1 > threshold:
        raise ValueError(f"beta2={beta2!r} is not allowed with threshold={threshold!r}: 2/(1 - beta2) - 1 must be more")
    rho = 2 / (1 - beta2) - 1

    def update_variable(w, g, slots, t, alpha):
        m, v = _moments(g, slots, beta1, beta2)
        alpha = alpha / _one_minus_power(beta1, t)
        correction2 = _one_minus_power(beta2, t)
        rho_t = rho - 2 * t * beta2**t / correction2
        factor = tf.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t) * correction2)
        hat_epsilon = epsilon if epsilon_position == "before_correction" else epsilon * tf.sqrt(correction2)
        rectified = _rounded(alpha * factor, w) * m / (tf.sqrt(v) + _rounded(hat_epsilon, w))
        w.assign_sub(tf.where(rho_t > threshold, rectified, _rounded(alpha, w) * m))

    return Optimizer(learning_rate, {"first_moment": 0.0, "second_moment": 0.0}, update_variable)


def lion(learning_rate=0.0001, *, beta1=0.9, beta2=0.99, weight_decay=0.0):
    """``w <- w - alpha (sign(beta1 m + (1 - beta1) g) + weight_decay w)``, ``sign(0) = 0``; then slot ``momentum``,
    ``m <- beta2 m + (1 - beta2) g``.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("weight_decay", weight_decay)

    def update_variable(w, g, slots, t, alpha):
        m = slots["momentum"]
        w.assign_sub(_rounded(alpha, w) * (tf.sign(beta1 * m + (1 - beta1) * g) + weight_decay * w))
        m.assign(beta2 * m + (1 - beta2) * g)

    return Optimizer(learning_rate, {"momentum": 0.0}, update_variable)


def adabelief(learning_rate=0.001, *, beta1=0.9, beta2=0.999, epsilon=1e-16):
    """``s <- beta2 s + (1 - beta2) (g - m)^2 + epsilon``, ``w <- w - alpha m^ / (sqrt(s^) + epsilon)``.

    Slots ``first_moment`` (``m``), ``belief`` (``s``), corrected as Adam's. Keras has none of this name.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)

    def update_variable(w, g, slots, t, alpha):
        m = beta1 * slots["first_moment"] + (1 - beta1) * g
        s = beta2 * slots["belief"] + (1 - beta2) * tf.square(g - m) + epsilon
        slots["first_moment"].assign(m)
        slots["belief"].assign(s)
        denominator = tf.sqrt(s / _rounded(_one_minus_power(beta2, t), w)) + epsilon
        w.assign_sub(_rounded(alpha / _one_minus_power(beta1, t), w) * m / denominator)

    return Optimizer(learning_rate, {"first_moment": 0.0, "belief": 0.0}, update_variable)


def lbfgs(learning_rate=1.0, *, history=5, first_step="capped"):
    """Limited-memory BFGS with a given step length, ``w <- w - alpha H g``, sums taken over all parameters together.

    ``H`` comes from the last ``history`` pairs ``s_i = w_{i+1} - w_i``, ``y_i = g_{i+1} - g_i``, those with ``s_i . y_i
    <= 0`` left out; the first step is along ``g / max(1, ||g||_1)`` (``"capped"``) or ``g`` (``"gradient"``). Slots
    ``previous_parameter``, ``previous_gradient``, and for ``k = 1`` (newest) ``.. history`` ``parameter_change_k``,
    ``gradient_change_k``.
    """
    _check_learning_rate(learning_rate)
    if not (isinstance(history, int) and history >= 1):
        raise ValueError(f"history={history!r} is not allowed: must be an integer >= 1")
    _check_choice("first_step", first_step, ("capped", "gradient"))
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


OPTIMIZERS = {
    f.__name__: f
    for f in (
        gradient_descent, momentum, rmsprop, adagrad, adadelta, adam, adamw, nadam, adamax, radam, lion,
        adabelief, lbfgs,
    )
}  # fmt: skip


def exponentially_weighted_average(values, *, beta=0.9, bias_correction=True):
    """``v_t = beta v_{t-1} + (1 - beta) x_t`` with ``v_0 = 0``, each divided by ``1 - beta^t`` if ``bias_correction``.

    ``values``: ``(steps, ...)``; the result has their shape and dtype.
    """
    _check_decay("beta", beta)
    _check_choice("bias_correction", bias_correction, (False, True))
    values = tf.convert_to_tensor(values)
    start = tf.zeros(values.shape[1:], values.dtype)
    averages = tf.scan(lambda average, value: beta * average + (1 - beta) * value, values, start)
    if not bias_correction:
        return averages
    t = tf.range(1, values.shape[0] + 1, dtype=tf.float64)
    corrections = _rounded(_one_minus_power(beta, t), values)
    return averages / tf.reshape(corrections, (-1, *(1,) * (len(values.shape) - 1)))


def _adam_slots(amsgrad):
    slots = {"first_moment": 0.0, "second_moment": 0.0}
    return slots if amsgrad is None else slots | {"maximum_second_moment": 0.0}


def _adam_step(w, g, slots, t, alpha, beta1, beta2, epsilon, epsilon_position, amsgrad):
    """Adam's step on one variable; the equations are in :func:`adam`."""
    correction1, correction2 = _one_minus_power(beta1, t), _one_minus_power(beta2, t)
    if amsgrad == "uncorrected":
        correction1 = correction2 = tf.ones_like(t)
    m, v = _moments(g, slots, beta1, beta2)
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


def _moments(g, slots, beta1, beta2):
    """Adam's ``m`` and ``v`` after this step, in their slots too."""
    m = beta1 * slots["first_moment"] + (1 - beta1) * g
    v = beta2 * slots["second_moment"] + (1 - beta2) * g * g
    slots["first_moment"].assign(m)
    slots["second_moment"].assign(v)
    return m, v


def _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad):
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root", "before_correction"))
    _check_choice("amsgrad", amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))


def _inverse_hessian_product(g, pairs):
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


def _inner(a, b):
    """The inner product of two vectors: ``tf.tensordot`` would round its factors to ten bits on a recent GPU."""
    return tf.reduce_sum(a * b)


def _quotient(numerator, curvature):
    """``numerator / curvature``, 0 for a pair that is left out."""
    return tf.where(curvature > 0, numerator / curvature, tf.zeros_like(curvature))


def _flat(tensors, parameters):
    """One vector of all tensors, in the order of ``parameters``."""
    return tf.concat([tf.reshape(tensors[name], [-1]) for name in parameters], axis=0)


def _assign(variables, vector, parameters):
    """The inverse of :func:`_flat`, into variables."""
    parts = tf.split(vector, [w.shape.num_elements() for w in parameters.values()])
    for (name, w), part in zip(parameters.items(), parts, strict=True):
        variables[name].assign(tf.reshape(part, w.shape))


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
