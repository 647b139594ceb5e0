"""Activations, losses and normalisations against the reference: values, and JAX's derivatives against the written ones.

Both sides compute in the same precision and each may err by a few roundoffs ``u`` of the terms that it adds up.
"""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import reference_numpy.activations
import reference_numpy.losses
import reference_numpy.normalization
from impl_jax import activations, losses, normalization

ACTIVATIONS = [
    *((name, {}) for name in activations.ACTIVATIONS if name != "softmax"),
    ("relu", {"derivative_at_zero": 1}), ("leaky_relu", {"slope": 0.2}), ("elu", {"alpha": 2.0}),
    ("gelu", {"approximate": True}),
]  # fmt: skip

WEIGHTED = {"class_weights": (0.5, 2.0), "weight_denominator": "weights"}
LOSSES = [
    ("binary_cross_entropy", {}, 3), ("binary_cross_entropy", {"label_smoothing": 0.1, "output_reduction": "mean"}, 3),
    ("binary_cross_entropy", WEIGHTED, 1), ("binary_cross_entropy", {"weight_denominator": "weights"}, 1),
    ("categorical_cross_entropy", {}, 3), ("categorical_cross_entropy", {"label_smoothing": 0.1}, 3),
    ("categorical_cross_entropy", {"class_weights": [0.5, 2.0, 1.0], "weight_denominator": "weights"}, 3),
    ("categorical_cross_entropy", {"class_weights": (0.5, 2.0, 1.0)}, 3),
    ("binary_cross_entropy_from_probabilities", {"output_reduction": "mean"}, 3),
    ("binary_cross_entropy_from_probabilities", {"clip": 0.0625, **WEIGHTED}, 1),
    ("categorical_cross_entropy_from_probabilities", {"clip": 0.0625}, 3),
    ("categorical_cross_entropy_from_probabilities", {"class_weights": (0.5, 2.0, 1.0)}, 3),
    *(("mean_squared_error", {"convention": convention}, 3) for convention in ("mean", "half", "sum")),
    ("mean_squared_error", {"weight_denominator": "weights"}, 2),
]  # fmt: skip


def roundoff(dtype):
    return np.finfo(dtype).eps / 2


@functools.cache
def value_and_derivative(name, options):
    f = functools.partial(activations.ACTIVATIONS[name], **dict(options))
    return jax.jit(lambda z: (f(z), jax.vmap(jax.grad(f))(z)))


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
@settings(max_examples=12, deadline=None)
@given(z=arrays(np.float64, 12, elements=st.floats(-40, 40) | st.sampled_from([0.0, -0.0, 1e-9, 20.5])), double=...)
def test_every_activation_and_its_derivative_are_those_of_the_reference(name, options, z: np.ndarray, double: bool):
    dtype = np.dtype(np.float64 if double else np.float32)
    z = z.astype(dtype)
    z[np.abs(z) < np.finfo(dtype).tiny] = 0  # XLA takes subnormal numbers for 0
    with jax.enable_x64(double):
        value, derivative = map(np.asarray, value_and_derivative(name, tuple(options.items()))(z))
    a = reference_numpy.activations.ACTIVATIONS[name](z, **options)
    expected = reference_numpy.activations.BACKWARD[name](np.ones_like(z), z, a, **options)
    # exp(-z^2) and exp(-z) have the conditions 2 z^2 and |z|; every other operation has at most 1.
    allowed = 8 * roundoff(dtype) * (1 + np.abs(z)) * np.maximum(1, np.abs(z))
    assert value.dtype == dtype
    assert np.all(np.abs(value - a) <= allowed)
    assert np.all(np.abs(derivative - expected) <= allowed)


def test_softmax_and_its_derivative_are_those_of_the_reference(dtype):
    generator = np.random.default_rng(0)
    z, upstream = 30 * generator.standard_normal((2, 20, 5)).astype(dtype)
    value, pull_back = jax.vjp(activations.softmax, z)
    expected = reference_numpy.activations.softmax(z)
    gradient = reference_numpy.activations.softmax_backward(upstream, z, expected)
    np.testing.assert_allclose(value, expected, rtol=0, atol=16 * roundoff(dtype))  # of terms of at most 1
    np.testing.assert_allclose(
        pull_back(upstream)[0], gradient, rtol=0, atol=32 * roundoff(dtype) * abs(upstream).max()
    )


def batch_for(name, outputs, dtype):
    """Outputs and targets, among them logits at 0 and probabilities at 0, 1 and just at the clip."""
    generator = np.random.default_rng(outputs)
    given = (5 * generator.standard_normal((12, outputs))).astype(dtype)
    given[:2] = 0
    if "probabilities" in name:
        given = generator.random((12, outputs)).astype(dtype)
        given[:5] = np.array([[0.0], [1.0], [0.0625], [0.9375], [0.01]])
    labels = generator.integers(0, outputs, 12)
    targets = generator.random((12, outputs)).round(1 if outputs > 1 else 0).astype(dtype)
    return given, labels if name.startswith("categorical") else targets


