"""A framework's layer as another's: both are asked what they are, and which of their arrays is which.

The source is asked as ``conformance identify`` does, and so is every layer of the other framework that
``layer_dialects.toml`` says is the same, told what its arguments can say (``layer_spelling.toml``). The order of gates
in an array and how arrays start make no other layer: they are told.
"""

import inspect
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from conformance.data.wording import shown
from conformance.faults.injection import PACKAGES
from conformance.identification.answer import SIZES, Answer, Named
from conformance.recipes import layer_dialects
from conformance.recipes.components import keyword_defaults
from conformance.recipes.layer_dialects import MODULES, LayerDialect
from conformance.runs.outcome import BadInput
from conformance.translation.calls import Written, functions, parsed
from conformance.translation.optimizers import MANY_DIGITS
from conformance.translation.translated import EXACT, FRAMEWORKS, IN_FLOAT32, OURS, REFUSED, Translation
from conformance.translation.trial import Trial
from reference_numpy.layers import LAYERS

KIND = "layer"
FILE = Path(layer_dialects.__file__).with_name("layer_spelling.toml")
OF = {"torch": "torch", "tf": "keras", "jax": "flax"}  # whose layers an implementation of this project is beside
# The module of a framework's layers as it is written, and its import.
MADE_BY = {
    "torch": ("torch.nn", "import torch"),
    "tf": ("keras.layers", "import keras"),
    "jax": ("nnx", "from flax import nnx"),
}
# Keywords that say how arrays start, how large they are, and in which order gates lie in them: no other layer.
STARTS = ("initializer", "initializer_options", "recurrent_initializer", "recurrent_initializer_options", "forget_bias")
UNTOLD = (*STARTS, *SIZES, "gates")
TWO_BIASES = "one bias that is the sum of two gives the same outputs; in training two biases move the sum twice as far"
INSIDE = "an activation inside a layer is a layer of its own: translate each of the two"
ADDING = ("simple_rnn", "lstm")  # layers that do nothing with their two biases but add them
FLATTENS = "it flattens axes in the order in which they lie: with channels elsewhere the features come in another order"
ROLES = {"channels": "units"}  # sizes that are called otherwise in the table of spellings
AGAINST = "the formula, of the two the fewer"


@dataclass(frozen=True)
class Spelled:
    """How a function spells sizes and keywords.

    ``rank``: of space and time, 0 where it may have any; ``within``: the layer that runs it, of a cell; ``always``:
    what else it is told.
    """

    sizes: Mapping[str, str]
    keywords: Mapping[str, Any]
    rank: int
    within: str
    always: Mapping[str, Any]


def is_layer(name: str) -> bool:
    """Whether a name is a layer of a framework that is asked as one: no normalisation that is asked as a function.

    >>> is_layer("torch.nn.LSTM(bias=False)"), is_layer("keras.GRU"), is_layer("keras.Adam")
    (True, True, False)
    """
    framework, builtin = _split(name)
    known = {call.partition("(")[0] for call in layer_dialects.lines().get(framework, {})}
    known |= {call.partition("(")[0] for call in layer_dialects.unknown_layers().get(framework, [])}
    return builtin in known and f"{MODULES[framework]}.{builtin}" not in functions()


def _split(name: str) -> tuple[str, str]:
    """The framework of a name and its function: ``torch``, ``LSTM``."""
    dotted = name.strip().partition("(")[0].replace(":", ".", 1)
    for framework, module in MODULES.items():
        for start in (f"{module}.", f"{framework}."):
            if dotted.startswith(start):
                return framework, dotted.removeprefix(start)
    return "", dotted


