"""A user's own JAX code, wrapped in about ten lines: right ones pass all that they offer, wrong ones fail.

The classes and functions ``own_...`` stand for code that is there already.
"""

import inspect

import numpy as np
import pytest

from conformance.adapters.session import State, Unsupported

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
eqx = pytest.importorskip("equinox")
pytest.importorskip("flax")

import jax.numpy as jnp  # noqa: E402  (after the check that JAX is there)
from flax import linen as nn  # noqa: E402
from flax import nnx  # noqa: E402

import conformance  # noqa: E402

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


class OwnNnx(nnx.Module):
    """Its attributes are not in the order in which they are called."""

    def __init__(self, rngs, activation=jnp.tanh):
        self.second = nnx.Linear(8, 8, rngs=rngs)
        self.last = nnx.Linear(8, 10, rngs=rngs)
        self.first = nnx.Linear(64, 8, rngs=rngs)
        self.activation = activation

    def __call__(self, x):
        return self.last(self.activation(self.second(self.activation(self.first(x)))))


class OwnLinen(nn.Module):
    activation: object = nn.tanh

    @nn.compact
    def __call__(self, x):
        for units in (8, 8):
            x = self.activation(nn.Dense(units)(x))
        return nn.Dense(10)(x)


def own_equinox(key, activation=jnp.tanh):
    return eqx.nn.MLP(64, 10, 8, 2, activation=activation, key=key)


def own_init(key):
    sizes = (64, 8, 8, 10)
    keys = jax.random.split(key, 3)
    return [(jax.random.normal(k, (a, b)), jnp.zeros(b)) for k, a, b in zip(keys, sizes, sizes[1:], strict=False)]


def own_apply(parameters, x):
    *hidden, (last, bias) = parameters
    for weights, biases in hidden:
        x = jnp.tanh(x @ weights + biases)
    return x @ last + bias


class NnxNormalized(nnx.Module):
    def __init__(self, rngs, epsilon=1e-5, rate=0.2):
        self.dense, self.last = nnx.Linear(64, 8, use_bias=False, rngs=rngs), nnx.Linear(8, 10, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, epsilon=epsilon, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.norm(self.dense(x)))))


class LinenNormalized(nn.Module):
    epsilon: float = 1e-5
    rate: float = 0.2

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(8, use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=self.epsilon)(x)
        return nn.Dense(10)(nn.Dropout(self.rate, deterministic=not train)(nn.relu(x)))


class EquinoxNormalized(eqx.Module):
    dense: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, key, epsilon=1e-5, rate=0.2):
        one, two = jax.random.split(key)
        self.dense = eqx.nn.Linear(64, 8, use_bias=False, key=one)
        self.norm = eqx.nn.BatchNorm(8, "batch", momentum=0.9, eps=epsilon, mode="batch")
        self.dropout, self.last = eqx.nn.Dropout(rate), eqx.nn.Linear(8, 10, key=two)

    def __call__(self, x, state, key):
        x, state = self.norm(self.dense(x), state)
        return self.last(self.dropout(jax.nn.relu(x), key=key)), state


class NnxLayerNorm(nnx.Module):
    """Flax's layer norm has an epsilon of 1e-6, PyTorch's and the recipe's 1e-5."""

    def __init__(self, rngs, epsilon=1e-6, approximate=False):
        self.dense, self.last = nnx.Linear(64, 8, rngs=rngs), nnx.Linear(8, 10, rngs=rngs)
        self.norm, self.approximate = nnx.LayerNorm(8, epsilon=epsilon, rngs=rngs), approximate

    def __call__(self, x):
        return self.last(nnx.gelu(self.norm(self.dense(x)), approximate=self.approximate))


# ---------------------------------------------------------------- what a user writes, and recipes


def nnx_with_adam():
    return conformance.wrap_jax(OwnNnx, loss=cross_entropy, optimizer=optax.adam(0.01))


def linen_with_adamw():
    return conformance.wrap_jax(
        OwnLinen(),
        loss=lambda outputs, targets: cross_entropy(outputs, targets).mean(),
        optimizer=optax.adamw,
    )


def equinox_with_momentum():
    return conformance.wrap_jax(own_equinox, loss=cross_entropy, optimizer=optax.sgd(0.01, momentum=0.9))


