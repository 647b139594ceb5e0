"""Components with every keyword: what a recipe leaves out is filled in, and all that is wrong with it told at once.

The reference is the judge. It refuses one keyword at a time: what it refuses gives way to a default, and it is asked
again, until it refuses nothing.
"""

import inspect
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple, get_args

import numpy as np

from conformance.data.wording import cut, escaped, nearest, shown
from conformance.recipes import bounds
from conformance.recipes.components import (
    LONGEST_REFUSAL,
    POSITIONAL_KEYWORDS,
    TABLES,
    TRIALS,
    Unit,
    hashable,
    keyword_defaults,
    nearest_word,
    not_allowed,
    refuse,
)
from conformance.recipes.dialects import Dialect, dialect, optimizer_names
from conformance.recipes.layer_dialects import is_layer_dialect
from conformance.recipes.spelling import formulated, is_spelled, misspelled, parse, placed
from reference_numpy.activations import ACTIVATIONS
from reference_numpy.initializers import INITIALIZERS
from reference_numpy.schedules import SCHEDULES

# Keywords of something that a keyword names: by whose name, and from which table.
OPTIONS: dict[str, tuple[str, Mapping[str, Callable[..., Any]]]] = {
    "options": ("function", ACTIVATIONS),
    "initializer_options": ("initializer", INITIALIZERS),
    "after_options": ("after", SCHEDULES),
}
# What stands for a required keyword that is refused or missing, while the others are tried.
STAND_INS: dict[str, Any] = {
    "units": 1, "channels": 1, "kernel": (1,), "window": (1,), "keep_probability": 0.5, "shape": (1,), "entries": 1,
    "heads": 1, "function": "identity", "strength": 1.0, "limit": 1.0,
}  # fmt: skip
# Lists that must be as long as others, and the n numbers that stand for one that is refused.
_ALIKE: dict[str, tuple[tuple[str, ...], Callable[[int], tuple[Any, ...]]]] = {
    "boundaries": (("factors",), lambda n: tuple(range(1, n + 1))),
    "factors": (("boundaries",), lambda n: (1.0,) * n),
    "kernel": (("stride", "padding", "dilation", "kernel"), lambda n: (1,) * min(n, 2)),
    "window": (("stride", "padding", "window"), lambda n: (1,) * min(n, 2)),
}
_ALONE: tuple[tuple[str, ...], Callable[[int], tuple[Any, ...]]] = ((), lambda n: ())
_MOST = {"history": bounds.MOST_HISTORY}  # of what costs before anything is trained
_QUOTED = re.compile(r"'[^']*'")


class Refusal(NamedTuple):
    """What the reference says against a keyword, or one of its options: ``rest`` follows the keyword and its value."""

    keyword: str
    option: str | None
    value: Any
    rest: str


