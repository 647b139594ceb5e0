"""Trouble that users reported, rebuilt: each case is a user's own PyTorch code, wrapped in about ten lines.

Their optimizer ``OwnAdam`` and module ``ChannelsFirst`` stand for code that is there already. What is asserted of each
is which tensors of which checks are told to be wrong, and that everything else passes.
"""

import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import conformance  # noqa: E402
from conformance.checks import CHECKS  # noqa: E402

WEIGHTS = [1, 2, 3, 1, 1, 0.5, 1, 1, 1, 4]


class OwnAdam(torch.optim.Optimizer):
    """A small Adam with switches for the mistakes of two ports."""

    def __init__(self, params, lr=0.01, decay=0.0, corrected=True, bare=False):
        super().__init__(params, {"lr": lr})
        self.decay, self.corrected, self.bare = decay, corrected, bare

    @torch.no_grad()
    def step(self):
        group = self.param_groups[0]
        for p in group["params"]:
            state = self.state[p]
            if not state:
                state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
            state["step"] += 1
            state["exp_avg"] = 0.9 * state["exp_avg"] + 0.1 * p.grad
            state["exp_avg_sq"] = 0.999 * state["exp_avg_sq"] + 0.001 * p.grad**2
            c1, c2 = (1 - 0.9 ** state["step"], 1 - 0.999 ** state["step"]) if self.corrected else (1.0, 1.0)
            p -= (1.0 if self.bare else group["lr"]) * self.decay * p
            p -= group["lr"] * (state["exp_avg"] / c1) / ((state["exp_avg_sq"] / c2).sqrt() + 1e-8)


def case_00():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def case_02():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01, weight_decay=0.005),
    )


def case_03():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: OwnAdam(parameters, decay=0.005, bare=True),
    )


def case_04():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)),
        loss=nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS)),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def case_04_as_a_function():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)),
        loss=lambda outputs, targets: F.cross_entropy(outputs, targets, weight=torch.tensor(WEIGHTS)),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


class ChannelsFirst(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 4, 4, 2).permute(0, 3, 1, 2).flatten(1)


def case_08():
    return conformance.wrap_torch(
        lambda: nn.Sequential(ChannelsFirst(), nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 3)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def case_10():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.GELU(approximate="tanh"), nn.Linear(8, 10)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def case_11():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 10)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def case_12():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 11, eta_min=0.001),
    )


def case_13():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1)),
        loss=nn.MSELoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        initializer="own",
    )


def case_14():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1)),
        loss=lambda outputs, targets: F.mse_loss(outputs, targets[:, 0]),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def case_17():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10), nn.Softmax(0)),
        loss=lambda p, targets: F.nll_loss(p.clamp(1e-7, 1 - 1e-7).log(), targets),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def case_17b():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10), nn.Softmax(1)),
        loss=nn.MSELoss(),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def log_softmax():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10), nn.LogSoftmax(1)),
        loss=nn.NLLLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def case_18():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: OwnAdam(parameters, corrected=False),
    )


def case_18_alone():
    return conformance.wrap_torch(optimizer=lambda parameters: OwnAdam(parameters, corrected=False))


def case_18_alone_and_right():
    return conformance.wrap_torch(optimizer=OwnAdam)


def case_20():
    return conformance.wrap_torch(
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10), nn.Softmax(1)),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


def case_20_alone():
    return conformance.wrap_torch(loss=lambda outputs, targets: F.cross_entropy(outputs.softmax(1), targets))


def loss_alone():
    return conformance.wrap_torch(loss=nn.CrossEntropyLoss())


def case_23b():
    return conformance.wrap_torch(
        lambda: nn.Sequential(
            nn.Linear(64, 8), nn.BatchNorm1d(8, eps=1e-3, momentum=0.01), nn.Tanh(), nn.Linear(8, 10)
        ),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    )


RECIPE = """
name = "case"
loss = {loss}
dataset = {{ name = {data}, examples = 45, test_examples = 12 }}
model = {model}
initializer = {initializer}
batch_size = 16
epochs = {epochs}
optimizer = {optimizer}
{more}
"""
CLASSIFIER = '{{ name = "softmax_classifier", hidden_units = [8], activation = {activation}, normalization = {norm} }}'
CROSS_ENTROPY = '"categorical_cross_entropy"'
WEIGHTED = f'{{ name = "categorical_cross_entropy", class_weights = {WEIGHTS}, weight_denominator = "weights" }}'


def classifier(activation="tanh", norm=None):
    said = f'{{ name = "softmax_classifier", hidden_units = [8], activation = "{activation}"'
    return said + (f", normalization = {norm} }}" if norm else " }")


def network(activation):
    return f'{{ name = "shallow_network", hidden_units = [16], activation = "{activation}", output = "identity" }}'


def recipe(**changed):
    values = {
        "loss": CROSS_ENTROPY, "data": '"digits"', "model": classifier(), "initializer": '"he_normal"', "epochs": 2,
        "optimizer": '{ dialect = "torch.Adam", learning_rate = 0.01 }', "more": "",
    }  # fmt: skip
    return RECIPE.format(**values | changed)


