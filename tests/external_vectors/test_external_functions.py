"""Activations, normalization, penalties, clipping, dropout and models against numbers that other projects published.

As in test_external_optimizers.py: float64, the source's own formulation, and no more room than its printed digits
leave.
"""

import numpy as np
import pytest

from reference_numpy import activations, losses, models, normalization, regularizers, training
from tests.training_settings import gradients_with

from .published import FLOAT32, float64, load, printed, worst

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
        costs[name] = gradients_with(training, model, parameters, x, np.array(case["y"]), **arguments).cost
    assert worst(costs.pop(convention), case[loss]) <= printed(case[loss])
    assert strength == 0 or all(worst(cost, case[loss]) > 1e-2 for cost in costs.values())


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


def softmax_cross_entropy(reduction: str, x: np.ndarray, y: np.ndarray, w: np.ndarray | None = None):
    """``w``: one weight for each class; the mean is then divided by the weights of the labels."""
    values = losses.categorical_cross_entropy(x, y, class_weights=w, weight_denominator="weights")
    return {"none": np.asarray, "mean": np.mean, "sum": np.sum}[reduction](values), log_softmax(x)


def negative_log_likelihood(logarithms: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``-x_y``. The vector's ``x`` are no logarithms of probabilities until 1 is taken off: all are below 1."""
    return losses.categorical_cross_entropy_from_probabilities(np.exp(logarithms - 1), labels) - 1


def clip(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    assert low == -high
    return regularizers.clip_by_value(float(high))({"x": x})["x"]


def reduced(penalty, x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The value of a penalty of strength 1 for every slice along one axis."""
    return np.apply_along_axis(lambda weights: penalty(1.0, convention="full").value([weights], 1), int(axes[0]), x)


def dropout_at_inference(x: np.ndarray, ratio: float = 0.5) -> np.ndarray:
    rows = x.reshape(-1, x.shape[-1])
    identity = {"W": np.eye(x.shape[-1]), "b": np.zeros(x.shape[-1])}
    model = models.deep_network(
        (x.shape[-1],) * 3, activation="identity", output="identity", keep_probability=1 - ratio
    )
    parameters = {f"{name}{layer}": array for layer in (1, 2) for name, array in identity.items()}
    return models.predict(model, parameters, rows).reshape(x.shape)


ONNX = {
    "Softmax": lambda attributes, x: [last_axis(activations.softmax, x, attributes.get("axis", -1))],
    "LogSoftmax": lambda attributes, x: [log_softmax(x)],
    "SoftmaxCrossEntropyLoss": lambda attributes, *arrays: softmax_cross_entropy(attributes["reduction"], *arrays),
    "LeakyRelu": lambda attributes, x: [activations.leaky_relu(x, slope=attributes.get("alpha", 0.01))],
    "Sigmoid": lambda attributes, x: [activations.sigmoid(x)],
    "Tanh": lambda attributes, x: [activations.tanh(x)],
    "Relu": lambda attributes, x: [activations.relu(x)],
    "Elu": lambda attributes, x: [activations.elu(x, alpha=attributes["alpha"])],
    "Softplus": lambda attributes, x: [activations.softplus(x)],
    "NegativeLogLikelihoodLoss": lambda attributes, x, y: [negative_log_likelihood(x, y)],
    "ReduceL1": lambda attributes, *arrays: [reduced(regularizers.l1, *arrays)],
    "ReduceL2": lambda attributes, *arrays: [np.sqrt(reduced(regularizers.l2, *arrays))],
    "Clip": lambda attributes, *arrays: [clip(*arrays)],
    "Gemm": lambda attributes, *arrays: [gemm(*arrays)],
    "Dropout": lambda attributes, *arrays: [dropout_at_inference(*arrays)],
}


NODES = load("onnx_node_nn")["cases"]
NORMALIZED = [case for case in NODES if case["nodes"] == ["BatchNormalization"]]


def onnx_array(entry: dict) -> np.ndarray:
    return np.array(entry["data"], np.int64 if entry["dtype"] == "int64" else np.float64).reshape(entry["shape"])


def onnx_values(case: dict) -> list:
    return ONNX[case["nodes"][0]](case["attributes"], *map(onnx_array, case["inputs"].values()))


@pytest.mark.parametrize("case", [case for case in NODES if case not in NORMALIZED], ids=lambda case: case["test"])
def test_a_node_of_onnx_is_reproduced_to_float32(case):
    """To two units of the float32 in which ONNX computes; exactly where it has a zero."""
    values = onnx_values(case)
    assert len(values) >= len(case["outputs"])
    for value, (name, output) in zip(values, case["outputs"].items(), strict=False):
        expected = onnx_array(output)
        assert np.shape(value) == expected.shape, name
        assert (np.abs(value - expected) <= 2 * FLOAT32 * np.abs(expected)).all(), name


def test_the_weighted_cross_entropy_of_onnx_is_divided_by_the_weights_and_not_by_the_examples():
    (case,) = (c for c in NODES if "w" in c["inputs"])
    x, y, w = map(onnx_array, case["inputs"].values())
    (expected,) = case["outputs"]["z"]["data"]
    by_examples = losses.categorical_cross_entropy(x, y, class_weights=w, weight_denominator="examples").mean()
    assert np.abs(by_examples - expected) > 0.1
    assert np.abs(losses.categorical_cross_entropy(x, y).mean() - expected) > 1e-3


# Batch normalization of ONNX: channels are axis 1, and every other axis is the batch ---------------------------------


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def normalized(case: dict, **change):
    """``(z, normalized z, statistics that were used, running averages after)``; 0.9 and 1e-5 are ONNX's defaults."""
    x, gamma, beta, *running = map(onnx_array, case["inputs"].values())
    z, epsilon = channels_last(x), change.pop("epsilon", case["attributes"].get("epsilon", 1e-5))
    batch = normalization.batch_statistics(z)
    used = batch if case["attributes"].get("training_mode") else running
    running = normalization.running_average(running, batch, len(z), **({"momentum": 0.9} | change))
    return z, normalization.batch_norm(z, gamma, beta, *used, epsilon=epsilon), used, running


def normalization_allowance(case: dict, z: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Difference, product, sum, root, quotient and sum, each half a unit of float32 of the terms before they cancel."""
    gamma, beta = onnx_array(case["inputs"]["s"]), onnx_array(case["inputs"]["bias"])
    return 3 * FLOAT32 * (np.abs(gamma) * (np.abs(z) + np.abs(mean)) / np.sqrt(variance) + np.abs(beta))


def agrees(case: dict, z: np.ndarray, y: np.ndarray, used, running) -> bool:
    expected = [onnx_array(output) for output in case["outputs"].values()]
    close = [(np.abs(y - channels_last(expected[0])) <= normalization_allowance(case, z, *used)).all()]
    averages = running if len(expected) > 1 else ()
    for average, published in zip(averages, expected[1:], strict=True):
        close.append((np.abs(average - published) <= 2 * FLOAT32 * np.abs(published)).all())
    return all(close)


@pytest.mark.parametrize("case", NORMALIZED, ids=lambda case: case["test"])
def test_batch_normalization_of_onnx_is_reproduced_to_float32(case):
    assert agrees(case, *normalized(case))


@pytest.mark.parametrize("case", NORMALIZED, ids=lambda case: case["test"])
def test_batch_normalization_of_onnx_refuses_another_epsilon(case):
    assert not agrees(case, *normalized(case, epsilon=1e-3))


@pytest.mark.parametrize("change", [{"running_variance": "unbiased"}, {"momentum": 0.1}])
@pytest.mark.parametrize("case", [c for c in NORMALIZED if len(c["outputs"]) > 1], ids=lambda case: case["test"])
def test_the_running_averages_of_onnx_are_biased_and_keep_nine_tenths(case, change):
    assert not agrees(case, *normalized(case, **change))


# Clipping by Keras --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clipping", ["clip_by_norm", "clip_by_global_norm"])
def test_the_gradient_that_keras_clips_by_its_norm_is_reproduced(clipping):
    case = load("keras3_optimizer_goldens")["clip"]
    clipped = regularizers.CLIPPINGS[clipping](case["clipnorm"])({"w": float64(case["grad"])})["w"]
    assert worst(clipped, case["expected"]) <= printed(case["expected"])
    by_value = regularizers.clip_by_value(case["clipnorm"])({"w": float64(case["grad"])})["w"]
    assert worst(by_value, case["expected"]) > 0.1


def test_the_gradient_that_keras_clips_by_value_is_reproduced():
    case = load("keras3_optimizer_goldens")["clip"]
    clipped = regularizers.clip_by_value(case["clipvalue"])({"w": float64(case["grad"])})["w"]
    assert np.array_equal(clipped, case["expected_value"])
