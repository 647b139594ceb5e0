"""A training on two replicas as an implementation: ``torch-replicas``, and ``torch-replicas-plain``.

The examples of a batch are divided among the replicas, the first of which has one more of an odd number. The cost of
the whole batch is a sum of parts, and so are its gradients::

    1/m sum_i loss_i + penalties(W, m)  =  sum_r m_r/m (mean of the losses of part r)  +  penalties(W, m)

``replicas`` compute this, whatever the parts. ``replicas-plain`` do what a framework does by itself: average the
replicas' means, in which each part counts the same, or take even parts alone. Of an uneven batch they say so, and how
far off that is, and count as not offering it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from conformance.adapters.registry import OWN, PLAIN, REPLICAS, pair_named, replicas_named, require_available
from conformance.adapters.session import DeviceNotFound, Session, State, Training, TrainingState, Unsupported
from conformance.checks.case import initial_state, learning_rate, take_step
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.recipes.recipe import Recipe

COUNT = 2
WITHOUT_PLAIN = ("numpy",)  # no machinery divides its batches by itself


def on_replicas(names: Iterable[str]) -> list[str]:
    """Implementations on replicas, as they should be and as frameworks have them; what is on replicas already stays.

    >>> on_replicas(["numpy", "torch"])
    ['numpy-replicas', 'torch-replicas', 'torch-replicas-plain']

    Raises ValueError for any other name.
    """
    found: list[str] = []
    for name in dict.fromkeys(names):
        single = replicas_named(name) is None and pair_named(name) is None and ":" not in name
        if single:
            require_available([name], "are divided among replicas", [each + REPLICAS for each in OWN])
        own = [name + REPLICAS, *([] if name in WITHOUT_PLAIN else [name + PLAIN])]
        found += own if single else [name]
    return found


def require_cpu(device: str) -> None:
    """Raise DeviceNotFound for another device than the CPU, which alone can be made two."""
    if device != "cpu":
        raise DeviceNotFound(f"device={device!r} is not allowed: the two replicas are of this machine's cpu")


class Part(NamedTuple):
    """The examples of one replica: a batch, and which of its examples count; some are there to fill it up."""

    batch: Batch
    counts: Array


def parts_of(batch: Batch, *, even: bool = False) -> list[Part]:
    """A batch divided among the replicas, in order. None is empty, and with ``even`` all have as many examples.

    What a part lacks for that is filled up with the batch's first example, which does not count.
    """
    rows = np.array_split(np.arange(len(batch.x)), COUNT)
    least = len(rows[0]) if even else 1
    parts = []
    for own in rows:
        missing = max(0, least - len(own))
        counts = np.concatenate([np.ones(len(own)), np.zeros(missing)])
        parts.append(Part(taken(batch, np.concatenate([own, np.zeros(missing, int)])), counts))
    return parts


def taken(batch: Batch, rows: Array) -> Batch:
    """Some examples of a batch."""
    weights = None if batch.weights is None else batch.weights[rows]
    return Batch(batch.x[rows], batch.y[rows], {layer: mask[rows] for layer, mask in batch.masks.items()}, weights)


def rejoined(parts: Iterable[Part], pieces: Iterable[Array]) -> Array:
    """An array by example from those of the parts, without the examples that do not count."""
    return np.concatenate([piece[part.counts > 0] for part, piece in zip(parts, pieces, strict=True)])


def is_uneven(examples: int) -> bool:
    """Whether so many examples cannot be divided into equal parts."""
    return examples % COUNT != 0


def why_not(recipe: Recipe) -> Iterator[str]:
    """What of a recipe is no sum over the parts of a batch."""
    if "batch_norm" in recipe.components:
        yield "batch norm takes the statistics of a replica's own part"
    if recipe.loss.keywords.get("weight_denominator") == "weights":
        yield "weight_denominator='weights' divides by the weights of a replica's own part"
    if recipe.reduction != "mean":
        yield f"reduction={recipe.reduction!r} is not a mean over the batch"
    if recipe.fit != "once" or recipe.named("early_stopping"):
        yield "a training on replicas is one call, and ends with its last epoch"


class Replicated(Session, ABC):
    """Two replicas of the model of ``own``, a session of the same implementation on one device."""

    plain = False
    by_default = ""  # what the framework does with an uneven batch

    def __init__(self, problem: Problem, own: Session) -> None:
        for reason in why_not(problem.recipe):
            raise Unsupported(reason)
        self.problem, self.own = problem, own

    @abstractmethod
    def divided(self, parameters: Tensors, batch: Batch, *, plain: bool) -> Tensors:
        """What a session's ``gradients`` returns. ``plain``: of the mean of the replicas' means."""

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        batch = Batch(x, y, masks or {}, weights)
        if self.plain and is_uneven(len(x)):
            raise Unsupported(self.uneven(parameters, batch))
        return self.divided(parameters, batch, plain=self.plain)

    def uneven(self, parameters: Tensors, batch: Batch) -> str:
        """What becomes of an uneven batch by default, and how far that is from the batch's own gradients."""
        right, found = (self.divided(parameters, batch, plain=plain) for plain in (False, True))
        off = max(distance(found[name], right[name]) for name in parameters)
        far = f"off by {off:.1e} of their size" if np.isfinite(off) else "no numbers, for the mean of none is none"
        return f"{uneven_batch(len(batch.x))}: {self.by_default}: gradients are {far}"

    def clip(self, gradients: Tensors) -> Tensors:
        return self.own.clip(gradients)

    def constrain(self, parameters: Tensors) -> Tensors:
        return self.own.constrain(parameters)

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        return self.own.optimizer_step(parameters, gradients, state, learning_rate)

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        return self.own.predict_classes(parameters, x, statistics)

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        self.require_even(problem)
        return fit_in_steps(self, problem, checkpoint_epochs)

    def require_even(self, problem: Problem) -> None:
        """Raise Unsupported for a batch of the training that is not divided as it should be."""
        for step in range(problem.batches_per_epoch if self.plain else 0):
            batch = problem.batch(step)
            if is_uneven(len(batch.x)):
                raise Unsupported(self.uneven(problem.tape.initial_parameters, batch))


