"""Which loss: the catalogue's against what a target makes of outputs and targets, of whatever shape it takes them.

A target is asked with the targets that losses take: labels, labels one-hot, zeros and ones for each output, numbers;
and with outputs that are logits, probabilities or numbers. Several batches, some of a single example, tell a mean
from a sum and one denominator from another.
"""

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from conformance.data.randomness import keyed_generator
from conformance.identification.answer import Answer
from conformance.identification.elementary import answer_of, functions
from conformance.identification.exercises import Array
from conformance.identification.fitting import Form, Manner, nearness
from conformance.identification.process import Declined, Questioned
from conformance.identification.searching import Match, best, closest, solved
from conformance.identification.target import parse
from reference_numpy.losses import GRADIENTS, LOSSES

CHOICES: dict[str, tuple[Any, ...]] = {
    "output_reduction": ("sum", "mean"),
    "weight_denominator": ("examples", "weights"),
    "convention": ("mean", "half", "sum"),
}
REDUCTIONS = ("mean", "sum")  # over the examples, where a target returns one number
SMOOTHING, CLIP, WEIGHT = 0.1, 1e-7, 1.5  # where one begins to look
BATCHES = (1, 1, 1, 4, 5, 6)  # examples
CLASSES = 3
WEIGHT_NAMES = tuple(f"class_weight_{k}" for k in range(CLASSES))
EXTREMES = (0.0, 1e-9, 1e-5, 0.5)  # probabilities at which a clip is seen


@dataclass(frozen=True)
class Question:
    """How a target is asked: ``outputs`` are logits, probabilities or numbers, ``targets`` as they are named."""

    outputs: str
    targets: str  # labels, one-hot, binary or numbers
    columns: int

    def batches(self, seed: int) -> list[tuple[Array, Array]]:
        """Outputs and targets, batch after batch: of the single examples each is of another class."""
        generator = keyed_generator(seed, f"batches of {self.outputs}, {self.targets}", self.columns)
        found = []
        for place, examples in enumerate(BATCHES):
            logits = 2.0 * generator.standard_normal((examples, self.columns))
            labels = (np.arange(examples) + place) % max(self.columns, 2)
            found.append((self._outputs(logits, generator), self._targets(labels, generator)))
        return found

    def _outputs(self, logits: Array, generator: np.random.Generator) -> Array:
        if self.outputs != "probabilities":
            return logits
        if self.targets == "binary":
            found: Array = 1 / (1 + np.exp(-logits))
            if len(found) > 3:
                found[:4, 0] = EXTREMES
            return found
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True)
        if len(found) > 3:
            for row, extreme in enumerate(EXTREMES[:3]):
                found[row, row % self.columns] = extreme
                found[row] /= found[row].sum()
        return found

    def _targets(self, labels: Array, generator: np.random.Generator) -> Array:
        if self.targets == "labels":
            return labels
        if self.targets == "one-hot":
            return np.eye(self.columns)[labels]
        if self.targets == "binary" and self.columns == 1:
            return labels[:, np.newaxis].astype(np.float64)
        if self.targets == "binary":
            return np.asarray(generator.uniform(size=(len(labels), self.columns)) < 0.5, np.float64)
        return generator.standard_normal((len(labels), self.columns))


QUESTIONS = (
    Question("logits", "labels", CLASSES), Question("logits", "one-hot", CLASSES),
    Question("probabilities", "labels", CLASSES), Question("probabilities", "one-hot", CLASSES),
    Question("logits", "binary", CLASSES), Question("logits", "binary", 1),
    Question("probabilities", "binary", CLASSES), Question("probabilities", "binary", 1),
    Question("numbers", "numbers", CLASSES),
)  # fmt: skip

# Which losses a question is about.
ABOUT: dict[tuple[str, str], tuple[str, ...]] = {
    ("logits", "labels"): ("categorical_cross_entropy",),
    ("logits", "one-hot"): ("categorical_cross_entropy",),
    ("probabilities", "labels"): ("categorical_cross_entropy_from_probabilities",),
    ("probabilities", "one-hot"): ("categorical_cross_entropy_from_probabilities",),
    ("logits", "binary"): ("binary_cross_entropy",),
    ("probabilities", "binary"): ("binary_cross_entropy_from_probabilities",),
    ("numbers", "numbers"): ("mean_squared_error",),
}


