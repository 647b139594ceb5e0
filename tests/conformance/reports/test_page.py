"""The page as a file: what is in it, that names in it are only names, and that nothing is asked of a network."""

import base64
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from conformance.reports import page_failures, write_reports
from conformance.reports import page_tables as tables
from conformance.reports.page import page, safe_json
from conformance.reports.page_data import Pool, cells, for_json, names, script_data, start
from conformance.results.run import load_run
from conformance.results.store import Store


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the texts of its scripts and of all else."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.texts, self._inside = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.texts.append(data)


@pytest.fixture
def run_of(tmp_path, synthetic_run):
    """A run that never was, read."""

    def make(**options):
        return load_run(synthetic_run(tmp_path / "run", **options))

    return make


def data_of(path):
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL
    )
    return json.loads(data)


def test_nothing_is_loaded_from_elsewhere(page_of):
    text = page_of("failing").read_text("utf-8")
    found = Elements(text)
    loading = {"src", "srcset", "data", "poster", "action", "formaction", "background", "ping"}
    assert [attributes for _, attributes in found.elements if loading & set(attributes)] == []
    links = [attributes["href"] for _, attributes in found.elements if "href" in attributes]
    assert links
    assert all(link.startswith("#") for link in links)
    assert not [tag for tag, _ in found.elements if tag in ("link", "iframe", "object", "embed", "img", "base")]
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for tag, a in found.elements if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_a_hostile_name_is_only_a_name(page_of, hostile_name):
    text = page_of("hostile").read_text("utf-8")
    ordinary = Elements(page_of("failing").read_text("utf-8"))
    hostile = Elements(text)
    assert len(hostile.scripts) == len(ordinary.scripts)
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in ordinary.elements]
    assert hostile_name in "\n".join(hostile.texts)
    assert hostile_name in data_of(page_of("hostile"))["recipes"]
    assert "<script>alert" not in text
    assert "\u2028" not in next(script for script in hostile.scripts if script.startswith("{"))


def test_data_in_a_script_cannot_end_it():
    assert safe_json({"<!--": "</script>&'\u2029"}) == ('{"\\u003c!--":"\\u003c/script\\u003e\\u0026\\u0027\\u2029"}')
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json(math.nan)


def test_numbers_that_are_none_or_infinite_are_told_as_json_can():
    assert [for_json(value) for value in (math.nan, math.inf, 0.123456, 0.0)] == [None, "inf", 0.123, 0.0]


def test_equal_arrays_stand_once_and_nothing_is_lost_of_a_number():
    pool = Pool()
    values = np.array([1 / 3, math.nan, math.inf])
    assert [pool.offset(values), pool.offset(np.full(2, math.nan)), pool.offset(np.ones(2)), pool.offset(values)] == [
        0, -1, 3, 0,
    ]  # fmt: skip
    assert np.array_equal(
        np.frombuffer(base64.b64decode(pool.base64), "<f8"), [1 / 3, math.nan, math.inf, 1, 1], equal_nan=True
    )


def test_a_cell_shows_its_gravest_verdict_and_knows_all(run_of):
    run = run_of(recipes=12, complete=False)
    matrix = cells(run)
    assert {cell[""].verdict for cell in matrix.values()} > {"pass", "fail", "incomplete"}
    for (recipe, implementation), by_dtype in matrix.items():
        records = run.records[(run.records["recipe"] == recipe) & (run.records["implementation"] == implementation)]
        assert by_dtype[""].verdicts - {"incomplete"} == set(records["verdict"])
        if by_dtype[""].verdict not in ("pass", "incomplete"):
            assert by_dtype[""].records == (records["verdict"] == by_dtype[""].verdict).sum()


def test_what_is_behind_the_cells_counts_every_record_and_shows_the_worst(run_of):
    run = run_of(recipes=6)
    named = names(run)
    groups = script_data(run, named, cells(run))["groups"]
    assert sum(groups["records"]) == len(run.records)
    assert len({len(column) for column in groups.values()}) == 1
    finite = run.records[np.isfinite(run.records["error_per_allowance"])]
    shown = [value for value in groups["error_per_allowance"] if value not in (None, "inf")]
    assert max(shown) == pytest.approx(finite["error_per_allowance"].max(), rel=1e-2)


