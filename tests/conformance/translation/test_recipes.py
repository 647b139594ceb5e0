"""Whole recipes translated: every part once, each as code that can be run."""

import pytest
from typer.testing import CliRunner

from conformance.cli import app
from conformance.recipes.choosing import find
from conformance.recipes.suites import suite
from conformance.translation.recipes import parts, translate_recipe
from conformance.translation.translated import EXACT, OURS, REFUSED, Translation


class Absent:
    """A trial for which no framework is installed: nothing is run."""

    def has(self, framework):
        return False


@pytest.fixture(scope="module")
def recipes():
    return [*suite("default"), *suite("layers")]


def test_every_part_of_every_recipe_is_code_of_numpy_that_runs(recipes):
    for recipe in recipes:
        found = translate_recipe(recipe, to="numpy", trial=Absent())
        assert {each.outcome for each in found} == {OURS}
        assert len({(each.kind, each.code) for each in found}) == len(found), recipe.name
        for each in found:
            names = {"units": 3}  # of a dense layer that stands for those of all sizes
            exec(compile(each.code, recipe.name, "exec"), names)
            assert each.kind in names, each.code


@pytest.mark.parametrize("to", ["torch", "tf", "jax"])
def test_every_part_of_every_recipe_is_code_of_a_framework(recipes, to):
    """None is refused, as the formulations are this project's own; many are built-ins by the tables."""
    found = [each for recipe in recipes for each in translate_recipe(recipe, to=to, trial=Absent())]
    assert {each.outcome for each in found} == {EXACT, OURS}
    for each in found:
        compile(each.code, each.name, "exec")
        assert f"\n{each.kind} = " in f"\n{each.code}" or each.kind in ("penalty", "clipping")


def test_a_recipe_is_told_by_its_parts_in_the_order_of_a_training():
    recipe = find("digits-softmax-adam-dropout-l2")
    assert [(kind, named.name) for kind, named in parts(recipe)] == [
        ("layer", "dense"),
        ("activation", "relu"),
        ("initializer", "he_normal"),
        ("loss", "categorical_cross_entropy"),
        ("regularizer", "l2"),
    ]
    assert translate_recipe(recipe, to="torch", trial=Absent())[-1].code.endswith("torch.optim.Adam(params, lr=0.003)")


def test_the_layers_of_a_network_have_their_sizes():
    found = translate_recipe(find("layers-lenet"), to="torch", trial=Absent())
    layers = [each.code for each in found if each.kind == "layer"]
    assert any("torch.nn.Conv2d(in_channels=in_channels, out_channels=" in code for code in layers)
    assert not any("out_channels=out_channels" in code for code in layers)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["moons-twice", "--to", "torhc"], 2, "did you mean 'torch'"),
        (["moons-twice", "--to", "torch", "--set", "lr=0.1"], 2, "--set is not allowed for a recipe"),
        (["nowhere.toml", "--to", "torch"], 2, "nowhere.toml: cannot be read"),
    ],
)
def test_what_is_not_allowed_is_refused(arguments, status, said):
    result = CliRunner().invoke(app, ["translate", *arguments])
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr


def test_the_command_tells_every_part_and_writes_the_whole_training(tmp_path, monkeypatch):
    found = [Translation("a", "loss", "numpy", OURS, "code"), Translation("b", "optimizer", "numpy", REFUSED)]
    monkeypatch.setattr("conformance.translation.recipes.translate_recipe", lambda *_, **__: found)
    monkeypatch.setattr("conformance.ejecting.eject.eject", lambda to, recipe: f"# {recipe.name} in {to}\n")
    file = tmp_path / "mine.py"
    result = CliRunner().invoke(app, ["translate", "moons-twice", "--to", "numpy", "--eject", str(file)])
    assert result.exit_code == 1
    assert [line for line in result.stdout.splitlines() if line.startswith(("# a", "# b"))] == [
        "# a -> NumPy: by this project's implementation, as no built-in is the same", "# b -> NumPy: refused",
    ]  # fmt: skip
    assert file.read_text(encoding="utf-8") == "# moons-twice in numpy\n"
