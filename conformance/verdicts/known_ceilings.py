"""Ceilings that no run needs to measure: the package ships those of its suites, a user's folder keeps all others.

What is shipped or kept are bounds (see ``conformance/verdicts/ceilings.py``), by the recipe's hash and the precision,
each with a digest of what it was made from: the statements of the reference, of the checks and of what makes a problem,
and the faults that concern the recipe. A bound with another digest is stale and counts for nothing; its ceilings are
measured in the run and kept in the user's cache folder.

``python -m conformance.audit.ceilings`` makes the shipped file anew.
"""

import ast
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib import util
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from conformance.adapters.cache import cache_folder
from conformance.adapters.whole_files import write_whole
from conformance.checks.case import Case
from conformance.problems.problem import Problem
from conformance.recipes.recipe import Recipe
from conformance.verdicts import ceilings
from conformance.verdicts.ceilings import Bound, Bounds, Ceilings
from conformance.verdicts.floors import Expectations

SHIPPED = Path(__file__).with_name("ceilings.json.gz")

# What a bound is made from, beside the reference and the faults.
_HARNESS = ("checks", "data", "problems", "adapters/numpy.py", "verdicts/ceilings.py")
# Files of the reference in which no recipe of a dense network has a part.
LAYERS = frozenset({"_layer.py", "layers.py", "convolution.py", "recurrent.py", "attention.py", "network.py"})

# Stage, tensor, fault, step, error (None: infinite), and whether no other tensor of the check shows the fault more.
Row = tuple[str, str, str, int, Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, bool]


class Entry(BaseModel):
    """The bounds of one recipe in one precision, by check, with the digest of what they were made from.

    ``seen``: the faults that its checks show, by name, which ``conformance list faults`` counts; () if not recorded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    digest: str
    rows: dict[str, list[Row]]
    seen: list[str] = []

    @staticmethod
    def of(digest: str, bounds: Bounds, seen: Iterable[str] = ()) -> "Entry":
        """An entry of these bounds, whose rows are sorted."""
        rows = {
            check: [
                (*place, b.fault, b.step, b.error if b.error < np.inf else None, b.most)
                for place, b in sorted(found.items())
            ]
            for check, found in bounds.items()
            if found
        }
        return Entry(digest=digest, rows=rows, seen=list(seen))

    @property
    def bounds(self) -> Bounds:
        """The bounds that :meth:`of` was given, without the checks that have none."""
        return {
            check: {
                (stage, tensor): Bound(fault, step, np.inf if error is None else error, most)
                for stage, tensor, fault, step, error, most in found
            }
            for check, found in self.rows.items()
        }


_ENTRIES = TypeAdapter(dict[str, Entry])


def find(case: Case, expectations: Expectations) -> Ceilings:
    """The ceilings of a case: from what is shipped, else from what is kept, else measured here and kept."""
    recipe, dtype = case.problem.recipe, case.problem.dtype.name
    made_from = digest(recipe, dtype)
    entry = shipped(SHIPPED).get(name_of(recipe, dtype))
    if entry is not None and entry.digest == made_from:
        with suppress(KeyError):  # a bound of what this case has not: the entry is of another one
            return ceilings.above(expectations, entry.bounds)
    file, seal = _place(recipe, dtype, made_from), _seal(case.problem, made_from)
    entry = _kept(file)
    if entry is not None and entry.digest == seal:
        with suppress(KeyError):
            return ceilings.above(expectations, entry.bounds)
    bounds = ceilings.measure(case, expectations)
    _keep(file, Entry.of(seal, bounds))
    return ceilings.above(expectations, bounds)


def name_of(recipe: Recipe, dtype: str) -> str:
    """Under which name the bounds of a recipe in a precision are known."""
    return f"{recipe.hash}.{dtype}"


def digest(recipe: Recipe, dtype: str) -> str:
    """What the bounds of a recipe in a precision are made from, but for the recipe itself; 16 hexadecimal digits."""
    faults = [[mutant.name, mutant.edits, ceilings.asked(mutant)] for mutant in ceilings.concerning(recipe, dtype)]
    without = frozenset[str]() if recipe.is_network else LAYERS
    return _hashed(code_digest(_folder("reference_numpy"), _folder("conformance"), without), json.dumps(faults))


@cache
def code_digest(reference: Path, harness: Path, without: frozenset[str] = frozenset()) -> str:
    """Digest of the statements in the folder of the reference and in those parts of the harness that bounds rest on.

    ``without``: the names of files of the reference that have no part in it.
    Docstrings and comments have no part in it. Nor has what only decides which fault is the nearest: the floors.
    """
    files = sorted(file for file in reference.glob("**/*.py") if file.name not in without)
    for part in _HARNESS:
        files += sorted((harness / part).glob("**/*.py")) if (harness / part).is_dir() else [harness / part]
    return _hashed(*(f"{file.name}\n{_statements(file.read_text(encoding='utf-8'))}" for file in files))


def _statements(source: str) -> str:
    """A program's lines without docstrings, lines of comment and empty ones."""
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            text = node.body[0]
            assert text.end_lineno is not None
            lines[text.lineno - 1 : text.end_lineno] = [""] * (text.end_lineno - text.lineno + 1)
    return "\n".join(line for line in map(str.strip, lines) if line and not line.startswith("#"))


def _folder(package: str) -> Path:
    found = util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _hashed(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@cache
def shipped(file: Path) -> Mapping[str, Entry]:
    """The entries in a shipped file, by name; none where the file is not there or damaged."""
    try:
        return _ENTRIES.validate_json(gzip.decompress(file.read_bytes()))
    except (OSError, EOFError, zlib.error, ValueError):
        return {}


def ship(file: Path, entries: Mapping[str, Entry]) -> None:
    """Write a shipped file: the same bytes for the same entries. It appears whole or not at all."""
    plain = {name: entries[name].model_dump(mode="json") for name in sorted(entries)}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    write_whole(file, gzip.compress(text.encode(), mtime=0))
    shipped.cache_clear()


def _place(recipe: Recipe, dtype: str, made_from: str) -> Path | None:
    """The file that keeps the bounds of a recipe for this user; None where there is no home for it."""
    folder = cache_folder("ceilings")
    return None if folder is None else folder / made_from / f"{name_of(recipe, dtype)}.json"


def _seal(problem: Problem, made_from: str) -> str:
    """The digest of a kept entry, in which the recipe, its data and its initial parameters have part.

    Data may lie in files, of which the recipe holds the name alone.
    """
    arrays = (problem.raw_train_x, problem.train_y, problem.raw_test_x, problem.test_y)
    data = hashlib.sha256()
    for array in (*arrays, *problem.tape.initial_parameters.values()):
        data.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return _hashed(made_from, name_of(problem.recipe, problem.dtype.name), data.hexdigest())


def _kept(file: Path | None) -> Entry | None:
    try:
        return None if file is None else Entry.model_validate_json(file.read_bytes())
    except (OSError, ValueError):  # not there, not ours or damaged: made anew
        return None


def _keep(file: Path | None, entry: Entry) -> None:
    if file is not None:
        with suppress(OSError):  # a folder that nobody may write to keeps nothing
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, entry.model_dump_json().encode())
