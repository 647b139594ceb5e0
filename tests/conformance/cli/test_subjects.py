"""``run --subject`` and ``--python`` as they are refused: with the nearest name, and status 2."""

import pytest
from typer.testing import CliRunner

from conformance.cli import running
from conformance.cli.app import app
from conformance.runs.order import plan_of


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--subject", "torch.optim.Adm"], "did you mean 'torch.optim.Adam'"),
        (["--subject", "keras.nothing.*"], "subject='keras.nothing.*' matches none of"),
        (
            ["--suite", "quick", "--implementation", "builtins.jax"],
            "none of them is asked for; name them with --subject",
        ),
        (["--subject", "torch.nn.GELU", "--suite", "quick"], "is of no built-in, and 'builtins.torch' can do none"),
        (
            ["--subject", "torch.nn.GELU", "--recipe", "moons-twice"],
            "recipe 'moons-twice' is of no built-in",
        ),
        (["--implementation", "numpy", "--python", "numpy"], "python='numpy' is not allowed: must be NAME=PATH"),
        (["--implementation", "numpy", "--python", "numpy=/nowhere"], "'/nowhere' is no executable file"),
        (["--implementation", "numpy", "--python", "a=b", "--python", "a=c"], "a has one already, b"),
    ],
)
def test_what_cannot_be_is_refused_and_no_folder_is_left(arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["run", *arguments])
    assert ended.exit_code == 2
    assert told in ended.output
    assert list(tmp_path.iterdir()) == []


def test_the_implementations_that_are_told_are_those_of_the_run(tmp_path):
    pytest.importorskip("torch")
    plan = plan_of(subjects=["torch.optim.SGD"], output=tmp_path / "new")
    assert running._who(plan).partition(";")[0] == "implementations: builtins.torch"
