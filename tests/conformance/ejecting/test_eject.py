"""Trainings and components as files: what they hold, and that they train as the packages do, to the bit."""

import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformance.adapters.registry import load, resolve
from conformance.ejecting.choices import STEP_WORK, XLA_WORK, choices
from conformance.ejecting.components import COMPONENTS
from conformance.ejecting.eject import eject
from conformance.ejecting.packages import PACKAGES, Package
from conformance.problems.preparation import prepare
from conformance.recipes.choosing import find
from conformance.recipes.suites import suite
from reference_numpy import models, normalization

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
    outputs = problem.build_model(models).outputs
    drawn, history, parameters = TRAIN[framework](module, problem, lambda drawn: start, outputs)
    assert {n: w.tolist() for n, w in drawn.items()} == {n: w.tolist() for n, w in own.items()}
    assert history.learning_rates == expected.learning_rates.tolist()
    assert history.costs == expected.costs.tolist()
    assert history.gradient_norms == expected.gradient_norms.tolist()
    assert {n: w.tolist() for n, w in parameters.items()} == {n: w.tolist() for n, w in expected.parameters.items()}
    if recipe.named("early_stopping"):
        assert history.validation_costs == expected.validation_costs.tolist()


@pytest.fixture(scope="module")
def logistic():
    """The text of a small training."""
    return eject("numpy", "breast-cancer-logistic")


def test_a_training_gives_the_packages_numbers_to_the_bit(logistic, tmp_path):
    assert_trains_as_the_package("numpy", find("breast-cancer-logistic"), "float64", tmp_path, logistic)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", ["numpy", "torch", "jax", "tf"])
@pytest.mark.parametrize("recipe", suite("default"), ids=lambda recipe: recipe.name)
def test_every_training_gives_the_packages_numbers_to_the_bit(framework, recipe, tmp_path):
    for dtype in recipe.dtypes:
        text = eject(framework, recipe, dtype=dtype)
        assert_trains_as_the_package(framework, recipe, dtype, tmp_path, text)


