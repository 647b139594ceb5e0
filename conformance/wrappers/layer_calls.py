"""What the layers of a user's model give, by the names that the recipe's network has for it.

A call of a layer is told apart by the path of its module and by how many times that was called before in the same
forward pass. Layers with parameters are known by these; those without stand between them, and are matched where there
are as many of their kind as the recipe has there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from conformance.wrappers.layouts import OwnLayer
from conformance.wrappers.recipe_layers import RecipeLayer

# What the recipe's layers without parameters are told apart by.
KINDS = {
    "activation": "activation", "dropout": "dropout", "flatten": "flatten", "reshape": "reshape", "max_pool": "pool",
    "average_pool": "pool", "global_max_pool": "global pool", "global_average_pool": "global pool",
}  # fmt: skip


class Call(NamedTuple):
    """A call of a module: its path, how many came before of the same, and its kind, one of KINDS or another."""

    path: str
    before: int
    kind: str


def layers_by_call(
    recipe: Sequence[RecipeLayer], matched: Mapping[str, OwnLayer], calls: Sequence[Call]
) -> dict[tuple[str, int], list[RecipeLayer]]:
    """Which of the recipe's layers each call of a module is, by its path and the calls before: one, or a stack of them.

    A module with parameters that is called more than once is none of them.
    """
    found: dict[tuple[str, int], list[RecipeLayer]] = {}
    at = {call.path: place for place, call in enumerate(calls)}
    often = {call.path for call in calls if call.before}
    start, first = 0, 0
    for place, layer in enumerate(recipe):
        own = matched.get(layer.path)
        if own is None or own.path not in at or own.path in often:
            continue
        found.setdefault((own.path, 0), []).append(layer)
        if at[own.path] >= first:
            found |= _between(recipe[start:place], calls[first : at[own.path]])
        start, first = place + 1, at[own.path] + 1
    return found | _between(recipe[start:], calls[first:])


def _between(layers: Sequence[RecipeLayer], calls: Sequence[Call]) -> dict[tuple[str, int], list[RecipeLayer]]:
    """Layers without parameters and calls of their kinds that stand between the same two layers with parameters."""
    pairs: list[tuple[int, int]] = []
    for kind in dict.fromkeys(KINDS.values()):
        alike = [place for place, layer in enumerate(layers) if KINDS.get(layer.name) == kind]
        fitting = [place for place, call in enumerate(calls) if call.kind == kind]
        if len(alike) == len(fitting):
            pairs += zip(alike, fitting, strict=True)
    if sorted(pairs, key=lambda pair: pair[1]) != sorted(pairs):  # called in another order, which may be the same
        return {}
    return {(calls[at].path, calls[at].before): [layers[place]] for place, at in pairs if layers[place].output}


def counted_calls(paths_and_kinds: Sequence[tuple[str, str]]) -> Iterator[Call]:
    """Calls in their order, each with how many came before of the same module."""
    seen: dict[str, int] = {}
    for path, kind in paths_and_kinds:
        yield Call(path, seen.get(path, 0), kind)
        seen[path] = seen.get(path, 0) + 1
