"""Optimizers: each function takes ``params`` and returns a ``torch.optim.Optimizer``.

Where PyTorch's built-in is the formulation asked for, it is returned, with its fused kernel if it has one; otherwise
one of the classes here, in the same idiom: hyperparameters in the parameter groups (the rate as ``"lr"``, so every
``lr_scheduler`` works), state per parameter, parameters without a gradient left alone. Throughout, ``w`` is a
parameter, ``g`` its gradient, ``alpha`` the learning rate and ``t`` the step counted from 1.

This file needs PyTorch only and can be copied out alone.
"""

import math

import torch
from torch import optim

# What the built-ins call their state, and what the formulas do.
SLOT_NAMES = {
    "momentum_buffer": "velocity",
    "square_avg": "square_average",
    "grad_avg": "gradient_average",
    "exp_avg": "first_moment",
    "exp_avg_sq": "second_moment",
    "max_exp_avg_sq": "maximum_second_moment",
    "sum": "square_sum",
    "acc_delta": "squared_update_average",
    "exp_inf": "infinity_norm",
}

# Functions of this file that the other frameworks' files do not have.
TORCH_ONLY = ("named_state", "load_named_state")


class _Formulation(optim.Optimizer):
    """The loop over parameters that the formulas share: a subclass names its slots and updates one parameter.

    The step is a Python int, so that bias corrections are taken in double precision whatever the parameters' dtype.
    """

    def __init__(self, params, *, lr, **formulation):
        super().__init__(params, {"lr": lr, **formulation})

    def initial_slots(self, group):
        raise NotImplementedError

    def update(self, w, g, state, group):
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure=None):
        """One step from the gradients in ``w.grad``; ``closure`` as in every PyTorch optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [w for w in group["params"] if w.grad is not None]
            for w in parameters:
                state = self.state[w]
                if not state:
                    state["step"] = 0
                    state |= {slot: torch.full_like(w, value) for slot, value in self.initial_slots(group).items()}
                state["step"] += 1
            self.update_group(parameters, group)
        return loss

    def update_group(self, parameters, group):
        for w in parameters:
            self.update(w, w.grad, self.state[w], group)


def gradient_descent(params, learning_rate=0.01):
    """``w <- w - alpha g``: ``torch.optim.SGD``. Raises ValueError if ``learning_rate`` is negative or not finite."""
    _check_learning_rate(learning_rate)
    return optim.SGD(params, lr=learning_rate, fused=True)


def momentum(
    params,
    learning_rate=0.01,
    *,
    beta=0.9,
    accumulation="average",
    bias_correction=False,
    nesterov=False,
    learning_rate_position="outside",
):
    """``v <- beta v + (1 - beta) g, w <- w - alpha v``, or another formulation of momentum; slot ``velocity``.

    ``torch.optim.SGD(momentum=beta)`` is ``accumulation="sum"`` with the rate outside and no bias correction. Its
    ``dampening`` does not make the average: the first step takes ``g`` whole. Raises ValueError unless ``0 <= beta <
    1`` and every formulation is a known one.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta", beta)
    _check_choice("accumulation", accumulation, ("average", "sum"))
    _check_choice("bias_correction", bias_correction, (False, True))
    _check_choice("nesterov", nesterov, (False, True))
    _check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    # At beta = 0 SGD would keep no velocity.
    if beta > 0 and accumulation == "sum" and not bias_correction and learning_rate_position == "outside":
        return optim.SGD(params, lr=learning_rate, momentum=beta, nesterov=bool(nesterov), fused=True)
    return Momentum(
        params,
        lr=learning_rate,
        beta=beta,
        accumulation=accumulation,
        bias_correction=bias_correction,
        nesterov=nesterov,
        learning_rate_position=learning_rate_position,
    )


