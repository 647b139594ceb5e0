"""The swap: an observed value in the place of the oracle's, and what the oracle then arrives at."""

from dataclasses import replace
from typing import Any

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.problems.problem import Array, Tensors, layer_of


class WithGradients:
    """A session that takes its gradients from elsewhere."""

    def __init__(self, session: Session, gradients: Tensors) -> None:
        self._session = session
        self._gradients = gradients

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def gradients(self, parameters: Tensors, *batch: Any) -> Tensors:
        doubled = {name: np.asarray(g, np.float64) for name, g in self._gradients.items()}
        return self._session.gradients(parameters, *batch) | doubled


def activations_from(case: Case, step: int, name: str, mode: str, value: Array) -> Tensors:
    """What the oracle makes of the layers after ``name``, given its value: the later tensors of the forward pass.

    ``name``: an activation, or a pre-activation, which takes the place of the input of a layer that leaves it as it is.
    """
    session = NumpySession(case.problem)
    point, batch, model = case.points[step], case.problem.batch(0), session.model
    training, units = mode == "(training)", value.shape[1]
    before = layer_of(name) - (1 if name.startswith("Z") else 0)
    if before == model.depth:
        return {}
    parameters, sizes = _renumbered(point.parameters, -before), model.layer_sizes[before:]
    if name.startswith("Z"):
        parameters["W1"], sizes = np.eye(units), (units, *sizes[1:])
        parameters.pop("b1", None)
    session.model = replace(model, layer_sizes=sizes, keep_probabilities=model.keep_probabilities[before:])
    masks = {layer - before: mask for layer, mask in batch.masks.items() if layer > before} if training else None
    statistics = None if training else _renumbered(point.statistics, -before)
    found = _renumbered(session.intermediates(parameters, value, masks, statistics), before)
    return {f"{tensor} {mode}": array for tensor, array in found.items() if tensor != name}


def _renumbered(tensors: Tensors, shift: int) -> Tensors:
    """Tensors with the numbers of their layers moved; those before the first layer are left out."""
    renumbered: Tensors = {}
    for name, value in tensors.items():
        layer = layer_of(name)
        if layer + shift >= 1:
            renumbered[f"{name[: -len(str(layer))]}{layer + shift}"] = value
    return renumbered