def test_the_first_curves_are_of_the_first_training_that_did_not_pass_else_of_one_that_learns(run_of):
    run = run_of(recipes=12)
    first = run.first_failures.iloc[0]
    assert start(run) == {"recipe": first["recipe"], "dtype": first["dtype"]}


def test_a_training_that_learns_is_shown_of_a_run_that_passes(run_of):
    run = run_of(recipes=6, failing=False)
    curves = run.curves.copy()
    flat = (curves["recipe"] != names(run).recipes[4]) & (curves["quantity"] == "cost")
    curves.loc[flat, "value"] = 1.0
    run.__dict__["curves"] = curves
    assert start(run)["recipe"] == names(run).recipes[4]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"failing": False}, "Every implementation conforms"),
        ({"failing": True}, "3 of 4 implementations do not conform: torch, jax, my.package:Model&lt;b&gt;"),
        ({"failing": False, "complete": False}, "INCOMPLETE: no conclusion yet"),
        ({"failing": True, "complete": False}, "INCOMPLETE; 3 of 4 implementations do not conform"),
    ],
)
def test_the_verdict_stands_in_the_first_heading(run_of, options, line):
    run = run_of(recipes=12, **options)
    text = page(run)
    heading = text[text.index("<h1") : text.index("</h1>")]
    assert line in heading
    resumes = f"conformance run --resume {run.folder}" in text
    assert resumes == (not options.get("complete", True))


def test_a_run_without_records_says_that_nothing_was_compared(tmp_path):
    store = Store(tmp_path, create=True)
    store.set_fact("plan", {"implementations": ["numpy"], "tasks": [["small", "float64"]], "checks": ["update"]})
    store.close()
    text = page(load_run(tmp_path))
    assert "INCOMPLETE: no conclusion yet" in text
    assert "numpy lacks 1 of 1 trainings" in text
    assert "No training was finished." in text


def test_every_section_has_an_anchor_and_every_link_leads_somewhere(page_of):
    found = Elements(page_of("failing").read_text("utf-8"))
    anchors = {attributes.get("id") for _, attributes in found.elements}
    links = [attributes["href"][1:] for tag, attributes in found.elements if tag == "a"]
    assert {link for link in links if "=" not in link} <= anchors
    sections = [attributes.get("id") for tag, attributes in found.elements if tag == "section"]
    assert None not in sections
    assert len(sections) == 12


def test_a_failure_shows_place_error_cause_and_command(run_of):
    run = run_of(recipes=12)
    text = page(run)
    first = run.first_failures.iloc[0]
    article = text[text.index('<article class="failure">') :]
    article = article[: article.index("</article>")]
    for told in (first["recipe"], first["implementation"], first["check"], f"step {first['step']}", first["command"]):
        assert str(told).replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in article


def test_of_very_many_failures_the_first_are_told_in_full_and_all_are_there(run_of):
    run = run_of(recipes=45)
    text = page(run)
    assert text.count('<article class="failure">') == 20 < len(run.first_failures)
    assert text.count('data-copy="conformance run') == len(run.first_failures) + 1  # the first stands at the top, too


def test_the_heat_map_marks_what_is_beyond_its_allowance():
    errors = pd.DataFrame(
        [("numpy", "float64", "loss", 0, 0.1), ("numpy", "float64", "parameter", 2, 3.0)],
        columns=["implementation", "dtype", "stage", "layer", "error_per_allowance"],
    )
    found = tables.heat(errors)
    assert found.rows == [("loss", "", [("heat-2", 0.1)]), ("parameter", "layer 2", [("heat-beyond", 3.0)])]


def test_the_same_formulation_stands_once_with_its_recipes():
    rows = [
        ("a", "optimizer", "adam", "epsilon", "1e-08"), ("b", "optimizer", "adam", "epsilon", "1e-08"),
        ("c", "optimizer", "adam", "epsilon", "1e-07"),
    ]  # fmt: skip
    dialects = pd.DataFrame(rows, columns=["recipe", "component", "name", "keyword", "value"])
    found = tables.formulations(dialects)
    assert [(each.keywords, each.recipes) for each in found] == [
        ([("epsilon", "1e-08")], ["a", "b"]), ([("epsilon", "1e-07")], ["c"]),
    ]  # fmt: skip


