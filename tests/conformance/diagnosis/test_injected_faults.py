"""Faults injected into the implementations' source: a run must fail, say where first, and ``explain`` must say why.

Each fault is a change of one line, or two of them at once, written here and not taken from the library of mutants.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conformance.faults.injection import PACKAGES, Edit, Edits

# Of 24 examples an epoch makes two full batches and a small one.
COMMON = """
name = "{name}"
batch_size = 9
dtypes = ["float64"]
"""
MOONS = """
dataset = { name = "moons", examples = 24, test_examples = 12 }
loss = "binary_cross_entropy"
"""

RECIPES = {
    "adam": f"""{MOONS}
epochs = 2
model = {{ name = "shallow_network", hidden_units = [4], activation = "tanh" }}
optimizer = {{ name = "adam", learning_rate = 0.01 }}
regularizers = [{{ name = "l2", strength = 0.3 }}, {{ name = "inverted_dropout", keep_probability = 0.7 }}]
""",
    "rmsprop": f"""{MOONS}
epochs = 2
model = {{ name = "deep_network", hidden_units = [4, 4], activation = "tanh" }}
optimizer = {{ name = "rmsprop", learning_rate = 0.01 }}
schedule = {{ name = "exponential", base = 0.5 }}
""",
    "momentum": f"""{MOONS}
epochs = 2
model = {{ name = "shallow_network", hidden_units = [4], activation = "tanh", normalization = "batch_norm" }}
optimizer = {{ name = "momentum", learning_rate = 0.1 }}
""",
    "classes": """
epochs = 2
dataset = { name = "digits", scaling = "unit", examples = 24, test_examples = 12 }
model = { name = "softmax_classifier", hidden_units = [4], activation = "tanh" }
loss = { name = "categorical_cross_entropy", label_smoothing = 0.1 }
optimizer = { name = "adamw", learning_rate = 0.01, weight_decay = 0.1 }
schedule = { name = "cosine", unit = "step", steps = 8 }
regularizers = [{ name = "clip_by_norm", limit = 0.1 }]
""",
    # Its second epoch is the best, the third the last.
    "stopping": f"""{MOONS}
