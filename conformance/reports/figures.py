"""How figures are drawn, with matplotlib, in the style of ``assets/conformance.mplstyle``."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import style, ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from numpy.typing import NDArray

from conformance.verdicts.order import LADDER

STYLE = Path(__file__).parent / "assets" / "conformance.mplstyle"
ORACLE = "oracle"
WIDTH = 3.5  # inches: one column
FLOOR, ALLOWANCE, REFERENCE = "#bdbdbd", "#e6e6e6", "#bdbdbd"  # greys: of the bands, and of the oracle's line
# The oracle's line, on which others can be seen.
WIDE_LINE: dict[str, Any] = {"color": REFERENCE, "linewidth": 3.5, "linestyle": "-", "marker": ""}
MARKERS = 8  # on a line
BAND = 0.25  # opacity of what lies about a line
DECADES_SHOWN = 5  # tick labels of a logarithmic axis
LAST_DECADE = 150  # up and down: what is beyond is drawn at its end
MARGIN = 0.2  # of the distance of two ticks of a logarithmic axis, beyond 0 and infinity
WIDE = 20.0  # a curve whose values span more than this factor has a logarithmic axis
LEAST_MARGIN = 1e-4  # of an allowance; what is less is of no interest
SPREAD = 0.7  # of the distance between two rows, over which implementations are at most drawn side by side
BESIDE = 0.2  # the distance of two implementations, in rows, where there are few
LINE, HANDLE = 75, 8  # characters of a line of a legend, and how many a line's picture is wide
TITLE = 54  # characters of a line of a title


@contextmanager
def styled() -> Iterator[None]:
    """Everything inside is drawn in the style of the project, whatever the user's own is."""
    with style.context(["default", STYLE]):
        yield


def write(figure: Figure, file: Path, metadata: dict[str, Any]) -> None:
    """Write a figure."""
    with styled():
        figure.savefig(file, metadata=metadata)


def curves(table: pd.DataFrame, implementations: Sequence[str], title: str) -> Figure:
    """One quantity of a training over the oracle's, and below it the errors within noise floor and allowance."""
    compared = bool(table["error"].notna().any())
    with styled():
        figure = Figure(figsize=(WIDTH, 3.4 if compared else 2.1))
        panels = figure.subplots(2 if compared else 1, sharex=True, squeeze=False)[:, 0]
        _draw_curves(panels[0], table, implementations, wide=_is_wide(table["value"]))
        panels[0].set(title=_wrapped(title), ylabel=table["quantity"].iloc[0])
        if compared:
            _draw_errors(panels[1], table, implementations)
        _count_along(panels[-1], table["unit"].iloc[0])
        _add_legend(figure, panels[0])
    return figure


def _draw_curves(axes: Axes, table: pd.DataFrame, implementations: Sequence[str], *, wide: bool = False) -> None:
    """Values by position, the oracle's below the others; on a logarithmic axis if they are ``wide`` apart."""
    scale, oracle = Decades(table["value"]), table[table["implementation"] == ORACLE]
    place = scale.place if wide else np.asarray
    if wide:
        axes.set_yscale("log")
    axes.plot(oracle["position"], place(oracle["value"]), label=ORACLE, solid_capstyle="round", **WIDE_LINE)
    for name, own, look in _by_implementation(table, implementations):
        axes.plot(own["position"], place(own["value"]), label=name, **look)
    if wide:
        scale.apply(axes.yaxis)


def _draw_errors(axes: Axes, table: pd.DataFrame, implementations: Sequence[str]) -> None:
    """Errors by position, on a logarithmic axis; below the noise floor, and between that and the allowance, a band."""
    oracle = table[table["implementation"] == ORACLE]
    scale = Decades(pd.concat([table["error"], oracle["floor"], oracle["allowance"]]))
    position, floor, allowance = (oracle[column].to_numpy(float) for column in ("position", "floor", "allowance"))
    floor, allowance = scale.place(floor), scale.place(allowance)
    axes.fill_between(position, scale.bottom, floor, color=FLOOR, linewidth=0, label="noise floor")
    axes.fill_between(position, floor, allowance, color=ALLOWANCE, linewidth=0, label="allowance")
    for _, own, look in _by_implementation(table, implementations):
        axes.plot(own["position"], scale.place(own["error"]), **look)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderpad=0)
    axes.set(ylabel="relative error", yscale="log")
    scale.apply(axes.yaxis)


