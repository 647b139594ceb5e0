"""The situations from which a component's vectors are chosen: inputs in which its known faults may show.

All numbers are of float32, so that they are the same numbers in both precisions. What is drawn is keyed by what it is
for.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from conformance.checks.case import gradient_sequence
from conformance.data.randomness import keyed_generator
from conformance.problems.tensors import Array, Tensors, cast_floats
from conformance.vectors.kinds import KINDS, Inputs, below

SEED = 0
EXAMPLES, UNITS = 5, 4
LATER_STEPS = (2, 10, 1000)
THRESHOLD_STEPS = (5, 6)  # at which RAdam's thresholds, 4 and 5, tell otherwise
WARM = 9  # steps after which a state is one of a long run
SEQUENCES = ("ordinary", "bursts", "sign_flips", "constant", "tiny", "huge", "zeros")
LONG_SEQUENCES = ("ordinary", "bursts", "tiny", "huge")
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


class Situation(NamedTuple):
    """Inputs, and what is special about them."""

    comment: str
    inputs: Inputs


def situations(kind: str, component: str, keywords: Mapping[str, Any]) -> tuple[Situation, ...]:
    """The situations for a component with its keywords, in the order in which they are to be preferred."""
    make = _OF_COMPONENT.get(component) or _OF_KIND[kind]
    return tuple(
        Situation(comment, {name: _single(value) for name, value in inputs.items()})
        for comment, inputs in make(component, keywords)
    )


def _single(value: Any) -> Any:
    """Real numbers as those of float32 that are nearest, in float64; a learning rate stays what it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(SINGLE).astype(DOUBLE)
    return value


Made = Iterator[tuple[str, Inputs]]


def _normal(purpose: str, *shape: int) -> Array:
    return keyed_generator(SEED, f"vectors: {purpose}").standard_normal(shape)


def _gradients(sequence: str, steps: int) -> Array:
    return np.stack([gradient_sequence(SEED, t)[sequence] for t in range(1, steps + 1)])


def _optimizer(component: str, keywords: Mapping[str, Any]) -> Made:
    """Runs from the beginning, which need no state to be set; then single steps from a given state."""
    rate, w = keywords["learning_rate"], gradient_sequence(SEED, 0)["ordinary"]
    falling = rate * 0.5 ** np.arange(4)
    model = {"parameters/W1": _normal("W1", 3, 2), "parameters/b1": _normal("b1", 3)}
    model |= {"gradients/W1": _normal("dW1", 4, 3, 2), "gradients/b1": _normal("db1", 4, 3)}
    yield "a matrix and a vector, with a falling learning rate", {**model, "learning_rates": _rates(falling)}
    for steps in (4, 8):
        run = {"parameters/w": w, "gradients/w": _gradients("ordinary", steps)}
        yield f"{steps} steps of ordinary gradients", {**run, "learning_rates": _rates(np.full(steps, rate))}
    for sequence in SEQUENCES:
        run = {"parameters/w": np.zeros_like(w), "gradients/w": _gradients(sequence, 3)}
        comment = f"{sequence.replace('_', ' ')} gradients; parameters at 0, so that the smallest step is seen in full"
        yield comment, {**run, "learning_rates": _rates(np.full(3, rate))}
    make = KINDS["optimizer"].module.OPTIMIZERS[component]
    for sequence in LONG_SEQUENCES:
        for t in (*LATER_STEPS, *(THRESHOLD_STEPS if component == "radam" else ())):
            run = {"parameters/w": np.zeros_like(w), "gradients/w": _gradients(sequence, min(t - 1, WARM))}
            state = _after(make(**keywords), run, rate)
            start = w if sequence == "ordinary" else np.zeros_like(w)
            now = {"gradients/w": gradient_sequence(SEED, t)[sequence], "learning_rate": 0.5 * rate, "step": t, **state}
            yield f"step {t} of {sequence.replace('_', ' ')} gradients", {"parameters/w": start, **now}
    state = _after(make(**keywords), {"parameters/w": w, "gradients/w": _gradients("ordinary", WARM)}, rate)
    state = {name: value if "/maximum" in name else 0.25 * value for name, value in state.items()}
    still = {"parameters/w": np.zeros_like(w), "gradients/w": np.zeros_like(w), "learning_rate": rate, "step": WARM + 1}
    yield "a gradient of 0 long after ordinary ones, when averages have become small", {**still, **state}