def test_pairs_of_choices_are_counted_by_pairs_of_factors():
    rows = [("model", "a", "loss", "b", True), ("model", "a", "loss", "c", False), ("model", "a", "data", "d", True)]
    frame = pd.DataFrame(rows, columns=["factor", "value", "other_factor", "other_value", "covered"])
    found = tables.coverage(frame)
    assert found.shares == {("model", "loss"): (1, 2), ("model", "data"): (1, 1)}
    assert (found.covered, found.allowed, found.factors) == (2, 3, ["model", "loss", "data"])


def test_a_cause_that_was_found_stands_with_its_failure_and_one_that_was_not_says_so(run_of):
    run = run_of(recipes=12)
    first = run.first_failures.iloc[:2]
    told = first[["recipe", "implementation", "dtype", "check"]].assign(
        place="",
        cause=["adam(epsilon=<1>)", ""],
        explained=[True, False],
        text="in full",
        command="conformance explain",
    )
    run.__dict__["explanations"] = told
    articles = page(run).split('<article class="failure">')[1:]
    assert "<strong>Cause</strong> (forward): adam(epsilon=&lt;1&gt;)" in articles[0]
    assert "<strong>No known cause</strong>" in articles[1]
    assert "Its cause has not been looked for" not in articles[0] + articles[1]
    assert "Its cause has not been looked for" in articles[2]
    causes = page_failures.causes(run)
    assert list(causes["cause"]) == ["adam(epsilon=<1>)"]


def test_a_cause_stands_beside_what_the_recipe_has_and_is_told_of_the_other_precision(run_of):
    run = run_of(recipes=12)
    first = run.first_failures.iloc[0]
    rates = run.dialects[run.dialects["keyword"] == "learning_rate"].set_index("recipe")
    own = rates.loc[first["recipe"]]
    other = "float32" if first["dtype"] == "float64" else "float64"
    alike = run.first_failures.head(1)
    run.__dict__["first_failures"] = pd.concat([alike, alike.assign(dtype=other)])
    told = {"cause": f"{own['name']}(learning_rate=123)", "explained": True, "place": "", "text": "", "command": ""}
    places = {key: first[key] for key in ("recipe", "implementation", "dtype", "check")}
    run.__dict__["explanations"] = pd.DataFrame([places | told])
    text = page(run)
    named = f"{told['cause']}; the recipe has learning_rate={own['value']}"
    top, with_own, with_other = re.findall(f"<strong>([^<]*)</strong>[^<]*{re.escape(named)}", text)
    assert (top, with_own, with_other) == ("Its cause", "Cause", f"Cause in {first['dtype']}")
    assert f"This shows it again, together with {first['dtype']}:" in text


def test_what_failed_is_counted_apart_from_what_is_neither_passed_nor_failed(run_of):
    run = run_of(recipes=12)
    text = page(run)
    counts = run.records["verdict"].value_counts()
    assert f"{len(run.not_passing()):,} of {len(run.records):,} comparisons failed, not counting" in text
    assert f"{counts['inconclusive']} inconclusive" in text
    assert '<option value="failing">failed: fail, missing, crashed, timeout</option>' in text


def test_folder_and_date_of_the_run_stand_at_the_top(run_of):
    run = run_of(recipes=1)
    text = page(run)
    assert f"<code>{run.folder}</code>, begun 2026-01-02 03:04 UTC" in text
    assert text.index("begun 2026-01-02 03:04 UTC") < text.index("<h2")


def test_curves_that_do_not_pass_are_listed_with_their_verdicts(run_of):
    run = run_of(recipes=12)
    curves = run.records[run.records["stage"] == "curve"]
    run.records.loc[curves.index[:2], "verdict"] = ["inconclusive", "fail"]
    named = names(run)
    data = script_data(run, named, cells(run))
    listed = [(data["severity"][verdict], data["strings"][name]) for *_, verdict, name in data["curveVerdicts"]]
    assert listed[:2] == [("inconclusive", curves["tensor"].iloc[0]), ("fail", curves["tensor"].iloc[1])]
    assert len(listed) == (run.records.loc[curves.index, "verdict"] != "pass").sum()


def test_a_fault_beyond_the_scale_of_the_margins_is_said_to_be():
    drawn = [tables.Margin({}, times, 10.0, tables.on_scale(times)) for times in (917.0, 3e12)]
    assert [each.beyond for each in drawn] == [False, True]


def test_the_page_is_among_the_reports_of_a_run(tmp_path, synthetic_run):
    write_reports(synthetic_run(tmp_path / "run", recipes=1, failing=False))
    text = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert len(text.encode()) < 4e6
