"""Faults of activations, normalizations and models."""

from collections.abc import Mapping
from typing import Any

from conformance.faults.injection import Edit
from conformance.faults.mutant import Mutant, edit, everywhere

# What sees a fault of the forward pass, one of the backward pass alone, one of the running averages, and one of
# inference alone (validation costs and predicted classes are its part in a training).
_FORWARD = ("forward", "loss", "gradients", "gradient_check", "teacher_forced", "free_running")
_BACKWARD = ("gradients", "gradient_check", "teacher_forced", "free_running")
_RUNNING = ("forward", "teacher_forced", "free_running")
_INFERENCE = ("forward", "free_running")

_NORMS = ("batch_norm", "layer_norm")


def _deep(*hidden_units: int, activation: Any = "tanh") -> Mapping[str, Any]:
    return {"model": {"name": "deep_network", "hidden_units": hidden_units, "activation": activation}}


_TWO_KEEP_PROBABILITIES = {"regularizers": [{"name": "inverted_dropout", "keep_probability": [0.9, 0.5]}]}
# Two rectifiers are both off for many an example, and every pre-activation of the next layer is then exactly 0.
_OFTEN_AT_ZERO = [_deep(2, 4, activation={"name": "relu", "derivative_at_zero": slope}) for slope in (0, 1)]
_HALF_ELU = {"model": {"name": "shallow_network", "hidden_units": [5], "activation": {"name": "elu", "alpha": 0.5}}}
_LARGE_WEIGHTS = {"initializer": {"name": "scaled_normal", "scale": 3000.0}}
_UNITS_ABOVE_20 = {"initializer": {"name": "scaled_normal", "scale": 20.0}}
_CONSTANT_PIXELS = {"dataset": {"name": "digits", "examples": 30, "test_examples": 12}}

# The softmax of the models, which no cross-entropy of logits takes.
_OVER_THE_BATCH = (
    Edit("swish, gelu, softmax)}", 'swish, gelu)} | {"softmax": lambda z, out=None: softmax(z.T).T}'),
    Edit('"softmax": softmax_backward', '"softmax": lambda g, z, a, out=None: softmax_backward(g.T, z.T, a.T).T'),
)

# The backward pass of a normalization whose variance is divided by one less.
_UNBIASED_BACKWARD = Edit(
    " - h * (dh * h).mean(axis=axis, keepdims=True)",
    " - h * (dh * h).sum(axis=axis, keepdims=True) / (h.shape[axis] - 1)",
)

