"""The table of errors: its differences, the problem it names, its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_numpy.diagnosis import REMEDIES, ROUNDING, diagnose, format_diagnosis

NAMES = ("human_error", "training_error", "train_dev_error", "dev_error", "test_error")
fractions = st.floats(0, 1)
errors = st.fixed_dictionaries(
    {name: fractions for name in NAMES if name not in ("train_dev_error", "test_error")},
    optional={"train_dev_error": fractions, "test_error": fractions},
)


@given(errors)
def test_the_differences_lead_from_human_error_to_the_last_error(given_errors):
    """At most four subtractions, three additions and one subtraction here, of numbers below 2: each rounds by 2^-53."""
    found = diagnose(**given_errors)
    total = sum(value for name in REMEDIES if (value := getattr(found, name)) is not None)
    last = given_errors.get("test_error", given_errors["dev_error"])
    assert abs(total - (last - given_errors["human_error"])) <= 8 * 2.0**-53
    assert (found.data_mismatch is None) == ("train_dev_error" not in given_errors)
    assert (found.overfitting_to_dev_set is None) == ("test_error" not in given_errors)


@given(errors)
def test_no_difference_exceeds_the_problem_that_is_named(given_errors):
    found = diagnose(**given_errors)
    known = {name: value for name in REMEDIES if (value := getattr(found, name)) is not None}
    if found.largest_problem is None:
        assert max(known.values()) <= ROUNDING
    else:
        assert known[found.largest_problem] >= max(known.values()) - ROUNDING > 0


@pytest.mark.parametrize(
    ("percentages", "differences", "problem"),
    [
        ((1, 8, None, 10, None), (7, 2, None, None), "avoidable_bias"),
        ((7.5, 8, None, 10, None), (0.5, 2, None, None), "variance"),
        ((0, 1, 9, 10, None), (1, 8, 1, None), "variance"),
        ((0, 1, 1.5, 10, None), (1, 0.5, 8.5, None), "data_mismatch"),
        ((0, 10, 11, 12, None), (10, 1, 1, None), "avoidable_bias"),
        ((4, 7, 10, 12, 12), (3, 3, 2, 0), "avoidable_bias"),
        ((4, 6, 8, 9, None), (2, 2, 1, None), "avoidable_bias"),  # a tie, though 0.08 - 0.06 rounds above 0.06 - 0.04
        ((4, 7, 10, 6, 6), (3, 3, -4, 0), "avoidable_bias"),
        ((4, 5, 6, 6, 9), (1, 1, 0, 3), "overfitting_to_dev_set"),
        ((5, 5, 5, 5, 5), (0, 0, 0, 0), None),
        ((5, 4, None, 3, None), (-1, -1, None, None), None),
    ],
)
def test_examples_like_the_course_s_are_read_as_the_course_reads_them(percentages, differences, problem):
    given_errors = {name: None if p is None else p / 100 for name, p in zip(NAMES, percentages, strict=True)}
    found = diagnose(**given_errors)
    for name, difference in zip(REMEDIES, differences, strict=True):
        value = getattr(found, name)
        assert value == difference if difference is None else value == pytest.approx(difference / 100, abs=ROUNDING)
    assert found.largest_problem == problem


@given(errors)
def test_the_text_gives_every_known_number_in_order_to_two_decimals(given_errors):
    found = diagnose(**given_errors)
    order = [name for pair in zip(NAMES, (*REMEDIES, None), strict=True) for name in pair if name]
    # Without a train-dev set, variance stands between training and dev error all the same.
    expected = [(name.replace("train_dev", "train-dev").replace("_", " "), getattr(found, name)) for name in order]
    expected = [(name, value) for name, value in expected if value is not None]
    *rows, last = format_diagnosis(found).splitlines()
    assert [row.rsplit(maxsplit=1)[0].strip() for row in rows] == [name for name, _ in expected]
    for row, (_, value) in zip(rows, expected, strict=True):
        assert "-0.00%" not in row
        assert abs(float(row.split()[-1].removesuffix("%")) - 100 * value) <= 0.005 + 1e-12
    problem = (found.largest_problem or "none").replace("_", " ")
    assert last.startswith(f"largest problem: {problem}")
    assert (REMEDIES.get(found.largest_problem, "none")) in last


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-0.01, 1.5, 8, float("nan")])
def test_an_error_outside_zero_to_one_is_refused(name, value):
    given_errors = dict.fromkeys(("human_error", "training_error", "dev_error"), 0.1) | {name: value}
    with pytest.raises(ValueError, match=rf"^{name}={value!r} is not allowed: must be in \[0, 1\]"):
        diagnose(**given_errors)


@pytest.mark.parametrize("name", ["human_error", "training_error", "dev_error"])
def test_an_error_that_is_needed_cannot_be_none(name):
    given_errors = dict.fromkeys(("human_error", "training_error", "dev_error"), 0.1) | {name: None}
    with pytest.raises(ValueError, match=rf"^{name}=None is not allowed: must be in \[0, 1\]$"):
        diagnose(**given_errors)
