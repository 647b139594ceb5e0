"""What an adapter of your own imports. These names stay where they are from release to release."""

from conformance.adapters.guarded import NOT_OFFERED
from conformance.adapters.session import (
    Adapter,
    DeviceNotFound,
    Session,
    State,
    Training,
    TrainingState,
    Unsupported,
)

__all__ = [
    "NOT_OFFERED",
    "Adapter",
    "DeviceNotFound",
    "Session",
    "State",
    "Training",
    "TrainingState",
    "Unsupported",
]
