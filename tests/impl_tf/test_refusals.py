"""Arguments that do not fit are refused, in the words of the reference where it has the same argument."""

import numpy as np
import pytest
import tensorflow as tf

import impl_tf.schedules
import reference_numpy.schedules
from impl_tf import losses, models, optimizers, regularizers, training
from reference_numpy import training as reference_training  # every submodule is loaded by it
from tests.training_settings import fit_with

NAN = float("nan")
X, Y = np.zeros((6, 4)), np.zeros(6, int)


def classifier():
    model = models.softmax_classifier((4, 6, 3))
    return models.initialize(model, tf.random.Generator.from_seed(1), dtype=tf.float64)


def train(x=X, y=Y, loss="categorical_cross_entropy", **options):
    return fit_with(training, classifier(), x, y, loss=loss, optimizer=optimizers.adam(), **options)


Z, T, P = np.zeros((3, 2)), np.zeros((3, 2)), np.full((3, 2), 0.5)
LABELS = np.array([0, 1, 1])

# Module, function, positional arguments, keywords: the same call in both packages, with the same message.
CALLS = [
    ("activations", "relu", (Z,), {"derivative_at_zero": 2}),
    ("activations", "leaky_relu", (Z,), {"slope": NAN}),
    ("activations", "elu", (Z,), {"alpha": 0.0}),
    ("activations", "gelu", (Z,), {"approximate": "tanh"}),
    ("initializers", "he_normal", (None, (0, 2)), {}),
    ("initializers", "he_normal", (np.random.default_rng(0), (1, 2)), {"truncated": 2}),
    ("initializers", "xavier_uniform", (None, (1, 2)), {"fan": "fan_out"}),
    ("initializers", "scaled_normal", (None, (1, 2)), {"scale": -1.0}),
    ("initializers", "orthogonal", (None, (1, 2)), {"gain": NAN}),
    ("losses", "binary_cross_entropy", (Z, T[:2]), {}),
    ("losses", "binary_cross_entropy", (Z, T), {"label_smoothing": 1.0}),
    ("losses", "binary_cross_entropy", (Z, T), {"output_reduction": "max"}),
    ("losses", "binary_cross_entropy", (Z, T), {"class_weights": (1.0, 2.0)}),
    ("losses", "binary_cross_entropy", (Z, T), {"weight_denominator": "m"}),
    ("losses", "binary_cross_entropy", (Z, T, np.ones(2)), {}),
    ("losses", "binary_cross_entropy_from_probabilities", (P, T), {"clip": 0.5}),
    ("losses", "categorical_cross_entropy", (Z, LABELS + 1), {}),
    ("losses", "categorical_cross_entropy", (Z, T[:, 0]), {}),
    ("losses", "categorical_cross_entropy", (Z, LABELS), {"label_smoothing": -0.1}),
    ("losses", "categorical_cross_entropy", (Z, LABELS), {"class_weights": (1.0, -1.0)}),
    ("losses", "categorical_cross_entropy", (Z, LABELS), {"class_weights": (1.0,)}),
    ("losses", "categorical_cross_entropy_from_probabilities", (P, LABELS), {"clip": 0.0}),
    ("losses", "mean_squared_error", (Z, T), {"convention": "full"}),
    ("losses", "mean_squared_error", (Z, T, np.ones((3, 1))), {}),
    ("normalization", "standardization_statistics", (Z[:0],), {}),
    ("normalization", "batch_norm", (Z, 1.0, 0.0, 0.0, 1.0), {"epsilon": -1.0}),
    ("normalization", "layer_norm", (Z, 1.0, 0.0), {"epsilon": NAN}),
    ("normalization", "running_average", ((0.0, 1.0), (0.0, 1.0), 2), {"momentum": 1.0}),
    ("normalization", "running_average", ((0.0, 1.0), (0.0, 1.0), 2), {"running_variance": "sample"}),
    ("normalization", "running_average", ((0.0, 1.0), (0.0, 1.0), 1), {"running_variance": "unbiased"}),
    ("regularizers", "l2", (NAN,), {}),
    ("regularizers", "l1", (1.0,), {"convention": "mean"}),
    ("regularizers", "elastic_net", (1.0,), {"l1_ratio": 2.0}),
    ("regularizers", "dropout_mask", (None, (1, 1)), {"keep_probability": 0.0}),
    ("regularizers", "inverted_dropout", (Z, Z > 0), {"keep_probability": 1.5}),
    ("regularizers", "clip_by_value", (0.0,), {}),
    ("regularizers", "clip_by_norm", (NAN,), {}),
    ("regularizers", "clip_by_global_norm", (-1.0,), {}),
    ("regularizers", "max_norm", (0.0,), {}),
    ("regularizers", "early_stopping", (), {"patience": 0}),
    ("regularizers", "early_stopping", (), {"min_delta": NAN}),
    ("regularizers", "random_flip", ((2, 2, 2, 2),), {}),
    ("regularizers", "random_flip", ((2, 2),), {"probability": 1.5}),
    ("regularizers", "random_shift", ((2, 2),), {"largest": 0}),
    ("regularizers", "gaussian_noise", (), {"scale": -1.0}),
    ("models", "single_neuron", (2,), {"output": "sigmoid"}),
    ("models", "single_neuron", (2,), {"bias": None}),
    ("models", "deep_network", ((3,),), {}),
    ("models", "deep_network", ((3, 1),), {"bias": "no"}),
    ("models", "deep_network", ((3, 2, 1),), {"activation": "maxout"}),
    ("models", "deep_network", ((3, 2, 1),), {"activation": "elu", "activation_options": {"alpha": -1.0}}),
    ("models", "deep_network", ((3, 2, 1),), {"output": "tanh"}),
    ("models", "deep_network", ((3, 2, 1),), {"keep_probability": 0.0}),
    ("models", "deep_network", ((3, 2, 1),), {"normalization": "group_norm"}),
    ("models", "deep_network", ((3, 2, 1),), {"normalization_options": {"epsilon": 0.1}}),
    (
        "models", "deep_network", ((3, 2, 1),),
        {"normalization": "layer_norm", "normalization_options": {"momentum": 0.1}},
    ),
    (
        "models", "deep_network", ((3, 2, 1),),
        {"normalization": "batch_norm", "normalization_options": {"momentum": 1.0}},
    ),
    ("optimizers", "adam", (NAN,), {}),
    ("optimizers", "adam", (), {"beta1": 1.2}),
    ("optimizers", "adam", (), {"amsgrad": "max"}),
    ("optimizers", "momentum", (), {"beta": NAN}),
    *(
        ("optimizers", name, (), {"weight_decay": -1.0})
        for name in (
            "gradient_descent", "momentum", "rmsprop", "adagrad", "adadelta", "adam", "nadam", "adamax", "radam",
        )
    ),
    *(
        ("optimizers", name, (), {"decoupled_weight_decay": "yes"})
        for name in ("momentum", "rmsprop", "adadelta")
    ),
    ("optimizers", "momentum", (), {"dampening": 1.5}),
    ("optimizers", "momentum", (), {"dampening": 0.5}),
    ("optimizers", "momentum", (), {"dampening": 0.5, "accumulation": "sum", "nesterov": True}),
    ("optimizers", "momentum", (), {"dampening": 0.5, "accumulation": "sum", "bias_correction": True}),
    ("optimizers", "rmsprop", (), {"initial_square": 1.0, "bias_correction": True}),
    ("optimizers", "adagrad", (), {"initial_accumulator": -1.0}),
    ("optimizers", "adagrad", (), {"epsilon_position": "before_correction"}),
    ("optimizers", "adadelta", (), {"rho": 1.0}),
    ("optimizers", "adamw", (), {"weight_decay": -1.0}),
    ("optimizers", "adamw", (), {"decay_scale": "none"}),
    ("optimizers", "adamw", (0.0,), {"decay_scale": "schedule_only"}),
    ("optimizers", "nadam", (), {"schedule": "keras"}),
    ("optimizers", "nadam", (), {"momentum_decay": -1.0}),
    ("optimizers", "adamax", (), {"epsilon_position": "inside_root"}),
    ("optimizers", "radam", (), {"threshold": 6}),
    ("optimizers", "radam", (), {"beta2": 0.6, "threshold": 4}),
    ("optimizers", "lion", (), {"beta2": 1.0}),
    ("optimizers", "lbfgs", (), {"history": 0}),
    ("optimizers", "lbfgs", (), {"first_step": "line_search"}),
    ("optimizers", "exponentially_weighted_average", (np.ones(2),), {"beta": 1.0}),
    ("schedules", "inverse_sqrt", (1.0,), {"k": -1.0}),
    ("schedules", "staircase", (1.0,), {"every": 0}),
    ("schedules", "piecewise", (1.0,), {"boundaries": (3, 2)}),
    ("schedules", "piecewise", (1.0,), {"factors": (-1.0, 1.0)}),
    ("schedules", "cosine", (1.0,), {"final": 2.0}),
    ("schedules", "warmup", (1.0,), {"after": "restart"}),
]  # fmt: skip


