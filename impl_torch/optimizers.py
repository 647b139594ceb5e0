"""Optimizers: each function takes ``params`` and returns a ``torch.optim.Optimizer``.

Where PyTorch's built-in is the formulation asked for, it is returned, with its fused kernel if it has one; otherwise
one of the classes here, in the same idiom: hyperparameters in the parameter groups (the rate as ``"lr"``, so every
``lr_scheduler`` works), state per parameter, parameters without a gradient left alone. Throughout, ``w`` is a
parameter, ``g`` its gradient, ``alpha`` the learning rate and ``t`` the step counted from 1.

**Weight decay.** Where a function has ``weight_decay``, it is coupled: ``g <- g + weight_decay w`` before anything
else, on every parameter that the optimizer holds. With ``decoupled_weight_decay`` the gradient is left alone, and the
step is ``w <- w - alpha (d + weight_decay w)``, ``d`` the formula's own direction; with the rate inside the velocity it
is ``w <- w - (v + alpha weight_decay w)``. That of ``adamw`` and ``lion`` is always decoupled. Raises ValueError unless
it is a finite number >= 0.

**Layout.** On the CPU the fused kernels of PyTorch 2.13 take weight, gradient and state in the order of their memory
and pair the wrong elements, silently, where strides differ. The fused built-ins returned here give such a gradient its
weight's layout before the step, and weights with gaps in memory the kernel that is not fused. This is a hook of the
optimizer: it stays with the object, and is not in a pickle of it.

This file needs PyTorch and ``_common.py`` only, and can be copied out together with it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn, optim
from torch.optim.optimizer import ParamsT

from ._common import (
    check_choice,
    check_decay,
    check_fraction,
    check_not_negative,
    check_optimizer_state,
    check_positive_integer,
)

Slots = dict[str, dict[str, Tensor]]
# Of the beta in a bias correction ``1 - beta^t``: as it is; rounded to the dtype of the parameters, as optax does;
# rounded to float32, as Keras does on TensorFlow. Power and difference are then in the dtype of the parameters.
PRECISIONS = ("exact", "working", "float32")

Group = dict[str, Any]
State = dict[str, Any]
Maker = TypeVar("Maker", bound=optim.Optimizer)

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
TORCH_ONLY = ("named_state", "load_named_state", "reset_state", "computes_on_device", "capturable")


class OptimizerState(NamedTuple):
    """Number of steps taken, and for each slot (``"velocity"``, ``"first_moment"`` ...) one tensor per parameter."""

    step: int
    slots: Slots


class _Formulation(optim.Optimizer, ABC):
    """The step that the formulas share: a subclass names its slots and updates the parameters of a group.

    The step is a Python int, so that bias corrections are taken in double precision whatever the parameters' dtype.
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        lr: float,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        **formulation: Any,
    ) -> None:
        decay = {"weight_decay": weight_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {"lr": lr, **decay, **formulation})

    @abstractmethod
    def initial_slots(self, group: Group) -> dict[str, float]:
        """The slots of a parameter by name, and what they are filled with before the first step."""

    @abstractmethod
    def update_group(self, parameters: Sequence[Tensor], group: Group) -> None:
        """One step of all parameters of a group that have a gradient, in place."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
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


class _OneByOne(_Formulation):
    """Every parameter is updated on its own: a subclass updates one.

    Coupled weight decay is in the ``g`` that :meth:`update` is given; decoupled decay is the subclass's own.
    """

    @abstractmethod
    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        """One step of one parameter, in place; ``state`` holds its slots, and ``"step"`` from 1."""

    def update_group(self, parameters: Sequence[Tensor], group: Group) -> None:
        coupled = 0.0 if group["decoupled_weight_decay"] else group["weight_decay"]
        for w in parameters:
            g: Any = w.grad
            self.update(w, g.add(w, alpha=coupled) if coupled else g, self.state[w], group)


def gradient_descent(params: ParamsT, learning_rate: float = 0.01, *, weight_decay: float = 0.0) -> optim.Optimizer:
    """``w <- w - alpha g``: ``torch.optim.SGD``. Raises ValueError if a number is negative or not finite."""
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("weight_decay", weight_decay)
    return _laid_out(optim.SGD(params, weight_decay=weight_decay, lr=learning_rate, fused=True))


def momentum(
    params: ParamsT,
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
) -> optim.Optimizer:
    """``v <- beta v + (1 - beta) g, w <- w - alpha v``, or another formulation of momentum; slot ``velocity``.

    ``torch.optim.SGD(momentum=beta)`` is ``accumulation="sum"`` with the rate outside and no bias correction.
    ``dampening`` is its own: ``v <- g`` in the first step, then ``v <- beta v + (1 - dampening) g``; with the rate
    inside, ``alpha`` times each contribution. It does not make the average, as the first step takes ``g`` whole. Raises
    ValueError unless ``0 <= beta < 1``, the other numbers are in range and every formulation is a known one, and for a
    ``dampening`` that is not 0 without ``accumulation="sum"``, with ``nesterov`` or with ``bias_correction``.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta", beta)
    check_choice("accumulation", accumulation, ("average", "sum"))
    check_choice("bias_correction", bias_correction, (False, True))
    check_choice("nesterov", nesterov, (False, True))
    check_choice("learning_rate_position", learning_rate_position, ("outside", "inside"))
    _check_decay(weight_decay, decoupled_weight_decay)
    _check_dampening(dampening, accumulation, nesterov, bias_correction)
    coupled = not (weight_decay and decoupled_weight_decay)
    # At beta = 0 SGD would keep no velocity.
    if beta > 0 and accumulation == "sum" and not bias_correction and learning_rate_position == "outside" and coupled:
        more: dict[str, Any] = {"weight_decay": weight_decay, "dampening": dampening}
        return _laid_out(
            optim.SGD(params, lr=learning_rate, momentum=beta, nesterov=bool(nesterov), fused=True, **more)
        )
    return Momentum(
        params,
        lr=learning_rate,
        beta=beta,
        accumulation=accumulation,
        bias_correction=bias_correction,
        nesterov=nesterov,
        learning_rate_position=learning_rate_position,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled_weight_decay,
        dampening=dampening,
    )


