"""The dialects against independent parties: the built-ins of PyTorch, Keras and optax themselves, in float64."""

import ast
import doctest
import inspect
import os
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it once, when it is imported
jax = pytest.importorskip("jax")
keras = pytest.importorskip("keras")
optax = pytest.importorskip("optax")
tf = pytest.importorskip("tensorflow")
torch = pytest.importorskip("torch")

from conformance.recipes import dialects  # noqa: E402
from impl_jax.optimizers import OPTIMIZERS as IMPL_JAX  # noqa: E402
from impl_tf.optimizers import OPTIMIZERS as IMPL_TF  # noqa: E402
from impl_torch.optimizers import OPTIMIZERS as IMPL_TORCH  # noqa: E402
from reference_numpy.optimizers import OPTIMIZERS  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from optax_calls import optax_builtin  # noqa: E402

UNIT_ROUNDOFF = 2.0**-53
HALF_UNIT_IN_FLOAT32 = 2.0**-24  # the largest relative error of a number rounded to float32
STEPS = 80
START = np.repeat([[0.0], [1.5]], 8, axis=1)  # from 0, where a step of 1e-13 is seen, and from a weight that decays

DIALECTS = {f"{d.framework}.{d.builtin}": d for d in dialects.dialects()}
# L-BFGS needs gradients of a cost, not any sequence: test_dialects_lbfgs.py.
ON_ANY_GRADIENTS = [name for name, d in DIALECTS.items() if d.optimizer != "lbfgs"]
OF_KERAS = [name for name in ON_ANY_GRADIENTS if name.startswith("keras.")]


def gradient_sequence():
    """``(STEPS, 2, 8)``, equal in both rows; each column is another kind of sequence."""
    generator = np.random.default_rng(5)
    ordinary = generator.standard_normal((STEPS, 8))
    t = np.arange(STEPS)
    sizes = np.stack(
        [
            np.ones(STEPS),
            np.where(t % 3 == 0, 0.0, 1.0),
            np.zeros(STEPS),
            np.full(STEPS, 1e-10),
            np.full(STEPS, 1e10),
            np.where(t % 2 == 0, 1.0, -1.0),
            np.array([1.0, 0.1, 0.0, 1e-10, 3.0, 1e10, 0.0, 1e-3])[t % 8],
            np.where(t < 5, 1e-10, 1.0),
        ],
        axis=1,
    )
    ordinary[:, 5] = np.abs(ordinary[:, 5])  # the size turns the sign at every step
    return np.repeat((sizes * ordinary)[:, np.newaxis, :], 2, axis=1)


GRADIENTS = gradient_sequence()


def constant_rate(rate):
    return np.full(STEPS, rate)


def decaying_rate(rate):
    return rate / (1 + 0.1 * np.arange(STEPS))


def rate_of(dialect):
    """The built-in's learning rate; where it has none, the reference's."""
    return OPTIMIZERS[dialect.optimizer](**dialect.keywords).learning_rate


def call(builtin):
    """Name and keywords of the call that a dialect's name is."""
    node = ast.parse(builtin, mode="eval").body
    if isinstance(node, ast.Name):
        return node.id, {}
    return node.func.id, {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}


def reference_path(optimizer, gradients, rates):
    """The parameter after each step, ``(steps, 2, 8)``."""
    parameters, path = {"W": START.copy()}, []
    state = optimizer.init(parameters)
    for gradient, rate in zip(gradients, rates, strict=True):
        parameters, state = optimizer.update({"W": gradient}, state, parameters, learning_rate=rate)
        path.append(parameters["W"])
    return np.stack(path)


def torch_path(make, gradients, rates, *, default_dtype=torch.float64):
    """``default_dtype`` is what NAdam keeps a scalar in; float64, so that it is not what the paths differ by."""
    parameter, path, before = torch.nn.Parameter(torch.tensor(START)), [], torch.get_default_dtype()
    optimizer = make([parameter])
    torch.set_default_dtype(default_dtype)
    try:
        for gradient, rate in zip(gradients, rates, strict=True):
            parameter.grad = torch.tensor(gradient)
            for group in optimizer.param_groups:
                group["lr"] = float(rate)
            optimizer.step()
            path.append(parameter.detach().numpy().copy())
    finally:
        torch.set_default_dtype(before)
    return np.stack(path)


