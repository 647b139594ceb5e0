"""``conformance.compare_dialects``: the difference that two frameworks' defaults make on a training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.equivalence.asking import MARGIN, SEEDS, Asked, ask, is_default
from conformance.equivalence.compared import DialectsComparison, outcome_of
from conformance.equivalence.process import SECONDS, train_all
from conformance.recipes.recipe import Recipe
from conformance.runs.answers import Limits
from conformance.runs.pool import Progress


def compare_dialects(
    first: str,
    second: str,
    *,
    recipe: Recipe | str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    same_learning_rate: bool = False,
    seeds: int = SEEDS,
    margin: float = MARGIN,
    implementation: str = "numpy",
    dtype: str | None = None,
    seconds: float = SECONDS,
    memory: int = 0,
    progress: Progress = lambda worker, done, total: None,
) -> DialectsComparison:
    """Train with two dialects from the same tapes, over several seeds, and test whether the ends are equivalent.

    Args:
        first: a dialect, ``"keras.Adam"``, also with arguments in its framework's spelling, ``"torch.Adam(lr=0.01)"``.
        second: another.
        recipe: the training, by itself or by its name or file; by default 200 steps of a small network on digits.
        settings: keywords of the reference for both, ``{"learning_rate": 0.01}``.
        same_learning_rate: whether the second takes the first one's learning rate. By default both train with their
            own, and where these differ once more with the first one's.
        seeds: how many; each draws other initial weights, batches and masks, the same for both.
        margin: in standard deviations of the first one's results over the seeds.
        implementation: ``numpy``, ``torch``, ``tf`` or ``jax``, which trains with both.
        dtype: ``float32`` or ``float64``; by default ``float32``, where the recipe has it.
        seconds: how long the trainings of one seed may take.
        memory: bytes that the process may take; 0: any.
        progress: told how far it is.

    Raises ValueError for an argument that is not allowed; BadInput (of ``conformance.runs.outcome``) for data or an
    implementation that cannot be had; Incomplete where the trainings did not come to their end.
    """
    asked = ask(
        first, second, recipe=recipe, settings=settings, same_learning_rate=same_learning_rate, seeds=seeds,
        margin=margin, dtype=dtype, implementation=implementation,
    )  # fmt: skip
    found = train_all(asked, Limits(seconds, memory), progress)
    pairs = zip(asked.situations, found, strict=True)
    return DialectsComparison(
        asked.names, described(asked), asked, tuple(outcome_of(one, made, asked.margin) for one, made in pairs)
    )


def described(asked: Asked) -> str:
    """What is trained, in a line."""
    recipe, seeds = asked.recipe, asked.seeds
    batches = "" if recipe.batch_size is None else f" in batches of {recipe.batch_size}"
    many = f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"
    named = "by default" if is_default(recipe) else f"recipe {recipe.name}"
    return (
        f"{named}: {recipe.model.name} on {recipe.dataset.name}{batches}, {recipe.epochs} epochs, by"
        f" {asked.implementation} in {asked.dtype}, {many}"
    )
