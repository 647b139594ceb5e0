"""Archives of arrays, ``.npz``. Nothing is unpickled, and nothing decompressed beyond what a member declares."""

import math
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from conformance.data.files import (
    MOST_CLASSES,
    DataError,
    RawData,
    Targets,
    check_declared,
    check_examples,
    check_labels,
    check_numbers,
    check_same_shape,
    missing_key,
    reading,
    require_file,
)
from conformance.data.wording import cut, shown

Array = NDArray[Any]

ALLOWED = "an .npz archive of numeric arrays (object arrays are refused, never unpickled)"
KEYS = ("train_x", "train_y", "test_x", "test_y")
VOCABULARY = "vocabulary"  # the key that says that inputs are tokens
MOST_TOKENS = MOST_CLASSES  # of a vocabulary
TARGETS = "(m,) integers for classes; or floating-point numbers to predict, (m,) or (m, k)"
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that NumPy writes
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def _npz_arrays(path: Path) -> dict[str, Array]:
    require_file(path, ALLOWED)
    with reading(str(path), ALLOWED), path.open("rb") as stream:
        if stream.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
            raise DataError(f"{path}: holds a single array; allowed: {ALLOWED} with the keys {KEYS}")
        with zipfile.ZipFile(stream) as archive:
            held = Counter(archive.namelist())
            found = [name.removesuffix(".npy") for name in held]
            arrays = {}
            for key in (*KEYS, VOCABULARY) if f"{VOCABULARY}.npy" in held else KEYS:
                field, member = f"{path}: {key}", f"{key}.npy"
                if member not in held:
                    raise missing_key(path, key, found)
                if held[member] > 1:
                    raise DataError(f"{field}: stands in the archive {held[member]} times; allowed: once")
                with reading(field, ALLOWED):
                    arrays[key] = read_member(archive, archive.getinfo(member), field)
    return arrays


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, field: str) -> Array:
    """One array, after its header was held against the size that the archive declares."""
    if info.compress_type not in COMPRESSIONS:
        raise DataError(f"{field}: compression is of kind {info.compress_type}; allowed: none, or deflate")
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        if version not in HEADERS:
            raise DataError(f"{field}: header has version {version}; allowed: {', '.join(map(str, HEADERS))}")
        shape, fortran_order, dtype = HEADERS[version](stream)
        if dtype.kind not in "biufc":
            raise DataError(f"{field}: values have type {cut(str(dtype))}; allowed: {ALLOWED}")
        check_declared(field, shape, dtype)
        size = math.prod(shape) * dtype.itemsize
        if stream.tell() + size != info.file_size:
            called_for = f"{stream.tell() + size}, for which its header calls"
            raise DataError(f"{field}: holds {info.file_size} bytes; allowed: {called_for}")
        content = stream.read(size + 1)  # one more, so that the end is seen and the checksum compared
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")


def _npz_class_count(train_y: NDArray[np.int64], field: str) -> int:
    """Largest training label + 1, where every class from 0 on must occur: a stray label must not invent classes."""
    present = np.unique(train_y)
    absent = np.flatnonzero(present != np.arange(len(present)))
    if len(absent):
        raise DataError(
            f"{field}: largest label is {present[-1]} but {absent[0]} never occurs; allowed: each of 0 to n-1"
        )
    if len(present) < 2:
        raise DataError(f"{field}: every label is {present[0]}; allowed: at least 2 classes")
    return len(present)


