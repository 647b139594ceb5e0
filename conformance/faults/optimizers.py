"""Faults of the optimizers."""

from collections.abc import Mapping
from typing import Any

from conformance.faults.mutant import Mutant, edit
from conformance.recipes.factors import values_in

_Change = tuple[str, str]  # old and new

# What sees a fault of a formula; one that shows only after steps, or at rates, that no single update is tried with; one
# that only single updates reach, or only trainings in single steps, or only what runs freely. An epsilon is a fault of
# _UPDATE, whose gradients go down to 1e-10: whether a training sees it is a matter of how small its gradients are.
_STEPS = ("update", "teacher_forced", "free_running")
_TRAININGS = ("teacher_forced", "free_running")
_SINGLE_STEPS = ("update", "teacher_forced")
_UPDATE = ("update",)
_FORCED = ("teacher_forced",)
_FREE = ("free_running",)

_ADAMS = ("adam", "adamw")
_FALLING = {"schedule": "exponential"}
_LONGER = {"epochs": 4}  # 12 steps: RAdam's rectification begins in them
_CORRECTED_MEAN = {"name": "rmsprop", "centered": True, "bias_correction": True, "epsilon": 0.1}
_SMALL_VARIANCE = {
    "name": "rmsprop",
    "centered": True,
    "epsilon": 1e-4,
}  # 0 after 1000 equal gradients, but for rounding
_MOMENTUM_NOT_BETA = {"name": "rmsprop", "learning_rate": 0.003, "momentum": 0.8}
_NOT_CONVEX = {  # the change of step 8 has a negative curvature
    "dataset": {"name": "moons", "scaling": "none", "examples": 24, "test_examples": 12},
    "model": {"name": "shallow_network", "hidden_units": [5], "activation": "sigmoid"},
    "loss": "binary_cross_entropy",
    "initializer": "xavier_normal",
    "optimizer": {"name": "lbfgs", "learning_rate": 1.0},
    "epochs": 8,
    "seed": 3,
}
_MANY_PARAMETERS = {  # more than are updated at a time
    "dataset": {"name": "digits", "scaling": "unit", "examples": 30, "test_examples": 12},
    "model": {"name": "softmax_classifier", "hidden_units": [600], "activation": "tanh"},
    "loss": "categorical_cross_entropy",
}


def _fault(
    name: str,
    optimizer: str,
    checks: tuple[str, ...],
    old: str,
    new: str,
    *,
    of: tuple[str, ...] | None = None,
    where: Mapping[str, str] = {},
    settings: Mapping[str, Any] = {},
    dtypes: tuple[str, ...] = ("float64", "float32"),
    alike: tuple[str, ...] = (),
    torch: _Change | None = None,
    tf: _Change | None = None,
    jax: _Change | None = None,
) -> Mutant:
    """``new`` for ``old`` where the optimizer is the value of that name in ``factors.py``; ``of`` is this one if None.

    ``alike``: the implementations in which the change reads the same; ``torch``, ``tf``, ``jax``: how it does there.
    """
    said = {"torch": torch, "tf": tf, "jax": jax}
    changes = dict.fromkeys(alike, (old, new)) | {implementation: c for implementation, c in said.items() if c}
    return Mutant(
        name,
        "optimizers.py",
        edit(old, new),
        where={"optimizer": optimizer, **where},
        checks=checks,
        of=(values_in("optimizer")[optimizer]["optimizer"]["name"],) if of is None else of,
        dtypes=dtypes,
        settings=settings,
        elsewhere={implementation: edit(*change) for implementation, change in changes.items()},
    )


_EVERY = (
    _fault(
        "every optimizer: the rate of the step ignored", "momentum", _FORCED,
        "alpha = self.learning_rate if learning_rate is None else learning_rate", "alpha = self.learning_rate",
        of=(), where=_FALLING,
        tf=(
            "self.learning_rate if learning_rate is None else learning_rate, tf.float64",
            "self.learning_rate, tf.float64",
        ),
        jax=("own_rate(state.step) if learning_rate is None else learning_rate", "own_rate(state.step)"),
    ),
    _fault(
        "every optimizer: steps counted one ahead", "adamw", _SINGLE_STEPS,
        "self.update_array(w, gradients[name], array_slots, state.step + 1, alpha)",
        "self.update_array(w, gradients[name], array_slots, state.step + 2, alpha)",
        of=(),
        torch=('state["step"] += 1', 'state["step"] += 2'),
        tf=("tf.cast(self.step.assign_add(1), tf.float64)", "tf.cast(self.step.assign_add(1) + 1, tf.float64)"),
        jax=("jnp.asarray(state.step + 1, g.dtype)", "jnp.asarray(state.step + 2, g.dtype)"),
    ),
    _fault(
        "every optimizer: the first parameter's state for all", "momentum", _SINGLE_STEPS,
        "{slot: slots[slot][name] for slot in slots}", "{slot: next(iter(slots[slot].values())) for slot in slots}",
        of=(),
        tf=("{slot: variables[name] for", "{slot: next(iter(variables.values())) for"),
        jax=("jnp.asarray(arrays[i])", "jnp.asarray(arrays[0])"),
    ),
    _fault(
        "every optimizer: the state of the step before forgotten", "momentum", _SINGLE_STEPS,
        "{name: s.copy() for name, s in arrays.items()}", "{name: np.zeros_like(s) for name, s in arrays.items()}",
        of=(),
    ),
    _fault(
        "every optimizer: every chunk with the state of the first", "momentum", _FREE,
        "{slot: s[chunk] for slot, s in slots.items()}", "{slot: s[: len(w[chunk])] for slot, s in slots.items()}",
        of=(), settings=_MANY_PARAMETERS,
    ),
    _fault(
        "every optimizer: the last, smaller chunk left as it is", "momentum", _FREE,
        "range(0, w.size, CHUNK)", "range(0, w.size - CHUNK + 1, CHUNK)",
        of=(),
    ),
)  # fmt: skip

_GRADIENT_DESCENT = (
    _fault(
        "gradient descent: ascent", "gradient descent", _STEPS,
        "w -= alpha * g\n\n    return Optimizer(learning_rate, {}, update_array)",
        "w += alpha * g\n\n    return Optimizer(learning_rate, {}, update_array)",
        torch=("lr=learning_rate, fused=True)", "lr=learning_rate, fused=True, maximize=True)"),
        tf=("w.assign_sub(_rounded(alpha, w) * g)", "w.assign_add(_rounded(alpha, w) * g)"),
    ),
    _fault(
        "gradient descent: along the sign of the gradient", "gradient descent", _STEPS,
        "w -= alpha * g\n\n    return Optimizer(learning_rate, {}, update_array)",
        "w -= alpha * np.sign(g)\n\n    return Optimizer(learning_rate, {}, update_array)",
        tf=("w.assign_sub(_rounded(alpha, w) * g)", "w.assign_sub(_rounded(alpha, w) * tf.sign(g))"),
        jax=("return -alpha * g, {}", "return -alpha * jnp.sign(g), {}"),
    ),
)  # fmt: skip

