"""Where a training is, as a file that any of the frameworks can go on from.

A checkpoint is a safetensors file whose names are paths, the same whoever wrote it::

    parameters/W1                  the model's parameters, by the names of the four packages
    optimizer/first_moment/W1      the optimizer's slots, each with an array of every parameter that is trained
    optimizer/step                 steps that the optimizer took, an integer of shape ()
    statistics/running_mean1       batch norm's running averages
    schedule/step                  steps that the schedule has counted, an integer of shape ()

Its metadata name the recipe and its hash, the precision, this project's version and who wrote it. A reader looks at all
of it before anything goes on: a missing, further or misshapen array is a DataError that names it.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import safe_open

from conformance.adapters.installation import project_version
from conformance.adapters.session import State, TrainingState
from conformance.checks.case import initial_state
from conformance.data.files import DataError, reading
from conformance.data.wording import cut, listed, nearest, shown
from conformance.exchange.files import KINDS, read_tensors, write_tensors
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.recipe import Recipe

SUFFIX = ".safetensors"
PARAMETERS, OPTIMIZER, STATISTICS, SCHEDULE, STEP = "parameters", "optimizer", "statistics", "schedule", "step"
NAMES = (
    f"{PARAMETERS}/NAME", f"{OPTIMIZER}/SLOT/NAME", f"{OPTIMIZER}/{STEP}", f"{STATISTICS}/NAME", f"{SCHEDULE}/{STEP}",
)  # fmt: skip
RECIPE, HASH, DTYPE, VERSION, WRITER = "recipe", "recipe hash", "dtype", "project version", "written by"
PRECISIONS = ("float32", "float64")
MOST_STEPS = 2**53
FIELDS = ("parameters", "optimizer_state", "statistics")  # of a training that is written

_PART = r"[^/]+"
_NAME = re.compile(
    rf"(?:(?P<group>{PARAMETERS}|{STATISTICS})|{OPTIMIZER}/(?P<slot>{_PART}))/(?P<name>{_PART})"
    rf"|(?P<counter>{OPTIMIZER}|{SCHEDULE})/{STEP}"
)  # fmt: skip


class Checkpoint(NamedTuple):
    """Where a training is. A ``fit`` of the four packages goes on from ``parameters`` with ``resume=checkpoint``.

    ``facts`` are the file's metadata.
    """

    parameters: Tensors
    optimizer_state: State
    statistics: Tensors
    facts: Mapping[str, str] = {}

    @property
    def state(self) -> TrainingState:
        """The same as an adapter is given it: before the step that comes next, counted from 1."""
        step, slots = self.optimizer_state
        return TrainingState(step + 1, self.parameters, slots, self.statistics)

    @property
    def dtype(self) -> str:
        """The precision of its parameters, which all of them share."""
        return next(iter(self.parameters.values())).dtype.name


def save_checkpoint(path: str | Path, training: Any, *, recipe: Recipe | None = None, writer: str = "") -> None:
    """Write where a training is; the file appears whole or not at all.

    Args:
        path: a file that ends in ``.safetensors``.
        training: has ``parameters``, ``optimizer_state`` and ``statistics``: a history of a ``fit`` of any of the four
            packages, or a :class:`Checkpoint`.
        recipe: whose training it is.
        writer: the implementation, as metadata name it.

    Raises DataError for what no checkpoint can hold, OSError where nothing can be written.
    """
    path = Path(path)
    _require_suffix(path)
    lacking = [field for field in FIELDS if not hasattr(training, field)]
    if lacking:
        raise DataError(
            f"{path}: training={shown(training)} has no {', '.join(lacking)}; allowed: a history of a fit, or a"
            " Checkpoint"
        )
    step, slots = training.optimizer_state
    counted = np.asarray(_array(step), np.int64)
    arrays = {
        **_in_group(PARAMETERS, training.parameters),
        **{name: w for slot, tensors in slots.items() for name, w in _in_group(f"{OPTIMIZER}/{slot}", tensors).items()},
        f"{OPTIMIZER}/{STEP}": counted,
        **_in_group(STATISTICS, training.statistics or {}),
        f"{SCHEDULE}/{STEP}": counted,
    }
    facts = {} if recipe is None else {RECIPE: recipe.name, HASH: recipe.hash}
    dtype = _checked(str(path), arrays, {}).dtype
    facts |= {DTYPE: dtype, VERSION: project_version(), **({WRITER: writer} if writer else {})}
    write_tensors(path, arrays, facts)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read what :func:`save_checkpoint`, or any program that keeps to the naming, wrote. Raises DataError."""
    path = Path(path)
    _require_suffix(path)
    arrays = read_tensors(path)
    with reading(str(path), KINDS[SUFFIX]), safe_open(path, framework="numpy") as file:
        facts: dict[str, str] = dict(file.metadata() or {})
    return _checked(str(path), arrays, facts)


