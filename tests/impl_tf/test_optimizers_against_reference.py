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

DECOUPLED = ("momentum", "rmsprop", "adadelta")
COUPLED = ("gradient_descent", *DECOUPLED, "adagrad", "adam", "nadam", "adamax", "radam")

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
    *((name, {"weight_decay": 0.3}) for name in COUPLED),
    *((name, {"weight_decay": 0.3, "decoupled_weight_decay": True}) for name in DECOUPLED),
    ("momentum", {"weight_decay": 0.3, "decoupled_weight_decay": True, "learning_rate_position": "inside"}),
    (
        "rmsprop",
        {"weight_decay": 0.3, "decoupled_weight_decay": True, "learning_rate_position": "inside", "momentum": 0.5},
    ),
    ("momentum", {"accumulation": "sum", "dampening": 0.4}),
    ("momentum", {"accumulation": "sum", "dampening": 1.0, "learning_rate_position": "inside"}),
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
def test_a_step_is_the_references_from_any_state_and_at_any_rate(name, options, dtype, agrees):
    parameters, gradients_at = bowl(dtype)
    expected, ours = reference.OPTIMIZERS[name](RATE, **options), optimizers.OPTIMIZERS[name](RATE, **options)
    variables = {n: tf.Variable(w) for n, w in parameters.items()}
    state = expected.init(parameters)
    for step in range(8):
        gradients = gradients_at(parameters)
        if name == "lion":  # a zero gradient, after which the sign is that of the momentum
            gradients["b1"] *= step % 3 != 1
        rate = RATE * (1 + 0.5 * (step % 4))

        def one_step(parameters, gradients, slots, step=step, rate=rate):
            given = reference.OptimizerState(step, slots)
            after, state = expected.update(gradients, given, parameters, learning_rate=rate)
            return after, state.slots

        for n, w in parameters.items():
            variables[n].assign(w)
        ours.build(variables, optimizers.OptimizerState(*state))
        ours.update(gradients, variables, learning_rate=rate)
        observed = {n: w.numpy() for n, w in variables.items()}, ours.state().slots
        agrees(observed, one_step, parameters, gradients, state.slots, dtype=np.dtype(dtype).name)
        parameters, state = expected.update(gradients, state, parameters, learning_rate=rate)
    assert ours.state().step == state.step == 8


@pytest.mark.parametrize("name", COUPLED)
def test_a_coupled_weight_decay_is_a_gradient_that_has_it_already(name):
    parameters, gradients_at = bowl(np.float64)
    make = optimizers.OPTIMIZERS[name]
    decayed, plain = make(RATE, weight_decay=0.3), make(RATE)
    ours, others = ({n: tf.Variable(w) for n, w in parameters.items()} for _ in range(2))
    for _ in range(4):
        gradients = gradients_at({n: w.numpy() for n, w in ours.items()})
        decayed.update(gradients, ours)
        plain.update({n: g + 0.3 * others[n] for n, g in gradients.items()}, others)
    for n, w in ours.items():  # biases too
        np.testing.assert_array_equal(w, others[n])
        assert np.abs(w - parameters[n]).max() > 0


# Keras's decayed parameter is rounded before the step is taken from it, ours after: some roundings in each of 6 steps.
KERAS_UNITS = 64
MOMENTUM = {"accumulation": "sum", "learning_rate_position": "inside", "beta": 0.875}  # in float32 as the rate
KERAS = [
    ("momentum", MOMENTUM, "SGD", {"momentum": 0.875}),
    ("momentum", MOMENTUM | {"nesterov": True}, "SGD", {"momentum": 0.875, "nesterov": True}),
    ("rmsprop", {"epsilon_position": "inside_root", "epsilon": 1e-3}, "RMSprop", {"epsilon": 1e-3}),
    (
        "rmsprop",
        {"epsilon_position": "inside_root", "epsilon": 1e-3, "momentum": 0.5, "learning_rate_position": "inside"},
        "RMSprop",
        {"epsilon": 1e-3, "momentum": 0.5},
    ),
    ("adadelta", {"epsilon": 1e-3}, "Adadelta", {"rho": 0.9, "epsilon": 1e-3}),
]


