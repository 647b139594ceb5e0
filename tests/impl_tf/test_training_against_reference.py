"""Models and training against the reference, fed the same parameters, order, masks and draws."""

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import models, optimizers, regularizers, training
from reference_numpy import models as reference_models
from reference_numpy import optimizers as reference_optimizers
from reference_numpy import regularizers as reference_regularizers
from reference_numpy import training as reference_training
from tests.training_settings import fit_with, gradients_with

EXAMPLES, EPOCHS, BATCH = 22, 3, 8
RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(EXAMPLES, 6)) + 0.5
TARGETS = {
    "binary_cross_entropy": RANDOM.integers(0, 2, (EXAMPLES, 3)).astype(float),
    "binary_cross_entropy_from_probabilities": RANDOM.integers(0, 2, (EXAMPLES, 3)).astype(float),
    "categorical_cross_entropy": RANDOM.integers(0, 3, EXAMPLES),
    "categorical_cross_entropy_from_probabilities": RANDOM.integers(0, 3, EXAMPLES),
    "mean_squared_error": RANDOM.normal(size=(EXAMPLES, 3)),
}
HEADS = {"binary": "sigmoid", "categorical": "softmax", "mean": "relu"}
TAPE = {
    "batch_order": np.stack([RANDOM.permutation(EXAMPLES) for _ in range(EPOCHS)]),
    "dropout_masks": {1: RANDOM.random((EPOCHS, EXAMPLES, 5)) < 0.8},
}
BATCH_NORM = {"normalization": "batch_norm", "normalization_options": {"epsilon": 1e-3, "momentum": 0.6}}


def pair(loss="categorical_cross_entropy", dtype=np.float64, **options):
    """The same network twice, and the reference's parameters."""
    options = {"activation": "tanh", "keep_probability": (0.8, 1.0), "output": HEADS[loss.split("_")[0]], **options}
    expected = reference_models.deep_network((6, 5, 4, 3), **options)
    parameters = reference_models.initialize(expected, np.random.default_rng(5), dtype=dtype)
    random = np.random.default_rng(6)
    parameters = {n: (w + 0.1 * random.normal(size=w.shape)).astype(dtype) for n, w in parameters.items()}
    model = models.deep_network((6, 5, 4, 3), **options)
    models.initialize(model, tf.random.Generator.from_seed(0), dtype=tf.as_dtype(dtype))
    assert list(model.parameter_dict()) == list(parameters)
    for name, variable in model.parameter_dict().items():
        variable.assign(parameters[name])
    return model, expected, parameters


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize(
    "options",
    [{}, BATCH_NORM, {"normalization": "layer_norm"}, {"bias": False}],
    ids=["plain", "batch_norm", "layer_norm", "no_bias"],
)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_values_costs_and_gradients_are_the_references(reduction, options, loss, dtype, agrees):
    model, expected_model, parameters = pair(loss, dtype, **options)
    masks, x, y = {1: TAPE["dropout_masks"][1][0]}, X.astype(dtype), TARGETS[loss]
    y = y if y.ndim == 1 else y.astype(dtype)
    weights, precision = np.linspace(0.5, 2.0, EXAMPLES).astype(dtype), np.dtype(dtype).name

    def expected_values(parameters, x):
        return reference_models.intermediates(expected_model, parameters, x, masks=masks, training=True)

    values = models.intermediates(model, x, masks=masks, training=True)
    assert list(values) == list(expected_values(parameters, x))
    agrees(values, expected_values, parameters, x, dtype=precision)
    options = {
        "loss": loss, "reduction": reduction, "masks": masks, "input_gradient": True,
        "loss_options": {"weight_denominator": "weights"},
    }  # fmt: skip

    def expected(parameters, x, weights):
        result = gradients_with(
            reference_training, expected_model, parameters, x, y, penalties=(reference_regularizers.elastic_net(0.3),),
            example_weights=weights, **options,
        )  # fmt: skip
        return result._asdict()

    result = gradients_with(
        training, model, x, y, penalties=(regularizers.elastic_net(0.3),), example_weights=weights, **options
    )
    agrees(result._asdict(), expected, parameters, x, weights, dtype=precision)