def margins(records: pd.DataFrame, implementations: Sequence[str], title: str) -> Figure:
    """Errors in units of their allowances: for each check and implementation from the median to the worst."""
    checks = [check for check in LADDER if check in set(records["check"])]
    told = records.groupby(["implementation", "check"])["error_per_allowance"].agg(["median", "max"]).reset_index()
    scale = Decades([*told["median"], *told["max"], 1.0], least=LEAST_MARGIN)
    count = len(implementations)
    offsets = (np.arange(count) - (count - 1) / 2) * min(BESIDE, SPREAD / count)
    with styled():
        figure = Figure(figsize=(WIDTH, 0.8 + 0.3 * len(checks)))
        axes = figure.subplots()
        axes.axvline(1.0, color="black", linewidth=0.6, linestyle="-", marker="", clip_on=False)
        for name, own, look in _by_implementation(told, implementations):
            rows = own["check"].map(checks.index) + offsets[list(implementations).index(name)]
            worst = scale.place(own["max"])
            axes.hlines(rows, scale.place(own["median"]), worst, color=look["color"], linewidth=0.8)
            axes.plot(worst, rows, label=name, **look | {"linestyle": "", "markevery": None})
        axes.set_yticks(range(len(checks)), [check.replace("_", " ") for check in checks])
        axes.set(
            title=_wrapped(title),
            xlabel="error / allowance, median to worst",
            ylim=(len(checks) - 0.5, -0.5),
            xscale="log",
        )
        scale.apply(axes.xaxis)
        _add_legend(figure, axes)
    return figure


def accuracy(table: pd.DataFrame, implementations: Sequence[str], title: str) -> Figure:
    """Accuracy on training and test examples after every epoch that was watched; after the last alone, side by side."""
    if table["position"].nunique() == 1:
        return _final_accuracy(table, implementations, title)
    quantities = list(table["quantity"].unique())
    with styled():
        figure = Figure(figsize=(WIDTH, 0.8 + 1.3 * len(quantities)))
        panels = figure.subplots(len(quantities), sharex=True, squeeze=False)[:, 0]
        for axes, quantity in zip(panels, quantities, strict=True):
            _draw_curves(axes, table[table["quantity"] == quantity], implementations)
            axes.set_ylabel(f"{quantity} (%)")
        panels[0].set_title(_wrapped(title))
        _count_along(panels[-1], "epoch")
        _add_legend(figure, panels[0])
    return figure


def over_seeds(table: pd.DataFrame, names: Sequence[str], margin: float, unit: str, title: str) -> Figure:
    """Two curves with the standard deviation of their seeds, and below them their difference beside a margin.

    ``table``: name, seed, position, value. ``margin``: of the difference at the end, drawn as a band about 0.
    """
    first, second = (
        table[table["name"] == name].pivot(index="position", columns="seed", values="value") for name in names
    )
    with styled():
        figure = Figure(figsize=(WIDTH, 3.4))
        above, below = figure.subplots(2, sharex=True)
        for place, (values, look) in enumerate(zip((first, second), mpl.rcParams["axes.prop_cycle"], strict=False)):
            _draw_band(above, values, names[place], look, place)
        above.set(title=_wrapped(title), ylabel="cost")
        below.axhspan(-margin, margin, color=ALLOWANCE, linewidth=0, label="margin")
        difference = f"{names[1]} - {names[0]}"
        is_short = len(difference) + len("margin") + 2 * HANDLE <= LINE
        _draw_band(below, second - first, difference if is_short else "the second - the first", {"color": "black"})
        below.set(ylabel="difference")
        below.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderpad=0)
        _count_along(below, unit)
        _add_legend(figure, above)
    return figure


