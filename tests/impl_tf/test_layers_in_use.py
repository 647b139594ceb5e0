"""Layers as TensorFlow's own users take them: their variables, draws, training loops and checkpoints."""

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import layers, losses, optimizers

from ..layer_situations import INTEGERS
from .test_layers import arrays, assert_close, built

# --- variables --------------------------------------------------------------------------------------------------------


def network():
    return layers.sequence(
        layers.convolution(4, (3,), padding="same"),
        layers.batch_norm(),
        layers.residual(layers.sequence(layers.dense(4), layers.dropout(0.5))),
        layers.bidirectional(layers.lstm(3)),
        layers.dense(1),
    )


PATHS = ["1.W", "1.b", "2.gamma", "2.beta", "3.1.W", "3.1.b"]
PATHS += [f"4.{direction}.{name}" for direction in ("forward", "backward") for name in ("W", "U", "b")]
PATHS += ["5.W", "5.b"]


def test_variables_are_named_by_their_paths_and_weights_are_those_that_begin_with_w_or_u():
    model = network()
    assert model.build((6, 2)) == (1,)
    assert list(model.parameter_dict()) == PATHS
    assert list(model.statistics_dict()) == ["2.running_mean", "2.running_variance"]
    assert [v.name for v in model.parameter_dict().values()] == [f"{path.replace('.', '/')}:0" for path in PATHS]
    weights = [path for path in PATHS if path[-1] in "WU"]
    assert [w.ref() for w in model.weights] == [model.parameter_dict()[path].ref() for path in weights]
    trainable = {v.ref() for v in model.trainable_variables}
    assert trainable == {v.ref() for v in model.parameter_dict().values()}
    assert len(model.variables) == len(PATHS) + 2


@pytest.mark.parametrize("wrap", [lambda model: model, tf.function])
def test_the_first_call_makes_the_variables_in_the_dtype_of_its_input(wrap):
    for dtype in (tf.float32, tf.float64):
        model = network()
        y = wrap(model)(tf.ones((2, 6, 2), dtype))
        assert y.dtype == model.dtype == dtype
        assert list(model.parameter_dict()) == PATHS
        assert all(v.dtype == dtype for v in model.variables)
    tokens = layers.embedding(4, 2)
    assert wrap(tokens)(tf.constant([[1, 2]])).dtype == tf.float32


def test_building_again_draws_anew_into_the_same_variables():
    model = built(network(), (6, 2))
    call = tf.function(model)
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 6, 2)))
    before, variables = call(x), model.parameter_dict()
    model.build((6, 2), generator=tf.random.Generator.from_seed(5), dtype="float64")
    assert all(v.ref() == variables[path].ref() for path, v in model.parameter_dict().items())
    assert_close({"y": call(x).numpy()}, {"y": model(x).numpy()})
    assert np.ptp(before - call(x)) > 0
    model.build((6, 2))
    assert model.dtype == tf.float32
    assert model(np.ones((2, 6, 2))).dtype == tf.float32


def test_equal_generators_give_equal_networks_and_equal_training():
    def trained():
        model = network()
        model.build((6, 2), generator=tf.random.Generator.from_seed(3))
        return [model(tf.ones((2, 6, 2)), training=True).numpy() for _ in range(2)]

    one, other = trained(), trained()
    np.testing.assert_array_equal(one, other)
    assert np.ptp(one[0] - one[1]) > 0  # another mask in every call


def test_initial_values_are_those_of_the_initializers_for_whole_windows():
    model = layers.sequence(layers.convolution(64, (3, 5), bias=True), layers.global_max_pool())
    model.build((9, 9, 16), generator=tf.random.Generator.from_seed(0))
    w, b = model.parameter_dict().values()
    assert np.std(w) == pytest.approx((2 / (3 * 5 * 16)) ** 0.5, rel=0.02)
    assert not np.any(b)
    tokens = layers.embedding(200, 50)
    tokens.build((3,), generator=tf.random.Generator.from_seed(0))
    assert np.std(tokens.parameter_dict()["W"]) == pytest.approx(1, rel=0.03)
    lstm = layers.lstm(3, gates="ogfi", biases=2, forget_bias=2.0)
    lstm.build((4, 2))
    parameters = arrays(lstm.parameter_dict())
    np.testing.assert_array_equal(parameters["b"], np.repeat([0, 0, 2, 0], 3))
    assert not np.any(parameters["b_h"])
    np.testing.assert_allclose(parameters["U"].T @ parameters["U"], np.eye(3), atol=1e-6)


# --- draws ------------------------------------------------------------------------------------------------------------


