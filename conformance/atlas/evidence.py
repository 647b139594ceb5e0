"""What was measured of built-ins: one ``Evidence`` each, and the tables that are made of all of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

TITLES = {"torch": "PyTorch", "keras": "Keras and TensorFlow", "jax": "JAX and Flax", "optax": "optax"}
TABLED, UNMAPPED, GONE = "in the tables", "not mapped", "not in this version"
NONE_KNOWN = "none known"
NOT_ASKED = "not asked"  # of a layer in no table: they are many, and to look for one takes seconds


@dataclass(frozen=True)
class Evidence:
    """One built-in.

    ``component``: the catalogue's that it was found to be, or that the tables hold it against; "" where there is none.
    ``standing``: whether a table has it. ``formulation``: which it was found to equal, with all keywords that are not
    the reference's own; "" where none is known, and then ``reason`` or ``nearest`` say more. ``digits``: by precision.
    ``agrees``: whether that is what the tables say; None where they say nothing. ``defaults``: as Python writes them.
    ``edges``: what came of each situation, and of a layer how it starts and the order of its gates. ``no_effect``:
    arguments that moved nothing on the exercises. ``differs``, ``until`` and ``note``: what the tables say.
    ``command`` shows all of it anew.
    """

    kind: str
    component: str
    framework: str
    version: str
    call: str
    target: str
    standing: str = TABLED
    formulation: str = ""
    same: tuple[str, ...] = ()
    digits: Mapping[str, float] = field(default_factory=dict)
    rounded: tuple[str, ...] = ()
    agrees: bool | None = None
    nearest: str = ""
    distance: float | None = None
    reason: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)
    edges: Mapping[str, str] = field(default_factory=dict)
    no_effect: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    differs: str = ""
    until: int | None = None
    note: str = ""
    keywords: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether it is called with its own defaults alone."""
        return self.call.partition("(")[2] in ("", ")")

    @property
    def command(self) -> str:
        """What measures it anew and shows everything."""
        return f'conformance atlas --show "{self.call}"'

    @property
    def written_digits(self) -> str:
        """As ``15, 6``; "" where there are none."""
        return ", ".join(f"{value:.0f}" for value in self.digits.values())

    @property
    def written_defaults(self) -> str:
        """As a call has them."""
        return ", ".join(f"{name}={value}" for name, value in self.defaults.items())


@dataclass(frozen=True)
class Fault:
    """A known fault: whether its snippet showed it, and what it saw. ``shown`` is None where it could not be run."""

    name: str
    frameworks: tuple[str, ...]
    told: str
    code: str
    shown: bool | None
    seen: str

    @property
    def command(self) -> str:
        """What runs it anew."""
        return f"conformance atlas --show {self.name}"


@dataclass(frozen=True)
class Surprise:
    """Two built-ins of one component, trained by their formulations on the same data with the same rate.

    ``change``: how far apart the trained parameters are, as a share of how far they were moved; of initializers how far
    apart the last costs are, as a share of the larger. ``costs``: the last. ``also``: other pairs of the same two
    formulations.
    """

    component: str
    one: str
    other: str
    formulations: tuple[str, str]
    costs: tuple[float, float]
    change: float
    also: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What trains the two anew."""
        return f'conformance atlas --show "{self.one}" --beside "{self.other}"'


@dataclass(frozen=True)
class Atlas:
    """Everything: ``versions`` by framework, empty for one that is not installed."""

    versions: Mapping[str, Mapping[str, str]]
    evidence: Sequence[Evidence]
    faults: Sequence[Fault] = ()
    surprises: Sequence[Surprise] = ()

    def of(self, call: str) -> Evidence | None:
        """The evidence of a call."""
        return next((each for each in self.evidence if each.call == call), None)

    def frames(self) -> dict[str, pd.DataFrame]:
        """Tables of text and numbers: ``builtins``, ``edges``, ``faults``, ``surprises``, ``versions``."""
        return {
            "builtins": pd.DataFrame([_row(each) for each in self.evidence], columns=BUILTINS),
            "edges": pd.DataFrame(
                [(e.framework, e.call, name, told) for e in self.evidence for name, told in e.edges.items()],
                columns=["framework", "call", "situation", "outcome"],
            ),
            "faults": pd.DataFrame(
                [(f.name, ",".join(f.frameworks), _shown(f.shown), f.seen, f.told, f.command) for f in self.faults],
                columns=["name", "frameworks", "shown", "seen", "told", "command"],
            ),
            "surprises": pd.DataFrame(
                [
                    (s.component, s.one, s.other, s.change, *s.costs, *s.formulations, "; ".join(s.also), s.command)
                    for s in self.surprises
                ],
                columns=["component", "one", "other", "change", "cost_of_one", "cost_of_other", "formulation_of_one",
                         "formulation_of_other", "also", "command"],
            ),
            "versions": pd.DataFrame(
                [(name, package, v) for name, found in self.versions.items() for package, v in found.items()],
                columns=["framework", "package", "version"],
            ),
        }  # fmt: skip


BUILTINS = [
    "kind", "component", "framework", "version", "call", "standing", "formulation", "digits64", "digits32", "rounded",
    "agrees", "nearest", "distance", "reason", "defaults", "no_effect", "same", "notes", "differs", "until", "note",
    "command",
]  # fmt: skip


def _row(each: Evidence) -> tuple[Any, ...]:
    return (
        each.kind, each.component, each.framework, each.version, each.call, each.standing, each.formulation,
        each.digits.get("float64"), each.digits.get("float32"), "; ".join(each.rounded), _shown(each.agrees),
        each.nearest, each.distance, each.reason, json.dumps(dict(each.defaults)), ", ".join(each.no_effect),
        "; ".join(each.same), "; ".join(each.notes), each.differs, "" if each.until is None else str(each.until),
        each.note, each.command,
    )  # fmt: skip


def _shown(told: bool | None) -> str:
    return "" if told is None else "yes" if told else "no"
