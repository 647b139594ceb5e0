"""The parts of a recipe, built from the modules of one package: the same calls for each of the four."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from conformance.adapters.session import Training
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Tensors


class Parts:
    """The model, and all that a training is made of beside the optimizer."""

    def __init__(
        self, problem: Problem, models: ModuleType, regularizers: ModuleType, schedules: ModuleType,
        training: ModuleType,
    ) -> None:  # fmt: skip
        recipe = problem.recipe
        self._training = training
        self._regularizers = regularizers
        self._recipe = recipe
        self.model: Any = problem.build_model(models)
        self.schedule = recipe.build_schedule(schedules)
        self.clipping: Any = recipe.build_clipping(regularizers)
        self.constraint: Any = recipe.build_constraint(regularizers)
        self.augmentations = recipe.build_augmentations(regularizers, problem.dataset.image_shape)
        self.objective: Any = training.Objective(
            recipe.loss.name, recipe.loss.keywords, recipe.reduction, recipe.build_penalties(regularizers)
        )

    def taken_by_loss(self, losses: ModuleType) -> str:
        """What the loss takes is called so among the model's values: the logits or the outputs."""
        name: str = self.model.logits_name if self.objective.loss in losses.FROM_LOGITS else self.model.output_name
        return name

    def of_initialize(self) -> dict[str, Any]:
        """The keywords of a package's ``initialize``: the recipe's initializer; layers have their own."""
        if self._recipe.is_network:
            return {}
        initializer = self._recipe.initializer
        return {"initializer": initializer.name, "initializer_options": initializer.keywords}

    def of_fit(
        self, problem: Problem, optimizer: Any, checkpoint_epochs: tuple[int, ...], seed: int | None,
        arrays: Callable[[Array], Any],
    ) -> dict[str, Any]:  # fmt: skip
        """The keywords of a package's ``fit``; ``arrays`` makes its tensor of an array.

        With a ``seed`` there is no tape: the package draws for itself. A tape is NumPy arrays in each.
        """
        recipe, tape, weights, validation = problem.recipe, problem.tape, problem.train_weights, problem.validation
        update = self._training.Update(
            optimizer,
            schedule=self.schedule,
            schedule_unit=recipe.schedule.unit,
            clipping=self.clipping,
            constraint=self.constraint,
            frozen_layers=recipe.frozen_layers,
            frozen_biases=recipe.frozen_biases,
        )
        taped = self._training.Tape(tape.batch_order, tape.dropout_masks, tape.augmentation_draws)
        drawn = {"tape": taped} if seed is None else {"seed": seed}
        return {
            "loss": self.objective,
            "optimizer": update,
            "epochs": recipe.epochs,
            "batch_size": recipe.batch_size,
            "sampling": self._training.Sampling(
                augmentations=self.augmentations,
                example_weights=None if weights is None else arrays(weights),
                **drawn,
            ),
            "monitor": self._training.Monitor(
                None if validation is None else tuple(map(arrays, validation)),
                recipe.build_early_stopping(self._regularizers),
                checkpoint_epochs,
                gradient_norms=True,
            ),
        }


def training_of(history: Any, arrays: Callable[[Mapping[str, Any]], Tensors]) -> Training:
    """A package's history as the harness has it; ``arrays`` makes NumPy arrays of a dict of the package's tensors."""
    return Training(
        costs=history.costs,
        learning_rates=history.learning_rates,
        gradient_norms=history.gradient_norms,
        parameters=arrays(history.parameters),
        slots={slot: arrays(tensors) for slot, tensors in history.optimizer_state.slots.items()},
        checkpoints={epoch: arrays(parameters) for epoch, parameters in history.checkpoints.items()},
        validation_costs=history.validation_costs,
        best_epoch=history.best_epoch,
        statistics=arrays(history.statistics),
        checkpoint_slots={
            epoch: {slot: arrays(tensors) for slot, tensors in state.slots.items()}
            for epoch, state in history.checkpoint_states.items()
        },
        checkpoint_statistics={epoch: arrays(found) for epoch, found in history.checkpoint_statistics.items()},
        steps=int(history.optimizer_state.step),
    )