def uneven_batch(examples: int) -> str:
    """An uneven batch by its size and its parts.

    >>> uneven_batch(17)
    'an uneven batch of 17 examples, 9 and 8'
    """
    first = -(-examples // COUNT)
    return f"an uneven batch of {examples} example{'s' * (examples > 1)}, {first} and {examples - first}"


def distance(found: Array, right: Array) -> float:
    """The largest difference, of the largest number."""
    size = float(np.abs(right).max())
    return float(np.abs(found - right).max()) / size if size else 0.0


def fit_in_steps(session: Session, problem: Problem, checkpoint_epochs: tuple[int, ...]) -> Training:
    """A problem's training from its beginning, step by step."""
    state = initial_state(problem)
    costs, rates, norms, kept = [], [], [], dict[int, TrainingState]()
    for step in range(1, problem.steps + 1):
        taken = take_step(session, problem, state)
        state = taken.updated
        costs.append(taken.cost)
        rates.append(learning_rate(problem, step))
        norms.append(np.sqrt(sum(np.square(g).sum() for g in taken.gradients.values())))
        epoch, rest = divmod(step, problem.batches_per_epoch)
        if not rest and epoch in checkpoint_epochs:
            kept[epoch] = state
    return Training(
        costs=np.array(costs), learning_rates=np.array(rates), gradient_norms=np.array(norms),
        parameters=state.parameters, slots=state.slots, validation_costs=np.array([]), best_epoch=0, statistics={},
        checkpoints={epoch: each.parameters for epoch, each in kept.items()},
        checkpoint_slots={epoch: each.slots for epoch, each in kept.items()},
        checkpoint_statistics={epoch: {} for epoch in kept}, steps=state.step - 1,
    )  # fmt: skip
