"""Tensors of the frameworks' layers become those of the recipe's and back, number by number."""

import numpy as np
import pytest

from conformance.recipes.layers import defaults_of
from conformance.wrappers.layer_calls import Call, counted_calls, layers_by_call
from conformance.wrappers.layouts import KERAS, LINEN, NNX, TORCH, OwnLayer, sources
from conformance.wrappers.matching import Forms, Matching, Relations, by_shape, made, said
from conformance.wrappers.recipe_layers import RecipeLayer
from reference_numpy.layers import LAYERS

SIZES = {
    "dense": ({"units": 3}, (4,)), "convolution": ({"channels": 4, "kernel": (2, 3)}, (5, 5, 2)),
    "batch_norm": ({}, (3,)), "layer_norm": ({}, (3,)), "embedding": ({"entries": 5, "units": 3}, (4,)),
    "simple_rnn": ({"units": 3, "biases": 2}, (4, 2)), "lstm": ({"units": 3, "biases": 2}, (4, 2)),
    "gru": ({"units": 3, "biases": 2}, (4, 2)), "attention": ({"heads": 2}, (4, 6)),
}  # fmt: skip


def layer_of(name, *, path="1", **keywords):
    """A layer of a recipe with the parameters that the reference has for it."""
    own, shape = SIZES[name]
    built = LAYERS[name](**own, **keywords)
    shapes = built.initialize(np.random.default_rng(0), shape) | built.initial_statistics(shape)
    shapes = {name: w.shape for name, w in shapes.items()}
    whole = {**defaults_of(name), **own, **keywords}
    return RecipeLayer(path, name, whole, (), f"{path}.A", "", built.output_shape(shape), shape, shapes)


def matched(layout, own_tensors, layer):
    """The matching of one layer, and what it makes of own tensors."""
    shapes = {path: w.shape for path, w in own_tensors.items()}
    own = OwnLayer("", "", {path: path for path in own_tensors}, "")
    found = sources(layout, own, shapes, layer)
    matching = Matching(tuple(made(name, s.places.shape, s, shapes, "") for name, s in found.items()))
    return matching, matching.to_recipe(own_tensors)


@pytest.mark.parametrize(("table", "kind"), [(table, kind) for table in (TORCH, KERAS, NNX, LINEN) for kind in table])
def test_every_parameter_of_a_table_is_one_that_the_reference_has(table, kind):
    layout = table[kind]
    whole = {name.partition("[")[0] for name in layout.parameters}  # of a gate's part of one, that one
    assert whole <= layer_of(layout.layer).parameters.keys()
    assert layout.layer in LAYERS
    assert bool(layout.gates) == ("gates" in defaults_of(layout.layer))


def numbered(**shapes):
    """Tensors in which no number comes twice."""
    found, start = {}, 0
    for path, shape in shapes.items():
        size = int(np.prod(shape))
        found[path.replace("__", ".")] = np.arange(start, start + size, dtype=float).reshape(shape)
        start += size
    return found


def test_gates_go_from_the_order_that_is_documented_to_that_of_the_recipe():
    own = numbered(weight_ih=(9, 2), weight_hh=(9, 3), bias_ih=(9,), bias_hh=(9,))
    for gates in ("rzn", "zrn", "nzr"):
        _, found = matched(TORCH["GRU"], own, layer_of("gru", gates=gates))
        rows = np.concatenate([np.arange(9).reshape(3, 3)["rzn".index(gate)] for gate in gates])
        for name, path in {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "b_h": "bias_hh"}.items():
            np.testing.assert_array_equal(found[name], own[path][rows])


def test_one_tensor_for_each_gate_and_two_biases_in_one_tensor():
    own = {f"i{gate}.kernel": w for gate, w in zip("ifgo", np.arange(24.0).reshape(4, 2, 3), strict=True)}
    matching, found = matched(LINEN["LSTMCell"], own, layer_of("lstm", gates="ofig"))
    np.testing.assert_array_equal(found["W"], np.concatenate([own[f"i{gate}.kernel"].T for gate in "ofig"]))
    assert matching["W"].paths == tuple(f"i{gate}.kernel" for gate in "ofig")
    bias = numbered(bias=(2, 9))
    _, found = matched(KERAS["GRU"], bias, layer_of("gru", gates="rzn"))
    np.testing.assert_array_equal(found["b_h"], bias["bias"][1][[3, 4, 5, 0, 1, 2, 6, 7, 8]])


def test_packed_weights_and_those_of_heads():
    own = numbered(in_proj_weight=(18, 6), in_proj_bias=(18,))
    _, found = matched(TORCH["MultiheadAttention"], own, layer_of("attention"))
    np.testing.assert_array_equal(found["W_v"], own["in_proj_weight"][12:])
    own = numbered(query__kernel=(6, 2, 3), attention_output__kernel=(2, 3, 6), key__bias=(2, 3))
    _, found = matched(KERAS["MultiHeadAttention"], own, layer_of("attention"))
    assert found["W_q"][4, 5] == own["query.kernel"][5, 1, 1]
    assert found["W_o"][5, 4] == own["attention_output.kernel"][1, 1, 5]
    assert found["b_k"][4] == own["key.bias"][1, 1]


