"""From a run's records to what people and programs read. Reads the store, never an implementation."""

import io
import json
from importlib import import_module
from pathlib import Path

from conformance.adapters.installation import install_command
from conformance.adapters.whole_files import clear_parts, write_whole
from conformance.reports.digest import as_comment, as_values
from conformance.reports.junit import as_junit
from conformance.reports.page import page
from conformance.reports.summary import summarize
from conformance.results.run import Run
from conformance.results.schema import write_csv

PAGES = ("report.html", "summary.md")  # for people; the first that is there is the report


def report_of(folder: Path) -> Path:
    """The file of a run's folder that tells people of it."""
    return next((folder / name for name in PAGES if (folder / name).exists()), folder / PAGES[-1])


def write_reports(folder: Path) -> None:
    """Make all reports of a run's folder anew; ``docs/frames.md`` tells which.

    Raises StoreError for a folder whose run cannot be read, OSError for one that cannot be written.
    """
    run = Run(folder)
    for written in (folder, folder / "traces"):
        clear_parts(written)
    values = json.dumps(as_values(run), indent=2, allow_nan=False)
    environment = json.dumps(run.facts, indent=2, sort_keys=True)
    _write(folder / "summary.md", summarize(run))
    _write(folder / "comment.md", as_comment(run))
    _write(folder / "summary.json", f"{values}\n")
    _write(folder / "environment.json", f"{environment}\n")
    _write(folder / PAGES[0], page(run))
    write_whole(folder / "junit.xml", as_junit(run))
    lacking = left_out()
    for name, frame in (("records", run.records), ("curves", run.curves)):
        write_csv(frame, folder / f"{name}.csv")
        if lacking:
            (folder / f"{name}.parquet").unlink(missing_ok=True)  # of an earlier report
        else:
            held = io.BytesIO()  # of which pyarrow need not open the path, as it cannot one that is no text
            frame.to_parquet(held, engine="pyarrow", index=False)
            write_whole(folder / f"{name}.parquet", held.getvalue())


def _write(file: Path, content: str) -> None:
    """Write a report. The path of a run, which stands in some, may be no text: it is escaped. Raises OSError."""
    write_whole(file, content.encode("utf-8", "backslashreplace"))


def left_out() -> str:
    """Which reports cannot be made here, and why; "" where all can."""
    try:
        import_module("pyarrow.parquet")
    except ImportError:
        hint = install_command("parquet")
        return f"records.parquet and curves.parquet are not written: pyarrow is not installed ({hint})"
    return ""
