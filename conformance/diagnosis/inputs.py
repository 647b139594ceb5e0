"""Inputs in another order: images flattened otherwise, features permuted, or first weights that came in such an order.

The first pre-activations say which order it is, if it has a name: ``Z1 = x[order] W1^T + b1``. If it has none, it is
read from the gradient of the first weights: its columns are those of the oracle, which is given the observed
pre-activations, in that order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations, product
from math import prod
from typing import Any

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.checks.case import Case
from conformance.checks.observation import Key
from conformance.diagnosis.candidates import Candidate
from conformance.diagnosis.explanation import EXPLAINED
from conformance.diagnosis.fits import Fits
from conformance.diagnosis.layouts import order_of
from conformance.diagnosis.stepping import Changed
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors

Order = tuple[int, ...]

AXES = {2: ("rows", "columns"), 3: ("rows", "columns", "channels")}
NAMES = {(2, 0, 1): "channels first", (1, 0): "column by column", (1, 0, 2): "column by column"}
SHOWN = 8  # features of an order that has no name


def reordered(fits: Fits) -> Iterator[Candidate]:
    """The reference with its inputs in the order that the first pre-activations show."""
    for words, order in _found(fits):
        yield Candidate(f"the inputs in another order, {words}", fits.evidence.recipe, changes=(InOrder(order),))


def _found(fits: Fits) -> Iterator[tuple[str, Order]]:
    """The orders in which the inputs seem to be, with a description."""
    case, seen = fits.workshop.case, _first_layer(fits)
    if seen is None:
        return
    problem, (key, z, reach) = case.problem, seen
    x, parameters = problem.batch(0).x, case.points[key.step].parameters
    without = z - parameters.get("b1", 0.0)
    for words, order in named_orders(problem.features, problem.dataset.image_shape):
        if np.abs(x[:, order] @ parameters["W1"].T - without).max() <= reach:
            yield words, order
            return
    read = _by_gradient(fits, case, key, z)
    if read is not None and np.abs(x[:, read] @ parameters["W1"].T - without).max() <= reach:
        shown = ", ".join(map(str, read[:SHOWN])) + (" ..." if len(read) > SHOWN else "")
        yield f"permuted: its features are those numbered {shown}", read


def _first_layer(fits: Fits) -> tuple[Key, Array, float] | None:
    """The first layer's pre-activations that were seen, if they failed, and how near to them is near enough."""
    for expectation in fits.evidence.expected["forward"]:
        key = expectation.observation.key
        if key.name == "Z1" and key in fits.evidence.failed["forward"]:
            value = np.asarray(fits.evidence.seen("forward")[key].value, np.float64)
            oracle = np.asarray(expectation.observation.value)
            if value.shape == oracle.shape and np.isfinite(value).all():
                return key, value, EXPLAINED * float(expectation.allowance.max()) * float(np.abs(oracle).max())
    return None


def named_orders(features: int, image_shape: tuple[int, ...] | None) -> Iterator[tuple[str, Order]]:
    """Orders of features that have a name: images with their axes in another order, or some of them reversed.

    Without images, whatever shape of two or three axes the features may be read in.

    >>> dict(named_orders(4, (2, 2)))["column by column: rows x columns (2, 2) as columns x rows"]
    (0, 2, 1, 3)
    """
    numbers, known = np.arange(features), {tuple(range(features))}
    for shape in [image_shape] if image_shape else _shapes(features):
        names = AXES[len(shape)] if image_shape else tuple(f"axis {axis}" for axis in range(len(shape)))
        plain = tuple(range(len(shape)))
        flips = list(product((False, True), repeat=len(shape)))[1:] if image_shape else []
        ways: list[tuple[Order, Order]] = [(axes, ()) for axes in permutations(plain)]
        ways += [(plain, tuple(axis for axis in plain if flip[axis])) for flip in flips]
        for axes, flipped in ways:
            turned = np.flip(numbers.reshape(shape), flipped).transpose(axes)
            order = tuple(int(n) for n in turned.ravel())
            if order in known:
                continue
            known.add(order)
            if flipped:
                yield f"reversed along {' and '.join(names[axis] for axis in flipped)} of {shape}", order
            else:
                said = f"{' x '.join(names)} {shape} as {' x '.join(names[axis] for axis in axes)}"
                yield (f"{NAMES[axes]}: " if image_shape and axes in NAMES else "") + said, order
    reversed_order = tuple(range(features))[::-1]
    if reversed_order not in known:
        yield "reversed", reversed_order


