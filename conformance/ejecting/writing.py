"""A program as a file: in the order in which it is read, with short names, imports and a head, formatted."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec

from conformance.ejecting.docstrings import shortened
from conformance.ejecting.naming import imported, short_names
from conformance.ejecting.packages import BLOCKS, MODEL, Package, split
from conformance.ejecting.program import Program, needed_at_once
from conformance.ejecting.text import Edit, Source

# The order in which the modules of a package are read; the skeleton comes last, and begins with its model.
_FORMULAS = (
    "activations", "initializers", "normalization", "losses", "regularizers", "schedules", "optimizers",
)  # fmt: skip
_LAYERS = "_layer", "convolution", "recurrent", "attention"
_ORDER = ("_common", "arithmetic", *_FORMULAS, *_LAYERS, BLOCKS, MODEL, "SKELETON", "reading", "TRAIN")
_FULL_NAME = re.compile(r"\b\w+__\w+\b")
LINE_LENGTH = 120


class NoFormatter(Exception):
    """Raised where the formatter, ruff, is not installed."""


def written(program: Program, head: str, constants: Mapping[str, tuple[str, str]], ending: str = "") -> str:
    """The text of a file; ``constants``: the code of each by its full name, and a comment."""
    definitions = _without_copies(program.definitions)
    absent = _absent(program)
    parts = []
    for name in _in_order(definitions, program.package):
        is_formula = split(name)[0] in _FORMULAS and not split(name)[1].startswith("_")
        chosen = program.chosen.get(name, {}) if is_formula else {}
        text = program.package.documented(name, definitions[name])
        parts.append(shortened(text, program.package.definition(name), chosen, absent))
    body = "".join(part if _is_short(part) else f"\n\n{part}\n\n" for part in parts)
    used = [name for name in constants if re.search(rf"\b{name}\b", body)]
    lines = [f"{name} = {constants[name][0]}{_comment(constants[name][1])}" for name in used]
    body = "\n".join(lines) + f"\n\n\n{body}\n\n{ending}"
    foreign: dict[str, str] = {}
    for module in sorted(program.modules, key=lambda name: name != program.package.framework):
        foreign |= program.package.module(module).foreign
    names = short_names(body, [*definitions, *used], foreign)
    body = _FULL_NAME.sub(lambda found: names.get(found[0], found[0]), body)
    body = re.sub(r"\{'([\w .]*)'\}", r"\1", body)  # words in f-strings
    head = _FULL_NAME.sub(lambda found: names.get(found[0], found[0]), head)
    body = without_brackets(body)
    return formatted(f'"""{head}"""\n\n' + "\n".join(imported(body, foreign)) + f"\n\n{body}\n")


def formatted(text: str, line_length: int = LINE_LENGTH) -> str:
    """As ruff formats it, with its imports sorted. Raises NoFormatter where ruff is not installed."""
    if find_spec("ruff") is None:
        raise NoFormatter("ruff, which formats what is written, is not installed: pip install ruff")
    width = f"line-length={line_length}"
    ruff = [sys.executable, "-m", "ruff"]
    rules = "I,F401,F541,RET505,UP034"
    fix = ["check", "--isolated", "--quiet", "--fix-only", "--select", rules, "--config", width, "-"]
    plain = "format.skip-magic-trailing-comma=true"  # the lines that a text of fewer arguments needs
    for arguments in (fix, ["format", "--isolated", "--config", width, "--config", plain, "-"]):
        ended = subprocess.run([*ruff, *arguments], input=text, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise AssertionError(f"what was written is no Python: {ended.stderr}")
        text = ended.stdout
    return text


def _absent(program: Program) -> set[str]:
    """Functions of the formulas that a program has parts of, other than those that it has."""
    left = {split(name)[1] for name in program.definitions}
    known = {name for module in program.modules & {*_FORMULAS} for name in program.package.module(module).definitions}
    return {name for name in known - left if name[0].islower()}


def _in_order(definitions: Mapping[str, str], package: Package) -> Iterator[str]:
    """Each definition after what it needs to be made, else as a reader wants them."""
    origins = {new: split(old)[0] for old, new in package.replaced.items()}
    skeleton = package.module(package.framework)
    last_part = skeleton.source.start(skeleton.definitions["train"])

    def rank(name: str) -> tuple[int, int, int]:
        module, own = split(name)
        place = package.module(module).source.start(package.module(module).definitions[own])
        if module == package.framework:
            module = origins.get(name, "TRAIN" if place >= last_part else "SKELETON")
        is_alias = "(" not in definitions[name] and not definitions[name].startswith(("class ", "@"))
        return (0 if is_alias else 1, _ORDER.index(module) if module in _ORDER else -1, place)

    return iter(_stable(definitions, sorted(definitions, key=rank)))


def _stable(definitions: Mapping[str, str], wanted: Iterable[str]) -> list[str]:
    done: list[str] = []

    def place(name: str) -> None:
        if name in done:
            return
        for each in sorted(needed_at_once(definitions[name])):
            if each in definitions and each != name:
                place(each)
        done.append(name)

    for name in wanted:
        place(name)
    return done


def without_brackets(text: str) -> str:
    """Without the brackets that stand around a name, a number or the like, and say nothing.

    >>> without_brackets("a = (b) * f((c)) + (d.e)")
    'a = b * f(c) + d.e'
    """
    source = Source(text)
    edits = []
    for node in source.nodes:
        if isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
            start, end = source.start(node) - 1, source.end(node)
            before = source.data[:start].rstrip(b" ")
            after_operator = before.endswith((b"=", b"+", b"-", b"*", b"/", b"(", b",", b" return", b" and", b" or"))
            if source.data[start : start + 1] == b"(" and source.data[end : end + 1] == b")" and after_operator:
                edits += [Edit(start, start + 1, ""), Edit(end, end + 1, "")]
    return without_brackets(source.edited(edits)) if edits else text


def _is_short(definition: str) -> bool:
    """Whether it is a line or two, another name for a type."""
    return not definition.startswith(("def ", "class ", "@", "#")) and definition.count("\n") == 1


def _without_copies(definitions: Mapping[str, str]) -> dict[str, str]:
    """The definitions, of those that are the same in several modules one; of those that are then the same, too."""
    kept: dict[tuple[str, str], str] = {}
    same: dict[str, str] = {}
    for name, text in definitions.items():
        own = split(name)[1]
        first = kept.setdefault((own, text.replace(name, own)), name)
        if first != name:
            same[name] = first
    left = {
        name: _FULL_NAME.sub(lambda found: same.get(found[0], found[0]), text)
        for name, text in definitions.items() if name not in same
    }  # fmt: skip
    return _without_copies(left) if same else left


def _comment(text: str) -> str:
    return f"  # {text}" if text else ""
