"""The trainings of two dialects, made in a process of their own, watched, and ended with what it started."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from conformance.adapters.registry import available
from conformance.equivalence.asking import Asked
from conformance.equivalence.trainings import Pair, Trained
from conformance.equivalence.worker import ANSWER, REQUEST
from conformance.runs.answers import Limits, next_message
from conformance.runs.outcome import BadInput, Incomplete
from conformance.runs.pool import Progress
from conformance.runs.process import Events, WorkerProcess

SECONDS = 900.0  # that the trainings of one seed may take


class TrainingProcess(WorkerProcess):
    """The process in which two dialects are trained."""

    module = "conformance.equivalence.worker"


def train_all(asked: Asked, limits: Limits, progress: Progress) -> list[list[Pair]]:
    """For each situation the pairs of trainings, in the order of the seeds.

    Raises BadInput for data or an implementation that cannot be had, Incomplete where the process ends or takes longer
    for a seed, or more memory, than the limits say.
    """
    request = {
        "situations": [[recipe.model_dump(mode="json") for recipe in each.recipes] for each in asked.situations],
        "seeds": list(asked.seeds),
        "dtype": asked.dtype,
    }
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        scratch, events = Path(folder), Events()
        (scratch / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        target = available()[asked.implementation]
        process = TrainingProcess(asked.implementation, target, scratch, scratch, scratch / "log", events)
        try:
            _await(process, events, asked, limits, progress)
        finally:
            process.kill()
        with np.load(scratch / ANSWER, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    return [[_pair(arrays, number, seed) for seed in asked.seeds] for number in range(len(asked.situations))]


def _await(process: WorkerProcess, events: Events, asked: Asked, limits: Limits, progress: Progress) -> None:
    """Wait for the end of all trainings."""
    total, done = len(asked.situations) * len(asked.seeds), 0
    progress(asked.implementation, done, total)
    while True:
        message = next_message(process, events, limits, asked.implementation)
        if message["kind"] == "done":
            return
        if message["kind"] in ("bad input", "refused"):
            raise BadInput(str(message["text"]))
        if message["kind"] != "trained":
            raise Incomplete(f"{asked.implementation}: {message.get('text', 'said nothing that can be understood')}")
        done += 1
        progress(asked.implementation, done, total)


def _pair(arrays: dict[str, Any], situation: int, seed: int) -> Pair:
    fields = ("first", "second", "accuracies", "rounding", "sizes")
    one, other, accuracies, rounding, sizes = (arrays[f"{situation}.{seed}.{field}"] for field in fields)
    first, second = accuracies.tolist()
    return Pair(seed, Trained(one, first), Trained(other, second), rounding, *map(int, sizes))