def translate(name: str, settings: Mapping[str, Any], to: str, trial: Trial) -> Translation:
    """A layer translated. Raises ValueError for one that cannot be asked, or arguments that it does not take."""
    call = _call(name, settings)
    written, (framework, builtin) = str(call), _split(name)
    if not trial.has(call.framework):
        raise ValueError(f"{written} cannot be asked what it is: {FRAMEWORKS[call.framework]} is not installed")
    source = _asked(call, trial)
    if source.found is None:
        near = "" if source.nearest is None else source.nearest.written(KIND)
        apart = "" if source.distance is None else f"{source.distance:.1e} away on average"
        reason = source.reason or "the catalogue has no such formulation"
        reason += f"; {INSIDE}" if "activation" in call.named else ""
        return Translation(written, KIND, to, REFUSED, reason=reason, nearest=near, apart=apart)
    own = spelled(framework, builtin)
    sizes = _sizes(call, own) | dict.fromkeys(_unsaid(framework, call, own))
    window = source.found.keywords.get("kernel") or source.found.keywords.get("window") or ()
    return translated(written, source, to, trial, sizes=sizes, rank=own.rank or len(window))


def translated(
    name: str, source: Answer, to: str, trial: Trial, *, sizes: Mapping[str, Any], rank: int = 0
) -> Translation:
    """What was found of a layer, in another framework.

    ``sizes``: those that are known, by what they are in ``layer_spelling.toml``, and keywords that nobody said, with
    None; ``rank``: of space and time, if known.
    """
    assert source.found is not None
    for found in _builtins(source.found, to, rank):
        exact = _exact(name, source, found, to, trial, sizes)
        if exact is not None:
            return exact
    return _ours(name, source, to, sizes)


def _call(name: str, settings: Mapping[str, Any]) -> Written:
    """The call of a name. Raises ValueError for arguments without a name, whose sizes could not be told."""
    framework, builtin = _split(name)
    positional, named = parsed(name)
    if positional:
        raise ValueError(f"name={shown(name)} is not allowed: arguments of a layer must be given by name, as units=4")
    return Written(f"{MODULES[framework]}.{builtin}", (), named | dict(settings))


def _asked(call: Written, trial: Trial) -> Answer:
    try:
        return trial.identified(call.framework, call.target, "", KIND)
    except BadInput as error:
        raise ValueError(str(error)) from error


@cache
def spelled(framework: str, builtin: str) -> Spelled:
    """How a function is spelled; nothing of one that the table does not have."""
    table: dict[str, Any] = _file().get(framework, {}).get(builtin, {})
    return Spelled(
        table.get("sizes", {}), table.get("keywords", {}), table.get("rank", 0), table.get("within", ""),
        table.get("always", {}),
    )  # fmt: skip


