"""Runs side by side: what flipped, what moved, what is not comparable, and the exit status that it calls for."""

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from conformance.adapters.numpy import NumpyAdapter
from conformance.cli import app, comparing
from conformance.reports.comparison_page import page
from conformance.results.comparison import compare, differences, speed
from conformance.results.pairing import flipped_records, join, moved_records, only_in_one
from conformance.runs.plan import Plan

NAN, INF = float("nan"), float("inf")
UNIT = 2.0**-53
RECORD = {
    "recipe": "small", "implementation": "jax", "dtype": "float64", "check": "update", "stage": "parameter",
    "tensor": "W1", "verdict": "pass", "step": 1, "error": 1e-15, "floor": 1e-15, "allowance": 1e-14, "cause": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory, carry_out, small_recipe, faulty_adapter):
    """A run of a right implementation, and one of a faulty one of the same name."""
    folders = []
    for name, adapter in (("right", NumpyAdapter), ("faulty", faulty_adapter)):
        folder = tmp_path_factory.mktemp(name)
        store = carry_out(Plan(folder, [("file", small_recipe)], {}, ["float64"]), {"numpy": adapter})
        store.set_fact("environment", {**store.fact("environment"), "python": "3.11.7", "packages": {"numpy": "2.4.6"}})
        store.close()
        folders.append(folder)
    return folders


@pytest.fixture
def right(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "right")


@pytest.fixture
def other(made, tmp_path):
    """Another run of the same, to be changed."""
    return shutil.copytree(made[0], tmp_path / "other")


@pytest.fixture
def faulty(made):
    return made[1]


def change(folder, statement, *values):
    with closing(sqlite3.connect(folder / "run.sqlite")) as connection, connection:
        assert connection.execute(statement, values).rowcount


def set_fact(folder, name, value):
    change(folder, "INSERT OR REPLACE INTO facts VALUES (?, ?)", name, json.dumps(value))


def command(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def records(*rows):
    table = pd.DataFrame([RECORD | row for row in rows])
    return table.assign(error_per_allowance=table["error"] / table["allowance"])


def test_between_a_run_and_its_copy_nothing_differs(right, other):
    found = compare(right, other)
    assert not found.regressed
    assert found.overview["records"].item() > 50
    for name in ("flipped", "moved", "only_in_one", "changed_recipes", "environment", "incomplete"):
        assert getattr(found, name).empty, name
    result = command(right, other)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "no records came to not pass")


def test_a_planted_fault_is_a_regression_in_the_checks_that_see_it_and_in_no_other(right, faulty):
    found = compare(right, faulty)
    assert found.regressed
    assert set(found.flipped["check"]) == {"update", "teacher_forced", "free_running"}
    assert found.flipped["regression"].all()
    assert set(found.flipped["verdict"]) == {"fail"}
    assert {"W1", "cost"} <= set(found.flipped["tensor"])
    assert (found.moved["floors_moved"] > 1e6).any()
    assert command(right, faulty).exit_code == 1


def test_that_a_fault_is_mended_is_no_regression(right, faulty):
    found = compare(faulty, right)
    assert len(found.flipped) == len(compare(right, faulty).flipped)
    assert not found.regressed
    assert (found.moved["floors_moved"] < -1e6).any()
    assert command(faulty, right).exit_code == 0


def test_an_error_moved_if_it_differs_by_more_than_the_floor_and_a_roundoff():
    generator = np.random.default_rng(0)
    count = 1000
    floors = 10.0 ** generator.uniform(-18, -6, count)  # below and above the roundoff
    limits = np.maximum(floors, UNIT)
    errors, changes = limits * generator.uniform(0, 9, count), generator.uniform(-2, 2, count)
    told = [{"tensor": f"W{n}", "floor": f, "allowance": 8 * f + 16 * UNIT} for n, f in enumerate(floors)]
    before = records(*({**row, "error": error} for row, error in zip(told, errors, strict=True)))
    after = before.assign(error=before["error"] + changes * limits, step=7)
    after["error_per_allowance"] = after["error"] / after["allowance"]
    moved = moved_records(join(before, after)).set_index("tensor")["floors_moved"]
    expected = {f"W{n}": change for n, change in enumerate(changes) if abs(change) > 1}
    assert set(moved.index) == set(expected)
    assert moved.to_dict() == pytest.approx(expected)


