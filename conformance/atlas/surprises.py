"""Surprises: built-ins of one component that train otherwise, ranked by how much a training changes.

Each is trained as the formulation that it was found to be, by the reference, from the same start on the same batches
with the same learning rate, so that nothing but the formulations differs; for optimizers also with the rate that each
has by itself. The training is a small classifier on drawn data, which takes milliseconds. Initializers have no start in
common: of these the mean cost of several starts is compared, and what chance explains is left out.
"""

import inspect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from conformance.atlas.evidence import TABLED, Evidence, Surprise
from conformance.data.randomness import keyed_generator
from reference_numpy.losses import LOSSES
from reference_numpy.models import Tensors, initialize, multi_task_network, softmax_classifier
from reference_numpy.optimizers import OPTIMIZERS, adam
from reference_numpy.regularizers import PENALTIES
from reference_numpy.training import Objective, Sampling, fit

SIZES = (5, 8, 3)
EXAMPLES, BATCH, EPOCHS = 90, 30, 40
RATE = 0.01
STARTS, ERRORS = 16, 3.0  # of initializers; standard errors of a difference that chance explains
LEAST = 1e-9  # changes below it are rounding
OWN_RATES = "with its own rate"


class Trained(NamedTuple):
    """Where a training began and ended, and its last cost."""

    start: Tensors
    end: Tensors
    cost: float


def surprises(evidence: Sequence[Evidence]) -> list[Surprise]:
    """All pairs of formulations that differ, the largest change first; what else is such a pair stands with it."""
    first: dict[Any, Surprise] = {}
    for one, other in pairs(evidence):
        for pair in compared(one, other):
            key = (pair.component, frozenset({formula(one), formula(other)}), pair.change)
            known = first.get(key)
            also = () if known is None else (*known.also, f"{pair.one} and {pair.other}")
            first[key] = replace(known or pair, also=also)
    return sorted(first.values(), key=lambda pair: (-min(pair.change, 1e300), pair.one, pair.other))


def pairs(evidence: Sequence[Evidence]) -> Iterator[tuple[Evidence, Evidence]]:
    """Built-ins of one component and two frameworks, called with their own defaults; optimizers of one name.

    Penalties have no strength by themselves that is alike: those are pairs that are given the same number.

    Of a framework's built-ins of one formulation the first stands for all.
    """
    first: dict[tuple[str, str, str, str], Evidence] = {}
    for each in evidence:
        if (each.plain or each.component in PENALTIES) and each.standing == TABLED and trained_as(each):
            first.setdefault((each.kind, each.component, each.framework, formula(each)), each)
    for one, other in itertools.combinations(first.values(), 2):
        alike = (one.kind, one.component) == (other.kind, other.component) and one.framework != other.framework
        if alike and _ALIKE.get(one.kind, _nothing)(one) == _ALIKE.get(other.kind, _nothing)(other):
            yield one, other


def _own_name(each: Evidence) -> str:
    return each.call.partition("(")[0].rpartition(".")[2].lower()


def _nothing(each: Evidence) -> str:
    return ""


def _strength(each: Evidence) -> Any:
    return each.keywords.get("strength")


_ALIKE = {"optimizer": _own_name, "regularizer": _strength}  # what two of a kind must have in common


def compared(one: Evidence, other: Evidence) -> Iterator[Surprise]:
    """What training the two changes, with one rate for both, and with their own ones."""
    if one.kind == "initializer":
        yield from _from_several_starts(one, other)
        return
    if formula(one) != formula(other):
        yield from _pair(one, other, {"learning_rate": RATE}, {"learning_rate": RATE}, "")
    if one.kind == "optimizer" and None not in (own := [_rate(one), _rate(other)]) and own[0] != own[1]:
        yield from _pair(one, other, {}, {}, f", {OWN_RATES}")


def _pair(
    one: Evidence, other: Evidence, own: Mapping[str, Any], others: Mapping[str, Any], told: str
) -> Iterator[Surprise]:
    first, second = (_TRAIN[e.kind](e.component, {**e.keywords, **k}) for e, k in ((one, own), (other, others)))
    change = apart(first, second)
    if not change <= LEAST:
        yield _surprise(one, other, (first.cost, second.cost), change, told)


def _from_several_starts(one: Evidence, other: Evidence) -> Iterator[Surprise]:
    """Two initializers, where the means of their last costs are further apart than chance explains."""
    if formula(one) == formula(other):
        return
    costs = [
        np.array([_of_initializer(e.component, e.keywords, seed).cost for seed in range(STARTS)]) for e in (one, other)
    ]
    means = (float(costs[0].mean()), float(costs[1].mean()))
    chance = math.sqrt(sum(float(each.var(ddof=1)) for each in costs) / STARTS)
    if abs(means[0] - means[1]) > ERRORS * chance:
        yield _surprise(one, other, means, abs(means[0] - means[1]) / max(means), f", mean of {STARTS} starts")


