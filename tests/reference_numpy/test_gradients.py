"""The hand-written gradients, held to differences of the cost and to complex steps of formulas written anew here."""

import numpy as np
import pytest

from reference_numpy import activations, losses, models, regularizers, training
from tests.training_settings import gradients_with

RATIO = 1e-7  # the course's bound for ||numeric - analytic|| / (||numeric|| + ||analytic||)

TASKS = [
    ("sigmoid", "binary_cross_entropy", {}),
    ("softmax", "categorical_cross_entropy", {}),
    ("identity", "mean_squared_error", {}),
    ("identity", "mean_squared_error", {"convention": "half"}),
]


def problem(activation, output, keep_probability=0.8, **keywords):
    generator = np.random.default_rng(3)
    model = models.deep_network(
        (5, 4, 3, 3), activation=activation, output=output, keep_probability=keep_probability, **keywords
    )
    parameters = models.initialize(model, generator)
    parameters = {name: w + 0.1 * generator.standard_normal(w.shape) for name, w in parameters.items()}
    x = generator.standard_normal((7, 5))
    y = generator.integers(0, 3, 7) if output == "softmax" else generator.random((7, 3))
    masks = {layer: generator.random((7, n)) < keep_probability for layer, n in ((1, 4), (2, 3))}
    return model, parameters, x, y, masks


def central_differences(cost, arrays, step=1e-5):
    """d cost / d every element, by the course's two-sided difference."""
    gradients = {}
    for name, array in arrays.items():
        gradients[name] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                moved = {n: a.copy() for n, a in arrays.items()}
                moved[name][index] += sign * step
                values.append(cost(moved))
            gradients[name][index] = (values[0] - values[1]) / (2 * step)
    return gradients


def ratio(numeric, analytic):
    a, b = (np.concatenate([g[name].ravel() for name in numeric]) for g in (numeric, analytic))
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


@pytest.mark.parametrize("activation", activations.ACTIVATIONS)
@pytest.mark.parametrize(("output", "loss", "options"), TASKS)
def test_every_gradient_agrees_with_central_differences(activation, output, loss, options):
    model, parameters, x, y, masks = problem(activation, output)
    keywords = {"loss": loss, "loss_options": options, "penalties": (regularizers.l2(0.7),), "masks": masks}

    def cost(arrays):
        arrays = dict(arrays)
        x = arrays.pop("A0")
        return gradients_with(training, model, arrays, x, y, **keywords).cost

    analytic = gradients_with(training, model, parameters, x, y, input_gradient=True, **keywords).gradients
    assert ratio(central_differences(cost, parameters | {"A0": x}), analytic) < RATIO


