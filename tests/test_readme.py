"""The README's examples are run as they stand, each in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.recipes.files import load_recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REUSE = (ROOT / "docs" / "reuse.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", REUSE, re.DOTALL)
PACKAGES = ("impl_torch", "impl_tf", "impl_jax", "reference_numpy")


TRAININGS, LOOPS, (CONTINUED, DIALECT, DIAGNOSIS) = EXAMPLES[:4], EXAMPLES[4:8], EXAMPLES[8:]


def run(code):
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("examples", [TRAININGS, LOOPS])
def test_there_is_one_example_for_each_package(examples):
    assert [next(p for p in PACKAGES if p in example) for example in examples] == list(PACKAGES)


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=package, marks=[pytest.mark.slow] if package == "impl_tf" else [])
        for example, package in zip(TRAININGS, PACKAGES, strict=True)
    ],
)
def test_an_example_runs_alone_and_learns(example):
    run(example + "\nassert history.costs[-1] < 0.75 * history.costs[0], history.costs\n")


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=package, marks=[pytest.mark.slow] if package in ("impl_torch", "impl_tf") else [])
        for example, package in zip(LOOPS, PACKAGES, strict=True)
    ],
)
def test_a_loop_of_one_s_own_arrives_where_fit_does_to_the_bit(example):
    assert run(example) == "True\n"


def test_the_example_of_the_readme_is_the_one_of_pytorch():
    assert re.findall(r"```python\n(.*?)```", README, re.DOTALL) == TRAININGS[:1]


def test_the_readme_can_be_read_in_a_few_minutes():
    assert len(README.split()) < 900


def test_two_halves_of_a_training_are_the_whole():
    assert run(CONTINUED) == "True\n"


def test_the_example_of_a_dialect_names_what_keras_does_otherwise():
    differences = "'epsilon': 1e-07, 'epsilon_position': 'before_correction', 'correction_precision': 'float32'"
    assert run(DIALECT) == f"adam {{{differences}}}\n"


def test_the_example_of_a_diagnosis_names_the_largest_problem():
    assert "avoidable bias" in run(DIAGNOSIS)


def test_the_recipe_is_one(tmp_path):
    path = tmp_path / "recipe.toml"
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    path.write_text(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1], encoding="utf-8")
    assert load_recipe(path).name == "my-moons"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_that_come_along_are_valid(path):
    assert load_recipe(path)


NOT_RUN = {
    "make run": "the default suite",
    "make test": "these tests themselves",
    "my_package.adapter:MyAdapter": "somebody else's implementation",
    "--device gpu": "needs a GPU",
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_commands_of_the_readme_run(tmp_path):
    commands = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).splitlines()
    chosen = [command for command in commands if not any(words in command for words in NOT_RUN)]
    assert len(commands) - len(chosen) == len(NOT_RUN)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for command in chosen:
        ended = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"


def test_every_link_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose):
            assert (page.parent / target).exists(), (page, target)
