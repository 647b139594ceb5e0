"""How the atlas is laid out, for the page in HTML and the one in Markdown: components with frameworks side by side."""

import inspect
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conformance.atlas.arguments import NO_FORMULA
from conformance.atlas.evidence import GONE, NONE_KNOWN, NOT_ASKED, TABLED, TITLES, Atlas, Evidence
from conformance.atlas.survey import KINDS
from conformance.identification.answer import component
from conformance.recipes.components import POSITIONAL_KEYWORDS, keyword_defaults

FILE = Path(__file__).with_name("questions.toml")
HEADINGS = {
    "optimizer": "Optimizers", "loss": "Losses", "activation": "Activations", "normalization": "Normalizations",
    "initializer": "Initializers", "schedule": "Schedules", "regularizer": "Regularizers", "layer": "Layers",
}  # fmt: skip
# What is told of each kind's edge values.
EDGES = {
    "optimizer": "Edge values are the first moves of parameters of 0, unless said otherwise, in multiples of the rate.",
    "loss": "Edge values are the cost of one example and its slope by the first output.",
    "activation": "Edge values are those at the first number of a row, and the slope there.",
    "normalization": "Edge values are of a batch of six examples and five units in training.",
    "initializer": "Edge values are the shapes that are drawn.",
    "regularizer": "A built-in is a row here. Penalties: what a weight adds to the cost, and to its gradient. None of "
    "these is told the size of a batch, so none divides by it. Limits: what becomes of a gradient, or of the weights "
    "into a unit, of two numbers; where the limit is 0.5 the pair 0.3, 0.4 is at it. Early stopping, flips and noise, "
    "which Keras alone has ready made, are not asked.",
    "layer": "A built-in is a row here, with the sizes that its axes need. Digits are of outputs and all gradients, "
    "with the same numbers in all arrays, and of what training leaves. `W` is of the inputs, `U` of the state. Batch "
    "and layer normalisation stand above. Edge values are of inference, unless said.",
    "schedule": "Edge values are rates; `step 1000` is past the end of every schedule that has one.",
}
FAULT = "fault"
NONE_ROUNDED = "none"
DEFAULT = "default "  # before the name of an argument
FAR = 0.05  # away on average, as a share: what comes no nearer says nothing
DIGITS = "digits in float64, float32"
FACTS = ("formulation", DIGITS, "rounded to float32", "defaults", "no effect seen", "to be known")
_NEVER_MARKED = (DIGITS, "defaults", "no effect seen", "to be known")  # differ by nature
TURNED = ("regularizer", "layer")  # kinds of whose tables a built-in is a row
NO_DEFAULTS = ("None", "False")  # of what is a row that are not told: nothing is done
NO_NUMBERS = (
    "dtype",
    "metadata",
    "rngs",
    "dot_general",
    "dilated",
    "cudnn",
)  # ends of arguments that are no part of a formula
DECAY = "weight decay"  # of optimizers, told beside the penalties
_DECOUPLED, _COUPLED = "decoupled: off the weight, times the rate", "coupled: part of the gradient"
_EITHER = "either: without a momentum they are the same"
_DECAYS = ("adamw", "lion")  # whose weight decay is always decoupled
_OF_DECAY = ("formulation", "default weight_decay", "gradient 0 (weight 1, bias 1)")


# A learning rate and a size of a window, by which formulations are not told apart.
_BESIDE_FORMULA = re.compile(r"(, )?(?:learning_rate=[^,)]*|window=\([^)]*\))(?(1)|(?:, )?)")


class Cell(NamedTuple):
    """A text, whether it differs from the first of its row, and the identifier of its evidence."""

    text: str
    differs: bool
    anchor: str


