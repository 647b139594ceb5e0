"""Files of weights from one framework to another: each layer computes the same, or it is said why it cannot."""

import contextlib
import json
import re
from itertools import pairwise, permutations

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from conformance.adapters.session import State
from conformance.cli.app import app
from conformance.converting import convert as converting
from conformance.converting.asking import Asked, inputs_of, request
from conformance.converting.convert import Refused, Side, convert
from conformance.converting.formats import FORMATS
from conformance.converting.frameworks import torch as of_torch
from conformance.converting.keras_files import in_file_of_keras
from conformance.converting.model_layers import model_layers
from conformance.converting.placing import from_file, place_for, placed_in, sums, to_file
from conformance.data.files import DataError
from conformance.exchange.checkpoints import Checkpoint, save_checkpoint
from conformance.exchange.worker import Away
from conformance.problems.preparation import prepare
from conformance.recipes.choosing import find
from conformance.recipes.networks import activation, classifier, convolution, dense, layer, optimizer
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite
from conformance.wrappers.recipe_layers import wanted_shapes
from reference_numpy import models


class Here:
    """The process of a framework, in this one."""

    def __init__(self, target):
        assert target == "conformance.converting.frameworks.torch:forward", target

    def run(self, weights, inputs):
        return of_torch.forward(inputs)

    def close(self):
        pass


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(converting, "Away", Here)


def network(*layers):
    return Recipe.model_validate({"name": "n", **classifier(*layers), **optimizer("adam", 0.01)})


def sequences(*layers, units=4):
    made = [layer("embedding", entries=27, units=units), *layers, dense(3)]
    return Recipe.model_validate({
        "name": "s", "dataset": {"name": "words", "examples": 42, "test_examples": 21}, "batch_size": 14, "epochs": 1,
        "model": {"name": "network", "layers": made}, "loss": "categorical_cross_entropy", **optimizer("adam", 0.01),
    })  # fmt: skip