def refusal(package, module, name, arguments, options):
    with pytest.raises(ValueError, match=r"must|not allowed") as refused:
        getattr(getattr(package, module), name)(*arguments, **options)
    return str(refused.value)


@pytest.mark.parametrize(("module", "name", "arguments", "options"), CALLS)
def test_a_refusal_has_the_words_of_the_reference(module, name, arguments, options):
    expected = refusal(reference_numpy, module, name, arguments, options)
    assert refusal(impl_tf, module, name, arguments, options) == expected


def test_training_refuses_in_the_words_of_the_reference():
    reference = reference_numpy.models.softmax_classifier((4, 6, 3))
    parameters = reference_numpy.models.initialize(reference, np.random.default_rng(0))
    for options in (
        {"frozen_layers": 2}, {"early_stopping": regularizers.early_stopping()}, {"epochs": 0}, {"batch_size": 0},
        {"schedule_unit": "day"}, {"loss": "hinge"}, {"reduction": "max"}, {"frozen_biases": "yes"},
        {"optimizer_state": optimizers.OptimizerState(-1, {})},
    ):  # fmt: skip
        options = {"loss": "categorical_cross_entropy", "optimizer": optimizers.adam(), **options}
        as_reference = options | {"optimizer": reference_numpy.optimizers.adam()}
        with pytest.raises(ValueError, match="is not allowed") as expected:
            fit_with(reference_training, reference, parameters, X, Y, **as_reference)
        with pytest.raises(ValueError, match="is not allowed") as refused:
            fit_with(training, classifier(), X, Y, **options)
        assert str(refused.value) == str(expected.value)


