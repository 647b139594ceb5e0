"""What lasts of a run: a folder with an SQLite database, written by several workers at once, and tensors beside it.

A row is safe as soon as :meth:`Store.add_records` returns; a worker that dies takes nothing of what it had written
with it.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from conformance.problems.tensors import Tensors
from conformance.verdicts.record import Record

DATABASE = "run.sqlite"
BUSY_SECONDS = 60
ORDER = "order of the tensors"  # in the metadata of a file of tensors, whose format keeps none
INFORMATIVE = "informative steps"  # a quantity of the oracle's: how many steps of a free training say something


T = TypeVar("T")


class CurvePoint(NamedTuple):
    """One value of a training curve. ``unit`` says what ``position`` counts: ``step`` or ``epoch``, from 1."""

    recipe: str
    implementation: str
    dtype: str
    unit: str
    position: int
    quantity: str
    value: float


class StoreError(ValueError):
    """A folder that does not hold a run, or whose run cannot be read."""


_TYPES = {str: "TEXT", int: "INTEGER", float: "REAL"}
_TABLES: dict[str, dict[str, Any]] = {
    "records": {field.name: field.type for field in fields(Record)},
    "curves": dict(CurvePoint.__annotations__),
}


class Store:
    """A run's folder. ``create`` makes the database; without it the folder must hold one (StoreError)."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self.database = folder / DATABASE
        if create:
            (folder / "traces").mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute("PRAGMA journal_mode=WAL")
                for table, columns in _TABLES.items():
                    described = ", ".join(f'"{name}" {_TYPES[kind]}' for name, kind in columns.items())
                    connection.execute(f"CREATE TABLE {table} ({described})")
                connection.execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT)")
        elif not self.database.is_file():
            raise StoreError(f"{folder}: is not the folder of a run: it has no {DATABASE}")
        else:
            self._check_columns()

    def _check_columns(self) -> None:
        """Raise StoreError for a run whose tables are not those of this version."""
        for table, columns in _TABLES.items():
            found = [name for (_, name, *_) in self.select(f"PRAGMA table_info({table})")]
            other = [name for name in [*columns, *found] if (name in columns) != (name in found)]
            if other:
                raise StoreError(f"{self.database}: is of another version: its {table} differ in {', '.join(other)}")

    def add_records(self, records: Iterable[Record]) -> None:
        """Append records."""
        self._insert("records", [astuple(record) for record in records])

    def add_curve_points(self, points: Iterable[CurvePoint]) -> None:
        """Append points of training curves."""
        self._insert("curves", [tuple(point) for point in points])

    def finished_checks(self, recipe: str, dtype: str, implementation: str) -> set[str]:
        """The checks of which a recipe has records in a precision and an implementation."""
        query = 'SELECT DISTINCT "check" FROM records WHERE recipe=? AND dtype=? AND implementation=?'
        return {check for (check,) in self.select(query, (recipe, dtype, implementation))}

    def set_fact(self, name: str, value: Any) -> None:
        """Keep a fact about the run (anything JSON can hold) under a name; a later one replaces it."""
        with closing(self._connect()) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def facts(self) -> dict[str, Any]:
        """Every fact by name."""
        return {name: json.loads(value) for name, value in self.select("SELECT name, value FROM facts")}

    def select(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query. Raises StoreError if the database cannot be read."""
        try:
            with closing(self._connect()) as connection:
                return list(connection.execute(query, values))
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.database}: cannot be read: {error}") from error

    def columns(self, table: str) -> list[str]:
        """Names of a table's columns, in order."""
        return list(_TABLES[table])

    def save_tensors(self, name: str, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
        """Write named arrays to ``traces/NAME.safetensors``; the file appears whole or not at all."""
        target = self._trace(name)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        arrays = {key: np.asarray(value, order="C") for key, value in tensors.items()}
        save_file(arrays, part, {**(metadata or {}), ORDER: json.dumps(list(arrays))})
        part.replace(target)

    def load_tensors(self, name: str) -> Tensors:
        """Read what :meth:`save_tensors` wrote, in its order. Raises StoreError if it is missing or damaged."""
        tensors = self._read(name, lambda file: {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        return {key: tensors[key] for key in json.loads(self.load_metadata(name)[ORDER])}

    def load_metadata(self, name: str) -> dict[str, str]:
        """The metadata written with the tensors of ``name``. Raises StoreError as :meth:`load_tensors`."""
        return self._read(name, lambda file: dict(file.metadata() or {}))

    def has_tensors(self, name: str) -> bool:
        """Whether anything was saved under ``name``."""
        return self._trace(name).is_file()

    def _read(self, name: str, read: Callable[[Any], T]) -> T:
        if not self.has_tensors(name):
            raise StoreError(f"{self._trace(name)}: is missing")
        try:
            with safe_open(self._trace(name), framework="numpy") as file:
                return read(file)
        except (SafetensorError, OSError, ValueError) as error:
            raise StoreError(f"{self._trace(name)}: cannot be read: {error}") from error

    def _trace(self, name: str) -> Path:
        return self.folder / "traces" / f"{name}.safetensors"

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        places = ", ".join("?" * len(_TABLES[table]))
        with closing(self._connect()) as connection, connection:
            connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.database, timeout=BUSY_SECONDS)