class Momentum(_OneByOne):
    """Every formulation of :func:`momentum`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        return {"velocity": 0.0}

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        alpha, beta, t, v = group["lr"], group["beta"], state["step"], state["velocity"]
        gain = 1 - beta if group["accumulation"] == "average" else 1.0
        if t > 1 and group["dampening"]:
            gain = 1 - group["dampening"]
        inside = group["learning_rate_position"] == "inside"
        contribution = (alpha * gain if inside else gain) * g
        v.mul_(beta).add_(contribution)
        direction = beta * v + contribution if group["nesterov"] else v
        if group["bias_correction"]:
            direction = direction / _one_minus_power(beta, t)
        direction = _with_decay(direction, w, group, inside)
        w.sub_(direction if inside else alpha * direction)


def rmsprop(
    params: ParamsT,
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
) -> optim.Optimizer:
    """``s <- beta s + (1 - beta) g^2, w <- w - alpha g / (sqrt(s) + epsilon)``, or another formulation of RMSprop.

    Slots ``square_average``, ``gradient_average`` (if centred), ``velocity`` (if momentum).
    ``torch.optim.RMSprop(alpha=beta)`` is the formulation with every default kept but ``beta``, ``epsilon``,
    ``momentum`` and ``weight_decay``; its own default of ``alpha`` is 0.99, and its centred form takes roots of
    variances that rounding made negative. Raises ValueError for a number out of range, an unknown formulation, or
    ``bias_correction`` with ``initial_square != 0``.
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
    _check_decay(weight_decay, decoupled_weight_decay)
    outside = epsilon_position == "outside_root" and learning_rate_position == "outside"
    coupled = not (weight_decay and decoupled_weight_decay)
    if outside and not centered and initial_square == 0 and not bias_correction and coupled:
        more: dict[str, Any] = {"momentum": momentum, "weight_decay": weight_decay}
        return optim.RMSprop(params, lr=learning_rate, alpha=beta, eps=epsilon, foreach=True, **more)
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
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled_weight_decay,
    )


class RMSprop(_OneByOne):
    """Every formulation of :func:`rmsprop`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        slots = {"square_average": group["initial_square"]}
        if group["centered"]:
            slots["gradient_average"] = 0.0
        if group["momentum"]:
            slots["velocity"] = 0.0
        return slots

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
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
            u = _with_decay(u, w, group, inside)
            w.sub_(u if inside else alpha * u)
        else:
            w.sub_(alpha * _with_decay(ratio, w, group))


def adagrad(
    params: ParamsT,
    learning_rate: float = 0.01,
    *,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    initial_accumulator: float = 0.0,
    weight_decay: float = 0.0,
) -> optim.Optimizer:
    """``s <- s + g^2, w <- w - alpha g / (sqrt(s) + epsilon)``, or with epsilon ``"inside_root"``; slot ``square_sum``.

    ``torch.optim.Adagrad`` is ``epsilon_position="outside_root"``, its own default of ``eps`` is 1e-10. Raises
    ValueError for a number out of range or an unknown formulation.
    """
    check_not_negative("learning_rate", learning_rate)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root"))
    check_not_negative("initial_accumulator", initial_accumulator)
    check_not_negative("weight_decay", weight_decay)
    if epsilon_position == "outside_root":
        start: dict[str, Any] = {"initial_accumulator_value": initial_accumulator, "weight_decay": weight_decay}
        return optim.Adagrad(params, lr=learning_rate, eps=epsilon, foreach=True, **start)
    return Adagrad(
        params,
        lr=learning_rate,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        initial_accumulator=initial_accumulator,
        weight_decay=weight_decay,
    )


class Adagrad(_OneByOne):
    """Every formulation of :func:`adagrad`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        return {"square_sum": group["initial_accumulator"]}

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        s, epsilon = state["square_sum"], group["epsilon"]
        s.addcmul_(g, g)
        root = s.sqrt() + epsilon if group["epsilon_position"] == "outside_root" else (s + epsilon).sqrt()
        w.addcdiv_(g, root, value=-group["lr"])