class Momentum(_Formulation):
    """Every formulation of :func:`momentum`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        return {"velocity": 0.0}

    def update(self, w, g, state, group):
        alpha, beta, t, v = group["lr"], group["beta"], state["step"], state["velocity"]
        gain = 1 - beta if group["accumulation"] == "average" else 1.0
        inside = group["learning_rate_position"] == "inside"
        contribution = (alpha * gain if inside else gain) * g
        v.mul_(beta).add_(contribution)
        direction = beta * v + contribution if group["nesterov"] else v
        if group["bias_correction"]:
            direction = direction / _one_minus_power(beta, t)
        w.sub_(direction if inside else alpha * direction)


def rmsprop(
    params,
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
    """``s <- beta s + (1 - beta) g^2, w <- w - alpha g / (sqrt(s) + epsilon)``, or another formulation of RMSprop.

    Slots ``square_average``, ``gradient_average`` (if centred), ``velocity`` (if momentum).
    ``torch.optim.RMSprop(alpha=beta)`` is the formulation with every default kept but ``beta``, ``epsilon`` and
    ``momentum``; its own default of ``alpha`` is 0.99, and its centred form takes roots of variances that rounding
    made negative. Raises ValueError for a number out of range, an unknown formulation, or ``bias_correction`` with
    ``initial_square != 0``.
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
    outside = epsilon_position == "outside_root" and learning_rate_position == "outside"
    if outside and not centered and initial_square == 0 and not bias_correction:
        return optim.RMSprop(params, lr=learning_rate, alpha=beta, eps=epsilon, momentum=momentum, foreach=True)
    return RMSprop(
        params,
        lr=learning_rate,
        beta=beta,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        centered=centered,
        momentum=momentum,
        initial_square=initial_square,
        bias_correction=bias_correction,
        learning_rate_position=learning_rate_position,
    )


class RMSprop(_Formulation):
    """Every formulation of :func:`rmsprop`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        slots = {"square_average": group["initial_square"]}
        if group["centered"]:
            slots["gradient_average"] = 0.0
        if group["momentum"]:
            slots["velocity"] = 0.0
        return slots

    def update(self, w, g, state, group):
        alpha, beta, momentum, t = group["lr"], group["beta"], group["momentum"], state["step"]
        inside = group["learning_rate_position"] == "inside"
        correction = _one_minus_power(beta, t) if group["bias_correction"] else 1.0
        s = state["square_average"]
        s.mul_(beta).addcmul_(g, g, value=1 - beta)
        variance = s / correction
        if group["centered"]:
            c = state["gradient_average"]
            c.mul_(beta).add_(g, alpha=1 - beta)
            variance = (variance - (c / correction).square()).clamp(min=0)
        if group["epsilon_position"] == "outside_root":
            ratio = g / (variance.sqrt() + group["epsilon"])
        else:
            ratio = g / (variance + group["epsilon"]).sqrt()
        if momentum:
            u = state["velocity"]
            u.mul_(momentum).add_(alpha * ratio if inside else ratio)
            w.sub_(u if inside else alpha * u)
        else:
            w.sub_(alpha * ratio)


def adagrad(params, learning_rate=0.01, *, epsilon=1e-8, epsilon_position="outside_root", initial_accumulator=0.0):
    """``s <- s + g^2, w <- w - alpha g / (sqrt(s) + epsilon)``, or with epsilon ``"inside_root"``; slot ``square_sum``.

    ``torch.optim.Adagrad`` is ``epsilon_position="outside_root"``, its own default of ``eps`` is 1e-10. Raises
    ValueError for a number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    _check_not_negative("initial_accumulator", initial_accumulator)
    if epsilon_position == "outside_root":
        start = {"initial_accumulator_value": initial_accumulator}
        return optim.Adagrad(params, lr=learning_rate, eps=epsilon, foreach=True, **start)
    return Adagrad(
        params,
        lr=learning_rate,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        initial_accumulator=initial_accumulator,
    )


