"""What the frameworks' own layers are: the lines of ``layer_dialects.toml``, as answers name layers.

Each entry is held against what ``conformance identify`` finds by ``tests/conformance/identification/test_layers.py``.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from conformance.identification.answer import Named
from conformance.recipes.layer_dialects import MODULES, formulation, lines, unknown_layers


class BuiltIn(NamedTuple):
    """A framework's layer, the call that makes it, and the reference's without its sizes; None if it has none."""

    framework: str
    call: str
    layer: Named | None

    @property
    def target(self) -> str:
        """As ``conformance identify`` takes it."""
        return f"{MODULES[self.framework]}:{self.call}"


@cache
def table() -> tuple[BuiltIn, ...]:
    """All entries, those without a counterpart after the others of their framework.

    >>> next(one for one in table() if one.target == "torch.nn:LSTM").layer
    Named(name='lstm', keywords={'return_sequences': True, 'biases': 2})
    """
    found: list[BuiltIn] = []
    for framework, calls in lines().items():
        found += [BuiltIn(framework, call, named(formulation(line))) for call, line in calls.items()]
        found += [BuiltIn(framework, call, None) for call in unknown_layers()[framework]]
    return tuple(found)


def same_as(layer: Named) -> tuple[str, ...]:
    """The targets whose layer is written as this one is."""
    written = layer.written("layer")
    return tuple(one.target for one in table() if one.layer is not None and one.layer.written("layer") == written)


def named(given: Mapping[str, Any]) -> Named:
    """A layer of a table: its name and keywords, those of an activation's name under ``name_of``."""
    keywords: dict[str, Any] = {}
    for keyword, value in given.items():
        if keyword == "layer":
            keywords[keyword] = named(value)
        elif keyword == "layers":
            keywords[keyword] = [named(each) for each in value]
        elif keyword != "name":
            keywords["name" if keyword == "name_of" else keyword] = tuple(value) if isinstance(value, list) else value
    return Named(str(given["name"]), keywords)
