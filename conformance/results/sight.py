"""Which known faults each recipe of the suites sees, from what ships with the package. Imports next to nothing."""

import gzip
import json
import tomllib
from importlib import resources


def seen_faults() -> dict[str, list[str]]:
    """The faults that are seen in either precision, by the recipe's hash."""
    data = resources.files("conformance.verdicts").joinpath("ceilings.json.gz").read_bytes()
    found: dict[str, set[str]] = {}
    for name, entry in json.loads(gzip.decompress(data)).items():
        if entry.get("seen"):
            found.setdefault(name.partition(".")[0], set()).update(entry["seen"])
    return {recipe: sorted(names) for recipe, names in found.items()}


def known_faults() -> list[str]:
    """The names of all known faults."""
    tables = resources.files("conformance.faults").joinpath("library").iterdir()
    rows = [tomllib.loads(file.read_text("utf-8")).get("fault", []) for file in tables if file.name.endswith(".toml")]
    return sorted(row["name"] for table in rows for row in table)
