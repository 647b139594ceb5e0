"""Built-in optimizers in their own framework's words: a call as somebody writes it, and the formulation that it is.

``spelling.toml`` says which argument is which keyword of ``reference_numpy.optimizers``, ``dialects.toml`` what a
built-in is with its defaults. Together they read a call, and :func:`forms` is what a call is written from.

>>> read = formulated(parse("keras.optimizers.Adam(beta_1=0.8)"))
>>> read.optimizer, read.keywords["beta1"], read.keywords["epsilon_position"]
('adam', 0.8, 'before_correction')
"""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conformance.data.wording import listed, nearest, shown
from conformance.recipes.components import POSITIONAL_KEYWORDS, keyword_defaults
from conformance.recipes.dialects import Dialect, dialect, dialects
from reference_numpy.optimizers import OPTIMIZERS

FILE = Path(__file__).with_name("spelling.toml")
CHAIN = "chain"  # of optax: several functions, one after the other
_ABOUT = ("names", "idle", "positional", "every", "further")  # tables of a framework that are no built-in's
_PLACE = re.compile(r"(.+)\[(\d)\]")


class Call(NamedTuple):
    """A call as it is written: ``builtin`` without its arguments, these by name, ``"function.argument"`` in a chain.

    A tuple of numbers is held by its places, ``"betas[0]"``.
    """

    framework: str
    builtin: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.framework}.{written(self)}"


class Form(NamedTuple):
    """One formulation of a built-in: the call that makes it, what it is, and how its numbers are spelled.

    ``numbers``: the arguments of each keyword, one or several. ``others``: arguments with the only values that this
    formulation has, those of ``call`` among them.
    """

    call: Call
    dialect: Dialect
    numbers: dict[str, tuple[str, ...]]
    others: dict[str, Any]
    idle: tuple[str, ...]

    @property
    def required(self) -> set[str]:
        """The arguments that make it this formulation: those of its call."""
        return set(self.call.arguments)

    def keyword_of(self, argument: str) -> str | None:
        """The keyword that an argument says."""
        return next((keyword for keyword, own in self.numbers.items() if argument in own), None)


class NoFormulation(ValueError):
    """A built-in's argument says what is no formulation of this project; ``without`` is the call without it."""

    def __init__(self, message: str, without: Call) -> None:
        super().__init__(message)
        self.without = without


def parse(name: str, field: str = "name") -> Call:
    """The call that a name is: ``keras.Adam``, ``keras.optimizers.Adam(beta_1=0.8)``, ``torch.optim:SGD``.

    Raises ValueError for a framework or a built-in that is not known, with the nearest, and for what is no call with
    arguments by name.

    >>> parse("torch.optim.Adam(betas=(0.8, 0.9))").arguments
    {'betas[0]': 0.8, 'betas[1]': 0.9}
    """
    framework, text = without_module(name.strip())
    if framework is None:
        raise ValueError(
            f"{field}={shown(name)} is not allowed: must be an optimizer of torch, keras or optax with its framework"
            f"{nearest(name, builtin_names()) if '.' in name else ''}"
        )
    try:
        call = read(framework, text)
    except ValueError as error:
        raise ValueError(f"{field}={shown(name)} is not allowed: {error}") from error
    known = {form.call.builtin for form in forms(framework)}
    if call.builtin not in known:
        functions = sorted(builtin for builtin in known if not builtin.startswith(CHAIN))
        near = nearest(f"{framework}.{call.builtin}", builtin_names())
        raise ValueError(f"{field}={shown(name)} is not allowed: must be one of {listed(functions)}{near}")
    return call


def read(framework: str, text: str) -> Call:
    """A call of a framework's built-in. Raises ValueError for what is no call with literal arguments by name."""
    try:
        node = ast.parse(text, mode="eval").body
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == CHAIN:
            functions = [_function(framework, each) for each in node.args]
            inside = {f"{name}.{key}": value for name, own in functions for key, value in own.items()}
            return Call(framework, f"{CHAIN}({', '.join(name for name, _ in functions)})", inside)
        return Call(framework, *_function(framework, node))
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("it must be a name, or a call with arguments by name") from error


def _function(framework: str, node: ast.expr) -> tuple[str, dict[str, Any]]:
    function = node.func if isinstance(node, ast.Call) else node
    if not isinstance(function, ast.Name):
        raise ValueError("it must be a name, or a call with arguments by name")
    if not isinstance(node, ast.Call):
        return function.id, {}
    first = _file()[framework].get("positional", {}).get(function.id)
    if len(node.args) > (first is not None) or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("every argument must be given by name")
    given = {first: node.args[0]} if node.args else {}
    given |= {str(keyword.arg): keyword.value for keyword in node.keywords}
    return function.id, placed({name: _literal(name, value) for name, value in given.items()})


