"""Which Python a worker runs in: this one, or that of another environment, which imports this project's own source.

Another environment needs what the worker imports beside this project: NumPy and a framework to be asked what a built-in
is, and for a run whatever the harness imports.
"""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from conformance.faults.injection import PACKAGES
from conformance.runs.environment import WORKER_ENVIRONMENT

SOURCE = "source"  # in the scratch folder: links to the packages of this project


class Interpreter(NamedTuple):
    """An interpreter by its path."""

    python: str = sys.executable

    @property
    def own(self) -> bool:
        """Whether it is the one that runs this."""
        return self.python == sys.executable

    def environment(self, scratch: Path) -> Mapping[str, str]:
        """What its processes have in their environment beside what this one has: of this one's packages no others."""
        if self.own:
            return WORKER_ENVIRONMENT
        source = scratch / SOURCE
        source.mkdir(exist_ok=True)
        for name in ("conformance", *PACKAGES.values()):
            found = find_spec(name)
            if found is not None and found.origin is not None and not (source / name).exists():
                (source / name).symlink_to(Path(found.origin).parent, target_is_directory=True)
        path = os.pathsep.join([str(source), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**WORKER_ENVIRONMENT, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


OWN = Interpreter()
