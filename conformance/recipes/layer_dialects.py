"""The dialects of layers: what each framework's own layers are, in the words of ``reference_numpy.layers``.

``layer_dialects.toml`` holds them, one line for each built-in: the layer with the formulation and the defaults that it
ships with, sizes left out. A layer of a recipe may be said so, ``{ dialect = "keras.GRU", units = 5 }``; keywords
beside it stand in place of the dialect's.

>>> layer_dialect("keras.GRU").keywords["gates"], layer_dialect("torch.nn.GRU").keywords["biases"]
('zrn', 2)
"""

import inspect
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conformance.data.wording import shown
from conformance.recipes.components import hashable, not_allowed
from conformance.recipes.dialects import optimizer_names
from reference_numpy.layers import LAYERS

FILE = Path(__file__).with_name("layer_dialects.toml")
MODULES = {"torch": "torch.nn", "keras": "keras.layers", "flax": "flax.nnx"}
NONE = "none"  # the table of layers that are none of the reference's
_ABOUT = ("asked", "start", "no_dialect")  # what a line says about a layer, beside the layer itself


class LayerDialect(NamedTuple):
    """One built-in layer: the call that makes it, the layer it is, and what it cannot say.

    ``keywords`` are those that the built-in sets, the initializers of its start among them; ``inside`` is the layer in
    it, where it has one of its own. ``required``: further keywords that must be said. ``start``: how its weights start,
    in words, where no initializer of the catalogue starts them so.
    """

    framework: str
    builtin: str
    layer: str
    keywords: dict[str, Any]
    inside: dict[str, Any] | None = None
    required: tuple[str, ...] = ()
    start: str = ""

    @property
    def name(self) -> str:
        """As recipes have it."""
        return f"{self.framework}.{self.builtin}"

    @property
    def differences(self) -> dict[str, Any]:
        """The keywords that are not the reference's defaults.

        >>> layer_dialect("flax.BatchNorm").differences, layer_dialect("torch.LayerNorm").differences
        ({'momentum': 0.99}, {})
        """
        return _differences(self.layer, self.keywords)

    @property
    def differences_inside(self) -> dict[str, Any]:
        """The same of the layer inside, without its name."""
        inside = {keyword: value for keyword, value in (self.inside or {}).items() if keyword != "name"}
        return _differences(self.inside["name"], inside) if self.inside else {}

    @property
    def note(self) -> str:
        """What is to be known of it, in words; nothing: its keywords say all."""
        start = f"starts otherwise than an initializer of the catalogue: {self.start}" if self.start else ""
        required = ", ".join(f"`{keyword}`" for keyword in self.required)
        return "; ".join(filter(None, (start, f"{required} must be said" if required else "")))

    def spoken(self, place: str, beside: Mapping[str, Any]) -> dict[str, Any]:
        """The layer as a recipe has it without a dialect, with the keywords ``beside`` it in place of the dialect's.

        Raises ValueError for another ``name`` beside it, and for a keyword that is lacking.
        """
        named = beside.get("name", self.layer)
        if named != self.layer:
            raise ValueError(not_allowed(f"{place}.name", named, (self.layer,), f" for {self.name!r}"))
        lacking = [keyword for keyword in self.required if keyword not in beside]
        if lacking:
            raise ValueError("\n".join(f"{place}.{word} is missing: {self.name!r} needs it" for word in lacking))
        given = {keyword: value for keyword, value in beside.items() if keyword != "name"}
        if self.inside is None or "layers" in given:
            return {"name": self.layer, **_changed(self.keywords, given)}
        outer = inspect.signature(LAYERS[self.layer]).parameters
        own = {keyword: value for keyword, value in given.items() if keyword in outer}
        inner = {keyword: value for keyword, value in given.items() if keyword not in outer}
        return {"name": self.layer, **_changed(self.keywords, own), "layers": [_changed(self.inside, inner)]}


def layer_dialects() -> tuple[LayerDialect, ...]:
    """Every dialect, in the order of ``layer_dialects.toml``: PyTorch's, Keras's, Flax's.

    >>> [dialect.name for dialect in layer_dialects()][:2]
    ['torch.Linear', 'torch.Conv1d']
    """
    return tuple(_dialects().values())


