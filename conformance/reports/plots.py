"""Figures of a run for papers and pages: what is asked for is checked here, before anything is drawn.

matplotlib is imported where a figure is drawn, so that what is refused costs nothing and a harness without it works.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from conformance.adapters.installation import install_command
from conformance.recipes.components import choose
from conformance.results.run import Run, load_run
from conformance.results.store import INFORMATIVE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("curves", "margins", "accuracy")
# What is written into a file beside the figure: no date, so that the same figure is the same bytes.
METADATA: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}


def plot(
    run: Run | str | Path,
    recipe: str | None = None,
    *,
    what: str = "curves",
    quantity: str = "cost",
    dtype: str | None = None,
) -> "Figure":
    """A figure of a run, as wide as one column of a page.

    Args:
        run: a run, or its folder.
        recipe: the recipe that is shown; margins may be of all recipes together.
        what: ``curves``: a quantity of a training, implementations over the oracle, and below it their errors with the
            noise floor and the allowance; ``margins``: errors in units of their allowances, by check and
            implementation; ``accuracy``: on training and test examples, after every epoch that was watched.
        quantity: the curve that is shown: ``cost``, ``gradient norm``, ``learning rate`` ...
        dtype: ``float64`` or ``float32``; by default the first that the run has.

    Raises ValueError for an argument that is not allowed or that the run has not, ImportError, with the command that
    installs it, where matplotlib is not installed.
    """
    check_installed()
    choose("what", what, KINDS)
    found = run if isinstance(run, Run) else load_run(run)
    records = found.records
    if recipe is None and what != "margins":
        raise ValueError(f"recipe is not given: must be one of the run's, where what={what!r}")
    if recipe is not None:
        choose("recipe", recipe, list(records["recipe"].unique()), context=f" of {found.folder}")
        records = records[records["recipe"] == recipe]
    dtypes = list(records["dtype"].unique())
    dtype = choose("dtype", dtype or next(iter(dtypes), ""), dtypes, context=f" of {found.folder}")
    implementations = list(found.records["implementation"].unique())
    title = f"{recipe or 'all recipes'}, {dtype}"
    from conformance.reports import figures

    if what == "margins":
        return figures.margins(records[records["dtype"] == dtype], implementations, title)
    curves = found.curves[(found.curves["recipe"] == recipe) & (found.curves["dtype"] == dtype)]
    if what == "accuracy":
        return figures.accuracy(_accuracies(curves, title), implementations, title)
    return figures.curves(_curve(curves, quantity, title), implementations, title)


def save(figure: "Figure", file: str | Path) -> None:
    """Write a figure as SVG, PNG or PDF, by the ending of the file: the same figure, the same bytes.

    Raises ValueError for another ending, OSError for a file that cannot be written.
    """
    from conformance.reports import figures

    figures.write(figure, Path(file), METADATA[ending(file)])


def ending(file: str | Path) -> str:
    """The ending of a figure's file. Raises ValueError for one that is not allowed.

    >>> ending("cost.SVG")
    '.svg'
    """
    return choose("ending of the figure's file", Path(file).suffix.lower(), tuple(METADATA))


def check_installed() -> None:
    """Raise ImportError, with the command that installs it, where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise ImportError(f"matplotlib not found; a figure needs: {install_command('plot')}")


def _curve(curves: pd.DataFrame, quantity: str, title: str) -> pd.DataFrame:
    known = [name for name in curves["quantity"].unique() if name != INFORMATIVE]
    choose("quantity", quantity, known, context=f" of {title}")
    return curves[curves["quantity"] == quantity]


def _accuracies(curves: pd.DataFrame, title: str) -> pd.DataFrame:
    found = curves[curves["quantity"].isin(["training accuracy", "test accuracy"])]
    if found.empty:
        raise ValueError(f"what='accuracy' is not there of {title}: its model predicts no classes, or was not trained")
    return found
