"""The page of translations: its tables and counts, of rows that are given."""

import pytest

from conformance.translation import page
from conformance.translation.candidates import BUILTINS
from conformance.translation.page import ALL, Row, part, sources
from conformance.translation.translated import EXACT, OURS, PER_STEP, REFUSED, Translation


def rows(kind):
    digits = {"float64": 15.04, "float32": 6.4}
    found = [
        Translation("a.B", kind, "jax", EXACT, f"import c\n\n{kind} = c.D()", digits=digits, conditions=(PER_STEP,)),
        Translation("a.B", kind, "numpy", OURS, f"{kind} = e()"),
        Translation("a.F", kind, "jax", REFUSED, reason="why"),
    ]
    return [Row("torch", each) for each in found]


def test_a_part_has_a_line_for_each_pair_and_counts_at_its_end():
    lines = part("optimizer", rows("optimizer")).splitlines()
    assert "| `a.B` | JAX | exact, per step | `c.D()` | 15, 6 |" in lines
    assert "| `a.B` | NumPy | ours | `e()` |  |" in lines
    assert "| `a.F` | JAX | refused |  |  |" in lines
    assert lines[-4:] == [
        "| from | to | exact | of these in float32 | of these per step | of these constant rate | ours | refused |",
        "|---|---|---|---|---|---|---|---|",
        "| PyTorch | JAX | 1 | 0 | 1 | 0 | 0 | 1 |",
        "| PyTorch | NumPy | 0 | 0 | 0 | 0 | 1 | 0 |",
    ]
    assert part("layer", rows("layer")).splitlines()[-1] == "| PyTorch | NumPy | 0 | 1 | 0 |"


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_has_built_ins_of_every_framework_each_once(kind):
    for framework in BUILTINS:
        found = sources(kind, framework)
        assert found
        assert len(set(found)) == len(found)


def test_a_function_that_cannot_be_asked_is_refused_and_an_optimizer_that_cannot_is_an_error(monkeypatch):
    def refuse(name, to, trial):
        raise ValueError("why")

    monkeypatch.setattr(page, "translate", refuse)
    assert {row.found.reason for row in page.rows("schedule", object())} == {"why"}
    with pytest.raises(ValueError, match="why"):
        list(page.rows("optimizer", object()))


def test_kinds_are_chosen_by_name():
    with pytest.raises(ValueError, match=r"kind='layers' is not allowed: .*did you mean 'layer'"):
        page.main(["layers"])
