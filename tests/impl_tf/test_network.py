"""Networks of layers as models: against the reference, and as TensorFlow's users take them."""

import numpy as np
import pytest
import tensorflow as tf

import reference_numpy.layers
from impl_tf import layers, losses, models, optimizers, regularizers, schedules, training
from reference_numpy import models as reference_models
from reference_numpy import optimizers as reference_optimizers
from reference_numpy import regularizers as reference_regularizers
from reference_numpy import training as reference_training
from tests.training_settings import fit_with, gradients_with

from ..layer_situations import INTEGERS

UNITS = 1e-12  # of the largest number of a tensor: sums in another order, and what two epochs make of them
EXAMPLES, EPOCHS, BATCH, STEPS = 10, 2, 4, 3  # the last of an epoch's three batches holds two examples
RANDOM = np.random.default_rng(3)


def tabular(layers):
    """Dense layers with all that a training has to keep: running averages, masks, weights and scales."""
    return (
        layers.dense(6, bias=False), layers.batch_norm(momentum=0.6), layers.activation("tanh"), layers.dropout(0.7),
        layers.residual(layers.sequence(layers.dense(6), layers.dropout(0.5))), layers.dense(3),
    )  # fmt: skip


def images(layers):
    """A convolution's kernels, whose norms are over three axes."""
    return (
        layers.convolution(4, (3, 2), bias=False), layers.batch_norm(running_variance="unbiased"),
        layers.activation("relu"), layers.max_pool((2, 2)), layers.flatten(), layers.dropout(0.7), layers.dense(3),
    )  # fmt: skip


def tokens(layers):
    """Integers, of which zeros are no steps."""
    return layers.embedding(INTEGERS, 4, mask_zero=True), layers.lstm(5), layers.dropout(0.7), layers.dense(3)


def sequences(layers):
    """A mask that goes through four layers, one of them a sequence."""
    return (
        layers.masking(0.5), layers.sequence(layers.gru(4, return_sequences=True), layers.activation("tanh")),
        layers.residual(layers.attention(2, bias=False)), layers.layer_norm(), layers.global_average_pool(),
        layers.dense(3),
    )  # fmt: skip


NETWORKS = {
    "tabular": (tabular, (4,)),
    "images": (images, (6, 5, 2)),
    "tokens": (tokens, (5,)),
    "sequences": (sequences, (5, 3)),
}
LABELS = RANDOM.integers(0, 3, EXAMPLES)


def inputs(name, examples=EXAMPLES):
    generator, (_, shape) = np.random.default_rng(4), NETWORKS[name]
    if name == "tokens":
        return generator.integers(INTEGERS, size=(examples, *shape)) * (np.arange(5) < [[5], [2], [3], [0], [4]] * 2)
    x = generator.standard_normal((examples, *shape))
    if name == "sequences":
        x[1, 3:] = x[2, :2] = x[5] = 0.5
    return x


def network(name, dtype="float64", output="softmax"):
    """The network with numbers for every parameter, biases too."""
    make, shape = NETWORKS[name]
    model = models.network(make(layers), shape, output=output)
    models.initialize(model, tf.random.Generator.from_seed(0), dtype=dtype)
    generator = np.random.default_rng(5)
    for variable in model.parameter_dict().values():
        variable.assign(0.5 * generator.standard_normal(variable.shape))
    return model


def pair(name):
    """The same network twice, and the reference's parameters."""
    make, shape = NETWORKS[name]
    model = network(name)
    return (
        model,
        reference_models.network(make(reference_numpy.layers), shape, output="softmax"),
        arrays(model.parameter_dict()),
    )


def arrays(tensors):
    return {name: np.asarray(tensor).copy() for name, tensor in tensors.items()}


def masks_of(reference, examples=EXAMPLES):
    return reference.draw_masks(np.random.default_rng(6), examples)


def assert_close(observed, expected):
    assert list(observed) == list(expected)
    for name, value in expected.items():
        largest = np.max(np.abs(value), initial=0.0)
        np.testing.assert_allclose(observed[name], value, rtol=0, atol=UNITS * largest, err_msg=name)


