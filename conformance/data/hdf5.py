"""HDF5 files: the course's, and any of named arrays.

h5py is imported where it is used: listing the data sets must not cost its import.
"""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.data.files import (
    MOST_CLASSES,
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
from conformance.data.wording import cut, shown

Array = NDArray[Any]

ALLOWED = "a complete HDF5 file"
SECONDS = 60.0  # in which a file must have been read
LONGEST_NAME = 1000  # bytes of a class name
MOST_LEVELS = 20  # of groups in each other
MOST_ARRAYS = 100_000  # of a file
EVERYTHING = "every array"  # in the place of a part of the course's


def _hdf5_array(file: Any, path: Path, key: str) -> Array:
    """The data set ``key`` of an open HDF5 file, whole. Nothing outside of the file is opened."""
    import h5py

    if not file.id.links.exists(key.encode()):
        raise missing_key(path, key, list(file))
    if file.id.links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
        raise DataError(f"{path}: key {key} is a link to elsewhere; allowed: an HDF5 data set in this place")
    found = file[key]
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{path}: key {key} is a {type(found).__name__}; allowed: an HDF5 data set (an array)")
    layout = found.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise DataError(f"{path}: {key}: values lie in other files; allowed: an HDF5 data set that holds its values")
    if found.shape is None:
        raise DataError(f"{path}: {key}: shape is none at all; allowed: an HDF5 data set (an array)")
    check_declared(f"{path}: {key}", found.shape, found.dtype)
    if layout.get_layout() == h5py.h5d.CHUNKED:  # a chunk is decompressed as a whole
        check_declared(f"{path}: {key}, a chunk", layout.get_chunk(), found.dtype)
    return np.asarray(found[()])


def _class_names(file: Any, path: Path) -> tuple[str, ...]:
    """What ``list_classes`` holds, numbers or text."""
    import h5py

    names = _hdf5_array(file, path, "list_classes")
    field = f"{path}: list_classes"
    if names.ndim != 1 or not 2 <= len(names) <= MOST_CLASSES:
        raise DataError(f"{field}: shape is {names.shape}; allowed: (n,) with at least 2 classes")
    if names.dtype.kind not in "uiSU" and h5py.check_string_dtype(file["list_classes"].dtype) is None:
        raise DataError(f"{field}: names have type {cut(str(names.dtype))}; allowed: text or integers")
    decoded = tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names.tolist())
    longest = max(map(len, decoded))
    if longest > LONGEST_NAME:
        raise DataError(f"{field}: a name has {longest} characters; allowed: at most {LONGEST_NAME}")
    return decoded


def _require_harmless(path: Path, part: str) -> None:
    """Refuse a file on which the HDF5 library does not come back: it is read in another process first.

    Damaged bytes may send the library, which is C, round in a circle for ever or end its process.
    """
    command = [sys.executable, "-m", "conformance.data.hdf5", str(path), part]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{path}: reading it does not end in {SECONDS:.0f} s; allowed: {ALLOWED}") from error
    if ended.returncode < 0:
        raise DataError(f"{path}: reading it ends a process by signal {-ended.returncode}; allowed: {ALLOWED}")


def _read_course_file(path: Path, part: str) -> tuple[Array, Array, tuple[str, ...]]:
    """Images (m, h, w, 3), labels as stored and class names of train_*.h5 or test_*.h5 (part: train or test)."""
    import h5py

    with reading(str(path), ALLOWED), h5py.File(path, "r") as file:
        x, y = _hdf5_array(file, path, f"{part}_set_x"), _hdf5_array(file, path, f"{part}_set_y")
        names = _class_names(file, path)
    check_examples(x, f"{path}: {part}_set_x", (4,), "(m, h, w, 3)")
    if x.shape[3] != 3:
        raise DataError(f"{path}: {part}_set_x: shape is {x.shape}; allowed: (m, h, w, 3)")
    return x, y, names


def read_course_hdf5(folder: Path, stem: str) -> RawData:
    """Read train_<stem>.h5 and test_<stem>.h5, the layout of the course's cat and hand-sign images.

    Args:
        folder: where the two files lie.
        stem: "catvnoncat" or "signs", or that of files laid out alike: train_set_x (m, h, w, 3), train_set_y (m,) and
            list_classes (n,) in the one, test_set_x, test_set_y and list_classes in the other.

    Raises:
        DataError: if a file is missing, damaged or inconsistent.
    """
    train_path, test_path = Path(folder) / f"train_{stem}.h5", Path(folder) / f"test_{stem}.h5"
    for path, part in ((train_path, "train"), (test_path, "test")):
        require_file(path, "an HDF5 file of the course")
        _require_harmless(path, part)
    train_x, train_labels, names = _read_course_file(train_path, "train")
    test_x, test_labels, test_names = _read_course_file(test_path, "test")
    if test_names != names:
        raise DataError(
            f"{test_path}: list_classes is {shown(test_names)}; allowed: {shown(names)}, as in {train_path}"
        )
    check_same_shape(train_x, test_x, f"{train_path}: train_set_x", f"{test_path}: test_set_x")
    train_y = check_labels(train_labels, f"{train_path}: train_set_y", len(train_x), len(names))
    test_y = check_labels(test_labels, f"{test_path}: test_set_y", len(test_x), len(names))
    return RawData(train_x, train_y, test_x, test_y, names, train_x.shape[1:])


def read_all(path: Path) -> dict[str, Array]:
    """Every numeric array of an HDF5 file, by its path in it. Raises DataError.

    Nothing outside of the file is opened: a soft or external link is left out.
    """
    _require_harmless(path, EVERYTHING)
    return _read_all(path)


def _read_all(path: Path) -> dict[str, Array]:
    import h5py

    found: dict[str, Array] = {}
    with reading(str(path), ALLOWED), h5py.File(path, "r") as file:
        groups = [("", file, 0)]
        while groups:
            place, group, level = groups.pop()
            if level > MOST_LEVELS or len(found) + len(groups) > MOST_ARRAYS:
                limits = f"{MOST_ARRAYS:,} arrays in {MOST_LEVELS} levels"
                raise DataError(f"{path}: {cut(place)}: holds too much; allowed: {limits}")
            for key in reversed(list(group)):
                if group.id.links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
                    continue
                if isinstance(group[key], h5py.Group):
                    groups.append((f"{place}{key}/", group[key], level + 1))
            for key in group:
                hard = group.id.links.get_info(key.encode()).type == h5py.h5l.TYPE_HARD
                if hard and isinstance(group[key], h5py.Dataset) and group[key].dtype.kind in "biuf":
                    found[place + key] = _hdf5_array(group, path, key)
    return found


if __name__ == "__main__":
    with suppress(DataError):  # which is told by the process that waits for this one
        if sys.argv[2] == EVERYTHING:
            _read_all(Path(sys.argv[1]))
        else:
            _read_course_file(Path(sys.argv[1]), sys.argv[2])
