"""Recurrent layers, held to their formulas written for one example; orders, directions, and steps not there."""

import itertools

import numpy as np
import pytest

from reference_numpy import layers

N, FEATURES, STEPS = 2, 3, 4
X = np.random.default_rng(0).standard_normal((3, STEPS, FEATURES))
MASKS = {
    "at the end": np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool),
    "at the start": np.array([[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]], bool),
    "in between, and none at all": np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool),
}
FORMULATIONS = [
    *((layers.simple_rnn, {"activation": name, "biases": b}) for name in ("tanh", "relu") for b in (0, 1, 2)),
    *((layers.lstm, {"gates": gates, "biases": b}) for gates in ("ifgo", "ogfi") for b in (0, 1, 2)),
    *((layers.gru, {"gates": gates, "reset": reset, "biases": b})
      for gates in ("rzn", "nzr") for reset in ("after", "before") for b in (0, 1, 2)),
]  # fmt: skip
everywhere = pytest.mark.parametrize(
    ("maker", "keywords"), FORMULATIONS, ids=lambda value: getattr(value, "__name__", str(value))
)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def parameters_of(layer, seed=1):
    generator = np.random.default_rng(seed)
    initial = layer.initialize(generator, (STEPS, FEATURES))
    return {name: w + 0.3 * generator.standard_normal(w.shape) for name, w in initial.items()}


def blocks(parameters, letters):
    """``{"W": {"i": (n, n_in), ...}, ...}``, biases that are not there as zeros."""
    rows = len(letters) * N
    full = {"b": np.zeros(rows), "b_h": np.zeros(rows)} | parameters
    return {name: {x: w[k * N : (k + 1) * N] for k, x in enumerate(letters)} for name, w in full.items()}


def by_hand(maker, keywords, parameters, x):
    """The states of one example, ``(t, n)``, written anew."""
    h, c, states = np.zeros(N), np.zeros(N), []
    p = blocks(parameters, keywords.get("gates", "h"))
    for step in x:
        z = {letter: w @ step + p["b"][letter] for letter, w in p["W"].items()}
        u = {letter: w @ h + p["b_h"][letter] for letter, w in p["U"].items()}
        if maker is layers.simple_rnn:
            h = np.tanh(z["h"] + u["h"]) if keywords["activation"] == "tanh" else np.maximum(z["h"] + u["h"], 0)
        elif maker is layers.lstm:
            c = sigmoid(z["f"] + u["f"]) * c + sigmoid(z["i"] + u["i"]) * np.tanh(z["g"] + u["g"])
            h = sigmoid(z["o"] + u["o"]) * np.tanh(c)
        else:
            r, update = sigmoid(z["r"] + u["r"]), sigmoid(z["z"] + u["z"])
            before = p["U"]["n"] @ (r * h) + p["b_h"]["n"]
            new = np.tanh(z["n"] + (r * u["n"] if keywords["reset"] == "after" else before))
            h = (1 - update) * new + update * h
        states.append(h)
    return np.array(states)


@everywhere
def test_the_states_are_those_of_the_formulas(maker, keywords):
    layer = maker(N, return_sequences=True, **keywords)
    parameters = parameters_of(layer)
    assert list(parameters) == ["W", "U", "b", "b_h"][: 2 + keywords["biases"]]
    y, values = layer.forward(parameters, X)
    expected = np.array([by_hand(maker, keywords, parameters, x) for x in X])
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(values["h"], y)
    last, values = maker(N, **keywords).forward(parameters, X)
    np.testing.assert_array_equal(last, y[:, -1])
    np.testing.assert_array_equal(values["h"], y)


@everywhere
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_gradients_agree_with_complex_steps(maker, keywords, reverse, return_sequences, layer_errors):
    layer = maker(N, reverse=reverse, return_sequences=return_sequences, **keywords)
    masks = MASKS.values() if keywords["biases"] == 2 else ()  # with all parameters there
    for mask in (None, *masks):
        errors = layer_errors(layer, X, mask=mask, parameters=parameters_of(layer), differences=False)
        assert errors["complex step"] < 1e-14


@everywhere
def test_the_other_direction_is_that_of_the_turned_sequence(maker, keywords):
    layer, turned = (maker(N, return_sequences=True, reverse=reverse, **keywords) for reverse in (False, True))
    parameters = parameters_of(layer)
    y = turned.forward(parameters, X)[0]
    np.testing.assert_array_equal(y, layer.forward(parameters, X[:, ::-1])[0][:, ::-1])
    last = maker(N, reverse=True, **keywords).forward(parameters, X)[0]
    np.testing.assert_array_equal(last, y[:, 0])


