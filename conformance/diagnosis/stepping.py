"""Sessions of the reference in which something is otherwise in every single step: a training is taken step by step.

In the reference's own ``fit`` nothing can be put between its steps; here each is made of the session's methods.
"""

import math
from typing import Any, Protocol

import numpy as np

from conformance.adapters.session import State, Training, TrainingState
from conformance.checks.case import clip, constrain, initial_state, learning_rate
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors
from reference_numpy import losses, regularizers


class Change(Protocol):
    """What a candidate does to a session beside what its recipe and its mutants do."""

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        ...


class Changed:
    """A session of which a subclass changes some methods."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def penalised(session: Any, parameters: Tensors, examples: int) -> tuple[Any, Tensors]:
    """The penalties of a session's cost over ``examples``, and their gradients by the weights that they are of."""
    penalties = session.objective.penalties
    weights = {name: parameters[name] for name in session.model.weight_names} if penalties else {}
    value = sum(penalty.value(list(weights.values()), examples) for penalty in penalties)
    return value, {name: sum(p.gradient(w, examples) for p in penalties) for name, w in weights.items()}


class Stepwise(Changed):
    """A session that trains step by step with its own methods; a subclass changes some of them."""

    def rate(self, rate: float) -> float:
        """The learning rate that a training takes for the schedule's."""
        return rate

    def scheduled(self, problem: Problem, step: int) -> float:
        """The schedule's learning rate at ``step`` (counted from 1)."""
        return learning_rate(problem, step)

    def fit(self, problem: Problem, checkpoint_epochs: tuple[int, ...], start: TrainingState | None = None) -> Training:
        """The training of the reference's ``fit``."""
        own: Any = self
        monitor = problem.recipe.build_early_stopping(regularizers)
        state = initial_state(problem) if start is None else start
        costs: list[Array] = []
        rates: list[float] = []
        norms: list[float] = []
        validation_costs: list[float] = []
        checkpoints: dict[int, TrainingState] = {}
        best: TrainingState | None = None
        for epoch in range(1, problem.recipe.epochs + 1):
            for _ in range(problem.batches_per_epoch):
                batch = problem.batch(len(costs))
                found = own.gradients(state.parameters, *batch)
                gradients = {name: found[name] for name in problem.trained(state.parameters)}
                rates.append(self.rate(self.scheduled(problem, state.step)))
                costs.append(found["cost"])
                norms.append(math.sqrt(sum(float((g**2).sum()) for g in gradients.values())))
                statistics = state.statistics and own.running_statistics(
                    state.parameters, batch.x, batch.masks, state.statistics
                )
                updated, after = own.optimizer_step(
                    problem.trained(state.parameters), clip(own, problem, gradients),
                    State(state.step - 1, state.slots), rates[-1],
                )  # fmt: skip
                parameters = state.parameters | constrain(own, problem, updated)
                state = TrainingState(state.step + 1, parameters, after.slots, statistics)
            if epoch in checkpoint_epochs:
                checkpoints[epoch] = state
            if problem.validation is not None:
                validation_costs.append(self._validation_cost(problem, state))
            if monitor is not None:
                if monitor.improved(validation_costs[-1]) and monitor.restore_best:
                    best = state
                if monitor.stop:
                    break
        end = best or state
        return Training(
            costs=np.array(costs, problem.dtype), learning_rates=np.array(rates), gradient_norms=np.array(norms),
            parameters=end.parameters, slots=state.slots,
            checkpoints={epoch: kept.parameters for epoch, kept in checkpoints.items()},
            validation_costs=np.array(validation_costs), best_epoch=monitor.best_epoch if monitor else 0,
            statistics=end.statistics,
            checkpoint_slots={epoch: kept.slots for epoch, kept in checkpoints.items()},
            checkpoint_statistics={epoch: kept.statistics for epoch, kept in checkpoints.items()},
        )  # fmt: skip

    def _validation_cost(self, problem: Problem, state: TrainingState) -> float:
        own: Any = self
        assert problem.validation is not None
        (x, y), loss = problem.validation, problem.recipe.loss
        values = own.intermediates(state.parameters, x, None, state.statistics)
        outputs = values[problem.taken_by_loss]
        per_example = losses.LOSSES[loss.name](outputs, y, **loss.keywords)
        return float(per_example.mean() if problem.recipe.reduction == "mean" else per_example.sum())
