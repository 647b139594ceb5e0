"""Faults of losses, regularizers, schedules and the training loop."""

from collections.abc import Mapping
from typing import Any

from conformance.faults.mutant import Mutant, edit, everywhere

# What sees a fault of a cost and its gradient, one of the value alone, one of the gradient alone, one of a dropped
# unit, one of the augmented inputs, one between gradient and parameters, and one of the training loop.
_COST = ("loss", "gradients", "gradient_check", "teacher_forced", "free_running")
_VALUE = ("loss", "gradient_check", "teacher_forced", "free_running")
_GRADIENT = ("gradients", "gradient_check", "teacher_forced", "free_running")
_FORWARD = ("forward", *_COST)
_INPUT = ("forward", "free_running")
_STEP = ("teacher_forced", "free_running")
_LOOP = ("free_running",)

_CROSS_ENTROPIES = ("binary_cross_entropy", "categorical_cross_entropy")
_FROM_PROBABILITIES = tuple(f"{name}_from_probabilities" for name in _CROSS_ENTROPIES)
_CLASSIFYING = (*_CROSS_ENTROPIES, *_FROM_PROBABILITIES)
_WEIGHTED = (*_CLASSIFYING, "mean_squared_error")
_PENALTIES = ("l2", "l1", "elastic_net")
_CLIPPINGS = ("clip_by_value", "clip_by_norm", "clip_by_global_norm")
_NORMS = ("clip_by_norm", "clip_by_global_norm", "max_norm")
_AUGMENTATIONS = ("random_flip", "random_shift", "gaussian_noise")


def _regularized(*regularizers: Mapping[str, Any], **settings: Any) -> Mapping[str, Any]:
    return {"regularizers": regularizers, **settings}


# Steps so long that the validation cost rises again.
_TOO_FAR = {"epochs": 12, "optimizer": {"name": "gradient_descent", "learning_rate": 5.0}}
_STOPPED = _regularized({"name": "early_stopping", "patience": 2, "min_delta": 0.001}, **_TOO_FAR)

