"""What cleans up after a run whose own process was killed: its workers, its scratch folder, its report.

A process of its own, which a kill of the run's does not reach. It reads from a pipe which groups of processes there
are; a pipe that closes without a farewell is that of a dead run.
"""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from conformance.runs.groups import kill_below, kill_group

FAREWELL = "farewell"


class Warden:
    """The run's end of the pipe.

    ``scratch``: what is removed. ``folder``: the run's, whose report is written; without one there is none.
    ``claim``: what holds the run's folder: the warden too, as long as it lives.
    """

    def __init__(self, scratch: Path, folder: Path | None = None, claim: int | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "conformance.runs.warden", str(scratch), *map(str, [folder] if folder else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            pass_fds=() if claim is None else (claim,),
        )

    def watch(self, group: int) -> None:
        """There is a new group of processes."""
        self._say(str(group))

    def forget(self, group: int) -> None:
        """A group of processes is no more."""
        self._say(f"-{group}")

    def dismiss(self) -> None:
        """The run has cleaned up by itself."""
        self._say(FAREWELL)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def keep_watch(lines: IO[str], scratch: Path, folder: Path | None = None) -> None:
    """Read until the run ends, and clean up unless it has done so."""
    groups: set[int] = set()
    for line in lines:
        if line.strip() == FAREWELL:
            return
        number = int(line)
        if number > 0:
            groups.add(number)
        else:
            groups.discard(-number)
    for group in groups:
        kill_group(group)
    kill_below(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    if folder is not None:
        subprocess.run([sys.executable, "-m", "conformance", "report", str(folder)], check=False)


if __name__ == "__main__":
    keep_watch(sys.stdin, *map(Path, sys.argv[1:]))
