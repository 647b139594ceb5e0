"""One process of a run: the oracle, which makes the cases, or one implementation, which is held against them.

Started by ``conformance/runs/run.py`` as ``python -m conformance.runs.worker PLAN ROLE TARGET SHARE``. What it finds
goes into the run's store; on standard output it writes one JSON object a line, so that the parent can show progress.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from conformance.adapters.session import Adapter, DeviceNotFound, Session, Unsupported, load
from conformance.checks import CHECKS, case
from conformance.checks.case import Case, build_case
from conformance.checks.observation import Observation
from conformance.data.datasets import DataError
from conformance.problems.problem import Array, Problem, Tensors, prepare
from conformance.recipes.recipe import Recipe
from conformance.results.cases import load_case, trace_name
from conformance.results.store import INFORMATIVE, CurvePoint, Store
from conformance.verdicts import ceilings, known_ceilings
from conformance.verdicts import floors as allowance
from conformance.verdicts.compare import (
    NO_CEILING,
    NOT_FAILING,
    Ceiling,
    Comparison,
    Expectation,
    Verdict,
    compare,
    under_ceiling,
)
from conformance.verdicts.record import STAGES, Context, Record


class Plan(NamedTuple):
    """What a run does: written once by the parent, read by every worker."""

    run: str
    folder: Path
    device: str
    tasks: list[tuple[str, Recipe, str]]  # suite, recipe, dtype

    @staticmethod
    def read(path: Path) -> "Plan":
        """Read the plan that the parent wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        tasks = [(suite, Recipe.model_validate(recipe), dtype) for suite, recipe, dtype in values["tasks"]]
        return Plan(values["run"], path.parent, values["device"], tasks)


def make_cases(plan: Plan, store: Store, tell: "Teller", share: tuple[int, int]) -> None:
    """The oracle's part: build the case of each task in this share and measure its noise floors."""
    from conformance.adapters.numpy import NumpySession

    for _, recipe, dtype in plan.tasks[share[0] :: share[1]]:
        try:
            problem = prepare(recipe, dtype)
        except DataError as error:
            tell(event="bad input", message=f"recipe {recipe.name!r}: {error}")
            continue
        built = build_case(problem, NumpySession(problem.in_float64()))
        expectations = allowance.measure(built)
        arrays, events = allowance.pack(expectations)
        name = f"{recipe.name}.{dtype}"
        bounds = {"ceilings": ceilings.pack(known_ceilings.find(built, expectations))}
        store.save_tensors(f"{name}.case", case.pack(built), bounds)
        store.save_tensors(f"{name}.oracle", arrays, events)
        informative = allowance.informative_steps(expectations)
        store.add_curve_points(
            [CurvePoint(recipe.name, "oracle", dtype, "step", problem.steps, INFORMATIVE, float(informative))]
        )
        tell(event="done", recipe=recipe.name, dtype=dtype)


def check_implementation(
    plan: Plan, store: Store, tell: "Teller", share: tuple[int, int], name: str, adapter: Adapter
) -> None:
    """An implementation's part: every check of each task in this share, against the stored oracle."""
    version = next(iter(adapter.versions().values()))
    store.set_fact(f"implementation {name}", {
        "device": adapter.device, "versions": dict(adapter.versions()), "settings": dict(adapter.settings()),
    })  # fmt: skip
    for suite, recipe, dtype in plan.tasks[share[0] :: share[1]]:
        context = Context(plan.run, suite, recipe, name, version, adapter.device, dtype)
        tell(event="start", recipe=recipe.name, dtype=dtype)
        try:
            problem, built, expected, bounds = load_case(store, recipe, dtype)
            session = adapter.session(problem)
        except Unsupported as error:
            store.add_records(context.without_comparison(c, Verdict.UNSUPPORTED, str(error)) for c in CHECKS)
        except Exception:
            store.add_records(context.without_comparison(c, Verdict.CRASHED, _last_error()) for c in CHECKS)
        else:
            for check in CHECKS:
                _run_check(store, context, session, built, expected[check], bounds[check], check)
        tell(event="done", recipe=recipe.name, dtype=dtype)


def _run_check(
    store: Store, context: Context, session: Session, built: Case, expected: list[Expectation],
    bounds: dict[ceilings.Place, Ceiling], check: str,
) -> None:  # fmt: skip
    started = time.perf_counter()
    try:
        observations = list(CHECKS[check](session, built))
    except Unsupported as error:
        store.add_records([context.without_comparison(check, Verdict.UNSUPPORTED, str(error))])
        return
    except Exception:
        seconds = time.perf_counter() - started
        store.add_records([context.without_comparison(check, Verdict.CRASHED, _last_error(), seconds)])
        return
    seconds = time.perf_counter() - started
    records = _records(context, check, compare(observations, expected), bounds, seconds)
    store.add_records(records)
    if check == "free_running":
        store.add_curve_points(_curve_points(context, built.problem, observations))
    if check == "free_running" or any(record.verdict not in NOT_FAILING for record in records):
        store.save_tensors(trace_name(context.recipe.name, context.dtype, context.implementation, check),
                           _trace(observations))  # fmt: skip


