"""Data sets: small ones that ship with a dependency, drawn ones, and ones in files; split, limited and scaled alike.

Examples come first, X: (m, n_0); the course writes the transpose. Inputs are numbers, or tokens. scikit-learn, h5py and
Pillow are imported where they are used, so that listing the data sets costs no import.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from conformance.data.archives import read_npz
from conformance.data.drawn import attribute_points, flower_points, houses, moon_points, xor_points
from conformance.data.files import DataError, RawData, Targets
from conformance.data.hand_signs import CLASS_COUNT, draw_hand_signs
from conformance.data.hdf5 import read_course_hdf5
from conformance.data.images import read_image_folder
from conformance.data.leaks import JPEG_COPY_THRESHOLD, near_duplicate_rows
from conformance.data.randomness import keyed_generator
from conformance.data.splits import shuffled_split, stratified_split
from conformance.data.tokens import BRACKET_VOCABULARY, LETTER_VOCABULARY, bracket_sequences, letters_of_words
from conformance.data.wording import nearest, shown
from reference_numpy.normalization import standardization_statistics, standardize

__all__ = [
    "DATASETS",
    "DATA_VARIABLE",
    "SCALINGS",
    "DataError",
    "Dataset",
    "DatasetInfo",
    "load_dataset",
    "shuffled_split",
    "stratified_split",
]

Array = NDArray[Any]
Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]
Inputs = Matrix | Labels
Scaling = Literal["standardize", "unit", "none"]

SCALINGS: tuple[Scaling, ...] = ("standardize", "unit", "none")
DATA_VARIABLE = "CONFORMANCE_DATA"
DRAWN_POINTS = (400, 200)  # training and test points of the plane; the course's flower has 400
HAND_SIGNS = (540, 120)  # training and test images
HOUSES = (300, 100)  # training and test houses
ATTRIBUTE_POINTS = (200, 100)  # training and test points of the plane with three labels each
BRACKETS = (1200, 300)  # training and test sequences


@dataclass(frozen=True)
class Dataset:
    """A data set ready to be trained on.

    Attributes:
        name: its key in DATASETS.
        raw_train_x, raw_test_x: float64 (m, n_0), flattened row by row, as they were found; of tokens int64 (m, t).
        train_x, test_x: the same, scaled as asked; tokens as they are.
        train_y, test_y: by the task; never scaled. Classes: int64 (m,), 0 to n_classes - 1. Multi-label: int64
            (m, n_classes), 1 where the label holds, else 0. Regression: float64 (m,), or (m, k) of k numbers to
            predict, in the units of the data set.
        n_classes: number of classes, 2 for binary; multi-label, the number of labels k; regression, 0.
        image_shape: (h, w) or (h, w, channels) that a row of x was flattened from, None if it is no image.
        class_names: one name per class or per label; none for regression.
        leaked_test_rows: int64, ascending; test rows that repeat, or nearly repeat, a training row.
        vocabulary: where the inputs are tokens, their number: each is 0 to vocabulary - 1, and 0 fills the end of short
            sequences. None for other inputs.
        scaling: what was done to the inputs; "none" for tokens, whatever was asked.
    """

    name: str
    raw_train_x: Inputs
    raw_test_x: Inputs
    train_x: Inputs
    train_y: Targets
    test_x: Inputs
    test_y: Targets
    n_classes: int
    image_shape: tuple[int, ...] | None
    class_names: tuple[str, ...]
    leaked_test_rows: Labels = field(default_factory=lambda: np.empty(0, np.int64))
    vocabulary: int | None = None
    scaling: Scaling = "none"

    @property
    def targets(self) -> int:
        """Numbers in the target of one example: 1 for a class or a single number."""
        return 1 if self.train_y.ndim == 1 else self.train_y.shape[1]


@dataclass(frozen=True)
class Request:
    """What a data set's load function may use: where its files are, its seed, and how many examples are wanted."""

    path: Path | None
    seed: int
    examples: int | None
    test_examples: int | None


@dataclass(frozen=True)
class DatasetInfo:
    """A row of the registry.

    Attributes:
        name: its key.
        kind: "embedded" in a dependency or here, "generated" from the seed, or read from "files".
        task: "binary", "multiclass", "multilabel" (several labels, each of which holds or not) or "regression"
            (numbers); for files laid out freely, what is in them decides.
        description: one line for a list.
        load: reads or draws the data set.
    """

    name: str
    kind: Literal["embedded", "generated", "files"]
    task: Literal["binary", "multiclass", "multilabel", "regression"]
    description: str
    load: Callable[[Request], RawData]


