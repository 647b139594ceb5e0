"""Layers against the reference, value by value and gradient by gradient; dense layers, embeddings and norms against
Keras's own, with its numbers. The files beside this one do so for the other layers.
"""

import math

import numpy as np
import pytest
import tensorflow as tf

import reference_numpy.layers
from impl_tf import initializers, layers, normalization

from ..layer_situations import SITUATIONS

EXAMPLES = 3
ROUNDING = {"float64": 1e-13, "float32": 1e-13 * 2**29}


def built(layer, shape, seed=0, dtype="float64"):
    """The layer, with numbers for every parameter, biases too."""
    generator = np.random.default_rng(seed)
    layer.build(shape, generator=tf.random.Generator.from_seed(seed), dtype=dtype)
    for variable in layer.parameter_dict().values():
        variable.assign(generator.standard_normal(variable.shape))
    return layer


def arrays(tensors):
    return {name: np.asarray(tensor, np.float64) for name, tensor in tensors.items()}


def value_and_gradients(layer, x, dy, **arguments):
    """Outputs, and gradients of ``sum(y dy)`` for parameters and, unless they are integers, inputs."""
    x = tf.convert_to_tensor(x)
    sources = layer.parameter_dict() | ({"x": x} if x.dtype.is_floating else {})
    with tf.GradientTape() as tape:
        tape.watch(list(sources.values()))
        y = layer(x, **arguments)
        functional = tf.reduce_sum(y * dy)
    return y, tape.gradient(functional, sources)


def assert_close(observed, expected, dtype="float64", scale=None):
    """Equal up to rounding, as a part of the largest number of ``expected``, or of ``scale``."""
    assert observed.keys() == expected.keys()
    for name, value in expected.items():
        assert observed[name].shape == value.shape, name
        largest = np.max(np.abs((scale or {}).get(name, value)), initial=0.0)
        np.testing.assert_allclose(observed[name], value, rtol=0, atol=ROUNDING[dtype] * largest, err_msg=name)


def reference_results(situation, layer, training):
    """What goes into a pass, and what the reference gives: ``y``, values, gradients, averages."""
    reference, generator = situation.make(reference_numpy.layers), np.random.default_rng(1)
    x, mask = situation.inputs(EXAMPLES)
    start = reference.initial_statistics(situation.shape)
    drawn = reference.draw(generator, EXAMPLES, situation.shape)
    start = start if training else {n: generator.uniform(0.5, 2.0, a.shape) for n, a in start.items()}
    passed = {"drawn": drawn if training else None, "mask": mask}
    parameters = arrays(layer.parameter_dict())
    y, values = reference.forward(parameters, x, statistics=None if training else start, **passed)
    dy = generator.standard_normal(y.shape)
    dx, gradients = reference.backward(parameters, values, dy, **passed)
    if dx is not None:
        gradients["x"] = dx
    averages = reference.updated_statistics(start, values) if training else start
    public = {name: value for name, value in values.items() if not name.rpartition(".")[2].startswith("_")}
    return (x, mask, drawn, start, dy), (y, public, gradients, averages)


def without_rounding_of_zero(gradients):
    """The scores of a query all move alike with b_k, which the softmax takes away: its gradient is 0, and rounding."""
    return {name: gradients[name.replace("b_k", "W_k")] for name in gradients}


