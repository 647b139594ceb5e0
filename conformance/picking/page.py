"""The page: the same as the command prints, as HTML that needs no other file."""

from conformance.picking.picked import Picked
from conformance.picking.table import COLUMNS, SHOWN
from conformance.reports.plain_page import render


def page(picked: Picked) -> str:
    """A page in HTML. Whatever a run named is escaped."""
    explanations = {COLUMNS[name].title: COLUMNS[name].explanation for name in SHOWN}
    return render("pick.html", picked=picked, explanations=explanations)
