"""Weight decay, coupled and decoupled, and dampening: numbers by hand, optax's transformations, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from impl_jax import optimizers

DECAY = 0.1
COUPLED = ["gradient_descent", "momentum", "rmsprop", "adagrad", "adadelta", "adam", "nadam", "adamax", "radam"]
DECOUPLED = {
    "momentum": ({}, {"accumulation": "sum", "nesterov": True}, {"learning_rate_position": "inside"}),
    "rmsprop": ({}, {"momentum": 0.9}, {"momentum": 0.9, "learning_rate_position": "inside"}, {"centered": True}),
    "adadelta": ({},),
}
# Ten steps of at most thirty operations each on numbers of size 1, by two programs that the compiler may fuse apart.
ROUNDOFFS = 300 * 2.0**-53


def path(optimizer, steps=10, rate=None):
    """The parameters after each step, whose gradients are those of a given sequence."""
    parameters = {"W1": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b1": jnp.ones(2)}
    state, update, visited = optimizer.init(parameters), jax.jit(optimizer.update), []
    generator = np.random.default_rng(0)
    for t in range(steps):
        gradients = {name: generator.standard_normal(w.shape) for name, w in parameters.items()}
        more = {} if rate is None else {"learning_rate": rate(t)}
        updates, state = update(gradients, state, parameters, **more)
        parameters = optax.apply_updates(parameters, updates)
        visited.append(np.concatenate([np.ravel(w) for w in parameters.values()]))
    return np.array(visited)


def close(ours, builtin):
    return np.abs(ours - builtin).max() <= ROUNDOFFS * np.abs(builtin).max()


def step_from_one(make, slots=None, step=0, **options):
    """The parameter after one step from 1 with gradient 2 and rate 0.1, and the slots."""
    optimizer = make(0.1, **options)
    parameters = {"w": jnp.ones(())}
    state = optimizer.init(parameters)
    if slots is not None:
        state = optimizers.OptimizerState(jnp.int32(step), {s: {"w": jnp.asarray(v)} for s, v in slots.items()})
    updates, state = optimizer.update({"w": jnp.asarray(2.0)}, state, parameters)
    return float(1 + updates["w"]), {slot: float(array["w"]) for slot, array in state.slots.items()}


BY_HAND = [
    # g + 0.5 w = 2.5
    ("gradient_descent", {"weight_decay": 0.5}, 1 - 0.1 * 2.5),
    ("momentum", {"weight_decay": 0.5}, 1 - 0.1 * 0.1 * 2.5),
    ("momentum", {"weight_decay": 0.5, "decoupled_weight_decay": True}, 1 - 0.1 * (0.1 * 2 + 0.5)),
    (
        "momentum",
        {"weight_decay": 0.5, "decoupled_weight_decay": True, "learning_rate_position": "inside"},
        1 - (0.1 * 0.1 * 2 + 0.1 * 0.5),
    ),
    ("rmsprop", {"weight_decay": 0.5, "epsilon": 0.0}, 1 - 0.1 / np.sqrt(0.1)),
    (
        "rmsprop",
        {"weight_decay": 0.5, "epsilon": 0.0, "decoupled_weight_decay": True},
        1 - 0.1 * (1 / np.sqrt(0.1) + 0.5),
    ),
    ("adadelta", {"weight_decay": 0.5, "epsilon": 1.0}, 1 - 0.1 * 2.5 / np.sqrt(0.1 * 2.5**2 + 1)),
    (
        "adadelta",
        {"weight_decay": 0.5, "epsilon": 1.0, "decoupled_weight_decay": True},
        1 - 0.1 * (2 / np.sqrt(0.1 * 4 + 1) + 0.5),
    ),
    ("adagrad", {"weight_decay": 0.5, "epsilon": 2.5}, 1 - 0.1 * 0.5),
    ("adam", {"weight_decay": 0.5, "epsilon": 2.5}, 1 - 0.1 * 0.5),
    ("nadam", {"weight_decay": 0.5, "epsilon": 2.5, "schedule": "constant"}, 1 - 0.1 * (0.9 / 0.19 * 0.1 + 1) * 0.5),
    ("adamax", {"weight_decay": 0.5, "epsilon": 2.5}, 1 - 0.1 * 0.5),
    ("radam", {"weight_decay": 0.5}, 1 - 0.1 * 2.5),
]


@pytest.mark.parametrize(("name", "options", "expected"), BY_HAND)
def test_one_step_with_decay_is_the_number_by_hand(name, options, expected, double_precision):
    assert step_from_one(optimizers.OPTIMIZERS[name], **options)[0] == pytest.approx(expected, rel=16 * 2.0**-53)


@pytest.mark.parametrize("name", COUPLED)
def test_coupled_decay_is_what_optax_adds_before(name, double_precision):
    make = optimizers.OPTIMIZERS[name]
    builtin = optax.chain(optax.add_decayed_weights(DECAY), make(0.05))
    assert close(path(make(0.05, weight_decay=DECAY)), path(builtin))
    assert not close(path(make(0.05, weight_decay=DECAY)), path(make(0.05)))


def test_coupled_decay_with_the_builtins_of_optax(double_precision):
    pairs = {
        optimizers.gradient_descent(0.05, weight_decay=DECAY): optax.sgd(0.05),
        optimizers.momentum(0.05, accumulation="sum", weight_decay=DECAY): optax.sgd(0.05, momentum=0.9),
        optimizers.adam(0.05, weight_decay=DECAY): optax.adam(0.05),
        optimizers.adamax(0.05, weight_decay=DECAY): optax.adamax(0.05),
    }
    for ours, builtin in pairs.items():
        assert close(path(ours), path(optax.chain(optax.add_decayed_weights(DECAY), builtin)))


@pytest.mark.parametrize(("name", "options"), [(name, options) for name in DECOUPLED for options in DECOUPLED[name]])
def test_decoupled_decay_adds_the_rate_times_the_parameter_to_the_step(name, options, double_precision):
    """As optax's chain of a direction, decayed weights and the rate, with a rate that changes every step."""
    rate = lambda t: 0.05 / (1 + t)  # noqa: E731
    make = optimizers.OPTIMIZERS[name]
    ours = make(0.05, weight_decay=DECAY, decoupled_weight_decay=True, **options)
    plain = make(0.05, **options)

    def update(gradients, state, parameters, *, learning_rate):
        updates, state = plain.update(gradients, state, parameters, learning_rate=learning_rate)
        return jax.tree.map(lambda u, w: u - learning_rate * DECAY * w, updates, parameters), state

    by_hand = optax.GradientTransformationExtraArgs(plain.init, update)
    assert close(path(ours, rate=rate), path(by_hand, rate=rate))
    coupled = make(0.05, weight_decay=DECAY, **options)
    assert not close(path(ours, rate=rate), path(coupled, rate=rate))


