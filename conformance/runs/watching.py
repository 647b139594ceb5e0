"""What a run tells of itself while it is at work: who has begun what, and what each check came to."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from conformance.results.store import Store
from conformance.runs.judging import CASE
from conformance.runs.schedule import ORACLE
from conformance.verdicts.compare import Verdict

# Of many verdicts the one that is told: the first of these that is among them.
WORST_FIRST = (
    Verdict.FAIL, Verdict.CRASHED, Verdict.TIMEOUT, Verdict.MISSING, Verdict.INCONCLUSIVE, Verdict.DIVERGED,
    Verdict.UNSUPPORTED, Verdict.PASS,
)  # fmt: skip


class Event(NamedTuple):
    """Something that happened to a training, that is a recipe in one precision and implementation.

    ``what``: its worker has ``begun`` it, or a check of it; a check was ``judged``; its worker has ``left`` it, because
    it is done or because the worker was lost. ``check``: "" where the training as a whole is meant. ``verdict``: of a
    check that was judged, the worst of its records. The oracle's one check is to make the case.
    """

    what: Literal["begun", "judged", "left"]
    worker: str
    recipe: str
    dtype: str
    check: str = ""
    verdict: Verdict | None = None


Watch = Callable[[Event], None]


def unwatched(event: Event) -> None:
    """Nobody watches."""


def worst(verdicts: Iterable[str]) -> Verdict:
    """Of many verdicts the worst; of none ``pass``: a check of which a recipe has nothing to show is passed."""
    found = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in found), Verdict.PASS)


def done_before(store: Store) -> Iterator[Event]:
    """What is done already of a run that begins, or goes on."""
    found: dict[tuple[str, ...], list[str]] = {}
    for *key, verdict in store.select('SELECT DISTINCT recipe, dtype, implementation, "check", verdict FROM records'):
        found.setdefault(tuple(key), []).append(verdict)
    for recipe, dtype, name, check in store.done():
        if name != ORACLE or check == CASE:
            yield Event("judged", name, recipe, dtype, check, worst(found.get((recipe, dtype, name, check), ())))
