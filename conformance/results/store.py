"""What lasts of a run: a folder with an SQLite database, written by one process alone, and tensors beside it.

What a check came to is entered as a whole or not at all, and once: a run that was broken off at any moment goes on with
the checks that are not entered.
"""

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, fields
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from conformance.results.damage import damaged_fact, damaged_rows
from conformance.results.traces import StoreError, Traces
from conformance.verdicts.compare import Verdict
from conformance.verdicts.order import LADDER
from conformance.verdicts.record import Record

DATABASE = "run.sqlite"
BUSY_SECONDS = 60
KEPT = "of an earlier run"  # the note of a check whose result was taken again
INFORMATIVE = "informative steps"  # a quantity of the oracle's: how many steps of a free training say something

__all__ = ["INFORMATIVE", "KEPT", "CurvePoint", "Done", "Explained", "Store", "StoreError", "TrainingTime"]


class CurvePoint(NamedTuple):
    """One value of a training curve. ``unit`` says what ``position`` counts: ``step`` or ``epoch``, from 1.

    ``error``, by the measure of the verdict, ``floor`` and ``allowance`` are NaN where nothing is compared.
    """

    recipe: str
    implementation: str
    dtype: str
    unit: str
    position: int
    quantity: str
    value: float
    error: float = math.nan
    floor: float = math.nan
    allowance: float = math.nan


class TrainingTime(NamedTuple):
    """How long one training took, and the process in which it was made; NaN where it was not measured.

    ``first_seconds``, ``steady_seconds``: of the first call of ``fit`` in the check ``free_running``, and of one after
    all checks. ``import_seconds``: from the start of loading the adapter to its being ready. ``peak_mib``: the most
    memory that the process had held by then.
    """

    recipe: str
    implementation: str
    dtype: str
    import_seconds: float
    steps: int
    first_seconds: float
    steady_seconds: float
    peak_mib: float


class Explained(NamedTuple):
    """What diagnosis found of one failure; ``text`` has all of it. ``explained``: whether that is a cause."""

    recipe: str
    implementation: str
    dtype: str
    check: str
    place: str
    cause: str
    explained: bool
    text: str


class Done(NamedTuple):
    """What is done and entered: a check of an implementation, or a case of the oracle (whose check is "case").

    ``note``: of a case, the digests of its files; of a check whose result came from an earlier run, ``KEPT``.
    """

    recipe: str
    dtype: str
    implementation: str
    check: str
    note: str = ""


_TYPES = {str: "TEXT", int: "INTEGER", float: "REAL", bool: "INTEGER"}
_TABLES: dict[str, dict[str, Any]] = {
    "records": {field.name: field.type for field in fields(Record)},
    "curves": dict(CurvePoint.__annotations__),
    "done": dict(Done.__annotations__),
    "trainings": dict(TrainingTime.__annotations__),
    "explanations": dict(Explained.__annotations__),
}
_TRAINING = ("recipe", "dtype", "implementation")
_KEYS = {"done": (*_TRAINING, "check"), "trainings": _TRAINING, "explanations": _TRAINING}  # of what is entered once


_OF_A_CHECK = 'recipe=? AND dtype=? AND implementation=? AND "check"=?'


