"""Arrays that are several of the other file's: cut, stacked, added, in turn; and what cannot be told is said."""

import time

import numpy as np
import pytest

from conformance.exchange import packing
from conformance.exchange.weights import diff

D, U = 5, 4
GENERATOR = np.random.default_rng(0)


def drawn(*shape):
    return GENERATOR.normal(size=shape).astype(np.float32)


def bfloat16(value):
    """Cut off after 16 bits."""
    return (value.view(np.uint32) & 0xFFFF0000).view(np.float32)


IH, HH, BIAS_IH, BIAS_HH = drawn(4 * U, D), drawn(4 * U, U), drawn(4 * U), drawn(4 * U)
TORCH = {"weight_ih": IH, "weight_hh": HH, "bias_ih": BIAS_IH, "bias_hh": BIAS_HH}
Q, K, V = drawn(8, 8), drawn(8, 8), drawn(8, 8)
PARTS = {"q": Q, "k": K, "v": V}


def gates(value, order=(0, 1, 2, 3)):
    return [np.split(value, 4)[place] for place in order]


def turned(value, order):
    return np.concatenate(gates(value, order))


ONE_KERNEL = {
    "kernel": np.concatenate([turned(IH, (0, 2, 1, 3)).T, turned(HH, (0, 2, 1, 3)).T]),
    "bias": turned(BIAS_IH + BIAS_HH, (0, 2, 1, 3)),
}
A_MATRIX_A_GATE = {
    name: np.concatenate([h, i], 1) for name, h, i in zip(("Wi", "Wf", "Wc", "Wo"), gates(HH), gates(IH), strict=True)
} | {name: b[:, None] for name, b in zip(("bi", "bf", "bc", "bo"), gates(BIAS_IH + BIAS_HH), strict=True)}
ONNX = (0, 3, 1, 2)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (ONE_KERNEL, TORCH, ["it is the two behind one another along axis 0: transposed, its 4 gates in the order 0, 2",
                             "it is the sum of the two: its 4 gates in the order 0, 2, 1, 3"]),
        (A_MATRIX_A_GATE, TORCH, ["it is the two behind one another along axis 1: equal"] * 4
                                 + ["the 4 behind one another along axis 0, as the sum of the two: 4 x 1 as 4"]),
        ({"W": np.stack([turned(IH, ONNX), turned(HH[:, [0, 1, 2, 3, 3]], ONNX)])},
         {"forward": IH, "backward": HH[:, [0, 1, 2, 3, 3]]}, ["it is the stack of the two: its 4 gates in the order"]),
        (PARTS, {"packed": np.concatenate([Q, K, V]).T}, ["the 3 behind one another along axis 1: transposed"]),
        (PARTS, {"packed": np.stack([w.reshape(2, 4, 8) for w in (Q, K, V)], 1).reshape(24, 8)},
         ["the 3 in turn along axis 0, 2 times 4 of each: equal"]),
        ({"packed": bfloat16(np.concatenate([Q, K, V]))}, {name: bfloat16(w).T for name, w in PARTS.items()},
         ["it is the 3 behind one another along axis 0: transposed"]),
        ({"gates": np.concatenate([Q.T, K.T], 1), "candidate": V.T}, {"ih": np.concatenate([Q, K, V])[:, :3],
         "hh": np.concatenate([Q, K, V])[:, 3:]}, ["it is the two behind one another along axis 0: transposed"] * 3),
    ],
)  # fmt: skip
def test_what_is_packed_is_told_and_back_again(a, b, words):
    there, back = diff(a, b), diff(b, a)
    assert [row.kind for row in there.rows] == ["split"] * len(words)
    for row, told in zip(there.rows, words, strict=True):
        assert told in row.relation
    assert there.same_but_rearranged
    assert back.same_but_rearranged
    assert not there.same


def test_one_changed_number_in_a_packed_array_is_told():
    packed = np.concatenate([Q, K, V])
    packed[3, 5] += 0.5
    found = diff({"packed": packed}, PARTS)
    assert not found.same_but_rearranged
    assert {row.kind for row in found.rows} == {"missing"}


def test_blocks_are_told_by_their_places_and_only_if_all_of_an_array_are_explained():
    """A GRU's biases where one framework adds those of two gates: each block has its own row."""
    first, second = drawn(9), drawn(9)
    sums = {"ir": first[:3] + second[:3], "iz": first[3:6] + second[3:6], "in": first[6:], "hn": second[6:]}
    found = diff({"b_ih": first, "b_hh": second}, sums)
    assert {(row.a, row.b) for row in found.rows} == {
        ("b_ih[6:9]", "in"), ("b_ih[0:3] + b_hh[0:3]", "ir"), ("b_ih[3:6] + b_hh[3:6]", "iz"), ("b_hh[6:9]", "hn"),
    }  # fmt: skip
    assert found.same_but_rearranged
    without = diff({"b_ih": first, "b_hh": second}, {name: value for name, value in sums.items() if name != "iz"})
    assert {row.kind for row in without.rows} == {"missing"}


