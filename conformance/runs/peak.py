"""The most memory that a process has held. Imports next to nothing: it can be asked before anything is loaded."""

import resource
import sys


def peak_mib() -> float:
    """The most memory that this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
