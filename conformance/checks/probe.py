"""Probes: small trainings from which can be read, bit by bit, what an implementation drew while it trained.

The model is linear and has no biases: as many hidden layers as the recipe's and its keep probabilities, with weights
that are all positive, trained by gradient descent at so small a rate that it hardly moves. Two trainings are asked:

* *Orders.* Inputs are unit vectors, the first layer starts at 0, and the squared target of example ``i`` is ``2^i``.
  Predictions stay near 0, so the cost of a batch, its mean squared error, is the sum of these powers: read in base 2 it
  says which examples were in it. And the weights that lead from input ``i`` change, in an epoch, for just those units
  that were kept for example ``i``.
* *Layers.* There is a single example, so a step an epoch. The weights that lead on from a unit change just if the unit
  was kept: of every hidden layer.

What does not change does so exactly: it is moved by a gradient of 0.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from conformance.adapters.guarded import Malformed, demand
from conformance.adapters.session import Session, Training
from conformance.data.datasets import Dataset
from conformance.data.randomness import keyed_generator
from conformance.problems.preparation import assemble
from conformance.problems.problem import Problem
from conformance.problems.tape import Tape
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.recipe import Recipe

EXAMPLES = 9  # their powers of 2 add up to less than 2^9, which float32 tells apart with room to spare
BATCH = 2  # so that the last batch is a small one
SIZES = tuple(min(BATCH, EXAMPLES - first) for first in range(0, EXAMPLES, BATCH))
FULL = SIZES.count(BATCH)  # batches that are no small ones
EPOCHS = 32
LEARNING_RATE = 1e-5
FEWEST_UNITS, MOST_UNITS = 64, 512
TARGET = 16.0  # of the single example, far from what is predicted
UNREADABLE = 1e-15  # how often all units of a layer may be dropped at once, which hides those of other layers

# The batches of an epoch that takes the examples in the order of the data, as bits.
IN_TURN = np.array(
    [sum(1 << i for i in range(first, min(first + BATCH, EXAMPLES))) for first in range(0, EXAMPLES, BATCH)]
)

# Orders of the examples that are told apart, batch by batch.
ORDERS = math.factorial(EXAMPLES) // math.prod(math.factorial(size) for size in SIZES)


def keep_probabilities(recipe: Recipe) -> tuple[float, ...]:
    """Of each hidden layer."""
    depth, given = len(recipe.model.hidden_units), recipe.keep_probability
    return tuple(given) if isinstance(given, (tuple, list)) else (float(given),) * depth


def units(recipe: Recipe) -> int | None:
    """Units of each hidden layer: so many that some are kept in every layer; None if no affordable number would do."""
    least = min(keep_probabilities(recipe), default=1.0)
    needed = FEWEST_UNITS if least == 1 else math.ceil(math.log(UNREADABLE) / math.log1p(-least))
    return max(FEWEST_UNITS, needed) if needed <= MOST_UNITS else None


@dataclass(frozen=True)
class Probe:
    """The two trainings for a recipe with dropout, in a precision."""

    recipe: Recipe
    dtype: str
    width: int

    @cached_property
    def orders(self) -> Problem:
        """The training that shows orders, and the first layer's masks for every example."""
        weights = self._weights(EXAMPLES)
        targets = np.sqrt(2.0 ** np.arange(EXAMPLES))
        return self._problem(np.eye(EXAMPLES), targets, weights | {"W1": np.zeros_like(weights["W1"])}, BATCH)

    @cached_property
    def layers(self) -> Problem:
        """The training that shows the masks of every layer for one example."""
        return self._problem(np.ones((1, 1)), np.array([TARGET]), self._weights(1), None)

    @property
    def dropping(self) -> dict[int, float]:
        """The keep probabilities of the hidden layers that have dropout."""
        return {layer: keep for layer, keep in enumerate(keep_probabilities(self.recipe), start=1) if keep < 1}

    def _weights(self, features: int) -> Tensors:
        """Positive, and such that no layer's values are larger than those of the layer before."""
        generator = keyed_generator(self.recipe.seed, "weights of a probe")
        sizes = (features, *(self.width,) * len(self.recipe.model.hidden_units), 1)
        shapes = [(n_out, n_in) for n_in, n_out in pairwise(sizes)]
        scales = (1, *sizes[1:])
        return {
            f"W{layer}": generator.uniform(0.5, 1.5, shape) / scale
            for layer, (shape, scale) in enumerate(zip(shapes, scales, strict=False), start=1)
        }

    def _problem(self, x: Array, y: Array, weights: Tensors, batch_size: int | None) -> Problem:
        recipe = _recipe(self.recipe, self.width).model_copy(update={"batch_size": batch_size})
        data = Dataset("housing", x, x[:1], x, y, x[:1], y[:1], 0, None, ())
        return assemble(recipe, data, Tape(weights, None, {}), self.dtype)

    def kept(self, training: Training) -> dict[int, Array]:
        """Of a training of ``layers``: by layer with dropout, whether each unit was kept, ``(epochs, units)``."""
        return {
            layer: np.asarray(_changes(self.layers, training, f"W{layer + 1}").any(axis=1)) for layer in self.dropping
        }

    def kept_by_example(self, training: Training) -> Array:
        """Of a training of ``orders``: whether each unit of the first layer was kept, ``(epochs, examples, units)``."""
        return _changes(self.orders, training, "W1").transpose(0, 2, 1)

    def batches(self, training: Training) -> Array:
        """Of a training of ``orders``: the examples in each batch, as bits of a number, ``(epochs, batches)``.

        Raises Malformed for costs that are not as many in every epoch, or fewer than there are full batches.
        """
        costs = demand("the costs of a training", training.costs)
        if costs.ndim != 1 or costs.size % EPOCHS or costs.size < EPOCHS * FULL:
            raise Malformed(f"{costs.size} costs were returned for {EPOCHS} epochs: must be {len(SIZES)} in each")
        by_epoch = costs.astype(np.float64).reshape(EPOCHS, -1)
        sizes = np.resize(SIZES, by_epoch.shape[1])
        sums = np.rint(by_epoch * sizes)
        return np.where((sums > 0) & (sums < 2**EXAMPLES), sums, 0).astype(np.int64)  # NaN is no batch either


