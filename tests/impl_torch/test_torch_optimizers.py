"""Every formulation of every optimizer of ``impl_torch`` beside the reference, one step at a time from its state."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim

from impl_torch import optimizers
from reference_numpy import optimizers as reference

dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])

FORMULATIONS = [
    ("gradient_descent", {}),
    ("momentum", {}),
    ("momentum", {"nesterov": True, "learning_rate_position": "inside", "bias_correction": True}),
    ("momentum", {"accumulation": "sum", "dampening": 0.3, "weight_decay": 0.1}),
    ("momentum", {"accumulation": "sum", "dampening": 0.3, "learning_rate_position": "inside"}),
    ("momentum", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("momentum", {"weight_decay": 0.1, "decoupled_weight_decay": True, "learning_rate_position": "inside"}),
    ("gradient_descent", {"weight_decay": 0.1}),
    ("rmsprop", {"weight_decay": 0.1}),
    ("rmsprop", {"momentum": 0.5, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("rmsprop", {"momentum": 0.5, "weight_decay": 0.1, "decoupled_weight_decay": True,
                 "learning_rate_position": "inside"}),
    ("adagrad", {"weight_decay": 0.1}),
    ("adagrad", {"weight_decay": 0.1, "epsilon_position": "inside_root"}),
    ("adadelta", {"weight_decay": 0.1}),
    ("adadelta", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("adam", {"weight_decay": 0.1}),
    ("adam", {"weight_decay": 0.1, "epsilon_position": "before_correction"}),
    ("nadam", {"weight_decay": 0.1}),
    ("adamax", {"weight_decay": 0.1}),
    ("radam", {"weight_decay": 0.1}),
    ("rmsprop", {"centered": True, "momentum": 0.5}),
    ("adagrad", {}),
    ("adagrad", {"initial_accumulator": 0.1, "epsilon": 1e-3}),
    ("adagrad", {"epsilon_position": "inside_root", "epsilon": 1e-3}),
    ("adadelta", {}),
    ("adadelta", {"rho": 0.5, "epsilon": 1e-3}),
    ("adam", {"amsgrad": "corrected_max"}),
    ("adamw", {}),
    ("adamw", {"decay_scale": "schedule_only", "weight_decay": 0.2, "amsgrad": "uncorrected"}),
    ("adamw", {"epsilon_position": "before_correction"}),
    ("nadam", {}),
    ("nadam", {"schedule": "constant"}),
    ("nadam", {"momentum_decay": 1.0, "beta1": 0.5}),
    ("adamax", {}),
    ("adamax", {"epsilon_position": "outside", "epsilon": 1e-3}),
    ("radam", {}),
    ("radam", {"threshold": 4, "epsilon_position": "before_correction", "epsilon": 1e-3}),
    ("radam", {"beta2": 0.8}),
    ("lion", {}),
    ("lion", {"weight_decay": 0.1, "beta1": 0.5}),
]  # fmt: skip
LBFGS = [{}, {"history": 2}, {"first_step": "gradient", "history": 3}]
names = ("W1", "b1")


def teacher_forced(name, options, gradients, dtype, rate, start):
    """Both results of each step from the reference's state: ``(step, before, expected, found)``, each with slots."""
    theirs = reference.OPTIMIZERS[name](0.1, **options)
    parameters = {key: array.astype(dtype) for key, array in start.items()}
    state = theirs.init(parameters)
    held = {key: nn.Parameter(torch.tensor(array)) for key, array in parameters.items()}
    ours = optimizers.OPTIMIZERS[name](held.values(), 0.1, **options)
    for t, gradient in enumerate(gradients):
        g = {key: array.astype(dtype) for key, array in gradient(parameters).items()}
        slots = {slot: {key: torch.tensor(a) for key, a in arrays.items()} for slot, arrays in state.slots.items()}
        optimizers.load_named_state(ours, held, state.step, slots)
        ours.param_groups[0]["lr"] = rate(t)
        for key, w in held.items():
            w.data.copy_(torch.tensor(parameters[key]))
            w.grad = torch.tensor(g[key])
        ours.step()
        before = parameters, state.slots, g
        parameters, state = theirs.update(g, state, parameters, learning_rate=rate(t))
        yield t, before, (parameters, state.slots), (held, optimizers.named_state(ours, held)[1])


def start_and_gradients(seed, steps=12):
    """Gradients of all sizes from 0 to 3, none so large beside the others that an average would hide the rest."""
    generator = np.random.default_rng(seed)
    draw = lambda: {"W1": generator.standard_normal((3, 2)), "b1": generator.standard_normal(2)}  # noqa: E731
    sizes = (0.0, 1.0, 0.1, 1e-4, 3.0, 0.0, 1.0)
    drawn = [{key: sizes[t % 7] * g for key, g in draw().items()} for t in range(steps)]
    return draw(), [lambda parameters, g=g: g for g in drawn]


def reference_step(name, options, step, rate):
    """The reference's step as a function of parameters, gradients and slots."""
    optimizer = reference.OPTIMIZERS[name](0.1, **options)

    def after(parameters, gradients, slots):
        state = reference.OptimizerState(step, slots)
        updated, state = optimizer.update(gradients, state, parameters, learning_rate=rate)
        return {"parameters": updated, "slots": state.slots}

    return after


