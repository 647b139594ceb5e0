"""The dialects: what each framework's own optimizers are, in the words of ``reference_numpy.optimizers``.

``dialects.toml`` holds them, one table for each built-in: the formulation and the defaults that it ships with. The
optimizer of that name, in any of the four packages, made with these keywords trains as the built-in does::

    adam = dialect("keras", "Adam")
    impl_torch.optimizers.OPTIMIZERS[adam.optimizer](params, **adam.keywords)      # Adam as Keras has it, in PyTorch

>>> dialect("keras", "Adam").differences
{'epsilon': 1e-07, 'epsilon_position': 'before_correction', 'correction_precision': 'float32'}
"""

import inspect
import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reference_numpy.optimizers import OPTIMIZERS

FILE = Path(__file__).with_name("dialects.toml")


class Dialect(NamedTuple):
    """One built-in: the call that makes it, the optimizer it is, all its keywords, and what they cannot say.

    ``keywords`` has no ``learning_rate`` where the built-in has no default for it, and no ``amsgrad`` for None. Those
    ``in_float32`` are what the built-in computes with: numbers that are float32's, in float64 too.
    """

    framework: str
    builtin: str
    optimizer: str
    keywords: dict[str, Any]
    note: str
    in_float32: tuple[str, ...] = ()

    def changed(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords with others in their place, rounded to float32 where the built-in rounds its own.

        >>> dialect("keras", "Lion").changed({"beta1": 0.8, "learning_rate": 0.1})["beta1"]
        0.800000011920929
        """
        return self.keywords | self.in_its_precision(keywords)

    def in_its_precision(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords, rounded to float32 where the built-in rounds its own."""
        return _rounded(keywords, self.in_float32)

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
        _dialect(framework, builtin, table)
        for framework, builtins in _tables().items()
        for builtin, table in builtins.items()
    )


@cache
def optimizer_names() -> tuple[str, ...]:
    """Every dialect's name, as recipes have it.

    >>> optimizer_names()[0]
    'torch.SGD'
    """
    return tuple(f"{found.framework}.{found.builtin}" for found in dialects())


def dialect(framework: str, builtin: str | None = None) -> Dialect:
    """The dialect of ``builtin``, written as the call that makes it: ``"Adam"``, ``"SGD(momentum=0.9)"``.

    Both may be one name, ``"keras.Adam"`` or ``"torch.optim.Adam"``. Raises ValueError for an unknown framework or
    built-in, with those that are known.

    >>> dialect("keras.Adam") == dialect("keras.optimizers.Adam") == dialect("keras", "Adam")
    True
    >>> dialect("torch", "Adam(amsgrad=True)").keywords["amsgrad"], dialect("optax", "amsgrad").keywords["amsgrad"]
    ('raw_max', 'corrected_max')
    """
    if builtin is None:
        framework, _, dotted = framework.partition(".")
        builtin = dotted.removeprefix("optimizers.").removeprefix("optim.")
    tables = _tables()
    _check_known("framework", framework, list(tables))
    _check_known("builtin", builtin, list(tables[framework]))
    return _dialect(framework, builtin, tables[framework][builtin])


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


def _dialect(framework: str, builtin: str, table: Mapping[str, Any]) -> Dialect:
    in_float32 = tuple(table.get("in_float32", ()))
    own = {name: value for name, value in table.items() if name not in ("optimizer", "note", "in_float32")}
    keywords = _rounded(own, in_float32)
    return Dialect(framework, builtin, table["optimizer"], keywords, table.get("note", ""), in_float32)


def _rounded(keywords: Mapping[str, Any], in_float32: Collection[str]) -> dict[str, Any]:
    """``keywords`` with the numbers of those ``in_float32`` rounded to it; what is no number stays as it is."""
    return {
        name: float(np.float32(value)) if name in in_float32 and isinstance(value, float) else value
        for name, value in keywords.items()
    }


def _check_known(field: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise ValueError(f"{field}={value!r} is not allowed: must be one of {', '.join(map(repr, known))}")
