"""What is particular to the TensorFlow implementation: modules, variables, traced functions, generators, kernels."""

import functools
import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import activations, losses, models, optimizers, regularizers, training
from tests.training_settings import fit_with, gradients_with

RATE = 0.03
UNIT = 2.0**-53
# A compiled function may take 1 / sqrt for a square root's quotient, and sums in another order, than an eager one ...
COMPILED_UNITS = 64
# ... and sixty steps of Adam grow what that makes of the first.
PATH_UNITS = 1024
# The kernels have the terms of a formula in another order, for fifty steps; measured: 16.
KERNEL_UNITS = 64
# Of central differences over 2e-5: truncation of the order of 1e-10, rounding of 1e-16 / 1e-5.
DIFFERENCES_ERROR = 1e-9


@pytest.fixture
def blobs():
    """Thirty examples of four features in three classes."""
    random = np.random.default_rng(0)
    labels = np.arange(30) % 3
    return random.normal(size=(30, 4)) + 2.0 * np.eye(3, 4)[labels], labels


def classifier(seed=1, dtype=tf.float64, **options):
    model = models.softmax_classifier((4, 6, 5, 3), **options)
    return models.initialize(model, tf.random.Generator.from_seed(seed), dtype=dtype)


def fit(model, data, optimizer=None, **options):
    x, y = data
    optimizer = optimizer or optimizers.adam(RATE)
    return fit_with(training, model, x, y, loss="categorical_cross_entropy", optimizer=optimizer, **options)


def values(parameters):
    return {name: value.numpy() for name, value in parameters.items()}


def test_a_model_and_an_optimizer_serve_in_a_training_step_of_ones_own(blobs):
    model, optimizer = classifier(), optimizers.adam(RATE)
    parameters = model.parameter_dict()
    optimizer.build(parameters)
    x, y = map(tf.constant, blobs)

    @tf.function(autograph=False)
    def train_step():
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(losses.categorical_cross_entropy(model(x), y))
        optimizer.update(tape.gradient(cost, parameters), parameters)
        return cost

    costs = [float(train_step()) for _ in range(60)]
    assert train_step.experimental_get_tracing_count() == 1
    assert int(optimizer.step) == 60
    np.testing.assert_allclose(costs, fit(classifier(), blobs, epochs=60).costs, rtol=PATH_UNITS * UNIT)
    assert np.mean(models.predict_classes(model, x) == y) > 0.9


def test_the_same_seed_gives_the_same_history_and_another_seed_another(blobs):
    model, optimizer = classifier(keep_probability=0.7), optimizers.gradient_descent(RATE)

    def costs(seed):
        models.initialize(model, tf.random.Generator.from_seed(1), dtype=tf.float64)
        return fit(model, blobs, optimizer, epochs=3, batch_size=10, seed=seed).costs

    np.testing.assert_array_equal(costs(4), costs(4))
    assert not np.array_equal(costs(4), costs(5))


def test_every_epoch_visits_every_example_once_in_a_new_order(blobs):
    x, y = blobs
    model = classifier()
    losses_of_examples = losses.categorical_cross_entropy(model(x), y).numpy()
    epochs = fit(model, blobs, optimizers.gradient_descent(0.0), epochs=3, batch_size=1).costs.reshape(3, 30)
    for costs in epochs:
        np.testing.assert_allclose(np.sort(costs), np.sort(losses_of_examples), rtol=COMPILED_UNITS * UNIT)
    assert not np.array_equal(epochs[0], epochs[1])


def test_an_epoch_is_traced_once_for_any_number_of_epochs_and_fits(blobs, monkeypatch):
    calls = []
    original = losses.categorical_cross_entropy

    @functools.wraps(original)
    def counted(*arguments, **options):
        calls.append(1)
        return original(*arguments, **options)

    monkeypatch.setitem(losses.LOSSES, "categorical_cross_entropy", counted)
    model, optimizer = classifier(normalization="batch_norm"), optimizers.adam(RATE)

    def history(factor):
        models.initialize(model, tf.random.Generator.from_seed(1), dtype=tf.float64)
        calls.clear()
        return fit(
            model, blobs, optimizer, epochs=4, batch_size=8, schedule=[0.1, 0.01, 0.001, 0.1].__getitem__,
            penalties=[regularizers.l2(0.1)], clipping=regularizers.clip_by_norm(0.5),
            constraint=regularizers.max_norm(2.0), augmentations=[regularizers.gaussian_noise(scale=0.1)],
            example_weights=factor * np.ones(30), loss_options={"class_weights": [1.0, 2.0, 1.0]},
        )  # fmt: skip

    first = history(1.0)
    assert len(calls) == 3  # the check before training, the full batches, and the last small one
    second = history(1.0)
    assert len(calls) == 1  # equal settings, in new objects, compile nothing
    np.testing.assert_array_equal(first.costs, second.costs)
    assert not np.array_equal(history(2.0).costs, first.costs)  # weights are data
    assert len(calls) == 1


