"""Gradient checking: what it measures, and that it tells right gradients from wrong ones."""

import cmath
import math
from dataclasses import dataclass, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reference_numpy import models, regularizers
from reference_numpy.gradient_checking import check_gradients, gradient_difference, numerical_gradient
from reference_numpy.training import Objective

UNIT_ROUNDOFF = 2.0**-53
GREAT, WRONG = 1e-7, 1e-3  # the course's


def problem(kind=models.DenseNetwork, output="sigmoid"):
    generator = np.random.default_rng(4)
    made = models.deep_network((4, 5, 3, 3), activation="tanh", output=output, keep_probability=0.8)
    model = kind(**{field.name: getattr(made, field.name) for field in fields(made)})
    parameters = models.initialize(model, generator)
    x = generator.standard_normal((6, 4))
    y = generator.integers(0, 3, 6) if output == "softmax" else generator.integers(0, 2, (6, 3)).astype(float)
    return model, parameters, x, y


@dataclass(frozen=True)
class DoublesOneGradient(models.DenseNetwork):
    def backward(self, *arguments, **keywords):
        gradients = super().backward(*arguments, **keywords)
        return gradients | {"b2": 2 * gradients["b2"]}


@dataclass(frozen=True)
class DropsOneExample(models.DenseNetwork):
    def backward(self, parameters, values, output_gradient, **keywords):
        kept = np.arange(len(output_gradient)) > 0
        return super().backward(parameters, values, output_gradient * kept[:, None], **keywords)


@pytest.mark.parametrize(
    ("output", "loss"),
    [("sigmoid", "binary_cross_entropy"), ("softmax", "categorical_cross_entropy"), ("identity", "mean_squared_error")],
)
def test_right_gradients_of_a_tanh_network_are_great(output, loss):
    """Rounding of a cost of about 1 is about ``1e-16 / 1e-7 = 1e-9`` an entry, beside a gradient of norm about 1."""
    model, parameters, x, y = problem(output=output)
    masks = {layer: np.random.default_rng(layer).random((6, n)) < 0.8 for layer, n in ((1, 5), (2, 3))}
    for array in parameters.values():
        array.flags.writeable = False  # the check works on copies
    ratio = check_gradients(
        model, parameters, x, y, loss=Objective(loss, penalties=(regularizers.l2(0.7),)), masks=masks
    )
    assert 0 < ratio < GREAT


@pytest.mark.parametrize("fault", [DoublesOneGradient, DropsOneExample])
def test_an_injected_fault_is_wrong(fault):
    assert check_gradients(*problem(fault), loss="binary_cross_entropy") > 10 * WRONG


def test_an_option_reaches_the_cost_and_the_gradients():
    model, parameters, x, y = problem(output="identity")
    halved = Objective("mean_squared_error", {"convention": "half"})
    assert check_gradients(model, parameters, x, y, loss=halved) < GREAT
    with pytest.raises(ValueError, match="convention='third'"):
        check_gradients(model, parameters, x, y, loss=Objective("mean_squared_error", {"convention": "third"}))


def analytic(w, functions):
    """A sum that mixes every entry; ``functions`` is math or cmath."""
    total = sum(functions.exp(value / 2) * functions.sin((k + 1) * value) for k, value in enumerate(w))
    return total + w[0] * w[1] * w[2] ** 2


@given(arrays(np.float64, 3, elements=st.floats(-2, 2)), st.sampled_from([1e-3, 1e-5, 1e-7]))
def test_differences_agree_with_complex_steps_to_their_truncation_and_rounding(w, epsilon):
    """Truncation is ``epsilon^2 / 6`` times the third derivative, below ``e (3.5^3) = 117``. Rounding, in two costs of
    terms below 2.8, 2.8, 2.8 and 16, some 20 operations: ``20 * 25 u / epsilon``; and ``u`` of the result."""
    found = numerical_gradient(lambda p: analytic(p["w"].tolist(), math), {"w": w}, epsilon=epsilon)["w"]
    for k in range(3):
        moved = w.astype(complex)
        moved[k] += 1e-200j
        expected = analytic(moved.tolist(), cmath).imag / 1e-200
        allowed = 117 / 6 * epsilon**2 + 20 * 25 * UNIT_ROUNDOFF / epsilon + 100 * UNIT_ROUNDOFF
        assert abs(found[k] - expected) <= allowed


@given(
    arrays(np.float64, st.tuples(st.integers(0, 2), st.integers(0, 3)), elements=st.integers(-8, 8)), st.integers(1, 9)
)
def test_differences_of_a_quadratic_are_exact_where_nothing_rounds(w, slope):
    """The two-sided difference has no error in a quadratic; small integers and a step of 1/8 leave none to rounding."""
    parameters = {"w": w, "scalar": np.array(3.0)}
    found = numerical_gradient(lambda p: (p["w"] ** 2).sum() + slope * p["scalar"], parameters, epsilon=0.125)
    assert np.array_equal(found["w"], 2 * w)
    assert found["scalar"] == slope


