"""Edge values of regularizers: what they add to weights, and what they make of gradients or weights at a limit."""

from collections.abc import Iterator

import numpy as np

from conformance.atlas.edges import Edges, number, told
from conformance.identification.exercises import Array
from conformance.identification.process import Declined, Questioned
from conformance.identification.regularizers import question
from reference_numpy.regularizers import PENALTIES

# Pairs of numbers in a row: a gradient, or the weights into a unit.
PAIRS = {
    "3, 4": (3.0, 4.0), "0.3, 0.4": (0.3, 0.4), "0.03, 0.04": (0.03, 0.04), "0, 0": (0.0, 0.0), "inf, 1": (np.inf, 1.0),
    "NaN, 1": (np.nan, 1.0),
}  # fmt: skip
SINGLE = {"1e20, 1 in float32": (1e20, 1.0)}
WITHIN = ("0.3, 0.4", "0.03, 0.04")
COLUMNS = "keras.constraints"  # which take the weights into a unit to lie in a column
KEPT = 1000  # numbers that are given to a dropout


def of_regularizer(asked: Questioned, component: str) -> Edges:
    """Of a penalty cost and slope; of a limit what becomes of two numbers; of a dropout what it makes of inf."""
    if component in PENALTIES:
        return dict(_of_penalty(asked))
    if component == "inverted_dropout":
        return {f"{name}, in training": told(lambda x=x: _dropped(asked, x))  # type: ignore[misc]
                for name, x in (("inf", np.inf), ("NaN", np.nan))}  # fmt: skip
    pairs = [(name, pair, "float64") for name, pair in PAIRS.items()]
    pairs += [(name, pair, "float32") for name, pair in SINGLE.items()]
    return {name: told(lambda p=pair, d=dtype, n=name: _limited(asked, p, d, n in WITHIN))  # type: ignore[misc]
            for name, pair, dtype in pairs}  # fmt: skip


def _of_penalty(asked: Questioned) -> Iterator[tuple[str, str]]:
    for name, w, dtype in (("weight 1", 1.0, "float64"), ("weight 0", 0.0, "float64"), ("weight -2", -2.0, "float64"),
                           ("weight 1e20 in float32", 1e20, "float32")):  # fmt: skip
        yield name, told(lambda w=w, dtype=dtype: _added(asked, np.full((1, 1), w, dtype)))  # type: ignore[misc]
    try:
        changed = _changed(asked, np.ones((1, 1)), np.zeros((1, 1)))
        yield "bias 1", f"slope {number(changed['b1'][0])}"
    except Declined:  # a function of one array, which is not told whose it is
        return


def _changed(asked: Questioned, w: Array, g: Array) -> dict[str, Array]:
    ones, zeros = np.ones(1, w.dtype), np.zeros(1, w.dtype)
    return asked.ask("regularize", question({"W1": w, "b1": ones}, {"W1": g, "b1": zeros}))


def _added(asked: Questioned, w: Array) -> str:
    """What a weight adds to the cost, where that can be seen, and to its gradient."""
    try:
        return f"slope {number(_changed(asked, w, np.zeros_like(w))['W1'][0, 0])}"
    except Declined:
        seen = asked.ask("evaluate", {"a0": w})
    slope = seen.get("gradient", np.full(w.shape, np.nan))
    return f"cost {number(seen['value'])}, slope {number(slope[0, 0])}"


def _limited(asked: Questioned, pair: tuple[float, float], dtype: str, exactly: bool) -> str:
    """What becomes of two numbers; with ``exactly`` by how much they were changed."""
    given = np.array([pair], dtype)
    with np.errstate(all="ignore"):
        try:
            weights, gradients = np.zeros_like(given), given
            made = asked.ask("regularize", question({"W1": weights}, {"W1": gradients}))["W1"].ravel()
        except Declined:
            array = given.T if asked.target.startswith(COLUMNS) else given
            made = asked.ask("evaluate", {"a0": array})["value"].ravel()
        off = float(np.abs(made / given.ravel() - 1).max()) if exactly else 0.0
    if exactly:
        return "as it was" if off == 0 else f"smaller by {off:.0e} of it"
    return ", ".join(map(number, made))


def _dropped(asked: Questioned, x: float) -> str:
    made = asked.ask("evaluate", {"a0": np.full((KEPT, 1), x)})["value"]
    return ", ".join(dict.fromkeys(map(number, np.unique(made))))