def _shapes(features: int) -> Iterator[tuple[int, ...]]:
    """The shapes of two axes, and of three with at most 4 channels at either end."""
    for first in (n for n in range(2, features) if features % n == 0):
        rest = features // first
        yield first, rest
        for second in (n for n in range(2, rest) if rest % n == 0):
            shape = (first, second, rest // second)
            if prod(shape) == features and min(shape[0], shape[2]) <= 4:
                yield shape


def _by_gradient(fits: Fits, case: Case, key: Key, z: Array) -> Order | None:
    """The order in which the columns of the first weights' gradient are the expected ones."""
    expectation = next(
        (e for e in fits.evidence.expected["gradients"] if e.observation.key.name == "W1" and
         e.observation.key.step == key.step), None)  # fmt: skip
    if expectation is None or case.problem.recipe.named("inverted_dropout"):
        return None
    observed = fits.evidence.seen("gradients")[expectation.observation.key]
    seen, penalties = np.asarray(observed.value, np.float64), NumpySession(case.problem).objective.penalties
    batch, weights = case.problem.batch(0), case.points[key.step].parameters["W1"]
    expected = _slope(case, key.step, z).T @ batch.x
    seen = seen - sum((p.gradient(weights, len(batch.x)) for p in penalties), 0.0)
    if seen.shape != expected.shape:
        return None
    reach = EXPLAINED * float(expectation.allowance.max()) * float(np.abs(expected).max())
    order = order_of(seen, expected, 1, reach)
    return None if order is None else tuple(order)


def _slope(case: Case, step: int, z: Array) -> Array:
    """The slope of the cost along the first pre-activations, where they are ``z``: ``d cost / d Z1``, as of the oracle.

    It is the gradient of the input of a network whose first weights are the identity.
    """
    problem, session = case.problem, NumpySession(case.problem)
    batch, units = problem.batch(0), z.shape[1]
    parameters = case.points[step].parameters | {"W1": np.eye(units)}
    if "b1" in parameters:
        parameters["b1"] = np.zeros(units)
    session.model = replace(session.model, layer_sizes=(units, *session.model.layer_sizes[1:]))
    return session.gradients(parameters, z, batch.y, None, batch.weights)["A0"]


@dataclass(frozen=True)
class InOrder:
    """The inputs are taken in another order: ``x[:, order]``."""

    order: Order

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _InOrder(session, list(self.order))


class _InOrder(Changed):
    def __init__(self, session: Any, order: list[int]) -> None:
        super().__init__(session)
        self._order = order

    def intermediates(self, parameters: Tensors, x: Array, *rest: Any) -> Any:
        return self.session.intermediates(parameters, x[:, self._order], *rest)

    def losses(self, parameters: Tensors, x: Array, *batch: Any) -> Any:
        return self.session.losses(parameters, x[:, self._order], *batch)

    def gradients(self, parameters: Tensors, x: Array, *batch: Any) -> Tensors:
        found = self.session.gradients(parameters, x[:, self._order], *batch)
        return {**found, "A0": found["A0"][:, np.argsort(self._order)]}

    def running_statistics(self, parameters: Tensors, x: Array, *rest: Any) -> Any:
        return self.session.running_statistics(parameters, x[:, self._order], *rest)

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Any:
        return self.session.predict_classes(parameters, x[:, self._order], statistics)

    def decision_margins(self, parameters: Tensors, x: Array, statistics: Tensors) -> Any:
        return self.session.decision_margins(parameters, x[:, self._order], statistics)

    def fit(self, problem: Problem, *arguments: Any) -> Any:
        own = replace(problem, train_x=problem.train_x[:, self._order], test_x=problem.test_x[:, self._order])
        return self.session.fit(own, *arguments)
