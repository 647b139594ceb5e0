"""Other formulations of a network's layers, one at a time: another setting of a keyword, or the layer next to it.

What changes the shape of a parameter is no formulation of the same network, and cannot be carried out with its arrays.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

from conformance.recipes.layers import LayerChoice
from reference_numpy.activations import ACTIVATIONS

Table = dict[str, Any]  # a layer as a recipe has it
Tables = list[Table]

_BOTH = (False, True)
_SETTINGS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "flatten": {"order": ("channels_last", "channels_first")},
    "average_pool": {"count_padding": _BOTH},
    "embedding": {"mask_zero": _BOTH},
    "simple_rnn": {"activation": ("tanh", "relu"), "reverse": _BOTH},
    "lstm": {"reverse": _BOTH},
    "gru": {"reset": ("after", "before"), "reverse": _BOTH},
    "bidirectional": {"join": ("sum", "concatenate")},
    "attention": {"causal": _BOTH},
    "positional_encoding": {"layout": ("interleaved", "halves")},
    "batch_norm": {"running_variance": ("biased", "unbiased")},
}
_EXCHANGED = {"global_max_pool": "global_average_pool", "global_average_pool": "global_max_pool"}


def other_networks(
    layers: tuple[LayerChoice, ...], elsewhere: Mapping[str, Mapping[str, Sequence[Any]]]
) -> Iterator[tuple[str, Tables]]:
    """Networks that differ in one layer, as a recipe has them, with what is different.

    ``elsewhere``: by layer and keyword what other libraries have by default.

    >>> flatten = LayerChoice(name="flatten", order="channels_last")
    >>> list(other_networks((flatten,), {}))
    [('flatten(order="channels_first") as layer 1', [{'name': 'flatten', 'order': 'channels_first'}])]
    """
    yield from _in_series([layer.model_dump() for layer in layers], "", elsewhere)


def _in_series(tables: Sequence[Table], outer: str, elsewhere: Any) -> Iterator[tuple[str, Tables]]:
    for place, table in enumerate(tables):
        for words, other in _others(table, f"{outer}{place + 1}", elsewhere):
            yield words, [*tables[:place], other, *tables[place + 1 :]]


def _others(table: Table, path: str, elsewhere: Any) -> Iterator[tuple[str, Table]]:
    """A layer in other formulations; one that is made of others with one of these in another."""
    settings = {**_SETTINGS.get(table["name"], {}), **elsewhere.get(table["name"], {}), **_of_sizes(table)}
    for keyword, values in settings.items():
        for value in values:
            if value != table[keyword]:
                shown = f'"{value}"' if isinstance(value, str) else value
                yield f"{table['name']}({keyword}={shown}) as layer {path}", {**table, keyword: value}
    for other in _instead(table):
        named = other.get("function", other["name"])
        yield f"{named} for {table.get('function', table['name'])} as layer {path}", other
    for words, inner in _in_series(table.get("layers", ()), f"{path}.", elsewhere):
        yield words, {**table, "layers": inner}
    for place, branch in enumerate(table.get("branches", ())):
        for words, inner in _in_series(branch, f"{path}.{place + 1}.", elsewhere):
            branches = [*table["branches"][:place], inner, *table["branches"][place + 1 :]]
            yield words, {**table, "branches": branches}


def _of_sizes(table: Table) -> dict[str, Sequence[Any]]:
    """Settings that depend on what else the layer is: paddings, orders of gates, numbers of heads."""
    found: dict[str, Sequence[Any]] = {}
    size = table.get("kernel", table.get("window"))
    if size is not None:
        halves = [tuple((n - 1) // 2 for n in size), tuple(n // 2 for n in size)]
        found["padding"] = list(dict.fromkeys(["valid", "same", *(half for half in halves if any(half))]))
    if "gates" in table:
        found["gates"] = ["".join(order) for order in permutations(sorted(table["gates"]))]
    return found


def _instead(table: Table) -> Iterator[Table]:
    """The layers that stand where another was meant: of pools the other kind, any activation, and no dropout."""
    if table["name"] == "activation":
        yield from ({"name": "activation", "function": name} for name in ACTIVATIONS if name != table["function"])
    elif table["name"] == "dropout":
        yield {"name": "activation", "function": "identity"}
    elif table["name"] in ("max_pool", "average_pool"):
        windows = {key: table[key] for key in ("window", "stride", "padding")}
        if table["name"] == "average_pool":
            yield {"name": "max_pool", **windows}
        else:
            counts = _BOTH if windows["padding"] != "valid" else (False,)
            yield from ({"name": "average_pool", **windows, "count_padding": count} for count in counts)
    elif table["name"] in _EXCHANGED:
        yield {"name": _EXCHANGED[table["name"]]}
