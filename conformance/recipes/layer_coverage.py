"""Coverage of layers: every keyword of every layer with the values that are another formulation, and which are held.

A size is no formulation; what a layer is given is one, where its mathematics are of one, two or three axes or where
steps may be missing.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from conformance.data.extents import EXTENTS
from conformance.recipes.components import keyword_defaults
from conformance.recipes.layer_sizes import Placed, placed
from conformance.recipes.layers import LayerChoice, all_layers, defaults_of
from conformance.recipes.recipe import Recipe
from reference_numpy.activations import ACTIVATIONS
from reference_numpy.initializers import INITIALIZERS

# Keywords that are sizes or, of dropout, a share.
SIZES = ("units", "channels", "entries", "shape", "keep_probability")

_SWITCH = ("false", "true")
_CHANGED = ("usual", "another")  # the default, or not
_PADDING = ("valid", "same", "numbers", "uneven numbers")
_AXES = ("one axis", "two axes", "two axes, uneven")
_STEPS = ("all there", "some missing")
_OF_ANY_RANK = ("features", "sequences", "images")
_JOIN = ("sum", "concatenate")
_POOL = {"window": _AXES, "stride": ("the window", "another", "another, uneven"), "padding": _PADDING}
_INITIAL = {"initializer": _CHANGED, "initializer_options": _CHANGED}
_RECURRENT = {
    "return_sequences": _SWITCH, "reverse": _SWITCH, "biases": ("0", "1", "2"), "initializer": _CHANGED,
    "recurrent_initializer": _CHANGED, "steps": _STEPS,
}  # fmt: skip

# By layer and keyword. "of" is what a layer is given, "steps" whether all of a sequence are there, "layers" which are
# inside or how many.
FORMULATIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "dense": {"bias": _SWITCH, **_INITIAL, "of": ("features", "sequences")},
    "activation": {"function": tuple(ACTIVATIONS), "options": _CHANGED},
    "dropout": {"of": _OF_ANY_RANK},
    "flatten": {"order": ("channels_last", "channels_first"), "of": ("sequences", "images")},
    "reshape": {"of": ("features", "images")},
    "convolution": {
        "kernel": _AXES, "stride": ("1", "more", "uneven"), "padding": _PADDING, "dilation": ("1", "more", "uneven"),
        "groups": ("1", "some", "one for each channel"), "bias": _SWITCH, **_INITIAL,
    },
    "max_pool": _POOL,
    "average_pool": _POOL | {"count_padding": _SWITCH},
    "global_max_pool": {"of": ("sequences", "images"), "steps": _STEPS},
    "global_average_pool": {"of": ("sequences", "images"), "steps": _STEPS},
    "embedding": {**_INITIAL, "mask_zero": _SWITCH},
    "masking": {"value": _CHANGED},
    "batch_norm": {
        "epsilon": _CHANGED, "momentum": _CHANGED, "running_variance": ("biased", "unbiased"), "of": _OF_ANY_RANK,
    },
    "layer_norm": {"epsilon": _CHANGED, "of": _OF_ANY_RANK},
    "simple_rnn": {"activation": ("tanh", "relu"), **_RECURRENT},
    "lstm": {"gates": _CHANGED, "forget_bias": _CHANGED, **_RECURRENT},
    "gru": {"gates": _CHANGED, "reset": ("after", "before"), **_RECURRENT},
    "bidirectional": {"join": _JOIN, "layers": ("simple_rnn", "lstm", "gru"), "steps": _STEPS},
    "attention": {
        "heads": ("1", "several"), "key_units": ("n / heads", "another"), "causal": _SWITCH, "bias": _SWITCH,
        **_INITIAL, "steps": _STEPS,
    },
    "positional_encoding": {"base": _CHANGED, "layout": ("interleaved", "halves"), "of": ("even", "odd")},
    "sequence": {"layers": ("one", "several")},
    "residual": {"layers": ("one", "several")},
    "parallel": {"join": _JOIN, "layers": ("one", "several")},
}  # fmt: skip


def held(recipes: Iterable[Recipe]) -> dict[str, set[str]]:
    """Which formulations the networks among ``recipes`` hold, by layer, each as ``"keyword: value"``.

    Of a network for data in files it is not known what its layers are given.
    """
    found: dict[str, set[str]] = {name: set() for name in FORMULATIONS}
    for recipe in recipes:
        for layer in all_layers(recipe.model.layers):
            found[layer.name] |= {f"{keyword}: {value}" for keyword, value in _said(layer)}
        extent = EXTENTS.get(recipe.dataset.name)
        if recipe.is_network and extent is not None:
            for place in placed(recipe.model.layers, (extent.features,), tokens=extent.vocabulary is not None):
                found[place.layer.name] |= {f"{keyword}: {value}" for keyword, value in _given(place)}
    return found


def wanted(layer: str) -> list[str]:
    """The formulations of a layer, as ``held`` names them."""
    return [f"{keyword}: {value}" for keyword, values in FORMULATIONS[layer].items() for value in values]


def _said(layer: LayerChoice) -> Iterator[tuple[str, str]]:
    """The keywords of a layer, and how many layers are inside or which."""
    for keyword, value in layer.keywords.items():
        if keyword not in SIZES:
            yield keyword, _value(layer.name, layer.keywords, keyword, value)
    if layer.name == "bidirectional":
        yield "layers", layer.layers[0].name
    else:
        for series in layer.series:
            yield "layers", "one" if len(series) == 1 else "several"


def _given(place: Placed) -> Iterator[tuple[str, str]]:
    """What a layer is given, and, of both directions of one, what that is given."""
    of = ("features", "sequences", "images")[min(len(place.takes), 3) - 1]
    if place.layer.name == "positional_encoding":
        of = ("even", "odd")[place.takes[-1] % 2]
    yield "of", of
    yield "steps", _STEPS[place.data.masked]


def _value(layer: str, keywords: Mapping[str, Any], keyword: str, value: Any) -> str:
    """A value in the words of FORMULATIONS."""
    allowed = FORMULATIONS[layer][keyword]
    if allowed == _CHANGED:
        return _CHANGED[value != _usual(layer, keywords, keyword)]
    if keyword in ("kernel", "window"):
        return _AXES[len(value) - 1 + (len(set(value)) > 1)]
    if keyword in ("stride", "dilation"):
        window = keywords.get("window")
        uneven = len(set(value)) > 1
        if window is not None:
            return "the window" if value == window else "another, uneven" if uneven else "another"
        return "uneven" if uneven else "1" if value[0] == 1 else "more"
    if keyword == "padding" and not isinstance(value, str):
        return "uneven numbers" if len(set(value)) > 1 else "numbers"
    if keyword == "groups":
        return "1" if value == 1 else "one for each channel" if value == keywords["channels"] else "some"
    if keyword == "heads":
        return "1" if value == 1 else "several"
    if keyword == "key_units":
        return "n / heads" if value is None else "another"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _usual(layer: str, keywords: Mapping[str, Any], keyword: str) -> Any:
    """What a keyword is where nothing is said."""
    if keyword == "options":
        return keyword_defaults(ACTIVATIONS[keywords["function"]])
    if keyword == "initializer_options":
        return keyword_defaults(INITIALIZERS[keywords["initializer"]])
    return defaults_of(layer)[keyword]


def missing(recipes: Iterable[Recipe]) -> dict[str, list[str]]:
    """The formulations that no network among ``recipes`` holds, by layer."""
    found = held(recipes)
    return {name: [value for value in wanted(name) if value not in found[name]] for name in FORMULATIONS}
