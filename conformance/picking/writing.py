"""Calls written down instead of made: what stands in a package's place while a recipe builds its parts."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from conformance.recipes.components import NETWORK, Component, keyword_defaults
from conformance.recipes.resolving import OPTIONS
from reference_numpy import (
    activations,
    initializers,
    layers,
    losses,
    models,
    normalization,
    optimizers,
    regularizers,
    schedules,
)

WIDTH = 110  # columns of a line
INDENT = "    "
_MAKERS: dict[str, Mapping[str, Callable[..., Any]]] = {
    "layers": layers.LAYERS,
    "models": {**models.MODELS, NETWORK: models.network},
    "optimizers": optimizers.OPTIMIZERS,
    "regularizers": regularizers.REGULARIZERS,
    "schedules": schedules.SCHEDULES,
}
# Keywords of something that a keyword names: by whose name, and from which table.
_OPTIONS = OPTIONS | {
    "activation_options": ("activation", activations.ACTIVATIONS),
    "normalization_options": ("normalization", normalization.NORMALIZATIONS),
}
_COMPONENTS = {"initializer": initializers.INITIALIZERS, "loss": losses.LOSSES}


class Call:
    """A call that is written and not made."""

    def __init__(self, name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        self.name, self.arguments, self.keywords = name, list(arguments), dict(keywords)

    @staticmethod
    def bare(text: str) -> "Call":
        """What is written as it stands."""
        return _Bare(text, (), {})


class _Bare(Call):
    """A name, or several with commas between them."""


class Package:
    """What a recipe is given in place of a package: it writes down what is called. ``named``: by module, what is."""

    def __init__(self) -> None:
        self.named: dict[str, set[str]] = {}
        self.MODELS, self.LAYERS = _Table(self, "models"), _Table(self, "layers")
        self.PENALTIES = _Table(self, "regularizers", regularizers.PENALTIES)
        self.CLIPPINGS = _Table(self, "regularizers", regularizers.CLIPPINGS)
        self.CONSTRAINTS = _Table(self, "regularizers", regularizers.CONSTRAINTS)
        self.SCHEDULES = _Table(self, "schedules")

    def network(self, *arguments: Any, **keywords: Any) -> Call:
        """The model that is made of layers."""
        return self.component("models", NETWORK, arguments, keywords)

    def component(self, module: str, name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Call:
        """The call of a component of the catalogue, without the keywords that are its defaults."""
        parameters = inspect.signature(_MAKERS[module][name]).parameters
        defaults = {keyword: parameter.default for keyword, parameter in parameters.items()}
        given = dict(zip(defaults, arguments, strict=False)) | dict(keywords)
        return self.call(module, name, arguments, dict(_sparing(keywords, given, defaults)))

    def call(self, module: str, name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Call:
        """A call of what a module has."""
        self.named.setdefault(module, set()).add(name)
        return Call(name, arguments, keywords)

    @staticmethod
    def changed(kind: str, component: Component) -> dict[str, Any]:
        """The keywords of a component that are not its defaults."""
        defaults = keyword_defaults(_COMPONENTS[kind][component.name])
        return {keyword: value for keyword, value in component.keywords.items() if value != defaults.get(keyword)}


class _Table(Mapping[str, Callable[..., Call]]):
    """A table of a package's functions, each of which writes its call down."""

    def __init__(self, package: Package, module: str, names: Collection[str] | None = None) -> None:
        self.package, self.module = package, module
        self.names = _MAKERS[module] if names is None else names

    def __getitem__(self, name: str) -> Callable[..., Call]:
        return lambda *arguments, **keywords: self.package.component(self.module, name, arguments, keywords)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def written(value: Any, indent: str = "") -> str:
    """A value or a call as Python has it; one that is too long for a line with a line for each argument.

    >>> print(written(Call("fit", [Call.bare("model, x, y")], {"epochs": 8, "penalties": (Call("l2", [0.5], {}),)})))
    fit(model, x, y, epochs=8, penalties=(l2(0.5),))
    """
    flat = _flat(value)
    if len(indent) + len(flat) <= WIDTH or isinstance(value, _Bare):
        return flat
    inner = indent + INDENT
    if isinstance(value, Call):
        parts = [written(each, inner) for each in value.arguments]
        parts += [f"{name}={written(each, inner)}" for name, each in value.keywords.items()]
        return f"{value.name}(\n" + "".join(f"{inner}{part},\n" for part in parts) + f"{indent})"
    if isinstance(value, (list, tuple)):
        begin, end = "[]" if isinstance(value, list) else "()"
        return f"{begin}\n" + "".join(f"{inner}{written(each, inner)},\n" for each in value) + f"{indent}{end}"
    return flat


def _flat(value: Any) -> str:
    if isinstance(value, _Bare):
        return value.name
    if isinstance(value, Call):
        parts = [_flat(each) for each in value.arguments]
        parts += [f"{name}={_flat(each)}" for name, each in value.keywords.items()]
        return f"{value.name}({', '.join(parts)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_flat, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(_flat, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_flat(name)}: {_flat(each)}' for name, each in value.items())}}}"
    return f'"{value}"' if isinstance(value, str) and value.isidentifier() else repr(value)


def _sparing(
    keywords: Mapping[str, Any], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The keywords that are not defaults; of the options of something that is ``given`` by name, those that are not."""
    for keyword, value in keywords.items():
        if keyword in _OPTIONS and isinstance(value, Mapping):
            chosen, table = _OPTIONS[keyword]
            name = given.get(chosen, defaults.get(chosen))
            own = keyword_defaults(table[name]) if name in table else {}
            changed = {option: setting for option, setting in value.items() if setting != own.get(option)}
            if changed:
                yield keyword, changed
        elif not _is(value, defaults.get(keyword, inspect.Parameter.empty)):
            yield keyword, value


def _is(value: Any, default: Any) -> bool:
    """Whether a value is a default, or that for each axis."""
    return value == default or (isinstance(value, tuple) and bool(value) and all(each == default for each in value))
