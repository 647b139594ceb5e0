"""A trace: what some program computed in a training, as named arrays in a file, with what is known of it beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conformance.data.files import DataError
from conformance.data.wording import nearest, shown
from conformance.exchange.files import read_json, read_tensors
from conformance.exchange.names import TAPE, tree_of
from conformance.problems.tensors import Array, Tensors
from conformance.results.grammar import Tree

STEM, TAPE_FILE = "trace", "tape.safetensors"
FORMAT = "conformance-trace/1"
FACTS: dict[str, tuple[Any, str]] = {
    "format": (str, "string"), "recipe": (str, "string"), "versions": (dict, "object"), "settings": (dict, "object"),
    "names": (dict, "object"),
}  # fmt: skip


@dataclass(frozen=True)
class Trace:
    """A trace that was read.

    Attributes:
        path: the file.
        tree: its arrays, by the parts of their names.
        tape: the arrays of the tape beside it, the same way; {} without.
        facts: what its JSON file says.
        dtype: of its real numbers.
    """

    path: Path
    tree: Tree
    tape: Tree
    dtype: np.dtype[Any]
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def steps(self) -> dict[int, Tree]:
        """What is known of each step of its own training, by the step, counted from 1; 0 is before the first."""
        return {int(step): found for step, found in self.tree.get("step", {}).items()}

    @property
    def answers(self) -> Tree:
        """Its answers to the questions of the tape."""
        found: Tree = self.tree.get("answer", {})
        return found

    def curve(self, name: str) -> Array | None:
        """One of its curves, if it has it."""
        found: Array | None = self.tree.get(name)
        return found


def file_of(path: Path) -> Path:
    """The file of a trace that is named by its folder or by itself. Raises DataError if there is none."""
    if not path.is_dir():
        return path
    found = [path / f"{STEM}{suffix}" for suffix in (".safetensors", ".npz") if (path / f"{STEM}{suffix}").is_file()]
    if len(found) != 1:
        held = "holds both" if found else "holds neither"
        raise DataError(f"{path}: {held} {STEM}.safetensors and {STEM}.npz: name the file itself")
    return found[0]


def load_trace(path: Path) -> Trace:
    """Read a trace, its JSON file and the tape beside it. Raises DataError, naming the file and the name at fault."""
    file = file_of(path)
    facts = _facts(file.with_suffix(".json"))
    tensors = _renamed(read_tensors(file), facts.get("names", {}), file)
    beside = file.parent / TAPE_FILE
    tape = _tree(beside, read_tensors(beside), TAPE) if beside.is_file() else {}
    tree = _tree(file, tensors)
    if not tree:
        raise DataError(f"{file}: holds no array; allowed: a trace")
    if "answer" in tree and not tape:
        raise DataError(f"{file}: holds answers, and {TAPE_FILE}, which has the questions, is not beside it")
    return Trace(file, tree, tape, _dtype(file, tensors), facts)


def _facts(path: Path) -> dict[str, Any]:
    """What the JSON file beside a trace says, if there is one."""
    if not path.is_file():
        return {}
    facts = read_json(path)
    for name, value in facts.items():
        if name not in FACTS:
            known = ", ".join(FACTS)
            raise DataError(f"{path}: {shown(name)} is no field: must be one of {known}{nearest(name, FACTS)}")
        kind, called = FACTS[name]
        if not isinstance(value, kind):
            raise DataError(f"{path}: {name}={shown(value)} is not allowed: must be a JSON {called}")
    if facts.get("format", FORMAT) != FORMAT:
        raise DataError(f"{path}: format={shown(facts['format'])} is not allowed: must be {FORMAT!r}")
    return facts


def _renamed(tensors: Tensors, names: Mapping[str, Any], file: Path) -> Tensors:
    """The tensors by the recipe's names: ``names`` has the recipe's by the program's own."""
    for own, name in names.items():
        if not isinstance(name, str):
            raise DataError(f"{file.with_suffix('.json')}: names.{own}={shown(name)} is not allowed: must be a string")
    found: Tensors = {}
    for name, value in tensors.items():
        matched = next((own for own in names if name.endswith(f"/{own}")), None)
        renamed = name if matched is None else name.removesuffix(matched) + names[matched]
        if renamed in found:
            raise DataError(f"{file}: {shown(name)} and another tensor are both {shown(renamed)}")
        found[renamed] = value
    return found


def _tree(file: Path, tensors: Tensors, grammar: tuple[str, ...] | None = None) -> Tree:
    try:
        return tree_of(tensors) if grammar is None else tree_of(tensors, grammar)
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error


def _dtype(file: Path, tensors: Tensors) -> np.dtype[Any]:
    """The precision of the tensors; curves are kept in whatever the program keeps them in."""
    found = {value.dtype.name for name, value in tensors.items() if value.dtype.kind == "f" and "/" in name}
    found = found or {value.dtype.name for value in tensors.values() if value.dtype.kind == "f"}
    if len(found) > 1:
        raise DataError(f"{file}: its tensors are of {' and '.join(sorted(found))}: must all be of one precision")
    return np.dtype(found.pop() if found else "float64")
