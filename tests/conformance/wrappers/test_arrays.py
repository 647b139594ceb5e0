"""Plain functions of arrays put under test: whole, in part, and wrong."""

import numpy as np
import pytest

import conformance

RECIPE = """
name = "small"
loss = "binary_cross_entropy"
dataset = { name = "moons", examples = 26, test_examples = 12 }
model = { name = "shallow_network", hidden_units = [5], activation = "tanh" }
initializer = "xavier_normal"
optimizer = { dialect = "torch.SGD(momentum=0.9)", learning_rate = 0.1 }
batch_size = 10
epochs = 2
"""
SCHEDULE = 'schedule = { name = "inverse_time", decay_rate = 0.5 }\n'
DROPOUT = '[[regularizers]]\nname = "inverted_dropout"\nkeep_probability = 0.5\n'
BATCH_NORM = RECIPE.replace('activation = "tanh"', 'activation = "tanh", normalization = "batch_norm"')


def forward(parameters, x):
    hidden = np.tanh(x @ parameters["W1"].T + parameters["b1"])
    return hidden @ parameters["W2"].T + parameters["b2"]


def forward_shown(parameters, x, masks):
    z1 = x @ parameters["W1"].T + parameters["b1"]
    a1 = np.tanh(z1) * masks[1] / 0.5 if masks else np.tanh(z1)
    return {"Z1": z1, "A1": a1, "Z2": a1 @ parameters["W2"].T + parameters["b2"]}


def normalized(parameters, x, statistics, training):
    z = x @ parameters["W1"].T
    mean, variance = (
        (z.mean(0), z.var(0)) if training else (statistics["running_mean1"], statistics["running_variance1"])
    )
    n = parameters["gamma1"] * (z - mean) / np.sqrt(variance + 1e-5) + parameters["beta1"]
    return {
        "Z1": z, "N1": n, "A1": np.tanh(n), "Z2": np.tanh(n) @ parameters["W2"].T + parameters["b2"],
        "running_mean1": 0.9 * statistics["running_mean1"] + 0.1 * mean,
        "running_variance1": 0.9 * statistics["running_variance1"] + 0.1 * variance,
    }  # fmt: skip


def per_example(z, y):
    return (np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))[:, 0]


def loss(z, y):
    return per_example(z, y).mean()


def gradients(parameters, x, y):
    hidden = np.tanh(x @ parameters["W1"].T + parameters["b1"])
    z = hidden @ parameters["W2"].T + parameters["b2"]
    dz = (1 / (1 + np.exp(-z)) - y) / len(y)
    dhidden = dz @ parameters["W2"] * (1 - hidden**2)
    return {"W1": dhidden.T @ x, "b1": dhidden.sum(0), "W2": dz.T @ hidden, "b2": dz.sum(0)}


def update(parameters, gradients, slots, step, learning_rate):
    velocity = {name: 0.9 * slots["v"][name] + g for name, g in gradients.items()}
    rate = (
        np.float32(learning_rate) if velocity and next(iter(velocity.values())).dtype == np.float32 else learning_rate
    )
    return {name: w - rate * velocity[name] for name, w in parameters.items()}, {"v": velocity}


def wrapped(**parts):
    whole = {"loss": loss, "gradients": gradients, "update": update, "per_example": per_example}
    return conformance.wrap_arrays(forward, **whole | {"slots": {"velocity": "v"}} | parts)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_functions_pass_and_a_whole_training_of_them(judged, dtype):
    found = judged(wrapped(schedule=lambda epoch: 0.1 / (1 + 0.5 * epoch)), SCHEDULE + RECIPE, dtype)
    assert found.wrong == {}, found.causes
    assert {"cost", "learning rate", "velocity of W1"} <= found.of("pass")["free_running"]
    assert {"A1 (inference)", "A2 (inference)"} <= found.of("unsupported")["forward"]
    assert {"dA0 (first batch)"} <= found.of("unsupported")["gradients"]
    assert "A0 is not offered" in found.causes.replace("dA0 (first batch)", "A0")


def test_what_functions_show_on_the_way_is_compared_and_masks_are_given(judged):
    found = judged(conformance.wrap_arrays(forward_shown), RECIPE + DROPOUT)
    assert found.wrong == {}, found.causes
    assert {"Z1 (training)", "A1 (training)", "Z2 (inference)"} <= found.of("pass")["forward"]
    assert "forward= has no argument 'masks', which the recipe needs" in judged(wrapped(), RECIPE + DROPOUT).causes


def test_running_averages_are_taken_from_what_a_training_forward_pass_returns(judged):
    found = judged(conformance.wrap_arrays(normalized), BATCH_NORM)
    assert found.wrong == {}, found.causes
    assert {"running_mean1", "running_variance1", "N1 (inference)", "N1 (training)"} <= found.of("pass")["forward"]


def test_a_wrong_gradient_a_wrong_loss_and_a_wrong_update_each_show_where_they_are(judged):
    halved = wrapped(gradients=lambda *given: {n: g / 2 if n == "W2" else g for n, g in gradients(*given).items()})
    assert judged(halved, RECIPE).wrong["gradients"] == {
        f"dW2 ({batch})" for batch in ("first batch", "batch 2", "last batch")
    }
    summed = judged(conformance.wrap_arrays(loss=lambda z, y: per_example(z, y).sum()), RECIPE)
    assert {tensor.split(" (")[0] for tensor in summed.wrong["loss"]} == {"data_loss", "cost"}
    plain = conformance.wrap_arrays(update=lambda w, g, slots, t, rate: ({n: w[n] - rate * g[n] for n in w}, slots))
    assert "ordinary" in judged(plain, RECIPE).wrong["update"]
