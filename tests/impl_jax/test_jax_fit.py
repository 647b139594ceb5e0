"""Models and training beside the reference, fed with the same draws: frozen, stopped, augmented, weighted."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import impl_jax
import reference_numpy
from impl_jax import losses, models, optimizers, regularizers, training
from tests.training_settings import fit_with, gradients_with

EXAMPLES, FEATURES, EPOCHS, BATCH = 14, 6, 3, 5  # the last batch has four examples

BATCH_NORM = {"normalization": "batch_norm", "keep_probability": 0.75, "activation": "gelu"}
UNBIASED = BATCH_NORM | {"normalization_options": {"running_variance": "unbiased", "momentum": 0.7, "epsilon": 1e-3}}


@functools.cache
def adam(package):
    """One object, so that the tests share what is compiled for it."""
    return package.optimizers.adam(0.05)


@functools.cache
def nadam(package):
    return package.optimizers.nadam()


# What differs from plain training: options of the model, and of fit (callables are given the package).
FITS = {
    "batch norm": (UNBIASED, {}),
    "layer norm": ({"normalization": "layer_norm"}, {"penalties": lambda p: [p.regularizers.l1(0.3)]}),
    "clipping": ({}, {"clipping": lambda p: p.regularizers.clip_by_global_norm(0.05)}),
    "frozen and constrained": (
        BATCH_NORM, {"frozen_layers": 1, "constraint": lambda p: p.regularizers.max_norm(0.3),
                     "clipping": lambda p: p.regularizers.clip_by_norm(0.05)},
    ),
    "augmentations": (
        {}, {"augmentations": lambda p: [p.regularizers.random_flip((2, 3)), p.regularizers.random_shift((2, 3)),
                                         p.regularizers.gaussian_noise(scale=0.2)]},
    ),
    "weights and L-BFGS": (
        {}, {"example_weights": np.linspace(0.2, 2.0, EXAMPLES), "loss_options": {"weight_denominator": "weights"},
             "optimizer": lambda p: p.optimizers.lbfgs(0.5), "batch_size": None},
    ),
    "probabilities": ({}, {"loss": "binary_cross_entropy_from_probabilities", "loss_options": {"clip": 0.4}}),
    "early stopping": (
        BATCH_NORM, {"early_stopping": lambda p: p.regularizers.early_stopping(patience=2), "epochs": 8,
                     "optimizer": lambda p: nadam(p)},
    ),
}  # fmt: skip


def module(package, name):
    return __import__(f"{package.__name__}.{name}", fromlist=["x"])


class Package:
    """The modules of a package as attributes."""

    def __init__(self, package):
        for name in ("regularizers", "optimizers", "models", "training", "schedules"):
            setattr(self, name, module(package, name))


OURS, THEIRS = Package(impl_jax), Package(reference_numpy)


def problem():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((EXAMPLES, FEATURES))
    return x, (x[:, :1] * x[:, 1:2] > 0).astype(np.float64)


def tape(options, epochs):
    generator = np.random.default_rng(1)
    augmentations = options.get("augmentations", lambda p: [])(THEIRS)
    return {
        "batch_order": np.stack([generator.permutation(EXAMPLES) for _ in range(epochs)]),
        "dropout_masks": {1: generator.random((epochs, EXAMPLES, 4)) < 0.75},
        "augmentation_draws": [
            np.stack([a.draw(generator, EXAMPLES, FEATURES) for _ in range(epochs)]) for a in augmentations
        ],
    }


def train(package, model_options, options, data=None):
    x, y = problem() if data is None else data
    model = package.models.deep_network((FEATURES, 4, 3, 1), **model_options)
    reference_model = THEIRS.models.deep_network((FEATURES, 4, 3, 1), **model_options)
    parameters = THEIRS.models.initialize(reference_model, np.random.default_rng(2))
    arguments = {
        "loss": "binary_cross_entropy", "optimizer": adam(package), "epochs": EPOCHS,
        "batch_size": BATCH, "validation": (x[::2] + 0.1, y[::2]), "checkpoint_epochs": (2,),
        "schedule": package.schedules.inverse_time(0.5, decay_rate=0.1),
    }  # fmt: skip
    arguments |= {name: value(package) if callable(value) else value for name, value in options.items()}
    arguments |= tape(options, arguments["epochs"])
    if arguments["batch_size"] is None:
        del arguments["batch_order"]
    if "keep_probability" not in model_options:
        arguments["dropout_masks"] = {}
    else:
        second = np.random.default_rng(3).random((arguments["epochs"], EXAMPLES, 3)) < 0.75
        arguments["dropout_masks"] |= {2: second}
    return fit_with(package.training, model, parameters, x, y, **arguments)


@pytest.mark.parametrize("name", FITS)
def test_a_training_is_that_of_the_reference(agrees, name, double_precision):
    ours, theirs = (train(package, *FITS[name]) for package in (OURS, THEIRS))
    assert ours.best_epoch == theirs.best_epoch
    assert ours.optimizer_state.step == theirs.optimizer_state.step
    curves = ("costs", "learning_rates", "gradient_norms", "validation_costs")

    def arrays(history):
        """All that is compared of a training, but its integers."""
        parts = {"checkpoint": history.checkpoints[2], "slots": history.optimizer_state.slots}
        parts |= {"parameters": history.parameters, "statistics": history.statistics}
        return parts | {curve: getattr(history, curve) for curve in curves}

    x, y = problem()
    agrees(arrays(ours), lambda x: arrays(train(THEIRS, *FITS[name], data=(x, y))), x, dtype="float64")


def test_frozen_layers_stay_and_have_no_part_in_norm_and_state(double_precision):
    history = train(OURS, {}, {"frozen_layers": 2})
    before = THEIRS.models.initialize(THEIRS.models.deep_network((FEATURES, 4, 3, 1)), np.random.default_rng(2))
    assert set(history.optimizer_state.slots["first_moment"]) == {"W3", "b3"}
    for name in ("W1", "b1", "W2", "b2"):
        np.testing.assert_array_equal(history.parameters[name], before[name])
    assert (np.asarray(history.parameters["W3"]) != np.asarray(before["W3"])).all()


def test_early_stopping_ends_with_the_best_parameters_only_if_asked(double_precision):
    options = FITS["early stopping"][1]
    restored, last = (
        train(OURS, BATCH_NORM, options | {"early_stopping": lambda p, r=r: p.regularizers.early_stopping(
            patience=2, restore_best=r)})
        for r in (True, False)
    )  # fmt: skip
    stopped = restored.best_epoch + 2
    assert len(restored.validation_costs) == stopped < 8
    assert len(restored.costs) == len(restored.learning_rates) == 3 * stopped
    assert int(restored.optimizer_state.step) == 3 * stopped
    assert (np.asarray(restored.parameters["W1"]) != np.asarray(last.parameters["W1"])).any()
    assert (np.asarray(restored.statistics["running_mean1"]) != np.asarray(last.statistics["running_mean1"])).any()


def test_equal_settings_of_regularizers_are_compiled_once():
    x, y = (a.astype(np.float32) for a in problem())
    model, optimizer = models.logistic_regression(FEATURES), optimizers.gradient_descent(0.1)
    parameters = models.initialize(model, jax.random.key(0))
    compiled = []
    for seed in range(3):
        fit_with(
            training, model, parameters, x, y, loss="binary_cross_entropy", optimizer=optimizer, epochs=2, seed=seed,
            penalties=[regularizers.l1(0.1)], clipping=regularizers.clip_by_norm(0.5), batch_size=7,
            constraint=regularizers.max_norm(1.0), augmentations=[regularizers.random_flip([2, 3])],
            loss_options={"class_weights": [0.5, 1.0]}, example_weights=np.full(EXAMPLES, 1.0 + seed, np.float32),
        )  # fmt: skip
        compiled.append(training._train_epochs._cache_size())
    assert compiled[0] == compiled[1] == compiled[2]


def test_the_draws_of_fit_come_from_its_seed():
    x, y = (a.astype(np.float32) for a in problem())
    model = models.logistic_regression(FEATURES)
    parameters = models.initialize(model, jax.random.key(0))
    optimizer, noise = optimizers.gradient_descent(0.1), regularizers.gaussian_noise(scale=1.0)
    first, again, other = (
        fit_with(
            training, model, parameters, x, y, loss="binary_cross_entropy", optimizer=optimizer, epochs=2, seed=seed,
            augmentations=(noise,),
        ).costs
        for seed in (1, 1, 2)
    )  # fmt: skip
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


@pytest.mark.parametrize("normalization", ["batch_norm", "layer_norm"])
def test_a_normalised_network_and_its_gradients_are_those_of_the_reference(agrees, normalization, double_precision):
    x, y = problem()
    options = {"normalization": normalization, "activation": "softplus"}
    ours, theirs = (p.models.deep_network((FEATURES, 4, 3, 1), **options) for p in (OURS, THEIRS))
    parameters = THEIRS.models.initialize(theirs, np.random.default_rng(0))

    def parts(package, model, parameters, x):
        """Running averages, gradients, and all values in training and with the running averages."""
        statistics = package.models.update_statistics(model, parameters, x, package.models.initial_statistics(model))
        found = gradients_with(
            package.training, model, parameters, x, y, loss="binary_cross_entropy", input_gradient=True
        )
        values = [
            package.models.intermediates(model, parameters, x, **options)
            for options in ({"statistics": statistics}, {"training": True})
        ]
        return {"statistics": statistics, "gradients": found.gradients, "values": values}

    mine = parts(OURS, ours, parameters, x)
    assert ("b1" in mine["gradients"]) == (normalization == "layer_norm")
    agrees(mine, lambda parameters, x: parts(THEIRS, theirs, parameters, x), parameters, x, dtype="float64")


def test_a_new_head_leaves_the_other_layers_and_predicts_several_tasks():
    model = models.multi_task_network((4, 3, 2))
    parameters = models.initialize(model, jax.random.key(0))
    labels = models.predict_classes(model, parameters, np.ones((5, 4), np.float32))
    assert labels.shape == (5, 2)
    headed, replaced = models.replace_head(model, parameters, jax.random.key(1), outputs=6, output="softmax")
    assert (headed.layer_sizes, headed.output, replaced["W2"].shape, replaced["b2"].shape) == (
        (4, 3, 6), "softmax", (6, 3), (6,),
    )  # fmt: skip
    np.testing.assert_array_equal(replaced["W1"], parameters["W1"])
    assert models.predict_classes(headed, replaced, np.ones((5, 4), np.float32)).shape == (5,)


def test_the_computation_graph_and_its_derivatives_are_those_of_the_course():
    cost, gradients = models.computation_graph_gradients(5.0, 3.0, 2.0)
    assert (float(cost), {name: float(g) for name, g in gradients.items()}) == (33.0, {"a": 3.0, "b": 6.0, "c": 9.0})
    assert float(jax.jit(models.computation_graph_gradients)(*jnp.array([5.0, 3.0, 2.0]))[0]) == 33.0


def test_a_probability_just_at_the_clip_has_its_whole_derivative_where_the_clip_of_jax_has_half():
    at_clip = jnp.array([[0.25]])
    gradient = jax.grad(lambda p: losses.binary_cross_entropy_from_probabilities(p, jnp.ones((1, 1)), clip=0.25)[0])
    assert float(gradient(at_clip)[0, 0]) == -4.0
    assert float(jax.grad(lambda p: jnp.clip(p, 0.25, 0.75))(0.25)) == 0.5
