"""Two replicas in NumPy, one after the other: the reference of what the frameworks' machinery is to give."""

from dataclasses import replace
from typing import Any

import numpy as np

from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.parallel.replicas import Replicated, parts_of, rejoined
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Tensors
from reference_numpy import training


class Replicas(NumpyAdapter):
    """Makes sessions on two replicas."""

    def session(self, problem: Problem) -> "NumpyReplicas":  # type: ignore[override]
        return NumpyReplicas(problem, NumpySession(problem))


class NumpyReplicas(Replicated):
    own: NumpySession

    def divided(self, parameters: Tensors, batch: Batch, *, plain: bool) -> Tensors:
        """The parts' gradients, each by its share of the examples, and those of the penalties."""
        model, objective, examples = self.own.model, self.own.objective, len(batch.x)
        data_loss = replace(objective, penalties=())
        cost: Any = 0.0
        gradients = {name: np.zeros_like(w) for name, w in parameters.items()}
        parts, of_inputs = parts_of(batch), []
        for part in parts:
            share = np.asarray(part.counts.sum() / examples, self.own.dtype)
            x, y, masks, weights = part.batch
            found = training.loss_and_gradients(
                model, parameters, x, y, masks=masks, example_weights=weights, input_gradient=True, loss=data_loss
            )
            cost += share * found.cost
            for name in parameters:
                gradients[name] += share * found.gradients[name]
            of_inputs += [share * found.gradients["A0"]] if "A0" in found.gradients else []
        weights_of = {name: parameters[name] for name in model.weight_names}
        for penalty in objective.penalties:
            cost += penalty.value(list(weights_of.values()), examples)
            for name, weight in weights_of.items():
                gradients[name] += penalty.gradient(weight, examples)
        beside = {"A0": rejoined(parts, of_inputs)} if of_inputs else {}
        return {"cost": np.asarray(cost, self.own.dtype), **gradients, **beside}