def _embedded(
    name: str, x: Array, labels: Array, class_names: tuple[str, ...], shape: tuple[int, ...] | None, seed: int
) -> RawData:
    train, test = stratified_split(labels.astype(np.int64), seed, name)
    y = labels.astype(np.int64)
    return RawData(x[train], y[train], x[test], y[test], class_names, shape)


def _load_breast_cancer(request: Request) -> RawData:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = tuple(str(name) for name in bunch.target_names)
    return _embedded("breast_cancer", bunch.data, bunch.target, names, None, request.seed)


def _load_digits(request: Request) -> RawData:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    names = tuple(str(name) for name in bunch.target_names)
    raw = _embedded("digits", bunch.data, bunch.target, names, (8, 8), request.seed)
    return replace(raw, white=16.0)


def _load_diabetes(request: Request) -> RawData:
    """Ten measurements at the start and the progression of the disease one year later, in hundreds of its points.

    The published scale runs from 25 to 346. In hundreds, a step of 1 is a sensible one: the standard deviation is 0.77,
    and a network that still answers 0 has the mean squared error 2.9, not 29,074.
    Source: Efron et al., "Least angle regression", Annals of Statistics 32 (2004).
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    y = np.asarray(bunch.target, np.float64) / 100.0
    train, test = shuffled_split(len(y), request.seed, "diabetes")
    return RawData(bunch.data[train], y[train], bunch.data[test], y[test], ())


def _load_words(request: Request) -> RawData:
    x, languages, names = letters_of_words()
    raw = _embedded("words", x, languages, names, None, request.seed)
    return replace(raw, vocabulary=LETTER_VOCABULARY)


def _load_brackets(request: Request) -> RawData:
    parts = bracket_sequences(BRACKETS, keyed_generator(request.seed, "brackets"))
    return RawData(*parts, ("not balanced", "balanced"), vocabulary=BRACKET_VOCABULARY)


def _drawn_points(
    name: str, points: Callable[[Labels, np.random.Generator], Matrix], class_names: tuple[str, str]
) -> Callable[[Request], RawData]:
    """A load function for points of the plane: half of each class, shuffled, training and test drawn independently."""

    def draw(part: str, count: int, seed: int) -> tuple[Matrix, Labels]:
        labels = np.arange(count, dtype=np.int64) % 2
        x = points(labels, keyed_generator(seed, f"{name} {part} points"))
        order = keyed_generator(seed, f"{name} {part} order").permutation(count)
        return x[order], labels[order]

    def load(request: Request) -> RawData:
        train, test = DRAWN_POINTS
        return RawData(*draw("train", train, request.seed), *draw("test", test, request.seed), class_names)

    return load


def _drawn_examples(
    name: str,
    counts: tuple[int, int],
    draw: Callable[[int, np.random.Generator], tuple[Matrix, Targets]],
    class_names: tuple[str, ...],
) -> Callable[[Request], RawData]:
    """A load function for examples that are drawn with their targets, training and test drawn independently."""

    def load(request: Request) -> RawData:
        train_x, train_y = draw(counts[0], keyed_generator(request.seed, f"{name} train examples"))
        test_x, test_y = draw(counts[1], keyed_generator(request.seed, f"{name} test examples"))
        return RawData(train_x, train_y, test_x, test_y, class_names)

    return load


def _load_hand_signs(request: Request) -> RawData:
    train, test = HAND_SIGNS
    train_count = train if request.examples is None else request.examples
    test_count = test if request.test_examples is None else request.test_examples
    train_x, train_y = draw_hand_signs(train_count, request.seed)
    test_x, test_y = draw_hand_signs(test_count, request.seed, stream="test")
    names = tuple(str(label) for label in range(CLASS_COUNT))
    return RawData(train_x, train_y, test_x, test_y, names, train_x.shape[1:])


def _course_files(name: str, stem: str) -> Callable[[Request], RawData]:
    """A load function for one of the course's pairs of HDF5 files."""

    def load(request: Request) -> RawData:
        # An empty variable is one that a shell line meant to unset.
        folder = request.path or os.environ.get(DATA_VARIABLE)
        if not folder:
            raise DataError(
                f"data set {name}: no path is given and the environment variable {DATA_VARIABLE} is not set; "
                f"allowed: a folder that holds train_{stem}.h5 and test_{stem}.h5"
            )
        return read_course_hdf5(Path(folder), stem)

    return load