def test_variables_that_were_replaced_are_not_trained_in_place_of_the_new_ones(blobs):
    model, optimizer = classifier(dtype=tf.float32), optimizers.momentum(RATE)
    first = fit(model, blobs, optimizer, epochs=2)
    models.initialize(model, tf.random.Generator.from_seed(1), dtype=tf.float64)
    assert fit(model, blobs, optimizer, epochs=2).costs.dtype == np.float64
    models.initialize(model, tf.random.Generator.from_seed(1), dtype=tf.float32)
    again = fit(model, blobs, optimizer, epochs=2)
    np.testing.assert_array_equal(first.costs, again.costs)
    np.testing.assert_array_equal(model.weights[0], first.parameters["W1"])


def test_state_can_be_built_while_tracing_and_a_learning_rate_assigned_afterwards_is_obeyed():
    w, optimizer = tf.Variable([1.0]), optimizers.momentum(0.5, beta=0.0)
    step = tf.function(lambda: optimizer.update({"w": tf.constant([1.0])}, {"w": w}))
    step()
    optimizer.learning_rate.assign(0.25)
    step()
    assert w.numpy().tolist() == [0.25]
    assert int(optimizer.step) == 2


def test_a_batch_costs_what_it_costs_alone_with_its_own_size_and_masks(blobs):
    x, y = blobs
    model = classifier(keep_probability=[0.5, 1.0])
    random = np.random.default_rng(3)
    order = np.stack([random.permutation(30) for _ in range(2)])
    masks = random.random((2, 30, 6)) < 0.5
    penalties = (regularizers.l2(0.7),)
    history = fit(
        model, blobs, optimizers.gradient_descent(0.0), epochs=2, batch_size=8, penalties=penalties,
        batch_order=order, dropout_masks={1: masks},
    )  # fmt: skip
    assert history.costs.shape == history.gradient_norms.shape == (8,)
    for step, cost in enumerate(history.costs):
        epoch, batch = divmod(step, 4)
        positions = slice(8 * batch, min(8 * batch + 8, 30))
        rows = order[epoch, positions]
        alone = gradients_with(
            training, model, x[rows], y[rows], loss="categorical_cross_entropy", penalties=penalties,
            masks={1: masks[epoch, positions]},
        )  # fmt: skip
        assert cost == pytest.approx(float(alone.cost), rel=COMPILED_UNITS * UNIT)
        squares = sum(float(tf.reduce_sum(g * g)) for g in alone.gradients.values())
        assert history.gradient_norms[step] == pytest.approx(squares**0.5, rel=COMPILED_UNITS * UNIT)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mean_squared_error"])
def test_gradients_agree_with_central_differences(loss):
    random = np.random.default_rng(6)
    model = models.deep_network((2, 3, 2), activation="tanh", keep_probability=0.5)
    models.initialize(model, tf.random.Generator.from_seed(2), dtype=tf.float64)
    x, y = random.normal(size=(5, 2)), random.integers(0, 2, (5, 2)).astype(float)
    options = {"loss": loss, "penalties": (regularizers.l2(0.3),), "masks": {1: random.random((5, 3)) < 0.5}}
    gradients = gradients_with(training, model, x, y, **options).gradients
    for name, variable in model.parameter_dict().items():
        start = variable.numpy()
        for index in np.ndindex(start.shape):
            costs = []
            for offset in (1e-5, -1e-5):
                moved = start.copy()
                moved[index] += offset
                variable.assign(moved)
                costs.append(float(gradients_with(training, model, x, y, **options).cost))
            variable.assign(start)
            assert gradients[name][index].numpy() == pytest.approx((costs[0] - costs[1]) / 2e-5, abs=DIFFERENCES_ERROR)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_the_dtype_of_the_model_is_kept_everywhere(dtype, blobs):
    model = classifier(dtype=dtype, normalization="batch_norm")
    options = {
        "example_weights": np.ones(30), "validation": blobs, "clipping": regularizers.clip_by_global_norm(1.0),
        "constraint": regularizers.max_norm(1.0), "augmentations": [regularizers.gaussian_noise()],
    }  # fmt: skip
    history = fit(model, blobs, epochs=2, batch_size=15, **options)
    arrays = [history.costs, history.gradient_norms, history.validation_costs]
    arrays += [*values(history.parameters).values(), *values(history.statistics).values()]
    for slots in history.optimizer_state.slots.values():
        arrays.extend(slots.values())
    assert {array.dtype for array in arrays} == {np.dtype(dtype.as_numpy_dtype)}
    assert history.learning_rates.dtype == np.float64
    assert {value.dtype for value in models.intermediates(model, blobs[0]).values()} == {dtype}


