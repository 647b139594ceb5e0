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
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["step"] = 0
                    state |= {slot: torch.full_like(w, value) for slot, value in self.initial_slots(group).items()}
                state["step"] += 1
                self.update(w, w.grad, state, group)
        return loss


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
    _check_decay("beta1", beta1)
    _check_decay("beta2", beta2)
    _check_not_negative("epsilon", epsilon)
    _check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root", "before_correction"))
    _check_choice("amsgrad", amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))
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


OPTIMIZERS = {f.__name__: f for f in (gradient_descent, momentum, rmsprop, adam)}


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
    elif isinstance(optimizer, optim.Adam):
        keys = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
    else:
        raise ValueError(f"{type(optimizer).__name__} is not an optimizer of this file")
    return {SLOT_NAMES[key]: 0.0 for key in keys}


def _state_key(optimizer, slot):
    """The key of ``optimizer.state[w]`` under which ``slot`` is kept."""
    if isinstance(optimizer, _Formulation):
        return slot
    return next(key for key, name in SLOT_NAMES.items() if name == slot)


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


def _check_choice(name, value, allowed):
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not allowed: must be one of {', '.join(map(repr, allowed))}")
