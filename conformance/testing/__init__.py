"""Checks of one subject: ``conformance check``, the pytest plugin, the decorator, and files of known differences.

Importing this package, or its plugin, imports neither a framework nor the harness.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.testing.decorating import parametrize_with_conformance

__all__ = ["parametrize_with_conformance"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: must be one of {', '.join(__all__)}")
    from conformance.testing import decorating

    return getattr(decorating, name)
