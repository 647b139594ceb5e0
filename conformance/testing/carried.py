"""Which recipes a subject is checked on where nobody names one: those that it carries, or built-in ones that it opens.

A subject that is named by text is asked in a process of its own, which is this file:
``python -m conformance.testing.carried TARGET DEVICE``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from conformance.adapters.guarded import open_session
from conformance.adapters.registry import load
from conformance.adapters.session import Unsupported
from conformance.problems.preparation import prepare
from conformance.recipes.choosing import find
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite
from conformance.runs.environment import WORKER_ENVIRONMENT
from conformance.runs.inside import MakeAdapter
from conformance.runs.outcome import BadInput

SECONDS = 120.0  # for a framework to be imported and some sessions to be opened
SUITE = "quick"

Chosen = Recipe | str | Path | Iterable[Recipe | str | Path]


def one_by_one(asked: Chosen) -> list[Recipe | str | Path]:
    """What is asked for as a list, also where it is one."""
    return [asked] if isinstance(asked, (Recipe, str, Path)) else list(asked)


def recipes_of(asked: Chosen) -> list[Recipe]:
    """Recipes that are asked for: one or several, each a recipe, a name or a file. Raises RecipeError, a ValueError."""
    return [each if isinstance(each, Recipe) else find(each) for each in one_by_one(asked)]


def recipes_for(subject: MakeAdapter, name: str, device: str) -> list[Recipe]:
    """The recipes that a subject carries as ``recipe``, or, for an adapter class, those of a suite that it opens.

    Raises BadInput where there are none, ValueError for a recipe that cannot be read.
    """
    carried = getattr(subject, "recipe", None)
    if carried is not None:
        return recipes_of(carried)
    if not isinstance(subject, type):
        raise BadInput(_nothing_says(name))
    adapter = subject(device)
    opened = []
    for recipe in suite(SUITE):
        with suppress(Unsupported):
            open_session(adapter, prepare(recipe, recipe.dtypes[0]))
            opened.append(recipe)
    if not opened:
        raise BadInput(f"{name} offers no recipe of the suite {SUITE!r}; {_nothing_says(name)}")
    return opened


def _nothing_says(name: str) -> str:
    return (
        f"nothing says what {name} should be: name a recipe, a file or one of `conformance list recipes`,"
        f" with --recipe (recipe= in Python), or let `conformance identify {name}` find out what it is"
    )


def ask(target: str, device: str) -> list[Recipe]:
    """:func:`recipes_for` a subject named by text, in a process of its own. Raises BadInput with what that says."""
    command = [sys.executable, "-m", "conformance.testing.carried", target, device]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS,
            env=os.environ | WORKER_ENVIRONMENT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        answer: dict[str, Any] = json.loads(ended.stdout)
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{target} did not say which recipes it is for within {SECONDS:g} s: name one") from error
    except ValueError as error:
        lines = ended.stderr.strip().splitlines() or ["nothing on its standard error"]
        raise BadInput(
            f"{target} cannot be asked for its recipes: exit status {ended.returncode}: {lines[-1]}"
        ) from error
    if "refused" in answer:
        raise BadInput(answer["refused"])
    return [Recipe.model_validate(values) for values in answer["recipes"]]


def _answer(target: str, device: str) -> dict[str, Any]:
    try:
        found = recipes_for(load(target), target, device)
        return {"recipes": [recipe.model_dump(mode="json") for recipe in found]}
    except (BadInput, ValueError) as error:
        return {"refused": str(error)}
    except Exception as error:  # whatever somebody's class raises when it is made
        return {"refused": f"implementation {target!r} cannot be made: {type(error).__name__}: {error}"}


if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(2, 1)  # what a framework prints is no answer
    os.write(answers, json.dumps(_answer(*sys.argv[1:])).encode())
    os._exit(0)  # a framework's threads are not waited for
