"""What ``conformance record`` writes: a recipe's tape, to be replayed by any program, and the reference's trace."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Session, State
from conformance.checks import case as cases
from conformance.checks import free_running, initialization
from conformance.checks.case import Case
from conformance.exchange import situations
from conformance.exchange.files import write_tensors
from conformance.exchange.names import SETS, flat
from conformance.exchange.trace import FORMAT, STEM, TAPE_FILE
from conformance.problems.preparation import prepare
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array
from conformance.recipes.recipe import Recipe
from conformance.recipes.writing import as_toml
from conformance.results.grammar import Tree

RECIPE_FILE = "recipe.toml"


@np.errstate(all="ignore")  # a training may diverge
def record(recipe: Recipe, dtype: str, folder: Path) -> list[Path]:
    """Write a recipe, its tape and the reference's trace into a folder. Returns the files.

    Args:
        recipe: what is trained.
        dtype: the precision of the tape and of the reference's trace, ``float64`` or ``float32``.
        folder: a new or empty one.

    Raises DataError where the data cannot be had, OSError where the folder cannot be written.
    """
    problem = prepare(recipe, dtype)
    case = cases.build_case(problem, NumpySession(problem.in_float64()))
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in (RECIPE_FILE, TAPE_FILE, f"{STEM}.safetensors", f"{STEM}.json")]
    files[0].write_text(as_toml(recipe), encoding="utf-8")
    write_tensors(files[1], flat(tape(case)))
    write_tensors(files[2], flat(trace(NumpySession(problem), case)))
    facts = {"format": FORMAT, "recipe": recipe.hash, "versions": {"numpy": np.__version__}}
    files[3].write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return files


def tape(case: Case) -> Tree:
    """All that an implementation is given: the data, the draws of a training in steps, and the case's questions."""
    problem, last = case.problem, range(case.problem.steps)
    rows = _in_steps(problem, np.arange(len(problem.train_x))[None].repeat(problem.recipe.epochs, axis=0))
    if problem.tape.batch_order is not None:
        rows = _in_steps(problem, problem.tape.batch_order)
    raw, draws = (problem.raw_train_x, problem.raw_test_x), problem.draws(0)
    asked = situations.questions(case)
    if problem.dataset.scaling == "standardize":
        asked["standardize"] = dict(zip(("train_x", "test_x"), raw, strict=True))
    if draws:
        asked["augment"] = {"x": problem.plain_inputs(0), "draw": dict(enumerate(draws))}
    found: Tree = {
        "x": problem.train_x, "y": _plain(problem.train_y), "test_x": problem.test_x, "test_y": _plain(problem.test_y),
        "batch": rows.astype(np.int32),
        "mask": {
            layer: np.maximum(_in_steps(problem, mask.astype(np.int8)), 0).astype(np.uint8)
            for layer, mask in problem.tape.dropout_masks.items()
        },
        "initial": problem.tape.initial_parameters,
        "ask": asked,
    }  # fmt: skip
    if problem.train_weights is not None:
        found["weight"] = problem.train_weights
    if draws:  # the inputs of every step as they are after augmentation
        longest = max(len(problem.batch(step).x) for step in last)
        found["input"] = np.zeros((problem.steps, longest, problem.features), problem.dtype)
        for step in last:
            x = problem.batch(step).x
            found["input"][step, : len(x)] = x
    return found


def trace(session: Session, case: Case) -> Tree:
    """What a session computes in a training of its own, and its answers to all of a case's questions."""
    return {**_training(session, case.problem), "answer": _answers(session, case)}


