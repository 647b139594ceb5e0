"""How many times faster than a loop a vectorised computation is, on this machine.

    python benchmarks/vectorization.py

The dot product of two vectors, and the gradient of logistic regression with the course's two loops and with one. Each
time is the median of a few calls. The course says about 300 times for the dot product.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np

from reference_numpy.models import logistic_regression, logistic_regression_example_loop, logistic_regression_loops
from reference_numpy.training import loss_and_gradients
from reference_numpy.vectorization import Timing, dot_product, dot_product_loop, measure


def timings(elements: int, examples: int, features: int, repeats: int) -> Iterator[tuple[str, Timing]]:
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
                partial(loop, weight, bias, x, y),
                lambda: loss_and_gradients(model, parameters, x, targets, loss="binary_cross_entropy"),
                repeats=repeats,
            ),
        )


def main(elements: int = 1_000_000, examples: int = 1000, features: int = 1000, repeats: int = 5) -> None:
    """Print one line for each computation."""
    print(f"{'':<72}{'loop':>12}{'vectorised':>14}{'ratio':>8}")
    for name, timing in timings(elements, examples, features, repeats):
        print(
            f"{name:<72}{1e3 * timing.loop_seconds:>9.2f} ms{1e3 * timing.vectorized_seconds:>11.4f} ms"
            f"{timing.ratio:>8.0f}"
        )


if __name__ == "__main__":
    main()
