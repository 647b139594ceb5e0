"""How a folder is named to people."""

from pathlib import Path


def short(folder: Path) -> Path:
    """The folder as seen from the working folder, if it is below that."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
