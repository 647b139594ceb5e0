"""What of this project is installed, and how the rest is. Imports nothing: what says so cannot need the packages."""

from importlib.util import find_spec
from pathlib import Path

FRAMEWORKS = {"numpy": "numpy", "torch": "torch", "tf": "tensorflow", "jax": "jax"}  # the project's own, as imported
TITLES = {"numpy": "NumPy", "torch": "PyTorch", "tf": "TensorFlow", "jax": "JAX"}  # as their own makers write them

ROOT = Path(__file__).parents[2]


def install_command(extra: str, root: Path = ROOT) -> str:
    """The command that installs an extra of this project: from the checkout where this is one, else by its name."""
    checkout = (root / "pyproject.toml").is_file()
    return f"pip install '.[{extra}]'" if checkout else f"pip install 'framework-conformance[{extra}]'"


def project_version() -> str:
    """The version of this project; ``unknown`` of a copy that was never installed."""
    from importlib.metadata import PackageNotFoundError, version  # it takes longer than all else here

    try:
        return version("framework-conformance")
    except PackageNotFoundError:
        return "unknown"


def installed() -> tuple[str, ...]:
    """Those of the project's own implementations whose framework is installed; none of them is imported."""
    return tuple(name for name, module in FRAMEWORKS.items() if find_spec(module) is not None)
