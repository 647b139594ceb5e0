"""Which of ``torch.optim``'s built-ins are the formulations of ``impl_torch``, and which are dialects of their own."""

import pytest
import torch
from torch import nn, optim

from impl_torch import optimizers


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# Bounds are in units of roundoff. A path has fifty steps of a handful of roundings each, that partly cancel.
UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24}
PATH = 32
PRODUCTS = 1024  # NAdam's product of fifty momenta, in front of a difference from 1
ONE_STEP = 64


def path(make, *, steps=50, rate=lambda t: 0.01, dtype=torch.float64, scale=1.0):
    """The parameter, ``(steps, 8)``, that an optimizer made by ``make`` moves through gradients of all sizes, 0 too."""
    parameter = nn.Parameter(torch.linspace(-1, 1, 8, dtype=dtype))
    optimizer, generator, positions = make([parameter]), seeded(2), []
    for t in range(steps):
        size = scale * (1.0, 0.1, 0.0, 1e-10, 1.0, 1e10, 0.0, 3.0)[t % 8]
        parameter.grad = size * torch.randn(8, generator=generator, dtype=dtype)
        for group in optimizer.param_groups:
            group["lr"] = rate(t) * group.get("rate_factor", 1.0)
        optimizer.step()
        positions.append(parameter.detach().clone())
    return torch.stack(positions)


def distance(one, other):
    """Largest difference, relative to the size of the vector at that step."""
    return ((one - other).abs().amax(dim=1) / one.abs().amax(dim=1)).max().item()


def decaying(t):
    return 0.01 / (1 + t)


def average_by_sum(params):
    """The average form, as PyTorch's sum with ``alpha (1 - beta)``."""
    return optim.SGD([{"params": params, "rate_factor": 1 - 0.9}], momentum=0.9)


def formula_momentum(params, accumulation="sum", nesterov=False, dampening=0.0):
    return optimizers.Momentum(
        params,
        lr=0.01,
        beta=0.9,
        accumulation=accumulation,
        bias_correction=False,
        nesterov=nesterov,
        learning_rate_position="outside",
        dampening=dampening,
    )


def formula_rmsprop(params, momentum=0.0):
    return optimizers.RMSprop(
        params,
        lr=0.01,
        beta=0.9,
        epsilon=1e-8,
        epsilon_position="outside_root",
        centered=False,
        momentum=momentum,
        initial_square=0.0,
        bias_correction=False,
        learning_rate_position="outside",
    )


def formula_adam(params, amsgrad=None):
    options = {"epsilon": 1e-8, "epsilon_position": "outside_root", "correction_precision": "exact"}
    return optimizers.Adam(params, lr=0.01, beta1=0.9, beta2=0.999, amsgrad=amsgrad, **options)


def formula_adagrad(params, initial_accumulator=0.0):
    options = {"epsilon": 1e-8, "epsilon_position": "outside_root", "initial_accumulator": initial_accumulator}
    return optimizers.Adagrad(params, lr=0.01, **options)


def formula_adamax(params):
    options = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "epsilon_position": "inside_maximum"}
    options["correction_precision"] = "exact"
    return optimizers.Adamax(params, lr=0.01, **options)


# Each formula as impl_torch writes it out, beside the built-in that its factory returns or that is said to equal it.
EQUAL = {
    "momentum as a sum": (formula_momentum, lambda p: optimizers.momentum(p, accumulation="sum")),
    "Nesterov as a sum": (
        lambda p: formula_momentum(p, nesterov=True),
        lambda p: optimizers.momentum(p, accumulation="sum", nesterov=True),
    ),
    "momentum, dampened": (
        lambda p: formula_momentum(p, dampening=0.3),
        lambda p: optimizers.momentum(p, accumulation="sum", dampening=0.3),
    ),
    "momentum as an average": (lambda p: formula_momentum(p, "average"), average_by_sum),
    "RMSprop": (formula_rmsprop, lambda p: optimizers.rmsprop(p)),
    "RMSprop with momentum": (lambda p: formula_rmsprop(p, 0.9), lambda p: optimizers.rmsprop(p, momentum=0.9)),
    "Adam": (formula_adam, lambda p: optimizers.adam(p)),
    "AMSGrad": (lambda p: formula_adam(p, "raw_max"), lambda p: optimizers.adam(p, amsgrad="raw_max")),
}

