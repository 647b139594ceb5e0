"""Test examples that repeat, or nearly repeat, a training example."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

JPEG_COPY_THRESHOLD = 6.1  # root-mean-square bytes; derived in near_duplicate_rows
BLOCK_ROWS = 256  # training rows held at once in float64 while distances are taken

Array = NDArray[Any]


def nearest_training_distances(test: Array, train: Array) -> NDArray[np.float64]:
    """Root-mean-square difference of each test row from its nearest training row.

    d_i = min_j sqrt(1/n sum_k (test_ik - train_jk)^2), found through |a - b|^2 = |a|^2 - 2 a.b + |b|^2 (exact for
    bytes, whose sums stay below 2^53) and then taken again from the difference itself, so that a copy is at 0 exactly.

    Args:
        test: (m_test, n), any numbers.
        train: (m, n), at least one row; BLOCK_ROWS of them are held in float64 at a time.

    Returns:
        float64 (m_test,), in the units of the data.
    """
    queries = test.astype(np.float64)
    lowest, nearest = np.full(len(test), np.inf), np.zeros(len(test), np.int64)
    for first in range(0, len(train), BLOCK_ROWS):
        block = train[first : first + BLOCK_ROWS].astype(np.float64)
        # |a|^2 is the same for every j: left out of the comparison.
        squared = (block**2).sum(axis=1) - 2.0 * (queries @ block.T)
        closest = squared.argmin(axis=1)
        value = squared[np.arange(len(test)), closest]
        nearest = np.where(value < lowest, first + closest, nearest)
        lowest = np.minimum(lowest, value)
    return np.asarray(np.sqrt(np.mean((queries - train[nearest]) ** 2, axis=1)))


def near_duplicate_rows(test: Array, train: Array, threshold: float) -> NDArray[np.int64]:
    """Test rows whose nearest training row is within a root-mean-square difference of `threshold`.

    For image bytes, JPEG_COPY_THRESHOLD = 6.1 of 255 is just over the largest error that JPEG makes on any of the
    course's 120 hand-sign test images when they are compressed as its training images were (quality 75, colours at
    half resolution): 3.18 to 6.07. Any such copy is therefore found. Measured distances, bytes:

    - hand signs, the 12 test images that are in train: 3.17 to 4.59, each within 0.012 of the JPEG error of that image;
      next nearest, not copies but neighbours in one series of photographs: 6.20 (row 5), 7.49 (row 57), 8.96; median
      over all rows 23.0. Averaged over 8 x 8 blocks in grey, which JPEG keeps, the 12 differ by 0.36 to 0.58 and the
      next by 2.17: the gap is real though 6.1 stands close to its upper end.
    - cats: one copy at 0.00 (row 17); next nearest 38.3; median 59.0.

    Args:
        test: (m_test, n), any numbers.
        train: (m, n), at least one row.
        threshold: root-mean-square difference in the units of the data; 0 finds exact copies.

    Returns:
        int64 rows of test, ascending.
    """
    return np.flatnonzero(nearest_training_distances(test, train) <= threshold).astype(np.int64)
