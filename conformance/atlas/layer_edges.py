"""What is told of layers beside their formulation: how they start, their gates, and what they make of edge values."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from conformance.atlas.edges import Edges, number, told
from conformance.identification.answer import Answer, Named
from conformance.identification.exercises import Array
from conformance.identification.layer_target import Target
from conformance.identification.layering import ENTRIES, Input
from conformance.identification.process import Declined, Questioned

STARTS, GATES, RESET = "starts", "order of the gates", "reset gate"
LARGEST = ("max_pool", "global_max_pool")
POOLS = (*LARGEST, "average_pool", "global_average_pool")
_RESETS = {"after": "after the matrix product", "before": "before the matrix product"}
DRAWS = 6  # of what drops some


def traits(answer: Answer) -> Edges:
    """How its parameters start, which order its gates have, and where a GRU applies its reset gate."""
    if answer.found is None:
        return {}
    inside = answer.found.keywords.get("layer")
    keywords: Mapping[str, object] = inside.keywords if isinstance(inside, Named) else answer.found.keywords
    found = {STARTS: starts(answer.starts), GATES: ", ".join(str(keywords.get("gates", "")))}
    if "reset" in keywords:
        found[RESET] = _RESETS[str(keywords["reset"])]
    return {name: words for name, words in found.items() if words}


def starts(words: Mapping[str, str]) -> str:
    """How parameters start, those that start alike together.

    >>> starts({"W": "uniform(-1, 1)", "b": "uniform(-1, 1)", "gamma": "all 1"})
    'W, b: uniform(-1, 1); gamma: all 1'
    """
    alike: dict[str, list[str]] = {}
    for path, how in words.items():
        alike.setdefault(how.replace(" or ", " | "), []).append(path)
    return "; ".join(f"{', '.join(paths)}: {how}" for how, paths in alike.items())


def of_layer(asked: Questioned, component: str) -> Edges:
    """What it makes of edge values, in inference unless said."""
    target = _target(asked, component)
    if target is None:
        return {}
    return {name: told(ask) for name, ask in _situations(target, component)}


def _target(asked: Questioned, component: str) -> Target | None:
    """The layer with the first of the inputs that it takes, integers for an embedding alone."""
    for integers, *shape in asked.ask("open", {}).values():
        given = Input(tuple(int(n) for n in shape), bool(integers))
        if given.integers == (component == "embedding"):
            try:
                target = Target(asked, given)
                target.outputs(given.drawn(0, "float64"))
            except Declined:
                continue
            return target
    return None


def _situations(target: Target, component: str) -> Iterator[tuple[str, Callable[[], str]]]:
    if component == "embedding":
        entries = next(iter(target.held.shapes.values()))[0]
        yield "an index past the end", lambda: _row(target, entries)
        yield "index -1", lambda: _row(target, -1)
        return
    if component == "dropout":
        yield "inf, in training", lambda: _unlike(target, np.inf)
        yield "NaN, in training", lambda: _unlike(target, np.nan)
    if component in POOLS:
        yield "NaN in a window", lambda: _with_nan(target)
    if component in LARGEST:
        yield "gradients of a tie", lambda: _tie(target)
    yield "an empty first axis", lambda: _empty(target)


def _row(target: Target, index: int) -> str:
    """Which row of the table comes for an index, or what else."""
    usual = target.given.drawn(0, "float64")
    rows = [target.outputs(np.full_like(usual, place)).reshape(-1, 1) for place in range(ENTRIES)]
    width = target.held.shapes[next(iter(target.held.shapes))][1]
    made = target.outputs(np.full_like(usual, index)).reshape(-1, width)[0]
    if np.isnan(made).all():
        return "NaN"
    if not made.any():
        return "zeros"
    same = [place for place, row in enumerate(rows) if np.array_equal(row.reshape(-1, width)[0], made)]
    return f"row {same[0]}" if same else "the last row"


def _with_nan(target: Target) -> str:
    x = target.given.drawn(0, "float64")
    x.flat[0] = np.nan
    return "NaN" if np.isnan(target.outputs(x)).any() else "left out"


def _unlike(target: Target, value: float) -> str:
    """The different numbers that come of one and the same."""
    x = np.full(target.given.shape, value)
    made = np.stack([target.outputs(x, training=True) for _ in range(DRAWS)])
    return ", ".join(sorted(dict.fromkeys(map(number, np.unique(made)))))


def _tie(target: Target) -> str:
    slopes = target.slopes(np.full(target.given.shape, 2.0))
    return "none" if slopes is None else ", ".join(dict.fromkeys(map(number, np.unique(slopes))))


def _empty(target: Target) -> str:
    x: Array = target.given.drawn(0, "float64")[:0]
    made = target.outputs(x)
    return f"taken: shape {made.shape}" if made.size else "taken"
