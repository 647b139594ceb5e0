"""A subject in a process of its own: frameworks do not meet, and one that ends its process ends no other.

Started by :class:`Away` as ``python -m conformance.exchange.worker TARGET``. A request is a JSON object a line, with
the paths of the files of arrays that go with it, and so is an answer.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from conformance.data.wording import one_line
from conformance.exchange.files import read_tensors, write_tensors
from conformance.exchange.subjects import SubjectError, load_subject
from conformance.problems.tensors import Tensors

SECONDS = 600.0  # after which an answer is not waited for any more
LONGEST = 1_000_000  # characters of an answer
# One thread a process, so that sums keep their order; and nothing but what went wrong on the standard error.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_ENABLE_X64": "1",
    "PYTHONWARNINGS": "ignore",
}


class Away:
    """A subject that lives in a worker process."""

    def __init__(self, target: str) -> None:
        self.name = target
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-pair-")
        self._log = Path(self._folder.name) / "log"
        with self._log.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "conformance.exchange.worker", target],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, encoding="utf-8",
                env=ENVIRONMENT | os.environ, start_new_session=True,
            )  # fmt: skip
        try:
            self._answer()
        except (SubjectError, ValueError):
            self.close()
            raise

    def run(self, weights: Tensors | None, inputs: Tensors) -> Tensors:
        return self._ask("run", {"weights": weights, "inputs": inputs})

    def weights(self) -> Tensors:
        return self._ask("weights", {})

    def start(self, seed: int) -> Tensors:
        return self._ask("start", {}, seed=seed)

    def close(self) -> None:
        """End the process, and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._folder.cleanup()

    def _ask(self, method: str, given: dict[str, Tensors | None], **request: Any) -> Tensors:
        folder = Path(self._folder.name)
        for name, tensors in given.items():
            if tensors is not None:
                write_tensors(folder / f"{name}.safetensors", tensors)
        request |= {"method": method, "folder": str(folder), "order": {n: list(t) for n, t in given.items() if t}}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SubjectError(f"{self.name}: its process has ended: {self._last_line()}") from error
        order = self._answer()["order"]
        found = read_tensors(folder / "answer.safetensors") if order else {}
        return {name: found[name] for name in order}

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watch = threading.Timer(SECONDS, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline(LONGEST)
        finally:
            watch.cancel()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise SubjectError(f"{self.name}: its process has ended: {self._last_line()}") from error
        if "error" in answer:
            raise (ValueError if answer["kind"] == "input" else SubjectError)(answer["error"])
        return answer

    def _last_line(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return lines[-1] if lines else "nothing on its standard error"
        return "nothing on its standard error"


def work(target: str, requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more."""

    def answer(**said: Any) -> None:
        answers.write(json.dumps(said) + "\n")

    try:
        subject = load_subject(target)
    except ValueError as error:
        answer(error=one_line(str(error)), kind="input")
        return
    answer()
    for line in requests:
        request = json.loads(line)
        folder = Path(request["folder"])
        given: dict[str, Tensors] = {}
        for name, order in request["order"].items():
            held = read_tensors(folder / f"{name}.safetensors")
            given[name] = {key: held[key] for key in order}
        try:
            if request["method"] == "run":
                found = subject.run(given.get("weights"), given["inputs"])
            else:
                found = subject.start(request["seed"]) if request["method"] == "start" else subject.weights()
        except SubjectError as error:
            answer(error=one_line(str(error)), kind="failure")
            continue
        write_tensors(folder / "answer.safetensors", found)
        answer(order=list(found))


if __name__ == "__main__":
    said = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what a framework prints is no answer
    work(sys.argv[1], sys.stdin, said)
    said.flush()
    os._exit(0)  # a framework's threads are not waited for
