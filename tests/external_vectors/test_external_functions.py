"""Losses, activations, penalties, dropout and models against numbers that other projects published.

As in test_external_vectors.py: float64, the source's own formulation, and no more room than its printed digits leave.
"""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from reference_numpy import activations, losses, models, regularizers, training

FLOAT32, FLOAT64 = np.finfo(np.float32).eps, np.finfo(np.float64).eps


def load(name: str) -> dict:
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


def float64(values) -> np.ndarray:
    return np.array(values, np.float64)


def decimals(published) -> int:
    return max(-Decimal(repr(value)).as_tuple().exponent for value in np.ravel(published).tolist())


def printed(published) -> float:
    """Half a unit of the last decimal that was printed in an array, and eight roundings of float64."""
    return 0.5 * 10.0 ** -decimals(published) + 8 * FLOAT64 * float(np.abs(published).max())


def worst(value, published) -> float:
    return float(np.abs(value - float64(published)).max())


# The course ---------------------------------------------------------------------------------------------------------

COURSE = {case["alg"]: case for case in load("coursera_dlai")["cases"]}


def logits_of(probabilities) -> np.ndarray:
    p = float64(probabilities)
    return np.log(p) - np.log1p(-p)


def test_the_course_s_regularized_cost_is_reproduced_and_not_under_another_convention():
    case = COURSE["bce_l2_cost"]
    data = losses.binary_cross_entropy(logits_of(case["a3"]).T, float64(case["y"]).T).mean()
    weights = [float64(case["params"][name]) for name in ("W1", "W2", "W3")]
    costs = {c: data + regularizers.l2(case["lam"], convention=c).value(weights, 5) for c in ("course", "half", "full")}
    assert worst(costs.pop("course"), case["expected"]) <= printed(case["expected"])
    assert all(worst(cost, case["expected"]) > 0.1 for cost in costs.values())


def test_the_course_s_regularized_gradients_are_reproduced_by_the_backward_pass():
    case = COURSE["backprop_l2"]
    model = models.deep_network((3, 2, 3, 1), activation="relu")
    parameters = {f"W{layer}": float64(case[f"W{layer}"]) for layer in (1, 2, 3)}
    values = {f"A{layer}": float64(case[name]).T for layer, name in enumerate(("X", "A1", "A2"))}
    values |= {f"Z{layer}": values[f"A{layer}"] for layer in (1, 2)}  # a rectified value is positive where its input is
    output_gradient = losses.binary_cross_entropy_gradient(logits_of(case["A3"]).T, float64(case["Y"]).T) / 5
    gradients = model.backward(parameters, values, output_gradient)
    penalty = regularizers.l2(case["lam"])
    for name, expected in case["expected"].items():
        weight = name.removeprefix("d")
        gradient = gradients[weight] + penalty.gradient(parameters[weight], 5)
        assert worst(gradient, expected) <= printed(expected)
        assert worst(gradients[weight], expected) > 1e-3  # without the penalty


@pytest.mark.parametrize(("keep_probability", "agrees"), [(0.7, True), (1.0, False)])
def test_the_course_s_dropout_output_needs_the_inverted_scaling(keep_probability, agrees):
    case = COURSE["dropout_forward"]
    model = models.deep_network((3, 2, 3, 1), activation="relu", keep_probability=keep_probability)
    parameters = {name: float64(case[name]) for name in ("W1", "W2", "W3")}
    parameters |= {name: float64(case[name])[:, 0] for name in ("b1", "b2", "b3")}
    masks = {layer: np.array(case[f"mask{layer}"], bool).T for layer in (1, 2)}
    output = models.intermediates(model, parameters, float64(case["X"]).T, masks=masks)["A3"]
    assert (worst(output.T, case["expected_A3"]) <= printed(case["expected_A3"])) == agrees


def test_the_course_s_gradients_pass_through_dropout():
    """The cut networks above layer 2 and above layer 1: the gradient of their input, then the mask of that layer."""
    case, keep = COURSE["dropout_backward"], COURSE["dropout_backward"]["keep_prob"]
    dropped, mask1, mask2 = (np.array(case[name], float).T for name in ("A2_after_dropout", "D1", "D2"))
    output_gradient = losses.binary_cross_entropy_gradient(logits_of(case["A3"]).T, float64(case["Y"]).T)
    last = models.deep_network((3, 1))
    gradient = last.backward({"W1": float64(case["W3"])}, {"A0": dropped}, output_gradient, input_gradient=True)["A0"]
    gradient2 = regularizers.inverted_dropout(gradient, mask2, keep_probability=keep)
    assert worst(gradient2.T, case["expected_dA2"]) <= printed(case["expected_dA2"])
    both = models.deep_network((2, 3, 1), keep_probability=keep)
    parameters = {"W1": float64(case["W2"]), "W2": float64(case["W3"])}
    values = {"A0": np.zeros((5, 2)), "Z1": dropped, "A1": dropped}  # A0 enters the weights' gradients alone
    gradient = both.backward(parameters, values, output_gradient, masks={1: mask2}, input_gradient=True)["A0"]
    gradient1 = regularizers.inverted_dropout(gradient, mask1, keep_probability=keep)
    assert worst(gradient1.T, case["expected_dA1"]) <= printed(case["expected_dA1"])


