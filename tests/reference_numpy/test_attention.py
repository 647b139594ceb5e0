"""Attention, held to its formula written for one query; what may be looked at, and positions."""

import numpy as np
import pytest

from reference_numpy import layers
from reference_numpy.attention import scaled_dot_product, scaled_dot_product_backward

GENERATOR = np.random.default_rng(0)
Q, K, V = (GENERATOR.standard_normal(shape) for shape in ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2)))
X = GENERATOR.standard_normal((3, 5, 4))
SEEN = GENERATOR.random((2, 3, 4, 6)) < 0.5
SEEN[0, 1, 2] = False
LENGTHS = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
MASKS = {
    "none": None,
    "of each query": SEEN,
    "of keys": np.array([1, 0, 1, 1, 0, 0], bool),
    "nothing": np.zeros(6, bool),
}


def by_hand(q, k, v, seen, scale):
    """The formula for one query ``(d,)``, over the keys that it sees."""
    if not seen.any():
        return np.zeros(v.shape[-1])
    powers = np.exp(scale * k[seen] @ q)
    return powers / powers.sum() @ v[seen]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_is_its_formula_and_its_gradients_agree_with_complex_steps(mask, causal, scale, gradient_errors):
    keywords = {"mask": MASKS[mask], "causal": causal, "scale": scale}
    y = scaled_dot_product(Q, K, V, **keywords)
    seen = np.broadcast_to(True if MASKS[mask] is None else MASKS[mask], (2, 3, 4, 6))
    for index in np.ndindex(2, 3, 4):
        may = seen[index] & (np.arange(6) <= index[-1]) if causal else seen[index]
        expected = by_hand(Q[index], K[index[:2]], V[index[:2]], may, scale or 1 / np.sqrt(5))
        np.testing.assert_allclose(y[index], expected, rtol=1e-12, atol=1e-14)
    errors = gradient_errors(
        lambda arrays: scaled_dot_product(*arrays.values(), **keywords),
        lambda dy: dict(zip("qkv", scaled_dot_product_backward(dy, Q, K, V, **keywords), strict=True)),
        {"q": Q, "k": K, "v": V},
    )
    assert errors["differences"] < 1e-8
    assert errors["complex step"] < 1e-14


def test_large_scores_do_not_overflow_with_or_without_a_mask():
    q, k, v = np.array([[1e4]]), np.array([[1e4], [-1e4], [1e6]]), np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(scaled_dot_product(q, k, v), [[3]])
    np.testing.assert_array_equal(scaled_dot_product(q, k, v, mask=np.array([True, True, False])), [[1]])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("key_units", [None, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_the_layer_agree_with_complex_steps(causal, key_units, masked, layer_errors):
    layer = layers.attention(2, causal=causal, key_units=key_units)
    errors = layer_errors(layer, X, mask=LENGTHS if masked else None)
    assert errors["differences"] < 1e-8
    assert errors["complex step"] < 1e-14


def test_heads_are_blocks_side_by_side():
    layer = layers.attention(2, key_units=3)
    parameters = layer.initialize(np.random.default_rng(1), (5, 4))
    assert parameters["W_q"].shape == (6, 4)
    assert parameters["W_o"].shape == (4, 6)
    y, values = layer.forward(parameters, X)
    heads = []
    for block in (slice(0, 3), slice(3, 6)):
        q, k, v = (X @ parameters[f"W_{letter}"][block].T for letter in "qkv")
        heads.append(scaled_dot_product(q, k, v))
    np.testing.assert_allclose(y, np.concatenate(heads, axis=-1) @ parameters["W_o"].T, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(values["weights"].sum(axis=-1), np.ones((3, 2, 5)), rtol=1e-14)


def test_keys_that_are_not_there_are_not_looked_at():
    layer = layers.attention(2)
    parameters = layer.initialize(np.random.default_rng(1), (5, 4))
    y, values = layer.forward(parameters, X, mask=LENGTHS)
    alone = layer.forward(parameters, X[1:2, :2])[0]
    np.testing.assert_allclose(y[1, :2], alone[0], rtol=1e-13)
    assert not values["weights"][1, :, :, 2:].any()
    assert not values["weights"][2].any()
    assert not y[2].any()  # b_o is 0
    gradients = layer.backward(parameters, values, np.ones_like(y), mask=LENGTHS)
    assert not gradients[0][2].any()
    assert all(np.isfinite(gradient).all() for gradient in gradients[1].values())


def test_with_causal_attention_what_comes_later_does_not_matter():
    layer = layers.attention(2, causal=True)
    parameters = layer.initialize(np.random.default_rng(1), (5, 4))
    y, later = layer.forward(parameters, X)[0], X.copy()
    later[:, 3:] += 1
    changed = layer.forward(parameters, later)[0]
    np.testing.assert_array_equal(changed[:, :3], y[:, :3])
    assert (changed[:, 3:] != y[:, 3:]).any()


def test_without_a_bias_there_is_none():
    assert list(layers.attention(2, bias=False).initialize(GENERATOR, (5, 4))) == ["W_q", "W_k", "W_v", "W_o"]


@pytest.mark.parametrize("n", [1, 2, 5, 6])
@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_positions_are_sines_and_cosines_in_both_layouts(n, base):
    interleaved, halves = (
        layers.positional_encoding(base=base, layout=layout).forward({}, np.zeros((1, 7, n)))[0][0]
        for layout in ("interleaved", "halves")
    )
    for t, j in np.ndindex(7, n):
        angle = t / base ** (2 * (j // 2) / n)
        assert interleaved[t, j] == pytest.approx(np.cos(angle) if j % 2 else np.sin(angle), rel=1e-14)
    np.testing.assert_array_equal(halves, np.concatenate([interleaved[:, ::2], interleaved[:, 1::2]], axis=1))
    added = layers.positional_encoding(base=base).forward({}, np.ones((1, 7, n)))[0][0]
    np.testing.assert_array_equal(added, 1 + interleaved)


@pytest.mark.parametrize(("keywords", "message"), [
    ({"scale": 0.0}, r"^scale=0\.0 is not allowed: must be a finite number > 0$"),
    ({"causal": "yes"}, r"^causal='yes' is not allowed: must be one of False, True$"),
])  # fmt: skip
def test_what_attention_cannot_be_is_refused(keywords, message):
    with pytest.raises(ValueError, match=message):
        scaled_dot_product(Q, K, V, **keywords)
