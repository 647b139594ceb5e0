"""What is asked: the built-ins that the tables name, and those of the installed version that no table has."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from conformance.atlas.survey import KINDS
from conformance.atlas.surveying import SINGULAR, Signature, Survey
from conformance.identification import layer_table
from conformance.identification.answer import Named
from conformance.identification.page import MODULES
from conformance.identification.target import parse
from conformance.recipes.catalogue_page import Builtin, builtins
from conformance.recipes.dialects import dialects
from conformance.translation.calls import parsed

OF = {"torch": "torch", "keras": "keras", "tf": "keras", "jax": "jax", "optax": "optax", "flax": "jax"}
NORMALIZATIONS = ("batch_norm", "layer_norm")  # which are layers too
LAYERS = "keras.layers."  # of which a regularizer is one
NOT_ASKED = ("early_stopping", "random_flip", "gaussian_noise")  # regularizers of Keras alone


class Entry(NamedTuple):
    """A built-in to be asked.

    ``component`` is the catalogue's that the tables hold it against, "" where it is in none. ``expected``: what they
    say that it is; None where nothing equals it, and then ``differs`` may say why. ``layer``: whether it is asked as
    one; ``known``: of a layer whether a table has it, be it as one that is none of the catalogue's.
    """

    kind: str
    component: str
    framework: str
    call: str
    expected: Named | None = None
    differs: str = ""
    until: int | None = None
    precision: str = "float64"
    note: str = ""
    function: str = ""
    layer: bool = False
    known: bool = False

    @property
    def name(self) -> str:
        """The dotted name without arguments."""
        return self.call.partition("(")[0]

    @property
    def plain(self) -> bool:
        """Whether it is called with its own defaults alone."""
        return self.call.partition("(")[2] in ("", ")")

    @property
    def is_only_listed(self) -> bool:
        """Whether it is a layer that no table has."""
        return self.kind == "layer" and not self.component and not self.known

    @property
    def asked_as(self) -> str:
        """The kind that ``conformance identify`` knows it by."""
        return "layer" if self.layer else self.kind


def of_tables(kind: str) -> Iterator[Entry]:
    """The entries of a kind that ``dialects.toml`` and ``builtins.toml`` name, in their order."""
    if kind == "optimizer":
        yield from _optimizers()
    for row in builtins():
        if SINGULAR.get(row.kind) == kind and not _stands_elsewhere(row):
            expected = None if row.differs else Named(row.component, _tuples(row.keywords))
            yield Entry(
                kind, row.component, OF[row.call.partition(".")[0]], row.call, expected, row.differs, row.until,
                row.precision, row.note, row.function,
            )  # fmt: skip
    if kind in ("normalization", "layer"):
        yield from (entry for entry in _layers() if entry.kind == kind)


def _stands_elsewhere(row: Builtin) -> bool:
    """Whether a regularizer is a layer, which stands with these, or is not asked."""
    return row.kind == "regularizers" and (row.component in NOT_ASKED or row.call.startswith(LAYERS))


def _optimizers() -> Iterator[Entry]:
    for dialect in dialects():
        call = f"{MODULES[dialect.framework]}.{dialect.builtin}"
        try:
            parse(f"{MODULES[dialect.framework]}:{dialect.builtin}")
        except ValueError:  # a chain of several, which is no built-in
            continue
        expected = Named(dialect.optimizer, dialect.differences)
        yield Entry(
            "optimizer", dialect.optimizer, dialect.framework, call, expected, note=" ".join(dialect.note.split())
        )


def _layers() -> Iterator[Entry]:
    """The frameworks' layers; of a normalisation those that no row of ``builtins.toml`` is, and which are asked so."""
    others = {row.call.partition("(")[0] for row in builtins()}
    for one in layer_table.table():
        call = one.target.replace(":", ".", 1)
        component = one.layer.name if one.layer is not None else ""
        kind = "normalization" if component in NORMALIZATIONS else "layer"
        if kind == "layer" or call not in others:
            yield Entry(kind, component, OF[call.partition(".")[0]], call, one.layer, layer=True, known=True)


def _tuples(keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in keywords.items()}


def tabled(framework: str) -> list[Entry]:
    """All entries of the tables that are of a framework."""
    return [entry for kind in KINDS for entry in of_tables(kind) if entry.framework == framework]


def entries(framework: str, kind: str, found: Survey) -> list[Entry]:
    """What is asked of a framework: what the tables name and the environment has, then what no table names."""
    named = [entry for entry in of_tables(kind) if entry.framework == framework]
    there = [entry for entry in named if entry.name in found.signatures]
    known = {entry.name for each in KINDS for entry in of_tables(each)}
    others = [
        Entry(kind, "", framework, name, layer=kind == "layer")
        for name in found.found.get(kind, ())
        if name not in known
    ]
    return there + others


def gone(framework: str, kind: str, found: Survey) -> list[Entry]:
    """What the tables name and the environment does not have."""
    return [e for e in of_tables(kind) if e.framework == framework and e.name not in found.signatures]


def target_of(entry: Entry, signature: Signature) -> str:
    """The entry as ``conformance identify`` takes it: with all arguments by name.

    >>> adam = Entry("schedule", "constant", "optax", "optax.constant_schedule(0.1)")
    >>> target_of(adam, Signature(("value",), {}))
    'optax:constant_schedule(value=0.1)'
    """
    positional, named = parsed(entry.call)
    names = [*signature.needed, *signature.defaults]
    arguments = dict(zip(names, positional, strict=False)) | named
    module, _, own = entry.name.rpartition(".")
    module = re.sub(r"^tf(?=\.|$)", "tensorflow", module)
    inside = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{module}:{own}({inside})" if inside else f"{module}:{own}"
