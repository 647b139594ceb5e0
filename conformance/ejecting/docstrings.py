"""Docstrings that say no more than is left of what they describe.

Sentences are left out that are of arguments which a function no longer has, of choices that were not made, of errors
that it no longer raises, and of functions that are not there; so are examples. What was chosen is said instead. The
first sentence stays; of those that stay, parts after a semicolon go in the same manner.
"""

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from textwrap import fill
from typing import Any, NamedTuple

from conformance.ejecting.declared import default_of, fields_of
from conformance.ejecting.expressions import is_docstring
from conformance.ejecting.scopes import arguments
from conformance.ejecting.text import Edit, Source

WIDTH = 120
_OF_WHAT_WAS_BEFORE = ("It ", "Its ", "That ", "This ", "They ", "These ", "Both ")
_ROLE = re.compile(r":(?:func|meth|class|mod):`(?:~)?([\w.]+)`")
_COURSE = re.compile(r"\b[Tt]he course, course\b")  # as the packages call it, which say at their head which one it is
_NAMED_COURSE = "Ng, Deep Learning Specialization, course"
_PARTS = re.compile(r";(?= )|,(?= (?:and )?with AMSGrad)")
_MADE_BY = re.compile(r"Every formulation of (``\w+``), which checks the arguments and makes it\.")


def shortened(definition: str, original: str, chosen: Mapping[str, Any], absent: Collection[str] = ()) -> str:
    """A definition with what is left of its docstrings, and of those inside it.

    ``original``: the definition as it is in its package; ``chosen``: what was given for each argument that is gone;
    ``absent``: names of functions that are not there.
    """
    source, before = Source(definition), ast.parse(original)
    node = source.tree.body[0]
    earlier = {each.name: each for each in ast.walk(before) if isinstance(each, ast.FunctionDef)}
    edits = []
    for each in source.nodes:
        if not isinstance(each, (ast.FunctionDef, ast.ClassDef)) or not is_docstring(each.body[0]):
            continue
        margin = each.body[0].col_offset
        gone = _lost(each, earlier.get(each.name))
        told = {name: value for name, value in chosen.items() if each is node and name in gone}
        words = {value for value in told.values() if isinstance(value, str)}
        fields = _fields(before.body[0]) - _fields(each) if each is node else set()
        off = {name for name, value in told.items() if value is None or value is False}
        others = set(absent) - _own_names(each)
        left = _Left(gone, words, off, fields, others, _raises(each), WIDTH - margin)
        parts = list(left.paragraphs(_text(each.body[0], margin)))
        if said := _said(told, "\n".join(parts), earlier.get(each.name)):
            parts.append(fill(said, WIDTH - margin, break_on_hyphens=False))
        edits.append(_replacing(source, each.body[0], "\n\n".join(parts)))
    return source.edited(edits)


def _text(node: ast.stmt, margin: int) -> str:
    """A docstring without the margin of its lines."""
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Constant)
    first, *lines = str(node.value.value).splitlines()
    return "\n".join([first.strip(), *(line[margin:].rstrip() for line in lines)]).rstrip()


def _raises(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Raise) for part in ast.walk(node))


def _lost(node: ast.stmt, before: ast.stmt | None) -> set[str]:
    """The arguments that a function no longer has."""
    if not isinstance(node, ast.FunctionDef) or not isinstance(before, ast.FunctionDef):
        return set()
    return {each.arg for each in arguments(before)} - {each.arg for each in arguments(node)}


def _fields(held: ast.stmt) -> set[str]:
    """The fields of a dataclass."""
    return set(fields_of(held)) if isinstance(held, ast.ClassDef) else set()


