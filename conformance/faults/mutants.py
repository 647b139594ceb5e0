"""The mutants: single-change faults, each a small patch of the reference's source that some check must catch.

One file for each part of the catalogue. Each mutant says on which recipe it must be caught and by which checks;
``conformance mutants`` plants every one of them.
"""

from functools import cache

from conformance.adapters.session import Adapter
from conformance.faults import initializers, layers, optimizers, trainings
from conformance.faults.injection import planted
from conformance.faults.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (*optimizers.MUTANTS, *initializers.MUTANTS, *layers.MUTANTS, *trainings.MUTANTS)


@cache
def reference_with(*names: str) -> Adapter:
    """An adapter of the reference with the mutants of these names planted; made once.

    Raises ValueError if the changes of two do not go together.
    """
    mutants = [mutant for mutant in MUTANTS if mutant.name in names]
    with planted("numpy", *((mutant.file, mutant.edits) for mutant in mutants)) as adapter:
        return adapter("cpu")
