"""The atlas as a page in HTML that needs no other file, and as Markdown."""

import re
from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup, escape

from conformance.atlas.evidence import GONE, NOT_ASKED, TITLES, Atlas, Evidence
from conformance.atlas.surprises import RATE
from conformance.atlas.tables import (
    EDGES,
    FACTS,
    HEADINGS,
    Cell,
    Table,
    anchor,
    answered,
    formulation_of,
    listed,
    owners,
    shown,
    tables,
    unknown,
    value_of,
)
from conformance.reports.plain_page import render

INTRODUCTION = """\
# The atlas

What the built-ins of PyTorch, Keras, JAX and optax really do, measured: which formulation each equals, to how many
digits, with which defaults, what it makes of edge values, which arguments had no effect, and how much a training
changes where two of one name differ. Made anew for the versions that are installed by

```
conformance atlas --output atlas
```

which writes the page with a link from every cell to its evidence (`atlas.html`), this one (`atlas.md`) and the tables
behind them as CSV and Parquet. What is told of a built-in is measured anew by `conformance atlas --show CALL`, with the
call as it heads its column or its row; every other number has its command beside it. **Bold** differs from the first
built-in of its table.

A formulation is written as the catalogue of this project has it (`docs/catalogue.md`), by what differs from its
defaults, which stand below each heading. "No effect seen" are arguments that, each changed by itself, moved nothing on
the exercises: `nesterov` has none without a momentum. Those of regularizers and layers are not tried.
"""


OWNERS = "What each framework has, by the formulation that it is with its own defaults; else by its own name."
LISTED = "Layers in no table, which are listed and not asked; `conformance atlas --show CALL` asks one."


def html(atlas: Atlas) -> str:
    """The page. Whatever a framework named is escaped."""
    asked, found = [each for each in atlas.evidence if each.reason != NOT_ASKED], list(tables(atlas))
    once = {each.call: each for each in asked}  # a call may stand with two components
    return render(
        "atlas.html", atlas=atlas, evidence=list(once.values()), tables=found, questions=answered(atlas),
        owners=owners(atlas), owning=_owning(owners(atlas)), about_owners=OWNERS,
        unknown=unknown(atlas), listed=listed(atlas), about_listed=LISTED,
        frameworks=TITLES, titles=[TITLES[name] for name, own in atlas.versions.items() if own],
        headings=HEADINGS, kinds={table.kind for table in found}, edges=EDGES, rate=RATE, anchor=anchor,
        formulation_of=formulation_of, shown=shown, facts=facts, coded=coded,
    )  # fmt: skip


def coded(text: str) -> Markup:
    """A text for HTML, escaped, what stands between backticks as code.

    >>> coded("`eps` < 1")
    Markup('<code>eps</code> &lt; 1')
    """
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def facts(each: Evidence) -> list[tuple[str, str]]:
    """All that is known of a built-in, by name; all defaults, of which a table may tell a few."""
    rows = [(row, each.written_defaults if row == "defaults" else value_of(each, row)) for row in FACTS]
    rows += [("the same here", "; ".join(each.same)), ("notes", "; ".join(each.notes)), *each.edges.items()]
    return [(name, text) for name, text in rows if text]


def markdown(atlas: Atlas) -> str:
    """The page for the documentation."""
    found = list(tables(atlas))
    parts = [INTRODUCTION, *_versions(atlas), *_contents(found)]
    parts += [*_questions(atlas), *_surprises(atlas), *_faults(atlas)]
    for kind, heading in HEADINGS.items():
        own = [table for table in found if table.kind == kind]
        if own:
            whose = _owners(atlas) if kind == "optimizer" else ()
            parts += [f"## {heading}\n", EDGES[kind] + "\n", *whose, *(line for table in own for line in _shown(table))]
    return "\n".join([*parts, *_unknown(atlas)])


def _versions(atlas: Atlas) -> Iterator[str]:
    yield "| framework | versions |\n|---|---|"
    for name, found in atlas.versions.items():
        yield _line([TITLES[name], ", ".join(f"{p} {v}" for p, v in found.items()) or "not installed"])
    yield ""


def _contents(found: Sequence[Table]) -> Iterator[str]:
    """Where each component stands."""
    yield "[Questions it answers](#questions-it-answers), [surprises](#surprises), [known faults](#known-faults),"
    yield "[not mapped](#not-mapped), and by component:\n"
    for kind, heading in HEADINGS.items():
        own = [_link(table) for table in found if table.kind == kind]
        if own:
            yield f"- [{heading}](#{heading.lower()}): {', '.join(own)}"
    yield ""


