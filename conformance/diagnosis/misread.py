"""Logits that a loss takes for something else: for probabilities, or for logarithms of them.

So it is where a criterion's ``from_logits`` is left out, or where a logarithm of a softmax should stand before it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.diagnosis.candidates import Candidate
from conformance.diagnosis.stepping import Stepwise, penalised
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.recipe import Recipe

JITTERS = 3
CLIP = 1e-7  # that Keras keeps probabilities from 0 and 1

# Of logits (m, n) and targets: the loss of each example, (m,), and what each is differentiated by its logits, (m, n).
Formula = Callable[[Array, Array], tuple[Array, Array]]


def _of_logarithms(z: Array, y: Array) -> tuple[Array, Array]:
    """``-z_y``."""
    chosen = np.eye(z.shape[1])[y]
    return -(chosen * z).sum(axis=1), -chosen


def _of_probabilities(z: Array, y: Array) -> tuple[Array, Array]:
    """``-log clip(z_y)``."""
    chosen, p, inside = np.eye(z.shape[1])[y], *_clipped(z)
    return -(chosen * np.log(p)).sum(axis=1), -chosen * inside / p


def _clipped_and_normalised(z: Array, y: Array) -> tuple[Array, Array]:
    """``-log(p_y / sum p)`` with ``p = clip(z)``."""
    chosen, p, inside = np.eye(z.shape[1])[y], *_clipped(z)
    whole = p.sum(axis=1, keepdims=True)
    return -(chosen * np.log(p / whole)).sum(axis=1), inside * (1 / whole - chosen / p)


def _normalised_and_clipped(z: Array, y: Array) -> tuple[Array, Array]:
    """``-log clip(z_y / sum z)``."""
    chosen, whole = np.eye(z.shape[1])[y], z.sum(axis=1, keepdims=True)
    p, inside = _clipped(z / whole)
    there = (chosen * inside).sum(axis=1, keepdims=True)
    own = (chosen * z).sum(axis=1, keepdims=True)
    return -(chosen * np.log(p)).sum(axis=1), there * (1 / whole - chosen / own)


def _of_two(z: Array, y: Array) -> tuple[Array, Array]:
    """``-y log p - (1 - y) log(1 - p)``, summed over the outputs, with ``p = clip(z)``."""
    p, inside = _clipped(z)
    return -(y * np.log(p) + (1 - y) * np.log1p(-p)).sum(axis=1), inside * ((1 - y) / (1 - p) - y / p)


def _clipped(p: Array) -> tuple[Array, Array]:
    """Numbers within ``CLIP`` of 0 and 1, and which of them were there."""
    return np.clip(p, CLIP, 1 - CLIP), (p > CLIP) & (p < 1 - CLIP)


_FORMULAS: Mapping[str, Mapping[str, Formula]] = {
    "categorical_cross_entropy": {
        "logits taken for logarithms of probabilities, as where a log-softmax is left out": _of_logarithms,
        "logits taken for probabilities, as where from_logits is left out": _of_probabilities,
        "logits taken for probabilities, as where Keras's from_logits is left out": _clipped_and_normalised,
        "logits taken for probabilities, as where Keras's from_logits is left out, targets one-hot":
            _normalised_and_clipped,
    },
    "binary_cross_entropy": {"logits taken for probabilities, as where from_logits is left out": _of_two},
}  # fmt: skip


def misread(recipe: Recipe) -> Iterator[Candidate]:
    """The reference with a loss that takes its logits for something else; weighted and smoothed ones are left out."""
    loss = recipe.loss
    if loss.keywords.get("label_smoothing") or loss.keywords.get("class_weights") or recipe.example_weights != "none":
        return
    for words in _FORMULAS.get(loss.name, {}):
        yield Candidate(f"{loss.name}: {words}", recipe, changes=(Misread(loss.name, words),))


@dataclass(frozen=True)
class Misread:
    """The loss is the one that has these words."""

    loss: str
    words: str

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _Misread(session, _FORMULAS[self.loss][self.words], problem.recipe.reduction)


@dataclass(frozen=True)
class Jitter:
    """Every parameter is off by about one rounding: what comes of it is how far the same formula may be computed."""

    size: float
    seed: int

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _Jitter(session, self)


def ill_conditioned(candidate: Candidate) -> bool:
    """Whether rounding moves what a candidate makes by more than it moves the reference.

    A logarithm of small logits does so; a candidate of this kind is given what its own rounding comes to.
    """
    return any(isinstance(change, Misread) for change in candidate.changes)


def jittered(candidate: Candidate, dtype: str) -> Iterator[Candidate]:
    """The candidate with other roundings of its parameters."""
    size = float(np.finfo(dtype).eps)
    for seed in range(JITTERS):
        yield replace(candidate, changes=(*candidate.changes, Jitter(size, seed)))


class _Jitter(Stepwise):
    def __init__(self, session: Any, jitter: Jitter) -> None:
        super().__init__(session)
        self._jitter = jitter

    def losses(self, parameters: Tensors, *batch: Any) -> Tensors:
        found: Tensors = self.session.losses(self._moved(parameters), *batch)
        return found

    def gradients(self, parameters: Tensors, *batch: Any) -> Tensors:
        found: Tensors = self.session.gradients(self._moved(parameters), *batch)
        return found

    def _moved(self, parameters: Tensors) -> Tensors:
        generator, size = np.random.default_rng(self._jitter.seed), self._jitter.size
        return {name: w * (1 + size * generator.choice((-1.0, 1.0), w.shape)) for name, w in parameters.items()}


class _Misread(Stepwise):
    def __init__(self, session: Any, formula: Formula, reduction: str) -> None:
        super().__init__(session)
        self._formula, self._reduction = formula, reduction

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Any, weights: Array | None) -> Tensors:
        found = self.session.losses(parameters, x, y, masks, weights)
        logits = self.session.intermediates(parameters, x, masks, None)[self.session.model.logits_name]
        each, _ = self._formula(logits, y)
        loss = self._of_batch(each)
        return {**found, "per_example": each, "data_loss": loss, "cost": np.asarray(loss + found["penalty"])}

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Any, weights: Array | None) -> Tensors:
        model = self.session.model
        _, values = model.forward(parameters, x, masks=masks)
        each, slope = self._formula(values[model.logits_name], y)
        share = 1 / len(x) if self._reduction == "mean" else 1.0
        own = model.backward(parameters, values, share * slope, masks=masks, input_gradient=x.dtype.kind == "f")
        penalty, of_penalty = penalised(self.session, parameters, len(x))
        own |= {name: own[name] + gradient for name, gradient in of_penalty.items()}
        return {"cost": np.asarray(self._of_batch(each) + penalty), **own}

    def _of_batch(self, each: Array) -> Array:
        return np.asarray(each.mean() if self._reduction == "mean" else each.sum())