class Adagrad(_Formulation):
    """Every formulation of :func:`adagrad`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        return {"square_sum": group["initial_accumulator"]}

    def update(self, w, g, state, group):
        s, epsilon = state["square_sum"], group["epsilon"]
        s.addcmul_(g, g)
        root = s.sqrt() + epsilon if group["epsilon_position"] == "outside_root" else (s + epsilon).sqrt()
        w.addcdiv_(g, root, value=-group["lr"])


def adadelta(params, learning_rate=1.0, *, rho=0.9, epsilon=1e-6):
    """``r = g sqrt(d + epsilon) / sqrt(s + epsilon), w <- w - alpha r``: ``torch.optim.Adadelta``.

    Slots ``square_average`` (``s``, of ``g``) and ``squared_update_average`` (``d``, of ``r``). Raises ValueError for a
    number out of range.
    """
    _check_learning_rate(learning_rate)
    _check_decay("rho", rho)
    _check_not_negative("epsilon", epsilon)
    return optim.Adadelta(params, lr=learning_rate, rho=rho, eps=epsilon, foreach=True)


def adam(
    params,
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="outside_root",
    amsgrad=None,
):
    """``m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, w <- w - alpha m^ / (sqrt(v^) + epsilon)``.

    Or another formulation of Adam. Slots ``first_moment``, ``second_moment``, with AMSGrad ``maximum_second_moment``.
    ``torch.optim.Adam`` is ``epsilon_position="outside_root"``, its ``amsgrad=True`` is ``"raw_max"``: the maximum
    first, then the correction. It corrects the root of ``v``, so it still moves where ``v^`` itself would overflow.
    Raises ValueError for a number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad)
    if epsilon_position == "outside_root" and amsgrad in (None, "raw_max"):
        betas, keep_maximum = (beta1, beta2), amsgrad == "raw_max"
        return optim.Adam(params, lr=learning_rate, betas=betas, eps=epsilon, amsgrad=keep_maximum, fused=True)
    return Adam(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        amsgrad=amsgrad,
    )


class Adam(_Formulation):
    """Every formulation of :func:`adam`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        slots = {"first_moment": 0.0, "second_moment": 0.0}
        if group["amsgrad"] is not None:
            slots["maximum_second_moment"] = 0.0
        return slots

    def update(self, w, g, state, group):
        alpha, beta1, beta2, epsilon = group["lr"], group["beta1"], group["beta2"], group["epsilon"]
        m, v, t, amsgrad = state["first_moment"], state["second_moment"], state["step"], group["amsgrad"]
        correction1, correction2 = _one_minus_power(beta1, t), _one_minus_power(beta2, t)
        if amsgrad == "uncorrected":
            correction1 = correction2 = 1.0
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        v_hat = v / correction2
        if amsgrad is not None:
            x = state["maximum_second_moment"]
            torch.maximum(x, v_hat if amsgrad == "corrected_max" else v, out=x)
            v_hat = x if amsgrad == "corrected_max" else x / correction2
        if group["epsilon_position"] == "outside_root":
            denominator = v_hat.sqrt() + epsilon
        elif group["epsilon_position"] == "inside_root":
            denominator = (v_hat + epsilon).sqrt()
        else:
            denominator = v_hat.sqrt() + epsilon / math.sqrt(correction2)
        w.sub_(alpha / correction1 * m / denominator)


def adamw(
    params,
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
    """``w <- w - alpha weight_decay w``, then the step of :func:`adam`, whose slots it has.

    ``decay_scale="schedule_only"`` decays by ``alpha / learning_rate`` instead of ``alpha``, the rate of this step over
    the one given here. ``torch.optim.AdamW`` is the default formulation in double precision; in single precision it
    rounds its factor ``1 - alpha weight_decay``, which puts the decay off by up to ``6e-8 / (alpha weight_decay)`` of
    itself, so it is not used. Raises ValueError for a number out of range, an unknown formulation, or
    ``decay_scale="schedule_only"`` with a ``learning_rate`` of 0.
    """
    _check_learning_rate(learning_rate)
    _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad)
    _check_not_negative("weight_decay", weight_decay)
    _check_choice("decay_scale", decay_scale, ("learning_rate", "schedule_only"))
    if decay_scale == "schedule_only" and learning_rate == 0:
        raise ValueError(
            f"learning_rate={learning_rate!r} is not allowed with decay_scale='schedule_only': must be > 0"
        )
    return AdamW(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        amsgrad=amsgrad,
        weight_decay=weight_decay,
        decay_unit=1.0 if decay_scale == "learning_rate" else learning_rate,
    )


class AdamW(Adam):
    """Every formulation of :func:`adamw`, which checks the arguments and makes it."""

    def update(self, w, g, state, group):
        w.sub_(group["lr"] / group["decay_unit"] * group["weight_decay"] * w)
        super().update(w, g, state, group)


def nadam(
    params,
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    schedule="dozat",
    momentum_decay=0.004,
):
    """Adam with Nesterov's momentum, ``m^ = mu_{t+1} m / (1 - p_t mu_{t+1}) + (1 - mu_t) g / (1 - p_t)``.

    ``p_t = mu_1 ... mu_t``, with ``mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)`` (``schedule="dozat"``) or ``beta1``
    (``"constant"``). Slots ``first_moment``, ``second_moment``, for Dozat's schedule ``momentum_product`` (``p``).
    ``torch.optim.NAdam`` is Dozat's, but keeps ``p`` in the default dtype, not the parameters'. Raises ValueError for a
    number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("schedule", schedule, ("dozat", "constant"))
    _check_not_negative("momentum_decay", momentum_decay)
    return NAdam(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        schedule=schedule,
        momentum_decay=momentum_decay,
    )