def _from_path(name: str, read: Callable[[Path], RawData], wanted: str) -> Callable[[Request], RawData]:
    """A load function for files that have no place of their own."""

    def load(request: Request) -> RawData:
        if request.path is None:
            raise DataError(f"data set {name}: no path is given; allowed: {wanted}")
        return read(request.path)

    return load


_load_flower = _drawn_points("flower", flower_points, ("red", "blue"))
_load_moons = _drawn_points("moons", moon_points, ("upper", "lower"))
_load_xor = _drawn_points("xor", xor_points, ("equal signs", "opposite signs"))
_load_housing = _drawn_examples("housing", HOUSES, houses, ())
_load_attributes = _drawn_examples(
    "attributes", ATTRIBUTE_POINTS, attribute_points, ("inside the disc", "above the wave", "opposite signs")
)
_load_signs = _course_files("signs_files", "signs")
_load_cats = _course_files("cat_files", "catvnoncat")
_load_npz = _from_path("npz", read_npz, "the path of an .npz archive")
_load_folder = _from_path("image_folder", read_image_folder, "the path of a folder that holds train and test")

_ROWS = (
    DatasetInfo(
        "breast_cancer", "embedded", "binary", "Wisconsin breast cancer, 569 x 30 numbers", _load_breast_cancer
    ),
    DatasetInfo("digits", "embedded", "multiclass", "handwritten digits, 1797 images of 8 x 8, 0 to 16", _load_digits),
    DatasetInfo("diabetes", "embedded", "regression", "diabetes progression / 100, 442 x 10 numbers", _load_diabetes),
    DatasetInfo(
        "words",
        "embedded",
        "multiclass",
        "675 words of three languages, letter by letter (CC0), 540 + 135",
        _load_words,
    ),
    DatasetInfo("flower", "generated", "binary", "the course's planar flower, 400 + 200 points", _load_flower),
    DatasetInfo("moons", "generated", "binary", "two interleaved half circles, 400 + 200 points", _load_moons),
    DatasetInfo("xor", "generated", "binary", "noisy exclusive or, four clouds, 400 + 200 points", _load_xor),
    DatasetInfo(
        "attributes", "generated", "multilabel", "three attributes of a point of the plane, 200 + 100", _load_attributes
    ),
    DatasetInfo("housing", "generated", "regression", "house prices from size and bedrooms, 300 + 100", _load_housing),
    DatasetInfo("brackets", "generated", "binary", "4 to 12 brackets, balanced or not, 1200 + 300", _load_brackets),
    DatasetInfo("hand_signs", "generated", "multiclass", "drawn hands, 0 to 5 fingers, 540 + 120", _load_hand_signs),
    DatasetInfo("signs_files", "files", "multiclass", "the course's hand signs, *_signs.h5", _load_signs),
    DatasetInfo("cat_files", "files", "binary", "the course's cat images, *_catvnoncat.h5", _load_cats),
    DatasetInfo("npz", "files", "multiclass", "train_x, train_y, test_x, test_y of classes or numbers", _load_npz),
    DatasetInfo("image_folder", "files", "multiclass", "PNG and JPEG images, train|test/<class>/*", _load_folder),
)
DATASETS: Mapping[str, DatasetInfo] = MappingProxyType({row.name: row for row in _ROWS})


def _limit(name: str, part: str, x: Array, y: Targets, wanted: int | None) -> tuple[Array, Targets]:
    """The first `wanted` examples, flattened row by row."""
    if wanted is not None and wanted > len(x):
        raise DataError(f"data set {name}: {part} is {wanted}; allowed: 1 to {len(x)}, all that there are")
    return x[:wanted].reshape(len(x[:wanted]), -1), y[:wanted]


