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
from reference_numpy._common import inside
from reference_numpy._common import named as within
from reference_numpy.activations import ACTIVATIONS
from reference_numpy.models import Network


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
    if isinstance(session.model, Network):
        return _layers_from(session.model, case, key, value)
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


def _layers_from(model: Network, case: Case, key: Key, value: Array) -> Tensors:
    """The same in a network of layers, from the output of one of its series; from what lies inside a layer, nothing."""
    point, batch, training = case.points[key.step], case.problem.batch(0), key.mode == "training"
    if key.name != f"{key.layer}.A":
        return {}
    drawn, statistics = (batch.masks, None) if training else (None, point.statistics)
    _, seen = model.forward(point.parameters, batch.x, masks=drawn, statistics=statistics)  # for the masks of steps
    found: Tensors = {}
    for place, layer in model.layers.placed[key.layer :]:
        value, inner = layer.forward(
            inside(point.parameters, place), value, drawn=inside(drawn, place), statistics=inside(statistics, place),
            mask=seen.get(f"{place}._mask"),
        )  # fmt: skip
        found |= within(inner | {"A": value}, place)
    found |= {"Z": value, "A": ACTIVATIONS[model.output](value)}
    return {f"{name} ({key.mode})": array for name, array in found.items() if model.shows(name)}


def _renumbered(problem: Problem, tensors: Tensors, shift: int) -> Tensors:
    """Tensors with the numbers of their layers moved; those before the first layer are left out."""
    renumbered: Tensors = {}
    for name, value in tensors.items():
        kind, layer = problem.places[name]
        if layer + shift >= 1:
            renumbered[named(kind, layer + shift)] = value
    return renumbered