UNEQUAL = {
    "dampening is not the average": (
        lambda p: optimizers.momentum(p),
        lambda p: optim.SGD(p, momentum=0.9, dampening=0.9),
    ),
    "RMSprop's default decay is 0.99": (lambda p: optimizers.rmsprop(p), lambda p: optim.RMSprop(p)),
    "epsilon inside the root": (
        lambda p: optimizers.rmsprop(p, epsilon_position="inside_root"),
        lambda p: optim.RMSprop(p, alpha=0.9),
    ),
    "AMSGrad's maximum is of the raw moment": (
        lambda p: optimizers.adam(p, amsgrad="corrected_max"),
        lambda p: optim.Adam(p, amsgrad=True),
    ),
    "AdamW by the schedule alone": (
        lambda p: optimizers.adamw(p, 0.5, decay_scale="schedule_only"),
        lambda p: optim.AdamW(p),
    ),
    "Adagrad with epsilon inside": (
        lambda p: optimizers.adagrad(p, epsilon_position="inside_root"),
        lambda p: optim.Adagrad(p, eps=1e-8),
    ),
    "NAdam with a constant momentum": (lambda p: optimizers.nadam(p, schedule="constant"), lambda p: optim.NAdam(p)),
    "epsilon-hat": (lambda p: optimizers.adam(p, epsilon_position="before_correction"), lambda p: optim.Adam(p)),
}


@pytest.mark.parametrize("rate", [lambda t: 0.01, decaying], ids=["constant rate", "scheduled rate"])
@pytest.mark.parametrize(("formula", "built_in"), EQUAL.values(), ids=EQUAL)
def test_the_built_in_is_the_formula(formula, built_in, rate):
    assert distance(path(formula, rate=rate), path(built_in, rate=rate)) < PATH * UNIT[torch.float64]


@pytest.mark.parametrize(("formula", "built_in"), EQUAL.values(), ids=EQUAL)
def test_the_built_in_is_the_formula_in_float32_too(formula, built_in):
    paths = [path(make, dtype=torch.float32) for make in (formula, built_in)]
    assert distance(*paths) < PATH * UNIT[torch.float32]


@pytest.mark.parametrize(("formula", "built_in"), UNEQUAL.values(), ids=UNEQUAL)
def test_another_formulation_is_another_path(formula, built_in):
    # The place of epsilon shows where gradients are as small as epsilon.
    gaps = [distance(path(formula, scale=scale), path(built_in, scale=scale)) for scale in (1.0, 1e-9)]
    assert max(gaps) > 1e-3


def test_the_factories_return_built_ins_exactly_where_they_are_the_formulation():
    params = [nn.Parameter(torch.ones(2))]
    built_ins = (
        (optim.SGD, optimizers.gradient_descent(params)),
        (optim.SGD, optimizers.momentum(params, accumulation="sum")),
        (optim.RMSprop, optimizers.rmsprop(params)),
        (optim.Adam, optimizers.adam(params)),
        (optim.Adagrad, optimizers.adagrad(params)),
        (optim.Adadelta, optimizers.adadelta(params)),
        (optim.Adamax, optimizers.adamax(params)),
        (optimizers.Adagrad, optimizers.adagrad(params, epsilon_position="inside_root")),
        (optimizers.Adamax, optimizers.adamax(params, epsilon_position="outside")),
        (optimizers.AdamW, optimizers.adamw(params)),
        (optimizers.Momentum, optimizers.momentum(params)),
        (optimizers.Momentum, optimizers.momentum(params, beta=0.0, accumulation="sum")),
        (optimizers.RMSprop, optimizers.rmsprop(params, centered=True)),
        (optimizers.Adam, optimizers.adam(params, amsgrad="uncorrected")),
    )
    assert [type(optimizer) for _, optimizer in built_ins] == [expected for expected, _ in built_ins]


