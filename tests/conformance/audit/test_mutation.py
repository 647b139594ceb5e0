"""The mutants fit the source and are caught; what is no fault is missed, and that is said."""

import ast
import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import reference_numpy.optimizers
from conformance.audit import mutation
from conformance.audit.mutation import Outcome, injected_in, missed, outcomes, recipe_of, score, table, try_all
from conformance.cli import app
from conformance.faults import mutants
from conformance.faults.injection import PACKAGES, Edit, edited, injected, places
from conformance.faults.mutant import Mutant
from conformance.faults.mutants import MUTANTS, reference_with
from conformance.recipes.catalogue import KINDS
from conformance.runs.outcome import Incomplete
from conformance.verdicts.order import LADDER

ROOT = Path(__file__).parents[3]
ONE_RECIPE_IN = 24

# Faults divide by zero and overflow; as in the harness's own processes, that is no error of the harness.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DESCENT = {"optimizer": "gradient descent"}
PLACE, STEP = "optimizers.py: gradient_descent", "w -= alpha * g\n"
NO_FAULT = Mutant(
    "gradient descent: a remark",
    (Edit(PLACE, STEP, "w -= alpha * g  # downhill\n"),),
    where=DESCENT,
    checks=("update", "free_running"),
)
FAULT = NO_FAULT._replace(name="gradient descent: uphill", edits=(Edit(PLACE, STEP, "w += alpha * g\n"),))
CRASH = NO_FAULT._replace(name="gradient descent: a crash", edits=(Edit(PLACE, STEP, "w -= alpha * h\n"),))
NOT_A_NUMBER = NO_FAULT._replace(name="gradient descent: NaN", edits=(Edit(PLACE, STEP, "w -= alpha * g * np.nan\n"),))


def test_every_mutant_has_a_name_of_its_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("implementation", PACKAGES)
def test_every_edit_fits_the_source_and_leaves_it_python(implementation):
    for mutant in injected_in(implementation):
        edits = mutant.edits if implementation == "numpy" else mutant.elsewhere[implementation]
        for file in {edit.file for edit in edits}:
            source = (ROOT / PACKAGES[implementation] / file).read_text(encoding="utf-8")
            mine = [edit for edit in edits if edit.file == file]
            assert edited(source, mine, PACKAGES[implementation]) != source, mutant.name
            for edit in mine:
                ast.parse(place_of(edit, source), mutant.name)


def place_of(edit, source):
    """The changed text of what an edit is of, as it may stand alone."""
    start, end = places(source).get(edit.at.partition(": ")[2], (0, len(source)))
    changed = edited(source, [edit])
    place = changed[start : end + len(changed) - len(source)]
    return f"class _:\n{place}" if place.startswith(" ") else place


def test_every_mutant_speaks_of_things_that_exist():
    components = {name for kind in KINDS.values() for name in kind}
    for mutant in MUTANTS:
        assert set(mutant.of) <= components, mutant.name
        assert mutant.checks, mutant.name
        assert set(mutant.checks) <= set(LADDER), mutant.name
        assert set(mutant.dtypes) <= {"float64", "float32"}, mutant.name
        assert set(mutant.elsewhere) <= set(PACKAGES) - {"numpy"}, mutant.name


def test_every_mutant_has_a_recipe_that_it_concerns():
    for mutant in MUTANTS:
        recipe = recipe_of(mutant)
        assert not mutant.of or recipe.components & set(mutant.of), mutant.name


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_of_the_catalogue_has_a_mutant_of_its_own(kind):
    assert set(KINDS[kind]) - {name for mutant in MUTANTS for name in mutant.of} == set()


def test_the_mutants_of_some_recipes_are_caught():
    """Recipes and not mutants are sampled, since what a mutant costs is the case of its recipe."""
    recipes = list(dict.fromkeys(recipe_of(mutant).hash for mutant in MUTANTS))[::ONE_RECIPE_IN]
    chosen = [mutant for mutant in MUTANTS if recipe_of(mutant).hash in recipes]
    assert len(chosen) >= len(recipes) > 5
    assert missed(outcomes(chosen, "numpy", ["float64"])) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_mutant_is_caught_by_every_check_that_must_catch_it(dtype):
    assert missed(outcomes(MUTANTS, "numpy", [dtype])) == []


def test_a_fault_is_caught_with_its_margin_and_its_place():
    found = {outcome.check: outcome for outcome in outcomes([FAULT], "numpy", ["float64", "float32"])}
    assert tuple(found) == LADDER
    assert found["update"] == Outcome(
        FAULT.name, "numpy", "float32", "update", True, True, pytest.approx(2 / (16 * 2.0**-24), rel=0.5),
        "parameter ordinary, step 1",
    )  # fmt: skip
    assert not found["forward"].caught
    assert not found["forward"].named


