"""The suite of networks holds every formulation of every layer, and its recipes can be trained."""

import inspect
import re

import numpy as np
import pytest

from conformance.data.datasets import load_dataset
from conformance.recipes.coverage import coverage, values_of
from conformance.recipes.layer_coverage import FORMULATIONS, SIZES, held, missing, wanted
from conformance.recipes.layers import HELD, defaults_of
from conformance.recipes.recipe import Recipe
from conformance.recipes.size import estimate, require_bounded
from conformance.recipes.suites import suite
from reference_numpy import models, optimizers, regularizers, schedules, training
from reference_numpy.layers import LAYERS
from tests.training_settings import fit_with

NETWORKS = pytest.mark.parametrize("recipe", suite("layers"), ids=lambda recipe: recipe.name)
LAYERS_WITHOUT_KEYWORDS = {"of", "steps", "layers"}  # among the formulations


def test_no_formulation_of_a_layer_is_missing():
    assert {name: values for name, values in missing(suite("layers")).items() if values} == {}
    assert sum(len(wanted(name)) for name in FORMULATIONS) > 150


def test_every_layer_and_every_keyword_of_the_reference_is_counted():
    assert set(FORMULATIONS) == set(LAYERS)
    for name, keywords in FORMULATIONS.items():
        own = set(defaults_of(name)) - set(SIZES)
        assert own == set(keywords) - LAYERS_WITHOUT_KEYWORDS, name
        assert ("layers" in keywords) == (name in HELD)


def test_every_word_that_the_reference_allows_is_counted():
    """The words are read from its own refusals."""
    asked = 0
    usual = {"units": 2, "channels": 2, "kernel": (2,), "window": (2,), "entries": 2, "heads": 1, "shape": (2,)}
    usual |= {"keep_probability": 0.5, "name": "tanh", "layer": LAYERS["lstm"](2)}
    for name, make in LAYERS.items():
        parameters = inspect.signature(make).parameters
        first = [usual[n] for n, p in parameters.items() if p.default is p.empty and n != "layers"]
        first += [LAYERS["dense"](2)] if "layers" in parameters else []
        for keyword in set(FORMULATIONS[name]) - LAYERS_WITHOUT_KEYWORDS - {"function"}:
            try:
                make(*first, **{keyword: "no such word"})
            except (ValueError, TypeError) as error:
                words = re.findall(r"'?([\w]+)'?", str(error).partition("must be one of ")[2])
                if words and FORMULATIONS[name][keyword] != ("usual", "another"):
                    asked += 1
                    assert {word.lower() for word in words} == set(FORMULATIONS[name][keyword]), (name, keyword)
    assert asked >= 15


def test_a_formulation_without_a_recipe_is_found():
    without = [recipe for recipe in suite("layers") if recipe.name != "layers-gru-gates"]
    found = missing(without)
    assert "gates: another" in found["gru"]
    assert "reset: after" not in found["gru"]
    assert set(missing([])["dense"]) == set(wanted("dense"))


def test_a_formulation_held_by_one_recipe_alone_is_lost_with_it():
    """Many a recipe is needed: without it something is missing."""
    everything = suite("layers")
    needed = [recipe.name for recipe in everything if any(missing([r for r in everything if r is not recipe]).values())]
    assert len(needed) >= 15


def test_a_formulation_is_told_from_the_others():
    def holds(**keywords):
        layer = {"name": "convolution", "channels": 4, "kernel": [3, 3]} | keywords
        recipe = Recipe.model_validate({
            "name": "some", "dataset": {"name": "npz", "path": "x"}, "loss": "mean_squared_error", "optimizer": "adam",
            "model": {"name": "network", "layers": [layer]},
        })  # fmt: skip
        return held([recipe])["convolution"]

    assert {"kernel: two axes", "stride: 1", "padding: valid", "dilation: 1", "groups: 1"} < holds()
    assert {"kernel: two axes, uneven", "stride: uneven"} < holds(kernel=[2, 3], stride=[1, 2])
    assert {"kernel: one axis", "padding: numbers", "dilation: more"} < holds(kernel=[2], padding=1, dilation=2)
    assert {"padding: uneven numbers", "groups: some", "bias: false"} < holds(padding=[0, 1], groups=2, bias=False)
    assert {"groups: one for each channel", "initializer: another"} < holds(groups=4, initializer="zeros")


def test_the_listing_of_coverage_has_a_row_for_each_layer():
    rows = {row.factors: row for row in coverage(suite("layers"))}
    assert {name for name in rows if name.startswith("layer ")} == {f"layer {name}" for name in FORMULATIONS}
    assert all(rows[f"layer {name}"].missing == [] for name in FORMULATIONS)
    rows = {row.factors: row for row in coverage(suite("quick"))}
    assert rows["layer lstm"].held == 0
    assert rows["layer lstm"].missing == wanted("lstm")


def test_a_network_holds_no_values_that_dense_networks_alone_have():
    for recipe in suite("layers"):
        found = values_of(recipe)
        assert not any(found[factor] for factor in ("model", "activation", "normalization", "initializer"))
        assert found["batches"]
        assert found["schedule"]


def test_every_optimizer_trains_some_network():
    assert {recipe.optimizer.name for recipe in suite("layers")} == set(optimizers.OPTIMIZERS)


@NETWORKS
def test_a_network_of_the_suite_is_small(recipe):
    require_bounded(recipe)
    size = estimate(recipe)
    assert size.steps <= 24
    assert size.parameters <= 2500
    assert size.tape_bytes <= 200_000


@NETWORKS
def test_a_network_of_the_suite_can_be_trained(recipe):
    choice = recipe.dataset
    data = load_dataset(
        choice.name, scaling=choice.scaling, examples=choice.examples, test_examples=choice.test_examples
    )
    model = recipe.build_model(
        models, features=data.train_x.shape[1], classes=data.n_classes, targets=data.targets
    )  # fmt: skip
    start = models.initialize(model, np.random.default_rng(recipe.seed))
    softmax = recipe.model.output == "softmax"
    history = fit_with(
        training, model, start, data.train_x,
        data.train_y if softmax else data.train_y.reshape(len(data.train_y), -1) * 1.0,
        loss=recipe.loss.name, loss_options=recipe.loss.keywords,
        optimizer=optimizers.OPTIMIZERS[recipe.optimizer.name](**recipe.optimizer.keywords), epochs=recipe.epochs,
        batch_size=recipe.batch_size, penalties=recipe.build_penalties(regularizers), reduction=recipe.reduction,
        constraint=recipe.build_constraint(regularizers), clipping=recipe.build_clipping(regularizers),
        schedule=recipe.build_schedule(schedules), schedule_unit=recipe.schedule.unit,
        frozen_biases=recipe.frozen_biases,
    )  # fmt: skip
    assert np.isfinite(history.costs).all()
    moved = [name for name, w in history.parameters.items() if not np.array_equal(w, start[name])]
    frozen = [name for name in start if recipe.frozen_biases and name.rpartition(".")[2] == "b"]
    still = set(start) - set(moved) - set(frozen)
    assert still <= {name for name in start if name.rpartition(".")[2] == "b_k"}, "a bias of all keys changes nothing"
