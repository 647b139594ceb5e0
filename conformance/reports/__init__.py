"""From a run's records to tables that people read. Reads the store, never an implementation."""

import json
from pathlib import Path

from conformance.reports.summary import summarize
from conformance.results.completeness import incompleteness
from conformance.results.frames import load_curves, load_records
from conformance.results.store import Store


def write_reports(folder: Path) -> None:
    """Make ``records.csv``, ``curves.csv``, ``environment.json`` and ``summary.md`` of a run's folder anew.

    Raises StoreError for a folder whose run cannot be read, OSError for one that cannot be written.
    """
    store = Store(folder)
    records, curves, facts = load_records(store), load_curves(store), store.facts()
    lacking = incompleteness(store)
    records.to_csv(folder / "records.csv", index=False)
    curves.to_csv(folder / "curves.csv", index=False)
    environment = json.dumps(facts, indent=2, sort_keys=True)
    (folder / "environment.json").write_text(environment + "\n", encoding="utf-8")
    (folder / "summary.md").write_text(summarize(records, curves, facts, lacking), encoding="utf-8")
