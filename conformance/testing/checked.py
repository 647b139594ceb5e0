"""What came of checking one subject: a verdict, a line for each check, the causes, and the run with all its frames."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from html import escape
from typing import Any, Literal, NamedTuple

import pandas as pd

from conformance.data.wording import in_columns
from conformance.reports import report_of
from conformance.results.frames import not_passing
from conformance.results.known import Difference, stale
from conformance.results.paths import short
from conformance.results.run import Run
from conformance.verdicts.compare import Verdict
from conformance.verdicts.order import place

PASS, FAIL, NOT_OFFERED, KNOWN, MISSING = "pass", "fail", "not offered", "known difference", "missing"
RESULTS = (PASS, FAIL, NOT_OFFERED, KNOWN, MISSING)
PLACE = ["recipe", "dtype", "check"]

Row = Mapping[Any, Any]


class Answer(NamedTuple):
    """What one check of one recipe in one precision came to: one of ``RESULTS``, and what there is to say of it."""

    recipe: str
    dtype: str
    check: str
    result: str
    what: str


class Checked:
    """A subject that was checked.

    Attributes:
        run: the run, with all its frames.
        subject: how the subject is named in it.
        known: the known differences that were held against it.
    """

    def __init__(self, run: Run, known: Iterable[Difference] = ()) -> None:
        (self.subject,) = run.facts["plan"]["implementations"]
        self.run, self.known = run, tuple(known)

    @property
    def records(self) -> pd.DataFrame:
        """One row for each tensor of each check: the frame ``records`` of the run."""
        return self.run.records

    @property
    def causes(self) -> pd.DataFrame:
        """Why recipes fail, as far as it was found out: the frame ``explanations`` of the run."""
        return self.run.explanations

    @cached_property
    def answers(self) -> list[Answer]:
        """What each check came to, in the order of recipes, precisions and checks."""
        plan, lacking = self.run.facts["plan"], set(self.run.missing[PLACE].itertuples(index=False, name=None))
        records = {tuple(key): rows for key, rows in self.records.groupby(PLACE, sort=False)}
        found = []
        for recipe, dtype, check in ((*task, check) for task in plan["tasks"] for check in plan["checks"]):
            key = (recipe, dtype, check)
            if key in records:
                found.append(Answer(*key, *self._judged(records[key])))
            elif key in lacking:
                found.append(Answer(*key, MISSING, "was planned and is not done"))
        return found

    @cached_property
    def told(self) -> list[Answer]:
        """``answers`` for people: an exception that stops several checks is said once, then by the first of them."""
        crashed = self.records["verdict"] == Verdict.CRASHED
        errors = sorted(set(self.records["cause"][crashed]), key=len, reverse=True)
        first: dict[str, Answer] = {}
        found = []
        for answer in self.answers:
            error = next((error for error in errors if answer.result == FAIL and error in answer.what), None)
            before = first.setdefault(error, answer) if error else answer
            if error and before is not answer:
                alike = before[:2] == answer[:2]
                where = before.check if alike else f"{before.check} of {before.recipe} in {before.dtype}"
                answer = answer._replace(what=answer.what.replace(error, f"the exception of {where}"))
            found.append(answer)
        return found

    @property
    def checks(self) -> pd.DataFrame:
        """``answers`` as a frame: recipe, dtype, check, result, what."""
        return pd.DataFrame(self.answers, columns=list(Answer._fields))

    @cached_property
    def stale(self) -> list[Difference]:
        """The known differences of checks that were made and in which nothing differs any more."""
        return stale(self.known, self.subject, self.made, self.failing)

    @property
    def made(self) -> list[Row]:
        """The checks that were made, and of which something was offered."""
        return [answer._asdict() for answer in self.answers if answer.result not in (NOT_OFFERED, MISSING)]

    @property
    def failing(self) -> list[Row]:
        """The records that do not pass, those of known differences among them."""
        return list(self.run.not_passing().to_dict("records"))

    @cached_property
    def verdict(self) -> Literal["pass", "fail", "incomplete"]:
        """``incomplete`` where something is missing, else ``fail`` or ``pass``.

        ``fail``: a check fails, nothing at all is offered, or a known difference is stale.
        """
        if self.run.incomplete or not self.answers:
            return "incomplete"
        return "fail" if self.stale or not self.made or any(each.result == FAIL for each in self.answers) else "pass"

    @property
    def ok(self) -> bool:
        """Whether the verdict is ``pass``."""
        return self.verdict == "pass"

    @property
    def summary(self) -> str:
        """The verdict, and how many checks came to what."""
        counts = self.checks["result"].value_counts()
        told = ", ".join(f"{counts[result]} {result}" for result in RESULTS if result in counts) or "none"
        return f"{self.verdict.upper()}: {self.subject}: {told} of {len(self.answers)} checks"

    @property
    def why(self) -> Iterator[str]:
        """The first divergence and the causes of each recipe that fails, or that these are not known, line by line."""
        causes = self.causes[["recipe", "text"]].itertuples(index=False, name=None)
        texts = {recipe: text.splitlines() for recipe, text in causes}
        unknown = f"the cause was not found in time, or not sought: conformance explain {short(self.run.folder)}"
        for recipe in dict.fromkeys(each.recipe for each in self.answers if each.result == FAIL):
            yield from texts.get(recipe, [f"{recipe}: {unknown}"])

    @property
    def details(self) -> Iterator[str]:
        """What else is to be told, line by line."""
        yield from self.why
        if self.answers and not self.made:
            yield f"{self.subject} offers nothing of what was asked for: nothing of it was compared"
        yield from (f"stale: {each} no longer differs: its row must go" for each in self.stale)
        if self.run.incomplete:
            yield f"missing: {self.run.incomplete}"
        yield f"report: {self.report}"

    @property
    def report(self) -> str:
        """The file that tells more."""
        return str(short(report_of(self.run.folder)))

    def _judged(self, records: pd.DataFrame) -> tuple[str, str]:
        """The result of one check's records, and what there is to say of it."""
        silent = records["verdict"] == Verdict.UNSUPPORTED
        reasons = "; ".join(dict.fromkeys(records["cause"][silent]))
        if silent.all():
            return NOT_OFFERED, reasons
        failing = [(row, self._known_of(row)) for row in not_passing(records).to_dict("records")]
        unknown = [row for row, known in failing if not known]
        if unknown:
            first = min(unknown, key=lambda row: place(row["check"], row["step"], row["stage"], row["tensor"]))
            return FAIL, _told(first) + (f"; and {len(unknown) - 1} more" if len(unknown) > 1 else "")
        if failing:
            rows = dict.fromkeys(difference for _, known in failing for difference in known)
            return KNOWN, "; ".join(f"{row.reason} ({row.link})" for row in rows)
        counts = records["verdict"][~silent].value_counts()
        made = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        return PASS, made + (f"; not offered: {reasons}" if reasons else "")

    def _known_of(self, record: Row) -> list[Difference]:
        return [difference for difference in self.known if difference.covers(self.subject, record)]

    def __str__(self) -> str:
        table = in_columns(Answer._fields, [list(answer) for answer in self.told])
        return "\n".join([*table, "", self.summary, *self.details])

    def __repr__(self) -> str:
        return f"<Checked {self.summary}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, the checks, and what else is to be told."""
        table = pd.DataFrame(self.told, columns=list(Answer._fields)).to_html(
            index=False, escape=True, border=0, notebook=True
        )
        details = escape("\n".join(self.details))
        return f"<p><b>{escape(self.summary)}</b></p>{table}<pre>{details}</pre>"


def _told(record: Row) -> str:
    """Where a record is, and what is wrong with it, in a line."""
    named = "" if record["cause"].startswith(record["tensor"]) else record["tensor"]
    step = f"step {record['step']}" if record["step"] else ""
    where = ", ".join(filter(None, (record["stage"], named, step)))
    size = f" (error {record['error']:.2g}, allowed {record['allowance']:.2g})" if record["error"] >= 0 else ""
    return f"{where}: {record['cause']}{size}" if where else f"{record['cause']}"
