"""optax's states as a recipe's slots: every dialect of optax, step by step from the reference's own state."""

import sys
from pathlib import Path

import numpy as np
import pytest

from conformance.adapter import State
from conformance.recipes.dialects import dialects
from reference_numpy.optimizers import OPTIMIZERS

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from conformance.wrappers.jax_optimizer import Optimizer  # noqa: E402  (needs JAX)
from conformance.wrappers.jax_trees import Layout  # noqa: E402  (needs JAX)

sys.path.insert(0, str(Path(__file__).parents[1]))
from optax_calls import optax_builtin  # noqa: E402  (needs optax)

RATE = 0.01
DIALECTS = [found for found in dialects() if found.framework == "optax"]
SHAPES = {"W1": (3, 2), "b1": (3,)}
PARAMETERS = {"W1": np.linspace(-1, 1, 6).reshape(3, 2), "b1": np.array([0.5, -0.25, 2.0])}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def reference_of(dialect):
    return OPTIMIZERS[dialect.optimizer](**{**dialect.keywords, "learning_rate": RATE})


def assert_same_steps(optimizer, layout, reference, rates=(RATE,) * 4):
    """Four steps, each from the reference's state: parameters and every slot are the reference's."""
    generator = np.random.default_rng(3)
    parameters, state = PARAMETERS, reference.init(PARAMETERS)
    for step, rate in enumerate(rates):
        gradients = {name: generator.standard_normal(shape) for name, shape in SHAPES.items()}
        found, after = optimizer.step(layout, parameters, gradients, State(step, state.slots), rate, step)
        parameters, state = reference.update(gradients, state, parameters, learning_rate=rate)
        assert after.step == step + 1
        assert after.slots.keys() == state.slots.keys()
        for expected, got in ((parameters, found), *((state.slots[slot], after.slots[slot]) for slot in state.slots)):
            assert got.keys() == expected.keys()
            for name in expected:
                np.testing.assert_allclose(got[name], expected[name], rtol=1e-12, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda found: found.builtin)
@pytest.mark.parametrize("form", [pytest.param("with its rate", marks=pytest.mark.slow), "of the rate"])
def test_every_dialect_of_optax_steps_from_the_references_state_and_returns_its_slots(dialect, form):
    made = (
        optax_builtin(dialect.builtin, RATE)
        if form == "with its rate"
        else lambda rate: optax_builtin(dialect.builtin, rate)
    )
    reference = reference_of(dialect)
    optimizer = Optimizer(made, reference.init(PARAMETERS).slots)
    assert_same_steps(optimizer, Layout.flat(SHAPES), reference)


def test_a_schedule_inside_goes_by_the_step_of_the_rate_and_an_injected_rate_is_set():
    reference = OPTIMIZERS["adam"](learning_rate=RATE)
    rates = [0.01, 0.005, 0.0025, 0.00125]
    table = np.asarray(rates)
    slots = ("first_moment", "second_moment")
    scheduled = optax.adam(lambda count: jax.numpy.asarray(table)[count])
    injected = optax.inject_hyperparams(optax.adam)(learning_rate=lambda count: jax.numpy.asarray(table)[count])
    number = optax.inject_hyperparams(optax.adam)(learning_rate=0.7)
    for made in (scheduled, injected, number):
        assert_same_steps(Optimizer(made, slots), Layout.flat(SHAPES), reference, rates)


def test_a_tree_of_the_users_with_masks_and_labels_gives_the_same_steps():
    """Biases have an optimizer of their own, and the decay is of the kernel alone."""
    slots = ("first_moment", "second_moment")
    structure = jax.tree.structure({"dense": {"bias": 0, "kernel": 0}})
    layout = Layout(structure, ("b1", "W1"))
    labels = {"dense": {"bias": "plain", "kernel": "plain too"}}
    parts = {"plain": optax.adam(RATE), "plain too": optax.adam(RATE)}
    masked = optax.chain(
        optax.masked(optax.add_decayed_weights(0.0), {"dense": {"bias": False, "kernel": True}}),
        optax.multi_transform(parts, labels),
    )
    assert_same_steps(Optimizer(masked, slots), layout, OPTIMIZERS["adam"](learning_rate=RATE))


def test_the_wrong_epsilon_steps_elsewhere():
    with pytest.raises(AssertionError):
        assert_same_steps(
            Optimizer(optax.adam(RATE, eps=1e-3), ("first_moment", "second_moment")), Layout.flat(SHAPES),
            OPTIMIZERS["adam"](learning_rate=RATE),
        )  # fmt: skip


def own_transformation():
    """Momentum by hand, whose state is a dict."""

    def init(parameters):
        return {"memory": jax.tree.map(jax.numpy.zeros_like, parameters), "count": jax.numpy.zeros((), "int32")}

    def update(gradients, state, parameters=None):
        memory = jax.tree.map(lambda v, g: 0.9 * v + g, state["memory"], gradients)
        return jax.tree.map(lambda v: -RATE * v, memory), {"memory": memory, "count": state["count"] + 1}

    return optax.GradientTransformation(init, update)


def test_fields_of_unknown_names_are_asked_for_and_taken_as_they_are_told():
    reference = OPTIMIZERS["momentum"](learning_rate=RATE, accumulation="sum")
    with pytest.raises(ValueError, match=r"has 'memory', and the recipe's slots 'velocity': .*'velocity': 'memory'"):
        assert_same_steps(Optimizer(own_transformation(), ("velocity",)), Layout.flat(SHAPES), reference)
    named = Optimizer(own_transformation(), ("velocity",), {"velocity": "memory"})
    assert_same_steps(named, Layout.flat(SHAPES), reference)


@pytest.mark.parametrize(
    ("optimizer", "fields", "error", "message"),
    [
        (3, None, TypeError, "optimizer=3 is not allowed: must be an optax GradientTransformation, or a function"),
        (optax.sgd(0.1), {"velocty": "trace"}, ValueError, "must be one of 'velocity'.*velocity"),
    ],
)
def test_what_is_no_optimizer_or_no_slot_is_refused(optimizer, fields, error, message):
    with pytest.raises(error, match=message):
        Optimizer(optimizer, ("velocity",), fields)
