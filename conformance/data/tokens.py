"""Sequences of tokens, each a number from 1; shorter ones end in 0, which stands for no token."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from conformance.data.words import WORDS

Tokens = NDArray[np.int64]

BRACKETS = "()[]"
BRACKET_VOCABULARY = 1 + len(BRACKETS)
BRACKET_PAIRS = (2, 3, 4, 5, 6)  # of brackets in a sequence
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LETTER_VOCABULARY = 1 + len(LETTERS)


def tokens_of(texts: Sequence[str], alphabet: str) -> Tokens:
    """The place of each character in the alphabet, from 1, and zeros after the end: int64 (m, longest text).

    >>> tokens_of(["ab", "c"], "abc")
    array([[1, 2],
           [3, 0]])
    """
    tokens = np.zeros((len(texts), max(map(len, texts))), np.int64)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = [1 + alphabet.index(character) for character in text]
    return tokens


def letters_of_words() -> tuple[Tokens, Tokens, tuple[str, ...]]:
    """Every word of WORDS by its letters, a = 1 to z = 26, with its language.

    Returns:
        int64 (m, 12) tokens, int64 (m,) languages, and their names.
    """
    words = [word for listed in WORDS.values() for word in listed]
    languages = np.repeat(np.arange(len(WORDS)), [len(listed) for listed in WORDS.values()])
    return tokens_of(words, LETTERS), languages, tuple(WORDS)


def is_balanced(brackets: str) -> bool:
    """Whether every bracket that opens is closed by one of its kind, the latest first.

    >>> is_balanced("([])()"), is_balanced("([)]"), is_balanced("())(")
    (True, False, False)
    """
    expected: list[str] = []
    for bracket in brackets:
        kind, closes = divmod(BRACKETS.index(bracket), 2)
        if not closes:
            expected.append(BRACKETS[2 * kind + 1])
        elif not expected or bracket != expected.pop():
            return False
    return not expected


def balanced_brackets(pairs: int, generator: np.random.Generator) -> str:
    """A balanced sequence: a bracket opens or closes with probability 1/2 each wherever both are possible."""
    text, open_kinds = "", list[int]()
    for left in range(2 * pairs, 0, -1):
        if not open_kinds or (len(open_kinds) < left and generator.random() < 0.5):
            open_kinds.append(int(generator.integers(len(BRACKETS) // 2)))
            text += BRACKETS[2 * open_kinds[-1]]
        else:
            text += BRACKETS[2 * open_kinds.pop() + 1]
    return text


def _exchanged(brackets: str, generator: np.random.Generator) -> str:
    """The sequence with two of its places exchanged."""
    first, second = sorted(generator.choice(len(brackets), 2, replace=False).tolist())
    middle = brackets[first + 1 : second]
    return brackets[:first] + brackets[second] + middle + brackets[first] + brackets[second + 1 :]


def _bracket_pairs(generator: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Balanced sequences, each with one that is not and has the same brackets; no sequence comes twice."""
    seen: set[str] = set()
    while True:
        balanced = balanced_brackets(int(generator.choice(BRACKET_PAIRS)), generator)
        other = _exchanged(balanced, generator)
        if not is_balanced(other) and not seen & {balanced, other}:
            seen |= {balanced, other}
            yield balanced, other


def bracket_sequences(counts: tuple[int, int], generator: np.random.Generator) -> tuple[Tokens, Tokens, Tokens, Tokens]:
    """Brackets of two kinds, 4 to 12 of them: ``(`` 1, ``)`` 2, ``[`` 3, ``]`` 4. Label 1 where they are balanced.

    Half of each part is balanced. Each such sequence stands in the same part with two of its places exchanged so that
    it is balanced no longer: length and number of each bracket tell nothing. No sequence is there twice, in one part or
    in both.

    Args:
        counts: how many training and test sequences, even numbers.
        generator: of all the draws.

    Returns:
        train_x, train_y, test_x, test_y: int64 (m, 12) and (m,).
    """
    wanted = sum(counts) // 2
    drawn = [pair for pair, _ in zip(_bracket_pairs(generator), range(wanted), strict=False)]
    # There are few short sequences, which therefore come early: both parts get their share.
    drawn = [drawn[place] for place in generator.permutation(wanted)]
    x = tokens_of([text for pair in drawn for text in pair], BRACKETS)
    y = np.tile(np.array([1, 0]), wanted)
    train, test = (generator.permutation(count) for count in counts)
    test += counts[0]
    return x[train], y[train], x[test], y[test]