class NAdam(_Formulation):
    """Every formulation of :func:`nadam`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        slots = {"first_moment": 0.0, "second_moment": 0.0}
        if group["schedule"] == "dozat":
            slots["momentum_product"] = 1.0
        return slots

    def update(self, w, g, state, group):
        beta1, beta2, t = group["beta1"], group["beta2"], state["step"]
        m, v = state["first_moment"], state["second_moment"]
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        if group["schedule"] == "dozat":
            mu, next_mu = (beta1 * (1 - 0.5 * 0.96 ** (s * group["momentum_decay"])) for s in (t, t + 1))
            p = state["momentum_product"].mul_(mu)
            m_hat = next_mu * m / (1 - next_mu * p) + (1 - mu) * g / (1 - p)
        else:
            m_hat = beta1 / _one_minus_power(beta1, t + 1) * m + (1 - beta1) / _one_minus_power(beta1, t) * g
        w.sub_(group["lr"] * m_hat / ((v / _one_minus_power(beta2, t)).sqrt() + group["epsilon"]))


def adamax(
    params,
    learning_rate=0.002,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="inside_maximum",
):
    """``u <- max(beta2 u, |g| + epsilon), w <- w - alpha m^ / u``, or with epsilon ``"outside"`` on ``u``.

    Slots ``first_moment`` (``m``), ``infinity_norm`` (``u``). ``torch.optim.Adamax`` is
    ``epsilon_position="inside_maximum"``. Raises ValueError for a number out of range or an unknown formulation.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("inside_maximum", "outside"))
    if epsilon_position == "inside_maximum":
        return optim.Adamax(params, lr=learning_rate, betas=(beta1, beta2), eps=epsilon, foreach=True)
    return Adamax(
        params, lr=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, epsilon_position=epsilon_position
    )


class Adamax(_Formulation):
    """Every formulation of :func:`adamax`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        return {"first_moment": 0.0, "infinity_norm": 0.0}

    def update(self, w, g, state, group):
        beta1, epsilon, m, u = group["beta1"], group["epsilon"], state["first_moment"], state["infinity_norm"]
        inside = group["epsilon_position"] == "inside_maximum"
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        torch.maximum(u.mul_(group["beta2"]), g.abs() + epsilon if inside else g.abs(), out=u)
        rate = group["lr"] / _one_minus_power(beta1, state["step"])
        w.addcdiv_(m, u if inside else u + epsilon, value=-rate)


def radam(
    params,
    learning_rate=0.001,
    *,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    epsilon_position="outside_root",
    threshold=5.0,
):
    """Adam's step times ``r_t``, or ``w <- w - alpha m^`` where ``rho_t <= threshold``; slots of :func:`adam`.

    ``rho = 2/(1 - beta2) - 1``, ``rho_t = rho - 2 t beta2^t/(1 - beta2^t)``, ``r_t = sqrt((rho_t - 4) (rho_t - 2) rho /
    ((rho - 4) (rho - 2) rho_t))``. ``torch.optim.RAdam`` is ``threshold=5`` with epsilon ``"before_correction"``.
    Raises ValueError for a number out of range, an unknown formulation, or a ``beta2`` so small that ``rho <=
    threshold``.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "before_correction"))
    _check_choice("threshold", threshold, (5, 4))
    if not 2 / (1 - beta2) - 1 > threshold:
        raise ValueError(f"beta2={beta2!r} is not allowed with threshold={threshold!r}: 2/(1 - beta2) - 1 must be more")
    return RAdam(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        threshold=threshold,
    )