_MOMENTUM = (
    _fault(
        "momentum: a sum where the average is meant", "momentum", _STEPS,
        'gain = 1 - beta if accumulation == "average" else 1.0', "gain = 1.0",
        alike=("tf", "jax"),
        torch=('gain = 1 - beta if group["accumulation"] == "average" else 1.0', "gain = 1.0"),
    ),
    _fault(
        "momentum: an average where the sum is meant", "momentum, sum, rate inside", _STEPS,
        'gain = 1 - beta if accumulation == "average" else 1.0', "gain = 1 - beta",
        alike=("tf", "jax"),
        torch=('gain = 1 - beta if group["accumulation"] == "average" else 1.0', "gain = 1 - beta"),
    ),
    _fault(
        "momentum: the gradient decays with the velocity", "momentum", _STEPS,
        "v *= beta\n        v += contribution", "v += contribution\n        v *= beta",
        torch=("v.mul_(beta).add_(contribution)", "v.add_(contribution).mul_(beta)"),
        tf=('beta * slots["velocity"] + contribution', 'beta * (slots["velocity"] + contribution)'),
    ),
    _fault(
        "momentum: velocity never decays", "momentum", _STEPS,
        "v *= beta\n        v += contribution", "v += contribution",
        torch=("v.mul_(beta).add_(contribution)", "v.add_(contribution)"),
    ),
    _fault(
        "momentum: not Nesterov's", "momentum, Nesterov", _STEPS,
        "direction = beta * v + contribution if nesterov else v", "direction = v",
        alike=("tf", "jax"),
        torch=('direction = beta * v + contribution if group["nesterov"] else v', "direction = v"),
    ),
    _fault(
        "momentum: Nesterov's look-ahead twice", "momentum, Nesterov", _STEPS,
        "beta * v + contribution if", "beta * (beta * v + contribution) + contribution if",
        alike=("torch", "tf", "jax"),
    ),
    _fault(
        "momentum: Nesterov's look-ahead with the whole gradient", "momentum, Nesterov", _STEPS,
        "beta * v + contribution if", "beta * v + g if",
    ),
    _fault(
        "momentum: no bias correction", "momentum, bias-corrected", _STEPS,
        "        if bias_correction:\n            direction = direction / _one_minus_power(beta, t)\n", "",
        alike=("jax",),
    ),
    _fault(
        "momentum: bias correction one step late", "momentum, bias-corrected", _STEPS,
        "direction / _one_minus_power(beta, t)", "direction / _one_minus_power(beta, max(t - 1, 1))",
        alike=("torch",),
    ),
    _fault(
        "momentum: bias correction one step early", "momentum, bias-corrected", _STEPS,
        "direction / _one_minus_power(beta, t)", "direction / _one_minus_power(beta, t + 1)",
        alike=("torch",),
        tf=(
            "direction / _rounded(_one_minus_power(beta, t), w)",
            "direction / _rounded(_one_minus_power(beta, t + 1), w)",
        ),
    ),
    _fault(
        "momentum: the corrected velocity kept", "momentum, bias-corrected", _STEPS,
        "direction = direction / _one_minus_power(beta, t)", "direction /= _one_minus_power(beta, t)",
        torch=("direction = direction / _one_minus_power(beta, t)", "direction.div_(_one_minus_power(beta, t))"),
    ),
    _fault(
        "momentum: rate inside the velocity where outside is meant", "momentum", _STEPS,
        'else 1.0\n    inside = learning_rate_position == "inside"', "else 1.0\n    inside = True",
        where=_FALLING, alike=("tf", "jax"),
    ),
    _fault(
        "momentum: rate outside the velocity where inside is meant", "momentum, sum, rate inside", _STEPS,
        'else 1.0\n    inside = learning_rate_position == "inside"', "else 1.0\n    inside = False",
        where=_FALLING, alike=("tf", "jax"),
    ),
    _fault(
        "momentum: rate inside the velocity and outside", "momentum, sum, rate inside", _STEPS,
        "w -= direction if inside else alpha * direction", "w -= alpha * direction",
        torch=("w.sub_(direction if inside else alpha * direction)", "w.sub_(alpha * direction)"),
    ),
)  # fmt: skip

_RMSPROP = (
    _fault(
        "rmsprop: the whole square, not 1 - beta of it", "rmsprop", _STEPS,
        "s += (1 - beta) * g * g", "s += g * g",
        tf=('slots["square_average"] + (1 - beta) * g * g', 'slots["square_average"] + g * g'),
        jax=('slots["square_average"] + (1 - beta) * g * g', 'slots["square_average"] + g * g'),
    ),
    _fault(
        "rmsprop: 1 - beta twice", "rmsprop, epsilon inside", _STEPS,
        "s += (1 - beta) * g * g", "s += (1 - beta) ** 2 * g * g",
        torch=("s.mul_(beta).addcmul_(g, g, value=1 - beta)", "s.mul_(beta).addcmul_(g, g, value=(1 - beta) ** 2)"),
    ),
    _fault(
        "rmsprop: the gradient's size, not its square", "rmsprop", _STEPS,
        "s += (1 - beta) * g * g", "s += (1 - beta) * np.abs(g)",
    ),
    _fault(
        "rmsprop: the square decays with the average", "rmsprop", _STEPS,
        "s *= beta\n        s += (1 - beta) * g * g", "s += (1 - beta) * g * g\n        s *= beta",
    ),
    _fault(
        "rmsprop: no root", "rmsprop", _STEPS,
        "np.sqrt(variance) + epsilon", "variance + epsilon",
        tf=("tf.sqrt(variance) + epsilon", "variance + epsilon"),
    ),
    _fault(
        "rmsprop: no epsilon", "rmsprop", _UPDATE,
        "np.sqrt(variance) + epsilon", "np.sqrt(variance)",
        torch=("alpha=beta, eps=epsilon", "alpha=beta, eps=0.0"),
        tf=("tf.sqrt(variance) + epsilon", "tf.sqrt(variance)"),
        jax=("jnp.sqrt(variance) + epsilon", "jnp.sqrt(variance)"),
    ),
    _fault(
        "rmsprop: epsilon inside the root where outside is meant", "rmsprop", _UPDATE,
        "np.sqrt(variance) + epsilon", "np.sqrt(variance + epsilon)",
        tf=("tf.sqrt(variance) + epsilon", "tf.sqrt(variance + epsilon)"),
        jax=("jnp.sqrt(variance) + epsilon", "jnp.sqrt(variance + epsilon)"),
    ),
    _fault(
        "rmsprop: epsilon outside the root where inside is meant", "rmsprop, epsilon inside", _UPDATE,
        "np.sqrt(variance + epsilon)", "np.sqrt(variance) + epsilon",
        torch=('(variance + group["epsilon"]).sqrt()', '(variance.sqrt() + group["epsilon"])'),
        tf=("tf.sqrt(variance + epsilon)", "tf.sqrt(variance) + epsilon"),
        jax=("jnp.sqrt(variance + epsilon)", "jnp.sqrt(variance) + epsilon"),
    ),
    _fault(
        "rmsprop: centred without the mean", "rmsprop, centred", _STEPS,
        "np.maximum(variance - (c / correction) ** 2, 0.0)", "variance",
        torch=("(variance - (c / correction).square()).clamp(min=0)", "variance"),
        tf=("tf.maximum(variance - tf.square(c / correction), 0.0)", "variance"),
    ),
    _fault(
        "rmsprop: centred by the mean, not its square", "rmsprop, centred", _STEPS,
        "(c / correction) ** 2", "np.abs(c / correction)",
        torch=("(c / correction).square()", "(c / correction).abs()"),
        tf=("tf.square(c / correction)", "tf.abs(c / correction)"),
        jax=("(c / correction) ** 2", "jnp.abs(c / correction)"),
    ),
    _fault(
        "rmsprop: variance may fall below 0", "rmsprop, centred", _UPDATE,
        "np.maximum(variance - (c / correction) ** 2, 0.0)", "variance - (c / correction) ** 2",
        settings={"optimizer": _SMALL_VARIANCE, "seed": 3},
    ),
    _fault(
        "rmsprop: the mean not corrected for its start", "rmsprop", _STEPS,
        "(c / correction) ** 2", "c**2",
        settings={"optimizer": _CORRECTED_MEAN},
        torch=("(c / correction).square()", "c.square()"),
        tf=("tf.square(c / correction)", "tf.square(c)"),
        jax=("(c / correction) ** 2", "c**2"),
    ),
    _fault(
        "rmsprop: no bias correction", "rmsprop, bias-corrected", _STEPS,
        "_one_minus_power(beta, t) if bias_correction else 1.0", "1.0",
        alike=("tf", "jax"),
        torch=('_one_minus_power(beta, t) if group["bias_correction"] else 1.0', "1.0"),
    ),
    _fault(
        "rmsprop: bias correction one step early", "rmsprop, bias-corrected", _STEPS,
        "_one_minus_power(beta, t) if bias_correction else 1.0",
        "_one_minus_power(beta, t + 1) if bias_correction else 1.0",
        alike=("tf", "jax"),
    ),
    _fault(
        "rmsprop: momentum decays like the square", "rmsprop", _STEPS,
        "u *= momentum", "u *= beta",
        settings={"optimizer": _MOMENTUM_NOT_BETA},
        tf=('momentum * slots["velocity"]', 'beta * slots["velocity"]'),
        jax=('momentum * slots["velocity"]', 'beta * slots["velocity"]'),
    ),
    _fault(
        "rmsprop: momentum an average", "rmsprop, momentum", _STEPS,
        "u += alpha * ratio if inside else ratio", "u += (1 - momentum) * (alpha * ratio if inside else ratio)",
    ),
    _fault(
        "rmsprop: rate inside the velocity where outside is meant", "rmsprop, momentum", _STEPS,
        'must be 0")\n    inside = learning_rate_position == "inside"', 'must be 0")\n    inside = True',
        where=_FALLING, alike=("tf",),
    ),
    _fault(
        "rmsprop: rate outside the velocity where inside is meant", "rmsprop, momentum, rate inside", _STEPS,
        'must be 0")\n    inside = learning_rate_position == "inside"', 'must be 0")\n    inside = False',
        where=_FALLING, alike=("tf",),
    ),
    _fault(
        "rmsprop: square from 0", "rmsprop, square from 1", _FREE,
        '{"square_average": initial_square}', '{"square_average": 0.0}',
        alike=("tf", "jax"),
        torch=('{"square_average": group["initial_square"]}', '{"square_average": 0.0}'),
    ),
)  # fmt: skip