def _scale(name: str, raw: RawData, train: Inputs, test: Inputs, scaling: Scaling) -> tuple[Inputs, Inputs]:
    """Both parts scaled with what is known from the training part alone."""
    white = 255.0 if raw.has_image_bytes else raw.white
    if scaling == "unit":
        if white is not None:
            return train / white, test / white
        found = "tokens" if raw.vocabulary is not None else "no images"
        shape = found if raw.image_shape is None else f"images of type {raw.train_x.dtype}"
        raise DataError(
            f"data set {name}: scaling is 'unit', which divides image bytes (uint8) by 255, but it holds {shape}; "
            f"allowed: 'standardize' or 'none'"
        )
    if scaling == "none" or raw.vocabulary is not None:
        return train, test
    mean, standard_deviation = standardization_statistics(train)
    return standardize(train, mean, standard_deviation), standardize(test, mean, standard_deviation)


def _check_request(name: str, request: Request, scaling: str) -> None:
    if name not in DATASETS:
        raise DataError(f"data set is {shown(name)}; allowed: {', '.join(DATASETS)}{nearest(name, DATASETS)}")
    if scaling not in SCALINGS:
        raise DataError(f"data set {name}: scaling is {scaling!r}; allowed: {', '.join(SCALINGS)}")
    if request.path is not None and DATASETS[name].kind != "files":
        raise DataError(f"data set {name}: path is {request.path}; allowed: none, it is {DATASETS[name].kind}")
    if not isinstance(request.seed, int | np.integer):
        raise DataError(f"data set {name}: seed is {request.seed!r}; allowed: an integer")
    for part in ("examples", "test_examples"):
        value = getattr(request, part)
        if value is not None and not (isinstance(value, int | np.integer) and value >= 1):
            raise DataError(f"data set {name}: {part} is {value!r}; allowed: an integer from 1, or None for all")


def load_dataset(
    name: str,
    *,
    path: str | Path | None = None,
    seed: int = 0,
    scaling: Scaling = "standardize",
    examples: int | None = None,
    test_examples: int | None = None,
) -> Dataset:
    """Load, split, limit and scale a data set.

    "standardize": (x - mu) / sigma with mean and population standard deviation (ddof 0) of the training examples that
    are returned, for both parts; sigma = 1 where a feature does not vary. "unit": bytes / 255. "none": raw values.
    Tokens are names, which have no mean: "standardize" leaves them as they are. Targets are not scaled.

    Args:
        name: a key of DATASETS.
        path: for kind "files"; without it signs_files and cat_files look in the folder that CONFORMANCE_DATA names.
        seed: of the split and order of embedded data and of all that is drawn; files keep their order.
        scaling: "standardize", "unit" (image bytes only) or "none".
        examples: keep the first so many training examples (hand_signs draws exactly so many).
        test_examples: the same for the test set.

    Returns:
        The data set; leaked_test_rows compares the returned rows, before scaling: image bytes within
        JPEG_COPY_THRESHOLD, other values exactly. Drawn data are independent draws and have none.

    Raises:
        DataError: for an argument that is not allowed, or files that are missing, damaged or inconsistent.

    >>> digits = load_dataset("digits", examples=100, test_examples=50)
    >>> digits.train_x.shape, digits.test_x.shape, digits.n_classes, digits.image_shape
    ((100, 64), (50, 64), 10, (8, 8))
    """
    request = Request(None if path is None else Path(path), seed, examples, test_examples)
    _check_request(name, request, scaling)
    info = DATASETS[name]
    raw = info.load(request)
    train, train_y = _limit(name, "examples", raw.train_x, raw.train_y, examples)
    test, test_y = _limit(name, "test_examples", raw.test_x, raw.test_y, test_examples)
    leaked = np.empty(0, np.int64)
    if info.kind != "generated":
        leaked = near_duplicate_rows(test, train, JPEG_COPY_THRESHOLD if raw.has_image_bytes else 0.0)
    kind = np.float64 if raw.vocabulary is None else np.int64
    train, test = train.astype(kind), test.astype(kind)
    train_x, test_x = _scale(name, raw, train, test, scaling)
    return Dataset(
        name,
        train,
        test,
        train_x,
        train_y,
        test_x,
        test_y,
        n_classes=len(raw.class_names),
        image_shape=raw.image_shape,
        class_names=raw.class_names,
        leaked_test_rows=leaked,
        vocabulary=raw.vocabulary,
        scaling=scaling if raw.vocabulary is None else "none",
    )