# CS231n -------------------------------------------------------------------------------------------------------------

CS231N = {case["alg"]: case for case in load("cs231n")["cases"]}


def test_the_affine_layer_of_cs231n_is_reproduced():
    expected = CS231N["affine_forward"]["out"]
    model = models.deep_network((120, 3), output="identity")
    weight = np.linspace(-0.2, 0.3, 360).reshape(120, 3).T
    parameters = {"W1": weight, "b1": np.linspace(-0.3, 0.1, 3)}
    output = models.predict(model, parameters, np.linspace(-0.1, 0.5, 240).reshape(2, 120))
    assert worst(output, expected) <= printed(expected)


def two_layers_of_lines():
    parameters = {"W1": np.linspace(-0.7, 0.3, 250).reshape(5, 50).T, "b1": np.linspace(-0.1, 0.9, 50)}
    parameters |= {"W2": np.linspace(-0.3, 0.4, 350).reshape(50, 7).T, "b2": np.linspace(-0.9, 0.1, 7)}
    return parameters, np.linspace(-5.5, 4.5, 15).reshape(5, 3).T


def two_layers_of_draws():
    case = CS231N["two_layer_toy_seeded"]
    parameters = {n: float64(case[n]).T for n in ("W1", "b1", "W2", "b2")}
    return parameters, float64(case["X"])


@pytest.mark.parametrize(
    ("alg", "arguments", "loss", "strength", "convention"),
    [
        ("two_layer_relu_softmax", two_layers_of_lines, "loss_reg0", 0.0, "half"),
        ("two_layer_relu_softmax", two_layers_of_lines, "loss_reg1", 1.0, "half"),
        ("two_layer_toy_seeded", two_layers_of_draws, "loss_reg_0p05", 0.05, "full"),
    ],
)
def test_scores_and_cost_of_the_two_layer_networks_of_cs231n_are_reproduced(alg, arguments, loss, strength, convention):
    case, (parameters, x) = CS231N[alg], arguments()
    sizes = (x.shape[1], len(parameters["b1"]), len(parameters["b2"]))
    model = models.deep_network(sizes, activation="relu", output="softmax")
    scores, _ = model.forward(parameters, x)
    assert worst(scores, case["scores"]) <= printed(case["scores"])
    costs = {}
    for name in ("course", "half", "full"):
        penalties = [regularizers.l2(strength, convention=name)]
        arguments = {"loss": "categorical_cross_entropy", "penalties": penalties}
        costs[name] = training.loss_and_gradients(model, parameters, x, np.array(case["y"]), **arguments).cost
    assert worst(costs.pop(convention), case[loss]) <= printed(case[loss])
    assert strength == 0 or all(worst(cost, case[loss]) > 1e-2 for cost in costs.values())


# Losses of three libraries ------------------------------------------------------------------------------------------

LOSSES = [
    pytest.param(case, id=f"{library}_{index}_{case['loss']}")
    for library, entry in load("losses").items()
    for index, case in enumerate(entry["cases"])
    if "KNOWN_BAD" not in case
]


def loss_values(case: dict) -> np.ndarray:
    """One value per example, or per output of an example for the binary loss, as all three libraries count."""
    targets = np.array(case["labels"] if "labels" in case else case["y"])
    if case["loss"].startswith("bce"):
        logits = float64(case["logits"]) if "logits" in case else logits_of(clipped(case))
        return losses.binary_cross_entropy(logits.reshape(-1, 1), targets.reshape(-1, 1).astype(float))
    # The logarithm of any positive numbers is a logit of them divided by their sum.
    logits = float64(case["logits"]) if "logits" in case else np.log(float64(case["p"]))
    return losses.categorical_cross_entropy(logits, targets.argmax(axis=1) if targets.ndim == 2 else targets)