def require_of(checkpoint: Checkpoint, problem: Problem, source: str) -> None:
    """Raise DataError unless a checkpoint is of a problem's training, with all that it has; ``source`` is its file."""
    written, own = checkpoint.facts.get(HASH), problem.recipe.hash
    if written not in (None, own):
        raise DataError(
            f"{source}: is of the recipe {cut(checkpoint.facts.get(RECIPE, ''))!r} with hash {cut(written)}; allowed:"
            f" {problem.recipe.name!r} with hash {own}"
        )
    if checkpoint.dtype != problem.dtype.name:
        raise DataError(f"{source}: parameters have type {checkpoint.dtype}; allowed: {problem.dtype.name}")
    step, slots = checkpoint.optimizer_state
    if step > problem.steps:
        raise DataError(
            f"{source}: {OPTIMIZER}/{STEP} is {step}; allowed: at most {problem.steps}, as many as there are"
        )
    like = initial_state(problem)
    _require_names(source, OPTIMIZER, slots, like.slots)
    for group, found, expected in (
        (PARAMETERS, checkpoint.parameters, like.parameters),
        *((f"{OPTIMIZER}/{slot}", slots[slot], tensors) for slot, tensors in like.slots.items()),
        (STATISTICS, checkpoint.statistics, like.statistics),
    ):
        _require_names(source, group, found, expected)
        for name, other in expected.items():
            if found[name].shape != other.shape:
                raise DataError(f"{source}: {group}/{name} has shape {found[name].shape}; allowed: {other.shape}")


def _require_suffix(path: Path) -> None:
    if path.suffix.lower() != SUFFIX:
        raise DataError(f"{path}: a checkpoint's file ends in {SUFFIX}; found {cut(path.suffix)!r}")


def _array(value: Any) -> Array:
    """A tensor of any framework as an array of NumPy's, C-contiguous."""
    value = value.detach().cpu() if hasattr(value, "detach") else value
    return np.array(np.asarray(value), order="C")


def _in_group(group: str, tensors: Mapping[str, Any]) -> Tensors:
    return {f"{group}/{name}": _array(value) for name, value in tensors.items()}


def _checked(source: str, arrays: Mapping[str, Array], facts: Mapping[str, str]) -> Checkpoint:
    """Arrays by their paths as a checkpoint. Raises DataError for what is none."""
    tensors: dict[str, Tensors] = {PARAMETERS: {}, STATISTICS: {}}
    slots: dict[str, Tensors] = {}
    counters: dict[str, Array] = {}
    for path, value in arrays.items():
        found = _NAME.fullmatch(path)
        if found is None:
            raise DataError(f"{source}: {shown(path)} is no name of a checkpoint's; allowed: {', '.join(NAMES)}")
        if found["counter"]:
            counters[found["counter"]] = value
        else:
            place = slots.setdefault(found["slot"], {}) if found["slot"] else tensors[found["group"]]
            place[found["name"]] = value
    parameters, statistics = tensors[PARAMETERS], tensors[STATISTICS]
    step = _steps(source, counters)
    if not parameters:
        raise DataError(f"{source}: holds no {PARAMETERS}/NAME; allowed: a checkpoint, with a model's parameters")
    _require_one_precision(source, arrays, facts)
    trained = {name for own in slots.values() for name in own}
    for slot, found_slot in slots.items():
        _require_slot(source, f"{OPTIMIZER}/{slot}", found_slot, parameters, trained)
    return Checkpoint(parameters, State(step, slots), statistics, facts)


def _steps(source: str, counters: Mapping[str, Array]) -> int:
    """The steps taken, by the optimizer's count and the schedule's, which the four packages keep as one number."""
    counts = {}
    for counter in (OPTIMIZER, SCHEDULE):
        value = counters.get(counter)
        if value is None:
            raise DataError(f"{source}: holds no {counter}/{STEP}; allowed: an integer of shape ()")
        if value.shape != () or value.dtype.kind not in "iu" or not 0 <= int(value) <= MOST_STEPS:
            found = shown(value.item()) if value.shape == () else f"of shape {value.shape}"
            raise DataError(
                f"{source}: {counter}/{STEP} is {found} ({value.dtype}); allowed: an integer >= 0, shape ()"
            )
        counts[counter] = int(value)
    if counts[SCHEDULE] != counts[OPTIMIZER]:
        raise DataError(
            f"{source}: {SCHEDULE}/{STEP} is {counts[SCHEDULE]}; allowed: {counts[OPTIMIZER]}, which {OPTIMIZER}/{STEP}"
            " is, for a training goes on from one count"
        )
    return counts[OPTIMIZER]


def _require_one_precision(source: str, arrays: Mapping[str, Array], facts: Mapping[str, str]) -> None:
    """Raise DataError unless all but the counts are of one precision, the one that the metadata name."""
    real = {name: w.dtype.name for name, w in arrays.items() if not name.endswith(f"/{STEP}")}
    expected = facts.get(DTYPE, next(iter(real.values())))
    for name, dtype in real.items():
        if dtype not in PRECISIONS or dtype != expected:
            allowed = expected if expected in PRECISIONS else " or ".join(PRECISIONS)
            raise DataError(f"{source}: {cut(name)} has type {dtype}; allowed: {cut(allowed)}, one for all of it")


def _require_slot(source: str, group: str, slot: Tensors, parameters: Tensors, trained: Collection[str]) -> None:
    """Raise DataError unless a slot has an array like each of the parameters that some slot has one of."""
    _require_names(source, group, slot, [name for name in parameters if name in trained])
    for name, value in slot.items():
        if value.shape != parameters[name].shape:
            raise DataError(
                f"{source}: {group}/{name} has shape {value.shape}; allowed: {parameters[name].shape}, its parameter's"
            )


def _require_names(source: str, group: str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Raise DataError unless both have the same names."""
    there, wanted = list(found), list(expected)
    for name in there:
        if name not in wanted:
            raise DataError(
                f"{source}: {group} has {shown(name)}; allowed: {listed(wanted) or 'none'}{nearest(name, wanted)}"
            )
    for name in wanted:
        if name not in there:
            raise DataError(f"{source}: {group} has no {shown(name)}; allowed: {listed(wanted)}")