_ADAGRAD = (
    _fault(
        "adagrad: squares not summed", "adagrad", _STEPS,
        "s += g * g", "s[...] = g * g",
        tf=('slots["square_sum"] + g * g', "g * g"),
    ),
    _fault(
        "adagrad: a mean of the squares", "adagrad", _STEPS,
        "s += g * g", "s += (g * g - s) / t",
    ),
    _fault(
        "adagrad: sizes summed, not squares", "adagrad", _STEPS,
        "s += g * g", "s += np.abs(g)",
    ),
    _fault(
        "adagrad: no root", "adagrad", _STEPS,
        "np.sqrt(s) + epsilon if", "s + epsilon if",
        tf=("tf.sqrt(s) + epsilon if", "s + epsilon if"),
        jax=("jnp.sqrt(s) + epsilon if", "s + epsilon if"),
    ),
    _fault(
        "adagrad: no epsilon", "adagrad", _UPDATE,
        "np.sqrt(s) + epsilon if", "np.sqrt(s) if",
        torch=("eps=epsilon, foreach=True, **start", "eps=0.0, foreach=True, **start"),
        tf=("tf.sqrt(s) + epsilon if", "tf.sqrt(s) if"),
        jax=("jnp.sqrt(s) + epsilon if", "jnp.sqrt(s) if"),
    ),
    _fault(
        "adagrad: epsilon inside the root where outside is meant", "adagrad", _UPDATE,
        "np.sqrt(s) + epsilon if", "np.sqrt(s + epsilon) if",
        jax=("jnp.sqrt(s) + epsilon if", "jnp.sqrt(s + epsilon) if"),
    ),
    _fault(
        "adagrad: epsilon outside the root where inside is meant", "adagrad, epsilon inside", _UPDATE,
        "np.sqrt(s + epsilon)\n", "np.sqrt(s) + epsilon\n",
        dtypes=("float64",),
        torch=("(s + epsilon).sqrt()", "s.sqrt() + epsilon"),
    ),
    _fault(
        "adagrad: sum from 0", "adagrad, epsilon inside", _FREE,
        '{"square_sum": initial_accumulator}', '{"square_sum": 0.0}',
        alike=("tf",),
        torch=('{"square_sum": group["initial_accumulator"]}', '{"square_sum": 0.0}'),
    ),
)  # fmt: skip

_ADADELTA = (
    _fault(
        "adadelta: the square added after the step", "adadelta", _STEPS,
        "        s += (1 - rho) * g * g\n        step = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g\n",
        "        step = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g\n        s += (1 - rho) * g * g\n",
    ),
    _fault(
        "adadelta: the step's average of squared gradients", "adadelta", _STEPS,
        "d += (1 - rho) * step * step", "d += (1 - rho) * g * g",
        tf=("(1 - rho) * step * step", "(1 - rho) * g * g"),
        jax=("(1 - rho) * step * step", "(1 - rho) * g * g"),
    ),
    _fault(
        "adadelta: the step's average decays before the step", "adadelta", _STEPS,
        "        step = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g\n        d *= rho\n",
        "        d *= rho\n        step = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g\n",
    ),
    _fault(
        "adadelta: averages with the rate in them", "adadelta", _STEPS,
        "step = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g",
        "step = alpha * np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g",
        where=_FALLING, settings={"optimizer": {"name": "adadelta", "learning_rate": 0.5}},
    ),
    _fault(
        "adadelta: no root of the step's average", "adadelta", _STEPS,
        "np.sqrt(d + epsilon) /", "(d + epsilon) /",
        tf=("tf.sqrt(d + epsilon) /", "(d + epsilon) /"),
        jax=('jnp.sqrt(slots["squared_update_average"] + epsilon) /', '(slots["squared_update_average"] + epsilon) /'),
    ),
    _fault(
        "adadelta: epsilon outside the roots", "adadelta", _STEPS,
        "np.sqrt(d + epsilon) / np.sqrt(s + epsilon)", "(np.sqrt(d) + epsilon) / (np.sqrt(s) + epsilon)",
        tf=("tf.sqrt(d + epsilon) / tf.sqrt(s + epsilon)", "(tf.sqrt(d) + epsilon) / (tf.sqrt(s) + epsilon)"),
    ),
    _fault(
        "adadelta: epsilon in the denominator alone", "adadelta", _STEPS,
        "np.sqrt(d + epsilon) /", "np.sqrt(d) /",
    ),
    _fault(
        "adadelta: epsilon in the numerator alone", "adadelta", _UPDATE,
        "np.sqrt(s + epsilon) * g", "np.sqrt(s) * g",
    ),
)  # fmt: skip

