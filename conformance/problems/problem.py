"""Everything random or read from disk that a recipe needs, as NumPy arrays: its tape and its data.

A :class:`Problem` is what every implementation is given: the same arrays, already rounded to the working precision,
so that whatever differs afterwards was computed differently.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.data.datasets import DataError, Dataset, load_dataset
from conformance.data.randomness import keyed_generator
from conformance.recipes.recipe import Recipe
from reference_numpy import initializers, models, regularizers, training
from reference_numpy.optimizers import gradient_descent

Array = NDArray[Any]
Tensors = dict[str, Array]
Masks = dict[int, Array]


@dataclass(frozen=True)
class Tape:
    """Every random draw of a recipe.

    ``batch_order`` is ``(epochs, m)``, None for full batches, which keep the order of the data. ``dropout_masks``
    maps a hidden layer to ``(epochs, m, n_l)`` booleans; row ``k`` belongs to the ``k``-th example visited in that
    epoch; so it is with the ``augmentation_draws``, one array ``(epochs, m, ...)`` for each augmentation.
    ``example_weights`` are ``(m,)`` or None, in the order of the data.
    """

    initial_parameters: Tensors
    batch_order: Array | None
    dropout_masks: Masks
    augmentation_draws: list[Array] = field(default_factory=list)
    example_weights: Array | None = None


class Batch(NamedTuple):
    """One mini-batch: inputs ``(m, n_0)`` (augmented), targets, dropout masks by layer, and example weights."""

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
        """What early stopping listens to: the test set, which stands in for a dev set here."""
        stops = any(component.name == "early_stopping" for component in self.recipe.regularizers)
        return (self.test_x, self.test_y) if stops else None

    @property
    def train_weights(self) -> Array | None:
        """The example weights, ``(m,)``, or None."""
        return self.tape.example_weights

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
        epoch, places = self._places(step)
        masks = {layer: mask[epoch, places] for layer, mask in self.tape.dropout_masks.items()}
        augmentations = self.recipe.build_augmentations(regularizers, self.dataset.image_shape)
        x = training.augment(self.train_x[rows], augmentations, self.draws(step))
        weights = None if self.train_weights is None else self.train_weights[rows]
        return Batch(x, self.train_y[rows], masks, weights)

    def plain_inputs(self, step: int) -> Array:
        """The inputs of the batch of ``step`` before augmentation."""
        plain: Array = self.train_x[self._rows(step)]
        return plain

    def draws(self, step: int) -> list[Array]:
        """What the augmentations of the batch of ``step`` drew."""
        epoch, places = self._places(step)
        return [drawn[epoch, places] for drawn in self.tape.augmentation_draws]

    def _places(self, step: int) -> tuple[int, slice]:
        """The epoch of a step, and its places in it."""
        epoch, position = divmod(step, self.batches_per_epoch)
        size = self.recipe.batch_size or len(self.train_x)
        return epoch, slice(position * size, (position + 1) * size)

    def _rows(self, step: int) -> Array:
        epoch, places = self._places(step)
        order = self.tape.batch_order
        return np.arange(len(self.train_x))[places] if order is None else order[epoch, places]

    def in_float64(self) -> "Problem":
        """The same numbers, to be computed with in float64."""
        return _cast(self, np.dtype(np.float64))


def draw_tape(
    recipe: Recipe, features: int, classes: int, examples: int, image_shape: tuple[int, ...] | None = None
) -> Tape:
    """Draw a recipe's tape. Each draw has a generator of its own, keyed by the seed and by what is drawn."""
    model = recipe.build_model(models, features=features, classes=classes)
    parameters: Tensors = models.initialize(model, None, initializer="zeros")
    for layer in range(1, model.depth + 1):
        parameters[f"W{layer}"] = initializers.INITIALIZERS[recipe.initializer.name](
            keyed_generator(recipe.seed, "initial weights", layer),
            parameters[f"W{layer}"].shape,
            **recipe.initializer.keywords,
        )
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
    draws = [
        np.stack(
            [
                augmentation.draw(keyed_generator(recipe.seed, "augmentation", place, epoch), examples, features)
                for epoch in range(recipe.epochs)
            ]
        )
        for place, augmentation in enumerate(recipe.build_augmentations(regularizers, image_shape or (1, features)))
    ]
    weights = None
    if recipe.example_weights == "drawn":
        weights = keyed_generator(recipe.seed, "example weights").uniform(0.5, 1.5, examples)
    return Tape(parameters, batch_order, masks, draws, weights)


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
    _check_fits(recipe, dataset)
    problem = Problem(
        recipe=recipe,
        dtype=np.dtype(np.float64),
        dataset=dataset,
        raw_train_x=raw.train_x,
        raw_test_x=raw.test_x,
        train_x=dataset.train_x,
        train_y=_targets(recipe, dataset.train_y),
        test_x=dataset.test_x,
        test_y=_targets(recipe, dataset.test_y),
        tape=draw_tape(recipe, dataset.train_x.shape[1], dataset.n_classes, len(dataset.train_x), dataset.image_shape),
    )
    if recipe.transfer is not None:
        parameters = _pretrained(problem) | _head(problem.tape.initial_parameters)
        problem = replace(problem, tape=replace(problem.tape, initial_parameters=parameters))
    return replace(_cast(problem, np.dtype(dtype)), working_dtype=np.dtype(dtype))