def test_running_averages_follow_the_reference_and_inference_uses_them(agrees):
    model, expected_model, parameters = pair(**BATCH_NORM)
    masks = {1: TAPE["dropout_masks"][1][0]}

    def expected(parameters, x):
        statistics = reference_models.initial_statistics(expected_model, dtype=x.dtype)
        for rows in (slice(0, 9), slice(9, 22)):
            statistics = reference_models.update_statistics(
                expected_model, parameters, x[rows], statistics, masks={1: masks[1][rows]}
            )
        return statistics, reference_models.predict(expected_model, parameters, x, statistics)

    for rows in (slice(0, 9), slice(9, 22)):
        updated = models.update_statistics(model, X[rows], masks={1: masks[1][rows]})
    agrees((updated, models.predict(model, X)), expected, parameters, X, dtype="float64")
    np.testing.assert_array_equal(
        models.predict_classes(model, X),
        reference_models.predict_classes(expected_model, parameters, X, expected(parameters, X)[0]),
    )


def test_several_sigmoid_outputs_predict_a_label_each():
    model, expected_model, parameters = pair("binary_cross_entropy")
    classes = models.predict_classes(model, X)
    assert classes.shape == (EXAMPLES, 3)
    np.testing.assert_array_equal(classes, reference_models.predict_classes(expected_model, parameters, X))


FLIPS = RANDOM.random((EPOCHS, EXAMPLES)) < 0.5
NOISE = RANDOM.normal(size=(EPOCHS, EXAMPLES, 6))
WEIGHTS = RANDOM.uniform(0.2, 3.0, EXAMPLES)

# What training is given beside the model: made by the regularizers module of either package.
TRAININGS = {
    "clip_by_value_weighted": lambda r: {"clipping": r.clip_by_value(0.01), "example_weights": WEIGHTS},
    "clip_by_norm_augmented": lambda r: {
        "clipping": r.clip_by_norm(0.05),
        "augmentations": (r.random_flip((2, 3)), r.gaussian_noise(scale=0.2)),
        "augmentation_draws": [FLIPS, NOISE],
    },
    "max_norm_validated": lambda r: {
        "constraint": r.max_norm(0.9),
        "validation": (X[:7] + 0.1, TARGETS["categorical_cross_entropy"][:7]),
        "loss_options": {"class_weights": [0.5, 1.0, 2.0], "label_smoothing": 0.1},
    },
    "penalised_by_step": lambda r: {
        "penalties": (r.l1(0.5), r.l2(0.1, convention="half")),
        "schedule": lambda t: 0.05 / (1 + t),
        "schedule_unit": "step",
    },
    "frozen_biases_of_sums": lambda r: {
        "frozen_biases": True,
        "reduction": "sum",
        "clipping": r.clip_by_global_norm(2.0),
        "validation": (X[:7] + 0.1, TARGETS["categorical_cross_entropy"][:7]),
    },
    "frozen": lambda r: {"frozen_layers": 2, "clipping": r.clip_by_global_norm(0.1), "constraint": r.max_norm(0.9)},
}


def curves_and_tensors(history):
    """What a training gives, but for its decisions."""
    fields = ("costs", "gradient_norms", "validation_costs", "parameters", "statistics", "checkpoints")
    return {field: getattr(history, field) for field in fields} | {"slots": history.optimizer_state.slots}