def keras_path(make, arguments, gradients, rates, *, floatx="float64"):
    """``floatx`` is what Keras keeps the learning rate in; float64, so that it is not what the paths differ by."""
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        optimizer = make(**arguments)
    finally:
        keras.config.set_floatx(before)
    variable, path = keras.Variable(START, dtype="float64"), []
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.learning_rate = float(rate)
        optimizer.apply([tf.constant(gradient)], [variable])
        path.append(variable.numpy())
    return np.stack(path)


def optax_path(make, gradients, rates):
    """``make(rate)``: an optax optimizer with a schedule where the rate changes, with a number where it does not."""
    with jax.enable_x64(True):
        table = jax.numpy.asarray(rates)
        optimizer = make(float(rates[0]) if (rates == rates[0]).all() else lambda count: table[count])

        def step(carry, gradient):
            w, state = carry
            updates, state = optimizer.update(gradient, state, w)
            w = optax.apply_updates(w, updates)
            return (w, state), w

        start = jax.numpy.asarray(START)
        _, path = jax.lax.scan(step, (start, optimizer.init(start)), jax.numpy.asarray(gradients))
        return np.asarray(path)


@cache
def builtin_path(name, schedule):
    """The path of a built-in that has every default of its own but a rate where it asks for one."""
    dialect, (builtin, arguments) = DIALECTS[name], call(DIALECTS[name].builtin)
    rates = schedule(rate_of(dialect))
    if dialect.framework == "keras":
        return keras_path(getattr(keras.optimizers, builtin), arguments, GRADIENTS, rates)
    if dialect.framework == "optax":
        return optax_path(lambda rate: optax_builtin(dialect.builtin, rate), GRADIENTS, rates)
    return torch_path(lambda params: getattr(torch.optim, builtin)(params, **arguments), GRADIENTS, rates)


def distance(path, expected):
    """Largest difference of two paths, relative to the element's start and the way it has come in ``expected``."""
    steps = np.abs(np.diff(expected, axis=0, prepend=START[np.newaxis]))
    size = np.abs(START) + np.cumsum(steps, axis=0)
    difference = np.abs(path - expected)
    assert np.isfinite(difference).all()
    assert (difference[size == 0] == 0).all()  # where nothing has moved, nothing may move
    return (difference[size > 0] / size[size > 0]).max()


def allowance(dialect):
    """The distance that rounding alone can make, between the reference and a built-in in float64.

    Each step rounds some ten times, in proportion to what it adds, and the sum of the steps once more a step. The
    built-ins take ``1 - beta^t`` by subtraction, which costs ``1 / (1 - beta)`` roundings at t = 1. RAdam subtracts
    twice: ``rho_t`` is a difference of numbers near ``2 / (1 - beta2)`` that are themselves known to ``1 / (1 -
    beta2)`` roundings, and ``rho_t - 4 > 1`` stands under a root.
    """
    loss = {name: 1 / (1 - dialect.keywords[name]) for name in ("beta1", "beta2") if name in dialect.keywords}
    roundings = STEPS + 10 + sum(loss.values())
    if dialect.optimizer == "radam":
        roundings += 2 * loss["beta2"] ** 2
    return roundings * UNIT_ROUNDOFF


def reference_of(dialect, schedule, *, rate=None):
    optimizer = OPTIMIZERS[dialect.optimizer](**dialect.keywords)
    return reference_path(optimizer, GRADIENTS, schedule(optimizer.learning_rate if rate is None else rate))


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_writes_out_every_keyword_of_its_optimizer(name):
    dialect = DIALECTS[name]
    optimizer = OPTIMIZERS[dialect.optimizer](**dialect.keywords)
    assert optimizer.init({"W": START}).step == 0
    left_out = set(inspect.signature(OPTIMIZERS[dialect.optimizer]).parameters) - set(dialect.keywords)
    allowed = {"amsgrad"}  # None, which TOML cannot write
    if dialect.framework == "optax":
        allowed.add("learning_rate")
    if dialect.keywords.get("schedule") == "constant":
        allowed.add("momentum_decay")
    assert left_out <= allowed


