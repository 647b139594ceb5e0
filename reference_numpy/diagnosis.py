"""Where a classifier's errors come from: the course's table of human, training, train-dev, dev and test error.

All errors are fractions of the examples, in [0, 1]. Human error stands for the lowest error possible (Bayes error).
Source: the course, course 3 weeks 1 and 2.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

REMEDIES = {
    "avoidable_bias": "a bigger model, longer training, a better optimizer, another architecture",
    "variance": "more training data, regularization, another architecture",
    "data_mismatch": "training data more like the dev set: collected, or made so",
    "overfitting_to_dev_set": "a bigger dev set",
}

# Four errors of at most 1 and two subtractions, each rounded by at most 2^-54, cannot tell differences this close.
ROUNDING = 2.0**-51


class Diagnosis(NamedTuple):
    """What :func:`diagnose` returns: the errors, their differences (None where not known), and the largest problem."""

    human_error: float
    training_error: float
    train_dev_error: float | None
    dev_error: float
    test_error: float | None
    avoidable_bias: float
    variance: float
    data_mismatch: float | None
    overfitting_to_dev_set: float | None
    largest_problem: str | None


def diagnose(
    *,
    human_error: float,
    training_error: float,
    dev_error: float,
    train_dev_error: float | None = None,
    test_error: float | None = None,
) -> Diagnosis:
    """Each step from one error to the next has a name; the largest is the problem to work on first.

    ::

        avoidable bias         = training  - human
        variance               = train-dev - training     (dev - training without a train-dev set)
        data mismatch          = dev       - train-dev    (None without a train-dev set)
        overfitting to dev set = test      - dev          (None without a test set)

    ``largest_problem`` is a key of ``REMEDIES``: of equal differences the one that comes first here, None if no
    difference is above zero. A train-dev set has the distribution of the training set, but is not trained on.
    Returns a :class:`Diagnosis`. Raises ValueError for an error outside [0, 1].

    >>> found = diagnose(human_error=0.01, training_error=0.08, dev_error=0.10)
    >>> round(found.avoidable_bias, 6), round(found.variance, 6), found.largest_problem
    (0.07, 0.02, 'avoidable_bias')
    """
    errors: dict[str, Any] = {
        "human_error": human_error,
        "training_error": training_error,
        "train_dev_error": train_dev_error,
        "dev_error": dev_error,
        "test_error": test_error,
    }
    for name, error in errors.items():
        optional = name in ("train_dev_error", "test_error")
        if not (0 <= error <= 1 if error is not None else optional):
            raise ValueError(f"{name}={error!r} is not allowed: must be in [0, 1]{' or None' if optional else ''}")
    differences: dict[str, Any] = {
        "avoidable_bias": training_error - human_error,
        "variance": (dev_error if train_dev_error is None else train_dev_error) - training_error,
        "data_mismatch": None if train_dev_error is None else dev_error - train_dev_error,
        "overfitting_to_dev_set": None if test_error is None else test_error - dev_error,
    }
    return Diagnosis(**errors, **differences, largest_problem=_largest(differences))


def format_diagnosis(diagnosis: Diagnosis) -> str:
    """The course's table as plain text: the errors, between two of them their difference, and what to try first.

    >>> print(format_diagnosis(diagnose(human_error=0, training_error=0.01, train_dev_error=0.015, dev_error=0.1)))
    human error                  0.00%
      avoidable bias                       1.00%
    training error               1.00%
      variance                             0.50%
    train-dev error              1.50%
      data mismatch                        8.50%
    dev error                   10.00%
    largest problem: data mismatch; try training data more like the dev set: collected, or made so
    """
    rows = (
        "human_error", "avoidable_bias", "training_error", "variance", "train_dev_error", "data_mismatch", "dev_error",
        "overfitting_to_dev_set", "test_error",
    )  # fmt: skip
    lines = []
    for name in rows:
        value = getattr(diagnosis, name)
        if value is not None and name in REMEDIES:
            lines.append(f"  {_words(name):<32}{value:>z10.2%}")
        elif value is not None:
            lines.append(f"{_words(name):<24}{value:>10.2%}")
    problem = diagnosis.largest_problem
    remedy = "none" if problem is None else f"{_words(problem)}; try {REMEDIES[problem]}"
    return "\n".join([*lines, f"largest problem: {remedy}"])


def _largest(differences: Mapping[str, float | None]) -> str | None:
    known = {name: difference for name, difference in differences.items() if difference is not None}
    top = max(known.values())
    if top <= ROUNDING:
        return None
    return next(name for name, difference in known.items() if difference >= top - ROUNDING)


def _words(name: str) -> str:
    return name.replace("train_dev", "train-dev").replace("_", " ")
