"""Every layer in every formulation: gradients, dtypes, names, masks, statistics; what is refused."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from reference_numpy import initializers, layers, normalization
from reference_numpy.arithmetic import rounded_otherwise
from tests.layer_situations import SITUATIONS, Situation

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((3, 4))
SEQUENCE = GENERATOR.standard_normal((3, 5, 4))
IMAGES = GENERATOR.standard_normal((3, 4, 5, 2))
MASK = np.array([[True] * 5, [True, True, False, False, False], [False, True, True, False, True]])

everywhere = pytest.mark.parametrize("name", SITUATIONS)


def at(name, dtype=np.float64):
    """A layer of the shared list, with parameters, an input, draws, a mask and an output's gradient."""
    situation, generator = SITUATIONS[name], np.random.default_rng(2)
    layer, (x, mask) = situation.make(layers), situation.inputs()
    parameters = layer.initialize(generator, situation.shape, dtype=dtype)
    x = x if situation.integers else x.astype(dtype)
    drawn = layer.draw(generator, len(x), situation.shape)
    dy = generator.standard_normal((len(x), *layer.output_shape(situation.shape))).astype(dtype)
    return layer, parameters, x, {"drawn": drawn, "mask": mask}, dy


@everywhere
def test_gradients_agree_with_differences_and_with_complex_steps(name, layer_errors):
    x, mask = SITUATIONS[name].inputs()
    errors = layer_errors(SITUATIONS[name].make(layers), x, mask=mask)
    assert errors["differences"] < 1e-8
    assert errors["complex step"] < 1e-14


@everywhere
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_values_and_gradients_have_the_dtype_of_what_comes_in(name, dtype):
    layer, parameters, x, given, dy = at(name, dtype)
    y, values = layer.forward(parameters, x, **given)
    dx, gradients = layer.backward(parameters, values, dy, **given)
    statistics = layer.updated_statistics(layer.initial_statistics(x.shape[1:], dtype=dtype), values)
    found = {"y": y, **parameters, **values, **gradients, **statistics, **({} if dx is None else {"dx": dx})}
    kinds = {n: a.dtype for n, a in found.items() if np.issubdtype(a.dtype, np.floating)}
    assert set(kinds.values()) == {np.dtype(dtype)}, kinds


@everywhere
def test_shapes_are_as_declared_and_nothing_given_is_changed(name):
    layer, parameters, x, given, dy = at(name)
    before = {n: a.copy() for n, a in (parameters | {"_x": x, "_dy": dy}).items()}
    y, values = layer.forward(parameters, x, **given)
    kept = {n: a.copy() for n, a in values.items()}
    dx, gradients = layer.backward(parameters, values, dy, **given)
    assert y.shape == (len(x), *layer.output_shape(x.shape[1:]))
    assert {n: g.shape for n, g in gradients.items()} == {n: w.shape for n, w in parameters.items()}
    assert dx is None if SITUATIONS[name].integers else dx.shape == x.shape
    for n, array in (parameters | {"_x": x, "_dy": dy}).items():
        np.testing.assert_array_equal(array, before[n])
    for n, array in values.items():
        np.testing.assert_array_equal(array, kept[n])


