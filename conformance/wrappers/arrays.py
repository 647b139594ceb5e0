"""``wrap_arrays``: a user's own functions of NumPy arrays, or of what becomes such, put under test."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import State, Unsupported
from conformance.problems.problem import Batch
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.given import Given, takes
from conformance.wrappers.recipe_layers import wanted_shapes
from conformance.wrappers.session import WrappedSession
from conformance.wrappers.subject import Subject
from conformance.wrappers.values import Forward, Gradients, Losses, Step, Taken

Slots = dict[str, Tensors]


def wrap_arrays(
    forward: Callable[..., Any] | None = None,
    *,
    loss: Callable[..., Any] | None = None,
    gradients: Callable[..., Mapping[str, Any]] | None = None,
    update: Callable[..., tuple[Any, Any]] | None = None,
    slots: Mapping[str, str] | None = None,
    per_example: Callable[..., Any] | None = None,
    penalty: Callable[..., Any] | None = None,
    schedule: Callable[[int], float] | None = None,
    clip: Callable[[Tensors], Any] | None = None,
    constrain: Callable[[Tensors], Any] | None = None,
    standardize: Callable[[Array, Array], Any] | None = None,
    augment: Callable[..., Any] | None = None,
    predict: Callable[[Array], Any] | None = None,
    initializer: Callable[[tuple[int, int], int], Any] | None = None,
    recipe: Any = None,
) -> Subject:
    """A subject of one's own plain functions, for ``conformance run --implementation mine:subject`` and the like.

    Every part may be left out; what needs it is then not offered. Parameters are dicts by the recipe's names: weights
    ``W1 (outputs, inputs)``, biases ``b1 (outputs,)``, scales and shifts ``gamma1``, ``beta1``. What is returned may be
    whatever ``np.asarray`` takes.

    Args:
        forward: of ``(parameters, x)``: the model's outputs ``(m, k)``, or a dict of what can be seen on the way
            (``Z1``, ``N1``, ``A1`` ... ``ZL``, ``AL``), of which those that are absent are not offered. If it has
            arguments of these names it is given ``masks`` (of dropout, by layer), and ``training`` and ``statistics``
            (batch norm's running averages, whose new values are taken from the dict that it returns).
        loss: of ``(outputs, targets)``, or of ``(outputs, targets, weights)``: the data loss of the batch.
        gradients: of ``(parameters, x, targets)``, also given ``masks`` and ``weights`` if it has arguments of these
            names: gradients of the cost by name, and if it likes ``cost`` and that of the input, ``A0``.
        update: of ``(parameters, gradients, slots, step, learning_rate)``, with the optimizer's state
            ``slots[slot][name]`` and ``step`` counted from 1: the new parameters and slots.
        slots: what ``update`` calls its slots, by those of the catalogue: ``{"velocity": "v"}``.
        per_example: of ``(outputs, targets)``: the loss of each example ``(m,)``.
        penalty: of the parameters, or of them and the number of examples: a number that is added to the loss.
        schedule: the learning rate of an epoch or step (the recipe says of which), counted from 0.
        clip: of gradients: the clipped ones.
        constrain: of parameters: those after the constraint.
        standardize: of the training inputs and others: the others standardised.
        augment: of a batch's inputs and what each augmentation drew for it.
        predict: of outputs, the labels; by default the largest, or those above 0 (of probabilities, 1/2).
        initializer: of a shape ``(outputs, inputs)`` and a seed: weights.
        recipe: what it is to be held against by ``conformance check``: a recipe, its name or its file, or several.
    """
    given = Given(
        model=forward, loss=loss, gradients=gradients, optimizer=update, slots=slots, per_example=per_example,
        penalty=penalty, schedule=schedule, clip=clip, constrain=constrain, standardize=standardize, augment=augment,
        predict=predict, initializer=initializer,
    )  # fmt: skip
    return Subject(ArraysSession, given, recipe)


class ArraysSession(WrappedSession):
    """A user's functions of arrays for one problem; the model's own paths are the recipe's names."""

    keywords: ClassVar[Mapping[str, str]] = {"model": "forward", "optimizer": "update"}
    of_gradients: ClassVar[tuple[str, ...]] = ("gradients",)

    @staticmethod
    def versions() -> Mapping[str, str]:
        return {"numpy": np.__version__}

    @staticmethod
    def settings(device: str) -> Mapping[str, Any]:
        return {}

    def make_model(self) -> None:
        parameters, statistics = wanted_shapes(self.problem)
        self.parameters = {name: np.zeros(shape, self.problem.dtype) for name, shape in parameters.items()}
        self.statistics = {name: np.zeros(shape, self.problem.dtype) for name, shape in statistics.items()}

    def own_parameters(self) -> Tensors:
        return dict(self.parameters)

    def own_statistics(self) -> Tensors:
        return dict(self.statistics)

    def load(self, values: Tensors) -> None:
        self.parameters = {name: values.get(name, w) for name, w in self.parameters.items()}
        self.statistics = {name: values.get(name, value) for name, value in self.statistics.items()}

    def forward(self, x: Array, masks: Masks | None, *, training: bool) -> Forward:
        parts: dict[str, Any] = {"masks": masks or {}, "statistics": self.statistics}
        if self.statistics:
            parts["training"] = training
        found = self._call("model", self.parameters, x, **parts)
        if not isinstance(found, Mapping):
            return Forward(np.asarray(found), {})
        inside = {name: np.asarray(value) for name, value in found.items()}
        if training:
            self.statistics |= {name: inside[name] for name in self.statistics if name in inside}
        last = self.problem.taken_by_loss
        if last not in inside:
            raise ValueError(f"forward= returned {', '.join(inside)} and no {last}, which the recipe's loss takes")
        return Forward(inside[last], {name: value for name, value in inside.items() if name not in self.statistics})

    def losses_of(self, batch: Batch, *, training: bool) -> Losses:
        outputs = self.forward(batch.x, batch.masks, training=training).outputs
        return self._losses(outputs, batch.y, batch.weights)._replace(penalty=self._penalty(len(batch.x)))

    def differentiate(self, batch: Batch) -> Gradients:
        weighted = {} if batch.weights is None else {"weights": batch.weights}
        found = dict(self._call("gradients", self.parameters, batch.x, batch.y, masks=batch.masks, **weighted))
        cost = found.pop("cost", None)
        if cost is None and self.given.model is not None and self.given.loss is not None:
            parts_of_loss = self.losses_of(batch, training=True)
            cost = parts_of_loss.data_loss + parts_of_loss.penalty
        return Gradients(NOT_OFFERED if cost is None else cost, found, found.pop("A0", NOT_OFFERED))

    def loss_of_outputs(self, outputs: Array, y: Array, weights: Array | None) -> tuple[Losses, Array]:
        return self._losses(outputs, y, weights), NOT_OFFERED

    def step_of(self, parameters: Tensors, gradients: Tensors, state: State, rate: float) -> tuple[Tensors, Slots]:
        names = self.given.slots or {}
        own = {names.get(slot, slot): tensors for slot, tensors in state.slots.items()}
        updated, slots = self.given.optimizer(parameters, gradients, own, state.step + 1, rate)
        slots = {slot: slots[names.get(slot, slot)] for slot in self.slot_names if names.get(slot, slot) in slots}
        return dict(updated), slots

    def begin(self, trained: Sequence[str], state: State) -> None:
        self.trained, self.state = trained, state
        if not state.slots:
            self.state = State(state.step, self.initial_slots({name: self.parameters[name] for name in trained}))

    def take_step(self, step: Step) -> Taken:
        cost, gradients, _ = self.differentiate(step.batch)
        trained = {name: np.asarray(gradients[name]) for name in self.trained}
        norm = np.sqrt(sum((g**2).sum() for g in trained.values()))
        rate = float(self.problem.recipe.optimizer.keywords["learning_rate"]) if step.rate is None else step.rate
        clipped = self.clip_gradients(trained) if self.given.clip is not None else trained
        parameters = {name: self.parameters[name] for name in self.trained}
        updated, slots = self.step_of(parameters, clipped, self.state, rate)
        self.state = State(self.state.step + 1, slots)
        self.load(self.constrain_parameters(updated) if self.given.constrain is not None else updated)
        return Taken(cost, rate, norm)

    def slots_now(self) -> Slots:
        return self.state.slots

    def apply(self, function: Any, *arrays: Array) -> Array:
        return np.asarray(function(*arrays))

    def clip_gradients(self, gradients: Tensors) -> Tensors:
        return dict(self._given("clip")(gradients))

    def constrain_parameters(self, parameters: Tensors) -> Tensors:
        return dict(self._given("constrain")(parameters))

    def draw(self, shape: tuple[int, int], seed: int) -> Array:
        return np.asarray(self._given("initializer")(shape, seed), self.problem.dtype)

    def start_anew(self, seed: int) -> Tensors:
        raise Unsupported("plain functions make no parameters of a whole model")

    def _losses(self, outputs: Array, y: Array, weights: Array | None) -> Losses:
        weighted = () if weights is None else (weights,)
        loss, each = self._given("loss"), self.given.per_example
        if weighted and not takes(loss, 3):
            raise Unsupported("loss= takes no third argument, and the recipe has weights of the examples")
        per_example = NOT_OFFERED if each is None else np.asarray(each(outputs, y, *weighted))
        return Losses(per_example, np.asarray(loss(outputs, y, *weighted)), np.zeros((), self.problem.dtype))

    def _penalty(self, examples: int) -> Array:
        penalty = self.given.penalty
        if penalty is None:
            return np.zeros((), self.problem.dtype)
        found = penalty(self.parameters, examples) if takes(penalty, 2) else penalty(self.parameters)
        return np.asarray(found, self.problem.dtype)

    def _call(self, part: str, *arguments: Any, **parts: Any) -> Any:
        """What a user's function returns, given those of ``parts`` that it has arguments for.

        Raises Unsupported where it has none for something that the recipe has.
        """
        function = self._given(part)
        known = inspect.signature(function).parameters
        for name, value in parts.items():
            if name not in known and not (isinstance(value, dict) and not value):
                keyword = self.keywords.get(part, part)
                raise Unsupported(f"{keyword}= has no argument {name!r}, which the recipe needs")
        return function(*arguments, **{name: value for name, value in parts.items() if name in known})
