"""How many times faster than a loop a vectorised computation is, on this machine.

    python benchmarks/vectorization.py

The dot product of two vectors, and the gradient of logistic regression with the course's two loops and with one. Each
time is the median of a few calls. The course says about 300 times for the dot product.
"""

import numpy as np

from reference_numpy.models import logistic_regression, logistic_regression_example_loop, logistic_regression_loops
from reference_numpy.training import loss_and_gradients
from reference_numpy.vectorization import dot_product, dot_product_loop, measure


def timings(elements, examples, features, repeats):
    """Yields ``(what was computed, its Timing)``."""
    generator = np.random.default_rng(0)
    a, b = generator.random(elements), generator.random(elements)
    yield (
        f"dot product, {elements:,} elements",
        measure(lambda: dot_product_loop(a, b), lambda: dot_product(a, b), repeats=repeats),
    )
    x, y = generator.standard_normal((examples, features)), generator.integers(0, 2, examples)
    weight, bias, targets = 0.01 * generator.standard_normal(features), 0.0, y[:, None].astype(float)
    model, parameters = logistic_regression(features), {"W1": weight[None], "b1": np.array([bias])}
    for name, loop in (
        ("loops over examples and features", logistic_regression_loops),
        ("loop over examples", logistic_regression_example_loop),
    ):
        yield (
            f"logistic regression ({examples:,}, {features:,}), {name}",
            measure(
                lambda loop=loop: loop(weight, bias, x, y),
                lambda: loss_and_gradients(model, parameters, x, targets, loss="binary_cross_entropy"),
                repeats=repeats,
            ),
        )


def main(elements=1_000_000, examples=1000, features=1000, repeats=5):
    """Print one line for each computation."""
    print(f"{'':<72}{'loop':>12}{'vectorised':>14}{'ratio':>8}")
    for name, timing in timings(elements, examples, features, repeats):
        print(
            f"{name:<72}{1e3 * timing.loop_seconds:>9.2f} ms{1e3 * timing.vectorized_seconds:>11.4f} ms"
            f"{timing.ratio:>8.0f}"
        )


if __name__ == "__main__":
    main()
