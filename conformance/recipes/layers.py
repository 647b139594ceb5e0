"""The layers of a recipe's network: a table for each, checked against the reference, which is the judge of all of it.

Names, keywords and defaults are those of ``reference_numpy.layers.LAYERS`` and stand only there. What a layer may leave
out is filled in, and what can be written in several ways is written in one, so that equal networks are equal recipes.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from conformance.data.wording import shown
from conformance.recipes.bounds import MOST_AXES, MOST_LAYERS, MOST_NESTED_LAYERS, MOST_UNITS
from conformance.recipes.components import (
    Component,
    hashable,
    keyword_defaults,
    nearest_word,
    not_allowed,
    plain,
    refuse,
)
from conformance.recipes.layer_dialects import is_layer_dialect, layer_dialect
from conformance.recipes.resolving import OPTIONS, STAND_INS, Refusal, refusals, resolve, sifted
from reference_numpy.initializers import INITIALIZERS
from reference_numpy.layers import LAYERS

# Under which key the layers stand that a layer is made of, by its name.
HELD = {"sequence": "layers", "residual": "layers", "bidirectional": "layers", "parallel": "branches"}
# The weight that a bias goes with, and the scale that a shift does, by their names within a layer.
PARTNERS = {"b": "W", "b_h": "U", "beta": "gamma", **{f"b_{letter}": f"W_{letter}" for letter in "qkvo"}}
# What the reference calls otherwise, by the name that a recipe has for it: a table's own name is its layer's.
_ARGUMENTS = {"activation": {"function": "name"}}
_TUPLE = re.compile(r"\((\d+(?:, \d+)*),?\)")


class LayerChoice(Component):
    """One layer: its name, its keywords, and the layers that it is made of, in series or as branches of it."""

    layers: tuple["LayerChoice", ...] = ()
    branches: tuple[tuple["LayerChoice", ...], ...] = ()

    @model_serializer(mode="wrap")
    def _written(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Its own keywords first, and no layers where it has none."""
        values = written(self)
        held = ("layers", "branches")
        own = {keyword: value for keyword, value in values.items() if keyword not in held}
        return own | {key: values[key] for key in held if values.get(key)}

    @property
    def series(self) -> tuple[tuple["LayerChoice", ...], ...]:
        """The layers inside, one series for each branch; a layer whose layers are one series has a single branch."""
        return self.branches or ((self.layers,) if self.layers else ())

    def walk(self) -> Iterator["LayerChoice"]:
        """The layer and all layers inside it."""
        yield self
        for layers in self.series:
            for layer in layers:
                yield from layer.walk()

    def build(self, makers: Mapping[str, Callable[..., Any]]) -> Any:
        """The layer, made by the ``LAYERS`` of one of the four packages, or of one that mirrors them."""
        if self.name == "sequence":
            return makers["sequence"](*(layer.build(makers) for layer in self.layers))
        return _make(makers, self.name, self.keywords, [_one(layers, makers) for layers in self.series])

    @property
    def components(self) -> set[str]:
        """The names of the layer itself and of what it is made of, its layers aside."""
        named = ("function", "activation", "initializer", "recurrent_initializer")
        return {self.name, *(self.keywords[keyword] for keyword in named if keyword in self.keywords)}

    @property
    def has_bias(self) -> bool:
        """Whether the layer itself, not one inside it, has biases."""
        return bool(self.keywords.get("bias", self.keywords.get("biases", False)))


def all_layers(layers: tuple[LayerChoice, ...]) -> Iterator[LayerChoice]:
    """All layers of a network, those inside others too."""
    for layer in layers:
        yield from layer.walk()


