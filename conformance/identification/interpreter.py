"""Which Python asks a target: this one, or that of another environment, which needs NumPy and the target's framework.

Another interpreter imports this project's own source, and nothing else of this environment.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from conformance.runs.environment import WORKER_ENVIRONMENT

SOURCE = "source"  # in the scratch folder: links to what another interpreter imports of this project
PACKAGES = ("conformance", "reference_numpy")
ROOT = Path(__file__).parents[2]


class Interpreter(NamedTuple):
    """An interpreter by its path."""

    python: str = sys.executable

    @property
    def own(self) -> bool:
        """Whether it is the one that runs this."""
        return self.python == sys.executable

    def environment(self, scratch: Path) -> Mapping[str, str]:
        """What its processes have in their environment beside what this one has."""
        if self.own:
            return WORKER_ENVIRONMENT
        source = scratch / SOURCE
        source.mkdir(exist_ok=True)
        for package in PACKAGES:
            if not (source / package).exists():
                (source / package).symlink_to(ROOT / package, target_is_directory=True)
        return {**WORKER_ENVIRONMENT, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
