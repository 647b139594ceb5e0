"""The most memory that a process has held. Imports next to nothing: it can be asked before anything is loaded."""

import re
import resource
import sys
from pathlib import Path

_HELD = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_mib() -> float:
    """The most memory that this process has held, in MiB.

    Linux counts for ``getrusage`` also what the process that started this one had held by then, in ``/proc`` not.
    """
    try:
        held = _HELD.search(Path("/proc/self/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        held = None
    if held is not None:
        return int(held[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
