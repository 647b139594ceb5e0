"""``junit.xml``: a run as continuous integration reads it, with a test case for each check of each training."""

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pandas as pd

from conformance.results.run import Run
from conformance.verdicts.compare import Verdict

KEY = ["recipe", "implementation", "dtype", "check"]
TOLD = ["stage", "tensor", "step", "verdict", "error", "allowance", "cause"]
RECORDS_SHOWN = 20  # of a test case that fails; all are in records.csv
ERRORS = (Verdict.CRASHED, Verdict.TIMEOUT, Verdict.MISSING)  # nothing was there to be judged
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(NamedTuple):
    """A test case: ``outcome`` is empty for one that passes, or the name of the element that tells what it did."""

    place: tuple[str, ...]
    seconds: float
    outcome: str = ""
    message: str = ""
    text: str = ""


def as_junit(run: Run) -> bytes:
    """The run as a file in the format of JUnit."""
    cases = list(_cases(run))
    root = ElementTree.Element("testsuites", _totals("conformance", cases))
    for name in dict.fromkeys(case.place[1] for case in cases):
        own = [case for case in cases if case.place[1] == name]
        suite = ElementTree.SubElement(root, "testsuite", _totals(name, own))
        properties = ElementTree.SubElement(suite, "properties")
        for what, value in run.environment.itertuples(index=False):
            ElementTree.SubElement(properties, "property", name=allowed(what), value=allowed(value))
        for case in own:
            suite.append(_element(case))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def allowed(text: str) -> str:
    r"""Text as XML may hold it: what steers a terminal is written out.

    >>> allowed("a\x1b[1m")
    'a\\x1b[1m'
    """
    return _NOT_IN_XML.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def _cases(run: Run) -> Iterator[Case]:
    failing: dict[tuple[str, ...], list[Mapping[Hashable, Any]]] = {}
    for row in run.not_passing()[[*KEY, *TOLD]].to_dict("records"):
        failing.setdefault(tuple(row[key] for key in KEY), []).append(row)
    offered = set(_places(run.records[run.records["verdict"] != Verdict.UNSUPPORTED]))
    silent = run.records[run.records["verdict"] == Verdict.UNSUPPORTED].drop_duplicates(KEY)
    reasons = dict(zip(_places(silent), silent["cause"], strict=True))
    lacking = dict.fromkeys(_places(run.missing))
    for key, seconds in zip(_places(run.timings), run.timings["seconds"].tolist(), strict=True):
        lacking.pop(key, None)
        if key in failing:
            yield _failing(key, seconds, failing[key])
        elif key in offered:
            yield Case(key, seconds)
        else:
            yield Case(key, seconds, "skipped", reasons[key])
    for key in lacking:
        yield Case(key, 0.0, "error", "was planned and is not done")


def _places(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Which checks of which trainings rows are of, each once."""
    places = rows[KEY].drop_duplicates()
    return zip(*(places[key].tolist() for key in KEY), strict=True)


def _failing(place: tuple[str, ...], seconds: float, records: list[Mapping[Hashable, Any]]) -> Case:
    lines = [
        f"{row['stage']} {row['tensor']}, step {row['step']}: {row['verdict']}, error {row['error']:.3g} where"
        f" {row['allowance']:.3g} is allowed. {row['cause']}"
        for row in records[:RECORDS_SHOWN]
    ]
    if len(records) > len(lines):
        lines.append(f"and {len(records) - len(lines)} more")
    outcome = "error" if all(row["verdict"] in ERRORS for row in records) else "failure"
    return Case(place, seconds, outcome, f"records that did not pass: {len(records)}", "\n".join(lines))


def _element(case: Case) -> ElementTree.Element:
    recipe, implementation, dtype, check = map(allowed, case.place)
    element = ElementTree.Element(
        "testcase", classname=f"{implementation}.{recipe}.{dtype}", name=check, time=f"{case.seconds:.6f}"
    )
    if case.outcome:
        told = ElementTree.SubElement(element, case.outcome, message=allowed(case.message))
        told.text = allowed(case.text) or None
    return element


def _totals(name: str, cases: list[Case]) -> dict[str, Any]:
    outcomes = [case.outcome for case in cases]
    return {
        "name": allowed(name), "tests": str(len(cases)), "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")), "skipped": str(outcomes.count("skipped")),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }  # fmt: skip
