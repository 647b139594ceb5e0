"""Which implementations can be loaded here, and on which devices: each asked in a process of its own.

A framework that is broken, hangs or takes its process with it costs nobody but itself. The process is this file:
``python -m conformance.adapters.probing MODULE:CLASS``.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import NamedTuple

from conformance.adapters.installation import FRAMEWORKS, install_command

DEVICES = ("cpu", "gpu", "tpu")
SECONDS = 60.0
AT_ONCE = 4
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


class Probe(NamedTuple):
    """What was found: the framework's version and the devices it has, or why it cannot be had."""

    version: str | None
    devices: list[str]
    problem: str | None


def probe_all(targets: Mapping[str, str], seconds: float = SECONDS) -> dict[str, Probe]:
    """What each implementation, by name as ``module:Class``, answers within ``seconds``."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda name: probe(name, targets[name], seconds), targets)
        return dict(zip(targets, found, strict=True))


def probe(name: str, target: str, seconds: float = SECONDS) -> Probe:
    """What one implementation answers."""
    framework = FRAMEWORKS.get(name)
    if framework is not None and find_spec(framework) is None:
        return Probe(None, [], f"not installed: {install_command(name)}")
    process = subprocess.Popen(
        [sys.executable, "-m", "conformance.adapters.probing", target],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=QUIET | os.environ,
        start_new_session=True,  # so that what it starts can be ended with it
    )
    try:
        out, err = process.communicate(timeout=seconds)
        return _answer(process.returncode, out, err)
    except subprocess.TimeoutExpired:
        return Probe(None, [], f"no answer within {seconds:.0f} s")
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process and all of its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _answer(status: int, out: str, err: str) -> Probe:
    try:
        return Probe(**json.loads(out))
    except (ValueError, TypeError):
        lines = err.strip().splitlines()
        return Probe(None, [], f"exit status {status}: {lines[-1] if lines else 'nothing on its standard error'}")


def look(target: str) -> Probe:
    """Load an implementation here, and ask it for its version and its devices."""
    from conformance.adapters.registry import load

    try:
        adapter = load(target)
    except ValueError as error:
        return Probe(None, [], str(error))
    version, devices = None, []
    for device in DEVICES:
        try:
            made = adapter(device)
            version = version or next(iter(made.versions().values()), None)
        except Exception:  # DeviceNotFound, or whatever a foreign adapter says of a device that it has not
            continue
        devices += [device] if getattr(made, "device", device) == device else []
    return Probe(version, devices, None if devices else "found none of its devices")


if __name__ == "__main__":
    answers = os.dup(1)
    os.dup2(2, 1)  # what a framework prints is no answer
    answer = json.dumps(look(sys.argv[1])._asdict())
    os.write(answers, answer.encode())
    sys.stderr.flush()
    os._exit(0)  # a framework's threads are not waited for
