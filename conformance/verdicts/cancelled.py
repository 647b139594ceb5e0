"""Tensors that are 0 in mathematics, seen beside the terms that cancel in them.

The gradient of attention's ``b_k`` is 0, since a softmax takes a common shift away, and so is that of a bias before
batch norm. What is computed is what rounding leaves of a sum, and relative to itself that has no digits. But a wrong
number in its place is a fault, and the sum tells how large rounding may be: a bias's gradient adds up what its weight's
adds up multiplied by the inputs. So where a bias has no digits of its own, its errors are relative to the largest
element of its weight's tensor of the same kind, at the same step and on the same batch; and so are the floor, the
allowance and the limit above which nothing can be told. What an optimizer that divides by a gradient's size makes of
rounding mostly stays above it.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.checks.observation import Key, Observation
from conformance.recipes.layers import PARTNERS
from conformance.verdicts.compare import limit_of
from reference_numpy._common import own_name

Place = tuple[str, int, str]  # stage, step, and what a tensor is called but for its parameter


def beside_their_terms(
    oracles: Sequence[Observation], floors: Iterable[NDArray[Any]], unit_roundoff: float
) -> list[Observation]:
    """The oracle's observations of a check, with a ``scale`` where a bias has no digits of its own.

    ``floors``: of each, relative to its own size. A bias has none if most of its floors, over all steps and batches,
    are above the limit: what is 0 in mathematics is so everywhere.
    """
    sizes = {(_place(o.key), o.key.name): float(np.abs(o.value).max(initial=0.0)) for o in oracles if _has_name(o.key)}
    own: dict[tuple[str, str, str], list[float]] = {}
    for oracle, floor in zip(oracles, floors, strict=True):
        if _has_name(oracle.key) and _partner(oracle.key.name):
            own.setdefault(_tensor(oracle.key), []).append(float(floor[0]))
    limit = limit_of("tensor", unit_roundoff)
    cancelled = {tensor for tensor, found in own.items() if statistics.median_low(found) > limit}
    return [
        oracle._replace(scale=sizes.get((_place(oracle.key), _partner(oracle.key.name)), 0.0))
        if _has_name(oracle.key) and _tensor(oracle.key) in cancelled
        else oracle
        for oracle in oracles
    ]


def _has_name(key: Key) -> bool:
    """Whether it is, or is of, one of the model's parameters, whole."""
    return key.kind == "tensor" and bool(key.name)


def _tensor(key: Key) -> tuple[str, str, str]:
    """The same at all steps and on all batches."""
    return key.stage, key.name, key.slot


def _place(key: Key) -> Place:
    """The same for all parameters: ``("gradient", 0, "d* (first batch)")``."""
    return key.stage, key.step, key.tensor.replace(key.name, "*", 1)


def _partner(name: str) -> str:
    """The weight that a bias goes with, ``"3.W_k"`` for ``"3.b_k"`` and ``"W1"`` for ``"b1"``; nothing for others."""
    around, dot, last = name.rpartition(".")
    own = own_name(name)
    return f"{around}{dot}{PARTNERS[own]}{last.removeprefix(own)}" if own in PARTNERS else ""
