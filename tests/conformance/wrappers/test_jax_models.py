"""Models of every library as one thing: their parameters in the order of use, and what is seen and fed inside."""

from types import SimpleNamespace

import numpy as np
import pytest

jax = pytest.importorskip("jax")
eqx = pytest.importorskip("equinox")
pytest.importorskip("flax")

from flax import linen as nn  # noqa: E402  (after the checks that they are there)
from flax import nnx  # noqa: E402

from conformance.adapter import Unsupported  # noqa: E402
from conformance.wrappers.jax_calls import masks_fed  # noqa: E402
from conformance.wrappers.jax_models import is_seeded, read_model  # noqa: E402

PROBLEM = SimpleNamespace(train_x=np.zeros((4, 3), np.float32), dtype=np.dtype(np.float32))
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


class Nnx(nnx.Module):
    """Layers of one shape, called in another order than that of their names and of their making."""

    def __init__(self, rngs):
        self.a, self.c, self.b = (nnx.Linear(3, 3, rngs=rngs) for _ in range(3))
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.a(self.dropout(self.c(self.b(x))))


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(3, name="c")(nn.Dense(3, name="b")(x))
        return nn.Dense(3, name="a")(nn.Dropout(0.5, deterministic=not train)(x))


class Equinox(eqx.Module):
    a: eqx.nn.Linear
    b: eqx.nn.Linear
    c: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, key):
        self.a, self.b, self.c = (eqx.nn.Linear(3, 3, key=one) for one in jax.random.split(key, 3))
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, key):
        return self.a(self.dropout(self.c(self.b(x)), key=key))


@jax.jit
def apply(parameters, x):
    for name in "bca":
        x = x @ parameters[name].T + parameters[f"{name}_bias"]
    return x


PLAIN = {name: np.eye(3, dtype=np.float32) for name in "abc"} | {f"{n}_bias": np.ones(3, np.float32) for n in "abc"}


@pytest.mark.parametrize(
    ("given", "order", "inputs_first", "seeded"),
    [
        (Nnx, ["b.kernel", "b.bias", "c.kernel", "c.bias", "a.kernel", "a.bias"], True, True),
        (Nnx(nnx.Rngs(1)), ["b.kernel", "b.bias", "c.kernel", "c.bias", "a.kernel", "a.bias"], True, False),
        (Linen(), ["b.kernel", "b.bias", "c.kernel", "c.bias", "a.kernel", "a.bias"], True, True),
        (Equinox, ["b.weight", "b.bias", "c.weight", "c.bias", "a.weight", "a.bias"], False, True),
        ((PLAIN, apply), ["b", "b_bias", "c", "c_bias", "a", "a_bias"], False, False),
        ((lambda key, x: PLAIN, apply), ["b", "b_bias", "c", "c_bias", "a", "a_bias"], False, True),
    ],
    ids=["nnx", "made nnx", "linen", "equinox", "parameters", "init"],
)
def test_parameters_are_in_the_order_of_their_use_and_weights_as_they_are_multiplied_with(
    given, order, inputs_first, seeded
):
    net = read_model(given, PROBLEM, 0)
    assert (list(net.parameters), net.inputs_first, is_seeded(given)) == (order, inputs_first, seeded)


@pytest.mark.parametrize("given", [Nnx, Linen(), Equinox], ids=["nnx", "linen", "equinox"])
def test_layers_are_seen_and_dropout_takes_the_masks_in_training_alone(given):
    net = read_model(given, PROBLEM, 0)
    mask = np.arange(12).reshape(4, 3) % 3 > 0
    assert net.draws
    outputs = {}
    for training, masks in ((True, [mask]), (False, None)):
        ran = net.run(net.parameters, net.statistics, X, training=training, masks=masks)
        seen = {call.path: call for call in ran.calls}
        assert [path for path in seen if path not in net.dropouts] == ["b", "c", "a"]
        before, after = np.asarray(seen["c"].returned), np.asarray(seen["a"].given)
        np.testing.assert_allclose(after, before * mask / 0.5 if training else before, rtol=1e-6)
        np.testing.assert_array_equal(ran.outputs, seen["a"].returned)
        outputs[training] = np.asarray(ran.outputs)
    assert not np.array_equal(outputs[True], outputs[False])


def test_a_mask_of_another_shape_and_a_mask_too_many_are_told():
    with pytest.raises(Unsupported, match=r"a dropout mask of shape \(2, 2\): must be \(4, 3\)"), masks_fed([X > 0]):
        jax.random.bernoulli(jax.random.key(0), 0.5, (2, 2))
    with pytest.raises(Unsupported, match="draws more than the 0 dropout masks"), masks_fed([]):
        jax.random.bernoulli(jax.random.key(0), 0.5, X.shape)
    with pytest.raises(Unsupported, match="draws 0 of the 1 dropout masks"), masks_fed([X > 0]):
        pass


def test_what_is_no_model_is_refused_with_what_is_one():
    with pytest.raises(TypeError, match=r"model=3 is not allowed: must be a flax.nnx.Module, .* or a function that"):
        read_model(3, PROBLEM, 0)
