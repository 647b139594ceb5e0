"""The tape: every random draw of a recipe as NumPy arrays, drawn once and fed to every implementation."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.data.datasets import Dataset
from conformance.data.randomness import keyed_generator
from conformance.problems.tensors import Array, Masks, Tensors, cast_floats, named, round_floats
from conformance.recipes.recipe import Recipe
from reference_numpy import initializers, models, regularizers


@dataclass(frozen=True)
class Tape:
    """Every random draw of a recipe.

    ``batch_order`` is ``(epochs, m)``, None for full batches, which keep the order of the data. ``dropout_masks``
    maps a hidden layer to ``(epochs, m, n_l)`` booleans, or the path of a mask to ``(epochs, m, ...)``; row ``k``
    belongs to the ``k``-th example visited in that epoch; so it is with the ``augmentation_draws``, one array
    ``(epochs, m, ...)`` for each augmentation. ``example_weights`` are ``(m,)`` or None, in the order of the data.
    """

    initial_parameters: Tensors
    batch_order: Array | None
    dropout_masks: Masks
    augmentation_draws: list[Array] = field(default_factory=list)
    example_weights: Array | None = None

    def rounded(self, dtype: np.dtype[Any]) -> "Tape":
        """The same draws rounded to ``dtype``."""
        weights = self.example_weights
        return replace(
            self,
            initial_parameters=cast_floats(self.initial_parameters, dtype),
            augmentation_draws=[round_floats(draws, dtype) for draws in self.augmentation_draws],
            example_weights=None if weights is None else round_floats(weights, dtype),
        )

    def epochs(self, first: int, last: int) -> "Tape":
        """The draws of the epochs ``first`` to ``last``, counted from 0, ``last`` not included."""
        chosen = slice(first, last)
        return replace(
            self,
            batch_order=None if self.batch_order is None else self.batch_order[chosen],
            dropout_masks={layer: masks[chosen] for layer, masks in self.dropout_masks.items()},
            augmentation_draws=[draws[chosen] for draws in self.augmentation_draws],
        )


def draw_tape(recipe: Recipe, dataset: Dataset) -> Tape:
    """Draw a recipe's tape. Each draw has a generator of its own, keyed by the seed and by what is drawn."""
    examples, features = dataset.train_x.shape
    model = recipe.build_model(models, features=features, classes=dataset.n_classes, targets=dataset.targets)
    batch_order = None
    if recipe.batch_size is not None and recipe.batch_size < examples:
        batch_order = np.stack(
            [keyed_generator(recipe.seed, "batch order", e).permutation(examples) for e in range(recipe.epochs)]
        )
    draws = [
        np.stack(
            [
                augmentation.draw(keyed_generator(recipe.seed, "augmentation", place, epoch), examples, features)
                for epoch in range(recipe.epochs)
            ]
        )
        for place, augmentation in enumerate(
            recipe.build_augmentations(regularizers, dataset.image_shape or (1, features))
        )
    ]
    weights: Array | None = None
    if recipe.example_weights == "drawn":
        weights = np.asarray(keyed_generator(recipe.seed, "example weights").uniform(0.5, 1.5, examples))
    masks = _masks_of_network if isinstance(model, models.Network) else _masks
    return Tape(_initial_parameters(recipe, model), batch_order, masks(recipe, examples, model), draws, weights)


def _initial_parameters(recipe: Recipe, model: models.Model) -> Tensors:
    """Those of each layer, drawn by its own generator; a network of layers draws from one."""
    if isinstance(model, models.Network):
        return model.initialize(keyed_generator(recipe.seed, "initial weights"))
    parameters: Tensors = models.initialize(model, None, initializer="zeros")
    draw = initializers.INITIALIZERS[recipe.initializer.name]
    for layer in range(1, model.depth + 1):
        generator, name = keyed_generator(recipe.seed, "initial weights", layer), named("weight", layer)
        parameters[name] = draw(generator, parameters[name].shape, **recipe.initializer.keywords)
    return parameters


def _masks(recipe: Recipe, examples: int, model: models.DenseNetwork) -> Masks:
    return {
        layer: np.stack([_mask(recipe, layer, epoch, examples, model, keep) for epoch in range(recipe.epochs)])
        for layer, keep in enumerate(model.keep_probabilities, start=1)
        if keep < 1
    }


def _mask(recipe: Recipe, layer: int, epoch: int, examples: int, model: models.DenseNetwork, keep: float) -> Array:
    generator = keyed_generator(recipe.seed, "dropout mask", layer, epoch)
    mask: Array = regularizers.dropout_mask(generator, (examples, model.layer_sizes[layer]), keep_probability=keep)
    return mask


def _masks_of_network(recipe: Recipe, examples: int, model: models.Network) -> Masks:
    epochs = [
        model.draw_masks(keyed_generator(recipe.seed, "dropout masks", epoch), examples)
        for epoch in range(recipe.epochs)
    ]
    return {path: np.stack([drawn[path] for drawn in epochs]) for path in epochs[0]}
