"""What the tests of published numbers share: the files, what printed digits allow, and a run of an optimizer."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reference_numpy import optimizers

FLOAT32, FLOAT64 = np.finfo(np.float32).eps, np.finfo(np.float64).eps
ROUNDINGS = 8  # of float64, beside the rounding of a printed number


class Case(NamedTuple):
    """One published run of an optimizer, as rows in the order in which it was printed."""

    name: str
    optimizer: str
    options: dict  # of the right formulation
    wrong: list  # changes to `options` that the numbers must refuse
    replay: Callable[[optimizers.Optimizer, dict], Iterator[np.ndarray]]
    expected: list
    allowances: list

    def deviations(self, change: dict | None = None) -> Iterator[float]:
        """Worst deviation of each row in units of its allowance, as far as it is asked for."""
        options = self.options | (change or {})
        rows = self.replay(optimizers.OPTIMIZERS[self.optimizer](**options), options)
        for row, expected, allowance in zip(rows, self.expected, self.allowances, strict=True):
            yield float(np.max(np.abs(row - expected) / allowance))


def load(name: str) -> dict:
    """One of the data files."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


def float64(values) -> np.ndarray:
    """Numbers of a data file."""
    return np.array(values, np.float64)


def flat(arrays) -> np.ndarray:
    """All numbers of arrays, lists or a dict of them, one after the other."""
    arrays = arrays.values() if isinstance(arrays, dict) else arrays
    return np.concatenate([np.ravel(np.asarray(a, float)) for a in arrays])


def decimals(published) -> int:
    """How many decimals were printed, in the number of an array that has most."""
    return max(-Decimal(repr(value)).as_tuple().exponent for value in np.ravel(published).tolist())


def printed(published, places: int | None = None) -> float:
    """Half a unit of the last decimal that was printed in an array, and the roundings of a replay."""
    places = decimals(published) if places is None else places
    return 0.5 * 10.0**-places + ROUNDINGS * FLOAT64 * float(np.abs(published).max())


def float32(published) -> np.ndarray:
    """Two units of float32, in which the source computed; exact where the source has a zero."""
    return np.maximum(2 * FLOAT32 * np.abs(published), np.finfo(np.float32).tiny)


def worst(value, published) -> float:
    """The greatest deviation from an array of a data file."""
    return float(np.abs(value - float64(published)).max())


def wrong_rate(rate: float) -> list:
    """For an optimizer with one formulation, or none that its numbers can tell: one percent of the rate they can."""
    return [{"learning_rate": 1.01 * rate}]
