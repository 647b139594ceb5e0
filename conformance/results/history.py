"""Many runs in time order: how verdicts, margins and times of each implementation and check went.

DuckDB reads the ``records.parquet`` that a report writes beside its run, and so also of runs of other versions of this
project, whose databases have other columns, and of folders of which only the files of the report were kept. What a run
has no such file for is read from its database, in memory. Nothing is written.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from conformance.adapters.installation import FRAMEWORKS, install_command
from conformance.results.run import load_run
from conformance.results.schema import VERDICTS
from conformance.results.store import StoreError
from conformance.results.traces import told
from conformance.verdicts.order import LADDER

RECORDS = "records.parquet"
ENVIRONMENT = "environment.json"
NEEDED = {  # of the columns of records, with their types in DuckDB
    "implementation": "VARCHAR", "framework_version": "VARCHAR", "check": "VARCHAR", "verdict": "VARCHAR",
    "error_per_allowance": "DOUBLE", "seconds": "DOUBLE",
}  # fmt: skip
COLUMNS = ("implementation", "check", "run", "started", "version", "records", *VERDICTS, "worst", "median", "seconds")


class Skipped(NamedTuple):
    """A folder that is not in a history, and why."""

    folder: str
    reason: str


@dataclass(frozen=True)
class History:
    """The runs below a folder.

    Attributes:
        trend: a row for each implementation, check and run, in time order: ``version`` of the framework, the number of
            ``records`` and of each verdict, the ``worst`` and the ``median`` error in units of its allowance, and the
            ``seconds`` of the check, as they were measured, if need be in the earlier run that a training was kept of.
        skipped: the folders that could not be read, and why.
    """

    trend: pd.DataFrame
    skipped: list[Skipped]

    def _repr_html_(self) -> str:
        return str(self.trend.to_html(index=False))


def history(folder: str | Path = "reports") -> History:
    """The trend of all runs in the folders below ``folder``.

    Raises ValueError for a folder that is not there, ImportError, with the command that installs it, where DuckDB is
    not installed.
    """
    if find_spec("duckdb") is None:
        raise ImportError(f"duckdb not found; a history needs: {install_command('history')}")
    tables, skipped = [pd.DataFrame(columns=list(COLUMNS))], []
    for path in _candidates(Path(folder)):
        try:
            tables.append(_summary(path).assign(run=path.name, started=_started(path)))
        except StoreError as error:
            skipped.append(Skipped(path.name, str(error)))
    return History(_in_order(pd.concat(tables[1:] or tables)), skipped)


def _candidates(folder: Path) -> list[Path]:
    """The folders in a folder but for links, such as ``latest``, and hidden ones."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder}: is not a folder that can be read: {error.strerror}") from error
    return [path for path in found if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")]


def _started(folder: Path) -> str:
    """When a run began, in UTC, by its report's environment or else by its database. Raises StoreError."""
    file = folder / ENVIRONMENT
    try:
        facts = json.loads(file.read_bytes()) if file.is_file() else load_run(folder).facts
        started = datetime.fromisoformat(facts["environment"]["started"])
    except StoreError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"{folder}: when it began cannot be read: {told(error)}") from error
    return started.astimezone(UTC).isoformat(timespec="seconds")


def _summary(folder: Path) -> pd.DataFrame:
    """Counts, margins and seconds of a run, by implementation and check. Raises StoreError."""
    import duckdb

    file = folder / RECORDS
    with duckdb.connect() as connection:
        try:
            if file.is_file():
                connection.read_parquet(str(file)).create_view("records")
            else:
                connection.register("records", load_run(folder).records[list(NEEDED)])
            summary: pd.DataFrame = connection.execute(_QUERY).df()
            return summary
        except duckdb.Error as error:
            raise StoreError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from error


_COUNTS = ", ".join(f"count(*) FILTER (verdict = '{verdict}') AS {verdict}" for verdict in VERDICTS)
_CHECKED = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in NEEDED.items())
_QUERY = f"""
    WITH told AS (SELECT {_CHECKED} FROM records),
    known AS (SELECT * REPLACE (CASE WHEN isnan(error_per_allowance) THEN NULL ELSE error_per_allowance END
                                AS error_per_allowance) FROM told)
    SELECT implementation, "check", max(framework_version) AS version, count(*) AS records, {_COUNTS},
           max(error_per_allowance) AS worst, median(error_per_allowance) AS median, sum(seconds) AS seconds
    FROM known GROUP BY implementation, "check"
"""


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """By implementation and check, and each in time order."""
    implementations = list(dict.fromkeys([*FRAMEWORKS, *sorted(table["implementation"])]))
    checks = list(dict.fromkeys([*LADDER, *sorted(table["check"])]))
    places = [
        (implementations.index(implementation), checks.index(check), started, run)
        for implementation, check, started, run in zip(
            *(table[name] for name in ("implementation", "check", "started", "run")), strict=True
        )
    ]
    order = sorted(range(len(places)), key=places.__getitem__)
    return table.iloc[order].reindex(columns=list(COLUMNS)).reset_index(drop=True)
