"""The reference, computing the same thing in another order, from inputs next to the given ones.

Every method of :class:`Rerounded` is equal in mathematics to the reference's own and differs in rounding alone. How
far its results spread is how far honest rounding moves them.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session, State, Training, TrainingState
from conformance.data.randomness import keyed_generator
from conformance.problems.problem import Problem
from conformance.problems.tape import Tape
from conformance.problems.tensors import Array, Masks, Tensors, layer_of
from conformance.recipes.components import Component
from conformance.recipes.recipe import Recipe
from conformance.verdicts.summation import (
    ParallelNetwork,
    SequentialNetwork,
    product_by_threads,
    product_in_turn,
    stacked,
    total_by_threads,
    total_in_turn,
)
from reference_numpy.arithmetic import rounded_otherwise

P = ParamSpec("P")
R = TypeVar("R")

# Numbers that are chosen from a few and not computed with.
CHOSEN = ("threshold",)


class Variant(NamedTuple):
    """One way to round differently."""

    reordered: bool = False  # examples, input features and hidden units in another order
    one_by_one: bool = False  # matrix products and sums added term after term, without a fast library's blocks
    jittered: bool = False  # inputs moved by about half a unit in the last place
    functions: bool = False  # activations, norms and losses moved by a unit, 1 - beta^t subtracted, as libraries may
    rounded: bool = False  # the optimizer's scalars rounded to the working precision
    side_by_side: bool = False  # sums in slices and trees, with fused multiply-add, and functions moved by two units


VARIANTS = (
    Variant(),
    Variant(reordered=True),
    Variant(reordered=True, one_by_one=True),
    Variant(jittered=True, functions=True),
    Variant(reordered=True, rounded=True, functions=True),
    Variant(reordered=True, one_by_one=True, jittered=True, rounded=True, functions=True),
    Variant(reordered=True, side_by_side=True, functions=True),
)
REORDERED, ALL_MOVED = 1, 5  # the places of those that accompany a whole training


@dataclass(frozen=True)
class AnotherLibrary:
    """What another library's function might return: each value ``units`` in the last place higher or lower.

    Which of the two is a hash of the value: equal values move alike, so that in a sum their errors do not cancel. The
    value of every activation moves: what a rectifier or a linear output passes on is a sum, which a library rounds
    otherwise. GELU's distribution function is half of ``1 + tanh(...)`` or, in most libraries, of ``1 + erf(...)``, and
    the exponential in ELU's slope ``1 + expm1(...)``: they move by units of 1/2, which is what another library is left
    with by a difference of such.
    """

    salt: float
    units: int = 1

    def __call__(self, kind: str, value: Array) -> Array:
        fraction, _ = np.modf(np.abs(value.astype(np.float64)) * self.salt)
        unit = np.where(fraction < 0.5, -self.units, self.units) * np.finfo(value.dtype).eps
        moved: Array = value + (0.5 if kind == "one plus" else value) * unit.astype(value.dtype)
        return moved


def drawn_salt(generator: np.random.Generator) -> float:
    """A salt for :class:`AnotherLibrary`."""
    return float(generator.uniform(1e5, 1e6))


def arithmetic(variant: Variant, salt: float) -> AbstractContextManager[None]:
    """While this lasts the reference computes as ``variant`` says; ``salt`` says how another library would round."""
    return rounded_otherwise(
        product=partial(_product, variant, int(salt)),
        total=total_in_turn if variant.one_by_one else total_by_threads if variant.side_by_side else None,
        one_minus_power=subtracted if variant.functions else None,
        value=AnotherLibrary(salt, 2 if variant.side_by_side else 1) if variant.functions else None,
    )


def _product(variant: Variant, salt: int, a: Array, b: Array) -> Array:
    """The matrix products of layers, which a network of them leaves to the arithmetic, in the order of ``variant``."""
    if variant.reordered:
        order = np.random.default_rng((salt, a.shape[-1])).permutation(a.shape[-1])
        a, b = a[..., order], b[..., order, :]
    if variant.one_by_one:
        return stacked(product_in_turn, a, b)
    return stacked(product_by_threads, a, b) if variant.side_by_side else np.matmul(a, b)


def jittered(value: Array, generator: np.random.Generator) -> Array:
    """Real numbers moved by about half a unit in the last place of their precision."""
    relative = np.finfo(value.dtype).eps / 2 * generator.uniform(-1.0, 1.0, value.shape)
    moved: Array = value + value * relative.astype(value.dtype)
    return moved


def subtracted(beta: float, t: int) -> float:
    """``1 - beta^t`` as it is mostly written, with the cancellation that the reference avoids."""
    return float(1.0 - beta**t)


class Rerounded(Session):
    """The reference in the working precision, computing in another order and from inputs next to the given ones."""

    def __init__(self, problem: Problem, variant: int) -> None:
        self.variant = VARIANTS[variant]
        self.problem = problem
        self.generator = keyed_generator(problem.recipe.seed, "re-rounding", variant)
        self.seeds = keyed_generator(problem.recipe.seed, "seeds of weights", variant)
        self.salt = drawn_salt(self.generator)
        recipe = with_rounded_scalars(problem, self.generator) if self.variant.rounded else problem.recipe
        self.session = NumpySession(replace(problem, recipe=recipe))
        self.orders = {} if problem.recipe.is_network else self._orders_of_units()
        self.inverses = {layer: np.argsort(order) for layer, order in self.orders.items()}

    def _orders_of_units(self) -> dict[int, Array]:
        """The order of the features and of each layer's units, in a dense network whose products are its own.

        In a network of layers units keep their places, and the terms of products are reordered (:func:`_product`).
        """
        if self.variant.one_by_one:
            self.session.model = SequentialNetwork(**vars(self.session.model))
        elif self.variant.side_by_side:
            self.session.model = ParallelNetwork(**vars(self.session.model))
        sizes = self.session.model.layer_sizes
        features = np.arange(sizes[0]) if self.problem.recipe.image_augmentations else self._order(sizes[0])
        orders = [features, *(self._order(n) for n in sizes[1:-1]), np.arange(sizes[-1])]
        return dict(enumerate(orders))

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        """Other weights than those of ``seed``: what differs between two draws is what chance alone moves."""
        weights = self.session.draw_weights(shape, int(self.seeds.integers(2**31)))
        initializer = self.problem.recipe.initializer
        return _orthogonalized(weights, **initializer.keywords) if initializer.name == "orthogonal" else weights

    def initial_parameters(self, seed: int) -> Tensors:
        """The reference's own, as no biases are drawn; in a network of layers, whose weights are looked at, others."""
        return self.session.initial_parameters(int(self.seeds.integers(2**31)) if not self.orders else seed)

    def standardize(self, train_x: Array, x: Array) -> Array:
        rows = self._order(len(train_x))
        return self._run(self.session.standardize, self._jitter(train_x)[rows], self._jitter(x))

    def augment(self, x: Array, draws: list[Array]) -> Array:
        return self.session.augment(self._jitter(x), [self._jitter(drawn) for drawn in draws])

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        rows = self._order(len(x))
        mixed = None if statistics is None else self._mixed_parameters(statistics)
        found = self._run(
            self.session.intermediates, *self._mixed(parameters, x, rows), self._mixed_masks(masks, rows), mixed
        )
        back = np.argsort(rows)
        found = {n: value.take(back, axis=0) for n, value in found.items()}
        return {n: v.take(self.inverses[layer_of(n)], axis=1) for n, v in found.items()} if self.orders else found

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        rows = self._order(len(x))
        found = self._run(self.session.losses, *self._mixed_batch(parameters, x, y, masks, weights, rows))
        return found | {"per_example": _undo(found["per_example"], rows)}

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        rows = self._order(len(x))
        found = self._run(self.session.gradients, *self._mixed_batch(parameters, x, y, masks, weights, rows))
        beside = {"cost": found.pop("cost")}
        if "A0" in found:
            input_gradient = _undo(found.pop("A0"), rows)
            beside["A0"] = input_gradient.take(self.inverses[0], axis=1) if self.orders else input_gradient
        return self._restored(found) | beside

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        rows = self._order(len(x))
        mixed = self._mixed(parameters, x, rows)
        statistics = self._mixed_parameters(statistics)
        return self._restored(
            self._run(self.session.running_statistics, *mixed, self._mixed_masks(masks, rows), statistics)
        )

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        return self._decided(self.session.predict_classes, parameters, x, statistics)

    def decision_margins(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        return self._decided(self.session.decision_margins, parameters, x, statistics)

    def clip(self, gradients: Tensors) -> Tensors:
        return self._restored(self._run(self.session.clip, self._mixed_parameters(gradients)))

    def constrain(self, parameters: Tensors) -> Tensors:
        return self._restored(self._run(self.session.constrain, self._mixed_parameters(parameters)))

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        slots = {slot: self._jitter_all(tensors) for slot, tensors in state.slots.items()}
        if self.variant.rounded:
            learning_rate = neighbour(learning_rate, self.problem.dtype, self.generator)
        jittered = self._jitter_all(parameters), self._jitter_all(gradients)
        return self._run(self.session.optimizer_step, *jittered, State(state.step, slots), learning_rate)

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        """The same training with the rows of every batch, the features and the hidden units in another order."""
        mixed = self._mixed_problem(problem)
        training = self._run(self.session.fit, mixed, checkpoint_epochs)
        return training._replace(
            parameters=self._restored(training.parameters),
            slots={slot: self._restored(tensors) for slot, tensors in training.slots.items()},
            checkpoints={epoch: self._restored(p) for epoch, p in training.checkpoints.items()},
            statistics=self._restored(training.statistics),
            checkpoint_slots={
                epoch: {slot: self._restored(tensors) for slot, tensors in slots.items()}
                for epoch, slots in (training.checkpoint_slots or {}).items()
            },
            checkpoint_statistics={
                epoch: self._restored(found) for epoch, found in (training.checkpoint_statistics or {}).items()
            },
        )

    def _decided(self, decide: Callable[..., Array], parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        rows = self._order(len(x))
        return _undo(self._run(decide, *self._mixed(parameters, x, rows), self._mixed_parameters(statistics)), rows)

    def _run(self, function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R:
        with arithmetic(self.variant, self.salt):
            return function(*arguments, **keywords)

    def _order(self, size: int) -> Array:
        return self.generator.permutation(size) if self.variant.reordered else np.arange(size)

    def _jitter(self, value: Array) -> Array:
        if not self.variant.jittered or value.dtype.kind != "f":
            return value
        return jittered(value, self.generator)

    def _jitter_all(self, tensors: Tensors) -> Tensors:
        if not self.variant.jittered:
            return tensors
        return {name: self._jitter(value) for name, value in tensors.items()}

    def _mixed(self, parameters: Tensors, x: Array, rows: Array) -> tuple[Tensors, Array]:
        return self._mixed_parameters(parameters), self._features(self._jitter(x)[rows])

    def _mixed_batch(
        self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None, rows: Array
    ) -> tuple[Tensors, Array, Array, Masks | None, Array | None]:
        weights = None if weights is None else weights[rows]
        return *self._mixed(parameters, x, rows), y[rows], self._mixed_masks(masks, rows), weights

    def _mixed_parameters(self, parameters: Tensors) -> Tensors:
        """Parameters, or anything that goes by their names or those of running averages, in this run's orders."""
        mixed = dict(self._jitter_all(parameters))
        if not self.orders:
            return mixed
        for name, value in mixed.items():
            layer = layer_of(name)
            value = value[self.orders[layer]]
            mixed[name] = value[:, self.orders[layer - 1]] if value.ndim == 2 else value
        return mixed

    def _restored(self, tensors: Tensors) -> Tensors:
        """The inverse of :meth:`_mixed_parameters`, but for the jitter."""
        if not self.orders:
            return tensors
        restored = {}
        for name, value in tensors.items():
            layer = layer_of(name)
            value = value.take(self.inverses[layer], axis=0)
            restored[name] = value.take(self.inverses[layer - 1], axis=1) if value.ndim == 2 else value
        return restored

    def _features(self, x: Array) -> Array:
        """Inputs with their features in the order of this run."""
        return x[:, self.orders[0]] if self.orders else x

    def _mixed_masks(self, masks: Masks | None, rows: Array) -> Masks | None:
        if masks is None:
            return None
        return {place: self._mask(mask[rows], place) for place, mask in masks.items()}

    def _mask(self, mask: Array, place: Any) -> Array:
        """A mask of dropout ``(m, n_l)`` with the units of its layer in the order of this run."""
        return mask[:, self.orders[place]] if self.orders else mask

    def _mixed_problem(self, problem: Problem) -> Problem:
        examples, size = len(problem.train_x), problem.recipe.batch_size or len(problem.train_x)
        starts = range(0, examples, size)
        epochs = [
            np.concatenate([start + self._order(min(size, examples - start)) for start in starts])
            for _ in range(problem.recipe.epochs)
        ]
        x, y, weights, order = problem.train_x, problem.train_y, problem.train_weights, problem.tape.batch_order
        if order is not None:
            order = np.stack([row[places] for row, places in zip(order, epochs, strict=True)])
        else:  # full batches keep the order of the data, so the data is reordered, once
            epochs = [epochs[0]] * len(epochs)
            x, y, weights = x[epochs[0]], y[epochs[0]], None if weights is None else weights[epochs[0]]
        masks = {
            place: np.stack([self._mask(m[places], place) for m, places in zip(mask, epochs, strict=True)])
            for place, mask in problem.tape.dropout_masks.items()
        }
        draws = [
            np.stack([self._mixed_draws(drawn[places]) for drawn, places in zip(augmentation, epochs, strict=True)])
            for augmentation in problem.tape.augmentation_draws
        ]
        tape = Tape(self._mixed_parameters(problem.tape.initial_parameters), order, masks, draws, weights)
        mixed_x, test_x = self._features(self._jitter(x)), self._features(problem.test_x)
        return replace(problem, train_x=mixed_x, train_y=y, test_x=test_x, tape=tape)

    def _mixed_draws(self, drawn: Array) -> Array:
        """Noise has a number for each feature, in their order; flips and shifts have not."""
        noise = drawn.ndim == 2 and drawn.shape[1] == self.problem.features and np.issubdtype(drawn.dtype, np.floating)
        return self._features(self._jitter(drawn)) if noise else drawn


def with_rounded_scalars(problem: Problem, generator: np.random.Generator) -> Recipe:
    """The recipe with the optimizer's numbers rounded to the working precision, or moved to a number next to them.

    The latter where rounding changes nothing: what a framework computes from them, ``1 - beta^t`` above all, is rounded
    in any precision, and cancellation makes much of it.
    """
    optimizer = problem.recipe.optimizer
    rounded = rounded_keywords(optimizer.keywords, problem.dtype, generator)
    return problem.recipe.model_copy(update={"optimizer": Component(name=optimizer.name, **rounded)})


def rounded_keywords(
    keywords: Mapping[str, Any], dtype: np.dtype[Any], generator: np.random.Generator
) -> dict[str, Any]:
    """A component's keywords with every number that is computed with as :func:`neighbour` has it; 0 stays 0."""
    return {
        keyword: neighbour(value, dtype, generator)
        if isinstance(value, float) and value and keyword not in CHOSEN
        else value
        for keyword, value in keywords.items()
    }


def neighbour(value: float, dtype: np.dtype[Any], generator: np.random.Generator) -> float:
    """``value`` rounded to a precision, or, where it is one of its numbers, a number of it next to ``value``."""
    rounded = float(np.asarray(value, dtype))
    if rounded != value:
        return rounded
    towards = np.asarray(generator.choice([-np.inf, np.inf]), dtype)
    return float(np.nextafter(np.asarray(value, dtype), towards))


def _orthogonalized(w: Array, gain: float) -> Array:
    """``gain`` times an orthogonal matrix, after a step of Newton's iteration to the nearest of its kind: itself.

    A library orthogonalises in the working precision, where the reference, in float64, rounds its result alone.
    """
    nearest: Array = 1.5 * w - 0.5 / (gain**2 or 1.0) * np.linalg.multi_dot((w, w.T, w))
    return nearest


def _undo(value: Array, order: Array) -> Array:
    """The inverse of ``value[order]``."""
    return value.take(np.argsort(order), axis=0)
