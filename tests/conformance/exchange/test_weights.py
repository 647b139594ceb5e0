"""Weights against weights: tensors are matched by what they hold, and nothing is matched that does not."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from conformance.cli.app import app
from conformance.exchange.weights import diff


@pytest.fixture
def lstm():
    """An LSTM's weights as Keras has them and as PyTorch has them, with its two biases."""
    g = np.random.default_rng(1)
    kernel, recurrent, first, second = (g.normal(size=s).astype("float32") for s in ((5, 12), (3, 12), (12,), (12,)))
    keras = {"lstm/kernel": kernel, "lstm/recurrent_kernel": recurrent, "lstm/bias": first + second}
    return keras, {"weight_ih": kernel.T, "weight_hh": recurrent.T, "bias_ih": first, "bias_hh": second}


def test_two_biases_are_told_as_a_sum_in_both_directions(lstm):
    keras, torch = lstm
    there, back = diff(keras, torch), diff(torch, keras)
    assert there.rows[2][:4] == ("lstm/bias", "bias_ih + bias_hh", "split", "it is the sum of the two: equal")
    assert back.rows[2][:3] == ("bias_ih + bias_hh", "lstm/bias", "split")
    assert there.same_but_rearranged
    assert not there.same


def test_stacked_biases_with_their_gates_in_another_order_are_told(lstm):
    g = np.random.default_rng(2)
    bias = g.normal(size=(2, 9))
    turned = np.concatenate([bias[:, 3:6], bias[:, :3], bias[:, 6:]], 1)
    (row,) = diff({"bias": bias}, {"bias_ih": turned[0], "bias_hh": turned[1]}).rows
    assert row.kind == "split"
    assert "stack of the two: its 3 gates in the order 1, 0, 2" in row.relation


def test_names_decide_between_tensors_that_hold_the_same():
    zeros = np.zeros(3)
    found = diff({"one.bias": zeros, "two.bias": zeros}, {"two/bias": zeros, "one/bias": zeros})
    assert [(row.a, row.b) for row in found.rows] == [("one.bias", "one/bias"), ("two.bias", "two/bias")]
    assert found.same


def test_what_has_no_partner_is_put_beside_its_shape_or_stands_alone():
    g = np.random.default_rng(3)
    found = diff(
        {"W": g.normal(size=(2, 3)), "x": g.normal(size=4)}, {"W": g.normal(size=(2, 3)), "y": g.normal(size=7)}
    )
    assert [(row.a, row.b, row.kind) for row in found.rows] == [
        ("W", "W", "different"), ("x", "", "missing"), ("", "y", "missing"),
    ]  # fmt: skip
    assert found.verdict.startswith("different: 1 different, 2 missing")


def test_a_permuted_matrix_is_not_the_same_in_another_layout():
    w = np.random.default_rng(4).normal(size=(5, 4))
    found = diff({"w": w}, {"w": w[[1, 0, 2, 3, 4]]})
    assert found.rows[0].kind == "permuted"
    assert not found.same_but_rearranged


@pytest.fixture
def files(tmp_path, lstm):
    keras, torch = lstm
    np.savez(tmp_path / "keras.npz", **keras)
    save_file({name: np.ascontiguousarray(value) for name, value in torch.items()}, tmp_path / "torch.safetensors")
    return tmp_path


@pytest.mark.parametrize(("options", "status"), [([], 1), (["--rearranged"], 0)])
def test_the_command_says_what_is_rearranged_and_takes_it_for_the_same_on_request(files, options, status):
    ended = CliRunner().invoke(app, ["diff", str(files / "keras.npz"), str(files / "torch.safetensors"), *options])
    assert ended.exit_code == status, ended.output
    assert "transposed" in ended.output
    assert "the same numbers, arranged otherwise: 2 rearranged, 1 split" in ended.output


def test_the_same_file_is_the_same(files):
    ended = CliRunner().invoke(app, ["diff", str(files / "keras.npz"), str(files / "keras.npz"), "--json"])
    assert ended.exit_code == 0
    assert json.loads(ended.output)["same"]