def _records(
    context: Context, check: str, comparisons: Iterator[Comparison], bounds: dict[ceilings.Place, Ceiling],
    seconds: float,
) -> list[Record]:  # fmt: skip
    """One record for each tensor: of its steps, the first that fails, else the first inconclusive, else the worst."""
    by_tensor: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        by_tensor.setdefault((comparison.key.stage, comparison.key.tensor), []).append(comparison)
    chosen = [_most_telling(steps) for steps in by_tensor.values()]
    chosen.sort(key=lambda comparison: STAGES.index(comparison.key.stage))
    records = []
    for comparison in chosen:
        ceiling = bounds.get((comparison.key.stage, comparison.key.tensor), NO_CEILING)
        records.append(context.record(check, under_ceiling(comparison, ceiling), seconds / len(chosen), ceiling))
    return records


def _most_telling(steps: list[Comparison]) -> Comparison:
    steps = sorted(steps, key=lambda comparison: comparison.step)
    for comparison in steps:
        if comparison.verdict not in NOT_FAILING:
            return comparison
    for comparison in steps:
        if comparison.verdict == Verdict.INCONCLUSIVE:
            return comparison
    return max(steps, key=lambda comparison: comparison.error / comparison.allowance)


def _curve_points(context: Context, problem: Problem, observations: list[Observation]) -> Iterator[CurvePoint]:
    row = (context.recipe.name, context.implementation, context.dtype)
    epochs = next(len(o.value) for o in observations if o.key.tensor == "cost") // problem.batches_per_epoch
    for key, value, _ in observations:
        if key.kind == "curve":
            for step, number in enumerate(np.asarray(value, np.float64), start=key.step):
                yield CurvePoint(*row, "step", step, key.tensor, float(number))
            if key.tensor == "cost":
                means = np.asarray(value, np.float64).reshape(epochs, -1).mean(axis=1)
                for epoch, number in enumerate(means, start=1):
                    yield CurvePoint(*row, "epoch", epoch, "mean cost", float(number))
        elif key.kind == "decision":
            for quantity, number in _accuracies(problem, key.tensor, np.asarray(value)):
                yield CurvePoint(*row, "epoch", epochs, quantity, number)


def _accuracies(problem: Problem, tensor: str, classes: Array) -> Iterator[tuple[str, float]]:
    """Accuracy in per cent (of several labels: the share that is right); also without leaked test rows, if any."""
    dataset = problem.dataset
    if tensor == "predicted classes (training)":
        yield "training accuracy", 100 * float(np.mean(classes == dataset.train_y))
    elif tensor == "predicted classes (test)":
        correct = classes == dataset.test_y
        yield "test accuracy", 100 * float(np.mean(correct))
        if dataset.leaked_test_rows.size:
            kept = np.delete(correct, dataset.leaked_test_rows, axis=0)
            yield "test accuracy without leaked rows", 100 * float(np.mean(kept))


def _trace(observations: list[Observation]) -> Tensors:
    return {f"{o.key.stage}|{o.key.step}|{o.key.tensor}": np.asarray(o.value) for o in observations}


def _last_error() -> str:
    """The error and the place it came from, on one line."""
    kind, error, trace = sys.exc_info()
    place = traceback.extract_tb(trace)[-1]
    return " ".join(
        f"{kind.__name__ if kind else 'Error'}: {error} ({Path(place.filename).name}:{place.lineno})".split()
    )


class Teller:
    """Writes events to the parent: the process's own standard output, kept out of reach of anything that prints."""

    def __init__(self) -> None:
        self._stream: IO[str] = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def __call__(self, **event: Any) -> None:
        self._stream.write(json.dumps(event) + "\n")


def main(arguments: list[str]) -> None:
    """Entry of a worker process; see the module docstring."""
    tell = Teller()
    plan_path, role, target, share = arguments
    plan = Plan.read(Path(plan_path))
    store = Store(plan.folder)
    part, _, parts = share.partition("/")
    if role == "oracle":
        make_cases(plan, store, tell, (int(part), int(parts)))
    else:
        try:
            adapter = load(target)(plan.device)
        except (DeviceNotFound, ValueError) as error:
            tell(event="bad input", message=str(error))
            return
        tell(event="ready")
        if share != "probe":
            check_implementation(plan, store, tell, (int(part), int(parts)), role, adapter)
    tell(event="end")


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # frameworks take up to a second to tear themselves down, and nothing is left to lose
