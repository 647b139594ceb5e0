"""Modules of Flax held against recipes of layers: right ones pass all that they offer, wrong ones fail in place."""

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
eqx = pytest.importorskip("equinox")
pytest.importorskip("flax")

import jax.numpy as jnp  # noqa: E402
from flax import linen as nn  # noqa: E402
from flax import nnx  # noqa: E402

import conformance  # noqa: E402
from conformance.wrappers.matching import CannotMatch  # noqa: E402

SHORT = """
name = "short"
loss = "categorical_cross_entropy"
dataset = { name = "DATA", examples = 20, test_examples = 6 }
optimizer = { dialect = "optax.sgd(momentum=0.9)", learning_rate = 0.1 }
batch_size = 8
epochs = 1
[model]
name = "network"
layers = [LAYERS]
"""


def recipe(*parts, data="digits"):
    return SHORT.replace("DATA", data).replace("LAYERS", ", ".join(parts))


IMAGE, STEPS = '{name = "reshape", shape = [8, 8, 1]}', '{name = "reshape", shape = [4, 16]}'
RELU, HEAD = '{name = "activation", function = "relu"}', '{name = "dense", units = 10}'


def wrapped(model, **parts):
    loss = optax.softmax_cross_entropy_with_integer_labels
    return conformance.wrap_jax(model, **{"loss": loss, "optimizer": optax.sgd(0.1, momentum=0.9), **parts})


def image(x):
    return x.reshape(-1, 8, 8, 1)


def steps(x):
    return x.reshape(-1, 4, 16)


CNN = recipe(
    IMAGE,
    '{name = "convolution", channels = 4, kernel = [3, 3], stride = 2, padding = "same"}',
    '{name = "batch_norm", momentum = 0.99}',
    RELU,
    '{name = "average_pool", window = [2, 2], padding = "same"}',
    '{name = "dropout", keep_probability = 0.75}',
    '{name = "flatten"}',
    HEAD,
)


class NnxImages(nnx.Module):
    def __init__(self, rngs, padding="SAME"):
        self.convolution = nnx.Conv(1, 4, (3, 3), strides=2, padding=padding, rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_fast_variance=False, rngs=rngs)
        self.dropout = nnx.Dropout(0.25, rngs=rngs)
        self.out = nnx.Linear(16, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.avg_pool(nnx.relu(self.norm(self.convolution(x))), (2, 2), (2, 2), "SAME")
        return self.out(self.dropout(x).reshape(len(x), -1))


class LinenImages(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3), strides=2)(x)
        x = nn.relu(nn.BatchNorm(not train, use_fast_variance=False)(x))
        x = nn.Dropout(0.25, deterministic=not train)(nn.avg_pool(x, (2, 2), (2, 2), "SAME"))
        return nn.Dense(10)(x.reshape(len(x), -1))


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", [NnxImages, LinenImages()], ids=["nnx", "linen"])
def test_a_network_of_images_with_batch_norm_and_dropout(judged, model, dtype):
    found = judged(wrapped(model, inputs=image), CNN, dtype)
    assert found.wrong == {}, found.causes
    inside = {f"{place}.A ({mode})" for place in (1, 2, 3, 5, 6, 7, 8) for mode in ("training", "inference")}
    assert inside <= found.of("pass")["forward"]
    assert {"d2.W (first batch)", "d3.gamma (first batch)", "dA0 (first batch)"} <= found.of("pass")["gradients"]
    assert {"2.W", "3.running_variance", "velocity of 8.W", "cost"} <= found.of("pass")["free_running"]


def test_padding_on_the_other_side_is_wrong_from_the_convolution_on(judged):
    wrong = judged(wrapped(lambda rngs: NnxImages(rngs, ((1, 0), (1, 0))), inputs=image), CNN).wrong
    assert {"2.A (training)", "3.A (training)", "8.A (inference)"} <= wrong["forward"]
    assert "1.A (training)" not in wrong["forward"]
    assert "update" not in wrong


