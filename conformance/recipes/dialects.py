"""The dialects: what each framework's own optimizers are, in the words of ``reference_numpy.optimizers``.

``dialects.toml`` holds them, one table for each built-in: the formulation and the defaults that it ships with. The
optimizer of that name, in any of the four packages, made with these keywords trains as the built-in does::

    adam = dialect("keras", "Adam")
    impl_torch.optimizers.OPTIMIZERS[adam.optimizer](params, **adam.keywords)      # Adam as Keras has it, in PyTorch

>>> dialect("keras", "Adam").differences
{'epsilon': 1e-07, 'epsilon_position': 'before_correction'}
"""

import inspect
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from reference_numpy.optimizers import OPTIMIZERS

FILE = Path(__file__).with_name("dialects.toml")


class Dialect(NamedTuple):
    """One built-in: the call that makes it, the optimizer it is, all its keywords, and what they cannot say.

    ``keywords`` has no ``learning_rate`` where the built-in has no default for it, and no ``amsgrad`` for None.
    """

    framework: str
    builtin: str
    optimizer: str
    keywords: dict[str, Any]
    note: str

    @property
    def differences(self) -> dict[str, Any]:
        """The keywords that are not the reference's defaults; none: the built-in is the canonical definition.

        >>> dialect("torch", "Adam").differences, dialect("optax", "lion").differences
        ({}, {'weight_decay': 0.001})
        """
        defaults = inspect.signature(OPTIMIZERS[self.optimizer]).parameters
        return {name: value for name, value in self.keywords.items() if value != defaults[name].default}


def dialects() -> tuple[Dialect, ...]:
    """Every dialect, in the order of ``dialects.toml``: PyTorch's, Keras's, optax's.

    >>> [f"{d.framework}.{d.builtin}" for d in dialects()][:2]
    ['torch.SGD', 'torch.SGD(weight_decay=0.1)']
    """
    return tuple(
        Dialect(framework, builtin, table["optimizer"], _keywords(table), table.get("note", ""))
        for framework, builtins in _tables().items()
        for builtin, table in builtins.items()
    )


def dialect(framework: str, builtin: str) -> Dialect:
    """The dialect of ``builtin``, written as the call that makes it: ``"Adam"``, ``"SGD(momentum=0.9)"``.

    Raises ValueError for an unknown framework or built-in, with those that are known.

    >>> dialect("torch", "Adam(amsgrad=True)").keywords["amsgrad"], dialect("optax", "amsgrad").keywords["amsgrad"]
    ('raw_max', 'corrected_max')
    """
    tables = _tables()
    _check_known("framework", framework, list(tables))
    _check_known("builtin", builtin, list(tables[framework]))
    table = tables[framework][builtin]
    return Dialect(framework, builtin, table["optimizer"], _keywords(table), table.get("note", ""))


def equal_builtins(optimizer: str) -> tuple[Dialect, ...]:
    """The built-ins that ``optimizer``, a name in ``OPTIMIZERS``, equals with their keywords.

    Raises ValueError for an unknown optimizer, with those that are known.

    >>> [f"{d.framework}.{d.builtin}" for d in equal_builtins("radam")]
    ['torch.RAdam', 'torch.RAdam(weight_decay=0.1)', 'optax.radam']
    """
    _check_known("optimizer", optimizer, list(OPTIMIZERS))
    return tuple(d for d in dialects() if d.optimizer == optimizer)


@cache
def _tables() -> dict[str, dict[str, dict[str, Any]]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def _keywords(table: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name not in ("optimizer", "note")}


def _check_known(field: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise ValueError(f"{field}={value!r} is not allowed: must be one of {', '.join(map(repr, known))}")
