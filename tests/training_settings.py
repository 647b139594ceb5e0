"""Settings of a training each by its own name, for tests that change one of them: put into the groups of ``fit``."""

from types import ModuleType
from typing import Any

OBJECTIVE = ("loss", "loss_options", "reduction", "penalties")
UPDATE = ("optimizer", "schedule", "schedule_unit", "clipping", "constraint", "frozen_layers", "frozen_biases")
TAPE = ("batch_order", "dropout_masks", "augmentation_draws")
SAMPLING = ("seed", "augmentations", "example_weights")
MONITOR = ("validation", "early_stopping", "checkpoint_epochs", "gradient_norms")
PROGRESS = ("optimizer_state", "statistics")


def fit_with(training: ModuleType, *given: Any, **settings: Any) -> Any:
    """``training.fit`` of a package with ``settings``; gradient norms are recorded where these do not say."""
    settings.setdefault("gradient_norms", True)
    tape = training.Tape(**_taken(settings, TAPE))
    groups = {
        "loss": training.Objective(**_taken(settings, OBJECTIVE)),
        "optimizer": training.Update(**_taken(settings, UPDATE)),
        "sampling": training.Sampling(**_taken(settings, SAMPLING), tape=tape),
        "monitor": training.Monitor(**_taken(settings, MONITOR)),
        "resume": training.Progress(**_taken(settings, PROGRESS)),
    }
    return training.fit(*given, **groups, **settings)


def gradients_with(training: ModuleType, *given: Any, **settings: Any) -> Any:
    """``training.loss_and_gradients`` of a package with ``settings``."""
    objective = training.Objective(**_taken(settings, OBJECTIVE))
    return training.loss_and_gradients(*given, loss=objective, **settings)


def _taken(settings: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Those of ``settings`` that have these names, which are taken out of it."""
    return {name: settings.pop(name) for name in names if name in settings}
