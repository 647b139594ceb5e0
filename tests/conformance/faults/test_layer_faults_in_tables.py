"""Which layers a fault is of: how a table says it, and which recipes it then matters to."""

import pytest

from conformance.faults.mutant import LayerKind
from conformance.faults.tables import FaultError, read
from conformance.recipes.coverage import recipe_with

TABLE = """
layer = "gru"
at = "recurrent.py: lstm"

[[fault]]
name = "one kind"
checks = ["forward"]
recipe = {}
numpy = [["a", "b"]]

[[fault]]
name = "two kinds"
layer = ["lstm", { name = "convolution", kernel = [3, 3], groups = 2 }]
checks = ["forward"]
recipe = {}
numpy = [["a", "b"]]

[[fault]]
name = "a layer or a component"
of = ["adam"]
checks = ["forward"]
recipe = {}
numpy = [["a", "b"]]
"""


def faults():
    return {fault.name: fault for fault in read(TABLE, "some.toml")}


def network(*layers, **settings):
    dataset = {"name": "breast_cancer", "examples": 24, "test_examples": 12}
    layers = [{"name": "reshape", "shape": [5, 6]}, *layers, {"name": "flatten"}, {"name": "dense", "units": 1}]
    return recipe_with({}, dataset=dataset, model={"name": "network", "layers": layers}, **settings)


def test_a_table_names_a_layer_or_a_list_of_them_each_with_keywords_or_without():
    assert [fault.layers for fault in faults().values()] == [
        (LayerKind("gru"),),
        (LayerKind("lstm"), LayerKind("convolution", {"kernel": (3, 3), "groups": 2})),
        (LayerKind("gru"),),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"gru"', '"gro"', "some.toml: one kind: layer 'gro' is not known: must be one of dense, activation,"),
        ("groups", "group", "two kinds: keyword of convolution 'group' is not known: must be one of channels, kernel,"),
        ('{ name = "convolution",', "{", "two kinds: layer None is not known"),
    ],
)
def test_a_kind_of_layer_that_is_wrong_is_an_error_that_names_it(old, new, message):
    with pytest.raises(FaultError, match=message):
        list(read(TABLE.replace(old, new), "some.toml"))


def test_a_fault_of_a_layer_matters_to_a_network_that_has_it_at_any_depth():
    fault = faults()["one kind"]
    assert fault.concerns(network({"name": "gru", "units": 2}))
    within = {"name": "bidirectional", "layers": [{"name": "gru", "units": 2}]}
    assert fault.concerns(network(within))
    assert fault.concerns(
        network({"name": "parallel", "branches": [[{"name": "flatten"}], [within]], "join": "concatenate"})
    )
    assert not fault.concerns(network({"name": "lstm", "units": 2}))
    assert not fault.concerns(recipe_with({"optimizer": "adam"}))


def test_a_fault_of_layers_with_keywords_matters_where_all_of_them_are_so():
    fault = faults()["two kinds"]
    image, plain = {"name": "reshape", "shape": [5, 3, 2]}, {"name": "convolution", "channels": 2, "kernel": [3, 3]}
    assert fault.concerns(network(image, plain | {"groups": 2}))
    assert not fault.concerns(network(image, plain))
    assert not fault.concerns(network(image, plain | {"groups": 2, "kernel": [2, 2]}))


def test_a_fault_of_a_component_too_matters_to_recipes_with_either():
    fault = faults()["a layer or a component"]
    assert fault.concerns(recipe_with({"optimizer": "adam"}))
    assert fault.concerns(network({"name": "gru", "units": 2}))
    assert not fault.concerns(network({"name": "lstm", "units": 2}))
    assert not fault.concerns(recipe_with({}))