def test_decoupled_decay_of_a_constant_rate_is_a_chain_of_optax(double_precision):
    builtin = optax.chain(
        optax.ema(0.9, debias=False), optax.add_decayed_weights(DECAY), optax.scale_by_learning_rate(0.05)
    )
    assert close(path(optimizers.momentum(0.05, weight_decay=DECAY, decoupled_weight_decay=True)), path(builtin))
    scaled = optax.chain(
        optax.scale_by_rms(decay=0.9, eps=1e-8, eps_in_sqrt=False),
        optax.add_decayed_weights(DECAY),
        optax.scale_by_learning_rate(0.05),
    )
    assert close(path(optimizers.rmsprop(0.05, weight_decay=DECAY, decoupled_weight_decay=True)), path(scaled))


@pytest.mark.parametrize(
    ("position", "step", "velocity", "expected"),
    [
        ("outside", 0, 0.0, 2.0),  # the first step takes g whole
        ("outside", 1, 3.0, 0.9 * 3 + 0.75 * 2),
        ("inside", 0, 0.0, 0.1 * 2),
        ("inside", 4, 0.3, 0.9 * 0.3 + 0.1 * 0.75 * 2),
    ],
)
def test_dampening_takes_a_part_of_every_gradient_but_the_first(position, step, velocity, expected, double_precision):
    options = {"accumulation": "sum", "dampening": 0.25, "learning_rate_position": position}
    w, slots = step_from_one(optimizers.momentum, {"velocity": velocity}, step, **options)
    assert slots["velocity"] == pytest.approx(expected, rel=4 * 2.0**-53)
    moved = expected if position == "inside" else 0.1 * expected
    assert w == pytest.approx(1 - moved, rel=4 * 2.0**-53)


