"""Faults of the initializers."""

from collections.abc import Mapping
from typing import Any

from conformance.faults.injection import Edit
from conformance.faults.mutant import Mutant
from conformance.recipes.factors import values_in

Change = tuple[str, str]  # old and new

WITH_UNIFORM = ("xavier_uniform", "he_uniform", "lecun_uniform")
WITH_FAN = ("xavier_normal", "xavier_uniform")
WITH_TRUNCATION = ("he_normal", "lecun_normal")
WITH_NORMAL = ("xavier_normal", *WITH_TRUNCATION)
HALF_AS_LARGE_AGAIN = {"initializer": {"name": "orthogonal", "gain": 1.5}}


def _fault(
    name: str,
    initializer: str,
    old: str,
    new: str,
    *,
    of: tuple[str, ...] | None = None,
    torch: Change | None = None,
    tf: Change | None = None,
    jax: Change | None = None,
    dtypes: tuple[str, ...] = ("float64", "float32"),
    settings: Mapping[str, Any] = {},
) -> Mutant:
    """``new`` for ``old`` where the recipe's ``initializer`` is the value of that name.

    ``of`` is this initializer if not said. ``torch``, ``tf``, ``jax``: the change where it does not read the same but
    for the key that JAX has in place of a generator.
    """
    in_jax = (old.replace("generator,", "key,"), new.replace("generator,", "key,"))
    changes = {"torch": torch or (old, new), "tf": tf or (old, new), "jax": jax or in_jax}
    component = values_in("initializer")[initializer]["initializer"]
    own = component if isinstance(component, str) else component["name"]
    return Mutant(
        name,
        "initializers.py",
        (Edit(old, new),),
        where={"initializer": initializer},
        checks=("initialization",),
        of=(own,) if of is None else of,
        dtypes=dtypes,
        settings=settings,
        elsewhere={implementation: (Edit(*change),) for implementation, change in changes.items()},
    )


_SCALES = (
    _fault(
        "zeros: small numbers in their place",
        "zeros",
        "np.zeros(shape, dtype)",
        "np.full(shape, 1e-8, dtype)",
        torch=("torch.zeros(shape, dtype", "torch.full(shape, 1e-8, dtype"),
        tf=("tf.zeros(shape, dtype or tf.float32)", "tf.fill(shape, tf.cast(1e-8, dtype or tf.float32))"),
        jax=("jnp.zeros(shape, dtype)", "jnp.full(shape, 1e-8, dtype)"),
    ),
    _fault(
        "scaled normal: the scale squared",
        "normal",
        "scale * generator.standard_normal(shape)",
        "scale**2 * generator.standard_normal(shape)",
        torch=("scale * _standard_normal(generator,", "scale**2 * _standard_normal(generator,"),
        tf=("scale * generator.normal(shape,", "scale**2 * generator.normal(shape,"),
        jax=("float(scale) * jax.random", "float(scale) ** 2 * jax.random"),
    ),
    _fault(
        "scaled normal: always float64",
        "normal",
        "(scale * generator.standard_normal(shape)).astype(dtype)",
        "scale * generator.standard_normal(shape)",
        torch=(
            "scale * _standard_normal(generator, shape, dtype)",
            "scale * _standard_normal(generator, shape, torch.float64)",
        ),
        tf=(
            "scale * generator.normal(shape, dtype=dtype or tf.float32)",
            "scale * generator.normal(shape, dtype=tf.float64)",
        ),
        jax=(
            "float(scale) * jax.random.normal(key, shape, dtype)",
            "np.asarray(float(scale) * jax.random.normal(key, shape, dtype), np.float64)",
        ),
        dtypes=("float32",),
    ),
    _fault(
        "xavier normal: fan-out in place of fan-in",
        "xavier normal",
        "_normal(generator, shape, 1 / _fan(shape, fan), False",
        "_normal(generator, shape, 1 / shape[0], False",
    ),
    _fault(
        "xavier normal: the average of the fans is fan-in",
        "xavier normal, average",
        'return n_in if fan == "fan_in" else (n_in + n_out) / 2',
        "return n_in",
        of=WITH_FAN,
    ),
    _fault(
        "xavier uniform: fan-in is the average of the fans",
        "xavier uniform, fan-in",
        'return n_in if fan == "fan_in" else (n_in + n_out) / 2',
        "return (n_in + n_out) / 2",
        of=(*WITH_UNIFORM, *WITH_NORMAL),
    ),
    _fault(
        "he normal: fan-out in place of fan-in",
        "he normal",
        'shape, 2 / _fan(shape, "fan_in"), truncated',
        "shape, 2 / shape[0], truncated",
    ),
    _fault(
        "he uniform: the variance of LeCun",
        "he uniform",
        '_uniform(generator, shape, 2 / _fan(shape, "fan_in")',
        '_uniform(generator, shape, 1 / _fan(shape, "fan_in")',
    ),
    _fault(
        "lecun normal: the variance of He",
        "lecun normal",
        'shape, 1 / _fan(shape, "fan_in"), truncated',
        'shape, 2 / _fan(shape, "fan_in"), truncated',
    ),
    _fault(
        "orthogonal: the gain forgotten",
        "orthogonal",
        "(gain * (q if n_out >= n_in else q.T)).astype",
        "(q if n_out >= n_in else q.T).astype",
        torch=("orthogonal_(empty, gain, generator", "orthogonal_(empty, generator"),
        tf=("gain * (q if", "(q if"),
        jax=("orthogonal(float(gain))(", "orthogonal()("),
        settings=HALF_AS_LARGE_AGAIN,
    ),
)

