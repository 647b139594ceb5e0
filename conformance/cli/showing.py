"""``conformance show``: a recipe as TOML that can be run, and how large its training is."""

from conformance.recipes.recipe import Recipe
from conformance.recipes.size import estimate
from conformance.recipes.suites import SUITES
from conformance.recipes.writing import as_toml


def written(recipe: Recipe) -> str:
    """The recipe as TOML; above it, as comments, what is known of it."""
    held = [name for name, recipes in SUITES.items() if any(values["name"] == recipe.name for values in recipes)]
    lines = [f"# content hash {recipe.hash}" + (f"; in the suites {', '.join(held)}" if held else "")]
    size = estimate(recipe)
    if size is not None:
        lines.append(f"# {size.steps:,} steps, {size.parameters:,} parameters, {size.tape_bytes:,} bytes of tape")
    return "\n".join([*lines, "", as_toml(recipe)])
