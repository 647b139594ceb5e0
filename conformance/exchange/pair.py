"""``conformance.pair``, ``conformance.diff`` and ``conformance.record``, from Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.data.wording import shown
from conformance.exchange import pairing, recording, weights
from conformance.exchange.files import KINDS, PICKLES, read_tensors
from conformance.exchange.pair_result import PairResult
from conformance.exchange.subjects import Here, Subject, SubjectError
from conformance.exchange.trace import file_of
from conformance.exchange.weights import WeightsComparison
from conformance.exchange.worker import Away
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.choosing import find
from conformance.recipes.recipe import Recipe

__all__ = ["PairResult", "SubjectError", "WeightsComparison", "diff", "pair", "record"]

DTYPES = ("float32", "float64")
Side = Any  # a target, a file, arrays by name, or whatever can be called


class Recorded:
    """A side that was recorded: it has one answer, whatever it is asked."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.tensors = {str(name): np.asarray(value) for name, value in tensors.items()}

    def run(self, weights: Tensors | None, inputs: Tensors) -> Tensors:
        return self.tensors

    def weights(self) -> Tensors:
        return {}

    def start(self, seed: int) -> Tensors:
        return self.tensors

    def close(self) -> None:
        """There is nothing to end."""


def pair(
    a: Side,
    b: Side,
    x: Any = None,
    *,
    weights: Mapping[str, Array] | str | Path | None = None,
    weights_b: Mapping[str, Array] | str | Path | None = None,
    dtype: str = "float32",
    start: bool = False,
) -> PairResult:
    """Hold ``b`` against ``a`` on the same inputs; no recipe and no reference is needed.

    Args:
        a, b: each is a function of ``(weights, x)`` or of ``x``, an object with ``run(weights, x)``, a PyTorch module,
            a Keras layer or model, the name ``package.module:attribute`` of one (which then runs in a process of its
            own), or what was recorded of one: a file of arrays, or a dict of them. What runs returns a dict of arrays
            by name, or the output alone. ``a`` is the oracle, unless it is recorded and ``b`` is not.
        x: the input, an array, several by name, or a file of them.
        weights: arrays by name that both are given, or a file; None for each its own.
        weights_b: what ``b`` is given instead.
        dtype: the precision under test; the oracle runs in float64 too, where it can.
        start: compare the weights that training begins with, drawn by ``start(seed)`` or, of a function, by a call with
            a seed. No input is needed then.

    Raises ValueError for an argument that is not allowed, SubjectError where a side cannot be had or the oracle fails.

    >>> import numpy as np
    >>> w = {"W": np.arange(6.0).reshape(2, 3)}
    >>> right, turned = lambda w, x: x @ w["W"].T, lambda w, x: (x @ w["W"].T)[:, ::-1]
    >>> pair(right, right, np.ones((4, 3)), weights=w).ok
    True
    >>> pair(right, turned, np.ones((4, 3)), weights=w).causes
    ["output is the oracle's, reversed along axis 1"]
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={shown(dtype)} is not allowed: must be one of {', '.join(DTYPES)}")
    names = _name(a, "A"), _name(b, "B")
    sides: list[Subject] = []
    try:
        for side, name in ((a, names[0]), (b, names[1])):
            sides.append(_side(side, name))
        if start:
            return pairing.hold_starts(sides[0], sides[1], names)
        one, other = sides
        if isinstance(one, Recorded) and isinstance(other, Recorded):
            return pairing.hold_recorded(one.tensors, other.tensors, names)
        given = _arrays(weights), _arrays(weights_b)
        if isinstance(one, Recorded):
            one, other, names, given = other, one, names[::-1], (given[1] or given[0], given[0])
        return pairing.hold(one, other, names, _inputs(x), *given, dtype)
    finally:
        for subject in sides:
            subject.close()


def diff(a: Side, b: Side) -> WeightsComparison:
    """Weights against weights: which tensors match, and what was rearranged, split, scaled or rounded.

    Args:
        a, b: each is a file (safetensors, npz, HDF5), the folder of a trace, arrays by name, a PyTorch module or Keras
            model, or the name of what has ``weights()``.

    Raises ValueError, DataError among them, for a file that cannot be read.

    >>> import numpy as np
    >>> w = np.arange(6.0).reshape(2, 3)
    >>> diff({"W1": w}, {"dense.kernel": w.T}).rows
    [Row(a='W1', b='dense.kernel', kind='rearranged', relation='transposed', error=0.0)]
    """
    return weights.diff(_weights_of(a, "A"), _weights_of(b, "B"))


def record(recipe: Recipe | str | Path, folder: str | Path, dtype: str = "float64") -> list[Path]:
    """Write a recipe's tape, for any program to replay, and the reference's trace. Returns the files.

    Args:
        recipe: a recipe, its name, or a file.
        folder: a new or empty one.
        dtype: ``float64`` or ``float32``.

    Raises ValueError, DataError among them, for an argument that is not allowed; OSError where nothing can be written.
    """
    found = recipe if isinstance(recipe, Recipe) else find(recipe)
    if dtype not in found.dtypes:
        raise ValueError(f"dtype={shown(dtype)} is not allowed: must be one of {', '.join(found.dtypes)}")
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"output={str(folder)!r} is not allowed: must be a new or an empty folder")
    return recording.record(found, dtype, target)


def _side(side: Side, name: str) -> Subject:
    if isinstance(side, Mapping):
        return Recorded(side)
    if isinstance(side, (str, Path)):
        return Recorded(read_tensors(file_of(Path(side)))) if _is_file(side) else Away(str(side))
    return Here(name, side)


def _weights_of(side: Side, name: str) -> Mapping[str, Array]:
    if isinstance(side, Mapping):
        return {str(key): np.asarray(value) for key, value in side.items()}
    if isinstance(side, (str, Path)) and _is_file(side):
        return weights.load_weights(Path(side))
    subject = _side(side, name)
    try:
        found = subject.weights()
    finally:
        subject.close()
    if not found:
        raise ValueError(f"{name} shows no weights: must have weights(), which returns arrays by name")
    return found


def _is_file(side: str | Path) -> bool:
    """Whether a file or folder is meant, and no target."""
    path = Path(side)
    return path.suffix.lower() in {*KINDS, *PICKLES, ".keras"} or path.is_dir() or ":" not in str(side)


def _name(side: Side, letter: str) -> str:
    if isinstance(side, (str, Path)):
        return str(side)
    return getattr(side, "__name__", None) or type(side).__name__ if not isinstance(side, Mapping) else letter


def _arrays(found: Mapping[str, Array] | str | Path | None) -> Tensors | None:
    if found is None:
        return None
    held = read_tensors(file_of(Path(found))) if isinstance(found, (str, Path)) else found
    return {str(name): np.asarray(value) for name, value in held.items()}


def _inputs(x: Any) -> Tensors:
    if x is None:
        raise ValueError("x is missing: must be the input, an array, or several by name")
    if isinstance(x, (Mapping, str, Path)):
        found = _arrays(x)
        if not found:
            raise ValueError("x holds no array: must be the input, or several by name")
        return found
    return {"x": np.asarray(x)}
