"""What one array is of another: each known arrangement is named, and what is none is not."""

import numpy as np
import pytest

from conformance.exchange.arrangements import Numbers, gates_named, relation

GENERATOR = np.random.default_rng(0)
MATRIX = GENERATOR.normal(size=(6, 12)).astype(np.float32)
WIDE = GENERATOR.normal(size=(6, 12))
KERNEL = GENERATOR.normal(size=(3, 3, 2, 4)).astype(np.float32)


def flattened_channels_first(w, places, channels):
    return w.reshape(places, channels, -1).transpose(1, 0, 2).reshape(w.shape)


@pytest.mark.parametrize(
    ("a", "b", "kind", "words"),
    [
        (MATRIX, MATRIX.copy(), "same", "equal"),
        (MATRIX, MATRIX.T, "rearranged", "transposed"),
        (MATRIX, MATRIX.astype(np.float16), "rounded", "rounded to float16"),
        (WIDE, WIDE.astype(np.float32), "same", "equal in float32"),
        (MATRIX, 3 * MATRIX, "scaled", "multiplied by 3"),
        (MATRIX, -MATRIX, "scaled", "negated"),
        (MATRIX, MATRIX[[2, 0, 1, 5, 4, 3]], "permuted", "permuted: its rows are those numbered 2, 0, 1, 5, 4, 3"),
        (KERNEL, KERNEL.transpose(3, 2, 0, 1), "rearranged", "HWIO as in Keras, Flax, to OIHW as in PyTorch"),
        (KERNEL, KERNEL[::-1, ::-1].transpose(3, 2, 0, 1), "rearranged", "as a convolution of a cross-correlation"),
        (MATRIX, np.concatenate(np.split(MATRIX, 3, 1)[::-1], 1), "rearranged", "its 3 gates in the order 2, 1, 0"),
        (MATRIX, flattened_channels_first(MATRIX, 3, 2).T, "rearranged", "3 places x 2 channels"),
        (MATRIX, MATRIX + 1, "different", "differs"),
        (MATRIX, MATRIX * np.float32(1 + 1e-5), "near", "near"),
    ],
)  # fmt: skip
def test_an_arrangement_is_named(a, b, kind, words):
    found = relation(Numbers(a), Numbers(b))
    assert found.kind == kind
    assert words in found.words


@pytest.mark.parametrize(
    ("order", "words"),
    [((1, 0, 2), "z, r, n as in Keras, ONNX to r, z, n"), ((0, 3, 1, 2), "to i, o, f, c as in ONNX"), ((2, 0, 1), "")],
)
def test_an_order_of_gates_is_named_after_the_frameworks_it_lies_between(order, words):
    assert words in gates_named(order)
    assert bool(gates_named(order)) == bool(words)


def test_what_is_not_finite_is_nothing_of_another():
    assert relation(Numbers(np.array([1.0, np.nan])), Numbers(np.array([1.0, np.nan]))).kind == "different"