def _rates(values: Array) -> list[float]:
    return [float(value) for value in values]


def _after(optimizer: Any, run: Inputs, rate: float) -> Inputs:
    """The state after a run, as inputs."""
    parameters = below(run, "parameters")
    state = optimizer.init(parameters)
    for t in range(len(run["gradients/w"])):
        gradients = {"w": run["gradients/w"][t]}
        parameters, state = optimizer.update(gradients, state, parameters, learning_rate=rate)
    return {f"slots/{slot}/w": tensors["w"] for slot, tensors in state.slots.items()}


def _lbfgs(component: str, keywords: Mapping[str, Any]) -> Made:
    """Runs down a quadratic bowl, whose gradients are those on the way of the right method; then any gradients."""
    rate = keywords["learning_rate"]
    start = {"W1": _normal("bowl W1", 2, 2), "b1": _normal("bowl b1", 2)}
    for steps, steepness in ((4, 1.0), (8, 1.0), (4, 6.0)):
        w = cast_floats(cast_floats(start, SINGLE), DOUBLE)
        curvatures = {name: np.geomspace(0.5, 2.0, value.size).reshape(value.shape) for name, value in w.items()}
        optimizer = KINDS["optimizer"].module.OPTIMIZERS[component](**keywords)
        state, taken = optimizer.init(w), []
        for _ in range(steps):
            taken.append({name: _single(steepness * curvatures[name] * value) for name, value in w.items()})
            w, state = optimizer.update(taken[-1], state, w, learning_rate=0.5 * rate)
        gradients: Tensors = {f"gradients/{n}": np.stack([each[n] for each in taken]) for n in w}
        run = {f"parameters/{n}": value for n, value in start.items()} | gradients
        comment = f"{steps} steps down a quadratic bowl of steepness {steepness:g}"
        yield comment, {**run, "learning_rates": [0.5 * rate] * steps}
    run = {f"parameters/{n}": value for n, value in start.items()}
    run |= {f"gradients/{n}": _normal(f"d{n}", 5, *value.shape) for n, value in start.items()}
    yield "unrelated gradients, of which some pairs have no positive curvature", {**run, "learning_rates": [rate] * 5}
    small = {name: 0.1 * value if name.startswith("gradients") else value for name, value in run.items()}
    yield "the same, ten times smaller", {**small, "learning_rates": [rate] * 5}
    for number in range(4):
        run |= {f"gradients/{n}": _normal(f"d{n} {number}", 5, *value.shape) for n, value in start.items()}
        yield f"other unrelated gradients ({number + 1})", {**run, "learning_rates": [rate] * 5}


def _activation(component: str, keywords: Mapping[str, Any]) -> Made:
    upstream = _normal("upstream", EXAMPLES, UNITS)
    ordinary = _normal("z", EXAMPLES, UNITS)
    kinks = np.where(np.arange(ordinary.size).reshape(ordinary.shape) % 3 == 0, 0.0, ordinary)
    yield "ordinary inputs", {"z": 1.5 * ordinary, "upstream": upstream}
    yield "some inputs exactly 0, where a derivative may be a choice", {"z": kinks, "upstream": upstream}
    yield "inputs of 0 alone", {"z": np.zeros_like(ordinary), "upstream": upstream}
    yield "large inputs", {"z": 8 * ordinary, "upstream": upstream}
    yield "inputs above the cut that some libraries make at 20", {"z": 20 + 2 * np.abs(ordinary), "upstream": upstream}
    yield "large negative inputs", {"z": -6 - 2 * np.abs(ordinary), "upstream": upstream}
    yield "inputs whose exponentials leave the range", {"z": 800 * np.sign(ordinary) + ordinary, "upstream": upstream}
    yield "small inputs", {"z": 1e-4 * ordinary, "upstream": upstream}


