"""Layers against the reference, value by value and gradient by gradient, and as JAX's own users take them.

Every situation compiles one program: outputs, values and gradients of a linear functional of the outputs.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reference_numpy.layers
from impl_jax import convolution, initializers, layers, normalization, regularizers

from ..layer_situations import SITUATIONS

EXAMPLES = 3
ROUNDING = 1e-13


def random_parameters(layer, shape, seed=0):
    """Numbers for every parameter, biases too."""
    generator = np.random.default_rng(seed)
    made = jax.eval_shape(lambda key: layer.initialize(key, shape), jax.random.key(0))
    return {name: generator.standard_normal(array.shape) for name, array in made.items()}


def assert_close(observed, expected, scale=None):
    """Equal up to rounding, as a part of the largest number of ``expected``, or of ``scale``."""
    assert observed.keys() == expected.keys()
    for name, value in expected.items():
        assert observed[name].shape == value.shape, name
        largest = np.max(np.abs((scale or {}).get(name, value)), initial=0.0)
        np.testing.assert_allclose(observed[name], value, rtol=0, atol=ROUNDING * largest, err_msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SITUATIONS)
def test_outputs_values_gradients_and_averages_are_those_of_the_reference(double_precision, name, training):
    situation = SITUATIONS[name]
    layer, reference = situation.make(layers), situation.make(reference_numpy.layers)
    x, mask = situation.inputs(EXAMPLES)
    generator = np.random.default_rng(1)
    start = reference.initial_statistics(situation.shape)
    drawn = reference.draw(generator, EXAMPLES, situation.shape)
    if not (training or start or drawn):
        return  # nothing differs
    drawn = drawn if training else None
    statistics = None if training else {n: generator.uniform(0.5, 2.0, a.shape) for n, a in start.items()}
    parameters = random_parameters(layer, situation.shape)
    y, values = reference.forward(parameters, x, drawn=drawn, statistics=statistics, mask=mask)
    dy = generator.standard_normal(y.shape)
    dx, gradients = reference.backward(parameters, values, dy, drawn=drawn, mask=mask)

    @jax.jit
    def both(parameters, x):
        def functional(parameters, x):
            y, values = layer.forward(parameters, x, drawn=drawn, statistics=statistics, mask=mask)
            return jnp.sum(y * dy), (y, values)

        differentiate = jax.value_and_grad(functional, argnums=(0, 1), has_aux=True, allow_int=True)
        (_, (y, values)), gradients = differentiate(parameters, x)
        return y, values, gradients

    found, found_values, (found_gradients, found_dx) = both(parameters, x)
    assert layer.output_shape(situation.shape) == reference.output_shape(situation.shape) == found.shape[1:]
    assert layer.passes_mask == reference.passes_mask
    assert_close({"y": found}, {"y": y})
    assert_close(found_values, {n: v for n, v in values.items() if not n.rpartition(".")[2].startswith("_")})
    # All scores of a query move by the same with b_k, which the softmax takes away: its gradient is 0 and rounding.
    scale = {n: gradients[n.replace("b_k", "W_k")] for n in gradients}
    assert_close(found_gradients, gradients, scale)
    if dx is not None:
        assert_close({"x": found_dx}, {"x": dx})
    if training:
        averages = layer.updated_statistics(layer.initial_statistics(situation.shape), found_values)
        assert_close(averages, reference.updated_statistics(start, values))


def test_every_layer_of_the_table_is_in_a_situation(monkeypatch):
    made = set()
    for name, make in layers.LAYERS.items():
        monkeypatch.setattr(layers, name, lambda *a, _name=name, _make=make, **k: made.add(_name) or _make(*a, **k))
    for situation in SITUATIONS.values():
        situation.make(layers)
    assert made == set(layers.LAYERS)


@pytest.mark.parametrize("name", SITUATIONS)
def test_layers_are_equal_by_value_and_can_be_hashed(name):
    make = SITUATIONS[name].make
    assert make(layers) == make(layers)
    assert hash(make(layers)) == hash(make(layers))
    assert eval(repr(make(layers)), _classes()) == make(layers)


def _classes():
    return {part.__name__: part for part in (*_subclasses(layers.Layer), convolution.Window)}


def _subclasses(kind):
    return {kind}.union(*map(_subclasses, kind.__subclasses__()))


def test_a_plain_loop_of_optax_trains_a_network(single_precision):
    """Is the token 3 among the five? Embedding, dropout, an LSTM and batch norm, clipped gradients and Adam."""
    network = layers.sequence(
        layers.embedding(7, 8), layers.dropout(0.9), layers.lstm(8), layers.batch_norm(), layers.dense(2)
    )
    tokens = np.random.default_rng(0).integers(7, size=(32, 5))
    labels = (tokens == 3).any(axis=1).astype(int)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.02))

    def cost(parameters, drawn):
        logits, values = network.forward(parameters, tokens, drawn=drawn)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), values

    def step(carry, key):
        parameters, state, statistics = carry
        drawn = network.draw(key, len(tokens), (5,))
        (value, values), gradients = jax.value_and_grad(cost, has_aux=True)(parameters, drawn)
        updates, state = optimizer.update(gradients, state, parameters)
        statistics = network.updated_statistics(statistics, values)
        return (optax.apply_updates(parameters, updates), state, statistics), value

    @jax.jit
    def train(key):
        parameters, statistics = network.initialize(key, (5,)), network.initial_statistics((5,))
        carry = parameters, optimizer.init(parameters), statistics
        (parameters, _, statistics), costs = jax.lax.scan(step, carry, jax.random.split(key, 60))
        return parameters, costs, network.apply(parameters, tokens, statistics=statistics)

    parameters, costs, logits = train(jax.random.key(0))
    assert costs[-1] < costs[0] / 4
    assert {array.dtype.name for array in parameters.values()} == {"float32"}
    assert (logits.argmax(axis=1) == labels).mean() > 0.95


def test_a_layer_is_static_under_jit_and_an_ensemble_is_a_vmap(double_precision):
    x = np.ones((5, 4))

    @partial(jax.jit, static_argnames="layer")
    def ensemble(layer, keys):
        parameters = jax.vmap(lambda key: layer.initialize(key, (4,)))(keys)
        return parameters, jax.vmap(lambda parameters: layer.apply(parameters, x))(parameters)

    layer = layers.sequence(layers.dense(3), layers.activation("tanh"))
    parameters, outputs = ensemble(layer, jax.random.split(jax.random.key(0), 6))
    assert (parameters["1.W"].shape, outputs.shape) == ((6, 3, 4), (6, 5, 3))
    expected = np.tanh(x @ np.asarray(parameters["1.W"]).swapaxes(1, 2))
    np.testing.assert_allclose(outputs, expected, rtol=1e-14)


def test_a_layer_draws_from_the_key_of_its_place():
    key = jax.random.key(3)
    network = layers.sequence(layers.dense(4), layers.dropout(0.5), layers.residual(layers.dense(4)))
    parameters = network.initialize(key, (2,))
    np.testing.assert_array_equal(
        parameters["3.W"], initializers.he_normal(jax.random.fold_in(key, 3), (4, 4)), strict=True
    )
    mask = regularizers.dropout_mask(jax.random.fold_in(key, 2), (9, 4), keep_probability=0.5)
    drawn = network.draw(key, 9, (2,))
    assert list(drawn) == ["2.mask"]
    np.testing.assert_array_equal(drawn["2.mask"], mask)
    branches = layers.parallel(layers.dense(4), layers.dense(4)).initialize(key, (2,))
    np.testing.assert_array_equal(branches["1.W"], parameters["1.W"])
    assert not np.array_equal(branches["2.W"], branches["1.W"])


def test_initial_parameters_have_the_dtype_that_is_asked_for(dtype):
    network = layers.sequence(
        layers.convolution(2, (2, 2)), layers.batch_norm(), layers.reshape((2, 4)), layers.attention(2), layers.lstm(2)
    )

    def made(key, asked=None):
        return network.initialize(key, (3, 3, 1), dtype=asked) | network.initial_statistics((3, 3, 1), dtype=asked)

    key = jax.random.key(0)
    assert {array.dtype for array in jax.eval_shape(made, key).values()} == {dtype}
    half = jax.eval_shape(partial(made, asked=jnp.bfloat16), key)
    assert {array.dtype.name for array in half.values()} == {"bfloat16"}


def test_dropout_without_draws_is_the_identity():
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(layers.dropout(0.1).apply({}, x), x)
    drawn = {"mask": np.array([[True, False, True]] * 2)}
    np.testing.assert_allclose(layers.dropout(0.5).apply({}, x, drawn=drawn), [[2, 0, 2]] * 2)


def test_an_integer_out_of_range_is_refused_where_it_is_known():
    layer = layers.embedding(3, 2)
    parameters = layer.initialize(jax.random.key(0), (1,))
    for x in ([[3]], [[-1]]):
        with pytest.raises(ValueError, match=r"x has entries in .* must be in 0 .. 2"):
            layer.apply(parameters, np.array(x))
    with pytest.raises(ValueError, match="x has dtype float32: must be integers"):
        layer.apply(parameters, np.zeros((1, 1), np.float32))
    assert layer.apply(parameters, np.array([2])).shape == (1, 2)
    found = jax.jit(layer.apply)(parameters, np.array([[3, 1]]))
    assert np.isnan(found[0, 0]).all()
    np.testing.assert_array_equal(found[0, 1], parameters["W"][1])


def test_averages_can_be_updated_inside_and_outside_of_compiled_code(double_precision):
    layer, x = layers.batch_norm(running_variance="unbiased"), np.random.default_rng(0).standard_normal((4, 3, 2))
    parameters, start = layer.initialize(jax.random.key(0), (3, 2)), layer.initial_statistics((3, 2))
    values = jax.jit(layer.forward)(parameters, x)[1]
    assert values["batch_count"] == 12
    expected = 0.9 * 1 + 0.1 * x.var(axis=(0, 1), ddof=1)
    for update in (layer.updated_statistics, jax.jit(layer.updated_statistics)):
        np.testing.assert_allclose(update(start, values)["running_variance"], expected, rtol=1e-14)
    with pytest.raises(ValueError, match="examples=1 is not allowed"):
        layer.updated_statistics(start, values | {"batch_count": 1})


def test_flattened_with_channels_first_is_the_transpose_flattened():
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(
        layers.flatten(order="channels_first").apply({}, x)[0], np.moveaxis(x[0], -1, 0).ravel()
    )


def test_the_mask_ends_where_the_steps_end():
    """The last layer would average over the steps that are there; after a change of length it takes all."""
    x, mask = np.arange(8.0).reshape(1, 8, 1), np.arange(8)[None] < 3
    keeps = layers.sequence(layers.average_pool((1,)), layers.global_average_pool())
    ends = layers.sequence(layers.average_pool((2,)), layers.global_average_pool())
    assert (keeps.apply({}, x, mask=mask).item(), ends.apply({}, x, mask=mask).item()) == (1.0, 3.5)
    assert [layer.passes_mask for layer in (keeps, layers.dense(1), layers.lstm(1), layers.flatten())] == [
        False, True, False, False,
    ]  # fmt: skip


REFUSED = [
    (lambda: layers.dense(0), "units=0 is not allowed: must be an integer >= 1"),
    (lambda: layers.dense(2, bias="no"), "bias='no' is not allowed: must be one of False, True"),
    (lambda: layers.dense(2, initializer="he"), "initializer='he' is not allowed: must be one of"),
    (lambda: layers.dense(2, initializer="orthogonal", initializer_options={"gain": -1}), "gain=-1 is not allowed"),
    (lambda: layers.activation("relux"), "name='relux' is not allowed: must be one of"),
    (lambda: layers.activation("elu", options={"alpha": 0}), "alpha=0 is not allowed"),
    (lambda: layers.dropout(0.0), r"keep_probability=0.0 is not allowed: must be in \(0, 1\]"),
    (lambda: layers.flatten(order="rows"), "order='rows' is not allowed"),
    (lambda: layers.reshape((2, 0)), r"shape=\(2, 0\) is not allowed: must be a tuple of integers >= 1"),
    (lambda: layers.convolution(2, 3), r"kernel=3 is not allowed: must be .* as \(3,\) or \(3, 3\)"),
    (lambda: layers.convolution(2, (3, 3, 3)), r"kernel=\(3, 3, 3\) is not allowed"),
    (lambda: layers.convolution(2, (3,), stride=(1, 1)), r"stride=\(1, 1\) is not allowed: must be an integer >= 1"),
    (lambda: layers.convolution(2, (3,), padding="full"), "padding='full' is not allowed: must be 'valid', 'same' or"),
    (lambda: layers.convolution(2, (3,), padding=-1), r"padding=\(-1,\) is not allowed: must be an integer >= 0"),
    (lambda: layers.convolution(2, (3,), groups=3), "channels=2 is not allowed with groups=3: must be a multiple"),
    (lambda: layers.max_pool((2, 2), padding=(1, 2)), r"padding=\(1, 2\) is not allowed: must be at most half"),
    (lambda: layers.average_pool((2,), count_padding=None), "count_padding=None is not allowed"),
    (lambda: layers.embedding(0, 2), "entries=0 is not allowed"),
    (lambda: layers.batch_norm(momentum=1.0), r"momentum=1.0 is not allowed: must be in \[0, 1\)"),
    (lambda: layers.batch_norm(running_variance="no"), "running_variance='no' is not allowed"),
    (lambda: layers.layer_norm(epsilon=-1.0), "epsilon=-1.0 is not allowed"),
    (lambda: layers.simple_rnn(2, activation="sigmoid"), "activation='sigmoid' is not allowed"),
    (lambda: layers.lstm(2, gates="ifgg"), "gates='ifgg' is not allowed: must be the letters of 'ifgo' in any order"),
    (lambda: layers.lstm(2, biases=3), "biases=3 is not allowed: must be one of 0, 1, 2"),
    (lambda: layers.gru(2, reset="never"), "reset='never' is not allowed"),
    (lambda: layers.gru(2, recurrent_initializer="he"), "recurrent_initializer='he' is not allowed"),
    (lambda: layers.bidirectional(layers.dense(2)), "must be a recurrent layer"),
    (lambda: layers.bidirectional(layers.gru(2), join="mean"), "join='mean' is not allowed"),
    (lambda: layers.attention(0), "heads=0 is not allowed"),
    (lambda: layers.attention(2, key_units=0), "key_units=0 is not allowed"),
    (lambda: layers.positional_encoding(base=0), "base=0 is not allowed"),
    (lambda: layers.positional_encoding(layout="sines"), "layout='sines' is not allowed"),
    (lambda: layers.scaled_dot_product(*np.ones((3, 2, 2)), scale=0.0), "scale=0.0 is not allowed"),
    (lambda: layers.sequence(), r"layers=\(\) is not allowed: must be layers, at least one"),
    (lambda: layers.residual(np.tanh), "must be layers"),
    (lambda: layers.parallel(layers.dense(1), join="mean"), "join='mean' is not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=range(len(REFUSED)))
def test_an_argument_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


UNFIT = [
    (layers.dense(2), ()), (layers.reshape((2, 3)), (5,)), (layers.convolution(2, (3, 3)), (6, 3)),
    (layers.convolution(2, (3, 3)), (2, 6, 1)), (layers.convolution(2, (1,), groups=2), (4, 3)),
    (layers.max_pool((2,)), (1, 3)), (layers.global_max_pool(), (3,)), (layers.batch_norm(), ()),
    (layers.lstm(2), (3,)), (layers.bidirectional(layers.gru(2)), (3,)), (layers.attention(2), (4, 3)),
    (layers.positional_encoding(), (3,)), (layers.residual(layers.dense(2)), (3,)),
    (layers.parallel(layers.dense(2), layers.dense(3)), (3,)),
    (layers.parallel(layers.flatten(), layers.dense(3), join="concatenate"), (3, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), UNFIT, ids=lambda value: str(value)[:20])
def test_a_layer_that_cannot_take_a_shape_says_so_with_its_name(layer, shape):
    for ask in (layer.output_shape, lambda shape: layer.initialize(jax.random.key(0), shape)):
        with pytest.raises(ValueError, match=r"^[A-Za-z]+ cannot take examples of shape .* must be "):
            ask(shape)


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_an_initializer_takes_the_window_of_a_convolution(double_precision, name):
    key, draw = jax.random.key(0), initializers.INITIALIZERS[name]
    weights = draw(key, (6, 3, 2, 4))
    if name == "orthogonal":
        np.testing.assert_allclose(weights.reshape(6, 24) @ weights.reshape(6, 24).T, np.eye(6), atol=1e-14)
        return
    # What a matrix of as many connections has: fan-in 4 * 6, fan-out 6 * 6.
    scale = draw(key, (36, 24)).std() if name not in ("zeros", "scaled_normal") else weights.std()
    assert weights.shape == (6, 3, 2, 4)
    np.testing.assert_allclose(weights.std(), scale, rtol=0.2)


def test_normalisation_of_more_axes_is_that_of_their_rows(double_precision):
    z, (gamma, beta) = np.random.default_rng(0).standard_normal((2, 3, 4, 5)), np.ones((2, 5))

    @jax.jit
    def both(z):
        return *normalization.batch_statistics(z), normalization.layer_norm(z, gamma, beta)

    for observed, expected in zip(both(z), both(z.reshape(-1, 5)), strict=True):
        np.testing.assert_allclose(observed.reshape(expected.shape), expected, rtol=1e-13, atol=1e-15)
