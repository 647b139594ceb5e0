"""What failed in a run is explained at its end, as far as a little time goes, by a process that may be lost."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from conformance.diagnosis.explain import Failing, failing, not_explained
from conformance.results.run import Run
from conformance.results.store import Explained, Store
from conformance.runs.environment import WORKER_ENVIRONMENT
from conformance.runs.groups import kill_group
from conformance.runs.plan import EXPLAIN_SECONDS
from conformance.runs.pool import Progress
from conformance.runs.warden import Warden

NAME = "diagnosis"  # among those whose progress is shown
MOST = 12  # recipes and implementations that are explained, each in one precision


def explain_failures(
    store: Store, scratch: Path, warden: Warden, progress: Progress, seconds: float = EXPLAIN_SECONDS
) -> None:
    """Explain the first failures of a run, but for what is explained already, as far as some seconds go.

    ``scratch``: a folder for temporary files. Raises OSError, StoreError.
    """
    known = set(store.select("SELECT recipe, implementation FROM explanations"))
    chosen = [each for each in first_of(_unexpected(store)) if each[:2] not in known]
    if not chosen:
        return
    progress(NAME, 0, len(chosen))
    try:
        process = _begun(store, scratch)
    except OSError as error:
        store.explain(not_explained(chosen[0], f"the diagnosis could not begin: {error}"))
        return
    warden.watch(process.pid)
    timer = threading.Timer(seconds, kill_group, [process.pid])
    timer.start()
    told = 0
    try:
        for told, explained in enumerate(_answers(process, chosen), start=1):
            store.explain(explained)
            progress(NAME, told, len(chosen))
        ended = process.wait()
    finally:
        in_time = timer.is_alive()
        timer.cancel()
        kill_group(process.pid)
        process.wait()
        warden.forget(process.pid)
    if told < len(chosen) and in_time:
        store.explain(not_explained(chosen[told], f"the diagnosis ended with exit status {ended}"))


def _unexpected(store: Store) -> list[Failing]:
    """What failed, but for known differences of built-ins, whose cause is told with them."""
    failed = failing(store)
    if not store.fact("plan").get("subjects"):
        return failed
    rows = Run(store.folder).not_passing()[["recipe", "implementation", "dtype"]]
    unexpected = set(rows.itertuples(index=False, name=None))
    return [each for each in failed if tuple(each) in unexpected]


def first_of(failing: Iterable[Failing]) -> list[Failing]:
    """The first failures of each implementation in turn, each in one precision: float64, where it fails there."""
    turns: Counter[str] = Counter()
    chosen: dict[tuple[str, str], tuple[int, Failing]] = {}
    for each in sorted(failing, key=lambda each: each.dtype != "float64"):
        if each[:2] not in chosen:
            chosen[each[:2]] = turns[each.implementation], each
            turns[each.implementation] += 1
    in_turn = sorted(chosen.values(), key=lambda found: found[0])
    return [each for _, each in in_turn[:MOST]]


def _begun(store: Store, scratch: Path) -> "subprocess.Popen[str]":
    """The process that explains what it is asked for. Raises OSError."""
    return subprocess.Popen(
        [sys.executable, "-m", "conformance.diagnosis", str(store.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=os.environ | WORKER_ENVIRONMENT | {"TMPDIR": str(scratch)},
        start_new_session=True,
    )


def _answers(process: "subprocess.Popen[str]", asked: Iterable[Failing]) -> Iterator[Explained]:
    """What the process says, as far as it gets."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout as lines:
        try:
            with process.stdin as requests:
                requests.writelines(json.dumps(each) + "\n" for each in asked)
        except BrokenPipeError:
            return
        for line in lines:
            try:
                yield Explained(*json.loads(line))
            except (ValueError, TypeError):  # it was ended in the middle of a line
                return