@pytest.mark.parametrize(("name", "options", "outputs"), LOSSES)
def test_every_loss_and_its_gradient_are_those_of_the_reference(name, options, outputs, dtype):
    given, targets = batch_for(name, outputs, dtype)
    weights = None if options == {} else np.linspace(0.25, 2.0, 12).astype(dtype)

    def total(given):
        values = losses.LOSSES[name](given, targets, weights, **options)
        return values.sum(), values

    (_, values), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(given)
    expected = reference_numpy.losses.LOSSES[name](given, targets, weights, **options)
    expected_gradient = reference_numpy.losses.GRADIENTS[name](given, targets, weights, **options)
    # At most 16 operations on terms of the size of the logits, or of the largest loss, times the largest weight.
    size = 4 * max(1.0, np.abs(given).max()) * max(1.0, np.abs(expected).max())
    assert values.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(values, expected, rtol=16 * roundoff(dtype), atol=16 * roundoff(dtype) * size)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=32 * roundoff(dtype), atol=32 * roundoff(dtype) * size)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mean=st.floats(-100, 100), deviation=st.floats(0.1, 10))
def test_normalisations_and_their_gradients_are_those_of_the_reference(kind, epsilon, seed, mean, deviation):
    generator = np.random.default_rng(seed)
    z = mean + deviation * generator.standard_normal((9, 6))
    gamma, beta = generator.standard_normal((2, 6))
    upstream = generator.standard_normal((9, 6))
    with jax.enable_x64(True):
        value, gradients = _normalized(kind, epsilon)(z, gamma, beta, upstream)
    reference = reference_numpy.normalization
    if kind == "layer_norm":
        expected = reference.layer_norm(z, gamma, beta, epsilon=epsilon)
        expected_gradients = reference.layer_norm_backward(upstream, z, gamma, epsilon=epsilon)
        deviations = z.std(axis=1)
    else:
        statistics = reference.batch_statistics(z)
        expected = reference.batch_norm(z, gamma, beta, *statistics, epsilon=epsilon)
        expected_gradients = reference.batch_norm_backward(upstream, z, gamma, *statistics, epsilon=epsilon)
        deviations = z.std(axis=0)
    # The mean is taken away, which costs |mean| / deviation digits, in the gradient twice.
    least = deviations.min()
    condition = 1 + np.abs(z).max() / least
    size = np.abs(gamma).max() * np.abs(upstream).max() + np.abs(beta).max() + 1
    allowed = 200 * roundoff(np.float64) * condition * size
    np.testing.assert_allclose(value, expected, rtol=0, atol=allowed)
    for gradient, expected_gradient, scale in zip(gradients, expected_gradients, (1 / least, 9, 9), strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=10 * allowed * scale)


@functools.cache
def _normalized(kind, epsilon):
    def forward(z, gamma, beta):
        if kind == "layer_norm":
            return normalization.layer_norm(z, gamma, beta, epsilon=epsilon)
        return normalization.batch_norm(z, gamma, beta, *normalization.batch_statistics(z), epsilon=epsilon)

    @jax.jit
    def both(z, gamma, beta, upstream):
        value, pull_back = jax.vjp(forward, z, gamma, beta)
        return value, pull_back(upstream)

    return both


@pytest.mark.parametrize("running_variance", ["biased", "unbiased"])
def test_running_averages_are_those_of_the_reference(running_variance, dtype):
    running, batch = np.random.default_rng(0).random((2, 2, 5)).astype(dtype)
    options = {"momentum": 0.8, "running_variance": running_variance}
    averages = normalization.running_average(running, batch, 7, **options)
    expected = reference_numpy.normalization.running_average(running, batch, 7, **options)
    np.testing.assert_allclose(averages, expected, rtol=8 * roundoff(dtype))  # sums of positive terms


def test_layer_norm_survives_a_large_mean_in_single_precision(single_precision):
    z = (1e4 + np.random.default_rng(0).standard_normal((4, 400))).astype(np.float32)
    ours = np.asarray(normalization.layer_norm(z, np.ones(400, np.float32), np.zeros(400, np.float32)))
    exact = reference_numpy.normalization.layer_norm(z.astype(np.float64), np.ones(400), np.zeros(400))
    # The inputs are exact, the mean of 1e4 is not: a few of its roundoffs, beside a deviation of 1.
    assert np.abs(ours - exact).max() < 8 * roundoff(np.float32) * 1e4
