"""Files from outside: read as they are when sound, refused with file, field, value and what is allowed when not."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conformance.data.archives import read_npz
from conformance.data.files import DataError, RawData
from conformance.data.hdf5 import read_course_hdf5
from conformance.data.images import read_image_folder

IMAGES = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
LABELS = np.array([0, 1, 2, 0, 1, 2])
NAMES = np.array([b"none", b"one", b"two"])


def refused(read, *arguments):
    """The message of the DataError that reading must end in."""
    with pytest.raises(DataError) as caught:
        read(*arguments)
    return str(caught.value)


def assert_names(message, *parts):
    for part in parts:
        assert str(part) in message, f"{part!r} is not named in: {message}"


# --- HDF5 -------------------------------------------------------------------------------------------------------------


def write_course(folder, part="train", **changes):
    """Write a sound <part>_toy.h5, with some keys replaced, or left out where the change is None."""
    content = {f"{part}_set_x": IMAGES, f"{part}_set_y": LABELS, "list_classes": NAMES} | changes
    with h5py.File(folder / f"{part}_toy.h5", "w") as file:
        for key, value in content.items():
            if value is not None:
                file[key] = value


@pytest.fixture
def course_folder(tmp_path):
    write_course(tmp_path, "train")
    write_course(tmp_path, "test")
    return tmp_path


def test_course_files_are_read_as_stored(course_folder):
    raw = read_course_hdf5(course_folder, "toy")
    np.testing.assert_array_equal(raw.train_x, IMAGES)
    np.testing.assert_array_equal(raw.test_y, LABELS)
    assert raw.class_names == ("none", "one", "two")
    assert raw.image_shape == (4, 4, 3)
    assert raw.train_y.dtype == np.int64
    assert raw.has_image_bytes


def test_class_names_may_be_numbers(course_folder):
    for part in ("train", "test"):
        write_course(course_folder, part, list_classes=np.arange(3))
    assert read_course_hdf5(course_folder, "toy").class_names == ("0", "1", "2")


def with_nan(x):
    spoiled = x.astype(np.float64)
    spoiled[2, 1, 0, 0] = np.nan
    return spoiled


BAD_COURSE_FILES = {
    "missing inputs": ({"train_set_x": None}, ("train_set_x is missing", "list_classes", "train_set_y")),
    "missing labels": ({"train_set_y": None}, ("train_set_y is missing",)),
    "missing classes": ({"list_classes": None}, ("list_classes is missing",)),
    "flat inputs": ({"train_set_x": IMAGES.reshape(6, 48)}, ("train_set_x", "(6, 48)", "(m, h, w, 3)")),
    "four channels": (
        {"train_set_x": np.zeros((6, 4, 4, 4), np.uint8)},
        ("train_set_x", "(6, 4, 4, 4)", "(m, h, w, 3)"),
    ),
    "no example": ({"train_set_x": IMAGES[:0], "train_set_y": LABELS[:0]}, ("train_set_x", "(0, 4, 4, 3)", "empty")),
    "text inputs": ({"train_set_x": np.array([b"a", b"b"])}, ("train_set_x", "|S1", "allowed: integers or")),
    "NaN": ({"train_set_x": with_nan(IMAGES)}, ("train_set_x", "(2, 1, 0, 0)", "nan", "finite")),
    "infinity": ({"train_set_x": np.full((6, 4, 4, 3), np.inf)}, ("train_set_x", "(0, 0, 0, 0)", "inf", "finite")),
    "fewer labels": ({"train_set_y": LABELS[:5]}, ("train_set_y", "holds 5 labels", "allowed: 6")),
    "label column": ({"train_set_y": LABELS[:, None]}, ("train_set_y", "(6, 1)", "(m,)")),
    "label too large": ({"train_set_y": LABELS + 1}, ("train_set_y", "label at 2 is 3", "0 to 2")),
    "negative label": ({"train_set_y": LABELS - 1}, ("train_set_y", "label at 0 is -1", "0 to 2")),
    "fractional labels": ({"train_set_y": LABELS / 2}, ("train_set_y", "float64", "integers")),
    "one class": ({"list_classes": NAMES[:1]}, ("list_classes", "(1,)", "at least 2")),
    "scalar classes": ({"list_classes": 3}, ("list_classes", "()", "at least 2")),
}


@pytest.mark.parametrize("fault", BAD_COURSE_FILES)
def test_a_bad_course_file_is_refused_with_file_field_value_and_allowed(fault, course_folder):
    changes, parts = BAD_COURSE_FILES[fault]
    write_course(course_folder, "train", **changes)
    assert_names(refused(read_course_hdf5, course_folder, "toy"), course_folder / "train_toy.h5", "allowed:", *parts)


def test_the_test_file_is_checked_as_strictly_as_the_training_file(course_folder):
    write_course(course_folder, "test", test_set_y=LABELS + 1)
    assert_names(refused(read_course_hdf5, course_folder, "toy"), "test_toy.h5: test_set_y", "is 3", "0 to 2")


def test_parts_of_different_image_shape_are_refused(course_folder):
    write_course(course_folder, "test", test_set_x=IMAGES[:, :2])
    message = refused(read_course_hdf5, course_folder, "toy")
    assert_names(message, "test_toy.h5: test_set_x", "(2, 4, 3)", "allowed: (4, 4, 3)", "train_toy.h5")


def test_parts_with_different_classes_are_refused(course_folder):
    write_course(course_folder, "test", list_classes=NAMES[::-1])
    assert_names(refused(read_course_hdf5, course_folder, "toy"), "test_toy.h5: list_classes", "('two',", "('none',")


def test_a_missing_course_file_is_named(course_folder):
    (course_folder / "test_toy.h5").unlink()
    assert_names(refused(read_course_hdf5, course_folder, "toy"), course_folder / "test_toy.h5", "no such file")


def test_a_file_that_is_no_hdf5_is_refused(course_folder):
    (course_folder / "train_toy.h5").write_text("<html>not found</html>")
    assert_names(refused(read_course_hdf5, course_folder, "toy"), "train_toy.h5", "allowed: a complete HDF5 file")


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_hdf5_file_is_refused(kept, course_folder):
    path = course_folder / "train_toy.h5"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert_names(refused(read_course_hdf5, course_folder, "toy"), path, "allowed: a complete HDF5 file")


def test_damaged_compressed_images_are_refused(course_folder):
    path = course_folder / "train_toy.h5"
    with h5py.File(path, "r+") as file:
        del file["train_set_x"]
        stored = file.create_dataset("train_set_x", data=IMAGES, compression="gzip", chunks=IMAGES.shape)
        offset = stored.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 4 : offset + 12] = b"\xff" * 8
    path.write_bytes(content)
    assert_names(refused(read_course_hdf5, course_folder, "toy"), path, "cannot be read")


def test_a_group_in_place_of_an_array_is_refused(course_folder):
    with h5py.File(course_folder / "train_toy.h5", "r+") as file:
        del file["train_set_x"]
        file.create_group("train_set_x")
    assert_names(refused(read_course_hdf5, course_folder, "toy"), "train_toy.h5", "train_set_x is a Group", "array")


def test_a_folder_in_place_of_a_file_is_refused(course_folder):
    (course_folder / "train_toy.h5").unlink()
    (course_folder / "train_toy.h5").mkdir()
    assert_names(refused(read_course_hdf5, course_folder, "toy"), "train_toy.h5", "found a folder")


# --- .npz -------------------------------------------------------------------------------------------------------------

ARCHIVE = {"train_x": IMAGES, "train_y": LABELS, "test_x": IMAGES[:3], "test_y": LABELS[:3]}


def write_npz(folder, **changes):
    path = folder / "toy.npz"
    np.savez(path, **{key: value for key, value in (ARCHIVE | changes).items() if value is not None})
    return path


def test_an_archive_of_images_is_read_as_stored(tmp_path):
    raw = read_npz(write_npz(tmp_path))
    np.testing.assert_array_equal(raw.train_x, IMAGES)
    np.testing.assert_array_equal(raw.test_y, LABELS[:3])
    assert raw.class_names == ("0", "1", "2")
    assert raw.image_shape == (4, 4, 3)


def test_an_archive_of_features_has_no_image_shape(tmp_path):
    raw = read_npz(write_npz(tmp_path, train_x=np.eye(6, dtype=np.float32), test_x=np.ones((3, 6))))
    assert raw.image_shape is None
    assert not raw.has_image_bytes


BAD_ARCHIVES = {
    "missing key": ({"test_y": None}, ("test_y is missing", "train_x")),
    "one axis": ({"train_x": np.ones(6)}, ("train_x", "(6,)", "(m, n)")),
    "five axes": ({"train_x": np.ones((6, 1, 1, 1, 1))}, ("train_x", "(6, 1, 1, 1, 1)", "(m, h, w, channels)")),
    "no example": ({"test_x": IMAGES[:0], "test_y": LABELS[:0]}, ("test_x", "(0, 4, 4, 3)", "at least 1 example")),
    "no feature": ({"train_x": np.ones((6, 0))}, ("train_x", "(6, 0)", "empty")),
    "complex inputs": ({"train_x": np.ones((6, 2), complex)}, ("train_x", "complex128", "floating-point")),
    "NaN": ({"test_x": with_nan(IMAGES)[:3]}, ("test_x", "(2, 1, 0, 0)", "nan", "finite")),
    "other shapes": ({"test_x": np.ones((3, 5))}, ("test_x", "(5,)", "allowed: (4, 4, 3)", "train_x")),
    "fewer labels": ({"test_y": LABELS[:2]}, ("test_y", "holds 2 labels", "allowed: 3")),
    "label column": ({"train_y": LABELS[:, None]}, ("train_y", "(6, 1)", "(m,) integers for classes")),
    "boolean labels": ({"train_y": LABELS > 0}, ("train_y", "bool", "integers")),
    "complex targets": ({"train_y": LABELS + 0j}, ("train_y", "complex128", "floating-point numbers to predict")),
    "numbers, then classes": ({"train_y": LABELS / 2}, ("test_y", "int64", "float64 in", "train_y", "in both")),
    "classes, then numbers": ({"test_y": LABELS[:3] / 2}, ("test_y", "float64", "int64 in", "train_y", "in both")),
    "negative label": ({"train_y": LABELS - 1}, ("train_y", "label at 0 is -1", "0 or more")),
    "stray label": ({"train_y": LABELS * 500}, ("train_y", "largest label is 1000", "1 never occurs")),
    "one class": ({"train_y": LABELS * 0}, ("train_y", "every label is 0", "at least 2 classes")),
    "test class not in train": ({"test_y": LABELS[:3] + 1}, ("test_y", "label at 2 is 3", "0 to 2")),
    "objects": ({"train_y": LABELS.astype(object)}, ("train_y", "never unpickled")),
}


NUMBERS = np.linspace(-1.0, 1.0, 6)
PAIRS = np.stack([NUMBERS, NUMBERS**2], axis=1)
TOKENS = np.array([[1, 2, 0], [2, 0, 0], [1, 1, 2], [2, 2, 0], [1, 0, 0], [2, 1, 1]], np.int8)

# Of archives whose targets are two numbers each, and of archives of tokens.
BAD_NUMBERS = {
    "NaN target": ({"train_y": np.where(PAIRS == 1.0, np.nan, PAIRS)}, ("train_y", "(0, 1)", "nan", "finite")),
    "infinite target": ({"test_y": np.full((3, 2), -np.inf)}, ("test_y", "(0, 0)", "-inf", "finite")),
    "huge target": ({"test_y": np.full((3, 2), 1e19)}, ("test_y", "1e+19", "-1e+18 to 1e+18")),
    "fewer targets": ({"train_y": PAIRS[:5]}, ("train_y", "targets of 5 examples", "allowed: 6")),
    "fewer test targets": ({"test_y": PAIRS[:2]}, ("test_y", "targets of 2 examples", "allowed: 3")),
    "other number of targets": ({"test_y": PAIRS[:3, :1]}, ("test_y", "(3, 1)", "train_y", "(6, 2)")),
    "one number, then two": ({"train_y": NUMBERS}, ("test_y", "(3, 2)", "train_y", "(6,)")),
    "no target": ({"train_y": PAIRS[:, :0]}, ("train_y", "(6, 0)", "(m, k)")),
    "images as targets": ({"train_y": PAIRS[:, None]}, ("train_y", "(6, 1, 2)", "(m,) or (m, k)")),
}
BAD_TOKENS = {
    "token too large": ({"test_x": TOKENS[:3] + 1}, ("test_x", "token at (0, 1) is 3", "0 to 2")),
    "negative token": ({"train_x": TOKENS - 1}, ("train_x", "token at (0, 2) is -1", "0 to 2")),
    "fractional tokens": ({"train_x": TOKENS / 1.0}, ("train_x", "float64", "integers, as there is a vocabulary")),
    "images of tokens": (
        {"train_x": TOKENS[:, None], "test_x": TOKENS[:3, None]},
        ("train_x", "(6, 1, 3)", "(m, t), tokens, as there is a vocabulary"),
    ),
    "other length": ({"test_x": TOKENS[:3, :2]}, ("test_x", "(2,)", "allowed: (3,)")),
    "vocabulary of one": ({"vocabulary": 1}, ("vocabulary", "is 1;", "an integer from 2 to 65536")),
    "vast vocabulary": ({"vocabulary": 10**6}, ("vocabulary", "is 1000000;", "an integer from 2 to 65536")),
    "list as vocabulary": ({"vocabulary": np.arange(3)}, ("vocabulary", "array of shape (3,)", "an integer from 2")),
    "true as vocabulary": ({"vocabulary": True}, ("vocabulary", "is True;", "an integer from 2")),
    "fractional vocabulary": ({"vocabulary": 3.0}, ("vocabulary", "is 3.0;", "an integer from 2")),
    "letters": ({"train_x": np.array([["a"]])}, ("train_x", "<U1", "numeric arrays")),
}


@pytest.mark.parametrize("targets", [NUMBERS, PAIRS, PAIRS.astype(np.float32), NUMBERS[:, None]])
def test_targets_that_are_no_integers_are_numbers_to_predict(targets, tmp_path):
    raw = read_npz(write_npz(tmp_path, train_y=targets, test_y=targets[:3]))
    np.testing.assert_array_equal(raw.train_y, targets, strict=targets.dtype == np.float64)
    np.testing.assert_array_equal(raw.test_y, targets[:3])
    assert raw.train_y.dtype == raw.test_y.dtype == np.float64
    assert raw.class_names == ()


@pytest.mark.parametrize("fault", BAD_NUMBERS)
def test_numbers_that_cannot_be_predicted_are_refused(fault, tmp_path):
    changes, parts = BAD_NUMBERS[fault]
    path = write_npz(tmp_path, **({"train_y": PAIRS, "test_y": PAIRS[:3]} | changes))
    assert_names(refused(read_npz, path), path, "allowed:", *parts)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.uint64])
def test_an_archive_with_a_vocabulary_holds_tokens(kind, tmp_path):
    tokens = TOKENS.astype(kind)
    raw = read_npz(write_npz(tmp_path, train_x=tokens, test_x=tokens[:3], vocabulary=3))
    assert raw.vocabulary == 3
    assert raw.image_shape is None
    np.testing.assert_array_equal(raw.train_x, tokens)


def test_integers_without_a_vocabulary_are_numbers(tmp_path):
    assert read_npz(write_npz(tmp_path, train_x=TOKENS, test_x=TOKENS[:3])).vocabulary is None


@pytest.mark.parametrize("fault", BAD_TOKENS)
def test_tokens_that_cannot_be_are_refused(fault, tmp_path):
    changes, parts = BAD_TOKENS[fault]
    path = write_npz(tmp_path, **({"train_x": TOKENS, "test_x": TOKENS[:3], "vocabulary": 3} | changes))
    assert_names(refused(read_npz, path), path, "allowed:", *parts)


@pytest.mark.parametrize("fault", BAD_ARCHIVES)
def test_a_bad_archive_is_refused_with_file_field_value_and_allowed(fault, tmp_path):
    changes, parts = BAD_ARCHIVES[fault]
    path = write_npz(tmp_path, **changes)
    assert_names(refused(read_npz, path), path, "allowed:", *parts)


class Trap:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_an_object_array_is_never_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    path = write_npz(tmp_path, train_x=np.array([Trap(sprung)], dtype=object))
    assert_names(refused(read_npz, path), "train_x", "never unpickled")
    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps(Trap(sprung)))
    assert_names(refused(read_npz, bare), bare, "never unpickled")
    assert not sprung.exists()


def test_a_missing_archive_is_named(tmp_path):
    assert_names(refused(read_npz, tmp_path / "absent.npz"), tmp_path / "absent.npz", "no such file")


def test_a_single_array_is_no_archive(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    assert_names(refused(read_npz, tmp_path / "x.npy"), "single array", "train_x")


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), kept=st.floats(0.05, 1))
def test_a_damaged_archive_is_read_or_refused_but_never_breaks_the_reader(place, byte, kept, tmp_path_factory):
    path = write_npz(tmp_path_factory.mktemp("damaged"))
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] = byte
    path.write_bytes(content[: int(kept * len(content))])
    try:
        raw = read_npz(path)
    except DataError as error:
        assert_names(str(error), path, "allowed:")
    else:
        assert isinstance(raw, RawData)
        assert raw.train_x.shape == IMAGES.shape


# --- folders of images ------------------------------------------------------------------------------------------------


def write_image(path, colour=(200, 100, 50), size=(20, 10), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)


@pytest.fixture
def image_folder(tmp_path):
    for part, count in (("train", 3), ("test", 1)):
        for index in range(count):
            write_image(tmp_path / part / "cat" / f"{index}.png", (index, 0, 0))
            write_image(tmp_path / part / "dog" / f"{index}.JPG", (0, 200, 0), format="JPEG")
    return tmp_path


def test_images_are_read_in_rgb_at_one_size_with_the_classes_in_turn(image_folder):
    raw = read_image_folder(image_folder)
    assert raw.train_x.shape == (6, 64, 64, 3)
    assert raw.train_x.dtype == np.uint8
    assert raw.class_names == ("cat", "dog")
    assert raw.train_y.tolist() == [0, 1, 0, 1, 0, 1]
    assert raw.train_x[::2, 0, 0, 0].tolist() == [0, 1, 2]
    assert raw.test_y.tolist() == [0, 1]


def test_grey_palette_and_transparent_images_become_rgb(image_folder):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(image_folder / "train" / "cat" / "7.png", transparency=b"\x80\xff")
    Image.new("L", (8, 8), 90).save(image_folder / "train" / "cat" / "8.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(image_folder / "train" / "cat" / "9.png")
    raw = read_image_folder(image_folder)
    last = raw.train_x[raw.train_y == 0][-3:, 5, 5].tolist()
    assert last == [[10, 20, 30], [90, 90, 90], [1, 2, 3]]


def test_a_photograph_taken_sideways_is_turned_upright(image_folder):
    sideways = Image.new("RGB", (64, 64), (255, 255, 255))
    sideways.paste((0, 0, 0), (0, 0, 32, 64))
    orientation = Image.Exif()
    orientation[0x0112] = 6  # to be turned a quarter clockwise: the dark left half comes to the top
    sideways.save(image_folder / "test" / "cat" / "0.png", exif=orientation)
    image = read_image_folder(image_folder).test_x[0]
    assert image[:30].max() == 0
    assert image[34:].min() == 255


def test_hidden_files_and_notes_are_passed_over(image_folder):
    (image_folder / "train" / ".DS_Store").write_bytes(b"")
    (image_folder / "train" / "cat" / ".hidden.png").write_bytes(b"")
    (image_folder / "train" / "cat" / "notes.txt").write_text("three cats")
    assert len(read_image_folder(image_folder).train_x) == 6


def test_a_folder_without_train_or_test_is_refused(tmp_path):
    assert_names(refused(read_image_folder, tmp_path), tmp_path / "train", "no such folder", "one folder of images")


def test_a_folder_without_a_class_folder_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    assert_names(refused(read_image_folder, tmp_path), tmp_path / "train", "no class folder", "allowed:")


def test_a_single_class_is_refused(tmp_path):
    for part in ("train", "test"):
        write_image(tmp_path / part / "cat" / "0.png")
    assert_names(refused(read_image_folder, tmp_path), "one class cat", "at least 2 classes")


def test_a_class_without_an_image_is_refused(image_folder):
    (image_folder / "train" / "eel").mkdir()
    assert_names(refused(read_image_folder, image_folder), image_folder / "train" / "eel", "no image", ".png")


def test_a_test_class_that_is_not_in_train_is_refused(image_folder):
    write_image(image_folder / "test" / "eel" / "0.png")
    assert_names(refused(read_image_folder, image_folder), image_folder / "test" / "eel", "('cat', 'dog')")


def test_an_image_type_that_is_not_read_is_refused_and_not_dropped(image_folder):
    write_image(image_folder / "train" / "cat" / "4.gif")
    assert_names(refused(read_image_folder, image_folder), "4.gif", ".gif is not read", ".png")


@pytest.mark.parametrize("content", [b"", b"not an image", "half"])
def test_an_unreadable_image_is_named(content, image_folder):
    path = image_folder / "train" / "dog" / "1.JPG"
    path.write_bytes(path.read_bytes()[:300] if content == "half" else content)
    assert_names(refused(read_image_folder, image_folder), path, "cannot be read", "PNG or JPEG")


def test_a_sixteen_bit_image_is_refused_and_not_clipped(image_folder):
    path = image_folder / "train" / "cat" / "1.png"
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(path)
    assert_names(refused(read_image_folder, image_folder), path, "I;16", "8-bit")


# --- the course's own files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "train_classes", "test_classes", "names"),
    [
        ("signs", [180] * 6, [20] * 6, ("0", "1", "2", "3", "4", "5")),
        ("catvnoncat", [137, 72], [17, 33], ("non-cat", "cat")),
    ],
)
def test_the_course_files_hold_what_their_description_says(stem, train_classes, test_classes, names, course_data):
    raw = read_course_hdf5(course_data, stem)
    assert raw.train_x.shape == (sum(train_classes), 64, 64, 3)
    assert raw.test_x.shape == (sum(test_classes), 64, 64, 3)
    assert np.bincount(raw.train_y).tolist() == train_classes
    assert np.bincount(raw.test_y).tolist() == test_classes
    assert raw.class_names == names
    assert raw.has_image_bytes


def test_without_the_course_files_the_tests_skip_and_the_last_lines_say_so(tmp_path):
    chosen = f"{__file__}::test_the_course_files_hold_what_their_description_says"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", chosen]
    environment = os.environ | {"CONFORMANCE_DATA": str(tmp_path)}
    root = Path(__file__).resolve().parents[3]
    output = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True).stdout
    assert "COURSE DATA ABSENT: 2 tests were skipped; set CONFORMANCE_DATA" in output
