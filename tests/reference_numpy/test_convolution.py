"""Convolutions and pools, held to their formulas written as loops; padding, ties and steps that are not there."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reference_numpy import layers

sizes = st.integers(1, 3)


def loops(x, w, b, stride, dilation, before, outputs):
    """The formula of the convolution, a term at a time; zeros beyond the edges."""
    y = np.zeros((len(x), *outputs, len(w)))
    in_group, out_group = w.shape[-1], len(w) // (x.shape[-1] // w.shape[-1])
    for example, *i, o in np.ndindex(y.shape):
        for *a, c in np.ndindex(w.shape[1:]):
            axes = zip(i, stride, a, dilation, before, strict=True)
            place = tuple(at * s + offset * d - first for at, s, offset, d, first in axes)
            if all(0 <= p < n for p, n in zip(place, x.shape[1:], strict=False)):
                y[(example, *i, o)] += x[(example, *place, o // out_group * in_group + c)] * w[(o, *a, c)]
    return y + b


@st.composite
def convolutions(draw):
    """A convolution over one axis or two, as keywords, and the sizes of an input that it can take."""
    axes = draw(st.sampled_from([1, 2]))
    kernel, stride, dilation = (tuple(draw(sizes) for _ in range(axes)) for _ in range(3))
    padding = draw(st.sampled_from(["valid", "same", tuple(draw(st.integers(0, 2)) for _ in range(axes))]))
    groups, shape = draw(st.sampled_from([1, 2])), tuple(draw(st.integers(3, 7)) for _ in range(axes))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    given = padding if isinstance(padding, tuple) else (0,) * axes
    fits = all(n + 2 * p >= span for n, p, span in zip(shape, given, spans, strict=True))
    assume(padding == "same" or fits)
    return kernel, {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}, shape


@given(convolutions())
@settings(max_examples=80, deadline=None)
def test_a_convolution_is_its_formula(drawn):
    kernel, keywords, shape = drawn
    generator, groups = np.random.default_rng(0), keywords["groups"]
    layer, x = layers.convolution(2 * groups, kernel, **keywords), generator.standard_normal((2, *shape, 2 * groups))
    parameters = layer.initialize(generator, x.shape[1:]) | {"b": generator.standard_normal(2 * groups)}
    outputs, before = [], []
    for n, k, s, d, axis in zip(shape, kernel, keywords["stride"], keywords["dilation"], itertools.count()):
        if keywords["padding"] == "same":
            outputs.append(math.ceil(n / s))
            before.append(max((outputs[-1] - 1) * s + (k - 1) * d + 1 - n, 0) // 2)
        else:
            before.append(0 if keywords["padding"] == "valid" else keywords["padding"][axis])
            outputs.append((n + 2 * before[-1] - (k - 1) * d - 1) // s + 1)
    expected = loops(x, parameters["W"], parameters["b"], keywords["stride"], keywords["dilation"], before, outputs)
    assert layer.output_shape(x.shape[1:]) == (*outputs, 2 * groups)
    np.testing.assert_allclose(layer.forward(parameters, x)[0], expected, rtol=1e-12, atol=1e-12)


@given(convolutions())
@settings(max_examples=80, deadline=None)
def test_a_window_scatters_what_it_gathers(drawn):
    kernel, keywords, shape = drawn
    window = layers.convolution(2, kernel, **keywords | {"groups": 1}).window
    generator = np.random.default_rng(1)
    x = generator.standard_normal((2, *shape, 3))
    seen = window.gather(x)
    other = generator.standard_normal(seen.shape)
    assert (seen * other).sum() == pytest.approx((x * window.scatter(other, shape)).sum(), rel=1e-12, abs=1e-12)


@given(convolutions())
@settings(max_examples=80, deadline=None)
def test_pools_are_their_formulas(drawn):
    kernel, keywords, shape = drawn
    stride, padding = keywords["stride"], keywords["padding"]
    if isinstance(padding, tuple):
        padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
    assume(padding == "same" or all(n >= k for n, k in zip(shape, kernel, strict=True)))
    x = np.random.default_rng(2).standard_normal((2, *shape, 3))
    largest = layers.max_pool(kernel, stride=stride, padding=padding)
    means = [layers.average_pool(kernel, stride=stride, padding=padding, count_padding=c) for c in (False, True)]
    y = largest.forward({}, x)[0]
    found = [layer.forward({}, x)[0] for layer in means]
    margins = largest.window.margins(shape)
    for i in np.ndindex(y.shape[1:-1]):
        starts = [at * s - first for at, s, (first, _) in zip(i, stride, margins, strict=True)]
        axes = zip(starts, kernel, strict=True)
        inside = x[(slice(None), *(slice(max(start, 0), start + k) for start, k in axes))].reshape(2, -1, 3)
        at = (slice(None), *i)
        np.testing.assert_array_equal(y[at], inside.max(axis=1))
        np.testing.assert_allclose(found[0][at], inside.mean(axis=1), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(found[1][at], inside.sum(axis=1) / math.prod(kernel), rtol=1e-13, atol=1e-13)


@given(convolutions())
@settings(max_examples=20, deadline=None)
def test_gradients_of_any_convolution_agree_with_complex_steps(layer_errors, drawn):
    kernel, keywords, shape = drawn
    groups = keywords["groups"]
    x = np.random.default_rng(3).standard_normal((1, *shape, groups))
    errors = layer_errors(layers.convolution(groups, kernel, **keywords), x)
    assert errors["differences"] < 1e-8
    assert errors["complex step"] < 1e-14


def test_padding_that_does_not_divide_goes_after():
    x, parameters = np.arange(1.0, 5.0).reshape(1, 4, 1), {"W": np.ones((1, 2, 1))}
    same = layers.convolution(1, (2,), padding="same", bias=False)
    np.testing.assert_array_equal(same.forward(parameters, x)[0].ravel(), [3, 5, 7, 4])
    strided = layers.convolution(1, (3,), padding="same", stride=2, bias=False)
    three = {"W": np.ones((1, 3, 1))}
    np.testing.assert_array_equal(strided.forward(three, x)[0].ravel(), [6, 7])  # PyTorch's padding=1 gives [3, 9]
    explicit = layers.convolution(1, (3,), padding=1, stride=2, bias=False)
    np.testing.assert_array_equal(explicit.forward(three, x)[0].ravel(), [3, 9])


def test_padding_is_never_the_largest_and_gets_no_gradient():
    layer, x = layers.max_pool((2, 2), stride=1, padding=1), -np.ones((1, 2, 2, 1))
    y, values = layer.forward({}, x)
    assert (y == -1).all()
    assert layer.backward({}, values, np.ones_like(y))[0].sum() == y.size


def test_at_a_tie_the_first_of_the_window_gets_the_gradient():
    layer, x = layers.max_pool((2, 2)), np.zeros((1, 2, 4, 1))
    x[0, 1, 2] = x[0, 0, 3] = 1  # the second window: its first row has the first of the two
    y, values = layer.forward({}, x)
    dx = layer.backward({}, values, np.array([[[[5.0], [7.0]]]]))[0]
    np.testing.assert_array_equal(dx[0, :, :, 0], [[5, 0, 0, 7], [0, 0, 0, 0]])
    for pool, share in (
        (layers.global_max_pool(), [[0, 0, 0, 1], [0, 0, 0, 0]]),
        (layers.global_average_pool(), 1 / 8),
    ):
        dx = pool.backward({}, pool.forward({}, x)[1], np.ones((1, 1)))[0]
        np.testing.assert_array_equal(dx[0, :, :, 0], np.broadcast_to(share, (2, 4)))
    assert y.shape == (1, 1, 2, 1)


@pytest.mark.parametrize("make", [layers.global_max_pool, layers.global_average_pool])
def test_over_no_steps_a_global_pool_is_zero_in_value_and_gradient(make, layer_errors):
    x, mask = np.random.default_rng(0).standard_normal((3, 4, 2)), np.array([[1] * 4, [0] * 4, [0, 1, 0, 1]], bool)
    layer = make()
    y, values = layer.forward({}, x, mask=mask)
    dx = layer.backward({}, values, np.ones_like(y), mask=mask)[0]
    assert not y[1].any()
    assert not dx[~mask].any()
    np.testing.assert_allclose(dx.sum(axis=1), [[1, 1], [0, 0], [1, 1]])
    errors = layer_errors(layer, x, mask=mask)
    assert errors["differences"] < 1e-8
    assert errors["complex step"] < 1e-14


def test_global_pools_do_not_read_what_is_not_there():
    x, mask = np.array([[[1.0], [np.nan]]]), np.array([[True, False]])
    for layer in (layers.global_max_pool(), layers.global_average_pool()):
        assert layer.forward({}, x, mask=mask)[0] == 1
