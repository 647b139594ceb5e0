"""Data sets that lie in files: what every reader refuses, and how.

A file comes from outside, so whatever is wrong with it ends in a DataError that names the file, the field, the value
found and what is allowed - never in a traceback from a library. What a header declares is looked at before anything is
allocated or decompressed. The readers are ``archives``, ``hdf5`` and ``images``.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.data.wording import cut, listed, nearest, shown

Array = NDArray[Any]
Targets = NDArray[np.int64] | NDArray[np.float64]

MOST_VALUES = 2**27  # of an array: 1 GiB in float64
MOST_BYTES = 2**30  # of an array as it is stored
MOST_CLASSES = 2**16
LONGEST_REASON = 300  # characters of what a library says
LARGEST = 1e18  # of a number: a float32 holds its square


class DataError(ValueError):
    """A data set cannot be loaded as asked; the message names the file or data set, the field, what was found and what
    is allowed."""


@dataclass(frozen=True)
class RawData:
    """A data set as read or drawn, before it is flattened and scaled.

    Attributes:
        train_x, test_x: (m, ...) numbers of any type; uint8 if they are image bytes.
        train_y, test_y: int64 (m,), classes 0 to len(class_names) - 1; or int64 (m, k), 1 where a label holds, else 0;
            or float64 (m,) or (m, k), numbers to predict.
        class_names: one name per class or per label; none for numbers.
        image_shape: (h, w) or (h, w, channels) if an example is an image, else None.
        white: the largest value of a pixel, if the images are not bytes and it is known.
        vocabulary: if x holds tokens, (m, t) integers from 0 to vocabulary - 1, else None.
    """

    train_x: Array
    train_y: Targets
    test_x: Array
    test_y: Targets
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...] | None = None
    white: float | None = None
    vocabulary: int | None = None

    @property
    def has_image_bytes(self) -> bool:
        """Whether the examples are images whose values are bytes, 0 to 255."""
        return self.image_shape is not None and self.train_x.dtype == np.uint8 and self.test_x.dtype == np.uint8


@contextmanager
def reading(what: str, allowed: str) -> Iterator[None]:
    """Turn whatever a file library raises on a foreign file into a DataError about `what`."""
    try:
        yield
    except DataError:
        raise
    # A parser that is fed damaged bytes may raise anything, from KeyError over zlib.error to MemoryError.
    except Exception as error:
        reason = cut(f"{type(error).__name__}: {error}", LONGEST_REASON)
        raise DataError(f"{what} cannot be read: {reason}; allowed: {allowed}") from error


def require_file(path: Path, allowed: str) -> None:
    with reading(str(path), allowed):
        if not path.is_file():
            found = "a folder" if path.is_dir() else "something else" if path.exists() else "no such file"
            raise DataError(f"{path}: found {found}; allowed: {allowed}")


def check_declared(field: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse an array by what its header declares, before it is read.

    Raises:
        DataError: for a negative length, or for more values or bytes than are allowed.
    """
    values = math.prod(shape)
    if any(length < 0 for length in shape):
        raise DataError(f"{field}: shape is {cut(str(shape))}; allowed: lengths of 0 or more")
    if values > MOST_VALUES or values * dtype.itemsize > MOST_BYTES or dtype.itemsize > MOST_BYTES:
        raise DataError(
            f"{field}: shape is {cut(str(shape))} of type {cut(str(dtype))}, {shown(values)} values; allowed: at most"
            f" {MOST_VALUES:,} values in {MOST_BYTES:,} bytes"
        )


def check_examples(x: Array, field: str, dimensions: tuple[int, ...], layout: str) -> None:
    """Refuse inputs that are not finite numbers of the expected layout.

    Args:
        x: the inputs as read, any shape.
        field: file and key, for the message.
        dimensions: the allowed numbers of axes.
        layout: the allowed shape in words, for the message.

    Raises:
        DataError: for a wrong type or number of axes, no example, an empty example, NaN or infinity.
    """
    if x.dtype.kind not in "uif":
        raise DataError(f"{field}: values have type {x.dtype}; allowed: integers or floating-point numbers")
    if x.ndim not in dimensions:
        raise DataError(f"{field}: shape is {x.shape}; allowed: {layout}")
    if 0 in x.shape:
        raise DataError(f"{field}: shape is {x.shape}, which is empty; allowed: {layout} with at least 1 example")
    _check_finite(x, field)


def _check_finite(x: Array, field: str) -> None:
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        index = tuple(int(axis) for axis in np.argwhere(~np.isfinite(x))[0])
        raise DataError(f"{field}: value at {index} is {x[index]}; allowed: finite numbers")
    if x.dtype.kind == "f" and max(abs(float(x.min())), abs(float(x.max()))) > LARGEST:
        raise DataError(f"{field}: values are {x.min()} to {x.max()}; allowed: -{LARGEST:g} to {LARGEST:g}")


def check_labels(y: Array, field: str, examples: int, n_classes: int | None) -> NDArray[np.int64]:
    """Labels as int64 (m,), after refusing any that cannot be classes.

    Args:
        y: the labels as read.
        field: file and key, for the message.
        examples: the number m of inputs that they belong to.
        n_classes: labels must be below it; None to leave that open.

    Raises:
        DataError: for a wrong type, shape or length, or a label outside 0 to n_classes - 1.
    """
    if y.dtype.kind not in "ui":
        raise DataError(f"{field}: labels have type {y.dtype}; allowed: integers")
    if y.ndim != 1:
        raise DataError(f"{field}: shape is {y.shape}; allowed: (m,), one label per example")
    if len(y) != examples:
        raise DataError(f"{field}: holds {len(y)} labels; allowed: {examples}, one for each example")
    most = MOST_CLASSES if n_classes is None else n_classes
    outside = np.flatnonzero((y < 0) | (y >= most))
    if len(outside):
        allowed = f"0 or more, below {MOST_CLASSES}" if n_classes is None else f"0 to {n_classes - 1}"
        raise DataError(f"{field}: label at {outside[0]} is {y[outside[0]]}; allowed: {allowed}")
    return y.astype(np.int64)


def check_numbers(y: Array, field: str, examples: int) -> NDArray[np.float64]:
    """Numbers to predict as float64 (m,) or (m, k), after refusing any that cannot be predicted.

    Args:
        y: floating-point numbers as read.
        field: file and key, for the message.
        examples: the number m of inputs that they belong to.

    Raises:
        DataError: for a wrong shape or length, NaN or infinity.
    """
    if y.ndim not in (1, 2) or 0 in y.shape[1:]:
        raise DataError(f"{field}: shape is {y.shape}; allowed: (m,) or (m, k), one number or k for each example")
    if len(y) != examples:
        raise DataError(f"{field}: holds targets of {len(y)} examples; allowed: {examples}, one for each example")
    _check_finite(y, field)
    return y.astype(np.float64)


def check_same_shape(train_x: Array, test_x: Array, train_field: str, test_field: str) -> None:
    if train_x.shape[1:] != test_x.shape[1:]:
        raise DataError(
            f"{test_field}: an example has shape {test_x.shape[1:]}; allowed: {train_x.shape[1:]}, as in {train_field}"
        )


def missing_key(path: Path, key: str, found: list[str]) -> DataError:
    """The refusal of a file that has not a key which it must have."""
    return DataError(
        f"{path}: key {key} is missing, found {listed(sorted(found)) or 'none'}{nearest(key, found)};"
        " allowed: a file that has it"
    )
