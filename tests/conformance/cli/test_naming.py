"""What is named wrongly is refused with status 2 in a line that names the option, the value and what is near."""

import pytest
from typer.testing import CliRunner

from conformance.cli import app

RESUME = ["run", "--resume", "folder"]


def refused(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert result.output.count("\n") == 1
    return result.output.removeprefix("conformance: ").strip()


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--suite", ""], "suite='' is not allowed: must be one of 'quick', "),
        (["run", "--suite", "quik"], "suite='quik' is not allowed: must be one of "),
        (["run", "--recipe", ""], "recipe='' is not known: "),
        (["run", "--recipe", "folder/nope"], "folder/nope: "),
        (["check", "x:Y", "--recipe", ""], "recipe='' is not known: "),
        (["diff", "", "b"], "A='' is not allowed: "),
        (["pair", "a", ""], "B='' is not allowed: "),
        (["diff", "nope", "file"], "nope: found no such file; allowed: .safetensors, .npz, "),
        (["diff", "nope.pt", "file"], "nope.pt: found no such file; allowed: "),
        (["pair", "nope.npz", "file"], "nope.npz: found no such file; allowed: an .npz archive"),
        ([*RESUME[:2], "file"], "--resume='file' is not allowed: must be the folder of a run: is a file"),
        ([*RESUME[:2], "nope"], "--resume='nope' is not allowed: must be the folder of a run: is not there"),
        ([*RESUME, "--suite", "quick", "-k", "a", "--recipe", "b"], "--resume and --suite, --recipe, --select exclude"),
        ([*RESUME, "-x", "--no-explain", "-j", "2"], "--resume and --jobs, --exitfirst, --no-explain exclude"),
        ([*RESUME, "--json", "--quiet", "--require-all"], "/"),  # goes on to look at the folder
    ],
)
def test_what_is_wrong_is_named(arguments, said):
    assert refused(arguments).startswith(said)


def test_a_trace_that_is_not_there_is_not_there():
    assert refused(["check", "--trace", "nope"]).partition("/nope: ")[2].startswith("found no such file; allowed: ")


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["run", "--suite", "quik"], "'quick'"),
        (["run", "--implementation", "numpy,tensorflow"], "'tf'"),
        (["run", "--implementation", "keras"], "'tf'"),
        (["run", "--implementation", "pytorch"], "'torch'"),
        (["run", "--implementation", "jaxx"], "'jax'"),
        (["soak", "--implementation", "Keras"], "'tf'"),
        (["mutants", "--implementation", "tensorflow"], "'tf'"),
        (["check", "tensorflow"], "'tf'"),
        (["vectors", "out", "-k", "optimzer/*"], "'optimizer/*'"),
        (["vectors", "out", "-k", "optimizer/adamm"], "'optimizer/adam'"),
    ],
)
def test_a_nearly_right_name_is_answered_with_the_right_one(arguments, near):
    assert f"; did you mean {near}" in refused(arguments).replace("allowed: did", "allowed; did")


@pytest.mark.parametrize(
    ("name", "missing"), [("numpy:", "an attribute after the colon"), (":Mine", "a module before the colon")]
)
def test_half_a_target_is_refused_without_advice_to_install_it(name, missing):
    for arguments in (["run", "--implementation", name], ["check", name]):
        said = refused(arguments)
        assert said.endswith(f"must be package.module:attribute, with {missing}")
        assert repr(name) in said


LONG = ["'x' * 2_000_000", "'\\n'.join(map(str, range(3000)))"]


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("arguments", [["check"], ["identify"]])
def test_what_a_module_says_is_one_line_that_names_the_target(tmp_path, arguments, text):
    (tmp_path / "says_much.py").write_text(f"raise ValueError({text})", encoding="utf-8")
    said = refused([*arguments, "says_much:X"])
    assert "says_much:X" in said
    assert len(said) < 1000


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("command", ["diff", "pair"])
def test_what_a_side_says_is_one_line_that_names_it(tmp_path, command, text):
    (tmp_path / "says_lines.py").write_text(f"raise ValueError({text})", encoding="utf-8")
    said = refused([command, "says_lines:X", "says_lines:Y"])
    assert said.startswith("says_lines:X cannot be loaded: ValueError: ")
    assert len(said) < 1000
