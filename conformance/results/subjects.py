"""What came of the frameworks' built-ins: to which formulation each is equal, to how many digits, and what is known.

``known_differences.toml`` beside this file holds the differences that are known and documented, each with its reason:
they count for nothing, and one that is there no longer counts as a failure, since its row must go.
"""

import fnmatch
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conformance.recipes.recipe import DTYPES
from conformance.results.frames import not_passing
from conformance.results.known import Difference, load_known, stale
from conformance.results.schema import typed
from conformance.verdicts.compare import Verdict
from conformance.verdicts.order import LADDER

FILE = Path(__file__).with_name("known_differences.toml")
EQUAL, KNOWN, DIFFERS, STALE, NOT_OFFERED, MISSING = (
    "equal", "known difference", "differs", "stale", "not offered", "missing",
)  # fmt: skip
FAILING = (DIFFERS, STALE)
# Where each kind is alone, a check and in it some tensors: the errors there say to how many digits two agree. The first
# of several where something was compared; optax's schedules, which are inside an optimizer, do not show their rates.
OF_DIGITS: Mapping[str, Sequence[tuple[str, str]]] = {
    "optimizers": [("update", "*")], "losses": [("loss", "*")], "activations": [("forward", "*")],
    "normalizations": [("forward", "*")], "layers": [("forward", "*")], "regularizers": [("teacher_forced", "*")],
    "schedules": [("free_running", "learning rate"), ("update", "*")],
}  # fmt: skip

Row = Mapping[Any, Any]


@cache
def known_differences() -> tuple[Difference, ...]:
    """The differences of built-ins that are known; their ``subject`` is a pattern of a built-in's name."""
    return tuple(load_known(FILE))


def is_known(record: Row, subjects: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a record is of a built-in's known difference. ``subjects``: those of the run's plan, by recipe."""
    return bool(_covering(record, _subject_of(record, subjects)))


def without_known(records: pd.DataFrame, subjects: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The records but those that fail by a known difference."""
    if not subjects:
        return records
    failing = not_passing(records)
    rows = zip(failing.index, failing.to_dict("records"), strict=True)
    return records.drop(index=[index for index, row in rows if is_known(row, subjects)])


def subjects_frame(
    records: pd.DataFrame, subjects: Mapping[str, Mapping[str, str]], checks: Collection[str] = LADDER
) -> pd.DataFrame:
    """A row for each built-in of a run. ``checks``: those that the run makes."""
    groups = dict(iter(records.groupby(["recipe", "implementation"], sort=False)))
    rows = []
    for recipe, told in subjects.items():
        own = groups.get((recipe, told["implementation"]), records.iloc[:0])
        verdict, reason = outcome(own, told["subject"], checks)
        if verdict == EQUAL and told.get("note"):
            reason = f"here; elsewhere: {told['note']}"
        alone = _alone(own, told["kind"])
        digits = {f"digits_{dtype}": _digits(alone[alone["dtype"] == dtype]) for dtype in DTYPES}
        release = own["framework_version"].iloc[0] if len(own) else ""
        rows.append({**told, "recipe": recipe, "version": release, **digits, "verdict": verdict, "reason": reason})
    return typed("subjects", pd.DataFrame(rows))


def outcome(records: pd.DataFrame, subject: str, checks: Collection[str] = LADDER) -> tuple[str, str]:
    """What came of one built-in in these checks, and what there is to say of it."""
    offered = records[records["verdict"] != Verdict.UNSUPPORTED]
    if records.empty:
        return MISSING, ""
    if offered.empty:
        return NOT_OFFERED, "; ".join(dict.fromkeys(records["cause"]))
    failing = not_passing(records).to_dict("records")
    whole = [each for each in known_differences() if set(fnmatch.filter(LADDER, each.check)) <= set(checks)]
    gone = [str(each) for each in stale(whole, subject, offered.to_dict("records"), failing)]
    unknown = [row for row in failing if not _covering(row, subject)]
    if unknown:
        first = unknown[0]
        return DIFFERS, f"{first['check']} in {first['dtype']}: {first['cause']}"
    if gone:
        return STALE, "; ".join(f"{each} no longer differs: its row must go" for each in gone)
    if failing:
        return KNOWN, "; ".join(dict.fromkeys(each.reason for row in failing for each in _covering(row, subject)))
    return EQUAL, ""


def _covering(record: Row, subject: str) -> Sequence[Difference]:
    return [each for each in known_differences() if each.covers(subject, record)]


def _subject_of(record: Row, subjects: Mapping[str, Mapping[str, str]]) -> str:
    """The name of the built-in that a record is of; "" for a record of anything else."""
    found = subjects.get(record["recipe"], {})
    return found["subject"] if found.get("implementation") == record["implementation"] else ""


def _alone(records: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The records that are of a built-in of a kind alone."""
    compared = records[records["error"].notna()]
    for check, tensors in OF_DIGITS.get(kind, ()):
        inside = compared["tensor"].map(lambda name, pattern=tensors: fnmatch.fnmatchcase(name, pattern)).astype(bool)
        found = compared[(compared["check"] == check) & inside]
        if len(found):
            return found
    return records.iloc[:0]


def _digits(records: pd.DataFrame) -> float:
    """To how many decimal digits the tensors agree that are compared one by one; NaN where none is."""
    if records.empty:
        return float("nan")
    least = np.finfo(records["dtype"].iloc[0]).eps / 2
    return float(-np.log10(max(records["error"].max(), least)))


def stale_of(frame: pd.DataFrame) -> Iterator[str]:
    """The reasons of those built-ins of the frame ``subjects`` whose known difference is no more."""
    yield from frame["reason"][frame["verdict"] == STALE]