_LOSSES = (
    Mutant(
        "binary cross-entropy: exp(-z) whatever the sign of z", "losses.py",
        edit("np.log1p(np.exp(-np.abs(logits)))", "np.log1p(np.exp(-logits))"),
        {"loss": "binary"}, _VALUE, ("binary_cross_entropy",),
        elsewhere={
            "torch": edit(
                "-y * F.logsigmoid(logits) - (1 - y) * F.logsigmoid(-logits)",
                "F.relu(logits) - logits * y + torch.log1p(torch.exp(-logits))",
            ),
            "tf": edit(
                "tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits)",
                "tf.nn.relu(logits) - logits * y + tf.math.log1p(tf.exp(-logits))",
            ),
            "jax": edit("jnp.exp(-magnitude)", "jnp.exp(-logits)"),
        },
    ),
    Mutant(
        "binary cross-entropy: gradient without the target", "losses.py",
        edit("(activations.sigmoid(logits) - y)", "activations.sigmoid(logits)"),
        {"loss": "binary"}, _GRADIENT, ("binary_cross_entropy",),
    ),
    Mutant(
        "binary cross-entropy: smoothed in the value alone", "losses.py",
        edit("(activations.sigmoid(logits) - y)", "(activations.sigmoid(logits) - targets)"),
        {"loss": "binary", "penalty": "label smoothing"}, _GRADIENT, ("binary_cross_entropy",),
    ),
    everywhere(
        "binary cross-entropy: all that smoothing takes goes to class 1", "losses.py",
        edit("+ label_smoothing / 2 if", "+ label_smoothing if"),
        {"loss": "binary", "penalty": "label smoothing"}, _COST, ("binary_cross_entropy",),
    ),
    Mutant(
        "binary cross-entropy: smoothed twice", "losses.py",
        edit("return (1 - label_smoothing) * targets", "return (1 - label_smoothing) ** 2 * targets"),
        {"loss": "binary", "penalty": "label smoothing"}, _COST, ("binary_cross_entropy",),
        elsewhere={
            "torch": edit("(1 - label_smoothing) * y", "(1 - label_smoothing) ** 2 * y"),
            "tf": edit("y = (1 - label_smoothing) * targets", "y = (1 - label_smoothing) ** 2 * targets"),
            "jax": edit("(1 - label_smoothing) * targets", "(1 - label_smoothing) ** 2 * targets"),
        },
    ),
    Mutant(
        "binary cross-entropy: sum and mean over the outputs swapped", "losses.py",
        edit('logits.shape[1] if reduction == "mean"', 'logits.shape[1] if reduction == "sum"'),
        {"loss": "binary, mean of outputs", "model": "multi-task"}, _COST,
        ("binary_cross_entropy", "binary_cross_entropy_from_probabilities"),
        elsewhere={
            "torch": edit('logits.shape[1] if reduction == "mean"', 'logits.shape[1] if reduction == "sum"'),
            "tf": edit('tf.reduce_mean if reduction == "mean"', 'tf.reduce_mean if reduction == "sum"'),
            "jax": edit('logits.shape[1] if reduction == "mean"', 'logits.shape[1] if reduction == "sum"'),
        },
    ),
    Mutant(
        "categorical cross-entropy: the shift left in the label's logit", "losses.py",
        edit("picked = shifted[", "picked = logits["),
        {"loss": "categorical"}, _VALUE, ("categorical_cross_entropy",),
    ),
    Mutant(
        "categorical cross-entropy: smoothed over K - 1 classes", "losses.py",
        (
            *edit("shifted.mean(axis=1)", "shifted.sum(axis=1) / (logits.shape[1] - 1)"),
            *edit("label_smoothing / logits.shape[1]", "label_smoothing / (logits.shape[1] - 1)"),
        ),
        {"loss": "categorical", "penalty": "label smoothing"}, _COST, ("categorical_cross_entropy",),
        elsewhere={
            "tf": edit("share = label_smoothing / classes", "share = label_smoothing / (classes - 1)"),
            "jax": edit("log_probabilities.mean(axis=1)", "log_probabilities.sum(axis=1) / (logits.shape[1] - 1)"),
        },
    ),
    Mutant(
        "categorical cross-entropy: smoothed in the value alone", "losses.py",
        edit("gradient -= label_smoothing / logits.shape[1]", "gradient -= 0.0"),
        {"loss": "categorical", "penalty": "label smoothing"}, _GRADIENT, ("categorical_cross_entropy",),
    ),
    Mutant(
        "binary cross-entropy of probabilities: the two logarithms swapped", "losses.py",
        edit(
            "-targets * np.log(q) - (1 - targets) * np.log1p(-q)",
            "-targets * np.log1p(-q) - (1 - targets) * np.log(q)",
        ),
        {"loss": "binary, probabilities"}, _VALUE, ("binary_cross_entropy_from_probabilities",),
        elsewhere={
            "torch": edit("-y * q.log() - (1 - y) * torch.log1p(-q)", "-y * torch.log1p(-q) - (1 - y) * q.log()"),
            "tf": edit(
                "-targets * tf.math.log(q) - (1 - targets) * tf.math.log1p(-q)",
                "-targets * tf.math.log1p(-q) - (1 - targets) * tf.math.log(q)",
            ),
            "jax": edit(
                "-targets * jnp.log(q) - (1 - targets) * _log_one_minus(q)",
                "-targets * _log_one_minus(q) - (1 - targets) * jnp.log(q)",
            ),
        },
    ),
    Mutant(
        "binary cross-entropy of probabilities: a gradient beyond the clip", "losses.py",
        edit(" * (q == probabilities)", ""),
        {"loss": "binary, probabilities"}, _GRADIENT, ("binary_cross_entropy_from_probabilities",),
        settings={"loss": {"name": "binary_cross_entropy_from_probabilities", "clip": 0.45}},
    ),
    Mutant(
        "cross-entropies of probabilities: clipped from below alone", "losses.py",
        edit("np.clip(probabilities, clip, 1 - clip)", "np.maximum(probabilities, clip)"),
        {"loss": "binary, probabilities"}, _COST, _FROM_PROBABILITIES,
        settings={"loss": {"name": "binary_cross_entropy_from_probabilities", "clip": 0.45}},
        elsewhere={
            "torch": edit("probabilities.clamp(clip, 1 - clip)", "probabilities.clamp(min=clip)"),
            "tf": edit("tf.clip_by_value(probabilities, clip, 1 - clip)", "tf.maximum(probabilities, clip)"),
            "jax": edit("probabilities > 1 - clip", "probabilities > 1"),
        },
    ),
    Mutant(
        "categorical cross-entropy of probabilities: in bits", "losses.py",
        edit("_weighted(-np.log(q), weights)", "_weighted(-np.log2(q), weights)"),
        {"loss": "categorical, probabilities"}, _VALUE, ("categorical_cross_entropy_from_probabilities",),
        elsewhere={
            "torch": edit("log_q = _clip(probabilities, clip).log()", "log_q = _clip(probabilities, clip).log2()"),
            "jax": edit("_weighted(-jnp.log(picked), weights)", "_weighted(-jnp.log2(picked), weights)"),
        },
    ),
    Mutant(
        "categorical cross-entropy of probabilities: a gradient beyond the clip", "losses.py",
        edit("np.where(q == p, -1 / q, 0.0)", "-1 / q"),
        {"loss": "categorical, probabilities"}, _GRADIENT, ("categorical_cross_entropy_from_probabilities",),
        settings={"loss": {"name": "categorical_cross_entropy_from_probabilities", "clip": 0.1}},
    ),
    everywhere(
        "squared error: the whole where the half is asked for", "losses.py",
        edit('"half": 0.5', '"half": 1.0'),
        {"loss": "squared error, half"}, _COST, ("mean_squared_error",),
    ),
    everywhere(
        "squared error: the half where the sum is asked for", "losses.py",
        edit('"sum": 1.0', '"sum": 0.5'),
        {"loss": "squared error, sum, example weights"}, _COST, ("mean_squared_error",),
    ),
    Mutant(
        "squared error: gradient without its factor 2", "losses.py", edit("gradient = 2.0 * ", "gradient = "),
        {"loss": "squared error"}, _GRADIENT, ("mean_squared_error",),
    ),
    Mutant(
        "class weights: all of them 1", "losses.py",
        edit("weights = weights[labels]", "weights = np.ones(len(labels))"),
        {"loss": "binary, class weights"}, _COST, _CLASSIFYING,
        elsewhere={
            "torch": edit("labels.device)[labels.long()]", "labels.device)[labels.long()] * 0 + 1"),
            "tf": edit("tf.gather(tf.constant(weights), labels)", "tf.ones(labels.shape, tf.float64)"),
            "jax": edit("jnp.asarray(weights)[labels]", "jnp.ones(len(labels))"),
        },
    ),
    Mutant(
        "class weights: those of the other end", "losses.py", edit("weights[labels]", "weights[-1 - labels]"),
        {"loss": "categorical, class weights"}, _COST, _CLASSIFYING,
        elsewhere={
            "torch": edit("labels.device)[labels.long()]", "labels.device)[-1 - labels.long()]"),
            "tf": edit("tf.gather(tf.constant(weights), labels)", "tf.gather(tf.constant(weights[::-1]), labels)"),
            "jax": edit("jnp.asarray(weights)[labels]", "jnp.asarray(weights)[-1 - labels]"),
        },
    ),
    Mutant(
        "class weights: example weights lost beside them", "losses.py",
        edit("weights if example_weights is None else weights * example_weights", "weights"),
        {"loss": "categorical, class weights"}, _COST, _CLASSIFYING,
        settings={"example_weights": "drawn"},
    ),
    Mutant(
        "example weights: all of them 1", "losses.py",
        edit("weights = np.asarray(weights)\n    return", "weights = np.ones_like(weights)\n    return"),
        {"loss": "binary, example weights"}, _COST, _WEIGHTED,
        elsewhere={
            "tf": edit("weights = tf.convert_to_tensor(weights)", "weights = tf.ones_like(weights)"),
            "jax": edit("weights = jnp.asarray(weights)\n    return", "weights = jnp.ones_like(weights)\n    return"),
        },
    ),
    Mutant(
        "example weights: divided by their sum where their number is asked for, and the other way about", "losses.py",
        edit('weights if denominator == "examples"', 'weights if denominator == "weights"'),
        {"loss": "binary, example weights"}, _COST, _WEIGHTED,
        elsewhere={
            "torch": edit('weights if denominator == "examples"', 'weights if denominator == "weights"'),
            "tf": edit('if denominator == "examples":', 'if denominator == "weights":'),
            "jax": edit('weights if denominator == "examples"', 'weights if denominator == "weights"'),
        },
    ),
)  # fmt: skip

