"""Layers said in a framework's dialect: the same recipe as with the keywords written out, and what is refused."""

import doctest
import inspect
import re

import pytest
from pydantic import ValidationError

from conformance.recipes import layer_dialects
from conformance.recipes.files import faults
from conformance.recipes.layer_dialects import formulation, layer_dialect, lines
from conformance.recipes.layers import LayerChoice, defaults_of, resolve_layers
from conformance.recipes.recipe import Recipe
from conformance.recipes.writing import as_toml

DIALECTS = {dialect.name: dialect for dialect in layer_dialects.layer_dialects()}
SIZES = {
    "units": 4, "channels": 4, "kernel": [3], "window": [2], "entries": 9, "heads": 2, "keep_probability": 0.5,
    "groups": 2,
}  # fmt: skip
# What the frameworks document of some, written out by hand.
BY_HAND = {
    "torch.GRU": {"name": "gru", "gates": "rzn", "reset": "after", "biases": 2, "return_sequences": True},
    "torch.LSTM": {"name": "lstm", "gates": "ifgo", "biases": 2, "forget_bias": 0.0, "return_sequences": True},
    "torch.BatchNorm1d": {"name": "batch_norm", "epsilon": 1e-5, "momentum": 0.9, "running_variance": "unbiased"},
    "torch.Embedding": {"name": "embedding", "initializer": "scaled_normal", "initializer_options": {"scale": 1.0}},
    "keras.GRU": {
        "name": "gru", "gates": "zrn", "reset": "after", "biases": 2, "initializer": "xavier_uniform",
        "recurrent_initializer": "orthogonal",
    },
    "keras.LSTM": {"name": "lstm", "gates": "ifgo", "biases": 1, "forget_bias": 1.0, "return_sequences": False},
    "keras.BatchNormalization": {"name": "batch_norm", "epsilon": 1e-3, "momentum": 0.99},
    "keras.Dense": {"name": "dense", "initializer": "xavier_uniform"},
    "flax.Conv": {
        "name": "convolution", "padding": "same", "initializer": "lecun_normal",
        "initializer_options": {"truncated": True},
    },
    "flax.GRUCell": {"name": "gru", "gates": "rzn", "biases": 1, "return_sequences": True},
}  # fmt: skip


def recipe(*layers, **settings):
    network = [{"name": "reshape", "shape": [8, 8]}, *layers, {"name": "flatten"}, {"name": "dense", "units": 10}]
    return Recipe.model_validate({
        "name": "some", "dataset": {"name": "digits", "examples": 40}, "loss": "categorical_cross_entropy",
        "model": {"name": "network", "layers": network}, "optimizer": "adam",
    } | settings)  # fmt: skip


def refusals(*layers):
    with pytest.raises(ValidationError) as refused:
        recipe(*layers)
    return faults(refused.value)


def resolved(table):
    (found,) = resolve_layers("layers", [table])
    return LayerChoice.model_validate(found)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_layer_in_a_dialect_is_the_layer_with_its_keywords_written_out(name):
    framework, _, builtin = name.partition(".")
    line = lines()[framework][builtin]
    asked, start = line.get("asked", []), line.get("start", "")
    written = {keyword: value for keyword, value in formulation(line).items() if keyword not in asked}
    inside = written.pop("layer", None)
    written |= start if isinstance(start, dict) else {}
    if line["name"] != "bidirectional":
        given = _given(line["name"], asked)
        assert resolved({"dialect": name, **given}) == resolved(written | given)
    elif inside:
        given = _given(inside["name"], ())
        assert resolved({"dialect": name, **given}) == resolved(written | {"layers": [inside | given]})
    else:
        layers = [{"name": "gru", "units": 2}]
        assert resolved({"dialect": name, "layers": layers}) == resolved(written | {"layers": layers})


def _given(layer, asked):
    needed = [
        name for name, default in defaults_of(layer).items() if default is inspect.Parameter.empty or name in asked
    ]
    return {name: SIZES[name] for name in needed}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_dialect_has_the_keywords_that_its_framework_documents(name):
    given = _given(BY_HAND[name]["name"], ())
    found = resolved({"dialect": name, **given})
    assert found == resolved(BY_HAND[name] | given)


def test_a_recipe_in_a_dialect_is_the_recipe_without_and_is_written_without():
    said = recipe({"dialect": "keras.layers.GRU", "units": 3, "return_sequences": True})
    plain = recipe({"name": "gru", "units": 3, "gates": "zrn", "biases": 2, "return_sequences": True})
    assert said.hash == plain.hash
    assert "dialect" not in as_toml(said)


