"""Every mutant is explained under its own name wherever it can be injected; what is not, is counted and said."""

import json

import pytest
from typer.testing import CliRunner

from conformance.audit import recognition
from conformance.audit.mutation import injected_in
from conformance.audit.recognition import Recognition, recognitions, score
from conformance.cli import app
from conformance.faults.injection import PACKAGES, Edit
from conformance.faults.mutants import MUTANTS
from conformance.runs.run import Incomplete

FRAMEWORKS = [name for name in PACKAGES if name != "numpy"]
ONE_IN = 640

# Faults divide by zero and overflow; as in the harness's own processes, that is no error of the harness. PyTorch says
# that of a variance over one unit less one in words of its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*degrees of freedom is <= 0:UserWarning"),
]


def is_of_own_draws(mutant):
    """Whether chance has a part in what it shows: its place is held, its name comes out in some languages only."""
    return set(mutant.checks) == {"native"}


def in_float64(implementation):
    return [mutant for mutant in injected_in(implementation) if "float64" in mutant.dtypes]


def said_of(mutant, implementation):
    (found,) = recognitions([mutant], implementation)
    return found


@pytest.mark.parametrize(
    ("implementation", "mutant"),
    [
        pytest.param(name, m, id=f"{name}, {m.name}", marks=[pytest.mark.slow] if is_of_own_draws(m) else [])
        for name in FRAMEWORKS
        for m in in_float64(name)[::ONE_IN]
    ],
)
def test_a_mutant_is_explained_under_its_own_name(implementation, mutant):
    found = said_of(mutant, implementation)
    assert found.recognised or (is_of_own_draws(mutant) and found.where.startswith("native")), score([found])


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("implementation", PACKAGES)
def test_every_mutant_is_explained_under_its_own_name(implementation):
    found = [each for each in recognitions(injected_in(implementation), implementation) if not is_a_crash(each)]
    assert score(found) == [f"{implementation}: {len(found)} of {len(found)} mutants explained under their own name"]


def is_a_crash(recognition):
    """Whether the first failure is an exception, which says for itself what is wrong."""
    return recognition.where.endswith(":")


def test_what_no_check_sees_and_what_nothing_explains_is_not_recognised():
    (descent,) = (mutant for mutant in MUTANTS if mutant.name == "gradient descent: ascent")
    change = descent.edits[0]
    remark = descent._replace(edits=(change._replace(new=change.old + "  # downhill"),))
    assert said_of(remark, "numpy") == Recognition(descent.name, "numpy", "float64", False, [], "", "")
    odd = descent._replace(edits=(Edit(change.at, change.old, "w -= 0.7 * alpha * g"),))
    found = said_of(odd, "numpy")
    assert (found.recognised, found.causes, found.where) == (False, [], "update: parameter ordinary")
    crash = descent._replace(edits=(Edit(change.at, change.old, "w -= alpha * h"),))
    found = said_of(crash, "numpy")
    assert (found.recognised, found.causes, found.where) == (False, [], "update:")


def test_a_mutant_is_tried_in_its_own_precision_alone():
    (mutant,) = (m for m in MUTANTS if m.dtypes == ("float32",))
    assert list(recognitions([mutant], "numpy")) == []


FOUND = [
    Recognition("adam: a fault", "torch", "float64", True, ["the fault 'adam: a fault'"], "", "update: parameter W1"),
    Recognition("l2: a fault", "torch", "float64", False, ["no l2", "l2(x=1)"], "", "loss: loss penalty"),
    Recognition("l1: a fault", "torch", "float64", False, [], "no l1", "loss: loss penalty"),
    Recognition("relu: a fault", "jax", "float64", False, [], "", ""),
]


def test_the_score_counts_those_that_are_recognised_and_says_what_was_said_of_the_others():
    assert score(FOUND) == [
        "torch: 1 of 3 mutants explained under their own name",
        "  not: l2: a fault (loss: loss penalty): no l2 or l2(x=1)",
        "  not: l1: a fault (loss: loss penalty): unexplained, nearest no l1",
        "jax: 0 of 1 mutants explained under their own name",
        "  not: relu: a fault: no check failed",
    ]


def test_the_shares_of_the_processes_are_all_mutants_once(monkeypatch, capsys):
    chosen = [mutant for mutant in MUTANTS if mutant.name.startswith("gradient descent")]
    monkeypatch.setattr("conformance.audit.mutation.MUTANTS", chosen)
    for share in ("0/3", "1/3", "2/3"):
        recognition.main("numpy", share)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["mutant"] for line in lines) == sorted(mutant.name for mutant in chosen)
    assert all(Recognition(**line).recognised for line in lines)


@pytest.mark.parametrize(("found", "status"), [(FOUND[:1], 0), (FOUND, 1)])
def test_the_command_prints_the_count(monkeypatch, found, status):
    def try_here(names, progress, tell):
        for each in found:
            tell(each._asdict())
        return found

    monkeypatch.setattr(recognition, "try_all", try_here)
    shown = CliRunner().invoke(app, ["mutants", "--explain", "--implementation", "torch"], env={"COLUMNS": "200"})
    assert shown.exit_code == status
    assert shown.stdout.splitlines() == score(found)
    printed = CliRunner().invoke(app, ["mutants", "--explain", "--json"])
    assert printed.exit_code == status
    assert [Recognition(**json.loads(line)) for line in printed.stdout.splitlines()] == found


def test_a_process_that_dies_leaves_the_count_incomplete(monkeypatch):
    def die(names, progress, tell):
        raise Incomplete("mutants of torch: exit status 7")

    monkeypatch.setattr(recognition, "try_all", die)
    result = CliRunner().invoke(app, ["mutants", "--explain"])
    assert result.exit_code == 3
    assert "exit status 7" in result.stderr
