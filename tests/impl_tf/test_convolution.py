"""Convolutions and pools against Keras's own, with its kernels; what TensorFlow refuses; gradients at ties."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import layers

DTYPES = ["float64", "float32"]
ROUNDING = {"float64": 1e-13, "float32": 1e-5}


def gradient(layer, x, *others):
    """The gradient of the sum of squares of what the layer gives, for ``x`` and for ``others``."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x) ** 2)
    return tape.gradient(total, [x, *others])


def keras_kernel(w):
    """Ours, ``(channels, *kernel, n / groups)``, as Keras has it: ``(*kernel, n / groups, channels)``."""
    return np.moveaxis(w, 0, -1)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)])
@pytest.mark.parametrize("axes", [1, 2])
def test_a_convolution_is_keras_s_with_the_kernel_transposed(axes, stride, dilation, groups, padding):
    keras = pytest.importorskip("keras")
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, *(9, 8)[:axes], 4))
    kind = keras.layers.Conv1D if axes == 1 else keras.layers.Conv2D
    options = {"padding": padding, "groups": groups}
    kernel = (3, 2)[:axes]
    theirs = kind(6, kernel, strides=stride, dilation_rate=dilation, dtype="float64", **options)
    ours = layers.convolution(6, kernel, stride=stride, dilation=dilation, **options)
    theirs.build(x.shape)
    ours.build(x.shape[1:], dtype="float64")
    w, b = ours.parameter_dict().values()
    b.assign(generator.standard_normal(6))
    theirs.set_weights([keras_kernel(w.numpy()), b.numpy()])
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-12, atol=1e-13)
    dx, dw, db = gradient(ours, x, w, b)
    expected_dx, expected_dw, expected_db = gradient(theirs, x, *(v.value for v in theirs.trainable_variables))
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(keras_kernel(dw.numpy()), expected_dw, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(db, expected_db, rtol=1e-11, atol=1e-12)


def test_a_convolution_with_as_many_groups_as_channels_is_keras_s_depthwise_one():
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 3))
    theirs = keras.layers.DepthwiseConv2D((3, 2), depth_multiplier=2, dtype="float64")
    theirs.build(x.shape)
    ours = layers.convolution(6, (3, 2), groups=3)
    ours.build(x.shape[1:], dtype="float64")
    w, b = (v.numpy() for v in ours.parameter_dict().values())
    theirs.set_weights([np.moveaxis(w[..., 0], 0, -1).reshape(3, 2, 3, 2), b])
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-12, atol=1e-13)


def by_definition(x, w, stride, dilation, groups):
    """``y[i, o] = sum over a, c of x[i stride + a dilation, c] W[o, a, c]``, group by group, number by number."""
    spans = [(k - 1) * dilation for k in w.shape[1:-1]]
    sizes = [(n - span - 1) // stride + 1 for n, span in zip(x.shape[1:-1], spans, strict=True)]
    y = np.zeros((len(x), *sizes, len(w)))
    ins, outs = x.shape[-1] // groups, len(w) // groups
    for place, o in itertools.product(np.ndindex(*sizes), range(len(w))):
        first = o // outs * ins
        for offset in np.ndindex(*w.shape[1:-1]):
            at = tuple(i * stride + a * dilation for i, a in zip(place, offset, strict=True))
            y[(slice(None), *place, o)] += x[(slice(None), *at, slice(first, first + ins))] @ w[(o, *offset)]
    return y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("stride", "dilation", "groups"), list(itertools.product((1, 2), (1, 2), (1, 2, 4))))
def test_stride_dilation_and_groups_go_together_with_gradients_in_both_precisions(stride, dilation, groups, dtype):
    x = np.random.default_rng(0).standard_normal((2, 7, 6, 4)).astype(dtype)
    layer = layers.convolution(4, (2, 2), stride=stride, dilation=dilation, groups=groups, bias=False)
    layer.build(x.shape[1:], dtype=dtype, generator=tf.random.Generator.from_seed(0))
    (w,) = layer.parameter_dict().values()
    y = by_definition(x.astype(float), w.numpy().astype(float), stride, dilation, groups)
    np.testing.assert_allclose(layer(x), y, rtol=0, atol=ROUNDING[dtype] * abs(y).max())
    for part, at in zip((x, w), gradient(layer, x, w), strict=True):
        # The functional is of second degree in either: its derivative along the argument is twice its value.
        along = float(tf.reduce_sum(at * part))
        assert along == pytest.approx(2 * float(np.sum(y**2)), rel=ROUNDING[dtype] * 10)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [None, 2, 1])
