"""``conformance list``: tables that were made before (see ``tables``), and the implementations as they are here."""

import json
from importlib import resources
from typing import Any

from conformance.data.wording import nearest, shown

Rows = list[dict[str, Any]]

# The tables of the file, named here so that an unknown one is refused without reading it; a test holds them equal.
TABLES = (
    "recipes", "activations", "initializers", "losses", "models", "normalizations", "optimizers", "regularizers",
    "schedules", "dialects", "datasets", "checks", "suites", "coverage",
)  # fmt: skip
LISTINGS = (*TABLES, "implementations")
MISSING_SHOWN = 3  # values or pairs that a suite lacks, in a row of the coverage; the number tells how many there are


def listing(what: str) -> Rows:
    """The rows of ``conformance list WHAT``, typed. Raises ValueError for an unknown WHAT, with the nearest."""
    if what not in LISTINGS:
        allowed = ", ".join(map(repr, LISTINGS))
        raise ValueError(f"WHAT={shown(what)} is not allowed: must be one of {allowed}{nearest(what, LISTINGS)}")
    return _implementations() if what == "implementations" else made()[what]


def made() -> dict[str, Rows]:
    """All tables of the file, by name."""
    text = resources.files("conformance.cli").joinpath("tables.json").read_text(encoding="utf-8")
    tables: dict[str, Rows] = json.loads(text)
    return tables


def as_cells(what: str, rows: Rows) -> list[dict[str, str]]:
    """The rows as they are shown in a table."""
    return [{column: _cell(what, value) for column, value in row.items()} for row in rows]


def _cell(what: str, value: Any) -> str:
    """A value in a few words: nothing for None, a list with commas, keywords as in a call."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}={setting!r}" for name, setting in value.items())
    if isinstance(value, list):
        shown_few = what == "coverage" and len(value) > MISSING_SHOWN
        return ("; ".join(value[:MISSING_SHOWN]) + " ...") if shown_few else ", ".join(map(str, value))
    return str(value)


def _implementations() -> Rows:
    """Each implementation: whether it can be loaded here, its framework's version and devices, or what is wrong."""
    from conformance.adapters.probing import probe_all
    from conformance.adapters.registry import available

    targets = available()
    return [
        {"name": name, "adapter": targets[name], "installed": found.problem is None, **found._asdict()}
        for name, found in probe_all(targets).items()
    ]
