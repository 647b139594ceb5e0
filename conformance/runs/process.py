"""A worker's process: started in a group of its own, spoken to in messages, ended with everything that it started."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil

from conformance.runs.groups import kill_all_of
from conformance.runs.interpreter import OWN, Interpreter
from conformance.runs.limits import excess
from conformance.runs.messages import read_messages
from conformance.runs.plan import Plan, Task
from conformance.verdicts.compare import Verdict

GRACE_SECONDS = 0.5  # after a process has ended, for what it said last to arrive
REAPING_SECONDS = 10.0
WORKERS = "workers"  # in the scratch folder: a folder for each worker's temporary files, which no other worker shares

Events = queue.Queue[tuple[object, dict[str, Any] | None]]  # of which worker, and what it says


class WorkerProcess:
    """A running worker. What it says is put into ``events``, and None at its end.

    ``interpreter``: that of this environment, or of another one; the harness itself is this one's.
    """

    module = "conformance.runs.worker"  # what it runs

    def __init__(
        self,
        name: str,
        target: str,
        folder: Path,
        scratch: Path,
        log: Path,
        events: Events,
        interpreter: Interpreter = OWN,
    ) -> None:
        self.name, self.log, self.events = name, log, events
        (scratch / WORKERS).mkdir(exist_ok=True)
        self._temporary = Path(tempfile.mkdtemp(prefix="", dir=scratch / WORKERS))
        with log.open("a", encoding="utf-8") as stderr:
            self._process = subprocess.Popen(
                [interpreter.python, "-m", self.module, str(folder), name, target, str(scratch)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=os.environ | dict(interpreter.environment(scratch)) | {"TMPDIR": str(self._temporary)},
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._reaper = threading.Thread(target=self._await_end, daemon=True)
        self._reaper.start()

    def begin(self, task: Task, checks: list[str]) -> None:
        """Ask for some checks of a task; of the oracle's worker for its case."""
        self.send(task=task.as_dict, checks=checks)

    def send(self, **request: Any) -> None:
        """Ask for something. To a process that has just ended nothing can be said: its end is told by its events."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, OSError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """End it, and whatever it started; its temporary files are removed by then."""
        kill_all_of(self._process.pid, self._temporary)
        self._process.wait()
        self._reaper.join(REAPING_SECONDS)
        self.close()

    def close(self) -> None:
        """Say that there is nothing more to do: it ends by itself."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def excess(self, plan: Plan, seconds: float, *, loaded: bool) -> tuple[Verdict, str] | None:
        """What is to be said of it if it takes more than the plan allows."""
        return excess(self, plan, seconds, loaded=loaded)

    @property
    def group(self) -> int:
        """The number of its group of processes."""
        return self._process.pid

    @property
    def how_it_ended(self) -> str:
        """Its exit status or signal, and the last line that it wrote."""
        code = self._process.returncode
        how = f"exit status {code}" if code is None or code >= 0 else f"killed by {_signal_name(-code)}"
        return f"{how}: {self._last_line()}"

    def memory(self) -> int:
        """Bytes that it and its children hold."""
        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for each in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += each.memory_info().rss
        return total

    def logged(self) -> int:
        """Bytes that it wrote on its standard error."""
        return self.log.stat().st_size if self.log.exists() else 0

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError), self._process.stdout as lines:
            for message in read_messages(lines):
                self.events.put((self, message))

    def _await_end(self) -> None:
        """A child that lives on may hold the pipe open, so that the end of the process is not the end of the pipe."""
        self._process.wait()
        kill_all_of(self._process.pid, self._temporary)
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._reader.join(GRACE_SECONDS)
        self.events.put((self, None))

    def _last_line(self) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, self.logged() - 4096))
            lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
            return lines[-1] if lines else "nothing on its standard error"
        return "nothing on its standard error"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
