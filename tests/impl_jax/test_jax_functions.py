"""Activations, losses, regularizers and models: derivatives at kinks, stability, what JAX's own do otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from impl_jax import activations, initializers, losses, models, normalization, optimizers, regularizers, training
from tests.training_settings import fit_with

ROUNDOFF = 2.0**-24  # of float32; with 64-bit types on, that of float64 is DOUBLE_ROUNDOFF
DOUBLE_ROUNDOFF = 2.0**-53


def test_derivatives_at_the_kinks_follow_the_stated_convention():
    at_zero = {
        0.0: activations.relu,
        1.0: lambda z: activations.relu(z, derivative_at_zero=1),
        0.01: activations.leaky_relu,
    }
    for expected, f in at_zero.items():
        assert jax.grad(f)(0.0) == pytest.approx(expected)
    assert jax.grad(jax.nn.leaky_relu)(0.0) == 1.0
    assert jax.grad(lambda z: jnp.maximum(z, 0.0))(0.0) == 0.5


def test_selu_is_the_one_of_jax_and_has_the_lower_side_of_its_kink():
    z = np.linspace(-5.0, 5.0, 21, dtype=np.float32)
    np.testing.assert_array_equal(activations.selu(z), jax.nn.selu(z))
    scale, alpha = activations.SELU_SCALE, activations.SELU_ALPHA
    assert float(activations.selu(2.0)) == pytest.approx(2 * scale, rel=2 * ROUNDOFF)
    assert float(activations.selu(-1.0)) == pytest.approx(scale * alpha * np.expm1(-1), rel=4 * ROUNDOFF)
    assert float(jax.grad(activations.selu)(0.0)) == pytest.approx(scale * alpha, rel=2 * ROUNDOFF)
    assert float(jax.grad(activations.selu)(1e-6)) == pytest.approx(scale, rel=2 * ROUNDOFF)


def test_the_derivative_of_softsign_keeps_digits_that_the_one_of_jax_loses(single_precision):
    z = np.array([-1e6, -3.0, -0.0, 0.0, 1.0, 1e4], np.float32)
    np.testing.assert_array_equal(activations.softsign(z), jax.nn.soft_sign(z))
    expected = 1 / (1 + np.abs(z.astype(np.float64))) ** 2

    def worst(f):
        return np.max(np.abs(jax.vmap(jax.grad(f))(z) / expected - 1))

    assert worst(activations.softsign) < 8 * ROUNDOFF  # a sum, a square and a quotient
    assert worst(jax.nn.soft_sign) > 1000 * ROUNDOFF
    slope, forward = jax.jvp(activations.softsign, (jnp.float32(3.0),), (jnp.float32(2.0),))
    assert (float(slope), float(forward)) == (0.75, 0.125)


def test_the_logarithm_of_the_softmax_is_finite_where_the_softmax_is_zero():
    z = jnp.array([[0.0, 0.0], [1000.0, 0.0]])
    np.testing.assert_allclose(activations.log_softmax(z), [[-np.log(2), -np.log(2)], [0, -1000]], rtol=4 * ROUNDOFF)
    assert "log_softmax" not in activations.ACTIVATIONS
    gradient = jax.grad(lambda z: activations.log_softmax(z)[0, 0])(z)
    np.testing.assert_allclose(gradient, [[0.5, -0.5], [0, 0]], rtol=4 * ROUNDOFF)


@pytest.mark.parametrize("make", models.MODELS.values(), ids=models.MODELS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_model_has_biases_unless_told_to_have_none(make, bias):
    sizes = 4 if make in (models.single_neuron, models.logistic_regression, models.shallow_network) else (4, 3, 2)
    model = make(sizes, bias=bias)
    parameters = models.initialize(model, jax.random.key(0))
    assert {name for name in parameters if name[0] == "b"} == {f"b{i}" for i in range(1, model.depth + 1) if bias}
    zeros = models.predict(model, parameters, np.zeros((2, 4), np.float32))
    assert zeros.shape == (2, model.layer_sizes[-1])


def test_a_model_without_biases_trains_and_keeps_none_with_a_new_head():
    model = models.deep_network((4, 3, 1), normalization="layer_norm", bias=False)
    assert model != models.deep_network((4, 3, 1), normalization="layer_norm")
    parameters = models.initialize(model, jax.random.key(0))
    assert set(parameters) == {"W1", "gamma1", "beta1", "W2"}
    assert not model.has_bias(1)
    x = np.ones((5, 4), np.float32)
    history = fit_with(
        training, model, parameters, x, np.ones((5, 1), np.float32), loss="binary_cross_entropy",
        optimizer=optimizers.gradient_descent(0.1), epochs=1,
    )  # fmt: skip
    assert set(history.parameters) == set(parameters)
    headed, replaced = models.replace_head(model, history.parameters, jax.random.key(1), outputs=6, output="softmax")
    assert (headed.bias, set(replaced)) == (False, set(parameters))


def test_which_layers_have_a_bias():
    normalized = models.deep_network((4, 3, 2, 1), normalization="batch_norm")
    assert [normalized.has_bias(layer) for layer in (1, 2, 3)] == [False, False, True]
    without = models.deep_network((4, 3, 2, 1), normalization="batch_norm", bias=False)
    assert [without.has_bias(layer) for layer in (1, 2, 3)] == [False] * 3
    with pytest.raises(ValueError, match="bias='no' is not allowed: must be one of False, True"):
        models.logistic_regression(2, bias="no")


def test_the_gradient_of_binary_cross_entropy_is_sigmoid_minus_target_even_at_zero(double_precision):
    z, targets = np.array([[-30.0, 0.0, 20.0, 400.0]]), np.full((1, 4), 0.25)
    gradient = jax.jit(jax.grad(lambda z: losses.binary_cross_entropy(z, targets).sum()))(z)
    # A sigmoid and a difference, on both sides.
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-z)) - 0.25, rtol=8 * DOUBLE_ROUNDOFF)


def test_binary_cross_entropy_keeps_digits_that_the_one_of_optax_loses(double_precision):
    z = np.linspace(20.0, 36.0, 1001)
    targets = np.zeros((1001, 1))

    def worst(loss):
        gradient = jax.jit(jax.grad(lambda z: loss(z[:, None], targets).sum()))(z)
        return np.max(np.abs(gradient - 1 / (1 + np.exp(-z))))

    assert worst(losses.binary_cross_entropy) < 2.5 * DOUBLE_ROUNDOFF
    assert worst(optax.sigmoid_binary_cross_entropy) > 8 * DOUBLE_ROUNDOFF


def test_losses_agree_with_those_of_optax(double_precision):
    logits, labels = np.array([[1.0, -2.0, 0.5], [300.0, 301.0, -5.0]]), np.array([2, 0])
    targets = np.eye(3)[labels]

    @jax.jit
    def both(logits, targets):
        return (
            (
                losses.categorical_cross_entropy(logits, jnp.asarray(labels)),
                losses.binary_cross_entropy(logits, targets),
            ),
            (
                optax.softmax_cross_entropy_with_integer_labels(logits, labels),
                optax.sigmoid_binary_cross_entropy(logits, targets).sum(axis=1),
            ),
            (losses.mean_squared_error(logits, targets, convention="half"), optax.l2_loss(logits, targets).sum(axis=1)),
        )

    ours, builtin, (half, l2) = both(logits, targets)
    # optax takes the difference of a logit and a logarithm of the size of 300, to leave a loss of 0.3: 1000 roundings.
    np.testing.assert_allclose(ours, builtin, rtol=1000 * DOUBLE_ROUNDOFF)
    np.testing.assert_allclose(half, l2, rtol=8 * DOUBLE_ROUNDOFF)  # a sum of three squares


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.binary_cross_entropy(jnp.zeros((3, 1)), jnp.zeros(3)), r"targets has shape \(3,\)"),
        (
            lambda: losses.categorical_cross_entropy(jnp.zeros((2, 3)), jnp.array([0, 3])),
            r"span 0 .. 3: must be in 0 .. 2",
        ),
        (lambda: losses.categorical_cross_entropy(jnp.zeros((2, 3)), jnp.zeros(2)), "must be integers 0 .. 2"),
        (lambda: losses.mean_squared_error(jnp.zeros((2, 1)), jnp.zeros((2, 1)), convention="sam"), "convention='sam'"),
        (
            lambda: activations.relu(0.0, derivative_at_zero=0.5),
            "derivative_at_zero=0.5 is not allowed: must be 0 or 1",
        ),
        (lambda: activations.leaky_relu(0.0, slope=float("nan")), "slope=nan is not allowed"),
        (lambda: regularizers.l2(float("nan")), "strength=nan is not allowed: must be a finite number >= 0"),
        (lambda: initializers.he_normal(jax.random.key(0), (3, 0)), r"shape=\(3, 0\) is not allowed"),
        (lambda: models.deep_network((4, 3, 1), keep_probability=0.0), "keep_probability=0.0 is not allowed"),
        (lambda: models.logistic_regression(2).apply({}, jnp.zeros((5, 3))), r"x has shape \(5, 3\): must be"),
        (lambda: normalization.standardization_statistics(np.zeros((0, 2))), "at least one example"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_model_is_a_static_argument_and_equal_models_are_one():
    first, second = (models.deep_network((4, 3, 1), activation_options={"derivative_at_zero": 1}) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert regularizers.l2(0.5) == regularizers.l2(0.5)
    parameters = models.initialize(first, jax.random.key(0))
    compiled = jax.jit(models.intermediates, static_argnames="model")
    x = np.ones((2, 4))
    assert list(models.intermediates(first, parameters, x)) == ["Z1", "A1", "Z2", "A2"]
    for name, value in compiled(first, parameters, x).items():
        np.testing.assert_allclose(value, models.intermediates(second, parameters, x)[name], rtol=16 * ROUNDOFF)


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_initializers_take_typed_and_raw_keys_and_do_not_truncate(make_key, double_precision):
    weights = initializers.he_normal(make_key(1), (200, 50))
    assert weights.dtype == jnp.float64
    assert float(weights.std()) == pytest.approx(np.sqrt(2 / 50), rel=0.02)
    assert float(jnp.abs(weights).max()) > 3 * np.sqrt(2 / 50)
    assert initializers.zeros(make_key(1), (2, 3), dtype=jnp.float32).dtype == jnp.float32


def test_a_dropout_mask_keeps_the_stated_share_and_the_expectation():
    mask = regularizers.dropout_mask(jax.random.key(0), (500, 40), keep_probability=0.8)
    assert mask.dtype == bool
    assert float(mask.mean()) == pytest.approx(0.8, abs=0.01)
    dropped = regularizers.inverted_dropout(jnp.ones((500, 40)), mask, keep_probability=0.8)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1.25)}


def test_standardization_survives_a_large_mean_in_single_precision(single_precision):
    x = (1e4 + np.random.default_rng(0).standard_normal((200, 2))).astype(np.float32)
    x[:, 1] = 0.1  # the mean of so many is not exactly 0.1
    mean, deviation = normalization.standardization_statistics(x)
    assert float(deviation[1]) == 1.0
    assert float(jnp.std(normalization.standardize(x, mean, deviation)[:, 0])) == pytest.approx(1.0, abs=1e-3)