@pytest.mark.parametrize("normalization", [None, "batch_norm", "layer_norm"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_without_biases_and_of_sums_agree_with_central_differences(bias, reduction, normalization):
    model, parameters, x, y, masks = problem("tanh", "softmax", bias=bias, normalization=normalization)
    keywords = {
        "loss": "categorical_cross_entropy", "penalties": (regularizers.l2(0.7),), "masks": masks,
        "reduction": reduction,
    }  # fmt: skip
    has_bias = {"b1", "b2", "b3"} & set(parameters)
    assert has_bias == (set() if not bias else {"b3"} if normalization == "batch_norm" else {"b1", "b2", "b3"})
    analytic = gradients_with(training, model, parameters, x, y, **keywords).gradients
    assert analytic.keys() == parameters.keys()
    numeric = central_differences(lambda p: gradients_with(training, model, p, x, y, **keywords).cost, parameters)
    assert ratio(numeric, analytic) < RATIO


def test_a_wrong_gradient_does_not_agree_with_central_differences(monkeypatch):
    monkeypatch.setitem(activations.BACKWARD, "tanh", lambda gradient, z, a, out=None: gradient * (1 - a))
    model, parameters, x, y, masks = problem("tanh", "sigmoid")
    keywords = {"loss": "binary_cross_entropy", "masks": masks}
    analytic = gradients_with(training, model, parameters, x, y, **keywords).gradients
    numeric = central_differences(lambda p: gradients_with(training, model, p, x, y, **keywords).cost, parameters)
    assert ratio(numeric, analytic) > 1e-3


ANALYTIC = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    # Away from 0 these are analytic, too: their branch is chosen by the real part.
    "softsign": lambda z: z / (1 + np.where(z.real > 0, z, -z)),
    "elu": lambda z: np.where(z.real > 0, z, np.exp(z) - 1),
    "selu": lambda z: 1.0507009873554805 * np.where(z.real > 0, z, 1.6732632423543772 * (np.exp(z) - 1)),
}


@pytest.mark.parametrize("activation", ANALYTIC)
def test_the_gradient_of_an_analytic_network_agrees_with_complex_steps(agrees, activation):
    """The cost in complex numbers, ``log(1 + exp(-z)) + (1 - y) z``: shares no line with the reference."""
    model, parameters, x, y, _ = problem(activation, "sigmoid", 1.0)

    def cost(arrays):
        a = x
        for layer in (1, 2, 3):
            z = a @ arrays[f"W{layer}"].T + arrays[f"b{layer}"]
            a = ANALYTIC[activation](z)
        weights = sum((arrays[f"W{layer}"] ** 2).sum() for layer in (1, 2, 3))
        return (np.log(1 + np.exp(-z)) + (1 - y) * z).sum(axis=1).mean() + 0.7 / (2 * len(x)) * weights

    expected = {name: np.zeros_like(array) for name, array in parameters.items()}
    for name, array in parameters.items():
        for index in np.ndindex(array.shape):
            moved = {n: a.astype(complex) for n, a in parameters.items()}
            moved[name][index] += 1e-200j
            expected[name][index] = cost(moved).imag / 1e-200

    def found(parameters, x):
        penalties = (regularizers.l2(0.7),)
        return gradients_with(
            training, model, parameters, x, y, loss="binary_cross_entropy", penalties=penalties
        ).gradients

    agrees(expected, found, parameters, x, dtype="float64")


@pytest.mark.parametrize("loop", [models.logistic_regression_loops, models.logistic_regression_example_loop])
def test_the_loops_of_the_course_agree_with_the_vectorised_form(agrees, loop):
    generator = np.random.default_rng(5)
    x, y = generator.standard_normal((20, 4)), generator.integers(0, 2, 20)
    weight, bias = generator.standard_normal(4), np.array(0.3)  # the vectorised form is given arrays

    def vectorised(weight, bias, x):
        parameters = {"W1": weight[None], "b1": bias[None]}
        targets = y[:, None].astype(x.dtype)
        model = models.logistic_regression(4)
        found = gradients_with(training, model, parameters, x, targets, loss="binary_cross_entropy")
        return found.cost, found.gradients["W1"][0], found.gradients["b1"][0]

    agrees(loop(weight, float(bias), x, y), vectorised, weight, bias, x, dtype="float64")


@pytest.mark.parametrize("logit", [-800.0, -40.0, 0.0, 40.0, 800.0])
def test_cross_entropy_from_logits_keeps_its_digits_where_a_probability_would_round(agrees, logit):
    expected = np.log1p(np.exp(-logit)) if logit > -700 else -logit
    one = np.ones((1, 1))
    agrees(np.array([expected]), lambda z: losses.binary_cross_entropy(z, one), np.array([[logit]]), dtype="float64")


def test_binary_cross_entropy_refuses_targets_that_would_broadcast():
    with pytest.raises(ValueError, match=r"targets has shape \(3,\), outputs \(3, 1\)"):
        losses.binary_cross_entropy(np.zeros((3, 1)), np.zeros(3))


@pytest.mark.parametrize("labels", [np.array([0, 3]), np.array([-1, 0])])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(ValueError, match=r"must be in 0 \.\. 2"):
        losses.categorical_cross_entropy(np.zeros((2, 3)), labels)


@pytest.mark.parametrize("logits", [[0.0, 1.0, -2.0], [1000.0, 0.0, -1000.0], [-745.2, -745.2, -745.2]])
def test_the_logarithm_of_the_softmax_is_finite_and_what_the_cross_entropy_takes(logits):
    z = np.array([logits])
    logarithms = activations.log_softmax(z)
    losses_of_each = [losses.categorical_cross_entropy(z, np.array([label]))[0] for label in range(3)]
    assert np.isfinite(logarithms).all()
    assert (-logarithms[0] == losses_of_each).all()


def test_the_gradient_of_the_logarithm_of_the_softmax_agrees_with_central_differences():
    generator = np.random.default_rng(2)
    z, upstream = generator.standard_normal((2, 4, 3))
    numeric = central_differences(lambda arrays: (upstream * activations.log_softmax(arrays["z"])).sum(), {"z": z})
    analytic = activations.log_softmax_backward(upstream, z, activations.log_softmax(z))
    assert ratio(numeric, {"z": analytic}) < RATIO


# The formulas in 40 decimal digits; softsign by hand.
VALUES = {
    "selu": ([-1.0, 0.0, 2.0], [-1.1113307378125627616, 0.0, 2.1014019747109609868]),
    "softsign": ([-3.0, 0.0, 1.0], [-0.75, 0.0, 0.5]),
}
SLOPES = {
    "selu": ([-1.0, 0.0, 2.0], [0.6467686030348141, 1.7580993408473768599, 1.0507009873554804934]),
    "softsign": ([-3.0, 0.0, 1.0], [0.0625, 1.0, 0.25]),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_new_activation_has_the_values_and_the_slopes_of_its_formula(agrees, name, dtype):
    z, values = (np.array(numbers, dtype) for numbers in VALUES[name])
    f, backward = activations.ACTIVATIONS[name], activations.BACKWARD[name]
    agrees(values, f, z, dtype=dtype)
    agrees(np.array(SLOPES[name][1], dtype), lambda z: backward(np.ones_like(z), z, f(z)), z, dtype=dtype)
    assert f(z).dtype == backward(np.ones_like(z), z, f(z)).dtype == np.dtype(dtype)


@pytest.mark.parametrize("activation", activations.ACTIVATIONS)
def test_an_activation_writes_into_the_array_it_is_given(activation):
    z = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    f, backward = activations.ACTIVATIONS[activation], activations.BACKWARD[activation]
    value, slope = np.empty_like(z), np.empty_like(z)
    assert f(z, out=value) is value
    assert backward(z, z, value, out=slope) is slope
    assert (value == f(z)).all()
    assert (slope == backward(z, z, value)).all()


@pytest.mark.parametrize("name", models.MODELS)
def test_a_model_without_biases_has_none_and_needs_none(name):
    sizes = (2,) if name in ("single_neuron", "logistic_regression", "shallow_network") else ((2, 3, 2),)
    model = models.MODELS[name](*sizes, bias=False)
    parameters = models.initialize(model, np.random.default_rng(0))
    assert set(parameters) == {f"W{layer}" for layer in range(1, model.depth + 1)}
    assert not any(model.has_bias(layer) for layer in range(1, model.depth + 1))
    logits, _ = model.forward(parameters, np.zeros((3, 2)))
    assert (logits == 0).all()


def test_a_layer_has_a_bias_unless_it_has_batch_norm_or_the_model_none():
    def having(**keywords):
        model = models.deep_network((2, 3, 4, 1), **keywords)
        return [model.has_bias(layer) for layer in (1, 2, 3)]

    assert having() == having(normalization="layer_norm") == [True, True, True]
    assert having(normalization="batch_norm") == [False, False, True]
    assert having(normalization="batch_norm", bias=False) == [False, False, False]


def test_a_new_head_of_a_model_without_biases_has_none():
    model = models.deep_network((2, 3, 1), bias=False)
    parameters = models.initialize(model, np.random.default_rng(0))
    model, parameters = models.replace_head(model, parameters, np.random.default_rng(1), outputs=4)
    assert model.bias is False
    assert {name: w.shape for name, w in parameters.items()} == {"W1": (3, 2), "W2": (4, 3)}


@pytest.mark.parametrize("bias", [None, "no", 2])
def test_a_bias_that_is_neither_true_nor_false_is_refused(bias):
    with pytest.raises(ValueError, match=f"^bias={bias!r} is not allowed: must be one of False, True$"):
        models.logistic_regression(2, bias=bias)


def test_an_unknown_reduction_is_refused():
    model, parameters, x, y, _ = problem("tanh", "sigmoid")
    with pytest.raises(ValueError, match=r"^reduction='total' is not allowed: must be one of 'mean', 'sum'$"):
        gradients_with(training, model, parameters, x, y, loss="binary_cross_entropy", reduction="total")
