"""The code: it makes the recipe's own model, and runs as it stands, in each of the four."""

import contextlib
import io
import re
import subprocess
import sys

import numpy as np
import pytest

from conformance.adapters.registry import OWN
from conformance.picking.asking import TRAININGS, ask
from conformance.picking.snippets import extent_of, snippet
from conformance.picking.writing import Call, written
from conformance.recipes.choosing import catalogue, find
from conformance.recipes.recipe import Recipe
from reference_numpy import models

# Of dense layers and of a network, with penalties, clipping, schedules, norms, weights and another initializer.
VARIED = (
    "digits-batch-norm", "attributes-multi-task", "moons-lion-weighted", "digits-layer-norm-augmented", "layers-lenet",
    "layers-characters-lstm",
)  # fmt: skip


def printed(code: str) -> str:
    """What a program prints that is run here."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    return out.getvalue()


def told(code: str) -> str:
    """What a program says at its end that it prints."""
    return code.rpartition("  # ")[2] + "\n"


@pytest.mark.parametrize("recipe", [ask(model=model).recipe for model in TRAININGS], ids=list(TRAININGS))
def test_the_code_of_each_model_runs_and_prints_what_it_says(recipe):
    code = snippet("numpy", recipe, "float32")
    assert printed(code) == told(code)


@pytest.mark.parametrize("name", VARIED)
def test_the_code_of_a_recipe_with_more_runs_and_prints_what_it_says(name):
    code = snippet("numpy", find(name), "float64")
    assert printed(code) == told(code)


def test_the_model_that_is_written_is_the_one_that_the_recipe_builds():
    """Of every recipe whose data need not be read; every tenth here, all of them in the slow test."""
    for name in list(catalogue())[::10]:
        check_model(name)


@pytest.mark.slow
def test_the_model_that_is_written_is_the_one_that_every_recipe_builds():
    for name in catalogue():
        check_model(name)


def check_model(name: str) -> None:
    recipe = Recipe.model_validate(catalogue()[name])
    extent = extent_of(recipe)
    assert extent is not None
    code = snippet("numpy", recipe, "float64")
    begin, end = code.index("model = "), code.index("parameters = ")
    namespace: dict[str, object] = {}
    exec(code[: code.index("generator = ")] + code[begin:end], namespace)
    built = recipe.build_model(models, features=extent.features, classes=extent.classes, targets=extent.targets)
    assert without_options(namespace["model"]) == without_options(built), code
    data = np.random.default_rng(0)
    x = data.integers(0, extent.vocabulary or 2, (5, extent.features))
    x = x if extent.vocabulary else x.astype(float)
    parameters = models.initialize(built, data, **({} if recipe.is_network else {"initializer": "scaled_normal"}))
    values = [models.intermediates(model, parameters, x, training=True) for model in (namespace["model"], built)]
    assert all(np.array_equal(values[0][tensor], value) for tensor, value in values[1].items()), code


def without_options(model: object) -> str:
    """A model as text, without options, of which those are written that are not the defaults."""
    return re.sub(r"options=(\{[^}]*\}|None)", "options", repr(model))


def test_the_recipes_optimizer_is_written_with_what_is_not_its_default():
    code = snippet("torch", ask(optimizer="keras.Adam").recipe, "float32")
    assert 'epsilon_position="before_correction"' in code
    assert "beta1" not in code
    assert "adam(\n        model.parameters(),\n        epsilon=1e-07," in code


def test_an_option_that_only_a_derivative_shows_is_written():
    assert 'activation_options={"derivative_at_zero": 1}' in snippet("numpy", find("moons-relu-at-zero"), "float64")


def test_what_the_code_leaves_out_is_said():
    code = snippet("numpy", find("digits-batch-norm"), "float64")
    assert "# the recipe also has early_stopping, which this leaves out\n" in code


def test_the_device_and_the_precision_are_said_where_a_framework_must_be_told():
    recipe = ask().recipe
    assert 'torch.tensor(x, device="cuda")' in snippet("torch", recipe, "float32", "gpu")
    assert '.to("cuda")' in snippet("torch", recipe, "float32", "gpu")
    assert "cuda" not in snippet("torch", recipe, "float32")
    assert "jax_enable_x64" in snippet("jax", recipe, "float64")
    assert "jax_enable_x64" not in snippet("jax", recipe, "float32")


def test_of_data_that_are_not_there_no_model_can_be_written(tmp_path):
    values = ask().recipe.model_dump() | {"dataset": {"name": "npz", "path": str(tmp_path / "absent.npz")}}
    assert snippet("numpy", Recipe.model_validate(values), "float32").startswith("# the data of npz cannot be read")


def test_a_call_that_is_too_long_has_a_line_for_each_argument():
    long = Call("network", [[Call("dense", [n], {}) for n in range(12)]], {"output": "softmax", "shape": (64,)})
    text = written(long)
    assert text.startswith("network(\n    [\n        dense(0),\n")
    assert max(map(len, text.splitlines())) < 110
    namespace = {"network": lambda *layers, **keywords: (layers, keywords), "dense": lambda n: n}
    assert eval(text, namespace) == (([*range(12)],), {"output": "softmax", "shape": (64,)})


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("implementation", OWN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_code_runs_alone_in_each_implementation(implementation, dtype):
    recipes = [*(ask(model=model).recipe for model in ("deep_network", "network")), *map(find, VARIED[:2])]
    codes = [snippet(implementation, recipe, dtype) for recipe in recipes]
    ended = subprocess.run([sys.executable, "-c", "\n".join(codes)], capture_output=True, text=True)
    assert ended.stdout == "".join(map(told, codes)), ended.stderr