def test_centred_rmsprop_never_meets_a_negative_variance():
    def positions(make):
        parameter = nn.Parameter(torch.zeros(1000))
        gradient = torch.randn(1000, generator=seeded())
        optimizer = make([parameter])
        for _ in range(600):
            parameter.grad = gradient
            optimizer.step()
        return parameter.detach()

    assert positions(lambda p: optimizers.rmsprop(p, centered=True)).isfinite().all()
    assert positions(lambda p: optim.RMSprop(p, alpha=0.9, centered=True)).isnan().any()


@pytest.mark.parametrize("amsgrad", [None, "raw_max", "corrected_max"])
@pytest.mark.parametrize("epsilon_position", ["outside_root", "inside_root", "before_correction"])
def test_the_first_step_of_a_corrected_adam_is_the_learning_rate(epsilon_position, amsgrad):
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = optimizers.adam([parameter], 0.5, epsilon=0.0, epsilon_position=epsilon_position, amsgrad=amsgrad)
    parameter.grad = torch.tensor([3.0, -1e-4], dtype=torch.float64)
    optimizer.step()
    expected = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    torch.testing.assert_close(parameter.detach(), expected, rtol=ONE_STEP * UNIT[torch.float64], atol=0)


def test_bias_corrections_keep_double_precision_in_float32():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = optimizers.adam([parameter], 1.0, epsilon=0.0, epsilon_position="before_correction")
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert abs(parameter.item() + 1) < 5 * UNIT[torch.float32]  # with 1 - float32(0.999) it would be 1e-5


def test_adamw_decays_by_the_rate_that_was_asked_for_in_float32_where_the_built_in_rounds_its_factor():
    rate, decay, steps = 1e-3, 0.01, 2000
    relative = []
    for make in (
        lambda p: optimizers.adamw(p, rate, weight_decay=decay),
        lambda p: optim.AdamW(p, lr=rate, weight_decay=decay),
    ):
        parameter = nn.Parameter(torch.linspace(1, 2, 1000))
        optimizer = make([parameter])
        parameter.grad = torch.zeros_like(parameter)  # nothing but decay
        for _ in range(steps):
            optimizer.step()
        shrunk = (parameter.detach().double() / torch.linspace(1, 2, 1000).double()).mean().item()
        relative.append(abs((1 - shrunk) / (1 - (1 - rate * decay) ** steps) - 1))
    # The formula's roundings differ from weight to weight; the built-in's factor 1 - 1e-5 is off by 1.4e-8 for all.
    assert relative[0] < 3e-4 < 1e-3 < relative[1]


def test_nadam_keeps_its_product_in_the_dtype_of_the_parameters():
    ours, built_in = (
        path(lambda p: optimizers.nadam(p)),
        path(lambda p: optim.NAdam(p)),
    )
    assert 1e-11 < distance(ours, built_in) < 1e-5  # the built-in's product is in float32, the default dtype
    torch.set_default_dtype(torch.float64)
    try:
        assert distance(ours, path(lambda p: optim.NAdam(p))) < PRODUCTS * UNIT[torch.float64]
    finally:
        torch.set_default_dtype(torch.float32)


EPSILON_OUTSIDE = {
    "Adamax": (
        lambda p: optimizers.adamax(p, 0.01, beta2=0.5, epsilon_position="outside"),
        lambda p: optim.Adamax(p, lr=0.01, betas=(0.9, 0.5)),
    ),
    "RAdam": (lambda p: optimizers.radam(p, 0.01), lambda p: optim.RAdam(p, lr=0.01)),
}


@pytest.mark.parametrize(("formula", "built_in"), EPSILON_OUTSIDE.values(), ids=EPSILON_OUTSIDE)
def test_the_place_of_epsilon_shows_where_gradients_are_as_small(formula, built_in):
    ends = []
    for make in (formula, built_in):
        parameter = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = make([parameter])
        for t in range(30):
            parameter.grad = torch.tensor([1e-8 * (t % 5 == 0)], dtype=torch.float64)
            optimizer.step()
        ends.append(parameter.item())
    assert abs(ends[0] / ends[1] - 1) > 0.02