def test_errors_at_other_steps_are_compared_in_units_of_their_own_allowances():
    early = {"step": 1, "error": 5e-15, "floor": 1e-15, "allowance": 1e-14}
    late = {"step": 9, "error": 5.5e-11, "floor": 1e-11, "allowance": 1e-10}
    assert moved_records(join(records(early), records(late))).empty
    later = late | {"error": 7e-11}
    assert moved_records(join(records(early), records(later)))["floors_moved"].item() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [(1e-15, INF, [INF]), (INF, 1e-15, [-INF]), (INF, INF, []), (NAN, 1e-15, []), (1e-15, NAN, [])],
)
def test_what_is_infinite_moved_and_what_is_not_there_did_not(before, after, moved):
    found = moved_records(join(records({"error": before}), records({"error": after})))
    assert found["floors_moved"].tolist() == moved


def test_the_farthest_move_comes_first():
    tensors = [{"tensor": f"W{n}", "error": n * 1e-15} for n in (3, 9, 5)]
    found = moved_records(join(records(*(row | {"error": 0.0} for row in tensors)), records(*tensors)))
    assert found["tensor"].tolist() == ["W9", "W5", "W3"]


def test_a_check_that_crashed_as_a_whole_is_held_against_the_worst_of_its_tensors():
    tensors = records(
        {"tensor": "W1"}, {"tensor": "b1", "verdict": "inconclusive"}, {"check": "loss", "tensor": "cost"}
    )
    crashed = records({"stage": "", "tensor": "", "verdict": "crashed", "error": NAN, "cause": "OverflowError"},
                      {"check": "loss", "tensor": "cost"})  # fmt: skip
    joined = join(tensors, crashed)
    (flipped,) = flipped_records(joined).to_dict("records")
    assert (flipped["check"], flipped["tensor"], flipped["baseline_verdict"]) == ("update", "", "inconclusive")
    assert (flipped["verdict"], flipped["regression"], flipped["cause"]) == ("crashed", True, "OverflowError")
    assert only_in_one(joined, "a", "b").empty
    (mended,) = flipped_records(join(crashed, tensors)).to_dict("records")
    assert (mended["baseline_verdict"], mended["verdict"], mended["regression"]) == ("crashed", "inconclusive", False)


def test_a_tensor_too_many_that_fails_is_a_regression_where_the_check_was_made_and_else_is_only_in_one():
    too_many = records({}, {"tensor": "W9", "verdict": "fail", "error": INF}, {"check": "loss", "verdict": "fail"})
    joined = join(records({}), too_many)
    flipped = flipped_records(joined)
    assert flipped[["tensor", "baseline_verdict", "regression"]].to_numpy().tolist() == [["W9", "absent", True]]
    assert only_in_one(joined, "a", "b")[["only_in", "check", "tensor"]].to_numpy().tolist() == [
        ["b", "update", "W9"],
        ["b", "loss", "W1"],
    ]
    gone = flipped_records(join(too_many, records({})))
    assert gone[["tensor", "verdict", "regression"]].to_numpy().tolist() == [["W9", "absent", False]]


def test_a_neutral_verdict_flips_and_is_no_regression():
    flipped = flipped_records(join(records({}), records({"verdict": "unsupported"})))
    assert flipped[["verdict", "regression"]].to_numpy().tolist() == [["unsupported", False]]


