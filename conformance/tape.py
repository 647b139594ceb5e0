"""Everything random or read from disk that a recipe needs, as NumPy arrays: its tape and its data.

A :class:`Problem` is what every implementation is given: the same arrays, already rounded to the working precision,
so that whatever differs afterwards was computed differently.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.data import DataError, Dataset, load_dataset
from conformance.randomness import keyed_generator
from conformance.recipe import Recipe
from reference_numpy import models, regularizers

Array = NDArray[Any]
Tensors = dict[str, Array]
Masks = dict[int, Array]


@dataclass(frozen=True)
class Tape:
    """Every random draw of a recipe.

    ``batch_order`` is ``(epochs, m)``, None for full batches, which keep the order of the data. ``dropout_masks``
    maps a hidden layer to ``(epochs, m, n_l)`` booleans; row ``k`` belongs to the ``k``-th example visited in that
    epoch.
    """

    initial_parameters: Tensors
    batch_order: Array | None
    dropout_masks: Masks


class Batch(NamedTuple):
    """One mini-batch: inputs ``(m, n_0)``, targets, and dropout masks by layer."""

    x: Array
    y: Array
    masks: Masks


@dataclass(frozen=True)
class Problem:
    """A recipe at one precision with its data and tape. Inputs, targets and parameters have dtype ``dtype``."""

    recipe: Recipe
    dtype: np.dtype[Any]
    dataset: Dataset
    raw_train_x: Array
    raw_test_x: Array
    train_x: Array
    train_y: Array
    test_x: Array
    tape: Tape

    @property
    def features(self) -> int:
        """Number of inputs, ``n_0``."""
        return int(self.train_x.shape[1])

    @property
    def batches_per_epoch(self) -> int:
        """Number of steps of an epoch, the last small batch included."""
        return -(-len(self.train_x) // (self.recipe.batch_size or len(self.train_x)))

    @property
    def steps(self) -> int:
        """Number of steps of the whole training."""
        return self.batches_per_epoch * self.recipe.epochs

    @property
    def unit_roundoff(self) -> float:
        """Half the distance from 1 to the next number of the working precision."""
        return float(np.finfo(self.dtype).eps) / 2

    def batch(self, step: int) -> Batch:
        """The batch of ``step``, counted from 0."""
        epoch, position = divmod(step, self.batches_per_epoch)
        size = self.recipe.batch_size or len(self.train_x)
        places = slice(position * size, (position + 1) * size)
        order = self.tape.batch_order
        rows = np.arange(len(self.train_x))[places] if order is None else order[epoch, places]
        masks = {layer: mask[epoch, places] for layer, mask in self.tape.dropout_masks.items()}
        return Batch(self.train_x[rows], self.train_y[rows], masks)

    def in_float64(self) -> "Problem":
        """The same numbers, to be computed with in float64."""
        return _cast(self, np.dtype(np.float64))


def draw_tape(recipe: Recipe, features: int, classes: int, examples: int) -> Tape:
    """Draw a recipe's tape. Each draw has a generator of its own, keyed by the seed and by what is drawn."""
    model = recipe.build_model(models, features=features, classes=classes)
    parameters: Tensors = {}
    for layer in range(1, model.depth + 1):
        drawn = models.initialize(
            models.DenseNetwork(model.layer_sizes[layer - 1 : layer + 1], "identity"),
            keyed_generator(recipe.seed, "initial weights", layer),
            initializer=recipe.initializer.name,
            initializer_options=recipe.initializer.keywords,
        )
        parameters |= {f"W{layer}": drawn["W1"], f"b{layer}": drawn["b1"]}
    batch_order = None
    if recipe.batch_size is not None and recipe.batch_size < examples:
        batch_order = np.stack(
            [keyed_generator(recipe.seed, "batch order", e).permutation(examples) for e in range(recipe.epochs)]
        )
    masks = {
        layer: np.stack([_mask(recipe, layer, epoch, examples, model, keep) for epoch in range(recipe.epochs)])
        for layer, keep in enumerate(model.keep_probabilities, start=1)
        if keep < 1
    }
    return Tape(parameters, batch_order, masks)


def prepare(recipe: Recipe, dtype: str) -> Problem:
    """Load a recipe's data and draw its tape, rounded to ``dtype``. Raises DataError where the data cannot be had."""
    choice = recipe.dataset
    load = partial(
        load_dataset,
        choice.name,
        path=choice.path,
        seed=choice.seed,
        examples=choice.examples,
        test_examples=choice.test_examples,
    )
    raw, dataset = load(scaling="none"), load(scaling=choice.scaling)
    categorical = recipe.loss.name == "categorical_cross_entropy"
    if not categorical and dataset.n_classes != 2:
        raise DataError(
            f"loss.name={recipe.loss.name!r} is not allowed for {dataset.n_classes} classes in {choice.name!r}: must be"
            " 'categorical_cross_entropy'"
        )
    problem = Problem(
        recipe=recipe,
        dtype=np.dtype(np.float64),
        dataset=dataset,
        raw_train_x=raw.train_x,
        raw_test_x=raw.test_x,
        train_x=dataset.train_x,
        train_y=dataset.train_y if categorical else dataset.train_y[:, None].astype(np.float64),
        test_x=dataset.test_x,
        tape=draw_tape(recipe, dataset.train_x.shape[1], dataset.n_classes, len(dataset.train_x)),
    )
    return _cast(problem, np.dtype(dtype))


def cast_floats(tensors: Tensors, dtype: np.dtype[Any]) -> Tensors:
    """Every floating-point tensor rounded to ``dtype``."""
    return {name: _round(value, dtype) for name, value in tensors.items()}


def _mask(recipe: Recipe, layer: int, epoch: int, examples: int, model: models.DenseNetwork, keep: float) -> Array:
    generator = keyed_generator(recipe.seed, "dropout mask", layer, epoch)
    mask: Array = regularizers.dropout_mask(generator, (examples, model.layer_sizes[layer]), keep_probability=keep)
    return mask


def _round(value: Array, dtype: np.dtype[Any]) -> Array:
    return value.astype(dtype) if np.issubdtype(value.dtype, np.floating) else value


def _cast(problem: Problem, dtype: np.dtype[Any]) -> Problem:
    tape = replace(problem.tape, initial_parameters=cast_floats(problem.tape.initial_parameters, dtype))
    names = ("raw_train_x", "raw_test_x", "train_x", "train_y", "test_x")
    rounded: dict[str, Any] = {name: _round(getattr(problem, name), dtype) for name in names}
    return replace(problem, dtype=dtype, tape=tape, **rounded)
