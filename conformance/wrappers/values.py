"""What passes between the session that all wrappers share and a framework's own."""

from typing import Any, NamedTuple

import numpy as np

from conformance.problems.problem import Batch
from conformance.problems.tensors import Array, Tensors


class Forward(NamedTuple):
    """What a model's forward pass shows: its outputs, and by the recipe's names what can be seen inside."""

    outputs: Array
    inside: Tensors


class Losses(NamedTuple):
    """A loss: of each example ``(m,)`` or NOT_OFFERED, their mean or whatever the user takes, and the penalty."""

    per_example: Array
    data_loss: Array
    penalty: Array


class Gradients(NamedTuple):
    """A cost with its gradients, of parameters by the model's own paths and of the input."""

    cost: Array
    parameters: Tensors
    x: Array


class Step(NamedTuple):
    """One step of a training. ``number`` and ``epoch`` count from 0 and on from where a training is gone on with.

    ``rate``: by the user's schedule; None without one, where the optimizer has its own.
    """

    batch: Batch
    number: int
    epoch: int
    ends_epoch: bool
    rate: float | None


class Taken(NamedTuple):
    """What a training step tells: its cost, the rate that it used, and the norm of the gradient before clipping."""

    cost: Any
    rate: float
    norm: Any


def are_logarithms(outputs: Array) -> bool:
    """Whether outputs ``(m, k)`` are logarithms of probabilities, as a log-softmax gives: exponentials that sum to 1.

    >>> are_logarithms(np.log([[0.25, 0.75]])), are_logarithms(np.array([[0.25, 0.75]]))
    (True, False)
    """
    if outputs.ndim != 2 or outputs.shape[1] < 2 or outputs.dtype.kind != "f":
        return False
    near = 10 * outputs.shape[1] * float(np.finfo(outputs.dtype).eps)
    with np.errstate(over="ignore"):
        return bool(np.allclose(np.exp(outputs).sum(axis=1), 1, rtol=0, atol=near))


def activated(outputs: Array, activation: str) -> Array:
    """A model's outputs as a recipe with this last ``activation`` has them; of a log-softmax the probabilities."""
    return np.exp(outputs) if activation == "softmax" and are_logarithms(outputs) else outputs
