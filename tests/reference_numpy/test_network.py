"""Networks of layers as models: costs, gradients and trainings like those of the dense networks."""

import numpy as np
import pytest

from reference_numpy import models, training
from reference_numpy._layer import Sequence
from reference_numpy.layers import (
    activation,
    attention,
    batch_norm,
    convolution,
    dense,
    dropout,
    embedding,
    flatten,
    global_average_pool,
    gru,
    layer_norm,
    lstm,
    masking,
    max_pool,
    parallel,
    reshape,
    residual,
    sequence,
)
from reference_numpy.models import network
from reference_numpy.optimizers import adam, gradient_descent
from reference_numpy.regularizers import (
    clip_by_global_norm,
    early_stopping,
    gaussian_noise,
    l2,
    max_norm,
    random_flip,
)
from tests.training_settings import fit_with, gradients_with

DENSE = [dense(5), activation("tanh"), dropout(0.7), dense(1)]
IMAGES = [
    reshape((6, 4, 1)),
    convolution(3, (3, 3), padding="same", bias=False),
    batch_norm(),
    activation("tanh"),
    residual(sequence(convolution(3, (3, 3), padding=1), activation("sigmoid"))),
    max_pool((2, 2)),
    flatten(),
    dropout(0.8),
    dense(3),
]
TOKENS = [embedding(7, 4, mask_zero=True), residual(attention(2)), layer_norm(), lstm(5), dense(3)]


def _images(generator, m=10):
    return generator.standard_normal((m, 24)), generator.integers(0, 3, m)


def _tokens(generator, m=10):
    lengths = np.array([6, *generator.integers(1, 7, m - 1)])
    x = generator.integers(1, 7, (m, 6)) * (np.arange(6) < lengths[:, None])
    return x, generator.integers(0, 3, m)


SITUATIONS = {
    "images": (network(IMAGES, (24,), output="softmax"), _images),
    "tokens": (network(TOKENS, (6,), output="softmax"), _tokens),
    "branches": (
        network(
            [
                reshape((6, 4)),
                masking(),
                parallel(gru(3), sequence(global_average_pool(), dense(2)), join="concatenate"),
                dense(3),
            ],
            (24,),
            output="softmax",
        ),
        _images,
    ),
}


@pytest.fixture(params=list(SITUATIONS))
def situation(request):
    model, draw = SITUATIONS[request.param]
    generator = np.random.default_rng(3)
    x, y = draw(generator)
    return model, models.initialize(model, generator), x, y, model.draw_masks(generator, len(x))


CROSS_ENTROPY = {"loss": "categorical_cross_entropy"}


def test_gradients_are_those_of_differences(situation):
    model, parameters, x, y, masks = situation
    keywords = {**CROSS_ENTROPY, "masks": masks, "penalties": [l2(0.3)]}
    result = gradients_with(training, model, parameters, x, y, input_gradient=True, **keywords)

    def cost(changed, x=x):
        return gradients_with(training, model, changed, x, y, **keywords).cost

    generator, step = np.random.default_rng(0), 1e-6
    direction = {name: generator.standard_normal(w.shape) for name, w in parameters.items()}
    ahead, behind = ({name: w + sign * step * direction[name] for name, w in parameters.items()} for sign in (1, -1))
    slope = sum((result.gradients[name] * direction[name]).sum() for name in parameters)
    assert (cost(ahead) - cost(behind)) / (2 * step) == pytest.approx(slope, rel=1e-8)
    assert result.gradients.keys() - {"A0"} == parameters.keys()
    if x.dtype.kind == "f":
        along = generator.standard_normal(x.shape)
        difference = (cost(parameters, x + step * along) - cost(parameters, x - step * along)) / (2 * step)
        assert difference == pytest.approx((result.gradients["A0"] * along).sum(), rel=1e-7)
    else:
        assert "A0" not in result.gradients


def test_a_network_of_dense_layers_is_the_dense_network():
    dense_network = models.deep_network((4, 5, 1), activation="tanh", keep_probability=0.7)
    model = network(DENSE, (4,), output="sigmoid")
    generator = np.random.default_rng(0)
    parameters = models.initialize(dense_network, generator)
    x, y = generator.standard_normal((20, 4)), generator.integers(0, 2, (20, 1)).astype(float)
    masks = generator.random((3, 20, 5)) < 0.7
    common = {"loss": "binary_cross_entropy", "optimizer": adam(0.05), "penalties": [l2(0.1)], "epochs": 3,
              "constraint": max_norm(0.8), "batch_size": 6, "clipping": clip_by_global_norm(0.5)}  # fmt: skip
    names = {"W1": "1.W", "b1": "1.b", "W2": "4.W", "b2": "4.b"}
    expected = fit_with(training, dense_network, parameters, x, y, dropout_masks={1: masks}, **common)
    found = fit_with(
        training, model, {names[n]: w for n, w in parameters.items()}, x, y, dropout_masks={"3.mask": masks}, **common
    )
    np.testing.assert_allclose(found.costs, expected.costs, rtol=1e-14)
    for name, path in names.items():
        np.testing.assert_allclose(found.parameters[path], expected.parameters[name], rtol=1e-12)
    np.testing.assert_allclose(
        models.predict(model, found.parameters, x), models.predict(dense_network, expected.parameters, x), rtol=1e-12
    )


