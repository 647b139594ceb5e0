"""The reference in the place of what an implementation does not give, so that what comes after it can be looked at."""

from functools import cached_property

import numpy as np

from conformance.adapters.guarded import Unreadable
from conformance.adapters.numpy import NumpySession
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Array, Tensors


class StandIn:
    """The reference in the precision in which a problem is looked at; nothing is computed where nothing is missing."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    @cached_property
    def _reference(self) -> NumpySession:
        return NumpySession(self._problem)

    def gradients(self, own: Tensors, like: Tensors, parameters: Tensors, batch: Batch) -> Tensors:
        """For each tensor of ``like`` its ``own`` gradient, or the reference's where that is no array of its shape."""
        if all(_is_like(own.get(name), w) for name, w in like.items()):
            return {name: own[name] for name in like}
        found = self._reference.gradients(parameters, *batch)
        return {name: own[name] if _is_like(own.get(name), w) else found[name] for name, w in like.items()}

    def clipped(self, own: Tensors, gradients: Tensors) -> Tensors:
        """For each of the ``gradients`` its ``own`` clipped one, or the reference's."""
        if all(_is_like(own.get(name), g) for name, g in gradients.items()):
            return {name: own[name] for name in gradients}
        found = self._reference.clip(gradients)
        return {name: own[name] if _is_like(own.get(name), g) else found[name] for name, g in gradients.items()}


def _is_like(found: Array | None, w: Array) -> bool:
    return found is not None and not isinstance(found, Unreadable) and np.shape(found) == np.shape(w)
