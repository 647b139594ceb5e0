"""Penalties, clipping, constraints, augmentation and early stopping: the reference's numbers, hashed by value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_numpy.regularizers as reference
from impl_jax import regularizers

PENALTIES = [
    ("l2", {"convention": "half"}), ("l2", {}), ("l1", {}), ("l1", {"convention": "full"}),
    ("elastic_net", {"l1_ratio": 0.3}), ("elastic_net", {"l1_ratio": 1.0}), ("elastic_net", {"l1_ratio": 0.0}),
]  # fmt: skip

MADE = {
    "l1": lambda package: package.l1(0.5),
    "elastic_net": lambda package: package.elastic_net(0.5, l1_ratio=0.25, convention="half"),
    "clip_by_value": lambda package: package.clip_by_value(0.5),
    "clip_by_norm": lambda package: package.clip_by_norm(0.5),
    "clip_by_global_norm": lambda package: package.clip_by_global_norm(0.5),
    "max_norm": lambda package: package.max_norm(0.5),
    "random_flip": lambda package: package.random_flip([4, 3, 2]),
    "random_shift": lambda package: package.random_shift((4, 3), largest=2),
    "gaussian_noise": lambda package: package.gaussian_noise(scale=0.5),
}


@pytest.mark.parametrize("name", MADE)
def test_what_compiled_code_takes_is_equal_and_hashed_by_its_settings(name):
    first, second = MADE[name](regularizers), MADE[name](regularizers)
    assert first == second
    assert hash(first) == hash(second)
    assert len({MADE[other](regularizers) for other in MADE}) == len(MADE)


@pytest.mark.parametrize(("name", "options"), PENALTIES)
def test_a_penalty_and_its_gradient_are_those_of_the_reference_also_at_zero(agrees, name, options, dtype):
    weights = [np.random.default_rng(i).standard_normal((3, 4)).astype(dtype) for i in range(2)]
    weights[0][0] = 0
    ours, theirs = (package.PENALTIES[name](0.7, **options) for package in (regularizers, reference))
    value, gradients = jax.value_and_grad(lambda weights: ours(weights, 5))(weights)

    def expected(weights):
        return theirs.value(weights, 5), [theirs.gradient(weight, 5) for weight in weights]

    agrees((value, gradients), expected, weights, dtype=dtype.name)


def test_the_derivative_of_an_absolute_value_is_not_the_one_of_jax():
    assert jax.grad(jnp.abs)(0.0) == 1.0
    assert jax.grad(lambda w: regularizers.l1(1.0, convention="full")([w], 1))(0.0) == 0.0


@pytest.mark.parametrize("name", ["clip_by_value", "clip_by_norm", "clip_by_global_norm", "max_norm"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0.0, 1e-3, 0.1, 1.0, 1e3]), double=st.booleans())
def test_clipping_and_constraints_are_those_of_the_reference(agrees, name, seed, size, double):
    generator, dtype = np.random.default_rng(seed), np.dtype(np.float64 if double else np.float32)
    shapes = {"W1": (3, 4), "b1": (3,), "gamma1": (3,), "W2": (1, 3)}
    arrays = {n: (size * generator.standard_normal(shape)).astype(dtype) for n, shape in shapes.items()}
    with jax.enable_x64(double):
        ours = jax.jit(MADE[name](regularizers))(arrays)
    agrees(ours, MADE[name](reference), arrays, dtype=dtype.name)


@pytest.mark.parametrize("name", ["random_flip", "random_shift", "gaussian_noise"])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_augmentations_are_those_of_the_reference_and_so_are_the_shapes_of_what_they_draw(agrees, name, seed):
    ours, theirs = MADE[name](regularizers), MADE[name](reference)
    features = 24 if name == "random_flip" else 12
    x = np.random.default_rng(seed).standard_normal((5, features))
    drawn = theirs.draw(np.random.default_rng(seed), 5, features)
    with jax.enable_x64(True):
        own = ours.draw(jax.random.key(seed), 5, features)
        apply = jax.jit(type(ours).apply, static_argnums=0)  # compiled for the first example alone
        for draws in (drawn, np.asarray(own)):
            agrees(apply(ours, x, draws), theirs.apply, x, draws, dtype="float64")
    assert own.shape == drawn.shape
    assert own.dtype.kind == drawn.dtype.kind


def test_random_draws_have_the_stated_distributions():
    key, examples = jax.random.key(0), 4000
    flips = regularizers.random_flip((2, 2), probability=0.2).draw(key, examples, 4)
    shifts = np.asarray(regularizers.random_shift((2, 2), largest=2).draw(key, examples, 4))
    # Six standard deviations of a mean of 4000.
    assert abs(float(flips.mean()) - 0.2) < 6 * np.sqrt(0.2 * 0.8 / examples)
    assert set(np.unique(shifts)) == {-2, -1, 0, 1, 2}
    assert np.abs(shifts.mean(axis=0)).max() < 6 * np.sqrt(2 / examples)


@settings(max_examples=50, deadline=None)
@given(
    costs=st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=12),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.1]),
)
def test_early_stopping_decides_as_the_reference_does(costs, patience, min_delta):
    ours, theirs = (
        package.early_stopping(patience=patience, min_delta=min_delta) for package in (regularizers, reference)
    )
    for cost in costs:
        assert ours.improved(cost) == theirs.improved(cost)
        assert (ours.stop, ours.best_epoch, ours.best_cost) == (theirs.stop, theirs.best_epoch, theirs.best_cost)