def _loss(component: str, keywords: Mapping[str, Any]) -> Made:
    categorical, class_weights = component.startswith("categorical"), keywords.get("class_weights")
    outputs = len(class_weights or ()) or 4 if categorical else 1 if class_weights else 3
    drawn = keyed_generator(SEED, "vectors: targets", outputs)
    marks = drawn.integers(0, 2, (EXAMPLES, outputs)).astype(np.float64)
    marks[:2] = [[0.0] * outputs, [1.0] * outputs]
    targets = drawn.permutation(outputs)[np.arange(EXAMPLES) % outputs].astype(np.int64) if categorical else marks
    z = _normal(f"outputs of {outputs}", EXAMPLES, outputs)
    weights = {"example_weights": drawn.uniform(0.5, 2.0, EXAMPLES)} if keywords["example_weights"] == "drawn" else {}
    if component == "mean_squared_error":
        values = _normal("values", EXAMPLES, outputs)
        yield "ordinary predictions", {"outputs": z, "targets": values, **weights}
        yield "a single prediction for each example", {"outputs": z[:, :1], "targets": values[:, :1], **weights}
        yield "predictions that are right", {"outputs": marks, "targets": marks, **weights}
        return
    if component.endswith("from_probabilities"):
        near = 1 / (1 + np.exp(-z))
        if categorical:
            near = near / near.sum(axis=1, keepdims=True)
        yield "ordinary probabilities", {"outputs": near, "targets": targets, **weights}
        yield "rows that do not sum to 1", {"outputs": 0.5 * near, "targets": targets, **weights}
        yield "probabilities of 0 and 1, which are clipped", {"outputs": (z > 0) * 1.0, "targets": targets, **weights}
        yield "some probabilities of 0", {"outputs": np.where(z > 0, near, 0.0), "targets": targets, **weights}
        yield "probabilities near 0 and 1", {"outputs": np.where(z > 0, 1 - 1e-6, 1e-6), "targets": targets, **weights}
        return
    yield "ordinary logits", {"outputs": z, "targets": targets, **weights}
    yield "large logits", {"outputs": 10 * z, "targets": targets, **weights}
    yield "logits whose exponentials leave the range", {"outputs": 500 * z, "targets": targets, **weights}
    if not categorical and not class_weights:
        soft = np.abs(np.sin(np.arange(z.size))).reshape(z.shape)
        yield "targets between 0 and 1", {"outputs": z, "targets": soft, **weights}


def _normalization(component: str, keywords: Mapping[str, Any]) -> Made:
    z, other = _normal("z", EXAMPLES, UNITS), np.abs(_normal("variances", UNITS))
    given = {
        "gamma": 1 + 0.5 * _normal("gamma", UNITS), "beta": _normal("beta", UNITS),
        "upstream": _normal("upstream", EXAMPLES, UNITS),
    }  # fmt: skip
    if component == "batch_norm":
        given |= {"running_mean": _normal("running mean", UNITS), "running_variance": 0.5 + other}
    small = {"running_variance": 1e-3 * other} if component == "batch_norm" else {}
    yield "ordinary units", {"z": z, **given}
    yield "units of small variance, where epsilon matters", {"z": 0.01 * z, **given, **small}
    yield "a mean far from 0, which a variance in one pass does not survive", {"z": 1000 + z, **given}
    yield "two examples", {"z": z[:2], **given, "upstream": given["upstream"][:2]}


def _standardization(component: str, keywords: Mapping[str, Any]) -> Made:
    train, z = 2 + 3 * _normal("training set", 6, UNITS), _normal("z", EXAMPLES, UNITS)
    constant = np.where(np.arange(UNITS) == 1, 0.1, train)
    yield "ordinary features", {"training_set": train, "z": z}
    yield "a feature that is constant in the training set", {"training_set": constant, "z": z}
    yield "means far from 0", {"training_set": 1000 + train, "z": 1000 + z}


def _schedule(component: str, keywords: Mapping[str, Any]) -> Made:
    yield "the first epochs or steps, past every change", {"t": np.arange(13), "learning_rate": 0.1}
    yield "a later time", {"t": np.array([25, 50, 99, 100, 101, 1000]), "learning_rate": 0.1}


