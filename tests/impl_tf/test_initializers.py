"""Initial weights: their variances, bounds and generators."""

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import initializers

SHAPE = (200, 300)

# Variance, and the largest absolute value that can be drawn in units of the standard deviation (None: any).
DISTRIBUTIONS = [
    ("scaled_normal", {}, 1e-4, None),
    ("xavier_normal", {}, 1 / 300, None),
    ("xavier_normal", {"fan": "fan_average"}, 1 / 250, None),
    ("xavier_uniform", {}, 1 / 250, 3**0.5),
    ("xavier_uniform", {"fan": "fan_in"}, 1 / 300, 3**0.5),
    ("he_normal", {}, 2 / 300, None),
    ("he_normal", {"truncated": True}, 2 / 300, 2 / 0.8796256),
    ("he_uniform", {}, 2 / 300, 3**0.5),
    ("lecun_normal", {}, 1 / 300, None),
    ("lecun_normal", {"truncated": True}, 1 / 300, 2 / 0.8796256),
    ("lecun_uniform", {}, 1 / 300, 3**0.5),
]


@pytest.mark.parametrize(("name", "options", "variance", "largest"), DISTRIBUTIONS)
def test_initial_weights_have_their_variance_and_come_from_the_generator(name, options, variance, largest):
    draw = initializers.INITIALIZERS[name]
    weights = draw(tf.random.Generator.from_seed(0), SHAPE, dtype=tf.float64, **options)
    # The variance of 60,000 numbers is known to sqrt(2 / 60,000), five times which is 0.029.
    assert np.var(weights) == pytest.approx(variance, rel=0.03)
    units = np.max(np.abs(weights)) / variance**0.5
    assert units > 3.5 if largest is None else 0.99 * largest < units <= 1.000001 * largest
    np.testing.assert_array_equal(weights, draw(tf.random.Generator.from_seed(0), SHAPE, dtype=tf.float64, **options))
    assert draw(tf.random.Generator.from_seed(0), (2, 3), **options).dtype == tf.float32


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_orthogonal_weights_are_orthonormal_and_as_often_of_either_sign(shape):
    generator = tf.random.Generator.from_seed(0)
    w = initializers.orthogonal(generator, shape, gain=2.0, dtype=tf.float64).numpy()
    product = w @ w.T if shape[0] <= shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), rtol=0, atol=4 * 25 * 2.0**-53)
    corners = [initializers.orthogonal(generator, shape).numpy()[0, 0] for _ in range(60)]
    # Of a fair coin: fewer than 10 or more than 50 heads of 60 have a chance of 1e-7. LAPACK's Q has none.
    assert 10 <= np.sum(np.array(corners) > 0) <= 50
