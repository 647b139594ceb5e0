"""The answer: which formulation a target is, how near, and what is to be known beside it; as text and for JSON."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from conformance.recipes.catalogue import KINDS as CATALOGUE
from conformance.recipes.catalogue_page import builtins
from conformance.recipes.components import NORMALIZATIONS, keyword_defaults
from reference_numpy.layers import LAYERS

SHOWN = 8  # of a list in the text
SIZES = ("channels", "entries", "heads", "kernel", "key_units", "units")  # of layers


@dataclass(frozen=True)
class Named:
    """A component of the catalogue: its name and all of its keywords."""

    name: str
    keywords: Mapping[str, Any]

    def written(self, kind: str) -> str:
        """As a call, with the keywords that are not the reference's defaults; a learning rate is always said.

        What a layer has by its sizes alone is left out.

        >>> Named("adam", {"beta1": 0.9, "epsilon": 1e-7, "learning_rate": 0.001}).written("optimizer")
        'adam(epsilon=1e-07, learning_rate=0.001)'
        >>> Named("bidirectional", {"layer": Named("lstm", {"units": 4, "biases": 2})}).written("layer")
        'bidirectional(lstm(biases=2))'
        """
        known = inspect.signature(component(kind, self.name)).parameters if self.name else {}
        said = {
            keyword: value
            for keyword, value in self.keywords.items()
            if keyword == "learning_rate" or keyword not in known or value != known[keyword].default
        }
        layers = [said.pop("layer")] if "layer" in said else said.pop("layers", [])
        shown = [layer.written(kind) for layer in layers] + [
            f"{keyword}={_literal(value)}"
            for keyword, value in said.items()
            if not (kind == "layer" and keyword in SIZES)
        ]
        return f"{self.name}({', '.join(shown)})"


def component(kind: str, name: str) -> Callable[..., Any]:
    """The function of the reference."""
    if kind == "layer":
        return LAYERS[name]
    return (NORMALIZATIONS if kind == "normalization" else CATALOGUE[plural(kind)])[name]


def builtins_of(kind: str, named: Named) -> tuple[str, ...]:
    """The built-ins of the frameworks that the catalogue's page says are the same, optimizers excepted.

    >>> builtins_of("activation", Named("gelu", {"approximate": True}))[0]
    "torch.nn.functional.gelu(approximate='tanh')"
    """
    defaults = keyword_defaults(component(kind, named.name))
    own = {name: value for name, value in named.keywords.items() if value != defaults.get(name, _NOTHING)}
    return tuple(
        builtin.call
        for builtin in builtins()
        if (builtin.kind, builtin.component) == (plural(kind), named.name)
        and not builtin.differs
        and not builtin.function
        and {name: _tuples(value) for name, value in builtin.keywords.items()} == own
    )


_NOTHING = object()


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def plural(kind: str) -> str:
    """The catalogue's word."""
    return "losses" if kind == "loss" else f"{kind}s"


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


@dataclass(frozen=True)
class Answer:
    """What was found of a target.

    ``found`` is None where no formulation of the catalogue is it; ``nearest`` then comes nearest, ``distance`` away on
    average, as a share of what is compared. ``digits``: to how many decimal digits it agrees, by precision.
    ``rounded``: what the target rounds to float32. ``same``: what cannot be told from ``found`` on these inputs.
    ``builtins``: what of the frameworks is the same; ``relatives``: with other numbers. ``reason``: why none is. Of a
    layer ``arrays``: what each parameter of the reference is made of; ``starts``: how it is drawn; ``given``: the
    arguments with which it was made.
    """

    target: str
    kind: str
    found: Named | None
    digits: Mapping[str, float] = field(default_factory=dict)
    rounded: tuple[str, ...] = ()
    same: tuple[Named, ...] = ()
    builtins: tuple[str, ...] = ()
    relatives: tuple[str, ...] = ()
    nearest: Named | None = None
    distance: float | None = None
    notes: tuple[str, ...] = ()
    reason: str = ""
    arrays: Mapping[str, str] = field(default_factory=dict)
    starts: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether it is a formulation of the catalogue."""
        return self.found is not None

    def __str__(self) -> str:
        return text(self)


def as_dict(answer: Answer) -> dict[str, Any]:
    """For JSON: the fields, and the formulations written as calls beside."""
    found = asdict(answer)
    for name in ("found", "nearest"):
        one: Named | None = getattr(answer, name)
        found[name] = None if one is None else {**asdict(one), "written": one.written(answer.kind)}
    found["same"] = [{**asdict(one), "written": one.written(answer.kind)} for one in answer.same]
    return found


def text(answer: Answer) -> str:
    """A few lines for a reader."""
    if answer.found is None:
        lines = [f"{answer.target}: none known of this kind ({answer.kind})"]
        if answer.reason:
            lines.append(f"because   {answer.reason}")
        if answer.nearest is not None and answer.distance is not None:
            lines.append(f"nearest   {answer.nearest.written(answer.kind)}, {answer.distance:.1e} away on average")
    else:
        lines = [f"{answer.target}: {answer.found.written(answer.kind)}"]
        agrees = ", ".join(f"{digits:.1f} in {dtype}" for dtype, digits in answer.digits.items())
        lines.append(f"digits    {agrees}" if agrees else f"kind      {answer.kind}")
    if answer.rounded:
        lines.append(f"rounded   to float32: {', '.join(answer.rounded)}")
    if answer.given:
        made = ", ".join(f"{name}={_literal(value)}" for name, value in answer.given.items())
        lines.append(f"made with {made}")
    width = max(map(len, (*answer.arrays, *answer.starts)), default=0)
    for title, found in (("arrays", answer.arrays), ("starts", answer.starts)):
        lines += [f"{title:<9} {name:<{width}}  {words}" for name, words in found.items()]
    lists = {
        "same here": [one.written(answer.kind) for one in answer.same],
        "built-ins": list(answer.builtins),
        "relatives": list(answer.relatives),
        "note": list(answer.notes),
    }
    for title, entries in lists.items():
        for entry in entries[:SHOWN]:
            lines.append(f"{title:<9} {entry}")
        if len(entries) > SHOWN:
            lines.append(f"{title:<9} and {len(entries) - SHOWN} more")
    return "\n".join(lines)
