"""``conformance.eject``: a recipe's training, or a component, as the text of one file."""

import shlex
from pathlib import Path
from typing import Any

from conformance.ejecting.components import COMPONENTS, component
from conformance.ejecting.notebooks import notebook as as_notebook
from conformance.ejecting.trainings import training
from conformance.faults.injection import PACKAGES
from conformance.recipes.choosing import find
from conformance.recipes.components import choose
from conformance.recipes.recipe import Recipe


def eject(
    framework: str, what: str | Path | Recipe, *, dtype: str | None = None, notebook: bool = False, **keywords: Any
) -> str:
    """The text of one file that needs nothing of this project: a whole training, or one component.

    Args:
        framework: ``numpy``, ``torch``, ``tf`` or ``jax``, which is read and not imported.
        what: a recipe, its name or its file; or the name of an optimizer, a loss, an activation, a schedule, an
            initializer, a normalisation, or a regularizer of any kind: a penalty, a clipping, a constraint, dropout, an
            augmentation, early stopping.
        dtype: of a recipe: ``float64`` or ``float32``; by default the first that it names.
        notebook: the text of a notebook.
        keywords: of a component; those that are left out have their defaults.

    Raises ValueError for what is not known or not allowed, naming the nearest; DataError where a recipe needs the shape
    of images that are not there; NoFormatter where ruff, which formats the text, is not installed.

    >>> "def relu(z: Tensor) -> Tensor:" in eject("torch", "relu")
    True
    """
    choose("framework", framework, tuple(PACKAGES))
    if isinstance(what, str) and what in COMPONENTS:
        if dtype is not None:
            raise ValueError(f"dtype={dtype!r} is not allowed for a component: must be left out")
        text = component(framework, what, keywords, _command(framework, what, keywords))
        return as_notebook(text, f"help({what})") if notebook else text
    recipe = what if isinstance(what, Recipe) else find(what)
    if keywords:
        raise ValueError(f"{next(iter(keywords))} is not allowed for a recipe: must be left out, as the recipe has it")
    dtype = recipe.dtypes[0] if dtype is None else choose("dtype", dtype, recipe.dtypes, f" for {recipe.name!r}")
    text = training(recipe, framework, dtype, f"conformance eject {framework} --recipe {recipe.name} --dtype {dtype}")
    return as_notebook(text, 'history = train("data.npz")') if notebook else text


def _command(framework: str, name: str, keywords: dict[str, Any]) -> str:
    options = [f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in keywords.items()]
    return " ".join(["conformance eject", framework, name, *options])