def adadelta(
    params: ParamsT,
    learning_rate: float = 1.0,
    *,
    rho: float = 0.9,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
) -> optim.Optimizer:
    """``r = g sqrt(d + epsilon) / sqrt(s + epsilon), w <- w - alpha r``: ``torch.optim.Adadelta``.

    Slots ``square_average`` (``s``, of ``g``) and ``squared_update_average`` (``d``, of ``r``). The built-in has no
    decoupled weight decay. Raises ValueError for a number out of range.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("rho", rho)
    check_not_negative("epsilon", epsilon)
    _check_decay(weight_decay, decoupled_weight_decay)
    if not (weight_decay and decoupled_weight_decay):
        return optim.Adadelta(params, lr=learning_rate, rho=rho, eps=epsilon, foreach=True, weight_decay=weight_decay)
    return Adadelta(
        params,
        lr=learning_rate,
        rho=rho,
        epsilon=epsilon,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled_weight_decay,
    )


class Adadelta(_OneByOne):
    """The formula of :func:`adadelta`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        return {"square_average": 0.0, "squared_update_average": 0.0}

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        rho, epsilon, s, d = group["rho"], group["epsilon"], state["square_average"], state["squared_update_average"]
        s.mul_(rho).addcmul_(g, g, value=1 - rho)
        r = torch.sqrt(d + epsilon) / torch.sqrt(s + epsilon) * g
        d.mul_(rho).addcmul_(r, r, value=1 - rho)
        w.sub_(group["lr"] * _with_decay(r, w, group))


def adam(
    params: ParamsT,
    learning_rate: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    amsgrad: str | None = None,
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> optim.Optimizer:
    """``m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, w <- w - alpha m^ / (sqrt(v^) + epsilon)``.

    Or another formulation of Adam. Slots ``first_moment``, ``second_moment``, with AMSGrad ``maximum_second_moment``.
    ``torch.optim.Adam`` is ``epsilon_position="outside_root"``; it corrects the root of ``v``, so it still moves where
    ``v^`` itself would overflow. Its ``amsgrad=True`` is ``"raw_max"``: the maximum first, then the correction.
    ``correction_precision`` is of ``1 - beta^t``: ``"exact"``; ``"working"`` from betas rounded to the parameters'
    dtype and in it (optax), ``"float32"`` from betas rounded to float32 (Keras). Raises ValueError for a number out of
    range or an unknown formulation.
    """
    check_not_negative("learning_rate", learning_rate)
    _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision)
    check_not_negative("weight_decay", weight_decay)
    if epsilon_position == "outside_root" and amsgrad in (None, "raw_max") and correction_precision == "exact":
        betas = beta1, beta2
        more: dict[str, Any] = {"amsgrad": amsgrad == "raw_max", "weight_decay": weight_decay}
        return _laid_out(optim.Adam(params, lr=learning_rate, betas=betas, eps=epsilon, fused=True, **more))
    return Adam(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        amsgrad=amsgrad,
        weight_decay=weight_decay,
        correction_precision=correction_precision,
    )