# The types of the packages are checked so (mypy's overrides in pyproject.toml).
AS_THE_PACKAGES = (
    "--no-warn-return-any", "--allow-untyped-calls", "--allow-untyped-decorators", "--allow-untyped-defs",
    "--allow-incomplete-defs", "--allow-subclassing-any", "--allow-any-generics",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_types_are_right_where_those_of_the_packages_are(tmp_path):
    for framework in PACKAGES:
        text = eject(framework, "digits-batch-norm")
        (tmp_path / f"typed_{framework}.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *AS_THE_PACKAGES]
    ended = subprocess.run([*command, *map(str, tmp_path.glob("*.py"))], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_what_makes_a_training_long_is_what_tensorflows_package_says():
    text = (ROOT / "impl_tf" / "training.py").read_text(encoding="utf-8")
    assert f"XLA_WORK, STEP_WORK = {XLA_WORK:_}, {STEP_WORK}" in text
    assert choices(find("hand-signs-softmax-adam"), "tf", "float32", None).values["COMPILED_BY_XLA"]


def test_a_component_holds_its_formulation_and_no_other():
    text = eject("numpy", "momentum", accumulation="sum", nesterov=True, learning_rate=0.3)
    assert re.search(r"def momentum\(learning_rate: float = 0.3, \*, beta: float = 0.9\)", text)
    assert 'Here, other than above: ``accumulation="sum"``, ``nesterov=True``.' in text
    assert (
        "if"
        not in re.sub(r'""".*?"""|`.*?`', "", text.partition("class Optimizer")[2], flags=re.DOTALL).split(
            "if __name__"
        )[0]
    )
    assert is_clean(text)


def test_a_component_computes_what_it_says(tmp_path):
    module = module_of(eject("numpy", "gelu", approximate=True), tmp_path, "ejected_gelu")
    from reference_numpy.activations import gelu

    z = np.linspace(-3, 3, 7)
    assert module.gelu(z).tolist() == gelu(z, approximate=True).tolist()


def test_what_a_component_needs_beside_it_goes_with_it(tmp_path):
    text = eject("numpy", "batch_norm", running_variance="unbiased", momentum=0.8, epsilon=1e-3)
    module = module_of(text, tmp_path, "ejected_batch_norm")
    z, ones = np.array([[1.0, 2.0], [3.0, 6.0]]), np.ones(2)
    batch = module.batch_statistics(z)
    expected = normalization.batch_norm(z, ones, ones, *batch, epsilon=1e-3)
    assert module.batch_norm(z, ones, ones, *batch).tolist() == expected.tolist()
    expected = normalization.running_average((ones, ones), batch, 2, momentum=0.8, running_variance="unbiased")
    found = module.running_average((ones, ones), batch, 2)
    assert [part.tolist() for part in found] == [part.tolist() for part in expected]


def test_a_component_that_is_an_object_keeps_its_methods(tmp_path):
    monitor = module_of(eject("numpy", "early_stopping", patience=2), tmp_path, "ejected_stopping").early_stopping()
    assert [monitor.improved(cost) for cost in (1.0, 0.5, 0.6, 0.5)] == [True, True, False, False]
    assert (monitor.best_epoch, monitor.stop) == (2, True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", PACKAGES)
def test_every_component_is_clean_and_its_example_runs(framework, tmp_path):
    needed = {"l2": {"strength": 0.5}, "l1": {"strength": 0.5}, "elastic_net": {"strength": 0.5}}
    limits = {key: {"limit": 1.0} for key in ("clip_by_value", "clip_by_norm", "clip_by_global_norm", "max_norm")}
    needed |= {"inverted_dropout": {"keep_probability": 0.5}}
    texts = {name: eject(framework, name, **(needed | limits).get(name, {})) for name in COMPONENTS}
    assert [name for name, text in texts.items() if not is_clean(text)] == []
    for name, text in texts.items():
        (tmp_path / f"{name}_.py").write_text(text, encoding="utf-8")
    run_all = "import runpy, sys\nfor name in sys.argv[1:]: runpy.run_path(f'{name}_.py', run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-c", run_all, *texts], cwd=tmp_path, capture_output=True, text=True, env={"PATH": ""}
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "keywords", "said"),
    [
        (("torsch", "adam"), {}, "did you mean 'torch'?"),
        (("torch", "adamm-x"), {}, "is not known"),
        (("torch", "momentum"), {"accumulation": "summ"}, "accumulation='summ' is not allowed"),
        (("torch", "momentum"), {"betas": 0.9}, "did you mean 'beta'?"),
        (("torch", "flower-shallow-tanh"), {"beta": 0.9}, "beta is not allowed for a recipe"),
        (("torch", "flower-shallow-tanh"), {"dtype": "float16"}, "dtype='float16' is not allowed"),
    ],
)
def test_what_cannot_be_ejected_is_named(arguments, keywords, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        eject(*arguments, **keywords)


def test_a_network_of_layers_is_refused_by_name():
    network = next(recipe for recipe in suite("showcases") if recipe.is_network)
    with pytest.raises(ValueError, match=r"model.name='network' cannot be ejected"):
        eject("torch", network)


@pytest.mark.parametrize("framework", PACKAGES)
def test_every_choice_of_a_recipe_is_one_of_each_skeleton(framework):
    """So that a constant that is renamed on one side alone is seen."""
    found = choices(find("digits-batch-norm"), framework, "float64", None)
    package = Package(framework, {})
    own = {name for name in package.module(framework).definitions if name.isupper()}
    known = {*found.values, *found.expressions} | {"CLIPPING", "CONSTRAINT", "REPLACED", "DEPTH"}
    assert own <= known


@pytest.mark.parametrize("name", [*PACKAGES, "reading"])
def test_a_skeleton_is_formatted_as_all_else(name):
    path = ROOT / "conformance/ejecting/skeletons" / f"{name}.py.txt"
    text = path.read_text(encoding="utf-8")
    assert ruff("format", text=text) == text


def test_a_notebook_has_the_same_code_and_ends_in_a_training():
    made = json.loads(eject("numpy", "relu", notebook=True))
    assert made["cells"][0]["cell_type"] == "markdown"
    assert any(cell["source"].startswith("def relu(") for cell in made["cells"])
    assert not any("__main__" in cell["source"] for cell in made["cells"])


def test_a_file_trains_on_arrays_and_refuses_others(logistic, tmp_path, monkeypatch, capsys):
    module = module_of(logistic, tmp_path, "ejected_main")
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(20, 3))
    np.savez("good.npz", x=x, y=(x[:, 0] > 0).astype(int))
    np.savez("bad.npz", x=x)
    np.savez("objects.npz", x=x, y=np.array([None] * 20))
    Path("text.npz").write_text("no archive")
    monkeypatch.setattr(sys, "argv", ["mine.py", "good.npz", "--save", "w.npz"])
    module.main()
    assert "cost 0.693147 ->" in capsys.readouterr().out
    assert np.load("w.npz")["W1"].shape == (1, 3)
    refused = {
        "bad.npz": "no array y",
        "objects.npz": "objects.npz",
        "text.npz": "cannot be read",
        "none.npz": "none.npz",
    }
    for name, said in refused.items():
        monkeypatch.setattr(sys, "argv", ["mine.py", name])
        with pytest.raises(SystemExit, match="2"):
            module.main()
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_runs_where_nothing_of_this_project_is(logistic, tmp_path):
    (tmp_path / "mine.py").write_text(logistic, encoding="utf-8")
    x = np.random.default_rng(0).normal(size=(20, 3))
    np.savez(tmp_path / "data.npz", x=x, y=(x[:, 0] > 0).astype(int))
    code = (
        "import sys, runpy; sys.modules.update(dict.fromkeys(['conformance', 'reference_numpy']))\n"
        "sys.argv = ['mine.py', 'data.npz']; runpy.run_path('mine.py', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout[:4]) == (0, "cost"), ended.stderr