def clipped(case: dict):
    """Keras keeps probabilities off 0 and 1 in float32, where 1 - 1e-7 is 1 - 1.19e-7."""
    if "clip" not in case:
        return case["p"]
    edge = np.float32(case["clip"])
    return np.clip(np.array(case["p"], np.float32), edge, np.float32(1) - edge)


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_reproduces_the_published_value_to_its_digits(case):
    """To half a unit of the last digit and one rounding of float32, in which all three compute, or cut off there."""
    values = loss_values(case)
    for field, value in (("expected", values.mean()), ("per_sample", values)):
        if field not in case:
            continue
        if case.get("last_digit") == "truncated" and field == "expected":
            unit = 10.0 ** -decimals(case[field])
            assert case[field] <= value < case[field] + unit
        else:
            allowance = printed(case[field]) + FLOAT32 * np.abs(case[field])
            assert (np.abs(value - case[field]) <= allowance).all()


def test_the_keras_value_with_an_epsilon_inside_its_logarithm_is_rejected():
    """-log(p + e) lies e / p below -log(p): that, and two units of float32 in its logarithms, is all that it is off."""
    (case,) = (c for c in load("losses")["keras"]["cases"] if "KNOWN_BAD" in c)
    value = loss_values(case).mean()
    assert worst(value, case["expected"]) > 1e-7 > printed(case["expected"]) + FLOAT32 * case["expected"]
    chosen = np.where(case["y"], case["p"], 1 - float64(case["p"]))
    assert worst(value - (1e-7 / chosen).mean(), case["expected"]) <= printed(case["expected"]) + FLOAT32 * 0.2


# ONNX ---------------------------------------------------------------------------------------------------------------


def last_axis(function, x: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(function(np.moveaxis(x, axis, -1)), -1, axis)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Minus the loss of an example under each label in turn."""
    labels = range(logits.shape[1])
    return -np.stack(
        [losses.categorical_cross_entropy(logits, np.full(len(logits), label)) for label in labels], axis=1
    )


def gemm(a: np.ndarray, b: np.ndarray, c=0.0) -> np.ndarray:
    model = models.deep_network(b.shape, output="identity")
    return models.predict(model, {"W1": b.T, "b1": np.broadcast_to(c, (1, b.shape[1]))[0]}, a)


def softmax_cross_entropy(x: np.ndarray, y: np.ndarray, reduction: str):
    reduce = {"none": np.asarray, "mean": np.mean, "sum": np.sum}[reduction]
    return reduce(losses.categorical_cross_entropy(x, y)), log_softmax(x)


def dropout_at_inference(x: np.ndarray, ratio: float = 0.5) -> np.ndarray:
    rows = x.reshape(-1, x.shape[-1])
    identity = {"W": np.eye(x.shape[-1]), "b": np.zeros(x.shape[-1])}
    model = models.deep_network(
        (x.shape[-1],) * 3, activation="identity", output="identity", keep_probability=1 - ratio
    )
    parameters = {f"{name}{layer}": array for layer in (1, 2) for name, array in identity.items()}
    return models.predict(model, parameters, rows).reshape(x.shape)


def softplus(x: np.ndarray) -> np.ndarray:
    """The logistic loss of a label 0."""
    return losses.binary_cross_entropy(x[:, None], np.zeros((len(x), 1)))


ONNX = {
    "Softmax": lambda attributes, x: [last_axis(activations.softmax, x, attributes.get("axis", -1))],
    "LogSoftmax": lambda attributes, x: [log_softmax(x)],
    "SoftmaxCrossEntropyLoss": lambda attributes, x, y: softmax_cross_entropy(x, y, attributes["reduction"]),
    "LeakyRelu": lambda attributes, x: [activations.leaky_relu(x, slope=attributes.get("alpha", 0.01))],
    "Sigmoid": lambda attributes, x: [activations.sigmoid(x)],
    "Tanh": lambda attributes, x: [activations.tanh(x)],
    "Relu": lambda attributes, x: [activations.relu(x)],
    "Softplus": lambda attributes, x: [softplus(x)],
    "Gemm": lambda attributes, *arrays: [gemm(*arrays)],
    "Dropout": lambda attributes, *arrays: [dropout_at_inference(*arrays)],
}


@pytest.mark.parametrize("case", load("onnx_node_nn")["cases"], ids=lambda case: case["test"])
def test_a_node_of_onnx_is_reproduced_to_float32(case):
    """To two units of the float32 in which ONNX computes; exactly where it has a zero."""
    inputs = [
        np.array(i["data"], np.int64 if i["dtype"] == "int64" else np.float64).reshape(i["shape"])
        for i in case["inputs"].values()
    ]
    values = ONNX[case["nodes"][0]](case["attributes"], *inputs)
    assert len(values) >= len(case["outputs"])
    for value, (name, output) in zip(values, case["outputs"].items(), strict=False):
        expected = float64(output["data"]).reshape(output["shape"])
        assert np.shape(value) == expected.shape, name
        assert (np.abs(value - expected) <= 2 * FLOAT32 * np.abs(expected)).all(), name