class Adam(_OneByOne):
    """Every formulation of :func:`adam`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        slots = {"first_moment": 0.0, "second_moment": 0.0}
        if group["amsgrad"] is not None:
            slots["maximum_second_moment"] = 0.0
        return slots

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        alpha, beta1, beta2, epsilon = group["lr"], group["beta1"], group["beta2"], group["epsilon"]
        m, v, t, amsgrad = state["first_moment"], state["second_moment"], state["step"], group["amsgrad"]
        one_minus_power = _one_minus_power_in(group["correction_precision"], w)
        correction1, correction2 = one_minus_power(beta1, t), one_minus_power(beta2, t)
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
    params: ParamsT,
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
) -> optim.Optimizer:
    """``w <- w - alpha weight_decay w``, then the step of :func:`adam`, whose slots it has.

    ``decay_scale="schedule_only"`` decays by ``alpha / learning_rate`` instead of ``alpha``, the rate of this step over
    the one given here. ``torch.optim.AdamW`` is the default formulation in double precision; in single precision it
    rounds its factor ``1 - alpha weight_decay``, which puts the decay off by up to ``6e-8 / (alpha weight_decay)`` of
    itself, so it is not used. Raises ValueError for a number out of range, an unknown formulation, or
    ``decay_scale="schedule_only"`` with a ``learning_rate`` of 0.
    """
    check_not_negative("learning_rate", learning_rate)
    _check_adam(beta1, beta2, epsilon, epsilon_position, amsgrad, correction_precision)
    check_not_negative("weight_decay", weight_decay)
    check_choice("decay_scale", decay_scale, ("learning_rate", "schedule_only"))
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
        decoupled_weight_decay=True,
        decay_unit=1.0 if decay_scale == "learning_rate" else learning_rate,
        correction_precision=correction_precision,
    )


class AdamW(Adam):
    """Every formulation of :func:`adamw`, which checks the arguments and makes it."""

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        w.sub_(group["lr"] / group["decay_unit"] * group["weight_decay"] * w)
        super().update(w, g, state, group)


def nadam(
    params: ParamsT,
    learning_rate: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    schedule: str = "dozat",
    momentum_decay: float = 0.004,
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> optim.Optimizer:
    """Adam with Nesterov's momentum, ``m^ = mu_{t+1} m / (1 - p_t mu_{t+1}) + (1 - mu_t) g / (1 - p_t)``.

    ``p_t = mu_1 ... mu_t``, with ``mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)`` (``schedule="dozat"``) or ``beta1``
    (``"constant"``). Slots ``first_moment``, ``second_moment``, for Dozat's schedule ``momentum_product`` (``p``).
    ``torch.optim.NAdam`` is Dozat's, but keeps ``p`` in the default dtype, not the parameters'. Raises ValueError for a
    number out of range or an unknown formulation.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_choice("correction_precision", correction_precision, PRECISIONS)
    check_not_negative("epsilon", epsilon)
    check_choice("schedule", schedule, ("dozat", "constant"))
    check_not_negative("momentum_decay", momentum_decay)
    check_not_negative("weight_decay", weight_decay)
    return NAdam(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        schedule=schedule,
        momentum_decay=momentum_decay,
        weight_decay=weight_decay,
        correction_precision=correction_precision,
    )


class NAdam(_OneByOne):
    """Every formulation of :func:`nadam`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        slots = {"first_moment": 0.0, "second_moment": 0.0}
        if group["schedule"] == "dozat":
            slots["momentum_product"] = 1.0
        return slots

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        exact = beta1, base = group["beta1"], 0.96
        beta2, t = group["beta2"], state["step"]
        one_minus_power = _one_minus_power_in(group["correction_precision"], w)
        if group["correction_precision"] == "float32":
            beta1, beta2, base = (_rounded(number, torch.float32) for number in (beta1, beta2, base))

        def mu(t: int, beta1: float = beta1, base: float = base) -> float:
            return beta1 * (1 - 0.5 * base ** (t * group["momentum_decay"]))

        m, v = state["first_moment"], state["second_moment"]
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        if group["schedule"] == "dozat":
            p = state["momentum_product"].mul_(mu(t, *exact))
            m_hat = mu(t + 1) * m / (1 - mu(t + 1) * p) + (1 - mu(t)) * g / (1 - p)
        else:
            m_hat = beta1 / one_minus_power(beta1, t + 1) * m + (1 - beta1) / one_minus_power(beta1, t) * g
        w.sub_(group["lr"] * m_hat / ((v / one_minus_power(beta2, t)).sqrt() + group["epsilon"]))


def adamax(
    params: ParamsT,
    learning_rate: float = 0.002,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "inside_maximum",
    weight_decay: float = 0.0,
    correction_precision: str = "exact",
) -> optim.Optimizer:
    """``u <- max(beta2 u, |g| + epsilon), w <- w - alpha m^ / u``, or with epsilon ``"outside"`` on ``u``.

    Slots ``first_moment`` (``m``), ``infinity_norm`` (``u``). ``torch.optim.Adamax`` is
    ``epsilon_position="inside_maximum"``. Raises ValueError for a number out of range or an unknown formulation.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_choice("correction_precision", correction_precision, PRECISIONS)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("inside_maximum", "outside"))
    check_not_negative("weight_decay", weight_decay)
    if epsilon_position == "inside_maximum" and correction_precision == "exact":
        decays = beta1, beta2
        return optim.Adamax(
            params, lr=learning_rate, betas=decays, eps=epsilon, foreach=True, weight_decay=weight_decay
        )
    return Adamax(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        weight_decay=weight_decay,
        correction_precision=correction_precision,
    )


