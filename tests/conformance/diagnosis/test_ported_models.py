"""Public kinds of porting trouble in a user's own PyTorch code: each is named, and the right code passes."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conformance.adapters.numpy import NumpyAdapter  # noqa: E402
from conformance.audit.recognition import inquiry_into  # noqa: E402
from conformance.recipes.recipe import Recipe  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from ported import Ported  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

F = torch.nn.functional
DIGITS = {
    "name": "digits",
    "dataset": {"name": "digits", "examples": 40, "test_examples": 10},
    "model": {"name": "softmax_classifier", "hidden_units": [4], "activation": "tanh"},
    "loss": "categorical_cross_entropy",
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "batch_size": 16,
    "epochs": 2,
}
MOONS = DIGITS | {
    "dataset": {"name": "moons", "examples": 40, "test_examples": 10},
    "model": {"name": "deep_network", "hidden_units": [4], "activation": "tanh"},
    "loss": "binary_cross_entropy",
}
PRICES = DIGITS | {
    "dataset": {"name": "diabetes", "examples": 40, "test_examples": 10},
    "model": {"name": "shallow_network", "hidden_units": [4], "activation": "tanh", "output": "identity"},
    "loss": "mean_squared_error",
}
SMOOTHED = DIGITS | {"loss": {"name": "categorical_cross_entropy", "label_smoothing": 0.1}}
MOMENTUM = DIGITS | {"optimizer": {"name": "momentum", "learning_rate": 0.05, "accumulation": "sum"}}
GELU = DIGITS | {"model": DIGITS["model"] | {"activation": "gelu"}}
NORM = DIGITS | {"model": DIGITS["model"] | {"normalization": {"name": "layer_norm", "epsilon": 1e-6}}}
PENALISED = DIGITS | {"regularizers": [{"name": "l2", "strength": 0.01, "convention": "half"}]}


def fault(name):
    return f"the fault {name!r}"


def rows(target, labels):
    return target[torch.arange(len(labels)), labels]


def adapter_of(changes):
    """An adapter of the port with these methods."""
    session = type("Own", (Ported,), changes)
    return type("Adapter", (NumpyAdapter,), {"session": lambda self, problem: session(problem)})("cpu")


def mean_of_table(self, z, y):
    return F.mse_loss(z.expand(-1, len(y)), y[:, 0].expand(len(y), -1))


def both_halves(self, z, y):
    half, single = len(y) // 2, self.single(z, y)
    return single[:half].mean() + single[half:].mean()


def flipped(self, x):
    return x.reshape(-1, 8, 8).transpose(1, 2).flatten(1)


def torch_start(self, shape, seed):
    torch.manual_seed(seed)
    return torch.nn.Linear(shape[1], shape[0], dtype=torch.float64).weight.detach().numpy()


def torch_parameters(self, seed):
    torch.manual_seed(seed)
    return {name: tensor.detach().numpy().copy() for name, tensor in type(self)(self.problem).named().items()}


def adding_up(self, optimizer, step):
    if step == 0:
        optimizer.zero_grad()


CASES = {
    "gelu by tanh": (GELU, {"activate": lambda self: torch.nn.GELU("tanh")}, "gelu(approximate=True)"),
    "epsilon of layer norm": (NORM, {}, "layer_norm(epsilon=1e-05)"),
    "a softmax twice": (
        DIGITS,
        {"single": lambda self, z, y: F.cross_entropy(z.softmax(1), y, reduction="none")},
        fault("categorical cross-entropy: a softmax of what is one already"),
    ),
    "a sigmoid twice": (
        MOONS,
        {"single": lambda self, z, y: F.binary_cross_entropy_with_logits(z.sigmoid(), y, reduction="none").sum(1)},
        fault("binary cross-entropy: a sigmoid of what is one already"),
    ),
    "no logarithm": (
        DIGITS,
        {"single": lambda self, z, y: -rows(z.softmax(1), y)},
        fault("categorical cross-entropy: the probability, not its logarithm"),
    ),
    "targets without their axis": (
        PRICES,
        {"data_loss": mean_of_table},
        fault("squared error: every prediction against every target, as (m, 1) against (m,) is broadcast")
        + ", in the cost and not in the losses of single examples",
    ),
    "no smoothing": (
        SMOOTHED,
        {"single": lambda self, z, y: F.cross_entropy(z, y, reduction="none")},
        "categorical_cross_entropy(label_smoothing=0.0)",
    ),
    "a sum": (DIGITS, {"data_loss": lambda self, z, y: self.single(z, y).sum()}, "the sum over the examples"),
    "two halves added up": (DIGITS, {"data_loss": both_halves}, "the cost multiplied by 2, as where the costs of 2"),
    "a root": (PRICES, {"data_loss": lambda self, z, y: self.single(z, y).mean().sqrt()}, "the root of the mean of"),
    "the whole square": (PENALISED, {"penalty": lambda self: 2 * Ported.penalty(self)}, "l2(convention='full')"),
    "nesterov": (
        MOMENTUM,
        {"torch_optimizer": lambda self, p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True)},
        "momentum(nesterov=True)",
    ),
    "gradients not set to zero": (DIGITS, {"zero_grad": adding_up}, "gradients never set to zero"),
    "images on their side": (DIGITS, {"arranged": flipped}, "the inputs in another order, column by column"),
    "PyTorch's start": (
        PRICES,
        {"draw_weights": torch_start, "initial_parameters": torch_parameters},
        "torch.nn.Linear's start: weights and biases uniform within 1/sqrt(n_in)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("values", [DIGITS, MOONS, PRICES, SMOOTHED, MOMENTUM, GELU, PENALISED])
def test_the_right_port_passes(values):
    assert inquiry_into(Recipe.model_validate(values), "own", "float64", adapter_of({})) is None


@pytest.mark.parametrize(("values", "changes", "name"), CASES.values(), ids=CASES)
def test_the_cause_is_named(values, changes, name):
    inquiry = inquiry_into(Recipe.model_validate(values), "own", "float64", adapter_of(changes))
    assert inquiry is not None
    with np.errstate(all="ignore"):
        first, *_ = inquiry.explanation().causes
    assert first.description.startswith(name)
    assert math.isfinite(first.error)