_ADAM = (
    _fault(
        "adam: no bias correction", "adamw", _STEPS,
        "correction1, correction2 = _one_minus_power(beta1, t), _one_minus_power(beta2, t)",
        "correction1 = correction2 = 1.0",
        of=_ADAMS, alike=("torch", "jax"),
        tf=(
            "correction1, correction2 = _one_minus_power(beta1, t), _one_minus_power(beta2, t)",
            "correction1 = correction2 = tf.ones_like(t)",
        ),
    ),
    _fault(
        "adam: bias correction one step late", "adamw", _STEPS,
        "_one_minus_power(beta1, t), _one_minus_power(beta2, t)",
        "_one_minus_power(beta1, max(t - 1, 1)), _one_minus_power(beta2, max(t - 1, 1))",
        of=_ADAMS, alike=("torch",),
    ),
    _fault(
        "adam: bias correction one step early", "adamw", _STEPS,
        "_one_minus_power(beta1, t), _one_minus_power(beta2, t)",
        "_one_minus_power(beta1, t + 1), _one_minus_power(beta2, t + 1)",
        of=_ADAMS, alike=("torch", "tf"),
    ),
    _fault(
        "adam: bias correction of the first moment alone", "adamw", _STEPS,
        "v_hat = v / correction2", "v_hat = v",
        of=_ADAMS, alike=("torch", "jax"),
        tf=("v_hat = v / _rounded(correction2, w)", "v_hat = v"),
    ),
    _fault(
        "adam: bias correction of the second moment alone", "adamw", _STEPS,
        "alpha / correction1 * m", "alpha * m",
        of=_ADAMS, alike=("torch", "jax"),
        tf=("_rounded(alpha / correction1, w) * m", "_rounded(alpha, w) * m"),
    ),
    _fault(
        "adam: betas swapped", "adamw", _STEPS,
        "def _adam_step(w, g, slots, t, alpha, beta1, beta2,", "def _adam_step(w, g, slots, t, alpha, beta2, beta1,",
        of=_ADAMS, alike=("tf",),
        torch=(
            'group["lr"], group["beta1"], group["beta2"], group["epsilon"]',
            'group["lr"], group["beta2"], group["beta1"], group["epsilon"]',
        ),
        jax=("def _adam_step(beta1, beta2,", "def _adam_step(beta2, beta1,"),
    ),
    _fault(
        "adam: the whole gradient, not 1 - beta1 of it", "adamw", _STEPS,
        "m += (1 - beta1) * g\n    v", "m += g\n    v",
        of=_ADAMS,
    ),
    _fault(
        "adam: 1 - beta1 twice", "adamw", _STEPS,
        "m += (1 - beta1) * g\n    v", "m += (1 - beta1) ** 2 * g\n    v",
        of=_ADAMS,
    ),
    _fault(
        "adam: the whole square, not 1 - beta2 of it", "adamw", _STEPS,
        "v += (1 - beta2) * g * g\n    v_hat", "v += g * g\n    v_hat",
        of=_ADAMS,
    ),
    _fault(
        "adam: the gradient's size, not its square", "adamw", _STEPS,
        "v += (1 - beta2) * g * g\n    v_hat", "v += (1 - beta2) * np.abs(g)\n    v_hat",
        of=_ADAMS,
    ),
    _fault(
        "adam: the square of the first moment, not of the gradient", "adamw", _STEPS,
        "v += (1 - beta2) * g * g\n    v_hat", "v += (1 - beta2) * m * m\n    v_hat",
        of=_ADAMS,
    ),
    _fault(
        "adam: the gradient, not the first moment", "adamw", _STEPS,
        "alpha / correction1 * m / denominator", "alpha * g / denominator",
        of=_ADAMS,
    ),
    _fault(
        "adam: no root", "adamw", _STEPS,
        "np.sqrt(v_hat) + epsilon\n", "v_hat + epsilon\n",
        of=_ADAMS,
        torch=("v_hat.sqrt() + epsilon\n", "v_hat + epsilon\n"),
        tf=("tf.sqrt(v_hat) + epsilon\n", "v_hat + epsilon\n"),
    ),
    _fault(
        "adam: no epsilon", "adam", _UPDATE,
        "np.sqrt(v_hat) + epsilon\n", "np.sqrt(v_hat)\n",
        of=_ADAMS,
        torch=("betas=betas, eps=epsilon", "betas=betas, eps=0.0"),
        tf=("tf.sqrt(v_hat) + epsilon\n", "tf.sqrt(v_hat)\n"),
        jax=("jnp.sqrt(v_hat) + epsilon\n", "jnp.sqrt(v_hat)\n"),
    ),
    _fault(
        "adam: epsilon inside the root where outside is meant", "adamw", _UPDATE,
        "np.sqrt(v_hat) + epsilon\n", "np.sqrt(v_hat + epsilon)\n",
        of=_ADAMS,
        torch=("v_hat.sqrt() + epsilon\n", "(v_hat + epsilon).sqrt()\n"),
        tf=("tf.sqrt(v_hat) + epsilon\n", "tf.sqrt(v_hat + epsilon)\n"),
        jax=("jnp.sqrt(v_hat) + epsilon\n", "jnp.sqrt(v_hat + epsilon)\n"),
    ),
    _fault(
        "adam: epsilon-hat where epsilon outside is meant", "adamw", _UPDATE,
        "np.sqrt(v_hat) + epsilon\n", "np.sqrt(v_hat) + epsilon / math.sqrt(correction2)\n",
        of=_ADAMS,
        torch=("v_hat.sqrt() + epsilon\n", "v_hat.sqrt() + epsilon / math.sqrt(correction2)\n"),
        jax=("jnp.sqrt(v_hat) + epsilon\n", "jnp.sqrt(v_hat) + epsilon / jnp.sqrt(correction2)\n"),
    ),
    _fault(
        "adam: epsilon outside the root where inside is meant", "adamw, epsilon inside", _UPDATE,
        "np.sqrt(v_hat + epsilon)", "np.sqrt(v_hat) + epsilon",
        of=_ADAMS,
        torch=("(v_hat + epsilon).sqrt()", "v_hat.sqrt() + epsilon"),
        tf=("tf.sqrt(v_hat + epsilon)", "tf.sqrt(v_hat) + epsilon"),
    ),
    _fault(
        "adam: epsilon inside the root corrected too", "adamw, epsilon inside", _UPDATE,
        "np.sqrt(v_hat + epsilon)", "np.sqrt(v_hat + epsilon / correction2)",
        of=_ADAMS,
    ),
    _fault(
        "adam: epsilon outside where epsilon-hat is meant", "adamw, epsilon-hat", _UPDATE,
        "epsilon / math.sqrt(correction2)", "epsilon",
        of=_ADAMS,
        torch=("epsilon / math.sqrt(correction2)", "epsilon"),
        tf=("_rounded(epsilon / tf.sqrt(correction2), w)", "epsilon"),
        jax=("epsilon / jnp.sqrt(correction2)", "epsilon"),
    ),
    _fault(
        "adam: epsilon-hat corrected without the root", "adamw, epsilon-hat", _UPDATE,
        "epsilon / math.sqrt(correction2)", "epsilon / correction2",
        of=_ADAMS,
    ),
    _fault(
        "amsgrad: no maximum", "adamw, corrected maximum", _STEPS,
        "np.maximum(x, v_hat if", "np.maximum(0.0, v_hat if",
        of=_ADAMS,
        torch=("torch.maximum(x, v_hat if", "torch.maximum(torch.zeros_like(x), v_hat if"),
        tf=('tf.maximum(slots["maximum_second_moment"], v_hat if', "tf.maximum(tf.zeros_like(v), v_hat if"),
        jax=('jnp.maximum(slots["maximum_second_moment"], v_hat if', "jnp.maximum(0.0, v_hat if"),
    ),
    _fault(
        "amsgrad: maximum of the corrected moment where the raw is meant", "adamw, raw maximum", _STEPS,
        'v_hat if amsgrad == "corrected_max" else v,', "v_hat,",
        of=_ADAMS, alike=("torch",),
        tf=('v_hat if amsgrad == "corrected_max" else v)', "v_hat)"),
        jax=('v_hat if amsgrad == "corrected_max" else v)', "v_hat)"),
    ),
    _fault(
        "amsgrad: maximum of the raw moment where the corrected is meant", "adamw, corrected maximum", _STEPS,
        'v_hat if amsgrad == "corrected_max" else v,', "v,",
        of=_ADAMS, alike=("torch",),
        tf=('v_hat if amsgrad == "corrected_max" else v)', "v)"),
    ),
    _fault(
        "amsgrad: maximum not kept", "adamw, raw maximum", _STEPS,
        'np.maximum(x, v_hat if amsgrad == "corrected_max" else v, out=x)',
        'x = np.maximum(x, v_hat if amsgrad == "corrected_max" else v)',
        of=_ADAMS,
        tf=('slots["maximum_second_moment"].assign(x)', "pass"),
    ),
    _fault(
        "amsgrad: raw maximum not corrected", "adamw, raw maximum", _STEPS,
        'x if amsgrad == "corrected_max" else x / correction2', "x",
        of=_ADAMS, alike=("torch", "jax"),
    ),
    _fault(
        "amsgrad: maximum kept but not used", "adamw, corrected maximum", _STEPS,
        'v_hat = x if amsgrad == "corrected_max" else x / correction2', "pass",
        of=_ADAMS, alike=("torch", "jax"),
    ),
    _fault(
        "amsgrad: moments corrected where they are not to be", "adamw, uncorrected", _STEPS,
        '    if amsgrad == "uncorrected":\n        correction1 = correction2 = 1.0\n', "",
        of=_ADAMS,
    ),
)  # fmt: skip

