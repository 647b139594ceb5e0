"""Activations, losses, normalisations and schedules of ``impl_torch`` beside the reference, gradients by autograd too.

How far rounding may take them apart is measured by the fixture ``agrees``.
"""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from impl_torch import activations, losses, normalization, schedules
from reference_numpy import activations as reference_activations
from reference_numpy import losses as reference_losses
from reference_numpy import normalization as reference_normalization
from reference_numpy import schedules as reference_schedules

dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=20, deadline=None)


def gradient_of(outputs, leaves, upstream):
    return [g.numpy() for g in torch.autograd.grad((outputs * torch.tensor(upstream)).sum(), leaves)]


def leaf(array):
    return torch.tensor(array, requires_grad=True)


ACTIVATION_OPTIONS = {
    "relu": ({}, {"derivative_at_zero": 1}),
    "leaky_relu": ({}, {"slope": 0.2}),
    "elu": ({}, {"alpha": 2.0}),
    "gelu": ({}, {"approximate": True}),
}
ACTIVATION_CASES = [(name, o) for name in activations.ACTIVATIONS for o in ACTIVATION_OPTIONS.get(name, ({},))]


# In float64 the oracle's own roundings are as large as what is measured, and those of the tanh in GELU's tanh form are
# not moved here: the harness moves them, and compares that one.
ACTIVATIONS_AND_DTYPES = [
    (name, options, dtype)
    for name, options in ACTIVATION_CASES
    for dtype in ("float64", "float32")
    if (options, dtype) != ({"approximate": True}, "float64")
]


@pytest.mark.parametrize(("name", "options", "dtype"), ACTIVATIONS_AND_DTYPES, ids=str)
@given(seed=seeds)
@quick
def test_an_activation_and_its_gradient_are_the_reference_s(agrees, name, options, dtype, seed):
    generator = np.random.default_rng(seed)
    z = (generator.standard_normal((5, 4)) * 10.0 ** generator.uniform(-3, 1.2, (5, 4))).astype(dtype)
    z[0, :2] = 0.0  # the kink
    assert_activation_agrees(agrees, name, options, z, generator.standard_normal((5, 4)).astype(dtype))


def assert_activation_agrees(agrees, name, options, z, upstream):
    """Value and gradient; softsign's gradient also element by element, as the largest would hide the others."""
    f, backward = reference_activations.ACTIVATIONS.get(name, reference_activations.log_softmax), BACKWARD[name]
    start, dtype = leaf(z), z.dtype.name
    found = getattr(activations, name)(start, **options)
    agrees(found.detach().numpy(), f, z, dtype=dtype, **options)
    found = gradient_of(found, [start], upstream)[0]
    gradient = lambda upstream, z: backward(upstream, z, f(z, **options), **options)  # noqa: E731
    agrees(found, gradient, upstream, z, dtype=dtype)
    if name == "softsign":
        rows = lambda *arrays: list(gradient(*arrays).ravel())  # noqa: E731
        agrees(list(found.ravel()), rows, upstream, z, dtype=dtype)


BACKWARD = reference_activations.BACKWARD | {"log_softmax": reference_activations.log_softmax_backward}


@dtypes
def test_the_logarithm_of_softmax_is_the_reference_s_and_finite_where_softmax_is_zero(agrees, dtype):
    z = np.array([[0.0, 1.0, -1000.0], [-3.0, 2.0, 2.0]], dtype)
    assert_activation_agrees(agrees, "log_softmax", {}, z, np.array([[1.0, 0.0, 2.0], [-1.0, 0.5, 0.25]], dtype))
    assert activations.log_softmax(torch.tensor(z)).isfinite().all()
    assert "log_softmax" not in activations.ACTIVATIONS