@pytest.mark.parametrize(("fault", "where"), [(CRASH, "NameError: name 'h'"), (NOT_A_NUMBER, "parameter ordinary")])
def test_what_crashes_or_cannot_be_compared_is_caught_beyond_measure(fault, where):
    found = {outcome.check: outcome for outcome in outcomes([fault], "numpy", ["float64"])}
    for check in fault.checks:
        assert found[check].caught
        assert found[check].margin == np.inf
    assert found["update"].where.startswith(where)


def test_what_is_no_fault_is_missed_by_every_check_it_names():
    found = list(outcomes([NO_FAULT], "numpy", ["float64"]))
    assert [outcome.check for outcome in missed(found)] == list(NO_FAULT.checks)
    assert {outcome.margin < 1 for outcome in found} == {True}


def test_a_mutant_is_tried_in_its_own_precisions_alone():
    single = FAULT._replace(dtypes=("float32",))
    assert {outcome.dtype for outcome in outcomes([single], "numpy", ["float64", "float32"])} == {"float32"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            Edit(PLACE, "w -= alpha * h\n", ""),
            r"reference_numpy/optimizers.py: gradient_descent has 'w -= alpha \* h\\n' 0 times: must be once",
        ),
        (Edit(PLACE, "alpha", ""), r"reference_numpy/optimizers.py: gradient_descent has 'alpha' \d+ times: must be"),
        (Edit("optimizers.py", "alpha", ""), r"reference_numpy/optimizers.py has 'alpha' \d+ times: must be once"),
        (Edit("optimizers.py: novel", "", ""), "reference_numpy/optimizers.py has no 'novel': must be a function"),
    ],
)
def test_an_edit_that_does_not_fit_is_an_error_that_names_file_and_text(edit, message):
    with pytest.raises(ValueError, match=message):
        next(outcomes([FAULT._replace(edits=(edit,))], "numpy", ["float64"]))


def test_nobody_else_sees_the_copy():
    original, loaded = reference_numpy.optimizers, sys.modules["reference_numpy.optimizers"]
    with injected("numpy", *FAULT.edits) as adapter:
        assert adapter.__name__ == "NumpyAdapter"
        import reference_numpy.optimizers as again

        assert again is original
    assert sys.modules["reference_numpy.optimizers"] is loaded


def test_faults_are_injected_together_unless_one_leaves_nothing_for_the_other(monkeypatch):
    elsewhere = NO_FAULT._replace(
        name="schedules: a remark", edits=(Edit("schedules.py", "import math\n", "import math  # (cosine)\n"),)
    )
    monkeypatch.setattr(mutants, "MUTANTS", (FAULT, NO_FAULT, elsewhere))
    assert reference_with(FAULT.name, elsewhere.name) is reference_with(FAULT.name, elsewhere.name)
    with pytest.raises(ValueError, match="two edits of one text"):
        reference_with(FAULT.name, NO_FAULT.name)


def outcome(mutant="adam: a fault", implementation="numpy", check="update", named=True, margin=8.0, dtype="float64"):
    return Outcome(mutant, implementation, dtype, check, named, margin > 1, margin, "parameter W1, step 1")


FOUND = [
    outcome(),
    outcome(dtype="float32", margin=3.5),
    outcome(check="forward", named=False, margin=0.25),
    outcome(check="free_running", named=False, margin=1e9),
    outcome("l2: a fault", check="loss", margin=20.0),
    outcome("l2: a fault", check="loss", dtype="float32", margin=0.5),
    outcome("l2: a fault", "jax", check="loss", margin=np.inf),
]


def test_the_table_has_the_least_margin_of_each_check_that_catches_in_every_precision():
    assert table(FOUND) == [
        {"mutant": "adam: a fault", "implementation": "numpy", "caught by": "update 3.5, free_running 1e+09",
         "missed by": "-"},
        {"mutant": "l2: a fault", "implementation": "numpy", "caught by": "", "missed by": "loss"},
        {"mutant": "l2: a fault", "implementation": "jax", "caught by": "loss inf", "missed by": "-"},
    ]  # fmt: skip


def test_the_score_counts_mutants_by_implementation_and_precision():
    assert score(FOUND) == [
        "numpy, float64: 2 of 2 mutants (100.0 %) caught by every check that must catch them;"
        " the smallest margin is 8 allowances (adam: a fault, update)",
        "numpy, float32: 1 of 2 mutants (50.0 %) caught by every check that must catch them;"
        " the smallest margin is 0.5 allowances (l2: a fault, loss)",
        "jax, float64: 1 of 1 mutants (100.0 %) caught by every check that must catch them;"
        " the smallest margin is inf allowances (l2: a fault, loss)",
    ]


