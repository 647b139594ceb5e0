"""Causes beyond the library: a free number, some tensors alone, low precision, another component, several at once."""

from typing import Any

import numpy as np
import pytest

from conformance.audit.recognition import inquiry_into
from conformance.diagnosis.explanation import Explanation, text
from conformance.faults.injection import Edit, injected
from conformance.recipes.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

MOONS: dict[str, Any] = {
    "name": "moons",
    "dataset": {"name": "moons", "examples": 24, "test_examples": 12},
    "model": {"name": "deep_network", "hidden_units": [4, 3], "activation": "tanh"},
    "loss": "binary_cross_entropy",
    "optimizer": {"name": "momentum", "learning_rate": 0.1},
    "batch_size": 9,
    "epochs": 3,
}
DIGITS: dict[str, Any] = MOONS | {
    "name": "digits",
    "dataset": {"name": "digits", "scaling": "unit", "examples": 24, "test_examples": 12},
    "model": {"name": "softmax_classifier", "hidden_units": [4], "activation": "tanh"},
    "loss": {"name": "categorical_cross_entropy", "label_smoothing": 0.1},
}
DECAYED = {
    "name": "momentum", "learning_rate": 0.1, "beta": 0.8, "weight_decay": 0.1, "decoupled_weight_decay": True,
}  # fmt: skip
LEAKY = {"name": "leaky_relu", "slope": 0.1}
POOLED: dict[str, Any] = DIGITS | {
    "model": {
        "name": "network",
        "layers": [
            {"name": "reshape", "shape": [8, 8, 1]},
            {"name": "convolution", "channels": 2, "kernel": [3, 3]},
            {"name": "activation", "function": "tanh"},
            {"name": "global_max_pool"},
            {"name": "dense", "units": 10},
        ],
    },
}

MOMENTUM = "optimizers.py: Momentum.update"
STEP = "w.sub_(direction if inside else alpha * direction)"
SMOOTHING = ('check_decay("label_smoothing", label_smoothing)', "label_smoothing = 0.0")
CROSS_ENTROPY = "losses.py: categorical_cross_entropy"
WITHOUT_SMOOTHING = [Edit(CROSS_ENTROPY, *SMOOTHING), Edit(f"{CROSS_ENTROPY}_gradient", *SMOOTHING)]
GAIN = 'first_gain = 1 - beta if accumulation == "average" else 1.0'
SMALL_BETA = Edit("optimizers.py: momentum", GAIN, f"beta = 0.1\n    {GAIN}")
ODD_STEP = Edit("optimizers.py: momentum", "_step(w, direction,", "_step(w, 0.7 * direction + 0.01 * np.sin(w),")


def explained(values: dict[str, Any], implementation: str, *edits: Edit, dtype: str = "float64") -> Explanation:
    recipe = Recipe.model_validate(values)
    with injected(implementation, *edits) as adapter:
        inquiry = inquiry_into(recipe, implementation, dtype, adapter("cpu"))
    assert inquiry is not None
    with np.errstate(all="ignore"):
        return inquiry.explanation()


def causes(found: Explanation) -> list[str]:
    return [cause.description for cause in found.causes]