def resolve(field: str, value: Any, table: Mapping[str, Callable[..., Any]]) -> Any:
    """``value`` with the keywords it leaves out.

    Raises ValueError for an unknown name or keyword or a bad value; its message has a line for each.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return value  # pydantic says what is wrong
    kind, name = field.split(".")[0], value["name"]
    extra = {"unit": value["unit"]} if kind == "schedule" and "unit" in value else {}
    units = get_args(Unit)
    problems = [not_allowed(f"{field}.unit", unit, units) for unit in extra.values() if unit not in units]
    if name not in table:
        refuse([not_allowed(f"{field}.name", name, table), *problems])
    given = {k: hashable(v) for k, v in value.items() if k != "name" and k not in extra}
    defaults = keyword_defaults(table[name], () if kind == "schedule" else POSITIONAL_KEYWORDS)
    wrong, sound = sifted(field, name, given, defaults)
    trial = TRIALS.get(field, TRIALS.get(kind))
    if trial is not None:
        for found in refusals(lambda keywords: trial(table[name], keywords), sound, defaults, set(given) - set(sound)):
            place = field if found.option is None else f"{field}.{found.keyword}"
            keyword, setting = found.option or found.keyword, found.value
            written = shown(list(setting) if isinstance(setting, tuple) else setting)
            said = f"{keyword}={written} is not allowed{found.rest}" if keyword else found.rest
            wrong.append(f"{place}: {said}{nearest_word(found.value, found.rest)}")
    refuse(problems + wrong)
    return {"name": name, **extra, **defaults, **given}


def sifted(
    field: str, name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """What is wrong with the keywords of a component before the reference is asked, and the keywords that are not."""
    wrong, sound = list[str](), dict[str, Any]()
    for keyword, setting in given.items():
        if keyword not in defaults:
            wrong.append(not_allowed(f"{field} keyword", keyword, defaults, f" for {name!r}"))
        elif keyword in OPTIONS and setting is not None:
            chosen, table = OPTIONS[keyword]
            found, options = _sifted_options(f"{field}.{keyword}", given.get(chosen, defaults[chosen]), setting, table)
            wrong += found
            sound |= {} if options is None else {keyword: options}
        else:
            found = list(_wrong_kind(f"{field}.{keyword}", setting, isinstance(defaults[keyword], bool)))
            if keyword in _MOST and isinstance(setting, int) and setting > _MOST[keyword]:
                found.append(f"{field}.{keyword}={shown(setting)} is not allowed: must be at most {_MOST[keyword]:,}")
            wrong += found
            sound |= {} if found else {keyword: setting}
    missing = [k for k, v in defaults.items() if v is inspect.Parameter.empty and k not in given]
    return wrong + [f"{field}.{keyword} is missing: {name!r} needs it" for keyword in missing], sound


def _sifted_options(
    field: str, chosen: Any, setting: Any, table: Mapping[str, Callable[..., Any]]
) -> tuple[list[str], dict[str, Any] | None]:
    """As ``sifted``, of the keywords of what is ``chosen`` from a table; None where that is not known."""
    if not isinstance(setting, Mapping):
        return [f"{field}={shown(setting)} is not allowed: must be a table of keywords"], None
    if not isinstance(chosen, str) or chosen not in table:
        return [], None  # what is wrong is said of the name
    return sifted(field, chosen, setting, keyword_defaults(table[chosen]))


def _wrong_kind(field: str, setting: Any, switch: bool) -> Iterator[str]:
    """A truth value where a number or a word is meant, the other way round, and what is no finite number."""
    if switch and not isinstance(setting, bool):
        yield f"{field}={shown(setting)} is not allowed: must be true or false"
    elif isinstance(setting, bool) and not switch:
        yield f"{field}={setting!r} is not allowed: must be no truth value"
    elif isinstance(setting, (int, float)) and not _finite(setting):
        yield f"{field}={shown(setting)} is not allowed: must be a finite number"
    elif isinstance(setting, (Mapping, list, tuple)):
        for place, part in setting.items() if isinstance(setting, Mapping) else enumerate(setting):
            yield from _wrong_kind(f"{field}.{cut(escaped(place))}", part, False)


def _finite(number: float) -> bool:
    """Whether float64 holds it, too."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def refusals(
    trial: Callable[[dict[str, Any]], Any],
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    wrong: Collection[str],
    names: Mapping[str, str] | None = None,
) -> Iterator[Refusal]:
    """What the reference says of the keywords ``given``, of every one that it refuses; what is not given is a default.

    ``wrong``: keywords that are not given because they have been refused before. ``names``: a recipe's name of a
    keyword by the reference's, where they differ. What is refused only beside what stands for a refused keyword is
    passed over. A refusal of no keyword in particular has none, and is the last.
    """
    required = {k for k, v in defaults.items() if v is inspect.Parameter.empty}
    left, replaced = dict(given), {*wrong, *(required - set(given))}
    keywords = {keyword: left.get(keyword, _stand_in(keyword, given, defaults)) for keyword in defaults}
    while (said := _said(trial, keywords)) is not None:
        head, found, rest = said.rpartition(" is not allowed")
        named = (names or {}).get(head.partition("=")[0], head.partition("=")[0]) if found else ""
        blamed = _blamed(trial, said, named, left, keywords, defaults)
        others = set(re.findall(r"\w+", _QUOTED.sub("", rest))) - set(_ALIKE.get(named, _ALONE)[0])
        beside = {named, *others} & replaced
        if blamed is None:
            if not beside:
                yield Refusal("", None, None, cut(said, LONGEST_REFUSAL))
            return
        keyword, option = blamed
        value = left[keyword][option] if option is not None else left[keyword]
        own = named in (keyword, option)
        if not beside:
            yield Refusal(keyword, option, value, cut(rest if own else f": {said}", LONGEST_REFUSAL))
        if option is not None:
            left[keyword] = keywords[keyword] = {k: v for k, v in left[keyword].items() if k != option}
            continue
        del left[keyword]
        keywords[keyword] = _stand_in(keyword, keywords, defaults)
        replaced.add(keyword)
        for options, (chosen, _) in OPTIONS.items():
            if chosen == keyword and options in left:  # they are those of another
                del left[options]
                keywords[options] = defaults[options]


