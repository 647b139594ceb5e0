"""The checks, in the order of the ladder: each is one question put to an implementation.

A check is a function ``observe(session, case)`` that yields what it sees, part by part. The same function looks at the
oracle, at the re-rounded runs of the reference that measure the noise floor, and at the implementation under test (in
``look.py``, where a part may be lost without the others); what differs between them is then compared in one place,
``conformance/verdicts/compare.py``. Here no comparison is made and no tolerance is known.
"""

from conformance.checks import (
    forward,
    free_running,
    gradient_check,
    gradients,
    initialization,
    loss,
    native,
    teacher_forced,
    update,
)
from conformance.checks.observation import Check

CHECKS: dict[str, Check] = {
    module.__name__.rpartition(".")[2]: module.observe
    for module in (
        initialization, forward, loss, gradients, gradient_check, update, teacher_forced, free_running, native,
    )
}  # fmt: skip
