"""How implementations are found: the project's own, those of installed packages, and any class by its name.

From outside this project an implementation is added by an entry point in the group ``conformance.implementations``, or
named on the command line as ``package.module:Class``.
"""

import importlib
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path

from conformance.adapters.installation import FRAMEWORKS, install_command
from conformance.adapters.session import Adapter
from conformance.data.wording import nearest, shown

OWN = tuple(FRAMEWORKS)
JOINT = "-to-"  # between two implementations: the first begins a training, the second goes on with it
REPLICAS, PLAIN = "-replicas", "-replicas-plain"  # after an implementation whose batches two replicas share
# The frameworks' own built-ins, which do the recipes of `conformance list subjects` alone.
BUILTINS = {
    "builtins.torch": "conformance.wrappers.torch_builtins:TorchBuiltins",
    "builtins.tf": "conformance.wrappers.keras_builtins:KerasBuiltins",
    "builtins.jax": "conformance.wrappers.jax_builtins:JaxBuiltins",
}
TRACE = "trace:"  # before the path of a recorded trace, which is an implementation too
FILE = ".py"  # after the path of a file that `conformance eject` wrote, which is one too
ENTRY_POINTS = "conformance.implementations"


def available() -> dict[str, str]:
    """Implementations by name, each as ``module:Class``: the project's own and those of installed entry points."""
    own = {name: f"conformance.adapters.{name}:{name.capitalize()}Adapter" for name in OWN}
    return own | {point.name: point.value for point in entry_points(group=ENTRY_POINTS) if point.name not in own}


def resolve(name: str) -> str:
    """The ``module:Class`` of an implementation named on the command line.

    Raises ValueError for an unknown name, and a file that is not there.
    """
    if name in available():
        return available()[name]
    if pair_named(name):
        return f"conformance.exchange.hand_over:{name}"
    if found := replicas_named(name):
        return f"conformance.parallel.frameworks.{found[0]}:{found[1]}"
    if name in BUILTINS:
        return BUILTINS[name]
    if name.startswith(TRACE):
        return f"conformance.exchange.replay:{Path(name.removeprefix(TRACE)).resolve()}"
    if ":" in name:
        return name
    if is_file(name):
        if not Path(name).is_file():
            raise ValueError(f"implementation={shown(name)} is not allowed: there is no such file")
        return f"conformance.wrappers.files:{Path(name).resolve()}"
    raise ValueError(
        f"implementation={shown(name)} is not allowed: must be one of {', '.join(available())}, or A{JOINT}B of two of"
        f" these, or A{REPLICAS}, or one of {', '.join(BUILTINS)}, or package.module:Class, or trace:PATH, or an"
        f" ejected FILE.py{nearest(name, _named())}"
    )


def _named() -> list[str]:
    """All implementations that have a name, those of two and on replicas among them."""
    known = list(available())
    pairs = [f"{first}{JOINT}{second}" for first in known for second in known]
    return [*known, *pairs, *(f"{name}{REPLICAS}" for name in OWN), *BUILTINS]


def require_available(names: Iterable[str], manner: str, others: Iterable[str]) -> None:
    """Raise ValueError unless all are implementations by name; ``others`` are what may be named besides."""
    known = [*available(), *others]
    for name in names:
        if name not in known:
            raise ValueError(
                f"implementation={shown(name)} is not allowed where trainings {manner}: must be one of"
                f" {', '.join(known)}{nearest(name, known)}"
            )


def pair_named(name: str) -> tuple[str, str] | None:
    """The two implementations of a training that is handed over, by its name; None for any other name.

    >>> pair_named("torch-to-jax"), pair_named("torch")
    (('torch', 'jax'), None)
    """
    known = available()
    pairs = ((first, name.removeprefix(first + JOINT)) for first in known if name.startswith(first + JOINT))
    return next((pair for pair in pairs if pair[1] in known), None)


def replicas_named(name: str) -> tuple[str, str] | None:
    """The one of the project's own that a name has on replicas, and the adapter's class; None for any other name.

    >>> replicas_named("torch-replicas"), replicas_named("jax-replicas-plain"), replicas_named("numpy-replicas-plain")
    (('torch', 'Replicas'), ('jax', 'Plain'), None)
    """
    for suffix, made, having in ((REPLICAS, "Replicas", OWN), (PLAIN, "Plain", OWN[1:])):
        if name.removesuffix(suffix) in having and name.endswith(suffix):
            return name.removesuffix(suffix), made
    return None


def is_file(name: str) -> bool:
    """Whether an implementation is named by an ejected file.

    >>> is_file("mine/my_model.py"), is_file("mine.my_model:subject")
    (True, False)
    """
    return name.endswith(FILE) and ":" not in name


def called(name: str) -> str:
    """What an implementation is called in a run: a file by its name without its folder."""
    return Path(name).name if is_file(name) else name


def load(target: str) -> Callable[[str], Adapter]:
    """Import from ``module:name`` what makes an adapter for a device. Raises ValueError if there is none."""
    module, _, attribute = target.partition(":")
    try:
        adapter = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"implementation {target!r} cannot be loaded: {error}{_remedy(module, error)}") from error
    require_adapter(adapter, target)
    found: Callable[[str], Adapter] = adapter
    return found


def _remedy(module: str, error: Exception) -> str:
    """What helps where one of the project's own cannot be imported: its framework is missing, or a file hides it."""
    own = module.removeprefix("conformance.adapters.")
    if own not in OWN or not isinstance(error, ImportError):
        return ""
    package = sys.modules.get(FRAMEWORKS[own])
    if package is not None and not hasattr(package, "__path__"):
        return f" ({package.__file__} hides it: must have another name)"
    return f" ({install_command(own)})" if isinstance(error, ModuleNotFoundError) else ""


def require_adapter(adapter: object, target: str) -> None:
    """Raise ValueError unless it is what makes an adapter, called with a device, and lacks none of its methods."""
    missing = [name for name in ("versions", "settings", "session") if not callable(getattr(adapter, name, None))]
    if missing:
        raise ValueError(
            f"implementation {target!r} lacks {', '.join(missing)}: must be an adapter, or a subject that"
            " conformance.wrap_torch or its like makes"
        )
