"""The initial parameters of a whole model, as statistics with the ranges that chance leaves them."""

import json
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from conformance.adapters.guarded import Malformed, demand
from conformance.adapters.session import Session
from conformance.checks import chance
from conformance.data.datasets import Dataset
from conformance.data.randomness import keyed_generator
from conformance.problems.preparation import assemble
from conformance.problems.problem import Problem
from conformance.problems.tape import Tape
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.recipe import Recipe
from reference_numpy import initializers

WIDTH, LAYERS = 48, 3  # hidden layers, of one shape, so that any two can be held side by side
SAMPLES = 20  # matrices of the reference's weights, beside which a layer's are seen

Statistic = tuple[str, int, float, chance.Range]  # how it is called, of which layer, its value, what chance allows


def statistics(session: Session, problem: Problem, seeds: tuple[int, int]) -> Iterator[Statistic]:
    """Of a network with the recipe's initializer, drawn with the first seed, with the other and with the first again.

    Weights are in units of the root mean square of the reference's.

    The session is one for any problem of the implementation. Raises Malformed for weights that are not there.
    """
    network = _network(problem)
    made = session.another_session(network)
    first, other, again = (_drawn(made, network, seed) for seed in (*seeds, seeds[0]))
    names = [f"W{layer}" for layer in range(1, LAYERS + 1)]
    initializer = problem.recipe.initializer
    sample = _sample(initializer.name, json.dumps(initializer.keywords))
    scale = float(np.sqrt((sample**2).mean())) or 1.0
    sample = sample / scale
    for layer, name in enumerate(names, start=1):
        w = first[name].astype(np.float64).ravel() / scale
        yield f"distribution of {name}", layer, _distance(w, sample), chance.distance(w.size, sample.size)
        yield f"mean of {name}", layer, float(w.mean()), chance.mean(sample, w.size)
        yield f"mean square of {name}", layer, float((w**2).mean()), chance.mean(sample**2, w.size)
    independent = chance.correlation(WIDTH**2)
    for layer in range(1, LAYERS):
        correlation = _correlation(first[f"W{layer}"], first[f"W{layer + 1}"])
        yield f"correlation of W{layer} and W{layer + 1}", layer + 1, correlation, independent
        correlation = _correlation(other[f"W{layer}"], first[f"W{layer + 1}"])
        yield f"correlation of W{layer + 1} and, under the next seed, W{layer}", layer + 1, correlation, independent
    for layer, name in enumerate(names, start=1):
        yield f"correlation of {name} under two seeds", layer, _correlation(first[name], other[name]), independent
    yield "initial parameters that one seed draws twice", 0, same_share(first, again), chance.ALL
    constants = [w == (1 if name.startswith("gamma") else 0) for name, w in first.items() if w.ndim == 1]
    if constants:
        yield "biases and shifts at 0, scales at 1", 0, float(np.concatenate(constants).mean()), chance.ALL


def same_share(one: Tensors, other: Tensors) -> float:
    """The share of tensors that are the same to the last bit."""
    return float(np.mean([name in one and name in other and _bits(one[name]) == _bits(other[name])
                          for name in {*one, *other}]))  # fmt: skip


def _bits(value: Array) -> tuple[str, tuple[int, ...], bytes]:
    return value.dtype.name, value.shape, value.tobytes()


def _network(problem: Problem) -> Problem:
    """Layers of one shape with the recipe's initializer, activation, biases and normalization, and one example."""
    recipe = problem.recipe
    model = {"name": "deep_network", "hidden_units": (WIDTH,) * LAYERS, "output": "identity"}
    changed: dict[str, Any] = recipe.model_dump() | {
        "name": "network", "dataset": {"name": "housing", "scaling": "none"}, "loss": "mean_squared_error",
        "model": recipe.model.model_dump() | model, "regularizers": (), "transfer": None, "example_weights": "none",
        "frozen_biases": False,
    }  # fmt: skip
    x, y = np.zeros((1, WIDTH)), np.zeros(1)
    shapes = {f"W{layer}": (WIDTH if layer <= LAYERS else 1, WIDTH) for layer in range(1, LAYERS + 2)}
    tape = Tape({name: np.zeros(shape) for name, shape in shapes.items()}, None, {})
    data = Dataset("housing", x, x, x, y, x, y, 0, None, ())
    return assemble(Recipe.model_validate(changed), data, tape, problem.dtype.name)


def _drawn(session: Session, network: Problem, seed: int) -> Tensors:
    """Copies of the initial parameters, of the right precision, weights of the right shapes. Raises Malformed."""
    found = session.initial_parameters(seed)
    shapes: dict[str, Any] = {name: w.shape for name, w in network.tape.initial_parameters.items()}
    drawn = {name: demand(name, found.get(name), shapes.get(name)).copy() for name in dict.fromkeys((*shapes, *found))}
    for name, w in drawn.items():
        if w.dtype != network.dtype:
            raise Malformed(f"{name} has dtype {w.dtype}: must be {network.dtype}")
    return drawn


@lru_cache(maxsize=16)
def _sample(initializer: str, keywords: str) -> Array:
    """What the reference draws with an initializer: enough of it to know the distribution."""
    draw = initializers.INITIALIZERS[initializer]
    generator = keyed_generator(0, "sample of weights")
    drawn = [draw(generator, (WIDTH, WIDTH), **json.loads(keywords)) for _ in range(SAMPLES)]
    return np.concatenate(drawn).ravel()


def _distance(one: Array, other: Array) -> float:
    """Kolmogorov's and Smirnov's: the largest between the two empirical distribution functions."""
    one, other = np.sort(one), np.sort(other)
    values = np.concatenate([one, other])
    shares = [np.searchsorted(sample, values, side="right") / sample.size for sample in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def _correlation(one: Array, other: Array) -> float:
    """Of two tensors' elements; 0 where one of them is constant."""
    x, y = (w.astype(np.float64).ravel() - w.mean(dtype=np.float64) for w in (one, other))
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale else 0.0
