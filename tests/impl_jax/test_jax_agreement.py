"""Activations, losses and normalisations against the reference: values, and JAX's derivatives against the written ones.

What rounding may cost is measured: see the fixture ``agrees``.
"""

import functools

import jax
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import reference_numpy.activations
import reference_numpy.losses
import reference_numpy.normalization
from impl_jax import activations, losses, normalization
from reference_numpy.arithmetic import library_function

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


@functools.cache
def value_and_derivative(name, options):
    f = functools.partial(activations.ACTIVATIONS[name], **dict(options))
    return jax.jit(lambda z: (f(z), jax.vmap(jax.grad(f))(z)))


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
@settings(max_examples=12, deadline=None)
@given(z=arrays(np.float64, 12, elements=st.floats(-40, 40) | st.sampled_from([0.0, -0.0, 1e-9, 20.5])), double=...)
@example(z=np.full(12, -6.0), double=False)
def test_every_activation_and_its_derivative_are_those_of_the_reference(
    agrees, name, options, z: np.ndarray, double: bool
):
    dtype = np.dtype(np.float64 if double else np.float32)
    z = z.astype(dtype)
    z[np.abs(z) < np.finfo(dtype).tiny] = 0  # XLA takes subnormal numbers for 0
    with jax.enable_x64(double):
        observed = tuple(map(np.asarray, value_and_derivative(name, tuple(options.items()))(z)))

    # The derivative is made from the value, by a difference where it saturates: there one unit of the value is much.
    activation = library_function("activation")(reference_numpy.activations.ACTIVATIONS[name])

    def expected(z):
        a = activation(z, **options)
        return a, reference_numpy.activations.BACKWARD[name](np.ones_like(z), z, a, **options)

    agrees(observed, expected, z, dtype=dtype.name, kinds=("activation", "one plus"))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_and_its_logarithm_and_their_derivatives_are_those_of_the_reference(agrees, name, dtype):
    generator = np.random.default_rng(0)
    z, upstream = 30 * generator.standard_normal((2, 20, 5)).astype(dtype)
    value, pull_back = jax.vjp(getattr(activations, name), z)

    def expected(z, upstream):
        a = getattr(reference_numpy.activations, name)(z)
        return a, getattr(reference_numpy.activations, f"{name}_backward")(upstream, z, a)

    agrees((value, pull_back(upstream)[0]), expected, z, upstream, dtype=dtype.name)


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
def test_every_loss_and_its_gradient_are_those_of_the_reference(agrees, name, options, outputs, dtype):
    given, targets = batch_for(name, outputs, dtype)
    weights = None if options == {} else np.linspace(0.25, 2.0, 12).astype(dtype)

    def total(given):
        values = losses.LOSSES[name](given, targets, weights, **options)
        return values.sum(), values

    (_, values), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(given)

    def expected(given, weights):
        functions = reference_numpy.losses.LOSSES[name], reference_numpy.losses.GRADIENTS[name]
        return tuple(f(given, targets.astype(given.dtype), weights, **options) for f in functions)

    def expected_of_labels(given, weights):
        functions = reference_numpy.losses.LOSSES[name], reference_numpy.losses.GRADIENTS[name]
        return tuple(f(given, targets, weights, **options) for f in functions)

    reference = expected_of_labels if name.startswith("categorical") else expected
    agrees((values, gradient), reference, given, weights, dtype=dtype.name)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mean=st.floats(-100, 100), deviation=st.floats(0.1, 10))
def test_normalisations_and_their_gradients_are_those_of_the_reference(agrees, kind, epsilon, seed, mean, deviation):
    generator = np.random.default_rng(seed)
    z = mean + deviation * generator.standard_normal((9, 6))
    gamma, beta = generator.standard_normal((2, 6))
    upstream = generator.standard_normal((9, 6))
    with jax.enable_x64(True):
        value, gradients = _normalized(kind, epsilon)(z, gamma, beta, upstream)

    def expected(z, gamma, beta, upstream):
        reference = reference_numpy.normalization
        if kind == "layer_norm":
            gradients = reference.layer_norm_backward(upstream, z, gamma, epsilon=epsilon)
            return reference.layer_norm(z, gamma, beta, epsilon=epsilon), gradients
        statistics = reference.batch_statistics(z)
        gradients = reference.batch_norm_backward(upstream, z, gamma, *statistics, epsilon=epsilon)
        return reference.batch_norm(z, gamma, beta, *statistics, epsilon=epsilon), gradients

    agrees((value, gradients), expected, z, gamma, beta, upstream, dtype="float64")


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
def test_running_averages_are_those_of_the_reference(agrees, running_variance, dtype):
    running, batch = np.random.default_rng(0).random((2, 2, 5)).astype(dtype)
    options = {"momentum": 0.8, "running_variance": running_variance}
    averages = normalization.running_average(running, batch, 7, **options)
    agrees(averages, reference_numpy.normalization.running_average, running, batch, 7, dtype=dtype.name, **options)


def test_layer_norm_survives_a_large_mean_in_single_precision(agrees, single_precision):
    z = (1e4 + np.random.default_rng(0).standard_normal((4, 400))).astype(np.float32)
    given = z, np.ones(400, np.float32), np.zeros(400, np.float32)
    agrees(normalization.layer_norm(*given), reference_numpy.normalization.layer_norm, *given)