def test_a_share_of_the_mutants_is_tried_in_a_process_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(mutation, "MUTANTS", (FAULT, CRASH, NO_FAULT))
    mutation.main("numpy", "1/2", "float64")
    mutation.main("numpy", "0/1", "float64", NO_FAULT.name)
    lines = capsys.readouterr().out.splitlines()
    found = [Outcome(**json.loads(line)) for line in lines]
    assert [outcome.mutant for outcome in found] == [CRASH.name] * len(LADDER) + [NO_FAULT.name] * len(LADDER)


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """Lets a shell script stand in for the worker processes; ``$3`` is the implementation, ``$4`` the share."""

    def stand_in(script):
        path = tmp_path / "worker"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return stand_in


def test_what_the_processes_find_is_put_in_order(worker, monkeypatch):
    monkeypatch.setattr(mutation, "MUTANTS", (CRASH, FAULT))
    worker(f"""
        case $4 in 0/*) mutant='{FAULT.name}';; *) mutant='{CRASH.name}';; esac
        printf '{{"implementation": "%s", "mutant": "%s", "dtype": "%s", "check": "update", ' "$3" "$mutant" "$5"
        echo '"named": true, "caught": true, "margin": Infinity, "where": "parameter W1, step 1"}}'
    """)
    progress, told = [], []
    found = try_all(["torch", "numpy"], ["float64"], lambda *steps: progress.append(steps), told.append)
    assert [(o.implementation, o.mutant) for o in found] == [
        (name, fault.name) for name in ("torch", "numpy") for fault in (CRASH, FAULT)
    ]
    assert sorted(found) == sorted(Outcome(**line) for line in told)
    assert sorted(progress) == [("numpy", 1, 2), ("numpy", 2, 2), ("torch", 1, 0), ("torch", 2, 0)]


def test_a_process_that_dies_leaves_the_trial_incomplete(worker):
    worker("echo first >&2; echo 'last words' >&2; exit 7")
    with pytest.raises(Incomplete, match="mutants of numpy: exit status 7: last words"):
        try_all(["numpy"], ["float64"], lambda *steps: None)
    result = CliRunner().invoke(app, ["mutants"])
    assert result.exit_code == 3
    assert "last words" in result.stderr


def test_what_was_found_before_a_process_died_is_printed(worker, monkeypatch):
    monkeypatch.setattr(mutation, "MUTANTS", (FAULT,))
    line = Outcome(FAULT.name, "numpy", "float64", "update", True, True, float("inf"), "parameter W1, step 1")
    worker(f"echo '{json.dumps(line._asdict())}'; echo 'last words' >&2; exit 7")
    result = CliRunner().invoke(app, ["mutants", "--json"])
    assert result.exit_code == 3
    lines = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    assert lines == [line._asdict() | {"margin": None}] * len(lines)
    assert lines


@pytest.mark.parametrize(("chosen", "status"), [([FAULT], 0), ([CRASH], 0), ([FAULT, NO_FAULT], 1)])
def test_the_exit_status_tells_whether_a_mutant_got_by(monkeypatch, chosen, status):
    def try_here(names, dtypes, progress, tell):
        found = list(outcomes(chosen, names[0], dtypes))
        for outcome in found:
            tell(outcome._asdict())
        return found

    monkeypatch.setattr(mutation, "try_all", try_here)
    shown = CliRunner().invoke(app, ["mutants", "--dtype", "float64"], env={"COLUMNS": "200"})
    assert shown.exit_code == status
    assert f"numpy, float64: 1 of {len(chosen)} mutants" in shown.stdout
    printed = CliRunner().invoke(app, ["mutants", "--dtype", "float64", "--json"])
    assert printed.exit_code == status
    found = [json.loads(line, parse_constant=pytest.fail) for line in printed.stdout.splitlines()]
    assert [row["mutant"] for row in found[:: len(LADDER)]] == [mutant.name for mutant in chosen]
    assert {row["caught"] for row in found if row["margin"] is None} <= {True}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--implementation", "numpy,theano"], "implementation='theano' is not allowed: must be among numpy, torch"),
        (["--dtype", "float16"], "dtype='float16' is not allowed: must be among float64, float32"),
    ],
)
def test_bad_usage_ends_with_exit_status_two_and_says_what_is_allowed(arguments, message):
    result = CliRunner().invoke(app, ["mutants", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
