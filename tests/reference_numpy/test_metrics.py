"""Metrics, held to scikit-learn to the last bit: both divide the same two counts once, and average by NumPy's mean."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from reference_numpy import metrics

BINARY = (metrics.precision, metrics.recall, metrics.f1_score)
DTYPES = (np.int8, np.uint8, np.int32, np.int64, np.uint64)


@st.composite
def labelled(draw):
    """True and predicted labels in ``0 .. classes - 1``, and ``classes``; some classes are absent."""
    classes, examples = draw(st.integers(1, 20)), draw(st.integers(1, 60))
    values = st.lists(st.integers(0, classes - 1), min_size=examples, max_size=examples)
    labels, predicted = (np.array(draw(values), draw(st.sampled_from(DTYPES))) for _ in range(2))
    return labels, predicted, classes


@given(labelled())
def test_accuracy_equals_scikit_learn(case):
    labels, predicted, _ = case
    assert metrics.accuracy(labels, predicted) == sklearn.metrics.accuracy_score(labels, predicted)


@pytest.mark.parametrize("metric", BINARY)
@given(case=labelled(), positive=st.integers(0, 3))
def test_binary_metrics_equal_scikit_learn(metric, case, positive):
    labels, predicted, _ = case
    in_scikit_learn = getattr(sklearn.metrics, metric.__name__.removesuffix("_score") + "_score")
    expected = in_scikit_learn((labels == positive).astype(int), (predicted == positive).astype(int), zero_division=0)
    assert metric(labels, predicted, positive=positive) == expected


@given(labelled())
def test_the_confusion_matrix_equals_scikit_learn(case):
    labels, predicted, classes = case
    # One class more: of a single one scikit-learn warns.
    expected = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(classes + 1))[:classes, :classes]
    assert np.array_equal(metrics.confusion_matrix(labels, predicted, classes=classes), expected)
    seen = 1 + max(labels.max().item(), predicted.max().item())
    assert np.array_equal(metrics.confusion_matrix(labels, predicted), expected[:seen, :seen])


@given(labelled())
def test_scores_of_every_class_and_their_macro_average_equal_scikit_learn(case):
    labels, predicted, classes = case
    scores = metrics.class_scores(labels, predicted, classes=classes)
    for average, found in ((None, scores), ("macro", metrics.macro_average(scores))):
        expected = sklearn.metrics.precision_recall_fscore_support(
            labels, predicted, labels=range(classes), average=average, zero_division=0
        )[:3]
        assert np.array_equal(np.array(found), np.array(expected))


@given(labelled())
def test_scores_of_a_class_are_the_binary_ones_with_that_class_as_positive(case):
    labels, predicted, classes = case
    scores = metrics.class_scores(labels, predicted, classes=classes)
    for metric, found in zip(BINARY, scores, strict=True):
        assert found.tolist() == [metric(labels, predicted, positive=k) for k in range(classes)]


@pytest.mark.parametrize("metric", BINARY)
def test_nothing_over_nothing_is_zero(metric):
    assert metric([0, 0], [0, 0]) == 0


@pytest.mark.parametrize("metric", [metrics.accuracy, *BINARY, metrics.confusion_matrix, metrics.class_scores])
@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([0, 1], [0], r"labels has shape \(2,\), predicted \(1,\): both must be \(m,\) and equal"),
        ([0, 1], [[0], [1]], r"labels has shape \(2,\), predicted \(2, 1\)"),
        ([[0], [1]], [[0], [1]], r"labels has shape \(2, 1\)"),
        ([], [], r"labels has shape \(0,\), predicted \(0,\): both must be \(m,\) and equal, m >= 1"),
        ([0, 1], [0.2, 0.9], "predicted has dtype float64: must be integers"),
        ([False, True], [0, 1], "labels has dtype bool: must be integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(metric, labels, predicted, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, predicted)


@pytest.mark.parametrize("metric", [metrics.confusion_matrix, metrics.class_scores])
@pytest.mark.parametrize(
    ("labels", "predicted", "classes", "message"),
    [
        ([0, 3], [0, 1], 3, r"labels span 0 \.\. 3: must be in 0 \.\. 2"),
        ([0, 1], [-1, 1], None, r"predicted span -1 \.\. 1: must be in 0 \.\. 1"),
        ([-2], [-1], None, r"labels span -2 \.\. -2: must be in 0 \.\. 0"),
        ([0], [0], 0, "classes=0 is not allowed: must be None or an integer >= 1"),
        ([0], [0], 2.0, "classes=2.0 is not allowed"),
    ],
)
def test_labels_out_of_range_are_refused(metric, labels, predicted, classes, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, predicted, classes=classes)


@pytest.mark.parametrize("metric", BINARY)
def test_a_positive_label_that_is_no_integer_is_refused(metric):
    with pytest.raises(ValueError, match="positive='1' is not allowed: must be an integer"):
        metric([0, 1], [0, 1], positive="1")