def _surprise(one: Evidence, other: Evidence, costs: tuple[float, float], change: float, told: str) -> Surprise:
    formulations = (one.formulation, other.formulation)
    return Surprise(f"{one.component}{told}", one.call, other.call, formulations, costs, change)


def formula(each: Evidence) -> str:
    """The formulation without its rate."""
    return repr(sorted((name, value) for name, value in each.keywords.items() if name != "learning_rate"))


def trained_as(each: Evidence) -> bool:
    """Whether the reference trains what was found."""
    known = each.component in PENALTIES if each.kind == "regularizer" else each.kind in (*_TRAIN, "initializer")
    return known and each.formulation.startswith(f"{each.component}(")


def _rate(each: Evidence) -> Any:
    return each.keywords.get("learning_rate")


def apart(one: Trained, other: Trained) -> float:
    """How far apart two ends are, as a share of the longer of the ways there."""
    with np.errstate(all="ignore"):
        ways = [
            np.sqrt(sum(((end[n] - start[n]) ** 2).sum() for n in start))
            for start, end in ((one.start, one.end), (other.start, other.end))
        ]
        distance = np.sqrt(sum(((one.end[n] - other.end[n]) ** 2).sum() for n in one.end))
        return float(distance / max(*ways, 1e-300))


def _data(labels: bool) -> tuple[Any, Any]:
    """Inputs of very different sizes, and the classes or the numbers that a drawn teacher gives them."""
    generator = keyed_generator(0, "data of the surprises")
    x = generator.standard_normal((EXAMPLES, SIZES[0])) * np.array([3.0, 1.0, 0.3, 0.1, 0.03])
    outputs = np.tanh(x @ generator.standard_normal((SIZES[0], 6))) @ generator.standard_normal((6, SIZES[-1]))
    return x, outputs.argmax(axis=1) if labels else (outputs > 0).astype(np.float64)


def _fitted(
    model: Any, loss: Objective, optimizer: Any, *, labels: bool = True, start: Tensors | None = None
) -> Trained:
    x, y = _data(labels)
    first = start or initialize(model, keyed_generator(0, "start of the surprises"))
    with np.errstate(all="ignore"):
        history = fit(
            model,
            first,
            x,
            y,
            loss=loss,
            optimizer=optimizer,
            epochs=EPOCHS,
            batch_size=BATCH,
            sampling=Sampling(seed=0),
        )
    return Trained(first, history.parameters, float(history.costs[-1]))


def _cross_entropy() -> Objective:
    return Objective("categorical_cross_entropy")


def _of_optimizer(name: str, keywords: Mapping[str, Any]) -> Trained:
    rate, others = keywords["learning_rate"], {n: v for n, v in keywords.items() if n != "learning_rate"}
    return _fitted(softmax_classifier(SIZES, activation="tanh"), _cross_entropy(), OPTIMIZERS[name](rate, **others))


def _of_activation(name: str, keywords: Mapping[str, Any]) -> Trained:
    options = {n: v for n, v in keywords.items() if n != "learning_rate"}
    model = softmax_classifier(SIZES, activation=name, activation_options=options)
    return _fitted(model, _cross_entropy(), adam(RATE))


def _of_normalization(name: str, keywords: Mapping[str, Any]) -> Trained:
    options = {n: v for n, v in keywords.items() if n in ("epsilon", "momentum", "running_variance")}
    model = softmax_classifier(SIZES, activation="tanh", normalization=name, normalization_options=options)
    return _fitted(model, _cross_entropy(), adam(RATE))


def _of_loss(name: str, keywords: Mapping[str, Any]) -> Trained:
    """From probabilities as from logits: the last layer gives either."""
    options = {n: v for n, v in keywords.items() if n in inspect.signature(LOSSES[name]).parameters}
    labels = name.startswith("categorical")
    model = softmax_classifier(SIZES, activation="tanh") if labels else multi_task_network(SIZES, activation="tanh")
    objective = Objective(name, options, keywords.get("reduction", "mean"))
    return _fitted(model, objective, OPTIMIZERS["gradient_descent"](RATE), labels=labels)


def _of_initializer(name: str, keywords: Mapping[str, Any], seed: int) -> Trained:
    model = softmax_classifier(SIZES, activation="tanh")
    generator = keyed_generator(seed, "start of the surprises")
    start = initialize(model, generator, initializer=name, initializer_options=dict(keywords))
    return _fitted(model, _cross_entropy(), adam(RATE), start=start)


def _of_penalty(name: str, keywords: Mapping[str, Any]) -> Trained:
    options = {n: v for n, v in keywords.items() if n != "learning_rate"}
    objective = Objective("categorical_cross_entropy", penalties=[PENALTIES[name](**options)])
    return _fitted(softmax_classifier(SIZES, activation="tanh"), objective, adam(RATE))


_TRAIN = {
    "optimizer": _of_optimizer, "activation": _of_activation, "normalization": _of_normalization, "loss": _of_loss,
    "regularizer": _of_penalty,
}  # fmt: skip
