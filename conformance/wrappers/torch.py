"""``wrap_torch``: a user's own ``torch.nn.Module``, criterion and ``torch.optim`` optimizer put under test."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import State, Unsupported
from conformance.adapters.torch import TorchAdapter, array, arrays, find
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Array, Masks, Tensors
from conformance.wrappers.given import Given, made, sample, takes, varies
from conformance.wrappers.layouts import INPUTS_LAST, TORCH, OwnLayer
from conformance.wrappers.session import WrappedSession
from conformance.wrappers.subject import Subject
from conformance.wrappers.torch_hooks import Watched
from conformance.wrappers.torch_layers import WatchedLayers, called_modules, own_layers
from conformance.wrappers.torch_state import Optimizers
from conformance.wrappers.values import Forward, Gradients, Losses, Step, Taken


def wrap_torch(
    model: Any = None,
    *,
    inputs: Callable[[Tensor], Any] | None = None,
    loss: Callable[..., Any] | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] | None = None,
    names: Mapping[str, str] | None = None,
    slots: Mapping[str, str] | None = None,
    per_example: Callable[..., Any] | None = None,
    penalty: Callable[..., Any] | None = None,
    schedule: Callable[[int], float] | None = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    clip: Callable[[list[nn.Parameter]], Any] | None = None,
    constrain: Callable[[dict[str, Tensor]], Any] | None = None,
    standardize: Callable[[Tensor, Tensor], Tensor] | None = None,
    augment: Callable[..., Tensor] | None = None,
    predict: Callable[[Tensor], Tensor] | None = None,
    initializer: Any = None,
    recipe: Any = None,
) -> Subject:
    """A subject of one's own PyTorch code, for ``conformance run --implementation mine:subject`` and the like.

    Every part may be left out; what needs it is then not offered. Tensors are in the precision under test.

    Args:
        model: a module, or a function that makes one, called with no argument or with the problem (``features``,
            ``recipe``) if it takes one. Modules ``Linear`` and normalisations show what they compute; a layer's
            activation is seen as the input of the next layer. ``Dropout`` modules are given the recipe's masks. For a
            recipe whose model is a ``network``, modules of ``torch.nn`` are matched to its layers by kind and order.
        inputs: of the recipe's inputs ``(m, n_0)``, what the model takes: ``lambda x: x.reshape(-1, 1, 8, 8)``.
        loss: a criterion of ``(outputs, targets)``, or of ``(outputs, targets, weights)`` of the examples; targets are
            labels ``(m,)`` for a softmax, else numbers ``(m, k)``. Returns the data loss, a scalar.
        optimizer: a function of a list of parameters.
        names: which parameter is which, where it cannot be told: ``{"W1": "0.weight"}``, or ``"0.weight.T"`` for one
            that is kept as (inputs, outputs), ``"0.weight[0:8]"`` for one that is some rows of another.
        slots: what the optimizer calls its state, by the catalogue's slots: ``{"velocity": "momentum_buffer"}``.
        per_example: of ``(outputs, targets)``, the loss of each example ``(m,)``; by default a copy of the criterion
            with ``reduction="none"``, or the criterion of each example alone where their mean or sum is the loss.
        penalty: of the model, or of the model and the number of examples: a scalar that is added to the loss.
        schedule: the learning rate of an epoch or step (the recipe says of which), counted from 0.
        scheduler: a function that makes one of ``torch.optim.lr_scheduler`` for an optimizer.
        clip: changes the gradients of a list of parameters in place, as ``nn.utils.clip_grad_norm_`` does.
        constrain: changes parameters, a dict by the recipe's names, in place after a step.
        standardize: of the training inputs and others: the others standardised.
        augment: of a batch's inputs and what each augmentation drew for it.
        predict: of outputs, the labels; by default the largest, or those above 0 (of probabilities, 1/2).
        initializer: ``"own"``: look also at the weights that the model starts with when ``model``, a function, makes
            it after ``torch.manual_seed``; or a function of a module, as ``nn.Module.apply`` takes, that draws them.
        recipe: what it is to be held against by ``conformance check``: a recipe, its name or its file, or several.
    """
    given = Given(
        model=model, inputs=inputs, loss=loss, optimizer=optimizer, names=names, slots=slots, per_example=per_example,
        penalty=penalty, schedule=schedule, scheduler=scheduler, clip=clip, constrain=constrain,
        standardize=standardize, augment=augment, predict=predict, initializer=initializer,
    )  # fmt: skip
    return Subject(TorchSession, given, recipe)


class TorchSession(WrappedSession):
    """A user's PyTorch code for one problem."""

    kernels = INPUTS_LAST
    layouts = TORCH

    @classmethod
    def check_device(cls, device: str) -> None:
        find(device)

    @staticmethod
    def versions() -> Mapping[str, str]:
        return {"torch": torch.__version__}

    @staticmethod
    def settings(device: str) -> Mapping[str, Any]:
        return TorchAdapter(device).settings()

    def __init__(self, given: Given, problem: Problem, device: str) -> None:
        self.torch_device = torch.device(find(device))
        self.dtype: torch.dtype = getattr(torch, problem.dtype.name)
        self.criterion = given.loss
        if isinstance(given.loss, nn.Module):
            self.criterion = deepcopy(given.loss).to(self.torch_device, self.dtype)
        super().__init__(given, problem, device)
        if self.matching is not None:
            self.watched = (
                WatchedLayers(self.model, self.matching, self.calls) if problem.recipe.is_network
                else Watched(self.model, self.matching)
            )  # fmt: skip

    # ------------------------------------------------------------------ the model

    def make_model(self) -> None:
        with self._precision():
            self.model = self._new_model()

    def own_parameters(self) -> Tensors:
        return {path: array(w).copy() for path, w in self.model.named_parameters()}

    def own_statistics(self) -> Tensors:
        return {path: array(value).copy() for path, value in self.model.named_buffers() if value.is_floating_point()}

    def own_layers(self) -> list[OwnLayer]:
        x = self._tensor(sample(self.problem))
        with self._precision():
            layers, self.calls = own_layers(self.model, called_modules(self.model, lambda: self._called(x)))
        return layers

    @torch.no_grad()
    def load(self, values: Tensors) -> None:
        own = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        for path, value in values.items():
            own[path].copy_(self._tensor(value))

    def forward(self, x: Array, masks: Masks | None, *, training: bool) -> Forward:
        with torch.no_grad():
            outputs = self._outputs(self._tensor(x), masks, training=training, watch=True)
        return Forward(array(outputs), arrays(self.watched.seen))

    # ------------------------------------------------------------------ the loss

    def losses_of(self, batch: Batch, *, training: bool) -> Losses:
        with torch.no_grad():
            outputs = self._outputs(self._tensor(batch.x), batch.masks, training=training)
            y, weights = self._tensor(batch.y), self._optional(batch.weights)
            found = self._losses(outputs, y, weights)
            return found._replace(penalty=array(self._penalty(outputs)))

    def differentiate(self, batch: Batch) -> Gradients:
        x = self._tensor(batch.x)
        cost = self._cost(x.requires_grad_() if x.is_floating_point() else x, batch)
        whole = dict(self.model.named_parameters()) | {"": x}
        own = {path: w for path, w in whole.items() if w.requires_grad}
        found = torch.autograd.grad(cost, list(own.values()), allow_unused=True)
        gradients = dict.fromkeys(whole, NOT_OFFERED) | {
            path: np.zeros(w.shape, batch.x.dtype) if g is None else array(g)
            for (path, w), g in zip(own.items(), found, strict=True)
        }
        return Gradients(array(cost), gradients, gradients.pop(""))

    def loss_of_outputs(self, outputs: Array, y: Array, weights: Array | None) -> tuple[Losses, Array]:
        own = self._tensor(outputs).requires_grad_()
        arguments = self._tensor(y), self._optional(weights)
        (gradient,) = torch.autograd.grad(self._data_loss(own, *arguments), [own])
        with torch.no_grad():
            return self._losses(own, *arguments), array(gradient)

    def _cost(self, x: Tensor, batch: Batch) -> Tensor:
        outputs = self._outputs(x, batch.masks, training=True)
        data_loss = self._data_loss(outputs, self._tensor(batch.y), self._optional(batch.weights))
        return data_loss + self._penalty(outputs)

    def _data_loss(self, outputs: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        with self._precision():
            loss: Tensor = self._criterion(self.criterion, outputs, y, weights)
        if loss.shape != ():
            raise ValueError(f"loss= returned shape {tuple(loss.shape)}: must be a scalar, the loss of the batch")
        return loss

    def _criterion(self, criterion: Any, outputs: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        called = criterion.forward if isinstance(criterion, nn.Module) else criterion
        if weights is not None and not takes(called, 3):
            raise Unsupported("loss= takes no third argument, and the recipe has weights of the examples")
        found: Tensor = criterion(outputs, y) if weights is None else criterion(outputs, y, weights)
        return found

    def _penalty(self, outputs: Tensor) -> Tensor:
        penalty = self.given.penalty
        if penalty is None:
            return outputs.new_zeros(())
        found = penalty(self.model, len(outputs)) if takes(penalty, 2) else penalty(self.model)
        return torch.as_tensor(found, dtype=self.dtype, device=self.torch_device)

    def _losses(self, outputs: Tensor, y: Tensor, weights: Tensor | None) -> Losses:
        loss = self._data_loss(outputs, y, weights)
        with self._precision():
            each = self._of_examples(outputs, y, weights, loss)
        return Losses(NOT_OFFERED if each is None else array(each), array(loss), np.zeros((), self.problem.dtype))

    def _of_examples(self, outputs: Tensor, y: Tensor, weights: Tensor | None, loss: Tensor) -> Tensor | None:
        """The loss of each example; None where the criterion does not show it."""
        if self.given.per_example is not None:
            return self._criterion(self.given.per_example, outputs, y, weights)
        reduction = getattr(self.criterion, "reduction", None)
        if reduction in ("mean", "sum"):
            whole = deepcopy(self.criterion)
            whole.reduction = "none"
            each = self._criterion(whole, outputs, y, weights).reshape(len(outputs), -1)
            each = each.mean(1) if reduction == "mean" else each.sum(1)
            # A mean over the weights of the classes is the mean of what each example adds to it.
            return each * (loss / each.mean()) if reduction == "mean" and _has_weights(self.criterion) else each
        rows = [slice(row, row + 1) for row in range(len(outputs))]
        each = torch.stack([
            self._data_loss(outputs[row], y[row], None if weights is None else weights[row]) for row in rows
        ])  # fmt: skip
        near = torch.finfo(self.dtype).eps ** 0.5
        adds_up = any(torch.isclose(whole, loss, rtol=near, atol=0.0) for whole in (each.mean(), each.sum()))
        return each if adds_up else None

    # ------------------------------------------------------------------ the optimizer

    def step_of(
        self, parameters: Tensors, gradients: Tensors, state: State, rate: float
    ) -> tuple[Tensors, dict[str, Tensors]]:
        held = {name: nn.Parameter(self._tensor(w)) for name, w in parameters.items()}
        with self._precision():
            optimizer = self._optimizers.optimizer(held, state)
            for group in optimizer.param_groups:
                group["lr"] = rate
            for name, w in held.items():
                w.grad = self._tensor(gradients[name])
            optimizer.step()
        return arrays(held), self._optimizers.slots(optimizer, held)

    def begin(self, trained: Sequence[str], state: State) -> None:
        self.trained = {path: w for path, w in self.model.named_parameters() if path in trained and w.requires_grad}
        with self._precision():
            self.optimizer = self._optimizers.optimizer(self.trained, state)
        self.scheduler = None if self.given.scheduler is None else self.given.scheduler(self.optimizer)
        by_epoch = self.problem.recipe.schedule.unit == "epoch"
        if self.scheduler is not None:
            with warnings.catch_warnings(action="ignore"):  # that the optimizer has made no step yet
                for _ in range(state.step // self.problem.batches_per_epoch if by_epoch else state.step):
                    self.scheduler.step()

    def take_step(self, step: Step) -> Taken:
        parameters = list(self.trained.values())
        if step.rate is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = step.rate
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.model.zero_grad()
        cost = self._cost(self._tensor(step.batch.x), step.batch)
        torch.autograd.backward(cost, inputs=parameters)
        norm = torch.stack([cost.new_zeros(())] + [w.grad.square().sum() for w in parameters if w.grad is not None])
        with self._precision():
            if self.given.clip is not None:
                self.given.clip(parameters)
            self.optimizer.step()
        if self.given.constrain is not None:
            constrained = self.constrain_parameters(self._matching.to_recipe(arrays(self.trained)))
            self.load(self._matching.to_own(constrained))
        if self.scheduler is not None and (step.ends_epoch or self.problem.recipe.schedule.unit == "step"):
            self.scheduler.step()
        return Taken(array(cost), rate, array(norm.sum().sqrt()))

    def slots_now(self) -> dict[str, Tensors]:
        return self._optimizers.slots(self.optimizer, self.trained)

    # ------------------------------------------------------------------ what else may be given

    def apply(self, function: Any, *values: Array) -> Array:
        with self._precision(), torch.no_grad():
            return array(torch.as_tensor(function(*map(self._tensor, values))))

    def clip_gradients(self, gradients: Tensors) -> Tensors:
        held = {name: nn.Parameter(self._tensor(np.zeros_like(g))) for name, g in gradients.items()}
        for name, w in held.items():
            w.grad = self._tensor(gradients[name])
        self._given("clip")(list(held.values()))
        return {name: array(w.grad) for name, w in held.items() if w.grad is not None}

    @torch.no_grad()
    def constrain_parameters(self, parameters: Tensors) -> Tensors:
        held = {name: self._tensor(w) for name, w in parameters.items()}
        self._given("constrain")(held)
        return arrays(held)

    def start_anew(self, seed: int) -> Tensors:
        if isinstance(self.given.model, nn.Module):
            raise Unsupported("model= is a module that is made already: give a function that makes it")
        with self._precision(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._new_model()
            if callable(self.given.initializer):
                model.apply(self.given.initializer)
        return {path: array(w).copy() for path, w in model.named_parameters()}

    def draw(self, shape: tuple[int, int], seed: int) -> Array:
        with self._precision(), torch.random.fork_rng(devices=[]):
            if not callable(self.given.initializer):
                self._check_default_start()
            torch.manual_seed(seed)
            layer = nn.Linear(shape[1], shape[0])
            if callable(self.given.initializer):
                layer.apply(self.given.initializer)
            return array(layer.weight)

    def _check_default_start(self) -> None:
        """Raise Unsupported unless the model's linear layers start as every ``nn.Linear`` does."""
        if self.given.model is None:
            self._lack("model")
        own, torch_own = self.start_anew(0), self._new_model()
        torch.manual_seed(0)
        for module in torch_own.modules():
            getattr(module, "reset_parameters", lambda: None)()
        if any(not np.array_equal(own[path], array(w)) for path, w in torch_own.named_parameters()):
            raise Unsupported("model= draws weights of its own: give what draws them, a function of a module")

    # ------------------------------------------------------------------ helpers

    @property
    def _optimizers(self) -> Optimizers:
        return Optimizers(self._given("optimizer"), self.given.slots or {}, self.slot_names)

    def _new_model(self) -> nn.Module:
        given = self.given.model
        model = deepcopy(given) if isinstance(given, nn.Module) else made(given, self.problem)
        if not isinstance(model, nn.Module):
            raise TypeError(f"model= made a {type(model).__name__}: must be a torch.nn.Module, or make one")
        model = model.to(self.torch_device, self.dtype)
        if any(isinstance(w, nn.parameter.UninitializedParameter) for w in model.parameters()):
            with torch.no_grad():
                self._called(self._tensor(sample(self.problem)), model)
        return model

    def _outputs(self, x: Tensor, masks: Masks | None, *, training: bool, watch: bool = False) -> Tensor:
        self.model.train(training)
        fed = None
        if masks is not None and training and self._draws:
            fed = [self._tensor(mask) for mask in self.in_order(masks)]
        with self._precision(), self.watched.during(fed, watch):
            outputs: Tensor = self._called(x)
        return outputs

    @cached_property
    def _draws(self) -> bool:
        """Whether the model drops units in training, or draws anything else; it is given no masks if it does not."""
        if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in self.model.modules()):
            return True
        with torch.no_grad(), self._precision():
            x, model = self._tensor(sample(self.problem)), deepcopy(self.model).train()
            return varies(lambda: array(self._called(x, model)))

    def _called(self, x: Tensor, model: nn.Module | None = None) -> Any:
        """What the model makes of the recipe's inputs."""
        return (model or self.model)(x if self.given.inputs is None else self.given.inputs(x))

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Tensors that a user's code makes are in the precision under test."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)

    def _tensor(self, value: Array) -> Tensor:
        return torch.tensor(value, device=self.torch_device)

    def _optional(self, value: Array | None) -> Tensor | None:
        return None if value is None else self._tensor(value)


def _has_weights(criterion: Any) -> bool:
    return getattr(criterion, "weight", None) is not None
