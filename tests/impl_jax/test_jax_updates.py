"""Every formulation of an optimizer beside the reference, step by step, and the scalars of some alone."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reference_numpy.optimizers as reference
from impl_jax import optimizers

ROUNDOFF = 2.0**-24  # of float32
DECAYING = ("gradient_descent", "momentum", "rmsprop", "adagrad", "adadelta", "adam", "nadam", "adamax", "radam")
CASES = [
    *((name, {}) for name in optimizers.OPTIMIZERS),
    ("momentum", {"nesterov": True, "bias_correction": True}), ("rmsprop", {"centered": True, "momentum": 0.9}),
    ("adagrad", {"epsilon_position": "inside_root", "initial_accumulator": 0.1}),
    ("adamw", {"decay_scale": "schedule_only", "weight_decay": 0.1, "amsgrad": "raw_max"}),
    ("adamw", {"epsilon_position": "before_correction", "amsgrad": "corrected_max"}),
    ("nadam", {"schedule": "constant"}), ("nadam", {"momentum_decay": 1.0, "beta1": 0.99}),
    ("adamax", {"epsilon_position": "outside"}), ("radam", {"threshold": 4, "epsilon_position": "before_correction"}),
    ("radam", {"beta2": 0.9}), ("lion", {"weight_decay": 0.1}),
    *((name, {"weight_decay": 0.1}) for name in DECAYING),
    *((name, {"weight_decay": 0.1, "decoupled_weight_decay": True}) for name in ("momentum", "rmsprop", "adadelta")),
    ("momentum", {"weight_decay": 0.1, "decoupled_weight_decay": True, "learning_rate_position": "inside"}),
    ("rmsprop", {"weight_decay": 0.1, "decoupled_weight_decay": True, "momentum": 0.9}),
    ("momentum", {"dampening": 0.3, "accumulation": "sum"}), ("lbfgs", {"history": 2, "first_step": "gradient"}),
]  # fmt: skip


def start():
    generator = np.random.default_rng(0)
    return {"W1": generator.standard_normal((2, 3)), "b1": generator.standard_normal(2)}


def gradients_of(name, parameters, step):
    """Of a convex quadratic for L-BFGS, which needs one; else free, with zeros and bursts among them."""
    if name == "lbfgs":
        return {n: w * np.linspace(0.5, 2.0, w.size).reshape(w.shape) for n, w in parameters.items()}
    generator = np.random.default_rng(step)
    scale = {3: 0.0, 5: 1e-8, 9: 1e6}.get(step, 1.0)
    return {n: scale * generator.standard_normal(w.shape) for n, w in parameters.items()}


def in_dtype(tree, dtype):
    return jax.tree.map(lambda a: np.asarray(a, dtype), tree)


def compiled(optimizer):
    @jax.jit
    def step(gradients, state, parameters, learning_rate):
        updates, state = optimizer.update(gradients, state, parameters, learning_rate=learning_rate)
        return optax.apply_updates(parameters, updates), state

    return step


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_of_every_formulation_is_that_of_the_reference(agrees, name, options, dtype):
    ours, theirs = optimizers.OPTIMIZERS[name](0.05, **options), reference.OPTIMIZERS[name](0.05, **options)
    step = compiled(ours)
    for number in (1, 2, 5, 6, 9, 1000):
        parameters, slots = _visited(name, theirs, number, dtype)
        gradients = in_dtype(gradients_of(name, parameters, number), dtype)
        state = optimizers.OptimizerState(np.int32(number - 1), slots)
        moved, state = step(gradients, state, parameters, 0.05 / number)

        def expected(gradients, slots, parameters, number=number):
            state = reference.OptimizerState(number - 1, slots)
            return theirs.update(gradients, state, parameters, learning_rate=0.05 / number)

        assert int(state.step) == number
        agrees(
            (moved, state.slots), lambda *given: _without_step(expected(*given)), gradients, slots, parameters,
            dtype=dtype.name,
        )  # fmt: skip


def _without_step(result):
    parameters, state = result
    return parameters, state.slots


def _visited(name, optimizer, step, dtype):
    """Parameters and slots of the reference before ``step``, rounded to ``dtype``; a late one after 30 steps."""
    parameters = in_dtype(start(), dtype)
    state = optimizer.init(in_dtype(parameters, np.float64))
    visited = in_dtype(parameters, np.float64)
    for t in range(1, min(step, 30)):
        visited, state = optimizer.update(gradients_of(name, visited, 100 + t), state, visited, learning_rate=0.05)
    return in_dtype(visited, dtype), in_dtype(state.slots, dtype)


def exact_rectification(beta2, t):
    """RAdam's ``r_t`` in rational arithmetic but for the root."""
    beta2 = Fraction(beta2)
    rho = 2 / (1 - beta2) - 1
    rho_t = rho - 2 * t * beta2**t / (1 - beta2**t)
    return math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t)), rho_t


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999, 0.9999])
def test_the_rectification_of_radam_keeps_its_digits_in_single_precision(beta2, single_precision):
    rectification = jax.jit(lambda t: optimizers._rectification(beta2, t))
    steps = [t for t in (5, 6, 7, 10, 30, 100, 400, 1000) if exact_rectification(beta2, t)[1] > 4]
    for t in steps:
        exact, rho_t = exact_rectification(beta2, t)
        rho_t = float(rho_t)
        # Six roundings of rho_t, the condition of the root of (rho_t - 4)(rho_t - 2) / rho_t, and four more.
        condition = 0.5 * (rho_t / (rho_t - 4) + rho_t / (rho_t - 2) + 1)
        assert float(rectification(jnp.float32(t))) == pytest.approx(exact, rel=(6 * condition + 4) * ROUNDOFF)
    assert len(steps) >= 6