def resolve_layers(field: str, value: Any) -> Any:
    """The layers of a network, with every keyword.

    Raises ValueError with a line for each fault: an unknown name or keyword, a bad value, too many layers. A line
    begins with the field, ``model.layers[1]``, counted from 0 as lists are, and ends with the layer, counted from 1 as
    in the paths of parameters.
    """
    if not isinstance(value, (list, tuple)):
        return value  # pydantic says what is wrong
    refuse(_excess(field, value))
    problems: list[str] = []
    found = _resolved_series(field, value, problems)
    refuse([_with_layer(field, value, problem) for problem in problems])
    return found


def _with_layer(field: str, layers: Sequence[Any], problem: str) -> str:
    """A problem with the layer of the network that it is of: ``... (layer 2 of 5, gru)``."""
    index = re.match(rf"{re.escape(field)}\[(\d+)\]", problem)
    if index is None:
        return problem
    place = int(index[1])
    table = plain(layers[place])
    said = [table.get("name"), table.get("dialect")] if isinstance(table, Mapping) else []
    known = [f", {name}" for name in said if isinstance(name, str) and (name in LAYERS or is_layer_dialect(name))]
    return f"{problem} (layer {place + 1} of {len(layers)}{''.join(known[:1])})"


def fill_in_initializer(layers: Any, initializer: Any) -> Any:
    """``layers`` as a recipe has them, with the recipe's initializer where a layer that has one names none.

    A layer that takes an initializer by its name alone is given the whole of one that has other keywords, and refuses
    it. Where the layers or the initializer are wrong they stay as they are.
    """
    try:
        found = resolve("initializer", plain(initializer), INITIALIZERS)
    except ValueError:
        return layers  # what is wrong is said of the initializer itself
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str) or any(_excess("", layers)):
        return layers
    options = {keyword: value for keyword, value in found.items() if keyword != "name"}
    usual = options == keyword_defaults(INITIALIZERS[found["name"]])
    return _filled_in(layers, str(found["name"]), options, usual)


def _filled_in(layers: Any, initializer: str, options: dict[str, Any], usual: bool) -> Any:
    if not isinstance(layers, (list, tuple)):
        return layers
    filled = []
    for layer in map(_undialected, map(plain, layers)):
        name = layer.get("name") if isinstance(layer, Mapping) else None
        if isinstance(name, str) and name in LAYERS:
            known = defaults_of(name)
            if "initializer" in known and "initializer" not in layer and "initializer_options" in known:
                layer = {"initializer": initializer, "initializer_options": options, **layer}
            elif "initializer" in known and "initializer" not in layer:
                layer = {"initializer": initializer if usual else {"name": initializer, **options}, **layer}
            key = HELD.get(name)
            if key == "layers" and key in layer:
                layer = {**layer, key: _filled_in(layer[key], initializer, options, usual)}
            elif key == "branches" and isinstance(layer.get(key), (list, tuple)):
                branches = [_filled_in(branch, initializer, options, usual) for branch in layer[key]]
                layer = {**layer, key: branches}
        filled.append(layer)
    return filled


def _undialected(layer: Any) -> Any:
    """A layer said in a dialect, said without one; as it is where that cannot be."""
    try:
        return _speak("", layer)
    except ValueError:
        return layer


def _speak(place: str, layer: Any) -> Any:
    """A layer of a dialect, ``{dialect = "keras.GRU"}``, with the keywords beside it changed; others stay."""
    if not isinstance(layer, Mapping) or "dialect" not in layer:
        return layer
    name, where = layer["dialect"], f"{place}.dialect"
    if not isinstance(name, str):
        raise ValueError(f"{where}={shown(name)} is not allowed: must be the name of a framework's layer")
    beside = {keyword: value for keyword, value in layer.items() if keyword != "dialect"}
    return layer_dialect(name, where).spoken(place, beside)


@cache
def defaults_of(name: str) -> dict[str, Any]:
    """The keywords of a layer as a recipe names them, with their defaults; those that it must be given have none."""
    recipe_s = {argument: keyword for keyword, argument in _ARGUMENTS.get(name, {}).items()}
    return {
        recipe_s.get(argument, argument): parameter.default
        for argument, parameter in inspect.signature(LAYERS[name]).parameters.items()
        if argument not in ("layer", "layers")
    }


