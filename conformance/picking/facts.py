"""What is known of an implementation without running it: its installation, its code, and its dialects."""

from collections.abc import Collection, Iterable
from typing import Any

from conformance.adapters.registry import OWN
from conformance.picking.installation import installed_bytes
from conformance.picking.reading import lines_of_package, lines_used
from conformance.recipes.dialects import equal_builtins
from conformance.recipes.layer_dialects import equal_layers
from conformance.recipes.layers import all_layers
from conformance.recipes.recipe import Recipe

MEGABYTE = 1e6


def facts(name: str, recipes: Collection[Recipe]) -> dict[str, Any]:
    """The columns of a table that follow from the source and the installed packages; none for somebody else's."""
    if name not in OWN:
        return {}
    size = installed_bytes(name)
    return {
        **({} if size is None else {"installed_mb": size / MEGABYTE}),
        "lines": lines_used(name, recipes),
        "package_lines": lines_of_package(name),
        "dialects": dialects(recipes),
    }


def dialects(recipes: Iterable[Recipe]) -> str:
    """The built-ins of the frameworks that the optimizers and layers of recipes are, with their keywords.

    The four packages have the same keywords, so it is the same for each of them.

    >>> from conformance.picking.asking import recipe_of
    >>> dialects([recipe_of("deep_network", "radam")])
    'torch.RAdam, optax.radam'
    """
    recipes = list(recipes)
    optimizers = {recipe.optimizer.name for recipe in recipes}
    layers = {layer.name for recipe in recipes for layer in all_layers(recipe.model.layers)}
    found = [each for name in sorted(optimizers) for each in equal_builtins(name)]
    names = [f"{each.framework}.{each.builtin}" for each in found]
    names += [each.name for name in sorted(layers) for each in equal_layers(name)]
    return ", ".join(dict.fromkeys(name.partition("(")[0] for name in names))
