"""The page: the same as the command prints, with the curves, as HTML that needs no other file."""

from conformance.equivalence import words
from conformance.equivalence.compared import DialectsComparison
from conformance.equivalence.figure import as_address
from conformance.reports.plain_page import render


def page(found: DialectsComparison) -> str:
    """A page in HTML. Whatever was named is escaped."""
    sections = [
        {
            "conclusion": words.conclusion(outcome),
            "differing": outcome.differing,
            "rows": list(words.rows(outcome)),
            "sentences": [words.sentence(held, found) for held in outcome.held] + [words.parting(outcome)],
            "figure": as_address(found, outcome),
        }
        for outcome in found.outcomes
    ]
    return render("dialects.html", found=found, sections=sections, columns=words.columns(found), method=words.method())