@pytest.mark.parametrize("name", DIALECTS)
def test_the_learning_rate_of_a_dialect_is_the_builtins_default(name):
    dialect = DIALECTS[name]
    module = {"torch": torch.optim, "keras": keras.optimizers, "optax": optax}[dialect.framework]
    parameters = inspect.signature(getattr(module, call(dialect.builtin)[0])).parameters
    rate = parameters.get("lr" if dialect.framework == "torch" else "learning_rate")
    default = None if rate is None else rate.default  # a chain has none of its own
    has_none = default is inspect.Parameter.empty or default is None
    assert dialect.keywords.get("learning_rate") == (None if has_none else default)


def test_every_optimizer_is_a_builtin_somewhere():
    assert {d.optimizer for d in DIALECTS.values()} == set(OPTIMIZERS)


def test_the_examples_of_the_docstrings_hold():
    results = doctest.testmod(dialects)
    assert results.attempted >= 4
    assert results.failed == 0


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (lambda: dialects.dialect("jax", "adam"), "framework='jax' is not allowed: must be one of 'torch', 'keras', "),
        (lambda: dialects.dialect("torch", "adam"), "builtin='adam' is not allowed: must be one of 'SGD', "),
        (lambda: dialects.equal_builtins("sgd"), "optimizer='sgd' is not allowed: must be one of 'gradient_descent', "),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_known(look_up, message):
    with pytest.raises(ValueError, match=message):
        look_up()


def test_what_a_caller_does_to_the_keywords_stays_with_the_caller():
    dialects.dialect("torch", "Adam").keywords["epsilon"] = 1.0
    assert dialects.dialect("torch", "Adam").keywords["epsilon"] == 1e-8


@pytest.mark.parametrize("schedule", [constant_rate, decaying_rate])
@pytest.mark.parametrize("name", ON_ANY_GRADIENTS)
def test_the_reference_with_a_dialects_keywords_trains_as_the_builtin(name, schedule):
    dialect = DIALECTS[name]
    assert distance(builtin_path(name, schedule), reference_of(dialect, schedule)) <= allowance(dialect)


@given(
    st.sampled_from([name for name in ON_ANY_GRADIENTS if name.startswith("torch.")]),
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from([0.0, 1e-12, 1e-10, 1e-3, 1.0, -1.0, 1e3, 1e10]), min_size=1, max_size=20),
)
@settings(deadline=None)  # the first example of an optimizer loads its kernels
def test_any_gradients_train_the_reference_as_the_builtin_of_pytorch(name, seed, sizes):
    dialect, (builtin, arguments) = DIALECTS[name], call(DIALECTS[name].builtin)
    gradients = np.random.default_rng(seed).standard_normal((len(sizes), *START.shape))
    gradients *= np.reshape(sizes, (-1, 1, 1))
    optimizer = OPTIMIZERS[dialect.optimizer](**dialect.keywords)
    rates = np.full(len(sizes), optimizer.learning_rate)
    path = torch_path(lambda params: getattr(torch.optim, builtin)(params, **arguments), gradients, rates)
    assert distance(path, reference_path(optimizer, gradients, rates)) <= allowance(dialect)


def given_in_float64(name):
    """Arguments of Keras's built-in with its own defaults as np.float64, which keeps it from rounding them."""
    builtin, arguments = call(DIALECTS[name].builtin)
    cast = ("momentum", "beta_1", "beta_2", "weight_decay", "initial_accumulator_value")
    parameters = inspect.signature(getattr(keras.optimizers, builtin)).parameters
    defaults = {keyword: p.default for keyword, p in parameters.items() if keyword in cast}
    return arguments | {k: np.float64(v) for k, v in (defaults | arguments).items() if isinstance(v, float)}