@everywhere
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_a_sequence_with_steps_not_there_is_the_sequence_without_them(maker, keywords, reverse, mask):
    layer, last = (maker(N, return_sequences=r, reverse=reverse, **keywords) for r in (True, False))
    parameters, mask = parameters_of(layer), MASKS[mask]
    y, final = layer.forward(parameters, X, mask=mask)[0], last.forward(parameters, X, mask=mask)[0]
    for x, there, found, end in zip(X, mask, y, final, strict=True):
        alone = layer.forward(parameters, x[None, there])[0][0] if there.any() else np.zeros((0, N))
        np.testing.assert_allclose(found[there], alone, rtol=1e-13, atol=1e-15)
        kept = np.zeros(N)
        for step in range(STEPS)[:: -1 if reverse else 1]:
            kept = found[step] if there[step] else kept
            np.testing.assert_array_equal(found[step], kept)
        np.testing.assert_array_equal(end, kept)


def test_a_step_that_is_not_there_has_no_gradient_and_changes_nothing():
    mask = MASKS["in between, and none at all"]
    layer = layers.lstm(N)
    parameters = parameters_of(layer)
    y, values = layer.forward(parameters, X, mask=mask)
    dx, gradients = layer.backward(parameters, values, np.ones_like(y), mask=mask)
    assert not dx[~mask].any()
    other = np.where(mask[..., None], X, 9.0)
    y_other, values = layer.forward(parameters, other, mask=mask)
    np.testing.assert_array_equal(y_other, y)
    for name, gradient in layer.backward(parameters, values, np.ones_like(y), mask=mask)[1].items():
        np.testing.assert_array_equal(gradient, gradients[name])


@pytest.mark.parametrize(("maker", "letters"), [(layers.lstm, "ifgo"), (layers.gru, "rzn")])
def test_the_order_of_the_gates_is_that_of_blocks_and_of_nothing_else(maker, letters):
    parameters = parameters_of(maker(N, biases=2))
    y = maker(N, biases=2).forward(parameters, X)[0]
    for gates in map("".join, itertools.permutations(letters)):
        of_letter = blocks(parameters, letters)
        moved = {name: np.concatenate([of[letter] for letter in gates]) for name, of in of_letter.items()}
        np.testing.assert_allclose(maker(N, gates=gates, biases=2).forward(moved, X)[0], y, rtol=1e-13)


def test_two_biases_are_one_but_for_the_candidate_of_a_gru_that_resets_after():
    for maker, keywords in FORMULATIONS:
        if keywords["biases"] == 2:
            layer, one = maker(N, **keywords), maker(N, **keywords | {"biases": 1})
            parameters = parameters_of(layer)
            summed = {"W": parameters["W"], "U": parameters["U"], "b": parameters["b"] + parameters["b_h"]}
            difference = np.abs(layer.forward(parameters, X)[0] - one.forward(summed, X)[0]).max()
            assert (difference > 1e-3) == (keywords.get("reset") == "after")


@pytest.mark.parametrize("join", ["concatenate", "sum"])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mask", [None, "in between, and none at all"])
def test_both_directions_are_the_layer_and_its_copy_the_other_way_round(
    join, return_sequences, reverse, mask, layer_errors
):
    keywords = {"return_sequences": return_sequences, "biases": 2}
    layer = layers.bidirectional(layers.gru(N, reverse=reverse, **keywords), join=join)
    parameters, mask = parameters_of(layer), MASKS.get(mask)
    names = ["W", "U", "b", "b_h"]
    assert list(parameters) == [f"{way}.{name}" for way in ("forward", "backward") for name in names]
    y, values = layer.forward(parameters, X, mask=mask)
    ways = []
    for way, turned in (("forward", reverse), ("backward", not reverse)):
        own = {name: parameters[f"{way}.{name}"] for name in names}
        ways.append(layers.gru(N, reverse=turned, **keywords).forward(own, X, mask=mask)[0])
        assert values[f"{way}.h"].shape == (3, STEPS, N)
    np.testing.assert_array_equal(y, np.concatenate(ways, axis=-1) if join == "concatenate" else ways[0] + ways[1])
    assert y.shape[1:] == layer.output_shape((STEPS, FEATURES))
    errors = layer_errors(layer, X, mask=mask, parameters=parameters)
    assert errors["differences"] < 1e-8
    assert errors["complex step"] < 1e-14
