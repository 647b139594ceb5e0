"""The tables of known faults, ``library/*.toml``: what a row says, and what it must not say.

A row of a table is a fault::

    [[fault]]
    name = "momentum: velocity never decays"
    checks = ["update", "teacher_forced", "free_running"]
    recipe = { optimizer = "momentum" }
    numpy = [["v *= beta", "pass"]]
    torch = [["v.mul_(beta).add_(contribution)", "v.add_(contribution)"]]

* ``name``: unique in the library, ``component: what is wrong``, without ``|``, which stands between names.
* ``checks``: those that must catch it, each of them.
* ``recipe``: factors and their values (``conformance/recipes/factors.py``), on which it must be caught; ``settings``:
  fields of this recipe that are to be others, or the name of a table under ``[settings]``.
* ``numpy``, ``torch``, ``tf``, ``jax``: the edits of the source, ``[old, new]``. ``old`` must stand exactly once at
  the place that ``at`` names, ``"file.py: function"`` (or ``Class.method``, or a name assigned in the module); an edit
  of another place says so, ``[at, old, new]``. ``alike``: implementations in which the edits of ``numpy`` read the
  same.
* ``at``: one place, or one for each implementation; a row that says nothing has those of the head of its file.
* ``of``: components, of which a recipe must have one for the fault to matter; without, and without one at the head of
  the file, it matters everywhere.
* ``layer``: kinds of layers, of which a network must have one, at any depth, for the fault to matter: the name of a
  layer, or a table of it and values of its keywords, or a list of such; here too the head of the file has a say.
* ``dtypes``: the precisions in which it is a fault, if not in both.
* ``consistent = true``: the reference's gradient follows its cost, as in a framework it does by itself.
"""

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from conformance.checks import CHECKS
from conformance.faults.injection import PACKAGES, Edit, Edits
from conformance.faults.mutant import LayerKind, Mutant
from conformance.recipes.components import hashable
from conformance.recipes.factors import FACTORS, values_in
from conformance.recipes.layers import defaults_of
from conformance.recipes.recipe import DTYPES
from reference_numpy.layers import LAYERS

LIBRARY = resources.files("conformance.faults") / "library"


_HEAD = ("at", "of", "layer", "settings", "fault")
_ROW = ("name", "at", "of", "layer", "checks", "recipe", "settings", "dtypes", "consistent", "alike", *PACKAGES)

Places = Mapping[str, str]  # by implementation


class FaultError(ValueError):
    """A table that does not say what it must; table, row and field are named."""


def load(folder: Traversable = LIBRARY) -> tuple[Mutant, ...]:
    """The mutants of every table of a folder, by the tables' names and in the order of their rows.

    Raises FaultError for a table that does not keep to the rules above, and for two mutants of one name.
    """
    tables = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    found: dict[str, Mutant] = {}
    for table in tables:
        for mutant in read(table.read_text(encoding="utf-8"), table.name):
            if mutant.name in found:
                raise FaultError(f"{table.name}: name={mutant.name!r} is there already: must be unique in the library")
            found[mutant.name] = mutant
    return tuple(found.values())


def read(text: str, table: str) -> Iterator[Mutant]:
    """The mutants of one table; ``table`` is its name. Raises FaultError."""
    try:
        head = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FaultError(f"{table}: {error}") from None
    _known(table, "field", head, _HEAD)
    for number, row in enumerate(head.get("fault", ()), start=1):
        yield _mutant(f"{table}: {row.get('name', f'fault {number}')}", row, head)


def _mutant(label: str, row: Mapping[str, Any], head: Mapping[str, Any]) -> Mutant:
    _known(label, "field", row, _ROW)
    for field in ("name", "checks", "recipe", "numpy"):
        if field not in row:
            raise FaultError(f"{label}: {field} is missing: must be there")
    if "|" in row["name"]:
        raise FaultError(f"{label}: name={row['name']!r} is not allowed: must not hold '|', which separates names")
    _known(label, "check", row["checks"], CHECKS)
    _known(label, "dtype", row.get("dtypes", ()), DTYPES)
    _known(label, "factor", row["recipe"], tuple(FACTORS))
    for factor, value in row["recipe"].items():
        _known(label, f"value of {factor}", [value], tuple(values_in(factor)))
    places = _places(label, row, head)
    edits = {name: _edits(label, name, row[name], places) for name in PACKAGES if name in row}
    alike = row.get("alike", ())
    _known(label, "implementation", alike, [name for name in PACKAGES if name not in row])
    edits |= {name: _edits(label, name, row["numpy"], places) for name in alike}
    return Mutant(
        row["name"], edits.pop("numpy"), row["recipe"], tuple(row["checks"]), tuple(row.get("of", head.get("of", ()))),
        tuple(row.get("dtypes", DTYPES)), _settings(label, row, head), edits, row.get("consistent", False),
        _layers(label, row.get("layer", head.get("layer", []))),
    )  # fmt: skip


def _places(label: str, row: Mapping[str, Any], head: Mapping[str, Any]) -> Places:
    """Where the edits of each implementation stand, if they do not say."""
    found: dict[str, str] = {}
    for at in (head.get("at", {}), row.get("at", {})):
        said = dict.fromkeys(PACKAGES, at) if isinstance(at, str) else at
        _known(label, "implementation", said, tuple(PACKAGES))
        found |= said
    return found


def _layers(label: str, said: Any) -> tuple[LayerKind, ...]:
    """The kinds of layers that a field names, one or a list."""
    kinds = []
    for kind in said if isinstance(said, list) else [said]:
        table = {"name": kind} if isinstance(kind, str) else dict(kind)
        name = table.pop("name", None)
        _known(label, "layer", [name], tuple(LAYERS))
        _known(label, f"keyword of {name}", table, tuple(defaults_of(name)))
        kinds.append(LayerKind(name, {keyword: hashable(value) for keyword, value in table.items()}))
    return tuple(kinds)


def _edits(label: str, implementation: str, rows: Any, places: Places) -> Edits:
    edits = []
    for row in rows:
        if not (isinstance(row, list) and len(row) in (2, 3) and all(isinstance(part, str) for part in row)):
            raise FaultError(f"{label}: {implementation} has {row!r}: must be [old, new] or [at, old, new]")
        if len(row) == 2 and implementation not in places:
            raise FaultError(f"{label}: at says nothing of {implementation}: must name the place of {row[0]!r}")
        edit = Edit(*row) if len(row) == 3 else Edit(places[implementation], *row)
        if ".py: " not in edit.at:
            raise FaultError(f"{label}: at={edit.at!r} is not allowed: must be 'file.py: function'")
        edits.append(edit)
    return tuple(edits)


def _settings(label: str, row: Mapping[str, Any], head: Mapping[str, Any]) -> Mapping[str, Any]:
    said = row.get("settings", {})
    if not isinstance(said, str):
        return dict(said)
    _known(label, "settings", [said], tuple(head.get("settings", {})))
    return dict(head["settings"][said])


def _known(label: str, what: str, values: Any, allowed: Any) -> None:
    for value in values:
        if value not in allowed:
            raise FaultError(f"{label}: {what} {value!r} is not known: must be one of {', '.join(allowed)}")