def _draw_band(axes: Axes, values: pd.DataFrame, name: str, look: dict[str, Any], place: int = 0) -> None:
    """The mean over the seeds, which are the columns, and a band of one standard deviation on either side.

    The markers of lines in another ``place`` stand beside each other.
    """
    middle, spread, position = values.mean(axis=1), values.std(axis=1), values.index.to_numpy(float)
    axes.fill_between(position, middle - spread, middle + spread, color=look["color"], alpha=BAND, linewidth=0)
    distance = max(2, len(position) // MARKERS)
    axes.plot(position, middle, label=name, markevery=(place * distance // 2, distance), **look)


def _final_accuracy(table: pd.DataFrame, implementations: Sequence[str], title: str) -> Figure:
    """A row for each implementation, with a filled marker on training and an open one on test examples."""
    with styled():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.2 * len(implementations)))
        axes = figure.subplots()
        for quantity, found in table.groupby("quantity", sort=False):
            fill: dict[str, Any] = {} if quantity == "training accuracy" else {"markerfacecolor": "white"}
            for value in found.loc[found["implementation"] == ORACLE, "value"]:
                axes.axvline(value, **WIDE_LINE)
            axes.plot([], [], label=quantity, **{"color": "black", "marker": "o", "linestyle": "", **fill})
            for name, own, look in _by_implementation(found, implementations):
                row = list(implementations).index(name)
                axes.plot(own["value"], [row] * len(own), **{**look, "linestyle": "", "markevery": None, **fill})
        axes.plot([], [], label=ORACLE, **WIDE_LINE)
        axes.set_yticks(range(len(implementations)), implementations)
        axes.set(title=_wrapped(title), ylim=(len(implementations) - 0.5, -0.5))
        axes.set_xlabel(f"accuracy after epoch {table['position'].iloc[0]} (%)")
        _add_legend(figure, axes)
    return figure


class Decades:
    """A logarithmic axis that has a place for 0, apart below all else, and for infinity, apart above.

    What is smaller than ``least`` has the place of 0.
    """

    def __init__(self, values: "Iterable[float] | pd.Series[float]", least: float = 0.0) -> None:
        found = np.asarray(list(values), dtype=float)
        known = found[np.isfinite(found) & (found > least)]
        low, high = (known.min(), known.max()) if len(known) else (0.1, 1.0)
        self._has_least, self._has_infinity = bool((found <= least).any()), bool(np.isposinf(found).any())
        self._least = f"<{_power(round(np.log10(least)))}" if least else "0"
        self._first = max(int(np.floor(np.log10(low))), -LAST_DECADE)
        self._last = min(int(np.ceil(np.log10(high))), LAST_DECADE)
        self._step = max(1, -(-(self._last - self._first) // DECADES_SHOWN))
        self.bottom = 10.0 ** (self._first - self._has_least * self._step)
        self.top = 10.0 ** (self._last + self._has_infinity * self._step)

    def place(self, values: "Sequence[float] | NDArray[np.float64] | pd.Series[float]") -> NDArray[np.float64]:
        """Where values are drawn: what is 0 at the bottom, what is infinite at the top, what is NaN nowhere.

        >>> Decades([0.0, 3e-3, 2.0]).place([0.0, 3e-3, np.inf]).tolist()
        [0.0001, 0.003, 10.0]
        """
        found: NDArray[np.float64] = np.clip(np.asarray(values, dtype=float), self.bottom, self.top)
        return found

    def apply(self, axis: Axis) -> None:
        """Set the limits and the ticks of an axis."""
        ticks = {10.0**decade: _power(decade) for decade in range(self._last, self._first - 1, -self._step)}
        ticks |= {self.bottom: self._least} if self._has_least else {}
        ticks |= {self.top: "∞"} if self._has_infinity else {}
        axis.set_major_locator(ticker.FixedLocator(list(ticks)))
        axis.set_major_formatter(ticker.FixedFormatter(list(ticks.values())))
        axis.set_minor_locator(ticker.NullLocator())
        below, above = (10.0 ** (MARGIN * self._step * there) for there in (self._has_least, self._has_infinity))
        limits = (self.bottom / below, self.top * above)
        axis.axes.set(**{"xlim" if axis is axis.axes.xaxis else "ylim": limits})


def _power(decade: int) -> str:
    """A power of ten.

    >>> _power(-16), _power(0)
    ('10⁻¹⁶', '1')
    """
    return "1" if decade == 0 else "10" + str(decade).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _by_implementation(
    table: pd.DataFrame, implementations: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """Each implementation that the table has, with its rows and its look, which is the same in every figure of a run.

    Where lines lie on each other, their markers stand beside each other.
    """
    count = len(implementations)
    looks = islice(cycle(mpl.rcParams["axes.prop_cycle"]), count)
    for number, (name, look) in enumerate(zip(implementations, looks, strict=True)):
        own = table[table["implementation"] == name]
        if len(own):
            distance = max(len(own) // MARKERS, count)
            yield name, own, {**look, "markevery": (number * distance // count, distance)}


def _wrapped(title: str) -> str:
    return textwrap.fill(title, TITLE)


def _count_along(axes: Axes, what: str) -> None:
    axes.set_xlabel(what)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))


def _add_legend(figure: Figure, axes: Axes) -> None:
    """What the axes name, below the figure, in as many columns as there is room for."""
    handles, labels = axes.get_legend_handles_labels()
    widest = max(map(len, labels), default=0) + HANDLE
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(len(labels), LINE // widest)))


def _is_wide(values: "pd.Series[float]") -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and finite.min() > 0 and finite.max() > WIDE * finite.min()