def gru(gates="rzn", biases=1):
    return f'{{name = "gru", units = 3, gates = "{gates}", biases = {biases}, return_sequences = true}}'


LSTM = '{name = "lstm", units = 3, gates = "figo", return_sequences = true}'
MEAN = '{name = "global_average_pool"}'


def real():
    """Flax makes the first state of a recurrent layer in this precision."""
    return {"param_dtype": jnp.result_type(float)}


class NnxReader(nnx.Module):
    def __init__(self, rngs, lstm=nnx.LSTMCell):
        self.first = nnx.RNN(lstm(16, 3, rngs=rngs, **real()), reverse=True)
        cells = [nnx.GRUCell(3, 3, rngs=rngs, **real()) for _ in range(2)]
        self.both = nnx.Bidirectional(*map(nnx.RNN, cells))
        self.out = nnx.Linear(6, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(self.both(self.first(x)[:, ::-1]).mean(1))


READER = recipe(
    STEPS,
    LSTM.replace("units", "reverse = true, units"),
    f'{{name = "bidirectional", layers = [{gru("zrn")}]}}',
    MEAN,
    HEAD,
)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("lstm", [nnx.LSTMCell, pytest.param(nnx.OptimizedLSTMCell, marks=pytest.mark.slow)])
def test_recurrent_cells_of_nnx(judged, lstm, dtype):
    found = judged(wrapped(lambda rngs: NnxReader(rngs, lstm), inputs=steps), READER, dtype)
    assert found.wrong == {}, found.causes
    shown = {"1.A", "2.A", "2.h", "3.A", "3.forward.h", "3.backward.h", "4.A", "5.A"}
    assert {f"{name} (inference)" for name in shown} <= found.of("pass")["forward"]
    assert {"2.U", "3.backward.b", "velocity of 2.W"} <= found.of("pass")["free_running"]


class LinenReader(nn.Module):
    cell: type = nn.OptimizedLSTMCell

    @nn.compact
    def __call__(self, x):
        x = nn.RNN(self.cell(3, **real()))(x)
        x = nn.RNN(nn.SimpleCell(3, **real()))(x)
        return nn.Dense(10)(x.mean(1))


SIMPLE = '{name = "simple_rnn", units = 3, return_sequences = true}'


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_recurrent_cells_of_linen(judged, dtype):
    found = judged(wrapped(LinenReader(), inputs=steps), recipe(STEPS, LSTM, SIMPLE, MEAN, HEAD), dtype)
    assert found.wrong == {}, found.causes
    assert {f"{name} (inference)" for name in ("2.A", "2.h", "3.h", "4.A")} <= found.of("pass")["forward"]
    assert {"2.U", "3.b", "velocity of 2.W"} <= found.of("pass")["free_running"]


def test_what_no_recipe_has_is_told(prepared):
    problem = prepared(recipe(STEPS, gru(biases=2), SIMPLE, MEAN, HEAD), "float32")
    with pytest.raises(CannotMatch, match=r"Flax's RNN\(GRUCell\) 'RNN_0' has of its two biases the recurrent one for"):
        wrapped(LinenReader(nn.GRUCell), inputs=steps).session(problem)


ATTENTION = recipe(
    STEPS,
    '{name = "layer_norm", epsilon = 1e-6}',
    '{name = "residual", layers = [{name = "attention", heads = 2}]}',
    '{name = "convolution", channels = 3, kernel = [3]}',
    MEAN,
    HEAD,
)


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(16, use_fast_variance=False, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 16, decode=False, rngs=rngs)
        self.convolution = nnx.Conv(16, 3, (3,), padding="VALID", rngs=rngs)
        self.out = nnx.Linear(3, 10, rngs=rngs)

    def __call__(self, x):
        x = self.norm(x)
        x = x + self.attention(x)
        return self.out(self.convolution(x).mean(1))


class LinenBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(use_fast_variance=False)(x)
        x = x + nn.MultiHeadDotProductAttention(2)(x, x)
        return nn.Dense(10)(nn.Conv(3, (3,), padding="VALID")(x).mean(1))


@pytest.mark.parametrize(
    ("model", "dtype"),
    [
        (NnxBlock, "float32"),  # in float64 too it takes the softmax in float32
        pytest.param(LinenBlock(), "float64", marks=pytest.mark.slow),
        pytest.param(LinenBlock(), "float32", marks=pytest.mark.slow),
    ],
)
def test_a_block_of_attention(judged, model, dtype):
    found = judged(wrapped(model, inputs=steps), ATTENTION, dtype)
    assert found.wrong == {}, found.causes
    assert {f"{place}.A (inference)" for place in range(1, 7)} <= found.of("pass")["forward"]
    assert {"3.W_q", "3.W_o", "3.b_v", "4.W"} <= found.of("pass")["free_running"]


TOKENS = recipe('{name = "embedding", entries = 27, units = 4}', MEAN, '{name = "dense", units = 3}', data="words")


class NnxBag(nnx.Module):
    def __init__(self, rngs):
        self.table, self.out = nnx.Embed(27, 4, rngs=rngs, **real()), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, tokens):
        return self.out(self.table(tokens).mean(1))


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_tokens_into_an_embedding(judged, dtype):
    found = judged(wrapped(NnxBag), TOKENS, dtype)
    assert found.wrong == {}, found.causes
    assert {f"{place}.A (inference)" for place in (1, 2, 3)} <= found.of("pass")["forward"]
    assert {"1.W", "velocity of 1.W", "cost"} <= found.of("pass")["free_running"]