class RAdam(_Formulation):
    """Every formulation of :func:`radam`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        return {"first_moment": 0.0, "second_moment": 0.0}

    def update(self, w, g, state, group):
        beta1, beta2, epsilon, t = group["beta1"], group["beta2"], group["epsilon"], state["step"]
        m, v = state["first_moment"], state["second_moment"]
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        alpha = group["lr"] / _one_minus_power(beta1, t)
        rectification = _rectification(beta2, t, group["threshold"])
        if rectification is None:
            w.sub_(alpha * m)
            return
        correction = math.sqrt(_one_minus_power(beta2, t))
        if group["epsilon_position"] == "outside_root":
            epsilon *= correction
        w.addcdiv_(m, v.sqrt() + epsilon, value=-alpha * rectification * correction)


def lion(params, learning_rate=0.0001, *, beta1=0.9, beta2=0.99, weight_decay=0.0):
    """``w <- w - alpha (sign(beta1 m + (1 - beta1) g) + weight_decay w), m <- beta2 m + (1 - beta2) g``.

    Slot ``momentum`` (``m``); ``sign(0) = 0``. PyTorch has none of this name. Raises ValueError for a number out of
    range.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("weight_decay", weight_decay)
    return Lion(params, lr=learning_rate, beta1=beta1, beta2=beta2, weight_decay=weight_decay)


class Lion(_Formulation):
    """The formula of :func:`lion`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        return {"momentum": 0.0}

    def update(self, w, g, state, group):
        beta1, beta2, m = group["beta1"], group["beta2"], state["momentum"]
        w.sub_(group["lr"] * ((beta1 * m + (1 - beta1) * g).sign() + group["weight_decay"] * w))
        m.mul_(beta2).add_(g, alpha=1 - beta2)


def adabelief(params, learning_rate=0.001, *, beta1=0.9, beta2=0.999, epsilon=1e-16):
    """``s <- beta2 s + (1 - beta2) (g - m)^2 + epsilon, w <- w - alpha m^ / (sqrt(s^) + epsilon)``.

    Slots ``first_moment`` (``m``), ``belief`` (``s``), corrected as Adam's. PyTorch has none of this name. Raises
    ValueError for a number out of range.
    """
    _check_learning_rate(learning_rate)
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    return AdaBelief(params, lr=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


class AdaBelief(_Formulation):
    """The formula of :func:`adabelief`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        return {"first_moment": 0.0, "belief": 0.0}

    def update(self, w, g, state, group):
        beta1, beta2, epsilon, t = group["beta1"], group["beta2"], group["epsilon"], state["step"]
        m, s = state["first_moment"], state["belief"]
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        s.mul_(beta2).addcmul_(g - m, g - m, value=1 - beta2).add_(epsilon)
        denominator = (s / _one_minus_power(beta2, t)).sqrt() + epsilon
        w.addcdiv_(m, denominator, value=-group["lr"] / _one_minus_power(beta1, t))


def lbfgs(params, learning_rate=1.0, *, history=5, first_step="capped"):
    """``w <- w - alpha H g``, ``H`` the inverse Hessian of limited-memory BFGS from the last ``history`` steps.

    Its sums go over all parameters of a group. The first step is ``g / max(1, ||g||_1)`` (``first_step="capped"``) or
    ``g`` (``"gradient"``); a pair of changes ``s``, ``y`` with ``s . y <= 0`` is left out. Slots
    ``previous_parameter``, ``previous_gradient``, ``parameter_change_k`` and ``gradient_change_k`` for ``k = 1``
    (newest) ``.. history``. ``torch.optim.LBFGS`` with ``max_iter=1`` takes the same steps, but drops a pair with
    ``s . y <= 1e-10`` for good, and stops at small gradients. Raises ValueError for a number out of range or an unknown
    formulation.
    """
    _check_learning_rate(learning_rate)
    if not (isinstance(history, int) and history >= 1):
        raise ValueError(f"history={history!r} is not allowed: must be an integer >= 1")
    _check_choice("first_step", first_step, ("capped", "gradient"))
    return LBFGS(params, lr=learning_rate, history=history, first_step=first_step)


