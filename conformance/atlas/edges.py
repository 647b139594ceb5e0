"""Edge values: what a built-in makes of zeros, infinities, NaN, ties, very large numbers and of nothing at all.

Each function asks a target in the situations of its kind, and returns what came of each in a few words.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.data.wording import cut
from conformance.identification.exercises import Array, Exercise
from conformance.identification.frameworks import RATES
from conformance.identification.losses import ABOUT, QUESTIONS, Question
from conformance.identification.process import Declined, Questioned
from reference_numpy.losses import LOSSES

Edges = dict[str, str]
LONGEST = 100  # characters of what a target said when it refused
LATE = 1000  # step of a schedule that is past the end of every one that has an end
FAR = 1e4  # a logit, and a mean beside which a deviation is small
CLOSE = 1e-5  # as which share two values are the same, where one may be clipped
PLAUSIBLE = 4.0  # a loss is asked as one of probabilities if it is the reference's up to this factor, as a mean is


def number(value: Any) -> str:
    """A number in six digits.

    >>> number(float("nan")), number(-0.0), number(1e-3)
    ('NaN', '0', '0.001')
    """
    found = float(value) + 0.0
    return "NaN" if np.isnan(found) else f"{found:.6g}"


# What Keras puts around an error: where it came, and with which arguments.
_WRAPPED = r"\x1b\[\d*m|Exception encountered when calling \S+ |\{\{.*?\}\} | \[Op:\w+\].*$|Arguments received by .*$"


def said(error: Exception | str, longest: int) -> str:
    """What a target said, without what is another each time.

    >>> said("Error: Exception encountered when calling Embedding.call(). indices[0] = 6 [Op:Gather] name: x", 99)
    'Error: indices[0] = 6'
    """
    told = re.sub(_WRAPPED, "", " ".join(str(error).split())).strip()
    return cut(re.sub(r"0x[0-9a-fA-F]+", "0x...", told), longest)


REFUSED = "refused: "


def refused(error: Exception) -> str:
    """That a target refused a situation, and what it said."""
    return f"{REFUSED}{said(error, LONGEST)}"


def told(ask: Callable[[], str]) -> str:
    """What came of asking, or that it was refused."""
    try:
        return ask()
    except Declined as error:
        return refused(error)


# ------------------------------------------------------------------------------------------------------- optimizers


def of_optimizer(asked: Questioned, component: str) -> Edges:
    """The first moves of a weight and a bias, as multiples of the optimizer's rate."""
    return {
        "gradient 0 (weight 1, bias 1)": told(lambda: _both(asked)),
        "gradient 1": told(lambda: _first_move(asked, 1.0)),
        "gradient 1e-10": told(lambda: _first_move(asked, 1e-10)),
        "gradient 1e20 in float32": told(lambda: _first_move(asked, 1e20, "float32")),
        "gradient inf, and 1 beside it": told(lambda: _two_moves(asked, np.inf)),
        "gradient NaN, and 1 beside it": told(lambda: _two_moves(asked, np.nan)),
        "a parameter without elements": told(lambda: _without_elements(asked)),
    }


def _rate(asked: Questioned) -> float:
    """The rate that an optimizer has by itself, or was given; 1 where it says none."""
    said = (asked.numbers.get(name) for name in RATES)
    return next((float(rate) for rate in said if isinstance(rate, int | float) and rate), 1.0)


def _moved(
    asked: Questioned, start: float, gradients: tuple[float, float], dtype: str = "float64"
) -> tuple[Array, Array]:
    """By how many rates one step moves a weight ``(1, 2)`` and a bias ``(2,)``."""
    at = {"W1": np.full((1, 2), start, dtype), "b1": np.full(2, start, dtype)}
    slopes = {name: np.broadcast_to(np.array(gradients, dtype), (1, *value.shape)) for name, value in at.items()}
    with np.errstate(all="ignore"):
        path = asked.ask("optimize", Exercise(at, slopes, np.ones(1)).as_arrays())
        return (path["W1"][0].ravel() - start) / _rate(asked), (path["b1"][0] - start) / _rate(asked)


def _both(asked: Questioned) -> str:
    weight, bias = _moved(asked, 1.0, (0.0, 0.0))
    if not weight.any() and not bias.any():
        return "both stay"
    return f"weight {number(weight[0])}, bias {number(bias[0])}"


def _first_move(asked: Questioned, gradient: float, dtype: str = "float64") -> str:
    weight, bias = _moved(asked, 0.0, (gradient, gradient), dtype)
    moves = dict.fromkeys((number(weight[0]), number(bias[0])))
    return " (weight), ".join(moves) + (" (bias)" if len(moves) > 1 else "")


