"""Convolutions and pools in closed form, and whom the gradient of a largest element goes to."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from impl_jax import layers


def test_a_convolution_is_the_sum_that_is_written(double_precision):
    """Every keyword at once, element by element; on one axis and on two."""
    generator = np.random.default_rng(0)
    x, w, b = generator.standard_normal((2, 7, 4)), generator.standard_normal((6, 3, 2)), generator.standard_normal(6)
    layer = layers.convolution(6, (3,), stride=2, padding=2, dilation=2, groups=2)
    padded = np.pad(x, ((0, 0), (2, 2), (0, 0)))
    expected = np.zeros((2, 4, 6))
    for i, o, a in np.ndindex(4, 6, 3):
        seen = slice(0, 2) if o < 3 else slice(2, 4)  # the group of inputs
        expected[:, i, o] += padded[:, 2 * i + 2 * a, seen] @ w[o, a]
    assert layer.output_shape((7, 4)) == (4, 6)
    np.testing.assert_allclose(jax.jit(layer.apply)({"W": w, "b": b}, x), expected + b, rtol=1e-13)
    flat = layers.convolution(6, (3, 1), stride=(2, 1), padding=(2, 0), dilation=2, groups=2)
    wide = jax.jit(flat.apply)({"W": w[:, :, None], "b": b}, x[:, :, None])
    np.testing.assert_allclose(wide[:, :, 0], expected + b, rtol=1e-13)


@pytest.mark.parametrize("n", [4, 5])
def test_same_puts_the_smaller_half_of_the_padding_before(n):
    """A kernel of 2 with stride 2 over 5 elements pads one at the end; one of 3 with stride 2 over 4, too."""
    x = np.arange(1.0, n + 1).reshape(1, n, 1)
    kernel = {"W": np.ones((1, 7 - n, 1))}
    layer = layers.convolution(1, (7 - n,), stride=2, padding="same", bias=False)
    padded = np.append(x.ravel(), 0)
    expected = [padded[i : i + 7 - n].sum() for i in range(0, n, 2)]
    np.testing.assert_array_equal(layer.apply(kernel, x).ravel(), expected)


def test_of_equal_elements_the_first_of_the_window_has_the_gradient():
    ones = np.ones((1, 4, 4, 1), np.float32)
    gradient = jax.jit(jax.grad(lambda x: layers.max_pool((2, 2)).apply({}, x).sum()))(ones)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[1, 0, 1, 0], [0] * 4, [1, 0, 1, 0], [0] * 4])
    everywhere = jax.jit(jax.grad(lambda x: layers.global_max_pool().apply({}, x).sum()))(ones)
    np.testing.assert_array_equal(everywhere.ravel(), [1] + [0] * 15)
    halved = jax.jit(jax.grad(jnp.max))(np.ones(2, np.float32))
    np.testing.assert_array_equal(halved, [0.5, 0.5])  # what JAX's own maximum does


def test_the_padding_of_a_maximum_is_never_chosen():
    x = np.full((1, 2, 2, 1), -5.0, np.float32)
    for padding in (1, "same"):
        np.testing.assert_array_equal(np.unique(layers.max_pool((2, 2), stride=1, padding=padding).apply({}, x)), [-5])


def test_the_padding_of_an_average_counts_if_told_so():
    x = np.array([1.0, 3.0], np.float32).reshape(1, 2, 1)
    counted = layers.average_pool((2,), stride=1, padding=1, count_padding=True).apply({}, x)
    np.testing.assert_array_equal(counted.ravel(), [0.5, 2, 1.5])
    not_counted = layers.average_pool((2,), stride=1, padding=1).apply({}, x)
    np.testing.assert_array_equal(not_counted.ravel(), [1, 2, 3])


def test_a_sequence_without_steps_has_the_largest_and_the_mean_zero():
    x = np.array([[[-1.0], [-2.0]], [[-3.0], [-4.0]]], np.float32)
    mask = np.array([[False, False], [False, True]])
    for layer in (layers.global_max_pool(), layers.global_average_pool()):
        y, pull = jax.vjp(jax.jit(partial(layer.apply, {}, mask=mask)), x)
        np.testing.assert_array_equal(y, [[0], [-4]])
        np.testing.assert_array_equal(pull(np.ones_like(y))[0], [[[0], [0]], [[0], [1]]])


def test_which_windows_keep_the_number_of_steps():
    keep = [
        layers.convolution(1, (3,), padding="same"), layers.convolution(1, (3,), padding=1),
        layers.convolution(1, (2,), padding=2, dilation=4), layers.convolution(1, (1,)), layers.max_pool((1,)),
        layers.average_pool((3,), stride=1, padding=1),
    ]  # fmt: skip
    end = [
        layers.convolution(1, (3,)), layers.convolution(1, (3,), padding="same", stride=2), layers.max_pool((2,)),
        layers.convolution(1, (3,), padding=2), layers.max_pool((3,), padding="same"),
    ]  # fmt: skip
    assert [layer.passes_mask for layer in keep + end] == [True] * len(keep) + [False] * len(end)
    assert {layer.output_shape((9, 1)) for layer in keep} == {(9, 1)}