_DISTRIBUTIONS = (
    _fault(
        "xavier normal: uniform, of the same deviation",
        "xavier normal",
        "_normal(generator, shape, 1 / _fan(shape, fan), False, dtype)",
        "_uniform(generator, shape, 1 / _fan(shape, fan), dtype)",
    ),
    _fault(
        "he uniform: normal, of the same deviation",
        "he uniform",
        '_uniform(generator, shape, 2 / _fan(shape, "fan_in"), dtype)',
        '_normal(generator, shape, 2 / _fan(shape, "fan_in"), False, dtype)',
    ),
    _fault(
        "he normal: never truncated",
        "he normal, truncated",
        'shape, 2 / _fan(shape, "fan_in"), truncated',
        'shape, 2 / _fan(shape, "fan_in"), False',
    ),
    _fault(
        "he normal: always truncated",
        "he normal",
        'shape, 2 / _fan(shape, "fan_in"), truncated',
        'shape, 2 / _fan(shape, "fan_in"), True',
    ),
    _fault(
        "truncated normal: the deviation not restored",
        "lecun normal, truncated",
        "math.sqrt(variance) / TRUNCATED_DEVIATION *",
        "math.sqrt(variance) *",
        of=WITH_TRUNCATION,
    ),
    _fault(
        "uniform: the limit without the root of 3",
        "xavier uniform",
        "math.sqrt(3 * variance)",
        "math.sqrt(variance)",
        of=WITH_UNIFORM,
    ),
    _fault(
        "uniform: from 0 on",
        "lecun uniform",
        "uniform(-largest, largest, shape)",
        "uniform(0.0, 2 * largest, shape)",
        of=WITH_UNIFORM,
        torch=("uniform_(-largest, largest,", "uniform_(0.0, 2 * largest,"),
        tf=("uniform(shape, -largest, largest,", "uniform(shape, 0.0, 2 * largest,"),
        jax=("shape, dtype, -largest, largest)", "shape, dtype, 0.0, 2 * largest)"),
    ),
)

_MATRICES = (
    _fault(
        "normal: all units alike",
        "xavier normal, average",
        "drawn = generator.standard_normal(shape)",
        "drawn = np.tile(generator.standard_normal((1, shape[1])), (shape[0], 1))",
        of=WITH_NORMAL,
        torch=(
            "math.sqrt(variance) * _standard_normal(generator, shape, dtype)",
            "math.sqrt(variance) * _standard_normal(generator, (1, shape[1]), dtype).tile(shape[0], 1)",
        ),
        tf=(
            "math.sqrt(variance) * generator.normal(shape, dtype=dtype or tf.float32)",
            "math.sqrt(variance) * tf.tile(generator.normal((1, shape[1]), dtype=dtype or tf.float32), (shape[0], 1))",
        ),
        jax=(
            "math.sqrt(variance) * jax.random.normal(key, shape, dtype)",
            "math.sqrt(variance) * jnp.tile(jax.random.normal(key, (1, shape[1]), dtype), (shape[0], 1))",
        ),
    ),
    _fault(
        "orthogonal: normal, of the same deviation",
        "orthogonal",
        "q, r = np.linalg.qr(generator.standard_normal((max(n_out, n_in), min(n_out, n_in))))",
        "q = generator.standard_normal((max(n_out, n_in), min(n_out, n_in))) / math.sqrt(max(shape))\n    r = q",
        torch=(
            "return nn.init.orthogonal_(empty, gain, generator=generator)",
            "return nn.init.normal_(empty, std=gain / math.sqrt(max(shape)), generator=generator)",
        ),
        tf=("q, r = tf.linalg.qr(drawn)", "q = r = drawn / math.sqrt(max(shape))"),
        jax=(
            "return jax.nn.initializers.orthogonal(float(gain))(key, shape, dtype)",
            "return gain / math.sqrt(max(shape)) * jax.random.normal(key, shape, dtype)",
        ),
    ),
    _fault(
        "orthogonal: the signs of the library's QR",
        "orthogonal",
        "    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)\n",
        "",
        torch=(
            "return nn.init.orthogonal_(empty, gain, generator=generator)",
            "q = torch.linalg.qr(empty.new_empty(max(shape), min(shape)).normal_(generator=generator))[0]\n"
            "    return gain * (q if shape[0] >= shape[1] else q.T)",
        ),
        tf=("q = tf.where(tf.linalg.diag_part(r) < 0, -q, q)", ""),
        jax=(
            "return jax.nn.initializers.orthogonal(float(gain))(key, shape, dtype)",
            "q = jnp.linalg.qr(jax.random.normal(key, (max(shape), min(shape)), dtype))[0]\n"
            "    return gain * (q if shape[0] >= shape[1] else q.T)",
        ),
    ),
    _fault(
        "orthogonal: wide matrices left tall",
        "orthogonal",
        "(gain * (q if n_out >= n_in else q.T))",
        "(gain * q)",
        torch=(
            "return nn.init.orthogonal_(empty, gain, generator=generator)",
            "return nn.init.orthogonal_(empty.new_empty(max(shape), min(shape)), gain, generator=generator)",
        ),
        tf=("gain * (q if n_out >= n_in else tf.transpose(q))", "gain * q"),
        jax=("orthogonal(float(gain))(key, shape,", "orthogonal(float(gain))(key, (max(shape), min(shape)),"),
    ),
)

MUTANTS: tuple[Mutant, ...] = (*_SCALES, *_DISTRIBUTIONS, *_MATRICES)
