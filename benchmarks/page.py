"""The page ``docs/benchmarks.md``: ``template.md``, filled in from the frames of a measurement."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.frames import CELL, WIDE, Measured, is_wide
from benchmarks.processes import KERAS_EPOCHS
from benchmarks.profiling import CALL, STEPS
from benchmarks.workloads import COLD, DENSE, LAYERED, DenseWorkload, LayerWorkload

GOAL = 1.1  # of a ratio to the best: cells above are explained
TEMPLATE = Path(__file__).parent / "template.md"
# The quantities of what is cold, each with its unit and how many of these a second or a megabyte are.
QUANTITIES = {"import": ("s", 1), "first step": ("s", 1), "second step": ("ms", 1000), "peak memory": ("MB", 1)}

AnyWorkload = DenseWorkload | LayerWorkload


def page(measured: Measured) -> str:
    """The page as Markdown."""
    processes = measured.rounds["process"].nunique()
    return TEMPLATE.read_text(encoding="utf-8").format(
        machine=machine_line(measured.machine),
        processes="one process" if processes == 1 else f"{processes} processes, one",
        wide=wide_line(measured.times),
        keras_epochs=KERAS_EPOCHS,
        dense="\n".join([*sizes(DENSE), *tables(measured.times, DENSE)]),
        layers="\n".join([*sizes(LAYERED), *tables(measured.times, LAYERED)]),
        goal=GOAL,
        profile="\n".join(profile_table(explained(measured))),
        cold_data=round(COLD.inputs().nbytes / 1e6),
        cold="\n".join(cold_table(measured.cold)),
    )


def machine_line(machine: dict[str, Any]) -> str:
    """The machine in words."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}, "
        f"{packages}; device: {machine['device']}; the machine's load before was {machine['load before']}"
    )


def wide_line(times: pd.DataFrame) -> str:
    """Whether the machine was too busy, in words."""
    wide = int(is_wide(times).sum())
    if wide == 0:
        return f"No ratio has quartiles more than {WIDE:.0%} apart."
    return (
        f"The quartiles of {wide} of {len(times)} ratios are more than {WIDE:.0%} apart: "
        "these are marked `~`, and not to be relied on."
    )


def sizes(workloads: Iterable[AnyWorkload]) -> Iterator[str]:
    """What each workload is."""
    columns = ["workload", "network", "examples", "batch", "parameters"]
    yield from table(columns, [(w.name, described(w), w.examples, batch(w), parameters(w)) for w in workloads])


def described(workload: AnyWorkload) -> str:
    """The network in a few words."""
    if isinstance(workload, DenseWorkload):
        activation = f", {workload.activation}" if len(workload.layer_sizes) > 2 else ""
        return "-".join(map(str, workload.layer_sizes)) + activation
    shape = " x ".join(map(str, workload.input_shape))
    return f"{workload.description}; {'tokens' if workload.vocabulary else 'inputs'} {shape}"


def batch(workload: AnyWorkload) -> str:
    """Its size."""
    return "all" if workload.is_full_batch else str(workload.batch_size)


def parameters(workload: AnyWorkload) -> str:
    """How many there are."""
    return f"{sum(value.size for value in workload.initial().values()):,}"


def tables(times: pd.DataFrame, workloads: Sequence[AnyWorkload]) -> Iterator[str]:
    """A table for each framework: the time of ``fit``, and its ratio to each of the others."""
    chosen = times[times["workload"].isin([workload.name for workload in workloads])]
    for framework, own in chosen.groupby("framework", sort=False):
        others = [name for name in dict.fromkeys(own["contender"]) if name != "fit"]
        rows = [
            (name, *cells(of_workload.set_index("contender"), others))
            for name, of_workload in own.groupby("workload", sort=False)
        ]
        yield from ("", f"### {framework}", "")
        yield from table(["workload", "fit: µs a step", *(f"fit / {name}" for name in others)], rows)


def cells(by_contender: pd.DataFrame, others: Sequence[str]) -> Iterator[str]:
    """A workload's time of ``fit`` and its ratios."""
    yield ranged(*by_contender.loc["fit", ["microseconds", "microseconds_lower", "microseconds_upper"]])
    wide = is_wide(by_contender)
    for name in others:
        ratio = ranged(*by_contender.loc[name, ["ratio", "interval_lower", "interval_upper"]])
        yield f"~{ratio}" if wide[name] else ratio


def explained(measured: Measured) -> pd.DataFrame:
    """The profiles of the cells in which ``fit`` takes longer than the best by more than the goal."""
    times = measured.times
    slow = times[times["contender"].eq("best") & times["ratio"].gt(GOAL)]
    return measured.profile.merge(slow[CELL[:3]], on=CELL[:3])


def profile_table(profile: pd.DataFrame) -> Iterator[str]:
    """Of every workload ``fit`` beside the best: the time of steps, of the call, and of the longest functions."""
    rows = []
    for (framework, workload, contender), own in profile.groupby(["framework", "workload", "contender"], sort=False):
        by_part = dict(zip(own["part"], own["microseconds"], strict=True))
        steps, call = by_part.pop(STEPS), by_part.pop(CALL)
        longest = ", ".join(f"`{part}` {digits(time)}" for part, time in by_part.items())
        rows.append((framework, workload, contender, digits(steps), digits(max(call, 0.0)), longest))
    return table(
        ["framework", "workload", "", "steps, µs each", "the call, µs a step", "longest functions, µs a step"], rows
    )


def cold_table(cold: pd.DataFrame) -> Iterator[str]:
    """Imports, first and second steps, and memory."""
    rows = []
    for (framework, what), own in cold.groupby(["framework", "what"], sort=False):
        found = own.set_index("quantity")[["median", "least", "most"]]
        in_units = [found.loc[q] * factor if q in found.index else None for q, (_, factor) in QUANTITIES.items()]
        rows.append((framework, what, *("" if values is None else ranged(*values) for values in in_units)))
    return table(["framework", "what", *(f"{name}, {unit}" for name, (unit, _) in QUANTITIES.items())], rows)


def ranged(value: float, least: float, most: float) -> str:
    """A number with the range that it is in, in three digits.

    >>> ranged(1.2345, 1.1, 1234.5)
    '1.23 (1.1 to 1230)'
    """
    return f"{digits(value)} ({digits(least)} to {digits(most)})"


def digits(value: float) -> str:
    """Three of them, without an exponent."""
    return f"{float(f'{value:.3g}'):g}"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a table in Markdown."""
    for cells in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(map(str, cells))} |"
