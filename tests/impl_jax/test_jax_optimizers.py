"""What optax ships, beside what is written here: where they are equal, and where they are not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from impl_jax import optimizers, schedules

RATE = 0.01
STEPS = 50
# Fifty steps of some thirty operations, and cancellations after a gradient that is 1e10 times the others.
ROUNDOFFS = 10_000 * 2.0**-53
DIFFERENT = 1e4 * ROUNDOFFS  # what another formula exceeds


def gradient_sequence():
    """Ordinary gradients, and among them zeros, tiny and huge ones."""
    gradients = np.random.default_rng(0).standard_normal((STEPS, 2, 3))
    gradients[3] = 0
    gradients[5] *= 1e-10
    gradients[9] *= 1e10
    gradients[:, 0, 0] = 0
    return gradients


def trajectory(optimizer, *, rates=None):
    """Parameters after every step, ``(STEPS, 2, 3)``."""
    parameters = {"W1": jnp.ones((2, 3))}
    state = optimizer.init(parameters)
    path = []
    update = jax.jit(optimizer.update)
    for t, gradient in enumerate(gradient_sequence()):
        rate = {} if rates is None else {"learning_rate": rates(t)}
        updates, state = update({"W1": gradient}, state, parameters, **rate)
        parameters = {"W1": parameters["W1"] + updates["W1"]}
        path.append(np.asarray(parameters["W1"]))
    return np.array(path)


def distance(ours, builtin):
    return np.max(np.abs(ours - builtin)) / np.max(np.abs(builtin))


decay = schedules.inverse_time(RATE, decay_rate=0.1)

EQUAL = {
    "gradient descent": (optimizers.gradient_descent(RATE), optax.sgd(RATE)),
    "momentum, sum": (optimizers.momentum(RATE, accumulation="sum"), optax.sgd(RATE, momentum=0.9)),
    "momentum, sum, scheduled": (optimizers.momentum(decay, accumulation="sum"), optax.sgd(decay, momentum=0.9)),
    "momentum, sum, Nesterov": (
        optimizers.momentum(RATE, accumulation="sum", nesterov=True),
        optax.sgd(RATE, momentum=0.9, nesterov=True),
    ),
    "momentum, average": (
        optimizers.momentum(RATE),
        optax.chain(optax.ema(0.9, debias=False), optax.scale_by_learning_rate(RATE)),
    ),
    "momentum, average, corrected": (
        optimizers.momentum(RATE, bias_correction=True),
        optax.chain(optax.ema(0.9, debias=True), optax.scale_by_learning_rate(RATE)),
    ),
    "RMSprop": (optimizers.rmsprop(RATE), optax.rmsprop(RATE, eps_in_sqrt=False)),
    "RMSprop, inside the root": (optimizers.rmsprop(RATE, epsilon_position="inside_root"), optax.rmsprop(RATE)),
    "RMSprop, momentum, rate inside, scheduled": (
        optimizers.rmsprop(decay, momentum=0.9, learning_rate_position="inside"),
        optax.rmsprop(decay, momentum=0.9, eps_in_sqrt=False),
    ),
    "Adam": (optimizers.adam(RATE), optax.adam(RATE)),
    "Adam, inside the root": (
        optimizers.adam(RATE, epsilon_position="inside_root"),
        optax.adam(RATE, eps=0.0, eps_root=1e-8),
    ),
    "Adagrad, inside the root": (
        optimizers.adagrad(RATE, epsilon_position="inside_root", initial_accumulator=0.1),
        optax.adagrad(RATE, eps=1e-8),
    ),
    "Adadelta": (optimizers.adadelta(RATE), optax.adadelta(RATE, rho=0.9, eps=1e-6)),
    "AdamW": (optimizers.adamw(decay, weight_decay=0.1), optax.adamw(decay, weight_decay=0.1)),
    "NAdam, constant": (optimizers.nadam(RATE, schedule="constant"), optax.nadam(RATE)),
    "Adamax": (optimizers.adamax(RATE), optax.adamax(RATE)),
    "RAdam": (optimizers.radam(RATE), optax.radam(RATE)),
    "Lion": (optimizers.lion(decay, weight_decay=0.1), optax.lion(decay, weight_decay=0.1)),
    "AMSGrad, maximum of the corrected": (optimizers.adam(RATE, amsgrad="corrected_max"), optax.amsgrad(RATE)),
    "Adam, coupled decay": (
        optax.chain(optax.add_decayed_weights(0.1), optimizers.adam(RATE)),
        optax.chain(optax.add_decayed_weights(0.1), optax.adam(RATE)),
    ),
}

UNEQUAL = {
    "RMSprop: optax has epsilon inside the root": (optimizers.rmsprop(RATE), optax.rmsprop(RATE)),
    "RMSprop, momentum, scheduled: optax has the rate inside": (
        optimizers.rmsprop(decay, momentum=0.9),
        optax.rmsprop(decay, momentum=0.9, eps_in_sqrt=False),
    ),
    "Adagrad: optax starts at 0.1": (optimizers.adagrad(RATE), optax.adagrad(RATE)),
    "NAdam: optax has no schedule of Dozat": (optimizers.nadam(RATE), optax.nadam(RATE)),
    "Adamax: optax has epsilon inside the maximum": (
        optimizers.adamax(RATE, epsilon=1e-3, epsilon_position="outside"),
        optax.adamax(RATE, eps=1e-3),
    ),
    "RAdam: PyTorch has another epsilon": (
        optimizers.radam(RATE, epsilon=1e-3, epsilon_position="before_correction"),
        optax.radam(RATE, eps=1e-3),
    ),
    "Adam: optax has no epsilon-hat": (optimizers.adam(RATE, epsilon_position="before_correction"), optax.adam(RATE)),
    "AMSGrad: optax corrects before the maximum": (optimizers.adam(RATE, amsgrad="raw_max"), optax.amsgrad(RATE)),
}


@pytest.mark.parametrize("name", EQUAL)
def test_the_builtin_of_optax_is_the_same_formula_in_double_precision(name, double_precision):
    ours, builtin = EQUAL[name]
    assert distance(trajectory(ours), trajectory(builtin)) < ROUNDOFFS


@pytest.mark.parametrize("name", UNEQUAL)
def test_the_builtin_of_optax_is_another_formula(name, double_precision):
    ours, builtin = UNEQUAL[name]
    assert distance(trajectory(ours), trajectory(builtin)) > DIFFERENT


def test_a_rate_given_by_the_step_is_the_schedule_that_optax_calls(double_precision):
    given = trajectory(optimizers.adam(123.0), rates=decay)
    assert distance(given, trajectory(optimizers.adam(decay))) < 64 * 2.0**-53  # the rate from the host or traced
    assert distance(given, trajectory(optax.adam(decay))) < ROUNDOFFS


def test_the_bias_correction_keeps_its_digits_in_single_precision(single_precision):
    one_step = {"step": 0.0, "optax": 0.0}
    gradient = np.float32(0.3)
    for name, optimizer in (("step", optimizers.adam(1.0, beta1=0.0)), ("optax", optax.adam(1.0, b1=0.0))):
        update, _ = optimizer.update(gradient, optimizer.init(jnp.zeros((), jnp.float32)))
        one_step[name] = abs(float(update) + 1.0)  # every first step of Adam has the length of the rate
    assert one_step["step"] < 5 * 2.0**-24
    assert one_step["optax"] > 50 * 2.0**-24


def test_parameters_may_be_any_pytree_and_the_optimizer_sits_in_a_chain(single_precision):
    parameters = [jnp.ones(3), {"deep": (jnp.zeros((2, 2)), jnp.ones(()))}]
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optimizers.momentum(0.1))
    state = optimizer.init(parameters)
    updates, (_, state) = optimizer.update(parameters, state, parameters, learning_rate=0.5)
    assert jax.tree.structure(state.slots["velocity"]) == jax.tree.structure(parameters)
    np.testing.assert_allclose(updates[0], -0.5 * 0.1 * np.full(3, 0.5), rtol=16 * 2.0**-24)  # a norm of eight squares


@pytest.mark.parametrize("optimizer", [f() for f in optimizers.OPTIMIZERS.values()])
def test_single_precision_survives_double_precision_numbers(optimizer, double_precision):
    parameters = {"W1": jnp.ones((2, 3), jnp.float32)}
    updates, state = optimizer.update(parameters, optimizer.init(parameters), parameters, learning_rate=np.float64(0.1))
    assert {array.dtype for array in jax.tree.leaves((updates, state.slots))} == {jnp.dtype("float32")}


def test_a_missing_or_misshapen_gradient_is_refused():
    parameters = {"W1": jnp.ones((2, 3)), "b1": jnp.ones(2)}
    optimizer = optimizers.adam()
    state = optimizer.init(parameters)
    with pytest.raises(ValueError, match=r"gradients has no 'b1': must hold W1, b1"):
        optimizer.update({"W1": parameters["W1"]}, state, parameters)
    wrong = parameters | {"b1": jnp.ones((2, 1))}
    with pytest.raises(ValueError, match=r"gradient 'b1' has shape \(2, 1\): must be \(2,\), its parameter's"):
        optimizer.update(wrong, state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimizers.adam(beta1=1.2), r"beta1=1.2 is not allowed: must be in \[0, 1\)"),
        (lambda: optimizers.adam(float("nan")), "learning_rate=nan is not allowed: must be a finite number >= 0"),
        (lambda: optimizers.rmsprop(epsilon=-1.0), "epsilon=-1.0 is not allowed: must be a finite number >= 0"),
        (lambda: optimizers.momentum(accumulation="mean"), "must be one of 'average', 'sum'"),
        (
            lambda: optimizers.rmsprop(initial_square=1.0, bias_correction=True),
            "initial_square=1.0 is not allowed with bias_correction: must be 0",
        ),
    ],
)
def test_an_argument_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
