"""Figures: what is drawn, that it is the same bytes each time, and what is refused before anything is drawn."""

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from conformance.adapters.numpy import NumpyAdapter
from conformance.cli import app
from conformance.reports import gallery, plots
from conformance.reports.figures import Decades
from conformance.reports.plots import plot, save
from conformance.results.run import Run
from conformance.runs.plan import Plan

NAN, INF = float("nan"), float("inf")
DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def run(tmp_path_factory, carry_out, small_recipe, faulty_adapter):
    folder = tmp_path_factory.mktemp("run")
    carry_out(Plan(folder, [("file", small_recipe)], {}, ["float64"]), {"numpy": NumpyAdapter, "mine": faulty_adapter})
    return Run(folder)


def command(run, *arguments):
    return CliRunner().invoke(app, ["plot", str(run.folder), *map(str, arguments)])


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_curves_are_drawn_over_the_oracle_s(run):
    upper, lower = plot(run, "small").axes
    drawn = lines(upper)
    assert list(drawn) == ["oracle", "numpy", "mine"]
    curves = run.curves[run.curves["quantity"] == "cost"]
    for name, line in drawn.items():
        own = curves[curves["implementation"] == name]
        assert line.get_xdata().tolist() == own["position"].tolist()
        assert line.get_ydata().tolist() == own["value"].tolist()
    assert (upper.get_ylabel(), lower.get_ylabel(), lower.get_xlabel()) == ("cost", "relative error", "step")
    assert lower.get_yscale() == "log"


def test_below_them_are_their_errors_with_the_floor_and_the_allowance_as_bands(run):
    _, lower = plot(run, "small").axes
    curves = run.curves[run.curves["quantity"] == "cost"]
    numpy_line, faulty_line = lower.get_lines()
    faulty = curves[curves["implementation"] == "mine"]
    assert (faulty["error"] > faulty["allowance"]).any()
    there = faulty["error"].to_numpy() > 0
    assert faulty_line.get_ydata()[there].tolist() == faulty["error"][there].tolist()
    (zero,) = set(numpy_line.get_ydata())  # of the reference itself, in the oracle's precision
    labels = dict(zip(lower.get_yticks(), [text.get_text() for text in lower.get_yticklabels()], strict=True))
    assert labels[zero] == "0"
    floor, allowance = (band.get_paths()[0].vertices for band in lower.collections)
    oracle = curves[curves["implementation"] == "oracle"]
    assert floor[:, 1].max() == oracle["floor"].max()
    assert allowance[:, 1].max() == oracle["allowance"].max()
    assert [text.get_text() for text in lower.get_legend().get_texts()] == ["noise floor", "allowance"]


def test_a_quantity_that_is_not_compared_has_no_lower_panel(run):
    (axes,) = plot(run, "small", quantity="mean cost").axes
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("mean cost", "epoch")


def test_margins_are_the_worst_and_the_median_of_each_check_and_implementation(run):
    (axes,) = plot(run, what="margins").axes
    drawn = lines(axes)
    checks = [text.get_text() for text in axes.get_yticklabels()]
    assert checks[:3] == ["initialization", "forward", "loss"]
    worst = run.records[run.records["implementation"] == "mine"].groupby("check")["error_per_allowance"].max()
    x, y = drawn["mine"].get_data()
    assert x[np.round(y) == checks.index("update")].tolist() == [worst["update"]]
    assert worst["update"] > 1
    assert plot(run, "small", what="margins").axes[0].get_title(loc="left") == "small, float64"
    assert axes.get_title(loc="left") == "all recipes, float64"


def test_accuracies_at_the_end_are_side_by_side(run):
    (axes,) = plot(run, "small", what="accuracy").axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["numpy", "mine"]
    assert axes.get_xlabel() == "accuracy after epoch 2 (%)"


def test_accuracies_of_watched_epochs_are_curves(run):
    curves = run.curves[run.curves["quantity"] == "training accuracy"]
    watched = pd.concat([curves.assign(position=epoch, value=50.0 + epoch) for epoch in (1, 2)])
    watched = pd.concat([watched, watched.assign(quantity="test accuracy")])
    other = Run(run.folder)
    other.__dict__["curves"] = watched
    upper, lower = plot(other, "small", what="accuracy").axes
    assert lines(lower)["numpy"].get_ydata().tolist() == [51.0, 52.0]
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("training accuracy (%)", "test accuracy (%)")