class Table(NamedTuple):
    """A component: a column for each built-in, by frameworks; rows by what is told."""

    kind: str
    component: str
    columns: list[Evidence]
    rows: list[tuple[str, list[Cell]]]

    @property
    def turned(self) -> bool:
        """Whether a built-in is a row of it as it is shown: where they are many, and little is told of each."""
        return self.kind in TURNED

    @property
    def anchor(self) -> str:
        """Its identifier in a page."""
        return anchor(f"{self.kind}-{self.component}")

    @property
    def defaults(self) -> str:
        """The component with the catalogue's defaults, as a call; "" where there is nothing to say."""
        if self.component == DECAY:
            return ""
        known = keyword_defaults(component(self.kind, self.component), POSITIONAL_KEYWORDS)
        said = [f"{name}={value!r}" for name, value in known.items() if value is not inspect.Parameter.empty]
        return f"{self.component}({', '.join(said)})" if said else ""

    @property
    def lines(self) -> list[tuple[Evidence, list[Cell]]]:
        """The built-ins, each with what is told of it in the order of the rows."""
        return [(each, [cells[place] for _, cells in self.rows]) for place, each in enumerate(self.columns)]


class Answered(NamedTuple):
    """A question with the places that answer it: what is looked at, what stands there, and its identifier."""

    ask: str
    told: str
    places: list[tuple[str, str, str]]


def anchor(call: str) -> str:
    """The identifier of a built-in's evidence.

    >>> anchor("torch.optim.Adam(weight_decay=0.1)")
    'torch-optim-adam-weight-decay-0-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", call.lower()).strip("-")


def value_of(each: Evidence, row: str) -> str:
    """What stands in a row of a built-in's column; "" where nothing does."""
    if row == "formulation":
        return formulation_of(each)
    if row == DIGITS:
        return each.written_digits
    if row == "rounded to float32":
        return ", ".join(each.rounded) or (NONE_ROUNDED if each.formulation else "")
    if row.startswith(DEFAULT):
        return each.defaults.get(row.removeprefix(DEFAULT), "")
    if row == "defaults" and each.kind == "layer" and not each.plain:  # they stand with the plain call
        return ""
    if row == "defaults":
        return ", ".join(f"{n}={v}" for n, v in each.defaults.items() if each.kind not in TURNED or _is_told(n, v))
    if row == DECAY and each.component == "gradient_descent":
        return _EITHER
    if row == DECAY:
        decoupled = each.component in _DECAYS or each.keywords.get("decoupled_weight_decay", False)
        return _DECOUPLED if decoupled else _COUPLED
    if row == "no effect seen":
        return ", ".join(each.no_effect)
    if row == "to be known":
        until = f"Until {each.until}." if each.until is not None else ""
        disagrees = "The tables say otherwise." if each.agrees is False else ""
        return " ".join(part for part in (each.differs, until, each.note, disagrees) if part)
    return each.edges.get(row, "")


def _is_told(name: str, default: str) -> bool:
    """Whether a default says something of a formula."""
    return default not in NO_DEFAULTS and name not in NO_FORMULA and not name.endswith(NO_NUMBERS)


def formulation_of(each: Evidence) -> str:
    """Which formulation it is, else why none is known."""
    if each.standing == GONE:
        return GONE
    if each.formulation:
        return each.formulation
    if each.nearest and each.distance is not None and each.distance < FAR:
        nearest = re.sub(r"\d\.\d{6,}(e-?\d+)?", lambda found: f"{float(found[0]):.3g}", each.nearest)
        return f"{NONE_KNOWN}; nearest {nearest}, {each.distance:.0e} away"
    return f"{NONE_KNOWN}: {each.reason}" if each.reason else NONE_KNOWN


def tables(atlas: Atlas) -> Iterator[Table]:
    """Every component that a built-in is of, kind by kind."""
    for kind in KINDS:
        own = [each for each in atlas.evidence if each.kind == kind and each.component]
        for named in dict.fromkeys(each.component for each in own):
            columns = [e for name in TITLES for e in own if e.component == named and e.framework == name]
            yield Table(kind, named, columns, list(_rows(columns)))
        if kind == "regularizer" and (decaying := [each for each in atlas.evidence if _decays(each)]):
            yield Table(kind, DECAY, decaying, list(_rows(decaying, (DECAY, *_OF_DECAY))))