def assert_same(tensors, expected):
    assert list(tensors) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


# --- against the reference -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_says_of_itself_what_the_references_does(name):
    model, reference, parameters = pair(name)
    for attribute in ("depth", "input_shape", "output", "outputs", "logits_name", "output_name", "weight_names"):
        assert getattr(model, attribute) == getattr(reference, attribute), attribute
    assert {path: w.shape for path, w in parameters.items()} == reference.parameter_shapes
    assert [w.ref() for w in model.weights] == [model.parameter_dict()[path].ref() for path in model.weight_names]
    drawn, expected = model.draw_masks(tf.random.Generator.from_seed(0), 7), masks_of(reference, 7)
    assert {path: tuple(mask.shape) for path, mask in drawn.items()} == {path: m.shape for path, m in expected.items()}
    statistics = arrays(models.initial_statistics(model, dtype=tf.float64))
    assert_same(statistics, reference_models.initial_statistics(reference))
    assert all(value.dtype == np.float64 for value in statistics.values())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_the_references_with_and_without_masks_in_training_and_inference(name, training):
    model, reference, parameters = pair(name)
    x, statistics = inputs(name), reference_models.initial_statistics(reference)
    for masks in (None, masks_of(reference)):
        expected = reference_models.intermediates(reference, parameters, x, statistics, masks=masks, training=training)
        found = models.intermediates(model, x, masks=masks, training=training)
        assert list(found)[-2:] == ["Z", "A"]
        assert_close(arrays(found), expected)
        logits, values = model.forward(x, masks=masks, training=training)
        np.testing.assert_array_equal(values["Z"], logits)
        np.testing.assert_array_equal(values["A0"], x)
    assert_same(arrays(model.statistics_dict()), statistics)
    assert_close({"A": models.predict(model, x)}, {"A": reference_models.predict(reference, parameters, x, statistics)})
    labels = reference_models.predict_classes(reference, parameters, x, statistics)
    np.testing.assert_array_equal(models.predict_classes(model, x), labels)
    moved = reference_models.update_statistics(reference, parameters, x, statistics)
    assert_close(arrays(models.update_statistics(model, x)), moved)


@pytest.mark.parametrize("loss", ["categorical_cross_entropy", "categorical_cross_entropy_from_probabilities"])
@pytest.mark.parametrize("name", NETWORKS)
def test_costs_and_gradients_are_the_references(name, loss):
    model, reference, parameters = pair(name)
    x = inputs(name)
    options = {"loss": loss, "masks": masks_of(reference), "example_weights": np.linspace(0.5, 2.0, EXAMPLES)}
    options["input_gradient"] = True
    ours = gradients_with(training, model, x, LABELS, penalties=(regularizers.l2(0.3),), **options)
    penalties = (reference_regularizers.l2(0.3),)
    expected = gradients_with(reference_training, reference, parameters, x, LABELS, penalties=penalties, **options)
    for field in ("cost", "data_loss", "penalty"):
        assert float(getattr(ours, field)) == pytest.approx(float(getattr(expected, field)), rel=UNITS)
    assert ("A0" in ours.gradients) == (name != "tokens")
    assert_close(arrays(ours.gradients), expected.gradients)
    without = gradients_with(training, model, x, LABELS, loss=loss)
    assert list(without.gradients) == list(parameters)


def curves(history):
    return {name: getattr(history, name) for name in ("costs", "learning_rates", "gradient_norms", "validation_costs")}


def assert_histories_close(history, expected):
    assert_close(curves(history), curves(expected))
    assert_close(arrays(history.parameters), expected.parameters)
    assert_close(arrays(history.statistics), expected.statistics)
    assert (history.optimizer_state.step, history.best_epoch) == (expected.optimizer_state.step, expected.best_epoch)
    for slot, held in expected.optimizer_state.slots.items():
        assert_close(history.optimizer_state.slots[slot], held)


