"""What a mutant is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from conformance.faults.injection import Edits
from conformance.recipes.layers import LayerChoice, all_layers
from conformance.recipes.recipe import Recipe


class LayerKind(NamedTuple):
    """Layers of a network: all of a name that have these values of their keywords."""

    name: str
    keywords: Mapping[str, Any] = {}

    def holds(self, layer: LayerChoice) -> bool:
        """Whether a layer is one of these."""
        return layer.name == self.name and self.keywords.items() <= layer.keywords.items()


class Mutant(NamedTuple):
    """One fault: ``edits`` of the source of ``reference_numpy``.

    Attributes:
        name: unique, ``component: what is wrong``.
        edits: the changes.
        where: values of the factors of ``factors.py`` by name; ``coverage.recipe_with`` makes its recipe of them.
        checks: those that must catch it there, each of them.
        of: names of components (``adam``, ``l2``, ``tanh`` ...); a recipe must have one of them for the fault to
            matter; () if it matters everywhere, or for the sake of layers alone.
        dtypes: the precisions in which it is a fault.
        settings: fields of its recipe that are to be others.
        elsewhere: by implementation, the changes that make the same fault there.
        consistent: whether the reference's own gradient is, with the fault, still the slope of its own cost.
        layers: kinds of layers; a network must have one of them, at any depth, for the fault to matter.
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
    layers: tuple[LayerKind, ...] = ()

    def concerns(self, recipe: Recipe) -> bool:
        """Whether the fault matters to a recipe."""
        if not (self.of or self.layers) or recipe.components & set(self.of):
            return True
        return any(kind.holds(layer) for layer in all_layers(recipe.model.layers) for kind in self.layers)
