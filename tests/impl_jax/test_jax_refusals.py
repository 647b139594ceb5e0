"""What is refused, in the reference's own words; initial weights; schedules on the host and traced."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import impl_jax.activations
import impl_jax.initializers
import impl_jax.losses
import impl_jax.models
import impl_jax.normalization
import impl_jax.optimizers
import impl_jax.regularizers
import impl_jax.schedules
import impl_jax.training
import reference_numpy.activations
import reference_numpy.initializers
import reference_numpy.losses
import reference_numpy.models
import reference_numpy.normalization
import reference_numpy.optimizers
import reference_numpy.regularizers
import reference_numpy.schedules
import reference_numpy.training
from impl_jax import initializers, schedules
from tests.training_settings import fit_with

ONE = np.ones((1, 1), np.float32)
X, Y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
MODEL_OPTIONS = {"normalization": "batch_norm"}


def fit(p, model_options=None, **changes):
    model = p.models.shallow_network(2, **(model_options or {}))
    parameters = reference_numpy.models.initialize(
        reference_numpy.models.shallow_network(2, **(model_options or {})), np.random.default_rng(0), dtype=np.float32
    )
    arguments = {"loss": "binary_cross_entropy", "optimizer": p.optimizers.gradient_descent(), "epochs": 1}
    return fit_with(p.training, model, parameters, X, Y, **(arguments | changes))


def step(p, optimizer, gradients):
    return optimizer.update(gradients, optimizer.init({"W1": ONE}), {"W1": ONE})


def state(p, velocity):
    return p.optimizers.OptimizerState(2, {"velocity": velocity})


REFUSED = [
    lambda p: p.activations.elu(ONE, alpha=0.0),
    lambda p: p.activations.gelu(ONE, approximate="tanh"),
    lambda p: p.initializers.he_normal(None, (3, 2), truncated="yes"),
    lambda p: p.initializers.xavier_uniform(None, (3, 2), fan="fan_out"),
    lambda p: p.initializers.lecun_uniform(None, (3, 0)),
    lambda p: p.initializers.orthogonal(None, (3, 2), gain=-1.0),
    lambda p: p.losses.binary_cross_entropy(ONE, ONE, label_smoothing=1.0),
    lambda p: p.losses.binary_cross_entropy(ONE, ONE, output_reduction="max"),
    lambda p: p.losses.binary_cross_entropy(ONE, ONE, np.ones(2)),
    lambda p: p.losses.binary_cross_entropy(ONE, ONE, weight_denominator="one"),
    lambda p: p.losses.binary_cross_entropy(np.ones((1, 2)), np.ones((1, 2)), class_weights=(1.0, 1.0)),
    lambda p: p.losses.binary_cross_entropy(ONE, ONE, class_weights=(1.0, -1.0)),
    lambda p: p.losses.categorical_cross_entropy(np.ones((1, 2)), np.array([0]), class_weights=[1.0]),
    lambda p: p.losses.categorical_cross_entropy(np.ones((1, 2)), np.array([2])),
    lambda p: p.losses.categorical_cross_entropy_from_probabilities(np.ones((1, 2)), np.array([0]), clip=0.5),
    lambda p: p.losses.mean_squared_error(ONE, ONE, convention="sam"),
    lambda p: p.normalization.batch_norm(ONE, ONE[0], ONE[0], ONE[0], ONE[0], epsilon=-1.0),
    lambda p: p.normalization.layer_norm(ONE, ONE[0], ONE[0], epsilon=math.inf),
    lambda p: p.normalization.running_average((0, 1), (0, 1), 1, running_variance="unbiased"),
    lambda p: p.normalization.running_average((0, 1), (0, 1), 2, running_variance="both"),
    lambda p: p.normalization.running_average((0, 1), (0, 1), 2, momentum=1.0),
    lambda p: p.regularizers.elastic_net(1.0, l1_ratio=1.5),
    lambda p: p.regularizers.l1(1.0, convention="third"),
    lambda p: p.regularizers.clip_by_value(0.0),
    lambda p: p.regularizers.clip_by_global_norm(math.nan),
    lambda p: p.regularizers.max_norm(-1.0),
    lambda p: p.regularizers.early_stopping(patience=0),
    lambda p: p.regularizers.early_stopping(min_delta=-0.1),
    lambda p: p.regularizers.random_flip((2,)),
    lambda p: p.regularizers.random_flip((2, 2), probability=1.1),
    lambda p: p.regularizers.random_shift((2, 2), largest=0),
    lambda p: p.regularizers.gaussian_noise(scale=-1.0),
    lambda p: p.models.single_neuron(2, output="sigmoid"),
    lambda p: p.models.deep_network((2, 3, 1), normalization="group_norm"),
    lambda p: p.models.deep_network((2, 3, 1), normalization="layer_norm", normalization_options={"momentum": 0.5}),
    lambda p: p.models.deep_network((2, 3, 1), normalization_options={"epsilon": 1.0}),
    lambda p: p.models.deep_network((2, 3, 1), **MODEL_OPTIONS, normalization_options={"epsilon": -1.0}),
    lambda p: p.models.deep_network((2, 3, 1), **MODEL_OPTIONS, normalization_options={"momentum": 1.0}),
    lambda p: p.models.deep_network((2, 3, 1), activation="elu", activation_options={"alpha": -1.0}),
    lambda p: p.models.predict(p.models.shallow_network(2, **MODEL_OPTIONS), {}, X),
    lambda p: p.models.predict_classes(p.models.single_neuron(2), {}, X),
    lambda p: p.models.replace_head(p.models.shallow_network(2), {}, None, outputs=1, output="tanh"),
    lambda p: p.models.replace_head(p.models.shallow_network(2), {}, None, outputs=0),
    lambda p: p.optimizers.adagrad(initial_accumulator=-1.0),
    lambda p: p.optimizers.adadelta(rho=1.0),
    lambda p: p.optimizers.adamw(weight_decay=-0.1),
    lambda p: p.optimizers.adamw(0.0, decay_scale="schedule_only"),
    lambda p: p.optimizers.adamw(amsgrad="yes"),
    lambda p: p.optimizers.nadam(schedule="linear"),
    lambda p: p.optimizers.nadam(momentum_decay=-1.0),
    lambda p: p.optimizers.adamax(epsilon_position="inside_root"),
    lambda p: p.optimizers.radam(threshold=3),
    lambda p: p.optimizers.radam(beta2=0.6, threshold=4),
    lambda p: p.optimizers.lion(weight_decay=math.nan),
    lambda p: p.optimizers.lbfgs(history=0),
    lambda p: p.optimizers.lbfgs(first_step="unit"),
    lambda p: p.optimizers.exponentially_weighted_average(np.ones(2), beta=1.0),
    lambda p: p.schedules.staircase(1.0, every=0),
    lambda p: p.schedules.piecewise(1.0, boundaries=(2, 1), factors=(1.0, 1.0)),
    lambda p: p.schedules.piecewise(1.0, boundaries=(1,), factors=(-1.0,)),
    lambda p: p.schedules.cosine(1.0, steps=2.5),
    lambda p: p.schedules.cosine(1.0, final=2.0),
    lambda p: p.schedules.warmup(1.0, start=-0.5),
    lambda p: p.schedules.warmup(1.0, after="cosin"),
    lambda p: p.schedules.inverse_sqrt(1.0, k=-1.0),
    lambda p: p.optimizers.adam(weight_decay=math.inf),
    lambda p: p.optimizers.rmsprop(decoupled_weight_decay="yes"),
    lambda p: p.optimizers.momentum(dampening=0.5),
    lambda p: p.optimizers.momentum(dampening=0.5, accumulation="sum", nesterov=True),
    lambda p: p.optimizers.momentum(dampening=0.5, accumulation="sum", bias_correction=True),
    lambda p: p.optimizers.momentum(dampening=2.0, accumulation="sum"),
    lambda p: p.models.deep_network((2, 3, 1), bias="no"),
    lambda p: step(p, p.optimizers.rmsprop(), {"W1": ONE, "x": ONE}),
    lambda p: step(p, p.optimizers.rmsprop(), {}),
    lambda p: fit(p, reduction="max"),
    lambda p: fit(p, frozen_biases="all"),
    lambda p: fit(p, MODEL_OPTIONS, statistics={}),
    lambda p: fit(p, MODEL_OPTIONS, statistics={"running_mean1": ONE}),
    lambda p: fit(p, optimizer=p.optimizers.rmsprop(centered=True), optimizer_state=p.optimizers.OptimizerState(0, {})),
    lambda p: fit(p, optimizer=p.optimizers.momentum(), optimizer_state=state(p, {"W1": ONE})),
    lambda p: fit(p, optimizer=p.optimizers.momentum(), optimizer_state=state(p, {})),
    lambda p: fit(p, optimizer_state=p.optimizers.OptimizerState(-1, {})),
    lambda p: fit(p, optimizer_state=p.optimizers.OptimizerState(1.0, {})),
    lambda p: fit(p, frozen_layers=2),
    lambda p: fit(p, early_stopping=p.regularizers.early_stopping()),
    lambda p: fit(p, MODEL_OPTIONS | {"normalization_options": {"running_variance": "unbiased"}}, batch_size=3),
]


def message(package, call):
    with pytest.raises(ValueError, match="must") as refusal:
        call(package)
    return str(refusal.value)


@pytest.mark.parametrize("call", REFUSED)
def test_what_the_reference_refuses_is_refused_in_its_words(call):
    assert message(impl_jax, call) == message(reference_numpy, call)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"example_weights": np.ones(3)}, r"example_weights has shape \(3,\): must be \(4,\)"),
        (
            {"augmentation_draws": [np.ones((1, 3))], "augmentations": [impl_jax.regularizers.gaussian_noise()]},
            r"augmentation_draws\[0\] has shape \(1, 3\): must be \(1, 4\)",
        ),
        ({"validation": (X[:0], Y[:0])}, "validation x has 0 examples, validation y 0: must be the same number"),
    ],
)
def test_what_compiled_code_would_read_beyond_the_end_of_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        fit(impl_jax, **changes)


def test_a_schedule_in_the_place_of_a_rate_has_no_scale_for_the_decay():
    with pytest.raises(ValueError, match="is not allowed with decay_scale='schedule_only': must be > 0"):
        impl_jax.optimizers.adamw(schedules.constant(0.1), decay_scale="schedule_only")


SHAPE = (40, 50)
VARIANCES = [
    ("xavier_normal", {}, 1 / 50), ("xavier_uniform", {}, 2 / 90), ("xavier_uniform", {"fan": "fan_in"}, 1 / 50),
    ("he_normal", {"truncated": True}, 2 / 50), ("he_uniform", {}, 2 / 50), ("lecun_normal", {}, 1 / 50),
    ("lecun_normal", {"truncated": True}, 1 / 50), ("lecun_uniform", {}, 1 / 50),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "variance"), VARIANCES)
def test_initial_weights_have_the_stated_variance_and_range(name, options, variance):
    weights = np.asarray(initializers.INITIALIZERS[name](jax.random.key(0), SHAPE, **options))
    # The variance of 2000 numbers deviates by sqrt(2 / 2000) of itself at most (a normal's): five times that.
    assert weights.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / weights.size))
    largest = np.abs(weights).max() / math.sqrt(variance)
    expected = math.sqrt(3) if "uniform" in name else 2 / initializers.TRUNCATED_DEVIATION
    if "uniform" in name or options.get("truncated"):
        assert 0.95 * expected < largest <= expected * (1 + 2**-23)
    else:
        assert largest > 2.5


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_an_orthogonal_matrix_is_one(shape, double_precision):
    weights = np.asarray(initializers.orthogonal(jax.random.key(1), shape, gain=2.0))
    product = weights @ weights.T if shape[0] <= shape[1] else weights.T @ weights
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), rtol=0, atol=4 * 16 * 2.0**-53)
    assert weights.shape == shape


SCHEDULES = [
    *((name, {}) for name in schedules.SCHEDULES),
    ("cosine", {"steps": 7, "final": 0.1}), ("staircase", {"every": 3}),
    ("piecewise", {"boundaries": [2, 5], "factors": [0.3, 0.1]}),
    *(("warmup", {"steps": 4, "start": 0.25, "after": after}) for after in ("cosine", "inverse_sqrt", "piecewise")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_a_schedule_is_the_reference_on_the_host_and_the_same_when_traced(name, options, double_precision):
    ours, theirs = (package.schedules.SCHEDULES[name](0.2, **options) for package in (impl_jax, reference_numpy))
    steps = range(30)
    assert [ours(t) for t in steps] == [theirs(t) for t in steps]
    traced = jax.jit(jax.vmap(lambda t: jnp.asarray(ours(t))))(jnp.arange(30))
    # Rates come from at most ten operations on numbers of at most 0.2; powers to 30 have that condition.
    np.testing.assert_allclose(traced, [theirs(t) for t in steps], rtol=40 * 2.0**-53, atol=10 * 0.2 * 2.0**-53)


def test_schedules_of_optax_are_the_same_where_the_docstrings_say_so():
    pairs = [
        (schedules.cosine(0.2, steps=7, final=0.1), optax.cosine_decay_schedule(0.2, 7, alpha=0.1)),
        (schedules.staircase(0.2, every=3), optax.exponential_decay(0.2, 3, 0.5, staircase=True)),
        (
            schedules.piecewise(0.2, boundaries=(2, 5), factors=(0.5, 0.1)),
            optax.piecewise_constant_schedule(0.2, {2: 0.5, 5: 0.2}),
        ),
    ]
    for ours, builtin in pairs:
        rates = [ours(t) for t in range(12)]  # in double precision; those of optax in single
        np.testing.assert_allclose([builtin(t) for t in range(12)], rates, rtol=16 * 2.0**-24, atol=0.2 * 2.0**-24)


def test_the_derivative_of_softplus_keeps_digits_that_the_one_of_jax_loses(single_precision):
    z = np.linspace(5.0, 15.0, 1001, dtype=np.float32)
    exact = 1 / (1 + np.exp(-z.astype(np.float64)))
    worst = {
        f: np.abs(jax.jit(jax.vmap(jax.grad(f)))(z) - exact).max()
        for f in (impl_jax.activations.softplus, functools.partial(jax.nn.softplus))
    }
    ours, builtin = worst.values()
    assert ours < 4 * 2.0**-24
    assert builtin > 4 * 2.0**-24