def test_a_recipe_of_another_content_is_not_compared_and_what_differs_is_said(right, other):
    change(other, "UPDATE records SET recipe_hash = 'abc', verdict = 'fail'")
    recipes = compare(right, right).changed_recipes
    assert recipes.empty
    with closing(sqlite3.connect(other / "run.sqlite")) as connection:
        (text,) = connection.execute("SELECT value FROM facts WHERE name = 'recipes'").fetchone()
    facts = json.loads(text)
    facts["small"]["optimizer"]["learning_rate"] = 0.5
    set_fact(other, "recipes", facts)
    found = compare(right, other)
    assert found.changed_recipes[["recipe", "hash", "differs"]].to_numpy().tolist() == [
        ["small", "abc", "optimizer.learning_rate: 0.01 -> 0.5"]
    ]
    assert found.flipped.empty
    result = command(right, other)
    assert result.exit_code == 2
    assert f"nothing in common with {other}" in result.stderr
    assert "optimizer.learning_rate: 0.01 -> 0.5" in result.stdout


def test_what_only_one_run_has_is_said_and_the_rest_is_compared(right, other):
    change(other, "DELETE FROM records WHERE \"check\" = 'forward'")
    change(right, "DELETE FROM records WHERE \"check\" = 'loss'")
    found = compare(right, other).only_in_one
    assert dict(found.groupby("only_in")["check"].unique().map(list)) == {str(other): ["loss"], str(right): ["forward"]}
    assert command(right, other).exit_code == 0


def test_a_run_that_lacks_something_is_incomplete_unless_both_lack_the_same(right, other):
    statement = "DELETE FROM done WHERE implementation = 'numpy' AND \"check\" = 'update'"
    change(other, statement)
    result = command(right, other)
    assert result.exit_code == 3
    assert f"{other}  numpy lacks 1 of 1 trainings" in result.stdout
    assert result.stdout.splitlines()[-1] == "INCOMPLETE; no records came to not pass"
    change(right, statement)
    assert command(right, other).exit_code == 0


def test_what_differs_in_the_environment_is_said_but_not_when_it_was(right, other):
    environment = {"python": "3.12.1", "started": "2026-11-27", "implementations": ["numpy"], "dtypes": ["float64"]}
    set_fact(other, "environment", environment | {"packages": {"numpy": "2.4.6", "jax": "0.10.2"}})
    for folder, blas in ((right, "openblas"), (other, "mkl")):
        set_fact(folder, "implementation numpy", {"device": "cpu", "settings": {"blas": blas}})
    set_fact(other, "implementation jax", {"device": "gpu"})
    found = compare(right, other).environment[["what", "baseline", "value"]]
    assert found.to_numpy().tolist() == [
        ["python", "3.11.7", "3.12.1"],
        ["implementation numpy.settings.blas", "openblas", "mkl"],
        ["packages.jax", "", "0.10.2"],
    ]


def test_differences_of_lists_and_of_what_is_no_tree():
    assert list(differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}, 4]})) == [("a.1.b", "2", "3"), ("a.2", "", "4")]
    assert list(differences({"a": 1}, {"a": {"b": 1}})) == [("a", "1", ""), ("a.b", "", "1")]
    assert list(differences(1, 2)) == [("", "1", "2")]


def timed(seconds, *, kept=(), steps=None):
    """A run of trainings that take so many seconds, in two checks, and per step a hundredth of that."""
    place = {"implementation": "jax", "dtype": "float32"}
    rows = [
        {"recipe": f"recipe-{n}", **place, "check": check, "seconds": number / 2, "kept": n in kept}
        for n, number in enumerate(seconds) for check in ("loss", "update")
    ]  # fmt: skip
    times = [
        {"recipe": f"recipe-{n}", **place, "seconds_per_step": (steps or {}).get(n, number / 100)}
        for n, number in enumerate(seconds)
    ]
    return SimpleNamespace(timings=pd.DataFrame(rows), training_times=pd.DataFrame(times))


def test_the_ratio_of_times_is_the_median_over_the_trainings_that_both_measured():
    before = timed([1.0, 1.0, 1.0, 1.0, 2.0], kept={3})
    found = speed(before, timed([2.0, 3.0, 4.0, 100.0, 200.0, 7.0], steps={1: NAN}), {"recipe-4"})
    columns = ["what", "trainings", "left_out", "ratio", "lower_quartile", "upper_quartile"]
    assert found[columns].to_numpy().tolist() == [
        ["all checks", 3, 1, 3.0, 2.5, 3.5],
        ["one step", 2, 1, 3.0, 2.5, 3.5],
    ]


