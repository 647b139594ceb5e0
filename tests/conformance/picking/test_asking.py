"""What is asked: every model has a small training, and what is not known is refused with the nearest name."""

import pytest

from conformance.picking.asking import TRAININGS, ask
from conformance.recipes.choosing import find
from conformance.recipes.size import require_bounded


@pytest.mark.parametrize("model", TRAININGS)
def test_every_model_has_a_training_that_fits_its_data(model):
    asked = ask(model=model)
    require_bounded(asked.recipe)
    assert (asked.recipe.model.name, asked.recipe.dtypes) == (model, ("float32",))


@pytest.mark.parametrize("optimizer", ["lbfgs", "torch.SGD", "keras.SGD(momentum=0.9)"])
def test_an_optimizer_may_be_one_of_the_catalogue_or_a_dialect(optimizer):
    recipe = ask(optimizer=optimizer).recipe
    assert (recipe.batch_size is None) == (optimizer == "lbfgs")
    assert recipe.optimizer.keywords["learning_rate"] > 0


def test_a_recipe_is_taken_as_it_is_in_one_precision():
    recipe = find("moons-relu-at-zero")  # of float64 alone
    assert ask(recipe=recipe).dtype == "float64"
    assert ask(recipe="moons-relu-at-zero", dtype="float32").recipe.hash == recipe.hash


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "depnetwork"}, "model='depnetwork' is not allowed: .*did you mean 'deep_network'"),
        ({"optimizer": "adamm"}, "optimizer='adamm' is not allowed: .*did you mean 'adam'"),
        ({"optimizer": "keras.adam"}, "optimizer='keras.adam' is not allowed: .*did you mean 'keras.Adam'"),
        ({"device": "gpuu"}, "device='gpuu' is not allowed: .*did you mean 'gpu'"),
        ({"dtype": "float16"}, "dtype='float16' is not allowed: must be one of 'float64', 'float32'"),
        ({"implementations": ["nunpy"]}, "implementation='nunpy' is not allowed: .*did you mean 'numpy'"),
        ({"implementations": []}, "implementation is empty: must be among numpy, torch, tf, jax"),
        ({"recipe": "moons-twic"}, "recipe='moons-twic' is not known: .*did you mean 'moons-twice'"),
        ({"recipe": "moons-twice", "model": "deep_network"}, "recipe and model or optimizer exclude each other"),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_name_with_the_nearest(given, words):
    with pytest.raises(ValueError, match=words):
        ask(**given)
