"""What may have been laid otherwise between two sides of a pair: the one is asked again, with that undone.

A permutation of a recurrent layer's gates does not show as one in what the layer computes. But where its weights are
given from outside, they can be given in the other order; if all agrees then, that is what differs.
"""

from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

import numpy as np

from conformance.exchange.arrangements import MOST_GATES, arranged_otherwise, gates_named
from conformance.problems.tensors import Array, Tensors

MOST_TRIED = 150  # hypotheses, each of which costs a call


class Hypothesis(NamedTuple):
    """Other weights or inputs to ask with.

    ``border``: the axes at whose ends the outputs are then not comparable.
    """

    words: str
    weights: Tensors | None
    inputs: Tensors
    border: tuple[int, ...] = ()


def hypotheses(weights: Tensors | None, inputs: Tensors) -> Iterator[Hypothesis]:
    """Everything that is tried, the most usual first."""
    if weights is not None:
        for words, changed in _gates(weights):
            yield Hypothesis(f"agrees when its weights are given with {words}", changed, inputs)
        for name, value in weights.items():
            for words, arranged in _of_one(value):
                changed = weights | {name: arranged}
                yield Hypothesis(f"agrees when its {name} is given {words}", changed, inputs)
    for name, x in inputs.items():
        for words, moved, border in _inputs(x):
            yield Hypothesis(f"agrees {words}", weights, inputs | {name: moved}, border)


def _gates(weights: Tensors) -> Iterator[tuple[str, Tensors]]:
    """All weights with their gates in another order: whatever has an axis of as many blocks as there are gates."""
    for count in range(MOST_GATES, 1, -1):
        lengths = {n for w in weights.values() for n in w.shape if n % count == 0 and n > count}
        units = sorted(
            {n // count for n in lengths if any(n // count in w.shape and n in w.shape for w in weights.values())}
        )
        orders = [order for order in permutations(range(count)) if order != tuple(range(count))]
        for order in sorted(orders, key=lambda order: gates_named(order) == ""):
            for unit in units:
                changed = {name: _reordered(w, order, unit) for name, w in weights.items()}
                yield f"their {count} gates in the order {', '.join(map(str, order))}{gates_named(order)}", changed


def _reordered(w: Array, order: tuple[int, ...], unit: int) -> Array:
    """A weight with the blocks of its last axis of that length in another order; one that has none as it is."""
    length = unit * len(order)
    axis = next((axis for axis in reversed(range(w.ndim)) if w.shape[axis] == length), None)
    if axis is None:
        return w
    blocks = np.split(w, len(order), axis)
    return np.concatenate([blocks[place] for place in order], axis)


def _of_one(value: Array) -> Iterator[tuple[str, Array]]:
    """One weight in the other orders that leave it its shape."""
    for words, arranged in arranged_otherwise(value):
        if arranged.shape == value.shape and "gates" not in words:
            yield words, arranged


def _inputs(x: Array) -> Iterator[tuple[str, Array, tuple[int, ...]]]:
    """Inputs moved by one, reversed or turned along axes of space or time."""
    if x.ndim < 3 or x.dtype.kind != "f":
        return
    spaces = [tuple(range(1, x.ndim - 1)), tuple(range(2, x.ndim))]
    for space in dict.fromkeys(spaces):
        axes = ", ".join(map(str, space))
        for step, towards in ((-1, "start"), (1, "end")):
            yield (
                f"inside, but not at the border, when its input is moved by one towards the {towards} along axes"
                f" {axes}: it is padded on the other side",
                _moved(x, space, step),
                space,
            )
    for space in dict.fromkeys(spaces):
        axes = ", ".join(map(str, space))
        yield f"when its input is reversed along axes {axes}", np.flip(x, space).copy(), ()
        if len(space) == 2 and x.shape[space[0]] == x.shape[space[1]]:
            yield f"when axes {axes} of its input are exchanged", np.swapaxes(x, *space).copy(), ()


def _moved(x: Array, axes: tuple[int, ...], step: int) -> Array:
    """The array moved by one along axes, with zeros in the places that come free."""
    moved = np.roll(x, [step] * len(axes), axes)
    for axis in axes:
        free: list[slice | int] = [slice(None)] * x.ndim
        free[axis] = 0 if step > 0 else -1
        moved[tuple(free)] = 0
    return moved


def inside(value: Array, border: tuple[int, ...]) -> Array:
    """A value without its ends along axes, as far as it has them."""
    kept = tuple(
        slice(1, -1) if axis in border and length > 2 else slice(None) for axis, length in enumerate(value.shape)
    )
    return value[kept]