def test_a_tensor_of_another_dtype_is_refused_rather_than_converted():
    with pytest.raises(ValueError, match="float32"):
        classifier(dtype=tf.float32)(tf.zeros((2, 4), tf.float64))


# --- running averages ------------------------------------------------------------------------------------------------


def test_running_averages_move_in_fit_and_update_statistics_alone_and_start_again_with_the_weights(blobs):
    model = classifier(normalization="batch_norm")
    start = values(models.initial_statistics(model, dtype=tf.float64))

    def moved():
        return {name for name, value in values(model.statistics_dict()).items() if (value != start[name]).any()}

    gradients_with(training, model, *blobs, loss="categorical_cross_entropy")
    models.intermediates(model, blobs[0], training=True)
    models.predict(model, blobs[0])
    assert moved() == set()
    models.update_statistics(model, blobs[0])
    assert moved() == set(start)
    models.initialize(model, tf.random.Generator.from_seed(1), dtype=tf.float64)
    assert moved() == set()
    fit(model, blobs, epochs=1)
    assert moved() == set(start)


def test_running_averages_are_no_trainable_variables_and_a_normalised_layer_has_no_bias():
    model = classifier(normalization="batch_norm")
    names = ["W1", "gamma1", "beta1", "W2", "gamma2", "beta2", "W3", "b3"]
    assert list(model.parameter_dict()) == names
    assert {id(v) for v in model.trainable_variables} == {id(v) for v in model.parameter_dict().values()}
    assert {id(v) for v in model.non_trainable_variables} == {id(v) for v in model.statistics_dict().values()}


def test_averages_that_are_assigned_are_those_of_inference(blobs):
    model = classifier(normalization="batch_norm")
    before = models.predict(model, blobs[0]).numpy()
    model.statistics_dict()["running_mean1"].assign(np.full(6, 0.5))
    assert np.abs(models.predict(model, blobs[0]) - before).max() > 1e-3


MODELS_WITHOUT_BIASES = [
    (models.single_neuron, (3,), ["W1"]),
    (models.logistic_regression, (3,), ["W1"]),
    (models.shallow_network, (3,), ["W1", "W2"]),
    (models.deep_network, ((3, 2, 1),), ["W1", "W2"]),
    (models.multi_task_network, ((3, 2, 2),), ["W1", "W2"]),
    (models.softmax_classifier, ((3, 2, 3),), ["W1", "W2"]),
]


@pytest.mark.parametrize(("make", "arguments", "names"), MODELS_WITHOUT_BIASES)
def test_a_model_without_biases_has_weights_alone_and_its_logits_are_products(make, arguments, names):
    assert {f.__name__ for f, _, _ in MODELS_WITHOUT_BIASES} == set(models.MODELS)
    model, x = make(*arguments, bias=False), tf.constant([[1.0, -2.0, 0.5]])
    assert list(model.parameter_dict()) == names
    assert not any(model.has_bias(layer) for layer in (1, model.depth))
    a = x
    for layer, w in enumerate(model.weights, start=1):
        z = tf.matmul(a, w, transpose_b=True)
        a = activations.ACTIVATIONS[model.activation](z) if layer < model.depth else z
    np.testing.assert_array_equal(model(x), z)
    with pytest.raises(ValueError, match="bias='yes' is not allowed: must be one of False, True"):
        make(*arguments, bias="yes")


def test_a_layer_has_a_bias_unless_it_is_normalised_over_the_batch():
    def biased(model):
        return [model.has_bias(layer) for layer in (1, 2, 3)]

    assert biased(classifier()) == biased(classifier(normalization="layer_norm")) == [True, True, True]
    assert biased(classifier(normalization="batch_norm")) == [False, False, True]
    model = classifier(normalization="batch_norm", bias=False)
    assert biased(model) == [False, False, False]
    assert list(model.parameter_dict()) == ["W1", "gamma1", "beta1", "W2", "gamma2", "beta2", "W3"]


