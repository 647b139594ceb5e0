"""What ``wrap_keras`` makes of a user's parts, whatever they are made of."""

import ast
import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it once, when it is imported
keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from keras import layers  # noqa: E402

import conformance  # noqa: E402
from conformance.adapter import State, Unsupported  # noqa: E402
from conformance.adapters.numpy import NumpySession  # noqa: E402
from conformance.problems.preparation import prepare  # noqa: E402
from conformance.recipes.dialects import dialects  # noqa: E402
from conformance.recipes.recipe import Recipe  # noqa: E402

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
OF_KERAS = [f"keras.{d.builtin}" for d in dialects() if d.framework == "keras"]

SEVERAL = """
name = "several"
loss = { name = "categorical_cross_entropy", class_weights = [1.0, 2.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 3.0] }
dataset = { name = "digits", examples = 30, test_examples = 10 }
model = { name = "softmax_classifier", hidden_units = [6], activation = "tanh", normalization = { name = "layer_norm", epsilon = 1e-3 } }
batch_size = 12
epochs = 2
optimizer = { dialect = "keras.RMSprop(momentum=0.9)", learning_rate = 0.01 }
regularizers = [
  { name = "l2", strength = 0.009999999776482582, convention = "full" },
  { name = "inverted_dropout", keep_probability = 0.75 },
  { name = "clip_by_global_norm", limit = 0.5 },
]
"""  # noqa: E501

PLAIN = """
name = "plain"
loss = "mean_squared_error"
dataset = { name = "xor", examples = 20, test_examples = 8 }
model = { name = "shallow_network", hidden_units = [3], activation = "sigmoid", output = "identity" }
batch_size = 8
epochs = 2
optimizer = { dialect = "keras.SGD(momentum=0.9)", learning_rate = 0.1 }
"""


def problem_of(dtype="float64", **changed):
    small = {
        "dataset": {"name": "xor", "examples": 12, "test_examples": 4},
        "model": {"name": "shallow_network", "hidden_units": [3]},
        "loss": "binary_cross_entropy",
        "optimizer": {"name": "adam", "learning_rate": 0.01},
    }
    return prepare(Recipe.model_validate({"name": "small", "epochs": 1, **small, **changed}), dtype)


def test_layers_that_do_several_things_and_an_optimizer_that_clips_pass(judged):
    def model():
        l2 = keras.regularizers.L2(0.01)
        x = keras.Input((64,))
        hidden = layers.LayerNormalization()(layers.Dense(6, kernel_regularizer=l2)(x))
        hidden = layers.Dropout(0.25)(keras.ops.tanh(hidden))
        return keras.Model(x, layers.Dense(10, kernel_regularizer=l2)(hidden))

    weights = dict.fromkeys(range(10), 1.0) | {1: 2.0, 4: 0.5, 9: 3.0}
    rmsprop = keras.optimizers.RMSprop(0.01, momentum=0.9, global_clipnorm=0.5)
    subject = conformance.wrap_keras(model, loss=LOSS, optimizer=rmsprop, class_weight=weights)
    found = judged(subject, SEVERAL)
    assert found.wrong == {}
    assert {"N1 (training)", "A1 (training)"} <= found.of("pass")["forward"]


def test_a_model_drops_where_the_recipe_does_and_nowhere_else(judged):
    """Without a layer for it, and alike in two passes, a model drops nothing; with one it drops more than is asked."""

    def subject(*between):
        def model():
            return keras.Sequential([layers.Dense(3, "sigmoid"), *(make() for make in between), layers.Dense(1)])

        return conformance.wrap_keras(model, loss="mean_squared_error")

    without = judged(subject(), PLAIN + 'regularizers = [{ name = "inverted_dropout", keep_probability = 0.75 }]')
    assert "Z2 (training)" in without.wrong["forward"]
    assert "Z2 (inference)" in without.of("pass")["forward"]
    more = judged(subject(lambda: layers.Dropout(0.25)), PLAIN)
    assert "drops units once more than the recipe, 0 times" in more.causes


def test_a_loss_by_its_name_and_layers_with_their_activations_pass(judged):
    model = [layers.Dense(3, activation="sigmoid"), layers.Dense(1)]
    subject = conformance.wrap_keras(model, loss="mse", optimizer=lambda: keras.optimizers.SGD(0.1, momentum=0.9))
    found = judged(subject, PLAIN)
    assert found.wrong == {}
    assert {"Z1 (inference)", "A1 (inference)", "A2 (inference)"} <= found.of("pass")["forward"]


