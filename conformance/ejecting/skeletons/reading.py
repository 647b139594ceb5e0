"""What a script is given: a file of arrays."""

import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

OUTPUT_NAME: str
LOSS_NAME: str
SCALING: str


def read(path: str, names: Sequence[str]) -> list[np.ndarray]:
    """Arrays of a ``.npz`` file by their names. Raises ValueError for what is no such file or is not in it."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive]
            if missing:
                raise ValueError(f"{path} has no array {', '.join(missing)}: must hold {', '.join(names)}")
            return [archive[name] for name in names]
    except (OSError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as a .npz file: {error}") from error


def inputs(x: np.ndarray, name: str) -> np.ndarray:
    """Inputs ``(m, n_0)`` in double precision. Raises ValueError for arrays of another kind."""
    if x.ndim < 2 or len(x) == 0 or x.dtype.kind not in "fiub" or not np.isfinite(x).all():
        raise ValueError(f"{name} has shape {x.shape} and dtype {x.dtype}: must be finite numbers, (examples, features)")
    white = 255.0 if SCALING == "unit" and x.dtype == np.uint8 else 1.0  # of images in bytes
    return x.reshape(len(x), -1).astype(np.float64) / white


def targets(y: np.ndarray, examples: int, classes: int | None = None) -> np.ndarray:
    """Targets as the loss takes them. Raises ValueError for arrays of another kind."""
    if len(y) != examples:
        raise ValueError(f"y has {len(y)} examples, x {examples}: must be the same number")
    if OUTPUT_NAME == "softmax":
        if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0:
            raise ValueError(f"y has shape {y.shape} and dtype {y.dtype}: must be (examples,), integers from 0, a class")
        if classes is not None and y.max() >= classes:
            raise ValueError(f"y has the class {y.max()}: must be in 0 .. {classes - 1}")
        if LOSS_NAME == "mean_squared_error":
            return np.eye(classes or int(y.max()) + 1)[y]
        return y.astype(np.int64)
    if y.dtype.kind not in "fiub" or not np.isfinite(y).all():
        raise ValueError(f"y has dtype {y.dtype}: must be finite numbers, (examples,) or (examples, outputs)")
    y = y.reshape(examples, -1).astype(np.float64)
    if OUTPUT_NAME == "sigmoid" and not ((y >= 0) & (y <= 1)).all():
        raise ValueError(f"y spans {y.min()} .. {y.max()}: must be in 0 .. 1")
    return y


def outputs_for(y: np.ndarray) -> int:
    """The number of the model's outputs, ``n_L``."""
    if OUTPUT_NAME == "softmax" and LOSS_NAME != "mean_squared_error":
        return int(y.max()) + 1
    return int(y.shape[1])


def weights(given: np.ndarray, examples: int) -> Any:
    """The weight of each example, ``(m,)``. Raises ValueError for arrays of another kind."""
    if given.shape != (examples,) or given.dtype.kind not in "fiu" or not (given >= 0).all():
        raise ValueError(f"weights has shape {given.shape} and dtype {given.dtype}: must be ({examples},), numbers >= 0")
    return given.astype(np.float64)