@everywhere
def test_every_product_of_a_layer_can_be_taken_otherwise(name):
    layer, parameters, x, given, dy = at(name)

    def run():
        y, values = layer.forward(parameters, x, **given)
        dx, gradients = layer.backward(parameters, values, dy, **given)
        return [y, *([] if dx is None else [dx]), *gradients.values()]

    plain, calls = run(), []

    def backwards(a, b):
        calls.append((a.shape, b.shape))
        return np.einsum("...ij,...jk->...ik", a[..., ::-1], b[..., ::-1, :])

    with rounded_otherwise(product=backwards):
        found = run()
    for a, b in zip(found, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    assert bool(calls) == (name != "embedding" and any(w.ndim > 1 for w in parameters.values()))


def test_products_and_sums_taken_otherwise_are_in_outputs_and_gradients():
    layer, dy = layers.dense(2), np.ones((3, 2))
    parameters = layer.initialize(GENERATOR, (4,))
    y, values = layer.forward(parameters, X)
    dx, gradients = layer.backward(parameters, values, dy)

    def three_times(values, *, axis=None):
        return 3 * values.sum(axis=axis, keepdims=axis is not None)

    with rounded_otherwise(product=lambda a, b: 2 * (a @ b), total=three_times):
        moved_y, _ = layer.forward(parameters, X)
        moved_dx, moved = layer.backward(parameters, values, dy)
    np.testing.assert_array_equal(moved_y, 2 * y)  # b is 0
    np.testing.assert_array_equal(moved_dx, 2 * dx)
    np.testing.assert_array_equal(moved["W"], 2 * gradients["W"])
    np.testing.assert_array_equal(moved["b"], 3 * gradients["b"])
    np.testing.assert_array_equal(layer.forward(parameters, X)[0], y)  # all is put back


def test_the_table_has_every_maker_of_a_layer_in_their_order_and_all_are_exported():
    assert list(layers.LAYERS) == [
        "dense", "activation", "dropout", "flatten", "reshape", "convolution", "max_pool", "average_pool",
        "global_max_pool", "global_average_pool", "embedding", "masking", "batch_norm", "layer_norm", "simple_rnn",
        "lstm", "gru", "bidirectional", "attention", "positional_encoding", "sequence", "residual", "parallel",
    ]  # fmt: skip
    assert set(layers.__all__) == {*layers.LAYERS, "LAYERS", "Layer", "scaled_dot_product"}
    assert all(maker is getattr(layers, name) for name, maker in layers.LAYERS.items())
    made = [s.make(layers) for s in SITUATIONS.values()]
    assert made == [s.make(layers) for s in SITUATIONS.values()]  # a description is equal to one made alike


def test_the_shared_list_has_every_layer_and_every_keyword():
    text = Path(inspect.getfile(Situation)).read_text(encoding="utf-8")
    for name, maker in layers.LAYERS.items():
        assert f"layers.{name}(" in text
        for keyword, parameter in inspect.signature(maker).parameters.items():
            common = "initializer" in keyword or parameter.kind is not parameter.KEYWORD_ONLY
            assert common or f"{keyword}=" in text, keyword


def test_names_are_paths_and_public_values_are_the_declared_ones():
    network = layers.sequence(
        layers.embedding(7, 4),
        layers.residual(layers.sequence(layers.attention(2), layers.dropout(0.5))),
        layers.parallel(layers.lstm(3), layers.sequence(layers.global_max_pool(), layers.dense(3))),
        layers.batch_norm(),
    )
    parameters = network.initialize(GENERATOR, (5,))
    attention = [f"2.1.{kind}_{letter}" for letter in "qkvo" for kind in "Wb"]
    assert list(parameters) == [
        "1.W", *attention, "3.1.W", "3.1.U", "3.1.b", "3.2.2.W", "3.2.2.b", "4.gamma", "4.beta",
    ]  # fmt: skip
    drawn = network.draw(GENERATOR, 3, (5,))
    assert {name: mask.shape for name, mask in drawn.items()} == {"2.2.mask": (3, 5, 4)}
    statistics = network.initial_statistics((5,))
    assert list(statistics) == ["4.running_mean", "4.running_variance"]
    tokens = GENERATOR.integers(0, 7, (3, 5))
    y, values = network.forward(parameters, tokens, drawn=drawn)
    public = {name: value for name, value in values.items() if "._" not in name and not name.startswith("_")}
    assert set(public) == {
        "1.A", "2.A", "2.1.A", "2.1.weights", "2.2.A", "3.A", "3.1.A", "3.1.h", "3.1.c", "3.2.A", "3.2.1.A", "3.2.2.A",
        "4.A", "4.batch_mean", "4.batch_variance", "4.batch_count",
    }  # fmt: skip
    assert values["2.1.weights"].shape == (3, 2, 5, 5)
    np.testing.assert_array_equal(values["4.A"], y)
    np.testing.assert_array_equal(values["3.A"], values["3.1.A"] + values["3.2.A"])
    assert list(network.updated_statistics(statistics, values)) == list(statistics)
    assert network.backward(parameters, values, np.ones_like(y), drawn=drawn)[0] is None


def test_a_mask_goes_as_far_as_there_are_steps():
    ends = [layers.global_max_pool(), layers.global_average_pool(), layers.flatten(), layers.reshape((4, 5)),
            layers.lstm(2), layers.bidirectional(layers.gru(2)), layers.convolution(2, (2,)), layers.max_pool((2,)),
            layers.convolution(2, (3,), padding="same", stride=2), layers.residual(layers.flatten())]  # fmt: skip
    goes_on = [layers.dense(2), layers.activation("tanh"), layers.dropout(0.5), layers.layer_norm(),
               layers.batch_norm(), layers.attention(2), layers.positional_encoding(), layers.embedding(3, 2),
               layers.gru(2, return_sequences=True), layers.bidirectional(layers.lstm(2, return_sequences=True)),
               layers.convolution(2, (3,), padding="same"), layers.convolution(2, (1,)),
               layers.convolution(2, (3,), padding=2, dilation=2),
               layers.max_pool((3,), stride=1, padding=1)]  # fmt: skip
    assert not any(layer.passes_mask for layer in ends)
    assert all(layer.passes_mask for layer in goes_on)
    for combine in (layers.sequence, layers.parallel):
        assert combine(*goes_on).passes_mask
        assert not combine(*goes_on, ends[0]).passes_mask
    network = layers.sequence(layers.reshape((5, 4)), layers.global_average_pool())
    np.testing.assert_allclose(network.forward({}, SEQUENCE, mask=MASK)[0], SEQUENCE.mean(axis=1))


def test_every_part_of_branches_gets_the_mask():
    network = layers.parallel(layers.global_average_pool(), layers.global_max_pool(), join="concatenate")
    y = network.forward({}, SEQUENCE, mask=MASK)[0]
    np.testing.assert_allclose(y[1], np.concatenate([SEQUENCE[1, :2].mean(axis=0), SEQUENCE[1, :2].max(axis=0)]))


def test_there_is_no_dropout_without_draws_and_a_mask_keeps_with_the_probability():
    layer = layers.dropout(0.8)
    assert layer.forward({}, X)[0] is X
    assert layer.forward({}, X, drawn={})[0] is X
    mask = layer.draw(np.random.default_rng(0), 1000, (10, 2))["mask"]
    assert mask.shape == (1000, 10, 2)
    assert mask.dtype == bool
    assert abs(mask.mean() - 0.8) < 0.01
    np.testing.assert_allclose(layer.forward({}, np.ones(mask.shape), drawn={"mask": mask})[0], mask / 0.8)


def test_initial_parameters():
    draw = np.random.default_rng
    np.testing.assert_array_equal(
        layers.dense(3).initialize(draw(1), (4,))["W"], initializers.he_normal(draw(1), (3, 4))
    )
    embedding = layers.embedding(400, 50).initialize(draw(1), (5,))["W"]
    np.testing.assert_array_equal(embedding, initializers.scaled_normal(draw(1), (400, 50), scale=1.0))
    recurrent = layers.lstm(3, gates="ofgi", forget_bias=1.5, biases=2).initialize(draw(1), (5, 4))
    np.testing.assert_array_equal(recurrent["b"], [0, 0, 0, 1.5, 1.5, 1.5, 0, 0, 0, 0, 0, 0])
    assert not recurrent["b_h"].any()
    np.testing.assert_allclose(recurrent["U"].T @ recurrent["U"], np.eye(3), atol=1e-12)
    kernel = layers.convolution(6, (3, 2), groups=2).initialize(draw(1), (9, 9, 4))["W"]
    np.testing.assert_array_equal(kernel, initializers.he_normal(draw(1), (6, 3, 2, 2)))


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_a_kernel_is_drawn_as_a_matrix_whose_rows_have_its_number_of_connections(name):
    draw, shape = initializers.INITIALIZERS[name], (5, 3, 2, 7)
    kernel = draw(np.random.default_rng(0), shape)
    options = {"fan": "fan_in"} if name == "xavier_uniform" else {}
    alike = draw(np.random.default_rng(0), (5, 42), **options).reshape(shape)
    if name == "xavier_uniform":  # of the mean of n_in and n_out, which counts the places of the window too
        alike = alike * np.sqrt(42 / ((42 + 30) / 2))
    np.testing.assert_allclose(kernel, alike, atol=1e-15)
    assert draw(np.random.default_rng(0), shape, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("x", [SEQUENCE, IMAGES], ids=["sequences", "images"])
def test_norms_of_more_axes_are_those_of_rows(x):
    n = x.shape[-1]
    gamma, beta, dy, rows = *GENERATOR.standard_normal((2, n)), GENERATOR.standard_normal(x.shape), x.reshape(-1, n)
    statistics = normalization.batch_statistics(x)
    np.testing.assert_array_equal(statistics, normalization.batch_statistics(rows))
    for f, backward, extra in (
        (normalization.batch_norm, normalization.batch_norm_backward, statistics),
        (normalization.layer_norm, normalization.layer_norm_backward, ()),
    ):
        np.testing.assert_array_equal(f(x, gamma, beta, *extra).reshape(-1, n), f(rows, gamma, beta, *extra))
        found = backward(dy, x, gamma, *extra)
        assert found[0].shape == x.shape
        for a, b in zip(found, backward(dy.reshape(-1, n), rows, gamma, *extra), strict=True):
            np.testing.assert_array_equal(a.reshape(b.shape), b)


def test_running_averages_count_every_place_of_every_image():
    layer = layers.batch_norm(momentum=0.5, running_variance="unbiased")
    statistics = layer.initial_statistics((4, 5, 2))
    values = layer.forward(layer.initialize(GENERATOR, (4, 5, 2)), IMAGES)[1]
    assert int(values["batch_count"]) == 60
    updated = layer.updated_statistics(statistics, values)
    np.testing.assert_allclose(updated["running_mean"], IMAGES.mean(axis=(0, 1, 2)) / 2)
    np.testing.assert_allclose(updated["running_variance"], 0.5 + IMAGES.var(axis=(0, 1, 2), ddof=1) / 2)


@pytest.mark.parametrize("x", [X, IMAGES], ids=["features", "images"])
def test_batch_norm_with_running_averages_and_its_gradient(x, layer_errors):
    layer, n = layers.batch_norm(), x.shape[-1]
    statistics = {"running_mean": GENERATOR.standard_normal(n), "running_variance": GENERATOR.random(n) + 0.5}
    y = layer.forward(layer.initialize(GENERATOR, (n,)), x, statistics=statistics)[0]
    expected = (x - statistics["running_mean"]) / np.sqrt(statistics["running_variance"] + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-13)
    errors = layer_errors(layer, x, statistics=statistics)
    assert errors["differences"] < 1e-8
    assert errors["complex step"] < 1e-14


def test_statistics_reach_the_layers_of_a_network():
    network = layers.sequence(layers.dense(3), layers.residual(layers.batch_norm()))
    parameters = network.initialize(GENERATOR, (4,))
    statistics = {"2.running_mean": np.zeros(3), "2.running_variance": np.full(3, 4.0)}
    y, values = network.forward(parameters, X, statistics=statistics)
    np.testing.assert_allclose(y, values["1.A"] * (1 + 1 / np.sqrt(4 + 1e-5)))


def test_an_entry_that_comes_often_gets_the_sum_and_one_that_does_not_come_gets_nothing():
    layer, tokens, dy = layers.embedding(4, 2), np.array([[1, 1, 3]]), GENERATOR.standard_normal((1, 3, 2))
    parameters = layer.initialize(GENERATOR, (3,))
    dx, gradients = layer.backward(parameters, layer.forward(parameters, tokens)[1], dy)
    assert dx is None
    np.testing.assert_array_equal(gradients["W"], [[0, 0], dy[0, 0] + dy[0, 1], [0, 0], dy[0, 2]])
    assert layer.forward(parameters, np.array([1, 2]))[0].shape == (2, 2)
    assert layer.output_shape(()) == (2,)


@pytest.mark.parametrize(("x", "message"), [
    (np.array([[0, 4]]), r"^x has entries in 0 \.\. 4: must be in 0 \.\. 3$"),
    (np.array([[-1, 2]]), r"^x has entries in -1 \.\. 2: must be in 0 \.\. 3$"),
    (np.array([[1.0]]), "^x has dtype float64: must be integers$"),
])  # fmt: skip
def test_what_is_no_entry_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        layers.embedding(4, 2).forward({"W": np.ones((4, 2))}, x)


def test_flattened_images_are_those_of_the_other_layout():
    first = layers.flatten(order="channels_first").forward({}, IMAGES)[0]
    np.testing.assert_array_equal(first, np.moveaxis(IMAGES, -1, 1).reshape(3, -1))
    np.testing.assert_array_equal(layers.flatten().forward({}, IMAGES)[0], IMAGES.reshape(3, -1))


REFUSED = [
    (lambda: layers.dense(0), "units=0 is not allowed: must be an integer >= 1"),
    (lambda: layers.dense(2, bias=None), "bias=None is not allowed: must be one of False, True"),
    (lambda: layers.dense(2, initializer="he"), "initializer='he' is not allowed: must be one of 'zeros'"),
    (lambda: layers.dense(2, initializer_options={"truncated": 3}), "truncated=3 is not allowed"),
    (lambda: layers.activation("arctan"), "name='arctan' is not allowed: must be one of 'identity'"),
    (lambda: layers.activation("elu", options={"alpha": -1}), "alpha=-1 is not allowed"),
    (lambda: layers.dropout(0), "keep_probability=0 is not allowed: must be in (0, 1]"),
    (lambda: layers.flatten(order="rows"), "order='rows' is not allowed: must be one of 'channels_last'"),
    (lambda: layers.reshape((2, -1)), "shape=(2, -1) is not allowed: must be a tuple of integers >= 1"),
    (lambda: layers.reshape(4), "shape=4 is not allowed"),
    (lambda: layers.convolution(0, (3,)), "channels=0 is not allowed: must be an integer >= 1"),
    (lambda: layers.convolution(2, 3), "kernel=3 is not allowed: must be a tuple of one or two integers >= 1, as (3,)"),
    (lambda: layers.convolution(2, (3, 0)), "kernel=(3, 0) is not allowed"),
    (lambda: layers.convolution(2, (3, 3, 3)), "kernel=(3, 3, 3) is not allowed"),
    (lambda: layers.convolution(2, (3,), stride=0), "stride=0 is not allowed: must be an integer >= 1, or a tuple"),
    (lambda: layers.convolution(2, (3,), stride=(1, 1)), "stride=(1, 1) is not allowed"),
    (lambda: layers.convolution(2, (3,), padding="full"), "padding='full' is not allowed: must be 'valid', 'same' or"),
    (lambda: layers.convolution(2, (3,), padding=-1), "padding=-1 is not allowed: must be an integer >= 0, or a tuple"),
    (lambda: layers.convolution(2, (3,), dilation=0.5), "dilation=0.5 is not allowed"),
    (lambda: layers.convolution(3, (3,), groups=2), "channels=3 is not allowed with groups=2: must be a multiple"),
    (lambda: layers.max_pool(2), "window=2 is not allowed: must be a tuple of one or two integers >= 1"),
    (lambda: layers.max_pool((3, 3), padding=2), "padding=2 is not allowed: must be at most half of the window (3, 3)"),
    (lambda: layers.average_pool((2,), count_padding=2), "count_padding=2 is not allowed"),
    (lambda: layers.embedding(0, 2), "entries=0 is not allowed"),
    (lambda: layers.batch_norm(epsilon=-1.0), "epsilon=-1.0 is not allowed: must be a finite number >= 0"),
    (lambda: layers.batch_norm(momentum=1.0), "momentum=1.0 is not allowed: must be in [0, 1)"),
    (lambda: layers.batch_norm(running_variance="own"), "running_variance='own' is not allowed"),
    (lambda: layers.layer_norm(epsilon=np.inf), "epsilon=inf is not allowed"),
    (lambda: layers.simple_rnn(2, activation="gelu"), "activation='gelu' is not allowed: must be one of 'tanh'"),
    (lambda: layers.simple_rnn(2, biases=3), "biases=3 is not allowed: must be one of 0, 1, 2"),
    (lambda: layers.lstm(2, gates="ifg"), "gates='ifg' is not allowed: must be the letters of 'ifgo' in any order"),
    (lambda: layers.lstm(2, forget_bias=np.nan), "forget_bias=nan is not allowed: must be a finite number"),
    (lambda: layers.lstm(2, reverse="yes"), "reverse='yes' is not allowed: must be one of False, True"),
    (lambda: layers.gru(2, gates="ifgo"), "gates='ifgo' is not allowed: must be the letters of 'rzn' in any order"),
    (lambda: layers.gru(2, reset="now"), "reset='now' is not allowed: must be one of 'after', 'before'"),
    (lambda: layers.gru(2, recurrent_initializer="unit"), "recurrent_initializer='unit' is not allowed"),
    (lambda: layers.bidirectional(layers.dense(2)), "layer=Dense("),
    (lambda: layers.bidirectional(layers.gru(2), join="mean"), "join='mean' is not allowed: must be one of"),
    (lambda: layers.attention(0), "heads=0 is not allowed"),
    (lambda: layers.attention(2, key_units=0), "key_units=0 is not allowed"),
    (lambda: layers.positional_encoding(base=0), "base=0 is not allowed: must be a finite number > 0"),
    (lambda: layers.positional_encoding(layout="mixed"), "layout='mixed' is not allowed"),
    (lambda: layers.sequence(), "layers=() is not allowed: must be layers, at least one"),
    (lambda: layers.residual("dense"), "layers=('dense',) is not allowed: must be layers, at least one"),
    (lambda: layers.parallel(layers.dense(2), join="mean"), "join='mean' is not allowed: must be one of 'sum'"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message.split(" is ")[0] for _, message in REFUSED])
def test_what_a_layer_cannot_be_made_of_is_refused(make, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the text is looked at below
        make()
    assert str(caught.value).startswith(message)


CANNOT_TAKE = [
    (layers.dense(2), (), "Dense cannot take examples of shape (): must be (..., n)"),
    (layers.reshape((2, 3)), (7,), "Reshape cannot take examples of shape (7,): must be of 6 numbers"),
    (layers.convolution(2, (3,)), (4,), "Convolution cannot take examples of shape (4,): must be (t, n)"),
    (layers.convolution(2, (3, 3)), (4, 2), "Convolution cannot take examples of shape (4, 2): must be (h, w, n)"),
    (layers.convolution(2, (3,), dilation=2), (4, 2), "Convolution cannot take examples of shape (4, 2): must be as"),
    (layers.convolution(4, (1,), groups=2), (4, 3), "Convolution cannot take examples of shape (4, 3): must be a mul"),
    (layers.max_pool((5,)), (4, 2), "MaxPool cannot take examples of shape (4, 2): must be as large as a window, (5,)"),
    (layers.global_max_pool(), (4,), "GlobalMaxPool cannot take examples of shape (4,): must be (t, n) or (h, w, n)"),
    (layers.embedding(3, 2), (4, 2), "Embedding cannot take examples of shape (4, 2): must be () or (t,)"),
    (layers.batch_norm(), (), "BatchNorm cannot take examples of shape ()"),
    (layers.lstm(2), (4,), "LSTM cannot take examples of shape (4,): must be (t, n)"),
    (layers.attention(3), (5, 4), "MultiHeadAttention cannot take examples of shape (5, 4): must be a multiple"),
    (layers.positional_encoding(), (4,), "PositionalEncoding cannot take examples of shape (4,): must be (t, n)"),
    (layers.residual(layers.dense(2)), (3,), "Residual cannot take examples of shape (3,): must be what its layer"),
    (layers.parallel(layers.dense(2), layers.dense(3)), (3,), "Parallel cannot take examples of shape (3,): must be"),
    (layers.parallel(layers.flatten(), layers.dense(3), join="concatenate"), (3, 4), "Parallel cannot take"),
    (layers.sequence(layers.dense(2), layers.gru(2)), (3,), "GRU cannot take examples of shape (2,): must be (t, n)"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape", "message"), CANNOT_TAKE, ids=[row[2][:40] for row in CANNOT_TAKE])
def test_what_a_layer_cannot_take_is_refused_by_its_name(layer, shape, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the text is looked at below
        layer.output_shape(shape)
    assert str(caught.value).startswith(message)
