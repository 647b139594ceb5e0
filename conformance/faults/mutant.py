"""What a mutant is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from conformance.faults.injection import Edits
from conformance.recipes.recipe import Recipe


class Mutant(NamedTuple):
    """One fault: ``edits`` of the source of ``reference_numpy``.

    Attributes:
        name: unique, ``component: what is wrong``.
        edits: the changes.
        where: values of the factors of ``factors.py`` by name; ``coverage.recipe_with`` makes its recipe of them.
        checks: those that must catch it there, each of them.
        of: names of components (``adam``, ``l2``, ``tanh`` ...); a recipe must have one of them for the fault to
            matter; () if it matters everywhere.
        dtypes: the precisions in which it is a fault.
        settings: fields of its recipe that are to be others.
        elsewhere: by implementation, the changes that make the same fault there.
        consistent: whether the reference's own gradient is, with the fault, still the slope of its own cost.
    """

    name: str
    edits: Edits
    where: Mapping[str, str]
    checks: tuple[str, ...]
    of: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float64", "float32")
    settings: Mapping[str, Any] = {}
    elsewhere: Mapping[str, Edits] = {}
    consistent: bool = False

    def concerns(self, recipe: Recipe) -> bool:
        """Whether the fault matters to a recipe."""
        return not self.of or bool(recipe.components & set(self.of))