def layer_dialect(name: str, place: str = "dialect") -> LayerDialect:
    """The dialect of a name: the framework and the call that makes the layer, ``"torch.GRU"``, or ``"torch.nn.GRU"``.

    Raises ValueError for one that is not known, with those of its framework that are and the nearest.

    >>> layer_dialect("torch.Conv2d(stride=2, padding=1)").differences
    {'stride': 2, 'padding': 1}
    """
    short = _short(name)
    if short in _dialects():
        return _dialects()[short]
    framework, _, builtin = short.partition(".")
    line = lines().get(framework, {}).get(builtin)
    if line is not None:
        raise ValueError(f"{place}={shown(name)} is not allowed: {line['no_dialect']}")
    if short in optimizer_names():
        raise ValueError(f"{place}={shown(name)} is not allowed: it is a dialect of an optimizer, not of a layer")
    own = [known for known in _dialects() if known.startswith(f"{framework}.")]
    raise ValueError(not_allowed(place, name, own or list(_dialects())))


def is_layer_dialect(name: Any) -> bool:
    """Whether a layer may be said so."""
    return isinstance(name, str) and _short(name) in _dialects()


def equal_layers(layer: str) -> tuple[LayerDialect, ...]:
    """The built-ins that a layer of the reference equals, with their keywords.

    >>> [dialect.name for dialect in equal_layers("layer_norm")]
    ['torch.LayerNorm', 'keras.LayerNormalization', 'flax.LayerNorm']
    """
    return tuple(dialect for dialect in layer_dialects() if dialect.layer == layer)


@cache
def lines() -> dict[str, dict[str, dict[str, Any]]]:
    """The file: by framework the lines of its built-ins, by the call that makes them."""
    read: dict[str, Any] = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {framework: read[framework] for framework in MODULES}


@cache
def unknown_layers() -> dict[str, list[str]]:
    """By framework the calls of the layers that are none of the reference's."""
    found: dict[str, list[str]] = tomllib.loads(FILE.read_text(encoding="utf-8"))[NONE]
    return found


def formulation(line: Mapping[str, Any]) -> dict[str, Any]:
    """Of a line of the file the layer alone: its name, its keywords, and the layers inside."""
    return {keyword: value for keyword, value in line.items() if keyword not in _ABOUT}


@cache
def _dialects() -> dict[str, LayerDialect]:
    found = [
        _dialect(framework, builtin, line)
        for framework, builtins in lines().items()
        for builtin, line in builtins.items()
        if "no_dialect" not in line
    ]
    return {dialect.name: dialect for dialect in found}


def _dialect(framework: str, builtin: str, line: Mapping[str, Any]) -> LayerDialect:
    asked, start = line.get("asked", ()), line.get("start", "")
    own = {keyword: hashable(value) for keyword, value in formulation(line).items() if keyword not in asked}
    layer, inside = own.pop("name"), own.pop("layer", None)
    keywords = own | (dict(start) if isinstance(start, Mapping) else {})
    parameters = inspect.signature(LAYERS[layer]).parameters
    further = tuple(keyword for keyword in asked if parameters[keyword].default is not inspect.Parameter.empty)
    return LayerDialect(framework, builtin, layer, keywords, inside, further, start if isinstance(start, str) else "")


def _short(name: str) -> str:
    """A name whose framework is said by its module: ``torch.nn.GRU`` is ``torch.GRU``."""
    for framework, module in MODULES.items():
        if name.startswith(f"{module}."):
            return f"{framework}.{name.removeprefix(f'{module}.')}"
    return name


def _changed(keywords: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords with others in their place; with another initializer the options of the first one go."""
    kept = {
        keyword: value
        for keyword, value in keywords.items()
        if not (keyword == "initializer_options" and "initializer" in given)
    }
    return kept | dict(given)


def _differences(layer: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(LAYERS[layer]).parameters
    return {name: value for name, value in keywords.items() if value != parameters[name].default}
