"""The drawn hands: deterministic, balanced, varied, and separable by a model that was not told how they are drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.data.hand_signs import (
    CLASS_COUNT,
    FINGER_RADIUS,
    FINGER_SETS,
    FRAME_MARGIN,
    balanced_labels,
    draw_background,
    draw_hand_signs,
    draw_pose,
    draw_skin,
    hand_capsules,
)
from conformance.data.randomness import keyed_generator

SEEDS = st.integers(min_value=-(2**63), max_value=2**64)


@pytest.fixture(scope="module")
def drawn():
    """Images small enough for a closed-form classifier: 540 + 120 hands averaged to 16 x 16, with their labels."""
    train, train_y = draw_hand_signs(540, seed=0)
    test, test_y = draw_hand_signs(120, seed=0, stream="test")
    small = [images.reshape(-1, 16, 4, 16, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1) for images in (train, test)]
    return small[0], train_y, small[1], test_y


def held_out_accuracy(train_x, train_y, test_x, test_y):
    """Accuracy of ridge regression onto one-hot labels, solved in its dual: no library, no iterations."""
    mean = train_x.mean(axis=0)
    train_x, test_x = (train_x - mean) / 64.0, (test_x - mean) / 64.0
    kernel = train_x @ train_x.T + 30.0 * np.eye(len(train_x))
    scores = test_x @ train_x.T @ np.linalg.solve(kernel, np.eye(CLASS_COUNT)[train_y])
    return float((scores.argmax(axis=1) == test_y).mean())


def test_images_are_bytes_of_the_course_shape_and_labels_count_fingers():
    images, labels = draw_hand_signs(12, seed=3)
    assert images.shape == (12, 64, 64, 3)
    assert images.dtype == np.uint8
    assert labels.shape == (12,)
    assert labels.dtype == np.int64
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, short=st.integers(0, 8), more=st.integers(0, 8))
def test_a_short_draw_is_the_start_of_a_longer_one(seed, short, more):
    few, few_labels = draw_hand_signs(short, seed)
    many, many_labels = draw_hand_signs(short + more, seed)
    np.testing.assert_array_equal(few, many[:short])
    np.testing.assert_array_equal(few_labels, many_labels[:short])


def test_a_draw_of_ten_is_the_start_of_a_draw_of_thirty():
    np.testing.assert_array_equal(draw_hand_signs(10, 5)[0], draw_hand_signs(30, 5)[0][:10])


def test_the_same_seed_draws_the_same_bytes_and_another_seed_or_stream_others():
    images, _ = draw_hand_signs(6, seed=1)
    assert images.tobytes() == draw_hand_signs(6, seed=1)[0].tobytes()
    others = [draw_hand_signs(6, seed=2)[0], draw_hand_signs(6, seed=1, stream="test")[0]]
    for other in others:
        assert all((image != again).any() for image, again in zip(images, other, strict=True))


@given(seed=SEEDS, count=st.integers(0, 200))
def test_class_counts_differ_by_at_most_one(seed, count):
    counts = np.bincount(balanced_labels(count, seed, "train"), minlength=CLASS_COUNT)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1


def test_every_finger_set_raises_as_many_fingers_as_its_label():
    assert len(FINGER_SETS) == CLASS_COUNT
    for label, choices in enumerate(FINGER_SETS):
        for fingers in choices:
            assert len(set(fingers)) == len(fingers) == label
            assert set(fingers) <= set(range(5))


@given(seed=st.integers(0, 10**6), label=st.integers(0, 5))
def test_palm_and_fingertips_stay_inside_the_frame(seed, label):
    generator = keyed_generator(seed, "a pose")
    parts = hand_capsules(FINGER_SETS[label][0], generator)
    pose = draw_pose(parts, generator)
    fingertip = max(FINGER_RADIUS) * pose.scale
    for part in map(pose.place, parts):
        for point in (part.start, part.end):
            assert max(abs(coordinate) for coordinate in point) + fingertip <= 1.0 - FRAME_MARGIN + 1e-6


@given(seed=SEEDS, index=st.integers(0, 1000))
def test_a_keyed_generator_depends_on_seed_purpose_and_index_alone(seed, index):
    first = keyed_generator(seed, "masks", index).integers(2**62)
    keyed_generator(seed, "masks", index + 1).integers(2**62)
    assert first == keyed_generator(seed, "masks", index).integers(2**62)
    assert first != keyed_generator(seed, "masks", index + 1).integers(2**62)
    assert first != keyed_generator(seed, "order", index).integers(2**62)
    assert first != keyed_generator(seed + 1, "masks", index).integers(2**62)


def test_the_background_stands_out_from_lit_and_shaded_skin():
    """By bytes, a mean over the image; it is the best of six colours, and so no bound holds for every draw."""
    distances = []
    for seed in range(400):
        generator = keyed_generator(seed, "a wall")
        skin = draw_skin(generator)
        background = draw_background(skin, generator).reshape(-1, 1, 3)
        shades = np.stack([0.45 * skin, 0.7 * skin, skin])
        distances.append(np.abs(background - shades).mean(axis=2).min(axis=1).mean())
    assert min(distances) > 20.0  # of 6000 draws one had less, 17
    assert np.median(distances) > 60.0


def test_skin_tone_and_background_vary_between_images():
    images, _ = draw_hand_signs(60, seed=4)
    assert images[:, :6, :6].mean(axis=(1, 2, 3)).std() > 10.0
    assert images[:, 40, 32].mean(axis=1).std() > 10.0


def test_classes_are_learned_well_over_chance_on_held_out_hands(drawn):
    assert held_out_accuracy(*drawn) > 0.4  # chance is 1/6, one standard error 0.034


def test_shuffled_labels_are_not_learned(drawn):
    train_x, train_y, test_x, test_y = drawn
    shuffled = keyed_generator(0, "shuffled labels").permutation(train_y)
    assert held_out_accuracy(train_x, shuffled, test_x, test_y) < 0.3


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="count is -1; allowed: 0 or more"):
        draw_hand_signs(-1, seed=0)