def test_softsign_and_selu_by_hand():
    z = torch.tensor([-3.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    assert activations.softsign(z).tolist() == [-0.75, 0.0, 0.5]
    assert torch.autograd.grad(activations.softsign(z).sum(), z)[0].tolist() == [1 / 16, 1.0, 1 / 4]
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    found = activations.selu(z)
    assert found.tolist() == [scale * (alpha * math.expm1(-3.0)), 0.0, scale]
    slopes = torch.autograd.grad(found.sum(), z)[0].tolist()
    assert slopes[1:] == [scale * alpha, scale]  # at 0 that of the left side, as elu's
    assert slopes[0] == pytest.approx(scale * alpha * math.exp(-3.0), rel=BUILT_IN * 2.0**-53)


BUILT_IN = 4  # roundings of a product or a quotient, taken in two orders


def test_selu_and_softsign_have_the_values_of_the_built_ins():
    z = torch.linspace(-20, 20, 401, dtype=torch.float64)
    torch.testing.assert_close(activations.selu(z), F.selu(z), rtol=BUILT_IN * 2.0**-53, atol=0)
    assert torch.equal(activations.softsign(z), F.softsign(z))
    assert torch.equal(activations.log_softmax(z), F.log_softmax(z, dim=-1))


def test_softsign_s_gradient_keeps_its_digits_where_autograd_s_cancels():
    z = torch.tensor([1e4], requires_grad=True)
    ours = torch.autograd.grad(activations.softsign(z), z)[0].item()
    built_in = torch.autograd.grad(F.softsign(z), z)[0].item()
    exact = 1 / (1 + 1e4) ** 2
    assert abs(ours / exact - 1) < BUILT_IN * 2.0**-24 < 1e-5 < abs(built_in / exact - 1)
    x = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activations.softsign, x)
    assert torch.autograd.gradgradcheck(activations.softsign, x[[0, 1, 5, 6]].detach().requires_grad_())


ERFC = 256  # the complementary error function at 6, where a rounding of its argument is 36 of its value's


def test_gelu_and_softplus_keep_their_digits_where_the_built_ins_lose_them():
    z = torch.tensor([-9.0, -6.0], dtype=torch.float64)
    exact = torch.tensor(reference_activations.gelu(z.numpy()))
    torch.testing.assert_close(activations.gelu(z), exact, rtol=ERFC * 2.0**-53, atol=0)
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
    """Logits, or probabilities of which some are outside the clip; targets, the classes both present."""
    values = (3 * generator.standard_normal((6, outputs))).astype(dtype)
    if name.endswith("_from_probabilities"):
        values = reference_activations.sigmoid(values)
        values.ravel()[:4] = (0.0, 1.0, 2e-3, 1 - 2e-3)
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
def test_a_loss_and_its_gradient_are_the_reference_s(agrees, name, outputs, options, weighted, dtype, seed):
    generator = np.random.default_rng(seed)
    values, targets = outputs_and_targets(name, outputs, generator, dtype)
    weights = generator.uniform(0.5, 1.5, 6).astype(dtype) if weighted else None
    start = leaf(values)
    found = losses.LOSSES[name](
        start, torch.tensor(targets), None if weights is None else torch.tensor(weights), **options
    )
    arguments = values, targets, weights
    agrees(found.detach().numpy(), reference_losses.LOSSES[name], *arguments, dtype=dtype, **options)
    gradient = gradient_of(found, [start], np.ones(6, dtype))[0]
    agrees(gradient, reference_losses.GRADIENTS[name], *arguments, dtype=dtype, **options)


@pytest.mark.parametrize("name", [name for name in losses.LOSSES if name.endswith("_from_probabilities")])
def test_at_the_limits_of_the_clip_the_gradient_is_the_reference_s(agrees, name):
    values = np.array([[0.0, 1e-3], [1e-3, 1 - 1e-3], [1 - 1e-3, 1.0], [0.5, 1e-3 / 2]])
    targets = np.array([0, 1, 0, 1]) if name.startswith("categorical") else np.array([[0, 1], [1, 0], [1, 1], [0, 1]])
    start = leaf(values)
    found = gradient_of(losses.LOSSES[name](start, torch.tensor(targets), clip=1e-3), [start], np.ones(4))[0]
    expected = reference_losses.GRADIENTS[name](values, targets * 1 if targets.ndim == 1 else targets * 1.0, clip=1e-3)
    assert np.array_equal(found == 0, expected == 0)
    still = lambda: expected  # noqa: E731 - nothing that moves: a moved limit would be another side of it
    agrees(found, still, dtype="float64")


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
    built_in = F.cross_entropy(logits, labels, weight=torch.tensor(weights, dtype=torch.float64))
    torch.testing.assert_close(ours, built_in, rtol=WEIGHTED_MEAN * 2.0**-53, atol=0)


WEIGHTED_MEAN = 32  # two sums of nine terms in two orders


def test_integer_targets_are_smoothed_in_the_dtype_of_the_logits():
    logits = torch.linspace(-2, 2, 4, dtype=torch.float64)[:, None]
    targets = torch.tensor([[0], [1], [1], [0]])
    found = losses.binary_cross_entropy(logits, targets, label_smoothing=0.1)
    assert torch.equal(found, losses.binary_cross_entropy(logits, targets.double(), label_smoothing=0.1))
    assert found.dtype == torch.float64


@dtypes
@pytest.mark.parametrize("kind", ["batch_norm", "layer_norm"])
@given(seed=seeds, examples=st.integers(1, 9), units=st.integers(1, 9), mean=st.sampled_from([0.0, 30.0]))
@example(seed=5, examples=5, units=4, mean=30.0)  # another order of the sums alone moves what gamma gets by 5e-14
@quick
def test_a_normalisation_and_its_gradients_are_the_reference_s(agrees, kind, dtype, seed, examples, units, mean):
    generator = np.random.default_rng(seed)
    draw = lambda *shape: generator.standard_normal(shape).astype(dtype)  # noqa: E731
    z, upstream, gamma, beta = (
        draw(examples, units) + np.dtype(dtype).type(mean),
        draw(examples, units),
        draw(units),
        draw(units),
    )
    reference = getattr(reference_normalization, kind)
    backward = getattr(reference_normalization, f"{kind}_backward")
    statistics = reference_normalization.batch_statistics if kind == "batch_norm" else lambda z: ()
    leaves = [leaf(array) for array in (z, gamma, beta)]
    agrees = partial(agrees, dtype=dtype, summed_over=0 if kind == "batch_norm" else -1)
    if kind == "batch_norm":
        found = [value.detach().numpy() for value in normalization.batch_statistics(leaves[0])]
        agrees(found, statistics, z)
        outputs = normalization.batch_norm(*leaves, *normalization.batch_statistics(leaves[0]))
    else:
        outputs = normalization.layer_norm(*leaves)
    found = outputs.detach().numpy()
    agrees(found, lambda z, gamma, beta: reference(z, gamma, beta, *statistics(z)), z, gamma, beta)
    if (examples if kind == "batch_norm" else units) < 4:
        return  # two or three members leave of the gradient only what the mean's and the variance's roundings are
    found = gradient_of(outputs, leaves, upstream)
    agrees(found, lambda d, z, gamma: [*backward(d, z, gamma, *statistics(z))], upstream, z, gamma)


@dtypes
@pytest.mark.parametrize("options", [{}, {"momentum": 0.5, "running_variance": "unbiased"}], ids=str)
def test_running_averages_are_the_reference_s(agrees, options, dtype):
    arrays = np.random.default_rng(0).uniform(0, 2, (4, 3)).astype(dtype)
    found = normalization.running_average(torch.tensor(arrays[:2]), torch.tensor(arrays[2:]), 5, **options)
    expected = lambda running, batch: reference_normalization.running_average(running, batch, 5, **options)  # noqa: E731
    agrees(tuple(a.numpy() for a in found), expected, arrays[:2], arrays[2:], dtype=dtype)


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
