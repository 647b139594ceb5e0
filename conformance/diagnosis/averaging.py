"""What averaging over replicas makes of a batch: the mean of the means of its parts, each of which counts the same.

A batch of 17 examples is 9 and 8. Their means by their shares are the mean of the batch; by a half each, as a framework
averages replicas by default, an example of the second part counts for more than one of the first::

    sum_r m_r/m (mean of part r)        the batch's
    1/R sum_r (mean of part r)          the replicas', the same where all m_r are
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.diagnosis.candidates import Candidate
from conformance.diagnosis.fits import Fits
from conformance.diagnosis.stepping import Stepwise, penalised
from conformance.problems.problem import Problem
from conformance.problems.tensors import Array, Masks, Tensors

COUNTS = (2, 3, 4, 8)  # of replicas


def averaged(fits: Fits) -> Iterator[Candidate]:
    """The reference on so many replicas, for which some batch is uneven, or penalties are divided by its examples."""
    recipe, examples = fits.evidence.recipe, len(fits.workshop.case.problem.train_x)
    size = min(recipe.batch_size or examples, examples)
    sizes = {size, examples % size or size}
    for count in COUNTS:
        words = f"the mean of the means of {count} parts of a batch, each counting the same, as replicas are averaged"
        if any(each % count for each in sizes):
            yield Candidate(f"{words} though they are uneven", recipe, changes=(Averaged(count),))
        if any(each.keywords.get("convention") == "course" for each in recipe.regularizers):
            by_part = Averaged(count, penalties_by_part=True)
            yield Candidate(f"{words}, and penalties over the examples of a part", recipe, changes=(by_part,))


@dataclass(frozen=True)
class Averaged:
    """A step takes the mean of ``count`` parts' gradients, those with one example more first; none is empty.

    ``penalties_by_part``: those of the cost are over the examples of a part, else over the batch's.
    """

    count: int
    penalties_by_part: bool = False

    def applied(self, session: Any, problem: Problem) -> Any:
        """The session in which it is done."""
        return _Averaged(session, self)


class _Averaged(Stepwise):
    def __init__(self, session: Any, change: Averaged) -> None:
        super().__init__(session)
        self._change = change

    def gradients(self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None) -> Tensors:
        parts = [rows for rows in np.array_split(np.arange(len(x)), self._change.count) if len(rows)]
        found = [self._of_part(parameters, x, y, masks, weights, rows) for rows in parts]
        by_example = found[0].keys() - {"cost", *parameters}
        mean = {name: np.mean([each[name] for each in found], axis=0) for name in ("cost", *parameters)}
        return mean | {name: np.concatenate([each[name] for each in found]) / len(parts) for name in by_example}

    def _of_part(
        self, parameters: Tensors, x: Array, y: Array, masks: Masks | None, weights: Array | None, rows: Array
    ) -> Tensors:
        """The gradients of some examples."""
        own_masks = masks and {layer: mask[rows] for layer, mask in masks.items()}
        own_weights = None if weights is None else weights[rows]
        found: Tensors = self.session.gradients(parameters, x[rows], y[rows], own_masks, own_weights)
        if self._change.penalties_by_part:
            return found
        (own, of_part), (whole, of_batch) = (penalised(self.session, parameters, len(each)) for each in (rows, x))
        kept = {name: found[name] - of_part[name] + of_batch[name] for name in of_part}
        return {**found, **kept, "cost": np.asarray(found["cost"] - own + whole)}
