"""The tester tested: every mutant is injected, looked at by the checks, and must be caught by each check it names.

``python -m conformance.audit.mutation IMPLEMENTATION SHARE DTYPES`` tries a share (``part/parts``) of the mutants in a
process of its own and prints one JSON object a line; ``conformance mutants`` collects them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from tempfile import TemporaryFile
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Adapter
from conformance.checks import CHECKS
from conformance.checks.case import Case, build_case
from conformance.faults.injection import Edits, injected
from conformance.faults.mutant import Mutant
from conformance.faults.mutants import MUTANTS
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from conformance.recipes.recipe import Recipe
from conformance.runs.environment import WORKER_ENVIRONMENT
from conformance.runs.outcome import Incomplete
from conformance.runs.plan import processors
from conformance.runs.pool import Progress
from conformance.verdicts import floors
from conformance.verdicts.compare import NOT_FAILING, Comparison, compare
from conformance.verdicts.floors import Expectations

# Every mutant is another program, which JAX compiles for one training alone: without XLA's optimizations that takes a
# third of the time. tanh then differs by a few units in the last place, which is far below every fault.
ENVIRONMENT = WORKER_ENVIRONMENT | {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
    "JAX_ENABLE_COMPILATION_CACHE": "false",
}


# A process may map only so much memory, and each of JAX's programs takes some of it: 200 mutants are too many.
MOST_IN_A_PROCESS = 80

Tell = Callable[[dict[str, Any]], None]


def untold(line: dict[str, Any]) -> None:
    """What is found is told to nobody before all is."""


class Outcome(NamedTuple):
    """What one check saw of one mutant.

    ``margin`` is the largest error in allowances, infinite for what cannot be compared (NaN, a crash); ``where`` is the
    first tensor that failed, or the nearest to failing.
    """

    mutant: str
    implementation: str
    dtype: str
    check: str
    named: bool
    caught: bool
    margin: float
    where: str


def outcomes(mutants: Iterable[Mutant], implementation: str, dtypes: Iterable[str]) -> Iterator[Outcome]:
    """Inject each mutant into an implementation, in each of its precisions, and ask every check."""
    for mutant in mutants:
        with injected(implementation, *edits_of(mutant, implementation)) as adapter:
            made = adapter("cpu")
            for dtype in dtypes:
                if dtype in mutant.dtypes:
                    yield from _trial(mutant, implementation, made, dtype)


def _trial(mutant: Mutant, implementation: str, adapter: Adapter, dtype: str) -> Iterator[Outcome]:
    built, expectations = situation(recipe_of(mutant), dtype)
    for check, expected in expectations.items():
        try:
            with np.errstate(all="ignore"):  # a fault may divide by 0
                found = list(compare(CHECKS[check](adapter.session(built.problem), built), expected))
        except Exception as error:  # a fault may well make the code crash: then it is caught
            margin, caught, where = np.inf, True, f"{type(error).__name__}: {error}"
        else:
            margin, caught, where = _telling(found)
        yield Outcome(mutant.name, implementation, dtype, check, check in mutant.checks, caught, float(margin), where)


def _telling(found: list[Comparison]) -> tuple[float, bool, str]:
    """The largest margin, whether anything fails, and the first that does, or the nearest to it."""
    if not found:
        return 0.0, False, "nothing, since the check does not look at this recipe"
    telling = next((c for c in found if c.verdict not in NOT_FAILING), None) or max(found, key=_margin)
    where = f"{telling.key.stage} {telling.key.tensor}, step {telling.step}"
    return max(map(_margin, found)), telling.verdict not in NOT_FAILING, where


def recipe_of(mutant: Mutant) -> Recipe:
    """The recipe on which a mutant must be caught."""
    return recipe_with(mutant.where, **mutant.settings)


@cache
def situation(recipe: Recipe, dtype: str) -> tuple[Case, Expectations]:
    """The case of a recipe, and what the oracle saw in it with its allowances."""
    problem = prepare(recipe, dtype)
    case = build_case(problem, NumpySession(problem.in_float64()))
    return case, floors.measure(case)


def _margin(comparison: Comparison) -> float:
    if np.isnan(comparison.error):
        return np.inf
    return comparison.error / comparison.allowance


def injected_in(implementation: str) -> list[Mutant]:
    """The mutants that can be injected into an implementation."""
    return [mutant for mutant in MUTANTS if implementation == "numpy" or implementation in mutant.elsewhere]


def edits_of(mutant: Mutant, implementation: str) -> Edits:
    """The changes that make the fault in an implementation in which it can be injected."""
    return mutant.edits if implementation == "numpy" else mutant.elsewhere[implementation]


def missed(found: Iterable[Outcome]) -> list[Outcome]:
    """Outcomes of checks that should have caught a mutant and did not."""
    return [outcome for outcome in found if outcome.named and not outcome.caught]


def table(found: Iterable[Outcome]) -> list[dict[str, str]]:
    """A row for each mutant in each implementation: by which checks it was caught, and with what margin at least."""
    rows: dict[tuple[str, str], dict[str, list[Outcome]]] = {}
    for outcome in found:
        rows.setdefault((outcome.mutant, outcome.implementation), {}).setdefault(outcome.check, []).append(outcome)
    return [
        {
            "mutant": mutant,
            "implementation": implementation,
            "caught by": ", ".join(f"{c} {_least(o):.2g}" for c, o in checks.items() if all(x.caught for x in o)),
            "missed by": ", ".join(c for c, o in checks.items() if missed(o)) or "-",
        }
        for (mutant, implementation), checks in rows.items()
    ]


def score(found: list[Outcome]) -> list[str]:
    """For each implementation and precision how many mutants were caught by every check that must catch them."""
    lines = []
    for implementation, dtype in dict.fromkeys((o.implementation, o.dtype) for o in found):
        mine = [o for o in found if (o.implementation, o.dtype) == (implementation, dtype)]
        injected_here = {o.mutant for o in mine}
        caught = len(injected_here - {o.mutant for o in missed(mine)})
        smallest = min((o for o in mine if o.named), key=lambda o: o.margin)
        lines.append(
            f"{implementation}, {dtype}: {caught} of {len(injected_here)} mutants"
            f" ({100 * caught / len(injected_here):.1f} %) caught by every check that must catch them; the smallest"
            f" margin is {smallest.margin:.3g} allowances ({smallest.mutant}, {smallest.check})"
        )
    return lines


def _least(found: list[Outcome]) -> float:
    return min(outcome.margin for outcome in found)


def try_all(
    implementations: Iterable[str], dtypes: Iterable[str], progress: Progress, tell: Tell = untold
) -> list[Outcome]:
    """Inject every mutant into each implementation, in processes of its own. Raises Incomplete if one of them dies.

    Each outcome is told as soon as it is found.
    """
    lines = in_processes("conformance.audit.mutation", implementations, (",".join(dtypes),), progress, tell)
    return [Outcome(**line) for line in lines]


def in_processes(
    module: str, implementations: Iterable[str], arguments: tuple[str, ...], progress: Progress, tell: Tell
) -> list[dict[str, Any]]:
    """What ``module`` prints of every mutant, an object a line, by implementation and in the order of the mutants.

    It is run with an implementation, a share (``part/parts``) of its mutants and ``arguments``. Each object is told as
    it comes, one at a time. Raises Incomplete.
    """
    jobs = []
    for name in implementations:
        parts = max(processors(), -(-len(injected_in(name)) // MOST_IN_A_PROCESS))
        jobs += [(name, f"{part}/{parts}") for part in range(parts)]
    found: list[dict[str, Any]] = []
    done: dict[str, set[str]] = {name: set() for name, _ in jobs}
    one_at_a_time = Lock()

    def take(name: str, line: dict[str, Any]) -> None:
        found.append(line)
        done[name].add(line["mutant"])
        tell(line)
        progress(name, len(done[name]), len(injected_in(name)))

    def carry_out(job: tuple[str, str]) -> None:
        command = [sys.executable, "-m", module, *job, *arguments]
        with TemporaryFile("w+") as errors, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | ENVIRONMENT
        ) as process:  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                with one_at_a_time:
                    take(job[0], json.loads(line))
            if process.wait():
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["nothing on its standard error"])[-1]
                raise Incomplete(f"mutants of {job[0]}: exit status {process.returncode}: {last}")

    with ThreadPoolExecutor(processors()) as pool:
        list(pool.map(carry_out, jobs))
    places = {mutant.name: place for place, mutant in enumerate(MUTANTS)}
    names = list(done)
    return sorted(found, key=lambda line: (names.index(line["implementation"]), places[line["mutant"]]))


def main(implementation: str, share: str, dtypes: str, names: str = "") -> None:
    """Try a share of the mutants, or those named, and print what came out, a line each."""
    part, _, parts = share.partition("/")
    chosen = [mutant for mutant in injected_in(implementation) if not names or mutant.name in names.split("|")]
    for outcome in outcomes(chosen[int(part) :: int(parts)], implementation, dtypes.split(",")):
        print(json.dumps(outcome._asdict()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