def _blamed(
    trial: Callable[[dict[str, Any]], Any],
    said: str,
    named: str,
    left: Mapping[str, Any],
    keywords: dict[str, Any],
    defaults: Mapping[str, Any],
) -> tuple[str, str | None] | None:
    """Which keyword is refused, and which of its options: the one named, or without which other words are said."""
    if named in left:
        return named, None
    for keyword in left:
        if keyword in OPTIONS and isinstance(left[keyword], Mapping) and named in left[keyword]:
            return keyword, named
    for keyword in left:
        if _said(trial, keywords | {keyword: _stand_in(keyword, keywords, defaults)}) != said:
            return keyword, None
    return None


def _stand_in(keyword: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """What stands for a keyword that is not given or refused: of as many numbers as the list that goes with it."""
    others, numbers = _ALIKE.get(keyword, _ALONE)
    lengths = [len(given[other]) for other in others if isinstance(given.get(other), tuple) and given[other]]
    if lengths:
        return numbers(lengths[0])
    default = defaults[keyword]
    return STAND_INS[keyword] if default is inspect.Parameter.empty else default


def _said(trial: Callable[[dict[str, Any]], Any], keywords: dict[str, Any]) -> str | None:
    """What the reference says against keywords; None: nothing."""
    try:
        with np.errstate(all="ignore"):  # a trial's numbers are not looked at
            trial(keywords)
    except (ValueError, TypeError, OverflowError) as error:
        return str(error)
    return None


def speak(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizer of a dialect, ``{dialect = "keras.Adam"}``, with the keywords that stand beside it changed.

    These are the reference's, or arguments of the built-in as its framework spells them: ``beta_1``.
    """
    if is_layer_dialect(optimizer["dialect"]):
        named = f"optimizer.dialect={shown(optimizer['dialect'])}"
        raise ValueError(f"{named} is not allowed: it is a dialect of a layer, not of an optimizer")
    beside = {name: value for name, value in optimizer.items() if name not in ("dialect", "name")}
    found, changed = told_beside(str(optimizer["dialect"]), beside)
    spoken = {"name": found.optimizer, **found.changed(changed)}
    named = optimizer.get("name", found.optimizer)
    if named != found.optimizer:
        context = f" for {optimizer['dialect']!r}"
        problems = [not_allowed("optimizer.name", named, (found.optimizer,), context)]
        refuse(problems + _problems("optimizer", spoken, TABLES["optimizer"]))
    return spoken


def told_beside(name: str, beside: Mapping[str, Any]) -> tuple[Dialect, dict[str, Any]]:
    """The dialect of a name with the arguments beside it that its framework spells so, and the keywords that are left.

    Raises ValueError for a name that is not known, for what another framework spells so, and for what is said twice.
    """
    place = f"optimizer.dialect={shown(name)}"
    try:
        call = parse(name, "optimizer.dialect")
        keywords = keyword_defaults(TABLES["optimizer"][formulated(call).optimizer], POSITIONAL_KEYWORDS)
    except ValueError as error:
        raise ValueError(_unknown_dialect(name, str(error))) from error
    own = {argument: value for argument, value in beside.items() if is_spelled(call, argument, value, keywords)}
    left = {keyword: value for keyword, value in beside.items() if keyword not in own}
    try:
        found = formulated(call._replace(arguments=call.arguments | placed(own)))
        refuse(misspelled(call, left, own, keywords))
    except ValueError as error:
        raise ValueError("\n".join(f"{place}: {line}" for line in str(error).splitlines())) from error
    return found, left


def _unknown_dialect(name: str, said: str) -> str:
    """The words for a name that is no dialect: as the table of dialects has them, where it is one's alone."""
    try:
        dialect(name)
    except ValueError as error:
        said = said if "(" in name else str(error)
    near = "" if "did you mean" in said else nearest(name, optimizer_names())
    return f"optimizer.dialect={shown(name)}: {cut(said, LONGEST_REFUSAL)}{near}"


def _problems(field: str, value: Any, table: Mapping[str, Callable[..., Any]]) -> list[str]:
    try:
        resolve(field, value, table)
    except ValueError as error:
        return str(error).splitlines()
    return []