@pytest.mark.parametrize(("dtype", "training"), [("float64", True), ("float64", False), ("float32", True)])
@pytest.mark.parametrize("name", SITUATIONS)
def test_outputs_values_gradients_and_averages_are_those_of_the_reference(name, dtype, training):
    situation = SITUATIONS[name]
    layer = built(situation.make(layers), situation.shape, dtype=dtype)
    (x, mask, drawn, start, dy), (y, values, gradients, averages) = reference_results(situation, layer, training)
    if not (training or start or drawn):
        return  # nothing differs
    if np.issubdtype(x.dtype, np.floating):
        x = x.astype(dtype)
    for path, value in start.items():
        layer.statistics_dict()[path].assign(value)
    with layers.fed(layer, drawn):
        found_values = layers.layer_values(layer, x, training=training, mask=mask)
        assert_close(arrays(layer.statistics_dict()), start, dtype)  # looking on changes nothing
        found, found_gradients = value_and_gradients(layer, x, dy, training=training, mask=mask)
    assert layer.output_shape(situation.shape) == y.shape[1:]
    assert layer.passes_mask == situation.make(reference_numpy.layers).passes_mask
    assert found.dtype.name == dtype
    assert_close({"y": found.numpy()}, {"y": y}, dtype)
    assert_close(arrays(found_values), values, dtype)
    assert_close(arrays(found_gradients), gradients, dtype, without_rounding_of_zero(gradients))
    assert_close(arrays(layer.statistics_dict()), averages, dtype)


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_compiled_step_for_any_number_of_examples_is_the_eager_one(name):
    situation = SITUATIONS[name]
    layer = built(situation.make(layers), situation.shape)
    x, mask = situation.inputs(EXAMPLES)
    drawn = layer.draw(tf.random.Generator.from_seed(2), EXAMPLES, situation.shape)
    dy = tf.constant(np.random.default_rng(1).standard_normal((EXAMPLES, *layer.output_shape(situation.shape))))
    with layers.fed(layer, drawn):
        y, gradients = value_and_gradients(layer, x, dy, training=True, mask=mask)
    averages = arrays(layer.statistics_dict())

    def any_number(array):
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    masks = {} if mask is None else {"mask": tf.constant(mask)}
    signature = [any_number(x), any_number(dy), *({p: any_number(v) for p, v in d.items()} for d in (drawn, masks))]

    @tf.function(input_signature=signature)
    def step(x, dy, drawn, masks):
        with layers.fed(layer, drawn):
            return value_and_gradients(layer, x, dy, training=True, **masks)

    for variable in layer.statistics_dict().values():
        variable.assign(tf.zeros_like(variable) if "mean" in variable.name else tf.ones_like(variable))
    found, found_gradients = step(tf.constant(x), dy, drawn, masks)
    assert_close({"y": found.numpy()}, {"y": y.numpy()})
    gradients = arrays(gradients)
    assert_close(arrays(found_gradients), gradients, scale=without_rounding_of_zero(gradients))
    assert_close(arrays(layer.statistics_dict()), averages)


def test_the_table_of_layers_is_that_of_the_reference():
    assert list(layers.LAYERS) == list(reference_numpy.layers.LAYERS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda of: of.dense(0), "units=0"),
        (lambda of: of.dense(2, bias=1.5), "bias=1.5"),
        (lambda of: of.dense(2, initializer="best"), "initializer='best'"),
        (lambda of: of.dense(2, initializer="scaled_normal", initializer_options={"scale": -1.0}), "scale=-1.0"),
        (lambda of: of.activation("best"), "name='best'"),
        (lambda of: of.activation("elu", options={"alpha": 0.0}), "alpha=0.0"),
        (lambda of: of.dropout(0.0), "keep_probability=0.0"),
        (lambda of: of.flatten(order="rows"), "order='rows'"),
        (lambda of: of.reshape(4), "shape=4"),
        (lambda of: of.convolution(2, 3), r"kernel=3 .* as \(3,\) or \(3, 3\)"),
        (lambda of: of.convolution(2, (3, 3, 3)), "kernel="),
        (lambda of: of.convolution(2, (3,), stride=0), "stride="),
        (lambda of: of.convolution(2, (3,), padding="full"), "padding='full'"),
        (lambda of: of.convolution(2, (3,), padding=-1), "padding="),
        (lambda of: of.convolution(2, (3, 3), dilation=(1, 2, 3)), "dilation="),
        (lambda of: of.convolution(3, (3,), groups=2), "channels=3"),
        (lambda of: of.max_pool(2), "window=2"),
        (lambda of: of.max_pool((2, 2), padding=(1, 2)), r"padding=\(1, 2\)"),
        (lambda of: of.average_pool((2,), count_padding=2), "count_padding=2"),
        (lambda of: of.embedding(0, 2), "entries=0"),
        (lambda of: of.batch_norm(momentum=1.0), "momentum=1.0"),
        (lambda of: of.batch_norm(running_variance="other"), "running_variance='other'"),
        (lambda of: of.layer_norm(epsilon=-1.0), "epsilon=-1.0"),
        (lambda of: of.simple_rnn(2, activation="gelu"), "activation='gelu'"),
        (lambda of: of.simple_rnn(2, biases=3), "biases=3"),
        (lambda of: of.lstm(2, gates="ifg"), "gates='ifg'"),
        (lambda of: of.lstm(2, forget_bias=math.inf), "forget_bias=inf"),
        (lambda of: of.gru(2, reset="never"), "reset='never'"),
        (lambda of: of.gru(2, recurrent_initializer="best"), "recurrent_initializer='best'"),
        (lambda of: of.bidirectional(of.dense(2)), "layer="),
        (lambda of: of.bidirectional(of.gru(2), join="both"), "join='both'"),
        (lambda of: of.attention(0), "heads=0"),
        (lambda of: of.attention(1, key_units=0), "key_units=0"),
        (lambda of: of.positional_encoding(base=0.0), "base=0.0"),
        (lambda of: of.positional_encoding(layout="thirds"), "layout='thirds'"),
        (lambda of: of.sequence(), r"layers=\(\)"),
        (lambda of: of.residual(3), "layers="),
        (lambda of: of.parallel(of.dense(2), join="product"), "join='product'"),
    ],
)
def test_an_argument_is_refused_as_the_reference_refuses_it(make, message):
    with pytest.raises(ValueError, match=message) as found:
        make(layers)
    with pytest.raises(ValueError, match=message) as expected:
        make(reference_numpy.layers)
    if "layer" not in message:  # whose names are not theirs
        assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda of: of.dense(2), ()),
        (lambda of: of.convolution(2, (3, 3)), (5, 2)),
        (lambda of: of.convolution(2, (3,)), (2, 2)),
        (lambda of: of.convolution(2, (1,), groups=2), (2, 3)),
        (lambda of: of.max_pool((3, 3)), (2, 3, 1)),
        (lambda of: of.global_max_pool(), (3,)),
        (lambda of: of.reshape((2, 2)), (5,)),
        (lambda of: of.embedding(3, 2), (2, 2)),
        (lambda of: of.layer_norm(), ()),
        (lambda of: of.lstm(2), (3,)),
        (lambda of: of.attention(2), (4, 3)),
        (lambda of: of.positional_encoding(), (4,)),
        (lambda of: of.sequence(of.dense(2), of.lstm(2)), (4,)),
        (lambda of: of.residual(of.dense(2)), (3,)),
        (lambda of: of.parallel(of.dense(2), of.dense(3)), (3,)),
    ],
)
def test_a_shape_is_refused_as_the_reference_refuses_it(make, shape):
    with pytest.raises(ValueError, match="cannot take") as expected:
        make(reference_numpy.layers).output_shape(shape)
    with pytest.raises(ValueError, match="cannot take") as found:
        make(layers).build(shape)
    assert str(found.value) == str(expected.value)
    with pytest.raises(ValueError, match="cannot take"):
        make(layers)(tf.zeros((2, *shape)))