def _penalty(component: str, keywords: Mapping[str, Any]) -> Made:
    weights = {"weights/W1": _normal("W1", 3, 4), "weights/W2": _normal("W2", 2, 3)}
    zeros = {name: np.where(np.abs(w) < 0.5, 0.0, w) for name, w in weights.items()}
    yield "ordinary weights", {**weights, "examples": 5}
    yield "some weights exactly 0", {**zeros, "examples": 7}


def _clipping(component: str, keywords: Mapping[str, Any]) -> Made:
    limit = keywords["limit"]
    ordinary = {"gradients/W1": _normal("dW1", 3, 4), "gradients/b1": _normal("db1", 3)}
    for comment, scale in (("far beyond the limit", 10.0), ("about the limit", 0.5), ("within the limit", 0.01)):
        yield f"gradients {comment}", {name: limit * scale * g for name, g in ordinary.items()}
    yield "one gradient beyond the limit, the other within", {
        "gradients/W1": 3 * limit * ordinary["gradients/W1"], "gradients/b1": 0.1 * limit * ordinary["gradients/b1"],
    }  # fmt: skip
    yield "gradients of 0", {name: np.zeros_like(g) for name, g in ordinary.items()}


def _constraint(component: str, keywords: Mapping[str, Any]) -> Made:
    limit, w, b = keywords["limit"], _normal("W1", 4, 3), _normal("b1", 4)
    rows = np.array([[3.0], [0.2], [1.5], [0.01]])
    yield "rows beyond the limit and within", {"parameters/W1": limit * rows * w, "parameters/b1": 5 * limit * b}
    yield "all rows within the limit", {"parameters/W1": 0.1 * limit * w, "parameters/b1": 5 * limit * b}


def _dropout(component: str, keywords: Mapping[str, Any]) -> Made:
    mask = keyed_generator(SEED, "vectors: mask").integers(0, 2, (EXAMPLES, UNITS))
    upstream = _normal("upstream", EXAMPLES, UNITS)
    yield "ordinary activations", {"activations": _normal("z", EXAMPLES, UNITS), "mask": mask, "upstream": upstream}


def _augmentation(component: str, keywords: Mapping[str, Any]) -> Made:
    drawn = keyed_generator(SEED, f"vectors: {component}")
    shapes: tuple[tuple[int, ...], ...] = ((3, 4), (2, 3, 2)) if component != "gaussian_noise" else ((6,),)
    for shape in shapes:
        x = _normal("images", EXAMPLES, int(np.prod(shape)))
        draws = {
            "random_flip": np.array([0, 1, 1, 0, 1]),
            "random_shift": drawn.integers(-1, 2, (EXAMPLES, 2)) * keywords.get("largest", 1),
            "gaussian_noise": drawn.standard_normal(x.shape),
        }[component]
        images = {"image_shape": np.array(shape)} if component != "gaussian_noise" else {}
        yield f"images of shape {shape}" if images else "ordinary inputs", {"x": x, "draws": draws, **images}


def _early_stopping(component: str, keywords: Mapping[str, Any]) -> Made:
    least = keywords["min_delta"]
    falls = np.array([1.0, 0.8, 0.8 - least / 2, 0.75, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    yield "costs that fall, hardly fall and rise", {"costs": falls}
    yield "costs that rise from the beginning", {"costs": np.linspace(1.0, 2.0, 16)}
    yield "costs that rise and fall in turn", {"costs": 1 - 0.02 * np.arange(16) + 0.1 * (np.arange(16) % 2)}


Maker = Callable[[str, Mapping[str, Any]], Made]
_OF_COMPONENT: dict[str, Maker] = {"lbfgs": _lbfgs, "standardization": _standardization}
_OF_KIND: dict[str, Maker] = {
    "optimizer": _optimizer,
    "activation": _activation,
    "loss": _loss,
    "normalization": _normalization,
    "schedule": _schedule,
    "penalty": _penalty,
    "clipping": _clipping,
    "constraint": _constraint,
    "dropout": _dropout,
    "augmentation": _augmentation,
    "early_stopping": _early_stopping,
}
