"""Folders of images, PNG and JPEG. Pillow is imported where it is used: listing data sets must not cost its import."""

import warnings
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.data.files import MOST_CLASSES, MOST_VALUES, DataError, RawData, reading
from conformance.data.wording import nearest, shown

Array = NDArray[Any]

FOLDER_IMAGE_SIDE = 64  # pixels; the course's image size
MOST_PIXELS = 2**26  # of an image as it is stored
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Images that are not read: refused where they stand, because a class silently short of half its images is worse.
REFUSED_SUFFIXES = (".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")


def _visible(folder: Path) -> list[Path]:
    """What the folder holds, by name, without hidden entries."""
    with reading(str(folder), "a folder that may be listed"):
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _class_folders(folder: Path) -> list[Path]:
    allowed = "a folder with one folder of images per class"
    with reading(str(folder), allowed):
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
    for path in images:
        if not path.is_file():  # a pipe would be waited for
            raise DataError(f"{path}: is no file; allowed: a complete 8-bit PNG or JPEG image")
    return images


def _open(path: Path) -> Any:
    """The image with its header read, and none of its pixels."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower
        return Image.open(path, formats=("PNG", "JPEG"))


def _read_image(path: Path) -> NDArray[np.uint8]:
    """One image upright, in RGB, resized to 64 x 64."""
    from PIL import Image, ImageOps

    allowed = "a complete 8-bit PNG or JPEG image"
    with reading(str(path), allowed), _open(path) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            found = f"{opened.width} x {opened.height} pixels"
            raise DataError(f"{path}: has {found}; allowed: at most {MOST_PIXELS:,} of them")
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
    most = MOST_VALUES // (3 * FOLDER_IMAGE_SIDE**2)
    if len(order) > most:
        raise DataError(f"{folders[0].parent}: holds {len(order)} images; allowed: at most {most}")
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
    if len(class_names) > MOST_CLASSES:
        raise DataError(f"{Path(path) / 'train'}: holds {len(class_names)} classes; allowed: at most {MOST_CLASSES}")
    if len(class_names) < 2:
        raise DataError(f"{Path(path) / 'train'}: holds the one class {class_names[0]}; allowed: at least 2 classes")
    for folder in test_folders:
        if folder.name not in class_names:
            near = nearest(folder.name, class_names)
            raise DataError(f"{folder}: class {folder.name} is not in train{near}; allowed: {shown(class_names)}")
    train_x, train_y = _read_class_folders(train_folders, class_names)
    test_x, test_y = _read_class_folders(test_folders, class_names)
    return RawData(train_x, train_y, test_x, test_y, class_names, train_x.shape[1:])
