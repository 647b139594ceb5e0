"""Coupled weight decay as a recipe: a user's own PyTorch network with ``torch.optim.Adam(weight_decay=...)``."""

import tomllib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conformance.adapters.numpy import NumpySession  # noqa: E402
from conformance.problems.preparation import prepare  # noqa: E402
from conformance.recipes.recipe import Recipe  # noqa: E402

TOML = """
name = "coupled-decay"
loss = "categorical_cross_entropy"
dataset = { name = "digits", examples = 90, test_examples = 30 }
model = { name = "softmax_classifier", hidden_units = [8], activation = "tanh" }
initializer = "he_normal"
batch_size = 32
epochs = 2
optimizer = { dialect = "torch.Adam", learning_rate = 0.01, weight_decay = 0.005 }
"""
# The nearest that can be said by a penalty: it is in the cost, and biases are left out.
PENALTY = [{"name": "l2", "strength": 0.005, "convention": "half"}]


def recipe(weight_decay=0.005, **settings):
    values = tomllib.loads(TOML)
    return Recipe.model_validate(
        values | {"optimizer": values["optimizer"] | {"weight_decay": weight_decay}} | settings
    )


def by_the_reference(chosen):
    """Costs and final parameters."""
    problem = prepare(chosen, "float64")
    training = NumpySession(problem).fit(problem, ())
    return training.costs, training.parameters


def by_pytorch(problem, **keywords):
    """The same from a loop as a user writes it."""
    network = torch.nn.Sequential(
        torch.nn.Linear(problem.features, 8), torch.nn.Tanh(), torch.nn.Linear(8, 10)
    ).double()
    names = dict(zip(("W1", "b1", "W2", "b2"), network.parameters(), strict=True))
    with torch.no_grad():
        for name, parameter in names.items():
            parameter.copy_(torch.from_numpy(problem.tape.initial_parameters[name]))
    optimizer, costs = torch.optim.Adam(network.parameters(), lr=0.01, **keywords), []
    for step in range(problem.steps):
        batch = problem.batch(step)
        loss = torch.nn.functional.cross_entropy(network(torch.from_numpy(batch.x)), torch.from_numpy(batch.y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        costs.append(loss.item())
    return np.asarray(costs), {name: parameter.detach().numpy() for name, parameter in names.items()}


def apart(one, other):
    """The largest difference of costs and of each parameter, relative to the largest element."""
    pairs = {"cost": (one[0], other[0])} | {name: (one[1][name], other[1][name]) for name in one[1]}
    return {name: float(np.abs(a - b).max() / np.abs(b).max()) for name, (a, b) in pairs.items()}


def test_the_recipe_says_what_pytorch_does():
    problem = prepare(recipe(), "float64")
    found = apart(by_the_reference(recipe()), by_pytorch(problem, weight_decay=0.005))
    assert max(found.values()) < 1e-13  # six steps in float64
    without = apart(by_the_reference(recipe(0.0)), by_pytorch(problem))
    assert max(without.values()) < 1e-13


def test_neither_a_penalty_nor_decoupled_decay_says_it():
    coupled = by_the_reference(recipe())
    penalty = apart(coupled, by_the_reference(recipe(0.0, regularizers=PENALTY)))
    decoupled = {"dialect": "torch.AdamW", "learning_rate": 0.01, "weight_decay": 0.005}
    for name, other in {
        "penalty": penalty,
        "AdamW": apart(coupled, by_the_reference(recipe(optimizer=decoupled))),
    }.items():
        assert min(other.values()) > 1e-7, name


def test_the_recipe_is_that_of_the_optimizer_s_own_name():
    values = recipe().optimizer.model_dump()
    assert (values["name"], values["weight_decay"], values["epsilon_position"]) == ("adam", 0.005, "outside_root")
    said = {"name": "adam", "learning_rate": 0.01, "weight_decay": 0.005}
    assert recipe(optimizer=said).hash == recipe().hash
