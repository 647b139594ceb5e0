"""Layouts are told by name, and what is none of them is not taken for one."""

import numpy as np
import pytest

from conformance.diagnosis.layouts import recognise

TOLERANCE = 1e-12
WIDE = np.array([[1.0, -2.0, 4.0], [8.0, 16.0, -32.0]])
SQUARE = np.array([[1.0, 2.0, 4.0], [8.0, -16.0, 32.0], [64.0, 128.0, 256.0]])
CUBE = np.random.default_rng(0).standard_normal((2, 3, 4))
VECTOR = np.array([3.0, -1.0, 4.0, 10.0])

ORDER = " of the expected ones"
SHUFFLED = "shuffled: the expected numbers in other places"


@pytest.mark.parametrize(
    ("rearrange", "expected", "name"),
    [
        (lambda a: a.T, WIDE, "transposed"),
        (lambda a: a.T, SQUARE, "transposed"),
        (lambda a: a.T.reshape(a.shape), WIDE, "reshaped: read row by row, written column by column"),
        (lambda a: a.ravel().reshape(a.shape, order="F"), WIDE, "reshaped: read column by column, written row by row"),
        (lambda a: a[::-1], WIDE, "reversed along axis 0"),
        (lambda a: a[:, ::-1], SQUARE, "reversed along axis 1"),
        (lambda a: a[::-1], VECTOR, "reversed along axis 0"),
        (lambda a: a[:, :, ::-1], CUBE, "reversed along axis 2"),
        (lambda a: a[[1, 2, 0]], SQUARE, "permuted: its rows are those numbered 1, 2, 0" + ORDER),
        (lambda a: a[:, [1, 2, 0]], WIDE, "permuted: its columns are those numbered 1, 2, 0" + ORDER),
        (lambda a: a[[2, 0, 1, 3]], VECTOR, "permuted: its elements are those numbered 2, 0, 1, 3" + ORDER),
        (lambda a: a[:, [1, 2, 0]], CUBE, "permuted: its slices along axis 1 are those numbered 1, 2, 0" + ORDER),
        (lambda a: a.ravel()[[1, 2, 0, 5, 3, 4]].reshape(a.shape), WIDE, SHUFFLED),
        (lambda a: -a, WIDE, "negated"),
        (lambda a: -a, VECTOR, "negated"),
        (lambda a: 24 * a, SQUARE, "multiplied by 24"),
        (lambda a: a / 24, VECTOR, "multiplied by 0.0416667"),
        (lambda a: -2 * a, VECTOR, "multiplied by -2"),
        (lambda a: 0 * a, VECTOR, "multiplied by 0"),
    ],
)  # fmt: skip
def test_a_layout_is_told_by_its_name(rearrange, expected, name):
    assert recognise(rearrange(expected), expected, TOLERANCE) == name


def test_each_element_of_a_permutation_is_given_to_one_place():
    expected = np.array([5.0, 7.0, 5.0, 9.0])
    name = recognise(np.array([7.0, 5.0, 9.0, 5.0]), expected, TOLERANCE)
    assert name == "permuted: its elements are those numbered 1, 0, 3, 2 of the expected ones"
    assert recognise(np.array([7.0, 7.0, 9.0, 5.0]), expected, TOLERANCE) == ""


def test_of_a_long_permutation_the_beginning_is_shown():
    expected = np.arange(1.0, 21.0)
    name = recognise(np.roll(expected, 1), expected, TOLERANCE)
    assert name == "permuted: its elements are those numbered 19, 0, 1, 2, 3, 4, 5, 6 ... of the expected ones"


@pytest.mark.parametrize(
    "observed",
    [
        WIDE,
        WIDE * (1 + 1e-13),
        WIDE + 1.0,
        np.where(WIDE == 16, 16.5, WIDE),
        np.where(WIDE.T == 16, 16.5, WIDE.T),
        np.where(WIDE == 16, 16.5, 2 * WIDE),
        WIDE[[0, 0]],
        WIDE.ravel(),
        WIDE[:, :2],
        np.zeros((2, 4)),
    ],
)
def test_what_agrees_and_what_is_nearly_a_layout_has_no_name(observed):
    assert recognise(observed, WIDE, TOLERANCE) == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_name(bad):
    observed = WIDE.T.copy()
    observed[0, 0] = bad
    assert recognise(observed, WIDE, TOLERANCE) == ""


@pytest.mark.parametrize("observed", [np.zeros(3), np.ones(3), np.zeros(0)])
def test_nothing_is_a_layout_of_zeros(observed):
    assert recognise(observed, np.zeros_like(observed), TOLERANCE) == ""


def test_what_is_its_own_transpose_is_told_from_it_by_nothing():
    symmetric = SQUARE + SQUARE.T
    assert recognise(symmetric.T, symmetric, TOLERANCE) == ""


def test_the_tolerance_is_relative_to_the_largest_expected_number():
    transposed = WIDE.T.copy()
    transposed[0, 0] += 0.5 * 32.0 * 1e-3
    assert recognise(transposed, WIDE, 1e-3) == "transposed"
    transposed[0, 0] += 32.0 * 1e-3
    assert recognise(transposed, WIDE, 1e-3) == ""


def test_single_precision_is_compared_as_it_is():
    observed = WIDE.T.astype(np.float32)
    assert recognise(observed, WIDE, 2.0**-20) == "transposed"
