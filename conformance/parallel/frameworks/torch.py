"""Two replicas under ``DistributedDataParallel``: two processes of this machine, which speak by gloo.

A process is a subject of ``conformance.exchange.worker``. Each has the model, an optimizer and a half of every batch;
DDP adds their gradients up while they are computed, and each takes its own step.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from conformance.adapters.guarded import Malformed
from conformance.adapters.session import Session, Training, TrainingState
from conformance.adapters.torch import TorchAdapter, TorchSession, arrays
from conformance.exchange.hand_over_source import as_arrays, training_from
from conformance.exchange.requests import bytes_of, text_of
from conformance.exchange.worker import Away
from conformance.parallel.replicas import COUNT, Replicated, fit_in_steps, parts_of, rejoined, require_cpu
from conformance.problems.preparation import prepare
from conformance.problems.problem import Batch, Problem
from conformance.problems.tensors import Tensors
from conformance.recipes.recipe import Recipe
from conformance.results.grammar import flatten, unflatten
from impl_torch import activations, losses

AT = "@"  # between a rank and the file by which the processes find each other, in hexadecimal digits
REQUEST, BATCH = "request", "batch"


class Replicas(TorchAdapter):
    """Makes sessions on two replicas, whose processes are started with the first."""

    plain = False

    def __init__(self, device: str) -> None:
        require_cpu(device)
        super().__init__(device)
        self._folder = tempfile.TemporaryDirectory(prefix="replicas-")
        self._ranks: list[Away] = []

    def session(self, problem: Problem) -> "TorchReplicas":  # type: ignore[override]
        if not self._ranks:
            store = Path(self._folder.name) / "store"
            with ThreadPoolExecutor(COUNT) as pool:
                targets = [f"{__name__}:{rank}{AT}{os.fsencode(store).hex()}" for rank in range(COUNT)]
                self._ranks = list(pool.map(Away, targets))
        return TorchReplicas(problem, TorchSession(problem, self.torch_device), self._ranks, plain=self.plain)


class Plain(Replicas):
    """The mean of the replicas' means, which is what DDP makes of the cost that a module has on one device."""

    plain = True


class TorchReplicas(Replicated):
    """What both processes are asked for, and what the first answers."""

    by_default = "DistributedDataParallel averages the parts' means, each counting the same"

    def __init__(self, problem: Problem, own: Session, ranks: list[Away], *, plain: bool) -> None:
        super().__init__(problem, own)
        self._ranks, self.plain = ranks, plain

    def divided(self, parameters: Tensors, batch: Batch, *, plain: bool) -> Tensors:
        given = {name: value for name, value in batch._asdict().items() if value is not None}
        found = self._ask(parameters, flatten({BATCH: given}), plain=plain)
        of_inputs = [each.pop("A0") for each in found if "A0" in each]
        return found[0] | ({"A0": rejoined(parts_of(batch), of_inputs)} if of_inputs else {})

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        """Both replicas' training. Raises Malformed if they do not end with the same parameters, to the bit."""
        self.require_even(problem)
        found = self._ask(None, {}, checkpoint_epochs=checkpoint_epochs, plain=self.plain)
        first, *others = (training_from(each) for each in found)
        for other in others:
            for name, w in first.parameters.items():
                if not np.array_equal(w, other.parameters[name], equal_nan=True):
                    raise Malformed(f"{name} is not the same on both replicas")
        return first

    def _ask(self, parameters: Tensors | None, tensors: Tensors, **asked: Any) -> list[Tensors]:
        """What the processes answer, which wait for each other."""
        recipe, dtype = self.problem.recipe.model_dump_json(), self.problem.dtype.name
        request = {REQUEST: bytes_of(json.dumps({"recipe": recipe, "dtype": dtype, **asked}))}
        with ThreadPoolExecutor(COUNT) as pool:
            return list(pool.map(lambda rank: rank.run(parameters, request | tensors), self._ranks))


def __getattr__(name: str) -> Callable[[Tensors | None, Tensors], Tensors]:
    rank, at, store = name.partition(AT)
    if not at:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: must be RANK{AT}STORE")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # no other machine has a part in it
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{os.fsdecode(bytes.fromhex(store))}", rank=int(rank), world_size=COUNT
    )
    return partial(answer, int(rank))


def answer(rank: int, parameters: Tensors | None, given: Any) -> Tensors:
    """What the process of a rank answers: the gradients of a batch, or a training."""
    asked = json.loads(text_of(given[REQUEST] if isinstance(given, Mapping) else given))
    session = _session(rank, asked["recipe"], asked["dtype"])
    session.plain = asked["plain"]
    if parameters is None:
        return as_arrays(fit_in_steps(session, session.problem, tuple(asked["checkpoint_epochs"])))
    tree = unflatten(given)[BATCH]
    return session.gradients(parameters, tree["x"], tree["y"], tree.get("masks", {}), tree.get("weights"))


@lru_cache(maxsize=4)
def _session(rank: int, recipe: str, dtype: str) -> "Rank":
    return Rank(rank, prepare(Recipe.model_validate_json(recipe), dtype))


class Cost(torch.nn.Module):
    """A replica's cost as a module, so that DDP has all of its gradients, of which it takes the replicas' mean."""

    def __init__(self, model: Any, objective: Any) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Any, y: Any, masks: Any, weights: Any, counts: Any, examples: int, plain: bool) -> Any:
        """``plain``: the mean of the part's losses; else their sum, of what each replica has of a mean of them all."""
        model, objective = self.model, self.objective
        logits = model(x, masks, training=True)
        outputs = logits if objective.loss in losses.FROM_LOGITS else activations.ACTIVATIONS[model.output](logits)
        per_example = losses.LOSSES[objective.loss](outputs, y, weights, **objective.loss_options)
        total = (per_example * counts.to(per_example.dtype)).sum()
        cost = total / counts.sum() if plain else COUNT * total / examples
        return cost + sum(penalty(model.weights(), examples) for penalty in objective.penalties)


class Rank(TorchSession):
    """The session of one process: gradients are those of all replicas, and everything else its own."""

    plain = False

    def __init__(self, rank: int, problem: Problem) -> None:
        super().__init__(problem, torch.device("cpu"))
        self.rank, self.problem = rank, problem
        self.replica = DistributedDataParallel(Cost(self.model, self.objective))

    def gradients(self, parameters: Tensors, x: Any, y: Any, masks: Any, weights: Any) -> Tensors:
        self._set(parameters)
        batch = Batch(x, y, {_place(layer): mask for layer, mask in (masks or {}).items()}, weights)
        part, counts = parts_of(batch)[self.rank]
        self.replica.zero_grad()
        given = self._batch(*part)
        given["x"].requires_grad_(given["x"].is_floating_point())
        cost = self.replica(*given.values(), self._tensor(counts), len(x), self.plain)
        cost.backward()
        whole = cost.detach().clone()
        distributed.all_reduce(whole)
        gradients = {name: w.grad for name, w in self.model.parameter_dict().items()}
        of_inputs = {} if given["x"].grad is None else {"A0": given["x"].grad / COUNT}  # which DDP does not divide
        return arrays({"cost": whole / COUNT, **gradients, **of_inputs})


def _place(layer: Any) -> Any:
    """A layer's number or path, which is text where it came as the name of an array."""
    return int(layer) if isinstance(layer, str) and layer.isdecimal() else layer
