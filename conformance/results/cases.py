"""The cases of a run in its store: the oracle's worker leaves them, everybody else reads them.

A case is kept whole, its data and its tape with it, so that nothing is loaded or drawn a second time. Data are kept
once for all recipes that use the same.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from conformance.checks import case as cases
from conformance.checks.case import Case
from conformance.checks.observation import Seen
from conformance.data.datasets import Dataset
from conformance.problems.preparation import assemble
from conformance.problems.problem import Problem
from conformance.problems.tape import Tape
from conformance.recipes.parts import DatasetChoice
from conformance.recipes.recipe import Recipe
from conformance.results.grammar import (
    Tree,
    flatten,
    lost_as_text,
    lost_from_text,
    observations,
    observed_tree,
    unflatten,
)
from conformance.results.traces import StoreError, Traces, told
from conformance.verdicts import ceilings
from conformance.verdicts.ceilings import Ceilings
from conformance.verdicts.compare import Expectation
from conformance.verdicts.floors import Expectations


@dataclass(frozen=True)
class StoredCase:
    """A case, what is expected in it of each check, and the ceilings of what is looked at."""

    case: Case
    expectations: Expectations
    ceilings: Ceilings

    @property
    def problem(self) -> Problem:
        """The problem of the case."""
        return self.case.problem


def save_case(store: Traces, stored: StoredCase) -> None:
    """Keep a case in the store. Raises OSError."""
    problem = stored.problem
    name = _case_name(problem.recipe, problem.working_dtype.name)
    data = _data_name(problem.recipe.dataset)
    if not store.has_tensors(data):
        store.save_tensors(data, *_dataset_tensors(problem.dataset))
    tree = {"case": cases.as_tree(stored.case), "tape": _tape_tree(problem.tape)}
    facts = {"data": data, "ceilings": ceilings.pack(stored.ceilings)}
    for check, expected in stored.expectations.items():
        values, keys = observed_tree(expectation.observation for expectation in expected)
        tree[f"check {check}"] = {
            place: {**arrays, "floor": expectation.floor, "overflown": expectation.overflown}
            for (place, arrays), expectation in zip(values.items(), expected, strict=True)
        }
        facts[f"check {check}"] = keys
        facts[f"events {check}"] = json.dumps(dict(expected[0].events)) if expected else "{}"
    store.save_tensors(name, flatten(tree), facts)


def load_case(store: Traces, recipe: Recipe, dtype: str) -> StoredCase:
    """Read what :func:`save_case` kept. Raises StoreError if it is not there or cannot be read."""
    name = _case_name(recipe, dtype)
    tensors, facts = store.load(name)
    try:
        return _stored_case(store, recipe, dtype, unflatten(tensors), facts)
    except (LookupError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise StoreError(f"{store.trace(name)}: cannot be read: {told(error)}") from error


def _stored_case(store: Traces, recipe: Recipe, dtype: str, tree: Tree, facts: dict[str, str]) -> StoredCase:
    tape = _tape(tree.get("tape", {}))
    problem = assemble(recipe, _dataset(store, facts["data"]), tape, dtype)
    expectations = {
        check: _expectations(problem, tree.get(f"check {check}", {}), facts[f"check {check}"], facts[f"events {check}"])
        for check in (fact.removeprefix("check ") for fact in facts if fact.startswith("check "))
    }
    return StoredCase(cases.from_tree(problem, tree["case"]), expectations, ceilings.unpack(facts["ceilings"]))


def case_files(recipe: Recipe, dtype: str) -> tuple[str, str]:
    """The names of a case's files: its own, and that of its data, which others may share."""
    return _case_name(recipe, dtype), _data_name(recipe.dataset)


def seal_case(store: Traces, recipe: Recipe, dtype: str) -> str:
    """What tells a case from one that somebody changed: the digests of its files. Raises StoreError."""
    return json.dumps({name: store.digest(name) for name in case_files(recipe, dtype)})


def check_seal(store: Traces, recipe: Recipe, dtype: str, seal: str) -> None:
    """Raise StoreError unless a case is as it was when it was sealed."""
    if seal_case(store, recipe, dtype) != seal:
        raise StoreError(f"{store.trace(_case_name(recipe, dtype))}: was changed after the oracle had made it")


def save_seen(store: Traces, recipe: str, dtype: str, implementation: str, check: str, seen: Seen) -> None:
    """Keep all that a check saw of an implementation."""
    tree, keys = observed_tree(seen.observations)
    facts = {"keys": keys, "lost": lost_as_text(seen.lost)}
    store.save_tensors(seen_file(recipe, dtype, implementation, check), flatten(tree), facts)


def load_seen(store: Traces, recipe: str, dtype: str, implementation: str, check: str) -> Seen:
    """What :func:`save_seen` kept; nothing if nothing was. Raises StoreError for what is no such thing."""
    name = seen_file(recipe, dtype, implementation, check)
    if not store.has_tensors(name):
        return Seen([], [])
    arrays, facts = store.load(name)
    try:
        return Seen(observations(unflatten(arrays), facts["keys"]), lost_from_text(facts["lost"]))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{store.trace(name)}: cannot be read: {told(error)}") from error


def _case_name(recipe: Recipe, dtype: str) -> str:
    return f"{recipe.name}.{dtype}.case"


def seen_file(recipe: str, dtype: str, implementation: str, check: str) -> str:
    """The name of the file that keeps what a check saw."""
    return f"{recipe}.{dtype}.{implementation}.{check}"


def _data_name(choice: DatasetChoice) -> str:
    digest = hashlib.sha256(choice.model_dump_json().encode()).hexdigest()[:12]
    return f"data-{choice.name}-{digest}"


def _dataset_tensors(dataset: Dataset) -> tuple[dict[str, Any], dict[str, str]]:
    """A data set's arrays, and what else there is of it as text."""
    values = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    others = {name: value for name, value in values.items() if name not in arrays}
    return arrays, {"dataset": json.dumps(others)}


def _dataset(store: Traces, name: str) -> Dataset:
    arrays, facts = store.load(name)
    others: dict[str, Any] = json.loads(facts["dataset"])
    shape = others["image_shape"]
    others |= {
        "image_shape": None if shape is None else tuple(shape),
        "class_names": tuple(others["class_names"]),
    }
    values: dict[str, Any] = {**arrays, **others}
    return Dataset(**values)


def _tape_tree(tape: Tape) -> Tree:
    single = {"batch_order": tape.batch_order, "example_weights": tape.example_weights}
    return {
        "initial_parameters": tape.initial_parameters,
        "dropout_masks": tape.dropout_masks,
        "augmentation_draws": dict(enumerate(tape.augmentation_draws)),
        **{name: array for name, array in single.items() if array is not None},
    }


def _tape(tree: Tree) -> Tape:
    draws = {int(number): drawn for number, drawn in tree.get("augmentation_draws", {}).items()}
    return Tape(
        tree.get("initial_parameters", {}),
        tree.get("batch_order"),
        {int(place) if place.isdecimal() else place: masks for place, masks in tree.get("dropout_masks", {}).items()},
        [draws[number] for number in sorted(draws)],
        tree.get("example_weights"),
    )


def _expectations(problem: Problem, tree: Tree, keys: str, events: str) -> list[Expectation]:
    by_step = {int(step): text for step, text in json.loads(events).items()}
    unit, dtype, found = problem.unit_roundoff, problem.dtype, []
    for place, seen in enumerate(observations(tree, keys)):
        kept = tree[str(place)]
        found.append(Expectation(seen, kept["floor"], by_step, unit, dtype, kept["overflown"]))
    return found
