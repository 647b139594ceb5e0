"""A training goes on exactly where an earlier one was; frozen biases; sums of losses."""

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import layers, losses, models, optimizers, regularizers, schedules, training
from impl_tf.optimizers import OptimizerState
from tests.training_settings import fit_with, gradients_with

UNITS = 64 * 2.0**-53  # the same sums in another order, compiled and not
EXAMPLES, EPOCHS, BATCH, STEPS = 22, 4, 8, 3  # the last of an epoch's three batches holds six examples
RANDOM = np.random.default_rng(21)
X, Y = RANDOM.normal(size=(EXAMPLES, 6)), RANDOM.integers(0, 3, EXAMPLES)
ORDER = np.stack([RANDOM.permutation(EXAMPLES) for _ in range(EPOCHS)])
MASKS = RANDOM.random((EPOCHS, EXAMPLES, 5)) < 0.8
NOISE = RANDOM.normal(size=(EPOCHS, EXAMPLES, 6))
AUGMENTATIONS = (regularizers.gaussian_noise(scale=0.2),)


def network(dtype=tf.float64, **options):
    options = {"activation": "tanh", "keep_probability": (0.8, 1.0), "normalization": "batch_norm", **options}
    model = models.softmax_classifier((6, 5, 4, 3), **options)
    return models.initialize(model, tf.random.Generator.from_seed(1), dtype=dtype)


def fit(model, optimizer, **options):
    options = {"loss": "categorical_cross_entropy", "epochs": EPOCHS, "batch_size": BATCH, **options}
    return fit_with(training, model, X.astype(model.dtype.as_numpy_dtype), Y, optimizer=optimizer, **options)


def tape(first, last):
    """What is drawn for the epochs from ``first`` to before ``last``."""
    epochs = slice(first, last)
    return {
        "batch_order": ORDER[epochs], "dropout_masks": {1: MASKS[epochs]}, "augmentation_draws": [NOISE[epochs]],
        "augmentations": AUGMENTATIONS,
    }  # fmt: skip


def seeds(first, last):
    return {"seed": 7, "augmentations": AUGMENTATIONS}


def assert_same(tensors, expected):
    assert list(tensors) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


def assert_the_end_is_the_same(history, expected):
    assert_same(history.parameters, expected.parameters)
    assert_same(history.statistics, expected.statistics)
    assert history.optimizer_state.step == expected.optimizer_state.step
    assert list(history.optimizer_state.slots) == list(expected.optimizer_state.slots)
    for slot, tensors in expected.optimizer_state.slots.items():
        assert_same(history.optimizer_state.slots[slot], tensors)


BY_STEP = {"schedule": schedules.exponential(0.05, base=0.9), "schedule_unit": "step"}
BY_EPOCH = {"schedule": schedules.inverse_time(0.05), "schedule_unit": "epoch"}
OPTIMIZERS = {
    "adam": (optimizers.adam, {}),
    "momentum": (optimizers.momentum, {"accumulation": "sum", "dampening": 0.4, "weight_decay": 0.1}),
    "nadam": (optimizers.nadam, {}),
    "radam": (optimizers.radam, {"beta2": 0.9}),
    "adagrad": (optimizers.adagrad, {"initial_accumulator": 0.1}),
    "lbfgs": (optimizers.lbfgs, {"history": 2}),
}
CASES = [
    (tape, BY_STEP, "adam", tf.float32),
    (tape, BY_EPOCH, "adam", tf.float64),
    (seeds, BY_STEP, "adam", tf.float32),
    *(
        pytest.param(tape, schedule, "adam", dtype, marks=pytest.mark.slow)
        for schedule, dtype in [(BY_STEP, tf.float64), (BY_EPOCH, tf.float32)]
    ),
    *(
        pytest.param(seeds, schedule, name, dtype, marks=pytest.mark.slow)
        for schedule, name, dtype in [
            (BY_EPOCH, "adam", tf.float32),
            *((BY_STEP, name, tf.float64) for name in list(OPTIMIZERS)[1:]),
        ]
    ),
]


