"""Trouble that users of Keras reported, rebuilt: each case is a user's own code, wrapped in about ten lines.

What is asserted of each is which tensors of which checks are told to be wrong, and that everything else passes.
"""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it once, when it is imported
keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from keras import layers  # noqa: E402

import conformance  # noqa: E402

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

PLAIN = """
name = "case"
loss = "categorical_cross_entropy"
dataset = { name = "digits", examples = 40, test_examples = 10 }
model = { name = "softmax_classifier", hidden_units = [8], activation = "tanh" }
initializer = { name = "he_normal", truncated = true }
batch_size = 16
epochs = 2
optimizer = { dialect = "keras.Adam", learning_rate = 0.01 }
"""
NORM = '"tanh", normalization = { name = "batch_norm", epsilon = 1e-5, momentum = 0.9 }'
NORMALIZED = PLAIN.replace('"tanh"', NORM)
HALF_L2 = PLAIN + '[[regularizers]]\nname = "l2"\nstrength = 0.005\nconvention = "half"\n'


def case_00():
    norm = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    model = keras.Sequential([layers.Dense(8), norm, layers.Activation("tanh"), layers.Dense(10)])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=LOSS, metrics=["accuracy"])
    return conformance.wrap_keras(model)


def case_01():
    norm = layers.BatchNormalization(momentum=0.1, epsilon=1e-5)
    model = [layers.Dense(8), norm, layers.Activation("tanh"), layers.Dense(10)]
    return conformance.wrap_keras(model, loss=LOSS, optimizer=keras.optimizers.Adam(0.01))


def case_21():
    l2 = keras.regularizers.L2(0.005)
    model = [layers.Dense(8, "tanh", kernel_regularizer=l2), layers.Dense(10, kernel_regularizer=l2)]
    return conformance.wrap_keras(model, loss=LOSS, optimizer=keras.optimizers.Adam(0.01))


def case_23():
    model = [layers.Dense(8), layers.BatchNormalization(), layers.Activation("tanh"), layers.Dense(10)]
    return conformance.wrap_keras(model, loss=LOSS, optimizer=keras.optimizers.Adam(0.01))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_model_with_keras_own_adam_passes(judged, dtype):
    found = judged(case_00(), NORMALIZED, dtype)
    assert found.wrong == {}
    assert {"forward", "loss", "gradients", "update", "teacher_forced", "free_running"} <= found.of("pass").keys()


def test_a_momentum_the_other_way_round_is_seen_in_the_running_averages_and_what_they_decide(judged):
    wrong = judged(case_01(), NORMALIZED).wrong
    averages = {"running_mean1", "running_variance1"}
    assert wrong.keys() == {"forward", "teacher_forced", "free_running"}
    assert wrong["forward"] == wrong["teacher_forced"] == averages
    assert {
        tensor for tensor in wrong["free_running"] - averages if not tensor.startswith("predicted classes")
    } == set()


def test_an_l2_penalty_without_the_half_is_seen_first_in_the_penalty(judged):
    found = judged(case_21(), HALF_L2)
    assert found.wrong.keys() == {"loss", "gradients", "gradient_check", "teacher_forced", "free_running"}
    assert {tensor.split()[0] for tensor in found.wrong["loss"]} == {"penalty", "cost"}
    assert {tensor.split()[0] for tensor in found.wrong["gradients"]} == {"dW1", "dW2"}
    assert {"update", "forward"} <= found.of("pass").keys()


def test_two_differences_of_batch_norm_are_seen_each_in_its_place(judged):
    found = judged(case_23(), NORMALIZED)
    first = next(record for record in found.records if record.verdict == "fail")
    assert (first.check, first.tensor) == ("forward", "N1 (inference)")
    assert {"N1 (training)", "running_mean1", "running_variance1"} <= found.wrong["forward"]
    assert "Z1 (training)" in found.of("pass")["forward"]
    assert "update" not in found.wrong
