"""Patching: an observed value is put in the place of the oracle's, to see what the oracle then arrives at."""

from dataclasses import replace
from typing import Any

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session
from conformance.checks.case import Case
from conformance.checks.observation import Key
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors, named


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


def activations_from(case: Case, key: Key, value: Array) -> Tensors:
    """What the oracle makes of the layers after a tensor, given its value: the later tensors of the forward pass.

    ``key``: of an activation, or of a pre-activation, which takes the place of the input of a layer that leaves it as
    it is. The tensors go by the names that they have in records.
    """
    problem = case.problem
    session = NumpySession(problem)
    point, batch, model = case.points[key.step], problem.batch(0), session.model
    training, units = key.mode == "training", value.shape[1]
    enters = problem.places[key.name].kind == "pre-activation"
    before = key.layer - 1 if enters else key.layer
    if before == model.depth:
        return {}
    parameters, sizes = _renumbered(problem, point.parameters, -before), model.layer_sizes[before:]
    if enters:
        parameters[named("weight", 1)], sizes = np.eye(units), (units, *sizes[1:])
        parameters.pop(named("bias", 1), None)
    session.model = replace(model, layer_sizes=sizes, keep_probabilities=model.keep_probabilities[before:])
    masks = {layer - before: mask for layer, mask in batch.masks.items() if layer > before} if training else None
    statistics = None if training else _renumbered(problem, point.statistics, -before)
    found = _renumbered(problem, session.intermediates(parameters, value, masks, statistics), before)
    return {f"{tensor} ({key.mode})": array for tensor, array in found.items() if tensor != key.name}


def _renumbered(problem: Problem, tensors: Tensors, shift: int) -> Tensors:
    """Tensors with the numbers of their layers moved; those before the first layer are left out."""
    renumbered: Tensors = {}
    for name, value in tensors.items():
        kind, layer = problem.places[name]
        if layer + shift >= 1:
            renumbered[named(kind, layer + shift)] = value
    return renumbered