@pytest.mark.parametrize(("name", "options", "keras_name", "keras_options"), KERAS)
def test_a_decoupled_weight_decay_is_keras(name, options, keras_name, keras_options):
    keras = pytest.importorskip("keras")
    rate, decay = 2.0**-5, 2.0**-3  # Keras keeps its rate in float32
    parameters, gradients_at = bowl(np.float64)
    ours = optimizers.OPTIMIZERS[name](rate, weight_decay=decay, decoupled_weight_decay=True, **options)
    theirs = getattr(keras.optimizers, keras_name)(rate, weight_decay=decay, **keras_options)
    variables = {n: tf.Variable(w) for n, w in parameters.items()}
    keras_variables = {n: keras.Variable(w, dtype="float64") for n, w in parameters.items()}
    theirs.build(list(keras_variables.values()))
    for _ in range(6):
        gradients = gradients_at({n: w.numpy() for n, w in variables.items()})
        ours.update(gradients, variables)
        theirs.apply([tf.constant(g) for g in gradients.values()])
        for n, w in variables.items():
            largest = np.abs(parameters[n]).max()
            np.testing.assert_allclose(w, keras_variables[n].numpy(), rtol=0, atol=KERAS_UNITS * 2.0**-53 * largest)


@pytest.mark.parametrize("position", ["outside", "inside"])
def test_a_decoupled_weight_decay_by_hand(position):
    options = {"accumulation": "sum", "beta": 0.5, "learning_rate_position": position}
    optimizer = optimizers.momentum(0.5, weight_decay=0.25, decoupled_weight_decay=True, **options)
    w = {"w": tf.Variable([2.0])}
    optimizer.update({"w": tf.constant([1.0])}, w)
    assert w["w"].numpy().tolist() == [2.0 - 0.5 * (1.0 + 0.25 * 2.0)]
    optimizer.update({"w": tf.constant([0.0])}, w, learning_rate=1.0)
    step = 0.5 if position == "outside" else 0.25  # a rate inside stays that of the step it came in
    assert w["w"].numpy().tolist() == [1.25 - (step + 0.25 * 1.25)]


@pytest.mark.parametrize("position", ["outside", "inside"])
def test_dampening_spares_the_first_step_by_hand(position):
    optimizer = optimizers.momentum(1.0, beta=0.5, accumulation="sum", dampening=0.25, learning_rate_position=position)
    w, path = {"w": tf.Variable([0.0])}, []
    for _ in range(3):  # v = 1, 0.5 + 0.75, 0.625 + 0.75
        optimizer.update({"w": tf.constant([1.0])}, w)
        path.append(float(w["w"][0]))
    assert path == [-1.0, -2.25, -3.625]


RECTIFIED_UNITS = 8


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
        assert w["w"].numpy()[0] == pytest.approx(expected["w"][0], rel=RECTIFIED_UNITS * 2.0**-24)


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


def test_lbfgs_leaves_out_pairs_without_positive_curvature_as_the_reference_does(agrees):
    # The second and the last step find the gradient grown along the step: negative curvature.
    gradients = np.array([[1.0, 2.0], [3.0, 2.5], [1.0, -1.0], [0.5, 0.5], [-2.0, -1.0]])
    ours, expected = optimizers.lbfgs(0.1), reference.lbfgs(0.1)

    def path(gradients):
        parameters, curvatures, places = {"w": np.zeros(2)}, [], []
        state = expected.init(parameters)
        for g in gradients:
            parameters, state = expected.update({"w": g}, state, parameters)
            curvatures.append(state.slots["parameter_change_1"]["w"] @ state.slots["gradient_change_1"]["w"])
            places.append(parameters["w"])
        return np.array(places), curvatures

    w, places = {"w": tf.Variable(np.zeros(2))}, []
    for g in gradients:
        ours.update({"w": tf.constant(g)}, w)
        places.append(w["w"].numpy())
    agrees(np.array(places), lambda gradients: path(gradients)[0], gradients, dtype="float64")
    curvatures = path(gradients)[1]
    assert min(curvatures[1:]) < 0 < max(curvatures[1:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias_correction", [False, True])
def test_an_exponentially_weighted_average_is_the_references(bias_correction, dtype, agrees):
    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(values=arrays(np.float32, (7, 2), elements=st.floats(-10, 10, width=32)), beta=st.floats(0, 0.999))
    def check(values, beta):
        options = {"beta": beta, "bias_correction": bias_correction}
        actual = optimizers.exponentially_weighted_average(tf.constant(values, dtype), **options)
        average = reference.exponentially_weighted_average
        agrees(actual, average, values.astype(dtype), dtype=np.dtype(dtype).name, **options)

    check()


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
