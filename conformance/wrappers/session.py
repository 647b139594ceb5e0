"""What the sessions of all wrapped subjects share: what is offered, the recipe's names, and the training loop.

A framework's session overrides the hooks, which know nothing of the recipe's names: parameters go by the model's own
paths and in its own layouts, as NumPy arrays. Those of the model are called with the model loaded.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, NoReturn

import numpy as np

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import DeviceNotFound, Session, State, Training, TrainingState, Unsupported
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.alone import LossAlone
from conformance.wrappers.given import Given, lacking
from conformance.wrappers.layer_calls import Call
from conformance.wrappers.layouts import AS_IT_IS, LayerLayout, OwnLayer, Turn
from conformance.wrappers.matching import Forms, Matching
from conformance.wrappers.matching_layers import Model, match_model, seen_layers
from conformance.wrappers.recipe_layers import names_inside, wanted_shapes
from conformance.wrappers.values import Forward, Gradients, Losses, Step, Taken, activated
from reference_numpy import losses, models, optimizers

WITHOUT = "is not given to the wrapper"


class WrappedSession(Session, ABC):
    """A user's parts for one problem.

    A framework's class overrides ``versions``, ``settings`` and the hooks below them; those that need a part that was
    not given are never called. ``inputs_first``: whether weights are kept as (inputs, outputs), by the framework
    or, if ``make_model`` says so, by the model; ``kernels``: how those of convolutions are; ``layouts``: how layers are
    that the framework has.
    """

    inputs_first: bool = False
    kernels: Turn = AS_IT_IS
    layouts: Mapping[str, LayerLayout] = {}
    calls: Sequence[Call] = ()  # of the model's layers, those without parameters too, as ``own_layers`` has seen them
    keywords: ClassVar[Mapping[str, str]] = {}  # of the wrapper, where they are not those of Given
    of_gradients: ClassVar[tuple[str, ...]] = ("loss",)  # what gradients are made of, beside the model

    def __init__(self, given: Given, problem: Problem, device: str) -> None:
        self.given, self.problem, self.device = given, problem, device
        self.matching: Matching | None = None
        if given.model is not None:
            self.make_model()
            self.matching = self._matched()

    # ------------------------------------------------------------------ what a framework says of itself

    @classmethod
    def check_device(cls, device: str) -> None:
        """Raise DeviceNotFound for a device that is not there; here for all but the cpu."""
        if device != "cpu":
            raise DeviceNotFound(f"device={device!r} is not there: must be cpu")

    @staticmethod
    @abstractmethod
    def versions() -> Mapping[str, str]:
        """Versions of the libraries that it stands on; the first is its framework's."""

    @staticmethod
    @abstractmethod
    def settings(device: str) -> Mapping[str, Any]:
        """Precision switches, threads and whatever else changes the last bits."""

    # ------------------------------------------------------------------ hooks of the model

    @abstractmethod
    def make_model(self) -> None:
        """Make the user's model for ``self.problem``, in its precision."""

    @abstractmethod
    def own_parameters(self) -> Tensors:
        """Copies of the model's parameters by path, in the order of its layers."""

    @abstractmethod
    def own_statistics(self) -> Tensors:
        """Copies of the model's running averages by path, in the order of its layers."""

    def own_layers(self) -> list[OwnLayer]:
        """The model's layers that ``layouts`` knows, in the order in which they are called."""
        return []

    @abstractmethod
    def load(self, values: Tensors) -> None:
        """Put parameters and running averages, by path, into the model; what is not among them stays."""

    @abstractmethod
    def forward(self, x: Array, masks: Masks | None, *, training: bool) -> Forward:
        """A forward pass. ``masks``: of dropout, by layer; in training the running averages may change."""

    # ------------------------------------------------------------------ hooks of the loss

    @abstractmethod
    def losses_of(self, batch: Batch, *, training: bool) -> Losses:
        """The loss of the model on a batch."""

    @abstractmethod
    def differentiate(self, batch: Batch) -> Gradients:
        """The cost in training and its gradients."""

    @abstractmethod
    def loss_of_outputs(self, outputs: Array, y: Array, weights: Array | None) -> tuple[Losses, Array]:
        """The loss of given outputs, and its gradient with respect to them, where there is a loss and no model."""

    # ------------------------------------------------------------------ hooks of the optimizer

    @abstractmethod
    def step_of(
        self, parameters: Tensors, gradients: Tensors, state: State, rate: float
    ) -> tuple[Tensors, dict[str, Tensors]]:
        """One step of a new optimizer for these parameters, of any names: them after it, and the slots."""

    @abstractmethod
    def begin(self, trained: Sequence[str], state: State) -> None:
        """Make an optimizer for those of the model's parameters, by path, that are trained, to go on from ``state``."""

    @abstractmethod
    def take_step(self, step: Step) -> Taken:
        """One step of the training that has begun, of model, running averages and optimizer."""

    @abstractmethod
    def slots_now(self) -> dict[str, Tensors]:
        """The slots of the training that has begun, by slot and path."""

    # ------------------------------------------------------------------ hooks of what else may be given

    @abstractmethod
    def apply(self, function: Any, *arrays: Array) -> Array:
        """What a user's function makes of arrays, which it is given as the framework's tensors."""

    def clip_gradients(self, gradients: Tensors) -> Tensors:
        """The gradients after the user's clipping."""
        self._lack("clip")

    def constrain_parameters(self, parameters: Tensors) -> Tensors:
        """The parameters after the user's constraint."""
        self._lack("constrain")

    def draw(self, shape: tuple[int, int], seed: int) -> Array:
        """Weights ``(n_out, n_in)`` from the user's initializer."""
        self._lack("initializer")

    def start_anew(self, seed: int) -> Tensors:
        """The parameters by path that the user's model starts with under a seed."""
        self._lack("initializer")

    def lacking(self) -> Iterator[str]:
        """Which parts of the recipe's training the user did not give, each by the keyword that would give it."""
        yield from lacking(self.given, self.problem)

    # ------------------------------------------------------------------ what the harness asks for

    def draw_weights(self, shape: tuple[int, int], seed: int) -> Array:
        self._need("initializer")
        return self.draw(shape, seed)

    def initial_parameters(self, seed: int) -> Tensors:
        self._need("model", "initializer")
        drawn = self.start_anew(seed)
        return {name: w for name, w in self._matching.to_recipe(drawn).items() if name in self._parameter_names}

    def standardize(self, train_x: Array, x: Array) -> Array:
        self._need("standardize")
        return self.apply(self.given.standardize, train_x, x)

    def augment(self, x: Array, draws: list[Array]) -> Array:
        self._need("augment")
        return self.apply(self.given.augment, x, *draws)

    def intermediates(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors | None) -> Tensors:
        self._need("model")
        self._load(parameters, statistics)
        found = self.forward(x, masks, training=statistics is None)
        shows_logits, output = self._shows_logits(found), self.problem.recipe.model.output
        named = dict.fromkeys(self._names_inside, NOT_OFFERED) | found.inside
        if shows_logits:
            named |= dict.fromkeys({self.problem.logits, self._last_layer}, found.outputs)
        elif self._last_layer in found.inside:
            named[self.problem.logits] = found.inside[self._last_layer]
        if not shows_logits or output == "identity":
            named[self.problem.outputs] = activated(found.outputs, output)  # else the loss alone knows the last
        return named

    def predict_classes(self, parameters: Tensors, x: Array, statistics: Tensors) -> Array:
        self._need("model")
        self._load(parameters, statistics)
        found = self.forward(x, None, training=False)
        if self.given.predict is not None:
            return self.apply(self.given.predict, found.outputs)
        if self.problem.recipe.model.output == "softmax":
            return np.asarray(found.outputs.argmax(axis=1))
        threshold = 0.0 if self._shows_logits(found) else 0.5
        labels = (found.outputs.reshape(len(x), -1) > threshold).astype(np.int64)
        return labels[:, 0] if labels.shape[1] == 1 else labels

    def losses(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        self._need("loss")
        if self.given.model is None:
            return self._alone.losses(parameters, x, y, masks, weights)
        self._load(parameters)
        found = self.losses_of(Batch(x, y, masks or {}, weights), training=True)
        return {**found._asdict(), "cost": found.data_loss + found.penalty}

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        self._need(*self.of_gradients)
        if self.given.model is None and self.given.loss is not None:
            return self._alone.gradients(parameters, x, y, masks, weights)
        self._load(parameters)
        cost, own, of_x = self.differentiate(Batch(x, y, masks or {}, weights))
        of_inputs = {"A0": of_x} if x.dtype.kind == "f" else {}
        return {"cost": cost, **self._matching.to_recipe(own), **of_inputs}

    def running_statistics(self, parameters: Tensors, x: Array, masks: Masks | None, statistics: Tensors) -> Tensors:
        self._need("model")
        self._load(parameters, statistics)
        self.forward(x, masks, training=True)
        return self._matching.to_recipe(self.own_statistics())

    def clip(self, gradients: Tensors) -> Tensors:
        self._need("clip")
        return self.clip_gradients(gradients)

    def constrain(self, parameters: Tensors) -> Tensors:
        self._need("constrain")
        return self.constrain_parameters(parameters)

    def optimizer_step(
        self, parameters: Tensors, gradients: Tensors, state: State, learning_rate: float
    ) -> tuple[Tensors, State]:
        self._need("optimizer")
        updated, slots = self.step_of(parameters, gradients, state, learning_rate)
        return updated, State(state.step + 1, slots)

    def another_session(self, problem: Problem) -> "WrappedSession":
        try:
            return type(self)(self.given, problem, self.device)
        except (ValueError, TypeError, RuntimeError) as error:  # of the user's model, which was made for other sizes
            first = str(error).partition("\n")[0]
            raise Unsupported(f"model= cannot be made for a problem of other sizes: {first}") from error

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        self._need("model", "loss", "optimizer")
        self._need(*self.lacking())
        if problem.stops_early:
            raise Unsupported("early stopping is not offered by the wrappers")
        first = self._start(problem, start)
        rates, costs, norms, validation_costs = [], [], [], []
        checkpoints, checkpoint_slots, checkpoint_statistics = {}, {}, {}
        for epoch in range(problem.recipe.epochs):
            for place in range(problem.batches_per_epoch):
                cost, rate, norm = self.take_step(self._step(problem, first, epoch, place))
                costs.append(cost)
                rates.append(rate)
                norms.append(norm)
            if epoch + 1 in checkpoint_epochs:
                checkpoints[epoch + 1] = self._parameters_now()
                checkpoint_slots[epoch + 1] = self._slots_now()
                checkpoint_statistics[epoch + 1] = self._statistics_now()
            if problem.validation is not None:
                held_back = Batch(*problem.validation, {}, None)
                validation_costs.append(self.losses_of(held_back, training=False).data_loss)
        return Training(
            costs=np.array(costs, problem.dtype),
            learning_rates=np.array(rates),
            gradient_norms=np.array(norms, problem.dtype),
            parameters=self._parameters_now(),
            slots=self._slots_now(),
            checkpoints=checkpoints,
            validation_costs=np.array(validation_costs, problem.dtype),
            best_epoch=0,
            statistics=self._statistics_now(),
            checkpoint_slots=checkpoint_slots,
            checkpoint_statistics=checkpoint_statistics,
        )

    # ------------------------------------------------------------------ between the two

    def _matched(self) -> Matching:
        """Raises CannotMatch where the model's parameters are not those that the recipe has."""
        parameters, statistics = wanted_shapes(self.problem)
        averages = self.own_statistics() if statistics else {}
        own = {path: np.shape(value) for path, value in {**self.own_parameters(), **averages}.items()}
        layers = seen_layers(self.own_layers, self.problem, self.given.inputs)
        forms, names = Forms(self.inputs_first, self.kernels), self.given.names
        model = Model(own, tuple(averages), layers, self.layouts, forms, self.calls)
        return match_model(self.problem, parameters | statistics, model, names)

    @property
    def _matching(self) -> Matching:
        assert self.matching is not None
        return self.matching

    @property
    def takes_logits(self) -> bool:
        """Whether the recipe's loss takes logits."""
        return self.problem.recipe.loss.name in losses.FROM_LOGITS

    @cached_property
    def slot_names(self) -> tuple[str, ...]:
        """The slots of the recipe's optimizer."""
        return tuple(self.initial_slots({}))

    def initial_slots(self, parameters: Tensors) -> dict[str, Tensors]:
        """The slots that the recipe's optimizer begins with, of these parameters."""
        component = self.problem.recipe.optimizer
        return dict(optimizers.OPTIMIZERS[component.name](**component.keywords).init(parameters).slots)

    @property
    def _parameter_names(self) -> tuple[str, ...]:
        return tuple(self.problem.tape.initial_parameters)

    @property
    def _alone(self) -> LossAlone:
        return LossAlone(self.problem, self.loss_of_outputs)

    def in_order(self, masks: Masks) -> list[Array]:
        """Dropout masks in the order of the recipe's layers."""
        return [masks[place] for place in self.problem.tape.dropout_masks if place in masks]

    @property
    def _last_layer(self) -> str:
        """What the last layer's output is called, which are the logits."""
        return f"{self.problem.depth}.A" if self.problem.recipe.is_network else self.problem.logits

    def _shows_logits(self, found: Forward) -> bool:
        """Whether a model's outputs are logits: those of its last layer, or if these are not seen, by the recipe."""
        logits = found.inside.get(self._last_layer)
        if logits is None:
            return self.takes_logits and activated(found.outputs, self.problem.recipe.model.output) is found.outputs
        return np.array_equal(logits, found.outputs, equal_nan=True)

    @cached_property
    def _names_inside(self) -> tuple[str, ...]:
        """What the reference shows of a forward pass."""
        return names_inside(self.problem)

    def _load(self, parameters: Tensors, statistics: Tensors | None = None) -> None:
        """Put parameters and running averages into the model, and zeros into what batch norm takes away."""
        matching = self._matching
        nothing = {path: np.zeros_like(self.own_parameters()[path]) for path in matching.left_out}
        known = {name: value for name, value in {**parameters, **(statistics or {})}.items() if name in matching}
        self.load(nothing | matching.to_own(known))

    def _start(self, problem: Problem, start: TrainingState | None) -> int:
        """Begin a training, afresh or from ``start``; the number of steps that were taken before."""
        if start is None:
            statistics = models.initial_statistics(problem.build_model(models), dtype=problem.dtype)
            start = TrainingState(1, problem.tape.initial_parameters, {}, statistics)
        self._load(start.parameters, start.statistics)
        trained = self._matching.to_own(problem.trained(start.parameters))
        slots = {slot: self._matching.to_own(tensors) for slot, tensors in start.slots.items()}
        self.begin(tuple(trained), State(start.step - 1, slots))
        return start.step - 1

    def _step(self, problem: Problem, first: int, epoch: int, place: int) -> Step:
        """The step number ``place`` of an epoch, both counted from 0, with its batch as the user augments it."""
        within = epoch * problem.batches_per_epoch + place
        batch = problem.batch(within)
        if problem.tape.augmentation_draws:
            batch = batch._replace(x=self.augment(problem.plain_inputs(within), problem.draws(within)))
        number, epoch = first + within, first // problem.batches_per_epoch + epoch
        rate, schedule = None, self.given.schedule
        if schedule is not None:
            rate = float(schedule(epoch if problem.recipe.schedule.unit == "epoch" else number))
        return Step(batch, number, epoch, place == problem.batches_per_epoch - 1, rate)

    def _parameters_now(self) -> Tensors:
        found = self._matching.to_recipe(self.own_parameters())
        return {name: found[name] for name in self._parameter_names}

    def _statistics_now(self) -> Tensors:
        return self._matching.to_recipe(self.own_statistics())

    def _slots_now(self) -> dict[str, Tensors]:
        return {slot: self._matching.to_recipe(values) for slot, values in self.slots_now().items()}

    def _given(self, part: str) -> Any:
        """A part that the user gave. Raises Unsupported if they did not."""
        self._need(part)
        return getattr(self.given, part)

    def _need(self, *parts: str) -> None:
        """Raise Unsupported unless the user gave these parts, which go by the wrapper's keywords."""
        for part in parts:
            if getattr(self.given, part) is None:
                self._lack(part)

    def _lack(self, part: str) -> NoReturn:
        raise Unsupported(f"{self.keywords.get(part, part)}= {WITHOUT}")
