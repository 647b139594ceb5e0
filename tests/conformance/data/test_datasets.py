"""Data sets: split, limited and scaled without a look at the test set, and honest about test rows seen in training."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from io import BytesIO

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from sklearn.datasets import load_diabetes

from conformance.data import datasets, files, hdf5, leaks
from conformance.data.datasets import (
    DATASETS,
    SCALINGS,
    DataError,
    load_dataset,
    shuffled_split,
    stratified_split,
)
from conformance.data.extents import EXTENTS
from conformance.data.leaks import JPEG_COPY_THRESHOLD, near_duplicate_rows, nearest_training_distances

EMBEDDED = ("breast_cancer", "digits", "words")
PLANAR = ("flower", "moons", "xor")
TOKENS = ("brackets", "words")
CLASSIFIED = (*EMBEDDED, *PLANAR, "hand_signs", "brackets")
REGRESSION = ("diabetes", "housing")
MULTILABEL = ("attributes",)
WITHOUT_FILES = (*CLASSIFIED, *REGRESSION, *MULTILABEL)
TABLES = tuple(name for name in WITHOUT_FILES if name not in ("hand_signs", *TOKENS))
FEW = {"examples": 18, "test_examples": 12}
SIGNS_ALSO_IN_TRAIN = [2, 36, 40, 42, 48, 55, 70, 81, 91, 92, 102, 106]


def rows_of(x):
    return {row.tobytes() for row in x}


def arrays_of(dataset):
    return (dataset.train_x, dataset.train_y, dataset.test_x, dataset.test_y)


@pytest.fixture
def archive(tmp_path):
    """An .npz of 40 + 10 rows of 3 features, the last constant."""
    generator = np.random.Generator(np.random.Philox(key=1))
    x = np.concatenate([generator.normal(5.0, 3.0, (50, 2)), np.full((50, 1), 7.0)], axis=1)
    y = np.arange(50) % 2
    np.savez(tmp_path / "toy.npz", train_x=x[:40], train_y=y[:40], test_x=x[40:], test_y=y[40:])
    return tmp_path / "toy.npz"


@pytest.fixture
def course_folder(tmp_path, monkeypatch):
    """A folder of signs files of 4 x 4 images in which test row 1 is training row 2, changed by 5 bytes throughout."""
    train = np.random.Generator(np.random.Philox(key=2)).integers(0, 240, (6, 4, 4, 3), np.uint8)
    test = np.stack([255 - train[0], train[2] + np.uint8(5), train[3] + np.uint8(7)])
    for part, x in (("train", train), ("test", test)):
        with h5py.File(tmp_path / f"{part}_signs.h5", "w") as file:
            file[f"{part}_set_x"], file[f"{part}_set_y"] = x, np.arange(len(x)) % 3
            file["list_classes"] = np.arange(3)
    monkeypatch.delenv("CONFORMANCE_DATA", raising=False)
    return tmp_path


def test_every_row_of_the_registry_carries_its_key_and_allowed_words():
    for name, info in DATASETS.items():
        assert info.name == name
        assert info.kind in ("embedded", "generated", "files")
        assert info.task in ("binary", "multiclass", "multilabel", "regression")
        assert info.description


def test_the_registry_holds_the_promised_data_sets_and_neither_it_nor_a_data_set_can_be_changed():
    assert set(DATASETS) == {*WITHOUT_FILES, "signs_files", "cat_files", "npz", "image_folder"}
    with pytest.raises(TypeError):
        DATASETS["other"] = DATASETS["digits"]
    with pytest.raises(FrozenInstanceError):
        load_dataset("xor").n_classes = 3


def test_importing_the_data_sets_imports_no_reader():
    statement = "import sys, conformance.data.datasets; print({'sklearn', 'h5py', 'PIL'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"


def test_the_error_is_one_class_in_both_modules():
    assert DataError is files.DataError
    assert issubclass(DataError, ValueError)


# --- shapes, determinism, balance -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_shapes_and_types_are_as_promised(name):
    dataset = load_dataset(name, **FEW)
    assert dataset.name == name
    assert dataset.train_x.shape[0] == dataset.train_y.shape[0] == 18
    assert dataset.test_x.shape[0] == dataset.test_y.shape[0] == 12
    assert dataset.train_x.shape[1:] == dataset.test_x.shape[1:]
    for x in (dataset.train_x, dataset.test_x, dataset.raw_train_x, dataset.raw_test_x):
        assert x.dtype == (np.int64 if name in TOKENS else np.float64)
    assert dataset.leaked_test_rows.dtype == np.int64
    assert len(dataset.class_names) == dataset.n_classes
    if dataset.image_shape is not None:
        assert np.prod(dataset.image_shape) == dataset.train_x.shape[1]


@pytest.mark.parametrize("name", CLASSIFIED)
def test_classes_are_integers_below_their_number_which_is_two_for_a_binary_task(name):
    dataset = load_dataset(name, **FEW)
    assert DATASETS[name].task == ("binary" if dataset.n_classes == 2 else "multiclass")
    for y in (dataset.train_y, dataset.test_y):
        assert y.dtype == np.int64
        assert y.ndim == 1
        assert set(y) <= set(range(dataset.n_classes))


@pytest.mark.parametrize("name", REGRESSION)
def test_the_targets_of_a_regression_are_finite_numbers_and_have_no_classes(name):
    dataset = load_dataset(name, **FEW)
    assert DATASETS[name].task == "regression"
    assert dataset.n_classes == 0
    for y, examples in ((dataset.train_y, 18), (dataset.test_y, 12)):
        assert y.dtype == np.float64
        assert y.shape == (examples,)
        assert np.isfinite(y).all()


@pytest.mark.parametrize("name", MULTILABEL)
def test_the_targets_of_a_multilabel_task_hold_one_or_zero_for_each_label(name):
    dataset = load_dataset(name, **FEW)
    assert DATASETS[name].task == "multilabel"
    for y, examples in ((dataset.train_y, 18), (dataset.test_y, 12)):
        assert y.dtype == np.int64
        assert y.shape == (examples, dataset.n_classes)
        assert set(y.ravel()) == {0, 1}


@pytest.mark.parametrize(
    ("name", "train", "test", "image_shape"),
    [
        ("breast_cancer", (456, 30), (113, 30), None),
        ("digits", (1438, 64), (359, 64), (8, 8)),
        ("diabetes", (354, 10), (88, 10), None),
        ("flower", (400, 2), (200, 2), None),
        ("moons", (400, 2), (200, 2), None),
        ("xor", (400, 2), (200, 2), None),
        ("words", (540, 12), (135, 12), None),
        ("brackets", (1200, 12), (300, 12), None),
        ("attributes", (200, 2), (100, 2), None),
        ("housing", (300, 2), (100, 2), None),
        ("hand_signs", (540, 64 * 64 * 3), (120, 64 * 64 * 3), (64, 64, 3)),
    ],
)
def test_the_default_sizes_are_the_documented_ones(name, train, test, image_shape):
    dataset = load_dataset(name, scaling="none")
    assert dataset.train_x.shape == train
    assert dataset.test_x.shape == test
    assert dataset.image_shape == image_shape
    assert dataset.leaked_test_rows.size == 0


@pytest.mark.parametrize("name", [*PLANAR, "hand_signs", "brackets"])
def test_drawn_classes_have_equally_many_examples(name):
    dataset = load_dataset(name)
    assert np.ptp(np.bincount(dataset.train_y)) == np.ptp(np.bincount(dataset.test_y)) == 0


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name):
    first, again, other = (load_dataset(name, seed=seed, scaling="none", **FEW) for seed in (3, 3, 4))
    for one, same in zip(arrays_of(first), arrays_of(again), strict=True):
        assert one.tobytes() == same.tobytes()
    assert first.train_x.tobytes() != other.train_x.tobytes()
    assert first.test_x.tobytes() != other.test_x.tobytes()


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_ten_examples_are_the_first_ten_of_thirty(name):
    few = load_dataset(name, scaling="none", examples=10, test_examples=5)
    many = load_dataset(name, scaling="none", examples=30, test_examples=15)
    for short, long in zip(arrays_of(few), arrays_of(many), strict=True):
        np.testing.assert_array_equal(short, long[: len(short)])


@pytest.mark.parametrize("name", [*PLANAR, "hand_signs"])
def test_drawn_training_and_test_examples_are_different_draws(name, monkeypatch):
    # At equal sizes two draws from one generator would be equal, whatever the order in which it is used.
    monkeypatch.setattr(datasets, "DRAWN_POINTS", (60, 60))
    dataset = load_dataset(name, scaling="none", examples=60, test_examples=60)
    assert not rows_of(dataset.train_x) & rows_of(dataset.test_x)


@pytest.mark.parametrize("name", ["housing", *MULTILABEL])
def test_drawn_targets_come_with_examples_of_which_none_is_in_both_parts(name):
    # Drawn from one generator, the test set would begin with the first numbers of the training set.
    dataset = load_dataset(name, scaling="none")
    assert not set(dataset.train_x[:, 0]) & set(dataset.test_x[:, 0])


@given(examples=st.integers(1, 80), seed=st.integers())
def test_a_shuffled_split_takes_a_fifth_of_the_rows_and_every_row_once(examples, seed):
    train, test = shuffled_split(examples, seed, "toy")
    assert sorted([*train, *test]) == list(range(examples))
    assert len(test) == round(0.2 * examples)
    assert train.dtype == test.dtype == np.int64


def test_shuffled_splits_for_two_purposes_differ():
    one, other = (shuffled_split(442, 0, purpose) for purpose in ("toy", "game"))
    assert set(one[1]) != set(other[1])
    assert one[1].tolist() != sorted(one[1])


@settings(deadline=None)
@given(labels=arrays(np.int64, st.integers(1, 80), elements=st.integers(0, 4)), seed=st.integers())
def test_a_stratified_split_takes_a_fifth_of_each_class_and_every_row_once(labels, seed):
    train, test = stratified_split(labels, seed, "toy")
    assert sorted([*train, *test]) == list(range(len(labels)))
    for label in np.unique(labels):
        assert np.sum(labels[test] == label) == round(0.2 * np.sum(labels == label))


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_test_rows_are_not_in_train_and_classes_keep_their_shares(name):
    dataset = load_dataset(name, scaling="none")
    assert not rows_of(dataset.train_x) & rows_of(dataset.test_x)
    shares = [np.bincount(y) / len(y) for y in (dataset.train_y, dataset.test_y)]
    np.testing.assert_allclose(*shares, atol=0.01)


@pytest.mark.parametrize("label", [0, 1])
def test_flower_points_cover_the_petals_of_their_label_and_no_others(label):
    flower = load_dataset("flower", scaling="none")
    theta = np.linspace(3.12 * label, 3.12 * (label + 1), 2000)
    petals = (4.0 * np.sin(4.0 * theta))[:, None] * np.stack([np.sin(theta), np.cos(theta)], axis=1)
    points = flower.train_x[flower.train_y == label]
    gaps = np.linalg.norm(points[:, None] - petals[None], axis=2)
    assert np.median(gaps.min(axis=1)) < 0.3
    assert gaps.min(axis=0).max() < 1.2
    # The other label's petals are these, turned by half a turn.
    assert np.median(np.linalg.norm(points[:, None] + petals[None], axis=2).min(axis=1)) > 0.5


def test_xor_labels_follow_the_signs_for_almost_every_point():
    xor = load_dataset("xor", scaling="none")
    assert np.mean((xor.train_x.prod(axis=1) < 0) == xor.train_y) > 0.97


def test_moons_lie_on_their_half_circles_up_to_the_noise():
    moons = load_dataset("moons", scaling="none")
    centres = np.where(moons.train_y[:, None] == 0, (0.0, 0.0), (1.0, 0.5))
    distance = np.linalg.norm(moons.train_x - centres, axis=1) - 1.0
    assert abs(distance.mean()) < 0.05
    assert distance.std() == pytest.approx(0.2, abs=0.03)


def test_diabetes_keeps_every_patient_with_the_own_target_in_hundreds():
    bunch = load_diabetes(scaled=False)
    dataset = load_dataset("diabetes", scaling="none")
    given_rows = np.column_stack([bunch.data, bunch.target / 100.0])
    parts = ((dataset.train_x, dataset.train_y), (dataset.test_x, dataset.test_y))
    returned = np.concatenate([np.column_stack(part) for part in parts])
    np.testing.assert_array_equal(np.unique(returned, axis=0), np.unique(given_rows, axis=0))
    assert len(returned) == len(given_rows) == 442
    assert (given_rows[:, -1].min(), given_rows[:, -1].max()) == (0.25, 3.46)
    assert np.mean(given_rows[:, -1] ** 2) == pytest.approx(2.9074, abs=5e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_house_prices_follow_the_line_and_stop_at_zero(seed):
    houses = load_dataset("housing", seed=seed, scaling="none")
    size, bedrooms = houses.train_x.T
    line = 2.0 * size + 0.2 * bedrooms - 1.5
    # 1.8 is six standard deviations of the noise: there, no price is cut off and the rest is the noise itself. The
    # allowances are six standard errors of a mean and of a standard deviation: one seed in 10^8 goes beyond.
    noise = (houses.train_y - line)[line > 1.8]
    assert abs(noise.mean()) < 6 * 0.3 / np.sqrt(len(noise))
    assert abs(noise.std() - 0.3) < 6 * 0.3 / np.sqrt(2 * len(noise))
    # Without the cut the least of 300 prices would be near -0.8; with it none is 0 for one seed in 10^10.
    assert houses.train_y.min() == 0.0
    assert houses.test_y.min() >= 0.0


def test_houses_have_one_to_five_bedrooms_and_the_larger_ones_more():
    houses = load_dataset("housing", scaling="none")
    size, bedrooms = houses.train_x.T
    assert 0.4 <= size.min() < 0.5
    assert 2.9 < size.max() <= 3.0
    assert set(bedrooms) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert np.corrcoef(size, bedrooms)[0, 1] > 0.5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_attributes_say_where_the_point_is_and_are_balanced_and_unrelated(seed):
    points = load_dataset("attributes", seed=seed, scaling="none")
    for x, y in ((points.train_x, points.train_y), (points.test_x, points.test_y)):
        inside = np.hypot(*x.T) < 1.6
        above = x[:, 1] - np.sin(3.0 * x[:, 0]) > 0.0
        opposite = np.sign(x[:, 0]) != np.sign(x[:, 1])
        np.testing.assert_array_equal(y, np.column_stack([inside, above, opposite]))
        assert 1.8 < np.abs(x).max() <= 2.0
        # Five standard deviations of the share of an even label among 100 points.
        np.testing.assert_allclose(y.mean(axis=0), 0.5, atol=0.25)
    # Each of the eight has probability 1/8: one is absent from 200 points for one seed in 10^10.
    assert len(np.unique(points.train_y, axis=0)) == 8


# --- scaling ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(TABLES), seed=st.integers(0, 1000), examples=st.integers(1, 120))
def test_standardizing_uses_the_training_examples_that_are_returned_and_no_others(name, seed, examples):
    raw = load_dataset(name, seed=seed, scaling="none", examples=examples)
    scaled = load_dataset(name, seed=seed, examples=examples)
    mean = raw.train_x.mean(axis=0)
    spread = raw.train_x.std(axis=0, ddof=0)
    spread[np.ptp(raw.train_x, axis=0) == 0.0] = 1.0
    np.testing.assert_allclose(scaled.train_x, (raw.train_x - mean) / spread, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scaled.test_x, (raw.test_x - mean) / spread, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(scaled.train_y, raw.train_y)
    np.testing.assert_array_equal(scaled.test_y, raw.test_y)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_data_set_says_how_it_was_scaled(scaling):
    assert load_dataset("digits", scaling=scaling).scaling == scaling


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_are_never_scaled(name):
    asked, left_alone = load_dataset(name), load_dataset(name, scaling="none")
    for dataset in (asked, left_alone):
        assert dataset.scaling == "none"
        assert dataset.train_x.tobytes() == dataset.raw_train_x.tobytes() == left_alone.raw_train_x.tobytes()
        assert dataset.test_x.tobytes() == dataset.raw_test_x.tobytes() == left_alone.raw_test_x.tobytes()


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_the_vocabulary_and_the_targets_are_those_that_are_told(name):
    dataset = load_dataset(name, **FEW)
    assert (dataset.vocabulary, dataset.targets) == (EXTENTS[name].vocabulary, EXTENTS[name].targets)
    assert (dataset.vocabulary is not None) == (name in TOKENS)
    assert dataset.targets == (3 if name == "attributes" else 1)


def test_the_test_set_has_no_say_in_the_scaling(archive):
    before = load_dataset("npz", path=archive)
    with np.load(archive) as stored:
        content = dict(stored)
    np.savez(archive, **(content | {"test_x": content["test_x"] * 1000.0}))
    after = load_dataset("npz", path=archive)
    assert before.train_x.tobytes() == after.train_x.tobytes()
    assert np.abs(after.test_x).max() > 100.0


def test_a_constant_feature_is_centred_and_not_divided_by_zero(archive):
    dataset = load_dataset("npz", path=archive)
    np.testing.assert_array_equal(dataset.train_x[:, 2], 0.0)
    np.testing.assert_allclose(dataset.train_x[:, :2].std(axis=0), 1.0)


def test_unit_scaling_divides_image_bytes_by_255():
    raw, unit = (load_dataset("hand_signs", scaling=scaling, **FEW) for scaling in ("none", "unit"))
    assert raw.train_x.max() > 1.0
    np.testing.assert_array_equal(unit.train_x, raw.train_x / 255.0)
    np.testing.assert_array_equal(unit.test_x, raw.test_x / 255.0)


def test_unit_scaling_divides_the_digits_by_their_white():
    raw, unit = (load_dataset("digits", scaling=scaling) for scaling in ("none", "unit"))
    assert raw.train_x.max() == 16.0
    np.testing.assert_array_equal(unit.train_x, raw.train_x / 16.0)


@pytest.mark.parametrize(
    ("name", "found"),
    [("breast_cancer", "no images"), ("xor", "no images"), ("housing", "no images"), ("words", "tokens")],
)
def test_unit_scaling_is_refused_for_what_is_no_image_of_bytes(name, found):
    with pytest.raises(DataError, match=f"{name}: scaling is 'unit'.*{found}.*allowed: 'standardize' or 'none'"):
        load_dataset(name, scaling="unit")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("iris", {}, "data set is 'iris'; allowed: breast_cancer, digits,"),
        ("digits", {"scaling": "minmax"}, "digits: scaling is 'minmax'; allowed: " + ", ".join(SCALINGS)),
        ("digits", {"path": "somewhere"}, "digits: path is somewhere; allowed: none, it is embedded"),
        ("digits", {"seed": 0.5}, "digits: seed is 0.5; allowed: an integer"),
        ("digits", {"examples": 0}, "digits: examples is 0; allowed: an integer from 1"),
        ("hand_signs", {"test_examples": -1}, "hand_signs: test_examples is -1; allowed: an integer from 1"),
        ("digits", {"examples": 2.5}, "digits: examples is 2.5; allowed: an integer from 1"),
        ("flower", {"examples": 401}, "flower: examples is 401; allowed: 1 to 400"),
        ("housing", {"examples": 301}, "housing: examples is 301; allowed: 1 to 300"),
        ("attributes", {"test_examples": 101}, "attributes: test_examples is 101; allowed: 1 to 100"),
        ("words", {"examples": 541}, "words: examples is 541; allowed: 1 to 540"),
        ("diabetes", {"test_examples": 89}, "diabetes: test_examples is 89; allowed: 1 to 88"),
        ("digits", {"test_examples": 360}, "digits: test_examples is 360; allowed: 1 to 359"),
        ("npz", {}, "npz: no path is given; allowed: the path of an .npz archive"),
        ("image_folder", {}, "image_folder: no path is given; allowed: the path of a folder"),
    ],
)
def test_an_argument_that_is_not_allowed_is_named(name, arguments, message):
    with pytest.raises(DataError) as caught:
        load_dataset(name, **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(("name", "stem"), [("signs_files", "signs"), ("cat_files", "catvnoncat")])
def test_without_a_folder_the_error_names_the_variable_and_the_files(name, stem, value, monkeypatch):
    monkeypatch.delenv("CONFORMANCE_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("CONFORMANCE_DATA", value)
    with pytest.raises(DataError, match=f"CONFORMANCE_DATA.*train_{stem}.h5 and test_{stem}.h5"):
        load_dataset(name)


def test_the_course_folder_may_be_given_by_path_or_by_variable(course_folder, monkeypatch):
    by_path = load_dataset("signs_files", path=course_folder)
    monkeypatch.setenv("CONFORMANCE_DATA", str(course_folder))
    by_variable = load_dataset("signs_files")
    assert by_path.train_x.tobytes() == by_variable.train_x.tobytes()
    monkeypatch.setenv("CONFORMANCE_DATA", str(course_folder / "elsewhere"))
    assert load_dataset("signs_files", path=course_folder).train_x.tobytes() == by_path.train_x.tobytes()


def test_files_keep_their_order(archive):
    with np.load(archive) as stored:
        train_x = stored["train_x"]
    dataset = load_dataset("npz", path=str(archive), scaling="none", examples=7, seed=5)
    np.testing.assert_array_equal(dataset.train_x, train_x[:7])


def test_an_image_folder_is_loaded_like_any_data_set(tmp_path):
    for part, brightness in (("train", 10), ("test", 60)):
        for shift, name in ((0, "night"), (100, "noon")):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("L", (5, 9), brightness + shift).save(tmp_path / part / name / "a.png")
    dataset = load_dataset("image_folder", path=tmp_path, scaling="unit")
    assert dataset.image_shape == (64, 64, 3)
    assert dataset.class_names == ("night", "noon")
    np.testing.assert_array_equal(dataset.test_x[:, 0], np.array([60, 160]) / 255.0)
    assert dataset.leaked_test_rows.size == 0


# --- leaks ------------------------------------------------------------------------------------------------------------

SMALL_BYTES = st.integers(0, 255)


@settings(max_examples=40, deadline=None)
@given(
    test=arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(4)), elements=SMALL_BYTES),
    train=arrays(np.uint8, st.tuples(st.integers(1, 300), st.just(4)), elements=SMALL_BYTES),
    threshold=st.floats(0, 60),
)
def test_near_duplicates_are_those_that_comparing_every_pair_finds(test, train, threshold):
    differences = test[:, None].astype(float) - train[None].astype(float)
    expected = np.sqrt((differences**2).mean(axis=2)).min(axis=1)
    np.testing.assert_allclose(nearest_training_distances(test, train), expected, rtol=1e-12)
    np.testing.assert_array_equal(near_duplicate_rows(test, train, threshold), np.flatnonzero(expected <= threshold))


def test_an_exact_copy_is_at_distance_zero_even_far_from_the_origin():
    train = 1e6 + np.random.Generator(np.random.Philox(key=3)).normal(size=(3 * leaks.BLOCK_ROWS, 7))
    copied = [0, leaks.BLOCK_ROWS - 1, leaks.BLOCK_ROWS, 3 * leaks.BLOCK_ROWS - 1]
    assert nearest_training_distances(train[copied], train).tolist() == [0.0] * 4


def test_image_copies_within_the_jpeg_error_are_reported(course_folder):
    dataset = load_dataset("signs_files", path=course_folder)
    assert 5.0 < JPEG_COPY_THRESHOLD < 7.0
    assert dataset.leaked_test_rows.tolist() == [1]


def test_leaks_are_found_among_the_returned_rows_only(course_folder):
    assert load_dataset("signs_files", path=course_folder, examples=2).leaked_test_rows.tolist() == []
    assert load_dataset("signs_files", path=course_folder, test_examples=1).leaked_test_rows.tolist() == []


def test_features_leak_only_as_exact_copies(archive):
    with np.load(archive) as stored:
        content = dict(stored)
    content["test_x"][4], content["test_x"][6] = content["train_x"][9], content["train_x"][3] + 1e-6
    np.savez(archive, **content)
    assert load_dataset("npz", path=archive).leaked_test_rows.tolist() == [4]


def test_a_patient_in_both_parts_is_a_leak_whatever_the_target(monkeypatch):
    monkeypatch.setattr(datasets, "shuffled_split", lambda *_: (np.arange(100), np.array([200, 7, 300, 99])))
    assert load_dataset("diabetes").leaked_test_rows.tolist() == [1, 3]
    assert load_dataset("diabetes", examples=50).leaked_test_rows.tolist() == [1]


# --- the course's own files -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signs(course_data):
    return load_dataset("signs_files", path=course_data, scaling="none")


@pytest.fixture(scope="module")
def cats(course_data):
    return load_dataset("cat_files", path=course_data, scaling="none")


def test_the_course_data_sets_have_their_known_shapes_and_labels(signs, cats):
    assert signs.train_x.shape == (1080, 12288)
    assert signs.test_x.shape == (120, 12288)
    assert set(signs.train_y) == set(signs.test_y) == set(range(6))
    assert cats.train_x.shape == (209, 12288)
    assert cats.test_x.shape == (50, 12288)
    assert set(cats.train_y) == set(cats.test_y) == {0, 1}
    assert cats.class_names == ("non-cat", "cat")


def test_the_twelve_signs_and_the_one_cat_that_are_also_in_train_are_reported(signs, cats):
    assert signs.leaked_test_rows.tolist() == SIGNS_ALSO_IN_TRAIN
    assert cats.leaked_test_rows.tolist() == [17]


def test_the_distances_behind_the_threshold_are_those_that_are_documented(signs, cats):
    ends_of_the_gap = nearest_training_distances(signs.test_x[[48, 40, 5, 57]], signs.train_x)
    np.testing.assert_allclose(ends_of_the_gap, [3.17, 4.59, 6.20, 7.49], atol=0.01)
    distances = np.sort(nearest_training_distances(cats.test_x, cats.train_x))
    np.testing.assert_allclose(distances[:2], [0.0, 38.27], atol=0.01)


def test_no_jpeg_copy_of_a_sign_can_exceed_the_threshold(signs):
    errors = []
    for row in signs.test_x:
        copy = BytesIO()
        Image.fromarray(row.reshape(64, 64, 3).astype(np.uint8)).save(copy, "JPEG", quality=75, subsampling=2)
        errors.append(np.sqrt(np.mean((np.asarray(Image.open(copy)).ravel() - row) ** 2)))
    assert max(errors) < JPEG_COPY_THRESHOLD
    assert max(errors) == pytest.approx(6.07, abs=0.03)  # decoders round differently


def test_course_images_are_flattened_row_by_row_with_colours_last(cats, course_data):
    raw = hdf5.read_course_hdf5(course_data, "catvnoncat")
    np.testing.assert_array_equal(cats.train_x.reshape(209, 64, 64, 3), raw.train_x)