def test_where_all_was_kept_of_earlier_runs_there_is_no_ratio():
    found = speed(timed([1.0]), timed([1.0], kept={0}), set())
    assert found[["trainings", "left_out"]].to_numpy().tolist() == [[0, 1], [0, 1]]
    assert np.isnan(found["ratio"]).all()


def test_several_runs_are_each_held_against_the_first(right, other, faulty):
    found = compare(right, other, faulty)
    assert found.overview["run"].tolist() == [str(other), str(faulty)]
    assert (found.overview["regressions"] > 0).tolist() == [False, True]
    assert set(found.flipped["run"]) == {str(faulty)}
    result = command(right, other, faulty)
    assert result.exit_code == 1
    assert all(str(faulty) in line for line in result.stdout.splitlines() if "pass -> fail" in line)


def test_a_run_that_was_broken_off_before_anything_was_compared_is_incomplete(right, other):
    change(other, "DELETE FROM records")
    change(other, "DELETE FROM done")
    result = command(right, other)
    assert result.exit_code == 3
    assert "numpy lacks 1 of 1 trainings" in result.stdout


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["right"], "a comparison needs two runs or more: one was given"),
        (["right", "nowhere"], "nowhere: is not the folder of a run: it has no run.sqlite"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(right, folders, message):
    result = command(*(right.parent / name for name in folders))
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_row_of_a_table_is_cut_in_a_pipe(right, other):
    cause = "long " * 200 + "end"
    change(other, "UPDATE records SET verdict = 'fail', cause = ? WHERE \"check\" = 'forward'", cause)
    result = command(right, other)
    flipped = [line for line in result.stdout.splitlines() if "pass -> fail" in line]
    assert len(flipped) == len(compare(right, other).flipped)
    assert all(line.endswith(cause) for line in flipped)


def test_a_terminal_gets_the_first_rows_and_is_told_how_many_more_there_are(right, other, monkeypatch, capsys):
    change(other, "UPDATE records SET verdict = 'fail'")
    found = compare(right, other)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    comparing.show_comparison(found)
    out = capsys.readouterr().out
    assert out.count("pass -> fail") == comparing.ROWS_SHOWN < len(found.flipped)
    assert f"and {len(found.flipped) - comparing.ROWS_SHOWN} more" in out


def test_the_json_has_every_table_and_no_number_that_json_does_not_know(right, other):
    change(
        other, "UPDATE records SET verdict = 'fail', error = ?, error_per_allowance = ? WHERE tensor = 'W1'", INF, INF
    )
    result = command(right, other, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    assert found["others"] == [str(other)]
    assert found["overview"][0]["regressions"] == len(found["flipped"]) > 0
    assert {row["error"] for row in found["flipped"]} == {None}


def test_the_page_needs_no_other_file_and_escapes_what_a_run_named(right, other, tmp_path):
    hostile = '<script>alert("x")</script>'
    change(other, "UPDATE records SET verdict = 'fail', cause = ? WHERE tensor = 'W1'", hostile)
    file = tmp_path / "page.html"
    assert command(right, other, "--html", file).exit_code == 1
    text = file.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert" in text
    assert "<script" not in text
    assert not any(sign in text for sign in ("http://", "https://", "src=", "href="))
    assert text.count("pass -&gt; fail") == len(compare(right, other).flipped)
    assert "<script" not in compare(right, other)._repr_html_()


def test_a_long_table_of_the_page_says_how_much_is_not_shown(right, other, monkeypatch):
    monkeypatch.setattr("conformance.reports.comparison_page.ROWS", 3)
    change(other, "UPDATE records SET verdict = 'fail'")
    found = compare(right, other)
    text = page(found)
    assert text.count("pass -&gt; fail") == 3
    assert f"The first 3 of {len(found.flipped)} rows" in text


def test_a_page_that_cannot_be_written_is_said(right, other, tmp_path):
    result = command(right, other, "--html", tmp_path / "nowhere" / "page.html")
    assert result.exit_code == 2
    assert "must be a file that can be written: " in result.stderr
    assert result.stderr.endswith(" is no folder\n")