@pytest.mark.parametrize("name", ["keras.SGD(momentum=0.9)", "keras.Adagrad", "keras.Adam", "keras.Adamax"])
def test_what_keras_rounds_to_float32_is_what_its_dialect_says(name):
    """As it is, it trains as its dialect; of numbers given as np.float64, as the dialect with those numbers."""
    dialect, (builtin, _) = DIALECTS[name], call(DIALECTS[name].builtin)
    rates = constant_rate(rate_of(dialect))
    exact = {keyword: round(number, 3) for keyword in dialect.in_float32 if (number := dialect.keywords[keyword])}
    exact |= {"correction_precision": "exact"} if "correction_precision" in dialect.keywords else {}
    expected = reference_path(OPTIMIZERS[dialect.optimizer](**dialect.keywords | exact), GRADIENTS, rates)
    path = keras_path(getattr(keras.optimizers, builtin), given_in_float64(name), GRADIENTS, rates)
    assert distance(path, expected) <= allowance(dialect)
    assert distance(builtin_path(name, constant_rate), expected) > 1e5 * allowance(dialect)


def test_keras_keeps_the_learning_rate_in_its_floatx():
    dialect = DIALECTS["keras.SGD"]
    path = keras_path(keras.optimizers.SGD, {}, GRADIENTS, constant_rate(0.01), floatx="float32")
    assert distance(path, reference_of(dialect, constant_rate, rate=float(np.float32(0.01)))) <= allowance(dialect)
    assert distance(path, reference_of(dialect, constant_rate)) > 1e5 * allowance(dialect)


def test_a_number_beside_a_dialect_is_rounded_as_its_own_would_be():
    changed = DIALECTS["keras.SGD(momentum=0.9)"].changed({"beta": 0.8, "learning_rate": 0.1})
    assert (changed["beta"], changed["learning_rate"]) == (float(np.float32(0.8)), 0.1)


def test_pytorchs_nadam_keeps_a_scalar_in_the_default_dtype_whatever_the_parameters_are():
    """The product of the mu_t in float32; mu_1 < 1/2, so ``1 - product`` is off by at most that one rounding."""
    dialect = DIALECTS["torch.NAdam"]
    rates = constant_rate(rate_of(dialect))
    path = torch_path(torch.optim.NAdam, GRADIENTS, rates, default_dtype=torch.float32)
    off = distance(path, reference_of(dialect, constant_rate))
    assert 1e3 * allowance(dialect) < off <= HALF_UNIT_IN_FLOAT32


def test_optax_adadelta_without_a_learning_rate_goes_uphill():
    with jax.enable_x64(True):
        w, g = jax.numpy.asarray(START), jax.numpy.asarray(GRADIENTS[0])
        optimizer = optax.adadelta()
        updates, _ = optimizer.update(g, optimizer.init(w), w)
    assert (np.sign(updates) == np.sign(g)).all()
    assert np.any(updates)


def without_rate(dialect):
    """In float64, where the working precision of a bias correction is the exact one."""
    in_float64 = {"working": "exact"}
    return {k: in_float64.get(v, v) for k, v in dialect.keywords.items() if k != "learning_rate"}


OTHERS = [
    (name, other)
    for name in ON_ANY_GRADIENTS
    for other in ON_ANY_GRADIENTS
    if DIALECTS[name].optimizer == DIALECTS[other].optimizer
    and without_rate(DIALECTS[name]) != without_rate(DIALECTS[other])
]


def distance_to_other(name, other, schedule):
    """How far a built-in is from the reference with another's keywords, at the built-in's own learning rate."""
    return distance(reference_of(DIALECTS[other], schedule, rate=rate_of(DIALECTS[name])), builtin_path(name, schedule))


@pytest.mark.parametrize(("name", "other"), OTHERS)
def test_no_other_dialect_of_the_optimizer_would_pass_for_the_builtins(name, other):
    assert distance_to_other(name, other, decaying_rate) > 2 * allowance(DIALECTS[name])


