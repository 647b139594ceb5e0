"""What a run's database must hold to be one: rows and facts that are not of their kind are told, not tripped over."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from conformance.data.wording import one_line

Select = Callable[[str], list[tuple[Any, ...]]]

_STORED = {"TEXT": ("text",), "INTEGER": ("integer",), "REAL": ("real", "integer", "null")}  # SQLite has no NaN


class _Plan(TypedDict):
    implementations: list[str]
    tasks: list[tuple[str, str]]
    checks: list[str]


class _Stand(TypedDict, total=False):
    device: str
    versions: dict[str, str]
    settings: dict[str, Any]


class _Environment(TypedDict, total=False):
    started: str
    python: str
    platform: str
    machine: str
    processors: int | None
    packages: dict[str, str]
    worker_environment: dict[str, str]
    device: str
    dtypes: list[str]
    implementations: dict[str, str] | list[str]
    pythons: dict[str, str]
    source: str


_FACTS: dict[str, TypeAdapter[Any]] = {
    "plan": TypeAdapter(_Plan),
    "environment": TypeAdapter(_Environment),
    "recipes": TypeAdapter(dict[str, dict[str, Any]]),
    "implementation": TypeAdapter(_Stand),
    "lost": TypeAdapter(list[str]),
    "reused": TypeAdapter(int),
    "stopped": TypeAdapter(bool),
}


def damaged_rows(select: Select, table: str, types: Mapping[str, str]) -> str:
    """The first column of a table that somewhere holds another kind of value; "" if there is none."""
    for column, kind in types.items():
        allowed = ", ".join(map(repr, _STORED[kind]))
        if select(f'SELECT 1 FROM {table} WHERE typeof("{column}") NOT IN ({allowed}) LIMIT 1'):
            return column
    return ""


def damaged_fact(name: str, value: Any) -> str:
    """What is wrong with a fact; "" for nothing, and for facts that nothing is known of."""
    kind = _FACTS.get(name.partition(" ")[0])
    if kind is None:
        return ""
    try:
        kind.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        return one_line(f"{place + ': ' if place else ''}{first['msg']}", 200)
    return ""
