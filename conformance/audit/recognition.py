"""The diagnosis tested: every mutant is injected into an implementation, and must be explained under its own name.

What the checks see is explained as a run's failure is, in the same process and without a store. In a framework the
gradient follows the forward pass by itself; a mutant of the reference whose gradient does not is not recognised there.

``python -m conformance.audit.recognition IMPLEMENTATION SHARE`` tries a share (``part/parts``) of the mutants in a
process of its own and prints one JSON object a line; ``conformance mutants --explain`` collects them.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from conformance.adapters.session import Adapter
from conformance.audit.mutation import Tell, edits_of, in_processes, injected_in, recipe_of, situation, untold
from conformance.checks import CHECKS
from conformance.checks.observation import Key
from conformance.diagnosis.candidates import singles
from conformance.diagnosis.evidence import Evidence, First
from conformance.diagnosis.explanation import Explanation
from conformance.diagnosis.inquiry import Inquiry
from conformance.diagnosis.workshop import Observations, Workshop
from conformance.faults.injection import injected
from conformance.faults.mutant import Mutant
from conformance.recipes.recipe import Recipe
from conformance.runs.pool import Progress
from conformance.verdicts.compare import NOT_FAILING, Comparison, Verdict, compare
from conformance.verdicts.order import first_failing


class Recognition(NamedTuple):
    """What was said of one mutant in one implementation and precision.

    ``recognised``: whether the first cause is the mutant, or computes the same to the last digit. ``causes`` are all
    that were given; without any, ``nearest`` is what came nearest. ``where``: check, stage and tensor of the first
    divergence, "" if no check failed.
    """

    mutant: str
    implementation: str
    dtype: str
    recognised: bool
    causes: list[str]
    nearest: str
    where: str


def recognitions(mutants: Iterable[Mutant], implementation: str, dtype: str = "float64") -> Iterator[Recognition]:
    """Inject each mutant that is a fault in this precision, and ask why the implementation leaves the oracle.

    They come by their recipes, so that what candidates make of one is made once.
    """
    chosen = [mutant for mutant in mutants if dtype in mutant.dtypes]
    for mutant in sorted(chosen, key=lambda mutant: recipe_of(mutant).hash):
        with injected(implementation, *edits_of(mutant, implementation)) as adapter:
            inquiry = inquiry_into(recipe_of(mutant), implementation, dtype, adapter("cpu"))
        if inquiry is None:
            yield Recognition(mutant.name, implementation, dtype, False, [], "", "")
        else:
            yield _recognition(mutant, implementation, dtype, inquiry)


def _recognition(mutant: Mutant, implementation: str, dtype: str, inquiry: Inquiry) -> Recognition:
    found: Explanation = inquiry.explanation()
    known = {candidate.description: candidate for candidate in singles(inquiry.recipe)}
    own = known[f"the fault {mutant.name!r}"]
    first = known.get(found.causes[0].description) if found.causes else None
    recognised = first is not None and (first == own or inquiry.workshop.alike(first, own))
    place = found.divergence
    return Recognition(
        mutant.name, implementation, dtype, recognised, [cause.description for cause in found.causes],
        found.nearest.description if found.nearest else "", f"{place.check}: {place.stage} {place.tensor}".strip(),
    )  # fmt: skip


def inquiry_into(recipe: Recipe, implementation: str, dtype: str, adapter: Adapter) -> Inquiry | None:
    """The inquiry into what an implementation makes of a recipe; None if no check fails."""
    case, expected = situation(recipe, dtype)
    observed: dict[str, Observations] = {}
    crashed: set[str] = set()
    failures: list[First] = []
    for check, observe in CHECKS.items():
        try:
            with np.errstate(all="ignore"):  # a fault may divide by 0
                found = {o.key: o for o in observe(adapter.session(case.problem), case)}
        except Exception as error:  # as in a run, a crash is a failure like others
            crashed.add(check)
            failures.append(First(check, str(Verdict.CRASHED), f"{type(error).__name__}: {error}"))
            continue
        failing = [c for c in compare(found.values(), expected[check]) if c.verdict not in NOT_FAILING]
        if failing:
            observed[check] = found
            failures.append(_first(check, first_failing(failing)))
    if not failures:
        return None
    evidence = Evidence(
        recipe, implementation, dtype, expected, observed, frozenset(CHECKS), frozenset(crashed), failures[0]
    )
    return Inquiry(evidence, _workshop(recipe, dtype))


def _first(check: str, comparison: Comparison | None) -> First:
    assert comparison is not None
    key: Key = comparison.key
    return First(check, str(comparison.verdict), comparison.cause, key.stage, comparison.step, key.tensor)


@lru_cache(maxsize=1)
def _workshop(recipe: Recipe, dtype: str) -> Workshop:
    return Workshop(situation(recipe, dtype)[0].in_float64())


def try_all(implementations: Iterable[str], progress: Progress, tell: Tell = untold) -> list[Recognition]:
    """Inject and explain every mutant, in processes of their own. Raises Incomplete if one of them dies.

    What is said of each is told as soon as it is.
    """
    lines = in_processes("conformance.audit.recognition", implementations, (), progress, tell)
    return [Recognition(**line) for line in lines]


def score(found: list[Recognition]) -> list[str]:
    """For each implementation how many mutants were explained under their own name, and which were not."""
    lines = []
    for implementation in dict.fromkeys(recognition.implementation for recognition in found):
        mine = [recognition for recognition in found if recognition.implementation == implementation]
        known = sum(recognition.recognised for recognition in mine)
        lines.append(f"{implementation}: {known} of {len(mine)} mutants explained under their own name")
        lines += [f"  not: {_said(recognition)}" for recognition in mine if not recognition.recognised]
    return lines


def _said(recognition: Recognition) -> str:
    if not recognition.where:
        return f"{recognition.mutant}: no check failed"
    said = " or ".join(recognition.causes) or f"unexplained, nearest {recognition.nearest or 'nothing'}"
    return f"{recognition.mutant} ({recognition.where}): {said}"


def main(implementation: str, share: str) -> None:
    """Try a share of the mutants, and print what came out, a line each."""
    part, _, parts = share.partition("/")
    chosen = sorted(injected_in(implementation), key=lambda mutant: recipe_of(mutant).hash)
    size = -(-len(chosen) // int(parts))  # neighbours, which share recipes
    for recognition in recognitions(chosen[int(part) * size :][:size], implementation):
        print(json.dumps(recognition._asdict()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
