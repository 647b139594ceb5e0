"""How far what was observed is from what a candidate makes, in units of what rounding may leave between them."""

from collections.abc import Sequence

import numpy as np

from conformance.checks.observation import Observation
from conformance.problems.tensors import Array
from conformance.verdicts.compare import Expectation, measure_errors


def shares(observed: Observation, made: Observation, expectation: Expectation) -> Array | None:
    """The errors in allowances where rounding leaves something to be told; None if the shapes differ.

    They are relative to the larger of what was made and the oracle's, beside which the allowance was measured. NaN is
    as right as NaN, and an infinity as itself; of NaN and a number it can always be told that they differ. A curve may
    be longer than the oracle's, whose last allowance then goes on, or shorter. Of a sample, which comes out otherwise
    every time, it is told whether both lie beyond the range that chance allows, and on the same side.
    """
    if np.shape(observed.value) != np.shape(made.value):
        return None
    if expectation.observation.key.kind == "sample":
        return np.where(_sides(observed, expectation) == _sides(made, expectation), 0.0, np.inf)
    oracle = expectation.observation
    observed, made = _finite(observed, made._replace(scale=oracle.scale))
    errors = measure_errors(observed, made)
    if oracle.key.kind != "decision" and np.shape(oracle.value) == np.shape(made.value):
        beside = oracle._replace(value=oracle.value + (observed.value - made.value))
        errors = np.minimum(errors, measure_errors(beside, oracle))
    floor, allowance = np.broadcast_arrays(expectation.floor, expectation.allowance)
    if errors.size != floor.size:
        more = (0, max(0, errors.size - floor.size))
        floor, allowance = (np.pad(numbers, more, "edge")[: errors.size] for numbers in (floor, allowance))
    steps = map(expectation.observation.key.step_of, range(errors.size))
    told = (floor <= expectation.limit) & [step not in expectation.events for step in steps]
    left: Array = np.where(np.isnan(errors), np.inf, errors / allowance)[told | np.isnan(errors)]
    return np.where(np.isnan(left), np.inf, left)


def _sides(found: Observation, expectation: Expectation) -> Array:
    """On which side of the range that chance allows a sample lies: 0 within; 2 for what is no number."""
    assert expectation.observation.margins is not None
    low, high = expectation.observation.margins
    return np.where(np.isnan(found.value), 2, (found.value > high) * 1 - (found.value < low) * 1)


def spreads(draws: Sequence[Observation], expectation: Expectation) -> bool:
    """Whether draws of a sample lie on more than one side of the range that chance allows."""
    sides = [_sides(draw, expectation) for draw in draws]
    return any((side != sides[0]).any() for side in sides[1:])


def is_beyond(found: Observation, expectation: Expectation) -> bool:
    """Whether a sample lies beyond the range that chance allows."""
    return bool(_sides(found, expectation).any())


def _finite(one: Observation, other: Observation) -> tuple[Observation, Observation]:
    """Both with 0 where neither is finite and both are alike."""
    a, b = np.asarray(one.value), np.asarray(other.value)
    alike = ~np.isfinite(a) & ((a == b) | (np.isnan(a) & np.isnan(b)))
    if not alike.any():
        return one, other
    return one._replace(value=np.where(alike, 0, a)), other._replace(value=np.where(alike, 0, b))
