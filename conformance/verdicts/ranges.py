"""Where values leave the range of a precision: the oracle's, those of the re-rounded runs and those that are observed.

A reference that itself overflows has no error and no floor there. Who leaves the range where it does agrees with it;
who is finite where it is not, or leaves the range where it does not, differs.
"""

from collections.abc import Collection, Iterator, Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from conformance.checks.observation import Observation, rank
from conformance.problems.tensors import Array


class Outcome(IntEnum):
    """What is to be said of a value: it can be compared, or one of the two left the range, or both or none surely."""

    COMPARED = 0
    ALONE = 1  # one of the two
    TOGETHER = 2
    UNCERTAIN = 3  # whether it must leave the range is not known


Outcomes = NDArray[np.int64]
Shares = NDArray[np.float64]

DOUBT = 0.5  # a share that is neither none nor all


def fitted(found: Observation | None, oracle: Observation) -> Observation:
    """What was found, with NaN where there is nothing: a training that leaves the range may stop at another epoch."""
    shape = np.shape(oracle.value)
    if found is not None and np.shape(found.value) == shape:
        return found
    if found is None or oracle.key.kind != "curve" or np.ndim(found.value) != 1:
        margins = None if oracle.margins is None else np.full(np.shape(oracle.margins), np.nan)
        return Observation(oracle.key, np.full(shape, np.nan), margins)
    value = np.full(shape, np.nan)
    common = min(value.size, np.size(found.value))
    value[:common] = found.value[:common]
    return found._replace(value=value)


def overflown(oracle: Observation, runs: Sequence[Observation]) -> Shares:
    """The share of runs that leave the range; shape ``(1,)``, or ``(steps,)`` for a curve."""
    shares: Shares = np.mean([_leaves(_numbers(run), oracle) for run in runs], axis=0)
    return shares


def doubted(oracles: Sequence[Observation], shares: Sequence[Shares], lost: Collection[int]) -> list[Shares]:
    """The shares with less than 1 wherever what is not finite was made of what was not finite before it.

    There it is a matter of idiom what becomes of it: nothing times infinity is NaN, and what is left out is nothing.
    ``lost``: the steps at which what the check gives to all is not finite.
    """
    first = min((place for oracle in oracles for place in _places(oracle)), default=None)
    found = []
    for oracle, share in zip(oracles, shares, strict=True):
        steps = map(oracle.key.step_of, range(share.size))
        later = [step in lost or (step, _order(oracle)) != first for step in steps]
        found.append(np.where(is_beyond(oracle) & later, np.minimum(share, DOUBT), share))
    return found


def _places(oracle: Observation) -> Iterator[tuple[int, float]]:
    """Where an observation of the oracle leaves the range, in the order in which things come into being."""
    for entry in np.flatnonzero(is_beyond(oracle)):
        yield oracle.key.step_of(int(entry)), _order(oracle)


def _order(oracle: Observation) -> float:
    key = oracle.key  # a step's rate, cost and norm are before all that it changes, and as good as of one moment
    return -1.0 if key.kind == "curve" and key.stride == 1 else rank(key.stage, key.tensor)


def is_beyond(oracle: Observation) -> NDArray[np.bool_]:
    """Whether the oracle itself is not finite: shape as of :func:`overflown`."""
    return _leaves(_numbers(oracle), oracle)


def outcomes(observed: Observation, oracle: Observation, shares: Shares) -> Outcomes:
    """What is to be said of an observation of the same shape, by entry; ``shares`` as :func:`overflown` gives them."""
    beyond = is_beyond(oracle)
    shares = np.broadcast_to(shares, beyond.shape)
    # A decision that is made of what is not finite is one between nothing and nothing.
    decided = oracle.key.kind == "decision"
    leaves = beyond | (shares == 1) if decided else _leaves(np.asarray(observed.value), oracle)
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


def _leaves(value: Array, oracle: Observation) -> NDArray[np.bool_]:
    return _by_entry(~np.isfinite(value), oracle)


def _by_entry(flags: NDArray[np.bool_], oracle: Observation) -> NDArray[np.bool_]:
    """One flag for a curve's every step, one for anything else."""
    return flags if oracle.key.kind == "curve" else np.asarray([bool(flags.any())])
