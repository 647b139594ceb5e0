"""Flax's own layers (``flax.linen``) with our parameters: the same outputs and the same gradients of the input.

Each case is the mapping: the keywords on both sides, and what the parameters are called and how they lie.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from impl_jax import layers

from .test_layers import random_parameters

ROUNDING = 1e-13
IMAGE, SEQUENCE, EXAMPLES = (6, 5, 4), (5, 3), 2
DOUBLE = {"param_dtype": jnp.float64}  # a cell's state starts in it, whatever the parameters are
MASK = np.arange(5) < np.array([[5], [3]])


class Case(NamedTuple):
    """A layer, Flax's in its place, the shape of an example, and Flax's variables from our parameters."""

    layer: Any
    theirs: Callable[[Any, Any], Any]  # of variables and x
    shape: tuple[int, ...]
    variables: Callable[[Any], Any] = lambda p: {}
    mask: Any = None


def applied(module, **keywords):
    return lambda variables, x: module.apply({"params": variables}, x, **keywords)


def dense(p):
    return {"kernel": p["W"].T, "bias": p["b"]}


def convolution(p):
    """``(channels, *kernel, n / groups)`` as ``(*kernel, n / groups, channels)``."""
    return {"kernel": jnp.moveaxis(p["W"], 0, -1)} | ({"bias": p["b"]} if "b" in p else {})


def norm(p):
    return {"scale": p["gamma"], "bias": p["beta"]}


def simple_rnn(p):
    """The one bias is with the inputs."""
    return {"i": {"kernel": p["W"].T, "bias": p["b"]}, "h": {"kernel": p["U"].T}}


def lstm(p):
    """A kernel for each gate, by its letter; the one bias is with the recurrent part. Our order of gates: any."""
    blocks = {name: dict(zip("ifgo", jnp.split(p[name], 4), strict=True)) for name in p}
    of_inputs = {f"i{gate}": {"kernel": blocks["W"][gate].T} for gate in "ifgo"}
    return of_inputs | {f"h{gate}": {"kernel": blocks["U"][gate].T, "bias": blocks["b"][gate]} for gate in "ifgo"}


def gru(p):
    """Biases with the inputs of all gates, and a second for the candidate alone: our others of ``b_h`` are 0."""
    blocks = {name: dict(zip("rzn", jnp.split(p[name], 3), strict=True)) for name in p}
    of_inputs = {f"i{gate}": {"kernel": blocks["W"][gate].T, "bias": blocks["b"][gate]} for gate in "rzn"}
    recurrent: dict[str, Any] = {f"h{gate}": {"kernel": blocks["U"][gate].T} for gate in "rzn"}
    recurrent["hn"]["bias"] = blocks["b_h"]["n"]
    return of_inputs | recurrent


def attention(p):
    """Kernels ``(n, heads, key_units)``, biases ``(heads, key_units)``; of the output ``(heads, key_units, n)``."""
    into = {
        name: {"kernel": p[f"W_{name[0]}"].T.reshape(4, 2, 2), "bias": p[f"b_{name[0]}"].reshape(2, 2)}
        for name in ("query", "key", "value")
    }
    return into | {"out": {"kernel": p["W_o"].T.reshape(2, 2, 4), "bias": p["b_o"]}}


def rnn(cell, **keywords):
    """All states with ``return_sequences=True``; ``keep_order=True``: at the places of their inputs."""
    return lambda variables, x: linen.RNN(cell, keep_order=True, **keywords).apply({"params": {"cell": variables}}, x)


def last_state(cell, **keywords):
    """Flax gives every state; with ``return_carry=True`` the last one beside them, of an LSTM ``(c, h)``."""
    module = linen.RNN(cell, return_carry=True, **keywords)

    def apply(variables, x):
        carry, _ = module.apply({"params": {"cell": variables}}, x, seq_lengths=MASK.sum(axis=1))
        return carry[1] if isinstance(carry, tuple) else carry

    return apply


def both_ways(variables, x):
    module = linen.Bidirectional(linen.RNN(linen.GRUCell(3, **DOUBLE)), linen.RNN(linen.GRUCell(3, **DOUBLE)))
    names = {"forward": "forward_rnn", "backward": "backward_rnn"}
    return module.apply({"params": {names[way]: {"cell": part} for way, part in variables.items()}}, x)


def in_each_direction(p):
    return {way: gru({n: p[f"{way}.{n}"] for n in ("W", "U", "b", "b_h")}) for way in ("forward", "backward")}


OF_SAME = {"strides": 2, "padding": "SAME"}
AROUND = ((1, 1), (1, 1))
CASES = {
    "Dense": Case(layers.dense(3), applied(linen.Dense(3)), SEQUENCE, dense),
    "Conv, the default of Flax": Case(
        layers.convolution(3, (3, 2), padding="same"), applied(linen.Conv(3, (3, 2))), IMAGE, convolution
    ),
    "Conv, strides": Case(
        layers.convolution(3, (3, 3), padding="same", stride=2), applied(linen.Conv(3, (3, 3), **OF_SAME)), IMAGE,
        convolution,
    ),
    "Conv, explicit": Case(
        layers.convolution(3, (3, 3), padding=1, stride=2), applied(linen.Conv(3, (3, 3), strides=2, padding=1)), IMAGE,
        convolution,
    ),
    "Conv, dilation and groups": Case(
        layers.convolution(6, (2, 2), dilation=2, groups=2, bias=False),
        applied(linen.Conv(6, (2, 2), padding="VALID", kernel_dilation=2, feature_group_count=2, use_bias=False)),
        IMAGE, convolution,
    ),
    "Conv of a sequence": Case(
        layers.convolution(2, (3,)), applied(linen.Conv(2, (3,), padding="VALID")), SEQUENCE, convolution
    ),
    "max_pool": Case(layers.max_pool((2, 2)), lambda _, x: linen.max_pool(x, (2, 2), strides=(2, 2)), IMAGE),
    "max_pool, the default of Flax": Case(
        layers.max_pool((2, 3), stride=1), lambda _, x: linen.max_pool(x, (2, 3)), IMAGE
    ),
    "max_pool, explicit": Case(
        layers.max_pool((2, 2), stride=1, padding=1), lambda _, x: linen.max_pool(x, (2, 2), padding=AROUND), IMAGE
    ),
    "avg_pool, the default of Flax": Case(
        layers.average_pool((2, 2), stride=1, padding=1, count_padding=True),
        lambda _, x: linen.avg_pool(x, (2, 2), padding=AROUND), IMAGE,
    ),
    "avg_pool, padding not counted": Case(
        layers.average_pool((3, 3), stride=2, padding="same"),
        lambda _, x: linen.avg_pool(x, (3, 3), strides=(2, 2), padding="SAME", count_include_pad=False), IMAGE,
    ),
    "BatchNorm": Case(
        layers.batch_norm(),
        lambda variables, x: linen.BatchNorm(use_running_average=False, use_fast_variance=False).apply(
            {"params": variables, "batch_stats": {"mean": jnp.zeros(4), "var": jnp.ones(4)}}, x, mutable=["batch_stats"]
        )[0],
        IMAGE, norm,
    ),
    "LayerNorm": Case(
        layers.layer_norm(epsilon=1e-6), applied(linen.LayerNorm(use_fast_variance=False)), SEQUENCE, norm
    ),
    "SimpleCell": Case(
        layers.simple_rnn(4, return_sequences=True), rnn(linen.SimpleCell(4, **DOUBLE)), SEQUENCE, simple_rnn
    ),
    "LSTMCell": Case(layers.lstm(4, return_sequences=True), rnn(linen.LSTMCell(4, **DOUBLE)), SEQUENCE, lstm),
    "OptimizedLSTMCell, reverse": Case(
        layers.lstm(4, return_sequences=True, reverse=True),
        rnn(linen.OptimizedLSTMCell(4, **DOUBLE), reverse=True),
        SEQUENCE, lstm,
    ),
    "GRUCell": Case(layers.gru(3, biases=2, return_sequences=True), rnn(linen.GRUCell(3, **DOUBLE)), SEQUENCE, gru),
    "LSTMCell, last state, masked": Case(layers.lstm(4), last_state(linen.LSTMCell(4, **DOUBLE)), SEQUENCE, lstm, MASK),
    "GRUCell, last state, reverse, masked": Case(
        layers.gru(3, biases=2, reverse=True), last_state(linen.GRUCell(3, **DOUBLE), reverse=True), SEQUENCE, gru, MASK
    ),
    "Bidirectional": Case(
        layers.bidirectional(layers.gru(3, biases=2, return_sequences=True)), both_ways, SEQUENCE, in_each_direction
    ),
    "MultiHeadDotProductAttention": Case(
        layers.attention(2), applied(linen.MultiHeadDotProductAttention(2)), (5, 4), attention
    ),
    "MultiHeadDotProductAttention, masked": Case(
        layers.attention(2), applied(linen.MultiHeadDotProductAttention(2), mask=MASK[:, None, None, :]), (5, 4),
        attention, MASK,
    ),
    "MultiHeadDotProductAttention, causal": Case(
        layers.attention(2, causal=True),
        applied(linen.MultiHeadDotProductAttention(2), mask=linen.make_causal_mask(np.ones((EXAMPLES, 5)))), (5, 4),
        attention,
    ),
}  # fmt: skip
# Each has another of its kind that does not take as long.
LONG = ("OptimizedLSTMCell, reverse", "LSTMCell, last state, masked", "MultiHeadDotProductAttention, causal")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in CASES]
)
def test_flax_has_the_same_outputs_and_gradients_of_the_input(double_precision, name):
    layer, theirs, shape, variables, mask = CASES[name]
    generator = np.random.default_rng(1)
    x = generator.standard_normal((EXAMPLES, *shape))
    parameters = random_parameters(layer, shape)
    for path in parameters:
        if path.endswith("b_h"):
            parameters[path][: 2 * 3] = 0  # what Flax's GRU has not
    dy = generator.standard_normal((EXAMPLES, *layer.output_shape(shape)))

    @jax.jit
    def both(parameters, x):
        ours, pull = jax.vjp(lambda x: layer.apply(parameters, x, mask=mask), x)
        found, pull_theirs = jax.vjp(partial(theirs, variables(parameters)), x)
        return ours, found, pull(dy)[0], pull_theirs(dy)[0]

    y, found, dx, found_dx = both(parameters, x)
    np.testing.assert_allclose(y, found, rtol=0, atol=ROUNDING * np.abs(y).max())
    np.testing.assert_allclose(dx, found_dx, rtol=0, atol=ROUNDING * np.abs(dx).max())


def test_the_embedding_of_flax_is_the_same_and_attends_by_the_transpose(double_precision):
    layer, module = layers.embedding(7, 3), linen.Embed(7, 3)
    parameters, x = random_parameters(layer, (5,)), np.array([[0, 6, 3, 3, 1]])
    expected = module.apply({"params": {"embedding": parameters["W"]}}, x)
    np.testing.assert_array_equal(layer.apply(parameters, x), expected)


def test_the_running_averages_of_flax_are_the_same_with_its_momentum_and_biased(double_precision):
    layer, x = layers.batch_norm(momentum=0.99), np.random.default_rng(0).standard_normal((3, 5, 2))
    start = layer.initial_statistics((5, 2))
    parameters = layer.initialize(jax.random.key(0), (5, 2))
    averages = layer.updated_statistics(start, jax.jit(layer.forward)(parameters, x)[1])
    module = linen.BatchNorm(use_running_average=False, use_fast_variance=False)  # momentum 0.99, epsilon 1e-5
    variables = {
        "params": norm(parameters), "batch_stats": {"mean": start["running_mean"], "var": start["running_variance"]},
    }  # fmt: skip
    _, changed = jax.jit(lambda v: module.apply(v, x, mutable=["batch_stats"]))(variables)
    np.testing.assert_allclose(averages["running_mean"], changed["batch_stats"]["mean"], rtol=ROUNDING)
    np.testing.assert_allclose(averages["running_variance"], changed["batch_stats"]["var"], rtol=ROUNDING)


def test_where_flax_differs(double_precision):
    """What no keyword brings together: states after the end of a sequence, and a query without keys."""
    x = np.random.default_rng(0).standard_normal((EXAMPLES, *SEQUENCE))
    layer = layers.gru(3, biases=2, return_sequences=True)
    parameters = random_parameters(layer, SEQUENCE)
    parameters["b_h"][:6] = 0
    ours = jax.jit(layer.apply)(parameters, x, mask=MASK)[1]
    module = linen.RNN(linen.GRUCell(3, **DOUBLE))
    theirs = jax.jit(lambda p: module.apply({"params": {"cell": gru(p)}}, x, seq_lengths=MASK.sum(axis=1)))(parameters)[
        1
    ]
    np.testing.assert_allclose(ours[:3], theirs[:3], rtol=ROUNDING)
    np.testing.assert_array_equal(ours[4], ours[2])  # the state is kept
    assert not np.allclose(theirs[4], theirs[2])  # Flax goes on

    none = np.zeros((1, 1, 1, 5), bool)
    layer, x = layers.attention(2), np.random.default_rng(0).standard_normal((1, 5, 4))
    parameters = random_parameters(layer, (5, 4)) | {"b_o": np.zeros(4)}
    np.testing.assert_array_equal(jax.jit(layer.apply)(parameters, x, mask=none[:, 0, 0]), np.zeros((1, 5, 4)))
    module = linen.MultiHeadDotProductAttention(2)
    theirs = jax.jit(lambda p: module.apply({"params": attention(p)}, x, mask=none))(parameters)
    mean = (x @ parameters["W_v"].T + parameters["b_v"]).mean(axis=1) @ parameters["W_o"].T
    np.testing.assert_allclose(theirs, np.tile(mean[:, None], (1, 5, 1)), rtol=1e-12)  # Flax looks at all keys


def test_the_variance_of_flax_is_of_one_pass_unless_told_otherwise(single_precision):
    z = (1e4 + np.random.default_rng(0).standard_normal((1, 4))).astype(np.float32)
    parameters = {"gamma": np.ones(4, np.float32), "beta": np.zeros(4, np.float32)}
    ours = layers.layer_norm(epsilon=1e-6).apply(parameters, z)
    theirs = jax.jit(applied(linen.LayerNorm()))(norm(parameters), z)
    exact = (z.astype(float) - z.mean(dtype=float)) / z.std(dtype=float)
    assert np.abs(ours - exact).max() < 1e-3 < 0.5 < np.abs(theirs - exact).max()