REGRESSION = {"loss": '"mean_squared_error"', "data": '"diabetes"'}
BATCH_NORM = '{ name = "batch_norm", running_variance = "unbiased" }'
COUPLED = {"optimizer": '{ dialect = "torch.Adam", learning_rate = 0.01, weight_decay = 0.005 }'}
DECOUPLED = {"optimizer": '{ dialect = "torch.AdamW", learning_rate = 0.01, weight_decay = 0.005 }'}
DESCENT = {"optimizer": '{ dialect = "torch.SGD", learning_rate = 0.1 }'}
COSINE = {"epochs": 4, "more": 'schedule = { name = "cosine", unit = "step", steps = 12, final = 0.1 }'}

# Subjects that are what their recipe says.
RIGHT = {
    "00": (case_00, {"model": classifier("relu", BATCH_NORM)}),
    "02b": (case_02, COUPLED),
    "04b": (case_04, {"loss": WEIGHTED}),
    "04b as a function": (case_04_as_a_function, {"loss": WEIGHTED}),
    "17b": (case_17b, {"loss": '"mean_squared_error"', "model": classifier("relu"), **DESCENT}),
    "18 alone": (case_18_alone_and_right, {}),
    "a loss alone": (loss_alone, {}),
    "a log-softmax": (log_softmax, {}),
}
OF_LOSS = {"data_loss", "cost"}  # of every batch
# Subjects that are not: in which check it first shows, and in which tensors of it. In checks before it all is right.
WRONG = {
    "02": (case_02, DECOUPLED, "update", {
        "W1", "b1", "ordinary", *(f"{slot} of {w}" for slot in ("first_moment", "second_moment")
                                  for w in ("W1", "b1", "ordinary")),
    }),
    "03": (case_03, DECOUPLED, "update", {"W1", "b1", "ordinary"}),
    "04": (case_04, {"loss": WEIGHTED.replace("weights\" }", "examples\" }")}, "loss", {"per_example", *OF_LOSS}),
    "10": (case_10, {"model": classifier("gelu")}, "forward", {"A1 (inference)", "Z2 (inference)"}),
    "11": (case_11, {"model": classifier("tanh", '{ name = "layer_norm", epsilon = 1e-6 }')}, "forward",
           {"N1 (inference)", "A1 (inference)", "Z2 (inference)"}),
    "12": (case_12, COSINE, "free_running", {"learning rate"}),
    "13": (case_13, {**REGRESSION, "model": network("relu"), "initializer": '"xavier_uniform"'}, "initialization",
           {"mean", "root mean square", "singular values"}),
    "14": (case_14, {**REGRESSION, "model": network("tanh")}, "loss", OF_LOSS),
    "17": (case_17, {"loss": '"categorical_cross_entropy_from_probabilities"', **DESCENT}, "forward",
           {"A2 (inference)"}),
    "18": (case_18, {}, "update", {"W1"}),
    "18 alone": (case_18_alone, {}, "update", {"W1"}),
    "20": (case_20, {}, "loss", {"per_example", *OF_LOSS}),
    "20 alone": (case_20_alone, {}, "loss", {"per_example", *OF_LOSS}),
    "23b": (case_23b, {"model": classifier("tanh", BATCH_NORM)}, "forward", {"N1 (training)", "running_mean1"}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_as_the_recipe_says_passes(judged, name, dtype):
    made, changed = RIGHT[name]
    found = judged(made(), recipe(**changed), dtype)
    assert found.wrong == {}, found.causes
    assert found.of("pass")


@pytest.mark.filterwarnings("ignore:Using a target size")  # of case 14, and what it is about
@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_is_told_where_it_first_shows(judged, name):
    made, changed, check, tensors = WRONG[name]
    found = judged(made(), recipe(**changed))
    first = next(check for check in CHECKS if check in found.wrong)
    seen = {tensor.split(" (batch")[0].split(" (last")[0] for tensor in found.wrong[first]}
    assert (first, seen) == (check, seen | tensors), found.causes


def test_a_permuted_input_shows_in_the_first_layer(judged, tmp_path):
    g = np.random.default_rng(0)
    x, y = g.normal(size=(60, 4, 4, 2)), g.integers(0, 3, 60)
    np.savez(tmp_path / "images.npz", train_x=x[:45], train_y=y[:45], test_x=x[45:], test_y=y[45:])
    data = f"{{ name = 'npz', path = '{tmp_path / 'images.npz'}' }}"
    said = recipe().replace('{ name = "digits", examples = 45, test_examples = 12 }', data)
    found = judged(case_08(), said)
    assert found.wrong["forward"] == {"Z1 (inference)", "A1 (inference)", "Z2 (inference)"}, found.causes
    assert {"dA0 (first batch)", "dW1 (first batch)"} <= found.wrong["gradients"]
    assert "update" not in found.wrong


def test_ten_lines_do_for_a_model_and_three_for_a_part():
    lines = {name: len(inspect.getsource(value).splitlines()) - 1 for name, value in globals().items()
             if name.startswith(("case_", "loss_"))}  # fmt: skip
    imports = 3
    assert max(lines.values()) + imports <= 10, lines
    assert {lines[name] for name in lines if "alone" in name} == {1}


def test_of_a_known_loss_the_losses_of_examples_are_seen_and_of_a_function_that_weighs_they_are_not(judged):
    said = recipe(loss=WEIGHTED)
    assert "loss" not in judged(case_04(), said).of("unsupported")
    assert "per_example" in judged(case_04_as_a_function(), said).of("unsupported")["loss"]
