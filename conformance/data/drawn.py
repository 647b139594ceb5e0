"""Examples drawn by a rule that is known: points of the plane in two classes, or with three labels; and houses."""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


def flower_points(labels: Labels, generator: np.random.Generator) -> Matrix:
    """Petals: theta from a grid over 3.12 label to 3.12 (label + 1), r = 4 sin(4 theta), both with noise 0.2.

    x = (r sin(theta), r cos(theta)). Source: the course's planar data (course 1, week 3).
    """
    theta = np.empty(len(labels))
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        theta[rows] = np.linspace(3.12 * label, 3.12 * (label + 1), len(rows))
    theta += 0.2 * generator.standard_normal(len(labels))
    radius = 4.0 * np.sin(4.0 * theta) + 0.2 * generator.standard_normal(len(labels))
    return np.stack([radius * np.sin(theta), radius * np.cos(theta)], axis=1)


def moon_points(labels: Labels, generator: np.random.Generator) -> Matrix:
    """Half circles (cos t, sin t) for label 0, (1 - cos t, 1/2 - sin t) for 1; t uniform in [0, pi], noise 0.2.

    Source: after scikit-learn's make_moons, which the course uses with this noise (course 2, week 2).
    """
    angle = generator.uniform(0.0, np.pi, len(labels))
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(labels[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
    return np.asarray(points + 0.2 * generator.standard_normal(points.shape))


def xor_points(labels: Labels, generator: np.random.Generator) -> Matrix:
    """Normal clouds of standard deviation 0.35 round (1, 1) and (-1, -1) for label 0, (1, -1) and (-1, 1) for 1."""
    first = generator.choice([-1.0, 1.0], len(labels))
    centres = np.stack([first, np.where(labels == 0, first, -first)], axis=1)
    return np.asarray(centres + 0.35 * generator.standard_normal(centres.shape))


def houses(count: int, generator: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Houses and their prices: y = max(0, 2 s + b / 5 - 3/2 + noise of standard deviation 0.3).

    s, the size, is uniform in [0.4, 3] thousand square feet; b, the bedrooms, is s + 1 + noise of standard deviation
    0.8, rounded, 1 to 5; y is in units of 100,000 dollars. A house may be worth nothing (7 in 100 are) but not less:
    there the course's first neuron, a single ReLU, bends its straight line (course 1, week 1).

    Returns:
        float64 (m, 2), size and bedrooms, and float64 (m,) prices.
    """
    size = generator.uniform(0.4, 3.0, count)
    bedrooms = np.clip(np.rint(size + 1.0 + 0.8 * generator.standard_normal(count)), 1.0, 5.0)
    price = 2.0 * size + 0.2 * bedrooms - 1.5 + 0.3 * generator.standard_normal(count)
    return np.stack([size, bedrooms], axis=1), np.maximum(price, 0.0)


def attribute_points(count: int, generator: np.random.Generator) -> tuple[Matrix, Labels]:
    """Points uniform in the square [-2, 2]^2, each with three labels, none of which a straight line decides.

    In this order: x_1^2 + x_2^2 < 1.6^2; x_2 > sin(3 x_1); x_1 x_2 < 0. Each holds for half of the square (the disc for
    50.3 %), and they are independent, so that none can be learned from the rest: mirroring the square at the origin
    turns the second round and no other, mirroring it at an axis turns the third round and keeps the first.

    Returns:
        float64 (m, 2) and int64 (m, 3), 1 where a label holds, else 0.
    """
    x = generator.uniform(-2.0, 2.0, (count, 2))
    disc = (x**2).sum(axis=1) < 1.6**2
    wave = x[:, 1] > np.sin(3.0 * x[:, 0])
    return x, np.stack([disc, wave, x.prod(axis=1) < 0.0], axis=1).astype(np.int64)