_REGULARIZERS = (
    everywhere(
        "penalties: not divided by the examples", "regularizers.py",
        edit("strength / (2 * examples)", "strength / 2"),
        {"penalty": "l2"}, _COST, _PENALTIES,
    ),
    Mutant(
        "penalties: the whole where the half is asked for", "regularizers.py",
        edit('"half": strength / 2', '"half": strength'),
        {"penalty": "l2, half"}, _COST, _PENALTIES,
        elsewhere={
            "torch": edit('"half": strength / 2', '"half": strength'),
            "tf": edit('"half": self.strength / 2', '"half": self.strength'),
            "jax": edit('"half": self.strength / 2', '"half": self.strength'),
        },
    ),
    Mutant(
        "l2: gradient without its factor 2", "regularizers.py",
        edit("2 * (1 - l1_ratio) * weight", "(1 - l1_ratio) * weight"),
        {"penalty": "l2"}, _GRADIENT, ("l2", "elastic_net"),
    ),
    Mutant(
        "l1: gradient without the sign", "regularizers.py",
        edit("l1_ratio * np.sign(weight)", "l1_ratio * np.ones_like(weight)"),
        {"penalty": "l1"}, _GRADIENT, ("l1", "elastic_net"),
    ),
    Mutant(
        "l1: value without the sign", "regularizers.py", edit("sums.total(np.abs(w)) for w", "sums.total(w) for w"),
        {"penalty": "l1"}, _VALUE, ("l1", "elastic_net"),
        elsewhere={
            "torch": edit("weight.abs().sum()", "weight.sum()"),
            "tf": edit("tf.reduce_sum(tf.abs(w))", "tf.reduce_sum(w)"),
            "jax": edit("jnp.sum(w * jnp.sign(w))", "jnp.sum(w)"),
        },
    ),
    everywhere(
        "elastic net: the ratio that of the squares", "regularizers.py",
        edit("    if convention not in", "    l1_ratio = 1 - l1_ratio\n    if convention not in"),
        {"penalty": "elastic net"}, _COST, _PENALTIES,
        settings=_regularized({"name": "elastic_net", "strength": 0.02, "l1_ratio": 0.2, "convention": "full"}),
    ),
    Mutant(
        "dropout: kept units not scaled", "regularizers.py",
        edit("return activations * mask / keep_probability", "return activations * mask"),
        {"noise": "dropout"}, _FORWARD, ("inverted_dropout",),
        elsewhere={
            "torch": edit("return activations * mask / keep_probability", "return activations * mask"),
            "tf": edit("activations.dtype) / keep_probability", "activations.dtype)"),
            "jax": edit("activations * mask / float(keep_probability)", "activations * mask"),
        },
    ),
    Mutant(
        "dropout: kept units scaled twice", "regularizers.py",
        edit("return activations * mask / keep_probability", "return activations * mask / keep_probability**2"),
        {"noise": "dropout"}, _FORWARD, ("inverted_dropout",),
        elsewhere={
            "torch": edit("activations * mask / keep_probability\n", "activations * mask / keep_probability**2\n"),
            "tf": edit("activations.dtype) / keep_probability", "activations.dtype) / keep_probability**2"),
            "jax": edit("mask / float(keep_probability)", "mask / float(keep_probability) ** 2"),
        },
    ),
    Mutant(
        "dropout: the units that are kept dropped", "regularizers.py",
        edit("activations * mask / keep_probability\n", "activations * ~mask / keep_probability\n"),
        {"noise": "dropout"}, _FORWARD, ("inverted_dropout",),
        elsewhere={
            "torch": edit("activations * mask / keep_probability\n", "activations * ~mask / keep_probability\n"),
            "tf": edit("tf.cast(mask, activations.dtype)", "tf.cast(~mask, activations.dtype)"),
            "jax": edit("activations * mask /", "activations * ~mask /"),
        },
    ),
    Mutant(
        "clip by value: from above alone", "regularizers.py",
        edit("np.clip(g, -limit, limit)", "np.minimum(g, limit)"),
        {"limit": "clip by value"}, _STEP, ("clip_by_value",),
        elsewhere={
            "torch": edit("g.clamp(-limit, limit)", "g.clamp(max=limit)"),
            "tf": edit("tf.clip_by_value(g, -self.limit, self.limit)", "tf.minimum(g, self.limit)"),
            "jax": edit("jnp.clip(g, -self.limit, self.limit)", "jnp.minimum(g, self.limit)"),
        },
    ),
    Mutant(
        "clip by norm: the square of the norm", "regularizers.py",
        edit("_shrunk(g, np.sqrt(sums.total(g * g)), limit)", "_shrunk(g, sums.total(g * g), limit)"),
        {"limit": "clip by norm"}, _STEP, ("clip_by_norm",),
        elsewhere={
            "torch": edit("_shrunk(g, g.square().sum().sqrt(), limit)", "_shrunk(g, g.square().sum(), limit)"),
            "tf": edit("tf.sqrt(tf.reduce_sum(g * g)), self", "tf.reduce_sum(g * g), self"),
            "jax": edit("jnp.sqrt(jnp.sum(g * g)), self", "jnp.sum(g * g), self"),
        },
    ),
    Mutant(
        "clip by global norm: each gradient by its own norm", "regularizers.py",
        edit("_shrunk(g, norm, limit)", "_shrunk(g, np.sqrt(sums.total(g * g)), limit)"),
        {"limit": "clip by global norm"}, _STEP, ("clip_by_global_norm",),
        elsewhere={
            "torch": edit("_shrunk(g, norm, limit)", "_shrunk(g, g.square().sum().sqrt(), limit)"),
            "tf": edit("_shrunk(g, norm, self.limit)", "_shrunk(g, tf.sqrt(tf.reduce_sum(g * g)), self.limit)"),
            "jax": edit("_shrunk(g, norm, self.limit)", "_shrunk(g, jnp.sqrt(jnp.sum(g * g)), self.limit)"),
        },
    ),
    Mutant(
        "clip by global norm: the norms added up", "regularizers.py",
        edit("np.sqrt(sum(sums.total(g * g) for", "(sum(np.sqrt(sums.total(g * g)) for"),
        {"limit": "clip by global norm"}, _STEP, ("clip_by_global_norm",),
    ),
    Mutant(
        "clip by norm: 1e-6 beside the norm, as PyTorch's own clipping has it", "regularizers.py",
        edit("np.sqrt(sums.total(g * g)), limit)", "np.sqrt(sums.total(g * g)) + 1e-6, limit)"),
        {"limit": "clip by norm"}, _STEP, ("clip_by_norm",), ("float64",),
        elsewhere={
            "torch": edit("_shrunk(g, g.square().sum().sqrt(),", "_shrunk(g, g.square().sum().sqrt() + 1e-6,"),
            "tf": edit("tf.sqrt(tf.reduce_sum(g * g)), self", "tf.sqrt(tf.reduce_sum(g * g)) + 1e-6, self"),
            "jax": edit("jnp.sqrt(jnp.sum(g * g)), self", "jnp.sqrt(jnp.sum(g * g)) + 1e-6, self"),
        },
    ),
    Mutant(
        "clip by global norm: 1e-6 beside the norm, as PyTorch's own clipping has it", "regularizers.py",
        edit("_shrunk(g, norm, limit)", "_shrunk(g, norm + 1e-6, limit)"),
        {"limit": "clip by global norm"}, _STEP, ("clip_by_global_norm",), ("float64",),
        elsewhere={
            "torch": edit("_shrunk(g, norm, limit)", "_shrunk(g, norm + 1e-6, limit)"),
            "tf": edit("_shrunk(g, norm, self.limit)", "_shrunk(g, norm + 1e-6, self.limit)"),
            "jax": edit("_shrunk(g, norm, self.limit)", "_shrunk(g, norm + 1e-6, self.limit)"),
        },
    ),
    Mutant(
        "clip by norm and max-norm: scaled within the limit too", "regularizers.py",
        edit("limit / np.maximum(norm, limit)", "limit / norm"),
        {"limit": "max-norm"}, _STEP, _NORMS,
        elsewhere={
            "torch": edit("limit / torch.maximum(norm, limit)", "limit / norm"),
            "tf": edit("limit / tf.maximum(norm, limit)", "limit / norm"),
            "jax": edit("limit / jnp.maximum(norm, limit)", "limit / norm"),
        },
    ),
    Mutant(
        "max-norm: of the weights out of a unit", "regularizers.py",
        edit("sums.total(w * w, axis=1)", "sums.total(w * w, axis=0)"),
        {"limit": "max-norm"}, _STEP, ("max_norm",),
        elsewhere={
            "torch": edit("w.square().sum(dim=1, keepdim=True)", "w.square().sum(dim=0, keepdim=True)"),
            "tf": edit("tf.reduce_sum(w * w, axis=1,", "tf.reduce_sum(w * w, axis=0,"),
            "jax": edit("jnp.sum(w * w, axis=1,", "jnp.sum(w * w, axis=0,"),
        },
    ),
    Mutant(
        "max-norm: biases too", "regularizers.py",
        edit('if name.startswith("W") else w\n', 'if name.startswith("W") else np.clip(w, -limit, limit)\n'),
        {"limit": "max-norm"}, _STEP, ("max_norm",), settings=_regularized({"name": "max_norm", "limit": 0.01}),
    ),
    everywhere(
        "early stopping: an epoch more of patience", "regularizers.py",
        edit(">= self.patience", "> self.patience"),
        {"stopping": "early stopping"}, _LOOP, ("early_stopping",), settings=_STOPPED,
    ),
    everywhere(
        "early stopping: the wrong sign of min_delta", "regularizers.py",
        edit("self.best_cost - self.min_delta", "self.best_cost + self.min_delta"),
        {"stopping": "early stopping"}, _LOOP, ("early_stopping",),
        settings=_regularized({"name": "early_stopping", "patience": 2, "min_delta": 0.3}, **_TOO_FAR),
    ),
    everywhere(
        "early stopping: patience counted from the first epoch", "regularizers.py",
        edit("self.epoch - self.best_epoch >=", "self.epoch >="),
        {"stopping": "early stopping"}, _LOOP, ("early_stopping",), settings=_STOPPED,
    ),
    Mutant(
        "random flip: upside down", "regularizers.py", edit("images[:, :, ::-1]", "images[:, ::-1]"),
        {"noise": "flip and shift"}, _INPUT, ("random_flip",),
        elsewhere={
            "torch": edit("images.flip(2)", "images.flip(1)"),
            "tf": edit("tf.reverse(images, axis=[2])", "tf.reverse(images, axis=[1])"),
            "jax": edit("images[:, :, ::-1]", "images[:, ::-1]"),
        },
    ),
    Mutant(
        "random shift: the other way", "regularizers.py",
        edit("largest + offsets[:, :1]", "largest - offsets[:, :1]"),
        {"noise": "flip and shift"}, _INPUT, ("random_shift",),
        elsewhere={
            "torch": edit("largest + offsets[:, :1]", "largest - offsets[:, :1]"),
            "tf": edit("self.largest + tf.cast(offsets", "self.largest - tf.cast(offsets"),
            "jax": edit("self.largest + offset)", "self.largest - offset)"),
        },
    ),
    Mutant(
        "gaussian noise: taken away", "regularizers.py", edit("x + scale * noise", "x - scale * noise"),
        {"noise": "noisy inputs"}, _INPUT, ("gaussian_noise",),
        elsewhere={
            "torch": edit("x + scale * noise", "x - scale * noise"),
            "tf": edit("+ self.scale * noise", "- self.scale * noise"),
            "jax": edit("x + self.scale *", "x - self.scale *"),
        },
    ),
    Mutant(
        "gaussian noise: its variance for its scale", "regularizers.py",
        edit("x + scale * noise", "x + scale**2 * noise"),
        {"noise": "noisy inputs"}, _INPUT, ("gaussian_noise",),
    ),
)  # fmt: skip

