"""Where values leave the range of a precision: the oracle's, those of the re-rounded runs and those that are observed.

A reference that itself overflows has no error and no floor there. Who leaves the range where it does agrees with it;
who is finite where it is not, or leaves the range where it does not, differs.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.checks.observation import Observation
from conformance.problems.tensors import Array


class Outcome(IntEnum):
    """What is to be said of a value: it can be compared, or one of the two left the range, or both or none surely."""

    COMPARED = 0
    ALONE = 1  # one of the two
    TOGETHER = 2
    UNCERTAIN = 3  # some re-rounded runs are finite there, and some are not


Outcomes = NDArray[np.int64]


def overflown(oracle: Observation, runs: Sequence[Observation]) -> NDArray[np.float64]:
    """The share of runs that leave the range where the oracle does, or, where it does not, anywhere.

    Shape ``(1,)``, or ``(steps,)`` for a curve.
    """
    shares: NDArray[np.float64] = np.mean([_leaves(_numbers(run), _numbers(oracle), oracle) for run in runs], axis=0)
    return shares


def is_beyond(oracle: Observation) -> NDArray[np.bool_]:
    """Whether the oracle itself is not finite: shape as of :func:`overflown`."""
    return _by_entry(~np.isfinite(_numbers(oracle)), oracle, np.any)


def outcomes(observed: Observation, oracle: Observation, shares: NDArray[np.float64]) -> Outcomes:
    """What is to be said of an observation of the same shape, by entry; ``shares`` as :func:`overflown` gives them."""
    beyond = is_beyond(oracle)
    shares = np.broadcast_to(shares, beyond.shape)
    if oracle.key.kind == "decision":  # made of what is not finite, it is a decision between nothing and nothing
        leaves = beyond | (shares == 1)
    else:
        leaves = _leaves(np.asarray(observed.value), _numbers(oracle), oracle)
    all_runs, some_runs = shares == 1, (shares > 0) & (shares < 1)
    found = np.select(
        [beyond & leaves, beyond & ~all_runs, beyond, some_runs, all_runs & leaves, all_runs, leaves],
        [Outcome.TOGETHER, Outcome.UNCERTAIN, Outcome.ALONE, Outcome.UNCERTAIN, Outcome.TOGETHER, Outcome.UNCERTAIN,
         Outcome.ALONE],
        Outcome.COMPARED,
    )  # fmt: skip
    return found.astype(np.int64)


def _numbers(observation: Observation) -> Array:
    """The numbers that may leave the range: of a decision, its margins."""
    return np.asarray(observation.value if observation.margins is None else observation.margins)


def _leaves(value: Array, expected: Array, oracle: Observation) -> NDArray[np.bool_]:
    """Whether a value is not finite wherever the oracle is not, or, where that is finite throughout, anywhere."""
    here, there = ~np.isfinite(value), ~np.isfinite(expected)
    both = _by_entry(here | ~there, oracle, np.all)
    return np.where(_by_entry(there, oracle, np.any), both, _by_entry(here, oracle, np.any))


def _by_entry(flags: NDArray[np.bool_], oracle: Observation, join: Callable[[Array], Any]) -> NDArray[np.bool_]:
    """One flag for a curve's every step, one for anything else."""
    return flags if oracle.key.kind == "curve" else np.asarray([bool(join(flags))])