def assert_fits_agree(agrees, optimizer, options, optimizer_options=None, start=None, **model_options):
    """One training on the same tape in both packages; the model and its history.

    ``start``: how many epochs the reference has trained before; this one goes on from the state that it left.
    """
    model, expected_model, parameters = pair(**model_options)
    y = TARGETS["categorical_cross_entropy"]
    common = {"loss": "categorical_cross_entropy", "epochs": EPOCHS, "batch_size": BATCH, "checkpoint_epochs": (2,)}
    common |= TAPE

    def expected_fit(parameters, x, slots=None, statistics=None, epochs=EPOCHS):
        keywords = common | options(reference_regularizers) | {"epochs": epochs, "statistics": statistics}
        if slots is not None:
            keywords["optimizer_state"] = reference_optimizers.OptimizerState(start * 3, slots)
        expected = reference_optimizers.OPTIMIZERS[optimizer](0.05, **optimizer_options or {})
        return fit_with(reference_training, expected_model, parameters, x, y, optimizer=expected, **keywords)

    arguments, keywords = (parameters, X), {}
    if start:
        before = expected_fit(*arguments, epochs=start)
        arguments = before.parameters, X, before.optimizer_state.slots, before.statistics
        keywords = {"optimizer_state": optimizers.OptimizerState(*before.optimizer_state), "statistics": arguments[3]}
        for name, variable in model.parameters.items():
            variable.assign(before.parameters[name])
    ours = optimizers.OPTIMIZERS[optimizer](0.05, **optimizer_options or {})
    history = fit_with(training, model, X, y, optimizer=ours, **common | options(regularizers) | keywords)
    expected = expected_fit(*arguments)
    agrees(
        curves_and_tensors(history),
        lambda *given: curves_and_tensors(expected_fit(*given)),
        *arguments,
        dtype="float64",
    )
    assert history.learning_rates.tolist() == expected.learning_rates.tolist()
    assert history.best_epoch == expected.best_epoch
    assert history.optimizer_state.step == expected.optimizer_state.step
    for variables, tensors in ((model.parameters, history.parameters), (model.statistics, history.statistics)):
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(variables[name], tensor)
    return history


@pytest.mark.parametrize("case", TRAININGS)
def test_training_with_each_keyword_is_the_references(case, agrees):
    history = assert_fits_agree(agrees, "momentum", TRAININGS[case], **BATCH_NORM)
    if case == "frozen":
        _, _, before = pair(**BATCH_NORM)
        for name, value in before.items():
            assert np.array_equal(history.parameters[name], value) == (name[-1] in "12")
        assert list(history.optimizer_state.slots["velocity"]) == ["W3", "b3"]


@pytest.mark.parametrize("case", ["penalised_by_step", "max_norm_validated", "frozen_biases_of_sums"])
def test_training_goes_on_as_the_references_does(case, agrees):
    assert_fits_agree(agrees, "adam", TRAININGS[case], start=2, **BATCH_NORM)


@pytest.mark.parametrize("optimizer", ["nadam", "lbfgs"])
def test_training_with_state_of_several_slots_is_the_references(optimizer, agrees):
    full_batch = {"batch_size": None, "batch_order": None, "dropout_masks": None}
    assert_fits_agree(agrees, optimizer, lambda r: full_batch, keep_probability=1.0)


def test_training_without_biases_and_with_weight_decay_is_the_references(agrees):
    history = assert_fits_agree(
        agrees, "momentum", lambda r: {}, {"weight_decay": 0.1, "accumulation": "sum", "dampening": 0.3}, bias=False
    )
    assert list(history.parameters) == ["W1", "W2", "W3"]


@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_ends_training_where_the_reference_does(restore_best, agrees):
    validation = X[:7] * 3, TARGETS["categorical_cross_entropy"][[3, 1, 4, 1, 5, 9, 2]]

    def options(package):
        monitor = package.early_stopping(patience=1, restore_best=restore_best)
        schedule = [0.001, 0.001, 5.0].__getitem__  # the last epoch ruins it
        return {"validation": validation, "early_stopping": monitor, "schedule": schedule}

    history = assert_fits_agree(agrees, "gradient_descent", options, **BATCH_NORM)
    assert history.best_epoch < len(history.validation_costs)


def test_the_computation_graph_and_its_derivatives_are_the_references():
    for numbers in ((5.0, 3.0, 2.0), (0.1, -0.7, 1e-3)):
        j, gradients = models.computation_graph_gradients(*numbers)
        expected_j, expected = reference_models.computation_graph_gradients(*numbers)
        assert float(j) == models.computation_graph(*numbers) == expected_j
        assert {name: float(value) for name, value in gradients.items()} == expected
    j, gradients = models.computation_graph_gradients(*map(tf.constant, (5.0, 3.0, 2.0)))
    assert j.dtype == gradients["b"].dtype == tf.float32