def members(batch: int) -> list[int]:
    """The examples of a batch that is given as bits."""
    return [example for example in range(EXAMPLES) if batch >> example & 1]


def whole(batches: Array) -> Array:
    """Of each epoch, whether its batches are of the right sizes and hold every example once."""
    if batches.shape[1] != len(SIZES):
        return np.zeros(len(batches), bool)
    sizes = np.array([[len(members(batch)) for batch in row] for row in batches.tolist()])
    right = (sizes == SIZES).all(axis=1) & (batches.sum(axis=1) == 2**EXAMPLES - 1)
    return np.asarray(right & (np.bitwise_or.reduce(batches, axis=1) == 2**EXAMPLES - 1))


def _recipe(recipe: Recipe, width: int) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "probe",
            "dataset": {"name": "housing", "scaling": "none"},
            "model": {
                "name": "deep_network", "hidden_units": (width,) * len(recipe.model.hidden_units),
                "activation": "identity", "output": "identity", "bias": False,
            },
            "loss": {"name": "mean_squared_error", "convention": "sum"},
            "optimizer": {"name": "gradient_descent", "learning_rate": LEARNING_RATE},
            "regularizers": [{"name": "inverted_dropout", "keep_probability": recipe.keep_probability}],
            "epochs": EPOCHS,
            "seed": recipe.seed,
        }
    )  # fmt: skip


def train(session: Session, problem: Problem, seed: int) -> Training:
    """The probe's training with the implementation's own draws, and its parameters after every epoch."""
    return session.fit_natively(problem, seed, tuple(range(1, EPOCHS + 1)))


def _changes(problem: Problem, training: Training, name: str) -> Array:
    """Which elements of a parameter changed in each epoch, ``(epochs, n_out, n_in)``."""
    initial: Any = problem.tape.initial_parameters[name]
    after = [
        demand(f"{name} after epoch {epoch}", training.checkpoints.get(epoch, {}).get(name), initial.shape)
        for epoch in range(1, EPOCHS + 1)
    ]
    return np.asarray(np.diff(np.stack([initial, *after]), axis=0) != 0)
