"""How much a run will be, told before it begins: its steps, its memory, and its time by the last runs here."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from conformance.adapters.cache import cache_folder
from conformance.adapters.whole_files import write_whole
from conformance.recipes.size import estimate
from conformance.runs.plan import Plan
from conformance.runs.reuse import Kept
from conformance.runs.schedule import ORACLE

# Seconds of a training of the default suite on two cores, at the first run, where none has been measured here.
FIRST_SECONDS: Mapping[str, float] = {ORACLE: 0.6, "numpy": 0.1, "torch": 0.2, "tf": 0.8, "jax": 2.7}
TRUST_SECONDS = 5.0  # of work done, after which a forecast and how a run goes against it weigh the same


class Forecast(NamedTuple):
    """Of a run: trainings in all, those of them that are kept of earlier runs, and the steps of the others.

    ``data_bytes``: of the largest training's data and random draws in float64. ``seconds``: of the whole run, at least;
    ``unknown``: the implementations of which no time is known. Data in files are not looked into: ``unsized`` recipes.
    """

    trainings: int
    kept: int
    steps: int
    data_bytes: int
    seconds: float
    unknown: tuple[str, ...]
    unsized: int


def forecast(plan: Plan) -> Forecast:
    """What is to be expected of a plan."""
    kept, pace = Kept(plan), known_pace()
    left = [(task, name) for name, task in plan.units if not (plan.reuse and kept.holds(task, name))]
    sizes = {recipe.name: estimate(recipe) for _, recipe in plan.recipes}
    known = [size for size in (sizes[task.recipe.name] for task, _ in left) if size is not None]
    work = [name for _, name in left] + [ORACLE] * len({task.name for task, _ in left})
    return Forecast(
        trainings=len(plan.units),
        kept=len(plan.units) - len(left),
        steps=sum(size.steps for size in known),
        data_bytes=max((size.data_bytes + size.tape_bytes for size in known), default=0),
        seconds=sum(pace.get(name, 0.0) for name in work) / plan.at_once,
        unknown=tuple(name for name in plan.implementations if name not in pace),
        unsized=sum(size is None for size in sizes.values()),
    )


def known_pace() -> dict[str, float]:
    """Seconds of a training by name, measured here or, before the first run, elsewhere."""
    return {**FIRST_SECONDS, **_pace()}


def seconds_left(forecast: float, done: float, elapsed: float) -> float:
    """What a run has left of its ``forecast``, of which a part is ``done`` that took ``elapsed``, all in seconds.

    The forecast is believed at first; the further the run, the more it is corrected by how the run has gone.

    >>> seconds_left(60, 0, 0), seconds_left(60, 30, 30), round(seconds_left(60, 30, 60))
    (60.0, 30.0, 56)
    """
    return (forecast - done) * (elapsed + TRUST_SECONDS) / (done + TRUST_SECONDS)


def remember(seconds: Mapping[str, Iterable[float]]) -> None:
    """Keep what a training of each took on average in a run that has just been."""
    file = _file()
    means = {name: sum(own) / len(own) for name, own in ((name, list(each)) for name, each in seconds.items()) if own}
    if file is not None and means:
        with suppress(OSError):  # a folder that nobody may write to keeps nothing
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(_pace() | means).encode())


def _pace() -> dict[str, float]:
    """Seconds of a training by name, as far as any were measured here."""
    file = _file()
    try:
        found = json.loads(file.read_bytes()) if file is not None else {}
        return {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _file() -> Path | None:
    folder = cache_folder("pace")
    return folder and folder / "seconds.json"
