"""What one array is of another: each known arrangement is named, and what is none is not."""

import numpy as np
import pytest

from conformance.exchange.arrangements import gates_named, relation
from conformance.exchange.fingerprints import Numbers

GENERATOR = np.random.default_rng(0)
MATRIX = GENERATOR.normal(size=(6, 12)).astype(np.float32)
WIDE = GENERATOR.normal(size=(6, 12))
HEADS = GENERATOR.normal(size=(5, 2, 4)).astype(np.float32)
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
        (HEADS, HEADS.reshape(5, 8).T, "rearranged", "5 x 2 x 4 as 5 x 8, transposed, of axes made one"),
        (HEADS.reshape(5, 8).T, HEADS, "rearranged", "5 x 2 x 4 as 5 x 8, transposed, its axes taken apart"),
        (HEADS, HEADS.transpose(1, 0, 2).reshape(10, 4), "rearranged", "axes in the order 1, 0, 2, then 2 x 5 x 4 as"),
        (HEADS, HEADS.reshape(-1)[::-1].reshape(10, 4), "permuted", "the same numbers in an order that has no name"),
        (KERNEL, KERNEL.transpose(3, 0, 1, 2), "rearranged", "HWIO as in Keras, Flax, to OHWI as in TFLite, the"),
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


def layers_of_pytorch_and_keras():
    """Layers of both with the same numbers: in PyTorch's place, in Keras's, and what is said of it."""
    torch, keras = pytest.importorskip("torch"), pytest.importorskip("keras")
    x = np.zeros((2, 7, 4), np.float32)
    lstm, gru = keras.layers.LSTM(3, bias_initializer="glorot_uniform"), keras.layers.GRU(3)
    attention, conv = keras.layers.MultiHeadAttention(2, 3), keras.layers.Conv1D(5, 3)
    for layer in (lstm, gru, conv):
        layer(x)
    attention(x, x)
    kernel, recurrent, _ = (w.numpy() for w in lstm.weights)
    own = torch.nn.LSTM(4, 3)
    own.weight_ih_l0.data = torch.tensor(kernel.T)
    own.weight_hh_l0.data = torch.tensor(recurrent.T)
    yield own.weight_ih_l0, kernel, "transposed"
    yield own.weight_hh_l0, recurrent, "transposed"
    z, r, n = np.split(gru.weights[0].numpy().T, 3)
    cell = torch.nn.GRU(4, 3)
    cell.weight_ih_l0.data = torch.tensor(np.concatenate([r, z, n]))
    yield cell.weight_ih_l0, gru.weights[0].numpy(), "transposed, its 3 gates in the order 1, 0, 2 (z, r, n as in Keras"
    packed = torch.nn.MultiheadAttention(6, 2).in_proj_weight
    packed.data[:6, :4] = torch.tensor(attention.query_dense.kernel.numpy().reshape(4, 6).T)
    yield packed[:6, :4], attention.query_dense.kernel.numpy(), "4 x 2 x 3 as 4 x 6, transposed, its axes taken apart"
    convolution = torch.nn.Conv1d(4, 5, 3)
    convolution.weight.data = torch.tensor(conv.kernel.numpy().transpose(2, 1, 0))
    yield convolution.weight, conv.kernel.numpy(), "WIO as in Keras, Flax, to OIW as in PyTorch, or back"


@pytest.mark.slow
def test_the_arrays_of_real_layers_are_named():
    for ours, theirs, words in layers_of_pytorch_and_keras():
        found = relation(Numbers(ours.detach().numpy()), Numbers(theirs))
        assert found.kind == "rearranged"
        assert words in found.words
