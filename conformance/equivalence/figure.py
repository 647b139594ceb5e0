"""The curves of two dialects with the spread of their seeds, as a figure."""

import base64
import io
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conformance.equivalence.compared import COST, DialectsComparison, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_EPOCHS = 5  # below which each step is drawn in place of each epoch's mean


def figure(found: DialectsComparison, outcome: Outcome) -> "Figure":
    """Both costs, mean and standard deviation over the seeds, and their difference beside the margin of its end.

    matplotlib must be installed (``conformance.reports.plots.check_installed``).
    """
    from conformance.reports import figures

    margin = next(held.margin for held in outcome.held if held.quantity == COST)
    by_epoch = len(outcome.pairs[0].first.costs) >= FEWEST_EPOCHS * outcome.pairs[0].batches
    table = pd.DataFrame(
        [
            (name, pair.seed, position, value)
            for pair in outcome.pairs
            for name, own in zip(found.names, (pair.first, pair.second), strict=True)
            for position, value in enumerate(_drawn(own.costs, pair.batches if by_epoch else 1), start=1)
        ],
        columns=["name", "seed", "position", "value"],
    )
    title = f"{' and '.join(found.names)} {outcome.title}: {outcome.verdict}"
    return figures.over_seeds(table, found.names, margin, "epoch" if by_epoch else "step", title)


def _drawn(costs: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", every: int) -> list[float]:
    """The means of so many costs each, those without a value as NaN."""
    whole = costs[: len(costs) // every * every]
    means: list[float] = np.where(np.isfinite(whole), whole, np.nan).reshape(-1, every).mean(axis=1).tolist()
    return means


def as_address(found: DialectsComparison, outcome: Outcome) -> str:
    """The figure as an address that holds it, ``data:image/svg+xml;...``; "" where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return ""
    from conformance.reports.figures import styled

    held = io.BytesIO()
    with styled():
        figure(found, outcome).savefig(held, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(held.getvalue()).decode()}"
