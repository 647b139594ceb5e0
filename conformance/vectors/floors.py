"""How far rounding moves what a component answers, and so how far an answer may be from the oracle's.

The reference answers in the working precision in every way of ``conformance/verdicts/rerounding.py``: in another order,
from inputs next to the given ones, with numbers and functions rounded as another library may. The allowance is made of
the largest error by the rule of ``conformance/verdicts/compare.py``. Allowances are kept to four digits.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.checks.observation import Key, Observation
from conformance.data.randomness import keyed_generator
from conformance.problems.tensors import Array, Tensors, cast_floats
from conformance.vectors.formulations import Formulation
from conformance.vectors.kinds import Inputs, Kind
from conformance.vectors.situations import SEED
from conformance.verdicts.compare import FLOOR_FACTOR, ROUNDOFFS, Expectation, measure_errors
from conformance.verdicts.rerounding import (
    VARIANTS,
    Variant,
    arithmetic,
    drawn_salt,
    jittered,
    neighbour,
    rounded_keywords,
)

DIGITS = 4

Allowances = dict[str, float | None]  # by output; None where rounding leaves nothing to be told


def observation(name: str, value: Array) -> Observation:
    """An output as the comparison has it."""
    return Observation(Key("output", 0, name), value)


def error(found: Array, expected: Array) -> float:
    """The scale-free error of an output in its precision; infinite for another shape and for what is not finite."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    if np.array_equal(found, expected):
        return 0.0
    return float(measure_errors(observation("", found), observation("", expected))[0])


def expectation(name: str, oracle: Array, allowance: float, dtype: str) -> Expectation:
    """The oracle's output beside an allowance that was made of a floor."""
    unit = float(np.finfo(dtype).eps) / 2
    floor = np.array([(allowance - ROUNDOFFS * unit) / FLOOR_FACTOR])
    return Expectation(observation(name, oracle), floor, {}, unit, np.dtype(dtype))


def allowances(formulation: Formulation, inputs: Inputs, oracle: Tensors, dtype: str) -> Allowances:
    """The allowance of each output in a precision."""
    precision, unit = np.dtype(dtype), float(np.finfo(dtype).eps) / 2
    runs = [_rerounded(formulation, inputs, precision, number) for number in range(len(VARIANTS))]
    found: Allowances = {}
    for name, expected in oracle.items():
        floor = max(error(np.asarray(run[name], precision), expected) for run in runs)
        expected_so = Expectation(observation(name, expected), np.array([floor]), {}, unit, precision)
        allowance = float(f"{float(expected_so.allowance[0]):.{DIGITS}g}")
        found[name] = allowance if floor <= expected_so.limit else None
    return found


def _rerounded(formulation: Formulation, inputs: Inputs, dtype: np.dtype[Any], number: int) -> Tensors:
    kind, variant = formulation.kind, VARIANTS[number]
    generator = keyed_generator(SEED, f"re-rounding of {formulation.component}", number)
    salt = drawn_salt(generator)
    orders = _Orders(kind, generator if variant.reordered else None)
    given = {
        name: _host(value, variant, dtype, generator) if name in kind.host
        else orders.put(name, _moved(value, variant, dtype, generator, exact=name in kind.exact))
        for name, value in inputs.items()
    }  # fmt: skip
    keywords = formulation.keywords
    if variant.rounded:
        keywords = rounded_keywords(keywords, dtype, generator)
    with arithmetic(variant, salt), np.errstate(all="ignore"):  # float32 may overflow where float64 does not
        answer = kind.evaluate(kind.module, formulation.component, keywords, given)
    return {name: orders.put(name, np.asarray(value), back=True) for name, value in answer.items()}


def _host(value: Any, variant: Variant, dtype: np.dtype[Any], generator: np.random.Generator) -> Any:
    if not variant.rounded:
        return value
    if isinstance(value, list):
        return [neighbour(number, dtype, generator) for number in value]
    return neighbour(value, dtype, generator)


def _moved(value: Any, variant: Variant, dtype: np.dtype[Any], generator: np.random.Generator, *, exact: bool) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    value = value.astype(dtype)
    return jittered(value, generator) if variant.jittered and not exact else value


class _Orders:
    """An order of what each axis counts; without a generator, the one it has."""

    def __init__(self, kind: Kind, generator: np.random.Generator | None) -> None:
        self._kind, self._generator = kind, generator
        self._orders: dict[tuple[str, int], Array] = {}

    def put(self, name: str, value: Any, *, back: bool = False) -> Any:
        """An input in this order, or an output ``back`` in the one it has."""
        if self._generator is None or not isinstance(value, np.ndarray):
            return value
        counted = self._kind.axes_of(name)[: value.ndim]
        for axis, counts in zip(range(value.ndim - len(counted), value.ndim), counted, strict=True):
            if counts:
                size = value.shape[axis]
                order = self._orders.setdefault((counts, size), self._generator.permutation(size))
                value = value.take(np.argsort(order) if back else order, axis=axis)
        return value


def answers_in(formulation: Formulation, inputs: Inputs, dtype: str) -> Mapping[str, Array]:
    """What the reference itself answers in a precision."""
    host = formulation.kind.host
    arrays = {n: v for n, v in inputs.items() if isinstance(v, np.ndarray) and n not in host}
    answer = formulation.answer(inputs | cast_floats(arrays, np.dtype(dtype)))
    return {name: np.asarray(value, dtype) for name, value in answer.items()}
