"""Groups of processes: a worker with everything that it started."""

import contextlib
import os
import signal


def kill_group(number: int) -> None:
    """End a group of processes, if there still is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(number, signal.SIGKILL)