def _training(session: Session, problem: Problem) -> Tree:
    found = free_running.train(session, problem)
    watched = free_running.watched_epochs(problem)
    slots, statistics = found.checkpoint_slots or {}, found.checkpoint_statistics or {}
    step: dict[int, Tree] = {
        epoch * problem.batches_per_epoch: {
            "parameter": parameters, "slot": slots.get(epoch, {}), "statistic": statistics.get(epoch, {}),
            "class": _classes(session, problem, parameters, {}) if epoch in watched else {},
        } for epoch, parameters in found.checkpoints.items()
    }  # fmt: skip
    end = {
        "parameter": found.parameters, "slot": found.slots, "statistic": found.statistics,
        "class": _classes(session, problem, found.parameters, found.statistics),
    }  # fmt: skip
    curves = {name: getattr(found, name) for name in ("costs", "learning_rates", "gradient_norms")}
    if problem.validation is not None:
        curves["validation_costs"] = found.validation_costs
    if problem.stops_early:
        curves["best_epoch"] = np.asarray(found.best_epoch)
    return {**curves, "step": step, "end": end}


def _classes(session: Session, problem: Problem, parameters: Any, statistics: Any) -> Tree:
    if not problem.recipe.decides_classes:
        return {}
    sets = zip(SETS, (problem.train_x, problem.test_x), strict=True)
    return {name: session.predict_classes(parameters, x, statistics) for name, x in sets}


def _answers(session: Session, case: Case) -> Tree:
    problem = case.problem
    seed = problem.recipe.seed
    answers: Tree = {
        "point": {step: _at_point(session, problem, *point) for step, point in case.points.items()},
        "step": {},
        "exercise": {},
        "draw": {"x".join(map(str, s)): session.draw_weights(s, seed + i) for i, s in enumerate(initialization.SHAPES)},
    }
    for state in case.trajectory:
        made = cases.take_step(session, problem, state)
        clipped = {} if made.clipped is made.gradients else {"clipped": made.clipped}
        answers["step"][state.step] = {
            "cost": made.cost, "gradient": made.gradients, **clipped, "slot": made.updated.slots,
            "parameter": problem.trained(made.updated.parameters), "statistic": made.updated.statistics,
        }  # fmt: skip
    rate = float(problem.recipe.optimizer.keywords["learning_rate"])
    for exercise in case.exercises:
        before = State(exercise.step - 1, exercise.slots)
        parameters, after = session.optimizer_step(exercise.parameters, exercise.gradients, before, rate)
        answers["exercise"][exercise.step] = {"parameter": parameters, "slot": after.slots}
    if problem.dataset.scaling == "standardize":
        answers["standardize"] = session.standardize(problem.raw_train_x, problem.raw_test_x)
    if problem.tape.augmentation_draws:
        answers["augment"] = session.augment(problem.plain_inputs(0), problem.draws(0))
    return answers


def _at_point(session: Session, problem: Problem, parameters: Any, statistics: Any) -> Tree:
    first = problem.batch(0)
    found: Tree = {"inference": session.intermediates(parameters, first.x, None, statistics), "batch": {}}
    if first.masks or statistics:
        found["training"] = session.intermediates(parameters, first.x, first.masks, None)
    if statistics:
        found["statistic"] = session.running_statistics(parameters, first.x, first.masks, statistics)
    for place in cases.places(problem).values():
        batch = problem.batch(place)
        found["batch"][place] = {
            "loss": session.losses(parameters, *batch),
            "gradient": {name: g for name, g in session.gradients(parameters, *batch).items() if name != "cost"},
        }
    return found


def _in_steps(problem: Problem, by_epoch: Array) -> Array:
    """An array ``(epochs, m, ...)`` as ``(steps, size, ...)``; what the last batch of an epoch lacks is -1."""
    epochs, examples, *rest = by_epoch.shape
    size = problem.recipe.batch_size or examples
    padded = np.full((epochs, problem.batches_per_epoch * size, *rest), -1, by_epoch.dtype)
    padded[:, :examples] = by_epoch
    return padded.reshape(problem.steps, size, *rest)


def _plain(y: Array) -> Array:
    """Labels as 32-bit integers, which every language has."""
    return y.astype(np.int32) if y.dtype.kind in "iu" else y
