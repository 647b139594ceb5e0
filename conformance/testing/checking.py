"""``conformance.check``: one subject held against the oracle, on what it offers, with a verdict and the causes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from conformance.adapters.registry import require_adapter, resolve
from conformance.recipes.recipe import Recipe
from conformance.results.known import Difference, load_known
from conformance.results.run import Run
from conformance.results.store import DATABASE
from conformance.runs.inside import MakeAdapter
from conformance.runs.order import plan_of
from conformance.runs.outcome import Incomplete
from conformance.runs.plan import Plan
from conformance.runs.pool import Progress
from conformance.runs.run import carry_out
from conformance.runs.watching import Watch, unwatched
from conformance.testing.carried import Chosen, ask, recipes_for, recipes_of
from conformance.testing.checked import Checked

EXPLAIN_SECONDS = 300.0  # the causes are what a check of one subject is for: more than of a whole run


def check(
    target: str | MakeAdapter,
    recipe: Chosen | None = None,
    *,
    dtypes: Iterable[str] | None = None,
    device: str = "cpu",
    output: str | Path | None = None,
    known_differences: str | Path | Iterable[Difference] = (),
) -> Checked:
    """Hold one subject against the oracle, in all that it offers. Returns the verdict, the causes and the run.

    Args:
        target: ``package.module:attribute``, looked for in the current folder too: a wrapped subject or an adapter
            class, which works in a process of its own; or ``trace:FILE``. Or such an object itself, also one of a
            notebook: it works in this process, and what it does to this process it does to its judge.
        recipe: what the subject should be: a recipe, a name, a file, or several of these. By default those that the
            subject carries as ``recipe``; for an adapter class those of the suite ``quick`` that it opens.
        dtypes: ``float64``, ``float32``; by default those that each recipe names.
        device: ``cpu``, ``gpu`` or ``tpu``.
        output: a new or empty folder; by default one below ``reports``, named by the time.
        known_differences: a file, or its rows: failures that are known count for nothing, and stale rows as failures.

    Raises ValueError for an argument that is not allowed, BadInput (of ``conformance.runs.outcome``) where the subject
    cannot be had or nothing says what it should be, Incomplete where the run could not begin.
    """
    known = known_of(known_differences)
    asked = prepare(target, recipe, dtypes=dtypes, device=device, output=output)
    try:
        asked.carry_out()
    except Incomplete:
        if not (asked.plan.folder / DATABASE).exists():
            raise
    return Checked(Run(asked.plan.folder), known)


class Asked(NamedTuple):
    """A check that is planned: the plan, and the subject if it is an object of this process, by its name."""

    plan: Plan
    inside: Mapping[str, MakeAdapter]

    def carry_out(self, progress: Progress = lambda worker, done, total: None, watch: Watch = unwatched) -> None:
        """Carry out the plan. Raises BadInput or Incomplete."""
        carry_out(self.plan, progress, watch, self.inside)


def prepare(
    target: str | MakeAdapter, recipe: Chosen | None, *, device: str = "cpu", output: str | Path | None, **options: Any
) -> Asked:
    """Plan a check; ``options`` are those of ``plan_of``. Raises ValueError or BadInput."""
    options |= {
        "device": device,
        "output": None if output is None else Path(output),
        "reuse": True,
        "explain_seconds": EXPLAIN_SECONDS,
    }
    found = recipes_by_default(target, device) if recipe is None else recipes_of(recipe)
    if isinstance(target, str):
        return Asked(plan_of(found, implementations=[target], **options), {})
    name = name_of(target)
    require_adapter(target, name)
    plan = plan_of(found, implementations=(), **options)
    return Asked(replace(plan, implementations={name: f"{name}, an object of another process"}), {name: target})


def recipes_by_default(target: str | MakeAdapter, device: str = "cpu") -> list[Recipe]:
    """The recipes for a subject where nobody names one; see :func:`check`. Raises BadInput or ValueError."""
    return ask(resolve(target), device) if isinstance(target, str) else recipes_for(target, name_of(target), device)


def name_of(target: str | MakeAdapter) -> str:
    """What a subject is called: its text; an object by its ``name``, a class by where it is, else by its class."""
    if isinstance(target, str):
        return target
    own = getattr(target, "name", None)
    if isinstance(own, str) and own:
        return own
    return f"{target.__module__}:{target.__qualname__}" if isinstance(target, type) else type(target).__qualname__


def known_of(differences: str | Path | Iterable[Difference]) -> tuple[Difference, ...]:
    """Known differences, read if they are a file. Raises ValueError, naming file, row and field."""
    return tuple(load_known(differences) if isinstance(differences, (str, Path)) else differences)
