"""Recipes in files, TOML and JSON: read with a limit to everything, and refused with every fault that they have."""

import json
import os
import re
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from conformance.data.wording import cut, escaped, listed, nearest, shown
from conformance.recipes.parts import DatasetChoice, ModelChoice, Transfer
from conformance.recipes.recipe import Recipe
from conformance.recipes.size import require_bounded

MOST_BYTES = 256 * 1024  # of a file; a recipe has about one thousand
MOST_LEVELS = 30  # of tables and lists in each other
MOST_PARTS = 10  # of a key, a.b.c
MOST_FIELDS = 100  # of a table
MOST_INTEGER = 10**4300  # Python neither reads nor writes more digits
MOST_FAULTS = 100  # that are put into words
FAULTS_SHOWN = 20  # of a file
TOO_MANY_DIGITS = "an integer has too many digits"
KINDS = {".toml": "TOML", ".json": "JSON"}
OTHER_KINDS = {".yaml": "YAML", ".yml": "YAML", ".py": "Python", ".ini": "INI", ".xml": "XML", ".csv": "CSV"}

_PARTS: dict[str, type[BaseModel]] = {"dataset": DatasetChoice, "model": ModelChoice, "transfer": Transfer}

# TOML's texts, of which one that does not end goes to the end of the file or line, where tomllib refuses it; comments.
_TEXT = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}+)?|"(?:[^"\\\n]|\\.)*+"?'''
    r"""|'''(?:[^']|'(?!''))*+(?:'{3,5}+)?|'[^'\n]*+'?"""
    r"|\#[^\n]*+",
    re.DOTALL,
)
_SPACE = re.compile(r"[ \t]+")
_OTHERS = re.compile(r"[^\w.-]+")

_TYPES = {
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be an integer",
    "model_type": "must be a table",
    "string_type": "must be text",
    "tuple_type": "must be a list",
}


class RecipeError(ValueError):
    """A recipe that cannot be read or does not describe a training; the message has a line for each fault of it."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a ``.toml`` or ``.json`` file. Raises RecipeError, naming file, field and value."""
    path = Path(path)
    values = read_table(path)
    try:
        recipe = Recipe.model_validate(values)
        require_bounded(recipe)
    except ValueError as error:
        raise RecipeError(_told(path, error)) from error
    return recipe


def read_table(path: Path) -> dict[str, Any]:
    """The table in a ``.toml`` or ``.json`` file, neither large nor deep. Raises RecipeError, naming the file."""
    kind, place = _kind(path), escaped(path)
    text = _text(path)
    try:
        values = _parsers[kind](text)
        _require_small(values)
    except RecipeError as error:
        raise RecipeError(f"{place}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{place}: not valid {kind}: {_reason(error)}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{place}: holds {shown(values)}; must be a table of fields")
    return values


def faults(error: ValueError) -> list[str]:
    """What is wrong with a recipe, one line each: the field, the value, what is allowed, the nearest name."""
    if isinstance(error, ValidationError):
        items = error.errors(include_url=False)
        hidden = [f"and {len(items) - MOST_FAULTS} more"] * (len(items) > MOST_FAULTS)
        return [line for item in items[:MOST_FAULTS] for line in _lines(item)] + hidden
    return str(error).splitlines()


def _told(path: Path, error: ValueError) -> str:
    found = faults(error)
    hidden = len(found) - FAULTS_SHOWN
    return "\n".join(
        f"{escaped(path)}: {line}" for line in found[:FAULTS_SHOWN] + [f"and {hidden} more"] * (hidden > 0)
    )


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in KINDS:
        named = f"has the suffix {cut(suffix)!r}" if suffix else "has no suffix"
        what = f"is {OTHER_KINDS[suffix]}" if suffix in OTHER_KINDS else named
        raise RecipeError(f"{escaped(path)}: {what}: must be TOML or JSON (.toml or .json)")
    return KINDS[suffix]