def test_a_new_head_on_a_model_without_biases_has_none(blobs):
    new = models.replace_head(classifier(bias=False), tf.random.Generator.from_seed(3), outputs=2)
    assert list(new.parameter_dict()) == ["W1", "W2", "W3"]
    fit(new, (blobs[0], blobs[1] % 2), epochs=1)


def test_layer_norm_trains_with_frozen_layers_in_either_precision(blobs):
    for dtype in (tf.float32, tf.float64):
        model = classifier(normalization="layer_norm", dtype=dtype)
        before = values(model.parameter_dict())
        fit(model, (blobs[0].astype(dtype.as_numpy_dtype), blobs[1]), frozen_layers=1, epochs=1)
        changed = [n for n, value in values(model.parameter_dict()).items() if not np.array_equal(value, before[n])]
        assert changed == ["W2", "b2", "gamma2", "beta2", "W3", "b3"]


def test_a_new_head_leaves_the_old_model_alone_and_copies_the_other_layers(blobs):
    model = classifier(normalization="batch_norm")
    fit(model, blobs, epochs=2)
    new = models.replace_head(model, tf.random.Generator.from_seed(3), outputs=2, output="sigmoid")
    assert (new.layer_sizes, new.output, new.dtype) == ((4, 6, 5, 2), "sigmoid", tf.float64)
    hidden, copied = (models.intermediates(m, blobs[0])["A2"].numpy() for m in (model, new))
    np.testing.assert_array_equal(hidden, copied)
    assert np.ptp(new.parameter_dict()["W3"]) > 0
    kept = values(model.parameter_dict())
    targets = np.zeros((30, 2))
    fit_with(training, new, blobs[0], targets, loss="binary_cross_entropy", optimizer=optimizers.adam(RATE), epochs=1)
    for name, value in values(model.parameter_dict()).items():
        np.testing.assert_array_equal(value, kept[name])


# --- optimizers against TensorFlow's own kernels --------------------------------------------------------------------


def gradient_sequence():
    random = np.random.default_rng(7)
    scales = [1.0, 0.0, 1e-10, 1.0, 1e10]
    return [scales[step % 5] * random.normal(size=(3, 2)) for step in range(50)]


def run(optimizer):
    w = tf.Variable(np.ones((3, 2)))
    for gradient in gradient_sequence():
        optimizer.update({"w": tf.constant(gradient)}, {"w": w})
    return w.numpy()


def run_kernel(kernel, slots, **hyperparameters):
    """Fifty steps of a raw kernel in float64; ``hyperparameters`` may be functions of the step."""
    w = tf.Variable(np.ones((3, 2)))
    variables = {slot: tf.Variable(np.zeros((3, 2))) for slot in slots}
    handles = {slot: variable.handle for slot, variable in variables.items()}
    for t, gradient in enumerate(gradient_sequence(), start=1):
        numbers = {name: value(t) if callable(value) else value for name, value in hyperparameters.items()}
        kernel(var=w.handle, grad=tf.constant(gradient), lr=RATE, **handles, **numbers)
    return w.numpy()


ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8} | {
    f"beta{i}_power": lambda t, beta=beta: beta**t for i, beta in ((1, 0.9), (2, 0.999))
}
RMSPROP = {"rho": 0.9, "momentum": 0.9, "epsilon": 1e-8}


@functools.lru_cache
def kernel_results():
    raw = tf.raw_ops
    return {
        "adam": run_kernel(raw.ResourceApplyAdam, "mv", **ADAM),
        "momentum": run_kernel(raw.ResourceApplyMomentum, ["accum"], momentum=0.9),
        "nesterov": run_kernel(raw.ResourceApplyMomentum, ["accum"], momentum=0.9, use_nesterov=True),
        "rmsprop": run_kernel(raw.ResourceApplyRMSProp, ["ms", "mom"], **RMSPROP),
        "centered": run_kernel(raw.ResourceApplyCenteredRMSProp, ["mg", "ms", "mom"], **RMSPROP | {"epsilon": 1e-3}),
    }


