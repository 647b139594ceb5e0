"""``conformance eject``: where it writes, and what it refuses."""

import ast

import pytest
from typer.testing import CliRunner

from conformance.cli.app import app
from conformance.runs.outcome import Incomplete
from conformance.wrappers.files import framework_of

RUN = CliRunner()


def invoke(*arguments):
    return RUN.invoke(app, ["eject", *map(str, arguments)])


def test_a_component_is_printed_or_written_but_nothing_is_overwritten(tmp_path):
    file = tmp_path / "mine.py"
    printed = invoke("numpy", "exponential", "--base", "0.5")
    written = invoke("numpy", "exponential", "--base", "0.5", "-o", file)
    assert (printed.exit_code, written.exit_code) == (0, 0), written.output
    assert file.read_text(encoding="utf-8") == printed.output
    assert "base: float = 0.5" in printed.output
    again = invoke("numpy", "exponential", "-o", file)
    assert again.exit_code == 2
    assert "is there already" in again.output
    assert file.read_text(encoding="utf-8") == printed.output
    assert invoke("numpy", "exponential", "--base", "0.25", "-o", file, "--force").exit_code == 0
    assert "base: float = 0.25" in file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_several_recipes_are_a_folder(tmp_path):
    recipes = ("--recipe", "breast-cancer-logistic", "--recipe", "diabetes-linear-neuron")
    ended = invoke("numpy", *recipes, "-o", tmp_path / "mine", "--no-check")
    assert ended.exit_code == 0, ended.output
    names = sorted(path.name for path in (tmp_path / "mine").iterdir())
    assert names == ["__init__.py", "breast_cancer_logistic.py", "diabetes_linear_neuron.py"]
    for path in (tmp_path / "mine").iterdir():
        ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("numpy",), "COMPONENT or --recipe must be given"),
        (("numpy", "adam", "--recipe", "moons-twice"), "only one of them"),
        (("numpy", "adma"), "did you mean"),
        (("numpi", "adam"), "did you mean 'numpy'?"),
        (("numpy", "adam", "--epsilon-positon", "inside_root"), "did you mean 'epsilon_position'?"),
        (("numpy", "adam", "--epsilon-position", "inside_rot"), "must be one of"),
        (("numpy", "--recipe", "moons-twic"), "did you mean 'moons-twice'?"),
        (("numpy", "--recipe", "moons-twice", "--beta", "0.9"), "'--beta' is not allowed"),
        (("numpy", "--recipe", "moons-twice", "--recipe", "xor-mse-half"), "--output is missing"),
        (("numpy", "adam", "-o", "/none/mine.py"), "must be a file that can be written"),
        (("numpy", "adam", "-o", "mine.txt"), "must end in .py or .ipynb"),
        (("torch", "adam", "-o", "torch.py"), "would hide the module torch: must have another name"),
        (("numpy", "adam", "-o", "random.py"), "would hide the module random"),
    ],
)
def test_what_cannot_be_ejected_ends_with_status_2(arguments, said):
    ended = invoke(*arguments)
    assert (ended.exit_code, said in ended.output) == (2, True), ended.output


def test_two_recipes_that_would_be_one_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("conformance.cli.ejecting._text", lambda *given: "pass\n")
    ended = invoke("numpy", "--recipe", "a/my-own.toml", "--recipe", "b/my_own.toml", "-o", tmp_path / "mine")
    assert (ended.exit_code, "another one is written as my_own.py, too" in ended.output) == (2, True), ended.output
    assert not (tmp_path / "mine").exists()


def test_without_ruff_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("conformance.ejecting.writing.find_spec", lambda name: None)
    ended = invoke("numpy", "relu")
    assert ended.exit_code == 3
    assert "pip install" in ended.output


def test_what_reads_packages_imports_no_framework():
    import subprocess
    import sys

    code = (
        "import sys; from conformance.ejecting.eject import eject; eject('torch', 'relu'); eject('jax', 'relu')\n"
        "assert not set('torch tensorflow jax optax keras'.split()) & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


class Found:
    """What a check of a file that is wrong comes to."""

    ok, summary, why = False, "FAIL: mine.py: 7 pass, 1 fail of 8 checks", ["first divergence: check update"]


@pytest.mark.parametrize(
    ("check", "status", "said"),
    [
        (lambda *given, **options: Found, 1, "first divergence: check update"),
        (lambda *given, **options: stop_with("torch is not installed"), 3, "torch is not installed; --no-check"),
    ],
)
def test_a_training_that_does_not_pass_or_cannot_be_checked_is_not_written(check, status, said, monkeypatch, tmp_path):
    monkeypatch.setattr("conformance.testing.checking.check", check)
    monkeypatch.setattr("conformance.ejecting.eject.training", lambda *given: "pass\n")
    file = tmp_path / "mine.py"
    ended = invoke("numpy", "--recipe", "moons-twice", "-o", file)
    assert (ended.exit_code, said in ended.output, file.exists()) == (status, True, False), ended.output
    assert invoke("numpy", "--recipe", "moons-twice", "-o", file, "--no-check").exit_code == 0
    assert file.read_text(encoding="utf-8") == "pass\n"


def stop_with(message):
    raise Incomplete(message)


@pytest.mark.slow
def test_a_training_is_checked_and_can_be_checked_again(tmp_path):
    file = tmp_path / "mine.py"
    ended = invoke("numpy", "--recipe", "breast-cancer-logistic", "-o", file)
    assert ended.exit_code == 0, ended.output
    assert "PASS: breast_cancer_logistic_numpy.py: 8 pass of 8 checks" in ended.output
    again = RUN.invoke(app, ["check", str(file), "-q", "-o", str(tmp_path / "run")])
    assert (again.exit_code, "PASS: mine.py: 8 pass of 8 checks" in again.output) == (0, True), again.output


def test_a_file_that_was_not_ejected_is_named_as_one(tmp_path):
    file = tmp_path / "other.py"
    file.write_text("import torch\n")
    said = framework_refused(file)
    assert said.startswith("other.py lacks example_losses, data_loss, train_step, fit, predict, DTYPE: must be a file")
    file.write_text("def f(:\n")
    assert framework_refused(file).startswith("other.py cannot be read as Python")
    ended = RUN.invoke(app, ["check", str(tmp_path / "none.py"), "--recipe", "moons-twice"])
    assert (ended.exit_code, "there is no such file" in ended.output) == (2, True), ended.output


def framework_refused(file):
    with pytest.raises(ValueError, match=r"other\.py") as caught:
        framework_of(file)
    return str(caught.value)