class Adamax(_OneByOne):
    """Every formulation of :func:`adamax`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        return {"first_moment": 0.0, "infinity_norm": 0.0}

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        beta1, epsilon, m, u = group["beta1"], group["epsilon"], state["first_moment"], state["infinity_norm"]
        inside = group["epsilon_position"] == "inside_maximum"
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        torch.maximum(u.mul_(group["beta2"]), g.abs() + epsilon if inside else g.abs(), out=u)
        one_minus_power = _one_minus_power_in(group["correction_precision"], w)
        rate = group["lr"] / one_minus_power(beta1, state["step"])
        w.addcdiv_(m, u if inside else u + epsilon, value=-rate)


def radam(
    params: ParamsT,
    learning_rate: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    epsilon_position: str = "outside_root",
    threshold: float = 5.0,
    weight_decay: float = 0.0,
) -> optim.Optimizer:
    """Adam's step times ``r_t``, or ``w <- w - alpha m^`` where ``rho_t <= threshold``; slots of :func:`adam`.

    ``rho = 2/(1 - beta2) - 1``, ``rho_t = rho - 2 t beta2^t/(1 - beta2^t)``, ``r_t = sqrt((rho_t - 4) (rho_t - 2) rho /
    ((rho - 4) (rho - 2) rho_t))``. ``torch.optim.RAdam`` is ``threshold=5`` with epsilon ``"before_correction"``.
    Raises ValueError for a number out of range, an unknown formulation, or a ``beta2`` so small that ``rho <=
    threshold``.
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
    return RAdam(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        epsilon_position=epsilon_position,
        threshold=threshold,
        weight_decay=weight_decay,
    )


class RAdam(_OneByOne):
    """Every formulation of :func:`radam`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        return {"first_moment": 0.0, "second_moment": 0.0}

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
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


def lion(
    params: ParamsT,
    learning_rate: float = 0.0001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
) -> optim.Optimizer:
    """``w <- w - alpha (sign(beta1 m + (1 - beta1) g) + weight_decay w), m <- beta2 m + (1 - beta2) g``.

    Slot ``momentum`` (``m``); ``sign(0) = 0``. PyTorch has none of this name. Raises ValueError for a number out of
    range.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("weight_decay", weight_decay)
    return Lion(
        params,
        lr=learning_rate,
        beta1=beta1,
        beta2=beta2,
        weight_decay=weight_decay,
        decoupled_weight_decay=True,
    )