def tape(reference):
    generator = np.random.default_rng(7)
    masks = [reference.draw_masks(generator, EXAMPLES) for _ in range(EPOCHS)]
    return {
        "batch_order": np.stack([generator.permutation(EXAMPLES) for _ in range(EPOCHS)]),
        "dropout_masks": {path: np.stack([drawn[path] for drawn in masks]) for path in masks[0]},
    }


def fits(name, ours, theirs=None, **common):
    """The histories of both packages; ``ours`` and ``theirs`` make options that are each package's own."""
    model, reference, parameters = pair(name)
    x = inputs(name)
    common = {
        "loss": "categorical_cross_entropy", "epochs": EPOCHS, "batch_size": BATCH, "checkpoint_epochs": (1,),
        "validation": (x[:4], LABELS[3:7]), **tape(reference), **common,
    }  # fmt: skip
    history = fit_with(training, model, x, LABELS, **ours(regularizers, optimizers), **common)
    own = (theirs or ours)(reference_regularizers, reference_optimizers)
    return history, fit_with(reference_training, reference, parameters, x, LABELS, **own, **common), model, parameters


def regularized(regularizers, optimizers):
    return {
        "optimizer": optimizers.momentum(0.1), "penalties": (regularizers.l2(0.1), regularizers.l1(0.01)),
        "constraint": regularizers.max_norm(0.8), "clipping": regularizers.clip_by_global_norm(0.5),
        "schedule": schedules.exponential(0.1, base=0.8), "schedule_unit": "step",
    }  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_two_epochs_of_fit_are_the_references(name):
    history, expected, model, parameters = fits(name, regularized, example_weights=np.linspace(0.5, 2.0, EXAMPLES))
    assert_histories_close(history, expected)
    assert_close(arrays(history.checkpoints[1]), expected.checkpoints[1])
    assert_same(arrays(model.parameter_dict()), arrays(history.parameters))
    assert_same(arrays(model.statistics_dict()), arrays(history.statistics))
    for path in model.weight_names:  # the rows of some were longer before
        norms = np.sqrt(np.sum(np.square(history.parameters[path]).reshape(len(parameters[path]), -1), axis=1))
        assert np.max(norms) <= 0.8 * (1 + UNITS), path


@pytest.mark.parametrize("name", ["tabular", "tokens"])
def test_frozen_layers_and_biases_are_left_alone(name):
    def options(regularizers, optimizers):
        return {"optimizer": optimizers.momentum(0.1), "clipping": regularizers.clip_by_global_norm(0.5)}

    history, expected, model, before = fits(name, options, frozen_layers=1, frozen_biases=True)
    assert_histories_close(history, expected)
    after = arrays(model.parameter_dict())
    changed = [path for path, value in before.items() if not np.array_equal(after[path], value)]
    trained = {"tabular": ["2.gamma", "2.beta", "5.1.W", "6.W"], "tokens": ["2.W", "2.U", "4.W"]}
    assert changed == list(history.optimizer_state.slots["velocity"]) == trained[name]


def test_a_training_of_nothing_is_refused():
    model = models.network([layers.dense(3), layers.activation("tanh")], (4,), output="softmax")
    models.initialize(model, tf.random.Generator.from_seed(0), dtype="float64")
    options = {"loss": "categorical_cross_entropy", "optimizer": optimizers.momentum(0.1), "epochs": 2}
    with pytest.raises(ValueError, match="frozen_layers=1 is not allowed: it leaves no parameter to train"):
        fit_with(training, model, inputs("tabular"), LABELS, frozen_layers=1, **options)


@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_ends_training_where_the_reference_does(restore_best):
    def options(regularizers, optimizers):
        monitor = regularizers.early_stopping(patience=1, restore_best=restore_best)
        return {"optimizer": optimizers.gradient_descent(), "early_stopping": monitor}

    longer = {"epochs": 4, "batch_order": None, "dropout_masks": {}, "batch_size": None}
    rates = {"schedule": [0.1, 0.01, 50.0, 0.1].__getitem__}  # the third epoch ruins it
    history, expected, model, _ = fits("tokens", options, **longer, **rates)
    assert_histories_close(history, expected)
    assert history.best_epoch == 2
    assert len(history.validation_costs) == 3
    assert_same(arrays(model.statistics_dict()), arrays(history.statistics))