@pytest.mark.parametrize(("draws", "schedule", "name", "dtype"), CASES)
def test_two_halves_equal_the_whole_to_the_last_bit(draws, schedule, name, dtype):
    make, options = OPTIMIZERS[name]
    validation = X[:7].astype(dtype.as_numpy_dtype), Y[:7]
    whole = fit(network(dtype), make(**options), validation=validation, **schedule, **draws(0, EPOCHS))
    model = network(dtype)
    half = {"validation": validation, "epochs": 2, **schedule}
    first = fit(model, make(**options), **half, **draws(0, 2))
    state = first.optimizer_state
    second = fit(model, make(**options), optimizer_state=state, statistics=first.statistics, **half, **draws(2, EPOCHS))
    for field in ("costs", "learning_rates", "gradient_norms", "validation_costs"):
        halves = np.concatenate([getattr(first, field), getattr(second, field)])
        np.testing.assert_array_equal(halves, getattr(whole, field), err_msg=field)
    assert (state.step, second.optimizer_state.step) == (2 * STEPS, EPOCHS * STEPS)
    assert_the_end_is_the_same(second, whole)


@pytest.mark.parametrize("draws", [tape, pytest.param(seeds, marks=pytest.mark.slow)])
def test_epochs_in_one_call_are_those_one_by_one(draws, monkeypatch):
    monkeypatch.setattr(training, "XLA_WORK", 0)
    monkeypatch.setattr(training, "_compiled", tf.function)  # as XLA is given them, without the time that it takes
    whole = fit(network(), optimizers.adam(0.05), **draws(0, EPOCHS))
    looked_at = fit(network(), optimizers.adam(0.05), checkpoint_epochs=[1, 2, 3], **draws(0, EPOCHS))
    monkeypatch.setattr(training, "MOST_STEPS", 2 * STEPS)
    for other in (looked_at, fit(network(), optimizers.adam(0.05), **draws(0, EPOCHS))):
        for field in ("costs", "learning_rates", "gradient_norms"):
            np.testing.assert_array_equal(getattr(other, field), getattr(whole, field), err_msg=field)
        assert_the_end_is_the_same(other, whole)


def test_xla_compiles_long_trainings_and_what_it_cannot_runs_as_a_graph():
    small = network()
    assert not training._is_worth_compiling(small, 6)
    assert training._is_worth_compiling(small, 600)

    images = models.network([layers.convolution(2, (3, 3)), layers.flatten(), layers.dense(1)], (5, 5, 1))
    assert not training._is_worth_compiling(models.initialize(images, tf.random.Generator.from_seed(0)), 10**6)

    def text(x):  # XLA has no strings
        return tf.strings.to_number(tf.strings.as_string(x))

    run = training._compiled(text)
    assert [float(run(tf.constant(x))) for x in (0.5, 1.5)] == [0.5, 1.5]


@pytest.mark.slow
def test_a_training_compiled_by_xla_is_that_of_the_graph_but_for_rounding(monkeypatch):
    graph = fit(network(), optimizers.adam(0.05), **tape(0, EPOCHS))
    monkeypatch.setattr(training, "XLA_WORK", 0)
    monkeypatch.setattr(training, "_compiled", lambda function: tf.function(function, jit_compile=True))
    model, optimizer = network(), optimizers.adam(0.05)
    start = {name: w.numpy() for name, w in model.parameter_dict().items()}
    first = fit(model, optimizer, **tape(0, EPOCHS))
    for name, value in start.items():
        model.parameter_dict()[name].assign(value)
    second = fit(model, optimizer, **tape(0, EPOCHS))
    np.testing.assert_array_equal(second.costs, first.costs)
    assert_the_end_is_the_same(second, first)
    np.testing.assert_allclose(first.costs, graph.costs, rtol=UNITS)
    np.testing.assert_allclose(first.gradient_norms, graph.gradient_norms, rtol=UNITS)


def test_without_a_state_a_training_starts_fresh_and_equals_the_first():
    model, optimizer = network(), optimizers.adam(0.05)
    start = {name: w.numpy() for name, w in model.parameter_dict().items()}
    first = fit(model, optimizer, **BY_STEP, **seeds(0, EPOCHS))
    for name, value in start.items():
        model.parameters[name].assign(value)
    second = fit(model, optimizer, **BY_STEP, **seeds(0, EPOCHS))
    np.testing.assert_array_equal(first.costs, second.costs)
    assert_the_end_is_the_same(second, first)