def test_a_model_without_classes_predicts_none_in_the_words_of_the_reference():
    reference = reference_numpy.models.single_neuron(4)
    parameters = reference_numpy.models.initialize(reference, np.random.default_rng(0))
    with pytest.raises(ValueError, match="does not predict classes") as expected:
        reference_numpy.models.predict_classes(reference, parameters, X)
    with pytest.raises(ValueError, match="does not predict classes") as refused:
        models.predict_classes(models.single_neuron(4), X.astype(np.float32))
    assert str(refused.value) == str(expected.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.adam().update({}, {"w": tf.Variable([1.0])}), "gradients has no 'w': must hold w"),
        (
            lambda: optimizers.adam().update(
                {"W1": tf.zeros(1), "b1": tf.zeros(1), "x": tf.zeros(1)},
                {"W1": tf.Variable([1.0]), "b1": tf.Variable([1.0])},
            ),
            "gradients has 'x': must hold W1, b1",
        ),
        (
            lambda: optimizers.adam().update({"w": tf.zeros((1, 1))}, {"w": tf.Variable([1.0])}),
            r"gradient 'w' has shape \(1, 1\): must be \(1,\), its parameter's",
        ),
        (lambda: regularizers.dropout_mask(None, (1, 1), keep_probability=0.0), "keep_probability=0.0 is not allowed"),
        (lambda: losses.binary_cross_entropy(tf.zeros(3), np.zeros(3)), r"both must be \(examples, outputs\)"),
        (lambda: train(x=np.zeros((6, 5))), r"x has shape \(6, 5\): must be \(examples, 4\)"),
        (lambda: train(x=X[:0], y=Y[:0]), "x has 0 examples, y 0: must be the same number, at least one"),
        (lambda: train(y=Y + 3), r"labels span 3 .. 3: must be in 0 .. 2"),
        (lambda: train(y=np.zeros(6)), "labels has dtype float64: must be integers 0 .. 2"),
        (lambda: train(y=np.zeros((6, 1)), loss="mean_squared_error"), r"targets has shape \(6, 1\), outputs \(6, 3\)"),
        (lambda: train(example_weights=np.ones(5)), r"example_weights has shape \(5,\): must be \(6,\)"),
        (lambda: train(loss="hinge"), "loss='hinge' is not allowed: must be one of 'binary_cross"),
        (lambda: train(epochs=NAN), "epochs=nan is not allowed: must be an integer >= 1"),
        (lambda: train(schedule_unit="day"), "schedule_unit='day' is not allowed"),
        (lambda: train(epochs=2, batch_order=np.zeros((1, 6), int)), r"batch_order has shape \(1, 6\): must be"),
    ],
)  # fmt: skip
def test_what_the_reference_does_not_take_is_refused_with_its_name_and_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
