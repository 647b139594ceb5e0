"""How large the training of a recipe is, told before anything is loaded or drawn."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from conformance.data.extents import EXTENTS, Extent
from conformance.recipes import bounds
from conformance.recipes.components import needs_images, refuse
from conformance.recipes.layer_sizes import Placed, placed
from conformance.recipes.recipe import Recipe, misfits_of_extent
from reference_numpy import regularizers

FLOAT64_BYTES = 8
DRAWN_BYTES = 16  # of an example's flip or shift, at most


class Estimate(NamedTuple):
    """Steps of the whole training, numbers that the model holds, and the bytes of the tape and of the data in float64.

    Batch norm's running statistics count as parameters. A second call of ``fit`` doubles the steps.
    """

    steps: int
    parameters: int
    tape_bytes: int
    data_bytes: int


def estimate(recipe: Recipe, extent: Extent | None = None) -> Estimate | None:
    """The size of a recipe's training on data of an ``extent``, by default that of its data set.

    None where the data lie in files and no extent is given. Raises ValueError where a network's layers do not fit.

    >>> from conformance.recipes.suites import suite
    >>> estimate(suite("quick")[0])
    Estimate(steps=30, parameters=31, tape_bytes=248, data_bytes=136560)
    """
    extent = extent or EXTENTS.get(recipe.dataset.name)
    return None if extent is None else _estimate(recipe, extent)


def _estimate(recipe: Recipe, extent: Extent) -> Estimate:
    examples = recipe.dataset.examples or extent.examples
    batches = -(-examples // (recipe.batch_size or examples))
    parameters = _parameters(recipe, extent)
    return Estimate(
        steps=batches * recipe.epochs * (2 if recipe.fit == "twice" else 1),
        parameters=parameters,
        tape_bytes=FLOAT64_BYTES * parameters + _drawn_bytes(recipe, extent, examples),
        data_bytes=FLOAT64_BYTES
        * extent.features
        * (examples + (recipe.dataset.test_examples or extent.test_examples)),
    )


def require_bounded(recipe: Recipe, extent: Extent | None = None) -> None:
    """Raise ValueError, with a line for each limit that the recipe's training on data of an ``extent`` exceeds.

    And, before, with a line for whatever does not fit such data.
    """
    extent = extent or EXTENTS.get(recipe.dataset.name)
    if extent is not None:
        refuse(misfits_of_extent(recipe, extent))
        refuse(_excesses(recipe, extent))


def _excesses(recipe: Recipe, extent: Extent) -> Iterator[str]:
    found = _estimate(recipe, extent)
    sizes = (
        ("steps", found.steps, bounds.MOST_STEPS),
        ("parameters", found.parameters, bounds.MOST_PARAMETERS),
        ("steps x parameters", found.steps * found.parameters, bounds.MOST_UPDATES),
        ("bytes of random draws", found.tape_bytes, bounds.MOST_TAPE_BYTES),
        ("bytes of optimizer state", _kept_bytes(recipe, found.parameters), bounds.MOST_STATE_BYTES),
        ("bytes of data", found.data_bytes, bounds.MOST_DATA_BYTES),
        ("bytes of layers' values", _value_bytes(recipe, extent), bounds.MOST_VALUE_BYTES),
    )
    for what, size, most in sizes:
        if size > most:
            yield f"the training is too large: {size:,} {what}; allowed: at most {most:,}"


def _parameters(recipe: Recipe, extent: Extent) -> int:
    if recipe.is_network:
        return sum(layer.parameters for layer in _layers(recipe, extent))
    outputs = extent.classes if recipe.model.name in ("softmax_classifier", "multi_task_network") else extent.targets
    sizes = (extent.features, *recipe.model.hidden_units, outputs)
    weights = sum(inputs * units for inputs, units in pairwise(sizes))
    biases = sum(sizes[1:]) if recipe.model.bias else 0
    norm = recipe.model.normalization
    of_norm = 0 if norm is None else 4 if norm.name == "batch_norm" else 2
    return weights + biases + of_norm * sum(recipe.model.hidden_units)


def _kept_bytes(recipe: Recipe, parameters: int) -> int:
    """Of the differences that L-BFGS keeps."""
    history: int = recipe.optimizer.keywords.get("history", 0)
    return 2 * history * FLOAT64_BYTES * parameters


def _value_bytes(recipe: Recipe, extent: Extent) -> int:
    """Of what the layers of a network compute from all examples at once."""
    examples = max(recipe.dataset.examples or extent.examples, recipe.dataset.test_examples or extent.test_examples)
    return FLOAT64_BYTES * examples * sum(layer.values for layer in _layers(recipe, extent))


def _layers(recipe: Recipe, extent: Extent) -> list[Placed]:
    """The layers of a network; of another model none."""
    return list(placed(recipe.model.layers, (extent.features,), tokens=extent.vocabulary is not None))


def _drawn_bytes(recipe: Recipe, extent: Extent, examples: int) -> int:
    """Of the order of the batches, the masks of dropout, the draws of augmentations, and the weights of examples."""
    visit = 0
    if recipe.batch_size is not None and recipe.batch_size < examples:
        visit += FLOAT64_BYTES
    if recipe.named("inverted_dropout"):
        visit += sum(recipe.model.hidden_units)
    visit += sum(layer.drawn for layer in _layers(recipe, extent))
    for component in recipe.named(*regularizers.AUGMENTATIONS):
        images = needs_images(regularizers.AUGMENTATIONS[component.name])
        visit += DRAWN_BYTES if images else FLOAT64_BYTES * extent.features
    weights = FLOAT64_BYTES * examples if recipe.example_weights == "drawn" else 0
    return visit * examples * recipe.epochs + weights