def test_a_training_that_leaves_the_range_of_numbers_can_be_drawn(run, tmp_path):
    curves, other = run.curves.copy(), Run(run.folder)
    costs = (curves["quantity"] == "cost") & (curves["implementation"] == "mine")
    curves.loc[costs, "value"] = np.resize([1.0, 1e150, 1e307, INF, NAN], costs.sum())
    curves.loc[costs, "error"] = np.resize([0.0, 1e150, 1e307, INF, NAN], costs.sum())
    other.__dict__["curves"] = curves
    upper, lower = plot(other, "small").axes
    assert upper.get_yscale() == "log"
    assert [text.get_text() for text in lower.get_yticklabels()][-2:] == ["0", "∞"]
    save(plot(other, "small"), tmp_path / "figure.png")


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_the_same_figure_is_the_same_bytes_without_a_date(run, tmp_path, kind):
    files = [tmp_path / f"{n}.{kind}" for n in (1, 2)]
    for file in files:
        save(plot(run, "small"), file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert not re.search(rb"dc:date|CreationDate|20\d\d-\d\d-\d\d", first)


def test_every_implementation_has_a_colour_a_line_and_a_marker_of_its_own(run):
    drawn = [line for name, line in lines(plot(run, "small").axes[0]).items() if name != "oracle"]
    for look in ("get_color", "get_linestyle", "get_marker"):
        assert len({getattr(line, look)() for line in drawn}) == len(drawn)
    assert drawn[0].get_color() == "#0072B2"


def test_the_user_s_own_style_is_neither_used_nor_changed(run, tmp_path):
    with mpl.rc_context({"font.size": 33, "svg.hashsalt": None}):
        before = dict(mpl.rcParams)
        save(plot(run, "small"), tmp_path / "mine.svg")
        assert dict(mpl.rcParams) == before
    save(plot(run, "small"), tmp_path / "plain.svg")
    assert (tmp_path / "mine.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()


def test_the_command_writes_the_figure_and_writes_it_again(run, tmp_path):
    file = tmp_path / "figure.svg"
    file.write_text("an older one")
    result = command(run, "--recipe", "small", "--quantity", "gradient norm", "-o", file)
    assert (result.exit_code, result.stdout) == (0, f"figure: {file}\n")
    assert file.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "smal", "-o", "a.svg"], "recipe='smal' is not allowed of "),
        (["--recipe", "smal", "-o", "a.svg"], "must be one of 'small'; did you mean 'small'?"),
        (["--recipe", "small", "--quantity", "costs", "-o", "a.svg"], "did you mean 'cost'"),
        (["--recipe", "small", "--quantity", "informative steps", "-o", "a.svg"], "'informative steps' is not allowed"),
        (["--recipe", "small", "--dtype", "float32", "-o", "a.svg"], "dtype='float32' is not allowed of"),
        (["--recipe", "small", "--what", "margin", "-o", "a.svg"], "what='margin' is not allowed: must be one of"),
        (["-o", "a.svg"], "recipe is not given: must be one of the run's"),
        (["--recipe", "small", "-o", "a.gif"], "file='.gif' is not allowed: must be one of '.svg', '.png', '.pdf'"),
        (["--recipe", "small", "-o", "figure"], "ending of the figure's file='' is not allowed"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_with_what_is(run, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command(run, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_ending_is_refused_before_the_run_is_read(tmp_path):
    result = CliRunner().invoke(app, ["plot", str(tmp_path / "nowhere"), "--recipe", "small", "-o", "a.gif"])
    assert "'.gif' is not allowed" in result.stderr
    result = CliRunner().invoke(app, ["plot", str(tmp_path / "nowhere"), "--recipe", "small", "-o", "a.svg"])
    assert (result.exit_code, "is not the folder of a run" in result.stderr) == (2, True)


def test_a_figure_that_cannot_be_written_is_said(run, tmp_path):
    result = command(run, "--recipe", "small", "-o", tmp_path / "nowhere" / "a.svg")
    assert result.exit_code == 2
    assert "must be a file that can be written: " in result.stderr
    assert result.stderr.endswith(" is no folder\n")


def test_without_matplotlib_the_command_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    result = command(run, "--recipe", "small", "-o", "a.svg")
    assert result.exit_code == 2
    assert "matplotlib not found; a figure needs: pip install '.[plot]'" in result.stderr


@pytest.mark.parametrize("values", [[], [NAN], [0.0], [INF, 0.0], [1e-300, 1e300, 0, INF], [0.5, 0.5]])
def test_a_logarithmic_axis_has_a_place_for_everything(values):
    scale = Decades(values)
    placed = scale.place([0.0, 1e-12, 1.0, INF])
    assert 0 < scale.bottom <= placed.min() < placed.max() <= scale.top < INF
    assert np.isnan(scale.place([NAN])).all()
    axes = Figure().subplots()
    axes.set_yscale("log")
    scale.apply(axes.yaxis)
    low, high = axes.get_ylim()
    assert 0 < low <= scale.bottom < scale.top <= high < INF


def test_what_is_less_than_the_least_has_the_place_of_zero():
    scale = Decades([1e-9, 1e-3, 1.0], least=1e-4)
    assert scale.place([1e-9, 0.0, 1e-3]).tolist() == [1e-4, 1e-4, 1e-3]


def test_the_gallery_shows_every_figure_that_its_command_makes_and_no_other():
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]+\]\(figures/([^)]+)\)", page)
    sizes = {file.name: file.stat().st_size for file in (DOCS / "figures").iterdir()}
    del sizes["benchmarks.svg"]  # of docs/benchmarks.md
    assert set(shown) == set(gallery.FIGURES) == set(sizes)
    assert max(sizes.values()) < 200_000
