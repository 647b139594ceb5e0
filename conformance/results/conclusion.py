"""What a run came to, in a line."""

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from conformance.adapters.registry import OWN
from conformance.results.frames import not_passing
from conformance.results.paths import short
from conformance.results.schema import VERDICTS


def counted(records: pd.DataFrame) -> str:
    """How many records there are of each verdict: ``12 pass, 1 fail``."""
    counts = records["verdict"].value_counts()
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts)


def conclusion(records: pd.DataFrame, incomplete: str, offering_nothing: Collection[str]) -> str:
    """Whether every implementation conforms, or what stands against it."""
    failing = len(not_passing(records))
    if incomplete:
        result = f"INCOMPLETE: {incomplete}"
    elif offering_nothing:
        names = ", ".join(offering_nothing)
        result = f"Nothing of {names} was compared: nothing that was asked for is offered"
    else:
        return f"{failing} records did not pass" if failing else "Every implementation conforms"
    return result + (f". {failing} records did not pass" if failing else "")


def command_again(row: Mapping[Any, Any], environment: Mapping[str, Any], folder: Path) -> str:
    """The command line that runs a failing check again; of a recipe in a file, the one that looks into the run."""
    if row["suite"] == "file":
        return command_to_explain(row, folder)
    name, device = row["implementation"], environment.get("device", "cpu")
    target = name if name in OWN else environment.get("implementations", {}).get(name, name)
    parts = ["conformance", "run", "--recipe", row["recipe"], "--implementation", target, "--dtype", row["dtype"]]
    return shlex.join([*parts, "--check", row["check"], *([] if device == "cpu" else ["--device", device])])


def command_to_explain(row: Mapping[Any, Any], folder: Path) -> str:
    """The command line that says why something did not pass."""
    parts = ["conformance", "explain", str(short(folder)), row["recipe"], "--implementation", row["implementation"]]
    return shlex.join(parts)
