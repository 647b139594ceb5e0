"""Recipes in files: TOML and JSON."""

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from conformance.recipes.recipe import Recipe


class RecipeError(ValueError):
    """A recipe file that cannot be read or does not describe a training; the message names the field."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from a ``.toml`` or ``.json`` file. Raises RecipeError, naming the file and the field."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: not valid {path.suffix[1:].upper() or 'TOML'}: {error}") from error
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(item) for item in error.errors(include_url=False))
        raise RecipeError(f"{path}: {problems}") from error


def _problem(item: Any) -> str:
    place = ".".join(map(str, item["loc"]))
    given = "" if item["type"] in ("missing", "value_error") else f" (given: {item['input']!r})"
    return f"{place + ': ' if place else ''}{item['msg'].removeprefix('Value error, ')}{given}"
