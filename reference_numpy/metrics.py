"""Metrics of a classifier, from true and predicted labels, both integers of shape ``(m,)``.

With ``TP`` true positives, ``FP`` false positives, ``FN`` false negatives. A quotient 0/0 is 0, as it is with
scikit-learn's ``zero_division=0``. All are fractions in [0, 1], not percentages, and all raise ValueError for labels
that are not integers of shape ``(m,)``, of different lengths, or none at all; those with ``positive``, also if it is
not an integer.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


class ClassScores(NamedTuple):
    """What :func:`class_scores` returns, arrays ``(classes,)``, and :func:`macro_average`, numbers."""

    precision: Any
    recall: Any
    f1_score: Any


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Fraction of the examples that are predicted right. Source: the course, course 1 week 2.

    >>> accuracy([0, 1, 1, 0], [0, 1, 0, 0])
    0.75
    """
    labels, predicted = _checked(labels, predicted)
    return float(np.mean(labels == predicted))


def precision(labels: ArrayLike, predicted: ArrayLike, *, positive: int = 1) -> float:
    """Of the examples predicted ``positive``, the fraction that are: ``TP / (TP + FP)``.

    Every label but ``positive`` counts as negative. Source: the course, course 3 week 1.

    >>> precision([1, 0, 0, 0], [1, 1, 0, 0])
    0.5
    """
    true_positives, false_positives, _ = _counts(labels, predicted, positive)
    return float(_quotient(true_positives, true_positives + false_positives))


def recall(labels: ArrayLike, predicted: ArrayLike, *, positive: int = 1) -> float:
    """Of the examples that are ``positive``, the fraction predicted so: ``TP / (TP + FN)``.

    Every label but ``positive`` counts as negative. Source: the course, course 3 week 1.

    >>> recall([1, 1, 1, 0], [1, 0, 0, 0])
    0.3333333333333333
    """
    true_positives, _, false_negatives = _counts(labels, predicted, positive)
    return float(_quotient(true_positives, true_positives + false_negatives))


def f1_score(labels: ArrayLike, predicted: ArrayLike, *, positive: int = 1) -> float:
    """Harmonic mean of precision and recall: ``2 / (1/P + 1/R) = 2 TP / (2 TP + FP + FN)``.

    Every label but ``positive`` counts as negative. Source: the course, course 3 week 1.

    >>> f1_score([1, 1, 0, 0], [1, 0, 1, 0])
    0.5
    """
    true_positives, false_positives, false_negatives = _counts(labels, predicted, positive)
    return float(_quotient(2 * true_positives, 2 * true_positives + false_positives + false_negatives))


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, *, classes: int | None = None) -> Array:
    """``C[i, j]``: how many examples of class ``i`` (row) were predicted as class ``j`` (column).

    ``classes`` is their number, ``k``; None means 1 + the largest label seen. Returns integers of shape ``(k, k)``.
    Also raises ValueError for a label outside ``0 .. k - 1``, or ``classes`` below 1.

    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1])
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 1, 0]])
    """
    labels, predicted = _checked(labels, predicted)
    if classes is None:
        classes = int(max(labels.max(), predicted.max(), 0)) + 1
    elif not (isinstance(classes, (int, np.integer)) and classes >= 1):
        raise ValueError(f"classes={classes!r} is not allowed: must be None or an integer >= 1")
    for name, values in (("labels", labels), ("predicted", predicted)):
        if not (values.min() >= 0 and values.max() < classes):
            raise ValueError(f"{name} span {values.min()} .. {values.max()}: must be in 0 .. {classes - 1}")
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def class_scores(labels: ArrayLike, predicted: ArrayLike, *, classes: int | None = None) -> ClassScores:
    """Precision, recall and F1 of every class against all others, a :class:`ClassScores` of arrays ``(k,)``.

    ``classes`` and errors as in :func:`confusion_matrix`.

    >>> class_scores([0, 0, 1, 2], [0, 1, 1, 1]).recall
    array([0.5, 1. , 0. ])
    """
    matrix = confusion_matrix(labels, predicted, classes=classes)
    right, of_class, predicted_so = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return ClassScores(
        _quotient(right, predicted_so), _quotient(right, of_class), _quotient(2 * right, of_class + predicted_so)
    )


def macro_average(scores: ClassScores) -> ClassScores:
    """The mean over classes of each of the :class:`ClassScores`, every class with the same weight, absent ones too.

    The macro F1 is the mean of the classes' F1, not the harmonic mean of macro precision and macro recall.

    >>> macro_average(class_scores([0, 0, 1, 2], [0, 1, 1, 1])).recall
    0.5
    """
    return ClassScores(*(float(score.mean()) for score in scores))


def _counts(labels: ArrayLike, predicted: ArrayLike, positive: int) -> tuple[Any, Any, Any]:
    """TP, FP and FN."""
    labels, predicted = _checked(labels, predicted)
    if not isinstance(positive, (int, np.integer)):
        raise ValueError(f"positive={positive!r} is not allowed: must be an integer")
    is_positive, said_positive = labels == positive, predicted == positive
    return (
        np.sum(is_positive & said_positive),
        np.sum(~is_positive & said_positive),
        np.sum(is_positive & ~said_positive),
    )


def _quotient(numerator: Any, denominator: Any) -> Any:
    """``numerator / denominator``, 0 where both are 0: no denominator here is 0 with another numerator."""
    return numerator / np.maximum(denominator, 1)


def _checked(labels: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    # A column (m, 1) beside (m,) would broadcast to every pair of examples.
    if labels.ndim != 1 or labels.shape != predicted.shape or labels.size == 0:
        raise ValueError(
            f"labels has shape {labels.shape}, predicted {predicted.shape}: both must be (m,) and equal, m >= 1"
        )
    for name, values in (("labels", labels), ("predicted", predicted)):
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} has dtype {values.dtype}: must be integers")
    return labels, predicted
