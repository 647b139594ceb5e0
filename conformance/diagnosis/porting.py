"""What ports of a training have been seen to do that is no fault of one formula: in its cost, its loop, its dropout.

Each is a change of a session of the reference. Those of the cost leave the losses of single examples as they are, since
an implementation that computes these beside its cost, with a library's ``reduction="none"``, does so too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from conformance.adapters.session import State
from conformance.checks.case import learning_rate
from conformance.diagnosis.candidates import Candidate, changed
from conformance.diagnosis.fits import Fits
from conformance.diagnosis.stepping import Changed, Stepwise, penalised
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.components import Component
from reference_numpy import losses

LARGEST_TERM = 1000  # of a fraction by which a cost is multiplied: a number of batches, examples or classes
COST, PER_EXAMPLE = "data_loss", "per_example"
LAST = "free_running"  # the check that sees labels


def ported(fits: Fits) -> Iterator[Candidate]:
    """The reference with one of these changes."""
    recipe, batches = fits.evidence.recipe, fits.workshop.case.problem.batches_per_epoch
    if recipe.batch_size is not None:
        yield Candidate(
            "every batch's cost divided by the size of the first, the last and small one's too", recipe,
            changes=(OfCost("batch size"),),
        )  # fmt: skip
    yield Candidate("the root of the mean of the losses", recipe, changes=(OfCost("root"),))
    factor = _factor(fits)
    if factor is not None:
        description = f"the cost multiplied by {factor}"
        if factor.denominator == 1:
            description += f", as where the costs of {factor} parts of a batch are added up and not divided by {factor}"
        yield Candidate(description, recipe, changes=(OfCost("factor", float(factor)),), is_solved=True)
    yield from _shared_by_the_others(fits)
    yield Candidate("gradients never set to zero, so that they add up from step to step", recipe,
                    changes=(AddingUp(),))  # fmt: skip
    if recipe.optimizer.name == "momentum":
        for where in ("inside", "outside"):
            words = f"momentum(learning_rate_position={where!r}), its velocity kept with the other sign"
            for other in changed(recipe, ("optimizer",), {"learning_rate_position": where}, words):
                yield replace(other, changes=(Negated("velocity"),))
    if recipe.schedule.name != "constant":
        for unit, steps in {"step": 1, "epoch": batches}.items():
            for when, sign in (("early", 1), ("late", -1)):
                shifted = Shifted(sign * steps)
                yield Candidate(f"the schedule one {unit} {when}", recipe, changes=(shifted,))


def _shared_by_the_others(fits: Fits) -> Iterator[Candidate]:
    """What label smoothing takes of the class goes to the ``K - 1`` others alone: ``K/(K - 1)`` of it as for all."""
    recipe = fits.evidence.recipe
    asked, classes = recipe.loss.keywords.get("label_smoothing", 0.0), 2
    if recipe.loss.name.startswith("categorical"):
        classes = fits.workshop.case.problem.dataset.n_classes
    if asked and classes > 1:
        smoothing = asked * classes / (classes - 1)
        words = f"{recipe.loss.name}(label_smoothing={smoothing:.6g}), as where it is shared by the other classes alone"
        yield from changed(recipe, ("loss",), {"label_smoothing": smoothing}, words)


def beside_the_cost(fits: Fits, candidates: list[Candidate]) -> Iterator[Candidate]:
    """Candidates that explain the cost and not the losses of single examples, or these alone, where just that is seen.

    Another loss, or another way to divide it, may be in the cost alone: ``reduction="none"`` does not divide.
    """
    failed, asked = fits.evidence.failed["loss"], fits.evidence.recipe.loss
    single = {key for key in failed if key.tensor.startswith(PER_EXAMPLE)}
    for one in candidates:
        left = fits.apart(one, "loss", fits.evidence.seen("loss")) if fits.moves(one, "loss") else None
        if not left:
            continue
        if not single and all(key.tensor.startswith(PER_EXAMPLE) for key in left):
            kept = PerExample.of(asked)
            description = f"{one.description}, in the cost and not in the losses of single examples"
            yield replace(one, description=description, changes=(*one.changes, kept))
        elif failed == single and one.is_formulation and not left & failed:
            other = PerExample.of(one.recipe.loss)
            description = f"{one.description}, in the losses of single examples and not in the cost"
            yield Candidate(description, fits.evidence.recipe, changes=(other,))


def beside_the_predictions(fits: Fits, candidates: list[Candidate]) -> Iterator[Candidate]:
    """Candidates that explain all but labels, with these taken from the outputs.

    It matters where the largest output is not that of the largest logit: of a softmax over the batch, say.
    """
    for one in candidates:
        left = fits.apart(one, LAST, fits.evidence.seen(LAST)) if fits.explains_before(one, LAST) else None
        if left and all(key.kind == "decision" for key in left):
            description = f"{one.description}, labels predicted from the outputs and not from the logits"
            yield replace(one, description=description, changes=(*one.changes, ByOutputs()))


def _factor(fits: Fits) -> Fraction | None:
    """By what the data loss of the first batch seems to be multiplied, if that is a fraction of small numbers."""
    key = next((key for key in fits.evidence.failed["loss"] if key.tensor == COST), None)
    oracle, observed = fits.evidence.oracle("loss"), fits.evidence.seen("loss")
    if key is None or np.shape(observed[key].value) != () or not float(oracle[key].value):
        return None
    ratio = float(observed[key].value) / float(oracle[key].value)
    if not math.isfinite(ratio):
        return None
    found = Fraction(ratio).limit_denominator(LARGEST_TERM)
    return found if 0 < found <= LARGEST_TERM and found != 1 else None


@dataclass(frozen=True)
class PerExample:
    """The losses of single examples are of another loss than the cost; ``keywords``: its, as pairs."""

    loss: str
    keywords: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, loss: Component) -> "PerExample":
        """Those of this loss."""
        return cls(loss.name, tuple(loss.keywords.items()))

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _PerExample(session, self, problem.taken_by(self.loss))


class _PerExample(Changed):
    def __init__(self, session: Any, change: PerExample, outputs: str) -> None:
        super().__init__(session)
        self._change = change
        self._outputs = outputs

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Any, weights: Array | None) -> Tensors:
        outputs = self.session.intermediates(parameters, x, masks, None)[self._outputs]
        single = losses.LOSSES[self._change.loss](outputs, y, weights, **dict(self._change.keywords))
        return {**self.session.losses(parameters, x, y, masks, weights), PER_EXAMPLE: single}


@dataclass(frozen=True)
class ByOutputs:
    """Labels are predicted from the outputs, the largest or those above 1/2; the reference takes the logits."""

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _ByOutputs(session, problem)


class _ByOutputs(Changed):
    def __init__(self, session: Any, problem: Problem) -> None:
        super().__init__(session)
        self._outputs, self._of_classes = problem.outputs, problem.recipe.model.output == "softmax"

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        outputs = self._values(parameters, x, statistics)
        if self._of_classes:
            return np.asarray(outputs.argmax(axis=1))
        labels = (outputs > 0.5).astype(np.int64)
        return labels[:, 0] if labels.shape[1] == 1 else labels

    def decision_margins(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        outputs = self._values(parameters, x, statistics)
        if self._of_classes:
            ordered = np.sort(outputs, axis=1)
            return np.asarray(ordered[:, -1] - ordered[:, -2])
        return np.abs((outputs[:, 0] if outputs.shape[1] == 1 else outputs) - 0.5)

    def _values(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        found: Array = self.session.intermediates(parameters, x, None, statistics)[self._outputs]
        return found


@dataclass(frozen=True)
class OfCost:
    """The data loss ``L`` of a batch is another: ``factor L``, its ``root``, or ``L m / batch size``."""

    kind: str
    factor: float = 1.0

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _OfCost(session, self, problem.recipe.batch_size)

    def value(self, loss: float, examples: int, size: int | None) -> tuple[float, float]:
        """What becomes of a batch's data loss, and its derivative."""
        if self.kind == "root":
            return math.sqrt(loss), 0.5 / math.sqrt(loss)
        factor = examples / (size or examples) if self.kind == "batch size" else self.factor
        return factor * loss, factor


