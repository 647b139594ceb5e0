"""What is done with the text of an ejected file: imported, formatted, and trained beside the package's own ``fit``."""

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformance.adapters.registry import load, resolve
from conformance.problems.preparation import prepare
from reference_numpy import models

ROOT = Path(__file__).parents[3]


def module_of(text, folder, name):
    """A file's text as a module. It is a file: TensorFlow looks up the source of what it compiles."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def ruff(*arguments, text):
    """What ruff says of a text by the project's rules."""
    command = [sys.executable, "-m", "ruff", *arguments, "--config", str(ROOT / "pyproject.toml"), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True).stdout


def is_clean(text):
    return ruff("check", "--quiet", text=text) == "" and ruff("format", text=text) == text


# How a module of each framework is trained on a problem from the parameters that it draws itself, or others.


def train_in_numpy(module, problem, start, outputs):
    sizes = () if problem.recipe.is_network else (problem.features, outputs)
    parameters = module.initialize(*sizes, np.random.default_rng(problem.recipe.seed))
    drawn = {name: w.copy() for name, w in parameters.items()}
    state, history = module.fit(start(drawn), problem.train_x, problem.train_y, **given(problem, np.asarray))
    return drawn, history, state.parameters


def train_in_torch(module, problem, start, outputs):
    import torch

    sizes = () if problem.recipe.is_network else (problem.features, outputs)
    model = module.Model(*sizes).to(getattr(torch, problem.dtype.name))
    module.initialize(model, torch.Generator().manual_seed(problem.recipe.seed))
    drawn = {name: w.detach().numpy().copy() for name, w in model.named().items()}
    with torch.no_grad():
        for name, w in start(drawn).items():
            model.named()[name].copy_(torch.tensor(w))
    x, y = torch.tensor(problem.train_x), torch.tensor(problem.train_y)
    history = module.fit(model, x, y, **given(problem, torch.tensor))
    return drawn, history, {name: w.detach().numpy() for name, w in model.named().items()}


def train_in_tf(module, problem, start, outputs):
    import tensorflow as tf

    from conformance.adapters.tf import graphs_optimized

    sizes = () if problem.recipe.is_network else (problem.features, outputs)
    model = module.Model(*sizes, tf.random.Generator.from_seed(problem.recipe.seed))
    drawn = {name: w.numpy() for name, w in model.parameters.items()}
    for name, w in start(drawn).items():
        model.parameters[name].assign(w)
    x, y = tf.constant(problem.train_x), tf.constant(problem.train_y)
    with graphs_optimized():  # as they are for a user, and for the package's own
        history = module.fit(model, x, y, **given(problem, tf.constant))
    return drawn, history, {name: w.numpy() for name, w in model.parameters.items()}


def train_in_jax(module, problem, start, outputs):
    import jax

    with jax.enable_x64(problem.dtype == np.float64):
        sizes = () if problem.recipe.is_network else (problem.features, outputs)
        parameters = module.initialize(*sizes, jax.random.key(problem.recipe.seed))
        drawn = {name: np.asarray(w) for name, w in parameters.items()}
        from_here = {name: jax.numpy.asarray(w) for name, w in start(drawn).items()}
        x, y = jax.numpy.asarray(problem.train_x), jax.numpy.asarray(problem.train_y)
        state, history = module.fit(from_here, x, y, **given(problem, jax.numpy.asarray))
        return drawn, history, {name: np.asarray(w) for name, w in state.parameters.items()}


def given(problem, array):
    """What a training is given beside inputs and targets."""
    weights = {} if problem.train_weights is None else {"example_weights": array(problem.train_weights)}
    stops = problem.recipe.named("early_stopping")
    return weights | ({"validation": tuple(map(array, problem.validation))} if stops else {})


TRAIN = {"numpy": train_in_numpy, "torch": train_in_torch, "tf": train_in_tf, "jax": train_in_jax}


def assert_trains_as_the_package(framework, recipe, dtype, folder, text):
    """An ejected file against the package's own ``fit``, both from the same parameters, which both have drawn."""
    assert is_clean(text)
    module = module_of(text, folder, f"ejected_{framework}_{re.sub('-', '_', recipe.name)}_{dtype}")
    problem = prepare(recipe, dtype)
    session = load(resolve(framework))("cpu").session(problem)
    own = session.initial_parameters(recipe.seed)
    frozen = {n: w for n, w in problem.tape.initial_parameters.items() if not problem.is_trained(n)}
    start = own | (frozen if recipe.transfer else {})
    native = replace(problem, tape=replace(problem.tape, initial_parameters=start))
    expected = session.fit_natively(native, recipe.seed, ())
    model = problem.build_model(models)
    outputs = model.outputs if recipe.is_network else model.layer_sizes[-1]
    drawn, history, parameters = TRAIN[framework](module, problem, lambda drawn: start, outputs)
    assert {n: w.tolist() for n, w in drawn.items()} == {n: w.tolist() for n, w in own.items()}
    assert history.learning_rates == expected.learning_rates.tolist()
    assert history.costs == expected.costs.tolist()
    assert history.gradient_norms == expected.gradient_norms.tolist()
    assert {n: w.tolist() for n, w in parameters.items()} == {n: w.tolist() for n, w in expected.parameters.items()}
    if recipe.named("early_stopping"):
        assert history.validation_costs == expected.validation_costs.tolist()


@pytest.fixture(name="module_of", scope="session")
def _module_of():
    """``module_of(text, folder, name)``."""
    return module_of


@pytest.fixture(name="ruff", scope="session")
def _ruff():
    """``ruff(*arguments, text=...)``."""
    return ruff


@pytest.fixture(name="is_clean", scope="session")
def _is_clean():
    """Whether ruff has nothing to say of a text."""
    return is_clean


@pytest.fixture(scope="session")
def trains_as_the_package():
    """``trains_as_the_package(framework, recipe, dtype, folder, text)`` asserts it, to the bit."""
    return assert_trains_as_the_package
