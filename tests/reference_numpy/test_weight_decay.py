"""Weight decay, coupled and decoupled, and dampening, against steps written out by hand and against each other."""

import numpy as np
import pytest

from reference_numpy import optimizers

W, G = np.array([1.0, -2.0, 0.5, 3.0]), np.random.default_rng(0).standard_normal((6, 4))
COUPLED = ("gradient_descent", "momentum", "rmsprop", "adagrad", "adadelta", "adam", "nadam", "adamax", "radam")
DECOUPLED = ("momentum", "rmsprop", "adadelta")

# Formulations in which d, the step's own direction, is another one.
FORMULATIONS = [
    ("momentum", {}),
    ("momentum", {"accumulation": "sum", "nesterov": True}),
    ("momentum", {"bias_correction": True}),
    ("momentum", {"learning_rate_position": "inside"}),
    ("momentum", {"learning_rate_position": "inside", "nesterov": True}),
    ("rmsprop", {}),
    ("rmsprop", {"centered": True, "epsilon_position": "inside_root"}),
    ("rmsprop", {"momentum": 0.9}),
    ("rmsprop", {"momentum": 0.9, "learning_rate_position": "inside"}),
    ("rmsprop", {"learning_rate_position": "inside"}),
    ("adadelta", {}),
]


def run(optimizer, gradients=G, start=W, rates=None):
    """Parameters after each step; ``gradients`` may be a function of the parameters and the number of the step."""
    parameters, path = {"w": start}, []
    state = optimizer.init(parameters)
    for k in range(len(G)):
        g = gradients(parameters["w"], k) if callable(gradients) else gradients[k]
        rate = None if rates is None else rates[k]
        parameters, state = optimizer.update({"w": g}, state, parameters, learning_rate=rate)
        path.append(parameters["w"])
    return np.array(path)


@pytest.mark.parametrize("name", COUPLED)
def test_coupled_decay_is_the_gradient_of_half_its_square_added_to_the_bit(name):
    optimizer = optimizers.OPTIMIZERS[name]
    decayed = run(optimizer(0.1, weight_decay=0.3))
    assert (decayed == run(optimizer(0.1), lambda w, k: G[k] + 0.3 * w)).all()
    assert (decayed != run(optimizer(0.1))).all()


@pytest.mark.parametrize("name", COUPLED)
def test_no_decay_is_no_other_arithmetic(name):
    optimizer = optimizers.OPTIMIZERS[name]
    assert run(optimizer(0.1, weight_decay=0.0)).tobytes() == run(optimizer(0.1)).tobytes()
    if name in DECOUPLED:
        none = run(optimizer(0.1, weight_decay=0.0, decoupled_weight_decay=True))
        assert none.tobytes() == run(optimizer(0.1)).tobytes()


@pytest.mark.parametrize(("name", "formulation"), FORMULATIONS)
def test_decoupled_decay_shrinks_the_parameter_before_the_step_by_the_rate_times_the_decay(agrees, name, formulation):
    """The formula's own steps see gradients alone, so each is the undecayed one; the decay is added to it."""
    optimizer, decay = optimizers.OPTIMIZERS[name], 0.3
    rates = 0.2 / (1 + np.arange(len(G)))  # a rate that changes tells inside from outside

    def by_hand(start, gradients, rates):
        own = run(optimizer(0.1, **formulation), gradients, np.zeros_like(start), rates)
        steps, w, path = np.diff(own, axis=0, prepend=0.0), start, []
        for step, rate in zip(steps, rates, strict=True):
            w = w + step - rate * decay * w
            path.append(w)
        return np.array(path)

    found = run(optimizer(0.1, weight_decay=decay, decoupled_weight_decay=True, **formulation), rates=rates)
    agrees(found, by_hand, W, G, rates, dtype="float64")


@pytest.mark.parametrize("formulation", [{}, {"learning_rate_position": "inside"}])
def test_one_step_of_momentum_with_decay_is_the_number_of_the_formula(formulation):
    """w = 2, g = 1, alpha = 1/2, decay 1/4, beta = 1/2: coupled 2 - 1/2 * 1/2 * 3/2, decoupled 2 - 1/2 (1/2 + 1/2)."""
    start, keywords = {"w": np.array([2.0])}, {"beta": 0.5, "weight_decay": 0.25, **formulation}
    for decoupled, expected in ((False, 2 - 0.375), (True, 2 - 0.5)):
        optimizer = optimizers.momentum(0.5, decoupled_weight_decay=decoupled, **keywords)
        updated, state = optimizer.update({"w": np.array([1.0])}, optimizer.init(start), start)
        assert updated["w"] == expected
        velocity = (0.5 if decoupled else 0.75) * (0.5 if formulation else 1.0)
        assert state.slots["velocity"]["w"] == velocity


