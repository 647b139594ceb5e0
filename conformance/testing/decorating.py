"""The decorator that makes a test of every check of some subjects, in the manner of scikit-learn's."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from conformance.results.known import Difference
from conformance.testing.carried import Chosen
from conformance.testing.checking import known_of
from conformance.testing.questions import Checks, Subject


def parametrize_with_conformance(
    subjects: Iterable[Subject],
    recipes: Chosen | None = None,
    *,
    dtypes: Iterable[str] | None = None,
    device: str = "cpu",
    known_differences: str | Path | Iterable[Difference] = (),
) -> pytest.MarkDecorator:
    """A decorator for a test of ``subject`` and ``check``, to be called with every check of every subject.

    >>> @parametrize_with_conformance(["numpy"], recipes="breast-cancer-logistic")
    ... def test_mine(subject, check):
    ...     check(subject)

    A check is skipped where the subject does not offer it, and expected to fail where that is known. A recipe is run
    when the first of its checks is called. Arguments as those of :func:`conformance.check`; each recipe is one of each
    subject. Raises ValueError, and BadInput where nothing says what a subject should be.
    """
    known, precisions = known_of(known_differences), None if dtypes is None else list(dtypes)
    parameters = []
    for subject in subjects:
        checks = Checks(subject, recipes, dtypes=precisions, device=device, known=known)
        parameters += [
            pytest.param(subject, question, id=f"{checks.name}-{question.id}") for question in checks.questions()
        ]
    return pytest.mark.parametrize(("subject", "check"), parameters)
