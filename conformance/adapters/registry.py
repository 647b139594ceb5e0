"""How implementations are found: the project's own, those of installed packages, and any class by its name.

From outside this project an implementation is added by an entry point in the group ``conformance.implementations``, or
named on the command line as ``package.module:Class``.
"""

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from conformance.adapters.installation import FRAMEWORKS, install_command
from conformance.adapters.session import Adapter
from conformance.data.wording import nearest, shown

OWN = tuple(FRAMEWORKS)
# The frameworks' own built-ins, which do the recipes of `conformance list subjects` alone.
BUILTINS = {
    "builtins.torch": "conformance.wrappers.torch_builtins:TorchBuiltins",
    "builtins.tf": "conformance.wrappers.keras_builtins:KerasBuiltins",
    "builtins.jax": "conformance.wrappers.jax_builtins:JaxBuiltins",
}
TRACE = "trace:"  # before the path of a recorded trace, which is an implementation too
ENTRY_POINTS = "conformance.implementations"


def available() -> dict[str, str]:
    """Implementations by name, each as ``module:Class``: the project's own and those of installed entry points."""
    own = {name: f"conformance.adapters.{name}:{name.capitalize()}Adapter" for name in OWN}
    return own | {point.name: point.value for point in entry_points(group=ENTRY_POINTS) if point.name not in own}


def resolve(name: str) -> str:
    """The ``module:Class`` of an implementation named on the command line. Raises ValueError for an unknown name."""
    if name in available():
        return available()[name]
    if name in BUILTINS:
        return BUILTINS[name]
    if name.startswith(TRACE):
        return f"conformance.exchange.replay:{Path(name.removeprefix(TRACE)).resolve()}"
    if ":" in name:
        return name
    raise ValueError(
        f"implementation={shown(name)} is not allowed: must be one of {', '.join(available())},"
        f" or package.module:Class, or trace:PATH{nearest(name, available())}"
    )


def load(target: str) -> Callable[[str], Adapter]:
    """Import from ``module:name`` what makes an adapter for a device. Raises ValueError if there is none."""
    module, _, attribute = target.partition(":")
    try:
        adapter = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        own = module.removeprefix("conformance.adapters.")
        hint = f" ({install_command(own)})" if own in OWN else ""
        raise ValueError(f"implementation {target!r} cannot be loaded: {error}{hint}") from error
    require_adapter(adapter, target)
    found: Callable[[str], Adapter] = adapter
    return found


def require_adapter(adapter: object, target: str) -> None:
    """Raise ValueError unless it is what makes an adapter, called with a device, and lacks none of its methods."""
    missing = [name for name in ("versions", "settings", "session") if not callable(getattr(adapter, name, None))]
    if missing:
        raise ValueError(
            f"implementation {target!r} lacks {', '.join(missing)}: must be an adapter, or a subject that"
            " conformance.wrap_torch or its like makes"
        )