@pytest.mark.parametrize(
    ("name", "other", "schedule", "least"),
    [
        # The rate inside the velocity: nothing while it is constant, all the difference when it is not.
        ("keras.SGD(momentum=0.9)", "torch.SGD(momentum=0.9)", decaying_rate, 0.1),
        ("torch.SGD(momentum=0.9)", "torch.SGD(momentum=0.9, nesterov=True)", constant_rate, 0.4),
        # Epsilon inside or outside the root, at gradients of 1e-10: one stands still where the other steps.
        ("keras.RMSprop", "torch.RMSprop", constant_rate, 1e4),
        ("torch.RMSprop", "optax.rmsprop", constant_rate, 0.5),
        ("optax.rmsprop", "keras.RMSprop", constant_rate, 0.3),
        # An accumulator that starts at 0.1 hides gradients of 1e-10 for good.
        ("keras.Adagrad", "torch.Adagrad", constant_rate, 1e9),
        ("torch.Adagrad", "optax.adagrad", constant_rate, 0.5),
        ("keras.Adadelta", "torch.Adadelta", constant_rate, 0.5),
        ("keras.Adam", "torch.Adam", constant_rate, 1e2),
        ("optax.amsgrad", "torch.Adam(amsgrad=True)", constant_rate, 0.1),
        ("torch.Adam(amsgrad=True)", "torch.Adam", constant_rate, 5e-4),
        ("torch.AdamW", "optax.adamw", constant_rate, 4e-4),
        ("torch.NAdam", "keras.Nadam", constant_rate, 0.4),
        ("optax.nadam", "torch.NAdam", constant_rate, 0.2),
        ("keras.Adamax", "torch.Adamax", constant_rate, 4.0),
        ("torch.RAdam", "optax.radam", constant_rate, 5.0),
        ("keras.Lion", "optax.lion", constant_rate, 4e-5),
    ],
)  # fmt: skip
def test_a_wrong_dialect_is_off_by_the_size_that_was_measured(name, other, schedule, least):
    """``least`` is about half of what the two differ by over the eight kinds of gradients."""
    assert distance_to_other(name, other, schedule) > least


def test_the_place_of_the_rate_does_not_matter_while_it_is_constant():
    off = distance_to_other("keras.SGD(momentum=0.9)", "torch.SGD(momentum=0.9)", constant_rate)
    # A rounded decay changes 1 / (1 - beta), the weight of its geometric sum, 1 / (1 - beta) times as much.
    assert off <= 1 / (1 - 0.9) * HALF_UNIT_IN_FLOAT32


def impl_tf_path(optimizer, gradients, rates):
    parameters, path = {"W": tf.Variable(START)}, []
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.update({"W": tf.constant(gradient)}, parameters, learning_rate=float(rate))
        path.append(parameters["W"].numpy())
    return np.stack(path)


@pytest.mark.parametrize("package", ["impl_torch", "impl_tf", "impl_jax"])
@pytest.mark.parametrize("name", ON_ANY_GRADIENTS)
def test_each_framework_speaks_the_dialects_of_the_others(package, name):
    """Adam as Keras has it, in PyTorch: the built-in and the package are each within one allowance of the formula."""
    dialect, rates = DIALECTS[name], decaying_rate(rate_of(DIALECTS[name]))
    optimizer, keywords = dialect.optimizer, dialect.keywords
    if package == "impl_torch":
        path = torch_path(lambda params: IMPL_TORCH[optimizer](params, **keywords), GRADIENTS, rates)
    elif package == "impl_tf":
        path = impl_tf_path(IMPL_TF[optimizer](**keywords), GRADIENTS, rates)
    else:
        chosen = {k: v for k, v in keywords.items() if k != "learning_rate"}
        path = optax_path(lambda rate: IMPL_JAX[optimizer](rate, **chosen), GRADIENTS, rates)
    assert distance(path, builtin_path(name, decaying_rate)) <= 2 * allowance(dialect)