def test_kernels_of_convolutions():
    own = numbered(kernel=(2, 3, 2, 4))
    _, found = matched(KERAS["Conv2D"], own, layer_of("convolution"))
    assert found["W"][3, 1, 2, 0] == own["kernel"][1, 2, 0, 3]
    own = numbered(kernel=(2, 3, 2, 2))
    _, found = matched(KERAS["DepthwiseConv2D"], own, layer_of("convolution", groups=2))
    assert found["W"].shape == (4, 2, 3, 1)
    assert found["W"][3, 1, 2, 0] == own["kernel"][1, 2, 1, 1]


@pytest.mark.parametrize(
    ("layout", "own", "layer"),
    [
        (TORCH["GRU"], numbered(weight_ih=(9, 2), weight_hh=(9, 3), bias_ih=(9,), bias_hh=(9,)), layer_of("gru")),
        (TORCH["MultiheadAttention"], numbered(in_proj_weight=(18, 6), in_proj_bias=(18,)), layer_of("attention")),
        (KERAS["GRU"], numbered(kernel=(2, 9), recurrent_kernel=(3, 9), bias=(2, 9)), layer_of("gru")),
        (KERAS["Conv2D"], numbered(kernel=(2, 3, 2, 4), bias=(4,)), layer_of("convolution")),
        (LINEN["LSTMCell"], {f"h{gate}.kernel": numbered(w=(3, 3))["w"] + ord(gate) for gate in "ifgo"},
         layer_of("lstm", gates="ofig")),
    ],
)  # fmt: skip
def test_there_and_back_is_the_same(layout, own, layer):
    matching, found = matched(layout, own, layer)
    back = matching.to_own(found)
    assert back.keys() == own.keys()
    for path, w in own.items():
        np.testing.assert_array_equal(back[path], w)


def test_rows_and_turned_rows_are_said():
    own = numbered(qkv=(4, 12), rest=(3,))
    wanted = {"1.W_q": (4, 4), "1.W_k": (4, 4), "1.b": (3,)}
    shapes = {path: w.shape for path, w in own.items()}
    names = {"1.W_q": "qkv.T[0:4]", "1.W_k": "qkv.T[4:8].T", "1.b": "rest"}
    found = {m.name: m.of(own) for m in said(wanted, shapes, names, Forms())}
    np.testing.assert_array_equal(found["1.W_q"], own["qkv"][:, :4].T)
    np.testing.assert_array_equal(found["1.W_k"], own["qkv"][:, 4:8])


def test_a_bias_beside_its_weight_goes_by_path_whatever_the_order():
    wanted = {"1.W": (3, 2, 2, 1), "1.b": (3,), "2.W": (3, 3), "2.b": (3,)}
    own = {"b.bias": (3,), "b.kernel": (3, 3), "a.bias": (3, 1, 1), "a.kernel": (2, 2, 1, 3)}
    found = {}
    kinds = {name: "bias" if name.endswith("b") else "weight" for name in wanted}
    by_shape(found, wanted, own, Forms(), Relations(kinds, {"1.b": "1.W", "2.b": "2.W"}))
    assert {name: m.path for name, m in found.items()} == {
        "1.W": "a.kernel", "2.W": "b.kernel", "1.b": "a.bias", "2.b": "b.bias",
    }  # fmt: skip


def bare(path, name):
    return RecipeLayer(path, name, {}, (), f"{path}.A", "", (), (), {})


def test_calls_between_layers_with_parameters_are_told_by_kind_and_number():
    recipe = [layer_of("dense", path="1"), bare("2", "activation"), bare("3", "dropout"), layer_of("dense", path="4")]
    recipe.append(bare("5", "activation"))
    owned = {"1": OwnLayer("a", "Linear", {}, ""), "4": OwnLayer("b", "Linear", {}, "")}

    def told(*calls):
        found = layers_by_call(recipe, owned, list(counted_calls(calls)))
        return {place: [layer.path for layer in layers] for place, layers in found.items()}

    relu, drop = ("relu", "activation"), ("drop", "dropout")
    of_layers = {("a", 0): ["1"], ("b", 0): ["4"]}
    assert told(("a", ""), relu, drop, ("b", ""), relu) == of_layers | {
        ("relu", 0): ["2"], ("drop", 0): ["3"], ("relu", 1): ["5"],
    }  # fmt: skip
    assert told(("a", ""), drop, relu, ("b", "")) == of_layers  # in another order
    assert told(("a", ""), relu, relu, ("b", "")) == of_layers  # one more than the recipe's
    assert told(("a", ""), ("b", ""), ("a", "")) == {("b", 0): ["4"]}  # used twice: it is no one layer
    assert list(counted_calls([relu, relu])) == [Call("relu", 0, "activation"), Call("relu", 1, "activation")]
