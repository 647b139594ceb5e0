"""This package's optimizers in Keras's training, against the same steps by hand: not one bit may differ."""

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import layers, models, optimizers, schedules

keras = pytest.importorskip("keras")

from impl_tf.keras_optimizer import keras_optimizer  # noqa: E402  (it needs Keras)

# Keras makes arrays of its variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RANDOM = np.random.default_rng(2)
X, Y = (RANDOM.standard_normal((11, n)).astype("float32") for n in (3, 1))  # what Keras makes of arrays in its fit
EPOCHS, BATCH = 3, 4  # the last of an epoch's three batches holds three examples


def keras_model(dtype="float32"):
    model = keras.Sequential([
        keras.Input((3,), dtype=dtype),
        keras.layers.Dense(4, "tanh", dtype=dtype),
        keras.layers.Dense(1, dtype=dtype),
    ])  # fmt: skip
    generator = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(generator.standard_normal(variable.shape))
    return model


def compiled(optimizer, dtype="float32", **options):
    model = keras_model(dtype)
    model.compile(optimizer=optimizer, loss=keras.losses.MeanSquaredError(dtype=dtype), **options)
    return model


def fit(model, epochs=EPOCHS, **options):
    x, y = X.astype(model.dtype), Y.astype(model.dtype)
    model.fit(x, y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, **options)
    return model


def by_hand(optimizer, dtype="float32", rates=None, eager=False):
    """The same steps by ``optimizer.update``; ``rates`` by epoch, None for the optimizer's own."""
    model = keras_model(dtype)
    variables = {str(place): v.value for place, v in enumerate(model.trainable_variables)}
    optimizer.build(variables)

    def step(x, y, rate):
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(tf.reduce_mean(tf.square(model(x, training=True) - y), axis=-1))
        optimizer.update(tape.gradient(cost, variables), variables, learning_rate=rate)

    step = step if eager else tf.function(step)
    for epoch in range(EPOCHS):
        rate = tf.constant(float(optimizer.learning_rate) if rates is None else rates[epoch], tf.float64)
        for start in range(0, len(X), BATCH):
            batch = slice(start, start + BATCH)
            step(tf.constant(X[batch].astype(dtype)), tf.constant(Y[batch].astype(dtype)), rate)
    return model


def assert_same(model, expected):
    for variable, value in zip(model.trainable_variables, expected.trainable_variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value.numpy(), err_msg=variable.path)
    for variable, start in zip(model.trainable_variables, keras_model(model.dtype).trainable_variables, strict=True):
        assert np.any(variable.numpy() != start.numpy())


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_takes_in_keras_the_steps_that_it_takes_by_hand(name):
    make = optimizers.OPTIMIZERS[name]
    assert_same(fit(compiled(keras_optimizer(make()), run_eagerly=True)), by_hand(make(), eager=True))


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (optimizers.adam, "float64"),
        (lambda: optimizers.momentum(0.03, accumulation="sum", dampening=0.3, weight_decay=0.1), "float32"),
        (lambda: optimizers.adagrad(0.03, initial_accumulator=0.1), "float64"),
        (lambda: optimizers.lbfgs(history=1), "float32"),
    ],
)
def test_a_compiled_training_in_keras_is_a_compiled_one_by_hand(make, dtype):
    optimizer = keras_optimizer(make())
    model = fit(compiled(optimizer, dtype))
    assert_same(model, by_hand(make(), dtype))
    assert int(optimizer.iterations) == 9
    slots = [v for v in optimizer.variables if v.shape == (3, 4)]
    assert len(slots) == len(make().initial_slots)
    assert all(v.dtype == dtype for v in slots)


def test_a_learning_rate_is_read_and_assigned_as_in_keras_in_double_precision():
    optimizer = keras_optimizer(optimizers.adam(0.1))
    assert float(optimizer.learning_rate) == 0.1
    model = compiled(optimizer)
    optimizer.learning_rate = 0.3
    assert float(model.optimizer.learning_rate) == 0.3
    assert_same(fit(model), by_hand(optimizers.adam(0.3)))


