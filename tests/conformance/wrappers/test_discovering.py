"""Which built-ins a framework has: its namespaces walked, here those of modules made by hand."""

import sys
from types import ModuleType

import pytest

from conformance.recipes.mapping import NOT_MAPPED, mapped
from conformance.recipes.subjects import IMPLEMENTATIONS
from conformance.wrappers import discovering


class Base:
    """What the classes of a module are."""


class Known(Base):
    """One of them."""


class Other:
    """None of them."""


def squared_loss(x, y):
    """A function."""


@pytest.fixture
def framework(monkeypatch):
    module = ModuleType("madeup")
    vars(module).update(
        Base=Base, Known=Known, Alias=Known, Other=Other, squared_loss=squared_loss, _hidden=Known, get=squared_loss
    )
    monkeypatch.setitem(sys.modules, "madeup", module)
    rules = {
        "optimizers": {"classes": "madeup.Base"},
        "losses": {"functions": True, "of": ["*_loss"]},
    }
    monkeypatch.setattr(discovering, "tables", lambda: {"made": {"madeup": rules, "nowhere": rules}})


@pytest.mark.usefixtures("framework")
def test_public_subclasses_and_functions_are_found_once_and_nothing_else():
    assert list(discovering.walked("made")) == [("madeup.Known", "optimizers"), ("madeup.squared_loss", "losses")]


def test_what_changes_its_argument_is_another_form_and_no_built_in_of_its_own(monkeypatch):
    module = ModuleType("madeup")
    vars(module).update(relu=squared_loss, relu_=squared_loss, fill_=squared_loss)
    rules = {"activations": {"functions": True, "of": ["*elu"], "in_place": False}}
    monkeypatch.setitem(sys.modules, "madeup", module)
    monkeypatch.setattr(discovering, "tables", lambda: {"made": {"madeup": rules}})
    assert [each.name for each in discovering.walked("made")] == ["madeup.relu"]
    monkeypatch.setattr(
        discovering, "tables", lambda: {"made": {"madeup": {"initializers": {"functions": True, "of": ["*fill"]}}}}
    )
    assert [each.name for each in discovering.walked("made")] == ["madeup.fill_"]


def test_what_cannot_be_looked_into_says_why(tmp_path):
    with pytest.raises(discovering.NotFound, match=r"nothing: cannot be looked into: .*nothing"):
        discovering.discover("nothing")
    with pytest.raises(discovering.NotFound, match="cannot be looked into"):
        discovering.discover("torch", python=str(tmp_path / "python"))


def test_what_is_in_no_table_is_not_mapped_and_what_is_has_its_formulation():
    rows = list(mapped([("torch.optim.ASGD", "optimizers"), ("torch.optim.SGD", "optimizers")], "builtins.torch"))
    assert rows[0] == ("torch.optim.ASGD", "optimizers", NOT_MAPPED, "")
    assert rows[1] == ("torch.optim.SGD", "optimizers", "gradient_descent", "torch-optim-sgd")
    assert any(row.subject == "torch.optim.Adam" for row in rows), "a subject that was not found is told too"


def test_a_built_in_without_a_recipe_has_its_component():
    (row, *_) = mapped([("tf.clip_by_norm", "regularizers")], "builtins.tf")
    assert row == ("tf.clip_by_norm(clip_norm=0.5)", "regularizers", "clip_by_norm", "")


def test_every_framework_of_the_subjects_is_walked():
    assert set(discovering.tables()) == set(IMPLEMENTATIONS.values())


@pytest.mark.slow
@pytest.mark.parametrize(("implementation", "framework"), IMPLEMENTATIONS.items())
def test_every_subject_of_a_walked_namespace_is_found_in_the_installed_framework(implementation, framework):
    found = discovering.discover(framework)
    namespaces = {name.replace("tensorflow.", "tf.") for name in discovering.tables()[framework]}
    names = {each.name for each in found}
    rows = list(mapped(found, implementation))
    assert any(row.formulation == NOT_MAPPED for row in rows)
    for row in rows:
        function = row.subject.partition("(")[0]
        if function.rpartition(".")[0] in namespaces and ".chain" not in function:
            assert function in names or row.kind in ("regularizers", "layers"), row
