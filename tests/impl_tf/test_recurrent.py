"""Recurrent layers against Keras's own, with its kernels: which keywords, and in which order the blocks are."""

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import layers

keras = pytest.importorskip("keras")

T, N_IN, UNITS = 5, 3, 4
MASK = np.arange(T) < np.array([[5], [3], [1]])

# Our maker, its keywords, Keras's layer, its keywords.
EQUAL = {
    "simple rnn": (layers.simple_rnn, {}, keras.layers.SimpleRNN, {}),
    "simple rnn, relu": (layers.simple_rnn, {"activation": "relu"}, keras.layers.SimpleRNN, {"activation": "relu"}),
    "simple rnn, no bias": (layers.simple_rnn, {"biases": 0}, keras.layers.SimpleRNN, {"use_bias": False}),
    "lstm": (layers.lstm, {"forget_bias": 1.0}, keras.layers.LSTM, {}),
    "lstm, forget bias 0": (layers.lstm, {}, keras.layers.LSTM, {"unit_forget_bias": False}),
    "gru": (layers.gru, {"gates": "zrn", "biases": 2}, keras.layers.GRU, {}),
    "gru, reset before": (layers.gru, {"gates": "zrn", "reset": "before"}, keras.layers.GRU, {"reset_after": False}),
    "gru, no bias": (layers.gru, {"gates": "zrn", "biases": 0}, keras.layers.GRU, {"use_bias": False}),
}


def keras_weights(parameters):
    """``W``, ``U`` transposed; one bias as it is, two as the rows of one."""
    biases = [parameters[name] for name in ("b", "b_h") if name in parameters]
    return [parameters["W"].T, parameters["U"].T, *([np.stack(biases)] if len(biases) == 2 else biases)]


def numbers(layer, seed=0):
    """Give every parameter numbers; the parameters as arrays."""
    generator = np.random.default_rng(seed)
    for variable in layer.parameter_dict().values():
        variable.assign(generator.standard_normal(variable.shape))
    return {path: variable.numpy() for path, variable in layer.parameter_dict().items()}


def value_and_gradient(call, x, mask, seen=1.0):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(x, mask=mask) * seen
        total = tf.reduce_sum(tf.sin(y))
    return y.numpy(), tape.gradient(total, x).numpy()


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("name", EQUAL)
def test_a_recurrent_layer_is_keras_s_with_kernels_transposed(name, return_sequences, reverse, mask):
    make, keywords, kind, theirs = EQUAL[name]
    ours = make(UNITS, return_sequences=return_sequences, reverse=reverse, **keywords)
    other = kind(UNITS, return_sequences=return_sequences, go_backwards=reverse, dtype="float64", **theirs)
    x = tf.constant(np.random.default_rng(1).standard_normal((len(MASK), T, N_IN)))
    ours.build((T, N_IN), dtype="float64")
    other.build(x.shape)
    start = {path: variable.numpy() for path, variable in ours.parameter_dict().items()}
    for mine, weight in zip(keras_weights(start)[2:], other.get_weights()[2:], strict=True):
        np.testing.assert_array_equal(mine, weight)  # biases start alike
    other.set_weights(keras_weights(numbers(ours)))
    mask = None if mask is None else tf.constant(mask)
    (y, dx), (expected, expected_dx) = (value_and_gradient(call, x, mask) for call in (ours, other))
    if reverse and return_sequences:
        expected = expected[:, ::-1]  # Keras gives outputs in the order in which they were computed
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize(("join", "merge_mode"), [("concatenate", "concat"), ("sum", "sum")])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_a_bidirectional_layer_is_keras_s(return_sequences, join, merge_mode, mask):
    ours = layers.bidirectional(layers.lstm(UNITS, return_sequences=return_sequences), join=join)
    inner = keras.layers.LSTM(UNITS, return_sequences=return_sequences, dtype="float64")
    other = keras.layers.Bidirectional(inner, merge_mode=merge_mode, dtype="float64")
    x = tf.constant(np.random.default_rng(1).standard_normal((len(MASK), T, N_IN)))
    ours.build((T, N_IN), dtype="float64")
    other.build(x.shape)
    parameters = numbers(ours)
    directions = ({n.partition(".")[2]: w for n, w in parameters.items() if n.startswith(d)} for d in ("for", "back"))
    other.set_weights([w for direction in directions for w in keras_weights(direction)])
    # In this layer alone Keras gives zeros for steps that are not there, where we have the state that is kept.
    seen = tf.cast(mask, tf.float64)[..., None] if mask is not None and return_sequences else 1.0
    mask = None if mask is None else tf.constant(mask)
    (y, dx), (expected, expected_dx) = (value_and_gradient(call, x, mask, seen) for call in (ours, other))
    np.testing.assert_array_equal(expected, other(x, mask=mask))
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-11, atol=1e-13)


def test_initial_kernels_have_keras_s_scales():
    ours, other = layers.lstm(50), keras.layers.LSTM(50)
    ours.build((T, 30), generator=tf.random.Generator.from_seed(0))
    other.build((None, T, 30))
    w, u, _ = keras_weights({path: variable.numpy() for path, variable in ours.parameter_dict().items()})
    kernel, recurrent, _ = other.get_weights()
    assert np.std(w) == pytest.approx(np.std(kernel), rel=0.05)
    for square in (u @ u.T, recurrent @ recurrent.T):
        np.testing.assert_allclose(square, np.eye(50), atol=1e-5)


@pytest.mark.parametrize("make", [layers.simple_rnn, layers.lstm, layers.gru])
def test_a_step_that_is_not_there_leaves_the_state_and_has_no_gradient(make):
    layer = make(2, return_sequences=True)
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 4, 3)))
    mask = tf.constant([[True, False, True, True], [False, False, False, False]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, mask=mask)
    dx = tape.gradient(y, x)
    np.testing.assert_array_equal(y[0, 1], y[0, 0])
    np.testing.assert_allclose(y[0, 2:], layer(tf.gather(x, [0, 2, 3], axis=1))[0, 1:], rtol=1e-14)
    assert not np.any(y[1])
    np.testing.assert_array_equal(np.any(dx, axis=-1), mask)


def test_sequences_of_any_length_pass_through_a_compiled_layer():
    layer = layers.bidirectional(layers.gru(2, return_sequences=True))
    layer.build((None, 3))
    call = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 3))])
    for t in (1, 4):
        x = tf.ones((2, t, 3))
        np.testing.assert_allclose(call(x), layer(x), rtol=1e-6)
