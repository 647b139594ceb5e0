"""Activations, losses, normalisation and regularizers, with their derivatives, against the reference in float64."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from impl_tf import activations, losses, normalization, regularizers
from reference_numpy import activations as reference_activations
from reference_numpy import losses as reference_losses
from reference_numpy import normalization as reference_normalization
from reference_numpy import regularizers as reference_regularizers

DTYPES = [np.float32, np.float64]
few = settings(max_examples=10, deadline=None, derandomize=True)


def roundoff(dtype):
    return np.finfo(dtype).eps / 2


def assert_within(actual, expected, allowance):
    actual = np.asarray(actual, np.float64)
    assert actual.shape == np.shape(expected)
    worst = np.max(np.abs(actual - expected) / allowance, initial=0.0)
    assert worst <= 1, f"{worst} times the allowance: {actual} and {expected}"


def value_and_gradients(function, *sources):
    """``function`` of tensors, and the gradients of the sum of what it gives."""
    with tf.GradientTape() as tape:
        tape.watch(sources)
        value = function(*sources)
        total = tf.reduce_sum(value)
    return value, tape.gradient(total, sources)


# --- activations ----------------------------------------------------------------------------------------------------

ACTIVATIONS = [
    *((name, {}) for name in activations.ACTIVATIONS),
    ("relu", {"derivative_at_zero": 1}),
    ("leaky_relu", {"slope": 0.3}),
    ("elu", {"alpha": 2.0}),
    ("gelu", {"approximate": True}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_an_activation_and_its_derivative_are_the_references(name, options, dtype):
    @few
    @given(arrays(np.float32, (2, 3), elements=st.floats(-60, 60, width=32)), st.integers(0, 2**16))
    def check(z, seed):
        upstream = np.random.default_rng(seed).uniform(-1, 1, z.shape)
        a, (gradient,) = value_and_gradients(
            lambda z: tf.constant(upstream, dtype) * activations.ACTIVATIONS[name](z, **options), tf.constant(z, dtype)
        )
        z = z.astype(np.float64)
        expected = reference_activations.ACTIVATIONS[name](z, **options)
        slope = reference_activations.BACKWARD[name](np.ones_like(z), z, expected, **options)
        # Some ten operations of up to four units of roundoff each; the argument's own rounding enters times z f'(z).
        size = np.abs(expected) + np.abs(z * slope)
        if name == "softmax":  # the shift by the largest z
            size = np.abs(expected) * (1 + np.ptp(z))
        elif options == {"approximate": True}:  # 1 + tanh cancels for negative z
            size = np.abs(z)
        tiny = np.finfo(dtype).tiny  # below it numbers have fewer digits
        assert_within(a, upstream * expected, 40 * roundoff(dtype) * np.abs(upstream) * size + tiny)
        backward = reference_activations.BACKWARD[name](upstream, z, expected, **options)
        # No term of a derivative here is larger than 3; softmax's come with the shift, as above.
        assert_within(gradient, backward, 40 * roundoff(dtype) * (1 + np.ptp(z) if name == "softmax" else 3))

    check()


@pytest.mark.parametrize(
    ("name", "options", "derivative"),
    [
        ("relu", {}, 0.0),
        ("relu", {"derivative_at_zero": 1}, 1.0),
        ("leaky_relu", {}, 0.01),
        ("leaky_relu", {"slope": 2.5}, 2.5),
        ("elu", {}, 1.0),
        ("elu", {"alpha": 2.0}, 2.0),
        ("softplus", {}, 0.5),
        ("swish", {}, 0.5),
        ("gelu", {}, 0.5),
    ],
)
def test_the_derivative_at_zero_is_the_one_asked_for(name, options, derivative):
    _, (gradient,) = value_and_gradients(
        lambda z: activations.ACTIVATIONS[name](z, **options), tf.constant([0.0], tf.float64)
    )
    assert gradient.numpy().tolist() == [derivative]


@pytest.mark.parametrize("name", ["elu", "softplus", "swish", "gelu"])
def test_a_large_argument_gives_neither_overflow_nor_nan_in_the_derivative(name):
    z = tf.constant([-1e4, 1e4], tf.float32)
    value, (gradient,) = value_and_gradients(activations.ACTIVATIONS[name], z)
    assert value.numpy().tolist() == [-1.0 if name == "elu" else 0.0, 1e4]
    assert gradient.numpy().tolist() == [0.0, 1.0]


def test_tensorflows_own_activations_round_where_ours_do_not():
    z = tf.constant([-1e-8, -0.7, -34.044], tf.float64)

    def error(function, name, place):
        expected = reference_activations.ACTIVATIONS[name](z.numpy())[place]
        return abs(function(z).numpy()[place] / expected - 1)

    assert error(tf.nn.elu, "elu", 0) > 1e-9  # exp(z) - 1
    assert error(activations.elu, "elu", 0) < 1e-15
    assert error(tf.nn.gelu, "gelu", 1) > 1e-9  # 1 / sqrt(2) in float32
    assert error(activations.gelu, "gelu", 1) < 1e-15
    assert error(lambda z: tf.nn.leaky_relu(z, alpha=0.01), "leaky_relu", 1) > 1e-10  # the slope in float32
    assert error(activations.leaky_relu, "leaky_relu", 1) == 0
    assert error(tf.nn.softplus, "softplus", 2) > 6e-16  # exp(z)
    assert error(activations.softplus, "softplus", 2) < 4e-16


# --- losses ---------------------------------------------------------------------------------------------------------

WEIGHTED = {"weight_denominator": "weights"}
LOSSES = [
    ("binary_cross_entropy", 3, {}),
    ("binary_cross_entropy", 3, {"label_smoothing": 0.1, "output_reduction": "mean", **WEIGHTED}),
    ("binary_cross_entropy", 1, {"class_weights": (0.3, 2.0)}),
    ("binary_cross_entropy", 1, {"class_weights": (0.3, 2.0), "label_smoothing": 0.2, **WEIGHTED}),
    ("categorical_cross_entropy", 4, {}),
    ("categorical_cross_entropy", 4, {"label_smoothing": 0.2, **WEIGHTED}),
    ("categorical_cross_entropy", 4, {"class_weights": (1.0, 0.0, 2.0, 0.5)}),
    ("categorical_cross_entropy", 4, {"class_weights": (1.0, 0.5, 2.0, 0.5), **WEIGHTED}),
    ("binary_cross_entropy_from_probabilities", 3, {"clip": 0.1, "output_reduction": "mean"}),
    ("binary_cross_entropy_from_probabilities", 1, {"clip": 0.25, "class_weights": (0.3, 2.0), **WEIGHTED}),
    ("categorical_cross_entropy_from_probabilities", 4, {"clip": 0.1, **WEIGHTED}),
    ("categorical_cross_entropy_from_probabilities", 4, {"clip": 0.25, "class_weights": (1.0, 0.5, 2.0, 0.5)}),
    ("mean_squared_error", 3, {}),
    ("mean_squared_error", 3, {"convention": "half", **WEIGHTED}),
    ("mean_squared_error", 3, {"convention": "sum"}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "units", "options"), LOSSES)
def test_a_loss_and_its_gradient_are_the_references(name, units, options, dtype):
    probabilities = "probabilities" in name
    elements = st.floats(0, 1, width=32) if probabilities else st.floats(-50, 50, width=32)

    @few
    @given(arrays(np.float32, (5, units), elements=elements), st.integers(0, 2**16), st.booleans())
    def check(outputs, seed, weigh):
        random = np.random.default_rng(seed)
        labels = random.integers(0, units, 5) if name.startswith("categorical") else None
        targets = random.integers(0, 2, (5, units)).astype(np.float64) if labels is None else labels
        weights = random.uniform(0.5, 2, 5) if weigh else None
        values, (gradient,) = value_and_gradients(
            lambda z: losses.LOSSES[name](z, targets, weights, **options), tf.constant(outputs, dtype)
        )
        z = outputs.astype(np.float64)
        # Weights are below 2 2 5 in every case here. Logits enter once, squares twice, clipped probabilities q as
        # log q and 1/q, which is sensitive to q and to 1 - q by another 1/clip.
        size = 20 * units * (1 + np.abs(z).max()) ** (2 if name == "mean_squared_error" else 1)
        size *= (1 / options["clip"]) ** 2 if probabilities else 1
        expected = reference_losses.LOSSES[name](z, targets, weights, **options)
        assert_within(values, expected, 8 * roundoff(dtype) * size)
        expected = reference_losses.GRADIENTS[name](z, targets, weights, **options)
        assert_within(gradient, expected, 8 * roundoff(dtype) * size)

    check()


def test_a_clipped_probability_has_gradient_0_outside_and_that_of_q_on_the_border():
    p = tf.constant([[0.0], [0.25], [0.5], [0.75], [1.0]], tf.float64)
    _, (gradient,) = value_and_gradients(
        lambda p: losses.binary_cross_entropy_from_probabilities(p, np.ones((5, 1)), clip=0.25), p
    )
    assert gradient.numpy()[:, 0].tolist() == [0.0, -4.0, -2.0, pytest.approx(-4 / 3, rel=1e-15), 0.0]


def test_losses_stay_finite_and_exact_for_large_logits():
    logits = tf.constant([[-1000.0], [1000.0]])
    assert losses.binary_cross_entropy(logits, np.array([[1.0], [1.0]])).numpy().tolist() == [1000.0, 0.0]
    logits = tf.constant([[1000.0, -1000.0]])
    assert losses.categorical_cross_entropy(logits, np.array([1])).numpy().tolist() == [2000.0]


def test_the_weights_of_a_loss_are_checked_in_a_compiled_function_too():
    @tf.function(autograph=False)
    def compiled(weights):
        return losses.mean_squared_error(tf.zeros((3, 1)), tf.zeros((3, 1)), weights)

    with pytest.raises(ValueError, match=r"example_weights has shape \(2,\): must be \(3,\)"):
        compiled(tf.ones(2))


# --- normalisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", normalization.NORMALIZATIONS)
def test_a_normalisation_and_its_gradients_are_the_references(name, dtype):
    axis, epsilon = (0, 1e-3) if name == "batch_norm" else (1, 1e-3)

    @few
    @given(st.integers(2, 9), st.integers(2, 6), st.integers(0, 2**16))
    def check(examples, units, seed):
        random = np.random.default_rng(seed)
        z, upstream = (random.normal(2, 1, (examples, units)).astype(np.float32) for _ in range(2))
        gamma, beta = (random.normal(size=units).astype(np.float32) for _ in range(2))

        def normalised(z, gamma, beta):
            statistics = normalization.batch_statistics(z) if name == "batch_norm" else ()
            n = normalization.NORMALIZATIONS[name](z, gamma, beta, *statistics, epsilon=epsilon)
            return n * tf.constant(upstream, dtype)

        value, gradients = value_and_gradients(normalised, *(tf.constant(a, dtype) for a in (z, gamma, beta)))
        z, upstream, gamma, beta = (a.astype(np.float64) for a in (z, upstream, gamma, beta))
        if name == "batch_norm":
            statistics = reference_normalization.batch_statistics(z)
            expected = reference_normalization.batch_norm(z, gamma, beta, *statistics, epsilon=epsilon)
            backward = reference_normalization.batch_norm_backward(upstream, z, gamma, *statistics, epsilon=epsilon)
        else:
            expected = reference_normalization.layer_norm(z, gamma, beta, epsilon=epsilon)
            backward = reference_normalization.layer_norm_backward(upstream, z, gamma, epsilon=epsilon)
        # Sums of n numbers, n units; z - mu loses |z| / sigma, and the gradient takes two such differences.
        deviation = np.sqrt(z.var(axis=axis).min() + epsilon)
        condition = max(examples, units) * np.abs(z).max() / deviation
        size = (np.abs(gamma).max() + np.abs(beta).max()) * np.abs(upstream).max() * np.sqrt(max(examples, units))
        assert_within(value, expected * upstream, 8 * roundoff(dtype) * condition * size)
        for gradient, expected in zip(gradients, backward, strict=True):
            scale = condition**2 * (np.abs(upstream).max() + size) * max(1, 1 / deviation)
            assert_within(gradient, expected, 8 * roundoff(dtype) * scale)

    check()


@pytest.mark.parametrize("variance", ["biased", "unbiased"])
def test_running_averages_are_the_references(variance):
    random = np.random.default_rng(0)
    running, batch = random.random((2, 2, 3))
    options = {"momentum": 0.7, "running_variance": variance}
    expected = reference_normalization.running_average(tuple(running), tuple(batch), 5, **options)
    averages = normalization.running_average(
        tuple(map(tf.constant, running)), tuple(map(tf.constant, batch)), 5, **options
    )
    np.testing.assert_allclose(averages, expected, rtol=1e-15)


def test_a_large_mean_takes_digits_from_tensorflows_own_batch_normalisation_but_not_from_ours():
    z, one = 10000 + np.random.default_rng(0).normal(size=(8, 1)).astype(np.float32), np.ones(1, np.float32)
    mean = 10000 * one  # z - mean is exact, and sqrt(1 + 0) too
    expected = z.astype(np.float64) - 10000.0
    np.testing.assert_array_equal(normalization.batch_norm(z, one, 0 * one, mean, one, epsilon=0.0), expected)
    theirs = tf.nn.batch_normalization(z, mean, np.float32([3.0]), 0 * one, one, 0.0).numpy() * np.sqrt(3.0)
    assert np.abs(theirs - expected).max() > 1e-4


def test_standardisation_uses_population_statistics_and_keeps_constant_features():
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    mean, deviation = normalization.standardization_statistics(x)
    assert mean.numpy().tolist() == [2.0, 5.0]
    assert deviation.numpy().tolist() == [1.0, 1.0]
    assert normalization.standardize(x, mean, deviation).numpy().tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert normalization.standardization_statistics(np.full((7, 1), 0.1))[1].numpy().tolist() == [1.0]


# --- regularizers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", regularizers.CONVENTIONS)
@pytest.mark.parametrize(("name", "options"), [("l2", {}), ("l1", {}), ("elastic_net", {"l1_ratio": 0.25})])
def test_a_penalty_and_its_gradient_are_the_references_also_at_weight_0(name, options, convention):
    weights = [np.array([[0.5, 0.0], [-1.5, 2.0]]), np.array([[0.0, -3.0]])]
    penalty = regularizers.PENALTIES[name](0.3, convention=convention, **options)
    expected = reference_regularizers.PENALTIES[name](0.3, convention=convention, **options)
    value, gradients = value_and_gradients(lambda *w: penalty(w, 7), *map(tf.constant, weights))
    assert float(value) == pytest.approx(expected.value(weights, 7), rel=1e-15)
    for gradient, weight in zip(gradients, weights, strict=True):
        np.testing.assert_allclose(gradient, expected.gradient(weight, 7), rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*regularizers.CLIPPINGS, *regularizers.CONSTRAINTS])
def test_clipping_and_constraints_are_the_references_and_change_nothing_within_the_limit(name, dtype):
    @few
    @given(st.floats(0.01, 20), st.integers(0, 2**16))
    def check(limit, seed):
        random = np.random.default_rng(seed)
        tensors = {"W1": random.normal(size=(3, 4)).astype(dtype), "b1": random.normal(size=3).astype(dtype)}
        actual = regularizers.REGULARIZERS[name](limit)({n: tf.constant(t) for n, t in tensors.items()})
        expected = reference_regularizers.REGULARIZERS[name](limit)(tensors)
        assert list(actual) == list(expected)
        for n, tensor in expected.items():  # a norm of 15 numbers, and three operations more
            np.testing.assert_allclose(actual[n], tensor, rtol=18 * roundoff(dtype))
            if np.array_equal(tensor, tensors[n]):
                np.testing.assert_array_equal(actual[n], tensor)

    check()


def test_an_infinite_gradient_stays_one_where_tensorflows_own_clipping_spreads_it():
    gradients = {"W1": tf.constant([np.inf, 1.0]), "b1": tf.constant([1.0])}
    clipped = regularizers.clip_by_global_norm(1.0)(gradients)
    assert np.isnan(clipped["W1"]).tolist() == [True, False]
    assert clipped["b1"].numpy().tolist() == [0.0]
    theirs, _ = tf.clip_by_global_norm(list(gradients.values()), 1.0)
    assert np.isnan(theirs[1]).all()


AUGMENTATIONS = [
    ("random_flip", ((3, 4),)), ("random_flip", ((2, 3, 2),)),
    ("random_shift", ((3, 4),)), ("random_shift", ((2, 3, 2),)), ("gaussian_noise", ()),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "shape"), AUGMENTATIONS)
def test_an_augmentation_is_the_references_on_the_same_draws(name, shape, dtype):
    random = np.random.default_rng(0)
    expected = reference_regularizers.AUGMENTATIONS[name](*shape)
    x = random.normal(size=(20, 12)).astype(dtype)
    drawn = expected.draw(random, 20, 12)
    actual = regularizers.AUGMENTATIONS[name](*shape).apply(tf.constant(x), tf.constant(drawn))
    assert actual.dtype == dtype
    np.testing.assert_array_equal(actual, expected.apply(x, drawn).astype(dtype))


def test_augmentations_draw_from_their_generator_in_their_range():
    generator = tf.random.Generator.from_seed(0)
    flips = regularizers.random_flip((2, 2), probability=0.25).draw(generator, 4000, 4).numpy()
    assert flips.mean() == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / 4000))
    shifts = regularizers.random_shift((2, 2), largest=2).draw(generator, 4000, 4).numpy()
    assert shifts.shape == (4000, 2)
    counts = np.bincount(shifts.ravel() + 2, minlength=5)
    np.testing.assert_allclose(counts / 8000, 0.2, atol=5 * np.sqrt(0.2 * 0.8 / 8000))
    noise = regularizers.gaussian_noise().draw(generator, 400, 20).numpy()
    assert abs(noise.mean()) < 5 / np.sqrt(8000)
    assert noise.std() == pytest.approx(1, abs=5 / np.sqrt(2 * 8000))


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 4), st.floats(0, 0.3))
def test_early_stopping_decides_as_the_reference_does(costs, patience, min_delta):
    options = {"patience": patience, "min_delta": min_delta}
    mine, theirs = regularizers.early_stopping(**options), reference_regularizers.early_stopping(**options)
    for cost in costs:
        assert mine.improved(cost) == theirs.improved(cost)
        assert vars(mine) == vars(theirs)
        assert mine.stop == theirs.stop


def test_equal_settings_are_equal_objects_that_compiled_code_can_share():
    for make in (
        lambda limit: regularizers.l1(limit),
        lambda limit: regularizers.clip_by_norm(limit),
        lambda limit: regularizers.max_norm(limit),
        lambda limit: regularizers.random_flip([2, 3], probability=limit),
        lambda limit: regularizers.gaussian_noise(scale=limit),
    ):
        assert make(0.5) == make(0.5)
        assert hash(make(0.5)) == hash(make(0.5))
        assert make(0.5) != make(0.25)
    assert regularizers.clip_by_norm(1.0) != regularizers.clip_by_value(1.0)
