"""Losses against numbers that three libraries published: see test_external_functions.py for what "against" means."""

import numpy as np
import pytest

from reference_numpy import losses

from .published import FLOAT32, decimals, float64, load, printed, worst

LIBRARIES = load("losses")
CASES = {
    f"{library}_{index}_{case['loss']}": case
    for library, entry in LIBRARIES.items()
    for index, case in enumerate(entry["cases"])
}
GOOD = [name for name, case in CASES.items() if "KNOWN_BAD" not in case]
BAD = [name for name, case in CASES.items() if "KNOWN_BAD" in case]


def options_of(case: dict) -> dict:
    options = {"example_weights": float64(case["weights"])} if "weights" in case else {}
    return options | ({"label_smoothing": case["label_smoothing"]} if "label_smoothing" in case else {})


def targets_of(case: dict) -> np.ndarray:
    """As the loss takes them: ``(m, k)`` for the binary one, of one output where a list is published; else labels."""
    targets = np.array(case["labels"] if "labels" in case else case["y"])
    if case["loss"].startswith("bce"):
        return targets.reshape(len(targets), -1).astype(float)
    return targets.argmax(axis=1) if targets.ndim == 2 else targets


def loss_values(case: dict, **change) -> np.ndarray:
    """One value per example; all three libraries take the mean over the outputs of an example."""
    targets, options = targets_of(case), options_of(case) | change
    if case["loss"] == "bce_logits":
        logits = float64(case["logits"]).reshape(targets.shape)
        return losses.binary_cross_entropy(logits, targets, output_reduction="mean", **options)
    if case["loss"] == "bce_probs":
        # Keras clips in float32, where 1 - 1e-7 is 1 - 1.19e-7.
        p = np.array(case["p"], np.float32 if "clip" in case else np.float64).reshape(targets.shape)
        options |= {"clip": case["clip"]} if "clip" in case else {}
        return losses.binary_cross_entropy_from_probabilities(p, targets, output_reduction="mean", **options)
    if case["loss"] == "cce_probs":
        p = float64(case["p"])
        return losses.categorical_cross_entropy_from_probabilities(p / p.sum(axis=1, keepdims=True), targets, **options)
    return losses.categorical_cross_entropy(float64(case["logits"]), targets, **options)


def agrees(case: dict, values: np.ndarray) -> bool:
    """To half a unit of the last digit and one rounding of float32, in which all three compute, or cut off there."""
    for field, value in (("expected", values.mean()), ("per_sample", values)):
        if field not in case:
            continue
        if case.get("last_digit") == "truncated" and field == "expected":
            close = case[field] <= value < case[field] + 10.0 ** -decimals(case[field])
        else:
            close = (np.abs(value - case[field]) <= printed(case[field]) + FLOAT32 * np.abs(case[field])).all()
        if not close:
            return False
    return "expected" in case or "per_sample" in case


@pytest.mark.parametrize("name", GOOD)
def test_a_loss_reproduces_the_published_value_to_its_digits(name):
    assert agrees(CASES[name], loss_values(CASES[name]))


@pytest.mark.parametrize("name", [name for name in GOOD if CASES[name]["loss"].endswith("_probs")])
def test_a_published_loss_of_probabilities_is_also_that_of_their_logits(name):
    case, targets = CASES[name], targets_of(CASES[name])
    p = np.array(case["p"], np.float32)
    p = (np.clip(p, case["clip"], 1 - case["clip"]) if "clip" in case else float64(case["p"])).astype(np.float64)
    if case["loss"] == "cce_probs":  # the logarithms of any positive numbers are logits of them divided by their sum
        assert agrees(case, losses.categorical_cross_entropy(np.log(p), targets))
    else:
        logits = (np.log(p) - np.log1p(-p)).reshape(targets.shape)
        assert agrees(case, losses.binary_cross_entropy(logits, targets, output_reduction="mean"))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keras_5_softmax_ce_logits", {"weight_denominator": "weights"}),
        ("keras_5_softmax_ce_logits", {"example_weights": None}),
        ("keras_6_softmax_ce_logits", {"label_smoothing": 0.0}),
        ("mlx_0_softmax_ce_logits", {"weight_denominator": "weights"}),
        ("mlx_0_softmax_ce_logits", {"example_weights": None}),
        ("mlx_1_softmax_ce_logits", {"label_smoothing": 0.0}),
    ],
)
def test_the_published_losses_refuse_another_denominator_and_no_weights_and_no_smoothing(name, change):
    assert options_of(CASES[name]).keys() & {"example_weights", "label_smoothing"}
    assert not agrees(CASES[name], loss_values(CASES[name], **change))


def test_the_loss_of_keras_at_probability_1_needs_the_clip_of_float32():
    """-log(1.19e-7) in place of -log(1e-7): 0.18 less for one output of four."""
    (case,) = (c for c in CASES.values() if "clip" in c)
    value = loss_values({n: entry for n, entry in case.items() if n != "clip"}).mean()
    assert value - case["expected"] == pytest.approx(np.log(FLOAT32 / 1e-7) / 4, abs=1e-5)


def test_the_categorical_loss_of_keras_needs_its_division_of_the_probabilities_by_their_sum():
    (case,) = (c for c in CASES.values() if c["loss"] == "cce_probs")
    values = losses.categorical_cross_entropy_from_probabilities(float64(case["p"]), targets_of(case))
    assert not agrees(case, values)


def test_the_keras_value_with_an_epsilon_inside_its_logarithm_is_rejected():
    """-log(p + e) lies e / p below -log(p): that, and two units of float32 in its logarithms, is all that it is off."""
    (name,) = BAD
    case, value = CASES[name], loss_values(CASES[name]).mean()
    assert worst(value, case["expected"]) > 1e-7 > printed(case["expected"]) + FLOAT32 * case["expected"]
    chosen = np.where(case["y"], case["p"], 1 - float64(case["p"]))
    assert worst(value - (1e-7 / chosen).mean(), case["expected"]) <= printed(case["expected"]) + FLOAT32 * 0.2
