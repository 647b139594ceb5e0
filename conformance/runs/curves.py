"""The curves of a training, from what the free-running check saw of it."""

from collections.abc import Iterator

import numpy as np

from conformance.checks.free_running import afterwards
from conformance.checks.observation import Observation
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array
from conformance.results.store import CurvePoint
from conformance.verdicts.record import Context
from reference_numpy.metrics import accuracy


def curve_points(context: Context, problem: Problem, seen: list[Observation]) -> Iterator[CurvePoint]:
    """Every value of the curves, the mean cost of each epoch, and the accuracies in per cent.

    These at the end, and after every epoch that was watched.
    """
    row = (context.recipe.name, context.implementation, context.dtype)
    epochs = next((np.size(o.value) for o in seen if o.key.tensor == "cost"), 0) // problem.batches_per_epoch
    for key, value, *_ in seen:
        if key.kind == "curve" and np.ndim(value) == 1:
            numbers = np.asarray(value, np.float64)
            for place, number in enumerate(numbers):
                position = place + 1 if key.unit == "epoch" else key.step_of(place)
                yield CurvePoint(*row, key.unit, position, key.tensor, float(number))
            if key.tensor == "cost" and len(numbers) == epochs * problem.batches_per_epoch:
                for epoch, number in enumerate(numbers.reshape(-1, problem.batches_per_epoch).mean(axis=1), start=1):
                    yield CurvePoint(*row, "epoch", epoch, "mean cost", float(number))
        elif key.kind == "decision":
            at_the_end = key.step == afterwards(problem)
            epoch = epochs if at_the_end else key.step // problem.batches_per_epoch
            for quantity, percentage in _accuracies(problem, key.tensor, np.asarray(value)):
                if at_the_end or epoch < epochs:  # a training that stops early may end with an earlier epoch's
                    yield CurvePoint(*row, "epoch", epoch, quantity, percentage)


def _accuracies(problem: Problem, tensor: str, classes: Array) -> Iterator[tuple[str, float]]:
    """Accuracy in per cent (of several labels: the share that is right); also without leaked test rows, if any.

    None of what is not in the shape of the labels.
    """
    dataset = problem.dataset
    labels = dataset.train_y if tensor == "predicted classes (training)" else dataset.test_y
    if np.shape(labels) != np.shape(classes):
        return
    if tensor == "predicted classes (training)":
        yield "training accuracy", _percentage(dataset.train_y, classes)
    elif tensor == "predicted classes (test)":
        yield "test accuracy", _percentage(dataset.test_y, classes)
        if dataset.leaked_test_rows.size:
            kept = [np.delete(labels, dataset.leaked_test_rows, axis=0) for labels in (dataset.test_y, classes)]
            yield "test accuracy without leaked rows", _percentage(*kept)


def _percentage(labels: Array, classes: Array) -> float:
    return 100.0 * float(accuracy(labels.ravel(), classes.ravel()))