def test_dropout_draws_in_training_alone_and_anew_in_every_call():
    layer, x = layers.dropout(0.7), tf.ones((200, 50))
    layer.build((50,), generator=tf.random.Generator.from_seed(1))
    np.testing.assert_array_equal(layer(x), x)
    compiled = tf.function(layer)
    for call in (layer, compiled):
        one, other = (call(x, training=True).numpy() for _ in range(2))
        assert set(np.unique(one)) == {np.float32(0), np.float32(1 / np.float32(0.7))}
        assert np.mean(one > 0) == pytest.approx(0.7, abs=0.01)
        assert np.any(one != other)


def test_what_is_fed_is_taken_in_training_while_it_lasts():
    model = layers.sequence(layers.dropout(0.5), layers.parallel(layers.dropout(0.25), layers.dropout(0.5)))
    x = tf.ones((2, 3))
    model.build((3,))
    drawn = model.draw(tf.random.Generator.from_seed(0), 2, (3,))
    assert list(drawn) == ["1.mask", "2.1.mask", "2.2.mask"]
    assert all((mask.shape, mask.dtype) == ((2, 3), tf.bool) for mask in drawn.values())
    drawn = {path: mask.numpy() for path, mask in drawn.items()}
    expected = drawn["1.mask"] / 0.5 * (drawn["2.1.mask"] / 0.25 + drawn["2.2.mask"] / 0.5)
    with layers.fed(model, drawn):
        np.testing.assert_array_equal(model(x, training=True), expected)
        np.testing.assert_array_equal(model(x), 2 * x)
        with layers.fed(model, {path: np.ones_like(mask) for path, mask in drawn.items()}):
            np.testing.assert_array_equal(model(x, training=True), 12 * x)
        with layers.fed(model, {}):  # no masks, no dropout
            np.testing.assert_array_equal(model(x, training=True), 2 * x)
        np.testing.assert_array_equal(model(x, training=True), expected)
    with pytest.raises(ValueError, match="must be"), layers.fed(model, drawn):
        model(x[0], training=True)
    assert any(np.any(model(x, training=True) != expected) for _ in range(9))


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_plain_training_loop_learns_which_of_two_words_came_last(compiled):
    generator = np.random.default_rng(0)
    tokens = tf.constant(generator.integers(INTEGERS, size=(64, 6)))
    y = tf.cast(tokens[:, -1:] > tokens[:, -2:-1], tf.float32)
    model = layers.sequence(
        layers.embedding(INTEGERS, 4), layers.gru(8, return_sequences=True), layers.attention(2),
        layers.lstm(8), layers.dropout(0.9), layers.dense(1),
    )  # fmt: skip
    model.build((6,), generator=tf.random.Generator.from_seed(0))
    optimizer = optimizers.adam(0.02)

    def step(tokens, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(losses.binary_cross_entropy(model(tokens, training=True), y))
        parameters = model.parameter_dict()
        optimizer.update(tape.gradient(loss, parameters), parameters)
        return loss

    step = tf.function(step) if compiled else step
    costs = [float(step(tokens, y)) for _ in range(50 if compiled else 2)]
    assert costs[-1] < costs[0]
    if compiled:
        assert costs[-1] < 0.5 * costs[0]


def test_any_optimizer_of_tensorflows_users_takes_the_variables():
    keras = pytest.importorskip("keras")
    model, optimizer = network(), keras.optimizers.SGD(0.1)
    x = tf.constant(np.random.default_rng(0).standard_normal((4, 6, 2)), tf.float32)
    with tf.GradientTape() as tape:
        cost = tf.reduce_mean(model(x, training=True) ** 2)
    gradients = tape.gradient(cost, model.trainable_variables)
    before = [w.numpy() for w in model.trainable_variables]
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    for w, start, gradient in zip(model.trainable_variables, before, gradients, strict=True):
        np.testing.assert_allclose(w, start - np.float32(0.1) * gradient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("restored", ["before the variables are made", "after"])
def test_a_network_survives_a_checkpoint_with_the_state_of_its_draws(tmp_path, restored):
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 6, 2)), tf.float32)
    model, other = network(), network()
    model(x, training=True)
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    if restored == "after":
        other(x, training=True)
    status = tf.train.Checkpoint(model=other).restore(path)
    other.build((6, 2)) if restored != "after" else None
    status.assert_consumed()
    for name, variable in (model.parameter_dict() | model.statistics_dict()).items():
        np.testing.assert_array_equal((other.parameter_dict() | other.statistics_dict())[name], variable)
    np.testing.assert_array_equal(model(x, training=True), other(x, training=True))
    np.testing.assert_array_equal(model(x), other(x))