def both(inner, **keywords):
    return layer("bidirectional", layers=[inner], **keywords)


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
    "in both directions": sequences(
        both(layer("lstm", units=4, gates="ogfi", return_sequences=True)),
        both(layer("lstm", units=4, return_sequences=True), join="sum"), layer("lstm", units=4, return_sequences=True),
        layer("attention", heads=2, causal=True), both(layer("gru", units=3, return_sequences=True, reverse=True)),
        layer("attention", heads=3, bias=False), both(layer("simple_rnn", units=2, biases=0)),
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
    told = r"has 0 layers like lstm .*; allowed: 1, as the recipe has \('1.bias_hh_l0' is not 0, .*: biases = 2 has\)"
    with pytest.raises(DataError, match=told):
        convert(there, source="torch", target="catalogue", recipe=RECIPES["sequences"], output=tmp_path / "c.npz")


REFUSED = {
    "two biases of a GRU that resets before": (
        sequences(layer("gru", units=5, biases=1, reset="before")), "torch",
        "PyTorch's GRU applies its reset gate after the product, the recipe before",
    ),
    "flax's GRU": (sequences(layer("gru", units=3, reset="before")), "flax", "Flax's GRUCell applies its reset gate"),
    "a second bias behind a gate": (
        sequences(layer("bidirectional", layers=[layer("gru", units=3, biases=2)])), "nnx",
        r"layer 2 \(gru\) has no counterpart: its second bias is not 0 for the candidate n, .*, and NNX's GRUCell",
    ),
    "heads of their own size": (
        sequences(layer("attention", heads=2, key_units=3), "global_average_pool"), "torch",
        r"layer 2 \(attention\) .*: PyTorch's MultiheadAttention has heads of 4 numbers together, .* the recipe 6",
    ),
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


NETWORKS = {recipe.name: recipe for recipe in suite("layers")} | RECIPES
_OF_EACH_KIND = ("simple-rnn", "lstm-gates", "gru-gates", "transformer-block", "causal-attention", "separable")
# Built-ins that no layer of these recipes has a counterpart among: see REFUSED.
WITHOUT = {
    "layers-gru-gates": {"torch", "flax", "nnx"}, "layers-characters-gru": {"torch", "flax", "nnx"},
    "layers-causal-attention": {"torch"}, "layers-letters-in-windows": {"keras"}, "sequences": {"nnx"},
}  # fmt: skip


def there_and_back(side, layers, tensors):
    """Tensors as a file has them, what that is in the catalogue, and which were added."""
    form = FORMATS[side]
    placed = place_for(form, layers)
    there = to_file(form, placed, tensors)
    if side == "keras":
        named = in_file_of_keras(there)
        assert {n: w.tolist() for n, w in from_file(placed_in(form, layers, named, "f"), named).items()} == {
            n: w.tolist() for n, w in from_file(placed_in(form, layers, there, "f"), there).items()
        }
    return there, from_file(placed_in(form, layers, there, "f"), there), sums(placed, tensors)


def mostly_slow(names):
    """A network of each kind of layers every day, and the others."""
    kept = {*RECIPES, *(f"layers-{name}" for name in _OF_EACH_KIND)}
    return [name if name in kept else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", mostly_slow(NETWORKS))
def test_every_network_of_the_catalogue_goes_from_every_framework_to_every_other_and_back(name):
    layers = model_layers(prepare(NETWORKS[name], NETWORKS[name].dtypes[0]))
    tensors, sides = weights_of(NETWORKS[name]), FORMATS.keys() - WITHOUT.get(name, set())
    for one, other in permutations(sides, 2):
        first, held, _ = there_and_back(one, layers, tensors)
        _, between, added = there_and_back(other, layers, held)
        again, _, _ = there_and_back(one, layers, between)
        lost = {each for pair in added for each in pair}
        assert all((between[n] == held[n]).all() for n in held.keys() - lost)
        assert lost or first.keys() == again.keys()
        assert lost or all((again[n] == w).all() for n, w in first.items())
    for side in FORMATS.keys() - sides:
        with pytest.raises(DataError, match="has no counterpart"):
            there_and_back(side, layers, tensors)


@pytest.mark.parametrize(
    ("kind", "side"), [("lstm", "keras"), ("simple_rnn", "flax"), ("gru", "flax"), ("lstm", "nnx")]
)
def test_two_biases_in_one_are_added_and_back_all_is_the_first(kind, side):
    recipe = sequences(layer(kind, units=3, biases=2))
    layers, tensors = model_layers(prepare(recipe, "float64")), weights_of(recipe)
    there, back, added = there_and_back(side, layers, tensors)
    kept = slice(6, 9) if kind == "gru" else slice(0, 0)  # behind the reset gate, where nothing is added
    total = tensors["2.b"] + tensors["2.b_h"]
    total[kept] = tensors["2.b"][kept]
    assert added == [("2.b", "2.b_h")]
    assert (back["2.b"] == total).all()
    assert (back["2.b_h"][kept] == tensors["2.b_h"][kept]).all()
    assert not np.delete(back["2.b_h"], kept).any()
    again, _, nothing = there_and_back(side, layers, back)
    assert not nothing
    assert all((again[n] == w).all() for n, w in there.items())


def test_the_command_says_which_biases_were_added(tmp_path, at_once, monkeypatch):
    monkeypatch.setattr(converting, "_outputs", lambda side, layers, inputs: [np.ones(1) for _ in layers])
    recipe = sequences(layer("lstm", units=3, biases=2))
    (tmp_path / "r.json").write_text(recipe.model_dump_json())
    save_file(weights_of(recipe), tmp_path / "c.safetensors")
    ended = run(tmp_path / "c.safetensors", "--from", "catalogue", "--to", "keras", "--recipe", tmp_path / "r.json",
                "-o", tmp_path / "k.npz")  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert "added: 2.b and 2.b_h, of which keras keeps the sum alone" in " ".join(ended.output.split())


def test_a_sum_is_rounded_to_the_precision_of_the_file(monkeypatch):
    recipe = sequences(layer("lstm", units=3, biases=2))
    layers, side = model_layers(prepare(recipe, "float32")), Side("catalogue", weights_of(recipe, np.float32), [])
    monkeypatch.setattr(converting, "_outputs", lambda each, *_: [np.full(1, 1.0 + 1e-6 * (each.name == "keras"))] * 3)
    other = Side("keras", side.tensors, [])
    with pytest.raises(Refused, match=r"layer 1 \(embedding\)"):
        converting._distances(layers, [side, other], [("2.b", "2.b_h")])
    assert max(converting._distances(layers[1:2], [side, other], [("2.b", "2.b_h")])) == pytest.approx(1e-6)


def test_layers_that_are_alike_and_not_numbered_are_not_told_apart(tmp_path):
    recipe = network(dense(8), dense(8), dense(8))
    layers, tensors = model_layers(prepare(recipe, "float64")), weights_of(recipe)
    there, _, _ = there_and_back("torch", layers, tensors)
    renamed = {name.replace("1.", "second.").replace("2.", "first."): w for name, w in there.items()}
    with pytest.raises(DataError, match=r"has 'first', 'second', all like dense .*: which is which cannot be told"):
        placed_in(FORMATS["torch"], layers, renamed, "f")
    numbered = {name.replace("1.", "body.9.").replace("2.", "body.10."): w for name, w in there.items()}
    found = from_file(placed_in(FORMATS["torch"], layers, numbered, "f"), numbered)
    assert all((found[n] == w).all() for n, w in tensors.items())


def test_pytorchs_stacked_layers_are_one_after_the_other(tmp_path, at_once):
    own = torch.nn.LSTM(4, 4, num_layers=2, bidirectional=True)
    recipe = sequences(*[both(layer("lstm", units=4, biases=2, return_sequences=True))] * 2, "global_average_pool")
    layers = model_layers(prepare(recipe, "float32"))
    others = there_and_back("torch", layers, weights_of(recipe, np.float32))[0]
    mine = {f"rnn.{name}": w.detach().numpy() for name, w in own.state_dict().items()}
    tensors = {n: w for n, w in others.items() if "_l0" not in n} | mine
    save_file(tensors, tmp_path / "own.safetensors")
    found = convert(tmp_path / "own.safetensors", source="torch", target="catalogue", recipe=recipe,
                    output=tmp_path / "c.npz")  # fmt: skip
    sources = {row.name: row.source for row in found.rows}
    assert sources["3.backward.U"] == "rnn.weight_hh_l1_reverse"
    assert sources["2.forward.b_h"] == "rnn.bias_hh_l0"


def test_a_dense_layer_may_be_called_as_a_part_of_another(tmp_path):
    recipe = network(dense(6), dense(5))
    layers, tensors = model_layers(prepare(recipe, "float64")), weights_of(recipe)
    there, _, _ = there_and_back("flax", layers, tensors)
    own = {name.replace("Dense_0", "query").replace("Dense_1", "i").replace("Dense_2", "out"): w
           for name, w in there.items()}  # fmt: skip
    found = from_file(placed_in(FORMATS["flax"], layers, own, "f"), own)
    assert all((found[n] == w).all() for n, w in tensors.items())


def test_a_layer_that_a_framework_cannot_make_is_named():
    strange = Asked("layer 3 (attention)", "MultiheadAttention", {"heads": 4, "causal": False},
                    {"out_proj.weight": np.ones((6, 6))}, np.ones((1, 2, 6)))  # fmt: skip
    with pytest.raises(ValueError, match=r"layer 3 \(attention\): embed_dim must be divisible by num_heads"):
        of_torch.forward(request([strange]))


def test_two_kinds_of_gru_of_one_size_are_told_apart_by_their_biases():
    recipe = NETWORKS["layers-characters-gru"]
    layers, tensors = model_layers(prepare(recipe, "float64")), weights_of(recipe)
    there, _, _ = there_and_back("keras", layers, tensors)
    names = {"gru/": "second/", "gru_1/": "first/"}
    own = {next((new + n.removeprefix(old) for old, new in names.items() if n.startswith(old)), n): w
           for n, w in there.items()}  # fmt: skip
    found = from_file(placed_in(FORMATS["keras"], layers, own, "f"), own)
    assert all((found[n] == w).all() for n, w in tensors.items())


def test_a_kernel_for_each_channel_is_read(tmp_path):
    recipe = network(_image, convolution(4, 3, 3), convolution(8, 2, 2, groups=4), "flatten")
    layers, tensors = model_layers(prepare(recipe, "float64")), weights_of(recipe)
    there, _, _ = there_and_back("keras", layers, tensors)
    own = {name: w for name, w in there.items() if "conv2d_1" not in name}
    own["depthwise_conv2d/kernel"] = np.moveaxis(tensors["3.W"][..., 0], 0, -1).reshape(2, 2, 4, 2)
    own["depthwise_conv2d/bias"] = tensors["3.b"]
    placed = placed_in(FORMATS["keras"], layers, own, "f")
    assert placed[1].kind == "DepthwiseConv2D"
    assert (from_file(placed, own)["3.W"] == tensors["3.W"]).all()


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
    around = ["catalogue", "torch", "keras", "flax", "nnx", "keras", "torch", "catalogue"]
    if name == "sequences":  # of whose GRU NNX has no counterpart, and of whose gates Flax keeps no two biases
        around = ["catalogue", "torch", "keras", "catalogue"]
    file = catalogue(name)
    for number, (source, target) in enumerate(pairwise(around)):
        output = tmp_path / f"{number}.{'weights.h5' if target == 'keras' else 'safetensors'}"
        found = convert(file, source=source, target=target, recipe=RECIPES[name], output=output)
        assert found.error < (1e-6 if name == "in both directions" else 1e-12)  # Keras's and NNX's attention rounds
        file = output
    assert {n: w.tolist() for n, w in load_file(file).items()} == {
        n: w.tolist() for n, w in weights_of(RECIPES[name]).items()
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("side", FORMATS)
def test_every_layer_of_the_catalogues_networks_computes_the_same_in_every_framework(side):
    distinct = {}
    for name, recipe in NETWORKS.items():
        if side not in WITHOUT.get(name, ()):
            layers, tensors = model_layers(prepare(recipe, recipe.dtypes[0])), weights_of(recipe)
            placed = place_for(FORMATS[side], layers)
            there = Side(side, to_file(FORMATS[side], placed, tensors), placed)
            inputs = [inputs_of(each.layer) for each in layers]
            for each, asked in zip(layers, there.asked(layers, inputs), strict=True):
                key = asked.kind, repr(asked.keywords), repr(each.layer.parameters)
                distinct[key] = asked, converting._of_catalogue(each, tensors, asked.x), there.rounds(each)
    asked, expected, rounds = zip(*distinct.values(), strict=True)
    with contextlib.closing(Away(f"conformance.converting.frameworks.{FORMATS[side].module}:forward")) as process:
        found = process.run(None, request([*asked]))
    assert len(found) > 60
    for place, (each, right, rounded) in enumerate(zip(asked, expected, rounds, strict=True)):
        error = converting._distance(found[str(place)], right)
        assert error < (1e-6 if rounded else 1e-12), (each.shown, each.kind, error)


class Reader(torch.nn.Module):
    """Letters, in both directions, each looking at all others."""

    def __init__(self):
        super().__init__()
        self.letters = torch.nn.Embedding(27, 6)
        self.rows = torch.nn.LSTM(6, 4, bidirectional=True, batch_first=True)
        self.attend = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = torch.nn.LayerNorm(8, eps=1e-3)
        self.last = torch.nn.GRU(8, 5, batch_first=True)
        self.head = torch.nn.Linear(5, 3)

    def forward(self, tokens):
        x, _ = self.rows(self.letters(tokens))
        return self.head(self.last(self.norm(x + self.attend(x, x, x)[0]))[0][:, -1])


def reader_of_keras(keras):
    parts, tokens = keras.layers, keras.Input((7,), dtype="int32")
    x = parts.Bidirectional(parts.LSTM(4, return_sequences=True))(parts.Embedding(27, 6)(tokens))
    x = parts.LayerNormalization(epsilon=1e-3)(x + parts.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(tokens, parts.Dense(3)(parts.GRU(5)(x)))


READER = sequences(
    both(layer("lstm", units=4, biases=2, return_sequences=True)),
    layer("residual", layers=[layer("attention", heads=2)]), layer("layer_norm", epsilon=1e-3),
    layer("gru", units=5, biases=2), units=6,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_a_whole_model_of_pytorch_gives_the_same_in_keras_and_back(tmp_path):
    import keras

    torch.manual_seed(0)
    own, file = Reader(), tmp_path / "k.weights.h5"
    save_file({name: w.numpy() for name, w in own.state_dict().items()}, tmp_path / "t.safetensors")
    found = convert(tmp_path / "t.safetensors", source="torch", target="keras", recipe=READER, output=file)
    assert found.added == [(f"2.{way}.b", f"2.{way}.b_h") for way in ("forward", "backward")]
    model = reader_of_keras(keras)
    model.load_weights(file)
    tokens = np.random.default_rng(0).integers(0, 27, (5, 7))
    with torch.no_grad():
        expected = own(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(model.predict(tokens, verbose=0), expected, atol=1e-6)
    model.save_weights(file)
    again = convert(file, source="keras", target="torch", recipe=READER, output=tmp_path / "a.safetensors")
    assert not again.added
    back, paths = load_file(tmp_path / "a.safetensors"), ("letters", "rows", "attend", "norm", "last", "head")
    own.load_state_dict({f"{paths[int(name[0])]}{name[1:]}": torch.from_numpy(w) for name, w in back.items()})
    with torch.no_grad():
        np.testing.assert_allclose(own(torch.from_numpy(tokens)).numpy(), expected, atol=1e-6)


def in_linen(linen):
    def run(cell, **keywords):
        return linen.RNN(cell(4, param_dtype=np.float64), **keywords)

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            real = {"param_dtype": np.float64}
            x = linen.Bidirectional(run(linen.LSTMCell), run(linen.LSTMCell))(linen.Embed(27, 6, **real)(x))
            x = linen.MultiHeadDotProductAttention(2, **real)(run(linen.LSTMCell)(x))
            x = linen.LayerNorm(epsilon=1e-3, use_fast_variance=False, **real)(x)
            return linen.Dense(3, **real)(run(linen.GRUCell)(x)[:, -1])

    return Model()


def in_nnx(nnx):
    real = {"param_dtype": np.float64, "rngs": nnx.Rngs(0)}

    def run(cell, inputs):
        return nnx.RNN(cell(inputs, 4, **real), rngs=nnx.Rngs(0))

    return nnx.Sequential(
        nnx.Embed(27, 6, **real),
        nnx.Bidirectional(run(nnx.LSTMCell, 6), run(nnx.LSTMCell, 6), rngs=nnx.Rngs(0)), run(nnx.LSTMCell, 8),
        nnx.MultiHeadAttention(2, 4, decode=False, **real),
        nnx.LayerNorm(4, epsilon=1e-3, use_fast_variance=False, **real), run(nnx.GRUCell, 4), lambda x: x[:, -1],
        nnx.Linear(4, 3, **real),
    )  # fmt: skip


@pytest.mark.slow
def test_flax_takes_what_is_written_and_computes_what_the_catalogue_does():
    jax, flax = pytest.importorskip("jax"), pytest.importorskip("flax")
    linen, nnx = pytest.importorskip("flax.linen"), pytest.importorskip("flax.nnx")
    recipe = sequences(
        both(layer("lstm", units=4, return_sequences=True)), layer("lstm", units=4, return_sequences=True),
        layer("attention", heads=2), layer("layer_norm", epsilon=1e-3), layer("gru", units=4, return_sequences=True),
        layer("global_average_pool"), units=6,
    )  # fmt: skip
    problem = prepare(recipe, "float64")
    layers, tensors = model_layers(problem), weights_of(recipe)
    tokens = np.random.default_rng(0).integers(1, 27, (5, 12))
    values = models.intermediates(problem.build_model(models), tensors, tokens, training=False)
    expected = values["6.A"][:, -1] @ tensors["8.W"].T + tensors["8.b"]
    with jax.enable_x64(True):
        there, _, _ = there_and_back("flax", layers, tensors)
        shapes = jax.eval_shape(in_linen(linen).init, jax.random.key(0), tokens)
        named = {"/".join(path): w.shape for path, w in flax.traverse_util.flatten_dict(shapes).items()}
        assert {name: w.shape for name, w in there.items()} == named
        tree = flax.traverse_util.unflatten_dict({tuple(name.split("/")): w for name, w in there.items()})
        np.testing.assert_allclose(in_linen(linen).apply(tree, tokens), expected, rtol=1e-12)
        model = in_nnx(nnx)
        flat = {"/".join(map(str, path)): (path, held) for path, held in nnx.to_flat_state(nnx.state(model, nnx.Param))}
        there, _, _ = there_and_back("nnx", layers, tensors)
        assert {name: w.shape for name, w in there.items()} == {name: held.shape for name, (_, held) in flat.items()}
        nnx.update(
            model, nnx.from_flat_state([(path, held.replace(there[name])) for name, (path, held) in flat.items()])
        )
        np.testing.assert_allclose(model(jax.numpy.asarray(tokens)), expected, rtol=1e-6)


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