_ADAMW = (
    _fault(
        "adamw: no decay", "adamw", _STEPS,
        " * weight_decay * w\n", " * 0.0 * w\n",
        torch=('group["weight_decay"] * w)\n        super()', "0.0 * w)\n        super()"),
        jax=("return update - alpha * decay * w, slots", "return update, slots"),
    ),
    _fault(
        "adamw: decay coupled with the gradient", "adamw", _STEPS,
        "weight_decay * w\n        _adam_step(w, g,", "0.0 * w\n        _adam_step(w, g + weight_decay * w,",
    ),
    _fault(
        "adamw: decay without the rate", "adamw", _STEPS,
        'w -= (alpha if decay_scale == "learning_rate" else alpha / learning_rate) * weight_decay * w',
        "w -= weight_decay * w",
        torch=(
            'w.sub_(group["lr"] / group["decay_unit"] * group["weight_decay"] * w)',
            'w.sub_(group["weight_decay"] * w)',
        ),
        tf=("_rounded(scale * weight_decay, w) * w", "_rounded(weight_decay, w) * w"),
        jax=("update - alpha * decay * w", "update - decay * w"),
    ),
    _fault(
        "adamw: decay of the wrong sign", "adamw", _STEPS,
        'w -= (alpha if decay_scale == "learning_rate"', 'w += (alpha if decay_scale == "learning_rate"',
        torch=('w.sub_(group["lr"] / group["decay_unit"]', 'w.add_(group["lr"] / group["decay_unit"]'),
        tf=("w.assign_sub(_rounded(scale", "w.assign_add(_rounded(scale"),
        jax=("update - alpha * decay * w", "update + alpha * decay * w"),
    ),
    _fault(
        "adamw: decay after the step", "adamw", _STEPS,
        '        w -= (alpha if decay_scale == "learning_rate" else alpha / learning_rate) * weight_decay * w\n'
        "        _adam_step(w, g, slots, t, alpha, beta1, beta2, epsilon, epsilon_position, amsgrad)\n",
        "        _adam_step(w, g, slots, t, alpha, beta1, beta2, epsilon, epsilon_position, amsgrad)\n"
        '        w -= (alpha if decay_scale == "learning_rate" else alpha / learning_rate) * weight_decay * w\n',
        torch=(
            'w.sub_(group["lr"] / group["decay_unit"] * group["weight_decay"] * w)\n'
            "        super().update(w, g, state, group)",
            "super().update(w, g, state, group)\n"
            '        w.sub_(group["lr"] / group["decay_unit"] * group["weight_decay"] * w)',
        ),
        jax=("update - alpha * decay * w", "update - alpha * decay * (w + update)"),
    ),
    _fault(
        "adamw: decay by the rate where the schedule alone is meant", "adamw, decay by schedule", _STEPS,
        "alpha / learning_rate) * weight_decay", "alpha) * weight_decay",
        torch=('1.0 if decay_scale == "learning_rate" else learning_rate', "1.0"),
        tf=('alpha if decay_scale == "learning_rate" else alpha / learning_rate', "alpha"),
    ),
    _fault(
        "adamw: decay without the schedule", "adamw, decay by schedule", _TRAININGS,
        "alpha / learning_rate) * weight_decay", "1.0) * weight_decay",
        where=_FALLING,
        tf=("else alpha / learning_rate", "else 1.0"),
    ),
)  # fmt: skip

