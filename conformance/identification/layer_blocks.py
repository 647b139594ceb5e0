"""Blocks of several layers that frameworks have as one."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from conformance.identification.answer import Named


def transformer(heads: int, hidden: int, n: int) -> Iterator[dict[str, Any]]:
    """An encoder's block of a transformer, with its norms after the sums or before the layers."""
    attention, norm = Named("attention", {"heads": heads}), Named("layer_norm", {})
    for before, activation in product((False, True), ("relu", "gelu")):
        dense = [
            Named("dense", {"units": hidden}), Named("activation", {"name": activation}), Named("dense", {"units": n}),
        ]  # fmt: skip
        parts = [_around([norm, attention] if before else [attention]), _around([norm, *dense] if before else dense)]
        yield {"layers": parts if before else [parts[0], norm, parts[1], norm]}


def _around(layers: list[Named]) -> Named:
    inner = layers[0] if len(layers) == 1 else Named("sequence", {"layers": layers})
    return Named("residual", {"layer": inner})