def test_dampening_of_one_keeps_the_first_gradient_alone(double_precision):
    ours = path(optimizers.momentum(0.05, accumulation="sum", dampening=1.0), steps=3)
    first = np.diff(np.vstack([path(optimizers.momentum(0.0), steps=1), ours]), axis=0)
    np.testing.assert_allclose(first[1], 0.9 * first[0], rtol=0, atol=ROUNDOFFS)
    np.testing.assert_allclose(first[2], 0.81 * first[0], rtol=0, atol=ROUNDOFFS)


@pytest.mark.parametrize("options", [{"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled_weight_decay": True},
                                     {"accumulation": "sum", "dampening": 0.5}])  # fmt: skip
def test_single_precision_stays_single_where_double_is_on(options, double_precision):
    optimizer, parameters = optimizers.momentum(0.1, **options), {"w": jnp.ones(2, jnp.float32)}
    updates, state = optimizer.update(parameters, optimizer.init(parameters), parameters, learning_rate=np.float64(0.1))
    assert {array.dtype for array in jax.tree.leaves((updates, state.slots))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", COUPLED)
def test_a_decay_of_zero_takes_no_part_at_all(name):
    make = optimizers.OPTIMIZERS[name]
    np.testing.assert_array_equal(path(make(0.05, weight_decay=0.0)), path(make(0.05)))
    parameters = {"w": jnp.ones(2)}
    plain, decayed = make(), make(weight_decay=0.1)
    plain.update(parameters, plain.init(parameters))  # needs no parameters
    with pytest.raises(ValueError, match="parameters=None is not allowed: must be given"):
        decayed.update(parameters, decayed.init(parameters))


@pytest.mark.parametrize("name", COUPLED)
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_decay_that_is_no_finite_number_from_zero_on_is_refused(name, value):
    with pytest.raises(ValueError, match=f"weight_decay={value!r} is not allowed: must be a finite number >= 0"):
        optimizers.OPTIMIZERS[name](weight_decay=value)


@pytest.mark.parametrize("name", DECOUPLED)
def test_decoupled_is_true_or_false(name):
    with pytest.raises(ValueError, match="decoupled_weight_decay='yes' is not allowed: must be one of False, True"):
        optimizers.OPTIMIZERS[name](decoupled_weight_decay="yes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dampening": 0.5}, "dampening=0.5 is not allowed with accumulation='average': must be 0"),
        (
            {"dampening": 0.5, "accumulation": "sum", "nesterov": True},
            "dampening=0.5 is not allowed with nesterov: must be 0",
        ),
        (
            {"dampening": 0.5, "accumulation": "sum", "bias_correction": True},
            "dampening=0.5 is not allowed with bias_correction: must be 0",
        ),
        ({"dampening": 1.5, "accumulation": "sum"}, r"dampening=1.5 is not allowed: must be in \[0, 1\]"),
        ({"dampening": float("nan"), "accumulation": "sum"}, r"dampening=nan is not allowed: must be in \[0, 1\]"),
    ],
)
def test_a_dampening_that_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        optimizers.momentum(**options)


def test_a_gradient_of_no_parameter_is_refused():
    parameters = {"W1": jnp.ones((2, 3)), "b1": jnp.ones(2)}
    optimizer = optimizers.adam()
    state = optimizer.init(parameters)
    for given in ({"parameters": parameters}, {}):
        with pytest.raises(ValueError, match="gradients has 'x': must hold W1, b1"):
            optimizer.update(parameters | {"x": jnp.ones(())}, state, **given)