_NADAM = (
    _fault(
        "nadam: another base of the schedule", "nadam", _STEPS,
        "0.96 ** (", "0.95 ** (",
        torch=("0.96 ** (s", "0.95 ** (s"),
        tf=("* 0.96 ** (", "* 0.95 ** ("),
    ),
    _fault(
        "nadam: no half in the schedule", "nadam", _STEPS,
        "1 - 0.5 * 0.96", "1 - 0.96",
        alike=("torch", "tf"),
        jax=("return 0.5 * jnp.exp", "return jnp.exp"),
    ),
    _fault(
        "nadam: a schedule that stands still", "nadam", _STEPS,
        "0.96 ** (t * momentum_decay)", "0.96**momentum_decay",
    ),
    _fault(
        "nadam: product of the momenta not kept", "nadam", _STEPS,
        "p *= mu(t)", "p = p * mu(t)",
        torch=('state["momentum_product"].mul_(mu)', 'state["momentum_product"] * mu'),
        tf=('slots["momentum_product"].assign(p)', "pass"),
    ),
    _fault(
        "nadam: no product of the momenta", "nadam", _STEPS,
        "p *= mu(t)", "p[...] = mu(t)",
        jax=('slots["momentum_product"] * mu\n', 'jnp.full_like(slots["momentum_product"], mu)\n'),
    ),
    _fault(
        "nadam: this step's momentum for the next one's", "nadam", _UPDATE,
        "m_hat = mu(t + 1) * m / (1 - p * mu(t + 1))", "m_hat = mu(t) * m / (1 - p * mu(t))",
        torch=("next_mu * m / (1 - next_mu * p)", "mu * m / (1 - mu * p)"),
        jax=("next_mu * m / (1 - p * next_mu)", "mu * m / (1 - p * mu)"),
    ),
    _fault(
        "nadam: next momentum missing from the correction", "nadam", _STEPS,
        "(1 - p * mu(t + 1))", "(1 - p)",
        torch=("(1 - next_mu * p)", "(1 - p)"),
        tf=("(1 - p * ahead)", "(1 - p)"),
    ),
    _fault(
        "nadam: the gradient's part by beta1, not the schedule", "nadam", _STEPS,
        "(1 - mu(t)) * g", "(1 - beta1) * g",
        jax=("one_minus_mu * g", "(1 - beta1) * g"),
    ),
    _fault(
        "nadam: the gradient's part not corrected", "nadam", _STEPS,
        "(1 - mu(t)) * g / (1 - p)", "(1 - mu(t)) * g",
    ),
    _fault(
        "nadam: not Nesterov's", "nadam", _STEPS,
        "m_hat = mu(t + 1) * m / (1 - p * mu(t + 1)) + (1 - mu(t)) * g / (1 - p)", "m_hat = m / (1 - p)",
    ),
    _fault(
        "nadam: second moment not corrected", "nadam", _STEPS,
        "np.sqrt(v / _one_minus_power(beta2, t)) + epsilon)\n\n    slots", "np.sqrt(v) + epsilon)\n\n    slots",
    ),
    _fault(
        "nadam: epsilon inside the root", "nadam", _UPDATE,
        "(np.sqrt(v / _one_minus_power(beta2, t)) + epsilon)\n\n    slots",
        "np.sqrt(v / _one_minus_power(beta2, t) + epsilon)\n\n    slots",
        jax=(
            "(jnp.sqrt(v / _one_minus_power(beta2, t)) + epsilon)",
            "jnp.sqrt(v / _one_minus_power(beta2, t) + epsilon)",
        ),
    ),
    _fault(
        "nadam: epsilon added to the step", "nadam", _UPDATE,
        "(np.sqrt(v / _one_minus_power(beta2, t)) + epsilon)\n\n    slots",
        "np.sqrt(v / _one_minus_power(beta2, t)) + epsilon\n\n    slots",
        tf=(
            "(tf.sqrt(v / _rounded(_one_minus_power(beta2, t), w)) + epsilon))\n\n    slots",
            "tf.sqrt(v / _rounded(_one_minus_power(beta2, t), w)) + epsilon)\n\n    slots",
        ),
    ),
    _fault(
        "nadam: constant momentum corrected without the look-ahead", "nadam, constant", _STEPS,
        "_one_minus_power(beta1, t + 1)", "_one_minus_power(beta1, t)",
        alike=("torch", "tf", "jax"),
    ),
    _fault(
        "nadam: product of the momenta from 0", "nadam", _FREE,
        'slots["momentum_product"] = 1.0', 'slots["momentum_product"] = 0.0',
        alike=("torch",),
    ),
)  # fmt: skip

_ADAMAX = (
    _fault(
        "adamax: maximum without decay", "adamax", _STEPS,
        "u *= beta2\n        np.maximum", "np.maximum",
        tf=('beta2 * slots["infinity_norm"]', 'slots["infinity_norm"]'),
        jax=('beta2 * slots["infinity_norm"]', 'slots["infinity_norm"]'),
    ),
    _fault(
        "adamax: no maximum", "adamax", _STEPS,
        "np.maximum(u, np.abs(g)", "np.maximum(0.0, np.abs(g)",
    ),
    _fault(
        "adamax: a sum, not a maximum", "adamax", _STEPS,
        "np.maximum(u, np.abs(g)", "np.add(u, np.abs(g)",
    ),
    _fault(
        "adamax: gradients with their sign in the maximum", "adamax", _STEPS,
        "np.abs(g) + epsilon if inside", "g + epsilon if inside",
    ),
    _fault(
        "adamax: no bias correction", "adamax, epsilon outside", _STEPS,
        "alpha / _one_minus_power(beta1, t) * m / (u if", "alpha * m / (u if",
        alike=("jax",),
        torch=('group["lr"] / _one_minus_power(beta1, state["step"])', 'group["lr"]'),
        tf=("_rounded(alpha / _one_minus_power(beta1, t), w) * m / (u if", "_rounded(alpha, w) * m / (u if"),
    ),
    _fault(
        "adamax: bias correction of the maximum too", "adamax", _STEPS,
        "* m / (u if inside else", "* m * _one_minus_power(beta2, t) / (u if inside else",
    ),
    _fault(
        "adamax: epsilon outside where inside the maximum is meant", "adamax", _UPDATE,
        'inside = epsilon_position == "inside_maximum"', "inside = False",
        alike=("tf", "jax"),
    ),
    _fault(
        "adamax: epsilon inside the maximum where outside is meant", "adamax, epsilon outside", _UPDATE,
        'inside = epsilon_position == "inside_maximum"', "inside = True",
        torch=('inside = group["epsilon_position"] == "inside_maximum"', "inside = True"),
    ),
    _fault(
        "adamax: no epsilon", "adamax, epsilon outside", _UPDATE,
        "(u if inside else u + epsilon)", "u",
    ),
)  # fmt: skip

