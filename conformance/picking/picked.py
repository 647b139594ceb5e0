"""What is told in the end: the table, a recommendation for each goal, the code, and notes on the numbers."""

from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from conformance.adapters.registry import OWN
from conformance.picking.recommending import Recommendation, recommendations
from conformance.picking.snippets import snippet
from conformance.picking.table import COLUMNS, lines
from conformance.recipes.recipe import Recipe
from conformance.verdicts.record import for_json


@dataclass(frozen=True)
class Picked:
    """Implementations side by side, and which to take for which goal.

    Attributes:
        training: what was trained, in a line.
        source: where the numbers come from, in a line.
        table: a row for each implementation; ``conformance.picking.table.COLUMNS`` says what the columns are.
        recipe: the training whose code is shown.
        dtype: its precision.
        device: ``cpu``, ``gpu`` or ``tpu``.
        notes: what is to be known of the numbers.
        incomplete: what was to be measured and is not, through no fault of the input; "" where nothing is.
    """

    training: str
    source: str
    table: pd.DataFrame
    recipe: Recipe
    dtype: str
    device: str
    notes: tuple[str, ...] = ()
    incomplete: str = ""

    @property
    def recommended(self) -> list[Recommendation]:
        """One recommendation for each goal of which something is known."""
        return recommendations(self.table, self.device, self.dtype)

    @property
    def recommendations(self) -> pd.DataFrame:
        """The same as a frame: goal, implementation, value, reason."""
        return pd.DataFrame(self.recommended, columns=list(Recommendation._fields))

    @property
    def measured(self) -> list[str]:
        """The implementations of which something was measured."""
        return [str(name) for name in self.table.loc[self.table["problem"] == "", "implementation"]]

    @property
    def failing(self) -> list[str]:
        """The implementations of which a comparison with the oracle failed; none of them is recommended."""
        return [str(name) for name in self.table.loc[self.table["failed"] > 0, "implementation"]]

    @property
    def problems(self) -> dict[str, str]:
        """Why implementations are not measured, by name."""
        rows = self.table[self.table["problem"] != ""]
        return {str(name): str(why) for name, why in zip(rows["implementation"], rows["problem"], strict=True)}

    @property
    def snippets(self) -> dict[str, str]:
        """The code that takes each recommended implementation, in the order in which they are recommended."""
        names = dict.fromkeys(each.implementation for each in self.recommended if each.implementation in OWN)
        return {name: snippet(name, self.recipe, self.dtype, self.device) for name in names}

    @property
    def lines(self) -> list[list[str]]:
        """The table as it is shown, a line for each property."""
        return lines(self.table)

    @property
    def dialects(self) -> str:
        """The dialects, where they are the same for all."""
        found = {text for text in self.table["dialects"] if text}
        return found.pop() if len(found) == 1 else ""

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it; what is not known is null."""
        rows = [for_json({str(name): value for name, value in row.items()}) for row in self.table.to_dict("records")]
        whole = [name for name, column in COLUMNS.items() if column.dtype == "int64"]
        return {
            "training": self.training,
            "source": self.source,
            "device": self.device,
            "dtype": self.dtype,
            "implementations": [row | {name: None for name in whole if row[name] == -1} for row in rows],
            "recommendations": [for_json(each._asdict()) for each in self.recommended],
            "code": self.snippets,
            "notes": list(self.notes),
            "incomplete": self.incomplete,
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: what was trained, the table, and the recommendations."""
        shown = pd.DataFrame([row[1:] for row in self.lines], columns=list(self.table["implementation"]))
        shown.index = pd.Index([row[0].strip() for row in self.lines])
        tables = (
            shown.to_html(escape=True, border=0),
            self.recommendations.to_html(index=False, escape=True, border=0),
        )
        return f"<p>{escape(self.training)}. {escape(self.source)}</p>{''.join(tables)}"