def _excess(field: str, layers: Any) -> Iterator[str]:
    """Whether there are too many layers, or too many in each other; told without recursion."""
    count, level = 0, [layers]
    for _ in range(MOST_NESTED_LAYERS + 1):
        inside = [plain(layer) for series in level if isinstance(series, (list, tuple)) for layer in series]
        count += len(inside)
        if count > MOST_LAYERS:
            yield f"{field} holds {count} layers or more: must be at most {MOST_LAYERS}"
            return
        tables = [layer for layer in inside if isinstance(layer, Mapping)]
        branches = [layer["branches"] for layer in tables if isinstance(layer.get("branches"), (list, tuple))]
        level = [layer["layers"] for layer in tables if "layers" in layer]
        level += [series for found in branches for series in found[: MOST_LAYERS + 1]]
    if any(isinstance(series, (list, tuple)) and series for series in level):
        yield f"{field} is nested more than {MOST_NESTED_LAYERS} deep"


def _resolved_series(field: str, layers: Any, problems: list[str]) -> list[dict[str, Any]] | None:
    """The layers of a series with every keyword, or None where one is wrong, which is added to ``problems``."""
    if not isinstance(layers, (list, tuple)) or not layers:
        problems.append(f"{field}={shown(layers)} is not allowed: must be a list of layers, at least one")
        return None
    found = [_resolved(f"{field}[{place}]", plain(layer), problems) for place, layer in enumerate(layers)]
    return None if None in found else [layer for layer in found if layer is not None]


def _resolved(place: str, table: Any, problems: list[str]) -> dict[str, Any] | None:
    try:
        table = _speak(place, table)
    except ValueError as error:
        problems += str(error).splitlines()
        return None
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        must = "must be a table with the 'name' of a layer, or its 'dialect'"
        problems.append(f"{place}={shown(table)} is not allowed: {must}")
        return None
    name = table["name"]
    if name not in LAYERS:
        problems.append(not_allowed(f"{place}.name", name, LAYERS))
        return None
    key = HELD.get(name)
    inside = None if key is None else _resolved_inside(place, name, key, table, problems)
    given = {keyword: hashable(value) for keyword, value in table.items() if keyword not in ("name", key)}
    defaults = defaults_of(name)
    wrong, sound = sifted(place, name, given, defaults)
    wrong += _oversized(place, sound, defaults)
    stand_in = [[{"name": "simple_rnn", "units": 1}]]  # for layers inside that are wrong
    held = [tuple(map(LayerChoice.model_validate, series)) for series in inside or (stand_in if key else [])]
    arguments = {argument: keyword for keyword, argument in _ARGUMENTS.get(name, {}).items()}

    def trial(keywords: dict[str, Any]) -> Any:
        return _make(LAYERS, name, keywords, [_one(series, LAYERS) for series in held])

    faulty = set(given) - set(sound)
    wrong += [_placed(place, name, found, table) for found in refusals(trial, sound, defaults, faulty, arguments)]
    problems += wrong
    if wrong or (key is not None and inside is None):
        return None
    layer = LayerChoice(name=name, **(defaults | given))
    written = _in_one_way(layer, _make(LAYERS, name, layer.keywords, [_one(series, LAYERS) for series in held]))
    if key is None or inside is None:
        return written
    return written | {key: inside if key == "branches" else inside[0]}


def _resolved_inside(
    place: str, name: str, key: str, table: Mapping[str, Any], problems: list[str]
) -> list[list[dict[str, Any]]] | None:
    """The layers that a layer is made of, a series for each branch, or None where one is wrong."""
    if key not in table:
        problems.append(f"{place}.{key} is missing: {name!r} needs it")
        return None
    if key == "layers":
        found = [_resolved_series(f"{place}.{key}", table[key], problems)]
    elif isinstance(table[key], (list, tuple)) and table[key]:
        branches = enumerate(table[key])
        found = [_resolved_series(f"{place}.{key}[{branch}]", layers, problems) for branch, layers in branches]
    else:
        must = "must be a list of branches, each a list of layers, at least one"
        problems.append(f"{place}.{key}={shown(table[key])} is not allowed: {must}")
        found = [None]
    return None if None in found else [series for series in found if series is not None]