_RADAM = (
    _fault(
        "radam: no rectification", "radam", _STEPS,
        "alpha * rectification * correction * m", "alpha * correction * m",
        settings=_LONGER,
        torch=("-alpha * rectification * correction", "-alpha * correction"),
        tf=("_rounded(alpha * factor, w)", "_rounded(alpha * tf.sqrt(correction2), w)"),
        jax=("_rectification(beta2, t) * correction * m", "correction * m"),
    ),
    _fault(
        "radam: threshold 4 where 5 is meant", "radam", _TRAININGS,
        "if not rho_t > threshold:", "if not rho_t > 4:",
        settings=_LONGER, alike=("torch",),
        tf=("tf.where(rho_t > threshold,", "tf.where(rho_t > 4,"),
        jax=("_first_rectified_step(beta2, threshold)\n\n    def", "_first_rectified_step(beta2, 4)\n\n    def"),
    ),
    _fault(
        "radam: threshold 5 where 4 is meant", "radam, epsilon-hat", _TRAININGS,
        "if not rho_t > threshold:", "if not rho_t > 5:",
        settings=_LONGER, alike=("torch",),
        tf=("tf.where(rho_t > threshold,", "tf.where(rho_t > 5,"),
    ),
    _fault(
        "radam: rectified one step late", "radam", _TRAININGS,
        "_rectification(beta2, t, threshold)\n        if",
        "_rectification(beta2, t, threshold) if t > 1 and _rectification(beta2, t - 1, threshold) else None\n"
        "        if",
        settings=_LONGER,
        jax=("jnp.where(t < first_rectified,", "jnp.where(t <= first_rectified,"),
    ),
    _fault(
        "radam: rho without its - 1", "radam", _STEPS,
        "rho = 2 / (1 - beta2) - 1\n    rho_t", "rho = 2 / (1 - beta2)\n    rho_t",
        settings=_LONGER, alike=("torch",),
    ),
    _fault(
        "radam: rho_t of the step before", "radam", _STEPS,
        "rho - 2 * t * beta2**t / _one_minus_power(beta2, t)",
        "rho - 2 * (t - 1) * beta2 ** (t - 1) / _one_minus_power(beta2, t - 1) if t > 1 else 0",
        settings=_LONGER,
    ),
    _fault(
        "radam: rectification without its root", "radam", _STEPS,
        "math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))",
        "(rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t)",
        settings=_LONGER, alike=("torch",),
    ),
    _fault(
        "radam: first moment not corrected", "radam", _STEPS,
        "alpha = alpha / _one_minus_power(beta1, t)\n        rectification", "rectification",
        torch=('group["lr"] / _one_minus_power(beta1, t)\n        rectification', 'group["lr"]\n        rectification'),
    ),
    _fault(
        "radam: the gradient, not the first moment, before the rectification", "radam", _STEPS,
        "w -= alpha * m\n        else", "w -= alpha * g\n        else",
        torch=("w.sub_(alpha * m)", "w.sub_(alpha * g)"),
    ),
    _fault(
        "radam: epsilon added to the step", "radam", _UPDATE,
        "m / (np.sqrt(v) + hat_epsilon)", "m / np.sqrt(v) + hat_epsilon",
        jax=("m / (jnp.sqrt(v) + hat_epsilon)", "m / jnp.sqrt(v) + hat_epsilon"),
    ),
    _fault(
        "radam: epsilon-hat where epsilon outside is meant", "radam", _UPDATE,
        'hat_epsilon = epsilon if epsilon_position == "before_correction" else epsilon * correction',
        "hat_epsilon = epsilon",
    ),
    _fault(
        "radam: epsilon outside where epsilon-hat is meant", "radam, epsilon-hat", _UPDATE,
        'hat_epsilon = epsilon if epsilon_position == "before_correction" else epsilon * correction',
        "hat_epsilon = epsilon * correction",
        torch=(
            'if group["epsilon_position"] == "outside_root":\n            epsilon *= ',
            "if True:\n            epsilon *= ",
        ),
        jax=(
            'hat_epsilon = epsilon if epsilon_position == "before_correction" else epsilon * correction',
            "hat_epsilon = epsilon * correction",
        ),
    ),
)  # fmt: skip

_LION = (
    _fault(
        "lion: betas swapped", "lion", _STEPS,
        "np.sign(beta1 * m + (1 - beta1) * g)", "np.sign(beta2 * m + (1 - beta2) * g)",
        torch=("(beta1 * m + (1 - beta1) * g).sign()", "(beta2 * m + (1 - beta2) * g).sign()"),
        tf=("tf.sign(beta1 * m + (1 - beta1) * g)", "tf.sign(beta2 * m + (1 - beta2) * g)"),
        jax=("jnp.sign(beta1 * m + (1 - beta1) * g)", "jnp.sign(beta2 * m + (1 - beta2) * g)"),
    ),
    _fault(
        "lion: momentum kept with beta1", "lion", _STEPS,
        "m *= beta2\n        m += (1 - beta2) * g", "m *= beta1\n        m += (1 - beta1) * g",
        torch=("m.mul_(beta2).add_(g, alpha=1 - beta2)", "m.mul_(beta1).add_(g, alpha=1 - beta1)"),
        tf=("m.assign(beta2 * m + (1 - beta2) * g)", "m.assign(beta1 * m + (1 - beta1) * g)"),
    ),
    _fault(
        "lion: no sign", "lion", _STEPS,
        "np.sign(beta1 * m + (1 - beta1) * g)", "(beta1 * m + (1 - beta1) * g)",
        torch=("(beta1 * m + (1 - beta1) * g).sign()", "(beta1 * m + (1 - beta1) * g)"),
        tf=("tf.sign(beta1 * m + (1 - beta1) * g)", "(beta1 * m + (1 - beta1) * g)"),
        jax=("jnp.sign(beta1 * m + (1 - beta1) * g)", "beta1 * m + (1 - beta1) * g"),
    ),
    _fault(
        "lion: the sign of 0 is 1", "lion", _UPDATE,
        "np.sign(beta1 * m + (1 - beta1) * g)", "np.where(beta1 * m + (1 - beta1) * g >= 0, 1, -1)",
        jax=("jnp.sign(beta1 * m + (1 - beta1) * g)", "jnp.where(beta1 * m + (1 - beta1) * g >= 0, 1.0, -1.0)"),
    ),
    _fault(
        "lion: the momentum's sign alone", "lion", _STEPS,
        "np.sign(beta1 * m + (1 - beta1) * g)", "np.sign(m)",
    ),
    _fault(
        "lion: no decay", "lion", _STEPS,
        "+ weight_decay * w)\n        m", "+ 0.0 * w)\n        m",
        torch=('(1 - beta1) * g).sign() + group["weight_decay"] * w', "(1 - beta1) * g).sign() + 0.0 * w"),
        jax=("direction + weight_decay * w", "direction"),
    ),
    _fault(
        "lion: decay of the wrong sign", "lion", _STEPS,
        "+ weight_decay * w)\n        m", "- weight_decay * w)\n        m",
        torch=(
            '(1 - beta1) * g).sign() + group["weight_decay"] * w',
            '(1 - beta1) * g).sign() - group["weight_decay"] * w',
        ),
    ),
    _fault(
        "lion: decay inside the sign", "lion", _STEPS,
        "np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * w)",
        "np.sign(beta1 * m + (1 - beta1) * g + weight_decay * w))",
    ),
    _fault(
        "lion: decay without the rate", "lion", _STEPS,
        "w -= alpha * (np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * w)",
        "w -= alpha * np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * w",
    ),
)  # fmt: skip

_ADABELIEF = (
    _fault(
        "adabelief: distance from the average before the step", "adabelief", _STEPS,
        "        m *= beta1\n"
        "        m += (1 - beta1) * g\n"
        "        s *= beta2\n"
        "        s += (1 - beta2) * (g - m) ** 2 + epsilon\n",
        "        s *= beta2\n"
        "        s += (1 - beta2) * (g - m) ** 2 + epsilon\n"
        "        m *= beta1\n"
        "        m += (1 - beta1) * g\n",
        torch=(
            "addcmul_(g - m, g - m, value=1 - beta2)",
            "addcmul_((g - m) / beta1, (g - m) / beta1, value=1 - beta2)",
        ),
        tf=("tf.square(g - m)", 'tf.square(g - slots["first_moment"])'),
        jax=("jnp.square(g - m)", 'jnp.square(g - slots["first_moment"])'),
    ),
    _fault(
        "adabelief: the square of the gradient, as in Adam", "adabelief", _STEPS,
        "(g - m) ** 2 + epsilon", "g**2 + epsilon",
        torch=("addcmul_(g - m, g - m, value=1 - beta2)", "addcmul_(g, g, value=1 - beta2)"),
        tf=("tf.square(g - m)", "tf.square(g)"),
        jax=("jnp.square(g - m)", "jnp.square(g)"),
    ),
    _fault(
        "adabelief: the distance, not its square", "adabelief", _STEPS,
        "(g - m) ** 2 + epsilon", "np.abs(g - m) + epsilon",
    ),
    _fault(
        "adabelief: no epsilon in the belief", "adabelief", _UPDATE,
        "(g - m) ** 2 + epsilon", "(g - m) ** 2",
        torch=("value=1 - beta2).add_(epsilon)", "value=1 - beta2)"),
        tf=("tf.square(g - m) + epsilon", "tf.square(g - m)"),
        jax=("jnp.square(g - m) + epsilon", "jnp.square(g - m)"),
    ),
    _fault(
        "adabelief: epsilon averaged into the belief", "adabelief", _UPDATE,
        "(1 - beta2) * (g - m) ** 2 + epsilon", "(1 - beta2) * ((g - m) ** 2 + epsilon)",
    ),
    _fault(
        "adabelief: no epsilon beside the root", "adabelief", _UPDATE,
        "(np.sqrt(s / _one_minus_power(beta2, t)) + epsilon)\n\n    return",
        "np.sqrt(s / _one_minus_power(beta2, t))\n\n    return",
        dtypes=("float64",),
    ),
    _fault(
        "adabelief: belief not corrected", "adabelief", _STEPS,
        "np.sqrt(s / _one_minus_power(beta2, t))", "np.sqrt(s)",
        torch=("(s / _one_minus_power(beta2, t)).sqrt()", "s.sqrt()"),
        tf=("tf.sqrt(s / _rounded(_one_minus_power(beta2, t), w))", "tf.sqrt(s)"),
    ),
    _fault(
        "adabelief: first moment not corrected", "adabelief", _STEPS,
        "alpha / _one_minus_power(beta1, t) * m / (np.sqrt(s", "alpha * m / (np.sqrt(s",
    ),
)  # fmt: skip

