"""Which array is which parameter: what it may be made of, and where its gradients go."""

import numpy as np
import pytest

from conformance.identification.layer_arrays import (
    ONE,
    ZERO,
    Held,
    Needed,
    assignments,
    in_usual_order,
    rearranged,
    unpacked,
    unstacked,
)


def ids(*shape):
    return np.arange(np.prod(shape)).reshape(shape)


def only(needed, held, pieces=None, optional=None):
    (found,) = assignments(needed, pieces or held.pieces(held.trained), optional or {})
    return found


@pytest.mark.parametrize(
    ("shape", "wanted", "words", "expected"),
    [
        ((3, 4), (3, 4), "", lambda a: a),
        ((3, 4), (4, 3), ", transposed", lambda a: a.T),
        ((3, 2, 5, 7), (7, 3, 2, 5), "HWIO as in Keras, Flax, to OHWI", lambda a: np.moveaxis(a, -1, 0)),
        ((7, 5, 3, 2), (7, 3, 2, 5), "OIHW as in PyTorch, to OHWI", lambda a: np.moveaxis(a, 1, -1)),
        ((5, 2, 4), (8, 5), ", as (5, 8), transposed", lambda a: a.reshape(5, 8).T),
        ((2, 4), (8,), ", as (8)", lambda a: a.ravel()),
    ],
)
def test_an_array_is_had_in_a_parameters_shape(shape, wanted, words, expected):
    said, found, _ = next(rearranged(ids(*shape), wanted))
    assert words in said
    np.testing.assert_array_equal(found, expected(ids(*shape)))


def test_what_has_other_numbers_of_numbers_is_none():
    assert list(rearranged(ids(3, 4), (3, 5))) == []
    assert list(rearranged(ids(12), (3, 4))) == []


def test_gradients_go_where_the_values_come_from():
    held = Held({"kernel": (2, 3), "bias": (3,)}, ["kernel", "bias"])
    found = only([Needed("W", (3, 2)), Needed("b", (3,))], held)
    gradients = {"W": np.arange(6.0).reshape(3, 2), "b": np.array([7.0, 8.0, 9.0])}
    np.testing.assert_array_equal(held.gathered(gradients, found), [0, 2, 4, 1, 3, 5, 7, 8, 9])


def test_biases_belong_to_their_weights_by_name():
    held = Held({n: s for p in "kqv" for n, s in ((f"{p}.weight", (4, 4)), (f"{p}.bias", (4,)))}, [
        f"{p}.{n}" for p in "kqv" for n in ("weight", "bias")
    ])  # fmt: skip
    needed = [Needed(f"{kind}_{letter}", (4, 4) if kind == "W" else (4,)) for letter in "qkv" for kind in "Wb"]
    found = list(assignments(needed, held.pieces(held.trained), {}))
    assert len(found) == 12  # every order of three, with all matrices as they lie or all turned
    assert all(one["W_q"].used[0][0] == one["b_q"].used[0][0] for one in found)


def test_one_projection_is_taken_apart_and_two_biases_in_one_array_too():
    held = Held({"qkv": (12, 4), "bias": (2, 9)}, ["qkv", "bias"])
    _, packed = unpacked(held.pieces(["qkv"]), 3, 12)
    assert [piece.words for piece in packed] == ["qkv[0]", "qkv[1]", "qkv[2]"]
    np.testing.assert_array_equal(packed[1].ids, np.arange(16, 32).reshape(4, 4))
    _, stacked = unstacked(held.pieces(["bias"]), 2)
    assert [piece.ids.shape for piece in stacked] == [(9,), (9,)]


def test_gates_in_arrays_of_their_own_are_put_in_the_usual_order():
    held = Held({f"i{gate}": (5, 2) for gate in "fgio"}, [f"i{gate}" for gate in "fgio"])
    found = only([Needed("W", (8, 5), 4)], held)
    usual = in_usual_order(found, "fgio", "ifgo")["W"]
    assert usual.words == "ii, if, ig, io on each other, transposed"
    np.testing.assert_array_equal(usual.ids[:2], held.pieces(["ii"])[0].ids.T)


def test_what_is_not_there_is_a_constant_and_one_block_may_be_there_alone():
    held = Held({"scale": (3,)}, ["scale"])
    found = list(
        assignments([Needed("gamma", (3,)), Needed("beta", (3,))], held.pieces(["scale"]), {"gamma": ONE, "beta": ZERO})
    )
    assert [(one["gamma"].words, one["beta"].words) for one in found] == [("scale", "0"), ("1", "scale")]
    flat = held.flat({"scale": np.array([2.0, 3.0, 4.0])})
    np.testing.assert_array_equal(flat[found[0]["beta"].ids], [0, 0, 0])
    np.testing.assert_array_equal(flat[found[1]["gamma"].ids], [1, 1, 1])
    alone = only([Needed("b_h", (9,), 3, alone=2)], held)
    np.testing.assert_array_equal(flat[alone["b_h"].ids], [0] * 6 + [2, 3, 4])


def test_nothing_is_left_over():
    held = Held({"W": (2, 3), "spare": (4,)}, ["W", "spare"])
    assert list(assignments([Needed("W", (2, 3))], held.pieces(held.trained), {})) == []
