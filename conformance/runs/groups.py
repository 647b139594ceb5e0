"""A worker with everything that it started: its group of processes, and those that have left the group."""

import contextlib
import os
import signal
from pathlib import Path

import psutil


def kill_group(number: int) -> None:
    """End a group of processes, if there still is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(number, signal.SIGKILL)


def kill_all_of(group: int, temporary: Path) -> None:
    """End a group, and the processes elsewhere whose temporary files go into ``temporary`` or below it."""
    kill_group(group)
    kill_below(temporary)


def kill_below(temporary: Path) -> None:
    """End the processes whose temporary files go into ``temporary`` or below it.

    A daemon leaves its group and its parent; the environment that it was born with goes with it.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.environ().get("TMPDIR", "/")).is_relative_to(temporary):
                process.kill()