def test_a_training_that_goes_on_traces_nothing(monkeypatch):
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return original(*arguments, **options)

    original = losses.categorical_cross_entropy
    monkeypatch.setitem(losses.LOSSES, "categorical_cross_entropy", counted)
    model, optimizer = network(), optimizers.adam(0.05)
    history = fit(model, optimizer)
    assert len(calls) == 3  # the check before training, the full batches, and the last small one
    for _ in range(3):  # from another step count each time
        calls.clear()
        history = fit(
            model, optimizer, optimizer_state=history.optimizer_state, statistics=history.statistics, epochs=2
        )
        assert len(calls) == 1
    assert history.optimizer_state.step == (EPOCHS + 6) * STEPS


def test_steps_and_epochs_are_counted_on_from_any_step():
    state = OptimizerState(7, {})  # in the middle of the third epoch
    for unit, expected in (("step", [7, 8, 9, 10, 11, 12]), ("epoch", [2, 2, 2, 3, 3, 3])):
        history = fit(
            network(), optimizers.gradient_descent(), optimizer_state=state, epochs=2, schedule=lambda t: 0.001 * t,
            schedule_unit=unit, checkpoint_epochs=(1, 2, 3),
        )  # fmt: skip
        assert history.learning_rates.tolist() == [0.001 * t for t in expected]
        assert (history.optimizer_state.step, list(history.checkpoints)) == (13, [1, 2])  # checkpoints: of this call


def test_what_is_drawn_depends_on_the_seed_and_the_counted_epoch_alone():
    def costs(step, seed=0):
        model = network(normalization=None, keep_probability=0.5)
        state = OptimizerState(step, {})
        return fit(model, optimizers.gradient_descent(0.0), optimizer_state=state, seed=seed, epochs=2).costs

    np.testing.assert_array_equal(costs(0)[STEPS:], costs(STEPS)[:STEPS])
    assert not np.array_equal(costs(0)[:STEPS], costs(0)[STEPS:])
    assert not np.array_equal(costs(0), costs(0, seed=1))
    assert not np.array_equal(costs(STEPS)[:STEPS], costs(0, seed=1)[:STEPS])


def test_neither_a_state_nor_statistics_are_changed_and_they_may_be_the_variables_themselves():
    model, optimizer = network(), optimizers.momentum(0.05)
    first = fit(model, optimizer, epochs=2)
    end = {name: w.numpy() for name, w in first.parameters.items()}
    copies = tf.nest.map_structure(np.array, (first.optimizer_state.slots, first.statistics))
    second = fit(model, optimizer, optimizer_state=first.optimizer_state, statistics=first.statistics)
    for slot, tensors in copies[0].items():
        assert_same(first.optimizer_state.slots[slot], tensors)
    assert_same(first.statistics, copies[1])
    for name, value in end.items():
        model.parameters[name].assign(value)
    for name, value in copies[1].items():
        model.statistics[name].assign(value)
    optimizer.build(model.parameter_dict(), first.optimizer_state)
    live = OptimizerState(int(optimizer.step), optimizer.slots)
    again = fit(model, optimizer, optimizer_state=live, statistics=model.statistics_dict())
    assert_the_end_is_the_same(again, second)


STATE = OptimizerState(
    3, {"velocity": {n: np.zeros(w.shape) for n, w in network(normalization=None).parameter_dict().items()}}
)


def without(tensors, name):
    return {n: tensor for n, tensor in tensors.items() if n != name}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer_state": OptimizerState(3, {})}, "optimizer_state has no slot 'velocity': must hold velocity"),
        (
            {"optimizer_state": OptimizerState(3, {"velocity": without(STATE.slots["velocity"], "b2")})},
            r"optimizer_state, slot 'velocity', has no 'b2': must hold W1, b1, W2, b2, W3, b3",
        ),
        (
            {"optimizer_state": OptimizerState(3, {"velocity": STATE.slots["velocity"] | {"b2": np.zeros(5)}})},
            r"optimizer_state, slot 'velocity', 'b2' has shape \(5,\): must be \(4,\)",
        ),
        *(
            ({"optimizer_state": STATE._replace(step=step)}, f"step={step!r} is not allowed: must be an integer >= 0")
            for step in (-1, 1.5, True, None)
        ),
        ({"reduction": "max"}, "reduction='max' is not allowed: must be one of 'mean', 'sum'"),
        ({"frozen_biases": "yes"}, "frozen_biases='yes' is not allowed: must be one of False, True"),
    ],
)
def test_what_no_training_can_go_on_from_is_refused_before_anything_changes(options, message):
    model, optimizer = network(normalization=None), optimizers.momentum(0.05)
    fit(model, optimizer, epochs=1)
    before = {n: w.numpy() for n, w in model.parameter_dict().items()}, optimizer.state()
    with pytest.raises(ValueError, match=message):
        fit(model, optimizer, **options)
    assert_same(model.parameter_dict(), before[0])
    assert optimizer.state().step == before[1].step
    assert_same(optimizer.slots["velocity"], before[1].slots["velocity"])