def _npz_vocabulary(arrays: dict[str, Array], path: Path) -> int | None:
    """The number of tokens, where the archive says that inputs are tokens, after a look at every one of them."""
    if VOCABULARY not in arrays:
        return None
    given, field = arrays[VOCABULARY], f"{path}: {VOCABULARY}"
    if given.shape != () or given.dtype.kind not in "ui" or not 2 <= given <= MOST_TOKENS:
        found = shown(given.item()) if given.shape == () else f"an array of shape {cut(str(given.shape))}"
        raise DataError(f"{field}: is {found}; allowed: an integer from 2 to {MOST_TOKENS}, the number of tokens")
    for key in ("train_x", "test_x"):
        x, field = arrays[key], f"{path}: {key}"
        if x.dtype.kind not in "ui":
            raise DataError(f"{field}: values have type {x.dtype}; allowed: integers, as there is a {VOCABULARY}")
        check_examples(x, field, (2,), f"(m, t), tokens, as there is a {VOCABULARY}")
        outside = np.argwhere((x < 0) | (x >= given))
        if len(outside):
            place = tuple(int(axis) for axis in outside[0])
            raise DataError(f"{field}: token at {place} is {x[place]}; allowed: 0 to {given - 1}, below {VOCABULARY}")
    return int(given)


def _npz_targets(arrays: dict[str, Array], path: Path) -> tuple[Targets, Targets, int]:
    """What is to be learned, and the number of classes: 0 for numbers to predict, which are no integers."""
    train_y, test_y = arrays["train_y"], arrays["test_y"]
    train_field, test_field = f"{path}: train_y", f"{path}: test_y"
    for y, field in ((train_y, train_field), (test_y, test_field)):
        if y.dtype.kind not in "uif" or (y.dtype.kind != "f" and y.ndim != 1):
            raise DataError(f"{field}: shape is {y.shape} of type {y.dtype}; allowed: {TARGETS}")
    if (train_y.dtype.kind == "f") != (test_y.dtype.kind == "f"):
        raise DataError(
            f"{test_field}: type is {test_y.dtype}, and {train_y.dtype} in {train_field}; allowed: {TARGETS}, in both"
        )
    examples, test_examples = len(arrays["train_x"]), len(arrays["test_x"])
    if train_y.dtype.kind == "f":
        numbers = check_numbers(train_y, train_field, examples)
        test_numbers = check_numbers(test_y, test_field, test_examples)
        if numbers.shape[1:] != test_numbers.shape[1:]:
            raise DataError(f"{test_field}: shape is {test_y.shape}; allowed: as in {train_field}, {train_y.shape}")
        return numbers, test_numbers, 0
    labels = check_labels(train_y, train_field, examples, None)
    n_classes = _npz_class_count(labels, train_field)
    return labels, check_labels(test_y, test_field, test_examples, n_classes), n_classes


def read_npz(path: Path) -> RawData:
    """Read an .npz archive with train_x, train_y, test_x and test_y.

    Integer targets are classes, 0 to the largest training label. Floating-point targets are numbers to predict, one or
    several for each example; an autoencoder's are its inputs. Where the archive has an integer ``vocabulary`` too, the
    inputs are tokens, each of them below it, and 0 fills the end of short sequences; without it integers are numbers.

    Args:
        path: the archive; x is (m, n_0), or (m, h, w) or (m, h, w, channels) for images and sequences, or integers
            (m, t) for tokens; y is (m,) integers, or (m,) or (m, k) floating-point numbers.

    Raises:
        DataError: if the file is missing, damaged or inconsistent, or holds object arrays, which are never unpickled.
    """
    path = Path(path)
    arrays = _npz_arrays(path)
    for key in ("train_x", "test_x"):
        check_examples(arrays[key], f"{path}: {key}", (2, 3, 4), "(m, n), (m, h, w) or (m, h, w, channels)")
    train_x, test_x = arrays["train_x"], arrays["test_x"]
    vocabulary = _npz_vocabulary(arrays, path)
    check_same_shape(train_x, test_x, f"{path}: train_x", f"{path}: test_x")
    train_y, test_y, n_classes = _npz_targets(arrays, path)
    image_shape = train_x.shape[1:] if train_x.ndim > 2 else None
    names = tuple(str(label) for label in range(n_classes))
    return RawData(train_x, train_y, test_x, test_y, names, image_shape, vocabulary=vocabulary)
