"""Built-ins that a framework was found to have, each with its formulation, or as one that is in no table."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from conformance.recipes.catalogue_page import builtins
from conformance.recipes.layer_dialects import MODULES, lines
from conformance.recipes.subjects import Subject, call_of, subjects

NOT_MAPPED = "not mapped"


class Mapped(NamedTuple):
    """A built-in: its call, its kind, its formulation or ``NOT_MAPPED``, and the recipe that it can be run with."""

    subject: str
    kind: str
    formulation: str
    recipe: str


def mapped(found: Iterable[tuple[str, str]], implementation: str) -> Iterator[Mapped]:
    """The built-ins ``found``, each by name and kind, and after them the implementation's subjects that are elsewhere.

    >>> [each.formulation for each in mapped([("torch.optim.ASGD", "optimizers")], "builtins.torch")][0]
    'not mapped'
    """
    own = [each for each in subjects().values() if each.implementation == implementation]
    by_function: dict[str, list[Subject]] = {}
    for each in own:
        by_function.setdefault(_function(each.name), []).append(each)
    others = _without_recipe()
    for name, kind in found:
        if name in by_function:
            yield from map(_row, by_function.pop(name))
        else:
            yield from others.get(name, [Mapped(name, kind, NOT_MAPPED, "")])
    for rest in by_function.values():
        yield from map(_row, rest)


def _row(subject: Subject) -> Mapped:
    return Mapped(subject.name, subject.kind, subject.formulation, subject.recipe_name)


def _without_recipe() -> dict[str, Sequence[Mapped]]:
    """What the tables have that is no subject, by its function: rows of the catalogue, and layers without a dialect."""
    rows = [
        Mapped(row.call, row.kind, f"{row.function or row.component}" + (" (differs)" if row.differs else ""), "")
        for row in builtins()
        if row.call not in subjects()
    ]
    rows += [
        Mapped(f"{MODULES[framework]}.{call}", "layers", line["name"], "")
        for framework, calls in lines().items()
        for call, line in calls.items()
        if "no_dialect" in line
    ]
    found: dict[str, list[Mapped]] = {}
    for row in rows:
        found.setdefault(row.subject.partition("(")[0], []).append(row)
    return dict(found)


def _function(name: str) -> str:
    """What a call calls; of a chain the chain."""
    return name.partition("(")[0] if ".chain(" in name else call_of(name).function