def _own_names(node: ast.AST) -> set[str]:
    """Names of a definition's own: arguments, and what else it reads."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names | {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}


class _Left(NamedTuple):
    """What a docstring still has to tell: not of arguments that are ``gone``, nor of words that were not ``chosen``.

    ``off``: those of the arguments that were given None or False; ``fields``: those that a dataclass no longer has,
    which may have been told of first; ``absent``: functions that are not there.
    """

    gone: set[str]
    chosen: set[str]
    off: set[str]
    fields: set[str]
    absent: set[str]
    raises: bool
    width: int

    def paragraphs(self, text: str) -> Iterator[str]:
        for number, paragraph in enumerate(text.split("\n\n")):
            if paragraph.lstrip().startswith(">>>"):
                continue
            if paragraph.startswith(" "):
                yield "\n".join(line for line in paragraph.splitlines() if not self._is_over(line))
                continue
            sentences = [_COURSE.sub(_NAMED_COURSE, _ROLE.sub(r"``\1``", each)) for each in _sentences(paragraph)]
            kept: list[str] = []
            was_over = False
            for place, sentence in enumerate(sentences):
                goes_on = was_over and sentence.startswith(_OF_WHAT_WAS_BEFORE)
                was_over = (number > 0 or place > 0) and (goes_on or self._is_over(sentence))
                kept += [] if was_over else [self._cut(sentence)]
            if kept == _sentences(paragraph):
                yield paragraph
            elif kept:
                kept = [_MADE_BY.sub(r"What \1 makes.", sentence) for sentence in kept]
                quotes = "" if number else '"""'  # which stand before the first
                yield fill(quotes + " ".join(kept), self.width, break_on_hyphens=False).removeprefix(quotes)

    def _cut(self, sentence: str) -> str:
        """A sentence without those of its parts, after the first, that have nothing to tell any more."""
        hidden, text = _without_code(sentence)
        places = [found.start() for found in _PARTS.finditer(text) if _is_outside(text, found.start())]
        parts = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
        kept = [part for n, part in enumerate(parts) if n == 0 or not self._is_over_part(_with_code(part, hidden))]
        if len(kept) == len(parts):
            return sentence
        return _with_code("".join(kept), hidden).rstrip(".") + "."

    def _is_over_part(self, part: str) -> bool:
        """Whether a part of a sentence has nothing to tell any more."""
        words = part.split()
        after_with = words[words.index("with") + 1].lower() if "with" in words else ""
        subject = re.match(r"\W*``(\w+)``", part)
        is_of_field = subject is not None and subject[1] in self.fields
        return is_of_field or after_with in self.off or self._is_over(part)

    def _is_over(self, text: str) -> bool:
        """Whether a sentence, or a line of formulas, has nothing to tell any more."""
        if text.startswith("Raises ") and not self.raises:
            return True
        if text.startswith("Or another formulation") and self.gone:
            return True
        if any(name in self.absent for name in re.findall(r"``(\w+)``", text)):
            return True
        words = set(re.findall(r'"(\w+)"', text))
        if self.gone and words and not words & self.chosen:
            return True
        spans = " ".join(re.findall(r"``(.*?)``", text)) if "``" in text else text
        return any(re.search(rf"\b{name}\b", spans) for name in self.gone) and not words & self.chosen


def _sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph; what stands in code is not looked into.

    >>> _sentences("``a. B`` is one. Raises ValueError: no. ``c`` too.")
    ['``a. B`` is one.', 'Raises ValueError: no.', '``c`` too.']
    """
    hidden, text = _without_code(" ".join(paragraph.split()))
    parts = re.split(r"(?<=\.|\))\s(?=[A-Z`])(?<!e\.g\. )(?<!i\.e\. )", text)
    whole: list[str] = []
    for part in parts:  # "(one. Two)" stays together
        if whole and (whole[-1].count("(") > whole[-1].count(")") or not whole[-1].endswith((".", ".)"))):
            whole[-1] += f" {part}"
        else:
            whole.append(part)
    return [_with_code(each, hidden) for each in whole]


def _without_code(text: str) -> tuple[list[str], str]:
    """What stands in code, and the text with a number in the place of each: ```0```."""
    hidden: list[str] = []

    def hide(found: re.Match[str]) -> str:
        hidden.append(found[0])
        return f"`{len(hidden) - 1}`"

    text = re.sub(r"``.*?``", hide, text)
    return hidden, text


def _with_code(text: str, hidden: list[str]) -> str:
    return re.sub(r"`(\d+)`", lambda found: hidden[int(found[1])], text)


def _is_outside(text: str, place: int) -> bool:
    """Whether a place in a text is in no brackets."""
    return text.count("(", 0, place) == text.count(")", 0, place)


def _said(chosen: Mapping[str, Any], text: str, before: ast.FunctionDef | None) -> str:
    """What was chosen, in words: flags that are up, and what the text speaks of.

    A docstring's formula is that of the defaults: what differs from them is said first. A default of which the
    package's own docstring says nothing is not said.
    """
    known = "" if before is None else ast.get_docstring(before) or ""
    told = {
        name: value for name, value in chosen.items()
        if isinstance(value, str) or value is True or re.search(rf"\b{name}\b", text)
    }  # fmt: skip
    other = {name: value for name, value in told.items() if not _is_default(before, name, value)}
    alike = {name: value for name, value in told.items() if name not in other and re.search(rf"\b{name}\b", known)}
    parts = {"Here, other than above": other, "Here": alike}
    return " ".join(
        f"{words}: {', '.join(f'``{name}={_quoted(value)}``' for name, value in held.items())}."
        for words, held in parts.items() if held
    )  # fmt: skip


def _is_default(function: ast.FunctionDef | None, name: str, value: Any) -> bool:
    default = None if function is None else default_of(function, name)
    return isinstance(default, ast.Constant) and bool(default.value == value)


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _replacing(source: Source, node: ast.stmt, text: str) -> Edit:
    margin = " " * node.col_offset
    if "\n" not in text:  # formatters put the closing quotes of a single line behind it, however long it is
        text = fill(text, WIDTH - len(margin) - 6, break_on_hyphens=False)
    lines = [margin + line if line.strip() else "" for line in text.splitlines()]
    body = text if len(lines) == 1 else "\n".join(lines).strip() + f"\n{margin}"
    return Edit(source.start(node), source.end(node), f'"""{body}"""')
