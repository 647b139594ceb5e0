"""Faults are generated at every place of a formula and at no other, and each is caught or listed with a reason."""

import ast
import json
import textwrap
from pathlib import Path

import pytest

from conformance.audit import generated as audit
from conformance.audit.generated import Outcome, executes, faults, main, outcomes, recipes, try_out
from conformance.faults.generated import FORMULAS, NO_FORMULAS, Generated, generated, generated_from, listed
from conformance.faults.injection import Edit, edited
from conformance.recipes.coverage import recipe_with

ROOT = Path(__file__).parents[2]
ONE_IN = 300
ROWS = listed()

# Faults divide by zero and overflow; as in the harness's own processes, that is no error of the harness.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def changes(body: str) -> list[str]:
    source = "def f(x, y):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n"
    return [fault.change for fault in generated_from("file.py", source)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return x + y", ["`x + y` -> `x - y`"]),
        ("return x - y", ["`x - y` -> `x + y`"]),
        ("return x * y", ["`x * y` -> `x / y`"]),
        ("return x / y", ["`x / y` -> `x * y`"]),
        ("x += y", ["`x += y` -> `x -= y`"]),
        ("x *= y", ["`x *= y` -> `x /= y`"]),
        ("return x > y", ["`x > y` -> `x >= y`"]),
        ("return x >= y", ["`x >= y` -> `x > y`"]),
        ("return x < y", ["`x < y` -> `x <= y`"]),
        ("return x <= y", ["`x <= y` -> `x < y`"]),
        ("return x == y", ["`x == y` -> `x != y`"]),
        ("return x != y", ["`x != y` -> `x == y`"]),
        ("return x < y < x", ["`x < y < x` -> `x <= y < x`", "`x < y < x` -> `x < y <= x`"]),
        ("return x and y", ["`x and y` -> `x or y`"]),
        ("return x or y or x", ["`x or y or x` -> `x and y or x`", "`x or y or x` -> `x or y and x`"]),
        ("return min(x, y)", ["`min(x, y)` -> `max(x, y)`"]),
        ("return np.maximum(x, y)", ["`np.maximum(x, y)` -> `np.minimum(x, y)`"]),
        ("return x.max(axis=y)", ["`x.max(axis=y)` -> `x.min(axis=y)`"]),
        ("return f(-x)", ["`f(-x)` -> `f(x)`"]),
        ("return x**2", ["`x**2` -> `x**3`"]),
        ("return x**0", ["`x**0` -> `x**1`"]),
        ("return x**0.5", ["`x**0.5` -> `x**0.75`"]),
        ("return x**0.0", ["`x**0.0` -> `x**1.0`"]),
        ("return x[:-1]", ["`x[:-1]` -> `x[:1]`", "`x[:-1]` -> `x[:-2]`"]),
        ("return f(x, axis=1)", ["`f(x, axis=1)` -> `f(x, axis=2)`"]),
        ("return lambda t: x * t", ["`x * t` -> `x / t`"]),
        ("return {f'W{x + y}': x}", ["`x + y` -> `x - y`"]),
        ("return (x) * (y)", ["`(x) * (y)` -> `(x) / (y)`"]),
        ("return (\n    x  # é\n    + y\n)", ["`x # é + y` -> `x # é - y`"]),
        ("def g(z):\n    return z + x", ["`z + x` -> `z - x`"]),
    ],
)
def test_every_kind_of_place_is_changed(body, expected):
    assert changes(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        '"""1 + 1."""\nreturn x',
        "return x @ y",
        "return True",
        "return x is None",
        "check_positive('x', x + 1)",
        "_check_shape(x.shape[0])",
        "if x > 1:\n    raise ValueError(f'{x + 1}: must be at most 1')",
        "raise ValueError(x + 1)",
        "def g(z=1.0): ...",
        "return lambda z=1: z",
        "y: Literal[1] = x",
        "y: Literal[1]",
        "@marked(1)\ndef g(z): ...",
    ],
)
def test_nothing_is_changed_that_is_no_formula(body):
    assert changes(body) == []


def test_what_follows_a_check_is_changed():
    assert changes("if x > 1:\n    raise ValueError(x)\nelse:\n    return x + y") == ["`x + y` -> `x - y`"]


def test_signatures_checks_and_demonstrations_are_left_alone():
    source = "@kind(1)\ndef f(x: L[1] = 1) -> L[1]: ...\ndef _check_x(x):\n    return x + 1\n"
    source += "".join(f"def {name}(x):\n    return x + 1\n" for name in NO_FORMULAS)
    assert list(generated_from("file.py", source)) == []


def test_a_fault_says_where_it_is_and_leaves_all_else_as_it_was():
    source = "class A:\n    def b(self, ü):\n        return 'ü' + ü  # 1\n\n    def c(self):\n        return self\n"
    (fault,) = generated_from("file.py", source)
    assert fault.name == "file.py: A.b, line 3: `'ü' + ü` -> `'ü' - ü`"
    assert (fault.function, fault.edit.at, fault.file) == ("file.py: A.b", "file.py: A.b", "file.py")
    assert edited(source, [fault.edit]) == source.replace("+", "-")


