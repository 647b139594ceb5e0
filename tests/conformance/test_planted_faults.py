"""Faults planted in the source of the implementations: a run must fail, and its summary say where.

Each fault is one change of one line, in a copy of the package that the run imports in place of the real one.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

RECIPE = """
name = "small"
epochs = 3
batch_size = 32
dtypes = ["float64"]
dataset = {{ name = "{dataset}", examples = 80, test_examples = 20 }}
model = {{ name = "{model}", hidden_units = [4], activation = "{activation}" }}
loss = "{loss}"
optimizer = {optimizer}
schedule = {{ name = "exponential", base = 0.5 }}
regularizers = [{{ name = "l2", strength = 0.3 }}, {{ name = "inverted_dropout", keep_probability = 0.7 }}]
"""

ADAM = '{ name = "adam", learning_rate = 0.01 }'
MOMENTUM = '{ name = "momentum", learning_rate = 0.1 }'
RMSPROP = '{ name = "rmsprop", learning_rate = 0.01 }'
CLASSES = {"dataset": "digits", "model": "softmax_classifier", "loss": "categorical_cross_entropy"}


class Fault(NamedTuple):
    """A change of one line, and where it must be found first: check, stage, tensor and step."""

    name: str
    file: str
    old: str
    new: str
    found: str
    settings: dict = {}  # noqa: RUF012


FAULTS = [
    Fault(
        "no bias correction in Adam",
        "impl_tf/optimizers.py",
        "correction1, correction2 = _one_minus_power(beta1, t), _one_minus_power(beta2, t)",
        "correction1 = correction2 = tf.ones_like(t)",
        "check `update`, stage `parameter`, tensor `ordinary`, step 1",
    ),
    Fault(
        "epsilon inside the root in RMSprop",
        "impl_tf/optimizers.py",
        "tf.sqrt(variance) + epsilon if",
        "tf.sqrt(variance + epsilon) if",
        "check `update`, stage `parameter`, tensor `ordinary`, step 1",
        {"optimizer": RMSPROP},
    ),
    Fault(
        "sum of the losses for their mean",
        "impl_tf/training.py",
        "tf.reduce_mean(per_example)",
        "tf.reduce_sum(per_example)",
        "check `loss`, stage `loss`, tensor `data_loss`, step 0",
    ),
    Fault(
        "float32 hidden in the forward pass",
        "impl_tf/models.py",
        'z = tf.matmul(a, self.parameters[f"W{layer}"], transpose_b=True)',
        'z = tf.cast(tf.cast(tf.matmul(a, self.parameters[f"W{layer}"], transpose_b=True), tf.float32), a.dtype)',
        "check `forward`, stage `activation`, tensor `Z1 (inference)`, step 0",
    ),
    Fault(
        "L2 on the biases too",
        "impl_torch/training.py",
        "weights = [layer.weight for layer in model.layers]",
        "weights = list(model.parameters())",
        "check `loss`, stage `loss`, tensor `penalty`, step 9",  # the biases start at zero
    ),
    Fault(
        "a sum where momentum is an average",
        "impl_torch/optimizers.py",
        'gain = 1 - beta if group["accumulation"] == "average" else 1.0',
        "gain = 1.0",
        "check `update`, stage `optimizer state`, tensor `velocity of ordinary`, step 1",
        {"optimizer": MOMENTUM},
    ),
    Fault(
        "the last small batch dropped",
        "impl_torch/training.py",
        "for start in range(0, len(self.x), size):",
        "for start in range(0, len(self.x) - size + 1, size):",
        "check `free_running`, stage `curve`, tensor `learning rate`, step 1",
    ),
    Fault(
        "the same order in every epoch",
        "impl_torch/training.py",
        "_tensor(batch_order[epoch], ",
        "_tensor(batch_order[0], ",
        "check `free_running`, stage `curve`, tensor `cost`, step 4",
    ),
    Fault(
        "dropout without the scaling",
        "impl_jax/regularizers.py",
        "return activations * mask / float(keep_probability)",
        "return activations * mask",
        "check `forward`, stage `activation`, tensor `A1 (training)`, step 0",
    ),
    Fault(
        "softmax over the wrong axis",
        "impl_jax/activations.py",
        "jax.nn.softmax(z, axis=-1)",
        "jax.nn.softmax(z, axis=0)",
        "check `forward`, stage `activation`, tensor `A2 (inference)`, step 0",
        CLASSES,
    ),
    Fault(
        "the schedule one epoch late",
        "impl_jax/training.py",
        "schedule(epoch if",
        "schedule(max(epoch - 1, 0) if",
        "check `free_running`, stage `curve`, tensor `learning rate`, step 4",
    ),
    Fault(
        "standard deviation over m - 1",
        "impl_jax/normalization.py",
        "((x - mean) ** 2).mean(axis=0)",
        "x.var(axis=0, ddof=1)",
        "check `forward`, stage `input`, tensor `standardized test inputs`, step 0",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_and_named(tmp_path, fault):
    package = fault.file.partition("/")[0]
    shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / fault.file
    source = path.read_text(encoding="utf-8")
    assert source.count(fault.old) == 1
    path.write_text(source.replace(fault.old, fault.new), encoding="utf-8")
    settings = {"dataset": "xor", "model": "shallow_network", "activation": "tanh", "loss": "binary_cross_entropy"}
    recipe = RECIPE.format(**({"optimizer": ADAM} | settings | fault.settings))
    (tmp_path / "small.toml").write_text(recipe, encoding="utf-8")
    implementation = package.removeprefix("impl_")
    command = [sys.executable, "-m", "conformance.cli", "run", "--recipe", "small.toml", "--output", "out"]
    finished = subprocess.run(
        [*command, "--implementation", implementation], cwd=tmp_path, capture_output=True, text=True, timeout=240,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    (first,) = re.findall(r"^- \*\*.*$", summary, re.MULTILINE)
    assert first.startswith(f"- **{implementation}**, small, float64: {fault.found}: fail"), first
    assert finished.returncode == 1