class _OfCost(Stepwise):
    def __init__(self, session: Any, change: OfCost, size: int | None) -> None:
        super().__init__(session)
        self._change = change
        self._size = size

    def losses(self, parameters: Tensors, x: Array, *batch: Any) -> Tensors:
        found = self.session.losses(parameters, x, *batch)
        loss, _ = self._change.value(float(found[COST]), len(x), self._size)
        return {**found, COST: np.asarray(loss), "cost": np.asarray(loss + found["penalty"])}

    def gradients(self, parameters: Tensors, x: Array, *batch: Any) -> Tensors:
        found = self.session.gradients(parameters, x, *batch)
        penalty, own = penalised(self.session, parameters, len(x))
        loss, slope = self._change.value(float(found["cost"] - penalty), len(x), self._size)
        scaled = {
            name: slope * (gradient - own.get(name, 0.0)) + own.get(name, 0.0) for name, gradient in found.items()
        }
        return scaled | {"cost": np.asarray(loss + penalty)}


@dataclass(frozen=True)
class AddingUp:
    """In a training each step takes the sum of its gradients and of those of all steps before."""

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _AddingUp(session)


class _AddingUp(Stepwise):
    def fit(self, *arguments: Any) -> Any:
        return _Sums(self.session).fit(*arguments)


class _Sums(Stepwise):
    """The training of :class:`AddingUp`, of one use."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._before: Tensors = {}

    def gradients(self, parameters: Tensors, *batch: Any) -> Tensors:
        found: Tensors = self.session.gradients(parameters, *batch)
        self._before = {name: found[name] + self._before.get(name, 0.0) for name in parameters}
        return found | self._before


@dataclass(frozen=True)
class Negated:
    """A slot of the optimizer's state is kept, and given, with the other sign: ``v = beta v - alpha g; w += v``."""

    slot: str

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _Negated(session, self.slot)


class _Negated(Stepwise):
    def __init__(self, session: Any, slot: str) -> None:
        super().__init__(session)
        self._slot = slot

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        updated, after = self.session.optimizer_step(parameters, gradients, self._turned(state), learning_rate)
        return updated, self._turned(after)

    def _turned(self, state: State) -> State:
        slots = {slot: {name: -v if slot == self._slot else v for name, v in tensors.items()}
                 for slot, tensors in state.slots.items()}  # fmt: skip
        return State(state.step, slots)


@dataclass(frozen=True)
class Shifted:
    """A training takes the rate of the schedule ``steps`` later than it should; before the first, the first one's."""

    steps: int

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _Shifted(session, self.steps)


class _Shifted(Stepwise):
    def __init__(self, session: Any, steps: int) -> None:
        super().__init__(session)
        self._steps = steps

    def scheduled(self, problem: Problem, step: int) -> float:
        return learning_rate(problem, max(1, step + self._steps))
