"""A model's own parameters get the recipe's names, or it is said what cannot be told and how to say it."""

import numpy as np
import pytest

from conformance.wrappers.matching import CannotMatch, match

MLP = {"W1": (8, 4), "b1": (8,), "W2": (3, 8), "b2": (3,)}
NORMALIZED = {"W1": (8, 4), "gamma1": (8,), "beta1": (8,), "W2": (3, 8), "b2": (3,)}
AVERAGES = {"running_mean1": (8,), "running_variance1": (8,)}


def paths(matching):
    return {m.name: m.path + (".T" if m.transposed else "") for m in matching.matches}


def test_layers_in_their_order():
    own = {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}
    assert paths(match(MLP, own)) == {"W1": "0.weight", "b1": "0.bias", "W2": "2.weight", "b2": "2.bias"}


def test_layers_in_another_order_are_told_by_their_shapes():
    own = {"head.bias": (3,), "head.kernel": (8, 3), "body.bias": (8,), "body.kernel": (4, 8)}
    found = paths(match(MLP, own, inputs_first=True))
    assert found == {"W1": "body.kernel.T", "b1": "body.bias", "W2": "head.kernel.T", "b2": "head.bias"}


def test_where_shapes_are_alike_their_order_tells():
    own = {"out.weight": (1, 4), "hidden.0.weight": (4, 4), "hidden.1.weight": (4, 4)}
    found = paths(match({"W1": (4, 4), "W2": (4, 4), "W3": (1, 4)}, own))
    assert found == {"W1": "hidden.0.weight", "W2": "hidden.1.weight", "W3": "out.weight"}


def test_a_flat_dict_of_leaves():
    own = {"w1": (8, 4), "b1": (8,), "w2": (3, 8), "b2": (3,)}
    assert paths(match(MLP, own)) == {"W1": "w1", "b1": "b1", "W2": "w2", "b2": "b2"}


def test_the_recipe_s_own_names_come_before_any_order():
    wanted = {"W1": (4, 4), "b1": (4,), "W2": (4, 4), "b2": (4,)}
    assert paths(match(wanted, dict(reversed(wanted.items())))) == {name: name for name in wanted}


def test_normalisations_and_their_averages_and_a_bias_that_batch_norm_takes_away():
    own = {
        "bn.bias": (8,), "bn.scale": (8,), "dense_0.bias": (8,), "dense_0.kernel": (4, 8), "dense_1.bias": (3,),
        "dense_1.kernel": (8, 3), "bn.mean": (8,), "bn.var": (8,),
    }  # fmt: skip
    found = match(NORMALIZED | AVERAGES, own, inputs_first=True)
    assert paths(found) == {
        "W1": "dense_0.kernel.T", "gamma1": "bn.scale", "beta1": "bn.bias", "W2": "dense_1.kernel.T",
        "b2": "dense_1.bias", "running_mean1": "bn.mean", "running_variance1": "bn.var",
    }  # fmt: skip
    assert found.left_out == ("dense_0.bias",)
    assert "dense_0.bias" in str(found)
    assert "held at 0" in str(found)


@pytest.mark.parametrize("inputs_first", [False, True])
def test_a_square_weight_is_as_the_framework_has_it(inputs_first):
    wanted, own = {"W1": (4, 4)}, {"0.weight": (4, 4)}
    found = match(wanted, own, inputs_first=inputs_first)
    w = np.arange(16.0).reshape(4, 4)
    np.testing.assert_array_equal(found.to_own({"W1": w})["0.weight"], w.T if inputs_first else w)
    np.testing.assert_array_equal(found.to_recipe({"0.weight": w})["W1"], w.T if inputs_first else w)


def test_what_is_said_comes_first_also_of_a_transposed_one_and_of_a_row():
    wanted = {"W1": (4, 4), "b1": (4,), "W2": (4, 4), "b2": (4,)}
    own = {"b": (1, 4), "a": (4, 4), "d": (4,), "c": (4, 4)}
    found = match(wanted, own, {"W2": "a.T", "W1": "c", "b2": "b", "b1": "d"})
    assert paths(found) == {"W1": "c", "b1": "d", "W2": "a.T", "b2": "b"}
    assert found.to_own({"b2": np.ones(4)})["b"].shape == (1, 4)


@pytest.mark.parametrize(
    ("wanted", "own", "names", "told"),
    [
        (MLP, {"0.weight": (8, 4)}, {}, "W2 (3, 8) cannot be told: none of the model's is like it"),
        (MLP, {"0.weight": (8, 4), "2.weight": (3, 8), "2.bias": (3,)}, {}, "b1 (8,) cannot be told"),
        ({"W1": (4, 4)}, {"a": (4, 4), "b": (4, 4)}, {}, "it may be 'a' or 'b'"),
        (MLP, {"0.weight": (8, 4), "0.bias": (8,), "1.weight": (3, 8), "1.bias": (3,), "extra": (8,)}, {}, "extra"),
        ({"W1": (4, 3)}, {"a": (4, 3)}, {"w1": "a"}, "names: 'w1' is not allowed: must be one of 'W1'"),
        ({"W1": (4, 3)}, {"first.weight": (4, 3)}, {"W1": "first.wight"}, "did you mean 'first.weight'?"),
        ({"W1": (4, 3)}, {"a": (3, 5)}, {"W1": "a"}, "names['W1']='a' has shape (3, 5): must be (4, 3)"),
    ],
)
def test_what_cannot_be_told_is_said_with_what_to_do(wanted, own, names, told):
    with pytest.raises(CannotMatch) as error:
        match(wanted, own, names)
    assert told in str(error.value)


def test_a_refusal_shows_both_sides_and_an_example():
    with pytest.raises(CannotMatch, match=r"The recipe has W1 \(4, 4\); the model has a \(4, 4\), b \(4, 4\)") as error:
        match({"W1": (4, 4)}, {"a": (4, 4), "b": (4, 4)})
    assert "names={'W1': 'a'}" in str(error.value)