class Store(Traces):
    """A run's folder. ``create`` makes what of the database is not there; without it there must be one (StoreError)."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        super().__init__(folder)
        self.database = folder / DATABASE
        self._seals: dict[tuple[str, str, str, str], str] = {}  # of the records of what this process found or entered
        if create:
            (folder / "traces").mkdir(parents=True, exist_ok=True)
            self._create()
            self._seals = self._digests()
        elif not self.database.is_file():
            raise StoreError(f"{folder}: is not the folder of a run: it has no {DATABASE}")
        elif not self.begun(folder):
            again = f"`conformance run --resume {folder}` begins it"
            raise StoreError(f"{self.database}: has no tables, for the run was ended before it began: {again}")
        else:
            self._check_columns()

    @classmethod
    def begun(cls, folder: Path) -> bool:
        """Whether a folder has a database with tables: they are made all at once. Raises StoreError if damaged."""
        database = folder / DATABASE
        if not database.is_file():
            return False
        try:
            with closing(_reading(database)) as connection:
                return bool(list(connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")))
        except sqlite3.Error as error:
            raise StoreError(f"{database}: cannot be read: {error}") from error

    def _create(self) -> None:
        with self._writing() as connection:
            connection.execute("BEGIN")  # which Python leaves out before what changes no rows
            for table, columns in _TABLES.items():
                described = ", ".join(f'"{name}" {_TYPES[kind]}' for name, kind in columns.items())
                keys = ", ".join(f'"{name}"' for name in _KEYS.get(table, ()))
                key = f", PRIMARY KEY ({keys})" if keys else ""
                connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({described}{key})")
            connection.execute("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT)")
            # Records give way to later ones of the same check: without it, every one would be looked at each time.
            by_check = '(recipe, dtype, implementation, "check")'
            connection.execute(f"CREATE INDEX IF NOT EXISTS records_by_check ON records {by_check}")
            connection.execute(f"CREATE INDEX IF NOT EXISTS curves_by_training ON curves ({', '.join(_TRAINING)})")

    def _check_columns(self) -> None:
        """Raise StoreError for a run whose tables are not those of this version."""
        for table, columns in _TABLES.items():
            found = [name for (_, name, *_) in self.select(f"PRAGMA table_info({table})")]
            other = [name for name in [*columns, *found] if (name in columns) != (name in found)]
            if other:
                raise StoreError(f"{self.database}: is of another version: its {table} differ in {', '.join(other)}")
            column = damaged_rows(self.select, table, {name: _TYPES[kind] for name, kind in columns.items()})
            if column:
                raise StoreError(f"{self.database}: its {table} are damaged: {column} holds another kind of value")
        for column, allowed in {"verdict": tuple(map(str, Verdict)), "check": LADDER}.items():
            for (value,) in self.select(f'SELECT DISTINCT "{column}" FROM records'):
                if value not in allowed:
                    must = ", ".join(allowed)
                    raise StoreError(f"{self.database}: {column}={value!r} is not allowed: must be one of {must}")

    def enter(self, done: Done, records: Iterable[Record] = (), points: Iterable[CurvePoint] = ()) -> None:
        """Enter something done with its records and curves, all or nothing; what is done already stays.

        Records of the same check that tell of a failed attempt give way, and curves of the same training. Raises
        OSError.
        """
        with self._writing() as connection:
            if connection.execute(_insert("done", len(done), "OR IGNORE"), done).rowcount:
                self._replace(connection, records, done[:4])
                self._seals[done[:4]] = _digest(
                    list(connection.execute(f"SELECT * FROM records WHERE {_OF_A_CHECK} ORDER BY rowid", done[:4]))
                )
                curves = list(points)
                if curves:
                    connection.execute("DELETE FROM curves WHERE recipe=? AND dtype=? AND implementation=?", done[:3])
                    connection.executemany(_insert("curves", len(CurvePoint._fields)), curves)

    def time(self, time: TrainingTime) -> None:
        """Enter how long a training took. One whose ``fit`` was not looked at leaves what is known. Raises OSError."""
        conflict = "OR IGNORE" if math.isnan(time.first_seconds) else "OR REPLACE"
        self._write(_insert("trainings", len(time), conflict), time)

    def explain(self, explained: Explained) -> None:
        """Enter what diagnosis found of a failure, in the place of what it found before. Raises OSError."""
        self._write(_insert("explanations", len(explained), "OR REPLACE"), explained)

    def set_aside(self, record: Record) -> None:
        """Enter the record of a check that is not done: its worker was lost. Raises OSError."""
        with self._writing() as connection:
            self._replace(connection, [record], (record.recipe, record.dtype, record.implementation, record.check))

    @staticmethod
    def _replace(connection: sqlite3.Connection, records: Iterable[Record], key: tuple[str, ...]) -> None:
        """Put records in the place of those of the same check."""
        connection.execute(f"DELETE FROM records WHERE {_OF_A_CHECK}", key)
        connection.executemany(_insert("records", len(fields(Record))), map(astuple, records))

    def take_back_what_others_changed(self) -> list[str]:
        """Let what is done, and its records are not those that this process entered or found, be not done.

        So an implementation that writes into the database gains nothing. Returns a line for each. Raises OSError.
        """
        found = self._digests()
        changed = sorted(key for key in found.keys() | self._seals if found.get(key) != self._seals.get(key))
        for key in changed:
            self._seals.pop(key, None)
            with self._writing() as connection:
                self._replace(connection, [], key)
                connection.execute(f"DELETE FROM done WHERE {_OF_A_CHECK}", key)
        return [f"{name}, recipe {recipe}, {dtype}, {check}: its records were changed by another process"
                for recipe, dtype, name, check in changed]  # fmt: skip

    def _digests(self) -> dict[tuple[str, str, str, str], str]:
        """Of the records of each check that is done."""
        key = 'recipe, dtype, implementation, "check"'
        found = {done: _digest([]) for done in self.done()}
        rows = groupby(self.select(f"SELECT {key}, * FROM records ORDER BY {key}, rowid"), lambda row: row[:4])
        return found | {each: _digest([row[4:] for row in group]) for each, group in rows if each in found}

    def done(self) -> dict[tuple[str, str, str, str], str]:
        """The note of everything that is done, by recipe, precision, implementation and check."""
        rows = self.select('SELECT recipe, dtype, implementation, "check", note FROM done')
        return {(recipe, dtype, implementation, check): note for recipe, dtype, implementation, check, note in rows}

    def set_fact(self, name: str, value: Any) -> None:
        """Keep a fact about the run (anything JSON can hold) under a name; a later one replaces it. Raises OSError."""
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def facts(self) -> dict[str, Any]:
        """Every fact by name. Raises StoreError."""
        rows = self.select("SELECT name, value FROM facts WHERE typeof(name) = 'text'")
        try:
            facts = {name: json.loads(value) for name, value in rows}
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(f"{self.database}: a fact cannot be read: {error}") from error
        for name, value in facts.items():
            wrong = damaged_fact(name, value)
            if wrong:
                raise StoreError(f"{self.database}: the fact {name!r} is damaged: {wrong}")
        return facts

    def fact(self, name: str) -> Any:
        """One fact, an object or a list that is not empty. Raises StoreError if there is none."""
        found = self.facts().get(name)
        if not found or not isinstance(found, dict | list):
            raise StoreError(f"{self.database}: has no fact {name!r}: the run did not begin, or the file is damaged")
        return found

    def select(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query. Raises StoreError if the database cannot be read."""
        try:
            with closing(_reading(self.database)) as connection:
                return list(connection.execute(query, values))
        except sqlite3.Error as error:
            raise StoreError(f"{self.database}: cannot be read: {error}") from error

    def columns(self, table: str) -> dict[str, Any]:
        """A table's columns in order, each with the kind of its values."""
        return dict(_TABLES[table])

    def close(self) -> None:
        """Nothing more is written: let no file stay open."""
        if "_connection" in self.__dict__:
            self._connection.close()
            del self._connection

    def _write(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        with self._writing() as connection:
            connection.execute(statement, values)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that is written in it, or nothing. Raises OSError."""
        try:
            with self._connection as connection:
                yield connection
        except sqlite3.Error as error:
            raise OSError(f"{self.database}: cannot be written: {error}") from error

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        """The one that writes. A commit is safe against the death of any process, not against that of the machine."""
        connection = sqlite3.connect(self.database, timeout=BUSY_SECONDS)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection


def _reading(database: Path) -> sqlite3.Connection:
    """A connection that reads, also where nothing can be written beside the file, as SQLite would."""
    if os.access(database.parent, os.W_OK):
        return sqlite3.connect(database, timeout=BUSY_SECONDS)
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _digest(rows: list[tuple[Any, ...]]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _insert(table: str, values: int, conflict: str = "") -> str:
    return f"INSERT {conflict} INTO {table} VALUES ({', '.join('?' * values)})"
