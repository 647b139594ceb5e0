"""The atlas made: the frameworks asked in two processes at a time, the surprises and the faults; and its files."""

import io
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

from conformance.adapters.whole_files import write_whole
from conformance.atlas.collecting import Progress, of_framework
from conformance.atlas.evidence import Atlas, Evidence, Fault
from conformance.atlas.faults import known, seen
from conformance.atlas.page import html, markdown
from conformance.atlas.surprises import surprises
from conformance.atlas.survey import FRAMEWORKS, KINDS
from conformance.reports import left_out
from conformance.results.schema import write_csv
from conformance.runs.interpreter import Interpreter

AT_ONCE = 2
# The longest first, so that none is begun last.
ORDER = ("optax", "keras", "torch", "jax")

Found = tuple[dict[str, str], list[Evidence], list[Fault]]


def make(
    frameworks: Sequence[str] = FRAMEWORKS,
    kinds: Sequence[str] = KINDS,
    interpreter: Interpreter | None = None,
    progress: Progress = print,
) -> Atlas:
    """The atlas of what an interpreter has of some frameworks. Raises BadInput where it cannot be asked.

    ``progress`` is told a line for each built-in; with more than one framework it must be a function of a module.
    """
    python = interpreter or Interpreter()
    found = dict(_found(frameworks, kinds, python, progress))
    evidence = [each for name in frameworks for each in found[name][1]]
    faults = [each for name in frameworks for each in found[name][2]]
    return Atlas({name: found[name][0] for name in frameworks}, evidence, faults, surprises(evidence))


def _found(
    frameworks: Sequence[str], kinds: Sequence[str], python: Interpreter, progress: Progress
) -> Iterator[tuple[str, Found]]:
    if len(frameworks) == 1:
        yield frameworks[0], one_framework(frameworks[0], kinds, python, progress)
        return
    context = multiprocessing.get_context("spawn")
    at_an_interrupt = (signal.SIGINT, signal.SIG_DFL)  # they end without a word: the command says it
    with ProcessPoolExecutor(AT_ONCE, context, initializer=signal.signal, initargs=at_an_interrupt) as pool:
        order = sorted(frameworks, key=ORDER.index)
        begun = {name: pool.submit(one_framework, name, kinds, python, progress) for name in order}
        try:
            for name, asked in begun.items():
                yield name, asked.result()
        except BaseException:
            for process in multiprocessing.active_children():  # else what is asked for is waited for
                process.terminate()
            raise


def one_framework(framework: str, kinds: Sequence[str], python: Interpreter, progress: Progress) -> Found:
    """What there is of one framework: versions, evidence and faults. Raises BadInput."""
    versions, evidence = of_framework(framework, kinds, python, progress)
    if not versions:
        return versions, evidence, []
    rows = [row for row in known() if row.framework == framework]
    progress(f"{framework}: {len(rows)} known faults")
    return versions, evidence, seen(rows, python)


def write(atlas: Atlas, folder: Path) -> list[Path]:
    """Write ``atlas.html``, ``atlas.md`` and the tables, which are returned. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "atlas.html", html(atlas).encode())
    write_whole(folder / "atlas.md", markdown(atlas).encode())
    written = [folder / "atlas.html", folder / "atlas.md"]
    for name, frame in atlas.frames().items():
        written += _write_table(frame, folder / name)
    return written


def _write_table(frame: pd.DataFrame, path: Path) -> list[Path]:
    table, columns = path.with_suffix(".csv"), path.with_suffix(".parquet")
    write_csv(frame, table)
    if left_out():
        columns.unlink(missing_ok=True)
        return [table]
    held = io.BytesIO()
    frame.to_parquet(held, engine="pyarrow", index=False)
    write_whole(columns, held.getvalue())
    return [table, columns]