class LBFGS(_Formulation):
    """Every formulation of :func:`lbfgs`, which checks the arguments and makes it."""

    def initial_slots(self, group):
        changes = [f"{name}_change_{k}" for name in ("parameter", "gradient") for k in range(1, group["history"] + 1)]
        return dict.fromkeys(("previous_parameter", "previous_gradient", *changes), 0.0)

    def update_group(self, parameters, group):
        if not parameters:
            return
        states = [self.state[w] for w in parameters]
        for w, state in zip(parameters, states, strict=True):
            self._remember(w, w.grad, state, group)
        g = _flat([w.grad for w in parameters])
        if states[0]["step"] > 1:
            pairs = [
                tuple(_flat([state[f"{name}_change_{k}"] for state in states]) for name in ("parameter", "gradient"))
                for k in range(1, group["history"] + 1)
            ]
            direction = _inverse_hessian_product(g, pairs)
        else:
            direction = g / max(1.0, g.abs().sum().item()) if group["first_step"] == "capped" else g
        for w, change in zip(parameters, direction.split([w.numel() for w in parameters]), strict=True):
            w.sub_(group["lr"] * change.view_as(w))

    def _remember(self, w, g, state, group):
        """Move the kept changes on by one step and enter the newest."""
        if state["step"] > 1:
            for k in range(group["history"], 1, -1):
                state[f"parameter_change_{k}"].copy_(state[f"parameter_change_{k - 1}"])
                state[f"gradient_change_{k}"].copy_(state[f"gradient_change_{k - 1}"])
            torch.sub(w, state["previous_parameter"], out=state["parameter_change_1"])
            torch.sub(g, state["previous_gradient"], out=state["gradient_change_1"])
        state["previous_parameter"].copy_(w)
        state["previous_gradient"].copy_(g)


OPTIMIZERS = {
    f.__name__: f
    for f in (
        gradient_descent, momentum, rmsprop, adagrad, adadelta, adam, adamw, nadam, adamax, radam, lion,
        adabelief, lbfgs,
    )
}  # fmt: skip


def exponentially_weighted_average(values, *, beta=0.9, bias_correction=True):
    """``v_t = beta v_{t-1} + (1 - beta) x_t`` with ``v_0 = 0``, each divided by ``1 - beta^t`` if ``bias_correction``.

    ``values``: ``(steps, ...)``; the result has their shape and dtype. Raises ValueError unless ``0 <= beta < 1``.
    """
    _check_decay("beta", beta)
    _check_choice("bias_correction", bias_correction, (False, True))
    averages, average = torch.empty_like(values), 0.0
    for t, value in enumerate(values, start=1):
        average = beta * average + (1 - beta) * value
        averages[t - 1] = average / _one_minus_power(beta, t) if bias_correction else average
    return averages


def named_state(optimizer, parameters):
    """``(step, {slot: {name: tensor}})``: the state under the formulas' slot names, the built-ins' included.

    ``parameters``: ``{name: Parameter}``, all held by ``optimizer``. Before the first step the slots have their initial
    values. ``torch.optim.SGD`` counts no steps: ``step`` is then 0.
    """
    step, slots = 0, {slot: {} for slot in _initial_slots(optimizer)}
    for name, w in parameters.items():
        state = optimizer.state.get(w, {})
        step = int(state.get("step", 0))
        for slot, value in _initial_slots(optimizer).items():
            stored = state.get(_state_key(optimizer, slot))
            slots[slot][name] = torch.full_like(w.detach(), value) if stored is None else stored.detach().clone()
    return step, slots


