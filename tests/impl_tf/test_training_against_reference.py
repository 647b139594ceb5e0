"""Models and training against the reference, fed the same parameters, order, masks and draws."""

import numpy as np
import pytest
import tensorflow as tf

from impl_tf import models, optimizers, regularizers, training
from reference_numpy import models as reference_models
from reference_numpy import optimizers as reference_optimizers
from reference_numpy import regularizers as reference_regularizers
from reference_numpy import training as reference_training

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


def assert_close(actual, expected, rtol, message=""):
    """Relative to the largest element: a small one is a sum of larger terms."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    atol = rtol * np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, err_msg=message)


# Roundings of a network three layers deep with sums of at most 22 terms, each within a condition of about 10.
ROUNDING = {np.float32: 3 * 22 * 10 * 2.0**-24, np.float64: 3 * 22 * 10 * 2.0**-53}


@pytest.mark.parametrize("dtype", list(ROUNDING))
@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize(
    "normalization",
    [{}, BATCH_NORM, {"normalization": "layer_norm"}],
    ids=["plain", "batch_norm", "layer_norm"],
)
def test_values_costs_and_gradients_are_the_references(normalization, loss, dtype):
    model, expected_model, parameters = pair(loss, dtype, **normalization)
    masks, x, y = {1: TAPE["dropout_masks"][1][0]}, X.astype(dtype), TARGETS[loss]
    y = y if y.ndim == 1 else y.astype(dtype)
    weights = np.linspace(0.5, 2.0, EXAMPLES).astype(dtype)
    values = models.intermediates(model, x, masks=masks, training=True)
    expected = reference_models.intermediates(expected_model, parameters, x, masks=masks, training=True)
    assert list(values) == list(expected)
    for name, value in expected.items():
        assert_close(values[name], value, ROUNDING[dtype], name)
    options = {
        "loss": loss, "masks": masks, "example_weights": weights, "input_gradient": True,
        "loss_options": {"weight_denominator": "weights"},
    }  # fmt: skip
    result = training.loss_and_gradients(model, x, y, penalties=(regularizers.elastic_net(0.3),), **options)
    expected = reference_training.loss_and_gradients(
        expected_model, parameters, x, y, penalties=(reference_regularizers.elastic_net(0.3),), **options
    )
    for field in ("cost", "data_loss", "penalty"):
        assert_close(getattr(result, field), getattr(expected, field), ROUNDING[dtype], field)
    largest = max(np.abs(g).max() for g in expected.gradients.values())
    assert set(result.gradients) == set(expected.gradients)
    for name, gradient in expected.gradients.items():
        # A normalised layer's gradient is a difference of gradients that are as large as the others.
        np.testing.assert_allclose(
            result.gradients[name], gradient, rtol=0, atol=ROUNDING[dtype] * largest, err_msg=name
        )


def test_running_averages_follow_the_reference_and_inference_uses_them():
    model, expected_model, parameters = pair(**BATCH_NORM)
    statistics = reference_models.initial_statistics(expected_model)
    masks = {1: TAPE["dropout_masks"][1][0]}
    for rows in (slice(0, 9), slice(9, 22)):
        batch_masks = {1: masks[1][rows]}
        statistics = reference_models.update_statistics(
            expected_model, parameters, X[rows], statistics, masks=batch_masks
        )
        updated = models.update_statistics(model, X[rows], masks=batch_masks)
    assert list(updated) == list(statistics)
    for name, value in statistics.items():
        assert_close(updated[name], value, ROUNDING[np.float64], name)
    expected = reference_models.predict(expected_model, parameters, X, statistics)
    assert_close(models.predict(model, X), expected, ROUNDING[np.float64])
    np.testing.assert_array_equal(
        models.predict_classes(model, X),
        reference_models.predict_classes(expected_model, parameters, X, statistics),
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
    "frozen": lambda r: {"frozen_layers": 2, "clipping": r.clip_by_global_norm(0.1), "constraint": r.max_norm(0.9)},
}


def both_fits(optimizer, options, **model_options):
    """The two histories of one training, on the same tape."""
    model, expected_model, parameters = pair(**model_options)
    y = TARGETS["categorical_cross_entropy"]
    common = {"loss": "categorical_cross_entropy", "epochs": EPOCHS, "batch_size": BATCH, "checkpoint_epochs": (2,)}
    common |= TAPE
    history = training.fit(
        model, X, y, optimizer=optimizers.OPTIMIZERS[optimizer](0.05), **common | options(regularizers)
    )
    expected = reference_training.fit(
        expected_model, parameters, X, y, optimizer=reference_optimizers.OPTIMIZERS[optimizer](0.05),
        **common | options(reference_regularizers),
    )  # fmt: skip
    return model, history, expected


def assert_same_history(model, history, expected):
    rtol = 9 * ROUNDING[np.float64]  # as many steps
    for field in ("costs", "learning_rates", "gradient_norms", "validation_costs"):
        assert_close(getattr(history, field), getattr(expected, field), rtol, field)
    assert history.best_epoch == expected.best_epoch
    assert history.optimizer_state.step == expected.optimizer_state.step
    pairs = [(history.parameters, expected.parameters), (history.statistics, expected.statistics)]
    pairs += [(history.checkpoints[epoch], expected.checkpoints[epoch]) for epoch in expected.checkpoints]
    slots = history.optimizer_state.slots
    pairs += [(slots[slot], tensors) for slot, tensors in expected.optimizer_state.slots.items()]
    for actual, tensors in pairs:
        assert list(actual) == list(tensors)
        for name, tensor in tensors.items():
            assert_close(actual[name], tensor, rtol, name)
    for variables, tensors in ((model.parameters, history.parameters), (model.statistics, history.statistics)):
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(variables[name], tensor)


@pytest.mark.parametrize("case", TRAININGS)
def test_training_with_each_keyword_is_the_references(case):
    model, history, expected = both_fits("momentum", TRAININGS[case], **BATCH_NORM)
    assert_same_history(model, history, expected)
    if case == "frozen":
        _, _, before = pair(**BATCH_NORM)
        for name, value in before.items():
            assert np.array_equal(history.parameters[name], value) == (name[-1] in "12")
        assert list(history.optimizer_state.slots["velocity"]) == ["W3", "b3"]


@pytest.mark.parametrize("optimizer", ["nadam", "lbfgs"])
def test_training_with_state_of_several_slots_is_the_references(optimizer):
    full_batch = {"batch_size": None, "batch_order": None, "dropout_masks": None}
    assert_same_history(*both_fits(optimizer, lambda r: full_batch, keep_probability=1.0))


@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_ends_training_where_the_reference_does(restore_best):
    validation = X[:7] * 3, TARGETS["categorical_cross_entropy"][[3, 1, 4, 1, 5, 9, 2]]

    def options(package):
        monitor = package.early_stopping(patience=1, restore_best=restore_best)
        schedule = [0.001, 0.001, 5.0].__getitem__  # the last epoch ruins it
        return {"validation": validation, "early_stopping": monitor, "schedule": schedule}

    model, history, expected = both_fits("gradient_descent", options, **BATCH_NORM)
    assert history.best_epoch < len(history.validation_costs)
    assert_same_history(model, history, expected)


def test_the_computation_graph_and_its_derivatives_are_the_references():
    for numbers in ((5.0, 3.0, 2.0), (0.1, -0.7, 1e-3)):
        j, gradients = models.computation_graph_gradients(*numbers)
        expected_j, expected = reference_models.computation_graph_gradients(*numbers)
        assert float(j) == models.computation_graph(*numbers) == expected_j
        assert {name: float(value) for name, value in gradients.items()} == expected
    j, gradients = models.computation_graph_gradients(*map(tf.constant, (5.0, 3.0, 2.0)))
    assert j.dtype == gradients["b"].dtype == tf.float32