@cache
def _file() -> dict[str, dict[str, Any]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def _sizes(call: Written, own: Spelled) -> dict[str, Any]:
    """The sizes that a call says, by what they are."""
    return {role: call.named[argument] for role, argument in own.sizes.items() if argument in call.named}


def _unsaid(framework: str, call: Written, own: Spelled) -> list[str]:
    """Keywords of a layer that come of what it was asked with, where the call does not say them."""
    table = layer_dialects.lines()[framework]
    function = _split(call.function)[1]
    asked = {
        keyword
        for line, told in table.items()
        if line.partition("(")[0] == function
        for keyword in told.get("asked", ())
    }
    said = {keyword for keyword, argument in own.keywords.items() if str(argument).rpartition(" ")[2] in call.named}
    return sorted(asked - said)


def _builtins(wanted: Named, to: str, rank: int) -> Iterator[Written]:
    """The calls of a framework's layers that are a formulation, by the tables; each once."""
    made: set[str] = set()
    for dialect in layer_dialects.equal_layers(wanted.name):
        if to in OF and dialect.framework == OF[to] and dialect.inside is None:
            found = _told(dialect, wanted, rank)
            if found is not None and str(found) not in made:
                made.add(str(found))
                yield found


def _told(dialect: LayerDialect, wanted: Named, rank: int) -> Written | None:
    """A layer's call with the keywords that are wanted; None where it has other ones and no argument for them."""
    function = dialect.builtin.partition("(")[0]
    own = spelled(dialect.framework, function)
    if rank and own.rank and rank != own.rank:
        return None
    _, arguments = parsed(dialect.builtin)
    has, wants = ({**_defaults(wanted.name), **keywords} for keywords in (dialect.keywords, wanted.keywords))
    for keyword, value in wants.items():
        if keyword in UNTOLD or _plain(has.get(keyword)) == _plain(value):
            continue
        said = _argument(own.keywords.get(keyword), value)
        if said is None:
            return None
        arguments |= said
    return Written(f"{MODULES[dialect.framework]}.{function}", (), arguments)


def _argument(spelling: Any, value: Any) -> dict[str, Any] | None:
    """The argument that says a keyword's value; None where there is none."""
    if isinstance(spelling, Mapping):
        _, found = parsed(f"f({spelling.get(str(value), '')})")
        return found or None
    if isinstance(spelling, str) and spelling.startswith("1 - "):
        return {spelling.removeprefix("1 - "): round(1 - value, 15)}
    return None if spelling is None else {spelling: value}


def _defaults(layer: str) -> dict[str, Any]:
    """The keywords of a layer that have defaults."""
    found = keyword_defaults(LAYERS[layer]).items()
    return {keyword: value for keyword, value in found if value is not inspect.Parameter.empty}


def _plain(value: Any) -> Any:
    """A value such that one number and a list of it, as of strides, are the same."""
    several = tuple(value) if isinstance(value, list | tuple) else (value,)
    return several[0] if len(set(map(str, several))) == 1 else several


def same(one: Named, other: Named) -> bool:
    """Whether two are the same layer, whatever the order of their gates, and however they start."""
    if one.name != other.name:
        return False
    first, second = ({**_defaults(each.name), **each.keywords} for each in (one, other))
    names = (first.keys() | second.keys()) - set(UNTOLD)
    return all(_plain(first.get(name)) == _plain(second.get(name)) for name in names)


def _exact(
    name: str, source: Answer, found: Written, to: str, trial: Trial, sizes: Mapping[str, Any]
) -> Translation | None:
    """By a built-in; None where asking it shows that it is another layer."""
    assert source.found is not None
    code = _code(found, to, sizes)
    written = source.found.written(KIND)
    if not trial.has(to):
        missing = f"not here: {FRAMEWORKS[to]} is not installed"
        return Translation(name, KIND, to, EXACT, code, formulation=written, against=missing)
    try:
        answer = _asked(found, trial)
    except ValueError:
        return None
    if answer.found is None or not any(same(source.found, one) for one in (answer.found, *answer.same)):
        return None
    digits = {d: min(n, source.digits[d]) for d, n in answer.digits.items() if d in source.digits}
    own = source.arrays or {path: path for path in answer.arrays}  # a layer of the reference has its own
    arrays = {path: (words, answer.arrays.get(path, "")) for path, words in own.items()}
    against = AGAINST if digits else f"both are {written} by their draws, as far as chance tells"
    return Translation(
        name, KIND, to, EXACT, code, formulation=written, digits=digits, against=against, arrays=arrays,
        conditions=(IN_FLOAT32,) if digits.get("float64", MANY_DIGITS) < MANY_DIGITS else (),
        notes=tuple(_notes(source, answer, found.function)),
    )  # fmt: skip


def _code(found: Written, to: str, sizes: Mapping[str, Any]) -> str:
    """As somebody would write it: sizes that were not said are names."""
    framework, function = _split(found.function)
    own = spelled(framework, function)
    given = {argument: sizes.get(role, _Name(argument)) for role, argument in own.sizes.items()}
    names = [own.keywords.get(name) for name, value in sizes.items() if value is None]
    unsaid = {name.removeprefix("1 - ") for name in names if isinstance(name, str)}
    told = {name: _Name(name) if name in unsaid else value for name, value in found.named.items()}
    inside = [f"{argument}={value!r}" for argument, value in {**given, **told, **own.always}.items()]
    inside += ["rngs=nnx.Rngs(0)"] if to == "jax" else []
    module, imports = MADE_BY[to]
    made = f"{module}.{function}({', '.join(inside)})"
    return f"{imports}\n\n{KIND} = {f'{module}.{own.within}({made})' if own.within else made}"


class _Name:
    """A size that was not said, as code."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def _notes(source: Answer, answer: Answer, who: str) -> Iterator[str]:
    """What of the two differs and makes no other layer: the axes of their data, how they start, what they round."""
    for one, other in ((source, answer), (answer, source)):
        yield from (f"{one.target.replace(':', '.')}: {note}" for note in one.notes if note not in other.notes)
    assert source.found is not None
    if source.found.name == "flatten":
        yield FLATTENS
    if (orders := _orders(source, answer)) is not None:
        yield f"the gates lie in the order {orders[0]}; in {who} in the order {orders[1]}: their blocks change places"
    for path in source.arrays:
        starts = source.starts.get(path), answer.starts.get(path)
        if starts[0] != starts[1]:
            yield f"{path} starts as {starts[0]}; with {who} as {starts[1]}"


def _orders(source: Answer, answer: Answer) -> tuple[str, str] | None:
    """The orders of gates in the arrays of the two, where they differ."""
    assert source.found is not None
    assert answer.found is not None
    default = _defaults(source.found.name).get("gates", "")
    first, second = (each.keywords.get("gates", default) for each in (source.found, answer.found))
    return None if first == second else (first, second)


def _ours(name: str, source: Answer, to: str, sizes: Mapping[str, Any]) -> Translation:
    """By this project's layer, with what each of its parameters is in the source."""
    assert source.found is not None
    found = source.found
    defaults = _defaults(found.name)
    names = [name for name in inspect.signature(LAYERS[found.name]).parameters if name in SIZES]
    needed = {k: sizes.get(ROLES.get(k, k), _Name(k)) for k in names if k not in defaults}
    told = {k: v for k, v in found.keywords.items() if k not in SIZES and _plain(defaults.get(k)) != _plain(v)}
    told |= {name: _Name(name) for name, value in sizes.items() if value is None and name in told}
    imported = [found, *(value for value in told.values() if isinstance(value, Named))]
    inside = ", ".join(f"{keyword}={_as_code(value)}" for keyword, value in (needed | told).items())
    imports = [f"from {PACKAGES[to]}.{_module(each)} import {each.name}" for each in imported]
    code = "\n".join([*imports, "", f"{KIND} = {found.name}({inside})"])
    return Translation(
        name, KIND, to, OURS, code, formulation=found.written(KIND), component=found.name, keywords=found.keywords,
        against="the keywords alone: this project's tests hold its layers to the reference",
        arrays={path: (words, path) for path, words in source.arrays.items()}, notes=tuple(_why(found, to)),
    )  # fmt: skip


def _module(layer: Named) -> str:
    """The module in which all packages have a layer."""
    return LAYERS[layer.name].__module__.rpartition(".")[2]


def _as_code(value: Any) -> str:
    """A value of a keyword; of a layer inside its call, with its size as a name."""
    if not isinstance(value, Named):
        return repr(value)
    return value.written(KIND).replace("(", "(units=units, ", 1)


def _why(wanted: Named, to: str) -> Iterator[str]:
    """In what the layers of a framework that come near are others."""
    if to not in OF:
        return
    known = [one for one in layer_dialects.equal_layers(wanted.name) if one.framework == OF[to]]
    if known and any(isinstance(value, Named) for value in wanted.keywords.values()):
        yield f"{known[0].name} is not looked into: translate the layer inside"
    if not known:
        yield f"{MODULES[OF[to]]} has no {wanted.name} that is listed as the same"
    defaults = _defaults(wanted.name)
    for dialect in known[:1]:
        has, wants = {**defaults, **dialect.keywords}, {**defaults, **wanted.keywords}
        own = spelled(dialect.framework, dialect.builtin.partition("(")[0])
        for keyword, value in wants.items():
            differs = keyword not in UNTOLD and keyword in has and _plain(has[keyword]) != _plain(value)
            if differs and keyword == "biases" and {value, has[keyword]} == {1, 2} and wanted.name in ADDING:
                yield TWO_BIASES
            if differs and _argument(own.keywords.get(keyword), value) is None:
                yield f"{dialect.name} has {keyword}={has.get(keyword)!r}, not {value!r}, and no argument for it"
