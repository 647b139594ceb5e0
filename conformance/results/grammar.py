"""The one grammar of stored tensors: a file of arrays with flat names is a tree of nested dicts.

A name is the path to an array, its parts joined by ``|``; a part that holds ``|`` or ``%`` has them as ``%7C`` and
``%25``. What a check observed is a list: its tree is ``{place: {"value": ..., "margins": ..., ...}}``, with the keys
of the observations, in order, as JSON in the file's metadata.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from conformance.checks.observation import Key, Lost, Observation
from conformance.problems.tensors import Array, Tensors

Tree = dict[str, Any]  # nested, with arrays as its leaves

SEPARATOR = "|"


def flatten(tree: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Tensors:
    """The arrays of a tree by their flat names; an empty part leaves nothing.

    >>> import numpy as np
    >>> flatten({"points": {0: {"W1": np.ones(1), "a|b": np.zeros(1)}}})
    {'points|0|W1': array([1.]), 'points|0|a%7Cb': array([0.])}
    """
    flat: Tensors = {}
    for name, value in tree.items():
        here = (*path, _escaped(str(name)))
        flat |= flatten(value, here) if isinstance(value, Mapping) else {SEPARATOR.join(here): value}
    return flat


def unflatten(flat: Mapping[str, Array]) -> Tree:
    """The inverse of :func:`flatten`; names are text, in the order of the file.

    >>> unflatten({"points|0|a%7Cb": 1, "points|1|W1": 2})
    {'points': {'0': {'a|b': 1}, '1': {'W1': 2}}}
    """
    return nested((map(_unescaped, name.split(SEPARATOR)), value) for name, value in flat.items())


def nested(values: Iterable[tuple[Iterable[str], Any]]) -> Tree:
    """Values by their paths as nested dicts.

    >>> nested([(("a", "b"), 1), (("a", "c"), 2)])
    {'a': {'b': 1, 'c': 2}}
    """
    tree: Tree = {}
    for path, value in values:
        *branches, leaf = path
        place = tree
        for branch in branches:
            place = place.setdefault(branch, {})
        place[leaf] = value
    return tree


def observed_tree(observations: Iterable[Observation]) -> tuple[Tree, str]:
    """A list of observations as a tree of arrays, and their keys as JSON, beside them what was malformed and scales."""
    listed = list(observations)
    tree: Tree = {}
    for place, found in enumerate(listed):
        margins = {} if found.margins is None else {"margins": found.margins}
        tree[str(place)] = {"value": found.value, **margins}
    beside = [{"malformed": found.malformed, "scale": found.scale} for found in listed]
    keys = [
        vars(found.key) | {field: told for field, told in more.items() if told}
        for found, more in zip(listed, beside, strict=True)
    ]
    return tree, json.dumps(keys)


def observations(tree: Mapping[str, Any], keys: str) -> list[Observation]:
    """The inverse of :func:`observed_tree`."""
    found = []
    for place, key in enumerate(json.loads(keys)):
        malformed, scale, arrays = key.pop("malformed", ""), float(key.pop("scale", 0.0)), tree[str(place)]
        found.append(Observation(Key(**key), arrays["value"], arrays.get("margins"), malformed, scale))
    return found


def lost_as_text(lost: Iterable[Lost]) -> str:
    """Lost parts of a check as JSON."""
    return json.dumps([part._asdict() for part in lost])


def lost_from_text(text: str) -> list[Lost]:
    """The inverse of :func:`lost_as_text`."""
    return [Lost(**{**part, "stages": tuple(part["stages"])}) for part in json.loads(text)]


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace(SEPARATOR, "%7C")


def _unescaped(part: str) -> str:
    return part.replace("%7C", SEPARATOR).replace("%25", "%")
