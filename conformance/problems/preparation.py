"""From a recipe to its problem: the data loaded, the tape drawn, everything rounded to the working precision."""

from dataclasses import replace

import numpy as np

from conformance.data.datasets import DataError, Dataset, load_dataset
from conformance.data.extents import Extent
from conformance.data.randomness import keyed_generator
from conformance.problems.problem import Problem
from conformance.problems.tape import Tape, draw_tape
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.recipe import Recipe
from conformance.recipes.size import require_bounded
from reference_numpy import models, training
from reference_numpy.optimizers import gradient_descent


def prepare(recipe: Recipe, dtype: str) -> Problem:
    """Load a recipe's data and draw its tape, rounded to ``dtype``. Raises DataError where the data cannot be had."""
    choice = recipe.dataset
    dataset = load_dataset(
        choice.name,
        path=choice.path,
        seed=choice.seed,
        scaling=choice.scaling,
        examples=choice.examples,
        test_examples=choice.test_examples,
    )
    _check_fits(recipe, dataset)
    _check_size(recipe, dataset)
    tape = draw_tape(recipe, dataset)
    problem = assemble(recipe, dataset, tape, "float64")
    if recipe.transfer is not None:
        tape = replace(tape, initial_parameters=_pretrained(problem) | _head(problem))
    return assemble(recipe, dataset, tape, dtype)


def assemble(recipe: Recipe, dataset: Dataset, tape: Tape, dtype: str) -> Problem:
    """The problem of a recipe whose data are loaded and whose tape is drawn, rounded to ``dtype``."""
    problem = Problem(
        recipe=recipe,
        dtype=np.dtype(np.float64),
        dataset=dataset,
        raw_train_x=dataset.raw_train_x,
        raw_test_x=dataset.raw_test_x,
        train_x=dataset.train_x,
        train_y=_targets(recipe, dataset.train_y, dataset.n_classes),
        test_x=dataset.test_x,
        test_y=_targets(recipe, dataset.test_y, dataset.n_classes),
        tape=tape,
    )
    return replace(problem.rounded(np.dtype(dtype)), working_dtype=np.dtype(dtype))


def _check_size(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse a training that is too large, which of data in files is seen only now."""
    extent = Extent(
        len(dataset.train_x), len(dataset.test_x), dataset.train_x.shape[1], dataset.n_classes,
        vocabulary=dataset.vocabulary, targets=dataset.targets,
    )  # fmt: skip
    try:
        require_bounded(recipe, extent)
    except ValueError as error:
        raise DataError(str(error)) from error


def _check_fits(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse what only the data can tell: the number of classes, and whether the inputs are images."""
    name, classes = repr(recipe.dataset.name), dataset.n_classes
    if classes == 0 and recipe.decides_classes:
        given, must = f"loss.name={recipe.loss.name!r}", "'mean_squared_error'"
        if recipe.loss.name == "mean_squared_error":
            given, must = f"model.output={recipe.model.output!r}", "'identity'"
        raise DataError(f"{given} is not allowed for {name}, whose targets are numbers and no classes: must be {must}")
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


def _targets(recipe: Recipe, y: Array, classes: int) -> Array:
    """Labels ``(m,)`` for a cross-entropy of a softmax, numbers ``(m, outputs)`` for everything else.

    A softmax's squared error is from 1 for the label's class and 0 for the others.
    """
    if recipe.model.output == "softmax":
        return np.eye(classes)[y] if recipe.loss.name == "mean_squared_error" else y
    return y.astype(np.float64).reshape(len(y), -1)


def _pretrained(problem: Problem) -> Tensors:
    """The parameters of a recipe's transfer: its model, trained to tell the upper half of the targets from the rest."""
    recipe = problem.recipe
    assert recipe.transfer is not None
    model = problem.build_model(models)
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


def _head(problem: Problem) -> Tensors:
    """The initial parameters of the last layer."""
    parameters = problem.tape.initial_parameters
    return {name: w for name, w in parameters.items() if problem.places[name].layer == problem.depth}