def test_a_training_in_two_halves_is_the_whole(situation):
    model, parameters, x, y, _ = situation
    common = {**CROSS_ENTROPY, "optimizer": adam(0.01), "batch_size": 4}
    whole = fit_with(training, model, parameters, x, y, epochs=4, checkpoint_epochs=[2], **common)
    half = fit_with(training, model, parameters, x, y, epochs=2, **common)
    rest = fit_with(
        training, model, half.parameters, x, y, epochs=2, optimizer_state=half.optimizer_state,
        statistics=half.statistics, **common,
    )  # fmt: skip
    np.testing.assert_array_equal(np.concatenate([half.costs, rest.costs]), whole.costs)
    for name, w in whole.parameters.items():
        np.testing.assert_array_equal(rest.parameters[name], w)
        np.testing.assert_array_equal(half.parameters[name], whole.checkpoints[2][name])
    for name, average in whole.statistics.items():
        np.testing.assert_array_equal(rest.statistics[name], average)


def test_running_averages_are_those_of_every_step_and_inference_needs_them():
    model, draw = SITUATIONS["images"]
    generator = np.random.default_rng(5)
    x, y = draw(generator)
    parameters = models.initialize(model, generator)
    history = fit_with(training, model, parameters, x, y, optimizer=gradient_descent(0.0001), epochs=1, **CROSS_ENTROPY)
    masks = training._epoch_masks(np.random.default_rng((0, 0)), model, len(x), None, 0)
    expected = models.update_statistics(model, parameters, x, models.initial_statistics(model), masks=masks)
    assert expected.keys() == {"3.running_mean", "3.running_variance"}
    for name, average in expected.items():
        np.testing.assert_array_equal(history.statistics[name], average)
    with pytest.raises(ValueError, match="statistics=None is not allowed for inference with batch norm"):
        models.predict(model, parameters, x)
    assert models.predict_classes(model, parameters, x, history.statistics).shape == (10,)


def test_values_go_by_path_and_what_only_training_has_is_not_among_them():
    model, draw = SITUATIONS["images"]
    generator = np.random.default_rng(5)
    x, _ = draw(generator)
    values = models.intermediates(model, models.initialize(model, generator), x, training=True)
    places = [f"{place}.A" for place in (1, 2, 3, 4, "5.1", "5.2", 5, 6, 7, 8, 9)]
    assert set(values) == {*places, "Z", "A"}
    np.testing.assert_array_equal(values["Z"], values["9.A"])
    np.testing.assert_allclose(values["A"].sum(axis=1), 1.0)


def test_frozen_layers_and_biases_stay():
    model, draw = SITUATIONS["images"]
    generator = np.random.default_rng(5)
    x, y = draw(generator)
    parameters = models.initialize(model, generator)
    common = {**CROSS_ENTROPY, "optimizer": gradient_descent(0.1), "epochs": 1}
    after = fit_with(training, model, parameters, x, y, frozen_layers=4, **common).parameters
    changed = {name for name, w in parameters.items() if not np.array_equal(w, after[name])}
    assert changed == {"5.1.W", "5.1.b", "9.W", "9.b"}
    after = fit_with(training, model, parameters, x, y, frozen_biases=True, **common).parameters
    changed = {name for name, w in parameters.items() if not np.array_equal(w, after[name])}
    assert changed == {"2.W", "3.gamma", "3.beta", "5.1.W", "9.W"}


def test_the_norm_of_a_kernel_is_that_of_what_leads_to_each_channel():
    w = np.random.default_rng(0).standard_normal((3, 2, 2, 4))
    limited = max_norm(0.5)({"2.W": w, "2.b": w[:, 0, 0, 0], "4.U": w[0, 0]})
    np.testing.assert_allclose(np.sqrt((limited["2.W"] ** 2).sum(axis=(1, 2, 3))), 0.5)
    np.testing.assert_allclose(np.sqrt((limited["4.U"] ** 2).sum(axis=1)), 0.5)
    np.testing.assert_array_equal(limited["2.b"], w[:, 0, 0, 0])


