"""Every optimizer against the reference: single steps from the same state, in both precisions."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from impl_tf import optimizers, schedules
from reference_numpy import optimizers as reference
from reference_numpy import schedules as reference_schedules

RATE = 0.03
DTYPES = [np.float32, np.float64]

FORMULATIONS = [
    *((name, {}) for name in optimizers.OPTIMIZERS),
    ("adagrad", {"epsilon_position": "inside_root", "epsilon": 1e-3, "initial_accumulator": 0.1}),
    ("adadelta", {"rho": 0.5, "epsilon": 1e-3}),
    *(("adam", {"epsilon_position": p, "epsilon": 1e-3}) for p in ("inside_root", "before_correction")),
    *(("adam", {"amsgrad": a}) for a in ("raw_max", "corrected_max", "uncorrected")),
    ("adamw", {"weight_decay": 0.3, "epsilon_position": "before_correction", "amsgrad": "raw_max"}),
    ("adamw", {"weight_decay": 0.3, "decay_scale": "schedule_only"}),
    ("nadam", {"momentum_decay": 1.0, "epsilon": 1e-3}),
    ("nadam", {"schedule": "constant"}),
    ("adamax", {"epsilon_position": "outside", "epsilon": 1e-3}),
    ("radam", {"beta2": 0.9, "threshold": 4, "epsilon": 1e-3}),
    ("radam", {"beta2": 0.9, "epsilon_position": "before_correction", "epsilon": 1e-3}),
    ("lion", {"weight_decay": 0.3, "beta2": 0.5}),
    ("lbfgs", {"history": 2}),
    ("lbfgs", {"first_step": "gradient", "history": 1}),
]


def bowl(dtype):
    """Parameters, and the gradient of a convex quadratic on both of them together."""
    random = np.random.default_rng(3)
    parameters = {"W1": random.normal(size=(3, 2)).astype(dtype), "b1": random.normal(size=3).astype(dtype)}
    half = random.normal(size=(9, 9))
    hessian = 0.05 * half @ half.T + np.eye(9)

    def gradients(parameters):
        product = hessian @ np.concatenate([w.ravel() for w in parameters.values()])
        return {
            "W1": product[:6].reshape(3, 2).astype(dtype),
            "b1": product[6:].astype(dtype),
        }

    return parameters, gradients


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), FORMULATIONS)
def test_a_step_is_the_references_from_any_state_and_at_any_rate(name, options, dtype):
    parameters, gradients_at = bowl(dtype)
    expected, ours = reference.OPTIMIZERS[name](RATE, **options), optimizers.OPTIMIZERS[name](RATE, **options)
    variables = {n: tf.Variable(w) for n, w in parameters.items()}
    ours.build(variables)
    state = expected.init(parameters)
    assert list(ours.slots) == list(state.slots)
    roundoff = np.finfo(dtype).eps / 2
    for step in range(8):
        gradients = gradients_at(parameters)
        if name == "lion":  # a zero gradient, after which the sign is that of the momentum
            gradients["b1"] *= step % 3 != 1
        rate = RATE * (1 + 0.5 * (step % 4))
        ours.step.assign(state.step)
        for n, w in parameters.items():
            variables[n].assign(w)
            for slot, tensors in state.slots.items():
                ours.slots[slot][n].assign(tensors[n])
        ours.update(gradients, variables, learning_rate=rate)
        after, state = expected.update(gradients, state, parameters, learning_rate=rate)
        # Some twenty roundings a step. L-BFGS's come back through s . y and y . y, which cancel by what is lost of g
        # in g_{i+1} - g_i: at this bowl less than a factor of 30, twice.
        units = 20 * (30 * 30 if name == "lbfgs" else 1)
        moved = max(np.abs(after[n] - w).max() for n, w in parameters.items())
        for n, w in after.items():
            allowance = roundoff * (np.abs(w).max() + units * moved)
            np.testing.assert_allclose(variables[n], w, rtol=0, atol=allowance, err_msg=f"{n} after {step}")
        for slot, tensors in state.slots.items():
            for n, tensor in tensors.items():
                allowance = 4 * roundoff * max(np.abs(tensor).max(), 4 * np.abs(gradients[n]).max() * (1 - 0.9))
                np.testing.assert_allclose(ours.slots[slot][n], tensor, rtol=0, atol=allowance, err_msg=slot)
        parameters = after
    assert int(ours.step) == state.step == 8


@pytest.mark.parametrize("threshold", [4, 5])
@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999, 0.9999])
def test_rectification_is_exact_in_float32_and_starts_at_the_same_step(beta2, threshold):
    options = {"beta2": beta2, "threshold": threshold, "epsilon": 0.0}
    ours, exact = optimizers.radam(1.0, **options), reference.radam(1.0, **options)
    w = {"w": tf.Variable(np.zeros(1, np.float32))}
    ours.build(w)
    for t in (1, 2, 3, 4, 5, 6, 7, 8, 20, 1000, 100_000):
        state = reference.OptimizerState(t - 1, {"first_moment": {"w": np.ones(1)}, "second_moment": {"w": np.ones(1)}})
        expected, _ = exact.update({"w": np.ones(1)}, state, {"w": np.zeros(1)})
        w["w"].assign([0.0])
        ours.step.assign(t - 1)
        for slot in ours.slots.values():
            slot["w"].assign([1.0])
        ours.update({"w": tf.ones(1)}, w)
        # Both moments stay 1 but for two roundings each, the factor is rounded once, the quotient once.
        assert w["w"].numpy()[0] == pytest.approx(expected["w"][0], rel=8 * 2.0**-24)


def test_lbfgs_takes_its_sums_over_all_parameters_together():
    parameters, gradients_at = bowl(np.float64)
    together, apart = optimizers.lbfgs(), {n: optimizers.lbfgs() for n in parameters}
    ours = {n: tf.Variable(w) for n, w in parameters.items()}
    others = {n: tf.Variable(w) for n, w in parameters.items()}
    for _ in range(3):
        gradients = gradients_at({n: w.numpy() for n, w in ours.items()})
        together.update(gradients, ours)
        for n, optimizer in apart.items():
            optimizer.update({n: gradients[n]}, {n: others[n]})
    assert np.abs(ours["b1"] - others["b1"]).max() > 1e-3


def test_lbfgs_leaves_out_pairs_without_positive_curvature_as_the_reference_does():
    # The second and the last step find the gradient grown along the step: negative curvature.
    gradients = [np.array(g) for g in ([1.0, 2.0], [3.0, 2.5], [1.0, -1.0], [0.5, 0.5], [-2.0, -1.0])]
    ours, expected = optimizers.lbfgs(0.1), reference.lbfgs(0.1)
    w, parameters = {"w": tf.Variable(np.zeros(2))}, {"w": np.zeros(2)}
    state, curvatures = expected.init(parameters), []
    for g in gradients:
        ours.update({"w": tf.constant(g)}, w)
        parameters, state = expected.update({"w": g}, state, parameters)
        curvatures.append(state.slots["parameter_change_1"]["w"] @ state.slots["gradient_change_1"]["w"])
        np.testing.assert_allclose(w["w"], parameters["w"], rtol=1e-14)
    assert min(curvatures[1:]) < 0 < max(curvatures[1:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias_correction", [False, True])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(values=arrays(np.float32, (7, 2), elements=st.floats(-10, 10, width=32)), beta=st.floats(0, 0.999))
def test_an_exponentially_weighted_average_is_the_references(values, beta, bias_correction, dtype):
    options = {"beta": beta, "bias_correction": bias_correction}
    actual = optimizers.exponentially_weighted_average(tf.constant(values, dtype), **options)
    expected = reference.exponentially_weighted_average(values.astype(np.float64), **options)
    assert actual.dtype == dtype
    # An average of values up to 10, three roundings for each of seven steps.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=21 * np.finfo(dtype).eps / 2 * 10)


def test_the_average_of_no_values_has_none():
    assert optimizers.exponentially_weighted_average(tf.zeros((0, 3))).shape == (0, 3)


SCHEDULES = [
    *((name, {}) for name in schedules.SCHEDULES),
    ("inverse_sqrt", {"k": 0.3}),
    ("staircase", {"factor": 0.3, "every": 3}),
    ("piecewise", {"boundaries": (1, 4, 5), "factors": (0.5, 2.0, 0.0)}),
    ("cosine", {"steps": 7, "final": 0.1}),
    ("warmup", {"steps": 4, "start": 0.2, "after": "cosine", "after_options": {"steps": 5}}),
]


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_a_schedule_gives_the_references_rates_to_the_last_bit(name, options):
    ours, expected = schedules.SCHEDULES[name](RATE, **options), reference_schedules.SCHEDULES[name](RATE, **options)
    assert [ours(t) for t in range(30)] == [expected(t) for t in range(30)]
