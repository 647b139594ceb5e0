"""Optimizers of the reference against closed forms, and the training loop against single steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_numpy import models, optimizers, regularizers, schedules, training
from tests.training_settings import fit_with, gradients_with

UNIT_ROUNDOFF = 2.0**-53
ONE_STEP = 16  # roundings in one step of Adam; over many steps the parameter is rounded once more in each

CONSTANT = np.array([0.5, -2.0, 1e-10, 1e10])


def run(optimizer, gradients):
    parameters = {"w": np.zeros_like(gradients[0])}
    state = optimizer.init(parameters)
    for gradient in gradients:
        parameters, state = optimizer.update({"w": gradient}, state, parameters)
    return parameters["w"], state


@pytest.mark.parametrize("steps", [1, 2, 10, 300])
def test_adam_on_a_constant_gradient_moves_by_the_rate_each_step(steps):
    """With g constant, m^ = g and v^ = g^2 exactly, so every step is alpha g / (|g| + epsilon)."""
    expected = -0.01 * steps * CONSTANT / (np.abs(CONSTANT) + 1e-8)
    w, _ = run(optimizers.adam(0.01, epsilon=1e-8), [CONSTANT] * steps)
    assert w == pytest.approx(expected, rel=(steps + ONE_STEP) * UNIT_ROUNDOFF)


@pytest.mark.parametrize("steps", [1, 5, 60])
def test_average_momentum_is_a_geometric_sum(agrees, steps):
    def found(g):
        w, state = run(optimizers.momentum(0.1, beta=0.9), [g] * steps)
        return w, state.slots["velocity"]["w"]

    velocities = 1 - 0.9 ** np.arange(1, steps + 1)
    agrees((-0.1 * velocities.sum() * CONSTANT, velocities[-1] * CONSTANT), found, CONSTANT, dtype="float64")


def test_the_sum_is_the_average_with_the_rate_over_one_minus_beta(agrees):
    gradients = np.random.default_rng(0).standard_normal((30, 4))
    average, _ = run(optimizers.momentum(0.1, beta=0.9), gradients)
    summed = optimizers.momentum(0.1 * (1 - 0.9), beta=0.9, accumulation="sum")
    agrees(average, lambda gradients: run(summed, gradients)[0], gradients, dtype="float64")


def test_the_rate_inside_and_outside_agree_while_it_is_constant_and_differ_when_it_changes(agrees):
    gradients = np.random.default_rng(0).standard_normal((30, 4))
    inside, outside = (optimizers.momentum(0.1, learning_rate_position=place) for place in ("inside", "outside"))
    agrees(run(inside, gradients)[0], lambda gradients: run(outside, gradients)[0], gradients, dtype="float64")
    ends = []
    for optimizer in (inside, outside):
        parameters, state = {"w": np.zeros(4)}, optimizer.init({"w": np.zeros(4)})
        for t, gradient in enumerate(gradients):
            parameters, state = optimizer.update({"w": gradient}, state, parameters, learning_rate=0.1 / (1 + t))
        ends.append(parameters["w"])
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


def test_bias_correction_of_rmsprop_makes_the_first_step_the_rate(agrees):
    optimizer = optimizers.rmsprop(0.01, bias_correction=True, epsilon=0.0)
    agrees(-0.01 * np.sign(CONSTANT), lambda g: run(optimizer, [g])[0], CONSTANT, dtype="float64")


def test_centred_rmsprop_stays_finite_on_a_constant_gradient_in_float32():
    parameters = {"w": np.zeros(64, np.float32)}
    gradient = {"w": np.random.default_rng(0).standard_normal(64).astype(np.float32)}
    optimizer = optimizers.rmsprop(0.001, centered=True)
    state = optimizer.init(parameters)
    for _ in range(600):
        parameters, state = optimizer.update(gradient, state, parameters)
    assert np.isfinite(parameters["w"]).all()


def test_amsgrad_never_lets_a_step_grow_back():
    gradients = [np.array([10.0]), *[np.array([0.1])] * 50]
    _, state = run(optimizers.adam(0.1, amsgrad="raw_max"), gradients)
    assert state.slots["maximum_second_moment"]["w"] > state.slots["second_moment"]["w"]


@given(
    st.sampled_from(["gradient_descent", "momentum", "rmsprop", "adam"]),
    st.integers(0, 100),
    st.sampled_from([np.float32, np.float64]),
)
def test_an_update_keeps_shapes_and_dtype_and_leaves_its_arguments_alone(name, seed, dtype):
    generator = np.random.default_rng(seed)
    parameters = {"a": generator.standard_normal((2, 3)).astype(dtype), "b": generator.standard_normal(3).astype(dtype)}
    gradients = {k: generator.standard_normal(v.shape).astype(dtype) for k, v in parameters.items()}
    before = {k: v.copy() for k, v in parameters.items()}
    optimizer = optimizers.OPTIMIZERS[name]()
    state = optimizer.init(parameters)
    updated, new_state = optimizer.update(gradients, state, parameters)
    assert all((parameters[k] == before[k]).all() for k in before)
    assert all(not array.any() for slot in state.slots.values() for array in slot.values())
    assert {(k, v.shape, v.dtype) for k, v in updated.items()} == {(k, v.shape, v.dtype) for k, v in before.items()}
    assert new_state.step == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.adam(beta1=1.0), r"beta1=1.0 is not allowed: must be in \[0, 1\)"),
        (lambda: optimizers.adam(beta2=float("nan")), r"beta2=nan is not allowed"),
        (lambda: optimizers.adam(-0.1), r"learning_rate=-0.1 is not allowed: must be a finite number >= 0"),
        (lambda: optimizers.adam(epsilon=-1), r"epsilon=-1 is not allowed"),
        (lambda: optimizers.adam(epsilon_position="inside"), r"epsilon_position='inside' is not allowed: must be one"),
        (lambda: optimizers.momentum(accumulation="mean"), r"accumulation='mean' is not allowed"),
        (lambda: optimizers.rmsprop(bias_correction=True, initial_square=1.0), r"initial_square=1.0 is not allowed"),
        (lambda: regularizers.l2(-1), r"strength=-1 is not allowed"),
        (lambda: regularizers.l2(1, convention="mean"), r"convention='mean' is not allowed"),
        (lambda: regularizers.dropout_mask(None, (1, 1), keep_probability=0), r"keep_probability=0 is not allowed"),
        (lambda: schedules.exponential(0.1, base=-1), r"base=-1 is not allowed"),
        (lambda: models.deep_network((3,)), r"layer_sizes=\(3,\) is not allowed"),
        (lambda: models.deep_network(()), r"layer_sizes=\(\) is not allowed"),
        (lambda: models.deep_network((3, 2, 1), keep_probability=0), r"keep_probability=0 is not allowed"),
        (lambda: models.deep_network((3, 2, 1), activation="cube"), r"activation='cube' is not allowed"),
    ],
)
def test_a_wrong_hyperparameter_is_refused_with_its_name_and_what_is_allowed(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_missing_gradient_is_refused_by_name():
    optimizer = optimizers.adam()
    parameters = {"W1": np.zeros(2)}
    with pytest.raises(ValueError, match="gradients has no 'W1'"):
        optimizer.update({}, optimizer.init(parameters), parameters)


@pytest.mark.parametrize("batch_size", [None, 1, 4, 5, 10, 99])
@pytest.mark.parametrize("keep_probability", [1.0, 0.7])
def test_fit_takes_the_same_steps_as_single_updates(agrees, batch_size, keep_probability):
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((10, 3)), generator.integers(0, 4, 10)
    model = models.softmax_classifier((3, 6, 4), keep_probability=keep_probability)
    start = models.initialize(model, generator)
    optimizer, schedule = optimizers.adam(0.05), schedules.exponential(0.05, base=0.8)
    keywords = {"loss": "categorical_cross_entropy", "penalties": (regularizers.l2(0.3),)}
    order = np.stack([generator.permutation(10) for _ in range(3)]) if batch_size and batch_size < 10 else None
    drawn = {1: generator.random((3, 10, 6)) < 0.7} if keep_probability < 1 else {}

    def single_updates(parameters, x):
        state, costs = optimizer.init(parameters), []
        for epoch in range(3):
            for begin in range(0, 10, batch_size or 10):
                places = slice(begin, begin + (batch_size or 10))
                rows = np.arange(10)[places] if order is None else order[epoch][places]
                masks = {layer: mask[epoch][places] for layer, mask in drawn.items()}
                cost, _, _, gradients = gradients_with(
                    training, model, parameters, x[rows], y[rows], masks=masks, **keywords
                )
                costs.append(cost)
                parameters, state = optimizer.update(gradients, state, parameters, learning_rate=schedule(epoch))
        assert state.step == len(costs)
        return np.array(costs), parameters, state.slots["first_moment"]

    history = fit_with(
        training, model, start, x, y, optimizer=optimizer, schedule=schedule, epochs=3, batch_size=batch_size,
        batch_order=order, dropout_masks=drawn, checkpoint_epochs=(3,), **keywords,
    )  # fmt: skip
    found = history.costs, history.parameters, history.optimizer_state.slots["first_moment"]
    agrees(found, single_updates, start, x, dtype="float64")
    assert history.optimizer_state.step == len(history.costs)
    for name, w in history.parameters.items():
        assert (history.checkpoints[3][name] == w).all()


def test_without_a_tape_the_seed_decides_and_every_epoch_is_shuffled_anew():
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((12, 3)), generator.integers(0, 2, (12, 1)).astype(float)
    model = models.shallow_network(3, keep_probability=0.8)
    start = models.initialize(model, generator)

    def costs(seed):
        return fit_with(
            training, model, start, x, y, loss="binary_cross_entropy", optimizer=optimizers.gradient_descent(0.0),
            seed=seed, epochs=2, batch_size=4,
        ).costs  # fmt: skip

    assert (costs(0) == costs(0)).all()
    assert (costs(0) != costs(1)).any()
    assert (costs(0)[:3] != costs(0)[3:]).any()
