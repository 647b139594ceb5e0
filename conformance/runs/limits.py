"""What a worker process may take of time, of memory and of its log, before it is stopped."""

from typing import Protocol

from conformance.runs.plan import CHECK_SECONDS, Plan
from conformance.runs.schedule import ORACLE
from conformance.verdicts.compare import Verdict

LOOK_SECONDS = 0.5  # between two looks at what workers use
LOAD_SECONDS = 60.0  # that a framework may take to load where a check may not
LOG_BYTES = 100_000_000  # what a worker may write on its standard error


class Measurable(Protocol):
    """A process that can be asked what it holds."""

    name: str

    def memory(self) -> int:
        """Bytes that it and its children hold."""

    def logged(self) -> int:
        """Bytes that it wrote on its standard error."""


def excess(process: Measurable, plan: Plan, seconds: float, *, loaded: bool) -> tuple[Verdict, str] | None:
    """What is to be said of a process that takes more than a plan allows; None where it does not.

    ``seconds``: that it has been at its check, or at loading as long as it is not ``loaded``.
    """
    if process.name == ORACLE:
        limit = CHECK_SECONDS
    else:
        limit = plan.check_seconds if loaded else min(CHECK_SECONDS, max(plan.check_seconds, LOAD_SECONDS))
    if seconds > limit:
        return Verdict.TIMEOUT, f"took longer than {limit:g} s and was stopped"
    if plan.memory_bytes and process.memory() > plan.memory_bytes:
        return Verdict.CRASHED, f"took more than {plan.memory_bytes / 2**20:.0f} MiB of memory and was stopped"
    if process.logged() > LOG_BYTES:
        return Verdict.CRASHED, f"wrote more than {LOG_BYTES} bytes on its standard error and was stopped"
    return None
