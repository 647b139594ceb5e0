"""Trainings and components as files: what they hold, and that they train as the packages do, to the bit."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conformance.ejecting.choices import STEP_WORK, XLA_WORK, choices
from conformance.ejecting.components import COMPONENTS
from conformance.ejecting.eject import eject
from conformance.ejecting.packages import PACKAGES, Package
from conformance.ejecting.trainings import sentence
from conformance.recipes.choosing import find
from conformance.recipes.suites import suite
from reference_numpy import normalization

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def logistic():
    """The text of a small training."""
    return eject("numpy", "breast-cancer-logistic")


def test_a_training_gives_the_packages_numbers_to_the_bit(logistic, tmp_path, trains_as_the_package):
    trains_as_the_package("numpy", find("breast-cancer-logistic"), "float64", tmp_path, logistic)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", ["numpy", "torch", "jax", "tf"])
@pytest.mark.parametrize("recipe", suite("default"), ids=lambda recipe: recipe.name)
def test_every_training_gives_the_packages_numbers_to_the_bit(framework, recipe, tmp_path, trains_as_the_package):
    for dtype in recipe.dtypes:
        text = eject(framework, recipe, dtype=dtype)
        trains_as_the_package(framework, recipe, dtype, tmp_path, text)


def test_what_makes_a_training_long_is_what_tensorflows_package_says():
    text = (ROOT / "impl_tf" / "training.py").read_text(encoding="utf-8")
    assert f"XLA_WORK, STEP_WORK = {XLA_WORK:_}, {STEP_WORK}" in text
    assert choices(find("hand-signs-softmax-adam"), "tf", "float32", None).values["COMPILED_BY_XLA"]


def test_a_component_holds_its_formulation_and_no_other(is_clean):
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


def test_a_training_says_at_its_head_what_schedule_and_weights_it_has():
    found = sentence(find("digits-deep-relu-adam"), "torch")
    assert found == "Softmax classifier in PyTorch: categorical cross entropy, adam, inverse time schedule."
    assert sentence(find("moons-lion-weighted"), "numpy").endswith("lion, example weights.")


@pytest.mark.parametrize("framework", ["jax", pytest.param("tf", marks=pytest.mark.slow)])
def test_an_epoch_draws_no_masks_where_nothing_is_dropped(framework):
    text = eject(framework, "breast-cancer-stochastic")
    assert "mask" not in text.replace("_masks_key", "")
    assert "augment" not in text
    assert "``drawn``: the order of the visits.\n" in text


def test_a_component_computes_what_it_says(tmp_path, module_of):
    module = module_of(eject("numpy", "gelu", approximate=True), tmp_path, "ejected_gelu")
    from reference_numpy.activations import gelu

    z = np.linspace(-3, 3, 7)
    assert module.gelu(z).tolist() == gelu(z, approximate=True).tolist()


def test_what_a_component_needs_beside_it_goes_with_it(tmp_path, module_of):
    text = eject("numpy", "batch_norm", running_variance="unbiased", momentum=0.8, epsilon=1e-3)
    module = module_of(text, tmp_path, "ejected_batch_norm")
    z, ones = np.array([[1.0, 2.0], [3.0, 6.0]]), np.ones(2)
    batch = module.batch_statistics(z)
    expected = normalization.batch_norm(z, ones, ones, *batch, epsilon=1e-3)
    assert module.batch_norm(z, ones, ones, *batch).tolist() == expected.tolist()
    expected = normalization.running_average((ones, ones), batch, 2, momentum=0.8, running_variance="unbiased")
    found = module.running_average((ones, ones), batch, 2)
    assert [part.tolist() for part in found] == [part.tolist() for part in expected]


def test_a_component_that_is_an_object_keeps_its_methods(tmp_path, module_of):
    monitor = module_of(eject("numpy", "early_stopping", patience=2), tmp_path, "ejected_stopping").early_stopping()
    assert [monitor.improved(cost) for cost in (1.0, 0.5, 0.6, 0.5)] == [True, True, False, False]
    assert (monitor.best_epoch, monitor.stop) == (2, True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", PACKAGES)
def test_every_component_is_clean_and_its_example_runs(framework, tmp_path, is_clean):
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


@pytest.mark.parametrize("framework", PACKAGES)
def test_every_choice_of_a_recipe_is_one_of_each_skeleton(framework):
    """So that a constant that is renamed on one side alone is seen."""
    found = choices(find("digits-batch-norm"), framework, "float64", None)
    package = Package(framework, {})
    own = {name for name in package.module(framework).definitions if name.isupper()}
    known = {*found.values, *found.expressions} | {"CLIPPING", "CONSTRAINT", "REPLACED", "DEPTH", "WEIGHTS"}
    assert own <= known


@pytest.mark.parametrize("name", ["reading", *PACKAGES, *(f"blocks_{framework}" for framework in PACKAGES)])
def test_a_skeleton_is_formatted_as_all_else(name, ruff):
    path = ROOT / "conformance/ejecting/skeletons" / f"{name}.py.txt"
    text = path.read_text(encoding="utf-8")
    assert ruff("format", text=text) == text


def test_a_notebook_has_the_same_code_and_ends_in_a_training():
    made = json.loads(eject("numpy", "relu", notebook=True))
    assert made["cells"][0]["cell_type"] == "markdown"
    assert any(cell["source"].startswith("def relu(") for cell in made["cells"])
    assert not any("__main__" in cell["source"] for cell in made["cells"])


def test_a_file_trains_on_arrays_and_refuses_others(logistic, tmp_path, monkeypatch, capsys, module_of):
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