def _oversized(place: str, sound: dict[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """Which sizes are too many or too large; they are taken from those that are ``sound``."""
    for keyword, value in list(sound.items()):
        each = {f".{index}": size for index, size in enumerate(value)} if isinstance(value, tuple) else {"": value}
        if isinstance(STAND_INS.get(keyword, defaults[keyword]), float):
            continue
        wrong = [
            f"{place}.{keyword}{index}={shown(size)} is not allowed: must be at most {MOST_UNITS:,}"
            for index, size in each.items()
            if isinstance(size, int) and size > MOST_UNITS
        ]
        if keyword == "shape" and isinstance(value, tuple) and not 1 <= len(value) <= MOST_AXES:
            found = shown(list(value))
            wrong = [f"{place}.shape={found} is not allowed: must be a list of 1 to {MOST_AXES} integers >= 1"]
        if wrong:
            yield from wrong
            del sound[keyword]


def _placed(place: str, name: str, found: Refusal, table: Mapping[str, Any]) -> str:
    """A refusal with the place, the value as a recipe has it, and the nearest of the words allowed."""
    rest = _TUPLE.sub(r"[\1]", found.rest).replace("a tuple", "a list")
    if found.option is not None:
        place, keyword, value = f"{place}.{found.keyword}", found.option, found.value
    elif found.keyword:
        keyword, value = found.keyword, table[found.keyword]
    elif HELD.get(name) in table:  # it takes no such layers
        keyword = HELD[name]
        value, rest = [plain(layer)["name"] for layer in table[keyword]], rest.partition(" is not allowed")[2]
    else:
        return f"{place}: {rest}"
    return f"{place}.{keyword}={shown(value)} is not allowed{rest}{nearest_word(value, rest)}"


def _in_one_way(layer: LayerChoice, built: Any) -> dict[str, Any]:
    """The keywords as the reference has understood them: ``stride = 2`` as ``[2, 2]``, every option of an activation.

    What it has not kept under a keyword's name stays as it was written.
    """
    written: dict[str, Any] = {"name": layer.name}
    names = _ARGUMENTS.get(layer.name, {}) | {"kernel": "size", "window": "size"}
    for keyword, value in layer.keywords.items():
        attribute = names.get(keyword, keyword)
        written[keyword] = getattr(built, attribute, getattr(getattr(built, "window", None), attribute, value))
        if keyword in OPTIONS:
            chosen, table = OPTIONS[keyword]
            written[keyword] = keyword_defaults(table[layer.keywords[chosen]]) | dict(written[keyword])
    return written


def _one(layers: tuple[LayerChoice, ...], makers: Mapping[str, Callable[..., Any]]) -> Any:
    """One layer, or the sequence of several."""
    built = [layer.build(makers) for layer in layers]
    return built[0] if len(built) == 1 else makers["sequence"](*built)


def _make(makers: Mapping[str, Callable[..., Any]], name: str, keywords: Mapping[str, Any], held: list[Any]) -> Any:
    """A layer from its keywords; what the reference takes by position is given so."""
    arguments, named = list(held), dict[str, Any]()
    recipe_s = {argument: keyword for keyword, argument in _ARGUMENTS.get(name, {}).items()}
    for argument, parameter in inspect.signature(LAYERS[name]).parameters.items():
        keyword = recipe_s.get(argument, argument)
        if keyword in keywords and parameter.kind is parameter.KEYWORD_ONLY:
            named[keyword] = keywords[keyword]
        elif keyword in keywords:
            arguments.append(keywords[keyword])
    return makers[name](*arguments, **named)
