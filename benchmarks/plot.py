"""The ratios as a figure: a panel for each framework, a row for each workload."""

from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.workloads import DENSE, LAYERED
from conformance.reports.figures import styled
from conformance.reports.plots import check_installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = {
    "best": "o", "usual": "^", "products": "|", "scikit-learn": "s", "keras fit": "D", "own layers": "P",
    "project layers": "v",
}  # fmt: skip
COLOURS = {"numpy": "#4c78a8", "torch": "#e45756", "tensorflow": "#f58518", "jax": "#54a24b"}
PANEL = 2.6  # inches


def ratios(times: pd.DataFrame) -> "Figure":
    """``fit``'s time in units of each contender's, with quartiles. Raises ImportError without matplotlib."""
    check_installed()
    from matplotlib.figure import Figure

    frameworks = list(dict.fromkeys(times["framework"]))
    names = [w.name for w in (*DENSE, *LAYERED) if w.name in set(times["workload"])][::-1]
    with styled():
        figure = Figure(figsize=(PANEL * len(frameworks) + 1, 0.32 * len(names) + 1.4), layout="constrained")
        panels = figure.subplots(1, len(frameworks), sharey=True, squeeze=False)[0]
        for axes, framework in zip(panels, frameworks, strict=True):
            _draw(axes, times[times["framework"] == framework], names, COLOURS[framework])
            axes.set(title=framework, xlabel="time of fit / time of the other")
        handles = {
            label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure


def _draw(axes: "Axes", times: pd.DataFrame, names: list[str], colour: str) -> None:
    axes.axvline(1, color="#bdbdbd", zorder=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")  # the style writes no powers
    axes.xaxis.set_minor_formatter("")
    axes.set_yticks(range(len(names)), names)
    for contender, own in times[times["contender"] != "fit"].groupby("contender", sort=False):
        errors = [own["ratio"] - own["ratio_lower"], own["ratio_upper"] - own["ratio"]]
        places = [names.index(name) for name in own["workload"]]
        axes.errorbar(
            own["ratio"], places, xerr=errors, linestyle="", marker=MARKERS[str(contender)], color=colour,
            markerfacecolor="none" if contender == "usual" else colour, label=contender,
        )  # fmt: skip