def _link(table: Table) -> str:
    """To a component's heading, by the identifier that Markdown gives it."""
    return f"[{_plain(table.component)}](#{table.component.replace(' ', '-')}-{table.kind})"


def _questions(atlas: Atlas) -> Iterator[str]:
    found = answered(atlas)
    if found:
        yield "## Questions it answers\n\n| question | answer |\n|---|---|"
    for one in found:
        places = "<br>".join(f"{where}: {_code(text)}" for where, text, _ in one.places)
        yield _line([one.ask + (f" {one.told}" if one.told else ""), places])
    yield ""


def _surprises(atlas: Atlas) -> Iterator[str]:
    yield "## Surprises\n"
    yield "Two built-ins of one component, each trained by the formulation that it was found to be, from one start on"
    yield f"the same batches, with one rate of {RATE} where nothing is said. The change is how far apart the trained"
    yield "parameters are, as a share of how far they were moved; of initializers how far apart the costs are.\n"
    yield "| component | one | other | change | last costs | command |\n|---|---|---|---|---|---|"
    for s in atlas.surprises:
        costs = f"{s.costs[0]:.4g}, {s.costs[1]:.4g}"
        also = "".join(f"<br>also {_code(pair)}" for pair in s.also)
        yield _line([s.component, _code(s.one), _code(s.other) + also, f"{s.change:.2g}", costs, _code(s.command)])
    yield ""


def _faults(atlas: Atlas) -> Iterator[str]:
    yield "## Known faults\n\n| framework | what | here | seen | command |\n|---|---|---|---|---|"
    for fault in atlas.faults:
        yield _line(
            [", ".join(fault.frameworks), fault.told, shown(fault.shown), _plain(fault.seen), _code(fault.command)]
        )
    yield ""


def _owning(found: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """The frameworks that have one of these."""
    return [framework for framework in TITLES if any(framework in own for own in found.values())]


def _owners(atlas: Atlas) -> Iterator[str]:
    found = owners(atlas)
    there = _owning(found)
    yield f"{OWNERS}\n"
    yield _line(["optimizer", *(TITLES[framework] for framework in there)]) + "\n|" + "---|" * (len(there) + 1)
    for name, own in found.items():
        yield _line([_plain(name), *(", ".join(map(_code, own.get(framework, ()))) for framework in there)])
    yield ""


def _shown(table: Table) -> Iterator[str]:
    """A table: the built-ins side by side, or beneath each other."""
    yield f"### {table.component} ({table.kind})\n"
    if table.defaults:
        yield f"{_code(table.defaults)}\n"
    names = [_code(each.call) + _standing(each) for each in table.columns]
    yield _line(["", *([row for row, _ in table.rows] if table.turned else names)])
    yield "|" + "---|" * (len(table.rows if table.turned else names) + 1)
    if table.turned:
        yield from (_line([name, *map(_cell, cells)]) for name, (_, cells) in zip(names, table.lines, strict=True))
    else:
        yield from (_line([row, *map(_cell, cells)]) for row, cells in table.rows)
    yield ""


def _cell(cell: Cell) -> str:
    return f"**{_plain(cell.text)}**" if cell.differs else _plain(cell.text)


def _standing(each: Evidence) -> str:
    return "" if each.standing in ("in the tables", GONE) else f" ({each.standing})"


def _unknown(atlas: Atlas) -> Iterator[str]:
    yield "## Not mapped\n"
    yield "Found in the installed versions, in no table of the project, and no formulation of the catalogue.\n"
    yield "| kind | built-in | what is known |\n|---|---|---|"
    for each in unknown(atlas):
        yield _line([each.kind, _code(each.call), _plain(formulation_of(each))])
    yield ""
    found = listed(atlas)
    if found:
        yield f"{LISTED}\n"
    for framework, calls in found.items():
        yield f"- {TITLES[framework]}: {', '.join(map(_code, calls))}"
    yield ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def _plain(text: str) -> str:
    """A text that Markdown leaves as it is, which a note may mark up itself."""
    shown = text.replace("<", "&lt;")
    return shown if "`" in text else shown.replace("*", "\\*").replace("_", "\\_")