def test_keywords_beside_a_dialect_stand_in_place_of_its_own():
    found = resolved({"dialect": "torch.LSTM", "units": 3, "biases": 1, "forget_bias": 1.0}).keywords
    assert (found["biases"], found["forget_bias"], found["return_sequences"]) == (1, 1.0, True)
    both = resolved({"dialect": "torch.LSTM(bidirectional=True)", "units": 3, "biases": 1, "join": "sum"})
    assert (both.keywords["join"], both.layers[0].keywords["biases"], both.layers[0].keywords["units"]) == ("sum", 1, 3)
    another = resolved({"dialect": "torch.Embedding", "entries": 9, "units": 2, "initializer": "zeros"}).keywords
    assert (another["initializer"], another["initializer_options"]) == ("zeros", {})


def test_a_recipe_s_initializer_is_that_of_a_layer_whose_dialect_names_none():
    sequence = {"units": 3, "return_sequences": True}
    found = recipe(
        {"dialect": "torch.GRU", **sequence}, {"dialect": "keras.GRU", **sequence}, initializer="he_uniform"
    ).model.layers
    assert [layer.keywords["initializer"] for layer in found[1:3]] == ["he_uniform", "xavier_uniform"]
    inside = recipe({"dialect": "torch.LSTM(bidirectional=True)", "units": 3}, initializer="he_uniform")
    assert inside.model.layers[1].layers[0].keywords["initializer"] == "he_uniform"


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            {"dialect": "keras.LTSM", "units": 3},
            r"dialect='keras.LTSM' is not allowed: .*; did you mean 'keras.LSTM'\?",
        ),
        ({"dialect": "torch.gru", "units": 3}, r"dialect='torch.gru' is not allowed: .*; did you mean 'torch.GRU'"),
        ({"dialect": "caffe.LSTM"}, r"dialect='caffe.LSTM' is not allowed: .*'torch.Linear', .*; did you mean .*LSTM'"),
        ({"dialect": "keras.Adam"}, r"dialect='keras.Adam' is not allowed: it is a dialect of an optimizer, not of a"),
        ({"dialect": 7}, r"dialect=7 is not allowed: must be the name of a framework's layer"),
        ({"dialect": "flax.RNN"}, r"dialect='flax.RNN' is not allowed: it runs the cell that it is given: name that"),
        ({"dialect": "torch.RMSNorm"}, r"dialect='torch.RMSNorm' is not allowed: must be one of 'torch.Linear', "),
        ({"dialect": "keras.GRU", "name": "lstm"}, r"name='lstm' is not allowed for 'keras.GRU': must be one of 'gru'"),
        ({"dialect": "keras.GRU", "unit": 3}, r" keyword='unit' is not allowed for 'gru': .* did you mean 'units'\?"),
        ({"dialect": "torch.MaxPool1d"}, r"window is missing: 'max_pool' needs it"),
        ({"dialect": "keras.Dropout"}, r"keep_probability is missing: 'dropout' needs it"),
        (
            {"dialect": "keras.DepthwiseConv2D(depth_multiplier=2)", "channels": 4, "kernel": [3]},
            r"groups is missing: 'keras.DepthwiseConv2D\(depth_multiplier=2\)' needs it",
        ),
        ({"dialect": "keras.Bidirectional"}, r"layers is missing: 'bidirectional' needs it"),
    ],
)
def test_what_is_wrong_with_a_dialect_is_said(layer, said):
    found = refusals(layer)
    assert any(re.match(rf"model\.layers\[1\]\.?{said}", line) for line in found), found


def test_the_frameworks_most_used_layers_have_dialects():
    assert {
        "torch.LSTM", "torch.GRU", "torch.Conv2d", "torch.MultiheadAttention", "keras.LSTM", "keras.GRU",
        "keras.Conv2D", "keras.MultiHeadAttention", "flax.LSTMCell", "flax.GRUCell", "flax.Conv",
        "flax.MultiHeadAttention",
    } <= set(DIALECTS)  # fmt: skip


def test_the_examples_of_the_docstrings_hold():
    found = doctest.testmod(layer_dialects)
    assert found.attempted >= 5
    assert found.failed == 0


def test_a_name_with_the_module_is_the_short_one():
    assert layer_dialect("flax.nnx.Conv(strides=2)") is layer_dialect("flax.Conv(strides=2)")
