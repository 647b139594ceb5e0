"""Many runs in time order, read by DuckDB; what cannot be read is named and skipped."""

import json
import shutil
import sqlite3
from contextlib import closing

import pandas as pd
import pytest
from typer.testing import CliRunner

from conformance import load_run
from conformance.adapters.numpy import NumpyAdapter
from conformance.cli import app
from conformance.results import history as histories
from conformance.results.history import history
from conformance.runs.plan import Plan

NAN = float("nan")
STARTED = {"early": "2026-01-01T09:00:00+00:00", "late": "2026-03-01T09:00:00+00:00"}


@pytest.fixture(scope="module")
def made(tmp_path_factory, carry_out, small_recipe):
    folder = tmp_path_factory.mktemp("made")
    carry_out(Plan(folder, [("file", small_recipe)], {}, ["float64"]), {"numpy": NumpyAdapter})
    return folder


def set_start(folder, started):
    environment = json.dumps({"started": started, "implementations": ["numpy"], "dtypes": ["float64"]})
    with closing(sqlite3.connect(folder / "run.sqlite")) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('environment', ?)", [environment])


@pytest.fixture
def reports(made, tmp_path):
    """Two runs, of which the folders are not in the order of time."""
    folder = tmp_path / "reports"
    for name, run in (("a-late-one", "late"), ("z-early-one", "early")):
        set_start(shutil.copytree(made, folder / name), STARTED[run])
    return folder


def write_report(folder, started, verdicts=("pass",), **columns):
    """Only the files that a report leaves beside a run."""
    folder.mkdir()
    told = {"implementation": "jax", "framework_version": "0.10", "check": "loss", "seconds": 1.0}
    columns = {"error_per_allowance": 0.1, **told, **columns}
    pd.DataFrame({"verdict": verdicts}).assign(**columns).to_parquet(folder / "records.parquet")
    (folder / "environment.json").write_text(json.dumps({"environment": {"started": started}}))


def command(*arguments):
    return CliRunner().invoke(app, ["history", *map(str, arguments)])


def test_runs_are_in_time_order_within_each_check_and_checks_in_that_of_the_ladder(reports):
    trend = history(reports).trend
    assert trend["run"].tolist() == ["z-early-one", "a-late-one"] * (len(trend) // 2)
    assert trend["check"].tolist()[:6] == ["initialization"] * 2 + ["forward"] * 2 + ["loss"] * 2
    assert trend["started"].tolist()[:2] == [STARTED["early"], STARTED["late"]]


def test_counts_margins_and_seconds_are_those_of_the_records(reports):
    records = load_run(reports / "z-early-one").records
    trend = history(reports).trend
    for row in trend[trend["run"] == "z-early-one"].to_dict("records"):
        own = records[records["check"] == row["check"]]
        assert (row["records"], row["pass"]) == (len(own), (own["verdict"] == "pass").sum())
        assert row["seconds"] == pytest.approx(own["seconds"].sum())
        assert row["worst"] == own["error_per_allowance"].max()
        assert row["median"] == own["error_per_allowance"].median()


def test_a_run_s_parquet_file_is_read_in_the_place_of_its_database_even_of_another_version(reports):
    verdicts, errors = ["pass", "fail", "unsupported"], [0.25, 3.0, NAN]
    write_report(reports / "old", "2025-01-01T00:00:00+00:00", verdicts, error_per_allowance=errors, extra=1)
    found = history(reports)
    (row,) = found.trend[found.trend["run"] == "old"].to_dict("records")
    assert (row["records"], row["pass"], row["fail"], row["unsupported"]) == (3, 1, 1, 1)
    assert (row["worst"], row["median"], row["seconds"], row["version"]) == (3.0, 1.625, 3.0, "0.10")
    assert found.skipped == []


def damaged_parquet(folder):
    write_report(folder, STARTED["late"])
    (folder / "records.parquet").write_bytes(b"no parquet")


def foreign_parquet(folder):
    folder.mkdir()
    pd.DataFrame({"a": [1]}).to_parquet(folder / "records.parquet")
    (folder / "environment.json").write_text(json.dumps({"environment": {"started": STARTED["late"]}}))


def damaged_database(folder):
    folder.mkdir()
    (folder / "run.sqlite").write_bytes(b"no database" * 100)


def damaged_environment(folder):
    write_report(folder, STARTED["late"])
    (folder / "environment.json").write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: folder.mkdir(), "is not the folder of a run: it has no run.sqlite"),
        (damaged_parquet, "records.parquet: cannot be read"),
        (foreign_parquet, "records.parquet: cannot be read"),
        (damaged_database, "run.sqlite: cannot be read"),
        (damaged_environment, "when it began cannot be read"),
    ],
)
def test_what_is_no_run_or_damaged_is_named_and_skipped(reports, spoil, reason):
    spoil(reports / "odd")
    found = history(reports)
    ((name, why),) = found.skipped
    assert name == "odd"
    assert reason in why
    assert set(found.trend["run"]) == {"a-late-one", "z-early-one"}
    result = command(reports)
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"skipped {reports / 'odd'}")


def test_files_links_and_hidden_folders_are_no_runs(reports):
    (reports / "README.md").write_text("about")
    (reports / ".hidden").mkdir()
    (reports / "latest").symlink_to("a-late-one")
    found = history(reports)
    assert found.skipped == []
    assert set(found.trend["run"]) == {"a-late-one", "z-early-one"}


def test_the_command_shows_what_was_asked_for(reports):
    result = command(reports, "--implementation", "numpy", "--check", "loss,update")
    heading, *rows = result.stdout.splitlines()
    assert "pass" in heading
    assert "crashed" not in heading  # never seen
    assert [row.split()[:3] for row in rows] == [
        ["numpy", check, run] for check in ("loss", "update") for run in ("z-early-one", "a-late-one")
    ]
    found = json.loads(command(reports, "--check", "loss", "--json").stdout)
    assert [row["run"] for row in found["trend"]] == ["z-early-one", "a-late-one"]
    assert found["skipped"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check", "los"], "check='los' is not allowed: must be among initialization"),
        (["--implementation", "nympy"], "did you mean 'numpy'?"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_name(reports, arguments, message):
    result = command(reports, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_folder_without_runs_or_that_is_not_there_is_refused(tmp_path):
    result = command(tmp_path)
    assert (result.exit_code, result.stderr) == (2, f"conformance: {tmp_path}: holds no run\n")
    assert history(tmp_path).trend.empty
    result = command(tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "nowhere: is not a folder that can be read: No such file or directory" in result.stderr


def test_without_duckdb_the_command_says_how_to_get_it(reports, monkeypatch):
    monkeypatch.setattr(histories, "find_spec", lambda name: None)
    result = command(reports)
    assert result.exit_code == 2
    assert "duckdb not found; a history needs: pip install '.[history]'" in result.stderr


def test_a_notebook_shows_the_trend_as_a_table(reports):
    assert "<td>z-early-one</td>" in history(reports)._repr_html_()
