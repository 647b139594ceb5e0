"""What was measured, as frames: every round, the times made of them, and what is cold."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.timing import Spread, median_interval, paired_ratios, pooled

CELL = ["framework", "device", "workload", "contender"]
ROUNDS = ["process", *CELL, "round", "seconds"]
TIMES = [
    *CELL, "rounds", "microseconds", "microseconds_lower", "microseconds_upper",
    "ratio", "ratio_lower", "ratio_upper", "interval_lower", "interval_upper",
]  # fmt: skip
PROFILE = ["framework", "device", "workload", "contender", "part", "microseconds"]
COLD = ["framework", "device", "what", "quantity", "processes", "median", "least", "most"]

FRAMES = ("rounds", "times", "cold", "profile")
WIDE = 0.2  # quartiles of a ratio so far apart, in medians: a busy machine, and not to be relied on


class Measured(NamedTuple):
    """What a run of the benchmarks leaves: ``machine`` describes on what."""

    rounds: pd.DataFrame
    times: pd.DataFrame
    cold: pd.DataFrame
    profile: pd.DataFrame
    machine: dict[str, Any]

    def write(self, folder: Path) -> None:
        """As CSV and JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in FRAMES:
            write_frame(getattr(self, name), folder / f"{name}.csv")
        (folder / "machine.json").write_text(json.dumps(self.machine, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Measured":
        """What :meth:`write` wrote. Raises FileNotFoundError where it did not."""
        rounds, times, cold, profile = (pd.read_csv(folder / f"{name}.csv") for name in FRAMES)
        return cls(rounds, times, cold, profile, json.loads((folder / "machine.json").read_text(encoding="utf-8")))


def write_frame(frame: pd.DataFrame, file: Path) -> None:
    """Five digits are more than any time has."""
    frame.to_csv(file, index=False, float_format="%.5g", lineterminator="\n")


def rounds_frame(findings: Iterable[tuple[int, str, str, dict[str, Any]]]) -> pd.DataFrame:
    """A row for each round, from ``(process, framework, device, finding of the task times)``: seconds of a step."""
    rows = [
        (process, framework, device, found["workload"], found["contender"], turn, seconds)
        for process, framework, device, found in findings
        for turn, seconds in enumerate(found["seconds"])
    ]
    return pd.DataFrame(rows, columns=ROUNDS)


def times_frame(rounds: pd.DataFrame) -> pd.DataFrame:
    """A row for each contender: its time of a step, and ``fit``'s in units of it, paired round by round.

    ``lower`` and ``upper`` are quartiles, the outermost of any process; ``interval_`` is that of confidence, 0.95, for
    the median ratio.
    """
    rows = []
    for cell, own in rounds.groupby(CELL, sort=False):
        framework, device, workload, _ = cell
        at = rounds[CELL[:3]].eq([framework, device, workload]).all(axis=1) & rounds["contender"].eq("fit")
        seconds, of_fit = by_process(own), by_process(rounds[at])
        ratios = [paired_ratios(a, b) for a, b in zip(of_fit, seconds, strict=True)]
        every = [ratio for process in ratios for ratio in process]
        time, ratio = pooled([[1e6 * s for s in process] for process in seconds]), pooled(ratios)
        rows.append((*cell, len(every), *_in_columns(time), *_in_columns(ratio), *median_interval(every)))
    return pd.DataFrame(rows, columns=TIMES)


def by_process(rounds: pd.DataFrame) -> list[list[float]]:
    """The seconds of each process, round after round."""
    return [list(own["seconds"]) for _, own in rounds.groupby("process", sort=True)]


def cold_frame(findings: Iterable[tuple[str, str, str, dict[str, float]]]) -> pd.DataFrame:
    """A row for each quantity, from ``(framework, device, what, finding)``, one for each process."""
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for framework, device, what, found in findings:
        for quantity, value in found.items():
            values.setdefault((framework, device, what, quantity), []).append(value)
    rows = [(*key, len(each), statistics.median(each), min(each), max(each)) for key, each in values.items()]
    return pd.DataFrame(rows, columns=COLD)


def profile_frame(findings: Iterable[tuple[str, str, dict[str, Any]]]) -> pd.DataFrame:
    """A row for each part, from ``(framework, device, finding of the task profile)``: microseconds of a step."""
    rows = [
        (framework, device, found["workload"], found["contender"], found["part"], 1e6 * found["seconds"])
        for framework, device, found in findings
    ]
    return pd.DataFrame(rows, columns=PROFILE)


def is_wide(times: pd.DataFrame) -> "pd.Series[bool]":
    """Whether a ratio's quartiles are so far apart that it is not to be relied on."""
    return (times["ratio_upper"] - times["ratio_lower"]) / times["ratio"] > WIDE


def _in_columns(spread: Spread) -> tuple[float, float, float]:
    return spread.median, spread.lower, spread.upper
