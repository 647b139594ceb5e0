"""Networks of layers as files: they hold their own layers, and train as the packages do, to the bit."""

import tomllib

import numpy as np
import pytest

from conformance.ejecting.choices import network
from conformance.ejecting.eject import eject
from conformance.ejecting.networks import WRITERS
from conformance.ejecting.networks.places import Place, inside, mask_after, series, starts, walk, whole
from conformance.recipes.layers import all_layers
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite
from reference_numpy import layers
from reference_numpy._layer import Sequence
from reference_numpy.layers import LAYERS
from reference_numpy.network import network as network_of

# A little of what is written in a line or two.
RECIPE = """
name = "small-layers"
loss = "binary_cross_entropy"
dataset = { name = "moons", examples = 26, test_examples = 12, scaling = "standardize" }
optimizer = { name = "gradient_descent", learning_rate = 0.1 }
regularizers = [{ name = "l2", strength = 0.1 }]
batch_size = 10
epochs = 2
dtypes = ["float64"]

[model]
name = "network"
output = "sigmoid"
layers = [
  { name = "dense", units = 4, bias = false },
  { name = "batch_norm", momentum = 0.8 },
  { name = "residual", layers = [
    { name = "activation", function = "tanh" },
    { name = "dropout", keep_probability = 0.8 },
  ] },
  { name = "parallel", join = "concatenate", branches = [
    [{ name = "dense", units = 2 }],
    [{ name = "dense", units = 1 }],
  ] },
  { name = "dense", units = 1 },
]
"""
SMALL = Recipe.model_validate(tomllib.loads(RECIPE))
NETWORKS = [recipe for name in ("layers", "showcases") for recipe in suite(name) if recipe.is_network]


@pytest.fixture(scope="module")
def small():
    """The text of a small network's training."""
    return eject("numpy", SMALL)


def test_a_network_gives_the_packages_numbers_to_the_bit(small, tmp_path, trains_as_the_package):
    trains_as_the_package("numpy", SMALL, "float64", tmp_path, small)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", WRITERS)
@pytest.mark.parametrize("recipe", [SMALL, *NETWORKS], ids=lambda recipe: recipe.name)
@pytest.mark.usefixtures("graphs_as_written")
def test_every_network_gives_the_packages_numbers_to_the_bit(framework, recipe, tmp_path, trains_as_the_package):
    for dtype in recipe.dtypes:
        trains_as_the_package(framework, recipe, dtype, tmp_path, eject(framework, recipe, dtype=dtype))


@pytest.mark.parametrize("framework", WRITERS)
def test_every_layer_can_be_written(framework):
    """That of each recipe whose layers have their counterparts in the suite."""
    found = set()
    for recipe in NETWORKS:
        text = WRITERS[framework](network(recipe)).text()
        compile(text, recipe.name, "exec")
        found |= {layer.name for layer in all_layers(recipe.model.layers)}
    assert found == set(LAYERS)


def test_a_file_holds_its_layers_and_no_others(small):
    assert "def batch_norm(" in small
    assert "def inverted_dropout(" in small
    assert not any(word in small for word in ("layer_norm", "class Layer", "embedding", "convolution", "relu"))


def test_a_network_refuses_data_of_other_sizes(small, tmp_path, module_of, monkeypatch):
    module = module_of(small, tmp_path, "ejected_small")
    monkeypatch.chdir(tmp_path)
    np.savez("wide.npz", x=np.ones((5, 3)), y=np.ones(5))
    np.savez("many.npz", x=np.ones((5, 2)), y=np.ones((5, 2)))
    with pytest.raises(ValueError, match="x has 3 numbers for each example: must have 2"):
        module.train("wide.npz")
    with pytest.raises(ValueError, match="y has 2 numbers for each example: must have 1"):
        module.train("many.npz")


def test_parameters_start_with_the_names_and_shapes_of_the_references():
    for recipe in [SMALL, *NETWORKS]:
        model = network(recipe)
        assert {start.path: start.shape for start in starts(model)} == model.parameter_shapes, recipe.name


def test_a_mask_goes_as_far_as_there_are_steps():
    model = network_of(
        [
            layers.embedding(5, 3, mask_zero=True),
            layers.residual(layers.dense(3)),
            layers.masking(),
            layers.global_max_pool(),
        ],
        (4,),
    )
    found = list(series(model.layers, whole(model, "x")))
    assert [place.mask for _, place in found] == [None, "there1", "there1", "there3"]
    assert mask_after(*found[-1]) is None


def test_the_mask_of_a_series_is_that_of_its_first_layer():
    def after(*parts):
        return mask_after(Sequence(parts), Place("2", (4, 3), "x", "x", "there1"))

    assert after(layers.masking(), layers.dense(3)) == "there2_1"
    assert after(layers.dense(3), layers.masking()) == "there1"
    assert after(layers.masking(), layers.flatten()) is None


def test_branches_take_the_same_and_give_to_names_of_their_own():
    layer = layers.parallel(layers.dense(2), layers.sequence(layers.dense(3), layers.dense(2)))
    found = [(at.path, at.x, at.y) for _, at in inside(layer, Place("4", (3,), "x", "x", None))]
    assert found == [("4.1", "x", "branch4_1"), ("4.2", "x", "branch4_2")]
    paths = [(at.path, at.x) for _, at in walk(layer, Place("4", (3,), "x", "x", None))][-2:]
    assert paths == [("4.2.1", "x"), ("4.2.2", "branch4_2")]
