"""Recurrent layers step by step: directions, masks, orders of the gates."""

import jax
import numpy as np
import pytest

from impl_jax import layers

from .test_layers import random_parameters

MAKERS = {
    "simple_rnn": lambda **k: layers.simple_rnn(3, **k),
    "lstm": lambda **k: layers.lstm(3, **k),
    "gru": lambda **k: layers.gru(3, **k),
}
X = np.random.default_rng(0).standard_normal((2, 4, 2))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_outputs_of_the_reverse_direction_stand_at_the_places_of_their_inputs(double_precision, make):
    forward, reverse = make(return_sequences=True), make(return_sequences=True, reverse=True)
    parameters = random_parameters(forward, (4, 2))
    expected = np.asarray(jax.jit(forward.apply)(parameters, X[:, ::-1]))[:, ::-1]
    np.testing.assert_allclose(jax.jit(reverse.apply)(parameters, X), expected, rtol=1e-14)
    np.testing.assert_allclose(jax.jit(make(reverse=True).apply)(parameters, X), expected[:, 0], rtol=1e-14)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_step_that_is_not_there_keeps_the_state_and_has_no_gradient(double_precision, make, reverse):
    layer = make(return_sequences=True, reverse=reverse)
    parameters = random_parameters(layer, (4, 2))
    mask = np.array([[True, True, False, True], [False, True, True, False]])
    shorter = jax.jit(layer.apply)(parameters, X[:1, [0, 1, 3]])[0]
    y, pull = jax.vjp(jax.jit(lambda x: layer.apply(parameters, x, mask=mask)), X)
    np.testing.assert_allclose(y[0, [0, 1, 3]], shorter, rtol=1e-14)
    np.testing.assert_array_equal(y[0, 2], y[0, 3 if reverse else 1])
    np.testing.assert_array_equal(y[1, 3 if reverse else 0], np.zeros(3))
    (dx,) = pull(np.ones(y.shape))
    y, dx = np.asarray(y), np.asarray(dx)
    np.testing.assert_array_equal(dx[~mask], 0)
    assert np.all(dx[mask] != 0)


def test_the_order_of_the_gates_is_that_of_the_blocks(double_precision):
    for make, letters, other in ((layers.lstm, "ifgo", "gofi"), (layers.gru, "rzn", "nrz")):
        parameters = random_parameters(make(3, biases=2), (4, 2))

        def in_order(array, letters=letters, other=other):
            blocks = dict(zip(letters, np.split(array, len(letters)), strict=True))
            return np.concatenate([blocks[letter] for letter in other])

        moved = {name: in_order(array) for name, array in parameters.items()}
        expected = jax.jit(make(3, biases=2).apply)(parameters, X)
        np.testing.assert_allclose(jax.jit(make(3, gates=other, biases=2).apply)(moved, X), expected, rtol=1e-14)


def test_two_biases_are_their_sum_but_where_the_reset_gate_is_between(double_precision):
    """Of GRUs that reset after the product, the candidate's second bias is multiplied by the gate."""
    makers = [(layers.simple_rnn, {}, True), (layers.lstm, {}, True), (layers.gru, {"reset": "before"}, True),
              (layers.gru, {"reset": "after"}, False)]  # fmt: skip
    for make, options, expected in makers:
        parameters = random_parameters(make(3, biases=2, **options), (4, 2))
        joined = {name: parameters[name] for name in "WU"} | {"b": parameters["b"] + parameters["b_h"]}
        one = jax.jit(make(3, **options).apply)(joined, X)
        two = jax.jit(make(3, biases=2, **options).apply)(parameters, X)
        assert np.allclose(one, two, rtol=1e-13) == expected


def test_the_forget_bias_is_where_its_block_starts():
    layer = layers.lstm(2, gates="gfio", biases=2, forget_bias=1.0)
    made = jax.jit(lambda key: layer.initialize(key, (4, 3)))(jax.random.key(0))
    np.testing.assert_array_equal(made["b"], [0, 0, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(made["b_h"], np.zeros(8))
    assert {name: array.shape for name, array in made.items()} == {"W": (8, 3), "U": (8, 2), "b": (8,), "b_h": (8,)}
    u = np.asarray(made["U"])
    np.testing.assert_allclose(u.T @ u, np.eye(2), atol=1e-6)  # orthogonal as a whole
    assert set(random_parameters(layers.lstm(2, biases=0, forget_bias=1.0), (4, 3))) == {"W", "U"}


def test_an_lstm_that_forgets_nothing_sums_what_comes_in(double_precision):
    always = 40.0  # the sigmoid of it is 1
    parameters = {
        "W": np.array([[0.0], [0], [1], [0]]),
        "U": np.zeros((4, 1)),
        "b": np.array([always, always, 0, always]),
    }
    _, values = jax.jit(layers.lstm(1).forward)(parameters, X[:, :, :1])
    np.testing.assert_allclose(values["c"][:, :, 0], np.tanh(X[:, :, 0]).cumsum(axis=1), rtol=1e-14)


def test_the_directions_have_parameters_and_states_of_their_own(double_precision):
    layer = layers.bidirectional(layers.gru(3))
    parameters = random_parameters(layer, (4, 2))
    assert set(parameters) == {f"{way}.{name}" for way in ("forward", "backward") for name in ("W", "U", "b")}
    y, values = jax.jit(layer.forward)(parameters, X)
    np.testing.assert_array_equal(y, np.concatenate([values["forward.h"][:, -1], values["backward.h"][:, 0]], axis=1))
