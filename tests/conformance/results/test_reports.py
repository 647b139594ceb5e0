"""The files of a run: the same frames as CSV, Parquet, JUnit XML, JSON and Markdown, whatever is named in them."""

import json
import re
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from conformance.reports import as_comment, as_values, digest, left_out, write_reports
from conformance.results import frames_page
from conformance.results.run import Run
from conformance.results.schema import VERDICTS, read_csv, read_parquet
from conformance.results.store import Explained, Store
from conformance.verdicts.compare import NOT_FAILING

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import ODD, synthetic_run

FILES = {
    "records.csv", "curves.csv", "records.parquet", "curves.parquet", "summary.md", "comment.md", "junit.xml",
    "summary.json", "environment.json", "report.html",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with all verdicts, of which something lacks and something is explained."""
    folder = synthetic_run(tmp_path_factory.mktemp("run"), complete=False)
    first = Run(folder).first_failures.iloc[0]
    store = Store(folder)
    row = [first[name] for name in ("recipe", "implementation", "dtype", "check")]
    store.explain(Explained(*row, "stage curve", f"because | {ODD}\x1b", True, "in full"))
    store.close()
    write_reports(folder)
    return Run(folder)


def suites(run):
    return ElementTree.parse(run.folder / "junit.xml").getroot()


def test_the_files_are_those_that_are_documented(run):
    assert {file.name for file in run.folder.iterdir() if file.is_file() and "sqlite" not in file.name} == FILES
    assert all(f"`{name}`" in frames_page.page() for name in FILES)


@pytest.mark.parametrize("name", ["records", "curves"])
def test_a_frame_is_the_same_from_each_of_its_files(run, name):
    for found in (read_csv(name, run.folder / f"{name}.csv"), read_parquet(name, run.folder / f"{name}.parquet")):
        pd.testing.assert_frame_equal(found, getattr(run, name), check_exact=True)


def test_there_is_a_test_case_for_each_check_of_each_training(run):
    found = {(case.get("classname"), case.get("name")) for case in suites(run).iter("testcase")}
    planned = {
        (f"{name}.{recipe}.{dtype}", check)
        for name in run.facts["plan"]["implementations"]
        for recipe, dtype in run.facts["plan"]["tasks"]
        for check in run.facts["plan"]["checks"]
    }
    assert found == planned


def test_a_test_case_tells_what_its_check_came_to(run):
    by_case = {}
    for row in run.records.to_dict("records"):
        key = f"{row['implementation']}.{row['recipe']}.{row['dtype']}", row["check"]
        by_case.setdefault(key, []).append(row)
    lacking = {(f"{row.implementation}.{row.recipe}.{row.dtype}", row.check) for row in run.missing.itertuples()}
    outcomes = set()
    for case in suites(run).iter("testcase"):
        rows = by_case.get((case.get("classname"), case.get("name")), [])
        failing = [row for row in rows if row["verdict"] not in NOT_FAILING]
        (outcome,) = [child.tag for child in case] or [""]
        outcomes.add(outcome)
        if not rows:
            assert outcome == "error"
            assert (case.get("classname"), case.get("name")) in lacking
        elif failing:
            assert outcome == ("failure" if any(row["verdict"] == "fail" for row in failing) else "error")
            assert all(row["tensor"] in case[0].text for row in failing)
            assert "\\x1b" in case[0].text or "<script>" in case[0].text
        else:
            assert not outcome
    assert outcomes == {"", "failure", "error"}


def test_the_counts_of_a_suite_are_those_of_its_cases(run):
    root = suites(run)
    for suite in (root, *root):
        cases = list(suite.iter("testcase"))
        assert int(suite.get("tests")) == len(cases)
        for tag, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.get(attribute)) == sum(case.find(tag) is not None for case in cases)
    properties = {each.get("name"): each.get("value") for each in root[0].iter("property")}
    assert properties["package numpy"] == "2.4.6"


def test_what_offers_nothing_of_a_check_is_skipped_with_the_reason(tmp_path):
    folder = synthetic_run(tmp_path, 1, ("numpy",), failing=False)
    Store(folder)._write("UPDATE records SET verdict='unsupported', cause='no such thing' WHERE \"check\"='loss'")
    write_reports(folder)
    skipped = [case for case in suites(Run(folder)).iter("testcase") if case.find("skipped") is not None]
    assert [case.get("name") for case in skipped] == ["loss", "loss"]
    assert skipped[0].find("skipped").get("message") == "no such thing"


def test_the_summary_for_programs_is_json_of_the_documented_keys(run):
    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads((run.folder / "summary.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert list(found) == list(digest.Summary.__annotations__)
    assert all(f"`{key}`" in frames_page.page() for key in found)
    assert found["schema_version"] == digest.SCHEMA_VERSION
    assert found["verdict"] == "incomplete"
    assert found["incomplete"] == run.incomplete != ""
    assert found["verdicts"] == {verdict: int((run.records["verdict"] == verdict).sum()) for verdict in VERDICTS}
    assert sum(found["verdicts"].values()) == found["records"] == len(run.records)
    assert [row["tensor"] for row in found["first_failures"]] == list(run.first_failures["tensor"])
    assert found["explanations"][0]["text"] == "in full"
    assert found["unexplained"] == run.unexplained == len(run.first_failures) - 1


@pytest.mark.parametrize(("failing", "complete", "verdict"), [(False, True, "pass"), (True, True, "fail")])
def test_the_verdict_is_that_of_the_run(tmp_path, failing, complete, verdict):
    run = Run(synthetic_run(tmp_path, 4, failing=failing, complete=complete))
    assert as_values(run)["verdict"] == verdict
    assert run.passed == (verdict == "pass")


def test_the_comment_is_short_and_says_what_failed_why_and_how_to_see_more(run):
    text = (run.folder / "comment.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) < 60
    assert lines[0].startswith("### Conformance: INCOMPLETE: torch lacks")
    rows = [line for line in lines if line.startswith("| `")]
    assert len(rows) == min(len(run.first_failures), digest.ROWS_SHOWN)
    assert "because" in rows[0]
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 6
        assert re.sub(r"`[^`]*`", "", row).strip("| ") == ""
    assert run.first_failures["command"].iloc[0] in lines


def test_the_comment_on_many_failures_shows_the_first_and_counts_the_others(tmp_path):
    run = Run(synthetic_run(tmp_path, 40))
    text = as_comment(run)
    assert len(text.splitlines()) < 60
    assert text.count("\n| `") == digest.ROWS_SHOWN
    assert f"{len(run.first_failures) - digest.ROWS_SHOWN} more are in `summary.md`." in text


def test_the_comment_on_what_passes_is_a_line_or_two(tmp_path):
    text = as_comment(Run(synthetic_run(tmp_path, 2, failing=False)))
    assert text.splitlines()[0] == "### Conformance: Every implementation conforms"
    assert "explain" not in text


def test_a_run_that_has_just_begun_has_its_reports(tmp_path):
    store = Store(tmp_path, create=True)
    store.set_fact("plan", {"implementations": ["numpy"], "tasks": [["small", "float64"]], "checks": ["loss"]})
    store.close()
    write_reports(tmp_path)
    (case,) = suites(Run(tmp_path)).iter("testcase")
    assert (case.get("classname"), case[0].tag) == ("numpy.small.float64", "error")
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["verdict"] == "incomplete"
    assert "INCOMPLETE" in (tmp_path / "comment.md").read_text(encoding="utf-8")


def test_without_pyarrow_there_is_no_parquet_and_it_is_said(tmp_path, monkeypatch):
    folder = synthetic_run(tmp_path, 1, failing=False)
    write_reports(folder)
    assert not left_out()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)  # which makes an import fail
    write_reports(folder)
    assert not list(folder.glob("*.parquet"))
    assert "records.parquet and curves.parquet are not written: pyarrow is not installed (pip install" in left_out()


@pytest.mark.slow
def test_the_reports_of_a_large_run_do_not_take_long(tmp_path):
    folder = synthetic_run(tmp_path, 500)
    started = time.process_time()
    write_reports(folder)
    assert time.process_time() - started < 25