class Lion(_OneByOne):
    """The formula of :func:`lion`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        return {"momentum": 0.0}

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        beta1, beta2, m = group["beta1"], group["beta2"], state["momentum"]
        w.sub_(group["lr"] * ((beta1 * m + (1 - beta1) * g).sign() + group["weight_decay"] * w))
        m.mul_(beta2).add_(g, alpha=1 - beta2)


def adabelief(
    params: ParamsT,
    learning_rate: float = 0.001,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-16,
) -> optim.Optimizer:
    """``s <- beta2 s + (1 - beta2) (g - m)^2 + epsilon, w <- w - alpha m^ / (sqrt(s^) + epsilon)``.

    Slots ``first_moment`` (``m``), ``belief`` (``s``), corrected as Adam's. PyTorch has none of this name. Raises
    ValueError for a number out of range.
    """
    check_not_negative("learning_rate", learning_rate)
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)
    return AdaBelief(params, lr=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


class AdaBelief(_OneByOne):
    """The formula of :func:`adabelief`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        return {"first_moment": 0.0, "belief": 0.0}

    def update(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        beta1, beta2, epsilon, t = group["beta1"], group["beta2"], group["epsilon"], state["step"]
        m, s = state["first_moment"], state["belief"]
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        s.mul_(beta2).addcmul_(g - m, g - m, value=1 - beta2).add_(epsilon)
        denominator = (s / _one_minus_power(beta2, t)).sqrt() + epsilon
        w.addcdiv_(m, denominator, value=-group["lr"] / _one_minus_power(beta1, t))


def lbfgs(
    params: ParamsT, learning_rate: float = 1.0, *, history: int = 5, first_step: str = "capped"
) -> optim.Optimizer:
    """``w <- w - alpha H g``, ``H`` the inverse Hessian of limited-memory BFGS from the last ``history`` steps.

    Its sums go over all parameters of a group. The first step is ``g / max(1, ||g||_1)`` (``first_step="capped"``) or
    ``g`` (``"gradient"``); a pair of changes ``s``, ``y`` with ``s . y <= 0`` is left out. Slots
    ``previous_parameter``, ``previous_gradient``, ``parameter_change_k`` and ``gradient_change_k`` for ``k = 1``
    (newest) ``.. history``. ``torch.optim.LBFGS`` with ``max_iter=1`` takes the same steps, but drops a pair with
    ``s . y <= 1e-10`` for good, and stops at small gradients. Raises ValueError for a number out of range or an unknown
    formulation.
    """
    check_not_negative("learning_rate", learning_rate)
    check_positive_integer("history", history)
    check_choice("first_step", first_step, ("capped", "gradient"))
    return LBFGS(params, lr=learning_rate, history=history, first_step=first_step)


class LBFGS(_Formulation):
    """Every formulation of :func:`lbfgs`, which checks the arguments and makes it."""

    def initial_slots(self, group: Group) -> dict[str, float]:
        changes = [f"{name}_change_{k}" for name in ("parameter", "gradient") for k in range(1, group["history"] + 1)]
        return dict.fromkeys(("previous_parameter", "previous_gradient", *changes), 0.0)

    def update_group(self, parameters: Sequence[Tensor], group: Group) -> None:
        if not parameters:
            return
        states = [self.state[w] for w in parameters]
        gradients: list[Any] = [w.grad for w in parameters]
        for w, gradient, state in zip(parameters, gradients, states, strict=True):
            self._remember(w, gradient, state, group)
        g = _flat(gradients)
        if states[0]["step"] > 1:
            pairs: list[Any] = [
                tuple(_flat([state[f"{name}_change_{k}"] for state in states]) for name in ("parameter", "gradient"))
                for k in range(1, group["history"] + 1)
            ]
            direction = _inverse_hessian_product(g, pairs)
        else:
            direction = g / max(1.0, g.abs().sum().item()) if group["first_step"] == "capped" else g
        for w, change in zip(parameters, direction.split([w.numel() for w in parameters]), strict=True):
            w.sub_(group["lr"] * change.view_as(w))

    def _remember(self, w: Tensor, g: Tensor, state: State, group: Group) -> None:
        """Move the kept changes on by one step and enter the newest."""
        if state["step"] > 1:
            for k in range(group["history"], 1, -1):
                state[f"parameter_change_{k}"].copy_(state[f"parameter_change_{k - 1}"])
                state[f"gradient_change_{k}"].copy_(state[f"gradient_change_{k - 1}"])
            torch.sub(w, state["previous_parameter"], out=state["parameter_change_1"])
            torch.sub(g, state["previous_gradient"], out=state["gradient_change_1"])
        state["previous_parameter"].copy_(w)
        state["previous_gradient"].copy_(g)


OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    f.__name__: f
    for f in (
        gradient_descent, momentum, rmsprop, adagrad, adadelta, adam, adamw, nadam, adamax, radam, lion,
        adabelief, lbfgs,
    )
}  # fmt: skip


def exponentially_weighted_average(values: Tensor, *, beta: float = 0.9, bias_correction: bool = True) -> Tensor:
    """``v_t = beta v_{t-1} + (1 - beta) x_t`` with ``v_0 = 0``, each divided by ``1 - beta^t`` if ``bias_correction``.

    ``values``: ``(steps, ...)``; the result has their shape and dtype. Raises ValueError unless ``0 <= beta < 1``.
    """
    check_decay("beta", beta)
    check_choice("bias_correction", bias_correction, (False, True))
    averages = torch.empty_like(values)
    average: Any = 0.0
    for t, value in enumerate(values, start=1):
        average = beta * average + (1 - beta) * value
        averages[t - 1] = average / _one_minus_power(beta, t) if bias_correction else average
    return averages


