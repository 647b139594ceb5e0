"""The curves of a training, from what the free-running check saw of it."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from conformance.checks.free_running import afterwards
from conformance.checks.observation import Observation
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array
from conformance.results.store import CurvePoint
from conformance.verdicts.compare import Expectation, measure_errors
from conformance.verdicts.ranges import fitted
from conformance.verdicts.record import Context
from reference_numpy.metrics import accuracy


def curve_points(
    context: Context, problem: Problem, seen: list[Observation], expectations: Iterable[Expectation] = ()
) -> Iterator[CurvePoint]:
    """Every value of the curves, the mean cost of each epoch, and the accuracies in per cent.

    These at the end, and after every epoch that was watched. ``expectations``: of the check, by which each value of a
    curve has an error, a floor and an allowance.
    """
    expected = {expectation.observation.key: expectation for expectation in expectations}
    row = (context.recipe.name, context.implementation, context.dtype)
    epochs = next((np.size(o.value) for o in seen if o.key.tensor == "cost"), 0) // problem.batches_per_epoch
    for found in seen:
        key, value, *_ = found
        if key.kind == "curve" and np.ndim(value) == 1:
            numbers = np.asarray(value, np.float64)
            compared = _compared(found, expected.get(key))
            for place, (number, margins) in enumerate(zip(numbers.tolist(), compared.tolist(), strict=True)):
                position = place + 1 if key.unit == "epoch" else key.step_of(place)
                yield CurvePoint(*row, key.unit, position, key.tensor, number, *margins)
            if key.tensor == "cost" and len(numbers) == epochs * problem.batches_per_epoch:
                for epoch, number in enumerate(numbers.reshape(-1, problem.batches_per_epoch).mean(axis=1), start=1):
                    yield CurvePoint(*row, "epoch", epoch, "mean cost", float(number))
        elif key.kind == "decision":
            at_the_end = key.step == afterwards(problem)
            epoch = epochs if at_the_end else key.step // problem.batches_per_epoch
            for quantity, percentage in _accuracies(problem, key.tensor, np.asarray(value)):
                if at_the_end or epoch < epochs:  # a training that stops early may end with an earlier epoch's
                    yield CurvePoint(*row, "epoch", epoch, quantity, percentage)


@np.errstate(all="ignore")  # of values that are not finite
def _compared(found: Observation, expectation: Expectation | None) -> NDArray[np.float64]:
    """Error, floor and allowance of each value of a curve; NaN where there is none, as beyond the oracle's last value.

    The oracle's own curve has no error.
    """
    length = np.size(found.value)
    if expectation is None:
        return np.full((length, 3), np.nan)
    oracle = expectation.observation
    errors = np.full(length, np.nan) if found is oracle else measure_errors(fitted(found, oracle), oracle)
    columns = np.stack(np.broadcast_arrays(errors, expectation.floor, expectation.allowance), axis=1)[:length]
    return np.pad(columns, ((0, length - len(columns)), (0, 0)), constant_values=np.nan)


def _accuracies(problem: Problem, tensor: str, classes: Array) -> Iterator[tuple[str, float]]:
    """Accuracy in per cent (of several labels: the share that is right); also without leaked test rows, if any.

    None of what is not in the shape of the labels, or no integers.
    """
    dataset = problem.dataset
    labels = dataset.train_y if tensor == "predicted classes (training)" else dataset.test_y
    if np.shape(labels) != np.shape(classes) or classes.dtype.kind not in "iu":
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
