"""Regularizers and initializers of ``impl_torch`` beside the reference, and error messages of the whole package."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import impl_torch.activations
import impl_torch.initializers
import impl_torch.losses
import impl_torch.models
import impl_torch.normalization
import impl_torch.optimizers
import impl_torch.regularizers
import impl_torch.schedules
import reference_numpy.activations
import reference_numpy.initializers
import reference_numpy.losses
import reference_numpy.models
import reference_numpy.normalization
import reference_numpy.optimizers
import reference_numpy.regularizers
import reference_numpy.schedules
from impl_torch import initializers, regularizers
from reference_numpy import regularizers as reference

dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=20, deadline=None)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def parameters(generator, dtype, size=1.0):
    shapes = {"W1": (4, 3), "b1": (4,), "W2": (2, 4), "b2": (2,)}
    return {name: (size * generator.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def tensors(arrays):
    return {name: torch.tensor(array) for name, array in arrays.items()}


@dtypes
@pytest.mark.parametrize("convention", reference.CONVENTIONS)
@pytest.mark.parametrize("name", regularizers.PENALTIES)
@given(seed=seeds)
@quick
def test_a_penalty_and_its_gradient_are_the_reference_s(agrees, name, convention, dtype, seed):
    generator = np.random.default_rng(seed)
    arrays = [array for key, array in parameters(generator, dtype).items() if key.startswith("W")]
    arrays[0][0, 0] = 0.0  # where the absolute value has a kink
    expected = reference.PENALTIES[name](0.7, convention=convention)
    weights = [torch.tensor(array, requires_grad=True) for array in arrays]
    value = regularizers.PENALTIES[name](0.7, convention=convention)(weights, 5)
    agrees(value.detach().numpy(), lambda arrays: expected.value(arrays, 5), arrays, dtype=dtype)
    found = [gradient.numpy() for gradient in torch.autograd.grad(value, weights)]
    agrees(found, lambda arrays: [expected.gradient(array, 5) for array in arrays], arrays, dtype=dtype)


@dtypes
@pytest.mark.parametrize("name", [*regularizers.CLIPPINGS, *regularizers.CONSTRAINTS])
@given(seed=seeds, limit=st.floats(1e-3, 30.0), size=st.sampled_from([1e-6, 1.0, 1e6]))
@quick
def test_clipping_and_constraints_are_the_reference_s(agrees, name, dtype, seed, limit, size):
    arrays = parameters(np.random.default_rng(seed), dtype, size)
    found = regularizers.REGULARIZERS[name](limit)(tensors(arrays))
    found = {key: array.numpy() for key, array in found.items()}
    agrees(found, reference.REGULARIZERS[name](limit), arrays, dtype=dtype)


@dtypes
@pytest.mark.parametrize("name", ["clip_by_norm", "clip_by_global_norm", "max_norm"])
@given(seed=seeds)
@quick
def test_nothing_changes_exactly_at_the_limit(name, dtype, seed):
    # The reciprocal of the limit times the limit, as PyTorch divides a number by a tensor, is often not 1.
    limit = float(np.random.default_rng(seed).uniform(0.1, 30.0))
    at_limit = {"W1": torch.tensor([[limit]], dtype=getattr(torch, dtype))}
    found = regularizers.REGULARIZERS[name](limit)(at_limit)
    assert torch.equal(found["W1"], at_limit["W1"])


AUGMENTATIONS = {
    "random_flip": (((3, 4), (2, 5), (2, 3, 2)), {"probability": 0.3}),
    "random_shift": (((3, 4), (2, 5), (2, 3, 2)), {"largest": 2}),
    "gaussian_noise": ((None,), {"scale": 0.3}),
}


@dtypes
@pytest.mark.parametrize("name", regularizers.AUGMENTATIONS)
@given(seed=seeds, examples=st.integers(1, 6))
@quick
def test_an_augmentation_is_the_reference_s_for_the_same_draws(agrees, name, dtype, seed, examples):
    shapes, options = AUGMENTATIONS[name]
    for shape in shapes:
        generator, position = np.random.default_rng(seed), () if shape is None else (shape,)
        features = int(np.prod(shape or (12,)))
        x = generator.standard_normal((examples, features)).astype(dtype)
        expected = reference.AUGMENTATIONS[name](*position, **options)
        drawn = expected.draw(generator, examples, features)
        drawn = drawn.astype(dtype) if shape is None else drawn  # noise is cast where it is added
        found = regularizers.AUGMENTATIONS[name](*position, **options).apply(torch.tensor(x), torch.tensor(drawn))
        if shape is None:
            agrees(found.numpy(), expected.apply, x, drawn, dtype=dtype)
        else:  # flips and shifts move numbers
            assert np.array_equal(found.numpy(), expected.apply(x, drawn))


def test_augmentations_draw_what_they_say():
    flips = regularizers.random_flip((1, 2), probability=0.25).draw(seeded(), 10_000, 2)
    assert flips.dtype == torch.bool
    assert abs(flips.double().mean().item() - 0.25) < 5 * (0.25 * 0.75 / 10_000) ** 0.5  # five standard deviations
    shifts = regularizers.random_shift((1, 2), largest=2).draw(seeded(), 10_000, 2)
    assert shifts.shape == (10_000, 2)
    assert shifts.unique().tolist() == [-2, -1, 0, 1, 2]
    noise = regularizers.gaussian_noise().draw(seeded(), 100, 100)
    assert noise.shape == (100, 100)
    assert abs(noise.mean().item()) < 5 / 100
    assert abs(noise.square().mean().item() - 1) < 5 * (2 / 10_000) ** 0.5


@given(
    costs=st.lists(st.floats(0, 4, width=16), min_size=1, max_size=12),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.5]),
)
def test_early_stopping_decides_as_the_reference(costs, patience, min_delta):
    ours, theirs = (m.early_stopping(patience=patience, min_delta=min_delta) for m in (regularizers, reference))
    for cost in costs:
        assert ours.improved(cost) == theirs.improved(cost)
        assert (ours.stop, ours.best_epoch, ours.best_cost) == (theirs.stop, theirs.best_epoch, theirs.best_cost)


VARIANCES = {
    ("scaled_normal", "scale", 0.3): lambda n_out, n_in: 0.09,
    ("xavier_normal", "fan", "fan_in"): lambda n_out, n_in: 1 / n_in,
    ("xavier_normal", "fan", "fan_average"): lambda n_out, n_in: 2 / (n_in + n_out),
    ("xavier_uniform", "fan", "fan_in"): lambda n_out, n_in: 1 / n_in,
    ("xavier_uniform", "fan", "fan_average"): lambda n_out, n_in: 2 / (n_in + n_out),
    ("he_normal", "truncated", False): lambda n_out, n_in: 2 / n_in,
    ("he_normal", "truncated", True): lambda n_out, n_in: 2 / n_in,
    ("he_uniform", "dtype", torch.float64): lambda n_out, n_in: 2 / n_in,
    ("lecun_normal", "truncated", False): lambda n_out, n_in: 1 / n_in,
    ("lecun_normal", "truncated", True): lambda n_out, n_in: 1 / n_in,
    ("lecun_uniform", "dtype", torch.float64): lambda n_out, n_in: 1 / n_in,
}


@pytest.mark.parametrize("case", VARIANCES, ids=str)
def test_an_initializer_has_its_variance_and_its_bounds(case):
    (name, keyword, value), shape = case, (150, 400)
    drawn = initializers.INITIALIZERS[name](seeded(), shape, **{keyword: value})
    variance = VARIANCES[case](*shape)
    # The mean square of N numbers is off by sqrt(2/N) of itself at most (normal ones); five times that.
    assert abs(drawn.square().mean().item() / variance - 1) < 5 * (2 / drawn.numel()) ** 0.5
    largest = drawn.abs().max().item() / variance**0.5
    if "uniform" in name:
        assert 1.72 < largest <= 3**0.5 * (1 + 1e-6)
    elif value is True:
        assert 2.2 < largest <= 2 / initializers.TRUNCATED_DEVIATION * (1 + 1e-6)
    else:
        assert largest > 3.5


QR_ROUNDINGS = 32  # of the columns of a QR decomposition of seven rows, whose norm is 1


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5)])
def test_orthogonal_weights_are_orthonormal_times_the_gain(shape):
    w = initializers.orthogonal(seeded(), shape, gain=2.0, dtype=torch.float64)
    product = w @ w.T if shape[0] <= shape[1] else w.T @ w
    eye = 4 * torch.eye(min(shape), dtype=torch.float64)
    torch.testing.assert_close(product, eye, rtol=0, atol=4 * QR_ROUNDINGS * 2.0**-53)
    assert not torch.equal(w, initializers.orthogonal(seeded(1), shape, gain=2.0, dtype=torch.float64))


def namespace(package, array, generator):
    """The modules of a package under one name, with its arrays, its generator and its way to make an optimizer."""
    modules = {name: getattr(package, name) for name in ("activations", "initializers", "losses", "models",
               "normalization", "optimizers", "regularizers", "schedules")}  # fmt: skip
    return SimpleNamespace(array=array, generator=generator, **modules)


OURS = namespace(impl_torch, lambda values: torch.tensor(values, dtype=torch.float64), seeded())
THEIRS = namespace(reference_numpy, np.array, np.random.default_rng(0))


def optimizer(name, *arguments, **options):
    """A case that makes an optimizer; PyTorch's take the parameters first."""

    def case(package):
        make = package.optimizers.OPTIMIZERS[name]
        first = [torch.nn.Parameter(torch.ones(1))] if "params" in inspect.signature(make).parameters else []
        return make(*first, *arguments, **options)

    return case


