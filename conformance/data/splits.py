"""Which examples of data that come in one piece are for training and which for the test."""

import numpy as np
from numpy.typing import NDArray

from conformance.data.randomness import keyed_generator

Labels = NDArray[np.int64]

TEST_FRACTION = 0.2  # of each class, or of all examples where there are no classes


def stratified_split(labels: Labels, seed: int, purpose: str) -> tuple[Labels, Labels]:
    """Shuffled training and test rows with TEST_FRACTION of each class, rounded, in the test set.

    Args:
        labels: (m,) classes.
        seed: of the shuffles.
        purpose: keeps the shuffles of two data sets independent.

    Returns:
        training rows and test rows, disjoint, together 0 to m - 1.
    """
    train, test = [], []
    for label in np.unique(labels):
        rows = keyed_generator(seed, f"{purpose} split", int(label)).permutation(np.flatnonzero(labels == label))
        held_out = round(TEST_FRACTION * len(rows))
        test.append(rows[:held_out])
        train.append(rows[held_out:])
    train_rows = keyed_generator(seed, f"{purpose} training order").permutation(np.concatenate(train))
    test_rows = keyed_generator(seed, f"{purpose} test order").permutation(np.concatenate(test))
    return train_rows.astype(np.int64), test_rows.astype(np.int64)


def shuffled_split(examples: int, seed: int, purpose: str) -> tuple[Labels, Labels]:
    """Shuffled training and test rows with TEST_FRACTION of them all, rounded, in the test set: no classes to balance.

    Args:
        examples: their number m.
        seed: of the shuffle.
        purpose: keeps the shuffles of two data sets independent.

    Returns:
        training rows and test rows, disjoint, together 0 to m - 1.
    """
    rows = keyed_generator(seed, f"{purpose} split").permutation(examples).astype(np.int64)
    held_out = round(TEST_FRACTION * examples)
    return rows[held_out:], rows[:held_out]
