"""Readers of data sets that lie in files: the course's HDF5 pairs, .npz archives and folders of images.

A file comes from outside, so whatever is wrong with it ends in a DataError that names the file, the field, the value
found and what is allowed - never in a traceback from a library. h5py and Pillow are imported where they are used:
listing the data sets must not cost their import.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Targets = NDArray[np.int64] | NDArray[np.float64]

FOLDER_IMAGE_SIDE = 64  # pixels; the course's image size
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Images that are not read: refused where they stand, because a class silently short of half its images is worse.
REFUSED_SUFFIXES = (".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")


class DataError(ValueError):
    """A data set cannot be loaded as asked; the message names the file or data set, the field, what was found and what
    is allowed."""


@dataclass(frozen=True)
class RawData:
    """A data set as read or drawn, before it is flattened and scaled.

    Attributes:
        train_x, test_x: (m, ...) numbers of any type; uint8 if they are image bytes.
        train_y, test_y: int64 (m,), classes 0 to len(class_names) - 1; or int64 (m, k), 1 where a label holds, else 0;
            or float64 (m,), numbers to predict.
        class_names: one name per class or per label; none for numbers.
        image_shape: (h, w) or (h, w, channels) if an example is an image, else None.
        white: the largest value of a pixel, if the images are not bytes and it is known.
    """

    train_x: Array
    train_y: Targets
    test_x: Array
    test_y: Targets
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...] | None = None
    white: float | None = None

    @property
    def has_image_bytes(self) -> bool:
        """Whether the examples are images whose values are bytes, 0 to 255."""
        return self.image_shape is not None and self.train_x.dtype == np.uint8 and self.test_x.dtype == np.uint8


@contextmanager
def _reading(what: str, allowed: str) -> Iterator[None]:
    """Turn whatever a file library raises on a foreign file into a DataError about `what`."""
    try:
        yield
    except DataError:
        raise
    # A parser that is fed damaged bytes may raise anything, from KeyError over zlib.error to MemoryError.
    except Exception as error:
        raise DataError(f"{what} cannot be read: {type(error).__name__}: {error}; allowed: {allowed}") from error


def _require_file(path: Path, allowed: str) -> None:
    with _reading(str(path), allowed):
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise DataError(f"{path}: found {found}; allowed: {allowed}")


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
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        index = tuple(int(axis) for axis in np.argwhere(~np.isfinite(x))[0])
        raise DataError(f"{field}: value at {index} is {x[index]}; allowed: finite numbers")


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
    too_large = np.zeros(len(y), bool) if n_classes is None else y >= n_classes
    outside = np.flatnonzero((y < 0) | too_large)
    if len(outside):
        allowed = "0 or more" if n_classes is None else f"0 to {n_classes - 1}"
        raise DataError(f"{field}: label at {outside[0]} is {y[outside[0]]}; allowed: {allowed}")
    return y.astype(np.int64)


def _check_same_shape(train_x: Array, test_x: Array, train_field: str, test_field: str) -> None:
    if train_x.shape[1:] != test_x.shape[1:]:
        raise DataError(
            f"{test_field}: an example has shape {test_x.shape[1:]}; allowed: {train_x.shape[1:]}, as in {train_field}"
        )


def _hdf5_array(file: Any, path: Path, key: str) -> Array:
    """The data set `key` of an open HDF5 file, whole."""
    import h5py

    if key not in file:
        raise DataError(f"{path}: key {key} is missing, found {sorted(file)}; allowed: a file that has it")
    if not isinstance(file[key], h5py.Dataset):
        raise DataError(f"{path}: key {key} is a {type(file[key]).__name__}; allowed: an HDF5 data set (an array)")
    return np.asarray(file[key][()])


def _read_course_file(path: Path, part: str) -> tuple[Array, Array, tuple[str, ...]]:
    """Images (m, h, w, 3), labels as stored and class names of train_*.h5 or test_*.h5 (part: train or test)."""
    import h5py

    _require_file(path, "an HDF5 file of the course")
    with _reading(str(path), "a complete HDF5 file"), h5py.File(path, "r") as file:
        x, y = _hdf5_array(file, path, f"{part}_set_x"), _hdf5_array(file, path, f"{part}_set_y")
        names = _hdf5_array(file, path, "list_classes")
    if names.ndim != 1 or len(names) < 2:
        raise DataError(f"{path}: list_classes: shape is {names.shape}; allowed: (n,) with at least 2 classes")
    check_examples(x, f"{path}: {part}_set_x", (4,), "(m, h, w, 3)")
    if x.shape[3] != 3:
        raise DataError(f"{path}: {part}_set_x: shape is {x.shape}; allowed: (m, h, w, 3)")
    decoded = (name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names.tolist())
    return x, y, tuple(decoded)


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
    train_x, train_labels, names = _read_course_file(train_path, "train")
    test_x, test_labels, test_names = _read_course_file(test_path, "test")
    if test_names != names:
        raise DataError(f"{test_path}: list_classes is {test_names}; allowed: {names}, as in {train_path}")
    _check_same_shape(train_x, test_x, f"{train_path}: train_set_x", f"{test_path}: test_set_x")
    train_y = check_labels(train_labels, f"{train_path}: train_set_y", len(train_x), len(names))
    test_y = check_labels(test_labels, f"{test_path}: test_set_y", len(test_x), len(names))
    return RawData(train_x, train_y, test_x, test_y, names, train_x.shape[1:])


def _npz_arrays(path: Path) -> dict[str, Array]:
    keys = ("train_x", "train_y", "test_x", "test_y")
    arrays: dict[str, Array] = {}
    allowed = "an .npz archive of numeric arrays (object arrays are refused, never unpickled)"
    _require_file(path, allowed)
    # Opened here because np.load leaves a damaged archive open.
    with _reading(str(path), allowed), path.open("rb") as stream:
        archive = np.load(stream, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: holds a single array; allowed: {allowed} with the keys {keys}")
        for key in keys:
            if key not in archive:
                raise DataError(f"{path}: key {key} is missing, found {sorted(archive)}; allowed: {keys}")
            with _reading(f"{path}: {key}", allowed):
                arrays[key] = np.asarray(archive[key])
    return arrays


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
    _check_same_shape(train_x, test_x, f"{path}: train_x", f"{path}: test_x")
    train_y = check_labels(arrays["train_y"], f"{path}: train_y", len(train_x), None)
    n_classes = _npz_class_count(train_y, f"{path}: train_y")
    test_y = check_labels(arrays["test_y"], f"{path}: test_y", len(test_x), n_classes)
    image_shape = train_x.shape[1:] if train_x.ndim > 2 else None
    return RawData(train_x, train_y, test_x, test_y, tuple(str(label) for label in range(n_classes)), image_shape)


def _visible(folder: Path) -> list[Path]:
    """What the folder holds, by name, without hidden entries."""
    with _reading(str(folder), "a folder that may be listed"):
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _class_folders(folder: Path) -> list[Path]:
    allowed = "a folder with one folder of images per class"
    with _reading(str(folder), allowed):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; allowed: {allowed}")
        folders = [entry for entry in _visible(folder) if entry.is_dir()]
    if not folders:
        raise DataError(f"{folder}: holds no class folder; allowed: {allowed}")
    return folders


def _image_paths(folder: Path) -> list[Path]:
    """The images of a class folder, by name."""
    files = _visible(folder)
    refused = [path for path in files if path.suffix.lower() in REFUSED_SUFFIXES]
    if refused:
        raise DataError(f"{refused[0]}: image type {refused[0].suffix} is not read; allowed: {IMAGE_SUFFIXES}")
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError(f"{folder}: holds no image; allowed: at least one of {IMAGE_SUFFIXES}")
    return images


def _read_image(path: Path) -> NDArray[np.uint8]:
    """One image upright, in RGB, resized to 64 x 64."""
    from PIL import Image, ImageOps

    allowed = "a complete 8-bit PNG or JPEG image"
    with _reading(str(path), allowed), Image.open(path, formats=("PNG", "JPEG")) as opened:
        # Converted to RGB, 16-bit and floating-point pixels would be clipped at 255 without a word.
        if opened.mode.startswith(("I", "F")):
            raise DataError(f"{path}: pixels are of mode {opened.mode}; allowed: {allowed}")
        upright = ImageOps.exif_transpose(opened)
        # A palette with transparency must become RGBA first, else Pillow warns.
        coloured = upright.convert("RGBA") if upright.mode == "P" else upright
        size = (FOLDER_IMAGE_SIDE, FOLDER_IMAGE_SIDE)
        return np.asarray(coloured.convert("RGB").resize(size, Image.Resampling.BILINEAR), np.uint8)


def _read_class_folders(folders: list[Path], class_names: tuple[str, ...]) -> tuple[Array, NDArray[np.int64]]:
    """Images and labels, one of each class in turn, so that the first few examples hold every class."""
    by_class = [_image_paths(folder) for folder in folders]
    labels = [class_names.index(folder.name) for folder in folders]
    turns = zip_longest(*by_class)
    order = [(path, label) for turn in turns for path, label in zip(turn, labels, strict=True) if path is not None]
    images = np.stack([_read_image(path) for path, _ in order])
    return images, np.array([label for _, label in order], np.int64)


def read_image_folder(path: Path) -> RawData:
    """Read path/train/<class>/*.png|jpg and path/test/<class>/*.png|jpg, each image in RGB and resized to 64 x 64.

    Classes are the folders of path/train in the order of their names. Files of other types are passed over, but images
    of other types are refused.

    Args:
        path: the folder that holds train and test.

    Raises:
        DataError: if a folder or its images are missing, an image cannot be read, or a test class is not in train.
    """
    train_folders, test_folders = _class_folders(Path(path) / "train"), _class_folders(Path(path) / "test")
    class_names = tuple(folder.name for folder in train_folders)
    if len(class_names) < 2:
        raise DataError(f"{Path(path) / 'train'}: holds the one class {class_names[0]}; allowed: at least 2 classes")
    for folder in test_folders:
        if folder.name not in class_names:
            raise DataError(f"{folder}: class {folder.name} is not in train; allowed: {class_names}")
    train_x, train_y = _read_class_folders(train_folders, class_names)
    test_x, test_y = _read_class_folders(test_folders, class_names)
    return RawData(train_x, train_y, test_x, test_y, class_names, train_x.shape[1:])
