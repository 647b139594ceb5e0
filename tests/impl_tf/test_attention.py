"""Attention against Keras's own, with its kernels, and against what it is by definition."""

import math

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import layers

T, N, HEADS, KEY_UNITS = 5, 6, 2, 3
MASK = np.arange(T) < np.array([[5], [3], [1]])


def keras_weights(parameters, heads):
    """Keras's kernels ``(n, heads, key_units)`` and ``(heads, key_units, n)``, biases ``(heads, key_units)``.

    Keras rounds ``1 / sqrt(key_units)`` to float32 even in float64: what it has too much of, queries have less.
    """
    weights, root = [], math.sqrt(len(parameters["W_q"]) / heads)
    for letter, factor in {"q": root * float(np.float32(1 / root)), "k": 1.0, "v": 1.0}.items():
        weights.append(parameters[f"W_{letter}"].T.reshape(N, heads, -1) / factor)
        if f"b_{letter}" in parameters:
            weights.append(parameters[f"b_{letter}"].reshape(heads, -1) / factor)
    weights.append(parameters["W_o"].T.reshape(heads, -1, N))
    return [*weights, parameters["b_o"]] if "b_o" in parameters else weights


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "key_units", "bias"), [(2, 3, True), (3, 4, True), (1, 2, False)])
def test_attention_is_keras_s_with_kernels_transposed_and_reshaped(heads, key_units, bias, causal, mask):
    keras = pytest.importorskip("keras")
    generator = np.random.default_rng(0)
    ours = layers.attention(heads, key_units=key_units, bias=bias, causal=causal)
    theirs = keras.layers.MultiHeadAttention(heads, key_units, use_bias=bias, dtype="float64")
    x = tf.constant(generator.standard_normal((len(MASK), T, N)))
    ours.build((T, N), dtype="float64")
    theirs.build(x.shape, x.shape)
    for variable in ours.parameter_dict().values():
        variable.assign(generator.standard_normal(variable.shape))
    theirs.set_weights(keras_weights({n: v.numpy() for n, v in ours.parameter_dict().items()}, heads))
    # In Keras's the mask is (m, t_q, t_k); a mask of steps would be query_mask, which is for the queries too.
    keys = None if mask is None else tf.repeat(tf.constant(mask)[:, None], T, axis=1)

    def call_keras(x):
        return theirs(x, x, attention_mask=keys, use_causal_mask=causal)

    results = []
    for call in (lambda x: ours(x, mask=mask), call_keras):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call(x)
            total = tf.reduce_sum(tf.sin(y))
        results.append((y, tape.gradient(total, x)))
    (y, dx), (expected, expected_dx) = results
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_query_that_may_look_at_nothing_gets_zeros_in_value_and_gradient(dtype):
    generator = np.random.default_rng(0)
    q, k, v = (tf.constant(generator.standard_normal((2, 3, 4)), dtype) for _ in "qkv")
    mask = np.ones((2, 3, 3), bool)
    mask[0, 1] = False
    with tf.GradientTape() as tape:
        tape.watch((q, k, v))
        y = layers.scaled_dot_product(q, k, v, mask=mask)
        total = tf.reduce_sum(tf.sin(y) + y)
    gradients = tape.gradient(total, (q, k, v))
    assert not np.any(y[0, 1])
    assert not np.any(gradients[0][0, 1])
    assert all(np.all(np.isfinite(gradient)) for gradient in (y, *gradients))
    whole = layers.scaled_dot_product(q, k, v)
    np.testing.assert_array_equal(y[1], whole[1])


def test_a_query_sees_what_the_mask_and_the_past_have():
    generator = np.random.default_rng(0)
    q, k, v = (generator.standard_normal(shape) for shape in ((4, 3), (5, 3), (5, 2)))
    mask = generator.random((4, 5)) < 0.7
    mask[:, 0] = True
    for causal in (False, True):
        seen = mask & np.tri(4, 5, dtype=bool) if causal else mask
        weights = np.where(seen, np.exp(0.3 * q @ k.T), 0)
        expected = weights / weights.sum(axis=1, keepdims=True) @ v
        np.testing.assert_allclose(layers.scaled_dot_product(q, k, v, mask=mask, causal=causal, scale=0.3), expected)
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match="scale="):
            layers.scaled_dot_product(q, k, v, scale=wrong)


def test_positions_are_told_by_sines_and_cosines():
    zeros = tf.zeros((1, 3, 5), tf.float64)
    angles = np.arange(3)[:, None] / 100.0 ** (2 * np.arange(3) / 5)
    interleaved = layers.positional_encoding(base=100.0)(zeros)[0].numpy()
    np.testing.assert_allclose(interleaved[:, ::2], np.sin(angles), rtol=1e-15)
    np.testing.assert_allclose(interleaved[:, 1::2], np.cos(angles[:, :2]), rtol=1e-15)
    halves = layers.positional_encoding(base=100.0, layout="halves")(zeros)[0].numpy()
    np.testing.assert_array_equal(halves, np.concatenate([interleaved[:, ::2], interleaved[:, 1::2]], axis=1))


def test_sequences_of_any_length_pass_through_a_compiled_block():
    block = layers.sequence(layers.positional_encoding(), layers.residual(layers.attention(2)), layers.layer_norm())
    block.build((None, 4))
    call = tf.function(block, input_signature=[tf.TensorSpec((None, None, 4))])
    for t in (1, 6):
        x = tf.reshape(tf.range(8.0 * t), (2, t, 4))
        np.testing.assert_allclose(call(x), block(x), rtol=1e-5, atol=1e-6)