class Costs:
    """The model: what a loss makes of the batches of a question, and its gradients where the target has them."""

    def __init__(self, question: Question, seed: int, shape: str, gradient: bool, dtype: str) -> None:
        self.question, self.shape, self.gradient = question, shape, gradient
        self.batches = [
            (o.astype(dtype), t.astype(dtype) if t.dtype.kind == "f" else t) for o, t in question.batches(seed)
        ]

    def predict(self, form: Form, numbers: Mapping[str, float], manner: Manner) -> Array:
        """Values of all batches, then gradients. Raises ValueError for a number that is not allowed."""
        keywords = form.keywords(manner.numbers(numbers))
        reduction = keywords.pop("reduction")
        weights = [keywords.pop(name) for name in WEIGHT_NAMES if name in keywords]
        if weights:
            keywords["class_weights"] = tuple(weights)
        values, slopes = [], []
        for outputs, targets in self.batches:
            outputs = manner.moved(outputs.astype(manner.dtype))
            targets = targets.argmax(axis=1) if self.question.targets == "one-hot" else targets
            with functions(manner):
                each = LOSSES[form.name](outputs, targets, **keywords)
            share = len(outputs) if reduction == "mean" else 1
            values.append(each if self.shape == "examples" else np.atleast_1d(each.sum() / share))
            if self.gradient:
                slope = GRADIENTS[form.name](outputs, targets, **keywords)
                slopes.append((slope if self.shape == "examples" else slope / share).ravel())
        return np.concatenate([*values, *slopes]).astype(np.float64)

    def arranged(self, seen: Sequence[Mapping[str, Array]]) -> Array:
        """What is compared of a target's answers; values for each output are added up over the outputs."""
        values = [np.atleast_1d(one["value"].sum(axis=1) if one["value"].ndim == 2 else one["value"]) for one in seen]
        slopes = [one["gradient"].ravel() for one in seen] if self.gradient else []
        return np.concatenate([*values, *slopes]).astype(np.float64)

    def scale(self, predicted: Array) -> Array:
        """One for all values, one for all gradients: the middle of their sizes, at least each one's own."""
        values = len(predicted) - sum(o.size for o, _ in self.batches) * self.gradient
        parts = [np.abs(predicted[:values]), np.abs(predicted[values:])]
        return np.concatenate([np.maximum(part, np.median(part) if part.size else 0.0) for part in parts])


def forms(question: Question, shape: str, *, weighted: bool) -> Iterator[Form]:
    """The formulations that a question is about, with a number or without, and with class weights or without."""
    for name in ABOUT[question.outputs, question.targets]:
        known = inspect.signature(LOSSES[name]).parameters
        choices = {choice: values for choice, values in CHOICES.items() if choice in known}
        choices["reduction"] = REDUCTIONS if shape == "one" else ("mean",)
        if question.columns == 1:
            choices["output_reduction"] = ("sum",)
        weights: dict[str, float] = {}
        if (
            weighted
            and "class_weights" in known
            and (question.columns == 1 or question.targets in ("labels", "one-hot"))
        ):
            weights = dict.fromkeys(WEIGHT_NAMES[: max(question.columns, 2)], WEIGHT)
        elif weighted:
            continue
        if not weights:
            choices.pop("weight_denominator", None)
        if shape == "examples" and weights:
            choices["weight_denominator"] = ("examples",)
        smoothings: tuple[float, ...] = (0.0, SMOOTHING) if "label_smoothing" in known else (0.0,)
        for picked in itertools.product(*choices.values()):
            for smoothing in smoothings:
                numbers = weights | ({"label_smoothing": smoothing} if smoothing else {})
                numbers |= {"clip": CLIP} if "clip" in known else {}
                own = dict(zip(choices, picked, strict=True))
                fixed: dict[str, Any] = {}
                if own.get("weight_denominator") == "weights":
                    fixed, numbers = {WEIGHT_NAMES[0]: 1.0}, {n: x for n, x in numbers.items() if n != WEIGHT_NAMES[0]}
                yield Form(name, own, numbers, fixed)


