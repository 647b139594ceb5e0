"""Layers of Keras held against recipes of layers: right ones pass all that they offer, wrong ones fail in place."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it once, when it is imported
keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from keras import layers  # noqa: E402

import conformance  # noqa: E402
from conformance.wrappers.matching import CannotMatch  # noqa: E402

SHORT = """
name = "short"
loss = "categorical_cross_entropy"
dataset = { name = "DATA", examples = 20, test_examples = 6 }
initializer = "xavier_uniform"
optimizer = { dialect = "keras.SGD(momentum=0.9)", learning_rate = 0.1 }
batch_size = 8
epochs = 1
[model]
name = "network"
layers = [LAYERS]
"""


def recipe(*parts, data="digits"):
    return SHORT.replace("DATA", data).replace("LAYERS", ", ".join(parts))


FOUR_STEPS = '{name = "reshape", shape = [4, 16]}'
IMAGE, STEPS = '{name = "reshape", shape = [8, 8, 1]}', '{name = "reshape", shape = [8, 8]}'
RELU, HEAD = '{name = "activation", function = "relu"}', '{name = "dense", units = 10}'
CNN = recipe(
    IMAGE,
    '{name = "convolution", channels = 4, kernel = [3, 3], stride = 2, padding = "same"}',
    RELU,
    '{name = "batch_norm", epsilon = 1e-3, momentum = 0.99}',
    '{name = "average_pool", window = [3, 3], stride = 2, padding = "same"}',
    '{name = "dropout", keep_probability = 0.75}',
    '{name = "flatten"}',
    HEAD,
)


def wrapped(model, **parts):
    given = {
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
    }
    return conformance.wrap_keras(model, **(given | parts))


def image(x):
    return tf.reshape(x, (-1, 8, 8, 1))


def steps(x):
    return tf.reshape(x, (-1, 8, 8))


def four_steps(x):
    return tf.reshape(x, (-1, 4, 16))


def cnn(pool=None):
    return [
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"), layers.BatchNormalization(),
        pool or layers.AveragePooling2D(3, 2, padding="same"), layers.Dropout(0.25), layers.Flatten(), layers.Dense(10),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_network_of_images_with_batch_norm_and_dropout(judged, dtype):
    found = judged(wrapped(cnn, inputs=image), CNN, dtype)
    assert found.wrong == {}, found.causes
    inside = {f"{place}.A ({mode})" for place in range(1, 9) for mode in ("training", "inference")}
    assert inside <= found.of("pass")["forward"]
    assert {"d2.W (first batch)", "d4.gamma (first batch)", "dA0 (first batch)"} <= found.of("pass")["gradients"]
    assert {"2.W", "4.running_variance", "velocity of 8.W", "cost"} <= found.of("pass")["free_running"]


def test_padding_on_both_sides_is_wrong_from_the_convolution_on(judged):
    def padded():
        first = [layers.ZeroPadding2D(1), layers.Conv2D(4, 3, strides=2, activation="relu")]
        return first + cnn()[1:]

    wrong = judged(wrapped(padded, inputs=image), CNN).wrong
    assert {"2.A (training)", "3.A (training)", "8.A (inference)"} <= wrong["forward"]
    assert "1.A (training)" not in wrong["forward"]
    assert "update" not in wrong


def in_both(units, *others):
    return f'{{name = "gru", units = {units}, gates = "rzn", biases = 2{"".join(others)}}}'


def recurrent(units=3, forget=1.0):
    return recipe(
        FOUR_STEPS,
        f'{{name = "lstm", units = {units}, forget_bias = {forget}, return_sequences = true}}',
        f'{{name = "bidirectional", layers = [{in_both(units)}]}}',
        HEAD,
    )


class Reader(keras.layers.Layer):
    """A layer of one's own around Keras's."""

    def __init__(self, units=3):
        super().__init__()
        self.first = layers.LSTM(units, return_sequences=True)
        self.both = layers.Bidirectional(layers.GRU(units))

    def call(self, x):
        return self.both(self.first(x))


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_recurrent_layers_within_a_layer_of_one_s_own(judged, dtype):
    found = judged(wrapped(lambda: [Reader(), layers.Dense(10)], inputs=four_steps), recurrent(), dtype)
    assert found.wrong == {}, found.causes
    assert {f"{name} (inference)" for name in ("1.A", "2.A", "2.h", "3.A", "4.A")} <= found.of("pass")["forward"]
    assert {"2.U", "3.backward.b_h", "velocity of 3.forward.W"} <= found.of("pass")["free_running"]


class Backward(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.both = layers.Bidirectional(layers.GRU(3, return_sequences=True))
        self.back = layers.SimpleRNN(3, return_sequences=True, go_backwards=True)
        self.last = layers.GRU(3, reset_after=False)

    def call(self, x):
        return self.last(self.back(self.both(x))[:, ::-1])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_states_stand_at_the_places_of_their_inputs(judged, dtype):
    said = recipe(
        FOUR_STEPS,
        f'{{name = "bidirectional", layers = [{in_both(3, ", return_sequences = true")}]}}',
        '{name = "simple_rnn", units = 3, reverse = true, return_sequences = true}',
        '{name = "gru", units = 3, gates = "zrn", reset = "before"}',
        HEAD,
    )
    found = judged(wrapped(lambda: [Backward(), layers.Dense(10)], inputs=four_steps), said, dtype)
    assert found.wrong == {}, found.causes
    shown = {"2.A", "2.forward.h", "2.backward.h", "3.A", "3.h", "4.A"}
    assert {f"{name} (inference)" for name in shown} <= found.of("pass")["forward"]


@pytest.mark.slow
def test_they_start_as_the_recipe_says_forget_gate_and_all(judged):
    made = conformance.wrap_keras(lambda: [Reader(8), layers.Dense(10)], inputs=four_steps, initializer="own")
    found = judged(made, recurrent(8))
    assert found.wrong == {}, found.causes
    assert "root mean square of initial 3.backward.U" in found.of("pass")["initialization"]
    closed = judged(made, recurrent(8, forget=0.0))
    shown = {"root mean square of each layer's initial biases", "mean of initial 2.b of gate f"}
    assert closed.wrong == {"initialization": shown}


ATTENTION = recipe(
    STEPS,
    '{name = "layer_norm", epsilon = 1e-3}',
    '{name = "residual", layers = [{name = "attention", heads = 2, key_units = 4}]}',
    '{name = "convolution", channels = 4, kernel = [3]}',
    '{name = "global_average_pool"}',
    HEAD,
)


def attending():
    x = inputs = keras.Input((8, 8))
    x = layers.LayerNormalization()(x)
    y, _ = layers.MultiHeadAttention(2, 4)(x, x, return_attention_scores=True)
    x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3)(x))
    return keras.Model(inputs, layers.Dense(10)(x))


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_functional_model_with_attention(judged, dtype):
    found = judged(wrapped(attending, inputs=steps), ATTENTION, dtype)
    assert found.wrong == {}, found.causes
    shown = {"1.A", "2.A", "3.A", "3.weights", "4.A", "5.A", "6.A"}
    assert {f"{name} (inference)" for name in shown} <= found.of("pass")["forward"]
    assert {"3.W_q", "3.W_o", "3.b_v", "4.W"} <= found.of("pass")["free_running"]


def test_a_functional_model_that_is_made_already(judged):
    found = judged(wrapped(attending(), inputs=steps), ATTENTION)
    assert found.wrong == {}, found.causes


TOKENS = recipe(
    '{name = "embedding", entries = 27, units = 4, initializer = "zeros"}', '{name = "flatten"}',
    '{name = "dense", units = 3}', data="words",
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_tokens_into_an_embedding(judged, dtype):
    made = [layers.Embedding(27, 4), layers.Flatten(), layers.Dense(3)]
    found = judged(wrapped(made), TOKENS, dtype)
    assert found.wrong == {}, found.causes
    assert {"1.A (inference)", "2.A (inference)", "3.A (inference)"} <= found.of("pass")["forward"]
    assert {"1.W", "velocity of 1.W", "cost"} <= found.of("pass")["free_running"]


@pytest.mark.slow
def test_an_embedding_s_start_is_looked_at(judged):
    def started(make):
        model = [
            lambda: layers.Embedding(27, 4, embeddings_initializer=make()),
            layers.Flatten,
            lambda: layers.Dense(3),
        ]
        said = TOKENS.replace('"zeros"', '"scaled_normal", initializer_options = {scale = 1.0}')
        return judged(conformance.wrap_keras(lambda: [layer() for layer in model], initializer="own"), said)

    of_keras = started(lambda: "uniform").wrong["initialization"]
    assert "root mean square of initial 1.W" in of_keras
    assert all("initial 1.W" in statistic for statistic in of_keras)
    assert started(lambda: keras.initializers.RandomNormal(stddev=1.0)).wrong == {}


@pytest.mark.parametrize(
    ("make", "layer", "told"),
    [
        (lambda: layers.GRU(3), '{name = "gru", units = 3}',
         "layer 2 (gru) has one bias in the recipe, keras.layers.GRU '0' has two biases: say biases = 2"),
        (lambda: layers.LSTM(3), '{name = "lstm", units = 3, biases = 2}',
         "layer 2 (lstm) has two biases in the recipe, keras.layers.LSTM '0' has one bias: say biases = 1"),
        (lambda: layers.LSTM(3, recurrent_dropout=0.5), '{name = "lstm", units = 3}',
         "keras.layers.LSTM '0' has dropout=0.5, which no recipe has inside of such a layer: say 0"),
    ],
)  # fmt: skip
def test_a_layer_that_is_another_than_the_recipe_s_is_told_with_what_to_say(prepared, make, layer, told):
    made, problem = (
        wrapped(lambda: [make(), layers.Dense(10)], inputs=steps),
        prepared(recipe(STEPS, layer, HEAD), "float64"),
    )
    with pytest.raises(CannotMatch) as error:
        made.session(problem)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("optimizer", "alike"),
    [(keras.optimizers.SGD, True), (keras.optimizers.Adam, False), (keras.optimizers.RMSprop, False)],
)
def test_of_a_token_that_comes_twice_some_optimizers_of_keras_square_each_gradient(optimizer, alike):
    """As the table of layers says of embeddings: what comes row by row is another step than the same gradient whole."""
    ended = []
    for whole in (False, True):
        weights, own = keras.Variable(np.ones((3, 2)), dtype="float64"), optimizer(0.1)
        rows = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]], tf.float64), tf.constant([1, 1]), (3, 2))
        for _ in range(2):
            own.apply([tf.convert_to_tensor(rows) if whole else rows], [weights])
        ended.append(np.asarray(weights))
    assert np.array_equal(ended[0][0], ended[1][0])
    assert np.allclose(*ended) == alike
