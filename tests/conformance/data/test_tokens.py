"""Data sets of tokens: sequences that end in zeros, words of three languages, brackets that no count tells apart."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.data.datasets import load_dataset
from conformance.data.randomness import keyed_generator
from conformance.data.tokens import (
    BRACKET_PAIRS,
    BRACKETS,
    LETTERS,
    balanced_brackets,
    bracket_sequences,
    is_balanced,
    letters_of_words,
    tokens_of,
)
from conformance.data.words import WORDS


def texts_of(tokens, alphabet):
    return ["".join(alphabet[token - 1] for token in row if token) for row in tokens]


@given(st.lists(st.text(LETTERS, min_size=1, max_size=9), min_size=1, max_size=5))
def test_tokens_are_places_in_the_alphabet_and_end_in_zeros(texts):
    tokens = tokens_of(texts, LETTERS)
    assert tokens.dtype == np.int64
    assert tokens.shape == (len(texts), max(map(len, texts)))
    assert texts_of(tokens, LETTERS) == texts
    for row, text in zip(tokens, texts, strict=True):
        assert (row[: len(text)] > 0).all()
        assert (row[len(text) :] == 0).all()


# --- words ------------------------------------------------------------------------------------------------------------


def test_every_language_has_as_many_words_and_no_word_is_there_twice():
    assert {language: len(words) for language, words in WORDS.items()} == dict.fromkeys(WORDS, 225)
    every = [word for words in WORDS.values() for word in words]
    assert len(set(every)) == len(every) == 675


def test_words_have_three_to_twelve_letters_of_which_none_needs_a_mark():
    lengths = {len(word) for words in WORDS.values() for word in words}
    assert (min(lengths), max(lengths)) == (3, 12)
    assert {letter for words in WORDS.values() for word in words for letter in word} <= set(LETTERS)


def test_words_are_loaded_with_their_language():
    dataset = load_dataset("words", seed=5)
    assert dataset.class_names == ("english", "german", "finnish")
    for x, y in ((dataset.train_x, dataset.train_y), (dataset.test_x, dataset.test_y)):
        for word, language in zip(texts_of(x, LETTERS), y, strict=True):
            assert word in WORDS[dataset.class_names[language]]
    assert np.bincount(dataset.train_y).tolist() == [180] * 3
    assert np.bincount(dataset.test_y).tolist() == [45] * 3


def test_every_word_is_in_one_part():
    dataset = load_dataset("words")
    every, _, _ = letters_of_words()
    found = np.concatenate([dataset.train_x, dataset.test_x])
    assert len(found) == len(every)
    np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(every, axis=0))
    assert dataset.leaked_test_rows.size == 0


# --- brackets ---------------------------------------------------------------------------------------------------------


def reduced(text):
    """What is left when neighbours that close each other are taken out for as long as there are any."""
    while (shorter := text.replace("()", "").replace("[]", "")) != text:
        text = shorter
    return text


@pytest.mark.parametrize("length", range(7))
def test_brackets_are_balanced_where_taking_out_neighbours_leaves_none(length):
    for text in map("".join, itertools.product(BRACKETS, repeat=length)):
        assert is_balanced(text) == (reduced(text) == "")


def test_every_balanced_sequence_of_three_pairs_can_be_drawn():
    generator = keyed_generator(0, "brackets of a test")
    found = {balanced_brackets(3, generator) for _ in range(2000)}
    assert found == {text for text in map("".join, itertools.product(BRACKETS, repeat=6)) if is_balanced(text)}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_neither_length_nor_number_of_brackets_tells_the_balanced_from_the_rest(seed):
    parts = bracket_sequences((100, 60), keyed_generator(seed, "brackets"))
    for x, y, count in ((*parts[:2], 100), (*parts[2:], 60)):
        assert x.shape == (count, 2 * max(BRACKET_PAIRS))
        assert [is_balanced(text) for text in texts_of(x, BRACKETS)] == y.astype(bool).tolist()
        bags = [sorted(np.sort(x[y == label], axis=1).tolist()) for label in (0, 1)]
        assert bags[0] == bags[1]
    assert len(np.unique(np.concatenate([parts[0], parts[2]]), axis=0)) == 160


def test_brackets_of_both_parts_have_every_length_and_none_is_in_both():
    dataset = load_dataset("brackets", seed=3)
    assert dataset.class_names == ("not balanced", "balanced")
    for x in (dataset.train_x, dataset.test_x):
        assert set((x > 0).sum(axis=1)) == {4, 6, 8, 10, 12}
        assert set(np.unique(x)) == set(range(dataset.vocabulary))
    shares = [np.bincount((x > 0).sum(axis=1), minlength=13) / len(x) for x in (dataset.train_x, dataset.test_x)]
    # Of 150 pairs: four standard deviations of a share of one half.
    np.testing.assert_allclose(*shares, atol=4 * 0.5 / np.sqrt(150))
    assert not {row.tobytes() for row in dataset.train_x} & {row.tobytes() for row in dataset.test_x}


def test_labels_come_in_no_order():
    labels = load_dataset("brackets").train_y
    changes = np.mean(labels[1:] != labels[:-1])
    assert abs(changes - 0.5) < 0.1


# --- an archive of one's own ------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    """Five and three sequences of tokens, with two numbers to predict for each; test row 1 is training row 2."""
    train = np.array([[1, 2, 0], [2, 0, 0], [1, 1, 2], [2, 2, 0], [1, 0, 0]], np.uint8)
    y = np.arange(16.0).reshape(8, 2)
    content = {"train_x": train, "train_y": y[:5], "test_x": train[[3, 2, 3]] + [[1], [0], [1]], "test_y": y[5:]}
    np.savez(tmp_path / "own.npz", vocabulary=5, **content)
    return tmp_path / "own.npz"


@pytest.mark.parametrize("scaling", ["standardize", "none"])
def test_tokens_of_an_archive_stay_as_they_are(archive, scaling):
    dataset = load_dataset("npz", path=archive, scaling=scaling)
    assert dataset.train_x.dtype == dataset.test_x.dtype == np.int64
    assert dataset.train_x.tolist() == [[1, 2, 0], [2, 0, 0], [1, 1, 2], [2, 2, 0], [1, 0, 0]]
    assert (dataset.vocabulary, dataset.scaling, dataset.targets, dataset.n_classes) == (5, "none", 2, 0)
    assert dataset.leaked_test_rows.tolist() == [1]


def test_numbers_to_predict_are_not_scaled_and_are_limited_with_the_examples(archive):
    dataset = load_dataset("npz", path=archive, examples=2, test_examples=1)
    assert dataset.train_y.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert dataset.test_y.tolist() == [[10.0, 11.0]]
    assert dataset.class_names == ()


def test_an_autoencoder_has_its_inputs_as_its_targets(tmp_path):
    x = np.random.Generator(np.random.Philox(key=7)).normal(3.0, 2.0, (12, 4))
    np.savez(tmp_path / "own.npz", train_x=x[:8], train_y=x[:8], test_x=x[8:], test_y=x[8:])
    dataset = load_dataset("npz", path=tmp_path / "own.npz", scaling="none")
    np.testing.assert_array_equal(dataset.train_y, dataset.train_x)
    np.testing.assert_array_equal(dataset.test_y, dataset.test_x)
    assert dataset.targets == 4
