"""What is no layer of the recipe's is told, with what to say; and parts without a model, under a recipe of layers."""

import tomllib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import conformance  # noqa: E402
from conformance.recipes.recipe import Recipe  # noqa: E402
from conformance.wrappers.matching import CannotMatch  # noqa: E402

SHORT = """
name = "short"
loss = "categorical_cross_entropy"
dataset = { name = "digits", examples = 20, test_examples = 6 }
optimizer = { dialect = "torch.SGD(momentum=0.9)", learning_rate = 0.1 }
batch_size = 8
epochs = 1
[model]
name = "network"
layers = [LAYERS]
"""
IMAGE, STEPS = '{name = "reshape", shape = [8, 8, 1]}', '{name = "reshape", shape = [8, 8]}'
RELU, HEAD = '{name = "activation", function = "relu"}', '{name = "dense", units = 10}'


def recipe(*layers):
    return SHORT.replace("LAYERS", ", ".join(layers))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def wrapped(model, **parts):
    return conformance.wrap_torch(model, **{"loss": nn.CrossEntropyLoss(), "optimizer": sgd, **parts})


class Last(nn.Module):
    """A recurrent layer's output at the last step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0][:, -1]


@pytest.mark.parametrize(
    ("make", "layers", "told"),
    [
        (lambda: nn.GRU(8, 3), ['{name = "gru", units = 3}'],
         "layer 2 (gru) has one bias in the recipe, torch.nn.GRU '0.layer' has two biases: say biases = 2"),
        (lambda: nn.LSTM(8, 3, bias=False), ['{name = "lstm", units = 3}'],
         "layer 2 (lstm) has one bias in the recipe, torch.nn.LSTM '0.layer' has no bias: say biases = 0"),
        (lambda: nn.RNN(8, 4), ['{name = "simple_rnn", units = 3, biases = 2}'],
         "W of layer 2 (simple_rnn) is (3, 8) in the recipe, that of torch.nn.RNN '0.layer' (4, 8)"),
        (lambda: nn.RNN(8, 3, 2, dropout=0.5), ['{name = "simple_rnn", units = 3}'],
         "torch.nn.RNN '0.layer' has dropout=0.5, which no recipe has inside of such a layer: say 0"),
    ],
)  # fmt: skip
def test_a_layer_that_is_another_than_the_recipe_s_is_told_with_what_to_say(prepared, make, layers, told):
    said = recipe(STEPS, *layers, HEAD)
    made = wrapped(lambda: nn.Sequential(Last(make()), nn.LazyLinear(10)), inputs=lambda x: x.reshape(-1, 8, 8))
    with pytest.raises(CannotMatch) as error:
        made.session(prepared(said, "float64"))
    assert told in str(error.value)


def test_a_bias_that_the_recipe_has_not_is_told(prepared):
    said = recipe('{name = "dense", units = 8, bias = false}', '{name = "batch_norm"}', HEAD)
    model = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    with pytest.raises(
        CannotMatch, match=r"layer 1 \(dense\) has no bias in the recipe, .* '0' has one bias: say bias"
    ):
        wrapped(model).session(prepared(said, "float64"))


@pytest.mark.parametrize("first", [True, False])
def test_steps_that_a_layer_takes_for_examples_are_told(judged, first):
    said = recipe(STEPS, '{name = "gru", units = 3, biases = 2}', HEAD)
    model = nn.Sequential(Last(nn.GRU(8, 3, batch_first=first)), nn.Linear(3, 10))
    found = judged(wrapped(model, inputs=lambda x: x.reshape(-1, 8, 8)), said.replace("examples = 20", "examples = 21"))
    words = "torch.nn.GRU '0.layer' takes (t, m, n) and is given (m, t, n), (21, 8, 8): batch_first=True?"
    assert (words in found.causes) == (not first)
    assert bool(found.wrong) == (not first)


def test_layers_without_parameters_are_in_the_table_of_what_was_matched():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(18, 10))
    said = Recipe.model_validate(tomllib.loads(CONVOLVING))
    table = str(wrapped(model, inputs=lambda x: x.reshape(-1, 1, 8, 8)).matched(said)).splitlines()
    assert [" ".join(line.split()) for line in table[4:]] == [
        "1 reshape (8, 8, 1) no module: seen where the next one takes it",
        "3 activation (3, 3, 2) 1 by kind and place",
        "4 dropout (3, 3, 2) 2 by kind and place",
        "5 flatten (18,) 3 by kind and place",
    ]


def test_dropout_of_whole_channels_is_no_dropout_of_units(judged):
    said = recipe(IMAGE, '{name = "dropout", keep_probability = 0.5}', '{name = "flatten"}', HEAD)
    model = nn.Sequential(nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(64, 10))
    assert (
        "is a Dropout2d: the recipe drops each unit by itself"
        in judged(wrapped(model, inputs=lambda x: x.reshape(-1, 1, 8, 8)), said).causes
    )


CONVOLVING = recipe(
    IMAGE,
    '{name = "convolution", channels = 2, kernel = [3, 3], stride = 2}',
    RELU,
    '{name = "dropout", keep_probability = 0.5}',
    '{name = "flatten"}',
    HEAD,
)


def test_a_model_that_cannot_take_the_inputs_is_told_how_to_give_them(prepared):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(18, 10))
    with pytest.raises(CannotMatch, match=r"cannot take the recipe's inputs \(m, 64\): .*\. Give inputs=, what it is"):
        wrapped(model).session(prepared(CONVOLVING, "float64"))


def test_a_loss_alone_stands_on_the_recipe_s_network(judged):
    found = judged(conformance.wrap_torch(loss=nn.CrossEntropyLoss()), CONVOLVING)
    assert found.wrong == {}, found.causes
    assert {"per_example", "data_loss"} <= found.of("pass")["loss"]
    assert {"d2.W (first batch)", "d6.b (first batch)"} <= found.of("pass")["gradients"]


def test_an_optimizer_alone_takes_tensors_of_every_shape(judged):
    found = judged(conformance.wrap_torch(optimizer=sgd), CONVOLVING)
    assert found.wrong == {}, found.causes
    assert {"velocity of ordinary", "ordinary"} <= found.of("pass")["update"]


def own_forward(parameters, x, masks):
    x = x.reshape(-1, 8, 8, 1)
    y = np.zeros((len(x), 3, 3, 2), x.dtype) + parameters["2.b"]
    for i, j in np.ndindex(3, 3):
        y += np.einsum("mhwc,oc->mhwo", x[:, i : i + 5 : 2, j : j + 5 : 2], parameters["2.W"][:, i, j])
    a = np.maximum(y, 0)
    dropped = a * masks["4.mask"] / 0.5 if masks else a
    return dropped.reshape(len(x), -1) @ parameters["6.W"].T + parameters["6.b"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_plain_functions_take_parameters_and_masks_by_path(judged, dtype):
    found = judged(conformance.wrap_arrays(own_forward), CONVOLVING, dtype)
    assert found.wrong == {}, found.causes
    assert {"Z (training)", "Z (inference)", "6.A (training)"} <= found.of("pass")["forward"]