def test_weights_that_are_tied_in_the_one_and_stored_twice_in_the_other_are_told():
    found = diff({"embedding": Q, "head": Q}, {"wte": Q.T})
    assert sorted((row.b, row.kind) for row in found.rows) == [("wte", "rearranged"), ("wte", "repeated")]
    assert found.rows[0].relation.startswith("transposed")
    assert found.same_but_rearranged


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"w": np.zeros((4, 6)), "b": np.zeros(6)}, {"v": np.zeros((6, 4)), "c": np.zeros((2, 3))}),
        ({"w": np.ones(6)}, {"v": np.ones((2, 3))}),
        ({"in_proj_bias": np.zeros(24)}, {name: np.zeros((2, 4)) for name in "qkv"}),
        ({"w": np.array([2.0])}, {"v": np.array([[2.0]])}),
    ],
)
def test_of_one_number_throughout_no_arrangement_is_claimed(a, b):
    found = diff(a, b)
    assert {row.kind for row in found.rows} == {"untold"}
    assert found.verdict.startswith("cannot be told")
    assert not found.same_but_rearranged


def test_of_equal_arrays_it_is_said_that_names_alone_tell_them():
    found = diff({"one": np.zeros(3), "two": np.zeros(3)}, {"one": np.zeros(3), "two": np.zeros(3)})
    assert found.same
    assert found.rows[0].relation == "equal, as is 1 more: which is which only their names tell"


def test_an_order_of_gates_that_repeated_numbers_do_not_tell_is_not_claimed():
    bias = np.repeat([0.0, 1.0, 0.0, 0.0], U)  # an LSTM's as Keras draws it
    (row,) = diff({"bias": bias}, {"bias": turned(bias, ONNX)}).rows
    assert "its numbers repeat, so that it cannot be told" in row.relation


@pytest.mark.parametrize(("a", "b"), [(2.0, 4.0), (1.0, -1.0), (0.0, 3.0)])
def test_a_single_number_is_no_multiple_of_another(a, b):
    assert diff({"a": np.array([a])}, {"b": np.array([b])}).rows[0].kind == "different"


def test_a_nan_is_the_same_as_nothing_and_infinite_numbers_in_their_places_are():
    spoilt, mask = Q.copy(), np.where(np.tri(8) > 0, 0.0, -np.inf)
    spoilt[2, 3] = np.nan
    (row,) = diff({"w": spoilt}, {"w": spoilt.copy()}).rows
    assert (row.kind, row.relation) == (
        "different", "differs: 1 of A's numbers and 1 of B's are NaN, in the same places, and the others are equal",
    )  # fmt: skip
    assert diff({"mask": mask}, {"mask": mask.copy()}).same


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_unrelated_arrays_of_one_distribution_are_nothing_of_each_other(dtype):
    a, b = (np.random.default_rng(seed).uniform(-1, 1, (200, 200)).astype(dtype) for seed in (1, 2))
    assert diff({"w": a}, {"w": b}).rows[0].kind == "different"


def test_storage_as_whole_numbers_is_told_with_its_factor():
    stored = np.rint(Q / np.abs(Q).max() * 127).astype(np.int8)
    there, back = diff({"w": Q}, {"w": stored.T}).rows[0], diff({"w": stored.T}, {"w": Q}).rows[0]
    assert there.kind == back.kind == "scaled"
    assert there.relation.startswith("transposed, then multiplied by")
    assert there.relation.endswith("then rounded to whole numbers")
    assert back.relation.endswith("before it was rounded to whole numbers")


@pytest.mark.parametrize(("narrow", "name"), [(bfloat16, ""), (lambda w: w.astype(np.float16), "float16")])
def test_an_array_that_is_transposed_and_rounded_is_told_both(narrow, name):
    (row,) = diff({"w": Q}, {"w": narrow(Q).T}).rows
    if name:
        assert row.relation == f"transposed, then rounded to {name}"
    else:  # cut off and not rounded: no rounding is claimed
        assert row.kind == "different"


def test_a_counter_or_a_seed_that_one_alone_has_is_no_difference_but_is_shown():
    found = diff({"w": Q, "batches": np.array(7)}, {"w": Q.T})
    assert found.rows[1].kind == "aside"
    assert found.same_but_rearranged
    assert not found.same


@pytest.mark.parametrize(
    ("bound", "words"), [("MOST_NUMBERS", "packed arrays are not looked for"), ("MOST_LEFT", "sums and blocks are not")]
)
def test_what_was_not_looked_for_is_said(monkeypatch, bound, words):
    monkeypatch.setattr(packing, bound, 1)
    found = diff({"b": BIAS_IH + BIAS_HH, "c": Q[0]}, {"b_ih": BIAS_IH, "b_hh": BIAS_HH, "d": K[:3]})
    missing = [row.relation for row in found.rows if row.kind == "missing"]
    assert missing
    assert all(words in each for each in missing)


@pytest.mark.parametrize("how", ["transposed", "packed", "unrelated", "zeros"])
@pytest.mark.parametrize(
    ("number", "seconds"), [(30, 2), pytest.param(333, 20, marks=pytest.mark.slow)], ids=["90 arrays", "999 arrays"]
)
def test_cost_does_not_grow_with_the_square_of_the_number_of_arrays(how, number, seconds):
    a = {f"{name}{place}": drawn(16, 16) for place in range(number) for name in "qkv"}
    b = {
        "transposed": lambda: {name: w.T for name, w in a.items()},
        "packed": lambda: {f"{n}": np.concatenate([a[f"{name}{n}"] for name in "qkv"]) for n in range(number)},
        "unrelated": lambda: {name: drawn(16, 15) for name in a},
        "zeros": lambda: {name: np.zeros(w.shape) for name, w in a.items()},
    }[how]()
    started = time.process_time()
    found = diff(a, b)
    assert time.process_time() - started < seconds
    assert found.same_but_rearranged == (how in ("transposed", "packed"))