@pytest.mark.parametrize("threshold", [4, 5])
@pytest.mark.parametrize("beta2", [0.7, 0.9, 0.99, 0.999, 0.9999])
def test_the_first_rectified_step_is_the_exact_one(beta2, threshold):
    if 2 / (1 - beta2) - 1 > threshold:
        first = optimizers._first_rectified_step(beta2, threshold)
        assert exact_rectification_is_due(beta2, first, threshold)
        assert not exact_rectification_is_due(beta2, first - 1, threshold)


def exact_rectification_is_due(beta2, t, threshold):
    beta2 = Fraction(beta2)
    return 2 / (1 - beta2) - 1 - 2 * t * beta2**t / (1 - beta2**t) > threshold


def test_the_rectification_of_optax_loses_digits_that_ours_keeps(single_precision):
    """A step of RAdam from zero moments, as a multiple of the rate, with a gradient that epsilon does not touch."""
    errors = {}
    for name, optimizer in (("ours", optimizers.radam(1.0)), ("optax", optax.radam(1.0))):
        state, g = optimizer.init(jnp.zeros(())), jnp.float32(1.0)
        for _ in range(6):
            update, state = optimizer.update(g, state, jnp.zeros(()))
        errors[name] = abs(-float(update) / exact_rectification(0.999, 6)[0] - 1)
    # Six roundings of rho_6, of which r_6 has the condition 2.8, and a few more; optax's rho_6 has four digits.
    assert errors["ours"] < 32 * ROUNDOFF
    assert errors["optax"] > 160 * ROUNDOFF


@pytest.mark.parametrize(("beta", "bias_correction"), [(0.9, True), (0.98, False), (0.0, True)])
def test_an_exponentially_weighted_average_is_that_of_the_reference(agrees, beta, bias_correction, dtype):
    values = np.random.default_rng(0).random((30, 2)).astype(dtype)
    options = {"beta": beta, "bias_correction": bias_correction}
    ours = optimizers.exponentially_weighted_average(values, **options)
    agrees(ours, reference.exponentially_weighted_average, values, dtype=dtype.name, **options)
    assert optimizers.exponentially_weighted_average(values[:0], **options).shape == (0, 2)


@pytest.mark.parametrize("make", [optimizers.adamw, optimizers.lbfgs, lambda: optimizers.lion(weight_decay=0.1)])
def test_a_formula_in_which_parameters_have_a_part_refuses_to_go_without(make):
    optimizer, parameters = make(), {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="parameters=None is not allowed"):
        optimizer.update(parameters, optimizer.init(parameters))


def test_lbfgs_takes_its_sums_over_all_parameters_and_falls_fast(double_precision):
    """One vector, cut in two or not, is one problem; on a quadratic in 8 variables it beats gradient descent's step."""
    scales = np.linspace(1.0, 30.0, 8)
    whole, cut = {"w": np.ones(8)}, {"a": np.ones(3), "b": {"c": np.ones((5, 1))}}
    gradient_whole = lambda p: {"w": scales * p["w"]}  # noqa: E731
    gradient_cut = lambda p: {"a": scales[:3] * p["a"], "b": {"c": scales[3:, None] * p["b"]["c"]}}  # noqa: E731
    ends = []
    for parameters, gradient in ((whole, gradient_whole), (cut, gradient_cut)):
        optimizer = optimizers.lbfgs()
        state, step = optimizer.init(parameters), compiled(optimizer)
        for _ in range(25):
            parameters, state = step(gradient(parameters), state, parameters, 1.0)
        ends.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(parameters)]))
    # The same sums in another order: 25 steps, each of which may magnify what the last one rounded.
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e6 * 2.0**-53)
    assert np.abs(ends[0]).max() < (1 - 1 / 30) ** 25 / 100  # a hundredth of what gradient descent leaves