@pytest.mark.slow
def test_attention_of_nnx_takes_its_softmax_in_float32(judged):
    wrong = judged(wrapped(NnxBlock, inputs=steps), ATTENTION).wrong["forward"]
    assert "3.A (inference)" in wrong
    assert "2.A (inference)" not in wrong


def test_an_embedding_s_start_is_looked_at(judged):
    found = judged(conformance.wrap_jax(NnxBag, initializer="own"), TOKENS)
    assert "root mean square of initial 1.W" in found.wrong["initialization"]


def own_convolution(parameters, x):
    """Kernels as (height, width, inputs, outputs)."""
    x = jax.lax.conv_general_dilated(x, parameters["k"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return (x + parameters["b"]).reshape(len(x), -1) @ parameters["w"]


class OwnEquinox(eqx.Module):
    """Kernels as (outputs, inputs, height, width), data with channels first."""

    convolution: eqx.nn.Conv2d
    out: eqx.nn.Linear

    def __init__(self, key):
        self.convolution = eqx.nn.Conv2d(1, 2, 3, stride=2, padding=((0, 1), (0, 1)), key=key)
        self.out = eqx.nn.Linear(32, 10, use_bias=False, key=key)

    def __call__(self, x):
        return self.out(jnp.ravel(jnp.moveaxis(self.convolution(x), 0, -1)))


PLAIN = {"k": jnp.zeros((3, 3, 1, 2)), "b": jnp.zeros(2), "w": jnp.zeros((32, 10))}


@pytest.mark.parametrize(
    ("model", "inputs"),
    [((PLAIN, own_convolution), image), (OwnEquinox, lambda x: x.reshape(-1, 1, 8, 8))],
    ids=["plain", "equinox"],
)
def test_what_no_table_knows_is_matched_by_shape(judged, model, inputs):
    said = recipe(
        IMAGE,
        '{name = "convolution", channels = 2, kernel = [3, 3], stride = 2, padding = "same"}',
        '{name = "flatten"}',
        '{name = "dense", units = 10, bias = false}',
    )
    found = judged(wrapped(model, inputs=inputs), said)
    assert found.wrong == {}, found.causes
    assert {"d2.W (first batch)", "d4.W (first batch)"} <= found.of("pass")["gradients"]
    assert {"2.W", "2.b", "velocity of 4.W"} <= found.of("pass")["free_running"]
