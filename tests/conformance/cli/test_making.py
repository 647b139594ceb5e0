"""``conformance new adapter``: what it writes runs, offers nothing, and overwrites nothing."""

import importlib.util

import pytest
from typer.testing import CliRunner

from conformance.adapter import Session, Unsupported
from conformance.cli import app
from conformance.problems.preparation import prepare


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["new", "adapter", "mine"])
    assert result.exit_code == 0
    assert "--implementation mine:MyAdapter" in result.output
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_is_there_and_none_is_offered(written, small_recipe):
    session = written.MyAdapter("cpu").session(prepare(small_recipe, "float64"))
    methods = {name for name in vars(Session) if not name.startswith("_")} - {"decision_margins"}
    assert methods == {name for name in vars(type(session)) if not name.startswith("_")}
    for method in methods - {"another_session"}:
        count = getattr(session, method).__code__.co_argcount - 1
        with pytest.raises(Unsupported, match=f"MySession does not offer {method}"):
            getattr(session, method)(*[None] * count)


def test_nothing_is_overwritten(written):
    result = CliRunner().invoke(app, ["new", "adapter", "mine"])
    assert result.exit_code == 2
    assert "name='mine' is not allowed: mine.py is there already" in result.output


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../mine", "name='../mine' is not allowed: must be the name of a Python module"),
        ("", "name='' is not allowed: must be the name of a Python module"),
        ("class", "name='class' is not allowed: is a keyword of Python's"),
        ("numpy", "name='numpy' is not allowed: numpy.py would hide the module numpy"),
        ("json", "name='json' is not allowed: json.py would hide the module json"),
        ("conformance", "would hide the module conformance"),
        ("tensorflow", "would hide the module tensorflow"),
        ("a" * 300, "File name too long"),
    ],
)
def test_a_name_that_cannot_be_an_adapter_s_is_refused(tmp_path, monkeypatch, name, reason):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["new", "adapter", name])
    assert result.exit_code == 2
    assert reason in result.output
    assert list(tmp_path.iterdir()) == []
