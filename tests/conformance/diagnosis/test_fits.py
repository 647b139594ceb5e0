"""When a candidate may have drawn what was observed of a sample, which no two generators draw alike."""

from types import SimpleNamespace

import numpy as np
import pytest

from conformance.checks.observation import Key, Observation
from conformance.diagnosis.candidates import Candidate
from conformance.diagnosis.evidence import Evidence, First
from conformance.diagnosis.fits import Fits
from conformance.recipes.coverage import recipe_with
from conformance.verdicts.compare import Expectation

KEY = Key("activation", 1, "units alike in two masks", "sample")
ORDERS = Key("input", 1, "epochs in an order that was there before", "sample")
RANGE = np.asarray([0.4, 0.6])
UNCHANGED = 0.5


def seen(value, key=KEY):
    return {key: Observation(key, np.asarray([value]), RANGE)}


def explains(observed, made, draws, key=KEY):
    """Whether a candidate explains what ``native`` saw: it makes ``made`` and, with other seeds, ``draws``."""
    recipe = recipe_with({})
    expectation = Expectation(seen(UNCHANGED, key)[key], np.zeros(1), {}, 2.0**-53, np.dtype("float64"))
    evidence = Evidence(
        recipe, "torch", "float64", {"native": [expectation]}, {"native": seen(observed, key)}, frozenset({"native"}),
        frozenset(), First("native", "fail", ""),
    )  # fmt: skip
    workshop = SimpleNamespace(
        made=lambda candidate, check: seen(made, key),
        unchanged=lambda check: seen(UNCHANGED, key),
        draws=lambda candidate, check: [seen(draw, key) for draw in draws],
    )
    return Fits(evidence, workshop).explains(Candidate("a fault", recipe), "native")


@pytest.mark.parametrize(
    ("observed", "made", "draws", "explained"),
    [
        (0.9, 0.7, [], True),  # the same side
        (0.9, 0.55, [0.58, 0.62, 0.5, 0.5], True),  # the side of one of its draws
        (0.39, 0.55, [0.55, 0.62, 0.5, 0.52], True),  # it spreads more than chance allows, so far
        (0.1, 0.55, [0.55, 0.62, 0.5, 0.52], False),  # but not as far
        (0.39, 0.55, [0.59, 0.41, 0.59, 0.41], False),  # all within the range, where the sample is not
        (0.39, 1.0, [1.0, 1.0, 1.0, 1.0], False),  # always the same
        (0.39, 0.7, [np.nan, 0.62, 0.5, 0.52], False),  # no number is no draw
    ],
)
def test_a_candidate_explains_a_sample_that_it_may_have_drawn(observed, made, draws, explained):
    assert explains(observed, made, draws) == explained


@pytest.mark.parametrize(
    ("observed", "made", "draws", "explained"),
    [
        (0.9, 0.9, [], True),
        (0.7, 0.9, [0.9, 0.9], False),  # on the same side, but with that fault it is never so
        (0.7, 0.9, [0.9, 0.8], True),  # chance has a part in it
        (0.45, 0.5, [0.5, 0.5], True),  # within the range
    ],
)
def test_an_order_that_leaves_nothing_to_chance_is_the_very_same(observed, made, draws, explained):
    assert explains(observed, made, draws, ORDERS) == explained
