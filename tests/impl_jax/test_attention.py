"""Attention: what no key may be looked at, what is causal, and the encoding of positions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from impl_jax import layers

from .test_layers import random_parameters

Q, K, V = np.random.default_rng(0).standard_normal((3, 2, 4, 3))


def test_the_weights_are_a_softmax_of_scaled_products(double_precision):
    scores = np.exp(0.5 * Q @ K.swapaxes(1, 2))
    expected = scores / scores.sum(axis=-1, keepdims=True) @ V
    np.testing.assert_allclose(layers.scaled_dot_product(Q, K, V, scale=0.5), expected, rtol=1e-13)


def test_a_query_without_keys_gives_zeros_and_no_nan(double_precision):
    mask = np.array([[True, False, True, False], [False] * 4, [True] * 4, [False, False, False, True]])
    with jax.debug_nans(True):  # not even on the way
        y, pull = jax.vjp(jax.jit(partial(layers.scaled_dot_product, mask=mask)), Q, K, V)
        dq, dk, dv = pull(jnp.ones_like(y))
    np.testing.assert_array_equal(y[:, 1], 0)
    np.testing.assert_allclose(y[:, 3], V[:, 3], rtol=1e-14)
    np.testing.assert_array_equal(dq[:, 1], 0)
    assert all(np.isfinite(a).all() for a in (dq, dk, dv))
    # JAX's own takes the softmax in float32, and looks at all keys where none is left.
    of_jax = jax.nn.dot_product_attention(*(a[:, :, None] for a in (Q, K, V)), mask=mask[None, None])[:, :, 0]
    np.testing.assert_allclose(of_jax[:, [0, 2, 3]], y[:, [0, 2, 3]], rtol=1e-5)
    np.testing.assert_allclose(of_jax[:, 1], V.mean(axis=1), rtol=1e-5)


def test_a_causal_step_does_not_see_those_after_it(double_precision):
    layer = layers.attention(2, causal=True)
    parameters = random_parameters(layer, (5, 4))
    x = np.random.default_rng(1).standard_normal((1, 5, 4))
    _, values = jax.jit(layer.forward)(parameters, x)
    np.testing.assert_array_equal(values["weights"][0] > 0, [np.tri(5)] * 2)
    np.testing.assert_allclose(values["weights"].sum(axis=-1), np.ones((1, 2, 5)), rtol=1e-14)


def test_steps_that_are_not_there_change_nothing(double_precision):
    layer, x = layers.attention(2), np.random.default_rng(1).standard_normal((2, 5, 4))
    parameters = random_parameters(layer, (5, 4))
    forward = jax.jit(layer.forward)
    y, values = forward(parameters, x, mask=np.arange(5) < np.array([[3], [0]]))
    np.testing.assert_allclose(y[0, :3], forward(parameters, x[:1, :3])[0][0], rtol=1e-13)
    np.testing.assert_array_equal(values["weights"][1], 0)
    np.testing.assert_array_equal(y[1], np.tile(parameters["b_o"], (5, 1)))


def test_the_key_bias_alone_changes_nothing(double_precision):
    layer, x = layers.attention(2), np.random.default_rng(1).standard_normal((2, 5, 4))
    parameters = random_parameters(layer, (5, 4))
    apply, moved = jax.jit(layer.apply), parameters | {"b_k": parameters["b_k"] + 1}
    np.testing.assert_allclose(apply(moved, x), apply(parameters, x), rtol=1e-12)


@pytest.mark.parametrize("n", [4, 5])
def test_the_encoding_is_of_sines_and_cosines(double_precision, n):
    zeros = np.zeros((1, 3, n))
    interleaved = layers.positional_encoding(base=100.0).apply({}, zeros)[0]
    halves = layers.positional_encoding(base=100.0, layout="halves").apply({}, zeros)[0]
    interleaved, halves = np.asarray(interleaved), np.asarray(halves)
    for t, j in np.ndindex(3, n):
        expected = (np.cos if j % 2 else np.sin)(t / 100.0 ** (2 * (j // 2) / n))
        assert interleaved[t, j] == pytest.approx(expected, rel=1e-14)
        place = j // 2 + (-(-n // 2) if j % 2 else 0)
        assert halves[t, place] == interleaved[t, j]
