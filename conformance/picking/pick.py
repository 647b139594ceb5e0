"""``conformance.pick``: the implementations side by side on what one chooses by, measured here and now, or of a run."""

import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from conformance.adapters.probing import Probe, probe_all
from conformance.adapters.registry import available
from conformance.picking import runs
from conformance.picking.asking import Asked, ask
from conformance.picking.facts import facts
from conformance.picking.picked import Picked
from conformance.picking.runs import Chosen, Values
from conformance.picking.snippets import extent_of, steps_of
from conformance.picking.table import frame
from conformance.picking.timing import QUICK, THOROUGH, Progress, time_all
from conformance.recipes.recipe import Recipe
from conformance.results.paths import short
from conformance.results.run import load_run
from conformance.runs.outcome import Incomplete

BUSY = 0.5  # other processes for each processor, above which times are told to be of a busy machine


def pick(
    model: str | None = None,
    optimizer: str | None = None,
    *,
    recipe: Recipe | str | Path | None = None,
    implementations: Sequence[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    quick: bool = False,
    run: str | Path | None = None,
    output: str | Path | None = None,
    progress: Progress = lambda worker, done, total: None,
) -> Picked:
    """Set the implementations side by side on one training, and recommend one for each goal.

    Args:
        model: a model of the catalogue; by default ``deep_network``.
        optimizer: an optimizer of the catalogue, or a dialect, ``"keras.Adam"``; by default ``adam``.
        recipe: a recipe, its name or its file, in place of both.
        implementations: names among ``numpy``, ``torch``, ``tf``, ``jax``; by default all four.
        device: ``cpu``, ``gpu`` or ``tpu``; by default ``cpu``.
        dtype: ``float32`` or ``float64``; by default ``float32``, where the recipe has it.
        quick: whether one process times each, and fewer checks are made, in place of three and all.
        run: the folder of a run. Nothing is measured: what that run has is told, of what is named.
        output: a new or empty folder, in which the comparison with the oracle is kept as a run.
        progress: told how far it is.

    The result's ``table`` is a pandas frame with a row for each implementation. Raises ValueError for an argument that
    is not allowed, BadInput (of ``conformance.runs.outcome``) for data that cannot be had.
    """
    if run is None:
        asked = ask(
            model=model, optimizer=optimizer, recipe=recipe, device=device or "cpu", dtype=dtype,
            implementations=implementations,
        )  # fmt: skip
        return measure(asked, quick=quick, output=None if output is None else Path(output), progress=progress)
    if quick or output is not None:
        raise ValueError("run excludes quick and output: of a run nothing is measured")
    if isinstance(recipe, (Recipe, Path)):
        raise ValueError("recipe beside run must be the name of one of the run's recipes")
    named: dict[str, Any] = {"model": model, "optimizer": optimizer, "recipe": recipe, "device": device, "dtype": dtype}
    return of_run(runs.choose_of(load_run(run), **named, implementations=implementations))


def measure(asked: Asked, *, quick: bool, output: Path | None, progress: Progress) -> Picked:
    """Measure on this machine now: times, each alone; then, side by side, how near each is to the oracle."""
    load = busy()
    probes = probe_all({name: available()[name] for name in asked.implementations})
    there = [name for name in asked.implementations if not problem_of(probes[name], asked.device)]
    effort = QUICK if quick else THOROUGH
    timings = time_all(asked, there, effort, progress)
    held = [name for name in there if not timings[name].problem]
    with ThreadPoolExecutor(1) as pool:  # files are counted while others work, when nothing is timed any more
        known = {name: pool.submit(facts, name, [asked.recipe]) for name in asked.implementations}
        margins, incomplete = _margins(asked, held, output, quick=quick, progress=progress)
    crashed = [f"{name}: {timing.problem}" for name, timing in timings.items() if timing.crashed]
    rows = []
    for name in asked.implementations:
        problem = problem_of(probes[name], asked.device) or timings[name].problem
        values = timings[name].values if name in timings else {}
        seen = {"implementation": name, "problem": problem, "devices": ", ".join(probes[name].devices)}
        rows.append(known[name].result() | values | margins.get(name, {}) | seen)
    return Picked(
        training=described(asked),
        source=_measured_by(effort.processes, quick=quick),
        table=frame(rows),
        recipe=asked.recipe,
        dtype=asked.dtype,
        device=asked.device,
        notes=tuple([load] if load else []),
        incomplete="; ".join([*crashed, *([incomplete] if incomplete else [])]),
    )


def of_run(chosen: Chosen) -> Picked:
    """What a run has: its margins, and the times that it took while other workers ran beside."""
    times, margins = runs.times(chosen), runs.margins(chosen)
    recipes = list(chosen.recipes.values())
    rows = [
        facts(name, recipes) | times[name] | margins[name] | {"implementation": name} for name in chosen.implementations
    ]
    one = Asked(recipes[0], chosen.dtype, chosen.device, chosen.implementations)
    several = f"{len(recipes)} recipes of the run, {chosen.dtype} on {chosen.device}; the code is of {recipes[0].name}"
    return Picked(
        training=described(one) if len(recipes) == 1 else several,
        source=f"Read from {short(chosen.run.folder)}; nothing was measured",
        table=frame(rows),
        recipe=recipes[0],
        dtype=chosen.dtype,
        device=chosen.device,
        notes=NOTES_OF_A_RUN,
        incomplete=chosen.run.incomplete,
    )


NOTES_OF_A_RUN = (
    "A run times while its other workers run, and in processes that hold the harness too: its times and its memory"
    " compare implementations, but are not theirs alone. NumPy's import is not in it.",
    "What JAX compiles may come from its cache of earlier runs.",
)


def problem_of(probe: Probe, device: str) -> str:
    """Why an implementation cannot be measured on a device; "" where it can."""
    if probe.problem is not None:
        return probe.problem
    if device not in probe.devices:
        return f"device {device} is not there: it finds {', '.join(probe.devices)}"
    return ""


def described(asked: Asked) -> str:
    """A training in a line.

    >>> described(ask())
    'deep_network (32, 16) by adam on moons, 256 examples in batches of 32, 64 steps, float32 on cpu'
    """
    recipe, extent = asked.recipe, extent_of(asked.recipe)
    units = f" {recipe.model.hidden_units!r}" if recipe.model.hidden_units else ""
    size = ""
    if extent is not None:
        examples = recipe.dataset.examples or extent.examples
        batches = f" in batches of {recipe.batch_size}" if recipe.batch_size else " at once"
        size = f", {examples:,} examples{batches}, {steps_of(recipe, extent):,} steps"
    return (
        f"{recipe.model.name}{units} by {recipe.optimizer.name} on {recipe.dataset.name}{size},"
        f" {asked.dtype} on {asked.device}"
    )


def busy() -> str:
    """That other processes keep this machine busy; "" where they do not, or nobody can say."""
    if not hasattr(os, "getloadavg"):
        return ""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load <= BUSY * processors:
        return ""
    wanted = f"{load:.1f} processes wanted one of {processors} processors before"
    return f"This machine is busy ({wanted}): times are longer than they need be."


def _measured_by(processes: int, *, quick: bool) -> str:
    """How it was measured, in a line."""
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    each = "one process" if processes == 1 else f"{processes} processes"
    return f"Measured now on {machine}: {each} for each implementation, one thread, one after the other"


def _margins(
    asked: Asked, names: Sequence[str], output: Path | None, *, quick: bool, progress: Progress
) -> tuple[Values, str]:
    """How near each is to the oracle, and what of that could not be had."""
    if not names:
        return {}, ""
    try:
        chosen = runs.hold(asked, names, output, quick=quick, progress=progress)
    except Incomplete as error:
        return {}, str(error)
    return runs.margins(chosen), chosen.run.incomplete