def assert_steps_agree(agrees, name, options, gradients, dtype, rate, start):
    for t, (w, slots, g), _, (found, found_slots) in teacher_forced(name, options, gradients, dtype, rate, start):
        observed = {
            "parameters": {key: array.detach().numpy() for key, array in found.items()},
            "slots": {slot: {key: a.numpy() for key, a in arrays.items()} for slot, arrays in found_slots.items()},
        }
        agrees(observed, reference_step(name, options, t, rate(t)), w, g, slots, dtype=dtype)


@dtypes
@pytest.mark.parametrize(("name", "options"), FORMULATIONS, ids=str)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=3, deadline=None)
def test_a_step_is_the_reference_s(agrees, name, options, dtype, seed):
    start, gradients = start_and_gradients(seed)
    assert_steps_agree(agrees, name, options, gradients, dtype, lambda t: 0.1 / (1 + t), start)


@dtypes
@pytest.mark.parametrize("curvatures", [(1.0, 4.0), (-2.0, 4.0)], ids=["convex", "saddle"])
@pytest.mark.parametrize("options", LBFGS, ids=str)
def test_a_step_of_lbfgs_is_the_reference_s(agrees, options, curvatures, dtype):
    generator = np.random.default_rng(3)
    start = {"W1": generator.standard_normal((3, 2)), "b1": generator.standard_normal(2)}
    hessian = {key: generator.uniform(*curvatures, array.shape) for key, array in start.items()}
    gradients = [lambda parameters: {key: hessian[key] * parameters[key] for key in names}] * 9
    rate = lambda t: 0.3  # noqa: E731
    assert_steps_agree(agrees, "lbfgs", options, gradients, dtype, rate, start)
    for t, _, (_, expected), (_, found) in teacher_forced("lbfgs", options, gradients, dtype, rate, start):
        assert found.keys() == expected.keys()
        for slot, arrays in expected.items():  # differences of equal numbers: nothing to round
            assert all(np.array_equal(found[slot][key].numpy(), arrays[key]) for key in names), (t, slot)


BUILT_IN_PATH = 512  # ten steps of sums of six products, each step from the one before
IN_TWO_ORDERS = 64  # sums of two products, in five steps


def test_lbfgs_is_pytorch_s_with_one_iteration():
    hessian = torch.linspace(1, 5, 6, dtype=torch.float64)
    paths = []
    for make in (
        lambda p: optimizers.lbfgs(p, 0.5, history=4),
        lambda p: optim.LBFGS(p, lr=0.5, max_iter=1, history_size=4, tolerance_grad=0, tolerance_change=0),
    ):
        w = nn.Parameter(torch.ones(6, dtype=torch.float64))
        optimizer = make([w])

        def closure(w=w, optimizer=optimizer):
            optimizer.zero_grad()
            cost = (hessian * w * w).sum() / 2
            cost.backward()
            return cost

        steps = []
        for _ in range(10):
            optimizer.step(closure)
            steps.append(w.detach().clone())
        paths.append(torch.stack(steps))
    torch.testing.assert_close(*paths, rtol=0, atol=BUILT_IN_PATH * 2.0**-53)
    assert (paths[0][-1].abs() < 0.1).all()


def test_lbfgs_takes_its_sums_over_all_parameters():
    hessian = torch.tensor([1.0, 3.0], dtype=torch.float64)
    together = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    apart = [nn.Parameter(torch.tensor([value], dtype=torch.float64)) for value in (2.0, -1.0)]
    one, several = optimizers.lbfgs([together], 0.5), optimizers.lbfgs(apart, 0.5)
    for _ in range(5):
        together.grad = hessian * together.detach()
        for w, h in zip(apart, hessian, strict=True):
            w.grad = h * w.detach()
        one.step()
        several.step()
    torch.testing.assert_close(
        torch.cat([w.detach() for w in apart]), together.detach(), rtol=IN_TWO_ORDERS * 2.0**-53, atol=0
    )


@pytest.mark.parametrize("beta2", [0.9, 0.999, 0.999999])
def test_the_rectification_is_that_of_exact_arithmetic(beta2):
    exact_beta = Fraction(beta2)
    rho = 2 / (1 - exact_beta) - 1
    for t in (1, 4, 5, 6, 7, 20, 50):
        power = exact_beta**t
        rho_t = rho - 2 * t * power / (1 - power)
        found = optimizers._rectification(beta2, t, 5)
        assert (found is not None) == (rho_t > 5)
        if found is not None:
            exact = float((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t)) ** 0.5
            # rho_t is a difference of two numbers of the size rho; r inherits its error through rho_t - 4.
            allowed = 16 * 2.0**-53 * float(rho) / float(rho_t - 4)
            assert abs(found / exact - 1) <= allowed
            assert allowed < 1e-6


@dtypes
@pytest.mark.parametrize("bias_correction", [True, False])
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 8))
@settings(max_examples=10, deadline=None)
def test_an_exponentially_weighted_average_is_the_reference_s(agrees, bias_correction, dtype, seed, steps):
    values = np.random.default_rng(seed).standard_normal((steps, 3)).astype(dtype)
    options = {"beta": 0.98, "bias_correction": bias_correction}
    found = optimizers.exponentially_weighted_average(torch.tensor(values), **options).numpy()
    agrees(found, reference.exponentially_weighted_average, values, dtype=dtype, **options)