def test_the_formulations_of_tensorflows_own_kernels_are_equal_to_them():
    kernels = kernel_results()
    rmsprop = {"beta": 0.9, "momentum": 0.9, "epsilon_position": "inside_root", "learning_rate_position": "inside"}
    ours = {
        "adam": optimizers.adam(RATE, epsilon_position="before_correction"),
        "momentum": optimizers.momentum(RATE, accumulation="sum"),
        "nesterov": optimizers.momentum(RATE, accumulation="sum", nesterov=True),
        "rmsprop": optimizers.rmsprop(RATE, **rmsprop),
        "centered": optimizers.rmsprop(RATE, centered=True, epsilon=1e-3, **rmsprop),
    }
    for name, optimizer in ours.items():
        np.testing.assert_allclose(run(optimizer), kernels[name], rtol=KERNEL_UNITS * UNIT, err_msg=name)


def test_the_canonical_formulations_are_not_those_of_the_kernels():
    kernels = kernel_results()
    canonical = {
        "adam": optimizers.adam(RATE),
        "momentum": optimizers.momentum(RATE),
        "rmsprop": optimizers.rmsprop(RATE, momentum=0.9),
    }
    for name, optimizer in canonical.items():
        assert np.max(np.abs(run(optimizer) / kernels[name] - 1)) > 1e-6, name


def test_the_bias_correction_is_accurate_in_float32():
    w, optimizer = tf.Variable(np.zeros(1, np.float32)), optimizers.adam(1.0, epsilon=0.0)
    optimizer.build({"w": w})
    optimizer.slots["second_moment"]["w"].assign([1.0])
    optimizer.update({"w": tf.ones(1)}, {"w": w})
    # m^ = 1 and v^ = 1 / (1 - 0.999). With betas in float32, 1 - 0.999 would be 1e-5 off, and this by half of it.
    assert w.numpy()[0] == pytest.approx(-(0.001**0.5), rel=4 * 2.0**-24)


def test_a_step_continues_from_any_state_that_is_given_or_assigned():
    gradients = [{"w": tf.constant(g)} for g in np.random.default_rng(8).normal(size=(3, 4))]
    w, optimizer = {"w": tf.Variable(np.ones(4))}, optimizers.adam(RATE)
    for gradient in gradients[:2]:
        optimizer.update(gradient, w)
    other_w, other = {"w": tf.Variable(w["w"].numpy())}, optimizers.adam(RATE)
    third_w, third = {"w": tf.Variable(w["w"].numpy())}, optimizers.adam(RATE)
    other.build(other_w)
    other.step.assign(2)
    for slot, variables in optimizer.slots.items():
        other.slots[slot]["w"].assign(variables["w"].numpy())
    third.build(third_w, optimizer.state())
    for one, variables in ((optimizer, w), (other, other_w), (third, third_w)):
        one.update(gradients[2], variables)
    np.testing.assert_array_equal(w["w"], other_w["w"])
    np.testing.assert_array_equal(w["w"], third_w["w"])


def test_the_optimizers_file_can_be_copied_out_with_the_checks_that_it_uses(tmp_path, monkeypatch):
    folder = tmp_path / "copied_out"
    folder.mkdir()
    for name in ("optimizers.py", "_common.py"):
        shutil.copy(Path(optimizers.__file__).with_name(name), folder)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("copied_out.optimizers")
    np.testing.assert_array_equal(run(module.adam(RATE)), run(optimizers.adam(RATE)))


def test_a_model_and_its_optimizer_survive_a_checkpoint(blobs, tmp_path):
    model, optimizer = classifier(normalization="batch_norm"), optimizers.adam(RATE)
    history = fit(model, blobs, optimizer, epochs=2)
    path = tf.train.Checkpoint(model=model, optimizer=optimizer).save(tmp_path / "checkpoint")
    other, other_optimizer = classifier(seed=9, normalization="batch_norm"), optimizers.adam(RATE)
    other_optimizer.build(other.parameter_dict())
    tf.train.Checkpoint(model=other, optimizer=other_optimizer).restore(path).assert_consumed()
    for name, value in values(other.parameter_dict()).items():
        np.testing.assert_array_equal(value, history.parameters[name])
    for name, value in values(other.statistics_dict()).items():
        np.testing.assert_array_equal(value, history.statistics[name])
    assert int(other_optimizer.step) == 2


def test_a_history_keeps_its_values_when_training_goes_on(blobs):
    model = classifier()
    history = fit(model, blobs, epochs=2, checkpoint_epochs=(1, 2))
    kept = values(history.parameters)
    fit(model, blobs, epochs=1)
    for name, value in values(history.parameters).items():
        np.testing.assert_array_equal(value, kept[name])
        np.testing.assert_array_equal(value, history.checkpoints[2][name])
        assert not np.array_equal(value, history.checkpoints[1][name])
