"""Two atlases, by their tables: what changed between two versions of a framework."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from conformance.atlas.arguments import NO_FORMULA
from conformance.atlas.edges import REFUSED
from conformance.atlas.evidence import GONE
from conformance.data.wording import shown

COMPARED = ("standing", "formulation", "reason", "rounded", "no_effect")
DIGITS = ("digits64", "digits32")

DIGIT = 4  # characters of a number of digits that are told
APART = 1.0  # digits by which two measured numbers of them must differ: less goes with the machine
MOST_BYTES = 64 * 2**20  # of a table
# The tables that are compared, and the columns that they must have.
TABLES = {
    "builtins": ("framework", "call", "defaults", *COMPARED, *DIGITS),
    "edges": ("framework", "call", "situation", "outcome"),
    "faults": ("name", "frameworks", "shown", "seen"),
    "versions": ("framework", "package", "version"),
}

Rows = list[dict[str, str]]


class Change(NamedTuple):
    """What of a built-in, a fault or a version is another than before; "" where it was not there, or is not."""

    framework: str
    call: str
    what: str
    old: str
    new: str


def compare(old: Path, new: Path) -> list[Change]:
    """What changed of the frameworks that both atlases have, the built-ins of a package of one of them alone left out.

    Raises ValueError for a folder that holds no atlas.
    """
    before, after = ({name: _read(folder, name) for name in TABLES} for folder in (old, new))
    shared = {row["framework"] for row in before["versions"]} & {row["framework"] for row in after["versions"]}
    found = [
        *_versions(before["versions"], after["versions"]),
        *_builtins(before["builtins"], after["builtins"]),
        *_edges(before["edges"], after["edges"]),
        *_faults(before["faults"], after["faults"]),
    ]
    first, second = ({row["package"] for row in each["versions"]} for each in (before, after))
    alone = first ^ second  # as Flax, which JAX does without
    return [
        change
        for change in found
        if change.framework in shared and ("." not in change.call or change.call.partition(".")[0] not in alone)
    ]


def text(changes: Sequence[Change]) -> str:
    """The changes for a reader, those of a built-in together."""
    lines = []
    ordered = sorted(changes, key=lambda change: change[:2])
    for (framework, call), own in groupby(ordered, key=lambda change: change[:2]):
        lines.append(f"{framework}: {call}")
        lines += [f"  {change.what}: {change.old or 'nothing'} -> {change.new or 'nothing'}" for change in own]
    return "\n".join(lines) or "nothing changed"


def _read(folder: Path, name: str) -> Rows:
    file = folder / f"{name}.csv"
    wanted = f"compare={shown(str(folder))} is not allowed: must be a folder that `conformance atlas` wrote"
    if not file.is_file() or file.stat().st_size > MOST_BYTES:
        raise ValueError(wanted)
    try:
        with file.open(encoding="utf-8", newline="") as held:
            rows = list(csv.DictReader(held, restval=""))
            columns = rows[0].keys() if rows else set(TABLES[name])
        for row in rows:
            json.loads(row.get("defaults") or "{}").items()
    except (csv.Error, UnicodeDecodeError, json.JSONDecodeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{wanted}: {file.name}: {error}") from error
    lacking = [column for column in TABLES[name] if column not in columns]
    if lacking:
        raise ValueError(f"{wanted}: {file.name} has no column {', '.join(lacking)}")
    return rows


def _by(rows: Iterable[Mapping[str, str]], *columns: str) -> dict[tuple[str, ...], Mapping[str, str]]:
    return {tuple(row[column] for column in columns): row for row in rows}


def _versions(old: Rows, new: Rows) -> Iterator[Change]:
    before, after = (_by(rows, "framework", "package") for rows in (old, new))
    for key in dict.fromkeys([*before, *after]):
        one, other = (table.get(key, {"version": ""})["version"] for table in (before, after))
        if one != other:
            yield Change(key[0], key[1], "version", one, other)


def _builtins(old: Rows, new: Rows) -> Iterator[Change]:
    before, after = (_by((row for row in rows if row["standing"] != GONE), "framework", "call") for rows in (old, new))
    for key in dict.fromkeys([*before, *after]):
        framework, call = key
        if key not in before or key not in after:
            was, now = ("there" if key in table else "" for table in (before, after))
            yield Change(framework, call, "built-in", was, now)
            continue
        one, other = before[key], after[key]
        for column in COMPARED:
            if one[column] != other[column]:
                yield Change(framework, call, column.replace("_", " "), one[column], other[column])
        yield from _defaults(one, other)
        for column in DIGITS:
            if _apart(one[column], other[column]):
                yield Change(framework, call, column, one[column][:DIGIT], other[column][:DIGIT])


def _defaults(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[Change]:
    """Each argument of a formula that has another default, or is there in one of the two alone."""
    before, after = (json.loads(row["defaults"] or "{}") for row in (one, other))
    for name in (name for name in dict.fromkeys([*before, *after]) if name not in NO_FORMULA):
        was, now = (str(defaults.get(name, "")) for defaults in (before, after))
        if was != now:
            yield Change(one["framework"], one["call"], f"default {name}", was, now)


def _apart(one: str, other: str) -> bool:
    """Whether two numbers of digits are further apart than chance takes them; a missing one is told elsewhere."""
    try:
        return bool(one and other) and abs(float(one) - float(other)) > APART
    except ValueError:
        return one != other


def _edges(old: Rows, new: Rows) -> Iterator[Change]:
    """What came of the situations in which both were looked at; two refusals are the same, however they are worded."""
    before, after = (_by(rows, "framework", "call", "situation") for rows in (old, new))
    for key in (key for key in before if key in after):
        framework, call, situation = key
        one, other = before[key]["outcome"], after[key]["outcome"]
        if one != other and not (one.startswith(REFUSED) and other.startswith(REFUSED)):
            yield Change(framework, call, situation, one, other)


def _faults(old: Rows, new: Rows) -> Iterator[Change]:
    before, after = (_by(rows, "frameworks", "name") for rows in (old, new))
    for key in (key for key in before if key in after):
        one, other = before[key], after[key]
        if one["shown"] != other["shown"]:
            told, now = (f"{row['shown'] or 'could not be run'}: {row['seen']}" for row in (one, other))
            yield Change(one["frameworks"], one["name"], "known fault is shown", told, now)
