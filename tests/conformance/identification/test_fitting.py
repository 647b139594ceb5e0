"""Numbers that are solved for, and how they are written."""

from functools import partial

import numpy as np
import pytest

from conformance.identification import activations, losses, optimizer_forms
from conformance.identification.exercises import exercise
from conformance.identification.fitting import POWERS, Form, Manner, nearness, solve, written
from conformance.identification.optimizer_forms import Steps
from conformance.identification.searching import closest, tidy
from reference_numpy.activations import ACTIVATIONS
from reference_numpy.losses import LOSSES
from reference_numpy.optimizers import OPTIMIZERS

ADAM = {"epsilon_position": "outside_root", "amsgrad": None}
NUMBERS = {"learning_rate": 0.003, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6}
MODEL = Steps(exercise(0))


def made(**numbers):
    return MODEL.predict(Form("adam", ADAM, NUMBERS), NUMBERS | numbers, Manner())


def test_the_numbers_of_an_optimizer_are_solved_for_from_far_away():
    beginning = MODEL.first(10)
    observed = made()[:10]
    moved = np.abs(observed).max(axis=0)
    weights = np.broadcast_to(np.divide(1, moved, out=np.zeros_like(moved), where=moved > 0), observed.shape)
    start = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    numbers, left = solve(beginning, Form("adam", ADAM, start), start, observed, weights, 40)
    assert left < 1e-9
    assert numbers == pytest.approx(NUMBERS, rel=1e-6)


def test_a_formulation_is_itself_and_no_other():
    assert nearness(MODEL, Form("adam", ADAM, NUMBERS), NUMBERS, made(), Manner()).same
    other = Form("adam", ADAM | {"epsilon_position": "before_correction"}, NUMBERS)
    assert not nearness(MODEL, other, NUMBERS, made(), Manner()).same


def test_a_number_that_is_a_billionth_off_is_not_the_same():
    assert not nearness(MODEL, Form("adam", ADAM, NUMBERS), NUMBERS, made(beta2=0.99 * (1 + 1e-9)), Manner()).same


def test_what_a_target_rounds_to_float32_is_found():
    rounded = frozenset({"learning_rate", POWERS})
    observed = MODEL.predict(Form("adam", ADAM, NUMBERS), NUMBERS, Manner(rounded=rounded))
    found = closest(MODEL, Form("adam", ADAM, NUMBERS), NUMBERS, observed, "float64")
    assert found.same
    assert found.manner.rounded == rounded
    assert not found.coarse


def test_numbers_are_written_with_few_digits_first():
    assert next(written({"learning_rate": 0.0010000001, "beta2": 0.9990000001})) == {
        "learning_rate": 0.001,
        "beta2": 0.999,
    }


def test_a_number_in_float32_is_written_as_it_was():
    assert tidy(float(np.float32(0.004))) == 0.004
    assert tidy(0.004) == 0.004


def allowed(make, keyword):
    """What the reference says that it allows of a keyword: values between commas, or with an ``or``."""
    with pytest.raises(ValueError, match=keyword) as error:
        make(**{keyword: "?"})
    words = str(error.value).partition("must be ")[2].removeprefix("one of ")
    return sorted(words.replace(" or ", ", ").split(", "))


def test_the_choices_are_those_that_the_reference_allows():
    choices = [(make, optimizer_forms.choices_of(name)) for name, make in OPTIMIZERS.items()]
    one = np.ones((1, 1))
    choices += [(partial(ACTIVATIONS[name], one), known) for name, known in activations.CHOICES.items()]
    for keyword, values in losses.CHOICES.items():
        name = "mean_squared_error" if keyword == "convention" else "binary_cross_entropy"
        choices.append((partial(LOSSES[name], one, one), {keyword: values}))
    for make, known in choices:
        for keyword, values in known.items():
            assert allowed(make, keyword) == sorted(map(repr, values))