def test_adam_decoupled_is_adamw_and_not_adam_with_decay():
    coupled, decoupled = run(optimizers.adam(0.1, weight_decay=0.3)), run(optimizers.adamw(0.1, weight_decay=0.3))
    assert np.abs(coupled - decoupled).max() > 1e-3


def test_dampening_takes_the_first_gradient_whole_and_the_later_ones_in_part():
    """Gradients 1, 1, 1 with beta = 1/2 and dampening 1/4: v = 1, then 1/2 + 3/4 = 5/4, then 5/8 + 3/4 = 11/8."""
    ones = np.ones((6, 4))
    path = run(optimizers.momentum(1.0, beta=0.5, accumulation="sum", dampening=0.25), ones, np.zeros(4))
    assert (-np.diff(path[:3, 0], prepend=0.0)).tolist() == [1.0, 1.25, 1.375]


def test_dampening_with_the_rate_inside_is_of_each_contribution():
    """alpha = 1, 1/2, 1/4 on gradients 1: v = 1, then 1/2 + 3/4 1/2 = 7/8, then 7/16 + 3/4 1/4 = 5/8."""
    optimizer = optimizers.momentum(1.0, beta=0.5, accumulation="sum", dampening=0.25, learning_rate_position="inside")
    path = run(optimizer, np.ones((6, 4)), np.zeros(4), 0.5 ** np.arange(6.0))
    assert (-np.diff(path[:3, 0], prepend=0.0)).tolist() == [1.0, 0.875, 0.625]


def test_full_dampening_keeps_the_first_gradient_alone():
    gradients = np.arange(1.0, 7.0)[:, None] * np.ones(4)
    path = run(optimizers.momentum(1.0, beta=0.5, accumulation="sum", dampening=1.0), gradients, np.zeros(4))
    assert path[2].tolist() == [-1.75] * 4


def test_dampening_comes_after_coupled_decay():
    momentum = optimizers.momentum
    decayed = run(momentum(0.1, accumulation="sum", dampening=0.5, weight_decay=0.3))
    by_hand = run(momentum(0.1, accumulation="sum", dampening=0.5), lambda w, k: G[k] + 0.3 * w)
    assert (decayed == by_hand).all()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"dampening": 0.5}, "dampening=0.5 is not allowed with accumulation='average': must be 0"),
        ({"dampening": 0.5, "accumulation": "sum", "nesterov": True},
         "dampening=0.5 is not allowed with nesterov: must be 0"),
        ({"dampening": 0.5, "accumulation": "sum", "bias_correction": True},
         "dampening=0.5 is not allowed with bias_correction: must be 0"),
        ({"dampening": 1.5, "accumulation": "sum"}, "dampening=1.5 is not allowed: must be in [0, 1]"),
        ({"dampening": -0.5, "accumulation": "sum"}, "dampening=-0.5 is not allowed: must be in [0, 1]"),
        ({"decoupled_weight_decay": "yes"}, "decoupled_weight_decay='yes' is not allowed: must be one of False, True"),
    ],
)  # fmt: skip
def test_a_wrong_keyword_of_momentum_is_refused(keywords, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is held below)
        optimizers.momentum(**keywords)
    assert str(error.value) == message


@pytest.mark.parametrize("name", COUPLED)
@pytest.mark.parametrize("decay", [-0.1, float("nan"), float("inf")])
def test_a_decay_that_is_no_finite_number_from_0_on_is_refused(name, decay):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        optimizers.OPTIMIZERS[name](weight_decay=decay)
    assert str(error.value) == f"weight_decay={decay!r} is not allowed: must be a finite number >= 0"


@pytest.mark.parametrize("name", sorted(set(optimizers.OPTIMIZERS) - {"lbfgs"}))
def test_a_gradient_of_no_parameter_is_refused_by_name(name):
    optimizer, parameters = optimizers.OPTIMIZERS[name](), {"W1": np.zeros(2), "b1": np.zeros(1)}
    with pytest.raises(ValueError, match=r"^gradients has 'x': must hold W1, b1$"):
        optimizer.update(parameters | {"x": np.zeros(1)}, optimizer.init(parameters), parameters)