_ACTIVATIONS = (
    Mutant(
        "identity: negative values cut off", "activations.py",
        edit("return np.positive(z, out=out)", "return np.maximum(z, 0.0, out=out)"),
        {"activation": "identity"}, _FORWARD, ("identity",),
        elsewhere={
            "torch": edit('"""``f(z) = z``."""\n    return z', "return F.relu(z)"),
            "tf": edit("tf.identity(z)", "tf.nn.relu(z)"),
            "jax": edit("return jnp.asarray(z)", "return jax.nn.relu(z)"),
        },
    ),
    Mutant(
        "identity: a derivative of 2", "activations.py",
        edit("np.positive(gradient, out=out)", "np.multiply(gradient, 2.0, out=out)"),
        {"activation": "identity"}, _BACKWARD, ("identity",),
    ),
    Mutant(
        "sigmoid: the branch for negative numbers left out", "activations.py",
        edit("np.where(z >= 0, 1.0, small)", "1.0"),
        {"activation": "sigmoid"}, _FORWARD, ("sigmoid", "swish", "softplus"),
        elsewhere={
            "torch": edit("torch.sigmoid(z)", "torch.sigmoid(z.abs())"),
            "tf": edit("tf.sigmoid(z)", "tf.sigmoid(tf.abs(z))"),
            "jax": edit("jax.nn.sigmoid(z)", "jax.nn.sigmoid(jnp.abs(z))"),
        },
    ),
    Mutant(
        "sigmoid: derivative without its factor 1 - a", "activations.py", edit("a * (1.0 - a)", "a"),
        {"activation": "sigmoid"}, _BACKWARD, ("sigmoid",),
    ),
    Mutant(
        "tanh: straight between -1 and 1", "activations.py",
        edit("np.tanh(z, out=out)", "np.clip(z, -1.0, 1.0, out=out)"),
        {"activation": "tanh"}, _FORWARD, ("tanh",),
        elsewhere={
            "torch": edit("torch.tanh(z)", "F.hardtanh(z)"),
            "tf": edit("tf.tanh(z)\n", "tf.clip_by_value(z, -1.0, 1.0)\n"),
            "jax": edit("jnp.tanh(z)", "jax.nn.hard_tanh(z)"),
        },
    ),
    Mutant(
        "tanh: derivative 1 - a", "activations.py", edit("1.0 - a * a", "1.0 - a"),
        {"activation": "tanh"}, _BACKWARD, ("tanh",),
    ),
    Mutant(
        "relu: derivative 1 at 0 where 0 is asked for", "activations.py", edit("else z > 0,", "else z >= 0,"),
        {"activation": "relu", "model": "deep"}, _BACKWARD, ("relu",), settings=_OFTEN_AT_ZERO[0],
        elsewhere={
            "torch": edit("else F.relu(z)", "else z.clamp(min=0)"),
            "tf": edit("if derivative_at_zero == 1:", "if derivative_at_zero in (0, 1):"),
            "jax": edit("jax.nn.relu(z) if", "jnp.where(z < 0, 0, z) if"),
        },
    ),
    Mutant(
        "relu: derivative 0 at 0 where 1 is asked for", "activations.py",
        edit("z >= 0 if derivative_at_zero == 1 else z > 0", "z > 0"),
        {"activation": "relu", "model": "deep"}, _BACKWARD, ("relu",), settings=_OFTEN_AT_ZERO[1],
        elsewhere={
            "torch": edit("z.clamp(min=0) if", "F.relu(z) if"),
            "tf": edit("tf.where(z < 0, tf.zeros_like(z), z)", "tf.nn.relu(z)"),
            "jax": edit("else jnp.where(z < 0, 0, z)", "else jax.nn.relu(z)"),
        },
    ),
    Mutant(
        "leaky relu: the slope on the positive side", "activations.py",
        edit("np.multiply(z, np.where(z > 0, 1.0, slope)", "np.multiply(z, np.where(z > 0, slope, 1.0)"),
        {"activation": "leaky relu"}, _FORWARD, ("leaky_relu",),
        elsewhere={
            "torch": edit("F.leaky_relu(z, slope)", "-F.leaky_relu(-z, slope)"),
            "tf": edit("tf.where(z > 0, z, slope * z)", "tf.where(z > 0, slope * z, z)"),
            "jax": edit("jnp.where(z > 0, z, float(slope) * z)", "jnp.where(z > 0, float(slope) * z, z)"),
        },
    ),
    Mutant(
        "leaky relu: derivative 0 on the negative side", "activations.py",
        edit("np.multiply(gradient, np.where(z > 0, 1.0, slope)", "np.multiply(gradient, np.where(z > 0, 1.0, 0.0)"),
        {"activation": "leaky relu"}, _BACKWARD, ("leaky_relu",),
    ),
    Mutant(
        "elu: the exponent divided by alpha", "activations.py",
        edit("np.expm1(np.minimum(z, 0.0))", "np.expm1(np.minimum(z, 0.0) / alpha)"),
        {"activation": "elu"}, _FORWARD, ("elu",), settings=_HALF_ELU,
        elsewhere={
            "torch": edit("F.elu(z, alpha)", "F.celu(z, alpha)"),
            "tf": edit("tf.zeros_like(z), z))", "tf.zeros_like(z), z) / alpha)"),
            "jax": edit("jax.nn.elu(z, alpha=float(alpha))", "jax.nn.celu(z, alpha=float(alpha))"),
        },
    ),
    Mutant(
        "elu: derivative exp(z) - 1", "activations.py",
        edit("alpha * np.exp(np.minimum(z, 0.0))", "alpha * np.expm1(np.minimum(z, 0.0))"),
        {"activation": "elu"}, _BACKWARD, ("elu",),
    ),
    Mutant(
        "softplus: exp(-z) whatever the sign of z", "activations.py",
        edit("np.log1p(np.exp(-np.abs(z)))", "np.log1p(np.exp(-z))"),
        {"activation": "softplus"}, _FORWARD, ("softplus",),
        elsewhere={
            "torch": edit("-F.logsigmoid(-z)", "F.relu(z) + torch.log1p(torch.exp(-z))"),
            "tf": edit("tf.exp(tf.where(positive, -z, z))", "tf.exp(-z)"),
            "jax": edit("jnp.exp(-magnitude)", "jnp.exp(-z)"),
        },
    ),
    Mutant(
        "softplus: straight above 20", "activations.py",
        edit("np.log1p(np.exp(-np.abs(z)))", "np.where(z > 20, 0.0, np.log1p(np.exp(-np.abs(z))))"),
        {"activation": "softplus"}, _FORWARD, ("softplus",), ("float64",), settings=_UNITS_ABOVE_20,
        elsewhere={"torch": edit("-F.logsigmoid(-z)", "F.softplus(z)")},
    ),
    Mutant(
        "softplus: the derivative of a rectifier", "activations.py",
        edit("np.multiply(gradient, sigmoid(z), out=out)", "np.multiply(gradient, z > 0, out=out)"),
        {"activation": "softplus"}, _BACKWARD, ("softplus",),
    ),
    Mutant(
        "swish: a straight line for the sigmoid", "activations.py",
        edit("np.multiply(z, sigmoid(z), out=out)", "np.multiply(z, np.clip(z / 6 + 0.5, 0.0, 1.0), out=out)"),
        {"activation": "swish"}, _FORWARD, ("swish",),
        elsewhere={
            "torch": edit("F.silu(z)", "F.hardswish(z)"),
            "tf": edit("tf.nn.swish(z)", "z * tf.clip_by_value(z / 6 + 0.5, 0.0, 1.0)"),
            "jax": edit("jax.nn.silu(z)", "jax.nn.hard_silu(z)"),
        },
    ),
    Mutant(
        "swish: derivative without its second term", "activations.py", edit("s + z * s * (1.0 - s)", "s"),
        {"activation": "swish"}, _BACKWARD, ("swish",),
    ),
    Mutant(
        "gelu: by tanh where erf is asked for", "activations.py",
        edit("np.multiply(z, _normal_distribution(z, approximate)", "np.multiply(z, _normal_distribution(z, True)"),
        {"activation": "gelu"}, _FORWARD, ("gelu",),
        elsewhere={
            "torch": edit("else 0.5 * z * torch.erfc(-z / math.sqrt(2))", 'else F.gelu(z, approximate="tanh")'),
            "tf": edit("0.5 * z * tf.math.erfc(-z / math.sqrt(2))", "tf.nn.gelu(z, approximate=True)"),
            "jax": edit("approximate=bool(approximate)", "approximate=True"),
        },
    ),
    Mutant(
        "gelu: derivative without the density", "activations.py",
        edit("distribution + z * density", "distribution"),
        {"activation": "gelu"}, _BACKWARD, ("gelu",),
    ),
    Mutant(
        "gelu by tanh: the factor 3 of the derivative forgotten", "activations.py",
        edit("3 * 0.044715 * z * z", "0.044715 * z * z"),
        {"activation": "gelu, by tanh"}, _BACKWARD, ("gelu",),
    ),
    Mutant(
        "softmax units: derivative without the other units", "activations.py",
        edit("gradient - (gradient * a).sum(axis=-1, keepdims=True)", "gradient"),
        {"activation": "softmax"}, _BACKWARD, ("softmax",),
    ),
    Mutant(
        "softmax: normalised over the batch", "activations.py",
        _OVER_THE_BATCH,
        {"model": "softmax", "loss": "categorical, probabilities"}, _FORWARD, ("softmax",),
        elsewhere={
            "torch": edit("dim=-1", "dim=0"),
            "tf": edit("tf.nn.softmax(z)", "tf.nn.softmax(z, axis=0)"),
            "jax": edit("jax.nn.softmax(z, axis=-1)", "jax.nn.softmax(z, axis=0)"),
        },
    ),
    Mutant(
        "softmax output: not shifted by the largest logit", "activations.py",
        edit("np.exp(z - z.max(axis=-1, keepdims=True))", "np.exp(z)"),
        {"model": "softmax regression", "loss": "categorical, probabilities"}, _FORWARD, ("softmax",),
        settings=_LARGE_WEIGHTS,
        elsewhere={
            "torch": edit("torch.softmax(z, dim=-1)", "z.exp() / z.exp().sum(dim=1, keepdim=True)"),
            "tf": edit("tf.nn.softmax(z)", "tf.exp(z) / tf.reduce_sum(tf.exp(z), axis=-1, keepdims=True)"),
            "jax": edit("jax.nn.softmax(z, axis=-1)", "jnp.exp(z) / jnp.exp(z).sum(axis=-1, keepdims=True)"),
        },
    ),
)  # fmt: skip