def _check_fits(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse what only the data can tell: the number of classes, and whether the inputs are images."""
    name, classes = repr(recipe.dataset.name), dataset.n_classes
    if recipe.model.output == "sigmoid" and dataset.train_y.ndim == 1 and classes != 2:
        raise DataError(
            f"loss.name={recipe.loss.name!r} is not allowed for {classes} classes in {name}: must be"
            " 'categorical_cross_entropy'"
        )
    if recipe.image_augmentations and dataset.image_shape is None:
        raise DataError(f"regularizers names a flip or a shift: the inputs of {name} must be images")
    norm, last = recipe.model.normalization, len(dataset.train_x) % (recipe.batch_size or len(dataset.train_x))
    if norm is not None and norm.keywords.get("running_variance") == "unbiased" and 1 in (recipe.batch_size, last):
        raise DataError(
            f"batch_size={recipe.batch_size!r} is not allowed for {len(dataset.train_x)} examples of {name}: a batch of"
            " one has no unbiased variance"
        )
    weights = recipe.loss.keywords.get("class_weights")
    if weights is not None and len(weights) != classes:
        raise DataError(f"loss.class_weights={weights!r} is not allowed for {name}: must be {classes} numbers")


def _targets(recipe: Recipe, y: Array) -> Array:
    """Labels ``(m,)`` for a softmax, numbers ``(m, outputs)`` for everything else."""
    if recipe.model.output == "softmax":
        return y
    return y.astype(np.float64).reshape(len(y), -1)


def _pretrained(problem: Problem) -> Tensors:
    """The parameters of a recipe's transfer: its model, trained to tell the upper half of the targets from the rest."""
    recipe = problem.recipe
    assert recipe.transfer is not None
    model = recipe.build_model(models, features=problem.features, classes=problem.dataset.n_classes)
    generator = keyed_generator(recipe.seed, "pretraining head")
    model, parameters = models.replace_head(model, problem.tape.initial_parameters, generator, outputs=1)
    targets = problem.dataset.train_y.reshape(len(problem.train_x), -1).sum(axis=1)
    trained: Tensors = training.fit(
        model,
        parameters,
        problem.train_x,
        (targets > np.median(targets))[:, None].astype(np.float64),
        loss="binary_cross_entropy",
        optimizer=gradient_descent(recipe.transfer.pretraining_rate),
        epochs=recipe.transfer.pretraining_epochs,
    ).parameters
    return trained


def _head(parameters: Tensors) -> Tensors:
    last = max(layer_of(name) for name in parameters)
    return {f"W{last}": parameters[f"W{last}"], f"b{last}": parameters[f"b{last}"]}


def layer_of(name: str) -> int:
    """The layer that a tensor belongs to, from its name: 12 for ``"gamma12"``."""
    return int(name.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"))


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
    drawn = problem.tape
    tape = replace(
        drawn,
        initial_parameters=cast_floats(drawn.initial_parameters, dtype),
        augmentation_draws=[_round(draws, dtype) for draws in drawn.augmentation_draws],
        example_weights=None if drawn.example_weights is None else _round(drawn.example_weights, dtype),
    )
    names = ("raw_train_x", "raw_test_x", "train_x", "train_y", "test_x", "test_y")
    rounded: dict[str, Any] = {name: _round(getattr(problem, name), dtype) for name in names}
    return replace(problem, dtype=dtype, tape=tape, **rounded)
