"""Known differences: a file of what may differ, each with its reason and a link, and a test that each still does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from conformance.data.wording import listed, nearest, shown
from conformance.recipes.files import RecipeError, read_table
from conformance.recipes.recipe import DTYPES
from conformance.verdicts.order import LADDER

TABLE = "difference"
EVERY = "*"


@dataclass(frozen=True)
class Difference:
    """A row of a file of known differences. All but the last two fields are patterns, with ``*``, ``?`` and ``[...]``.

    Attributes:
        subject: as it is named where it is checked, ``mine:subject``.
        recipe: name of the recipe.
        check: one of ``conformance list checks``.
        dtype: the precision.
        tensor: the tensor, as records call it.
        reason: why it differs.
        link: where more is told: an issue, a page.
    """

    subject: str
    recipe: str
    check: str
    reason: str
    link: str
    dtype: str = EVERY
    tensor: str = EVERY

    def may_be_of(self, subject: str) -> bool:
        """Whether it is about a subject."""
        return fnmatchcase(subject, self.subject)

    def is_of(self, subject: str, place: Mapping[Any, Any]) -> bool:
        """Whether it is about a check of a subject: a row that has ``recipe``, ``dtype`` and ``check``."""
        parts = ("recipe", "dtype", "check")
        return self.may_be_of(subject) and all(fnmatchcase(place[part], getattr(self, part)) for part in parts)

    def covers(self, subject: str, record: Mapping[Any, Any]) -> bool:
        """Whether it is about a record of a subject."""
        return self.is_of(subject, record) and fnmatchcase(record["tensor"], self.tensor)

    def __str__(self) -> str:
        optional = [name for name in ("dtype", "tensor") if getattr(self, name) != EVERY]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in ("subject", "recipe", "check", *optional))


def load_known(path: str | Path) -> list[Difference]:
    """Read a file of known differences, TOML or JSON: a list ``difference`` of tables with the fields of a Difference.

    Raises ValueError, naming file, row, field and value.
    """
    path = Path(path)
    values = read_table(path)
    _require_known(values, (TABLE,), f"{path}: ")
    rows = values.get(TABLE, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RecipeError(f"{path}: {TABLE}={shown(rows)} is not allowed: must be tables, each under [[{TABLE}]]")
    return [_difference(row, f"{path}: {TABLE} {number}: ") for number, row in enumerate(rows, start=1)]


def stale(
    known: Iterable[Difference],
    subject: str,
    made: Iterable[Mapping[Any, Any]],
    failing: Iterable[Mapping[Any, Any]],
) -> list[Difference]:
    """The differences of checks that were ``made`` and that cover none of the ``failing`` records of the subject."""
    made, failing = list(made), list(failing)
    return [
        each
        for each in known
        if any(each.is_of(subject, place) for place in made)
        and not any(each.covers(subject, record) for record in failing)
    ]


def _difference(row: dict[str, Any], where: str) -> Difference:
    names = [field.name for field in fields(Difference)]
    _require_known(row, names, where)
    lacking = [name for name in ("subject", "recipe", "check", "reason", "link") if name not in row]
    if lacking:
        raise RecipeError(f"{where}{lacking[0]} is missing: a known difference has {listed(names[:5])}")
    for name, value in row.items():
        if not isinstance(value, str) or not value.strip():
            raise RecipeError(f"{where}{name}={shown(value)} is not allowed: must be text that is not empty")
    for name, known in (("check", LADDER), ("dtype", DTYPES)):
        pattern = row.get(name, EVERY)
        if not any(fnmatchcase(each, pattern) for each in known):
            raise RecipeError(
                f"{where}{name}={shown(pattern)} matches nothing: must match one of {listed(known)}"
                f"{nearest(pattern, known)}"
            )
    return Difference(**row)


def _require_known(table: Iterable[str], known: Iterable[str], where: str) -> None:
    names = list(known)
    for name in table:
        if name not in names:
            raise RecipeError(f"{where}{name} is no field: must be one of {listed(names)}{nearest(name, names)}")