def test_a_loss_alone_is_compared_and_all_else_is_unsupported(judged):
    found = judged(conformance.wrap_keras(loss=keras.losses.MeanSquaredError()), PLAIN)
    assert found.wrong == {}
    assert {"loss", "gradients"} <= found.of("pass").keys()
    assert "update" not in found.of("pass")


def test_an_optimizer_alone_is_compared_and_all_else_is_unsupported(judged):
    found = judged(conformance.wrap_keras(optimizer=keras.optimizers.SGD(0.1, momentum=0.9)), PLAIN)
    assert found.wrong == {}
    assert "update" in found.of("pass")
    wrong = judged(conformance.wrap_keras(optimizer=keras.optimizers.SGD(0.1, momentum=0.8)), PLAIN).wrong
    assert wrong.keys() == {"update", "teacher_forced"}


def builtin(name):
    """The optimizer of a dialect's name, with a rate that float32 does not hold."""
    node = ast.parse(name.removeprefix("keras."), mode="eval").body
    called = isinstance(node, ast.Call)
    keywords = {k.arg: ast.literal_eval(k.value) for k in node.keywords} if called else {}
    return getattr(keras.optimizers, (node.func if called else node).id)(learning_rate=0.01, **keywords)


@pytest.mark.parametrize("name", OF_KERAS)
def test_every_optimizer_of_keras_goes_on_from_a_state_as_its_dialect(name):
    problem = problem_of(optimizer={"dialect": name, "learning_rate": 0.01})
    reference, session = NumpySession(problem), conformance.wrap_keras(optimizer=builtin(name)).session(problem)
    generator = np.random.default_rng(3)
    parameters = {"w": generator.standard_normal((3, 2)), "b": generator.standard_normal(2)}
    slots = reference.optimizer.init(parameters).slots
    state = State(0, slots)
    for _ in range(4):
        gradients = {key: generator.standard_normal(w.shape) for key, w in parameters.items()}
        expected, after = reference.optimizer_step(parameters, gradients, state, 0.01)
        found, found_after = session.optimizer_step(parameters, gradients, state, 0.01)
        for key in parameters:
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-13)
            for slot in after.slots:
                np.testing.assert_allclose(found_after.slots[slot][key], after.slots[slot][key], rtol=1e-13)
        parameters, state = expected, after


def test_a_rate_typed_in_float32_is_the_number_that_was_typed():
    session = conformance.wrap_keras(optimizer=keras.optimizers.Adam(0.001)).session(problem_of())
    assert float(session._optimizers.new().learning_rate) == 0.001


def test_parameters_go_by_the_names_of_layers_or_their_places():
    model = keras.Sequential([layers.Dense(3, activation="tanh", name="hidden"), layers.Dense(1)])
    table = str(conformance.wrap_keras(model).matched(problem_of().recipe))
    assert table.splitlines()[0].split() == [
        "W1",
        "(3,",
        "2)",
        "hidden.kernel",
        "(2,",
        "3)",
        "by",
        "order,",
        "transposed",
    ]
    assert "1.bias" in table


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": 3}, "model= is a int: must be a keras.Model, a list of layers, or a function"),
        ({"loss": 3}, "loss= is a int: must be one of keras.losses, its name, or a function of targets"),
        ({"optimizer": lambda: 3}, "optimizer= is a int: must be one of keras.optimizers, its name, or a function"),
        (
            {"model": lambda: [layers.Dense(3, dtype="float32"), layers.Dense(1, dtype="float32")]},
            "layer 'dense.*' that computes in float32: must be in float64, so give no dtype in it",
        ),
    ],
)
def test_what_is_no_part_of_keras_is_refused_with_what_it_must_be(given, message):
    with pytest.raises(TypeError, match=message):
        conformance.wrap_keras(**given).session(problem_of()).optimizer_step({}, {}, State(0, {}), 0.1)


def test_state_of_an_unknown_name_is_asked_for():
    class Own(keras.optimizers.Optimizer):
        def build(self, variables):
            super().build(variables)
            self.mine = self.add_optimizer_variables(variables, "mine")

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    problem = problem_of(optimizer={"name": "momentum", "learning_rate": 0.1})
    w = {"w": np.ones(2)}
    session = conformance.wrap_keras(optimizer=lambda: Own(0.1)).session(problem)
    with pytest.raises(Unsupported, match=r"Own does not show 'velocity': say where it keeps it, slots=\{'velocity'"):
        session.optimizer_step(w, w, State(1, {"velocity": w}), 0.1)
    said = conformance.wrap_keras(optimizer=lambda: Own(0.1), slots={"velocity": "-mine"}).session(problem)
    _, after = said.optimizer_step(w, w, State(1, {"velocity": w}), 0.1)
    np.testing.assert_array_equal(after.slots["velocity"]["w"], w["w"])
