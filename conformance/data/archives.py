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
    DataError,
    RawData,
    check_declared,
    check_examples,
    check_labels,
    check_same_shape,
    missing_key,
    reading,
    require_file,
)
from conformance.data.wording import cut

Array = NDArray[Any]

ALLOWED = "an .npz archive of numeric arrays (object arrays are refused, never unpickled)"
KEYS = ("train_x", "train_y", "test_x", "test_y")
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
            for key in KEYS:
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


def read_npz(path: Path) -> RawData:
    """Read an .npz archive with train_x, train_y, test_x and test_y; classes are 0 to the largest training label.

    Args:
        path: the archive; x is (m, n_0), or (m, h, w) or (m, h, w, channels) for images; y is (m,) integers.

    Raises:
        DataError: if the file is missing, damaged or inconsistent, or holds object arrays, which are never unpickled.
    """
    path = Path(path)
    arrays = _npz_arrays(path)
    for key in ("train_x", "test_x"):
        check_examples(arrays[key], f"{path}: {key}", (2, 3, 4), "(m, n), (m, h, w) or (m, h, w, channels)")
    train_x, test_x = arrays["train_x"], arrays["test_x"]
    check_same_shape(train_x, test_x, f"{path}: train_x", f"{path}: test_x")
    train_y = check_labels(arrays["train_y"], f"{path}: train_y", len(train_x), None)
    n_classes = _npz_class_count(train_y, f"{path}: train_y")
    test_y = check_labels(arrays["test_y"], f"{path}: test_y", len(test_x), n_classes)
    image_shape = train_x.shape[1:] if train_x.ndim > 2 else None
    return RawData(train_x, train_y, test_x, test_y, tuple(str(label) for label in range(n_classes)), image_shape)
