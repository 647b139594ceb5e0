"""What a run runs on: the environment of its worker processes, and what is written down of the machine."""

import hashlib
import os
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from conformance.faults.injection import PACKAGES as OURS
from conformance.runs.plan import Plan

PACKAGES = ("numpy", "pandas", "scikit-learn", "torch", "tensorflow-cpu", "tensorflow", "jax", "jaxlib", "optax")

SOURCES = (".py", ".toml", ".json", ".gz")  # of code, and of what it looks up

# One thread a process: two workers side by side are faster than one with two threads, and sums keep their order.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # Two workers share a GPU: neither takes all of its memory, as JAX and TensorFlow by default do.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "PYTHONWARNINGS": "ignore",
}


def environment(plan: Plan) -> dict[str, Any]:
    """What the run runs on, and what was asked of it."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **state(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "worker_environment": dict(WORKER_ENVIRONMENT),
        "device": plan.device,
        "dtypes": plan.dtypes,
        "implementations": plan.implementations,
        "pythons": plan.pythons,
    }


def state() -> dict[str, Any]:
    """What must be the same wherever a part of a run is made, and whenever it is gone on with."""
    return {"python": platform.python_version(), "packages": installed(), "source": source_digest()}


def installed() -> dict[str, str]:
    """The versions of those packages that a result may depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def source_digest(*packages: str) -> str:
    """A digest of the sources of packages, so that results of one state are not taken for another's.

    Without any named: of the harness and of the four implementations.
    """
    digest = hashlib.sha256()
    for package in packages or ("conformance", *OURS.values()):
        found = find_spec(package)
        assert found is not None
        assert found.origin is not None
        for path in sorted(path for path in Path(found.origin).parent.rglob("*") if path.suffix in SOURCES):
            digest.update(path.read_bytes())
    return digest.hexdigest()
