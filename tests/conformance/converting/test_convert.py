"""Files of weights from one framework to another: each layer computes the same, or it is said why it cannot."""

import json
import re
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from conformance.adapters.session import State
from conformance.cli.app import app
from conformance.converting import convert as converting
from conformance.converting.asking import Asked
from conformance.converting.convert import Refused, convert
from conformance.converting.formats import FORMATS
from conformance.converting.frameworks import torch as of_torch
from conformance.data.files import DataError
from conformance.exchange.checkpoints import Checkpoint, save_checkpoint
from conformance.problems.preparation import prepare
from conformance.recipes.choosing import find
from conformance.recipes.networks import activation, classifier, convolution, dense, layer, optimizer
from conformance.recipes.recipe import Recipe
from conformance.wrappers.recipe_layers import wanted_shapes


class Here:
    """The process of a framework, in this one."""

    def __init__(self, target):
        assert target == "conformance.converting.frameworks.torch:forward"

    def run(self, weights, inputs):
        return of_torch.forward(inputs)

    def close(self):
        pass


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(converting, "Away", Here)


def network(*layers):
    return Recipe.model_validate({"name": "n", **classifier(*layers), **optimizer("adam", 0.01)})


def sequences(*layers):
    made = [layer("embedding", entries=27, units=4), *layers, dense(3)]
    return Recipe.model_validate({
        "name": "s", "dataset": {"name": "words", "examples": 42, "test_examples": 21}, "batch_size": 14, "epochs": 1,
        "model": {"name": "network", "layers": made}, "loss": "categorical_cross_entropy", **optimizer("adam", 0.01),
    })  # fmt: skip


_image = layer("reshape", shape=[8, 8, 1])
RECIPES = {
    "images": network(
        _image, convolution(4, 3, 3, padding="same", bias=False), "batch_norm", activation("tanh"),
        convolution(3, 2, 3, padding=[1, 0], stride=[1, 2]), layer("residual", layers=[convolution(3, 1, 1)]),
        "flatten", dense(6), layer("layer_norm", epsilon=1e-3), dense(6), activation("tanh"),
    ),
    "sequences": sequences(
        layer("lstm", units=3, gates="ogfi", return_sequences=True),
        layer("gru", units=5, biases=2, return_sequences=True, reverse=True),
        layer("simple_rnn", units=4, activation="relu"),
    ),
}  # fmt: skip


def weights_of(recipe, dtype=np.float64):
    """Normal numbers in the shapes of a recipe's model; variances are positive."""
    parameters, statistics = wanted_shapes(prepare(recipe, recipe.dtypes[0]))
    generator = np.random.default_rng(1)
    return {n: np.abs(generator.standard_normal(s)).astype(dtype) for n, s in (parameters | statistics).items()}


@pytest.fixture
def catalogue(tmp_path):
    def written(name):
        save_file(weights_of(RECIPES[name]), tmp_path / f"{name}.safetensors")
        return tmp_path / f"{name}.safetensors"

    return written


@pytest.mark.parametrize("name", RECIPES)
def test_there_and_back_is_the_same_file(catalogue, tmp_path, at_once, name):
    there, back = tmp_path / "torch.safetensors", tmp_path / "back.npz"
    found = convert(catalogue(name), source="catalogue", target="torch", recipe=RECIPES[name], output=there)
    assert 0 < found.error < 1e-12
    assert {row.name for row in found.rows} == set(weights_of(RECIPES[name]))
    convert(there, source="torch", target="catalogue", recipe=RECIPES[name], output=back)
    with np.load(back) as held:
        assert {name: value.tolist() for name, value in held.items()} == {
            name: value.tolist() for name, value in weights_of(RECIPES[name]).items()
        }


def test_a_state_dict_of_a_users_own_is_read_whatever_its_paths(tmp_path, at_once):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4))
            self.head = torch.nn.Linear(4, 10)

    recipe = network(_image, convolution(4, 3, 3, padding="same", bias=False), "batch_norm", "global_average_pool")
    own = {name: value.numpy() for name, value in Own().state_dict().items()}
    save_file(own, tmp_path / "own.safetensors")
    found = convert(
        tmp_path / "own.safetensors", source="torch", target="catalogue", recipe=recipe, output=tmp_path / "c.npz"
    )
    assert [(row.name, row.source) for row in found.rows][:2] == [
        ("2.W", "encoder.0.weight (inputs last)"), ("3.gamma", "encoder.1.weight"),
    ]  # fmt: skip