def test_statistics_of_another_model_are_refused():
    model = network()
    given = {name: value.numpy() for name, value in models.initial_statistics(model).items()}
    with pytest.raises(ValueError, match="statistics has no 'running_mean1': must hold running_mean1, running_var"):
        fit(model, optimizers.adam(), statistics=without(given, "running_mean1"))
    with pytest.raises(ValueError, match=r"statistics 'running_mean1' has shape \(4,\): must be \(5,\)"):
        fit(model, optimizers.adam(), statistics=given | {"running_mean1": np.zeros(4)})


# --- frozen biases, sums of losses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_frozen_biases_are_not_trained_and_count_in_no_norm(frozen_layers):
    model = network(keep_probability=1.0)
    gradients = gradients_with(training, model, X, Y, loss="categorical_cross_entropy").gradients
    start = {name: w.numpy() for name, w in model.parameter_dict().items()}
    history = fit(
        model, optimizers.momentum(0.1), frozen_biases=True, frozen_layers=frozen_layers, epochs=1, batch_size=None,
        clipping=regularizers.clip_by_global_norm(0.01),
    )  # fmt: skip
    trained = [name for name in start if name != "b3" and int(name[-1]) > frozen_layers]
    assert "gamma2" in trained  # of the parameters, b alone is a bias
    changed = [name for name, value in start.items() if not np.array_equal(history.parameters[name], value)]
    assert changed == list(history.optimizer_state.slots["velocity"]) == trained
    norm = np.sqrt(sum(np.sum(np.square(gradients[name])) for name in trained))
    assert history.gradient_norms[0] == pytest.approx(norm, rel=UNITS)
    for name in trained:  # a first velocity is a tenth of the clipped gradient
        velocity = history.optimizer_state.slots["velocity"][name]
        expected = 0.1 * 0.01 / norm * gradients[name].numpy()
        np.testing.assert_allclose(velocity, expected, rtol=0, atol=UNITS * np.abs(expected).max())


def test_a_sum_of_losses_has_the_gradients_of_all_examples_and_the_penalties_of_a_mean():
    model, penalties = network(keep_probability=1.0, dtype=tf.float64), (regularizers.l2(0.3),)
    rows = slice(0, 16)  # a power of two: a mean is an exact sixteenth of the sum
    options = {"loss": "categorical_cross_entropy", "penalties": penalties}
    mean, total = (
        gradients_with(training, model, X[rows], Y[rows], reduction=reduction, **options)
        for reduction in ("mean", "sum")
    )
    assert float(total.data_loss) == 16 * float(mean.data_loss)
    assert float(total.penalty) == float(mean.penalty) == pytest.approx(float(penalties[0](model.weights, 16)))
    assert float(total.cost) == float(total.data_loss) + float(total.penalty)
    for layer, w in enumerate(model.weights, start=1):
        plain = mean.gradients[f"W{layer}"] - 0.3 / 16 * w
        np.testing.assert_allclose(total.gradients[f"W{layer}"], 16 * plain + 0.3 / 16 * w, rtol=0, atol=UNITS)
    np.testing.assert_array_equal(total.gradients["b3"], 16 * mean.gradients["b3"])
    with pytest.raises(ValueError, match="reduction='max' is not allowed: must be one of 'mean', 'sum'"):
        gradients_with(training, model, X, Y, reduction="max", **options)


def test_a_training_on_sums_costs_sums_in_validation_too():
    def history(reduction):
        model = network(keep_probability=1.0)
        options = {"batch_size": None, "epochs": 1, "validation": (X[:8], Y[:8]), "reduction": reduction}
        return fit(model, optimizers.gradient_descent(0.0), **options)

    mean, total = history("mean"), history("sum")
    assert total.validation_costs[0] == 8 * mean.validation_costs[0]
    assert total.costs[0] == pytest.approx(22 * mean.costs[0], rel=UNITS)
    assert total.gradient_norms[0] == pytest.approx(22 * mean.gradient_norms[0], rel=UNITS)