_SCHEDULES = (
    everywhere(
        "constant: decays all the same", "schedules.py",
        edit("return lambda t: learning_rate\n", "return lambda t: learning_rate / (1 + t)\n"),
        {"schedule": "constant"}, _LOOP, ("constant",),
    ),
    everywhere(
        "inverse time: counted from 1", "schedules.py", edit("decay_rate * t)\n", "decay_rate * (t + 1))\n"),
        {"schedule": "inverse time"}, _LOOP, ("inverse_time",),
    ),
    everywhere(
        "exponential: counted from 1", "schedules.py",
        edit("t: learning_rate * base**t", "t: learning_rate * base ** (t + 1)"),
        {"schedule": "exponential"}, _LOOP, ("exponential",),
    ),
    Mutant(
        "inverse square root: counted from 2", "schedules.py", edit("math.sqrt(t + 1)\n", "math.sqrt(t + 2)\n"),
        {"schedule": "inverse root"}, _LOOP, ("inverse_sqrt",),
        elsewhere={
            "torch": edit("math.sqrt(t + 1)\n", "math.sqrt(t + 2)\n"),
            "tf": edit("math.sqrt(t + 1)\n", "math.sqrt(t + 2)\n"),
            "jax": edit("math.sqrt(t + 1))\n", "math.sqrt(t + 2))\n"),
        },
    ),
    everywhere(
        "inverse square root: k left out", "schedules.py", edit("t: k * learning_rate", "t: learning_rate"),
        {"schedule": "inverse root"}, _LOOP, ("inverse_sqrt",),
        settings={"schedule": {"name": "inverse_sqrt", "unit": "step", "k": 0.5}},
    ),
    everywhere(
        "staircase: rounded up", "schedules.py", edit("(t // every)", "-(-t // every)"),
        {"schedule": "staircase"}, _LOOP, ("staircase",),
    ),
    everywhere(
        "piecewise: one step late", "schedules.py", edit("t >= boundary", "t > boundary"),
        {"schedule": "piecewise"}, _LOOP, ("piecewise",),
    ),
    Mutant(
        "cosine: rises again after its end", "schedules.py",
        edit("math.cos(math.pi * min(t, steps) / steps)", "math.cos(math.pi * t / steps)"),
        {"schedule": "cosine", "batches": "even"}, _LOOP, ("cosine",),
        elsewhere={
            "torch": edit("math.pi * min(t, steps)", "math.pi * t"),
            "tf": edit("math.pi * min(t, steps)", "math.pi * t"),
            "jax": edit("else min(t, steps))", "else t)"),
        },
    ),
    Mutant(
        "cosine: at its end one step early", "schedules.py",
        edit("math.pi * min(t, steps) / steps", "math.pi * min(t, steps - 1) / (steps - 1)"),
        {"schedule": "cosine"}, _LOOP, ("cosine",),
        elsewhere={
            "torch": edit("math.pi * min(t, steps) / steps", "math.pi * min(t, steps - 1) / (steps - 1)"),
            "tf": edit("math.pi * min(t, steps) / steps", "math.pi * min(t, steps - 1) / (steps - 1)"),
            "jax": edit("else min(t, steps)) / steps", "else min(t, steps - 1)) / (steps - 1)"),
        },
    ),
    Mutant(
        "cosine: a quarter of a period for a half", "schedules.py",
        edit("math.cos(math.pi * min", "math.cos(0.5 * math.pi * min"),
        {"schedule": "cosine"}, _LOOP, ("cosine",),
    ),
    Mutant(
        "warm-up: one step early", "schedules.py", edit("(1 - start) * t / steps)", "(1 - start) * (t + 1) / steps)"),
        {"schedule": "warm-up"}, _LOOP, ("warmup",),
        elsewhere={
            "torch": edit("* t / steps) if", "* (t + 1) / steps) if"),
            "tf": edit("* t / steps) if", "* (t + 1) / steps) if"),
            "jax": edit("(1 - start) * t / steps)\n\n", "(1 - start) * (t + 1) / steps)\n\n"),
        },
    ),
    everywhere(
        "warm-up: its steps counted by what follows", "schedules.py", edit("else then(t - steps)", "else then(t)"),
        {"schedule": "warm-up"}, _LOOP, ("warmup",),
    ),
)  # fmt: skip