@pytest.mark.parametrize(("name", "fed"), [("tabular", True), ("tabular", False), ("tokens", False)])
def test_two_halves_equal_the_whole_to_the_last_bit(name, fed):
    draws = tape(pair(name)[1]) if fed else {}

    def fit(model, first, last, **options):
        here = {
            "batch_order": draws["batch_order"][first:last],
            "dropout_masks": {path: masks[first:last] for path, masks in draws["dropout_masks"].items()},
        } if fed else {"seed": 3}  # fmt: skip
        return fit_with(
            training, model, inputs(name), LABELS, loss="categorical_cross_entropy", optimizer=optimizers.adam(0.05),
            epochs=last - first, batch_size=BATCH, schedule=schedules.inverse_time(0.05), **here, **options,
        )  # fmt: skip

    whole, model = fit(network(name), 0, 2), network(name)
    half = fit(model, 0, 1)
    second = fit(model, 1, 2, optimizer_state=half.optimizer_state, statistics=half.statistics)
    np.testing.assert_array_equal(np.concatenate([half.costs, second.costs]), whole.costs)
    assert_same(arrays(second.parameters), arrays(whole.parameters))
    assert_same(arrays(second.statistics), arrays(whole.statistics))
    assert second.optimizer_state.step == EPOCHS * STEPS
    for slot, held in whole.optimizer_state.slots.items():
        assert_same(second.optimizer_state.slots[slot], held)


def test_fit_draws_masks_from_its_seed_anew_in_every_epoch():
    def costs(seed):
        options = {"optimizer": optimizers.gradient_descent(0.0), "loss": "categorical_cross_entropy", "epochs": 3}
        return fit_with(training, network("tabular"), inputs("tabular"), LABELS, seed=seed, **options).costs

    one = costs(1)
    assert len(set(one)) == 3
    np.testing.assert_array_equal(costs(1), one)
    assert not np.any(costs(2) == one)
    model = models.network([layers.dropout(0.7), layers.dense(1)], (500,))
    (mask,) = model.draw_masks(tf.random.Generator.from_seed(0), 200).values()
    assert np.mean(mask) == pytest.approx(0.7, abs=0.01)


# --- masks that layers make ------------------------------------------------------------------------------------------


def test_steps_of_a_token_0_are_not_there_for_what_follows():
    model = network("tokens")
    x = np.array([[3, 0, 4, 0, 0], [3, 4, 0, 0, 0]])
    logits = model(x).numpy()
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-13)
    plain = layers.sequence(layers.embedding(INTEGERS, 4), layers.lstm(5), layers.dense(3))
    plain.build((5,), dtype="float64")
    for variable, value in zip(plain.parameter_dict().values(), model.parameter_dict().values(), strict=True):
        variable.assign(value)
    assert np.abs(plain(x) - logits).max() > 1e-3
    np.testing.assert_allclose(plain(x, mask=x > 0), logits, rtol=1e-13)


def test_a_mask_that_is_given_and_one_that_is_made_hold_both():
    layer, given = layers.embedding(5, 2, mask_zero=True), tf.constant([[True, True, False]])
    x = tf.constant([[0, 2, 3]])
    np.testing.assert_array_equal(layer.next_mask(x, None), [[False, True, True]])
    np.testing.assert_array_equal(layer.next_mask(x, given), [[False, True, False]])
    assert layers.embedding(5, 2).next_mask(x, None) is None
    assert layers.embedding(5, 2).next_mask(x, given) is given


