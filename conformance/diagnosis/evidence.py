"""What an inquiry starts from: what was observed of one recipe in one implementation and precision."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from conformance.checks import CHECKS
from conformance.checks.observation import Key, Lost
from conformance.diagnosis.workshop import Observations
from conformance.recipes.recipe import Recipe
from conformance.verdicts.compare import NOT_FAILING, Comparison, compare
from conformance.verdicts.floors import Expectations


class First(NamedTuple):
    """What is recorded of the first failure, for what crashed or was stopped and left nothing to look at."""

    check: str
    verdict: str
    cause: str
    stage: str = ""
    step: int = 0
    tensor: str = ""


@dataclass(frozen=True)
class Evidence:
    """What was observed of one recipe in one implementation and precision.

    Attributes:
        recipe, implementation, dtype: of what.
        expected: by check, what the oracle saw with its allowances, but for what is not offered.
        observed: by check, what was seen in each that failed, as far as it got.
        made: the checks that were made at all; ``crashed``: those of them that crashed and saw nothing.
        first: the first failure.
        lost: by check that failed, its parts that were not seen.
        stopped: of a first failure that is an exception, the checks that this stopped, wholly or in part.
    """

    recipe: Recipe
    implementation: str
    dtype: str
    expected: Expectations
    observed: dict[str, Observations]
    made: frozenset[str]
    crashed: frozenset[str]
    first: First
    lost: dict[str, list[Lost]] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()

    def failing(self, check: str) -> list[Comparison]:
        """The failing comparisons of a check, in the order of observation."""
        found = compare(self.observed[check].values(), self.expected[check], self.lost.get(check, ()))
        return [comparison for comparison in found if comparison.verdict not in NOT_FAILING]

    @cached_property
    def failed(self) -> dict[str, set[Key]]:
        """The tensors of each check that are beyond their allowance."""
        return {
            check: {comparison.key for comparison in self.failing(check)} if check in self.observed else set()
            for check in CHECKS
        }

    @property
    def failed_checks(self) -> list[str]:
        """The checks that failed, those that crashed among them, in the order of the ladder."""
        return [check for check in CHECKS if check in self.crashed or self.failed[check]]

    def oracle(self, check: str) -> Observations:
        """What the oracle saw in a check."""
        return {expectation.observation.key: expectation.observation for expectation in self.expected[check]}

    def seen(self, check: str) -> Observations:
        """What was observed; of a check that passed, nothing else than the oracle's."""
        return self.observed.get(check, self.oracle(check))
