"""The problem: a recipe at one precision with its data and its tape.

It is what every implementation is given: the same arrays, already rounded to the working precision, so that whatever
differs afterwards was computed differently.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from conformance.data.datasets import Dataset
from conformance.problems.tape import Tape
from conformance.problems.tensors import (
    Array,
    Masks,
    Place,
    Tensors,
    named,
    places,
    places_of_paths,
    round_floats,
)
from conformance.recipes.components import Component
from conformance.recipes.recipe import Recipe
from reference_numpy import losses, models, regularizers, training


class Batch(NamedTuple):
    """One mini-batch: inputs ``(m, n_0)`` (augmented), targets, dropout masks by layer or path, and example weights."""

    x: Array
    y: Array
    masks: Masks
    weights: Array | None


@dataclass(frozen=True)
class Problem:
    """A recipe at one precision with its data and tape. Inputs, targets and parameters have dtype ``dtype``.

    ``working_dtype`` is the precision under test, to which their values are rounded also where ``dtype`` is wider.
    """

    recipe: Recipe
    dtype: np.dtype[Any]
    dataset: Dataset
    raw_train_x: Array
    raw_test_x: Array
    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array
    tape: Tape
    working_dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float64))

    @property
    def validation(self) -> tuple[Array, Array] | None:
        """What early stopping listens to: the test set, for want of a dev set. Also if every epoch is looked at."""
        return (self.test_x, self.test_y) if self.stops_early or self.recipe.every_epoch else None

    @property
    def stops_early(self) -> bool:
        """Whether the training may end before its last epoch."""
        return bool(self.recipe.named("early_stopping"))

    @property
    def train_weights(self) -> Array | None:
        """The example weights, ``(m,)``, or None."""
        return self.tape.example_weights

    @property
    def depth(self) -> int:
        """Number of layers with weights, ``L``; of a network of layers, of all in its series."""
        return len(self.recipe.model.layers or self.recipe.model.hidden_units) + (not self.recipe.is_network)

    @property
    def logits(self) -> str:
        """What the model's logits are called."""
        return "Z" if self.recipe.is_network else named("pre-activation", self.depth)

    @property
    def outputs(self) -> str:
        """What the model's outputs are called."""
        return "A" if self.recipe.is_network else named("activation", self.depth)

    @property
    def taken_by_loss(self) -> str:
        """What the loss takes: the logits or the outputs, by name."""
        return self.taken_by(self.recipe.loss.name)

    def taken_by(self, loss: str) -> str:
        """What a loss takes, by name."""
        return self.logits if loss in losses.FROM_LOGITS else self.outputs

    @cached_property
    def places(self) -> dict[str, Place]:
        """What each tensor of the model is, and of which layer, by name."""
        if not self.recipe.is_network:
            return places(self.depth)
        model, parameters = self.build_model(models), self.tape.initial_parameters
        statistics = models.initial_statistics(model)
        values = models.intermediates(model, parameters, self.train_x[:1], training=True)
        return places_of_paths((*parameters, *statistics, *values), self.depth)

    def is_trained(self, name: str) -> bool:
        """Whether training changes the parameter of this name."""
        kind, layer = self.places[name]
        return layer > self.recipe.frozen_layers and not (self.recipe.frozen_biases and kind == "bias")

    def trained(self, parameters: Tensors) -> Tensors:
        """Those of the parameters that training changes."""
        return {name: w for name, w in parameters.items() if self.is_trained(name)}

    @cached_property
    def augmentations(self) -> tuple[Any, ...]:
        """The recipe's augmentations in the reference."""
        return self.recipe.build_augmentations(regularizers, self.dataset.image_shape)

    def build_model(self, package: Any) -> Any:
        """The recipe's model, for these data, from a ``models`` module of one of the four packages."""
        sizes = {"classes": self.dataset.n_classes, "targets": self.dataset.targets}
        return self.recipe.build_model(package, features=self.features, **sizes)

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
        rows = self._rows(step)
        epoch, visits = self._visits(step)
        masks = {layer: mask[epoch, visits] for layer, mask in self.tape.dropout_masks.items()}
        x = training.augment(self.train_x[rows], self.augmentations, self.draws(step))
        weights = None if self.train_weights is None else self.train_weights[rows]
        return Batch(x, self.train_y[rows], masks, weights)

    def plain_inputs(self, step: int) -> Array:
        """The inputs of the batch of ``step`` before augmentation."""
        plain: Array = self.train_x[self._rows(step)]
        return plain

    def draws(self, step: int) -> list[Array]:
        """What the augmentations of the batch of ``step`` drew."""
        epoch, visits = self._visits(step)
        return [drawn[epoch, visits] for drawn in self.tape.augmentation_draws]

    def _visits(self, step: int) -> tuple[int, slice]:
        """The epoch of a step, and its places in it."""
        epoch, position = divmod(step, self.batches_per_epoch)
        size = self.recipe.batch_size or len(self.train_x)
        return epoch, slice(position * size, (position + 1) * size)

    def _rows(self, step: int) -> Array:
        epoch, visits = self._visits(step)
        order = self.tape.batch_order
        return np.arange(len(self.train_x))[visits] if order is None else order[epoch, visits]

    def epochs(self, first: int, last: int) -> "Problem":
        """The part of the training from epoch ``first``, counted from 0, to ``last``, which is not included."""
        recipe = self.recipe.model_copy(update={"epochs": last - first})
        return replace(self, recipe=recipe, tape=self.tape.epochs(first, last))

    def fit_once(self) -> "Problem":
        """The same training, asked for in one call."""
        return replace(self, recipe=self.recipe.model_copy(update={"fit": "once"}))

    def in_float64(self) -> "Problem":
        """The same numbers, to be computed with in float64; the working precision stays what it was."""
        problem, optimizer = self.rounded(np.dtype(np.float64)), self.recipe.optimizer
        if optimizer.keywords.get("correction_precision") != "working" or self.working_dtype == problem.dtype:
            return problem
        keywords = optimizer.keywords | {"correction_precision": self.working_dtype.name}
        recipe = self.recipe.model_copy(update={"optimizer": Component(name=optimizer.name, **keywords)})
        return replace(problem, recipe=recipe)

    def rounded(self, dtype: np.dtype[Any]) -> "Problem":
        """The same problem with every real number rounded to ``dtype``, to be computed with in it."""
        names = ("raw_train_x", "raw_test_x", "train_x", "train_y", "test_x", "test_y")
        arrays: dict[str, Any] = {name: round_floats(getattr(self, name), dtype) for name in names}
        return replace(self, dtype=dtype, tape=self.tape.rounded(dtype), **arrays)
