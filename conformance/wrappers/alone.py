"""A loss without a model: the reference's model stands before it, and takes its gradient on to the parameters."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import Unsupported
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors
from reference_numpy import activations, losses, models, regularizers

# Of outputs, targets and example weights: the loss's parts, and its gradient with respect to the outputs.
LossOfOutputs = Callable[[Array, Array, Array | None], tuple[Any, Array]]


class LossAlone:
    """A user's loss on the outputs of the recipe's model, which the reference computes in a problem's precision."""

    def __init__(self, problem: Problem, loss_of_outputs: LossOfOutputs) -> None:
        self._recipe, self._loss = problem.recipe, loss_of_outputs
        self._model = problem.build_model(models)
        self._from_logits = problem.recipe.loss.name in losses.FROM_LOGITS

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        """``per_example`` and ``data_loss``; the cost too where the recipe has no penalty, which is not the loss's."""
        outputs = self._outputs(self._values(parameters, x, masks))
        found, _ = self._loss(outputs, y, weights)
        cost = NOT_OFFERED if self._has_penalties else found.data_loss
        return {"per_example": found.per_example, "data_loss": found.data_loss, "penalty": NOT_OFFERED, "cost": cost}

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        """The gradients that follow from the loss's own."""
        if self._has_penalties:
            raise Unsupported("a loss alone has no penalty, and the recipe's gradients have")
        values = self._values(parameters, x, masks)
        outputs = self._outputs(values)
        found, gradient = self._loss(outputs, y, weights)
        if not self._from_logits:
            backward = activations.BACKWARD[self._model.output]
            gradient = backward(gradient, values[self._model.logits_name], outputs)
        own = self._model.backward(parameters, values, gradient, masks=masks, input_gradient=True)
        return {"cost": found.data_loss, **own}

    @property
    def _has_penalties(self) -> bool:
        return bool(self._recipe.named(*regularizers.PENALTIES))

    def _values(self, parameters: Tensors, x: Array, masks: Masks | None) -> Tensors:
        _, values = self._model.forward(parameters, x, masks=masks)
        return dict(values)

    def _outputs(self, values: Tensors) -> Array:
        logits = values[self._model.logits_name]
        return logits if self._from_logits else np.asarray(activations.ACTIVATIONS[self._model.output](logits))
