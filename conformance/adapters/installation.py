"""How a missing part is installed. Imports nothing: what says that packages are missing cannot need them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def install_command(extra: str, root: Path = ROOT) -> str:
    """The command that installs an extra of this project: from the checkout where this is one, else by its name."""
    checkout = (root / "pyproject.toml").is_file()
    return f"pip install '.[{extra}]'" if checkout else f"pip install 'framework-conformance[{extra}]'"
