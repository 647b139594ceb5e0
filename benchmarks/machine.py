"""What the numbers are of: processor, cores, versions. No name of a host, no path."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scikit-learn", "torch", "tensorflow", "keras", "jax", "optax", "flax")


def describe(device: str) -> dict[str, Any]:
    """The processor, how many cores there are, Python's and the packages' versions, and how busy the machine is."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
        "device": device,
        "load before": round(os.getloadavg()[0], 1),
    }


def processor() -> str:
    """Its model, as Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def installed(package: str) -> str | None:
    """Its version; TensorFlow's may be that of the build for the CPU."""
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