_LBFGS = (
    _fault(
        "lbfgs: sums over each parameter alone", "lbfgs", _FORCED,
        "update_array, elementwise=False)", "update_array)",
        jax=("update_array, elementwise=False, needs_parameters=True)", "update_array, needs_parameters=True)"),
    ),
    _fault(
        "lbfgs: one pair too few", "lbfgs, plain first step", _STEPS,
        'f"gradient_change_{k}"]) for k in numbers]', 'f"gradient_change_{k}"]) for k in numbers[:-1]]',
        tf=('new[f"gradient_change_{k}"]) for k in numbers]', 'new[f"gradient_change_{k}"]) for k in numbers[:-1]]'),
        jax=("list(zip(*changes.values(), strict=True))", "list(zip(*changes.values(), strict=True))[:-1]"),
    ),
    _fault(
        "lbfgs: the newest pair in every place", "lbfgs", _STEPS,
        "for k in reversed(numbers[1:]):", "for k in numbers[1:]:",
        torch=('range(group["history"], 1, -1)', 'range(2, group["history"] + 1)'),
    ),
    _fault(
        "lbfgs: the change of the gradient from the first step", "lbfgs", _STEPS,
        'slots["previous_gradient"][...] = g\n        if t == 1:\n',
        'if t == 1:\n            slots["previous_gradient"][...] = g\n',
        torch=(
            'state["previous_gradient"].copy_(g)',
            'state["previous_gradient"].copy_(g if state["step"] == 1 else state["previous_gradient"])',
        ),
    ),
    _fault(
        "lbfgs: no scaling by gamma", "lbfgs", _STEPS,
        "r = (curvatures[0] / (newest @ newest)) * q if curvatures[0] > 0 else q", "r = q",
        torch=("r = curvatures[0] / _dot(newest, newest) * q if curvatures[0] > 0 else q", "r = q"),
        tf=("r = tf.where(curvatures[0] > 0, (curvatures[0] / _inner(newest, newest)) * q, q)", "r = q"),
        jax=("r = jnp.where(curvatures[0] > 0, curvatures[0] / _dot(newest, newest), 1) * q", "r = q"),
    ),
    _fault(
        "lbfgs: gamma of the oldest pair", "lbfgs, plain first step", _STEPS,
        "r = (curvatures[0] / (newest @ newest)) * q if curvatures[0] > 0 else q",
        "r = (curvatures[-1] / (pairs[-1][1] @ pairs[-1][1])) * q if curvatures[-1] > 0 else q",
    ),
    _fault(
        "lbfgs: gamma s . s / s . y", "lbfgs", _STEPS,
        "r = (curvatures[0] / (newest @ newest)) * q", "r = ((pairs[0][0] @ pairs[0][0]) / curvatures[0]) * q",
    ),
    _fault(
        "lbfgs: rho by y . y", "lbfgs", _STEPS,
        "curvatures = [s @ y for s, y in pairs]", "curvatures = [y @ y for s, y in pairs]",
        torch=("[_dot(s, y) for s, y in pairs]", "[_dot(y, y) for s, y in pairs]"),
    ),
    _fault(
        "lbfgs: first loop from the oldest", "lbfgs", _STEPS,
        "in zip(pairs, curvatures, strict=True):", "in zip(pairs[::-1], curvatures[::-1], strict=True):",
    ),
    _fault(
        "lbfgs: second loop from the newest", "lbfgs", _STEPS,
        "in reversed(list(zip(pairs, curvatures, weights, strict=True))):",
        "in zip(pairs, curvatures, weights, strict=True):",
        alike=("torch", "tf", "jax"),
    ),
    _fault(
        "lbfgs: no second loop", "lbfgs", _STEPS,
        "r += (weight - (y @ r) / curvature) * s", "r += 0.0 * s",
    ),
    _fault(
        "lbfgs: second loop with the wrong sign", "lbfgs", _STEPS,
        "r += (weight - (y @ r) / curvature) * s", "r -= (weight - (y @ r) / curvature) * s",
        torch=("r.add_((weight - _dot(y, r) / curvature) * s)", "r.sub_((weight - _dot(y, r) / curvature) * s)"),
        tf=("r += (weight - _quotient", "r -= (weight - _quotient"),
        jax=("r = r + (weight - _ratio", "r = r - (weight - _ratio"),
    ),
    _fault(
        "lbfgs: a pair of negative curvature in the second loop", "lbfgs", _TRAININGS,
        "if curvature > 0:\n            r +=", "if curvature != 0:\n            r +=",
        settings=_NOT_CONVEX,
    ),
    _fault(
        "lbfgs: first step not capped", "lbfgs", _STEPS,
        'g / max(1.0, np.abs(g).sum()) if first_step == "capped" else g', "g",
        torch=('g / max(1.0, g.abs().sum().item()) if group["first_step"] == "capped" else g', "g"),
        tf=('g / tf.maximum(tf.reduce_sum(tf.abs(g)), 1.0) if first_step == "capped" else g', "g"),
        jax=('g / jnp.maximum(1, jnp.abs(g).sum()) if first_step == "capped" else g', "g"),
    ),
    _fault(
        "lbfgs: first step capped by the Euclidean norm", "lbfgs", _STEPS,
        "np.abs(g).sum())", "np.sqrt((g * g).sum()))",
    ),
    _fault(
        "lbfgs: first step of length 1", "lbfgs", _TRAININGS,
        "g / max(1.0, np.abs(g).sum())", "g / np.abs(g).sum()",
        where={"model": "logistic regression"},
    ),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = (
    *_EVERY, *_GRADIENT_DESCENT, *_MOMENTUM, *_RMSPROP, *_ADAGRAD, *_ADADELTA, *_ADAM, *_ADAMW, *_NADAM, *_ADAMAX,
    *_RADAM, *_LION, *_ADABELIEF, *_LBFGS,
)  # fmt: skip
