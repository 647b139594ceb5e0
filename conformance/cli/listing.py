"""The rows of ``conformance list``."""

from collections.abc import Callable
from functools import partial

from conformance.recipes import coverage, suites
from conformance.recipes.catalogue import KINDS, Rows, components, first_line

MISSING_SHOWN = 3  # values or pairs that a suite lacks, in a row of the coverage; the number tells how many there are


def listing(what: str) -> Rows:
    """The rows of ``conformance list WHAT``. Raises ValueError for an unknown WHAT."""
    if what not in LISTINGS:
        raise ValueError(f"WHAT={what!r} is not allowed: must be one of {', '.join(map(repr, LISTINGS))}")
    return LISTINGS[what]()


def _datasets() -> Rows:
    from conformance.data.datasets import DATASETS

    return [
        {"name": info.name, "kind": info.kind, "task": info.task, "description": info.description}
        for info in DATASETS.values()
    ]


def _checks() -> Rows:
    from conformance.checks import CHECKS

    return [
        {"name": name, "description": first_line(__import__(check.__module__, fromlist=["observe"]))}
        for name, check in CHECKS.items()
    ]


def _suites() -> Rows:
    return [
        {"name": name, "recipes": str(len(recipes)), "description": suites.SUITE_DESCRIPTIONS[name]}
        for name, recipes in suites.SUITES.items()
    ]


def _dialects() -> Rows:
    from conformance.recipes.dialects import dialects

    return [
        {
            "dialect": f"{found.framework}.{found.builtin}",
            "optimizer": found.optimizer,
            "keywords": ", ".join(f"{name}={value!r}" for name, value in found.keywords.items()),
            "note": found.note,
        }
        for found in dialects()
    ]


def _coverage() -> Rows:
    return [
        {
            "suite": name,
            "factors": row.factors,
            "covered": str(row.held),
            "allowed": str(row.allowed),
            "missing": "; ".join(row.missing[:MISSING_SHOWN]) + (" ..." if len(row.missing) > MISSING_SHOWN else ""),
        }
        for name in suites.SUITES
        for row in coverage.coverage(suites.suite(name))
    ]


def _implementations() -> Rows:
    from conformance.adapters.registry import available

    return [{"name": name, "adapter": target} for name, target in available().items()]


LISTINGS: dict[str, Callable[[], Rows]] = {
    **{kind: partial(components, table) for kind, table in KINDS.items()},
    "dialects": _dialects,
    "datasets": _datasets,
    "checks": _checks,
    "suites": _suites,
    "coverage": _coverage,
    "implementations": _implementations,
}
