"""Activations, losses, normalisations and schedules of ``impl_torch`` beside the reference, gradients by autograd too.

Both compute in the same dtype, so each may be off by its own roundings: bounds are a number of unit roundoffs times the
size of the terms that are added.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from impl_torch import activations, losses, normalization, schedules
from reference_numpy import activations as reference_activations
from reference_numpy import losses as reference_losses
from reference_numpy import normalization as reference_normalization
from reference_numpy import schedules as reference_schedules

UNIT_ROUNDOFF = {np.float64: 2.0**-53, np.float32: 2.0**-24}
dtypes = pytest.mark.parametrize("dtype", UNIT_ROUNDOFF, ids=lambda dtype: dtype.__name__)
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=20, deadline=None)


def assert_near(found, expected, size, units):
    """``|found - expected| <= units u size`` in every element, and the same dtype."""
    found, expected = found.detach().numpy(), np.asarray(expected)
    assert found.dtype == expected.dtype
    allowed = units * UNIT_ROUNDOFF[expected.dtype.type] * np.broadcast_to(size, expected.shape)
    excess = np.abs(found.astype(np.float64) - expected) - allowed
    assert np.isfinite(found).all()
    assert excess.max() <= 0, f"{excess.max():.3g} too far at {np.unravel_index(excess.argmax(), excess.shape)}"


def gradient_of(outputs, leaves, upstream):
    return torch.autograd.grad((outputs * torch.tensor(upstream)).sum(), leaves)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


ACTIVATION_OPTIONS = {
    "relu": ({}, {"derivative_at_zero": 1}),
    "leaky_relu": ({}, {"slope": 0.2}),
    "elu": ({}, {"alpha": 2.0}),
    "gelu": ({}, {"approximate": True}),
}
ACTIVATION_CASES = [(name, o) for name in activations.ACTIVATIONS for o in ACTIVATION_OPTIONS.get(name, ({},))]


@dtypes
@pytest.mark.parametrize(("name", "options"), ACTIVATION_CASES, ids=str)
@given(seed=seeds)
@quick
def test_an_activation_and_its_gradient_are_the_reference_s(name, options, dtype, seed):
    generator = np.random.default_rng(seed)
    z = (generator.standard_normal((5, 4)) * 10.0 ** generator.uniform(-3, 1.2, (5, 4))).astype(dtype)
    z[0, :2] = 0.0  # the kink
    upstream = generator.standard_normal((5, 4)).astype(dtype)
    a = reference_activations.ACTIVATIONS[name](z, **options)
    dz = reference_activations.BACKWARD[name](upstream, z, a, **options)
    start = leaf(z)
    found = activations.ACTIVATIONS[name](start, **options)
    assert_near(found, a, 1 + np.abs(z), 12)
    # Derivatives hold no term beyond 1 + |z|; where exp(-z^2/2) is not tiny, its error z^2 u is within that too.
    row = np.abs(upstream).max(axis=-1, keepdims=True) if name == "softmax" else np.abs(upstream)
    assert_near(*gradient_of(found, [start], upstream), dz, (1 + np.abs(z)) * row + 1e-30, 24)


def test_gelu_and_softplus_keep_their_digits_where_the_built_ins_lose_them():
    z = torch.tensor([-9.0, -6.0], dtype=torch.float64)
    exact = torch.tensor(reference_activations.gelu(z.numpy()))
    torch.testing.assert_close(activations.gelu(z), exact, rtol=1e-13, atol=0)
    assert F.gelu(z)[0] == 0
    assert abs(F.gelu(z)[1] / exact[1] - 1) > 1e-11
    above = torch.tensor([20.5], dtype=torch.float64)
    assert activations.softplus(above) > above
    assert F.softplus(above) == above


WEIGHTED = ({}, {"class_weights": (0.5, 2.0)}, {"class_weights": (3.0, 0.0), "weight_denominator": "weights"})
LOSS_CASES = [
    *(("binary_cross_entropy", 1, o | {"label_smoothing": s}) for o in WEIGHTED for s in (0.0, 0.1)),
    ("binary_cross_entropy", 3, {"output_reduction": "mean", "label_smoothing": 0.2}),
    *(("categorical_cross_entropy", 2, o | {"label_smoothing": s}) for o in WEIGHTED for s in (0.0, 0.1)),
    *(("binary_cross_entropy_from_probabilities", 1, o | {"clip": 1e-3}) for o in WEIGHTED),
    ("binary_cross_entropy_from_probabilities", 3, {"output_reduction": "mean"}),
    *(("categorical_cross_entropy_from_probabilities", 2, o | {"clip": 1e-3}) for o in WEIGHTED),
    *(("mean_squared_error", 3, {"convention": c}) for c in ("mean", "half", "sum")),
    ("mean_squared_error", 1, {"weight_denominator": "weights"}),
]


def outputs_and_targets(name, outputs, generator, dtype):
    """Logits, or probabilities of which some are outside the clip and some at it; targets, the classes both present."""
    values = (3 * generator.standard_normal((6, outputs))).astype(dtype)
    if name.endswith("_from_probabilities"):
        values = reference_activations.sigmoid(values)
        values.ravel()[:4] = (0.0, 1.0, 1e-3, 1 - 1e-3)
    if name.startswith("categorical"):
        return values, np.array([0, 1, 0, 1, *generator.integers(0, outputs, 2)])
    targets = generator.integers(0, 2, (6, outputs)) if name.startswith("binary") else values[::-1].copy()
    targets[:2] = [[0], [1]]
    return values, targets.astype(dtype)


@dtypes
@pytest.mark.parametrize("weighted", [False, True], ids=["", "example weights"])
@pytest.mark.parametrize(("name", "outputs", "options"), LOSS_CASES, ids=str)
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_a_loss_and_its_gradient_are_the_reference_s(name, outputs, options, weighted, dtype, seed):
    generator = np.random.default_rng(seed)
    values, targets = outputs_and_targets(name, outputs, generator, dtype)
    weights = generator.uniform(0.5, 1.5, 6).astype(dtype) if weighted else None
    loss = reference_losses.LOSSES[name](values, targets, weights, **options)
    gradient = reference_losses.GRADIENTS[name](values, targets, weights, **options)
    start = leaf(values)
    found = losses.LOSSES[name](
        start, torch.tensor(targets), None if weights is None else torch.tensor(weights), **options
    )
    # A loss adds terms of the size of the logits, of squared errors, or of logarithms of clipped probabilities.
    scale = 1 + np.abs(values).max() ** 2 if not name.endswith("_from_probabilities") else 8 * outputs
    largest_weight = 3 * 6 * 1.5
    assert_near(found, loss, largest_weight * scale, 16)
    assert_near(*gradient_of(found, [start], np.ones(6, dtype)), gradient, largest_weight + np.abs(gradient), 32)


def test_class_weights_are_not_those_that_pytorch_puts_inside_the_smoothing():
    logits, labels = torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64), torch.tensor([0])
    weights = (1.0, 5.0, 5.0)
    inside = F.cross_entropy(
        logits, labels, weight=torch.tensor(weights, dtype=torch.float64), label_smoothing=0.3, reduction="none"
    )
    ours = losses.categorical_cross_entropy(logits, labels, class_weights=weights, label_smoothing=0.3)
    assert inside.item() > 1.5 * ours.item()
    plain = losses.categorical_cross_entropy(logits, labels, label_smoothing=0.3)
    assert ours.item() == plain.item()  # the weight of class 0 is 1


def test_the_weighted_mean_is_that_of_pytorch_s_class_weights():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    labels, weights = torch.arange(9) % 3, (0.2, 1.0, 4.0)
    ours = losses.categorical_cross_entropy(logits, labels, class_weights=weights, weight_denominator="weights").mean()
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels, weight=torch.tensor(weights, dtype=torch.float64)))


def test_integer_targets_are_smoothed_in_the_dtype_of_the_logits():
    logits = torch.linspace(-2, 2, 4, dtype=torch.float64)[:, None]
    targets = torch.tensor([[0], [1], [1], [0]])
    found = losses.binary_cross_entropy(logits, targets, label_smoothing=0.1)
    assert torch.equal(found, losses.binary_cross_entropy(logits, targets.double(), label_smoothing=0.1))
    assert found.dtype == torch.float64


@dtypes
@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm"])
@given(seed=seeds, examples=st.integers(1, 9), units=st.integers(1, 6), mean=st.sampled_from([0.0, 30.0]))
@quick
def test_a_normalisation_and_its_gradients_are_the_reference_s(kind, dtype, seed, examples, units, mean):
    generator = np.random.default_rng(seed)
    draw = lambda *shape: generator.standard_normal(shape).astype(dtype)  # noqa: E731
    z, upstream, gamma, beta = draw(examples, units) + dtype(mean), draw(examples, units), draw(units), draw(units)
    axis = 0 if kind == "batch_norm" else 1
    reference = getattr(reference_normalization, kind)
    backward = getattr(reference_normalization, f"{kind}_backward")
    leaves = [leaf(array) for array in (z, gamma, beta)]
    if kind == "batch_norm":
        statistics = reference_normalization.batch_statistics(z)
        for found, value in zip(normalization.batch_statistics(leaves[0]), statistics, strict=True):
            assert_near(found, value, (np.abs(z).max() + 1) ** 2, 16)
        outputs = normalization.batch_norm(*leaves, *normalization.batch_statistics(leaves[0]))
        expected, gradients = reference(z, gamma, beta, *statistics), backward(upstream, z, gamma, *statistics)
    else:
        outputs, expected = normalization.layer_norm(*leaves), reference(z, gamma, beta)
        gradients = backward(upstream, z, gamma)
    # The mean is rounded to |z| u, so h = (z - mu)/sigma is off by |z|/sigma u; dz has h^2 and another 1/sigma.
    deviation = np.sqrt(z.astype(np.float64).var(axis=axis, keepdims=True) + 1e-5)
    condition = (1 + np.abs(z).max()) / deviation
    assert_near(outputs, expected, np.abs(gamma) * condition + np.abs(beta), 24)
    h = np.abs(z - z.mean(axis=axis, keepdims=True, dtype=np.float64)).max(axis=axis, keepdims=True) / deviation
    upstream_size = np.abs(upstream).max() * (1 + np.abs(gamma).max())
    sizes = (
        upstream_size * (1 + h) ** 2 * condition / deviation,
        examples * upstream_size * condition.max(),
        examples * upstream_size,
    )
    found = gradient_of(outputs, leaves, upstream)
    for one, other, size in zip(found, gradients, sizes, strict=True):
        assert_near(one, other, size, 48)


@dtypes
@pytest.mark.parametrize("options", [{}, {"momentum": 0.5, "running_variance": "unbiased"}], ids=str)
def test_running_averages_are_the_reference_s(options, dtype):
    arrays = np.random.default_rng(0).uniform(0, 2, (4, 3)).astype(dtype)
    expected = reference_normalization.running_average(arrays[:2], arrays[2:], 5, **options)
    found = normalization.running_average(torch.tensor(arrays[:2]), torch.tensor(arrays[2:]), 5, **options)
    for one, other in zip(found, expected, strict=True):
        assert_near(one, other, 4, 4)


def test_a_batch_of_one_has_a_batch_norm_where_pytorch_s_refuses_it():
    z = torch.tensor([[3.0, -1.0]])
    gamma, beta = torch.ones(2), torch.tensor([0.5, 2.0])
    outputs = normalization.batch_norm(z, gamma, beta, *normalization.batch_statistics(z))
    assert torch.equal(outputs, beta[None])
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        F.batch_norm(z, None, None, gamma, beta, training=True)


SCHEDULE_OPTIONS = {
    "inverse_sqrt": ({"k": 0.5},),
    "staircase": ({"factor": 0.3, "every": 4},),
    "piecewise": ({"boundaries": (3, 7), "factors": (0.2, 2.0)}, {"boundaries": (), "factors": ()}),
    "cosine": ({"steps": 7, "final": 0.1},),
    "warmup": tuple({"steps": 4, "start": 0.1, "after": after} for after in schedules.SCHEDULES),
}


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_a_schedule_is_the_reference_s_to_the_last_bit(name):
    for options in ({}, *SCHEDULE_OPTIONS.get(name, ())):
        ours, reference = schedules.SCHEDULES[name](0.3, **options), reference_schedules.SCHEDULES[name](0.3, **options)
        assert [ours(t) for t in range(40)] == [reference(t) for t in range(40)]
