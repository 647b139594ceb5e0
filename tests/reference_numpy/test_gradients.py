"""The hand-written gradients, held to differences of the cost and to complex steps of formulas written anew here."""

import numpy as np
import pytest

from reference_numpy import activations, losses, models, regularizers, training

RATIO = 1e-7  # the course's bound for ||numeric - analytic|| / (||numeric|| + ||analytic||)
COMPLEX_STEP = 1e-14

TASKS = [
    ("sigmoid", "binary_cross_entropy", {}),
    ("softmax", "categorical_cross_entropy", {}),
    ("identity", "mean_squared_error", {}),
    ("identity", "mean_squared_error", {"convention": "half"}),
]


def problem(activation, output, keep_probability=0.8):
    generator = np.random.default_rng(3)
    model = models.deep_network((5, 4, 3, 3), activation=activation, output=output, keep_probability=keep_probability)
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
        return training.loss_and_gradients(model, arrays, x, y, **keywords).cost

    analytic = training.loss_and_gradients(model, parameters, x, y, input_gradient=True, **keywords).gradients
    assert ratio(central_differences(cost, parameters | {"A0": x}), analytic) < RATIO


def test_a_wrong_gradient_does_not_agree_with_central_differences(monkeypatch):
    monkeypatch.setitem(activations.BACKWARD, "tanh", lambda gradient, z, a, out=None: gradient * (1 - a))
    model, parameters, x, y, masks = problem("tanh", "sigmoid")
    keywords = {"loss": "binary_cross_entropy", "masks": masks}
    analytic = training.loss_and_gradients(model, parameters, x, y, **keywords).gradients
    numeric = central_differences(lambda p: training.loss_and_gradients(model, p, x, y, **keywords).cost, parameters)
    assert ratio(numeric, analytic) > 1e-3


ANALYTIC = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
}


@pytest.mark.parametrize("activation", ANALYTIC)
def test_the_gradient_of_an_analytic_network_agrees_with_complex_steps(activation):
    """The cost in complex numbers, ``log(1 + exp(-z)) + (1 - y) z``: shares no line with the reference."""
    model, parameters, x, y, _ = problem(activation, "sigmoid", 1.0)

    def cost(arrays):
        a = x
        for layer in (1, 2, 3):
            z = a @ arrays[f"W{layer}"].T + arrays[f"b{layer}"]
            a = ANALYTIC[activation](z)
        weights = sum((arrays[f"W{layer}"] ** 2).sum() for layer in (1, 2, 3))
        return (np.log(1 + np.exp(-z)) + (1 - y) * z).sum(axis=1).mean() + 0.7 / (2 * len(x)) * weights

    found = training.loss_and_gradients(
        model, parameters, x, y, loss="binary_cross_entropy", penalties=(regularizers.l2(0.7),)
    ).gradients
    for name, array in parameters.items():
        expected = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            moved = {n: a.astype(complex) for n, a in parameters.items()}
            moved[name][index] += 1e-200j
            expected[index] = cost(moved).imag / 1e-200
        assert np.abs(found[name] - expected).max() < COMPLEX_STEP * np.abs(expected).max()


@pytest.mark.parametrize("loop", [models.logistic_regression_loops, models.logistic_regression_example_loop])
def test_the_loops_of_the_course_agree_with_the_vectorised_form(loop):
    generator = np.random.default_rng(5)
    x, y = generator.standard_normal((20, 4)), generator.integers(0, 2, 20)
    weight, bias = generator.standard_normal(4), 0.3
    cost, weight_gradient, bias_gradient = loop(weight, bias, x, y)
    parameters = {"W1": weight[None], "b1": np.array([bias])}
    result = training.loss_and_gradients(
        models.logistic_regression(4), parameters, x, y[:, None].astype(float), loss="binary_cross_entropy"
    )
    assert cost == pytest.approx(result.cost, rel=1e-14)
    assert weight_gradient == pytest.approx(result.gradients["W1"][0], rel=1e-13)
    assert bias_gradient == pytest.approx(result.gradients["b1"][0], rel=1e-13)


@pytest.mark.parametrize("logit", [-800.0, -40.0, 0.0, 40.0, 800.0])
def test_cross_entropy_from_logits_keeps_its_digits_where_a_probability_would_round(logit):
    value = losses.binary_cross_entropy(np.array([[logit]]), np.array([[1.0]]))[0]
    expected = np.log1p(np.exp(-logit)) if logit > -700 else -logit
    assert value == pytest.approx(expected, rel=1e-14)


def test_binary_cross_entropy_refuses_targets_that_would_broadcast():
    with pytest.raises(ValueError, match=r"targets has shape \(3,\), outputs \(3, 1\)"):
        losses.binary_cross_entropy(np.zeros((3, 1)), np.zeros(3))


@pytest.mark.parametrize("labels", [np.array([0, 3]), np.array([-1, 0])])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(ValueError, match=r"must be in 0 \.\. 2"):
        losses.categorical_cross_entropy(np.zeros((2, 3)), labels)
