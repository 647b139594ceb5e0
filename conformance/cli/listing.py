"""``conformance list``: tables that were made before (see ``tables``), and what is told as it is here.

That are the implementations, the built-ins of the frameworks, and of the default suite which of the known faults each
of its recipes sees.
"""

import json
from importlib import resources
from typing import Any

from conformance.data.wording import nearest, shown
from conformance.results.sight import known_faults, seen_faults

Rows = list[dict[str, Any]]

# The tables of the file, named here so that an unknown one is refused without reading it; a test holds them equal.
TABLES = (
    "recipes", "activations", "initializers", "losses", "models", "normalizations", "optimizers", "regularizers",
    "schedules", "layers", "dialects", "datasets", "checks", "suites", "coverage",
)  # fmt: skip
LISTINGS = (*TABLES, "faults", "implementations", "subjects")
MISSING_SHOWN = 3  # values or pairs that a suite lacks, in a row of the coverage; the number tells how many there are


def listing(what: str) -> Rows:
    """The rows of ``conformance list WHAT``, typed. Raises ValueError for an unknown WHAT, with the nearest."""
    if what not in LISTINGS:
        allowed = ", ".join(map(repr, LISTINGS))
        raise ValueError(f"WHAT={shown(what)} is not allowed: must be one of {allowed}{nearest(what, LISTINGS)}")
    if what == "subjects":
        return subjects()
    if what == "implementations":
        return _implementations()
    return faults(made()["recipes"], seen_faults(), known_faults()) if what == "faults" else made()[what]


def made() -> dict[str, Rows]:
    """All tables of the file, by name."""
    text = resources.files("conformance.cli").joinpath("tables.json").read_text(encoding="utf-8")
    tables: dict[str, Rows] = json.loads(text)
    return tables


def as_cells(what: str, rows: Rows) -> list[dict[str, str]]:
    """The rows as they are shown in a table; of a built-in's recipe, whose name is long, whether there is one."""
    if what == "subjects":
        rows = [row | {"recipe": bool(row["recipe"])} for row in rows]
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
        shown_few = what in ("coverage", "faults") and len(value) > MISSING_SHOWN
        return ("; ".join(value[:MISSING_SHOWN]) + " ...") if shown_few else ", ".join(map(str, value))
    return str(value)


def faults(recipes: Rows, seen: dict[str, list[str]], known: list[str]) -> Rows:
    """For each recipe of the default suite how many of the ``known`` faults it sees, and which it alone sees.

    ``seen``: faults by the recipe's hash. Of a recipe that it lacks nothing is known: it has None, and so have the two
    rows at the end, for what all see together and for what none of them does. A fault is counted with the recipes that
    it concerns, where the first two of the checks that must catch it are asked.
    """
    found = {row["name"]: seen.get(row["hash"]) for row in recipes if "default" in row["suites"]}
    sights = [fault for sight in found.values() for fault in sight or ()]
    rows: Rows = []
    for name, sight in found.items():
        alone = [fault for fault in sight or () if sights.count(fault) == 1]
        counts = (None, None) if sight is None else (len(sight), len(alone))
        rows.append({"recipe": name, "faults": counts[0], "only_here": counts[1], "which": alone})
    whole = None not in found.values()
    unseen = [fault for fault in known if fault not in sights] if whole else []
    counts = (len(set(sights)), len(unseen)) if whole else (None, None)
    rows.append({"recipe": "(all together)", "faults": counts[0], "only_here": None, "which": []})
    rows.append({"recipe": "(none)", "faults": counts[1], "only_here": None, "which": unseen})
    return rows


def subjects() -> Rows:
    """Each built-in of the installed frameworks: its formulation, and the recipe that ``run --subject`` takes it with.

    Raises ValueError where a framework cannot be looked into.
    """
    from conformance.adapters.installation import installed
    from conformance.recipes.mapping import mapped
    from conformance.recipes.subjects import IMPLEMENTATIONS
    from conformance.wrappers.discovering import NotFound, discover

    rows: Rows = []
    for implementation, framework in IMPLEMENTATIONS.items():
        if framework not in installed():
            continue
        try:
            rows += [each._asdict() for each in mapped(discover(framework), implementation)]
        except NotFound as error:
            raise ValueError(str(error)) from error
    return rows


def _implementations() -> Rows:
    """Each implementation: whether it can be loaded here, its framework's version and devices, or what is wrong."""
    from conformance.adapters.probing import probe_all
    from conformance.adapters.registry import available

    targets = available()
    return [
        {"name": name, "adapter": targets[name], "installed": found.problem is None, **found._asdict()}
        for name, found in probe_all(targets).items()
    ]
