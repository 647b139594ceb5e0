"""Ejected files are typed: mypy by the project's settings for the packages, of which their text is."""

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.ejecting.eject import eject
from conformance.ejecting.packages import PACKAGES
from conformance.recipes.suites import suite

ROOT = Path(__file__).parents[3]
# The same as in pyproject.toml's overrides for the packages, which go by a module's name.
AS_THE_PACKAGES = (
    "--no-warn-return-any", "--allow-untyped-calls", "--allow-untyped-decorators", "--allow-untyped-defs",
    "--allow-incomplete-defs", "--allow-subclassing-any", "--allow-any-generics",
)  # fmt: skip
NETWORKS = [recipe for name in ("layers", "showcases") for recipe in suite(name) if recipe.is_network]


def problems(folder, *options):
    """What mypy says of the files of a folder."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *AS_THE_PACKAGES, *options]
    files = map(str, sorted(folder.glob("*.py")))
    return subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()[:-1]


def write(folder, framework, recipe):
    name = f"{recipe if isinstance(recipe, str) else recipe.name}_{framework}".replace("-", "_")
    (folder / f"{name}.py").write_text(eject(framework, recipe), encoding="utf-8")


def test_types_are_right_and_a_wrong_one_is_seen(tmp_path):
    """NumPy's alone: to read the types of PyTorch and JAX takes long."""
    write(tmp_path, "numpy", "breast-cancer-logistic")
    right = tmp_path / "breast_cancer_logistic_numpy.py"
    wrong = right.read_text(encoding="utf-8").replace("train(arguments.data, arguments.save)", "train(7)")
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    found = problems(tmp_path)
    assert len(found) == 1, found
    assert "wrong.py" in found[0]
    assert 'incompatible type "int"' in found[0]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_types_of_every_recipe_are_right(tmp_path):
    for framework in PACKAGES:
        for recipe in (*suite("default"), *NETWORKS):
            write(tmp_path, framework, recipe)
    assert problems(tmp_path) == []
