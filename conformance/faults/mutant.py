"""What a mutant is, and how the table of them is written."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from conformance.faults.injection import Edit, Edits
from conformance.recipes.recipe import Recipe


class Mutant(NamedTuple):
    """One fault: ``edits`` of the source of ``file`` in ``reference_numpy``.

    Attributes:
        name: unique, ``component: what is wrong``.
        file: of ``reference_numpy``, and of the other packages, in which it is planted.
        edits: the changes.
        where: values of the factors of ``factors.py`` by name; ``coverage.recipe_with`` makes its recipe of them.
        checks: those that must catch it there, each of them.
        of: names of components (``adam``, ``l2``, ``tanh`` ...); a recipe must have one of them for the fault to
            matter; () if it matters everywhere.
        dtypes: the precisions in which it is a fault.
        settings: fields of its recipe that are to be others.
        elsewhere: by implementation, the changes that make the same fault in the file of the same name there.
    """

    name: str
    file: str
    edits: Edits
    where: Mapping[str, str]
    checks: tuple[str, ...]
    of: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float64", "float32")
    settings: Mapping[str, Any] = {}
    elsewhere: Mapping[str, Edits] = {}

    def concerns(self, recipe: Recipe) -> bool:
        """Whether the fault matters to a recipe."""
        return not self.of or bool(recipe.components & set(self.of))


def edit(old: str, new: str) -> Edits:
    """One change alone."""
    return (Edit(old, new),)


def everywhere(
    name: str,
    file: str,
    edits: Edits,
    where: Mapping[str, str],
    checks: tuple[str, ...],
    of: tuple[str, ...] = (),
    settings: Mapping[str, Any] = {},
) -> Mutant:
    """A mutant whose edits read the same in each of the frameworks."""
    elsewhere = dict.fromkeys(("torch", "tf", "jax"), edits)
    return Mutant(name, file, edits, where, checks, of, settings=settings, elsewhere=elsewhere)
