"""Activations, losses, normalisation and regularizers, with their derivatives, against the reference in float64."""

import functools

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
EXACT = 4 * 2.0**-53  # a few roundings of the last operations
few = settings(max_examples=10, deadline=None, derandomize=True)


def precision(dtype):
    return np.dtype(dtype).name


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


ONE = np.array([[0.5, -0.5, 1.0]])  # a row at which every activation and derivative has its digits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_an_activation_and_its_derivative_are_the_references(name, options, dtype, agrees):
    f, reference = activations.ACTIVATIONS[name], reference_activations.ACTIVATIONS[name]

    def backward(upstream, z):
        return reference_activations.BACKWARD[name](upstream, z, reference(z, **options), **options)

    @few
    @given(arrays(np.float32, (2, 3), elements=st.floats(-60, 60, width=32)), st.integers(0, 2**16))
    def check(z, seed):
        z = np.concatenate([z, ONE]).astype(dtype)
        upstream = np.random.default_rng(seed).uniform(-1, 1, z.shape).astype(dtype)
        a, (gradient,) = value_and_gradients(lambda z: upstream * f(z, **options), tf.constant(z))
        # A slope is made of the function's values, which are another library's here.
        agrees(gradient, backward, upstream, z, dtype=precision(dtype), kinds=("one plus", "activation"))
        agrees(a, lambda upstream, z: upstream * reference(z, **options), upstream, z, dtype=precision(dtype))
        # A small value has as many digits as a large one: the allowance of each row or number is its own.
        for part in z if name == "softmax" else z.ravel():
            part = part[None] if name == "softmax" else part.reshape(1)
            agrees(f(tf.constant(part), **options), reference, part, dtype=precision(dtype), **options)

    check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_logarithm_of_a_softmax_is_the_references_and_finite(dtype, agrees):
    z = np.random.default_rng(4).normal(size=(5, 3)).astype(dtype)
    upstream = np.random.default_rng(5).normal(size=(5, 3)).astype(dtype)

    def backward(upstream, z):
        return reference_activations.log_softmax_backward(upstream, z, reference_activations.log_softmax(z))

    value, (gradient,) = value_and_gradients(lambda z: upstream * activations.log_softmax(z), tf.constant(z))
    agrees(value, lambda u, z: u * reference_activations.log_softmax(z), upstream, z, dtype=precision(dtype))
    agrees(gradient, backward, upstream, z, dtype=precision(dtype))
    assert activations.log_softmax(tf.constant([[1000.0, 0.0]])).numpy().tolist() == [[0.0, -1000.0]]
    assert "log_softmax" not in activations.ACTIVATIONS


