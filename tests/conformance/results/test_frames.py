"""The tables of a report, from a handful of records made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conformance.reports.summary import markdown, summarize
from conformance.results import frames, tables
from conformance.results.completeness import Missing
from conformance.results.run import Run
from conformance.results.store import INFORMATIVE

NAN = float("nan")
RECORD = {
    "run": "run", "suite": "file", "recipe": "small", "implementation": "jax", "dtype": "float64", "check": "update",
    "stage": "parameter", "layer": 1, "step": 1, "tensor": "W1", "error": 1e-15, "ulps": 2.0, "floor": 1e-15,
    "allowance": 1e-14, "ceiling": NAN, "nearest_fault": "", "verdict": "pass", "cause": "", "seconds": 0.5,
}  # fmt: skip


def records(*rows):
    """Records that differ from ``RECORD``; the two margins follow from their numbers."""
    table = pd.DataFrame([RECORD | row for row in rows])
    return table.assign(
        error_per_allowance=table["error"] / table["allowance"],
        allowance_per_ceiling=table["allowance"] / table["ceiling"],
    )


def curve_points(*rows):
    return pd.DataFrame(rows, columns=["recipe", "dtype", "quantity", "position", "value"])


def test_the_worst_margins_are_the_passing_records_nearest_their_allowance():
    found = tables.worst_margins(
        records(
            {"tensor": "far", "error": 1e-16},
            {"tensor": "near", "error": 9e-15, "ulps": 40.5},
            {"tensor": "absolutely larger", "error": 1e-10, "allowance": 1e-9},
            {"tensor": "beyond", "error": 1.0, "verdict": "fail"},
            {"tensor": "unknown", "error": 8e-15, "verdict": "inconclusive"},
            {"tensor": "exact", "error": 0.0},
        )
    )
    assert list(found["tensor"]) == ["near", "absolutely larger", "far", "exact"]
    assert found["error_per_allowance"].to_numpy() == pytest.approx([0.9, 0.1, 0.01, 0.0])
    assert found["ulps"].iloc[0] == 40.5


def test_ceilings_show_the_tightest_of_both_margins_by_check_and_precision():
    found = tables.margins(
        records(
            {"check": "update", "tensor": "loose", "ceiling": 1e-3, "nearest_fault": "one"},
            {"check": "update", "tensor": "tight", "ceiling": 2e-14, "nearest_fault": "another", "recipe": "large"},
            {"check": "update", "tensor": "unbounded", "error": 5e-15},
            {"check": "update", "tensor": "failing", "error": 1.0, "verdict": "fail", "ceiling": 1e-3,
             "nearest_fault": "one"},
            {"check": "update", "tensor": "single", "dtype": "float32", "ceiling": 5e-15, "nearest_fault": "crossed"},
            {"check": "forward", "tensor": "Z1", "stage": "activation", "ceiling": np.inf, "nearest_fault": "crash"},
            {"check": "loss", "tensor": "cost", "stage": "loss"},
        )
    )  # fmt: skip
    assert found[["check", "dtype", "tensor", "recipe", "nearest_fault", "faults"]].to_numpy().tolist() == [
        ["forward", "float64", "Z1", "small", "crash", 1],
        ["update", "float32", "single", "small", "crossed", 1],
        ["update", "float64", "tight", "large", "another", 2],
    ]
    assert found["allowance_per_ceiling"].to_numpy() == pytest.approx([0.0, 2.0, 0.5])
    assert found["error_per_allowance"].to_numpy() == pytest.approx([0.1, 0.1, 0.5])


def test_without_ceilings_there_is_no_table_of_them():
    assert markdown(tables.margins(records({}))) == "None."


def test_largest_errors_are_those_of_passing_records_by_check_and_precision():
    found = tables.largest_errors(
        records(
            {"tensor": "small"},
            {"tensor": "large", "error": 3e-15},
            {"tensor": "failing", "error": 1.0, "verdict": "fail"},
            {"tensor": "without", "error": NAN, "verdict": "missing"},
            {"tensor": "cost", "check": "loss"},
        )
    )
    assert found[["check", "tensor", "error"]].to_numpy().tolist() == [
        ["loss", "cost", 1e-15],
        ["update", "large", 3e-15],
    ]


def test_floors_are_the_median_and_the_largest_of_a_stage():
    found = tables.floors(
        records(
            *({"tensor": f"W{n}", "floor": n * 1e-16} for n in (1, 2, 9)),
            {"tensor": "crashed", "floor": NAN, "verdict": "crashed"},
            {"tensor": "m of W1", "stage": "optimizer state", "recipe": "large"},
        )
    )
    assert found[["stage", "tensor", "recipe"]].to_numpy().tolist() == [
        ["optimizer state", "m of W1", "large"],
        ["parameter", "W9", "small"],
    ]
    assert found[["median", "largest"]].to_numpy() == pytest.approx(np.array([[1e-15, 1e-15], [2e-16, 9e-16]]))


def free_and_local(recipe, local, free, **fields):
    return [
        {"recipe": recipe, "check": "teacher_forced", "error": local, **fields},
        {"recipe": recipe, "check": "free_running", "error": free, **fields},
    ]


def test_amplification_sets_errors_of_free_trainings_beside_those_of_single_steps():
    found = tables.amplification(
        records(
            *free_and_local("calm", 1e-15, 2e-15),
            *free_and_local("wild", 1e-15, 7e-10),
            *free_and_local("wild", 1e-16, 1e-16, tensor="b1"),
            *free_and_local("wild", 1.0, 1.0, stage="optimizer state"),
            *free_and_local("exact", 0.0, 1e-15),
            *free_and_local("crashed", NAN, NAN, verdict="crashed"),
            {"recipe": "half", "check": "teacher_forced"},
        ),
        curve_points(
            ("wild", "float64", INFORMATIVE, 40, 12.0),
            ("wild", "float32", INFORMATIVE, 40, 3.0),
            ("wild", "float64", "cost", 40, 0.5),
        ),
    )
    assert found[["recipe", "implementation", "local", "free", "ratio"]].to_numpy().tolist() == [
        ["wild", "jax", 1e-15, 7e-10, pytest.approx(7e5)],
        ["calm", "jax", 1e-15, 2e-15, 2.0],
    ]
    assert found[["informative", "steps"]].to_numpy()[0].tolist() == [12.0, 40.0]
    assert found[["informative", "steps"]].iloc[1].isna().all()


@pytest.mark.parametrize("check", ["teacher_forced", "update"])
def test_without_both_trainings_there_is_no_amplification(check):
    assert tables.amplification(records({"check": check}), curve_points()).empty


@pytest.fixture
def page():
    curves = curve_points().assign(implementation="", unit="", quantity="")
    environment = dict.fromkeys(("started", "python", "platform", "processors", "device"), "known")

    def written(*rows, incomplete=""):
        made, run = records(*rows), Run.__new__(Run)
        known = {"records": made, "curves": curves, "facts": {"environment": environment}, "folder": Path("run")}
        vars(run).update(known, verdicts=frames.verdict_matrix(made), incomplete=incomplete)
        return summarize(run)

    return written


def test_a_run_that_lacks_something_does_not_conform(page):
    assert "**Every implementation conforms**" in page({})
    lacking = page({}, incomplete="jax lacks 1 of 2 trainings")
    assert "**INCOMPLETE: jax lacks 1 of 2 trainings**" in lacking
    assert "conforms" not in lacking


def test_what_was_planned_and_is_not_there_is_said_in_its_cell():
    made = records({"recipe": "one", "implementation": "numpy"}, {"recipe": "two", "implementation": "numpy"})
    lacking = [Missing("numpy", "two", "float32", ("loss",)), Missing("jax", "one", "float64", ("loss",))]
    matrix = frames.verdict_matrix(made, lacking).set_index("recipe")
    assert matrix.loc["one"].to_dict() == {"numpy": "pass", "jax": "INCOMPLETE (float64)"}
    assert matrix.loc["two", "numpy"] == "INCOMPLETE (float32)"


def test_the_page_has_both_margins_and_what_is_not_known_stays_blank(page):
    written = page({"ceiling": 2e-14, "nearest_fault": "a | fault"}, {"recipe": "other"})
    assert "| update | float64 | 0.1 | 0.5 | a \\| fault | small | W1 | 1 |" in written
    assert "nan" not in written


def test_no_section_of_the_page_is_empty(page):
    for written in (page({}), page({"verdict": "crashed", "stage": "", "error": NAN, "floor": NAN, "allowance": NAN})):
        assert "\n\n\n" not in written


def test_what_is_not_offered_counts_only_if_all_is_required():
    found = records({"tensor": "right"}, *({"tensor": v, "verdict": v} for v in ("unsupported", "diverged", "fail")))
    assert list(frames.not_passing(found)["tensor"]) == ["fail"]
    assert list(frames.not_passing(found, require_all=True)["tensor"]) == ["unsupported", "fail"]
    assert list(frames.first_failures(found)["tensor"]) == ["fail"]


def test_a_cell_says_first_what_fails():
    found = records(*({"tensor": v, "verdict": v} for v in ("unsupported", "inconclusive", "fail", "crashed")))
    (cell,) = frames.verdict_matrix(found).drop(columns="recipe").to_numpy().ravel()
    assert cell.index("FAIL 1") < cell.index("CRASHED 1") < cell.index("inconclusive 1") < cell.index("unsupported 1")