def _literal(name: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(f"{name} must be a literal: a number, a truth value, None or a list of numbers") from error


def placed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with those that are tuples or lists by their places."""
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        found |= (
            {f"{name}[{k}]": each for k, each in enumerate(value)} if isinstance(value, tuple | list) else {name: value}
        )
    return found


def written(call: Call) -> str:
    """The call as text, tuples put together again.

    >>> written(read("optax", "chain(add_decayed_weights(0.1), sgd(momentum=0.9))"))
    'chain(add_decayed_weights(weight_decay=0.1), sgd(momentum=0.9))'
    """
    if not call.builtin.startswith(f"{CHAIN}("):
        inside = ", ".join(f"{name}={text}" for name, text in literals(call.arguments).items())
        return f"{call.builtin}({inside})" if inside else call.builtin
    functions = [written(one) for one in functions_of(call)]
    return f"{CHAIN}({', '.join(functions)})"


def functions_of(call: Call) -> Iterator[Call]:
    """The functions of a chain, each with its own arguments; of any other call it alone."""
    if not call.builtin.startswith(f"{CHAIN}("):
        yield call
        return
    for name in call.builtin.removeprefix(f"{CHAIN}(").removesuffix(")").split(", "):
        own = {path.partition(".")[2]: value for path, value in call.arguments.items() if path.startswith(f"{name}.")}
        yield Call(call.framework, name, own)


def literals(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Arguments as they are written in a call: ``betas[0]`` and ``betas[1]`` are ``betas``."""
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        place = _PLACE.fullmatch(name)
        if place is None:
            found[name] = repr(value)
        else:
            found.setdefault(place[1], []).append(repr(value))
    return {name: f"({', '.join(text)})" if isinstance(text, list) else text for name, text in found.items()}


def formulated(call: Call) -> Dialect:
    """What a call is: the dialect of its built-in, with the numbers that the call gives.

    Raises ValueError for an argument that the built-in does not have or whose value is no number, NoFormulation for
    one that says what no formulation of this project is.
    """
    own = _of(call)
    _check_arguments(call, own)
    for form in own:
        if not _against(form, call):
            return _filled(form, call)
    form = min(own, key=lambda form: len(_against(form, call)))
    least = _against(form, call)
    said = ", ".join(f"{name}={call.arguments[name]!r}" for name in least if name in call.arguments)
    lacking = ", ".join(f"{name}={form.call.arguments[name]!r}" for name in least if name not in call.arguments)
    named = f"{call.framework}.{call.builtin}"
    what = f"{said} of {named}" if said else f"{named} without {lacking}"
    kept = {name: value for name, value in call.arguments.items() if name not in least}
    kept |= {name: value for name, value in form.call.arguments.items() if name in least}
    raise NoFormulation(f"{what} is none of this project's formulations", call._replace(arguments=kept))


def _against(form: Form, call: Call) -> list[str]:
    """The arguments by which a call is not this form, or that it lacks to be it."""
    lacking = [name for name in form.required if name not in call.arguments and form.call.arguments[name] is not None]
    wrong = [
        name
        for name, value in call.arguments.items()
        if form.keyword_of(name) is None and name not in form.idle and value != form.others.get(name, value)
    ]
    return wrong + lacking + _split(form, call)


def _split(form: Form, call: Call) -> list[str]:
    """The arguments that are one number here, and two in the call."""
    several = [own for own in form.numbers.values() if len(own) > 1]
    return [own[0] for own in several if len({call.arguments.get(name) for name in own}) > 1]


def _filled(form: Form, call: Call) -> Dialect:
    said = {keyword: call.arguments[own[0]] or 0.0 for keyword, own in form.numbers.items() if own[0] in call.arguments}
    named = form.dialect._replace(builtin=written(call))
    return named._replace(keywords=form.dialect.changed({k: _number(v, form, k) for k, v in said.items()}))


def _number(value: Any, form: Form, keyword: str) -> Any:
    default = keyword_defaults(OPTIMIZERS[form.dialect.optimizer], POSITIONAL_KEYWORDS)[keyword]
    return float(value) if isinstance(default, float) else value


def _check_arguments(call: Call, own: list[Form]) -> None:
    """Raise ValueError for an argument that the built-in does not have, and for a number that is none."""
    numbers = {name for form in own for names in form.numbers.values() for name in names}
    known = _known(call)
    for name, value in call.arguments.items():
        if name not in known:
            raise ValueError(not_an_argument(call, name, known))
        optional = any(form.others.get(name, value) is None for form in own) or name.endswith("weight_decay")
        if name in numbers and (isinstance(value, bool) or not isinstance(value, int | float)):
            if value is None and optional:
                continue
            raise ValueError(
                f"{name}={shown(value)} of {call.framework}.{call.builtin} is not allowed: must be a number"
            )


def is_spelled(call: Call, argument: str, value: Any, keywords: Mapping[str, Any]) -> bool:
    """Whether what stands beside a dialect is an argument of the built-in, and no keyword of the reference's.

    ``amsgrad`` is both: a truth value is the built-in's.

    >>> call = parse("torch.Adam")
    >>> is_spelled(call, "betas", [0.8, 0.9], {"beta1": 0.9}), is_spelled(call, "beta1", 0.8, {"beta1": 0.9})
    (True, False)
    """
    known = {name.partition("[")[0] for name in _known(call)}
    return argument in known and (argument not in keywords or (argument == "amsgrad" and isinstance(value, bool)))


def misspelled(
    call: Call, left: Mapping[str, Any], own: Mapping[str, Any], keywords: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with keywords beside a dialect: said twice, another framework's, or the reference's and another's.

    ``left``: those that are no arguments of the built-in, ``own`` those that are.
    """
    said = {keyword for form in _of(call) for name in placed(own) if (keyword := form.keyword_of(name))}
    unlike = {
        name for form in _of(call) for name in form.others if name in keywords and name not in form.call.arguments
    }
    for keyword, value in left.items():
        if keyword in said:
            yield f"{keyword} is said twice, as {' and '.join(map(repr, own))} too"
        elif keyword == "weight_decay" and keyword in unlike and value:
            yield f"{keyword} of {call} is decoupled, that of the reference is not: say adamw or another by its name"
        elif keyword not in keywords and any(keyword in _spelled_by(other) for other in _frameworks()):
            yield not_an_argument(call, keyword, _known(call))


def not_an_argument(call: Call, name: str, known: set[str]) -> str:
    """The words for an argument that a built-in does not have: whose spelling it is, or which is nearest."""
    shorter = sorted({own.partition("[")[0] for own in known})
    others = [other for other in _frameworks() if other != call.framework and name in _spelled_by(other)]
    whose = f": it is the spelling of {' and '.join(others)}" if others else ""
    keywords = {keyword for other in others for keyword in _spelled_by(other)[name]}
    here = sorted({own for form in forms(call.framework) if form.call.builtin == call.builtin
                   for keyword in keywords for own in form.numbers.get(keyword, ())})  # fmt: skip
    meant = f"; here it is {' or '.join(map(repr, here))}" if here else nearest(name, shorter)
    return f"{name} is no argument of {call.framework}.{call.builtin}{whose}: must be one of {listed(shorter)}{meant}"


def _of(call: Call) -> list[Form]:
    return [form for form in forms(call.framework) if form.call.builtin == call.builtin]


def _known(call: Call) -> set[str]:
    """The arguments of a built-in, the places of a tuple each for itself."""
    own = _of(call)
    numbers = {name for form in own for names in form.numbers.values() for name in names}
    return numbers | {name for form in own for name in (*form.others, *form.idle)}


@cache
def _spelled_by(framework: str) -> dict[str, set[str]]:
    """The keywords that each argument of a framework's built-ins says."""
    found: dict[str, set[str]] = {}
    for form in forms(framework):
        for keyword, names in form.numbers.items():
            for name in names:
                for spelled in (name, name.partition("[")[0]):
                    found.setdefault(spelled, set()).add(keyword)
    return found


@cache
def forms(framework: str) -> tuple[Form, ...]:
    """Every formulation of a framework's built-ins that the project knows, the dialects first."""
    table = _file()[framework]
    known = {found.builtin: found for found in dialects() if found.framework == framework}
    for builtin, line in table["further"].items():
        like = dialect(framework, line["like"])
        changes = {name: value for name, value in line.items() if name not in ("like", "numbers", "note")}
        note = line.get("note", like.note)
        known[builtin] = like._replace(builtin=builtin, keywords=like.changed(changes), note=note)
    return tuple(_form(framework, found, table) for found in known.values())


def _form(framework: str, found: Dialect, table: Mapping[str, Any]) -> Form:
    call = read(framework, found.builtin)
    line = table[call.builtin] | table["further"].get(found.builtin, {})
    keywords = keyword_defaults(OPTIMIZERS[found.optimizer], POSITIONAL_KEYWORDS)
    none_of = line.get("not_of", {}).get(found.optimizer, ())
    numbers = {
        keyword: tuple(names.split(", "))
        for keyword, names in line["numbers"].items()
        if keyword in keywords and keyword not in none_of
    }
    others = _arguments(framework, table.get("every", {}).get("others", "")) | _arguments(
        framework, line.get("others", "")
    )
    spoken = {name for names in numbers.values() for name in names}
    fixed = {name: value for name, value in (others | call.arguments).items() if name not in spoken}
    return Form(call, found, numbers, fixed, tuple(table["idle"]))


def _arguments(framework: str, text: str) -> dict[str, Any]:
    return read(framework, text if text.startswith(f"{CHAIN}(") else f"f({text})").arguments


@cache
def builtin_names() -> tuple[str, ...]:
    """Every built-in with its framework, as it is named: ``torch.Adam``."""
    names = {f"{fw}.{form.call.builtin}": None for fw in _frameworks() for form in forms(fw)}
    return tuple(name for name in names if CHAIN not in name)


def _frameworks() -> tuple[str, ...]:
    return tuple(_file())


def without_module(name: str) -> tuple[str | None, str]:
    """The framework of a name, and the rest behind its module."""
    dotted = name.replace(":", ".", 1)
    for framework, table in _file().items():
        for module in table["names"]:
            if dotted.startswith(f"{module}."):
                return framework, dotted.removeprefix(f"{module}.")
    return None, dotted


@cache
def _file() -> dict[str, dict[str, Any]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))