def plain_with_a_schedule():
    return conformance.wrap_jax(
        (own_init, own_apply),
        loss=cross_entropy,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.01, decay_steps=6)),
        clip=optax.clip_by_global_norm(1.0),
    )


HEAD = """
name = "own"
loss = "categorical_cross_entropy"
dataset = { name = "digits", examples = 90, test_examples = 30 }
initializer = "he_normal"
batch_size = 32
epochs = 2
"""
PLAIN = HEAD + 'model = { name = "softmax_classifier", hidden_units = [8, 8], activation = "tanh" }\n'
CONTROLS = {
    nnx_with_adam: PLAIN + 'optimizer = { dialect = "optax.adam", learning_rate = 0.01 }',
    linen_with_adamw: PLAIN + 'optimizer = { dialect = "optax.adamw", learning_rate = 0.01 }',
    equinox_with_momentum: PLAIN + 'optimizer = { dialect = "optax.sgd(momentum=0.9)", learning_rate = 0.01 }',
    plain_with_a_schedule: PLAIN
    + 'optimizer = { dialect = "optax.adam", learning_rate = 0.01 }\n'
    + 'schedule = { name = "cosine", unit = "step", steps = 6 }\n'
    + 'regularizers = [{ name = "clip_by_global_norm", limit = 1.0 }]',
}
NORMALIZED = (
    HEAD
    + """
model = { name = "softmax_classifier", hidden_units = [8], activation = "relu", normalization = "batch_norm" }
optimizer = { dialect = "optax.adam", learning_rate = 0.01 }
regularizers = [{ name = "inverted_dropout", keep_probability = 0.8 }]
"""
)
LAYER_NORM = (
    HEAD
    + """
model = { name = "softmax_classifier", hidden_units = [8], activation = "gelu", normalization = "layer_norm" }
optimizer = { dialect = "optax.sgd", learning_rate = 0.01 }
"""
)

CHECKED = {"forward", "loss", "gradients", "update", "teacher_forced", "free_running"}


def assert_right(found, *also_not_offered):
    """Nothing is wrong, every check but those of the start is offered, and of tensors only some are not."""
    assert found.wrong == {}, found.causes
    assert found.of("pass").keys() >= CHECKED, found.causes
    hidden = set().union(*found.of("unsupported").values())
    assert hidden <= {"", "standardized test inputs", "learning rate", *also_not_offered}, found.causes


# Those of plain functions and inside of the last layer are not to be seen.
HIDDEN = {
    plain_with_a_schedule: ["A1 (inference)", "A2 (inference)", "Z1 (inference)", "Z2 (inference)", "A3 (inference)"]
}
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("subject", "dtype"),
    [
        pytest.param(
            made,
            dtype,
            id=f"{made.__name__}-{dtype}",
            marks=[] if (made, dtype) == (nnx_with_adam, "float32") else [SLOW],
        )
        for made in CONTROLS
        for dtype in ("float64", "float32")
    ],
)
def test_right_models_of_every_library_with_optax_pass_all_that_they_offer(subject, dtype, judged):
    found = judged(subject(), CONTROLS[subject], dtype)
    assert_right(found, *HIDDEN.get(subject, ["A3 (inference)"]))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(NnxNormalized, id="nnx", marks=SLOW),
        pytest.param(LinenNormalized(), id="linen", marks=SLOW),
        pytest.param(lambda key: eqx.nn.make_with_state(EquinoxNormalized)(key), id="equinox", marks=SLOW),
    ],
)
def test_batch_norm_and_dropout_of_every_library_pass_with_the_recipes_averages_and_masks(model, judged):
    found = judged(conformance.wrap_jax(model, loss=cross_entropy, optimizer=optax.adam(0.01)), NORMALIZED)
    assert found.wrong == {}, found.causes
    assert {"N1 (training)", "A1 (training)", "running_mean1", "running_variance1"} <= found.of("pass")["forward"]
    assert found.of("pass").keys() >= CHECKED, found.causes


