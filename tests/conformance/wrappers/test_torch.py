"""What the wrapper of PyTorch does beyond the plain case: dropout, schedules, clipping, halves, state of optimizers."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import conformance  # noqa: E402
from conformance.adapter import DeviceNotFound  # noqa: E402

RECIPE = """
name = "small"
loss = "binary_cross_entropy"
dataset = { name = "moons", examples = 26, test_examples = 12 }
model = { name = "deep_network", hidden_units = [5, 4], activation = "relu" }
initializer = "he_normal"
optimizer = { dialect = "torch.Adam", learning_rate = 0.01 }
batch_size = 10
epochs = 2
"""
DROPOUT = '[[regularizers]]\nname = "inverted_dropout"\nkeep_probability = [0.5, 0.8]\n'


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01)


def network(*dropout):
    first, second = ([nn.Dropout(1 - keep)] for keep in dropout) if dropout else ([], [])
    return nn.Sequential(
        nn.Linear(2, 5), nn.ReLU(inplace=True), *first, nn.Linear(5, 4), nn.ReLU(), *second, nn.Linear(4, 1)
    )


def wrapped(model=network, **parts):
    return conformance.wrap_torch(model, **{"loss": nn.BCEWithLogitsLoss(), "optimizer": adam, **parts})


class Functional(nn.Module):
    """One activation for all layers and one dropout, called as functions, and sizes from the problem."""

    def __init__(self, problem):
        super().__init__()
        sizes = (problem.features, *problem.recipe.model.hidden_units, 1)
        self.out = nn.Linear(*sizes[-2:])
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes[:-1]))
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        return self.out(x)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dropout_modules_get_the_masks_of_the_tape(judged, dtype):
    subject = wrapped(lambda: network(0.5, 0.8), standardize=lambda train, x: (x - train.mean(0)) / train.std(0, False))
    found = judged(subject, RECIPE + DROPOUT, dtype)
    assert found.wrong == {}, found.causes
    assert {"A1 (training)", "A2 (training)", "Z3 (training)", "standardized test inputs"} <= found.of("pass")[
        "forward"
    ]
    assert {"cost", "W3", "predicted classes (test)"} <= found.of("pass")["free_running"]


def test_dropout_of_another_rate_shows(judged):
    found = judged(wrapped(lambda: network(0.5, 0.7)), RECIPE + DROPOUT)
    assert found.wrong["forward"] == {"A2 (training)", "Z3 (training)"}


def test_activations_and_dropout_applied_as_functions_are_seen_and_layers_in_another_order_are_found(judged):
    said = RECIPE + DROPOUT.replace("[0.5, 0.8]", "0.8")
    found = judged(wrapped(Functional), said)
    assert found.wrong == {}, found.causes
    assert {"A1 (training)", "A2 (inference)"} <= found.of("pass")["forward"]


def test_a_model_that_drops_where_the_recipe_does_not_is_told(judged):
    found = judged(wrapped(lambda: network(0.5, 0.8)), RECIPE)
    assert "drops units once more than the recipe, 0 times" in found.causes


def test_a_model_that_drops_units_without_modules_for_it_does_not_offer_what_needs_them(judged):
    def drops():
        return nn.Sequential(*network()[:-1], Dropped(), network()[-1])

    found = judged(wrapped(drops), RECIPE + DROPOUT)
    assert found.wrong == {}, found.causes
    assert "no nn.Dropout module that could be given the recipe's masks" in found.causes
    assert "Z3 (inference)" in found.of("pass")["forward"]


def test_a_model_that_drops_nothing_where_the_recipe_does_is_wrong(judged):
    found = judged(wrapped(), RECIPE + DROPOUT)
    assert {"Z2 (training)", "Z3 (training)"} <= found.wrong["forward"]
    assert "free_running" in found.wrong
    assert "Z3 (inference)" in found.of("pass")["forward"]


class Dropped(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, self.training)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ('[[regularizers]]\nname = "clip_by_global_norm"\nlimit = 0.05\n',
         {"clip": lambda parameters: _clip(parameters, 0.05)}),
        ('[[regularizers]]\nname = "l2"\nstrength = 0.1\nconvention = "half"\n',
         {"penalty": lambda model: 0.05 * sum((m.weight**2).sum() for m in model if isinstance(m, nn.Linear))}),
        ('[[regularizers]]\nname = "l2"\nstrength = 0.1\n',
         {"penalty": lambda model, m: 0.05 / m * sum((w**2).sum() for w in model.parameters() if w.ndim == 2)}),
        ('schedule = { name = "inverse_time", decay_rate = 0.5 }\n',
         {"schedule": lambda epoch: 0.01 / (1 + 0.5 * epoch)}),
        ('schedule = { name = "exponential", base = 0.5, unit = "step" }\nfit = "in_halves"\n',
         {"scheduler": lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)}),
        ('fit = "twice"\n', {}),
    ],
    ids=["clip", "penalty", "penalty of the examples", "schedule", "scheduler in halves", "twice"],
)  # fmt: skip
def test_what_else_a_training_does_may_be_given(judged, said, parts):
    lines = RECIPE + said if said.startswith("[") else said + RECIPE
    found = judged(wrapped(**parts), lines)
    assert found.wrong == {}, found.causes
    assert {"cost", "learning rate", "W3"} <= found.of("pass")["free_running"]
    for part in parts:
        without = judged(wrapped(), lines)
        assert f"{part.removesuffix('r')}=" in without.causes or without.wrong, part


def _clip(parameters, limit):
    norm = torch.sqrt(sum((w.grad**2).sum() for w in parameters))
    for w in parameters:
        w.grad *= torch.clamp(limit / norm, max=1.0)


def test_the_start_of_a_model_is_looked_at_if_it_is_asked_for(judged):
    def as_the_recipe_has_it(module):
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)

    assert judged(wrapped(), RECIPE).of("unsupported")["initialization"] == {""}
    assert "initialization" in judged(wrapped(initializer="own"), RECIPE).wrong
    assert judged(wrapped(initializer=as_the_recipe_has_it), RECIPE).wrong == {}


def test_a_model_starts_with_a_seed_as_its_factory_makes_it(prepared):
    session = wrapped(initializer="own").session(prepared(RECIPE, "float32"))
    torch.manual_seed(3)
    expected = network()[0].weight.detach().numpy()
    np.testing.assert_array_equal(session.initial_parameters(3)["W1"], expected)
    assert set(session.initial_parameters(3)) == {"W1", "b1", "W2", "b2", "W3", "b3"}


def test_a_module_that_is_made_already_is_copied(prepared):
    model = network()
    before = model[0].weight.detach().clone()
    session = wrapped(model).session(prepared(RECIPE, "float64"))
    session.fit(session.problem, ())
    assert torch.equal(model[0].weight, before)
    assert model[0].weight.dtype == torch.float32


def test_a_parameter_that_the_model_holds_fast_has_no_gradient_and_is_not_trained(judged):
    def frozen():
        model = network()
        model[0].requires_grad_(False)
        return model

    found = judged(wrapped(frozen), "transfer = { frozen_layers = 1 }\n" + RECIPE)
    assert found.wrong == {}, found.causes
    assert "dW1 (first batch)" in found.of("unsupported")["gradients"]
    assert {"W1", "W2", "cost"} <= found.of("pass")["free_running"]


def test_the_default_precision_is_left_as_it_was(prepared):
    session = wrapped().session(prepared(RECIPE, "float64"))
    session.fit(session.problem, ())
    assert torch.get_default_dtype() == torch.float32


class Plain(torch.optim.Optimizer):
    """Momentum whose state goes by a name of its own."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            self.state[p]["v"] = 0.9 * self.state[p].get("v", torch.zeros_like(p)) + p.grad
            p -= self.param_groups[0]["lr"] * self.state[p]["v"]


