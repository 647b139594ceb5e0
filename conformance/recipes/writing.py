"""A recipe as TOML that can be read again."""

import json
from collections.abc import Mapping
from typing import Any

from conformance.recipes.recipe import Recipe

# Fields of a model that say nothing of a network, whose layers say it.
SAID_BY_LAYERS = ("hidden_units", "activation", "normalization", "bias")


def as_toml(recipe: Recipe) -> str:
    """The recipe with every keyword written out; read again it has the same content hash.

    What is None is left out: it is the default everywhere.

    >>> from conformance.recipes.suites import suite
    >>> print(as_toml(suite("quick")[1]).splitlines()[0])
    name = "flower-shallow-tanh"
    """
    values = _present(recipe.model_dump(mode="json"))
    components = values.pop("regularizers")
    if recipe.is_network:
        values["model"] = {name: value for name, value in values["model"].items() if name not in SAID_BY_LAYERS}
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for key, table in values.items():
        if isinstance(table, dict):
            lines += ["", f"[{key}]", *_pairs(table)]
    for component in components:
        lines += ["", "[[regularizers]]", *_pairs(component)]
    return "\n".join(lines) + "\n"


def _present(values: Any) -> Any:
    """Without what is None: TOML has no word for it."""
    if isinstance(values, Mapping):
        return {key: _present(value) for key, value in values.items() if value is not None}
    return [_present(value) for value in values] if isinstance(values, list) else values


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_layers(value) if key == 'layers' else _value(value)}" for key, value in table.items()]


def _layers(layers: list[dict[str, Any]], indent: str = "") -> str:
    """A list of layers, a line for each; those that are made of others go on over several."""
    lines = [f"{indent}    {_layer(layer, indent + '    ')}," for layer in layers]
    return "\n".join(["[", *lines, f"{indent}]"])


def _layer(layer: dict[str, Any], indent: str) -> str:
    own = [f"{key} = {_value(value)}" for key, value in layer.items() if key not in ("layers", "branches")]
    if "layers" in layer:
        own.append(f"layers = {_layers(layer['layers'], indent)}")
    if "branches" in layer:
        branches = [f"{indent}    {_layers(branch, indent + '    ')}," for branch in layer["branches"]]
        own.append("\n".join(["branches = [", *branches, f"{indent}]"]))
    return "{ " + ", ".join(own) + " }"


def _value(value: Any) -> str:
    if isinstance(value, str):
        # JSON's escapes are TOML's, which has no surrogates and must have DEL escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = [f"{key} = {_value(part)}" for key, part in value.items()]
        return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