def test_a_learning_rate_assigned_between_steps_reaches_what_is_compiled():
    optimizer = keras_optimizer(optimizers.gradient_descent(0.1))
    model = fit(compiled(optimizer), epochs=1)
    for rate in (0.01, 0.2):
        optimizer.learning_rate = rate
        fit(model, epochs=1)
    assert_same(model, by_hand(optimizers.gradient_descent(), rates=(0.1, 0.01, 0.2)))


def test_keras_s_callback_takes_this_packages_schedules():
    schedule = schedules.exponential(0.1, base=0.7)
    callback = keras.callbacks.LearningRateScheduler(lambda epoch: schedule(epoch))
    model = fit(compiled(keras_optimizer(optimizers.momentum())), callbacks=[callback])
    assert_same(model, by_hand(optimizers.momentum(), rates=[schedule(epoch) for epoch in range(EPOCHS)]))


def test_keras_s_schedules_are_taken_as_keras_computes_them():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2, 5], [0.1, 0.01, 0.2])  # three steps an epoch
    optimizer = keras_optimizer(optimizers.gradient_descent())
    optimizer.learning_rate = schedule
    rates = [float(np.float32(rate)) for rate in (0.1, 0.01, 0.2)]
    assert_same(fit(compiled(optimizer)), by_hand(optimizers.gradient_descent(), rates=rates))


def test_an_embedding_s_gradient_in_slices_is_taken():
    def trained(optimizer):
        model = keras.Sequential(
            [keras.Input((3,), dtype="int32"), keras.layers.Embedding(5, 1), keras.layers.Flatten()]
        )
        model.layers[0].set_weights([np.arange(5.0)[:, None]])
        model.compile(optimizer=optimizer, loss=lambda y, outputs: tf.reduce_sum(outputs, axis=-1))
        model.fit(np.array([[1, 1, 3]]), np.zeros((1, 1)), epochs=1, verbose=0)
        return model.layers[0].get_weights()[0][:, 0]

    np.testing.assert_array_equal(trained(keras_optimizer(optimizers.gradient_descent(0.5))), [0, 0, 2, 2.5, 4])


def test_a_training_goes_on_from_the_state_that_keras_saves():
    whole = fit(compiled(keras_optimizer(optimizers.adam(0.1))))
    first = keras_optimizer(optimizers.adam(0.1))
    half, store = fit(compiled(first), epochs=1), {}
    first.save_own_variables(store)
    second = keras_optimizer(optimizers.adam(0.5))
    model = compiled(second)
    model.set_weights(half.get_weights())
    second.build(model.trainable_variables)
    second.load_own_variables(store)
    assert float(second.learning_rate) == 0.1
    assert_same(fit(model, epochs=EPOCHS - 1), whole)


def test_a_model_is_saved_with_it_and_loaded_without(tmp_path):
    model = fit(compiled(keras_optimizer(optimizers.adam(0.1))), epochs=1)
    model.save(tmp_path / "model.keras")
    assert_same(keras.saving.load_model(tmp_path / "model.keras", compile=False), model)
    with pytest.raises(ValueError, match=r"must be load_model\(..., compile=False\), then compile"):
        keras.saving.load_model(
            tmp_path / "model.keras", custom_objects={"KerasOptimizer": type(model.optimizer)}
        )  # fmt: skip


@pytest.mark.parametrize("make", [optimizers.adam, optimizers.lbfgs])
def test_it_takes_this_packages_own_variables_too(make):
    def network():
        model = models.network([layers.dense(4), layers.activation("tanh"), layers.dense(1)], (3,))
        return models.initialize(model, tf.random.Generator.from_seed(0), dtype="float64")

    def gradients(model):
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean((model(X) - Y) ** 2)
        return tape.gradient(cost, model.parameter_dict())

    model, expected, optimizer, plain = network(), network(), keras_optimizer(make()), make()
    for _ in range(3):
        variables = model.parameter_dict()
        optimizer.apply_gradients(zip(gradients(model).values(), variables.values(), strict=True))
        plain.update(gradients(expected), expected.parameter_dict())
    for path, variable in expected.parameter_dict().items():
        np.testing.assert_array_equal(model.parameter_dict()[path], variable)
