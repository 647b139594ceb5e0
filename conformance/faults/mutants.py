"""The mutants: single-change faults, each a small edit of the reference's source that some check must catch.

They are data, a table for each component in ``library/``. Each mutant says on which recipe it must be caught and by
which checks; ``conformance mutants`` injects every one of them.
"""

from functools import cache

from conformance.adapters.session import Adapter
from conformance.faults.injection import injected
from conformance.faults.mutant import Mutant
from conformance.faults.tables import load

MUTANTS: tuple[Mutant, ...] = load()


@cache
def reference_with(*names: str) -> Adapter:
    """An adapter of the reference with the mutants of these names injected; made once.

    Raises ValueError if the changes of two do not go together.
    """
    mutants = [mutant for mutant in MUTANTS if mutant.name in names]
    with injected("numpy", *(edit for mutant in mutants for edit in mutant.edits)) as adapter:
        return adapter("cpu")