_NORMALIZATIONS = (
    Mutant(
        "standardization: variance over m - 1", "normalization.py",
        edit("np.sqrt(((x - mean) ** 2).mean(axis=0))", "x.std(axis=0, ddof=1)"),
        {"model": "linear neuron"}, ("forward",),
        elsewhere={
            "torch": edit("(x - mean).square().mean(dim=0).sqrt()", "x.std(dim=0)"),
            "tf": edit("reduce_std(x, axis=0)\n", "reduce_std(x, axis=0) * (x.shape[0] / (x.shape[0] - 1)) ** 0.5\n"),
            "jax": edit("jnp.sqrt(((x - mean) ** 2).mean(axis=0))", "x.std(axis=0, ddof=1)"),
        },
    ),
    Mutant(
        "standardization: the variance for its root", "normalization.py",
        edit("np.sqrt(((x - mean) ** 2).mean(axis=0))", "x.var(axis=0)"),
        {"model": "linear neuron"}, ("forward",),
    ),
    Mutant(
        "standardization: the statistics of the test set", "normalization.py",
        edit("(x - mean) / standard_deviation", "(x - x.mean(axis=0)) / x.std(axis=0)"),
        {"model": "linear neuron"}, ("forward",),
    ),
    Mutant(
        "standardization: a constant feature divided by 0", "normalization.py",
        edit("np.where(constant, np.ones_like(mean), standard_deviation)", "standard_deviation"),
        {"model": "softmax regression"}, ("forward",), settings=_CONSTANT_PIXELS,
        elsewhere={
            "torch": edit("torch.where(constant, torch.ones_like(mean), standard_deviation)", "standard_deviation"),
            "tf": edit("tf.where(constant, tf.ones_like(mean), standard_deviation)", "standard_deviation"),
            "jax": edit("jnp.where(constant, 1, standard_deviation)", "standard_deviation"),
        },
    ),
    Mutant(
        "batch norm: variance over m - 1 in training", "normalization.py",
        (Edit("return mean, ((z - mean) ** 2).mean(axis=0)", "return mean, z.var(axis=0, ddof=1)"), _UNBIASED_BACKWARD),
        {"normalization": "batch"}, _FORWARD, ("batch_norm",),
        elsewhere={
            "torch": edit("return mean, (z - mean).square().mean(dim=0)", "return mean, z.var(dim=0)"),
            "tf": edit(
                "return tf.nn.moments(z, axes=[0])",
                "mean, variance = tf.nn.moments(z, axes=[0])\n"
                "    return mean, variance * (z.shape[0] / (z.shape[0] - 1))",
            ),
            "jax": edit("return mean, ((z - mean) ** 2).mean(axis=0)", "return mean, z.var(axis=0, ddof=1)"),
        },
    ),
    Mutant(
        "batch norm: the batch's statistics at inference", "models.py",
        edit(
            'mean, variance = statistics[f"running_mean{layer}"], statistics[f"running_variance{layer}"]',
            "mean, variance = normalization.batch_statistics(z)",
        ),
        {"normalization": "batch", "stopping": "early stopping"}, _INFERENCE, ("batch_norm",),
        elsewhere={
            "torch": edit("(self.running_mean, self.running_variance) if", "normalization.batch_statistics(z) if"),
            "tf": edit(
                'mean, variance = self.statistics[f"running_mean{layer}"], self.statistics[f"running_variance{layer}"]',
                "mean, variance = normalization.batch_statistics(z)",
            ),
            "jax": edit(
                'mean, variance = statistics[f"running_mean{layer}"], statistics[f"running_variance{layer}"]',
                "mean, variance = normalization.batch_statistics(z)",
            ),
        },
    ),
    Mutant(
        "batch and layer norm: epsilon outside the root", "normalization.py",
        edit("return (z - mean) / np.sqrt(variance + epsilon)", "return (z - mean) / (np.sqrt(variance) + epsilon)"),
        {"normalization": "batch"}, _FORWARD, _NORMS,
        elsewhere={
            "torch": edit("((z - mean) / (variance + epsilon).sqrt())", "((z - mean) / (variance.sqrt() + epsilon))"),
            "tf": edit(
                "gamma * ((z - mean) / tf.sqrt(variance + epsilon)) + beta\n\n\ndef running_average",
                "gamma * ((z - mean) / (tf.sqrt(variance) + epsilon)) + beta\n\n\ndef running_average",
            ),
            "jax": edit(
                "((jnp.asarray(z) - mean) / jnp.sqrt(variance + float(epsilon)))",
                "((jnp.asarray(z) - mean) / (jnp.sqrt(variance) + float(epsilon)))",
            ),
        },
    ),
    Mutant(
        "batch and layer norm: the statistics constants in the backward pass", "normalization.py",
        edit("(dh - dh.mean(axis=axis, keepdims=True) - h * (dh * h).mean(axis=axis, keepdims=True))", "dh"),
        {"normalization": "batch"}, _BACKWARD, _NORMS,
        elsewhere={
            "torch": edit(
                "return mean, (z - mean).square().mean(dim=0)",
                "return mean.detach(), (z - mean).square().mean(dim=0).detach()",
            ),
            "tf": edit("tf.nn.moments(z, axes=[0])", "tf.nn.moments(tf.stop_gradient(z), axes=[0])"),
        },
    ),
    Mutant(
        "batch and layer norm: the variance a constant in the backward pass", "normalization.py",
        edit(" - h * (dh * h).mean(axis=axis, keepdims=True)", ""),
        {"normalization": "layer"}, _BACKWARD, _NORMS,
        elsewhere={
            "torch": edit(
                "variance = centred.square().mean(dim=1, keepdim=True)",
                "variance = centred.detach().square().mean(dim=1, keepdim=True)",
            ),
        },
    ),
    Mutant(
        "batch and layer norm: gamma in its own gradient", "normalization.py",
        edit("(gradient * h).sum(axis=0)", "(dh * h).sum(axis=0)"),
        {"normalization": "batch"}, _BACKWARD, _NORMS,
    ),
    Mutant(
        "batch and layer norm: the mean for beta's gradient", "normalization.py",
        edit("gradient.sum(axis=0)\n", "gradient.mean(axis=0)\n"),
        {"normalization": "layer"}, _BACKWARD, _NORMS,
    ),
    everywhere(
        "batch norm: momentum and 1 - momentum swapped", "normalization.py",
        edit("mean, variance = batch\n", "mean, variance = batch\n    momentum = 1 - momentum\n"),
        {"normalization": "batch"}, _RUNNING, ("batch_norm",),
    ),
    everywhere(
        "batch norm: an unbiased running variance where a biased one is asked for", "normalization.py",
        edit(
            'if running_variance == "unbiased":\n        variance = variance * (examples / (examples - 1))',
            "variance = variance * (examples / max(examples - 1, 1))",
        ),
        {"normalization": "batch"}, _RUNNING, ("batch_norm",),
    ),
    everywhere(
        "batch norm: a biased running variance where an unbiased one is asked for", "normalization.py",
        edit("variance * (examples / (examples - 1))", "variance"),
        {"normalization": "batch, unbiased"}, _RUNNING, ("batch_norm",),
    ),
    Mutant(
        "layer norm: over the batch", "normalization.py",
        edit("_standardized(z, _row_mean(z), _row_variance(z),", "_standardized(z, *batch_statistics(z),"),
        {"normalization": "layer"}, _FORWARD, ("layer_norm",),
        elsewhere={
            "torch": edit(
                "z.mean(dim=1, keepdim=True)\n    variance = centred.square().mean(dim=1, keepdim=True)",
                "z.mean(dim=0)\n    variance = centred.square().mean(dim=0)",
            ),
            "tf": edit("tf.nn.moments(z, axes=[1], keepdims=True)", "tf.nn.moments(z, axes=[0])"),
            "jax": edit(
                "jnp.mean(z, axis=1, keepdims=True)\n    variance = (deviations**2).mean(axis=1, keepdims=True)",
                "jnp.mean(z, axis=0)\n    variance = (deviations**2).mean(axis=0)",
            ),
        },
    ),
    Mutant(
        "layer norm: variance over n - 1", "normalization.py",
        (
            Edit("((z - _row_mean(z)) ** 2).mean(axis=1, keepdims=True)", "z.var(axis=1, ddof=1, keepdims=True)"),
            _UNBIASED_BACKWARD,
        ),
        {"normalization": "layer"}, _FORWARD, ("layer_norm",),
        elsewhere={
            "torch": edit("centred.square().mean(dim=1, keepdim=True)", "z.var(dim=1, keepdim=True)"),
            "jax": edit("(deviations**2).mean(axis=1, keepdims=True)", "z.var(axis=1, ddof=1, keepdims=True)"),
        },
    ),
    Mutant(
        "layer norm: means over the batch in the backward pass", "normalization.py",
        edit("_row_variance(z), epsilon, axis=1)", "_row_variance(z), epsilon, axis=0)"),
        {"normalization": "layer"}, _BACKWARD, ("layer_norm",),
    ),
)  # fmt: skip

