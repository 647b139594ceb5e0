"""What a network holds, draws and computes, told from shapes, is what it is when it is built."""

import math

import numpy as np
import pytest

from conformance.data.extents import EXTENTS
from conformance.recipes.layer_sizes import PARAMETERS, ShapeError, placed
from conformance.recipes.layers import HELD, LayerChoice, resolve_layers
from conformance.recipes.recipe import Recipe
from conformance.recipes.size import estimate
from conformance.recipes.suites import suite
from reference_numpy import models
from reference_numpy.layers import LAYERS


def extent_of(recipe):
    return EXTENTS[recipe.dataset.name]


def placed_in(recipe):
    extent = extent_of(recipe)
    return list(placed(recipe.model.layers, (extent.features,), tokens=extent.vocabulary is not None))


def values_of(recipe):
    """The values of every layer of a recipe's network, for two examples."""
    extent, model = extent_of(recipe), built(recipe)
    x = np.ones((2, extent.features), np.int64 if extent.vocabulary else np.float64)
    return model.forward(models.initialize(model, np.random.default_rng(0)), x)[1]


def built(recipe):
    extent = extent_of(recipe)
    return recipe.build_model(models, features=extent.features, classes=extent.classes, targets=extent.targets)


def choices(*layers):
    """Layers as a recipe has them."""
    return tuple(map(LayerChoice.model_validate, resolve_layers("layers", layers)))


NETWORKS = pytest.mark.parametrize("recipe", suite("layers"), ids=lambda recipe: recipe.name)


def test_every_layer_that_has_none_inside_has_a_number_of_parameters():
    assert set(PARAMETERS) == set(LAYERS) - set(HELD)


@NETWORKS
def test_the_parameters_are_counted_without_drawing_them(recipe):
    model = built(recipe)
    arrays = [*models.initialize(model, np.random.default_rng(0)).values(), *models.initial_statistics(model).values()]
    assert sum(layer.parameters for layer in placed_in(recipe)) == sum(array.size for array in arrays)
    assert estimate(recipe).parameters == sum(array.size for array in arrays)


@NETWORKS
def test_the_masks_of_dropout_are_counted_without_drawing_them(recipe):
    masks = built(recipe).draw_masks(np.random.default_rng(0), 1)
    assert sum(layer.drawn for layer in placed_in(recipe)) == sum(mask.size for mask in masks.values())
    examples, told = recipe.dataset.examples, estimate(recipe)
    drawn = examples * recipe.epochs * (sum(mask.size for mask in masks.values()) + 8 * (recipe.batch_size is not None))
    weights = 8 * examples if recipe.example_weights == "drawn" else 0
    noise = 8 * extent_of(recipe).features * examples * recipe.epochs * len(recipe.named("gaussian_noise"))
    assert told.tape_bytes == 8 * told.parameters + drawn + weights + noise


@NETWORKS
def test_shapes_and_paths_are_those_of_the_network(recipe):
    values = values_of(recipe)
    for place in placed_in(recipe):
        if f"{place.path}.A" in values:
            assert place.gives == values[f"{place.path}.A"].shape[1:]
    model = built(recipe)
    paths = {name.rpartition(".")[0] for name in models.initialize(model, np.random.default_rng(0))}
    paths = {path.removesuffix(".forward").removesuffix(".backward") for path in paths}
    assert paths == {place.path for place in placed_in(recipe) if place.parameters}


@NETWORKS
def test_no_layer_computes_much_more_than_is_told(recipe):
    values, told = values_of(recipe), sum(place.values for place in placed_in(recipe))
    kept = sum(array.size for name, array in values.items() if not name.endswith("._x")) / 2
    assert kept <= 3 * told + 200


@NETWORKS
def test_a_layer_is_told_to_have_a_mask_where_it_has_one(recipe):
    values = values_of(recipe)
    for place in placed_in(recipe):
        if "." not in place.path:
            assert place.data.masked == (f"{place.path}._mask" in values)


def test_a_mask_goes_no_further_than_its_steps():
    def masked(*layers):
        embedding = {"name": "embedding", "entries": 5, "units": 2, "mask_zero": True}
        return [place.data.masked for place in placed(choices(embedding, *layers), (6,), tokens=True)]

    convolution = {"name": "convolution", "channels": 2, "kernel": [3]}
    rnn = {"name": "simple_rnn", "units": 2}
    assert masked("layer_norm", "positional_encoding", "flatten") == [False, True, True, True]
    assert masked(convolution | {"padding": "same"}, convolution, rnn) == [False, True, True, False]
    assert masked(rnn | {"return_sequences": True}, rnn, {"name": "dense", "units": 2}) == [False, True, True, False]
    assert masked({"name": "residual", "layers": ["layer_norm", convolution | {"padding": 1}]}, rnn) == [
        False, True, True, True,
    ]  # fmt: skip
    assert masked({"name": "sequence", "layers": [convolution, "layer_norm"]}, rnn) == [False, True, False, False]


def test_tokens_go_through_what_does_not_compute_with_them():
    def given(*layers):
        return [place.data.tokens for place in placed(choices(*layers), (6,), tokens=True)]

    tokens = {"name": "embedding", "entries": 5, "units": 2}
    assert given({"name": "reshape", "shape": [6]}, "flatten", tokens, "flatten") == [True, True, True, False]
    assert given({"name": "parallel", "branches": [[tokens], ["flatten", tokens]]}, "layer_norm") == [True] * 3 + [
        False
    ]
    with pytest.raises(ShapeError, match=r"layer 1.2 \(dropout\) is given tokens: must be numbers"):
        given({"name": "parallel", "branches": [[tokens], [{"name": "dropout", "keep_probability": 0.5}]]})


def test_a_large_network_is_told_at_once():
    layers = [{"name": "dense", "units": 65_536}] * 100
    recipe = Recipe.model_validate({
        "name": "large", "dataset": {"name": "npz", "path": "x"}, "loss": "mean_squared_error", "optimizer": "adam",
        "model": {"name": "network", "layers": layers},
    })  # fmt: skip
    found = list(placed(recipe.model.layers, (64,)))
    assert sum(place.parameters for place in found) == 65_536 * (65 + 99 * 65_537)
    assert math.prod(found[-1].gives) == 65_536