def test_every_fault_fits_the_source_and_leaves_it_python():
    found = generated(ROOT / "reference_numpy")
    assert list(dict.fromkeys(fault.file for fault in found)) == list(FORMULAS)
    assert len(found) > 800
    for fault in found:
        source = (ROOT / "reference_numpy" / fault.file).read_text(encoding="utf-8")
        assert edited(source, [fault.edit], "reference_numpy") != source, fault.name
        ast.parse(textwrap.dedent(fault.edit.new), fault.name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[harmless]]\nfunction = 'f'\nreason = 'so'", "kind 'harmless' is not known: must be one of equivalent, gap"),
        ("[[gap]]\nfunction = 'f'", "must have function and reason, and may have changes"),
        ("[[gap]]\nfunction = 'f'\nreason = 'so'\nline = 1", "must have function and reason, and may have changes"),
    ],
)
def test_a_row_that_does_not_say_what_it_must_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        listed(text)


def test_every_row_of_the_list_is_of_changes_that_are_generated_and_no_change_is_in_two():
    for row in ROWS:
        held = [fault for fault in faults() if row.holds(fault)]
        assert held, row
        assert set(row.changes) <= {fault.change for fault in held}, row
        assert row.reason, row
    for fault in faults():
        assert sum(row.holds(fault) for row in ROWS) <= 1, fault.name


def of(function: str, change: str) -> Generated:
    return next(fault for fault in faults() if (fault.function, fault.change) == (function, change))


STEP = of("optimizers.py: gradient_descent", "`w -= alpha * g` -> `w += alpha * g`")


def test_a_fault_is_caught_by_the_first_check_that_sees_it():
    assert try_out(STEP) == Outcome(STEP.name, "caught", "alone-000", "update", 1)


def test_a_fault_that_crashes_is_caught(monkeypatch):
    whole = STEP.edit
    monkeypatch.setattr(audit, "recipes", lambda: recipes()[:1])
    crash = STEP._replace(edit=Edit(whole.at, whole.old, whole.old.replace("alpha * g", "alpha * h")))
    assert try_out(crash).outcome == "caught"


def test_what_is_no_fault_survives_and_says_on_how_many_recipes(monkeypatch):
    monkeypatch.setattr(audit, "recipes", lambda: recipes()[:2])
    remark = STEP._replace(edit=Edit(STEP.edit.at, STEP.edit.old, STEP.edit.old + "    # downhill\n"))
    assert try_out(remark) == Outcome(remark.name, "survived", tried=2)
    elsewhere = of("optimizers.py: lion", "`m *= beta2` -> `m /= beta2`")
    assert try_out(elsewhere) == Outcome(elsewhere.name, "not executed")


def test_a_place_is_executed_where_its_own_branch_of_an_expression_is():
    function = "optimizers.py: _step"
    plain, inside = (
        recipe_with({"optimizer": "momentum"}),
        recipe_with({"optimizer": "momentum, rate inside, decoupled weight decay"}),
    )
    for change, expected in (
        ("`alpha * direction` -> `alpha / direction`", (True, False)),
        ("`direction + alpha * weight_decay * w` -> `direction - alpha * weight_decay * w`", (False, True)),
    ):
        assert tuple(executes(recipe, of(function, change)) for recipe in (plain, inside)) == expected


def test_a_share_is_tried_and_printed_a_line_each(monkeypatch, capsys):
    chosen = tuple(fault for fault in faults() if fault.function == "losses.py: mean_squared_error_gradient")
    monkeypatch.setattr(audit, "faults", lambda: (STEP, *chosen))
    monkeypatch.setattr(audit, "try_out", lambda fault: Outcome(fault.name, "survived", tried=3))
    for share in ("0/2", "1/2"):
        main(share, "losses.py")
    found = [Outcome(**json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert [outcome.fault for outcome in found] == [fault.name for fault in chosen]


def unlisted(chosen: tuple[Generated, ...]) -> list[Generated]:
    return [fault for fault in chosen if not any(row.holds(fault) for row in ROWS)]


def test_one_fault_in_some_is_caught_or_listed():
    chosen = unlisted(faults()[::ONE_IN])
    assert len(chosen) > 3
    assert [outcome for outcome in outcomes(chosen) if outcome.outcome != "caught"] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", FORMULAS)
def test_every_fault_is_caught_or_does_what_the_list_says(file):
    expected = {"equivalent": "survived", "gap": "survived", "not_executed": "not executed"}
    for fault in (fault for fault in faults() if fault.file == file):
        said = [expected[row.kind] for row in ROWS if row.holds(fault)]
        assert [try_out(fault).outcome] == (said or ["caught"]), fault.name