def identify(asked: Questioned) -> Answer:
    """The answer for a loss. Raises Incomplete where its process ends."""
    said, tried, matches = "", 0, []
    for question in QUESTIONS:
        try:
            seen = _asked(asked, question, 0, "float64")
        except Declined as error:
            said = said or str(error)
            continue
        tried += 1
        shape = "one" if seen[-1]["value"].ndim == 0 else "examples"
        dtype = seen[-1]["value"].dtype.name
        model = Costs(question, 0, shape, all("gradient" in one for one in seen), "float64")
        if not _fits(model, seen):
            continue
        observed = model.arranged(seen)
        found = list(_matches(model, observed, shape, dtype))
        matches += found
        if best(found):
            notes = (_heard(question), _reduced(seen[-1]["value"]))
            look = partial(_digits, asked, question, shape, dtype)
            return answer_of(asked, best(found), found, look, notes, rename=partial(_renamed, asked))
    if not tried:
        return Answer(asked.target, asked.kind, None, reason=f"it takes no outputs and targets: {said}")
    return answer_of(asked, [], matches, lambda match: None, rename=partial(_renamed, asked))


def _asked(asked: Questioned, question: Question, seed: int, dtype: str) -> list[dict[str, Array]]:
    batches = Costs(question, seed, "one", False, dtype).batches
    return [asked.ask("evaluate", {"a0": outputs, "a1": targets}) for outputs, targets in batches]


def _fits(model: Costs, seen: Sequence[Mapping[str, Array]]) -> bool:
    """Whether values came back of a shape that a loss has."""
    return all(
        one["value"].ndim == 0 or (len(one["value"]) == len(outputs) and one["value"].ndim <= 2)
        for one, (outputs, _) in zip(seen, model.batches, strict=True)
    )


def _matches(model: Costs, observed: Array, shape: str, dtype: str) -> Iterator[Match]:
    weights = 1 / np.maximum(np.abs(observed), max(np.median(np.abs(observed)), 1e-300))
    for weighted in (False, True):
        candidates = list(forms(model.question, shape, weighted=weighted))
        plain = [closest(model, form, form.numbers, observed, dtype) for form in candidates]
        yield from plain
        if best(plain):
            return
        found = list(solved(model, model, [form for form in candidates if form.numbers], observed, weights, dtype))
        yield from found
        if best(found):
            return


def _digits(asked: Questioned, question: Question, shape: str, dtype: str, match: Match) -> dict[str, float] | None:
    digits = {}
    for precision in ("float64", "float32") if dtype == "float64" else (dtype,):
        try:
            seen = _asked(asked, question, 1, precision)
        except Declined:
            return None
        model = Costs(question, 1, shape, all("gradient" in one for one in seen), precision)
        fit = nearness(model, match.form, match.numbers, model.arranged(seen), match.manner._replace(dtype=precision),
                       coarse=match.coarse)  # fmt: skip
        if precision == dtype and not fit.same:
            return None
        digits[precision] = fit.digits
    return digits


def _renamed(asked: Questioned, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The class weights as the catalogue has them, and no reduction that is the usual one.

    Weights by whose sum the cost is divided are known up to a factor: they are as the target's arguments say them.
    """
    weights = tuple(keywords[name] for name in WEIGHT_NAMES if name in keywords)
    if keywords.get("weight_denominator") == "weights":
        weights = next(filter(partial(_proportional, weights), _lists(asked.target)), weights)
    found = {name: value for name, value in keywords.items() if name not in WEIGHT_NAMES}
    if found.get("reduction") == "mean":
        del found["reduction"]
    return found | ({"class_weights": weights} if weights else {})


def _lists(target: str) -> Iterator[tuple[float, ...]]:
    """The lists of numbers among a target's arguments."""
    for value in parse(target).keywords.values():
        if isinstance(value, list | tuple) and all(isinstance(number, int | float) for number in value):
            yield tuple(map(float, value))


def _proportional(weights: tuple[float, ...], said: tuple[float, ...]) -> bool:
    return len(said) == len(weights) > 0 and np.allclose(np.multiply(said, weights[0]), np.multiply(weights, said[0]))


def _heard(question: Question) -> str:
    targets = {"labels": "labels", "one-hot": "labels one-hot", "binary": "zeros and ones", "numbers": "numbers"}
    return f"asked with {question.outputs} for its outputs and {targets[question.targets]} for its targets"


def _reduced(value: Array) -> str:
    return ("it returns one number", "it returns a number for each example", "it returns a number for each output")[
        value.ndim
    ]