def test_the_cost_is_evaluated_twice_an_entry():
    seen = []
    numerical_gradient(
        lambda p: seen.append(p["a"].sum() + p["b"].sum()) or 0.0, {"a": np.ones((2, 3)), "b": np.ones(4)}
    )
    assert len(seen) == 20


def test_a_step_that_rounding_lengthens_is_measured_as_it_is():
    """At 1e8 a step of 1e-7 becomes 1.04e-7: divided by ``2 epsilon`` the slope of ``w`` would be 4 % off."""
    found = numerical_gradient(lambda p: float(p["w"] - 1e8), {"w": np.array(1e8)})["w"]
    assert found == 1


vectors = arrays(np.float64, 4, elements=st.floats(-1e300, 1e300))


@given(vectors, vectors, st.integers(-900, 20))
def test_the_ratio_is_between_zero_and_one_symmetric_and_without_unit(a, b, exponent):
    """A difference (1 unit) and its norm of 4 (3), the other norms (3) and their sum (1), a quotient (1): 9 units."""
    ratio = gradient_difference({"w": a}, {"w": b})
    assert 0 <= ratio <= 1 + 9 * UNIT_ROUNDOFF
    assert ratio == gradient_difference({"w": b}, {"w": a})
    a, b = a[:2] / 1e290, b[:2] / 1e290
    a[np.abs(a) < 1e-10], b[np.abs(b) < 1e-10] = 0, 0
    scaled = gradient_difference({"w": np.ldexp(a, exponent)}, {"w": np.ldexp(b, exponent)})
    assert scaled == gradient_difference({"w": a}, {"w": b})


@given(vectors)
def test_the_ratio_is_zero_of_equals_a_third_of_a_double_and_one_of_an_opposite(a):
    g = {"W1": a[:3].reshape(3, 1), "b1": a[3:]}
    zero = not a.any()
    assert gradient_difference(g, g) == 0
    half = {name: array / 2 for name, array in g.items()}
    if np.abs(a[a != 0]).min(initial=1) > 1e-300:  # halving a smaller number may round
        assert gradient_difference(g, half) == pytest.approx(0 if zero else 1 / 3, rel=9 * UNIT_ROUNDOFF)
    opposite = {name: -array for name, array in g.items()}
    assert gradient_difference(g, opposite) == pytest.approx(0 if zero else 1, rel=9 * UNIT_ROUNDOFF)


def test_the_ratio_is_taken_over_all_parameters_together():
    g, approximate = {"W": np.array([3.0]), "b": np.array([4.0])}, {"b": np.array([4.0]), "W": np.array([0.0])}
    assert gradient_difference(g, approximate) == 3 / 9


@pytest.mark.parametrize(
    ("gradients", "approximate", "message"),
    [
        ({"W": np.ones(2)}, {"b": np.ones(2)}, r"gradients has \['W'\], approximate \['b'\]: must be the same names"),
        ({"W": np.ones((2, 1))}, {"W": np.ones(2)}, r"gradients\['W'\] has shape \(2, 1\), approximate \(2,\)"),
        ({"W": np.array([np.nan])}, {"W": np.ones(1)}, r"gradients\['W'\] has an entry that is nan or infinite"),
        ({"W": np.ones(1)}, {"W": np.array([np.inf])}, r"approximate\['W'\] has an entry that is nan or infinite"),
    ],
)
def test_gradients_that_cannot_be_compared_are_refused(gradients, approximate, message):
    with pytest.raises(ValueError, match=message):
        gradient_difference(gradients, approximate)


@pytest.mark.parametrize("epsilon", [0.0, -1e-7, math.nan, math.inf])
def test_a_step_that_is_not_positive_is_refused(epsilon):
    with pytest.raises(ValueError, match=rf"epsilon={epsilon!r} is not allowed: must be a finite number > 0"):
        numerical_gradient(lambda p: 0.0, {"w": np.ones(1)}, epsilon=epsilon)


def test_a_step_that_moves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"epsilon=1e-07 is not allowed: must be able to move w\[1\]=10000000000.0"):
        numerical_gradient(lambda p: 0.0, {"w": np.array([1.0, 1e10])})


def test_parameters_in_single_precision_are_refused():
    with pytest.raises(ValueError, match=r"parameters\['w'\] has dtype float32: must be float64"):
        numerical_gradient(lambda p: 0.0, {"w": np.ones(1, np.float32)})