def test_a_dense_model_has_the_numbers_of_a_sequential(tmp_path, at_once):
    model = torch.nn.Sequential(torch.nn.Linear(64, 24), torch.nn.ReLU(), torch.nn.Linear(24, 12), torch.nn.ReLU(),
                                torch.nn.Linear(12, 10))  # fmt: skip
    recipe = "digits-softmax-adam-dropout-l2"
    tensors = {name: w.detach().numpy() for name, w in model.state_dict().items()}
    save_file({f"net.{name}": w for name, w in tensors.items()}, tmp_path / "own.safetensors")
    save_checkpoint(tmp_path / "c.safetensors", Checkpoint(
        {"W1": tensors["0.weight"], "b1": tensors["0.bias"], "W2": tensors["2.weight"], "b2": tensors["2.bias"],
         "W3": tensors["4.weight"], "b3": tensors["4.bias"]}, State(7, {"moment": {"W1": tensors["0.weight"]}}), {},
    ))  # fmt: skip
    convert(tmp_path / "own.safetensors", source="torch", target="catalogue", recipe=recipe,
            output=tmp_path / "plain.safetensors")  # fmt: skip
    for name in ("plain", "c"):
        file = tmp_path / f"{name}.safetensors"
        found = convert(file, source="catalogue", target="torch", recipe=recipe, output=tmp_path / "t.safetensors")
        model.load_state_dict({n: torch.from_numpy(w) for n, w in load_file(tmp_path / "t.safetensors").items()})
        assert all((w == tensors[n]).all() for n, w in load_file(tmp_path / "t.safetensors").items())
    assert set(found.left_out) == {"optimizer/moment/W1"}


def test_what_pytorchs_recurrent_layers_have_more_of_is_0(tmp_path, catalogue, at_once):
    there = tmp_path / "torch.safetensors"
    convert(catalogue("sequences"), source="catalogue", target="torch", recipe=RECIPES["sequences"], output=there)
    tensors = load_file(there)
    assert not tensors["1.bias_hh_l0"].any()
    save_file(tensors | {"1.bias_hh_l0": tensors["1.bias_ih_l0"]}, there)
    with pytest.raises(DataError, match=r"has 0 layers like lstm .*; allowed: 1, as the recipe has"):
        convert(there, source="torch", target="catalogue", recipe=RECIPES["sequences"], output=tmp_path / "c.npz")