MOMENTUM = RECIPE.replace('"torch.Adam", learning_rate = 0.01', '"torch.SGD(momentum=0.9)", learning_rate = 0.1')


def test_state_of_an_unknown_name_is_not_offered_until_it_is_said_what_it_is(judged):
    hidden = judged(conformance.wrap_torch(optimizer=Plain), MOMENTUM)
    assert hidden.wrong == {}, hidden.causes
    assert "slots={'velocity': 'v'}" in hidden.causes
    whole = judged(wrapped(optimizer=Plain), MOMENTUM)
    assert whole.wrong == {}, whole.causes
    assert "velocity of W1" in whole.of("unsupported")["free_running"]
    assert {"W1", "predicted classes (test)"} <= whole.of("pass")["free_running"]
    said = judged(conformance.wrap_torch(optimizer=Plain, slots={"velocity": "v"}), MOMENTUM)
    assert said.wrong == {}, said.causes
    assert {"velocity of ordinary", "W1"} <= said.of("pass")["update"]


@pytest.mark.parametrize(
    ("said", "make"),
    [
        ("torch.SGD", lambda p: torch.optim.SGD(p, lr=0.1)),
        ("torch.SGD(momentum=0.9)", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        ("torch.SGD(momentum=0.9, dampening=0.9, weight_decay=0.1)",
         lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.9, weight_decay=0.1)),
        ("torch.RMSprop(momentum=0.9)", lambda p: torch.optim.RMSprop(p, momentum=0.9)),
        ("torch.Adagrad", torch.optim.Adagrad),
        ("torch.Adadelta", torch.optim.Adadelta),
        ("torch.Adam(amsgrad=True)", lambda p: torch.optim.Adam(p, amsgrad=True)),
        ("torch.AdamW", torch.optim.AdamW),
        ("torch.Adamax", torch.optim.Adamax),
        ("torch.NAdam", torch.optim.NAdam),
        ("torch.RAdam", torch.optim.RAdam),
    ],
)  # fmt: skip
def test_a_built_in_optimizer_alone_is_its_dialect(judged, said, make):
    lines = RECIPE.replace('dialect = "torch.Adam", learning_rate = 0.01', f'dialect = "{said}"')
    found = judged(conformance.wrap_torch(optimizer=make), lines)
    assert found.wrong == {}, found.causes
    assert {"ordinary", "W1"} <= found.of("pass")["update"]


def test_a_device_that_is_not_there_is_told():
    with pytest.raises(DeviceNotFound, match="device='tpu' is not there"):
        wrapped()("tpu")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"model": lambda: "no module"}, "TypeError: model= made a str: must be a torch.nn.Module, or make one"),
        ({"model": lambda: nn.Linear(2, 1)}, "the model's parameters cannot be matched to the recipe's: W1 (5, 2)"),
        ({"loss": nn.BCEWithLogitsLoss(reduction="none")}, "loss= returned shape (10, 1): must be a scalar"),
    ],
)
def test_what_is_no_use_is_told(judged, parts, told):
    if "model" in parts:
        with pytest.raises((TypeError, ValueError)) as error:
            judged(wrapped(**parts), RECIPE)
        assert told in f"{type(error.value).__name__}: {error.value}"
    else:
        assert told in judged(wrapped(**parts), RECIPE).causes