def test_inputs_of_another_kind_than_the_layers_are_refused():
    layer = layers.dense(2)
    layer(tf.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"x has shape \(3, 5\)"):
        layer(tf.zeros((3, 5)))
    with pytest.raises(ValueError, match="float64"):
        layer(tf.zeros((3, 4), tf.float64))
    assert layer(np.zeros((3, 4))).dtype == tf.float32  # an array is converted
    with pytest.raises(ValueError, match="must be integers"):
        layers.embedding(3, 2)(tf.zeros((2, 2)))
    for outside in (-1, 3):
        with pytest.raises(ValueError, match=r"must be in 0 \.\. 2"):
            layers.embedding(3, 2)(tf.constant([[0, outside]]))


# --- values -----------------------------------------------------------------------------------------------------------


def test_a_flat_image_is_ordered_as_asked():
    image = tf.reshape(tf.range(12.0), (1, 2, 3, 2))
    np.testing.assert_array_equal(layers.flatten()(image)[0], np.arange(12))
    first = layers.flatten(order="channels_first")(image)[0]
    np.testing.assert_array_equal(first, np.arange(12).reshape(2, 3, 2).transpose(2, 0, 1).ravel())
    np.testing.assert_array_equal(layers.reshape((3, 4))(image)[0], np.arange(12).reshape(3, 4))


def test_a_mask_ends_with_the_layer_that_takes_the_steps_away():
    kept = layers.sequence(layers.dense(2), layers.lstm(2, return_sequences=True), layers.global_average_pool())
    x = np.random.default_rng(0).standard_normal((2, 4, 3))
    mask, short = np.arange(4) < [[4], [2]], x[:, :2]
    model = built(kept, (4, 3))
    np.testing.assert_allclose(model(x, mask=mask)[1], model(short)[1], rtol=1e-14)
    ended = built(layers.sequence(layers.max_pool((1,), stride=2), layers.global_max_pool()), (4, 3))
    np.testing.assert_array_equal(ended(x, mask=mask), x[:, ::2].max(axis=1))