def test_early_stopping_ends_with_the_best_epoch():
    model, draw = SITUATIONS["tokens"]
    generator = np.random.default_rng(5)
    x, y = draw(generator)
    history = fit_with(
        training, model, models.initialize(model, generator), x, y, optimizer=adam(0.3), epochs=20,
        validation=(x[:4], 2 - y[:4]),
        early_stopping=early_stopping(patience=2), checkpoint_epochs=range(1, 21), **CROSS_ENTROPY,
    )  # fmt: skip
    assert 0 < history.best_epoch < len(history.validation_costs) < 20
    for name, w in history.checkpoints[history.best_epoch].items():
        np.testing.assert_array_equal(history.parameters[name], w)


def test_one_layer_is_a_series_of_one():
    assert network(dense(2), (3,)) == network([dense(2)], (3,)) == network(sequence(dense(2)), [3])
    assert isinstance(network(dense(2), (3,)).layers, Sequence)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: network([dense(2)], (3, 4)), r"layers give \(3, 2\): must give \(n,\), one row of logits"),
        (lambda: network([convolution(2, (3,))], (3,)), r"Convolution cannot take examples of shape \(3,\)"),
        (lambda: network([dense(2)], (3,), output="tanh"), "output='tanh' is not allowed"),
        (lambda: network([], (3,)), "layers=.* is not allowed: must be layers, at least one"),
        (lambda: network([dense], (3,)), "layers=.* is not allowed: must be layers, at least one"),
        (lambda: network([dense(2)], (0,)), "input_shape=.* is not allowed"),
        (lambda: models.initialize(network(dense(1), (2,)), None, initializer="zeros"), "initializer='zeros' is not"),
        (lambda: models.replace_head(network(dense(1), (2,)), {}, None, outputs=2), "replace_head takes a dense"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_network_is_refused(refused, message):
    with pytest.raises(ValueError, match=message):
        refused()


def test_inputs_and_parameters_of_other_shapes_are_refused_by_name():
    model = network([gru(2), dense(1)], (3, 4))
    parameters = models.initialize(model, np.random.default_rng(0))
    x = np.zeros((5, 3, 4))
    with pytest.raises(ValueError, match=r"x has shape \(5, 4\): must be \(examples, 3, 4\)"):
        models.predict(model, parameters, x[:, 0])
    with pytest.raises(ValueError, match=r"parameters has no '2.b': must hold 1.W, 1.U, 1.b, 2.W, 2.b"):
        models.predict(model, {n: w for n, w in parameters.items() if n != "2.b"}, x)
    with pytest.raises(ValueError, match=r"parameters has '1.b_h', which the model has not: must hold 1.W"):
        models.predict(model, parameters | {"1.b_h": parameters["1.b"]}, x)
    with pytest.raises(ValueError, match=r"parameters '1.U' has shape \(6, 3\): must be \(6, 2\)"):
        models.predict(model, parameters | {"1.U": np.zeros((6, 3))}, x)


def test_a_training_of_nothing_is_refused():
    model = network([dense(2), activation("tanh")], (2,))
    parameters, x = models.initialize(model, np.random.default_rng(0)), np.zeros((3, 2))
    with pytest.raises(ValueError, match="frozen_layers=1 is not allowed: it leaves no parameter to train"):
        fit_with(
            training,
            model,
            parameters,
            x,
            x,
            loss="mean_squared_error",
            optimizer=gradient_descent(0.1),
            frozen_layers=1,
        )


def test_augmentations_take_images_as_rows():
    model = network([convolution(1, (2, 2)), flatten(), dense(1)], (3, 2, 1))
    parameters, generator = models.initialize(model, np.random.default_rng(0)), np.random.default_rng(1)
    x, y = generator.standard_normal((4, 3, 2, 1)), generator.standard_normal((4, 1))
    flat = network([reshape((3, 2, 1)), *model.layers.layers], (6,))
    common = {"loss": "mean_squared_error", "optimizer": adam(0.1), "epochs": 2, "batch_size": 3}
    common |= {"augmentations": [gaussian_noise(scale=0.3), random_flip((3, 2), probability=0.5)]}
    found = fit_with(training, model, parameters, x, y, **common)
    shifted = {f"{int(name[0]) + 1}{name[1:]}": w for name, w in parameters.items()}
    expected = fit_with(training, flat, shifted, x.reshape(4, 6), y, **common)
    np.testing.assert_array_equal(found.costs, expected.costs)
