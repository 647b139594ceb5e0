"""The models of ``impl_torch`` beside the reference: layers, costs, gradients, running averages, transfer."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impl_torch import losses, models, regularizers, training
from reference_numpy import models as reference
from reference_numpy import regularizers as reference_regularizers
from reference_numpy import training as reference_training
from tests.training_settings import gradients_with

DOUBLE = {"dtype": "float64"}
seeds = st.integers(0, 2**32 - 1)
NORMALIZATIONS = {
    "none": {},
    "batch_norm": {"normalization": "batch_norm"},
    "batch_norm, options": {
        "normalization": "batch_norm",
        "normalization_options": {"epsilon": 1e-2, "momentum": 0.6, "running_variance": "unbiased"},
    },
    "layer_norm": {"normalization": "layer_norm", "normalization_options": {"epsilon": 1e-3}},
}
normalizations = pytest.mark.parametrize("options", NORMALIZATIONS.values(), ids=NORMALIZATIONS)


def both(make, generator, *arguments, **options):
    """The model in either package with the same parameters, none of them at its initial 0 or 1."""
    theirs = getattr(reference, make)(*arguments, **options)
    parameters = reference.initialize(theirs, generator)
    parameters = {name: w + 0.3 * generator.standard_normal(w.shape) for name, w in parameters.items()}
    ours = getattr(models, make)(*arguments, **options).double()
    named = ours.parameter_dict()
    assert list(named) == list(parameters)
    with torch.no_grad():
        for name, w in named.items():
            w.copy_(torch.tensor(parameters[name]))
    return ours, theirs, parameters


def arrays(tensors):
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


@normalizations
@given(seed=seeds, examples=st.integers(2, 7))
@settings(max_examples=10, deadline=None)
def test_every_layer_is_the_reference_s_in_training_and_inference(agrees, options, seed, examples):
    generator = np.random.default_rng(seed)
    ours, theirs, parameters = both("deep_network", generator, (3, 4, 5, 1), activation="tanh", **options)
    x = generator.standard_normal((examples, 3))
    statistics, given_x = reference.initial_statistics(theirs), torch.tensor(x)
    assert all(np.array_equal(a, statistics[name]) for name, a in arrays(ours.statistics_dict()).items())
    assert all(np.array_equal(a, statistics[name]) for name, a in arrays(models.initial_statistics(ours)).items())

    def updates(p, x, *, times=2):
        kept = statistics
        for _ in range(times):
            kept = reference.update_statistics(theirs, p, x, kept)
        return kept

    def in_inference(function):
        return lambda p, x: function(theirs, p, x, updates(p, x))

    in_training = arrays(models.intermediates(ours, given_x, training=True))
    agrees(in_training, lambda p, x: reference.intermediates(theirs, p, x, training=True), parameters, x, **DOUBLE)
    agrees(arrays(models.update_statistics(ours, given_x)), updates, parameters, x, times=1, **DOUBLE)
    agrees(arrays(models.update_statistics(ours, given_x)), updates, parameters, x, **DOUBLE)
    agrees(arrays(ours.statistics_dict()), updates, parameters, x, **DOUBLE)
    found = arrays(models.intermediates(ours, given_x))
    agrees(found, in_inference(reference.intermediates), parameters, x, **DOUBLE)
    agrees(models.predict(ours, given_x).numpy(), in_inference(reference.predict), parameters, x, **DOUBLE)


OBJECTIVES = {
    "binary_cross_entropy": ("multi_task_network", (3, 4, 3, 2), {"label_smoothing": 0.1, "output_reduction": "mean"}),
    "categorical_cross_entropy": ("softmax_classifier", (3, 4, 3, 2), {"class_weights": (1.0, 3.0)}),
    "binary_cross_entropy_from_probabilities": ("multi_task_network", (3, 4, 3, 2), {}),
    "categorical_cross_entropy_from_probabilities": ("softmax_classifier", (3, 4, 3, 2), {"clip": 0.1}),
    "mean_squared_error": ("deep_network", (3, 4, 3, 2), {"convention": "sum"}),
}


@normalizations
@pytest.mark.parametrize("loss", losses.LOSSES)
@given(seed=seeds, reduction=st.sampled_from(["mean", "sum"]))
@settings(max_examples=5, deadline=None)
def test_the_cost_and_every_gradient_are_the_reference_s(agrees, loss, options, reduction, seed):
    generator = np.random.default_rng(seed)
    make, sizes, loss_options = OBJECTIVES[loss]
    model = {"activation": "swish", "keep_probability": (0.7, 1.0)} | options
    model |= {"output": "relu"} if make == "deep_network" else {}
    ours, theirs, parameters = both(make, generator, sizes, **model)
    x, weights, mask = generator.standard_normal((6, 3)), generator.uniform(0.5, 1.5, 6), generator.random((6, 4)) < 0.7
    y = generator.integers(0, 2, 6) if loss.startswith("categorical") else generator.integers(0, 2, (6, 2)) * 1.0
    objective = {"loss": loss, "loss_options": loss_options, "reduction": reduction, "input_gradient": True}

    def expected(parameters, x, y, weights):
        return gradients_with(
            reference_training, theirs, parameters, x, y, penalties=(reference_regularizers.elastic_net(0.3),),
            masks={1: mask}, example_weights=weights, **objective,
        )._asdict()  # fmt: skip

    before = copy.deepcopy(ours.state_dict())
    found = gradients_with(
        training, ours, torch.tensor(x), torch.tensor(y), penalties=(regularizers.elastic_net(0.3),),
        masks={1: torch.tensor(mask)}, example_weights=torch.tensor(weights), **objective,
    )  # fmt: skip
    observed = {part: getattr(found, part).numpy() for part in ("cost", "data_loss", "penalty")}
    observed["gradients"] = arrays(found.gradients)
    agrees(observed, expected, parameters, x, y, weights, **DOUBLE)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


MAKERS = {
    "single_neuron": (3,),
    "logistic_regression": (3,),
    "shallow_network": (3,),
    "deep_network": ((3, 4, 2),),
    "multi_task_network": ((3, 4, 2),),
    "softmax_classifier": ((3, 4, 2),),
}


@pytest.mark.parametrize("make", models.MODELS)
def test_a_model_without_biases_has_none_in_any_layer_and_is_the_reference_s(agrees, make):
    generator = np.random.default_rng(0)
    ours, theirs, parameters = both(make, generator, *MAKERS[make], bias=False)
    assert not any(name.startswith("b") for name in ours.parameter_dict())
    assert not any(ours.has_bias(layer) for layer in range(1, ours.depth + 1))
    x = generator.standard_normal((5, 3))
    found = models.predict(ours, torch.tensor(x)).numpy()
    agrees(found, lambda p, x: reference.predict(theirs, p, x), parameters, x, **DOUBLE)
    assert not models.intermediates(ours, torch.zeros(1, 3).double())["Z1"].any()
    with pytest.raises(ValueError, match="bias='no' is not allowed: must be one of False, True"):
        models.MODELS[make](*MAKERS[make], bias="no")
    assert models.MODELS[make](*MAKERS[make]).has_bias(1)


def test_a_new_head_has_a_bias_only_if_the_model_has_them():
    for bias in (False, True):
        changed = models.replace_head(models.deep_network((3, 4, 1), bias=bias), None, outputs=2)
        assert changed.has_bias(1) == changed.has_bias(2) == ("b2" in changed.parameter_dict()) == bias


def test_layers_with_batch_norm_have_no_bias_but_the_last():
    model = models.deep_network((3, 4, 1), normalization="batch_norm")
    assert [model.has_bias(layer) for layer in (1, 2)] == [False, True]
    assert list(model.parameter_dict()) == ["W1", "gamma1", "beta1", "W2", "b2"]


def test_the_running_averages_are_state_of_the_module_and_no_parameters():
    model = models.shallow_network(2, hidden_units=3, normalization="batch_norm")
    assert list(model.parameter_dict()) == ["W1", "gamma1", "beta1", "W2", "b2"]
    assert {id(w) for w in model.parameters()} == {id(w) for w in model.parameter_dict().values()}
    models.update_statistics(model, torch.randn(5, 2, generator=torch.Generator().manual_seed(0)))
    reopened = models.shallow_network(2, hidden_units=3, normalization="batch_norm")
    reopened.load_state_dict(model.state_dict())
    for name, average in model.statistics_dict().items():
        assert torch.equal(reopened.statistics_dict()[name], average)
        assert not torch.equal(average, models.initial_statistics(model)[name])
    models.initialize(reopened, None, dtype=torch.float64)
    for name, average in models.initial_statistics(model, dtype=torch.float64).items():
        assert torch.equal(reopened.statistics_dict()[name], average)


def test_a_pass_whose_training_is_said_leaves_the_running_averages_and_one_by_the_mode_moves_them():
    model = models.shallow_network(2, normalization="batch_norm")
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    before = models.initial_statistics(model)
    in_inference, in_training = model(x, training=False), model(x, training=True)
    assert torch.equal(model.eval()(x, training=True), in_training)
    assert torch.equal(model(x), in_inference)
    assert torch.equal(model.train()(x, training=False), in_inference)
    assert not torch.allclose(in_training, in_inference)
    assert all(torch.equal(average, before[name]) for name, average in model.statistics_dict().items())
    assert torch.equal(model(x), in_training)
    assert not any(torch.equal(average, before[name]) for name, average in model.statistics_dict().items())


def test_statistics_of_another_model_are_refused():
    model = models.shallow_network(2, hidden_units=3, normalization="batch_norm")
    with pytest.raises(ValueError, match="statistics has no 'running_mean1': must hold running_mean1, running_var"):
        model.load_statistics({})
    with pytest.raises(ValueError, match=r"'running_variance1' has shape \(1,\): must be \(3,\)"):
        model.load_statistics({"running_mean1": torch.zeros(3), "running_variance1": torch.zeros(1)})


def test_a_new_head_leaves_the_old_model_and_takes_the_other_layers_with_it():
    model = models.deep_network((3, 4, 2, 1), normalization="batch_norm").double()
    models.update_statistics(model, torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double())
    before = copy.deepcopy(model.state_dict())
    changed = models.replace_head(
        model, torch.Generator().manual_seed(1), outputs=5, output="softmax", initializer="xavier_uniform"
    )
    assert (changed.layer_sizes, changed.output, model.output) == ((3, 4, 2, 5), "softmax", "sigmoid")
    expected = models.initializers.xavier_uniform(torch.Generator().manual_seed(1), (5, 2), dtype=torch.float64)
    assert torch.equal(changed.parameter_dict()["W3"], expected)
    assert not changed.parameter_dict()["b3"].any()
    for named in ("parameter_dict", "statistics_dict"):
        old, new = getattr(model, named)(), getattr(changed, named)()
        kept = [name for name in old if name not in ("W3", "b3")]
        assert all(torch.equal(new[name], old[name]) for name in kept)
        assert not {value.data_ptr() for value in new.values()} & {value.data_ptr() for value in old.values()}
    with torch.no_grad():
        changed.parameter_dict()["W1"].zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert models.predict_classes(changed, torch.zeros(2, 3).double()).shape == (2,)
    for arguments in ({"outputs": 0}, {"outputs": 2, "output": "tanh"}, {"outputs": 2, "initializer": "ones"}):
        messages = []
        theirs = reference.deep_network((3, 4, 2, 1))
        for replace in (
            lambda o: models.replace_head(model, None, **o),
            lambda o, t=theirs: reference.replace_head(t, reference.initialize(t, np.random.default_rng(0)), None, **o),
        ):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole messages are compared
                replace(arguments)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


def test_several_yes_or_no_outputs_are_predicted_each_by_itself():
    generator = np.random.default_rng(0)
    ours, theirs, parameters = both("multi_task_network", generator, (3, 4, 3))
    x = generator.standard_normal((9, 3))
    found = models.predict_classes(ours, torch.tensor(x)).numpy()
    np.testing.assert_array_equal(found, reference.predict_classes(theirs, parameters, x))
    assert found.shape == (9, 3)
    with pytest.raises(ValueError, match="output='relu' does not predict classes: must be 'sigmoid' or 'softmax'"):
        models.predict_classes(models.single_neuron(3, output="relu"), torch.tensor(x))


@given(*[st.floats(-1e3, 1e3)] * 3)
def test_the_computation_graph_is_the_reference_s_in_double_precision(agrees, a, b, c):
    _, gradients = reference.computation_graph_gradients(a, b, c)
    for arguments in ((a, b, c), torch.tensor([a, b, c], dtype=torch.float64).unbind()):
        cost, found = models.computation_graph_gradients(*arguments)
        agrees(cost.numpy(), reference.computation_graph, *map(np.array, (a, b, c)), **DOUBLE)
        assert {name: value.item() for name, value in found.items()} == gradients
    assert models.computation_graph(a, b, c) == reference.computation_graph(a, b, c)