def named_state(optimizer: optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> OptimizerState:
    """A copy of the state under the formulas' slot names, the built-ins' included.

    ``parameters``: ``{name: Parameter}``, all held by ``optimizer``. Before the first step the slots have their initial
    values. ``torch.optim.SGD`` counts no steps: ``step`` is then 0. The slots of an optimizer that this file does not
    make are the tensors in its state, by their own names.
    """
    step, initial = 0, _initial_slots(optimizer)
    slots: Slots = {slot: {} for slot in initial}
    for name, w in parameters.items():
        state = optimizer.state.get(w, {})
        step = int(state.get("step", 0))
        for slot, value in initial.items():
            stored = state.get(_state_key(optimizer, slot))
            slots[slot][name] = torch.full_like(w.detach(), value) if stored is None else stored.detach().clone()
    return OptimizerState(step, slots)


def load_named_state(
    optimizer: optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    step: int,
    slots: Mapping[str, Mapping[str, Any]],
) -> None:
    """The inverse of :func:`named_state`: makes ``optimizer`` continue after ``step`` steps with copies of ``slots``.

    The slots of an optimizer that this file does not make are those that are given. Raises ValueError if a slot of the
    optimizer is not there, or lacks a parameter or has another shape, or if ``step`` is no integer >= 0.
    """
    if _is_known(optimizer):
        expected = {slot: {n: tuple(w.shape) for n, w in parameters.items()} for slot in _initial_slots(optimizer)}
    else:  # a slot of theirs may have any shape
        expected = {
            slot: {n: tuple(arrays[n].shape) if n in arrays else tuple(w.shape) for n, w in parameters.items()}
            for slot, arrays in slots.items()
        }
    check_optimizer_state(step, slots, expected)
    reset_state(optimizer)
    for w, name, group in _held(optimizer, parameters):
        state = optimizer.state[w]
        state.update(_step_count(optimizer, step, w, group))
        # Its first step, in which SGD takes g whole however it is dampened, it knows by having no velocity.
        if not (isinstance(optimizer, optim.SGD) and group["dampening"] and step == 0):
            for slot in expected:
                state[_state_key(optimizer, slot)] = _as_state(optimizer, slots[slot][name], w)


def reset_state(optimizer: optim.Optimizer) -> None:
    """Make ``optimizer`` forget all its steps; its groups, and the rates in them, stay as they are."""
    optimizer.state.clear()
    if isinstance(optimizer, optim.Adagrad):  # which alone fills its state when it is made, and needs it
        start = optimizer.defaults["initial_accumulator_value"]
        groups = [dict(group) for group in optimizer.param_groups]
        optimizer.state.update(optim.Adagrad(groups, initial_accumulator_value=start).state)


def computes_on_device(optimizer: optim.Optimizer) -> bool:
    """Whether a step is of tensors and of numbers that never change, so that a graph of it is right at every step.

    It is for the fused built-ins, which count their steps in a tensor; the others, and the classes here, count in
    Python. Hooks of somebody else's, which a graph would not call, and a rate in a tensor are reasons against it.
    """
    hooks = [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]
    groups = optimizer.param_groups
    return (
        type(optimizer) in (optim.SGD, optim.Adam)
        and all(group["fused"] and not torch.is_tensor(group["lr"]) for group in groups)
        and all(hook is _lay_out for hook in hooks)
    )


@contextmanager
def capturable(optimizer: optim.Optimizer) -> Iterator[None]:
    """Within this the optimizer takes a step in a graph, which PyTorch refuses to one that is not made for it alone."""
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(groups, before, strict=True):
            group["capturable"] = value


_BUILT_IN = (optim.SGD, optim.RMSprop, optim.Adagrad, optim.Adadelta, optim.Adam, optim.Adamax)


def _is_known(optimizer: optim.Optimizer) -> bool:
    """Whether it is an optimizer of this file, or a built-in that this file returns."""
    return isinstance(optimizer, (_Formulation, *_BUILT_IN))


def _initial_slots(optimizer: optim.Optimizer) -> dict[str, float]:
    """The slots with their initial values; of an optimizer that this file does not make, those that it has by now."""
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
        states = [state.items() for state in optimizer.state.values()]
        keys = [key for items in states for key, value in items if key != "step" and torch.is_tensor(value)]
        return dict.fromkeys(keys, 0.0)
    return {SLOT_NAMES[key]: 0.0 for key in keys}


def _state_key(optimizer: optim.Optimizer, slot: str) -> str:
    """The key of ``optimizer.state[w]`` under which ``slot`` is kept."""
    if not isinstance(optimizer, _BUILT_IN):
        return slot
    return next(key for key, name in SLOT_NAMES.items() if name == slot)


def _held(
    optimizer: optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> Iterator[tuple[nn.Parameter, str, Group]]:
    """Each of ``parameters`` that ``optimizer`` holds, with its name and its group."""
    names = {id(w): name for name, w in parameters.items()}
    for group in optimizer.param_groups:
        for w in group["params"]:
            if id(w) in names:
                yield w, names[id(w)], group


def _step_count(optimizer: optim.Optimizer, step: int, w: Tensor, group: Group) -> State:
    """The step as the optimizer keeps it for ``w``; SGD keeps none."""
    if isinstance(optimizer, optim.SGD):
        return {}
    if isinstance(optimizer, _Formulation):
        return {"step": step}
    if group.get("fused") or group.get("capturable"):
        return {"step": torch.tensor(float(step), dtype=torch.float32, device=w.device)}
    return {"step": torch.tensor(float(step))}


def _as_state(optimizer: optim.Optimizer, array: Any, w: Tensor) -> Tensor:
    """A copy of ``array`` where ``w`` is, and with its layout and dtype unless it is none of this file's slots."""
    if _is_known(optimizer):
        return torch.empty_like(w.detach()).copy_(torch.as_tensor(array))
    return torch.as_tensor(array).to(w.device, copy=True)


def _laid_out(optimizer: Maker) -> Maker:
    """A fused built-in that is right whatever the strides; see the top of this file."""
    for group in optimizer.param_groups:
        if any(torch.empty_like(w, device="meta").stride() != w.stride() for w in group["params"]):
            group["fused"] = False
    optimizer.register_step_pre_hook(_lay_out)
    return optimizer


def _lay_out(optimizer: optim.Optimizer, arguments: Any, keywords: dict[str, Any]) -> Any:
    """Before a step: gradients get their weights' layout, and so do those that a closure will make."""
    _lay_out_gradients(optimizer)
    closure = keywords.get("closure", arguments[1] if len(arguments) > 1 else None)
    if closure is None:
        return None

    def closure_then_layout() -> Any:
        loss = closure()
        _lay_out_gradients(optimizer)
        return loss

    return (arguments[0], closure_then_layout), {}


def _lay_out_gradients(optimizer: optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for w in group["params"]:
            if w.grad is not None and w.grad.stride() != w.stride():
                w.grad = torch.empty_like(w.detach()).copy_(w.grad)


def _with_decay(direction: Tensor, w: Tensor, group: Group, inside: bool = False) -> Tensor:
    """``d + weight_decay w`` if the decay is decoupled; ``inside``: ``d`` has the rate in it, and so has the decay."""
    if not (group["weight_decay"] and group["decoupled_weight_decay"]):
        return direction
    return direction + (group["lr"] * group["weight_decay"] if inside else group["weight_decay"]) * w


def _rectification(beta2: float, t: int, threshold: float) -> float | None:
    """RAdam's ``r``, or None where ``rho_t`` is not above ``threshold``; in double precision, as ``rho_t`` cancels."""
    rho = 2 / (1 - beta2) - 1
    rho_t = rho - 2 * t * beta2**t / _one_minus_power(beta2, t)
    if not rho_t > threshold:
        return None
    return math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))


def _inverse_hessian_product(g: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """L-BFGS's two loops: an approximate inverse Hessian times ``g``; ``pairs`` ``(s, y)`` from newest to oldest."""
    curvatures = [_dot(s, y) for s, y in pairs]
    q = g.clone()
    weights: list[float] = []
    for (s, y), curvature in zip(pairs, curvatures, strict=True):
        weights.append(_dot(s, q) / curvature if curvature > 0 else 0.0)
        q.sub_(weights[-1] * y)
    newest = pairs[0][1]
    r = curvatures[0] / _dot(newest, newest) * q if curvatures[0] > 0 else q
    for (s, y), curvature, weight in reversed(list(zip(pairs, curvatures, weights, strict=True))):
        if curvature > 0:
            r.add_((weight - _dot(y, r) / curvature) * s)
    return r


def _dot(a: Tensor, b: Tensor) -> float:
    """``a . b`` as a number. ``sum`` adds in pairs; ``torch.dot`` loses digits over many elements."""
    return (a * b).sum().item()


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _one_minus_power(beta: float, t: int) -> float:
    """``1 - beta^t`` without the cancellation of the subtraction, which the built-ins accept: 1e-13 in float64."""
    return -math.expm1(t * math.log(beta)) if beta > 0 else 1.0


def _one_minus_power_in(precision: str, w: Tensor) -> Callable[[float, int], float]:
    """``1 - beta^t`` as a function of ``beta`` and ``t`` in one of ``PRECISIONS``; that of ``w`` is the working one."""
    if precision == "exact":
        return _one_minus_power
    dtype = torch.float32 if precision == "float32" else w.dtype
    return lambda beta, t: 1 - _rounded(_rounded(beta, dtype) ** t, w.dtype)


def _rounded(number: float, dtype: torch.dtype) -> float:
    return torch.tensor(number, dtype=dtype, device="cpu").item()


def _check_adam(
    beta1: float, beta2: float, epsilon: float, epsilon_position: str, amsgrad: str | None, correction_precision: str
) -> None:
    check_decay("beta1", beta1)
    check_decay("beta2", beta2)
    check_not_negative("epsilon", epsilon)
    check_choice("epsilon_position", epsilon_position, ("outside_root", "inside_root", "before_correction"))
    check_choice("amsgrad", amsgrad, (None, "raw_max", "corrected_max", "uncorrected"))
    check_choice("correction_precision", correction_precision, PRECISIONS)


def _check_decay(weight_decay: float, decoupled: bool) -> None:
    check_not_negative("weight_decay", weight_decay)
    check_choice("decoupled_weight_decay", decoupled, (False, True))


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