def _two_moves(asked: Questioned, gradient: float) -> str:
    weight, _ = _moved(asked, 0.0, (gradient, 1.0))
    return f"{number(weight[0])}, {number(weight[1])}"


def _without_elements(asked: Questioned) -> str:
    start = {"W1": np.zeros((1, 0)), "b1": np.zeros(2)}
    gradients = {"W1": np.zeros((1, 1, 0)), "b1": np.ones((1, 2))}
    path = asked.ask("optimize", Exercise(start, gradients, np.ones(1)).as_arrays())
    return f"taken; the other moves by {number(path['b1'][0][0] / _rate(asked))}"


# ------------------------------------------------------------------------------------------------------ activations

_ROWS = {
    "0": (0.0, 1.0, -1.0, 0.5), "inf": (np.inf, 1.0, 0.0, 0.5), "-inf": (-np.inf, 1.0, 0.0, 0.5),
    "NaN": (np.nan, 1.0, 0.0, 0.5), "1e4": (FAR, 1.0, 0.0, 0.5), "-1e4": (-FAR, 1.0, 0.0, 0.5),
    "a tie of four": (2.0, 2.0, 2.0, 2.0),
}  # fmt: skip


def of_activation(asked: Questioned, component: str) -> Edges:
    """Its value at the first number of a row, and its derivative there; a softmax takes the others in."""

    def at(z: Array) -> list[str]:
        seen = asked.ask("evaluate", {"a0": z, "upstream": np.eye(1, 4, dtype=z.dtype).repeat(len(z), axis=0)})
        slopes = seen.get("gradient", np.full(z.shape, np.nan))
        return [f"{number(v[0])}, slope {number(s[0])}" for v, s in zip(seen["value"], slopes, strict=True)]

    try:
        found = dict(zip(_ROWS, at(np.array(list(_ROWS.values()))), strict=True))
        found["100 in float32"] = at(np.array([[100.0, 1.0, 0.0, 0.5]], np.float32))[0]
    except (Declined, IndexError, ValueError) as error:
        return {"a row of four": refused(error)}
    found["no elements"] = told(lambda: f"shape {asked.ask('evaluate', {'a0': np.zeros((0, 4))})['value'].shape}")
    if component != "softmax":
        del found["a tie of four"]
    return found


# ----------------------------------------------------------------------------------------------------------- losses


def of_loss(asked: Questioned, component: str) -> Edges:
    """Its value for one example, and its derivative by the first output."""
    question = _question(asked, component)
    if question is None:
        return {}
    targets = _targets(question, 1)
    edges = {
        name: told(lambda outputs=outputs: _cost(asked, outputs, targets))  # type: ignore[misc]
        for name, outputs in _outputs(question)
    }
    empty = np.zeros((0, question.columns))
    edges["no examples"] = told(lambda: _cost(asked, empty, _targets(question, 0)))
    return edges


def _question(asked: Questioned, component: str) -> Question | None:
    """How a loss is to be asked: the first way that it takes and in which it is near what the component is."""
    for question in QUESTIONS:
        if component not in ABOUT[question.outputs, question.targets]:
            continue
        outputs, targets = _ordinary(question), _targets(question, 1)
        try:
            value = float(np.sum(asked.ask("evaluate", {"a0": outputs, "a1": targets})["value"]))
        except Declined:
            continue
        own = _reference(question, component, outputs, targets)
        if own / PLAUSIBLE < value < own * PLAUSIBLE:
            return question
    return None


def loss_near(asked: Questioned) -> bool:
    """Whether a loss is one of the catalogue's at one example, up to a half and a mean over the outputs."""
    for question in QUESTIONS:
        outputs, targets = _ordinary(question), _targets(question, 1)
        try:
            value = float(np.sum(asked.ask("evaluate", {"a0": outputs, "a1": targets})["value"]))
        except Declined:
            continue
        factors = np.outer((1.0, 0.5, 2.0), (1.0, 1 / question.columns))
        for component in ABOUT[question.outputs, question.targets]:
            if np.isclose(value, _reference(question, component, outputs, targets) * factors, rtol=CLOSE).any():
                return True
    return False


def _reference(question: Question, component: str, outputs: Array, targets: Array) -> float:
    """What the reference makes of the same."""
    labels = targets.argmax(axis=1) if question.targets == "one-hot" else targets
    with np.errstate(all="ignore"):
        return float(np.sum(LOSSES[component](outputs, labels)))


def _ordinary(question: Question) -> Array:
    if question.outputs == "probabilities":
        return np.array([[0.5, 0.3, 0.2][: question.columns]])
    return np.array([[1.0, 2.0, -1.0][: question.columns]])