@pytest.mark.parametrize("axes", [1, 2])
def test_pools_are_keras_s(axes, stride, padding):
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).standard_normal((2, *(7, 6)[:axes], 3))
    window = (3, 2)[:axes]
    for name, ours in (("Max", layers.max_pool), ("Average", layers.average_pool)):
        theirs = getattr(keras.layers, f"{name}Pooling{axes}D")(
            window, strides=stride, padding=padding, dtype="float64"
        )
        mine = ours(window, stride=stride, padding=padding)
        expected = theirs(tf.constant(x))
        np.testing.assert_allclose(mine(x), expected, rtol=1e-14)
        np.testing.assert_allclose(gradient(mine, x)[0], gradient(theirs, x)[0], rtol=1e-13, atol=1e-15)
        theirs = getattr(keras.layers, f"Global{name}Pooling{axes}D")(dtype="float64")
        mine = layers.LAYERS[f"global_{name.lower()}_pool"]()
        np.testing.assert_allclose(mine(x), theirs(tf.constant(x)), rtol=1e-13)


def test_a_global_average_over_the_steps_that_are_there_is_keras_s():
    keras = pytest.importorskip("keras")
    x, mask = np.random.default_rng(0).standard_normal((2, 4, 3)), np.array([[1, 1, 1, 1], [1, 0, 1, 0]], bool)
    theirs = keras.layers.GlobalAveragePooling1D(dtype="float64")(tf.constant(x), mask=tf.constant(mask))
    np.testing.assert_allclose(layers.global_average_pool()(x, mask=mask), theirs, rtol=1e-14)
    np.testing.assert_array_equal(layers.global_max_pool()(x, mask=mask)[1], x[1, ::2].max(axis=0))


def test_pools_over_no_step_are_zero_in_value_and_gradient():
    x, none = tf.constant(np.random.default_rng(0).standard_normal((2, 4, 3))), np.zeros((2, 4), bool)
    for make in (layers.global_average_pool, layers.global_max_pool):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = make()(x, mask=none)
        assert not np.any(y)
        assert not np.any(tape.gradient(y, x))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("window", "stride", "padding"), [((3, 3), 1, "valid"), ((2, 2), 2, "same"), ((3, 3), 2, 1)])
def test_at_a_tie_the_first_of_the_window_has_the_gradient(window, stride, padding, dtype, compiled):
    x = tf.ones((1, 5, 5, 1), dtype)
    layer = layers.max_pool(window, stride=stride, padding=padding)
    found = (tf.function(gradient) if compiled else gradient)(layer, x)[0]
    before = layer.window.margins((5, 5))[0][0]
    expected = np.zeros((5, 5))
    for place in np.ndindex(*layer.output_shape((5, 5, 1))[:2]):
        expected[tuple(max(i * stride - before, 0) for i in place)] += 2
    np.testing.assert_array_equal(found[0, ..., 0], expected)
    found = gradient(layers.global_max_pool(), x)[0]
    np.testing.assert_array_equal(np.flatnonzero(found), [0])


def test_padding_is_never_the_largest_and_counts_in_a_mean_if_asked():
    x = -tf.ones((1, 3, 1))
    np.testing.assert_array_equal(layers.max_pool((2,), stride=1, padding=1)(x)[0, :, 0], [-1, -1, -1, -1])
    counted = layers.average_pool((2,), stride=1, padding=1, count_padding=True)(x)[0, :, 0]
    np.testing.assert_array_equal(counted, [-0.5, -1, -1, -0.5])
    np.testing.assert_array_equal(layers.average_pool((2,), stride=1, padding=1)(x)[0, :, 0], [-1, -1, -1, -1])


def test_explicit_padding_of_one_is_not_same_at_stride_two():
    x = np.random.default_rng(0).standard_normal((1, 6, 6, 1))
    explicit, same = (layers.convolution(1, (3, 3), stride=2, padding=padding) for padding in (1, "same"))
    for layer in (explicit, same):
        layer.build((6, 6, 1), dtype="float64")
    same.parameter_dict()["W"].assign(explicit.parameter_dict()["W"])
    assert explicit(x).shape == same(x).shape
    assert np.abs(explicit(x) - same(x)).max() > 0.1


def test_images_of_any_size_pass_through_layers_that_are_built():
    model = layers.sequence(layers.convolution(2, (3, 3)), layers.max_pool((2, 2)), layers.global_average_pool())
    model.build((8, 8, 1))
    assert model(tf.zeros((1, 11, 9, 1))).shape == (1, 2)