def loss(name, outputs, targets, weights=None, **options):
    def case(package):
        labels = np.array(targets) if package is THEIRS else torch.from_numpy(np.array(targets))
        return package.losses.LOSSES[name](package.array(outputs), labels, weights, **options)

    return case


def network(**options):
    return lambda p: p.models.deep_network((2, 3, 1), **options)


ERRORS = [
    lambda p: p.activations.elu(p.array([1.0]), alpha=0.0),
    lambda p: p.activations.gelu(p.array([1.0]), approximate="tanh"),
    lambda p: p.activations.leaky_relu(p.array([1.0]), slope=float("inf")),
    lambda p: p.initializers.he_normal(p.generator, (2, 2), truncated=2),
    lambda p: p.initializers.xavier_uniform(p.generator, (2, 2), fan="fan_out"),
    lambda p: p.initializers.orthogonal(p.generator, (2, 2), gain=-1.0),
    lambda p: p.initializers.lecun_uniform(p.generator, (2, 0)),
    loss("binary_cross_entropy", [[0.0]], [[1.0]], label_smoothing=1.0),
    loss("binary_cross_entropy", [[0.0]], [[1.0]], output_reduction="max"),
    loss("binary_cross_entropy", [[0.0, 1.0]], [[1.0, 0.0]], class_weights=(1.0, 2.0)),
    loss("binary_cross_entropy", [[0.0]], [[1.0]], class_weights=(1.0, -2.0)),
    loss("binary_cross_entropy", [[0.0]], [[1.0]], [1.0, 2.0]),
    loss("categorical_cross_entropy", [[0.0, 1.0]], [1], class_weights=(1.0, 2.0, 3.0)),
    loss("categorical_cross_entropy", [[0.0, 1.0]], [1], weight_denominator="classes"),
    loss("categorical_cross_entropy", [[0.0, 1.0]], [2]),
    loss("categorical_cross_entropy_from_probabilities", [[0.5, 0.5]], [1.0]),
    loss("binary_cross_entropy_from_probabilities", [[0.5]], [[1.0]], clip=0.5),
    loss("mean_squared_error", [[0.5]], [[1.0]], convention="none"),
    lambda p: p.normalization.batch_norm(*map(p.array, ([[1.0]], [1.0], [1.0], [0.0], [1.0])), epsilon=-1.0),
    lambda p: p.normalization.layer_norm(*map(p.array, ([[1.0]], [1.0], [1.0])), epsilon=float("nan")),
    lambda p: p.normalization.running_average((0, 1), (0, 1), 2, momentum=1.0),
    lambda p: p.normalization.running_average((0, 1), (0, 1), 2, running_variance="sample"),
    lambda p: p.normalization.running_average((0, 1), (0, 1), 1, running_variance="unbiased"),
    lambda p: p.regularizers.l1(-1.0),
    lambda p: p.regularizers.elastic_net(1.0, l1_ratio=1.5),
    lambda p: p.regularizers.l2(1.0, convention="torch"),
    lambda p: p.regularizers.clip_by_value(0.0),
    lambda p: p.regularizers.clip_by_global_norm(float("inf")),
    lambda p: p.regularizers.max_norm(-1.0),
    lambda p: p.regularizers.early_stopping(patience=0),
    lambda p: p.regularizers.early_stopping(min_delta=-1.0),
    lambda p: p.regularizers.random_flip((4,)),
    lambda p: p.regularizers.random_flip((4, 4), probability=2),
    lambda p: p.regularizers.random_shift((4, 4), largest=0),
    lambda p: p.regularizers.gaussian_noise(scale=-0.1),
    lambda p: p.schedules.piecewise(1.0, boundaries=(2, 1), factors=(1.0, 1.0)),
    lambda p: p.schedules.cosine(1.0, final=2.0),
    lambda p: p.schedules.staircase(1.0, every=0.5),
    lambda p: p.schedules.warmup(1.0, after="linear"),
    network(normalization="group_norm"),
    network(normalization="layer_norm", normalization_options={"momentum": 0.9}),
    network(normalization="batch_norm", normalization_options={"momentum": 1.0}),
    network(normalization="batch_norm", normalization_options={"epsilon": -1.0}),
    network(activation="elu", activation_options={"alpha": -1.0}),
    network(output="tanh"),
    lambda p: p.models.single_neuron(2, output="sigmoid"),
    lambda p: p.models.multi_task_network((2,)),
    optimizer("adagrad", initial_accumulator=-1.0),
    optimizer("adagrad", epsilon_position="before_correction"),
    optimizer("adadelta", rho=1.0),
    optimizer("adamw", weight_decay=-0.1),
    optimizer("adamw", 0.0, decay_scale="schedule_only"),
    optimizer("nadam", schedule="keras"),
    optimizer("nadam", momentum_decay=-1.0),
    optimizer("adamax", epsilon_position="inside_root"),
    optimizer("radam", threshold=3),
    optimizer("radam", beta2=0.6),
    optimizer("lion", beta2=1.0),
    optimizer("lbfgs", history=0),
    optimizer("lbfgs", first_step="unit"),
    lambda p: p.optimizers.exponentially_weighted_average(p.array([1.0]), beta=1.0),
]


@pytest.mark.parametrize("case", ERRORS, ids=range(len(ERRORS)))
def test_an_error_has_the_reference_s_words(case):
    messages = []
    for package in (OURS, THEIRS):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole messages are compared
            case(package)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
