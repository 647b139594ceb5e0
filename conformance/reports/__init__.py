"""From a run's records to tables that people read. Reads the store, never an implementation."""

import json
from pathlib import Path

from conformance.reports.summary import summarize
from conformance.results.run import Run


def write_reports(folder: Path) -> None:
    """Make ``records.csv``, ``curves.csv``, ``environment.json`` and ``summary.md`` of a run's folder anew.

    Raises StoreError for a folder whose run cannot be read, OSError for one that cannot be written.
    """
    run = Run(folder)
    run.records.to_csv(folder / "records.csv", index=False)
    run.curves.to_csv(folder / "curves.csv", index=False)
    environment = json.dumps(run.facts, indent=2, sort_keys=True)
    (folder / "environment.json").write_text(environment + "\n", encoding="utf-8")
    (folder / "summary.md").write_text(summarize(run), encoding="utf-8")