@pytest.mark.parametrize(
    ("name", "options", "derivative"),
    [
        ("relu", {}, 0.0),
        ("relu", {"derivative_at_zero": 1}, 1.0),
        ("leaky_relu", {}, 0.01),
        ("leaky_relu", {"slope": 2.5}, 2.5),
        ("elu", {}, 1.0),
        ("elu", {"alpha": 2.0}, 2.0),
        ("selu", {}, activations.SELU_SCALE * activations.SELU_ALPHA),
        ("softsign", {}, 1.0),
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


def test_softsign_and_selu_by_hand():
    z = tf.constant([-3.0, 0.0, 1.0], tf.float64)
    value, (gradient,) = value_and_gradients(activations.softsign, z)
    assert value.numpy().tolist() == [-0.75, 0.0, 0.5]
    assert gradient.numpy().tolist() == [1 / 16, 1.0, 1 / 4]
    value, (gradient,) = value_and_gradients(activations.selu, tf.constant([-1e4, 0.0, 2.0, 1e4], tf.float64))
    scale, alpha = activations.SELU_SCALE, activations.SELU_ALPHA
    assert value.numpy().tolist() == [-scale * alpha, 0.0, 2 * scale, 1e4 * scale]
    assert gradient.numpy().tolist() == [0.0, scale * alpha, scale, scale]


def test_selu_keeps_a_standard_normal_number_standard():
    # Klambauer et al. 2017: mean 0 and variance 1 are a fixed point. By the midpoint rule on a fine grid.
    z = tf.linspace(tf.constant(-12.0, tf.float64), 12.0, 200_001)
    weights = tf.exp(-z * z / 2) / tf.reduce_sum(tf.exp(-z * z / 2))
    mean = float(tf.reduce_sum(weights * activations.selu(z)))
    square = float(tf.reduce_sum(weights * activations.selu(z) ** 2))
    grid = (24 / 200_000) ** 2  # the rule's error at the kink
    assert (mean, square) == (pytest.approx(0, abs=grid), pytest.approx(1, abs=grid))


def test_the_derivative_of_softsign_keeps_its_digits_for_a_large_argument():
    _, (gradient,) = value_and_gradients(activations.softsign, tf.constant([1023.0]))
    assert gradient.numpy().tolist() == [2.0**-20]


def test_tensorflows_own_activations_round_where_ours_do_not():
    z = tf.constant([-1e-8, -0.7, -34.044], tf.float64)

    def error(function, name, place):
        expected = reference_activations.ACTIVATIONS[name](z.numpy())[place]
        return abs(function(z).numpy()[place] / expected - 1)

    assert error(tf.nn.elu, "elu", 0) > 1e-9  # exp(z) - 1
    assert error(activations.elu, "elu", 0) < EXACT
    assert error(tf.nn.selu, "selu", 0) > 1e-9
    assert error(activations.selu, "selu", 0) < EXACT
    assert error(tf.nn.gelu, "gelu", 1) > 1e-9  # 1 / sqrt(2) in float32
    assert error(activations.gelu, "gelu", 1) < EXACT
    assert error(lambda z: tf.nn.leaky_relu(z, alpha=0.01), "leaky_relu", 1) > 1e-10  # the slope in float32
    assert error(activations.leaky_relu, "leaky_relu", 1) == 0
    assert error(tf.nn.softplus, "softplus", 2) > EXACT  # exp(z)
    assert error(activations.softplus, "softplus", 2) < EXACT


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
def test_a_loss_and_its_gradient_are_the_references(name, units, options, dtype, agrees):
    probabilities = "probabilities" in name
    elements = st.floats(0, 1, width=32) if probabilities else st.floats(-50, 50, width=32)

    @few
    @given(arrays(np.float32, (5, units), elements=elements), st.integers(0, 2**16), st.booleans())
    def check(outputs, seed, weigh):
        random = np.random.default_rng(seed)
        outputs = outputs.astype(dtype)
        labels = random.integers(0, units, 5) if name.startswith("categorical") else None
        targets = random.integers(0, 2, (5, units)).astype(dtype) if labels is None else labels
        weights = random.uniform(0.5, 2, 5).astype(dtype) if weigh else None
        values, (gradient,) = value_and_gradients(
            lambda z: losses.LOSSES[name](z, targets, weights, **options), tf.constant(outputs)
        )
        # Targets of 0 and 1 are no numbers that could be rounded: they are held fixed.
        for observed, table in ((values, reference_losses.LOSSES), (gradient, reference_losses.GRADIENTS)):
            expected = table[name]
            agrees(
                observed, lambda z, w, f=expected: f(z, targets, w, **options), outputs, weights, dtype=precision(dtype)
            )

    check()


def test_a_clipped_probability_has_gradient_0_outside_and_that_of_q_on_the_border():
    p = tf.constant([[0.0], [0.25], [0.5], [0.75], [1.0]], tf.float64)
    _, (gradient,) = value_and_gradients(
        lambda p: losses.binary_cross_entropy_from_probabilities(p, np.ones((5, 1)), clip=0.25), p
    )
    assert gradient.numpy()[:, 0].tolist() == [0.0, -4.0, -2.0, pytest.approx(-4 / 3, rel=EXACT), 0.0]


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
def test_a_normalisation_and_its_gradients_are_the_references(name, dtype, agrees):
    epsilon, own = 1e-3, normalization.NORMALIZATIONS[name]
    agrees = functools.partial(agrees, dtype=precision(dtype), summed_over=0 if name == "batch_norm" else -1)
    reference = getattr(reference_normalization, name)
    backward = getattr(reference_normalization, f"{name}_backward")

    def statistics(package, z):
        return package.batch_statistics(z) if name == "batch_norm" else ()

    def normalised(upstream, z, gamma, beta):
        return upstream * reference(z, gamma, beta, *statistics(reference_normalization, z), epsilon=epsilon)

    def derived(upstream, z, gamma, beta):
        return backward(upstream, z, gamma, *statistics(reference_normalization, z), epsilon=epsilon)

    @few
    @given(st.integers(2, 9), st.integers(2, 6), st.integers(0, 2**16))
    def check(examples, units, seed):
        random = np.random.default_rng(seed)
        z, upstream = (random.normal(2, 1, (examples, units)).astype(dtype) for _ in range(2))
        gamma, beta = (random.normal(size=units).astype(dtype) for _ in range(2))
        value, gradients = value_and_gradients(
            lambda z, gamma, beta: upstream * own(z, gamma, beta, *statistics(normalization, z), epsilon=epsilon),
            *map(tf.constant, (z, gamma, beta)),
        )
        agrees(value, normalised, upstream, z, gamma, beta)
        agrees(tuple(gradients), derived, upstream, z, gamma, beta)

    check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_norm_runs_in_a_compiled_function_that_asks_for_no_gradient_of_it(dtype, agrees):
    z, gamma, beta = (np.random.default_rng(9).normal(size=shape).astype(dtype) for shape in ((8, 5), 5, 5))
    gamma_variable, beta_variable = tf.Variable(gamma), tf.Variable(beta)
    compiled = tf.function(lambda z: normalization.layer_norm(z, gamma_variable, beta_variable))
    agrees(compiled(tf.constant(z)), reference_normalization.layer_norm, z, gamma, beta, dtype=precision(dtype))


@pytest.mark.parametrize("variance", ["biased", "unbiased"])
def test_running_averages_are_the_references(variance, agrees):
    random = np.random.default_rng(0)
    running, batch = (tuple(pair) for pair in random.random((2, 2, 3)))
    options = {"momentum": 0.7, "running_variance": variance}
    averages = normalization.running_average(
        tuple(map(tf.constant, running)), tuple(map(tf.constant, batch)), 5, **options
    )
    agrees(averages, reference_normalization.running_average, running, batch, 5, dtype="float64", **options)


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
def test_a_penalty_and_its_gradient_are_the_references_also_at_weight_0(name, options, convention, agrees):
    weights = [np.array([[0.5, 0.0], [-1.5, 2.0]]), np.array([[0.0, -3.0]])]
    penalty = regularizers.PENALTIES[name](0.3, convention=convention, **options)
    expected = reference_regularizers.PENALTIES[name](0.3, convention=convention, **options)
    value, gradients = value_and_gradients(lambda *w: penalty(w, 7), *map(tf.constant, weights))
    agrees(value, expected.value, weights, 7, dtype="float64")
    for gradient, weight in zip(gradients, weights, strict=True):
        agrees(gradient, expected.gradient, weight, 7, dtype="float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*regularizers.CLIPPINGS, *regularizers.CONSTRAINTS])
def test_clipping_and_constraints_are_the_references_and_change_nothing_within_the_limit(name, dtype, agrees):
    @few
    @given(st.floats(0.01, 20), st.integers(0, 2**16))
    def check(limit, seed):
        random = np.random.default_rng(seed)
        tensors = {"W1": random.normal(size=(3, 4)).astype(dtype), "b1": random.normal(size=3).astype(dtype)}
        actual = regularizers.REGULARIZERS[name](limit)({n: tf.constant(t) for n, t in tensors.items()})
        reference = reference_regularizers.REGULARIZERS[name](limit)
        agrees(actual, reference, tensors, dtype=precision(dtype))
        for n, tensor in reference(tensors).items():
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
