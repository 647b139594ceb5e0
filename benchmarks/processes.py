"""Fresh processes that measure, each with one thread."""

import json
import os
import subprocess
import sys
from typing import Any

from conformance.data.wording import one_line
from conformance.runs.environment import WORKER_ENVIRONMENT

# What is imported: by somebody who writes the loop, and by somebody who calls ``fit``.
IMPORTS = {
    framework: {name: [name], package: [f"{package}.{module}" for module in ("models", "optimizers", "training")]}
    for framework, name, package in (
        ("numpy", "numpy", "reference_numpy"),
        ("torch", "torch", "impl_torch"),
        ("tensorflow", "tensorflow", "impl_tf"),
        ("jax", "jax", "impl_jax"),
    )
}
FRAMEWORKS = tuple(IMPORTS)
ON_DEVICE = {"cpu": FRAMEWORKS, "gpu": tuple(name for name in FRAMEWORKS if name != "numpy")}
KERAS_EPOCHS = 20  # at most: each epoch of Keras's fit costs as much as many small steps
# What trains a dense network in each; the idioms have them under these names.
TRAINERS = {
    "numpy": ("fit", "best", "scikit-learn"),
    "torch": ("fit", "best", "usual"),
    "tensorflow": ("fit", "best", "usual", "keras fit"),
    "jax": ("fit", "best", "usual"),
}


# A program that was compiled before would make a first step too fast.
ENVIRONMENT = WORKER_ENVIRONMENT | {"JAX_ENABLE_COMPILATION_CACHE": "false"}


class WorkerError(RuntimeError):
    """A process ended with another status than 0."""


def findings(task: str, **order: Any) -> list[dict[str, Any]]:
    """What ``benchmarks.worker`` finds. Raises WorkerError, with the last line that it printed, where it fails."""
    command = [sys.executable, "-m", "benchmarks.worker", task, json.dumps(order)]
    ended = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise WorkerError(f"{task} {json.dumps(order)}: {one_line(said[-1])}")
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
