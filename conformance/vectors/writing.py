"""Writing a folder of vectors, and its kill matrix: which vector shows which mistake in which precision."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import conformance
from conformance.data.wording import nearest, shown
from conformance.diagnosis.explanation import EXPLAINED
from conformance.faults.mutant import Mutant
from conformance.recipes.recipe import DTYPES
from conformance.vectors.encoding import text
from conformance.vectors.files import RULES, SCHEMA_FILE, content, kit, rules
from conformance.vectors.formulations import Formulation, concerning, formulations
from conformance.vectors.selection import Selection, discriminates, select

MATRIX = "kill_matrix.csv"
Progress = Callable[[str, int, int], None]  # what, how many are done, of how many


class Row(NamedTuple):
    """A row of the kill matrix: a mistake in a precision.

    ``tests``: the tests of the file that show it. ``allowances``: by how many it moves what it moves most. ``note``:
    why no test shows it, if none does.
    """

    file: str
    mistake: str
    kind: str
    dtype: str
    tests: tuple[int, ...]
    allowances: float
    note: str


class Kit(NamedTuple):
    """What was written: for each file its formulation's vectors."""

    folder: Path
    selections: tuple[Selection, ...]
    bytes: int

    @property
    def matrix(self) -> list[Row]:
        """The kill matrix."""
        return [row for selection in self.selections for row in _rows(selection)]


class Unkilled(NamedTuple):
    """A known fault that no vector of any formulation of some components shows, and why."""

    fault: str
    components: tuple[str, ...]
    reason: str


def chosen(patterns: Iterable[str]) -> tuple[Formulation, ...]:
    """The formulations whose files, without ``.json``, match one of the patterns; all of them without a pattern.

    Raises ValueError for a pattern that matches none.
    """
    wanted = list(patterns)
    for pattern in wanted:
        if not any(_matches(each, pattern) for each in formulations()):
            names = [each.file.removesuffix(".json") for each in formulations()]
            known = [*dict.fromkeys(f"{name.partition('/')[0]}/*" for name in names), *names]
            near = nearest(pattern, known)
            raise ValueError(f"--select={shown(pattern)}: no file matches, as optimizer/adam or loss/* would{near}")
    return tuple(each for each in formulations() if not wanted or any(_matches(each, pattern) for pattern in wanted))


def _matches(formulation: Formulation, pattern: str) -> bool:
    return fnmatchcase(formulation.file.removesuffix(".json"), pattern.removesuffix(".json"))


def write(folder: Path, wanted: Sequence[Formulation], progress: Progress = lambda *_: None) -> Kit:
    """Write the vectors of formulations and all that goes with them; a kit that is there already is replaced.

    Raises ValueError for a folder that holds something else, and OSError where it cannot be written.
    """
    _check_free(folder)
    generator = f"framework-conformance {conformance.__version__}"
    selections = []
    for done, formulation in enumerate(wanted):
        progress("vectors", done, len(wanted))
        selections.append(select(formulation))
    progress("vectors", len(wanted), len(wanted))
    made = {selection.formulation.file: text(content(selection, generator)) for selection in selections}
    made |= {RULES: text(rules(generator)), **kit()}
    found = Kit(folder, tuple(selections), sum(len(written.encode()) for written in made.values()))
    made[MATRIX] = as_csv(found.matrix)
    for old in folder.glob("*/*.json"):
        if old.relative_to(folder).as_posix() not in made:
            old.unlink()
    for name, written in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(written, encoding="utf-8", newline="\n")
    return found


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file: must be a folder, or nothing yet")
    if folder.exists() and any(folder.iterdir()) and not (folder / SCHEMA_FILE).is_file():
        raise ValueError(f"{folder}: holds something else: must be empty, or hold vectors that are to be replaced")


def summary(selections: Iterable[Selection]) -> tuple[list[str], list[list[str]]]:
    """The kill matrix by file: columns, and for each formulation how many mistakes its tests show.

    Mistakes that make no difference with its keywords are not counted.
    """
    rows = []
    for selection in selections:
        shown_by = {
            dtype: [mistake.name for mistake in selection.mistakes
                    if dtype in mistake.dtypes and mistake.name in selection.shown]
            for dtype in DTYPES
        }  # fmt: skip
        killed = {
            dtype: sum((name, dtype) not in selection.missed for name in names) for dtype, names in shown_by.items()
        }
        counts = [f"{killed[dtype]} of {len(names)}" for dtype, names in shown_by.items()]
        alone = [
            "+".join(str(sum(discriminates(vector, name) for name in selection.shown)) for vector in selection.vectors)
        ]
        rows.append([selection.formulation.file, str(len(selection.vectors)), *counts, *alone])
    return ["file", "tests", *(f"shown in {dtype}" for dtype in DTYPES), "by each test"], rows


def as_csv(matrix: Iterable[Row]) -> str:
    """The kill matrix as a table of text; numbers of tests are separated by spaces."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in matrix:
        writer.writerow([*row[:4], " ".join(map(str, row.tests)), f"{row.allowances:.3g}", row.note])
    return table.getvalue()


def _rows(selection: Selection) -> Iterable[Row]:
    for mistake in selection.mistakes:
        for dtype in mistake.dtypes:
            ratios = [vector.ratios[mistake.name, dtype] for vector in selection.vectors]
            tests = tuple(number for number, ratio in enumerate(ratios, start=1) if ratio > EXPLAINED)
            most = selection.missed.get((mistake.name, dtype), max(ratios))
            kind = "fault" if mistake.edits else "other formulation"
            note = "" if tests else _note(mistake.name in selection.alike, most, dtype)
            yield Row(selection.formulation.file, mistake.name, kind, dtype, tests, most, note)


def _note(alike: bool, most: float, dtype: str) -> str:
    if alike:
        return "makes no difference with these keywords"
    return f"moves {most:.2g} allowances of {dtype} at most, in any situation; {EXPLAINED:.0f} are needed"


def unkilled(selections: Sequence[Selection]) -> list[Unkilled]:
    """The known faults that no vector shows, of the components of which every formulation is there."""
    found: dict[tuple[str, str], list[str]] = {}
    for component, mine in _by_component(selections).items():
        for mutant in concerning(mine[0].formulation):
            reason = _unseen(mutant, mine)
            if reason:
                found.setdefault((mutant.name, reason), []).append(component)
    return [Unkilled(fault, tuple(components), reason) for (fault, reason), components in found.items()]


def _by_component(selections: Sequence[Selection]) -> dict[str, list[Selection]]:
    there = {selection.formulation.file for selection in selections}
    partly = {each.component for each in formulations() if each.file not in there}
    found: dict[str, list[Selection]] = {}
    for selection in selections:
        if selection.formulation.component not in partly:
            found.setdefault(selection.formulation.component, []).append(selection)
    return found


def _unseen(mutant: Mutant, selections: Sequence[Selection]) -> str:
    """Why no vector of a component's formulations shows a fault; nothing if one does."""
    places = ", ".join(sorted({edit.at for edit in mutant.edits}))
    tried = [selection for selection in selections if any(each.name == mutant.name for each in selection.mistakes)]
    if not tried:
        return f"it is in {places}, of which a vector asks nothing"
    different = [selection for selection in tried if mutant.name not in selection.alike]
    if not different:
        return f"it makes no difference in any situation: it is in {places}"
    if all((mutant.name, dtype) in selection.missed for selection in different for dtype in mutant.dtypes):
        return f"it moves too little in every situation: it is in {places}"
    return ""