_MODELS = (
    everywhere(
        "single neuron: no rectifier at the output", "models.py",
        edit('(features, 1), "identity", None, output,', '(features, 1), "identity", None, "identity",'),
        {"model": "relu neuron"}, _FORWARD, ("single_neuron",),
    ),
    everywhere(
        "logistic regression: no sigmoid at the output", "models.py",
        edit('(features, 1), "identity", None, "sigmoid",', '(features, 1), "identity", None, "identity",'),
        {"model": "logistic regression", "loss": "binary, probabilities"}, _FORWARD, ("logistic_regression",),
    ),
    everywhere(
        "shallow network: a sigmoid whatever output is asked for", "models.py",
        edit(
            "        sizes, activation, activation_options, output,",
            '        sizes, activation, activation_options, "sigmoid",',
        ),
        {"model": "shallow", "loss": "squared error"}, _FORWARD, ("shallow_network",),
    ),
    everywhere(
        "deep network: its keep probability forgotten", "models.py",
        edit(
            "layer_sizes, activation, activation_options, output, keep_probability, normalization,",
            "layer_sizes, activation, activation_options, output, 1.0, normalization,",
        ),
        {"model": "deep", "noise": "dropout"}, _FORWARD, ("deep_network",),
    ),
    everywhere(
        "multi-task network: one softmax over its outputs", "models.py",
        edit('"sigmoid", keep_probability, normalization,', '"softmax", keep_probability, normalization,'),
        {"model": "multi-task", "loss": "binary, probabilities"}, _FORWARD, ("multi_task_network",),
    ),
    everywhere(
        "softmax classifier: a sigmoid of each logit", "models.py",
        edit('"softmax", keep_probability, normalization,', '"sigmoid", keep_probability, normalization,'),
        {"model": "softmax", "loss": "categorical, probabilities"}, _FORWARD, ("softmax_classifier",),
    ),
    Mutant(
        "layers: a square weight transposed", "models.py",
        edit('parameters[f"W{layer}"].T, out', 'parameters[f"W{layer}"].T if layer != 2 else parameters["W2"], out'),
        {"model": "deep"}, _FORWARD, settings=_deep(4, 4),
        elsewhere={
            "torch": edit("layer(a)  #", "layer(a) if number != 2 else a @ layer.weight + layer.bias  #"),
            "tf": edit("transpose_b=True", "transpose_b=layer != 2"),
            "jax": edit('"W{layer}"]).T\n', '"W{layer}"].T if layer != 2 else parameters["W2"])\n'),
        },
    ),
    Mutant(
        "layers: back through a square weight transposed", "models.py",
        edit(
            '(dz, parameters[f"W{layer}"], out',
            '(dz, parameters["W2"].T if layer == 2 else parameters[f"W{layer}"], out',
        ),
        {"model": "deep"}, _BACKWARD, settings=_deep(4, 4),
    ),
    Mutant(
        "layers: back through the weight of the layer before", "models.py",
        edit('(dz, parameters[f"W{layer}"], out', '(dz, parameters["W2" if layer == 3 else f"W{layer}"], out'),
        {"model": "deep"}, _BACKWARD, settings=_deep(4, 4, 4),
    ),
    Mutant(
        "layers: float32 hidden in float64", "models.py",
        (
            Edit('.T, out=buffers[f"Z{layer}"])', '.T, out=buffers[f"Z{layer}"]).astype(np.float32).astype(x.dtype)'),
            Edit("self.product(dz.T,", "self.product((rounded := dz.astype(np.float32).astype(dz.dtype)).T,"),
            Edit('self.product(dz, parameters[f"W{layer}"], out', 'self.product(rounded, parameters[f"W{layer}"], out'),
        ),
        {"model": "deep"}, _FORWARD, (), ("float64",),
        elsewhere={
            "torch": edit("layer(a)  #", "layer(a).float().to(a.dtype)  #"),
            "tf": edit('f"Z{layer}"] = z\n', 'f"Z{layer}"] = z = tf.cast(tf.cast(z, tf.float32), z.dtype)\n'),
            "jax": edit('f"Z{layer}"] = z\n', 'f"Z{layer}"] = z = z.astype(jnp.float32).astype(z.dtype)\n'),
        },
    ),
    Mutant(
        "layers: bias forgotten", "models.py", edit('z += parameters[f"b{layer}"]', "pass"),
        {"model": "deep"}, _FORWARD,
        elsewhere={"jax": edit('z = z + parameters[f"b{layer}"]', "pass")},
    ),
    Mutant(
        "layers: bias added twice", "models.py",
        edit('z += parameters[f"b{layer}"]', 'z += 2 * parameters[f"b{layer}"]'),
        {"model": "deep"}, _FORWARD,
        elsewhere={
            "torch": edit("layer(a)  #", "layer(a) + layer.bias  #"),
            "tf": edit('z += self.parameters[f"b{layer}"]', 'z += 2 * self.parameters[f"b{layer}"]'),
            "jax": edit('z = z + parameters[f"b{layer}"]', 'z = z + 2 * parameters[f"b{layer}"]'),
        },
    ),
    Mutant(
        "layers: the mean for a bias's gradient", "models.py", edit("np.sum(dz, axis=0", "np.mean(dz, axis=0"),
        {"model": "deep"}, _BACKWARD,
    ),
    Mutant(
        "layers: the sum for the input's gradient", "models.py",
        edit('gradients["A0"] = da', 'gradients["A0"] = da * len(da)'),
        {"model": "deep"}, ("gradients",),
    ),
    Mutant(
        "layers: keywords of the activation ignored", "models.py",
        edit("\n                      **self.activation_options)", ")"),
        {"activation": "elu"}, _FORWARD, settings=_HALF_ELU,
        elsewhere={
            "torch": edit("training), **self.activation_options)", "training))"),
            "tf": edit("training), **self.activation_options)", "training))"),
            "jax": edit("z), **dict(self.activation_options))", "z))"),
        },
    ),
    Mutant(
        "layers: keywords of the normalization ignored", "models.py",
        edit('return {"epsilon": self.normalization_options["epsilon"]} if', "return {} if"),
        {"normalization": "layer"}, _FORWARD, _NORMS,
        settings={"model": {
            "name": "shallow_network", "hidden_units": [5], "activation": "tanh",
            "normalization": {"name": "layer_norm", "epsilon": 1e-3},
        }},
        elsewhere={
            "torch": edit('if name == "epsilon"}', "if not name}"),
            "tf": edit('if name == "epsilon"}', "if not name}"),
            "jax": edit('if name == "epsilon"}', "if not name}"),
        },
    ),
    Mutant(
        "batch norm: keywords of its running averages ignored", "models.py",
        edit('if name != "epsilon"}\n        updated', "if not name}\n        updated"),
        {"normalization": "batch, unbiased"}, _RUNNING, ("batch_norm",),
        elsewhere={
            "torch": edit('if name != "epsilon"}', "if not name}"),
            "tf": edit('if name != "epsilon"}\n        for', "if not name}\n        for"),
            "jax": edit('if name != "epsilon"}\n        updated', "if not name}\n        updated"),
        },
    ),
    Mutant(
        "dropout: the mask of the first layer everywhere", "models.py",
        edit("a, masks[layer], keep_probability", "a, masks[1], keep_probability"),
        {"model": "deep", "noise": "dropout"}, _FORWARD, ("inverted_dropout",), settings=_deep(4, 4),
        elsewhere={
            "torch": edit("a, masks[number], keep_probability", "a, masks[1], keep_probability"),
            "tf": edit("a, masks[layer], keep_probability", "a, masks[1], keep_probability"),
            "jax": edit("a, masks[layer], keep_probability", "a, masks[1], keep_probability"),
        },
    ),
    Mutant(
        "dropout: the keep probability of the first layer everywhere", "models.py",
        edit("self.keep_probabilities[layer - 1]", "self.keep_probabilities[0]"),
        {"model": "deep", "noise": "dropout"}, _FORWARD, ("inverted_dropout",), settings=_TWO_KEEP_PROBABILITIES,
        elsewhere={
            "torch": edit("self.keep_probabilities[number - 1]", "self.keep_probabilities[0]"),
            "tf": edit("self.keep_probabilities[layer - 1]", "self.keep_probabilities[0]"),
            "jax": edit("self.keep_probabilities[layer - 1]", "self.keep_probabilities[0]"),
        },
    ),
    Mutant(
        "dropout: the mask not applied in the backward pass", "models.py",
        edit("hidden in masks:", "hidden in ():"),
        {"noise": "dropout"}, _BACKWARD, ("inverted_dropout",),
    ),
    Mutant(
        "dropout: a weight's gradient takes the units before it", "models.py",
        edit('(dz.T, values[f"A{layer - 1}"]', '(dz.T, values.get(f"F{layer - 1}", values[f"A{layer - 1}"])'),
        {"noise": "dropout"}, _BACKWARD, ("inverted_dropout",),
    ),
    Mutant(
        "dropout: active at inference", "models.py",
        edit(
            "if masks is not None and layer in masks:\n                    values",
            "if masks is None:\n"
            "                    masks = {1: np.arange(a.size).reshape(a.shape) % 5 > 0}\n"
            "                if layer in masks:\n                    values",
        ),
        {"noise": "dropout", "stopping": "early stopping"}, _INFERENCE, ("inverted_dropout",),
    ),
    Mutant(
        "dropout: scaled at inference too", "models.py",
        edit(
            'values[f"A{layer}"] = a\n',
            'values[f"A{layer}"] = a if masks is not None else self.keep_probabilities[layer - 1] * a\n',
        ),
        {"noise": "dropout", "stopping": "early stopping"}, _INFERENCE, ("inverted_dropout",),
        elsewhere={
            "torch": edit(
                'values[f"A{number}"] = a\n',
                'values[f"A{number}"] = a = a if training else self.keep_probabilities[number - 1] * a\n',
            ),
            "tf": edit(
                'values[f"A{layer}"] = a\n',
                'values[f"A{layer}"] = a = a if training else self.keep_probabilities[layer - 1] * a\n',
            ),
            "jax": edit(
                'values[f"A{layer}"] = a\n',
                'values[f"A{layer}"] = a if masks is not None else self.keep_probabilities[layer - 1] * a\n',
            ),
        },
    ),
    Mutant(
        "batch norm: running variances start at 0", "models.py",
        edit('running_variance{layer}": np.ones', 'running_variance{layer}": np.zeros'),
        {"normalization": "batch"}, ("free_running",), ("batch_norm",),
        elsewhere={
            "torch": edit('float(name.startswith("running_variance"))', "0.0"),
            "tf": edit('running_variance{layer}": tf.ones', 'running_variance{layer}": tf.zeros'),
            "jax": edit('running_variance{layer}": jnp.ones', 'running_variance{layer}": jnp.zeros'),
        },
    ),
    Mutant(
        "predicted classes: the threshold of a probability for a logit", "models.py",
        edit("statistics) > 0)", "statistics) > 0.5)"),
        {"model": "multi-task"}, ("free_running",), ("sigmoid",),
        elsewhere={
            "torch": edit("(model(x) > 0)", "(model(x) > 0.5)"),
            "tf": edit("model(x) > 0,", "model(x) > 0.5,"),
            "jax": edit("statistics) > 0)", "statistics) > 0.5)"),
        },
    ),
    Mutant(
        "predicted classes: the least likely", "models.py", edit(".argmax(axis=1)", ".argmin(axis=1)"),
        {"model": "softmax regression"}, ("free_running",), ("softmax_classifier",),
        elsewhere={
            "torch": edit(".argmax(dim=1)", ".argmin(dim=1)"),
            "tf": edit("tf.argmax(model(x), axis=1)", "tf.argmin(model(x), axis=1)"),
            "jax": edit(".argmax(axis=1)", ".argmin(axis=1)"),
        },
    ),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = (*_ACTIVATIONS, *_NORMALIZATIONS, *_MODELS)