def test_the_embeddings_gradient_is_a_tensor_with_the_sum_for_each_row():
    layer = built(layers.embedding(4, 2), (3,))
    _, gradients = value_and_gradients(layer, np.array([[1, 1, 3]]), np.array([[[1.0, 2], [3, 4], [5, 6]]]))
    assert tf.is_tensor(gradients["W"])
    np.testing.assert_array_equal(gradients["W"], [[0, 0], [4, 6], [0, 0], [5, 6]])


def test_normalizations_take_any_rank_and_two_axes_are_as_ever():
    z = np.random.default_rng(0).standard_normal((6, 5)) * 3 + 100
    moments = [tensor.numpy() for tensor in tf.nn.moments(tf.constant(z), axes=[0])]
    np.testing.assert_array_equal([tensor.numpy() for tensor in normalization.batch_statistics(z)], moments)
    images = z.reshape(1, 2, 3, 5)
    for ours, theirs in zip(normalization.batch_statistics(images), moments, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    one, zero = np.ones(5), np.zeros(5)
    mean, variance = (moment[:, None] for moment in tf.nn.moments(tf.constant(z), axes=[1]))
    flat = normalization.layer_norm(z, one, zero)
    np.testing.assert_array_equal(flat, (z - mean) / tf.sqrt(variance + 1e-5))
    np.testing.assert_array_equal(tf.reshape(normalization.layer_norm(images, one, zero), (6, 5)), flat)
    compiled = tf.function(normalization.layer_norm)
    np.testing.assert_allclose(compiled(images, one, zero), normalization.layer_norm(images, one, zero), rtol=1e-13)


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_an_initializer_takes_windows_and_has_the_reference_s_scale(name):
    draw, shape = initializers.INITIALIZERS[name], (40, 3, 2, 30)
    w = draw(tf.random.Generator.from_seed(0), shape, dtype="float64").numpy()
    reference = reference_numpy.initializers.INITIALIZERS[name](np.random.default_rng(0), shape)
    assert w.shape == shape
    assert np.std(w) == pytest.approx(np.std(reference), rel=0.05)
    if name == "orthogonal":
        rows = w.reshape(40, -1)
        np.testing.assert_allclose(rows @ rows.T, np.eye(40), atol=1e-13)
    for wrong in ((3,), (3, 0, 2), (2.0, 3)):
        with pytest.raises(ValueError, match=r"must be \(n_out, ..., n_in\)"):
            draw(None, wrong)


# --- Keras's own ------------------------------------------------------------------------------------------------------


def test_dense_embedding_and_norms_are_keras_s_with_its_numbers():
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).standard_normal((3, 5, 4))
    dense = keras.layers.Dense(2, dtype="float64")
    dense.build(x.shape)
    ours = built(layers.dense(2), x.shape[1:])
    w, b = arrays(ours.parameter_dict()).values()
    dense.set_weights([w.T, b])
    np.testing.assert_allclose(ours(x), dense(x), rtol=1e-13)

    tokens = np.array([[0, 3, 3], [2, 1, 0]])
    embedding = keras.layers.Embedding(4, 2, dtype="float64")
    embedding.build(tokens.shape)
    ours = built(layers.embedding(4, 2), (3,))
    embedding.set_weights(list(arrays(ours.parameter_dict()).values()))
    np.testing.assert_array_equal(ours(tokens), embedding(tokens))

    norm = keras.layers.LayerNormalization(dtype="float64")
    norm.build(x.shape)
    ours = built(layers.layer_norm(epsilon=1e-3), x.shape[1:])
    norm.set_weights(list(arrays(ours.parameter_dict()).values()))
    np.testing.assert_allclose(ours(x), norm(x), rtol=1e-13, atol=1e-13)


def test_batch_norm_is_keras_s_with_its_epsilon_and_momentum():
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).standard_normal((3, 5, 2, 4))
    norm = keras.layers.BatchNormalization(dtype="float64")
    norm.build(x.shape)
    ours = built(layers.batch_norm(epsilon=1e-3, momentum=0.99), x.shape[1:])
    start = {**ours.parameter_dict(), **ours.statistics_dict()}
    norm.set_weights(list(arrays(start).values()))
    for training in (True, True, False):
        y, theirs = ours(x, training=training), norm(x, training=training)
        np.testing.assert_allclose(y, theirs, rtol=1e-12, atol=1e-13)
        for mine, other in zip(start.values(), norm.weights, strict=True):
            np.testing.assert_allclose(mine, other.value, rtol=1e-13)