def _targets(question: Question, examples: int) -> Array:
    """The first class, or ones, or zeros for numbers."""
    if question.targets == "labels":
        return np.zeros(examples, np.int64)
    shape = (examples, question.columns)
    if question.targets == "one-hot":
        return np.eye(1, question.columns).repeat(examples, axis=0)
    return np.ones(shape) if question.targets == "binary" else np.zeros(shape)


def _outputs(question: Question) -> Iterator[tuple[str, Array]]:
    """Each situation with its outputs: of the first class or unit, the others ordinary."""
    ordinary = _ordinary(question)
    firsts: Mapping[str, float] = {
        "probabilities": {"probability 0 of what is true": 0.0, "probability 1 of what is true": 1.0},
        "logits": {"logit -1e4 for what is true": -FAR, "logit 1e4 for what is true": FAR, "a logit inf": np.inf},
        "numbers": {"an error of 1e200": 1e200, "an error of inf": np.inf},
    }[question.outputs]
    for name, first in {**firsts, "an output NaN": np.nan}.items():
        outputs = ordinary.copy()
        outputs[0, 0] = first
        if question.outputs == "probabilities" and question.targets != "binary" and np.isfinite(first):
            outputs[0, 1:] = (1 - first) / (question.columns - 1)
        yield name, outputs


def _cost(asked: Questioned, outputs: Array, targets: Array) -> str:
    seen = asked.ask("evaluate", {"a0": outputs, "a1": targets})
    value = f"{number(np.sum(seen['value']))}" if seen["value"].size else "no numbers"
    slopes = seen.get("gradient")
    return value if slopes is None or not slopes.size else f"{value}, slope {number(slopes.ravel()[0])}"


# --------------------------------------------------------------------------- normalizations, initializers, schedules


def of_normalization(asked: Questioned, component: str) -> Edges:
    """What it makes of a batch ``(6, 5)`` in training."""

    def made(z: Array) -> Array:
        return asked.ask("normalize", {"a0": z, "a1": z, "a2": z})["trained0"]

    def largest(z: Array) -> str:
        found = made(z)
        return f"at most {number(np.abs(found).max())}" if found.size else f"shape {found.shape}"

    def off() -> str:
        z = FAR + keyed_generator(0, "far from zero").standard_normal((6, 5))
        axis = 1 if component == "layer_norm" else 0
        exact = (z - z.mean(axis, keepdims=True)) / z.std(axis, keepdims=True)
        return f"off by {np.abs(made(z.astype(np.float32)) - exact).max():.1g}"

    def not_a_number() -> str:
        z = keyed_generator(0, "one not a number").standard_normal((6, 5))
        z[0, 0] = np.nan
        return f"{int(np.isnan(made(z)).sum())} of 30 outputs"

    return {
        "all numbers 3": told(lambda: largest(np.full((6, 5), 3.0))),
        "one example": told(lambda: largest(np.arange(5.0)[np.newaxis])),
        "no examples": told(lambda: largest(np.zeros((0, 5)))),
        "mean 1e4, deviation 1, in float32": told(off),
        "one NaN makes NaN of": told(not_a_number),
    }


def of_initializer(asked: Questioned, component: str) -> Edges:
    """What it draws for shapes that have no fans, or no elements."""

    def drawn(*shape: int) -> str:
        found = asked.ask("initialize", {"shape": np.array(shape), "seeds": np.arange(1)})["value"][0]
        return f"shape {found.shape}" + ("" if np.isfinite(found).all() else ", not all finite")

    shapes = {"shape (5,)": (5,), "shape (0, 3)": (0, 3), "shape (3, 0)": (3, 0)}
    return {name: told(lambda shape=shape: drawn(*shape)) for name, shape in shapes.items()}  # type: ignore[misc]


def of_schedule(asked: Questioned, component: str) -> Edges:
    """Its rate at the first steps, long after the end, and before the beginning where it is asked by step."""

    def rates(*steps: int) -> list[str]:
        seen = asked.ask(
            "schedule", {"steps": np.arange(LATE + 1) if asked.target.startswith("torch") else np.array(steps)}
        )
        values = seen["value"]
        return [number(values[step] if asked.target.startswith("torch") else values[n]) for n, step in enumerate(steps)]

    edges = {
        "steps 0 and 1": told(lambda: ", ".join(rates(0, 1))),
        f"step {LATE}": told(lambda: rates(LATE)[0]),
    }
    if not asked.target.startswith("torch"):
        edges["step -1"] = told(lambda: rates(-1)[0])
    return edges