def _decays(each: Evidence) -> bool:
    """Whether an optimizer takes something off its weights, as it is called."""
    return each.kind == "optimizer" and bool(each.formulation) and (
        bool(each.keywords.get("weight_decay")) or each.component == "adamw"
    )  # fmt: skip


def _rows(columns: Sequence[Evidence], names: Sequence[str] = ()) -> Iterator[tuple[str, list[Cell]]]:
    """All of which something is to be told; with ``names`` those rows, none marked: they are of several components."""
    situations = dict.fromkeys(name for each in columns for name in each.edges)
    for row in names or (*FACTS, *situations):
        texts = [value_of(each, row) for each in columns]
        if set(texts) - ({"", NONE_ROUNDED} if columns[0].kind in TURNED else {""}):
            compared = [_BESIDE_FORMULA.sub("", text) if row == "formulation" else text for text in texts]
            first, marked = next(filter(None, compared)), not names and row not in _NEVER_MARKED
            differs = [marked and bool(text) and text != first for text in compared]
            yield row, [Cell(*cell) for cell in zip(texts, differs, (anchor(e.call) for e in columns), strict=True)]


def owners(atlas: Atlas) -> dict[str, dict[str, list[str]]]:
    """By optimizer the built-ins that are it, by framework; those of no formulation by their own names.

    A built-in is what it is with its own defaults, or in the first of its calls where it has none without arguments.
    """
    calls: dict[tuple[str, str], Evidence] = {}
    for each in sorted(atlas.evidence, key=lambda each: not each.plain):
        if each.kind == "optimizer" and each.standing != GONE:
            calls.setdefault((each.framework, each.call.partition("(")[0].rpartition(".")[2]), each)
    found: dict[str, dict[str, list[str]]] = {}
    for (framework, own), each in calls.items():
        name = each.component or own.lower().replace("_", "")
        found.setdefault(name, {}).setdefault(framework, []).append(own)
    return dict(sorted(found.items()))


def unknown(atlas: Atlas) -> list[Evidence]:
    """Built-ins that are of no component: they are in no table, and no formulation of the catalogue is them."""
    return [each for each in atlas.evidence if not each.component and each.reason != NOT_ASKED]


def listed(atlas: Atlas) -> dict[str, list[str]]:
    """By framework the layers that were found in the installed version and are in no table, which are not asked."""
    found = [each for each in atlas.evidence if each.reason == NOT_ASKED]
    return {name: calls for name in TITLES if (calls := [e.call for e in found if e.framework == name])}


def unmapped(atlas: Atlas) -> list[Evidence]:
    """Built-ins that were found in the installed version and are in no table, but are a known formulation."""
    return [each for each in atlas.evidence if each.component and each.standing not in (TABLED, GONE)]


@cache
def questions() -> tuple[dict[str, Any], ...]:
    """The rows of ``questions.toml``.

    >>> questions()[0]["ask"]
    "Is Keras's epsilon where the paper has it?"
    """
    return tuple(tomllib.loads(FILE.read_text(encoding="utf-8"))["question"])


def answered(atlas: Atlas) -> list[Answered]:
    """The questions of which something stands in the atlas."""
    found = [Answered(row["ask"], row["told"], list(_places(atlas, row["see"]))) for row in questions()]
    return [one for one in found if one.places]


def _places(atlas: Atlas, see: Sequence[Sequence[str]]) -> Iterator[tuple[str, str, str]]:
    for call, row in see:
        if call == FAULT:
            fault = next((fault for fault in atlas.faults if fault.name == row), None)
            if fault is not None:
                yield fault.name, fault.seen, anchor(fault.name)
        elif (each := atlas.of(call)) is not None:
            yield f"{call}, {row}", value_of(each, row) or "nothing", anchor(call)


def shown(told: bool | None) -> str:
    """Whether a fault was seen, in words."""
    return "could not be run" if told is None else "shown" if told else "not shown any more"