def _text(path: Path) -> str:
    """The text of a regular file of at most MOST_BYTES; what is no file is not waited for."""
    place = escaped(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise RecipeError(f"{place}: cannot be read: is {'a folder' if stat.S_ISDIR(mode) else 'no file'}")
            content = file.read(MOST_BYTES + 1)
    except IsADirectoryError as error:
        raise RecipeError(f"{place}: cannot be read: is a folder") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        if isinstance(error, RecipeError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RecipeError(f"{place}: cannot be read: {reason}") from error
    if len(content) > MOST_BYTES:
        raise RecipeError(f"{place}: is larger than {MOST_BYTES} bytes: must be at most that")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{place}: cannot be read: not UTF-8 at byte {error.start}") from error


def _from_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_repetition)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} stands there twice")
        found[key] = value
    return found


def _from_toml(text: str) -> Any:
    _require_short_keys(text)
    return tomllib.loads(text)


def _require_short_keys(text: str) -> None:
    """Refuse a key of many parts, ``a.b.c``, before tomllib reads it, which takes time with the square of their number.

    Outside texts and comments nothing else has many dots: a number has one.
    """
    bare = _SPACE.sub("", _TEXT.sub(lambda found: "" if found[0].startswith("#") else "_", text))
    for key in _OTHERS.split(bare):
        parts = key.count(".") + 1
        if parts > MOST_PARTS:
            raise RecipeError(f"holds the key {shown(key)} of {parts} parts; must be at most {MOST_PARTS}")


_parsers: dict[str, Callable[[str], Any]] = {"TOML": _from_toml, "JSON": _from_json}


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if "integer string conversion" in str(error):
        return TOO_MANY_DIGITS
    return escaped(cut(str(error), 200))


def _require_small(values: Any) -> None:
    """Refuse what is nested too deep, a table of too many fields or too long an integer, without recursion."""
    held = [values]
    for _ in range(MOST_LEVELS):
        if any(isinstance(value, int) and abs(value) >= MOST_INTEGER for value in held):
            raise RecipeError(TOO_MANY_DIGITS)  # as one in hexadecimal, which Python reads and does not write
        tables = [value for value in held if isinstance(value, dict)]
        largest = max(map(len, tables), default=0)
        if largest > MOST_FIELDS:
            raise RecipeError(f"holds a table of {largest} fields; must be at most {MOST_FIELDS}")
        lists = [value for value in held if isinstance(value, list)]
        held = [part for table in tables for part in table.values()] + [part for one in lists for part in one]
    if any(isinstance(value, (dict, list)) for value in held):
        raise RecipeError(f"is nested more than {MOST_LEVELS} deep")


def _lines(item: Any) -> list[str]:
    """The lines of one of pydantic's errors, in the words of this project."""
    place = ".".join(escaped(cut(str(part))) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return [_unknown_field(item["loc"])]
    if item["type"] == "missing":
        return [f"{place} is missing"]
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return [_placed(place, line) for line in message.splitlines()]
    required = _TYPES.get(item["type"]) or _requirement(message)
    return [f"{place}={shown(item['input'])} is not allowed: {required}"]


def _placed(place: str, line: str) -> str:
    """A line with the whole name of the field that it is about, of which it may begin with a part or with none."""
    top, last = place.partition(".")[0], place.rpartition(".")[2]
    if line.startswith(place):
        return line
    if line.startswith((f"{top}.", f"{top}:", f"{top} ")):
        return place + line[len(top) :]
    if line.startswith(f"{last}="):
        return place + line[len(last) :]
    return f"{place}.{line}" if line.partition("=")[0].isidentifier() else f"{place}: {line}"


def _requirement(message: str) -> str:
    """Pydantic's message as what must be."""
    for beginning in ("Input should", "String should", "Tuple should"):
        if message.startswith(beginning):
            return "must" + message.removeprefix(beginning)
    return message


def _unknown_field(location: tuple[Any, ...]) -> str:
    part = _PARTS.get(str(location[0])) if len(location) > 1 else Recipe
    known = list(part.model_fields) if part is not None else []
    place = ".".join(escaped(cut(str(part))) for part in location)
    named = f": must be one of {listed(known)}" if known else ""
    return f"{place} is no field{named}{nearest(str(location[-1]), known)}"