REFUSED = {
    "two biases of a GRU that resets before": (
        sequences(layer("gru", units=5, biases=1, reset="before")), "torch",
        "PyTorch's GRU applies its reset gate after the product, the recipe before",
    ),
    "a layer in both directions": (
        sequences(layer("bidirectional", layers=[layer("gru", units=3)])), "keras", "in one direction alone",
    ),
    "flax's GRU": (sequences(layer("gru", units=3)), "flax", "has of its two biases the recurrent one"),
    "two biases of an LSTM": (sequences(layer("lstm", units=3, biases=2)), "keras", "Keras's LSTM keeps no b_h"),
    "attention": (sequences(layer("attention", heads=2), "global_average_pool"), "torch",
        "PyTorch's MultiheadAttention is not converted"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_counterpart_is_refused_with_why(tmp_path, case):
    recipe, target, told = REFUSED[case]
    save_file(weights_of(recipe), tmp_path / "c.safetensors")
    with pytest.raises(Refused, match=told):
        convert(tmp_path / "c.safetensors", source="catalogue", target=target, recipe=recipe, output=tmp_path / "o.npz")
    assert not (tmp_path / "o.npz").exists()


def test_a_table_that_is_wrong_is_seen_by_the_forward_pass(tmp_path, catalogue, at_once, monkeypatch):
    right = of_torch._run

    def wrong(asked: Asked):
        turned = {name: w[::-1].copy() if name == "bias" else w for name, w in asked.tensors.items()}
        return right(asked._replace(tensors=turned))

    monkeypatch.setattr(of_torch, "_run", wrong)
    with pytest.raises(Refused, match=r"layer 3 \(batch_norm\) computes something else in torch than in catalogue"):
        convert(catalogue("images"), source="catalogue", target="torch", recipe=RECIPES["images"],
                output=tmp_path / "o.npz")  # fmt: skip
    assert not (tmp_path / "o.npz").exists()


def run(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def test_the_command_tells_what_is_wrong_with_what_it_is_given(tmp_path, catalogue):
    file, recipe = catalogue("images"), "digits-softmax-adam-dropout-l2"
    (tmp_path / "w.pt").write_bytes(b"")
    for arguments, told in (
        ((file, "--from", "pytorch", "--to", "keras", "--recipe", recipe, "-o", tmp_path / "o.npz"), "mean 'torch'"),
        ((file, "--from", "torch", "--to", "keras", "--recipe", recipe, "-o", tmp_path / "o.pt"), "must end in one of"),
        ((file, "--from", "keras", "--to", "torch", "--recipe", recipe, "-o", tmp_path / "o.weights.h5"), "must end"),
        ((tmp_path / "w.pt", "--from", "torch", "--to", "keras", "--recipe", recipe, "-o", tmp_path / "o.npz"),
         "weights_only=True"),
        ((file, "--from", "catalogue", "--to", "keras", "--recipe", recipe, "-o", tmp_path / "o.npz"), "allowed: 'W1'"),
        ((file, "--from", "torch", "--to", "keras", "--recipe", "digit", "-o", tmp_path / "o.npz"), "digit"),
    ):  # fmt: skip
        ended = run(*arguments)
        assert (ended.exit_code, told in " ".join(ended.output.split())) == (2, True), ended.output


def test_a_file_that_is_there_is_overwritten_only_by_force(tmp_path, catalogue, at_once, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(weights_of(find("moons-deep-relu-momentum")), "c.safetensors")
    before = (tmp_path / "c.safetensors").read_bytes()
    asked = ("c.safetensors", "--from", "catalogue", "--to", "torch", "--recipe", "moons-deep-relu-momentum")
    ended = run(*asked, "-o", "c.safetensors")
    assert (ended.exit_code, "is there already: must be another, or --force given" in ended.output) == (2, True)
    assert (tmp_path / "c.safetensors").read_bytes() == before
    assert run(*asked, "-o", "c.safetensors", "--force").exit_code == 0
    assert "0.weight" in load_file("c.safetensors")


def test_numbers_that_are_none_are_told_with_their_tensor(tmp_path, catalogue):
    weights = weights_of(RECIPES["images"])
    name = next(iter(weights))
    weights[name].flat[0] = np.nan
    save_file(weights, tmp_path / "c.safetensors")
    with pytest.raises(DataError, match=rf"{re.escape(name)} holds NaN or an infinity; allowed: finite numbers"):
        convert(tmp_path / "c.safetensors", source="catalogue", target="torch", recipe=RECIPES["images"],
                output=tmp_path / "o.npz")  # fmt: skip


def test_a_file_without_numbers_of_a_model_is_told(tmp_path):
    save_file({"0.weight": np.zeros((10, 4), np.int64)}, tmp_path / "t.safetensors")
    with pytest.raises(DataError, match="The file has no tensor of floating-point numbers"):
        convert(tmp_path / "t.safetensors", source="torch", target="keras", recipe=RECIPES["images"],
                output=tmp_path / "o.npz")  # fmt: skip


def test_the_command_says_what_went_where(tmp_path, catalogue, at_once, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(weights_of(find("moons-deep-relu-momentum")), "c.safetensors")
    ended = run("c.safetensors", "--from", "catalogue", "--to", "torch", "--recipe", "moons-deep-relu-momentum", "-o",
                "t.safetensors", "--json")  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.output)["rows"][0] == {
        "name": "W1", "shape": [8, 2], "source": "W1", "target": "0.weight"
    }  # fmt: skip


def test_keras_files_have_numbers_for_variables():
    keras = FORMATS["keras"]
    names = ["layers/dense_10/vars/1", "layers/dense_2/vars/0", "layers/gru/cell/vars/2", "optimizer/vars/0", "d.x"]
    assert keras.grouped(names) == {
        "dense_2": {"kernel": "layers/dense_2/vars/0"}, "dense_10": {"bias": "layers/dense_10/vars/1"},
        "gru": {"bias": "layers/gru/cell/vars/2"},
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", RECIPES)
def test_every_framework_computes_the_same_with_what_is_converted(tmp_path, catalogue, name):
    around = ["catalogue", "torch", "keras", "flax", "keras", "torch", "flax", "catalogue"]
    if name == "sequences":  # of whose GRU linen has no counterpart
        around = ["catalogue", "torch", "keras", "catalogue"]
    file = catalogue(name)
    for number, (source, target) in enumerate(pairwise(around)):
        output = tmp_path / f"{number}.{'weights.h5' if target == 'keras' else 'safetensors'}"
        found = convert(file, source=source, target=target, recipe=RECIPES[name], output=output)
        assert found.error < 1e-12
        file = output
    assert {n: w.tolist() for n, w in load_file(file).items()} == {
        n: w.tolist() for n, w in weights_of(RECIPES[name]).items()
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_keras_loads_what_is_written(tmp_path):
    import keras

    recipe = network(_image, convolution(4, 3, 3), activation("tanh"), "flatten", dense(6), layer("layer_norm"))
    own = weights_of(recipe, np.float32)
    save_file(own, tmp_path / "c.safetensors")
    file = tmp_path / "k.weights.h5"
    convert(tmp_path / "c.safetensors", source="catalogue", target="keras", recipe=recipe, output=file)
    parts = keras.layers
    model = keras.Sequential([
        keras.Input((8, 8, 1)), parts.Conv2D(4, 3), parts.Activation("tanh"), parts.Flatten(), parts.Dense(6),
        parts.LayerNormalization(), parts.Dense(10),
    ])  # fmt: skip
    model.load_weights(file)
    assert (model.layers[3].kernel.numpy() == own["5.W"].T).all()
    model.save_weights(tmp_path / "again.weights.h5")
    with h5py.File(tmp_path / "again.weights.h5") as again, h5py.File(file) as first:
        names = []
        first.visititems(lambda name, held: names.append(name) if isinstance(held, h5py.Dataset) else None)
        assert len(names) == 8
        assert all((again[name][()] == first[name][()]).all() for name in names)
