"""The kinds of components that have vectors, and how the reference answers one: inputs in, outputs out.

Inputs and outputs are flat: ``"parameters/W1"`` is the tensor ``W1`` among the parameters. A kind is evaluated with a
module of the reference, its own or one with a fault in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from conformance.problems.tensors import Array, Tensors
from reference_numpy import activations, arithmetic, losses, normalization, optimizers, regularizers, schedules

Inputs = dict[str, Any]  # arrays, and whole numbers
Evaluate = Callable[[Any, str, Mapping[str, Any], Inputs], Tensors]


@dataclass(frozen=True)
class Kind:
    """A kind of component.

    Attributes:
        name: ``optimizer``.
        module: of the reference, where it stands.
        files: of the reference, whose faults a vector can show.
        evaluate: ``(module, component, keywords, inputs) -> outputs``.
        axes: by the name of an input or output, or the part of it before a slash, what its last axes count. What counts
            the same may be put into another order in all of them; an axis called "" may not.
        host: inputs that are numbers of the host, in float64 whatever the working precision.
        exact: inputs that are marks, labels or draws: rounding does not touch them.
        inputs, outputs: what they are, in a sentence each.
    """

    name: str
    module: ModuleType
    files: tuple[str, ...]
    evaluate: Evaluate
    axes: Mapping[str, tuple[str, ...]]
    inputs: str
    outputs: str
    host: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()

    def axes_of(self, name: str) -> tuple[str, ...]:
        """What the last axes of an input or output count; () where nothing may be reordered."""
        return self.axes.get(name, self.axes.get(name.partition("/")[0], ()))


def below(tensors: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The tensors of a group, by the rest of their names.

    >>> below({"slots/velocity/w": 1, "parameters/w": 2}, "slots")
    {'velocity/w': 1}
    """
    return {name[len(group) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{group}/")}


def _grouped(group: str, tensors: Mapping[str, Array]) -> Tensors:
    return {f"{group}/{name}": value for name, value in tensors.items()}


def _optimizer(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    """A step from a given state, or a run of steps from the optimizer's own beginning."""
    optimizer = module.OPTIMIZERS[name](**keywords)
    parameters, gradients = below(inputs, "parameters"), below(inputs, "gradients")
    if "step" in inputs:
        slots: dict[str, Tensors] = {}
        for path, value in below(inputs, "slots").items():
            slot, _, parameter = path.partition("/")
            slots.setdefault(slot, {})[parameter] = value
        state = module.OptimizerState(inputs["step"] - 1, slots)
        rate = float(inputs["learning_rate"])
        parameters, state = optimizer.update(gradients, state, parameters, learning_rate=rate)
        found = _grouped("parameters", parameters)
    else:
        state, visited = optimizer.init(parameters), []
        for t, rate in enumerate(inputs["learning_rates"]):
            now = {parameter: g[t] for parameter, g in gradients.items()}
            parameters, state = optimizer.update(now, state, parameters, learning_rate=float(rate))
            visited.append(parameters)
        found = _grouped("parameters", {n: np.stack([each[n] for each in visited]) for n in parameters})
    return found | {
        f"slots/{slot}/{parameter}": value
        for slot, tensors in state.slots.items()
        for parameter, value in tensors.items()
    }


def _activation(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    z = inputs["z"]
    value = module.ACTIVATIONS[name](z, **keywords)
    return {"value": value, "gradient": module.BACKWARD[name](inputs["upstream"], z, value, **keywords)}


def _loss(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    """The loss of each example, the cost of the batch, and its gradient with respect to the outputs."""
    own = {keyword: value for keyword, value in keywords.items() if keyword not in ("reduction", "example_weights")}
    given = inputs["outputs"], inputs["targets"], inputs.get("example_weights")
    per_example, gradient = module.LOSSES[name](*given, **own), module.GRADIENTS[name](*given, **own)
    if keywords["reduction"] == "sum":
        return {"per_example": per_example, "cost": np.asarray(arithmetic.total(per_example)), "gradient": gradient}
    cost = np.asarray(arithmetic.mean(per_example))
    return {"per_example": per_example, "cost": cost, "gradient": gradient / len(given[1])}


def _normalization(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    return _NORMALIZATIONS[name](module, keywords, inputs)


def _batch_norm(module: Any, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    z, gamma, beta, epsilon = inputs["z"], inputs["gamma"], inputs["beta"], {"epsilon": keywords["epsilon"]}
    running = inputs["running_mean"], inputs["running_variance"]
    averaging = {keyword: keywords[keyword] for keyword in ("momentum", "running_variance")}
    batch = module.batch_statistics(z)
    new = module.running_average(running, batch, len(z), **averaging)
    dz, dgamma, dbeta = module.batch_norm_backward(inputs["upstream"], z, gamma, *batch, **epsilon)
    return {
        "value": module.batch_norm(z, gamma, beta, *batch, **epsilon),
        "value_at_inference": module.batch_norm(z, gamma, beta, *running, **epsilon),
        "gradient_z": dz, "gradient_gamma": dgamma, "gradient_beta": dbeta,
        "running_mean": new[0], "running_variance": new[1],
    }  # fmt: skip


def _layer_norm(module: Any, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    z, gamma = inputs["z"], inputs["gamma"]
    dz, dgamma, dbeta = module.layer_norm_backward(inputs["upstream"], z, gamma, **keywords)
    value = module.layer_norm(z, gamma, inputs["beta"], **keywords)
    return {"value": value, "gradient_z": dz, "gradient_gamma": dgamma, "gradient_beta": dbeta}


def _standardization(module: Any, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    mean, deviation = module.standardization_statistics(inputs["training_set"])
    value = module.standardize(inputs["z"], mean, deviation)
    return {"mean": mean, "standard_deviation": deviation, "value": value}


_NORMALIZATIONS = {"batch_norm": _batch_norm, "layer_norm": _layer_norm, "standardization": _standardization}


def _schedule(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    rate = module.SCHEDULES[name](float(inputs["learning_rate"]), **keywords)
    return {"rates": np.array([rate(int(t)) for t in inputs["t"]])}


def _penalty(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    weights, examples = below(inputs, "weights"), inputs["examples"]
    penalty = module.PENALTIES[name](**keywords)
    value = np.asarray(penalty.value(list(weights.values()), examples))
    return {"value": value, **_grouped("gradients", {n: penalty.gradient(w, examples) for n, w in weights.items()})}


def _clipping(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    return _grouped("gradients", module.CLIPPINGS[name](**keywords)(below(inputs, "gradients")))


def _constraint(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    return _grouped("parameters", module.CONSTRAINTS[name](**keywords)(below(inputs, "parameters")))


def _dropout(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    mask = inputs["mask"].astype(bool)
    value = module.inverted_dropout(inputs["activations"], mask, **keywords)
    return {"value": value, "gradient": module.inverted_dropout(inputs["upstream"], mask, **keywords)}


def _augmentation(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    shape = (tuple(int(size) for size in inputs["image_shape"]),) if "image_shape" in inputs else ()
    drawn = inputs["draws"].astype(bool) if name == "random_flip" else inputs["draws"]
    return {"value": module.AUGMENTATIONS[name](*shape, **keywords).apply(inputs["x"], drawn)}


def _early_stopping(module: Any, name: str, keywords: Mapping[str, Any], inputs: Inputs) -> Tensors:
    """What is decided after each epoch, up to the one at which training stops."""
    monitor = module.early_stopping(**keywords)
    improved, last = np.zeros(len(inputs["costs"])), 0
    for cost in inputs["costs"]:
        improved[last] = monitor.improved(float(cost))
        last += 1
        if monitor.stop:
            break
    return {"improved": improved, "best_epoch": np.array(float(monitor.best_epoch)), "epochs": np.array(float(last))}


_OF_Z = ("example", "unit")

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "optimizer", optimizers, ("optimizers.py",), _optimizer,
            dict.fromkeys(("parameters", "gradients", "slots"), ("element",)),
            "parameters, and either the gradients and learning rates of several steps from the optimizer's own initial"
            " state (a run; the first axis counts steps), or one step's gradients, learning_rate, the state (slots)"
            " before it and its number (step, counted from 1)",
            "parameters after each step of a run, or after the one step; slots after the last step",
            host=("learning_rate", "learning_rates"),
        ),
        Kind(
            "activation", activations, ("activations.py",), _activation,
            dict.fromkeys(("z", "upstream", "value", "gradient"), _OF_Z),
            "z (examples, units), and upstream, the gradient of a cost with respect to the value",
            "value f(z), and gradient, that of the cost with respect to z",
        ),
        Kind(
            "loss", losses, ("activations.py", "losses.py"), _loss,
            {"outputs": ("example", ""), "targets": ("example", ""), "example_weights": ("example",),
             "per_example": ("example",), "gradient": ("example", "")},
            "outputs of the model (logits, or probabilities or predictions), targets (labels as whole numbers for a"
            " categorical loss), and example_weights if there are any",
            "per_example losses, the cost of the batch (their mean, or sum as reduction says), and gradient, that of"
            " the cost with respect to the outputs",
            exact=("targets", "example_weights"),
        ),
        Kind(
            "normalization", normalization, ("normalization.py",), _normalization,
            {**dict.fromkeys(("z", "upstream", "value", "value_at_inference", "gradient_z"), _OF_Z),
             "training_set": ("other example", "unit"),
             **dict.fromkeys(("gamma", "beta", "running_mean", "running_variance", "gradient_gamma", "gradient_beta",
                              "mean", "standard_deviation"), ("unit",))},
            "z (examples, units), gamma, beta, upstream (the gradient of a cost with respect to the value), and for"
            " batch norm the running averages before; for standardization the training_set",
            "value in training and, for batch norm, at inference; gradients of the cost; running averages after",
            exact=("training_set",),
        ),
        Kind(
            "schedule", schedules, ("schedules.py",), _schedule, {"t": ("t",), "rates": ("t",)},
            "learning_rate (the initial one), and t, epochs or steps counted from 0",
            "rates, the learning rate at each t",
            host=("learning_rate",),
        ),
        Kind(
            "penalty", regularizers, ("regularizers.py",), _penalty,
            {"weights": ("row", "column"), "gradients": ("row", "column")},
            "weights, and the number of examples of the batch", "value of the penalty, and its gradients",
        ),
        Kind(
            "clipping", regularizers, ("regularizers.py",), _clipping, {"gradients/W1": ("row", "column"),
            "gradients/b1": ("row",)},
            "gradients", "gradients, clipped",
        ),
        Kind(
            "constraint", regularizers, ("regularizers.py",), _constraint, {"parameters/W1": ("row", "column"),
            "parameters/b1": ("row",)},
            "parameters (rows of W1 are the weights into a unit)", "parameters, constrained",
        ),
        Kind(
            "dropout", regularizers, ("regularizers.py",), _dropout,
            dict.fromkeys(("activations", "mask", "upstream", "value", "gradient"), _OF_Z),
            "activations, the mask that was drawn (1: kept), and upstream, the gradient with respect to the value",
            "value, and gradient, that with respect to the activations", exact=("mask",),
        ),
        Kind(
            "augmentation", regularizers, ("regularizers.py",), _augmentation, {},
            "x (images flattened in C order), image_shape, and what was drawn for each example (draws)", "value",
            exact=("draws",),
        ),
        Kind(
            "early_stopping", regularizers, ("_common.py", "regularizers.py"), _early_stopping, {},
            "costs of the validation set after each epoch",
            "improved (1 where an epoch is the best so far), best_epoch (counted from 1), and epochs, after how many of"
            " them training stops",
        ),
    )
}  # fmt: skip
