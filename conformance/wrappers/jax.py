"""``wrap_jax``: a user's own model in JAX (Flax, Equinox, plain functions), loss and optax optimizer put under test."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.jax import JaxAdapter, arrays, in_precision
from conformance.adapters.session import State, Training, TrainingState, Unsupported
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.given import Given, takes
from conformance.wrappers.jax_layers import of_recipe, put_back, values_inside
from conformance.wrappers.jax_models import Net, Ran, is_seeded, read_model
from conformance.wrappers.jax_optimizer import Optimizer, is_transformation
from conformance.wrappers.jax_trees import Layout
from conformance.wrappers.layouts import OwnLayer
from conformance.wrappers.session import WrappedSession
from conformance.wrappers.subject import Subject
from conformance.wrappers.values import Forward, Gradients, Losses, Step, Taken
from reference_numpy import regularizers, schedules

LIBRARIES = ("jax", "optax", "flax", "equinox")
OWN = "own"  # an initializer: the model's


def wrap_jax(
    model: Any = None,
    *,
    inputs: Callable[[Any], Any] | None = None,
    loss: Callable[..., Any] | None = None,
    optimizer: Any = None,
    names: Mapping[str, str] | None = None,
    slots: Mapping[str, str] | None = None,
    per_example: Callable[..., Any] | None = None,
    penalty: Callable[..., Any] | None = None,
    schedule: Callable[[int], Any] | None = None,
    clip: Any = None,
    constrain: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    standardize: Callable[[Any, Any], Any] | None = None,
    augment: Callable[..., Any] | None = None,
    predict: Callable[[Any], Any] | None = None,
    initializer: Any = None,
    recipe: Any = None,
) -> Subject:
    """A subject of one's own JAX code, for ``conformance run --implementation mine:subject`` and the like.

    Every part may be left out; what needs it is then not offered. Arrays are in the precision under test. All is traced
    by ``jax.jit``.

    Args:
        model: a ``flax.nnx.Module``; a ``flax.linen.Module``; an ``equinox.Module`` of one example, or a pair of it and
            its ``State``; a pair ``(init, apply)`` of ``init(key)`` or ``init(key, x)`` and ``apply(parameters, x)``;
            a pair ``(parameters, apply)``; or a function that makes one of them, which is called with ``nnx.Rngs`` if
            its argument is called ``rngs``, with a key if it is called ``key``, with the problem (``features``,
            ``recipe``) if it takes another, else with none. What is called ``train``, ``training``, ``deterministic``,
            ``key`` and the like when it is run is told. Layers of Flax and Equinox show what they compute; a layer's
            activation is seen as the input of the next layer. Dropout that draws by ``jax.random.bernoulli``, as
            theirs does, is given the recipe's masks. For a recipe whose model is a ``network``, modules of Flax are
            matched to its layers by kind and order, those of others by shape and order.
        inputs: of the recipe's inputs ``(m, n_0)``, what the model takes: ``lambda x: x.reshape(-1, 8, 8, 1)``.
        loss: of ``(outputs, targets)``, or of ``(outputs, targets, weights)`` of the examples; targets are labels
            ``(m,)`` for a softmax, else numbers ``(m, k)``. Returns the data loss, a scalar, or that of each example
            ``(m,)``, of which the mean is taken.
        optimizer: an optax transformation, with its learning rate or schedule inside, or a function of the learning
            rate that makes one, as ``optax.adam`` is.
        names: which parameter is which, where it cannot be told: ``{"W1": "Dense_0.kernel"}``.
        slots: what fields of the optimizer's state are called, by the catalogue's slots: ``{"velocity": "memory"}``.
        per_example: of ``(outputs, targets)``, the loss of each example ``(m,)``; by default the loss of each example
            alone where their mean or sum is the loss.
        penalty: of the model, or of the model and the number of examples: a scalar that is added to the loss. In Linen
            and plain functions the model is its tree of parameters.
        schedule: the learning rate of an epoch or step (the recipe says of which), counted from 0, for an optimizer
            that is a function of it.
        clip: of a tree of gradients, the clipped ones; or an optax transformation without a state.
        constrain: of parameters, a dict by the recipe's names, those after a step.
        standardize: of the training inputs and others: the others standardised.
        augment: of a batch's inputs and what each augmentation drew for it.
        predict: of outputs, the labels; by default the largest, or those above 0 (of probabilities, 1/2).
        initializer: as those of ``jax.nn.initializers``, of ``(key, shape, dtype)`` with the shape ``(inputs,
            outputs)``; or ``"own"``: look at the parameters that the model starts with, and at no other weights.
        recipe: what it is to be held against by ``conformance check``: a recipe, its name or its file, or several.
    """
    given = Given(
        model=model, inputs=inputs, loss=loss, optimizer=optimizer, names=names, slots=slots, per_example=per_example,
        penalty=penalty, schedule=schedule, clip=clip, constrain=constrain, standardize=standardize, augment=augment,
        predict=predict, initializer=initializer,
    )  # fmt: skip
    return Subject(JaxSession, given, recipe)


class JaxSession(WrappedSession):
    """A user's JAX code for one problem."""

    net: Net

    @classmethod
    def check_device(cls, device: str) -> None:
        JaxAdapter(device)

    @staticmethod
    def versions() -> Mapping[str, str]:
        loaded = {name: sys.modules.get(name) for name in LIBRARIES}
        return {name: str(cast(Any, module).__version__) for name, module in loaded.items() if module is not None}

    @staticmethod
    def settings(device: str) -> Mapping[str, Any]:
        return JaxAdapter(device).settings()

    def __init__(self, given: Given, problem: Problem, device: str) -> None:
        self.double = problem.dtype == np.float64
        super().__init__(given, problem, device)
        self._forward = jax.jit(self._run, static_argnames="training")
        self._lose = jax.jit(self._losses_of, static_argnames="training")
        of = (0, 2) if problem.train_x.dtype.kind == "f" else (0,)  # parameters, and inputs that are numbers
        self._differentiated = jax.jit(jax.value_and_grad(self._cost, argnums=of, has_aux=True))
        self._trained_step = jax.jit(self._step_of_training)
        if given.optimizer is not None:
            self.optimizer = Optimizer(given.optimizer, self.slot_names, given.slots)

    # ------------------------------------------------------------------ the model

    @in_precision
    def make_model(self) -> None:
        self.net = read_model(self.given.model, self.problem, 0, self.given.inputs)
        self.inputs_first, self.layouts = self.net.inputs_first, self.net.layouts
        self.parameters: dict[str, Any] = dict(self.net.parameters)
        self.statistics: dict[str, Any] = dict(self.net.statistics)

    def own_parameters(self) -> Tensors:
        return arrays(self.parameters)

    def own_statistics(self) -> Tensors:
        return arrays(self.statistics)

    def own_layers(self) -> list[OwnLayer]:
        return self.net.own_layers()

    @in_precision
    def load(self, values: Tensors) -> None:
        for own in (self.parameters, self.statistics):
            own.update({path: jnp.asarray(values[path]) for path in own if path in values})

    @in_precision
    def forward(self, x: Array, masks: Masks | None, *, training: bool) -> Forward:
        fed = self._fed(masks) if training else None
        outputs, self.statistics, seen = self._forward(self.parameters, self.statistics, x, fed, training=training)
        return Forward(np.asarray(outputs), arrays(seen))

    def _run(self, parameters: Any, statistics: Any, x: Any, masks: Any, training: bool) -> Any:
        ran = self._ran(parameters, statistics, x, masks, training)
        return ran.outputs, ran.statistics, dict(self._inside(ran))

    def _ran(self, parameters: Any, statistics: Any, x: Any, masks: Any, training: bool) -> Ran:
        given = jnp.asarray(x) if self.given.inputs is None else self.given.inputs(jnp.asarray(x))
        return self.net.run(parameters, statistics, given, training=training, masks=masks)

    def _fed(self, masks: Masks | None) -> list[Array] | None:
        """Dropout masks in the order of the layers; None for a recipe or a model without dropout, where none is fed."""
        return self.in_order(masks) if masks and self.net.draws else None

    def _inside(self, ran: Ran) -> Iterator[tuple[str, Any]]:
        """What the layers that own a weight or a scale were given and returned, by the recipe's names."""
        if self.problem.recipe.is_network:
            yield from values_inside(self._matching, ran.calls, self.net.dropouts)
            return
        for match in self._matching.matches:
            calls = [call for call in ran.calls if call.path == match.path.rpartition(".")[0]]
            layer = self.problem.places[match.name].layer
            if len(calls) == 1 and match.name == f"W{layer}":
                yield f"Z{layer}", calls[0].returned
                if layer > 1:
                    yield f"A{layer - 1}", calls[0].given
            elif len(calls) == 1 and match.name == f"gamma{layer}":
                yield f"N{layer}", calls[0].returned

    # ------------------------------------------------------------------ the loss

    @in_precision
    def losses_of(self, batch: Batch, *, training: bool) -> Losses:
        fed = self._fed(batch.masks) if training else None
        found = self._lose(self.parameters, self.statistics, batch._replace(masks={}), fed, training=training)
        return self._seen(found)

    @in_precision
    def differentiate(self, batch: Batch) -> Gradients:
        (cost, _), (own, *of_x) = self._differentiated(
            self.parameters, self.statistics, batch.x, batch._replace(masks={}), self._fed(batch.masks)
        )
        return Gradients(np.asarray(cost), arrays(own), np.asarray(of_x[0]) if of_x else NOT_OFFERED)

    @in_precision
    def loss_of_outputs(self, outputs: Array, y: Array, weights: Array | None) -> tuple[Losses, Array]:
        gradient = jax.jit(jax.grad(lambda own: self._parts(own, y, weights).data_loss))(outputs)
        return self._seen(jax.jit(self._parts)(outputs, y, weights)), np.asarray(gradient)

    def _losses_of(self, parameters: Any, statistics: Any, batch: Batch, masks: Any, training: bool) -> Losses:
        outputs = self._ran(parameters, statistics, batch.x, masks, training).outputs
        found = self._parts(outputs, batch.y, batch.weights)
        return found._replace(penalty=self._penalty(parameters, len(batch.x)))

    def _cost(self, parameters: Any, statistics: Any, x: Any, batch: Batch, masks: Any) -> tuple[Any, Any]:
        """The cost in training, and the running averages after it."""
        ran = self._ran(parameters, statistics, x, masks, training=True)
        data_loss = self._data_loss(self._called(self.given.loss, ran.outputs, batch.y, batch.weights), len(x))
        return data_loss + self._penalty(parameters, len(x)), ran.statistics

    def _penalty(self, parameters: Any, examples: int) -> Any:
        penalty = self.given.penalty
        if penalty is None:
            return jnp.zeros((), self.problem.dtype)
        whole = self.net.whole(self.net.layout.tree(parameters))
        return penalty(whole, examples) if takes(penalty, 2) else penalty(whole)

    def _parts(self, outputs: Any, y: Any, weights: Any) -> Losses:
        """The loss, with that of each example: as it is, as the user says, or of each example alone."""
        found = self._called(self.given.loss, outputs, y, weights)
        if self.given.per_example is not None:
            each = self._called(self.given.per_example, outputs, y, weights)
        elif jnp.ndim(found):
            each = found
        else:
            rows = (outputs, y) if weights is None else (outputs, y, weights)
            each = jax.vmap(lambda *row: self._called(self.given.loss, *(value[None] for value in row)))(*rows)
        parts: Any = jnp.reshape(each, -1), self._data_loss(found, len(outputs)), jnp.zeros((), self.problem.dtype)
        return Losses(*parts)

    def _seen(self, found: Losses) -> Losses:
        """A loss as NumPy arrays; that of each example alone only where their mean or sum is the loss."""
        each, data_loss, penalty = (np.asarray(value) for value in found)
        near = np.finfo(data_loss.dtype).eps ** 0.5
        adds_up = any(
            np.isclose(whole, data_loss, rtol=near, atol=0.0, equal_nan=True) for whole in (each.mean(), each.sum())
        )
        return Losses(each if adds_up or self.given.per_example else NOT_OFFERED, data_loss, penalty)

    @staticmethod
    def _data_loss(found: Any, examples: int) -> Any:
        if jnp.shape(found) not in ((), (examples,), (examples, 1)):
            raise ValueError(
                f"loss= returned shape {jnp.shape(found)}: must be a scalar, or ({examples},), one an example"
            )
        return jnp.mean(found)

    @staticmethod
    def _called(loss: Any, outputs: Any, y: Any, weights: Any = None) -> Any:
        if weights is None:
            return loss(outputs, y)
        if not takes(loss, 3):
            raise Unsupported("loss= takes no third argument, and the recipe has weights of the examples")
        return loss(outputs, y, weights)

    # ------------------------------------------------------------------ the optimizer

    @in_precision
    def step_of(
        self, parameters: Tensors, gradients: Tensors, state: State, rate: float
    ) -> tuple[Tensors, dict[str, Tensors]]:
        self._refuse_clipped(gradients)
        layout: Layout = Layout.flat(parameters)
        to_own: Callable[[Tensors], Tensors] = dict
        to_recipe: Callable[[Tensors], Tensors] = dict
        if self.matching is not None and self._is_whole(parameters):
            layout, to_own, to_recipe = self.net.layout, self.matching.to_own, self.matching.to_recipe
        own = State(state.step, {slot: to_own(tensors) for slot, tensors in state.slots.items()})
        updated, after = self.optimizer.step(
            layout, to_own(parameters), to_own(gradients), own, rate, self._rate_step(state.step, rate)
        )
        return to_recipe(updated), {slot: to_recipe(tensors) for slot, tensors in after.slots.items()}

    @in_precision
    def begin(self, trained: Sequence[str], state: State) -> None:
        self.layout = self.net.layout if {*trained} == {*self.net.layout.names} else Layout.flat(trained)
        tree = self.layout.tree(self.parameters)
        rate = self._first_rate
        fresh = state.step == 0 and not state.slots
        self.state = (
            self.optimizer.init(tree, rate) if fresh
            else self.optimizer.resumed(self.layout, tree, state, rate, state.step)
        )  # fmt: skip

    @in_precision
    def take_step(self, step: Step) -> Taken:
        batch, rate = step.batch, self._first_rate if step.rate is None else step.rate
        self.parameters, self.statistics, self.state, cost, norm = self._trained_step(
            self.parameters, self.statistics, self.state, batch._replace(masks={}), self._fed(batch.masks), rate
        )
        return Taken(np.asarray(cost), rate, np.asarray(norm))

    @in_precision
    def slots_now(self) -> dict[str, Tensors]:
        return self.optimizer.slots(self.layout, self.layout.tree(self.parameters), self.state, self._first_rate)

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        """The rates of a transformation that has them inside are not offered: optax shows none."""
        training = super().fit(problem, checkpoint_epochs, start)
        inside = is_transformation(self.given.optimizer)
        return training._replace(learning_rates=NOT_OFFERED) if inside else training

    def lacking(self) -> Iterator[str]:
        """A transformation may have schedule and clipping inside."""
        inside = is_transformation(self.given.optimizer)
        yield from (part for part in super().lacking() if not (inside and part in ("schedule", "clip")))

    def _refuse_clipped(self, gradients: Tensors) -> None:
        """Raise Unsupported for gradients that a transformation with clipping inside would change before its step."""
        clip = self.problem.recipe.build_clipping(regularizers)
        if clip is not None and self.given.clip is None and is_transformation(self.given.optimizer):
            near = float(np.finfo(self.problem.dtype).eps) ** 0.5
            if any(not np.allclose(g, gradients[name], rtol=near, atol=0.0) for name, g in clip(gradients).items()):
                raise Unsupported(
                    "optimizer= may clip inside, and a step of these gradients alone does not: give clip="
                )

    def _step_of_training(
        self, parameters: Any, statistics: Any, state: Any, batch: Batch, masks: Any, rate: Any
    ) -> tuple[Any, Any, Any, Any, Any]:
        """Parameters, running averages and optax's state after a step, its cost and the norm of its gradient."""
        differentiate = jax.value_and_grad(self._cost, has_aux=True)
        (cost, statistics), gradients = differentiate(parameters, statistics, batch.x, batch, masks)
        tree = self.layout.tree(gradients)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))
        updated, state = self.optimizer.update(self._clipped(tree), state, self.layout.tree(parameters), rate)
        parameters = {**parameters, **self._constrained(self.layout.tensors(updated))}
        return parameters, statistics, state, cost, norm

    def _clipped(self, tree: Any) -> Any:
        clip: Any = self.given.clip
        if clip is None:
            return tree
        return clip.update(tree, clip.init(tree))[0] if is_transformation(clip) else clip(tree)

    def _constrained(self, updated: dict[str, Any]) -> dict[str, Any]:
        """Parameters by the model's paths after the user's constraint, which knows the recipe's names and shapes."""
        if self.given.constrain is None:
            return updated
        matches = [match for match in self._matching.matches if match.path in updated]
        found = self.given.constrain({match.name: of_recipe(match, updated) for match in matches})
        after = dict(updated)
        for match in matches:
            put_back(match, found[match.name], after)
        return after

    def _is_whole(self, parameters: Tensors) -> bool:
        """Whether these are all the parameters of the model, by name and shape."""
        names = {match.name for match in self._matching.matches if match.path in self.parameters}
        whole = parameters.keys() == names and not self._matching.left_out
        return whole and all(self._matching[name].shape == w.shape for name, w in parameters.items())

    @property
    def _first_rate(self) -> float:
        return float(self.problem.recipe.optimizer.keywords["learning_rate"])

    def _rate_step(self, step: int, rate: float) -> int:
        """The step, counted from 0, at which a schedule inside a transformation is asked for a rate of the recipe's.

        That is ``step`` where the recipe has this rate there, else the first step at which it has.
        """
        problem = self.problem
        schedule = problem.recipe.build_schedule(schedules)
        every = problem.batches_per_epoch if problem.recipe.schedule.unit == "epoch" else 1
        return next((at for at in (step, *range(problem.steps)) if schedule(at // every) == rate), step)

    # ------------------------------------------------------------------ what else may be given

    @in_precision
    def apply(self, function: Any, *values: Array) -> Array:
        return np.asarray(function(*map(jnp.asarray, values)))

    @in_precision
    def clip_gradients(self, gradients: Tensors) -> Tensors:
        return arrays(self._clipped({name: jnp.asarray(g) for name, g in gradients.items()}))

    @in_precision
    def constrain_parameters(self, parameters: Tensors) -> Tensors:
        return arrays(self._given("constrain")({name: jnp.asarray(w) for name, w in parameters.items()}))

    @in_precision
    def draw(self, shape: tuple[int, int], seed: int) -> Array:
        if self.given.initializer == OWN:
            raise Unsupported("initializer='own' draws the model's parameters, and no matrix of another shape")
        drawn = self._given("initializer")(jax.random.key(seed), shape[::-1], jnp.dtype(self.problem.dtype))
        return np.asarray(drawn).T

    @in_precision
    def start_anew(self, seed: int) -> Tensors:
        if not is_seeded(self.given.model):
            raise Unsupported("model= is made without a seed: give a function of rngs or key, or init and apply")
        return arrays(read_model(self.given.model, self.problem, seed, self.given.inputs).parameters)