def test_masking_takes_steps_away_that_are_all_of_the_value():
    layer = layers.masking(2.0)
    x = tf.constant([[[2.0, 2.0], [2.0, 1.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(layer(x), [[[0, 0], [2, 1], [0, 0]]])
    np.testing.assert_array_equal(layer.next_mask(x, None), [[False, True, True]])
    np.testing.assert_array_equal(layer.next_mask(x, tf.constant([[True, False, True]])), [[False, False, True]])
    for wrong in (np.inf, "0", None):
        with pytest.raises(ValueError, match="must be a finite number"):
            layers.masking(wrong)
    with pytest.raises(ValueError, match=r"Masking cannot take examples of shape \(3,\): must be \(t, n\)"):
        layer.output_shape((3,))
    with pytest.raises(ValueError, match="mask_zero='yes' is not allowed"):
        layers.embedding(3, 2, mask_zero="yes")


def test_a_mask_goes_on_as_far_as_layers_hand_it_on():
    x = tf.constant([[[1.0], [0.0]]])
    masking, pool = layers.masking(), layers.global_average_pool()
    seen = [[True, False]]
    for layer in (
        layers.sequence(masking, layers.dense(1)),
        layers.residual(layers.sequence(masking, layers.dense(1))),
    ):
        np.testing.assert_array_equal(layer.next_mask(x, None), seen)
    for layer in (
        layers.sequence(masking, pool),
        layers.parallel(masking, masking),
        layers.sequence(layers.dense(1), masking),
    ):
        assert layer.next_mask(x, None) is None
    np.testing.assert_array_equal(layers.sequence(masking, pool)(tf.constant([[[3.0], [0.0]]])), [[3.0]])


def test_masks_are_keras_s():
    keras = pytest.importorskip("keras")
    x = inputs("tokens")
    theirs = keras.Sequential([
        keras.layers.Embedding(INTEGERS, 4, mask_zero=True, dtype="float64"),
        keras.layers.LSTM(5, dtype="float64"),
        keras.layers.Dense(3, dtype="float64"),
    ])  # fmt: skip
    theirs.build(x.shape)
    model = network("tokens")
    table, w, u, b, kernel, bias = arrays(model.parameter_dict()).values()
    theirs.set_weights([table, w.T, u.T, b, kernel.T, bias])
    np.testing.assert_allclose(model(x), theirs(x), rtol=1e-12)
    steps = inputs("sequences")
    masking = keras.layers.Masking(0.5, dtype="float64")
    np.testing.assert_array_equal(layers.masking(0.5)(steps), masking(steps))
    np.testing.assert_array_equal(layers.masking(0.5).next_mask(tf.constant(steps), None), masking.compute_mask(steps))


# --- in use ----------------------------------------------------------------------------------------------------------


def dense_network(**options):
    options = {"keep_probability": 0.7, "normalization": "batch_norm", **options}
    model = models.softmax_classifier((4, 6, 5, 3), **options)
    return models.initialize(model, tf.random.Generator.from_seed(1), dtype=tf.float64)


def tabular_network():
    return network("tabular")


@pytest.mark.parametrize("make", [dense_network, tabular_network])
def test_a_call_in_training_draws_dropout_and_moves_averages_and_others_do_neither(make):
    model, x = make(), inputs("tabular")
    start = arrays(model.statistics_dict())
    np.testing.assert_array_equal(model(x), model(x))
    models.predict(model, x)
    models.predict_classes(model, x)
    models.intermediates(model, x, training=True)
    gradients_with(training, model, x, LABELS, loss="categorical_cross_entropy")
    assert_same(arrays(model.statistics_dict()), start)
    compiled = tf.function(model)
    for call in (model, compiled):
        one, other = (call(x, training=True).numpy() for _ in range(2))
        assert np.abs(one - other).max() > 1e-3
        moved = arrays(model.statistics_dict())
        assert all(np.any(moved[name] != value) for name, value in start.items())
        start = moved
    np.testing.assert_allclose(compiled(x), model(x), rtol=UNITS)


@pytest.mark.parametrize("make", [dense_network, tabular_network])
def test_masks_that_are_given_are_taken_in_place_of_drawn_ones(make):
    model, x = make(), inputs("tabular")
    masks = model.draw_masks(tf.random.Generator.from_seed(2), EXAMPLES)
    expected, values = model.forward(x, masks=masks, training=True)
    without = model.forward(x, training=True)[0]
    assert np.abs(expected - without).max() > 1e-3
    moved = make()
    moved.assign_statistics(values)
    np.testing.assert_array_equal(model(x, masks, training=True), expected)
    assert_same(arrays(model.statistics_dict()), arrays(moved.statistics_dict()))
    np.testing.assert_array_equal(model(x, {}, training=True), without)


@pytest.mark.parametrize("make", [dense_network, tabular_network])
def test_equal_generators_give_equal_models_that_draw_alike(make):
    def drawn(seed):
        model = make()
        models.initialize(model, tf.random.Generator.from_seed(seed), dtype="float64")
        return [model(inputs("tabular"), training=True).numpy() for _ in range(2)]

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert np.any(drawn(1)[0] != drawn(2)[0])


def test_a_dense_networks_own_draws_use_up_none_of_the_generator_of_its_weights():
    generator, other = (tf.random.Generator.from_seed(1) for _ in range(2))
    models.initialize(dense_network(), generator)
    models.initialize(dense_network(keep_probability=1.0), other)
    np.testing.assert_array_equal(generator.state, other.state)


@pytest.mark.parametrize("make", [dense_network, tabular_network])
def test_a_compiled_step_takes_any_number_of_examples(make):
    model, optimizer = make(), optimizers.adam(0.01)
    traces = []

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float64), tf.TensorSpec((None,), tf.int64)])
    def step(x, y):
        traces.append(1)
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(losses.categorical_cross_entropy(model(x, training=True), y))
        parameters = model.parameter_dict()
        optimizer.update(tape.gradient(cost, parameters), parameters)
        return cost

    x, y, before = inputs("tabular"), LABELS, arrays(model.statistics_dict())
    costs = [float(step(x[:size], y[:size])) for size in (10, 7, 10, 3)]
    assert np.all(np.isfinite(costs))
    assert len(traces) <= 2  # the second is without what the first makes
    assert all(np.any(value != before[name]) for name, value in arrays(model.statistics_dict()).items())


def test_a_loop_of_ones_own_takes_the_steps_of_fit():
    model, optimizer = network("tokens"), optimizers.adam(0.02)
    model.layers.layers[2].keep_probability = 1.0
    x, y, parameters = tf.constant(inputs("tokens")), tf.constant(LABELS), model.parameter_dict()
    optimizer.build(parameters)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(losses.categorical_cross_entropy(model(x, training=True), y))
        optimizer.update(tape.gradient(cost, parameters), parameters)
        return cost

    costs = [float(step()) for _ in range(30)]
    ours = fit_with(
        training, network("tokens"), x, y, loss="categorical_cross_entropy", optimizer=optimizers.adam(0.02), epochs=30,
        dropout_masks={},
    )  # fmt: skip
    np.testing.assert_allclose(costs, ours.costs, rtol=1e-10)
    assert costs[-1] < 0.7 * costs[0]


def test_an_epoch_is_traced_once_for_any_number_of_fits(monkeypatch):
    calls, original = [], losses.categorical_cross_entropy

    def counted(*arguments, **options):
        calls.append(1)
        return original(*arguments, **options)

    monkeypatch.setitem(losses.LOSSES, "categorical_cross_entropy", counted)
    model, optimizer = network("tabular"), optimizers.momentum(0.1)
    for traced in (3, 1, 1):  # the check before training, the full batches, and the last small one
        calls.clear()
        models.initialize(model, tf.random.Generator.from_seed(0), dtype="float64")
        options = {"loss": "categorical_cross_entropy", "optimizer": optimizer, "batch_size": BATCH, "epochs": 2}
        fit_with(training, model, inputs("tabular"), LABELS, **options)
        assert len(calls) == traced


@pytest.mark.parametrize("make", [dense_network, tabular_network])
def test_a_model_survives_a_checkpoint_with_its_optimizer_and_the_state_of_its_draws(tmp_path, make):
    model, optimizer, x = make(), optimizers.adam(0.01), inputs("tabular")
    options = {"loss": "categorical_cross_entropy", "epochs": 2}
    history = fit_with(training, model, x, LABELS, optimizer=optimizer, **options)
    model(x, training=True)
    path = tf.train.Checkpoint(model=model, optimizer=optimizer).save(tmp_path / "checkpoint")
    other, other_optimizer = make(), optimizers.adam(0.01)
    models.initialize(other, tf.random.Generator.from_seed(9), dtype="float64")
    other_optimizer.build(other.parameter_dict())
    tf.train.Checkpoint(model=other, optimizer=other_optimizer).restore(path).assert_consumed()
    assert_same(arrays(other.parameter_dict()), arrays(history.parameters))
    assert_same(arrays(other.statistics_dict()), arrays(model.statistics_dict()))
    assert other_optimizer.state().step == 2
    for slot, held in optimizer.state().slots.items():
        assert_same(other_optimizer.state().slots[slot], held)
    np.testing.assert_array_equal(model(x, training=True), other(x, training=True))


def test_integers_are_numbers_for_a_network_without_an_embedding():
    model = models.network(layers.dense(2), (3,))
    x = np.array([[1, 2, 3]])
    np.testing.assert_array_equal(model(x), model(x.astype(np.float32)))
    assert "A0" in gradients_with(
        training, model, x, np.zeros((1, 2), np.float32), loss="mean_squared_error", input_gradient=True
    ).gradients  # fmt: skip


def test_one_layer_is_a_sequence_of_one_and_a_sequence_is_taken_as_it_is():
    assert list(models.network(layers.dense(2), (3,)).parameter_dict()) == ["1.W", "1.b"]
    given = layers.sequence(layers.dense(4), layers.dense(2))
    model = models.network(given, [3], output="sigmoid")
    assert model.layers is given
    assert (model.depth, model.input_shape, models.predict(model, np.zeros((5, 3))).shape) == (2, (3,), (5, 2))
    np.testing.assert_array_equal(models.predict_classes(model, np.zeros((5, 3))), np.zeros((5, 2)))
    assert models.LAYERS is layers.LAYERS


@pytest.mark.parametrize(("name", "dtype"), [*((name, "float32") for name in NETWORKS), ("tokens", "float64")])
def test_the_dtype_of_the_model_is_kept_everywhere(name, dtype):
    model, x = network(name, dtype), inputs(name)
    options = {
        "constraint": regularizers.max_norm(1.0), "validation": (x, LABELS), "penalties": [regularizers.l2(0.1)],
        "example_weights": np.ones(EXAMPLES, dtype),
    }  # fmt: skip
    optimizer = optimizers.momentum(0.1)
    history = fit_with(
        training, model, x, LABELS, loss="categorical_cross_entropy", optimizer=optimizer, epochs=1, **options
    )
    found = [history.costs, history.gradient_norms, history.validation_costs, *history.parameters.values()]
    found += [*history.statistics.values(), *history.optimizer_state.slots["velocity"].values()]
    assert {np.asarray(tensor).dtype.name for tensor in found} == {model.dtype.name} == {dtype}
    given = x if name == "tokens" else tf.constant(x, dtype)
    assert gradients_with(training, model, given, LABELS, loss="categorical_cross_entropy").penalty.dtype == dtype


# --- refusals --------------------------------------------------------------------------------------------------------


REFUSED = [
    (
        lambda package, of: package.network(of.dense(2), (4,), output="tanh"),
        "output='tanh' is not allowed: must be one of",
    ),
    (
        lambda package, of: package.network(of.dense(3), (4, 2)),
        r"layers give (4, 3): must give (n,), one row of logits for each",
    ),
    (lambda package, of: package.network(of.lstm(3), (4,)), "LSTM cannot take examples of shape (4,): must be (t, n)"),
    (
        lambda package, of: package.network(of.dense(3), (0,)),
        "input_shape=(0,) is not allowed: must be sizes of one example",
    ),
    (
        lambda package, of: package.network(of.dense(3), ()),
        "input_shape=() is not allowed: must be sizes of one example",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_no_network_is_refused_in_the_words_of_the_reference(make, message):
    for package, its_layers in ((reference_models, reference_numpy.layers), (models, layers)):
        with pytest.raises(ValueError, match="must") as refused:
            make(package, its_layers)
        assert message in str(refused.value)


@pytest.mark.parametrize("given", [(), ("dense",)])
def test_what_are_no_layers_is_refused(given):
    with pytest.raises(ValueError, match="is not allowed: must be layers, at least one"):
        models.network(given, (4,))


def test_a_layer_in_two_places_is_refused_if_it_has_variables():
    shared = layers.dense(4)
    with pytest.raises(
        ValueError, match=r"layers have one variable at '1.W' and '3.W': must be a layer for each place"
    ):
        models.network([shared, layers.activation("tanh"), shared], (4,))
    tanh = layers.activation("tanh")
    assert models.network([layers.dense(4), tanh, layers.dense(4), tanh], (4,)).depth == 4


def test_inputs_of_another_shape_or_kind_are_refused():
    model = network("tabular")
    for call in (
        model,
        model.forward,
        lambda x: gradients_with(training, model, x, LABELS, loss="mean_squared_error"),
    ):
        with pytest.raises(ValueError, match=r"x has shape \(10, 3\): must be \(examples, 4\)"):
            call(np.zeros((10, 3)))
    with pytest.raises(ValueError, match=r"x has shape \(2, 6, 5\): must be \(examples, 6, 5, 2\)"):
        network("images")(np.zeros((2, 6, 5)))
    with pytest.raises(ValueError, match="float32"):
        model(tf.zeros((2, 4)))
    with pytest.raises(ValueError, match="x has dtype float64: must be integers"):
        network("tokens")(np.zeros((2, 5)))


def test_integers_out_of_range_are_refused_before_training():
    model = network("tokens")
    before = arrays(model.parameter_dict())
    for outside in (-1, INTEGERS):
        x = inputs("tokens")
        x[3, 1] = outside
        with pytest.raises(ValueError, match=r"must be in 0 \.\. 6"):
            fit_with(training, model, x, LABELS, loss="categorical_cross_entropy", optimizer=optimizers.adam())
    assert_same(arrays(model.parameter_dict()), before)


def test_what_only_a_dense_network_has_is_refused_in_the_words_of_the_reference():
    model, reference, parameters = pair("tabular")
    for ours, theirs in (
        (
            lambda: models.initialize(model, None, initializer="zeros"),
            lambda: reference_models.initialize(reference, None, initializer="zeros"),
        ),
        (
            lambda: models.replace_head(model, None, outputs=2),
            lambda: reference_models.replace_head(reference, parameters, None, outputs=2),
        ),
    ):
        with pytest.raises(ValueError, match="network of layers") as expected:
            theirs()
        with pytest.raises(ValueError, match="network of layers") as refused:
            ours()
        assert str(refused.value) == str(expected.value)


def test_a_network_whose_output_is_no_class_predicts_none():
    model = network("tabular", output="identity")
    with pytest.raises(ValueError, match="output='identity' does not predict classes: must be 'sigmoid' or 'softmax'"):
        models.predict_classes(model, inputs("tabular"))


def test_training_refuses_what_a_network_cannot_go_on_from():
    model = network("tabular")
    options = {"loss": "categorical_cross_entropy", "optimizer": optimizers.momentum()}
    with pytest.raises(ValueError, match=r"frozen_layers=6 is not allowed: must be in 0 \.\. 5"):
        fit_with(training, model, inputs("tabular"), LABELS, frozen_layers=6, **options)
    state = optimizers.OptimizerState(3, {"velocity": {}})
    with pytest.raises(ValueError, match=r"slot 'velocity', has no '1.W': must hold 1.W, 2.gamma, 2.beta"):
        fit_with(training, model, inputs("tabular"), LABELS, optimizer_state=state, **options)
    with pytest.raises(
        ValueError, match=r"statistics has no '2.running_mean': must hold 2.running_mean, 2.running_var"
    ):
        fit_with(training, model, inputs("tabular"), LABELS, statistics={}, **options)