WRONG = {
    "batch norm's epsilon": (
        lambda: NnxNormalized(nnx.Rngs(0), epsilon=1e-3), NORMALIZED, {}, "forward", "N1 (inference)",
    ),
    "dropout's rate": (lambda: LinenNormalized(rate=0.5), NORMALIZED, {}, "forward", "A1 (training)"),
    "layer norm's own epsilon": (NnxLayerNorm, LAYER_NORM, {}, "forward", "N1 (inference)"),
    "a GELU by tanh": (
        lambda rngs: NnxLayerNorm(rngs, 1e-5, approximate=True), LAYER_NORM, {}, "forward", "A1 (inference)",
    ),
    "another activation": (
        lambda key: own_equinox(key, jax.nn.relu), CONTROLS[nnx_with_adam], {}, "forward", "A1 (inference)",
    ),
    "the loss's sum": (
        (own_init, own_apply), CONTROLS[nnx_with_adam], {"loss": lambda z, y: cross_entropy(z, y).sum()}, "loss",
        "data_loss",
    ),
    "Adam's epsilon": (
        None, CONTROLS[nnx_with_adam], {"loss": None, "optimizer": optax.adam(0.01, eps=1e-4)}, "update", "W1",
    ),
    "Adam's decay for AdamW's": (
        None, CONTROLS[linen_with_adamw],
        {"loss": None, "optimizer": optax.chain(optax.add_decayed_weights(1e-4), optax.adam(0.01))}, "update",
        "second_moment of W1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "Adam's epsilon" else [SLOW]) for name in WRONG]
)
def test_wrong_ones_are_told_where_it_first_shows(name, judged):
    model, recipe, parts, check, tensor = WRONG[name]
    dtype = "float64" if model else "float32"
    found = judged(conformance.wrap_jax(model, **{"loss": cross_entropy, **parts}), recipe, dtype)
    assert next(check for check in ("forward", "loss", "gradients", "update") if check in found.wrong) == check
    assert tensor in found.wrong[check], found.causes


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=SLOW), "float32"])
def test_an_optimizer_alone_and_a_loss_alone_pass_what_they_offer(dtype, judged):
    recipe = CONTROLS[nnx_with_adam]
    optimizer = judged(conformance.wrap_jax(optimizer=optax.adam(0.01)), recipe, dtype)
    assert optimizer.wrong == {}, optimizer.causes
    assert optimizer.of("pass").keys() == {"update", "teacher_forced"}, optimizer.causes
    loss = judged(conformance.wrap_jax(loss=cross_entropy), recipe, dtype)
    assert loss.wrong == {}, loss.causes
    assert {"loss", "gradients"} <= loss.of("pass").keys(), loss.causes
    assert "update" not in loss.of("pass")


def test_ten_lines_do_for_a_model():
    """Three of them are imports."""
    lines = {made.__name__: len(inspect.getsource(made).splitlines()) - 1 for made in CONTROLS}
    assert max(lines.values()) + 3 <= 10, lines


def clipping_inside(limit):
    optimizer = optax.chain(optax.clip_by_global_norm(limit), optax.adam(0.01))
    return conformance.wrap_jax((own_init, own_apply), loss=cross_entropy, optimizer=optimizer)


CLIPPED = (
    PLAIN
    + 'optimizer = { dialect = "optax.adam", learning_rate = 0.01 }\n'
    + 'regularizers = [{ name = "clip_by_global_norm", limit = 1.0 }]'
)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "wrong"), [(1.0, set()), (0.5, {"teacher_forced", "free_running"})])
def test_clipping_inside_a_transformation_is_looked_at_in_the_training(judged, limit, wrong):
    """Gradients that the recipe's clipping leaves alone are clipped by a smaller limit, so that single steps see it."""
    found = judged(clipping_inside(limit), CLIPPED)
    assert found.wrong.keys() == wrong, found.causes
    assert "free_running" in found.of("pass") or wrong


def test_a_step_that_would_clip_is_not_held_against_one_that_does_not(prepared):
    session = clipping_inside(1.0).session(prepared(CLIPPED, "float64"))
    weights = {"w": np.zeros(3)}
    zeros = State(0, {slot: {"w": np.zeros(3)} for slot in ("first_moment", "second_moment")})
    moved, _ = session.optimizer_step(weights, {"w": np.full(3, 0.1)}, zeros, 0.01)
    assert (moved["w"] < 0).all()
    with pytest.raises(Unsupported, match="may clip inside, and a step of these gradients alone does not: give clip="):
        session.optimizer_step(weights, {"w": np.full(3, 10.0)}, zeros, 0.01)