PLANTED = {
    "a free number": (
        MOONS,
        "torch",
        [Edit(MOMENTUM, 'group["lr"], group["beta"],', 'group["lr"], 0.1,')],
        "momentum(beta=0.1)",
    ),
    "a whole number": (
        MOONS | {"schedule": {"name": "warmup", "unit": "step", "steps": 4}},
        "torch",
        [Edit("schedules.py: warmup", 'check_positive_integer("steps", steps)', "steps += 1")],
        "warmup(steps=5)",
    ),
    "a fraction": (
        DIGITS,
        "torch",
        [Edit(CROSS_ENTROPY, "label_smoothing=label_smoothing)", "label_smoothing=label_smoothing * 10 / 9)")],
        "categorical_cross_entropy(label_smoothing=0.11111111111111112, 10/9 of the one asked for)",
    ),
    "a state in bfloat16": (
        MOONS,
        "torch",
        [Edit(MOMENTUM, STEP, f"{STEP}\n        v.copy_(v.bfloat16())")],
        "the optimizer's state rounded to bfloat16",
    ),
    "gradients in float32": (
        MOONS,
        "torch",
        [Edit(MOMENTUM, "alpha, beta, t, v =", "g = g.float().double()\n        alpha, beta, t, v =")],
        "the gradients that the optimizer takes rounded to float32",
    ),
    "a rate in float16": (
        MOONS,
        "torch",
        [Edit(MOMENTUM, STEP, "alpha = float(torch.tensor(alpha).half())\n        " + STEP)],
        "the learning rate rounded to float16",
    ),
    "weight decay of the biases alone": (
        MOONS | {"optimizer": DECAYED},
        "torch",
        [
            Edit(
                MOMENTUM,
                "_with_decay(direction, w, group, inside)",
                "_with_decay(direction, w, group, inside) if w.ndim == 1 else direction",
            )
        ],
        "momentum(weight_decay=0.0) on weights only",
    ),
    "velocities of biases not kept": (
        MOONS,
        "torch",
        [Edit(MOMENTUM, "v.mul_(beta)", "v.mul_(beta if w.ndim == 2 or len(w) == 6 else 0.0)")],
        "the fault 'every optimizer: the state of the step before forgotten' on biases only",
    ),
    "a penalty of all layers but one": (
        MOONS | {"regularizers": [{"name": "l2", "strength": 0.3}]},
        "torch",
        [Edit("training.py: _data_loss_and_penalty", "model.weights() if", "model.weights()[::2] if")],
        "no l2 on layer 2 only",
    ),
    "another activation": (
        MOONS | {"model": MOONS["model"] | {"activation": LEAKY}},
        "torch",
        [Edit("activations.py: leaky_relu", "F.leaky_relu(z, slope)", "F.relu(z)")],
        "relu for leaky_relu",
    ),
    "a softmax twice": (
        DIGITS,
        "torch",
        [Edit(CROSS_ENTROPY, "F.cross_entropy(logits,", "F.cross_entropy(logits.softmax(dim=1),")],
        "the fault 'categorical cross-entropy: a softmax of what is one already'",
    ),
    "another pool": (
        POOLED,
        "torch",
        [Edit("convolution.py: GlobalMaxPool.forward", "return x.max(dim=1).values", "return x.mean(dim=1)")],
        "global_average_pool for global_max_pool as layer 4",
    ),
    "another activation of one layer of a network": (
        POOLED,
        "torch",
        [Edit("activations.py: tanh", "torch.tanh(z)", "torch.sigmoid(z)")],
        "sigmoid for tanh as layer 3",
    ),
}


LONG = ("a state in bfloat16", "velocities of biases not kept", "a penalty of all layers but one", "another pool")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in PLANTED]
)
def test_what_was_planted_is_named(name: str) -> None:
    values, implementation, edits, description = PLANTED[name]
    found = explained(values, implementation, *edits)
    assert description in causes(found), text(found)


def test_independent_differences_are_each_named_with_the_checks_that_they_explain() -> None:
    found = explained(DIGITS, "numpy", *WITHOUT_SMOOTHING, SMALL_BETA)
    (cause,) = found.causes
    loss, optimizer = "categorical_cross_entropy(label_smoothing=0.0)", "momentum(beta=0.1)"
    assert cause.description == f"{loss} and {optimizer}"
    assert cause.parts == {loss: ["loss", "gradients", "gradient_check"], optimizer: ["update"]}
    assert f"    {loss}: loss, gradients, gradient_check\n    {optimizer}: update" in text(found)


@pytest.mark.slow
def test_a_known_difference_is_named_beside_one_that_nothing_explains() -> None:
    found = explained(DIGITS, "numpy", *WITHOUT_SMOOTHING, ODD_STEP)
    assert (found.causes, found.nearest, found.explained) == ([], None, False)
    (cause,) = found.partly
    assert cause.description == "categorical_cross_entropy(label_smoothing=0.0)"
    assert cause.explains == ["loss", "gradients", "gradient_check"]
    assert found.unexplained == ["update", "teacher_forced", "free_running"]
    assert "no known formulation or fault explains update, teacher_forced, free_running" in text(found)


@pytest.mark.slow
def test_where_nothing_is_mended_no_nearest_is_named() -> None:
    found = explained(MOONS, "numpy", ODD_STEP)
    assert (found.causes, found.partly, found.nearest) == ([], [], None)
    assert "no known formulation or fault explains this; none that is known comes near" in text(found)


def test_a_training_that_ends_early_says_after_which_step() -> None:
    found = explained(MOONS, "numpy", Edit("training.py: fit", "in range(epochs):", "in range(epochs - 1):"))
    place = found.divergence
    assert (place.check, place.tensor, place.step) == ("free_running", "learning rate", 7)
    assert place.remark == "learning rate ended after step 6, expected 9: its shape must be (9,)"
