"""``report.html``: a run as one page that needs nothing else, neither files beside it nor a network."""

import json
import math
import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from conformance.reports import page_failures
from conformance.reports import page_tables as tables
from conformance.reports.page_data import FAILING, Names, cells, names, script_data
from conformance.reports.page_words import ABOUT, CHECKS, GLOSSARY, SYMBOLS
from conformance.results.paths import short
from conformance.results.run import Run
from conformance.results.schema import VERDICTS
from conformance.verdicts.compare import NEUTRAL

ASSETS = files("conformance.reports") / "assets"
SCRIPTS = ("plotly-basic.min.js", "report.js", "matrix.js", "curves.js")
TOLD_IN_FULL = 20  # first failures; what is more stands in a table


def page(run: Run) -> str:
    """The page, as HTML. Raises StoreError for a run that cannot be read."""
    named, matrix = names(run), cells(run)
    failures = page_failures.failures(run)
    return _template().render(
        run=run,
        tables=tables,
        title=_title(run),
        folder=short(run.folder),
        started=_started(run),
        headline=headline(run, named, failures),
        names=named,
        matrix=matrix,
        failures=failures[:TOLD_IN_FULL],
        failures_by_check=page_failures.failures_by_check(run),
        causes=page_failures.causes(run),
        more_failures=failures[TOLD_IN_FULL:],
        verdicts=[verdict for verdict in SYMBOLS if any(verdict in each[""].verdicts for each in matrix.values())],
        failing=FAILING,
        symbols=SYMBOLS,
        about=ABOUT,
        checks=CHECKS,
        glossary=GLOSSARY,
        style=_asset("report.css"),
        scripts=[_asset(name) for name in SCRIPTS],
        data=safe_json(script_data(run, named, matrix) | {"symbols": SYMBOLS}),
    )


def safe_json(value: Any) -> Markup:
    """JSON that can stand in a script element, whatever the names in it hold. Raises ValueError for NaN."""
    return htmlsafe_json_dumps(value, dumps=json.dumps, allow_nan=False, separators=(",", ":"))


class Headline(NamedTuple):
    """What came of a run: ``kind`` is pass, fail or incomplete."""

    kind: str
    line: str
    sentences: list[str]
    resume: str
    counts: list[tuple[str, int]]
    nearest: str  # of what passes


def headline(run: Run, named: Names, failures: list[page_failures.Failure]) -> Headline:
    """The first lines of the page."""
    counts = run.records["verdict"].value_counts()
    counted = [(verdict, int(counts[verdict])) for verdict in VERDICTS if verdict in counts]
    failing = [name for name in named.implementations if any(each.row["implementation"] == name for each in failures)]
    sentences = [text for text in (_lacks(run), _silent(run), _failed(failures, run)) if text]
    nearest = _nearest(run)
    if run.incomplete:
        line = f"INCOMPLETE; {_not_conforming(failing, named)}" if failing else "INCOMPLETE: no conclusion yet"
        resume = f"conformance run --resume {shlex.quote(str(short(run.folder)))}"
        return Headline("incomplete", line, sentences, resume, counted, nearest)
    if run.records.empty:
        return Headline("incomplete", "INCOMPLETE: nothing was compared", ["The run has no records."], "", [], "")
    if run.passed:
        return Headline("pass", "Every implementation conforms", sentences, "", counted, nearest)
    line = _not_conforming(failing, named) if failing else f"Nothing of {', '.join(run.offering_nothing)} was compared"
    return Headline("fail", line, sentences, "", counted, nearest)


def _not_conforming(failing: list[str], named: Names) -> str:
    of_all = f"{len(failing)} of {number_of(len(named.implementations), 'implementation')}"
    return f"{of_all} {'does' if len(failing) == 1 else 'do'} not conform: {', '.join(failing)}"


def _lacks(run: Run) -> str:
    if not run.incomplete:
        return ""
    asked = " The run was asked to end with the first check that did not pass." if run.stopped else ""
    return f"Not everything that was planned is done: {run.incomplete}.{asked}"


def _failed(failures: list[page_failures.Failure], run: Run) -> str:
    if not failures:
        return ""
    row = failures[0].row
    of_all = f"{len(run.not_passing()):,} of {number_of(len(run.records), 'comparison')} failed"
    counts = run.records["verdict"].value_counts()
    neutral = [f"{counts[verdict]:,} {verdict.value}" for verdict in NEUTRAL if verdict in counts]
    besides = f", not counting {' and '.join(neutral)}" if neutral else ""
    return f"{of_all}{besides}. First: {row['implementation']} on {row['recipe']} in {row['dtype']}, {_place(row)}."


def _silent(run: Run) -> str:
    silent = [] if run.records.empty else run.offering_nothing
    return f"Nothing of {', '.join(silent)} was compared: nothing that was asked for is offered." if silent else ""


def _nearest(run: Run) -> str:
    row = tables.nearest(run) if len(run.records) else {}
    if not row:
        return ""
    return (
        f"Of what passes, nearest to its allowance came {row['implementation']} on {row['recipe']} in {row['dtype']},"
        f" {_place(row)}: its error is {share(row['error_per_allowance'])} of what is allowed."
    )


def _place(row: Mapping[str, Any]) -> str:
    """Where something stands: ``check update, step 2, tensor W1``."""
    parts = [f"check {row['check']}", f"step {row['step']}" if row["step"] else "", row["tensor"]]
    return ", ".join(part for part in parts if part)


def _title(run: Run) -> str:
    return str(run.records["run"].iloc[0]) if len(run.records) else run.folder.name


def _started(run: Run) -> str:
    """When the run began: 2026-11-27 19:22 UTC; "" where it is not known."""
    told = str(run.facts.get("environment", {}).get("started", ""))
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*?(\+00:00|Z)$", r"\1 \2 UTC", told)


def number(value: Any, digits: int = 3) -> str:
    """A number as it is read; "" for none, and any other value as a text.

    >>> number(0.000123456), number(float("nan")), number(25264), number(1000.0), number(float("inf"))
    ('0.000123', '', '25,264', '1,000', '∞')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if isinstance(value, int) or 1000 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def share(ratio: float) -> str:
    """A share of the allowance: in per cent up to it, in multiples beyond.

    >>> share(0.362), share(0.0), share(1234.4), share(3e14), share(float("inf")), share(1e-9)
    ('36 %', '0 %', '1,234 times', '3e+14 times', 'infinitely many times', 'under 0.1 %')
    """
    if math.isnan(ratio):
        return ""
    if math.isinf(ratio):
        return "infinitely many times"
    if ratio > 1:
        return f"{ratio:,.0f} times" if 10 <= ratio < 1e6 else f"{ratio:.2g} times"
    return "under 0.1 %" if 0 < ratio < 0.001 else f"{100 * ratio:.2g} %"


def number_of(count: int, noun: str) -> str:
    """A number with its noun.

    >>> number_of(1, "recipe"), number_of(1200, "recipe")
    ('1 recipe', '1,200 recipes')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _asset(name: str) -> Markup:
    """A file of ours that is put into the page as it is."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (ASSETS / name).read_text(encoding="utf-8")),
    )  # fmt: skip
    environment.filters |= {"number": number, "share": share, "number_of": number_of}
    return environment.get_template("report.html.jinja")