_TRAINING = (
    Mutant(
        "cost: the sum of the losses for their mean", "training.py",
        edit("data_loss = sums.mean(", "data_loss = sums.total("),
        {}, _VALUE,
        elsewhere={
            "torch": edit("y, example_weights, **loss_options).mean()", "y, example_weights, **loss_options).sum()"),
            "tf": edit("tf.reduce_mean(per_example)", "tf.reduce_sum(per_example)"),
            "jax": edit("**dict(self.loss_options)).mean()", "**dict(self.loss_options)).sum()"),
        },
    ),
    Mutant(
        "cost: gradient of the sum of the losses", "training.py",
        edit("example_weights, **loss_options) / examples", "example_weights, **loss_options)"),
        {}, _GRADIENT,
    ),
    Mutant(
        "cost: the gradient of the output's activation forgotten", "training.py",
        edit("activations.BACKWARD[model.output](output_gradient, logits, outputs)", "output_gradient"),
        {"loss": "binary, probabilities"}, _GRADIENT, (*_FROM_PROBABILITIES, "mean_squared_error"),
    ),
    Mutant(
        "cost: without the penalty", "training.py",
        edit("Gradients(data_loss + penalty,", "Gradients(data_loss,"),
        {"penalty": "l2"}, ("loss", "gradient_check", "teacher_forced"), _PENALTIES,
        elsewhere={
            "torch": edit("Gradients(cost.detach(),", "Gradients(data_loss.detach(),"),
            "tf": edit("Gradients(cost, data_loss,", "Gradients(data_loss, data_loss,"),
            "jax": edit("Gradients(total, data_loss,", "Gradients(data_loss, data_loss,"),
        },
    ),
    Mutant(
        "penalties: no gradient", "training.py", edit("+= p.gradient(weight, examples)", "+= 0.0"),
        {"penalty": "l1"}, _GRADIENT, _PENALTIES,
        elsewhere={
            "torch": edit("sum(penalty(weights, len(x)) for", "sum(penalty(weights, len(x)).detach() for"),
            "tf": edit("term(model.weights, x.shape[0])", "tf.stop_gradient(term(model.weights, x.shape[0]))"),
            "jax": edit("(p(weights, len(x)) for", "(jax.lax.stop_gradient(p(weights, len(x))) for"),
        },
    ),
    Mutant(
        "penalties: no value", "training.py", edit("sum(p.value(weights, examples) for p in penalties)", "0.0"),
        {"penalty": "elastic net"}, _VALUE, _PENALTIES,
    ),
    Mutant(
        "penalties: of biases too", "training.py",
        edit(
            "penalty = sum(p.value(weights, examples) for p in penalties)\n"
            "    for p in penalties:\n"
            "        for layer, weight in enumerate(weights, start=1):\n"
            '            gradients[f"W{layer}"] +=',
            "penalty = sum(p.value(list(parameters.values()), examples) for p in penalties)\n"
            "    for p in penalties:\n"
            "        for name, weight in parameters.items():\n"
            "            gradients[name] +=",
        ),
        {"penalty": "l2"}, _COST, _PENALTIES,
        elsewhere={
            "torch": edit("[layer.weight for layer in model.layers]", "list(model.parameters())"),
            "tf": edit("term(model.weights,", "term(list(model.parameter_dict().values()),"),
            "jax": edit("(p(weights, len(x)) for", "(p(list(parameters.values()), len(x)) for"),
        },
    ),
    Mutant(
        "penalties: over the examples of the whole set", "training.py",
        edit(
            "    generator = np.random.default_rng(seed)\n",
            "    generator = np.random.default_rng(seed)\n"
            "    penalties = [\n"
            "        p._replace(\n"
            "            value=lambda weights, _, p=p: p.value(weights, examples),\n"
            "            gradient=lambda weight, _, p=p: p.gradient(weight, examples),\n"
            "        )\n"
            "        for p in penalties\n"
            "    ]\n",
        ),
        {"penalty": "l2"}, _LOOP, _PENALTIES,
    ),
    Mutant(
        "augmentations: left out in training", "training.py",
        edit("augment(x[rows], augmentations, [drawn[places] for drawn in draws])", "x[rows]"),
        {"noise": "noisy inputs"}, _LOOP, _AUGMENTATIONS,
        elsewhere={
            "torch": edit("augment(batch.x, augmentations, batch.draws)", "batch.x"),
            "tf": edit("augment(x, augmentations, draws), y", "x, y"),
            "jax": edit("x = augment(x, step.augmentations, draws)", "pass"),
        },
    ),
    Mutant(
        "augmentations: the draws of the first epoch", "training.py",
        edit("[draws[epoch] for", "[draws[0] for"),
        {"noise": "noisy inputs"}, _LOOP, _AUGMENTATIONS,
        elsewhere={
            "torch": edit("_tensor(draws[epoch],", "_tensor(draws[0],"),
            "tf": edit("tf.convert_to_tensor(draws[epoch])", "tf.convert_to_tensor(draws[0])"),
            "jax": edit("[np.asarray(drawn[epoch]) for drawn", "[np.asarray(drawn[0]) for drawn"),
        },
    ),
    Mutant(
        "dropout: the masks of the first epoch", "training.py",
        edit("{layer: masks[epoch] for", "{layer: masks[0] for"),
        {"noise": "dropout"}, _LOOP, ("inverted_dropout",),
        elsewhere={
            "torch": edit("_tensor(masks[epoch],", "_tensor(masks[0],"),
            "tf": edit("tf.convert_to_tensor(masks[epoch])", "tf.convert_to_tensor(masks[0])"),
            "jax": edit("np.asarray(drawn[epoch]) for layer", "np.asarray(drawn[0]) for layer"),
        },
    ),
    Mutant(
        "dropout: masks in the order of the data", "training.py", edit("mask[places] for", "mask[rows] for"),
        {"noise": "dropout"}, _LOOP, ("inverted_dropout",),
    ),
    Mutant(
        "batches: the same order in every epoch", "training.py",
        edit("return batch_order[epoch]", "return batch_order[0]"),
        {}, _LOOP,
        elsewhere={
            "torch": edit("_tensor(batch_order[epoch],", "_tensor(batch_order[0],"),
            "tf": edit("tf.convert_to_tensor(batch_order[epoch])", "tf.convert_to_tensor(batch_order[0])"),
            "jax": edit("np.asarray(batch_order[epoch],", "np.asarray(batch_order[0],"),
        },
    ),
    Mutant(
        "batches: in the order of the data", "training.py",
        edit("rows = order[places] if order is not None else slice(None)", "rows = places"),
        {}, _LOOP,
        elsewhere={
            "torch": edit("if order is not None:\n        x, y", "if order is None:\n        x, y"),
            "tf": edit("rows = tf.slice(order, [start], [size])", "rows = start + tf.range(size)"),
        },
    ),
    Mutant(
        "batches: targets in the order of the data", "training.py", edit("y[rows], loss,", "y[places], loss,"),
        {}, _LOOP,
        elsewhere={"torch": edit("x, y, weights = x[order], y[order],", "x, y, weights = x[order], y,")},
    ),
    Mutant(
        "batches: example weights in the order of the data", "training.py",
        edit("else example_weights[rows]", "else example_weights[places]"),
        {"loss": "binary, example weights"}, _LOOP, _WEIGHTED,
        elsewhere={"torch": edit("None if weights is None else weights[order]", "weights")},
    ),
    Mutant(
        "batches: the last, small one dropped", "training.py",
        edit("range(0, examples, batch_size)", "range(0, examples - batch_size + 1, batch_size)"),
        {}, _LOOP,
        elsewhere={
            "torch": edit("range(0, len(self.x), size)", "range(0, len(self.x) - size + 1, size)"),
            "tf": edit("if rest > 0:", "if rest < 0:"),
            "jax": edit("if end < examples:", "if end > examples:"),
        },
    ),
    Mutant(
        "batches: the last, small one divided by the size of the others", "training.py",
        edit(
            "            statistics = model.updated_statistics(statistics, values)\n",
            "            statistics = model.updated_statistics(statistics, values)\n"
            "            flat_gradient *= min(batch_size, examples - start) / batch_size\n",
        ),
        {}, _LOOP,
    ),
    Mutant(
        "batch norm: running statistics of the last batch alone", "training.py",
        edit(
            "model.updated_statistics(statistics, values)",
            "model.updated_statistics(models.initial_statistics(model, dtype=flat.dtype), values)",
        ),
        {"normalization": "batch"}, _LOOP, ("batch_norm",),
        elsewhere={
            "jax": edit(
                "step.cost.model.updated_statistics(statistics, values)",
                "step.cost.model.updated_statistics(models.initial_statistics(step.cost.model, dtype=x.dtype), values)",
            ),
        },
    ),
    Mutant(
        "batch norm: running statistics never updated", "training.py",
        edit("statistics = model.updated_statistics(statistics, values)", "pass"),
        {"normalization": "batch"}, _LOOP, ("batch_norm",),
        elsewhere={
            "torch": edit("model.update_running_averages(values)", "pass"),
            "tf": edit("model.assign_statistics(values)", "pass"),
            "jax": edit("statistics = step.cost.model.updated_statistics(statistics, values)", "pass"),
        },
    ),
    Mutant(
        "schedule: by epoch where steps are asked for", "training.py",
        edit('schedule(epoch if schedule_unit == "epoch" else step)', "schedule(epoch)"),
        {"schedule": "exponential"}, _LOOP,
        elsewhere={
            "torch": edit('epoch if schedule_unit == "epoch" else len(costs)', "epoch"),
            "tf": edit('if schedule_unit == "epoch":', "if schedule_unit:"),
            "jax": edit('epoch if schedule_unit == "epoch" else epoch * steps + step', "epoch"),
        },
    ),
    Mutant(
        "schedule: one epoch late", "training.py", edit("schedule(epoch if", "schedule(max(epoch - 1, 0) if"),
        {"schedule": "inverse time"}, _LOOP,
        elsewhere={
            "torch": edit('epoch if schedule_unit == "epoch"', 'max(epoch - 1, 0) if schedule_unit == "epoch"'),
            "tf": edit("[schedule(epoch)] * steps", "[schedule(max(epoch - 1, 0))] * steps"),
            "jax": edit("schedule(epoch if", "schedule(max(epoch - 1, 0) if"),
        },
    ),
    Mutant(
        "schedule: its steps counted anew in every epoch", "training.py",
        edit(
            "rate = _rate(optimizer, schedule, schedule_unit, epoch, step)",
            "rate = _rate(optimizer, schedule, schedule_unit, epoch, start // batch_size)",
        ),
        {"schedule": "exponential"}, _LOOP,
        elsewhere={
            "tf": edit("range(epoch * steps, (epoch + 1) * steps)", "range(steps)"),
            "jax": edit("else epoch * steps + step)", "else step)"),
        },
    ),
    Mutant(
        "training: the optimizer's state forgotten after every epoch", "training.py",
        edit(
            "        order = _order(",
            "        state = {slot: np.full_like(flat, value) for slot, value in optimizer.initial_slots.items()}\n"
            "        order = _order(",
        ),
        {"optimizer": "momentum"}, _LOOP,
        elsewhere={
            "torch": edit("        visits = _visits(", "        optimizer.state.clear()\n        visits = _visits("),
            "jax": edit(
                "        curves.append(curve)\n",
                "        curves.append(curve)\n        carry = carry[0], optimizer.init(carry[0]), carry[2]\n",
            ),
        },
    ),
    Mutant(
        "training: the optimizer's steps counted anew in every epoch", "training.py",
        edit("state, step + 1, rate)", "state, start // batch_size + 1, rate)"),
        {"optimizer": "adam"}, _LOOP, ("adam", "adamw", "nadam", "adamax", "radam", "adabelief"),
        elsewhere={
            "jax": edit(
                "        curves.append(curve)\n",
                "        curves.append(curve)\n"
                "        carry = carry[0], carry[1]._replace(step=0 * carry[1].step), carry[2]\n",
            ),
            "tf": edit("        epoch_rates = ", "        optimizer.step.assign(0)\n        epoch_rates = "),
        },
    ),
    Mutant(
        "training: gradients clipped but not kept", "training.py",
        edit("_write(clipping(gradients), gradients)", "clipping(gradients)"),
        {"limit": "clip by norm"}, _LOOP, _CLIPPINGS,
        elsewhere={
            "tf": edit("apply_gradients(gradients,", "apply_gradients(batch.gradients,"),
            "jax": edit("gradients = step.clipping(gradients)", "step.clipping(gradients)"),
        },
    ),
    Mutant(
        "training: clipped before the penalty is added", "training.py",
        edit(
            "_write(clipping(gradients), gradients)",
            "penalty_gradients = {\n"
            '                    name: sum(p.gradient(w, len(y[rows])) for p in penalties) if name[0] == "W" else 0.0\n'
            "                    for name, w in trained.items()\n"
            "                }\n"
            "                clipped = clipping({name: g - penalty_gradients[name] for name, g in gradients.items()})\n"
            "                _write({name: g + penalty_gradients[name] for name, g in clipped.items()}, gradients)",
        ),
        {"limit": "clip by norm", "penalty": "l2"}, _LOOP, _CLIPPINGS,
    ),
    Mutant(
        "training: the norm of the clipped gradients", "training.py",
        edit(
            "            norms.append(np.sqrt(model.product(flat_gradient[None], flat_gradient[:, None])[0, 0]))\n"
            "            if clipping is not None:\n"
            "                _write(clipping(gradients), gradients)\n",
            "            if clipping is not None:\n"
            "                _write(clipping(gradients), gradients)\n"
            "            norms.append(np.sqrt(model.product(flat_gradient[None], flat_gradient[:, None])[0, 0]))\n",
        ),
        {"limit": "clip by norm"}, _LOOP, _CLIPPINGS,
        elsewhere={"tf": edit("global_norm(list(batch.gradients.values()))", "global_norm(list(gradients.values()))")},
    ),
    Mutant(
        "training: the square of the gradient's norm", "training.py",
        edit("np.sqrt(model.product(flat_gradient[None], flat_gradient[:, None])[0, 0])",
              "model.product(flat_gradient[None], flat_gradient[:, None])[0, 0]"),
        {}, _LOOP,
        elsewhere={
            "torch": edit(".sum().sqrt()", ".sum()"),
            "tf": edit("tf.linalg.global_norm(list(batch.gradients.values()))",
                        "tf.linalg.global_norm(list(batch.gradients.values())) ** 2"),
            "jax": edit("optax.tree.norm(gradients)", "optax.tree.norm(gradients, squared=True)"),
        },
    ),
    Mutant(
        "training: constrained before the step", "training.py",
        edit(
            "            optimizer.update_flat(flat, flat_gradient, state, step + 1, rate)\n"
            "            if constraint is not None:\n"
            "                _write(constraint(trained), trained)\n",
            "            if constraint is not None:\n"
            "                _write(constraint(trained), trained)\n"
            "            optimizer.update_flat(flat, flat_gradient, state, step + 1, rate)\n",
        ),
        {"limit": "max-norm"}, _LOOP, ("max_norm",),
        elsewhere={
            "torch": edit(
                "    optimizer.step()\n"
                "    if constraint is not None:\n"
                "        for name, constrained in constraint(parameters).items():\n"
                "            parameters[name].copy_(constrained)\n",
                "    if constraint is not None:\n"
                "        for name, constrained in constraint(parameters).items():\n"
                "            parameters[name].copy_(constrained)\n"
                "    optimizer.step()\n",
            ),
        },
    ),
    Mutant(
        "training: frozen layers trained", "training.py",
        edit("if _layer(name) <= frozen_layers}", "if _layer(name) < frozen_layers}"),
        {"model": "softmax"}, _LOOP, settings={"transfer": {"frozen_layers": 1}},
        elsewhere={
            "tf": edit("if _layer(name) > frozen_layers}", "if _layer(name) >= frozen_layers}"),
            "jax": edit("if _layer(name) <= frozen_layers}", "if _layer(name) < frozen_layers}"),
        },
    ),
    Mutant(
        "training: costs without their penalty", "training.py",
        edit("costs.append(data_loss + penalty)", "costs.append(data_loss)"),
        {"penalty": "l2"}, _LOOP, _PENALTIES,
        elsewhere={
            "torch": edit("costs.append(cost.detach())", "costs.append(data_loss.detach())"),
            "tf": edit("return batch.cost,", "return batch.data_loss,"),
        },
    ),
    Mutant(
        "training: checkpoints that go on changing", "training.py",
        edit("checkpoints[epoch + 1] = _copies(parameters)", "checkpoints[epoch + 1] = parameters"),
        {}, _LOOP,
        elsewhere={
            "torch": edit("checkpoints[epoch + 1] = _copies(model", "checkpoints[epoch + 1] = (model"),
            "tf": edit("checkpoints[epoch + 1] = _copies(model", "checkpoints[epoch + 1] = (model"),
        },
    ),
    Mutant(
        "training: checkpoints an epoch late", "training.py",
        edit("if epoch + 1 in checkpoint_epochs:\n            checkpoints[epoch + 1]",
              "if max(epoch, 1) in checkpoint_epochs:\n            checkpoints[max(epoch, 1)]"),
        {}, _LOOP, settings={"epochs": 4},
    ),
    Mutant(
        "training: validated by the statistics of the batch", "training.py",
        edit("model.forward(parameters, x, statistics=statistics)", "model.forward(parameters, x)"),
        {"normalization": "batch", "stopping": "early stopping"}, _LOOP, ("batch_norm",),
        elsewhere={
            "torch": edit("model(x), loss), y", "model(x, training=True), loss), y"),
            "tf": edit("model(x), loss), y", "model(x, training=True), loss), y"),
            "jax": edit("cost.model.apply(parameters, x, statistics=statistics)", "cost.model.apply(parameters, x)"),
        },
    ),
    Mutant(
        "early stopping: listens to the training cost", "training.py",
        edit("early_stopping.improved(float(validation_costs[-1]))", "early_stopping.improved(float(costs[-1]))"),
        {"stopping": "early stopping"}, _LOOP, ("early_stopping",), settings=_STOPPED,
    ),
    Mutant(
        "early stopping: the best parameters not restored", "training.py",
        edit("best or (parameters, statistics)", "parameters, statistics"),
        {"stopping": "early stopping"}, _LOOP, ("early_stopping",), settings=_STOPPED,
        elsewhere={
            "torch": edit("model.load_state_dict(best)", "pass"),
            "tf": edit("_restore(model, *best)", "pass"),
            "jax": edit("best or (parameters, statistics)", "parameters, statistics"),
        },
    ),
    everywhere(
        "early stopping: the best parameters restored where the last are asked for", "training.py",
        edit(" and early_stopping.restore_best:", ":"),
        {"stopping": "early stopping"}, _LOOP, ("early_stopping",),
        settings=_regularized({"name": "early_stopping", "patience": 2, "restore_best": False}, **_TOO_FAR),
    ),
    Mutant(
        "early stopping: the last running statistics beside the best parameters", "training.py",
        edit("parameters, statistics = best or", "parameters, _ = best or"),
        {"normalization": "batch", "stopping": "early stopping"}, _LOOP, ("early_stopping",), settings=_STOPPED,
        elsewhere={"jax": edit("parameters, statistics = best or", "parameters, _ = best or")},
    ),
    everywhere(
        "early stopping: the best epoch counted from 0", "training.py",
        edit("early_stopping.best_epoch if", "early_stopping.best_epoch - 1 if"),
        {"stopping": "early stopping"}, _LOOP, ("early_stopping",), settings=_STOPPED,
    ),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = (*_LOSSES, *_REGULARIZERS, *_SCHEDULES, *_TRAINING)
