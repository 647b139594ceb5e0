"""The declared places where numbers can be rounded otherwise: nothing else moves, and everything is put back."""

import inspect

import numpy as np
import pytest

from reference_numpy import activations, arithmetic, losses, models, normalization, optimizers, regularizers, training
from reference_numpy.arithmetic import KINDS, library_function, mean, one_minus_power, rounded_otherwise, total
from tests.training_settings import gradients_with

Z = np.random.default_rng(0).standard_normal((4, 3))
UNCHANGED = ("identity", "relu", "leaky_relu")  # their slopes are 0, 1 or a given number


def doubled(kind, value):
    return 2.0 * value


class Seen:
    """Notes the kinds of values it is shown, and changes none."""

    def __init__(self):
        self.kinds = []

    def __call__(self, kind, value):
        self.kinds.append(kind)
        return value


def kinds_seen(function, *arguments, **keywords):
    seen = Seen()
    with rounded_otherwise(value=seen):
        function(*arguments, **keywords)
    return seen.kinds


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_the_value_of_every_activation_can_be_replaced_and_slopes_that_are_computed(name):
    f, backward = activations.ACTIVATIONS[name], activations.BACKWARD[name]
    assert kinds_seen(f, Z)[-1] == "activation"
    slopes = [kind for kind in kinds_seen(backward, Z, Z, f(Z)) if kind == "slope"]
    assert slopes == ([] if name in UNCHANGED else ["slope"])


@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_value_of_every_loss_can_be_replaced(name):
    outputs, targets = np.full((4, 3), 0.5), np.zeros(4, int) if "categorical" in name else np.zeros((4, 3))
    with rounded_otherwise(value=doubled):
        moved = losses.LOSSES[name](outputs, targets)
    assert (moved == 2 * losses.LOSSES[name](outputs, targets)).all()


@pytest.mark.parametrize("name", normalization.NORMALIZATIONS)
def test_what_is_standardised_can_be_replaced_before_it_is_scaled_and_shifted(name):
    one = np.ones(3)
    statistics = normalization.batch_statistics(Z) if name == "batch_norm" else ()
    with rounded_otherwise(value=doubled):
        moved = normalization.NORMALIZATIONS[name](Z, one, one, *statistics)
    assert (moved == 2 * (normalization.NORMALIZATIONS[name](Z, one, 0 * one, *statistics)) + 1).all()


def test_functions_inside_of_functions_are_replaced_too():
    with rounded_otherwise(value=doubled):
        moved = activations.swish(Z), activations.gelu(Z)
    assert (moved[0] == 2 * (Z * (2 * activations.sigmoid(Z)))).all()
    assert (moved[1] == 4 * activations.gelu(Z)).all()
    assert kinds_seen(activations.gelu, Z) == ["one plus", "activation"]


def test_a_replaced_value_is_written_where_the_caller_wants_it():
    out = np.empty_like(Z)
    with rounded_otherwise(value=doubled):
        assert activations.tanh(Z, out=out) is out
    assert (out == 2 * np.tanh(Z)).all()


@pytest.mark.parametrize("function", [activations.gelu, losses.mean_squared_error, activations.softmax_backward])
def test_a_marked_function_keeps_its_name_its_text_and_its_signature(function):
    inner = inspect.unwrap(function)
    assert function is not inner
    assert (function.__name__, function.__doc__, function.__module__) == (
        inner.__name__, inner.__doc__, inner.__module__,
    )  # fmt: skip
    assert inspect.signature(function) == inspect.signature(inner)


def test_sums_taken_otherwise_are_in_the_cost_in_penalties_and_in_norms():
    model = models.logistic_regression(3)
    parameters, y = models.initialize(model, np.random.default_rng(1)), np.ones((4, 1))

    def found():
        cost = gradients_with(
            training, model, parameters, Z, y, loss="binary_cross_entropy", penalties=(regularizers.l2(0.5),)
        )
        clipped = regularizers.clip_by_norm(1e-3)({"W1": Z})["W1"]
        return np.array([cost.data_loss, cost.penalty, 1e-3 / clipped[0, 0] * Z[0, 0]])

    def twice(values, *, axis=None):
        return 2 * values.sum(axis=axis, keepdims=axis is not None)

    plain = found()
    with rounded_otherwise(total=twice):
        assert mean(np.ones(3)) == 2
        moved = found()
    assert (moved[:2] == 2 * plain[:2]).all()
    assert moved[2] / plain[2] == pytest.approx(np.sqrt(2), rel=1e-6)


def test_the_power_taken_otherwise_is_in_the_optimizers():
    optimizer, parameters = optimizers.adam(0.1, epsilon=0.0), {"w": np.ones(2)}
    with rounded_otherwise(one_minus_power=lambda beta, t: 1.0):
        updated, _ = optimizer.update(parameters, optimizer.init(parameters), parameters)
    assert updated["w"] == pytest.approx(1 - 0.1 * (1 - 0.9) / np.sqrt(1 - 0.999), rel=1e-12)


def test_everything_is_put_back_at_the_end_and_after_an_error():
    def all_of_it():
        return [float(total(Z)), one_minus_power(0.9, 3), *activations.sigmoid(Z).ravel().tolist()]

    plain = all_of_it()
    with rounded_otherwise(total=lambda values, axis=None: 0.0):
        with rounded_otherwise(one_minus_power=lambda beta, t: 0.5, value=doubled):
            assert all_of_it() == [0.0, 0.5, *(2 * x for x in plain[2:])]
        assert all_of_it() == [0.0, *plain[1:]]
    assert all_of_it() == plain

    def failing():
        with rounded_otherwise(value=doubled):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        failing()
    assert all_of_it() == plain


def test_nothing_set_adds_one_lookup_to_a_marked_function_and_no_array():
    value = np.ones(1)
    assert library_function("loss")(lambda: value)() is value


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"^kind='sum' is not allowed: must be one of 'activation', 'slope'"):
        library_function("sum")
    assert arithmetic.KINDS is KINDS