seed = 2
epochs = 5
model = {{ name = "shallow_network", hidden_units = [4], activation = "gelu", normalization = "layer_norm" }}
optimizer = {{ name = "adagrad", learning_rate = 0.3 }}
regularizers = [{{ name = "early_stopping", patience = 1 }}]
""",
}


class Fault(NamedTuple):
    """Changes of one implementation's source, and what is to be said of them.

    ``changes``: old and new by file, ``package/file``. ``found``: check, stage, tensor and step of the first
    divergence. ``causes``: all that are given, () where nothing known explains it; then ``nearest`` may be given.
    """

    name: str
    recipe: str
    changes: Mapping[str, tuple[str, str]]
    found: tuple[str, str, str, int]
    causes: tuple[str, ...] = ()
    nearest: str | None = None
    layout: str = ""

    @property
    def implementation(self) -> str:
        packages = {path.partition("/")[0] for path in self.changes}
        (name,) = (name for name, package in PACKAGES.items() if package in packages)
        return name

    @property
    def edits(self) -> Edits:
        return tuple(Edit(path.partition("/")[2], *change) for path, change in self.changes.items())


TORCH = [
    Fault(
        "L2 on the biases too",
        "adam",
        {
            "impl_torch/training.py": (
                "weights = model.weights() if objective.penalties else []",
                "weights = list(model.parameters())",
            )
        },
        ("loss", "loss", "penalty", 6),  # the biases start at zero
        ("the fault 'penalties: of biases too'",),
    ),
    Fault(
        "Adam's second decay 0.99",
        "adam",
        {"impl_torch/optimizers.py": ("betas = beta1, beta2", "betas = beta1, 0.99")},
        ("update", "optimizer state", "second_moment of ordinary", 1),
        ("adam(beta2=0.99)",),
        layout="multiplied by 10",
    ),
    Fault(
        "the last small batch dropped",
        "rmsprop",
        {
            "impl_torch/training.py": (
                "for start in range(0, len(x), batch_size):",
                "for start in range(0, len(x) - batch_size + 1, batch_size):",
            )
        },
        ("free_running", "curve", "learning rate", 3),
        ("the fault 'batches: the last, small one dropped'",),
    ),
    Fault(
        "the gradient of a square weight transposed",
        "rmsprop",
        {
            "impl_torch/training.py": (
                "dict(zip(variables, gradients, strict=True))",
                '{name: g.T if name == "W2" else g for name, g in zip(variables, gradients, strict=True)}',
            )
        },
        ("gradients", "gradient", "dW2 (first batch)", 0),
        layout="transposed",
    ),
    Fault(
        "the features in the opposite order",
        "rmsprop",
        {
            "impl_torch/normalization.py": (
                "return (x - mean) / standard_deviation",
                "return ((x - mean) / standard_deviation).flip(1)",
            )
        },
        ("forward", "input", "standardized test inputs", 0),
        layout="reversed along axis 1",
    ),
    Fault(
        "a sum where momentum is an average",
        "momentum",
        {"impl_torch/optimizers.py": ('gain = 1 - beta if group["accumulation"] == "average" else 1.0', "gain = 1.0")},
        ("update", "optimizer state", "velocity of ordinary", 1),
        ("momentum(accumulation='sum')", "the fault 'momentum: a sum where the average is meant'"),
        layout="multiplied by 10",
    ),
    Fault(
        "the running variance of PyTorch's own batch norm",
        "momentum",
        {"impl_torch/normalization.py": ('if running_variance == "unbiased":', "if examples > 1:")},
        ("forward", "running statistic", "running_variance1", 0),
        (
            "batch_norm(running_variance='unbiased')",
            "the fault 'batch norm: an unbiased running variance where a biased one is asked for'",
        ),
    ),
    Fault(
        "the same order in every epoch",
        "classes",
        {"impl_torch/training.py": ("_tensor(batch_order[epoch], ", "_tensor(batch_order[0], ")},
        ("free_running", "curve", "cost", 4),
        ("the fault 'batches: the same order in every epoch'",),
    ),
    Fault(
        "labels not smoothed",
        "classes",
        {"impl_torch/losses.py": ("label_smoothing=label_smoothing)", "label_smoothing=0.0)")},
        ("loss", "loss", "per_example", 0),
        ("categorical_cross_entropy(label_smoothing=0.0)",),
    ),
    Fault(
        "clipped by the norm plus 1e-6, as PyTorch's own clipping does",
        "classes",
        {
            "impl_torch/regularizers.py": (
                "_shrunk(g, g.square().sum().sqrt(), limit)",
                "_shrunk(g, g.square().sum().sqrt() + 1e-6, limit)",
            )
        },
        ("teacher_forced", "clipped gradient", "dW1", 1),
        ('the fault "clip by norm: 1e-6 beside the norm, as PyTorch\'s own clipping has it"',),
        layout="multiplied by 0.999999",
    ),
    Fault(
        "an epoch more of patience",
        "stopping",
        {
            "impl_torch/_common.py": (
                "self.epoch - self.best_epoch >= self.patience",
                "self.epoch - self.best_epoch > self.patience",
            )
        },
        ("free_running", "curve", "learning rate", 10),
        ("the fault 'early stopping: an epoch more of patience'",),
    ),
    Fault(
        "layer norm's variance over n - 1",
        "stopping",
        {
            "impl_torch/normalization.py": (
                "centred.square().mean(dim=-1, keepdim=True)",
                "centred.square().sum(dim=1, keepdim=True) / (z.shape[1] - 1)",
            )
        },
        ("forward", "activation", "N1 (inference)", 0),
        ("the fault 'layer norm: variance over n - 1'",),
    ),
    Fault(
        "no epsilon in Adagrad",
        "stopping",
        {
            "impl_torch/optimizers.py": (
                "optim.Adagrad(params, lr=learning_rate, eps=epsilon,",
                "optim.Adagrad(params, lr=learning_rate, eps=0.0,",
            )
        },
        ("update", "parameter", "ordinary", 1),
        ("the fault 'adagrad: no epsilon'",),
    ),
]

TF = [
    Fault(
        "no bias correction in Adam",
        "adam",
        {
            "impl_tf/optimizers.py": (
                "correction1, correction2 = one_minus_power(beta1, t), one_minus_power(beta2, t)",
                "correction1 = correction2 = tf.ones_like(t)",
            )
        },
        ("update", "parameter", "ordinary", 1),
        ("the fault 'adam: no bias correction'",),
    ),
    Fault(
        "dropout without the scaling, and Keras's epsilon in Adam",
        "adam",
        {
            "impl_tf/regularizers.py": (
                "return activations * tf.cast(mask, activations.dtype) / keep_probability",
                "return activations * tf.cast(mask, activations.dtype)",
            ),
            "impl_tf/optimizers.py": (
                "        denominator = tf.sqrt(v_hat) + epsilon\n",
                "        denominator = tf.sqrt(v_hat) + _rounded(epsilon / tf.sqrt(correction2), w)\n",
            ),
        },
        ("forward", "activation", "A1 (training)", 0),
        (
            "the fault 'dropout: kept units not scaled' and adam(epsilon_position='before_correction')",
            "the fault 'dropout: kept units not scaled' and the fault"
            " 'adam: epsilon-hat where epsilon outside is meant'",
        ),
        layout="multiplied by 0.7",
    ),
    Fault(
        "epsilon inside the root in RMSprop",
        "rmsprop",
        {"impl_tf/optimizers.py": ("tf.sqrt(variance) + epsilon if", "tf.sqrt(variance + epsilon) if")},
        ("update", "parameter", "ordinary", 1),
        (
            "rmsprop(epsilon_position='inside_root')",
            "rmsprop as optax.rmsprop has it",
            "the fault 'rmsprop: epsilon inside the root where outside is meant'",
        ),
    ),
    Fault(
        "the rows of a square weight one further",
        "rmsprop",
        {
            "impl_tf/models.py": (
                'tf.matmul(a, self.parameters[f"W{layer}"], transpose_b=True)',
                'tf.matmul(a, tf.roll(self.parameters[f"W{layer}"], int(layer == 2), axis=0), transpose_b=True)',
            )
        },
        ("forward", "activation", "Z2 (inference)", 0),
        layout="permuted: its columns are those numbered 3, 0, 1, 2 of the expected ones",
    ),
    Fault(
        "sum of the losses for their mean",
        "momentum",
        {
            "impl_tf/training.py": (
                "data_loss = _reduced(objective,",
                'data_loss = _reduced(Objective(objective.loss, objective.loss_options, "sum"),',
            )
        },
        ("loss", "loss", "data_loss", 0),
        ("the sum over the examples", "the fault 'cost: the sum of the losses for their mean'"),
        layout="multiplied by 9",
    ),
    Fault(
        "PyTorch's momentum of running averages, which is one minus ours",
        "momentum",
        {
            "impl_tf/models.py": (
                "running_average(running, batch, examples, **options)",
                "running_average(batch, running, examples, **options)",
            )
        },
        ("forward", "running statistic", "running_mean1", 0),
        ("the fault 'batch norm: momentum and 1 - momentum swapped'",),
        layout="multiplied by 9",
    ),
    Fault(
        "float32 hidden in the forward pass",
        "classes",
        {
            "impl_tf/models.py": (
                'values[f"Z{layer}"] = z',
                'values[f"Z{layer}"] = z = tf.cast(tf.cast(z, tf.float32), x.dtype)',
            )
        },
        ("forward", "activation", "Z1 (inference)", 0),
        ("the fault 'layers: float32 hidden in float64'",),
    ),
    Fault(
        "weight decay without the learning rate",
        "classes",
        {
            "impl_tf/optimizers.py": (
                "w.assign_sub(_rounded(scale * weight_decay, w) * w)",
                "w.assign_sub(_rounded(weight_decay, w) * w)",
            )
        },
        ("update", "parameter", "ordinary", 1),
        ("the fault 'adamw: decay without the rate'",),
    ),
    Fault(
        "GELU by its tanh",
        "stopping",
        {"impl_tf/activations.py": ("    if approximate:", "    if not approximate:")},
        ("forward", "activation", "A1 (inference)", 0),
        ("gelu(approximate=True)", "the fault 'gelu: by tanh where erf is asked for'"),
    ),
    Fault(
        "Adagrad from 0.1, as Keras and optax have it",
        "stopping",
        {"impl_tf/optimizers.py": ('{"square_sum": initial_accumulator}', '{"square_sum": 0.1}')},
        ("free_running", "curve", "cost", 2),
        ("adagrad(initial_accumulator=0.1)",),
    ),
]

JAX = [
    Fault(
        "dropout without the scaling",
        "adam",
        {
            "impl_jax/regularizers.py": (
                "return activations * mask / float(keep_probability)",
                "return activations * mask",
            )
        },
        ("forward", "activation", "A1 (training)", 0),
        ("the fault 'dropout: kept units not scaled'",),
        layout="multiplied by 0.7",
    ),
    Fault(
        "L2 by half its strength, not over the examples",
        "adam",
        {"impl_jax/regularizers.py": ('"course": self.strength / (2 * examples)', '"course": self.strength / 2')},
        ("loss", "loss", "penalty", 0),
        ("l2(convention='half')", "the fault 'penalties: not divided by the examples'"),
        layout="multiplied by 9",
    ),
    Fault(
        "the schedule one epoch late",
        "rmsprop",
        {"impl_jax/training.py": ("schedule(first_epoch + epoch if", "schedule(max(first_epoch + epoch - 1, 0) if")},
        ("free_running", "curve", "learning rate", 4),
        ("the fault 'schedule: one epoch late'",),
    ),
    Fault(
        "LeCun's scaled tanh",
        "rmsprop",
        {"impl_jax/activations.py": ("return jnp.tanh(z)", "return 1.7159 * jnp.tanh(2 / 3 * z)")},
        ("forward", "activation", "A1 (inference)", 0),
    ),
    Fault(
        "standard deviation over m - 1",
        "momentum",
        {"impl_jax/normalization.py": ("((x - mean) ** 2).mean(axis=0)", "x.var(axis=0, ddof=1)")},
        ("forward", "input", "standardized test inputs", 0),
        ("the fault 'standardization: variance over m - 1'",),
        layout="multiplied by 0.978945",
    ),
    Fault(
        "Nesterov's momentum whether asked for or not",
        "momentum",
        {
            "impl_jax/optimizers.py": (
                "direction = beta * v + contribution if nesterov else v",
                "direction = beta * v + contribution",
            )
        },
        ("update", "parameter", "ordinary", 1),
        ("momentum(nesterov=True)",),
    ),
    Fault(
        "softmax over the wrong axis",
        "classes",
        {"impl_jax/activations.py": ("jax.nn.softmax(z, axis=-1)", "jax.nn.softmax(z, axis=0)")},
        ("forward", "activation", "A2 (inference)", 0),
        ("the fault 'softmax: normalised over the batch'",),
    ),
    Fault(
        "the cosine at its end one step early",
        "classes",
        {"impl_jax/schedules.py": ("else min(t, steps)) / steps", "else min(t, steps - 1)) / (steps - 1)")},
        ("free_running", "curve", "learning rate", 2),
        ("the fault 'cosine: at its end one step early'",),
    ),
]

FAULTS = [*TORCH, *TF, *JAX]

MODULE = '''
from contextlib import ExitStack

from conformance.adapters.session import Unsupported
from conformance.faults.injection import Edit, injected

CHANGES = {changes!r}


class Faulty:
    """The adapter of an implementation that has other changes in every recipe."""

    def __init__(self, device):
        self.device = device
        self.kept = ExitStack()  # compilers look into the source when they are run
        self.adapters = {{
            recipe: self.kept.enter_context(injected({implementation!r}, *changes))(device)
            for recipe, changes in CHANGES.items()
        }}

    def versions(self):
        return next(iter(self.adapters.values())).versions()

    def settings(self):
        return next(iter(self.adapters.values())).settings()

    def session(self, problem):
        if problem.recipe.name not in self.adapters:
            raise Unsupported("no fault for this recipe")
        return self.adapters[problem.recipe.name].session(problem)
'''


def _modules() -> dict[str, dict[str, Fault]]:
    """The faults by module and recipe: a module has faults of one implementation, at most one for each recipe."""
    modules: dict[str, dict[str, Fault]] = {}
    for fault in FAULTS:
        names = [f"{fault.implementation}_{number}" for number in range(len(FAULTS))]
        module = next(name for name in names if fault.recipe not in modules.get(name, {}))
        modules.setdefault(module, {})[fault.recipe] = fault
    return modules


MODULES = _modules()
TARGETS = {fault.name: f"{module}:Faulty" for module, faults in MODULES.items() for fault in faults.values()}


class Said(NamedTuple):
    """What was said of all faults: by the run, and by its explanations, which go by implementation and recipe."""

    folder: Path
    status: int
    summary: str
    explanations: dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """What was said of all."""
    return run_of(tmp_path_factory.mktemp("faults"), list(MODULES))


def run_of(folder: Path, modules: Sequence[str]) -> Said:
    """A run of the faults of some modules, and its explanations."""
    for name, text in RECIPES.items():
        (folder / f"{name}.toml").write_text(COMMON.format(name=name) + text, encoding="utf-8")
    for module in modules:
        changes = {recipe: fault.edits for recipe, fault in MODULES[module].items()}
        (implementation,) = {fault.implementation for fault in MODULES[module].values()}
        text = MODULE.format(changes=changes, implementation=implementation)
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    recipes = [option for name in RECIPES for option in ("--recipe", f"{name}.toml")]
    implementations = ",".join(f"{module}:Faulty" for module in modules)
    run = _conformance(folder, "run", *recipes, "--implementation", implementations, "--output", "out", "--no-explain")
    explained = json.loads(_conformance(folder, "explain", "out", "--json").stdout)
    summary = (folder / "out" / "summary.md").read_text(encoding="utf-8")
    return Said(folder, run.returncode, summary, {(e["implementation"], e["recipe"]): e for e in explained})


def _conformance(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a folder whose modules it can import, and where it leaves its copies of the packages."""
    changed = {"PYTHONPATH": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    changed["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiling takes longer than what is compiled
    return subprocess.run(
        [sys.executable, "-m", "conformance.cli", *arguments], cwd=folder, env=os.environ | changed,
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the first waits for the run
@pytest.mark.parametrize("name", list(TARGETS))
def test_an_injected_fault_is_found_and_explained(said: Said, name: str) -> None:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    assert said.status == 1
    check, stage, tensor, step = fault.found
    place = f"check `{check}`, stage `{stage}`, tensor `{tensor}`, step {step}"
    (line,) = re.findall(rf"^- \*\*{TARGETS[fault.name]}\*\*, {fault.recipe},.*$", said.summary, re.MULTILINE)
    assert line.startswith(f"- **{TARGETS[fault.name]}**, {fault.recipe}, float64: {place}: fail"), line
    explanation = said.explanations[TARGETS[fault.name], fault.recipe]
    assert tuple(explanation["divergence"][part] for part in ("check", "stage", "tensor", "step")) == fault.found
    assert explanation["layout"] == fault.layout
    assert [cause["description"] for cause in explanation["causes"]] == list(fault.causes)
    nearest = explanation["nearest"]
    assert (nearest and nearest["description"]) == fault.nearest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_explanation_in_words(said: Said) -> None:
    name = "epsilon inside the root in RMSprop"
    target = TARGETS[name]
    found = _conformance(said.folder, "explain", "out", "rmsprop", "--implementation", target)
    words = re.sub(r"\d\.\d+(e-\d+)?|\de-\d+|\b0(?= in all)", "N", found.stdout)
    assert words == (
        f"rmsprop, {target}, float64\n"
        "  first divergence: check update, stage parameter, tensor ordinary, step 1\n"
        "    element [0]: -N, the oracle has -N (error N, allowed N)\n"
        "  patching: the gradients that it is given agree (gradients)\n"
        "  cause: matches rmsprop(epsilon_position='inside_root') to N in all 8 checks\n"
        "    as in keras.RMSprop, keras.RMSprop(momentum=N), optax.rmsprop\n"
        "  cause: matches rmsprop as optax.rmsprop has it to N in all 8 checks\n"
        "    as in keras.RMSprop, keras.RMSprop(momentum=N), optax.rmsprop\n"
        "  cause: matches the fault 'rmsprop: epsilon inside the root where outside is meant' to N in all 8 checks\n"
    )
    assert found.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_comes_after_the_first_divergence_is_told_apart(said: Said) -> None:
    """The oracle, from the value that was observed: a weight is wrong in one layer alone, a tanh in every layer."""
    rows, tanh = (
        said.explanations[TARGETS[name], "rmsprop"]["patching"]
        for name in ("the rows of a square weight one further", "LeCun's scaled tanh")
    )
    assert rows == "from the observed Z2 the oracle arrives at 3 of 3 later activations"
    assert tanh == "from the observed A1 the oracle arrives at 1 of 4 later activations"