def load_named_state(optimizer, parameters, step, slots):
    """The inverse of :func:`named_state`: makes ``optimizer`` continue after ``step`` steps with ``slots``.

    Raises ValueError if ``slots`` are not the optimizer's, or one lacks a parameter or has another shape.
    """
    expected = _initial_slots(optimizer)
    if slots.keys() != expected.keys():
        raise ValueError(f"slots has {sorted(slots)}: must be {sorted(expected)}")
    for name, w in parameters.items():
        for slot in slots:
            shape = tuple(slots[slot][name].shape) if name in slots[slot] else None
            if shape != tuple(w.shape):
                raise ValueError(f"slot {slot!r} of {name!r} has shape {shape}: must be {tuple(w.shape)}")
    names = {id(w): name for name, w in parameters.items()}
    held = [names.get(id(w)) for group in optimizer.param_groups for w in group["params"]]
    state = {
        index: {_state_key(optimizer, slot): torch.as_tensor(arrays[name]).clone() for slot, arrays in slots.items()}
        | {"step": step if isinstance(optimizer, _Formulation) else torch.tensor(float(step))}
        for index, name in enumerate(held)
        if name is not None
    }
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _initial_slots(optimizer):
    """The slots of one of this file's optimizers, built-in or not, with their initial values."""
    group = optimizer.param_groups[0]
    if isinstance(optimizer, _Formulation):
        return optimizer.initial_slots(group)
    if isinstance(optimizer, optim.SGD):
        keys = ["momentum_buffer"] if group["momentum"] else []
    elif isinstance(optimizer, optim.RMSprop):
        keys = ["square_avg"] + ["grad_avg"] * group["centered"] + ["momentum_buffer"] * (group["momentum"] > 0)
    elif isinstance(optimizer, optim.Adagrad):
        return {"square_sum": group["initial_accumulator_value"]}
    elif isinstance(optimizer, optim.Adadelta):
        keys = ["square_avg", "acc_delta"]
    elif isinstance(optimizer, optim.Adam):
        keys = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
    elif isinstance(optimizer, optim.Adamax):
        keys = ["exp_avg", "exp_inf"]
    else:
        raise ValueError(f"{type(optimizer).__name__} is not an optimizer of this file")
    return {SLOT_NAMES[key]: 0.0 for key in keys}


def _state_key(optimizer, slot):
    """The key of ``optimizer.state[w]`` under which ``slot`` is kept."""
    if isinstance(optimizer, _Formulation):
        return slot
    return next(key for key, name in SLOT_NAMES.items() if name == slot)


def _rectification(beta2, t, threshold):
    """RAdam's ``r``, or None where ``rho_t`` is not above ``threshold``; in double precision, as ``rho_t`` cancels."""
    rho = 2 / (1 - beta2) - 1
    rho_t = rho - 2 * t * beta2**t / _one_minus_power(beta2, t)
    if not rho_t > threshold:
        return None
    return math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))


def _inverse_hessian_product(g, pairs):
    """L-BFGS's two loops: an approximate inverse Hessian times ``g``; ``pairs`` ``(s, y)`` from newest to oldest."""
    curvatures = [_dot(s, y) for s, y in pairs]
    q, weights = g.clone(), []
    for (s, y), curvature in zip(pairs, curvatures, strict=True):
        weights.append(_dot(s, q) / curvature if curvature > 0 else 0.0)
        q.sub_(weights[-1] * y)
    newest = pairs[0][1]
    r = curvatures[0] / _dot(newest, newest) * q if curvatures[0] > 0 else q
    for (s, y), curvature, weight in reversed(list(zip(pairs, curvatures, weights, strict=True))):
        if curvature > 0:
            r.add_((weight - _dot(y, r) / curvature) * s)
    return r


def _dot(a, b):
    """``a . b`` as a number. ``sum`` adds in pairs; ``torch.dot`` loses digits over many elements."""
    return (a * b).sum().item()


def _flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _one_minus_power(beta, t):
    """``1 - beta^t`` without the cancellation of the subtraction, which the built-ins accept: 1e-13 in float64."""
    return -math.expm1(t * math.log(beta)) if beta > 0 else 1.0


def _check_learning_rate(value):
    _check_not_negative("learning_rate", value)


def _check_not_negative(name, value):
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name}={value!r} is not allowed: must be a finite number >= 0")


def _check_decay(name, value):
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value!r} is not allowed: must be in [0, 1)")


def _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad):
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root", "before_correction"))
    _check_choice("amsgrad", amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")
